//! A strict JSON scanner for lines that attackers write.
//!
//! It validates a whole value (RFC 8259, any bytes above 0x7F inside strings), hands out the members of the outermost
//! object as slices of the input, and builds nothing. Why not a library: on real Cowrie lines it takes half the time of
//! serde_json with a visitor; it never recurses, whatever the input (sonic-rs overflows the stack on nested arrays); lone
//! surrogate escapes, which Python writes and serde_json refuses, come out as U+FFFD; every flaw has its column; and arrays
//! are split by the same code. The tests hold it against serde_json.
use super::JSON_DEPTH_MAX;
use std::ops::Range;

/// What is wrong with a line, without a byte of the line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub kind: FlawKind,
    pub what: &'static str,
    /// Offset of the offending byte.
    pub at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// An object that lacks what its format cannot do without.
    Malformed,
    /// Not JSON, or JSON but no object.
    NotAnObject,
    /// Nested deeper than [`JSON_DEPTH_MAX`].
    TooDeep,
}

impl Flaw {
    #[cold]
    pub(super) fn malformed(what: &'static str) -> Flaw {
        Flaw { kind: FlawKind::Malformed, what, at: 0 }
    }

    #[cold]
    pub(super) fn not_an_object(what: &'static str, at: usize) -> Flaw {
        Flaw { kind: FlawKind::NotAnObject, what, at }
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            FlawKind::Malformed => f.write_str(self.what),
            _ => write!(f, "{} at column {}", self.what, self.at + 1),
        }
    }
}

/// The inside of a string literal, as it stands in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literal<'a> {
    pub raw: &'a [u8],
    /// Offset of `raw` in the scanned input.
    pub at: usize,
    /// Escapes occur: the text is what [`unescape`] makes of `raw`.
    pub escaped: bool,
}

/// A member's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    String(Literal<'a>),
    /// The digits as they stand in the input, and their offset.
    Number(&'a [u8], usize),
    Boolean,
    Null,
    /// Validated and passed over: where it begins in the input, and where it ends. [`elements_of`] visits it.
    Array(usize, usize),
    /// Likewise; [`members_of`] visits it.
    Object(usize, usize),
}

/// The types of values, as a schema knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Type {
    String,
    Integer,
    Float,
    Boolean,
    Null,
    Array,
    Object,
}

impl Type {
    pub const ALL: [Type; 7] = [Type::String, Type::Integer, Type::Float, Type::Boolean, Type::Null, Type::Array, Type::Object];

    pub const fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::Integer => "integer",
            Type::Float => "float",
            Type::Boolean => "boolean",
            Type::Null => "null",
            Type::Array => "array",
            Type::Object => "object",
        }
    }

    pub fn parse(name: &str) -> Option<Type> {
        Type::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl Value<'_> {
    #[inline(always)]
    pub fn kind(&self) -> Type {
        match self {
            Value::String(_) => Type::String,
            Value::Number(digits, _) if digits.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => Type::Float,
            Value::Number(..) => Type::Integer,
            Value::Boolean => Type::Boolean,
            Value::Null => Type::Null,
            Value::Array(..) => Type::Array,
            Value::Object(..) => Type::Object,
        }
    }
}

impl Literal<'_> {
    /// Whether it spells `text`, with or without escapes.
    #[inline]
    pub fn is(&self, text: &[u8]) -> bool {
        if self.escaped { self.spells(text) } else { self.raw == text }
    }

    #[cold]
    fn spells(&self, text: &[u8]) -> bool {
        // No escape is longer than six times what it stands for.
        if self.raw.len() > 6 * text.len() {
            return false;
        }
        let mut spelt = Vec::with_capacity(self.raw.len());
        unescape(self.raw, &mut spelt);
        spelt == text
    }
}

/// Validates `line` as one object with nothing but white space around it, and calls `visit` for each member in order.
///
/// Members are visited before the rest of the line is known to be valid: on an error forget what was visited.
#[inline]
pub fn members<'a>(line: &'a [u8], visit: impl FnMut(Literal<'a>, Value<'a>)) -> Result<(), Flaw> {
    let mut scanner = Scanner { bytes: line, at: 0 };
    scanner.skip_space();
    match scanner.peek() {
        Some(b'{') => scanner.members(visit)?,
        Some(_) => return Err(Flaw::not_an_object("expected an object", scanner.at)),
        None => return Err(Flaw::not_an_object("nothing but white space", scanner.at)),
    }
    scanner.skip_space();
    match scanner.peek() {
        None => Ok(()),
        Some(_) => Err(Flaw::not_an_object("something behind the object", scanner.at)),
    }
}

/// Where a member's value lies in `line`, its quotes included.
pub fn range_of(line: &[u8], name: Literal<'_>, value: Value<'_>) -> Range<usize> {
    element_range(value).unwrap_or_else(|| {
        // `true`, `false` or `null`, behind the colon that follows the name's quote.
        let from = name.at + name.raw.len() + 1;
        let word = |byte: &u8| byte.is_ascii_lowercase();
        let start = from + line[from..].iter().position(word).unwrap_or(0);
        start..start + line[start..].iter().take_while(|byte| word(byte)).count()
    })
}

/// Where a value lies, its quotes included; of `true`, `false` and `null` it does not know.
pub fn element_range(value: Value<'_>) -> Option<Range<usize>> {
    match value {
        Value::String(literal) => Some(literal.at - 1..literal.at + literal.raw.len() + 1),
        Value::Number(digits, at) => Some(at..at + digits.len()),
        Value::Array(from, to) | Value::Object(from, to) => Some(from..to),
        Value::Boolean | Value::Null => None,
    }
}

/// The members of an object inside of `line`, as [`Value::Object`] gave it. Offsets are those in `line`.
///
/// What is nested is scanned again when it is wanted: formats that want nothing nested pay nothing.
pub fn members_of<'a>(line: &'a [u8], (start, end): (usize, usize), visit: impl FnMut(Literal<'a>, Value<'a>)) {
    let mut scanner = Scanner { bytes: &line[..end], at: start };
    let visited = scanner.members(visit);
    debug_assert!(visited.is_ok(), "it was validated when it was passed over");
}

/// The elements of an array inside of `line`, as [`Value::Array`] gave it, until `visit` answers false.
pub fn elements_of<'a>(line: &'a [u8], (start, end): (usize, usize), mut visit: impl FnMut(Value<'a>) -> bool) {
    let mut scanner = Scanner { bytes: &line[..end], at: start + 1 };
    loop {
        scanner.skip_space();
        match scanner.peek() {
            None | Some(b']') => return,
            Some(b',') => scanner.at += 1,
            Some(_) => {
                let Ok(value) = scanner.value() else { return };
                if !visit(value) {
                    return;
                }
            }
        }
    }
}

/// Appends the text of a string literal without its escapes. A surrogate without its partner becomes U+FFFD.
pub fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = rest.get(at + 1).copied();
        rest = rest.get(at + 2..).unwrap_or_default();
        match escape {
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'u') => {
                let mut unit = code_unit(rest).unwrap_or(0xFFFD);
                rest = rest.get(4..).unwrap_or_default();
                if (0xD800..0xDC00).contains(&unit)
                    && let [b'\\', b'u', tail @ ..] = rest
                    && let Some(low @ 0xDC00..=0xDFFF) = code_unit(tail)
                {
                    unit = 0x10000 + ((unit - 0xD800) << 10 | (low - 0xDC00));
                    rest = &tail[4..];
                }
                let character = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Some(byte) => out.push(byte),
            None => {}
        }
    }
    out.extend_from_slice(rest);
}

fn code_unit(digits: &[u8]) -> Option<u32> {
    digits.get(..4)?.iter().try_fold(0, |unit, &digit| Some(unit << 4 | (digit as char).to_digit(16)?))
}

/// Walks over JSON; every method that fails leaves it where the flaw is.
pub(super) struct Scanner<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Scanner<'a> {
    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[cold]
    pub fn flaw(&self, what: &'static str) -> Flaw {
        Flaw::not_an_object(if self.at >= self.bytes.len() { "ends too early" } else { what }, self.at.min(self.bytes.len()))
    }

    /// The members of an object; the scanner stands at its brace.
    #[inline(always)]
    fn members(&mut self, mut visit: impl FnMut(Literal<'a>, Value<'a>)) -> Result<(), Flaw> {
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.key()?;
            let value = self.value()?;
            visit(key, value);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.flaw("expected ',' or '}'")),
            }
            self.skip_space();
        }
    }

    /// A member's name and the colon behind it; leaves the scanner at its value.
    #[inline(always)]
    fn key(&mut self) -> Result<Literal<'a>, Flaw> {
        if self.peek() != Some(b'"') {
            return Err(self.flaw("expected a member's name"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.flaw("expected ':'"));
        }
        self.at += 1;
        self.skip_space();
        Ok(key)
    }

    #[inline(always)]
    fn value(&mut self) -> Result<Value<'a>, Flaw> {
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                self.number()?;
                Ok(Value::Number(&self.bytes[start..self.at], start))
            }
            first => {
                let start = self.at;
                self.skip_value(1)?;
                Ok(match first {
                    Some(b'{') => Value::Object(start, self.at),
                    Some(b'[') => Value::Array(start, self.at),
                    Some(b'n') => Value::Null,
                    _ => Value::Boolean,
                })
            }
        }
    }

    /// A string literal; the scanner stands at its opening quote.
    #[inline(always)]
    fn string(&mut self) -> Result<Literal<'a>, Flaw> {
        let start = self.at + 1;
        let end = plain_end(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Literal { raw: &self.bytes[start..end], at: start, escaped: false });
        }
        self.at = end;
        self.string_with_escapes(start)
    }

    /// The rest of a literal which began at `start`; the scanner stands at something that is not plain.
    #[inline(never)]
    fn string_with_escapes(&mut self, start: usize) -> Result<Literal<'a>, Flaw> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Literal { raw, at: start, escaped: true });
                }
                Some(b'\\') => match self.bytes.get(self.at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                    Some(b'u') if self.bytes.get(self.at + 2..self.at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => {
                        self.at += 6;
                    }
                    None => {
                        self.at += 1;
                        return Err(self.flaw("ends too early"));
                    }
                    Some(_) => return Err(self.flaw("invalid escape")),
                },
                Some(_) => return Err(self.flaw("control character in a string")),
                None => return Err(self.flaw("ends too early")),
            }
            self.at = plain_end(self.bytes, self.at);
        }
    }

    #[inline]
    fn number(&mut self) -> Result<(), Flaw> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.flaw("invalid number")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.flaw("invalid number"));
            }
            self.digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.flaw("invalid number"));
            }
            self.digits();
        }
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), Flaw> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.flaw("expected a value"))
    }

    /// Validates the value at the scanner, which lies inside `depth` objects and arrays, and passes over it.
    ///
    /// The open brackets are the bits of one number, so that depth costs neither memory nor stack.
    pub fn skip_value(&mut self, depth: usize) -> Result<(), Flaw> {
        const { assert!(JSON_DEPTH_MAX <= 64) };
        let mut open = 0usize;
        let mut objects = 0u64;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                Some(bracket @ (b'{' | b'[')) => {
                    if depth + open == JSON_DEPTH_MAX {
                        return Err(Flaw { kind: FlawKind::TooDeep, what: "nested too deep", at: self.at });
                    }
                    self.at += 1;
                    open += 1;
                    objects = objects << 1 | u64::from(bracket == b'{');
                    self.skip_space();
                    let empty = self.peek() == Some(if bracket == b'{' { b'}' } else { b']' });
                    if !empty {
                        if bracket == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => return Err(self.flaw("expected a value")),
            }
            // A value ended, or an empty bracket is about to be closed: go on to the next value, closing what closes here.
            loop {
                if open == 0 {
                    return Ok(());
                }
                self.skip_space();
                let in_object = objects & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.skip_space();
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if in_object => {}
                    Some(b']') if !in_object => {}
                    _ => return Err(self.flaw(if in_object { "expected ',' or '}'" } else { "expected ',' or ']'" })),
                }
                self.at += 1;
                open -= 1;
                objects >>= 1;
            }
        }
    }
}

/// The first byte from `at` on that cannot stand for itself in a string: a quote, a backslash or a control character.
#[inline(always)]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        let found = not_plain_of_16(block);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let found = not_plain(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

/// One bit for each byte that is a quote, a backslash or a control character.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
fn not_plain_of_16(block: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    // SAFETY: these need SSE2, which the build has, or this function would not exist; the load is of exactly 16 bytes.
    unsafe {
        let block = _mm_loadu_si128(block.as_ptr().cast());
        let quotes = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'"' as i8));
        let backslashes = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'\\' as i8));
        let controls = _mm_cmpeq_epi8(_mm_max_epu8(block, _mm_set1_epi8(0x1F)), _mm_set1_epi8(0x1F));
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls)) as u32
    }
}

/// The high bit of each byte that is a quote, a backslash or a control character; only the lowest one is reliable
/// (the classic search for a zero byte borrows from the bytes above).
#[inline(always)]
fn not_plain(word: u64) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quotes = word ^ (LOW * b'"' as u64);
    let backslashes = word ^ (LOW * b'\\' as u64);
    let below = |word: u64, limit: u64| word.wrapping_sub(LOW * limit) & !word & HIGH;
    below(quotes, 1) | below(backslashes, 1) | below(word, 0x20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepted(line: &[u8]) -> bool {
        members(line, |_, _| {}).is_ok()
    }

    /// serde_json's opinion, valid for UTF-8 up to our depth.
    fn is_object(line: &[u8]) -> bool {
        let start = line.iter().find(|byte| !b" \t\r\n".contains(byte));
        start == Some(&b'{') && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
    }

    #[test]
    fn hands_out_members_as_they_stand() {
        let line = br#" {"a": "x" ,"b\n":"\u0041\"", "n":-1.5e+3,"l":[{"a":[]},"]"],"o":{},"t":true,"z":null} "#;
        let mut seen = Vec::new();
        members(line, |key, value| {
            let value = match value {
                Value::String(text) => {
                    assert_eq!(&line[text.at..text.at + text.raw.len()], text.raw);
                    let mut out = Vec::new();
                    unescape(text.raw, &mut out);
                    String::from_utf8(out).unwrap()
                }
                Value::Number(digits, at) => {
                    assert_eq!(&line[at..at + digits.len()], digits);
                    String::from_utf8(digits.to_vec()).unwrap()
                }
                _ => "-".into(),
            };
            seen.push((String::from_utf8(key.raw.to_vec()).unwrap(), value));
        })
        .unwrap();
        let expected = [("a", "x"), ("b\\n", "A\""), ("n", "-1.5e+3"), ("l", "-"), ("o", "-"), ("t", "-"), ("z", "-")];
        assert_eq!(seen, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn flaws_name_the_column_and_nothing_of_the_line() {
        for (line, message) in [
            (&b""[..], "nothing but white space at column 1"),
            (b"  ", "nothing but white space at column 3"),
            (b"hello", "expected an object at column 1"),
            (b"[]", "expected an object at column 1"),
            (b"{", "ends too early at column 2"),
            (b"{\"a", "ends too early at column 4"),
            (b"{\"a\\", "ends too early at column 5"),
            (b"{\"a\" 1}", "expected ':' at column 6"),
            (b"{\"a\":1,}", "expected a member's name at column 8"),
            (b"{\"a\":1 \"b\":2}", "expected ',' or '}' at column 8"),
            (b"{\"a\":NaN}", "expected a value at column 6"),
            (b"{\"a\":01}", "expected ',' or '}' at column 7"),
            (b"{\"a\":1.}", "invalid number at column 8"),
            (b"{\"a\":\"\x01\"}", "control character in a string at column 7"),
            (b"{\"a\":\"\\x\"}", "invalid escape at column 7"),
            (b"{\"a\":[1}", "expected ',' or ']' at column 8"),
            (b"{\"a\":{\"b\":1]", "expected ',' or '}' at column 12"),
            (b"{}x", "something behind the object at column 3"),
        ] {
            assert_eq!(members(line, |_, _| {}).unwrap_err().to_string(), message, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn depth_is_bounded_and_never_costs_stack() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(accepted(nested(JSON_DEPTH_MAX).as_bytes()));
        for levels in [JSON_DEPTH_MAX + 1, 10_000, 5_000_000] {
            let flaw = members(nested(levels).as_bytes(), |_, _| {}).unwrap_err();
            assert_eq!((flaw.kind, flaw.at), (FlawKind::TooDeep, 5 + JSON_DEPTH_MAX - 1));
        }
        let objects = format!("{}1{}", "{\"a\":".repeat(JSON_DEPTH_MAX), "}".repeat(JSON_DEPTH_MAX));
        assert!(accepted(objects.as_bytes()));
        assert!(!accepted(format!("{{\"a\":{objects}}}").as_bytes()));
    }

    #[test]
    fn surrogates_without_a_partner_become_replacement_characters() {
        for (raw, text) in [
            (&br"\ud83d\ude00"[..], "😀"),
            (br"\udc80", "\u{FFFD}"),
            (br"a\ud800b", "a\u{FFFD}b"),
            (br"\ud800\ud83d\ude00", "\u{FFFD}😀"),
            (br"\ud800\u0041", "\u{FFFD}A"),
            (br"\u0000\b\f\n\r\t\/\\", "\0\u{8}\u{c}\n\r\t/\\"),
        ] {
            let mut out = Vec::new();
            unescape(raw, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn finds_the_end_of_plain_text_at_every_length_and_byte() {
        for len in 0..70 {
            for byte in 0..=255u8 {
                let mut text = vec![b'a'; len];
                text.push(byte);
                let plain = byte >= 0x20 && byte != b'"' && byte != b'\\';
                assert_eq!(plain_end(&text, 0), if plain { len + 1 } else { len });
                text.splice(0..0, [0x7F, 0x80, 0xFF, b'!', b'#', b'[', b']', b' ']);
                assert_eq!(plain_end(&text, 0), text.len() - usize::from(!plain));
                text.extend_from_slice(b"\"\x1f\\\"\0\"\"\"\"");
                assert_eq!(plain_end(&text, 0), if plain { len + 9 } else { len + 8 });
            }
        }
    }

    /// Text that is JSON more often than not.
    fn nearly_json() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"a\"",
            "\"a\":",
            "1",
            "-0.5e9",
            "01",
            "true",
            "nul",
            " ",
            "\\",
            "\\u12",
            "\"\\ud800\"",
            "é",
            "\t",
        ]);
        prop::collection::vec(token, 0..12).prop_map(|tokens| format!("{{{}}}", tokens.concat()))
    }

    fn json_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_nearly_json(text in nearly_json()) {
            prop_assert_eq!(accepted(text.as_bytes()), is_object(text.as_bytes()));
        }

        #[test]
        fn agrees_with_serde_json_on_damaged_json(value in json_value(), pretty: bool, at: prop::sample::Index, byte in 0x09u8..0x7F) {
            let value = serde_json::json!({ "value": value });
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert!(accepted(text.as_bytes()));
            let cut = at.index(text.len());
            if text.is_char_boundary(cut) {
                prop_assert_eq!(accepted(&text.as_bytes()[..cut]), is_object(&text.as_bytes()[..cut]));
            }
            let mut damaged = text.into_bytes();
            if damaged[cut].is_ascii() {
                damaged[cut] = byte;
                prop_assert_eq!(accepted(&damaged), is_object(&damaged));
            }
        }

        #[test]
        fn any_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = accepted(&bytes);
        }

        #[test]
        fn unescaping_undoes_serde_json(text: String) {
            let literal = serde_json::to_string(&text).unwrap();
            let mut out = Vec::new();
            unescape(&literal.as_bytes()[1..literal.len() - 1], &mut out);
            prop_assert_eq!(out, text.into_bytes());
        }
    }
}
