//! `honeyguide erase`: a session or a person, with tombstones.
use super::client::{self, Client};
use super::context::{Context, Exit, Usage, us};
use super::terminal::{Colour, Output, escape};
use super::{args, checking, format, print};
use crate::events::time;
use crate::service::erase::{EraseReport, EraseRequest, erase};
use crate::service::sinks;
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write};

pub fn run(args: &args::Erase, context: &Context) -> anyhow::Result<Exit> {
    let (stdin, stderr) = (std::io::stdin(), std::io::stderr());
    let may_ask = stdin.is_terminal() && stderr.is_terminal();
    let mut asked = |question: &str| -> anyhow::Result<bool> {
        let mut line = String::new();
        eprint!("{question}");
        stdin.lock().read_line(&mut line)?;
        Ok(line.trim() == "yes")
    };
    print::to_stdout(|out| answer(args, context, may_ask.then_some(&mut asked as Ask<'_>), out))
}

/// Puts a question to somebody.
pub type Ask<'a> = &'a mut dyn FnMut(&str) -> anyhow::Result<bool>;

/// [`run`], with the answer written to `out`; `ask` asks whoever sits there.
pub fn answer(args: &args::Erase, context: &Context, ask: Option<Ask<'_>>, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let request = EraseRequest {
        session: args.session.clone(),
        sensor: args.sensor.clone(),
        query: (!args.words.is_empty()).then(|| args.words.join(" ")),
        whole_sessions: args.whole_sessions,
        dry_run: args.dry_run,
        reason: args.reason.clone(),
    };
    if !request.dry_run && !args.yes {
        let Some(ask) = ask else {
            let hint = "erasure cannot be undone: look with --dry-run, then say --yes";
            return Err(Usage(hint.into()).into());
        };
        let would = carry_out(&EraseRequest { dry_run: true, ..request.clone() }, context)?;
        write!(std::io::stderr(), "{}", render(&would, &Output::plain()))?;
        if would.events + would.quarantined + would.undelivered == 0 {
            return Ok(if would.notes.is_empty() { Exit::Done } else { Exit::Findings });
        }
        if !ask("This cannot be undone. Type yes to erase: ")? {
            eprintln!("honeyguide: nothing was erased");
            return Ok(Exit::Failed);
        }
    }
    let report = carry_out(&request, context)?;
    context.tell(&report, |output| render(&report, output), out)?;
    Ok(if report.left.is_empty() && report.notes.is_empty() { Exit::Done } else { Exit::Findings })
}

fn carry_out(request: &EraseRequest, context: &Context) -> anyhow::Result<EraseReport> {
    let settings = context.settings()?;
    let bar = checking::bar();
    let report = match Client::find(&settings)? {
        Some(client) => checking::follow_asked(&client, "erase", request, &bar)?,
        None => {
            let mut open = client::open_existing(&settings)?.into_store();
            if !request.dry_run {
                open.end_segment()?;
            }
            let rows = sinks::list_stopped(&settings.sinks, &open.state, &open.store, time::now());
            let mut progress = |done, total| checking::show(&bar, done, total);
            erase(&open.store, &open.state, request, &rows, (&us(), time::now()), &mut progress)?
        }
    };
    bar.finish_and_clear();
    Ok(report)
}

fn render(report: &EraseReport, output: &Output) -> String {
    let mut text = String::new();
    let would = if report.dry_run { "would be " } else { "" };
    let _ = writeln!(
        text,
        "{} in {} of {} {would}erased",
        format::plural(report.events, "event", "events"),
        format::plural(report.segments, "segment", "segments"),
        format::plural(report.sessions, "session", "sessions"),
    );
    if report.quarantined > 0 {
        let _ = writeln!(text, "{} of refused input {would}emptied", format::plural(report.quarantined, "record", "records"));
    }
    if report.undelivered > 0 {
        let _ = writeln!(text, "{} {would}removed", format::plural(report.undelivered, "dead letter", "dead letters"));
    }
    let mut note = |colour, line: String| {
        let _ = writeln!(text, "{}", output.paint(colour, &escape(&line)));
    };
    if !report.sent_to.is_empty() {
        note(Colour::Warning, format!("such events were sent already, ask these receivers to erase them: {}", report.sent_to.join(", ")));
    }
    for file in &report.archived {
        note(Colour::Warning, format!("not covered: the archive {file} has such events, or may: remove it, or its events"));
    }
    if report.archived_unknown > 0 {
        let files = format::plural(report.archived_unknown, "archived file", "archived files");
        note(Colour::Warning, format!("not covered: {files} of segments that are not here any more; load them elsewhere to look"));
    }
    if report.answers_only > 0 {
        let segments = format::plural(report.answers_only, "segment", "segments");
        note(
            Colour::Warning,
            format!("not covered: {segments} whose lines retention removed; their answers go with [journal] answers_days"),
        );
    }
    if report.torn_files > 0 {
        let files = format::plural(report.torn_files, "file", "files");
        note(
            Colour::Warning,
            format!("not covered: {files} of torn writes, quarantine/torn-*.bin: remove them if they may hold such events"),
        );
    }
    for why in &report.notes {
        note(Colour::Bad, format!("not covered: {why}"));
    }
    for left in &report.left {
        note(Colour::Bad, format!("not erased: {left}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_asked_must_say_yes() {
        let args = args::Erase {
            words: vec!["src_ip:1".into()],
            session: None,
            sensor: None,
            whole_sessions: false,
            dry_run: false,
            yes: false,
            reason: None,
        };
        let context = Context { global: args::Global::default(), output: Output::plain() };
        let error = answer(&args, &context, None, &mut Vec::new()).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("--dry-run"), "{error}");
    }

    #[test]
    fn what_is_not_covered_is_told() {
        let report = EraseReport {
            dry_run: true,
            events: 7,
            segments: 2,
            sessions: 1,
            quarantined: 1,
            undelivered: 3,
            sent_to: vec!["siem".into(), "archive".into()],
            answers_only: 1,
            archived: vec!["/mnt/archive/honeyguide-1-00000001.zst".into()],
            archived_unknown: 2,
            torn_files: 1,
            left: vec!["segment 3 is damaged".into()],
            notes: vec!["values are masked".into()],
            seconds: 0.0,
        };
        let text = render(&report, &Output::plain());
        let expected = "\
7 events in 2 segments of 1 session would be erased
1 record of refused input would be emptied
3 dead letters would be removed
such events were sent already, ask these receivers to erase them: siem, archive
not covered: the archive /mnt/archive/honeyguide-1-00000001.zst has such events, or may: remove it, or its events
not covered: 2 archived files of segments that are not here any more; load them elsewhere to look
not covered: 1 segment whose lines retention removed; their answers go with [journal] answers_days
not covered: 1 file of torn writes, quarantine/torn-*.bin: remove them if they may hold such events
not covered: values are masked
not erased: segment 3 is damaged
";
        assert_eq!(text, expected);
    }
}
