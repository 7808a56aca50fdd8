//! What each rule sees now: counts from the indexes, the snapshots of sinks and journal, anomalies from the ledger.
//!
//! No event is scanned: a count is [`aggregate::count`], which reads only the blocks that a window's edges cut; values and
//! sensors are sums of the dictionaries.
use super::book::{Reading, Sight};
use super::notice::NewValue;
use super::{Rule, When};
use crate::events::time::{self, MICROS_PER_DAY, day_of, format_day};
use crate::events::{Field, Micros};
use crate::index::aggregate::{self, Views};
use crate::index::part::TermSummary;
use crate::index::query::Query;
use crate::index::search::SearchError;
use crate::index::sidecar::SidecarError;
use crate::index::top;
use crate::indicators::Indicator;
use crate::indicators::known::Known;
use crate::indicators::lists::Lists;
use crate::report::anomaly::{Direction, Measure};
use crate::service::indicators::is_target;
use crate::sinks::delivery::{SinkSnapshot, SinkState};
use crate::store::Store;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

/// A sensor that was not seen for so many days is no more.
pub const SENSOR_DAYS: i64 = 30;
/// Most new values looked at: the newest.
const VALUES_MAX: usize = 10_000;
/// Longest value that is told, bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Why a rule could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum NotSeen {
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    Index(#[from] SidecarError),
    #[error("the ledger cannot be read: {0}")]
    Ledger(io::Error),
    #[error("indicators cannot be judged: {0}")]
    Lists(String),
}

/// What the actors publish, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshots {
    pub sinks: Vec<SinkSnapshot>,
    pub free_bytes: u64,
    /// Reading is paused because the disk is nearly full.
    pub paused: bool,
    /// Reading has caught up: what a honeypot wrote is known.
    pub calm: bool,
}

/// What is needed to judge values.
pub type Judges<'j> = (&'j Lists, &'j dyn Fn() -> Result<Known, String>);

/// When the dead letters of a sink grew last, as far as this process has seen.
#[derive(Clone, Debug, Default)]
pub struct Letters(HashMap<String, (u64, Option<Micros>)>);

impl Letters {
    /// Takes the figures of a moment over.
    pub fn see(&mut self, sinks: &[SinkSnapshot], now: Micros) {
        for sink in sinks {
            let (before, grew_at) = self.0.entry(sink.name.clone()).or_insert((0, None));
            if sink.dead_letters > *before {
                *grew_at = Some(now);
            }
            // A sink that was started again counts from nothing.
            *before = sink.dead_letters;
        }
        self.0.retain(|name, _| sinks.iter().any(|sink| sink.name == *name));
    }

    fn grew_at(&self, sink: &str) -> Option<Micros> {
        self.0.get(sink).and_then(|(_, grew_at)| *grew_at)
    }
}

/// What a rule sees; `None` when nothing can be said now, and all stays as it is.
pub fn look(
    rule: &Rule,
    store: &Store,
    snapshots: &Snapshots,
    (letters, failures_max): (&Letters, u64),
    judges: Judges<'_>,
    now: Micros,
) -> Result<Option<Sight>, NotSeen> {
    Ok(Some(match &rule.when {
        // Of too few events nothing can be said while there are logs to be read.
        When::Count { below: Some(_), above: None, .. } | When::Silence { .. } if !snapshots.calm => return Ok(None),
        When::Count { query, window, above, below } => {
            let below = below.filter(|_| snapshots.calm);
            let events = counted(store, query.as_ref().map(|(_, query)| query), *window, now)?;
            Sight::Holds(out_of_bounds(events, (*above, below), *window).into_iter().collect())
        }
        When::Anomaly { sensor, measure } => Sight::Holds(anomalies(store, (sensor.as_deref(), *measure), now)?),
        When::Indicator { kind, min_score, listed, window } => {
            Sight::New(new_values(store, *kind, (*min_score, *listed), *window, judges, now)?)
        }
        When::Sink { sinks, window } => {
            let watched = snapshots.sinks.iter().filter(|sink| sinks.is_empty() || sinks.iter().any(|name| name.as_str() == sink.name));
            let trouble = watched.filter_map(|sink| sink_trouble(sink, letters.grew_at(&sink.name), *window, failures_max, now));
            Sight::Holds(trouble.collect())
        }
        When::Disk { free_bytes } => Sight::Holds(disk(snapshots, *free_bytes).into_iter().collect()),
        When::Silence { sensor, window } => Sight::Holds(silent(store, sensor.as_deref(), *window, now)?),
    }))
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

fn counted(store: &Store, query: Option<&Query>, window: Duration, now: Micros) -> Result<u64, NotSeen> {
    let all = || Query::parse("", now).expect("nothing asks for everything");
    let query = Query { since: Some(now.saturating_sub(micros(window))), ..query.cloned().unwrap_or_else(all) };
    let views = Views { answers: store.answers(), evidence: store.evidence() };
    Ok(aggregate::count(&views, &query, None, &mut store.terms())?.events)
}

fn out_of_bounds(events: u64, (above, below): (Option<u64>, Option<u64>), window: Duration) -> Option<Reading> {
    let (threshold, word) = match (above, below) {
        (Some(above), _) if events > above => (above, "more"),
        (_, Some(below)) if events < below => (below, "fewer"),
        _ => return None,
    };
    let summary = format!("{events} events in {} s, {word} than {threshold}", window.as_secs());
    Some(Reading { subject: String::new(), summary, value: Some(events), threshold: Some(threshold) })
}

/// As the ledger has them.
fn anomalies(store: &Store, (wanted, measured): (Option<&str>, Option<Measure>), now: Micros) -> Result<Vec<Reading>, NotSeen> {
    #[derive(Deserialize)]
    struct Told {
        day: String,
        sensor: String,
        measure: Measure,
        direction: Direction,
        value: u64,
        expected: f64,
    }
    let first = format_day(day_of(now) - 1);
    let mut found: BTreeMap<String, Reading> = BTreeMap::new();
    store
        .each_recorded("anomaly", &mut |told: Told| {
            let Told { day, sensor, measure, direction, value, expected } = told;
            if day < first || wanted.is_some_and(|wanted| wanted != sensor) || measured.is_some_and(|measured| measured != measure) {
                return;
            }
            let subject = format!("{sensor} {} {}", measure.name(), direction.name());
            let summary = format!("{}: {value} on {day}, {expected} expected", measure.name());
            found.insert(subject.clone(), Reading { subject, summary, value: Some(value), threshold: None });
        })
        .map_err(NotSeen::Ledger)?;
    Ok(found.into_values().collect())
}

fn new_values(
    store: &Store,
    kind: Field,
    (min_score, listed): (u8, bool),
    window: Duration,
    (lists, known): Judges<'_>,
    now: Micros,
) -> Result<Vec<NewValue>, NotSeen> {
    let span = now.saturating_sub(micros(window))..Micros::MAX;
    let view = store.answers();
    let rows = top::new_values(&view, kind, span, VALUES_MAX)?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let known = known().map_err(NotSeen::Lists)?;
    let mut judged = Vec::with_capacity(rows.len());
    for row in rows {
        let (value, sum) =
            (String::from_utf8_lossy(&row.value).into_owned(), TermSummary { count: row.count, first: row.first, last: row.last });
        let is_target = is_target(&view, kind, &value, sum.count).map_err(|error| NotSeen::Lists(error.to_string()))?;
        judged.push(Indicator::of(kind, value, sum, is_target, (lists, &known), now));
    }
    let is_wanted = |indicator: &Indicator| {
        indicator.score >= min_score
            && indicator.warning.is_none()
            && (!listed || !indicator.known_in.is_empty() || !indicator.flagged_by.is_empty())
    };
    let wanted = judged.into_iter().filter(is_wanted).map(|indicator| {
        let mut value = indicator.value;
        super::notice::shorten(&mut value, VALUE_BYTES_MAX);
        NewValue { value, score: indicator.score, first_seen: indicator.first_seen }
    });
    Ok(wanted.collect())
}

/// What is wrong with a sink, if anything is.
fn sink_trouble(sink: &SinkSnapshot, letters_grew_at: Option<Micros>, window: Duration, failures_max: u64, now: Micros) -> Option<Reading> {
    let reading = |summary: String, value: u64, threshold: Option<u64>| {
        Some(Reading { subject: sink.name.clone(), summary, value: Some(value), threshold })
    };
    let reason = || sink.reason.as_deref().or(sink.last_error.as_deref()).map(|why| format!(": {why}")).unwrap_or_default();
    match sink.state {
        // The operator said so.
        SinkState::Paused => None,
        SinkState::Degraded => reading(format!("delivers nothing{}", reason()), sink.lag_events, None),
        SinkState::Open => reading(format!("its circuit is open{}", reason()), sink.failures_in_row, None),
        _ if sink.failures_in_row >= failures_max => {
            let summary = format!("{} requests failed in a row{}", sink.failures_in_row, reason());
            reading(summary, sink.failures_in_row, Some(failures_max))
        }
        _ if letters_grew_at.is_some_and(|at| at <= now && now.saturating_sub(at) < micros(window)) => {
            reading(format!("{} dead letters since the start, more than before", sink.dead_letters), sink.dead_letters, None)
        }
        _ => None,
    }
}

fn disk(snapshots: &Snapshots, free_bytes: Option<u64>) -> Option<Reading> {
    let free = snapshots.free_bytes;
    let summary = match free_bytes {
        // Not yet measured: where nothing is free, reading is paused.
        _ if free == 0 && !snapshots.paused => return None,
        _ if snapshots.paused => format!("reading is paused: {free} bytes are free"),
        Some(wanted) if free < wanted => format!("{free} bytes are free, less than {wanted}"),
        _ => return None,
    };
    Some(Reading { subject: String::new(), summary, value: Some(free), threshold: free_bytes })
}

fn silent(store: &Store, wanted: Option<&str>, window: Duration, now: Micros) -> Result<Vec<Reading>, NotSeen> {
    let mut found = Vec::new();
    let (window, gone) = (micros(window), (SENSOR_DAYS * MICROS_PER_DAY).max(2 * micros(window)));
    top::each_value(&store.answers(), Field::Sensor, None, None, &mut |name, sum| {
        let silence = now.saturating_sub(sum.last);
        let is_asked = match wanted {
            Some(wanted) => wanted.as_bytes() == name,
            None => silence < gone,
        };
        if is_asked && silence >= window {
            let (subject, last) = (String::from_utf8_lossy(name).into_owned(), time::format(sum.last));
            let seconds = (silence / time::MICROS_PER_SECOND).max(0) as u64;
            let threshold = Some((window / time::MICROS_PER_SECOND) as u64);
            found.push(Reading { subject, summary: format!("no event since {last}"), value: Some(seconds), threshold });
        }
    })?;
    found.sort_by(|one, other| one.subject.cmp(&other.subject));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    fn sink(state: SinkState) -> SinkSnapshot {
        SinkSnapshot { name: "s".to_owned(), state, ..SinkSnapshot::default() }
    }

    #[test]
    fn counts_alert_beyond_their_bounds_and_not_at_them() {
        let window = Duration::from_secs(60);
        let cases = [
            (11, (Some(10), None), Some("11 events in 60 s, more than 10")),
            (10, (Some(10), None), None),
            (1, (Some(10), Some(2)), Some("1 events in 60 s, fewer than 2")),
            (2, (Some(10), Some(2)), None),
            (0, (None, Some(1)), Some("0 events in 60 s, fewer than 1")),
        ];
        for (events, bounds, expected) in cases {
            let told = out_of_bounds(events, bounds, window).map(|reading| reading.summary);
            assert_eq!(told.as_deref(), expected, "{events} {bounds:?}");
        }
    }

    #[test]
    fn a_sink_is_in_trouble_when_nothing_gets_through_or_letters_die_and_not_when_it_is_paused() {
        let minute = Duration::from_secs(60);
        let told = |sink: &SinkSnapshot, grew_at, now| sink_trouble(sink, grew_at, minute, 5, now).map(|reading| reading.summary);
        assert_eq!(told(&sink(SinkState::Idle), None, 0), None);
        let failing = SinkSnapshot { failures_in_row: 5, last_error: Some("refused".to_owned()), ..sink(SinkState::Waiting) };
        assert_eq!(told(&failing, None, 0).as_deref(), Some("5 requests failed in a row: refused"));
        assert_eq!(told(&SinkSnapshot { failures_in_row: 4, ..failing.clone() }, None, 0), None);
        assert_eq!(told(&SinkSnapshot { state: SinkState::Paused, ..failing }, None, 0), None);
        assert!(told(&sink(SinkState::Degraded), None, 0).is_some() && told(&sink(SinkState::Open), None, 0).is_some());
        assert!(told(&sink(SinkState::Idle), Some(0), 59 * SECOND).is_some());
        assert_eq!(told(&sink(SinkState::Idle), Some(0), 60 * SECOND), None);
    }

    #[test]
    fn dead_letters_count_from_when_they_grew_also_behind_a_restart_of_the_sink() {
        let mut letters = Letters::default();
        let with = |dead_letters| [SinkSnapshot { dead_letters, ..sink(SinkState::Idle) }];
        letters.see(&with(0), 1);
        assert_eq!(letters.grew_at("s"), None);
        letters.see(&with(3), 2);
        letters.see(&with(3), 3);
        letters.see(&with(0), 4);
        assert_eq!(letters.grew_at("s"), Some(2));
        letters.see(&with(1), 5);
        assert_eq!(letters.grew_at("s"), Some(5));
        letters.see(&[], 6);
        assert_eq!(letters.grew_at("s"), None);
    }

    #[test]
    fn a_disk_alerts_below_what_is_wanted_and_whenever_reading_is_paused() {
        let of = |free_bytes, paused| Snapshots { free_bytes, paused, ..Snapshots::default() };
        assert!(disk(&of(9, false), Some(10)).is_some());
        assert!(disk(&of(10, false), Some(10)).is_none() && disk(&of(0, false), Some(10)).is_none() && disk(&of(0, false), None).is_none());
        assert!(disk(&of(10, true), Some(10)).is_some_and(|reading| reading.summary.starts_with("reading is paused")));
    }
}
