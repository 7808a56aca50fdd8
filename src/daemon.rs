//! Opens the state, starts the actors, serves until told to stop, drains.
//!
//! The same engine runs the daemon, the demo, and a `load` without a daemon; they differ in their sources and in whether
//! anyone listens.
use crate::access::Credentials;
use crate::access::keys::{Keys, KeysError};
use crate::actors::intake::Intake;
use crate::actors::journal::{JournalConfig, JournalSnapshot};
use crate::actors::metrics::Observed;
use crate::actors::supervised::{Budget, Policy, start};
use crate::actors::supervisor::{Drain, Release, Reload, SupervisorActor, SupervisorConfig, retention_plan};
use crate::config::{self, Settings};
use crate::enrich::Desk;
use crate::events::time;
use crate::journal::fs::RealFs;
use crate::os::lock::DataDirLock;
use crate::os::notify::Notifier;
use crate::os::signals::{Signal, Signals};
use crate::service::alerts::Alerts;
use crate::state::{Opened, State};
use crate::store::{self, CommittedLen, Layout, Limits, Parts, Store};
use crate::telemetry::Telemetry;
use crate::telemetry::events::{
    CorruptionFound, DaemonStarted, DaemonStopped, DaemonStopping, GeoipRefused, ReloadRefused, SettingsReloaded, SidecarRebuilt,
    StateRebuilt, TornTail,
};
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Actor as Kind;
use actix::{Addr, Arbiter};
use futures_util::StreamExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Why the daemon, or a command that works on the data directory itself, cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot create the data directory {dir}: {source}")]
    DataDir { dir: std::path::PathBuf, source: std::io::Error },
    #[error(transparent)]
    Lock(#[from] crate::os::lock::Error),
    #[error(transparent)]
    State(#[from] crate::state::StateError),
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error("cannot read the API keys: {0}")]
    Keys(#[from] KeysError),
    #[error("cannot serve: {0}")]
    Admin(#[from] crate::admin::Error),
    #[error(transparent)]
    Receiver(#[from] crate::receiver::ReceiverError),
    #[error("{0}")]
    Privacy(String),
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("cannot talk to systemd: {0}")]
    Notify(std::io::Error),
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// How long to wait for the data directory's lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// A data directory, locked and open.
pub struct DataDir {
    pub parts: Parts,
    pub state: Arc<State>,
    pub keys: Arc<Keys>,
    lock: DataDirLock,
}

impl DataDir {
    /// Locks and opens the data directory, rebuilding what is missing; says through `telemetry` what it found.
    pub fn open(settings: &Settings, telemetry: &Telemetry, progress: &mut dyn FnMut(&str)) -> Result<DataDir, StartError> {
        let dir = &settings.data_dir;
        create_private(dir).map_err(|source| StartError::DataDir { dir: dir.clone(), source })?;
        let lock = DataDirLock::acquire_within(dir, LOCK_PATIENCE)?;
        crate::archive::remove_scratch(dir).map_err(|source| StartError::DataDir { dir: dir.clone(), source })?;
        let now = time::now();
        let started = Instant::now();
        let layout = Layout::new(dir);
        let journal_exists = layout.journal.exists();
        let policy = settings.privacy.policy().map_err(StartError::Privacy)?;
        let Opened { state, put_aside, created } = State::open(&layout.state, settings.limits.sled_cache_bytes, now)?;
        let saved = state.head().map(|head| (head.segment, head.len));
        let committed = CommittedLen { saved, next_seq: state.head().map_or(0, |head| head.next_seq), trusted: None };
        let parts = store::open(Arc::new(RealFs), layout, limits(settings), committed, now, progress)?;
        parts.store.privacy().change(policy);
        let state = Arc::new(state);
        let keys = Arc::new(Keys::open(state.clone(), &parts.store)?);
        let data_dir = DataDir { parts, state, keys, lock };
        data_dir.report(telemetry, started.elapsed());
        data_dir.complete_catalogue(telemetry);
        if created && journal_exists {
            let cause = match &put_aside {
                Some(_) => "it was damaged; the old one is beside it",
                None => "it was missing",
            };
            telemetry.emit(&StateRebuilt { cause, duration: started.elapsed() });
        }
        Ok(data_dir)
    }

    fn report(&self, telemetry: &Telemetry, duration: Duration) {
        let report = &self.parts.report;
        for &segment in &report.sidecars_rebuilt {
            telemetry.emit(&SidecarRebuilt { segment, cause: "missing or stale", duration });
        }
        for refused in &report.places_refused {
            telemetry.emit(&GeoipRefused { error: refused });
        }
        if let Some(torn) = &report.torn {
            telemetry.emit(&TornTail { segment: torn.segment, offset: torn.offset, bytes: torn.bytes.len() as u64 });
        }
        for damage in &report.damage {
            telemetry.emit(&CorruptionFound { segment: damage.segment, offset: damage.offset, detail: &damage.to_string() });
        }
    }

    /// The catalogue says which segments there should be; what it does not know yet, it learns.
    fn complete_catalogue(&self, telemetry: &Telemetry) {
        let view = self.parts.store.view();
        let known = self.state.segments();
        for sealed in &view.sealed {
            if known.binary_search_by_key(&sealed.number, |(number, _)| *number).is_err() {
                // A view: what cannot be written now is learned at the next opening.
                let _ = self.state.put_segment(sealed.number, &crate::state::SegmentRecord::of(sealed.sidecar.head()));
            }
        }
        for (number, record) in known {
            let there = view.sealed.iter().any(|sealed| sealed.number == number) || view.live.iter().any(|live| live.number == number);
            if !there {
                let detail = format!("the segment is gone, with {} events; nothing here removed it", record.events);
                telemetry.emit(&CorruptionFound { segment: number, offset: 0, detail: &detail });
            }
        }
    }

    /// For commands that only ask: the store, with the lock held.
    pub fn into_store(self) -> OpenStore {
        OpenStore { store: self.parts.store.clone(), state: self.state, keys: self.keys, parts: self.parts, _lock: self.lock }
    }
}

/// A store that nobody writes, and the lock on it.
pub struct OpenStore {
    pub store: Store,
    pub state: Arc<State>,
    pub keys: Arc<Keys>,
    parts: Parts,
    _lock: DataDirLock,
}

impl OpenStore {
    /// Ends the segment that is written, unless it is empty, and seals it.
    pub fn end_segment(&mut self) -> std::io::Result<()> {
        let parts = &mut self.parts;
        if !parts.committer.head().is_empty() {
            parts.committer.roll(time::now());
        }
        while parts.writer.step(store::Wait::Never).map_err(std::io::Error::other)?.is_some() {}
        while let Some(sealed) = parts.sealer.step() {
            let report = sealed.map_err(std::io::Error::other)?;
            let record = crate::state::SegmentRecord::of(&report.head);
            self.state.put_segment(report.head.segment, &record).map_err(std::io::Error::other)?;
        }
        Ok(())
    }

    /// Running digest behind the last event.
    pub fn digest(&self) -> [u8; 32] {
        self.parts.committer.head().seal().digest
    }
}

fn create_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        segment_raw_bytes: settings.journal.segment_bytes,
        live_index_bytes: settings.limits.live_index_bytes,
        quarantine_bytes: settings.limits.quarantine_bytes,
        ..Limits::default()
    }
}

/// The running actors.
pub struct Engine {
    pub supervisor: Addr<SupervisorActor>,
    pub observed: Observed,
    pub state: Arc<State>,
    /// Takes what is pushed.
    pub push: crate::service::push::Entrance,
    /// Asks other services about values.
    pub enrichment: Arc<Desk>,
    /// Who asks, by their keys and tokens.
    pub access: Arc<Credentials>,
    /// What is told, and has been.
    pub alerts: Arc<Alerts>,
    pub settings: watch::Sender<Settings>,
    pub started: Instant,
    pub budget: Budget,
    _lock: DataDirLock,
}

impl Engine {
    /// Starts the actors. Needs a running actix system.
    pub fn start(data_dir: DataDir, settings: Settings, telemetry: Telemetry, notifier: Arc<Notifier>) -> Engine {
        let DataDir { parts, state, keys, lock } = data_dir;
        let access = Arc::new(Credentials::new(keys, &settings));
        let intake = Intake::new(settings.limits.in_flight_bytes);
        let (journal_sender, journal) = watch::channel(JournalSnapshot::default());
        let observed = Observed {
            store: parts.store.clone(),
            intake: intake.clone(),
            waiting: Arc::default(),
            journal,
            ingests: Arc::default(),
            sinks: Arc::default(),
            heartbeats: Arc::default(),
            telemetry: telemetry.clone(),
        };
        let journal = JournalConfig {
            store: parts.store.clone(),
            state: state.clone(),
            retention: retention_plan(&settings),
            archive: settings.archive.settings(),
            ages: settings.retention.clone(),
            min_free_bytes: settings.journal.min_free_bytes,
            intake,
            telemetry: telemetry.clone(),
            snapshot: journal_sender,
        };
        let budget = Budget::new(policy(&settings), telemetry);
        let (settings_sender, _) = watch::channel(settings.clone());
        let enrichment = Arc::new(Desk::new(state.clone(), &settings, observed.telemetry.clone()));
        let alerts = Arc::new(Alerts::new(observed.store.clone(), state.clone()));
        let config = SupervisorConfig {
            settings,
            parts,
            state: state.clone(),
            alerts: alerts.clone(),
            enrichment: enrichment.clone(),
            journal,
            observed: observed.clone(),
            budget: budget.clone(),
            notifier,
        };
        let supervisor = SupervisorActor::new(config);
        let push = crate::service::push::Entrance::new(supervisor.push());
        let supervisor = start(&Arbiter::current(), &budget, Kind::Supervisor, "supervisor", move |_| supervisor);
        let settings = settings_sender;
        Engine { supervisor, observed, state, push, enrichment, access, alerts, settings, started: Instant::now(), budget, _lock: lock }
    }

    pub fn store(&self) -> &Store {
        &self.observed.store
    }

    /// Waits until the journal takes commits.
    pub async fn available(&self) {
        let mut journal = self.observed.journal.clone();
        // The sender lives as long as the actor, and that as long as the process.
        let _ = journal.wait_for(|snapshot| snapshot.available).await;
    }

    /// Makes durable what was read, within the configured deadline. True: all of it is.
    pub async fn drain(&self) -> bool {
        let deadline = Duration::from_secs(self.settings.borrow().supervision.drain_deadline_seconds);
        self.supervisor.send(Drain(deadline)).await.unwrap_or(false)
    }

    /// Ends the actors, to be called behind [`Engine::drain`]: when the engine is dropped then, the data directory is free.
    pub async fn release(&self) {
        if let Ok(Some(arbiters)) = self.supervisor.send(Release).await {
            let _ = tokio::task::spawn_blocking(move || arbiters.end()).await;
        }
    }

    /// Reads the configuration again. A wrong one changes nothing.
    pub fn reload(&self, log: &Log) {
        let telemetry = &self.observed.telemetry;
        let old = self.settings.borrow().clone();
        match config::load(old.file.as_deref(), Some(&old.data_dir)) {
            Err(error) => self.reload_refused(&error.to_string()),
            Ok(new) => {
                match new.privacy.policy() {
                    Ok(policy) => self.store().privacy().change(policy),
                    Err(problem) => return self.reload_refused(&problem),
                }
                let changes = old.changes(&new);
                let settings = old.reloaded(&new);
                log.set_level(settings.log.level);
                let needs_restart: Vec<String> = changes.needs_restart.iter().map(ToString::to_string).collect();
                telemetry.emit(&SettingsReloaded {
                    applied: changes.in_place.len() as u64,
                    sources: settings.sources.len() as u64,
                    tables: &changes.tables_told(),
                    needs_restart: &needs_restart.join(", "),
                });
                self.record_reload("settings_reloaded", changes.recorded(&old, &new));
                self.supervisor.do_send(Reload(settings.clone()));
                self.enrichment.configure(&settings);
                self.access.configure(&settings);
                self.settings.send_replace(settings);
            }
        }
    }

    /// The log says why: that may quote what nobody else is to see.
    fn reload_refused(&self, problems: &str) {
        self.observed.telemetry.emit(&ReloadRefused { problems });
        self.record_reload("reload_refused", serde_json::json!({}));
    }

    /// Who changed what, as far as the kernel tells: whoever may signal this process.
    fn record_reload(&self, kind: &'static str, mut details: serde_json::Value) {
        details["by"] = "SIGHUP".into();
        if let Err(error) = self.store().record(kind, details, crate::events::time::now()) {
            slog::error!(self.observed.telemetry.logger, "the ledger cannot be written"; "error" => error.to_string());
        }
    }
}

fn policy(settings: &Settings) -> Policy {
    let supervision = &settings.supervision;
    Policy {
        restarts_max: supervision.restart_budget.min(u64::from(u32::MAX)) as u32,
        window: Duration::from_secs(supervision.restart_window_seconds),
        delay_min: Duration::from_millis(supervision.backoff_initial_ms),
        delay_max: Duration::from_millis(supervision.backoff_ms_max),
    }
}

/// Runs the daemon until a signal ends it, or a spent restart budget. Answers the exit code.
pub fn run(settings: Settings, log: Arc<Log>, telemetry: Telemetry) -> Result<i32, StartError> {
    serve(settings, telemetry, async move |mut daemon| {
        let cause = daemon.asked_to_stop(&log).await;
        if daemon.stop(cause).await { 0 } else { 1 }
    })
}

/// Begins a daemon and gives it to `work`, whose answer is the exit code; unless a spent restart budget comes first.
pub fn serve(settings: Settings, telemetry: Telemetry, work: impl AsyncFnOnce(Daemon) -> i32 + 'static) -> Result<i32, StartError> {
    let runner = actix::System::new();
    runner.block_on(async {
        let daemon = Daemon::begin(settings, telemetry).await?;
        actix::spawn(async { actix::System::current().stop_with_code(work(daemon).await) });
        Ok::<_, StartError>(())
    })?;
    runner.run_with_code().map_err(StartError::Runtime)
}

/// A daemon that takes input, answers, and is to be stopped.
pub struct Daemon {
    pub engine: Arc<Engine>,
    admin: crate::admin::Serving,
    receivers: crate::receiver::Receivers,
    signals: Signals,
    notifier: Arc<Notifier>,
}

impl Daemon {
    async fn begin(settings: Settings, telemetry: Telemetry) -> Result<Daemon, StartError> {
        let startup = Instant::now();
        let notifier = Arc::new(Notifier::from_env().map_err(StartError::Notify)?);
        let signals = Signals::listen().map_err(StartError::Signals)?;
        let (opening, reporter, status) = (settings.clone(), telemetry.clone(), notifier.clone());
        let opened = tokio::task::spawn_blocking(move || DataDir::open(&opening, &reporter, &mut |what| status.status(what)));
        let data_dir = opened.await.map_err(|panic| StartError::Runtime(std::io::Error::other(panic)))??;
        let engine = Arc::new(Engine::start(data_dir, settings.clone(), telemetry.clone(), notifier.clone()));
        engine.available().await;
        let admin = crate::admin::serve(engine.clone())?;
        let receivers = crate::receiver::serve(&engine)?;
        crate::os::listen_fds::leftover().map_err(crate::admin::Error::from)?;
        let view = engine.store().view();
        telemetry.emit(&DaemonStarted {
            version: env!("CARGO_PKG_VERSION"),
            data_dir: &settings.data_dir.to_string_lossy(),
            listen: &admin.listen().map(|listen| listen.to_string()).unwrap_or_default(),
            socket: &settings.admin.socket.to_string_lossy(),
            sources: settings.sources.len() as u64,
            segments: (view.sealed.len() + view.live.len()) as u64,
            sequence: view.next_seq() - 1,
            startup: startup.elapsed(),
        });
        notifier.ready(&format!("{} events", view.events()));
        Ok(Daemon { engine, admin, receivers, signals, notifier })
    }

    /// Answers signals until one asks to stop, and says which. May be dropped and called again.
    pub async fn asked_to_stop(&mut self, log: &Log) -> &'static str {
        loop {
            match self.signals.next().await {
                Some(Signal::Reload) => {
                    self.notifier.reloading();
                    log.reopen();
                    self.engine.reload(log);
                    if let Err(problem) = self.admin.reload(&self.engine.settings.borrow()) {
                        self.engine.observed.telemetry.emit(&ReloadRefused { problems: &problem });
                    }
                    self.notifier.ready("configuration read again");
                }
                Some(Signal::Drain { name }) => return name,
                None => return "end of signals",
            }
        }
    }

    /// Makes durable what has been read, and ends. True: all of it is durable.
    pub async fn stop(self, cause: &'static str) -> bool {
        let Daemon { engine, admin, receivers, mut signals, notifier } = self;
        let telemetry = &engine.observed.telemetry;
        telemetry.emit(&DaemonStopping { cause });
        notifier.stopping("making durable what has been read");
        let draining = Instant::now();
        let drained = tokio::select! {
            drained = engine.drain() => drained,
            // A second signal: the operator does not want to wait. What is not durable is read again at the next start.
            () = next_drain(&mut signals) => false,
        };
        futures_util::future::join(admin.stop(), receivers.stop()).await;
        telemetry.emit(&DaemonStopped { drained, duration: draining.elapsed() });
        drained
    }
}

async fn next_drain(signals: &mut Signals) {
    while let Some(signal) = signals.next().await {
        if matches!(signal, Signal::Drain { .. }) {
            return;
        }
    }
}
