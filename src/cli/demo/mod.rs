//! `honeyguide demo`: the real daemon on a simulated log ([`honeypots`]) or on the user's own, and a display of what it
//! does ([`display`]).
//!
//! Everything lies in one directory, ./honeyguide-demo: the configuration the daemon runs with (demo.toml), the simulated
//! log (log/), the journal, and the daemon's own log (honeyguide.log), which the terminal is too small for. Other commands
//! reach it with `--data`. Simulated events are kept apart from real ones: a directory holds either.
mod display;
mod honeypots;

use super::args;
use super::context::{Context, Exit, Usage};
use crate::config::{self, Settings, SourceName};
use crate::daemon::{self, Daemon};
use crate::os::{limits, lock, owner};
use crate::telemetry::log::Log;
use crate::telemetry::{Metrics, Telemetry};
use anyhow::Context as _;
use display::Display;
use honeypots::Honeypots;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const DATA_DIR: &str = "./honeyguide-demo";
/// Preferred, because it is the daemon's default.
const PORT: u16 = 8787;
/// When the demo ends: how long nothing more may become durable before the rest is left for the next start.
const PATIENCE: Duration = Duration::from_secs(20);
/// The daemon's own log.
const LOG_FILE: &str = "honeyguide.log";

pub fn run(args: &args::Demo, context: &Context) -> anyhow::Result<Exit> {
    if context.global.config.is_some() {
        let hint = "demo writes a configuration of its own: leave out --config, or use `honeyguide run`";
        return Err(Usage(hint.into()).into());
    }
    let place = Place { data: context.global.data.clone().unwrap_or_else(|| DATA_DIR.into()), logs: args.log.clone() };
    let settings = place.prepare()?;
    let metrics = Metrics::new(Some(&settings.data_dir));
    metrics.register_source(&SourceName::load());
    // A terminal cannot show the log and the display; without one they would be told apart with difficulty.
    let log = Arc::new(Log::start_on(&settings.log, &metrics, io::sink(), false, std::process::id())?);
    log.serve_process();
    let telemetry = Telemetry::new(log.logger().clone(), metrics);

    // The work runs as a task of the daemon's runtime, which keeps only a number of its outcome.
    let outcome: Arc<Mutex<anyhow::Result<()>>> = Arc::new(Mutex::new(Ok(())));
    let demo = Demo {
        display: Display::new(context, &place.data, args.log.as_deref(), settings.admin.listen),
        log,
        lasts: args.seconds.map(Duration::from_secs),
        simulated: place.logs.is_none().then(|| (settings.data_dir.join("log"), args.rate)),
    };
    let told = outcome.clone();
    let code = daemon::serve(settings, telemetry, async move |daemon| match demo.work(daemon).await {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            *told.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Err(error);
            1
        }
    })?;
    std::mem::replace(&mut *outcome.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), Ok(()))?;
    if !matches!(code, 0 | 1) {
        eprintln!("honeyguide: a part of the daemon kept failing; {} says what happened", place.data.join(LOG_FILE).display());
    }
    Ok(Exit::Code(code))
}

/// Where the demo keeps everything, and what it follows.
struct Place {
    data: PathBuf,
    /// The user's own logs; without them, simulated ones.
    logs: Option<PathBuf>,
}

impl Place {
    /// Makes the directories and the configuration.
    fn prepare(&self) -> anyhow::Result<Settings> {
        let shown = self.data.display();
        if let Some(pid) = lock::holder(&self.data) {
            anyhow::bail!("data directory {shown} is in use by process {pid}: is another demo running?");
        }
        let logs = self.logs.as_deref().map(log_directory).transpose()?;
        let file = self.data.join("demo.toml");
        let simulated = self.data.join("log");
        if self.data.join("journal").exists() && !file.exists() {
            return Err(Usage(format!("{shown} holds data that no demo made: choose another directory with --data")).into());
        }
        if logs.is_some() && simulated.exists() {
            let hint = format!("{shown} holds simulated events, which would mix with yours: choose another directory with --data");
            return Err(Usage(hint).into());
        }
        if logs.is_none() && file.exists() && !simulated.exists() {
            let hint = format!("{shown} holds real events, which simulated ones would mix with: choose another directory with --data");
            return Err(Usage(hint).into());
        }
        owner::become_owner_of(&self.data)?;
        let pattern = match &logs {
            // A name that ends otherwise is hardly a Cowrie log; rotated and compressed ones end behind `.json`.
            Some(dir) => format!("{}/*.json*", glob::Pattern::escape(dir)),
            None => "log/cowrie.json*".into(),
        };
        let cannot = || format!("cannot make the demo's directory {shown}");
        std::fs::create_dir_all(if logs.is_none() { &simulated } else { &self.data }).with_context(cannot)?;
        std::fs::write(&file, configuration(&pattern, free_port()?)).with_context(cannot)?;
        let settings = config::load(Some(&file), None).map_err(|error| Usage(error.to_string()))?;
        limits::raise_open_files(settings.limits.open_files as u64 + 512).context("cannot raise the number of open files")?;
        Ok(settings)
    }
}

/// The absolute path of a directory that can be listed.
fn log_directory(dir: &Path) -> anyhow::Result<String> {
    let cannot = |error: io::Error| Usage(format!("cannot read the logs in {}: {error}", dir.display()));
    let path = dir.canonicalize().map_err(cannot)?;
    std::fs::read_dir(&path).map_err(cannot)?;
    Ok(path.into_os_string().into_string().map_err(|_| Usage(format!("the name of {} is not UTF-8: link to it", dir.display())))?)
}

/// The demo's own configuration: short, and an example to start from.
fn configuration(pattern: &str, listen: SocketAddr) -> String {
    let quoted = |text: &str| toml::Value::String(text.into()).to_string();
    format!(
        "# Written by `honeyguide demo` at every start.\n\
         data_dir = \".\"\n\n\
         [admin]\nlisten = {}\nsocket = \"admin.sock\"\n\n\
         [[source]]\nname = \"demo\"\npaths = [{}]\n\n\
         [log]\nfile = \"{LOG_FILE}\"\n",
        quoted(&listen.to_string()),
        quoted(pattern),
    )
}

fn free_port() -> anyhow::Result<SocketAddr> {
    let preferred = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let listener = TcpListener::bind(preferred).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    // Given back at once; should somebody be quicker, the daemon says so.
    listener.and_then(|listener| listener.local_addr()).context("cannot find a free TCP port on 127.0.0.1")
}

/// The demo while it runs.
struct Demo {
    display: Display,
    log: Arc<Log>,
    lasts: Option<Duration>,
    /// Where simulated honeypots write, and how many events per second.
    simulated: Option<(PathBuf, f64)>,
}

impl Demo {
    /// Shows what happens until it is to end; then everything written becomes durable. True: all of it is.
    async fn work(mut self, mut daemon: Daemon) -> anyhow::Result<bool> {
        let engine = daemon.engine.clone();
        let store = engine.store().clone();
        let mut honeypots = self.simulated.map(|(dir, rate)| Honeypots::start(&dir, rate, store.clone())).transpose()?;
        self.display.begin(&engine.observed);
        // Opening what is there from before is not what was asked for.
        let end = self.lasts.map(|lasts| Instant::now() + lasts);
        let cause = loop {
            tokio::select! {
                cause = daemon.asked_to_stop(&self.log) => break cause,
                () = at(end) => break "end of the demo",
                () = sleep_until(self.display.next_at()) => {}
            }
            if let Some(honeypots) = &mut honeypots {
                honeypots.look_after()?;
            }
            let written = honeypots.as_ref().map(Honeypots::written);
            match self.display.show(&engine.observed, written).await {
                // Whoever read the lines has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break "end of the output",
                shown => shown?,
            }
        };
        self.display.stopping();
        let mut complete = true;
        if let Some(honeypots) = &mut honeypots {
            honeypots.stop()?;
            complete = tokio::select! {
                stored = honeypots.all_stored(PATIENCE) => stored?,
                // A second signal: not all is stored, but it is still in the log.
                _ = daemon.asked_to_stop(&self.log) => false,
            };
        }
        let drained = daemon.stop(cause).await;
        let written = honeypots.as_ref().map(Honeypots::written);
        match self.display.summary(&engine.observed, written, complete && drained).await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            told => told?,
        }
        Ok(complete && drained)
    }
}

async fn at(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(data: &Path, logs: Option<&Path>) -> Place {
        Place { data: data.into(), logs: logs.map(Into::into) }
    }

    #[test]
    fn a_directory_holds_simulated_events_or_real_ones() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (data, logs) = (dir.path().join("data"), dir.path().join("lo[g]s \"x\""));
        std::fs::create_dir(&logs).expect("created");
        let settings = place(&data, Some(&logs)).prepare().expect("prepared");
        assert!(settings.sources[0].patterns[0].matches_path(&logs.canonicalize().expect("there").join("cowrie.json.1")));
        assert_eq!(settings.data_dir, data);
        assert!(std::fs::read_dir(&logs).expect("listed").next().is_none(), "the user's directory is only read");
        place(&data, Some(&logs)).prepare().expect("again");
        let error = place(&data, None).prepare().expect_err("real events").to_string();
        assert!(error.contains("holds real events"), "{error}");
        let other = dir.path().join("other");
        place(&other, None).prepare().expect("prepared");
        place(&other, None).prepare().expect("again");
        let error = place(&other, Some(&logs)).prepare().expect_err("simulated events").to_string();
        assert!(error.contains("holds simulated events"), "{error}");
        std::fs::create_dir_all(dir.path().join("real/journal")).expect("created");
        let error = place(&dir.path().join("real"), None).prepare().expect_err("a daemon's").to_string();
        assert!(error.contains("that no demo made"), "{error}");
    }
}
