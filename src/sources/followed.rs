//! One file that a tail follows: its descriptor, its position, and the reading of what was added. What happens *between*
//! files (rotation, copies) is the tail's business.
use super::archive::{Decoded, Expansion, Fault, refused_archive};
use super::checkpoint::{
    Checkpoint, Container, FileId, Hash, MARKER_BYTES_MAX, PREFIX_BYTES_MAX, Trail, display_path, hash_of, stream_name,
};
use super::framing::{Framer, Limits, Piece, State};
use super::{Chunk, Origin, Source};
use crate::events::Micros;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

/// Torn ends longer than this are read again rather than kept, bytes.
const PENDING_KEPT_BYTES_MAX: usize = 16 << 10;
/// How much of a file's beginning is kept to see cheaply that another cannot be its copy, bytes.
const FIRST_BYTES_MAX: usize = 256;

/// What the chunks of one poll have in common.
pub(crate) struct Reading<'a> {
    pub source: &'a Arc<Source>,
    pub run: u64,
    pub limits: Limits,
    pub now: Micros,
}

pub(crate) enum Input {
    Closed,
    Plain(File),
    Archive(Box<Decoded>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A pattern matches it.
    Listed,
    /// Renamed to a name that no pattern matches.
    Elsewhere,
    /// In no directory any more; what was open can still be read.
    Gone,
}

pub(crate) enum Outcome {
    /// Read what there was, or as much as was allowed.
    Read,
    /// What lay before the position is not there any more.
    Truncated,
    /// An archive does not hold the position it was to go on from; `len` is its length if it ended before.
    NotTheSame { len: Option<u64> },
}

pub(crate) struct Followed {
    pub id: FileId,
    pub stream: Arc<str>,
    pub path: PathBuf,
    display: Arc<str>,
    pub generation: u32,
    /// When this generation was first seen; kept in the checkpoint.
    pub first_seen: Micros,
    pub ordinal: u64,
    pub framer: Framer,
    pub input: Input,
    pub container: Option<Container>,
    /// An archive that was read to its end.
    pub finished: bool,
    /// Size when last looked at.
    pub size: u64,
    /// Size and time of change when last read to the end: unchanged means nothing to do.
    signature: Option<(u64, i64, i64)>,
    /// More was there than the budget allowed.
    pub unread: bool,
    pub active_at: Micros,
    pub place: Place,
    /// The path it had before it was renamed or deleted.
    pub rotated_from: Option<PathBuf>,
    /// Since when it has not been at that path.
    pub rotated_at: Micros,
    /// An archive: must hold this position, and is delivered from there.
    pub verify: Option<Checkpoint>,
    skim: Trail,
    /// The position was found and is continued here; the tail has not acted on it yet.
    pub taken_over: Option<Checkpoint>,
    /// A copy of that file, which is still being followed: only what the other loses will be read from this one.
    pub copy_of: Option<FileId>,
    pub copied_generation: u32,
    pub first: Vec<u8>,
    pub skipped_told: bool,
}

impl Followed {
    pub fn new(source: &Source, id: FileId, path: PathBuf, generation: u32, framer: Framer, now: Micros) -> Followed {
        Followed {
            id,
            stream: stream_name(&source.name, id),
            display: display_path(&path).into(),
            path,
            generation,
            first_seen: now,
            ordinal: 0,
            framer,
            input: Input::Closed,
            container: None,
            finished: false,
            size: 0,
            signature: None,
            unread: true,
            active_at: now,
            place: Place::Listed,
            rotated_from: None,
            rotated_at: now,
            verify: None,
            skim: Trail::default(),
            taken_over: None,
            copy_of: None,
            copied_generation: 0,
            first: Vec::new(),
            skipped_told: false,
        }
    }

    pub fn is_archive(&self) -> bool {
        self.container.is_some()
    }

    pub fn offset(&self) -> u64 {
        self.framer.position().1.offset()
    }

    /// Bytes not yet delivered, as far as known. For an archive: compressed ones.
    pub fn behind_bytes(&self) -> u64 {
        match (&self.input, self.container) {
            (_, Some(_)) if self.finished => 0,
            (Input::Archive(decoded), _) => {
                let (consumed, total) = decoded.progress();
                total.saturating_sub(consumed)
            }
            (_, Some(container)) => container.len,
            _ => self.size.saturating_sub(self.offset()),
        }
    }

    /// All that could be read has been; a torn end may wait.
    pub fn is_drained(&self) -> bool {
        if self.is_archive() { self.finished } else { !self.unread }
    }

    /// Drained, and nothing was added since.
    pub fn is_up_to_date(&self) -> bool {
        let grown = match &self.input {
            Input::Plain(file) => file.metadata().is_ok_and(|metadata| metadata.len() != self.size),
            _ => false,
        };
        self.is_drained() && !grown
    }

    /// Ends in the middle of a line.
    pub fn is_torn(&self) -> bool {
        !self.is_archive() && self.size > self.offset()
    }

    pub fn moved(&mut self, path: PathBuf, place: Place, now: Micros) {
        let old = std::mem::replace(&mut self.path, path);
        self.display = display_path(&self.path).into();
        self.place = place;
        self.rotated(old, now);
    }

    pub fn rotated(&mut self, from: PathBuf, now: Micros) {
        self.rotated_from = Some(from);
        self.rotated_at = now;
    }

    /// Begins anew, because the content was replaced.
    pub fn begin_generation(&mut self, limits: Limits, now: Micros) {
        self.generation += 1;
        self.first_seen = now;
        self.framer = Framer::new(limits);
        self.signature = None;
        self.unread = true;
        self.first.clear();
        self.skipped_told = false;
        self.size = 0;
    }

    pub fn resume_at(&mut self, limits: Limits, state: State, trail: Trail) {
        self.framer = Framer::resume(limits, state, trail);
        self.signature = None;
        self.unread = true;
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let (framing, trail) = self.framer.position();
        Checkpoint {
            file: self.id,
            generation: self.generation,
            first_seen: self.first_seen,
            offset: trail.offset(),
            prefix: trail.prefix(),
            marker: trail.marker(),
            framing,
            finished: self.finished,
            container: self.container,
            path: self.path.clone(),
        }
    }

    /// Where an archive is to go on once it is opened.
    pub fn archive_position(&self) -> Checkpoint {
        self.verify.clone().unwrap_or_else(|| self.checkpoint())
    }

    /// A chunk with the position behind it.
    pub fn chunk(&mut self, piece: Piece, reading: &Reading<'_>) -> Chunk {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        Chunk {
            origin: Origin {
                source: Arc::clone(reading.source),
                stream: Arc::clone(&self.stream),
                run: reading.run,
                ordinal,
                path: Arc::clone(&self.display),
                offset: piece.start,
                generation: self.generation,
                first_seen: self.first_seen,
                input_bytes: piece.end - piece.start,
                received_at: reading.now,
                reflowed: piece.reflowed,
                checkpoint: self.checkpoint().encode(),
                permit: None,
                only_sensors: None,
            },
            data: piece.data,
            places: piece.places,
            refused: piece.refused,
            stored: None,
        }
    }

    /// A chunk of nothing but the position.
    pub fn position_chunk(&mut self, reading: &Reading<'_>) -> Chunk {
        let at = self.offset();
        self.chunk(Piece { data: Vec::new(), places: Vec::new(), refused: Vec::new(), start: at, end: at, reflowed: false }, reading)
    }

    /// Whether what was read is still there. To be asked before anything of the file is believed.
    pub fn still_holds(&mut self) -> io::Result<bool> {
        let Input::Plain(file) = &self.input else { return Ok(true) };
        let len = file.metadata()?.len();
        if len < self.framer.trail().offset() {
            return Ok(false);
        }
        if len >= self.framer.read_offset() && holds(file, &self.framer)? {
            return Ok(true);
        }
        // Only the torn end changed: that was never delivered, and is read again.
        self.framer.forget_pending();
        holds(file, &self.framer)
    }

    /// Reads what was added to a plain file, at most about `budget` bytes; says how many.
    pub fn read_plain(&mut self, reading: &Reading<'_>, budget: usize, chunks: &mut Vec<Chunk>) -> io::Result<(Outcome, usize)> {
        let Input::Plain(file) = &self.input else { return Ok((Outcome::Read, 0)) };
        let metadata = file.metadata()?;
        let signature = signature(&metadata);
        if self.signature == Some(signature) && !self.unread {
            return Ok((Outcome::Read, 0));
        }
        if !self.still_holds()? {
            return Ok((Outcome::Truncated, 0));
        }
        let size = metadata.len();
        if size != self.size {
            self.active_at = reading.now;
        }
        self.size = size;
        let mut read = 0;
        let mut at = self.framer.read_offset();
        while at < size && read < budget {
            let Input::Plain(file) = &mut self.input else { break };
            let before = tail_of(&self.framer);
            file.seek(io::SeekFrom::Start(at))?;
            let wanted = usize::try_from(size - at).unwrap_or(usize::MAX).min(budget - read);
            let got = self.framer.fill(file, wanted)?;
            // Truncated and written anew while it was being read?
            let replaced = read_range(file, at - before.len() as u64, before.len())? != before;
            if replaced {
                self.framer.forget_pending();
                return Ok((Outcome::Truncated, read));
            }
            if got == 0 {
                break;
            }
            read += got;
            while let Some(piece) = self.framer.next_piece(false) {
                let chunk = self.chunk(piece, reading);
                chunks.push(chunk);
            }
            at = self.framer.read_offset();
        }
        self.flush(reading, chunks);
        self.unread = self.framer.read_offset() < size;
        self.signature = Some(signature);
        if self.framer.pending().len() > PENDING_KEPT_BYTES_MAX && !self.unread {
            self.framer.forget_pending();
        }
        Ok((Outcome::Read, read))
    }

    /// Delivers the torn end as it is: nothing more will be added to it.
    pub fn finish(&mut self, reading: &Reading<'_>, chunks: &mut Vec<Chunk>) -> io::Result<()> {
        self.read_again()?;
        while let Some(piece) = self.framer.finish() {
            let chunk = self.chunk(piece, reading);
            chunks.push(chunk);
        }
        Ok(())
    }

    /// The torn end, if it is of an input of lines and within the limit for one.
    pub fn torn_end(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.read_again()?;
        let (state, trail) = self.framer.position();
        let whole = trail.offset() == self.framer.trail().offset() && self.framer.read_offset() == self.size;
        Ok((whole && state == State::Lines).then(|| self.framer.pending().to_vec()))
    }

    /// Passes over the torn end, which was delivered with another file.
    pub fn skip_torn_end(&mut self, limits: Limits, reading: &Reading<'_>, chunks: &mut Vec<Chunk>) {
        let mut trail = self.framer.trail().clone();
        let start = trail.offset();
        trail.pass(self.framer.pending());
        let end = trail.offset();
        self.framer = Framer::resume(limits, State::Lines, trail);
        let chunk = self.chunk(Piece { data: Vec::new(), places: Vec::new(), refused: Vec::new(), start, end, reflowed: false }, reading);
        chunks.push(chunk);
    }

    /// Gets back bytes of the torn end that were not kept.
    fn read_again(&mut self) -> io::Result<()> {
        let Input::Plain(file) = &mut self.input else { return Ok(()) };
        loop {
            let at = self.framer.read_offset();
            if at >= self.size {
                return Ok(());
            }
            file.seek(io::SeekFrom::Start(at))?;
            if self.framer.fill(file, usize::try_from(self.size - at).unwrap_or(usize::MAX))? == 0 {
                return Ok(());
            }
        }
    }

    /// Makes an archive ready to be read from its beginning; `verify` is the position to go on from.
    pub fn open_archive(&mut self, file: File, expansion: Expansion, limits: Limits, verify: Option<Checkpoint>) -> io::Result<()> {
        self.container = Some(container_of(&file)?);
        self.input = Input::Archive(Box::new(Decoded::new(file, expansion)?));
        self.finished = false;
        self.skim = Trail::default();
        self.framer = Framer::new(limits);
        self.verify = verify.filter(|position| position.offset > 0);
        Ok(())
    }

    pub fn read_archive(&mut self, reading: &Reading<'_>, budget: usize, chunks: &mut Vec<Chunk>) -> io::Result<(Outcome, usize)> {
        let mut read = 0;
        while read < budget && !self.finished {
            let Input::Archive(decoded) = &mut self.input else { break };
            let result = if let Some(position) = &self.verify {
                let mut buffer = [0; 32 << 10];
                let missing = usize::try_from(position.offset - self.skim.offset()).unwrap_or(usize::MAX).min(buffer.len());
                let result = decoded.read(&mut buffer[..missing]);
                match result {
                    Ok(got) if got > 0 => {
                        self.skim.pass(&buffer[..got]);
                        if self.skim.offset() == position.offset {
                            if !self.skim.is_at(position) || (position.file != self.id && !self.skim.is_distinctive()) {
                                return Ok((Outcome::NotTheSame { len: None }, read));
                            }
                            self.framer = Framer::resume(reading.limits, position.framing, std::mem::take(&mut self.skim));
                            self.taken_over = self.verify.take();
                        }
                    }
                    Err(ref error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // Its end, or damage, before the position.
                    _ if result.as_ref().map_or_else(|error| Fault::of(error).is_some(), |_| true) => {
                        return Ok((Outcome::NotTheSame { len: Some(self.skim.offset()) }, read));
                    }
                    _ => {}
                }
                result
            } else {
                self.framer.fill(decoded, budget - read)
            };
            let fault = match result {
                Ok(0) => None,
                Ok(got) => {
                    read += got;
                    while let Some(piece) = self.framer.next_piece(false) {
                        let chunk = self.chunk(piece, reading);
                        chunks.push(chunk);
                    }
                    continue;
                }
                Err(error) => match Fault::of(&error) {
                    Some(fault) => Some(fault),
                    None => {
                        self.flush(reading, chunks);
                        return Err(error);
                    }
                },
            };
            self.end_archive(fault, reading, chunks);
        }
        if !self.finished {
            self.flush(reading, chunks);
        }
        Ok((Outcome::Read, read))
    }

    /// Delivers what is complete, so that the position is that of the last chunk.
    fn flush(&mut self, reading: &Reading<'_>, chunks: &mut Vec<Chunk>) {
        while let Some(piece) = self.framer.next_piece(true) {
            let chunk = self.chunk(piece, reading);
            chunks.push(chunk);
        }
    }

    /// The archive has ended: its last lines, what was wrong with it, and that it need not be opened again.
    pub fn end_archive(&mut self, fault: Option<Fault>, reading: &Reading<'_>, chunks: &mut Vec<Chunk>) {
        while let Some(piece) = self.framer.finish() {
            let chunk = self.chunk(piece, reading);
            chunks.push(chunk);
        }
        let progress = match &self.input {
            Input::Archive(decoded) => decoded.progress(),
            _ => (0, 0),
        };
        self.finished = true;
        self.input = Input::Closed;
        let at = self.offset();
        let refused = fault.map(|fault| refused_archive(fault, at, progress)).into_iter().collect();
        let chunk = self.chunk(Piece { data: Vec::new(), places: Vec::new(), refused, start: at, end: at, reflowed: false }, reading);
        chunks.push(chunk);
    }

    /// The file's first bytes, as many as are kept and there.
    pub fn first_bytes(&mut self) -> &[u8] {
        if self.first.len() < FIRST_BYTES_MAX
            && let Input::Plain(file) = &self.input
        {
            // Only a filter: without it more is compared.
            self.first = read_range(file, 0, FIRST_BYTES_MAX).unwrap_or_default();
        }
        &self.first
    }
}

fn signature(metadata: &Metadata) -> (u64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

/// The last bytes read, as far as a marker covers them.
fn tail_of(framer: &Framer) -> Vec<u8> {
    let pending = framer.pending();
    let mut tail = Vec::with_capacity(MARKER_BYTES_MAX);
    let missing = MARKER_BYTES_MAX.saturating_sub(pending.len());
    let behind = framer.trail().behind();
    tail.extend_from_slice(&behind[behind.len().saturating_sub(missing)..]);
    tail.extend_from_slice(&pending[pending.len().saturating_sub(MARKER_BYTES_MAX)..]);
    tail
}

fn holds(file: &File, framer: &Framer) -> io::Result<bool> {
    let tail = tail_of(framer);
    Ok(read_range(file, framer.read_offset() - tail.len() as u64, tail.len())? == tail)
}

/// The bytes of a range, fewer at the file's end.
pub(crate) fn read_range(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Whether the file holds the position; if so, what is needed to go on from it.
pub(crate) fn find_position(file: &File, position: &Checkpoint) -> io::Result<Option<Trail>> {
    if file.metadata()?.len() < position.offset {
        return Ok(None);
    }
    let (head, behind) = ends_of(file, position.offset)?;
    let trail = Trail::resume(position.offset, &head, &behind);
    Ok(trail.is_at(position).then_some(trail))
}

/// The bytes that identify the first `len` bytes of a file.
pub(crate) fn ends_of(file: &File, len: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let head = read_range(file, 0, len.min(PREFIX_BYTES_MAX as u64) as usize)?;
    let behind = len.min(MARKER_BYTES_MAX as u64);
    Ok((head, read_range(file, len - behind, behind as usize)?))
}

pub(crate) fn container_of(file: &File) -> io::Result<Container> {
    let hash: Hash = hash_of(&read_range(file, 0, PREFIX_BYTES_MAX)?);
    Ok(Container { len: file.metadata()?.len(), hash })
}
