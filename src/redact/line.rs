//! Rewriting one line by the rules that apply to it.
use super::{Action, Kind, Policy, Private, Rule, Stage, is_mark};
use crate::events::decoder::{Event, Place, Role};
use crate::events::json;
use crate::events::{Field, Format, LINE_BYTES_MAX};
use crate::extract::{Context, Extractor, Spot, spots};
use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A line is looked through again as long as something is found, so often at most: more takes somebody who works for it.
const PASSES_MAX: usize = 8;
/// The shortest address is `a@b.co`; the shortest telephone's number, of `456-7890`, is longer.
const TEXT_BYTES_MIN: usize = 6;
/// Shorter runs of letters are not tried as base64.
const PACKED_BYTES_MIN: usize = 12;
/// A shorter number holds nothing.
const NUMBER_BYTES_MIN: usize = 7;

/// What leaves in place of a line that cannot be redacted for certain.
pub const WITHHELD: &[u8] = br#"{"withheld":"this line could not be redacted for certain"}"#;

/// Where a line comes from.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Name of the configured source.
    pub source: &'a str,
    pub format: Format,
}

/// Why a line cannot be redacted for certain: it must not be kept, nor sent. Nothing of the line is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncertain {
    #[error("it is no JSON object")]
    NotAnObject,
    #[error("its format reads it no longer once it is redacted: mask or hash what the format cannot do without, rather than drop it")]
    Unreadable,
    #[error("its format does not read it, so nobody knows where the fields to be redacted are")]
    Unknown,
    #[error("something would be left of what is to be redacted")]
    Left,
    #[error("it would be longer than {LINE_BYTES_MAX} bytes once it is redacted")]
    TooLong,
}

/// Rewrites lines; keeps its memory from line to line.
#[derive(Debug, Default)]
pub struct Redactor {
    event: Event,
    /// Of the line at hand: fields to be redacted, with the numbers of their rules, and texts as its format knows them.
    fields: Vec<(usize, Field, Place)>,
    texts: Vec<(usize, Context, bool)>,
    retellings: Vec<(&'static [Field], Place)>,
    /// Values that were redacted, with the numbers of their rules.
    values: Vec<(usize, Vec<u8>)>,
    edits: Vec<Edit>,
    spots: Vec<Spot>,
    text: String,
    /// Where in the literal each byte of `text` stands, and where the last one ends; empty where they run in step.
    origins: Vec<u32>,
    bytes: Vec<u8>,
}

/// What takes the place of a piece of the line.
#[derive(Debug)]
struct Edit {
    range: Range<usize>,
    with: String,
    /// It is a whole member, and goes with its comma.
    is_member: bool,
}

/// Rules that apply to a line.
struct Rules<'p> {
    policy: &'p Policy,
    rules: Vec<&'p Rule>,
    extractors: Vec<&'static dyn Extractor>,
    /// Marks would make the line too long: drop instead.
    shrink: bool,
}

impl<'p> Rules<'p> {
    /// The first rule for a field, and its number.
    fn of_field(&self, field: Field) -> Option<usize> {
        self.rules.iter().position(|rule| rule.fields.contains(&field))
    }

    fn has_fields(&self) -> bool {
        self.rules.iter().any(|rule| !rule.fields.is_empty())
    }

    fn mark(&self, rule: &Rule, name: &str, value: &[u8]) -> Option<String> {
        self.policy.mark(if self.shrink { Action::Drop } else { rule.action }, name, value)
    }

    /// What takes the place of something found in a text; empty: it is cut out.
    fn mark_of(&self, spot: &Spot) -> String {
        let kind = Kind::parse(spot.what);
        let rule = self.rules.iter().find(|rule| kind.is_some_and(|kind| rule.kinds.contains(&kind)));
        rule.and_then(|rule| self.mark(rule, spot.what, spot.value.as_bytes())).unwrap_or_default()
    }
}

impl Redactor {
    /// The line as the rules of a stage leave it; `None`: as it is.
    pub fn redact(&mut self, policy: &Policy, stage: Stage, subject: Subject<'_>, line: &[u8]) -> Result<Option<Vec<u8>>, Uncertain> {
        let rules: Vec<&Rule> = policy.rules.iter().filter(|rule| rule.applies(stage, subject.source)).collect();
        if rules.is_empty() {
            return Ok(None);
        }
        json::members(line, |_, _| {}).map_err(|_| Uncertain::NotAnObject)?;
        let mut rules = Rules { policy, rules, extractors: Vec::new(), shrink: false };
        // A stored line may be of a format that nobody describes any more.
        let mut is_read = None;
        if rules.rules.iter().any(|rule| !rule.sensors.is_empty()) && *is_read.insert(self.decode(subject.format, line)) {
            let event = &self.event;
            let sensor = event.sensor.map_or(&[][..], |sensor| sensor.of(line, &event.arena));
            let named = |rule: &&Rule| rule.sensors.is_empty() || policy.names_sensor(&rule.sensors, sensor);
            rules.rules.retain(named);
        }
        let kinds = Kind::ALL.into_iter().filter(|kind| rules.rules.iter().any(|rule| rule.kinds.contains(kind)));
        rules.extractors = kinds.map(Kind::extractor).collect();
        if rules.rules.is_empty() {
            return Ok(None);
        }
        if rules.has_fields() && !*is_read.get_or_insert_with(|| self.decode(subject.format, line)) {
            return Err(Uncertain::Unknown);
        }
        let mut redacted = self.until_nothing_is_found(&rules, subject.format, line)?;
        if redacted.as_ref().is_some_and(|line| line.len() > LINE_BYTES_MAX) {
            rules.shrink = true;
            redacted = self.until_nothing_is_found(&rules, subject.format, line)?;
        }
        let Some(redacted) = redacted else { return Ok(None) };
        if redacted.len() > LINE_BYTES_MAX {
            return Err(Uncertain::TooLong);
        }
        let was_read = is_read.unwrap_or_else(|| self.decode(subject.format, line));
        self.verify(&rules, subject.format, &redacted, was_read)?;
        Ok(Some(redacted))
    }

    /// A stored line as it may leave. In place of one that cannot be redacted for certain stands [`WITHHELD`].
    pub fn leaving<'l>(&mut self, policy: &Policy, subject: Subject<'_>, line: &'l [u8]) -> Cow<'l, [u8]> {
        let _private = Private::begin();
        let redacted = catch_unwind(AssertUnwindSafe(|| self.redact(policy, Stage::Export, subject, line)));
        match redacted {
            Ok(Ok(None)) => line.into(),
            Ok(Ok(Some(redacted))) => redacted.into(),
            // Owned like all that differs.
            Ok(Err(_)) | Err(_) => WITHHELD.to_vec().into(),
        }
    }

    fn decode(&mut self, format: Format, line: &[u8]) -> bool {
        self.event.reset(false);
        format.decoder().decode(line, &mut self.event).is_ok()
    }

    fn until_nothing_is_found(&mut self, rules: &Rules<'_>, format: Format, line: &[u8]) -> Result<Option<Vec<u8>>, Uncertain> {
        let mut redacted: Option<Vec<u8>> = None;
        for _ in 0..PASSES_MAX {
            let now = redacted.as_deref().unwrap_or(line);
            self.look(rules, format, now);
            if self.edits.is_empty() {
                return Ok(redacted);
            }
            let line = self.rewritten(now);
            // Of fields the first pass leaves none; a line that is too long already is made anew or refused.
            let is_done = rules.extractors.is_empty() || line.len() > LINE_BYTES_MAX;
            redacted = Some(line);
            if is_done {
                return Ok(redacted);
            }
        }
        Err(Uncertain::Left)
    }

    /// Notes what is to be done to a line, in its order.
    fn look(&mut self, rules: &Rules<'_>, format: Format, line: &[u8]) {
        self.edits.clear();
        self.fields.clear();
        self.texts.clear();
        self.retellings.clear();
        self.values.clear();
        let (fields, texts, retellings) = (&mut self.fields, &mut self.texts, &mut self.retellings);
        format.decoder().places(line, &mut |role, place| match role {
            Role::Field(field) => fields.extend(rules.of_field(field).map(|rule| (rule, field, place))),
            Role::Text { context, base64 } => texts.push((place.value.start, context, base64)),
            Role::Retelling(fields) => retellings.push((fields, place)),
        });
        // Of values in one another the outermost counts, of several fields with the same value the first rule.
        fields.sort_by_key(|(rule, _, place)| (place.value.start, usize::MAX - place.value.end, *rule));
        let mut end = 0;
        for (rule, field, place) in &self.fields {
            if place.value.start < end {
                continue;
            }
            end = place.value.end;
            let is_mark = |value: &[u8]| is_mark(field.name(), value);
            if let Some(edit) = edit_of_value(rules, rules.rules[*rule], field.name(), place, line, &mut self.bytes, is_mark) {
                self.edits.push(edit);
                self.values.push((*rule, self.bytes.clone()));
            }
        }
        for (fields, place) in &self.retellings {
            let told = &line[place.value.clone()];
            // Which values it tells can be known of those only that the line has beside it: of fields it may tell, none is taken for one.
            let by_value = || self.values.iter().find(|(_, value)| may_tell(told, value)).map(|(rule, _)| *rule);
            let Some(rule) = by_value().or_else(|| fields.iter().filter_map(|field| rules.of_field(*field)).min()) else { continue };
            let is_mark = |value: &[u8]| is_mark(RETELLING, value);
            self.edits.extend(edit_of_value(rules, rules.rules[rule], RETELLING, place, line, &mut self.bytes, is_mark));
        }
        self.edits.sort_by_key(|edit| edit.range.start);
        if !rules.extractors.is_empty() {
            self.look_through(rules, format, line);
        }
    }

    /// Looks through every string and every number that is not replaced as a whole.
    fn look_through(&mut self, rules: &Rules<'_>, format: Format, line: &[u8]) {
        let by_fields = self.edits.len();
        let mut next_field = 0;
        let mut at = 0;
        while at < line.len() {
            let start = at;
            let is_string = match line[at] {
                b'"' => {
                    at = end_of_string(line, at);
                    true
                }
                b'-' | b'0'..=b'9' => {
                    at += line[at..].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
                    false
                }
                _ => {
                    at += 1;
                    continue;
                }
            };
            while next_field < by_fields && self.edits[next_field].range.end <= start {
                next_field += 1;
            }
            if next_field < by_fields && self.edits[next_field].range.start <= start {
                at = self.edits[next_field].range.end.max(at);
            } else if is_string {
                self.look_at_string(rules, format, line, start..at);
            } else if at - start >= NUMBER_BYTES_MIN {
                self.look_at_number(rules, format, line, start..at);
            }
        }
        // Those of fields came first.
        self.edits.sort_by_key(|edit| edit.range.start);
    }

    fn look_at_number(&mut self, rules: &Rules<'_>, format: Format, line: &[u8], range: Range<usize>) {
        // Digits are ASCII.
        let digits = std::str::from_utf8(&line[range.clone()]).unwrap_or_default();
        self.spots.clear();
        spots(usual_context(format), digits, &rules.extractors, &mut self.spots);
        if let Some(spot) = self.spots.first() {
            let mark = rules.mark_of(spot);
            let with = if mark.is_empty() { "null".to_owned() } else { format!("\"{mark}\"") };
            self.edits.push(Edit { range, with, is_member: false });
        }
    }

    /// Looks through the string whose quotes are the ends of `range`.
    fn look_at_string(&mut self, rules: &Rules<'_>, format: Format, line: &[u8], range: Range<usize>) {
        let literal = range.start + 1..range.end - 1;
        if holds_nothing(&line[literal.clone()]) {
            return;
        }
        read(&line[literal.clone()], &mut self.text, &mut self.origins, &mut self.bytes);
        self.spots.clear();
        let known = self.texts.iter().filter(|(start, ..)| *start == range.start);
        let mut is_known = false;
        for &(_, context, base64) in known {
            if base64 {
                // All of it, or nothing: a place in what was decoded is none in the line.
                let mut decoded = Vec::new();
                crate::events::mapping::unpack_base64(self.text.as_bytes(), &mut decoded);
                let mut inside = Vec::new();
                spots(context, &String::from_utf8_lossy(&decoded), &rules.extractors, &mut inside);
                self.spots.extend(inside.into_iter().take(1).map(|spot| Spot { range: 0..self.text.len(), ..spot }));
            } else {
                is_known = true;
                spots(context, &self.text, &rules.extractors, &mut self.spots);
            }
        }
        if !is_known {
            spots(usual_context(format), &self.text, &rules.extractors, &mut self.spots);
        }
        if self.spots.is_empty() {
            return;
        }
        self.spots.sort_by_key(|spot| (spot.range.start, usize::MAX - spot.range.end));
        let origin = |at: usize| literal.start + self.origins.get(at).map_or(at, |&origin| origin as usize);
        let mut at = 0;
        while at < self.spots.len() {
            let (spot, mut end) = (&self.spots[at], self.spots[at].range.end);
            let first = at;
            // What overlaps goes with it.
            while at < self.spots.len() && (at == first || self.spots[at].range.start < end) {
                end = end.max(self.spots[at].range.end);
                at += 1;
            }
            let range = origin(spot.range.start)..origin(end);
            if !range.is_empty() {
                self.edits.push(Edit { range, with: rules.mark_of(spot), is_member: false });
            }
        }
    }

    fn rewritten(&self, line: &[u8]) -> Vec<u8> {
        let grown: usize = self.edits.iter().map(|edit| edit.with.len()).sum();
        let mut out = Vec::with_capacity(line.len() + grown);
        let mut at = 0;
        for edit in &self.edits {
            if edit.range.start < at {
                continue;
            }
            out.extend_from_slice(&line[at..edit.range.start]);
            out.extend_from_slice(edit.with.as_bytes());
            at = edit.range.end;
            if edit.is_member {
                let behind = at + line[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                if line.get(behind) == Some(&b',') {
                    at = behind + 1;
                } else {
                    // The last one: the comma before it goes.
                    let kept = out.trim_ascii_end().strip_suffix(b",").map(<[u8]>::len);
                    out.truncate(kept.unwrap_or(out.len()));
                }
            }
        }
        out.extend_from_slice(&line[at..]);
        out
    }

    /// Looks at a redacted line as the index will.
    fn verify(&mut self, rules: &Rules<'_>, format: Format, line: &[u8], was_read: bool) -> Result<(), Uncertain> {
        json::members(line, |_, _| {}).map_err(|_| Uncertain::NotAnObject)?;
        if !was_read {
            return Ok(());
        }
        if !self.decode(format, line) {
            return Err(Uncertain::Unreadable);
        }
        let event = &self.event;
        let own = event.terms.iter().map(|term| (term.field, term.value));
        for (field, value) in own.chain(event.session.map(|session| (Field::Session, session))) {
            let opening = || [b"[", field.name().as_bytes()].concat();
            if rules.of_field(field).is_some() && memchr::memmem::find(value.of(line, &event.arena), &opening()).is_none() {
                return Err(Uncertain::Left);
            }
        }
        for &(context, text) in &event.texts {
            self.spots.clear();
            spots(context, &String::from_utf8_lossy(text.of(line, &event.arena)), &rules.extractors, &mut self.spots);
            if !self.spots.is_empty() {
                return Err(Uncertain::Left);
            }
        }
        Ok(())
    }
}

/// Whether a literal is too short for anything, or a word (as most names of members are) too short for something packed.
fn holds_nothing(literal: &[u8]) -> bool {
    literal.len() < TEXT_BYTES_MIN
        || (literal.len() < PACKED_BYTES_MIN && literal.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_'))
}

/// How a text is read of which the format does not say what it is.
fn usual_context(format: Format) -> Context {
    if format.time_is_the_senders() { Context::Chat } else { Context::Other }
}

/// What the mark of a retelling is called.
const RETELLING: &str = "message";

/// Whether a value, as JSON spells it, may hold another. What some language would quote or escape in its own way may be anywhere.
fn may_tell(told: &[u8], value: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\' | b'/');
    !value.is_empty() && (!value.iter().all(plain) || memchr::memchr(b'\\', told).is_some() || memchr::memmem::find(told, value).is_some())
}

/// What becomes of a whole value; its text is in `bytes` then.
fn edit_of_value(
    rules: &Rules<'_>,
    rule: &Rule,
    name: &str,
    place: &Place,
    line: &[u8],
    bytes: &mut Vec<u8>,
    is_done: impl Fn(&[u8]) -> bool,
) -> Option<Edit> {
    let value = &line[place.value.clone()];
    bytes.clear();
    match value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        Some(literal) => json::unescape(literal, bytes),
        None => bytes.extend_from_slice(value),
    }
    if value == b"null" || is_done(bytes) {
        return None;
    }
    Some(match (rules.mark(rule, name, bytes), place.name) {
        (Some(mark), _) => Edit { range: place.value.clone(), with: format!("\"{mark}\""), is_member: false },
        (None, Some(member)) => Edit { range: member..place.value.end, with: String::new(), is_member: true },
        // The others keep their places.
        (None, None) => Edit { range: place.value.clone(), with: "null".to_owned(), is_member: false },
    })
}

/// Where the string ends whose quote stands at `at`, behind its other quote; the line is valid JSON.
fn end_of_string(line: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(next) = memchr::memchr2(b'"', b'\\', &line[at.min(line.len())..]) {
        at += next;
        if line[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    line.len()
}

/// Reads a literal as its decoder does: without escapes, and what is no UTF-8 replaced.
fn read(literal: &[u8], text: &mut String, origins: &mut Vec<u32>, bytes: &mut Vec<u8>) {
    text.clear();
    origins.clear();
    if memchr::memchr(b'\\', literal).is_none()
        && let Ok(plain) = std::str::from_utf8(literal)
    {
        return text.push_str(plain);
    }
    bytes.clear();
    let mut at = 0;
    while at < literal.len() {
        let len = if literal[at] == b'\\' { escape_len(&literal[at..]) } else { 1 };
        let (from, end) = (bytes.len(), (at + len).min(literal.len()));
        json::unescape(&literal[at..end], bytes);
        origins.extend(std::iter::repeat_n(at as u32, bytes.len() - from));
        at = end;
    }
    let origins_of_bytes = std::mem::take(origins);
    let mut from = 0;
    for chunk in bytes.utf8_chunks() {
        let (valid, invalid) = (chunk.valid().len(), chunk.invalid().len());
        text.push_str(chunk.valid());
        origins.extend_from_slice(&origins_of_bytes[from..from + valid]);
        if invalid > 0 {
            text.push(char::REPLACEMENT_CHARACTER);
            origins.extend([origins_of_bytes[from + valid]; char::REPLACEMENT_CHARACTER.len_utf8()]);
        }
        from += valid + invalid;
    }
    origins.push(literal.len() as u32);
}

/// Length of the escape at the front; a pair of surrogates is one.
fn escape_len(literal: &[u8]) -> usize {
    if literal.get(1) != Some(&b'u') {
        return 2;
    }
    let unit = |at: usize| {
        let digits = literal.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match (unit(0), unit(6)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
        _ => 6,
    }
}
