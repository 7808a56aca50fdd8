//! `honeyguide search`: the events that meet all conditions.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::{args, format, print};
use crate::config::Settings;
use crate::events::time;
use crate::index::query::Query;
use crate::service::{self, SearchCost, SearchRequest};
use std::io::Write;
use std::ops::ControlFlow;

pub fn run(args: &args::Search, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Search, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let (query, now) = (args.query.join(" "), time::now());
    if let Err(error) = Query::parse(&query, now) {
        return Err(Usage(format!("{error}\n{}", error.pointer(&query))).into());
    }
    let mut request = SearchRequest { query, limit: args.limit, newest: args.newest };
    if args.explain {
        return explain(&request, context, &settings, out);
    }
    let mut printer = Printer { args, context, out, printed: 0, more: false };
    // One more than is shown tells whether there are more.
    request.limit = args.limit.saturating_add(1);
    match Target::find(&settings)? {
        Target::Daemon(client) => client.lines(&["api", "v1", "events"], &parameters(&request), &mut |line| printer.print(line))?,
        Target::Local(open) => {
            let mut failed = None;
            service::search(&open.store, &request, now, &mut |line| {
                printer.print(line).unwrap_or_else(|error| {
                    failed = Some(error);
                    ControlFlow::Break(())
                })
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }
    printer.end()
}

fn parameters(request: &SearchRequest) -> [(&'static str, String); 3] {
    [("query", request.query.clone()), ("limit", request.limit.to_string()), ("newest", request.newest.to_string())]
}

/// What the search takes, instead of its answer.
fn explain(request: &SearchRequest, context: &Context, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let cost: SearchCost = match Target::find(settings)? {
        Target::Daemon(client) => client.get(&["api", "v1", "events", "cost"], &parameters(request), None)?,
        Target::Local(open) => service::search_cost(&open.store, request, time::now())?,
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
    more: bool,
}

impl Printer<'_> {
    fn print(&mut self, line: &[u8]) -> anyhow::Result<ControlFlow<()>> {
        if self.printed == self.args.limit {
            self.more = true;
            return Ok(ControlFlow::Break(()));
        }
        self.printed += 1;
        let output = &self.context.output;
        if self.context.global.json || self.args.raw {
            self.out.write_all(&output.json_line(line, self.args.raw))?;
            self.out.write_all(b"\n")?;
        } else {
            writeln!(self.out, "{}", format::hit(line, output))?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(self) -> anyhow::Result<Exit> {
        self.out.flush()?;
        if self.context.output.terminal && !self.context.global.json {
            match (self.printed, self.more) {
                (0, _) => eprintln!("no event matches"),
                (shown, true) => eprintln!("the first {shown}; there are more: --limit shows them"),
                (_, false) => {}
            }
        }
        Ok(Exit::Done)
    }
}
