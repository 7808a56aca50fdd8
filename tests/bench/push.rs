//! Durable events a second through `POST /api/v1/events` of a receiver: the real binary, bodies of 1,000 lines, each over a connection of
//! its own, several at once.
//!
//! `cargo bench --bench push -- [EVENTS] [CONNECTIONS]`: 1,000,000 over 8 without. Prints figures only: events a second from the first
//! request to the last answer, and how long answers took.
use honeyguide::simulate::{Generator, Simulation};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const KEY: &str = "a-key-of-this-measurement-only";
const BODY_EVENTS: u64 = 1000;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let (events, connections) = (numbers.first().copied().unwrap_or(1_000_000), numbers.get(1).copied().unwrap_or(8).max(1));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let mut daemon = start(dir.path(), listen);
    let mut generator = Generator::new(&Simulation { seed: 7, ..Simulation::default() });
    let bodies: Vec<Vec<u8>> = (0..events.div_ceil(BODY_EVENTS))
        .map(|_| {
            let mut body = Vec::new();
            generator.fill(&mut body, BODY_EVENTS);
            body
        })
        .collect();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let waiting = Mutex::new(bodies.iter());
    let told = Mutex::new((0, Vec::new()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                loop {
                    let Some(body) = waiting.lock().expect("not poisoned").next() else { return };
                    let asked = Instant::now();
                    let stored = Connection::open(listen).push(body);
                    let mut told = told.lock().expect("not poisoned");
                    told.0 += stored;
                    told.1.push(asked.elapsed());
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let (stored, mut latencies) = told.into_inner().expect("not poisoned");
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{stored} events stored of {} in {seconds:.2} s over {connections} connections", bodies.len() as u64 * BODY_EVENTS);
    println!("{:.0} events/s durable, {:.1} MB/s", stored as f64 / seconds, bytes as f64 / 1e6 / seconds);
    println!("answers: median {:.1} ms, p95 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.95), at(0.99));
    // What was answered is durable: there is nothing to wait for.
    let _ = daemon.kill();
    let _ = daemon.wait();
}

fn start(dir: &Path, listen: SocketAddr) -> Child {
    let text = format!(
        "data_dir = \"data\"\n[admin]\nlisten = \"off\"\n[[receiver]]\nname = \"bench\"\nlisten = \"{listen}\"\nkeys_file = \"keys\"\nrate_per_second = 1000000\n"
    );
    std::fs::write(dir.join("honeyguide.toml"), text).expect("written");
    let keys = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(dir.join("keys"));
    keys.and_then(|mut file| file.write_all(KEY.as_bytes())).expect("written");
    let daemon = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
        .args(["run", "--config"])
        .arg(dir.join("honeyguide.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(listen).is_err() {
        assert!(Instant::now() < deadline, "the daemon does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    daemon
}

/// For one request: a receiver keeps none for another.
struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(listen: SocketAddr) -> Connection {
        let stream = TcpStream::connect(listen).expect("connected");
        stream.set_nodelay(true).expect("set");
        Connection { stream: BufReader::new(stream) }
    }

    /// Answers how many events were stored.
    fn push(&mut self, body: &[u8]) -> u64 {
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("sent");
        let (mut status, mut len) = (String::new(), 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("an answer");
            if line.trim().is_empty() {
                break;
            }
            let line = line.to_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => len = value.trim().parse().expect("a length"),
                None => status = line,
                Some(_) => {}
            }
        }
        let mut answer = vec![0; len];
        self.stream.read_exact(&mut answer).expect("a body");
        assert!(status.contains(" 200 "), "{status} {}", String::from_utf8_lossy(&answer));
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["refused"], 0, "{answer}");
        answer["stored"].as_u64().expect("a number")
    }
}
