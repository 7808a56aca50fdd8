//! Reads one source and sends its chunks on, as far as the memory budget allows.
//!
//! Owns: the reader (a file tail, or the files of a load) and what it has read but not sent. Talks to: journal (opens
//! runs, learns what is durable), extraction (gets the chunks).
//! Lost on restart: the reader; the next one goes on from the checkpoints the journal has committed.
//! Invariant: chunks of a run are numbered without gaps; nothing is sent without a permit.
use super::answers_ping;
use super::extraction::{Extract, ExtractionActor};
use super::intake::Intake;
use super::journal::{CloseRun, JournalActor, OpenRun, OpenedRun, RunEvent};
use crate::events::{Micros, time};
use crate::journal::block::Checkpoints;
use crate::sources::Chunk;
use crate::sources::reader::{Progress, Read, Reader};
use crate::store::Committed;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture, Supervised, WrapFuture};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Makes a reader that goes on from these checkpoints.
pub type Opener = Box<dyn FnMut(Checkpoints) -> Box<dyn Reader> + Send>;

/// What status and metrics read.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct IngestSnapshot {
    pub source: String,
    pub run: u64,
    pub progress: Progress,
    pub chunks_in_flight: u64,
    pub chunks: u64,
    pub input_bytes: u64,
    pub events: u64,
    pub duplicates: u64,
    pub rejected: u64,
    /// Unix time of the last durable event's commit, microseconds.
    pub last_commit_at: Option<Micros>,
    /// Runs that had to be begun again.
    pub rewinds: u64,
    /// Everything was read and is durable.
    pub finished: bool,
}

/// Stops reading; answers when all that was sent is durable, or had to be given up.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

pub struct IngestConfig {
    pub source: String,
    /// Checkpoints whose names begin with this belong to the source; empty: none are kept.
    pub prefix: String,
    pub opener: Opener,
    pub intake: Intake,
    pub chunk_bytes: usize,
    pub journal: Addr<JournalActor>,
    pub extraction: Addr<ExtractionActor>,
    pub snapshot: watch::Sender<IngestSnapshot>,
}

pub struct IngestActor {
    config: IngestConfig,
    run: Option<u64>,
    /// `None` while it is reading on another thread.
    reader: Option<Box<dyn Reader>>,
    outbox: VecDeque<Chunk>,
    next_ordinal: u64,
    sent: u64,
    acknowledged: u64,
    ended: bool,
    /// Events of an earlier run that come again, as duplicates, because nothing keeps a checkpoint of this source.
    stored_before: u64,
    /// Waits for this run's end before the process may.
    draining: Option<oneshot::Sender<()>>,
    snapshot: IngestSnapshot,
}

/// How long a reader waits for a change before it looks by itself.
const POLL_AT_LEAST_EVERY: Duration = Duration::from_millis(250);
/// What arrives within this time shares a block.
const GATHER: Duration = Duration::from_millis(100);
const ASK_AGAIN: Duration = Duration::from_millis(200);

impl IngestActor {
    pub fn new(config: IngestConfig) -> IngestActor {
        let snapshot = IngestSnapshot { source: config.source.clone(), ..IngestSnapshot::default() };
        IngestActor {
            config,
            run: None,
            reader: None,
            outbox: VecDeque::new(),
            next_ordinal: 0,
            sent: 0,
            acknowledged: 0,
            ended: false,
            stored_before: 0,
            draining: None,
            snapshot,
        }
    }

    /// Asks the journal for a run, again and again until it is available.
    fn open_run(&mut self, replaces: Option<u64>, ctx: &mut Context<Self>) {
        self.run = None;
        self.reader = None;
        self.outbox.clear();
        (self.next_ordinal, self.sent, self.acknowledged, self.ended) = (0, 0, 0, false);
        self.count_anew();
        let ask = OpenRun { prefix: self.config.prefix.clone(), owner: ctx.address().recipient(), replaces, tells_refused: false };
        let journal = self.config.journal.clone();
        ctx.spawn(async move { journal.send(ask).await }.into_actor(self).map(move |opened, actor, ctx| match opened {
            Ok(Some(opened)) => actor.begin(opened, ctx),
            _ => drop(ctx.run_later(ASK_AGAIN, move |actor, ctx| actor.open_run(replaces, ctx))),
        }));
    }

    fn begin(&mut self, OpenedRun { run, checkpoints }: OpenedRun, ctx: &mut Context<Self>) {
        self.run = Some(run);
        self.snapshot.run = run;
        self.reader = Some((self.config.opener)(checkpoints));
        self.read(ctx);
    }

    /// Reads the next chunks on another thread, when there is nothing left to send and reading is allowed.
    fn read(&mut self, ctx: &mut Context<Self>) {
        if self.draining.is_some() || self.ended || !self.outbox.is_empty() {
            return;
        }
        if self.config.intake.is_paused() {
            ctx.run_later(ASK_AGAIN, |actor, ctx| actor.read(ctx));
            return;
        }
        let (Some(run), Some(mut reader)) = (self.run, self.reader.take()) else { return };
        let budget = self.config.chunk_bytes;
        let read = tokio::task::spawn_blocking(move || {
            let read = reader.read(time::now(), budget);
            (reader, read)
        });
        self.returned(run, read, ctx);
    }

    /// Waits for a change on another thread, and then a little more, so that what arrives together shares a block.
    fn wait(&mut self, ctx: &mut Context<Self>) {
        let (Some(run), Some(mut reader)) = (self.run, self.reader.take()) else { return };
        let waited = tokio::task::spawn_blocking(move || {
            let started = std::time::Instant::now();
            if reader.wait(POLL_AT_LEAST_EVERY) {
                std::thread::sleep(GATHER.saturating_sub(started.elapsed()));
            }
            let read = Read { more: true, ..Read::default() };
            (reader, read)
        });
        self.returned(run, waited, ctx);
    }

    fn returned(&mut self, run: u64, work: tokio::task::JoinHandle<(Box<dyn Reader>, Read)>, ctx: &mut Context<Self>) {
        ctx.spawn(work.into_actor(self).map(move |returned, actor, ctx| {
            if actor.run != Some(run) {
                // Of a run that was voided meanwhile.
                return;
            }
            match returned {
                Ok((reader, read)) => {
                    actor.snapshot.progress = reader.progress();
                    actor.reader = Some(reader);
                    actor.ended = read.ended;
                    actor.outbox.extend(read.chunks);
                    actor.send(read.more, ctx);
                }
                // The reader panicked: the next one begins at the committed checkpoints.
                Err(panic) => panic!("the reader of {} failed: {panic}", actor.config.source),
            }
        }));
    }

    /// Sends what was read, chunk by chunk as permits come; then reads on, or waits.
    fn send(&mut self, more: bool, ctx: &mut Context<Self>) {
        fail::fail_point!("ingest::send");
        let (Some(run), Some(mut chunk)) = (self.run, self.outbox.pop_front()) else {
            self.publish();
            self.finish_if_done();
            return if more { self.read(ctx) } else { self.wait_unless_ended(ctx) };
        };
        let intake = self.config.intake.clone();
        let bytes = chunk.data.len();
        ctx.spawn(async move { intake.admit(bytes).await }.into_actor(self).map(move |permit, actor, ctx| {
            if actor.run != Some(run) {
                return;
            }
            chunk.origin.permit = Some(permit);
            chunk.origin.run = run;
            chunk.origin.ordinal = actor.next_ordinal;
            actor.next_ordinal += 1;
            actor.sent += 1;
            actor.config.extraction.do_send(Extract(chunk));
            actor.send(more, ctx);
        }));
    }

    fn wait_unless_ended(&mut self, ctx: &mut Context<Self>) {
        if !self.ended && self.draining.is_none() {
            self.wait(ctx);
        }
    }

    fn finish_if_done(&mut self) {
        let all_durable = self.outbox.is_empty() && self.sent == self.acknowledged;
        if self.ended && all_durable && !self.snapshot.finished {
            self.snapshot.finished = true;
            self.publish();
        }
        if all_durable && let Some(drained) = self.draining.take() {
            let _ = drained.send(());
        }
    }

    /// What keeps no checkpoint is read from its beginning again: each line counts once all the same.
    fn count_anew(&mut self) {
        if self.config.prefix.is_empty() {
            self.stored_before = self.snapshot.events;
            (self.snapshot.chunks, self.snapshot.input_bytes, self.snapshot.duplicates, self.snapshot.rejected) = (0, 0, 0, 0);
        }
    }

    fn count(&mut self, chunks: u64, input_bytes: u64, committed: Committed) {
        self.acknowledged += chunks;
        self.snapshot.chunks += chunks;
        self.snapshot.input_bytes += input_bytes;
        self.snapshot.events += u64::from(committed.events);
        let again = self.stored_before.min(u64::from(committed.duplicates));
        self.stored_before -= again;
        self.snapshot.duplicates += u64::from(committed.duplicates) - again;
        self.snapshot.rejected += u64::from(committed.refused);
        self.snapshot.last_commit_at = Some(time::now());
    }

    fn publish(&mut self) {
        self.snapshot.chunks_in_flight = self.sent - self.acknowledged + self.outbox.len() as u64;
        self.config.snapshot.send_replace(self.snapshot.clone());
    }
}

impl Actor for IngestActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let replaces = self.run;
        self.open_run(replaces, ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(run) = self.run {
            self.config.journal.do_send(CloseRun(run));
        }
    }
}

impl Supervised for IngestActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.snapshot.rewinds += 1;
    }
}

impl Handler<RunEvent> for IngestActor {
    type Result = ();

    fn handle(&mut self, event: RunEvent, ctx: &mut Self::Context) {
        match event {
            RunEvent::Durable { run, chunks, input_bytes, committed } if self.run == Some(run) => {
                self.count(chunks, input_bytes, committed);
                self.publish();
                self.finish_if_done();
            }
            RunEvent::Void { run } if self.run == Some(run) => {
                self.snapshot.rewinds += 1;
                match self.draining.take() {
                    // What was not durable is read again at the next start.
                    Some(drained) => drop(drained.send(())),
                    None => self.open_run(Some(run), ctx),
                }
            }
            RunEvent::Durable { .. } | RunEvent::Void { .. } | RunEvent::Refused { .. } => {}
        }
    }
}

impl Handler<Drain> for IngestActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        // What was read and not sent is read again at the next start.
        self.outbox.clear();
        let (sender, receiver) = oneshot::channel();
        self.draining = Some(sender);
        self.finish_if_done();
        Box::pin(receiver.into_actor(self).map(|_, _, _| ()))
    }
}

/// The source is taken out of the configuration.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for IngestActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        use actix::ActorContext;
        ctx.stop();
    }
}

answers_ping!(IngestActor);
