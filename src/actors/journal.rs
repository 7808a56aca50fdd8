//! Commits batches in the order of their runs, and keeps the store's threads going.
//!
//! Owns: the committer, the writer's and the sealer's threads, the state in sled, the order of every run.
//! Talks to: the owners of runs (ingest), which learn what became durable and when to begin again.
//! Lost on restart: nothing that was acknowledged. The store is opened again from the disk and every run is voided: its
//! owner opens a new one from the committed checkpoint.
//! Invariant: nothing is acknowledged before it is durable.
use super::answers_ping;
use super::intake::Intake;
use super::supervised::message;
use crate::archive::{self, ArchiveError, ArchiveSettings, ArchiveStatus, Stop};
use crate::events::batch::Batch;
use crate::events::id::hex;
use crate::events::{Micros, time};
use crate::journal::block::Checkpoints;
use crate::service::retention::Pass;
use crate::sinks::policy::Backoff;
use crate::sources::{Reason, Refused};
use crate::state::{HeadRecord, SegmentRecord, State};
use crate::store::{
    Committed, CommittedLen, Committer, Durable, Fault, Parts, RetentionPlan, SEAL_AGAIN, SealError, SealedReport, Sealer, SensorAges,
    Store, Writer,
};
use crate::telemetry::Telemetry;
use crate::telemetry::events::{
    ArchiveFailing, ArchiveRecovered, BatchCommitted, CorruptionFound, DiskLow, DiskRecovered, EventsErased, HeadAnchored, JournalFault,
    LinesRefused, SchemaDrifted, SchemaNotWritten, SegmentArchived, SegmentRemoved, SegmentSealed, TextsUnread,
};
use crate::telemetry::metrics::JournalOperation;
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient, ResponseActFuture, Supervised,
    WrapFuture,
};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Opens a run: from now on chunks of this number are committed in the order of their ordinals, and those of an earlier
/// run of the same owner are not.
#[derive(Message)]
#[rtype(result = "Option<OpenedRun>")]
pub struct OpenRun {
    /// Checkpoints whose name begins with this are the owner's.
    pub prefix: String,
    pub owner: Recipient<RunEvent>,
    /// The owner's run before this one.
    pub replaces: Option<u64>,
    /// The owner wants to know what is refused, and why.
    pub tells_refused: bool,
}

/// A run, and where its streams stand. `None` instead: the journal is not available now, ask again.
pub struct OpenedRun {
    pub run: u64,
    pub checkpoints: Checkpoints,
}

/// The owner has no more to say.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CloseRun(pub u64);

/// What the owner of a run is told.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub enum RunEvent {
    /// Chunks are durable.
    Durable { run: u64, chunks: u64, input_bytes: u64, committed: Committed },
    /// Of a chunk that is not durable yet: lines which go to quarantine; the first of them, at most [`REFUSED_TOLD_MAX`], one by one.
    Refused { run: u64, lines: u32, first: Vec<RefusedLine> },
    /// Chunks were lost on their way: open a new run and go on from the committed checkpoints.
    Void { run: u64 },
}

/// A line that goes to quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLine {
    /// Where it stood in its input.
    pub offset: u64,
    pub reason: Reason,
    /// What was wrong, with nothing of the line in it.
    pub detail: String,
}

/// Refused lines of one chunk of which a run's owner is told one by one.
pub const REFUSED_TOLD_MAX: usize = 100;

/// A batch to be committed; `generation` is that of the view it was checked against.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Commit {
    pub batch: Batch,
    pub generation: u64,
}

/// Chunks of this run, or of all, will not come.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RunsLost {
    pub run: Option<u64>,
}

/// Makes everything durable and ends the threads. True: all of it is.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Drain;

/// Ends the segment that is written, unless it is empty, so that it is sealed now.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct EndSegment;

/// What a reload may change.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Reconfigure {
    pub retention: RetentionPlan,
    pub archive: Option<ArchiveSettings>,
    pub ages: SensorAges,
    pub min_free_bytes: u64,
}

/// From the threads; `epoch` tells those of before a restart.
#[derive(Message)]
#[rtype(result = "()")]
enum FromThread {
    Durable(u64, Durable),
    /// `None`: the committer was dropped, and all it gave is durable.
    WriterEnded(u64, Option<Trouble>),
    SealerPanicked(u64, String),
    Sealed(Result<SealedReport, SealError>),
}

/// What ended a writer.
struct Trouble {
    operation: JournalOperation,
    segment: u64,
    error: String,
}

/// What status and metrics read; never the mailbox.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct JournalSnapshot {
    pub available: bool,
    /// Why not, or what is wrong though it is.
    pub trouble: Option<String>,
    pub segment: u64,
    pub next_seq: u64,
    pub durable_seq: u64,
    /// Running digest behind the last durable event, hexadecimal.
    pub digest: Option<String>,
    pub runs: usize,
    pub batches_waiting: usize,
    pub checkpoints: usize,
    pub free_bytes: u64,
    pub paused: bool,
    pub faults: u64,
    pub archive: Option<ArchiveStatus>,
}

/// What the actor is given.
pub struct JournalConfig {
    pub store: Store,
    pub state: Arc<State>,
    pub retention: RetentionPlan,
    /// Where evidence goes before it is removed.
    pub archive: Option<ArchiveSettings>,
    pub ages: SensorAges,
    pub min_free_bytes: u64,
    pub intake: Intake,
    pub telemetry: Telemetry,
    pub snapshot: watch::Sender<JournalSnapshot>,
}

struct Run {
    prefix: String,
    owner: Recipient<RunEvent>,
    tells_refused: bool,
    next: u64,
    waiting: BTreeMap<u64, Commit>,
}

/// The store's threads. Whoever opens the store again holds the lock from joining them until it is open: never two at once.
type Threads = Arc<Mutex<Vec<StoreThreads>>>;

struct StoreThreads {
    writer: JoinHandle<Result<(), Fault>>,
    sealer: JoinHandle<()>,
}

impl StoreThreads {
    /// Waits for their end. Answers, after a fault, the segment and the length behind which nothing was acknowledged.
    fn join(self) -> Option<(u64, u64)> {
        let written = self.writer.join();
        // A sealer that panicked has nothing to give back: what it left is sealed at the next opening.
        drop(self.sealer.join());
        // A writer that panicked is like a process that was killed: what is whole on disk counts.
        written.ok()?.err().map(|fault| (fault.segment, fault.trusted_len))
    }
}

fn locked(threads: &Mutex<Vec<StoreThreads>>) -> MutexGuard<'_, Vec<StoreThreads>> {
    threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub struct JournalActor {
    config: JournalConfig,
    /// `None` while the store is being opened again.
    committer: Option<Committer>,
    threads: Threads,
    /// The store is being opened again right now.
    reopening: bool,
    epoch: u64,
    parts: Option<(Committer, Writer, Sealer)>,
    runs: HashMap<u64, Run>,
    next_run: u64,
    durable: HeadRecord,
    reopen_attempts: u32,
    /// Of a fault, until the store is open again.
    trusted: Arc<Mutex<Option<(u64, u64)>>>,
    draining: Option<tokio::sync::oneshot::Sender<bool>>,
    /// A drain has come to its end, and everything is durable.
    drained: bool,
    paused_since: Option<Instant>,
    last_retention: Option<Instant>,
    /// A pass of retention is under way; to be told when the daemon stops, for it may wait for a server.
    retaining: bool,
    stop: Stop,
    /// Archiving failed: not before this again.
    archive_again: Option<Instant>,
    last_anchor: Option<Instant>,
    saving: bool,
    snapshot: JournalSnapshot,
}

/// Segments with their index in memory, the one being written included, beyond which nothing more is committed.
const LIVE_SEGMENTS_MAX: usize = 4;
const TICK: Duration = Duration::from_secs(1);
const RETENTION_EVERY: Duration = Duration::from_secs(60);
/// Between attempts to archive, jittered.
const ARCHIVE_BACKOFF: Backoff = Backoff { initial: Duration::from_secs(60), max: Duration::from_secs(1800) };
const ANCHOR_EVERY: Duration = Duration::from_secs(3600);

impl JournalActor {
    /// Takes the parts of an open store; its threads start with the actor.
    pub fn new(config: JournalConfig, parts: Parts) -> JournalActor {
        let Parts { committer, writer, sealer, .. } = parts;
        config.store.keep_by_sensor(config.ages.clone());
        let head = committer.head();
        let durable = HeadRecord { segment: head.segment(), len: head.len(), next_seq: head.next_seq() };
        let snapshot = JournalSnapshot { archive: config.archive.as_ref().map(ArchiveStatus::of), ..JournalSnapshot::default() };
        JournalActor {
            config,
            committer: None,
            threads: Threads::default(),
            reopening: false,
            epoch: 0,
            parts: Some((committer, writer, sealer)),
            runs: HashMap::new(),
            next_run: 1,
            durable,
            reopen_attempts: 0,
            trusted: Arc::default(),
            draining: None,
            drained: false,
            paused_since: None,
            last_retention: None,
            retaining: false,
            stop: Stop::default(),
            archive_again: None,
            last_anchor: None,
            saving: false,
            snapshot,
        }
    }

    fn start_threads(&mut self, committer: Committer, writer: Writer, sealer: Sealer, address: &Addr<Self>) {
        self.epoch += 1;
        let epoch = self.epoch;
        let to_actor = address.clone();
        let write = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| writer.run(|durable| to_actor.do_send(FromThread::Durable(epoch, durable)))));
            let (ended, trouble) = match ended {
                Ok(Ok(())) => (Ok(()), None),
                Ok(Err(fault)) => {
                    let operation = if fault.in_sync { JournalOperation::Sync } else { JournalOperation::Write };
                    let trouble = Trouble { operation, segment: fault.segment, error: fault.to_string() };
                    (Err(fault), Some(trouble))
                }
                Err(panic) => {
                    let error = format!("the journal's writer panicked: {}", message(&*panic));
                    (Ok(()), Some(Trouble { operation: JournalOperation::Write, segment: 0, error }))
                }
            };
            to_actor.do_send(FromThread::WriterEnded(epoch, trouble));
            ended
        };
        let to_actor = address.clone();
        let seal = move || {
            let run = || sealer.run(SEAL_AGAIN, |sealed| to_actor.do_send(FromThread::Sealed(sealed)));
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                to_actor.do_send(FromThread::SealerPanicked(epoch, message(&*panic)));
            }
        };
        let builder = |name: &str| std::thread::Builder::new().name(name.into());
        // No thread to be had: as after any other panic, the actor is restarted and tries again.
        let writer = builder("journal-writer").spawn(write).unwrap_or_else(|error| panic!("cannot start the journal's writer: {error}"));
        let sealer = builder("journal-sealer").spawn(seal).unwrap_or_else(|error| panic!("cannot start the journal's sealer: {error}"));
        locked(&self.threads).push(StoreThreads { writer, sealer });
        self.committer = Some(committer);
        self.snapshot.available = true;
        self.snapshot.trouble = None;
    }

    /// Forgets all that is not durable, and opens the store again; `rebuild` names a segment whose sidecar cannot be read.
    fn reopen(&mut self, rebuild: Option<u64>, ctx: &mut Context<Self>) {
        // Without a committer the writer ends when it has done what it had.
        self.committer = None;
        self.parts = None;
        self.snapshot.available = false;
        self.void_runs(None);
        if std::mem::replace(&mut self.reopening, true) {
            return;
        }
        // What the threads of before still have to say was said to someone who forgot all about it.
        self.epoch += 1;
        let (threads, store) = (self.threads.clone(), self.config.store.clone());
        let saved = Some(self.durable);
        let wait = match self.reopen_attempts {
            0 => Duration::ZERO,
            attempt => Duration::from_millis(250 << attempt.min(6)).mul_f64(0.5 + 0.5 * rand::random::<f64>()),
        };
        self.reopen_attempts += 1;
        let trusted_before = self.trusted.clone();
        let opened = async move {
            tokio::time::sleep(wait).await;
            tokio::task::spawn_blocking(move || {
                let mut threads = locked(&threads);
                let mut trusted = trusted_before.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                for ended in threads.drain(..) {
                    *trusted = ended.join().or(*trusted);
                }
                if let Some(segment) = rebuild {
                    store.rebuild_sidecar(segment)?;
                }
                let committed =
                    CommittedLen { saved: saved.map(|head| (head.segment, head.len)), next_seq: durable_seq(saved), trusted: *trusted };
                let parts = store.reopen(committed, time::now(), &mut |_| {}).map_err(std::io::Error::other)?;
                *trusted = None;
                std::io::Result::Ok(parts)
            })
            .await
        };
        ctx.spawn(opened.into_actor(self).map(move |opened, actor, ctx| {
            actor.reopening = false;
            let trouble = match opened {
                Ok(Ok(parts)) => return actor.reopened(parts, &ctx.address()),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            let event = JournalFault { operation: JournalOperation::Write, segment: actor.durable.segment, error: &trouble };
            actor.config.telemetry.emit(&event);
            actor.snapshot.trouble = Some(trouble);
            actor.publish();
            actor.reopen(None, ctx);
        }));
        self.publish();
    }

    fn reopened(&mut self, parts: Parts, address: &Addr<Self>) {
        for damage in &parts.report.damage {
            let event = CorruptionFound { segment: damage.segment, offset: damage.offset, detail: &damage.what };
            self.config.telemetry.emit(&event);
        }
        let head = parts.committer.head();
        self.durable = HeadRecord { segment: head.segment(), len: head.len(), next_seq: head.next_seq() };
        self.start_threads(parts.committer, parts.writer, parts.sealer, address);
        self.publish();
    }

    /// Tells the owners of these runs to begin again.
    fn void_runs(&mut self, only: Option<u64>) {
        let numbers: Vec<u64> = self.runs.keys().copied().filter(|&run| only.is_none_or(|only| only == run)).collect();
        for number in numbers {
            if let Some(run) = self.runs.remove(&number) {
                run.owner.do_send(RunEvent::Void { run: number });
            }
        }
    }

    fn commit_ready(&mut self, number: u64, ctx: &mut Context<Self>) {
        let (Some(committer), Some(run)) = (&mut self.committer, self.runs.get_mut(&number)) else { return };
        let now = time::now();
        // Segments that cannot be sealed keep their index in memory: better that the sources wait than that it fills.
        while self.config.store.view().live.len() <= LIVE_SEGMENTS_MAX
            && let Some(entry) = run.waiting.first_entry()
            && *entry.key() == run.next
        {
            let Commit { batch, generation } = entry.remove();
            report_refused(&self.config.telemetry, &batch);
            if run.tells_refused && batch.refused_lines > 0 {
                run.owner.do_send(refused_of(number, &batch));
            }
            run.next += 1;
            if let Err(error) = committer.commit(batch, generation, now) {
                let segment = error.segment();
                let trouble = Trouble { operation: JournalOperation::Read, segment: segment.unwrap_or(0), error: error.to_string() };
                self.fault(trouble);
                return self.reopen(segment, ctx);
            }
        }
    }

    fn commit_all_ready(&mut self, ctx: &mut Context<Self>) {
        let runs: Vec<u64> = self.runs.keys().copied().collect();
        runs.into_iter().for_each(|run| self.commit_ready(run, ctx));
    }

    fn acknowledge(&mut self, durable: Durable) {
        // Only something durable proves that the trouble is over.
        self.reopen_attempts = 0;
        self.durable = HeadRecord { segment: durable.segment, len: durable.len, next_seq: durable.next_seq };
        let mut by_run: BTreeMap<u64, (u64, u64, Committed)> = BTreeMap::new();
        for ticket in durable.tickets {
            let committed = ticket.committed;
            self.config.telemetry.emit(&BatchCommitted {
                source: &ticket.origin.source.name,
                sequence: committed.first_seq,
                events: u64::from(committed.events),
                duplicates: u64::from(committed.duplicates),
                input_bytes: ticket.origin.input_bytes,
                latency: ticket.committed_at.elapsed(),
            });
            let metrics = &self.config.telemetry.metrics;
            ticket.detections.iter().for_each(|&(kind, count)| metrics.detected(kind, u64::from(count)));
            if ticket.unread_texts > 0 {
                self.config.telemetry.emit(&TextsUnread { source: &ticket.origin.source.name, texts: ticket.unread_texts });
            }
            let (chunks, bytes, sum) = by_run.entry(ticket.origin.run).or_default();
            *chunks += 1;
            *bytes += ticket.origin.input_bytes;
            sum.events += committed.events;
            sum.duplicates += committed.duplicates;
            sum.refused += committed.refused;
        }
        for drift in durable.drifts {
            let known: Vec<&str> = drift.known.iter().map(|kind| kind.name()).collect();
            self.config.telemetry.emit(&SchemaDrifted {
                format: &drift.key.format,
                eventid: &drift.key.eventid,
                sensor: &drift.key.sensor,
                field: &drift.field,
                known: &known.join(", "),
                seen: drift.kind.name(),
            });
        }
        if let Some(error) = durable.not_learnt {
            self.config.telemetry.emit(&SchemaNotWritten { error: &error.to_string() });
        }
        self.config.telemetry.metrics.schemas(self.config.store.schemas().len() as u64, self.config.store.schemas().left_out());
        for (run, (chunks, input_bytes, committed)) in by_run {
            if let Some(known) = self.runs.get(&run) {
                known.owner.do_send(RunEvent::Durable { run, chunks, input_bytes, committed });
            }
        }
        self.publish();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = time::now();
        if let Some(committer) = &mut self.committer {
            committer.flush_checkpoints(now);
        }
        self.commit_all_ready(ctx);
        self.watch_disk();
        self.save_state(ctx);
        if self.last_retention.is_none_or(|last| last.elapsed() >= RETENTION_EVERY) {
            self.last_retention = Some(Instant::now());
            self.enforce_retention(now, ctx);
        }
        if self.last_anchor.is_none_or(|last| last.elapsed() >= ANCHOR_EVERY) {
            self.last_anchor = Some(Instant::now());
            self.anchor();
        }
        self.publish();
    }

    fn watch_disk(&mut self) {
        let Ok(free) = free_bytes(&self.config.store) else { return };
        self.snapshot.free_bytes = free;
        let min = self.config.min_free_bytes;
        match self.paused_since {
            None if free < min => {
                self.paused_since = Some(Instant::now());
                self.config.intake.pause(true);
                self.config.telemetry.emit(&DiskLow { free_bytes: free, min_free_bytes: min });
            }
            Some(since) if free >= min => {
                self.paused_since = None;
                self.config.intake.pause(false);
                self.config.telemetry.emit(&DiskRecovered { free_bytes: free, paused: since.elapsed() });
            }
            _ => {}
        }
    }

    /// Copies head and checkpoints into sled, off this thread, when the last copy is done.
    fn save_state(&mut self, ctx: &mut Context<Self>) {
        let Some(committer) = &self.committer else { return };
        if self.saving {
            return;
        }
        let head = self.durable;
        // Checkpoints of what is not durable yet are nobody's business.
        let checkpoints = (committer.head().next_seq() == head.next_seq).then(|| committer.checkpoints());
        let state = self.config.state.clone();
        self.saving = true;
        let saved = tokio::task::spawn_blocking(move || state.save(head, checkpoints.as_ref()));
        ctx.spawn(saved.into_actor(self).map(|saved, actor, _| {
            actor.saving = false;
            if let Ok(Err(error)) = saved {
                // A view only: the journal goes on, and the next tick tries again.
                actor.snapshot.trouble = Some(error.to_string());
            }
        }));
    }

    fn enforce_retention(&mut self, now: Micros, ctx: &mut Context<Self>) {
        let plan = self.config.retention;
        // A pass may take longer than the time to the next: it may archive, to a server that is slow.
        let nothing_goes = plan == RetentionPlan::default() && !self.config.store.has_sensor_ages();
        if nothing_goes || self.retaining || self.archive_again.is_some_and(|again| again > Instant::now()) {
            return;
        }
        self.retaining = true;
        let (store, state, archive, stop) =
            (self.config.store.clone(), self.config.state.clone(), self.config.archive.clone(), self.stop.clone());
        let retained = tokio::task::spawn_blocking(move || {
            Pass { store: &store, state: &state, plan, archive: archive.as_ref(), stop: &stop, now }.retain()
        });
        ctx.spawn(retained.into_actor(self).map(|retained, actor, _| {
            actor.retaining = false;
            match retained {
                Ok(Ok(retained)) => actor.retained(retained),
                Ok(Err(error)) => {
                    let error = error.to_string();
                    actor.config.telemetry.emit(&JournalFault { operation: JournalOperation::Retention, segment: 0, error: &error });
                }
                Err(_) => {}
            }
        }));
    }

    fn retained(&mut self, retained: archive::Retained) {
        let telemetry = self.config.telemetry.clone();
        for archived in &retained.archived {
            let (files, bytes) = (archived.files.len() as u64, archived.files.iter().map(|file| file.bytes).sum());
            telemetry.emit(&SegmentArchived { segment: archived.segment, to: &archived.to, files, bytes });
        }
        for removed in &retained.removed {
            let what = if removed.answers { "evidence and answers" } else { "evidence" };
            telemetry.emit(&SegmentRemoved { segment: removed.segment, what, rule: removed.reason, bytes: removed.bytes });
        }
        for &(segment, events) in &retained.erased {
            telemetry.emit(&EventsErased { segment, events });
        }
        if let Some(error) = &retained.fault {
            telemetry.emit(&JournalFault { operation: JournalOperation::Retention, segment: 0, error });
        }
        // The place may be another by now.
        let Some(status) = &mut self.snapshot.archive else { return };
        status.segments += retained.archived.len() as u64;
        status.last_segment = retained.archived.last().map(|archived| archived.segment).or(status.last_segment);
        match retained.failed {
            Some(ArchiveError::Stopped) => {}
            Some(error) => {
                let error = error.to_string();
                telemetry.metrics.archive_failed();
                if status.failures == 0 {
                    telemetry.emit(&ArchiveFailing { to: &status.to, error: &error });
                    status.failing_since = Some(time::format(time::now()));
                }
                status.failures += 1;
                status.problem = Some(error);
                let failures = u32::try_from(status.failures).unwrap_or(u32::MAX);
                self.archive_again = Some(Instant::now() + ARCHIVE_BACKOFF.delay(failures, None, rand::random()));
            }
            None => {
                if status.failures > 0 {
                    telemetry.emit(&ArchiveRecovered { to: &status.to, failures: status.failures });
                }
                (status.failures, status.failing_since, status.problem) = (0, None, None);
                self.archive_again = None;
            }
        }
    }

    fn anchor(&self) {
        // The last durable digest that is known: one of events that a crash may yet forget would look like tampering.
        if let Some(digest) = &self.snapshot.digest {
            let HeadRecord { segment, next_seq, .. } = self.durable;
            self.config.telemetry.emit(&HeadAnchored { segment, sequence: next_seq - 1, digest });
        }
    }

    fn sealed(&mut self, sealed: Result<SealedReport, SealError>) {
        match sealed {
            Ok(report) => {
                let head = report.head;
                self.config.telemetry.emit(&SegmentSealed {
                    segment: head.segment,
                    events: head.events,
                    raw_bytes: head.raw_bytes,
                    journal_bytes: report.journal_bytes,
                    sidecar_bytes: report.sidecar_bytes,
                    digest: &hex(&head.digest),
                    duration: Duration::from_secs_f64(report.seconds),
                });
                let record = SegmentRecord::of(&head);
                if let Err(error) = self.config.state.put_segment(head.segment, &record) {
                    self.snapshot.trouble = Some(error.to_string());
                }
            }
            Err(error) => {
                let error = error.to_string();
                self.config.telemetry.emit(&JournalFault {
                    operation: JournalOperation::Seal,
                    segment: self.durable.segment,
                    error: &error,
                });
                self.snapshot.trouble = Some(error);
                self.snapshot.faults += 1;
            }
        }
    }

    fn fault(&mut self, Trouble { operation, segment, error }: Trouble) {
        self.config.telemetry.emit(&JournalFault { operation, segment, error: &error });
        self.snapshot.faults += 1;
        self.snapshot.trouble = Some(error);
    }

    fn publish(&mut self) {
        if let Some(committer) = &self.committer {
            self.snapshot.segment = committer.head().segment();
            self.snapshot.next_seq = committer.head().next_seq();
            self.snapshot.checkpoints = committer.head().checkpoints().len();
            if committer.head().next_seq() == self.durable.next_seq {
                self.snapshot.digest = Some(hex(&committer.head().seal().digest));
            }
        }
        self.snapshot.durable_seq = self.durable.next_seq;
        self.snapshot.runs = self.runs.len();
        self.snapshot.batches_waiting = self.runs.values().map(|run| run.waiting.len()).sum();
        self.snapshot.paused = self.paused_since.is_some();
        self.config.snapshot.send_replace(self.snapshot.clone());
    }
}

fn refused_of(run: u64, batch: &Batch) -> RunEvent {
    let line = |refused: &Refused| RefusedLine { offset: refused.offset, reason: refused.reason, detail: refused.detail.clone() };
    RunEvent::Refused { run, lines: batch.refused_lines, first: batch.refused.iter().take(REFUSED_TOLD_MAX).map(line).collect() }
}

/// One line per kind of refusal in the batch.
fn report_refused(telemetry: &Telemetry, batch: &Batch) {
    let mut by_reason: BTreeMap<_, (u64, &Refused)> = BTreeMap::new();
    for refused in &batch.refused {
        by_reason.entry(refused.reason).or_insert((0, refused)).0 += 1;
    }
    for (reason, (count, first)) in by_reason {
        let (source, path) = (batch.origin.source.name.as_str(), &*batch.origin.path);
        telemetry.emit(&LinesRefused { source, path, offset: first.offset, reason, count, detail: &first.detail });
    }
}

impl Actor for JournalActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.parts.take() {
            Some((committer, writer, sealer)) => self.start_threads(committer, writer, sealer, &ctx.address()),
            None => self.reopen(None, ctx),
        }
        ctx.run_interval(TICK, |actor, ctx| actor.tick(ctx));
        self.publish();
    }
}

impl Supervised for JournalActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.committer = None;
        self.reopening = false;
        self.retaining = false;
        self.saving = false;
        self.snapshot.available = false;
        self.void_runs(None);
    }
}

impl Handler<OpenRun> for JournalActor {
    type Result = MessageResult<OpenRun>;

    fn handle(&mut self, message: OpenRun, _: &mut Self::Context) -> Self::Result {
        // A run that is replaced is fenced off: whatever of it is still on its way will not be committed.
        self.runs.retain(|&run, known| Some(run) != message.replaces && (message.prefix.is_empty() || known.prefix != message.prefix));
        let Some(committer) = &self.committer else { return MessageResult(None) };
        let run = self.next_run;
        self.next_run += 1;
        self.runs.insert(
            run,
            Run {
                prefix: message.prefix.clone(),
                owner: message.owner,
                tells_refused: message.tells_refused,
                next: 0,
                waiting: BTreeMap::new(),
            },
        );
        let mut checkpoints = committer.checkpoints();
        checkpoints.retain(|name, _| !message.prefix.is_empty() && name.starts_with(&message.prefix));
        MessageResult(Some(OpenedRun { run, checkpoints }))
    }
}

impl Handler<CloseRun> for JournalActor {
    type Result = ();

    fn handle(&mut self, CloseRun(run): CloseRun, _: &mut Self::Context) {
        self.runs.remove(&run);
    }
}

impl Handler<Commit> for JournalActor {
    type Result = ();

    fn handle(&mut self, commit: Commit, ctx: &mut Self::Context) {
        fail::fail_point!("journal::commit");
        let number = commit.batch.origin.run;
        // Of a voided run: its source has gone back behind it.
        let Some(run) = self.runs.get_mut(&number) else { return };
        run.waiting.insert(commit.batch.origin.ordinal, commit);
        self.commit_ready(number, ctx);
    }
}

impl Handler<RunsLost> for JournalActor {
    type Result = ();

    fn handle(&mut self, RunsLost { run }: RunsLost, _: &mut Self::Context) {
        self.void_runs(run);
    }
}

impl Handler<EndSegment> for JournalActor {
    type Result = ();

    fn handle(&mut self, _: EndSegment, _: &mut Self::Context) {
        if let Some(committer) = self.committer.as_mut().filter(|committer| !committer.head().is_empty()) {
            committer.roll(time::now());
        }
    }
}

impl Handler<FromThread> for JournalActor {
    type Result = ();

    fn handle(&mut self, message: FromThread, ctx: &mut Self::Context) {
        match message {
            FromThread::Durable(epoch, durable) if epoch == self.epoch => self.acknowledge(durable),
            FromThread::WriterEnded(epoch, trouble) if epoch == self.epoch => match (trouble, self.draining.take()) {
                (None, Some(drained)) => drop(drained.send(true)),
                (None, None) => {}
                (Some(trouble), drained) => {
                    self.fault(trouble);
                    match drained {
                        Some(drained) => drop(drained.send(false)),
                        None => self.reopen(None, ctx),
                    }
                }
            },
            FromThread::SealerPanicked(epoch, panic) if epoch == self.epoch => {
                let error = format!("the journal's sealer panicked: {panic}");
                self.fault(Trouble { operation: JournalOperation::Seal, segment: self.durable.segment, error });
                if self.draining.is_none() {
                    self.reopen(None, ctx);
                }
            }
            FromThread::Durable(..) | FromThread::WriterEnded(..) | FromThread::SealerPanicked(..) => {}
            FromThread::Sealed(sealed) => {
                self.sealed(sealed);
                self.commit_all_ready(ctx);
            }
        }
    }
}

impl Handler<Drain> for JournalActor {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.stop.stop();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        match self.committer.take() {
            Some(mut committer) => {
                committer.flush_checkpoints(time::now());
                let (checkpoints, head) = (committer.checkpoints(), committer.head().next_seq());
                self.draining = Some(sender);
                drop(committer);
                let threads = self.threads.clone();
                let drained = receiver
                    .into_actor(self)
                    .map(|drained, actor, _| (drained.unwrap_or(false), actor.durable, actor.config.state.clone()));
                Box::pin(drained.then(move |(drained, durable, state), actor, _| {
                    let last = tokio::task::spawn_blocking(move || {
                        locked(&threads).drain(..).for_each(|ended| {
                            ended.join();
                        });
                        state.save(durable, (head == durable.next_seq).then_some(&checkpoints))
                    });
                    last.into_actor(actor).map(move |saved, actor, _| {
                        actor.drained = drained && matches!(saved, Ok(Ok(())));
                        actor.drained
                    })
                }))
            }
            None => Box::pin(std::future::ready(self.drained).into_actor(self)),
        }
    }
}

impl Handler<Reconfigure> for JournalActor {
    type Result = ();

    fn handle(&mut self, new: Reconfigure, _: &mut Self::Context) {
        self.config.retention = new.retention;
        if self.config.archive != new.archive {
            self.snapshot.archive = new.archive.as_ref().map(ArchiveStatus::of);
            self.config.archive = new.archive;
        }
        // Whatever was wrong may have been mended.
        self.archive_again = None;
        self.config.store.keep_by_sensor(new.ages);
        self.config.min_free_bytes = new.min_free_bytes;
        self.last_retention = None;
    }
}

answers_ping!(JournalActor);

fn free_bytes(store: &Store) -> std::io::Result<u64> {
    fail::fail_point!("journal::free_bytes", |free| Ok(free.and_then(|free| free.parse().ok()).unwrap_or(0)));
    store.free_bytes()
}

fn durable_seq(head: Option<HeadRecord>) -> u64 {
    head.map_or(0, |head| head.next_seq)
}
