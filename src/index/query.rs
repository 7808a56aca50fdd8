//! The query language: `field:value` terms that must all hold, with `*` in values, quotes, `since:` and `until:`.
//!
//! ```text
//! src_ip:203.0.113.7 eventid:cowrie.login.* command:"wget http*" since:2026-03-22 until:2026-03-24
//! ```
//!
//! Values match exactly, letter case included. `*` stands for any run of characters, inside quotes as well, because
//! what attackers type has spaces; `\*`, `\"` and `\\` stand for the character itself, any other `\` for a backslash.
//! `since:` and `until:` take a date, an RFC 3339 time or an age (`30m`, `24h`, `7d`). `until:` with a date means to the
//! end of that day; with a time, up to and without it.
//!
//! An error names the column and what would be right, for a person sits at the other end.
use crate::events::time::{self, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, Micros};
use crate::events::{Field, TERM_VALUE_BYTES_MAX};
use std::fmt;

/// Longest query, bytes, and most terms in one.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
pub const CLAUSES_MAX: usize = 32;

/// A query that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Every one of them must hold; none at all is every event.
    pub clauses: Vec<Clause>,
    /// Event times from `since` up to but without `until`.
    pub since: Option<Micros>,
    pub until: Option<Micros>,
}

/// The event has a term of `field` whose value matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    pub field: Field,
    pub pattern: Pattern,
}

/// A value, or a shape of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exact(Vec<u8>),
    /// The pieces between the stars: at least two, the first and last possibly empty.
    Wildcard(Vec<Vec<u8>>),
}

impl Pattern {
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Exact(exact) => exact == value,
            Pattern::Wildcard(pieces) => wildcard_matches(pieces, value),
        }
    }

    /// What every matching value begins with.
    pub fn prefix(&self) -> &[u8] {
        match self {
            Pattern::Exact(exact) => exact,
            Pattern::Wildcard(pieces) => pieces.first().map_or(&[], |piece| piece),
        }
    }

    /// The longest run of bytes that every matching value has.
    pub fn longest_literal(&self) -> &[u8] {
        match self {
            Pattern::Exact(exact) => exact,
            Pattern::Wildcard(pieces) => pieces.iter().max_by_key(|piece| piece.len()).map_or(&[], |piece| piece),
        }
    }
}

/// Stars match greedily from the left: with literals between them the leftmost place of each is as good as any.
fn wildcard_matches(pieces: &[Vec<u8>], value: &[u8]) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = value.strip_prefix(&first[..]) else { return false };
    let Some(body) = rest.strip_suffix(&last[..]) else { return false };
    rest = body;
    middle.iter().all(|piece| match memchr::memmem::find(rest, piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// Where a query stopped making sense, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct QueryError {
    /// Counted in characters from 1.
    pub column: usize,
    pub problem: Problem,
}

impl QueryError {
    /// The query with a mark below the place, two lines, for a terminal. Control characters of the query become `?`.
    pub fn pointer(&self, query: &str) -> String {
        let line: String = query.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
        format!("{line}\n{}^", " ".repeat(self.column - 1))
    }
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    UnknownField { name: String, nearest: Option<&'static str> },
    NoField { word: String },
    NoValue { field: String },
    OpenQuote,
    TextAfterQuote,
    NotATime { text: String },
    ValueTooLong,
    TooManyClauses,
    QueryTooLong,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::UnknownField { name, nearest } => {
                write!(f, "there is no field `{}`", name.escape_debug())?;
                if let Some(nearest) = nearest {
                    write!(f, ": did you mean `{nearest}`?")?;
                }
                write!(f, " (fields: {})", names().collect::<Vec<_>>().join(" "))
            }
            Problem::NoField { word } => {
                write!(f, "`{}` stands without a field: write field:value (fields: ", word.escape_debug())?;
                write!(f, "{})", names().collect::<Vec<_>>().join(" "))
            }
            Problem::NoValue { field } => write!(f, "`{field}:` needs a value: write {field}:VALUE, or {field}:* for any"),
            Problem::OpenQuote => write!(f, "this quote is never closed: add a \" (write \\\" for one inside)"),
            Problem::TextAfterQuote => write!(f, "put a space after the closing quote, or the whole value inside the quotes"),
            Problem::NotATime { text } => write!(
                f,
                "`{}` is no time: write a date (2026-03-22), a time (2026-03-22T10:30:00Z) or an age (30m, 24h, 7d)",
                text.escape_debug()
            ),
            Problem::ValueTooLong => write!(f, "a value has at most {TERM_VALUE_BYTES_MAX} bytes: shorten it, or use a * wildcard"),
            Problem::TooManyClauses => write!(f, "a query has at most {CLAUSES_MAX} terms: leave some out"),
            Problem::QueryTooLong => write!(f, "a query has at most {QUERY_BYTES_MAX} bytes: shorten it"),
        }
    }
}

/// Every name that may stand before a colon.
fn names() -> impl Iterator<Item = &'static str> {
    Field::ALL.iter().map(|field| field.name()).chain(["since", "until"])
}

/// The known name most like `name`, if one is like it at all.
pub fn nearest_name(name: &str) -> Option<&'static str> {
    let likeness = |known: &str| strsim::jaro_winkler(&name.to_ascii_lowercase(), known);
    names().map(|known| (likeness(known), known)).filter(|(like, _)| *like >= 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|best| best.1)
}

/// `value` as a query writes it when it is to be taken literally.
pub fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('*', "\\*"))
}

impl Query {
    /// Reads a query; ages count back from `now`.
    pub fn parse(text: &str, now: Micros) -> Result<Query, QueryError> {
        let mut query = Query { clauses: Vec::new(), since: None, until: None };
        if text.len() > QUERY_BYTES_MAX {
            return Err(QueryError { column: 1, problem: Problem::QueryTooLong });
        }
        let mut at = 0;
        while let Some(skip) = text[at..].find(|char: char| !char.is_whitespace()) {
            at += skip;
            let error = |place: usize, problem| QueryError { column: text[..place].chars().count() + 1, problem };
            let word_end = text[at..].find(char::is_whitespace).map_or(text.len(), |len| at + len);
            let Some(colon) = text[at..word_end].find(':').map(|len| at + len) else {
                return Err(error(at, Problem::NoField { word: text[at..word_end].to_owned() }));
            };
            let name = &text[at..colon];
            let field = Field::parse(name);
            if field.is_none() && name != "since" && name != "until" {
                return Err(error(at, Problem::UnknownField { name: name.to_owned(), nearest: nearest_name(name) }));
            }
            let value = read_value(text, colon + 1).map_err(|(place, problem)| error(place, problem))?;
            if value.end == colon + 1 {
                return Err(error(value.end, Problem::NoValue { field: name.to_owned() }));
            }
            at = value.end;
            if let Some(field) = field {
                if value.len() > TERM_VALUE_BYTES_MAX {
                    return Err(error(colon + 1, Problem::ValueTooLong));
                }
                if query.clauses.len() == CLAUSES_MAX {
                    return Err(error(colon - name.len(), Problem::TooManyClauses));
                }
                query.clauses.push(Clause { field, pattern: value.into_pattern() });
            } else {
                let written = &text[colon + 1..value.end];
                let (start, end) = parse_time(written.trim_matches('"'), now)
                    .ok_or_else(|| error(colon + 1, Problem::NotATime { text: written.to_owned() }))?;
                match name {
                    "since" => query.since = Some(query.since.map_or(start, |since| since.max(start))),
                    _ => query.until = Some(query.until.map_or(end, |until| until.min(end))),
                }
            }
        }
        Ok(query)
    }

    /// Whether events of that time are asked for.
    pub fn covers(&self, time: Micros) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether any time from `min` to `max` is.
    pub fn overlaps(&self, min: Micros, max: Micros) -> bool {
        self.since.is_none_or(|since| max >= since) && self.until.is_none_or(|until| min < until)
    }
}

/// A value as it was written: the pieces between its stars, and where it ended.
struct Value {
    pieces: Vec<Vec<u8>>,
    end: usize,
}

impl Value {
    fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    fn into_pattern(mut self) -> Pattern {
        if self.pieces.len() == 1 { Pattern::Exact(self.pieces.remove(0)) } else { Pattern::Wildcard(self.pieces) }
    }
}

fn read_value(text: &str, start: usize) -> Result<Value, (usize, Problem)> {
    let quoted = text[start..].starts_with('"');
    let mut pieces = vec![Vec::new()];
    let mut chars = text[start..].char_indices().skip(usize::from(quoted)).peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' if quoted => {
                let end = start + at + 1;
                return match text[end..].chars().next() {
                    Some(next) if !next.is_whitespace() => Err((end, Problem::TextAfterQuote)),
                    _ => Ok(Value { pieces, end }),
                };
            }
            char if !quoted && char.is_whitespace() => return Ok(Value { pieces, end: start + at }),
            '*' => pieces.push(Vec::new()),
            char => {
                let escaped = if char == '\\' { chars.next_if(|(_, next)| matches!(next, '*' | '"' | '\\')) } else { None };
                let char = escaped.map_or(char, |(_, next)| next);
                let piece = pieces.last_mut().expect("there is always a piece");
                piece.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    if quoted { Err((start, Problem::OpenQuote)) } else { Ok(Value { pieces, end: text.len() }) }
}

/// The times that a text means as a beginning and as an end.
fn parse_time(text: &str, now: Micros) -> Option<(Micros, Micros)> {
    if let Some((digits, unit)) = text.split_at_checked(text.len().checked_sub(1)?) {
        let unit = match unit {
            "s" => Some(MICROS_PER_SECOND),
            "m" => Some(60 * MICROS_PER_SECOND),
            "h" => Some(MICROS_PER_HOUR),
            "d" => Some(MICROS_PER_DAY),
            "w" => Some(7 * MICROS_PER_DAY),
            _ => None,
        };
        if let (Some(unit), true) = (unit, digits.bytes().all(|byte| byte.is_ascii_digit())) {
            let time = now.checked_sub(digits.parse::<i64>().ok()?.checked_mul(unit)?)?;
            return Some((time, time));
        }
    }
    if text.len() == 10 {
        let start = time::parse(format!("{text}T00:00:00Z").as_bytes())?;
        return Some((start, start + MICROS_PER_DAY));
    }
    time::parse(text.as_bytes()).map(|time| (time, time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Micros = 1_774_138_242_831_494; // 2026-03-22T00:10:42.831494Z

    fn exact(field: Field, value: &str) -> Clause {
        Clause { field, pattern: Pattern::Exact(value.into()) }
    }

    #[test]
    fn reads_terms_quotes_and_wildcards() {
        let wildcard =
            |field, pieces: &[&str]| Clause { field, pattern: Pattern::Wildcard(pieces.iter().map(|&piece| piece.into()).collect()) };
        for (text, expected) in [
            ("", vec![]),
            ("  src_ip:1.2.3.4\t", vec![exact(Field::SrcIp, "1.2.3.4")]),
            ("src_ip:2001:db8::1 username:root", vec![exact(Field::SrcIp, "2001:db8::1"), exact(Field::Username, "root")]),
            ("command:\"wget http\"", vec![exact(Field::Command, "wget http")]),
            ("username:\"\"", vec![exact(Field::Username, "")]),
            ("password:a\"b", vec![exact(Field::Password, "a\"b")]),
            ("password:\\*\\\\x\\x41", vec![exact(Field::Password, "*\\x\\x41")]),
            ("command:\"echo \\\"hi\\\"\"", vec![exact(Field::Command, "echo \"hi\"")]),
            ("eventid:cowrie.login.*", vec![wildcard(Field::Eventid, &["cowrie.login.", ""])]),
            ("command:\"* /tmp/*;*\"", vec![wildcard(Field::Command, &["", " /tmp/", ";", ""])]),
            ("password:пароль", vec![exact(Field::Password, "пароль")]),
        ] {
            assert_eq!(Query::parse(text, NOW).map(|query| query.clauses), Ok(expected), "{text}");
        }
    }

    #[test]
    fn reads_dates_times_and_ages() {
        let day = time::parse(b"2026-03-20T00:00:00Z").unwrap();
        for (text, since, until) in [
            ("since:2026-03-20", Some(day), None),
            ("until:2026-03-20", None, Some(day + MICROS_PER_DAY)),
            ("since:2026-03-20T00:00:01Z until:2026-03-20T01:00:00+01:00", Some(day + MICROS_PER_SECOND), Some(day)),
            ("since:7d", Some(NOW - 7 * MICROS_PER_DAY), None),
            ("since:24h until:30m", Some(NOW - MICROS_PER_DAY), Some(NOW - 1_800 * MICROS_PER_SECOND)),
            ("since:2026-03-20 since:2026-03-19", Some(day), None),
        ] {
            let query = Query::parse(text, NOW).unwrap();
            assert_eq!((query.since, query.until), (since, until), "{text}");
        }
    }

    #[test]
    fn errors_point_at_the_character_and_say_what_to_write() {
        for (text, column, message) in [
            ("srcip:1.2.3.4", 1, "did you mean `src_ip`?"),
            ("username:root pasword:x", 15, "did you mean `password`?"),
            ("sincee:7d", 1, "did you mean `since`?"),
            ("qqqq:1", 1, "(fields: eventid session sensor src_ip"),
            ("username:root wget", 15, "`wget` stands without a field"),
            ("username:", 10, "`username:` needs a value"),
            ("username: root", 10, "`username:` needs a value"),
            ("password:é command:\"wget", 20, "this quote is never closed"),
            ("command:\"wget\"x", 15, "put a space after the closing quote"),
            ("since:yesterday", 7, "`yesterday` is no time"),
            ("since:99999999999999999999d", 7, "is no time"),
            ("until:2026-02-30", 7, "is no time"),
            (":x", 1, "there is no field ``"),
        ] {
            let error = Query::parse(text, NOW).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(message), "{text}: {error}");
        }
        let error = Query::parse("username:root pasword:x", NOW).unwrap_err();
        assert_eq!(error.pointer("username:root pasword:x"), "username:root pasword:x\n              ^");
        assert_eq!(Query::parse(&"username:a ".repeat(33), NOW).unwrap_err().problem, Problem::TooManyClauses);
        assert_eq!(Query::parse(&"x".repeat(QUERY_BYTES_MAX + 1), NOW).unwrap_err().problem, Problem::QueryTooLong);
        assert_eq!(Query::parse(&format!("username:{}", "x".repeat(4_097)), NOW).unwrap_err().problem, Problem::ValueTooLong);
    }

    fn naive(pattern: &[char], value: &[char]) -> bool {
        match pattern.split_first() {
            None => value.is_empty(),
            Some((&'*', rest)) => (0..=value.len()).any(|skip| naive(rest, &value[skip..])),
            Some((&char, rest)) => value.first() == Some(&char) && naive(rest, &value[1..]),
        }
    }

    proptest! {
        #[test]
        fn wildcards_match_like_a_naive_matcher(pattern in "[ab*]{0,8}", value in "[ab]{0,10}") {
            let query = Query::parse(&format!("password:\"{pattern}\""), NOW).unwrap();
            let (pattern, chars): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
            prop_assert_eq!(query.clauses[0].pattern.matches(value.as_bytes()), naive(&pattern, &chars));
        }

        #[test]
        fn any_text_is_understood_or_refused_at_a_place_inside_it(text: String) {
            for text in [text.clone(), format!("username:{text}"), format!("since:{text}"), format!("command:\"{text}")] {
                if let Err(error) = Query::parse(&text, NOW) {
                    prop_assert!((1..=text.chars().count() + 1).contains(&error.column));
                    let _ = (error.to_string(), error.pointer(&text));
                }
            }
        }

        #[test]
        fn every_value_can_be_written(value: String) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('*', "\\*");
            let query = Query::parse(&format!("command:\"{escaped}\""), NOW).unwrap();
            prop_assert_eq!(query.clauses, vec![exact(Field::Command, &value)]);
        }
    }
}
