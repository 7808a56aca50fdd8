//! Where a page of a search ended, as opaque text that a client gives back to get the next one.
//!
//! It holds everything that must not change between pages: behind which event to go on, the last event that was stored when the first page
//! was asked for, the moment ages count back from, the order, and a hash of the query. So the daemon remembers nothing of a search, and
//! a cursor outlives its restart. The checksum finds what a terminal or a log has mangled; whoever computes it anew gets another part of
//! answers that were open to them anyway.
//!
//! Version 1, integers little-endian, then base64 for URLs without padding:
//! version (1), order (1: 1 newest first), time (8), seq (8), last seq (8), now (8), hash of the query (8), CRC-32 of those (4).
use crate::events::Micros;
use crate::index::search::Position;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const VERSION: u8 = 1;
const BODY_BYTES: usize = 2 + 5 * 8;
const BYTES: usize = BODY_BYTES + 4;

/// The end of one page and the beginning of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last event of the page.
    pub after: Position,
    /// What was stored later belongs to no page.
    pub last_seq: u64,
    /// When the first page was asked for.
    pub now: Micros,
    pub newest: bool,
    query: [u8; 8],
}

/// Why a cursor does not lead on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    #[error("the cursor is not one, or not all of it: give it exactly as it was answered, {TEXT_BYTES} letters, digits, - and _")]
    Garbled,
    #[error("the cursor is of version {0}, which this honeyguide does not know: begin again without it")]
    Version(u8),
    #[error("the cursor was changed on its way: give it exactly as it was answered, or begin again without it")]
    Changed,
    #[error("the cursor is of another query: give the query exactly as for the page before, or begin again without the cursor")]
    OtherQuery,
    #[error("the cursor is of a search {}: ask for the same order, or begin again without the cursor", order(*.newest))]
    OtherOrder {
        /// The cursor's.
        newest: bool,
    },
}

/// Length of a cursor as text.
const TEXT_BYTES: usize = (BYTES * 8).div_ceil(6);

fn order(newest: bool) -> &'static str {
    if newest { "with the newest events first" } else { "with the oldest events first" }
}

impl Cursor {
    pub fn new(query: &str, newest: bool, now: Micros, last_seq: u64, after: Position) -> Cursor {
        Cursor { after, last_seq, now, newest, query: hash(query) }
    }

    /// Reads a cursor that goes on with this query in this order.
    pub fn read(text: &str, query: &str, newest: bool) -> Result<Cursor, CursorError> {
        let cursor = Cursor::decode(text)?;
        if cursor.query != hash(query) {
            return Err(CursorError::OtherQuery);
        }
        if cursor.newest != newest {
            return Err(CursorError::OtherOrder { newest: cursor.newest });
        }
        Ok(cursor)
    }

    pub fn encode(&self) -> String {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1] = u8::from(self.newest);
        let Cursor { after: Position { time, seq }, last_seq, now, query, .. } = *self;
        let words = [time.to_le_bytes(), seq.to_le_bytes(), last_seq.to_le_bytes(), now.to_le_bytes(), query];
        bytes[2..BODY_BYTES].copy_from_slice(words.as_flattened());
        let checksum = crc32fast::hash(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode(text: &str) -> Result<Cursor, CursorError> {
        // Before anything is allocated for it.
        if text.len() != TEXT_BYTES {
            return Err(CursorError::Garbled);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Garbled)?;
        let (body, checksum) = bytes.split_first_chunk::<BODY_BYTES>().ok_or(CursorError::Garbled)?;
        if crc32fast::hash(body).to_le_bytes() != checksum {
            return Err(CursorError::Changed);
        }
        let ([version, order], words) = body.split_first_chunk().ok_or(CursorError::Garbled)?;
        let (&[time, seq, last_seq, now, query], []) = words.as_chunks::<8>() else { return Err(CursorError::Garbled) };
        let newest = match (*version, *order) {
            (VERSION, 0) => false,
            (VERSION, 1) => true,
            (VERSION, _) => return Err(CursorError::Changed),
            (version, _) => return Err(CursorError::Version(version)),
        };
        let after = Position { time: i64::from_le_bytes(time), seq: u64::from_le_bytes(seq) };
        Ok(Cursor { after, last_seq: u64::from_le_bytes(last_seq), now: i64::from_le_bytes(now), newest, query })
    }
}

/// Enough to notice another query; nobody is kept from making one with the same hash.
fn hash(query: &str) -> [u8; 8] {
    let hash = blake3::hash(query.as_bytes());
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursor() -> Cursor {
        Cursor::new("src_ip:203.0.113.7 since:7d", true, 1_774_138_242_000_000, 9, Position { time: 1_774_138_241_000_000, seq: 7 })
    }

    /// With a checksum that holds.
    fn sealed(change: impl FnOnce(&mut [u8])) -> String {
        let mut bytes = URL_SAFE_NO_PAD.decode(cursor().encode()).unwrap();
        change(&mut bytes);
        let checksum = crc32fast::hash(&bytes[..BODY_BYTES]).to_le_bytes();
        bytes[BODY_BYTES..].copy_from_slice(&checksum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(time: i64, seq: u64, last_seq: u64, now: i64, newest: bool, query in ".{0,64}") {
            let written = Cursor::new(&query, newest, now, last_seq, Position { time, seq });
            let text = written.encode();
            prop_assert_eq!(text.len(), TEXT_BYTES);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(Cursor::read(&text, &query, newest), Ok(written));
        }

        #[test]
        fn any_text_is_refused(text in ".{0,100}") {
            prop_assert!(Cursor::decode(&text).is_err());
        }
    }

    #[test]
    fn every_changed_bit_byte_and_character_is_refused() {
        let text = cursor().encode();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            for change in 1..=255 {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                assert_eq!(Cursor::decode(&URL_SAFE_NO_PAD.encode(&changed)), Err(CursorError::Changed), "byte {at}, {change:#x}");
            }
        }
        for at in 0..text.len() {
            for other in 0..128 {
                let mut changed = text.clone().into_bytes();
                if changed[at] != other {
                    changed[at] = other;
                    assert!(Cursor::decode(str::from_utf8(&changed).unwrap()).is_err(), "character {at}, {other:#x}");
                }
            }
        }
    }

    #[test]
    fn a_piece_of_a_cursor_and_more_than_one_are_refused() {
        let text = cursor().encode();
        for len in 0..text.len() {
            assert_eq!(Cursor::decode(&text[..len]), Err(CursorError::Garbled), "{len} characters");
        }
        for more in ["=", "A", " ", &text] {
            assert_eq!(Cursor::decode(&format!("{text}{more}")), Err(CursorError::Garbled));
        }
        assert_eq!(Cursor::decode(&"é".repeat(TEXT_BYTES / 2)), Err(CursorError::Garbled));
    }

    #[test]
    fn other_versions_and_orders_are_told_apart_from_damage() {
        assert_eq!(Cursor::decode(&sealed(|_| {})), Ok(cursor()));
        assert_eq!(Cursor::decode(&sealed(|bytes| bytes[0] = 2)), Err(CursorError::Version(2)));
        assert_eq!(Cursor::decode(&sealed(|bytes| bytes[1] = 2)), Err(CursorError::Changed));
    }

    #[test]
    fn a_cursor_belongs_to_one_query_in_one_order() {
        let (text, query) = (cursor().encode(), "src_ip:203.0.113.7 since:7d");
        assert_eq!(Cursor::read(&text, query, true), Ok(cursor()));
        assert_eq!(Cursor::read(&text, "src_ip:203.0.113.7 since:8d", true), Err(CursorError::OtherQuery));
        assert_eq!(Cursor::read(&text, "", true), Err(CursorError::OtherQuery));
        assert_eq!(Cursor::read(&text, query, false), Err(CursorError::OtherOrder { newest: true }));
    }

    #[test]
    fn the_layout_stays() {
        assert_eq!(cursor().encode(), "AQFAIqO_kU0GAAcAAAAAAAAACQAAAAAAAACAZLK_kU0GADHPQ9b4hVbNYIzHqg");
    }
}
