//! `honeyguide sinks`: where deliveries stand, and what an operator can do about them.
use super::args::{self, DeadAction, SinksAction};
use super::client::{Client, Target};
use super::context::{Context, Exit, Usage, us};
use super::terminal::{Align, Colour, Output, Table, escape};
use super::{format, print, terminal};
use crate::admin::changes::Purged;
use crate::admin::sinks::Nothing;
use crate::config::Settings;
use crate::events::time;
use crate::service::letters::{self, DeadLetter};
use crate::service::sinks::{self, DeadLetterRow, Order, Ordered, Redelivered, SinkRow, TestReport};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::io::Write;
use std::ops::ControlFlow;

/// What of a dead letter's content is shown; its JSON form has all of it.
const CONTENT_COLUMNS_MAX: usize = 4_000;

pub fn run(args: &args::Sinks, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Sinks, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    match &args.action {
        SinksAction::List => {
            let rows = rows(&settings)?;
            context.tell(&rows, |output| list(&rows, output), out)?;
            Ok(Exit::Done)
        }
        SinksAction::Show { name } => {
            let row = rows(&settings)?.into_iter().find(|row| row.name == *name);
            let row = row.ok_or_else(|| crate::service::ServiceError::NoSink(name.clone()))?;
            context.tell(&row, |output| show(&row, output), out)?;
            Ok(Exit::Done)
        }
        SinksAction::Test { name } => {
            let report = test(name, &settings)?;
            context.tell(&report, |output| tested(&report, output), out)?;
            Ok(if report.usable { Exit::Done } else { Exit::Failed })
        }
        SinksAction::Pause { name } => order(name, Order::Pause, &settings, context, out),
        SinksAction::Resume { name } => order(name, Order::Resume, &settings, context, out),
        SinksAction::Replay { name, from, since } => {
            let order_ = match (from, since) {
                (Some(seq), _) => Order::ReplayFrom(*seq),
                (None, Some(since)) => Order::ReplaySince(*since),
                (None, None) => return Err(Usage("say from where: --from SEQUENCE or --since TIME".into()).into()),
            };
            order(name, order_, &settings, context, out)
        }
        SinksAction::Forget { name } => {
            match Target::find(&settings)? {
                Target::Daemon(client) => drop(client.post::<Nothing>(&path(name, &["forget"]), &Nothing {})?),
                Target::Local(open) => sinks::forget(&settings.sinks, &open.state, &open.store, name, &us())?,
            }
            context.tell(&Nothing {}, |_| format!("forgotten: configured again, {name} begins at its `start`\n"), out)?;
            Ok(Exit::Done)
        }
        SinksAction::Dead(args::Dead { action }) => match action {
            DeadAction::List { name, limit } => {
                let rows: Vec<DeadLetterRow> = match Target::find(&settings)? {
                    Target::Daemon(client) => client.get(&path(name, &["dead"]), &[("limit", limit.to_string())], None)?,
                    Target::Local(open) => sinks::dead(&open.store, name, *limit)?,
                };
                context.tell(&rows, |output| dead(&rows, output), out)?;
                Ok(Exit::Done)
            }
            DeadAction::Show { name, number } => {
                let letter: DeadLetter = match Target::find(&settings)? {
                    Target::Daemon(client) => client.get(&path(name, &["dead", &number.to_string()]), &[], None)?,
                    Target::Local(open) => letters::letter(&open.store, name, *number)?,
                };
                context.tell(&letter, |output| dead_letter(&letter, output), out)?;
                Ok(Exit::Done)
            }
            DeadAction::Export { name } => {
                match Target::find(&settings)? {
                    Target::Daemon(client) => client.lines(&path(name, &["dead", "export"]), &[], &mut |line| {
                        out.write_all(line)?;
                        out.write_all(b"\n")?;
                        Ok(ControlFlow::Continue(()))
                    })?,
                    Target::Local(open) => {
                        let mut written: anyhow::Result<()> = Ok(());
                        letters::each_letter(&open.store, name, &mut |letter| {
                            written = export_line(letter, out);
                            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                        })?;
                        written?;
                    }
                }
                Ok(Exit::Done)
            }
            DeadAction::Retry { name } => {
                let client = Client::find(&settings)?;
                let client = client.context("no daemon runs on this data directory, and only a daemon delivers: start it first")?;
                let done: Redelivered = client.post(&path(name, &["dead", "retry"]), &Nothing {})?;
                let text = format!("{} sent again, {} arrived\n", format::plural(done.retried, "item", "items"), done.delivered);
                context.tell(&done, |_| text, out)?;
                Ok(if done.delivered < done.retried { Exit::Findings } else { Exit::Done })
            }
            DeadAction::Purge { name } => {
                let purged: Purged = match Target::find(&settings)? {
                    Target::Daemon(client) => client.post(&path(name, &["dead", "purge"]), &Nothing {})?,
                    Target::Local(open) => Purged { removed: sinks::dead_purge(&open.store, name, &us())? },
                };
                context.tell(&purged, |_| format!("{} removed\n", format::plural(purged.removed, "dead letter", "dead letters")), out)?;
                Ok(Exit::Done)
            }
        },
    }
}

fn path<'p>(name: &'p str, rest: &[&'p str]) -> Vec<&'p str> {
    ["api", "v1", "sinks", name].iter().chain(rest).copied().collect()
}

fn rows(settings: &Settings) -> anyhow::Result<Vec<SinkRow>> {
    Ok(match Target::find(settings)? {
        Target::Daemon(client) => client.get(&["api", "v1", "sinks"], &[], None)?,
        Target::Local(open) => sinks::list_stopped(&settings.sinks, &open.state, &open.store, time::now()),
    })
}

fn test(name: &str, settings: &Settings) -> anyhow::Result<TestReport> {
    if let Some(client) = Client::find(settings)? {
        return client.post(&path(name, &["test"]), &Nothing {});
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    Ok(runtime.block_on(sinks::test(settings, name))?)
}

fn order(name: &str, order: Order, settings: &Settings, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let ordered: Ordered = match Target::find(settings)? {
        Target::Daemon(client) => client.post(&path(name, &["order"]), &order)?,
        Target::Local(open) => sinks::order_stopped(&settings.sinks, &open.state, &open.store, name, order, &us())?,
    };
    let state = if ordered.paused { "paused" } else { "delivers" };
    let lag = format::plural(ordered.lag_events, "event", "events");
    let skipped = match ordered.skipped {
        0 => String::new(),
        skipped => format!("; {} before that left out", format::plural(skipped, "event", "events")),
    };
    let text = format!("{name} {state}: at sequence {}, {lag} behind{skipped}\n", ordered.cursor);
    context.tell(&ordered, |_| text, out)?;
    Ok(Exit::Done)
}

/// `sinks list` for people; also part of `status`. Its JSON form is the array of rows.
pub fn list(rows: &[SinkRow], output: &Output) -> String {
    if rows.is_empty() {
        return "no sink is configured: add a [[sink]] to the configuration, `honeyguide check` helps\n".to_owned();
    }
    let mut table = Table::new(&[
        ("sink", Align::Left),
        ("type", Align::Left),
        ("state", Align::Left),
        ("behind", Align::Right),
        ("delivered", Align::Right),
        ("dead", Align::Right),
        ("reason", Align::Left),
    ]);
    for row in rows {
        table.row([
            row.name.as_str().into(),
            row.r#type.as_str().into(),
            row.state.as_str().into(),
            terminal::count(row.lag_events).into(),
            terminal::count(row.delivered).into(),
            row.dead_letters_kept.to_string().into(),
            row.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.render(output)
}

fn show(row: &SinkRow, output: &Output) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{} {}", output.paint(Colour::Quiet, &format!("{name:<12}")), escape(value));
        }
    };
    let state = row.reason.as_ref().map_or(row.state.clone(), |reason| format!("{}: {reason}", row.state));
    let waited = row.lag_seconds.map(|seconds| format!(", the oldest for {}", format::seconds(seconds))).unwrap_or_default();
    line("sink", &row.name);
    line("type", &row.r#type);
    line("place", &row.place);
    line("state", &state);
    line("filter", row.filter.as_deref().unwrap_or_default());
    line("cursor", &format!("{} of {}", row.cursor, row.head));
    line("behind", &format!("{}{waited}", format::plural(row.lag_events, "event", "events")));
    line("delivered", &format!("{} since the start", format::plural(row.delivered, "item", "items")));
    line(
        "requests",
        &format!("{}, {} of them failed; {} under way of {} allowed", row.attempts, row.failures, row.in_flight, row.concurrency),
    );
    if let Some(percent) = row.success_percent {
        line("last hour", &format!("{percent} % of {} succeeded", format::plural(row.attempts_hour, "request", "requests")));
    }
    line("in memory", &format!("{}, {}", format::plural(row.batches, "batch", "batches"), terminal::bytes(row.batch_bytes)));
    line(
        "dead",
        &format!("{} kept, {} since the start; see `honeyguide sinks dead list {}`", row.dead_letters_kept, row.dead_letters, row.name),
    );
    if row.lost > 0 {
        line("lost", &format!("{} gone before they were delivered", format::plural(row.lost, "event was", "events were")));
    }
    line("last success", row.last_success.as_deref().unwrap_or("none since the start"));
    if let (Some(error), Some(at)) = (&row.last_error, &row.last_error_at) {
        line("last error", &format!("{at}: {error}"));
    }
    text
}

fn tested(report: &TestReport, output: &Output) -> String {
    let status = report.status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
    let text = format!("{}: {}{status}, after {}", report.sink, report.answer, format::seconds(report.seconds));
    let colour = if report.usable { Colour::Good } else { Colour::Bad };
    format!("{}\n", output.paint(colour, &escape(&text)))
}

fn export_line(letter: &DeadLetter, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, letter)?;
    out.write_all(b"\n")?;
    Ok(())
}

fn dead_letter(letter: &DeadLetter, output: &Output) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{} {}", output.paint(Colour::Quiet, &format!("{name:<9}")), escape(value));
    };
    line("number", &letter.number.to_string());
    line("sink", &letter.sink);
    line("event", &format!("{} of {}", letter.sequence, letter.time));
    line("id", &letter.id);
    line("source", &format!("{} ({})", letter.source, letter.format));
    line("received", &letter.received_at);
    line("reason", &letter.reason);
    let kept = if letter.is_whole { "" } else { ", not kept whole: it cannot be sent again" };
    line("size", &format!("{}{kept}", terminal::bytes(letter.bytes)));
    let content = letter.text.as_deref().or(letter.hex.as_deref()).unwrap_or("(nothing is kept)");
    let _ = writeln!(text, "\n{}", terminal::truncate(&escape(content), CONTENT_COLUMNS_MAX));
    text
}

fn dead(rows: &[DeadLetterRow], output: &Output) -> String {
    if rows.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut table = Table::new(&[
        ("number", Align::Right),
        ("sequence", Align::Right),
        ("received", Align::Left),
        ("source", Align::Left),
        ("size", Align::Right),
        ("reason", Align::Left),
    ]);
    for row in rows {
        table.row([
            row.number.to_string().into(),
            row.sequence.to_string().into(),
            row.received_at.get(..19).unwrap_or(&row.received_at).replace('T', " ").into(),
            row.source.as_str().into(),
            terminal::bytes(row.bytes).into(),
            row.reason.as_str().into(),
        ]);
    }
    table.render(output)
}
