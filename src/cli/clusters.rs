//! `honeyguide clusters`: sessions of one client that typed and tried the same, whatever addresses they came from.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::terminal::{self, Align, Colour, Output, Table, escape};
use super::{args, format, print};
use crate::events::Micros;
use crate::events::time::{self, format_day};
use crate::index::cluster;
use crate::report::{ClusterRow, Clusters, Period};
use crate::service::clusters::{self, Asked, Detail, Seen};
use std::fmt::Write as _;
use std::io::Write;

/// Addresses, sensors and days that `show` tells; the JSON form has more.
const ROWS_MAX: usize = 20;
/// Columns of commands when nobody knows how wide the terminal is.
const COLUMNS_DEFAULT: usize = 160;

pub fn run(args: &args::Clusters, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Clusters, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (settings, now) = (context.settings()?, time::now());
    if let Some(args::ClustersAction::Show { id, span }) = &args.action {
        if cluster::parse_id(id).is_none() {
            return Err(Usage(format!("`{}` is no id of a cluster: `honeyguide clusters` lists them", escape(id))).into());
        }
        let asked = checked(asked(span, now)?, now)?;
        let detail: Detail = match Target::find(&settings)? {
            Target::Daemon(client) => client.get(&["api", "v1", "clusters", id], &parameters(&asked), None)?,
            Target::Local(open) => clusters::show(&open.store, id, &asked, now)?,
        };
        context.tell(&detail, |output| page(&detail, output), out)?;
        return Ok(Exit::Done);
    }
    let mut asked = asked(&args.span, now)?;
    (asked.by, asked.min_sessions, asked.limit, asked.sort) = (args.by.clone(), args.min_sessions, args.limit, args.sort.into());
    let asked = checked(asked, now)?;
    let found: Clusters = match Target::find(&settings)? {
        Target::Daemon(client) => client.get(&["api", "v1", "clusters"], &parameters(&asked), None)?,
        Target::Local(open) => clusters::list(&open.store, &asked, now)?,
    };
    context.tell(&found, |output| list(&found, output), out)?;
    Ok(Exit::Done)
}

/// The span that is asked for, with a period as its first and last day.
fn asked(span: &args::ClusterSpan, now: Micros) -> anyhow::Result<Asked> {
    let mut asked = Asked { since: span.since.clone(), until: span.until.clone(), sensor: span.sensor.clone(), ..Asked::default() };
    if let Some(kind) = span.kind {
        let period = Period::parse(kind, &span.period, now).map_err(|error| Usage(error.to_string()))?;
        (asked.since, asked.until) = (Some(format_day(*period.days.start())), Some(format_day(*period.days.end())));
    }
    Ok(asked)
}

/// What makes no sense is told before anything is opened.
fn checked(asked: Asked, now: Micros) -> anyhow::Result<Asked> {
    asked.understood(now).map_err(|error| Usage(error.to_string()))?;
    Ok(asked)
}

fn parameters(asked: &Asked) -> Vec<(&'static str, String)> {
    let Asked { since, until, sensor, by, min_sessions, limit, sort } = asked;
    let sort = if *sort == cluster::Order::Addresses { "addresses" } else { "sessions" };
    let mut parameters = vec![("min_sessions", min_sessions.to_string()), ("limit", limit.to_string()), ("sort", sort.to_owned())];
    let named = [("since", since), ("until", until), ("sensor", sensor), ("by", by)];
    parameters.extend(named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    parameters
}

fn list(found: &Clusters, output: &Output) -> String {
    let mut text = String::new();
    if found.distinct == 0 {
        return "no cluster: no sessions typed and tried the same\n".to_owned();
    }
    for row in &found.rows {
        head(row, output, &mut text);
        let columns = output.columns.unwrap_or(COLUMNS_DEFAULT).saturating_sub(2);
        match (row.unreadable, row.lines.is_empty()) {
            (true, _) => text.push_str("  its commands are not readable: `honeyguide verify` tells more\n"),
            (false, true) => {}
            (false, false) => {
                let commands = row.lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("; ");
                // Writing to a string does not fail.
                let _ = writeln!(text, "  {}", terminal::truncate(&commands, columns));
            }
        }
    }
    if found.distinct > found.rows.len() as u64 {
        let _ = writeln!(text, "{} of {} clusters", terminal::count(found.rows.len() as u64), terminal::count(found.distinct));
    }
    text
}

/// What a cluster is, in two lines.
fn head(row: &ClusterRow, output: &Output, text: &mut String) {
    let about = if row.estimated { "about " } else { "" };
    let _ = writeln!(
        text,
        "{}  {} from {about}{} at {}, {} to {}",
        output.paint(Colour::Strong, &escape(&row.id)),
        format::plural(row.sessions, "session", "sessions"),
        format::plural(row.addresses, "address", "addresses"),
        format::plural(row.sensors, "sensor", "sensors"),
        format::minute(&row.first),
        format::minute(&row.last),
    );
    let hassh = row.hassh.as_ref().map(|hassh| format!("HASSH {}, ", escape(hassh))).unwrap_or_default();
    let session = row.session.as_ref().map(|session| format!(", such as session {}", escape(session))).unwrap_or_default();
    let (tried, typed) =
        (format::plural(row.credentials, "credential", "credentials"), format::plural(row.commands, "command", "commands"));
    let _ = writeln!(text, "  {}", output.paint(Colour::Quiet, &format!("{hassh}{tried}, {typed}{session}")));
}

fn page(detail: &Detail, output: &Output) -> String {
    let mut text = String::new();
    head(&detail.cluster, output, &mut text);
    let _ = writeln!(text, "  grouped by {}", escape(&detail.by));
    let seen = |text: &mut String, title: &'static str, rows: &[Seen], of: u64| {
        let mut table = Table::new(&[("sessions", Align::Right), ("first", Align::Left), ("last", Align::Left), (title, Align::Left)]);
        for row in rows.iter().take(ROWS_MAX) {
            let value = if row.value.is_empty() { "(none)".into() } else { row.value.as_str().into() };
            table.row([terminal::count(row.sessions).into(), format::minute(&row.first).into(), format::minute(&row.last).into(), value]);
        }
        let _ = write!(text, "\n{}", table.render(output));
        if of > ROWS_MAX as u64 {
            let _ = writeln!(text, "{ROWS_MAX} of {}", terminal::count(of));
        }
    };
    seen(&mut text, "address", &detail.from_addresses, detail.cluster.addresses);
    seen(&mut text, "sensor", &detail.at_sensors, detail.cluster.sensors);
    let skipped = detail.days.len().saturating_sub(ROWS_MAX);
    let mut days = Table::new(&[("sessions", Align::Right), ("day", Align::Left)]);
    detail.days.iter().skip(skipped).for_each(|(day, sessions)| days.row([terminal::count(*sessions).into(), day.as_str().into()]));
    let _ = write!(text, "\n{}", days.render(output));
    if skipped > 0 {
        let _ = writeln!(text, "the last {ROWS_MAX} of {}", detail.days.len());
    }
    if detail.cluster.unreadable {
        text.push_str("\nits commands are not readable: `honeyguide verify` tells more\n");
    } else if !detail.cluster.lines.is_empty() {
        let _ = writeln!(text, "\n{}", output.paint(Colour::Strong, "commands"));
        for line in &detail.cluster.lines {
            let _ = writeln!(text, "  {}", escape(line));
        }
        if detail.cluster.commands > detail.cluster.lines.len() as u64 {
            text.push_str("  …\n");
        }
    }
    let sessions = detail.newest.iter().filter_map(|seen| seen.session.as_deref()).chain(detail.cluster.session.as_deref());
    let _ = writeln!(text, "\n{}", output.paint(Colour::Strong, "transcripts"));
    let mut told: Vec<&str> = Vec::new();
    for session in sessions {
        if told.len() < 5 && !told.contains(&session) {
            told.push(session);
            let _ = writeln!(text, "  honeyguide session {}", escape(session));
        }
    }
    text
}

/// How the options say it.
impl From<args::ClusterSort> for cluster::Order {
    fn from(sort: args::ClusterSort) -> cluster::Order {
        match sort {
            args::ClusterSort::Addresses => cluster::Order::Addresses,
            args::ClusterSort::Sessions => cluster::Order::Sessions,
        }
    }
}
