//! `honeyguide session`: what happened in one session, told in order.
use super::client::Target;
use super::context::{Context, Exit};
use super::{args, format, print, transcript};
use crate::events::time;
use crate::service;
use std::io::Write;
use std::ops::ControlFlow;

/// A transcript is made in memory: beyond so many bytes of events the rest is left out, and that is said.
const SESSION_BYTES_MAX: usize = 64 << 20;

pub fn run(args: &args::SessionArgs, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::SessionArgs, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let mut keep = |line: &[u8]| {
        bytes += line.len();
        lines.push(line.to_vec());
        if bytes < SESSION_BYTES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    match Target::find(&context.settings()?)? {
        Target::Daemon(client) => client.lines(&["api", "v1", "sessions", &args.id], &[], &mut |line| Ok(keep(line)))?,
        Target::Local(open) => service::session(&open.store, &args.id, time::now(), &mut keep)?,
    }
    if lines.len() as u64 >= service::SESSION_EVENTS_MAX || bytes >= SESSION_BYTES_MAX {
        eprintln!("honeyguide: only the first {} events of this session are told: `honeyguide search session:…` finds all", lines.len());
    }
    let transcripts = transcript::transcripts(&lines);
    if context.global.json {
        writeln!(out, "{}", format::json(&transcripts, &context.output)?)?;
    } else {
        for (number, session) in transcripts.iter().enumerate() {
            let gap = if number > 0 { "\n" } else { "" };
            write!(out, "{gap}{}", session.render(&context.output))?;
        }
    }
    Ok(Exit::Done)
}
