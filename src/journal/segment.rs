//! One segment file: its name, a walk over its frames, and the lines of one block.
use super::block::{Block, FRAME_MAGIC, HEADER_BYTES_MAX, Header, HeaderError, Opening, PREFIX_LEN, Run, Seal, frame_len};
use super::fs::File;
use crate::events::{EventId, tombstone};
use crate::index::BlockMeta;
use std::fmt;
use std::io;

/// `00000001.zst`
pub fn file_name(number: u64) -> String {
    format!("{number:08}.zst")
}

/// `00000001.idx`
pub fn sidecar_name(number: u64) -> String {
    format!("{number:08}.idx")
}

/// The number in a segment's file name.
pub fn number_of(file_name: &str) -> Option<u64> {
    let number = file_name.strip_suffix(".zst")?;
    (number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.parse().ok())?
}

/// The number in a sidecar's file name.
pub fn number_of_sidecar(file_name: &str) -> Option<u64> {
    number_of(&format!("{}.zst", file_name.strip_suffix(".idx")?))
}

/// A block found by [`scan`].
#[derive(Clone, Debug)]
pub struct ScannedBlock {
    pub meta: BlockMeta,
    pub header: Block,
}

/// Bytes that are not what the format says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub segment: u64,
    /// Number of the block in its segment, from 0; `None` before the first and behind the last.
    pub block: Option<u32>,
    /// Where in the file, bytes.
    pub offset: u64,
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {}", self.segment)?;
        if let Some(block) = self.block {
            write!(f, ", block {block}")?;
        }
        write!(f, ", offset {}: {}", self.offset, self.what)
    }
}

/// What a walk over a segment found.
#[derive(Debug)]
pub struct Scan {
    pub opening: Option<Opening>,
    pub blocks: Vec<ScannedBlock>,
    pub seal: Option<Seal>,
    /// End of the last whole frame, bytes.
    pub end: u64,
    pub file_len: u64,
    /// Places below `end` that could not be read. Bytes behind `end` are not counted: they may be a torn append.
    pub damage: Vec<Damage>,
}

/// Walks the frames of a segment: every header is checked, data only with `check_data`.
///
/// Bytes that are no frame are passed over up to the next header that checks out, and reported.
pub fn scan(file: &dyn File, segment: u64, check_data: bool) -> io::Result<Scan> {
    let file_len = file.len()?;
    let mut found = Scan { opening: None, blocks: Vec::new(), seal: None, end: 0, file_len, damage: Vec::new() };
    let mut at = 0;
    let mut pending: Option<Damage> = None;
    while at < file_len {
        match read_frame(file, at, file_len, check_data)? {
            Ok((header, header_len, data_len)) => {
                found.damage.extend(pending.take());
                match header {
                    Header::Opening(opening) => found.opening = Some(opening),
                    Header::Seal(seal) => found.seal = Some(seal),
                    Header::Block(header) => {
                        let meta = BlockMeta {
                            offset: at,
                            header_len,
                            data_len,
                            raw_len: header.raw_len,
                            first_seq: header.first_seq,
                            events: header.events,
                            time_min: header.time_min,
                            time_max: header.time_max,
                        };
                        found.blocks.push(ScannedBlock { meta, header });
                    }
                }
                at += u64::from(header_len) + u64::from(data_len);
                found.end = at;
            }
            Err(what) => {
                let block = found.opening.is_some().then_some((found.blocks.len() + found.damage.len()) as u32);
                pending.get_or_insert(Damage { segment, block, offset: at, what });
                match next_header(file, at + 1, file_len)? {
                    Some(next) => at = next,
                    None => break,
                }
            }
        }
    }
    Ok(found)
}

/// A header, its length, and that of the data behind it.
pub type Frame = (Header, u32, u32);

/// The frame that begins at `at`, or what is wrong with it.
pub fn read_frame(file: &dyn File, at: u64, file_len: u64, check_data: bool) -> io::Result<Result<Frame, String>> {
    let left = file_len - at;
    // Most headers fit the first read; an opening may need a second.
    let mut frame = vec![0; left.min(512) as usize];
    file.read_exact_at(&mut frame, at)?;
    let header_len = match frame_len(&frame[..frame.len().min(PREFIX_LEN)]) {
        Ok(len) if len as u64 > left => return Ok(Err(HeaderError::Short.to_string())),
        Ok(len) => len,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if header_len > frame.len() {
        frame.resize(header_len, 0);
        file.read_exact_at(&mut frame, at)?;
    }
    let header = match Header::decode(&frame) {
        Ok(header) => header,
        // Whole, and written by a newer release: not to be taken for damage.
        Err(error @ HeaderError::Version(_)) => return Err(io::Error::new(io::ErrorKind::Unsupported, error)),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let Header::Block(block) = &header else { return Ok(Ok((header, header_len as u32, 0))) };
    let data_len = block.data_len;
    if u64::from(data_len) > left - header_len as u64 {
        return Ok(Err("the block's data is cut short".into()));
    }
    if check_data {
        let mut data = vec![0; data_len as usize];
        file.read_exact_at(&mut data, at + header_len as u64)?;
        if crc32fast::hash(&data) != block.data_crc {
            return Ok(Err(ReadError::DataChecksum.to_string()));
        }
    }
    Ok(Ok((header, header_len as u32, data_len)))
}

/// Where the next header that checks out begins, at or behind `from`.
pub fn next_header(file: &dyn File, from: u64, file_len: u64) -> io::Result<Option<u64>> {
    let magic = FRAME_MAGIC.to_le_bytes();
    let mut window = vec![0; 64 << 10];
    let mut at = from;
    while at + PREFIX_LEN as u64 <= file_len {
        let len = (file_len - at).min(window.len() as u64) as usize;
        file.read_exact_at(&mut window[..len], at)?;
        for hit in memchr::memmem::find_iter(&window[..len], &magic) {
            let start = at + hit as u64;
            if file_len - start >= PREFIX_LEN as u64 {
                let mut prefix = [0; PREFIX_LEN];
                file.read_exact_at(&mut prefix, start)?;
                if let Ok(len) = frame_len(&prefix)
                    && len <= HEADER_BYTES_MAX
                    && start + len as u64 <= file_len
                {
                    let mut frame = vec![0; len];
                    file.read_exact_at(&mut frame, start)?;
                    if Header::decode(&frame).is_ok() {
                        return Ok(Some(start));
                    }
                }
            }
        }
        if at + len as u64 == file_len {
            break;
        }
        at += (len - magic.len() + 1) as u64;
    }
    Ok(None)
}

/// Why a block cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read the segment file: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the block's data does not match its checksum")]
    DataChecksum,
    #[error("the block's data does not decompress")]
    Decompress,
    #[error("the block found is not the one that was looked for")]
    Mismatch,
    #[error("a tombstone does not say which line it stands for")]
    Tombstone,
}

/// Reads blocks; keeps its buffers and its decompression context from one to the next.
#[derive(Default)]
pub struct BlockReader {
    frames: Vec<u8>,
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

impl BlockReader {
    /// Reads the block at `meta` and replaces the contents of `lines` by its lines, newlines included. Checks both checksums.
    pub fn read(&mut self, file: &dyn File, meta: &BlockMeta, lines: &mut Vec<u8>) -> Result<Block, ReadError> {
        lines.clear();
        let header_len = meta.header_len as usize;
        self.frames.resize(header_len + meta.data_len as usize, 0);
        file.read_exact_at(&mut self.frames, meta.offset)?;
        let Header::Block(header) = Header::decode(&self.frames[..header_len])? else { return Err(ReadError::Mismatch) };
        if header.first_seq != meta.first_seq || header.data_len != meta.data_len {
            return Err(ReadError::Mismatch);
        }
        let data = &self.frames[header_len..];
        if crc32fast::hash(data) != header.data_crc {
            return Err(ReadError::DataChecksum);
        }
        if header.events == 0 {
            return Ok(header);
        }
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(zstd::bulk::Decompressor::new()?),
        };
        lines.reserve(header.raw_len as usize);
        let len = decompressor.decompress_to_buffer(data, lines).map_err(|_| ReadError::Decompress)?;
        if len != header.raw_len as usize || lines.last() != Some(&b'\n') {
            return Err(ReadError::Decompress);
        }
        Ok(header)
    }
}

/// What the running digest goes over, appended to `hashes`: the hash of each line, and of a tombstone that of the line it stands for.
/// Answers how many tombstones there are.
pub fn line_hashes(block: &Block, data: &[u8], hashes: &mut Vec<EventId>) -> Result<u64, ReadError> {
    run_hashes(&block.runs, data, hashes)
}

/// The same, of a block with these runs.
pub fn run_hashes(runs: &[Run], data: &[u8], hashes: &mut Vec<EventId>) -> Result<u64, ReadError> {
    let all: Vec<&[u8]> = lines(data).collect();
    if !runs.iter().any(|run| run.tombstones) {
        EventId::of_lines(&all, hashes);
        return Ok(0);
    }
    let (mut rest, mut tombstones) = (&all[..], 0);
    for run in runs {
        let (lines, behind) = rest.split_at_checked(run.events as usize).ok_or(ReadError::Mismatch)?;
        rest = behind;
        if run.tombstones {
            tombstones += lines.len() as u64;
            for line in lines {
                hashes.push(tombstone::erased(line).ok_or(ReadError::Tombstone)?);
            }
        } else {
            EventId::of_lines(lines, hashes);
        }
    }
    EventId::of_lines(rest, hashes);
    Ok(tombstones)
}

/// The lines of a block, without their newlines.
pub fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.strip_suffix(b"\n").map(|block| block.split(|&byte| byte == b'\n')).into_iter().flatten()
}
