//! The identity of an event: 128 bits of BLAKE3 over what its decoder's rule names.
//!
//! Not a faster hash: whoever can craft a collision can make the journal drop evidence as a duplicate.
use std::fmt;

/// Identity of an event and its idempotency key towards every receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// The `line` rule: the first 128 bits of BLAKE3 over the line's bytes, without its newline.
    #[inline]
    pub fn of_line(line: &[u8]) -> EventId {
        first_half(&blake3::hash(line))
    }

    /// [`EventId::of_line`] of each line, appended to `ids` in their order: many at once cost less than half.
    pub fn of_lines(lines: &[&[u8]], ids: &mut Vec<EventId>) {
        #[cfg(target_arch = "x86_64")]
        if super::blake3_lanes::ids_of_lines(lines, ids) {
            return;
        }
        ids.extend(lines.iter().map(|line| EventId::of_line(line)));
    }

    /// The id that these 32 hexadecimal digits, in lower case, say.
    pub fn parse(digits: &[u8]) -> Option<EventId> {
        let is_ours = !digits.iter().any(u8::is_ascii_uppercase);
        is_ours.then(|| unhex(digits)).flatten().map(EventId)
    }

    /// The first eight bytes, little endian: uniform for honest input, so callers that build tables over it add a seed.
    #[inline]
    pub fn low64(self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("eight of sixteen bytes"))
    }
}

/// Keys of BLAKE3 that keep the rules apart: no text is the same event under two of them.
const FIELDS_DOMAIN: &[u8; 32] = b"honeyguide event id: its fields ";
const POSITION_DOMAIN: &[u8; 32] = b"honeyguide event id: by position";

/// The `fields` rule: over the values of the named members of a format's event. A value that is missing is not an empty one.
///
/// It writes into memory that it is lent, so that an event costs no allocation.
pub struct FieldsId<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    some: bool,
}

impl<'a> FieldsId<'a> {
    /// Writes behind what `bytes` holds.
    pub fn new(format: &str, bytes: &'a mut Vec<u8>) -> FieldsId<'a> {
        let start = bytes.len();
        put(bytes, format.as_bytes());
        FieldsId { bytes, start, some: false }
    }

    /// A value of the current field.
    pub fn value(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.some = true;
        self.bytes.push(1);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 8]);
        write(self.bytes);
        let len = (self.bytes.len() - at - 8) as u64;
        self.bytes[at..at + 8].copy_from_slice(&len.to_le_bytes());
    }

    pub fn next_field(&mut self) {
        self.bytes.push(0);
    }

    /// `None` when all fields are missing: then nothing tells the event from others of its kind.
    pub fn finish(self) -> Option<EventId> {
        self.some.then(|| first_half(&blake3::keyed_hash(FIELDS_DOMAIN, &self.bytes[self.start..])))
    }
}

/// An input, as the `position` rule sees it: makes the ids of its lines.
pub struct InputId([u8; 32]);

impl InputId {
    /// `name` is the stream's, or the path of an input that is no stream. What the stream's name has meant over time is told
    /// apart by the generation and by when the input was first seen: inodes are used again.
    pub fn new(name: &str, generation: u32, first_seen: i64) -> InputId {
        let mut bytes = Vec::with_capacity(128);
        put(&mut bytes, name.as_bytes());
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(&first_seen.to_le_bytes());
        InputId(*blake3::keyed_hash(POSITION_DOMAIN, &bytes).as_bytes())
    }

    /// The `position` rule: over the input, the offset of the line in it, and the line.
    pub fn event(&self, offset: u64, line: &[u8]) -> EventId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&offset.to_le_bytes()).update(line);
        first_half(&hasher.finalize())
    }
}

fn first_half(hash: &blake3::Hash) -> EventId {
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    EventId(id)
}

fn put(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value);
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that exactly so many hexadecimal digits say, in either case.
pub fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_values_and_inputs_are_told_apart() {
        let fields = |format, values: &[Option<&'static [u8]>]| {
            let mut bytes = Vec::new();
            let mut fields = FieldsId::new(format, &mut bytes);
            for value in values {
                value.iter().for_each(|value| fields.value(|out| out.extend_from_slice(value)));
                fields.next_field();
            }
            fields.finish()
        };
        let mut ids = vec![
            fields("a", &[Some(b"x"), None]).unwrap(),
            fields("a", &[Some(b"x"), Some(b"")]).unwrap(),
            fields("a", &[None, Some(b"x")]).unwrap(),
            fields("a", &[Some(b""), Some(b"x")]).unwrap(),
            fields("ax", &[Some(b""), None]).unwrap(),
            fields("a", &[Some(b"xx"), Some(b"")]).unwrap(),
            EventId::of_line(b"x"),
        ];
        assert_eq!(fields("a", &[None, None]), None);
        for (name, generation, first_seen, offset) in [("s", 0, 0, 0), ("s", 1, 0, 0), ("s", 0, 1, 0), ("s", 0, 0, 1), ("t", 0, 0, 0)] {
            ids.push(InputId::new(name, generation, first_seen).event(offset, b"x"));
        }
        assert_eq!(InputId::new("s", 1, 0).event(0, b"x"), InputId::new("s", 1, 0).event(0, b"x"));
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
