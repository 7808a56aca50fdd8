//! JSON strings, written by hand: a sink writes tens of thousands of lines a second into its requests, and builds no values for it.
use simdutf8::basic::from_utf8;

/// Appends `text` as a string with its quotes. What is not UTF-8 becomes U+FFFD.
pub fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    match from_utf8(text) {
        Ok(_) => write_escaped(text, out),
        Err(_) => write_escaped(String::from_utf8_lossy(text).as_bytes(), out),
    }
    out.push(b'"');
}

/// Appends a line of the journal, a JSON value, as it stands; only what strict readers refuse in strings is replaced by U+FFFD:
/// bytes that are not UTF-8, and escapes of half a surrogate pair, which Python writes. Else an attacker could spoil batches.
pub fn write_value(json: &[u8], out: &mut Vec<u8>) {
    let lossy;
    let json = match from_utf8(json) {
        Ok(_) => json,
        Err(_) => {
            lossy = String::from_utf8_lossy(json);
            lossy.as_bytes()
        }
    };
    let suspect = |at: usize| matches!(json.get(at + 1..at + 3), Some([b'u', b'd' | b'D']));
    let Some(first) = memchr::memchr_iter(b'\\', json).find(|&at| suspect(at)) else {
        out.extend_from_slice(json);
        return;
    };
    // An escaped backslash may stand before what was found, but not before the beginning of its run.
    let mut at = json[..first].iter().rposition(|&byte| byte != b'\\').map_or(0, |before| before + 1);
    out.extend_from_slice(&json[..at]);
    while at < json.len() {
        let rest = &json[at..];
        let len = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(_), _) => {
                out.extend_from_slice(b"\\ufffd");
                at += 6;
                continue;
            }
            (None, _) if rest[0] == b'\\' => 2.min(rest.len()),
            (None, _) => memchr::memchr(b'\\', rest).unwrap_or(rest.len()),
        };
        out.extend_from_slice(&rest[..len]);
        at += len;
    }
}

/// Half of a surrogate pair, when `json` begins with its escape.
fn surrogate(json: &[u8]) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = json.first_chunk::<6>()? else { return None };
    let unit = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    matches!(unit, 0xD800..=0xDFFF).then_some(unit)
}

/// Appends a number.
pub fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends bytes in hexadecimal, lower case, without quotes.
pub fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// For each byte what follows the backslash in its place: `u` for `\u00…`, 0 when it stays as it is.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escapes[byte] = b'u';
        byte += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0A] = b'n';
    escapes[0x0C] = b'f';
    escapes[0x0D] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + text.len() / 8);
    let mut start = 0;
    for (at, &byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&text[start..at]);
        start = at + 1;
        if escape == b'u' {
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.extend_from_slice(&[b'\\', escape]);
        }
    }
    out.extend_from_slice(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &[u8]) -> String {
        let mut out = Vec::new();
        write_string(text, &mut out);
        String::from_utf8(out).expect("always UTF-8")
    }

    #[test]
    fn every_character_is_written_as_serde_json_writes_it() {
        for text in (0..=0x2FFu32).chain([0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x1F41D]).filter_map(char::from_u32).map(String::from) {
            assert_eq!(written(text.as_bytes()), serde_json::to_string(&text).expect("a string"));
        }
    }

    #[test]
    fn values_stay_as_they_are_but_for_what_strict_readers_refuse() {
        let cases: &[(&[u8], &str)] = &[
            (br#"{"a":"plain","b":[1e400,"\u0041\n"]}"#, r#"{"a":"plain","b":[1e400,"\u0041\n"]}"#),
            (br#"{"a":"\ud83d\uDC1d"}"#, r#"{"a":"\ud83d\uDC1d"}"#),
            (br#"{"a":"x\ud83d"}"#, r#"{"a":"x\ufffd"}"#),
            (br#"{"a":"\udc1d\ud83d"}"#, r#"{"a":"\ufffd\ufffd"}"#),
            (br#"{"a":"\ud83d\ud83d\udc1d"}"#, r#"{"a":"\ufffd\ud83d\udc1d"}"#),
            (br#"{"a":"\\ud83d"}"#, r#"{"a":"\\ud83d"}"#),
            (br#"{"a":"\\\ud83d\\"}"#, r#"{"a":"\\\ufffd\\"}"#),
            (br#"{"a":"\ud83d\n\udc1d"}"#, r#"{"a":"\ufffd\n\ufffd"}"#),
            (b"{\"a\":\"\xff\"}", "{\"a\":\"\u{fffd}\"}"),
            (b"\\ud8", "\\ud8"),
            (b"\\", "\\"),
        ];
        for (json, expected) in cases {
            let mut out = Vec::new();
            write_value(json, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), *expected);
        }
    }

    proptest! {
        #[test]
        fn strings_of_any_escapes_become_readable(escapes in "(\\\\\\\\|\\\\u[dD][89abcdefABCDEF][0-9a-f]{2}|\\\\n|x|é){0,12}") {
            let mut out = Vec::new();
            write_value(format!("{{\"a\":\"{escapes}\"}}").as_bytes(), &mut out);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
        }

        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in ".*|[\\x00-\\x7f\u{80}\u{2028}🐝]*") {
            prop_assert_eq!(written(text.as_bytes()), serde_json::to_string(&text).expect("a string"));
        }

        #[test]
        fn bytes_that_are_no_text_are_replaced(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(written(&bytes), serde_json::to_string(&String::from_utf8_lossy(&bytes)).expect("a string"));
        }

        #[test]
        fn numbers_are_written_in_full(number in any::<u64>()) {
            let mut out = Vec::new();
            write_number(number, &mut out);
            write_hex(&number.to_be_bytes(), &mut out);
            prop_assert_eq!(out, format!("{number}{number:016x}").into_bytes());
        }
    }
}
