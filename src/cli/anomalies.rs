//! `honeyguide anomalies`: which sensors had a day that is not like the days before.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::terminal::{self, Align, Colour, Output, Table};
use super::{args, format, print};
use crate::events::time;
use crate::report::anomaly::{Direction, Measure};
use crate::report::{AnomalyRow, Period};
use crate::service::anomalies::{Anomalies, ROWS_MAX, Request, anomalies, period_default};
use crate::telemetry::printable::printable;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write;

pub fn run(args: &args::Anomalies, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Anomalies, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (settings, now) = (context.settings()?, time::now());
    if args.limit > ROWS_MAX {
        return Err(Usage(format!("--limit is at most {ROWS_MAX}")).into());
    }
    let period = match args.kind {
        Some(kind) => Period::parse(kind, &args.period, now).map_err(|error| Usage(error.to_string()))?,
        None => period_default(now),
    };
    let found: Anomalies = match Target::find(&settings)? {
        Target::Daemon(client) => {
            let mut asked = vec![("kind", period.kind.name().to_owned()), ("period", period.label())];
            asked.extend(args.sensor.iter().map(|sensor| ("sensor", sensor.clone())));
            asked.extend(args.measure.map(|measure| ("measure", measure.name().to_owned())));
            asked.extend([("all", args.all.to_string()), ("limit", args.limit.to_string())]);
            client.get(&["api", "v1", "anomalies"], &asked, None)?
        }
        Target::Local(open) => {
            let (sensor, rules) = (args.sensor.clone(), settings.anomalies.rules);
            let request = Request { period, sensor, measure: args.measure, all: args.all, limit: args.limit, rules };
            anomalies(&open.store, &request, now)?
        }
    };
    if let Some(note) = &found.note {
        eprintln!("honeyguide: {}", printable(note));
    }
    context.tell(&found, |output| text(&found, output), out)?;
    if found.left_out > 0 && !context.global.json {
        eprintln!("honeyguide: {} less far out: --limit shows them", format::plural(found.left_out, "row", "rows"));
    }
    Ok(Exit::Done)
}

fn text(found: &Anomalies, output: &Output) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{} to {}, UTC: {} among {}",
        found.from,
        found.to,
        format::plural(found.found, "anomaly", "anomalies"),
        format::plural(found.judged, "figure", "figures"),
    );
    text.push_str(&table(&found.rows, output));
    if !found.too_young.is_empty() {
        let names: Vec<_> = found.too_young.iter().map(|name| sensor(name)).collect();
        let _ = writeln!(text, "too young for a verdict on the last day: {}", names.join(", "));
    }
    text
}

/// Anomalies, and what is normal, one a line.
pub fn table(rows: &[AnomalyRow], output: &Output) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table =
        Table::new(&[("day", Align::Left), ("deviation", Align::Right), ("", Align::Left), ("sensor", Align::Left), ("", Align::Left)]);
    for row in rows {
        let day = if row.running { format!("{} so far", row.day) } else { row.day.clone() };
        let direction = row.direction.map_or("", Direction::name);
        table.row([day.into(), format!("{:+.2}", row.deviation).into(), direction.into(), sensor(&row.sensor), told(row).into()]);
    }
    table.render(output)
}

fn sensor(name: &str) -> Cow<'_, str> {
    if name.is_empty() { "(none)".into() } else { terminal::escape(name) }
}

/// As [`AnomalyRow::told`], with separators in numbers.
fn told(row: &AnomalyRow) -> String {
    let unit = match row.measure {
        Measure::Silence => "hours without an event",
        other => other.name(),
    };
    format!("{} {unit}, {} expected", terminal::count(row.value), row.expected)
}

/// A title as reports have it.
pub fn heading(output: &Output, found: u64) -> String {
    let (title, aside) =
        (output.paint(Colour::Strong, "Out of the ordinary"), output.paint(Colour::Quiet, &format!("{} found", terminal::count(found))));
    format!("\n{title}  {aside}\n")
}
