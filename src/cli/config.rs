//! `honeyguide config`: the settings in force, without what may be secret.
use super::client::Client;
use super::context::{Context, Exit};
use super::print;
use crate::config::disclosed::Shown;
use std::io::Write;

pub fn run(context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(context, out))
}

/// [`run`], with the answer written to `out`. Without a daemon it is what the next one would begin with.
pub fn answer(context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let tables: Vec<Shown> = match Client::find(&settings)? {
        Some(client) => client.get(&["api", "v1", "configuration"], &[], None)?,
        None => settings.shown(),
    };
    context.tell(&tables, |_| Shown::text(&tables), out)?;
    Ok(Exit::Done)
}
