//! What an event looks like: its format, event id and sensor, and the names and types of its members.
//!
//! The hot path adds a hash per member and looks the sum up; only a shape never seen costs more, once.
use super::Format;
use super::json::Type;

/// Longest event id, sensor or member's name that a schema knows, bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Most shapes one batch tells of; the others are told of when they come again.
pub const SHAPES_PER_BATCH_MAX: usize = 64;

/// A shape not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Over all that follows, whatever the members' order; of this process.
    pub hash: u64,
    pub format: Format,
    pub eventid: String,
    pub sensor: String,
    pub members: Vec<(String, Type)>,
}

/// A name as a schema knows it: text, of bounded length.
pub(super) fn name(bytes: &[u8]) -> String {
    let mut len = bytes.len().min(NAME_BYTES_MAX);
    while len > 0 && bytes.get(len).is_some_and(|byte| byte & 0xC0 == 0x80) {
        len -= 1;
    }
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}
