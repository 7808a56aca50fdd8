//! Ages of sensors that differ from the journal's: how long a segment's lines stay, and whose events go before the rest of their segment.
use super::erase::{EraseError, Erased, Whose};
use super::{RetentionPlan, Store};
use crate::events::Micros;
use crate::events::time::MICROS_PER_DAY;
use crate::index::part::IndexPart;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// So many segments are looked through in one go; the rest waits for the next.
const SEGMENTS_AT_ONCE: usize = 2;

/// How long the events of some sensors are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorAge {
    /// A name, or a pattern such as `dmz-*`.
    pub sensors: glob::Pattern,
    /// `None`: forever.
    pub days: Option<u32>,
}

/// All of them; of several that name a sensor the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SensorAges(Arc<[SensorAge]>);

impl SensorAges {
    pub fn new(ages: Vec<SensorAge>) -> SensorAges {
        SensorAges(ages.into())
    }

    /// Days that a sensor's events are kept where nothing is said of it: `others`.
    fn of(&self, sensor: &[u8], others: Option<u32>) -> Option<u32> {
        let name = String::from_utf8_lossy(sensor);
        self.0.iter().find(|age| age.sensors.matches(&name)).map_or(others, |age| age.days)
    }

    /// Days that the lines of a segment are kept. One whose sensors cannot be read stays.
    pub(super) fn of_segment(&self, index: &dyn IndexPart, others: Option<u32>) -> Option<u32> {
        if self.0.is_empty() { others } else { self.longest(&index.cells().ok()?.sensors, others) }
    }

    /// As long as any of these sensors.
    fn longest(&self, sensors: &[Box<[u8]>], others: Option<u32>) -> Option<u32> {
        if self.0.is_empty() || sensors.is_empty() {
            return others;
        }
        sensors.iter().map(|sensor| self.of(sensor, others)).try_fold(0, |longest, days| Some(days?.max(longest)))
    }
}

/// A segment that stays, as the decision sees it.
#[derive(Clone, Debug)]
struct Staying<'a> {
    number: u64,
    time_max: Micros,
    /// A sink has yet to deliver from it.
    needed: bool,
    sensors: &'a [Box<[u8]>],
}

/// Whose events go from which segments, oldest first: sensors past their age, when all of the segment's time is.
fn decide(ages: &SensorAges, others: Option<u32>, staying: &[Staying<'_>], now: Micros) -> Vec<(u64, BTreeSet<Vec<u8>>)> {
    if ages.0.is_empty() {
        return Vec::new();
    }
    let is_past = |segment: &Staying<'_>, sensor: &[u8]| {
        ages.of(sensor, others).is_some_and(|days| segment.time_max < now - i64::from(days) * MICROS_PER_DAY)
    };
    let of_segment = |segment: &Staying<'_>| -> BTreeSet<Vec<u8>> {
        segment.sensors.iter().filter(|sensor| is_past(segment, sensor)).map(|sensor| sensor.to_vec()).collect()
    };
    // What a sink still needs goes as a whole when it does not any more; what waits behind it likewise, unless it waits for an age.
    let free = staying.iter().filter(|segment| !segment.needed);
    free.map(|segment| (segment.number, of_segment(segment))).filter(|(_, sensors)| !sensors.is_empty()).collect()
}

/// What is remembered of work that was done.
#[derive(Debug, Default)]
pub(crate) struct Aged {
    pub ages: SensorAges,
    /// Segments and sensors of which all events are gone; once per process they are looked for.
    done: HashSet<(u64, Vec<u8>)>,
}

impl Store {
    /// From now on the events of these sensors have ages of their own.
    pub fn keep_by_sensor(&self, ages: SensorAges) {
        self.aged().ages = ages;
    }

    pub fn has_sensor_ages(&self) -> bool {
        !self.aged().ages.0.is_empty()
    }

    pub(super) fn aged(&self) -> std::sync::MutexGuard<'_, Aged> {
        self.0.aged.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Erases the events of sensors that are past their age from segments that stay for others; `erase` does it, for it is recorded.
    /// Answers whether there is more to be done. Segments that cannot be rewritten are passed over.
    pub fn erase_aged<E: From<EraseError>, Erase: FnMut(u64, &[u64]) -> Result<Option<Erased>, E>>(
        &self,
        plan: RetentionPlan,
        now: Micros,
        mut erase: Erase,
    ) -> Result<bool, E> {
        let view = self.view();
        let held_from = self.held_from().unwrap_or(u64::MAX);
        let ages = self.aged().ages.clone();
        if ages.0.is_empty() {
            return Ok(false);
        }
        // A sidecar that cannot be read keeps its segment, and no other.
        let evidence = view.sealed.iter().filter(|sealed| sealed.file.is_some());
        let (tables, sensors): (Vec<_>, Vec<_>) =
            evidence.filter_map(|sealed| Some((sealed, sealed.sidecar.cells().ok()?.sensors))).unzip();
        let staying: Vec<Staying<'_>> = tables
            .iter()
            .zip(&sensors)
            .map(|(sealed, sensors)| {
                let head = sealed.sidecar.head();
                Staying { number: sealed.number, time_max: head.time_max, needed: head.first_seq + head.events > held_from, sensors }
            })
            .collect();
        let decided = decide(&ages, plan.evidence_days, &staying, now);
        // Reading takes its time, and whoever commits looks here.
        let mut aged = self.aged();
        aged.done.retain(|(segment, _)| tables.iter().any(|sealed| sealed.number == *segment));
        let open = |(segment, sensors): (u64, BTreeSet<Vec<u8>>)| {
            let left: BTreeSet<Vec<u8>> = sensors.into_iter().filter(|sensor| !aged.done.contains(&(segment, sensor.clone()))).collect();
            (!left.is_empty()).then_some((segment, left))
        };
        let mut waiting: Vec<_> = decided.into_iter().filter_map(open).collect();
        let more = waiting.len() > SEGMENTS_AT_ONCE;
        waiting.truncate(SEGMENTS_AT_ONCE);
        // Reading and rewriting take their time: a reload must not wait for them.
        drop(aged);
        let mut batcher = self.batcher();
        for (segment, sensors) in waiting {
            let mut seqs = Vec::new();
            match self.events_of(segment, Whose::OfSensors(&sensors), &mut batcher, &mut |event| seqs.push(event.seq)) {
                Err(error) if !error.is_about_one_segment() => return Err(error.into()),
                Ok(()) if !seqs.is_empty() => drop(erase(segment, &seqs)?),
                _ => {}
            }
            self.aged().done.extend(sensors.into_iter().map(|sensor| (segment, sensor)));
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Micros = MICROS_PER_DAY;

    fn ages(all: &[(&str, Option<u32>)]) -> SensorAges {
        let age = |&(sensors, days): &(&str, Option<u32>)| SensorAge { sensors: glob::Pattern::new(sensors).unwrap(), days };
        SensorAges::new(all.iter().map(age).collect())
    }

    fn sensors(names: &[&str]) -> Vec<Box<[u8]>> {
        names.iter().map(|name| name.as_bytes().into()).collect()
    }

    #[test]
    fn a_segment_stays_as_long_as_any_of_its_sensors() {
        let ages = ages(&[("dmz-1", Some(10)), ("dmz-*", Some(90)), ("vault", None)]);
        for (names, others, expected) in [
            (&["dmz-1"][..], Some(30), Some(10)),
            (&["dmz-1", "dmz-2"], Some(30), Some(90)),
            (&["dmz-1", "office"], Some(30), Some(30)),
            (&["dmz-1", "office"], None, None),
            (&["dmz-1", "vault"], Some(30), None),
            (&[""], Some(30), Some(30)),
            (&[], Some(30), Some(30)),
        ] {
            assert_eq!(ages.longest(&sensors(names), others), expected, "{names:?}");
        }
        assert_eq!(SensorAges::default().longest(&sensors(&["dmz-1"]), Some(7)), Some(7));
    }

    #[test]
    fn events_go_from_segments_that_stay_when_their_sensor_is_past_its_age() {
        let ages = ages(&[("dmz-*", Some(10)), ("vault", None)]);
        let (mixed, old, young) = (sensors(&["dmz-1", "dmz-2", "office", "vault"]), sensors(&["dmz-1"]), sensors(&["dmz-1", "vault"]));
        let staying = |number, day: i64, needed, sensors| Staying { number, time_max: day * DAY, needed, sensors };
        let segments =
            [staying(1, 80, false, &mixed[..]), staying(2, 60, false, &old), staying(3, 95, false, &young), staying(4, 50, true, &mixed)];
        let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<BTreeSet<_>>();
        for (others, now, expected) in [
            (Some(30), 100, vec![(1, names(&["dmz-1", "dmz-2"])), (2, names(&["dmz-1"]))]),
            (Some(10), 100, vec![(1, names(&["dmz-1", "dmz-2", "office"])), (2, names(&["dmz-1"]))]),
            (None, 106, vec![(1, names(&["dmz-1", "dmz-2"])), (2, names(&["dmz-1"])), (3, names(&["dmz-1"]))]),
            (None, 70, vec![]),
        ] {
            assert_eq!(decide(&ages, others, &segments, now * DAY), expected, "{others:?} {now}");
        }
        assert_eq!(decide(&SensorAges::default(), Some(1), &segments, 1_000 * DAY), vec![], "without such ages nothing is rewritten");
    }
}
