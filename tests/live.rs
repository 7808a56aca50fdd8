//! The live stream of a real daemon: what watchers get, what they are told of what they do not get, and who is not let in.
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, HandshakeError, Message, WebSocket};

const DEADLINE: Duration = Duration::from_secs(60);

fn honeyguide() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_honeyguide"));
    command.env_remove("RUNTIME_DIRECTORY").env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Line number `n` of a log, from 1; its event gets the sequence number `n`.
fn line(n: u64) -> String {
    let user = ["root", "admin", "pi"][(n % 3) as usize];
    format!(
        r#"{{"eventid":"cowrie.login.failed","username":"{user}","password":"p{n}","session":"{n:012x}","src_ip":"192.0.2.1","sensor":"pot","message":"{:200}","timestamp":"2026-03-01T00:00:00.000000Z"}}"#,
        ""
    )
}

/// A log, and a daemon that follows it.
struct Pot {
    dir: tempfile::TempDir,
    config: PathBuf,
    written: u64,
    daemon: Option<Daemon>,
}

struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

impl Pot {
    /// `more`: keys of `[admin]`, and further tables.
    fn new(more: &str) -> Pot {
        let dir = tempfile::tempdir().expect("temporary directory");
        let config = dir.path().join("honeyguide.toml");
        let text = format!("data_dir = \"data\"\n[[source]]\nname = \"pot\"\npaths = [\"cowrie.json\"]\n[admin]\nlisten = \"off\"\n{more}");
        std::fs::write(&config, text).expect("written");
        std::fs::write(dir.path().join("cowrie.json"), "").expect("written");
        let mut pot = Pot { dir, config, written: 0, daemon: None };
        pot.start();
        pot
    }

    fn start(&mut self) {
        let mut child = honeyguide().args(["run", "--config"]).arg(&self.config).stderr(Stdio::inherit()).spawn().expect("spawned");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let daemon = Daemon { child, lines };
        daemon.record("daemon_started");
        self.daemon = Some(daemon);
    }

    fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        kill(Pid::from_raw(daemon.child.id() as i32), Signal::SIGTERM).expect("it runs");
        assert_eq!(daemon.record("daemon_stopped")["drained"], true);
        assert_eq!(daemon.child.wait().expect("ended").code(), Some(0));
    }

    fn append(&mut self, events: u64) {
        let mut log = std::fs::OpenOptions::new().append(true).open(self.dir.path().join("cowrie.json")).expect("opened");
        let text: String = (1..=events).map(|n| line(self.written + n) + "\n").collect();
        log.write_all(text.as_bytes()).expect("written");
        self.written += events;
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("data/admin.sock")).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream
    }

    /// A watcher, or the answer that it is none.
    fn ask(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Watcher, (u16, Value)> {
        let mut request = format!("ws://localhost{path}").into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a value"));
        }
        match tungstenite::client(request, self.connect()) {
            Ok((socket, _)) => Ok(Watcher { socket }),
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                let body = answer.body().clone().unwrap_or_default();
                Err((answer.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn watch(&self) -> Watcher {
        let mut watcher = self.ask("/api/v1/live", &[]).unwrap_or_else(|answer| panic!("{answer:?}"));
        let hello = watcher.hear();
        assert_eq!((&hello["type"], &hello["protocol"]), (&json!("hello"), &json!(1)));
        watcher
    }

    fn tap(&self, words: &[&str]) -> Command {
        let mut command = honeyguide();
        command.arg("tap").args(words).arg("--config").arg(&self.config);
        command
    }
}

impl Daemon {
    fn record(&self, action: &str) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {action} in the log"));
            let record: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("a line that is no JSON: {line}"));
            if record["event.action"] == action {
                return record;
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Of a test that failed; one that has ended cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Watcher {
    socket: WebSocket<UnixStream>,
}

impl Watcher {
    fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).expect("sent");
    }

    fn subscribe(&mut self, id: &str, query: &str) -> u64 {
        self.say(json!({ "type": "subscribe", "id": id, "query": query }));
        let told = self.hear();
        assert_eq!((&told["type"], &told["id"]), (&json!("subscribed"), &json!(id)), "{told}");
        told["from"].as_u64().expect("a number")
    }

    fn hear(&mut self) -> Value {
        loop {
            match self.socket.read().expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn events(&mut self, count: usize) -> Vec<Value> {
        let events: Vec<Value> = (0..count).map(|_| self.hear()).collect();
        assert!(events.iter().all(|event| event["type"] == "event"), "{events:?}");
        events
    }

    /// The code with which the daemon closes.
    fn close_code(&mut self) -> u16 {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => return frame.expect("with a reason").code.into(),
                Ok(_) => {}
                Err(error) => panic!("no close: {error}"),
            }
        }
    }
}

fn seq(event: &Value) -> u64 {
    event["seq"].as_u64().unwrap_or_else(|| panic!("{event}"))
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn events_come_in_order_and_once_with_the_subscriptions_they_match() {
    let mut pot = Pot::new("");
    let mut watcher = pot.watch();
    assert_eq!((watcher.subscribe("all", ""), watcher.subscribe("root", "username:root password:p*")), (1, 1));
    for _ in 0..10 {
        pot.append(30);
    }
    for (n, event) in (1..).zip(watcher.events(300)) {
        let names = if n % 3 == 0 { json!(["all", "root"]) } else { json!(["all"]) };
        assert_eq!((seq(&event), &event["subscriptions"]), (n, &names));
        assert_eq!((event["line"].as_str(), event["time"].as_str()), (Some(&*line(n)), Some("2026-03-01T00:00:00.000000Z")));
    }
    watcher.say(json!({ "type": "unsubscribe", "id": "all" }));
    assert_eq!(watcher.hear(), json!({ "type": "unsubscribed", "id": "all" }));
    watcher.say(json!({ "type": "change", "id": "root", "query": "NOT username:root" }));
    assert_eq!(watcher.hear(), json!({ "type": "changed", "id": "root", "from": 301 }));
    pot.append(6);
    assert_eq!(watcher.events(4).iter().map(seq).collect::<Vec<_>>(), [301, 302, 304, 305]);
    watcher.say(json!({ "type": "ack", "seq": 304 }));
    assert_eq!(watcher.hear(), json!({ "type": "acked", "seq": 304, "unacknowledged": 1, "waiting": 0, "next": 307 }));
    // What is stored already, by time as well.
    watcher.say(json!({ "type": "subscribe", "id": "past", "query": "password:p7", "since": "2026-02-28" }));
    assert_eq!(watcher.hear(), json!({ "type": "subscribed", "id": "past", "from": 1 }));
    assert_eq!(watcher.events(1).iter().map(seq).collect::<Vec<_>>(), [7]);
    pot.append(1);
    assert_eq!(watcher.events(1)[0]["subscriptions"], json!(["root"]));
}

#[test]
fn a_watcher_goes_on_across_a_restart_without_gap_or_repetition() {
    let mut pot = Pot::new("");
    let mut watcher = pot.watch();
    watcher.subscribe("a", "username:root");
    pot.append(90);
    let mut seen: Vec<u64> = watcher.events(20).iter().map(seq).collect();
    let stopping = std::thread::spawn(move || {
        pot.stop();
        pot
    });
    assert_eq!(watcher.close_code(), 1001);
    let mut pot = stopping.join().expect("stopped");
    pot.append(90);
    pot.start();
    let mut watcher = pot.watch();
    watcher.say(json!({ "type": "subscribe", "id": "a", "query": "username:root", "from": seen.last().expect("some") + 1 }));
    assert_eq!(watcher.hear()["type"], "subscribed");
    seen.extend(watcher.events(20).iter().map(seq));
    pot.append(90);
    seen.extend(watcher.events(50).iter().map(seq));
    assert_eq!(seen, (1..=90).map(|n| n * 3).collect::<Vec<u64>>());
}

#[test]
fn a_slow_watcher_loses_the_oldest_and_is_told_exactly_how_many() {
    const EVENTS: u64 = 20_000;
    let mut pot = Pot::new("live_queue_events = 100\n");
    let (mut slow, mut quick) = (pot.watch(), pot.watch());
    slow.subscribe("a", "");
    quick.subscribe("last", &format!("password:p{EVENTS}"));
    for _ in 0..20 {
        pot.append(EVENTS / 20);
    }
    assert_eq!(seq(&quick.events(1)[0]), EVENTS, "nobody waits for the slow one");
    let (mut received, mut dropped, mut next) = (0, 0, 1);
    while next <= EVENTS {
        let told = slow.hear();
        if told["type"] == "dropped" {
            let [count, from, to] = ["count", "from", "to"].map(|key| told[key].as_u64().expect("a number"));
            assert_eq!((from, to - from + 1, &told["subscriptions"]), (next, count, &json!(["a"])));
            (dropped, next) = (dropped + count, to + 1);
        } else {
            assert_eq!((seq(&told), told["line"].as_str()), (next, Some(&*line(next))));
            (received, next) = (received + 1, next + 1);
        }
    }
    assert_eq!(received + dropped, EVENTS);
    assert!(dropped > 0 && received >= 100, "{received} received, {dropped} dropped");
    // Whoever asks for the past gets all of it, however slowly.
    slow.say(json!({ "type": "subscribe", "id": "again", "query": "", "from": 1 }));
    assert_eq!(slow.hear()["type"], "subscribed");
    assert!(
        (1..=EVENTS).zip(slow.events(EVENTS as usize)).all(|(n, event)| seq(&event) == n && event["subscriptions"] == json!(["again"]))
    );
}

#[test]
fn no_more_than_the_configured_number_may_watch() {
    let pot = Pot::new("live_clients_each = 64\n");
    let mut watchers: Vec<Watcher> = (0..64).map(|_| pot.watch()).collect();
    for _ in 0..3 {
        let (status, problem) = pot.ask("/api/v1/live", &[]).err().expect("refused");
        assert_eq!((status, &problem["code"]), (503, &json!("busy")));
    }
    // The others are still answered.
    let status = honeyguide().args(["status", "--json", "--config"]).arg(&pot.config).output().expect("run");
    assert!(status.status.success(), "{status:?}");
    watchers.pop();
    until("a place is free", || pot.ask("/api/v1/live", &[]).is_ok());
}

#[test]
fn one_asker_does_not_take_the_places_of_others() {
    let pot = Pot::new("");
    let mut watchers: Vec<Watcher> = (0..16).map(|_| pot.watch()).collect();
    let (status, problem) = pot.ask("/api/v1/live", &[]).err().expect("refused");
    assert_eq!((status, &problem["code"]), (503, &json!("busy")));
    watchers.pop();
    until("a place is free", || pot.ask("/api/v1/live", &[]).is_ok());
}

#[test]
fn a_page_of_another_site_may_not_watch() {
    let pot = Pot::new("");
    for origin in ["http://localhost", "http://localhost:80", "https://LOCALHOST"] {
        assert!(pot.ask("/api/v1/live", &[("origin", origin)]).is_ok(), "{origin}");
    }
    for origin in ["http://evil.example", "null", "http://localhost:8787", "http://localhost.evil.example"] {
        let (status, problem) = pot.ask("/api/v1/live", &[("origin", origin)]).err().expect("refused");
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{origin}");
    }
    let (status, _) = pot.ask("/api/v1/live", &[("origin", "http://localhost"), ("origin", "http://evil.example")]).err().expect("refused");
    assert_eq!(status, 403);
    // Redacted by no rules is not redacted.
    let (status, problem) = pot.ask("/api/v1/live?redact=true", &[]).err().expect("refused");
    assert_eq!((status, &problem["code"]), (400, &json!("bad_request")));
    // No WebSocket at all.
    let mut stream = pot.connect();
    stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("application/problem+json"), "{answer}");
}

/// A frame as a client sends it, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        0..126 => frame.push(0x80 | payload.len() as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[test]
fn whoever_does_not_speak_the_protocol_is_sent_away_with_the_right_code() {
    let mut pot = Pot::new("");
    let half = vec![b' '; 10 << 10];
    let huge = [&[0x81, 0xff][..], &(1u64 << 30).to_be_bytes(), &[0; 4], b"and so on"].concat();
    for (what, bytes, code) in [
        ("unmasked", b"\x81\x02{}".to_vec(), 1002),
        ("unknown opcode", frame(0x83, b"{}"), 1002),
        ("reserved bits", frame(0xc1, b"{}"), 1002),
        ("ping in pieces", frame(0x09, b"x"), 1002),
        ("long ping", frame(0x89, &[b'x'; 126]), 1002),
        ("piece of nothing", frame(0x80, b"{}"), 1002),
        ("new message inside another", [frame(0x01, b"{"), frame(0x81, b"}")].concat(), 1002),
        ("binary", frame(0x82, b"{}"), 1003),
        ("no UTF-8", frame(0x81, b"\"\xff\""), 1007),
        ("no UTF-8 in pieces", [frame(0x01, b"\""), frame(0x80, b"\xff\"")].concat(), 1007),
        ("long", frame(0x81, &[b' '; (16 << 10) + 1]), 1009),
        ("long in pieces", [frame(0x01, &half), frame(0x80, &half)].concat(), 1009),
        ("a gigabyte is announced", huge, 1009),
    ] {
        let mut watcher = pot.watch();
        watcher.socket.get_mut().write_all(&bytes).expect("sent");
        assert_eq!(watcher.close_code(), code, "{what}");
    }
    // Whoever only says what makes no sense is told, and stays.
    let mut watcher = pot.watch();
    for (message, code) in [
        ("", "bad_message"),
        ("{", "bad_message"),
        ("[1]", "bad_message"),
        (r#"{"type":"shutdown"}"#, "bad_message"),
        (r#"{"type":"subscribe","id":""}"#, "bad_message"),
        (r#"{"type":"subscribe","id":"a\u0000"}"#, "bad_message"),
        (r#"{"type":"subscribe","id":"a","from":1,"since":"1h"}"#, "bad_message"),
        (r#"{"type":"subscribe","id":"a","since":"soon"}"#, "bad_since"),
        (r#"{"type":"subscribe","id":"a","from":2}"#, "bad_from"),
        (r#"{"type":"change","id":"a","query":""}"#, "no_subscription"),
    ] {
        watcher.socket.send(Message::text(message)).expect("sent");
        let told = watcher.hear();
        assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!(code)), "{message}: {told}");
    }
    watcher.say(json!({ "type": "subscribe", "id": "a", "query": "exists:username usrname:root" }));
    let told = watcher.hear();
    assert_eq!((&told["code"], &told["column"], &told["id"]), (&json!("bad_query"), &json!(17), &json!("a")));
    // In pieces, with a ping between them, a message is a message.
    let subscribe = br#"{"type":"subscribe","id":"a"}"#;
    let pieces = [frame(0x01, &subscribe[..9]), frame(0x89, b"?"), frame(0x80, &subscribe[9..])].concat();
    watcher.socket.get_mut().write_all(&pieces).expect("sent");
    assert_eq!(watcher.hear(), json!({ "type": "subscribed", "id": "a", "from": 1 }));
    pot.append(1);
    assert_eq!(seq(&watcher.events(1)[0]), 1);
    watcher.socket.close(None).expect("sent");
    assert!(matches!(watcher.socket.read(), Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed)), "good-bye is answered");
}

#[test]
fn a_crowd_of_orders_from_one_who_does_not_read_is_not_gathered() {
    let pot = Pot::new("");
    let mut rude = pot.watch();
    let bytes: Vec<u8> = std::iter::repeat_with(|| frame(0x81, br#"{"type":"unsubscribe","id":"a"}"#)).take(1_000).flatten().collect();
    rude.socket.get_mut().set_nonblocking(true).expect("set");
    // Until the daemon hears no more.
    let mut sent = 0;
    let full = (0..10_000).any(|_| match rude.socket.get_mut().write(&bytes) {
        Ok(written) => {
            sent += written;
            false
        }
        Err(_) => {
            std::thread::sleep(Duration::from_millis(10));
            rude.socket.get_mut().write(&bytes).is_err()
        }
    });
    assert!(full, "{sent} bytes were taken");
    let mut polite = pot.watch();
    assert_eq!(polite.subscribe("a", ""), 1);
}

#[test]
fn tap_prints_events_and_outlives_the_daemon() {
    let mut pot = Pot::new("");
    pot.append(30);
    // As they were written, and no more than asked for.
    let output = pot.tap(&["username:root", "--from", "1", "--limit", "5", "--json"]).output().expect("run");
    assert!(output.status.success(), "{output:?}");
    let expected: String = (1..=5).map(|n| line(n * 3) + "\n").collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    let output = pot.tap(&["password:p7", "--since", "2026-03-01", "--limit", "1"]).output().expect("run");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.starts_with("2026-03-01 00:00:00  pot") && shown.contains("login.failed"), "{output:?}");

    let mut tap = pot.tap(&["--from", "11", "--json"]).spawn().expect("spawned");
    let mut lines = BufReader::new(tap.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let notes = BufReader::new(tap.stderr.take().expect("piped"));
    let expect = |lines: &mut dyn Iterator<Item = String>, numbers: std::ops::RangeInclusive<u64>| {
        numbers.for_each(|n| assert_eq!(lines.next().as_deref(), Some(&*line(n))));
    };
    expect(&mut lines, 11..=30);
    pot.stop();
    pot.append(10);
    pot.start();
    expect(&mut lines, 31..=40);
    pot.append(5);
    expect(&mut lines, 41..=45);
    kill(Pid::from_raw(tap.id() as i32), Signal::SIGINT).expect("it runs");
    assert_eq!(tap.wait().expect("ended").code(), Some(0));
    assert_eq!(lines.next(), None);
    let notes: Vec<String> = notes.lines().map(|line| line.expect("text")).collect();
    assert!(notes.len() == 2 && notes[0].contains("1001") && notes[1].contains("going on with event 31"), "{notes:?}");

    for (words, said) in [
        (&["usrname:root"][..], "did you mean `username`?"),
        (&["--since", "soon"], "is no time"),
        (&["--from", "1000"], "there is no event 1000"),
        (&["--redact"], "[[redact]]"),
    ] {
        let output = pot.tap(words).output().expect("run");
        let notes = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && notes.contains(said), "{words:?}: {output:?}");
    }
    pot.stop();
    let output = pot.tap(&[]).output().expect("run");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && notes.contains("honeyguide run"), "{output:?}");
}

#[test]
fn tap_shows_only_what_may_leave() {
    let rules = "[[redact]]\nfields = [\"password\"]\naction = \"mask\"\nwhen = \"export\"\n";
    let mut pot = Pot::new(rules);
    pot.append(3);
    let output = pot.tap(&["--from", "1", "--limit", "3", "--json", "--redact"]).output().expect("run");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.lines().count() == 3, "{output:?}");
    assert!((1..=3).all(|n| !shown.contains(&format!("\"p{n}\""))) && shown.contains("\"username\":\"root\""), "{shown}");
    let output = pot.tap(&["--from", "1", "--limit", "1", "--json"]).output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stdout), line(1) + "\n");
    // Who watches by rules that are in force no more is sent away.
    let mut watcher = pot.ask("/api/v1/live?redact=true", &[]).unwrap_or_else(|answer| panic!("{answer:?}"));
    watcher.hear();
    watcher.subscribe("a", "");
    let text = std::fs::read_to_string(&pot.config).expect("read");
    std::fs::write(&pot.config, text.replace("[\"password\"]", "[\"password\", \"username\"]")).expect("written");
    let daemon = pot.daemon.as_ref().expect("it runs");
    kill(Pid::from_raw(daemon.child.id() as i32), Signal::SIGHUP).expect("it runs");
    daemon.record("settings_reloaded");
    pot.append(1);
    assert_eq!(watcher.close_code(), 1008);
}
