//! The ordered commit: each event once, in order, with its sequence number. Memory only; no system call but the probes
//! of sidecars that were sealed while the batch was on its way.
use super::quarantine::QuarantineRecord;
use super::view::{Live, with_live};
use super::writer::{Job, Ticket};
use super::{Shared, View};
use crate::events::Micros;
use crate::events::batch::{Batch, Batcher};
use crate::events::time::day_of;
use crate::index::BlockTerms;
use crate::index::ids::IdCache;
use crate::index::live::LiveIndex;
use crate::index::sidecar::SidecarError;
use crate::journal::block::{Checkpoints, Run};
use crate::journal::head::{Head, NewBlock};
use std::io;
use std::sync::{Arc, mpsc};

pub struct Committer {
    shared: Arc<Shared>,
    head: Head,
    live: Arc<Live>,
    jobs: mpsc::Sender<Job>,
    batcher: Batcher,
    known: Vec<bool>,
    cache: IdCache,
    /// Checkpoints that moved over nothing but duplicates, until the next block or [`Committer::flush_checkpoints`].
    moved: Vec<Run>,
}

/// What became of a batch; durable when its ticket comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    pub first_seq: u64,
    pub events: u32,
    pub duplicates: u32,
    pub refused: u32,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, head: Head, live: Arc<Live>, jobs: mpsc::Sender<Job>) -> Committer {
        let batcher = shared.batcher();
        Committer { shared, head, live, jobs, batcher, known: Vec::new(), cache: IdCache::new(), moved: Vec::new() }
    }

    /// Commits a batch that was checked against the view of `generation`; its ticket comes back from the writer.
    ///
    /// Batches of one stream must come in their order. An error leaves nothing committed: a sidecar could not be read.
    pub fn commit(&mut self, mut batch: Batch, generation: u64, now: Micros) -> Result<Committed, SidecarError> {
        self.drop_duplicates(&mut batch, generation)?;
        let refused: Vec<QuarantineRecord> = batch.refused.iter().map(|refused| QuarantineRecord::of(refused, &batch.origin)).collect();
        let mut committed = Committed {
            first_seq: self.head.next_seq(),
            events: batch.events,
            duplicates: batch.duplicates,
            refused: refused.len() as u32,
        };
        let run = run_of(&mut batch);
        let mut job = Job { refused, shapes: std::mem::take(&mut batch.shapes), block: None, tombstones: 0, rolled: None, ticket: None };
        if batch.events > 0 {
            self.roll_if_full(batch.lines.len() as u64, batch.times.first().copied().unwrap_or(now), now);
            committed.first_seq = self.head.next_seq();
            let frame = std::mem::take(&mut batch.frame);
            job.block = Some(self.stage(&batch, run, frame));
            job.tombstones = if batch.tombstones() { batch.events } else { 0 };
        } else if run.checkpoint.is_some() {
            self.moved.retain(|moved| moved.stream != run.stream);
            self.moved.push(run);
        }
        job.ticket = Some(Ticket {
            origin: batch.origin,
            committed,
            detections: batch.detections,
            unread_texts: batch.unread_texts,
            committed_at: std::time::Instant::now(),
        });
        self.send(job);
        Ok(committed)
    }

    fn drop_duplicates(&mut self, batch: &mut Batch, generation: u64) -> Result<(), SidecarError> {
        self.known.clear();
        self.known.resize(batch.ids.len(), false);
        let view = self.shared.view();
        if view.generation != generation {
            for ids in [&batch.ids[..], batch.other_ids()].into_iter().filter(|ids| !ids.is_empty()) {
                view.mark_sealed(generation, ids, &batch.identity_hours, &mut self.known, &mut self.cache)?;
            }
        }
        for live in &view.live {
            live.read().index.mark_known(&batch.ids, &mut self.known);
            if !batch.other_ids().is_empty() {
                live.read().index.mark_known(batch.other_ids(), &mut self.known);
            }
        }
        if self.known.contains(&true) {
            self.known.iter_mut().for_each(|known| *known = !*known);
            batch.retain(&self.known, &mut self.batcher);
        }
        Ok(())
    }

    fn stage(&mut self, batch: &Batch, run: Run, frame: Vec<u8>) -> StagedBlock {
        let mut runs = std::mem::take(&mut self.moved);
        runs.retain(|moved| moved.stream != run.stream);
        runs.push(run);
        let (mut time_min, mut time_max) = (Micros::MAX, Micros::MIN);
        for &time in &batch.times {
            time_min = time_min.min(time);
            time_max = time_max.max(time);
        }
        let block =
            NewBlock { line_hashes: batch.line_hashes(), raw_len: batch.lines.len() as u32, frame: &frame, time_min, time_max, runs };
        self.stage_block(block, &batch.terms).with_frame(frame)
    }

    fn stage_block(&mut self, block: NewBlock<'_>, terms: &BlockTerms) -> StagedBlock {
        let number = self.head.blocks();
        let staged = self.head.stage(block);
        self.live.write().index.merge(number, staged.meta, terms);
        StagedBlock {
            live: self.live.clone(),
            blocks: number + 1,
            next_seq: self.head.next_seq(),
            offset: staged.meta.offset,
            header: staged.header,
            frame: Vec::new(),
        }
    }

    /// Commits, as an empty block, checkpoints that moved over duplicates only. At most once a second, says the caller.
    pub fn flush_checkpoints(&mut self, now: Micros) {
        if self.moved.is_empty() {
            return;
        }
        let runs = std::mem::take(&mut self.moved);
        let block = NewBlock { line_hashes: &[], raw_len: 0, frame: &[], time_min: now, time_max: now, runs };
        let staged = self.stage_block(block, &BlockTerms::default());
        self.send(Job { block: Some(staged), ..Job::default() });
    }

    fn roll_if_full(&mut self, raw_len: u64, time: Micros, now: Micros) {
        let limits = &self.shared.limits;
        let full = self.head.raw_len() + raw_len > limits.segment_raw_bytes
            || self.head.blocks() >= limits.segment_blocks
            || self.live.read().index.memory_bytes() > limits.live_index_bytes;
        let day_over = self.head.raw_len() >= limits.day_raw_bytes && {
            let live = self.live.read();
            let first = live.index.metas().iter().find(|block| block.events > 0);
            // By the clock and by the events: replaying a month of logs does not make a segment per day unless days are large.
            first.is_some_and(|block| day_of(now) > day_of(self.head.created_at()) && day_of(time) > day_of(block.time_min))
        };
        if !self.head.is_empty() && (full || day_over) {
            self.roll(now);
        }
    }

    /// Ends the segment and begins the next; the writer makes both durable, the sealer gives the ended one its final form.
    pub fn roll(&mut self, now: Micros) {
        self.head.carry(&self.shared.carried.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let rolled = self.head.roll(now);
        let ended = self.live.clone();
        // The file does not exist before the writer makes it; nothing reads it before a block in it is durable.
        let next = Arc::new(Live::new(rolled.segment, LiveIndex::new(), Arc::new(NotYet), self.head.next_seq()));
        with_live(&self.shared, next.clone());
        self.live = next.clone();
        self.send(Job { rolled: Some(RolledSegment { rolled, ended, next }), ..Job::default() });
    }

    fn send(&self, job: Job) {
        // The writer is gone after a fault: everything staged since is forgotten when the store is opened again.
        let _ = self.jobs.send(job);
    }

    /// Where every stream stands with all that was committed, durable or not.
    pub fn checkpoints(&self) -> Checkpoints {
        let mut checkpoints = self.head.checkpoints().clone();
        for run in &self.moved {
            match run.checkpoint.as_deref() {
                Some([]) => drop(checkpoints.remove(&run.stream)),
                Some(value) => drop(checkpoints.insert(run.stream.clone(), value.to_vec())),
                None => {}
            }
        }
        checkpoints
    }

    /// The stream's checkpoint with all that was committed.
    pub fn checkpoint(&self, stream: &str) -> Option<Vec<u8>> {
        let moved = self.moved.iter().find(|run| run.stream == stream).and_then(|run| run.checkpoint.clone());
        moved.or_else(|| self.head.checkpoints().get(stream).cloned())
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn view(&self) -> Arc<View> {
        self.shared.view()
    }
}

/// A block on its way to the disk.
pub(super) struct StagedBlock {
    pub live: Arc<Live>,
    /// Blocks of the segment, and sequence number behind them, once this one is durable.
    pub blocks: u32,
    pub next_seq: u64,
    pub offset: u64,
    pub header: Vec<u8>,
    pub frame: Vec<u8>,
}

impl StagedBlock {
    fn with_frame(self, frame: Vec<u8>) -> StagedBlock {
        StagedBlock { frame, ..self }
    }
}

/// The change from one segment to the next, on its way to the disk.
pub(super) struct RolledSegment {
    pub rolled: crate::journal::head::Rolled,
    pub ended: Arc<Live>,
    pub next: Arc<Live>,
}

fn run_of(batch: &mut Batch) -> Run {
    let ids = batch.explicit_ids().to_vec();
    let (events, tombstones) = (batch.events, batch.tombstones());
    let origin = &mut batch.origin;
    let keeps_checkpoint = !origin.stream.is_empty();
    Run {
        source: origin.source.name.clone(),
        decoder: origin.source.format.name().into(),
        stream: origin.stream.to_string(),
        received_at: origin.received_at,
        events,
        reflowed: origin.reflowed,
        tombstones,
        checkpoint: keeps_checkpoint.then(|| std::mem::take(&mut origin.checkpoint)),
        ids,
    }
}

/// Stands for a segment file that the writer has yet to create.
struct NotYet;

fn not_yet() -> io::Error {
    io::Error::other("the segment file does not exist yet")
}

impl crate::journal::fs::File for NotYet {
    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        Err(not_yet())
    }
    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(not_yet())
    }
    fn sync_data(&self) -> io::Result<()> {
        Err(not_yet())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(not_yet())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
}
