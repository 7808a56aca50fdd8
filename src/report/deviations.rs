//! Which days of which sensors are out of the ordinary: figures from the index, held against those of the days before.
//!
//! Long periods are read year by year, so that memory does not grow with them.
use super::anomaly::{Deviation, Direction, Measure, Rules, judge};
use crate::events::Micros;
use crate::events::time::{day_of, format_day, hour_of};
use crate::index::measures::{DayFigures, SensorDays, each_sensor};
use crate::index::search::View;
use crate::index::sidecar::SidecarError;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Silence is counted up to so many hours, which may lie in the days before.
const SILENCE_HOURS_MAX: u32 = 7 * 24;
/// Days that are judged at once.
const DAYS_AT_ONCE: i32 = 366;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Since 1970-01-01. Those behind the running one are not judged.
    pub days: RangeInclusive<i32>,
    /// `None`: each of them.
    pub sensor: Option<String>,
    /// `None`: all of them.
    pub measure: Option<Measure>,
    pub rules: Rules,
    pub now: Micros,
}

/// A measure of a sensor's day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged<'a> {
    pub day: i32,
    pub sensor: &'a [u8],
    pub measure: Measure,
    pub value: u64,
    /// The day is not over.
    pub running: bool,
    /// How many days before it were looked at; too few, and there is no verdict.
    pub days: u32,
    pub verdict: Option<Deviation>,
}

/// A measure of a sensor's day, as answers and reports tell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnomalyRow {
    pub day: String,
    pub sensor: String,
    pub measure: Measure,
    pub value: u64,
    /// The median of the days before.
    pub expected: f64,
    /// In units of the usual spread, with two decimals.
    pub deviation: f64,
    /// None: nothing out of the ordinary.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub direction: Option<Direction>,
    /// The day is not over.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub running: bool,
}

impl AnomalyRow {
    /// `None`: there is no verdict.
    pub fn of(judged: &Judged<'_>) -> Option<AnomalyRow> {
        let verdict = judged.verdict?;
        Some(AnomalyRow {
            day: format_day(judged.day),
            sensor: String::from_utf8_lossy(judged.sensor).into_owned(),
            measure: judged.measure,
            value: judged.value,
            expected: verdict.expected,
            deviation: (verdict.deviation * 100.0).round() / 100.0,
            direction: verdict.direction,
            running: judged.running,
        })
    }

    /// `5,012 events, 812 expected`, for people.
    pub fn told(&self) -> String {
        let AnomalyRow { value, expected, .. } = self;
        let unit = match self.measure {
            Measure::Silence => "hours without an event",
            other => other.name(),
        };
        format!("{value} {unit}, {expected} expected")
    }
}

/// Judges every day of the period, sensor by sensor within a year: calls `each` for each day and measure, in this order, also for
/// those without a verdict.
pub fn each(view: &View, request: &Request, each: &mut dyn FnMut(&Judged<'_>)) -> Result<(), SidecarError> {
    let (first, last) = (*request.days.start(), (*request.days.end()).min(day_of(request.now)));
    let mut from = first;
    while from <= last {
        let to = last.min(from.saturating_add(DAYS_AT_ONCE - 1));
        let baseline = from.saturating_sub(request.rules.baseline_days as i32);
        let sensor = request.sensor.as_ref().map(String::as_bytes);
        let read = baseline.saturating_sub(SILENCE_HOURS_MAX as i32 / 24)..=to;
        each_sensor(view, &read, baseline, sensor, &mut |sensor| judge_days(&sensor, *read.start(), from..=to, request, each))?;
        from = to + 1;
    }
    Ok(())
}

/// The anomalies of a period, and how much was judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Measures of days that were judged.
    pub judged: u64,
    pub anomalies: u64,
    /// By day, sensor and measure: the anomalies, or with `normal` everything that was judged; of too many those furthest out.
    pub rows: Vec<AnomalyRow>,
    /// Sensors without a verdict on the last day that was looked at: too few days of them are known.
    pub too_young: Vec<String>,
    /// Rows that there are besides.
    pub left_out: u64,
}

/// Names of young sensors that are told.
const YOUNG_MAX: usize = 100;

pub fn find(view: &View, request: &Request, normal: bool, rows_max: usize) -> Result<Found, SidecarError> {
    let mut found = Found::default();
    let last = (*request.days.end()).min(day_of(request.now));
    each(view, request, &mut |judged| {
        let Some(row) = AnomalyRow::of(judged) else {
            let is_next = judged.day == last && found.too_young.len() < YOUNG_MAX;
            let name = String::from_utf8_lossy(judged.sensor);
            if is_next && found.too_young.last().is_none_or(|known| *known != name) {
                found.too_young.push(name.into_owned());
            }
            return;
        };
        found.judged += 1;
        found.anomalies += u64::from(row.direction.is_some());
        if normal || row.direction.is_some() {
            found.rows.push(row);
            if found.rows.len() >= rows_max.saturating_mul(2).max(1_000) {
                found.left_out += furthest(&mut found.rows, rows_max);
            }
        }
    })?;
    found.left_out += furthest(&mut found.rows, rows_max);
    found.rows.sort_by(|a, b| (&a.day, &a.sensor, a.measure).cmp(&(&b.day, &b.sensor, b.measure)));
    Ok(found)
}

/// Leaves so many rows, those furthest out; answers how many went.
fn furthest(rows: &mut Vec<AnomalyRow>, rows_max: usize) -> u64 {
    let before = rows.len();
    if before > rows_max {
        rows.sort_by(|a, b| {
            let place = |row: &AnomalyRow| (row.direction.is_none(), std::cmp::Reverse(row.deviation.abs().to_bits()));
            place(a).cmp(&place(b)).then_with(|| (&a.day, &a.sensor, a.measure).cmp(&(&b.day, &b.sensor, b.measure)))
        });
        rows.truncate(rows_max);
    }
    (before - rows.len()) as u64
}

/// `read` is the day of the sensor's first figures.
fn judge_days(sensor: &SensorDays<'_>, read: i32, days: RangeInclusive<i32>, request: &Request, each: &mut dyn FnMut(&Judged<'_>)) {
    let today = day_of(request.now);
    // Hours of the running day that are over.
    let hours_over = |day: i32| if day == today { hour_of(request.now).rem_euclid(24) as u32 } else { 24 };
    let silences = silences(sensor.days, |at| hours_over(read + at as i32));
    let value = |measure: Measure, at: usize| {
        let figures = &sensor.days[at];
        match measure {
            Measure::Events => figures.events,
            Measure::Sessions => figures.sessions,
            Measure::Addresses => figures.addresses,
            Measure::Downloads => figures.downloads,
            Measure::Silence => silences[at],
        }
    };
    let mut before = Vec::new();
    for day in days.into_iter().filter(|day| *day >= sensor.first_seen) {
        let at = (day - read) as usize;
        // The day on which it was first seen is hardly ever a whole one.
        let baseline = (sensor.first_seen + 1).max(day - request.rules.baseline_days as i32).min(day);
        for measure in Measure::ALL.into_iter().filter(|measure| request.measure.is_none_or(|wanted| wanted == *measure)) {
            before.clear();
            before.extend(((baseline - read) as usize..at).map(|at| value(measure, at)));
            let (value, running) = (value(measure, at), day == today);
            let verdict = judge(measure, value, &before, running, &request.rules);
            each(&Judged { day, sensor: sensor.sensor, measure, value, running, days: before.len() as u32, verdict });
        }
    }
}

/// The longest stretch of silent hours up to any hour of each day, in hours.
fn silences(days: &[DayFigures], hours_over: impl Fn(usize) -> u32) -> Vec<u64> {
    let mut silent = 0u32;
    let longest = |(at, figures): (usize, &DayFigures)| {
        let mut longest = 0;
        for hour in 0..hours_over(at) {
            silent = if figures.hours >> hour & 1 == 1 { 0 } else { (silent + 1).min(SILENCE_HOURS_MAX) };
            longest = longest.max(silent);
        }
        u64::from(longest)
    };
    days.iter().enumerate().map(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time::{MICROS_PER_DAY, MICROS_PER_HOUR};

    const ALL_DAY: u32 = (1 << 24) - 1;

    fn of(hours: &[u32]) -> Vec<DayFigures> {
        hours.iter().map(|&hours| DayFigures { hours, events: u64::from(hours.count_ones()), ..DayFigures::default() }).collect()
    }

    #[test]
    fn silence_reaches_back_over_midnight() {
        for (hours, over, expected) in [
            (&[ALL_DAY, ALL_DAY][..], 24, &[0, 0][..]),
            // Until 20:00, and again from 05:00 on.
            (&[(1 << 20) - 1, ALL_DAY & !0b1_1111], 24, &[4, 9]),
            // Silence that ended before is not the next day's.
            (&[ALL_DAY & !0b1_1111_1111, ALL_DAY], 24, &[9, 0]),
            // Never longer than a week.
            (&[ALL_DAY, 0, 0, 0, 0, 0, 0, 0, 0, 1], 24, &[0, 24, 48, 72, 96, 120, 144, 168, 168, 23]),
            // Of the running day only hours that are over count.
            (&[1, 0], 0, &[23, 0]),
            (&[1, 0], 3, &[23, 26]),
            (&[1, 0b10], 3, &[23, 24]),
        ] {
            let days = of(hours);
            let found = silences(&days, |at| if at + 1 == days.len() { over } else { 24 });
            assert_eq!(found, expected, "{hours:?} {over}");
        }
    }

    fn judged(figures: &[DayFigures], first_seen: i32, days: RangeInclusive<i32>, now: Micros) -> Vec<(i32, u32, Option<Direction>)> {
        let request = Request { days: days.clone(), sensor: None, measure: Some(Measure::Events), rules: Rules::default(), now };
        let mut rows = Vec::new();
        let sensor = SensorDays { sensor: b"a", first_seen, days: figures };
        judge_days(&sensor, 100, days, &request, &mut |judged| {
            rows.push((judged.day, judged.days, judged.verdict.and_then(|verdict| verdict.direction)));
        });
        rows
    }

    #[test]
    fn the_days_before_are_those_since_a_sensor_was_there() {
        let mut figures = of(&[0; 60]);
        figures.iter_mut().skip(20).for_each(|day| day.events = 100);
        figures[50].events = 0;
        figures[51].events = 400;
        let later = Micros::from(200) * MICROS_PER_DAY;
        // First seen on day 120: judged from the eighth whole day behind it on.
        let found = judged(&figures, 120, 118..=130, later);
        let expected: Vec<_> = (120..=130).map(|day| (day, (day - 121).max(0) as u32, None)).collect();
        assert_eq!(found, expected);
        let found = judged(&figures, 120, 149..=152, later);
        assert_eq!(found, [(149, 28, None), (150, 28, Some(Direction::Low)), (151, 28, Some(Direction::High)), (152, 28, None)]);
        // While day 150 is running it may yet have events.
        assert_eq!(judged(&figures, 120, 150..=150, 150 * MICROS_PER_DAY + 5 * MICROS_PER_HOUR), [(150, 28, None)]);
        assert_eq!(judged(&figures, 120, 151..=151, 151 * MICROS_PER_DAY), [(151, 28, Some(Direction::High))]);
    }

    #[test]
    fn of_too_many_rows_those_furthest_out_stay() {
        let row = |number: u32, direction: Option<Direction>| AnomalyRow {
            day: format!("2026-03-{number:02}"),
            sensor: "a".to_owned(),
            measure: Measure::Events,
            value: 1,
            expected: 1.0,
            deviation: if number.is_multiple_of(2) { f64::from(number) } else { -f64::from(number) },
            direction,
            running: false,
        };
        let mut rows: Vec<_> = (1..=9).map(|number| row(number, None)).chain([row(3, Some(Direction::Low))]).collect();
        assert_eq!(furthest(&mut rows, 3), 7);
        assert_eq!(rows.iter().map(|row| row.deviation).collect::<Vec<_>>(), [-3.0, -9.0, 8.0]);
        assert_eq!(furthest(&mut rows, 3), 0);
    }
}
