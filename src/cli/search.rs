//! `honeyguide search`: the events that meet all conditions.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::redacting::Redacting;
use super::{archive, args, format, print};
use crate::config::Settings;
use crate::events::time;
use crate::service::leaving::Leaving;
use crate::service::{self, Begin, PageEnd, SearchCost, SearchRequest};
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

pub fn run(args: &args::Search, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Search, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let request = SearchRequest { query: args.query.join(" "), limit: args.limit(), newest: args.newest };
    let begin = Begin::read(&request, args.cursor.as_deref(), time::now()).map_err(|error| Usage(error.to_string()))?;
    if let Some(file) = &args.out {
        return archive::export(&request, args.redact, file, context, out);
    }
    if args.explain {
        return explain(args, &request, begin, context, &settings, out);
    }
    let redacting = Redacting::new(args.redact, &settings)?;
    let mut printer = Printer { args, context, out, printed: 0 };
    let end = match Target::find(&settings)? {
        Target::Daemon(client) => {
            let parameters =
                parameters(&request, args).chain([("end", true.to_string())]).chain(redacting.parameters()).collect::<Vec<_>>();
            client.redacted(redacting.digest()).lines_to_end(&["api", "v1", "events"], &parameters, &mut |line| printer.print(line))?
        }
        Target::Local(open) => {
            let mut leaving = Leaving::new(redacting.policy()?.map(Arc::new));
            let mut failed = None;
            let end = service::search_page(&open.store, &request, begin, &mut |hit| match printer.print(&leaving.line(hit)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            end
        }
    };
    printer.end(&end)
}

fn parameters(request: &SearchRequest, args: &args::Search) -> impl Iterator<Item = (&'static str, String)> {
    let always = [("query", request.query.clone()), ("limit", request.limit.to_string()), ("newest", request.newest.to_string())];
    always.into_iter().chain(args.cursor.clone().map(|cursor| ("cursor", cursor)))
}

/// What the search takes, instead of its answer.
fn explain(
    args: &args::Search,
    request: &SearchRequest,
    begin: Begin,
    context: &Context,
    settings: &Settings,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let cost: SearchCost = match Target::find(settings)? {
        Target::Daemon(client) => client.get(&["api", "v1", "events", "cost"], &parameters(request, args).collect::<Vec<_>>(), None)?,
        Target::Local(open) => service::search_cost(&open.store, request, begin)?,
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&cost, &context.output)?)?;
        return Ok(Exit::Done);
    }
    let more = if cost.more { ", and there are more" } else { "" };
    let events = format::plural(cost.events, "event", "events");
    writeln!(out, "segments  {} of {} were asked, {} may hold a match", cost.segments_asked, cost.segments, cost.segments_possible)?;
    writeln!(out, "blocks    {} of {} may hold a match there, {} were read", cost.blocks_possible, cost.blocks, cost.blocks_read)?;
    writeln!(out, "lines     {} were looked at closely", cost.lines_parsed)?;
    writeln!(out, "found     {events}{more}, in {:.1} ms", cost.seconds * 1e3)?;
    Ok(Exit::Done)
}

struct Printer<'a> {
    args: &'a args::Search,
    context: &'a Context,
    out: &'a mut dyn Write,
    printed: u64,
}

impl Printer<'_> {
    fn print(&mut self, line: &[u8]) -> anyhow::Result<()> {
        self.printed += 1;
        let output = &self.context.output;
        if self.context.global.json || self.args.raw {
            self.out.write_all(&output.json_line(line, self.args.raw))?;
            self.out.write_all(b"\n")?;
        } else {
            writeln!(self.out, "{}", format::hit(line, output))?;
        }
        Ok(())
    }

    fn end(self, end: &PageEnd) -> anyhow::Result<Exit> {
        self.out.flush()?;
        let reader = match (self.context.global.json, self.context.output.terminal) {
            (true, _) => Reader::Program,
            (false, true) => Reader::Person,
            (false, false) => Reader::Pipe,
        };
        if let Some(hint) = hint(self.printed, self.args.cursor.is_some(), end, reader) {
            eprintln!("{hint}");
        }
        Ok(Exit::Done)
    }
}

/// Who gets the events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Person,
    Program,
    /// A pager, as a rule: what is said on standard error would disturb it.
    Pipe,
}

/// What is said behind the events on standard error. Programs too are told that they did not get everything, and how to go on.
fn hint(shown: u64, is_rest: bool, end: &PageEnd, reader: Reader) -> Option<String> {
    match (reader, end.more) {
        (Reader::Person | Reader::Program, true) => {
            let shown = if is_rest { format!("{shown} of the rest") } else { format!("the first {shown}") };
            let go_on = end.next.as_ref().map(|cursor| format!(", --cursor {cursor} goes on behind these")).unwrap_or_default();
            Some(format!("{shown}; there are more: --limit shows them{go_on}"))
        }
        (Reader::Person, false) if shown == 0 => Some(if is_rest { "no more events match".into() } else { "no event matches".into() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_are_told_how_to_go_on() {
        let end = |next: Option<&str>| PageEnd { more: true, next: next.map(str::to_owned) };
        let all = PageEnd::default();
        let first = "the first 50; there are more: --limit shows them, --cursor AQ goes on behind these";
        let rest = "50 of the rest; there are more: --limit shows them, --cursor AQ goes on behind these";
        for (shown, is_rest, end, reader, said) in [
            (50, false, &end(Some("AQ")), Reader::Person, Some(first)),
            (50, false, &end(Some("AQ")), Reader::Program, Some(first)),
            (50, false, &end(Some("AQ")), Reader::Pipe, None),
            (50, true, &end(Some("AQ")), Reader::Person, Some(rest)),
            (0, false, &end(None), Reader::Person, Some("the first 0; there are more: --limit shows them")),
            (7, false, &all, Reader::Person, None),
            (7, false, &all, Reader::Program, None),
            (0, false, &all, Reader::Person, Some("no event matches")),
            (0, true, &all, Reader::Person, Some("no more events match")),
            (0, false, &all, Reader::Program, None),
        ] {
            assert_eq!(hint(shown, is_rest, end, reader).as_deref(), said);
        }
    }
}
