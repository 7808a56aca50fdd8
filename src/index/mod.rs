//! The term index: what a block says of its events, merged live, written once as a sidecar, asked by search.
//!
//! The index is a view: everything here can be rebuilt from the journal. It knows nothing of actors or sources.
pub mod aggregate;
pub mod blocks;
pub mod cluster;
mod dictionary;
pub mod distinct;
mod encoding;
pub mod frequent;
pub mod ids;
pub mod live;
pub mod measures;
pub mod part;
pub mod pattern;
pub mod period;
pub mod query;
#[cfg(test)]
mod real_logs;
#[cfg(test)]
pub(crate) mod sample;
pub mod search;
mod sessions;
pub mod sidecar;
pub mod top;

use crate::events::act::{Acts, Sequence};
use crate::events::marks::Marks;
use crate::events::{EventId, Field, Micros, id};
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

/// Identity hour of events without a time of their own: every segment that has one is asked about every such event.
pub const HOUR_UNKNOWN: i32 = i32::MIN;

/// Where one block of a segment lies and what it spans; both in the sidecar's directory and in memory for the live segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockMeta {
    /// Offset of the block's header frame in the segment file, bytes.
    pub offset: u64,
    /// Length of the header frame and of the data frame behind it, bytes.
    pub header_len: u32,
    pub data_len: u32,
    /// Length of the lines, newlines included, bytes.
    pub raw_len: u32,
    pub first_seq: u64,
    pub events: u32,
    /// Smallest and largest time its events are indexed by.
    pub time_min: Micros,
    pub time_max: Micros,
}

/// What one block adds to the index, computed beside the block by a worker that saw nothing but the block.
#[derive(Default, Debug)]
pub struct BlockTerms {
    /// Sensors named in the block; index 0.. are what `Cell::sensor` and `SessionPart::sensor` mean.
    pub sensors: Vec<Box<[u8]>>,
    /// The (sensor, UTC day) pairs that occur.
    pub cells: Vec<Cell>,
    /// Distinct terms; `start..start + len` of `values` is the value.
    pub terms: Vec<BlockTerm>,
    pub values: Vec<u8>,
    /// How often each term occurs in each cell: sorted by term, one row per (term, cell) that occurs.
    pub counts: Vec<TermCount>,
    /// One row per (session, sensor).
    pub sessions: Vec<SessionPart>,
    /// Identities of the block's events, in their order.
    pub ids: Vec<EventId>,
    /// Distinct hours of the events' own times ([`HOUR_UNKNOWN`] for those without): what duplicates are looked up by.
    pub identity_hours: Vec<i32>,
    /// One row per (hour the events are indexed under, sensor).
    pub activity: Vec<Activity>,
    /// Events by cell, parallel to `cells`.
    pub cell_events: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    pub sensor: u16,
    /// Days since 1970-01-01.
    pub day: i32,
}

#[derive(Clone, Copy, Debug)]
pub struct BlockTerm {
    /// [`term_hash`] of field and value.
    pub hash: u64,
    pub start: u32,
    pub len: u32,
    pub field: Field,
    /// First and last time of an event with the term.
    pub first: Micros,
    pub last: Micros,
}

#[derive(Clone, Copy, Debug)]
pub struct TermCount {
    pub term: u32,
    pub cell: u16,
    pub count: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct SessionPart {
    /// [`session_key`] of the session id.
    pub key: u64,
    pub sensor: u16,
    pub acts: Acts,
    /// Of the commands, in the order of the block.
    pub sequence: Sequence,
    pub marks: Marks,
    pub first: Micros,
    pub last: Micros,
}

/// What happened at a sensor within an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Hours since 1970-01-01.
    pub hour: i32,
    pub sensor: u16,
    pub acts: Acts,
}

static SEED: LazyLock<foldhash::quality::RandomState> = LazyLock::new(foldhash::quality::RandomState::default);

/// Hash of a term, seeded per process so that nobody outside can flood a table. Never written to a file.
#[inline]
pub fn term_hash(field: Field, value: &[u8]) -> u64 {
    let mut hasher = SEED.build_hasher();
    hasher.write(value);
    hasher.write_u8(field as u8);
    hasher.finish()
}

/// Hash of an event id, seeded likewise.
#[inline]
pub fn id_hash(id: EventId) -> u64 {
    let mut hasher = SEED.build_hasher();
    hasher.write(&id.0);
    hasher.finish()
}

/// The 64-bit key a session id is filed under.
///
/// Lower-case hexadecimal of up to 15 digits (Cowrie's ids have 8 or 12) keeps its value, with the number of digits in
/// the top four bits, so that [`session_name`] can give it back. Anything else is a hash with 15 there: two such ids may
/// share a key, which costs a block read more and never a wrong answer, for every line is checked.
pub fn session_key(session: &[u8]) -> u64 {
    if (1..=14).contains(&session.len()) {
        let mut value = 0u64;
        for &byte in session {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return hashed_session_key(session),
            };
            value = value << 4 | u64::from(digit);
        }
        return (session.len() as u64) << 60 | value;
    }
    hashed_session_key(session)
}

fn hashed_session_key(session: &[u8]) -> u64 {
    0xF << 60 | id::EventId::of_line(session).low64() >> 4
}

/// The session id behind a key, when the key holds it.
pub fn session_name(key: u64) -> Option<String> {
    let digits = (key >> 60) as usize;
    (1..=14).contains(&digits).then(|| format!("{:0digits$x}", key & (u64::MAX >> 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_of_cowrie_survive_as_keys() {
        for id in ["c7ae63583837", "000000000000", "1bb6d5d7", "0", "00000000000000"] {
            assert_eq!(session_name(session_key(id.as_bytes())).as_deref(), Some(id));
        }
        for id in ["C7AE63583837", "", "conversation-17", "123456789012345", "zz"] {
            assert_eq!(session_name(session_key(id.as_bytes())), None);
            assert_eq!(session_key(id.as_bytes()) >> 60, 15);
        }
    }
}
