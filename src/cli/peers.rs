//! `honeyguide peers`: whether what the configuration names can be reached.
use super::client::Client;
use super::context::{Context, Exit};
use super::terminal::{Align, Output, Table};
use super::{format, print};
use crate::admin::sinks::Nothing;
use crate::service::peers::{PeerRow, check};
use anyhow::Context as _;
use std::io::Write;

pub fn run(context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    // The daemon asks as who it is, from where it is: with its files, its network, its name servers.
    let rows: Vec<PeerRow> = match Client::find(&settings)? {
        Some(client) => client.post(&["api", "v1", "peers", "check"], &Nothing {})?,
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
            runtime.block_on(check(&settings))
        }
    };
    context.tell(&rows, |output| table(&rows, output), out)?;
    Ok(if rows.iter().all(|row| row.reachable) { Exit::Done } else { Exit::Findings })
}

fn table(rows: &[PeerRow], output: &Output) -> String {
    if rows.is_empty() {
        return "the configuration names nobody to reach: no sink, issuer, enricher, archive or hook\n".to_owned();
    }
    let mut table = Table::new(&[
        ("kind", Align::Left),
        ("name", Align::Left),
        ("place", Align::Left),
        ("reachable", Align::Left),
        ("took", Align::Right),
        ("answer", Align::Left),
    ]);
    for row in rows {
        table.row([
            row.kind.as_str().into(),
            row.name.as_str().into(),
            row.place.as_str().into(),
            if row.reachable { "yes" } else { "no" }.into(),
            format::seconds(row.seconds).into(),
            row.answer.as_str().into(),
        ]);
    }
    table.render(output)
}
