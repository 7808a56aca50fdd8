//! Erasure of a session and of a person from a real daemon, and without one; and ages of sensors.
mod served;

use honeyguide::cli::context::Exit;
use serde_json::Value;
use served::{Daemon, Home, log, until};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Every byte of the files below a directory, those of frames decompressed as well.
fn all_text(dir: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            text.push_str(&all_text(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            text.push_str(&String::from_utf8_lossy(&bytes));
            if path.extension().is_some_and(|extension| extension == "zst") {
                // The live segment may grow meanwhile.
                text.push_str(&String::from_utf8_lossy(&zstd::decode_all(&bytes[..]).unwrap_or_default()));
            }
        }
    }
    text
}

fn member<'v>(event: &'v Value, name: &str) -> &'v str {
    event[name].as_str().unwrap_or_default()
}

fn parse(bytes: &[u8]) -> Vec<Value> {
    bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// How many events a search finds.
fn found(home: &Home, query: &str) -> usize {
    home.expect(Exit::Done, &["search", query, "--limit", "100000", "--json"]).lines().count()
}

#[test]
fn a_person_and_a_session_are_erased_with_and_without_a_daemon() {
    let bytes = log(1, 6_000);
    let events = parse(&bytes);
    let address = member(&events[0], "src_ip").to_owned();
    let of_another = |event: &&Value| !member(event, "session").is_empty() && !["", &address].contains(&member(event, "src_ip"));
    let session = member(events.iter().rfind(of_another).unwrap(), "session").to_owned();
    let of_session = |event: &&Value| member(event, "session") == session;
    assert!(events.iter().filter(of_session).all(|event| member(event, "src_ip") != address));
    let person = format!("src_ip:{address}");
    for with_daemon in [false, true] {
        let home = Home::with(
            "[journal]\nsegment_bytes = \"1 MiB\"\n[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"out.ndjson\"\nbatch_age_ms = 5\n\
             [[source]]\nname = \"cowrie\"\npaths = [\"grows/*.json\"]\n",
        );
        std::fs::create_dir(home.path("grows")).unwrap();
        let file = home.write("logs/cowrie.json", &bytes);
        let file = file.to_str().unwrap();
        let torn = home
            .write("logs/torn.json", format!("{{\"session\":\"{session}\",\"src_ip\":\"198.51.100.250\n{{\"x\": {address}\n").as_bytes());
        let daemon = with_daemon.then(|| Daemon::start(&home));
        home.expect(Exit::Done, &["load", file]);
        home.expect(Exit::Findings, &["load", "--format", "cowrie", torn.to_str().unwrap()]);
        if with_daemon {
            until("all is delivered", || std::fs::read_to_string(home.path("out.ndjson")).unwrap_or_default().lines().count() == 6_000);
            until("the sink is idle", || home.json(Exit::Done, &["sinks", "show", "archive"])["lag_events"] == 0);
        }
        // A honeypot goes on writing meanwhile, of others.
        let stop = Arc::new(AtomicBool::new(false));
        let writer = with_daemon.then(|| {
            let (stop, path) = (stop.clone(), home.path("grows/live.json"));
            std::thread::spawn(move || {
                let mut file = std::fs::File::create(path).unwrap();
                let mut written = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let line =
                        format!(r#"{{"eventid":"live","session":"{written:014x}","src_ip":"198.51.100.1","sensor":"live","n":{written}}}"#);
                    writeln!(file, "{line}").unwrap();
                    written += 1;
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                written
            })
        });
        let error = home.fails(&["erase", &person]).to_string();
        assert!(error.contains("--dry-run"), "{error}");
        assert!(home.fails(&["erase", "since:1d", "--yes"]).to_string().contains("names nobody"));

        let count = found(&home, &person);
        assert!(count > 3);
        let would = home.json(Exit::Done, &["erase", &person, "--whole-sessions", "--dry-run"]);
        assert!(would["events"].as_u64().unwrap() >= count as u64, "{would}");
        assert_eq!(would["dry_run"], true);
        let sent = if with_daemon { serde_json::json!(["archive"]) } else { serde_json::json!([]) };
        assert_eq!((&would["sent_to"], &would["quarantined"]), (&sent, &1.into()));
        assert_eq!(found(&home, &person), count, "nothing happened yet");

        let done = home.json(Exit::Done, &["erase", &person, "--whole-sessions", "--yes", "--reason", "request 17"]);
        for name in ["events", "sessions", "quarantined", "sent_to"] {
            assert_eq!(done[name], would[name], "{name}");
        }
        assert_eq!(found(&home, &person), 0);
        let with_session = events.iter().filter(of_session).count();
        assert_eq!(found(&home, &format!("session:{session}")), with_session);
        let done_session = home.json(Exit::Done, &["erase", "--session", &session, "--yes"]);
        assert_eq!((&done_session["events"], &done_session["quarantined"]), (&with_session.into(), &1.into()));
        assert!(home.fails(&["session", &session]).to_string().contains("no event has the session id"));
        let again = home.json(Exit::Done, &["erase", "--session", &session, "--yes"]);
        assert_eq!((&again["events"], &again["quarantined"]), (&0.into(), &0.into()), "done is done");

        let erased = done["events"].as_u64().unwrap() + with_session as u64;
        let top = home.expect(Exit::Done, &["top", "src_ip", "--limit", "100000", "--json"]);
        assert!(!top.contains(&format!("\"{address}\"")), "{top}");
        let loaded = home.json(Exit::Done, &["load", file]);
        assert_eq!((&loaded["events"], &loaded["duplicates"]), (&0.into(), &6_000.into()), "what was erased is not accepted again");
        home.expect(Exit::Findings, &["load", "--format", "cowrie", torn.to_str().unwrap()]);
        stop.store(true, Ordering::Relaxed);
        let written = writer.map_or(0, |writer| writer.join().unwrap());
        until("all that was written is there", || found(&home, "eventid:live") as u64 == written);
        let verified = home.json(Exit::Done, &["verify"]);
        assert_eq!((&verified["damage"], &verified["tombstones"]), (&serde_json::json!([]), &erased.into()));
        assert_eq!(verified["events"].as_u64().unwrap(), 6_000 + written);
        assert_eq!(found(&home, "eventid:*") as u64, 6_000 + written - erased);
        let days: BTreeSet<&str> = events.iter().map(|event| &member(event, "timestamp")[..10]).collect();
        let range = format!("{}..{}", days.first().unwrap(), days.last().unwrap());
        let report = home.expect(Exit::Done, &["report", "range", &range, "--json"]);
        assert!(!report.contains(&format!("\"{address}\"")) && !report.contains(&session));
        let told: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(told[0]["totals"]["events"].as_u64(), Some(6_000), "tombstones are events of their day: {}", told[0]["totals"]);
        drop(daemon);
        let text = all_text(&home.data());
        assert!(!text.contains(&format!("\"{address}\"")) && !text.contains(&session), "not a byte is left");
        assert!(text.contains("events_erased") && text.contains("request 17") && !text.contains(&person));
        home.expect(Exit::Done, &["rebuild"]);
        assert_eq!((found(&home, &person), found(&home, &format!("session:{session}"))), (0, 0));
        assert_eq!(home.json(Exit::Done, &["verify"])["tombstones"], erased);
    }
}

#[test]
fn tombstones_that_the_ledger_does_not_tell_of_are_damage() {
    let home = Home::with("[journal]\nsegment_bytes = \"1 MiB\"\n");
    let file = home.write("cowrie.json", &log(1, 5_000));
    home.expect(Exit::Done, &["load", file.to_str().unwrap()]);
    {
        let settings = honeyguide::config::load(Some(&home.config()), None).unwrap();
        let telemetry = honeyguide::telemetry::Telemetry::unlogged();
        let open = honeyguide::daemon::DataDir::open(&settings, &telemetry, &mut |_| {}).unwrap().into_store();
        // As somebody would who can write the files.
        assert_eq!(open.store.erase_in(1, &[3, 4]).unwrap().unwrap().events, 2);
    }
    let verified = home.json(Exit::Findings, &["verify"]);
    assert!(verified["damage"][0]["problem"].as_str().unwrap().contains("2 events were erased and the ledger tells of 0"), "{verified}");
}

#[test]
fn a_sensor_past_its_age_goes_from_segments_that_stay_for_others() {
    let bytes = log(1, 9_000);
    let events = parse(&bytes);
    let sensor = member(&events[0], "sensor").to_owned();
    let of_others = |event: &&Value| member(event, "sensor") != sensor;
    assert!(events.iter().filter(of_others).count() > 100);
    let home = Home::with(&format!(
        "[journal]\nsegment_bytes = \"1 MiB\"\nevidence_days = 1\n[[retention]]\nsensor = \"{sensor}\"\ndays = 2\n[[retention]]\nsensor = \"*\"\ndays = \"forever\"\n"
    ));
    let file = home.write("cowrie.json", &bytes);
    let daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", file.to_str().unwrap()]);
    until("the older segments are sealed", || home.json(Exit::Done, &["status"])["journal"]["segments"].as_u64() > Some(2));
    drop(daemon);
    let _daemon = Daemon::start(&home);
    until("events are erased", || home.json(Exit::Done, &["verify"])["tombstones"].as_u64() > Some(10));
    let verified = home.json(Exit::Done, &["verify"]);
    assert_eq!((&verified["damage"], &verified["events"]), (&serde_json::json!([]), &9_000.into()), "nothing was removed as a whole");
    assert!(found(&home, &format!("eventid:* sensor:{sensor}")) < 9_000 - events.iter().filter(of_others).count());
    assert_eq!(found(&home, &format!("eventid:* NOT sensor:{sensor}")), events.iter().filter(of_others).count(), "others stay");
    let ledger = all_text(&home.data().join("ledger"));
    assert!(ledger.contains("events_erased") && ledger.contains("\"reason\":\"age\""));
}

#[test]
fn a_value_that_was_redacted_before_it_was_stored_is_erased_or_not_covered() {
    let lines: String = (0..4)
        .map(|n| {
            format!(
                "{{\"eventid\":\"cowrie.command.input\",\"session\":\"s{n}\",\"src_ip\":\"8.8.4.{n}\",\
                 \"input\":\"mail a{n}@example.com\",\"timestamp\":\"2026-03-01T00:00:0{n}Z\"}}\n"
            )
        })
        .collect();
    for (action, exit, erased) in [("hash", Exit::Done, 1), ("mask", Exit::Findings, 0), ("drop", Exit::Findings, 0)] {
        for with_daemon in [false, true] {
            let home = Home::with(&format!(
                "[privacy]\nkey_file = \"key\"\n[[redact]]\nfields = [\"src_ip\", \"session\"]\nkinds = [\"email\"]\naction = \"{action}\"\n"
            ));
            home.write("key", "ab".repeat(32).as_bytes());
            let file = home.write("cowrie.json", lines.as_bytes());
            home.expect(Exit::Done, &["load", "--format", "cowrie", file.to_str().unwrap()]);
            let _daemon = with_daemon.then(|| Daemon::start(&home));
            for words in [&["src_ip:8.8.4.1"][..], &["email:a2@example.com"], &["--session", "s3"]] {
                let words = [&["erase"], words, &["--yes"]].concat();
                let report = home.json(exit, &words);
                assert_eq!(report["events"], erased, "{action} {words:?}: {report}");
                assert_eq!(report["notes"].as_array().unwrap().is_empty(), exit == Exit::Done, "{action} {words:?}: {report}");
            }
            assert_eq!(found(&home, "exists:eventid"), 4 - 3 * erased as usize, "{action}");
        }
    }
}
