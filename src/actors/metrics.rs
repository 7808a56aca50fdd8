//! Turns the other actors' snapshots into figures, once a second.
//!
//! Owns nothing that matters; talks to nobody's mailbox. Lost on restart: nothing.
use super::answers_ping;
use super::extraction::Waiting;
use super::ingest::IngestSnapshot;
use super::intake::Intake;
use super::journal::JournalSnapshot;
use crate::events::time;
use crate::sinks::delivery::SinkSnapshot;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::telemetry::events::PhaseChanged;
use crate::telemetry::metrics::{Actor as Kind, Phase, Queue};
use actix::{Actor, AsyncContext, Context, Supervised};
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Everything there is to look at.
#[derive(Clone)]
pub struct Observed {
    pub store: Store,
    pub intake: Intake,
    pub waiting: Waiting,
    pub journal: watch::Receiver<JournalSnapshot>,
    pub ingests: Arc<RwLock<Vec<watch::Receiver<IngestSnapshot>>>>,
    pub sinks: Arc<RwLock<Vec<watch::Receiver<SinkSnapshot>>>>,
    pub heartbeats: Arc<RwLock<Heartbeats>>,
    pub telemetry: Telemetry,
}

/// When the actors last answered, as of the supervisor's last look.
#[derive(Clone, Debug)]
pub struct Heartbeats {
    /// The supervisor's own sign of life.
    pub looked_at: Instant,
    pub actors: Vec<Heartbeat>,
}

#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub kind: Kind,
    pub name: String,
    pub answered: Instant,
    pub stalled: bool,
}

impl Default for Heartbeats {
    fn default() -> Heartbeats {
        Heartbeats { looked_at: Instant::now(), actors: Vec::new() }
    }
}

impl Observed {
    pub fn ingests(&self) -> Vec<IngestSnapshot> {
        let ingests = self.ingests.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        ingests.iter().map(|snapshot| snapshot.borrow().clone()).collect()
    }

    pub fn sinks(&self) -> Vec<SinkSnapshot> {
        let sinks = self.sinks.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        sinks.iter().map(|snapshot| snapshot.borrow().clone()).collect()
    }

    pub fn heartbeats(&self) -> Heartbeats {
        self.heartbeats.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

pub struct MetricsActor {
    observed: Observed,
    phase: Phase,
    ticks: u64,
}

/// Ticks between looks at the disk.
const DISK_EVERY: u64 = 10;

fn measure_disk(store: &Store, telemetry: &Telemetry, journal: &JournalSnapshot) {
    if let Ok((segments, sidecars)) = store.disk_bytes() {
        let view = store.view();
        let count = view.sealed.len() + view.live.len();
        telemetry.metrics.set_journal(count as u64, segments, sidecars, journal.durable_seq.saturating_sub(1));
    }
    if let Some(bytes) = store.quarantine_bytes() {
        telemetry.metrics.set_quarantine_bytes(bytes);
    }
}

/// More than this behind, and a backlog is being worked off.
pub(super) const BULK_BYTES: u64 = 4 << 20;

impl MetricsActor {
    pub fn new(observed: Observed) -> MetricsActor {
        observed.telemetry.metrics.set_phase(Phase::Live);
        MetricsActor { observed, phase: Phase::Live, ticks: 0 }
    }

    fn measure(&mut self) {
        fail::fail_point!("metrics::measure");
        let metrics = &self.observed.telemetry.metrics;
        let journal = self.observed.journal.borrow().clone();
        let (used, total) = self.observed.intake.usage();
        metrics.set_queue(Queue::InFlight, used, total);
        metrics.set_queue(Queue::Extraction, self.observed.waiting.load(Ordering::Relaxed) as u64, total >> 19);
        metrics.set_queue(Queue::Commit, journal.batches_waiting as u64, total >> 19);
        let view = self.observed.store.view();
        metrics.set_queue(Queue::Seal, view.live.len().saturating_sub(1) as u64, 2);
        let ingests = self.observed.ingests();
        metrics.set_chunks_in_flight(ingests.iter().map(|ingest| ingest.chunks_in_flight).sum());
        self.ticks += 1;
        // A look at every file: not every second.
        if self.ticks % DISK_EVERY == 1 {
            let (store, telemetry, journal) = (self.observed.store.clone(), self.observed.telemetry.clone(), journal.clone());
            tokio::task::spawn_blocking(move || measure_disk(&store, &telemetry, &journal));
        }
        self.observed.sinks().iter().for_each(|sink| metrics.set_sink(sink, time::now()));
        let (probes, hits) = self.observed.store.take_probes();
        metrics.sidecars_probed(probes, hits);
        let backlog = ingests.iter().map(backlog).sum();
        let phase = if backlog > BULK_BYTES { Phase::Bulk } else { Phase::Live };
        if phase != self.phase {
            self.phase = phase;
            self.observed.telemetry.emit(&PhaseChanged { phase, backlog_bytes: backlog });
        }
    }
}

/// Bytes on disk that the source has yet to read.
pub(super) fn backlog(ingest: &IngestSnapshot) -> u64 {
    let progress = &ingest.progress;
    if ingest.finished { 0 } else { progress.bytes_behind + progress.bytes_total.saturating_sub(progress.bytes_read) }
}

impl Actor for MetricsActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_secs(1), |actor, _| actor.measure());
    }
}

impl Supervised for MetricsActor {}

answers_ping!(MetricsActor);
