//! `honeyguide report`: what happened in a period, in whatever form.
use super::client::Target;
use super::context::{Context, Exit, Usage};
use super::terminal::{self, Align, Colour, Output, Table};
use super::{anomalies, args, format, print};
use crate::config::Settings;
use crate::events::{Micros, time};
use crate::report::{self, ActivityRow, CLUSTERS, Kind, Period, Report, Rules, UNREADABLE, compatible, title};
use crate::service::report::{Published, Sensors};
use crate::store::Store;
use crate::telemetry::printable::printable;
use anyhow::Context as _;
use args::ReportForm;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

/// Columns of a drawing of activity, at most.
const COLUMNS_MAX: usize = 96;

pub fn run(args: &args::Report, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Report, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if let Some(sink) = &args.publish {
        return publish(sink, args, context, out);
    }
    let reports = reports(args, &context.settings()?)?;
    tell_notes(&reports);
    let form = args.format.unwrap_or(if context.global.json { ReportForm::Json } else { ReportForm::Text });
    let (plain, file) = (Output::plain(), args.out.as_deref());
    let output = if file.is_some() { &plain } else { &context.output };
    let rendered = match form {
        ReportForm::Text => text(&reports, output).into_bytes(),
        ReportForm::Json => format!("{}\n", format::json(&reports, output)?).into_bytes(),
        ReportForm::Compatible => compatible(&reports, output)?.into_bytes(),
        ReportForm::Csv => report::csv(&reports)?,
        ReportForm::Markdown => report::markdown(&reports).into_bytes(),
        ReportForm::Html => report::html(&reports).into_bytes(),
    };
    match file {
        Some(file) => replace(file, &rendered)?,
        None => out.write_all(&rendered)?,
    }
    Ok(Exit::Done)
}

/// Whatever the form, and wherever it goes.
fn tell_notes(reports: &[Report]) {
    reports.iter().filter_map(|report| report.note.as_ref()).for_each(|note| eprintln!("honeyguide: {}", printable(note)));
}

fn asked(args: &args::Report, now: Micros) -> anyhow::Result<Period> {
    if args.rows > report::ROWS_MAX {
        return Err(Usage(format!("--rows is at most {}", report::ROWS_MAX)).into());
    }
    Ok(Period::parse(args.kind, &args.period, now).map_err(|error| Usage(error.to_string()))?)
}

fn made(args: &args::Report, period: &Period, store: &Store, rules: Rules, now: Micros) -> anyhow::Result<Vec<Report>> {
    let sensors = match (&args.sensor, args.all) {
        (Some(sensor), _) => Sensors::One(sensor.clone()),
        (None, true) => Sensors::Each,
        (None, false) => Sensors::Aggregate,
    };
    Ok(crate::service::report::reports(store, period, &sensors, args.rows, rules, now)?)
}

fn reports(args: &args::Report, settings: &Settings) -> anyhow::Result<Vec<Report>> {
    let now = time::now();
    let period = asked(args, now)?;
    match Target::find(settings)? {
        Target::Daemon(client) => {
            let mut parameters = vec![("rows", args.rows.to_string()), ("all", args.all.to_string())];
            parameters.extend(args.sensor.iter().map(|sensor| ("sensor", sensor.clone())));
            client.get(&["api", "v1", "reports", args.kind.name(), &period.label()], &parameters, None)
        }
        Target::Local(open) => made(args, &period, &open.store, settings.anomalies.rules, now),
    }
}

fn publish(sink: &str, args: &args::Report, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (settings, now) = (context.settings()?, time::now());
    let period = asked(args, now)?;
    if args.kind == Kind::Range {
        return Err(Usage("only daily, weekly and monthly reports are published".to_owned()).into());
    }
    let published: Published = match Target::find(&settings)? {
        Target::Daemon(client) => {
            let route = ["api", "v1", "reports", args.kind.name(), &period.label(), "publish"];
            let asked = serde_json::json!({ "sink": sink, "sensor": args.sensor, "all": args.all, "rows": args.rows });
            client.post(&route, &asked)?
        }
        Target::Local(open) => {
            let reports = made(args, &period, &open.store, settings.anomalies.rules, now)?;
            tell_notes(&reports);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
            runtime.block_on(crate::service::report::publish(&settings, sink, &reports))?
        }
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&published, &context.output)?)?;
    } else {
        let told = format::plural(published.delivered, "report", "reports");
        let problem = published.problem.as_ref().map(|problem| format!(" of {}: {}", published.reports, terminal::escape(problem)));
        writeln!(out, "{told}{} in {}", problem.unwrap_or_default(), terminal::escape(&published.sink))?;
    }
    Ok(if published.problem.is_none() { Exit::Done } else { Exit::Failed })
}

fn compatible(reports: &[Report], output: &Output) -> anyhow::Result<String> {
    let mut lines = String::new();
    for report in reports {
        let document = compatible::document(report)
            .ok_or_else(|| Usage("the compatible form is daily, weekly or monthly; a range has none: use --format json".to_owned()))?;
        lines += &format::json(&document.body, output)?;
        lines.push('\n');
    }
    Ok(lines)
}

/// Writes a file as a whole: whoever reads it meanwhile has the one before.
fn replace(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = file.file_name().with_context(|| format!("{} is no file name", file.display()))?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = file.with_file_name(name);
    let written =
        super::private::create(&beside).and_then(|mut created| created.write_all(bytes)).and_then(|()| std::fs::rename(&beside, file));
    written.map_err(|error| {
        // It may never have been made.
        let _ = std::fs::remove_file(&beside);
        anyhow::Error::new(error).context(format!("cannot write {}", file.display()))
    })
}

fn text(reports: &[Report], output: &Output) -> String {
    let mut text = String::new();
    for (number, report) in reports.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        one(report, output, &mut text);
    }
    text
}

fn one(report: &Report, output: &Output, text: &mut String) {
    let sensor = match report.sensor.as_str() {
        report::AGGREGATE => Cow::Borrowed("all sensors"),
        "" => Cow::Borrowed("(no sensor)"),
        name => terminal::escape(name),
    };
    let head = format!("{} · {sensor}", report.period);
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}  {} to {}, UTC", output.paint(Colour::Strong, &head), report.from, report.to);
    let mut totals = Table::new(&[("", Align::Left), ("", Align::Right), ("before", Align::Right)]);
    for ((name, now), (_, before)) in report.totals.rows().into_iter().zip(report.before.totals.rows()) {
        if now > 0 || before > 0 || name == "events" || name == "sessions" {
            totals.row([name.replace('_', " ").into(), terminal::count(now).into(), terminal::count(before).into()]);
        }
    }
    text.push_str(&totals.render(output));
    let commands = &report.commands_per_session;
    let _ = writeln!(text, "commands per session: {} on average, {} at most", commands.average, commands.largest);
    for (name, measure) in [("events", (|row| row.events) as fn(&ActivityRow) -> u64), ("login attempts", |row| row.login_attempts)] {
        let most = report.activity.rows.iter().map(measure).max().unwrap_or(0);
        if most > 0 {
            let heading = format!("{name} by {}, at most {}", report.activity.step, terminal::count(most));
            let columns = output.columns.unwrap_or(COLUMNS_MAX).clamp(1, COLUMNS_MAX);
            let _ = write!(text, "\n{}\n{}\n", output.paint(Colour::Quiet, &heading), drawing(&report.activity.rows, measure, columns));
        }
    }
    if report.anomalies.found > 0 {
        text.push_str(&anomalies::heading(output, report.anomalies.found));
        text.push_str(&anomalies::table(&report.anomalies.rows, output));
    }
    for list in report.top.iter().filter(|list| !list.rows.is_empty()) {
        heading(text, output, title(&list.name), &format!("{} distinct", terminal::count(list.distinct)));
        let mut table = Table::new(&[("events", Align::Right), ("", Align::Left)]);
        for row in &list.rows {
            table.row([terminal::count(row.events).into(), shown(&row.value)]);
        }
        text.push_str(&table.render(output));
    }
    if !report.sequences.rows.is_empty() {
        heading(text, output, "Sequences of commands", &format!("{} distinct", terminal::count(report.sequences.distinct)));
        let mut table = Table::new(&[("sessions", Align::Right), ("commands", Align::Right), ("such as", Align::Left), ("", Align::Left)]);
        for row in &report.sequences.rows {
            let session = row.session.as_deref().unwrap_or_default();
            table.row([
                terminal::count(row.sessions).into(),
                terminal::count(row.commands).into(),
                session.into(),
                if row.unreadable { UNREADABLE.into() } else { row.lines.join("; ").into() },
            ]);
        }
        text.push_str(&table.render(output));
    }
    clusters(report, output, text);
    for list in report.new.iter().filter(|list| list.values > 0) {
        heading(text, output, &format!("New: {}", title(&list.name)), &format!("{} never seen before", terminal::count(list.values)));
        let mut table = Table::new(&[("first seen", Align::Left), ("events", Align::Right), ("", Align::Left)]);
        for row in &list.rows {
            table.row([format::minute(&row.first_seen).into(), terminal::count(row.events).into(), shown(&row.value)]);
        }
        text.push_str(&table.render(output));
    }
    if !report.sensors.is_empty() {
        heading(text, output, "Sensors", "");
        let heads = ["events", "sessions", "login attempts", "commands", "downloads"].map(|head| (head, Align::Right));
        let mut table = Table::new(&[&heads[..], &[("", Align::Left)]].concat());
        for row in &report.sensors {
            let figures =
                [row.events, row.sessions, row.login_attempts, row.commands, row.downloads].map(|figure| terminal::count(figure).into());
            let name = if row.sensor.is_empty() { "(none)".into() } else { Cow::Borrowed(row.sensor.as_str()) };
            table.row(figures.into_iter().chain([name]));
        }
        text.push_str(&table.render(output));
    }
}

fn clusters(report: &Report, output: &Output, text: &mut String) {
    if report.clusters.rows.is_empty() {
        return;
    }
    heading(text, output, CLUSTERS, &format!("{} with several addresses", terminal::count(report.clusters.distinct)));
    let heads = ["addresses", "sessions", "credentials", "commands"].map(|head| (head, Align::Right));
    let mut table = Table::new(&[&heads[..], &[("cluster", Align::Left), ("such as", Align::Left), ("", Align::Left)]].concat());
    for row in &report.clusters.rows {
        let figures = [row.addresses, row.sessions, row.credentials, row.commands].map(|figure| terminal::count(figure).into());
        let typed = if row.unreadable { UNREADABLE.into() } else { row.lines.join("; ").into() };
        table.row(figures.into_iter().chain([row.id.as_str().into(), row.session.as_deref().unwrap_or_default().into(), typed]));
    }
    text.push_str(&table.render(output));
}

fn heading(text: &mut String, output: &Output, title: &str, aside: &str) {
    let _ = writeln!(text, "\n{}  {}", output.paint(Colour::Strong, title), output.paint(Colour::Quiet, aside));
}

fn shown(value: &str) -> Cow<'_, str> {
    if value.is_empty() { "(empty)".into() } else { value.into() }
}

/// One character for each step, or for as many as have to share one.
fn drawing(rows: &[ActivityRow], measure: fn(&ActivityRow) -> u64, columns: usize) -> String {
    const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let sums: Vec<u64> = rows.chunks(rows.len().div_ceil(columns).max(1)).map(|rows| rows.iter().map(measure).sum()).collect();
    let most = sums.iter().copied().max().unwrap_or(0).max(1);
    // Something is never drawn as nothing.
    sums.iter().map(|&sum| LEVELS[(sum * 8).div_ceil(most) as usize]).collect()
}
