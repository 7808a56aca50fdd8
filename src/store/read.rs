//! Reads events in the order of their sequence numbers, from a position on: what every stage behind the journal does.
//!
//! The reader keeps its place and the block it is in, so that a block is decompressed once. It sees what is durable and nothing
//! else, waits for no one, and says which events are not there any more instead of passing over them silently.
use super::view::Sealed;
use super::{Store, View};
use crate::events::{EventId, Format, Micros};
use crate::index::BlockMeta;
use crate::index::part::IndexPart;
use crate::journal::fs::File;
use crate::journal::segment::{self, BlockReader, ReadError};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// An event as it lies in the journal.
#[derive(Clone, Copy, Debug)]
pub struct StoredEvent<'a> {
    pub seq: u64,
    pub id: EventId,
    /// Without its newline.
    pub line: &'a [u8],
    /// Name of the configured source.
    pub source: &'a Arc<str>,
    pub format: Format,
    pub received_at: Micros,
}

/// What [`JournalReader::load`] found at the position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// [`JournalReader::event`] has it.
    Event,
    /// Nothing durable yet.
    End,
    /// Events that are not there; the position is behind them now.
    Gap(Gap),
}

/// Events that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub first_seq: u64,
    pub events: u64,
    pub why: Missing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Retention removed their segment.
    Removed,
    /// Their block is damaged; `verify` names it as well.
    Damaged(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Missing::Removed => f.write_str("retention removed them"),
            Missing::Damaged(what) => write!(f, "their block is damaged: {what}"),
        }
    }
}

/// A place in the journal.
pub struct JournalReader {
    store: Store,
    next: u64,
    /// Directory of the sealed segment read last, by its number and the view's generation it appeared in.
    directory: Option<(u64, u64, Vec<BlockMeta>)>,
    reader: BlockReader,
    block: Block,
    /// Names of sources seen, so that an event's costs no allocation.
    names: Vec<Arc<str>>,
}

/// The block the reader is in.
#[derive(Default)]
struct Block {
    /// How many erasures there had been when it was read.
    erasures: u64,
    first_seq: u64,
    bytes: Vec<u8>,
    /// End of each line in `bytes`, its newline not included.
    ends: Vec<u32>,
    ids: Vec<EventId>,
    runs: Vec<Stretch>,
}

/// Events of one run.
struct Stretch {
    /// Index of the first event behind it.
    end: usize,
    source: Arc<str>,
    format: Format,
    received_at: Micros,
}

/// Most names of sources remembered.
const NAMES_MAX: usize = 256;

impl JournalReader {
    /// Begins at the event with sequence number `from`.
    pub fn new(store: Store, from: u64) -> JournalReader {
        JournalReader {
            store,
            next: from.max(1),
            directory: None,
            reader: BlockReader::default(),
            block: Block::default(),
            names: Vec::new(),
        }
    }

    /// Sequence number of the event that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    pub fn seek(&mut self, seq: u64) {
        self.next = seq.max(1);
    }

    /// Makes the event at the position available. An error may be gone the next time.
    pub fn load(&mut self) -> io::Result<Found> {
        if self.index().is_some() {
            if self.block.erasures == self.store.0.erasures.load(Ordering::Acquire) {
                return Ok(Found::Event);
            }
            // It may be one of those that were erased.
            self.block = Block::default();
        }
        let erasures = self.store.0.erasures.load(Ordering::Acquire);
        let view = self.store.view();
        let Some(place) = self.locate(&view)? else { return Ok(Found::End) };
        if place.meta.first_seq > self.next {
            let evidence = view.sealed.iter().find(|sealed| sealed.file.is_some()).map(|sealed| sealed.sidecar.head().first_seq);
            // Retention takes from the beginning only: what is missing behind that was lost in another way.
            let removed = evidence.is_none_or(|first| self.next < first);
            let why = if removed { Missing::Removed } else { Missing::Damaged("it is not in the segment's index".into()) };
            let gap = Gap { first_seq: self.next, events: place.meta.first_seq - self.next, why };
            self.next = place.meta.first_seq;
            return Ok(Found::Gap(gap));
        }
        match self.read(&place) {
            Ok(()) => {
                self.block.erasures = erasures;
                Ok(Found::Event)
            }
            Err(ReadError::Io(error)) => Err(error),
            Err(damage) => {
                self.block = Block::default();
                let behind = place.meta.first_seq + u64::from(place.meta.events);
                let gap = Gap { first_seq: self.next, events: behind - self.next, why: Missing::Damaged(damage.to_string()) };
                self.next = behind;
                Ok(Found::Gap(gap))
            }
        }
    }

    /// The event at the position, once [`JournalReader::load`] said that there is one.
    pub fn event(&self) -> Option<StoredEvent<'_>> {
        let index = self.index()?;
        let block = &self.block;
        let start = index.checked_sub(1).map_or(0, |before| block.ends[before] as usize + 1);
        let stretch = &block.runs[block.runs.partition_point(|run| run.end <= index)];
        Some(StoredEvent {
            seq: self.next,
            id: block.ids[index],
            line: &block.bytes[start..block.ends[index] as usize],
            source: &stretch.source,
            format: stretch.format,
            received_at: stretch.received_at,
        })
    }

    /// Goes on to the next event.
    pub fn advance(&mut self) {
        self.next += 1;
    }

    /// Gives back the memory of the block; it is read again when it is needed.
    pub fn rest(&mut self) {
        self.block = Block::default();
        self.reader = BlockReader::default();
        self.directory = None;
    }

    /// Where the event at the position lies in the block that is in memory.
    fn index(&self) -> Option<usize> {
        let index = self.next.checked_sub(self.block.first_seq)?;
        (index < self.block.ends.len() as u64).then_some(index as usize)
    }

    /// The first block with evidence that holds the position's event, or a later one.
    fn locate(&mut self, view: &View) -> io::Result<Option<Place>> {
        let from = view.sealed.partition_point(|sealed| behind(sealed) <= self.next);
        if let Some(sealed) = view.sealed[from..].iter().find(|sealed| sealed.file.is_some() && behind(sealed) > self.next) {
            let file = sealed.file.clone().expect("just looked at");
            if self.directory.as_ref().is_none_or(|(number, generation, _)| (*number, *generation) != (sealed.number, sealed.generation)) {
                let blocks = sealed.sidecar.blocks().map_err(io::Error::other)?;
                self.directory = Some((sealed.number, sealed.generation, blocks));
            }
            let (.., blocks) = self.directory.as_ref().expect("set just above");
            if let Some(meta) = find(blocks, self.next) {
                return Ok(Some(Place { meta, file }));
            }
        }
        for live in &view.live {
            let visible = live.durable_blocks() as usize;
            // Under one lock: blocks and file change together when the segment is rewritten.
            let inner = live.read();
            let metas = inner.index.metas();
            let visible = visible.min(metas.len());
            if let Some(meta) = find(&metas[..visible], self.next) {
                return Ok(Some(Place { meta, file: inner.file.clone() }));
            }
        }
        Ok(None)
    }

    fn read(&mut self, place: &Place) -> Result<(), ReadError> {
        self.block.ends.clear();
        let header = self.reader.read(&*place.file, &place.meta, &mut self.block.bytes)?;
        let block = &mut self.block;
        block.ends.extend(memchr::memchr_iter(b'\n', &block.bytes).map(|at| at as u32));
        if block.ends.len() != header.events as usize {
            return Err(ReadError::Mismatch);
        }
        block.first_seq = header.first_seq;
        block.runs.clear();
        block.ids.clear();
        let lines: Vec<&[u8]> = segment::lines(&block.bytes).collect();
        let mut end = 0;
        for run in header.runs.iter().filter(|run| run.events > 0) {
            let begin = end;
            end += run.events as usize;
            run.ids_of(&lines[begin..end], &mut block.ids);
            let source = name(&mut self.names, &run.source);
            block.runs.push(Stretch { end, source, format: run.format().unwrap_or(Format::UNKNOWN), received_at: run.received_at });
        }
        Ok(())
    }
}

struct Place {
    meta: BlockMeta,
    file: Arc<dyn File>,
}

fn name(names: &mut Vec<Arc<str>>, text: &str) -> Arc<str> {
    if let Some(known) = names.iter().find(|known| &***known == text) {
        return known.clone();
    }
    if names.len() == NAMES_MAX {
        names.clear();
    }
    let new: Arc<str> = text.into();
    names.push(new.clone());
    new
}

fn behind(sealed: &Sealed) -> u64 {
    sealed.sidecar.head().first_seq + sealed.sidecar.head().events
}

/// The block with the event, or the first one behind it.
fn find(blocks: &[BlockMeta], seq: u64) -> Option<BlockMeta> {
    let at = blocks.partition_point(|block| block.first_seq + u64::from(block.events) <= seq);
    blocks[at..].iter().find(|block| block.events > 0).copied()
}

impl Store {
    /// Sequence number behind the last durable event, and a sign whenever it moves.
    pub fn durable_seq(&self) -> watch::Receiver<u64> {
        self.0.durable.subscribe()
    }

    /// The first event of the earliest block (in the order of the journal) that has an event of this time or later; the next
    /// event to come when there is none. What stands before it in that block may be older.
    pub fn seq_at(&self, time: Micros) -> io::Result<u64> {
        let view = self.view();
        let first =
            |blocks: &[BlockMeta]| blocks.iter().find(|block| block.events > 0 && block.time_max >= time).map(|block| block.first_seq);
        for sealed in view.sealed.iter().filter(|sealed| sealed.sidecar.head().events > 0 && sealed.sidecar.head().time_max >= time) {
            if let Some(seq) = first(&sealed.sidecar.blocks().map_err(io::Error::other)?) {
                return Ok(seq);
            }
        }
        for live in &view.live {
            let visible = live.durable_blocks() as usize;
            let inner = live.read();
            let metas = inner.index.metas();
            if let Some(seq) = first(&metas[..visible.min(metas.len())]) {
                return Ok(seq);
            }
        }
        Ok(view.next_seq())
    }

    /// Sequence number of the first event whose line can be read; of the next one to come when there is none.
    pub fn first_seq(&self) -> u64 {
        let view = self.view();
        let sealed = view.sealed.iter().find(|sealed| sealed.file.is_some() && sealed.sidecar.head().events > 0);
        let live =
            || view.live.iter().find_map(|live| live.read().index.metas().iter().find(|meta| meta.events > 0).map(|meta| meta.first_seq));
        sealed.map(|sealed| sealed.sidecar.head().first_seq).or_else(live).unwrap_or_else(|| view.next_seq())
    }

    /// Retention leaves the events from `seq` on alone for `holder`; `None`: nothing is held for it any more.
    pub fn hold(&self, holder: &str, seq: Option<u64>) {
        let mut holds = self.0.holds.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match seq {
            Some(seq) => drop(holds.insert(holder.to_owned(), seq)),
            None => drop(holds.remove(holder)),
        }
    }

    /// The first event that somebody still needs.
    pub fn held_from(&self) -> Option<u64> {
        self.0.holds.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).values().copied().min()
    }
}
