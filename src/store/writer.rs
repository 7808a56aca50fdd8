//! Makes committed blocks durable: one write and one fdatasync for all that is waiting (group commit).
use super::commit::{Committed, RolledSegment, StagedBlock};
use super::quarantine::QuarantineRecord;
use super::schemas::Drift;
use super::seal::{SealStep, SealTask};
use super::{Shared, Store};
use crate::events::Field;
use crate::events::shape::Shape;
use crate::events::time;
use crate::journal::fs::File;
use crate::journal::head;
use crate::journal::log::LogError;
use crate::sources::Origin;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// At most so many bytes are written before a sync.
const GROUP_BYTES_MAX: usize = 8 << 20;

#[derive(Default)]
pub(super) struct Job {
    /// Durable in quarantine before the block that passes over them.
    pub refused: Vec<QuarantineRecord>,
    /// Learnt when the block is durable.
    pub shapes: Vec<Shape>,
    pub block: Option<StagedBlock>,
    /// Tombstones in the block that were read from another journal. The ledger tells of them before they are there.
    pub tombstones: u32,
    pub rolled: Option<RolledSegment>,
    pub ticket: Option<Ticket>,
}

/// Comes back when all that a batch brought is durable.
#[derive(Debug)]
pub struct Ticket {
    /// With the permit, to be given back.
    pub origin: Origin,
    pub committed: Committed,
    /// Indicators in the events, by kind, and texts that could not be looked through.
    pub detections: Vec<(Field, u32)>,
    pub unread_texts: u64,
    pub committed_at: Instant,
}

/// What one sync made durable.
#[derive(Debug, Default)]
pub struct Durable {
    pub tickets: Vec<Ticket>,
    /// Segment and length that are durable, and the sequence number behind the last event.
    pub segment: u64,
    pub len: u64,
    pub next_seq: u64,
    pub sync_seconds: f64,
    /// Members of events that came with another type than before.
    pub drifts: Vec<Drift>,
    /// Why what the events look like could not be written down; it is tried again.
    pub not_learnt: Option<LogError>,
}

/// A write or a sync failed: nothing behind `trusted_len` of `segment` was acknowledged, and this writer is done.
#[derive(Debug, thiserror::Error)]
#[error("cannot write segment {segment} of the journal: {source}")]
pub struct Fault {
    pub segment: u64,
    pub trusted_len: u64,
    /// It was the sync that failed.
    pub in_sync: bool,
    pub source: io::Error,
}

pub struct Writer {
    shared: Arc<Shared>,
    file: Arc<dyn File>,
    segment: u64,
    /// Bytes of the segment that are durable.
    durable_len: u64,
    next_seq: u64,
    syncing: bool,
    jobs: mpsc::Receiver<Job>,
    seals: mpsc::Sender<SealTask>,
}

/// Whether [`Writer::step`] waits for something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Block,
    Never,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        file: Arc<dyn File>,
        (segment, durable_len, next_seq): (u64, u64, u64),
        jobs: mpsc::Receiver<Job>,
        seals: mpsc::Sender<SealTask>,
    ) -> Writer {
        Writer { shared, file, segment, durable_len, next_seq, syncing: false, jobs, seals }
    }

    /// Writes and syncs until the committer is gone or a fault ends it; `durable` is called after every sync.
    pub fn run(mut self, mut durable: impl FnMut(Durable)) -> Result<(), Fault> {
        while let Some(done) = self.step(Wait::Block)? {
            durable(done);
        }
        Ok(())
    }

    /// Makes durable what is waiting. `None`: nothing is waiting, or (when waiting was allowed) the committer is gone.
    pub fn step(&mut self, wait: Wait) -> Result<Option<Durable>, Fault> {
        let first = match wait {
            Wait::Block => self.jobs.recv().ok(),
            Wait::Never => self.jobs.try_recv().ok(),
        };
        let Some(first) = first else { return Ok(None) };
        let mut group = vec![first];
        let size = |job: &Job| job.block.as_ref().map_or(0, |block| block.header.len() + block.frame.len());
        let mut bytes = size(&group[0]);
        while group.last().is_some_and(|job| job.rolled.is_none())
            && bytes < GROUP_BYTES_MAX
            && let Ok(job) = self.jobs.try_recv()
        {
            bytes += size(&job);
            group.push(job);
        }
        let started = Instant::now();
        if let Err(source) = self.write(&mut group) {
            return Err(Fault { segment: self.segment, trusted_len: self.durable_len, in_sync: self.syncing, source });
        }
        let shapes: Vec<Shape> = group.iter_mut().flat_map(|job| std::mem::take(&mut job.shapes)).collect();
        let (drifts, not_learnt) = match self.shared.learn(&shapes, time::now()) {
            Ok(drifts) => (drifts, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        Ok(Some(Durable {
            drifts,
            not_learnt,
            tickets: group.into_iter().filter_map(|job| job.ticket).collect(),
            segment: self.segment,
            len: self.durable_len,
            next_seq: self.next_seq,
            sync_seconds: started.elapsed().as_secs_f64(),
        }))
    }

    fn write(&mut self, group: &mut [Job]) -> io::Result<()> {
        let refused: Vec<QuarantineRecord> = group.iter_mut().flat_map(|job| std::mem::take(&mut job.refused)).collect();
        if !refused.is_empty() {
            self.shared.quarantine().put(&refused, time::now()).map_err(io::Error::other)?;
        }
        let tombstones: u64 = group.iter().map(|job| u64::from(job.tombstones)).sum();
        if tombstones > 0 {
            // A group lies in one segment.
            let details = serde_json::json!({ "segment": self.segment, "events": tombstones });
            Store(self.shared.clone()).record("tombstones_loaded", details, time::now()).map_err(io::Error::other)?;
        }
        let blocks: Vec<&StagedBlock> = group.iter().filter_map(|job| job.block.as_ref()).collect();
        if let (Some(first), Some(last)) = (blocks.first(), blocks.last()) {
            let pieces: Vec<&[u8]> = blocks.iter().flat_map(|block| [&block.header[..], &block.frame[..]]).collect();
            assert_eq!(first.offset, self.durable_len, "blocks are appended without gaps");
            self.file.write_at(&pieces, first.offset)?;
            self.syncing = true;
            self.file.sync_data()?;
            self.syncing = false;
            self.durable_len = last.offset + (last.header.len() + last.frame.len()) as u64;
            self.next_seq = last.next_seq;
            last.live.set_durable(last.blocks, last.next_seq);
            self.shared.durable.send_if_modified(|seq| std::mem::replace(seq, last.next_seq) != last.next_seq);
        }
        // A roll ends its group: all that stands before it is durable by now.
        if let Some(rolled) = group.last_mut().and_then(|job| job.rolled.take()) {
            let file = head::create(&*self.shared.fs, &self.shared.layout.journal, rolled.rolled.segment, &rolled.rolled.opening)?;
            rolled.next.write().file = file.clone();
            let ended = std::mem::replace(&mut self.file, file);
            self.segment = rolled.rolled.segment;
            self.durable_len = rolled.rolled.opening.len() as u64;
            let task =
                SealTask { live: rolled.ended, file: ended, len: rolled.rolled.ended_len, seal: rolled.rolled.seal, step: SealStep::Ended };
            // Without a sealer (it ended first) the segment is sealed when the store is opened again.
            let _ = self.seals.send(task);
        }
        Ok(())
    }
}
