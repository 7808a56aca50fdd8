//! `honeyguide top`: the most frequent values of a field.
use super::client::Target;
use super::context::{Context, Exit};
use super::{answers, args, format, print};
use std::io::Write;

pub fn run(args: &args::Top, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Top, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let rows: Vec<format::TopRow> = match Target::find(&context.settings()?)? {
        Target::Daemon(client) => client.get(&["api", "v1", "terms", args.field.name()], &[("limit", args.limit.to_string())], None)?,
        Target::Local(open) => answers::top(&open.store, args.field, args.limit)?,
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&rows, &context.output)?)?;
    } else {
        write!(out, "{}", format::top(args.field.name(), &rows, &context.output))?;
    }
    Ok(Exit::Done)
}
