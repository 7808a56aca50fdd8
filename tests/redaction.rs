//! Redaction by the real binary: nothing of what is redacted is anywhere on disk, each event is there once, and what leaves is redacted.
//!
//! `HONEYGUIDE_KILLS` as in `sigkill`. Messages of real chats are loaded when `HONEYGUIDE_CORPUS` is set.
mod served;

use honeyguide::cli::context::{Exit, Usage};
use serde_json::{Value, json};
use served::{Daemon, Home};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const RULES: &str =
    "[[redact]]\nfields = [\"password\"]\naction = \"hash\"\n[[redact]]\nkinds = [\"email\", \"phone\", \"card\"]\naction = \"mask\"\n";

/// A data directory with a configuration beside it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(config: &str) -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        std::fs::write(place.path("key"), "ab".repeat(32)).unwrap();
        place.configure(config);
        place
    }

    fn configure(&self, config: &str) {
        let config = format!("{config}\n[privacy]\nkey_file = \"key\"\n[admin]\nlisten = \"off\"\n[journal]\nsegment_bytes = \"1 MiB\"\n");
        std::fs::write(self.path("honeyguide.toml"), config).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_honeyguide"));
        command.args(arguments).arg("--config").arg(self.path("honeyguide.toml")).arg("--data").arg(self.path("data"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        // Refused lines are findings: 3.
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{arguments:?}: {:?} {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.run(arguments).stdout).unwrap()
    }

    /// Loads a file; answers how many events were new, were there, and were refused.
    fn load(&self, file: &Path, format: &str) -> (u64, u64, u64) {
        let text = self.text(&["load", file.to_str().unwrap(), "--format", format, "--json"]);
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let number = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {text}"));
        (number("events"), number("duplicates"), number("rejected"))
    }

    /// Every file of the data directory as it is, and everything compressed that lies anywhere in it.
    fn everything_stored(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut dirs = vec![self.path("data")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => dirs.push(path),
                    kind if kind.is_file() => {
                        let bytes = std::fs::read(&path).unwrap();
                        for at in memchr::memmem::find_iter(&bytes, &[0x28, 0xB5, 0x2F, 0xFD]) {
                            let mut unpacked = Vec::new();
                            let mut decoder = zstd::stream::read::Decoder::new(&bytes[at..]).unwrap().single_frame();
                            // What only looks like a frame gives what it gives.
                            let _ = std::io::Read::read_to_end(&mut decoder, &mut unpacked);
                            all.push((path.clone(), unpacked));
                        }
                        all.push((path, bytes));
                    }
                    _ => {}
                }
            }
        }
        all
    }

    fn assert_nowhere<'s>(&self, secrets: impl IntoIterator<Item = &'s str>) {
        let stored = self.everything_stored();
        for secret in secrets {
            let holds = stored.iter().filter(|(_, bytes)| memchr::memmem::find(bytes, secret.as_bytes()).is_some());
            let holds: BTreeSet<&Path> = holds.map(|(path, _)| path.as_path()).collect();
            assert!(holds.is_empty(), "{secret} is in {holds:?}");
        }
    }

    fn events(&self) -> u64 {
        let report: Value = serde_json::from_str(&self.text(&["verify", "--json"])).unwrap();
        assert!(report["sound"].as_bool().unwrap_or(true), "{report}");
        report["events"].as_u64().unwrap()
    }
}

fn line(number: u64) -> String {
    json!({
        "eventid": "cowrie.command.input", "timestamp": format!("2026-03-{:02}T00:00:00.{:06}Z", 1 + number % 28, number),
        "session": format!("s{}", number / 10), "src_ip": "198.51.100.7", "sensor": "hp1", "username": "root",
        "password": format!("Secret-{number}"),
        "input": format!("echo planted{number}@example.com +91 98765 {:05} 4111 1111 1111 1111 > /tmp/x", number % 100_000),
    })
    .to_string()
}

fn write_lines(path: &Path, lines: impl Iterator<Item = String>) -> u64 {
    let lines: Vec<String> = lines.collect();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
    lines.len() as u64
}

#[test]
fn nothing_redacted_is_stored_anywhere_and_reading_it_again_stores_nothing() {
    let place = Place::new(RULES);
    let log = place.path("log.json");
    write_lines(&log, (0..300).map(line).chain(["broken9@example.com {".into(), "{\"input\":\"torn9@example.com".into()]));
    assert_eq!(place.load(&log, "cowrie"), (300, 0, 2));
    let secrets = ["Secret-", "planted", "broken9", "torn9", "98765 0", "+9198765", "4111 1111", "4111111111111111"];
    place.assert_nowhere(secrets);
    let record: Value = serde_json::from_str(&place.text(&["search", "eventid:cowrie.command.input", "--limit", "1", "--json"])).unwrap();
    assert_eq!(record["input"], "echo [email] [phone] [card] > /tmp/x");
    assert_eq!((&record["username"], &record["sensor"]), (&json!("root"), &json!("hp1")));
    assert!(record["password"].as_str().unwrap().starts_with("[password:"));
    let refused = place.text(&["quarantine", "list", "--json"]);
    assert!(refused.contains("its text is withheld"), "{refused}");
    // The same file, its twin, and the twin when there are no rules any more.
    assert_eq!(place.load(&log, "cowrie").0, 0);
    let twin = place.path("twin.json");
    std::fs::copy(&log, &twin).unwrap();
    assert_eq!(place.load(&twin, "cowrie"), (0, 300, 2));
    place.configure("");
    let other = place.path("other.json");
    write_lines(&other, (0..301).map(line));
    assert_eq!(place.load(&other, "cowrie"), (1, 300, 0));
    assert_eq!(place.events(), 301);
}

#[test]
fn a_retry_under_rules_leaves_no_text_of_before_them() {
    for key in [true, false] {
        let place = Place::new("");
        let log = place.path("log.json");
        write_lines(&log, (0..10).map(line).chain(["{\"input\":\"torn9@example.com".into()]));
        assert_eq!(place.load(&log, "cowrie"), (10, 0, 1));
        let held = |(_, bytes): &(PathBuf, Vec<u8>)| memchr::memmem::find(bytes, b"torn9@").is_some();
        assert!(place.everything_stored().iter().any(held));
        place.configure(RULES);
        if !key {
            let config = std::fs::read_to_string(place.path("honeyguide.toml")).unwrap().replace("key_file = \"key\"", "");
            std::fs::write(place.path("honeyguide.toml"), config.replace("action = \"hash\"", "action = \"drop\"")).unwrap();
        }
        for _ in 0..2 {
            place.run(&["quarantine", "retry", "--all"]);
            place.assert_nowhere(["torn9"]);
            let records = place.text(&["quarantine", "list", "--json"]);
            let plain = blake3::hash(b"{\"input\":\"torn9@example.com").to_hex();
            assert!(records.contains("withheld") && !records.contains(plain.as_str()), "{records}");
        }
    }
}

#[test]
fn events_stored_before_the_rules_are_known_when_they_come_again() {
    let place = Place::new("");
    let log = place.path("log.json");
    write_lines(&log, (0..200).map(line));
    assert_eq!(place.load(&log, "cowrie"), (200, 0, 0));
    place.configure(RULES);
    let longer = place.path("longer.json");
    write_lines(&longer, (0..250).map(line));
    assert_eq!(place.load(&longer, "cowrie"), (50, 200, 0));
    assert_eq!(place.events(), 250);
}

#[test]
fn real_chats_keep_their_scams_and_lose_their_numbers() {
    let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS").map(PathBuf::from) else {
        println!("SKIPPED: real_chats_keep_their_scams_and_lose_their_numbers: HONEYGUIDE_CORPUS is not set");
        return;
    };
    let mut secrets = BTreeSet::new();
    for line in std::fs::read_to_string(corpus.join("chat/conversations.ndjson")).unwrap().lines() {
        let conversation: Value = serde_json::from_str(line).unwrap();
        for name in ["phoneNumbers", "emailAddresses", "emails"] {
            for value in conversation["expected"][name].as_array().into_iter().flatten() {
                let value = value.as_str().unwrap();
                secrets.insert(value.to_owned());
                if name == "phoneNumbers" {
                    secrets.insert(value.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect());
                }
            }
        }
    }
    let requests = corpus.join("chat/requests.ndjson");
    let text = std::fs::read_to_string(&requests).unwrap();
    // `1800-XXX-XXXX` has no digits that say anything.
    let is_long = |secret: &&String| secret.chars().filter(char::is_ascii_digit).count() >= 7 || secret.contains('@');
    let there: Vec<&String> = secrets.iter().filter(is_long).filter(|secret| text.contains(secret.as_str())).collect();
    assert!(there.len() > 10, "the test would show nothing: {there:?}");
    let place = Place::new(RULES);
    let (events, duplicates, refused) = place.load(&requests, "chat");
    assert!(events > 100 && refused == 0, "{events} {duplicates} {refused}");
    // The digits of a telephone may also stand in the number of an account, or before the sign of a UPI id: those are other things.
    for (path, bytes) in place.everything_stored() {
        for secret in &there {
            let own = |at: usize| {
                let (before, behind) = (at.checked_sub(1).and_then(|before| bytes.get(before)), bytes.get(at + secret.len()));
                !before.is_some_and(u8::is_ascii_digit) && !behind.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'@')
            };
            let stands = memchr::memmem::find_iter(&bytes, secret.as_bytes()).find(|&at| own(at));
            let around = stands.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(60)..bytes.len().min(at + 40)]).into_owned());
            assert_eq!(around, None, "{secret} is in {}", path.display());
        }
    }
    for field in ["phone", "email"] {
        let top: Value = serde_json::from_str(&place.text(&["top", field, "--json"])).unwrap();
        assert_eq!(top.as_array().or(top["rows"].as_array()).map(Vec::len), Some(0), "{top}");
    }
    assert_eq!(place.load(&requests, "chat"), (0, events + duplicates, 0));
}

#[test]
fn a_redacting_load_survives_being_killed_at_any_moment() {
    let place = Place::new(RULES);
    let log = place.path("log.json");
    let mut written = write_lines(&log, (0..20_000).map(line));
    let kills: u64 = std::env::var("HONEYGUIDE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6);
    for kill in 0..kills {
        let mut load = place.command(&["load", log.to_str().unwrap(), "--format", "cowrie"]);
        let mut load = load.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(30 + 97 * kill % 500));
        if load.try_wait().unwrap().is_some() {
            written = write_lines(&log, (0..written + 5_000).map(line));
        } else {
            load.kill().unwrap();
            load.wait().unwrap();
        }
    }
    place.load(&log, "cowrie");
    assert_eq!(place.events(), written);
    assert_eq!(place.load(&log, "cowrie"), (0, written, 0));
    place.assert_nowhere(["Secret-", "planted", "98765 0", "4111 1111"]);
}

#[test]
fn what_leaves_is_redacted_also_if_it_was_stored_before() {
    let rules = RULES.replace("action", "when = \"export\"\naction");
    let place = Place::new("");
    let (log, all, clear) = (place.path("log.json"), place.path("all.ndjson"), place.path("clear.ndjson"));
    let sink = |name: &str, path: &Path, more: &str| {
        format!("[[sink]]\nname = \"{name}\"\ntype = \"file\"\npath = \"{}\"\n{more}\n", path.to_str().unwrap())
    };
    write_lines(&log, (0..100).map(line));
    assert_eq!(place.load(&log, "cowrie"), (100, 0, 0));
    place.configure(&format!("{rules}{}{}", sink("all", &all, "envelope = true"), sink("clear", &clear, "redact = false")));
    let mut daemon = place.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let until = Instant::now() + Duration::from_secs(60);
    while lines(&all) < 100 || lines(&clear) < 100 {
        assert!(Instant::now() < until, "{} and {} of 100 events", lines(&all), lines(&clear));
        std::thread::sleep(Duration::from_millis(20));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    let redacted = std::fs::read_to_string(&all).unwrap();
    for secret in ["Secret-", "planted", "98765 0", "4111 1111"] {
        assert!(!redacted.contains(secret), "{secret}");
    }
    assert!(redacted.contains("echo [email] [phone] [card] > /tmp/x") && redacted.contains("[password:"));
    // Nor can the receiver try out what was left out by the id.
    let id = honeyguide::events::EventId::of_line(line(0).as_bytes()).to_string();
    assert!(!redacted.contains(&id));
    assert_eq!(std::fs::read_to_string(&clear).unwrap(), std::fs::read_to_string(&log).unwrap());
    let all_of_them = ["search", "sensor:hp1", "--limit", "1000", "--json"];
    assert!(place.text(&all_of_them).contains("planted"));
    let searched = place.text(&[&all_of_them[..], &["--redact"]].concat());
    assert!(searched.lines().count() == 100 && !searched.contains("planted") && searched.contains("[phone]"));
    let session = place.text(&["session", "s1", "--redact"]);
    assert!(session.contains("[email]") && !session.contains("planted"), "{session}");
    let out = place.path("indicators.csv");
    place.run(&["indicators", "export", "--format", "csv", "--all", "--redact", "--out", out.to_str().unwrap()]);
    let exported = std::fs::read_to_string(&out).unwrap();
    assert!(exported.contains("198.51.100.7") && !exported.contains("planted"), "{exported}");
}

const EXPORTED: &str = "[privacy]\nkey_file = \"key\"\n[[redact]]\nfields = [\"password\"]\naction = \"hash\"\nwhen = \"export\"\n\
    [[redact]]\nkinds = [\"phone\"]\naction = \"mask\"\nwhen = \"export\"\n";

/// A home with events of formats that look like others, loaded in clear.
fn of_formats(rules: &str) -> Home {
    let formats = "[[format]]\nname = \"mycowrie\"\nsession = \"session\"\nfields = { password = \"pw\" }\n\
        [[format]]\nname = \"mychat\"\nlike = \"chat\"\nwrap = \"docker\"\n";
    let home = Home::with(&format!("{formats}{rules}"));
    home.write("key", "ab".repeat(32).as_bytes());
    let mine = json!({ "eventid": "cowrie.login.failed", "session": "s-mine", "timestamp": "2026-03-01T00:00:00Z", "pw": "TopSecret99" });
    let chat = json!({
        "sessionId": "s-chat", "conversationHistory": [],
        "message": { "sender": "scammer", "text": "call 98765 43210 at once", "timestamp": 1_772_323_200_000_u64 },
    });
    let wrapped = json!({ "log": format!("{chat}\n"), "stream": "stdout", "time": "2026-03-01T00:00:00Z" });
    for (format, line) in [("mycowrie", mine), ("mychat", wrapped)] {
        let file = home.write(&format!("{format}.json"), format!("{line}\n").as_bytes());
        home.expect(Exit::Done, &["load", "--format", format, file.to_str().unwrap()]);
    }
    home
}

#[test]
fn lines_leave_redacted_by_the_format_they_were_stored_with() {
    for with_daemon in [false, true] {
        let home = of_formats(EXPORTED);
        let daemon = with_daemon.then(|| Daemon::start(&home));
        for words in [&["search", "exists:session", "--raw"][..], &["session", "s-mine"], &["session", "s-chat"]] {
            let clear = home.expect(Exit::Done, words);
            assert!(words[0] == "session" || (clear.contains("TopSecret99") && clear.contains("98765 43210")), "{clear}");
            let left = home.expect(Exit::Done, &[words, &["--redact"]].concat());
            assert!(!left.contains("TopSecret99") && !left.contains("98765"), "{words:?}: {left}");
            assert!(words[0] == "session" || (left.contains("\"pw\":\"[password:") && left.contains("[phone]")), "{left}");
        }
        let Some(daemon) = &daemon else { continue };
        let page = daemon.get("/api/v1/events/page?query=exists:session&redact=true");
        assert!(page.text().contains("[phone]") && !page.text().contains("TopSecret99"), "{page:?}");
    }
}

#[test]
fn a_daemon_with_other_rules_or_none_shows_nothing() {
    let (file, rules) = ("honeyguide.toml", EXPORTED.split_once("[[redact]]").unwrap());
    for (in_force, why) in [(rules.0.to_owned(), "no [[redact]] is in force"), (EXPORTED.replace("phone", "card"), "reload it")] {
        let home = of_formats(&in_force);
        let daemon = Daemon::start(&home);
        // The configuration that the commands read, which the daemon has not.
        let config = std::fs::read_to_string(home.path(file)).unwrap().replace(&in_force, EXPORTED);
        home.write(file, config.as_bytes());
        let table = home.path("table.parquet");
        let table = table.to_str().unwrap();
        for words in [
            &["search", "exists:session"][..],
            &["session", "s-mine"],
            &["search", "exists:session", "--format", "parquet", "--out", table],
        ] {
            let (ended, out) = home.run(&[words, &["--redact"]].concat());
            let error = ended.unwrap_err();
            assert!(out.is_empty() && error.to_string().contains(why) && !error.is::<Usage>(), "{words:?}: {error:#}\n{out}");
        }
        assert!(!home.path("table.parquet").exists());
        let plain = daemon.get("/api/v1/events?query=exists:session&redact=true");
        assert_eq!(plain.status, if in_force == rules.0 { 400 } else { 200 }, "{plain:?}");
        assert!(!plain.text().contains("TopSecret99"), "{plain:?}");
    }
}

#[test]
fn a_redacted_table_says_neither_what_was_asked_nor_what_a_line_was() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    for with_daemon in [false, true] {
        let home = of_formats(EXPORTED);
        let _daemon = with_daemon.then(|| Daemon::start(&home));
        let line = std::fs::read_to_string(home.path("mycowrie.json")).unwrap();
        let id = honeyguide::events::EventId::of_line(line.trim_end().as_bytes()).to_string();
        for (redact, clear) in [(&[][..], true), (&["--redact"][..], false)] {
            let table = home.path("table.parquet");
            let words = ["search", "session:s-mine", "TopSecret99", "--format", "parquet", "--out", table.to_str().unwrap()];
            home.expect(Exit::Done, &[&words, redact].concat());
            let read = SerializedFileReader::new(std::fs::File::open(&table).unwrap()).unwrap();
            let about = read.metadata().file_metadata().key_value_metadata().unwrap();
            assert_eq!(about.iter().any(|entry| entry.value.as_deref().is_some_and(|value| value.contains("TopSecret99"))), clear);
            let rows: Vec<_> = read.get_row_iter(None).unwrap().map(Result::unwrap).collect();
            assert_eq!(rows.len(), 1);
            let names: Vec<&String> = rows[0].get_column_iter().map(|(name, _)| name).collect();
            let of = |name: &str| names.iter().position(|known| *known == name).unwrap();
            assert_eq!(rows[0].get_string(of("line")).unwrap().contains("TopSecret99"), clear);
            assert_eq!(*rows[0].get_string(of("id")).unwrap() == id, clear, "{}", rows[0]);
        }
    }
}

fn chunk(data: String) -> honeyguide::sources::Chunk {
    use honeyguide::sources::{Chunk, Format, Origin, Source};
    let origin = Origin {
        source: Source { name: "s".into(), format: Format::COWRIE }.into(),
        stream: "".into(),
        run: 0,
        ordinal: 0,
        path: "".into(),
        offset: 0,
        generation: 0,
        first_seen: 0,
        input_bytes: 0,
        received_at: 1_774_138_242_831_494,
        reflowed: false,
        checkpoint: vec![],
        permit: None,
        only_sensors: None,
    };
    Chunk { origin, data: data.into_bytes(), places: vec![], refused: vec![], stored: None }
}

/// The three kinds, hashed.
fn kinds() -> honeyguide::redact::Policy {
    use honeyguide::redact::{Action, Key, Kind, Policy, Rule, Stage};
    let kinds = Kind::ALL.to_vec();
    let rule = Rule { fields: vec![], kinds, action: Action::Hash, stage: Stage::Store, sources: vec![], sensors: vec![] };
    Policy { rules: vec![rule], key: Some(Key::new(&[7; 32])) }
}

#[test]
fn a_redacted_batch_is_what_its_stored_lines_say() {
    use honeyguide::events::EventId;
    use honeyguide::events::batch::{Batcher, Known, StoredRun};
    use honeyguide::redact::Handle;
    let clean = "{\"eventid\":\"cowrie.session.connect\",\"src_ip\":\"198.51.100.7\"}".to_owned();
    let text = format!("{}\n{clean}\n{}\n{}\n", line(1), line(2), line(1));
    let mut batcher = Batcher::new().with_privacy(Handle::new(kinds()));
    let batch = batcher.extract(chunk(text.clone()), &());
    assert_eq!((batch.events, batch.duplicates), (3, 1));
    assert!(batch.origin.reflowed && !String::from_utf8_lossy(&batch.lines).contains("planted"));
    // Line hashes are of what is stored, ids of what was read, hidden; a line that is as it was keeps its id.
    assert_eq!(batch.line_hashes()[0], EventId::of_line(batch.line(0)));
    let key = kinds().key.unwrap();
    let plain = [line(1), clean, line(2)].map(|line| EventId::of_line(line.as_bytes()));
    assert_eq!(batch.ids, [key.id(plain[0]), plain[1], key.id(plain[2])]);
    assert_eq!(batch.other_ids(), [plain[0], key.id(plain[1]), plain[2]]);
    assert_eq!(batch.explicit_ids(), batch.ids);
    let format = Some(batch.origin.source.format);
    let run = StoredRun { events: 3, format, received_at: batch.origin.received_at, ids: batch.explicit_ids() };
    let (terms, times, ids) = Batcher::new().index(&batch.lines, &[run]);
    assert_eq!((&ids, &times), (&batch.ids, &batch.times));
    assert_eq!(format!("{terms:?}"), format!("{:?}", batch.terms));
    // Either id makes an event known.
    struct Journal(Vec<EventId>);
    impl Known for Journal {
        fn mark(&self, ids: &[EventId], _: &[i32], known: &mut [bool]) {
            ids.iter().zip(known).for_each(|(id, known)| *known |= self.0.contains(id));
        }
    }
    for known in [vec![plain[0]], vec![key.id(plain[0])]] {
        let batch = batcher.extract(chunk(text.clone()), &Journal(known));
        assert_eq!((batch.events, batch.duplicates), (2, 2));
        assert_eq!(batch.other_ids(), [key.id(plain[1]), plain[2]]);
    }
    // What turns out to be known when it is committed goes with all that belongs to it.
    let mut batch = batcher.extract(chunk(text), &());
    batch.retain(&[false, true, true], &mut batcher);
    assert_eq!((&batch.ids[..], batch.other_ids()), (&[plain[1], key.id(plain[2])][..], &[key.id(plain[1]), plain[2]][..]));
    assert_eq!(batch.line_hashes()[1], EventId::of_line(batch.line(1)));
}

/// `cargo test --test redaction -- --ignored --nocapture what_redaction_costs`: microseconds an event, by whether there is a policy.
#[test]
#[ignore = "a measurement"]
fn what_redaction_costs() {
    use honeyguide::events::batch::Batcher;
    use honeyguide::redact::{Handle, Policy, Rule};
    use honeyguide::sources::{Format, Source};
    let kinds = kinds();
    let password = Rule { fields: vec![honeyguide::events::Field::Password], kinds: vec![], ..kinds.rules[0].clone() };
    let fields = Policy { rules: vec![password], ..kinds.clone() };
    let commands: String = (0..5_000).map(|number| line(number) + "\n").collect();
    let shells: String =
        (0..5_000).map(|number| line(number).replace('@', " ").replace("+91 98765", "x").replace("4111", "x") + "\n").collect();
    let mut inputs = vec![("commands with secrets", Format::COWRIE, commands), ("commands without", Format::COWRIE, shells)];
    if let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS").map(PathBuf::from) {
        let text = std::fs::read_to_string(corpus.join("chat/requests.ndjson")).unwrap();
        let many = (0..20).map(|copy| text.replace("\"timestamp\": \"2026", &format!("\"timestamp\": \"{}", 2000 + copy))).collect();
        inputs.push(("chats", Format::CHAT, many));
    }
    for (name, format, text) in inputs {
        for (policy_name, policy) in [("none", Policy::default()), ("a field", fields.clone()), ("three kinds", kinds.clone())] {
            let mut best = f64::MAX;
            for _ in 0..7 {
                let mut batcher = Batcher::new().with_privacy(Handle::new(policy.clone()));
                let mut chunk = chunk(text.clone());
                chunk.origin.source = Source { name: "s".into(), format }.into();
                let started = Instant::now();
                let batch = batcher.extract(chunk, &());
                let events = batch.events + batch.duplicates;
                best = best.min(started.elapsed().as_secs_f64() * 1e6 / f64::from(events));
            }
            println!("{name}, policy of {policy_name}: {best:.2} µs an event");
        }
    }
}

#[test]
fn check_and_explain_say_what_happens() {
    let place = Place::new(RULES);
    let check = place.text(&["check"]);
    assert!(check.contains("password: replaced by a keyed hash before they are stored"), "{check}");
    let explained = place.text(&["explain", &line(1)]);
    assert!(
        explained.contains("stored as") && explained.contains("echo [email] [phone] [card]") && !explained.contains("planted"),
        "{explained}"
    );
    std::fs::remove_file(place.path("key")).unwrap();
    let refused = place.command(&["load", place.path("key").to_str().unwrap()]).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("cannot read the key of privacy"));
}
