//! Search over sealed and live segments: which blocks can match, in which order to read them, which lines do.
//!
//! Terms lead to block sets; those are intersected, and only blocks in the intersection are read, in the order of their
//! times. A line counts only if its decoder says that it has every term: block sets are candidates, never answers. The
//! search stops as soon as no unread block can hold an event that comes before the last one wanted. What was stored
//! after the first page of a search began does not appear on later pages ([`Page::last_seq`]), so that paging neither
//! skips nor repeats.
use super::BlockMeta;
use super::blocks::BlockSet;
use super::part::{IndexPart, LookUp, ValueRange};
use super::pattern::Pattern;
use super::query::{Clause, Condition, Query};
use super::session_key;
use super::sidecar::SidecarError;
use super::top::Tops;
use crate::events::{Field, Format, Micros, TERM_VALUE_BYTES_MAX};
use memchr::memmem;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::{ControlFlow, Range, RangeInclusive};
use std::sync::Arc;

/// Bytes of lines that wait for their turn; of those beyond only the place is kept, and the block read again.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// A literal shorter than this is in nearly every line; one longer need not stand in the line as one piece.
const NEEDLE_BYTES: RangeInclusive<usize> = 2..=1024;

/// Reads the terms of a line, as the index got them.
pub trait LineTerms {
    /// Calls `out` with every term of the event and answers the time it is indexed by; `None` if it is no event.
    fn terms(&mut self, format: Format, line: &[u8], received_at: Micros, out: &mut dyn FnMut(Field, &[u8])) -> Option<Micros>;

    /// Whether values of `field` that are plain ASCII stand in the format's lines as they are, up to JSON's escapes.
    fn verbatim(&self, _format: Format, _field: Field) -> bool {
        true
    }
}

/// The lines of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockLines {
    /// Lines in the order of their sequence numbers, each ended by `\n`.
    pub bytes: Vec<u8>,
    /// In the same order.
    pub runs: Vec<LineRun>,
}

/// Lines of a block with one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRun {
    pub events: u32,
    /// Name of the configured source.
    pub source: Arc<str>,
    pub received_at: Micros,
    /// `None`: nobody knows the format any more. Such events have no terms.
    pub format: Option<Format>,
}

/// One segment, sealed or live, that stays readable for as long as it is held.
pub trait Segment: Send + Sync {
    /// Lets `ask` put its questions to the index, under its lock if it is live: nothing slow may happen in there.
    fn with_index(&self, ask: &mut dyn FnMut(&dyn IndexPart) -> Result<(), SidecarError>) -> Result<(), SidecarError>;

    /// Replaces `lines` by the block's.
    fn read_block(&self, block: &BlockMeta, lines: &mut BlockLines) -> std::io::Result<()>;
}

/// All segments at one moment.
#[derive(Clone, Default)]
pub struct View {
    pub segments: Vec<Arc<dyn Segment>>,
    /// The highest sequence number stored at that moment.
    pub last_seq: u64,
    /// So many of the first segments never change.
    pub settled: usize,
    /// What is kept of those.
    pub tops: Arc<Tops>,
}

/// Where an event stands in the order of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub time: Micros,
    pub seq: u64,
}

/// Which part of the answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most hits. A search holds up to about a hundred bytes for each of these, besides lines of 8 MiB in all.
    pub limit: usize,
    pub newest_first: bool,
    /// Go on behind this event: the `last` of the page before.
    pub after: Option<Position>,
    /// Ignore what was stored later: the `last_seq` of the first page. `None` on the first page.
    pub last_seq: Option<u64>,
}

/// A line that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// Without its newline.
    pub line: &'a [u8],
    pub time: Micros,
    pub seq: u64,
    /// As it was stored with: name of its source, and who reads it (`None`: nobody does any more).
    pub source: &'a str,
    pub format: Option<Format>,
}

impl Hit<'_> {
    pub fn position(&self) -> Position {
        Position { time: self.time, seq: self.seq }
    }
}

/// How a search went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub hits: usize,
    /// The last event answered and the sequence number to pin: what the next [`Page`] needs.
    pub last: Option<Position>,
    pub last_seq: u64,
    /// The limit (or the receiver) ended the search: there may be more.
    pub more: bool,
    /// Segments that there are, those whose index was asked before the page was full, and those of them in which something may match.
    pub segments: usize,
    pub segments_asked: usize,
    pub segments_possible: usize,
    /// Blocks of all segments, those of the segments asked that may hold a hit, and those read before the page was full.
    pub blocks: usize,
    pub blocks_possible: usize,
    pub blocks_read: usize,
    pub lines_parsed: usize,
}

impl Outcome {
    fn new(view: &View, last: Option<Position>, last_seq: u64) -> Outcome {
        Outcome {
            hits: 0,
            last,
            last_seq,
            more: false,
            segments: view.segments.len(),
            segments_asked: 0,
            segments_possible: 0,
            blocks: 0,
            blocks_possible: 0,
            blocks_read: 0,
            lines_parsed: 0,
        }
    }
}

/// Why a search failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Index(#[from] SidecarError),
    #[error("cannot read the block of event {first_seq}: {source}")]
    Block { first_seq: u64, source: std::io::Error },
}

/// A block that may hold hits. Ordered by the earliest place in the answer that one of its events can have.
struct Candidate {
    bound: (i64, u64),
    segment: usize,
    block: BlockMeta,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Candidate) -> Ordering {
        self.bound.cmp(&other.bound)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        self.bound == other.bound
    }
}

impl Eq for Candidate {}

struct Waiting {
    position: Position,
    candidate: usize,
    line: Option<Box<[u8]>>,
    source: Arc<str>,
    format: Option<Format>,
}

/// Answers `query`: calls `each` with the hits of the page, in order, as soon as each one's turn is certain.
pub fn search(
    view: &View,
    query: &Query,
    page: Page,
    decoder: &mut dyn LineTerms,
    each: &mut dyn FnMut(Hit<'_>) -> ControlFlow<()>,
) -> Result<Outcome, SearchError> {
    search_within(view, query, page, decoder, each, WAITING_BYTES_MAX)
}

fn search_within(
    view: &View,
    query: &Query,
    page: Page,
    decoder: &mut dyn LineTerms,
    each: &mut dyn FnMut(Hit<'_>) -> ControlFlow<()>,
    waiting_bytes_max: usize,
) -> Result<Outcome, SearchError> {
    let last_seq = page.last_seq.unwrap_or(view.last_seq).min(view.last_seq);
    let mut outcome = Outcome::new(view, page.after, last_seq);
    let mut candidates = Candidates::new(view, query, page, &mut outcome)?;
    let matcher = Matcher::new(query);
    let mut answer =
        Answer { page, view, taken: Vec::new(), each, waiting: BTreeMap::new(), waiting_bytes: 0, waiting_bytes_max, again: None };
    let (mut lines, mut nothing) = (BlockLines::default(), EventTerms::default());
    while let Some(candidate) = candidates.next(&mut outcome)? {
        if answer.release(Some(candidate.bound), &mut outcome)?.is_break() {
            return Ok(outcome);
        }
        read(view, &candidate, &mut lines)?;
        outcome.blocks_read += 1;
        let mut matches = Matches::new(&matcher, &lines, candidate.block.first_seq..=last_seq);
        answer.taken.push(candidate);
        while let Some((position, line, run)) = matches.next(decoder, &mut nothing) {
            answer.add(position, (line, run), &outcome);
        }
        outcome.lines_parsed += matches.lines_parsed;
    }
    let _ = answer.release(None, &mut outcome)?;
    Ok(outcome)
}

/// Terms of one event, of the fields that were asked for; the memory is used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct EventTerms {
    fields: Vec<Field>,
    bytes: Vec<u8>,
    terms: Vec<(Field, Range<u32>)>,
}

impl EventTerms {
    /// The event's values of the field, each once, ascending.
    pub fn of(&self, field: Field) -> impl Iterator<Item = &[u8]> {
        let of_field = self.terms.iter().filter(move |(other, _)| *other == field);
        of_field.map(|(_, range)| &self.bytes[range.start as usize..range.end as usize])
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.terms.clear();
    }

    fn see(&mut self, field: Field, value: &[u8]) {
        if self.fields.contains(&field) {
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(value);
            self.terms.push((field, start..self.bytes.len() as u32));
        }
    }

    /// An event has a value once, however often it names it.
    fn settle(&mut self) {
        let EventTerms { bytes, terms, .. } = self;
        let value = |range: &Range<u32>| &bytes[range.start as usize..range.end as usize];
        if terms.len() > 1 {
            terms.sort_unstable_by(|(field, a), (other, b)| field.cmp(other).then_with(|| value(a).cmp(value(b))));
            terms.dedup_by(|(field, a), (other, b)| field == other && value(a) == value(b));
        }
    }
}

/// Takes in every event that matches.
pub trait EachEvent {
    /// The fields whose values it wants to see.
    fn fields(&self) -> Vec<Field>;

    fn event(&mut self, time: Micros, terms: &EventTerms);

    /// All events of this block match: true if no more need be known of them.
    fn takes_whole(&mut self, _block: &BlockMeta) -> bool {
        false
    }
}

/// Shows every event that matches to `each`, in the order in which they lie on disk; no line is decoded twice.
pub fn each_event(view: &View, query: &Query, decoder: &mut dyn LineTerms, each: &mut dyn EachEvent) -> Result<Outcome, SearchError> {
    let mut outcome = Outcome::new(view, None, view.last_seq);
    let mut candidates = Candidates::all(view, query, &mut outcome)?;
    candidates.sort_unstable_by_key(|candidate| (candidate.segment, candidate.block.offset));
    let matcher = Matcher::new(query);
    let (mut lines, mut terms) = (BlockLines::default(), EventTerms { fields: each.fields(), ..EventTerms::default() });
    for candidate in &candidates {
        let block = &candidate.block;
        let end = block.first_seq + u64::from(block.events) - 1;
        let is_whole = query.covers(block.time_min) && query.covers(block.time_max) && end <= view.last_seq;
        if query.clauses.is_empty() && is_whole && each.takes_whole(block) {
            outcome.hits += block.events as usize;
            continue;
        }
        read(view, candidate, &mut lines)?;
        outcome.blocks_read += 1;
        let mut matches = Matches::new(&matcher, &lines, block.first_seq..=view.last_seq);
        while let Some((position, ..)) = matches.next(decoder, &mut terms) {
            terms.settle();
            each.event(position.time, &terms);
            outcome.hits += 1;
        }
        outcome.lines_parsed += matches.lines_parsed;
    }
    Ok(outcome)
}

const EVERYTHING: Page = Page { limit: usize::MAX, newest_first: false, after: None, last_seq: None };

/// How much holds everything that may match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub blocks: usize,
    pub blocks_possible: usize,
    /// Of the possible ones.
    pub events: u64,
    pub raw_bytes: u64,
}

/// What [`each_event`] reads at most, from the indexes alone.
pub fn reach(view: &View, query: &Query) -> Result<Reach, SearchError> {
    let mut outcome = Outcome::new(view, None, view.last_seq);
    let candidates = Candidates::all(view, query, &mut outcome)?;
    let sum = |of: fn(&BlockMeta) -> u32| candidates.iter().map(|candidate| u64::from(of(&candidate.block))).sum();
    let (events, raw_bytes) = (sum(|block| block.events), sum(|block| block.raw_len));
    Ok(Reach { blocks: outcome.blocks, blocks_possible: candidates.len(), events, raw_bytes })
}

/// Hits found whose turn has not come: a block not yet read may hold an earlier one.
struct Answer<'a> {
    page: Page,
    view: &'a View,
    /// The blocks read, in that order.
    taken: Vec<Candidate>,
    each: &'a mut dyn FnMut(Hit<'_>) -> ControlFlow<()>,
    waiting: BTreeMap<(i64, u64), Waiting>,
    waiting_bytes: usize,
    waiting_bytes_max: usize,
    /// A block read again for a line that was not kept: (its first event, its lines).
    again: Option<(u64, BlockLines)>,
}

impl Answer<'_> {
    /// Takes in a hit of the block that was taken last.
    fn add(&mut self, position: Position, (line, run): (&[u8], &LineRun), outcome: &Outcome) {
        let key = self.page.key(position);
        if self.page.after.is_some_and(|after| key <= self.page.key(after)) {
            return;
        }
        // One more than the page holds tells whether there is more.
        let room = (self.page.limit - outcome.hits).saturating_add(1);
        if self.waiting.len() >= room {
            match self.waiting.last_entry() {
                Some(last) if *last.key() > key => {
                    let dropped = last.remove();
                    self.waiting_bytes -= dropped.line.map_or(0, |line| line.len());
                }
                _ => return,
            }
        }
        let keep = self.waiting_bytes + line.len() <= self.waiting_bytes_max;
        self.waiting_bytes += if keep { line.len() } else { 0 };
        let (source, format) = (run.source.clone(), run.format);
        let candidate = self.taken.len() - 1;
        self.waiting.insert(key, Waiting { position, candidate, line: keep.then(|| line.into()), source, format });
    }

    /// Answers the hits that come before `bound`, or all of them.
    fn release(&mut self, bound: Option<(i64, u64)>, outcome: &mut Outcome) -> Result<ControlFlow<()>, SearchError> {
        while let Some(first) = self.waiting.first_entry() {
            if bound.is_some_and(|bound| *first.key() >= bound) {
                break;
            }
            if outcome.hits == self.page.limit {
                outcome.more = true;
                return Ok(ControlFlow::Break(()));
            }
            let Waiting { position, candidate, line, source, format } = first.remove();
            self.waiting_bytes -= line.as_ref().map_or(0, |line| line.len());
            let line = match &line {
                Some(line) => line,
                None => line_again(self.view, &self.taken[candidate], position.seq, &mut self.again)?,
            };
            let flow = (self.each)(Hit { line, time: position.time, seq: position.seq, source: &source, format });
            outcome.hits += 1;
            outcome.last = Some(position);
            if flow.is_break() {
                outcome.more = true;
                return Ok(flow);
            }
        }
        // A page that is full need not learn from blocks whether more follows: their being there is answer enough.
        if bound.is_some() && outcome.hits == self.page.limit {
            outcome.more = true;
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Page {
    /// Whether an event of this span of times can stand behind [`Page::after`].
    fn reaches(&self, min: Micros, max: Micros) -> bool {
        self.after.is_none_or(|after| if self.newest_first { min <= after.time } else { max >= after.time })
    }

    /// Ascending in the order of the answer: `!` turns the order of integers round without overflow.
    fn key(&self, position: Position) -> (i64, u64) {
        if self.newest_first { (!position.time, !position.seq) } else { (position.time, position.seq) }
    }
}

fn read(view: &View, candidate: &Candidate, lines: &mut BlockLines) -> Result<(), SearchError> {
    let block = &candidate.block;
    view.segments[candidate.segment].read_block(block, lines).map_err(|source| SearchError::Block { first_seq: block.first_seq, source })
}

/// The line of event `seq`, whose bytes were not kept.
fn line_again<'l>(view: &View, candidate: &Candidate, seq: u64, again: &'l mut Option<(u64, BlockLines)>) -> Result<&'l [u8], SearchError> {
    let first_seq = candidate.block.first_seq;
    if again.as_ref().is_none_or(|held| held.0 != first_seq) {
        let mut lines = again.take().map(|held| held.1).unwrap_or_default();
        read(view, candidate, &mut lines)?;
        *again = Some((first_seq, lines));
    }
    Ok(again.as_ref().and_then(|held| lines_of(&held.1.bytes).nth((seq - first_seq) as usize)).unwrap_or_default())
}

fn lines_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', bytes).map(move |end| {
        let line = &bytes[start..end];
        start = end + 1;
        line
    })
}

/// The lines of one block that match.
struct Matches<'a> {
    matcher: &'a Matcher<'a>,
    bytes: &'a [u8],
    runs: std::slice::Iter<'a, LineRun>,
    run: Option<&'a LineRun>,
    left_of_run: u32,
    /// Which of the matcher's needles count in this run; `None` without a format.
    needles: Option<u32>,
    numbers: RangeInclusive<u64>,
    lines_parsed: usize,
}

impl<'a> Matches<'a> {
    fn new(matcher: &'a Matcher<'a>, lines: &'a BlockLines, numbers: RangeInclusive<u64>) -> Matches<'a> {
        let runs = lines.runs.iter();
        Matches { matcher, bytes: &lines.bytes, runs, run: None, left_of_run: 0, needles: None, numbers, lines_parsed: 0 }
    }

    /// The next one, and the run it is of; `terms` are its terms then.
    fn next(&mut self, decoder: &mut dyn LineTerms, terms: &mut EventTerms) -> Option<(Position, &'a [u8], &'a LineRun)> {
        loop {
            while self.left_of_run == 0 {
                let run = self.runs.next()?;
                self.needles = run.format.map(|format| self.matcher.needles_for(format, decoder));
                (self.run, self.left_of_run) = (Some(run), run.events);
            }
            let run = self.run?;
            let (line, behind) = self.bytes.split_at(memchr::memchr(b'\n', self.bytes)?);
            let seq = self.numbers.next()?;
            self.bytes = &behind[1..];
            self.left_of_run -= 1;
            if self.needles.is_some_and(|needles| !self.matcher.may_match(line, needles)) {
                continue;
            }
            self.lines_parsed += 1;
            terms.clear();
            if let Some(time) = self.matcher.matches(line, run, decoder, terms) {
                return Some((Position { time, seq }, line, run));
            }
        }
    }
}

/// Segments whose indexes are asked one after the other before all that are left are told what they will be asked.
const ASKED_UNANNOUNCED: usize = 2;

/// The blocks that may hold hits, in the order in which they must be read. A segment's index is asked when its turn may have come: a page
/// of the newest events needs the last one or two.
struct Candidates<'a> {
    view: &'a View,
    query: &'a Query,
    page: Page,
    last_seq: u64,
    /// Those not asked yet, by the earliest place that one of their events can have; the next one last.
    segments: Vec<((i64, u64), usize)>,
    blocks: BinaryHeap<Reverse<Candidate>>,
}

impl<'a> Candidates<'a> {
    fn new(view: &'a View, query: &'a Query, page: Page, outcome: &mut Outcome) -> Result<Candidates<'a>, SearchError> {
        let mut segments = Vec::with_capacity(view.segments.len());
        for (segment, part) in view.segments.iter().enumerate() {
            part.with_index(&mut |index| {
                outcome.blocks += index.blocks_len();
                if let Some((min, max)) = index.time_span().filter(|&(min, max)| query.overlaps(min, max) && page.reaches(min, max)) {
                    let first = if page.newest_first { Position { time: max, seq: u64::MAX } } else { Position { time: min, seq: 0 } };
                    segments.push((page.key(first), segment));
                }
                Ok(())
            })?;
        }
        segments.sort_unstable_by_key(|&(bound, segment)| Reverse((bound, segment)));
        Ok(Candidates { view, query, page, last_seq: outcome.last_seq, segments, blocks: BinaryHeap::new() })
    }

    /// All of them, in no order.
    fn all(view: &View, query: &Query, outcome: &mut Outcome) -> Result<Vec<Candidate>, SearchError> {
        let mut candidates = Candidates::new(view, query, EVERYTHING, outcome)?;
        while let Some((_, segment)) = candidates.segments.pop() {
            candidates.ask(segment, outcome)?;
        }
        Ok(candidates.blocks.into_iter().map(|Reverse(candidate)| candidate).collect())
    }

    fn next(&mut self, outcome: &mut Outcome) -> Result<Option<Candidate>, SearchError> {
        while let Some(&(bound, segment)) = self.segments.last() {
            if self.blocks.peek().is_some_and(|Reverse(first)| first.bound < bound) {
                break;
            }
            self.segments.pop();
            self.ask(segment, outcome)?;
        }
        Ok(self.blocks.pop().map(|Reverse(candidate)| candidate))
    }

    fn ask(&mut self, segment: usize, outcome: &mut Outcome) -> Result<(), SearchError> {
        if outcome.segments_asked == ASKED_UNANNOUNCED {
            let left = self.segments.iter().map(|&(_, segment)| segment).chain([segment]);
            announce(left.map(|segment| &*self.view.segments[segment]), self.query)?;
        }
        outcome.segments_asked += 1;
        let (query, page, last_seq, before) = (self.query, self.page, self.last_seq, self.blocks.len());
        self.view.segments[segment].with_index(&mut |index| {
            let set = candidate_blocks(index, query, &query.condition)?;
            if set.as_ref().is_some_and(BlockSet::is_empty) {
                return Ok(());
            }
            for (number, block) in (0u32..).zip(index.blocks()?) {
                let wanted = set.as_ref().is_none_or(|set| set.contains(number));
                let stored = block.events > 0 && block.first_seq <= last_seq;
                if wanted && page.reaches(block.time_min, block.time_max) && stored && query.overlaps(block.time_min, block.time_max) {
                    let time = if page.newest_first { block.time_max } else { block.time_min };
                    let end = block.first_seq.saturating_add(u64::from(block.events) - 1);
                    let seq = if page.newest_first { end } else { block.first_seq };
                    self.blocks.push(Reverse(Candidate { bound: page.key(Position { time, seq }), segment, block }));
                }
            }
            Ok(())
        })?;
        let found = self.blocks.len() - before;
        outcome.blocks_possible += found;
        outcome.segments_possible += usize::from(found > 0);
        Ok(())
    }
}

/// Says which values will be looked up in which segments: otherwise a disk that has none of it in memory would be asked for one page
/// after the other.
pub(super) fn announce<'s>(segments: impl Iterator<Item = &'s dyn Segment> + Clone, query: &Query) -> Result<(), SidecarError> {
    let values = query.clauses.iter().filter_map(|clause| match (clause.field, &clause.pattern) {
        (Some(field), Pattern::Exact(value)) => Some((field, value)),
        _ => None,
    });
    if values.clone().next().is_none() {
        return Ok(());
    }
    for step in LookUp::ALL {
        for part in segments.clone() {
            part.with_index(&mut |index| {
                if index.time_span().is_some_and(|(min, max)| query.overlaps(min, max)) {
                    values.clone().for_each(|(field, value)| index.will_look_up(field, value, step));
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// The blocks in which the condition may hold; `None` for all of them.
pub fn candidate_blocks(index: &dyn IndexPart, query: &Query, condition: &Condition) -> Result<Option<BlockSet>, SidecarError> {
    match condition {
        Condition::Clause(number) => clause_blocks(index, &query.clauses[*number]).map(Some),
        // A block in which something is so holds other events, too.
        Condition::Not(_) => Ok(None),
        Condition::All(all) => {
            // Single terms cost a page, shapes of values a dictionary: if the former leave nothing, the latter are not read.
            let is_exact = |condition: &&Condition| matches!(condition, Condition::Clause(number) if matches!(query.clauses[*number].pattern, Pattern::Exact(_)));
            let (exact, others): (Vec<_>, Vec<_>) = all.iter().partition(is_exact);
            let mut set: Option<BlockSet> = None;
            for condition in exact.into_iter().chain(others) {
                let Some(blocks) = candidate_blocks(index, query, condition)? else { continue };
                match &mut set {
                    Some(set) => set.intersect(&blocks),
                    None => set = Some(blocks),
                }
                if set.as_ref().is_some_and(BlockSet::is_empty) {
                    break;
                }
            }
            Ok(set)
        }
        Condition::Any(any) => {
            let mut set = BlockSet::new();
            for condition in any {
                let Some(blocks) = candidate_blocks(index, query, condition)? else { return Ok(None) };
                set.union(&blocks);
            }
            Ok(Some(set))
        }
    }
}

fn clause_blocks(index: &dyn IndexPart, clause: &Clause) -> Result<BlockSet, SidecarError> {
    if let Some(field) = clause.field {
        return field_blocks(index, field, &clause.pattern);
    }
    let mut blocks = BlockSet::new();
    for &field in Field::ALL.iter().filter(|field| !field.is_derived()) {
        blocks.union(&field_blocks(index, field, &clause.pattern)?);
    }
    Ok(blocks)
}

fn field_blocks(index: &dyn IndexPart, field: Field, pattern: &Pattern) -> Result<BlockSet, SidecarError> {
    let mut blocks = BlockSet::new();
    match (pattern, field) {
        (Pattern::Exact(value), Field::Session) => {
            index.session(session_key(value))?.iter().for_each(|entry| blocks.union(&entry.blocks));
        }
        (Pattern::Exact(value), field) => {
            if let Some(entry) = index.term(field, value)? {
                blocks = entry.blocks;
            }
        }
        // A session whose key does not hold its name may be called anything.
        (pattern, Field::Session) => index.each_session(&mut |entry| {
            if entry.name().is_none_or(|name| pattern.matches(name.as_bytes())) {
                blocks.union(&entry.blocks);
            }
        })?,
        (pattern, field) => {
            let end = after_prefix(pattern.prefix());
            let range = ValueRange { from: pattern.prefix(), to: end.as_deref() };
            if range == ValueRange::ALL {
                index.will_need(field);
            }
            index.each_entry(field, range, &mut |value| pattern.matches(value), &mut |_, entry| blocks.union(&entry.blocks))?;
        }
    }
    Ok(blocks)
}

/// The first value behind all that begin with `prefix`; `None` if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Decides whether a line matches, if possible without parsing it.
struct Matcher<'q> {
    query: &'q Query,
    needles: Vec<Needle<'q>>,
    /// `\u` and `\/`, by which JSON may write any character, and a slash.
    escape: memmem::Finder<'static>,
    slash: memmem::Finder<'static>,
}

/// What must stand in the raw line, if values of the field stand there as they are.
struct Needle<'q> {
    field: Field,
    finder: memmem::Finder<'q>,
    /// JSON may write it with `\/`.
    slash: bool,
}

impl<'q> Matcher<'q> {
    fn new(query: &'q Query) -> Matcher<'q> {
        let plain = |&byte: &u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        let required = query.condition.required();
        let required = (0..).zip(&query.clauses).filter(|(number, _)| required >> number & 1 == 1);
        let literals = required.filter_map(|(_, clause)| Some((clause.field?, clause.pattern.longest_literal())));
        let literals = literals.filter(|(_, literal)| NEEDLE_BYTES.contains(&literal.len()) && literal.iter().all(plain));
        let needle =
            |(field, literal): (Field, &'q [u8])| Needle { field, finder: memmem::Finder::new(literal), slash: literal.contains(&b'/') };
        let (escape, slash) = (memmem::Finder::new(b"\\u"), memmem::Finder::new(b"\\/"));
        Matcher { query, needles: literals.map(needle).collect(), escape, slash }
    }

    /// Which needles count for lines of the format: one bit each.
    fn needles_for(&self, format: Format, decoder: &dyn LineTerms) -> u32 {
        (0..).zip(&self.needles).filter(|(_, needle)| decoder.verbatim(format, needle.field)).fold(0, |bits, (at, _)| bits | 1 << at)
    }

    /// `false` is certain.
    fn may_match(&self, line: &[u8], needles: u32) -> bool {
        // The value of a long line may be a hash that does not stand in it.
        line.len() > TERM_VALUE_BYTES_MAX
            || (0..).zip(&self.needles).filter(|(at, _)| needles >> at & 1 == 1).all(|(_, Needle { finder, slash, .. })| {
                // Whoever writes JSON may write any character as an escape.
                finder.find(line).is_some() || self.escape.find(line).is_some() || *slash && self.slash.find(line).is_some()
            })
    }

    /// The event's time if it has every term and lies in the time range.
    fn matches(&self, line: &[u8], run: &LineRun, decoder: &mut dyn LineTerms, terms: &mut EventTerms) -> Option<Micros> {
        let Some(format) = run.format else {
            return (self.query.condition.holds(0) && self.query.covers(run.received_at)).then_some(run.received_at);
        };
        let mut found = 0u32;
        let mut see = |field: Field, value: &[u8]| {
            found |= self.query.matches(field, value);
            terms.see(field, value);
        };
        let time = decoder.terms(format, line, run.received_at, &mut see)?;
        (self.query.condition.holds(found) && self.query.covers(time)).then_some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Blocks, SampleDecoder, consecutive, decode, view};
    use super::*;
    use proptest::prelude::*;

    fn query() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            (0..3u8, 0..12u8).prop_map(|(a, b)| format!("src_ip:10.0.{a}.{b}")),
            (0..45u32).prop_map(|n| if n < 35 { format!("session:{n:012x}") } else { format!("session:odd-{n}") }),
            "password:\"[ab/\u{e9}*]{1,4}\"",
            "command:\"[a-c *]{1,4}\"",
            Just("session:00000000000*".to_owned()),
            Just("session:odd*".to_owned()),
            Just("eventid:cowrie.*".to_owned()),
            Just("eventid:*input".to_owned()),
            Just("src_ip:10.*.2.*".to_owned()),
            Just("sensor:node1".to_owned()),
            Just("dst_port:22".to_owned()),
            (0..72u32).prop_map(|hours| format!("since:{hours}h")),
            (0..72u32).prop_map(|hours| format!("until:{hours}h")),
            Just("since:2026-03-21 until:2026-03-21".to_owned()),
            Just("src_ip:10.0.1.0/24".to_owned()),
            Just("src_ip:10.0.0.0/14".to_owned()),
            Just("dst_port:>=22".to_owned()),
            Just("exists:password".to_owned()),
            "command:/[a-c][ab]+/",
            "[a-d]{1,2}",
        ];
        // A time holds for the whole query and stands in no group.
        let is_time = |word: &String| word.starts_with("since:") || word.starts_with("until:");
        let joined = (value.clone(), value, 0..6u8).prop_map(move |(a, b, how)| match how {
            _ if is_time(&a) || is_time(&b) => format!("{a} {b}"),
            0 => format!("({a} OR {b})"),
            1 => format!("NOT {a} {b}"),
            2 => format!("NOT ({a} OR {b})"),
            3 => format!("(NOT {a} OR {b})"),
            _ => format!("{a} AND {b}"),
        });
        proptest::collection::vec(joined, 0..3).prop_map(|words| words.join(" "))
    }

    /// (time, seq, line) of every hit, in order, without any index.
    fn naive(segments: &[Blocks], query: &Query, newest_first: bool) -> Vec<(Micros, u64, Vec<u8>)> {
        let mut hits = Vec::new();
        for (_, seq, line, event) in segments.iter().flat_map(Blocks::events) {
            let session = event.session.iter().map(|session| (Field::Session, session));
            let terms = session.chain(event.terms.iter().map(|term| (term.0, &term.1)));
            let found = terms.fold(0, |found, (field, value)| found | query.matches(field, value));
            if query.covers(event.time) && query.condition.holds(found) {
                hits.push((event.time, seq, line.to_vec()));
            }
        }
        hits.sort();
        if newest_first {
            hits.reverse();
        }
        hits
    }

    fn run(view: &View, query: &Query, page: Page, waiting: usize) -> (Vec<(Micros, u64, Vec<u8>)>, Outcome) {
        let mut hits = Vec::new();
        let mut each = |hit: Hit<'_>| {
            hits.push((hit.time, hit.seq, hit.line.to_vec()));
            ControlFlow::Continue(())
        };
        let outcome = search_within(view, query, page, &mut SampleDecoder, &mut each, waiting).unwrap();
        assert_eq!(outcome.hits, hits.len());
        (hits, outcome)
    }

    const ALL: Page = Page { limit: usize::MAX, newest_first: false, after: None, last_seq: None };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn finds_what_a_scan_of_all_events_finds(segments in consecutive(0..120), text in query(), newest_first: bool, limit in 0..30usize, waiting in 0..2_000usize) {
            let view = view(&segments);
            // Times that leave nothing between them are refused.
            let Ok(query) = Query::parse(&text, super::super::sample::RECEIVED_AT) else { return Ok(()) };
            let expected = naive(&segments, &query, newest_first);
            let (hits, outcome) = run(&view, &query, Page { newest_first, ..ALL }, waiting);
            prop_assert_eq!(&hits, &expected, "{}", text);
            prop_assert!(!outcome.more);
            let (hits, outcome) = run(&view, &query, Page { newest_first, limit, ..ALL }, waiting);
            prop_assert_eq!(&hits[..], &expected[..limit.min(expected.len())]);
            prop_assert!(outcome.more || expected.len() <= limit);
        }

        #[test]
        fn pages_join_without_gap_or_repeat_while_events_arrive(segments in consecutive(0..120), text in query(), newest_first: bool, limit in 1..30usize) {
            let Ok(query) = Query::parse(&text, super::super::sample::RECEIVED_AT) else { return Ok(()) };
            let before = &segments[..segments.len().div_ceil(2)];
            let expected = naive(before, &query, newest_first);
            let (mut found, mut page) = (Vec::new(), Page { newest_first, limit, ..ALL });
            let mut pages = 0;
            loop {
                // The first page is asked for before the later segments exist.
                let view = view(if pages == 0 { before } else { &segments });
                let (hits, outcome) = run(&view, &query, page, 1_000);
                found.extend(hits);
                page = Page { after: outcome.last, last_seq: Some(outcome.last_seq), ..page };
                pages += 1;
                if !outcome.more {
                    break;
                }
            }
            prop_assert_eq!(found, expected);
        }
    }

    fn lines(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
        let line = |n: u32| {
            format!(r#"{{"session":"{:012x}","src_ip":"10.0.0.{}","timestamp":"2026-03-2{}T00:{:02}:00Z"}}"#, n, n % 7, n / 60 % 10, n % 60)
        };
        range.map(|n| line(n).into_bytes()).collect()
    }

    #[test]
    fn stops_reading_when_the_page_is_full() {
        let all = lines(0..600);
        let segments = [Blocks::new(all.chunks(20).map(<[_]>::to_vec).collect(), 1)];
        let view = view(&segments);
        let query = Query::parse("src_ip:10.0.0.3", 0).unwrap();
        for newest_first in [false, true] {
            let (hits, outcome) = run(&view, &query, Page { limit: 5, newest_first, ..ALL }, 1 << 20);
            assert_eq!((hits.len(), outcome.more), (5, true));
            assert!(outcome.blocks_read <= 3, "{}", outcome.blocks_read);
        }
        let session = Query::parse("session:000000000101", 0).unwrap();
        let (hits, outcome) = run(&view, &session, ALL, 1 << 20);
        assert_eq!((hits.len(), outcome.blocks_read, outcome.lines_parsed), (1, 1, 1));
        let day = Query::parse("since:2026-03-23 until:2026-03-23", 0).unwrap();
        let (hits, outcome) = run(&view, &day, ALL, 1 << 20);
        assert_eq!((hits.len(), outcome.blocks_read), (60, 3));
    }

    #[test]
    fn ends_when_the_receiver_has_enough() {
        let view = view(&[Blocks::new(vec![lines(0..50)], 1)]);
        let query = Query::parse("", 0).unwrap();
        let mut seen = 0;
        let mut each = |_: Hit<'_>| {
            seen += 1;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = search(&view, &query, ALL, &mut SampleDecoder, &mut each).unwrap();
        assert_eq!((outcome.hits, outcome.more), (3, true));
    }

    #[test]
    fn values_written_with_escapes_are_found() {
        let lines: Vec<Vec<u8>> =
            [r#"{"password":"\u0061bc\u002fd"}"#, r#"{"password":"abc\/d"}"#, r#"{"password":"abc/d"}"#, r#"{"password":"abcd"}"#]
                .map(|line| line.as_bytes().to_vec())
                .into();
        assert!(decode(&lines[0]).is_some_and(|event| event.terms.contains(&(Field::Password, b"abc/d".to_vec()))));
        let view = view(&[Blocks::new(vec![lines], 1)]);
        for text in ["password:abc/d", "password:*bc/*"] {
            let (hits, _) = run(&view, &Query::parse(text, 0).unwrap(), ALL, 1 << 20);
            assert_eq!(hits.iter().map(|hit| hit.1).collect::<Vec<_>>(), [1, 2, 3], "{text}");
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_value_without_it() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }
}
