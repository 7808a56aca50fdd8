//! Bytes of the three header frames: opening, block, seal. `ops/FORMAT.md` is the specification.
//!
//! A header is a zstd *skippable* frame, so that `zstdcat` passes over it and shows nothing but the events.
use crate::events::{EventId, Micros};
use crate::sources::Format;
use std::collections::BTreeMap;

/// First four bytes of every header frame, little endian: one of the sixteen skippable-frame magics of RFC 8878.
pub const FRAME_MAGIC: u32 = 0x184D_2A57;
const NAME: [u8; 3] = *b"HGJ";
pub const VERSION: u8 = 1;
/// Of blocks that hold tombstones: a release that does not know these must refuse rather than cry damage.
pub const VERSION_TOMBSTONES: u8 = 2;
const FLAG_REFLOWED: u8 = 1;
const FLAG_CHECKPOINT: u8 = 2;
const FLAG_TOMBSTONES: u8 = 4;
const KIND_OPENING: u8 = 1;
const KIND_BLOCK: u8 = 2;
const KIND_SEAL: u8 = 3;
/// magic, length, name, version, kind.
pub const PREFIX_LEN: usize = 13;
const CRC_LEN: usize = 4;

/// Longest header frame accepted, bytes: an opening holds every checkpoint.
pub const HEADER_BYTES_MAX: usize = 16 << 20;
/// Most lines, raw bytes and events of one block.
pub const BLOCK_RAW_BYTES_MAX: usize = 80 << 20;
pub const BLOCK_EVENTS_MAX: u32 = 1 << 20;

/// Names of checkpoints and their values: where every source (and later every cursor) stands.
pub type Checkpoints = BTreeMap<String, Vec<u8>>;

/// The digest that stands before the first event ever.
pub const GENESIS: [u8; 32] = [0; 32];

/// First frame of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub segment: u64,
    pub created_at: Micros,
    pub first_seq: u64,
    /// Segment before this one; 0 when there was none.
    pub previous: u64,
    /// How many bytes of it count. What may stand behind them was never acknowledged.
    pub previous_len: u64,
    /// Its final running digest, or [`GENESIS`].
    pub previous_digest: [u8; 32],
    pub checkpoints: Checkpoints,
}

/// Header of one block; `data_len` bytes of zstd follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub first_seq: u64,
    pub events: u32,
    pub raw_len: u32,
    pub data_len: u32,
    pub data_crc: u32,
    pub time_min: Micros,
    pub time_max: Micros,
    /// Running digest behind this block.
    pub digest: [u8; 32],
    pub runs: Vec<Run>,
}

/// Consecutive events of a block that came from one place at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Name of the configured source.
    pub source: String,
    /// Name of the decoder.
    pub decoder: String,
    /// Checkpoint that the run moves; empty when it moves none.
    pub stream: String,
    pub received_at: Micros,
    pub events: u32,
    /// The lines were made from a larger document: not verbatim.
    pub reflowed: bool,
    /// The lines are [tombstones](crate::events::tombstone): what stood here was erased.
    pub tombstones: bool,
    /// Value of the checkpoint behind the run. `None`: not moved.
    pub checkpoint: Option<Vec<u8>>,
    /// One for each event, where ids are not the lines' hashes; else none.
    pub ids: Vec<EventId>,
}

impl Run {
    /// Who reads its lines; `None` when the format is not described any more: then its events have no terms.
    pub fn format(&self) -> Option<Format> {
        if self.tombstones { Some(Format::TOMBSTONE) } else { Format::parse(&self.decoder) }
    }

    /// Identities of its events, appended to `ids`: the stored ones, or the hashes of its `lines` where those are the identities.
    pub fn ids_of(&self, lines: &[&[u8]], ids: &mut Vec<EventId>) {
        if self.ids.len() == lines.len() {
            ids.extend_from_slice(&self.ids);
        } else {
            EventId::of_lines(lines, ids);
        }
    }
}

/// Last frame of a sealed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub next_seq: u64,
    pub events: u64,
    pub blocks: u32,
    pub raw_len: u64,
    pub digest: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    Opening(Opening),
    Block(Block),
    Seal(Seal),
}

/// Why bytes are not a header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("no header frame begins here")]
    NotAHeader,
    #[error("the header frame is cut short")]
    Short,
    #[error("the header's checksum does not match")]
    Checksum,
    #[error("format version {0} is not known to this release: use a newer one")]
    Version(u8),
    #[error("the header's fields contradict each other")]
    Malformed,
}

/// Length of the header frame that begins with `prefix` ([`PREFIX_LEN`] bytes), the frame's own prefix included.
pub fn frame_len(prefix: &[u8]) -> Result<usize, HeaderError> {
    if prefix.len() < PREFIX_LEN {
        return Err(HeaderError::Short);
    }
    if prefix[..4] != FRAME_MAGIC.to_le_bytes() || prefix[8..11] != NAME {
        return Err(HeaderError::NotAHeader);
    }
    let len = 8 + u32::from_le_bytes(prefix[4..8].try_into().expect("four bytes")) as usize;
    if !(PREFIX_LEN + CRC_LEN..=HEADER_BYTES_MAX).contains(&len) {
        return Err(HeaderError::Malformed);
    }
    Ok(len)
}

/// Whether a file that begins with `prefix` ([`PREFIX_LEN`] bytes) is meant to be a segment of ours: something else that is damaged would
/// not have our name where it has.
pub fn is_ours(prefix: &[u8; PREFIX_LEN]) -> bool {
    // As [`Kind::of`](crate::sources::archive::Kind::of): one flipped bit must not make mere lines of a segment.
    prefix[0] & 0xf0 == 0x50 && prefix[1..4] == FRAME_MAGIC.to_le_bytes()[1..] && prefix[8..11] == NAME
}

impl Header {
    /// Reads one whole header frame.
    pub fn decode(frame: &[u8]) -> Result<Header, HeaderError> {
        let len = frame_len(frame)?;
        let frame = frame.get(..len).ok_or(HeaderError::Short)?;
        let (body, crc) = frame.split_at(len - CRC_LEN);
        if crc32fast::hash(body) != u32::from_le_bytes(crc.try_into().expect("four bytes")) {
            return Err(HeaderError::Checksum);
        }
        let version = body[11];
        if version != VERSION && (version, body[12]) != (VERSION_TOMBSTONES, KIND_BLOCK) {
            return Err(HeaderError::Version(version));
        }
        let mut reader = Reader(&body[PREFIX_LEN..]);
        let header = match body[12] {
            KIND_OPENING => Header::Opening(decode_opening(&mut reader)?),
            KIND_BLOCK => Header::Block(decode_block(&mut reader, version)?),
            KIND_SEAL => Header::Seal(decode_seal(&mut reader)?),
            _ => return Err(HeaderError::Malformed),
        };
        // Whatever a later release adds stands behind the fields known here.
        Ok(header)
    }

    /// The frame of this header.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(256);
        frame.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&NAME);
        let tombstones = matches!(self, Header::Block(block) if block.runs.iter().any(|run| run.tombstones));
        frame.push(if tombstones { VERSION_TOMBSTONES } else { VERSION });
        match self {
            Header::Opening(opening) => encode_opening(opening, &mut frame),
            Header::Block(block) => encode_block(block, &mut frame),
            Header::Seal(seal) => encode_seal(seal, &mut frame),
        }
        let payload = u32::try_from(frame.len() + CRC_LEN - 8).expect("a header is bounded by the checkpoints it holds");
        frame[4..8].copy_from_slice(&payload.to_le_bytes());
        let crc = crc32fast::hash(&frame);
        frame.extend_from_slice(&crc.to_le_bytes());
        frame
    }
}

fn encode_opening(opening: &Opening, out: &mut Vec<u8>) {
    out.push(KIND_OPENING);
    for number in [opening.segment, opening.created_at as u64, opening.first_seq, opening.previous, opening.previous_len] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&opening.previous_digest);
    out.extend_from_slice(&(opening.checkpoints.len() as u32).to_le_bytes());
    for (name, value) in &opening.checkpoints {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value);
    }
}

fn decode_opening(reader: &mut Reader<'_>) -> Result<Opening, HeaderError> {
    let mut opening = Opening {
        segment: reader.u64()?,
        created_at: reader.u64()? as i64,
        first_seq: reader.u64()?,
        previous: reader.u64()?,
        previous_len: reader.u64()?,
        previous_digest: reader.array()?,
        checkpoints: Checkpoints::new(),
    };
    for _ in 0..reader.u32()? {
        let name = reader.text()?;
        opening.checkpoints.insert(name, reader.bytes()?.to_vec());
    }
    Ok(opening)
}

fn encode_block(block: &Block, out: &mut Vec<u8>) {
    out.push(KIND_BLOCK);
    out.extend_from_slice(&block.first_seq.to_le_bytes());
    for number in [block.events, block.raw_len, block.data_len, block.data_crc] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&block.time_min.to_le_bytes());
    out.extend_from_slice(&block.time_max.to_le_bytes());
    out.extend_from_slice(&block.digest);
    // Names stand once, runs point at them: a block of the live tail has many runs and few names.
    let mut names: Vec<&str> = Vec::new();
    let mut index_of = |name| match names.iter().position(|known| *known == name) {
        Some(index) => index as u16,
        None => {
            names.push(name);
            names.len() as u16 - 1
        }
    };
    let indexes: Vec<[u16; 3]> =
        block.runs.iter().map(|run| [index_of(&run.source), index_of(&run.decoder), index_of(&run.stream)]).collect();
    out.extend_from_slice(&(names.len() as u16).to_le_bytes());
    for name in names {
        put_bytes(out, name.as_bytes());
    }
    out.extend_from_slice(&(block.runs.len() as u32).to_le_bytes());
    for (run, indexes) in block.runs.iter().zip(indexes) {
        indexes.iter().for_each(|index| out.extend_from_slice(&index.to_le_bytes()));
        out.extend_from_slice(&run.received_at.to_le_bytes());
        out.extend_from_slice(&run.events.to_le_bytes());
        let flags = [(run.reflowed, FLAG_REFLOWED), (run.checkpoint.is_some(), FLAG_CHECKPOINT), (run.tombstones, FLAG_TOMBSTONES)];
        out.push(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        if let Some(checkpoint) = &run.checkpoint {
            put_bytes(out, checkpoint);
        }
    }
    let with_ids = || (0u32..).zip(&block.runs).filter(|(_, run)| !run.ids.is_empty());
    let count = with_ids().count() as u32;
    if count > 0 {
        out.extend_from_slice(&count.to_le_bytes());
        for (number, run) in with_ids() {
            debug_assert_eq!(run.ids.len(), run.events as usize);
            out.extend_from_slice(&number.to_le_bytes());
            run.ids.iter().for_each(|id| out.extend_from_slice(&id.0));
        }
    }
}

fn decode_block(reader: &mut Reader<'_>, version: u8) -> Result<Block, HeaderError> {
    let mut block = Block {
        first_seq: reader.u64()?,
        events: reader.u32()?,
        raw_len: reader.u32()?,
        data_len: reader.u32()?,
        data_crc: reader.u32()?,
        time_min: reader.u64()? as i64,
        time_max: reader.u64()? as i64,
        digest: reader.array()?,
        runs: Vec::new(),
    };
    let mut names = Vec::new();
    for _ in 0..reader.u16()? {
        names.push(reader.text()?);
    }
    let mut total = 0u64;
    for _ in 0..reader.u32()? {
        let mut name = || -> Result<String, HeaderError> { names.get(reader.u16()? as usize).cloned().ok_or(HeaderError::Malformed) };
        let (source, decoder, stream) = (name()?, name()?, name()?);
        let (received_at, events) = (reader.u64()? as i64, reader.u32()?);
        let flags = reader.array::<1>()?[0];
        let checkpoint = if flags & FLAG_CHECKPOINT != 0 { Some(reader.bytes()?.to_vec()) } else { None };
        let (reflowed, tombstones) = (flags & FLAG_REFLOWED != 0, flags & FLAG_TOMBSTONES != 0 && version >= VERSION_TOMBSTONES);
        total += u64::from(events);
        block.runs.push(Run { source, decoder, stream, received_at, events, reflowed, tombstones, checkpoint, ids: Vec::new() });
    }
    // A release before this one ended its headers here.
    if !reader.0.is_empty() {
        for _ in 0..reader.u32()? {
            let run = block.runs.get_mut(reader.u32()? as usize).ok_or(HeaderError::Malformed)?;
            let bytes = reader.take(run.events as usize * 16)?;
            run.ids = bytes.as_chunks::<16>().0.iter().map(|&id| EventId(id)).collect();
        }
    }
    let bounded = block.events <= BLOCK_EVENTS_MAX && block.raw_len as usize <= BLOCK_RAW_BYTES_MAX;
    if !bounded || total != u64::from(block.events) || (block.events == 0) != (block.data_len == 0) {
        return Err(HeaderError::Malformed);
    }
    Ok(block)
}

fn encode_seal(seal: &Seal, out: &mut Vec<u8>) {
    out.push(KIND_SEAL);
    out.extend_from_slice(&seal.next_seq.to_le_bytes());
    out.extend_from_slice(&seal.events.to_le_bytes());
    out.extend_from_slice(&seal.blocks.to_le_bytes());
    out.extend_from_slice(&seal.raw_len.to_le_bytes());
    out.extend_from_slice(&seal.digest);
}

fn decode_seal(reader: &mut Reader<'_>) -> Result<Seal, HeaderError> {
    Ok(Seal { next_seq: reader.u64()?, events: reader.u64()?, blocks: reader.u32()?, raw_len: reader.u64()?, digest: reader.array()? })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads fields off the front; every read is bounds-checked.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], HeaderError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(HeaderError::Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        Ok(self.take(N)?.try_into().expect("take gave N bytes"))
    }

    fn u16(&mut self) -> Result<u16, HeaderError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8], HeaderError> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    fn text(&mut self) -> Result<String, HeaderError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| HeaderError::Malformed)
    }
}

/// The running digest of a segment: BLAKE3 over the digest of the segment before and the 128-bit BLAKE3 hash of every
/// line since, so that it does not depend on where blocks are cut.
#[derive(Clone)]
pub struct Digest(blake3::Hasher);

impl Digest {
    /// Stands at the beginning of a segment.
    pub fn following(previous: &[u8; 32]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(previous);
        Digest(hasher)
    }

    pub fn update(&mut self, line_hashes: &[EventId]) {
        // One call for all: BLAKE3 is fastest over long inputs.
        let mut bytes = Vec::with_capacity(line_hashes.len() * 16);
        line_hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.0));
        self.0.update(&bytes);
    }

    pub fn value(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Header {
        let run = |stream: &str, checkpoint| Run {
            source: "cowrie".into(),
            decoder: "cowrie".into(),
            stream: stream.into(),
            received_at: 1_774_138_242_831_494,
            events: 2,
            reflowed: false,
            tombstones: false,
            checkpoint,
            ids: Vec::new(),
        };
        Header::Block(Block {
            first_seq: 77,
            events: 4,
            raw_len: 1900,
            data_len: 300,
            data_crc: 9,
            time_min: -5,
            time_max: 5,
            digest: [7; 32],
            runs: vec![run("cowrie/1-2", Some(vec![1, 2, 3])), Run { ids: vec![EventId([1; 16]), EventId([2; 16])], ..run("", None) }],
        })
    }

    #[test]
    fn a_header_without_ids_ends_behind_its_runs() {
        let Header::Block(mut block) = block() else { panic!("a block") };
        let with = Header::Block(block.clone()).encode().len();
        block.runs[1].ids.clear();
        assert_eq!(Header::Block(block).encode().len() + 4 + 4 + 2 * 16, with);
    }

    fn with_tombstones() -> Header {
        let Header::Block(mut block) = block() else { panic!("a block") };
        block.runs[1].tombstones = true;
        Header::Block(block)
    }

    #[test]
    fn only_a_header_of_version_2_has_tombstones() {
        let mut frame = with_tombstones().encode();
        assert_eq!(frame[11], VERSION_TOMBSTONES);
        assert_eq!(block().encode()[11], VERSION);
        frame[11] = VERSION;
        let body = frame.len() - 4;
        let crc = crc32fast::hash(&frame[..body]);
        frame[body..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&frame), Ok(block()), "the flag means nothing where it was not known");
    }

    fn headers() -> Vec<Header> {
        vec![
            block(),
            with_tombstones(),
            Header::Opening(Opening {
                segment: 3,
                created_at: 12,
                first_seq: 77,
                previous: 2,
                previous_len: 4096,
                previous_digest: [9; 32],
                checkpoints: [("a".to_string(), vec![1]), ("b".to_string(), vec![])].into(),
            }),
            Header::Seal(Seal { next_seq: 81, events: 4, blocks: 1, raw_len: 1900, digest: [7; 32] }),
        ]
    }

    #[test]
    fn a_header_is_read_back_as_written() {
        for header in headers() {
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed() {
        for header in headers() {
            let frame = header.encode();
            for bit in 0..frame.len() * 8 {
                let mut damaged = frame.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(Header::decode(&damaged).is_err(), "bit {bit}");
            }
            for len in 0..frame.len() {
                assert!(Header::decode(&frame[..len]).is_err(), "cut at {len}");
            }
        }
    }

    #[test]
    fn the_digest_depends_on_the_events_and_their_order_only() {
        let ids: Vec<EventId> = (0..100u8).map(|n| EventId([n; 16])).collect();
        let mut whole = Digest::following(&GENESIS);
        whole.update(&ids);
        let mut parts = Digest::following(&GENESIS);
        ids.chunks(7).for_each(|part| parts.update(part));
        assert_eq!(whole.value(), parts.value());
        let mut swapped = Digest::following(&GENESIS);
        swapped.update(&ids[1..]);
        swapped.update(&ids[..1]);
        assert_ne!(whole.value(), swapped.value());
        assert_ne!(Digest::following(&[1; 32]).value(), Digest::following(&GENESIS).value());
    }
}
