//! A small journal written and synced in one call: the ledger (what the daemon and its operators did) and the quarantine
//! (what was refused). The same format as the events' own journal, without an index.
use super::block::{Checkpoints, Run};
use super::fs::{File, Fs};
use super::head::{self, Head, NewBlock, ResumeError, ResumeOptions, TornTail};
use super::segment::{self, BlockReader, Damage};
use crate::events::{EventId, Micros};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment of a log ends at this many bytes of lines.
const SEGMENT_RAW_BYTES: u64 = 8 << 20;
/// Lines of one append are cut into blocks of about this size.
const BLOCK_RAW_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot {action} {dir}: {source}")]
    Io { action: &'static str, dir: PathBuf, source: io::Error },
    #[error(transparent)]
    Resume(#[from] ResumeError),
}

/// One record: a line without its newline, and the time it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub time: Micros,
    pub line: Vec<u8>,
}

/// Is shown lines, one by one.
pub type ShowLine<'s> = &'s mut dyn FnMut(&[u8]);

pub struct Log {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    name: &'static str,
    bytes_max: u64,
    head: Head,
    file: Arc<dyn File>,
    /// A write failed: the file's end is not known.
    in_doubt: bool,
    /// Segment and length known to be synced.
    synced: (u64, u64),
    /// Places found damaged at opening.
    pub damage: Vec<Damage>,
    /// What a crash left behind the last whole block, and was cut off.
    pub torn: Option<TornTail>,
}

impl Log {
    /// Opens or creates the log in `dir`. `bytes_max` bounds its size on disk: the oldest segments go first.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, name: &'static str, bytes_max: u64, now: Micros) -> Result<Log, LogError> {
        Self::open_trusting(fs, dir, name, bytes_max, None, now)
    }

    fn open_trusting(
        fs: Arc<dyn Fs>,
        dir: &Path,
        name: &'static str,
        bytes_max: u64,
        mut trusted: Option<(u64, u64)>,
        now: Micros,
    ) -> Result<Log, LogError> {
        let io_error = |action| move |source| LogError::Io { action, dir: dir.to_owned(), source };
        fs.create_dir_all(dir).map_err(io_error("create"))?;
        let mut torn = None;
        if let Some((segment, _)) = trusted {
            head::remove_behind(&*fs, dir, segment).map_err(io_error("tidy up"))?;
        }
        loop {
            let Some(last) = numbers(&*fs, dir).map_err(io_error("list"))?.last().copied() else {
                let (head, opening) = Head::genesis(now);
                let file = head::create(&*fs, dir, head.segment(), &opening).map_err(io_error("write to"))?;
                let synced = (head.segment(), head.len());
                return Ok(Log { fs, dir: dir.to_owned(), name, bytes_max, head, file, in_doubt: false, synced, damage: vec![], torn });
            };
            let trusted_len = trusted.take().filter(|(number, _)| *number == last).map(|(_, len)| len);
            let options = ResumeOptions { dir, segment: last, committed_len: 0, trusted_len, next_seq_min: 0, now };
            let keep = |tail: TornTail| {
                head::keep_torn(&*fs, dir, &tail, now)?;
                torn = Some(tail);
                Ok(())
            };
            if let Some(resumed) = head::resume(&*fs, &options, Checkpoints::new, keep, |_, _| {})? {
                let synced = (resumed.head.segment(), resumed.head.len());
                let (head, file, damage) = (resumed.head, resumed.file, resumed.damage);
                return Ok(Log { fs, dir: dir.to_owned(), name, bytes_max, head, file, in_doubt: false, synced, damage, torn });
            }
        }
    }

    /// Appends the records and syncs them. Returns the sequence number of the first.
    ///
    /// After an error nothing of this call is in the log; the next call opens a new segment first.
    pub fn append(&mut self, records: &[Record], now: Micros) -> Result<u64, LogError> {
        self.settle(now)?;
        let first_seq = self.head.next_seq();
        self.try_append(records, now).map_err(|source| {
            self.in_doubt = true;
            LogError::Io { action: "write to", dir: self.dir.clone(), source }
        })?;
        Ok(first_seq)
    }

    /// After a failure: opens the log again at what was synced.
    fn settle(&mut self, now: Micros) -> Result<(), LogError> {
        if self.in_doubt {
            *self = Self::open_trusting(self.fs.clone(), &self.dir, self.name, self.bytes_max, Some(self.synced), now)?;
        }
        Ok(())
    }

    fn try_append(&mut self, records: &[Record], now: Micros) -> io::Result<()> {
        if self.head.raw_len() >= SEGMENT_RAW_BYTES {
            self.roll(now)?;
        }
        let mut rest = records;
        while !rest.is_empty() {
            let mut raw = Vec::new();
            let count = rest.iter().take_while(|record| {
                let fits = raw.is_empty() || raw.len() + record.line.len() < BLOCK_RAW_BYTES;
                if fits {
                    raw.extend_from_slice(&record.line);
                    raw.push(b'\n');
                }
                fits
            });
            let (block, tail) = rest.split_at(count.count());
            rest = tail;
            self.write_block(block, &raw, now)?;
        }
        self.file.sync_data()?;
        self.synced = (self.head.segment(), self.head.len());
        Ok(())
    }

    fn write_block(&mut self, records: &[Record], raw: &[u8], now: Micros) -> io::Result<()> {
        let line_hashes: Vec<EventId> = records.iter().map(|record| EventId::of_line(&record.line)).collect();
        let frame = zstd::bulk::compress(raw, 3)?;
        let times = || records.iter().map(|record| record.time);
        let run = Run {
            source: self.name.into(),
            decoder: "json".into(),
            stream: String::new(),
            received_at: now,
            events: records.len() as u32,
            reflowed: false,
            tombstones: false,
            checkpoint: None,
            ids: Vec::new(),
        };
        let staged = self.head.stage(NewBlock {
            line_hashes: &line_hashes,
            raw_len: raw.len() as u32,
            frame: &frame,
            time_min: times().min().unwrap_or(now),
            time_max: times().max().unwrap_or(now),
            runs: vec![run],
        });
        self.file.write_at(&[&staged.header, &frame], staged.meta.offset)
    }

    fn roll(&mut self, now: Micros) -> io::Result<()> {
        // The head is in the next segment from here on, the file only at the end.
        self.in_doubt = true;
        let rolled = self.head.roll(now);
        let seal = super::block::Header::Seal(rolled.seal).encode();
        self.file.write_at(&[&seal], rolled.ended_len)?;
        self.file.sync_data()?;
        self.file = head::create(&*self.fs, &self.dir, rolled.segment, &rolled.opening)?;
        self.synced = (self.head.segment(), self.head.len());
        self.in_doubt = false;
        Ok(())
    }

    /// Removes the oldest segments beyond the size limit. Returns how many events went with them.
    pub fn enforce_limit(&mut self) -> Result<u64, LogError> {
        self.enforce_limit_showing(None)
    }

    /// The same, and shows every line before it goes.
    pub fn enforce_limit_showing(&mut self, mut gone: Option<ShowLine<'_>>) -> Result<u64, LogError> {
        let io_error = |source| LogError::Io { action: "remove old segments of", dir: self.dir.clone(), source };
        let mut removed = 0;
        let files: Vec<_> = self.fs.list(&self.dir).map_err(io_error)?;
        let segments: Vec<(u64, u64)> = files.iter().filter_map(|entry| Some((segment::number_of(&entry.name)?, entry.len))).collect();
        let mut total: u64 = segments.iter().map(|(_, len)| len).sum();
        for &(number, len) in segments.iter().filter(|(number, _)| *number != self.head.segment()) {
            if total <= self.bytes_max {
                break;
            }
            if let Some(gone) = &mut gone {
                let mut show = |_, line: &[u8]| {
                    gone(line);
                    true
                };
                self.show_segment(number, 0, &mut BlockReader::default(), &mut Vec::new(), &mut show).map_err(io_error)?;
            }
            removed += self.remove_segment(number).map_err(io_error)?;
            total -= len;
        }
        Ok(removed)
    }

    /// Removes every event. Sequence numbers go on. Returns how many there were.
    pub fn purge(&mut self, now: Micros) -> Result<u64, LogError> {
        self.settle(now)?;
        let dir = self.dir.clone();
        let io_error = |source| LogError::Io { action: "purge", dir: dir.clone(), source };
        self.roll(now).map_err(io_error)?;
        let mut removed = 0;
        for number in numbers(&*self.fs, &self.dir).map_err(io_error)? {
            if number != self.head.segment() {
                removed += self.remove_segment(number).map_err(io_error)?;
            }
        }
        Ok(removed)
    }

    /// Ends the segment that is written: what is appended from now on can be told from what was there. Answers its number.
    pub fn begin_segment(&mut self, now: Micros) -> Result<u64, LogError> {
        self.settle(now)?;
        self.roll(now).map_err(|source| LogError::Io { action: "write to", dir: self.dir.clone(), source })?;
        Ok(self.head.segment())
    }

    /// Removes the segments before this one, with their records.
    pub fn remove_before(&mut self, segment: u64) -> Result<(), LogError> {
        let io_error = |source| LogError::Io { action: "remove from", dir: self.dir.clone(), source };
        for number in numbers(&*self.fs, &self.dir).map_err(io_error)? {
            if number < segment {
                self.remove_segment(number).map_err(io_error)?;
            }
        }
        Ok(())
    }

    fn remove_segment(&self, number: u64) -> io::Result<u64> {
        let path = self.dir.join(segment::file_name(number));
        let scan = segment::scan(&*self.fs.open(&path)?, number, false)?;
        self.fs.remove(&path)?;
        self.fs.sync_dir(&self.dir)?;
        Ok(scan.blocks.iter().map(|block| u64::from(block.meta.events)).sum())
    }

    /// Shows every record from sequence number `from` on: (sequence number, line). Stops when `visit` returns false.
    /// Damaged blocks are passed over; `verify` names them.
    pub fn for_each(&self, from: u64, mut visit: impl FnMut(u64, &[u8]) -> bool) -> Result<(), LogError> {
        let io_error = |source| LogError::Io { action: "read", dir: self.dir.clone(), source };
        let mut reader = BlockReader::default();
        let mut lines = Vec::new();
        for number in numbers(&*self.fs, &self.dir).map_err(io_error)? {
            if !self.show_segment(number, from, &mut reader, &mut lines, &mut visit).map_err(io_error)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether `visit` wants more.
    fn show_segment(
        &self,
        number: u64,
        from: u64,
        reader: &mut BlockReader,
        lines: &mut Vec<u8>,
        visit: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> io::Result<bool> {
        let file = self.fs.open(&self.dir.join(segment::file_name(number)))?;
        for block in segment::scan(&*file, number, false)?.blocks {
            if block.meta.first_seq + u64::from(block.meta.events) <= from || reader.read(&*file, &block.meta, lines).is_err() {
                continue;
            }
            for (seq, line) in (block.meta.first_seq..).zip(segment::lines(lines)) {
                if seq >= from && !visit(seq, line) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.fs.list(&self.dir).map_or(0, |entries| entries.iter().map(|entry| entry.len).sum())
    }

    /// Sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.head.next_seq()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Numbers of the segments in a directory, ascending.
pub fn numbers(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = fs.list(dir)?.iter().filter_map(|entry| segment::number_of(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{SimulatedFs, Unsynced};
    use super::*;

    fn records(range: std::ops::Range<u64>) -> Vec<Record> {
        range.map(|n| Record { time: n as i64, line: format!("{{\"n\":{n}}}").into_bytes() }).collect()
    }

    fn open(fs: &SimulatedFs) -> Result<Log, LogError> {
        Log::open(Arc::new(fs.clone()), Path::new("/log"), "test", 1 << 30, 0)
    }

    fn all(log: &Log) -> Vec<String> {
        let mut lines = Vec::new();
        log.for_each(0, |_, line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            true
        })
        .unwrap();
        lines
    }

    fn expected(range: std::ops::Range<u64>) -> Vec<String> {
        range.map(|n| format!("{{\"n\":{n}}}")).collect()
    }

    #[test]
    fn what_was_appended_is_there_after_opening_again() {
        let fs = SimulatedFs::default();
        let mut log = open(&fs).unwrap();
        assert_eq!(log.append(&records(0..3), 0).unwrap(), 1);
        assert_eq!(log.append(&records(3..10), 0).unwrap(), 4);
        let log = open(&fs).unwrap();
        assert_eq!(all(&log), expected(0..10));
        assert_eq!(log.next_seq(), 11);
    }

    #[test]
    fn a_crash_at_any_operation_keeps_what_was_acknowledged_and_nothing_in_halves() {
        let run = |fs: &SimulatedFs| -> u64 {
            let mut acknowledged = 0;
            let Ok(mut log) = open(fs) else { return 0 };
            for n in 0..6u64 {
                if n == 3 && log.roll(0).is_err() {
                    return acknowledged;
                }
                if log.append(&records(n * 10..n * 10 + 10), 0).is_err() {
                    return acknowledged;
                }
                acknowledged = n * 10 + 10;
            }
            acknowledged
        };
        let whole = SimulatedFs::default();
        assert_eq!(run(&whole), 60);
        for at in 0..whole.operations() {
            for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(at), Unsynced::Torn(at + 1000)] {
                let fs = SimulatedFs::default();
                fs.crash_after(at);
                let acknowledged = run(&fs);
                let mut log = open(&fs.after_crash(unsynced)).unwrap();
                let kept = all(&log);
                assert!(kept.len() as u64 >= acknowledged, "crash at {at}, {unsynced:?}: {} of {acknowledged}", kept.len());
                assert_eq!(kept, expected(0..kept.len() as u64));
                assert!(log.damage.is_empty(), "{:?}", log.damage);
                log.append(&records(100..101), 0).unwrap();
                assert_eq!(all(&log).len(), kept.len() + 1);
            }
        }
    }

    #[test]
    fn after_a_failed_write_or_sync_the_log_goes_on_without_what_was_in_doubt() {
        for fail in [SimulatedFs::fail_next_write, SimulatedFs::fail_next_sync] {
            let fs = SimulatedFs::default();
            let mut log = open(&fs).unwrap();
            log.append(&records(0..5), 0).unwrap();
            fail(&fs);
            assert!(log.append(&records(50..60), 0).is_err());
            log.append(&records(5..9), 0).unwrap();
            assert_eq!(all(&log), expected(0..9));
            assert_eq!(all(&open(&fs).unwrap()), expected(0..9));
        }
    }

    #[test]
    fn the_oldest_segments_go_when_the_log_is_too_large() {
        let fs = SimulatedFs::default();
        let mut log = Log::open(Arc::new(fs.clone()), Path::new("/log"), "test", 2_000, 0).unwrap();
        let mut gone = Vec::new();
        for n in 0..20 {
            log.append(&records(n * 10..n * 10 + 10), 0).unwrap();
            log.roll(0).unwrap();
            let mut show = |line: &[u8]| gone.push(String::from_utf8_lossy(line).into_owned());
            log.enforce_limit_showing(Some(&mut show)).unwrap();
        }
        assert!(log.disk_bytes() < 3_000);
        let kept = all(&log);
        assert_eq!(gone, expected(0..200 - kept.len() as u64), "shown before they went");
        assert_eq!(kept, expected(200 - kept.len() as u64..200));
        log.purge(0).unwrap();
        assert_eq!(all(&log), expected(0..0));
        assert_eq!(log.next_seq(), 201);
    }
}
