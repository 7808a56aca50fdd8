//! Decodes chunks on a few worker threads and passes the batches on.
//!
//! Owns the workers' scratch memory and the queue of chunks (bounded by the permits they carry). Talks to: journal.
//! Lost on restart: the chunks it had; it says so to the journal, which sends their sources back to the last checkpoint.
//! Invariant: a chunk that came in goes out as a batch, or its run is voided.
use super::answers_ping;
use super::journal::{Commit, JournalActor, RunsLost};
use crate::events::batch::Batcher;
use crate::index::ids::IdCache;
use crate::sources::Chunk;
use crate::store::Store;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Supervised, WrapFuture};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A chunk to be decoded.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Extract(pub Chunk);

/// How many chunks wait, for the metrics.
pub type Waiting = Arc<AtomicUsize>;

struct Worker {
    batcher: Batcher,
    cache: IdCache,
}

impl Worker {
    fn new(store: &Store) -> Worker {
        Worker { batcher: store.batcher(), cache: IdCache::new() }
    }

    fn extract(&mut self, chunk: Chunk, store: &Store) -> Commit {
        let known = store.known(std::mem::take(&mut self.cache));
        let batch = self.batcher.extract(chunk, &known);
        let generation = known.generation();
        self.cache = known.into_cache();
        Commit { batch, generation }
    }
}

/// The chunks that wait; how many they can be, their permits say.
#[derive(Clone, Default)]
struct Queue {
    chunks: Arc<Mutex<VecDeque<Chunk>>>,
    len: Waiting,
}

impl Queue {
    fn push(&self, chunk: Chunk) {
        let mut chunks = self.chunks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        chunks.push_back(chunk);
        self.len.store(chunks.len(), Ordering::Relaxed);
    }

    fn pop(&self) -> Option<Chunk> {
        let mut chunks = self.chunks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let chunk = chunks.pop_front();
        self.len.store(chunks.len(), Ordering::Relaxed);
        chunk
    }

    fn len(&self) -> usize {
        self.chunks.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).len()
    }
}

pub struct ExtractionActor {
    store: Store,
    journal: Addr<JournalActor>,
    workers: usize,
    idle: Vec<Worker>,
    queue: Queue,
    /// Something was decoded since the last look.
    busy: bool,
}

impl ExtractionActor {
    pub fn new(store: Store, journal: Addr<JournalActor>, workers: usize, waiting: Waiting) -> ExtractionActor {
        let idle = (0..workers).map(|_| Worker::new(&store)).collect();
        ExtractionActor { store, journal, workers, idle, queue: Queue { len: waiting, ..Queue::default() }, busy: false }
    }

    /// Sets idle workers to work. One that is at work goes on by itself until the queue is empty: to ask this actor for
    /// every chunk would leave it waiting for a busy thread.
    fn dispatch(&mut self, ctx: &mut Context<Self>) {
        while self.queue.len() > 0
            && let Some(mut worker) = self.idle.pop()
        {
            let (store, journal, queue) = (self.store.clone(), self.journal.clone(), self.queue.clone());
            let worked = tokio::task::spawn_blocking(move || {
                while let Some(chunk) = queue.pop() {
                    journal.do_send(worker.extract(chunk, &store));
                }
                worker
            });
            ctx.spawn(worked.into_actor(self).map(move |worked, actor, ctx| {
                let worker = worked.unwrap_or_else(|_| {
                    // The batcher catches panics of decoders; this one came from elsewhere, and took a chunk with it.
                    actor.journal.do_send(RunsLost { run: None });
                    Worker::new(&actor.store)
                });
                actor.idle.push(worker);
                // A chunk may have come between the worker's last look and now.
                actor.dispatch(ctx);
            }));
        }
    }

    /// Gives back what bulk loading needed when there was nothing to do for a while.
    fn rest(&mut self) {
        if !std::mem::take(&mut self.busy) && self.idle.iter().any(|worker| worker.cache.memory_bytes() > 0) {
            self.idle.iter_mut().for_each(|worker| *worker = Worker::new(&self.store));
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
        // Workers of before find the old queue empty and end.
        while self.queue.pop().is_some() {}
        self.idle = (0..self.workers).map(|_| Worker::new(&self.store)).collect();
        self.journal.do_send(RunsLost { run: None });
    }
}

impl Handler<Extract> for ExtractionActor {
    type Result = ();

    fn handle(&mut self, Extract(chunk): Extract, ctx: &mut Self::Context) {
        fail::fail_point!("extraction::handle");
        self.busy = true;
        self.queue.push(chunk);
        self.dispatch(ctx);
    }
}

answers_ping!(ExtractionActor);
