//! `honeyguide distinct`: how many different values a field has.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::counted::{self, Distinct};
use super::{answers, args, format, print};
use crate::events::time;
use crate::index::aggregate::Question;
use std::io::Write;

pub fn run(args: &args::Distinct, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Distinct, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (settings, now) = (context.settings()?, time::now());
    let words = counted::words(&args.words, |_| false)?;
    if words.by.is_some() {
        return Err(Usage("different values are not counted by anything: `honeyguide top FIELD by FIELD` counts pairs".to_owned()).into());
    }
    counted::checked(&words.query, now)?;
    let target = Target::find(&settings)?;
    counted::warn(&target, context, Question::Values { field: args.field, by: None }, &words.query, now)?;
    let distinct: Distinct = match &target {
        Target::Daemon(client) => client.get(&["api", "v1", "distinct", args.field.name()], &[("query", words.query)], None)?,
        Target::Local(open) => answers::distinct(&open.store, args.field, &words.query, now)?,
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&distinct, &context.output)?)?;
    } else {
        write!(out, "{}", distinct.render())?;
    }
    Ok(Exit::Done)
}
