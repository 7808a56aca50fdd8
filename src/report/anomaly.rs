//! What is unusual for a sensor: numbers against the numbers of the days before, nothing else.
//!
//! `ops/REPORTS.md` says what is measured and how far is too far; [`judge`] is that page as a function. Medians, because the days
//! before may hold attacks themselves, and a mean would take these for the rule.
use serde::{Deserialize, Serialize};

/// What of a sensor's day is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    Events,
    Sessions,
    Addresses,
    Downloads,
    /// Hours.
    Silence,
}

impl Measure {
    pub const ALL: [Measure; 5] = [Measure::Events, Measure::Sessions, Measure::Addresses, Measure::Downloads, Measure::Silence];

    pub const fn name(self) -> &'static str {
        match self {
            Measure::Events => "events",
            Measure::Sessions => "sessions",
            Measure::Addresses => "addresses",
            Measure::Downloads => "downloads",
            Measure::Silence => "silence",
        }
    }

    pub fn parse(name: &str) -> Option<Measure> {
        Measure::ALL.into_iter().find(|measure| measure.name() == name)
    }

    pub const fn about(self) -> &'static str {
        match self {
            Measure::Events => "events of the day",
            Measure::Sessions => "sessions that began",
            Measure::Addresses => "distinct addresses",
            Measure::Downloads => "files that were downloaded",
            Measure::Silence => "longest stretch without an event, hours",
        }
    }
}

/// Which way a value is out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    High,
    Low,
}

impl Direction {
    pub const ALL: [Direction; 2] = [Direction::High, Direction::Low];

    pub const fn name(self) -> &'static str {
        match self {
            Direction::High => "high",
            Direction::Low => "low",
        }
    }
}

/// What counts as out of the ordinary: the configuration's `[anomalies]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Deviations from here on, either way.
    pub threshold: f64,
    /// Most days before that are looked at.
    pub baseline_days: u32,
    /// With fewer there is no verdict.
    pub min_days: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { threshold: 6.0, baseline_days: 28, min_days: 7 }
    }
}

/// How far a value is from what the days before let expect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// The median of the days before.
    pub expected: f64,
    /// In units of the usual spread.
    pub deviation: f64,
    /// `None`: nothing out of the ordinary.
    pub direction: Option<Direction>,
}

/// Holds a value against those of the days before, in any order; `None`: there are too few. Of a day that is `running`, only what is too
/// high already is told.
pub fn judge(measure: Measure, value: u64, before: &[u64], running: bool, rules: &Rules) -> Option<Deviation> {
    if before.is_empty() || before.len() < rules.min_days as usize {
        return None;
    }
    let (value, mut values): (f64, Vec<f64>) = (value as f64, before.iter().map(|&value| value as f64).collect());
    let expected = median(&mut values);
    // On this side of the median, at nine tenths of the way out: sensors that are busy one day in seven have wild days as a rule.
    let tenth = values.len() / 10;
    let outer = if value < expected { expected - values[tenth] } else { values[values.len() - 1 - tenth] - expected };
    values.iter_mut().for_each(|value| *value = (*value - expected).abs());
    let spread = (SIGMAS_PER_MAD * median(&mut values)).max(outer / SIGMAS_TO_TENTH);
    let floor = match measure {
        Measure::Silence => (expected / 4.0).max(1.0),
        _ => expected.sqrt().max(expected / 10.0).max(1.0),
    };
    let deviation = (value - expected) / spread.max(floor);
    let direction = match deviation {
        high if high >= rules.threshold => Some(Direction::High),
        low if low <= -rules.threshold && !running => Some(Direction::Low),
        _ => None,
    };
    Some(Deviation { expected, deviation, direction })
}

/// Of a normal distribution; and how far out its outermost tenth begins.
const SIGMAS_PER_MAD: f64 = 1.4826;
const SIGMAS_TO_TENTH: f64 = 1.2816;

/// Puts them in order. They are no NaN, and there is at least one.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { threshold: 6.0, baseline_days: 28, min_days: 7 };

    #[test]
    fn values_are_held_against_the_days_before() {
        use Direction::{High, Low};
        use Measure::{Downloads, Events, Silence};
        let wild = [100, 90, 110, 100, 95, 105, 9_000, 0, 100, 100];
        // Busy on one day of seven.
        let weekly: Vec<u64> = (0..28).map(|day| if day % 7 == 0 { 500 + day } else { 0 }).collect();
        let weekly = &weekly[..];
        let sparse = [0, 0, 3, 0, 1, 0, 0, 0];
        for (measure, value, before, expected, deviation, direction) in [
            // √m is the scale: 100 ± 10.
            (Events, 100, &[100; 7][..], 100.0, 0.0, None),
            (Events, 159, &[100; 7], 100.0, 5.9, None),
            (Events, 160, &[100; 7], 100.0, 6.0, Some(High)),
            (Events, 40, &[100; 7], 100.0, -6.0, Some(Low)),
            (Events, 41, &[100; 7], 100.0, -5.9, None),
            // A tenth of the median is: 10,000 ± 1,000.
            (Events, 15_999, &[10_000; 28], 10_000.0, 5.999, None),
            (Events, 4_000, &[10_000; 28], 10_000.0, -6.0, Some(Low)),
            // The spread is, and one wild day changes little.
            (Events, 160, &wild, 100.0, 60.0 / 10.0, Some(High)),
            (Events, 1_300, &[1_000, 1_100, 900, 1_200, 800, 1_400, 600, 1_000], 1_000.0, 300.0 * 1.2816 / 400.0, None),
            (Events, 500, weekly, 0.0, 500.0 * 1.2816 / 507.0, None),
            (Events, 3_000, weekly, 0.0, 3_000.0 * 1.2816 / 507.0, Some(High)),
            (Events, 0, weekly, 0.0, 0.0, None),
            // Few events a day cannot be too few.
            (Events, 0, &[9; 14], 9.0, -3.0, None),
            (Downloads, 14, &sparse, 0.0, 14.0 * 1.2816 / 3.0, None),
            (Downloads, 15, &sparse, 0.0, 15.0 * 1.2816 / 3.0, Some(High)),
            (Downloads, 6, &[0; 9], 0.0, 6.0, Some(High)),
            (Downloads, 0, &sparse, 0.0, 0.0, None),
            // Hours.
            (Silence, 7, &[1, 1, 2, 1, 0, 1, 1], 1.0, 6.0, Some(High)),
            (Silence, 6, &[1, 1, 2, 1, 0, 1, 1], 1.0, 5.0, None),
            (Silence, 30, &[12; 10], 12.0, 6.0, Some(High)),
            (Silence, 168, &[168; 10], 168.0, 0.0, None),
            (Silence, 2, &[100, 90, 110, 100, 95, 105, 100, 100], 100.0, -98.0 / 25.0, None),
            // An even number of days.
            (Events, 3, &[1, 2, 3, 4, 5, 6, 7, 8], 4.5, -1.5 / (1.4826 * 2.0), None),
            // Numbers of any size.
            (Events, u64::MAX, &[u64::MAX; 7], u64::MAX as f64, 0.0, None),
            (Events, u64::MAX, &[0; 7], 0.0, u64::MAX as f64, Some(High)),
        ] {
            let found = judge(measure, value, before, false, &RULES).expect("old enough");
            assert_eq!((found.expected, found.direction), (expected, direction), "{measure:?} {value} {before:?}");
            assert!((found.deviation - deviation).abs() < 1e-9, "{measure:?} {value} {before:?}: {}", found.deviation);
            // Nothing depends on the order of the days.
            let mut turned = before.to_vec();
            turned.reverse();
            assert_eq!(judge(measure, value, &turned, false, &RULES), Some(found));
            let running = judge(measure, value, before, true, &RULES).expect("old enough");
            assert_eq!(running.direction, direction.filter(|direction| *direction == High), "a running day is never low");
        }
    }

    /// A log whose sessions come by chance, and long or short ones, has days that differ, and none that is out of the ordinary.
    #[test]
    fn quiet_days_raise_no_alarm() {
        use crate::events::time::{MICROS_PER_DAY, parse};
        use crate::simulate::{Generator, START, Simulation};
        let (mut judged, mut far, mut alarms) = (0, 0, 0);
        for seed in 1..=4 {
            let mut raw = Vec::new();
            let simulation = Simulation { seed, events_per_second: 0.012, sensors: 4, ..Simulation::default() };
            Generator::new(&simulation).fill(&mut raw, 45_000);
            let mut days = std::collections::HashMap::<String, Vec<[u64; 2]>>::new();
            for line in raw.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let event: serde_json::Value = serde_json::from_slice(line).expect("JSON");
                let at = parse(event["timestamp"].as_str().expect("a time").as_bytes()).expect("a time");
                let day = ((at - START) / MICROS_PER_DAY) as usize;
                let of_sensor = days.entry(event["sensor"].as_str().unwrap_or_default().to_owned()).or_default();
                of_sensor.resize(of_sensor.len().max(day + 1), [0; 2]);
                of_sensor[day][0] += 1;
                of_sensor[day][1] += u64::from(event["eventid"] == "cowrie.session.connect");
            }
            for days in days.values() {
                let days = &days[..days.len() - 1];
                for (at, day) in days.iter().enumerate() {
                    for (measure, &value) in day.iter().enumerate() {
                        let before: Vec<u64> = days[at.saturating_sub(28).max(1).min(at)..at].iter().map(|day| day[measure]).collect();
                        let Some(found) = judge(Measure::Events, value, &before, false, &RULES) else { continue };
                        judged += 1;
                        far += u32::from(found.deviation.abs() >= 3.0);
                        alarms += u32::from(found.direction.is_some());
                    }
                }
            }
        }
        println!("{judged} judged, {far} beyond 3, {alarms} beyond 6");
        assert!(judged > 800 && alarms == 0, "{judged} judged, {far} beyond 3, {alarms} beyond 6");
    }

    #[test]
    fn the_young_are_not_judged() {
        for days in 0..10 {
            assert_eq!(judge(Measure::Events, 1_000, &vec![1; days], false, &RULES).is_some(), days >= 7, "{days}");
        }
        assert_eq!(judge(Measure::Events, 1, &[], false, &Rules { min_days: 0, ..RULES }), None);
    }

    #[test]
    fn names_are_read_again() {
        for measure in Measure::ALL {
            assert_eq!(Measure::parse(measure.name()), Some(measure));
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.name());
        }
        assert_eq!(Measure::parse("noise"), None);
    }
}
