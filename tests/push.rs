//! The real binary, and what is pushed to it: over the admin's socket, and to a receiver of its own.
mod served;

use honeyguide::cli::context::Exit;
use served::{Answer, Home, exchange, until};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// A daemon in a process of its own; dropping it kills it.
struct Process {
    child: Child,
    socket: PathBuf,
    receiver: SocketAddr,
}

/// A home with a receiver, which listens on a port that was free a moment ago.
fn home(more: &str) -> (Home, SocketAddr) {
    let receiver = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let home = Home::with(&format!("[[receiver]]\nname = \"trap\"\nlisten = \"{receiver}\"\nkeys_file = \"keys\"\n{more}"));
    let keys = home.write("keys", format!("# trap 7\n{KEY}\n").as_bytes());
    std::fs::set_permissions(keys, std::fs::Permissions::from_mode(0o600)).expect("changed");
    (home, receiver)
}

impl Process {
    fn start(home: &Home, receiver: SocketAddr) -> Process {
        let child = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
            .args(["run", "--config"])
            .arg(home.config())
            .env_remove("RUNTIME_DIRECTORY")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let process = Process { child, socket: home.data().join("admin.sock"), receiver };
        until("the daemon listens", || UnixStream::connect(&process.socket).is_ok() && TcpStream::connect(receiver).is_ok());
        process
    }

    fn socket(&self, request: &[u8]) -> Answer {
        send(UnixStream::connect(&self.socket).expect("connected"), request)
    }

    /// To the admin's socket.
    fn push(&self, query: &str, content_type: &str, body: &str) -> Answer {
        self.socket(&post(&format!("/api/v1/events{query}"), &[("content-type", content_type)], body.as_bytes()))
    }

    /// To the receiver, with its key.
    fn receive(&self, path: &str, content_type: &str, body: &str) -> Answer {
        self.receive_as(KEY, path, content_type, body)
    }

    fn receive_as(&self, key: &str, path: &str, content_type: &str, body: &str) -> Answer {
        let request = post(path, &[("content-type", content_type), ("x-api-key", key)], body.as_bytes());
        send(TcpStream::connect(self.receiver).expect("connected"), &request)
    }

    fn get(&self, path: &str) -> serde_json::Value {
        self.socket(served::get(path, "localhost").as_bytes()).json()
    }

    fn events(&self) -> u64 {
        self.get("/api/v1/status")["journal"]["events"].as_u64().expect("a number")
    }

    fn quarantined(&self) -> Vec<serde_json::Value> {
        self.get("/api/v1/quarantine").as_array().expect("a list").clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is dead already has been waited for, or is.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let headers: String =
        headers.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// As [`exchange`], of bytes; a server that refuses a body need not read it.
fn send(mut stream: impl Read + Write, request: &[u8]) -> Answer {
    let _ = stream.write_all(request);
    exchange(stream, "")
}

fn event(number: usize) -> String {
    format!(
        "{{\"eventid\":\"cowrie.login.failed\",\"timestamp\":\"2026-01-02T03:04:05.{number:06}Z\",\"session\":\"s{number}\",\"src_ip\":\"192.0.2.1\"}}"
    )
}

fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| event(number) + "\n").collect()
}

fn counts(answer: &Answer) -> [u64; 3] {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let outcome = answer.json();
    ["stored", "duplicate", "refused"].map(|name| outcome[name].as_u64().expect("a number"))
}

fn code(answer: &Answer) -> (u16, String) {
    assert!(answer.head.contains("application/problem+json"), "{answer:?}");
    (answer.status, answer.json()["code"].as_str().expect("a code").to_owned())
}

fn chat(session: &str, text: &str) -> String {
    serde_json::json!({"sessionId": session, "message": {"sender": "scammer", "text": text, "timestamp": 1_769_000_000_000u64}}).to_string()
}

#[test]
fn counts_are_right_for_an_object_an_array_and_lines_and_refused_lines_are_in_quarantine() {
    let (home, receiver) = home("");
    let daemon = Process::start(&home, receiver);
    assert_eq!(counts(&daemon.push("", JSON, &event(1))), [1, 0, 0]);
    assert_eq!(counts(&daemon.push("", JSON, &event(1))), [0, 1, 0]);
    assert_eq!(counts(&daemon.push("", JSON, &format!("[{},\n{}, 7]", event(1), event(2)))), [1, 1, 1]);
    let mixed = format!("{}\nno event\n\n{}\n{{\"half\":\n{}", event(2), event(3), event(3));
    let answer = daemon.push("?source=bar&format=cowrie", NDJSON, &mixed);
    assert_eq!(counts(&answer), [1, 2, 2]);
    let refusals = answer.json()["refusals"].clone();
    assert_eq!((&refusals[0]["line"], &refusals[0]["reason"]), (&2.into(), &"not_an_object".into()));
    assert_eq!(refusals[1]["line"], 5);
    assert_eq!(counts(&daemon.receive("/api/v1/events", NDJSON, &lines(3..2003))), [1999, 1, 0]);
    // More than get a record each.
    let garbage = format!("{}\n{}", event(1), "x\n".repeat(3000));
    let answer = daemon.push("", "text/plain", &garbage);
    assert_eq!(counts(&answer), [0, 1, 3000]);
    assert_eq!(answer.json()["refusals"].as_array().map(Vec::len), Some(100));
    assert_eq!(counts(&daemon.push("", JSON, "[]")), [0, 0, 0]);
    assert_eq!(daemon.events(), 2002);
    let quarantined = daemon.quarantined();
    assert!(quarantined.iter().any(|row| row["source"] == "bar" && row["reason"] == "not_an_object"), "{quarantined:?}");
    let found = home.expect(Exit::Done, &["search", "session:s2002", "--json"]);
    assert!(found.contains("s2002"), "{found}");
}

#[test]
fn a_body_that_holds_nothing_is_a_precise_problem_and_changes_nothing() {
    let (home, receiver) = home("");
    let daemon = Process::start(&home, receiver);
    let one = event(1);
    let large = " ".repeat((8 << 20) + 1);
    let many = "{}\n".repeat(100_001);
    let table = [
        ("", JSON, "", 400, "bad_request", "the body is empty"),
        ("", NDJSON, "\n \n", 400, "bad_request", "the body is empty"),
        ("", JSON, "hello", 400, "bad_request", "byte 0"),
        ("", JSON, "{\"a\":", 400, "bad_request", "ends too early"),
        ("", JSON, "[{},", 400, "bad_request", "ends too early"),
        ("", NDJSON, "hello\nworld\n", 400, "bad_request", "line 1"),
        ("", "text/html", &one, 415, "unsupported_media_type", "application/x-ndjson"),
        ("", "", &one, 415, "unsupported_media_type", "application/json"),
        ("", NDJSON, &large, 413, "too_large", "8388608"),
        ("", NDJSON, &many, 413, "too_large", "100000 events"),
        ("?format=cowri", JSON, &one, 400, "bad_request", "there is no format cowri: there are cowrie"),
        ("?source=..", JSON, &one, 400, "bad_request", "is no name"),
        ("?sauce=x", JSON, &one, 400, "bad_request", "no parameter `sauce`"),
    ];
    for (query, content_type, body, status, name, why) in table {
        let answer = daemon.push(query, content_type, body);
        assert_eq!(code(&answer), (status, name.to_owned()), "{why}");
        assert!(answer.text().contains(why), "{why}: {}", answer.text());
    }
    let gzip = post("/api/v1/events", &[("content-type", JSON), ("content-encoding", "gzip")], one.as_bytes());
    assert_eq!(code(&daemon.socket(&gzip)).0, 415);
    let not_utf8 = post("/api/v1/events", &[("content-type", JSON)], b"{\"a\":\"\xff\"}");
    assert!(daemon.socket(&not_utf8).text().contains("not UTF-8: its byte 6"));
    assert_eq!((daemon.events(), daemon.quarantined().len()), (0, 0));
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let (home, receiver) = home("rate_per_second = 100000\n");
    let daemon = Process::start(&home, receiver);
    let answered = std::sync::Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let answered = &answered;
            scope.spawn(move || {
                for body in (worker..400).step_by(4) {
                    let request = post(
                        "/api/v1/events",
                        &[("content-type", NDJSON), ("x-api-key", KEY)],
                        lines(body * 100..body * 100 + 100).as_bytes(),
                    );
                    let Ok(mut stream) = TcpStream::connect(receiver) else { return };
                    let mut bytes = Vec::new();
                    let asked = stream.write_all(&request).and_then(|()| stream.read_to_end(&mut bytes));
                    if asked.is_err() || !String::from_utf8_lossy(&bytes).contains("\"stored\":100,") {
                        return;
                    }
                    answered.lock().expect("not poisoned").insert(body);
                }
            });
        }
        until("some are answered", || answered.lock().expect("not poisoned").len() >= 20);
        drop(daemon);
    });
    let daemon = Process::start(&home, receiver);
    let answered = answered.into_inner().expect("not poisoned");
    println!("{} bodies were answered before the kill", answered.len());
    for body in answered {
        assert_eq!(counts(&daemon.receive("/api/v1/events", NDJSON, &lines(body * 100..body * 100 + 100))), [0, 100, 0], "body {body}");
    }
}

#[test]
fn a_receiver_opens_two_routes_to_its_keys_and_nothing_else() {
    let (home, receiver) = home("format = \"chat\"\nreply = \"persona\"\nrate_per_second = 1000\n");
    let daemon = Process::start(&home, receiver);
    for path in ["/api/v1/events", "/api/v1/messages"] {
        for key in ["", "wrong", &KEY[1..], &format!("{KEY}0")] {
            assert_eq!(code(&daemon.receive_as(key, path, JSON, &chat("s", "hi"))), (401, "unauthorized".into()), "{key}");
        }
        let twice = post(path, &[("content-type", JSON), ("x-api-key", KEY), ("x-api-key", KEY)], b"{}");
        assert_eq!(send(TcpStream::connect(receiver).expect("connected"), &twice).status, 401);
    }
    let admin = ["/api/v1/status", "/api/v1/search", "/api/v1/quarantine", "/api/v1/load", "/api/v1/sinks", "/health", "/metrics", "/"];
    for path in admin {
        assert_eq!(code(&daemon.receive(path, JSON, "{}")), (404, "not_found".into()), "POST {path}");
        let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nConnection: close\r\n\r\n");
        let answer = exchange(TcpStream::connect(receiver).expect("connected"), &get);
        assert_eq!(code(&answer), (404, "not_found".into()), "GET {path}");
    }
    let message = |body: &str| daemon.receive("/api/v1/messages", JSON, body);
    for (body, why) in [
        ("", "the body is empty"),
        ("  ", "the body is empty"),
        ("[]", "no JSON object"),
        ("{\"sessionId\":\"s\"}", "lacks its sessionId or its message.text"),
    ] {
        let answer = message(body);
        assert_eq!(code(&answer), (400, "bad_request".into()));
        assert!(answer.text().contains(why), "{}", answer.text());
    }
    assert_eq!(code(&daemon.receive("/api/v1/messages", "text/html", "{}")).0, 415);
    assert_eq!(code(&daemon.receive("/api/v1/messages", JSON, &" ".repeat((1 << 20) + 1))).0, 413);
    assert_eq!(code(&daemon.receive("/api/v1/events?format=cowrie", JSON, "{}")).0, 400);
    assert_eq!((daemon.events(), daemon.quarantined().len()), (0, 0));

    let first = message(&chat("s", "Share your OTP now"));
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.json()["status"], "success");
    assert!(first.json()["reply"].as_str().is_some_and(|reply| !reply.is_empty()));
    assert_eq!(message(&chat("s", "Share your OTP now")).json(), first.json(), "again is the same");
    assert_eq!(daemon.receive_as(KEY, "/api/v1/messages", "", &chat("s", "hello")).status, 200, "without a content type");
    assert_eq!(counts(&daemon.receive("/api/v1/events", JSON, &chat("s", "hello"))), [0, 1, 0]);
    assert_eq!(daemon.events(), 2);
    assert!(home.expect(Exit::Done, &["search", "session:s", "--json"]).contains("Share your OTP now"));
}

/// Whether a request is there with all of its body.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    len.is_none_or(|len: usize| body.len() >= len)
}

/// A service that answers each connection so; `None`: never.
fn hook(answer: Option<&'static str>) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let (asked_sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !is_whole(&request) {
                match stream.read(&mut part) {
                    Ok(len @ 1..) => request.extend_from_slice(&part[..len]),
                    _ => break,
                }
            }
            if asked_sender.send(String::from_utf8_lossy(&request).into_owned()).is_err() {
                return;
            }
            match answer {
                Some(body) => {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                    let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice());
                }
                None => held.push(stream),
            }
        }
    });
    (address, asked)
}

#[test]
fn the_hook_replies_and_where_it_hangs_or_talks_nonsense_the_table_does() {
    let cases = [
        (Some("{\"reply\": \"which bank, dear?\"}"), "which bank, dear?"),
        (None, "of the table"),
        (Some("{\"reply\": \"\"}"), "of the table"),
        (Some("<html>"), "of the table"),
    ];
    for (answer, expected) in cases {
        let (address, asked) = hook(answer);
        let more = format!(
            "reply = \"hook\"\nhook_url = \"http://{address}/reply\"\nhook_timeout_ms = 300\nallow_private = [\"127.0.0.1\"]\npersona_file = \"persona.toml\"\n"
        );
        let (home, receiver) = home(&more);
        home.write("persona.toml", b"[[reply]]\nphrases = [\"of the table\"]\n");
        let daemon = Process::start(&home, receiver);
        let said = daemon.receive("/api/v1/messages", JSON, &chat("s\\1", "your account is blocked"));
        assert_eq!((said.status, said.json()["reply"].as_str()), (200, Some(expected)), "{answer:?}");
        let question = asked.recv().expect("it was asked");
        let body: serde_json::Value = serde_json::from_str(question.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
        assert_eq!((&body["receiver"], &body["session"], &body["turn"]), (&"trap".into(), &"s\\1".into(), &1.into()));
        assert_eq!(body["request"]["message"]["text"], "your account is blocked");
        assert_eq!(daemon.events(), 1);
    }
}

#[test]
fn who_asks_too_often_gets_429_whatever_key_is_shown() {
    let (home, receiver) = home("rate_per_second = 1\n");
    let daemon = Process::start(&home, receiver);
    let answers: Vec<Answer> = (0..20).map(|_| daemon.receive_as("wrong", "/api/v1/events", JSON, &event(1))).collect();
    let refused = answers.iter().find(|answer| answer.status == 429).expect("twenty in one second are too many");
    assert_eq!(code(refused).1, "too_many_requests");
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)));
    until("it is let in again", || daemon.receive("/api/v1/events", JSON, &event(1)).status == 200);
}

#[test]
fn who_sends_slowly_is_given_up() {
    let (home, receiver) = home("");
    let daemon = Process::start(&home, receiver);
    let slow = |begun: &str| {
        let mut stream = TcpStream::connect(receiver).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("set");
        stream.write_all(begun.as_bytes()).expect("sent");
        stream
    };
    let head = slow("POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\n");
    let body = slow(&format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nContent-Type: {JSON}\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{{"
    ));
    assert_eq!(counts(&daemon.receive("/api/v1/events", JSON, &event(1))), [1, 0, 0], "others go on");
    for mut stream in [head, body] {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it ends");
        assert!(String::from_utf8_lossy(&answer).contains("408"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(daemon.events(), 1);
}

#[test]
fn a_reload_takes_new_keys_and_keeps_the_old_ones_where_the_file_is_wrong() {
    let (home, receiver) = home("rate_per_second = 1000\n");
    let daemon = Process::start(&home, receiver);
    let pid = nix::unistd::Pid::from_raw(daemon.child.id() as i32);
    let reload = |keys: &str| {
        home.write("keys", keys.as_bytes());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).expect("sent");
    };
    let status = |key: &str| daemon.receive_as(key, "/api/v1/events", JSON, &event(1)).status;
    let next = "another-key-of-the-trap";
    reload(&format!("{next}\n"));
    until("the new key is taken", || status(next) == 200);
    assert_eq!(status(KEY), 401);
    reload("short\n");
    reload(&format!("{next}\n{KEY}\n"));
    until("both are taken", || status(KEY) == 200);
    assert_eq!(status(next), 200);
}

#[test]
fn a_receiver_whose_keys_anybody_can_read_does_not_start() {
    let (home, _) = home("");
    std::fs::set_permissions(home.path("keys"), std::fs::Permissions::from_mode(0o644)).expect("changed");
    let run = Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(["run", "--config"]).arg(home.config()).output().expect("ran");
    assert!(!run.status.success());
    assert!(String::from_utf8_lossy(&run.stderr).contains("every local user can read the keys"), "{run:?}");
}

#[test]
fn the_talks_of_the_corpus_are_stored_once_and_scored_as_if_loaded() {
    let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS") else {
        println!("SKIPPED: the_talks_of_the_corpus_are_stored_once_and_scored_as_if_loaded: HONEYGUIDE_CORPUS is not set");
        return;
    };
    let file = PathBuf::from(corpus).join("chat/requests.ndjson");
    let text = std::fs::read_to_string(&file).expect("read");
    let (pushed, receiver) = home("reply = \"persona\"\nrate_per_second = 10000\n");
    let daemon = Process::start(&pushed, receiver);
    let mut sessions = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let answer = daemon.receive("/api/v1/messages", JSON, line);
        assert_eq!(answer.status, 200, "line {}: {}", number + 1, answer.text());
        assert!(answer.json()["reply"].as_str().is_some_and(|reply| !reply.is_empty()));
        let request: serde_json::Value = serde_json::from_str(line).expect("JSON");
        sessions.insert(request["sessionId"].as_str().expect("a session").to_owned());
    }
    let stored = daemon.events();
    for line in text.lines() {
        assert_eq!(daemon.receive("/api/v1/messages", JSON, line).status, 200);
    }
    assert_eq!(daemon.events(), stored, "each message is stored once");
    let loaded = Home::new();
    loaded.expect(Exit::Done, &["load", "--format", "chat", file.to_str().expect("UTF-8")]);
    for question in [&["top", "scam_type"][..], &["top", "keyword"], &["top", "session"], &["top", "upi"], &["top", "phone"]] {
        let question = [question, &["--json"]].concat();
        assert_eq!(pushed.expect(Exit::Done, &question), loaded.expect(Exit::Done, &question), "{question:?}");
    }
    let mut confirmed = 0;
    for session in &sessions {
        let talk = |home: &Home| home.json(Exit::Done, &["session", session])[0].take();
        let (mut ours, theirs) = (talk(&pushed), talk(&loaded));
        for what in ["score", "scam_type", "reasons", "keywords", "indicators"] {
            assert!(!ours[what].is_null() || what == "scam_type", "{ours}");
            assert_eq!(ours[what], theirs[what], "{session}");
        }
        confirmed += u64::from(ours["score"].take().as_u64().is_some_and(|score| score >= 50));
    }
    println!("{stored} messages of {} talks, {confirmed} confirmed", sessions.len());
    assert!(confirmed > 0);
}
