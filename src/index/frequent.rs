//! Sums by value, or by pairs of values, at bounded memory whatever attackers tried.
//!
//! As long as there is room the sums are exact. When there is none, every sum is lowered by the median of all and those that
//! reach zero are forgotten (Misra and Gries, "Finding repeated elements", 1982, with many steps taken at once, as in Anderson
//! et al., "A High-Performance Algorithm for Identifying Frequent Items in Data Streams", 2017). So no sum is ever too high, and
//! none is too low by more than [`Frequent::error_max`]; what is frequent stays.
use super::SEED;
use super::part::TermSummary;
use crate::events::Micros;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// Sums by value and by what it is counted by.
#[derive(Default)]
pub struct Frequent {
    table: HashTable<u32>,
    rows: Vec<Row>,
    bytes: Vec<u8>,
    rows_max: usize,
    bytes_max: usize,
    error_max: u64,
}

struct Row {
    hash: u64,
    /// In the bytes: first what it is counted by, then the value.
    start: usize,
    by_len: u32,
    value_len: u32,
    summary: TermSummary,
}

impl Frequent {
    pub fn new(rows_max: usize, bytes_max: usize) -> Frequent {
        Frequent { rows_max, bytes_max, ..Frequent::default() }
    }

    /// Room for all there is: for who bounds what is added.
    pub fn unbounded() -> Frequent {
        Frequent::new(u32::MAX as usize, usize::MAX)
    }

    /// How much too low any sum is at most; 0: all of them are exact.
    pub fn error_max(&self) -> u64 {
        self.error_max
    }

    /// (by, value, sum) of every pair that is known, in no order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8], TermSummary)> {
        self.rows.iter().map(|row| {
            let (by, value) = row.key(&self.bytes).split_at(row.by_len as usize);
            (by, value, row.summary)
        })
    }

    pub fn clear(&mut self) {
        self.table.clear();
        self.rows.clear();
        self.bytes.clear();
        self.error_max = 0;
    }

    /// The hash of a pair, and where its row is.
    #[inline]
    fn find(&self, by: &[u8], value: &[u8]) -> (u64, Option<usize>) {
        let mut hasher = SEED.build_hasher();
        hasher.write(by);
        hasher.write(value);
        let hash = hasher.finish();
        let same = |&index: &u32| {
            let row = &self.rows[index as usize];
            let key = row.key(&self.bytes);
            row.hash == hash && row.by_len as usize == by.len() && key.len() == by.len() + value.len() && {
                key[..by.len()] == *by && key[by.len()..] == *value
            }
        };
        (hash, self.table.find(hash, same).map(|&index| index as usize))
    }

    /// An event with the pair was seen then: if the pair is known, its first time is no later.
    pub fn seen(&mut self, by: &[u8], value: &[u8], first: Micros) {
        if let (_, Some(index)) = self.find(by, value) {
            let known = &mut self.rows[index].summary;
            known.first = known.first.min(first);
        }
    }

    #[inline]
    pub fn add(&mut self, by: &[u8], value: &[u8], summary: TermSummary) {
        let (hash, known) = self.find(by, value);
        if let Some(index) = known {
            let known = &mut self.rows[index].summary;
            known.count = known.count.saturating_add(summary.count);
            known.first = known.first.min(summary.first);
            known.last = known.last.max(summary.last);
            return;
        }
        if self.rows.len() >= self.rows_max || self.bytes.len().saturating_add(by.len() + value.len()) > self.bytes_max {
            self.make_room();
        }
        let index = self.rows.len() as u32;
        self.rows.push(Row { hash, start: self.bytes.len(), by_len: by.len() as u32, value_len: value.len() as u32, summary });
        self.bytes.extend_from_slice(by);
        self.bytes.extend_from_slice(value);
        let rows = &self.rows;
        self.table.insert_unique(hash, index, |&index| rows[index as usize].hash);
    }

    /// Forgets at least half of the rows, and more until a quarter of the bytes is free.
    #[cold]
    fn make_room(&mut self) {
        while !self.rows.is_empty() {
            let mut counts: Vec<u64> = self.rows.iter().map(|row| row.summary.count).collect();
            let middle = counts.len() / 2;
            let median = *counts.select_nth_unstable(middle).1;
            self.error_max = self.error_max.saturating_add(median);
            // Rows stand in the order of their bytes, so that these only move towards the front.
            let Frequent { rows, bytes, .. } = self;
            let mut end = 0;
            rows.retain_mut(|row| {
                row.summary.count = row.summary.count.saturating_sub(median);
                let is_kept = row.summary.count > 0;
                if is_kept {
                    let len = row.by_len as usize + row.value_len as usize;
                    bytes.copy_within(row.start..row.start + len, end);
                    row.start = end;
                    end += len;
                }
                is_kept
            });
            bytes.truncate(end);
            if self.bytes.len() <= self.bytes_max / 4 * 3 {
                break;
            }
        }
        self.table.clear();
        let rows = &self.rows;
        for (index, row) in (0u32..).zip(rows) {
            self.table.insert_unique(row.hash, index, |&index| rows[index as usize].hash);
        }
    }
}

impl Row {
    fn key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.start..][..self.by_len as usize + self.value_len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn one(time: i64) -> TermSummary {
        TermSummary { count: 1, first: time, last: time }
    }

    proptest! {
        #[test]
        fn no_sum_is_too_high_and_none_too_low_by_more_than_is_said(
            added in proptest::collection::vec((0..4u8, prop_oneof![3 => 0..4u32, 1 => 0..2_000u32]), 0..600),
            rows_max in 1..200usize,
            bytes_max in 8..2_000usize,
        ) {
            let mut frequent = Frequent::new(rows_max, bytes_max);
            let mut expected: BTreeMap<(Vec<u8>, Vec<u8>), u64> = BTreeMap::new();
            for (at, (by, value)) in (0i64..).zip(&added) {
                let (by, value) = (vec![b'x'; usize::from(*by)], format!("x{value}").into_bytes());
                frequent.add(&by, &value, one(at));
                *expected.entry((by, value)).or_default() += 1;
                prop_assert!(frequent.rows.len() <= rows_max && frequent.bytes.len() <= bytes_max.max(16));
            }
            let mut found = BTreeMap::new();
            for (by, value, summary) in frequent.rows() {
                prop_assert!(found.insert((by.to_vec(), value.to_vec()), summary.count).is_none());
            }
            for (key, &count) in &expected {
                let sum = found.remove(key).unwrap_or(0);
                prop_assert!(sum <= count && count - sum <= frequent.error_max(), "{count} {sum} {}", frequent.error_max());
            }
            prop_assert!(found.is_empty());
            if expected.len() <= rows_max && expected.keys().map(|(by, value)| by.len() + value.len()).sum::<usize>() <= bytes_max {
                prop_assert_eq!(frequent.error_max(), 0);
            }
        }
    }

    #[test]
    fn what_is_frequent_stays_among_many_that_come_once() {
        let mut frequent = Frequent::new(1_000, 1 << 20);
        for at in 0..100_000i64 {
            frequent.add(b"", format!("once {at}").as_bytes(), one(at));
            if at % 10 == 0 {
                frequent.add(b"", b"often", one(at));
            }
        }
        let (_, _, sum) = frequent.rows().find(|(_, value, _)| *value == b"often").expect("still there");
        // Each step takes 1 from at least 500 rows, and 110,000 were added.
        assert!(frequent.error_max() <= 220 && sum.count + frequent.error_max() >= 10_000 && sum.count <= 10_000);
    }

    #[test]
    fn pairs_that_join_to_the_same_text_are_two() {
        let mut frequent = Frequent::unbounded();
        frequent.add(b"a", b"bc", one(1));
        frequent.add(b"ab", b"c", one(2));
        frequent.add(b"a", b"bc", one(3));
        let rows: Vec<_> = frequent.rows().map(|(by, value, sum)| (by.to_vec(), value.to_vec(), sum.count, sum.first, sum.last)).collect();
        assert_eq!(rows, [(b"a".to_vec(), b"bc".to_vec(), 2, 1, 3), (b"ab".to_vec(), b"c".to_vec(), 1, 2, 2)]);
    }
}
