//! `load`, everything on, against a plain pipeline over the same file in the same run: figures and their ratio.
//!
//! `cargo bench --bench load -- FILE [DATA_DIR]`: loads FILE (make one with `--bench data`) into an empty directory,
//! loads it again, and runs the plain pipeline. Every load is a process of its own, so that its memory is its own.
#[allow(dead_code)]
#[path = "plain.rs"]
mod plain;

use honeyguide::actors::supervisor::Load;
use honeyguide::config;
use honeyguide::daemon::{DataDir, Engine};
use honeyguide::os::{memory, notify::Notifier, process::ProcessStats};
use honeyguide::sources::Format;
use honeyguide::telemetry::Telemetry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["child", file, data] => child(Path::new(file), Path::new(data)),
        [file] => compare(Path::new(file), &std::env::temp_dir().join(format!("honeyguide-bench-{}", std::process::id()))),
        [file, data] => compare(Path::new(file), Path::new(data)),
        _ => eprintln!("usage: cargo bench --bench load -- FILE [DATA_DIR]"),
    }
}

fn compare(file: &Path, data: &Path) {
    // Once through the page cache, so that no run pays for the disk's reads.
    std::io::copy(&mut std::fs::File::open(file).expect("the file opens"), &mut std::io::sink()).expect("the file is readable");
    let run = || {
        let status = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["child".as_ref(), file.as_os_str(), data.as_os_str()])
            .status();
        assert!(status.expect("the child runs").success());
    };
    println!("load:");
    run();
    println!("the same again:");
    run();
    let raw = std::fs::metadata(file).expect("the file is there").len();
    let on_disk = bytes_below(data);
    println!("on disk: {on_disk} bytes, {:.2} % of {raw}", 100.0 * on_disk as f64 / raw as f64);
    let output = data.with_extension("plain");
    let figures = plain::run(file, &output).expect("the plain pipeline runs");
    println!("plain pipeline: {:.0} events/s", figures.events as f64 / figures.seconds);
    let _ = std::fs::remove_file(output);
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    entries
        .map(|entry| if entry.path().is_dir() { bytes_below(&entry.path()) } else { entry.metadata().map_or(0, |meta| meta.len()) })
        .sum()
}

fn child(file: &Path, data: &Path) {
    memory::bound_arenas();
    let settings =
        config::load_from(None, Some(data), &config::Surroundings::of_process().expect("a current directory")).expect("defaults");
    let telemetry = Telemetry::unlogged();
    let (peak, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watcher = std::thread::spawn({
        let (peak, done) = (peak.clone(), done.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                if let Ok(stats) = ProcessStats::read() {
                    peak.fetch_max(stats.anonymous_bytes, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let files: Vec<PathBuf> = vec![file.to_owned()];
    let runner = actix::System::new();
    let (snapshot, seconds) = runner.block_on(async {
        let opened = Instant::now();
        let data_dir = DataDir::open(&settings, &telemetry, &mut |_| {}).expect("the data directory opens");
        println!("  opened in {:.3} s", opened.elapsed().as_secs_f64());
        let engine = Engine::start(data_dir, settings, telemetry, Arc::new(Notifier::from_env().expect("no systemd here")));
        engine.available().await;
        let started = Instant::now();
        let mut progress = engine.supervisor.send(Load { files, format: Format::COWRIE }).await.expect("the supervisor answers");
        let snapshot = progress.wait_for(|snapshot| snapshot.finished).await.expect("the load ends").clone();
        let seconds = started.elapsed().as_secs_f64();
        assert!(engine.drain().await, "drained");
        (snapshot, seconds)
    });
    done.store(true, Ordering::Relaxed);
    watcher.join().expect("the watcher ends");
    let lines = snapshot.events + snapshot.duplicates + snapshot.rejected;
    println!(
        "  {} events stored, {} duplicates, {} refused in {seconds:.2} s: {:.0} events/s, peak RssAnon {:.1} MiB",
        snapshot.events,
        snapshot.duplicates,
        snapshot.rejected,
        lines as f64 / seconds,
        peak.load(Ordering::Relaxed) as f64 / f64::from(1 << 20),
    );
    let cpu = ProcessStats::read().map(|stats| stats.cpu_seconds).unwrap_or_default();
    println!("  {:.0} ns of CPU per event", cpu * 1e9 / lines as f64);
}
