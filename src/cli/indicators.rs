//! `honeyguide indicators`: what attackers used, for people and for programs.
use super::args::{self, IndicatorFilter, IndicatorsAction, IndicatorsExport, IndicatorsForm, IndicatorsList};
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::redacting::Redacting;
use super::terminal::{Align, Colour, Output, Table, escape};
use super::{enrich, format, print};
use crate::config::Settings;
use crate::config::SourceName;
use crate::enrich::Desk;
use crate::events::{Micros, time};
use crate::indicators::defang::defang;
use crate::indicators::known::{self, Known, LIST_BYTES_MAX};
use crate::indicators::{Indicator, export, misp, stix};
use crate::os::owner::become_owner_of;
use crate::service::dossier::{Dossier, dossier};
use crate::service::indicators::{Asked, Listed, list};
use anyhow::Context as _;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

pub fn run(args: &args::Indicators, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Indicators, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (settings, now) = (context.settings()?, time::now());
    match &args.action {
        IndicatorsAction::List(args) => listed(args, &settings, context, now, out),
        IndicatorsAction::Export(args) => exported(args, &settings, now, out),
        IndicatorsAction::Show { value } => shown(value, &settings, context, now, out),
        IndicatorsAction::Import { file, name } => imported(file, name, &settings, context, out),
    }
}

fn find(asked: Asked, settings: &Settings, now: Micros) -> anyhow::Result<Listed> {
    let client = match Target::find(settings)? {
        Target::Daemon(client) => client,
        Target::Local(open) => {
            let known = known(settings, &enrich::desk(settings, &open))?;
            return Ok(list(&open.store.answers(), &asked, (&settings.lists, &known), now)?);
        }
    };
    let kinds: Vec<&str> = asked.kinds.iter().map(|kind| kind.name()).collect();
    let mut parameters = vec![
        ("kind", kinds.join(",")),
        ("min_count", asked.min_count.to_string()),
        ("min_score", asked.min_score.to_string()),
        ("hostile", asked.hostile.to_string()),
        ("limit", asked.limit.to_string()),
    ];
    let named = [("since", asked.since), ("until", asked.until), ("sensor", asked.sensor)];
    parameters.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
    client.get(&["api", "v1", "indicators"], &parameters, None)
}

fn known(settings: &Settings, desk: &Desk) -> anyhow::Result<Known> {
    let known = Known::open(&known::directory(&settings.data_dir)).context("cannot open the outside lists")?;
    Ok(known.with_flagged(desk.flagged()?))
}

fn asked(filter: &IndicatorFilter, hostile: bool, limit: usize) -> Asked {
    Asked {
        kinds: filter.kind.clone(),
        since: filter.since.clone(),
        until: filter.until.clone(),
        min_count: filter.min_count,
        min_score: filter.min_score,
        sensor: filter.sensor.clone(),
        hostile,
        limit,
    }
}

fn listed(args: &IndicatorsList, settings: &Settings, context: &Context, now: Micros, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let Listed { indicators, more } = find(asked(&args.filter, false, args.limit), settings, now)?;
    if context.global.json {
        writeln!(out, "{}", format::json(&indicators, &context.output)?)?;
    } else if indicators.is_empty() {
        writeln!(out, "no indicators")?;
    } else {
        write!(out, "{}", table(&indicators, args.raw, &context.output))?;
    }
    if more > 0 && !context.global.json {
        eprintln!("honeyguide: {} more: --limit shows them", format::plural(more, "indicator", "indicators"));
    }
    Ok(Exit::Done)
}

fn table(indicators: &[Indicator], raw: bool, output: &Output) -> String {
    let mut table = Table::new(&[
        ("score", Align::Right),
        ("kind", Align::Left),
        ("events", Align::Right),
        ("first seen", Align::Left),
        ("last seen", Align::Left),
        ("note", Align::Left),
        ("value", Align::Left),
    ]);
    for row in indicators {
        let note = match (&row.warning, row.expired) {
            (Some(list), _) => format!("list: {list}"),
            (None, true) => "expired".to_owned(),
            (None, false) if !row.flagged_by.is_empty() => format!("malicious by {}", row.flagged_by.join(", ")),
            (None, false) if !row.known_in.is_empty() => format!("known in {}", row.known_in.join(", ")),
            (None, false) => String::new(),
        };
        let value = if raw { row.value.clone() } else { defang(row.kind, &row.value) };
        let minute = |time: Micros| format::minute(&time::format(time));
        let cells = [
            row.score.to_string(),
            row.kind.name().to_owned(),
            row.count.to_string(),
            minute(row.first_seen),
            minute(row.last_seen),
            note,
            value,
        ];
        table.row(cells.map(Cow::Owned));
    }
    table.render(output)
}

fn exported(args: &IndicatorsExport, settings: &Settings, now: Micros, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if args.format == IndicatorsForm::Misp && args.out.is_none() {
        return Err(Usage("a MISP feed is a directory of files: name it with --out DIR".to_owned()).into());
    }
    // Indicators do not say which source they are of: rules for some count for all.
    let policy = Redacting::new(args.redact, settings)?.policy()?;
    let Listed { mut indicators, more } = find(asked(&args.filter, !args.all, args.limit), settings, now)?;
    if let Some(policy) = &policy {
        let before = indicators.len();
        indicators.retain_mut(|found| policy.indicator(found.kind, &found.value).map(|value| found.value = value).is_some());
        let withheld = format::plural((before - indicators.len()) as u64, "indicator is", "indicators are");
        eprintln!("honeyguide: {withheld} left out, which the configuration redacts");
    }
    let left_out = match (args.format, &args.out) {
        (IndicatorsForm::Misp, Some(directory)) => feed(&indicators, directory)?,
        (form, Some(file)) => replace(file, |out| write(&indicators, form, now, out))?,
        (form, None) => write(&indicators, form, now, out)?,
    };
    if left_out > 0 {
        let left_out = format::plural(left_out, "indicator", "indicators");
        eprintln!("honeyguide: {left_out} left out, which this form has no word for: --format json or csv has everything");
    }
    if more > 0 {
        let more = format::plural(more, "indicator", "indicators");
        eprintln!("honeyguide: {more} more than --limit {}: those with the highest scores were written", args.limit);
    }
    Ok(Exit::Done)
}

/// Answers how many the form has no word for.
fn write(indicators: &[Indicator], form: IndicatorsForm, now: Micros, out: &mut dyn Write) -> io::Result<u64> {
    match form {
        IndicatorsForm::Json => export::json(indicators, now, out)?,
        IndicatorsForm::Csv => export::csv(indicators, out)?,
        IndicatorsForm::Plain => export::plain(indicators, now, out)?,
        IndicatorsForm::Stix => return stix::write(indicators, now, out),
        IndicatorsForm::Misp => return Err(io::Error::other("a MISP feed is no single file")),
    }
    Ok(0)
}

/// Writes a file as a whole: whoever reads it meanwhile has the one before.
fn replace<T>(file: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> anyhow::Result<T> {
    let mut name = file.file_name().with_context(|| format!("{} is no file name", file.display()))?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = file.with_file_name(name);
    let written = super::private::create(&beside).and_then(|created| {
        let mut out = BufWriter::new(created);
        let answer = write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&beside, file)?;
        Ok(answer)
    });
    written.map_err(|error| {
        // It may never have been made.
        let _ = fs::remove_file(&beside);
        anyhow::Error::new(error).context(format!("cannot write {}", file.display()))
    })
}

/// Writes a MISP feed into a directory, which is made; events that the feed there had before and has no more are removed.
fn feed(indicators: &[Indicator], directory: &Path) -> anyhow::Result<u64> {
    let in_directory = || format!("cannot write the feed into {}", directory.display());
    fs::create_dir_all(directory).with_context(in_directory)?;
    let manifest = directory.join(misp::MANIFEST);
    let mut before = fs::read(&manifest).map(|bytes| misp::files_of(&bytes)).unwrap_or_default();
    let left_out = misp::write(indicators, &mut |name, bytes| {
        before.remove(name);
        replace(&directory.join(name), |out| out.write_all(bytes)).map_err(io::Error::other)
    });
    let left_out = left_out.with_context(in_directory)?;
    for gone in before.into_iter().map(|name| -> PathBuf { directory.join(name) }) {
        // Nobody reads what no manifest names.
        let _ = fs::remove_file(gone);
    }
    Ok(left_out)
}

fn shown(value: &str, settings: &Settings, context: &Context, now: Micros, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let told: Dossier = match Target::find(settings)? {
        Target::Daemon(client) => client.get(&["api", "v1", "indicators", "show"], &[("value", value.to_owned())], None)?,
        Target::Local(open) => {
            let desk = enrich::desk(settings, &open);
            let told = dossier(&open.store, value, (&settings.lists, &known(settings, &desk)?), now)?;
            Dossier { verdicts: desk.cached(&told.value), ..told }
        }
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&told, &context.output)?)?;
    } else {
        write!(out, "{}", page(&told, &context.output))?;
    }
    Ok(Exit::Done)
}

/// Days and sensors that are told of each kind; the last of them, and the busiest.
const ROWS_MAX: usize = 14;

fn page(told: &Dossier, output: &Output) -> String {
    let mut page = table(&told.kinds.iter().map(|kind| kind.indicator.clone()).collect::<Vec<_>>(), false, output);
    for kind in &told.kinds {
        let name = kind.indicator.kind.name();
        // Writing to a string does not fail.
        let _ = writeln!(page, "\n{name}, score {}: {}", kind.indicator.score, escape(&kind.indicator.reasons.join("; ")));
        let sensors = kind.sensors.iter().take(ROWS_MAX).map(|(sensor, events)| format!("{} {events}", escape(sensor)));
        let _ = writeln!(page, "  by sensor  {}", told_of(sensors, kind.sensors.len()));
        let skipped = kind.days.len().saturating_sub(ROWS_MAX);
        let days = kind.days.iter().skip(skipped).map(|(day, events)| format!("{day} {events}"));
        let _ = writeln!(page, "  by day     {}", told_of(days, kind.days.len()));
    }
    if !told.verdicts.is_empty() {
        let _ = writeln!(page, "\n{}", output.paint(Colour::Strong, "what others say"));
        page.push_str(&enrich::answers(&told.verdicts, output));
    }
    for session in &told.sessions {
        let id = escape(&session.id);
        let _ = writeln!(page, "\n{}", output.paint(Colour::Strong, &format!("session {id}")));
        for command in &session.commands {
            let _ = writeln!(page, "  {}", escape(command));
        }
        match (session.commands.is_empty(), session.more) {
            (true, _) => page.push_str("  no commands\n"),
            (false, true) => drop(writeln!(page, "  … `honeyguide session {id}` tells all")),
            (false, false) => {}
        }
    }
    if !told.sightings.is_empty() {
        let _ = writeln!(page, "\n{}", output.paint(Colour::Strong, "newest events"));
    }
    for line in &told.sightings {
        let _ = writeln!(page, "  {}", format::hit(line.as_bytes(), output));
    }
    page
}

fn told_of(rows: impl Iterator<Item = String>, len: usize) -> String {
    let rows = rows.collect::<Vec<_>>().join(", ");
    if len > ROWS_MAX { format!("{rows} ({ROWS_MAX} of {len})") } else { rows }
}

fn imported(file: &Path, name: &str, settings: &Settings, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let name = SourceName::parse(name).map_err(|error| Usage(format!("--name: {error}")))?;
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut bytes = Vec::new();
    opened.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(bytes.len() as u64 <= LIST_BYTES_MAX, "{} is larger than {LIST_BYTES_MAX} bytes: split it", file.display());
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8: is it a list?", file.display()))?;
    anyhow::ensure!(settings.data_dir.is_dir(), "there is no data directory {}: `honeyguide load` makes one", settings.data_dir.display());
    become_owner_of(&settings.data_dir)?;
    let imported = known::import(&known::directory(&settings.data_dir), name.as_str(), &text).context("cannot write the list")?;
    if context.global.json {
        writeln!(out, "{}", format::json(&imported, &context.output)?)?;
    } else {
        let values = format::plural(imported.values, "value", "values");
        let skipped = if imported.skipped > 0 { format!("; {} lines left out", imported.skipped) } else { String::new() };
        writeln!(out, "{name}: {values}{skipped}")?;
    }
    Ok(Exit::Done)
}
