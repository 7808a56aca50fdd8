//! What happened in a period of whole days, at one sensor or at all of them: what reports are made of.
//!
//! Everything is read from sidecars and live indexes, exactly, at a memory that the period does not change: values are tallied range
//! by range, sessions likewise. No event is read.
use super::frequent::Frequent;
use super::part::{TermSummary, ValueRange};
use super::search::{Segment, View};
use super::sidecar::SidecarError;
use super::top::{Best, TALLY_TERMS_MAX, TopRow, ranges, rank_of_time, splits};
use crate::events::act::{Acts, Sequence};
use crate::events::marks::Marks;
use crate::events::time::{MICROS_PER_DAY, day_of};
use crate::events::{Field, Micros};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Sessions added up at once: about 150 bytes each.
const SESSIONS_MAX: usize = 50_000;

/// Days, and perhaps a sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Since 1970-01-01, UTC.
    pub days: RangeInclusive<i32>,
    /// `None`: all of them.
    pub sensor: Option<Vec<u8>>,
}

impl Scope {
    fn from(&self) -> Micros {
        Micros::from(*self.days.start()) * MICROS_PER_DAY
    }

    fn to(&self) -> Micros {
        (Micros::from(*self.days.end()) + 1) * MICROS_PER_DAY
    }

    fn has_sensor(&self, sensor: &[u8]) -> bool {
        self.sensor.as_deref().is_none_or(|wanted| wanted == sensor)
    }
}

/// The segments that hold events of the scope's days.
pub(super) fn overlapping(view: &View, scope: &Scope) -> Result<Vec<Arc<dyn Segment>>, SidecarError> {
    let mut found = Vec::new();
    for segment in &view.segments {
        segment.with_index(&mut |index| {
            if index.time_span().is_some_and(|(min, max)| day_of(max) >= *scope.days.start() && day_of(min) <= *scope.days.end()) {
                found.push(segment.clone());
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Acts by hour (since 1970-01-01) and sensor; the same hour and sensor may come several times.
pub fn each_activity(view: &View, scope: &Scope, each: &mut dyn FnMut(i32, &[u8], &Acts)) -> Result<(), SidecarError> {
    let hours = *scope.days.start() * 24..(*scope.days.end() + 1) * 24;
    for segment in overlapping(view, scope)? {
        segment.with_index(&mut |index| {
            let sensors = index.cells()?.sensors;
            for row in index.activity()? {
                if let Some(sensor) = sensors.get(row.sensor as usize)
                    && hours.contains(&row.hour)
                    && scope.has_sensor(sensor)
                {
                    each(row.hour, sensor, &row.acts);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What of a value is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The /24 of an IPv4 address, as `203.0.113`; other values do not count.
    Network,
    /// The URL of a [`Field::Download`]; downloads without one do not count.
    Url,
}

impl Part {
    fn of(self, value: &[u8]) -> Option<&[u8]> {
        match self {
            Part::Whole => Some(value),
            Part::Network => {
                let address: std::net::Ipv4Addr = std::str::from_utf8(value).ok()?.parse().ok()?;
                let last = memchr::memrchr(b'.', value)?;
                (!address.is_unspecified()).then(|| &value[..last])
            }
            Part::Url => memchr::memrchr(b' ', value).map(|end| &value[..end]),
        }
    }

    /// Moves a value at which a dictionary may be cut to where no part is cut in two. All values with one part begin with it and one
    /// byte more, so a cut that does not begin so has all of them on one side.
    fn cut(self, mut at: Vec<u8>) -> Vec<u8> {
        let end = match self {
            Part::Whole => None,
            Part::Network => at.iter().enumerate().filter(|(_, byte)| **byte == b'.').nth(2).map(|(end, _)| end),
            Part::Url => memchr::memchr(b' ', &at),
        };
        at.truncate(end.unwrap_or(at.len()));
        at
    }
}

/// Every value of `field` in the scope's events, in no order, with how many of them have it. `first` and `last` are those of the
/// segments that hold such events, or, with `first_of_all`, `first` is the value's first time ever, at any sensor.
pub fn each_value(
    view: &View,
    (field, part): (Field, Part),
    scope: &Scope,
    first_of_all: bool,
    each: &mut dyn FnMut(&[u8], TermSummary),
) -> Result<(), SidecarError> {
    each_value_within(view, (field, part), scope, first_of_all, TALLY_TERMS_MAX, each)
}

fn each_value_within(
    view: &View,
    (field, part): (Field, Part),
    scope: &Scope,
    first_of_all: bool,
    terms_max: u64,
    each: &mut dyn FnMut(&[u8], TermSummary),
) -> Result<(), SidecarError> {
    let overlapping = overlapping(view, scope)?;
    let mut splits: Vec<Vec<u8>> = splits(&overlapping, field, terms_max)?.into_iter().map(|at| part.cut(at)).collect();
    splits.dedup();
    let mut tally = Frequent::unbounded();
    let add = |tally: &mut Frequent, value: &[u8], summary: TermSummary| {
        if let Some(part) = part.of(value) {
            tally.add(b"", part, summary);
        }
    };
    for range in ranges(&splits) {
        tally.clear();
        for segment in &overlapping {
            segment.with_index(&mut |index| {
                if index.terms_len(field) == 0 {
                    return Ok(());
                }
                let table = index.cells()?;
                let wanted = |cell: &super::part::CellRow| {
                    let sensor = table.sensors.get(cell.sensor as usize);
                    scope.days.contains(&cell.day) && sensor.is_some_and(|sensor| scope.has_sensor(sensor))
                };
                let wanted: Vec<bool> = table.cells.iter().map(wanted).collect();
                if wanted.iter().all(|wanted| *wanted) {
                    return index.each_term(field, range, &mut |value, summary| add(&mut tally, value, summary));
                }
                if !wanted.contains(&true) {
                    return Ok(());
                }
                index.each_entry(field, range, &mut |_| true, &mut |value, entry| {
                    let cells = entry.cells.iter().filter(|cell| wanted.get(cell.0 as usize).is_some_and(|wanted| *wanted));
                    let count = cells.map(|&(_, count)| u64::from(count)).sum();
                    if count > 0 {
                        add(&mut tally, value, TermSummary { count, ..entry.summary });
                    }
                })
            })?;
        }
        if first_of_all {
            seen_before(view, (field, part), range, scope.to(), &mut tally)?;
        }
        tally.rows().for_each(|(_, value, summary)| each(value, summary));
    }
    Ok(())
}

/// Sets the first times of values that were there, at whatever sensor, before the scope's end.
fn seen_before(
    view: &View,
    (field, part): (Field, Part),
    range: ValueRange<'_>,
    before: Micros,
    tally: &mut Frequent,
) -> Result<(), SidecarError> {
    for segment in &view.segments {
        segment.with_index(&mut |index| match index.time_span() {
            Some((min, _)) if min < before => index.each_term(field, range, &mut |value, summary| {
                if let Some(part) = part.of(value) {
                    tally.seen(b"", part, summary.first);
                }
            }),
            _ => Ok(()),
        })?;
    }
    Ok(())
}

/// What the values of a field come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    pub distinct: u64,
    /// Those with most events.
    pub top: Vec<TopRow>,
    /// Values whose first event ever lies in the scope's days: how many, and the first `limit` of them by their first time.
    pub new: u64,
    pub newest: Vec<TopRow>,
}

/// Counts the values of a field and lists `limit` of them. With `news`, those that are new are told as well.
pub fn values(view: &View, counted: (Field, Part), scope: &Scope, limit: usize, news: bool) -> Result<Values, SidecarError> {
    let (mut best, mut earliest, mut values) = (Best::new(limit), Best::new(limit), Values::default());
    each_value(view, counted, scope, news, &mut |value, summary| {
        values.distinct += 1;
        best.add(summary.count, b"", value, summary);
        if news && summary.first >= scope.from() {
            values.new += 1;
            earliest.add(!rank_of_time(summary.first), b"", value, summary);
        }
    })?;
    (values.top, values.newest) = (best.into_rows(false), earliest.into_rows(false));
    Ok(values)
}

/// One session, all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTotals {
    /// [`super::session_key`] of its id.
    pub key: u64,
    pub first: Micros,
    pub last: Micros,
    pub acts: Acts,
    pub sequence: Sequence,
    pub marks: Marks,
}

/// Every session whose first event lies in the scope's days, in no order, with its sensor and all that it did on whatever days.
pub fn each_session(view: &View, scope: &Scope, each: &mut dyn FnMut(&[u8], &SessionTotals)) -> Result<(), SidecarError> {
    each_session_within(view, scope, SESSIONS_MAX, each)
}

fn each_session_within(
    view: &View,
    scope: &Scope,
    sessions_max: usize,
    each: &mut dyn FnMut(&[u8], &SessionTotals),
) -> Result<(), SidecarError> {
    let overlapping = overlapping(view, scope)?;
    let mut splits: Vec<u64> = Vec::new();
    for segment in &overlapping {
        segment.with_index(&mut |index| index.each_session_split(&mut |key| splits.push(key)))?;
    }
    splits.sort_unstable();
    // A stretch between two neighbours has at most as many sessions as a group of one segment.
    let stride = (sessions_max / super::sessions::GROUP_ROWS).max(1);
    let mut starts: Vec<u64> = splits.into_iter().step_by(stride).skip(1).collect();
    starts.dedup();
    starts.insert(0, 0);
    let mut sensors = Numbered::default();
    let mut sessions: HashMap<(u64, u32), SessionTotals, foldhash::fast::RandomState> = HashMap::default();
    let mut wanted: Vec<u64> = Vec::new();
    for (piece, &from) in starts.iter().enumerate() {
        let keys = from..=starts.get(piece + 1).map_or(u64::MAX, |next| next - 1);
        sessions.clear();
        wanted.clear();
        for segment in &overlapping {
            segment.with_index(&mut |index| index.each_session_key(keys.clone(), &mut |key| wanted.push(key)))?;
        }
        wanted.sort_unstable();
        wanted.dedup();
        // A session may have begun, or gone on, in any segment; its parts join in the order of the segments.
        for segment in &view.segments {
            segment.with_index(&mut |index| {
                let numbers: Vec<u32> = index.cells()?.sensors.iter().map(|name| sensors.number(name)).collect();
                index.sessions_among(&wanted, &mut |entry| {
                    let Some(&sensor) = numbers.get(entry.sensor as usize) else { return };
                    let (acts, sequence, marks) = (Acts::default(), Sequence::default(), Marks::default());
                    let new = SessionTotals { key: entry.key, first: entry.first, last: entry.last, acts, sequence, marks };
                    let session = sessions.entry((entry.key, sensor)).or_insert(new);
                    session.first = session.first.min(entry.first);
                    session.last = session.last.max(entry.last);
                    session.acts.add(&entry.acts);
                    session.sequence = session.sequence.then(entry.sequence);
                    session.marks.then(&entry.marks);
                })
            })?;
        }
        for (&(_, sensor), session) in &sessions {
            let sensor = &sensors.names[sensor as usize];
            if scope.has_sensor(sensor) && (scope.from()..scope.to()).contains(&session.first) {
                each(sensor, session);
            }
        }
    }
    Ok(())
}

/// Names, each with a number that it keeps.
#[derive(Default)]
struct Numbered {
    names: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, u32>,
}

impl Numbered {
    fn number(&mut self, name: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Blocks, RECEIVED_AT, blocks, view};
    use super::super::session_key;
    use super::*;
    use crate::events::time::hour_of;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn scope() -> impl Strategy<Value = Scope> {
        let sensor = prop::sample::select(vec![None, Some(&b"node1"[..]), Some(b"node2"), Some(b""), Some(b"none such")]);
        (0..5i32, 0..3i32, sensor).prop_map(|(back, more, sensor)| {
            let day = day_of(RECEIVED_AT) - back;
            Scope { days: day..=day + more, sensor: sensor.map(<[u8]>::to_vec) }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn says_what_a_scan_of_all_events_says(
            segments in proptest::collection::vec(blocks(0..150, 1), 1..5),
            scope in scope(),
            limit in 0..9usize,
            at_once in 1..60usize,
        ) {
            let view = view(&segments);
            let events: Vec<_> = segments.iter().flat_map(Blocks::events).map(|(_, _, _, event)| event).collect();
            let inside = |time: Micros| scope.days.contains(&day_of(time));

            let mut acts = BTreeMap::<(i32, Vec<u8>), Acts>::new();
            for event in events.iter().filter(|event| inside(event.time) && scope.has_sensor(&event.sensor)) {
                acts.entry((hour_of(event.time), event.sensor.clone())).or_default().count(event.act);
            }
            let mut found = BTreeMap::<(i32, Vec<u8>), Acts>::new();
            each_activity(&view, &scope, &mut |hour, sensor, acts| found.entry((hour, sensor.to_vec())).or_default().add(acts)).unwrap();
            prop_assert_eq!(found, acts);

            let whole = [Field::SrcIp, Field::Password, Field::Sensor, Field::Cve].map(|field| (field, Part::Whole));
            for (field, part) in whole.into_iter().chain([(Field::SrcIp, Part::Network)]) {
                let (mut counts, mut firsts) = (BTreeMap::<Vec<u8>, u64>::new(), BTreeMap::<Vec<u8>, Micros>::new());
                for event in &events {
                    for (_, value) in event.terms.iter().filter(|term| term.0 == field) {
                        let Some(value) = part.of(value) else { continue };
                        let value = &value.to_vec();
                        let first = firsts.entry(value.clone()).or_insert(event.time);
                        *first = event.time.min(*first);
                        if inside(event.time) && scope.has_sensor(&event.sensor) {
                            *counts.entry(value.clone()).or_default() += 1;
                        }
                    }
                }
                let mut found = BTreeMap::new();
                each_value_within(&view, (field, part), &scope, true, at_once as u64, &mut |value, summary| {
                    assert!(found.insert(value.to_vec(), (summary.count, summary.first)).is_none());
                }).unwrap();
                let expected: BTreeMap<_, _> = counts.iter().map(|(value, &count)| (value.clone(), (count, firsts[value]))).collect();
                prop_assert_eq!(&found, &expected);

                let values = values(&view, (field, part), &scope, limit, true).unwrap();
                let new = || expected.iter().filter(|(_, (_, first))| *first >= scope.from());
                prop_assert_eq!((values.distinct, values.new), (counts.len() as u64, new().count() as u64));
                let mut top: Vec<_> = counts.into_iter().collect();
                top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                top.truncate(limit);
                prop_assert_eq!(values.top.into_iter().map(|row| (row.value, row.count)).collect::<Vec<_>>(), top);
                let mut newest: Vec<_> = new().map(|(value, (_, first))| (*first, value.clone())).collect();
                newest.sort();
                newest.truncate(limit);
                prop_assert_eq!(values.newest.into_iter().map(|row| (row.first, row.value)).collect::<Vec<_>>(), newest);
            }

            let mut sessions = BTreeMap::<(Vec<u8>, u64), SessionTotals>::new();
            for event in &events {
                let Some(session) = &event.session else { continue };
                let (key, acts, sequence, marks) = (session_key(session), Acts::default(), Sequence::default(), Marks::default());
                let new = SessionTotals { key, first: event.time, last: event.time, acts, sequence, marks };
                let totals = sessions.entry((event.sensor.clone(), key)).or_insert(new);
                (totals.first, totals.last) = (totals.first.min(event.time), totals.last.max(event.time));
                totals.acts.count(event.act);
                totals.sequence = totals.sequence.then(event.sequence);
                totals.marks.then(&event.marks);
            }
            sessions.retain(|(sensor, _), totals| scope.has_sensor(sensor) && inside(totals.first));
            let mut found = BTreeMap::new();
            each_session_within(&view, &scope, at_once, &mut |sensor, totals| {
                assert!(found.insert((sensor.to_vec(), totals.key), *totals).is_none());
            }).unwrap();
            prop_assert_eq!(found, sessions);
        }
    }
}
