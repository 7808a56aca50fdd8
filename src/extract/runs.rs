//! Runs of bytes of one class, found by looking at few bytes: what hashes, addresses and account numbers are cut from.
//!
//! To find runs of at least `n` bytes it is enough to look at every n-th byte and walk back from it: a text without such runs
//! costs a fraction of its length, and no byte is ever looked at more than three times.
use std::ops::Range;

/// A set of bytes.
pub struct Class([bool; 256]);

impl Class {
    /// The bytes of some inclusive ranges.
    pub const fn of(ranges: &[(u8, u8)]) -> Class {
        let mut set = [false; 256];
        let mut range = 0;
        while range < ranges.len() {
            let mut byte = ranges[range].0;
            while byte <= ranges[range].1 {
                set[byte as usize] = true;
                byte += 1;
            }
            range += 1;
        }
        Class(set)
    }

    /// Whether `byte` belongs to it.
    pub const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

/// Decimal digits.
pub static DIGIT: Class = Class::of(&[(b'0', b'9')]);
/// Hexadecimal digits of both cases.
pub static HEX: Class = Class::of(&[(b'0', b'9'), (b'a', b'f'), (b'A', b'F')]);
/// ASCII letters and digits.
pub static ALNUM: Class = Class::of(&[(b'0', b'9'), (b'a', b'z'), (b'A', b'Z')]);

/// Every longest run of bytes of `class` that has at least `len_min` (≥ 1) bytes, from left to right.
pub fn runs<'a>(bytes: &'a [u8], class: &'a Class, len_min: usize) -> impl Iterator<Item = Range<usize>> + 'a {
    debug_assert!(len_min >= 1);
    // No run that was not returned yet starts before `from`, and none covers both `from - 1` and `from`.
    let mut from = 0;
    std::iter::from_fn(move || {
        while from + len_min <= bytes.len() {
            if let Some(gap) = bytes[from..from + len_min].iter().rposition(|&byte| !class.has(byte)) {
                from += gap + 1;
                continue;
            }
            let rest = &bytes[from + len_min..];
            let end = from + len_min + rest.iter().position(|&byte| !class.has(byte)).unwrap_or(rest.len());
            let run = from..end;
            from = (end + 1).min(bytes.len());
            return Some(run);
        }
        None
    })
}

/// The run without the letter of a written-out `\n`, `\r` or `\t` that it seems to begin with.
pub fn past_escape(bytes: &[u8], run: Range<usize>) -> Range<usize> {
    let is_escape = bytes[..run.start].ends_with(b"\\") && matches!(bytes[run.start], b'n' | b'r' | b't');
    run.start + usize::from(is_escape)..run.end
}

/// Whether the character before `at` continues what starts there: a letter or digit of ASCII (but not the `n` of a written-out
/// `\n`), or any script's digit.
pub fn glued_before(text: &str, at: usize) -> bool {
    match text[..at].chars().next_back() {
        Some('n' | 'r' | 't') => !text[..at - 1].ends_with('\\'),
        Some(before) => continues(before),
        None => false,
    }
}

/// Whether the character at `at` continues what ends there.
pub fn glued_after(text: &str, at: usize) -> bool {
    text[at..].chars().next().is_some_and(continues)
}

fn continues(character: char) -> bool {
    character.is_ascii_alphanumeric() || (!character.is_ascii() && character.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_walk_finds(text in "[ab ]{0,80}", len_min in 1usize..9) {
            static A: Class = Class::of(&[(b'a', b'a')]);
            let mut plain = Vec::new();
            let mut at = 0;
            for part in text.split(|byte| byte != 'a') {
                if part.len() >= len_min {
                    plain.push(at..at + part.len());
                }
                at += part.len() + 1;
            }
            prop_assert_eq!(runs(text.as_bytes(), &A, len_min).collect::<Vec<_>>(), plain);
        }
    }

    #[test]
    fn letters_and_digits_glue_and_written_out_line_ends_do_not() {
        for (before, glued) in
            [("", false), ("a", true), ("7", true), ("７", true), ("_", false), ("é", false), ("\\n", false), ("n", true)]
        {
            assert_eq!(glued_before(&format!("{before}x"), before.len()), glued, "{before:?}");
        }
        assert!(glued_after("xy", 1) && !glued_after("x", 1) && !glued_after("x-", 1) && glued_after("x５", 1));
    }
}
