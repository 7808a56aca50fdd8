//! What an extractor cannot do without, and what a text has: one pass over the bytes spares most texts all the rest.
//!
//! A password without a dot, an at sign and a long run of letters and digits holds no URL, no address and no hash.

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    pub const NONE: ByteSet = ByteSet([0; 4]);
    /// `0`–`9`.
    pub const DIGITS: ByteSet = ByteSet::of(b"0123456789");
    /// Everything beyond ASCII.
    pub const BEYOND_ASCII: ByteSet = ByteSet([0, 0, u64::MAX, u64::MAX]);

    /// The set of these bytes.
    pub const fn of(bytes: &[u8]) -> ByteSet {
        let mut set = [0; 4];
        let mut at = 0;
        while at < bytes.len() {
            set[(bytes[at] >> 6) as usize] |= 1 << (bytes[at] & 63);
            at += 1;
        }
        ByteSet(set)
    }

    /// Both sets together.
    pub const fn or(self, other: ByteSet) -> ByteSet {
        let (a, b) = (self.0, other.0);
        ByteSet([a[0] | b[0], a[1] | b[1], a[2] | b[2], a[3] | b[3]])
    }

    /// Whether the sets share a byte.
    pub const fn meets(&self, other: &ByteSet) -> bool {
        let (a, b) = (self.0, other.0);
        (a[0] & b[0]) | (a[1] & b[1]) | (a[2] & b[2]) | (a[3] & b[3]) != 0
    }

    /// Whether `byte` is in the set.
    pub const fn has(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 != 0
    }

    const fn is_empty(&self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] == 0
    }
}

/// What a text must hold for an extractor to be asked: necessary, never sufficient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Of each of these sets at least one byte; an empty set asks for nothing.
    pub bytes: [ByteSet; 3],
    /// This many digits, wherever they stand.
    pub digits_min: u32,
    /// This many ASCII letters and digits in a row.
    pub run_min: u32,
}

impl Needs {
    /// Every text is worth a look.
    pub const NOTHING: Needs = Needs { bytes: [ByteSet::NONE; 3], digits_min: 0, run_min: 0 };

    /// At least one of `bytes` as well. At most three times.
    pub const fn one_of(mut self, bytes: &[u8]) -> Needs {
        let mut at = 0;
        while !self.bytes[at].is_empty() {
            at += 1;
        }
        self.bytes[at] = ByteSet::of(bytes);
        self
    }

    /// At least `count` digits as well.
    pub const fn digits(mut self, count: u32) -> Needs {
        self.digits_min = count;
        self
    }

    /// At least `length` letters and digits in a row as well.
    pub const fn run(mut self, length: u32) -> Needs {
        self.run_min = length;
        self
    }
}

/// What one pass over a text saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub bytes: ByteSet,
    /// Digits in the text.
    pub digits: u32,
    /// Longest run of ASCII letters and digits.
    pub longest_run: u32,
}

/// Per byte: 1 for a digit, and beside it (from bit 8) 1 for a letter or a digit.
static KINDS: [u16; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = (byte as u8).is_ascii_digit() as u16 | ((byte as u8).is_ascii_alphanumeric() as u16) << 8;
        byte += 1;
    }
    kinds
};

impl Seen {
    pub fn of(text: &str) -> Seen {
        let mut set = [0_u64; 4];
        let (mut digits, mut run, mut longest) = (0_u32, 0_u32, 0_u32);
        for &byte in text.as_bytes() {
            set[(byte >> 6) as usize] |= 1 << (byte & 63);
            let kind = KINDS[byte as usize];
            digits += u32::from(kind & 1);
            run = (run + 1) * u32::from(kind >> 8);
            longest = longest.max(run);
        }
        Seen { bytes: ByteSet(set), digits, longest_run: longest }
    }

    /// Whether the text has what an extractor needs.
    pub fn suffices(&self, needs: &Needs) -> bool {
        self.longest_run >= needs.run_min
            && self.digits >= needs.digits_min
            && needs.bytes.iter().all(|set| set.is_empty() || set.meets(&self.bytes))
    }

    /// Whether any byte of the set occurs.
    pub fn any(&self, set: &ByteSet) -> bool {
        self.bytes.meets(set)
    }

    /// Whether the byte occurs.
    pub fn has(&self, byte: u8) -> bool {
        self.bytes.has(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_suffices_when_every_need_is_met() {
        let needs = Needs::NOTHING.one_of(b"@").one_of(b".:").digits(2).run(4);
        for (text, suffices) in [
            ("user12@a.b", true),
            ("user12@ab", false),
            ("user12.b", false),
            ("user1@a:b", false),
            ("12@ab.abc", false),
            ("", false),
            ("abcd@:11", true),
            ("äbcd@:11", false),
        ] {
            assert_eq!(Seen::of(text).suffices(&needs), suffices, "{text}");
        }
        assert!(Seen::of("").suffices(&Needs::NOTHING));
        let seen = Seen::of("ab-1234x é");
        assert_eq!((seen.digits, seen.longest_run), (4, 5));
        assert!(seen.any(&ByteSet::BEYOND_ASCII) && !Seen::of("abc~\x7f").any(&ByteSet::BEYOND_ASCII));
    }
}
