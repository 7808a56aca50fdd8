//! Preparing a text: look-alikes folded to ASCII, invisible characters removed, escapes undone, defanged forms made whole,
//! while every offset keeps the way back to what was written.
//!
//! A text that needs none of this costs a look at which bytes occur in it, and is passed on as it is.
use super::needs::{ByteSet, Seen};
use super::{Context, Text, decode, domain};
use std::ops::Range;

/// Longest bracketed or quoted piece that is looked through, bytes.
const WINDOW_BYTES: usize = 64;

/// The last place at or before `at` where `text` may be cut.
pub(super) fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// A text after preparation.
#[derive(Debug)]
pub(super) struct Prepared {
    pub plain: String,
    pub origins: Vec<(u32, u32)>,
    pub defanged: Vec<u32>,
}

impl Prepared {
    pub fn text<'a>(&'a self, context: Context, verbatim: &'a str) -> Text<'a> {
        Text { context, verbatim, plain: &self.plain, defanged: &self.defanged, origins: &self.origins, fetched: &[] }
    }
}

/// Prepares a text; nothing when it can be read as it stands.
pub(super) fn prepare(context: Context, text: &str, seen: &Seen) -> Option<Prepared> {
    const BRACKETS: ByteSet = ByteSet::of(b"[({])}");
    if context == Context::Hash {
        return None;
    }
    let mut stages = Stages { text, done: None };
    let mut seen = *seen;
    if context != Context::Chat {
        let noisy = if context == Context::Command { ByteSet::of(b"\\$'\"") } else { ByteSet::of(b"\\") };
        for _ in 0..super::LAYERS_MAX {
            if !seen.any(noisy) || !stages.apply(|text| decode::unescape(context, text)) {
                break;
            }
            seen = Seen::of(stages.now());
        }
    }
    if seen.any(ByteSet::BEYOND_ASCII) && stages.apply(fold) {
        seen = Seen::of(stages.now());
    }
    let spelled_out = context != Context::Command && seen.has(b' ') && is_spelled_out(stages.now());
    let scheme = seen.has(b':') && seen.any(ByteSet::of(b"xX*,_"));
    if seen.any(BRACKETS) || scheme || spelled_out {
        stages.apply(|text| refang(text, spelled_out));
    }
    stages.done
}

/// The text between one stage and the next.
struct Stages<'a> {
    text: &'a str,
    done: Option<Prepared>,
}

impl Stages<'_> {
    fn now(&self) -> &str {
        self.done.as_ref().map_or(self.text, |done| &done.plain)
    }

    /// Whether the stage changed anything.
    fn apply(&mut self, stage: impl FnOnce(&str) -> Option<Prepared>) -> bool {
        let Some(mut next) = stage(self.now()) else {
            return false;
        };
        if let Some(earlier) = &self.done {
            next.origins = chain(&earlier.origins, &next.origins);
        }
        self.done = Some(next);
        true
    }
}

/// Where a thing that begins at `at` began: behind whatever was removed there.
pub(super) fn origin_of_start(origins: &[(u32, u32)], at: usize) -> usize {
    let next = origins.partition_point(|&(plain, _)| plain as usize <= at);
    in_step(origins, next, at)
}

/// Where a thing that ends at `at` ended: before whatever was removed there.
pub(super) fn origin_of_end(origins: &[(u32, u32)], at: usize) -> usize {
    end_from(origins, origins.partition_point(|&(plain, _)| (plain as usize) < at), at)
}

/// [`origin_of_end`]; `next` is the first pair not before `at`.
fn end_from(origins: &[(u32, u32)], next: usize, at: usize) -> usize {
    match origins.get(next) {
        Some(&(plain, origin)) if plain as usize == at => origin as usize,
        _ => in_step(origins, next, at),
    }
}

fn in_step(origins: &[(u32, u32)], next: usize, at: usize) -> usize {
    let (plain, origin) = if next == 0 { (0, 0) } else { origins[next - 1] };
    let stepped = origin as usize + (at - plain as usize);
    origins.get(next).map_or(stepped, |&(_, origin)| stepped.min(origin as usize))
}

/// The way back through two stages. Pairs of `second` come in twos (before and after a replacement), as [`Rewrite`] makes them.
fn chain(first: &[(u32, u32)], second: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut origins = Vec::with_capacity(first.len() + second.len());
    let mut taken = 0;
    let (mut plain, mut middle) = (0, 0);
    for replaced in second.chunks_exact(2) {
        let ((before, middle_before), (after, middle_after)) = (replaced[0], replaced[1]);
        // Both places ascend, so that none has to be searched for.
        taken = step_over(first, taken, plain, middle, middle_before, &mut origins);
        origins.push((before, end_from(first, taken, middle_before as usize) as u32));
        while first.get(taken).is_some_and(|&(at, _)| at <= middle_after) {
            taken += 1;
        }
        origins.push((after, in_step(first, taken, middle_after as usize) as u32));
        (plain, middle) = (after, middle_after);
    }
    step_over(first, taken, plain, middle, u32::MAX, &mut origins);
    origins
}

/// Pairs of the first stage that lie in a stretch where the second one changed nothing.
fn step_over(first: &[(u32, u32)], mut taken: usize, plain: u32, middle: u32, end: u32, origins: &mut Vec<(u32, u32)>) -> usize {
    while let Some(&(at, origin)) = first.get(taken).filter(|&&(at, _)| at < end) {
        origins.push((plain + (at - middle), origin));
        taken += 1;
    }
    taken
}

/// Builds a changed copy of a text.
pub(super) struct Rewrite<'a> {
    source: &'a str,
    taken: usize,
    plain: String,
    origins: Vec<(u32, u32)>,
    defanged: Vec<u32>,
}

impl<'a> Rewrite<'a> {
    pub fn of(source: &'a str) -> Rewrite<'a> {
        Rewrite { source, taken: 0, plain: String::new(), origins: Vec::new(), defanged: Vec::new() }
    }

    /// Puts `with` where `range` of the source stands. Ranges must ascend.
    pub fn replace(&mut self, range: Range<usize>, with: &str) {
        if self.origins.is_empty() {
            self.plain.reserve(self.source.len());
            self.origins.reserve(self.source.len() / 4);
        }
        self.plain.push_str(&self.source[self.taken..range.start]);
        self.origins.push((self.plain.len() as u32, range.start as u32));
        self.plain.push_str(with);
        self.origins.push((self.plain.len() as u32, range.end as u32));
        self.taken = range.end;
    }

    /// [`Rewrite::replace`], for what had been defanged.
    fn refang(&mut self, range: Range<usize>, with: &str) {
        self.replace(range, with);
        self.defanged.push((self.plain.len() - with.len()) as u32);
    }

    /// The changed text; nothing when nothing was replaced.
    pub fn finish(mut self) -> Option<Prepared> {
        if self.origins.is_empty() {
            return None;
        }
        self.plain.push_str(&self.source[self.taken..]);
        Some(Prepared { plain: self.plain, origins: self.origins, defanged: self.defanged })
    }
}

/// Folds characters that look like ASCII, and removes those that cannot be seen.
fn fold(text: &str) -> Option<Prepared> {
    let mut rewrite = Rewrite::of(text);
    let mut before = ' ';
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let range = at..at + char.len_utf8();
        let mut buffer = [0; 4];
        match char {
            '\0'..='\x7f' => {}
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fe00}'..='\u{fe0f}' => {
                rewrite.replace(range, "");
                continue;
            }
            '\u{ff0e}' | '\u{3002}' | '\u{ff61}' | '\u{2024}' | '\u{fe52}' => {
                // The full stop of a sentence stays what it is: a dot only between two pieces of a name.
                let next = chars.peek().map_or(' ', |&(_, next)| folded(next).unwrap_or(next));
                if is_name_char(before) && is_name_char(next) && (char != '\u{3002}' || (before.is_ascii() && next.is_ascii())) {
                    rewrite.replace(range, ".");
                    before = '.';
                    continue;
                }
            }
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => rewrite.replace(range, " "),
            _ => {
                if let Some(ascii) = folded(char) {
                    rewrite.replace(range, ascii.encode_utf8(&mut buffer));
                    before = ascii;
                    continue;
                }
            }
        }
        before = char;
    }
    rewrite.finish()
}

/// The ASCII character that this one looks like.
fn folded(char: char) -> Option<char> {
    match char {
        // Punctuation of sentences ends a name and stays what it is.
        '，' | '；' | '！' | '？' | '（' | '）' => None,
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(char as u32 - 0xfee0),
        '\u{2010}' | '\u{2011}' | '\u{fe63}' => Some('-'),
        '\u{fe55}' | '\u{a789}' | '\u{2236}' => Some(':'),
        '\u{2044}' | '\u{2215}' => Some('/'),
        '\u{fe6b}' => Some('@'),
        _ => None,
    }
}

fn is_name_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || (!char.is_ascii() && char.is_alphabetic())
}

/// Whether dots or at signs may have been written as words between blanks.
fn is_spelled_out(text: &str) -> bool {
    memchr::memchr2_iter(b'd', b'D', text.as_bytes()).any(|at| {
        let bytes = text.as_bytes();
        at > 0 && bytes[at - 1] == b' ' && bytes.len() > at + 4 && bytes[at + 3] == b' ' && bytes[at..at + 3].eq_ignore_ascii_case(b"dot")
    })
}

/// Makes defanged forms whole.
fn refang(text: &str, spelled_out: bool) -> Option<Prepared> {
    let bytes = text.as_bytes();
    let mut rewrite = Rewrite::of(text);
    // A bracket opened right behind `://` that is no IPv6 address is dropped, and so is the one that closes it.
    let mut stray = false;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let end = match byte {
            b'[' | b'(' | b'{' => opening(bytes, at, &mut rewrite, &mut stray),
            b']' | b')' | b'}' => {
                // The second half of a pair of which the first was left out: `example.]com` is taken at its dot.
                let end = (byte == b']' && stray).then_some(at + 1);
                if end.is_some() {
                    rewrite.refang(at..at + 1, "");
                    stray = false;
                }
                end
            }
            b'.' => matches!(bytes.get(at + 1), Some(b']' | b')' | b'}'))
                .then_some(at + 2)
                .filter(|&end| ends_name(bytes, at) && begins_name(bytes, end))
                .inspect(|&end| rewrite.refang(at..end, ".")),
            b':' if bytes[at..].starts_with(b"://") => {
                commas(bytes, at + 3, &mut rewrite);
                Some(rewrite.taken.max(at + 3))
            }
            b'h' | b'H' | b'f' | b'F' => scheme(bytes, at, &mut rewrite),
            b' ' if spelled_out => word(text, at, &mut rewrite),
            b'/' | b' ' => {
                stray = false;
                None
            }
            _ => None,
        };
        at = end.unwrap_or(at + 1);
    }
    rewrite.finish()
}

/// Whether a name may end before `at`.
fn ends_name(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] >= 0x80 || bytes[at - 1] == b']' || bytes[at - 1] == b'-')
}

/// Whether a name may begin at `at`.
fn begins_name(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte >= 0x80)
}

/// What stands in brackets for one character: `[.]`, `(dot)`, `{@}`, `[://]`, or only its first half (`example[.com`).
fn opening(bytes: &[u8], at: usize, rewrite: &mut Rewrite<'_>, stray: &mut bool) -> Option<usize> {
    const TOKENS: &[(&[u8], &str)] = &[
        (b".", "."),
        (b"dot", "."),
        (b"d0t", "."),
        (b"://", "://"),
        (b":", ":"),
        (b"/", "/"),
        (b"//", "//"),
        (b"@", "@"),
        (b"at", "@"),
        (b"-", "-"),
    ];
    if bytes[at] == b'[' && bytes[..at].ends_with(b"://") {
        let window = &bytes[at + 1..bytes.len().min(at + 1 + WINDOW_BYTES)];
        let end = window.iter().position(|&byte| !(byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')));
        let is_address = end.is_some_and(|end| matches!(window[end], b']' | b'%') && window[..end].contains(&b':'));
        if is_address || !begins_name(bytes, at + 1) {
            return None;
        }
        rewrite.refang(at..at + 1, "");
        *stray = true;
        return Some(at + 1);
    }
    let inside = at + 1 + usize::from(bytes.get(at + 1) == Some(&b' '));
    for &(token, with) in TOKENS {
        let Some(written) = bytes.get(inside..inside + token.len()).filter(|written| written.eq_ignore_ascii_case(token)) else {
            continue;
        };
        let mut end = inside + written.len();
        end += usize::from(bytes.get(end) == Some(&b' '));
        let closes = matches!(bytes.get(end), Some(b']' | b')' | b'}'));
        if !closes {
            // The closing half was left out; only a dot is plain enough for that.
            if token == b"." && bytes[at] == b'[' && ends_name(bytes, at) && begins_name(bytes, end) {
                rewrite.refang(at..end, with);
                return Some(end);
            }
            continue;
        }
        end += 1;
        let is_word = token.len() > 1 && token[0].is_ascii_alphabetic();
        let mut start = at;
        if is_word || token == b"@" {
            // Words may stand between blanks: `user (at) example (dot) com`.
            if start > rewrite.taken && bytes[start - 1] == b' ' && bytes.get(end) == Some(&b' ') {
                start -= 1;
                end += 1;
            }
        }
        let fits = match token {
            b":" => ends_name(bytes, start) && (bytes.get(end) == Some(&b'/') || begins_name(bytes, end)),
            b"/" | b"//" => start > 0 && !bytes[start - 1].is_ascii_whitespace() && bytes.get(end) != Some(&b'.'),
            b"://" => ends_name(bytes, start),
            _ => ends_name(bytes, start) && begins_name(bytes, end),
        };
        if fits {
            rewrite.refang(start..end, with);
            // What the scheme was followed by may itself hide a comma.
            return Some(end);
        }
        return None;
    }
    None
}

/// `http://example,com/`: a comma for a dot, where the host has no dot at all and ends in a public suffix.
fn commas(bytes: &[u8], start: usize, rewrite: &mut Rewrite<'_>) {
    let window = &bytes[start..bytes.len().min(start + WINDOW_BYTES)];
    let length = window.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b','))).unwrap_or(window.len());
    let host = &window[..length];
    let Some(last) = memchr::memrchr(b',', host) else {
        return;
    };
    let follows = window.get(length);
    if matches!(follows, Some(b'.')) || host[0] == b',' || host.windows(2).any(|two| two == b",,") || !domain::is_suffix(&host[last + 1..])
    {
        return;
    }
    for comma in memchr::memchr_iter(b',', host) {
        rewrite.refang(start + comma..start + comma + 1, ".");
    }
}

/// `hxxp`, `h**p`, `hXXps`, `fxp` before a colon.
fn scheme(bytes: &[u8], at: usize, rewrite: &mut Rewrite<'_>) -> Option<usize> {
    if at > 0 && bytes[at - 1].is_ascii_alphanumeric() {
        return None;
    }
    let stands_for_t = |byte: u8| matches!(byte, b'x' | b'X' | b'*' | b't' | b'T' | b'_');
    let rest = &bytes[at..];
    let (length, with) = match rest {
        [b'h' | b'H', a, b, b'p' | b'P', ..] if stands_for_t(*a) && stands_for_t(*b) => (4, "http"),
        [b'f' | b'F', a, b'p' | b'P', ..] if stands_for_t(*a) => (3, "ftp"),
        _ => return None,
    };
    if rest[1..length - 1].iter().all(|byte| byte.eq_ignore_ascii_case(&b't')) {
        return None;
    }
    let behind = length + usize::from(matches!(rest.get(length), Some(b's' | b'S')));
    let is_scheme = match rest.get(behind) {
        Some(b':') => rest.get(behind + 1).is_some_and(|&byte| matches!(byte, b'/' | b'[' | b'(' | b'{')),
        Some(b'[' | b'(' | b'{') => rest.get(behind + 1) == Some(&b':'),
        _ => false,
    };
    is_scheme.then(|| {
        rewrite.refang(at..at + length, with);
        at + length
    })
}

/// `example dot com`, `user at example dot com`: only before one of the suffixes people spell out, and never behind a little word.
fn word(text: &str, at: usize, rewrite: &mut Rewrite<'_>) -> Option<usize> {
    const SUFFIXES: &[&[u8]] =
        &[b"com", b"net", b"org", b"info", b"biz", b"io", b"co", b"in", b"xyz", b"online", b"site", b"top", b"ru", b"cn", b"uk", b"de"];
    const LITTLE: &[&[u8]] = &[b"the", b"a", b"an", b"this", b"that", b"and", b"of", b"your", b"my", b"each", b"every", b"old", b"big"];
    let bytes = text.as_bytes();
    if at < rewrite.taken || !ends_name(bytes, at) {
        return None;
    }
    let label = |start: usize| {
        let window = &bytes[start.min(bytes.len())..bytes.len().min(start + WINDOW_BYTES)];
        &window[..window.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || byte == b'-')).unwrap_or(window.len())]
    };
    let is_little = |end: usize| {
        let window = &bytes[end.saturating_sub(WINDOW_BYTES)..end];
        let word = &window[window.iter().rposition(|&byte| !byte.is_ascii_alphanumeric()).map_or(0, |at| at + 1)..];
        LITTLE.iter().any(|little| word.eq_ignore_ascii_case(little))
    };
    let is = |start: usize, word: &[u8]| bytes.get(start..start + word.len()).is_some_and(|there| there.eq_ignore_ascii_case(word));
    // How far a chain of ` dot label` goes, and whether it ends in a suffix.
    let ends_well = |mut start: usize| {
        for _ in 0..4 {
            let next = label(start);
            if next.is_empty() {
                return false;
            }
            start += next.len();
            if !is(start, b" dot ") {
                return SUFFIXES.iter().any(|suffix| next.eq_ignore_ascii_case(suffix));
            }
            start += 5;
        }
        false
    };
    let (end, with) = if is(at, b" dot ") && !is_little(at) && ends_well(at + 5) {
        (at + 5, ".")
    } else if is(at, b" at ") && !label(at + 4).is_empty() && is(at + 4 + label(at + 4).len(), b" dot ") && ends_well(at + 4) {
        (at + 4, "@")
    } else {
        return None;
    };
    rewrite.refang(at..end, with);
    Some(end)
}
