//! The evidence store: the events' journal and its index as one thing.
//!
//! Four parts share one [`Shared`] state, and each has one owner:
//! the [`Committer`] gives events their order and keeps each once (memory only), the [`Writer`] makes it durable, the
//! [`Sealer`] turns finished segments into their final form, and any number of [`Store`] handles answer questions.
//! None of them knows of actors; threads are their callers' business, and tests run all of them on one.
mod ages;
mod ask;
mod commit;
mod erase;
mod open;
mod quarantine;
mod read;
mod rebuild;
mod retention;
mod schemas;
mod seal;
mod view;
mod writer;

pub use ages::{SensorAge, SensorAges};
pub use ask::Terms;
pub use commit::{Committed, Committer};
pub use erase::{EraseError, Erased, FoundEvent, Sessions, Whose};
pub use open::{CommittedLen, OpenError, OpenReport, Parts, open};
pub use quarantine::{DEAD_LETTERS_FROM, Quarantine, QuarantineRecord, Undelivered};
pub use read::{Found, Gap, JournalReader, Missing, StoredEvent};
pub use rebuild::Rebuilt;
pub use retention::{Removed, RetentionPlan};
pub use schemas::{Drift, FIELDS_MAX, Key as SchemaKey, SCHEMAS_MAX, Schema, Schemas, Seen};
pub use seal::{SEAL_AGAIN, SealError, SealedReport, Sealer};
pub use view::{Known, Live, Sealed, View};
pub use writer::{Durable, Fault, Ticket, Wait, Writer};

use crate::events::Micros;
use crate::events::batch::Batcher;
use crate::geoip;
use crate::journal::block::Checkpoints;
use crate::journal::fs::{Fs, Pool};
use crate::journal::log::{Log, numbers};
use crate::journal::{fs::File, segment};
use crate::redact;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Limits of the store; the configuration's `[journal]` and `[limits]`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A segment ends at this many bytes of lines.
    pub segment_raw_bytes: u64,
    /// … or when its index in memory would outgrow this.
    pub live_index_bytes: usize,
    /// … or when it holds this many blocks.
    pub segment_blocks: u32,
    /// … or when its UTC day is over and it holds at least this many bytes: not every quiet day deserves a segment.
    pub day_raw_bytes: u64,
    pub quarantine_bytes: u64,
    pub ledger_bytes: u64,
    /// Files of sealed segments held open for reading.
    pub open_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            segment_raw_bytes: 64 << 20,
            live_index_bytes: 12 << 20,
            segment_blocks: 32 << 10,
            day_raw_bytes: 4 << 20,
            quarantine_bytes: 256 << 20,
            ledger_bytes: 64 << 20,
            open_files: 128,
        }
    }
}

/// Where things lie under the data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    pub root: PathBuf,
    pub journal: PathBuf,
    pub ledger: PathBuf,
    pub quarantine: PathBuf,
    /// The part of the quarantine that sinks' receivers refused.
    pub undelivered: PathBuf,
    pub state: PathBuf,
    /// Databases of countries and autonomous systems.
    pub geoip: PathBuf,
}

impl Layout {
    pub fn new(root: &Path) -> Layout {
        let dir = |name| root.join(name);
        Layout {
            root: root.to_owned(),
            journal: dir("journal"),
            ledger: dir("ledger"),
            quarantine: dir("quarantine"),
            undelivered: dir("undelivered"),
            state: dir("state"),
            geoip: dir("geoip"),
        }
    }
}

/// Which journal this is, for whoever keeps sequence numbers elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Goes with the journal from its beginning on, whatever retention removes; never 0.
    pub journal: u64,
    /// When this process opened it, and the next event's sequence number then.
    pub opened_at: Micros,
    pub opened_seq: u64,
}

/// Under which name [`History::journal`] stands among the checkpoints.
const JOURNAL: &str = "journal";

/// What all parts of the store share.
pub(crate) struct Shared {
    pub fs: Arc<dyn Fs>,
    pub layout: Layout,
    pub limits: Limits,
    /// Sealed segments and sidecars, for reading.
    pub pool: Arc<Pool>,
    view: RwLock<Arc<View>>,
    quarantine: Mutex<Quarantine>,
    /// By sink: dead letters that the quarantine's limit took, since the start.
    letters_lost: Mutex<BTreeMap<String, u64>>,
    ledger: Mutex<Log>,
    /// Held by whoever removes or replaces files of sealed segments.
    pub upkeep: Mutex<()>,
    /// Held while a segment is archived: one at a time, whoever asks for it.
    pub archiving: Mutex<()>,
    /// Which segment that is, and where it goes: the ledger does not say so yet.
    pub archived_now: Mutex<Option<(u64, String)>>,
    /// Grows with every segment in which events were erased.
    pub erasures: AtomicU64,
    /// Ages of sensors.
    pub aged: Mutex<ages::Aged>,
    pub probes: Arc<Probes>,
    /// Sequence number behind the last durable event.
    pub durable: watch::Sender<u64>,
    /// By holder: the first event that retention must leave alone.
    pub holds: Mutex<BTreeMap<String, u64>>,
    /// Checkpoints of others than sources, for the next segment's opening; an empty value forgets one.
    pub carried: Mutex<Checkpoints>,
    pub schemas: Schemas,
    disk_bytes: Mutex<Option<(Instant, (u64, u64))>>,
    /// Of sealed segments.
    pub tops: Arc<crate::index::top::Tops>,
    /// Where addresses are, for everything that decodes lines of this store.
    pub places: geoip::Handle,
    /// What must not be stored, or must not leave.
    pub privacy: redact::Handle,
    history: OnceLock<History>,
}

impl Probes {
    fn count(&self, asked: usize, hits: usize) {
        self.asked.fetch_add(asked as u64, Ordering::Relaxed);
        self.hits.fetch_add(hits as u64, Ordering::Relaxed);
    }
}

/// How often sealed segments were asked about an event, and had it.
#[derive(Default)]
pub struct Probes {
    asked: AtomicU64,
    hits: AtomicU64,
}

impl Shared {
    pub fn batcher(&self) -> Batcher {
        Batcher::with_places(self.places.clone()).with_privacy(self.privacy.clone())
    }

    pub fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Replaces the view by what `change` makes of it.
    pub fn update_view(&self, change: impl FnOnce(&View) -> View) {
        let mut view = self.view.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        *view = Arc::new(change(&view));
    }

    pub fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        self.quarantine.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn ledger(&self) -> MutexGuard<'_, Log> {
        self.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A sealed segment's file, for reading.
    pub fn pooled_segment(&self, number: u64) -> Arc<dyn File> {
        self.pool.file(self.layout.journal.join(segment::file_name(number)))
    }

    pub fn open_segment(&self, number: u64) -> io::Result<Arc<dyn File>> {
        self.fs.open(&self.layout.journal.join(segment::file_name(number)))
    }
}

/// A handle for reading: cheap to clone, never in the way of a commit for longer than a look-up.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Shared>);

impl Store {
    /// The segments as they are now.
    pub fn view(&self) -> Arc<View> {
        self.0.view()
    }

    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// The databases that tell where addresses are.
    pub fn places(&self) -> &geoip::Handle {
        &self.0.places
    }

    /// What must not be stored, or must not leave: nothing, until somebody says.
    pub fn privacy(&self) -> &redact::Handle {
        &self.0.privacy
    }

    /// What decodes lines of this store: as they are indexed from now on.
    pub fn batcher(&self) -> Batcher {
        self.0.batcher()
    }

    /// Bytes an unprivileged writer may still write under the data directory.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.0.fs.free_bytes(&self.0.layout.journal)
    }

    /// Bytes on disk: (segments, sidecars).
    pub fn disk_bytes(&self) -> io::Result<(u64, u64)> {
        let entries = self.0.fs.list(&self.0.layout.journal)?;
        let sum = |suffix: &str| entries.iter().filter(|entry| entry.name.ends_with(suffix)).map(|entry| entry.len).sum();
        Ok((sum(".zst"), sum(".idx")))
    }

    /// The same as of a second ago at most: every file is looked at for it, and status is asked often.
    pub fn disk_bytes_lately(&self) -> io::Result<(u64, u64)> {
        let mut known = self.0.disk_bytes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match *known {
            Some((at, bytes)) if at.elapsed() < Duration::from_secs(1) => Ok(bytes),
            _ => {
                let bytes = self.disk_bytes()?;
                *known = Some((Instant::now(), bytes));
                Ok(bytes)
            }
        }
    }

    /// Questions to sidecars about single events since the last call, and how many of them were hits.
    pub fn take_probes(&self) -> (u64, u64) {
        let probes = &self.0.probes;
        (probes.asked.swap(0, Ordering::Relaxed), probes.hits.swap(0, Ordering::Relaxed))
    }

    /// Bytes of the quarantine on disk; `None` while someone is writing or reading it.
    pub fn quarantine_bytes(&self) -> Option<u64> {
        self.0.quarantine.try_lock().ok().map(|quarantine| quarantine.disk_bytes())
    }

    /// The quarantine, locked for the caller.
    pub fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        self.0.quarantine()
    }

    /// Makes dead letters durable. Answers, by sink, the first sequence number and the number of those that had to go for them.
    pub fn bury(&self, letters: &[QuarantineRecord], now: Micros) -> Result<BTreeMap<String, (u64, u64)>, crate::journal::log::LogError> {
        let gone = {
            let mut quarantine = self.quarantine();
            quarantine.put(letters, now)?;
            quarantine.take_gone()
        };
        let mut by_sink: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for letter in gone {
            let (first, count) = by_sink.entry(letter.sink).or_insert((letter.sequence, 0));
            *first = letter.sequence.min(*first);
            *count += 1;
        }
        let mut lost = self.0.letters_lost.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        by_sink.iter().for_each(|(sink, (_, count))| *lost.entry(sink.clone()).or_default() += count);
        Ok(by_sink)
    }

    /// How many dead letters of a sink the quarantine's limit took, since the start.
    pub fn letters_lost(&self, sink: &str) -> u64 {
        self.0.letters_lost.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(sink).copied().unwrap_or(0)
    }

    /// Writes one record of what the daemon or an operator did to the ledger, durably.
    pub fn record(&self, event: &str, details: serde_json::Value, now: Micros) -> Result<(), crate::journal::log::LogError> {
        self.record_all(event, [details], now)
    }

    /// The same of several such records, synced together.
    pub fn record_all(
        &self,
        event: &str,
        details: impl IntoIterator<Item = serde_json::Value>,
        now: Micros,
    ) -> Result<(), crate::journal::log::LogError> {
        let records = details.into_iter().map(|details| {
            let line = serde_json::json!({ "@timestamp": crate::events::time::format(now), "event": event, "details": details });
            crate::journal::log::Record { time: now, line: line.to_string().into_bytes() }
        });
        let records: Vec<_> = records.collect();
        if records.is_empty() {
            return Ok(());
        }
        let mut ledger = self.0.ledger();
        ledger.append(&records, now)?;
        ledger.enforce_limit().map(drop)
    }

    /// Carries a checkpoint of a stage behind the journal in the openings of segments to come: what survives when the state is
    /// lost. Memory only. An empty value forgets it.
    pub fn carry(&self, name: &str, value: Vec<u8>) {
        self.0.carried.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(name.to_owned(), value);
    }

    /// What is carried under a name.
    pub fn carried(&self, name: &str) -> Option<Vec<u8>> {
        let carried = self.0.carried.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        carried.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// Which journal this is.
    pub fn history(&self) -> History {
        self.0.history.get().copied().unwrap_or_default()
    }

    /// What events look like.
    pub fn schemas(&self) -> &Schemas {
        &self.0.schemas
    }

    /// Shows the details of every record of a kind in the ledger, oldest first, as far as they can be read. Its files are read without its
    /// lock, which whoever commits may need meanwhile: what is written while this reads may be missed.
    pub fn each_recorded<Details: serde::de::DeserializeOwned>(&self, event: &str, each: &mut dyn FnMut(Details)) -> io::Result<()> {
        let named = memchr::memmem::Finder::new(event);
        each_ledger_line(&*self.0.fs, &self.0.layout.ledger, &mut |line| {
            if named.find(line).is_some()
                && let Some(details) = recorded_details(event, line)
            {
                each(details);
            }
        })
    }

    /// The same from the newest on, until `visit` returns false: no more of the ledger is read than that takes.
    pub fn newest_recorded<Details: serde::de::DeserializeOwned>(
        &self,
        event: &str,
        visit: &mut dyn FnMut(Details) -> bool,
    ) -> io::Result<()> {
        let named = memchr::memmem::Finder::new(event);
        self.recorded_backwards(u64::MAX, &mut |_, line| {
            let details = named.find(line).and_then(|_| recorded_details(event, line));
            details.is_none_or(&mut *visit)
        })
    }

    /// Shows the records of the ledger below number `before`, newest first, as (number, line), until `visit` returns false. One block is in
    /// memory at a time. Read without its lock, as [`Store::each_recorded`] does.
    pub fn recorded_backwards(&self, before: u64, visit: &mut dyn FnMut(u64, &[u8]) -> bool) -> io::Result<()> {
        let (fs, dir) = (&*self.0.fs, &self.0.layout.ledger);
        let (mut reader, mut lines) = (segment::BlockReader::default(), Vec::new());
        for number in numbers(fs, dir)?.into_iter().rev() {
            let Some(file) = ledger_file(fs, dir, number)? else { continue };
            for block in segment::scan(&*file, number, false)?.blocks.into_iter().rev() {
                if block.meta.first_seq >= before || reader.read(&*file, &block.meta, &mut lines).is_err() {
                    continue;
                }
                let numbered: Vec<(u64, &[u8])> = (block.meta.first_seq..).zip(segment::lines(&lines)).collect();
                for (seq, line) in numbered.into_iter().rev().filter(|(seq, _)| *seq < before) {
                    if !visit(seq, line) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The ledger, locked for the caller.
    pub fn ledger(&self) -> MutexGuard<'_, Log> {
        self.0.ledger()
    }
}

/// Shows every record of the ledger in this directory, oldest first, as far as they can be read; also while another process writes it.
pub fn each_ledger_line(fs: &dyn Fs, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let (mut reader, mut lines) = (segment::BlockReader::default(), Vec::new());
    for number in numbers(fs, dir)? {
        let Some(file) = ledger_file(fs, dir, number)? else { continue };
        for block in segment::scan(&*file, number, false)?.blocks {
            // What is damaged `verify` names.
            if reader.read(&*file, &block.meta, &mut lines).is_ok() {
                segment::lines(&lines).for_each(&mut *each);
            }
        }
    }
    Ok(())
}

/// `None`: the ledger's limit took it.
fn ledger_file(fs: &dyn Fs, dir: &Path, number: u64) -> io::Result<Option<Arc<dyn File>>> {
    match fs.open(&dir.join(segment::file_name(number))) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The details of a record of this kind; `None`: it is of another, or cannot be read.
fn recorded_details<Details: serde::de::DeserializeOwned>(event: &str, line: &[u8]) -> Option<Details> {
    #[derive(serde::Deserialize)]
    struct Record<'a> {
        #[serde(borrow)]
        event: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        details: &'a serde_json::value::RawValue,
    }
    let record: Record<'_> = serde_json::from_slice(line).ok()?;
    (record.event == event).then(|| serde_json::from_str(record.details.get()).ok()).flatten()
}

#[cfg(test)]
mod tests;
