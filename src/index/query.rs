//! The query language, one for searches, sinks' filters and the admin API; its grammar stands in `ops/QUERY.md`.
//!
//! ```text
//! src_ip:203.0.113.0/24 eventid:cowrie.login.* command:"wget http*" since:2026-03-22 until:2026-03-24
//! (username:root OR username:adm*) NOT exists:password dst_port:>1024 command:/wget .+sh/ busybox
//! ```
//!
//! Values match exactly, letter case included. `*` stands for any run of characters, inside quotes as well, because
//! what attackers type has spaces; `\*`, `\"` and `\\` stand for the character itself, any other `\` for a backslash.
//! A word without a field is looked for in all values, in capitals or not.
//! `since:` and `until:` take a date, an RFC 3339 time or an age (`30m`, `24h`, `7d`). `until:` with a date means to the
//! end of that day; with a time, up to and without it. They hold for the whole query.
//!
//! An error names the column and what would be right, for a person sits at the other end.
use super::pattern::{Comparison, Expression, Pattern, holds_addresses, holds_numbers};
use crate::events::time::{self, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, Micros};
use crate::events::{Field, TERM_VALUE_BYTES_MAX};
use std::fmt;
use std::ops::Range;

/// Longest query, bytes, and most terms in one.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
pub const CLAUSES_MAX: usize = 32;
/// Parentheses and `NOT`s inside each other.
const DEPTH_MAX: usize = 32;

/// A query that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What is asked of an event's terms, in the order in which it was written.
    pub clauses: Vec<Clause>,
    /// Which of them must hold together.
    pub condition: Condition,
    /// Event times from `since` up to but without `until`.
    pub since: Option<Micros>,
    pub until: Option<Micros>,
}

/// The event has a term of `field` whose value matches; of any field if none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    pub field: Option<Field>,
    pub pattern: Pattern,
}

impl Clause {
    pub fn matches(&self, field: Field, value: &[u8]) -> bool {
        // What joined values say, the members that they are made of say as well.
        self.field.map_or(!field.is_derived(), |asked| asked == field) && self.pattern.matches(value)
    }
}

/// How clauses, which are named by their place among them, make a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Clause(usize),
    Not(Box<Condition>),
    /// Of none: always.
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    /// Whether it holds when just these clauses do, one bit each.
    pub fn holds(&self, clauses: u32) -> bool {
        match self {
            Condition::Clause(number) => clauses >> number & 1 == 1,
            Condition::Not(not) => !not.holds(clauses),
            Condition::All(all) => all.iter().all(|one| one.holds(clauses)),
            Condition::Any(any) => any.iter().any(|one| one.holds(clauses)),
        }
    }

    /// Clauses without which it never holds, one bit each.
    pub fn required(&self) -> u32 {
        match self {
            Condition::Clause(number) => 1 << number,
            Condition::All(all) => all.iter().fold(0, |bits, one| bits | one.required()),
            Condition::Any(any) => any.iter().map(Condition::required).reduce(|one, other| one & other).unwrap_or(0),
            Condition::Not(_) => 0,
        }
    }
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
    NoValue { field: String },
    OpenQuote,
    OpenExpression,
    OpenGroup,
    UnopenedGroup,
    TextAfterValue,
    NoTerm,
    TimeInside { name: String },
    NotATime { text: String },
    NoTimeBetween { since: Micros, until: Micros },
    NotANetwork { text: String },
    NotANumber { text: String },
    NotAnExpression { why: String },
    ValueTooLong,
    TooManyClauses,
    TooDeep,
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
                write!(
                    f,
                    " (fields: {}; text with a colon in it is looked for when it stands in quotes)",
                    names().collect::<Vec<_>>().join(" ")
                )
            }
            Problem::NoValue { field } => write!(f, "`{field}:` needs a value: write {field}:VALUE, or exists:{field} for any"),
            Problem::OpenQuote => write!(f, "this quote is never closed: add a \" (write \\\" for one inside)"),
            Problem::OpenExpression => {
                write!(f, "this regular expression is never closed: add a /, or put quotes around a value that begins with /")
            }
            Problem::OpenGroup => write!(f, "this parenthesis is never closed: add a )"),
            Problem::UnopenedGroup => write!(f, "nothing was opened that this closes: put quotes around a value that holds it"),
            Problem::TextAfterValue => {
                write!(f, "put a space after the closing quote or slash, or the whole value inside quotes")
            }
            Problem::NoTerm => write!(f, "a term is missing here: write field:value or a word; for the words AND, OR, NOT use quotes"),
            Problem::TimeInside { name } => {
                write!(f, "`{name}:` holds for the whole query: take it out of the parentheses and away from NOT")
            }
            Problem::NotATime { text } => write!(
                f,
                "`{}` is no time: write a date (2026-03-22), a time (2026-03-22T10:30:00Z) or an age (30m, 24h, 7d)",
                text.escape_debug()
            ),
            Problem::NoTimeBetween { since, until } => write!(
                f,
                "no time is left: from {} on and before {} nothing can happen; is it the other way round?",
                time::format(*since),
                time::format(*until)
            ),
            Problem::NotANetwork { text } => {
                write!(f, "`{}` is no network: write an address and its bits, 203.0.113.0/24 or 2001:db8::/32", text.escape_debug())
            }
            Problem::NotANumber { text } => write!(f, "`{}` is no whole number to compare with: write >1024", text.escape_debug()),
            Problem::NotAnExpression { why } => {
                write!(f, "this regular expression does not work: {}; put quotes around a value that begins with /", why.escape_debug())
            }
            Problem::ValueTooLong => write!(f, "a value has at most {TERM_VALUE_BYTES_MAX} bytes: shorten it, or use a * wildcard"),
            Problem::TooManyClauses => write!(f, "a query has at most {CLAUSES_MAX} terms: leave some out"),
            Problem::TooDeep => write!(f, "more than {DEPTH_MAX} parentheses and NOTs stand inside each other: write it flatter"),
            Problem::QueryTooLong => write!(f, "a query has at most {QUERY_BYTES_MAX} bytes: shorten it"),
        }
    }
}

/// Every name that may stand before a colon.
fn names() -> impl Iterator<Item = &'static str> {
    Field::ALL.iter().map(|field| field.name()).chain(["exists", "since", "until"])
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

/// The query, held to what `scope` matches. Times hold for the whole of a query and cannot stand inside parentheses: they come first. What
/// is no query becomes one that no reader takes.
pub fn within(scope: &str, text: &str) -> String {
    let query = Query { clauses: Vec::new(), condition: Condition::All(Vec::new()), since: None, until: None };
    let mut reader = Reader { text, at: 0, now: time::now(), groups: 0, depth: 0, query, times: Vec::new() };
    if reader.any().is_err() {
        // Never the text itself: its parentheses could end the group around it, and what is no query now may be one a moment later.
        return "(".to_owned();
    }
    let (mut rest, mut times) = (text.to_owned(), String::new());
    for time in &reader.times {
        times.push_str(&text[time.clone()]);
        times.push(' ');
    }
    for time in reader.times.into_iter().rev() {
        // With the `AND` that joined it to what was before, or else behind.
        let (before, behind) = (rest[..time.start].trim_end(), rest[time.end..].trim_start());
        let joined = before.strip_suffix("AND").filter(|before| before.is_empty() || before.ends_with([' ', '\t', '\n', ')']));
        rest = match joined {
            Some(before) => format!("{before} {behind}"),
            None => {
                format!("{before} {}", behind.strip_prefix("AND").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(behind))
            }
        };
    }
    let grouped = format!("({})", rest.trim());
    match rest.trim() {
        "" => format!("{times}{scope}"),
        // What ends a group may be part of a value where there is none (`x) OR NOT y`): it must mean the same in both places.
        rest if !means_the_same(rest, &grouped) => "(".to_owned(),
        _ => format!("{times}{scope} {grouped}"),
    }
}

fn means_the_same(text: &str, other: &str) -> bool {
    let now = time::now();
    match (Query::parse(text, now), Query::parse(other, now)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

impl Query {
    /// Reads a query; ages count back from `now`.
    pub fn parse(text: &str, now: Micros) -> Result<Query, QueryError> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(QueryError { column: 1, problem: Problem::QueryTooLong });
        }
        let query = Query { clauses: Vec::new(), condition: Condition::All(Vec::new()), since: None, until: None };
        let mut reader = Reader { text, at: 0, now, groups: 0, depth: 0, query, times: Vec::new() };
        let condition = reader.any().map_err(|(at, problem)| QueryError { column: text[..at].chars().count() + 1, problem })?;
        Ok(Query { condition, ..reader.query })
    }

    /// Which clauses a term fulfils, one bit each.
    pub fn matches(&self, field: Field, value: &[u8]) -> u32 {
        let numbered = (0..).zip(&self.clauses);
        numbered.filter(|(_, clause)| clause.matches(field, value)).fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// Whether events of that time are asked for.
    pub fn covers(&self, time: Micros) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether an event of that time, whose terms fulfil just these clauses, is asked for.
    pub fn accepts(&self, clauses: u32, time: Micros) -> bool {
        self.condition.holds(clauses) && self.covers(time)
    }

    /// Whether any time from `min` to `max` is.
    pub fn overlaps(&self, min: Micros, max: Micros) -> bool {
        self.since.is_none_or(|since| max >= since) && self.until.is_none_or(|until| min < until)
    }
}

const _: () = assert!(CLAUSES_MAX <= u32::BITS as usize);

/// Reads a query from left to right. Errors say at which byte.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    now: Micros,
    /// Parentheses that are open.
    groups: usize,
    /// Those, and `NOT`s.
    depth: usize,
    query: Query,
    /// Where its times stand, with their names.
    times: Vec<Range<usize>>,
}

type Read<T> = Result<T, (usize, Problem)>;

impl Reader<'_> {
    /// `a OR b`, to the end of the text or of the group.
    fn any(&mut self) -> Read<Condition> {
        let nothing = Condition::All(Vec::new());
        let mut any = vec![self.all()?];
        while self.is_next("OR") {
            if any.last() == Some(&nothing) {
                return Err((self.at, Problem::NoTerm));
            }
            self.takes("OR");
            any.push(self.all()?);
        }
        if any.len() > 1 && any.last() == Some(&nothing) {
            return Err((self.at, Problem::NoTerm));
        }
        if self.rest().starts_with(')') && self.groups == 0 {
            return Err((self.at, Problem::UnopenedGroup));
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
    }

    /// `a b`, `a AND b`
    fn all(&mut self) -> Read<Condition> {
        let mut all = Vec::new();
        loop {
            self.skip_blanks();
            let place = self.at;
            let is_demanded = self.takes("AND");
            if is_demanded && all.is_empty() && self.query.since.or(self.query.until).is_none() {
                return Err((place, Problem::NoTerm));
            }
            if self.rest().is_empty() || self.rest().starts_with(')') || self.is_next("OR") {
                return match is_demanded {
                    true => Err((self.at, Problem::NoTerm)),
                    false if all.len() == 1 => Ok(all.remove(0)),
                    false => Ok(Condition::All(all)),
                };
            }
            all.extend(self.one()?);
        }
    }

    /// A term, one that must not hold, or a group; `None` for a time, which is no condition on terms.
    fn one(&mut self) -> Read<Option<Condition>> {
        let start = self.at;
        let is_not = self.takes("NOT");
        if !is_not && !self.rest().starts_with('(') {
            return self.term();
        }
        if self.depth == DEPTH_MAX {
            return Err((start, Problem::TooDeep));
        }
        self.depth += 1;
        let condition = if is_not {
            self.skip_blanks();
            if self.rest().is_empty() || self.rest().starts_with(')') || ["AND", "OR"].iter().any(|word| self.is_next(word)) {
                return Err((self.at, Problem::NoTerm));
            }
            self.one()?.map(|condition| Condition::Not(Box::new(condition)))
        } else {
            self.at += 1;
            self.groups += 1;
            let condition = self.any()?;
            if !self.rest().starts_with(')') {
                return Err((start, Problem::OpenGroup));
            }
            if condition == Condition::All(Vec::new()) {
                return Err((self.at, Problem::NoTerm));
            }
            self.at += 1;
            self.groups -= 1;
            Some(condition)
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn term(&mut self) -> Read<Option<Condition>> {
        let start = self.at;
        let word = &self.text[start..self.text[start..].find(char::is_whitespace).map_or(self.text.len(), |len| start + len)];
        let Some(name) = word.split_once(':').map(|(name, _)| name).filter(|_| !word.starts_with('"')) else {
            let value = self.value()?;
            let pieces: Vec<String> = value.pieces.into_iter().map(|piece| String::from_utf8_lossy(&piece).into_owned()).collect();
            let expression = Expression::of_pieces(&pieces).map_err(|why| (start, Problem::NotAnExpression { why }))?;
            return self.clause(start, None, Pattern::Expression(expression)).map(Some);
        };
        self.at += name.len() + 1;
        let (value_start, field) = (self.at, Field::parse(name));
        if matches!(name, "since" | "until") && self.depth > 0 {
            return Err((start, Problem::TimeInside { name: name.to_owned() }));
        }
        if field.is_none() && !matches!(name, "since" | "until" | "exists") {
            return Err((start, Problem::UnknownField { name: name.to_owned(), nearest: nearest_name(name) }));
        }
        if let Some(field) = field.filter(|_| self.text[value_start..].starts_with('/')) {
            let expression = self.expression()?;
            return self.clause(start, Some(field), Pattern::Expression(expression)).map(Some);
        }
        let value = self.value()?;
        let written = self.text[value_start..self.at].trim_matches('"').to_owned();
        if value_start == self.at {
            return Err((self.at, Problem::NoValue { field: name.to_owned() }));
        }
        let Some(field) = field else {
            if name == "exists" {
                let unknown = || (value_start, Problem::UnknownField { name: written.clone(), nearest: nearest_name(&written) });
                let field = Field::parse(&written).ok_or_else(unknown)?;
                return self.clause(start, Some(field), Pattern::Wildcard(vec![Vec::new(), Vec::new()])).map(Some);
            }
            let times = parse_time(&written, self.now).ok_or_else(|| (value_start, Problem::NotATime { text: written.clone() }))?;
            let query = &mut self.query;
            match name {
                "since" => query.since = Some(query.since.map_or(times.0, |since| since.max(times.0))),
                _ => query.until = Some(query.until.map_or(times.1, |until| until.min(times.1))),
            }
            if let (Some(since), Some(until)) = (query.since, query.until)
                && since >= until
            {
                return Err((start, Problem::NoTimeBetween { since, until }));
            }
            self.times.push(start..self.at);
            return Ok(None);
        };
        if value.len() > TERM_VALUE_BYTES_MAX {
            return Err((value_start, Problem::ValueTooLong));
        }
        let pattern = match Comparison::split(&written).filter(|_| holds_numbers(field) && !value.is_quoted) {
            Some((comparison, number)) => {
                let number = number.parse().map_err(|_| (value_start, Problem::NotANumber { text: number.to_owned() }))?;
                Pattern::Number(comparison, number)
            }
            None if holds_addresses(field) && !value.is_quoted && written.contains('/') => {
                Pattern::network(written.parse().map_err(|_| (value_start, Problem::NotANetwork { text: written }))?)
            }
            None => value.into_pattern(),
        };
        self.clause(start, Some(field), pattern).map(Some)
    }

    fn clause(&mut self, start: usize, field: Option<Field>, pattern: Pattern) -> Read<Condition> {
        if self.query.clauses.len() == CLAUSES_MAX {
            return Err((start, Problem::TooManyClauses));
        }
        self.query.clauses.push(Clause { field, pattern });
        Ok(Condition::Clause(self.query.clauses.len() - 1))
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Whether this word of the language comes next.
    fn is_next(&self, word: &str) -> bool {
        let follows = self.rest().strip_prefix(word).map(|rest| rest.chars().next());
        follows.is_some_and(|next| next.is_none_or(|next| next.is_whitespace() || matches!(next, '(' | ')')))
    }

    /// Passes blanks, and this word if it comes next.
    fn takes(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let there = self.is_next(word);
        if there {
            self.at += word.len();
            self.skip_blanks();
        }
        there
    }

    /// What may follow a value that shows its own end.
    fn ends_here(&self) -> bool {
        self.rest().chars().next().is_none_or(|next| next.is_whitespace() || (next == ')' && self.groups > 0))
    }

    /// A value up to a blank, in a group also up to the parenthesis that closes it, or to its closing quote.
    fn value(&mut self) -> Read<Value> {
        let start = self.at;
        let is_quoted = self.rest().starts_with('"');
        let mut pieces = vec![Vec::new()];
        let mut open = 0;
        let mut chars = self.text[start..].char_indices().skip(usize::from(is_quoted)).peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' if is_quoted => {
                    self.at = start + at + 1;
                    return if self.ends_here() { Ok(Value { pieces, is_quoted }) } else { Err((self.at, Problem::TextAfterValue)) };
                }
                ')' if !is_quoted && open == 0 && self.groups > 0 => {
                    self.at = start + at;
                    return Ok(Value { pieces, is_quoted });
                }
                char if !is_quoted && char.is_whitespace() => {
                    self.at = start + at;
                    return Ok(Value { pieces, is_quoted });
                }
                '*' => pieces.push(Vec::new()),
                char => {
                    open = match char {
                        '(' => open + 1,
                        ')' => open.max(1) - 1,
                        _ => open,
                    };
                    let escaped = if char == '\\' { chars.next_if(|(_, next)| matches!(next, '*' | '"' | '\\')) } else { None };
                    let char = escaped.map_or(char, |(_, next)| next);
                    let piece = pieces.last_mut().expect("there is always a piece");
                    piece.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        if is_quoted {
            return Err((start, Problem::OpenQuote));
        }
        self.at = self.text.len();
        Ok(Value { pieces, is_quoted })
    }

    /// `/…/`; a slash inside is written `\/`.
    fn expression(&mut self) -> Read<Expression> {
        let start = self.at;
        let mut written = String::new();
        let mut chars = self.text[start..].char_indices().skip(1).peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '/' => {
                    self.at = start + at + 1;
                    if !self.ends_here() {
                        return Err((self.at, Problem::TextAfterValue));
                    }
                    return Expression::new(&written).map_err(|why| (start, Problem::NotAnExpression { why }));
                }
                '\\' => match chars.next() {
                    Some((_, '/')) => written.push('/'),
                    Some((_, escaped)) => written.extend(['\\', escaped]),
                    None => {}
                },
                char => written.push(char),
            }
        }
        Err((start, Problem::OpenExpression))
    }
}

/// A value as it was written: the pieces between its stars.
struct Value {
    pieces: Vec<Vec<u8>>,
    is_quoted: bool,
}

impl Value {
    fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    fn into_pattern(mut self) -> Pattern {
        if self.pieces.len() == 1 { Pattern::Exact(self.pieces.remove(0)) } else { Pattern::Wildcard(self.pieces) }
    }
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
        Clause { field: Some(field), pattern: Pattern::Exact(value.into()) }
    }

    #[test]
    fn a_query_is_held_to_a_scope_with_its_times_in_front() {
        let scope = "sensor:\"hive\"";
        for (text, expected) in [
            ("", "sensor:\"hive\""),
            ("root", "sensor:\"hive\" (root)"),
            ("a OR b", "sensor:\"hive\" (a OR b)"),
            ("since:7d", "since:7d sensor:\"hive\""),
            ("a since:7d OR b until:1h", "since:7d until:1h sensor:\"hive\" (a OR b)"),
            ("a AND since:7d", "since:7d sensor:\"hive\" (a)"),
            ("since:7d AND until:1d AND a", "since:7d until:1d sensor:\"hive\" (a)"),
            ("(a OR b) AND since:7d AND c", "since:7d sensor:\"hive\" ((a OR b)  AND c)"),
            ("command:\"since:7d\"", "sensor:\"hive\" (command:\"since:7d\")"),
        ] {
            let held = within(scope, text);
            assert_eq!(held, expected, "{text}");
            let (whole, held) = (Query::parse(text, 0).unwrap(), Query::parse(&held, 0).unwrap());
            assert_eq!((held.since, held.until, held.clauses.len()), (whole.since, whole.until, whole.clauses.len() + 1), "{text}");
        }
        for text in [
            "a) OR (b",
            "(",
            "\"",
            "a OR",
            "since:2026-03-22 until:2026-03-21",
            "a) OR (b since:7d",
            "x) OR NOT y",
            "command:x) OR exists:src_ip y",
            "x) OR since:7d y",
        ] {
            assert!(Query::parse(&within(scope, text), 0).is_err(), "{text}");
        }
    }

    #[test]
    fn a_quoted_value_is_taken_literally() {
        for value in ["*", "a b", "\\*", "\\", "\"*\"", "a\\\\*b\""] {
            let query = Query::parse(&format!("command:{}", quote(value)), 0).expect(value);
            assert_eq!(query.clauses[0].pattern, Pattern::Exact(value.into()), "{value:?}");
        }
    }

    #[test]
    fn reads_terms_quotes_and_wildcards() {
        let wildcard = |field, pieces: &[&str]| Clause {
            field: Some(field),
            pattern: Pattern::Wildcard(pieces.iter().map(|&piece| piece.into()).collect()),
        };
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
            (
                "since:2026-03-20T00:00:01Z until:2026-03-20T01:00:02+01:00",
                Some(day + MICROS_PER_SECOND),
                Some(day + 2 * MICROS_PER_SECOND),
            ),
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
            ("username:", 10, "`username:` needs a value"),
            ("username: root", 10, "`username:` needs a value"),
            ("password:é command:\"wget", 20, "this quote is never closed"),
            ("command:\"wget\"x", 15, "put a space after the closing quote"),
            ("command:/wget", 9, "this regular expression is never closed"),
            ("command:/wget/x", 15, "put a space after the closing quote or slash"),
            ("command:/(/", 9, "unclosed group"),
            ("command:/(a{1000}){1000}/", 9, "too large"),
            ("src_ip:1.2.3.0/33", 8, "`1.2.3.0/33` is no network"),
            ("dst_port:>x", 10, "`x` is no whole number"),
            ("exists:passwort", 8, "did you mean `password`?"),
            ("(username:a", 1, "this parenthesis is never closed"),
            ("username:a )", 12, "nothing was opened"),
            ("username:a OR", 14, "a term is missing"),
            ("OR username:a", 1, "a term is missing"),
            ("AND username:a", 1, "a term is missing"),
            ("username:a AND", 15, "a term is missing"),
            ("username:a NOT", 15, "a term is missing"),
            ("NOT OR a", 5, "a term is missing"),
            ("since:7d OR username:a", 10, "a term is missing"),
            ("()", 2, "a term is missing"),
            ("NOT since:7d", 5, "holds for the whole query"),
            ("(since:7d a)", 2, "holds for the whole query"),
            ("http://x", 1, "looked for when it stands in quotes"),
            ("since:yesterday", 7, "`yesterday` is no time"),
            ("since:99999999999999999999d", 7, "is no time"),
            ("until:2026-02-30", 7, "is no time"),
            ("since:2026-03-22 until:2026-03-21", 18, "from 2026-03-22T00:00:00.000000Z on and before 2026-03-22T00:00:00.000000Z"),
            ("until:24h username:a since:3h", 22, "is it the other way round?"),
            (":x", 1, "there is no field ``"),
        ] {
            let error = Query::parse(text, NOW).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(message), "{text}: {error}");
        }
        let error = Query::parse("username:root pasword:x", NOW).unwrap_err();
        assert_eq!(error.pointer("username:root pasword:x"), "username:root pasword:x\n              ^");
        assert_eq!(Query::parse(&format!("{}a{}", "(".repeat(33), ")".repeat(33)), NOW).unwrap_err().problem, Problem::TooDeep);
        assert_eq!(Query::parse(&format!("{} a", "NOT ".repeat(33)), NOW).unwrap_err().problem, Problem::TooDeep);
        assert_eq!(Query::parse(&"username:a ".repeat(33), NOW).unwrap_err().problem, Problem::TooManyClauses);
        assert_eq!(Query::parse(&"x".repeat(QUERY_BYTES_MAX + 1), NOW).unwrap_err().problem, Problem::QueryTooLong);
        assert_eq!(Query::parse(&format!("username:{}", "x".repeat(4_097)), NOW).unwrap_err().problem, Problem::ValueTooLong);
    }

    /// A condition as it was understood, with clauses by number.
    fn written(condition: &Condition) -> String {
        let list = |all: &[Condition]| all.iter().map(written).collect::<Vec<_>>().join(" ");
        match condition {
            Condition::Clause(number) => number.to_string(),
            Condition::Not(not) => format!("!{}", written(not)),
            Condition::All(all) => format!("({})", list(all)),
            Condition::Any(any) => format!("[{}]", list(any)),
        }
    }

    #[test]
    fn and_binds_closer_than_or_and_not_closest() {
        for (text, expected) in [
            ("", "()"),
            ("a", "0"),
            ("a b", "(0 1)"),
            ("a AND b", "(0 1)"),
            ("a OR b c", "[0 (1 2)]"),
            ("(a OR b) c", "([0 1] 2)"),
            ("NOT a b", "(!0 1)"),
            ("NOT (a b)", "!(0 1)"),
            ("NOT NOT a", "!!0"),
            ("a OR NOT(b OR c)", "[0 ![1 2]]"),
            ("since:7d AND a", "0"),
            ("a since:7d OR b", "[0 1]"),
            ("((a))", "0"),
            ("or and not", "(0 1 2)"),
            ("\"OR\" ORACLE", "(0 1)"),
        ] {
            assert_eq!(
                Query::parse(text, NOW).map(|query| written(&query.condition)).unwrap_or_else(|error| error.to_string()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn values_end_where_a_person_would_say() {
        for (text, expected) in [
            ("(command:ls)", "ls"),
            ("(command:$(id))", "$(id)"),
            ("command:a)b", "a)b"),
            ("command:(a", "(a"),
            ("(command:\"a)\")", "a)"),
            ("dst_ip:\"1.2.3.0/24\"", "1.2.3.0/24"),
            ("url:http://x/1", "http://x/1"),
            ("password:>5", ">5"),
        ] {
            let query = Query::parse(text, NOW).unwrap();
            assert_eq!(query.clauses[0].pattern, Pattern::Exact(expected.into()), "{text}");
        }
    }

    #[test]
    fn shapes_of_values_match() {
        for (text, field, matching, other) in [
            ("src_ip:203.0.113.0/24", Field::SrcIp, "203.0.113.9", "203.0.114.9"),
            ("src_ip:2001:db8::/32", Field::SrcIp, "2001:db8::9", "2001:db9::9"),
            ("dst_port:>1024", Field::DstPort, "2222", "22"),
            ("dst_port:<=22", Field::DstPort, "22", "23"),
            ("command:/wget.+sh/", Field::Command, "cd /; wget x.sh", "wget x"),
            ("command:/^\\/bin\\/(ba)?sh$/", Field::Command, "/bin/bash", "/bin/zsh"),
            ("exists:password", Field::Password, "", "-"),
            ("wget", Field::Command, "busybox WGET x", "curl"),
            ("\"rm -rf\"", Field::Command, "sudo rm -rf /", "rm  -rf"),
            ("wget*sh", Field::Url, "wget-x.sh", "sh wget"),
        ] {
            let query = Query::parse(text, NOW).unwrap();
            assert_eq!(query.matches(field, matching.as_bytes()), 1, "{text}");
            let other_field = if field == Field::Password { Field::Username } else { field };
            assert_eq!(query.matches(other_field, other.as_bytes()), 0, "{text}");
        }
    }

    #[test]
    fn what_must_hold_is_known() {
        for (text, expected) in [("a b", 0b11), ("a OR b", 0), ("a (b OR c)", 0b1), ("NOT a", 0), ("(a b) OR (a c)", 0), ("a OR a", 0)] {
            assert_eq!(Query::parse(text, NOW).unwrap().condition.required(), expected, "{text}");
        }
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
            for text in [text.clone(), format!("username:{text}"), format!("since:{text}"), format!("command:\"{text}"), format!("command:/{text}"), format!("(NOT {text} OR a)")] {
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
