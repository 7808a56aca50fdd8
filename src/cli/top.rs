//! `honeyguide top`: the most frequent values of a field, or pairs of values.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::{answers, args, counted, format, print};
use crate::events::{Field, time};
use crate::index::aggregate::Question;
use std::io::Write;

pub fn run(args: &args::Top, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Top, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (settings, now) = (context.settings()?, time::now());
    let words = counted::words(&args.words, |name| args.by.is_none() && Field::parse(name).is_some())?;
    let by = match (args.by, words.by) {
        (Some(_), Some(_)) => return Err(Usage("one `by` is enough".to_owned()).into()),
        (Some(by), None) => Some(by),
        (None, name) => name.map(counted::field).transpose().map_err(Usage)?,
    };
    if by == Some(args.field) {
        return Err(Usage(format!("{} cannot be counted by itself: name another field behind by", args.field.name())).into());
    }
    counted::checked(&words.query, now)?;
    let is_everything = words.query.is_empty() && by.is_none();
    let target = Target::find(&settings)?;
    counted::warn(&target, context, Question::Values { field: args.field, by }, &words.query, now)?;
    let rows: Vec<format::TopRow> = match &target {
        Target::Daemon(client) => {
            let asked = [("query", words.query), ("limit", args.limit.to_string())];
            let asked: Vec<_> = asked.into_iter().chain(by.map(|by| ("by", by.name().to_owned()))).collect();
            client.get(&["api", "v1", "terms", args.field.name()], &asked, None)?
        }
        Target::Local(open) => answers::top(&open.store, args.field, by, &words.query, args.limit, now)?,
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&rows, &context.output)?)?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() && !is_everything {
        writeln!(
            out,
            "no event that matches has {}",
            by.map_or(args.field.name().into(), |by| format!("{} and {}", args.field.name(), by.name()))
        )?;
        return Ok(Exit::Done);
    }
    write!(out, "{}", format::top(args.field.name(), by.map(Field::name), &rows, &context.output))?;
    if let Some(error) = rows.first().and_then(|row| row.error_at_most) {
        let error = format::plural(error, "event", "events");
        eprintln!(
            "honeyguide: more values than fit were counted: each count may be too low by up to {error}, and what is rarer may be missing"
        );
    }
    Ok(Exit::Done)
}
