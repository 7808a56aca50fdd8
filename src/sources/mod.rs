//! Where lines come from. A source yields [`Chunk`]s and knows how to go on from a checkpoint; it knows nothing of
//! decoding, of the journal or of actors.
pub mod archive;
pub mod checkpoint;
pub mod finder;
pub mod followed;
pub mod framing;
pub mod notice;
pub mod push;
pub mod reader;
pub mod segment;
pub mod tail;
pub mod watch;

pub use crate::events::Format;
use crate::events::{EventId, Micros};
use std::path::PathBuf;
use std::sync::Arc;

/// Input bytes are cut into chunks of about this size; a chunk becomes one block of the journal.
pub const CHUNK_BYTES: usize = 512 << 10;

/// What the operator configured, as far as a chunk must carry it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub format: Format,
}

/// Where a chunk came from and where its stream stands behind it; travels with the events until they are durable.
#[derive(Debug)]
pub struct Origin {
    pub source: Arc<Source>,
    /// The checkpoint's name: one per input file (or partition), such as `cowrie/fd01-2a3b4c`. Empty when no checkpoint is kept.
    pub stream: Arc<str>,
    /// Which opening of the stream this belongs to, and the chunk's number in it, from 0: the journal commits them in order.
    pub run: u64,
    pub ordinal: u64,
    /// Path of the input, for quarantine records and logs.
    pub path: Arc<str>,
    /// Offset of the chunk's first byte in the (decompressed) input.
    pub offset: u64,
    /// What the stream's name means now: how often the content was replaced under it, and when it was first seen (0: not known).
    pub generation: u32,
    pub first_seen: Micros,
    /// Input bytes the chunk stands for (more than its data when something was skipped).
    pub input_bytes: u64,
    pub received_at: Micros,
    /// Lines were made from an array or a multi-line document: they are not verbatim.
    pub reflowed: bool,
    /// What the stream needs to go on behind this chunk, in the source's own encoding. Empty: the stream is forgotten.
    pub checkpoint: Vec<u8>,
    /// The share of the memory budget; given back when the chunk is durable.
    pub permit: Option<tokio::sync::OwnedSemaphorePermit>,
    /// Who brought it may bring events of these honeypots only.
    pub only_sensors: Option<Arc<[String]>>,
}

/// A stretch of one input, cut at event boundaries.
#[derive(Debug)]
pub struct Chunk {
    pub origin: Origin,
    /// Whole lines, each ended by `\n`.
    pub data: Vec<u8>,
    /// Where the data stood in the input: pairs (offset in the data, offset in the input), ascending; behind each of them both run
    /// in step. Empty when all of it lies in one piece from the origin's offset on.
    pub places: Vec<(u32, u64)>,
    /// Stretches the cutting itself refused (a line over the limit, a torn end).
    pub refused: Vec<Refused>,
    /// Set when the lines were events of a journal already.
    pub stored: Option<Stored>,
}

/// What a journal's segment says of the lines of a chunk that was read from it, and they do not.
#[derive(Debug, Default)]
pub struct Stored {
    /// One for each line of the data, where ids are not the lines' hashes; else none.
    pub ids: Vec<EventId>,
    /// The lines are [tombstones](crate::events::tombstone).
    pub tombstones: bool,
}

impl Chunk {
    /// Offset in the input of the byte at `at` of the data.
    pub fn input_offset(origin: &Origin, places: &[(u32, u64)], at: u32) -> u64 {
        let (from, offset) = places[..places.partition_point(|&(from, _)| from <= at)].last().copied().unwrap_or((0, origin.offset));
        offset + u64::from(at - from)
    }
}

/// Input that is not an event, on its way to quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: Reason,
    /// Offset in the (decompressed) input.
    pub offset: u64,
    /// Length of all that was refused, bytes; `bytes` may hold only its beginning.
    pub len: u64,
    /// BLAKE3 of all that was refused; of what is withheld a keyed one, or zeros without a key.
    pub hash: [u8; 32],
    /// The refused bytes, at most [`REFUSED_BYTES_MAX`]; none where a redaction policy withholds them.
    pub bytes: Vec<u8>,
    /// One line saying what was wrong, with nothing of the input in it.
    pub detail: String,
}

/// Why an input cannot be read at all. What is wrong *inside* an input is a [`Refused`].
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot {action} {path}: {error}", path = checkpoint::display_path(.path))]
    Io { action: &'static str, path: PathBuf, error: std::io::Error },
    #[error("{path} is neither a file nor a directory: only regular files are read", path = checkpoint::display_path(.0))]
    NotRegular(PathBuf),
    #[error("pattern {pattern:?} is not a glob ({reason}): write for example /var/log/cowrie/cowrie.json*")]
    Pattern { pattern: String, reason: &'static str },
}

/// How much of a refused stretch is kept.
pub const REFUSED_BYTES_MAX: usize = 64 << 10;

/// Why input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not JSON, or not a JSON object.
    NotAnObject,
    /// Lacks what its format cannot do without, or is wrapped in another way than its format says.
    Malformed,
    /// Longer than the line limit.
    LineTooLong,
    /// The last line of a file that ended (rotation, archive) without its newline and is not JSON by itself.
    Partial,
    /// Nested deeper than the limit.
    TooDeep,
    /// A document over the limit, or one that never ends.
    DocumentTooLong,
    /// The decoder panicked on it.
    DecoderPanic,
    /// An event that could not be redacted for certain.
    Unredactable,
    /// Pushed with a key that may not push events of its honeypot.
    SensorNotAllowed,
    /// The archive is damaged or expands beyond the ratio or size limit.
    Archive,
    /// Bytes found behind the last whole block when a segment was opened.
    TornTail,
    /// A sink's receiver refused it for good.
    Undeliverable,
}

impl Reason {
    pub const ALL: [Reason; 12] = [
        Reason::NotAnObject,
        Reason::Malformed,
        Reason::LineTooLong,
        Reason::Partial,
        Reason::TooDeep,
        Reason::DocumentTooLong,
        Reason::DecoderPanic,
        Reason::Unredactable,
        Reason::SensorNotAllowed,
        Reason::Archive,
        Reason::TornTail,
        Reason::Undeliverable,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Reason::NotAnObject => "not_an_object",
            Reason::Malformed => "malformed",
            Reason::LineTooLong => "line_too_long",
            Reason::Partial => "partial",
            Reason::TooDeep => "too_deep",
            Reason::DocumentTooLong => "document_too_long",
            Reason::DecoderPanic => "decoder_panic",
            Reason::Unredactable => "unredactable",
            Reason::SensorNotAllowed => "sensor_not_allowed",
            Reason::Archive => "archive",
            Reason::TornTail => "torn_tail",
            Reason::Undeliverable => "undeliverable",
        }
    }
}
