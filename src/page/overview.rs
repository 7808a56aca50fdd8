//! The state of the system in five seconds: a verdict in words, colour and symbol, what is happening now, and the last 24 hours.
use super::charts::{self, Bar};
use super::events::{self, EventRow};
use super::layout::search_form;
use super::shown::{age, count, counted, defanged, encoded, plain, prose, seconds, value_of};
use crate::cli::format::{SourceStatus, Status, TopRow};
use crate::cli::terminal;
use crate::events::{Field, Micros};
use crate::index::query::quote;
use crate::indicators::Indicator;
use crate::service::sinks::SinkRow;
use maud::{Markup, html};
use std::time::Duration;

/// A sink may be so far behind without anybody having to look.
const LAG_SECONDS_MAX: f64 = 300.0;
/// Fewer successful requests of a hundred than these should be seen at once.
const SUCCESS_PERCENT_LOW: f64 = 90.0;
/// Less space than this is worth a word before intake has to pause, bytes.
const FREE_BYTES_LOW: u64 = 5 << 30;

/// What the overview says, as far as somebody may see it.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// For whoever may see the state.
    pub status: Option<Status>,
    /// For whoever may see the evidence.
    pub evidence: Option<Evidence>,
    /// Whether dead letters and sinks have pages for whoever looks.
    pub links_sinks: bool,
    pub links_indicators: bool,
    pub refresh_seconds: Option<u32>,
    pub now: Micros,
}

#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The newest, newest first.
    pub newest: Vec<EventRow>,
    pub charts: Vec<Chart>,
    /// What the lists are of: `since yesterday, 00:00 UTC`.
    pub span: String,
    /// A query for the same, in front of what a row adds.
    pub span_query: String,
    pub lists: Vec<List>,
    /// The highest scores; none for whoever sees some sensors only.
    pub indicators: Vec<Indicator>,
    /// They are being judged: the page that is loaded next has them.
    pub judging: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Chart {
    pub name: &'static str,
    /// By hour.
    pub rows: Vec<(String, u64)>,
}

#[derive(Clone, Debug)]
pub struct List {
    pub title: &'static str,
    pub field: Field,
    pub rows: Vec<TopRow>,
}

/// How things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Good,
    /// Worth a look.
    Look,
    /// Something does not work.
    Bad,
}

impl Level {
    pub fn class(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Look => "look",
            Level::Bad => "bad",
        }
    }

    /// Told apart without colours.
    pub fn symbol(self) -> &'static str {
        match self {
            Level::Good => "✓",
            Level::Look => "!",
            Level::Bad => "✕",
        }
    }
}

/// One thing that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub level: Level,
    pub text: String,
    /// Where to see more.
    pub path: Option<String>,
}

/// What is out of order, the worst first.
pub fn alarms(status: &Status, links_sinks: bool, now: Micros) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let mut alarm = |level: Level, text: String, path: Option<String>| alarms.push(Alarm { level, text, path });
    if let Some(paused) = &status.paused {
        alarm(Level::Bad, format!("Intake is paused: {paused}"), None);
    }
    for actor in status.actors.iter().filter(|actor| actor.state != "running") {
        alarm(Level::Bad, format!("The daemon's {} is {}", plain(&actor.name), plain(&actor.state)), None);
    }
    for source in status.sources.iter().filter(|source| source.state == "degraded") {
        let why = source.problem.as_deref().map(|problem| format!(": {}", plain(problem))).unwrap_or_default();
        alarm(Level::Bad, format!("Source {} is degraded{why}", plain(&source.name)), None);
    }
    for sink in &status.sinks {
        let path = links_sinks.then(|| format!("/sinks/{}", encoded(&sink.name)));
        if let Some((level, text)) = of_sink(sink) {
            alarm(level, text, path.clone());
        }
        if sink.dead_letters_kept > 0 {
            let dead = counted(sink.dead_letters_kept, "dead letter", "dead letters");
            alarm(Level::Look, format!("Sink {} has {dead}", sink.name), path.clone());
        }
        if sink.lost > 0 {
            let lost = counted(sink.lost, "event", "events");
            alarm(Level::Look, format!("Sink {} lost {lost}, as `may_lose` allows", sink.name), path);
        }
    }
    if status.archive.as_ref().is_some_and(|archive| archive.problem.is_some()) {
        alarm(Level::Bad, "Archiving does not get on".to_owned(), None);
    }
    if let Some(free) = status.journal.free_bytes.filter(|free| *free < FREE_BYTES_LOW && status.paused.is_none()) {
        alarm(Level::Look, format!("Only {} are free on the disk", terminal::bytes(free)), None);
    }
    // Dead letters are told with their sinks.
    let dead: u64 = status.sinks.iter().map(|sink| sink.dead_letters_kept).sum();
    let refused = status.quarantine.records.saturating_sub(dead);
    if refused > 0 {
        let records = counted(refused, "record is", "records are");
        alarm(Level::Look, format!("{records} in quarantine: `honeyguide quarantine list` shows why"), None);
    }
    let last = status.journal.last_event.as_deref().and_then(|last| crate::events::time::parse(last.as_bytes()));
    let silent = last.map(|last| Duration::from_micros(u64::try_from(now.saturating_sub(last)).unwrap_or(0)));
    if let Some(silent) = silent.filter(|silent| *silent >= Duration::from_secs(86_400)) {
        alarm(Level::Look, format!("Nothing has happened for {}: do the honeypots still log?", seconds(silent)), None);
    }
    alarms.sort_by_key(|alarm| std::cmp::Reverse(alarm.level));
    alarms
}

/// What is out of order with a sink's delivery.
fn of_sink(sink: &SinkRow) -> Option<(Level, String)> {
    let why = sink.reason.as_deref().or(sink.last_error.as_deref()).map(|why| format!(": {}", plain(why))).unwrap_or_default();
    match sink.state.as_str() {
        "degraded" | "open" => Some((Level::Bad, format!("Sink {} gets nothing through{why}", sink.name))),
        "waiting" => Some((Level::Look, format!("Sink {} waits for its next try{why}", sink.name))),
        "paused" => Some((Level::Look, format!("Sink {} is paused, {} wait", sink.name, counted(sink.lag_events, "event", "events")))),
        "removed" => Some((Level::Look, format!("Sink {} is configured no more, and holds what it did not get", sink.name))),
        _ => sink.lag_seconds.filter(|lag| *lag > LAG_SECONDS_MAX).map(|lag| {
            let behind = seconds(Duration::try_from_secs_f64(lag).unwrap_or_default());
            (Level::Look, format!("Sink {} is {behind} behind", sink.name))
        }),
    }
}

/// How a sink or a source is, by its state.
pub fn level_of(state: &str) -> Level {
    match state {
        "degraded" | "open" | "stalled" => Level::Bad,
        "paused" | "waiting" | "removed" | "stopped" => Level::Look,
        _ => Level::Good,
    }
}

pub fn state(state: &str) -> Markup {
    let level = level_of(state);
    html! { span class={ "state " (level.class()) } { span aria-hidden="true" { (level.symbol()) } " " (plain(state)) } }
}

pub fn overview(data: &Overview) -> Markup {
    html! {
        h1 .unseen { "Overview" }
        @if let Some(status) = &data.status {
            p .unseen id="state-said" role="status" {}
            div id="state-verdict" data-title=(title(status, data.now)) { (verdict(status, data.links_sinks, data.now)) }
        }
        @if let Some(evidence) = &data.evidence {
            (search_form("", false))
            (now(data, evidence))
            (day(evidence))
        }
        @if let Some(status) = &data.status { div id="state-flow" { (flow(status, data.links_sinks)) } }
        @if let Some(evidence) = &data.evidence { (lists(evidence, data)) }
        @if data.status.is_none() && data.evidence.is_none() {
            section { p { "Whoever has this role pushes events, and sees nothing here." } }
        }
    }
}

/// What of the overview tells the state, alone: the script puts it in place of what was.
pub fn state_only(status: &Status, links_sinks: bool, now: Micros) -> Markup {
    html! {
        div id="state-verdict" data-title=(title(status, now)) { (verdict(status, links_sinks, now)) }
        div id="state-flow" { (flow(status, links_sinks)) }
    }
}

/// Of the window: it is seen when the page is not.
pub fn title(status: &Status, now: Micros) -> String {
    match alarms(status, false, now).len() {
        0 => "All is well".to_owned(),
        alarms => format!("({alarms}) Overview"),
    }
}

fn verdict(status: &Status, links_sinks: bool, now: Micros) -> Markup {
    let alarms = alarms(status, links_sinks, now);
    let level = alarms.iter().map(|alarm| alarm.level).max().unwrap_or(Level::Good);
    let words = match (level, alarms.len()) {
        (Level::Good, _) => "All is well".to_owned(),
        (Level::Look, 1) => "Working, and one thing is worth a look".to_owned(),
        (Level::Look, many) => format!("Working, and {many} things are worth a look"),
        (Level::Bad, 1) => "Something does not work".to_owned(),
        (Level::Bad, many) => format!("Something does not work, {many} things in all"),
    };
    let journal = &status.journal;
    html! {
        section class={ "verdict " (level.class()) } aria-label="State" {
            p .words { span .symbol aria-hidden="true" { (level.symbol()) } (words) }
            @if !alarms.is_empty() {
                ul {
                    @for alarm in &alarms {
                        li class=(alarm.level.class()) {
                            span .symbol aria-hidden="true" { (alarm.level.symbol()) }
                            @match &alarm.path { Some(path) => { a href=(path) { (prose(&alarm.text)) } }, None => { (prose(&alarm.text)) } }
                        }
                    }
                }
            }
            dl .tiles {
                div { dt { "events a second" } dd { (rate(status.events_per_second.unwrap_or(0.0))) } }
                div { dt { "events kept" } dd { (count(journal.events)) } }
                div { dt { "newest" } dd { (journal.last_event.as_deref().and_then(|last| age(last, now)).map_or("none".to_owned(), |age| format!("{age} ago"))) } }
                div { dt { "on disk" } dd { (terminal::bytes(journal.journal_bytes + journal.sidecar_bytes)) } }
                @if let Some(free) = journal.free_bytes { div { dt { "free" } dd { (terminal::bytes(free)) } } }
                @if let Some(uptime) = status.uptime_seconds { div { dt { "up for" } dd { (seconds(Duration::try_from_secs_f64(uptime).unwrap_or_default())) } } }
            }
        }
    }
}

/// `0`, `0.4`, `12`.
pub fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 10.0 { format!("{per_second:.1}") } else { count(per_second as u64) }
}

fn now(data: &Overview, evidence: &Evidence) -> Markup {
    html! {
        section id="live" data-stream="/api/v1/live" data-state=[data.status.as_ref().map(|_| "/state")] {
            div .head {
                h2 { "Now" }
                p .quiet id="live-state" role="status" {
                    @match data.refresh_seconds {
                        Some(seconds) => { "Loads again every " (seconds) " s. " a href="/" { "Stop that" } },
                        None => { "As of when this page was loaded. " a href="/?refresh=10" { "Load it again every 10 s" } },
                    }
                }
                button .plain id="live-pause" hidden { "Pause" }
            }
            @if evidence.newest.is_empty() { p id="live-none" { "No event yet." } }
            (events::table(&evidence.newest, "The newest events", true))
        }
    }
}

fn day(evidence: &Evidence) -> Markup {
    html! {
        section .charts {
            h2 { "The last 24 hours" }
            @for chart in &evidence.charts {
                @let bars: Vec<Bar<'_>> = chart.rows.iter().map(|(at, figure)| Bar { at, figure: *figure }).collect();
                (charts::chart(chart.name, "hour", &bars))
            }
        }
    }
}

fn flow(status: &Status, links_sinks: bool) -> Markup {
    html! {
        div .pair {
            section {
                h2 { "Sources" }
                @if status.sources.is_empty() {
                    p .quiet { "None is configured: " code { "[[source]]" } " in the configuration names logs to follow." }
                } @else { (sources(&status.sources)) }
            }
            section {
                h2 { "Sinks" }
                @if status.sinks.is_empty() {
                    p .quiet { "None is configured: events stay here." }
                } @else { (sinks(&status.sinks, links_sinks)) }
            }
        }
    }
}

fn sources(sources: &[SourceStatus]) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Sources" {
            table .cards {
                thead { tr { th { "source" } th { "state" } th .number { "events" } th .number { "behind" } } }
                tbody {
                    @for source in sources {
                        tr {
                            td { (plain(&source.name)) @if let Some(problem) = &source.problem { p .quiet { (plain(problem)) } } }
                            td { (state(&source.state)) }
                            td .number data-label="events" { (count(source.events)) }
                            td .number data-label="behind" { (terminal::bytes(source.behind_bytes)) }
                        }
                    }
                }
            }
        }
    }
}

fn sinks(sinks: &[SinkRow], links: bool) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Sinks" {
            table .cards {
                thead { tr { th { "sink" } th { "state" } th .number { "behind" } th .number { "dead letters" } } }
                tbody {
                    @for sink in sinks {
                        tr {
                            td { @if links { a href=(format!("/sinks/{}", encoded(&sink.name))) { (sink.name) } } @else { (sink.name) } }
                            td { (state(&sink.state)) p .quiet { (success(sink)) } }
                            td .number data-label="behind" { (count(sink.lag_events)) @if let Some(lag) = lag(sink) { p .quiet { (lag) } } }
                            td .number data-label="dead letters" { (count(sink.dead_letters_kept)) }
                        }
                    }
                }
            }
        }
    }
}

/// How long the oldest event waits.
pub fn lag(sink: &SinkRow) -> Option<String> {
    sink.lag_seconds.and_then(|lag| Duration::try_from_secs_f64(lag).ok()).map(seconds)
}

/// How requests of the last hour fared.
pub fn success(sink: &SinkRow) -> Markup {
    html! {
        @match sink.success_percent {
            None => "no request in the last hour",
            Some(percent) => { span .bad[percent < SUCCESS_PERCENT_LOW] { (percent) " %" } " of " (counted(sink.attempts_hour, "request", "requests")) }
        }
    }
}

fn lists(evidence: &Evidence, data: &Overview) -> Markup {
    html! {
        h2 .between { "Most frequent " span .quiet { (evidence.span) } }
        div .lists {
            @for list in evidence.lists.iter().filter(|list| !list.rows.is_empty()) {
                section {
                    h3 { (list.title) }
                    (top(list, &evidence.span_query))
                }
            }
            @if !evidence.indicators.is_empty() {
                section {
                    h3 { "Indicators by score" }
                    table {
                        thead .unseen { tr { th { "kind" } th { "indicator" } th { "score" } } }
                        tbody {
                            @for found in &evidence.indicators {
                                tr {
                                    td .quiet { (found.kind.name()) }
                                    td .value { @if data.links_indicators { (indicator_link(found.kind, &found.value)) } @else { (value_of(found.kind, &found.value)) } }
                                    td .number { (found.score) }
                                }
                            }
                        }
                    }
                }
            }
            @if evidence.judging {
                section { h3 { "Indicators by score" } p .quiet { "They are being judged: load the page again in a few seconds." } }
            }
            @if evidence.lists.iter().any(|list| !list.rows.is_empty()) && evidence.lists.iter().any(|list| list.field == Field::Country && list.rows.is_empty()) {
                section {
                    h3 { "Countries" }
                    p .quiet { "None is known: " code { "honeyguide geoip import" } " takes a database that tells where addresses are." }
                }
            }
            @if evidence.lists.iter().all(|list| list.rows.is_empty()) { p .quiet { "Nothing in that time." } }
        }
    }
}

/// The value as text, and a link to what is known of it here.
pub fn indicator_link(kind: Field, value: &str) -> Markup {
    html! { a href=(format!("/indicators/{}", encoded(value))) { bdi .clamp { code { (plain(&defanged(kind, value))) } } } }
}

/// Values with their figures, each a search.
pub fn top(list: &List, span_query: &str) -> Markup {
    let most = list.rows.iter().map(|row| row.count).max().unwrap_or(1);
    let query = |value: &str| format!("{span_query}{}:{}", list.field.name(), quote(value));
    html! {
        table {
            thead .unseen { tr { th { (list.field.name()) } th { "events" } } }
            tbody {
                @for row in &list.rows {
                    tr {
                        td .value {
                            @if row.value.is_empty() { span .quiet { "(empty)" } }
                            @else { a href=(format!("/search?query={}", encoded(&query(&row.value)))) { bdi .clamp { code { (plain(&defanged(list.field, &row.value))) } } } }
                        }
                        td .number .share { (charts::share(row.count, most)) (count(row.count)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::{ActorStatus, JournalStatus};

    fn healthy() -> Status {
        let journal = JournalStatus { last_event: Some("2026-03-22T00:00:00.000000Z".into()), events: 7, ..JournalStatus::default() };
        Status { running: true, journal, ..Status::default() }
    }

    /// A minute later.
    fn now() -> Micros {
        crate::events::time::parse(b"2026-03-22T00:01:00Z").unwrap()
    }

    fn drawn(status: Status) -> String {
        overview(&Overview { status: Some(status), now: now(), links_sinks: true, ..Overview::default() }).into_string()
    }

    #[test]
    fn all_is_well_when_nothing_is_wrong() {
        assert_eq!(alarms(&healthy(), true, now()), []);
        let page = drawn(healthy());
        assert!(page.contains("All is well") && page.contains("verdict good") && page.contains("1 min ago"), "{page}");
    }

    #[test]
    fn the_worst_comes_first_and_gives_the_verdict() {
        let sink = |name: &str, state: &str| SinkRow { name: name.into(), state: state.into(), ..SinkRow::default() };
        let status = Status {
            paused: Some("the disk is nearly full".into()),
            actors: vec![ActorStatus { name: "journal".into(), state: "stalled".into(), restarts: 0 }],
            sources: vec![SourceStatus {
                name: "a<b".into(),
                state: "degraded".into(),
                problem: Some("gone".into()),
                ..Default::default()
            }],
            sinks: vec![
                SinkRow { dead_letters_kept: 3, lost: 1, ..sink("siem", "paused") },
                sink("webhook", "open"),
                SinkRow { lag_seconds: Some(900.0), ..sink("slow", "delivering") },
                sink("fine", "idle"),
            ],
            ..healthy()
        };
        let alarms = alarms(&status, true, now());
        let texts: Vec<&str> = alarms.iter().map(|alarm| alarm.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Intake is paused: the disk is nearly full",
                "The daemon's journal is stalled",
                "Source a<b is degraded: gone",
                "Sink webhook gets nothing through",
                "Sink siem is paused, 0 events wait",
                "Sink siem has 3 dead letters",
                "Sink siem lost 1 event, as `may_lose` allows",
                "Sink slow is 15 min behind",
            ]
        );
        let page = drawn(status);
        assert!(page.contains("verdict bad") && page.contains("Something does not work, 8 things in all") && page.contains("a&lt;b"));
        assert!(page.contains(r#"href="/sinks/siem""#));
    }

    #[test]
    fn silence_is_worth_a_look() {
        let later = now() + 3 * 86_400 * 1_000_000;
        let alarms = alarms(&healthy(), true, later);
        assert_eq!(alarms[0].text, "Nothing has happened for 3 days: do the honeypots still log?");
        assert_eq!(alarms[0].level, Level::Look);
    }

    #[test]
    fn whoever_may_not_see_the_evidence_does_not() {
        let page = drawn(healthy());
        assert!(!page.contains("live-rows") && !page.contains("Search in the query language"));
        let nothing = overview(&Overview::default()).into_string();
        assert!(nothing.contains("sees nothing here"));
    }

    #[test]
    fn rates_are_told_as_exactly_as_they_matter() {
        assert_eq!((rate(0.0), rate(0.42), rate(12.7), rate(12_345.0)), ("0".into(), "0.4".into(), "12".into(), "12\u{202f}345".into()));
    }
}
