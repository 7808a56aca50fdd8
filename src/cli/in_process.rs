//! What a daemon would do, done by the command itself when there is none: the same actors, without sources and without listeners.
use crate::actors::exporter;
use crate::config::{LogFormat, LogSettings, Settings};
use crate::daemon::{DataDir, Engine};
use crate::os::notify::Notifier;
use crate::telemetry::log::Log;
use crate::telemetry::{Metrics, Telemetry};
use anyhow::Context as _;
use indicatif::ProgressBar;
use std::io::{self, Write};
use std::sync::Arc;

/// Where the actors' warnings go: standard error, above the bar.
pub struct Warnings {
    pub telemetry: Telemetry,
    // Writes what is queued when dropped.
    _log: Log,
}

impl Warnings {
    pub fn beside(bar: &ProgressBar) -> anyhow::Result<Warnings> {
        let settings = LogSettings { level: slog::Level::Warning, format: LogFormat::Human, file: None, file_bytes: 1 << 20, file_keep: 0 };
        let metrics = Metrics::new(None);
        let log = Log::start_on(&settings, &metrics, BesideBar(bar.clone()), true, std::process::id())?;
        Ok(Warnings { telemetry: Telemetry::new(log.logger().clone(), metrics), _log: log })
    }
}

struct BesideBar(ProgressBar);

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Runs the actors on an open data directory for as long as `work` takes; then makes everything durable and ends them. The data
/// directory is free again behind this.
pub fn with_engine<T>(
    data_dir: DataDir,
    settings: &Settings,
    telemetry: Telemetry,
    work: impl AsyncFnOnce(&Arc<Engine>) -> T,
) -> anyhow::Result<T> {
    let mut settings = settings.clone();
    settings.sources.clear();
    // Whoever loads old logs asks for anomalies when they are there.
    settings.anomalies.enabled = false;
    // Nothing is delivered, and nothing is removed that waits for it.
    exporter::hold_for(&settings.sinks, &data_dir.state, &data_dir.parts.store);
    settings.sinks.clear();
    let notifier = Arc::new(Notifier::new(None, None, None, 0).context("cannot go without a service manager")?);
    actix::System::new().block_on(async {
        let engine = Arc::new(Engine::start(data_dir, settings, telemetry, notifier));
        engine.available().await;
        let done = work(&engine).await;
        let drained = engine.drain().await;
        engine.release().await;
        anyhow::ensure!(drained, "not everything that was read could be made durable in time: run the same again");
        Ok(done)
    })
}
