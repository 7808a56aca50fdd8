//! `honeyguide load`: files into the journal, once.
use super::client::{self, Client};
use super::context::{Context, Exit};
use super::format::{self, LoadSummary};
use super::in_process::{Warnings, with_engine};
use super::{args, print, terminal};
use crate::config::Settings;
use crate::load::{self, LoadPhase, LoadProgress, LoadRequest, PROBLEMS_MAX};
use crate::os::signals::{Signal, Signals};
use crate::telemetry::printable::printable;
use anyhow::Context as _;
use futures_util::StreamExt;
use indicatif::ProgressBar;
use std::io::Write;
use std::ops::ControlFlow;
use tokio::sync::watch;

pub fn run(args: &args::Load, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Load, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let absolute = |path| std::path::absolute(path).with_context(|| "cannot tell the current directory");
    let paths = args.paths.iter().map(absolute).collect::<anyhow::Result<_>>()?;
    let request = LoadRequest { paths, format: context.format(args.format.as_deref())? };
    let bar = terminal::progress(Some(0));
    let (ended, daemon_goes_on) = match Client::find(&settings)? {
        Some(client) => through_daemon(&client, &request, &bar)?,
        None => (by_ourselves(&settings, request, &bar)?, false),
    };
    bar.finish_and_clear();
    if daemon_goes_on {
        eprintln!("honeyguide: the daemon goes on loading: `honeyguide status` shows how far it is");
        return Ok(Exit::Failed);
    }
    report(&ended, context, out)
}

fn report(ended: &LoadProgress, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if ended.problems_total > PROBLEMS_MAX as u64 {
        eprintln!("honeyguide: … and {} more problems", ended.problems_total - PROBLEMS_MAX as u64);
    }
    let summary = summary(ended);
    if context.global.json {
        writeln!(out, "{}", format::json(&summary, &context.output)?)?;
    } else {
        write!(out, "{}", summary.render(&context.output))?;
    }
    Ok(exit(ended))
}

/// What is promised of the last line.
fn summary(ended: &LoadProgress) -> LoadSummary {
    let summary = LoadSummary {
        files: ended.files_done - ended.files_failed,
        lines: ended.events + ended.duplicates + ended.rejected,
        events: ended.events,
        duplicates: ended.duplicates,
        rejected: ended.rejected,
        bytes: ended.input_bytes,
        seconds: ended.seconds,
        events_per_second: 0.0,
    };
    summary.with_rate()
}

fn exit(ended: &LoadProgress) -> Exit {
    let left_out = ended.files_failed + ended.files_unknown;
    match ended.phase {
        LoadPhase::Finished if ended.files_done == ended.files_failed => {
            eprintln!("honeyguide: there was nothing that could be read");
            Exit::Failed
        }
        LoadPhase::Finished if left_out + ended.rejected > 0 => Exit::Findings,
        LoadPhase::Finished => Exit::Done,
        _ => {
            eprintln!("honeyguide: stopped behind {} of {} files: run the same again to go on", ended.files_done, ended.files);
            Exit::Failed
        }
    }
}

/// Shows progress, and each problem once.
struct Shown<'bar> {
    bar: &'bar ProgressBar,
    problems: usize,
}

impl Shown<'_> {
    fn show(&mut self, progress: &LoadProgress) {
        for problem in progress.problems.iter().skip(self.problems) {
            self.bar.suspend(|| eprintln!("honeyguide: {}", printable(problem)));
        }
        self.problems = self.problems.max(progress.problems.len());
        self.bar.set_length(progress.bytes_total);
        self.bar.set_position(progress.bytes_read);
        let dealt_with = progress.events + progress.duplicates;
        let rate = if progress.seconds > 0.0 { (dealt_with as f64 / progress.seconds) as u64 } else { 0 };
        self.bar.set_message(format!("{} events, {}/s", terminal::count(dealt_with), terminal::count(rate)));
    }
}

/// Answers how far it came, and whether the daemon goes on without us.
fn through_daemon(client: &Client, request: &LoadRequest, bar: &ProgressBar) -> anyhow::Result<(LoadProgress, bool)> {
    let mut shown = Shown { bar, problems: 0 };
    let mut last = LoadProgress::default();
    let followed = client.post_lines(&["api", "v1", "load"], request, &mut |line| {
        last = serde_json::from_slice(line).context("the daemon's answer cannot be read: is it of another version?")?;
        shown.show(&last);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((last, !followed))
}

fn by_ourselves(settings: &Settings, request: LoadRequest, bar: &ProgressBar) -> anyhow::Result<LoadProgress> {
    let warnings = Warnings::beside(bar)?;
    let data_dir = client::open(settings, &warnings.telemetry)?;
    with_engine(data_dir, settings, warnings.telemetry.clone(), async |engine| {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let (stop, stopping) = watch::channel(false);
        let mut progress = load::start(engine.clone(), request, stopping);
        let mut shown = Shown { bar, problems: 0 };
        loop {
            let now = progress.borrow_and_update().clone();
            shown.show(&now);
            if now.ended() {
                return Ok(now);
            }
            tokio::select! {
                changed = progress.changed() => changed.context("the load broke off")?,
                signal = signals.next() => if let Some(Signal::Drain { .. }) = signal {
                    bar.suspend(|| eprintln!("honeyguide: stopping: what has been read is made durable first"));
                    engine.drain().await;
                    stop.send_replace(true);
                    let _ = progress.wait_for(LoadProgress::ended).await;
                },
            }
        }
    })?
}
