//! A real daemon among clients that mean it harm: heads and bodies that drip, answers that nobody reads, requests that are far too large or
//! none at all. They are answered precisely or hung up on, others are answered meanwhile, and memory stays where it was.
mod served;

use served::{Answer, Home, exchange, get, log, post, until};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const EVENTS: usize = 40_000;
/// More than all attacks together may cost.
const GROWTH_BYTES_MAX: u64 = 32 << 20;
/// Connections of one address, unless configured.
const ADDRESS_CONNECTIONS: usize = 64;
/// A connection that is still there behind this was not ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon in a process of its own; dropping it kills it.
struct Process {
    child: Child,
    home: Home,
    listen: SocketAddr,
}

impl Process {
    fn start() -> Process {
        let listen = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let home = Home::new();
        let config = std::fs::read_to_string(home.config()).expect("written");
        let config = config.replace("127.0.0.1:0", &listen.to_string()) + "address_rate = 100000\nkey_rate = 100000\n";
        std::fs::write(home.config(), config).expect("written");
        let child = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
            .args(["run", "--config"])
            .arg(home.config())
            .env_remove("RUNTIME_DIRECTORY")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let process = Process { child, home, listen };
        until("the daemon listens", || UnixStream::connect(process.socket()).is_ok() && TcpStream::connect(listen).is_ok());
        process
    }

    fn socket(&self) -> std::path::PathBuf {
        self.home.data().join("admin.sock")
    }

    fn ask(&self, request: &str) -> Answer {
        exchange(UnixStream::connect(self.socket()).expect("connected"), request)
    }

    fn key(&self, name: &str, role: &str) -> String {
        let made = self.ask(&post("/api/v1/keys", &serde_json::json!({ "name": name, "roles": [role] }).to_string()));
        made.json()["key"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned()
    }

    /// A figure of `/metrics`, by its whole name.
    fn figure(&self, name: &str) -> f64 {
        let text = self.ask(&get("/metrics", "localhost")).text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim().parse().expect("a number")
    }

    fn rss_anon(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line of the kernel");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
    }

    /// A connection from an address of the attacker's own.
    fn connect(&self, from: u8) -> TcpStream {
        let connected = async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), 0).into())?;
            socket.connect(self.listen).await?.into_std()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let stream = runtime.block_on(connected).expect("connected");
        stream.set_nonblocking(false).expect("set");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        stream
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is dead already has been waited for, or is.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request head with a key.
fn with_key(request: &str, key: &str) -> String {
    request.replacen("\r\n", &format!("\r\nx-api-key: {key}\r\n"), 1)
}

/// Begins requests on many connections, sends a byte of each now and then until the daemon has ended all of them, and answers with what it
/// said on each.
fn drip(mut streams: Vec<TcpStream>, begin: &str) -> Vec<String> {
    for stream in &mut streams {
        // One of too many is hung up on already.
        let _ = stream.write_all(begin.as_bytes());
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
    }
    let begun = Instant::now();
    let mut said = Vec::new();
    while !streams.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{} connections were not ended", streams.len());
        std::thread::sleep(Duration::from_millis(250));
        streams.retain_mut(|stream| {
            let _ = stream.write_all(b"a");
            let mut text = [0; 4096];
            match stream.read(&mut text) {
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => true,
                read => {
                    said.push(String::from_utf8_lossy(&text[..read.unwrap_or(0)]).into_owned());
                    false
                }
            }
        });
    }
    said
}

/// Somebody who means no harm, and is answered all the time; how often, and how long it took at most.
struct Innocent {
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Duration>,
}

impl Innocent {
    fn begin(listen: SocketAddr, request: String, check: fn(&Answer) -> bool) -> Innocent {
        let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, count) = (ended.clone(), answered.clone());
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !until.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let stream = TcpStream::connect(listen).expect("connected");
                stream.set_read_timeout(Some(PATIENCE)).expect("set");
                let answer = exchange(stream, &request);
                assert!(answer.status == 200 && check(&answer), "{answer:?}");
                longest = longest.max(begun.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
            longest
        });
        Innocent { ended, answered, thread }
    }

    /// It was answered a few times more, from now on.
    fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        until("others are answered", || self.thread.is_finished() || self.answered.load(Ordering::Relaxed) > before + 3);
        assert!(!self.thread.is_finished(), "others are answered");
    }

    fn end(self, who: &str) {
        self.ended.store(true, Ordering::Relaxed);
        let longest = self.thread.join().expect("all were answered");
        println!("{who}: {} answers meanwhile, the slowest in {longest:?}", self.answered.load(Ordering::Relaxed));
    }
}

/// Sends it all, or as much as is taken, and reads what comes.
fn say(mut stream: TcpStream, request: &[u8]) -> String {
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut text = Vec::new();
    // A connection that is reset has said all it will.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn status(said: &str) -> Option<u16> {
    said.split(' ').nth(1)?.parse().ok()
}

#[test]
fn slow_large_and_senseless_requests_cost_bounded_memory_and_keep_nobody_out() {
    let process = Process::start();
    let path = process.home.write("cowrie.json", &log(1, EVENTS));
    assert_eq!(process.ask(&post("/api/v1/load", &serde_json::json!({ "paths": [path] }).to_string())).status, 200);
    let [reader, other, sensor, greedy, admin] =
        [("reader", "analyst"), ("other", "sensor"), ("pot", "sensor"), ("greedy", "analyst"), ("admin", "admin")]
            .map(|(name, role)| process.key(name, role));
    let search = with_key(&get("/api/v1/events?query=eventid:cowrie.session.connect&limit=20", "localhost"), &reader);
    let event = with_key(&post("/api/v1/events", r#"{"eventid":"cowrie.session.closed","session":"s1"}"#), &other);
    let innocents = [
        ("push", Innocent::begin(process.listen, event, |answer| answer.json()["refused"] == 0)),
        ("/health", Innocent::begin(process.listen, get("/health", "localhost"), |answer| answer.text() == "ok\n")),
        ("search", Innocent::begin(process.listen, search, |answer| answer.lines().len() == 20)),
    ];
    let all_go_on = || innocents.iter().for_each(|(_, innocent)| innocent.goes_on());
    all_go_on();
    let at_rest = process.rss_anon();
    let most = AtomicU64::new(at_rest);
    let measure = || most.fetch_max(process.rss_anon(), Ordering::Relaxed);

    // Nobody reads these: many times as much as fits into the sockets between, and more of them than one key has places.
    let everything = with_key(&get(&format!("/api/v1/events?query=&limit={EVENTS}"), "localhost"), &greedy);
    let unread: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut stream = process.connect(4);
            stream.write_all(everything.as_bytes()).expect("sent");
            stream
        })
        .collect();
    all_go_on();
    measure();

    // Heads and bodies that drip, at the same time.
    let heads: Vec<TcpStream> = (0..4 * ADDRESS_CONNECTIONS).map(|_| process.connect(2)).collect();
    let forms: Vec<TcpStream> = (0..10).map(|_| process.connect(3)).collect();
    let events: Vec<TcpStream> = (0..10).map(|_| process.connect(3)).collect();
    let form = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n";
    let push = "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n\
                ffff\r\n";
    let pushed = with_key(push, &sensor);
    std::thread::scope(|scope| {
        let heads = scope.spawn(|| drip(heads, "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "));
        let forms = scope.spawn(|| drip(forms, form));
        let events = scope.spawn(|| drip(events, &pushed));
        until("connections of one address are bounded", || {
            measure();
            process.figure("honeyguide_http_connections_refused_total{listener=\"tcp\"}") >= 3.0 * ADDRESS_CONNECTIONS as f64
        });
        let open = process.figure("honeyguide_http_connections{listener=\"tcp\"}");
        assert!(open <= (2 * ADDRESS_CONNECTIONS) as f64, "{open} connections are open");
        all_go_on();
        while !(heads.is_finished() && forms.is_finished() && events.is_finished()) {
            measure();
            std::thread::sleep(Duration::from_millis(100));
        }
        let heads = heads.join().expect("ended");
        let late = heads.iter().filter(|said| status(said) == Some(408)).count();
        assert_eq!(heads.iter().filter(|said| said.is_empty()).count() + late, heads.len(), "{heads:?}");
        assert!((1..=ADDRESS_CONNECTIONS).contains(&late), "{late}");
        for said in forms.join().expect("ended") {
            assert_eq!(status(&said), Some(408), "{said}");
        }
        // One key's bodies wait for each other.
        let events: Vec<_> = events.join().expect("ended").iter().map(|said| status(said)).collect();
        assert!(events.iter().all(|status| matches!(status, Some(408 | 503))) && events.contains(&Some(408)), "{events:?}");
        println!("slow heads: {} hung up on, {late} told 408; open at most {open}", heads.len() - late);
    });
    all_go_on();
    drop(unread);

    let lines = |count: usize| (0..count).map(|number| format!("X-{number}: a\r\n")).collect::<String>();
    let head = "HTTP/1.1\r\nHost: localhost\r\n";
    let json = |key: &str, more: &str| format!("POST /api/v1/token {head}x-api-key: {key}\r\nContent-Type: application/json\r\n{more}\r\n");
    let login = |more: &str| format!("POST /login {head}Content-Type: application/x-www-form-urlencoded\r\n{more}\r\n");
    let many_chunks = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(200);
    let table: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("a header of 1 MB", format!("GET /health {head}X: {}\r\n\r\n", "x".repeat(1 << 20)).into(), &[431]),
        ("100,000 header lines", format!("GET /health {head}{}\r\n", lines(100_000)).into(), &[431]),
        ("more header lines than are read", format!("GET /health {head}{}\r\n", lines(200)).into(), &[431]),
        ("a path of 1 MB", format!("GET /{} {head}\r\n", "x".repeat(1 << 20)).into(), &[431]),
        ("a path of 60 KB", format!("GET /{} {head}\r\n", "x".repeat(60 << 10)).into(), &[400, 404, 414]),
        ("bytes", (0..=255).cycle().take(100_000).collect(), &[400]),
        ("zeros", vec![0; 4096], &[400]),
        ("a zero in the path", format!("GET /hea\0lth {head}\r\n").into(), &[400]),
        ("a zero in a header", format!("GET /health {head}X: a\0b\r\n\r\n").into(), &[400]),
        ("HTTP/0.9", b"GET /health\r\n\r\n".to_vec(), &[400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400]),
        ("HTTP/3.0", b"GET /health HTTP/3.0\r\nHost: localhost\r\n\r\n".to_vec(), &[400]),
        ("a line that is folded", format!("GET /health {head}X: a\r\n b\r\n\r\n").into(), &[400]),
        ("a blank before the colon", format!("GET /health {head}X : a\r\n\r\n").into(), &[400]),
        ("both lengths", login("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n").into_bytes(), &[400]),
        ("two lengths", login("Content-Length: 5\r\nContent-Length: 6\r\n").into_bytes(), &[400]),
        ("no length", login("Content-Length: -5\r\n").into_bytes(), &[400]),
        ("a length beyond all", login("Content-Length: 99999999999999999999999\r\n").into_bytes(), &[400]),
        ("another coding", login("Transfer-Encoding: gzip, chunked, identity\r\n").into_bytes(), &[400]),
        ("a bad chunk", (login("Transfer-Encoding: chunked\r\n") + "zz\r\nx\r\n0\r\n\r\n").into_bytes(), &[400]),
        ("an endless chunk", (login("Transfer-Encoding: chunked\r\n") + "ffffffffffffffffff\r\n").into_bytes(), &[400]),
        ("a form of 10 GB", login("Content-Length: 10000000000\r\n").into_bytes(), &[413]),
        ("a form without end", (login("Transfer-Encoding: chunked\r\n") + &many_chunks).into_bytes(), &[413]),
        ("JSON of 10 GB", json(&admin, "Content-Length: 10000000000\r\n").into_bytes(), &[413]),
        ("JSON without end", (json(&admin, "Transfer-Encoding: chunked\r\n") + &many_chunks).into_bytes(), &[413]),
        ("JSON that breaks off", (json(&admin, "Content-Length: 100\r\n") + "{").into_bytes(), &[400]),
        ("a body of a stranger", json("none", "Content-Length: 10000000000\r\n").into_bytes(), &[401]),
    ];
    let mut wrong = Vec::new();
    for (what, request, expected) in &table {
        let said = say(process.connect(5), request);
        measure();
        let status = status(&said);
        println!("{what}: {}", status.map_or("hung up".to_owned(), |status| status.to_string()));
        // Who is told while it still sends may find the connection reset instead.
        let is_reset = status.is_none() && request.len() > 64 << 10;
        // One answer, not one for each request that can be read into it.
        let answers = said.matches("HTTP/1.1 ").count();
        if !(is_reset || status.is_some_and(|status| expected.contains(&status)) && answers == 1) {
            wrong.push(format!("{what}: {expected:?} was expected of {}", said.lines().next().unwrap_or("nothing")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What comes behind a request with two meanings is no request of its own.
    let smuggled =
        login("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let said = say(process.connect(5), smuggled.as_bytes());
    assert!(status(&said) == Some(400) && !said.contains("ok\n"), "{said}");

    all_go_on();
    innocents.into_iter().for_each(|(who, innocent)| innocent.end(who));
    until("all connections are closed", || process.figure("honeyguide_http_connections{listener=\"tcp\"}") == 0.0);
    let most = most.load(Ordering::Relaxed);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("RssAnon {:.1} MiB at rest, at most {:.1} MiB", mib(at_rest), mib(most));
    assert!(most < at_rest + GROWTH_BYTES_MAX, "{:.1} MiB more than at rest", mib(most - at_rest));
}
