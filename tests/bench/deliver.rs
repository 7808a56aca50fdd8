//! From the journal to a receiver over HTTP: how fast, with how much memory, and how late at a steady rate.
//!
//! `cargo bench --bench deliver -- throughput webhook|elasticsearch FILE` loads FILE (see `--bench data`) and delivers all of it;
//! `cargo bench --bench deliver -- latency [EVENTS_PER_SECOND SECONDS]` follows a growing log and delivers its lines.
//! The daemon is a process of its own, so that its memory is its own. Prints figures only.
#[path = "../receivers/mod.rs"]
mod receivers;
mod steady;

use actix_web::{App, HttpResponse, HttpServer, web};
use honeyguide::actors::supervisor::Load;
use honeyguide::config;
use honeyguide::daemon::{DataDir, Engine};
use honeyguide::events::time;
use honeyguide::os::{memory, notify::Notifier, process::ProcessStats};
use honeyguide::sources::Format;
use honeyguide::telemetry::Telemetry;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["load", file, data] => load(Path::new(file), Path::new(data)),
        ["daemon", configuration, data] => daemon(Path::new(configuration), Path::new(data)),
        ["throughput", kind, file] => throughput(kind, Path::new(file)),
        ["latency"] => latency(2_000, 20),
        ["latency", rate, seconds] => latency(rate.parse().expect("events a second"), seconds.parse().expect("seconds")),
        _ => eprintln!("usage: cargo bench --bench deliver -- throughput webhook|elasticsearch FILE | latency [EVENTS_PER_SECOND SECONDS]"),
    }
}

fn child(arguments: &[&std::ffi::OsStr]) -> Child {
    Command::new(std::env::current_exe().expect("this program")).args(arguments).spawn().expect("the child starts")
}

/// Fills a data directory.
fn load(file: &Path, data: &Path) {
    memory::bound_arenas();
    let settings = config::load_from(None, Some(data), &config::Surroundings::of_process().expect("a directory")).expect("defaults");
    actix::System::new().block_on(async {
        let telemetry = Telemetry::unlogged();
        let data_dir = DataDir::open(&settings, &telemetry, &mut |_| {}).expect("opens");
        let engine = Engine::start(data_dir, settings, telemetry, Arc::new(Notifier::from_env().expect("no systemd here")));
        engine.available().await;
        let files: Vec<PathBuf> = vec![file.to_owned()];
        let mut progress = engine.supervisor.send(Load { files, format: Format::COWRIE }).await.expect("the supervisor answers");
        progress.wait_for(|snapshot| snapshot.finished).await.expect("the load ends");
        assert!(engine.drain().await, "drained");
    });
}

/// Runs until it is killed, and prints its memory and processor time every second.
fn daemon(configuration: &Path, data: &Path) {
    memory::bound_arenas();
    let surroundings = config::Surroundings::of_process().expect("a directory");
    let settings = config::load_from(Some(configuration), Some(data), &surroundings).expect("valid");
    actix::System::new().block_on(async {
        let telemetry = Telemetry::unlogged();
        let data_dir = DataDir::open(&settings, &telemetry, &mut |_| {}).expect("opens");
        let engine = Engine::start(data_dir, settings, telemetry, Arc::new(Notifier::from_env().expect("no systemd here")));
        engine.available().await;
        let figures = data.join("bench-figures");
        let mut peak = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let stats = ProcessStats::read().expect("/proc is there");
            peak = peak.max(stats.anonymous_bytes);
            let _ = std::fs::write(&figures, format!("{} {}", peak, stats.cpu_seconds));
        }
    });
}

fn figures(data: &Path) -> (f64, f64) {
    let text = std::fs::read_to_string(data.join("bench-figures")).unwrap_or_default();
    let mut numbers = text.split(' ').filter_map(|number| number.parse::<f64>().ok());
    (numbers.next().unwrap_or_default() / f64::from(1 << 20), numbers.next().unwrap_or_default())
}

/// What the receiver saw.
#[derive(Default)]
struct Seen {
    events: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    /// Microseconds from the event's own time to now.
    latencies: Mutex<Vec<i64>>,
}

/// A receiver of webhooks or of bulk requests, on a thread of its own. Takes everything; `stamps` reads the events' times.
fn receiver(seen: Arc<Seen>, stamps: bool) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let server = HttpServer::new(move || {
            let seen = seen.clone();
            App::new().app_data(web::PayloadConfig::new(64 << 20)).default_service(web::to(move |body: web::Bytes| {
                let seen = seen.clone();
                async move {
                    let events = memchr::memmem::find_iter(&body, b"\"sequence\":").count() as u64;
                    seen.events.fetch_add(events, Ordering::Relaxed);
                    seen.requests.fetch_add(1, Ordering::Relaxed);
                    seen.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                    if stamps {
                        let now = time::now();
                        let needle = b"\"timestamp\":\"";
                        let mut latencies = seen.latencies.lock().expect("not poisoned");
                        latencies.extend(memchr::memmem::find_iter(&body, needle).filter_map(|at| {
                            let stamp = body.get(at + needle.len()..)?;
                            let end = memchr::memchr(b'"', stamp)?;
                            Some(now - time::parse(&stamp[..end])?)
                        }));
                    }
                    HttpResponse::Ok().body("{}")
                }
            }))
        });
        let server = server.workers(1).listen(listener).expect("listens").disable_signals();
        actix::System::new().block_on(server.run()).expect("serves");
    });
    port
}

fn configuration(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("honeyguide.toml");
    std::fs::write(&path, format!("[admin]\nlisten = \"off\"\n{text}")).expect("written");
    path
}

fn throughput(kind: &str, file: &Path) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    assert!(child(&["load".as_ref(), file.as_os_str(), data.as_os_str()]).wait().expect("ends").success());
    let seen = Arc::new(Seen::default());
    let double;
    let (port, delivered): (u16, Box<dyn Fn() -> u64>) = match kind {
        "elasticsearch" => {
            double = receivers::elasticsearch::start();
            let counting = double.clone();
            (double.port(), Box::new(move || counting.count() as u64))
        }
        _ => {
            let counting = seen.clone();
            (receiver(seen.clone(), false), Box::new(move || counting.events.load(Ordering::Relaxed)))
        }
    };
    let text =
        format!("[[sink]]\nname = \"bench\"\ntype = \"{kind}\"\nurl = \"http://127.0.0.1:{port}\"\nallow_private = [\"127.0.0.1\"]\n");
    let started = Instant::now();
    let mut process = child(&["daemon".as_ref(), configuration(dir.path(), &text).as_os_str(), data.as_os_str()]);
    let (mut last, mut changed, mut first) = (0, Instant::now(), None);
    while changed.elapsed() < Duration::from_secs(3) || last == 0 {
        std::thread::sleep(Duration::from_millis(20));
        let now = delivered();
        if now != last {
            first.get_or_insert_with(Instant::now);
            (last, changed) = (now, Instant::now());
        }
        assert!(started.elapsed() < Duration::from_secs(600), "nothing arrives");
    }
    let (peak, cpu) = figures(&data);
    process.kill().expect("the child is ours");
    let _ = process.wait();
    let seconds = (changed - first.unwrap_or(started)).as_secs_f64();
    println!(
        "{kind}: {last} events in {seconds:.1} s: {:.0} events/s, peak RssAnon {peak:.1} MiB, {:.0} ns of CPU per event (with the start)",
        last as f64 / seconds,
        cpu * 1e9 / last as f64
    );
}

fn latency(rate: u64, seconds: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (log, data) = (dir.path().join("log"), dir.path().join("data"));
    std::fs::create_dir(&log).expect("created");
    let seen = Arc::new(Seen::default());
    let port = receiver(seen.clone(), true);
    let text = format!(
        "[[source]]\nname = \"bench\"\npaths = [\"{}/cowrie.json*\"]\n[[sink]]\nname = \"bench\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{port}\"\nallow_private = [\"127.0.0.1\"]\n",
        log.display()
    );
    let mut process = child(&["daemon".as_ref(), configuration(dir.path(), &text).as_os_str(), data.as_os_str()]);
    std::thread::sleep(Duration::from_secs(2));
    steady::write(&log.join("cowrie.json"), rate, seconds, |_| {});
    let written = rate * seconds;
    let waited = Instant::now();
    while seen.events.load(Ordering::Relaxed) < written && waited.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (peak, cpu) = figures(&data);
    process.kill().expect("the child is ours");
    let _ = process.wait();
    let mut latencies = std::mem::take(&mut *seen.latencies.lock().expect("not poisoned"));
    latencies.sort_unstable();
    let at = |share: f64| latencies.get(((latencies.len().max(1) - 1) as f64 * share) as usize).map_or(0.0, |&micros| micros as f64 / 1e3);
    println!(
        "{written} lines at {rate}/s, {} delivered in {} requests; written -> delivered:",
        seen.events.load(Ordering::Relaxed),
        seen.requests.load(Ordering::Relaxed)
    );
    println!("  p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, max {:.0} ms", at(0.5), at(0.9), at(0.99), at(1.0));
    println!("  peak RssAnon {peak:.1} MiB, CPU {:.1} % of one core", 100.0 * cpu / seconds as f64);
}
