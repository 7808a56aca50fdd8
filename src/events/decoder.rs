//! From one line to what the journal and the index need to know of it.
//!
//! A decoder validates a line and notes times and terms in an [`Event`] that is reused: no allocation per event. Adding a
//! format is one file with a [`Decoder`] and one entry in [`Format`](super::Format).
use super::act::{Act, Marked, Sequence};
use super::id::{EventId, FieldsId};
use super::json::{self, Flaw, Literal, Type, Value};
use super::{Field, Micros, TERM_BYTES_PER_EVENT_MAX, TERM_VALUE_BYTES_MAX, TERMS_PER_EVENT_MAX};
use crate::extract::{Context, TEXT_BYTES_MAX};
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

/// Reads the lines of one format.
pub trait Decoder: Send + Sync {
    /// What makes two lines the same event.
    fn identity(&self) -> Identity;

    /// Validates that `line` is one event and notes in `event` what it says; `event` has been [begun](Event::begin).
    ///
    /// After an error what was noted means nothing.
    fn decode(&self, line: &[u8], event: &mut Event) -> Result<(), Flaw>;

    /// Shows every value of an accepted line that has a [`Role`], whatever its type: also one that gives no term because another of
    /// the same name comes behind it, because it is empty, or because it is no text.
    fn places(&self, line: &[u8], show: &mut dyn FnMut(Role, Place));

    /// Whether values of `field` that are plain ASCII stand in the line as they are, up to JSON's escapes.
    fn verbatim(&self, _field: Field) -> bool {
        true
    }
}

/// What a value of a line is to its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Field(Field),
    /// Looked through for indicators, maybe after it was decoded.
    Text {
        context: Context,
        base64: bool,
    },
    /// Made of other values of the line, in words: what is said of one of them stands here as well. These fields it may tell even if
    /// the line has no value of them.
    Retelling(&'static [Field]),
}

/// What a message in words may tell: who did what, and how. Not which honeypot wrote it, nor what it calls the event.
pub const TOLD: &[Field] = &[
    Field::Session,
    Field::SrcIp,
    Field::DstIp,
    Field::DstPort,
    Field::Username,
    Field::Password,
    Field::Command,
    Field::Version,
    Field::Hassh,
    Field::Fingerprint,
    Field::Ja4,
    Field::Ja4h,
    Field::Url,
    Field::Shasum,
    Field::Filename,
    Field::Destfile,
    Field::Cve,
    Field::Sender,
];

/// Where a value stands in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the quote of its member's name stands; `None` for an element of an array.
    pub name: Option<usize>,
    /// With its quotes.
    pub value: Range<usize>,
}

impl Place {
    /// Of a member.
    pub fn of(line: &[u8], name: Literal<'_>, value: Value<'_>) -> Place {
        Place { name: Some(name.at - 1), value: json::range_of(line, name, value) }
    }

    /// What lies `by` bytes further into another line.
    pub fn shifted(self, by: usize) -> Place {
        Place { name: self.name.map(|at| at + by), value: self.value.start + by..self.value.end + by }
    }
}

/// The rule by which a decoder's events are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// [`EventId::of_line`]: equal bytes are the same event. For lines that carry their time to the microsecond.
    Line,
    /// [`FieldsId`]: the decoder makes the id of values of the event ([`Event::id`]). An event that has none of them
    /// is told apart by its line.
    Fields,
    /// [`InputId::event`](super::id::InputId::event): where the line stood in its input. For lines that lack a time or an id:
    /// equal ones are different events.
    Position,
}

impl Identity {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Identity::Line => "line",
            Identity::Fields => "fields",
            Identity::Position => "position",
        }
    }
}

/// Where a value stands: in the line itself, or in the event's arena when its text differs from the line's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset from the line's beginning, or into the arena when [`IN_ARENA`] is set.
    start: u32,
    len: u32,
}

const IN_ARENA: u32 = 1 << 31;

/// Terms noted of one event before its limits are enforced: indicators stop here.
const TERMS_NOTED_MAX: usize = 2 * TERMS_PER_EVENT_MAX;

impl Span {
    /// The value's bytes.
    #[inline(always)]
    pub fn of<'a>(self, line: &'a [u8], arena: &'a [u8]) -> &'a [u8] {
        let from = if self.start & IN_ARENA == 0 { line } else { arena };
        let start = (self.start & !IN_ARENA) as usize;
        &from[start..start + self.len as usize]
    }

    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Most texts of one event that indicators are looked for in.
pub const TEXTS_PER_EVENT_MAX: usize = 16;

/// A term of an event.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    pub field: Field,
    pub value: Span,
}

/// What a decoder notes of one event. Its arena is shared by the events of a chunk.
#[derive(Debug)]
pub struct Event {
    /// The event's own time, believable or not.
    pub time: Option<Micros>,
    pub session: Option<Span>,
    pub sensor: Option<Span>,
    /// Under [`Identity::Fields`]: the id, when the event has any of the fields.
    pub id: Option<EventId>,
    /// In the order of the line, then the indicators of the texts.
    pub terms: Vec<Term>,
    /// How many of them are members of the line, or [made](Field::is_derived) of some.
    pub own_terms: usize,
    pub act: Act,
    /// Of the commands typed.
    pub sequence: Sequence,
    pub(super) marked: Marked,
    /// To be looked through for indicators.
    pub texts: Vec<(Context, Span)>,
    pub arena: Vec<u8>,
    term_bytes: usize,
    arena_begin: usize,
    /// All lines are known to be UTF-8.
    utf8: bool,
    /// A hash over the names and types of the members seen so far; the same for every event of a process.
    pub shape: u64,
    /// When asked for: those names (as they are spelt) and types.
    pub members: Option<Vec<(Box<[u8]>, Type)>>,
    hasher: SeedableRandomState,
}

impl Default for Event {
    fn default() -> Event {
        Event {
            time: None,
            session: None,
            sensor: None,
            id: None,
            own_terms: 0,
            act: Act::Other,
            sequence: Sequence::default(),
            marked: Marked::default(),
            terms: Vec::new(),
            texts: Vec::new(),
            arena: Vec::new(),
            term_bytes: 0,
            arena_begin: 0,
            utf8: false,
            shape: 0,
            members: None,
            // Seeded per process, so that nobody outside can make two shapes look alike.
            hasher: SeedableRandomState::with_seed(0, SharedSeed::global_random()),
        }
    }
}

impl Event {
    /// Forgets everything; `utf8` promises that the lines to come are valid UTF-8, which saves a check per value.
    pub fn reset(&mut self, utf8: bool) {
        self.arena.clear();
        self.utf8 = utf8;
        self.begin();
    }

    /// Forgets the event before, but not its arena.
    #[inline]
    pub fn begin(&mut self) {
        (self.time, self.session, self.sensor, self.id) = (None, None, None, None);
        self.terms.clear();
        self.texts.clear();
        self.shape = 0;
        self.term_bytes = 0;
        self.arena_begin = self.arena.len();
    }

    /// Gives back what [`Event::begin`] and everything after it put into the arena: the event was refused.
    pub fn abandon(&mut self) {
        self.arena.truncate(self.arena_begin);
        self.begin();
    }

    /// The text of a member's value if it is a string or a number, bounded by [`shorten`].
    #[inline]
    pub fn text(&mut self, value: Value<'_>) -> Option<Span> {
        match value {
            Value::String(literal) => Some(self.string(literal)),
            Value::Number(digits, at) if digits.len() <= TERM_VALUE_BYTES_MAX => Some(Span { start: at as u32, len: digits.len() as u32 }),
            Value::Number(digits, _) => Some(self.in_arena(|arena| arena.extend_from_slice(digits))),
            _ => None,
        }
    }

    /// The same at full length, up to [`TEXT_BYTES_MAX`](crate::extract::TEXT_BYTES_MAX): for texts that are looked through.
    pub fn long_text(&mut self, value: Value<'_>) -> Option<Span> {
        let Value::String(literal) = value else { return self.text(value) };
        let raw = literal.raw;
        if !literal.escaped && raw.len() <= TEXT_BYTES_MAX && (self.utf8 || std::str::from_utf8(raw).is_ok()) {
            return Some(Span { start: literal.at as u32, len: raw.len() as u32 });
        }
        let start = self.arena.len();
        // No character is spelt with more than six times its bytes.
        json::unescape(&raw[..raw.len().min(6 * TEXT_BYTES_MAX)], &mut self.arena);
        Some(self.long_text_from(start))
    }

    /// Bytes that [`Event::write_text`] puts into the arena, as a text that is looked through.
    pub fn write_text(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.arena.len();
        write(&mut self.arena);
        self.long_text_from(start)
    }

    /// Makes what the arena holds from `start` on UTF-8 of bounded length.
    fn long_text_from(&mut self, start: usize) -> Span {
        if std::str::from_utf8(&self.arena[start..]).is_err() {
            let lossy = String::from_utf8_lossy(&self.arena[start..]).into_owned();
            self.arena.truncate(start);
            self.arena.extend_from_slice(lossy.as_bytes());
        }
        let mut len = (self.arena.len() - start).min(TEXT_BYTES_MAX);
        while len > 0 && self.arena.get(start + len).is_some_and(|byte| byte & 0xC0 == 0x80) {
            len -= 1;
        }
        self.arena.truncate(start + len);
        assert!(self.arena.len() < IN_ARENA as usize, "the arena of one chunk is bounded by the chunk");
        Span { start: start as u32 | IN_ARENA, len: len as u32 }
    }

    /// A term's value made of pieces: `write` puts it into the arena, or answers false, and then there is none.
    pub fn compose(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<Span> {
        let mut whole = false;
        let span = self.in_arena(|arena| {
            let start = arena.len();
            whole = write(arena);
            if std::str::from_utf8(&arena[start..]).is_err() {
                let lossy = String::from_utf8_lossy(&arena[start..]).into_owned();
                arena.truncate(start);
                arena.extend_from_slice(lossy.as_bytes());
            }
        });
        whole.then_some(span)
    }

    /// Under [`Identity::Fields`]: sets the id from the values of `paths` fields, which `value` gives: several of one field in
    /// the order of the line, none when it is missing.
    pub fn identify<'v, V: Iterator<Item = Value<'v>>>(&mut self, format: &str, line: &[u8], paths: usize, value: impl Fn(usize) -> V) {
        let start = self.arena.len();
        let mut fields = FieldsId::new(format, &mut self.arena);
        for path in 0..paths {
            for value in value(path) {
                fields.value(|out| {
                    out.push(value.kind() as u8);
                    match value {
                        Value::String(literal) => json::unescape(literal.raw, out),
                        Value::Number(digits, _) => out.extend_from_slice(digits),
                        Value::Array(from, to) | Value::Object(from, to) => out.extend_from_slice(&line[from..to]),
                        Value::Boolean | Value::Null => {}
                    }
                });
            }
            fields.next_field();
        }
        self.id = fields.finish();
        self.arena.truncate(start);
    }

    /// What was noted of an event that lies `by` bytes into the line counts from the line's beginning.
    pub fn shift(&mut self, by: usize) {
        let spans = self.terms.iter_mut().map(|term| &mut term.value).chain(self.texts.iter_mut().map(|(_, text)| text));
        for span in spans.chain(&mut self.session).chain(&mut self.sensor).filter(|span| span.start & IN_ARENA == 0) {
            span.start += by as u32;
        }
    }

    /// Takes a member of the event into its shape: every decoder shows each that it passes.
    #[inline(always)]
    pub fn member(&mut self, name: Literal<'_>, value: &Value<'_>) {
        let kind = value.kind();
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name.raw);
        hasher.write_u8(kind as u8);
        // A sum: the order of the members is anything.
        self.shape = self.shape.wrapping_add(hasher.finish());
        if let Some(members) = &mut self.members {
            members.push((name.raw.into(), kind));
        }
    }

    #[inline]
    fn string(&mut self, literal: Literal<'_>) -> Span {
        let raw = literal.raw;
        if !literal.escaped && raw.len() <= TERM_VALUE_BYTES_MAX && (self.utf8 || std::str::from_utf8(raw).is_ok()) {
            return Span { start: literal.at as u32, len: raw.len() as u32 };
        }
        let utf8 = self.utf8;
        self.in_arena(|arena| {
            let start = arena.len();
            json::unescape(raw, arena);
            if !utf8 && let Err(_) = std::str::from_utf8(&arena[start..]) {
                let lossy = String::from_utf8_lossy(&arena[start..]).into_owned();
                arena.truncate(start);
                arena.extend_from_slice(lossy.as_bytes());
            }
        })
    }

    #[inline(never)]
    fn in_arena(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.arena.len();
        write(&mut self.arena);
        self.bounded_since(start)
    }

    /// What was put into the arena since it was `start` long, [shortened](shorten).
    fn bounded_since(&mut self, start: usize) -> Span {
        if self.arena.len() - start > TERM_VALUE_BYTES_MAX {
            let short = shorten(&self.arena[start..]).into_owned();
            self.arena.truncate(start);
            self.arena.extend_from_slice(&short);
        }
        self.since(start)
    }

    /// Notes a term made of other values, which `write` [appends](Event::append) to the arena.
    pub(super) fn join(&mut self, field: Field, write: impl FnOnce(&mut Event)) -> Span {
        let start = self.arena.len();
        write(self);
        let value = self.bounded_since(start);
        self.add(field, value);
        value
    }

    /// Replaces `what` in what was put into the arena since it was `start` long.
    pub(super) fn escape(&mut self, start: usize, what: &[u8; 1], by: &[u8]) {
        if memchr::memchr(what[0], &self.arena[start..]).is_some() {
            let plain = self.arena.split_off(start);
            for byte in plain {
                let one = [byte];
                self.arena.extend_from_slice(if one == *what { by } else { &one });
            }
        }
    }

    /// Copies a value of the event to the end of its arena.
    pub(super) fn append(&mut self, line: &[u8], value: Span) {
        let start = (value.start & !IN_ARENA) as usize;
        let range = start..start + value.len as usize;
        if value.start & IN_ARENA == 0 {
            self.arena.extend_from_slice(&line[range]);
        } else {
            self.arena.extend_from_within(range);
        }
    }

    /// Notes a term.
    #[inline]
    pub fn add(&mut self, field: Field, value: Span) {
        self.term_bytes += value.len as usize;
        self.terms.push(Term { field, value });
    }

    /// Has a text looked through for indicators; of one event [`TEXTS_PER_EVENT_MAX`].
    #[inline]
    pub fn note(&mut self, context: Context, text: Span) {
        if self.texts.len() < TEXTS_PER_EVENT_MAX && !text.is_empty() {
            self.texts.push((context, text));
        }
    }

    /// The same for a member's value of which `text` is the [text](Event::text): all of it, where that is only its beginning.
    #[inline]
    pub fn note_whole(&mut self, context: Context, value: Value<'_>, text: Span) {
        match value {
            Value::String(literal) if literal.raw.len() > TERM_VALUE_BYTES_MAX => self.note_long(context, literal),
            _ => self.note(context, text),
        }
    }

    #[inline(never)]
    fn note_long(&mut self, context: Context, literal: Literal<'_>) {
        let start = self.arena.len();
        json::unescape(literal.raw, &mut self.arena);
        self.arena.truncate(start + TEXT_BYTES_MAX);
        let text = self.since(start);
        self.note(context, text);
    }

    /// What was put into the arena since it was `start` long.
    fn since(&self, start: usize) -> Span {
        // A chunk is at most a document, and no value grows more than threefold: far below the 2 GiB that fit here.
        assert!(self.arena.len() < IN_ARENA as usize, "the arena of one chunk is bounded by the chunk");
        Span { start: start as u32 | IN_ARENA, len: (self.arena.len() - start) as u32 }
    }

    /// Notes a term whose short value is not in the line.
    #[inline]
    pub(super) fn add_made(&mut self, field: Field, value: &[u8]) {
        debug_assert!(value.len() <= TERM_VALUE_BYTES_MAX);
        let start = self.arena.len();
        self.arena.extend_from_slice(value);
        let value = self.since(start);
        self.add(field, value);
    }

    /// Notes a term whose value is not in the line, unless the event has it.
    pub(super) fn add_found(&mut self, line: &[u8], field: Field, value: &[u8]) {
        let known = |term: &Term| term.field == field && term.value.of(line, &self.arena) == value;
        if self.terms.len() < TERMS_NOTED_MAX && !self.terms.iter().any(known) {
            let value = self.in_arena(|arena| arena.extend_from_slice(value));
            self.add(field, value);
        }
    }

    /// Enforces the limits per event, once the event is known to be valid.
    #[inline]
    pub fn finish(&mut self) {
        if self.terms.len() > TERMS_PER_EVENT_MAX || self.term_bytes > TERM_BYTES_PER_EVENT_MAX {
            self.enforce_limits();
        }
    }

    /// Short values first, so that nobody hides an address behind an enormous password; then long ones in their order.
    #[inline(never)]
    fn enforce_limits(&mut self) {
        const SHORT: u32 = 256;
        let (mut terms, mut bytes) = (0, 0);
        let mut admit = |value: Span| {
            let fits = terms < TERMS_PER_EVENT_MAX && bytes + value.len as usize <= TERM_BYTES_PER_EVENT_MAX;
            if fits {
                terms += 1;
                bytes += value.len as usize;
            }
            fits
        };
        let mut admitted: Vec<bool> = self.terms.iter().map(|term| term.value.len <= SHORT && admit(term.value)).collect();
        for (term, admitted) in self.terms.iter().zip(&mut admitted) {
            *admitted |= term.value.len > SHORT && admit(term.value);
        }
        let mut admitted = admitted.into_iter();
        self.terms.retain(|_| admitted.next().unwrap_or(false));
        self.term_bytes = bytes;
    }
}

/// A value as the index holds it: itself up to [`TERM_VALUE_BYTES_MAX`], else as much of its beginning as leaves room for
/// `…` and 32 hexadecimal digits of the BLAKE3 of all of it. Who searches for a value shortens it likewise.
pub fn shorten(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if value.len() <= TERM_VALUE_BYTES_MAX {
        return value.into();
    }
    let tail = format!("…{}", EventId::of_line(value));
    let mut cut = TERM_VALUE_BYTES_MAX - tail.len();
    while cut > 0 && value[cut] & 0xC0 == 0x80 {
        cut -= 1;
    }
    [&value[..cut], tail.as_bytes()].concat().into()
}
