//! Lists of sessions over the API of a real daemon: every session once, in order, with all that it did, also while events arrive.
mod served;

use honeyguide::access::Role;
use serde_json::{Value, json};
use served::{Answer, Daemon, Home, log};
use std::collections::{BTreeMap, HashSet};

fn load(daemon: &Daemon, home: &Home, name: &str, bytes: &[u8]) {
    let path = home.write(name, bytes);
    assert_eq!(daemon.post("/api/v1/load", &json!({ "paths": [path] }).to_string()).status, 200);
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn asked(query: &str, newest: bool, limit: usize, cursor: Option<&str>) -> String {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    format!("/api/v1/sessions?query={}&newest={newest}&limit={limit}{cursor}", percent(query))
}

/// All pages, one behind the other.
fn list(daemon: &Daemon, query: &str, newest: bool, limit: usize) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = daemon.get(&asked(query, newest, limit, cursor.as_deref())).json();
        let of_page = page["sessions"].as_array().expect("rows");
        assert!(of_page.len() <= limit, "{page}");
        rows.extend(of_page.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return rows,
        }
    }
}

fn text(event: &Value, name: &str) -> String {
    event[name].as_str().unwrap_or_default().to_owned()
}

/// Session and sensor.
fn who(row: &Value) -> (String, String) {
    (text(row, "session"), text(row, "sensor"))
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().expect("a code").to_owned())
}

#[test]
fn every_session_is_listed_once_in_the_order_of_its_events() {
    let home = Home::with("[journal]\nsegment_bytes = \"1 MiB\"\n");
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "a.json", &log(1, 5_000));
    load(&daemon, &home, "b.json", &log(2, 2_000));
    for query in ["", "eventid:cowrie.login.* NOT username:root"] {
        for (newest, limit) in [(true, 7), (false, 100), (true, 1_000)] {
            let events = daemon.get(&format!("/api/v1/events?query={}&limit=100000&newest={newest}", percent(query))).lines();
            let all = daemon.get("/api/v1/events?query=&limit=100000").lines();
            let mut expected: Vec<(String, String)> = Vec::new();
            let mut seen = HashSet::new();
            for event in events.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
                if event["session"].is_string() && seen.insert(who(&event)) {
                    expected.push(who(&event));
                }
            }
            let rows = list(&daemon, query, newest, limit);
            let found: Vec<(String, String)> = rows.iter().map(who).collect();
            assert_eq!(found, expected, "{query} {newest} {limit}");
            let mut did: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
            for event in all.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
                let (events, commands) = did.entry(who(&event)).or_default();
                *events += 1;
                *commands += u64::from(event["eventid"] == "cowrie.command.input");
            }
            for row in &rows {
                let (events, commands) = did[&who(row)];
                assert_eq!((&row["events"], row["acts"]["commands"].as_u64().unwrap_or(0)), (&events.into(), commands), "{row}");
                assert!(row["first_seen"].as_str() <= row["last_seen"].as_str() && row["src_ip"].is_string(), "{row}");
            }
        }
    }
}

#[test]
fn what_arrives_between_pages_repeats_nothing() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "a.json", &log(1, 3_000));
    let before: HashSet<(String, String)> = list(&daemon, "", true, 1_000).iter().map(who).collect();
    let first = daemon.get(&asked("", true, 20, None)).json();
    load(&daemon, &home, "b.json", &log(9, 3_000));
    let (mut found, mut cursor) = (first["sessions"].as_array().expect("rows").iter().map(who).collect::<Vec<_>>(), first["next"].clone());
    while let Some(next) = cursor.as_str() {
        let page = daemon.get(&asked("", true, 20, Some(next))).json();
        found.extend(page["sessions"].as_array().expect("rows").iter().map(who));
        cursor = page["next"].clone();
    }
    let different: HashSet<(String, String)> = found.iter().cloned().collect();
    assert_eq!((different.len(), &different), (found.len(), &before), "each once, and what came later is of no page");
}

#[test]
fn a_key_of_one_sensor_lists_its_sessions_only_and_wrong_requests_are_told() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "a.json", &log(1, 3_000));
    let all = list(&daemon, "", true, 50);
    let mine = text(&all[0], "sensor");
    let made = daemon.post("/api/v1/keys", &json!({ "name": "mine", "roles": [Role::Analyst.name()], "sensors": [mine] }).to_string());
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    let ask = |path: &str| {
        daemon.tcp(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"))
    };
    let page = ask(&asked("", true, 1_000, None)).json();
    let theirs = all.iter().filter(|row| row["sensor"] == mine.as_str());
    assert_eq!(page["sessions"].as_array().expect("rows").iter().collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
    let first = ask(&asked("", true, 2, None)).json();
    let second = ask(&asked("", true, 2, first["next"].as_str())).json();
    assert_eq!(second["sessions"].as_array().expect("rows").first(), page["sessions"].as_array().expect("rows").get(2));

    let cursor = daemon.get(&asked("", true, 2, None)).json()["next"].as_str().expect("more").to_owned();
    let of_events = daemon.get("/api/v1/events/page?query=&limit=2&newest=true").json()["next"].as_str().expect("more").to_owned();
    for (path, expected) in [
        (asked("", true, 0, None), (400, "bad_request".to_owned())),
        (asked("", true, 1_001, None), (400, "bad_request".to_owned())),
        (asked("usrname:x", true, 2, None), (400, "bad_query".to_owned())),
        // The first page takes what the next ones can take.
        (
            asked(&(0..31).map(|n| format!("src_ip:192.0.2.{n}")).collect::<Vec<_>>().join(" OR "), true, 2, None),
            (400, "bad_request".to_owned()),
        ),
        (asked("", false, 2, Some(&cursor)), (400, "bad_cursor".to_owned())),
        (asked("root", true, 2, Some(&cursor)), (400, "bad_cursor".to_owned())),
        (asked("", true, 2, Some(&of_events)), (400, "bad_cursor".to_owned())),
        (asked("", true, 2, Some("x")), (400, "bad_cursor".to_owned())),
    ] {
        assert_eq!(code(&daemon.get(&path)), expected, "{path}");
    }
    assert_eq!(daemon.get(&asked("username:nobody-has-this", true, 2, None)).json(), json!({ "sessions": [], "next": null }));
}
