//! Starts the other actors, sink side first, watches them, applies a new configuration, and drains them in the reverse order.
//!
//! Owns: the arbiters (threads) and the addresses. Talks to: everyone. Lost on restart: nothing; the others live on.
//! Invariant: the watchdog is fed only when every actor has answered lately.
use super::alerts::{self, AlertActor};
use super::anomalies::{self, AnomalyActor};
use super::exporter::{self, ExporterActor, ExporterConfig};
use super::extraction::ExtractionActor;
use super::ingest::{self, IngestActor, IngestConfig, IngestSnapshot};
use super::journal::{self, JournalActor, JournalConfig, Reconfigure};
use super::metrics::{Heartbeat, Heartbeats, MetricsActor, Observed};
use super::push::{self, PushActor};
use super::supervised::{Budget, start};
use super::{Ping, answers_ping};
use crate::config::{self, Settings, SinkSettings, SourceName, SourceSettings};
use crate::enrich::Desk;
use crate::extract::model::{ModelEndpoint, ModelSettings};
use crate::os::notify::Notifier;
use crate::service::alerts::Alerts;
use crate::service::{self, Selection};
use crate::sinks::delivery::{Command, SinkSnapshot};
use crate::sinks::http::HttpSettings;
use crate::sources::archive::{ArchiveSettings, Expansion};
use crate::sources::framing;
use crate::sources::reader::{ChunksReader, FilesReader, Reader, TailReader};
use crate::sources::tail::{Start, Tail, TailSettings};
use crate::sources::{CHUNK_BYTES, Format, Source};
use crate::state::State;
use crate::store::{Parts, RetentionPlan};
use crate::telemetry::Telemetry;
use crate::telemetry::events::ActorStalled;
use crate::telemetry::metrics::Actor as Kind;
use actix::{
    Actor, ActorFutureExt, Addr, Arbiter, AsyncContext, Context, Handler, Message, MessageResult, Recipient, ResponseActFuture, Supervised,
    WrapFuture,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Begins to read files once; the answer follows the progress.
#[derive(Message)]
#[rtype(result = "watch::Receiver<IngestSnapshot>")]
pub struct Load {
    pub files: Vec<PathBuf>,
    pub format: Format,
}

/// Begins to decode the selected records of the quarantine again; the answer follows the progress.
#[derive(Message)]
#[rtype(result = "watch::Receiver<IngestSnapshot>")]
pub struct Retry(pub Selection);

pub use super::journal::EndSegment;

/// A configuration that was validated takes the place of the old one, as far as that is possible in place.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reload(pub Settings);

/// An order for the sink of this name. False: there is none.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct ToSink(pub String, pub Command);

/// Makes durable what has been read, within the deadline. True: all of it is.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Drain(pub Duration);

struct Child {
    kind: Kind,
    name: String,
    ping: Recipient<Ping>,
    answered: Instant,
    asked: bool,
}

struct Follower {
    settings: Option<SourceSettings>,
    address: Addr<IngestActor>,
    snapshot: watch::Receiver<IngestSnapshot>,
}

/// A sink's actor.
struct Exporter {
    settings: SinkSettings,
    address: Addr<ExporterActor>,
    snapshot: watch::Receiver<SinkSnapshot>,
}

/// The actor of alerts sends through the supervisor, so it begins when that has an address.
enum Watchful {
    ToBegin(Arc<Alerts>, Arc<Desk>),
    Runs(Addr<AlertActor>),
}

pub struct SupervisorActor {
    settings: Settings,
    state: Arc<State>,
    budget: Budget,
    notifier: Arc<Notifier>,
    telemetry: Telemetry,
    observed: Observed,
    journal: Addr<JournalActor>,
    extraction: Addr<ExtractionActor>,
    anomalies: Addr<AnomalyActor>,
    /// What it is made of, until the supervisor runs; then its address.
    watchful: Watchful,
    push: Addr<PushActor>,
    /// `None` behind [`Release`].
    arbiters: Option<Arbiters>,
    children: Vec<Child>,
    followers: Vec<Follower>,
    exporters: Vec<Exporter>,
    /// Sinks whose actor is coming to its end; the next one of that name waits for it.
    ending: Vec<SourceName>,
    loads: u64,
    started: bool,
}

/// Gives the threads of the other actors away, to be ended behind a drain.
#[derive(Message)]
#[rtype(result = "Option<Arbiters>")]
pub struct Release;

/// One thread for commits, one for reading and decoding's bookkeeping, one for what is delivered; the work itself runs on threads that may block.
pub struct Arbiters {
    journal: Arbiter,
    intake: Arbiter,
    delivery: Arbiter,
}

/// What the supervisor is given.
pub struct SupervisorConfig {
    pub settings: Settings,
    pub parts: Parts,
    pub state: Arc<State>,
    pub alerts: Arc<Alerts>,
    pub enrichment: Arc<Desk>,
    pub journal: JournalConfig,
    pub observed: Observed,
    pub budget: Budget,
    pub notifier: Arc<Notifier>,
}

impl SupervisorActor {
    /// Starts the sinks' actors, then journal, extraction and metrics; sources follow when the supervisor runs.
    pub fn new(config: SupervisorConfig) -> SupervisorActor {
        let SupervisorConfig { settings, parts, state, alerts, enrichment, journal, observed, budget, notifier } = config;
        let telemetry = observed.telemetry.clone();
        let arbiters = Arbiters { journal: Arbiter::new(), intake: Arbiter::new(), delivery: Arbiter::new() };
        // Before the journal's actor, whose first act may be retention.
        exporter::hold_for(&settings.sinks, &state, &observed.store);
        let model = model_of(&settings);
        let exporters: Vec<Exporter> =
            settings.sinks.iter().map(|sink| start_exporter(sink, &model, &arbiters, &state, &observed, &budget)).collect();
        let journal = start(&arbiters.journal.handle(), &budget, Kind::Journal, "journal", move |_| JournalActor::new(journal, parts));
        let workers = settings.limits.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
        let (store, waiting, to_journal) = (observed.store.clone(), observed.waiting.clone(), journal.clone());
        let extraction = start(&arbiters.intake.handle(), &budget, Kind::Extraction, "extraction", move |_| {
            ExtractionActor::new(store, to_journal, workers, waiting)
        });
        let figures = observed.clone();
        let metrics = start(&arbiters.intake.handle(), &budget, Kind::Metrics, "metrics", move |_| MetricsActor::new(figures));
        let (looked_at, unusual) = (observed.clone(), settings.anomalies);
        let anomalies =
            start(&arbiters.intake.handle(), &budget, Kind::Anomalies, "anomalies", move |_| AnomalyActor::new(looked_at, unusual));
        let (intake, to_journal, to_extraction) = (observed.intake.clone(), journal.clone(), extraction.clone());
        let push =
            start(&arbiters.intake.handle(), &budget, Kind::Push, "push", move |_| PushActor::new(intake, to_journal, to_extraction));
        let mut supervisor = SupervisorActor {
            settings,
            state,
            budget,
            notifier,
            telemetry,
            observed,
            journal: journal.clone(),
            extraction: extraction.clone(),
            anomalies: anomalies.clone(),
            watchful: Watchful::ToBegin(alerts, enrichment),
            push: push.clone(),
            arbiters: Some(arbiters),
            children: Vec::new(),
            followers: Vec::new(),
            exporters,
            ending: Vec::new(),
            loads: 0,
            started: false,
        };
        for (name, ping) in
            supervisor.exporters.iter().map(|sink| (exporter_name(&sink.settings), sink.address.clone().recipient())).collect::<Vec<_>>()
        {
            supervisor.watch(Kind::Exporter, &name, ping);
        }
        supervisor.publish_exporters();
        supervisor.watch(Kind::Journal, "journal", journal.recipient());
        supervisor.watch(Kind::Extraction, "extraction", extraction.recipient());
        supervisor.watch(Kind::Metrics, "metrics", metrics.recipient());
        supervisor.watch(Kind::Anomalies, "anomalies", anomalies.recipient());
        supervisor.watch(Kind::Push, "push", push.recipient());
        supervisor
    }

    fn begin_alerts(&mut self, own: Addr<SupervisorActor>) {
        let (Watchful::ToBegin(alerts, desk), Some(arbiters)) = (&self.watchful, &self.arbiters) else { return };
        let actor = AlertActor::new(self.observed.clone(), alerts.clone(), &self.settings, desk.clone(), own);
        let address = start(&arbiters.delivery.handle(), &self.budget, Kind::Alerts, "alerts", move |_| actor);
        self.watch(Kind::Alerts, "alerts", address.clone().recipient());
        self.watchful = Watchful::Runs(address);
    }

    /// Takes what is pushed.
    pub fn push(&self) -> Addr<PushActor> {
        self.push.clone()
    }

    fn watch(&mut self, kind: Kind, name: &str, ping: Recipient<Ping>) {
        self.children.push(Child { kind, name: name.into(), ping, answered: Instant::now(), asked: false });
    }

    /// Chunks as large as the memory budget allows, so that several are on their way at once.
    fn chunk_bytes(&self) -> usize {
        (self.settings.limits.in_flight_bytes / 8).clamp(64 << 10, CHUNK_BYTES)
    }

    fn expansion(&self) -> Expansion {
        let limits = &self.settings.limits;
        Expansion { ratio_max: limits.archive_ratio, bytes_max: limits.archive_bytes, ..Expansion::default() }
    }

    fn spawn_ingest(&mut self, name: &str, prefix: String, opener: ingest::Opener, settings: Option<SourceSettings>) {
        let (sender, snapshot) = watch::channel(IngestSnapshot { source: name.into(), ..IngestSnapshot::default() });
        let Some(intake) = self.arbiters.as_ref().map(|arbiters| arbiters.intake.handle()) else { return };
        let config = IngestConfig {
            source: name.into(),
            prefix,
            opener,
            intake: self.observed.intake.clone(),
            chunk_bytes: self.chunk_bytes(),
            journal: self.journal.clone(),
            extraction: self.extraction.clone(),
            snapshot: sender,
        };
        let address = start(&intake, &self.budget, Kind::Ingest, name, move |_| IngestActor::new(config));
        self.watch(Kind::Ingest, name, address.clone().recipient());
        self.followers.push(Follower { settings, address, snapshot });
        self.publish_followers();
    }

    /// Something that is read once. No source can have its name: those have no `/`.
    fn spawn_once(&mut self, what: &str, opener: ingest::Opener) -> watch::Receiver<IngestSnapshot> {
        self.loads += 1;
        let name = format!("{what}/{}", self.loads);
        self.spawn_ingest(&name, String::new(), opener, None);
        let begun = self.followers.last().filter(|follower| follower.snapshot.borrow().source == name);
        // Behind a release nothing begins: a channel that is closed says so.
        begun.map_or_else(|| watch::channel(IngestSnapshot::default()).1, |follower| follower.snapshot.clone())
    }

    fn publish_followers(&self) {
        let mut ingests = self.observed.ingests.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        *ingests = self.followers.iter().map(|follower| follower.snapshot.clone()).collect();
    }

    fn follow(&mut self, settings: SourceSettings) {
        let name = settings.name.as_str().to_owned();
        self.telemetry.metrics.register_source(&settings.name);
        let source = Arc::new(Source { name: name.clone(), format: settings.format });
        let tail_settings = TailSettings {
            allowed_roots: settings.roots.clone(),
            start: match settings.start {
                crate::config::Start::Beginning => Start::Beginning,
                crate::config::Start::End => Start::End,
            },
            limits: framing::Limits { chunk_bytes: self.chunk_bytes(), ..framing::Limits::default() },
            expansion: self.expansion(),
            open_files_max: self.settings.limits.open_files,
            ..TailSettings::new(settings.patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect())
        };
        let telemetry = self.telemetry.clone();
        let store = self.observed.store.clone();
        let opener: ingest::Opener = Box::new(move |checkpoints| {
            let (told_source, telemetry, store) = (source.name.clone(), telemetry.clone(), store.clone());
            let told = Box::new(move |notice: &_| crate::telemetry::notices::tell(&telemetry, &store, &told_source, notice));
            let tail = Tail::open(source.clone(), tail_settings.clone(), checkpoints);
            // The patterns were compiled when the configuration was validated.
            Box::new(TailReader::new(source.clone(), tail.expect("validated patterns open"), told)) as Box<dyn Reader>
        });
        self.spawn_ingest(&name, format!("{name}/"), opener, Some(settings));
    }

    fn unfollow(&mut self, keep: &[SourceSettings]) {
        let (kept, gone): (Vec<Follower>, Vec<Follower>) =
            self.followers.drain(..).partition(|follower| follower.settings.as_ref().is_none_or(|settings| keep.contains(settings)));
        self.followers = kept;
        for follower in gone {
            let name = follower.settings.as_ref().map(|settings| settings.name.as_str().to_owned()).unwrap_or_default();
            self.children.retain(|child| child.kind != Kind::Ingest || child.name != name);
            follower.address.do_send(ingest::Stop);
        }
        self.publish_followers();
    }

    fn publish_exporters(&self) {
        let mut sinks = self.observed.sinks.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        *sinks = self.exporters.iter().map(|exporter| exporter.snapshot.clone()).collect();
    }

    /// Starts what is configured and does not run.
    fn start_exporters(&mut self) {
        let Some(arbiters) = &self.arbiters else { return };
        let model = model_of(&self.settings);
        let runs = |name: &SourceName| self.ending.contains(name) || self.exporters.iter().any(|known| known.settings.name == *name);
        let missing = self.settings.sinks.iter().filter(|sink| !runs(&sink.name));
        let started: Vec<Exporter> =
            missing.map(|sink| start_exporter(sink, &model, arbiters, &self.state, &self.observed, &self.budget)).collect();
        for exporter in started {
            self.watch(Kind::Exporter, &exporter_name(&exporter.settings), exporter.address.clone().recipient());
            self.exporters.push(exporter);
        }
        self.publish_exporters();
    }

    /// Ends the actors of sinks that are gone or changed; then starts what is missing.
    fn change_exporters(&mut self, ctx: &mut Context<Self>) {
        exporter::hold_for(&self.settings.sinks, &self.state, &self.observed.store);
        // What stands in files of its own, keys and certificates, may have changed though the settings did not.
        let reads_files = |settings: &SinkSettings| {
            !settings.receiver.secrets().is_empty() || settings.receiver.http().is_some_and(|http| http.ca_file.is_some())
        };
        let (kept, gone): (Vec<Exporter>, Vec<Exporter>) = self
            .exporters
            .drain(..)
            .partition(|exporter| self.settings.sinks.contains(&exporter.settings) && !reads_files(&exporter.settings));
        self.exporters = kept;
        for Exporter { settings, address, .. } in gone {
            let name = exporter_name(&settings);
            self.children.retain(|child| child.kind != Kind::Exporter || child.name != name);
            self.ending.push(settings.name.clone());
            let ended = address.send(exporter::Drain(CHANGED_DEADLINE));
            ctx.spawn(ended.into_actor(self).map(move |_, actor, _| {
                actor.ending.retain(|ending| *ending != settings.name);
                if actor.settings.sinks.iter().all(|sink| sink.name != settings.name) {
                    actor.observed.store.hold(settings.name.as_str(), None);
                    actor.telemetry.metrics.remove_sink(&settings.name);
                }
                actor.start_exporters();
            }));
        }
        self.start_exporters();
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        fail::fail_point!("supervisor::beat");
        let stall = Duration::from_secs(self.settings.supervision.stall_seconds);
        let mut healthy = true;
        let mut pings = Vec::new();
        for child in &mut self.children {
            let silent = child.answered.elapsed();
            if silent > stall {
                healthy = false;
                self.telemetry.emit(&ActorStalled { actor: child.kind, name: &child.name, silent });
            }
            if !std::mem::replace(&mut child.asked, true) {
                pings.push((child.kind, child.name.clone(), child.ping.send(Ping)));
            }
        }
        for (kind, name, ping) in pings {
            ctx.spawn(ping.into_actor(self).map(move |answer, actor, _| {
                if let Some(child) = actor.children.iter_mut().find(|child| child.kind == kind && child.name == name) {
                    child.asked = false;
                    if answer.is_ok() {
                        child.answered = Instant::now();
                    }
                }
            }));
        }
        if healthy {
            self.notifier.watchdog();
        }
        self.publish_heartbeats(stall);
        self.forget_finished_loads();
    }

    fn publish_heartbeats(&self, stall: Duration) {
        let of = |child: &Child| Heartbeat {
            kind: child.kind,
            name: child.name.clone(),
            answered: child.answered,
            stalled: child.answered.elapsed() > stall,
        };
        let heartbeats = Heartbeats { looked_at: Instant::now(), actors: self.children.iter().map(of).collect() };
        *self.observed.heartbeats.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = heartbeats;
    }

    fn forget_finished_loads(&mut self) {
        let done: Vec<String> = self
            .followers
            .iter()
            .filter(|follower| follower.settings.is_none() && follower.snapshot.borrow().finished)
            .map(|follower| follower.snapshot.borrow().source.clone())
            .collect();
        for name in done {
            self.followers.retain(|follower| {
                let finished = follower.settings.is_none() && follower.snapshot.borrow().source == name;
                if finished {
                    follower.address.do_send(ingest::Stop);
                }
                !finished
            });
            self.children.retain(|child| child.kind != Kind::Ingest || child.name != name);
            self.publish_followers();
        }
    }
}

/// How long requests of a sink may take to come to their end when its settings change.
const CHANGED_DEADLINE: Duration = Duration::from_secs(5);

/// Apart from the names of the other actors.
fn exporter_name(settings: &SinkSettings) -> String {
    format!("sink/{}", settings.name)
}

/// How the program that scores chats is asked.
fn model_of(settings: &Settings) -> Option<ModelSettings> {
    let endpoint = match settings.model.clone()? {
        config::ModelEndpoint::Unix(socket) => ModelEndpoint::Unix(socket),
        config::ModelEndpoint::Http { url, networks } => ModelEndpoint::Http(Box::new(HttpSettings {
            timeout: settings.model_timeout,
            allow_private: networks,
            ..HttpSettings::new(url)
        })),
    };
    Some(ModelSettings { endpoint, timeout: settings.model_timeout, batch: 16 })
}

fn start_exporter(
    settings: &SinkSettings,
    model: &Option<ModelSettings>,
    arbiters: &Arbiters,
    state: &Arc<State>,
    observed: &Observed,
    budget: &Budget,
) -> Exporter {
    observed.telemetry.metrics.register_sink(&settings.name);
    let initial = SinkSnapshot { name: settings.name.to_string(), kind: settings.receiver.kind().to_owned(), ..SinkSnapshot::default() };
    let (sender, snapshot) = watch::channel(initial);
    let config = ExporterConfig {
        settings: settings.clone(),
        store: observed.store.clone(),
        state: state.clone(),
        telemetry: observed.telemetry.clone(),
        snapshot: sender,
        model: model.clone(),
    };
    let name = exporter_name(settings);
    let address = start(&arbiters.delivery.handle(), budget, Kind::Exporter, &name, move |_| ExporterActor::new(config));
    Exporter { settings: settings.clone(), address, snapshot }
}

/// What retention follows from the configuration.
pub fn retention_plan(settings: &Settings) -> RetentionPlan {
    let days = |days: Option<u64>| days.map(|days| days.min(u64::from(u32::MAX)) as u32);
    RetentionPlan {
        disk_budget_bytes: settings.journal.disk_budget_bytes,
        evidence_days: days(settings.journal.evidence_days),
        answers_days: days(settings.journal.answers_days),
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !std::mem::replace(&mut self.started, true) {
            self.settings.sources.clone().into_iter().for_each(|source| self.follow(source));
            self.begin_alerts(ctx.address());
        }
        let every = Duration::from_secs(self.settings.supervision.heartbeat_seconds);
        self.beat(ctx);
        ctx.run_interval(self.notifier.watchdog_interval().map_or(every, |interval| every.min(interval / 2)), |actor, ctx| actor.beat(ctx));
    }
}

impl Supervised for SupervisorActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.children.iter_mut().for_each(|child| child.asked = false);
    }
}

impl Handler<Load> for SupervisorActor {
    type Result = MessageResult<Load>;

    fn handle(&mut self, Load { files, format }: Load, _: &mut Self::Context) -> Self::Result {
        let name = SourceName::load();
        self.telemetry.metrics.register_source(&name);
        let source = Arc::new(Source { name: name.as_str().to_owned(), format });
        let limits = framing::Limits { chunk_bytes: self.chunk_bytes(), ..framing::Limits::default() };
        let settings = ArchiveSettings { limits, expansion: self.expansion(), run: 0 };
        let opener: ingest::Opener = Box::new(move |_| Box::new(FilesReader::new(source.clone(), settings, &files)) as Box<dyn Reader>);
        MessageResult(self.spawn_once("load", opener))
    }
}

impl Handler<Retry> for SupervisorActor {
    type Result = MessageResult<Retry>;

    fn handle(&mut self, Retry(selection): Retry, _: &mut Self::Context) -> Self::Result {
        let store = self.observed.store.clone();
        let opener: ingest::Opener = Box::new(move |_| {
            let mut records = service::Retried::new(store.clone(), selection.clone());
            Box::new(ChunksReader::new(Box::new(move |now, budget| records.next_chunks(now, budget)))) as Box<dyn Reader>
        });
        MessageResult(self.spawn_once("retry", opener))
    }
}

impl Handler<EndSegment> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, message: EndSegment, _: &mut Self::Context) {
        self.journal.do_send(message);
    }
}

impl Handler<Reload> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Reload(new): Reload, ctx: &mut Self::Context) {
        self.unfollow(&new.sources);
        let followed: Vec<SourceSettings> = self.followers.iter().filter_map(|follower| follower.settings.clone()).collect();
        let added: Vec<SourceSettings> = new.sources.iter().filter(|source| !followed.contains(source)).cloned().collect();
        added.into_iter().for_each(|source| self.follow(source));
        let (retention, ages, archive) = (retention_plan(&new), new.retention.clone(), new.archive.settings());
        self.journal.do_send(Reconfigure { retention, ages, archive, min_free_bytes: new.journal.min_free_bytes });
        self.anomalies.do_send(anomalies::Reconfigure(new.anomalies));
        if let Watchful::Runs(alerts) = &self.watchful {
            alerts.do_send(alerts::Reconfigure(Box::new(new.clone())));
        }
        self.settings = new;
        self.change_exporters(ctx);
    }
}

impl Handler<ToSink> for SupervisorActor {
    type Result = bool;

    fn handle(&mut self, ToSink(name, command): ToSink, _: &mut Self::Context) -> bool {
        let exporter = self.exporters.iter().find(|exporter| exporter.settings.name.as_str() == name);
        exporter.map(|exporter| exporter.address.do_send(command)).is_some()
    }
}

impl Handler<Drain> for SupervisorActor {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, Drain(deadline): Drain, _: &mut Self::Context) -> Self::Result {
        let ingests: Vec<Addr<IngestActor>> = self.followers.iter().map(|follower| follower.address.clone()).collect();
        let exporters: Vec<Addr<ExporterActor>> = self.exporters.iter().map(|exporter| exporter.address.clone()).collect();
        let (journal, push) = (self.journal.clone(), self.push.clone());
        self.anomalies.do_send(anomalies::Stop);
        if let Watchful::Runs(alerts) = &self.watchful {
            alerts.do_send(alerts::Stop);
        }
        let drained = async move {
            let half = deadline / 2;
            // Beside the rest: a receiver that hangs must not cost the others their time. What is not delivered is sent at the next start.
            let delivered =
                actix::spawn(futures_util::future::join_all(exporters.into_iter().map(|exporter| exporter.send(exporter::Drain(half)))));
            let reading_stopped = futures_util::future::join_all(ingests.iter().map(|ingest| ingest.send(ingest::Drain)));
            let stopped = futures_util::future::join(reading_stopped, push.send(push::Drain));
            let all_sent = tokio::time::timeout(half, stopped).await.is_ok();
            // Their cursors are in the state before the journal's last save of it.
            let _ = tokio::time::timeout(half, delivered).await;
            let durable = tokio::time::timeout(deadline - half, journal.send(journal::Drain)).await;
            all_sent && matches!(durable, Ok(Ok(true)))
        };
        Box::pin(drained.into_actor(self))
    }
}

impl Handler<Release> for SupervisorActor {
    type Result = MessageResult<Release>;

    fn handle(&mut self, _: Release, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.arbiters.take())
    }
}

impl Arbiters {
    /// Ends the threads and waits for them; what their actors held is free then.
    pub fn end(self) {
        for arbiter in [self.delivery, self.intake, self.journal] {
            arbiter.stop();
            // A thread that panicked has ended as well.
            let _ = arbiter.join();
        }
    }
}

answers_ping!(SupervisorActor);
