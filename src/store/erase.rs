//! Puts tombstones in the place of events, so that nothing of their lines remains and every digest stays.
//!
//! A sealed segment is written anew under a temporary name, with its sidecar; then the old sidecar goes, and both get their names: a
//! crash at any point leaves all of the old or all of the new, and a sidecar that fits or none, which is made again.
use super::open::Indexer;
use super::seal::{Appender, Merged, create_anew, open_sidecar, sidecar_head, temporary, write_aside};
use super::view::Sealed;
use super::{Found, JournalReader, Store, View};
use crate::events::batch::{Batcher, StoredRun};
use crate::events::{EventId, Field, Format, Micros};
use crate::index::blocks::BlockSet;
use crate::index::part::IndexPart;
use crate::index::query::Query;
use crate::index::search::{BlockLines, Segment, candidate_blocks};
use crate::index::sidecar::{self, SidecarError, SidecarHead};
use crate::index::{BlockMeta, session_key};
use crate::journal::block::{BLOCK_RAW_BYTES_MAX, Block, HEADER_BYTES_MAX, Header, Run, Seal};
use crate::journal::fs::File;
use crate::journal::segment::{self, BlockReader, ReadError, ScannedBlock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error("cannot rewrite segment {segment}: {source}")]
    Io { segment: u64, source: io::Error },
    #[error("segment {segment} is damaged and was left as it is: {what}")]
    Damaged { segment: u64, what: String },
    #[error(transparent)]
    Index(#[from] SidecarError),
}

impl EraseError {
    /// Whether the other segments can be gone on with.
    pub fn is_about_one_segment(&self) -> bool {
        matches!(self, EraseError::Damaged { .. })
    }
}

/// Sessions by their ids: at these sensors, or (`None`) at any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions(BTreeMap<Vec<u8>, Option<BTreeSet<Vec<u8>>>>);

impl Sessions {
    pub fn add(&mut self, id: &[u8], sensor: Option<&[u8]>) {
        match (self.0.get_mut(id), sensor) {
            (Some(None), _) => {}
            (Some(Some(sensors)), Some(sensor)) if sensors.contains(sensor) => {}
            (Some(Some(sensors)), Some(sensor)) => drop(sensors.insert(sensor.to_vec())),
            (_, sensor) => drop(self.0.insert(id.to_vec(), sensor.map(|sensor| BTreeSet::from([sensor.to_vec()])))),
        }
    }

    fn contain(&self, id: &[u8], sensor: &[u8]) -> bool {
        self.0.get(id).is_some_and(|sensors| sensors.as_ref().is_none_or(|sensors| sensors.contains(sensor)))
    }

    /// Shows the key of each session under which indexes know it.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.ids().map(session_key)
    }

    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.0.keys().map(Vec::as_slice)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whose events.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    Matching(&'a Query),
    OfSessions(&'a Sessions),
    OfSensors(&'a BTreeSet<Vec<u8>>),
}

/// An event that was found.
#[derive(Clone, Copy, Debug)]
pub struct FoundEvent<'a> {
    pub seq: u64,
    pub format: Format,
    pub line: &'a [u8],
    pub received_at: Micros,
    pub session: Option<&'a [u8]>,
    pub sensor: &'a [u8],
}

/// A segment in which events were erased.
#[derive(Clone, Copy, Debug)]
pub struct Erased {
    /// Now, and how many tombstones there are in all.
    pub events: u64,
    pub tombstones: u64,
    pub head: SidecarHead,
}

impl Store {
    /// Numbers of the segments whose lines can be read, ascending, and of those of which only answers are left.
    pub fn segments_of_evidence(&self) -> (Vec<u64>, Vec<u64>) {
        let view = self.view();
        let (evidence, answers): (Vec<&Arc<Sealed>>, Vec<&Arc<Sealed>>) = view.sealed.iter().partition(|sealed| sealed.file.is_some());
        let numbers = |sealed: Vec<&Arc<Sealed>>| sealed.into_iter().map(|sealed| sealed.number).collect::<Vec<u64>>();
        ([numbers(evidence), view.live.iter().map(|live| live.number).collect()].concat(), numbers(answers))
    }

    /// Which of these session keys, which ascend, a segment has.
    pub fn session_keys_in(&self, segment: u64, keys: &[u64], each: &mut dyn FnMut(u64)) -> Result<(), EraseError> {
        let view = self.view();
        if let Some(sealed) = view.sealed.iter().find(|sealed| sealed.number == segment) {
            sealed.sidecar.sessions_among(keys, &mut |entry| each(entry.key))?;
        }
        if let Some(live) = view.live.iter().find(|live| live.number == segment) {
            live.read().index.sessions_among(keys, &mut |entry| each(entry.key))?;
        }
        Ok(())
    }

    /// Whether such events may be in a segment, by its index alone.
    pub fn may_hold(&self, segment: u64, whose: Whose<'_>) -> Result<bool, EraseError> {
        let view = self.view();
        let Some(sealed) = view.sealed.iter().find(|sealed| sealed.number == segment) else { return Ok(false) };
        Ok(!possible_blocks(&sealed.sidecar, whose)?.is_empty())
    }

    /// Which of these events (sequence numbers) tombstones stand in the place of.
    pub fn erased_among(&self, seqs: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut reader = JournalReader::new(self.clone(), 1);
        let mut is_erased = |seq: u64| {
            reader.seek(seq);
            let found = matches!(reader.load(), Ok(Found::Event));
            found && reader.event().is_some_and(|event| event.seq == seq && event.format == Format::TOMBSTONE)
        };
        seqs.iter().copied().filter(|&seq| is_erased(seq)).collect()
    }

    /// Shows such events of a segment that are durable and not erased yet, in the order of their sequence numbers. A segment without
    /// evidence has none.
    pub fn events_of(
        &self,
        segment: u64,
        whose: Whose<'_>,
        batcher: &mut Batcher,
        each: &mut dyn FnMut(FoundEvent<'_>),
    ) -> Result<(), EraseError> {
        let view = self.view();
        let sealed = view.sealed.iter().find(|sealed| sealed.number == segment && sealed.file.is_some());
        let live = || view.live.iter().find(|live| live.number == segment);
        let Some(part) = sealed.map(|sealed| &**sealed as &dyn Segment).or_else(|| live().map(|live| &**live as &dyn Segment)) else {
            return Ok(());
        };
        let mut blocks = Vec::new();
        part.with_index(&mut |index| {
            blocks = possible_blocks(index, whose)?;
            Ok(())
        })?;
        let durable = view.next_seq();
        blocks.retain(|block| block.first_seq + u64::from(block.events) <= durable);
        let mut lines = BlockLines::default();
        let (mut session, mut sensor) = (Vec::new(), Vec::new());
        for meta in blocks {
            let damaged = |what: io::Error| EraseError::Damaged { segment, what: what.to_string() };
            part.read_block(&meta, &mut lines).map_err(damaged)?;
            let mut all = segment::lines(&lines.bytes);
            let mut seq = meta.first_seq;
            for run in &lines.runs {
                for line in all.by_ref().take(run.events as usize) {
                    let format = run.format.unwrap_or(Format::UNKNOWN);
                    let is_tombstone = format == Format::TOMBSTONE;
                    if !is_tombstone && matches(whose, batcher, (format, line, run.received_at), (&mut session, &mut sensor)) {
                        let session = (!session.is_empty()).then_some(session.as_slice());
                        each(FoundEvent { seq, format, line, received_at: run.received_at, session, sensor: &sensor });
                    }
                    seq += 1;
                }
            }
        }
        Ok(())
    }

    /// Puts tombstones in the place of these events (sequence numbers, ascending) of a sealed segment. `None`: there was nothing to do.
    pub fn erase_in(&self, number: u64, seqs: &[u64]) -> Result<Option<Erased>, EraseError> {
        // Neither retention nor a rebuild may come between.
        let _upkeep = self.0.upkeep.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let io_error = |source| EraseError::Io { segment: number, source };
        let view = self.view();
        let Some(sealed) = view.sealed.iter().find(|sealed| sealed.number == number && sealed.file.is_some()) else { return Ok(None) };
        // By its name: after a failure halfway the view still has the file of before.
        let file = self.0.open_segment(number).map_err(io_error)?;
        let scan = segment::scan(&*file, number, true).map_err(io_error)?;
        let damaged = |what: String| EraseError::Damaged { segment: number, what };
        if let Some(damage) = scan.damage.first() {
            return Err(damaged(damage.to_string()));
        }
        let (Some(seal), true) = (scan.seal.clone(), scan.end == scan.file_len) else { return Err(damaged("it has no seal".into())) };
        // An attempt before this one came as far as to take the sidecar away, or to rename the segment.
        let index = segment::sidecar_name(number);
        let has_sidecar = self.0.fs.list(&self.0.layout.journal).map_err(io_error)?.iter().any(|entry| entry.name == index);
        let done_before = !has_sidecar || sealed.sidecar.head().journal_len != scan.file_len;
        let is_new = |block: &ScannedBlock| !chosen(block, seqs).is_empty();
        if !done_before && !scan.blocks.iter().any(is_new) {
            return Ok(None);
        }

        let mut rewriting = Rewriting::begin(self, &*file, number, scan.blocks.first().map_or(scan.end, |block| block.meta.offset))?;
        for block in &scan.blocks {
            rewriting.block(&*file, block, chosen(block, seqs)).map_err(|error| match error {
                ReadError::Io(source) => io_error(source),
                other => damaged(other.to_string()),
            })?;
        }
        let Rewriting { mut out, indexer, raw_len, events, tombstones, last_digest, .. } = rewriting;
        if last_digest.is_some_and(|digest| digest != seal.digest) {
            return Err(damaged("its seal does not match its blocks".into()));
        }
        if events == 0 && !done_before {
            drop(self.0.fs.remove(&self.0.layout.journal.join(temporary(&segment::file_name(number)))));
            return Ok(None);
        }
        out.pending.extend_from_slice(&Header::Seal(Seal { raw_len, ..seal.clone() }).encode());
        out.flush().and_then(|()| out.file.sync_data()).map_err(io_error)?;
        let head = sidecar_head(number, &indexer.index, seal.digest, out.len);
        let bytes = sidecar::build(&indexer.index, head);
        drop(indexer);
        self.swap(number, &bytes).map_err(io_error)?;
        let sidecar = open_sidecar(&self.0, number).map_err(io_error)??;
        self.0.update_view(|view| {
            let generation = view.generation + 1;
            let new = Arc::new(Sealed { number, generation, sidecar, file: Some(self.0.pooled_segment(number)) });
            let sealed = view.sealed.iter().map(|sealed| if sealed.number == number { new.clone() } else { sealed.clone() }).collect();
            View { generation, sealed, ..view.clone() }
        });
        // Whoever has a block in memory reads it again.
        self.0.erasures.fetch_add(1, Ordering::Release);
        Ok(Some(Erased { events, tombstones, head }))
    }

    /// Puts the rewritten segment and its sidecar in the place of the old ones. Readers that have those go on with them.
    fn swap(&self, number: u64, sidecar: &[u8]) -> io::Result<()> {
        let (fs, dir) = (&*self.0.fs, &self.0.layout.journal);
        let (segment, index) = (segment::file_name(number), segment::sidecar_name(number));
        // Whatever may fail for want of room comes before anything is taken away.
        write_aside(fs, dir, &index, sidecar)?;
        let had_sidecar = fs.list(dir)?.iter().any(|entry| entry.name == index);
        self.0.pool.retire(&dir.join(&segment))?;
        if had_sidecar {
            self.0.pool.retire(&dir.join(&index))?;
            // A sidecar of the old segment never stands beside the new one: their lengths might be equal.
            fs.remove(&dir.join(&index))?;
            fs.sync_dir(dir)?;
        }
        fs.rename(&dir.join(temporary(&segment)), &dir.join(&segment))?;
        fs.sync_dir(dir)?;
        self.0.pool.forget(&dir.join(&segment));
        fs.rename(&dir.join(temporary(&index)), &dir.join(&index))?;
        fs.sync_dir(dir)
    }
}

/// The blocks in which such events may be, in their order.
fn possible_blocks(index: &dyn IndexPart, whose: Whose<'_>) -> Result<Vec<BlockMeta>, SidecarError> {
    let set = match whose {
        Whose::Matching(query) => {
            if index.time_span().is_none_or(|(min, max)| !query.overlaps(min, max)) {
                return Ok(Vec::new());
            }
            candidate_blocks(index, query, &query.condition)?
        }
        Whose::OfSessions(sessions) => {
            let mut keys: Vec<u64> = sessions.ids().map(session_key).collect();
            keys.sort_unstable();
            keys.dedup();
            let mut set = BlockSet::new();
            index.sessions_among(&keys, &mut |entry| set.union(&entry.blocks))?;
            Some(set)
        }
        Whose::OfSensors(_) => None,
    };
    let blocks = (0u32..).zip(index.blocks()?);
    let possible = |(number, block): &(u32, BlockMeta)| block.events > 0 && set.as_ref().is_none_or(|set| set.contains(*number));
    let overlaps = |block: &BlockMeta| match whose {
        Whose::Matching(query) => query.overlaps(block.time_min, block.time_max),
        _ => true,
    };
    Ok(blocks.filter(possible).map(|(_, block)| block).filter(overlaps).collect())
}

/// Whether an event is one of these; its session and its sensor are written where the caller wants them.
fn matches(
    whose: Whose<'_>,
    batcher: &mut Batcher,
    (format, line, received_at): (Format, &[u8], Micros),
    (session, sensor): (&mut Vec<u8>, &mut Vec<u8>),
) -> bool {
    session.clear();
    sensor.clear();
    if let Whose::OfSensors(sensors) = whose {
        *sensor = batcher.tombstone(Some(format), line, EventId::default()).sensor.unwrap_or_default();
        return sensors.contains(sensor);
    }
    let mut found = 0;
    let time = batcher.terms(format, line, received_at, &mut |field, value| {
        if let Whose::Matching(query) = whose {
            found |= query.matches(field, value);
        }
        match field {
            Field::Session => *session = value.to_vec(),
            Field::Sensor => *sensor = value.to_vec(),
            _ => {}
        }
    });
    match whose {
        // As in a search: a line that its decoder does not read any more has no terms, and when it was received.
        Whose::Matching(query) => query.condition.holds(found) && query.covers(time.unwrap_or(received_at)),
        Whose::OfSessions(sessions) => !session.is_empty() && sessions.contain(session, sensor),
        Whose::OfSensors(_) => false,
    }
}

/// Which of these events are in the block and not erased yet.
fn chosen<'s>(block: &ScannedBlock, seqs: &'s [u64]) -> &'s [u64] {
    let (first, behind) = (block.meta.first_seq, block.meta.first_seq + u64::from(block.meta.events));
    let within = &seqs[seqs.partition_point(|&seq| seq < first)..seqs.partition_point(|&seq| seq < behind)];
    let mut at = first;
    let mut alive = false;
    for run in &block.header.runs {
        let end = at + u64::from(run.events);
        alive |= !run.tombstones && within[within.partition_point(|&seq| seq < at)..].first().is_some_and(|&seq| seq < end);
        at = end;
    }
    if alive { within } else { &[] }
}

/// A segment on its way to its new form.
struct Rewriting {
    out: Appender,
    indexer: Indexer,
    batcher: Batcher,
    reader: BlockReader,
    compressor: zstd::bulk::Compressor<'static>,
    raw_len: u64,
    events: u64,
    tombstones: u64,
    last_digest: Option<[u8; 32]>,
}

impl Rewriting {
    fn begin(store: &Store, file: &dyn File, number: u64, opening_len: u64) -> Result<Rewriting, EraseError> {
        let io_error = |source| EraseError::Io { segment: number, source };
        let mut opening = vec![0; opening_len as usize];
        file.read_exact_at(&mut opening, 0).map_err(io_error)?;
        let path = store.0.layout.journal.join(temporary(&segment::file_name(number)));
        let file = create_anew(&*store.0.fs, &path).map_err(io_error)?;
        Ok(Rewriting {
            out: Appender { file, len: 0, pending: opening },
            indexer: Indexer::new(&store.0),
            batcher: store.batcher(),
            reader: BlockReader::default(),
            compressor: zstd::bulk::Compressor::new(1).map_err(io_error)?,
            raw_len: 0,
            events: 0,
            tombstones: 0,
            last_digest: None,
        })
    }

    /// Appends a block, with tombstones in the place of these events.
    fn block(&mut self, file: &dyn File, block: &ScannedBlock, seqs: &[u64]) -> Result<(), ReadError> {
        let mut lines = Vec::new();
        let mut header = self.reader.read(file, &block.meta, &mut lines)?;
        let frame;
        if seqs.is_empty() {
            let mut data = vec![0; block.meta.data_len as usize];
            file.read_exact_at(&mut data, block.meta.offset + u64::from(block.meta.header_len))?;
            frame = data;
        } else {
            let (runs, new_lines) = tombstoned(&header, &lines, seqs, &mut self.batcher)?;
            let erased = |runs: &[Run]| runs.iter().filter(|run| run.tombstones).map(|run| u64::from(run.events)).sum::<u64>();
            self.events += erased(&runs) - erased(&header.runs);
            self.check(&header.runs, &lines, &runs, &new_lines)?;
            frame = self.compressor.compress(&new_lines)?;
            header =
                Block { runs, raw_len: new_lines.len() as u32, data_len: frame.len() as u32, data_crc: crc32fast::hash(&frame), ..header };
            lines = new_lines;
            if Header::Block(header.clone()).encode().len() > HEADER_BYTES_MAX {
                return Err(ReadError::Header(crate::journal::block::HeaderError::Malformed));
            }
        }
        self.tombstones += header.runs.iter().filter(|run| run.tombstones).map(|run| u64::from(run.events)).sum::<u64>();
        self.raw_len += lines.len() as u64;
        self.last_digest = Some(header.digest);
        let meta = self.out.append(Merged { header: header.clone(), frame })?;
        self.indexer.add(&ScannedBlock { meta, header }, &lines);
        Ok(())
    }

    /// The only copy is about to be replaced: what remains must be the same events, with the same hashes, at the same times.
    fn check(&mut self, runs: &[Run], lines: &[u8], new_runs: &[Run], new_lines: &[u8]) -> Result<(), ReadError> {
        let mut told = |runs: &[Run], lines: &[u8]| {
            let stored: Vec<StoredRun<'_>> = runs.iter().map(super::open::stored).collect();
            let (terms, times, ids) = self.batcher.index(lines, &stored);
            (terms.identity_hours, terms.cells, terms.sensors, times, ids)
        };
        let same = told(runs, lines) == told(new_runs, new_lines);
        let hashes = |runs: &[Run], lines: &[u8]| {
            let mut hashes = Vec::new();
            segment::run_hashes(runs, lines, &mut hashes).map(|_| hashes)
        };
        if same && hashes(runs, lines)? == hashes(new_runs, new_lines)? { Ok(()) } else { Err(ReadError::Mismatch) }
    }
}

/// Runs and lines of a block when these of its events are erased.
fn tombstoned(block: &Block, data: &[u8], seqs: &[u64], batcher: &mut Batcher) -> Result<(Vec<Run>, Vec<u8>), ReadError> {
    let lines: Vec<&[u8]> = segment::lines(data).collect();
    let mut hashes = Vec::with_capacity(lines.len());
    segment::run_hashes(&block.runs, data, &mut hashes)?;
    if lines.len() != block.events as usize {
        return Err(ReadError::Mismatch);
    }
    let (mut runs, mut out) = (Vec::with_capacity(block.runs.len() + 2), Vec::with_capacity(data.len()));
    let mut at = 0;
    for run in &block.runs {
        let (begin, end) = (at, at + run.events as usize);
        let first_of_run = runs.len();
        let goes = |event: usize| !run.tombstones && seqs.binary_search(&(block.first_seq + event as u64)).is_ok();
        while at < end {
            let erase = goes(at);
            let stretch = at..(at..end).find(|&event| goes(event) != erase).unwrap_or(end);
            for event in stretch.clone() {
                match erase {
                    true => out.extend_from_slice(&batcher.tombstone(run.format(), lines[event], hashes[event]).line()),
                    false => out.extend_from_slice(lines[event]),
                }
                out.push(b'\n');
            }
            let ids = match run.ids.is_empty() {
                true if erase => hashes[stretch.clone()].to_vec(),
                true => Vec::new(),
                false => run.ids[stretch.start - begin..stretch.end - begin].to_vec(),
            };
            let (source, decoder, stream) = (run.source.clone(), run.decoder.clone(), run.stream.clone());
            let (received_at, reflowed, tombstones) = (run.received_at, run.reflowed, run.tombstones || erase);
            let events = stretch.len() as u32;
            runs.push(Run { source, decoder, stream, received_at, events, reflowed, tombstones, checkpoint: None, ids });
            at = stretch.end;
        }
        match runs.get_mut(first_of_run..).and_then(<[Run]>::last_mut) {
            Some(last) => last.checkpoint.clone_from(&run.checkpoint),
            None => runs.push(run.clone()),
        }
    }
    if out.len() > BLOCK_RAW_BYTES_MAX {
        return Err(ReadError::Mismatch);
    }
    Ok((runs, out))
}
