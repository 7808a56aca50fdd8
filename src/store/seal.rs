//! Gives an ended segment its final form: small live blocks rewritten into large ones, the seal, the sidecar.
//!
//! Everything is written under temporary names, synced, and renamed; a crash at any point leaves the old or the new.
use super::view::{Live, Sealed};
use super::{Shared, View};
use crate::index::BlockMeta;
use crate::index::live::LiveIndex;
use crate::index::sidecar::{self, Sidecar, SidecarError, SidecarHead};
use crate::journal::block::{Block, Digest, Header, Seal};
use crate::journal::fs::{File, Fs};
use crate::journal::segment::{self, BlockReader, Damage, ReadError};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How long until a segment that could not be sealed is tried again.
pub const SEAL_AGAIN: Duration = Duration::from_secs(10);

/// Blocks are merged up to so many bytes of lines and so many events.
const MERGED_RAW_BYTES: u32 = 512 << 10;
const MERGED_EVENTS: u32 = 4096;
/// … and so many blocks: each may bring names and runs of its own, also one without events.
const MERGED_BLOCKS_MAX: usize = 4096;
/// Merging pays when it at least halves the number of blocks.
const MERGE_FACTOR: usize = 2;

pub(super) struct SealTask {
    pub live: Arc<Live>,
    pub file: Arc<dyn File>,
    /// Length of the segment without its seal, bytes.
    pub len: u64,
    pub seal: Seal,
    pub step: SealStep,
}

/// How far sealing came: an attempt after a failure goes on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealStep {
    Ended,
    /// The seal is in the file under its own name; the file's length, bytes.
    InPlace(u64),
    /// The segment was rewritten, sealed, under its temporary name; readers use it already.
    Aside(u64),
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot seal segment {segment}: {source}")]
    Io { segment: u64, source: io::Error },
    #[error("cannot seal segment {}: {source}", damage.segment)]
    Damaged { damage: Damage, source: ReadError },
    #[error("the sidecar just written cannot be opened: {0}")]
    Sidecar(#[from] SidecarError),
}

/// What was sealed, for the log, the metrics and the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct SealedReport {
    pub head: SidecarHead,
    pub blocks_before: usize,
    pub blocks: usize,
    pub journal_bytes: u64,
    pub sidecar_bytes: u64,
    pub seconds: f64,
}

pub struct Sealer {
    shared: Arc<Shared>,
    tasks: mpsc::Receiver<SealTask>,
}

impl Sealer {
    pub(super) fn new(shared: Arc<Shared>, tasks: mpsc::Receiver<SealTask>) -> Sealer {
        Sealer { shared, tasks }
    }

    /// Seals what comes until the writer is gone. A segment that cannot be sealed stays as it is, complete and its index in
    /// memory, and is tried again after `pause` (and once more at the end); the committer's caller takes no more while
    /// there are many of them.
    pub fn run(self, pause: Duration, mut sealed: impl FnMut(Result<SealedReport, SealError>)) {
        let mut failed: VecDeque<SealTask> = VecDeque::new();
        let mut ends = false;
        while !ends {
            let task = match self.tasks.recv_timeout(if failed.is_empty() { Duration::MAX } else { pause }) {
                Ok(task) => Some(task),
                Err(mpsc::RecvTimeoutError::Timeout) => failed.pop_front(),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    ends = true;
                    None
                }
            };
            let again = if ends { failed.drain(..).collect() } else { Vec::new() };
            for mut task in task.into_iter().chain(again) {
                let outcome = self.seal(&mut task);
                if outcome.is_err() {
                    failed.push_back(task);
                }
                sealed(outcome);
            }
        }
    }

    /// Seals what waits, without waiting for more.
    pub fn step(&self) -> Option<Result<SealedReport, SealError>> {
        self.tasks.try_recv().ok().map(|mut task| self.seal(&mut task))
    }

    fn seal(&self, task: &mut SealTask) -> Result<SealedReport, SealError> {
        let started = std::time::Instant::now();
        let number = task.live.number;
        let io_error = |source| SealError::Io { segment: number, source };
        let blocks_before = task.live.read().index.metas().len();
        if task.step == SealStep::Ended {
            let merged = merge_plan(task.live.read().index.metas());
            task.step = match merged {
                Some(groups) => {
                    let Rewritten { file, new_block_of_old, metas, len } = self.rewrite(task, &groups)?;
                    let mut live = task.live.write();
                    live.index.renumber(&new_block_of_old, metas);
                    let before = std::mem::replace(&mut live.file, file);
                    live.file_before = Some(before);
                    task.live.set_durable(live.index.metas().len() as u32, task.seal.next_seq);
                    SealStep::Aside(len)
                }
                None => {
                    let seal = Header::Seal(task.seal.clone()).encode();
                    task.file.write_at(&[&seal], task.len).and_then(|()| task.file.sync_data()).map_err(io_error)?;
                    SealStep::InPlace(task.len + seal.len() as u64)
                }
            };
        }
        let (SealStep::InPlace(journal_len) | SealStep::Aside(journal_len)) = task.step else { unreachable!("set just above") };
        let live = task.live.read();
        let head = sidecar_head(number, &live.index, task.seal.digest, journal_len);
        let bytes = sidecar::build(&live.index, head);
        let blocks = live.index.metas().len();
        drop(live);
        self.put_in_place(task, &bytes, journal_len).map_err(io_error)?;
        let sidecar = open_sidecar(&self.shared, number).map_err(io_error)??;
        self.publish(number, sidecar);
        let (sidecar_bytes, seconds) = (bytes.len() as u64, started.elapsed().as_secs_f64());
        Ok(SealedReport { head, blocks_before, blocks, journal_bytes: journal_len, sidecar_bytes, seconds })
    }

    /// Gives segment and sidecar their names, durably. The sidecar last: a stale one is made again, a missing segment not.
    fn put_in_place(&self, task: &mut SealTask, sidecar: &[u8], journal_len: u64) -> io::Result<()> {
        let (fs, dir) = (&*self.shared.fs, &self.shared.layout.journal);
        let (segment, index) = (segment::file_name(task.live.number), segment::sidecar_name(task.live.number));
        write_aside(fs, dir, &index, sidecar)?;
        if let SealStep::Aside(_) = task.step {
            fs.rename(&dir.join(temporary(&segment)), &dir.join(&segment))?;
            task.step = SealStep::InPlace(journal_len);
        }
        self.shared.pool.forget(&dir.join(&segment));
        fs.rename(&dir.join(temporary(&index)), &dir.join(&index))?;
        fs.sync_dir(dir)
    }

    /// Moves the segment from the live ones to the sealed ones, in one step for readers.
    fn publish(&self, number: u64, sidecar: Sidecar) {
        self.shared.update_view(|view| {
            let generation = view.generation + 1;
            let file = Some(self.shared.pooled_segment(number));
            let mut sealed = view.sealed.clone();
            sealed.push(Arc::new(Sealed { number, generation, sidecar, file }));
            sealed.sort_by_key(|sealed| sealed.number);
            let live = view.live.iter().filter(|live| live.number != number).cloned().collect();
            View { generation, sealed, live, probes: view.probes.clone() }
        });
    }

    /// Writes the segment with merged blocks under its temporary name, synced.
    fn rewrite(&self, task: &SealTask, groups: &[std::ops::Range<usize>]) -> Result<Rewritten, SealError> {
        let number = task.live.number;
        let io_error = |source| SealError::Io { segment: number, source };
        let dir = &self.shared.layout.journal;
        let old_metas = task.live.read().index.metas().to_vec();
        let opening_len = old_metas.first().map_or(task.len, |meta| meta.offset);
        let mut opening = vec![0; opening_len as usize];
        task.file.read_exact_at(&mut opening, 0).map_err(io_error)?;

        let path = dir.join(temporary(&segment::file_name(number)));
        let file = create_anew(&*self.shared.fs, &path).map_err(io_error)?;
        let mut out = Appender { file, len: 0, pending: opening };
        let mut metas = Vec::with_capacity(groups.len());
        let mut new_block_of_old = vec![0; old_metas.len()];
        let mut reader = BlockReader::default();
        let mut compressor = zstd::bulk::Compressor::new(1).map_err(io_error)?;
        let Ok(Header::Opening(before)) = Header::decode(&out.pending) else {
            return Err(damaged(number, 0, ReadError::Mismatch));
        };
        let mut digest = Digest::following(&before.previous_digest);
        for (new_number, group) in groups.iter().enumerate() {
            new_block_of_old[group.clone()].fill(new_number as u32);
            let merged =
                merge(&mut reader, &*task.file, &old_metas[group.clone()], &mut compressor, &mut digest).map_err(|(at, source)| {
                    let block = group.start + at;
                    let what = source.to_string();
                    SealError::Damaged {
                        damage: Damage { segment: number, block: Some(block as u32), offset: old_metas[block].offset, what },
                        source,
                    }
                })?;
            metas.push(out.append(merged).map_err(io_error)?);
        }
        // The only copy is about to be replaced: it must say what the chain says.
        if digest.value() != task.seal.digest {
            return Err(damaged(number, opening_len, ReadError::Mismatch));
        }
        let seal = Seal { blocks: metas.len() as u32, ..task.seal.clone() };
        out.pending.extend_from_slice(&Header::Seal(seal).encode());
        out.flush().and_then(|()| out.file.sync_data()).map_err(io_error)?;
        Ok(Rewritten { file: out.file, new_block_of_old, metas, len: out.len })
    }
}

fn damaged(segment: u64, offset: u64, source: ReadError) -> SealError {
    let what = "the blocks read back are not those of the chain".to_owned();
    SealError::Damaged { damage: Damage { segment, block: None, offset, what }, source }
}

struct Rewritten {
    file: Arc<dyn File>,
    new_block_of_old: Vec<u32>,
    metas: Vec<BlockMeta>,
    len: u64,
}

/// Groups of neighbouring blocks to merge; `None` when it would not pay. Blocks without events join their neighbours.
fn merge_plan(metas: &[BlockMeta]) -> Option<Vec<std::ops::Range<usize>>> {
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    let (mut raw, mut events) = (0, 0);
    for (number, meta) in metas.iter().enumerate() {
        let fits = raw + meta.raw_len <= MERGED_RAW_BYTES && events + meta.events <= MERGED_EVENTS;
        match groups.last_mut() {
            Some(group) if fits && group.len() < MERGED_BLOCKS_MAX => group.end = number + 1,
            _ => {
                groups.push(number..number + 1);
                (raw, events) = (0, 0);
            }
        }
        raw += meta.raw_len;
        events += meta.events;
    }
    (groups.len() * MERGE_FACTOR <= metas.len()).then_some(groups)
}

pub(super) struct Merged {
    pub header: Block,
    pub frame: Vec<u8>,
}

/// One block of several neighbours. The error names which of them could not be read.
fn merge(
    reader: &mut BlockReader,
    file: &dyn File,
    metas: &[BlockMeta],
    compressor: &mut zstd::bulk::Compressor<'static>,
    digest: &mut Digest,
) -> Result<Merged, (usize, ReadError)> {
    let mut lines = Vec::new();
    let mut all = Vec::new();
    let mut hashes = Vec::new();
    let mut merged: Option<Block> = None;
    for (at, meta) in metas.iter().enumerate() {
        let block = reader.read(file, meta, &mut lines).map_err(|error| (at, error))?;
        all.extend_from_slice(&lines);
        hashes.clear();
        segment::line_hashes(&block, &lines, &mut hashes).map_err(|error| (at, error))?;
        digest.update(&hashes);
        match &mut merged {
            None => merged = Some(block),
            Some(merged) => {
                if merged.events == 0 {
                    (merged.time_min, merged.time_max) = (block.time_min, block.time_max);
                } else if block.events > 0 {
                    merged.time_min = merged.time_min.min(block.time_min);
                    merged.time_max = merged.time_max.max(block.time_max);
                }
                merged.events += block.events;
                merged.raw_len += block.raw_len;
                merged.digest = block.digest;
                for run in block.runs {
                    // Within a block only the last word on a checkpoint counts.
                    if run.checkpoint.is_some() {
                        merged.runs.iter_mut().filter(|earlier| earlier.stream == run.stream).for_each(|earlier| earlier.checkpoint = None);
                    }
                    merged.runs.push(run);
                }
                merged.runs.retain(|run| run.events > 0 || run.checkpoint.is_some());
            }
        }
    }
    let mut header = merged.ok_or((0, ReadError::Mismatch))?;
    let frame = if all.is_empty() { Vec::new() } else { compressor.compress(&all).map_err(|error| (0, error.into()))? };
    header.data_len = frame.len() as u32;
    header.data_crc = crc32fast::hash(&frame);
    Ok(Merged { header, frame })
}

/// Appends with few, large writes.
pub(super) struct Appender {
    pub file: Arc<dyn File>,
    pub len: u64,
    pub pending: Vec<u8>,
}

impl Appender {
    pub fn append(&mut self, Merged { header: block, frame }: Merged) -> io::Result<BlockMeta> {
        let offset = self.len + self.pending.len() as u64;
        let (raw_len, first_seq, events, time_min, time_max) =
            (block.raw_len, block.first_seq, block.events, block.time_min, block.time_max);
        let header = Header::Block(block).encode();
        self.pending.extend_from_slice(&header);
        self.pending.extend_from_slice(&frame);
        if self.pending.len() >= 1 << 20 {
            self.flush()?;
        }
        let (header_len, data_len) = (header.len() as u32, frame.len() as u32);
        Ok(BlockMeta { offset, header_len, data_len, raw_len, first_seq, events, time_min, time_max })
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&[&self.pending], self.len)?;
        self.len += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

pub(super) fn sidecar_head(segment: u64, index: &LiveIndex, digest: [u8; 32], journal_len: u64) -> SidecarHead {
    let metas = index.metas();
    let with_events = || metas.iter().filter(|meta| meta.events > 0);
    SidecarHead {
        segment,
        first_seq: metas.first().map_or(0, |meta| meta.first_seq),
        events: metas.iter().map(|meta| u64::from(meta.events)).sum(),
        raw_bytes: metas.iter().map(|meta| u64::from(meta.raw_len)).sum(),
        journal_len,
        digest,
        time_min: with_events().map(|meta| meta.time_min).min().unwrap_or(0),
        time_max: with_events().map(|meta| meta.time_max).max().unwrap_or(0),
    }
}

/// Writes a sidecar in place of a missing or stale one.
pub(super) fn write_sidecar(fs: &dyn Fs, dir: &Path, number: u64, bytes: &[u8]) -> io::Result<()> {
    let name = segment::sidecar_name(number);
    write_aside(fs, dir, &name, bytes)?;
    fs.rename(&dir.join(temporary(&name)), &dir.join(&name))?;
    fs.sync_dir(dir)
}

pub(super) fn open_sidecar(shared: &Shared, number: u64) -> io::Result<Result<Sidecar, SidecarError>> {
    let path = shared.layout.journal.join(segment::sidecar_name(number));
    shared.pool.forget(&path);
    Ok(Sidecar::open(shared.fs.map(&path)?, shared.pool.file(path)))
}

/// `NAME.tmp`
pub(super) fn temporary(name: &str) -> String {
    format!("{name}.tmp")
}

pub(super) fn write_aside(fs: &dyn Fs, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = create_anew(fs, &dir.join(temporary(name)))?;
    file.write_at(&[bytes], 0)?;
    file.sync_data()
}

/// Creates a file whose name an earlier attempt may have left behind.
pub(super) fn create_anew(fs: &dyn Fs, path: &Path) -> io::Result<Arc<dyn File>> {
    match fs.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs.remove(path)?;
            fs.create(path)
        }
        created => created,
    }
}
