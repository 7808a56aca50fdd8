//! The shape that dashboards made for cowrieprocessor read, and where it lies in Elasticsearch.
//!
//! `ops/REPORTS.md` says what its figures are made of.
use super::{Counted, Kind, Report};
use crate::events::{EventId, time};
use crate::telemetry::printable::prefix;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Daily, weekly or monthly; `None` for a range, which that shape does not know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    /// `{sensor}:{type}:{date}`: made again, a report takes the place of the one before.
    pub id: String,
    /// `{prefix}.{daily|weekly|monthly}-write`, without the prefix.
    pub index: String,
    pub body: Value,
}

/// The report in that shape.
pub fn document(report: &Report) -> Option<Document> {
    if report.kind == Kind::Range {
        return None;
    }
    let (kind, date, sensor) = (report.kind.name(), &report.period, &report.sensor);
    let top = |name: &str, of: &str| -> Vec<Value> {
        let rows = report.top.iter().find(|list| list.name == name).map_or(&[][..], |list| &list.rows);
        rows.iter().map(|Counted { value, events }| json!({ of: value, "occurrences": events })).collect()
    };
    let body = json!({
        "@timestamp": format!("{}T00:00:00.000000Z", report.from),
        "generated_at": report.generated_at,
        "report_type": kind,
        "date": date,
        "sensor": sensor,
        "sessions": {
            "total": report.totals.sessions,
            "avg_commands": report.commands_per_session.average,
            "max_commands": report.commands_per_session.largest,
            "min_commands": report.commands_per_session.smallest,
            "file_downloads": report.totals.downloads,
            "login_attempts": report.totals.login_attempts,
            "vt_flagged": 0,
            "dshield_flagged": 0,
            "unique_ips": report.totals.addresses,
        },
        "commands": { "top": top("command", "command") },
        "files": { "top": top("download_url", "url") },
        "enrichments": { "flagged": [] },
    });
    debug_assert!(time::parse(body["@timestamp"].as_str().unwrap_or_default().as_bytes()).is_some());
    // An id of Elasticsearch's has 512 bytes at most.
    let name = match sensor.len() {
        ..400 => Cow::Borrowed(sensor.as_str()),
        _ => Cow::Owned(format!("{}…{}", prefix(sensor, 300), EventId::of_line(sensor.as_bytes()))),
    };
    Some(Document { id: format!("{name}:{kind}:{date}"), index: format!("{kind}-write"), body })
}
