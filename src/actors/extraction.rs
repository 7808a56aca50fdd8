//! Decodes chunks on a few worker threads and passes the batches on.
//!
//! Owns the workers' scratch memory and the queue of chunks (bounded by the permits they carry). Talks to: journal.
//! Lost on restart: the chunks it had; it says so to the journal, which sends their sources back to the last checkpoint.
//! Invariant: a chunk that came in goes out as a batch, or its run is voided.
use super::answers_ping;
use super::journal::{Commit, JournalActor, RunsLost};
use crate::events::batch::Extractor;
use crate::index::ids::IdCache;
use crate::sources::Chunk;
use crate::store::Store;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Supervised, WrapFuture};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A chunk to be decoded.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Extract(pub Chunk);

/// How many chunks wait, for the metrics.
pub type Waiting = Arc<AtomicUsize>;

struct Worker {
    extractor: Extractor,
    cache: IdCache,
}

impl Worker {
    fn new() -> Worker {
        Worker { extractor: Extractor::new(), cache: IdCache::new() }
    }
}

pub struct ExtractionActor {
    store: Store,
    journal: Addr<JournalActor>,
    workers: usize,
    idle: Vec<Worker>,
    queue: VecDeque<Chunk>,
    waiting: Waiting,
    /// Something was decoded since the last look.
    busy: bool,
}

impl ExtractionActor {
    pub fn new(store: Store, journal: Addr<JournalActor>, workers: usize, waiting: Waiting) -> ExtractionActor {
        let idle = (0..workers).map(|_| Worker::new()).collect();
        ExtractionActor { store, journal, workers, idle, queue: VecDeque::new(), waiting, busy: false }
    }

    fn dispatch(&mut self, ctx: &mut Context<Self>) {
        while let Some(mut worker) = self.idle.pop() {
            let Some(chunk) = self.queue.pop_front() else {
                self.idle.push(worker);
                break;
            };
            let store = self.store.clone();
            let run = chunk.origin.run;
            let decoded = tokio::task::spawn_blocking(move || {
                let known = store.known(std::mem::take(&mut worker.cache));
                let batch = worker.extractor.extract(chunk, &known);
                let commit = Commit { batch, generation: known.generation() };
                worker.cache = known.into_cache();
                (worker, commit)
            });
            ctx.spawn(decoded.into_actor(self).map(move |decoded, actor, ctx| {
                match decoded {
                    Ok((worker, commit)) => {
                        actor.idle.push(worker);
                        actor.journal.do_send(commit);
                    }
                    // The extractor catches panics of decoders; this one came from elsewhere.
                    Err(_) => {
                        actor.idle.push(Worker::new());
                        actor.journal.do_send(RunsLost { run: Some(run) });
                    }
                }
                actor.dispatch(ctx);
            }));
        }
        self.waiting.store(self.queue.len(), Ordering::Relaxed);
    }

    /// Gives back what bulk loading needed when there was nothing to do for a while.
    fn rest(&mut self) {
        if !std::mem::take(&mut self.busy) && self.idle.iter().any(|worker| worker.cache.memory_bytes() > 0) {
            self.idle.iter_mut().for_each(|worker| *worker = Worker::new());
            crate::os::memory::give_back();
        }
    }
}

impl Actor for ExtractionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_secs(5), |actor, _| actor.rest());
    }
}

impl Supervised for ExtractionActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.queue.clear();
        self.idle = (0..self.workers).map(|_| Worker::new()).collect();
        self.journal.do_send(RunsLost { run: None });
    }
}

impl Handler<Extract> for ExtractionActor {
    type Result = ();

    fn handle(&mut self, Extract(chunk): Extract, ctx: &mut Self::Context) {
        fail::fail_point!("extraction::handle");
        self.busy = true;
        self.queue.push_back(chunk);
        self.dispatch(ctx);
    }
}

answers_ping!(ExtractionActor);
