//! Redaction by the real binary: nothing of what is redacted is anywhere on disk, each event is there once, and what leaves is redacted.
//!
//! `HONEYGUIDE_KILLS` as in `sigkill`. Messages of real chats are loaded when `HONEYGUIDE_CORPUS` is set.
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const RULES: &str = "[[redact]]\nfields = [\"password\"]\naction = \"hash\"\n[[redact]]\nkinds = [\"email\", \"phone\", \"card\"]\naction = \"mask\"\n";

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
        assert!(output.status.code().is_some_and(|code| code < 2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
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
        assert_eq!(report["sound"].as_bool().unwrap_or(true), true, "{report}");
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
    let there: Vec<&String> = secrets.iter().filter(|secret| text.contains(secret.as_str())).collect();
    assert!(there.len() > 10, "the test would show nothing: {there:?}");
    let place = Place::new(RULES);
    let (events, duplicates, refused) = place.load(&requests, "chat");
    assert!(events > 100 && refused == 0, "{events} {duplicates} {refused}");
    // A bank's account number may hold the digits of somebody's telephone: then it is no telephone's.
    let kept = |secret: &&str| secret.starts_with('+') || secret.contains('@') || !text.contains(&format!("{secret}@"));
    place.assert_nowhere(there.iter().map(|secret| secret.as_str()).filter(kept));
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

#[test]
fn check_and_explain_say_what_happens() {
    let place = Place::new(RULES);
    let check = place.text(&["check"]);
    assert!(check.contains("password: replaced by a keyed hash before they are stored"), "{check}");
    let explained = place.text(&["explain", &line(1)]);
    assert!(explained.contains("stored as") && explained.contains("echo [email] [phone] [card]") && !explained.contains("planted"), "{explained}");
    std::fs::remove_file(place.path("key")).unwrap();
    let refused = place.command(&["load", place.path("key").to_str().unwrap()]).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("cannot read the key of privacy"));
}
