//! The head of a journal: what the next block needs to know, and how it is found again after a crash.
//!
//! Staging is arithmetic in memory; whoever owns the file writes the bytes. So a commit costs no system call, and the
//! writer can put many staged blocks into one write and one sync.
use super::block::{Block, Checkpoints, Digest, GENESIS, Header, Opening, Run, Seal};
use super::fs::{File, Fs};
use super::segment::{self, BlockReader, Damage, Scan, ScannedBlock};
use crate::events::{EventId, Micros};
use crate::index::BlockMeta;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A block on its way in.
pub struct NewBlock<'a> {
    /// 128-bit BLAKE3 of every line, in order.
    pub line_hashes: &'a [EventId],
    pub raw_len: u32,
    /// The zstd frame; empty when there are no events.
    pub frame: &'a [u8],
    pub time_min: Micros,
    pub time_max: Micros,
    pub runs: Vec<Run>,
}

/// A block with its place in the journal.
#[derive(Debug)]
pub struct Staged {
    pub meta: BlockMeta,
    pub header: Vec<u8>,
}

/// The end of one segment and the beginning of the next.
#[derive(Debug)]
pub struct Rolled {
    /// Segment that ends here, and its seal, still to be written.
    pub ended: u64,
    pub ended_len: u64,
    pub seal: Seal,
    /// Segment that begins, and its first frame.
    pub segment: u64,
    pub opening: Vec<u8>,
}

pub struct Head {
    segment: u64,
    /// Bytes staged into the segment so far.
    len: u64,
    next_seq: u64,
    events: u64,
    raw_len: u64,
    blocks: u32,
    created_at: Micros,
    /// The digest of the segment before.
    digest_before: [u8; 32],
    digest: Digest,
    checkpoints: Checkpoints,
}

impl Head {
    /// Begins segment `number` behind `previous` (number, length, digest), or as the first ever.
    pub fn begin(number: u64, first_seq: u64, previous: (u64, u64, [u8; 32]), checkpoints: Checkpoints, now: Micros) -> (Head, Vec<u8>) {
        let (previous, previous_len, previous_digest) = previous;
        let opening =
            Header::Opening(Opening { segment: number, created_at: now, first_seq, previous, previous_len, previous_digest, checkpoints });
        let bytes = opening.encode();
        let Header::Opening(Opening { checkpoints, .. }) = opening else { unreachable!("made two lines above") };
        let head = Head {
            segment: number,
            len: bytes.len() as u64,
            next_seq: first_seq,
            events: 0,
            raw_len: 0,
            blocks: 0,
            created_at: now,
            digest_before: previous_digest,
            digest: Digest::following(&previous_digest),
            checkpoints,
        };
        (head, bytes)
    }

    /// The first segment of an empty journal.
    pub fn genesis(now: Micros) -> (Head, Vec<u8>) {
        Head::begin(1, 1, (0, 0, GENESIS), Checkpoints::new(), now)
    }

    /// Gives the block its sequence numbers, its place and its digest, and moves the checkpoints of its runs.
    pub fn stage(&mut self, block: NewBlock<'_>) -> Staged {
        let events = block.line_hashes.len() as u32;
        debug_assert_eq!(u64::from(events), block.runs.iter().map(|run| u64::from(run.events)).sum::<u64>());
        debug_assert_eq!(events == 0, block.frame.is_empty());
        self.digest.update(block.line_hashes);
        for run in &block.runs {
            self.move_checkpoint(run);
        }
        let header = Block {
            first_seq: self.next_seq,
            events,
            raw_len: block.raw_len,
            data_len: block.frame.len() as u32,
            data_crc: crc32fast::hash(block.frame),
            time_min: block.time_min,
            time_max: block.time_max,
            digest: self.digest.value(),
            runs: block.runs,
        };
        let header = Header::Block(header).encode();
        let meta = BlockMeta {
            offset: self.len,
            header_len: header.len() as u32,
            data_len: block.frame.len() as u32,
            raw_len: block.raw_len,
            first_seq: self.next_seq,
            events,
            time_min: block.time_min,
            time_max: block.time_max,
        };
        self.count(&meta);
        Staged { meta, header }
    }

    fn move_checkpoint(&mut self, run: &Run) {
        match &run.checkpoint {
            Some(value) if value.is_empty() => drop(self.checkpoints.remove(&run.stream)),
            Some(value) => match self.checkpoints.get_mut(&run.stream) {
                Some(known) => known.clone_from(value),
                None => drop(self.checkpoints.insert(run.stream.clone(), value.clone())),
            },
            None => {}
        }
    }

    fn count(&mut self, meta: &BlockMeta) {
        self.len += u64::from(meta.header_len) + u64::from(meta.data_len);
        self.next_seq += u64::from(meta.events);
        self.events += u64::from(meta.events);
        self.raw_len += u64::from(meta.raw_len);
        self.blocks += 1;
    }

    /// Takes over checkpoints that no run moves: they stand in the next segment's opening.
    pub fn carry(&mut self, carried: &Checkpoints) {
        for (name, value) in carried {
            match value.is_empty() {
                true => drop(self.checkpoints.remove(name)),
                false => drop(self.checkpoints.insert(name.clone(), value.clone())),
            }
        }
    }

    /// Ends this segment and begins the next.
    pub fn roll(&mut self, now: Micros) -> Rolled {
        let seal = self.seal();
        let (ended, ended_len) = (self.segment, self.len);
        let checkpoints = std::mem::take(&mut self.checkpoints);
        let (head, opening) = Head::begin(ended + 1, self.next_seq, (ended, ended_len, seal.digest), checkpoints, now);
        *self = head;
        Rolled { ended, ended_len, seal, segment: ended + 1, opening }
    }

    /// The seal the segment would get if it ended here.
    pub fn seal(&self) -> Seal {
        // A segment without a block adds nothing to the chain.
        let digest = if self.blocks == 0 { self.digest_before } else { self.digest.value() };
        Seal { next_seq: self.next_seq, events: self.events, blocks: self.blocks, raw_len: self.raw_len, digest }
    }

    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// Length of the segment with all that is staged, bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// No event is in the segment yet.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    pub fn raw_len(&self) -> u64 {
        self.raw_len
    }

    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub fn created_at(&self) -> Micros {
        self.created_at
    }

    pub fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }
}

/// Removes the segments behind `segment`: begun by a writer that failed, and never acknowledged.
pub fn remove_behind(fs: &dyn Fs, dir: &Path, segment: u64) -> io::Result<()> {
    for entry in fs.list(dir)? {
        if segment::number_of(&entry.name).is_some_and(|number| number > segment) {
            fs.remove(&dir.join(entry.name))?;
            fs.sync_dir(dir)?;
        }
    }
    Ok(())
}

/// Keeps all of a torn tail as a file of `dir`; quarantine's record of it holds the beginning only.
pub fn keep_torn(fs: &dyn Fs, dir: &Path, torn: &TornTail, now: Micros) -> io::Result<()> {
    let file = fs.create(&dir.join(format!("torn-{:08}-{}-{now}.bin", torn.segment, torn.offset)))?;
    file.write_at(&[&torn.bytes], 0)?;
    file.sync_data()?;
    fs.sync_dir(dir)
}

/// What stood behind the last whole block of the last segment when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    pub segment: u64,
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// The last segment as found, its blocks already shown to the caller.
pub struct Resumed {
    pub head: Head,
    /// Open for writing; `head` goes on in it.
    pub file: Arc<dyn File>,
    pub damage: Vec<Damage>,
}

/// Why the last segment cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error("cannot open segment {segment}: {source}")]
    Io { segment: u64, source: io::Error },
    #[error("cannot put the torn end of segment {segment} aside: {source}")]
    Quarantine { segment: u64, source: io::Error },
}

/// How the last segment is to be opened.
pub struct ResumeOptions<'a> {
    /// The journal's directory.
    pub dir: &'a Path,
    pub segment: u64,
    /// Length known to be committed: bytes below it that cannot be read are damage, not a torn append.
    pub committed_len: u64,
    /// After a failed write: what stands behind this length was never acknowledged and is dropped.
    pub trusted_len: Option<u64>,
    /// Sequence numbers below this have been given out.
    pub next_seq_min: u64,
    pub now: Micros,
}

/// Opens the last segment of a journal: shows every whole block to `block` with its lines, puts a torn end aside through
/// `torn` and cuts it off, and begins a new segment where this one cannot be appended to (sealed, damaged, or in doubt).
///
/// `None`: the file holds nothing that was acknowledged; it was removed (or, when it has bytes that cannot be read, renamed and
/// reported through `torn`), and the segment before it is the last.
pub fn resume(
    fs: &dyn Fs,
    options: &ResumeOptions<'_>,
    checkpoints_before: impl FnOnce() -> Checkpoints,
    torn: impl FnOnce(TornTail) -> io::Result<()>,
    mut block: impl FnMut(&ScannedBlock, &[u8]),
) -> Result<Option<Resumed>, ResumeError> {
    let segment = options.segment;
    let io_error = |source| ResumeError::Io { segment, source };
    let path = options.dir.join(segment::file_name(segment));
    let file = fs.open(&path).map_err(io_error)?;
    if let Some(trusted) = options.trusted_len
        && file.len().map_err(io_error)? > trusted
    {
        file.set_len(trusted).map_err(io_error)?;
    }
    let Scan { opening, blocks, seal, end, file_len, mut damage } = segment::scan(&*file, segment, true).map_err(io_error)?;
    let nothing_acknowledged = blocks.is_empty() && options.trusted_len.is_some();
    if file_len == 0 || nothing_acknowledged {
        fs.remove(&path).and_then(|()| fs.sync_dir(options.dir)).map_err(io_error)?;
        return Ok(None);
    }
    if opening.is_none() && blocks.is_empty() {
        // A torn opening, or damage from end to end: no way to tell, so not a byte is thrown away.
        let mut bytes = vec![0; file_len as usize];
        file.read_exact_at(&mut bytes, 0).map_err(io_error)?;
        torn(TornTail { segment, offset: 0, bytes }).map_err(|source| ResumeError::Quarantine { segment, source })?;
        fs.remove(&path).and_then(|()| fs.sync_dir(options.dir)).map_err(io_error)?;
        return Ok(None);
    }
    let mut appendable = seal.is_none() && damage.is_empty() && opening.is_some() && options.trusted_len.is_none();
    if file_len > end && seal.is_none() {
        if end < options.committed_len {
            // Not a torn append: these bytes were committed once. Leave them where they are.
            let block = Some(blocks.len() as u32);
            damage.push(Damage { segment, block, offset: end, what: "committed bytes can no longer be read".into() });
            appendable = false;
        } else {
            let mut bytes = vec![0; (file_len - end) as usize];
            file.read_exact_at(&mut bytes, end).map_err(io_error)?;
            torn(TornTail { segment, offset: end, bytes }).map_err(|source| ResumeError::Quarantine { segment, source })?;
            file.set_len(end).map_err(io_error)?;
        }
    }
    // What the page cache still had from before a crash becomes durable before anything is built on it.
    file.sync_data().and_then(|()| fs.sync_dir(options.dir)).map_err(io_error)?;

    let first_seq = opening.as_ref().map_or_else(|| blocks[0].meta.first_seq, |opening| opening.first_seq);
    let (previous, previous_digest) = opening.as_ref().map_or((0, GENESIS), |opening| (opening.previous, opening.previous_digest));
    let checkpoints = match opening {
        Some(opening) => opening.checkpoints,
        None => checkpoints_before(),
    };
    let (mut head, opening_bytes) = Head::begin(segment, first_seq, (previous, 0, previous_digest), checkpoints, options.now);
    head.len = blocks.first().map_or(end.max(opening_bytes.len() as u64), |block| block.meta.offset);
    let mut last_digest = previous_digest;
    let mut reader = BlockReader::default();
    let mut lines = Vec::new();
    let mut hashes = Vec::new();
    for (number, found) in blocks.iter().enumerate() {
        last_digest = found.header.digest;
        head.next_seq = found.meta.first_seq;
        head.len = found.meta.offset;
        head.count(&found.meta);
        found.header.runs.iter().for_each(|run| head.move_checkpoint(run));
        hashes.clear();
        let read = reader.read(&*file, &found.meta, &mut lines);
        if let Err(error) = read.and_then(|block| segment::line_hashes(&block, &lines, &mut hashes)) {
            damage.push(Damage { segment, block: Some(number as u32), offset: found.meta.offset, what: error.to_string() });
            appendable = false;
            continue;
        }
        head.digest.update(&hashes);
        if damage.is_empty() && (head.digest.value() != found.header.digest || hashes.len() != found.meta.events as usize) {
            let what = "the running digest does not match the events".to_string();
            damage.push(Damage { segment, block: Some(number as u32), offset: found.meta.offset, what });
            appendable = false;
        }
        block(found, &lines);
    }
    if appendable {
        head.len = end;
        return Ok(Some(Resumed { head, file, damage }));
    }
    let len = file.len().map_err(io_error)?;
    let checkpoints = head.checkpoints;
    let first_seq = head.next_seq.max(options.next_seq_min);
    let (head, opening) = Head::begin(segment + 1, first_seq, (segment, len, last_digest), checkpoints, options.now);
    let file = create(fs, options.dir, segment + 1, &opening).map_err(io_error)?;
    Ok(Some(Resumed { head, file, damage }))
}

/// Creates a segment file with its opening frame, durably.
pub fn create(fs: &dyn Fs, dir: &Path, number: u64, opening: &[u8]) -> io::Result<Arc<dyn File>> {
    let path = dir.join(segment::file_name(number));
    let file = match fs.create(&path) {
        // Left by a crash, or by a failed attempt, before its opening was durable: nothing was ever acknowledged from it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !segment::scan(&*fs.open(&path)?, number, false)?.blocks.is_empty() {
                return Err(error);
            }
            fs.remove(&path)?;
            fs.create(&path)?
        }
        created => created?,
    };
    file.write_at(&[opening], 0)?;
    file.sync_data()?;
    fs.sync_dir(dir)?;
    Ok(file)
}
