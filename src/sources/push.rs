//! What a honeypot pushes in one request: a JSON object, an array of objects, or lines, cut into chunks like any other input.
//!
//! A request has no place to go on from, so its chunks carry no checkpoint: whoever pushes sends again what was not answered, and
//! equal events are stored once. Where a format tells events apart by their place (`position`), each request is an input of its own.
//!
//! A body is looked at as a whole before anything of it is sent on: what is wrong with all of it is a [`BodyError`] and changes
//! nothing; what is wrong with one event of it is that event's, and goes to quarantine as from any other source.
use super::{Chunk, Origin, REFUSED_BYTES_MAX, Reason, Refused, Source};
use crate::events::Micros;
use crate::events::array::{is_array, split_array};
use crate::events::json::{self, FlawKind};
use crate::sources::framing::CHUNK_LINES_MAX;
use memchr::memchr;
use std::ops::Range;
use std::sync::Arc;

/// Largest body, bytes.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// Most lines, or elements of an array, in one body.
pub const EVENTS_MAX: usize = 100_000;

/// What stands in quarantine and in logs where other input has a path.
const PATH: &str = "push";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON value: an object, or an array of objects, over as many lines as it likes.
    Json,
    /// Each line is an event.
    Lines,
}

/// What may stand in `Content-Type`.
pub const CONTENT_TYPES: &str = "application/json for an object or an array, application/x-ndjson or text/plain for lines";

impl Form {
    /// What a content type says. `None`: nothing that can hold events, or another character set than UTF-8.
    pub fn of(content_type: &str) -> Option<Form> {
        let mut parts = content_type.split(';').map(str::trim);
        let form = match parts.next()?.to_ascii_lowercase().as_str() {
            "application/json" => Form::Json,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "text/plain" => Form::Lines,
            _ => return None,
        };
        let charsets = parts.filter_map(|part| part.split_once('=')).filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        let utf8 =
            |value: &str| ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.trim().trim_matches('"').eq_ignore_ascii_case(known));
        charsets.into_iter().all(|(_, value)| utf8(value)).then_some(form)
    }
}

/// Why nothing of a body can be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is empty: send events as {CONTENT_TYPES}")]
    Empty,
    #[error("the body is larger than {BODY_BYTES_MAX} bytes: send it in parts")]
    TooLarge,
    #[error("the body has more than {EVENTS_MAX} events: send it in parts")]
    TooMany,
    #[error("the body is not UTF-8: its byte {at} belongs to no character")]
    NotUtf8 { at: usize },
    #[error("the body is no JSON that events can be read from: byte {at}: {what}")]
    NotJson { at: usize, what: &'static str },
    #[error("no line of the body is a JSON object; line {line}: {what}")]
    NoObject { line: usize, what: String },
    #[error("lines of the format {0} are wrapped: send them as they are, with the content type text/plain")]
    Wrapped(&'static str),
}

/// A body cut into chunks, and where its events stood.
#[derive(Debug)]
pub struct Pushed {
    pub chunks: Vec<Chunk>,
    pub numbers: Numbers,
}

/// Offset of each line, or of each element, by its number.
#[derive(Debug, Default)]
pub struct Numbers(Vec<u32>);

impl Numbers {
    /// Which line or element of the body is at `offset`, from 1.
    pub fn of(&self, offset: u64) -> u64 {
        self.0.partition_point(|&start| u64::from(start) <= offset).max(1) as u64
    }
}

/// How a body is cut.
#[derive(Clone, Debug)]
pub struct Cutting {
    pub source: Arc<Source>,
    pub chunk_bytes: usize,
    pub received_at: Micros,
    /// Events of these honeypots only.
    pub only_sensors: Option<Arc<[String]>>,
    /// Tells requests apart in which events are told apart by their place.
    pub request: u32,
}

impl Cutting {
    /// Checks a body and cuts it. Takes time that grows with the body: for a thread that may block.
    pub fn cut(&self, body: &[u8], form: Form) -> Result<Pushed, BodyError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        let start = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        if body[start..].iter().all(u8::is_ascii_whitespace) {
            return Err(BodyError::Empty);
        }
        match form {
            Form::Json => self.json(body, start),
            Form::Lines => self.lines(body, start),
        }
    }

    fn lines(&self, body: &[u8], start: usize) -> Result<Pushed, BodyError> {
        if self.source.format.wrapping().is_none() {
            any_object(&body[start..])?;
        }
        let mut cutter = Cutter::new(self, false);
        let mut at = start;
        while at < body.len() {
            let end = memchr(b'\n', &body[at..]).map_or(body.len(), |len| at + len);
            cutter.begin(at)?;
            cutter.line(at, &body[at..end]);
            at = end + 1;
        }
        Ok(cutter.finish())
    }

    fn json(&self, body: &[u8], start: usize) -> Result<Pushed, BodyError> {
        if self.source.format.wrapping().is_some() {
            return Err(BodyError::Wrapped(self.source.format.name()));
        }
        if let Err(error) = simdutf8::compat::from_utf8(body) {
            return Err(BodyError::NotUtf8 { at: error.valid_up_to() });
        }
        let text = &body[start..];
        let mut cutter = Cutter::new(self, true);
        if !is_array(text) {
            match json::members(text, |_, _| ()) {
                Ok(()) => {}
                Err(flaw) => return Err(BodyError::NotJson { at: start + flaw.at, what: flaw.what }),
            }
            let from = text.len() - text.trim_ascii_start().len();
            cutter.begin(start + from)?;
            cutter.line(start + from, text.trim_ascii());
            return Ok(cutter.finish());
        }
        for element in split_array(text) {
            match element {
                Ok(range) => {
                    cutter.begin(start + range.start)?;
                    cutter.line(start + range.start, &text[range]);
                }
                // Where the text stops being JSON the rest is the last flaw; an element that is no object ends before the bracket.
                Err(rejected) if rejected.range.end == text.len() => {
                    return Err(BodyError::NotJson { at: start + rejected.flaw.at, what: rejected.flaw.what });
                }
                Err(rejected) => {
                    cutter.begin(start + rejected.range.start)?;
                    let reason = if rejected.flaw.kind == FlawKind::TooDeep { Reason::TooDeep } else { Reason::NotAnObject };
                    cutter.refuse(reason, start, text, rejected.range, rejected.flaw.what);
                }
            }
        }
        Ok(cutter.finish())
    }
}

/// Whether at least one line holds JSON that may be events. What is none of it was sent by mistake, and is not to fill the quarantine.
fn any_object(body: &[u8]) -> Result<(), BodyError> {
    let mut first = None;
    for (number, line) in body.split(|&byte| byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let looked_at = match is_array(line) {
            true => split_array(line).next().unwrap_or(Ok(0..0)).map(drop).map_err(|rejected| rejected.flaw),
            false => json::members(line, |_, _| ()),
        };
        match looked_at {
            Ok(()) => return Ok(()),
            // An object that is refused for another reason is one.
            Err(flaw) if flaw.kind != FlawKind::NotAnObject => return Ok(()),
            Err(flaw) => drop(first.get_or_insert((number + 1, flaw))),
        }
    }
    match first {
        Some((line, flaw)) => Err(BodyError::NoObject { line, what: flaw.to_string() }),
        None => Err(BodyError::Empty),
    }
}

/// Gathers lines into chunks.
struct Cutter<'a> {
    cutting: &'a Cutting,
    /// Lines were taken out of a document.
    reflowed: bool,
    path: Arc<str>,
    chunks: Vec<Chunk>,
    numbers: Numbers,
    data: Vec<u8>,
    lines: usize,
    places: Vec<(u32, u64)>,
    refused: Vec<Refused>,
    /// Offset of the chunk's first byte.
    offset: u64,
}

impl<'a> Cutter<'a> {
    fn new(cutting: &'a Cutting, reflowed: bool) -> Cutter<'a> {
        Cutter {
            cutting,
            reflowed,
            path: PATH.into(),
            chunks: Vec::new(),
            numbers: Numbers::default(),
            data: Vec::new(),
            lines: 0,
            places: Vec::new(),
            refused: Vec::new(),
            offset: 0,
        }
    }

    /// The next line or element begins here.
    fn begin(&mut self, at: usize) -> Result<(), BodyError> {
        if self.numbers.0.len() == EVENTS_MAX {
            return Err(BodyError::TooMany);
        }
        // A body is far smaller than 4 GiB.
        self.numbers.0.push(at as u32);
        Ok(())
    }

    fn line(&mut self, at: usize, line: &[u8]) {
        if self.lines == CHUNK_LINES_MAX || !self.data.is_empty() && self.data.len() + line.len() > self.cutting.chunk_bytes {
            self.close();
        }
        if self.data.is_empty() {
            self.offset = at as u64;
        }
        let begin = self.data.len();
        if self.reflowed {
            self.places.push((begin as u32, at as u64));
        }
        self.data.extend_from_slice(line);
        if self.reflowed {
            // Between members: in a string of JSON there is no line break as such.
            self.data[begin..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        }
        self.data.push(b'\n');
        self.lines += 1;
    }

    fn refuse(&mut self, reason: Reason, start: usize, text: &[u8], range: Range<usize>, what: &str) {
        if self.refused.len() == CHUNK_LINES_MAX {
            self.close();
        }
        let bytes = &text[range.clone()];
        self.refused.push(Refused {
            reason,
            offset: (start + range.start) as u64,
            len: bytes.len() as u64,
            hash: *blake3::hash(bytes).as_bytes(),
            bytes: bytes[..bytes.len().min(REFUSED_BYTES_MAX)].to_vec(),
            detail: what.to_owned(),
        });
    }

    fn close(&mut self) {
        let data = std::mem::take(&mut self.data);
        let origin = Origin {
            source: self.cutting.source.clone(),
            stream: "".into(),
            run: 0,
            ordinal: self.chunks.len() as u64,
            path: self.path.clone(),
            offset: self.offset,
            generation: self.cutting.request,
            first_seen: self.cutting.received_at,
            input_bytes: data.len() as u64,
            received_at: self.cutting.received_at,
            reflowed: self.reflowed,
            checkpoint: Vec::new(),
            permit: None,
            only_sensors: self.cutting.only_sensors.clone(),
        };
        let (places, refused) = (std::mem::take(&mut self.places), std::mem::take(&mut self.refused));
        self.chunks.push(Chunk { origin, data, places, refused, stored: None });
        self.lines = 0;
    }

    fn finish(mut self) -> Pushed {
        if !self.data.is_empty() || !self.refused.is_empty() {
            self.close();
        }
        Pushed { chunks: self.chunks, numbers: self.numbers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::batch::Batcher;
    use crate::sources::Format;

    fn cutting(format: Format) -> Cutting {
        Cutting {
            source: Arc::new(Source { name: "push".into(), format }),
            chunk_bytes: 64 << 10,
            received_at: 7,
            only_sensors: None,
            request: 1,
        }
    }

    fn cut(body: &str, form: Form) -> Result<Pushed, BodyError> {
        cutting(Format::COWRIE).cut(body.as_bytes(), form)
    }

    fn event(number: usize) -> String {
        format!(r#"{{"eventid":"cowrie.login.failed","timestamp":"2026-01-02T03:04:05Z","session":"s{number}"}}"#)
    }

    /// Events, refused lines with their numbers.
    fn extracted(pushed: Pushed) -> (u32, Vec<(u64, Reason)>) {
        let (mut events, mut refused) = (0, Vec::new());
        let mut batcher = Batcher::new();
        for chunk in pushed.chunks {
            let batch = batcher.extract(chunk, &());
            events += batch.events;
            refused.extend(batch.refused.iter().map(|refused| (pushed.numbers.of(refused.offset), refused.reason)));
        }
        (events, refused)
    }

    #[test]
    fn content_types_say_how_events_stand() {
        let table = [
            ("application/json", Some(Form::Json)),
            ("Application/JSON; charset=UTF-8", Some(Form::Json)),
            ("application/json;charset=\"utf-8\"", Some(Form::Json)),
            ("application/json; charset=latin1", None),
            ("application/x-ndjson", Some(Form::Lines)),
            ("text/plain", Some(Form::Lines)),
            ("text/html", None),
            ("", None),
        ];
        for (content_type, form) in table {
            assert_eq!(Form::of(content_type), form, "{content_type}");
        }
    }

    #[test]
    fn an_object_an_array_and_lines_are_the_same_events() {
        let (one, two) = (event(1), event(2));
        assert_eq!(extracted(cut(&one, Form::Json).unwrap()), (1, vec![]));
        assert_eq!(extracted(cut(&format!(" [ {one},\n {two} ] "), Form::Json).unwrap()), (2, vec![]));
        assert_eq!(extracted(cut(&format!("{one}\r\n\n{two}"), Form::Lines).unwrap()), (2, vec![]));
        assert!(cut("[]", Form::Json).unwrap().chunks.is_empty());
        let over_lines = one.replace(",", ",\n  ");
        let pushed = cut(&over_lines, Form::Json).unwrap();
        assert!(pushed.chunks[0].origin.reflowed);
        assert_eq!(memchr::memchr_iter(b'\n', &pushed.chunks[0].data).count(), 1);
    }

    #[test]
    fn what_is_no_event_is_refused_by_its_number() {
        let (one, two) = (event(1), event(2));
        let lines = format!("{one}\n\nnonsense\n{two}\n[1]\n");
        assert_eq!(extracted(cut(&lines, Form::Lines).unwrap()), (2, vec![(3, Reason::NotAnObject), (5, Reason::NotAnObject)]),);
        let array = format!("\n[{one}, 5, [{two}], {two}]");
        assert_eq!(extracted(cut(&array, Form::Json).unwrap()), (2, vec![(2, Reason::NotAnObject), (3, Reason::NotAnObject)]));
    }

    #[test]
    fn what_holds_no_event_at_all_is_refused_as_a_whole() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let table = [
            ("", Form::Json, "empty"),
            (" \r\n\t", Form::Lines, "empty"),
            ("\u{feff}", Form::Json, "empty"),
            ("hello", Form::Json, "byte 0"),
            ("\"text\"", Form::Json, "byte 0"),
            ("{\"a\":1} {}", Form::Json, "byte 8: something behind"),
            ("{\"a\":1", Form::Json, "ends too early"),
            ("[{\"a\":1}", Form::Json, "ends too early"),
            ("[{\"a\":1}] x", Form::Json, "something behind the array"),
            (&deep, Form::Json, "byte"),
            ("hello\nworld", Form::Lines, "line 1"),
        ];
        for (body, form, why) in table {
            let error = cut(body, form).expect_err(body).to_string();
            assert!(error.contains(why), "{body}: {error}");
        }
        let error = cutting(Format::COWRIE).cut(b"{\"a\":\"\xff\"}", Form::Json).unwrap_err();
        assert_eq!(error, BodyError::NotUtf8 { at: 6 });
        assert_eq!(cut(&"\n".repeat(EVENTS_MAX + 1), Form::Lines).unwrap_err(), BodyError::Empty);
        let many = format!("{}\n", event(1)).repeat(10) + &"\n".repeat(EVENTS_MAX);
        assert_eq!(cut(&many, Form::Lines).unwrap_err(), BodyError::TooMany);
        assert_eq!(cut(&" ".repeat(BODY_BYTES_MAX + 1), Form::Lines).unwrap_err(), BodyError::TooLarge);
    }

    #[test]
    fn a_large_body_becomes_chunks_of_bounded_size_with_numbers_that_go_on() {
        let mut body: String = (0..2000).map(|number| event(number) + "\n").collect();
        body.push_str("torn");
        let pushed = cut(&body, Form::Lines).unwrap();
        assert!(pushed.chunks.len() > 2);
        assert!(pushed.chunks.iter().all(|chunk| chunk.data.len() <= (64 << 10) + 200));
        assert_eq!(extracted(pushed), (2000, vec![(2001, Reason::NotAnObject)]));
    }

    #[test]
    fn each_request_is_an_input_of_its_own_where_the_place_tells_events_apart() {
        let body = event(1);
        let id = |request| {
            let pushed = Cutting { request, ..cutting(Format::COWRIE) }.cut(body.as_bytes(), Form::Lines).unwrap();
            let origin = &pushed.chunks[0].origin;
            let input = crate::events::id::InputId::new(&origin.path, origin.generation, origin.first_seen);
            input.event(origin.offset, body.as_bytes())
        };
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
