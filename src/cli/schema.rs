//! `honeyguide schema`: the members that events were seen with, and where their types changed.
use super::client::Target;
use super::context::{Context, Exit};
use super::{answers, args, format, print};
use std::io::Write;

pub fn run(args: &args::Schema, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Schema, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let wanted = [("eventid", &args.eventid), ("sensor", &args.sensor)];
    let schemas: Vec<format::Schema> = match Target::find(&context.settings()?)? {
        Target::Daemon(client) => {
            let asked: Vec<(&str, String)> = wanted.iter().filter_map(|(name, value)| Some((*name, (*value).clone()?))).collect();
            client.get(&["api", "v1", "schemas"], &asked, None)?
        }
        Target::Local(open) => answers::schemas(&open.store, args.eventid.as_deref(), args.sensor.as_deref()),
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&schemas, &context.output)?)?;
    } else {
        write!(out, "{}", format::schemas(&schemas, &context.output))?;
    }
    Ok(Exit::Done)
}
