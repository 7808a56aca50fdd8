//! Reports as one HTML file: no script, no font, no image from elsewhere, charts drawn as SVG.
//!
//! Whatever attackers wrote is text: maud escapes it, a content security policy forbids the rest, and characters that reorder or hide
//! text are shown as what they are.
use super::{AGGREGATE, Activity, ActivityRow, CLUSTERS, Report, UNREADABLE, title};
use crate::page::charts::{self, Bar};
use crate::page::shown::{count, value};
use crate::telemetry::printable::printable;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Shared with the page.
pub const STYLE: &str = include_str!("report.css");

/// A figure of a step.
type Measure = fn(&ActivityRow) -> u64;

/// One page.
pub fn html(reports: &[Report]) -> String {
    let heading = match reports {
        [report] => format!("Honeypot report {} · {}", report.period, sensor_name(report)),
        [first, ..] => format!("Honeypot reports {}", first.period),
        [] => "Honeypot report".to_owned(),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
                title { (heading) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if reports.len() > 1 {
                    nav aria-label="Sensors" {
                        @for (number, report) in reports.iter().enumerate() {
                            a href=(format!("#report-{number}")) { (sensor_name(report)) }
                        }
                    }
                }
                main { (articles(reports)) }
                footer {
                    "All figures by event time, UTC; what each of them counts is defined in "
                    code { "ops/REPORTS.md" } " of Honeyguide."
                }
            }
        }
    };
    page.into_string()
}

/// The reports alone, for whoever has a page around them.
pub fn articles(reports: &[Report]) -> Markup {
    html! { @for (number, report) in reports.iter().enumerate() { (one(number, report)) } }
}

fn one(number: usize, report: &Report) -> Markup {
    html! {
        article id=(format!("report-{number}")) {
            header {
                p .kind { (report.kind.name()) " honeypot report" }
                h1 { (report.period) " · " (sensor_name(report)) }
                p .quiet {
                    @if report.from == report.to { (report.from) } @else { (report.from) " to " (report.to) }
                    " · compared with " (report.before.period) " · made " (report.generated_at.get(..16).unwrap_or(&report.generated_at).replace('T', " "))
                }
            }
            (tiles(report))
            (activity(&report.activity))
            (anomalies(report))
            div .lists {
                @for list in &report.top {
                    @if !list.rows.is_empty() {
                        section {
                            h2 { (title(&list.name)) " " span .quiet { (count(list.distinct)) " distinct" } }
                            table {
                                thead .unseen { tr { th { "value" } th { "events" } } }
                                tbody {
                                    @let most = list.rows.iter().map(|row| row.events).max().unwrap_or(1).max(1);
                                    @for row in &list.rows {
                                        tr {
                                            td .value { (value(&row.value)) }
                                            td .number .share { (charts::share(row.events, most)) (count(row.events)) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            (sequences(report))
            (clusters(report))
            (news(report))
            (sensors(report))
        }
    }
}

fn tiles(report: &Report) -> Markup {
    let shown = ["events", "sessions", "addresses", "login_attempts", "logins_succeeded", "commands", "downloads", "tunnels", "messages"];
    let before = report.before.totals.rows();
    html! {
        dl .tiles {
            @for ((name, now), (_, before)) in report.totals.rows().into_iter().zip(before) {
                @if shown.contains(&name) && (now > 0 || before > 0 || name == "events") {
                    div {
                        dt { (name.replace('_', " ")) }
                        dd { (count(now)) }
                        dd .quiet { (change(now, before)) }
                    }
                }
            }
            div {
                dt { "commands per session" }
                dd { (report.commands_per_session.average) }
                dd .quiet { "at most " (count(report.commands_per_session.largest)) }
            }
        }
    }
}

/// How a figure compares with the one of the period before.
fn change(now: u64, before: u64) -> String {
    match (now, before) {
        (now, before) if now == before => "as before".to_owned(),
        (_, 0) => "none before".to_owned(),
        (now, before) => {
            let percent = (now as f64 - before as f64) * 100.0 / before as f64;
            let arrow = if percent > 0.0 { "▲" } else { "▼" };
            if percent >= 1_000.0 {
                format!("{arrow} {:.0} times {}", now as f64 / before as f64, count(before))
            } else {
                format!("{arrow} {:.0} % from {}", percent.abs(), count(before))
            }
        }
    }
}

fn activity(activity: &Activity) -> Markup {
    let measures: [(&str, Measure); 5] = [
        ("events", |row| row.events),
        ("sessions begun", |row| row.sessions),
        ("login attempts", |row| row.login_attempts),
        ("commands", |row| row.commands),
        ("downloads", |row| row.downloads),
    ];
    html! {
        section .charts {
            h2 { "Activity by " (activity.step) }
            @for (name, measure) in measures {
                @if name == "events" || activity.rows.iter().any(|row| measure(row) > 0) { (chart(name, activity, measure)) }
            }
        }
    }
}

fn chart(name: &str, activity: &Activity, measure: Measure) -> Markup {
    let bars: Vec<Bar<'_>> = activity.rows.iter().map(|row| Bar { at: &row.at, figure: measure(row) }).collect();
    charts::chart(name, &activity.step, &bars)
}

fn sequences(report: &Report) -> Markup {
    html! {
        @if !report.sequences.rows.is_empty() {
            section {
                h2 { "Sequences of commands " span .quiet { (count(report.sequences.distinct)) " distinct" } }
                ol .sequences {
                    @for row in &report.sequences.rows {
                        li {
                            p {
                                strong { (count(row.sessions)) @if row.sessions == 1 { " session" } @else { " sessions" } }
                                span .quiet {
                                    ", " (count(row.commands)) @if row.commands == 1 { " command" } @else { " commands" }
                                    @if let Some(session) = &row.session { ", such as " code { (printable(session)) } }
                                }
                            }
                            (typed(&row.lines, row.commands, row.unreadable))
                        }
                    }
                }
            }
        }
    }
}

/// The beginning of a session's commands.
fn typed(lines: &[String], commands: u64, unreadable: bool) -> Markup {
    html! {
        @if unreadable {
            p .quiet { (UNREADABLE) }
        } @else if !lines.is_empty() {
            pre { @for line in lines { (printable(line)) "\n" } @if commands > lines.len() as u64 { "…\n" } }
        }
    }
}

fn clusters(report: &Report) -> Markup {
    html! {
        @if !report.clusters.rows.is_empty() {
            section {
                h2 { (CLUSTERS) " " span .quiet { (count(report.clusters.distinct)) " with several addresses" } }
                ol .sequences {
                    @for row in &report.clusters.rows {
                        li {
                            p {
                                strong { @if row.estimated { "about " } (count(row.addresses)) " addresses" }
                                span .quiet {
                                    ", " (count(row.sessions)) " sessions, " (count(row.sensors)) @if row.sensors == 1 { " sensor" } @else { " sensors" }
                                    ", " (count(row.credentials)) @if row.credentials == 1 { " credential" } @else { " credentials" }
                                    ", " (count(row.commands)) @if row.commands == 1 { " command" } @else { " commands" }
                                    ", cluster " code { (row.id) }
                                    @if let Some(hassh) = &row.hassh { ", HASSH " code { (printable(hassh)) } }
                                    @if let Some(session) = &row.session { ", such as " code { (printable(session)) } }
                                }
                            }
                            (typed(&row.lines, row.commands, row.unreadable))
                        }
                    }
                }
            }
        }
    }
}

fn anomalies(report: &Report) -> Markup {
    html! {
        @if report.anomalies.found > 0 {
            section {
                h2 { "Out of the ordinary " span .quiet { (count(report.anomalies.found)) " found" } }
                div .scroll tabindex="0" role="region" aria-label="Out of the ordinary" {
                    table .wide {
                        thead { tr { th { "day" } th { "sensor" } th { "" } th .number { "deviation" } } }
                        tbody {
                            @for row in &report.anomalies.rows {
                                tr {
                                    td .quiet { (row.day) }
                                    td .value { @if row.sensor.is_empty() { "(none)" } @else { (value(&row.sensor)) } }
                                    td { (row.told()) }
                                    td .number { (format!("{:+}", row.deviation)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn news(report: &Report) -> Markup {
    let some = || report.new.iter().filter(|list| list.values > 0);
    html! {
        @if some().next().is_some() {
            section {
                h2 { "Never seen before" }
                div .lists {
                    @for list in some() {
                        section {
                            h3 { (title(&list.name)) " " span .quiet { (count(list.values)) " new" } }
                            table {
                                thead .unseen { tr { th { "value" } th { "first seen" } th { "events" } } }
                                tbody {
                                    @for row in &list.rows {
                                        tr {
                                            td .value { (value(&row.value)) }
                                            td .quiet { (row.first_seen.get(..16).unwrap_or(&row.first_seen).replace('T', " ")) }
                                            td .number { (count(row.events)) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn sensors(report: &Report) -> Markup {
    html! {
        @if !report.sensors.is_empty() {
            section {
                h2 { "Sensors" }
                div .scroll tabindex="0" role="region" aria-label="Sensors" {
                    table .wide {
                        thead { tr { th { "sensor" } @for head in ["events", "sessions", "login attempts", "commands", "downloads"] { th .number { (head) } } } }
                        tbody {
                            @for row in &report.sensors {
                                tr {
                                    td .value { @if row.sensor.is_empty() { "(none)" } @else { (value(&row.sensor)) } }
                                    @for figure in [row.events, row.sessions, row.login_attempts, row.commands, row.downloads] {
                                        td .number { (count(figure)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn sensor_name(report: &Report) -> String {
    match report.sensor.as_str() {
        AGGREGATE => "all sensors".to_owned(),
        "" => "(none)".to_owned(),
        name => printable(name).into_owned(),
    }
}
