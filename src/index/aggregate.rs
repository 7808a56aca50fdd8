//! Counts of events, of values and of pairs of values, of all events or of those that match a query.
//!
//! What the indexes know is never read from events: hours tell how many events there are, cells how many of a sensor and day, and
//! of a term there. A query that asks for more is answered from the events of the blocks that may match. Where only the ends
//! of its time do not fall on whole hours or days (`since:7d`), only the events there are read, and the indexes tell the rest.
//!
//! Memory is bounded: see [`Frequent`] and [`Distinct`]. Answers say when they are not exact.
use super::BlockMeta;
use super::distinct::Distinct;
use super::frequent::Frequent;
use super::part::TermSummary;
use super::pattern::Pattern;
use super::query::Query;
use super::search::{self, EachEvent, EventTerms, LineTerms, Reach, SearchError, View};
use super::sidecar::SidecarError;
use super::top::{self, Best, Scope, TopRow};
use crate::events::time::{MICROS_PER_DAY, MICROS_PER_HOUR, day_of, monday_of};
use crate::events::{Field, Micros};
use std::collections::BTreeMap;

/// Values, or pairs of them, that are counted at once when events are read, and their bytes.
const ROWS_MAX: usize = 250_000;
const ROW_BYTES_MAX: usize = 8 << 20;

/// The stretches of time by which events are counted, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    Hour,
    Day,
    /// From Monday on, as ISO 8601 has it.
    Week,
}

impl Interval {
    pub const ALL: [Interval; 3] = [Interval::Hour, Interval::Day, Interval::Week];

    pub fn name(self) -> &'static str {
        match self {
            Interval::Hour => "hour",
            Interval::Day => "day",
            Interval::Week => "week",
        }
    }

    pub fn parse(name: &str) -> Option<Interval> {
        Interval::ALL.into_iter().find(|interval| interval.name() == name)
    }

    pub fn length(self) -> Micros {
        match self {
            Interval::Hour => MICROS_PER_HOUR,
            Interval::Day => MICROS_PER_DAY,
            Interval::Week => 7 * MICROS_PER_DAY,
        }
    }

    /// Where the one begins in which the time lies.
    pub fn start(self, time: Micros) -> Micros {
        match self {
            Interval::Hour | Interval::Day => floor(time, self.length()),
            Interval::Week => Micros::from(monday_of(day_of(time))).saturating_mul(MICROS_PER_DAY),
        }
    }
}

fn floor(time: Micros, unit: Micros) -> Micros {
    time.div_euclid(unit).saturating_mul(unit)
}

/// The segments that are asked: all that have an index, and those whose lines can be read.
#[derive(Clone, Default)]
pub struct Views {
    pub answers: View,
    pub evidence: View,
}

/// What is to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Events { by: Option<Interval> },
    Values { field: Field, by: Option<Field> },
}

/// Where the answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    /// What the indexes tell; its times are whole days, or hours.
    indexed: Option<Query>,
    /// A clause of it that is a term to be looked up.
    given: Option<usize>,
    /// The matches of these are read. Their times and the one's above do not overlap.
    read: Vec<Query>,
}

impl Plan {
    fn of(question: Question, query: &Query) -> Plan {
        let read = || Plan { indexed: None, given: None, read: vec![query.clone()] };
        let timeless = Query { since: None, until: None, ..query.clone() };
        let is_everything = query.clauses.is_empty() && timeless == *query;
        match question {
            Question::Values { field: Field::Session, by: None } if is_everything => Plan::split(query, MICROS_PER_DAY, None),
            Question::Values { field: Field::Session, .. } => read(),
            Question::Values { by: None | Some(Field::Sensor), .. } if Scope::of(&timeless, None).is_some() => {
                Plan::split(query, MICROS_PER_DAY, None)
            }
            Question::Values { .. } => read(),
            Question::Events { .. } if query.clauses.is_empty() => Plan::split(query, MICROS_PER_HOUR, None),
            Question::Events { by: Some(Interval::Hour) } => read(),
            Question::Events { .. } => {
                let given = looked_up(query);
                if Scope::of(&timeless, given).is_some() { Plan::split(query, MICROS_PER_DAY, given) } else { read() }
            }
        }
    }

    /// Whole units to the indexes, what is before and behind them to be read.
    fn split(query: &Query, unit: Micros, given: Option<usize>) -> Plan {
        let since = query.since.map(|since| if since % unit == 0 { since } else { floor(since, unit).saturating_add(unit) });
        let until = query.until.map(|until| floor(until, unit));
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Plan { indexed: None, given: None, read: vec![query.clone()] };
        }
        let before = (since != query.since).then(|| Query { until: since, ..query.clone() });
        let behind = (until != query.until).then(|| Query { since: until, ..query.clone() });
        Plan { indexed: Some(Query { since, until, ..query.clone() }), given, read: before.into_iter().chain(behind).collect() }
    }
}

/// The first clause that is not of a sensor, if it is a single term that every match must have.
fn looked_up(query: &Query) -> Option<usize> {
    let (number, clause) = query.clauses.iter().enumerate().find(|(_, clause)| clause.field != Some(Field::Sensor))?;
    let is_term = matches!(clause.pattern, Pattern::Exact(_)) && clause.field.is_some_and(|field| field != Field::Session);
    (is_term && query.condition.required() >> number & 1 == 1).then_some(number)
}

/// What is read at most to answer, from the indexes alone.
pub fn reach(views: &Views, question: Question, query: &Query) -> Result<Reach, SearchError> {
    let mut sum = Reach::default();
    for part in &Plan::of(question, query).read {
        let reach = search::reach(&views.evidence, part)?;
        sum.blocks = reach.blocks;
        sum.blocks_possible += reach.blocks_possible;
        sum.events += reach.events;
        sum.raw_bytes += reach.raw_bytes;
    }
    Ok(sum)
}

/// How many events there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    /// (its beginning, events in it) of every stretch from the first to the last that has any; none if nobody asked by what.
    pub stretches: Vec<(Micros, u64)>,
}

/// Counts the events that match.
pub fn count(views: &Views, query: &Query, by: Option<Interval>, decoder: &mut dyn LineTerms) -> Result<Counts, SearchError> {
    let plan = Plan::of(Question::Events { by }, query);
    let mut counting = Counting { by, events: 0, stretches: BTreeMap::new() };
    if let Some(indexed) = &plan.indexed {
        if indexed.clauses.is_empty() {
            count_hours(&views.answers, indexed, &mut counting)
        } else {
            count_cells(&views.answers, indexed, plan.given, &mut counting)
        }?;
    }
    for part in &plan.read {
        search::each_event(&views.evidence, part, decoder, &mut counting)?;
    }
    let mut stretches = Vec::new();
    if let (Some(by), Some((&first, _)), Some((&last, _))) = (by, counting.stretches.first_key_value(), counting.stretches.last_key_value())
    {
        // No event is indexed under a time before 2000 or far in the future: there are never many.
        let starts = (first..=last).step_by(by.length() as usize);
        stretches.extend(starts.map(|start| (start, counting.stretches.get(&start).copied().unwrap_or(0))));
    }
    Ok(Counts { events: counting.events, stretches })
}

struct Counting {
    by: Option<Interval>,
    events: u64,
    stretches: BTreeMap<Micros, u64>,
}

impl Counting {
    fn add(&mut self, time: Micros, events: u64) {
        if events > 0 {
            self.events += events;
            if let Some(by) = self.by {
                *self.stretches.entry(by.start(time)).or_default() += events;
            }
        }
    }
}

impl EachEvent for Counting {
    fn fields(&self) -> Vec<Field> {
        Vec::new()
    }

    fn event(&mut self, time: Micros, _: &EventTerms) {
        self.add(time, 1);
    }

    fn takes_whole(&mut self, block: &BlockMeta) -> bool {
        let is_one = self.by.is_none_or(|by| by.start(block.time_min) == by.start(block.time_max));
        if is_one {
            self.add(block.time_min, u64::from(block.events));
        }
        is_one
    }
}

fn count_hours(view: &View, query: &Query, counting: &mut Counting) -> Result<(), SidecarError> {
    for segment in &view.segments {
        segment.with_index(&mut |index| {
            if index.time_span().is_some_and(|(min, max)| query.overlaps(min, max)) {
                for (hour, events) in index.hours()? {
                    let start = Micros::from(hour).saturating_mul(MICROS_PER_HOUR);
                    if query.covers(start) {
                        counting.add(start, events);
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn count_cells(view: &View, query: &Query, given: Option<usize>, counting: &mut Counting) -> Result<(), SidecarError> {
    let Some(scope) = Scope::of(query, given) else { return Ok(()) };
    let start = |day: i32| Micros::from(day).saturating_mul(MICROS_PER_DAY);
    if given.is_some() {
        search::announce(view.segments.iter().map(|segment| &**segment), query)?;
    }
    for segment in &view.segments {
        segment.with_index(&mut |index| {
            if index.time_span().is_none_or(|(min, max)| !query.overlaps(min, max)) {
                return Ok(());
            }
            let Some(clause) = given.map(|given| &query.clauses[given]) else {
                let table = index.cells()?;
                for (cell, day) in table.cells.iter().zip(scope.wanted(&table)) {
                    day.into_iter().for_each(|day| counting.add(start(day), cell.events));
                }
                return Ok(());
            };
            let (Some(field), Pattern::Exact(value)) = (clause.field, &clause.pattern) else { return Ok(()) };
            let Some(entry) = index.term(field, value)? else { return Ok(()) };
            let wanted = scope.wanted(&index.cells()?);
            for &(cell, events) in &entry.cells {
                if let Some(Some(day)) = wanted.get(cell as usize) {
                    counting.add(start(*day), u64::from(events));
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A top list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// By falling count, then by value.
    pub rows: Vec<TopRow>,
    /// The counts may be too low by so much at most, and values that are no more frequent may be missing. 0: exact.
    pub error_max: u64,
}

/// The `limit` most frequent values of a field among the events that match; with `by` the most frequent pairs.
pub fn top(
    views: &Views,
    field: Field,
    by: Option<Field>,
    query: &Query,
    limit: usize,
    decoder: &mut dyn LineTerms,
) -> Result<Top, SearchError> {
    top_within(views, field, by, query, limit, decoder, Frequent::new(ROWS_MAX, ROW_BYTES_MAX))
}

fn top_within(
    views: &Views,
    field: Field,
    by: Option<Field>,
    query: &Query,
    limit: usize,
    decoder: &mut dyn LineTerms,
    sums: Frequent,
) -> Result<Top, SearchError> {
    if by.is_none() && Scope::of(query, None).is_some_and(|scope| scope.is_everything()) {
        return Ok(Top { rows: top::top(&views.answers, field, limit)?, error_max: 0 });
    }
    let plan = Plan::of(Question::Values { field, by }, query);
    let mut values = Values { field, by, sums };
    for part in &plan.read {
        search::each_event(&views.evidence, part, decoder, &mut values)?;
    }
    let (sums, mut best) = (values.sums, Best::new(limit));
    let mut add = |by: &[u8], value: &[u8], sum: TermSummary| best.add(sum.count, by, value, sum);
    let scope = plan.indexed.as_ref().and_then(|indexed| Scope::of(indexed, None));
    let more = (sums.rows().len() > 0).then_some(&sums);
    match (&scope, by) {
        (Some(scope), Some(_)) => top::each_value_by_sensor(&views.answers, field, scope, more, &mut add)?,
        (Some(scope), None) => top::each_value(&views.answers, field, Some(scope), more, &mut |value, sum| add(b"", value, sum))?,
        (None, _) => sums.rows().for_each(|(by, value, sum)| add(by, value, sum)),
    }
    let error_max = sums.error_max();
    // Before the rows are made of the best: each takes memory.
    drop(sums);
    Ok(Top { rows: best.into_rows(by.is_some()), error_max })
}

struct Values {
    field: Field,
    by: Option<Field>,
    sums: Frequent,
}

impl EachEvent for Values {
    fn fields(&self) -> Vec<Field> {
        [self.field].into_iter().chain(self.by).collect()
    }

    fn event(&mut self, time: Micros, terms: &EventTerms) {
        let one = TermSummary { count: 1, first: time, last: time };
        for value in terms.of(self.field) {
            match self.by {
                None => self.sums.add(b"", value, one),
                Some(by) => terms.of(by).for_each(|by| self.sums.add(by, value, one)),
            }
        }
    }
}

/// How many different values there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DistinctCount {
    pub values: u64,
    /// Else an estimate: see [`super::distinct::STANDARD_ERROR`].
    pub exact: bool,
}

/// How many different values of the field the events have that match. What the indexes alone can tell is exact, however many.
pub fn distinct(views: &Views, field: Field, query: &Query, decoder: &mut dyn LineTerms) -> Result<DistinctCount, SearchError> {
    let plan = Plan::of(Question::Values { field, by: None }, query);
    let mut values = 0;
    match &plan.indexed {
        Some(_) if field == Field::Session => {
            top::each_session(&views.answers, ROWS_MAX as u64, &mut |_, _| values += 1)?;
            return Ok(DistinctCount { values, exact: true });
        }
        Some(indexed) if plan.read.is_empty() => {
            let scope = Scope::of(indexed, None);
            top::each_value(&views.answers, field, scope.as_ref(), None, &mut |_, _| values += 1)?;
            return Ok(DistinctCount { values, exact: true });
        }
        _ => {}
    }
    let mut different = Different { field, values: Distinct::default() };
    if let Some(indexed) = &plan.indexed {
        let scope = Scope::of(indexed, None);
        top::each_value(&views.answers, field, scope.as_ref(), None, &mut |value, _| different.values.add(value))?;
    }
    for part in &plan.read {
        search::each_event(&views.evidence, part, decoder, &mut different)?;
    }
    let (values, exact) = different.values.count();
    Ok(DistinctCount { values, exact })
}

struct Different {
    field: Field,
    values: Distinct,
}

impl EachEvent for Different {
    fn fields(&self) -> Vec<Field> {
        vec![self.field]
    }

    fn event(&mut self, _: Micros, terms: &EventTerms) {
        terms.of(self.field).for_each(|value| self.values.add(value));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Blocks, Decoded, RECEIVED_AT, SampleDecoder, consecutive, view};
    use super::*;
    use crate::events::time;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn views(segments: &[Blocks]) -> Views {
        let view = view(segments);
        Views { answers: view.clone(), evidence: view }
    }

    /// Queries of every kind: none, times whole and not, sensors, single terms, and what must be read.
    fn query() -> impl Strategy<Value = String> {
        let times = prop_oneof![
            3 => Just(String::new()),
            1 => (0..90u32).prop_map(|hours| format!("since:{hours}h")),
            1 => (0..90u32).prop_map(|hours| format!("until:{hours}h")),
            1 => (1..90u32, 0..60u32).prop_map(|(more, hours)| format!("since:{}h until:{hours}h", hours + more)),
            1 => (1..120u32, 0..6000u32).prop_map(|(more, minutes)| format!("since:{}m until:{minutes}m", minutes + more)),
            1 => (0..4i32, 0..3i32).prop_map(|(back, more)| {
                let first = day_of(RECEIVED_AT) - back;
                format!("since:{} until:{}", time::format_day(first), time::format_day(first + more))
            }),
        ];
        let terms = prop_oneof![
            4 => Just(""),
            2 => Just("sensor:node1"),
            1 => Just("NOT sensor:node2"),
            1 => Just("sensor:node*"),
            1 => Just("sensor:*"),
            1 => Just("NOT exists:sensor"),
            1 => Just("(sensor:node1 OR sensor:node2)"),
            1 => Just("password:a"),
            1 => Just("NOT password:a"),
            1 => Just("src_ip:10.0.1.1"),
            1 => Just("eventid:cowrie.login.failed sensor:node2"),
            1 => Just("eventid:cowrie.login.failed (sensor:node2 OR src_ip:10.0.1.1)"),
            1 => Just("dst_port:22"),
            1 => Just("src_ip:10.0.1.0/24"),
            1 => Just("session:000000000003"),
            1 => Just("command:/a+/ password:*"),
        ];
        (terms, times).prop_map(|(terms, times)| format!("{terms} {times}"))
    }

    /// The events that match.
    fn matching<'a>(segments: &'a [Blocks], query: &'a Query) -> impl Iterator<Item = Decoded> + 'a {
        segments.iter().flat_map(Blocks::events).map(|(_, _, _, event)| event).filter(|event| {
            let session = event.session.iter().map(|session| (Field::Session, session));
            let terms = session.chain(event.terms.iter().map(|term| (term.0, &term.1)));
            query.covers(event.time) && query.condition.holds(terms.fold(0, |found, (field, value)| found | query.matches(field, value)))
        })
    }

    fn values(event: &Decoded, field: Field) -> Vec<Vec<u8>> {
        match field {
            Field::Session => event.session.iter().cloned().collect(),
            field => event.terms.iter().filter(|term| term.0 == field).map(|term| term.1.clone()).collect(),
        }
    }

    /// (by, value, count) in the order of a top list.
    fn naive_top(segments: &[Blocks], query: &Query, field: Field, by: Option<Field>) -> Vec<(Option<Vec<u8>>, Vec<u8>, u64)> {
        let mut counts: BTreeMap<(Option<Vec<u8>>, Vec<u8>), u64> = BTreeMap::new();
        for event in matching(segments, query) {
            for value in values(&event, field) {
                let by: Vec<Option<Vec<u8>>> = by.map_or(vec![None], |by| values(&event, by).into_iter().map(Some).collect());
                by.into_iter().for_each(|by| *counts.entry((by, value.clone())).or_default() += 1);
            }
        }
        let mut rows: Vec<_> = counts.into_iter().map(|((by, value), count)| (by, value, count)).collect();
        rows.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (&a.1, &a.0).cmp(&(&b.1, &b.0))));
        rows
    }

    const FIELDS: [Field; 6] = [Field::SrcIp, Field::Password, Field::Sensor, Field::Command, Field::Cve, Field::Session];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(160))]
        #[test]
        fn counts_events_like_a_scan_of_all(segments in consecutive(0..150), text in query()) {
            let (views, query) = (views(&segments), Query::parse(&text, RECEIVED_AT).unwrap());
            let events = matching(&segments, &query).count() as u64;
            let total = count(&views, &query, None, &mut SampleDecoder).unwrap();
            prop_assert_eq!(total, Counts { events, stretches: Vec::new() }, "{}", text);
            for by in Interval::ALL {
                let mut expected: BTreeMap<Micros, u64> = BTreeMap::new();
                matching(&segments, &query).for_each(|event| *expected.entry(by.start(event.time)).or_default() += 1);
                let counts = count(&views, &query, Some(by), &mut SampleDecoder).unwrap();
                prop_assert_eq!(counts.events, events, "{}", text);
                for pair in counts.stretches.windows(2) {
                    prop_assert_eq!(pair[0].0 + by.length(), pair[1].0);
                }
                let ends = counts.stretches.first().into_iter().chain(counts.stretches.last());
                prop_assert!(ends.into_iter().all(|end| end.1 > 0));
                let some: Vec<_> = counts.stretches.into_iter().filter(|stretch| stretch.1 > 0).collect();
                prop_assert_eq!(some, expected.into_iter().collect::<Vec<_>>(), "{} by {}", text, by.name());
            }
        }

        #[test]
        fn ranks_values_and_pairs_like_a_scan_of_all(segments in consecutive(0..150), text in query(), limit in 0..60usize, field in 0..6usize, by in proptest::option::of(0..6usize)) {
            let (views, query) = (views(&segments), Query::parse(&text, RECEIVED_AT).unwrap());
            let (field, by) = (FIELDS[field], by.map(|by| FIELDS[by]).filter(|by| *by != FIELDS[field]));
            let mut expected = naive_top(&segments, &query, field, by);
            if field == Field::Session && by.is_none() && query.clauses.is_empty() && query.since.or(query.until).is_none() {
                // Of these the index knows no name.
                expected.retain(|(_, value, _)| !value.starts_with(b"odd"));
            }
            let found = top(&views, field, by, &query, limit, &mut SampleDecoder).unwrap();
            prop_assert_eq!(found.error_max, 0);
            for row in &found.rows {
                let times = || matching(&segments, &query)
                    .filter(|event| values(event, field).contains(&row.value))
                    .filter(|event| by.is_none_or(|by| values(event, by).iter().any(|value| Some(value) == row.by.as_ref())))
                    .map(|event| event.time);
                let (first, last) = (times().min().unwrap(), times().max().unwrap());
                prop_assert!(day_of(row.first) == day_of(first) && day_of(row.last) == day_of(last));
                prop_assert!(row.first <= first && row.last >= last);
                if by.is_some_and(|by| by != Field::Sensor) || by.is_none() && query.clauses.is_empty() && query.since.or(query.until).is_none() {
                    prop_assert_eq!((row.first, row.last), (first, last));
                }
            }
            let found: Vec<_> = found.rows.into_iter().map(|row| (row.by, row.value, row.count)).collect();
            prop_assert_eq!(&found[..], &expected[..limit.min(expected.len())], "{} {:?} by {:?}", text, field, by);
        }

        #[test]
        fn a_full_table_says_how_wrong_it_is(segments in consecutive(0..150), text in query(), rows_max in 1..30usize, by in proptest::option::of(Just(Field::SrcIp))) {
            let (views, query) = (views(&segments), Query::parse(&text, RECEIVED_AT).unwrap());
            let mut expected: BTreeMap<_, _> =
                naive_top(&segments, &query, Field::Password, by).into_iter().map(|(by, value, count)| ((by, value), count)).collect();
            let sums = Frequent::new(rows_max, 1 << 20);
            let found = top_within(&views, Field::Password, by, &query, usize::MAX, &mut SampleDecoder, sums).unwrap();
            for row in found.rows {
                let count = expected.remove(&(row.by, row.value)).expect("no row is invented");
                prop_assert!(row.count <= count && count <= row.count + found.error_max);
            }
            prop_assert!(expected.values().all(|&missing| missing <= found.error_max));
        }

        #[test]
        fn tells_how_many_values_there_are(segments in consecutive(0..150), text in query()) {
            let (views, query) = (views(&segments), Query::parse(&text, RECEIVED_AT).unwrap());
            for field in FIELDS {
                let expected: BTreeSet<Vec<u8>> = matching(&segments, &query).flat_map(|event| values(&event, field)).collect();
                let found = distinct(&views, field, &query, &mut SampleDecoder).unwrap();
                prop_assert_eq!(found, DistinctCount { values: expected.len() as u64, exact: true }, "{} {:?}", text, field);
            }
        }
    }

    fn plan(question: Question, text: &str) -> (bool, usize) {
        let plan = Plan::of(question, &Query::parse(text, RECEIVED_AT).unwrap());
        (plan.indexed.is_some(), plan.read.len())
    }

    #[test]
    fn reads_no_more_than_the_indexes_leave_open() {
        let day = Question::Events { by: Some(Interval::Day) };
        let hour = Question::Events { by: Some(Interval::Hour) };
        let ip = Question::Values { field: Field::SrcIp, by: None };
        for (question, text, expected) in [
            (day, "", (true, 0)),
            (hour, "since:2026-03-20T05:00:00Z until:2026-03-21", (true, 0)),
            (hour, "since:2026-03-20T05:30:00Z until:2026-03-21T07:00:01Z", (true, 2)),
            (day, "sensor:node1 since:2026-03-20", (true, 0)),
            (hour, "sensor:node1", (false, 1)),
            (day, "password:a NOT sensor:node1", (true, 0)),
            (day, "password:a src_ip:10.0.1.1", (false, 1)),
            (day, "NOT password:a", (false, 1)),
            (day, "password:a*", (false, 1)),
            (ip, "since:7d", (true, 1)),
            (ip, "since:7d until:2026-03-22", (true, 1)),
            (ip, "since:3h", (true, 1)),
            (ip, "sensor:node1 until:2026-03-20", (true, 0)),
            (ip, "password:a", (false, 1)),
            (Question::Values { field: Field::SrcIp, by: Some(Field::Password) }, "", (false, 1)),
            (Question::Values { field: Field::SrcIp, by: Some(Field::Sensor) }, "since:7d", (true, 1)),
            (Question::Values { field: Field::Sensor, by: Some(Field::SrcIp) }, "", (false, 1)),
            (Question::Values { field: Field::Session, by: Some(Field::Sensor) }, "", (false, 1)),
            (Question::Values { field: Field::Session, by: None }, "", (true, 0)),
            (Question::Values { field: Field::Session, by: None }, "sensor:node1", (false, 1)),
        ] {
            assert_eq!(plan(question, text), expected, "{question:?} {text}");
        }
    }

    #[test]
    fn weeks_begin_on_monday() {
        let start = |date: &str| time::format(Interval::Week.start(time::parse(format!("{date}T12:00:00Z").as_bytes()).unwrap()));
        for (date, monday) in
            [("2026-03-22", "2026-03-16"), ("2026-03-23", "2026-03-23"), ("1969-12-31", "1969-12-29"), ("2027-01-01", "2026-12-28")]
        {
            assert_eq!(start(date), format!("{monday}T00:00:00.000000Z"));
        }
    }
}
