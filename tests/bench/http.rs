//! Answers over HTTP at a fixed rate: the real binary on a data directory that is full, asked by `oha`, which corrects for answers that
//! hold up the next question.
//!
//! ```text
//! cargo install oha
//! cargo bench --all-features --bench http -- DIR [REQUESTS_PER_SECOND] [SECONDS]
//! ```
//!
//! 1,000 a second for 30 seconds without. A quarter each: the status; sessions, each drawn from all days; pages of 50 events of values
//! drawn likewise, the newest first; top lists of ten fields. Prints figures only: of each quarter alone, of the mix, of `/metrics`, and
//! the daemon's memory. DIR is made by `--bench data` and `honeyguide load`; what this adds to it is an API key.
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Sessions, and searches, that are drawn from.
const DRAWN: usize = 400;
const CONNECTIONS: &str = "16";
const FIELDS: [&str; 10] = ["src_ip", "username", "password", "command", "eventid", "sensor", "hassh", "protocol", "dst_port", "country"];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let Some(dir) = words.first() else { panic!("say which data directory: cargo bench --bench http -- DIR") };
    let number = |at: usize, otherwise: u64| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(otherwise);
    let (rate, seconds) = (number(1, 1_000), number(2, 30));
    let scratch = tempfile::tempdir().expect("temporary directory");
    let daemon = Daemon::start(Path::new(dir), scratch.path());
    let asked = Asked::draw(&daemon);
    println!("{} events, {} sessions and {} searches drawn", daemon.events(), asked.sessions.len(), asked.searches.len());
    println!("{:<28} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "median", "p95", "p99", "max", "not 200");
    let run = |what: &str, urls: &[&String], rate: u64, seconds: u64| daemon.ask(scratch.path(), what, urls, rate, seconds);
    let status = vec![daemon.url("/api/v1/status")];
    for (what, urls) in [("status", &status), ("sessions", &asked.sessions), ("searches", &asked.searches), ("top lists", &asked.tops)] {
        run(&format!("{what}, {}/s", rate / 4), &urls.iter().collect::<Vec<_>>(), rate / 4, seconds.div_ceil(3));
    }
    // As many lines of each kind: one is drawn for each request.
    let most = [&status, &asked.sessions, &asked.searches, &asked.tops].map(|urls| urls.iter().cycle().take(DRAWN)).into_iter().flatten();
    run(&format!("the mix, {rate}/s"), &most.collect::<Vec<_>>(), rate, seconds);
    run("/metrics, 100/s", &[&daemon.url("/metrics")], 100, seconds.div_ceil(3));
    println!("RssAnon {:.1} MiB", daemon.rss_anon() as f64 / (1 << 20) as f64);
}

/// What is asked for.
struct Asked {
    sessions: Vec<String>,
    searches: Vec<String>,
    tops: Vec<String>,
}

impl Asked {
    /// Events of days all over the time there is, a few of each.
    fn draw(daemon: &Daemon) -> Asked {
        let days: Value = daemon.json("/api/v1/count?by=day");
        let days: Vec<&str> = days.as_array().expect("days").iter().filter_map(|day| day["from"].as_str()?.get(..10)).collect();
        let (mut sessions, mut searches) = (BTreeSet::new(), BTreeSet::new());
        for day in days.iter().step_by(days.len().div_ceil(100).max(1)) {
            let page: Value = daemon.json(&format!("/api/v1/events/page?limit=100&query=since:{day}"));
            let lines = page["events"].as_array().expect("events").iter().filter_map(|event| event["line"].as_str());
            let events: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
            for event in events.iter().step_by(13) {
                if let Some(session) = event["session"].as_str() {
                    sessions.insert(daemon.url(&format!("/api/v1/sessions/{session}")));
                }
                for field in ["src_ip", "username", "password"] {
                    if let Some(value) =
                        event[field].as_str().filter(|value| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'))
                    {
                        searches.insert(daemon.url(&format!("/api/v1/events/page?newest=true&limit=50&query={field}:%22{value}%22")));
                    }
                }
            }
        }
        let tops = FIELDS.iter().map(|field| daemon.url(&format!("/api/v1/terms/{field}?limit=10"))).collect();
        let few = |all: BTreeSet<String>| {
            let step = (all.len() / DRAWN).max(1);
            all.into_iter().step_by(step).take(DRAWN).collect()
        };
        Asked { sessions: few(sessions), searches: few(searches), tops }
    }
}

struct Daemon {
    process: Child,
    base: String,
    key: String,
}

impl Daemon {
    fn start(dir: &Path, scratch: &Path) -> Daemon {
        let dir = std::fs::canonicalize(dir).expect("a data directory");
        let config = scratch.join("honeyguide.toml");
        let text =
            format!("data_dir = {:?}\n[admin]\nlisten = \"127.0.0.1:0\"\naddress_rate = 1000000\nkey_rate = 1000000\n", dir.display());
        std::fs::write(&config, text).expect("written");
        let program = env!("CARGO_BIN_EXE_honeyguide");
        let mut process = Command::new(program)
            .args(["run", "--config"])
            .arg(&config)
            .env_remove("RUNTIME_DIRECTORY")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let started = lines.find(|line| line.contains("daemon_started")).expect("it starts");
        std::thread::spawn(move || lines.for_each(drop));
        let started: Value = serde_json::from_str(&started).expect("a line of JSON");
        let base = format!("http://{}", started["listen"].as_str().expect("where it listens"));
        let made = Command::new(program)
            .args([
                "keys",
                "create",
                &format!("bench-{}", std::process::id()),
                "--role",
                "analyst",
                "--role",
                "developer",
                "--json",
                "--config",
            ])
            .arg(&config)
            .output()
            .expect("run");
        let made: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|error| panic!("{error}: {made:?}"));
        Daemon { process, base, key: made["key"].as_str().expect("a key").to_owned() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn json(&self, path: &str) -> Value {
        let client = got(&self.url(path), &self.key);
        serde_json::from_slice(&client).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn events(&self) -> u64 {
        self.json("/api/v1/status")["journal"]["events"].as_u64().expect("a number")
    }

    /// Prints how long answers took, milliseconds.
    fn ask(&self, scratch: &Path, what: &str, urls: &[&String], rate: u64, seconds: u64) {
        let file: PathBuf = scratch.join("urls");
        let mut text = Vec::new();
        urls.iter().for_each(|url| writeln!(text, "{url}").expect("memory"));
        std::fs::write(&file, text).expect("written");
        let run = |seconds: u64| {
            Command::new("oha")
                .args(["--no-tui", "--output-format", "json", "--latency-correction", "--urls-from-file", "-c", CONNECTIONS])
                .args(["-q", &rate.to_string(), "-z", &format!("{seconds}s"), "-H", &format!("Authorization: Bearer {}", self.key)])
                .arg(&file)
                .output()
                .unwrap_or_else(|error| panic!("cannot run oha ({error}): cargo install oha"))
        };
        // What is read and kept at the first question is not what is measured.
        run(2);
        let told = run(seconds);
        let told: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        let at = |name: &str| told["latencyPercentiles"][name].as_f64().unwrap_or(f64::NAN) * 1e3;
        let codes = told["statusCodeDistribution"].as_object().cloned().unwrap_or_default();
        let others: u64 = codes.iter().filter(|(code, _)| *code != "200").filter_map(|(_, count)| count.as_u64()).sum();
        let max = told["summary"]["slowest"].as_f64().unwrap_or(f64::NAN) * 1e3;
        println!("{what:<28} {:>8.2} {:>8.2} {:>8.2} {max:>8.2} {others:>8}", at("p50"), at("p95"), at("p99"));
    }

    fn rss_anon(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line of the kernel");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // So that the data directory is left as it is left at any end.
        let pid = nix::unistd::Pid::from_raw(self.process.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

fn got(url: &str, key: &str) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let answer = reqwest::Client::new().get(url).bearer_auth(key).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{url}: {}", answer.status());
        answer.bytes().await.expect("a body").to_vec()
    })
}
