//! `honeyguide enrich` and `honeyguide enrichers`: what others know of values, asked through the daemon when one runs.
use super::args;
use super::client::{Client, Target};
use super::context::{Context, Exit, Usage};
use super::terminal::{self, Align, Colour, Output, Table, escape};
use super::{format, print};
use crate::admin::enrich::EnrichRequest;
use crate::config::Settings;
use crate::daemon::OpenStore;
use crate::enrich::desk::{Answer, Enriched, EnricherRow, From, Held, Wanted};
use crate::enrich::{Desk, Opinion, Subject};
use crate::events::{Field, Micros, time};
use crate::indicators::defang::defang;
use crate::telemetry::Telemetry;
use anyhow::Context as _;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

/// Longest line of standard input, bytes.
const LINE_BYTES_MAX: u64 = 4096;

pub fn run(args: &args::Enrich, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answers written to `out`.
pub fn answer(args: &args::Enrich, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    answer_from(args, context, &mut io::stdin().lock(), out)
}

/// [`answer`], with what `-` reads.
pub fn answer_from(args: &args::Enrich, context: &Context, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let from_input = args.values.len() == 1 && args.values[0] == "-";
    if !from_input && let Some(wrong) = args.values.iter().find(|value| Subject::recognise(value).is_none()) {
        let wrong: String = wrong.chars().take(200).collect();
        let there = "a hash (MD5, SHA-1, SHA-256), an address, a domain name or a URL";
        return Err(Usage(format!("{wrong:?} is nothing others can be asked about: give {there}")).into());
    }
    let asker = Asker::find(&settings)?;
    let mut round = Round { asker, args, context, missed: BTreeMap::new(), unknown: 0, bar: bar(args, from_input) };
    if from_input {
        while let Some(line) = line(input)? {
            round.one(&line, out)?;
        }
    } else {
        for value in &args.values {
            round.one(value, out)?;
        }
    }
    round.bar.finish_and_clear();
    Ok(round.end())
}

fn bar(args: &args::Enrich, from_input: bool) -> indicatif::ProgressBar {
    // One value is told at once, or says itself why not.
    if from_input || args.values.len() > 1 { terminal::counter() } else { indicatif::ProgressBar::hidden() }
}

/// The next line with a value; blank ones and those that start with # are passed over.
fn line(input: &mut dyn BufRead) -> anyhow::Result<Option<String>> {
    loop {
        let mut line = Vec::new();
        let read = Read::take(&mut *input, LINE_BYTES_MAX).read_until(b'\n', &mut line).context("cannot read standard input")?;
        if read == 0 {
            return Ok(None);
        }
        let too_long = read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n');
        if too_long {
            skip_line(input)?;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            return Ok(Some(text.to_owned()));
        }
    }
}

fn skip_line(input: &mut dyn BufRead) -> anyhow::Result<()> {
    loop {
        let buffer = input.fill_buf().context("cannot read standard input")?;
        let (len, found) = match memchr::memchr(b'\n', buffer) {
            Some(end) => (end + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(len);
        if found {
            return Ok(());
        }
    }
}

/// Who asks the services.
enum Asker {
    Daemon(Client),
    Local { desk: Desk, runtime: tokio::runtime::Runtime, _store: Box<OpenStore> },
}

impl Asker {
    fn find(settings: &Settings) -> anyhow::Result<Asker> {
        Ok(match Target::find(settings)? {
            Target::Daemon(client) => Asker::Daemon(client),
            Target::Local(store) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
                Asker::Local { desk: desk(settings, &store), runtime, _store: store }
            }
        })
    }

    fn ask(&self, value: &str, wanted: &Wanted) -> anyhow::Result<Enriched> {
        match self {
            Asker::Daemon(client) => client.post(&["api", "v1", "enrich"], &EnrichRequest::new(value.to_owned(), wanted.clone())),
            Asker::Local { desk, runtime, .. } => Ok(runtime.block_on(desk.ask(value, wanted))?),
        }
    }
}

/// For a command that opened the data directory itself.
pub fn desk(settings: &Settings, store: &OpenStore) -> Desk {
    Desk::new(store.state.clone(), settings, Telemetry::unlogged())
}

/// Many questions.
struct Round<'a> {
    asker: Asker,
    args: &'a args::Enrich,
    context: &'a Context,
    /// How many values were not asked, by enricher and reason, and until when that holds.
    missed: BTreeMap<(String, String), (u64, Option<String>)>,
    /// Lines that are nothing to ask about.
    unknown: u64,
    bar: indicatif::ProgressBar,
}

impl Round<'_> {
    fn one(&mut self, value: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        if Subject::recognise(value).is_none() {
            self.unknown += 1;
            return Ok(());
        }
        let wanted = Wanted { with: self.args.with.clone(), refresh: self.args.refresh, cached: self.args.cached };
        let mut told = self.asker.ask(value, &wanted)?;
        while let Some((held, until)) = self.worth_waiting(&told) {
            self.bar.set_message("waiting for the quota of a minute");
            std::thread::sleep(wait(time::now(), until));
            // The others have answered.
            let again = self.asker.ask(value, &Wanted { with: held, ..wanted.clone() })?;
            for answer in again.answers {
                if let Some(known) = told.answers.iter_mut().find(|known| known.enricher == answer.enricher) {
                    *known = answer;
                }
            }
            self.bar.set_message("");
        }
        for answer in told.answers.iter().filter(|answer| answer.held.is_some_and(Held::is_missed)) {
            let reason = answer.why.clone().unwrap_or_default();
            let missed = self.missed.entry((answer.enricher.clone(), reason)).or_default();
            *missed = (missed.0 + 1, answer.until.clone().or(missed.1.take()));
        }
        let text =
            if self.context.global.json { format::json(&told, &self.context.output)? + "\n" } else { page(&told, &self.context.output) };
        self.bar.inc(1);
        self.bar.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
        Ok(())
    }

    /// Enrichers whose quota of a minute alone keeps them from being asked, and until when.
    fn worth_waiting(&self, told: &Enriched) -> Option<(Vec<String>, Micros)> {
        let held: Vec<&Answer> = told.answers.iter().filter(|answer| answer.held == Some(Held::MinuteQuota)).collect();
        let until = held.iter().filter_map(|answer| time::parse(answer.until.as_deref()?.as_bytes())).min()?;
        (!self.args.no_wait).then(|| (held.iter().map(|answer| answer.enricher.clone()).collect(), until))
    }

    fn end(&self) -> Exit {
        for ((enricher, reason), (values, until)) in &self.missed {
            let values = format::plural(*values, "value", "values");
            let until = until.as_deref().map(|until| format!(" (again from {} UTC)", format::minute(until))).unwrap_or_default();
            eprintln!("honeyguide: {values} not asked of {enricher}: {}{until}", escape(reason));
        }
        if self.unknown > 0 {
            let lines = format::plural(self.unknown, "line", "lines");
            eprintln!("honeyguide: {lines} left out: neither hash, address, domain name nor URL");
        }
        if self.missed.is_empty() && self.unknown == 0 { Exit::Done } else { Exit::Findings }
    }
}

/// To the time, and a little more; never for nothing, and never for longer than a minute's quota takes.
fn wait(now: Micros, until: Micros) -> Duration {
    let micros = until.saturating_sub(now).clamp(0, 60 * time::MICROS_PER_SECOND);
    Duration::from_micros(micros as u64) + Duration::from_millis(50)
}

fn page(told: &Enriched, output: &Output) -> String {
    let kind = match told.kind.as_str() {
        "url" => Field::Url,
        "address" => Field::SrcIp,
        "domain" => Field::Domain,
        _ => Field::Shasum,
    };
    let mut page = format!("{}\n", output.paint(Colour::Strong, &escape(&defang(kind, &told.value))));
    if told.answers.is_empty() {
        let _ = writeln!(page, "  no enricher is asked about a value of this kind: {}", told.kind);
    }
    page.push_str(&answers(&told.answers, output));
    page
}

/// Lines that tell what enrichers say; each begins with two blanks.
pub fn answers(answers: &[Answer], output: &Output) -> String {
    let width = answers.iter().map(|answer| answer.enricher.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for answer in answers {
        // Writing to a string does not fail.
        let _ = write!(lines, "  {:<width$}  ", escape(&answer.enricher));
        if let Some(verdict) = &answer.verdict {
            let colour = match verdict.verdict {
                Opinion::Malicious => Colour::Bad,
                Opinion::Suspicious => Colour::Warning,
                Opinion::Harmless => Colour::Good,
                Opinion::Unknown => Colour::Quiet,
            };
            lines.push_str(&output.paint(colour, verdict.verdict.name()));
            let labels = verdict.labels.join(", ");
            let score = verdict.score.map(|score| format!("score {score}"));
            for part in [verdict.summary.as_deref(), score.as_deref(), Some(&*labels)].into_iter().flatten().filter(|part| !part.is_empty())
            {
                let _ = write!(lines, "; {}", escape(part));
            }
            let at = answer.fetched_at.as_deref().map(format::minute).unwrap_or_default();
            let from = match answer.from {
                From::Service => String::new(),
                From::Cache => format!("  (kept since {at})"),
                From::StaleCache => format!("  (stale, of {at})"),
                From::Nowhere => String::new(),
            };
            let _ = writeln!(lines, "{}", output.paint(Colour::Quiet, &from));
            if let Some(link) = &verdict.link {
                let _ = writeln!(lines, "  {:<width$}  {}", "", output.paint(Colour::Quiet, &escape(link)));
            }
        }
        if let Some(why) = &answer.why {
            let until = answer.until.as_deref().map(|until| format!(", until {} UTC", format::minute(until))).unwrap_or_default();
            let not = format!("{}{until}", escape(why));
            match &answer.verdict {
                Some(_) => drop(writeln!(lines, "  {:<width$}  not asked now: {not}", "")),
                None => drop(writeln!(lines, "{not}")),
            }
        }
    }
    lines
}

pub fn list(context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| list_answer(context, out))
}

/// [`list`], with the answer written to `out`.
pub fn list_answer(context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let rows: Vec<EnricherRow> = match Target::find(&settings)? {
        Target::Daemon(client) => client.get(&["api", "v1", "enrichers"], &[], None)?,
        Target::Local(store) => desk(&settings, &store).rows(),
    };
    context.tell(&rows, |output| table(&rows, output), out)?;
    Ok(Exit::Done)
}

fn table(rows: &[EnricherRow], output: &Output) -> String {
    if rows.is_empty() {
        return "no enricher is configured: [[enricher]] in the configuration names one\n".to_owned();
    }
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("type", Align::Left),
        ("state", Align::Left),
        ("requests", Align::Right),
        ("from cache", Align::Right),
        ("left today", Align::Right),
        ("asked about", Align::Left),
        ("where", Align::Left),
    ]);
    for row in rows {
        let until = row.until.as_deref().map(|until| format!(" until {}", format::minute(until))).unwrap_or_default();
        let cells = [
            row.name.clone(),
            row.r#type.clone(),
            row.state.replace('_', " ") + &until,
            row.requests.to_string(),
            row.hits.to_string(),
            format!("{} of {}", row.left_today, row.quota_per_day),
            row.kinds.join(", "),
            row.place.clone(),
        ];
        table.row(cells.map(Cow::Owned));
    }
    let mut text = table.render(output);
    for row in rows {
        if let Some(error) = &row.last_error {
            let _ = writeln!(text, "{}", output.paint(Colour::Warning, &format!("{}: {}", row.name, escape(error))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_standard_input_stand_on_lines_and_long_ones_are_cut() {
        let text = format!("a.example\n\n# b.example\n  c.example \r\n{}\nd.example", "x".repeat(10_000));
        let mut input = text.as_bytes();
        let mut lines = Vec::new();
        while let Some(line) = line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!([&lines[0], &lines[1], &lines[3]], ["a.example", "c.example", "d.example"]);
        assert_eq!((lines.len(), lines[2].len() as u64), (4, LINE_BYTES_MAX));
    }

    #[test]
    fn nobody_waits_for_nothing_or_for_ever() {
        assert_eq!(wait(5_000_000, 1_000_000), Duration::from_millis(50));
        assert_eq!(wait(0, 3_000_000), Duration::from_millis(3050));
        assert_eq!(wait(0, i64::MAX), Duration::from_millis(60_050));
    }
}
