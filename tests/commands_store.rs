//! Commands that ask the store, with a daemon and without one: the same questions must get the same answers.
mod served;

use honeyguide::cli::context::Exit;
use served::{Daemon, Home, log};

fn events(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).expect("UTF-8").lines().collect()
}

#[test]
fn load_search_top_session_and_ingested_answer_alike_with_and_without_a_daemon() {
    let bytes = log(1, 5_000);
    let first: serde_json::Value = serde_json::from_str(events(&bytes)[0]).expect("JSON");
    let session = first["session"].as_str().expect("a session").to_owned();
    let address = format!("src_ip:{}", first["src_ip"].as_str().expect("an address"));
    let mut answers = Vec::new();
    for with_daemon in [false, true] {
        let home = Home::new();
        let daemon = with_daemon.then(|| Daemon::start(&home));
        let file = home.write("logs/cowrie.json", &bytes);
        let file = file.to_str().expect("UTF-8");
        if !with_daemon {
            let error = home.fails(&["search", &address]).to_string();
            assert!(error.contains("there is no data directory") && error.contains("honeyguide load"), "{error}");
        }
        let mut loaded = home.json(Exit::Done, &["load", file]);
        assert_eq!((&loaded["events"], &loaded["lines"], &loaded["bytes"]), (&5_000.into(), &5_000.into(), &bytes.len().into()));
        let keys: Vec<&String> = loaded.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["bytes", "duplicates", "events", "events_per_second", "files", "lines", "rejected", "seconds"]);
        loaded["seconds"] = 0.into();
        loaded["events_per_second"] = 0.into();
        let again = home.json(Exit::Done, &["load", file]);
        assert_eq!((&again["events"], &again["duplicates"]), (&0.into(), &5_000.into()));

        let all = home.expect(Exit::Done, &["search", "eventid:*", "--limit", "10000", "--json"]);
        let mut found: Vec<&str> = all.lines().collect();
        let mut expected = events(&bytes);
        found.sort_unstable();
        expected.sort_unstable();
        assert!(found == expected, "every event is found, byte for byte");
        let newest = home.expect(Exit::Done, &["search", &address, "--newest", "--limit", "3"]);
        assert_eq!(newest.lines().count(), 3);
        let top = home.expect(Exit::Done, &["top", "src_ip", "--json", "--limit", "7"]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&top).expect("JSON").as_array().expect("rows").len(), 7);
        let told = home.expect(Exit::Done, &["session", &session]);
        assert!(told.contains(&session), "{told}");
        let unknown = home.fails(&["session", "*"]).to_string();
        assert!(unknown.contains("no event has the session id \"*\""), "{unknown}");
        assert!(home.expect(Exit::Done, &["ingested", file]).starts_with("yes"));
        let grown = home.write("logs/grown.json", &[&bytes[..], &log(2, 1)].concat());
        let not_yet = home.json(Exit::Failed, &["ingested", file, grown.to_str().expect("UTF-8"), "/nonexistent"]);
        let verdicts: Vec<bool> = not_yet.as_array().expect("files").iter().map(|file| file["ingested"] == true).collect();
        assert_eq!(verdicts, [true, false, false]);
        let verified = home.json(Exit::Done, &["verify"]);
        assert_eq!((&verified["events"], &verified["damage"]), (&5_000.into(), &serde_json::json!([])));
        let status = home.json(Exit::Done, &["status"]);
        assert_eq!((&status["running"], &status["journal"]["events"]), (&with_daemon.into(), &5_000.into()));
        assert_eq!(status["journal"]["head"], verified["head"]);
        let usage = home.fails(&["search", "usrname:root"]);
        assert!(usage.downcast_ref::<honeyguide::cli::context::Usage>().is_some(), "{usage:#}");
        answers.push((loaded, all, newest, top, told, verified["head"].clone()));
        drop(daemon);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn load_reports_what_it_leaves_out_and_says_so_in_its_exit_code() {
    for with_daemon in [false, true] {
        let home = Home::new();
        let daemon = with_daemon.then(|| Daemon::start(&home));
        let good = log(3, 100);
        home.write("logs/a/cowrie.json", &good);
        home.write("logs/empty.json", b"");
        home.write("logs/notes.txt", b"these are notes\nof somebody\n");
        home.write("torn/cowrie.json", &[&b"garbage\n"[..], &log(4, 50)].concat());
        let (logs, torn, gone) = (home.path("logs"), home.path("torn"), home.path("gone"));
        let [logs, torn, gone] = [&logs, &torn, &gone].map(|path| path.to_str().expect("UTF-8"));
        let loaded = home.json(Exit::Findings, &["load", logs, gone]);
        assert_eq!((&loaded["events"], &loaded["files"]), (&100.into(), &2.into()), "{loaded}");
        let refused = home.json(Exit::Findings, &["load", torn]);
        assert_eq!((&refused["events"], &refused["rejected"], &refused["lines"]), (&50.into(), &1.into(), &51.into()));
        home.expect(Exit::Failed, &["load", gone]);
        let forced = home.json(Exit::Findings, &["load", "--format", "cowrie", &format!("{logs}/notes.txt")]);
        assert_eq!(forced["rejected"], 2);
        drop(daemon);
    }
}

#[test]
fn quarantine_is_listed_shown_retried_and_purged() {
    for with_daemon in [false, true] {
        let home = Home::new();
        let mut daemon = with_daemon.then(|| Daemon::start(&home));
        let file = home.write("cowrie.json", &[&log(5, 20)[..], b"not json\nnor \x1b[2J this\nand \xff neither\n"].concat());
        home.expect(Exit::Findings, &["load", file.to_str().expect("UTF-8")]);
        // As an older version's decoder would have left it: refused, and an event for this one.
        let line = log(6, 1);
        put(&home, daemon.as_ref(), &line);
        let listed = home.json(Exit::Done, &["quarantine", "list"]);
        let rows = listed.as_array().expect("rows");
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0]["reason"], "decoder_panic", "newest first");
        let only = home.json(Exit::Done, &["quarantine", "list", "--reason", "not_an_object", "--limit", "2"]);
        assert_eq!(only.as_array().expect("rows").len(), 2);
        let oldest = rows[3]["number"].to_string();
        assert_eq!(home.expect(Exit::Done, &["quarantine", "show", &oldest, "--raw"]), "not json");
        assert_eq!(home.json(Exit::Done, &["quarantine", "show", &oldest])["text"], "not json");
        assert!(!home.expect(Exit::Done, &["quarantine", "show", &rows[1]["number"].to_string()]).contains('\x1b'));
        assert!(home.fails(&["quarantine", "show", "999"]).to_string().contains("no record 999"));

        let retried = home.json(Exit::Findings, &["quarantine", "retry", "--all"]);
        assert_eq!((&retried["retried"], &retried["resolved"]), (&4.into(), &1.into()));
        assert_eq!(home.json(Exit::Done, &["status"])["journal"]["events"], 21);
        assert_eq!(home.json(Exit::Done, &["quarantine", "list"]).as_array().expect("rows").len(), 3, "what is refused again stays, once");
        // Numbers are new behind a removal; another daemon sees the same.
        if daemon.take().is_some() {
            daemon = Some(Daemon::start(&home));
        }
        let left = home.json(Exit::Done, &["quarantine", "list"]);
        let number = left[0]["number"].to_string();
        assert_eq!(home.json(Exit::Done, &["quarantine", "purge", &number])["removed"], 1);
        home.expect(Exit::Failed, &["quarantine", "purge", &number]);
        assert_eq!(home.json(Exit::Done, &["quarantine", "purge", "--all"])["removed"], 2);
        assert_eq!(home.expect(Exit::Done, &["quarantine", "list"]), "the quarantine is empty\n");
        drop(daemon);
    }
}

fn put(home: &Home, daemon: Option<&Daemon>, line: &[u8]) {
    use honeyguide::sources::{Reason, Refused};
    use honeyguide::store::QuarantineRecord;
    let bytes = line.trim_ascii_end().to_vec();
    let refused = Refused {
        reason: Reason::DecoderPanic,
        offset: 0,
        len: bytes.len() as u64,
        hash: *blake3::hash(&bytes).as_bytes(),
        bytes,
        detail: "the decoder panicked".into(),
    };
    let record = QuarantineRecord::new(&refused, "cowrie", "cowrie", "/log", 1_774_138_242_000_000);
    let put = |store: &honeyguide::store::Store| assert_eq!(store.quarantine().put(std::slice::from_ref(&record), 1).expect("put"), 1);
    match daemon {
        Some(daemon) => put(daemon.engine().store()),
        None => {
            let settings = honeyguide::config::load(Some(&home.config()), None).expect("valid");
            put(&honeyguide::cli::client::open_existing(&settings).expect("opened").into_store().store);
        }
    }
}

#[test]
fn damage_is_found_by_verify_and_a_bad_sidecar_is_mended_by_rebuild() {
    for with_daemon in [false, true] {
        let home = Home::with("[journal]\nsegment_bytes = \"1 MiB\"\n");
        let file = home.write("cowrie.json", &log(7, 8_000));
        home.expect(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
        let journal = home.data().join("journal");
        let sidecar = journal.join("00000001.idx");
        assert!(sidecar.exists(), "segments were sealed");
        let before = home.expect(Exit::Done, &["top", "password", "--json", "--limit", "1000"]);
        // In the middle of the file, where opening does not look.
        flip(&sidecar);
        let daemon = with_daemon.then(|| Daemon::start(&home));
        let report = home.json(Exit::Findings, &["verify"]);
        assert_eq!(report["damage"][0]["file"], "00000001.idx", "{report}");
        let rebuilt = home.json(Exit::Done, &["rebuild"]);
        assert_eq!(rebuilt["rebuilt"], rebuilt["segments"], "{rebuilt}");
        home.expect(Exit::Done, &["verify"]);
        assert_eq!(home.expect(Exit::Done, &["top", "password", "--json", "--limit", "1000"]), before);
        let again = home.json(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
        assert_eq!((&again["events"], &again["duplicates"]), (&0.into(), &8_000.into()));

        flip(&journal.join("00000001.zst"));
        let report = home.json(Exit::Findings, &["verify"]);
        assert_eq!(report["damage"][0]["file"], "00000001.zst");
        let kept = home.json(Exit::Findings, &["rebuild"]);
        assert_eq!(kept["kept"], 1, "a whole sidecar of a damaged segment knows more than a new one would: {kept}");
        assert_eq!(home.expect(Exit::Done, &["top", "password", "--json", "--limit", "1000"]), before);
        drop(daemon);
    }
}

fn flip(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    // In place, as a disk would do it: the daemon's mapping sees it.
    use std::os::unix::fs::FileExt;
    std::fs::OpenOptions::new().write(true).open(path).expect("opened").write_all_at(&bytes, 0).expect("written");
}

#[test]
fn a_directory_that_is_in_use_or_is_none_is_explained() {
    let home = Home::new();
    let error = home.fails(&["status"]).to_string();
    assert!(error.contains("--data DIR"), "{error}");
    std::fs::create_dir(home.data()).expect("made");
    assert!(home.fails(&["top", "src_ip"]).to_string().contains("it has no journal"));
    let settings = honeyguide::config::load(Some(&home.config()), None).expect("valid");
    let file = home.write("cowrie.json", &log(8, 10));
    home.expect(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
    let held = honeyguide::cli::client::open_existing(&settings).expect("opened");
    let error = home.fails(&["status"]).to_string();
    assert!(error.contains("is in use") && error.contains("admin.sock"), "{error}");
    drop(held);
    home.expect(Exit::Done, &["status"]);
}

#[test]
fn a_daemon_of_another_data_directory_is_not_asked() {
    let home = Home::with("socket = \"one.sock\"\n");
    let daemon = Daemon::start(&home);
    let elsewhere = home.path("elsewhere");
    let error = home.fails(&["status", "--data", elsewhere.to_str().expect("UTF-8")]).to_string();
    assert!(error.contains("there is no data directory"), "{error}");
    assert_eq!(home.json(Exit::Done, &["status"])["running"], true);
    drop(daemon);
}

#[test]
fn real_logs_are_loaded_alike_with_and_without_a_daemon() {
    let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS") else {
        println!("SKIPPED: real_logs_are_loaded_alike_with_and_without_a_daemon: set HONEYGUIDE_CORPUS to a directory with real logs");
        return;
    };
    let logs = std::path::Path::new(&corpus).join("cowrie");
    let logs = logs.to_str().expect("UTF-8");
    let answers = [false, true].map(|with_daemon| {
        let home = Home::new();
        let daemon = with_daemon.then(|| Daemon::start(&home));
        let (ended, out) = home.run(&["load", logs, "--json"]);
        assert!(matches!(ended, Ok(Exit::Done | Exit::Findings)), "{ended:?}");
        let loaded: serde_json::Value = serde_json::from_str(out.trim_end()).expect("JSON");
        println!("{loaded}");
        let counts = ["files", "lines", "events", "duplicates", "rejected", "bytes"].map(|key| loaded[key].clone());
        let again = home.run(&["load", logs, "--json"]).1;
        assert_eq!(serde_json::from_str::<serde_json::Value>(again.trim_end()).expect("JSON")["events"], 0);
        let top = home.expect(Exit::Done, &["top", "password", "--json"]);
        let head = home.json(Exit::Done, &["verify"])["head"].clone();
        drop(daemon);
        (counts, top, head)
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn chat_is_told_as_a_talk_with_its_verdict() {
    let said = |sender: &str, text: &str, second: u32| {
        format!(
            "{{\"sessionId\":\"talk-1\",\"message\":{{\"sender\":\"{sender}\",\"text\":\"{text}\",\"timestamp\":\"2026-01-21T10:00:{second:02}Z\"}},\
             \"conversationHistory\":[],\"metadata\":{{\"channel\":\"SMS\",\"language\":\"English\",\"locale\":\"IN\"}}}}\n"
        )
    };
    let talk = [
        said("scammer", "Your bank account will be blocked today. Share your OTP immediately to verify.", 0),
        said("user", "How do I pay?", 20),
        said("scammer", "Send Rs 500 to helpdesk@ybl or call +91 98765 43210.", 40),
    ];
    for with_daemon in [false, true] {
        let home = Home::new();
        let daemon = with_daemon.then(|| Daemon::start(&home));
        let file = home.write("logs/chat.ndjson", talk.concat().as_bytes());
        home.expect(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
        let told = home.json(Exit::Done, &["session", "talk-1"]);
        let chat = &told[0];
        assert_eq!((&chat["scam"], &chat["state"], &chat["duration_seconds"]), (&true.into(), &"quiet".into(), &40.0.into()), "{told}");
        let found = chat["indicators"].as_array().expect("indicators");
        assert!(found.iter().any(|found| found["field"] == "upi" && found["value"] == "helpdesk@ybl"), "{told}");
        assert!(found.iter().any(|found| found["value"] == "+919876543210" && found["verbatim"] == "+91 98765 43210"), "{told}");
        assert_eq!(chat["messages"].as_array().map(Vec::len), Some(3));
        let page = home.expect(Exit::Done, &["session", "talk-1"]);
        assert!(page.contains("verdict   a scam: score") && page.contains("How do I pay?"), "{page}");
        drop(daemon);
    }
}

#[test]
fn a_question_in_the_whole_language_is_answered_alike_and_its_cost_is_told() {
    let bytes = log(11, 4_000);
    let lines = events(&bytes);
    let query = "(eventid:cowrie.login.failed OR eventid:cowrie.login.success) NOT username:root src_ip:0.0.0.0/0 exists:password username:/^[a-z]/";
    let wanted = |line: &&&str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| event[name].as_str();
        matches!(text("eventid"), Some("cowrie.login.failed" | "cowrie.login.success"))
            && text("username").is_some_and(|name| name != "root" && name.starts_with(|first: char| first.is_ascii_lowercase()))
            && text("src_ip").is_some_and(|address| !address.contains(':'))
            && text("password").is_some()
    };
    let expected = lines.iter().filter(wanted).count();
    let mut answers = Vec::new();
    for with_daemon in [false, true] {
        let home = Home::new();
        let daemon = with_daemon.then(|| Daemon::start(&home));
        home.expect(Exit::Done, &["load", home.write("logs/cowrie.json", &bytes).to_str().expect("UTF-8")]);
        let found = home.expect(Exit::Done, &["search", query, "--limit", "10000", "--json"]);
        assert!(expected > 10 && found.lines().count() == expected, "{expected}, {}", found.lines().count());
        let words = home.expect(Exit::Done, &["search", "LOGIN attempt", "NOT", "cowrie.login.failed", "--limit", "10000", "--json"]);
        assert!(words.lines().all(|line| line.to_lowercase().contains("login") && !line.contains("login.failed")));
        let mut cost = home.json(Exit::Done, &["search", query, "--limit", "10000", "--explain"]);
        assert_eq!((&cost["events"], &cost["more"]), (&expected.into(), &false.into()), "{cost}");
        assert!(cost["blocks"].as_u64() >= cost["blocks_read"].as_u64() && cost["blocks_read"].as_u64() > Some(0), "{cost}");
        cost["seconds"] = 0.into();
        let told = home.expect(Exit::Done, &["search", "src_ip:203.0.113.0/24", "--explain"]);
        assert!(told.contains("may hold a match"), "{told}");
        let none = home.json(Exit::Done, &["search", "src_ip:255.255.255.0/24", "--explain"]);
        assert_eq!((&none["blocks_read"], &none["segments_possible"]), (&0.into(), &0.into()), "{none}");
        let wrong = format!("{:#}", home.fails(&["search", "(username:root"]));
        assert!(wrong.contains("this parenthesis is never closed"), "{wrong}");
        answers.push((found, words, cost["events"].clone()));
        drop(daemon);
    }
    assert_eq!(answers[0], answers[1]);
}

/// The naive answers: events whose time is in the span and that are accepted.
fn naive<'l>(
    lines: &'l [serde_json::Value],
    wanted: impl Fn(&serde_json::Value) -> bool + 'l,
) -> impl Iterator<Item = &'l serde_json::Value> {
    lines.iter().filter(move |line| wanted(line))
}

#[test]
fn top_count_distinct_and_new_agree_with_the_lines_with_and_without_a_daemon() {
    let bytes = log(11, 6_000);
    let lines: Vec<serde_json::Value> = events(&bytes).into_iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let text = |line: &serde_json::Value, name: &str| line[name].as_str().map(str::to_owned);
    let day_of = |line: &serde_json::Value| line["timestamp"].as_str().expect("a time")[..10].to_owned();
    let days: std::collections::BTreeSet<String> = lines.iter().map(day_of).collect();
    let last_day = days.last().expect("a day").clone();
    let sensor = text(&lines[0], "sensor").expect("a sensor");
    let is_login = |line: &serde_json::Value| line["eventid"] == "cowrie.login.failed";
    let mut answers = Vec::new();
    for with_daemon in [false, true] {
        let home = Home::new();
        let daemon = with_daemon.then(|| Daemon::start(&home));
        home.expect(Exit::Done, &["load", home.write("logs/cowrie.json", &bytes).to_str().expect("UTF-8")]);

        // The words of the command line in any order give one answer.
        let pairs =
            home.json(Exit::Done, &["top", "password", "by", "src_ip", "where", "eventid:cowrie.login.failed", "--limit", "100000"]);
        for words in [
            &["top", "password", "--by", "src_ip", "eventid:cowrie.login.failed", "--limit", "100000"][..],
            &["top", "password", "where", "eventid:cowrie.login.failed", "by", "src_ip", "--limit", "100000"],
        ] {
            assert_eq!(home.json(Exit::Done, words), pairs, "{words:?}");
        }
        let mut expected = std::collections::BTreeMap::new();
        for line in naive(&lines, is_login) {
            if let (Some(password), Some(address)) = (text(line, "password"), text(line, "src_ip")) {
                *expected.entry((address, password)).or_insert(0u64) += 1;
            }
        }
        let rows = pairs.as_array().expect("rows");
        assert!(expected.len() > 20 && rows.len() == expected.len(), "{} rows, {} expected", rows.len(), expected.len());
        for row in rows {
            let key = (text(row, "by").expect("by"), text(row, "value").expect("a value"));
            assert_eq!(Some(&row["count"].as_u64().expect("a count")), expected.get(&key), "{row}");
            assert!(row.get("error_at_most").is_none(), "{row}");
        }
        // Without `by` the rows are what they always were.
        let plain = home.json(Exit::Done, &["top", "password", "where", &format!("sensor:{sensor}"), &format!("until:{last_day}")]);
        let keys: Vec<&String> = plain[0].as_object().expect("a row").keys().collect();
        assert_eq!(keys, ["count", "first_seen", "last_seen", "value"]);
        let shown = home.expect(Exit::Done, &["top", "password", "by", "src_ip"]);
        assert!(shown.lines().next().is_some_and(|head| head.ends_with("password") && head.contains("src_ip")), "{shown}");
        assert_eq!(home.expect(Exit::Done, &["top", "password", "username:*nobody*has*this*"]), "no event that matches has password\n");

        let all = home.json(Exit::Done, &["count"]);
        assert_eq!(all, serde_json::json!({"events": lines.len()}));
        let failed = naive(&lines, is_login).count();
        assert_eq!(home.json(Exit::Done, &["count", "eventid:cowrie.login.failed"])["events"], failed);
        let parsed = home.json(Exit::Done, &["count", "where", "eventid:*login.failed"]);
        assert_eq!(parsed["events"], failed);
        let by_day = home.json(Exit::Done, &["count", "by", "day", "where", "eventid:cowrie.login.failed"]);
        let sum: u64 = by_day.as_array().expect("rows").iter().map(|row| row["events"].as_u64().expect("a number")).sum();
        assert_eq!(sum, failed as u64);
        for row in by_day.as_array().expect("rows") {
            let day = &row["from"].as_str().expect("a time")[..10];
            assert_eq!(row["events"], naive(&lines, |line| is_login(line) && day_of(line) == day).count(), "{row}");
        }
        let by_hour = home.json(Exit::Done, &["count", "--by", "hour", &format!("since:{last_day}T05:30:00Z")]);
        let late =
            naive(&lines, |line| line["timestamp"].as_str().expect("a time") >= format!("{last_day}T05:30:00Z").as_str()).count() as u64;
        assert_eq!(by_hour.as_array().expect("rows").iter().map(|row| row["events"].as_u64().expect("a number")).sum::<u64>(), late);
        let shown = home.expect(Exit::Done, &["count", "by", "week"]);
        assert!(shown.starts_with("week from") && shown.contains('█'), "{shown}");

        for (field, words) in [("src_ip", &[][..]), ("src_ip", &["where", "eventid:cowrie.login.failed"]), ("session", &[])] {
            let wanted = |line: &serde_json::Value| words.is_empty() || is_login(line);
            let values: std::collections::BTreeSet<_> = naive(&lines, wanted).filter_map(|line| text(line, field)).collect();
            let found = home.json(Exit::Done, &[&["distinct", field], words].concat());
            assert_eq!(found, serde_json::json!({"field": field, "distinct": values.len(), "exact": true}));
        }

        let since = format!("since:{last_day}");
        let new = home.json(Exit::Done, &["new", "src_ip", &since, "--limit", "100000"]);
        assert_eq!(home.json(Exit::Done, &["new", "src_ip", "--since", &last_day, "--limit", "100000"]), new);
        let old: std::collections::BTreeSet<_> =
            naive(&lines, |line| day_of(line) < last_day).filter_map(|line| text(line, "src_ip")).collect();
        let fresh: std::collections::BTreeSet<_> =
            lines.iter().filter_map(|line| text(line, "src_ip")).filter(|ip| !old.contains(ip)).collect();
        let found: std::collections::BTreeSet<_> = new.as_array().expect("rows").iter().filter_map(|row| text(row, "value")).collect();
        assert_eq!(found, fresh);
        let firsts: Vec<_> = new.as_array().expect("rows").iter().map(|row| text(row, "first_seen")).collect();
        assert!(firsts.is_sorted_by(|a, b| a >= b), "the newest first");
        assert_eq!(home.expect(Exit::Done, &["new", "cve", "--since", "1h"]), "no new cve\n");

        for (words, told) in [
            (&["top", "password", "by", "srcip"][..], "there is no field `srcip`: did you mean `src_ip`?"),
            (&["top", "password", "by", "password"], "password cannot be counted by itself"),
            (&["top", "password", "--by", "src_ip", "by", "sensor"], "one `by` is enough"),
            (&["top", "password", "where", "usrname:root"], "did you mean `username`?"),
            (&["top", "password", "where"], "where what?"),
            (&["count", "by"], "by what?"),
            (&["count", "by", "src_ip"], "`honeyguide top src_ip` counts the values of a field"),
            (&["count", "by", "day", "since:2026-02-30"], "`2026-02-30` is no time"),
            (&["count", "since:2026-03-22", "until:2026-03-20"], "no time is left"),
            (&["distinct", "src_ip", "by", "sensor"], "`honeyguide top FIELD by FIELD` counts pairs"),
            (&["new", "src_ip"], "new since when?"),
            (&["new", "src_ip", "since:7d", "username:root"], "nothing else can be asked here"),
            (&["new", "src_ip", "--since", "1d", "--until", "2d"], "no time is left"),
            (&["search", "since:1d until:2d"], "no time is left"),
        ] {
            let error = home.fails(words);
            assert!(error.to_string().contains(told), "{words:?}: {error:#}");
            assert!(error.chain().any(|cause| cause.is::<honeyguide::cli::context::Usage>()), "{words:?}: {error:#}");
        }
        if let Some(daemon) = &daemon {
            for (path, status, told) in [
                ("/api/v1/terms/password?by=src_ip&query=eventid:cowrie.login.failed&limit=100000", 200, None),
                ("/api/v1/count?query=eventid:cowrie.login.failed", 200, Some(format!("{{\"events\":{failed}}}"))),
                ("/api/v1/count/cost?by=day", 200, Some("\"blocks_possible\":0".to_owned())),
                ("/api/v1/terms/src_ip/cost?query=NOT%20username:root", 200, Some(format!("\"events\":{}", lines.len()))),
                ("/api/v1/distinct/src_ip", 200, Some("\"exact\":true".to_owned())),
                ("/api/v1/terms/src_ip/new?since=3000d&limit=1", 200, Some("first_seen".to_owned())),
                ("/api/v1/terms/srcip", 404, Some("did you mean `src_ip`?".to_owned())),
                ("/api/v1/terms/password?by=srcip", 400, Some("did you mean `src_ip`?".to_owned())),
                ("/api/v1/terms/password?by=password", 400, Some("by itself".to_owned())),
                ("/api/v1/terms/src_ip/new?since=1h%20username:root", 400, Some("nothing else can be asked".to_owned())),
                ("/api/v1/terms/src_ip/new", 400, None),
                ("/api/v1/count?by=month", 400, Some("by hour, day or week".to_owned())),
                ("/api/v1/count?query=since:1h%20until:2h", 400, Some("no time is left".to_owned())),
                ("/api/v1/distinct/nosuch", 404, None),
            ] {
                let answer = daemon.get(path);
                assert_eq!(answer.status, status, "{path}: {}", answer.text());
                assert!(told.is_none_or(|told| answer.text().contains(&told)), "{path}: {}", answer.text());
            }
            assert_eq!(daemon.get("/api/v1/terms/password?by=src_ip&query=eventid:cowrie.login.failed&limit=100000").json(), pairs);
        }
        answers.push((pairs, plain, by_day, by_hour, new));
        drop(daemon);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn settings_in_force_are_told_without_what_may_be_secret() {
    let home = Home::with("[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"hunter2/out.ndjson\"\nbatch_events = 7\n");
    std::fs::create_dir(home.path("hunter2")).expect("made");
    let stopped = home.json(Exit::Done, &["config"]);
    let daemon = Daemon::start(&home);
    assert_eq!(home.json(Exit::Done, &["config"]), stopped);
    assert_eq!(daemon.get("/api/v1/configuration").json(), stopped);
    let text = home.expect(Exit::Done, &["config"]);
    assert!(text.contains("[[sink]]\n") && text.contains("batch_events = 7\n") && text.contains("# path = <hidden>\n"), "{text}");
    assert!(!text.contains("hunter2") && !stopped.to_string().contains("hunter2"), "{text}");
}
