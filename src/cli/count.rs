//! `honeyguide count`: how many events there are, by hour, day or week if asked.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::counted::{self, Count};
use super::{answers, args, format, print};
use crate::events::time;
use crate::index::aggregate::{Interval, Question};
use std::io::Write;

pub fn run(args: &args::Count, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Count, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (settings, now) = (context.settings()?, time::now());
    let words = counted::words(&args.words, |name| args.by.is_none() && Interval::parse(name).is_some())?;
    let by = match (args.by, words.by) {
        (Some(_), Some(_)) => return Err(Usage("one `by` is enough".to_owned()).into()),
        (Some(by), None) => Some(by),
        (None, name) => name.map(counted::interval).transpose().map_err(Usage)?,
    };
    counted::checked(&words.query, now)?;
    let target = Target::find(&settings)?;
    counted::warn(&target, context, Question::Events { by }, &words.query, now)?;
    let count: Count = match &target {
        Target::Daemon(client) => {
            let asked: Vec<_> = [("query", words.query)].into_iter().chain(by.map(|by| ("by", by.name().to_owned()))).collect();
            client.get(&["api", "v1", "count"], &asked, None)?
        }
        Target::Local(open) => answers::count(&open.store, &words.query, by, now)?,
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&count, &context.output)?)?;
    } else {
        write!(out, "{}", count.render(by, &context.output))?;
    }
    Ok(Exit::Done)
}
