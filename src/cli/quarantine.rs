//! `honeyguide quarantine`: look at what was refused, try it again, or remove it.
use super::args::{self, QuarantineAction};
use super::client::{self, Client, Target};
use super::context::{Context, Exit};
use super::format::{self, QuarantineItem, QuarantineRow};
use super::in_process::{Warnings, with_engine};
use super::{answers, print, terminal};
use crate::admin::changes::{Purged, retry_selected};
use crate::config::Settings;
use crate::events::time;
use crate::service::{self, RetryOutcome, Selection};
use crate::sources::Reason;
use std::io::Write;
use tokio::sync::watch;

pub fn run(args: &args::Quarantine, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Quarantine, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    match &args.action {
        QuarantineAction::List { reason, limit } => list(*reason, *limit, &settings, context, out),
        QuarantineAction::Show { number, raw } => show(*number, *raw, &settings, context, out),
        QuarantineAction::Retry(selection) => retry(&selected(selection), &settings, context, out),
        QuarantineAction::Purge(selection) => purge(&selected(selection), &settings, context, out),
    }
}

fn selected(args: &args::Selection) -> Selection {
    Selection { numbers: args.numbers.clone(), reason: args.reason, all: args.all }.sorted()
}

const PATH: [&str; 3] = ["api", "v1", "quarantine"];

fn list(reason: Option<Reason>, limit: u64, settings: &Settings, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let rows: Vec<QuarantineRow> = match Target::find(settings)? {
        Target::Daemon(client) => {
            let mut parameters = vec![("limit", limit.to_string())];
            parameters.extend(reason.map(|reason| ("reason", reason.name().to_owned())));
            client.get(&PATH, &parameters, None)?
        }
        Target::Local(open) => answers::quarantine_list(&open.store, reason, limit)?,
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&rows, &context.output)?)?;
    } else {
        write!(out, "{}", format::quarantine_list(&rows, &context.output))?;
    }
    Ok(Exit::Done)
}

fn show(number: u64, raw: bool, settings: &Settings, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let name = number.to_string();
    let (item, bytes) = match Target::find(settings)? {
        Target::Daemon(client) if raw => (None, client.get_bytes(&["api", "v1", "quarantine", &name, "bytes"])?),
        Target::Daemon(client) => (Some(client.get::<QuarantineItem>(&["api", "v1", "quarantine", &name], &[], None)?), Vec::new()),
        Target::Local(open) => {
            let (item, bytes) = answers::quarantine_item(&open.store, number)?;
            (Some(item), bytes)
        }
    };
    match item {
        Some(item) if !raw && context.global.json => writeln!(out, "{}", format::json(&item, &context.output)?)?,
        Some(item) if !raw => write!(out, "{}", item.render(&context.output))?,
        _ => out.write_all(&bytes)?,
    }
    Ok(Exit::Done)
}

fn purge(selection: &Selection, settings: &Settings, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let purged: Purged = match Target::find(settings)? {
        Target::Daemon(client) => client.post(&["api", "v1", "quarantine", "purge"], selection)?,
        Target::Local(open) => Purged { removed: service::quarantine_purge(&open.store, selection, time::now())? },
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&purged, &context.output)?)?;
    } else {
        writeln!(out, "{} removed", records(purged.removed))?;
    }
    Ok(if purged.removed == 0 && !selection.numbers.is_empty() { Exit::Failed } else { Exit::Done })
}

fn retry(selection: &Selection, settings: &Settings, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let outcome: RetryOutcome = match Client::find(settings)? {
        Some(client) => client.post(&["api", "v1", "quarantine", "retry"], selection)?,
        None => {
            let warnings = Warnings::beside(&terminal::progress(None))?;
            let data_dir = client::open_existing(settings)?;
            let (_go_on, stopping) = watch::channel(false);
            with_engine(data_dir, settings, warnings.telemetry.clone(), async |engine| {
                retry_selected(engine, selection.clone(), stopping).await
            })??
        }
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&outcome, &context.output)?)?;
    } else {
        writeln!(out, "{} tried again, {} accepted now and in the journal", records(outcome.retried), outcome.resolved)?;
    }
    // Refused again: as `load` says it.
    Ok(if outcome.resolved < outcome.retried { Exit::Findings } else { Exit::Done })
}

fn records(number: u64) -> String {
    format!("{number} {}", if number == 1 { "record" } else { "records" })
}
