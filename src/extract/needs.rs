//! What an extractor cannot do without, and what a text has: one pass over the bytes spares most texts all the rest.
//!
//! A password without a dot, an at sign and a long run of letters and digits holds no URL, no address and no hash.

/// A set of kinds of bytes: each letter (in either case) and each punctuation mark is a kind of its own, all digits are one, and so
/// are control characters with the blanks beside the space, and everything beyond ASCII. Small enough to be gathered in a register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSet(u64);

/// Bits of the kinds that are no punctuation; punctuation has the bits between.
const BEYOND_ASCII_BIT: u32 = 63;
const CONTROL_BIT: u32 = 62;
const DIGIT_BIT: u32 = 61;
const SPACE_BIT: u32 = 60;
const LETTERS: u64 = (1 << 26) - 1;

/// Per byte: the bit of its kind.
static KINDS: [u64; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = ByteSet::of(&[byte as u8]).0;
        byte += 1;
    }
    kinds
};

impl ByteSet {
    pub const NONE: ByteSet = ByteSet(0);
    /// Letters of either case.
    pub const LETTERS: ByteSet = ByteSet(LETTERS);
    /// Everything beyond ASCII.
    pub const BEYOND_ASCII: ByteSet = ByteSet(1 << BEYOND_ASCII_BIT);

    /// The kinds these bytes belong to.
    pub const fn of(bytes: &[u8]) -> ByteSet {
        let mut set = 0;
        let mut at = 0;
        while at < bytes.len() {
            let bit = match bytes[at] {
                byte @ (b'a'..=b'z' | b'A'..=b'Z') => (byte | 0x20) as u32 - b'a' as u32,
                b'0'..=b'9' => DIGIT_BIT,
                b' ' => SPACE_BIT,
                byte @ b'!'..=b'/' => 26 + (byte - b'!') as u32,
                byte @ b':'..=b'@' => 41 + (byte - b':') as u32,
                byte @ b'['..=b'`' => 48 + (byte - b'[') as u32,
                byte @ b'{'..=b'~' => 54 + (byte - b'{') as u32,
                0x80.. => BEYOND_ASCII_BIT,
                _ => CONTROL_BIT,
            };
            set |= 1 << bit;
            at += 1;
        }
        ByteSet(set)
    }

    /// Both sets together.
    pub const fn or(self, other: ByteSet) -> ByteSet {
        ByteSet(self.0 | other.0)
    }

    /// Whether the sets share a kind.
    pub const fn meets(self, other: ByteSet) -> bool {
        self.0 & other.0 != 0
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
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

    /// At least one byte like one of `bytes` as well. At most three times.
    pub const fn one_of(self, bytes: &[u8]) -> Needs {
        self.any(ByteSet::of(bytes))
    }

    /// At least one byte of `set` as well; counts as [`Needs::one_of`].
    pub const fn any(mut self, set: ByteSet) -> Needs {
        let mut at = 0;
        while !self.bytes[at].is_empty() {
            at += 1;
        }
        self.bytes[at] = set;
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

impl Seen {
    /// Looks through a text.
    pub fn of(text: &str) -> Seen {
        const DIGIT: u64 = 1 << DIGIT_BIT;
        let mut set = 0_u64;
        let (mut digits, mut run, mut longest) = (0_u32, 0_u32, 0_u32);
        for &byte in text.as_bytes() {
            let kind = KINDS[byte as usize];
            set |= kind;
            digits += u32::from(kind & DIGIT != 0);
            run = if kind & (DIGIT | LETTERS) != 0 { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        Seen { bytes: ByteSet(set), digits, longest_run: longest }
    }

    /// Whether the text has what an extractor needs.
    pub fn suffices(&self, needs: &Needs) -> bool {
        self.longest_run >= needs.run_min
            && self.digits >= needs.digits_min
            && needs.bytes.iter().all(|set| set.is_empty() || set.meets(self.bytes))
    }

    /// Whether any byte of the set occurs.
    pub fn any(&self, set: ByteSet) -> bool {
        self.bytes.meets(set)
    }

    /// Whether a byte like this one occurs.
    pub fn has(&self, byte: u8) -> bool {
        self.bytes.meets(ByteSet::of(&[byte]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_punctuation_mark_is_a_kind_of_its_own() {
        let marks: Vec<u8> = (b'!'..=b'~').filter(u8::is_ascii_punctuation).collect();
        assert_eq!(ByteSet::of(&marks).0.count_ones(), 32);
        assert!(!ByteSet::of(&marks).meets(ByteSet::LETTERS.or(ByteSet::of(b"0 \t\xff"))));
        assert_eq!(ByteSet::of(b"0 \t\xff").0.count_ones(), 4);
        assert!(ByteSet::of(b"Q").meets(ByteSet::of(b"q")) && !ByteSet::of(b"Q").meets(ByteSet::of(b"p")));
    }

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
        assert!(seen.any(ByteSet::BEYOND_ASCII) && !Seen::of("abc~\x7f").any(ByteSet::BEYOND_ASCII));
    }
}
