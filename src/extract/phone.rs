//! Phone numbers: valid by libphonenumber's metadata, or said to be a number to call.
//!
//! A number with `+` (or `00`, where people write it) is one anywhere. A national number is one only in a chat, where the region is
//! India, and only when the words before it do not say that it is an account, an order or an amount.
//!
//! The metadata is a table of patterns compiled in (made by `src/build.rs`), not the library, whose
//! database and cache of compiled patterns take 5 MiB at once and 25 MiB when attackers send numbers of all countries, and up to
//! 6 ms for a number. A number has at most fifteen digits, so the places that a pattern has reached in it are sixteen bits:
//! [`Matcher`] walks a pattern once, without any memory, in a microsecond.
use super::label::{self, Label};
use super::runs::{DIGIT, glued_after, glued_before};
use super::{Context, Extractor, Found, Needs, Text};
use crate::events::Field;
use std::ops::Range;
use std::sync::OnceLock;

/// Phone numbers; one entry of the registry.
pub struct Phone;

/// Fewest and most digits of an international number (E.164), without `+`.
const DIGITS_MIN: usize = 7;
const DIGITS_MAX: usize = 15;
/// Longest number with its separators, bytes.
const LEN_MAX: usize = 40;
/// Most groups of digits in a number.
const GROUPS_MAX: usize = 8;
/// Most numbers of one text that are looked at closely.
const CANDIDATES_MAX: usize = 256;
/// What may stand between two groups of digits.
const SEPARATORS: [&str; 13] = [" ", "-", ".", "  ", " - ", ")", ") ", ")-", " (", "-(", "(", ") (", "\u{a0}"];
/// The calling code of numbers that have none.
const HOME: &str = "91";
/// How near a word must be to say that the number is something else, words.
const OTHER_WORDS: usize = 3;
/// How near a word must be to say that the number is to be called, words.
const CALL_WORDS: usize = 6;

impl Extractor for Phone {
    fn fields(&self) -> &'static [Field] {
        &[Field::Phone]
    }

    fn needs(&self) -> &'static Needs {
        // `1800XXXXXX` is the shortest.
        const NEEDS: Needs = Needs::NOTHING.digits(4);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        let bytes = text.plain.as_bytes();
        if bytes.len() < DIGITS_MIN {
            return;
        }
        let mut candidates = found.bounded(CANDIDATES_MAX);
        let mut end = 0;
        if text.context == Context::Chat {
            let mut at = 0;
            while let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit).map(|next| at + next) {
                let plus = match &bytes[end..digit] {
                    [.., b'+'] => Some(digit - 1),
                    [.., b'+', b'('] => Some(digit - 2),
                    _ => None,
                };
                let range = match plus {
                    Some(plus) => international(text, plus, found, &mut candidates),
                    None => national(text, digit, end, found, &mut candidates),
                };
                at = match range {
                    Some(range) => {
                        end = range.end;
                        end
                    }
                    None => digit + bytes[digit..].iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len() - digit),
                };
            }
        } else {
            for plus in memchr::memchr_iter(b'+', bytes) {
                if plus >= end
                    && let Some(range) = international(text, plus, found, &mut candidates)
                {
                    end = range.end;
                }
            }
            for dash in memchr::memchr_iter(b'-', bytes) {
                local(text, dash, found);
            }
        }
    }
}

/// `456-7890`, a number without its area code as it is written in North America, between blanks or quotes: kept as written, it has
/// no E.164 form. No exchange begins with 0 or 1.
fn local(text: &Text<'_>, dash: usize, found: &mut Found) {
    let bytes = text.plain.as_bytes();
    let (Some(start), end) = (dash.checked_sub(3), dash + 5) else { return };
    let digits = |range: Range<usize>| bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let blank = |byte: Option<&u8>| byte.is_none_or(|byte| byte.is_ascii_whitespace() || b"\"'`()[]{}<>,;:".contains(byte));
    let exchange = matches!(bytes[start], b'2'..=b'9') && digits(start..dash);
    if exchange && digits(dash + 1..end) && blank(start.checked_sub(1).and_then(|before| bytes.get(before))) && blank(bytes.get(end)) {
        found.add(Field::Phone, &text.plain[start..end], text, start..end);
    }
}

/// The number whose `+` stands at `plus`.
fn international(text: &Text<'_>, plus: usize, found: &mut Found, candidates: &mut usize) -> Option<Range<usize>> {
    let plain = text.plain;
    if glued_before(plain, plus) || plain[..plus].ends_with('+') {
        return None;
    }
    let groups = Groups::at(plain, plus + 1);
    if groups.len < DIGITS_MIN {
        return None;
    }
    *candidates = candidates.checked_sub(1)?;
    for (digits, end) in groups.longest_first().filter(|(digits, _)| digits.len() >= DIGITS_MIN) {
        if !ends_well(plain, end) {
            continue;
        }
        let number = known(digits).or_else(|| {
            // `+91 (0)98…`: the zero is for those who dial inside the country.
            let code = calling_code(digits)?;
            let national = digits[code.len()..].strip_prefix('0')?;
            known(&format!("{code}{national}"))
        });
        let said = || (text.context == Context::Chat && is_written_as_indian(digits)).then(|| digits.to_owned());
        if let Some(number) = number.or_else(said) {
            return Some(add(text, plus..end, &number, found));
        }
    }
    None
}

/// The number without `+` whose first digit stands at `first`, in a chat; `free` is where the number before it ended.
fn national(text: &Text<'_>, first: usize, free: usize, found: &mut Found, candidates: &mut usize) -> Option<Range<usize>> {
    let plain = text.plain;
    let bytes = plain.as_bytes();
    // Quickly past years, amounts, times: what starts here has at least ten digits, or is `1800` and crosses.
    let is_free_of_charge = plain[first..].starts_with("18");
    if bytes[first] == b'1' && !is_free_of_charge {
        return None;
    }
    let groups = Groups::at(plain, first);
    if (groups.len < 10 && !is_free_of_charge) || !starts_well(plain, first, free) {
        return None;
    }
    // Most digits in texts have no number's shape, and that is seen before any word is read.
    let is_shaped = |(digits, end): (&str, usize)| Shape::of(digits, &groups, end).is_some();
    if !is_free_of_charge && !groups.longest_first().any(is_shaped) {
        return None;
    }
    *candidates = candidates.checked_sub(1)?;
    let words = || label::before(plain, first);
    let label = label::nearest(words());
    let is_called = matches!(label, Some((Label::Phone, distance)) if distance < CALL_WORDS);
    match label {
        Some((Label::Other | Label::Account, distance)) if distance < OTHER_WORDS => return None,
        Some((Label::Amount, 0)) => return None,
        _ => {}
    }
    if is_called && let Some(range) = masked(plain, first) {
        let value: String = plain[range.clone()].chars().filter(char::is_ascii_alphanumeric).collect();
        found.add(Field::Phone, &value.to_ascii_uppercase(), text, range.clone());
        return Some(range);
    }
    // In an address only after a word that says so: `wa.me/91…`, `?phone=…`.
    let is_in_address = matches!(bytes[..first].last(), Some(b'/' | b'=' | b'&' | b'?' | b'#' | b'%' | b'\\')) && first != free + 1;
    if is_in_address && !is_called && !matches!(words().next(), Some(word) if word.eq_ignore_ascii_case("me")) {
        return None;
    }
    for (digits, end) in groups.longest_first() {
        if !ends_well(plain, end) {
            continue;
        }
        // Three dots are an IPv4 address's.
        if plain[first..end].bytes().filter(|&byte| byte == b'.').count() > 2 {
            continue;
        }
        let count = groups.count_until(end);
        let is_grouped = count > 1;
        let number = match Shape::of(digits, &groups, end) {
            Some(Shape::Mobile) => known(&format!("{HOME}{digits}")),
            // Eighteen hundred million seconds after 1970 are near: digits alone are not enough.
            Some(Shape::FreeOfCharge) if is_called || is_grouped => known(&format!("{HOME}{digits}")),
            Some(Shape::Trunk) if is_called || is_grouped || digits.as_bytes()[1] >= b'6' => known(&format!("{HOME}{}", &digits[1..])),
            Some(Shape::WithCode) => known(digits),
            Some(Shape::Abroad) => known(&digits[2..]),
            _ => None,
        };
        // Said to be called, but not given to anyone: criminals make numbers up, and who reads this looks for what they wrote.
        let is_whole = count == 1 || (count == 2 && groups.ends[0].0 == 5);
        let is_ten = matches!(Shape::of(digits, &groups, end), Some(Shape::Mobile | Shape::Ten));
        let said = || (is_called && is_whole && is_ten).then(|| format!("{HOME}{digits}"));
        if let Some(number) = number.or_else(said) {
            return Some(add(text, first..end, &number, found));
        }
    }
    None
}

/// What a number without `+` may be, by its digits and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Ten digits of a mobile telephone.
    Mobile,
    /// Any other ten digits.
    Ten,
    /// `1800…`, `1860…`.
    FreeOfCharge,
    /// A zero and ten digits.
    Trunk,
    /// `91` and ten digits of a mobile telephone.
    WithCode,
    /// `00` and a calling code.
    Abroad,
}

impl Shape {
    fn of(digits: &str, groups: &Groups, end: usize) -> Option<Shape> {
        let count = groups.count_until(end);
        match (digits.len(), digits.as_bytes().first()?) {
            (10, b'6'..=b'9') if count <= 3 => Some(Shape::Mobile),
            (10, b'2'..=b'5') if count <= 2 => Some(Shape::Ten),
            (10 | 11, b'1') if digits.starts_with("1800") || digits.starts_with("1860") => Some(Shape::FreeOfCharge),
            (11.., b'0') if digits.starts_with("00") => Some(Shape::Abroad),
            (11, b'0') if count <= 4 => Some(Shape::Trunk),
            // Not in fours: Aadhaar numbers are written so.
            (12, b'9') if digits.starts_with(HOME) && digits.as_bytes()[2] >= b'6' && groups.ends[0].0 != 4 && count <= 4 => {
                Some(Shape::WithCode)
            }
            _ => None,
        }
    }
}

/// A toll-free number whose last digits are crosses: `1800-XXX-XXXX`.
fn masked(plain: &str, first: usize) -> Option<Range<usize>> {
    let rest = &plain.as_bytes()[first..plain.len().min(first + LEN_MAX)];
    if !rest.starts_with(b"1800") {
        return None;
    }
    let (mut count, mut crosses, mut len) = (0, 0, 0);
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' => count += 1,
            b'X' | b'x' => {
                count += 1;
                crosses += 1;
            }
            b' ' | b'-' => continue,
            _ => break,
        }
        len = at + 1;
    }
    let fits = crosses >= 3 && (10..=11).contains(&count) && !glued_after(plain, first + len);
    fits.then_some(first..first + len)
}

/// Notes the number at `range`, with the bracket that was opened before it and closed inside.
fn add(text: &Text<'_>, mut range: Range<usize>, digits: &str, found: &mut Found) -> Range<usize> {
    let written = &text.plain[range.clone()];
    if written.contains(')') && !written.contains('(') && text.plain[..range.start].ends_with('(') {
        range.start -= 1;
    }
    found.add(Field::Phone, &format!("+{digits}"), text, range.clone());
    range
}

/// The digits, if they are a valid number with its calling code.
fn known(digits: &str) -> Option<String> {
    is_valid(digits).then(|| digits.to_owned())
}

fn is_written_as_indian(digits: &str) -> bool {
    digits.len() == 12 && digits.starts_with(HOME) && digits.as_bytes()[2] >= b'2'
}

/// Whether a number may start at `first`: nothing is glued to it and it is not the rest of another number.
fn starts_well(plain: &str, first: usize, free: usize) -> bool {
    if glued_before(plain, first) {
        return false;
    }
    let before = &plain.as_bytes()[..first];
    match before {
        [.., digit, b'-' | b'.' | b':' | b',' | b'/'] if digit.is_ascii_digit() => first == free + 1,
        [.., b'@' | b'$' | b'_' | b'+'] => false,
        [.., b'-'] => !before[..before.len() - 1].last().is_some_and(|byte| byte.is_ascii_alphanumeric()) || is_word_dash(plain, first),
        _ => !plain[..first].ends_with('₹'),
    }
}

/// Whether the dash before `first` follows a word that names a phone: `Call-98…`, not `TXN-98…`.
fn is_word_dash(plain: &str, first: usize) -> bool {
    label::before(plain, first)
        .next()
        .is_some_and(|word| Label::of(word) == Some(Label::Phone) || word.eq_ignore_ascii_case("no") || word.eq_ignore_ascii_case("number"))
}

/// Whether a number may end at `end`.
fn ends_well(plain: &str, end: usize) -> bool {
    if glued_after(plain, end) {
        return false;
    }
    let mut next = plain[end..].bytes();
    match (next.next(), next.next()) {
        (Some(b'@' | b'_' | b'%'), _) => false,
        (Some(b'-' | b'.' | b':' | b','), Some(digit)) => {
            !digit.is_ascii_digit() || (plain.as_bytes()[end] == b',' && is_digits(plain, end + 1, 7))
        }
        (Some(b'/'), Some(b'-')) => false,
        _ => true,
    }
}

/// Whether at least `count` digits stand at `at`.
fn is_digits(plain: &str, at: usize, count: usize) -> bool {
    plain.as_bytes().get(at..at + count).is_some_and(|digits| digits.iter().all(|&byte| DIGIT.has(byte)))
}

/// Groups of digits with separators between them.
struct Groups {
    digits: [u8; DIGITS_MAX],
    len: usize,
    /// How many digits there are up to the end of each group, and where it ends in the text.
    ends: [(usize, usize); GROUPS_MAX],
    count: usize,
}

impl Groups {
    /// The groups from `from` on, which may start with an opening bracket; as many as a number can have.
    fn at(plain: &str, from: usize) -> Groups {
        let bytes = plain.as_bytes();
        let limit = bytes.len().min(from + LEN_MAX);
        let mut groups = Groups { digits: [0; DIGITS_MAX], len: 0, ends: [(0, 0); GROUPS_MAX], count: 0 };
        let mut at = from + usize::from(bytes.get(from) == Some(&b'('));
        while groups.count < GROUPS_MAX {
            let len = bytes[at..].iter().take(DIGITS_MAX + 1).take_while(|&&byte| DIGIT.has(byte)).count();
            let total = groups.len + len;
            if len == 0 || total > DIGITS_MAX || at + len > limit {
                break;
            }
            groups.digits[groups.len..total].copy_from_slice(&bytes[at..at + len]);
            groups.len = total;
            at += len;
            groups.ends[groups.count] = (total, at);
            groups.count += 1;
            let gap = bytes[at..limit].iter().take(4).position(|&byte| DIGIT.has(byte)).unwrap_or(0);
            if gap == 0 || !SEPARATORS.iter().any(|separator| separator.as_bytes() == &bytes[at..at + gap]) {
                break;
            }
            at += gap;
        }
        groups
    }

    /// How many groups end at `end` or before.
    fn count_until(&self, end: usize) -> usize {
        self.ends[..self.count].iter().filter(|group| group.1 <= end).count()
    }

    /// The digits up to the end of each group and that end, the longest first.
    fn longest_first(&self) -> impl Iterator<Item = (&str, usize)> {
        self.ends[..self.count].iter().rev().map(|&(len, end)| (std::str::from_utf8(&self.digits[..len]).unwrap_or(""), end))
    }
}

/// libphonenumber's patterns: lines of a calling code, a tab and a pattern.
static METADATA: &str = include_str!(concat!(env!("OUT_DIR"), "/phone_metadata.txt"));

/// Calling codes with their patterns, in the order of the codes as strings.
fn patterns() -> &'static [(&'static str, &'static str)] {
    static PATTERNS: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    PATTERNS.get_or_init(|| {
        let mut patterns: Vec<_> = METADATA.lines().filter_map(|line| line.split_once('\t')).collect();
        patterns.sort_unstable();
        patterns
    })
}

/// The calling code that the digits begin with. No code is the beginning of another.
fn calling_code(digits: &str) -> Option<&str> {
    (1..=3).filter_map(|len| digits.get(..len)).find(|code| patterns().binary_search_by_key(code, |known| known.0).is_ok())
}

/// Whether the digits, calling code first, are a number that libphonenumber calls valid.
pub fn is_valid(digits: &str) -> bool {
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let Some(code) = calling_code(digits) else { return false };
    let patterns = patterns();
    let first = patterns.partition_point(|known| known.0 < code);
    let national = &digits.as_bytes()[code.len()..];
    // Most patterns are North America's, and all numbers there have ten digits, but for some of Canada's companies.
    if code == "1" && !matches!(national.len(), 7 | 10) {
        return false;
    }
    patterns[first..].iter().take_while(|known| known.0 == code).any(|known| Matcher::matches(known.1.as_bytes(), national))
}

/// Matches a pattern of digits, `\d`, `[…]`, `(?:…|…)`, `?` and `{n,m}` with at most fifteen digits, walking the pattern once and
/// keeping the set of places reached so far: bit n is set when the first n digits are matched.
struct Matcher<'a> {
    pattern: &'a [u8],
    at: usize,
    /// For each of 0 to 9, the places where it stands.
    places: [u16; 10],
}

impl Matcher<'_> {
    fn matches(pattern: &[u8], digits: &[u8]) -> bool {
        let mut places = [0; 10];
        for (place, digit) in digits.iter().enumerate() {
            places[usize::from(digit - b'0')] |= 1 << place;
        }
        let mut matcher = Matcher { pattern, at: 0, places };
        matcher.alternatives(1) & (1 << digits.len()) != 0
    }

    fn next(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn alternatives(&mut self, from: u16) -> u16 {
        let mut to = 0;
        loop {
            let mut one = from;
            while !matches!(self.next(), None | Some(b'|' | b')')) {
                if one == 0 {
                    self.skip();
                    break;
                }
                one = self.repeated(one);
            }
            to |= one;
            if self.next() != Some(b'|') {
                return to;
            }
            self.at += 1;
        }
    }

    /// Goes to the end of an alternative that nothing matches any more.
    fn skip(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.next() {
            match byte {
                b'|' | b')' if depth == 0 => return,
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn repeated(&mut self, from: u16) -> u16 {
        let start = self.at;
        let once = self.one(from);
        match self.next() {
            Some(b'?') => {
                self.at += 1;
                from | once
            }
            Some(b'{') => {
                self.at += 1;
                let least = self.count();
                let most = if self.next() == Some(b',') {
                    self.at += 1;
                    self.count()
                } else {
                    least
                };
                self.at += 1;
                let end = self.at;
                let mut to = if least == 0 { from } else { 0 };
                let mut reached = once;
                for times in 1..=most {
                    if reached == 0 {
                        break;
                    }
                    if times > 1 {
                        self.at = start;
                        reached = self.one(reached);
                    }
                    if times >= least {
                        to |= reached;
                    }
                }
                self.at = end;
                to
            }
            _ => once,
        }
    }

    fn count(&mut self) -> u32 {
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = self.next() {
            count = count * 10 + u32::from(digit - b'0');
            self.at += 1;
        }
        count
    }

    /// A digit, a set of digits or a group.
    fn one(&mut self, from: u16) -> u16 {
        let places = match self.next() {
            Some(b'(') => {
                self.at += "(?:".len();
                let to = self.alternatives(from);
                self.at += 1;
                return to;
            }
            Some(b'\\') => {
                self.at += 1;
                u16::MAX >> 1
            }
            Some(b'[') => {
                let mut places = 0;
                self.at += 1;
                while let Some(low @ b'0'..=b'9') = self.next() {
                    self.at += 1;
                    let mut high = low;
                    if self.next() == Some(b'-') {
                        high = self.pattern.get(self.at + 1).copied().unwrap_or(low);
                        self.at += 2;
                    }
                    for digit in low..=high {
                        places |= self.places[usize::from(digit - b'0')];
                    }
                }
                places
            }
            Some(digit) => self.places.get(usize::from(digit.wrapping_sub(b'0'))).copied().unwrap_or(0),
            None => 0,
        };
        self.at += 1;
        (from & places) << 1
    }
}

#[cfg(test)]
mod tests {
    use super::super::Context::{Chat, Command, Other};
    use super::super::table::{Row, check};
    use super::*;

    #[test]
    fn a_table_of_tricky_texts() {
        let rows: &[Row] = &[
            (Chat, "9876543210", &["phone=+919876543210 «9876543210»"]),
            (Chat, "Call 9876543210", &["phone=+919876543210"]),
            (Chat, "Contact this number immediately: 9876543210", &["phone=+919876543210"]),
            (Chat, "Send to this number: 9876543210. Will return tomorrow.", &["phone=+919876543210 «9876543210»"]),
            (Chat, "+91-9876543210", &["phone=+919876543210 «+91-9876543210»"]),
            (Chat, "+91-98765 43210", &["phone=+919876543210 «+91-98765 43210»"]),
            (Chat, "+91 98765 43210", &["phone=+919876543210 «+91 98765 43210»"]),
            (Chat, "+919876543210.", &["phone=+919876543210"]),
            (Chat, "+91 (98765) 43210", &["phone=+919876543210 «+91 (98765) 43210»"]),
            (Chat, "(+91) 9876543210", &["phone=+919876543210 «(+91) 9876543210»"]),
            (Chat, "+(91) 9876543210", &["phone=+919876543210 «+(91) 9876543210»"]),
            (Chat, "+91 09876543210", &["phone=+919876543210 «+91 09876543210»"]),
            (Chat, "919876543210", &["phone=+919876543210 «919876543210»"]),
            (Chat, "91-9876543210", &["phone=+919876543210 «91-9876543210»"]),
            (Chat, "91 98765 43210", &["phone=+919876543210"]),
            (Chat, "09876543210", &["phone=+919876543210 «09876543210»"]),
            (Chat, "0 98765 43210", &["phone=+919876543210"]),
            (Chat, "00919876543210", &["phone=+919876543210 «00919876543210»"]),
            (Chat, "0091-98765-43210", &["phone=+919876543210 «0091-98765-43210»"]),
            (Chat, "98765-43210", &["phone=+919876543210 «98765-43210»"]),
            (Chat, "987-654-3210", &["phone=+919876543210"]),
            (Chat, "987.654.3210", &["phone=+919876543210"]),
            (Chat, "(98765) 43210", &["phone=+919876543210 «(98765) 43210»"]),
            (Chat, "Call:9876543210!", &["phone=+919876543210"]),
            (Chat, "WhatsApp-9876543210", &["phone=+919876543210"]),
            (Chat, "Ph.No.9876543210", &["phone=+919876543210"]),
            (Chat, "📞9876543210", &["phone=+919876543210"]),
            (Chat, "फोन नंबर:9876543210", &["phone=+919876543210"]),
            (Chat, "फोन9876543210", &["phone=+919876543210"]),
            (Chat, "9876543210/9123456780", &["phone=+919876543210", "phone=+919123456780"]),
            (Chat, "9876543210, 9123456780", &["phone=+919876543210", "phone=+919123456780"]),
            (Chat, "9876543210,9123456780", &["phone=+919876543210", "phone=+919123456780"]),
            (Chat, "9876543210 9123456780", &["phone=+919876543210", "phone=+919123456780"]),
            (Chat, "98765 43210 91234 56780", &["phone=+919876543210", "phone=+919123456780"]),
            (Chat, "9876543210 or +91-9876543210", &["phone=+919876543210 «9876543210»"]),
            (Chat, "https://wa.me/919876543210", &["phone=+919876543210"]),
            (Chat, "tel:+919876543210", &["phone=+919876543210"]),
            (Chat, "{\"phone\":\"9876543210\"}", &["phone=+919876543210"]),
            (Chat, "<b>9876543210</b>", &["phone=+919876543210"]),
            (Chat, "*9876543210*", &["phone=+919876543210"]),
            (Chat, "GPay 9876543210", &["phone=+919876543210"]),
            (Chat, "1800-123-4567", &["phone=+9118001234567 «1800-123-4567»"]),
            (Chat, "toll free 18001234567", &["phone=+9118001234567"]),
            (Chat, "1800 11 4000", &["phone=+911800114000"]),
            (Chat, "Call 1800XXXXXX or pay", &["phone=1800XXXXXX"]),
            (Chat, "Call 1800-XXX-XXXX now", &["phone=1800XXXXXXX «1800-XXX-XXXX»"]),
            (Chat, "022-27651234", &["phone=+912227651234"]),
            (Chat, "Call 5432109876", &["phone=+915432109876 «5432109876»"]),
            (Chat, "call 3210987654.", &["phone=+913210987654"]),
            (Chat, "+1 (202) 555-0123", &["phone=+12025550123 «+1 (202) 555-0123»"]),
            (Chat, "+44 20 7946 0958", &["phone=+442079460958"]),
            (Chat, "+44 (0)20 7946 0958", &["phone=+442079460958 «+44 (0)20 7946 0958»"]),
            (Other, "+442079460958", &["phone=+442079460958"]),
            (Other, "call +49 30 123456 today", &["phone=+4930123456"]),
            (Command, "echo +14155552671 > x", &["phone=+14155552671"]),
            (Chat, "account blocked. Your order is lost and gone, call 9876543210", &["phone=+919876543210"]),
            (Other, "9876543210", &[]),
            (Command, "echo 9876543210", &[]),
            (Other, "00919876543210", &[]),
            (Other, "password+919876543210", &[]),
            (Other, "1+919876543210", &[]),
            (Other, "+9876543", &[]),
            (Other, "+123456789012345678", &[]),
            (Other, "+0000000000000", &[]),
            (Other, "+999999999999", &[]),
            (Other, "+1234567890", &[]),
            (Other, "+44207946095", &[]),
            (Other, "+91987654321", &[]),
            (Chat, "98765432101", &[]),
            (Chat, "987654321", &[]),
            (Chat, "x9876543210", &[]),
            (Chat, "9876543210x", &[]),
            (Chat, "９9876543210", &[]),
            (Chat, "98765\u{200b}43210", &[]),
            (Chat, "9876543210@ybl", &[]),
            (Chat, "9876543210@gmail.com", &[]),
            (Chat, "Rs.9876543210", &[]),
            (Chat, "₹9876543210", &[]),
            (Chat, "$9876543210", &[]),
            (Chat, "9876543210/-", &[]),
            (Chat, "9876543210.50", &[]),
            (Chat, "9876543210.5", &[]),
            (Chat, "Rs.50000", &[]),
            (Chat, "Rs.25,00,000", &[]),
            (Chat, "OTP 987654", &[]),
            (Chat, "OTP is 9876543210", &[]),
            (Chat, "Order ID: 9876543210", &[]),
            (Chat, "order no 9876543210", &[]),
            (Chat, "transaction ref 9876543210", &[]),
            (Chat, "UTR 987654321098", &[]),
            (Chat, "account number 9876543210", &[]),
            (Chat, "A/C 9876543210", &[]),
            (Chat, "Aadhaar 9123 4567 8901", &[]),
            (Chat, "9123 4567 8901", &[]),
            (Chat, "card 4111 1111 1111 1111", &[]),
            (Chat, "1769000000", &[]),
            (Chat, "1800000000", &[]),
            (Chat, "1769000000000", &[]),
            (Chat, "20260121103000", &[]),
            (Chat, "2026-01-21 10:30:00", &[]),
            (Chat, "call 2026-01-21 10:30", &[]),
            (Chat, "21-01-2026 9:30", &[]),
            (Chat, "192.168.100.100", &[]),
            (Chat, "180.54.241.30", &[]),
            (Chat, "call 185.35.62.155", &[]),
            (Chat, "180.0.123.4567", &[]),
            (Chat, "91.98.765.43210", &[]),
            (Chat, "1805424130", &[]),
            (Chat, "98.76.54.32", &[]),
            (Chat, "version 9.8.76543210", &[]),
            (Chat, "http://a.example/9876543210/x", &[]),
            (Chat, "http://a.example/?q=9876543210", &[]),
            (Chat, "TXN-9876543210", &[]),
            (Chat, "LT-9876543210", &[]),
            (Chat, "12-9876543210", &[]),
            (Chat, "12:9876543210", &[]),
            (Chat, "9876543210_1", &[]),
            (Chat, "98765432109876543210", &[]),
            (Chat, "9 8 7 6 5 4 3 2 1 0", &[]),
            (Chat, "Call 1800XX", &[]),
            (Chat, "1800XXXXXX", &[]),
            (Chat, "7777", &[]),
            (Chat, "+", &[]),
            (Chat, "", &[]),
        ];
        check(&Phone, 60, rows);
    }

    #[test]
    fn the_matcher_reads_every_construction_of_the_patterns() {
        for (pattern, digits, matches) in [
            ("12", "12", true),
            ("12", "123", false),
            ("12", "1", false),
            ("1?2", "2", true),
            ("1?2", "12", true),
            ("[2-46]\\d", "39", true),
            ("[2-46]\\d", "59", false),
            ("[2-46]\\d", "69", true),
            ("(?:1|23){2}", "123", true),
            ("(?:1|23){2}", "1", false),
            ("\\d{2,4}", "123", true),
            ("\\d{2,4}", "12345", false),
            ("\\d{0,2}5", "5", true),
            ("1(?:2(?:3|4)?|5)6?", "1246", true),
            ("1(?:2(?:3|4)?|5)6?", "1", false),
            ("1|", "", true),
            ("\\d{15}", "123456789012345", true),
        ] {
            assert_eq!(Matcher::matches(pattern.as_bytes(), digits.as_bytes()), matches, "{pattern} {digits}");
        }
    }
}
