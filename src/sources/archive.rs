//! Reads one file from its beginning to its end: plain, compressed by gzip, bzip2, zstd or xz, or a segment of a journal, which is
//! told from its first bytes, not from its name. Everything streams; what expands beyond reason or is damaged is delivered as far as it
//! goes, and then refused.
use super::checkpoint::display_path;
use super::framing::{Framer, Limits, Piece};
use super::segment::{Part, SegmentReader};
use super::{Chunk, Origin, Reason, Refused, Source, SourceError};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Read from disk at once when decompressing, bytes.
const COMPRESSED_BUFFER_BYTES: usize = 64 << 10;
/// Enough of a file to tell what it is.
pub const MAGIC_BYTES: usize = 10;
/// Deepest directory tree that [`expand`] follows.
const DIRECTORY_DEPTH_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Gzip,
    Bzip2,
    Zstd,
    Xz,
}

impl Kind {
    /// Tells what a file is from its first [`MAGIC_BYTES`].
    pub fn of(head: &[u8]) -> Kind {
        match head {
            [0x1f, 0x8b, 8, ..] => Kind::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Kind::Bzip2,
            // An archive without content has only the end mark.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Kind::Bzip2,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Kind::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Kind::Xz,
            _ => Kind::Plain,
        }
    }
}

/// How far a compressed file may expand, and what it may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expansion {
    pub ratio_max: u64,
    /// Below this size, bytes, the ratio is not looked at: small repetitive files compress well.
    pub ratio_from_bytes: u64,
    pub bytes_max: u64,
    /// Largest zstd window, as a power of two.
    pub window_log_max: u32,
    /// Most memory the xz decoder may take, bytes; `xz -9` needs 65 MiB.
    pub xz_memory_bytes_max: u64,
}

impl Default for Expansion {
    fn default() -> Self {
        Expansion { ratio_max: 200, ratio_from_bytes: 16 << 20, bytes_max: 64 << 30, window_log_max: 27, xz_memory_bytes_max: 72 << 20 }
    }
}

/// What is wrong with a compressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("archive expands more than the ratio limit allows: taken for a decompression bomb")]
    Ratio,
    #[error("archive expands beyond the size limit")]
    Size,
    #[error("archive ends in the middle: truncated, or still being written")]
    Truncated,
    #[error("archive is damaged")]
    Damaged,
    #[error("archive needs more memory than is allowed: compress it with a smaller window or dictionary")]
    Memory,
}

impl Fault {
    /// The fault that a read from [`Decoded`] met; none when it was the disk's.
    pub fn of(error: &io::Error) -> Option<Fault> {
        if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
            return Some(*fault);
        }
        if error.raw_os_error().is_some() {
            return None;
        }
        let text = error.to_string();
        if error.kind() == io::ErrorKind::UnexpectedEof || text.contains("finish not called") || text.contains("premature eof") {
            Some(Fault::Truncated)
        } else if text.contains("memory") {
            Some(Fault::Memory)
        } else {
            Some(Fault::Damaged)
        }
    }
}

/// The decompressed bytes of a file, within limits.
pub struct Decoded {
    kind: Kind,
    reader: Box<dyn Read + Send>,
    consumed: Arc<AtomicU64>,
    total: u64,
    produced: u64,
    expansion: Expansion,
}

impl Decoded {
    /// `file` must stand at its beginning.
    pub fn new(mut file: File, expansion: Expansion) -> io::Result<Decoded> {
        let total = file.metadata()?.len();
        let head = read_head(&mut file)?;
        let kind = Kind::of(&head);
        let consumed = Arc::new(AtomicU64::new(0));
        // Advice only: a refusal changes nothing but speed.
        let _ = nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
        let counted = Counted { file, consumed: Arc::clone(&consumed) };
        let buffered = |counted| BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, counted);
        let reader: Box<dyn Read + Send> = match kind {
            Kind::Plain => Box::new(counted),
            Kind::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(counted))),
            Kind::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(counted))),
            Kind::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(counted))?;
                decoder.window_log_max(expansion.window_log_max)?;
                Box::new(decoder)
            }
            Kind::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(expansion.xz_memory_bytes_max, flags).map_err(io::Error::other)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(buffered(counted), stream))
            }
        };
        Ok(Decoded { kind, reader, consumed, total, produced: 0, expansion })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes read from disk, and the file's length when it was opened.
    pub fn progress(&self) -> (u64, u64) {
        (self.consumed.load(Ordering::Relaxed), self.total)
    }
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if self.kind != Kind::Plain {
            self.produced += read as u64;
            let consumed = self.consumed.load(Ordering::Relaxed).max(1);
            if self.produced > self.expansion.bytes_max {
                return Err(io::Error::other(Fault::Size));
            }
            if self.produced > self.expansion.ratio_from_bytes && self.produced / consumed > self.expansion.ratio_max {
                return Err(io::Error::other(Fault::Ratio));
            }
        }
        Ok(read)
    }
}

struct Counted {
    file: File,
    consumed: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.consumed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The first bytes of a file, without moving in it.
fn read_head(file: &mut File) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut head = vec![0; MAGIC_BYTES];
    let mut len = 0;
    while len < head.len() {
        match file.read_at(&mut head[len..], len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(len);
    Ok(head)
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ArchiveSettings {
    pub limits: Limits,
    pub expansion: Expansion,
    /// Goes into every chunk's origin.
    pub run: u64,
}

/// One file, cut into chunks. The chunks carry no checkpoint and no permit.
pub struct Archive {
    path: PathBuf,
    display: Arc<str>,
    source: Arc<Source>,
    run: u64,
    ordinal: u64,
    input: Decoded,
    /// Reads instead of the above, when the file is a segment of a journal.
    segment: Option<SegmentReader>,
    framer: Framer,
    ended: bool,
    fault: Option<Fault>,
}

impl Archive {
    pub fn open(path: &Path, source: Arc<Source>, settings: ArchiveSettings) -> Result<Archive, SourceError> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |error| SourceError::Io { action: "open", path: path.to_path_buf(), error };
        // Not blocking: opening a pipe must not wait for a writer.
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(SourceError::NotRegular(path.to_path_buf()));
        }
        let segment = SegmentReader::of(&file, settings.limits.chunk_bytes, settings.expansion).map_err(failed)?;
        let input = Decoded::new(file, settings.expansion).map_err(failed)?;
        Ok(Archive {
            path: path.to_path_buf(),
            display: display_path(path).into(),
            source,
            run: settings.run,
            ordinal: 0,
            input,
            segment,
            framer: Framer::new(settings.limits),
            ended: false,
            fault: None,
        })
    }

    pub fn kind(&self) -> Kind {
        self.input.kind()
    }

    /// Bytes read from disk, and the file's length.
    pub fn progress(&self) -> (u64, u64) {
        self.segment.as_ref().map_or_else(|| self.input.progress(), SegmentReader::progress)
    }

    /// Whether it is a segment of a journal: then its chunks have the formats that it names.
    pub fn is_segment(&self) -> bool {
        self.segment.is_some()
    }

    /// Bytes of NUL runs and byte order marks passed over.
    pub fn skipped_bytes(&self) -> u64 {
        self.framer.skipped_bytes()
    }

    /// The next chunk; none at the end. An error is the disk's and final: damage inside the file arrives as the last
    /// chunk's refusal.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        if let Some(segment) = &mut self.segment {
            let part = segment.next_part().map_err(|error| SourceError::Io { action: "read", path: self.path.clone(), error })?;
            return Ok(part.map(|part| self.stored_chunk(part)));
        }
        loop {
            if let Some(piece) = self.framer.next_piece(false) {
                return Ok(Some(self.chunk(piece)));
            }
            if self.ended {
                if let Some(piece) = self.framer.finish() {
                    return Ok(Some(self.chunk(piece)));
                }
                let Some(fault) = self.fault.take() else { return Ok(None) };
                let offset = self.framer.trail().offset();
                let refused = vec![refused_archive(fault, offset, self.progress())];
                let end = Piece { data: Vec::new(), places: Vec::new(), refused, start: offset, end: offset, reflowed: false };
                return Ok(Some(self.chunk(end)));
            }
            match self.framer.fill(&mut self.input, usize::MAX) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) => {
                    let Some(fault) = Fault::of(&error) else {
                        return Err(SourceError::Io { action: "read", path: self.path.clone(), error });
                    };
                    self.ended = true;
                    self.fault = Some(fault);
                }
            }
        }
    }

    fn stored_chunk(&mut self, part: Part) -> Chunk {
        if part.format.is_some_and(|format| format != self.source.format) {
            let format = part.format.unwrap_or(self.source.format);
            self.source = Arc::new(Source { name: self.source.name.clone(), format });
        }
        let Part { data, start, end, refused, reflowed, .. } = part;
        let mut chunk = self.chunk(Piece { data, places: Vec::new(), refused, start, end, reflowed });
        chunk.origin.received_at = part.received_at.unwrap_or(chunk.origin.received_at);
        chunk.stored = Some(part.stored);
        chunk
    }

    fn chunk(&mut self, piece: Piece) -> Chunk {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        Chunk {
            origin: Origin {
                source: Arc::clone(&self.source),
                stream: Arc::from(""),
                run: self.run,
                ordinal,
                path: Arc::clone(&self.display),
                offset: piece.start,
                generation: 0,
                first_seen: 0,
                input_bytes: piece.end - piece.start,
                received_at: crate::events::time::now(),
                reflowed: piece.reflowed,
                checkpoint: Vec::new(),
                permit: None,
                only_sensors: None,
            },
            data: piece.data,
            places: piece.places,
            refused: piece.refused,
            stored: None,
        }
    }
}

/// The record that an archive could not be read further. It holds none of the archive: that is still where it was.
pub(crate) fn refused_archive(fault: Fault, offset: u64, (consumed, total): (u64, u64)) -> Refused {
    Refused {
        reason: Reason::Archive,
        offset,
        len: 0,
        hash: *blake3::hash(b"").as_bytes(),
        bytes: Vec::new(),
        detail: format!("{fault}; {consumed} of {total} compressed bytes were read"),
    }
}

/// The files that `paths` stand for: files as they are named, directories with all regular files below them, sorted by
/// name; hidden files and links to directories are left out.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|error| SourceError::Io { action: "find", path: path.clone(), error })?;
        if metadata.is_dir() {
            expand_directory(path, 0, &mut files)?;
        } else if metadata.is_file() {
            files.push(path.clone());
        } else {
            return Err(SourceError::NotRegular(path.clone()));
        }
    }
    Ok(files)
}

fn expand_directory(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let failed = |error| SourceError::Io { action: "list", path: directory.to_path_buf(), error };
    let mut entries = std::fs::read_dir(directory).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        use std::os::unix::ffi::OsStrExt;
        if entry.file_name().as_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if depth < DIRECTORY_DEPTH_MAX {
                expand_directory(&path, depth + 1, files)?;
            }
        } else if std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Format;
    use std::io::Write;

    const KINDS: [Kind; 5] = [Kind::Plain, Kind::Gzip, Kind::Bzip2, Kind::Zstd, Kind::Xz];

    fn compress(kind: Kind, data: &[u8]) -> Vec<u8> {
        match kind {
            Kind::Plain => data.to_vec(),
            Kind::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Kind::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Kind::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
                encoder.include_checksum(true).unwrap();
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Kind::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|n| format!("{{\"eventid\":\"cowrie.x\",\"n\":{n},\"h\":\"{:x}\"}}\n", n * 2_654_435_761).into_bytes())
            .collect()
    }

    fn read(bytes: &[u8], settings: ArchiveSettings) -> (Vec<u8>, Vec<Refused>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        read_path(file.path(), settings)
    }

    fn read_path(path: &Path, settings: ArchiveSettings) -> (Vec<u8>, Vec<Refused>) {
        let source = Arc::new(Source { name: "test".into(), format: Format::COWRIE });
        let mut archive = Archive::open(path, source, settings).unwrap();
        let (mut data, mut refused, mut ordinal, mut offset) = (Vec::new(), Vec::new(), 0, 0);
        while let Some(chunk) = archive.next_chunk().unwrap() {
            assert_eq!((chunk.origin.ordinal, chunk.origin.offset), (ordinal, offset));
            ordinal += 1;
            offset += chunk.origin.input_bytes;
            data.extend(chunk.data);
            refused.extend(chunk.refused);
        }
        let (consumed, total) = archive.progress();
        assert!(consumed <= total);
        (data, refused)
    }

    #[test]
    fn reads_every_kind_and_several_members_in_one_file() {
        let (first, second) = (lines(30_000), lines(7));
        for kind in KINDS {
            let bytes = [compress(kind, &first), compress(kind, &second)].concat();
            assert_eq!(Kind::of(&bytes), kind);
            let (data, refused) = read(&bytes, ArchiveSettings::default());
            assert!(data == [&first[..], &second].concat() && refused.is_empty(), "{kind:?} {refused:?}");
            let (data, refused) = read(&compress(kind, b""), ArchiveSettings::default());
            assert!(data.is_empty() && refused.is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn truncated_archive_delivers_what_decodes_and_one_refusal() {
        let plain = lines(50_000);
        for kind in &KINDS[1..] {
            let bytes = compress(*kind, &plain);
            for keep in [bytes.len() - 1, bytes.len() - 9, bytes.len() * 2 / 3, 20] {
                let (data, refused) = read(&bytes[..keep], ArchiveSettings::default());
                assert!(plain.starts_with(&data), "{kind:?} {keep}");
                let archives: Vec<_> = refused.iter().filter(|refused| refused.reason == Reason::Archive).collect();
                assert_eq!(archives.len(), 1, "{kind:?} cut to {keep} of {}", bytes.len());
                assert!(archives[0].detail.starts_with(&Fault::Truncated.to_string()), "{kind:?} {}", archives[0].detail);
                assert!(keep != bytes.len() - 1 || data.len() > plain.len() / 2, "{kind:?} delivers what decodes");
            }
        }
    }

    #[test]
    fn damaged_archive_is_refused_once() {
        let plain = lines(50_000);
        for kind in &KINDS[1..] {
            let mut bytes = compress(*kind, &plain);
            let middle = bytes.len() / 2;
            bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0x5a);
            let (_, refused) = read(&bytes, ArchiveSettings::default());
            assert_eq!(refused.iter().filter(|refused| refused.reason == Reason::Archive).count(), 1, "{kind:?}");
        }
    }

    #[test]
    fn bomb_is_stopped_at_the_ratio_or_size_limit_but_small_repetitive_files_pass() {
        let line = [&b"{\"a\":\""[..], &[b'x'; 1000], b"\"}\n"].concat();
        let small = line.repeat(1000);
        let big = line.repeat(20_000);
        for kind in &KINDS[1..] {
            let (data, refused) = read(&compress(*kind, &small), ArchiveSettings::default());
            assert!(data == small && refused.is_empty(), "{kind:?}");
            let (data, refused) = read(&compress(*kind, &big), ArchiveSettings::default());
            let detail = &refused.last().unwrap().detail;
            assert!(detail.starts_with(&Fault::Ratio.to_string()), "{kind:?} {detail}");
            assert!(data.len() <= 18 << 20, "{kind:?}");
            let expansion = Expansion { bytes_max: 500_000, ..Expansion::default() };
            let (data, refused) = read(&compress(*kind, &small), ArchiveSettings { expansion, ..ArchiveSettings::default() });
            assert!(data.len() <= 500_000 && refused.last().unwrap().detail.starts_with(&Fault::Size.to_string()), "{kind:?}");
        }
    }

    #[test]
    fn archive_that_needs_too_much_memory_is_refused() {
        let expansion = Expansion { window_log_max: 12, xz_memory_bytes_max: 100_000, ..Expansion::default() };
        for kind in [Kind::Zstd, Kind::Xz] {
            let (data, refused) = read(&compress(kind, &lines(10_000)), ArchiveSettings { expansion, ..ArchiveSettings::default() });
            assert!(data.is_empty() && refused[0].detail.starts_with(&Fault::Memory.to_string()), "{kind:?} {refused:?}");
        }
    }

    #[test]
    fn directories_expand_to_their_files_in_order_without_hidden_ones() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("b/deep")).unwrap();
        for name in ["z.json", "a.json.gz", ".hidden", "b/2", "b/1", "b/deep/x"] {
            std::fs::write(at(name), b"{}\n").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), at("b/loop")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let found = expand(&[at("z.json"), dir.path().to_path_buf(), at(".hidden")]).unwrap();
        let expected = ["z.json", "a.json.gz", "b/1", "b/2", "b/deep/x", "z.json", ".hidden"].map(at);
        assert_eq!(found, expected);
        assert!(matches!(expand(&[at("missing")]), Err(SourceError::Io { .. })));
        assert!(matches!(expand(&[at("pipe")]), Err(SourceError::NotRegular(_))));
        let source = Arc::new(Source { name: "test".into(), format: Format::COWRIE });
        assert!(matches!(Archive::open(&at("pipe"), source, ArchiveSettings::default()), Err(SourceError::NotRegular(_))));
    }

    #[test]
    fn real_logs_come_out_whole() {
        let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS") else {
            return println!("skipped: HONEYGUIDE_CORPUS is not set");
        };
        let mut objects = std::collections::BTreeMap::new();
        for path in expand(&[Path::new(&corpus).join("cowrie"), Path::new(&corpus).join("other")]).unwrap() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name == "growth.json" {
                continue;
            }
            let (data, refused) = read_path(&path, ArchiveSettings::default());
            assert!(refused.iter().all(|refused| refused.reason == Reason::Partial), "{name} {refused:?}");
            let count = data.split(|byte| *byte == b'\n').filter(|line| crate::sources::framing::is_object(line)).count();
            assert!(name.contains(".csv") || count > 0, "{name}");
            objects.insert(name, count);
        }
        assert_eq!(objects["andymalepe--cowrie.json1630084649.30228.json.gz"], 2_112);
        assert_eq!(objects["cowrie.json.seg007.gz"], 11_841);
    }
}
