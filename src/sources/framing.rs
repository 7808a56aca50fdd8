//! Turns a stream of bytes into event lines.
//!
//! Almost every input is NDJSON: there the reader only looks for the last newline of what it has read, so that it runs at
//! memory speed, and leaves the lines to the workers that decode them. An input that begins with `[`, or with an object
//! that does not end on its first line, is a *document*: arrays of objects, or objects one after the other, written over
//! several lines. Those go through a scanner that follows the JSON grammar just closely enough to know where an object ends,
//! and to notice at once when one is torn; each object becomes one line.
//!
//! Nothing is dropped without a record: what is no event leaves as [`Refused`], with its size and hash, at bounded memory.
use super::checkpoint::Trail;
use super::{CHUNK_BYTES, REFUSED_BYTES_MAX, Reason, Refused};
use crate::events::{DOCUMENT_BYTES_MAX, JSON_DEPTH_MAX, LINE_BYTES_MAX};
use memchr::{memchr, memchr_iter, memchr2, memchr3, memrchr};
use std::io::{self, Read};

/// Most lines in a chunk.
pub const CHUNK_LINES_MAX: usize = 4096;
/// Bounds of what a caller may ask for as the size of chunks.
pub const CHUNK_BYTES_MIN: usize = 4 << 10;
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// A chunk with this many refusals is closed.
const CHUNK_REFUSED_MAX: usize = 256;
/// A line indented further than this is not taken for the beginning of a document after damage.
const INDENT_BYTES_MAX: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Chunks are about this size; more by at most one line.
    pub chunk_bytes: usize,
    pub line_bytes_max: usize,
    pub document_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { chunk_bytes: CHUNK_BYTES, line_bytes_max: LINE_BYTES_MAX, document_bytes_max: DOCUMENT_BYTES_MAX }
    }
}

/// What a position in an input means; kept in checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// At the beginning: what kind of input it is has not been seen yet.
    #[default]
    Start,
    /// Each line is an event.
    Lines,
    /// Between two objects of a document. `lines_after`: it is a single over-long line in an input of lines.
    Document { array_start: Option<u64>, lines_after: bool },
}

impl State {
    pub(crate) fn to_parts(self) -> (u8, u64) {
        match self {
            State::Start => (0, 0),
            State::Lines => (1, 0),
            State::Document { array_start, lines_after } => {
                (2 + u8::from(lines_after) + 2 * u8::from(array_start.is_some()), array_start.unwrap_or(0))
            }
        }
    }

    pub(crate) fn from_parts(mode: u8, document_start: u64, offset: u64) -> Option<State> {
        match mode {
            0 => Some(State::Start),
            1 => Some(State::Lines),
            2..=5 if document_start <= offset => {
                let array_start = (mode >= 4).then_some(document_start);
                Some(State::Document { array_start, lines_after: mode % 2 == 1 })
            }
            _ => None,
        }
    }
}

/// A stretch of input made into lines: what a chunk is made of.
#[derive(Debug)]
pub struct Piece {
    /// Whole lines, each ended by `\n`; blank lines may be among them.
    pub data: Vec<u8>,
    /// See [`Chunk::places`](super::Chunk::places).
    pub places: Vec<(u32, u64)>,
    pub refused: Vec<Refused>,
    /// The input bytes `start..end` are accounted for by this piece.
    pub start: u64,
    pub end: u64,
    pub reflowed: bool,
}

/// Cuts one input. Feed it with [`Framer::fill`], take pieces with [`Framer::next_piece`], end with [`Framer::finish`].
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    state: State,
    /// All that has left, in pieces or into the stretch being passed over, has passed here.
    trail: Trail,
    /// Where the next piece starts.
    piece_start: u64,
    /// Bytes read and not yet passed.
    buffer: Vec<u8>,
    /// How much of the buffer has been looked at in vain (for a newline; for the end of the value being scanned).
    scanned: usize,
    /// The value of a document being scanned; it begins at the buffer's first byte.
    scanner: Option<Scanner>,
    /// How far the last broken value was followed, as an offset: values broken by the same byte are not each tried again.
    broken_at: u64,
    /// Something of the line has been passed that is not blank.
    line_begun: bool,
    /// Blank bytes since the line's beginning.
    indent: usize,
    /// Damage may have hidden the beginning of an array whose end is still to come.
    array_lost: bool,
    passing: Option<Passing>,
    /// The position before the stretch being passed over.
    settled: Option<Box<(State, Trail)>>,
    /// The piece in the making.
    data: Vec<u8>,
    places: Vec<(u32, u64)>,
    lines: usize,
    refused: Vec<Refused>,
    refused_bytes: usize,
    reflowed: bool,
    skipped_bytes: u64,
}

/// A stretch being refused, of any length.
#[derive(Debug)]
struct Passing {
    reason: Reason,
    detail: &'static str,
    start: u64,
    len: u64,
    hasher: Box<blake3::Hasher>,
    kept: Vec<u8>,
    until: Until,
}

#[derive(Debug)]
enum Until {
    /// The end of the line.
    Newline,
    /// The end of a value that cannot be kept.
    ValueEnd(Scanner),
    /// A line that begins a document, indented no further than this.
    Beginning { indent_max: usize },
}

impl Framer {
    pub fn new(limits: Limits) -> Framer {
        Framer::resume(limits, State::Start, Trail::default())
    }

    /// Goes on behind a checkpoint.
    pub fn resume(limits: Limits, state: State, trail: Trail) -> Framer {
        let limits = Limits { chunk_bytes: limits.chunk_bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX), ..limits };
        Framer {
            limits,
            state,
            piece_start: trail.offset(),
            trail,
            buffer: Vec::new(),
            scanned: 0,
            scanner: None,
            broken_at: 0,
            line_begun: false,
            indent: 0,
            array_lost: false,
            passing: None,
            settled: None,
            data: Vec::new(),
            places: Vec::new(),
            lines: 0,
            refused: Vec::new(),
            refused_bytes: 0,
            reflowed: false,
            skipped_bytes: 0,
        }
    }

    /// The position behind the last piece, and what it means: where reading can go on. Exact when [`Framer::next_piece`] has
    /// just given a piece, or none with `flush`.
    pub fn position(&self) -> (State, &Trail) {
        self.settled.as_deref().map_or((self.state, &self.trail), |(state, trail)| (*state, trail))
    }

    /// All bytes that left the buffer, also those of a stretch that is being passed over.
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Offset of the next byte to be read.
    pub fn read_offset(&self) -> u64 {
        self.trail.offset() + self.buffer.len() as u64
    }

    /// Bytes read that wait for the rest of their line or object.
    pub fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// Bytes of NUL runs and byte order marks passed over.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// For inputs that can be read again: forgets the bytes that wait, so that an idle input costs no memory.
    pub fn forget_pending(&mut self) {
        self.buffer = Vec::new();
        self.scanned = 0;
        self.scanner = None;
    }

    /// Sizes the pieces from now on.
    pub fn set_chunk_bytes(&mut self, bytes: usize) {
        self.limits.chunk_bytes = bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    }

    /// Reads until as much is there as can be used at once, or `at_most` bytes, or `reader` has no more: zero at its end.
    /// What was read before an error is kept.
    pub fn fill(&mut self, reader: &mut dyn Read, at_most: usize) -> io::Result<usize> {
        let target = if self.buffer.len() < self.limits.chunk_bytes { self.limits.chunk_bytes } else { self.limits.line_bytes_max + 1 };
        let wanted = target.saturating_sub(self.buffer.len()).min(at_most);
        // Room for what is wanted at once: growing by doubling would copy.
        self.buffer.reserve_exact(wanted);
        reader.take(wanted as u64).read_to_end(&mut self.buffer)
    }

    /// The next piece, if there is enough for one, or with `flush` whatever is complete. Call it until there is none, then
    /// fill again.
    pub fn next_piece(&mut self, flush: bool) -> Option<Piece> {
        loop {
            if self.passing.is_some() {
                if !self.pass_over() {
                    return None;
                }
                continue;
            }
            if self.is_full() {
                return self.take_piece();
            }
            let progress = match self.state {
                State::Start => self.look_at_start(false),
                // An array among the lines has ended: its objects leave before the lines behind it.
                State::Lines if !self.data.is_empty() => return self.take_piece(),
                State::Lines => match self.cut_lines(flush) {
                    Step::Piece => return self.take_piece(),
                    Step::Again => true,
                    Step::More => false,
                },
                State::Document { .. } => match self.cut_document() {
                    Step::Piece => return self.take_piece(),
                    Step::Again => true,
                    Step::More => false,
                },
            };
            if !progress {
                let passed = self.trail.offset() > self.piece_start && !matches!(self.state, State::Start);
                return if flush && passed { self.take_piece() } else { None };
            }
        }
    }

    /// The input has ended: takes what is left, until there is nothing. A last line without its newline that is an object
    /// is an event; anything else torn is refused as partial.
    pub fn finish(&mut self) -> Option<Piece> {
        if let Some(piece) = self.next_piece(true) {
            return Some(piece);
        }
        if matches!(self.state, State::Start) {
            while matches!(self.state, State::Start) {
                self.look_at_start(true);
            }
            if let Some(piece) = self.next_piece(true) {
                return Some(piece);
            }
        }
        let rest = std::mem::take(&mut self.buffer);
        self.scanned = 0;
        self.scanner = None;
        if let Some(passing) = &mut self.passing {
            passing.absorb(&rest);
            self.trail.pass(&rest);
            self.end_passing();
        } else if !rest.is_empty() {
            let start = self.trail.offset();
            self.trail.pass(&rest);
            if matches!(self.state, State::Lines) && is_object(&rest) {
                self.place(self.data.len() as u32, start);
                self.data.extend_from_slice(&rest);
                self.data.push(b'\n');
            } else if !rest.iter().all(u8::is_ascii_whitespace) {
                self.refuse(Reason::Partial, start, &rest, "the input ended in the middle of it");
            }
        }
        if self.trail.offset() > self.piece_start { self.take_piece() } else { None }
    }

    fn is_full(&self) -> bool {
        self.data.len() >= self.limits.chunk_bytes
            || self.lines >= CHUNK_LINES_MAX
            || self.refused.len() >= CHUNK_REFUSED_MAX
            || self.refused_bytes >= CHUNK_BYTES_MAX
    }

    fn take_piece(&mut self) -> Option<Piece> {
        let start = std::mem::replace(&mut self.piece_start, self.trail.offset());
        self.lines = 0;
        self.refused_bytes = 0;
        Some(Piece {
            data: std::mem::take(&mut self.data),
            places: std::mem::take(&mut self.places),
            refused: std::mem::take(&mut self.refused),
            start,
            end: self.trail.offset(),
            reflowed: std::mem::take(&mut self.reflowed),
        })
    }

    /// Passes over the first `len` bytes of the buffer.
    fn consume(&mut self, len: usize) {
        self.trail.pass(&self.buffer[..len]);
        self.buffer.drain(..len);
        self.scanned = 0;
    }

    fn refuse(&mut self, reason: Reason, offset: u64, bytes: &[u8], detail: &str) {
        let kept = &bytes[..bytes.len().min(REFUSED_BYTES_MAX)];
        self.refused_bytes += kept.len();
        let hash = *blake3::hash(bytes).as_bytes();
        self.refused.push(Refused { reason, offset, len: bytes.len() as u64, hash, bytes: kept.to_vec(), detail: detail.to_owned() });
    }

    /// Skips what may precede the first event and decides what the input is. True when decided or moved on.
    fn look_at_start(&mut self, ended: bool) -> bool {
        let nuls = self.buffer.iter().take_while(|byte| **byte == 0).count();
        if nuls > 0 {
            self.skipped_bytes += nuls as u64;
            self.consume(nuls);
            return true;
        }
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.skipped_bytes += BYTE_ORDER_MARK.len() as u64;
            self.consume(BYTE_ORDER_MARK.len());
            return true;
        }
        if BYTE_ORDER_MARK.starts_with(&self.buffer) && !ended {
            return false;
        }
        // Blank lines are passed, blanks before the first byte of a line belong to it.
        let blank = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if let Some(newline) = memrchr(b'\n', &self.buffer[..blank]) {
            self.consume(newline + 1);
            return true;
        }
        let document = State::Document { array_start: None, lines_after: false };
        let state = match self.buffer.get(blank) {
            None if self.buffer.len() <= self.limits.line_bytes_max && !ended => return false,
            None => State::Lines,
            Some(b'[') => document,
            Some(b'{') => {
                let newline = memchr(b'\n', &self.buffer);
                let line = &self.buffer[blank..newline.unwrap_or(self.buffer.len())];
                let mut scanner = Scanner::default();
                match scanner.feed(line) {
                    Scan::Complete(end) if line[end..].iter().all(u8::is_ascii_whitespace) => {
                        if newline.is_none() && !ended {
                            return false;
                        }
                        State::Lines
                    }
                    Scan::Complete(_) => document,
                    // Pretty printed JSON has no line break inside strings: such a line is a torn one.
                    Scan::More if newline.is_some() && !scanner.in_string() => document,
                    Scan::More if newline.is_none() && !ended && self.buffer.len() <= self.limits.line_bytes_max => return false,
                    _ => State::Lines,
                }
            }
            Some(_) => State::Lines,
        };
        self.state = state;
        true
    }

    fn cut_lines(&mut self, flush: bool) -> Step {
        if self.buffer.len() < self.limits.chunk_bytes && !flush {
            return Step::More;
        }
        let Some(newline) = memrchr(b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            if self.buffer.len() <= self.limits.line_bytes_max {
                return Step::More;
            }
            if self.buffer.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
                self.scanned = 0;
                self.state = State::Document { array_start: None, lines_after: true };
            } else {
                self.begin_passing(Reason::LineTooLong, "line over the limit", Until::Newline);
            }
            return Step::Again;
        };
        let mut cut = self.scanned + newline + 1;
        if let Some(last) = memchr_iter(b'\n', &self.buffer[..cut]).nth(CHUNK_LINES_MAX - 1) {
            cut = last + 1;
        }
        // The buffer itself becomes the piece; only the torn end is copied.
        let rest = self.buffer[cut..].to_vec();
        self.data = std::mem::replace(&mut self.buffer, rest);
        self.data.truncate(cut);
        self.place(0, self.trail.offset());
        self.trail.pass(&self.data);
        self.scanned = 0;
        Step::Piece
    }

    /// Notes that the piece's data from `from` on stand at `offset` of the input, where that is not plain.
    fn place(&mut self, from: u32, offset: u64) {
        let (known, known_offset) = self.places.last().copied().unwrap_or((0, self.piece_start));
        if known_offset + u64::from(from - known) != offset {
            self.places.push((from, offset));
        }
    }

    fn cut_document(&mut self) -> Step {
        // Values are cut from the buffer's front by this cursor; what it passed is removed once, at the end.
        let mut at = 0;
        let step = loop {
            if self.is_full() && self.scanner.is_none() {
                break Step::Piece;
            }
            let State::Document { array_start, lines_after } = self.state else { break Step::Again };
            if let Some(scanner) = &mut self.scanner {
                match scanner.feed(&self.buffer[at + self.scanned..]) {
                    Scan::Complete(len) => {
                        let len = self.scanned + len;
                        self.scanner = None;
                        self.scanned = 0;
                        if len > self.limits.line_bytes_max {
                            self.refuse_in_place(at, len, Reason::LineTooLong, "object over the limit for a line");
                        } else {
                            self.deliver(at, len, array_start.is_some());
                        }
                        self.line_begun = true;
                        at += len;
                    }
                    Scan::More => {
                        self.scanned = self.buffer.len() - at;
                        if self.scanned <= self.limits.line_bytes_max {
                            break Step::More;
                        }
                        if !self.settle(&mut at) {
                            break Step::Piece;
                        }
                        let scanner = self.scanner.take().expect("a value is being scanned");
                        self.begin_passing_scanned(Reason::LineTooLong, "object over the limit for a line", Until::ValueEnd(scanner));
                        break Step::Again;
                    }
                    Scan::TooDeep(len) => {
                        if !self.settle(&mut at) {
                            self.scanner = None;
                            self.scanned = 0;
                            break Step::Piece;
                        }
                        self.scanned += len;
                        let mut scanner = self.scanner.take().expect("a value is being scanned");
                        scanner.only_count();
                        self.begin_passing_scanned(Reason::TooDeep, "nested deeper than the limit", Until::ValueEnd(scanner));
                        break Step::Again;
                    }
                    Scan::Bad(len) => {
                        let broken_at = self.trail.offset() + (at + self.scanned + len) as u64;
                        self.scanner = None;
                        let followed = self.scanned + len;
                        self.scanned = 0;
                        if !self.settle(&mut at) {
                            break Step::Piece;
                        }
                        // A value broken by the same byte as an earlier one: all that lies before the byte is lost with it.
                        let absorb = if broken_at <= self.broken_at { followed } else { 0 };
                        self.broken_at = broken_at;
                        self.begin_passing(Reason::NotAnObject, "broken JSON", Until::Beginning { indent_max: self.indent });
                        self.absorb(absorb);
                        break Step::Again;
                    }
                }
                continue;
            }
            let Some(&byte) = self.buffer.get(at) else { break Step::More };
            match byte {
                b'\n' => {
                    at += 1;
                    self.line_begun = false;
                    self.indent = 0;
                    if lines_after && array_start.is_none() {
                        self.state = State::Lines;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    at += 1;
                    self.indent += usize::from(!self.line_begun);
                }
                // Between objects that are not in an array commas are harmless too.
                b',' => {
                    at += 1;
                    self.line_begun = true;
                }
                b']' if array_start.is_some() || self.array_lost => {
                    at += 1;
                    self.line_begun = true;
                    self.array_lost = false;
                    self.state = State::Document { array_start: None, lines_after };
                }
                b'[' if array_start.is_none() => match self.buffer[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace()) {
                    Some(b'{' | b']') => {
                        self.state = State::Document { array_start: Some(self.trail.offset() + at as u64), lines_after };
                        at += 1;
                        self.line_begun = true;
                    }
                    None if self.buffer.len() - at <= self.limits.line_bytes_max => break Step::More,
                    _ => {
                        if !self.settle(&mut at) {
                            break Step::Piece;
                        }
                        self.begin_passing(Reason::NotAnObject, "not an array of objects", Until::Beginning { indent_max: 0 });
                        self.absorb(1);
                        break Step::Again;
                    }
                },
                _ => {
                    let offset = self.trail.offset() + at as u64;
                    if array_start.is_some_and(|start| offset - start >= self.limits.document_bytes_max) {
                        if !self.settle(&mut at) {
                            break Step::Piece;
                        }
                        let until = Until::Beginning { indent_max: 0 };
                        self.begin_passing(Reason::DocumentTooLong, "array over the limit for a document", until);
                        self.absorb(1);
                        break Step::Again;
                    }
                    if byte == b'{' || array_start.is_some() {
                        self.scanner = Some(Scanner::default());
                        continue;
                    }
                    if !self.settle(&mut at) {
                        break Step::Piece;
                    }
                    self.begin_passing(Reason::NotAnObject, "not JSON", Until::Beginning { indent_max: 0 });
                    self.absorb(1);
                    break Step::Again;
                }
            }
        };
        if at > 0 {
            let scanned = self.scanned;
            self.consume(at);
            self.scanned = scanned;
        }
        step
    }

    /// Before a stretch is passed over, what precedes it must have left: a checkpoint never lies inside of one. False when a
    /// piece has to be taken first.
    fn settle(&mut self, at: &mut usize) -> bool {
        if !self.data.is_empty() || !self.refused.is_empty() {
            return false;
        }
        let scanned = self.scanned;
        self.consume(std::mem::take(at));
        self.scanned = scanned;
        true
    }

    fn deliver(&mut self, at: usize, len: usize, in_array: bool) {
        if self.buffer[at] != b'{' {
            return self.refuse_in_place(at, len, Reason::NotAnObject, "an element of the array that is no object");
        }
        self.place(self.data.len() as u32, self.trail.offset() + at as u64);
        let value = &self.buffer[at..at + len];
        let broken = memchr2(b'\n', b'\r', value).is_some();
        self.reflowed |= in_array || broken || self.line_begun;
        if broken {
            reflow(value, &mut self.data);
        } else {
            self.data.extend_from_slice(value);
        }
        self.data.push(b'\n');
        self.lines += 1;
    }

    fn refuse_in_place(&mut self, at: usize, len: usize, reason: Reason, detail: &str) {
        let value = self.buffer[at..at + len].to_vec();
        self.refuse(reason, self.trail.offset() + at as u64, &value, detail);
    }

    fn begin_passing(&mut self, reason: Reason, detail: &'static str, until: Until) {
        let hasher = Box::new(blake3::Hasher::new());
        self.settled = Some(Box::new((self.state, self.trail.clone())));
        self.passing = Some(Passing { reason, detail, start: self.trail.offset(), len: 0, hasher, kept: Vec::new(), until });
        self.scanned = 0;
    }

    /// Begins with what the scanner has already seen.
    fn begin_passing_scanned(&mut self, reason: Reason, detail: &'static str, until: Until) {
        let scanned = self.scanned;
        self.begin_passing(reason, detail, until);
        self.absorb(scanned);
    }

    /// Moves the first bytes of the buffer into the stretch being refused.
    fn absorb(&mut self, len: usize) {
        if let Some(passing) = &mut self.passing {
            passing.absorb(&self.buffer[..len]);
        }
        self.consume(len);
    }

    /// Goes on passing over; false when more input is needed.
    fn pass_over(&mut self) -> bool {
        let Some(passing) = &mut self.passing else { return true };
        match &mut passing.until {
            Until::Newline => {
                let newline = memchr(b'\n', &self.buffer);
                self.absorb(newline.unwrap_or(self.buffer.len()));
                if newline.is_none() {
                    return false;
                }
                self.end_passing();
                self.consume(1);
            }
            Until::ValueEnd(scanner) => {
                let (scan, too_long) = (scanner.feed(&self.buffer), passing.len > self.limits.document_bytes_max);
                match scan {
                    Scan::Complete(len) => {
                        self.absorb(len);
                        self.end_passing();
                        self.line_begun = true;
                    }
                    Scan::More if !too_long => {
                        self.absorb(self.buffer.len());
                        return false;
                    }
                    Scan::TooDeep(len) => {
                        scanner.only_count();
                        self.absorb(len);
                    }
                    Scan::More | Scan::Bad(_) => {
                        if too_long {
                            passing.reason = Reason::DocumentTooLong;
                            passing.detail = "document over the limit, or one that never ends";
                        }
                        passing.until = Until::Beginning { indent_max: self.indent };
                    }
                }
            }
            Until::Beginning { indent_max } => {
                let indent_max = (*indent_max).min(INDENT_BYTES_MAX);
                let mut from = 0;
                let beginning = loop {
                    let Some(newline) = memchr(b'\n', &self.buffer[from..]).map(|found| from + found) else {
                        self.absorb(self.buffer.len());
                        return false;
                    };
                    let line = &self.buffer[newline + 1..];
                    let indent = line.iter().take(indent_max + 1).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                    match line.get(indent) {
                        Some(b'{' | b'[') if indent <= indent_max => break newline + 1 + indent,
                        None => {
                            // The line's first byte has not been read yet.
                            self.absorb(newline);
                            return false;
                        }
                        _ => from = newline + 1,
                    }
                };
                let indent = self.buffer[..beginning].iter().rev().take_while(|byte| **byte != b'\n').count();
                let first = self.buffer[beginning];
                // The newline and the indentation belong to what follows.
                self.absorb(beginning - indent - 1);
                self.end_passing();
                self.consume(indent + 1);
                self.line_begun = false;
                self.indent = indent;
                if let State::Document { array_start, lines_after } = &mut self.state {
                    if *lines_after && array_start.is_some() {
                        // The array was one line, and that line is over.
                        self.state = State::Lines;
                    } else if first == b'[' || indent == 0 {
                        self.array_lost |= array_start.is_some();
                        *array_start = None;
                    }
                }
            }
        }
        true
    }

    fn end_passing(&mut self) {
        self.settled = None;
        if let Some(passing) = self.passing.take().filter(|passing| passing.len > 0) {
            self.refused_bytes += passing.kept.len();
            self.refused.push(Refused {
                reason: passing.reason,
                offset: passing.start,
                len: passing.len,
                hash: *passing.hasher.finalize().as_bytes(),
                bytes: passing.kept,
                detail: passing.detail.to_owned(),
            });
        }
    }
}

enum Step {
    /// A piece is to be taken.
    Piece,
    /// Something changed: go on.
    Again,
    /// More input is needed.
    More,
}

impl Passing {
    fn absorb(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.hasher.update(bytes);
        let room = REFUSED_BYTES_MAX - self.kept.len();
        self.kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }
}

/// Whether the bytes are one complete JSON object.
pub fn is_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{') && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// Appends a value without the white space outside its strings.
fn reflow(value: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < value.len() {
        match value[at] {
            b'"' => {
                let mut end = at + 1;
                while let Some(found) = memchr2(b'"', b'\\', &value[end..]) {
                    end += found;
                    if value[end] == b'"' {
                        break;
                    }
                    end += 2;
                    if end > value.len() {
                        break;
                    }
                }
                let end = (end + 1).min(value.len());
                out.extend_from_slice(&value[at..end]);
                at = end;
            }
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// Finds the end of one JSON value, byte by byte, and notices when the bytes cannot be one. Numbers, literals and escapes are
/// left to the decoder.
#[derive(Clone, Debug, Default)]
struct Scanner {
    /// One bit a level, the innermost lowest: set for an object.
    levels: u64,
    depth: u64,
    expect: Expect,
    /// Beyond the depth limit only brackets and strings are followed.
    counting: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
    StringEnd {
        key: bool,
    },
    Escaped {
        key: bool,
    },
    ScalarEnd,
}

#[derive(Debug, PartialEq, Eq)]
enum Scan {
    More,
    /// The value ends before this index.
    Complete(usize),
    /// The byte at this index cannot be.
    Bad(usize),
    /// The bytes before this index opened one level too many.
    TooDeep(usize),
}

const _: () = assert!(JSON_DEPTH_MAX <= 64, "levels are kept in 64 bits");

impl Scanner {
    fn in_string(&self) -> bool {
        matches!(self.expect, Expect::StringEnd { .. } | Expect::Escaped { .. })
    }

    fn only_count(&mut self) {
        self.counting = true;
    }

    fn feed(&mut self, bytes: &[u8]) -> Scan {
        let mut at = 0;
        while at < bytes.len() {
            match self.expect {
                Expect::StringEnd { key } => {
                    let Some(found) = memchr3(b'"', b'\\', b'\n', &bytes[at..]) else { return Scan::More };
                    at += found;
                    match bytes[at] {
                        b'\\' => self.expect = Expect::Escaped { key },
                        b'"' => {
                            self.expect = if key { Expect::Colon } else { Expect::CommaOrEnd };
                            if self.depth == 0 {
                                return Scan::Complete(at + 1);
                            }
                        }
                        // A string never spans lines: the line was torn.
                        _ => return Scan::Bad(at),
                    }
                    at += 1;
                    continue;
                }
                Expect::Escaped { key } => {
                    if bytes[at] == b'\n' {
                        return Scan::Bad(at);
                    }
                    self.expect = Expect::StringEnd { key };
                    at += 1;
                    continue;
                }
                Expect::ScalarEnd => {
                    let Some(len) = bytes[at..].iter().position(|byte| !is_scalar(*byte)) else { return Scan::More };
                    at += len;
                    if self.depth == 0 {
                        return Scan::Complete(at);
                    }
                    self.expect = Expect::CommaOrEnd;
                    continue;
                }
                _ => {}
            }
            let byte = bytes[at];
            at += 1;
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                continue;
            }
            if self.counting {
                match byte {
                    b'"' => self.expect = Expect::StringEnd { key: false },
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Scan::Complete(at);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            let object = self.levels & 1 == 1;
            match (self.expect, byte) {
                (Expect::Value | Expect::ValueOrEnd, b'{' | b'[') => {
                    self.depth += 1;
                    if self.depth > JSON_DEPTH_MAX as u64 {
                        return Scan::TooDeep(at);
                    }
                    self.levels = self.levels << 1 | u64::from(byte == b'{');
                    self.expect = if byte == b'{' { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
                }
                (Expect::Value | Expect::ValueOrEnd, b'"') => self.expect = Expect::StringEnd { key: false },
                (Expect::Key | Expect::KeyOrEnd, b'"') => self.expect = Expect::StringEnd { key: true },
                (Expect::Colon, b':') => self.expect = Expect::Value,
                (Expect::CommaOrEnd, b',') => self.expect = if object { Expect::Key } else { Expect::Value },
                (Expect::KeyOrEnd, b'}') | (Expect::ValueOrEnd, b']') => {
                    if self.close() {
                        return Scan::Complete(at);
                    }
                }
                (Expect::CommaOrEnd, b'}' | b']') if object == (byte == b'}') => {
                    if self.close() {
                        return Scan::Complete(at);
                    }
                }
                (Expect::Value | Expect::ValueOrEnd, byte) if is_scalar(byte) => self.expect = Expect::ScalarEnd,
                _ => return Scan::Bad(at - 1),
            }
        }
        Scan::More
    }

    /// Leaves a level; true when it was the outermost.
    fn close(&mut self) -> bool {
        self.levels >>= 1;
        self.depth -= 1;
        self.expect = Expect::CommaOrEnd;
        self.depth == 0
    }
}

/// May stand in a number or in `true`, `false`, `null` (and in `NaN`, for the decoder to refuse).
fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Limits = Limits { chunk_bytes: 4096, line_bytes_max: 8192, document_bytes_max: 100_000 };

    struct Framed {
        lines: Vec<String>,
        refused: Vec<Refused>,
        reflowed: bool,
        skipped: u64,
    }

    /// Frames an input that arrives in pieces of `step` bytes, as a growing file (flushed each time) or as an archive.
    fn frame(input: &[u8], limits: Limits, step: usize, flush: bool) -> Framed {
        let mut framer = Framer::new(limits);
        let mut framed = Framed { lines: Vec::new(), refused: Vec::new(), reflowed: false, skipped: 0 };
        let mut end = 0;
        let mut take = |piece: Piece, framed: &mut Framed| {
            assert_eq!(piece.start, end, "pieces join without gap");
            end = piece.end;
            assert!(piece.data.is_empty() || piece.data.ends_with(b"\n"));
            assert!(piece.data.len() <= limits.chunk_bytes.max(CHUNK_BYTES_MIN) + limits.line_bytes_max + 1);
            assert!(memchr_iter(b'\n', &piece.data).count() <= CHUNK_LINES_MAX);
            framed.reflowed |= piece.reflowed;
            framed.refused.extend(piece.refused);
            let text = String::from_utf8_lossy(&piece.data).into_owned();
            framed.lines.extend(text.lines().map(str::to_owned).filter(|line| !line.trim().is_empty()));
        };
        for mut arrived in input.chunks(step.max(1)) {
            while !arrived.is_empty() {
                framer.fill(&mut arrived, usize::MAX).unwrap();
                while let Some(piece) = framer.next_piece(flush) {
                    take(piece, &mut framed);
                }
                assert!(framer.pending().len() <= limits.line_bytes_max + 1);
            }
        }
        while let Some(piece) = framer.finish() {
            take(piece, &mut framed);
        }
        assert_eq!(end, input.len() as u64, "every byte is accounted for");
        framed.skipped = framer.skipped_bytes();
        for refused in &framed.refused {
            let start = refused.offset as usize;
            let bytes = &input[start..start + refused.len as usize];
            assert_eq!(refused.hash, *blake3::hash(bytes).as_bytes());
            assert_eq!(refused.bytes, bytes[..bytes.len().min(REFUSED_BYTES_MAX)]);
        }
        framed
    }

    /// The same result whatever the cuts.
    fn frame_all_ways(input: &[u8], limits: Limits) -> Framed {
        let whole = frame(input, limits, input.len(), false);
        for step in [1, 2, 3, 7, 64, 1000, 4096, 5000] {
            if step == 1 && input.len() > 100_000 {
                continue;
            }
            for flush in [false, true] {
                let framed = frame(input, limits, step, flush);
                assert_eq!(framed.lines, whole.lines, "step {step} flush {flush}");
                assert_eq!(framed.refused, whole.refused, "step {step} flush {flush}");
                assert_eq!((framed.reflowed, framed.skipped), (whole.reflowed, whole.skipped));
            }
        }
        whole
    }

    fn reasons(framed: &Framed) -> Vec<(Reason, u64, u64)> {
        framed.refused.iter().map(|refused| (refused.reason, refused.offset, refused.len)).collect()
    }

    #[test]
    fn ndjson_passes_verbatim() {
        let input = b"{\"a\": 1}\n\n  {\"b\":2} \r\nnot json\n{\"c\":3}\n";
        let framed = frame_all_ways(input, SMALL);
        assert_eq!(framed.lines, ["{\"a\": 1}", "  {\"b\":2} ", "not json", "{\"c\":3}"]);
        assert!(framed.refused.is_empty() && !framed.reflowed);
    }

    #[test]
    fn last_line_without_newline_counts_only_if_it_is_an_object() {
        let framed = frame_all_ways(b"{\"a\":1}\n{\"b\":2}", SMALL);
        assert_eq!(framed.lines, ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(frame_all_ways(b"{\"a\":1}", SMALL).lines, ["{\"a\":1}"]);
        let framed = frame_all_ways(b"{\"a\":1}\n{\"b\":", SMALL);
        assert_eq!(framed.lines, ["{\"a\":1}"]);
        assert_eq!(reasons(&framed), [(Reason::Partial, 8, 5)]);
        assert_eq!(reasons(&frame_all_ways(b"{\"a\":", SMALL)), [(Reason::Partial, 0, 5)]);
        assert_eq!(frame_all_ways(b"  \n \n", SMALL).refused.len(), 0);
    }

    #[test]
    fn byte_order_mark_and_nul_run_at_the_front_are_skipped_and_counted() {
        for (front, skipped) in [(&b"\xef\xbb\xbf"[..], 3), (&[0; 9000], 9000), (b"\0\0\xef\xbb\xbf", 5)] {
            for body in [&b"{\"a\":1}\n"[..], b"[{\"a\":1}]", b"{\n\"a\":1\n}\n"] {
                let framed = frame_all_ways(&[front, body].concat(), SMALL);
                assert_eq!((framed.lines, framed.skipped), (vec!["{\"a\":1}".to_owned()], skipped));
            }
        }
        assert_eq!(frame_all_ways(&[0; 5000], SMALL).skipped, 5000);
        assert_eq!(reasons(&frame_all_ways(b"\xef\xbb", SMALL)), [(Reason::Partial, 0, 2)]);
    }

    #[test]
    fn line_over_the_limit_is_refused_with_size_and_hash_and_the_next_one_read() {
        let exact = format!("{{\"a\":\"{}\"}}", "x".repeat(SMALL.line_bytes_max - 8));
        assert_eq!(exact.len(), SMALL.line_bytes_max);
        for len in [SMALL.line_bytes_max + 1, SMALL.line_bytes_max + 2, 200_000] {
            let long = "y".repeat(len);
            let input = format!("{{\"n\":0}}\n{exact}\n{long}\n{{\"n\":1}}\n{long}");
            let framed = frame_all_ways(input.as_bytes(), SMALL);
            assert_eq!(framed.lines, ["{\"n\":0}", exact.as_str(), "{\"n\":1}"]);
            let start = 9 + exact.len() as u64;
            assert_eq!(
                reasons(&framed),
                [(Reason::LineTooLong, start, len as u64), (Reason::LineTooLong, start + len as u64 + 9, len as u64)]
            );
            assert!(framed.refused.iter().all(|refused| refused.bytes.len() <= REFUSED_BYTES_MAX));
        }
    }

    #[test]
    fn arrays_and_pretty_printed_objects_become_lines() {
        for input in [
            "[{\"a\": 1}, {\"b\": \"x ]}\\\" y\"},{}]",
            "[\n  {\"a\": 1},\n  {\"b\": \"x ]}\\\" y\"},\n  {}\n]\n",
            "[\n{\"a\": 1},\n{\"b\": \"x ]}\\\" y\"},\n{}\n]\n",
            "{\"a\": 1}{\"b\": \"x ]}\\\" y\"} {}\n",
            "{\"a\": 1},{\"b\": \"x ]}\\\" y\"},\n{},\n",
        ] {
            let framed = frame_all_ways(input.as_bytes(), SMALL);
            assert_eq!(framed.lines, ["{\"a\": 1}", "{\"b\": \"x ]}\\\" y\"}", "{}"], "{input}");
            assert!(framed.refused.is_empty() && framed.reflowed, "{input}");
        }
        let framed = frame_all_ways(b"{\n  \"a\": [1, 2],\r\n  \"b c\": \"d  e\"\n}\n{ \"x\": 1 }\n", SMALL);
        assert_eq!(framed.lines, ["{\"a\":[1,2],\"b c\":\"d  e\"}", "{ \"x\": 1 }"]);
        assert_eq!(frame_all_ways(b"[]\n[ ]\n[{\"a\":1}]\n", SMALL).lines, ["{\"a\":1}"]);
    }

    #[test]
    fn over_long_line_that_is_an_array_is_split_inside_an_input_of_lines() {
        let array: Vec<String> = (0..5000).map(|n| format!("{{\"n\":{n}}}")).collect();
        let input = format!("{{\"first\":1}}\n [{}]\n{{\"last\":1}}\nplain text\n", array.join(", "));
        let framed = frame_all_ways(input.as_bytes(), SMALL);
        assert_eq!(framed.lines.len(), 5003);
        assert_eq!((&*framed.lines[1], &*framed.lines[5000], &*framed.lines[5002]), ("{\"n\":0}", "{\"n\":4999}", "plain text"));
        assert!(framed.refused.is_empty());
    }

    #[test]
    fn damage_in_a_document_costs_only_what_is_damaged() {
        // A torn object, then whole ones; a torn line that is noticed only by the grammar; garbage between objects.
        let framed = frame_all_ways(b"{\n \"a\": 1,\n{\n \"b\": 2\n}\ngarbage\n more\n{\"c\": 3}\n", SMALL);
        assert_eq!(framed.lines, ["{\"b\":2}", "{\"c\": 3}"]);
        assert_eq!(reasons(&framed), [(Reason::NotAnObject, 0, 10), (Reason::NotAnObject, 23, 13)]);
        // Inside an array, elements indented; nested objects are not taken for elements.
        let input = b"[\n  {\n    \"a\": \"torn\n    \"x\":\n      {\"inner\": 1}\n  },\n  {\n    \"b\": 2\n  }\n]\n";
        let framed = frame_all_ways(input, SMALL);
        assert_eq!(framed.lines, ["{\"b\":2}"]);
        assert_eq!(framed.refused.len(), 1);
        // Elements in the first column.
        let framed = frame_all_ways(b"[\n{\"a\": tru e},\n{\"b\": 2}\n]\n{\"c\":3}\n", SMALL);
        assert_eq!((framed.lines, framed.refused.len()), (vec!["{\"b\": 2}".to_owned(), "{\"c\":3}".to_owned()], 1));
        // What is no object in an array.
        let framed = frame_all_ways(b"[{\"a\":1}, 17, \"x\", [{\"no\":1}], {\"b\":2}]", SMALL);
        assert_eq!(framed.lines, ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(framed.refused.iter().map(|refused| &*refused.bytes).collect::<Vec<_>>(), [&b"17"[..], b"\"x\"", b"[{\"no\":1}]"]);
        // A text log whose lines begin with a bracket is no array.
        let framed = frame_all_ways(b"[2026-03-23 10:00] hello\n[2026-03-23 10:01] world\n", SMALL);
        assert_eq!(framed.refused.len(), 2);
        // A document that stops in the middle.
        let framed = frame_all_ways(b"[{\"a\":1},{\"b\":", SMALL);
        assert_eq!((framed.lines.len(), reasons(&framed)), (1, vec![(Reason::Partial, 9, 5)]));
        // The first line of a log cut in two is no document.
        let framed = frame_all_ways(b"{\"a\": \"torn\n{\"b\":2}\n", SMALL);
        assert_eq!(framed.lines, ["{\"a\": \"torn", "{\"b\":2}"]);
    }

    #[test]
    fn objects_too_long_or_too_deep_are_passed_over_to_their_end() {
        let long = format!("{{\"x\":\n\"{}\"}}", "z".repeat(50_000));
        let deep = format!("{{\"x\":\n{}\"]\\\"\"{}}}", "[".repeat(5000), "]".repeat(5000));
        let deepest = format!("{}1{}", "{\"x\":".repeat(JSON_DEPTH_MAX), "}".repeat(JSON_DEPTH_MAX));
        let input = format!("[{{\"n\":0}},\n{long},\n{{\"n\":1}},{deep},\n{{\"n\":2}},{deepest}]");
        let framed = frame_all_ways(input.as_bytes(), SMALL);
        assert_eq!(framed.lines, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}", deepest.as_str()]);
        let kinds: Vec<_> = framed.refused.iter().map(|refused| (refused.reason, refused.len as usize)).collect();
        assert_eq!(kinds, [(Reason::LineTooLong, long.len()), (Reason::TooDeep, deep.len())]);
    }

    #[test]
    fn document_that_never_ends_is_refused_at_the_limit() {
        let endless = format!("{{\"x\": [\n{}", "1,\n".repeat(100_000));
        let input = format!("{endless}\n{{\"after\":1}}\n");
        // The object could still end after the next `{`: the limit decides that it does not.
        let framed = frame(input.as_bytes(), SMALL, input.len(), false);
        assert_eq!(framed.refused[0].reason, Reason::DocumentTooLong);
        assert_eq!(framed.lines, ["{\"after\":1}"]);
        let array = format!("[\n{}\n]\n{{\"after\":1}}\n", vec!["  {\"n\": 1}"; 20_000].join(",\n"));
        let framed = frame_all_ways(array.as_bytes(), SMALL);
        assert_eq!(framed.refused.len(), 1);
        assert_eq!(framed.refused[0].reason, Reason::DocumentTooLong);
        assert!(framed.refused[0].offset <= SMALL.document_bytes_max + 13);
        assert_eq!(framed.lines.last().unwrap(), "{\"after\":1}");
    }

    #[test]
    fn broken_values_nested_in_broken_values_are_not_tried_again_and_again() {
        // Every line opens a value and all are broken by the last byte: quadratic work would take minutes.
        let input = format!("{{\"a\":[\n{}!\n{{\"b\":2}}\n", "{},\n[[],\n".repeat(30));
        let framed = frame_all_ways(input.as_bytes(), SMALL);
        assert_eq!(framed.lines.last().unwrap(), "{\"b\":2}");
    }

    #[test]
    fn resumes_between_any_two_pieces() {
        let array: Vec<String> = (0..3000).map(|n| format!("{{\"n\":{n},\n\"x\":\"}}\"}}")).collect();
        let input = format!("[{}]\n{{\"z\":1}}", array.join(",\n"));
        let whole = frame(input.as_bytes(), SMALL, input.len(), false).lines;
        let mut lines = Vec::new();
        let (mut state, mut trail) = (State::Start, Trail::default());
        loop {
            let mut framer = Framer::resume(SMALL, state, trail.clone());
            let mut rest = &input.as_bytes()[trail.offset() as usize..];
            let piece = loop {
                if let Some(piece) = framer.next_piece(false) {
                    break Some(piece);
                }
                if framer.fill(&mut rest, usize::MAX).unwrap() == 0 {
                    break framer.finish();
                }
            };
            let Some(piece) = piece else { break };
            lines.extend(String::from_utf8(piece.data).unwrap().lines().map(str::to_owned));
            let (mode, start) = framer.position().0.to_parts();
            state = State::from_parts(mode, start, framer.trail().offset()).unwrap();
            trail = framer.trail().clone();
        }
        assert_eq!(lines, whole);
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\],: \n\u{e9}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-z\"{ ]{0,4}", inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = serde_json::Value> {
        prop::collection::vec(("[a-z\"{ ]{0,4}", value()), 1..4).prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever serde_json writes comes out as the same values, wherever the input is cut.
        #[test]
        fn documents_cut_at_every_byte_give_the_same_objects(objects in prop::collection::vec(object(), 1..5), form in 0..4) {
            let joined = |write: fn(&serde_json::Value) -> String, separator: &str| -> String {
                objects.iter().map(write).collect::<Vec<_>>().join(separator)
            };
            let pretty = |value: &serde_json::Value| serde_json::to_string_pretty(value).unwrap();
            let input = match form {
                0 => joined(|value| value.to_string(), "\n") + "\n",
                1 => joined(pretty, "\n") + "\n",
                2 => serde_json::to_string(&objects).unwrap(),
                _ => serde_json::to_string_pretty(&objects).unwrap(),
            };
            for cut in 0..=input.len() {
                let mut framer = Framer::new(SMALL);
                let mut got = Vec::new();
                for mut part in [&input.as_bytes()[..cut], &input.as_bytes()[cut..]] {
                    framer.fill(&mut part, usize::MAX).unwrap();
                    while let Some(piece) = framer.next_piece(true) {
                        prop_assert!(piece.refused.is_empty());
                        got.extend(piece.data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
                    }
                }
                while let Some(piece) = framer.finish() {
                    prop_assert!(piece.refused.is_empty());
                    got.extend(piece.data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
                }
                let parsed: Vec<serde_json::Value> = got.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
                prop_assert_eq!(&parsed, &objects);
            }
        }

        /// Any bytes: no panic, every byte accounted for, the same result whatever the cuts.
        #[test]
        fn garbage_is_accounted_for(input in "[\\[\\]{}\",:a1 \\n\\\\]{0,60}") {
            frame_all_ways(input.as_bytes(), SMALL);
        }
    }
}
