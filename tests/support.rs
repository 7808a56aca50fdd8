//! The bundle of a bug report: everything that must not leave is planted, and then looked for in every byte of it.
mod served;

use honeyguide::cli::context::Exit;
use honeyguide::events::time;
use serde_json::json;
use served::{Daemon, Home, until};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Every file of a bundle.
fn unpacked(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = std::fs::File::open(path).expect("opened");
    let mut bundle = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = bundle.entries().expect("a bundle");
    let content = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("an entry");
        let (name, mut bytes) = (entry.path().expect("a path").to_string_lossy().into_owned(), Vec::new());
        entry.read_to_end(&mut bytes).expect("read");
        (name, bytes)
    };
    entries.map(content).collect()
}

/// Whatever must not leave begins so, but for addresses and what no name can hold.
const PLANTED: [&str; 8] =
    ["planted", "198.51.100.23", "198.51.100.99", "10.9.8.7", "pl4nted", "evil.example", "receiver.example", "hunter2"];

fn home() -> Home {
    let home = Home::with(
        "[log]\nfile = \"planted-log/honeyguide.log\"\n\
         [indicators]\nown = [\"10.9.8.7\"]\n\
         [privacy]\nkey_file = \"planted-privacy.key\"\n\
         [[source]]\nname = \"cowrie\"\npaths = [\"log/cowrie.json\"]\n\
         [[sink]]\nname = \"pager\"\ntype = \"webhook\"\nurl = \"https://receiver.example/planted-path?key=planted-query\"\n\
         token_file = \"planted-token\"\nheaders = { X-Api-Key = \"planted-header\" }\nfilter = 'src_ip:198.51.100.99'\n\
         [[sink]]\nname = \"index\"\ntype = \"elasticsearch\"\nurl = \"http://10.9.8.7:9200\"\nallow_private = [\"10.9.8.7\"]\n\
         user = \"planted-user\"\npassword_file = \"planted-password\"\n\
         [[enricher]]\nname = \"own\"\ntype = \"hook\"\nurl = \"https://receiver.example/planted?k=planted\"\napi_key_file = \"planted-api-key\"\n\
         [[alert]]\nname = \"quiet\"\nwhen = \"silence\"\nsensor = \"planted-sensor\"\n",
    );
    for (name, secret) in [
        ("planted-token", "pl4nted-token"),
        ("planted-password", "pl4nted-password"),
        ("planted-api-key", "pl4nted-api-key"),
        ("planted-privacy.key", "706c346e746564706c346e746564706c346e746564706c346e746564706c346e"),
    ] {
        home.write(name, secret.as_bytes());
    }
    let event = json!({
        "eventid": "cowrie.login.success", "username": "planted-username", "password": "hunter2", "message": "planted-message",
        "sensor": "planted-sensor", "timestamp": time::format(time::now()), "src_ip": "198.51.100.23", "session": "planted00001",
        "url": "http://evil.example/planted", "planted_member": "planted-value",
    });
    home.write("log/cowrie.json", format!("{event}\n{{\"planted\": \"no event\n").as_bytes());
    let logged = json!({
        "@timestamp": "2026-03-22T00:00:00.000000Z", "message": "input refused", "event.action": "lines_refused", "log.level": "warn",
        "source": "cowrie", "path": "/planted/path", "detail": "planted-detail", "count": 3, "planted": 1,
    });
    let foreign = json!({ "@timestamp": "2026-03-22T00:00:00.000000Z", "message": "planted by a library", "log.level": "warn" });
    home.write("planted-log/honeyguide.log", format!("{logged}\n{foreign}\nplanted and no JSON\n").as_bytes());
    home
}

fn looked_through(parts: &BTreeMap<String, Vec<u8>>, home: &Home) {
    let dir = home.dir.path().to_string_lossy().into_owned();
    for (name, content) in parts {
        let text = String::from_utf8_lossy(content);
        for planted in PLANTED.iter().copied().chain([dir.as_str(), "706c346e746564"]) {
            assert!(!text.contains(planted) && !name.contains(planted), "{planted} in {name}:\n{text}");
        }
    }
}

#[test]
fn nothing_that_was_planted_leaves_and_what_helps_is_there() {
    let home = home();
    let daemon = Daemon::start(&home);
    until("the event", || daemon.engine().store().view().events() == 1);
    let store = daemon.engine().store();
    let details =
        json!({ "by": "planted", "sink": "pager", "sequence": 7, "sensor": "planted-sensor", "reason": "198.51.100.23", "planted": 1 });
    store.record("sink_ordered", details, time::now()).expect("recorded");
    let path = home.path("bundle.tar.gz");
    let file = path.to_str().expect("UTF-8");
    let printed = home.expect(Exit::Done, &["support", "dump", file]);
    assert!(printed.contains("configuration.toml") && printed.contains("readable by you only"), "{printed}");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let parts = unpacked(&path);
    looked_through(&parts, &home);
    let part = |name: &str| String::from_utf8_lossy(&parts[&format!("honeyguide-support/{name}")]).into_owned();
    assert!(part("configuration.toml").contains("url = \"https://<hidden>\""));
    assert!(part("ledger.ndjson").contains("\"event\":\"sink_ordered\"") && part("ledger.ndjson").contains("\"sequence\":7"));
    assert!(part("log.ndjson").contains("lines_refused") && part("log.ndjson").contains("input refused"));
    assert!(part("metrics.txt").contains("honeyguide_events_total"));
    assert!(part("status.json").contains("\"running\": true") && part("system.json").contains("kernel_release"));
    assert!(part("files.json").contains("journal/"));
    // It is not overwritten.
    let again = home.fails(&["support", "dump", file]).to_string();
    assert!(again.contains("is there already"), "{again}");
    // Honeypots only when it is wanted, and still nothing else.
    let other = home.path("with.tar.gz");
    home.json(Exit::Done, &["support", "dump", other.to_str().expect("UTF-8"), "--with-sensors"]);
    let all: String = unpacked(&other).values().map(|content| String::from_utf8_lossy(content).into_owned()).collect();
    assert!(all.contains("planted-sensor"));
    assert_eq!(all.replace("planted-sensor", "").find("planted"), None);
}

#[test]
fn a_bundle_is_made_without_a_daemon_and_without_following_what_lies_in_its_place() {
    let home = home();
    drop(Daemon::start(&home));
    let link = home.path("link.tar.gz");
    std::os::unix::fs::symlink(home.path("target"), &link).expect("linked");
    let error = home.fails(&["support", "dump", link.to_str().expect("UTF-8")]).to_string();
    assert!(error.contains("is there already") && !home.path("target").exists(), "{error}");
    let path = home.path("bundle.tar.gz");
    let dumped = home.json(Exit::Done, &["support", "dump", path.to_str().expect("UTF-8")]);
    assert!(dumped["parts"].as_array().is_some_and(|parts| parts.iter().all(|part| part["name"] != "metrics.txt")), "{dumped}");
    looked_through(&unpacked(&path), &home);
}
