//! What was refused, kept with the reason: a log of JSON records, each refused stretch once.
use crate::events::id::hex;
use crate::events::{EventId, Micros, time};
use crate::journal::fs::Fs;
use crate::journal::log::{Log, LogError, Record};
use crate::sources::{Origin, Reason, Refused};
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

/// So many refused stretches are remembered to keep each once; older ones may be kept again.
const REMEMBERED_MAX: usize = 100_000;
/// Records are copied in steps of so many bytes.
const COPIED_BYTES: usize = 1 << 20;

/// One refused stretch as it lies in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    #[serde(rename = "@timestamp")]
    pub timestamp: String,
    pub reason: Reason,
    pub detail: String,
    pub source: String,
    pub format: String,
    pub path: String,
    /// Offset in the (decompressed) input, bytes.
    pub offset: u64,
    /// Length of all that was refused, bytes.
    pub len: u64,
    /// BLAKE3 of all that was refused, hexadecimal.
    pub blake3: String,
    /// What was refused, or its beginning when it was longer than `kept`: as text, or in hexadecimal when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    pub kept: u64,
    /// Of what a sink refused: all that it takes to send it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<Undelivered>,
}

/// What was to be delivered, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    pub sink: String,
    /// Sequence number of the event; of several the last one's.
    pub sequence: u64,
    /// Identity of the item, hexadecimal.
    pub id: String,
    /// The time it is indexed by.
    pub time: Micros,
}

impl QuarantineRecord {
    pub fn new(refused: &Refused, source: &str, format: &str, path: &str, received_at: Micros) -> QuarantineRecord {
        let text = std::str::from_utf8(&refused.bytes).ok().map(str::to_owned);
        let hex_bytes = text.is_none().then(|| hex(&refused.bytes));
        QuarantineRecord {
            timestamp: time::format(received_at),
            reason: refused.reason,
            detail: refused.detail.clone(),
            source: source.into(),
            format: format.into(),
            path: path.into(),
            offset: refused.offset,
            len: refused.len,
            blake3: hex(&refused.hash),
            text,
            hex: hex_bytes,
            kept: refused.bytes.len() as u64,
            undelivered: None,
        }
    }

    /// Of a chunk's refusal.
    pub fn of(refused: &Refused, origin: &Origin) -> QuarantineRecord {
        Self::new(refused, &origin.source.name, origin.source.format.name(), &origin.path, origin.received_at)
    }

    /// The refused bytes, when all of them were kept.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        if self.kept == self.len { self.kept_bytes() } else { None }
    }

    /// As many of the refused bytes as were kept.
    pub fn kept_bytes(&self) -> Option<Vec<u8>> {
        match (&self.text, &self.hex) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(hex)) => unhex(hex),
            (None, None) => None,
        }
    }

    /// What tells one refused stretch from another: its bytes; for one of which none are kept, where and why.
    fn key(&self) -> EventId {
        if let Some(undelivered) = &self.undelivered {
            // The same item may be refused by several sinks, and equal payloads may be different items.
            return EventId::of_line(format!("{}\n{}\n{}", self.path, self.offset, undelivered.id).as_bytes());
        }
        key(&self.blake3, self.len, &self.path, self.offset, self.reason)
    }
}

fn key(blake3: &str, len: u64, path: &str, offset: u64, reason: Reason) -> EventId {
    if len > 0 { EventId::of_line(blake3.as_bytes()) } else { EventId::of_line(format!("{path}\n{offset}\n{}", reason.name()).as_bytes()) }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

pub struct Quarantine {
    log: Log,
    remembered: HashSet<EventId>,
    order: VecDeque<EventId>,
    records: u64,
    /// Records that are gone since the start because of the size limit.
    pub evicted: u64,
}

impl Quarantine {
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, bytes_max: u64, now: Micros) -> Result<Quarantine, LogError> {
        let log = Log::open(fs, dir, "quarantine", bytes_max, now)?;
        let mut quarantine = Quarantine { log, remembered: HashSet::new(), order: VecDeque::new(), records: 0, evicted: 0 };
        let mut keys = Vec::new();
        quarantine.log.for_each(0, |_, line| {
            keys.extend(serde_json::from_slice::<QuarantineRecord>(line).ok().map(|record| record.key()));
            true
        })?;
        quarantine.records = keys.len() as u64;
        keys.into_iter().for_each(|key| quarantine.remember(key));
        Ok(quarantine)
    }

    fn remember(&mut self, key: EventId) {
        if self.remembered.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
    }

    /// Whether what was refused of the input at `path` is here.
    pub fn contains(&self, refused: &Refused, path: &str) -> bool {
        self.remembered.contains(&key(&hex(&refused.hash), refused.len, path, refused.offset, refused.reason))
    }

    /// Stores, durably, those records that are not here yet. Returns how many these were.
    pub fn put(&mut self, records: &[QuarantineRecord], now: Micros) -> Result<usize, LogError> {
        let mut new: HashSet<EventId> = HashSet::new();
        let fresh: Vec<&QuarantineRecord> =
            records.iter().filter(|record| !self.remembered.contains(&record.key()) && new.insert(record.key())).collect();
        if fresh.is_empty() {
            return Ok(0);
        }
        let to_line = |record: &&QuarantineRecord| Record {
            time: time::parse(record.timestamp.as_bytes()).unwrap_or(now),
            line: serde_json::to_vec(record).expect("a struct of strings and numbers is always JSON"),
        };
        let lines: Vec<Record> = fresh.iter().map(to_line).collect();
        self.log.append(&lines, now)?;
        fresh.iter().for_each(|record| self.remember(record.key()));
        let evicted = self.log.enforce_limit()?;
        self.evicted += evicted;
        self.records = self.records + fresh.len() as u64 - evicted.min(self.records);
        Ok(fresh.len())
    }

    /// Every record with its number, oldest first, until `visit` returns false.
    pub fn for_each(&self, from: u64, mut visit: impl FnMut(u64, QuarantineRecord) -> bool) -> Result<(), LogError> {
        self.log.for_each(from, |seq, line| match serde_json::from_slice(line) {
            Ok(record) => visit(seq, record),
            Err(_) => true,
        })
    }

    /// The record with this number.
    pub fn get(&self, seq: u64) -> Result<Option<QuarantineRecord>, LogError> {
        let mut found = None;
        self.for_each(seq, |number, record| {
            found = (number == seq).then_some(record);
            false
        })?;
        Ok(found)
    }

    /// Removes the records that `keep` does not want. Returns how many went; those that stay get new numbers.
    ///
    /// They are copied before the old ones go, so a crash in between leaves records twice and loses none.
    pub fn retain(&mut self, mut keep: impl FnMut(u64, &QuarantineRecord) -> bool, now: Micros) -> Result<u64, LogError> {
        let end = self.log.next_seq();
        let old = self.log.begin_segment(now)?;
        let (mut from, mut kept, mut removed) = (0, Vec::new(), 0);
        while from < end {
            let (mut lines, mut bytes) = (Vec::new(), 0);
            let mut next = end;
            self.log.for_each(from, |seq, line| {
                if seq >= end || bytes >= COPIED_BYTES {
                    next = seq.min(end);
                    return false;
                }
                match serde_json::from_slice::<QuarantineRecord>(line) {
                    Ok(record) if !keep(seq, &record) => removed += 1,
                    record => {
                        bytes += line.len();
                        let time = record.as_ref().ok().and_then(|record| time::parse(record.timestamp.as_bytes()));
                        kept.extend(record.map(|record| record.key()));
                        lines.push(Record { time: time.unwrap_or(now), line: line.to_vec() });
                    }
                }
                true
            })?;
            if !lines.is_empty() {
                self.log.append(&lines, now)?;
            }
            from = next;
        }
        self.log.remove_before(old)?;
        self.remembered.clear();
        self.order.clear();
        self.records = kept.len() as u64;
        kept.into_iter().for_each(|key| self.remember(key));
        Ok(removed)
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.records
    }

    pub fn disk_bytes(&self) -> u64 {
        self.log.disk_bytes()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::simulated::{SimulatedFs, Unsynced};

    fn record(number: u64) -> QuarantineRecord {
        let bytes = format!("refused {number}").into_bytes();
        let (len, hash) = (bytes.len() as u64, *blake3::hash(&bytes).as_bytes());
        let refused = Refused { reason: Reason::NotAnObject, offset: number, len, hash, bytes, detail: "expected an object".into() };
        QuarantineRecord::new(&refused, "cowrie", "cowrie", "/log", number as Micros)
    }

    fn open(fs: &SimulatedFs) -> Result<Quarantine, LogError> {
        Quarantine::open(Arc::new(fs.clone()), Path::new("/quarantine"), 1 << 30, 0)
    }

    fn offsets(quarantine: &Quarantine) -> Vec<u64> {
        let mut offsets = Vec::new();
        let visit = |_, record: QuarantineRecord| {
            offsets.push(record.offset);
            true
        };
        quarantine.for_each(0, visit).expect("read");
        offsets
    }

    /// Ten records, of which the even ones are removed.
    fn run(fs: &SimulatedFs) -> Result<u64, LogError> {
        let mut quarantine = open(fs)?;
        quarantine.put(&(0..10).map(record).collect::<Vec<_>>(), 0)?;
        quarantine.retain(|_, record| record.offset % 2 == 1, 0)
    }

    #[test]
    fn what_is_kept_survives_a_crash_at_any_operation_of_a_removal() {
        let whole = SimulatedFs::default();
        assert_eq!(run(&whole).expect("nothing fails"), 5);
        let quarantine = open(&whole).expect("opens");
        assert_eq!((offsets(&quarantine), quarantine.records()), (vec![1, 3, 5, 7, 9], 5));
        let filled = SimulatedFs::default();
        open(&filled).expect("opens").put(&(0..10).map(record).collect::<Vec<_>>(), 0).expect("put");
        for at in filled.operations()..whole.operations() {
            for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(at)] {
                let fs = SimulatedFs::default();
                fs.crash_after(at);
                let _ = run(&fs);
                let mut left = offsets(&open(&fs.after_crash(unsynced)).expect("opens"));
                left.sort_unstable();
                left.dedup();
                assert!([1, 3, 5, 7, 9].iter().all(|kept| left.contains(kept)), "crash at {at}: {left:?}");
            }
        }
    }

    #[test]
    fn each_refused_stretch_is_kept_once_also_behind_a_removal() {
        let mut quarantine = open(&SimulatedFs::default()).expect("opens");
        assert_eq!(quarantine.put(&[record(1), record(2), record(1)], 0).expect("put"), 2);
        assert_eq!(quarantine.retain(|_, record| record.offset == 2, 0).expect("removed"), 1);
        assert_eq!(quarantine.put(&[record(1), record(2)], 0).expect("put"), 1, "what was removed may come again");
        assert_eq!((offsets(&quarantine), quarantine.records()), (vec![2, 1], 2));
    }
}
