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
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(line).as_bytes()[..16]);
        EventId(id)
    }

    /// [`EventId::of_line`] of each line, appended to `ids` in their order: many at once cost less than half.
    pub fn of_lines(lines: &[&[u8]], ids: &mut Vec<EventId>) {
        #[cfg(target_arch = "x86_64")]
        if super::blake3_lanes::ids_of_lines(lines, ids) {
            return;
        }
        ids.extend(lines.iter().map(|line| EventId::of_line(line)));
    }

    /// The first eight bytes, little endian: uniform for honest input, so callers that build tables over it add a seed.
    #[inline]
    pub fn low64(self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("eight of sixteen bytes"))
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
