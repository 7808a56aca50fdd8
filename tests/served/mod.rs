//! A real daemon inside the test's process, commands against it, and plain HTTP to it.
#![allow(dead_code, reason = "each test program uses its own part")]
use clap::Parser;
use honeyguide::admin;
use honeyguide::cli::args::{Cli, Command};
use honeyguide::cli::context::{Context, Exit};
use honeyguide::cli::terminal::Output;
use honeyguide::cli::{
    alerts, anomalies, archive, clusters, count, distinct, enrich, erase, geoip, indicators, ingested, keys, load, new, peers, quarantine,
    rebuild, report, search, session, sinks, status, support, top, verify,
};
use honeyguide::config;
use honeyguide::daemon::{DataDir, Engine};
use honeyguide::os::notify::Notifier;
use honeyguide::simulate::{Generator, Simulation};
use honeyguide::telemetry::Telemetry;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

/// A directory with a configuration, in which a daemon can be started and stopped.
pub struct Home {
    pub dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home::with("")
    }

    /// `more`: TOML behind the tables that every test has.
    pub fn with(more: &str) -> Home {
        let dir = tempfile::tempdir().expect("temporary directory");
        let text = format!("data_dir = \"data\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{more}");
        std::fs::write(dir.path().join("honeyguide.toml"), text).expect("written");
        Home { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn config(&self) -> PathBuf {
        self.path("honeyguide.toml")
    }

    /// Writes a file beside the data directory.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// Runs a command as the command line would; answers how it ended and what it printed.
    pub fn run(&self, words: &[&str]) -> (anyhow::Result<Exit>, String) {
        let words = ["honeyguide"].iter().chain(words).copied();
        let cli = Cli::try_parse_from(words).expect("a valid command line");
        let mut global = cli.global;
        global.config = Some(self.config());
        let context = Context { global, output: Output::plain() };
        let mut out = Vec::new();
        let ended = match &cli.command {
            Command::Alerts(args) => alerts::answer(args, &context, &mut out),
            Command::Archive(args) => archive::answer(args, &context, &mut out),
            Command::Load(args) => load::answer(args, &context, &mut out),
            Command::Search(args) => search::answer(args, &context, &mut out),
            Command::Top(args) => top::answer(args, &context, &mut out),
            Command::Report(args) => report::answer(args, &context, &mut out),
            Command::Anomalies(args) => anomalies::answer(args, &context, &mut out),
            Command::Count(args) => count::answer(args, &context, &mut out),
            Command::Distinct(args) => distinct::answer(args, &context, &mut out),
            Command::New(args) => new::answer(args, &context, &mut out),
            Command::Indicators(args) => indicators::answer(args, &context, &mut out),
            Command::Clusters(args) => clusters::answer(args, &context, &mut out),
            Command::Config => honeyguide::cli::config::answer(&context, &mut out),
            Command::Enrich(args) => enrich::answer(args, &context, &mut out),
            Command::Enrichers => enrich::list_answer(&context, &mut out),
            Command::Session(args) => session::answer(args, &context, &mut out),
            Command::Status => status::answer(&context, &mut out),
            Command::Verify => verify::answer(&context, &mut out),
            Command::Ingested(args) => ingested::answer(args, &context, &mut out),
            Command::Quarantine(args) => quarantine::answer(args, &context, &mut out),
            Command::Erase(args) => erase::answer(args, &context, None, &mut out),
            Command::Rebuild => rebuild::answer(&context, &mut out),
            Command::Geoip(args) => geoip::answer(args, &context, &mut out),
            Command::Support(args) => support::answer(args, &context, &mut out),
            Command::Peers => peers::answer(&context, &mut out),
            Command::Sinks(args) => sinks::answer(args, &context, &mut out),
            Command::Keys(args) => keys::answer(args, &context, &mut out),
            other => panic!("{other:?} asks no store"),
        };
        (ended, String::from_utf8(out).expect("UTF-8"))
    }

    /// A command that must succeed with this exit.
    pub fn expect(&self, exit: Exit, words: &[&str]) -> String {
        let (ended, out) = self.run(words);
        assert_eq!(ended.unwrap_or_else(|error| panic!("{words:?}: {error:#}")), exit, "{words:?}\n{out}");
        out
    }

    /// A command that must succeed, and its JSON.
    pub fn json(&self, exit: Exit, words: &[&str]) -> serde_json::Value {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let out = self.expect(exit, &words);
        serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{words:?}: {error}\n{out}"))
    }

    /// A command that must fail, and why.
    pub fn fails(&self, words: &[&str]) -> anyhow::Error {
        match self.run(words) {
            (Err(error), _) => error,
            (Ok(exit), out) => panic!("{words:?} ended with {exit:?}\n{out}"),
        }
    }
}

/// Lines of simulated events.
pub fn log(seed: u64, events: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    Generator::new(&Simulation { seed, ..Simulation::default() }).fill(&mut bytes, events as u64);
    bytes
}

/// A running daemon; dropping it drains and stops it.
pub struct Daemon {
    pub listen: SocketAddr,
    pub socket: PathBuf,
    pub engine: Option<Arc<Engine>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<bool>>,
}

impl Daemon {
    pub fn start(home: &Home) -> Daemon {
        let settings = config::load(Some(&home.config()), None).expect("a valid configuration");
        let socket = settings.admin.socket.clone();
        let (begun_sender, begun) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(async {
                let telemetry = Telemetry::unlogged();
                let data_dir = DataDir::open(&settings, &telemetry, &mut |_| {}).expect("opened");
                let notifier = Arc::new(Notifier::new(None, None, None, 0).expect("none"));
                let engine = Arc::new(Engine::start(data_dir, settings, telemetry, notifier));
                engine.available().await;
                let serving = admin::serve(engine.clone()).expect("served");
                begun_sender.send((serving.listen().expect("a port"), engine.clone())).expect("the test waits");
                let _ = stopped.await;
                let drained = engine.drain().await;
                serving.stop().await;
                engine.release().await;
                drained
            })
        });
        let (listen, engine) = begun.recv().expect("the daemon began");
        Daemon { listen, socket, engine: Some(engine), stop: Some(stop), thread: Some(thread) }
    }

    pub fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().expect("running")
    }

    pub fn tcp(&self, request: &str) -> Answer {
        exchange(TcpStream::connect(self.listen).expect("connected"), request)
    }

    pub fn unix(&self, request: &str) -> Answer {
        exchange(UnixStream::connect(&self.socket).expect("connected"), request)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.unix(&get(path, "localhost"))
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.unix(&post(path, body))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.engine.take();
        let _ = self.stop.take().map(|stop| stop.send(()));
        let drained = self.thread.take().map(|thread| thread.join());
        if !std::thread::panicking() {
            assert!(matches!(drained, Some(Ok(true))), "the daemon drains");
        }
    }
}

pub fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

pub fn post(path: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    )
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower case.
    pub head: String,
    pub body: Vec<u8>,
    /// The body came to its end.
    pub whole: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn lines(&self) -> Vec<String> {
        assert!(self.whole, "{self:?}");
        self.text().lines().map(str::to_owned).collect()
    }
}

/// Sends a request and reads the answer to the end of the connection.
pub fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    // A connection that is reset has said all it will.
    let _ = stream.read_to_end(&mut bytes);
    answer(&bytes)
}

fn answer(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer: {bytes:?}"));
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body = &bytes[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return Answer { status, head, body: body.to_vec(), whole: true };
    }
    let (body, whole) = dechunked(body);
    Answer { status, head, body, whole }
}

fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("a length"), 16).expect("a length");
        if len == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(end + 2..end + 2 + len) else { break };
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + len..).unwrap_or_default();
    }
    (body, false)
}

/// Waits for a condition, with a deadline far beyond anything expected.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// All regular files below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
