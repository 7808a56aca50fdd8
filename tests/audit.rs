//! Every route that changes something leaves a record of who changed what: with what was before and what is after, with no secret, and with
//! no value of an event. A route that is added is missed here until it is asked.
mod mmdb;
mod receivers;
mod served;

use serde_json::{Value, json};
use served::{Answer, Daemon, Home, log, until};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

/// What is asked with `POST` and changes nothing that the ledger would have to tell: what is pushed is in the journal itself.
const ONLY_ASKED: [&str; 3] = ["/api/v1/events", "/api/v1/verify", "/api/v1/ingested"];
const PERSON: &str = "198.51.100.77";

/// A daemon of which everything can be asked that changes something.
struct Everything {
    home: Home,
    receiver: std::sync::Arc<receivers::webhook::Receiver>,
    _elastic: std::sync::Arc<receivers::elasticsearch::Double>,
}

impl Everything {
    fn new() -> Everything {
        let (receiver, elastic) = (receivers::webhook::start(), receivers::elasticsearch::start());
        let home = Home::new();
        let secret = home.write("secret", receivers::webhook::SECRET.as_bytes());
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("ours");
        let everything = Everything { home, receiver, _elastic: elastic.clone() };
        let sinks = format!(
            "[[sink]]\nname = \"siem\"\ntype = \"webhook\"\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]\nsecret_file = \"secret\"\nbatch_age_ms = 5\n\
             [[sink]]\nname = \"elastic\"\ntype = \"elasticsearch\"\nurl = \"{}\"\nindex = \"pots\"\nallow_private = [\"127.0.0.1\"]\nstart = \"end\"\n\
             [[enricher]]\nname = \"noise\"\ntype = \"greynoise\"\n[archive]\nto = \"kept\"\n\
             [[alert]]\nname = \"full\"\nwhen = \"disk\"\nfree_bytes = \"2 GiB\"\nto = [\"siem\"]\n",
            everything.receiver.url(),
            elastic.url()
        );
        // One sink that is configured no more later.
        everything.configure(&format!("{sinks}[[sink]]\nname = \"old\"\ntype = \"file\"\npath = \"old.ndjson\"\nbatch_age_ms = 5\n"));
        let daemon = Daemon::start(&everything.home);
        let answer = daemon.post("/api/v1/load", &json!({ "paths": [everything.home.write("first.json", &log(3, 300))] }).to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        until("its place", || {
            let old = daemon.get("/api/v1/sinks/old").json();
            old["cursor"].as_u64() > Some(200) && old["lag_events"] == 0
        });
        drop(daemon);
        everything.configure(&sinks);
        everything
    }

    fn configure(&self, tables: &str) {
        self.home.write("honeyguide.toml", format!("data_dir = \"data\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{tables}").as_bytes());
    }
}

/// Asks, says for which route, and expects that it is done.
fn ask(daemon: &Daemon, done: &mut BTreeSet<String>, route: &str, path: &str, body: Value) -> Answer {
    let answer = daemon.post(&format!("/api/v1{path}"), &body.to_string());
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert!(answer.whole, "{path}: {answer:?}");
    done.insert(format!("/api/v1{route}"));
    answer
}

fn records(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/api/v1/audit?limit=1000").json()["records"].as_array().expect("records").clone()
}

#[test]
fn every_change_is_recorded_with_what_was_before_and_after() {
    let everything = Everything::new();
    let (home, receiver) = (&everything.home, &everything.receiver);
    let daemon = Daemon::start(home);
    let (mut done, nothing) = (BTreeSet::new(), json!({}));
    let mut order = |route: &str, path: &str, body: &Value| ask(&daemon, &mut done, route, path, body.clone());

    let made = order("/keys", "/keys", &json!({ "name": "laptop", "roles": ["analyst"] })).json();
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key").to_owned());
    let rotated = order("/keys/{id}/rotate", &format!("/keys/{id}/rotate"), &json!({ "overlap": "1h" })).json();
    let newer = rotated["key"].as_str().expect("a key").to_owned();
    let asked = served::post("/api/v1/token", "{}").replacen("\r\n", &format!("\r\nx-api-key: {newer}\r\n"), 1);
    let token = daemon.unix(&asked).json()["access_token"].as_str().expect("a token").to_owned();
    done.insert("/api/v1/token".to_owned());
    let mut order = |route: &str, path: &str, body: &Value| ask(&daemon, &mut done, route, path, body.clone());
    order("/keys/{id}/revoke", &format!("/keys/{id}/revoke"), &nothing);

    receiver.faults().poison(Some("poisonous"));
    let event = |command: &str| {
        json!({ "eventid": "cowrie.command.input", "session": "c0ffee", "src_ip": PERSON, "sensor": "hive", "input": command,
            "timestamp": "2026-01-01T00:00:00.000000Z" })
    };
    let lines = format!("{}\n{}\nno JSON at all\n{{\n", event("poisonous 1"), event("poisonous 2"));
    order("/load", "/load", &json!({ "paths": [home.write("second.json", lines.as_bytes())] }));
    until("two dead letters", || daemon.get("/api/v1/sinks/siem/dead").json().as_array().map(Vec::len) == Some(2));
    receiver.faults().poison(Some("poisonous 2"));
    order("/sinks/{name}/dead/retry", "/sinks/siem/dead/retry", &nothing);
    order("/sinks/{name}/dead/purge", "/sinks/siem/dead/purge", &nothing);
    order("/sinks/{name}/test", "/sinks/siem/test", &nothing);
    order("/peers/check", "/peers/check", &nothing);
    order("/sinks/{name}/order", "/sinks/siem/order", &json!("pause"));
    order("/sinks/{name}/order", "/sinks/siem/order", &json!("resume"));
    order("/sinks/{name}/forget", "/sinks/old/forget", &nothing);
    order("/quarantine/retry", "/quarantine/retry", &json!({ "all": true }));
    order("/quarantine/purge", "/quarantine/purge", &json!({ "all": true }));
    let database = home.write("country.mmdb", &mmdb::written(mmdb::Shape::MaxMindCountry, &[("198.51.100.0/24", "DE")]));
    order("/geoip", "/geoip", &json!({ "path": database }));
    order("/geoip/apply", "/geoip/apply", &nothing);
    order("/geoip/{name}/remove", "/geoip/country/remove", &nothing);
    order("/alerts/{rule}/test", "/alerts/full/test", &nothing);
    order("/enrich", "/enrich", &json!({ "value": "185.220.101.1", "cached": true }));
    order("/reports/{kind}/{period}/publish", "/reports/daily/2026-01-01/publish", &json!({ "sink": "elastic" }));
    order("/rebuild", "/rebuild", &nothing);
    order("/archive", "/archive", &nothing);
    order("/erase", "/erase", &json!({ "query": format!("src_ip:{PERSON}"), "reason": "asked to" }));

    let description = daemon.get("/api/v1/openapi.json").json();
    let posts = description["paths"].as_object().expect("paths").iter().filter(|(_, item)| item.get("post").is_some());
    let posts: BTreeSet<String> = posts.map(|(path, _)| path.clone()).filter(|path| !ONLY_ASKED.contains(&path.as_str())).collect();
    assert_eq!(done, posts, "every route that changes something is asked here, and no other");

    let all = records(&daemon);
    let requests = all.iter().filter(|record| record["kind"] == "request").map(|record| &record["details"]);
    let mut of: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for details in requests {
        assert_eq!(details["status"], 200, "{details}");
        assert!(details["by"].as_str().is_some_and(|by| by.starts_with("uid ")) && details["from"] == "socket", "{details}");
        for side in ["before", "after"] {
            assert!(details.get(side).is_some(), "{side} of {details}");
            assert!(details[side].to_string().len() < 8_192, "{details}");
        }
        assert!(!details["before"].is_null() || !details["after"].is_null(), "{details}");
        of.entry(details["path"].as_str().expect("a path").replace("/api/v1", "")).or_default().push(details);
    }
    // Newest first.
    let change = |path: &str, at: usize| {
        let details = of.get(path).and_then(|of| of.get(at)).unwrap_or_else(|| panic!("{path} in {:?}", of.keys()));
        (details["before"].clone(), details["after"].clone())
    };
    let (before, after) = change("/sinks/siem/order", 1);
    assert_eq!((&before["paused"], &after["paused"]), (&json!(false), &json!(true)));
    let (before, after) = change("/sinks/siem/order", 0);
    assert_eq!((&before["paused"], &after["paused"]), (&json!(true), &json!(false)));
    assert_eq!(
        change("/sinks/siem/dead/retry", 0),
        (json!({ "dead_letters": 2 }), json!({ "dead_letters": 1, "retried": 2, "delivered": 1 }))
    );
    assert_eq!(change("/sinks/siem/dead/purge", 0), (json!({ "dead_letters": 1 }), json!({ "dead_letters": 0, "removed": 1 })));
    let (before, after) = change("/sinks/old/forget", 0);
    assert!(before["cursor"].as_u64() > Some(200) && after.is_null(), "{before} {after}");
    assert_eq!(change("/sinks/siem/test", 0).1["usable"], true);
    assert!(change("/peers/check", 0).1["asked"].as_u64() >= Some(2));
    assert_eq!(change("/quarantine/retry", 0).1["resolved"], 0);
    let (before, after) = change("/quarantine/purge", 0);
    assert_eq!((&before["records"], &after["removed"], &after["records"]), (&json!(2), &json!(2), &json!(0)));
    let (before, after) = change("/keys", 0);
    assert_eq!((&before, &after["name"], &after["state"]), (&Value::Null, &json!("laptop"), &json!("active")));
    let (before, after) = change(&format!("/keys/{id}/rotate"), 0);
    assert!(
        before.get("rotated_at").is_none() && after["rotated_at"].is_string() && after["previous_until"].is_string(),
        "{before} {after}"
    );
    let (before, after) = change(&format!("/keys/{id}/revoke"), 0);
    assert_eq!((&before["state"], &after["state"]), (&json!("active"), &json!("revoked")));
    let (before, after) = change("/geoip", 0);
    assert_eq!((&before, &after["name"]), (&Value::Null, &json!("country")));
    let (before, after) = change("/geoip/country/remove", 0);
    assert_eq!((&before["name"], &after), (&json!("country"), &Value::Null));
    assert_eq!(change("/alerts/full/test", 0).1["sinks"][0]["arrived"], true);
    assert_eq!(change("/enrich", 0).1["kind"], "address");
    assert_eq!(change("/reports/daily/2026-01-01/publish", 0).1["sink"], "elastic");
    for path in ["/rebuild", "/archive", "/erase", "/load", "/geoip/apply"] {
        let (before, after) = change(path, 0);
        assert!(before["events"].as_u64().is_some_and(|events| events >= 300) && !after["asked"].is_null(), "{path}: {before} {after}");
    }

    // What came of long work has a record of its own.
    let kinds: BTreeSet<&str> = all.iter().filter_map(|record| record["kind"].as_str()).collect();
    for kind in ["sidecars_rebuilt", "events_erased", "geoip_applied", "key_created", "sink_ordered", "dead_letters_delivered"] {
        assert!(kinds.contains(kind), "{kind} of {kinds:?}");
    }
    let told = serde_json::to_string(&all).expect("JSON");
    let page = daemon.get("/audit").text();
    for secret in [key.as_str(), &newer, &token, PERSON, "poisonous", "185.220.101.1", "\"hash\""] {
        assert!(!told.contains(secret) && !page.contains(secret), "{secret}");
    }
    assert!(all.iter().any(|record| record["kind"] == "key_rotated" && record["details"]["generation"] == 2));
}

#[test]
fn a_reload_records_what_it_changes_and_hides_what_may_be_secret() {
    use honeyguide::telemetry::log::Log;
    let rule = |name: &str| format!("[[alert]]\nname = \"{name}\"\nwhen = \"disk\"\nfree_bytes = \"2 GiB\"\nto = [\"archive\"]\n");
    let sink = "[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"out.ndjson\"\n";
    let home = Home::with(&[sink, &rule("gone")].concat());
    let daemon = Daemon::start(&home);
    let (settings, metrics) = (daemon.engine().settings.borrow().log.clone(), daemon.engine().observed.telemetry.metrics.clone());
    let log = Log::start_on(&settings, &metrics, std::io::sink(), false, 0).expect("a log");
    let text = std::fs::read_to_string(home.config()).expect("written");
    let text = text.replace("\"gone\"", "\"new\"").replace("[admin]\n", "[admin]\nkey_rate = 7\n");
    home.write("honeyguide.toml", format!("{text}[indicators]\nown = [\"192.0.2.1\"]\n").as_bytes());
    daemon.engine().reload(&log);
    until("its record", || records(&daemon).iter().any(|record| record["kind"] == "settings_reloaded"));
    let all = records(&daemon);
    let details = &all.iter().find(|record| record["kind"] == "settings_reloaded").expect("recorded")["details"];
    assert_eq!((&details["before"]["admin.key_rate"], &details["after"]["admin.key_rate"]), (&json!("200"), &json!("7")));
    assert_eq!((&details["added"], &details["removed"]), (&json!(["alert new"]), &json!(["alert gone"])));
    assert!(!details.to_string().contains("192.0.2.1"), "{details}");
    let page = daemon.get("/audit?kind=settings_reloaded").text();
    assert!(page.contains("admin.key rate: ") && page.contains("<ins><bdi><code>7</code>") && page.contains("alert gone"), "{page}");
    home.write("honeyguide.toml", b"data_dir = 7\n");
    daemon.engine().reload(&log);
    until("the refusal", || records(&daemon).iter().any(|record| record["kind"] == "reload_refused"));
}
