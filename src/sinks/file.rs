//! Events into a file, as NDJSON or CSV: each exactly once, also across crashes, and rotated by size.
//!
//! A file is a place where exactness is possible. Beside the file lies its position (`NAME.position`): which file it is, how much of
//! it counts, and the last event in it. The lines are written and synced first, the position after them; both before the delivery
//! hears that they arrived. So after a crash the file is cut to its position, at most one batch goes, and that batch comes again,
//! for the cursor cannot have passed it. Events up to the position's are not written twice, as long as it is the same journal
//! that counts them: the file may outlive the journal, or the journal be restored from a backup.
//!
//! What somebody else did to the file is respected: one that was moved away or replaced is left alone, and writing goes on at the end
//! of what is there now.
use super::{Answer, Batch, Item, Outcome, Request, Sink};
use crate::events::batch::Batcher;
use crate::events::{EventId, Field, Micros, time};
use crate::store::History;
use crate::telemetry::printable::{printable, spreadsheet_cell};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// The original lines, byte for byte; with `envelope`, each inside an object that says where it is from.
    Ndjson { envelope: bool },
    /// A header, and a row for each event.
    Csv,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    pub path: PathBuf,
    pub format: FileFormat,
    /// A new file is begun rather than let this one outgrow it.
    pub rotate_bytes: Option<u64>,
    /// So many old files are kept (`path.1` is the newest).
    pub keep: usize,
}

impl FileSettings {
    /// Whether two sinks would write to, or rename over, each other's files.
    pub fn collides(&self, other: &FileSettings) -> bool {
        self.path == other.path || self.makes(&other.path) || other.makes(&self.path)
    }

    /// Whether `path` is that of the position or of an old file.
    fn makes(&self, path: &Path) -> bool {
        let kept = if self.rotate_bytes.is_some() { self.keep } else { 0 };
        path == with_suffix(&self.path, ".position") || (1..=kept).any(|number| path == with_suffix(&self.path, &format!(".{number}")))
    }
}

/// The columns of CSV that hold terms, named after their fields.
const COLUMNS: [Field; 14] = [
    Field::Eventid,
    Field::Sensor,
    Field::Session,
    Field::SrcIp,
    Field::DstIp,
    Field::DstPort,
    Field::Protocol,
    Field::Username,
    Field::Password,
    Field::Command,
    Field::Url,
    Field::Shasum,
    Field::Filename,
    Field::Version,
];

/// Where the file stands; one line of JSON and its checksum, in one of two places that take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Grows with every write: the higher one of two counts.
    turn: u64,
    device: u64,
    inode: u64,
    /// Bytes of the file that count.
    len: u64,
    /// The last event in it.
    last_seq: u64,
    /// [`History::journal`] of the journal that has it, and when that was opened; 0 in what earlier releases wrote.
    #[serde(default)]
    journal: u64,
    #[serde(default)]
    opened_at: Micros,
}

/// Bytes of one place in the position file.
const PLACE_BYTES: usize = 256;

impl Position {
    fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("a struct of numbers is always JSON");
        let mut place = format!("{:08x} {json}", crc32fast::hash(json.as_bytes())).into_bytes();
        assert!(place.len() < PLACE_BYTES, "seven numbers of 64 bits and their names");
        place.resize(PLACE_BYTES - 1, b' ');
        place.push(b'\n');
        place
    }

    fn decode(place: &[u8]) -> Option<Position> {
        let text = std::str::from_utf8(place).ok()?.trim_end();
        let (crc, json) = text.split_once(' ')?;
        (u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(json.as_bytes())).then(|| serde_json::from_str(json).ok())?
    }
}

/// Appends to a file.
pub struct FileSink {
    writer: Arc<Writer>,
    batcher: Mutex<Batcher>,
    /// Of the request made last: one is made after the other is settled.
    made: Mutex<(EventId, Arc<Made>)>,
}

/// What a request was made of.
#[derive(Default)]
struct Made {
    /// Sequence number of each event, and where it ends in the body.
    ends: Vec<(u64, usize)>,
    /// [`Batch::redelivered`].
    redelivered: bool,
}

/// Whose events are written.
struct Journal {
    history: History,
    /// Told when the position is another's.
    notice: Box<dyn Fn(&str) + Send + Sync>,
}

struct Writer {
    settings: FileSettings,
    journal: Option<Journal>,
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    file: File,
    positions: File,
    position: Position,
    /// The request of dead letters that was written last: the position does not tell.
    redelivered: Option<EventId>,
}

impl FileSink {
    /// Opens nothing yet: a directory that is not there is told when something is to be delivered.
    ///
    /// `notice` is told, for people, when what stands in the file does not come from the journal of `history`.
    pub fn of_journal(settings: FileSettings, history: History, notice: Box<dyn Fn(&str) + Send + Sync>) -> FileSink {
        FileSink::with(settings, Some(Journal { history, notice }))
    }

    /// For one that is not delivered to, or whose sequence numbers are always the same journal's.
    pub fn new(settings: FileSettings) -> FileSink {
        FileSink::with(settings, None)
    }

    fn with(settings: FileSettings, journal: Option<Journal>) -> FileSink {
        FileSink {
            writer: Arc::new(Writer { settings, journal, opened: Mutex::default() }),
            batcher: Mutex::new(Batcher::new()),
            made: Mutex::default(),
        }
    }
}

impl Sink for FileSink {
    fn encode(&self, batch: &Batch) -> Result<Request, String> {
        let mut body = Vec::with_capacity(batch.payload.len() + batch.items.len());
        let mut ends = Vec::with_capacity(batch.items.len());
        let mut batcher = self.batcher.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for item in &batch.items {
            let payload = batch.payload(item);
            match self.writer.settings.format {
                FileFormat::Ndjson { envelope: false } => {
                    body.extend_from_slice(payload);
                    body.push(b'\n');
                }
                FileFormat::Ndjson { envelope: true } => enveloped(item, payload, &mut body).map_err(|error| error.to_string())?,
                FileFormat::Csv => body.extend(csv_row(row(&mut batcher, item, payload)).map_err(|error| error.to_string())?),
            }
            ends.push((item.seq, body.len()));
        }
        let (id, last_seq) = (batch.id(), batch.items.last().map_or(0, |item| item.seq));
        let made = Made { ends, redelivered: batch.redelivered };
        *self.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = (id, Arc::new(made));
        Ok(Request { body, id, items: batch.items.len(), last_seq, headers: Vec::new() })
    }

    fn send<'a>(&'a self, request: &'a Request, attempt: u32) -> BoxFuture<'a, Outcome> {
        let writer = self.writer.clone();
        let request = request.clone();
        let (of, made) = self.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        Box::pin(async move {
            if of != request.id {
                let why = "another request was made before this one settled: a bug".to_owned();
                return Outcome { answer: Answer::Retry { after: None, why }, status: None };
            }
            let written = tokio::task::spawn_blocking(move || writer.write(&request, &made, attempt)).await;
            let answer = match written {
                Ok(Ok(())) => Answer::Delivered,
                Ok(Err(trouble)) => trouble.answer(),
                Err(panic) => Answer::Retry { after: None, why: panic.to_string() },
            };
            Outcome { answer, status: None }
        })
    }

    fn probe(&self) -> BoxFuture<'_, Outcome> {
        let writer = self.writer.clone();
        Box::pin(async move {
            let opened = tokio::task::spawn_blocking(move || writer.probe()).await;
            let answer = match opened {
                Ok(Ok(())) => Answer::Delivered,
                Ok(Err(trouble)) => trouble.answer(),
                Err(panic) => Answer::Retry { after: None, why: panic.to_string() },
            };
            Outcome { answer, status: None }
        })
    }

    fn concurrency_max(&self) -> usize {
        1
    }

    fn rewound(&self) -> Result<(), String> {
        let mut opened = self.writer.opened();
        let rewound = self.writer.open(&mut opened).and_then(|opened| {
            let len = opened.position.len;
            opened.put(len, 0).map_err(|error| self.writer.trouble("write", &self.writer.position_path(), error))
        });
        rewound.map_err(|trouble| trouble.to_string())
    }
}

/// Why nothing could be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}{}", remedy(.source))]
struct Trouble {
    action: &'static str,
    path: String,
    source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "; make its directory",
        ErrorKind::PermissionDenied => "; the daemon's user must be allowed to write there (systemd: ReadWritePaths=)",
        ErrorKind::ReadOnlyFilesystem => "; systemd: ReadWritePaths=",
        _ => "",
    }
}

impl Trouble {
    fn answer(&self) -> Answer {
        let why = self.to_string();
        let is_link = self.source.raw_os_error() == Some(nix::libc::ELOOP);
        match self.source.kind() {
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidInput => Answer::Unusable { why },
            _ if is_link => Answer::Unusable { why },
            // A full disk, a quota, a fault: it may pass.
            _ => Answer::Retry { after: None, why },
        }
    }
}

impl Writer {
    fn opened(&self) -> MutexGuard<'_, Option<Opened>> {
        self.opened.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn position_path(&self) -> PathBuf {
        with_suffix(&self.settings.path, ".position")
    }

    fn trouble(&self, action: &'static str, path: &Path, source: io::Error) -> Trouble {
        Trouble { action, path: printable(&path.to_string_lossy()).into_owned(), source }
    }

    /// The file, open at its end; cut to its position if it is the one that was written last.
    fn open<'o>(&self, opened: &'o mut Option<Opened>) -> Result<&'o mut Opened, Trouble> {
        let path = &self.settings.path;
        if let Some(known) = opened.as_ref() {
            let there = std::fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == known.place());
            if !there {
                *opened = None;
            }
        }
        if opened.is_none() {
            let position_path = self.position_path();
            let mut positions = open_file(&position_path, false).map_err(|error| self.trouble("open", &position_path, error))?;
            // One writer at a time: one that was given up may still be at work on another thread, or in another process.
            lock(&positions).map_err(|error| self.trouble("lock", &position_path, error))?;
            let position = read_position(&mut positions).map_err(|error| self.trouble("read", &position_path, error))?;
            let new = self.attach(positions, position).map_err(|error| self.trouble("open", path, error))?;
            *opened = Some(new);
        }
        Ok(opened.as_mut().expect("opened just above"))
    }

    /// Whether the file could be written, with nothing changed: another writer may be at work on it.
    fn probe(&self) -> Result<(), Trouble> {
        let path = &self.settings.path;
        let trouble = |error| self.trouble("write to", path, error);
        match open_existing(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                let flags = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
                nix::unistd::access(parent, flags).map_err(|error| trouble(error.into()))
            }
            opened => opened.map(drop).map_err(trouble),
        }
    }

    fn attach(&self, positions: File, position: Position) -> io::Result<Opened> {
        let mut file = open_file(&self.settings.path, true)?;
        let metadata = file.metadata()?;
        let same = (metadata.dev(), metadata.ino()) == (position.device, position.inode);
        let mut len = metadata.len();
        if same && len > position.len {
            // Written, and then the process ended before it could note so: the delivery sends it again.
            file.set_len(position.len)?;
            file.sync_data()?;
            len = position.len;
        }
        if len > 0 && !same {
            let mut last = [0];
            file.read_exact_at(&mut last, len - 1)?;
            if last != *b"\n" {
                // Somebody's half a line: ours begin on a line of their own.
                file.write_all(b"\n")?;
                len += 1;
            }
        }
        sync_directory(&self.settings.path)?;
        let mut opened = Opened { file, positions, position: self.in_journal(position), redelivered: None };
        opened.put(len, opened.position.last_seq)?;
        Ok(opened)
    }

    /// The position as it counts in this journal: of another one's events nothing is known to be in the file.
    fn in_journal(&self, position: Position) -> Position {
        let Some(Journal { history, notice }) = &self.journal else { return position };
        let ours = Position { journal: history.journal, opened_at: history.opened_at, ..position };
        let same = position.journal == 0 || position.journal == history.journal;
        // What a journal did not have when it was opened was not delivered from it before: it was restored from a backup, and gives
        // these numbers to other events.
        let had = position.opened_at == history.opened_at || position.last_seq < history.opened_seq;
        if position.last_seq == 0 || (same && had) {
            return ours;
        }
        let path = self.settings.path.to_string_lossy();
        notice(&format!(
            "{} ends with event {} of {}: everything from the sink's cursor on is appended",
            printable(&path),
            position.last_seq,
            if same { "this journal, which has fewer events now: it was restored from a backup" } else { "another journal" }
        ));
        Position { last_seq: 0, ..ours }
    }

    fn write(&self, request: &Request, made: &Made, attempt: u32) -> Result<(), Trouble> {
        let mut guard = self.opened();
        let opened = self.open(&mut guard)?;
        // Dead letters are behind the position, and not in the file.
        let known_seq = if made.redelivered { 0 } else { opened.position.last_seq };
        let is_again = made.redelivered && attempt > 1 && opened.redelivered == Some(request.id);
        if is_again || (request.last_seq <= known_seq && !made.redelivered) {
            // An attempt that was given up had gone through after all.
            return Ok(());
        }
        let last_seq = if made.redelivered { opened.position.last_seq } else { request.last_seq };
        // What is in the file already, of a batch that was cut elsewhere before a restart.
        let known = made.ends.iter().take_while(|(seq, _)| *seq <= known_seq).last().map_or(0, |(_, end)| *end);
        let body = &request.body[known..];
        let path = &self.settings.path;
        let header = if self.settings.format == FileFormat::Csv { csv_header() } else { Vec::new() };
        let full = |len: u64| self.settings.rotate_bytes.is_some_and(|most| len > 0 && len + body.len() as u64 > most);
        if full(opened.position.len) {
            self.rotate().map_err(|error| self.trouble("rotate", path, error))?;
            *guard = None;
        }
        let opened = self.open(&mut guard)?;
        let before = opened.position.len;
        let begun = if before == 0 { &header[..] } else { &[] };
        let written = opened.file.write_all(begun).and_then(|()| opened.file.write_all(body)).and_then(|()| opened.file.sync_data());
        if written.is_err() {
            // Half a batch must not stay. What cannot be cut now is cut when the file is opened again.
            let _ = opened.file.set_len(before);
        }
        // A position that could not be written may be on disk or not: what it says when the file is opened again, counts.
        let noted = written.and_then(|()| opened.put(before + (begun.len() + body.len()) as u64, last_seq));
        let Err(error) = noted else {
            opened.redelivered = made.redelivered.then_some(request.id);
            return Ok(());
        };
        *guard = None;
        Err(self.trouble("write to", path, error))
    }

    /// `path` becomes `path.1`, that `path.2`, and so on; the oldest goes.
    fn rotate(&self) -> io::Result<()> {
        let old = |number: usize| with_suffix(&self.settings.path, &format!(".{number}"));
        let gone = |removed: io::Result<()>| match removed {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        };
        if self.settings.keep == 0 {
            std::fs::remove_file(&self.settings.path)?;
        } else {
            for number in (1..self.settings.keep).rev() {
                gone(std::fs::rename(old(number), old(number + 1)))?;
            }
            std::fs::rename(&self.settings.path, old(1))?;
        }
        sync_directory(&self.settings.path)
    }
}

impl Opened {
    fn place(&self) -> (u64, u64) {
        (self.position.device, self.position.inode)
    }

    /// Notes, durably, what counts.
    fn put(&mut self, len: u64, last_seq: u64) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        let turn = self.position.turn + 1;
        let position = Position { turn, device: metadata.dev(), inode: metadata.ino(), len, last_seq, ..self.position };
        self.positions.write_all_at(&position.encode(), (turn % 2) * PLACE_BYTES as u64)?;
        self.positions.sync_data()?;
        self.position = position;
        Ok(())
    }
}

/// Opens, for appending if so, and makes the file when it is not there.
fn open_file(path: &Path, append: bool) -> io::Result<File> {
    regular(careful().append(append).create(true).mode(0o640).open(path)?)
}

fn open_existing(path: &Path) -> io::Result<File> {
    regular(careful().open(path)?)
}

/// Follows no symbolic link, and does not wait for the reader of a pipe.
fn careful() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK);
    options
}

fn regular(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Until the file is closed.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(ErrorKind::WouldBlock, "another writer is at work on it")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read_position(positions: &mut File) -> io::Result<Position> {
    let mut bytes = Vec::new();
    positions.take(2 * PLACE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes.chunks(PLACE_BYTES).filter_map(Position::decode).max_by_key(|position| position.turn).unwrap_or_default())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}

/// An event with where it is from; the line itself is an object already and stays as it is.
fn enveloped(item: &Item, line: &[u8], out: &mut Vec<u8>) -> serde_json::Result<()> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        id: String,
        sequence: u64,
        source: &'a str,
        format: &'a str,
        received_at: String,
        event: &'a serde_json::value::RawValue,
    }
    // Python writes lone surrogates, and bytes that are no UTF-8 have been seen: such a line becomes a string of it.
    let text = String::from_utf8_lossy(line);
    let quoted;
    let event = match serde_json::from_str::<&serde_json::value::RawValue>(&text) {
        Ok(event) => event,
        Err(_) => {
            quoted = serde_json::value::to_raw_value(&*text)?;
            &*quoted
        }
    };
    let received_at = time::format(item.received_at);
    let envelope =
        Envelope { id: item.id.to_string(), sequence: item.seq, source: &item.source, format: item.format.name(), received_at, event };
    serde_json::to_writer(&mut *out, &envelope)?;
    out.push(b'\n');
    Ok(())
}

fn csv_header() -> Vec<u8> {
    let names: Vec<&str> = ["id", "sequence", "time", "source"].into_iter().chain(COLUMNS.iter().map(|field| field.name())).collect();
    format!("{}\n", names.join(",")).into_bytes()
}

fn csv_row(cells: Vec<String>) -> Result<Vec<u8>, csv::Error> {
    let mut row = csv::WriterBuilder::new().from_writer(Vec::new());
    row.write_record(cells)?;
    row.into_inner().map_err(|error| error.into_error().into())
}

fn row(batcher: &mut Batcher, item: &Item, line: &[u8]) -> Vec<String> {
    let mut values = vec![String::new(); COLUMNS.len()];
    let time = batcher.terms(item.format, line, item.received_at, &mut |field, value| {
        if let Some(column) = COLUMNS.iter().position(|column| *column == field) {
            let value = String::from_utf8_lossy(value);
            let cell = &mut values[column];
            if cell.is_empty() {
                cell.push_str(&value);
            } else if !cell.split("; ").any(|known| known == value) {
                cell.push_str("; ");
                cell.push_str(&value);
            }
        }
    });
    let time = time::format(time.unwrap_or(item.received_at));
    let fixed = [item.id.to_string(), item.seq.to_string(), time, item.source.to_string()];
    fixed.into_iter().chain(values).map(spreadsheet_cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Format;

    fn item(seq: u64) -> Item {
        let id = EventId::of_line(&seq.to_le_bytes());
        Item { seq, id, time: 0, received_at: 1_774_138_242_000_000, source: "site".into(), format: Format::COWRIE, payload: 0..0 }
    }

    fn line(seq: u64) -> String {
        format!(r#"{{"eventid":"cowrie.login.failed","username":"=cmd|' /C calc'!A{seq}","password":"p,\"{seq}","src_ip":"192.0.2.1"}}"#)
    }

    fn batch(seqs: std::ops::Range<u64>) -> Batch {
        let mut batch = Batch::default();
        seqs.for_each(|seq| batch.push(item(seq), line(seq).as_bytes()));
        batch
    }

    fn settings(path: &Path, format: FileFormat) -> FileSettings {
        FileSettings { path: path.to_owned(), format, rotate_bytes: None, keep: 2 }
    }

    const LINES: FileFormat = FileFormat::Ndjson { envelope: false };

    fn deliver(sink: &FileSink, seqs: std::ops::Range<u64>) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let request = sink.encode(&batch(seqs)).unwrap();
        runtime.block_on(sink.send(&request, 1)).answer
    }

    fn lines(seqs: std::ops::Range<u64>) -> String {
        seqs.map(|seq| line(seq) + "\n").collect()
    }

    #[test]
    fn nothing_is_written_twice_however_batches_are_cut_behind_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.ndjson");
        assert_eq!(deliver(&FileSink::new(settings(&path, LINES)), 1..8), Answer::Delivered);
        let again = FileSink::new(settings(&path, LINES));
        assert_eq!(deliver(&again, 1..5), Answer::Delivered);
        assert_eq!(deliver(&again, 5..12), Answer::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(1..12));
        again.rewound().unwrap();
        let other = FileSink::new(settings(&path, LINES));
        assert!(matches!(deliver(&other, 12..13), Answer::Retry { why, .. } if why.contains("another writer")), "one writer at a time");
        drop(again);
        assert_eq!(deliver(&FileSink::new(settings(&path, LINES)), 3..5), Answer::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(1..12) + &lines(3..5), "a replay is wanted");
    }

    #[test]
    fn dead_letters_sent_again_are_written_once_and_do_not_move_the_position() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.ndjson");
        let sink = FileSink::new(settings(&path, LINES));
        assert_eq!(deliver(&sink, 5..8), Answer::Delivered);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let letters = Batch { redelivered: true, ..batch(2..4) };
        let request = sink.encode(&letters.part(0..2)).unwrap();
        for attempt in [1, 2] {
            assert_eq!(runtime.block_on(sink.send(&request, attempt)).answer, Answer::Delivered);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(5..8) + &lines(2..4));
        drop(sink);
        let again = FileSink::new(settings(&path, LINES));
        assert_eq!(deliver(&again, 5..9), Answer::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(5..8) + &lines(2..4) + &lines(8..9));
    }

    #[test]
    fn a_file_that_outlives_the_journal_gets_the_next_journals_events() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.ndjson");
        let notices = Arc::new(Mutex::new(Vec::new()));
        let of = |journal, opened_at, opened_seq| {
            let notices = notices.clone();
            let notice = Box::new(move |notice: &str| notices.lock().unwrap().push(notice.to_owned()));
            FileSink::of_journal(settings(&path, LINES), History { journal, opened_at, opened_seq }, notice)
        };
        // Written by a release that knew no journals: it is this one's.
        assert_eq!(deliver(&FileSink::new(settings(&path, LINES)), 1..4), Answer::Delivered);
        let position = Position { turn: 9, ..read_position(&mut File::open(with_suffix(&path, ".position")).unwrap()).unwrap() };
        let earlier = serde_json::to_string(&position).unwrap().replace(",\"journal\":0,\"opened_at\":0", "");
        assert!(!earlier.contains("journal"), "{earlier}");
        let place = format!("{:08x} {earlier}", crc32fast::hash(earlier.as_bytes()));
        assert_eq!(Position::decode(place.as_bytes()), Some(position));
        std::fs::write(with_suffix(&path, ".position"), format!("{place:<255}\n")).unwrap();
        assert_eq!(deliver(&of(7, 1, 4), 1..6), Answer::Delivered);
        assert_eq!(deliver(&of(7, 1, 4), 1..6), Answer::Delivered, "opened once: the sink only began again");
        assert_eq!(deliver(&of(7, 2, 6), 1..7), Answer::Delivered);
        let mut expected = lines(1..7);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        assert!(notices.lock().unwrap().is_empty());
        // Restored from a backup that ended before event 5.
        let restored = of(7, 3, 5);
        for seqs in [4..6, 4..6, 6..8] {
            assert_eq!(deliver(&restored, seqs), Answer::Delivered);
        }
        expected += &lines(4..8);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        drop(restored);
        // The data directory was wiped.
        assert_eq!(deliver(&of(8, 4, 1), 1..3), Answer::Delivered);
        assert_eq!(deliver(&of(8, 5, 3), 1..4), Answer::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected + &lines(1..4));
        let notices = notices.lock().unwrap();
        assert!(notices.len() == 2 && notices[0].contains("backup") && notices[1].contains("another journal"), "{notices:?}");
        let largest = Position {
            turn: u64::MAX,
            device: u64::MAX,
            inode: u64::MAX,
            len: u64::MAX,
            last_seq: u64::MAX,
            journal: u64::MAX,
            opened_at: i64::MIN,
        };
        assert_eq!(Position::decode(&largest.encode()), Some(largest), "it fits its place");
    }

    #[test]
    fn a_crash_between_the_lines_and_the_position_leaves_neither_half() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.ndjson");
        assert_eq!(deliver(&FileSink::new(settings(&path, LINES)), 1..4), Answer::Delivered);
        for torn in ["x", &lines(4..6), &lines(4..9)[..20]] {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(torn.as_bytes()).unwrap();
            let sink = FileSink::new(settings(&path, LINES));
            assert_eq!(deliver(&sink, 1..4), Answer::Delivered, "known");
            sink.writer.open(&mut sink.writer.opened()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(1..4));
        }
        // One of two places of the position is torn: the other counts, at most one batch goes.
        let position = with_suffix(&path, ".position");
        let whole = std::fs::read(&position).unwrap();
        let newest = Position::decode(&whole[..PLACE_BYTES])
            .map_or(1, |first| usize::from(Position::decode(&whole[PLACE_BYTES..]).is_some_and(|second| second.turn > first.turn)));
        let mut torn = whole.clone();
        torn[newest * PLACE_BYTES + 3] ^= 1;
        std::fs::write(&position, torn).unwrap();
        assert_eq!(deliver(&FileSink::new(settings(&path, LINES)), 1..4), Answer::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(1..4));
    }

    #[test]
    fn a_file_that_somebody_moved_or_wrote_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.ndjson");
        std::fs::write(&path, "not ours, and torn").unwrap();
        let sink = FileSink::new(settings(&path, LINES));
        assert_eq!(deliver(&sink, 1..3), Answer::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("not ours, and torn\n{}", lines(1..3)));
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        assert_eq!(deliver(&sink, 3..5), Answer::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(3..5));
    }

    #[test]
    fn files_rotate_by_size_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.ndjson");
        let sink = FileSink::new(FileSettings { rotate_bytes: Some(lines(1..3).len() as u64), ..settings(&path, LINES) });
        for seq in 1..10 {
            assert_eq!(deliver(&sink, seq..seq + 1), Answer::Delivered);
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        assert_eq!((read("e.ndjson"), read("e.ndjson.1"), read("e.ndjson.2")), (lines(9..10), lines(7..9), lines(5..7)));
        assert!(!dir.path().join("e.ndjson.3").exists());
        let mode = std::fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode & 0o137, 0, "{mode:o}: for the owner, and the group to read");
    }

    #[test]
    fn what_is_no_file_and_what_is_not_there_is_told_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, remedy) in
            [(link, "Too many levels"), (dir.path().join("pipe"), "no regular file"), (dir.path().join("no/e"), "make its directory")]
        {
            let sink = FileSink::new(settings(&path, LINES));
            match deliver(&sink, 1..2) {
                Answer::Unusable { why } => assert!(why.contains(remedy), "{why}"),
                other => panic!("{path:?}: {other:?}"),
            }
            assert!(sink.writer.probe().is_err());
        }
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "");
        let full = Trouble { action: "write to", path: "/x".into(), source: io::Error::from_raw_os_error(nix::libc::ENOSPC) };
        assert!(matches!(full.answer(), Answer::Retry { .. }));
    }

    #[test]
    fn tables_have_a_header_and_no_formulas() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.csv");
        let sink = FileSink::new(settings(&path, FileFormat::Csv));
        assert_eq!(deliver(&sink, 1..2), Answer::Delivered);
        assert_eq!(deliver(&sink, 2..3), Answer::Delivered);
        let mut rows = csv::Reader::from_path(&path).unwrap();
        assert_eq!(rows.headers().unwrap().iter().take(5).collect::<Vec<_>>(), ["id", "sequence", "time", "source", "eventid"]);
        let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        let column = |field: Field| 4 + COLUMNS.iter().position(|column| *column == field).unwrap();
        assert_eq!(&rows[1][column(Field::Username)], "'=cmd|' /C calc'!A2");
        assert_eq!(&rows[1][column(Field::Password)], "p,\"2");
        for cell in ["=1", "+1", "-1", "@x", "\tx", "\rx"] {
            assert_eq!(spreadsheet_cell(cell.to_owned()), format!("'{cell}"));
        }
        assert_eq!(spreadsheet_cell("a=1".to_owned()), "a=1");
    }

    #[test]
    fn an_envelope_says_where_the_line_is_from_and_keeps_it() {
        let mut out = Vec::new();
        enveloped(&item(7), line(7).as_bytes(), &mut out).unwrap();
        enveloped(&item(8), b"{\"a\":\"\\ud800\"}", &mut out).unwrap();
        enveloped(&item(9), b"\xff no JSON", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let values: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap_or(serde_json::Value::Null)).collect();
        assert_eq!((&values[0]["sequence"], &values[0]["source"]), (&7.into(), &"site".into()));
        assert_eq!(values[0]["event"]["password"], "p,\"7");
        assert!(text.contains(&line(7)), "verbatim");
        assert_eq!(values[2]["event"], "\u{fffd} no JSON");
    }
}
