//! What the dictionaries answer alone, without an event being read: top lists, how many values there are, new ones. Exact, over all
//! segments.
//!
//! Every segment's dictionary is streamed into one table. Where the dictionaries together are large, the range of
//! values is cut at page boundaries and tallied piece by piece, so that memory stays bounded whatever attackers tried.
use super::frequent::Frequent;
use super::part::{CellTable, TermEntry, TermSummary, ValueRange};
use super::query::Query;
use super::search::{Segment, View};
use super::sidecar::SidecarError;
use super::{SEED, session_name};
use crate::events::time::MICROS_PER_DAY;
use crate::events::{Field, Micros};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Terms tallied at once: at most about 64 bytes each, and their values.
pub(super) const TALLY_TERMS_MAX: u64 = 250_000;

/// A value, how many events have it, and the first and last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    pub value: Vec<u8>,
    /// The other field's value, in a list by another field.
    pub by: Option<Vec<u8>>,
    pub count: u64,
    pub first: Micros,
    pub last: Micros,
}

impl TopRow {
    fn summary(&self) -> TermSummary {
        TermSummary { count: self.count, first: self.first, last: self.last }
    }
}

/// Takes a pair, first what is counted by and then the value, and what its events come to.
pub type EachPair<'a> = dyn FnMut(&[u8], &[u8], TermSummary) + 'a;

/// The days and sensors that a query asks for, if it asks for nothing else: what the cells of a segment can tell.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'q> {
    query: &'q Query,
    /// A clause of the query that is known to hold.
    given: Option<usize>,
}

impl<'q> Scope<'q> {
    /// `None`: the times are not whole days (UTC), or something else than sensors is asked for besides the clause `given`, which
    /// whoever asks looks after.
    pub fn of(query: &'q Query, given: Option<usize>) -> Option<Scope<'q>> {
        let is_whole = |time: Option<Micros>| time.is_none_or(|time| time % MICROS_PER_DAY == 0);
        let mut clauses = query.clauses.iter().enumerate().filter(|(number, _)| Some(*number) != given);
        // The cells do not tell an empty name from none.
        let only_sensors = clauses.all(|(_, clause)| clause.field == Some(Field::Sensor) && !clause.pattern.matches(b""));
        (is_whole(query.since) && is_whole(query.until) && only_sensors).then_some(Scope { query, given })
    }

    pub fn is_everything(&self) -> bool {
        self.query.clauses.is_empty() && self.query.since.is_none() && self.query.until.is_none()
    }

    /// For each cell the day it is of, if it is asked for.
    pub fn wanted(&self, table: &CellTable) -> Vec<Option<i32>> {
        let given = self.given.map_or(0, |number| 1 << number);
        let sensor_is_wanted = |name: &[u8]| self.query.condition.holds(given | self.query.matches(Field::Sensor, name));
        let sensors: Vec<bool> = table.sensors.iter().map(|name| sensor_is_wanted(name)).collect();
        let day_is_wanted = |day: i32| self.query.covers(Micros::from(day).saturating_mul(MICROS_PER_DAY));
        let wanted = table.cells.iter().map(|cell| (sensors[cell.sensor as usize] && day_is_wanted(cell.day)).then_some(cell.day));
        wanted.collect()
    }
}

/// The `limit` most frequent values of `field` over everything, by falling count, then by value.
pub fn top(view: &View, field: Field, limit: usize) -> Result<Vec<TopRow>, SidecarError> {
    if let Some(rows) = top_of_kept(view, field, limit)? {
        return Ok(rows);
    }
    let mut best = Best::new(limit);
    each_value(view, field, None, None, &mut |value, sum| best.add(sum.count, b"", value, sum))?;
    Ok(best.into_rows(false))
}

/// The same from what is kept of the segments that do not change, and the others; `None` if that does not tell.
fn top_of_kept(view: &View, field: Field, limit: usize) -> Result<Option<Vec<TopRow>>, SidecarError> {
    let (settled, others) = view.segments.split_at(view.settled.min(view.segments.len()));
    if settled.is_empty() || limit == 0 || limit > view.tops.rows_max {
        return Ok(None);
    }
    let kept = view.tops.of(settled, field)?;
    let others = View { segments: others.to_vec(), ..View::default() };
    let mut sums: BTreeMap<&[u8], TermSummary> = kept.rows.iter().map(|row| (&row.value[..], row.summary())).collect();
    // What is not kept may be in the list only if its events in the other segments lift it there.
    let (unkept_max, needed) = (kept.unkept.as_ref().map_or(0, |row| row.count), kept.rows.get(limit - 1).map_or(0, |row| row.count));
    let (mut lifted, mut are_few): (Vec<(Vec<u8>, TermSummary)>, bool) = (Vec::new(), true);
    each_value(&others, field, None, None, &mut |value, sum| match sums.get_mut(value) {
        Some(there) => there.add(sum),
        None if are_few && unkept_max.saturating_add(sum.count) >= needed => {
            are_few = lifted.len() < LIFTED_MAX;
            lifted.push((value.to_vec(), sum));
        }
        None => {}
    })?;
    if !are_few {
        return Ok(None);
    }
    if kept.unkept.is_some() {
        for (value, sum) in &mut lifted {
            for segment in settled {
                segment.with_index(&mut |index| {
                    if field == Field::Session {
                        let entries = index.session(super::session_key(value))?;
                        entries
                            .iter()
                            .for_each(|entry| sum.add(TermSummary { count: entry.events(), first: entry.first, last: entry.last }));
                    } else if let Some(entry) = index.term(field, value)? {
                        sum.add(entry.summary);
                    }
                    Ok(())
                })?;
            }
        }
    }
    let mut best = Best::new(limit);
    sums.iter().for_each(|(value, sum)| best.add(sum.count, b"", value, *sum));
    lifted.iter().for_each(|(value, sum)| best.add(sum.count, b"", value, *sum));
    let rows = best.into_rows(false);
    // The first of the values that are neither kept nor lifted must come behind the list.
    let is_certain = kept.unkept.as_ref().is_none_or(|unkept| {
        rows.len() == limit && rows.last().is_some_and(|last| (Reverse(last.count), &last.value) < (Reverse(unkept.count), &unkept.value))
    });
    Ok(is_certain.then_some(rows))
}

/// Values that are not kept and are looked up for a list.
const LIFTED_MAX: usize = 256;

/// The most frequent values of segments that do not change, kept from question to question: of each field the last ones asked for.
pub struct Tops {
    rows_max: usize,
    of_field: Mutex<BTreeMap<Field, Arc<Kept>>>,
}

/// Values of a field.
struct Kept {
    /// Of these very segments. What is held by no one else is not kept from going, but its place is not used again.
    segments: Vec<Weak<dyn Segment>>,
    rows: Vec<TopRow>,
    /// The first value, in the order of the rows, that is not among them; `None`: there is none.
    unkept: Option<TopRow>,
}

impl Default for Tops {
    fn default() -> Tops {
        Tops::keeping(256)
    }
}

impl Tops {
    /// So many rows of each field.
    fn keeping(rows_max: usize) -> Tops {
        Tops { rows_max, of_field: Mutex::default() }
    }

    fn of(&self, segments: &[Arc<dyn Segment>], field: Field) -> Result<Arc<Kept>, SidecarError> {
        let is_of_these = |kept: &Arc<Kept>| {
            let mut pairs = kept.segments.iter().zip(segments);
            kept.segments.len() == segments.len() && pairs.all(|(kept, segment)| std::ptr::addr_eq(kept.as_ptr(), Arc::as_ptr(segment)))
        };
        let known = self.of_field.lock().unwrap_or_else(PoisonError::into_inner).get(&field).cloned();
        if let Some(kept) = known.filter(is_of_these) {
            return Ok(kept);
        }
        let mut best = Best::new(self.rows_max + 1);
        let view = View { segments: segments.to_vec(), ..View::default() };
        each_value(&view, field, None, None, &mut |value, sum| best.add(sum.count, b"", value, sum))?;
        let mut rows = best.into_rows(false);
        let unkept = if rows.len() > self.rows_max { rows.pop() } else { None };
        let kept = Arc::new(Kept { segments: segments.iter().map(Arc::downgrade).collect(), rows, unkept });
        self.of_field.lock().unwrap_or_else(PoisonError::into_inner).insert(field, kept.clone());
        Ok(kept)
    }
}

/// Values of `field` whose first event of all lies within `span`, the newest first.
pub fn new_values(view: &View, field: Field, span: Range<Micros>, limit: usize) -> Result<Vec<TopRow>, SidecarError> {
    let mut best = Best::new(limit);
    each_value(view, field, None, None, &mut |value, sum| {
        if span.contains(&sum.first) {
            best.add(rank_of_time(sum.first), b"", value, sum);
        }
    })?;
    Ok(best.into_rows(false))
}

/// Calls `each` once with every value of `field`, in no order, and what its events come to: those of the scope, if one is given, and
/// what stands in `more`, which has sums by nothing else than values.
///
/// The first and last time of a value are those of its events if all of these are in the scope; else they are the bounds of
/// the scope's days on which it has events.
///
/// Of sessions only those whose id the index keeps are shown, and there is no scope for them: theirs is everything.
pub fn each_value(
    view: &View,
    field: Field,
    scope: Option<&Scope<'_>>,
    more: Option<&Frequent>,
    each: &mut dyn FnMut(&[u8], TermSummary),
) -> Result<(), SidecarError> {
    if field == Field::Session {
        // No scope and no further sums: see above.
        return each_session(view, TALLY_TERMS_MAX, &mut |key, sum| {
            if let Some(name) = session_name(key) {
                each(name.as_bytes(), sum);
            }
        });
    }
    let scope = scope.filter(|scope| !scope.is_everything());
    each_pair_within(view, field, scope, false, more, TALLY_TERMS_MAX, &mut |_, value, sum| each(value, sum))
}

/// The same by sensor: calls `each` with every sensor and every value that has events there. A value's first and last time are
/// those of its events if all of them are of that sensor and in the scope.
pub fn each_value_by_sensor(
    view: &View,
    field: Field,
    scope: &Scope<'_>,
    more: Option<&Frequent>,
    each: &mut EachPair<'_>,
) -> Result<(), SidecarError> {
    each_pair_within(view, field, Some(scope), true, more, TALLY_TERMS_MAX, each)
}

fn each_pair_within(
    view: &View,
    field: Field,
    scope: Option<&Scope<'_>>,
    by_sensor: bool,
    more: Option<&Frequent>,
    tally_terms_max: u64,
    each: &mut EachPair<'_>,
) -> Result<(), SidecarError> {
    let mut sensors = 1;
    if by_sensor {
        for segment in &view.segments {
            segment.with_index(&mut |index| {
                sensors = sensors.max(index.cells()?.sensors.len() as u64);
                Ok(())
            })?;
        }
    }
    let splits = splits(&view.segments, field, tally_terms_max / sensors)?;
    let mut tally = Frequent::unbounded();
    for range in ranges(&splits) {
        tally.clear();
        for segment in &view.segments {
            segment.with_index(&mut |index| match scope {
                None => index.each_term(field, range, &mut |value, summary| tally.add(b"", value, summary)),
                Some(scope) => {
                    if index.time_span().is_none_or(|(min, max)| !scope.query.overlaps(min, max)) {
                        return Ok(());
                    }
                    let table = index.cells()?;
                    let wanted = scope.wanted(&table);
                    if wanted.iter().all(Option::is_none) {
                        return Ok(());
                    }
                    // By sensor or not: with a place for each sensor, or one for all.
                    let mut sums = vec![None; if by_sensor { table.sensors.len() } else { 1 }];
                    index.each_entry(field, range, &mut |_| true, &mut |value, entry| {
                        let place = |cell: u32| if by_sensor { table.cells[cell as usize].sensor as usize } else { 0 };
                        sum_within(entry, &wanted, place, &mut sums);
                        for (sensor, sum) in sums.iter_mut().enumerate() {
                            match sum.take().map(|days: Days| days.summary(entry)) {
                                Some(sum) if !by_sensor => tally.add(b"", value, sum),
                                Some(sum) if !table.sensors[sensor].is_empty() => tally.add(&table.sensors[sensor], value, sum),
                                _ => {}
                            }
                        }
                    })
                }
            })?;
        }
        for (by, value, summary) in more.into_iter().flat_map(Frequent::rows).filter(|(_, value, _)| range.contains(value)) {
            tally.add(by, value, summary);
        }
        tally.rows().for_each(|(by, value, summary)| each(by, value, summary));
    }
    Ok(())
}

/// Values at which the field's dictionaries are cut so that of none of the ranges more than about `terms_max` terms are tallied.
pub(super) fn splits(segments: &[Arc<dyn Segment>], field: Field, terms_max: u64) -> Result<Vec<Vec<u8>>, SidecarError> {
    let mut terms = 0u64;
    for segment in segments {
        segment.with_index(&mut |index| {
            index.will_need(field);
            terms = terms.saturating_add(index.terms_len(field));
            Ok(())
        })?;
    }
    let mut splits: Vec<Vec<u8>> = Vec::new();
    if terms > terms_max {
        for segment in segments {
            segment.with_index(&mut |index| index.each_split(field, &mut |value| splits.push(value.to_vec())))?;
        }
        splits.sort_unstable();
        let stride = (splits.len() as u64).saturating_mul(terms_max) / terms;
        splits = splits.into_iter().step_by(stride.max(1) as usize).skip(1).collect();
        splits.dedup();
    }
    Ok(splits)
}

/// The ranges between the splits.
pub(super) fn ranges(splits: &[Vec<u8>]) -> impl Iterator<Item = ValueRange<'_>> {
    (0..=splits.len()).map(|piece| {
        let from = if piece == 0 { &[][..] } else { &splits[piece - 1] };
        ValueRange { from, to: splits.get(piece).map(|to| &to[..]) }
    })
}

/// Events on some days.
#[derive(Clone, Copy)]
struct Days {
    count: u64,
    first: i32,
    last: i32,
}

impl Days {
    /// What they come to, being events of this entry.
    fn summary(&self, entry: &TermEntry) -> TermSummary {
        let start = Micros::from(self.first).saturating_mul(MICROS_PER_DAY);
        let end = Micros::from(self.last).saturating_add(1).saturating_mul(MICROS_PER_DAY).saturating_sub(1);
        TermSummary { count: self.count, first: entry.summary.first.max(start), last: entry.summary.last.min(end) }
    }
}

/// Adds the entry's events in wanted cells to the places of these; `wanted` has the day of every wanted cell.
fn sum_within(entry: &TermEntry, wanted: &[Option<i32>], place: impl Fn(u32) -> usize, sums: &mut [Option<Days>]) {
    for &(cell, events) in &entry.cells {
        if let Some(Some(day)) = wanted.get(cell as usize) {
            let days = sums[place(cell)].get_or_insert(Days { count: 0, first: *day, last: *day });
            days.count += u64::from(events);
            (days.first, days.last) = (days.first.min(*day), days.last.max(*day));
        }
    }
}

/// Calls `each` once with the key of every session, in no order, and what its events come to. They live in a table of their own,
/// where an id that is not hexadecimal is only a hash.
pub fn each_session(view: &View, at_once: u64, each: &mut dyn FnMut(u64, TermSummary)) -> Result<(), SidecarError> {
    let mut entries = 0u64;
    for segment in &view.segments {
        segment.with_index(&mut |index| index.each_session_key(0..=u64::MAX, &mut |_| entries += 1))?;
    }
    let pieces = entries.div_ceil(at_once).max(1);
    let mut sessions = hashbrown::HashMap::with_hasher(foldhash::quality::RandomState::default());
    for piece in 0..pieces {
        sessions.clear();
        for segment in &view.segments {
            segment.with_index(&mut |index| {
                index.each_session(&mut |entry| {
                    if pieces > 1 && SEED.hash_one(entry.key) % pieces != piece {
                        return;
                    }
                    let sum = sessions.entry(entry.key).or_insert(TermSummary { count: 0, first: entry.first, last: entry.last });
                    sum.add(TermSummary { count: entry.events(), first: entry.first, last: entry.last });
                })
            })?;
        }
        sessions.iter().for_each(|(key, sum)| each(*key, *sum));
    }
    Ok(())
}

/// Later times have higher ranks, also before 1970.
pub(super) fn rank_of_time(time: Micros) -> u64 {
    time as u64 ^ 1 << 63
}

/// The rows of the highest ranks so far, the lowest of them on top; of the same rank, the first values.
pub(super) struct Best {
    limit: usize,
    rows: BinaryHeap<Ranked>,
}

/// Rank, value, by, count, first, last
type Ranked = (Reverse<u64>, Vec<u8>, Vec<u8>, u64, Micros, Micros);

impl Best {
    pub fn new(limit: usize) -> Best {
        Best { limit, rows: BinaryHeap::new() }
    }

    pub fn add(&mut self, rank: u64, by: &[u8], value: &[u8], sum: TermSummary) {
        if self.rows.len() >= self.limit {
            match self.rows.peek() {
                Some((lowest, worst, worst_by, ..)) if (Reverse(rank), value, by) < (*lowest, &worst[..], &worst_by[..]) => self.rows.pop(),
                _ => return,
            };
        }
        self.rows.push((Reverse(rank), value.to_vec(), by.to_vec(), sum.count, sum.first, sum.last));
    }

    /// The highest first; `by`: with what they are counted by.
    pub fn into_rows(self, with_by: bool) -> Vec<TopRow> {
        let rows = self.rows.into_sorted_vec().into_iter();
        rows.map(|(_, value, by, count, first, last)| TopRow { value, by: with_by.then_some(by), count, first, last }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Blocks, blocks, view};
    use super::*;
    use crate::events::time::{self, day_of};
    use crate::index::sample::RECEIVED_AT;
    use proptest::prelude::*;
    use std::ops::RangeInclusive;

    /// The list over the days, tallied so many terms at once.
    fn top_within(view: &View, field: Field, limit: usize, days: Option<RangeInclusive<i32>>, at_once: u64) -> Vec<TopRow> {
        let written = days.map(|days| format!("since:{} until:{}", time::format_day(*days.start()), time::format_day(*days.end())));
        let query = Query::parse(&written.unwrap_or_default(), RECEIVED_AT).unwrap();
        let scope = Scope::of(&query, None).unwrap();
        let mut best = Best::new(limit);
        each_pair_within(view, field, Some(&scope), false, None, at_once, &mut |_, value, sum| best.add(sum.count, b"", value, sum))
            .unwrap();
        best.into_rows(false)
    }

    fn naive(segments: &[Blocks], field: Field, limit: usize, days: Option<RangeInclusive<i32>>) -> Vec<(Vec<u8>, u64)> {
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for (_, _, _, event) in segments.iter().flat_map(Blocks::events) {
            if days.as_ref().is_none_or(|days| days.contains(&day_of(event.time))) {
                event.terms.iter().filter(|term| term.0 == field).for_each(|term| *counts.entry(term.1.clone()).or_default() += 1);
            }
        }
        let mut rows: Vec<_> = counts.into_iter().collect();
        rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        rows.truncate(limit);
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn counts_like_a_scan_of_all_events(
            segments in proptest::collection::vec(blocks(0..200, 1), 1..5),
            limit in 0..40usize,
            day in proptest::option::of((0..4i32, 0..3i32)),
            at_once in 1..50u64,
        ) {
            let view = view(&segments);
            let today = day_of(RECEIVED_AT);
            let days = day.map(|(back, more)| today - back..=today - back + more);
            for field in [Field::SrcIp, Field::Password, Field::Sensor, Field::Cve, Field::Session] {
                let rows = top_within(&view, field, limit, days.clone(), at_once);
                let counts: Vec<_> = rows.iter().map(|row| (row.value.clone(), row.count)).collect();
                prop_assert_eq!(counts, naive(&segments, field, limit, days.clone()));
                for row in rows {
                    let times = || segments.iter().flat_map(Blocks::events).filter(|event| event.3.terms.contains(&(field, row.value.clone()))).map(|event| event.3.time);
                    if let Some(days) = &days {
                        prop_assert!(days.contains(&day_of(row.first)) && days.contains(&day_of(row.last)));
                    } else {
                        prop_assert_eq!((Some(row.first), Some(row.last)), (times().min(), times().max()));
                    }
                }
            }
        }
    }

    #[test]
    fn large_dictionaries_are_tallied_piece_by_piece() {
        let line = |n: u32| format!(r#"{{"password":"{}","timestamp":"2026-03-22T00:00:00Z"}}"#, n % 5_000).into_bytes();
        let segments: Vec<Blocks> =
            (0..3).map(|_| Blocks::new((0..7_500).map(line).collect::<Vec<_>>().chunks(500).map(<[_]>::to_vec).collect(), 1)).collect();
        let rows = top_within(&view(&segments), Field::Password, 2_600, None, 1_000);
        let counts: Vec<_> = rows.iter().map(|row| (row.value.clone(), row.count)).collect();
        assert_eq!(counts, naive(&segments, Field::Password, 2_600, None));
    }
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn new_values_are_those_first_seen_in_the_span(
            segments in proptest::collection::vec(blocks(0..200, 1), 1..5),
            (hours_back, hours) in (0..80i64, 0..40i64),
            limit in 0..40usize,
        ) {
            let view = view(&segments);
            let since = RECEIVED_AT - hours_back * time::MICROS_PER_HOUR;
            let span = since..since + hours * time::MICROS_PER_HOUR;
            for field in [Field::SrcIp, Field::Password, Field::Command] {
                let mut seen: BTreeMap<Vec<u8>, (Micros, Micros, u64)> = BTreeMap::new();
                for (_, _, _, event) in segments.iter().flat_map(Blocks::events) {
                    for (_, value) in event.terms.iter().filter(|term| term.0 == field) {
                        let row = seen.entry(value.clone()).or_insert((event.time, event.time, 0));
                        *row = (row.0.min(event.time), row.1.max(event.time), row.2 + 1);
                    }
                }
                let mut expected: Vec<_> = seen.into_iter().filter(|(_, (first, ..))| span.contains(first)).collect();
                expected.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(&b.0)));
                expected.truncate(limit);
                let found = new_values(&view, field, span.clone(), limit).unwrap();
                let found: Vec<_> = found.into_iter().map(|row| (row.value, (row.first, row.last, row.count))).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn what_is_kept_of_segments_that_do_not_change_tells_the_same(
            segments in proptest::collection::vec(blocks(0..120, 1), 1..6), limit in 0..9usize, rows_max in 0..9usize, settled in 0..6usize,
        ) {
            let whole = view(&segments);
            let settled = settled.min(whole.segments.len());
            let tops = Arc::new(Tops::keeping(rows_max));
            let seen = |to: usize| View { segments: whole.segments[..to].to_vec(), settled: settled.min(to), tops: tops.clone(), ..View::default() };
            // Before anything is kept, from what is, and behind more segments that were not there before.
            for to in [settled, whole.segments.len(), whole.segments.len()] {
                for field in [Field::SrcIp, Field::Password, Field::Command, Field::Session] {
                    let found = top(&seen(to), field, limit).unwrap();
                    let expected = top(&View { segments: whole.segments[..to].to_vec(), ..View::default() }, field, limit).unwrap();
                    prop_assert_eq!(found, expected, "{:?} {}", field, to);
                }
            }
        }

        #[test]
        fn sessions_are_added_up_however_many_at_once(segments in proptest::collection::vec(blocks(0..200, 1), 1..5), at_once in 1..60u64) {
            let mut expected: BTreeMap<u64, TermSummary> = BTreeMap::new();
            for (_, _, _, event) in segments.iter().flat_map(Blocks::events) {
                if let Some(session) = &event.session {
                    let new = TermSummary { count: 0, first: event.time, last: event.time };
                    let sum = expected.entry(crate::index::session_key(session)).or_insert(new);
                    *sum = TermSummary { count: sum.count + 1, first: sum.first.min(event.time), last: sum.last.max(event.time) };
                }
            }
            let mut found = BTreeMap::new();
            each_session(&view(&segments), at_once, &mut |key, sum| assert!(found.insert(key, sum).is_none())).unwrap();
            prop_assert_eq!(found, expected);
        }
    }
}
