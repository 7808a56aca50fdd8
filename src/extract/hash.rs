//! Hashes, told apart by their length: MD5, SHA-1, SHA-256, SHA-512; and HASSH, which is an MD5 called by name.
//!
//! A hash is a run of hexadecimal digits with nothing glued to it. What only looks so is left out: numbers, patterns that repeat,
//! and pieces of identifiers written in dashed groups.
use super::runs::{HEX, glued_after, glued_before, runs};
use super::{Extractor, Found, Needs, Text};
use crate::events::Field;
use std::ops::Range;

/// Hashes; one entry of the registry.
pub struct Hash;

/// How far before an MD5 the word that makes it a HASSH may begin, bytes.
const LABEL_BYTES: usize = 32;
/// Fewest different digits among a hash's 32 or more: fewer are a pattern somebody typed (of 32 random ones in a billion cases one).
const DIGITS_DISTINCT_MIN: u32 = 6;
/// Longest pattern whose repetition is not a hash.
const PERIOD_MAX: usize = 16;

impl Extractor for Hash {
    fn fields(&self) -> &'static [Field] {
        &[Field::Md5, Field::Sha1, Field::Sha256, Field::Sha512, Field::Hassh]
    }

    fn needs(&self) -> &'static Needs {
        // An MD5 hash is the shortest.
        const NEEDS: Needs = Needs::NOTHING.run(32);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        let bytes = text.plain.as_bytes();
        for mut run in runs(bytes, &HEX, 32) {
            // `%3A5d41…`: the escape's own two digits are not part of it.
            let escaped = bytes[..run.start].ends_with(b"%");
            if escaped {
                run.start += 2;
            }
            let field = match run.len() {
                32 => Field::Md5,
                40 => Field::Sha1,
                64 => Field::Sha256,
                128 => Field::Sha512,
                _ => continue,
            };
            if (!escaped && glued_before(text.plain, run.start)) || glued_after(text.plain, run.end) {
                continue;
            }
            if in_dashed_groups(bytes, &run) || !looks_random(&bytes[run.clone()]) {
                continue;
            }
            let field = if field == Field::Md5 && is_called_hassh(bytes, run.start) { Field::Hassh } else { field };
            let mut value = [0; 128];
            let value = &mut value[..run.len()];
            value.copy_from_slice(&bytes[run.clone()]);
            value.make_ascii_lowercase();
            found.add(field, std::str::from_utf8(value).expect("hexadecimal digits are ASCII"), text, run);
        }
    }
}

/// Whether a dash joins the run to more hexadecimal digits, as in trace identifiers.
fn in_dashed_groups(bytes: &[u8], run: &Range<usize>) -> bool {
    const GROUP_MAX: usize = 33;
    let group = |mut digits: usize, next: Option<&u8>| {
        digits = digits.min(GROUP_MAX);
        (2..GROUP_MAX).contains(&digits) && next.is_none_or(|&next| !next.is_ascii_alphanumeric())
    };
    let before = bytes[..run.start].strip_suffix(b"-").is_some_and(|before| {
        let digits = before.iter().rev().take(GROUP_MAX).take_while(|&&byte| HEX.has(byte)).count();
        group(digits, before.iter().rev().nth(digits))
    });
    before
        || bytes[run.end..].strip_prefix(b"-").is_some_and(|after| {
            let digits = after.iter().take(GROUP_MAX).take_while(|&&byte| HEX.has(byte)).count();
            group(digits, after.get(digits))
        })
}

/// Whether the digits are letters and numbers of some variety and do not repeat.
fn looks_random(digits: &[u8]) -> bool {
    let mut seen = 0u32;
    for digit in digits {
        seen |= 1 << (if digit.is_ascii_digit() { digit - b'0' } else { (digit | 0x20) - b'a' + 10 });
    }
    let (decimal, letters) = (seen & 0x3ff, seen & !0x3ff);
    decimal != 0
        && letters != 0
        && seen.count_ones() >= DIGITS_DISTINCT_MIN
        && (1..=PERIOD_MAX).all(|period| (period..digits.len()).any(|at| digits[at] != digits[at - period]))
}

/// Whether the nearest name of a hash before `at` is HASSH.
fn is_called_hassh(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(LABEL_BYTES)..at];
    let last = |word: &[u8]| before.windows(word.len()).rposition(|window| window.eq_ignore_ascii_case(word));
    last(b"hassh") > last(b"md5").max(last(b"ja3"))
}

#[cfg(test)]
mod tests {
    use super::super::Context::{Address, Chat, Command, Hash as Hashed, Other};
    use super::super::table::{Row, check};
    use super::*;

    const MD5: &str = "5d41402abc4b2a76b9719d911017c592";
    const SHA1: &str = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
    const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const SHA512: &str =
        "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";

    /// Every text is tried with a hash of each length in the place of `#`; `true` when it is found there.
    const AROUND: &[(&str, bool)] = &[
        ("#", true),
        (" # ", true),
        ("(#)", true),
        ("[#]", true),
        ("\"#\"", true),
        ("'#',", true),
        ("`#`", true),
        ("<#>", true),
        ("#.", true),
        ("#!", true),
        ("#;", true),
        ("see #, now", true),
        ("hash=#", true),
        ("hash:#", true),
        ("/files/#", true),
        ("/files/#/download", true),
        ("http://a.example/#?x=1", true),
        ("http://a.example/?h=#&x=1", true),
        ("http://a.example/?h=x%3A#", true),
        ("#.exe", true),
        ("sample_#.bin", true),
        ("sample-#.bin", true),
        ("{\"hash\":\"#\"}", true),
        ("<td>#</td>", true),
        ("#  /etc/passwd", true),
        ("#\n", true),
        ("\\n#\\n", true),
        ("\t#\t", true),
        ("是#吗", true),
        ("“#”", true),
        ("é#é", true),
        ("#|#", true),
        ("#:#", true),
        ("hash # and number 123", true),
        ("a#", false),
        ("#f", false),
        ("z#", false),
        ("#z", false),
        ("0x#", false),
        ("\\x#", false),
        ("7#", false),
        ("#7", false),
        ("７#", false),
        ("#７", false),
        ("00-#-00f067aa0ba902b7-01", false),
        ("#-deadbeef", false),
        ("12ab-#", false),
    ];

    #[test]
    fn a_hash_of_any_length_is_found_with_whatever_stands_around_it() {
        for (hash, field) in [(MD5, Field::Md5), (SHA1, Field::Sha1), (SHA256, Field::Sha256), (SHA512, Field::Sha512)] {
            for hash in [hash.to_owned(), hash.to_uppercase()] {
                for (around, expected) in AROUND {
                    let text = around.replace('#', &hash);
                    let mut found = Found::default();
                    Hash.extract(&Text::plain(Other, &text), &mut found);
                    let values: Vec<_> = found.indicators.iter().map(|one| (one.field, one.value.clone())).collect();
                    let right: Vec<_> = expected.then(|| (field, hash.to_lowercase())).into_iter().collect();
                    assert_eq!(values, right, "{text:?}");
                }
            }
            let mut found = Found::default();
            for cut in [&hash[1..], &hash[..hash.len() - 1], &hash[2..]] {
                Hash.extract(&Text::plain(Other, cut), &mut found);
            }
            assert_eq!(found, Found::default(), "{field:?}");
        }
    }

    #[test]
    fn a_table_of_tricky_texts() {
        let md5 = "md5=5d41402abc4b2a76b9719d911017c592";
        let hassh = "hassh=5d41402abc4b2a76b9719d911017c592";
        let sha1 = "sha1=aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
        let rows: &[Row] = &[
            (Other, "5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Hashed, "5D41402ABC4B2A76B9719D911017C592", &["md5=5d41402abc4b2a76b9719d911017c592 «5D41402ABC4B2A76B9719D911017C592»"]),
            (Other, "5D41402abc4b2a76b9719d911017C592", &[md5]),
            (Command, "md5sum x; echo 5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Chat, "the md5 is 5d41402abc4b2a76b9719d911017c592.", &[md5]),
            (Other, "hassh 5d41402abc4b2a76b9719d911017c592", &[hassh]),
            (Other, "HASSH: 5d41402abc4b2a76b9719d911017c592", &[hassh]),
            (Other, "{\"hassh\": \"5d41402abc4b2a76b9719d911017c592\"}", &[hassh]),
            (Other, "hasshServer=5d41402abc4b2a76b9719d911017c592", &[hassh]),
            (Other, "SSH client hassh fingerprint: 5d41402abc4b2a76b9719d911017c592", &[hassh]),
            (Other, "hassh unknown, md5 5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Other, "md5 of the hassh 5d41402abc4b2a76b9719d911017c592", &[hassh]),
            (Other, "hassh is named far before and so not what this one is 5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Other, "hassh aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", &[sha1]),
            (Other, "5d41402abc4b2a76b9719d911017c592 aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", &[md5, sha1]),
            (Other, "5d41402abc4b2a76b9719d911017c592,5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Other, "5d41402abc4b2a76b9719d911017c592aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", &[]),
            // Neither: identifiers, numbers, patterns.
            (Other, "123e4567-e89b-12d3-a456-426614174000", &[]),
            (Other, "{123E4567-E89B-12D3-A456-426614174000}", &[]),
            (Other, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &[]),
            (Other, "00000000000000000000000000000000", &[]),
            (Other, "ffffffffffffffffffffffffffffffffffffffff", &[]),
            (Other, "12345678901234567890123456789012", &[]),
            (Other, "1234567890123456789012345678901234567890", &[]),
            (Other, "31415926535897932384626433832795028841971693993751058209749445923", &[]),
            (Other, "deadbeefdeadbeefdeadbeefdeadbeef", &[]),
            (Other, "deadbeefcafebabedeadbeefcafebabe", &[]),
            (Other, "0123456789abcdef0123456789abcdef", &[]),
            (Other, "41414141414141414141414141414141", &[]),
            (Other, "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", &[]),
            (Other, "abcdefabcdefabcdfeabcdefabcdeffa", &[]),
            (Other, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab1", &[]),
            // Too short, too long, broken.
            (Other, "5d41402abc4b2a76b9719d911017c59", &[]),
            (Other, "5d41402abc4b2a76b9719d911017c5922", &[]),
            (Other, "5d41402abc4b2a76b9719d911017c59g", &[]),
            (Other, "5d41402abc4b2a76 b9719d911017c592", &[]),
            (Other, "5d41402abc4b2a76\u{200b}b9719d911017c592", &[]),
            (Other, "5d41402abc4b2a76b9719d91101７c592", &[]),
            (Other, "5d41402abc4b2a76\nb9719d911017c592", &[]),
            (Other, "5d:41:40:2a:bc:4b:2a:76:b9:71:9d:91:10:17:c5:92", &[]),
            (Other, "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f", &[]),
            (Other, "ca737f1014a48f4c0b6dd43cb177b0afd9e5169367544c494011e3317dbf9a509cb1e5dc1e85a941bbee3d7f2afbc9b1", &[]),
            // Neighbours.
            (Other, "x5d41402abc4b2a76b9719d911017c592", &[]),
            (Other, "5d41402abc4b2a76b9719d911017c592x", &[]),
            (Other, "0x5d41402abc4b2a76b9719d911017c592", &[]),
            (Other, "#5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Other, "_5d41402abc4b2a76b9719d911017c592_", &[md5]),
            (Other, "virus-5d41402abc4b2a76b9719d911017c592.exe", &[md5]),
            (Other, "cafe-5d41402abc4b2a76b9719d911017c592", &[]),
            (Other, "%2F5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Other, "a%205d41402abc4b2a76b9719d911017c592%20b", &[md5]),
            (Other, "%5d41402abc4b2a76b9719d911017c592", &[]),
            (Other, "aad3b435b51404eeaad3b435b51404ee:5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Other, "$1$5d41402abc4b2a76b9719d911017c592", &[md5]),
            (Other, "sha1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", &[sha1]),
            (Other, "commit aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", &[sha1]),
            (Other, "git@host:repo.git#aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", &[sha1]),
            (Other, "AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D", &[sha1]),
            (Address, "/download/aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d/", &[sha1]),
            (Other, "0xaaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", &[]),
            (Other, "", &[]),
            (Other, "hassh", &[]),
            (Other, "%", &[]),
        ];
        check(&Hash, 60, rows);
    }
}
