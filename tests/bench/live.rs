//! What watching costs: a daemon's memory with as many watchers as may be, all of them slow, while more are turned away.
//!
//! ```text
//! cargo bench --bench live -- [EVENTS_PER_SECOND] [SECONDS]
//! ```
mod steady;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::{self, Message};

const WATCHERS: usize = 64;
const REFUSED: usize = 436;
/// A watcher takes so many messages a second.
const READS_PER_SECOND: u64 = 200;

#[derive(Default)]
struct Told {
    events: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let (rate, seconds) = (numbers.first().copied().unwrap_or(5_000), numbers.get(1).copied().unwrap_or(20));
    let dir = tempfile::tempdir().expect("temporary directory");
    let log = dir.path().join("cowrie.json");
    std::fs::write(&log, "").expect("written");
    let mut daemon = start(dir.path());
    let socket = dir.path().join("data/admin.sock");
    println!("RssAnon at rest             {:6.1} MiB", mib(rss_anon(&daemon)));
    let (told, ended) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|number| {
            let (socket, told, ended) = (socket.clone(), told.clone(), ended.clone());
            std::thread::spawn(move || watch(&socket, number, &told, &ended))
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    println!("with {WATCHERS} watchers            {:6.1} MiB", mib(rss_anon(&daemon)));
    let writer = std::thread::spawn(move || steady::write(&log, rate, seconds, |_| {}));
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        refuse(&socket, &told);
        for _ in 0..10 {
            most = most.max(rss_anon(&daemon));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    ended.store(true, Ordering::Relaxed);
    writer.join().expect("written");
    println!("at most, at {rate} events/s   {:6.1} MiB", mib(most));
    let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
    println!("told of {} events, of {} more that they were dropped", number(&told.events), number(&told.dropped));
    println!("refused {} connections", number(&told.refused));
    watchers.into_iter().for_each(|watcher| watcher.join().expect("watched"));
    // It would drain for a while; nothing it says now is of interest.
    let _ = daemon.kill();
    let _ = daemon.wait();
}

fn start(dir: &Path) -> Child {
    let config = dir.join("honeyguide.toml");
    let text =
        "data_dir = \"data\"\n[admin]\nlisten = \"off\"\nlive_clients_each = 64\n[[source]]\nname = \"pot\"\npaths = [\"cowrie.json\"]\n";
    std::fs::write(&config, text).expect("written");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
        .args(["run", "--config"])
        .arg(config)
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawned");
    let mut lines = BufReader::new(daemon.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("daemon_started")), "it starts");
    std::thread::spawn(move || lines.for_each(drop));
    daemon
}

/// Half of them want everything, the others each something of their own.
fn watch(socket: &PathBuf, number: usize, told: &Told, ended: &AtomicBool) {
    let stream = UnixStream::connect(socket).expect("connected");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
    let (mut socket, _) = tungstenite::client("ws://localhost/api/v1/live", stream).expect("a WebSocket");
    let query = if number.is_multiple_of(2) { String::new() } else { format!("NOT username:user{number}") };
    let subscribe = serde_json::json!({ "type": "subscribe", "id": "a", "query": query });
    socket.send(Message::text(subscribe.to_string())).expect("sent");
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_micros(1_000_000 / READS_PER_SECOND));
        let Ok(Message::Text(text)) = socket.read() else { continue };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        match message["type"].as_str() {
            Some("event") => {
                told.events.fetch_add(1, Ordering::Relaxed);
            }
            Some("dropped") => {
                told.dropped.fetch_add(message["count"].as_u64().expect("a number"), Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Many at once, none of which may watch.
fn refuse(socket: &PathBuf, told: &Told) {
    let request = "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n";
    let mut asked: Vec<UnixStream> = Vec::new();
    for _ in 0..REFUSED {
        let Ok(mut stream) = UnixStream::connect(socket) else { continue };
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        if stream.write_all(request.as_bytes()).is_ok() {
            asked.push(stream);
        }
    }
    for mut stream in asked {
        let mut answer = [0; 12];
        if stream.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 503" {
            told.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn rss_anon(daemon: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line of the kernel");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}
