//! Evidence put away, to a directory or to S3, before retention removes it.
//!
//! A segment counts as archived when every configured format of it has arrived, was read back (or its checksum asked for) and
//! compared, and the ledger says so; only then may [`retain`] remove it. Whatever fails, nothing is removed: not for an age and not for
//! a disk budget. Everything can be done again: the same contents under the same name are left alone, other contents are never
//! written over.
//!
//! Segments are read from their own open file, without any of the store's locks: those of retention are taken only for the removal, which
//! makes sure that the segment still is the one that was archived.
mod directory;
pub mod export;
mod name;
pub mod parquet;
pub mod run;
pub mod s3;
pub mod verify;

pub use directory::{Directory, PART};
pub use name::{ArchiveFormat, ArchiveName, COPIES_MAX};

use crate::events::id::{hex, unhex};
use crate::events::{Format, Micros};
use crate::index::sidecar::SidecarHead;
use crate::journal::fs::{File, Fs, remove_if_there};
use crate::journal::segment::{self, BlockReader};
use crate::store::{Removed, RetentionPlan, Sealed, Store, StoredEvent};
use crate::telemetry::printable::printable;
use s3::{S3, S3Settings};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Name of the ledger's records.
const RECORD: &str = "segment_archived";
/// Files are copied and hashed in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
/// Where Parquet is made, below the data directory.
const SCRATCH: (&str, &str) = ("archive", "scratch.parquet");

/// What `[archive]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveSettings {
    pub to: Target,
    /// Never empty.
    pub formats: Vec<ArchiveFormat>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Absolute.
    Directory(PathBuf),
    S3(Box<S3Settings>),
}

impl Target {
    /// For people and for the ledger; nothing secret in it.
    pub fn place(&self) -> String {
        match self {
            Target::Directory(dir) => dir.to_string_lossy().into_owned(),
            Target::S3(s3) => s3.place(),
        }
    }
}

/// Why a segment is not archived. Nothing is removed then.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot {action} {}: {source}{}", printable(&path.to_string_lossy()), remedy(source))]
    Directory { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot read segment {segment}: {source}")]
    Segment { segment: u64, source: io::Error },
    #[error("cannot make Parquet of segment {segment} below the data directory: {source}{}", room(source))]
    Scratch { segment: u64, source: io::Error },
    #[error("cannot make Parquet of segment {segment}: {why}")]
    Parquet { segment: u64, why: String },
    #[error("{name} in {place} is not what was written there: is the disk, or the server, in order?")]
    Mismatch { name: String, place: String },
    #[error("{place} holds {COPIES_MAX} other files for segment {segment} already: look at them, or archive elsewhere")]
    Taken { segment: u64, place: String },
    #[error("{0}")]
    S3(String),
    #[error("cannot read the ledger: {0}")]
    Ledger(io::Error),
    #[error("stopped: it goes on the next time")]
    Stopped,
}

fn room(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::StorageFull { ": make room there" } else { "" }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => ": make the directory, or set `to` in [archive] to another",
        io::ErrorKind::PermissionDenied => ": let the daemon's user write there (systemd: ReadWritePaths=)",
        io::ErrorKind::ReadOnlyFilesystem => ": systemd lets the daemon write there with ReadWritePaths=",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": make room, or set `to` in [archive] to another place",
        _ => "",
    }
}

/// Tells work that is under way to end.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Stop {
        Stop(watch::channel(false).0)
    }
}

impl Stop {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is told.
    pub async fn stopped(&self) {
        // The sender is ours: it cannot go away.
        let _ = self.0.subscribe().wait_for(|&stopped| stopped).await;
    }
}

/// By what contents are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    pub bytes: u64,
    pub blake3: [u8; 32],
    /// What S3 compares.
    pub sha256: [u8; 32],
}

impl Sums {
    pub fn of(file: &dyn File, stop: &Stop) -> io::Result<Sums> {
        let (mut blake3, mut sha256) = (blake3::Hasher::new(), Sha256::new());
        let mut bytes = 0;
        pieces(file, stop, |piece, _| {
            blake3.update(piece);
            sha256.update(piece);
            bytes += piece.len() as u64;
            Ok(())
        })?;
        Ok(Sums { bytes, blake3: *blake3.finalize().as_bytes(), sha256: sha256.finalize().into() })
    }
}

/// Calls `each` with all of a file, piece by piece, and where each begins.
fn pieces(file: &dyn File, stop: &Stop, mut each: impl FnMut(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
    let len = file.len()?;
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(len).unwrap_or(PIECE_BYTES))];
    let mut at = 0;
    while at < len {
        if stop.is_stopped() {
            return Err(io::Error::other(ArchiveError::Stopped));
        }
        let piece = &mut piece[..(len - at).min(PIECE_BYTES as u64) as usize];
        file.read_exact_at(piece, at)?;
        each(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// What is under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// These very contents, durably.
    Same,
    Other,
}

/// Where files are archived.
pub trait Destination {
    /// Without anything secret.
    fn place(&self) -> String;

    /// Compares what is under `name`, if anything, with what should be.
    fn holds(&self, name: &str, sums: &Sums, stop: &Stop) -> Result<Held, ArchiveError>;

    /// Writes a name that nothing is under. On success it is durable, and was compared with `sums`.
    fn put(&self, name: &str, source: &Arc<dyn File>, sums: &Sums, stop: &Stop) -> Result<(), ArchiveError>;
}

/// One file of a segment's archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    pub name: String,
    pub format: ArchiveFormat,
    pub bytes: u64,
    /// Hexadecimal.
    pub blake3: String,
    pub sha256: String,
}

impl ArchivedFile {
    fn sums(&self) -> Option<Sums> {
        Some(Sums { bytes: self.bytes, blake3: unhex(self.blake3.as_bytes())?, sha256: unhex(self.sha256.as_bytes())? })
    }
}

/// A segment that is archived: the details of a ledger's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    pub segment: u64,
    pub events: u64,
    pub first_seq: u64,
    /// Running digest at its end, hexadecimal.
    pub digest: String,
    /// Directory, or bucket and prefix.
    pub to: String,
    pub files: Vec<ArchivedFile>,
}

/// Archives segments of a store, one after the other; for a thread that may block.
pub struct Archiver {
    store: Store,
    destination: Box<dyn Destination>,
    formats: Vec<ArchiveFormat>,
    stop: Stop,
    /// What the ledger says is there, by segment.
    known: BTreeMap<u64, Vec<Archived>>,
}

/// How archiving one segment went.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub archived: Archived,
    /// Files that were written now; the others were there.
    pub written: usize,
    pub bytes_written: u64,
    /// The ledger says so.
    pub recorded: bool,
}

impl Archiver {
    /// Reads keys and the ledger. Nothing is asked of the place yet.
    pub fn open(store: &Store, settings: &ArchiveSettings, stop: &Stop) -> Result<Archiver, ArchiveError> {
        let destination: Box<dyn Destination> = match &settings.to {
            Target::Directory(dir) => Box::new(Directory::new(store.0.fs.clone(), dir)),
            Target::S3(s3) => Box::new(S3::open(s3)?),
        };
        let known = known(store, &destination.place())?;
        Ok(Archiver { store: store.clone(), destination, formats: settings.formats.clone(), stop: stop.clone(), known })
    }

    /// Archives a segment in all formats, as far as it is not yet, and writes that to the ledger.
    pub fn archive(&mut self, sealed: &Sealed, now: Micros) -> Result<Outcome, ArchiveError> {
        let shared = self.store.0.clone();
        let _one_at_a_time = shared.archiving.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (head, number) = (*sealed.sidecar.head(), sealed.number);
        // Before its file is opened: whoever erases from it meanwhile learns that the archive may have what was there.
        let _told = Told::begin(&self.store, number, self.destination.place());
        let in_segment = |source| self.read_error(number, source);
        let file = shared.open_segment(number).map_err(in_segment)?;
        let digest = hex(&head.digest);
        let before: Vec<Archived> = self.known.get(&number).into_iter().flatten().filter(|known| known.digest == digest).cloned().collect();
        let (mut files, mut written, mut bytes_written) = (Vec::new(), 0, 0);
        for format in self.formats.clone() {
            let known = before.iter().flat_map(|known| &known.files).filter(|file| file.format == format);
            let still = known.filter_map(|file| Some((file, file.sums()?))).map(|(known, sums)| {
                Ok((self.stopped(self.destination.holds(&known.name, &sums, &self.stop))? == Held::Same).then(|| known.clone()))
            });
            let still: Option<ArchivedFile> = still.collect::<Result<Vec<_>, ArchiveError>>()?.into_iter().flatten().next();
            files.push(match still {
                Some(file) => file,
                None => {
                    let (file, new) = self.archive_as(format, &head, &file)?;
                    if new {
                        written += 1;
                        bytes_written += file.bytes;
                    }
                    file
                }
            });
        }
        let archived =
            Archived { segment: number, events: head.events, first_seq: head.first_seq, digest, to: self.destination.place(), files };
        let mut recorded = before.iter().any(|before| archived.files.iter().all(|file| before.files.contains(file)));
        if !recorded {
            recorded = self.record(&archived, now).is_ok();
            if recorded {
                self.known.entry(number).or_default().push(archived.clone());
            }
        }
        Ok(Outcome { archived, written, bytes_written, recorded })
    }

    fn record(&self, archived: &Archived, now: Micros) -> io::Result<()> {
        let details = serde_json::to_value(archived).map_err(io::Error::other)?;
        self.store.record(RECORD, details, now).map_err(io::Error::other)
    }

    fn read_error(&self, segment: u64, source: io::Error) -> ArchiveError {
        if self.stop.is_stopped() { ArchiveError::Stopped } else { ArchiveError::Segment { segment, source } }
    }

    /// Answers the file, and whether it had to be written.
    fn archive_as(&self, format: ArchiveFormat, head: &SidecarHead, file: &Arc<dyn File>) -> Result<(ArchivedFile, bool), ArchiveError> {
        let segment = head.segment;
        match format {
            ArchiveFormat::Segment => self.put(format, head, file),
            ArchiveFormat::Parquet => {
                let scratch = Scratch::create(&self.store).map_err(|source| ArchiveError::Scratch { segment, source })?;
                let journal = self.store.history().journal;
                to_parquet(segment, journal, &**file, &scratch.file, &self.stop)?;
                self.put(format, head, &scratch.file)
            }
        }
    }

    fn put(&self, format: ArchiveFormat, head: &SidecarHead, source: &Arc<dyn File>) -> Result<(ArchivedFile, bool), ArchiveError> {
        let sums = Sums::of(&**source, &self.stop).map_err(|error| self.read_error(head.segment, error))?;
        let mut name = ArchiveName::new(self.store.history().journal, head.segment, (head.time_min, head.time_max), format);
        let written = loop {
            match self.stopped(self.destination.holds(&name.to_string(), &sums, &self.stop))? {
                Held::Same => break false,
                Held::Nothing => {
                    self.stopped(self.destination.put(&name.to_string(), source, &sums, &self.stop))?;
                    break true;
                }
                Held::Other if name.copy == COPIES_MAX => {
                    return Err(ArchiveError::Taken { segment: head.segment, place: self.destination.place() });
                }
                Held::Other => name.copy += 1,
            }
        };
        let (blake3, sha256) = (hex(&sums.blake3), hex(&sums.sha256));
        Ok((ArchivedFile { name: name.to_string(), format, bytes: sums.bytes, blake3, sha256 }, written))
    }

    /// What broke off because it was told to is no failure of anything.
    fn stopped<T>(&self, result: Result<T, ArchiveError>) -> Result<T, ArchiveError> {
        result.map_err(|error| if self.stop.is_stopped() { ArchiveError::Stopped } else { error })
    }
}

/// The ledger's records about a place.
fn known(store: &Store, place: &str) -> Result<BTreeMap<u64, Vec<Archived>>, ArchiveError> {
    let mut known: BTreeMap<u64, Vec<Archived>> = BTreeMap::new();
    store
        .each_recorded(RECORD, &mut |archived: Archived| {
            if archived.to == place {
                known.entry(archived.segment).or_default().push(archived);
            }
        })
        .map_err(ArchiveError::Ledger)?;
    Ok(known)
}

/// Every file that the ledger says a segment was archived in, or is being archived in, with its place, by segment.
pub fn files(store: &Store) -> Result<BTreeMap<u64, BTreeSet<String>>, ArchiveError> {
    // Looked at first: what is done meanwhile stands in the ledger.
    let now = store.0.archived_now.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let mut files: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    store
        .each_recorded(RECORD, &mut |archived: Archived| {
            let place = archived.to.trim_end_matches('/');
            files.entry(archived.segment).or_default().extend(archived.files.iter().map(|file| format!("{place}/{}", file.name)));
        })
        .map_err(ArchiveError::Ledger)?;
    if let Some((segment, place)) = now {
        files.entry(segment).or_default().insert(format!("{place} (a file that is being written now)"));
    }
    Ok(files)
}

/// Says which segment is being archived, as long as it is.
struct Told(Store);

impl Told {
    fn begin(store: &Store, segment: u64, place: String) -> Told {
        *store.0.archived_now.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some((segment, place));
        Told(store.clone())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.0.0.archived_now.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    }
}

/// A file that is there only while it is needed.
struct Scratch {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl Scratch {
    fn create(store: &Store) -> io::Result<Scratch> {
        let fs = store.0.fs.clone();
        let dir = store.layout().root.join(SCRATCH.0);
        fs.create_dir_all(&dir)?;
        let path = dir.join(SCRATCH.1);
        // Of a process that was killed.
        remove_if_there(&*fs, &path)?;
        let file = fs.create(&path)?;
        Ok(Scratch { fs, path, file })
    }
}

/// Removes what a process that was killed left in a data directory: a whole segment in clear, which no erasure would find. Nobody may have
/// the directory open.
pub fn remove_scratch(data_dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(data_dir.join(SCRATCH.0).join(SCRATCH.1)) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(error),
        _ => Ok(()),
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is removed the next time.
        let _ = self.fs.remove(&self.path);
    }
}

/// Writes on at the end of a file.
struct Appending<'a> {
    file: &'a dyn File,
    at: u64,
}

impl Write for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(&[bytes], self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a segment's events as Parquet into an empty file, and reads it back: its lines must be those of the chain.
fn to_parquet(segment: u64, journal: u64, from: &dyn File, into: &Arc<dyn File>, stop: &Stop) -> Result<(), ArchiveError> {
    use parquet::key;
    let in_segment = |source| ArchiveError::Segment { segment, source };
    let in_parquet = |error: parquet::WriteError| match error {
        parquet::WriteError::Io(source) => ArchiveError::Scratch { segment, source },
        parquet::WriteError::Parquet(why) => ArchiveError::Parquet { segment, why },
    };
    let scan = segment::scan(from, segment, false).map_err(in_segment)?;
    let previous = scan.opening.as_ref().map(|opening| opening.previous_digest);
    let out = io::BufWriter::with_capacity(PIECE_BYTES, Appending { file: &**into, at: 0 });
    let mut writer = parquet::Writer::new(out).map_err(in_parquet)?;
    if let Some(previous) = &previous {
        writer = writer.with_digest(previous);
    }
    let (mut reader, mut lines) = (BlockReader::default(), Vec::new());
    let (mut ids, mut end) = (Vec::new(), None);
    for block in &scan.blocks {
        if stop.is_stopped() {
            return Err(ArchiveError::Stopped);
        }
        end = Some(block.header.digest);
        let header = match reader.read(from, &block.meta, &mut lines) {
            Ok(header) => header,
            Err(segment::ReadError::Io(source)) => return Err(in_segment(source)),
            // The segment's own file goes with its damage; here the events that can be read are all there is to be had.
            Err(_) => continue,
        };
        let all: Vec<&[u8]> = segment::lines(&lines).collect();
        let (mut seq, mut first) = (header.first_seq, 0);
        for run in header.runs.iter().filter(|run| run.events > 0) {
            let Some(lines) = all.get(first..first + run.events as usize) else { break };
            ids.clear();
            run.ids_of(lines, &mut ids);
            let source: Arc<str> = run.source.as_str().into();
            let format = run.format().unwrap_or(Format::UNKNOWN);
            for (line, &id) in lines.iter().zip(&ids) {
                let event = StoredEvent { seq, id, line, source: &source, format, received_at: run.received_at };
                writer.push(&event).map_err(in_parquet)?;
                seq += 1;
            }
            first += lines.len();
        }
    }
    let found = writer.digest();
    let mut metadata = vec![(key::JOURNAL, format!("{journal:016x}")), (key::SEGMENT, segment.to_string())];
    if let Some(opening) = &scan.opening {
        metadata.push((key::FIRST_SEQ, opening.first_seq.to_string()));
        metadata.push((key::PREVIOUS_DIGEST, hex(&opening.previous_digest)));
    }
    // Of a damaged segment nothing can be promised.
    let promised = found.filter(|digest| scan.damage.is_empty() && *digest == end.or(previous).unwrap_or_default());
    metadata.extend(promised.map(|digest| (key::DIGEST, hex(&digest))));
    writer.finish(&metadata).map_err(in_parquet)?.into_inner().map_err(|error| in_parquet(error.into_error().into()))?;
    let checked = parquet::check(into.clone()).map_err(|why| ArchiveError::Parquet { segment, why })?;
    if checked.digest != found { Err(ArchiveError::Parquet { segment, why: "read back it has other events".into() }) } else { Ok(()) }
}

/// What tells a segment from what may have become of it while it was archived.
fn identity(head: &SidecarHead) -> (u64, u64, u64, [u8; 32]) {
    (head.segment, head.events, head.journal_len, head.digest)
}

/// What retention did.
#[derive(Debug, Default)]
pub struct Retained {
    pub removed: Vec<Removed>,
    pub archived: Vec<Archived>,
    /// Events of sensors that are past their own age, erased from segments that stay: segment, and how many.
    pub erased: Vec<(u64, u64)>,
    /// What went wrong with erasing those.
    pub fault: Option<String>,
    /// Why the rest is still there.
    pub failed: Option<ArchiveError>,
}

/// [`Store::retain`]; with an archive no evidence goes that is not in it. For a thread that may block.
pub fn retain(store: &Store, plan: RetentionPlan, now: Micros, archive: Option<&ArchiveSettings>, stop: &Stop) -> io::Result<Retained> {
    let Some(settings) = archive else { return Ok(Retained { removed: store.retain(plan, now)?, ..Retained::default() }) };
    // Answers whose evidence went long ago need no archive.
    let mut retained = Retained { removed: store.retain_if(plan, now, &|_| false)?, ..Retained::default() };
    let numbers = store.evidence_to_go(plan, now)?;
    if numbers.is_empty() {
        return Ok(retained);
    }
    let mut archiver = match Archiver::open(store, settings, stop) {
        Ok(archiver) => archiver,
        Err(error) => return Ok(Retained { failed: Some(error), ..retained }),
    };
    for number in numbers {
        let view = store.view();
        let Some(sealed) = view.sealed.iter().find(|sealed| sealed.number == number) else { continue };
        let outcome = match archiver.archive(sealed, now) {
            Ok(_) if stop.is_stopped() => break,
            Ok(outcome) => outcome,
            Err(error) => {
                retained.failed = Some(error);
                break;
            }
        };
        let proven = identity(sealed.sidecar.head());
        let removed = store.retain_if(plan, now, &|sealed| identity(sealed.sidecar.head()) == proven)?;
        if !outcome.recorded {
            // A disk so full that the ledger took no more has room now.
            archiver.record(&outcome.archived, now)?;
        }
        retained.removed.extend(removed);
        retained.archived.push(outcome.archived);
    }
    Ok(retained)
}

/// Where archiving stands, for `honeyguide status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArchiveStatus {
    pub to: String,
    /// Archived by retention since the start, and the last of them.
    pub segments: u64,
    pub last_segment: Option<u64>,
    /// Attempts that failed in a row, since when, and why the last one did.
    pub failures: u64,
    pub failing_since: Option<String>,
    pub problem: Option<String>,
}

impl ArchiveStatus {
    /// Of a place that nothing was archived to yet.
    pub fn of(settings: &ArchiveSettings) -> ArchiveStatus {
        ArchiveStatus { to: settings.to.place(), ..ArchiveStatus::default() }
    }
}

/// What keeps archiving from working, as things are now: for `honeyguide check`.
pub fn problems(settings: &ArchiveSettings, data_dir: &Path) -> Vec<String> {
    match &settings.to {
        Target::Directory(dir) => directory_problem(dir, data_dir).into_iter().collect(),
        Target::S3(s3) => S3::open(s3).err().map(|error| error.to_string()).into_iter().collect(),
    }
}

fn directory_problem(dir: &Path, data_dir: &Path) -> Option<String> {
    use nix::unistd::{AccessFlags, access};
    let shown = printable(&dir.to_string_lossy()).into_owned();
    // Not by their names: a link may lead anywhere.
    let inside = dir.canonicalize().ok().zip(data_dir.canonicalize().ok()).is_some_and(|(dir, data)| dir.starts_with(data));
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("the archive's directory {shown} is not there: make it")),
        Err(error) => Some(format!("cannot look at the archive's directory {shown}: {error}")),
        Ok(metadata) if !metadata.is_dir() => Some(format!("the archive {shown} is no directory")),
        Ok(_) if inside => Some(format!("the archive {shown} is inside the data directory: what is put away must not be lost with it")),
        Ok(_) if access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_err() => {
            Some(format!("cannot write into the archive's directory {shown}: let the daemon's user write there"))
        }
        Ok(_) => None,
    }
}
