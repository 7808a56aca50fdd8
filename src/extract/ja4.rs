//! JA4 and JA4H, fingerprints of TLS and HTTP clients, by their exact shapes.
//!
//! JA4 is `t13d1516h2_8daaf6152771_b186095e22b6`, JA4H `ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c`.
use super::runs::{glued_after, glued_before};
use super::{Extractor, Found, Needs, Text};
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

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.one_of(b"_").digits(2).run(12);
        &NEEDS
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

#[cfg(test)]
mod tests {
    use super::super::Context::Other;
    use super::super::table::{Row, check};
    use super::*;

    #[test]
    fn a_table_of_tricky_texts() {
        let rows: &[Row] = &[
            (Other, "t13d1516h2_8daaf6152771_b186095e22b6", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, " t13d1516h2_8daaf6152771_b186095e22b6 ", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "(t13d1516h2_8daaf6152771_b186095e22b6)", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "[t13d1516h2_8daaf6152771_b186095e22b6]", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "\"t13d1516h2_8daaf6152771_b186095e22b6\"", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "'t13d1516h2_8daaf6152771_b186095e22b6',", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "<t13d1516h2_8daaf6152771_b186095e22b6>", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "t13d1516h2_8daaf6152771_b186095e22b6.", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "ja4=t13d1516h2_8daaf6152771_b186095e22b6", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "ja4:t13d1516h2_8daaf6152771_b186095e22b6", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "{\"f\":\"t13d1516h2_8daaf6152771_b186095e22b6\"}", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "/x/t13d1516h2_8daaf6152771_b186095e22b6/y", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "是t13d1516h2_8daaf6152771_b186095e22b6", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "\\nt13d1516h2_8daaf6152771_b186095e22b6\\n", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "\tt13d1516h2_8daaf6152771_b186095e22b6\n", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "t13d1516h2_8daaf6152771_b186095e22b6;", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "-t13d1516h2_8daaf6152771_b186095e22b6-", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "`t13d1516h2_8daaf6152771_b186095e22b6`", &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"]),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (Other, " ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c ", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (Other, "(ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c)", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (Other, "[ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c]", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (
                Other,
                "\"ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c\"",
                &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (
                Other,
                "'ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c',",
                &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (Other, "<ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c>", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c.", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (
                Other,
                "ja4=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c",
                &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (
                Other,
                "ja4:ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c",
                &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (
                Other,
                "{\"f\":\"ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c\"}",
                &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (
                Other,
                "/x/ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c/y",
                &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (Other, "是ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (
                Other,
                "\\nge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c\\n",
                &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (
                Other,
                "\tge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c\n",
                &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c;", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (Other, "-ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c-", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (Other, "`ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c`", &["ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"]),
            (Other, "xt13d1516h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "t13d1516h2_8daaf6152771_b186095e22b6x", &[]),
            (Other, "_t13d1516h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "t13d1516h2_8daaf6152771_b186095e22b6_", &[]),
            (Other, "0t13d1516h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "t13d1516h2_8daaf6152771_b186095e22b60", &[]),
            (Other, "t13d1516h2_8daaf6152771_b186095e22b6７", &[]),
            (Other, "７t13d1516h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "t13d1516h2_8daaf6152771_b186095e22b6_8daaf6152771", &[]),
            (Other, "xge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &[]),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726cx", &[]),
            (Other, "_ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &[]),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c_", &[]),
            (Other, "0ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &[]),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c0", &[]),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c７", &[]),
            (Other, "７ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &[]),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c_8daaf6152771", &[]),
            (
                Other,
                "t13d1516h2_8daaf6152771_b186095e22b6 ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c",
                &["ja4=t13d1516h2_8daaf6152771_b186095e22b6", "ja4h=ge11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c"],
            ),
            (
                Other,
                "t13d1516h2_8daaf6152771_b186095e22b6,t13d1516h2_8daaf6152771_b186095e22b6",
                &["ja4=t13d1516h2_8daaf6152771_b186095e22b6"],
            ),
            (Other, "q13i0310h3_55b375c5d22e_cd85d2d88918", &["ja4=q13i0310h3_55b375c5d22e_cd85d2d88918"]),
            (Other, "t13i190900_9dc949149365_97f8aa674fd9", &["ja4=t13i190900_9dc949149365_97f8aa674fd9"]),
            (Other, "dd2d110600_55b375c5d22e_cd85d2d88918", &["ja4=dd2d110600_55b375c5d22e_cd85d2d88918"]),
            (Other, "po20nn06dede_60ca1bd65281_000000000000_000000000000", &["ja4h=po20nn06dede_60ca1bd65281_000000000000_000000000000"]),
            (Other, "T13d1516h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "x13d1516h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "t99d1516h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "t13x1516h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "t13d15a6h2_8daaf6152771_b186095e22b6", &[]),
            (Other, "t13d1516h2_8DAAF6152771_b186095e22b6", &[]),
            (Other, "t13d1516h2_8daaf615277_b186095e22b6", &[]),
            (Other, "t13d1516h2_8daaf6152771-b186095e22b6", &[]),
            (Other, "t13d1516h2_8daaf6152771_b186095e22bg", &[]),
            (Other, "t13d1516h2_8daaf6152771", &[]),
            (Other, "t130200_1301_a56c5b993250", &[]),
            (Other, "ge15cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &[]),
            (Other, "GE11cn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &[]),
            (Other, "ge11xn20enus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &[]),
            (Other, "ge11cn2xenus_60ca1bd65281_ac95b44401d9_8df6a44f726c", &[]),
            (Other, "ge11cn20enus_60ca1bd65281_ac95b44401d9", &[]),
            (Other, "2166164053c1_2166164053c1_30d204a01551", &[]),
            (Other, "____________", &[]),
            (Other, "_", &[]),
            (Other, "", &[]),
        ];
        check(&Ja4, 60, rows);
    }
}
