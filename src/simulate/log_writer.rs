//! A growing `cowrie.json`, rotated as Cowrie (Twisted's `DailyLogFile`) does it: at midnight UTC by the events' own clock the file is
//! renamed to `cowrie.json.YYYY-MM-DD` and a new one begun. For the demo also by size, with old files removed.
use super::{Generator, Random};
use crate::events::{Micros, time};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// When the log is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    Never,
    /// At midnight UTC, to `cowrie.json.YYYY-MM-DD`.
    Daily,
    /// At midnight, and whenever the file has reached this size, to `cowrie.json.YYYY-MM-DD` and then `cowrie.json.YYYY-MM-DD.1`, …
    Bytes(u64),
}

/// Whether readers may see half a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// Each write ends with a whole line.
    Never,
    /// Writes end anywhere, and the end of the last line waits for the next call: what a tail sees of a busy writer.
    Writes,
    /// As `Writes`, and a line may begin in one file and end in the next, as old Cowrie did at midnight.
    Rotations,
}

/// Writes `cowrie.json` in a directory.
#[derive(Debug)]
pub struct LogWriter {
    dir: PathBuf,
    file: File,
    /// Size of the current file, bytes.
    written: u64,
    /// Day (since 1970-01-01) of the current file's first event.
    day: Option<i32>,
    rotation: Rotation,
    /// Rotated files beyond this many are removed, oldest first.
    keep: usize,
    /// Files this writer rotated, oldest first.
    rotated: Vec<PathBuf>,
    torn: Torn,
    random: Random,
    /// The end of the last line, not written yet.
    pending: Vec<u8>,
    buffer: Vec<u8>,
}

/// Most events written by one call of [`LogWriter::pump`] before it looks at the day again.
const BATCH_EVENTS: u64 = 4_096;

impl LogWriter {
    /// Opens (or creates) `dir/cowrie.json` for appending; `dir` must exist. What the file held before counts as of the day of the first
    /// write, for its events' clock is not known.
    pub fn open(dir: &Path, rotation: Rotation) -> io::Result<LogWriter> {
        let file = OpenOptions::new().append(true).create(true).open(dir.join("cowrie.json"))?;
        let written = file.metadata()?.len();
        Ok(LogWriter {
            dir: dir.to_owned(),
            file,
            written,
            day: None,
            rotation,
            keep: usize::MAX,
            rotated: Vec::new(),
            torn: Torn::Never,
            random: Random::new(0x70E4),
            pending: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// Keeps only the newest `files` of the files this writer rotates; the demo would fill the disk otherwise.
    pub fn keep(mut self, files: usize) -> LogWriter {
        self.keep = files;
        self
    }

    /// Lets readers see torn lines, at places drawn from `seed`.
    pub fn torn(mut self, torn: Torn, seed: u64) -> LogWriter {
        self.torn = torn;
        self.random = Random::new(seed);
        self
    }

    /// The file being written.
    pub fn path(&self) -> PathBuf {
        self.dir.join("cowrie.json")
    }

    /// The files rotated so far that are still there, oldest first.
    pub fn rotated(&self) -> &[PathBuf] {
        &self.rotated
    }

    /// Writes every event `generator` has up to `now`, rotating where a day ends; returns how many. Called on a timer it makes a live log.
    pub fn pump(&mut self, generator: &mut Generator, now: Micros) -> io::Result<u64> {
        self.pump_at_most(generator, now, u64::MAX)
    }

    /// As [`LogWriter::pump`], but stops after `events`.
    pub fn pump_at_most(&mut self, generator: &mut Generator, now: Micros, events: u64) -> io::Result<u64> {
        let mut total = 0;
        while total < events
            && let Some(next) = generator.next_time()
            && next <= now
        {
            let day = time::day_of(next);
            let day_end = (Micros::from(day) + 1) * time::MICROS_PER_DAY - 1;
            let mut lines = std::mem::take(&mut self.buffer);
            lines.clear();
            total += generator.fill_until(&mut lines, day_end.min(now), BATCH_EVENTS.min(events - total));
            let outcome = self.write(&lines, next);
            self.buffer = lines;
            outcome?;
        }
        Ok(total)
    }

    /// Appends whole lines whose events are of the day of `time`, rotating first when it is due.
    pub fn write(&mut self, lines: &[u8], time: Micros) -> io::Result<()> {
        let day = time::day_of(time);
        let due = match (self.rotation, self.day) {
            (Rotation::Never, _) => false,
            (_, Some(file_day)) if file_day != day => true,
            (Rotation::Bytes(limit), _) => self.written >= limit,
            (Rotation::Daily, _) => false,
        };
        if due && self.written > 0 {
            self.rotate(self.day.unwrap_or(day))?;
        }
        self.day = Some(day);
        if self.torn == Torn::Never {
            return self.append(lines);
        }
        let mut bytes = std::mem::take(&mut self.pending);
        bytes.extend_from_slice(lines);
        let last_line = bytes[..bytes.len().saturating_sub(1)].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let end = self.random.between(last_line as u32, bytes.len() as u32 + 1) as usize;
        let mut rest = &bytes[..end];
        while !rest.is_empty() {
            let piece = (1 + self.random.below(3_000) as usize).min(rest.len());
            self.append(&rest[..piece])?;
            rest = &rest[piece..];
        }
        self.pending = bytes.split_off(end);
        Ok(())
    }

    /// Writes what was held back and makes the file durable.
    pub fn finish(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.append(&pending)?;
        self.file.sync_all()
    }

    /// Renames the file after `day` and begins a new one; the first free name of `.YYYY-MM-DD`, `.YYYY-MM-DD.1`, …
    pub fn rotate(&mut self, day: i32) -> io::Result<()> {
        if self.torn != Torn::Rotations {
            let pending = std::mem::take(&mut self.pending);
            self.append(&pending)?;
        }
        let dated = format!("cowrie.json.{}", time::format_day(day));
        let mut target = self.dir.join(&dated);
        for number in 1u32.. {
            if !target.exists() {
                break;
            }
            target = self.dir.join(format!("{dated}.{number}"));
        }
        std::fs::rename(self.path(), &target)?;
        self.file = OpenOptions::new().append(true).create(true).open(self.path())?;
        self.written = 0;
        self.rotated.push(target);
        while self.rotated.len() > self.keep {
            let oldest = self.rotated.remove(0);
            match std::fs::remove_file(&oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}
