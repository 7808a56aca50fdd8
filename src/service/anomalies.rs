//! What is out of the ordinary, as the store answers it.
use super::{ServiceError, report};
use crate::events::Micros;
use crate::events::time::{day_of, format_day};
use crate::index::search::View;
use crate::index::sidecar::SidecarError;
use crate::journal::log::LogError;
use crate::report::anomaly::{Direction, Measure};
use crate::report::deviations::{self, Found};
use crate::report::{AnomalyRow, Kind, Period, Rules};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io;

/// Most rows of an answer.
pub const ROWS_MAX: usize = 10_000;
/// Days of an answer when nobody says which: the running one, and those before it.
const DAYS_DEFAULT: i32 = 7;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub period: Period,
    pub sensor: Option<String>,
    pub measure: Option<Measure>,
    /// Also what is normal.
    pub all: bool,
    /// Most rows.
    pub limit: usize,
    pub rules: Rules,
}

/// What is out of the ordinary in a period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnomaliesFound)]
pub struct Anomalies {
    /// First and last day.
    pub from: String,
    pub to: String,
    /// Deviations from here on are anomalies.
    pub threshold: f64,
    /// Measures of days that were judged, and how many of them are anomalies.
    pub judged: u64,
    pub found: u64,
    /// By day, sensor and measure; of too many those furthest out.
    pub rows: Vec<AnomalyRow>,
    /// Rows that there are besides.
    pub left_out: u64,
    /// Sensors of which too few days are known for a verdict on the last day, the first hundred of them by name.
    pub too_young: Vec<String>,
    /// That there never was such a sensor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// The last days, the running one included.
pub fn period_default(now: Micros) -> Period {
    let today = day_of(now);
    Period { kind: Kind::Range, days: today - DAYS_DEFAULT + 1..=today }
}

pub fn anomalies(store: &Store, request: &Request, now: Micros) -> Result<Anomalies, ServiceError> {
    let note = request.sensor.as_deref().map(|name| report::unseen(store, name, true)).transpose()?.flatten();
    let asked = deviations::Request {
        days: request.period.days.clone(),
        sensor: request.sensor.clone(),
        measure: request.measure,
        rules: request.rules,
        now,
    };
    let Found { judged, anomalies, rows, too_young, left_out } =
        deviations::find(&store.answers(), &asked, request.all, request.limit.min(ROWS_MAX))?;
    Ok(Anomalies {
        from: format_day(*request.period.days.start()),
        to: format_day(*request.period.days.end()),
        threshold: request.rules.threshold,
        judged,
        found: anomalies,
        rows,
        left_out,
        too_young,
        note,
    })
}

/// Under which name anomalies stand in the ledger.
const LEDGER_EVENT: &str = "anomaly";
/// Anomalies that are told at once; the others follow with the next look.
const NEWS_MAX: usize = 1_000;

/// Why anomalies could not be told.
#[derive(Debug, thiserror::Error)]
pub enum NotTold {
    #[error(transparent)]
    Index(#[from] SidecarError),
    #[error("the ledger cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the ledger cannot be written: {0}")]
    Ledger(#[from] LogError),
}

/// An anomaly of the ledger; the same one is never told again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
struct Key {
    /// `2026-03-23`
    day: String,
    sensor: String,
    measure: Measure,
    direction: Direction,
}

impl Key {
    fn of(row: &AnomalyRow) -> Option<Key> {
        Some(Key { day: row.day.clone(), sensor: row.sensor.clone(), measure: row.measure, direction: row.direction? })
    }
}

/// What was told of yesterday and of the running day.
#[derive(Debug, Default)]
pub struct Told(HashSet<Key>);

impl Told {
    /// As the ledger has it.
    pub fn read(store: &Store, now: Micros) -> io::Result<Told> {
        let (mut told, first) = (Told::default(), first_day(now));
        store.each_recorded(LEDGER_EVENT, &mut |key: Key| {
            if key.day >= first {
                told.0.insert(key);
            }
        })?;
        Ok(told)
    }

    /// Days that are not looked at any more.
    pub fn forget_before(&mut self, now: Micros) {
        let first = first_day(now);
        self.0.retain(|key| key.day >= first);
    }

    pub fn add(&mut self, rows: &[AnomalyRow]) {
        self.0.extend(rows.iter().filter_map(Key::of));
    }
}

fn first_day(now: Micros) -> String {
    format_day(day_of(now) - 1)
}

/// Anomalies of yesterday and of the running day that were not told.
pub fn news(view: &View, rules: &Rules, told: &Told, now: Micros) -> Result<Vec<AnomalyRow>, SidecarError> {
    let today = day_of(now);
    let request = deviations::Request { days: today - 1..=today, sensor: None, measure: None, rules: *rules, now };
    let mut found = Vec::new();
    deviations::each(view, &request, &mut |judged| {
        if judged.verdict.is_some_and(|verdict| verdict.direction.is_some()) && found.len() < NEWS_MAX {
            let row = AnomalyRow::of(judged);
            found.extend(row.filter(|row| Key::of(row).is_some_and(|key| !told.0.contains(&key))));
        }
    })?;
    Ok(found)
}

/// Writes anomalies to the ledger, durably.
pub fn write(store: &Store, found: &[AnomalyRow], now: Micros) -> Result<(), LogError> {
    let details = found.iter().map(|row| {
        serde_json::json!({
            "day": row.day, "sensor": row.sensor, "measure": row.measure, "direction": row.direction, "value": row.value,
            "expected": row.expected, "deviation": row.deviation,
        })
    });
    store.record_all(LEDGER_EVENT, details, now)
}
