//! The hot path: a chunk of lines becomes a block ready for the journal.
//!
//! A worker thread keeps one [`Batcher`], whose tables and buffers are reused: lines are validated and their terms noted,
//! identities are computed and asked for, and only what is new is added up and compressed. What comes out is a function of the
//! lines (of when they were received, and of the databases of [places](crate::geoip) in force): [`Batcher::index`] gives the same
//! from the lines in the journal.
//!
//! No line can hurt: one that panics its decoder is refused and the rest is kept.
use super::act::{self, Act, Marked, Sequence};
use super::array::{is_array, split_array};
use super::decoder::{Decoder, Event, Identity, Span, Term};
use super::id::InputId;
use super::indicators::Indicators;
use super::json::{self, Flaw};
use super::refusals::{Refusals, reason};
use super::shape::{self, SHAPES_PER_BATCH_MAX, Shape};
use super::tally::{Events, Noted, Tally};
use super::time::{EARLIEST, MICROS_PER_DAY, hour_of};
use super::tombstone::{self, Tombstone};
use super::wrapping::Unwrapped;
use super::{EventId, Field, LINE_BYTES_MAX, Micros};
use crate::extract::{self, Found, Indicator};
use crate::geoip::{self, Lookup};
use crate::index::{BlockTerms, HOUR_UNKNOWN, id_hash, session_key};
use crate::redact::{self, Policy, Private, Redactor, Stage, Subject};
use crate::sources::{Chunk, Format, Origin, Reason, Refused, Stored};
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Who knows which events the journal has already.
pub trait Known {
    /// Sets `known[i]` when event `ids[i]` is in the journal. `identity_hours[i]` is the hour of its own time
    /// ([`HOUR_UNKNOWN`] without one), by which segments are chosen. Entries which are true already need no look-up.
    fn mark(&self, ids: &[EventId], identity_hours: &[i32], known: &mut [bool]);

    /// Whether events of this [shape](Shape::hash) were seen before: nothing is to be learnt of it.
    fn knows_shape(&self, _shape: u64) -> bool {
        true
    }
}

/// An empty journal.
impl Known for () {
    fn mark(&self, _ids: &[EventId], _identity_hours: &[i32], _known: &mut [bool]) {}
}

/// A chunk made ready: what is to be written, indexed and quarantined.
#[derive(Debug)]
pub struct Batch {
    pub origin: Origin,
    /// Stretches of the chunk that are no events, by offset.
    pub refused: Vec<Refused>,
    /// Lines in these: many may share a record.
    pub refused_lines: u32,
    /// The lines of the events, each with its newline.
    pub lines: Vec<u8>,
    /// Per event: where its line ends in `lines`, just behind the newline.
    pub ends: Vec<u32>,
    pub ids: Vec<EventId>,
    /// Per event: the id it would have if it were stored as it was, or were not; none without a key of privacy. What has either is
    /// the same event.
    other_ids: Vec<EventId>,
    /// What the journal's digest goes over, where that is not the ids: see [`Batch::line_hashes`].
    hashes: Option<Vec<EventId>>,
    /// The events are erased ones, and the lines stand for them.
    tombstones: bool,
    /// The times the events are indexed by.
    pub times: Vec<Micros>,
    /// Hours of the events' own times, [`HOUR_UNKNOWN`] without one; a function of the line.
    pub identity_hours: Vec<i32>,
    /// `lines` as one zstd frame; empty when there are none.
    pub frame: Vec<u8>,
    pub terms: BlockTerms,
    /// Shapes of events that were not known.
    pub shapes: Vec<Shape>,
    /// Events which the journal, or the chunk, had already.
    pub duplicates: u32,
    /// Events in `lines`.
    pub events: u32,
    /// Indicators in them, by kind.
    pub detections: Vec<(Field, u32)>,
    /// Texts that an extractor could not look through.
    pub unread_texts: u64,
}

impl Batch {
    /// Keeps event `i` when `keep[i]` is true: the others were found to be duplicates when the batch was committed.
    /// Afterwards the batch is what it would have been without their lines, but for `duplicates`.
    ///
    /// Rare, and then mostly for none or all of the events: so the lines are decoded again rather than every batch carry what
    /// was noted of them.
    pub fn retain(&mut self, keep: &[bool], batcher: &mut Batcher) {
        let dropped = keep.iter().take(self.ids.len()).filter(|&&keep| !keep).count();
        if dropped == 0 {
            return;
        }
        let kept = |at: usize| keep.get(at).copied().unwrap_or(true);
        let (mut start, mut write) = (0, 0);
        let mut ends = Vec::with_capacity(self.ends.len() - dropped);
        for (at, &end) in self.ends.iter().enumerate() {
            let end = end as usize;
            if kept(at) {
                self.lines.copy_within(start..end, write);
                write += end - start;
                ends.push(write as u32);
            }
            start = end;
        }
        self.lines.truncate(write);
        self.ends = ends;
        let mut at = 0..;
        self.ids.retain(|_| at.next().is_some_and(kept));
        for ids in self.hashes.iter_mut().chain([&mut self.other_ids]) {
            let mut at = 0..;
            ids.retain(|_| at.next().is_some_and(kept));
        }
        let mut at = 0..;
        self.identity_hours.retain(|_| at.next().is_some_and(kept));
        self.duplicates += dropped as u32;
        self.events -= dropped as u32;
        let run = StoredRun {
            events: self.events,
            format: Some(if self.tombstones { Format::TOMBSTONE } else { self.origin.source.format }),
            received_at: self.origin.received_at,
            ids: &self.ids,
        };
        (self.terms, self.times, _) = batcher.index(&self.lines, &[run]);
        self.detections = batcher.detections();
        self.frame = batcher.compress(&self.lines);
    }

    /// [`EventId::of_line`] of each line.
    pub fn line_hashes(&self) -> &[EventId] {
        self.hashes.as_deref().unwrap_or(&self.ids)
    }

    /// Other ids under which the journal may have the events, in their order; or none at all.
    pub fn other_ids(&self) -> &[EventId] {
        &self.other_ids
    }

    /// The ids, where the lines alone do not give them: they are stored beside the lines.
    pub fn explicit_ids(&self) -> &[EventId] {
        if self.hashes.is_some() { &self.ids } else { &[] }
    }

    /// Whether the events are erased ones: then so are all.
    pub fn tombstones(&self) -> bool {
        self.tombstones
    }

    /// The line of event `at`, without its newline.
    pub fn line(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.lines[start..self.ends[at] as usize - 1]
    }
}

/// Stored events with one origin: what their lines do not say.
#[derive(Clone, Copy, Debug)]
pub struct StoredRun<'a> {
    pub events: u32,
    /// `None`: nobody knows the format any more. Such events have no terms.
    pub format: Option<Format>,
    pub received_at: Micros,
    /// The events' ids; none where they are the lines' hashes.
    pub ids: &'a [EventId],
}

/// What one line says, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Where the event lies in the line: all of it, unless it is an element of an array.
    pub range: Range<usize>,
    /// The line as it was taken out of its wrapping, if there is one.
    pub unwrapped: Option<Vec<u8>>,
    pub event: Result<Explained, Refusal>,
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// `None` when it depends on where the line stands.
    pub id: Option<EventId>,
    pub identity: Identity,
    /// Its own time, believable or not.
    pub time: Option<Micros>,
    /// The time it is indexed by.
    pub indexed_by: Micros,
    /// Session first, then in the order of the line.
    pub terms: Vec<(Field, Vec<u8>)>,
    /// What its texts name.
    pub indicators: Vec<Indicator>,
}

/// A refused one: why, in words without a byte of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub detail: String,
}

/// Why a line is no event.
enum Fault {
    Flaw(Flaw),
    TooLong,
    Panic,
    Unredactable(redact::Uncertain),
    /// Of another honeypot than those that who brought it may speak for, or of none.
    NotTheirs,
}

impl Fault {
    fn reason(&self) -> Reason {
        match self {
            Fault::Flaw(flaw) => reason(flaw),
            Fault::TooLong => Reason::LineTooLong,
            Fault::Panic => Reason::DecoderPanic,
            Fault::Unredactable(_) => Reason::Unredactable,
            Fault::NotTheirs => Reason::SensorNotAllowed,
        }
    }

    fn detail(&self) -> String {
        match self {
            Fault::Flaw(flaw) => flaw.to_string(),
            Fault::TooLong => format!("line longer than {LINE_BYTES_MAX} bytes"),
            Fault::Panic => "the decoder panicked on it; this is a bug in honeyguide".into(),
            Fault::Unredactable(why) => format!("it cannot be redacted for certain: {why}"),
            Fault::NotTheirs => "its sensor is none of those that the key is restricted to".into(),
        }
    }
}

/// The lines of a chunk as they may be stored.
struct Redacted {
    /// Each with its newline.
    data: Vec<u8>,
    lines: Vec<RedactedLine>,
}

struct RedactedLine {
    /// Where it begins in the redacted data.
    start: u32,
    /// What it was made of.
    original: Range<u32>,
    /// The id that the decoder made of that.
    own_id: Option<EventId>,
    differs: bool,
}

impl Redacted {
    /// The line that begins at `start`.
    fn line(&self, start: u32) -> &RedactedLine {
        let at = self.lines.partition_point(|line| line.start < start);
        &self.lines[at]
    }
}

/// Where the lines of a chunk of stored events begin, and what is known of them.
struct StoredLines {
    stored: Stored,
    /// None without ids.
    starts: Vec<u32>,
}

impl StoredLines {
    /// Whether ids are other ones than the lines give.
    fn has_ids(&self) -> bool {
        self.stored.tombstones || !self.stored.ids.is_empty()
    }

    /// The id that stood beside the line that begins at `start`.
    fn id(&self, start: u32) -> Option<EventId> {
        self.stored.ids.get(self.starts.binary_search(&start).ok()?).copied()
    }
}

/// Shapes a worker remembers; beyond, it asks again.
const SHAPES_KEPT_MAX: usize = 1 << 16;

/// What a worker needs to turn chunks into batches, reused from chunk to chunk.
pub struct Batcher {
    compressor: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
    /// Lines (or elements of arrays) that may be events, as ranges of the chunk.
    candidates: Vec<Range<u32>>,
    event: Event,
    indicators: Indicators,
    places: Lookup,
    privacy: redact::Handle,
    redactor: Redactor,
    noted: Vec<Noted>,
    terms: Vec<Term>,
    ids: Vec<EventId>,
    /// Ids that decoders made, by the number of their event in `noted`.
    own_ids: Vec<(u32, EventId)>,
    other_ids: Vec<EventId>,
    hours: Vec<i32>,
    known: Vec<bool>,
    seen: HashTable<u32>,
    known_shapes: HashTable<u64>,
    hasher: SeedableRandomState,
    tally: Tally,
    /// The candidate being decoded: the culprit, should its decoder panic.
    at: usize,
}

impl Default for Batcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Batcher {
    /// One that knows no places.
    pub fn new() -> Batcher {
        Batcher::with_places(geoip::Handle::default())
    }

    /// One that looks up where addresses are, in the databases that are in force when it begins with a chunk, a block or a line.
    pub fn with_places(places: geoip::Handle) -> Batcher {
        Batcher {
            compressor: compressor(),
            compressed: Vec::new(),
            candidates: Vec::new(),
            event: Event::default(),
            indicators: Indicators::default(),
            places: Lookup::new(places),
            privacy: redact::Handle::default(),
            redactor: Redactor::default(),
            noted: Vec::new(),
            terms: Vec::new(),
            ids: Vec::new(),
            own_ids: Vec::new(),
            other_ids: Vec::new(),
            hours: Vec::new(),
            known: Vec::new(),
            seen: HashTable::new(),
            known_shapes: HashTable::new(),
            hasher: SeedableRandomState::with_seed(1, SharedSeed::global_random()),
            tally: Tally::default(),
            at: 0,
        }
    }

    /// One that redacts the lines of chunks by the policy that is in force when it begins with a chunk.
    pub fn with_privacy(self, privacy: redact::Handle) -> Batcher {
        Batcher { privacy, ..self }
    }

    /// Makes a chunk ready for the journal.
    pub fn extract(&mut self, chunk: Chunk, known: &dyn Known) -> Batch {
        let Chunk { mut origin, data, places, refused, stored } = chunk;
        let tombstones = stored.as_ref().is_some_and(|stored| stored.tombstones);
        let format = if tombstones { Format::TOMBSTONE } else { origin.source.format };
        let decoder = format.decoder();
        let identity = decoder.identity();
        let mut refusals = Refusals::new(refused);
        let policy = self.privacy.policy();
        let subject = Subject { source: &origin.source.name, format: origin.source.format };
        // What a tombstone says is what may stay.
        let redacting = policy.as_deref().filter(|policy| !tombstones && policy.applies(Stage::Store, subject.source));
        let _private = redacting.map(|_| Private::begin());
        if let Some(policy) = redacting {
            refusals = refusals.withholding(policy.key.clone());
        }
        let offset_of = |at: u32| Chunk::input_offset(&origin, &places, at);
        // Stored lines were taken out of their wrapping before.
        let (data, wrapped) = match format.wrapping().filter(|_| stored.is_none()) {
            None => (data, None),
            Some(wrapping) => {
                let mut unwrapped = Unwrapped::of(wrapping, &data, |range, why| {
                    let bytes = &data[range.start as usize..range.end as usize];
                    refusals.add(Reason::Malformed, offset_of(range.start), bytes, why);
                });
                (std::mem::take(&mut unwrapped.data), Some((data, unwrapped)))
            }
        };
        // Where a stretch of the data stood in the input, and what stood there.
        let input_of = |range: Range<u32>| match &wrapped {
            None => (offset_of(range.start), &data[range.start as usize..range.end as usize]),
            Some((input, unwrapped)) => {
                let range = unwrapped.original(range.start);
                (offset_of(range.start), &input[range.start as usize..range.end as usize])
            }
        };
        self.begin(&data);
        let mut refuse = |reason, range, detail| {
            let (offset, bytes) = input_of(range);
            refusals.add(reason, offset, bytes, detail);
        };
        let (reflowed, stored) = match stored {
            None => (self.find_lines(&data, refuse) || wrapped.is_some(), None),
            Some(stored) => (false, Some(self.find_stored(&data, stored, &mut refuse))),
        };
        let redacted = redacting.map(|policy| {
            self.redact(&data, policy, subject, |range, fault| {
                let (offset, bytes) = input_of(range);
                refusals.add(fault.reason(), offset, bytes, fault.detail());
            })
        });
        // From here on lines are what will be stored.
        let lines = redacted.as_ref().map_or(&data, |redacted| &redacted.data);
        let original = |range: &Range<u32>| redacted.as_ref().map_or(range.clone(), |redacted| redacted.line(range.start).original.clone());
        let theirs = origin.only_sensors.as_deref();
        self.decode(lines, 0..self.candidates.len(), (decoder, theirs), origin.received_at, |range, fault| {
            let (offset, bytes) = input_of(original(&range));
            refusals.add(fault.reason(), offset, bytes, fault.detail());
            None
        });
        match (&stored, identity, &redacted) {
            (Some(stored), ..) => self.identify_as_stored(&data, stored, original),
            (None, Identity::Line, None) => self.identify_by_line(&data),
            (None, Identity::Fields, None) => self.identify_by_fields(&data),
            (None, Identity::Line | Identity::Fields, Some(redacted)) => self.identify_by_originals(&data, redacted),
            (None, Identity::Position, _) => {
                let name = if origin.stream.is_empty() { &origin.path } else { &origin.stream };
                let input = InputId::new(name, origin.generation, origin.first_seen);
                let id = |noted: &Noted| {
                    let range = original(&noted.line);
                    input.event(input_of(range.clone()).0, &data[range.start as usize..range.end as usize])
                };
                self.ids.extend(self.noted.iter().map(id));
            }
        }
        if let Some(key) = policy.as_ref().and_then(|policy| policy.key.as_ref()) {
            // An id that was given stays.
            self.hide_ids(key, redacted.as_ref().filter(|_| !stored.as_ref().is_some_and(StoredLines::has_ids)));
        }
        // The line of an event with an id of its own may be known by itself: loaded by a release that knew of no such ids.
        let by_line = stored.as_ref().filter(|stored| stored.has_ids() && !tombstones).map(|_| self.hashes_of_originals(&data, original));
        let duplicates = self.drop_known(known, by_line.as_deref().unwrap_or_default());
        let shapes = if tombstones { Vec::new() } else { self.unknown_shapes(lines, format, known) };
        let terms = self.add_up(lines, |noted| {
            let (offset, bytes) = input_of(original(&noted.line));
            refusals.add(Reason::DecoderPanic, offset, bytes, Fault::Panic.detail());
            None
        });
        let times = self.noted.iter().map(|noted| noted.time).collect();
        let identity_hours = self.noted.iter().map(|noted| noted.identity_hour).collect();
        let ids = self.ids.clone();
        let any_redacted = redacted.as_ref().is_some_and(|redacted| redacted.lines.iter().any(|line| line.differs));
        let (lines, ends) = self.take_lines(redacted.map_or(data, |redacted| redacted.data));
        let has_ids = stored.as_ref().is_some_and(StoredLines::has_ids);
        let hashes = match tombstones {
            true => Some(erased_by(&lines)),
            false => (identity != Identity::Line || any_redacted || has_ids).then(|| hashes_of(&lines)),
        };
        origin.reflowed |= reflowed || any_redacted;
        Batch {
            events: ids.len() as u32,
            frame: self.compress(&lines),
            refused_lines: refusals.lines(),
            refused: refusals.finish(),
            origin,
            lines,
            ends,
            ids,
            other_ids: std::mem::take(&mut self.other_ids),
            hashes,
            tombstones,
            times,
            identity_hours,
            terms,
            shapes,
            duplicates,
            detections: self.detections(),
            unread_texts: std::mem::take(&mut self.indicators.panics),
        }
    }

    /// How many indicators of each kind the noted events hold.
    fn detections(&self) -> Vec<(Field, u32)> {
        let mut counts = [0u32; Field::ALL.len()];
        for noted in &self.noted {
            let terms = &self.terms[noted.terms.start as usize..noted.terms.end as usize];
            terms.iter().skip(noted.own_terms as usize).for_each(|term| counts[term.field as usize] += 1);
        }
        Field::ALL.iter().zip(counts).filter(|(_, count)| *count > 0).map(|(field, count)| (*field, count)).collect()
    }

    /// What [`Batcher::extract`] noted of the events in `lines`, from stored lines: their terms, the times they are indexed
    /// by, their ids.
    ///
    /// Never fails: a stored line which its decoder no longer accepts is an event without time and terms.
    pub fn index(&mut self, lines: &[u8], runs: &[StoredRun<'_>]) -> (BlockTerms, Vec<Micros>, Vec<EventId>) {
        self.begin(lines);
        let mut start = 0u32;
        for end in memchr::memchr_iter(b'\n', lines) {
            self.candidates.push(start..end as u32);
            start = end as u32 + 1;
        }
        let mut first = 0;
        for (run, &StoredRun { events, format, received_at, ids }) in runs.iter().enumerate() {
            // The counts of runs are the caller's to check; should they fall short, the last run takes the rest.
            let end = if run + 1 == runs.len() { self.candidates.len() } else { (first + events as usize).min(self.candidates.len()) };
            match format {
                Some(format) => {
                    self.decode(lines, first..end, (format.decoder(), None), received_at, |range, _| {
                        Some(without_terms(range, received_at))
                    });
                }
                None => self.noted.extend(self.candidates[first..end].iter().map(|range| without_terms(range.clone(), received_at))),
            }
            self.ids.extend_from_slice(&ids[..ids.len().min(end - first)]);
            self.identify_by_line(lines);
            first = end;
        }
        let terms = self.add_up(lines, |noted| Some(without_terms(noted.line.clone(), noted.time)));
        let ids = terms.ids.clone();
        (terms, self.noted.iter().map(|noted| noted.time).collect(), ids)
    }

    /// Tells `out` the terms of one event, its session among them, as the index knows them, and returns the time it is indexed
    /// by; `None` when the line is no event.
    pub fn terms(&mut self, format: Format, line: &[u8], received_at: Micros, out: &mut dyn FnMut(Field, &[u8])) -> Option<Micros> {
        self.decode_one(format, line).ok()?;
        let event = &self.event;
        if let Some(session) = event.session {
            out(Field::Session, session.of(line, &event.arena));
        }
        for term in &event.terms {
            out(term.field, term.value.of(line, &event.arena));
        }
        Some(indexed_by(event.time, received_at))
    }

    /// What remains of an event whose line is erased. `hash` is the line's.
    pub fn tombstone(&mut self, format: Option<Format>, line: &[u8], hash: EventId) -> Tombstone {
        // As in [`Batcher::index`]: a line that is not read any more has neither time nor sensor.
        let read = format.is_some_and(|format| self.decode_one(format, line).is_ok());
        let event = &self.event;
        let sensor = event.sensor.filter(|_| read).map(|sensor| sensor.of(line, &event.arena).to_vec());
        Tombstone { erased: hash, time: event.time.filter(|_| read), sensor }
    }

    /// Takes one line through everything that happens to it, for people to see: one explanation, or one per element of an array.
    pub fn explain(&mut self, format: Format, line: &[u8], received_at: Micros) -> Vec<Explanation> {
        if let Some(wrapping) = format.wrapping() {
            let mut refused = None;
            let unwrapped = Unwrapped::of(wrapping, line, |_, why| refused = Some(why));
            let range = 0..line.len();
            if let Some(detail) = refused {
                return vec![Explanation { range, unwrapped: None, event: Err(Refusal { reason: Reason::Malformed, detail }) }];
            }
            let events = unwrapped.data.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
            let explain = |line: &[u8]| Explanation {
                range: range.clone(),
                unwrapped: Some(line.to_vec()),
                event: self.explain_one(format, line, received_at),
            };
            return events.map(explain).collect();
        }
        let ranges: Vec<_> = if is_array(line) {
            split_array(line).map(|element| element.map_err(|rejected| (rejected.range, rejected.flaw))).collect()
        } else {
            vec![Ok(0..line.len())]
        };
        ranges
            .into_iter()
            .map(|range| match range {
                Ok(range) => Explanation { unwrapped: None, event: self.explain_one(format, &line[range.clone()], received_at), range },
                Err((range, flaw)) => {
                    Explanation { unwrapped: None, event: Err(Refusal { reason: reason(&flaw), detail: flaw.to_string() }), range }
                }
            })
            .collect()
    }

    /// The same of a line as it is stored: an event, out of its wrapping.
    pub fn explain_one(&mut self, format: Format, line: &[u8], received_at: Micros) -> Result<Explained, Refusal> {
        if let Err(fault) = self.decode_one(format, line) {
            return Err(Refusal { reason: fault.reason(), detail: fault.detail() });
        }
        let event = &self.event;
        let value = |span: Span| span.of(line, &event.arena).to_vec();
        let session = event.session.map(|session| (Field::Session, value(session)));
        let own = event.terms.iter().take(event.own_terms).map(|term| (term.field, value(term.value)));
        let terms = session.into_iter().chain(own).collect();
        let mut found = Found::default();
        for &(context, text) in &event.texts {
            extract::indicators(context, &String::from_utf8_lossy(text.of(line, &event.arena)), &mut found);
        }
        let identity = format.decoder().identity();
        let id = match identity {
            Identity::Line => Some(EventId::of_line(line)),
            Identity::Fields => Some(event.id.unwrap_or_else(|| EventId::of_line(line))),
            Identity::Position => None,
        };
        let (time, indexed_by) = (event.time, indexed_by(event.time, received_at));
        Ok(Explained { id, identity, time, indexed_by, terms, indicators: found.indicators })
    }

    fn decode_one(&mut self, format: Format, line: &[u8]) -> Result<(), Fault> {
        self.event.reset(false);
        self.places.refresh();
        catch_unwind(AssertUnwindSafe(|| decode_line(format.decoder(), line, &mut self.event, &mut self.indicators, &mut self.places)))
            .unwrap_or(Err(Fault::Panic))
    }

    fn begin(&mut self, data: &[u8]) {
        assert!(data.len() < u32::MAX as usize, "chunks and blocks are far smaller than 4 GiB");
        self.candidates.clear();
        self.noted.clear();
        self.terms.clear();
        self.ids.clear();
        self.own_ids.clear();
        self.other_ids.clear();
        self.event.reset(simdutf8::basic::from_utf8(data).is_ok());
        self.places.refresh();
    }

    /// Finds the lines, passing over blank ones and splitting arrays; true when there were arrays.
    fn find_lines(&mut self, data: &[u8], mut refuse: impl FnMut(Reason, Range<u32>, String)) -> bool {
        let mut arrays = false;
        let mut start = 0;
        while start < data.len() {
            let end = memchr::memchr(b'\n', &data[start..]).map_or(data.len(), |at| start + at);
            let line = &data[start..end];
            // Nearly every line begins with a brace.
            if line.first() == Some(&b'{') {
                self.candidates.push(start as u32..end as u32);
            } else if is_array(line) {
                arrays = true;
                for element in split_array(line) {
                    match element {
                        Ok(range) => self.candidates.push((start + range.start) as u32..(start + range.end) as u32),
                        Err(rejected) => {
                            let range = (start + rejected.range.start) as u32..(start + rejected.range.end) as u32;
                            refuse(reason(&rejected.flaw), range, rejected.flaw.to_string());
                        }
                    }
                }
            } else if !line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                self.candidates.push(start as u32..end as u32);
            }
            start = end + 1;
        }
        arrays
    }

    /// Finds the lines of stored events: as many as there are, whatever they look like.
    fn find_stored(&mut self, data: &[u8], stored: Stored, mut refuse: impl FnMut(Reason, Range<u32>, String)) -> StoredLines {
        let mut start = 0u32;
        for end in memchr::memchr_iter(b'\n', data) {
            self.candidates.push(start..end as u32);
            start = end as u32 + 1;
        }
        let starts = if stored.ids.is_empty() { Vec::new() } else { self.candidates.iter().map(|line| line.start).collect() };
        if stored.tombstones {
            self.candidates.retain(|range| {
                let stands = tombstone::erased(&data[range.start as usize..range.end as usize]).is_some();
                if !stands {
                    refuse(Reason::Malformed, range.clone(), "a tombstone that does not say which line it stands for".into());
                }
                stands
            });
        }
        StoredLines { stored, starts }
    }

    /// Redacts the candidates, which are then those of the redacted lines. One that is no event, or cannot be redacted for certain, is
    /// refused here: nothing of it is looked at again.
    fn redact(&mut self, data: &[u8], policy: &Policy, subject: Subject<'_>, mut refuse: impl FnMut(Range<u32>, &Fault)) -> Redacted {
        let mut redacted = Redacted { data: Vec::with_capacity(data.len()), lines: Vec::with_capacity(self.candidates.len()) };
        let candidates = std::mem::take(&mut self.candidates);
        for range in candidates {
            let line = &data[range.start as usize..range.end as usize];
            let (event, redactor) = (&mut self.event, &mut self.redactor);
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                if line.len() > LINE_BYTES_MAX {
                    return Err(Fault::TooLong);
                }
                event.begin();
                subject.format.decoder().decode(line, event).map_err(Fault::Flaw)?;
                let own_id = event.id;
                let changed = redactor.redact(policy, Stage::Store, subject, line).map_err(Fault::Unredactable)?;
                Ok((own_id, changed))
            }));
            self.event.abandon();
            match unwound.unwrap_or(Err(Fault::Panic)) {
                Err(fault) => refuse(range, &fault),
                Ok((own_id, changed)) => {
                    let start = redacted.data.len() as u32;
                    redacted.data.extend_from_slice(changed.as_deref().unwrap_or(line));
                    self.candidates.push(start..redacted.data.len() as u32);
                    redacted.data.push(b'\n');
                    redacted.lines.push(RedactedLine { start, original: range, own_id, differs: changed.is_some() });
                }
            }
        }
        assert!(redacted.data.len() < u32::MAX as usize, "a chunk that is a few times as long is far below 4 GiB");
        redacted
    }

    /// Decodes candidates and notes what they say. `faulty` decides what becomes of one that is no event.
    fn decode(
        &mut self,
        data: &[u8],
        candidates: Range<usize>,
        rules: (&dyn Decoder, Option<&[String]>),
        received_at: Micros,
        mut faulty: impl FnMut(Range<u32>, &Fault) -> Option<Noted>,
    ) {
        self.at = candidates.start;
        while self.at < candidates.end {
            let unwound = catch_unwind(AssertUnwindSafe(|| self.decode_until_fault(data, candidates.end, rules, received_at)));
            let fault = match unwound {
                Ok(None) => break,
                Ok(Some(fault)) => fault,
                Err(_) => Fault::Panic,
            };
            // Whatever the line had put into the scratch goes with it.
            self.event.abandon();
            self.terms.truncate(self.noted.last().map_or(0, |last| last.terms.end as usize));
            if let Some(noted) = faulty(self.candidates[self.at].clone(), &fault) {
                self.noted.push(Noted { terms: self.terms.len() as u32..self.terms.len() as u32, ..noted });
            }
            self.at += 1;
        }
    }

    /// `rules`: who decodes, and of which honeypots alone events are accepted.
    fn decode_until_fault(
        &mut self,
        data: &[u8],
        end: usize,
        (decoder, only_sensors): (&dyn Decoder, Option<&[String]>),
        received_at: Micros,
    ) -> Option<Fault> {
        while self.at < end {
            let range = self.candidates[self.at].clone();
            let line = &data[range.start as usize..range.end as usize];
            self.event.begin();
            if let Err(fault) = decode_line(decoder, line, &mut self.event, &mut self.indicators, &mut self.places) {
                return Some(fault);
            }
            let event = &self.event;
            if let Some(theirs) = only_sensors {
                let sensor = event.sensor.map(|sensor| sensor.of(line, &event.arena));
                if !theirs.iter().any(|name| sensor == Some(name.as_bytes())) {
                    return Some(Fault::NotTheirs);
                }
            }
            if let Some(id) = event.id {
                self.own_ids.push((self.noted.len() as u32, id));
            }
            let first_term = self.terms.len() as u32;
            self.terms.extend_from_slice(&event.terms);
            self.noted.push(Noted {
                line: range,
                terms: first_term..self.terms.len() as u32,
                own_terms: event.own_terms as u32,
                sensor: event.sensor,
                session: event.session.map(|session| session_key(session.of(line, &event.arena))),
                time: indexed_by(event.time, received_at),
                identity_hour: event.time.map_or(HOUR_UNKNOWN, hour_of),
                act: event.act,
                sequence: event.sequence,
                marked: event.marked,
                shape: event.shape,
            });
            self.at += 1;
        }
        None
    }

    /// Gives the noted events that have no id yet those of their lines.
    fn identify_by_line(&mut self, data: &[u8]) {
        let fresh = &self.noted[self.ids.len()..];
        let lines: Vec<&[u8]> = fresh.iter().map(|noted| &data[noted.line.start as usize..noted.line.end as usize]).collect();
        EventId::of_lines(&lines, &mut self.ids);
    }

    /// Gives the noted events the ids that their decoder made, and those without one their line's.
    fn identify_by_fields(&mut self, data: &[u8]) {
        let mut own = self.own_ids.iter().peekable();
        for (at, noted) in (0u32..).zip(&self.noted) {
            let id = own.next_if(|(of, _)| *of == at).map(|(_, id)| *id);
            self.ids.push(id.unwrap_or_else(|| EventId::of_line(&data[noted.line.start as usize..noted.line.end as usize])));
        }
    }

    /// Gives the noted events the ids that they would have if they were not redacted.
    fn identify_by_originals(&mut self, data: &[u8], redacted: &Redacted) {
        for noted in &self.noted {
            let line = redacted.line(noted.line.start);
            let original = &data[line.original.start as usize..line.original.end as usize];
            self.ids.push(line.own_id.unwrap_or_else(|| EventId::of_line(original)));
        }
    }

    /// Gives the noted events the ids that they had where they were stored.
    fn identify_as_stored(&mut self, data: &[u8], stored: &StoredLines, original: impl Fn(&Range<u32>) -> Range<u32>) {
        for noted in &self.noted {
            let range = original(&noted.line);
            let line = &data[range.start as usize..range.end as usize];
            let erased = || tombstone::erased(line).filter(|_| stored.stored.tombstones);
            self.ids.push(stored.id(range.start).or_else(erased).unwrap_or_else(|| EventId::of_line(line)));
        }
    }

    /// [`EventId::of_line`] of what each noted event was made of.
    fn hashes_of_originals(&self, data: &[u8], original: impl Fn(&Range<u32>) -> Range<u32>) -> Vec<EventId> {
        let originals = self.noted.iter().map(|noted| original(&noted.line));
        let lines: Vec<&[u8]> = originals.map(|range| &data[range.start as usize..range.end as usize]).collect();
        let mut hashes = Vec::with_capacity(lines.len());
        EventId::of_lines(&lines, &mut hashes);
        hashes
    }

    /// Replaces ids of redacted lines by those of the key, and notes for every event the one that it has not.
    fn hide_ids(&mut self, key: &redact::Key, redacted: Option<&Redacted>) {
        for (id, noted) in self.ids.iter_mut().zip(&self.noted) {
            let hidden = key.id(*id);
            let differs = redacted.is_some_and(|redacted| redacted.line(noted.line.start).differs);
            self.other_ids.push(if differs { std::mem::replace(id, hidden) } else { hidden });
        }
    }

    /// Drops what the journal has by its id or, where there are some, by one of `more_ids`, and repetitions within the chunk; returns how
    /// many events that were.
    fn drop_known(&mut self, known: &dyn Known, more_ids: &[EventId]) -> u32 {
        self.seen.clear();
        self.known.clear();
        self.known.resize(self.ids.len(), false);
        for (at, &id) in self.ids.iter().enumerate() {
            let hash = id_hash(id);
            if self.seen.find(hash, |&seen| self.ids[seen as usize] == id).is_some() {
                self.known[at] = true;
            } else {
                self.seen.insert_unique(hash, at as u32, |&seen| id_hash(self.ids[seen as usize]));
            }
        }
        self.hours.clear();
        self.hours.extend(self.noted.iter().map(|noted| noted.identity_hour));
        known.mark(&self.ids, &self.hours, &mut self.known);
        for ids in [&self.other_ids[..], more_ids].into_iter().filter(|ids| !ids.is_empty()) {
            known.mark(ids, &self.hours, &mut self.known);
        }
        let duplicates = self.known.iter().filter(|&&known| known).count();
        if duplicates > 0 {
            let mut at = 0..;
            let known = &self.known;
            self.noted.retain(|_| at.next().is_some_and(|at: usize| !known[at]));
            for ids in [&mut self.ids, &mut self.other_ids] {
                let mut at = 0..;
                ids.retain(|_| at.next().is_some_and(|at: usize| !known[at]));
            }
        }
        duplicates as u32
    }

    /// The shapes of the noted events that neither this batcher nor `known` has seen.
    fn unknown_shapes(&mut self, data: &[u8], format: Format, known: &dyn Known) -> Vec<Shape> {
        let mut unknown: Vec<Shape> = Vec::new();
        if self.known_shapes.len() > SHAPES_KEPT_MAX {
            self.known_shapes.clear();
        }
        for at in 0..self.noted.len() {
            let noted = &self.noted[at];
            let line = &data[noted.line.start as usize..noted.line.end as usize];
            let arena = &self.event.arena;
            let terms = &self.terms[noted.terms.start as usize..noted.terms.end as usize];
            let eventid = terms.iter().find(|term| term.field == Field::Eventid).map_or(&[][..], |term| term.value.of(line, arena));
            let sensor = noted.sensor.map_or(&[][..], |sensor| sensor.of(line, arena));
            let mut hasher = self.hasher.build_hasher();
            hasher.write(format.name().as_bytes());
            hasher.write(eventid);
            hasher.write(sensor);
            hasher.write_u64(noted.shape);
            let hash = hasher.finish();
            if self.known_shapes.find(hash, |&seen| seen == hash).is_some() || unknown.iter().any(|shape| shape.hash == hash) {
                continue;
            }
            if known.knows_shape(hash) {
                self.known_shapes.insert_unique(hash, hash, |&seen| seen);
            } else if unknown.len() < SHAPES_PER_BATCH_MAX {
                let (eventid, sensor) = (shape::name(eventid), shape::name(sensor));
                let members = self.members_of(format, line);
                unknown.push(Shape { hash, format, eventid, sensor, members });
            }
        }
        unknown
    }

    /// Decodes an accepted line once more, for the names and types of its members.
    #[cold]
    fn members_of(&mut self, format: Format, line: &[u8]) -> Vec<(String, json::Type)> {
        self.event.begin();
        self.event.members = Some(Vec::new());
        // It was accepted a moment ago.
        let _ = format.decoder().decode(line, &mut self.event);
        let members = self.event.members.take().unwrap_or_default();
        self.event.abandon();
        let mut named: Vec<_> = members.iter().map(|(name, kind)| (shape::name(name), *kind)).collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    /// Adds up the noted events. One on which that panics is replaced by what `faulty` makes of it, and the rest added up anew.
    fn add_up(&mut self, data: &[u8], mut faulty: impl FnMut(&Noted) -> Option<Noted>) -> BlockTerms {
        loop {
            let block = Events { data, arena: &self.event.arena, events: &self.noted, terms: &self.terms, ids: &self.ids };
            let tally = &mut self.tally;
            match catch_unwind(AssertUnwindSafe(|| tally.add_up(&block))) {
                Ok(terms) => return terms,
                Err(panic) => {
                    let culprit = std::mem::take(&mut self.tally).at;
                    let Some(noted) = self.noted.get(culprit) else { std::panic::resume_unwind(panic) };
                    match faulty(noted) {
                        // A second panic on an event without terms would never end.
                        Some(_) if noted.terms.is_empty() => std::panic::resume_unwind(panic),
                        Some(replacement) => self.noted[culprit] = replacement,
                        None => {
                            self.noted.remove(culprit);
                            self.ids.remove(culprit);
                            if !self.other_ids.is_empty() {
                                self.other_ids.remove(culprit);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The noted lines, each with a newline: the chunk's own bytes when that is what they are.
    fn take_lines(&self, mut data: Vec<u8>) -> (Vec<u8>, Vec<u32>) {
        let len: usize = self.noted.iter().map(|noted| noted.line.len() + 1).sum();
        let mut ends = Vec::with_capacity(self.noted.len());
        if data.last().is_some_and(|&last| last != b'\n') {
            data.push(b'\n');
        }
        if len == data.len() {
            ends.extend(self.noted.iter().map(|noted| noted.line.end + 1));
            return (data, ends);
        }
        let mut lines = Vec::with_capacity(len);
        for noted in &self.noted {
            lines.extend_from_slice(&data[noted.line.start as usize..noted.line.end as usize]);
            lines.push(b'\n');
            ends.push(lines.len() as u32);
        }
        (lines, ends)
    }

    /// One zstd frame that holds `lines`; nothing for nothing.
    pub fn compress(&mut self, lines: &[u8]) -> Vec<u8> {
        if lines.is_empty() {
            return Vec::new();
        }
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(lines.len()));
        self.compressor.compress_to_buffer(lines, &mut self.compressed).expect("the buffer has the size zstd asks for");
        self.compressed.as_slice().into()
    }
}

/// Everything a line says: what its decoder notes, where its address is, and the indicators of its texts.
#[inline]
fn decode_line(
    decoder: &dyn Decoder,
    line: &[u8],
    event: &mut Event,
    indicators: &mut Indicators,
    places: &mut Lookup,
) -> Result<(), Fault> {
    super::poison("decoder::line", || line);
    if line.len() > LINE_BYTES_MAX {
        return Err(Fault::TooLong);
    }
    decoder.decode(line, event).map_err(Fault::Flaw)?;
    (event.act, event.sequence, event.marked) = act::note(line, event);
    if places.knows_places() {
        note_place(line, event, places);
    }
    event.own_terms = event.terms.len();
    for at in 0..event.texts.len() {
        let (context, text) = event.texts[at];
        let found = indicators.look(context, text.of(line, &event.arena));
        for (field, value) in indicators.found(found) {
            event.add_found(line, field, value);
        }
    }
    event.finish();
    Ok(())
}

/// Notes country and autonomous system of the address that the attack came from; of several the last counts, as in [`act`].
#[inline]
fn note_place(line: &[u8], event: &mut Event, places: &mut Lookup) {
    let Some(address) = event.terms.iter().rev().find(|term| term.field == Field::SrcIp).map(|term| term.value) else { return };
    let place = places.place(address.of(line, &event.arena));
    if let Some(country) = place.country() {
        event.add_made(Field::Country, country);
    }
    if let Some(asn) = place.asn() {
        event.add_made(Field::Asn, asn);
    }
}

/// Own time if it can be believed, else when it was received.
#[inline]
fn indexed_by(time: Option<Micros>, received_at: Micros) -> Micros {
    time.filter(|time| (EARLIEST..=received_at.saturating_add(MICROS_PER_DAY)).contains(time)).unwrap_or(received_at)
}

/// [`EventId::of_line`] of each of the lines, all of which end in `\n`.
/// The hashes that tombstones give.
fn erased_by(lines: &[u8]) -> Vec<EventId> {
    let erased = |line| tombstone::erased(line).expect("a tombstone that gives none is refused when it is found");
    lines.strip_suffix(b"\n").map(|lines| lines.split(|&byte| byte == b'\n').map(erased).collect()).unwrap_or_default()
}

fn hashes_of(lines: &[u8]) -> Vec<EventId> {
    let mut hashes = Vec::new();
    let lines: Vec<&[u8]> = lines.strip_suffix(b"\n").map(|lines| lines.split(|&byte| byte == b'\n').collect()).unwrap_or_default();
    EventId::of_lines(&lines, &mut hashes);
    hashes
}

fn without_terms(line: Range<u32>, time: Micros) -> Noted {
    let (act, sequence) = (Act::Other, Sequence::default());
    let (identity_hour, marked) = (HOUR_UNKNOWN, Marked::default());
    Noted { line, terms: 0..0, own_terms: 0, sensor: None, session: None, time, identity_hour, act, sequence, marked, shape: 0 }
}

fn compressor() -> zstd::bulk::Compressor<'static> {
    // Level 1 is not larger than level 3 on logs. The journal has checksums of its own; the size in the frame lets a reader
    // allocate once.
    let mut compressor = zstd::bulk::Compressor::new(1).expect("level 1 exists");
    for parameter in [zstd::zstd_safe::CParameter::ContentSizeFlag(true), zstd::zstd_safe::CParameter::ChecksumFlag(false)] {
        compressor.set_parameter(parameter).expect("zstd knows its own parameters");
    }
    compressor
}
