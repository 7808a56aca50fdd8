//! `honeyguide search`: the events that meet all conditions.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::{args, format, print};
use crate::config::Settings;
use crate::events::time;
use crate::service::{self, Begin, PageEnd, SearchCost, SearchRequest};
use std::io::Write;
use std::ops::ControlFlow;

pub fn run(args: &args::Search, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Search, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let request = SearchRequest { query: args.query.join(" "), limit: args.limit, newest: args.newest };
    let begin = Begin::read(&request, args.cursor.as_deref(), time::now()).map_err(|error| Usage(error.to_string()))?;
    if args.explain {
        return explain(args, &request, begin, context, &settings, out);
    }
    let mut printer = Printer { args, context, out, printed: 0 };
    let end = match Target::find(&settings)? {
        Target::Daemon(client) => {
            let parameters = parameters(&request, args).chain([("end", true.to_string())]).collect::<Vec<_>>();
            client.lines_to_end(&["api", "v1", "events"], &parameters, &mut |line| printer.print(line))?
        }
        Target::Local(open) => {
            let mut failed = None;
            let end = service::search_page(&open.store, &request, begin, &mut |hit| match printer.print(hit.line) {
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
    writeln!(out, "segments  {} of {} may hold a match", cost.segments_possible, cost.segments)?;
    writeln!(out, "blocks    {} of {} may hold a match, {} were read", cost.blocks_possible, cost.blocks, cost.blocks_read)?;
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
        if let Some(hint) = self.hint(end) {
            eprintln!("{hint}");
        }
        Ok(Exit::Done)
    }

    /// What is said on standard error. Programs are told too that they did not get everything, and how to go on; what a person pipes
    /// into a pager is not disturbed.
    fn hint(&self, end: &PageEnd) -> Option<String> {
        let (terminal, json) = (self.context.output.terminal, self.context.global.json);
        match (self.printed, end.more) {
            (0, false) if terminal && !json => Some("no event matches".into()),
            (shown, true) if terminal || json => {
                let go_on = end.next.as_ref().map(|cursor| format!(", --cursor {cursor} goes on behind these")).unwrap_or_default();
                let shown = if self.args.cursor.is_some() { format!("{shown} of the rest") } else { format!("the first {shown}") };
                Some(format!("{shown}; there are more: --limit shows them{go_on}"))
            }
            _ => None,
        }
    }
}
