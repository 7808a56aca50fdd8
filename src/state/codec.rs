//! Bytes of a value in sled: version, bincode payload (1.x, fixed-width little endian), CRC32 of both.
//!
//! bincode says nothing about added fields: a changed record gets a new version number, and the golden bytes below hold
//! every old one.
use serde::Serialize;
use serde::de::DeserializeOwned;

const VERSION: u8 = 1;
/// Values stay far below sled's blob size: blobs are never synced.
const VALUE_BYTES_MAX: usize = 4 << 10;

pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bincode::serialize_into(&mut bytes, value).expect("plain structs of numbers serialise into memory");
    debug_assert!(bytes.len() < VALUE_BYTES_MAX);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// `None` for anything that was not written by [`encode`] of the same type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    if bytes.len() > VALUE_BYTES_MAX {
        return None;
    }
    let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc32fast::hash(body) != u32::from_le_bytes(crc.try_into().ok()?) || body.first() != Some(&VERSION) {
        return None;
    }
    bincode::deserialize(&body[1..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{HeadRecord, SinkCursor};

    #[test]
    fn version_one_keeps_its_bytes() {
        let head = HeadRecord { segment: 1, len: 2, next_seq: 3 };
        let golden = [1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        let bytes = encode(&head);
        assert_eq!(bytes[..25], golden);
        assert_eq!(decode::<HeadRecord>(&bytes), Some(head));
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x10;
            assert_eq!(decode::<HeadRecord>(&damaged), None);
            assert_eq!(decode::<HeadRecord>(&bytes[..index]), None);
        }
        let cursor = SinkCursor { seq: 7, paused: true };
        assert_eq!(encode(&cursor)[..10], [1, 7, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(decode::<SinkCursor>(&encode(&cursor)), Some(cursor));
    }
}
