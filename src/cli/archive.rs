//! `honeyguide archive`: segments put away, and checked where they are; and tables of events (`search --format parquet`).
use super::args::{self, ArchiveAction};
use super::checking;
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::format::{self, plural};
use super::print;
use super::redacting::Redacting;
use super::terminal::{Align, Colour, Output, Table, bytes, escape};
use crate::admin::archive::ArchiveRequest;
use crate::archive::export::export as write_table;
use crate::archive::run::{ArchiveRun, Selection, run as archive};
use crate::archive::verify::{ArchiveReport, verify as verify_archive};
use crate::archive::{PART, Stop};
use crate::events::time;
use crate::index::query::Query;
use crate::service::SearchRequest;
use crate::telemetry::printable::printable;
use anyhow::Context as _;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub fn run(args: &args::Archive, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Archive, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if let Some(ArchiveAction::Verify { dir }) = &args.action {
        return verify(dir, context, out);
    }
    let settings = context.settings()?;
    let to = match &args.to {
        Some(to) if to.starts_with("s3://") => Some(to.clone()),
        // The daemon's directory is another one.
        Some(to) => Some(std::path::absolute(to).context("cannot tell the current directory")?.to_string_lossy().into_owned()),
        None => None,
    };
    let selection = Selection { segments: args.segments, until: args.until };
    let request = ArchiveRequest { to, formats: args.format.clone(), selection };
    // What is wrong with the command line is told before anybody is asked.
    let chosen = request.settings(&settings.archive).map_err(Usage)?;
    let bar = checking::bar();
    let done: ArchiveRun = match Target::find(&settings)? {
        Target::Daemon(client) => checking::follow_asked(&client, "archive", &request, &bar)?,
        Target::Local(open) => {
            archive(&open.store, &chosen, selection, &Stop::default(), &mut |done, total| checking::show(&bar, done, total))
        }
    };
    bar.finish_and_clear();
    if context.global.json {
        writeln!(out, "{}", format::json(&done, &context.output)?)?;
    } else {
        write!(out, "{}", told(&done, &context.output))?;
    }
    if let Some(problem) = &done.problem {
        eprintln!("honeyguide: {}", printable(problem));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

fn told(done: &ArchiveRun, output: &Output) -> String {
    let place = escape(&done.to);
    if done.selected == 0 {
        return "no segment is selected: only those that are complete can be archived\n".into();
    }
    let files = plural(done.files, "file", "files");
    let there = if done.there_before > 0 { format!(", {} were there before", done.there_before) } else { String::new() };
    let mut text = format!("{} of {} in {place}{there}\n", done.archived, plural(done.selected, "segment", "segments"));
    let _ = writeln!(text, "{}", output.paint(Colour::Quiet, &format!("{files} written and compared, {}", bytes(done.bytes))));
    text
}

fn verify(dir: &Path, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let bar = checking::bar();
    let report = verify_archive(dir, &mut |done, total| {
        bar.set_message(format!("{done} of {total} files"));
        bar.tick();
    });
    bar.finish_and_clear();
    let report = report.with_context(|| format!("cannot check the archive {}", printable(&dir.to_string_lossy())))?;
    if context.global.json {
        writeln!(out, "{}", format::json(&report, &context.output)?)?;
    } else {
        write!(out, "{}", verdict(&report, &context.output))?;
    }
    if report.files == 0 {
        eprintln!("honeyguide: there is no archived file in {}", printable(&dir.to_string_lossy()));
        return Ok(Exit::Failed);
    }
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::Findings })
}

fn verdict(report: &ArchiveReport, output: &Output) -> String {
    let mut text = String::new();
    if !report.damage.is_empty() {
        let mut table = Table::new(&[("file", Align::Left), ("problem", Align::Left)]);
        for damage in &report.damage {
            table.row([damage.file.as_str().into(), damage.problem.as_str().into()]);
        }
        text += &table.render(output);
        text.push('\n');
    }
    for journal in &report.journals {
        let missing = match journal.missing {
            0 => String::new(),
            missing => format!(", {} between them not there", missing),
        };
        let _ = writeln!(text, "journal {}  segments {} to {}{missing}", journal.journal, journal.first_segment, journal.last_segment);
        if let Some(digest) = &journal.digest {
            let _ = writeln!(text, "  {}", output.paint(Colour::Quiet, &format!("digest at the end {digest}")));
        }
    }
    let (events, files) = (plural(report.events, "event", "events"), plural(report.files, "file", "files"));
    let _ = writeln!(text, "{events} in {files} checked ({})", bytes(report.bytes));
    let good = if report.damage.is_empty() {
        output.paint(Colour::Good, "everything is whole")
    } else {
        output.paint(Colour::Bad, &format!("{} found", plural(report.damage.len() as u64, "problem", "problems")))
    };
    text + &good + "\n"
}

/// Events that match, as a table in `file`.
pub(super) fn export(request: &SearchRequest, redact: bool, file: &Path, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let redacting = Redacting::new(redact, &settings)?;
    let query = Query::parse(&request.query, time::now()).map_err(|error| Usage(format!("{error}\n{}", error.pointer(&request.query))))?;
    let shown = printable(&file.to_string_lossy()).into_owned();
    let cannot = || format!("cannot write {shown}");
    let mut beside = file.as_os_str().to_owned();
    beside.push(PART);
    let beside = PathBuf::from(beside);
    let opened = super::private::create(&beside).with_context(cannot)?;
    let written = table(&settings, request, &redacting, &query, &opened);
    let complete = written.and_then(|unreadable| {
        opened.sync_all().and_then(|()| fs::rename(&beside, file)).with_context(cannot)?;
        Ok(unreadable)
    });
    let unreadable = match complete {
        Ok(unreadable) => unreadable,
        Err(error) => {
            // Half a table is none.
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
    };
    let len = fs::metadata(file).with_context(cannot)?.len();
    if context.global.json {
        writeln!(out, "{}", format::json(&serde_json::json!({ "file": file, "bytes": len }), &context.output)?)?;
    } else {
        writeln!(out, "{} written to {}", bytes(len), escape(&file.to_string_lossy()))?;
    }
    if unreadable > 0 {
        eprintln!("honeyguide: {unreadable} events are damaged and not in the table: `honeyguide verify` names them");
        return Ok(Exit::Findings);
    }
    Ok(Exit::Done)
}

/// Answers how many events could not be read, as far as that is known.
fn table(
    settings: &crate::config::Settings,
    request: &SearchRequest,
    redacting: &Redacting<'_>,
    query: &Query,
    mut file: &fs::File,
) -> anyhow::Result<u64> {
    match Target::find(settings)? {
        Target::Daemon(client) => {
            let asked = [("query", request.query.clone()), ("limit", request.limit.to_string())];
            let parameters: Vec<_> = asked.into_iter().chain(redacting.parameters()).collect();
            client
                .redacted(redacting.digest())
                .pieces(&["api", "v1", "events", "parquet"], &parameters, &mut |piece| Ok(file.write_all(piece)?))?;
            Ok(0)
        }
        Target::Local(open) => {
            let policy = redacting.policy()?;
            let (mut out, exported) =
                write_table(&open.store, (&request.query, query), request.limit, policy.as_ref(), BufWriter::new(file))?;
            out.flush()?;
            Ok(exported.unreadable)
        }
    }
}
