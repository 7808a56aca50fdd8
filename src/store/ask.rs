//! What search and top lists see of the store.
use super::view::{Live, Sealed};
use super::{Store, View};
use crate::events::batch::Batcher;
use crate::events::{EventId, Field, Micros};
use crate::index::BlockMeta;
use crate::index::ids::IdCache;
use crate::index::part::IndexPart;
use crate::index::search::{self, BlockLines, LineRun, LineTerms, Segment};
use crate::index::sidecar::SidecarError;
use crate::journal::block::Run;
use crate::journal::fs::File;
use crate::journal::segment::{BlockReader, ReadError};
use crate::sources::Format;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an answer about durability waits for a sync that is under way.
const SYNC_WAIT: Duration = Duration::from_secs(5);

thread_local! {
    /// Buffers and decompression context of this thread, kept from block to block.
    static READER: RefCell<BlockReader> = RefCell::default();
}

fn read(file: &dyn File, meta: &BlockMeta, lines: &mut BlockLines) -> Result<(), ReadError> {
    let header = READER.with_borrow_mut(|reader| reader.read(file, meta, &mut lines.bytes))?;
    // Most runs are of the source of the one before, in the last block as well.
    let mut source: Arc<str> = lines.runs.pop().map_or_else(Arc::default, |run| run.source);
    lines.runs.clear();
    lines.runs.extend(header.runs.iter().map(|run: &Run| {
        if *source != *run.source {
            source = run.source.as_str().into();
        }
        LineRun { events: run.events, source: source.clone(), received_at: run.received_at, format: run.format() }
    }));
    Ok(())
}

impl Segment for Sealed {
    fn with_index(&self, ask: &mut dyn FnMut(&dyn IndexPart) -> Result<(), SidecarError>) -> Result<(), SidecarError> {
        ask(&self.sidecar)
    }

    fn read_block(&self, block: &BlockMeta, lines: &mut BlockLines) -> io::Result<()> {
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the evidence was removed by retention"))?;
        read(&**file, block, lines).map_err(io::Error::other)
    }
}

impl Segment for Live {
    fn with_index(&self, ask: &mut dyn FnMut(&dyn IndexPart) -> Result<(), SidecarError>) -> Result<(), SidecarError> {
        ask(&self.read().index)
    }

    fn read_block(&self, block: &BlockMeta, lines: &mut BlockLines) -> io::Result<()> {
        let (file, before) = {
            let inner = self.read();
            (inner.file.clone(), inner.file_before.clone())
        };
        match (read(&*file, block, lines), before) {
            // The blocks were rewritten between the question to the index and this one.
            (Err(_), Some(before)) => read(&*before, block, lines).map_err(io::Error::other),
            (read, _) => read.map_err(io::Error::other),
        }
    }
}

/// The decoder, as search needs it.
pub struct Terms {
    batcher: Batcher,
}

impl LineTerms for Terms {
    fn terms(&mut self, format: Format, line: &[u8], received_at: Micros, out: &mut dyn FnMut(Field, &[u8])) -> Option<Micros> {
        self.batcher.terms(format, line, received_at, out)
    }

    fn verbatim(&self, format: Format, field: Field) -> bool {
        // Indicators are often written differently from what they mean.
        !field.is_indicator() && !field.is_derived() && format.decoder().verbatim(field)
    }
}

impl Store {
    /// Segments whose lines can be read, for search. What is not durable yet is not seen.
    pub fn evidence(&self) -> search::View {
        let view = self.view();
        let sealed = view.sealed.iter().filter(|sealed| sealed.file.is_some()).map(|sealed| sealed.clone() as Arc<dyn Segment>);
        search::View { segments: sealed.chain(live(&view)).collect(), last_seq: view.next_seq() - 1, ..search::View::default() }
    }

    /// All segments, for counts: also those whose lines retention has removed.
    pub fn answers(&self) -> search::View {
        let view = self.view();
        let sealed = view.sealed.iter().map(|sealed| sealed.clone() as Arc<dyn Segment>);
        search::View {
            segments: sealed.chain(live(&view)).collect(),
            last_seq: view.next_seq() - 1,
            settled: view.sealed.len(),
            tops: self.0.tops.clone(),
        }
    }

    /// Whether each event is stored and durable: exact. Waits for blocks that are being synced right now.
    pub fn durable(&self, ids: &[EventId], identity_hours: &[i32], cache: &mut IdCache) -> Result<Vec<bool>, SidecarError> {
        let view = self.view();
        let known = view.contains(ids, identity_hours, cache)?;
        let staged: Vec<u64> = view.live.iter().map(|live| live.staged_seq()).collect();
        let deadline = Instant::now() + SYNC_WAIT;
        let synced = |(live, &seq): (&Arc<Live>, &u64)| live.durable_seq() >= seq;
        while !view.live.iter().zip(&staged).all(synced) {
            if Instant::now() > deadline {
                // The disk does not answer, or the journal has a fault: nobody may rely on any of it.
                return Ok(vec![false; ids.len()]);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(known)
    }

    /// A decoder for search.
    pub fn terms(&self) -> Terms {
        Terms { batcher: self.batcher() }
    }
}

fn live(view: &View) -> impl Iterator<Item = Arc<dyn Segment>> {
    view.live.iter().map(|live| live.clone() as Arc<dyn Segment>)
}
