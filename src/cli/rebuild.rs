//! `honeyguide rebuild`: sidecars and state again from the journal.
use super::client::{self, Client};
use super::context::{Context, Exit};
use super::{answers, checking, format, print};
use crate::events::time;
use std::io::Write;

pub fn run(context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let bar = checking::bar();
    let report: format::RebuildReport = match Client::find(&settings)? {
        Some(client) => checking::follow(&client, "rebuild", &bar)?,
        None => {
            let open = client::open_existing(&settings)?.into_store();
            answers::rebuild(&open.store, &open.state, time::now(), &mut |done, total| checking::show(&bar, done, total))?
        }
    };
    bar.finish_and_clear();
    if context.global.json {
        writeln!(out, "{}", format::json(&report, &context.output)?)?;
    } else {
        write!(out, "{}", report.render(&context.output))?;
    }
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::Findings })
}
