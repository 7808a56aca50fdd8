//! `honeyguide geoip`: databases that tell where addresses are.
use super::args::{self, GeoipAction};
use super::client::{self, Client, Target};
use super::context::{Context, Exit, us};
use super::terminal::{Align, Output, Table, escape};
use super::{answers, checking, format, print, terminal};
use crate::admin::sinks::Nothing;
use crate::config::Settings;
use crate::events::time;
use crate::geoip::Kind;
use crate::service::geoip::{self, DatabaseRow, Import, PlaceRow};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

pub fn run(args: &args::Geoip, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Geoip, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    match &args.action {
        GeoipAction::Import { file, name } => {
            let row = import(file, *name, &settings)?;
            context.tell(&row, |_| imported(&row), out)?;
        }
        GeoipAction::List => {
            let rows: Vec<DatabaseRow> = match Target::find(&settings)? {
                Target::Daemon(client) => client.get(&["api", "v1", "geoip"], &[], None)?,
                Target::Local(open) => geoip::list(&open.store)?,
            };
            context.tell(&rows, |output| list(&rows, output), out)?;
        }
        GeoipAction::Remove { name } => {
            match Target::find(&settings)? {
                Target::Daemon(client) => drop(client.post::<Nothing>(&["api", "v1", "geoip", name.name(), "remove"], &Nothing {})?),
                Target::Local(open) => geoip::remove(&open.store, *name, &us(), time::now())?,
            }
            let text = format!(
                "{} removed: new events have no such term any more, and old ones none after `honeyguide geoip apply`\n",
                name.name()
            );
            context.tell(&Nothing {}, |_| text, out)?;
        }
        GeoipAction::Lookup { address } => {
            let row: PlaceRow = match Target::find(&settings)? {
                Target::Daemon(client) => client.get(&["api", "v1", "geoip", "lookup", &address.to_string()], &[], None)?,
                Target::Local(open) => geoip::lookup(&open.store, *address),
            };
            context.tell(&row, |_| place(&row), out)?;
        }
        GeoipAction::Apply => return apply(&settings, context, out),
    }
    Ok(Exit::Done)
}

fn import(file: &Path, name: Option<Kind>, settings: &Settings) -> anyhow::Result<DatabaseRow> {
    if let Some(client) = Client::find(settings)? {
        let path = std::path::absolute(file).context("cannot tell where the working directory is")?;
        return client.post(&["api", "v1", "geoip"], &Import { path, name });
    }
    // Before this process becomes the data directory's owner, who may not be allowed to read it.
    let mut content = geoip::open_file(file)?;
    let open = client::open_existing(settings)?.into_store();
    Ok(geoip::import(&open.store, &file.to_string_lossy(), &mut content, name, &us(), time::now())?)
}

fn apply(settings: &Settings, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let bar = checking::bar();
    let report: format::RebuildReport = match Client::find(settings)? {
        Some(client) => checking::follow(&client, "geoip/apply", &bar)?,
        None => {
            // Opening it indexed the last segment with the databases in force; the others are made again.
            let open = client::open_existing(settings)?.into_store();
            answers::geoip_apply(&open.store, &open.state, time::now(), &mut |done, total| checking::show(&bar, done, total))?
        }
    };
    bar.finish_and_clear();
    context.tell(&report, |output| report.render(output), out)?;
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::Findings })
}

fn imported(row: &DatabaseRow) -> String {
    format!(
        "{}: {} of {}, {} of IPv4 and {} of IPv6, {}\nnew events have the term {}; for those of before: `honeyguide geoip apply`\n",
        row.name.name(),
        escape(&row.r#type),
        row.built.get(..10).unwrap_or(&row.built),
        format::plural(row.networks_ipv4, "network", "networks"),
        format::plural(row.networks_ipv6, "network", "networks"),
        terminal::bytes(row.bytes),
        row.name.name(),
    )
}

fn list(rows: &[DatabaseRow], output: &Output) -> String {
    if rows.is_empty() {
        return "no database is imported: `honeyguide geoip import FILE` takes one\n".to_owned();
    }
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("type", Align::Left),
        ("built", Align::Left),
        ("IPv4", Align::Right),
        ("IPv6", Align::Right),
        ("records", Align::Right),
        ("size", Align::Right),
    ]);
    for row in rows {
        table.row([
            row.name.name().into(),
            row.r#type.as_str().into(),
            row.built.get(..10).unwrap_or(&row.built).into(),
            terminal::count(row.networks_ipv4).into(),
            terminal::count(row.networks_ipv6).into(),
            terminal::count(row.records).into(),
            terminal::bytes(row.bytes).into(),
        ]);
    }
    table.render(output)
}

fn place(row: &PlaceRow) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &Option<String>, network: &Option<String>| {
        let network = network.as_ref().map(|network| format!(" ({network})")).unwrap_or_default();
        let _ = match value {
            Some(value) => writeln!(text, "{name:<12} {}{network}", escape(value)),
            None => writeln!(text, "{name:<12} unknown"),
        };
    };
    line("address", &Some(row.address.clone()), &None);
    line("country", &row.country, &row.country_network);
    line("asn", &row.asn, &row.asn_network);
    if row.organisation.is_some() {
        line("organisation", &row.organisation, &None);
    }
    text
}
