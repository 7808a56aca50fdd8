//! What is out of the ordinary, as the store answers it.
use super::{ServiceError, report};
use crate::events::Micros;
use crate::events::time::{day_of, format_day};
use crate::report::anomaly::Measure;
use crate::report::deviations::{self, Found};
use crate::report::{AnomalyRow, Kind, Period, Rules};
use crate::store::Store;
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    let note = request.sensor.as_deref().map(|name| report::unseen(store, name)).transpose()?.flatten();
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
