//! Alerts: rules that tell sinks when something began, and when it is over, so that nobody needs another program that watches.
//!
//! Three parts that know nothing of actors: [`look`] asks the indexes and snapshots what each rule sees now, [`book`] decides what of
//! that is news, [`notice`] is what is told of it. The clock is a parameter everywhere.
//!
//! An alert is not an event of the journal: it must come out while the disk is full, and must not wait behind a million events that a
//! sink has yet to be sent. It is a document of its own, of the format `alert`, with an id that never changes, and goes through the
//! sink's delivery (retries, breaker, dead letters) like a dead letter that is sent again.
pub mod book;
pub mod look;
pub mod notice;

use crate::config::SourceName;
use crate::events::Field;
use crate::index::query::Query;
use crate::report::anomaly::Measure;
use std::time::Duration;

pub use book::Book;
pub use notice::{Happened, Notice};

/// Most rules of a configuration.
pub const RULES_MAX: usize = 256;
/// Most subjects of one rule that are open, or in their cooldown, at once.
pub const SUBJECTS_MAX: usize = 1_000;

/// A rule, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: SourceName,
    pub when: When,
    /// Sinks that are told.
    pub to: Vec<SourceName>,
    pub cooldown: Duration,
}

/// What a rule waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The events of the last `window` that match are more than `above`, or fewer than `below`.
    Count { query: Option<(String, Query)>, window: Duration, above: Option<u64>, below: Option<u64> },
    /// An anomaly of yesterday or of the running day stands in the ledger.
    Anomaly { sensor: Option<String>, measure: Option<Measure> },
    /// Values that were first seen within `window`.
    Indicator { kind: Field, min_score: u8, listed: bool, window: Duration },
    /// One of these sinks, or any, delivers nothing, fails, or made dead letters within `window`.
    Sink { sinks: Vec<SourceName>, window: Duration },
    /// Less is free, or reading is paused.
    Disk { free_bytes: Option<u64> },
    /// This sensor, or any that was seen in the last [`look::SENSOR_DAYS`] days, had no event for `window`.
    Silence { sensor: Option<String>, window: Duration },
}

impl When {
    /// As in `when = `.
    pub const fn name(&self) -> &'static str {
        match self {
            When::Count { .. } => "count",
            When::Anomaly { .. } => "anomaly",
            When::Indicator { .. } => "indicator",
            When::Sink { .. } => "sink",
            When::Disk { .. } => "disk",
            When::Silence { .. } => "silence",
        }
    }
}

/// In words, for people.
impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            When::Count { query, window, above, below } => {
                let what = query.as_ref().map_or("all events", |(query, _)| query.as_str());
                write!(f, "{what} in {} s:", window.as_secs())?;
                above.map_or(Ok(()), |above| write!(f, " more than {above}"))?;
                above.and(*below).map_or(Ok(()), |_| f.write_str(", or"))?;
                below.map_or(Ok(()), |below| write!(f, " fewer than {below}"))
            }
            When::Anomaly { sensor, measure } => {
                let measure = measure.map_or("any measure", Measure::name);
                write!(f, "{measure} of {}", sensor.as_deref().unwrap_or("any sensor"))
            }
            When::Indicator { kind, min_score, listed, window } => {
                let known = if *listed { ", known to a list or an enricher" } else { "" };
                write!(f, "new {} of the last {} s, score {min_score} or more{known}", kind.name(), window.as_secs())
            }
            When::Sink { sinks, .. } if sinks.is_empty() => f.write_str("any sink in trouble"),
            When::Sink { sinks, .. } => {
                let names: Vec<&str> = sinks.iter().map(SourceName::as_str).collect();
                write!(f, "in trouble: {}", names.join(", "))
            }
            When::Disk { free_bytes: Some(free) } => write!(f, "less than {free} bytes free, or reading paused"),
            When::Disk { free_bytes: None } => f.write_str("reading paused"),
            When::Silence { sensor, window } => {
                write!(f, "no event of {} for {} s", sensor.as_deref().unwrap_or("a sensor"), window.as_secs())
            }
        }
    }
}
