//! `honeyguide verify`: every byte of the journal against its digests.
use super::client::Target;
use super::context::{Context, Exit};
use super::{answers, checking, format, print};
use std::io::Write;

pub fn run(context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let bar = checking::bar();
    let report: format::VerifyReport = match Target::find(&context.settings()?)? {
        Target::Daemon(client) => checking::follow(&client, "verify", &bar)?,
        Target::Local(open) => answers::verify(&open.store, &mut |done, total| checking::show(&bar, done, total))?,
    };
    bar.finish_and_clear();
    if context.global.json {
        writeln!(out, "{}", format::json(&report, &context.output)?)?;
    } else {
        write!(out, "{}", report.render(&context.output))?;
    }
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::Findings })
}
