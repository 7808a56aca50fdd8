//! Events into a file, as NDJSON or CSV: each exactly once, also across crashes, and rotated by size.
//!
//! A file is a place where exactness is possible. Beside the file lies its position (`NAME.position`): which file it is, how much of
//! it counts, and the last event in it. The lines are written and synced first, the position after them; both before the delivery
//! hears that they arrived. So after a crash the file is cut to its position, at most one batch goes, and that batch comes again,
//! for the cursor cannot have passed it. Events up to the position's are not written twice.
//!
//! What somebody else did to the file is respected: one that was moved away or replaced is left alone, and writing goes on at the end
//! of what is there now.
use super::{Answer, Batch, Item, Outcome, Request, Sink};
use crate::events::batch::Batcher;
use crate::events::{EventId, Field, time};
use crate::telemetry::printable::printable;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
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
}

/// Bytes of one place in the position file.
const PLACE_BYTES: usize = 256;

impl Position {
    fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("a struct of numbers is always JSON");
        let mut place = format!("{:08x} {json}", crc32fast::hash(json.as_bytes())).into_bytes();
        assert!(place.len() < PLACE_BYTES, "five numbers of 64 bits and their names");
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
    ends: Mutex<(EventId, Ends)>,
}

/// Sequence number of each event of a request, and where it ends in the body.
type Ends = Arc<Vec<(u64, usize)>>;

struct Writer {
    settings: FileSettings,
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    file: File,
    positions: File,
    position: Position,
}

impl FileSink {
    /// Opens nothing yet: a directory that is not there is told when something is to be delivered.
    pub fn new(settings: FileSettings) -> FileSink {
        FileSink {
            writer: Arc::new(Writer { settings, opened: Mutex::default() }),
            batcher: Mutex::new(Batcher::new()),
            ends: Mutex::default(),
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
        *self.ends.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = (id, Arc::new(ends));
        Ok(Request { body, id, items: batch.items.len(), last_seq, headers: Vec::new() })
    }

    fn send<'a>(&'a self, request: &'a Request, _attempt: u32) -> BoxFuture<'a, Outcome> {
        let writer = self.writer.clone();
        let request = request.clone();
        let (of, ends) = self.ends.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        Box::pin(async move {
            if of != request.id {
                let why = "another request was made before this one settled: a bug".to_owned();
                return Outcome { answer: Answer::Retry { after: None, why }, status: None };
            }
            let written = tokio::task::spawn_blocking(move || writer.write(&request, &ends)).await;
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
            let opened = tokio::task::spawn_blocking(move || writer.open(&mut writer.opened()).map(drop)).await;
            let answer = match opened {
                Ok(Ok(())) => Answer::Delivered,
                Ok(Err(trouble)) => trouble.answer(),
                Err(panic) => Answer::Retry { after: None, why: panic.to_string() },
            };
            Outcome { answer, status: None }
        })
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
            let mut positions = open_file(&position_path).map_err(|error| self.trouble("open", &position_path, error))?;
            let position = read_position(&mut positions).map_err(|error| self.trouble("read", &position_path, error))?;
            let new = self.attach(positions, position).map_err(|error| self.trouble("open", path, error))?;
            *opened = Some(new);
        }
        Ok(opened.as_mut().expect("opened just above"))
    }

    fn attach(&self, positions: File, position: Position) -> io::Result<Opened> {
        let mut file = open_file(&self.settings.path)?;
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
        let mut opened = Opened { file, positions, position };
        opened.put(len, position.last_seq)?;
        Ok(opened)
    }

    fn write(&self, request: &Request, ends: &[(u64, usize)]) -> Result<(), Trouble> {
        let mut guard = self.opened();
        let opened = self.open(&mut guard)?;
        if request.last_seq <= opened.position.last_seq {
            // An attempt that was given up had gone through after all.
            return Ok(());
        }
        // What is in the file already, of a batch that was cut elsewhere before a restart.
        let known = ends.iter().take_while(|(seq, _)| *seq <= opened.position.last_seq).last().map_or(0, |(_, end)| *end);
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
        let noted = written.and_then(|()| opened.put(before + (begun.len() + body.len()) as u64, request.last_seq));
        let Err(error) = noted else { return Ok(()) };
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
        let position = Position { turn, device: metadata.dev(), inode: metadata.ino(), len, last_seq };
        self.positions.write_all_at(&position.encode(), (turn % 2) * PLACE_BYTES as u64)?;
        self.positions.sync_data()?;
        self.position = position;
        Ok(())
    }
}

/// Opens for appending, makes it when it is not there; no symbolic link, and nothing but a regular file.
fn open_file(path: &Path) -> io::Result<File> {
    let append = !path.to_string_lossy().ends_with(".position");
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).append(append).create(true).mode(0o640).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
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
    fixed.into_iter().chain(values).map(harmless).collect()
}

/// A spreadsheet takes a cell that begins like this for a formula, and attackers chose it.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}
