//! How numbers stand in a sidecar: LEB128 varints and little-endian words, read with every bound checked.
//!
//! A sidecar is input like any other, so reading answers `None` where bytes are missing or make no sense; whoever knows
//! the name of the section turns that into an error.

/// Appends `value` as LEB128, one to ten bytes.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number so that small magnitudes stay short.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// How many bytes [`put_varint`] appends.
pub(super) fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }

    /// A length that is followed by as many bytes.
    pub fn take_counted(&mut self) -> Option<&'a [u8]> {
        let len = self.length()?;
        self.take(len)
    }

    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        let Some(&word) = self.rest.first_chunk::<8>() else { return self.varint_bytewise() };
        let word = u64::from_le_bytes(word);
        if word & 0x80 == 0 {
            self.rest = &self.rest[1..];
            return Some(word & 0x7f);
        }
        // Eight bytes at once: the first without its highest bit ends the number; then close the gaps of one bit.
        let ends = !word & 0x8080_8080_8080_8080;
        if ends == 0 {
            return self.varint_bytewise();
        }
        let len = ends.trailing_zeros() as usize / 8 + 1;
        let word = word & (u64::MAX >> (64 - 8 * len)) & 0x7f7f_7f7f_7f7f_7f7f;
        let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
        let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
        let word = word & 0x0000_0000_0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4;
        self.rest = &self.rest[len..];
        Some(word)
    }

    /// Near the end, and for numbers of nine and ten bytes.
    fn varint_bytewise(&mut self) -> Option<u64> {
        let mut value = 0;
        for (position, &byte) in self.rest.iter().enumerate().take(10) {
            if position == 9 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                self.rest = &self.rest[position + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    pub fn varint32(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }

    /// A varint that counts or measures something in memory.
    #[inline]
    pub fn length(&mut self) -> Option<usize> {
        self.varint()?.try_into().ok()
    }

    pub fn signed(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("took four bytes")))
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("took eight bytes")))
    }
}

/// The little-endian word at `index` of an array of them, if the bytes reach that far.
#[inline]
pub(super) fn u32_at(bytes: &[u8], index: usize) -> Option<u32> {
    let start = index.checked_mul(4)?;
    bytes.get(start..start.checked_add(4)?).map(|word| u32::from_le_bytes(word.try_into().expect("a slice of four bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, signed: i64) {
            for value in (0..64).map(|shift| value >> shift) {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                prop_assert_eq!(bytes.len(), varint_len(value));
                prop_assert_eq!(Reader::new(&bytes).varint(), Some(value));
                prop_assert_eq!(Reader::new(&[&bytes[..], &[0xff; 9]].concat()).varint(), Some(value));
            }
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            put_signed(&mut bytes, signed);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Some(value));
            prop_assert_eq!(reader.signed(), Some(signed));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_some() {}
            let mut reader = Reader::new(&bytes);
            while reader.take_counted().is_some() {}
            prop_assert!(u32_at(&bytes, usize::MAX).is_none());
        }
    }

    #[test]
    fn endless_and_overflowing_varints_are_refused() {
        assert_eq!(Reader::new(&[0xff; 10]).varint(), None);
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).varint(), Some(u64::MAX));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varint(), None);
        assert_eq!(Reader::new(&[0x80]).varint(), None);
    }
}
