//! `honeyguide new`: values seen for the first time since then.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::{answers, args, counted, format, print};
use crate::events::{Micros, time};
use crate::service::ServiceError;
use std::io::Write;

pub fn run(args: &args::New, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::New, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (settings, now) = (context.settings()?, time::now());
    let named = [("since", &args.since), ("until", &args.until)];
    let named = named.into_iter().filter_map(|(name, time)| Some(format!("{name}:{}", time.as_ref()?)));
    let span = args.words.iter().cloned().chain(named).collect::<Vec<_>>().join(" ");
    let query = counted::checked(&span, now)?;
    if query.since.is_none() || !query.clauses.is_empty() {
        return Err(Usage(ServiceError::NoSpan.to_string()).into());
    }
    let rows: Vec<format::TopRow> = match Target::find(&settings)? {
        Target::Daemon(client) => {
            // No event is older than 1970, and years before are not written as others.
            let written = |time: Micros| time::format(time.max(0));
            let until = query.until.map(|until| ("until", written(until)));
            let asked = [("since", query.since.map(written).unwrap_or_default()), ("limit", args.limit.to_string())];
            let asked: Vec<_> = asked.into_iter().chain(until).collect();
            client.get(&["api", "v1", "terms", args.field.name(), "new"], &asked, None)?
        }
        Target::Local(open) => answers::new_values(&open.store, args.field, &span, args.limit, now)?,
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&rows, &context.output)?)?;
    } else if rows.is_empty() {
        writeln!(out, "no new {}", args.field.name())?;
    } else {
        write!(out, "{}", format::top(args.field.name(), None, &rows, &context.output))?;
    }
    Ok(Exit::Done)
}
