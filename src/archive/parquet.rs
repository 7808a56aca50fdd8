//! Events as Parquet, for DuckDB and all else that reads it: one writer for archives and exports. `ops/ARCHIVE.md` describes the columns.
//!
//! Rows go out in groups that are bounded in number and in bytes, so memory does not grow with the file. The same events give the
//! same bytes: nothing of the machine, the moment or the release goes in. Where addresses are (country, network) is left out for that reason:
//! it depends on databases that change.
//!
//! A file proves its own completeness: its metadata hold the segment's running digest, which [`check`] computes again from the lines.
use crate::events::batch::Batcher;
use crate::events::id::unhex;
use crate::events::{EventId, Field};
use crate::journal::block::Digest;
use crate::journal::fs::File;
use crate::store::StoredEvent;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Version of the columns, `honeyguide.schema` in a file's metadata. Columns are added without a new one, never changed.
pub const SCHEMA: u32 = 1;

/// A group of rows ends at so many rows, or at so many bytes of values.
const GROUP_ROWS_MAX: usize = 65_536;
const GROUP_BYTES_MAX: usize = 32 << 20;
const ZSTD_LEVEL: i32 = 3;
/// Lines that are hashed, or read by a check, at once.
const CHECKED_ROWS: usize = 1024;

/// Names in the metadata.
pub mod key {
    pub const SCHEMA: &str = "honeyguide.schema";
    /// Identity of the journal, hexadecimal.
    pub const JOURNAL: &str = "honeyguide.journal";
    pub const SEGMENT: &str = "honeyguide.segment";
    pub const FIRST_SEQ: &str = "honeyguide.first_seq";
    /// Rows.
    pub const EVENTS: &str = "honeyguide.events";
    /// Running digest before the segment's first event and behind its last one, hexadecimal.
    pub const PREVIOUS_DIGEST: &str = "honeyguide.previous_digest";
    pub const DIGEST: &str = "honeyguide.digest";
    /// Conditions of an export.
    pub const QUERY: &str = "honeyguide.query";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The event's first value.
    Text,
    /// The same as a number from 0 to 65,535; what is none is left out.
    Port,
    /// All of its values, each once.
    Texts,
}

/// Columns of fields, called as in searches. Fields made of others (credential, download, …) and places are not among them.
const COLUMNS: [(Field, Kind); 43] = [
    (Field::Eventid, Kind::Text),
    (Field::Sensor, Kind::Text),
    (Field::Session, Kind::Text),
    (Field::SrcIp, Kind::Text),
    (Field::DstIp, Kind::Text),
    (Field::DstPort, Kind::Port),
    (Field::Protocol, Kind::Text),
    (Field::Username, Kind::Text),
    (Field::Password, Kind::Text),
    (Field::Command, Kind::Text),
    (Field::Version, Kind::Text),
    (Field::Hassh, Kind::Text),
    (Field::Fingerprint, Kind::Text),
    (Field::Ja4, Kind::Text),
    (Field::Ja4h, Kind::Text),
    (Field::Arch, Kind::Text),
    (Field::Shasum, Kind::Text),
    (Field::Filename, Kind::Text),
    (Field::Destfile, Kind::Text),
    (Field::Channel, Kind::Text),
    (Field::Sender, Kind::Text),
    (Field::Url, Kind::Texts),
    (Field::Cve, Kind::Texts),
    (Field::Domain, Kind::Texts),
    (Field::Ipv4, Kind::Texts),
    (Field::Ipv6, Kind::Texts),
    (Field::Email, Kind::Texts),
    (Field::Md5, Kind::Texts),
    (Field::Sha1, Kind::Texts),
    (Field::Sha256, Kind::Texts),
    (Field::Sha512, Kind::Texts),
    (Field::Btc, Kind::Texts),
    (Field::Eth, Kind::Texts),
    (Field::Xmr, Kind::Texts),
    (Field::Phone, Kind::Texts),
    (Field::Upi, Kind::Texts),
    (Field::Ifsc, Kind::Texts),
    (Field::BankAccount, Kind::Texts),
    (Field::SshKey, Kind::Texts),
    (Field::ScamType, Kind::Texts),
    (Field::Keyword, Kind::Texts),
    (Field::CommandLine, Kind::Texts),
    (Field::Tunnel, Kind::Texts),
];

/// The schema in Parquet's own notation.
fn schema() -> String {
    let mut text = "message honeyguide {\n REQUIRED INT64 seq;\n REQUIRED BINARY id (STRING);\n REQUIRED INT64 time (TIMESTAMP(MICROS,true));\n \
                    REQUIRED INT64 received_at (TIMESTAMP(MICROS,true));\n REQUIRED BINARY source (STRING);\n REQUIRED BINARY format (STRING);\n"
        .to_owned();
    for (field, kind) in COLUMNS {
        let name = field.name();
        let _ = match kind {
            Kind::Text => writeln!(text, " OPTIONAL BINARY {name} (STRING);"),
            Kind::Port => writeln!(text, " OPTIONAL INT32 {name};"),
            Kind::Texts => {
                writeln!(text, " OPTIONAL group {name} (LIST) {{ REPEATED group list {{ REQUIRED BINARY element (STRING); }} }}")
            }
        };
    }
    text + " REQUIRED BINARY line (STRING);\n OPTIONAL BINARY line_raw;\n}"
}

fn properties() -> WriterProperties {
    let path = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_created_by("honeyguide".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).expect("zstd has this level")))
        .set_statistics_enabled(EnabledStatistics::Page);
    for name in ["seq", "time", "received_at"] {
        properties =
            properties.set_column_dictionary_enabled(path(name), false).set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    // No two are alike: statistics and dictionaries would only cost.
    for name in ["id", "line", "line_raw"] {
        properties =
            properties.set_column_dictionary_enabled(path(name), false).set_column_statistics_enabled(path(name), EnabledStatistics::None);
    }
    properties.build()
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("cannot write Parquet: {0}")]
    Parquet(String),
}

impl From<ParquetError> for WriteError {
    fn from(error: ParquetError) -> WriteError {
        match error {
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(error) => WriteError::Io(*error),
                Err(other) => WriteError::Parquet(other.to_string()),
            },
            other => WriteError::Parquet(other.to_string()),
        }
    }
}

/// A stretch of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    len: u32,
}

/// Values of one column in the group that is being collected.
#[derive(Default)]
struct Column {
    spans: Vec<Span>,
    numbers: Vec<i32>,
    /// Per value or missing one: how much of its path is there.
    present: Vec<i16>,
    /// Of lists: 0 begins a row, 1 goes on with it.
    repeated: Vec<i16>,
    /// Values of the row that is being noted begin here.
    row: usize,
}

/// Writes events, in the order they are [pushed](Writer::push).
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    batcher: Batcher,
    /// By number of the field, its column.
    column_of: [Option<u8>; Field::ALL.len()],
    arena: Vec<u8>,
    seqs: Vec<i64>,
    times: Vec<i64>,
    received: Vec<i64>,
    ids: Vec<Span>,
    sources: Vec<Span>,
    formats: Vec<Span>,
    columns: Vec<Column>,
    lines: Vec<Span>,
    raw_lines: Column,
    digest: Option<Digest>,
    /// Of lines that the digest does not go over yet.
    hashes: Vec<EventId>,
    rows: u64,
}

impl<W: Write + Send> Writer<W> {
    pub fn new(out: W) -> Result<Writer<W>, WriteError> {
        let schema = Arc::new(parse_message_type(&schema())?);
        let mut column_of = [None; Field::ALL.len()];
        for (number, (field, _)) in COLUMNS.iter().enumerate() {
            column_of[*field as usize] = Some(number as u8);
        }
        Ok(Writer {
            file: SerializedFileWriter::new(out, schema, Arc::new(properties()))?,
            batcher: Batcher::new(),
            column_of,
            arena: Vec::new(),
            seqs: Vec::new(),
            times: Vec::new(),
            received: Vec::new(),
            ids: Vec::new(),
            sources: Vec::new(),
            formats: Vec::new(),
            columns: (0..COLUMNS.len()).map(|_| Column::default()).collect(),
            lines: Vec::new(),
            raw_lines: Column::default(),
            digest: None,
            hashes: Vec::new(),
            rows: 0,
        })
    }

    /// The rows are to prove that they go on behind `previous` digest.
    pub fn with_digest(mut self, previous: &[u8; 32]) -> Writer<W> {
        self.digest = Some(Digest::following(previous));
        self
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Running digest behind the last row, if one was asked for.
    pub fn digest(&mut self) -> Option<[u8; 32]> {
        let digest = self.digest.as_mut()?;
        digest.update(&self.hashes);
        self.hashes.clear();
        Some(digest.value())
    }

    /// Adds an event.
    pub fn push(&mut self, event: &StoredEvent<'_>) -> Result<(), WriteError> {
        let Writer { batcher, column_of, arena, columns, .. } = self;
        let noted = arena.len();
        let time = batcher.terms(event.format, event.line, event.received_at, &mut |field, value| {
            if let Some(number) = column_of[field as usize] {
                columns[usize::from(number)].note(COLUMNS[usize::from(number)].1, value, arena);
            }
        });
        if time.is_none() {
            // Its decoder does not read it any more: no terms, as everywhere else.
            columns.iter_mut().for_each(Column::forget_row);
            arena.truncate(noted);
        }
        for (column, (_, kind)) in columns.iter_mut().zip(COLUMNS) {
            column.end_row(kind);
        }
        self.seqs.push(event.seq as i64);
        self.times.push(time.unwrap_or(event.received_at));
        self.received.push(event.received_at);
        let mut hex = [0; 32];
        for (digits, byte) in hex.chunks_exact_mut(2).zip(event.id.0) {
            digits.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        self.ids.push(put(&mut self.arena, &hex));
        repeat_or_put(&mut self.sources, &mut self.arena, event.source.as_bytes());
        repeat_or_put(&mut self.formats, &mut self.arena, event.format.name().as_bytes());
        match simdutf8::basic::from_utf8(event.line) {
            Ok(_) => {
                self.lines.push(put(&mut self.arena, event.line));
                self.raw_lines.present.push(0);
            }
            Err(_) => {
                self.lines.push(put(&mut self.arena, String::from_utf8_lossy(event.line).as_bytes()));
                self.raw_lines.spans.push(put(&mut self.arena, event.line));
                self.raw_lines.present.push(1);
            }
        }
        if let Some(digest) = &mut self.digest {
            self.hashes.push(EventId::of_line(event.line));
            if self.hashes.len() == CHECKED_ROWS {
                digest.update(&self.hashes);
                self.hashes.clear();
            }
        }
        self.rows += 1;
        if self.seqs.len() >= GROUP_ROWS_MAX || self.arena.len() >= GROUP_BYTES_MAX {
            self.end_group()?;
        }
        Ok(())
    }

    /// Writes what is left and the metadata; answers what was written to.
    pub fn finish(mut self, metadata: &[(&str, String)]) -> Result<W, WriteError> {
        self.end_group()?;
        let entry = |key: &str, value: String| KeyValue { key: key.to_owned(), value: Some(value) };
        self.file.append_key_value_metadata(entry(key::SCHEMA, SCHEMA.to_string()));
        self.file.append_key_value_metadata(entry(key::EVENTS, self.rows.to_string()));
        for (key, value) in metadata {
            self.file.append_key_value_metadata(entry(key, value.clone()));
        }
        Ok(self.file.into_inner()?)
    }

    fn end_group(&mut self) -> Result<(), WriteError> {
        if self.seqs.is_empty() {
            return Ok(());
        }
        let values = Values(Bytes::from(std::mem::take(&mut self.arena)));
        let mut group = self.file.next_row_group()?;
        write::<Int64Type, _>(&mut group, &self.seqs, None, None)?;
        write::<ByteArrayType, _>(&mut group, &values.of(&self.ids), None, None)?;
        write::<Int64Type, _>(&mut group, &self.times, None, None)?;
        write::<Int64Type, _>(&mut group, &self.received, None, None)?;
        write::<ByteArrayType, _>(&mut group, &values.of(&self.sources), None, None)?;
        write::<ByteArrayType, _>(&mut group, &values.of(&self.formats), None, None)?;
        for (column, (_, kind)) in self.columns.iter_mut().zip(COLUMNS) {
            match kind {
                Kind::Text => write::<ByteArrayType, _>(&mut group, &values.of(&column.spans), Some(&column.present), None)?,
                Kind::Port => write::<Int32Type, _>(&mut group, &column.numbers, Some(&column.present), None)?,
                Kind::Texts => {
                    let spans = values.of(&column.spans);
                    write::<ByteArrayType, _>(&mut group, &spans, Some(&column.present), Some(&column.repeated))?;
                }
            }
            column.clear();
        }
        write::<ByteArrayType, _>(&mut group, &values.of(&self.lines), None, None)?;
        write::<ByteArrayType, _>(&mut group, &values.of(&self.raw_lines.spans), Some(&self.raw_lines.present), None)?;
        group.close()?;
        [&mut self.seqs, &mut self.times, &mut self.received].into_iter().for_each(Vec::clear);
        [&mut self.ids, &mut self.sources, &mut self.formats, &mut self.lines].into_iter().for_each(Vec::clear);
        self.raw_lines.clear();
        Ok(())
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn write<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    present: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<(), WriteError> {
    let mut column = group.next_column()?.ok_or_else(|| WriteError::Parquet("the schema has fewer columns than are written".into()))?;
    column.typed::<T>().write_batch(values, present, repeated)?;
    Ok(column.close()?)
}

impl Column {
    fn note(&mut self, kind: Kind, value: &[u8], arena: &mut Vec<u8>) {
        let again = self.spans.len() + self.numbers.len() > self.row;
        match kind {
            Kind::Text | Kind::Port if again => {}
            Kind::Port => {
                let digits = value.len() <= 5 && value.iter().all(u8::is_ascii_digit);
                let port = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse::<u16>().ok());
                self.numbers.extend(port.map(i32::from));
            }
            Kind::Text | Kind::Texts => {
                let known = |span: &Span| arena[span.start as usize..][..span.len as usize] == *value;
                if kind == Kind::Texts && self.spans[self.row..].iter().any(known) {
                    return;
                }
                self.spans.push(match simdutf8::basic::from_utf8(value) {
                    Ok(_) => put(arena, value),
                    Err(_) => put(arena, String::from_utf8_lossy(value).as_bytes()),
                });
            }
        }
    }

    fn end_row(&mut self, kind: Kind) {
        let end = self.spans.len() + self.numbers.len();
        match (kind, end - self.row) {
            (Kind::Texts, 0) => {
                self.present.push(0);
                self.repeated.push(0);
            }
            (Kind::Texts, values) => {
                self.present.extend(std::iter::repeat_n(2, values));
                self.repeated.push(0);
                self.repeated.extend(std::iter::repeat_n(1, values - 1));
            }
            (_, values) => self.present.push(i16::from(values > 0)),
        }
        self.row = end;
    }

    fn forget_row(&mut self) {
        // A column has either; the other's length is 0.
        self.spans.truncate(self.row);
        self.numbers.truncate(self.row);
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.numbers.clear();
        self.present.clear();
        self.repeated.clear();
        self.row = 0;
    }
}

fn put(arena: &mut Vec<u8>, value: &[u8]) -> Span {
    let span = Span { start: arena.len() as u32, len: value.len() as u32 };
    arena.extend_from_slice(value);
    span
}

/// Names of sources and formats come in long runs.
fn repeat_or_put(spans: &mut Vec<Span>, arena: &mut Vec<u8>, value: &[u8]) {
    let last = spans.last().copied().filter(|span| arena[span.start as usize..][..span.len as usize] == *value);
    spans.push(last.unwrap_or_else(|| put(arena, value)));
}

/// An arena that is complete.
struct Values(Bytes);

impl Values {
    fn of(&self, spans: &[Span]) -> Vec<ByteArray> {
        let value = |span: &Span| self.0.slice(span.start as usize..(span.start + span.len) as usize).into();
        spans.iter().map(value).collect()
    }
}

/// What a file says of itself, and what its rows say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub rows: u64,
    pub first_seq: Option<i64>,
    pub metadata: BTreeMap<String, String>,
    /// Of the rows' lines, computed from the previous digest in the metadata.
    pub digest: Option<[u8; 32]>,
}

impl Checked {
    fn digest_of(&self, key: &str) -> Option<[u8; 32]> {
        unhex(self.metadata.get(key)?.as_bytes())
    }

    /// Digest that its metadata promise.
    pub fn promised(&self) -> Option<[u8; 32]> {
        self.digest_of(key::DIGEST)
    }

    /// Digest that goes before.
    pub fn previous(&self) -> Option<[u8; 32]> {
        self.digest_of(key::PREVIOUS_DIGEST)
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        self.metadata.get(key)?.parse().ok()
    }
}

/// Reads a file as a whole: its metadata, its number of rows, and the digest of its lines. An error says what is wrong with it.
pub fn check(file: Arc<dyn File>) -> Result<Checked, String> {
    // The file may come from anywhere, and its reader is not ours: what makes it panic is damage as well.
    catch_unwind(AssertUnwindSafe(|| read(Reader(file)))).unwrap_or_else(|_| Err("it is damaged: it cannot be decoded".into()))
}

fn read(file: Reader) -> Result<Checked, String> {
    let told = |error: ParquetError| error.to_string();
    let reader = SerializedFileReader::new(file).map_err(told)?;
    let metadata = reader.metadata();
    let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let mut checked = Checked::default();
    checked.metadata.extend(entries.filter_map(|entry| Some((entry.key.clone(), entry.value.clone()?))));
    match checked.number(key::SCHEMA) {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(_) => return Err("it was written by a newer release".into()),
        None => return Err("it is no file of honeyguide's".into()),
    }
    let leaf = |name: &str| {
        let columns = metadata.file_metadata().schema_descr().columns();
        columns.iter().position(|column| column.path().string() == name).ok_or(format!("it has no column {name}"))
    };
    let (seq, line, line_raw) = (leaf("seq")?, leaf("line")?, leaf("line_raw")?);
    let mut digest = checked.previous().map(|previous| Digest::following(&previous));
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number).map_err(told)?;
        let mut lines = get_typed_column_reader::<ByteArrayType>(group.get_column_reader(line).map_err(told)?);
        let mut raw_lines = get_typed_column_reader::<ByteArrayType>(group.get_column_reader(line_raw).map_err(told)?);
        if checked.first_seq.is_none() {
            let mut seqs = Vec::new();
            let mut column = get_typed_column_reader::<Int64Type>(group.get_column_reader(seq).map_err(told)?);
            column.read_records(1, None, None, &mut seqs).map_err(told)?;
            checked.first_seq = seqs.first().copied();
        }
        loop {
            let (mut texts, mut raw, mut present) = (Vec::new(), Vec::new(), Vec::new());
            let (records, _, _) = lines.read_records(CHECKED_ROWS, None, None, &mut texts).map_err(told)?;
            raw_lines.read_records(records.max(1), Some(&mut present), None, &mut raw).map_err(told)?;
            if present.len() != records || texts.len() != records {
                return Err("its columns are of different lengths".into());
            }
            if records == 0 {
                break;
            }
            let mut raw = raw.iter();
            let mut hashes = Vec::with_capacity(records);
            for (text, present) in texts.iter().zip(present) {
                let bytes = if present > 0 { raw.next().ok_or("its columns are of different lengths")? } else { text };
                hashes.push(EventId::of_line(bytes.data()));
            }
            if let Some(digest) = &mut digest {
                digest.update(&hashes);
            }
            checked.rows += records as u64;
        }
    }
    if checked.number(key::EVENTS) != Some(checked.rows) {
        return Err(format!("it has {} events and should have {:?}", checked.rows, checked.number(key::EVENTS)));
    }
    checked.digest = digest.map(|digest| digest.value());
    match (checked.promised(), checked.digest) {
        (Some(promised), found) if found != Some(promised) => Err("its events are not those of the chain".into()),
        _ => Ok(checked),
    }
}

/// A file of any file system, as its reader wants it.
struct Reader(Arc<dyn File>);

/// Reads on from a position.
struct ReadFrom {
    file: Arc<dyn File>,
    at: u64,
}

impl Length for Reader {
    fn len(&self) -> u64 {
        self.0.len().unwrap_or(0)
    }
}

impl ChunkReader for Reader {
    type T = io::BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::new(ReadFrom { file: self.0.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // Lengths stand in the file: memory is for what it really has.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len()) {
            return Err(ParquetError::EOF("it ends too early".into()));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

impl io::Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = (buffer.len() as u64).min(self.file.len()?.saturating_sub(self.at)) as usize;
        self.file.read_exact_at(&mut buffer[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fs::{Fs, RealFs};
    use crate::sources::Format;
    use std::path::Path;

    const NOW: i64 = 1_774_138_242_831_494;

    fn written(lines: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap().with_digest(&[7; 32]);
        let source: Arc<str> = "cowrie".into();
        for (at, line) in lines.iter().enumerate() {
            let (seq, id) = (at as u64 + 1, EventId::of_line(line));
            writer.push(&StoredEvent { seq, id, line, source: &source, format: Format::COWRIE, received_at: NOW }).unwrap();
        }
        let hex = crate::events::id::hex;
        let digest = writer.digest().unwrap();
        writer.finish(&[(key::PREVIOUS_DIGEST, hex(&[7; 32])), (key::DIGEST, hex(&digest))]).unwrap()
    }

    fn checked(bytes: &[u8], dir: &Path) -> Result<Checked, String> {
        let path = dir.join("x.parquet");
        std::fs::write(&path, bytes).unwrap();
        check(RealFs.open(&path).unwrap())
    }

    fn line(n: usize) -> String {
        format!(
            r#"{{"eventid":"cowrie.command.input","input":"wget http://203.0.113.{}/x; ping {n}","session":"s{n}","sensor":"h","src_ip":"198.51.100.7","timestamp":"2026-03-0{}T00:00:00.{n:06}Z"}}"#,
            n % 250,
            n % 9 + 1
        )
    }

    #[test]
    fn the_same_events_give_the_same_bytes_and_a_file_proves_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..3000).map(line).collect();
        let mut lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let odd = b"{\"eventid\":\"cowrie.login.failed\",\"username\":\"\xff\\u0000\\ud83d\",\"session\":\"s\",\"timestamp\":\"2026-03-01T00:00:00.000000Z\"}";
        lines.push(odd);
        let bytes = written(&lines);
        assert_eq!(bytes, written(&lines));
        let found = checked(&bytes, dir.path()).unwrap();
        assert_eq!((found.rows, found.first_seq, found.digest), (3001, Some(1), found.promised()));
        // Every other line, or one that is changed, is noticed.
        let cut = checked(&written(&lines[..3000]), dir.path()).unwrap();
        assert_ne!(cut.digest, found.digest);
    }

    #[test]
    fn damage_is_told_and_never_fatal() {
        let dir = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..300).map(line).collect();
        let bytes = written(&lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        let good = checked(&bytes, dir.path()).unwrap();
        let mut noticed = 0;
        for at in (0..bytes.len()).step_by(7) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            noticed += usize::from(checked(&flipped, dir.path()).map(|found| found.digest) != Ok(good.digest));
        }
        assert!(noticed > 0, "flips in the lines and in the metadata");
        for len in [0, 3, 8, bytes.len() / 2, bytes.len() - 1] {
            assert!(checked(&bytes[..len], dir.path()).is_err(), "{len}");
        }
        assert!(checked(b"PAR1\xff\xff\xff\x7fPAR1", dir.path()).is_err());
    }

    #[test]
    fn groups_are_bounded_and_every_event_is_in_one() {
        let dir = tempfile::tempdir().unwrap();
        let lines: Vec<String> =
            (0..GROUP_ROWS_MAX + 5).map(|n| format!(r#"{{"eventid":"e","timestamp":"2026-03-01T00:00:00Z","n":{n}}}"#)).collect();
        let bytes = written(&lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        assert_eq!(checked(&bytes, dir.path()).unwrap().rows, GROUP_ROWS_MAX as u64 + 5);
        let reader = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
    }

    #[test]
    fn every_field_is_a_column_or_made_of_others() {
        for &field in Field::ALL {
            let is_column = COLUMNS.iter().any(|(known, _)| *known == field);
            let made = matches!(field, Field::Credential | Field::Download | Field::Upload) || field.is_place();
            assert!(is_column != made, "{}", field.name());
        }
    }
}
