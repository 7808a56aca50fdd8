//! The log as the whole process sees it: other crates' records and panics come in; and what Prometheus makes of the metrics.
use honeyguide::config::{LogFormat, LogSettings, SourceName};
use honeyguide::sources::Reason;
use honeyguide::telemetry::Metrics;
use honeyguide::telemetry::log::Log;
use honeyguide::telemetry::metrics::{Actor, JournalOperation, Queue};
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn records_of_other_crates_and_panics_become_lines_and_late_ones_do_no_harm() {
    let settings = LogSettings { level: slog::Level::Debug, format: LogFormat::Json, file: None, file_bytes: 1 << 20, file_keep: 1 };
    let out = Written::default();
    let log = Log::start_on(&settings, &Metrics::new(None), out.clone(), false, 1).expect("started");
    log.serve_process();
    log::info!(target: "actix_server::builder", "starting {} workers\n", 1);
    log::debug!(target: "sled", "below the level of other crates");
    std::thread::Builder::new()
        .name("decoder".into())
        .spawn(|| panic!("poisoned by {}", "\x1b[31m\nevil"))
        .expect("started")
        .join()
        .expect_err("it panics");
    drop(log);
    log::error!("after the end");
    std::thread::spawn(|| panic!("after the end")).join().expect_err("it panics");

    let text = String::from_utf8(out.0.lock().expect("not poisoned").clone()).expect("UTF-8");
    let records: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("one record a line")).collect();
    let found: Vec<_> = records.iter().map(|record| (record["level"].as_str(), record["message"].as_str())).collect();
    assert_eq!(found, [(Some("INFO"), Some("starting 1 workers\n")), (Some("ERROR"), Some("panicked: poisoned by \x1b[31m\nevil"))]);
    assert_eq!(records[1]["thread"], "decoder");
    assert!(records[1]["place"].as_str().is_some_and(|place| place.contains("telemetry_process.rs")), "{}", records[1]);
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let metrics = Metrics::new(Some(std::path::Path::new("/")));
    metrics.register_source(&SourceName::parse("cowrie").expect("a name"));
    metrics.committed("cowrie", 1, 2, 3);
    metrics.rejected("cowrie", Reason::Partial, 1);
    metrics.observe_commit(std::time::Duration::from_millis(1));
    metrics.actor_restarted(Actor::Ingest);
    metrics.journal_fault(JournalOperation::Sync);
    metrics.set_queue(Queue::Seal, 1, 2);
    let checker =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut checker) = checker else {
        println!("SKIPPED: promtool_finds_nothing_to_complain_about: promtool is not installed (Debian package prometheus)");
        return;
    };
    checker.stdin.take().expect("piped").write_all(metrics.text().as_bytes()).expect("read");
    let output = checker.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
