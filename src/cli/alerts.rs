//! `honeyguide alerts`: which alerts are open, what was told, and whether a rule would arrive.
use super::args::{self, AlertsAction};
use super::client::{Client, Target};
use super::context::{Context, Exit, Usage};
use super::terminal::{Align, Colour, Output, Table, escape};
use super::{format, print};
use crate::admin::sinks::Nothing;
use crate::alerts::{Happened, Notice};
use crate::service::alerts::{self, AlertRow, AlertTest, Alerts, HISTORY_MAX};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::io::Write;

pub fn run(args: &args::Alerts, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Alerts, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    match &args.action {
        AlertsAction::List => {
            let rows: Vec<AlertRow> = match Target::find(&settings)? {
                Target::Daemon(client) => client.get(&["api", "v1", "alerts"], &[], None)?,
                Target::Local(open) => alerts::list(&Alerts::new(open.store.clone(), open.state.clone()), &settings.alerts.rules)?,
            };
            context.tell(&rows, |output| list(&rows, output), out)?;
            Ok(if rows.iter().any(|row| !row.open.is_empty()) { Exit::Findings } else { Exit::Done })
        }
        AlertsAction::Test { rule } => {
            let client = Client::find(&settings)?;
            let client = client.context("no daemon runs on this data directory, and only a daemon delivers: start it first")?;
            let done: AlertTest = client.post(&["api", "v1", "alerts", rule, "test"], &Nothing {})?;
            context.tell(&done, |output| tested(&done, output), out)?;
            Ok(if done.sinks.iter().all(|sink| sink.arrived) { Exit::Done } else { Exit::Failed })
        }
        AlertsAction::History { rule, limit } => {
            if *limit > HISTORY_MAX {
                return Err(Usage(format!("--limit is at most {HISTORY_MAX}")).into());
            }
            let rows: Vec<Notice> = match Target::find(&settings)? {
                Target::Daemon(client) => {
                    let mut asked = vec![("limit", limit.to_string())];
                    asked.extend(rule.iter().map(|rule| ("rule", rule.clone())));
                    client.get(&["api", "v1", "alerts", "history"], &asked, None)?
                }
                Target::Local(open) => alerts::history(&open.store, rule.as_deref(), *limit)?,
            };
            context.tell(&rows, |output| history(&rows, output), out)?;
            Ok(Exit::Done)
        }
    }
}

fn list(rows: &[AlertRow], output: &Output) -> String {
    if rows.is_empty() {
        return "no rule is configured: add an [[alert]] to the configuration, ops/ALERTS.md shows some\n".to_owned();
    }
    let columns =
        [("rule", Align::Left), ("when", Align::Left), ("open", Align::Right), ("to", Align::Left), ("on their way", Align::Right)];
    let mut table = Table::new(&columns);
    for row in rows {
        let to = if row.to.is_empty() { "(log only)".to_owned() } else { row.to.join(", ") };
        let (open, pending) = (row.open.len().to_string(), row.pending.to_string());
        table.row([row.rule.as_str().into(), row.when.as_str().into(), open.into(), to.into(), pending.into()]);
    }
    let mut text = table.render(output);
    for row in rows {
        for open in &row.open {
            let subject = if open.subject.is_empty() { String::new() } else { format!(" {}", escape(&open.subject)) };
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{}{subject}: {} (since {})",
                output.paint(Colour::Bad, &row.rule),
                escape(&open.summary),
                short(&open.since)
            );
        }
    }
    text
}

fn short(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

fn tested(done: &AlertTest, output: &Output) -> String {
    let mut text = match done.holds {
        None => format!("{}: nothing can be said now\n", done.rule),
        Some(0) => format!("{}: nothing to tell now\n", done.rule),
        Some(count) => format!("{}: {} now\n", done.rule, format::plural(count, "thing to tell", "things to tell")),
    };
    for reading in &done.readings {
        let _ = writeln!(text, "  {}", escape(reading));
    }
    for sink in &done.sinks {
        let told = match &sink.why {
            None => output.paint(Colour::Good, "took the test"),
            Some(why) => output.paint(Colour::Bad, &escape(why)),
        };
        let _ = writeln!(text, "{}: {told}", sink.sink);
    }
    if done.sinks.is_empty() {
        text.push_str("the rule names no sinks: log, metrics and `honeyguide alerts` tell\n");
    }
    text
}

fn history(rows: &[Notice], output: &Output) -> String {
    if rows.is_empty() {
        return "nothing was told\n".to_owned();
    }
    let mut table = Table::new(&[
        ("at", Align::Left),
        ("rule", Align::Left),
        ("", Align::Left),
        ("subject", Align::Left),
        ("after", Align::Right),
        ("", Align::Left),
    ]);
    for row in rows {
        let lasted = row.duration_seconds.filter(|_| row.state != Happened::Firing);
        let lasted = lasted.map(|seconds| format::seconds(seconds as f64)).unwrap_or_default();
        let at = short(&crate::events::time::format(row.at));
        table.row([
            at.into(),
            row.alert.as_str().into(),
            row.state.name().into(),
            row.subject.as_str().into(),
            lasted.into(),
            row.summary.as_str().into(),
        ]);
    }
    table.render(output)
}
