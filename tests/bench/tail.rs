//! From a line written to the log until search finds it, at a steady rate, through the real tail and the real journal.
//!
//! `cargo bench --bench tail [-- EVENTS_PER_SECOND SECONDS]`. Prints figures only.
mod steady;

use honeyguide::config;
use honeyguide::daemon::{DataDir, Engine};
use honeyguide::events::time;
use honeyguide::os::{memory, notify::Notifier, process::ProcessStats};
use honeyguide::service::{self, SearchRequest};
use honeyguide::telemetry::Telemetry;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let (rate, seconds) = (arguments.first().copied().unwrap_or(2_000), arguments.get(1).copied().unwrap_or(20));
    memory::bound_arenas();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = dir.path().join("log");
    std::fs::create_dir(&log).expect("created");
    let file = dir.path().join("honeyguide.toml");
    let text =
        format!("[[source]]\nname = \"bench\"\ntype = \"file\"\nformat = \"cowrie\"\npaths = [\"{}/cowrie.json*\"]\n", log.display());
    std::fs::write(&file, text).expect("written");
    let settings =
        config::load_from(Some(&file), Some(&dir.path().join("data")), &config::Surroundings::of_process().expect("a directory"))
            .expect("valid");
    let runner = actix::System::new();
    runner.block_on(async {
        let telemetry = Telemetry::unlogged();
        let data_dir = DataDir::open(&settings, &telemetry, &mut |_| {}).expect("opens");
        let engine = Engine::start(data_dir, settings, telemetry, Arc::new(Notifier::from_env().expect("no systemd here")));
        engine.available().await;
        let writer = std::thread::spawn(move || {
            steady::write(&log.join("cowrie.json"), rate, seconds, |n| LAST.store(n, std::sync::atomic::Ordering::SeqCst));
            rate * seconds
        });
        let store = engine.store().clone();
        // Every so often: the newest line that was written by then, and how long until it is found.
        let asker = std::thread::spawn(move || {
            let mut latencies = Vec::new();
            let ends = Instant::now() + Duration::from_secs(seconds);
            let mut random = 1u64;
            while Instant::now() < ends {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                std::thread::sleep(Duration::from_micros(5_000 + random % 20_000));
                let asked_at = time::now();
                let wanted = last_written();
                let request = SearchRequest { query: format!("username:user{wanted}"), limit: 1, newest: true };
                while service::search(&store, &request, time::now(), &mut |_| ControlFlow::Continue(())).map_or(0, |found| found.0) == 0 {
                    std::thread::sleep(Duration::from_micros(500));
                    assert!(time::now() - asked_at < 60_000_000, "line {wanted} was never found");
                }
                latencies.push(time::now() - asked_at);
            }
            latencies
        });
        while !writer.is_finished() || !asker.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let written = writer.join().expect("the writer ends");
        let mut latencies = asker.join().expect("the asker ends");
        latencies.sort_unstable();
        assert!(engine.drain().await);
        let stored = engine.store().view().events();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] as f64 / 1e3;
        println!("{written} lines at {rate}/s, {stored} stored; written -> found over {} probes:", latencies.len());
        println!("  p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, max {:.0} ms", at(0.5), at(0.9), at(0.99), at(1.0));
        let stats = ProcessStats::read().expect("/proc is there");
        println!(
            "  CPU {:.1} % of one core, RssAnon {:.1} MiB",
            100.0 * stats.cpu_seconds / seconds as f64,
            stats.anonymous_bytes as f64 / 1_048_576.0
        );
    });
}

static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn last_written() -> u64 {
    LAST.load(std::sync::atomic::Ordering::SeqCst)
}
