//! What the days of each sensor come to, in a few numbers for each day: what anomalies are looked for in.
//!
//! From sidecars and live indexes alone, exactly. Sensors are read so many at once that their days together stay bounded. What lies in
//! one segment only, the addresses of a day or a session, is counted as it passes by; the rest is remembered, part by part where it is
//! too much.
use super::SEED;
use super::distinct;
use super::part::{CellTable, ValueRange};
use super::period::{Scope, each_activity, overlapping};
use super::search::{Segment, View};
use super::sidecar::SidecarError;
use crate::events::act::Act;
use crate::events::time::day_of;
use crate::events::{Field, Micros};
use hashbrown::HashTable;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Days of sensors that are held at once: 40 bytes each.
const ROWS_MAX: usize = 100_000;
/// Addresses and days, or sessions, that are told apart at once: about 40 bytes each.
const TOLD_APART_MAX: usize = 200_000;
/// Places where keys of sessions leave a mark, as a power of two.
const MARKS: u32 = 23;

/// Bounds on memory.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    rows_max: usize,
    told_apart_max: usize,
    marks: u32,
}

/// A sensor's day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayFigures {
    pub events: u64,
    /// Whose first event lies in the day.
    pub sessions: u64,
    /// Distinct.
    pub addresses: u64,
    pub downloads: u64,
    /// A bit for each hour in which something happened, the lowest for the first.
    pub hours: u32,
}

/// A sensor and its days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorDays<'a> {
    pub sensor: &'a [u8],
    /// The first day on which it was seen, among all that is kept.
    pub first_seen: i32,
    /// One for each day that was asked for.
    pub days: &'a [DayFigures],
}

/// Calls `each` with every sensor that was ever seen up to the last of the days, or with the one that is asked for if it was, by name.
/// Sessions and addresses are counted from the day `whole_from` on; the days before it have 0 of them.
pub fn each_sensor(
    view: &View,
    days: &RangeInclusive<i32>,
    whole_from: i32,
    sensor: Option<&[u8]>,
    each: &mut dyn FnMut(SensorDays<'_>),
) -> Result<(), SidecarError> {
    let bounds = Bounds { rows_max: ROWS_MAX, told_apart_max: TOLD_APART_MAX, marks: MARKS };
    each_sensor_within(view, days, whole_from, sensor, bounds, each)
}

fn each_sensor_within(
    view: &View,
    days: &RangeInclusive<i32>,
    whole_from: i32,
    sensor: Option<&[u8]>,
    bounds: Bounds,
    each: &mut dyn FnMut(SensorDays<'_>),
) -> Result<(), SidecarError> {
    let mut firsts = first_seen(view)?;
    firsts.retain(|name, first| *first <= *days.end() && sensor.is_none_or(|wanted| wanted == &**name));
    let sensors: Vec<(Box<[u8]>, i32)> = firsts.into_iter().collect();
    let per_sensor = (days.end() - days.start() + 1).max(0) as usize;
    for sensors in sensors.chunks((bounds.rows_max / per_sensor.max(1)).max(1)) {
        let mut figures =
            Figures { sensors, days: days.clone(), per_sensor, rows: vec![DayFigures::default(); sensors.len() * per_sensor] };
        figures.read(view, whole_from, bounds)?;
        for ((name, first_seen), days) in sensors.iter().zip(figures.rows.chunks(per_sensor.max(1))) {
            each(SensorDays { sensor: name, first_seen: *first_seen, days });
        }
    }
    Ok(())
}

/// Every sensor with the first day on which it was seen.
pub fn first_seen(view: &View) -> Result<BTreeMap<Box<[u8]>, i32>, SidecarError> {
    let mut firsts = BTreeMap::<Box<[u8]>, i32>::new();
    for segment in &view.segments {
        segment.with_index(&mut |index| {
            let CellTable { sensors, cells } = index.cells()?;
            let mut here = vec![i32::MAX; sensors.len()];
            for cell in &cells {
                if let Some(first) = here.get_mut(cell.sensor as usize) {
                    *first = cell.day.min(*first);
                }
            }
            for (name, first) in sensors.into_iter().zip(here).filter(|(_, first)| *first < i32::MAX) {
                let known = firsts.entry(name).or_insert(first);
                *known = first.min(*known);
            }
            Ok(())
        })?;
    }
    Ok(firsts)
}

/// The days of some sensors, which are in the order of their names.
struct Figures<'s> {
    sensors: &'s [(Box<[u8]>, i32)],
    days: RangeInclusive<i32>,
    per_sensor: usize,
    /// By sensor, then by day.
    rows: Vec<DayFigures>,
}

impl Figures<'_> {
    fn number(&self, sensor: &[u8]) -> Option<usize> {
        self.sensors.binary_search_by(|(name, _)| (**name).cmp(sensor)).ok()
    }

    fn row(&self, sensor: usize, day: i32) -> Option<usize> {
        self.days.contains(&day).then(|| sensor * self.per_sensor + (day - self.days.start()) as usize)
    }

    fn read(&mut self, view: &View, whole_from: i32, bounds: Bounds) -> Result<(), SidecarError> {
        let sensor = if let [(name, _)] = self.sensors { Some(name.to_vec()) } else { None };
        let scope = Scope { days: self.days.clone(), sensor };
        each_activity(view, &scope, &mut |hour, sensor, acts| {
            if let Some(row) = self.number(sensor).and_then(|sensor| self.row(sensor, hour.div_euclid(24))) {
                let figures = &mut self.rows[row];
                figures.events += acts.events();
                figures.downloads += u64::from(acts.of(Act::Download));
                figures.hours |= 1 << hour.rem_euclid(24);
            }
        })?;
        let whole = Scope { days: whole_from.max(*self.days.start())..=*self.days.end(), ..scope };
        self.sessions(view, &whole, bounds)?;
        self.addresses(&overlapping(view, &whole)?, &whole, bounds.told_apart_max)
    }

    /// A session counts on the day of its first event, and so once, whatever segments it lies in.
    fn sessions(&mut self, view: &View, scope: &Scope, bounds: Bounds) -> Result<(), SidecarError> {
        let (mut inside, mut before, mut marks) = (Vec::new(), Vec::new(), Marks::new(bounds.marks));
        for segment in &view.segments {
            segment.with_index(&mut |index| {
                // What comes behind the days cannot be the first of a session that has events in them.
                let Some((min, max)) = index.time_span().filter(|(min, _)| day_of(*min) <= *scope.days.end()) else { return Ok(()) };
                debug_assert!(min <= max);
                let place = if day_of(max) >= *scope.days.start() { &mut inside } else { &mut before };
                place.push(segment);
                index.each_session_key(0..=u64::MAX, &mut |key| marks.note(key))
            })?;
        }
        let mut parts = vec![Part::ALL];
        let mut is_first = true;
        let mut known: HashMap<(u64, u32), Micros, foldhash::fast::RandomState> = HashMap::default();
        while let Some(mut part) = parts.pop() {
            known.clear();
            for segment in &inside {
                segment.with_index(&mut |index| {
                    let sensors: Vec<Option<usize>> = index.cells()?.sensors.iter().map(|name| self.number(name)).collect();
                    index.each_session_start(&mut |key, sensor, first| {
                        let Some(&Some(sensor)) = sensors.get(sensor as usize) else { return };
                        match marks.of(key) {
                            // Came meanwhile, and waits for the next question.
                            Marked::Never => {}
                            Marked::Once => {
                                if let Some(row) = self.row(sensor, day_of(first)).filter(|_| is_first) {
                                    self.rows[row].sessions += u64::from(scope.days.contains(&day_of(first)));
                                }
                            }
                            Marked::Often if part.has(SEED.hash_one(key)) => {
                                let earliest = known.entry((key, sensor as u32)).or_insert(first);
                                *earliest = first.min(*earliest);
                                while known.len() > bounds.told_apart_max && part.of < PART_BITS_MAX {
                                    parts.push(part.cut());
                                    known.retain(|(key, _), _| part.has(SEED.hash_one(*key)));
                                }
                            }
                            Marked::Often => {}
                        }
                    })
                })?;
            }
            debug_assert!(known.len() <= bounds.told_apart_max || part.of == PART_BITS_MAX);
            let mut keys: Vec<u64> = known.keys().map(|(key, _)| *key).collect();
            keys.sort_unstable();
            keys.dedup();
            for segment in &before {
                segment.with_index(&mut |index| {
                    let sensors: Vec<Option<usize>> = index.cells()?.sensors.iter().map(|name| self.number(name)).collect();
                    index.sessions_among(&keys, &mut |entry| {
                        let Some(&Some(sensor)) = sensors.get(entry.sensor as usize) else { return };
                        if let Some(earliest) = known.get_mut(&(entry.key, sensor as u32)) {
                            *earliest = entry.first.min(*earliest);
                        }
                    })
                })?;
            }
            for (&(_, sensor), first) in &known {
                if let Some(row) = self.row(sensor as usize, day_of(*first)) {
                    self.rows[row].sessions += u64::from(scope.days.contains(&day_of(*first)));
                }
            }
            is_first = false;
        }
        Ok(())
    }

    fn addresses(&mut self, segments: &[Arc<dyn Segment>], scope: &Scope, pairs_max: usize) -> Result<(), SidecarError> {
        let mut held_by = vec![0u32; self.rows.len()];
        // As they are now: a segment that is written meanwhile may get more cells, which wait for the next question.
        let mut rows_of = Vec::with_capacity(segments.len());
        for segment in segments {
            segment.with_index(&mut |index| {
                let rows = self.rows_of(&index.cells()?, scope);
                rows.iter().flatten().for_each(|&row| held_by[row as usize] += 1);
                rows_of.push(rows);
                Ok(())
            })?;
        }
        // Hashes with the same last bits are looked at together: so many of these as fit into memory.
        let mut parts = vec![Part::ALL];
        let mut is_first = true;
        let mut known: HashTable<(u64, u64, u32)> = HashTable::new();
        while let Some(mut part) = parts.pop() {
            known.clear();
            for (segment, rows) in segments.iter().zip(&rows_of) {
                // What no other segment has need not be looked at again.
                if !rows.iter().flatten().any(|&row| is_first || held_by[row as usize] > 1) {
                    continue;
                }
                segment.with_index(&mut |index| {
                    index.each_entry(Field::SrcIp, ValueRange::ALL, &mut |_| true, &mut |value, entry| {
                        let mut hashes = None;
                        for &(cell, _) in &entry.cells {
                            let Some(&Some(row)) = rows.get(cell as usize) else { continue };
                            if held_by[row as usize] == 1 {
                                self.rows[row as usize].addresses += u64::from(is_first);
                                continue;
                            }
                            let (hash, second) = *hashes.get_or_insert_with(|| distinct::hashes(value));
                            if part.has(second) && known.find(hash, |pair| *pair == (hash, second, row)).is_none() {
                                known.insert_unique(hash, (hash, second, row), |pair| pair.0);
                            }
                        }
                        while known.len() > pairs_max && part.of < PART_BITS_MAX {
                            parts.push(part.cut());
                            known.retain(|pair| part.has(pair.1));
                        }
                    })
                })?;
            }
            debug_assert!(known.len() <= pairs_max || part.of == PART_BITS_MAX);
            known.iter().for_each(|pair| self.rows[pair.2 as usize].addresses += 1);
            is_first = false;
        }
        Ok(())
    }

    /// For each cell of a segment the row it belongs to, if that is among these.
    fn rows_of(&self, table: &CellTable, scope: &Scope) -> Vec<Option<u32>> {
        let row = |cell: &super::part::CellRow| {
            let sensor = self.number(table.sensors.get(cell.sensor as usize)?)?;
            self.row(sensor, cell.day).filter(|_| scope.days.contains(&cell.day)).map(|row| row as u32)
        };
        table.cells.iter().map(row).collect()
    }
}

/// Which keys of sessions were seen, and which perhaps more than once: in two bits each, however many there are.
struct Marks {
    seen: Vec<u64>,
    again: Vec<u64>,
    shift: u32,
}

enum Marked {
    Never,
    Once,
    /// Or another key has the same place.
    Often,
}

impl Marks {
    fn new(bits: u32) -> Marks {
        let words = 1usize << (bits - 6);
        Marks { seen: vec![0; words], again: vec![0; words], shift: u64::BITS - bits }
    }

    fn place(&self, key: u64) -> (usize, u64) {
        // A segment's keys ascend: with the first of their digits in front, which honeypots draw at random, so do their places, and few of
        // them are far from the one before. Keys that somebody chose to have one place are told apart the longer way.
        let digits = (key >> 60) as u32;
        let place = (key << (64 - 4 * digits.clamp(1, 15))) >> self.shift;
        ((place >> 6) as usize, 1 << (place & 63))
    }

    fn note(&mut self, key: u64) {
        let (word, bit) = self.place(key);
        self.again[word] |= self.seen[word] & bit;
        self.seen[word] |= bit;
    }

    fn of(&self, key: u64) -> Marked {
        let (word, bit) = self.place(key);
        match (self.seen[word] & bit != 0, self.again[word] & bit != 0) {
            (false, _) => Marked::Never,
            (true, false) => Marked::Once,
            (true, true) => Marked::Often,
        }
    }
}

const PART_BITS_MAX: u32 = 40;

/// Hashes whose last `of` bits are `bits`.
#[derive(Clone, Copy)]
struct Part {
    bits: u64,
    of: u32,
}

impl Part {
    const ALL: Part = Part { bits: 0, of: 0 };

    fn has(self, hash: u64) -> bool {
        hash & ((1 << self.of) - 1) == self.bits
    }

    /// Halves it, and answers the other half.
    fn cut(&mut self) -> Part {
        let other = Part { bits: self.bits | 1 << self.of, of: self.of + 1 };
        self.of += 1;
        other
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Blocks, RECEIVED_AT, blocks, view};
    use super::super::session_key;
    use super::*;
    use crate::events::time::hour_of;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn says_what_a_scan_of_all_events_says(
            segments in proptest::collection::vec(blocks(0..150, 1), 1..5),
            (back, more) in (0..6i32, 0..9i32),
            sensor in prop::sample::select(vec![None, Some(&b"node1"[..]), Some(b""), Some(b"none such")]),
            whole in 0..4i32,
            bounds in (1..40usize, 1..60usize, 6..12u32).prop_map(|(rows_max, told_apart_max, marks)| Bounds { rows_max, told_apart_max, marks }),
        ) {
            let view = view(&segments);
            let first = day_of(RECEIVED_AT) - back;
            let days = first..=first + more;
            let events: Vec<_> = segments.iter().flat_map(Blocks::events).map(|(_, _, _, event)| event).collect();
            let mut expected = BTreeMap::<Vec<u8>, (i32, Vec<DayFigures>)>::new();
            let mut addresses = BTreeMap::<(Vec<u8>, i32), BTreeSet<Vec<u8>>>::new();
            let mut sessions = BTreeMap::<(Vec<u8>, u64), Micros>::new();
            for event in &events {
                let day = day_of(event.time);
                let new = || (day, vec![DayFigures::default(); more as usize + 1]);
                let (first_seen, figures) = expected.entry(event.sensor.clone()).or_insert_with(new);
                *first_seen = day.min(*first_seen);
                if let Some(figures) = figures.get_mut((day - first) as usize).filter(|_| days.contains(&day)) {
                    figures.events += 1;
                    figures.downloads += u64::from(event.act == Act::Download);
                    figures.hours |= 1 << hour_of(event.time).rem_euclid(24);
                }
                let here = event.terms.iter().filter(|term| term.0 == Field::SrcIp).map(|term| term.1.clone());
                addresses.entry((event.sensor.clone(), day)).or_default().extend(here);
                if let Some(session) = &event.session {
                    let first = sessions.entry((event.sensor.clone(), session_key(session))).or_insert(event.time);
                    *first = event.time.min(*first);
                }
            }
            let whole = first + whole..=first + more;
            for ((sensor, day), addresses) in addresses.iter().filter(|((_, day), _)| whole.contains(day)) {
                expected.get_mut(sensor).unwrap().1[(day - first) as usize].addresses = addresses.len() as u64;
            }
            for ((sensor, _), time) in sessions.iter().filter(|(_, time)| whole.contains(&day_of(**time))) {
                expected.get_mut(sensor).unwrap().1[(day_of(*time) - first) as usize].sessions += 1;
            }
            expected.retain(|name, (first, _)| *first <= *days.end() && sensor.is_none_or(|wanted| wanted == &**name));
            let mut found = BTreeMap::new();
            each_sensor_within(&view, &days, *whole.start(), sensor, bounds, &mut |of| {
                assert!(found.insert(of.sensor.to_vec(), (of.first_seen, of.days.to_vec())).is_none());
            }).unwrap();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn parts_share_all_hashes_and_none_twice() {
        let mut parts = vec![Part::ALL];
        for at in [0, 0, 1, 2, 0] {
            let other = parts[at].cut();
            parts.push(other);
        }
        for hash in 0..1_000u64 {
            assert_eq!(parts.iter().filter(|part| part.has(hash)).count(), 1, "{hash}");
        }
    }
}
