//! `honeyguide run`: the daemon.
use super::context::{Context, Exit};
use crate::config::SourceName;
use crate::daemon;
use crate::os::{limits, owner};
use crate::telemetry::log::Log;
use crate::telemetry::{Metrics, Telemetry};
use anyhow::Context as _;
use std::sync::Arc;

/// Descriptors beside the log files: segments, sidecars, sockets, the daemon's own log.
const OTHER_FILES: u64 = 512;

pub fn run(context: &Context) -> anyhow::Result<Exit> {
    // What tests want to fail stands in FAILPOINTS.
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    let settings = context.settings()?;
    owner::become_owner_of(&settings.data_dir)?;
    limits::raise_open_files(settings.limits.open_files as u64 + OTHER_FILES).context("cannot raise the number of open files")?;
    let metrics = Metrics::new(Some(&settings.data_dir));
    metrics.register_source(&SourceName::load());
    metrics.register_source(&SourceName::push());
    let log = Arc::new(Log::start(&settings.log, &metrics)?);
    log.serve_process();
    let telemetry = Telemetry::new(log.logger().clone(), metrics);
    for receiver in &settings.receivers {
        telemetry.metrics.register_source(&receiver.name);
    }
    if settings.sources.is_empty() && settings.receivers.is_empty() {
        slog::warn!(telemetry.logger, "no source is configured: nothing is followed, only what `honeyguide load` brings is stored");
    }
    Ok(Exit::Code(daemon::run(settings, log, telemetry)?))
}
