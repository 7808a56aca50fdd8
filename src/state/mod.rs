//! The small mutable view in sled: where the journal's head stands, the catalogue of segments, a copy of the checkpoints.
//!
//! Losing it loses nothing. It is written at most once a second, never per event, and rebuilt from the segments when it
//! is missing or cannot be read. What only it can tell: how far the last segment had been committed (so that a torn
//! append is told from damage) and which segments there should be.
mod codec;
pub mod enrichment;
pub mod keys;

use crate::events::Micros;
use crate::journal::block::Checkpoints;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes of sled's page cache unless configured.
pub const CACHE_BYTES: u64 = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot open the state in {dir}: {source}")]
    Open { dir: PathBuf, source: sled::Error },
    #[error("cannot put the damaged state {dir} aside: {source}")]
    Aside { dir: PathBuf, source: io::Error },
    #[error("cannot write the state: {0}")]
    Write(#[from] sled::Error),
    #[error("cannot sync the state: {0}")]
    Sync(#[from] io::Error),
}

impl StateError {
    /// Another opening holds the state, or the user may not read it.
    fn is_about_access(&self) -> bool {
        match self {
            StateError::Open { source: sled::Error::Io(error), .. } => {
                // sled has no kind of its own for a lock that is taken.
                error.kind() == io::ErrorKind::PermissionDenied || error.to_string().contains("could not acquire lock")
            }
            _ => false,
        }
    }
}

/// How far the journal was committed when this was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadRecord {
    pub segment: u64,
    pub len: u64,
    pub next_seq: u64,
}

/// One sealed segment of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRecord {
    pub first_seq: u64,
    pub events: u64,
    pub raw_bytes: u64,
    pub time_min: Micros,
    pub time_max: Micros,
    pub digest: [u8; 32],
}

impl SegmentRecord {
    pub fn of(head: &crate::index::sidecar::SidecarHead) -> SegmentRecord {
        let (first_seq, events, raw_bytes) = (head.first_seq, head.events, head.raw_bytes);
        SegmentRecord { first_seq, events, raw_bytes, time_min: head.time_min, time_max: head.time_max, digest: head.digest }
    }
}

/// Where a sink stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkCursor {
    /// The first event that has not settled.
    pub seq: u64,
    /// The operator asked for nothing to be sent.
    pub paused: bool,
}

impl SinkCursor {
    /// As it is kept in the state and in the openings of the journal's segments.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// `None` for anything that [`SinkCursor::encode`] did not write.
    pub fn decode(bytes: &[u8]) -> Option<SinkCursor> {
        codec::decode(bytes)
    }

    /// Under which name the journal keeps the cursor of a sink. No source's checkpoint can have it: they have a `/` behind the
    /// source's name, which has no `:` in it.
    pub fn checkpoint_name(sink: &str) -> String {
        format!("{CURSOR_PREFIX}{sink}")
    }

    /// The sink whose cursor the journal keeps under `name`.
    pub fn sink_of(name: &str) -> Option<&str> {
        name.strip_prefix(CURSOR_PREFIX)
    }
}

const CURSOR_PREFIX: &str = "sink:";

/// The sink's name, which has no NUL in it, and a hash of the session's id, which attackers choose.
fn result_key(sink: &str, session: &str) -> Vec<u8> {
    [sink.as_bytes(), b"\0", &blake3::hash(session.as_bytes()).as_bytes()[..16]].concat()
}

pub struct State {
    db: sled::Db,
    dir: PathBuf,
    segments: sled::Tree,
    checkpoints: sled::Tree,
    cursors: sled::Tree,
    /// Of sinks that send one result for a chat: how many messages it had when its result was delivered.
    results: sled::Tree,
    /// What others answered about values, the same in the order of time, and where those stand ([`enrichment`]).
    enrichments: sled::Tree,
    enrichment_ages: sled::Tree,
    enrichers: sled::Tree,
    enrichments_len: AtomicU64,
    /// API keys, and when each was used last ([`keys`]).
    pub(crate) keys: sled::Tree,
    key_uses: sled::Tree,
    /// The catalogue changed since the last flush.
    dirty: AtomicBool,
}

/// The state, and what had to be done to have it.
pub struct Opened {
    pub state: State,
    /// A damaged state was moved here; a new one was begun.
    pub put_aside: Option<PathBuf>,
    /// There was nothing before.
    pub created: bool,
}

impl State {
    /// Opens the state in `dir`, putting one that cannot be read aside.
    pub fn open(dir: &Path, cache_bytes: u64, now: Micros) -> Result<Opened, StateError> {
        let created = !dir.exists();
        match Self::try_open(dir, cache_bytes) {
            Ok(state) => Ok(Opened { state, put_aside: None, created }),
            // Nothing is wrong with it, only with who asks.
            Err(error) if error.is_about_access() => Err(error),
            Err(_) => {
                let aside = dir.with_file_name(format!("state.damaged-{now}"));
                std::fs::rename(dir, &aside).map_err(|source| StateError::Aside { dir: dir.to_owned(), source })?;
                let state = Self::try_open(dir, cache_bytes)?;
                Ok(Opened { state, put_aside: Some(aside), created: true })
            }
        }
    }

    fn try_open(dir: &Path, cache_bytes: u64) -> Result<State, StateError> {
        let open = || -> Result<State, sled::Error> {
            let db = sled::Config::new().path(dir).cache_capacity(cache_bytes).mode(sled::Mode::LowSpace).flush_every_ms(None).open()?;
            let (segments, checkpoints, cursors) = (db.open_tree("segments")?, db.open_tree("checkpoints")?, db.open_tree("cursors")?);
            let results = db.open_tree("results")?;
            let (enrichments, enrichment_ages) = (db.open_tree("enrichments")?, db.open_tree("enrichment_ages")?);
            let enrichers = db.open_tree("enrichers")?;
            let (keys, key_uses) = (db.open_tree("keys")?, db.open_tree("key_uses")?);
            // Reads every record once: garbage shows here and not in the middle of a day.
            let mut all = segments.iter().chain(checkpoints.iter()).chain(cursors.iter()).chain(results.iter()).chain(db.iter());
            all.try_for_each(|record| record.map(drop))?;
            enrichment_ages
                .iter()
                .chain(enrichers.iter())
                .chain(keys.iter())
                .chain(key_uses.iter())
                .try_for_each(|record| record.map(drop))?;
            let enrichments_len = enrichments.iter().try_fold(0, |len, record| record.map(|_| len + 1))?;
            Ok(State {
                db,
                dir: dir.to_owned(),
                segments,
                checkpoints,
                cursors,
                results,
                enrichments,
                enrichment_ages,
                enrichers,
                enrichments_len: AtomicU64::new(enrichments_len),
                keys,
                key_uses,
                dirty: AtomicBool::new(false),
            })
        };
        // sled answers some damage with a panic.
        std::panic::catch_unwind(open)
            .unwrap_or_else(|_| Err(sled::Error::Corruption { at: None, bt: () }))
            .map_err(|source| StateError::Open { dir: dir.to_owned(), source })
    }

    /// How far the journal was committed; `None` when not known.
    pub fn head(&self) -> Option<HeadRecord> {
        codec::decode(&self.db.get("head").ok()??)
    }

    /// The catalogue, ascending by segment number; records that cannot be read are left out.
    pub fn segments(&self) -> Vec<(u64, SegmentRecord)> {
        let records = self.segments.iter().flatten();
        records.filter_map(|(key, value)| Some((u64::from_be_bytes(key.as_ref().try_into().ok()?), codec::decode(&value)?))).collect()
    }

    pub fn put_segment(&self, number: u64, record: &SegmentRecord) -> Result<(), StateError> {
        self.segments.insert(number.to_be_bytes(), codec::encode(record))?;
        self.dirty.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub fn remove_segment(&self, number: u64) -> Result<(), StateError> {
        self.segments.remove(number.to_be_bytes())?;
        self.dirty.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the catalogue say exactly this.
    pub fn replace_segments(&self, records: &[(u64, SegmentRecord)]) -> Result<(), StateError> {
        for (number, _) in self.segments() {
            if records.iter().all(|(known, _)| *known != number) {
                self.remove_segment(number)?;
            }
        }
        records.iter().try_for_each(|(number, record)| self.put_segment(*number, record))?;
        self.db.flush()?;
        Ok(())
    }

    /// Writes the head, and the checkpoints when they are given, then makes all that was written durable.
    pub fn save(&self, head: HeadRecord, checkpoints: Option<&Checkpoints>) -> Result<(), StateError> {
        if self.head() == Some(head) && !self.dirty.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(checkpoints) = checkpoints {
            self.put_checkpoints(checkpoints)?;
        }
        self.db.insert("head", codec::encode(&head))?;
        self.flush()
    }

    fn flush(&self) -> Result<(), StateError> {
        self.db.flush()?;
        // sled's flush ends in sync_file_range, which is no barrier.
        std::fs::File::open(self.dir.join("db"))?.sync_all()?;
        Ok(())
    }

    /// Where each sink stands, by name.
    pub fn cursors(&self) -> Vec<(String, SinkCursor)> {
        let records = self.cursors.iter().flatten();
        records.filter_map(|(key, value)| Some((String::from_utf8(key.to_vec()).ok()?, codec::decode(&value)?))).collect()
    }

    pub fn cursor(&self, sink: &str) -> Option<SinkCursor> {
        codec::decode(&self.cursors.get(sink).ok()??)
    }

    /// Writes where a sink stands, and makes it durable.
    pub fn save_cursor(&self, sink: &str, cursor: SinkCursor) -> Result<(), StateError> {
        self.cursors.insert(sink, codec::encode(&cursor))?;
        self.flush()
    }

    /// Forgets a sink, and which results it delivered. Answers whether it was known.
    pub fn forget_sink(&self, sink: &str) -> Result<bool, StateError> {
        let known = self.cursors.remove(sink)?.is_some();
        for key in self.results.scan_prefix([sink.as_bytes(), b"\0"].concat()).keys() {
            self.results.remove(key?)?;
        }
        self.flush()?;
        Ok(known)
    }

    /// How many messages a chat had when its result was delivered last.
    pub fn result(&self, sink: &str, session: &str) -> Result<Option<u64>, StateError> {
        Ok(self.results.get(result_key(sink, session))?.and_then(|value| codec::decode(&value)))
    }

    /// Notes the delivery of a chat's result, and makes it durable.
    pub fn put_result(&self, sink: &str, session: &str, messages: u64) -> Result<(), StateError> {
        self.results.insert(result_key(sink, session), codec::encode(&messages))?;
        self.flush()
    }

    /// The book of alerts, as [`State::put_alerts`] got it.
    pub fn alerts(&self) -> Option<Vec<u8>> {
        self.db.get("alerts").ok()?.map(|bytes| bytes.to_vec())
    }

    pub fn put_alerts(&self, book: &[u8]) -> Result<(), StateError> {
        self.db.insert("alerts", book)?;
        self.flush()
    }

    /// Forgets, for every sink, that the result of this chat was delivered. Answers how many sinks had.
    pub fn forget_result(&self, session: &str) -> Result<u64, StateError> {
        let mut forgotten = 0;
        for (sink, _) in self.cursors() {
            forgotten += u64::from(self.results.remove(result_key(&sink, session))?.is_some());
        }
        if forgotten > 0 {
            self.flush()?;
        }
        Ok(forgotten)
    }

    fn put_checkpoints(&self, checkpoints: &Checkpoints) -> Result<(), StateError> {
        for (name, value) in checkpoints {
            if self.checkpoints.get(name)?.as_deref() != Some(value) {
                self.checkpoints.insert(name.as_bytes(), value.as_slice())?;
            }
        }
        for name in self.checkpoints.iter().keys() {
            let name = name?;
            if !std::str::from_utf8(&name).is_ok_and(|name| checkpoints.contains_key(name)) {
                self.checkpoints.remove(name)?;
            }
        }
        Ok(())
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SegmentRecord {
        SegmentRecord { first_seq: 1, events: 2, raw_bytes: 3, time_min: -4, time_max: 5, digest: [6; 32] }
    }

    #[test]
    fn what_was_saved_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let head = HeadRecord { segment: 3, len: 99, next_seq: 1000 };
        let checkpoints: Checkpoints = [("a".to_string(), vec![1]), ("b".to_string(), vec![2])].into();
        {
            let opened = State::open(&path, CACHE_BYTES, 0).unwrap();
            assert!(opened.created);
            assert_eq!(opened.state.head(), None);
            opened.state.put_segment(2, &record()).unwrap();
            let before = HeadRecord { next_seq: 1, ..head };
            opened.state.save(before, Some(&[("gone".to_string(), vec![9])].into())).unwrap();
            opened.state.save(head, Some(&checkpoints)).unwrap();
        }
        let opened = State::open(&path, CACHE_BYTES, 0).unwrap();
        assert!(!opened.created && opened.put_aside.is_none());
        assert_eq!(opened.state.head(), Some(head));
        assert_eq!(opened.state.segments(), vec![(2, record())]);
        assert_eq!(opened.state.checkpoints.len(), 2);
    }

    #[test]
    fn a_state_that_is_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let _first = State::open(&path, CACHE_BYTES, 0).unwrap();
        assert!(State::open(&path, CACHE_BYTES, 0).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was put aside");
    }

    #[test]
    fn garbage_is_put_aside_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        {
            let opened = State::open(&path, CACHE_BYTES, 0).unwrap();
            (0..500).for_each(|number| opened.state.put_segment(number, &record()).unwrap());
            opened.state.save(HeadRecord { segment: 1, len: 1, next_seq: 1 }, None).unwrap();
        }
        for file in ["conf", "db"] {
            let path = path.join(file);
            let len = std::fs::metadata(&path).unwrap().len() as usize;
            std::fs::write(&path, vec![0xA5; len]).unwrap();
        }
        let opened = State::open(&path, CACHE_BYTES, 7).unwrap();
        assert!(opened.put_aside.is_some_and(|aside| aside.ends_with("state.damaged-7")));
        assert_eq!(opened.state.head(), None);
    }
}
