//! JA4 and JA4H, fingerprints of TLS and HTTP clients, by their exact shapes.
//!
//! JA4 is `t13d1516h2_8daaf6152771_b186095e22b6`, JA4H `ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c`.
use super::runs::{glued_after, glued_before};
use super::{Extractor, Found, Text};
use crate::events::Field;

/// JA4 and JA4H; one entry of the registry.
pub struct Ja4;

/// Characters before the first underscore.
const JA4_HEAD: usize = 10;
const JA4H_HEAD: usize = 12;
/// Characters of each hash behind an underscore.
const HASH: usize = 12;

impl Extractor for Ja4 {
    fn fields(&self) -> &'static [Field] {
        &[Field::Ja4, Field::Ja4h]
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        let bytes = text.plain.as_bytes();
        let mut free = 0;
        for at in memchr::memchr_iter(b'_', bytes) {
            if at < free || at < JA4_HEAD {
                continue;
            }
            for (field, head, hashes) in [(Field::Ja4h, JA4H_HEAD, 3), (Field::Ja4, JA4_HEAD, 2)] {
                let Some(start) = at.checked_sub(head) else { continue };
                let end = at + hashes * (1 + HASH);
                let is_shaped = match field {
                    Field::Ja4 => is_ja4_head(&bytes[start..at]),
                    _ => is_ja4h_head(&bytes[start..at]),
                };
                if is_shaped && bytes.get(at..end).is_some_and(are_hashes) && stands_alone(text.plain, start, end) {
                    found.add(field, &text.plain[start..end], text, start..end);
                    free = end;
                    break;
                }
            }
        }
    }
}

/// Protocol, version, whether a name was sent, how many ciphers and extensions, first and last character of the first ALPN.
fn is_ja4_head(head: &[u8]) -> bool {
    matches!(head[0], b't' | b'q' | b'd')
        && matches!(&head[1..3], b"13" | b"12" | b"11" | b"10" | b"s3" | b"s2" | b"d1" | b"d2" | b"d3" | b"00")
        && matches!(head[3], b'd' | b'i')
        && head[4..8].iter().all(u8::is_ascii_digit)
        && head[8..].iter().all(u8::is_ascii_alphanumeric)
}

/// Method, version, whether there is a cookie and a referer, how many headers, language.
fn is_ja4h_head(head: &[u8]) -> bool {
    head[..2].iter().all(u8::is_ascii_lowercase)
        && matches!(&head[2..4], b"10" | b"11" | b"20" | b"30" | b"09")
        && matches!(head[4], b'c' | b'n')
        && matches!(head[5], b'r' | b'n')
        && head[6..8].iter().all(u8::is_ascii_digit)
        && head[8..].iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether these are hashes in small letters, each behind an underscore.
fn are_hashes(hashes: &[u8]) -> bool {
    hashes.chunks(1 + HASH).all(|hash| hash[0] == b'_' && hash[1..].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn stands_alone(plain: &str, start: usize, end: usize) -> bool {
    !glued_before(plain, start) && !glued_after(plain, end) && !plain[..start].ends_with('_') && !plain[end..].starts_with('_')
}
