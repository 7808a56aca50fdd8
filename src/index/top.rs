//! Top lists: the values of a field by number of events, exact, over all segments.
//!
//! Every segment's dictionary is streamed into one table. Where the dictionaries together are large, the range of
//! values is cut at page boundaries and tallied piece by piece, so that memory stays bounded whatever attackers tried.
use super::SEED;
use super::part::{TermEntry, TermSummary, ValueRange};
use super::search::{Segment, View};
use super::sidecar::SidecarError;
use crate::events::time::MICROS_PER_DAY;
use crate::events::{Field, Micros};
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Terms tallied at once: at most about 64 bytes each, and their values.
pub(super) const TALLY_TERMS_MAX: u64 = 250_000;

/// A value, how many events have it, and the first and last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    pub value: Vec<u8>,
    pub count: u64,
    pub first: Micros,
    pub last: Micros,
}

/// The `limit` most frequent values of `field`, by falling count, then by value.
///
/// With `days` (since 1970, UTC) only events of those days count, and `first` and `last` of a value that also occurs on
/// other days are those days' bounds. Sessions are not counted: a list of them is asked for otherwise.
pub fn top(view: &View, field: Field, limit: usize, days: Option<RangeInclusive<i32>>) -> Result<Vec<TopRow>, SidecarError> {
    top_within(view, field, limit, days, TALLY_TERMS_MAX)
}

fn top_within(
    view: &View,
    field: Field,
    limit: usize,
    days: Option<RangeInclusive<i32>>,
    tally_terms_max: u64,
) -> Result<Vec<TopRow>, SidecarError> {
    let splits = splits(&view.segments, field, tally_terms_max)?;
    let mut best = Best::new(limit);
    let mut tally = Tally::default();
    for range in ranges(&splits) {
        tally.clear();
        for segment in &view.segments {
            segment.with_index(&mut |index| match &days {
                None => index.each_term(field, range, &mut |value, summary| tally.add(value, summary)),
                Some(days) => {
                    let cells = index.cells()?.cells;
                    let wanted: Vec<Option<i32>> = cells.iter().map(|cell| days.contains(&cell.day).then_some(cell.day)).collect();
                    if wanted.iter().all(Option::is_none) {
                        return Ok(());
                    }
                    index.each_entry(field, range, &mut |_| true, &mut |value, entry| {
                        if let Some(summary) = within_days(entry, &wanted) {
                            tally.add(value, summary);
                        }
                    })
                }
            })?;
        }
        tally.each(|value, summary| best.add(value, summary));
    }
    Ok(best.into_rows())
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

/// What the term's events on wanted days come to; `wanted` has the day of every wanted cell.
fn within_days(entry: &TermEntry, wanted: &[Option<i32>]) -> Option<TermSummary> {
    let (mut count, mut first_day, mut last_day) = (0, i32::MAX, i32::MIN);
    for &(cell, events) in &entry.cells {
        if let Some(Some(day)) = wanted.get(cell as usize) {
            count += u64::from(events);
            (first_day, last_day) = (first_day.min(*day), last_day.max(*day));
        }
    }
    let start = Micros::from(first_day).saturating_mul(MICROS_PER_DAY);
    let end = Micros::from(last_day).saturating_add(1).saturating_mul(MICROS_PER_DAY).saturating_sub(1);
    (count > 0).then(|| TermSummary { count, first: entry.summary.first.max(start), last: entry.summary.last.min(end) })
}

/// Sums by value.
#[derive(Default)]
pub(super) struct Tally {
    table: HashTable<u32>,
    rows: Vec<TallyRow>,
    values: Vec<u8>,
}

struct TallyRow {
    hash: u64,
    start: usize,
    len: usize,
    summary: TermSummary,
}

impl Tally {
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.rows.clear();
        self.values.clear();
    }

    fn value(&self, row: &TallyRow) -> &[u8] {
        &self.values[row.start..][..row.len]
    }

    pub(super) fn each(&self, mut each: impl FnMut(&[u8], TermSummary)) {
        self.rows.iter().for_each(|row| each(self.value(row), row.summary));
    }

    /// The value occurred at that time: if it is here already, it may be older than it seemed.
    pub(super) fn seen(&mut self, value: &[u8], first: Micros) {
        let Tally { table, rows, values } = self;
        let hash = SEED.hash_one(value);
        let same = |&index: &u32| {
            let row = &rows[index as usize];
            row.hash == hash && values[row.start..][..row.len] == *value
        };
        if let Some(&index) = table.find(hash, same) {
            let known = &mut rows[index as usize].summary;
            known.first = known.first.min(first);
        }
    }

    pub(super) fn add(&mut self, value: &[u8], summary: TermSummary) {
        let Tally { table, rows, values } = self;
        let hash = SEED.hash_one(value);
        let same = |&index: &u32| {
            let row = &rows[index as usize];
            row.hash == hash && values[row.start..][..row.len] == *value
        };
        match table.find(hash, same) {
            Some(&index) => {
                let known = &mut rows[index as usize].summary;
                known.count = known.count.saturating_add(summary.count);
                known.first = known.first.min(summary.first);
                known.last = known.last.max(summary.last);
            }
            None => {
                let index = rows.len() as u32;
                rows.push(TallyRow { hash, start: values.len(), len: value.len(), summary });
                values.extend_from_slice(value);
                table.insert_unique(hash, index, |&index| rows[index as usize].hash);
            }
        }
    }
}

/// The best rows so far, the worst of them on top.
pub(super) struct Best {
    limit: usize,
    rows: BinaryHeap<(Reverse<u64>, Vec<u8>, Micros, Micros)>,
}

impl Best {
    pub(super) fn new(limit: usize) -> Best {
        Best { limit, rows: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, value: &[u8], summary: TermSummary) {
        if self.rows.len() >= self.limit {
            match self.rows.peek() {
                Some((Reverse(count), worst, ..)) if (Reverse(summary.count), value) < (Reverse(*count), worst) => self.rows.pop(),
                _ => return,
            };
        }
        self.rows.push((Reverse(summary.count), value.to_vec(), summary.first, summary.last));
    }

    pub(super) fn into_rows(self) -> Vec<TopRow> {
        let rows = self.rows.into_sorted_vec().into_iter();
        rows.map(|(Reverse(count), value, first, last)| TopRow { value, count, first, last }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Blocks, blocks, view};
    use super::*;
    use crate::events::time::day_of;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

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
            let today = day_of(super::super::sample::RECEIVED_AT);
            let days = day.map(|(back, more)| today - back..=today - back + more);
            for field in [Field::SrcIp, Field::Password, Field::Sensor, Field::Cve, Field::Session] {
                let rows = top_within(&view, field, limit, days.clone(), at_once).unwrap();
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
        let rows = top_within(&view(&segments), Field::Password, 2_600, None, 1_000).unwrap();
        let counts: Vec<_> = rows.iter().map(|row| (row.value.clone(), row.count)).collect();
        assert_eq!(counts, naive(&segments, Field::Password, 2_600, None));
    }
}
