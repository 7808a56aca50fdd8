//! What an event is: one JSON object on one line, its identity, its time, its terms.
//!
//! Nothing here knows of files, journals or actors.
pub mod act;
pub mod array;
pub mod batch;
#[cfg(target_arch = "x86_64")]
mod blake3_lanes;
pub mod chat;
pub mod cowrie;
pub mod decoder;
pub mod field;
pub mod format;
pub mod id;
mod indicators;
pub mod json;
pub mod mapping;
pub mod marks;
mod refusals;
pub mod shape;
mod tally;
#[cfg(test)]
mod tests;
pub mod time;
pub mod tombstone;
pub mod wrapping;

pub use batch::{Batch, Batcher, Known};
pub use field::Field;
pub use format::Format;
pub use id::EventId;
pub use time::Micros;

/// Longest line accepted, bytes. A longer one is refused with its size and hash.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Longest JSON array or multi-line document that is split into events, bytes.
pub const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// Deepest nesting of one event.
pub const JSON_DEPTH_MAX: usize = 64;
/// Most terms one event may add to the index, and most bytes of them.
pub const TERMS_PER_EVENT_MAX: usize = 64;
pub const TERM_BYTES_PER_EVENT_MAX: usize = 8 << 10;
/// Longest term value kept as it is; a longer one becomes a prefix and a hash.
pub const TERM_VALUE_BYTES_MAX: usize = 4 << 10;

/// Panics when the fail point is set to `return(MARKER)` and the line contains the marker; nothing in a normal build.
#[inline(always)]
fn poison<'a>(_point: &'static str, _line: impl FnOnce() -> &'a [u8]) {
    #[cfg(feature = "failpoints")]
    {
        fn marker(point: &'static str) -> Option<String> {
            fail::fail_point!(point, |marker| marker);
            None
        }
        if let Some(marker) = marker(_point) {
            assert!(memchr::memmem::find(_line(), marker.as_bytes()).is_none(), "fail point {_point}");
        }
    }
}
