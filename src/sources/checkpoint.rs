//! Who a file is and where its reader stands in it.
//!
//! A path says nothing (logs are renamed), device and inode are reused, and sizes lie after a truncation. So a position
//! carries, besides device and inode, a hash of the file's beginning, which grows with the position up to 4 KiB, and a
//! hash of the last 256 bytes before it. Both must still be there for a position to be believed; where they are found in
//! another file (a rotated copy, its `.gz`), that file is the same log, and reading goes on in it.
use super::framing::State;
use crate::events::Micros;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How much of a file's beginning its identity covers, bytes.
pub const PREFIX_BYTES_MAX: usize = 4096;
/// How much before a position its marker covers, bytes.
pub const MARKER_BYTES_MAX: usize = 256;
/// Ends of lines up to this long are alike in many files, bytes: the last fields of an event that a sensor repeats.
pub const REST_BYTES_MAX: usize = 32;
/// Longest encoding accepted, bytes: the fixed part and the longest path Linux knows.
pub const CHECKPOINT_BYTES_MAX: usize = 4096 + 256;

const VERSION: u8 = 1;
const FLAG_FINISHED: u8 = 1;
const FLAG_CONTAINER: u8 = 2;

/// The first 128 bits of BLAKE3: an attacker who writes into a log must not be able to make it look like another.
pub type Hash = [u8; 16];

pub(crate) fn hash_of(bytes: &[u8]) -> Hash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    hash
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    pub fn of(metadata: &std::fs::Metadata) -> FileId {
        use std::os::unix::fs::MetadataExt;
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:x}", self.device, self.inode)
    }
}

/// A compressed file as it lies on disk, so that a finished one need not be decoded again to be recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container {
    pub len: u64,
    /// Of the first [`PREFIX_BYTES_MAX`] compressed bytes.
    pub hash: Hash,
}

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub file: FileId,
    /// Counts the times the file's content was replaced (truncated, or the inode reused).
    pub generation: u32,
    /// When that content was first seen; 0 in checkpoints of a release that did not keep it. Who gets an inode that was another
    /// file's is told apart by it, whatever the two files hold.
    pub first_seen: Micros,
    /// First byte not yet handled, in the decompressed stream.
    pub offset: u64,
    /// Of the first `min(offset, PREFIX_BYTES_MAX)` bytes.
    pub prefix: Hash,
    /// Of the last `min(offset, MARKER_BYTES_MAX)` bytes before the offset.
    pub marker: Hash,
    pub framing: State,
    /// Nothing more can come: an archive read to its end.
    pub finished: bool,
    pub container: Option<Container>,
    /// Last known path: a hint where to look, never proof.
    pub path: PathBuf,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("checkpoint is damaged (length or checksum): the file is read from its beginning")]
    Damaged,
    #[error("checkpoint has version {0}, which this release does not know: was the state written by a newer one?")]
    Version(u8),
}

impl Checkpoint {
    /// Version byte, fields little endian, CRC-32 of all before it.
    pub fn encode(&self) -> Vec<u8> {
        let path = self.path.as_os_str().as_bytes();
        // A longer path cannot be opened anyway; the hint is then of no use.
        let path = if path.len() <= 4096 { path } else { &[] };
        let mut bytes = Vec::with_capacity(128 + path.len());
        bytes.push(VERSION);
        let flags = if self.finished { FLAG_FINISHED } else { 0 } | if self.container.is_some() { FLAG_CONTAINER } else { 0 };
        bytes.push(flags);
        bytes.extend_from_slice(&self.file.device.to_le_bytes());
        bytes.extend_from_slice(&self.file.inode.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.prefix);
        bytes.extend_from_slice(&self.marker);
        let (mode, document_start) = self.framing.to_parts();
        bytes.push(mode);
        bytes.extend_from_slice(&document_start.to_le_bytes());
        if let Some(container) = &self.container {
            bytes.extend_from_slice(&container.len.to_le_bytes());
            bytes.extend_from_slice(&container.hash);
        }
        bytes.extend_from_slice(&(path.len() as u16).to_le_bytes());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(&self.first_seen.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        if bytes.len() > CHECKPOINT_BYTES_MAX {
            return Err(CheckpointError::Damaged);
        }
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(CheckpointError::Damaged)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(CheckpointError::Damaged);
        }
        let mut rest = Fields(body);
        let [version] = rest.take()?;
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        let [flags] = rest.take()?;
        let file = FileId { device: u64::from_le_bytes(rest.take()?), inode: u64::from_le_bytes(rest.take()?) };
        let generation = u32::from_le_bytes(rest.take()?);
        let offset = u64::from_le_bytes(rest.take()?);
        let (prefix, marker) = (rest.take()?, rest.take()?);
        let [mode] = rest.take()?;
        let framing = State::from_parts(mode, u64::from_le_bytes(rest.take()?), offset).ok_or(CheckpointError::Damaged)?;
        let container = match flags & FLAG_CONTAINER {
            0 => None,
            _ => Some(Container { len: u64::from_le_bytes(rest.take()?), hash: rest.take()? }),
        };
        let path_bytes = usize::from(u16::from_le_bytes(rest.take()?));
        let path = rest.0.get(..path_bytes).ok_or(CheckpointError::Damaged)?;
        let first_seen = match &rest.0[path_bytes..] {
            [] => 0,
            bytes => Micros::from_le_bytes(bytes.try_into().map_err(|_| CheckpointError::Damaged)?),
        };
        if flags & !(FLAG_FINISHED | FLAG_CONTAINER) != 0 {
            return Err(CheckpointError::Damaged);
        }
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        let finished = flags & FLAG_FINISHED != 0;
        Ok(Checkpoint { file, generation, first_seen, offset, prefix, marker, framing, finished, container, path })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(CheckpointError::Damaged)?;
        self.0 = rest;
        Ok(*field)
    }
}

/// What must be remembered of the bytes passed so far to recognise the position again.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    offset: u64,
    /// The first bytes of the input, until all that the identity covers are there.
    head: Vec<u8>,
    /// Hash of the full head, once it is full.
    head_hash: Option<Hash>,
    behind: Vec<u8>,
}

impl Trail {
    /// A position found again: `head` are the file's first `min(offset, PREFIX_BYTES_MAX)` bytes, `behind` the last
    /// `min(offset, MARKER_BYTES_MAX)` before the offset.
    pub fn resume(offset: u64, head: &[u8], behind: &[u8]) -> Trail {
        let mut trail = Trail { offset, head: head.to_vec(), head_hash: None, behind: behind.to_vec() };
        trail.settle_head();
        trail
    }

    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The last bytes before the offset.
    pub fn behind(&self) -> &[u8] {
        &self.behind
    }

    /// All bytes passed, as long as they are fewer than a prefix covers.
    pub fn all_bytes(&self) -> Option<&[u8]> {
        self.head_hash.is_none().then_some(&self.head[..])
    }

    pub fn prefix(&self) -> Hash {
        self.head_hash.unwrap_or_else(|| hash_of(&self.head))
    }

    pub fn marker(&self) -> Hash {
        hash_of(&self.behind)
    }

    /// Moves over `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        if self.head_hash.is_none() {
            let missing = PREFIX_BYTES_MAX - self.head.len();
            self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
            self.settle_head();
        }
        if bytes.len() >= MARKER_BYTES_MAX {
            self.behind.clear();
            self.behind.extend_from_slice(&bytes[bytes.len() - MARKER_BYTES_MAX..]);
        } else {
            let surplus = (self.behind.len() + bytes.len()).saturating_sub(MARKER_BYTES_MAX);
            self.behind.drain(..surplus);
            self.behind.extend_from_slice(bytes);
        }
    }

    /// Whether the bytes passed so far are those the checkpoint was made of.
    pub fn is_at(&self, checkpoint: &Checkpoint) -> bool {
        self.offset == checkpoint.offset && self.prefix() == checkpoint.prefix && self.marker() == checkpoint.marker
    }

    /// Whether finding the same bytes in another file means that it is the same log: a whole line or many bytes. What a
    /// rotation tore off, be it a line's beginning or its last few bytes, is found in many files.
    pub fn is_distinctive(&self) -> bool {
        let Some(bytes) = self.all_bytes() else { return true };
        bytes.len() > REST_BYTES_MAX && memchr::memchr(b'\n', bytes).is_some()
    }

    fn settle_head(&mut self) {
        if self.head.len() == PREFIX_BYTES_MAX {
            self.head_hash = Some(hash_of(&self.head));
            self.head = Vec::new();
        }
    }
}

/// Name of a file's checkpoint.
pub fn stream_name(source: &str, file: FileId) -> std::sync::Arc<str> {
    format!("{source}/{file}").into()
}

/// The path as text for records and logs: control and other unsafe characters escaped, whatever the file is called.
pub fn display_path(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            // Directional marks could make a log line read as something else.
            let deceives = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            if character.is_control() || deceives || character == '\\' {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        Checkpoint {
            file: FileId { device: 0xfd01, inode: 0x2a3b4c },
            generation: 3,
            first_seen: 1_774_138_242_831_494,
            offset: 70_000,
            prefix: [0x11; 16],
            marker: [0x22; 16],
            framing: State::Document { array_start: Some(12), lines_after: false },
            finished: true,
            container: Some(Container { len: 9, hash: [0x33; 16] }),
            path: PathBuf::from("/var/log/cowrie/cowrie.json"),
        }
    }

    #[test]
    fn encodes_to_the_same_bytes_in_every_release() {
        let hex: String = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "0103",
            "01fd000000000000",
            "4c3b2a0000000000",
            "03000000",
            "7011010000000000",
            "11111111111111111111111111111111",
            "22222222222222222222222222222222",
            "04",
            "0c00000000000000",
            "0900000000000000",
            "33333333333333333333333333333333",
            "1b00",
            "2f7661722f6c6f672f636f777269652f636f777269652e6a736f6e",
        );
        assert_eq!(hex[..hex.len() - 8], *(expected.to_owned() + "8614bfbf914d0600"));
        // A release before this one ended here.
        let mut before = sample().encode();
        before.truncate(before.len() - 4 - 8);
        before.extend_from_slice(&crc32fast::hash(&before).to_le_bytes());
        assert_eq!(Checkpoint::decode(&before), Ok(Checkpoint { first_seen: 0, ..sample() }));
        assert_eq!(Checkpoint::decode(&sample().encode()), Ok(sample()));
        let plain = Checkpoint { container: None, finished: false, framing: State::Lines, ..sample() };
        assert_eq!(Checkpoint::decode(&plain.encode()), Ok(plain));
    }

    #[test]
    fn refuses_every_flipped_bit_and_every_cut() {
        let bytes = sample().encode();
        for at in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..at]).is_err());
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(Checkpoint::decode(&damaged).is_err(), "byte {at} bit {bit}");
            }
        }
        assert_eq!(Checkpoint::decode(&vec![0; CHECKPOINT_BYTES_MAX + 1]), Err(CheckpointError::Damaged));
        let mut newer = bytes[..bytes.len() - 4].to_vec();
        newer[0] = 9;
        newer.extend_from_slice(&crc32fast::hash(&newer).to_le_bytes());
        assert_eq!(Checkpoint::decode(&newer), Err(CheckpointError::Version(9)));
    }

    #[test]
    fn trail_does_not_depend_on_how_the_bytes_were_cut() {
        let bytes: Vec<u8> = (0..10_000u32).map(|n| (n * 7 % 251) as u8).collect();
        for step in [1, 3, 255, 256, 257, 4095, 4096, 5000, 10_000] {
            let mut trail = Trail::default();
            for piece in bytes.chunks(step) {
                trail.pass(piece);
                let end = trail.offset() as usize;
                assert_eq!(trail.prefix(), hash_of(&bytes[..end.min(PREFIX_BYTES_MAX)]));
                assert_eq!(trail.behind(), &bytes[end.saturating_sub(MARKER_BYTES_MAX)..end]);
            }
            let resumed = Trail::resume(10_000, &bytes[..PREFIX_BYTES_MAX], &bytes[10_000 - MARKER_BYTES_MAX..]);
            assert_eq!((resumed.prefix(), resumed.marker()), (trail.prefix(), trail.marker()));
        }
    }

    #[test]
    fn paths_are_shown_without_control_characters() {
        let path = PathBuf::from(std::ffi::OsString::from_vec(b"/a\x1b[31m\n\xffb\xe2\x80\xae".to_vec()));
        assert_eq!(display_path(&path), "/a\\u{1b}[31m\\n\\xffb\\u{202e}");
    }
}
