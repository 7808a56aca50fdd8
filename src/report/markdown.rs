//! Reports for wikis, tickets and chats: GitHub's Markdown.
//!
//! What attackers wrote stands in code spans, in which nothing is markup.
use super::{CLUSTERS, Report, UNREADABLE, title};
use crate::telemetry::printable::printable;
use std::fmt::Write;

/// One document.
pub fn markdown(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        // Writing to a string does not fail.
        let _ = one(report, &mut text);
    }
    text
}

fn one(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(out, "# Honeypot report {}\n", report.period)?;
    let sensor = if report.sensor == super::AGGREGATE { "all sensors".to_owned() } else { format!("sensor {}", code(&report.sensor)) };
    writeln!(out, "{} to {} (UTC), {sensor}. Made {}.\n", report.from, report.to, report.generated_at)?;
    writeln!(out, "| | {} | {} |\n|---|---:|---:|", report.period, report.before.period)?;
    for ((name, now), (_, before)) in report.totals.rows().into_iter().zip(report.before.totals.rows()) {
        writeln!(out, "| {} | {now} | {before} |", name.replace('_', " "))?;
    }
    let commands = &report.commands_per_session;
    writeln!(
        out,
        "\nCommands per session: {} on average, {} at most, {} at least.",
        commands.average, commands.largest, commands.smallest
    )?;
    if report.anomalies.found > 0 {
        writeln!(out, "\n## Anomalies\n\n{} found.\n\n| day | sensor | | deviation |\n|---|---|---|---:|", report.anomalies.found)?;
        for row in &report.anomalies.rows {
            let sensor = if row.sensor.is_empty() { "(none)".to_owned() } else { code(&row.sensor) };
            writeln!(out, "| {} | {sensor} | {} | {:+} |", row.day, row.told(), row.deviation)?;
        }
    }
    for list in report.top.iter().filter(|list| !list.rows.is_empty()) {
        writeln!(out, "\n## {}\n\n{} distinct.\n\n| events | |\n|---:|---|", title(&list.name), list.distinct)?;
        for row in &list.rows {
            writeln!(out, "| {} | {} |", row.events, code(&row.value))?;
        }
    }
    if !report.sequences.rows.is_empty() {
        writeln!(out, "\n## Sequences of commands\n\n{} distinct.", report.sequences.distinct)?;
        for row in &report.sequences.rows {
            let session = row.session.as_ref().map(|session| format!(", such as {}", code(session))).unwrap_or_default();
            writeln!(out, "\n{} sessions{session}, {} commands:\n", row.sessions, row.commands)?;
            lines(out, &row.lines, row.unreadable)?;
        }
    }
    if !report.clusters.rows.is_empty() {
        writeln!(out, "\n## {CLUSTERS}\n\n{} with several addresses.", report.clusters.distinct)?;
        for row in &report.clusters.rows {
            let hassh = row.hassh.as_ref().map(|hassh| format!(", HASSH {}", code(hassh))).unwrap_or_default();
            let session = row.session.as_ref().map(|session| format!(", such as {}", code(session))).unwrap_or_default();
            let about = if row.estimated { "about " } else { "" };
            writeln!(
                out,
                "\n{about}{} addresses, {} sessions, {} sensors: cluster {}{hassh}, {} credentials, {} commands{session}:\n",
                row.addresses,
                row.sessions,
                row.sensors,
                code(&row.id),
                row.credentials,
                row.commands
            )?;
            lines(out, &row.lines, row.unreadable)?;
        }
    }
    for list in report.new.iter().filter(|list| list.values > 0) {
        writeln!(
            out,
            "\n## New: {}\n\n{} never seen before.\n\n| first seen | events | |\n|---|---:|---|",
            title(&list.name),
            list.values
        )?;
        for row in &list.rows {
            writeln!(out, "| {} | {} | {} |", row.first_seen, row.events, code(&row.value))?;
        }
    }
    if !report.sensors.is_empty() {
        writeln!(out, "\n## Sensors\n\n| | events | sessions | login attempts | commands | downloads |\n|---|---:|---:|---:|---:|---:|")?;
        for row in &report.sensors {
            let (name, events, sessions) = (code(&row.sensor), row.events, row.sessions);
            writeln!(out, "| {name} | {events} | {sessions} | {} | {} | {} |", row.login_attempts, row.commands, row.downloads)?;
        }
    }
    writeln!(out)
}

fn lines(out: &mut String, lines: &[String], unreadable: bool) -> std::fmt::Result {
    if unreadable {
        writeln!(out, "- {UNREADABLE}")?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "- {}", code(line)))
}

/// A code span that may stand in a table.
fn code(value: &str) -> String {
    if value.is_empty() {
        return "(empty)".to_owned();
    }
    let value = printable(value).replace('|', "\\|");
    // A fence longer than any run of backticks within.
    let longest = value.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if value.starts_with('`') || value.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{value}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_an_attacker_writes_is_markup() {
        for (value, expected) in [
            ("uname -a", "`uname -a`"),
            ("", "(empty)"),
            ("a|b", r"`a\|b`"),
            ("`id`", "`` `id` ``"),
            ("x``y", "```x``y```"),
            ("a\nb", r"`a\u{a}b`"),
            ("<script>", "`<script>`"),
        ] {
            assert_eq!(code(value), expected, "{value:?}");
        }
    }
}
