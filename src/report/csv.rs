//! Reports as one table: every figure is a row, so that a spreadsheet can filter and join them.
use super::{Report, UNREADABLE};
use crate::telemetry::printable::spreadsheet_cell;

/// `sensor, period, section, name, value, count`, with a head; cells are harmless in a spreadsheet.
///
/// # Errors
/// Of the writer, which writes to memory.
pub fn csv(reports: &[Report]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["sensor", "period", "section", "name", "value", "count"])?;
    for report in reports {
        let mut row = |section: &str, name: &str, value: &str, count: String| {
            let cells = [report.sensor.as_str(), &report.period, section, name, value].map(|cell| spreadsheet_cell(cell.to_owned()));
            writer.write_record(cells.iter().map(String::as_str).chain([count.as_str()]))
        };
        for (section, totals) in [("total", &report.totals), ("before", &report.before.totals)] {
            for (name, count) in totals.rows() {
                row(section, name, "", count.to_string())?;
            }
        }
        let commands = &report.commands_per_session;
        row("commands_per_session", "average", "", commands.average.to_string())?;
        row("commands_per_session", "largest", "", commands.largest.to_string())?;
        row("commands_per_session", "smallest", "", commands.smallest.to_string())?;
        for step in &report.activity.rows {
            for (name, count) in [
                ("events", step.events),
                ("sessions", step.sessions),
                ("login_attempts", step.login_attempts),
                ("commands", step.commands),
                ("downloads", step.downloads),
            ] {
                row("activity", name, &step.at, count.to_string())?;
            }
        }
        for list in &report.top {
            row("distinct", &list.name, "", list.distinct.to_string())?;
            for counted in &list.rows {
                row("top", &list.name, &counted.value, counted.events.to_string())?;
            }
        }
        let typed = |lines: &[String], unreadable: bool| if unreadable { UNREADABLE.to_owned() } else { lines.join("\n") };
        for sequence in &report.sequences.rows {
            let lines = typed(&sequence.lines, sequence.unreadable);
            row("sequence", sequence.session.as_deref().unwrap_or_default(), &lines, sequence.sessions.to_string())?;
        }
        row("distinct", "cluster", "", report.clusters.distinct.to_string())?;
        for cluster in &report.clusters.rows {
            for (name, count) in [
                ("addresses", cluster.addresses),
                ("sessions", cluster.sessions),
                ("sensors", cluster.sensors),
                ("credentials", cluster.credentials),
                ("commands", cluster.commands),
            ] {
                row("cluster", name, &cluster.id, count.to_string())?;
            }
            row("cluster_session", cluster.session.as_deref().unwrap_or_default(), &cluster.id, String::new())?;
            row("cluster_hassh", cluster.hassh.as_deref().unwrap_or_default(), &cluster.id, String::new())?;
            row("cluster_commands", &cluster.id, &typed(&cluster.lines, cluster.unreadable), cluster.commands.to_string())?;
        }
        for list in &report.new {
            row("new", &list.name, "", list.values.to_string())?;
            for new in &list.rows {
                row("new", &list.name, &new.value, new.events.to_string())?;
            }
        }
        for sensor in &report.sensors {
            for (name, count) in [
                ("events", sensor.events),
                ("sessions", sensor.sessions),
                ("login_attempts", sensor.login_attempts),
                ("commands", sensor.commands),
                ("downloads", sensor.downloads),
            ] {
                row("sensor", name, &sensor.sensor, count.to_string())?;
            }
        }
        row("anomalies", "found", "", report.anomalies.found.to_string())?;
        for anomaly in &report.anomalies.rows {
            let direction = anomaly.direction.map_or("", |direction| direction.name());
            let name = format!("{} {direction}", anomaly.measure.name());
            let of = format!("{} {}", anomaly.day, anomaly.sensor);
            row("anomaly", &name, &of, anomaly.value.to_string())?;
            row("anomaly_expected", &name, &of, anomaly.expected.to_string())?;
            row("anomaly_deviation", &name, &of, anomaly.deviation.to_string())?;
        }
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}
