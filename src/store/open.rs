//! Opens the store: finds the segments, rebuilds what is missing, and continues where the last commit ended.
use super::commit::Committer;
use super::quarantine::{Quarantine, QuarantineRecord};
use super::schemas::Schemas;
use super::seal::{SealStep, SealTask, Sealer, open_sidecar, sidecar_head, write_sidecar};
use super::view::{Live, Sealed, View};
use super::writer::Writer;
use super::{History, JOURNAL, Layout, Limits, Shared, Store};
use crate::events::batch::{Batcher, StoredRun};
use crate::events::{EventId, Micros};
use crate::geoip;
use crate::index::live::LiveIndex;
use crate::index::sidecar;
use crate::journal::block::{Checkpoints, Header, Run, Seal};
use crate::journal::fs::{Fs, Pool};
use crate::journal::head::{self, Head, ResumeError, ResumeOptions, TornTail};
use crate::journal::log::{Log, LogError, numbers};
use crate::journal::segment::{self, BlockReader, Damage, ScannedBlock};
use crate::sources::{Reason, Refused};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, RwLock, mpsc};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Resume(#[from] ResumeError),
}

/// The parts of an open store; each goes to its owner.
pub struct Parts {
    pub store: Store,
    pub committer: Committer,
    pub writer: Writer,
    pub sealer: Sealer,
    pub report: OpenReport,
}

/// What opening found and did.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// Segments, and events that can be found.
    pub segments: u64,
    pub events: u64,
    /// Sidecars that were missing or stale and were made again.
    pub sidecars_rebuilt: Vec<u64>,
    /// Bytes behind the last whole block, now in quarantine.
    pub torn: Option<TornTail>,
    /// Places that cannot be read; their events are not in the answers.
    pub damage: Vec<Damage>,
    /// Databases of countries or autonomous systems that cannot be used, and why.
    pub places_refused: Vec<String>,
}

/// What is known from outside the journal about how far it was committed.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommittedLen {
    /// Segment and length committed when the state was last saved.
    pub saved: Option<(u64, u64)>,
    /// Sequence numbers below this had been given out by then.
    pub next_seq: u64,
    /// After a fault: segment and length beyond which nothing was acknowledged.
    pub trusted: Option<(u64, u64)>,
}

/// Opens or creates the store under `layout`. `progress` is told about every segment that takes time.
pub fn open(
    fs: Arc<dyn Fs>,
    layout: Layout,
    limits: Limits,
    committed: CommittedLen,
    now: Micros,
    progress: &mut dyn FnMut(&str),
) -> Result<Parts, OpenError> {
    let quarantine = Quarantine::open(fs.clone(), &layout, limits.quarantine_bytes, now)?;
    let ledger = Log::open(fs.clone(), &layout.ledger, "ledger", limits.ledger_bytes, now)?;
    let schemas = Schemas::read(&ledger)?;
    let (places, places_refused) = geoip::Handle::open(&*fs, &layout.geoip);
    let probes = Arc::<super::Probes>::default();
    let pool = Pool::new(fs.clone(), limits.open_files);
    let shared = Arc::new(Shared {
        fs,
        pool,
        layout,
        limits,
        view: RwLock::new(Arc::new(View { probes: probes.clone(), ..View::default() })),
        probes,
        quarantine: Mutex::new(quarantine),
        letters_lost: Mutex::default(),
        ledger: Mutex::new(ledger),
        upkeep: Mutex::default(),
        archiving: Mutex::default(),
        archived_now: Mutex::default(),
        erasures: AtomicU64::default(),
        aged: Mutex::default(),
        durable: tokio::sync::watch::channel(0).0,
        holds: Mutex::default(),
        carried: Mutex::default(),
        schemas,
        disk_bytes: Mutex::default(),
        tops: Arc::default(),
        places,
        privacy: crate::redact::Handle::default(),
        history: OnceLock::new(),
    });
    let mut parts = open_journal(shared, committed, now, progress)?;
    parts.report.places_refused = places_refused;
    Ok(parts)
}

impl Store {
    /// Opens the journal again behind a fault: the committer and the writer of before must be gone. Handles stay valid.
    pub fn reopen(&self, committed: CommittedLen, now: Micros, progress: &mut dyn FnMut(&str)) -> Result<Parts, OpenError> {
        // Whoever removes or replaces files has done so, or begins behind this.
        let _upkeep = self.0.upkeep.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        open_journal(self.0.clone(), committed, now, progress)
    }
}

fn open_journal(shared: Arc<Shared>, committed: CommittedLen, now: Micros, progress: &mut dyn FnMut(&str)) -> Result<Parts, OpenError> {
    let dir = shared.layout.journal.clone();
    let io_error = |action: &'static str| {
        let path = dir.clone();
        move |source| OpenError::Io { action, path, source }
    };
    shared.fs.create_dir_all(&dir).map_err(io_error("create"))?;
    remove_temporary(&shared).map_err(io_error("tidy up"))?;
    let mut report = OpenReport::default();
    let resumed = resume_last(&shared, committed, now, &mut report, progress)?;
    let all = numbers(&*shared.fs, &dir).map_err(io_error("list"))?;
    // Sealed, or ended and not yet sealed: all but the one that is written.
    let mut sealed = Vec::new();
    let mut unsealed = Vec::new();
    for &number in all.iter().filter(|&&number| number != resumed.live.number) {
        match open_ended(&shared, number, resumed.index_of(number), &mut report, progress)? {
            Ended::Sealed(segment) => sealed.push(Arc::new(*segment)),
            Ended::Unsealed(task) => unsealed.push(task),
        }
    }
    sealed.extend(answers_only(&shared, &all, &mut report.damage).map_err(io_error("list"))?);
    sealed.sort_by_key(|segment| segment.number);

    let live: Vec<Arc<Live>> = unsealed.iter().map(|task| task.live.clone()).chain([resumed.live.clone()]).collect();
    shared.update_view(|before| View { generation: before.generation + 1, sealed, live, probes: before.probes.clone() });
    let (jobs, job_queue) = mpsc::channel();
    let (seals, seal_queue) = mpsc::channel();
    for task in unsealed {
        seals.send(task).expect("the queue's other end is in this function");
    }
    let at = (resumed.live.number, resumed.head.len(), resumed.head.next_seq());
    let writer = Writer::new(shared.clone(), resumed.file, at, job_queue, seals);
    let sealer = Sealer::new(shared.clone(), seal_queue);
    {
        // What the last opening carries, but not over what is newer.
        let mut carried = shared.carried.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (name, value) in resumed.head.checkpoints().iter().filter(|(name, _)| !name.contains('/')) {
            carried.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let known = carried.get(JOURNAL).and_then(|value| Some(u64::from_le_bytes(value.as_slice().try_into().ok()?)));
        let journal = match known {
            Some(journal) => journal,
            None => identity(&shared, resumed.live.number).map_err(io_error("read"))?,
        };
        carried.insert(JOURNAL.to_owned(), journal.to_le_bytes().to_vec());
        shared.history.get_or_init(|| History { journal, opened_at: now, opened_seq: resumed.head.next_seq() });
    }
    let committer = Committer::new(shared.clone(), resumed.head, resumed.live, jobs);
    let store = Store(shared);
    store.0.durable.send_replace(store.view().next_seq());
    report.segments = all.len() as u64;
    report.events = store.view().events();
    Ok(Parts { store, committer, writer, sealer, report })
}

/// Identity of a journal whose openings carry none yet: made of that of the live segment, which says when it was begun, and stays
/// until the next one carries it.
fn identity(shared: &Shared, live: u64) -> io::Result<u64> {
    let opening = segment::scan(&*shared.open_segment(live)?, live, false)?.opening;
    let id = EventId::of_line(&opening.map(|opening| Header::Opening(opening).encode()).unwrap_or_default());
    let (first, _) = id.0.split_first_chunk().expect("an id has sixteen bytes");
    Ok(u64::from_le_bytes(*first).max(1))
}

fn remove_temporary(shared: &Shared) -> io::Result<()> {
    let dir = &shared.layout.journal;
    for entry in shared.fs.list(dir)? {
        if entry.name.ends_with(".tmp") {
            shared.fs.remove(&dir.join(entry.name))?;
        }
    }
    Ok(())
}

struct Last {
    head: Head,
    file: Arc<dyn crate::journal::fs::File>,
    live: Arc<Live>,
    /// When the last segment could not be gone on with: its number and index, made while it was read.
    ended: Option<(u64, Mutex<Option<LiveIndex>>)>,
}

impl Last {
    fn index_of(&self, number: u64) -> Option<LiveIndex> {
        let (ended, index) = self.ended.as_ref()?;
        (*ended == number).then(|| index.lock().ok()?.take())?
    }
}

fn resume_last(
    shared: &Arc<Shared>,
    committed: CommittedLen,
    now: Micros,
    report: &mut OpenReport,
    progress: &mut dyn FnMut(&str),
) -> Result<Last, OpenError> {
    let dir = &shared.layout.journal;
    if let Some((segment, _)) = committed.trusted {
        head::remove_behind(&*shared.fs, dir, segment).map_err(|source| OpenError::Io { action: "tidy up", path: dir.clone(), source })?;
    }
    loop {
        let all = numbers(&*shared.fs, dir).map_err(|source| OpenError::Io { action: "list", path: dir.clone(), source })?;
        let Some(&last) = all.last() else {
            let (head, opening) = Head::genesis(now);
            let file = head::create(&*shared.fs, dir, head.segment(), &opening).map_err(|source| OpenError::Io {
                action: "write to",
                path: dir.clone(),
                source,
            })?;
            let live = Arc::new(Live::new(head.segment(), LiveIndex::new(), file.clone(), head.next_seq()));
            return Ok(Last { head, file, live, ended: None });
        };
        progress(&format!("reading segment {last}"));
        let mut indexer = Indexer::new(shared);
        let options = ResumeOptions {
            dir,
            segment: last,
            committed_len: committed.saved.filter(|(number, _)| *number == last).map_or(0, |(_, len)| len),
            trusted_len: committed.trusted.filter(|(number, _)| *number == last).map(|(_, len)| len),
            next_seq_min: committed.next_seq,
            now,
        };
        let keep = |torn: TornTail| {
            head::keep_torn(&*shared.fs, &shared.layout.quarantine, &torn, now)?;
            quarantine_torn(shared, &torn, now)?;
            report.torn = Some(torn);
            Ok(())
        };
        let before = || checkpoints_before(shared, &all);
        let resumed = head::resume(&*shared.fs, &options, before, keep, |block, lines| indexer.add(block, lines))?;
        let Some(resumed) = resumed else { continue };
        report.damage.extend(resumed.damage);
        let (head, file) = (resumed.head, resumed.file);
        let (index, ended) =
            if head.segment() == last { (indexer.index, None) } else { (LiveIndex::new(), Some((last, Mutex::new(Some(indexer.index))))) };
        let live = Arc::new(Live::new(head.segment(), index, file.clone(), head.next_seq()));
        return Ok(Last { head, file, live, ended });
    }
}

/// The checkpoints as the segments before the last one leave them: for a last segment whose opening is damaged.
fn checkpoints_before(shared: &Shared, all: &[u64]) -> Checkpoints {
    let mut checkpoints = Checkpoints::new();
    let scan = |number: u64| segment::scan(&*shared.open_segment(number).ok()?, number, false).ok();
    if let Some(scan) = all.iter().rev().nth(1).and_then(|&number| scan(number)) {
        checkpoints = scan.opening.map(|opening| opening.checkpoints).unwrap_or_default();
        for run in scan.blocks.into_iter().flat_map(|block| block.header.runs) {
            match run.checkpoint {
                Some(value) if value.is_empty() => drop(checkpoints.remove(&run.stream)),
                Some(value) => drop(checkpoints.insert(run.stream, value)),
                None => {}
            }
        }
    }
    checkpoints
}

fn quarantine_torn(shared: &Shared, torn: &TornTail, now: Micros) -> io::Result<()> {
    let name = segment::file_name(torn.segment);
    let refused = Refused {
        reason: Reason::TornTail,
        offset: torn.offset,
        len: torn.bytes.len() as u64,
        hash: *blake3::hash(&torn.bytes).as_bytes(),
        bytes: torn.bytes[..torn.bytes.len().min(crate::sources::REFUSED_BYTES_MAX)].to_vec(),
        detail: "bytes behind the last whole block when the segment was opened".into(),
    };
    let record = QuarantineRecord::new(&refused, "journal", "segment", &name, now);
    shared.quarantine().put(&[record], now).map(drop).map_err(io::Error::other)
}

/// Builds a live index from stored blocks.
pub(super) struct Indexer {
    pub index: LiveIndex,
    batcher: Batcher,
    blocks: u32,
}

impl Indexer {
    pub(super) fn new(shared: &Shared) -> Indexer {
        Indexer { index: LiveIndex::new(), batcher: shared.batcher(), blocks: 0 }
    }

    pub(super) fn add(&mut self, block: &ScannedBlock, lines: &[u8]) {
        let runs: Vec<StoredRun<'_>> = block.header.runs.iter().map(stored).collect();
        let (terms, _, _) = self.batcher.index(lines, &runs);
        self.index.merge(self.blocks, block.meta, &terms);
        self.blocks += 1;
    }
}

/// A run as the batcher wants it.
pub(super) fn stored(run: &Run) -> StoredRun<'_> {
    StoredRun { events: run.events, format: run.format(), received_at: run.received_at, ids: &run.ids }
}

enum Ended {
    Sealed(Box<Sealed>),
    Unsealed(SealTask),
}

/// Opens a segment that is not written any more, with its sidecar; makes what is missing.
fn open_ended(
    shared: &Arc<Shared>,
    number: u64,
    index: Option<LiveIndex>,
    report: &mut OpenReport,
    progress: &mut dyn FnMut(&str),
) -> Result<Ended, OpenError> {
    let dir = &shared.layout.journal;
    let io_error = |source| OpenError::Io { action: "read", path: dir.join(segment::file_name(number)), source };
    let file = shared.open_segment(number).map_err(io_error)?;
    let len = file.len().map_err(io_error)?;
    if let Ok(Ok(sidecar)) = open_sidecar(shared, number)
        && sidecar.head().segment == number
        && sidecar.head().journal_len == len
        && sidecar.is_current()
    {
        return Ok(Ended::Sealed(Box::new(Sealed {
            number,
            generation: View::FIRST_GENERATION,
            sidecar,
            file: Some(shared.pooled_segment(number)),
        })));
    }
    progress(&format!("indexing segment {number}"));
    let scan = segment::scan(&*file, number, false).map_err(io_error)?;
    let mut indexer = Indexer::new(shared);
    match index {
        Some(index) => indexer.index = index,
        None => {
            report.damage.extend(scan.damage.clone());
            index_blocks(&*file, &scan.blocks, number, &mut indexer, &mut report.damage);
        }
    }
    let last_digest = scan.blocks.last().map(|block| block.header.digest);
    let digest = last_digest.or(scan.opening.as_ref().map(|opening| opening.previous_digest)).unwrap_or_default();
    if scan.seal.is_none() && scan.damage.is_empty() && report.damage.iter().all(|damage| damage.segment != number) {
        let opened_at = scan.opening.as_ref().map_or(0, |opening| opening.first_seq);
        let next_seq = scan.blocks.last().map_or(opened_at, |block| block.meta.first_seq + u64::from(block.meta.events));
        let seal = Seal {
            next_seq,
            events: scan.blocks.iter().map(|block| u64::from(block.meta.events)).sum(),
            blocks: scan.blocks.len() as u32,
            raw_len: scan.blocks.iter().map(|block| u64::from(block.meta.raw_len)).sum(),
            digest,
        };
        let live = Arc::new(Live::new(number, indexer.index, file.clone(), next_seq));
        return Ok(Ended::Unsealed(SealTask { live, file, len: scan.end, seal, step: SealStep::Ended }));
    }
    // Sealed, or damaged: the evidence stays as it is, only the answers are made again.
    let bytes = sidecar::build(&indexer.index, sidecar_head(number, &indexer.index, digest, len));
    write_sidecar(&*shared.fs, dir, number, &bytes).map_err(io_error)?;
    report.sidecars_rebuilt.push(number);
    let sidecar = open_sidecar(shared, number).map_err(io_error)?.map_err(|error| io_error(io::Error::other(error)))?;
    Ok(Ended::Sealed(Box::new(Sealed { number, generation: View::FIRST_GENERATION, sidecar, file: Some(shared.pooled_segment(number)) })))
}

pub(super) fn index_blocks(
    file: &dyn crate::journal::fs::File,
    blocks: &[ScannedBlock],
    number: u64,
    indexer: &mut Indexer,
    damage: &mut Vec<Damage>,
) {
    let mut reader = BlockReader::default();
    let mut lines = Vec::new();
    for (at, block) in blocks.iter().enumerate() {
        match reader.read(file, &block.meta, &mut lines) {
            Ok(_) => indexer.add(block, &lines),
            Err(error) => {
                damage.push(Damage { segment: number, block: Some(at as u32), offset: block.meta.offset, what: error.to_string() })
            }
        }
    }
}

/// Sidecars whose segment was removed by retention: answers without evidence.
fn answers_only(shared: &Shared, segments: &[u64], damage: &mut Vec<Damage>) -> io::Result<Vec<Arc<Sealed>>> {
    let dir = &shared.layout.journal;
    let mut found = Vec::new();
    for entry in shared.fs.list(dir)? {
        let Some(number) = segment::number_of_sidecar(&entry.name) else { continue };
        if segments.contains(&number) {
            continue;
        }
        match open_sidecar(shared, number)? {
            Ok(sidecar) => found.push(Arc::new(Sealed { number, generation: View::FIRST_GENERATION, sidecar, file: None })),
            // There is nothing that it could be made of again.
            Err(error) => {
                damage.push(Damage { segment: number, block: None, offset: 0, what: format!("answers without evidence: {error}") })
            }
        }
    }
    Ok(found)
}
