//! Checks an archive in a directory: every file's own sums, the events against the running digest, and the chain from segment to segment.
//!
//! Needs nothing but the files: neither the data directory they came from nor the right to write.
use super::name::{ArchiveFormat, ArchiveName};
use super::parquet;
use crate::events::id::hex;
use crate::journal::fs::File;
use crate::journal::verify::{Link, Verified, verify_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveReport {
    pub files: u64,
    pub bytes: u64,
    /// Segments that are there in one form at least, and events in them.
    pub segments: u64,
    pub events: u64,
    /// Of each journal: identity, first and last segment, and the running digest at its end, hexadecimal.
    pub journals: Vec<JournalReport>,
    pub damage: Vec<FileDamage>,
    /// Files that are no part of an archive.
    pub others: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalReport {
    pub journal: String,
    pub first_segment: u64,
    pub last_segment: u64,
    /// Segments between those that are not there.
    pub missing: u64,
    pub digest: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDamage {
    pub file: String,
    pub problem: String,
}

/// A file that is only read.
struct ReadOnly(fs::File);

impl File for ReadOnly {
    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Verifies all archived files of a directory; `progress` is told (files done, files).
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> io::Result<ArchiveReport> {
    let mut report = ArchiveReport::default();
    let mut journals: BTreeMap<u64, BTreeMap<u64, Vec<ArchiveName>>> = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_name().to_str().and_then(ArchiveName::parse) {
            Some(name) if entry.metadata()?.is_file() => {
                journals.entry(name.journal).or_default().entry(name.segment).or_default().push(name)
            }
            _ => report.others += 1,
        }
    }
    let total: usize = journals.values().flat_map(BTreeMap::values).map(Vec::len).sum();
    let mut check = Check { dir, report, done: 0, total: total as u64, progress };
    for (journal, segments) in journals {
        check.journal(journal, segments)?;
    }
    Ok(check.report)
}

struct Check<'a> {
    dir: &'a Path,
    report: ArchiveReport,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

/// A segment as one of its files tells it.
#[derive(Clone)]
struct Told {
    link: Link,
    events: u64,
}

impl Check<'_> {
    fn complain(&mut self, file: &ArchiveName, problem: impl Into<String>) {
        self.report.damage.push(FileDamage { file: file.to_string(), problem: problem.into() });
    }

    fn journal(&mut self, journal: u64, segments: BTreeMap<u64, Vec<ArchiveName>>) -> io::Result<()> {
        let (first, last) = (segments.keys().next().copied().unwrap_or(0), segments.keys().next_back().copied().unwrap_or(0));
        let missing = last - first + 1 - segments.len() as u64;
        let mut before: Option<Told> = None;
        for (number, mut names) in segments {
            names.sort_by_key(|name| (name.copy, name.format));
            // Behind a gap the next one is taken at its word.
            let previous = before.take().filter(|before| before.link.segment + 1 == number);
            let mut told: Option<Told> = None;
            for name in names {
                let file: Arc<dyn File> = Arc::new(ReadOnly(fs::File::open(self.dir.join(name.to_string()))?));
                self.report.files += 1;
                self.report.bytes += file.len()?;
                let found = match name.format {
                    ArchiveFormat::Segment => self.segment(&name, &*file, previous.as_ref())?,
                    ArchiveFormat::Parquet => self.parquet(&name, file, previous.as_ref()),
                };
                match (&told, &found) {
                    (Some(told), Some(found)) if told.link.digest != found.link.digest || told.events != found.events => {
                        self.complain(&name, "it has other events than the other files of this segment");
                    }
                    _ => {}
                }
                told = told.or(found);
                self.done += 1;
                (self.progress)(self.done, self.total);
            }
            self.report.segments += 1;
            self.report.events += told.as_ref().map_or(0, |told| told.events);
            before = told;
        }
        let digest = before.and_then(|told| told.link.digest).map(|digest| hex(&digest));
        let journal = format!("{journal:016x}");
        self.report.journals.push(JournalReport { journal, first_segment: first, last_segment: last, missing, digest });
        Ok(())
    }

    fn segment(&mut self, name: &ArchiveName, file: &dyn File, before: Option<&Told>) -> io::Result<Option<Told>> {
        let mut verified = Verified::default();
        let link = match verify_file(file, name.segment, before.map(|told| told.link.clone()), false, &mut verified) {
            Ok(link) => link,
            // Written by a newer release.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.complain(name, error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let sound = verified.damage.is_empty();
        for damage in verified.damage {
            self.complain(name, damage.to_string());
        }
        Ok(sound.then_some(Told { link, events: verified.events }))
    }

    fn parquet(&mut self, name: &ArchiveName, file: Arc<dyn File>, before: Option<&Told>) -> Option<Told> {
        let checked = match parquet::check(file) {
            Ok(checked) => checked,
            Err(problem) => {
                self.complain(name, problem);
                return None;
            }
        };
        let mut sound = true;
        let mut expect = |holds: bool, problem: &str| {
            if !holds {
                sound = false;
                self.report.damage.push(FileDamage { file: name.to_string(), problem: problem.to_owned() });
            }
        };
        expect(checked.number(parquet::key::SEGMENT) == Some(name.segment), "the segment's number is not its file's");
        let journal = checked.metadata.get(parquet::key::JOURNAL);
        expect(journal.is_some_and(|journal| *journal == format!("{:016x}", name.journal)), "it is of another journal");
        expect(checked.promised().is_some(), "it has no digest: the segment was damaged when it was archived");
        let first_seq = checked.number(parquet::key::FIRST_SEQ);
        if let Some(before) = before {
            expect(first_seq == Some(before.link.next_seq), "events are missing between the segment before and this one");
            expect(checked.previous() == before.link.digest, "the chain is broken: the digest of the segment before is another");
        }
        let next_seq = first_seq.unwrap_or(0).saturating_add(checked.rows);
        sound.then_some(Told { link: Link { segment: name.segment, next_seq, digest: checked.digest }, events: checked.rows })
    }
}
