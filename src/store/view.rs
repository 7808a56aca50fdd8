//! The segments as readers see them: sealed ones with their sidecars, and those still in memory.
use super::{Probes, Shared, Store};
use crate::events::EventId;
use crate::index::ids::IdCache;
use crate::index::live::LiveIndex;
use crate::index::sidecar::{Sidecar, SidecarError};
use crate::journal::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// One state of the store; replaced as a whole when a segment is sealed, begun or removed.
#[derive(Clone, Default)]
pub struct View {
    /// Grows whenever a segment is sealed: a batch checked against an older view is checked against the newer sidecars at commit.
    pub generation: u64,
    pub probes: Arc<Probes>,
    /// Ascending by number.
    pub sealed: Vec<Arc<Sealed>>,
    /// Segments whose index is in memory: being sealed, and last the one that is written.
    pub live: Vec<Arc<Live>>,
}

/// A sealed segment.
pub struct Sealed {
    pub number: u64,
    /// The view's generation it appeared in.
    pub generation: u64,
    pub sidecar: Sidecar,
    /// `None`: the evidence was removed by retention, the answers are still here.
    pub file: Option<Arc<dyn File>>,
}

/// A segment whose index is in memory.
pub struct Live {
    pub number: u64,
    inner: RwLock<LiveInner>,
    /// Blocks that are durable; readers see no others.
    durable_blocks: AtomicU32,
    /// Sequence number behind the last durable event.
    durable_seq: AtomicU64,
}

/// Index and file change together when small blocks are rewritten at sealing.
pub struct LiveInner {
    pub index: LiveIndex,
    pub file: Arc<dyn File>,
    /// The file before the rewrite, for readers that asked the index before it.
    pub file_before: Option<Arc<dyn File>>,
}

impl Live {
    pub fn new(number: u64, index: LiveIndex, file: Arc<dyn File>, first_seq: u64) -> Live {
        let durable_blocks = index.metas().len() as u32;
        let durable_seq = index.metas().last().map_or(first_seq, |meta| meta.first_seq + u64::from(meta.events));
        Live {
            number,
            inner: RwLock::new(LiveInner { index, file, file_before: None }),
            durable_blocks: AtomicU32::new(durable_blocks),
            durable_seq: AtomicU64::new(durable_seq),
        }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, LiveInner> {
        self.inner.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, LiveInner> {
        self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn set_durable(&self, blocks: u32, seq: u64) {
        self.durable_blocks.store(blocks, Ordering::Release);
        self.durable_seq.store(seq, Ordering::Release);
    }

    /// Sequence number behind the last event that was committed, durable or not.
    pub fn staged_seq(&self) -> u64 {
        let last = self.read().index.metas().last().map(|meta| meta.first_seq + u64::from(meta.events));
        last.unwrap_or_else(|| self.durable_seq())
    }

    pub fn durable_blocks(&self) -> u32 {
        self.durable_blocks.load(Ordering::Acquire)
    }

    pub fn durable_seq(&self) -> u64 {
        self.durable_seq.load(Ordering::Acquire)
    }
}

impl View {
    /// Of segments found at opening; so that 0 is before every segment.
    pub(super) const FIRST_GENERATION: u64 = 1;

    /// Sequence number behind the last durable event.
    pub fn next_seq(&self) -> u64 {
        let behind = self.live.iter().find(|live| (live.durable_blocks() as usize) < live.read().index.metas().len());
        behind.or(self.live.last()).map_or(1, |live| live.durable_seq())
    }

    /// Events that can be found: in sealed segments and durable in live ones.
    pub fn events(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.sidecar.head().events).sum();
        let live = self.live.iter().map(|live| {
            let visible = live.durable_blocks() as usize;
            live.read().index.metas().iter().take(visible).map(|block| u64::from(block.events)).sum::<u64>()
        });
        sealed + live.sum::<u64>()
    }

    /// Marks the ids that sealed segments of a generation above `after` hold.
    pub(super) fn mark_sealed(
        &self,
        after: u64,
        ids: &[EventId],
        identity_hours: &[i32],
        known: &mut [bool],
        cache: &mut IdCache,
    ) -> Result<(), SidecarError> {
        for sealed in self.sealed.iter().filter(|sealed| sealed.generation > after) {
            if identity_hours.iter().any(|&hour| sealed.sidecar.has_hour(hour)) {
                let hits = sealed.sidecar.mark_known(ids, identity_hours, known, cache)?;
                self.probes.count(ids.len(), hits);
            }
        }
        Ok(())
    }

    /// Whether each id is stored, anywhere: exact.
    pub fn contains(&self, ids: &[EventId], identity_hours: &[i32], cache: &mut IdCache) -> Result<Vec<bool>, SidecarError> {
        let mut known = vec![false; ids.len()];
        for live in &self.live {
            live.read().index.mark_known(ids, &mut known);
        }
        self.mark_sealed(0, ids, identity_hours, &mut known, cache)?;
        Ok(known)
    }
}

/// The view a worker asks about duplicates; it remembers which generation answered.
pub struct Known {
    shared: Arc<Shared>,
    view: Arc<View>,
    cache: Mutex<IdCache>,
    failed: AtomicBool,
}

impl Known {
    /// The memory for probing, to be used again for the next chunk.
    pub fn into_cache(self) -> IdCache {
        self.cache.into_inner().unwrap_or_default()
    }

    /// Sidecars up to this generation have been asked; 0 when one could not be read, so that the commit asks all again.
    pub fn generation(&self) -> u64 {
        if self.failed.load(Ordering::Relaxed) { 0 } else { self.view.generation }
    }
}

impl Store {
    /// What a worker checks a chunk against; `cache` is the worker's, kept from chunk to chunk.
    pub fn known(&self, cache: IdCache) -> Known {
        Known { shared: self.0.clone(), view: self.view(), cache: Mutex::new(cache), failed: AtomicBool::new(false) }
    }
}

impl crate::events::batch::Known for Known {
    fn mark(&self, ids: &[EventId], identity_hours: &[i32], known: &mut [bool]) {
        let mut cache = self.cache.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if self.view.mark_sealed(0, ids, identity_hours, known, &mut cache).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    fn knows_shape(&self, shape: u64) -> bool {
        self.shared.schemas.knows(shape)
    }
}

pub(super) fn with_live(shared: &Shared, live: Arc<Live>) {
    shared.update_view(|view| View { live: view.live.iter().cloned().chain([live]).collect(), ..view.clone() });
}
