//! What was refused, kept with the reason: logs of JSON records, each refused stretch once.
//!
//! Input that is no event, and what a sink's receiver refused, lie in logs of their own: whoever can make a honeypot log garbage
//! must not be able to push out what is to be delivered.
use super::Layout;
use crate::events::id::hex;
use crate::events::{EventId, Micros, time};
use crate::journal::fs::Fs;
use crate::journal::log::{Log, LogError, Record, ShowLine};
use crate::sources::{Origin, Reason, Refused};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
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
    /// BLAKE3 of all that was refused, hexadecimal; of what a redaction policy withholds a keyed one, or nothing.
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
        // Withheld by a redaction policy.
        let is_withheld = refused.bytes.is_empty() && refused.len > 0;
        let text = std::str::from_utf8(&refused.bytes).ok().filter(|_| !is_withheld).map(str::to_owned);
        let hex_bytes = (text.is_none() && !is_withheld).then(|| hex(&refused.bytes));
        QuarantineRecord {
            timestamp: time::format(received_at),
            reason: refused.reason,
            detail: refused.detail.clone(),
            source: source.into(),
            format: format.into(),
            path: path.into(),
            offset: refused.offset,
            len: refused.len,
            blake3: if is_withheld && refused.hash == [0; 32] { String::new() } else { hex(&refused.hash) },
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
    if len > 0 && !blake3.is_empty() {
        EventId::of_line(blake3.as_bytes())
    } else {
        EventId::of_line(format!("{path}\n{offset}\n{}", reason.name()).as_bytes())
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// What becomes of a record.
enum Fate {
    Stays,
    Goes,
    Becomes(Box<QuarantineRecord>),
}

/// One of the logs.
struct Part {
    log: Log,
    remembered: HashSet<EventId>,
    order: VecDeque<EventId>,
    records: u64,
    /// How many of them are dead letters of which sink.
    letters: HashMap<String, u64>,
    /// How often all records got new numbers.
    rewritten: u64,
}

impl Part {
    fn open(fs: Arc<dyn Fs>, dir: &Path, bytes_max: u64, now: Micros) -> Result<Part, LogError> {
        let log = Log::open(fs, dir, "quarantine", bytes_max, now)?;
        let mut part = Part { log, remembered: HashSet::new(), order: VecDeque::new(), records: 0, letters: HashMap::new(), rewritten: 0 };
        let mut keys = Vec::new();
        part.log.for_each(0, |_, line| {
            if let Ok(record) = serde_json::from_slice::<QuarantineRecord>(line) {
                keys.push(record.key());
                count_letter(&mut part.letters, &record);
            }
            true
        })?;
        part.records = keys.len() as u64;
        keys.into_iter().for_each(|key| part.remember(key));
        Ok(part)
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

    /// Stores, durably, those records that are not here yet, and shows what has to go for them. Returns how many these were.
    fn put<'r>(
        &mut self,
        records: impl Iterator<Item = &'r QuarantineRecord>,
        gone: Option<ShowLine<'_>>,
        now: Micros,
    ) -> Result<usize, LogError> {
        let mut new: HashSet<EventId> = HashSet::new();
        let fresh: Vec<&QuarantineRecord> =
            records.filter(|record| !self.remembered.contains(&record.key()) && new.insert(record.key())).collect();
        if fresh.is_empty() {
            return Ok(0);
        }
        let to_line = |record: &&QuarantineRecord| Record {
            time: time::parse(record.timestamp.as_bytes()).unwrap_or(now),
            line: serde_json::to_vec(record).expect("a struct of strings and numbers is always JSON"),
        };
        let lines: Vec<Record> = fresh.iter().map(to_line).collect();
        self.log.append(&lines, now)?;
        for record in &fresh {
            self.remember(record.key());
            count_letter(&mut self.letters, record);
        }
        let evicted = self.log.enforce_limit_showing(gone)?;
        self.records = self.records + fresh.len() as u64 - evicted.min(self.records);
        Ok(fresh.len())
    }

    fn for_each(&self, from: u64, mut visit: impl FnMut(u64, QuarantineRecord) -> bool) -> Result<(), LogError> {
        self.log.for_each(from, |seq, line| match serde_json::from_slice(line) {
            Ok(record) => visit(seq, record),
            Err(_) => true,
        })
    }

    /// See [`Quarantine::retain`].
    fn retain(&mut self, mut keep: impl FnMut(u64, &QuarantineRecord) -> bool, now: Micros) -> Result<u64, LogError> {
        self.rewrite(|seq, record| if keep(seq, record) { Fate::Stays } else { Fate::Goes }, now)
    }

    /// Lets every record be what `fate` says. Returns how many went.
    fn rewrite(&mut self, mut fate: impl FnMut(u64, &QuarantineRecord) -> Fate, now: Micros) -> Result<u64, LogError> {
        self.rewritten += 1;
        let end = self.log.next_seq();
        let old = self.log.begin_segment(now)?;
        let (mut from, mut kept, mut removed, mut letters) = (0, Vec::new(), 0, HashMap::new());
        while from < end {
            let (mut lines, mut bytes) = (Vec::new(), 0);
            let mut next = end;
            self.log.for_each(from, |seq, line| {
                if seq >= end || bytes >= COPIED_BYTES {
                    next = seq.min(end);
                    return false;
                }
                let record = serde_json::from_slice::<QuarantineRecord>(line);
                let line = match record.as_ref().map_or(Fate::Stays, |record| fate(seq, record)) {
                    Fate::Goes => {
                        removed += 1;
                        return true;
                    }
                    Fate::Stays => line.to_vec(),
                    Fate::Becomes(other) => serde_json::to_vec(&*other).expect("a struct of strings and numbers is always JSON"),
                };
                bytes += line.len();
                let time = record.as_ref().ok().and_then(|record| time::parse(record.timestamp.as_bytes()));
                // Records that are changed keep their key: what was refused is not stored again.
                if let Ok(record) = record {
                    kept.push(record.key());
                    count_letter(&mut letters, &record);
                }
                lines.push(Record { time: time.unwrap_or(now), line });
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
        (self.records, self.letters) = (kept.len() as u64, letters);
        kept.into_iter().for_each(|key| self.remember(key));
        Ok(removed)
    }
}

fn count_letter(letters: &mut HashMap<String, u64>, record: &QuarantineRecord) {
    if let Some(letter) = &record.undelivered {
        match letters.get_mut(&letter.sink) {
            Some(count) => *count += 1,
            None => drop(letters.insert(letter.sink.clone(), 1)),
        }
    }
}

/// Number of the first dead letter: dead letters are counted from here, so that every record has a number of its own.
pub const DEAD_LETTERS_FROM: u64 = 1_000_000_000_000;

pub struct Quarantine {
    /// Input that is no event.
    refused: Part,
    /// Dead letters: what a sink's receiver refused.
    undelivered: Part,
    /// Dead letters that the size limit took, until somebody asks.
    gone: Vec<Undelivered>,
}

impl Quarantine {
    /// Opens or creates both logs; each may take `bytes_max` on disk.
    pub fn open(fs: Arc<dyn Fs>, layout: &Layout, bytes_max: u64, now: Micros) -> Result<Quarantine, LogError> {
        let refused = Part::open(fs.clone(), &layout.quarantine, bytes_max, now)?;
        let undelivered = Part::open(fs, &layout.undelivered, bytes_max, now)?;
        let mut quarantine = Quarantine { refused, undelivered, gone: Vec::new() };
        quarantine.move_letters(now)?;
        Ok(quarantine)
    }

    /// Dead letters of earlier releases lie among the refused input. They are copied before they go: a crash loses none.
    fn move_letters(&mut self, now: Micros) -> Result<(), LogError> {
        let (mut from, mut found) = (0, false);
        loop {
            let (mut letters, mut bytes, mut next) = (Vec::new(), 0, None);
            self.refused.for_each(from, |seq, record| {
                if bytes >= COPIED_BYTES as u64 {
                    next = Some(seq);
                    return false;
                }
                if record.undelivered.is_some() {
                    bytes += record.kept;
                    letters.push(record);
                }
                true
            })?;
            found |= !letters.is_empty();
            self.put(&letters, now)?;
            let Some(next) = next else { break };
            from = next;
        }
        if found {
            self.refused.retain(|_, record| record.undelivered.is_none(), now)?;
        }
        Ok(())
    }

    /// Whether what was refused of the input at `path` is here.
    pub fn contains(&self, refused: &Refused, path: &str) -> bool {
        self.refused.remembered.contains(&key(&hex(&refused.hash), refused.len, path, refused.offset, refused.reason))
    }

    /// Stores, durably, those records that are not here yet. Returns how many these were.
    pub fn put(&mut self, records: &[QuarantineRecord], now: Micros) -> Result<usize, LogError> {
        let Quarantine { refused, undelivered, gone } = self;
        let is_letter = |record: &&QuarantineRecord| record.undelivered.is_some();
        let before = gone.len();
        let mut note = |line: &[u8]| gone.extend(serde_json::from_slice::<QuarantineRecord>(line).ok().and_then(|gone| gone.undelivered));
        let letters = undelivered.put(records.iter().filter(is_letter), Some(&mut note), now)?;
        for letter in &gone[before..] {
            if let Some(count) = undelivered.letters.get_mut(&letter.sink) {
                *count = count.saturating_sub(1);
            }
        }
        Ok(letters + refused.put(records.iter().filter(|record| !is_letter(record)), None, now)?)
    }

    /// Dead letters that went because of the size limit, since the last call.
    pub fn take_gone(&mut self) -> Vec<Undelivered> {
        std::mem::take(&mut self.gone)
    }

    /// Every record with its number, first the refused input, then the dead letters, each oldest first, until `visit` returns false.
    pub fn for_each(&self, from: u64, mut visit: impl FnMut(u64, QuarantineRecord) -> bool) -> Result<(), LogError> {
        let mut wants_more = true;
        if from < DEAD_LETTERS_FROM {
            self.refused.for_each(from, |number, record| {
                wants_more = visit(number, record);
                wants_more
            })?;
        }
        if !wants_more {
            return Ok(());
        }
        self.undelivered.for_each(from.saturating_sub(DEAD_LETTERS_FROM), |seq, record| visit(DEAD_LETTERS_FROM + seq, record))
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
        let removed = self.refused.retain(&mut keep, now)?;
        Ok(removed + self.retain_letters(keep, now)?)
    }

    /// The same, among the dead letters only.
    pub fn retain_letters(&mut self, mut keep: impl FnMut(u64, &QuarantineRecord) -> bool, now: Micros) -> Result<u64, LogError> {
        self.undelivered.retain(|seq, record| keep(DEAD_LETTERS_FROM + seq, record), now)
    }

    /// How many records of refused input hold what `names` finds in their text, and how many dead letters are `gone`.
    pub fn count_erasable(
        &self,
        names: &dyn Fn(&[u8]) -> bool,
        gone: &dyn Fn(&Undelivered, &[u8]) -> bool,
    ) -> Result<(u64, u64), LogError> {
        let (mut texts, mut letters) = (0, 0);
        self.for_each(0, |_, record| {
            let bytes = record.kept_bytes().unwrap_or_default();
            match &record.undelivered {
                Some(letter) => letters += u64::from(gone(letter, &bytes)),
                None => texts += u64::from(names(&bytes)),
            }
            true
        })?;
        Ok((texts, letters))
    }

    /// Takes their text from the one, and removes the other. Answers how many there were of each.
    ///
    /// Of a text its length and its hash remain: without them the same input, read again, would be kept again.
    pub fn erase(
        &mut self,
        names: &dyn Fn(&[u8]) -> bool,
        gone: &dyn Fn(&Undelivered, &[u8]) -> bool,
        now: Micros,
    ) -> Result<(u64, u64), LogError> {
        let (texts, letters) = self.count_erasable(names, gone)?;
        if texts > 0 {
            let fate = |_, record: &QuarantineRecord| match record.kept_bytes() {
                Some(bytes) if names(&bytes) => {
                    Fate::Becomes(Box::new(QuarantineRecord { text: None, hex: None, kept: 0, ..record.clone() }))
                }
                _ => Fate::Stays,
            };
            self.refused.rewrite(fate, now)?;
        }
        if letters > 0 {
            self.retain_letters(
                |_, record| !record.undelivered.as_ref().is_some_and(|letter| gone(letter, &record.kept_bytes().unwrap_or_default())),
                now,
            )?;
        }
        Ok((texts, letters))
    }

    /// Takes their text, and the plain hash that would confirm a guess of it, from the records of refused input with these numbers.
    pub fn withhold(&mut self, numbers: &BTreeSet<u64>, now: Micros) -> Result<(), LogError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let fate = |number, record: &QuarantineRecord| match numbers.contains(&number) && record.kept > 0 {
            true => {
                let detail = format!("{}; its text is withheld since a retry", record.detail);
                Fate::Becomes(Box::new(QuarantineRecord {
                    text: None,
                    hex: None,
                    kept: 0,
                    blake3: String::new(),
                    detail,
                    ..record.clone()
                }))
            }
            false => Fate::Stays,
        };
        self.refused.rewrite(fate, now).map(drop)
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.refused.records + self.undelivered.records
    }

    /// How many dead letters of a sink there are.
    pub fn letters_of(&self, sink: &str) -> u64 {
        self.undelivered.letters.get(sink).copied().unwrap_or(0)
    }

    pub fn disk_bytes(&self) -> u64 {
        self.refused.log.disk_bytes() + self.undelivered.log.disk_bytes()
    }

    /// Behind the number of the last record of refused input.
    pub fn refused_end(&self) -> u64 {
        self.refused.log.next_seq()
    }

    /// Behind the number of the last dead letter.
    /// Since the start, how often all dead letters got new numbers: who reads them piece by piece has to begin again.
    pub fn letters_rewritten(&self) -> u64 {
        self.undelivered.rewritten
    }

    pub fn letters_end(&self) -> u64 {
        DEAD_LETTERS_FROM + self.undelivered.log.next_seq()
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
        Quarantine::open(Arc::new(fs.clone()), &Layout::new(Path::new("/")), 1 << 30, 0)
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

    fn letter(number: u64, sink: &str, bytes: usize) -> QuarantineRecord {
        let undelivered = Undelivered { sink: sink.into(), sequence: number, id: format!("{number:032x}"), time: 0 };
        let text = "x".repeat(bytes);
        QuarantineRecord { undelivered: Some(undelivered), kept: bytes as u64, len: bytes as u64, text: Some(text), ..record(number) }
    }

    /// As large as records get: a segment holds 128 of these.
    fn large(number: u64) -> QuarantineRecord {
        QuarantineRecord { text: Some("x".repeat(64 << 10)), blake3: number.to_string(), len: number, ..record(number) }
    }

    #[test]
    fn refused_input_pushes_out_no_dead_letter_and_the_limit_tells_which_go() {
        let fs = SimulatedFs::default();
        let layout = Layout::new(Path::new("/"));
        let mut quarantine = Quarantine::open(Arc::new(fs.clone()), &layout, 1, 0).expect("opens");
        quarantine.put(&[letter(7, "a", 10)], 0).expect("put");
        for number in 1..400 {
            quarantine.put(&[large(number)], 0).expect("put");
        }
        assert!(quarantine.records() < 200, "the oldest refused went");
        assert!(offsets(&quarantine).contains(&7));
        assert_eq!(quarantine.take_gone(), []);
        for number in 100..300 {
            quarantine.put(&[letter(number, "b", 64 << 10)], 0).expect("put");
        }
        let gone: Vec<u64> = quarantine.take_gone().iter().map(|letter| letter.sequence).collect();
        assert_eq!(gone[..3], [7, 100, 101]);
        assert!(!offsets(&quarantine).iter().any(|offset| gone.contains(offset) && *offset >= 100), "what is told to be gone is gone");
        assert_eq!(quarantine.take_gone(), [], "told once");
        let left = 201 - gone.len() as u64;
        assert_eq!((quarantine.letters_of("a"), quarantine.letters_of("b"), quarantine.letters_of("c")), (0, left, 0));
        drop(quarantine);
        let quarantine = Quarantine::open(Arc::new(fs), &layout, 1, 0).expect("opens");
        assert_eq!((quarantine.letters_of("a"), quarantine.letters_of("b")), (0, left));
    }

    #[test]
    fn dead_letters_are_counted_by_sink() {
        let mut quarantine = open(&SimulatedFs::default()).expect("opens");
        quarantine.put(&[letter(1, "a", 5), letter(2, "b", 5), record(3), letter(4, "a", 5), letter(1, "a", 5)], 0).expect("put");
        assert_eq!((quarantine.letters_of("a"), quarantine.letters_of("b")), (2, 1), "each once");
        quarantine.retain_letters(|_, record| record.offset != 1, 0).expect("removed");
        assert_eq!((quarantine.letters_of("a"), quarantine.letters_of("b")), (1, 1));
    }

    #[test]
    fn dead_letters_of_an_earlier_release_move_to_their_own_log_at_any_crash() {
        let layout = Layout::new(Path::new("/"));
        let earlier = |fs: &SimulatedFs| -> Result<(), LogError> {
            let mut all = Part::open(Arc::new(fs.clone()), &layout.quarantine, 1 << 30, 0)?;
            all.put([record(1), letter(2, "a", 5), record(3), letter(4, "b", 5)].iter(), None, 0).map(drop)
        };
        let whole = SimulatedFs::default();
        earlier(&whole).expect("written");
        let begun = whole.operations();
        let quarantine = open(&whole).expect("opens");
        let mut numbered = Vec::new();
        let visit = |number, record: QuarantineRecord| {
            numbered.push((number >= DEAD_LETTERS_FROM, record.offset));
            assert_eq!(quarantine.get(number).expect("read"), Some(record));
            true
        };
        quarantine.for_each(0, visit).expect("read");
        assert_eq!(numbered, [(false, 1), (false, 3), (true, 2), (true, 4)]);
        for at in begun..whole.operations() {
            let fs = SimulatedFs::default();
            fs.crash_after(at);
            earlier(&fs).expect("before the crash");
            let _ = open(&fs);
            let mut left = offsets(&open(&fs.after_crash(Unsynced::Lost)).expect("opens"));
            left.sort_unstable();
            left.dedup();
            assert_eq!(left, [1, 2, 3, 4], "crash at {at}");
        }
    }
}
