//! `honeyguide status`: what the daemon is doing, or what the data directory holds.
use super::client::Target;
use super::context::{Context, Exit};
use super::{answers, format, print};
use std::io::Write;

pub fn run(context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let status: format::Status = match Target::find(&settings)? {
        Target::Daemon(client) => client.get(&["api", "v1", "status"], &[], None)?,
        Target::Local(open) => {
            let holdings = answers::status(&open.store, &settings.data_dir, Some(crate::events::id::hex(&open.digest())))?;
            let sinks = crate::service::sinks::list_stopped(&settings.sinks, &open.state, &open.store, crate::events::time::now());
            let archive = settings.archive.settings().as_ref().map(crate::archive::ArchiveStatus::of);
            format::Status { sinks, archive, ..holdings }
        }
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&status, &context.output)?)?;
    } else {
        write!(out, "{}", status.render(&context.output))?;
    }
    Ok(Exit::Done)
}
