//! Reports: which there are to ask for, and one, as the renderer of reports draws it.
use super::shown::{encoded, plain};
use crate::events::Micros;
use crate::report::{Kind, Period, Report, html};
use maud::{Markup, html};

/// How far back links go.
const DAYS: i32 = 10;
const WEEKS: i32 = 8;
const MONTHS: i32 = 12;

/// Which one is asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub kind: String,
    pub period: String,
    /// Empty: all together.
    pub sensor: String,
}

/// `sensors`: those to choose from. `may_all`: whether a report on all together may be seen.
pub fn list(asked: &Asked, sensors: &[String], may_all: bool, now: Micros) -> Markup {
    let of = |kind: Kind, count: i32| {
        let mut period = Period::parse(kind, "last", now).ok();
        (0..count).filter_map(move |_| {
            let this = period.take()?;
            period = Some(this.before());
            Some(this.label())
        })
    };
    let path = |kind: Kind, label: &str| {
        let sensor = if asked.sensor.is_empty() { String::new() } else { format!("&sensor={}", encoded(&asked.sensor)) };
        format!("/reports?kind={}&period={}{sensor}", kind.name(), encoded(label))
    };
    let kinds = [(Kind::Daily, "Days", DAYS), (Kind::Weekly, "Weeks", WEEKS), (Kind::Monthly, "Months", MONTHS)];
    html! {
        h1 { "Reports" }
        section {
            form .fields action="/reports" {
                div {
                    label for="report-kind" { "On a" }
                    select id="report-kind" name="kind" {
                        @for (kind, name) in [(Kind::Daily, "day"), (Kind::Weekly, "week"), (Kind::Monthly, "month"), (Kind::Range, "range of days")] {
                            option value=(kind.name()) selected[kind.name() == asked.kind] { (name) }
                        }
                    }
                }
                div {
                    label for="period" { "Which" }
                    input id="period" name="period" value=(if asked.period.is_empty() { "last" } else { &asked.period }) size="24" maxlength="40" aria-describedby="period-help";
                }
                div {
                    label for="sensor" { "Sensor" }
                    select id="sensor" name="sensor" {
                        @if may_all { option value="" { "all together" } }
                        @for sensor in sensors.iter().filter(|sensor| !sensor.is_empty()) { option value=(sensor) selected[*sensor == asked.sensor] { (plain(sensor)) } }
                    }
                }
                button .primary { "Show" }
            }
            p .quiet id="period-help" { code { "2026-03-22" } ", " code { "2026-W12" } ", " code { "2026-03" } ", " code { "2026-03-01..2026-03-15" } ", or " code { "last" } "." }
        }
        @if may_all || !asked.sensor.is_empty() {
            div .lists {
                @for (kind, name, count) in kinds {
                    section {
                        h2 { (name) }
                        ul .plain { @for label in of(kind, count) { li { a href=(path(kind, &label)) { (label) } } } }
                    }
                }
            }
        }
    }
}

pub fn report(asked: &Asked, reports: &[Report]) -> Markup {
    html! {
        p .quiet { a href="/reports" { "Other reports" } }
        @if let Some(note) = reports.first().and_then(|report| report.note.as_deref()) { p .done .look { (plain(note)) } }
        @if !reports.is_empty() && reports.iter().all(|report| report.totals.events == 0) {
            p .done .look { "Nothing was logged in this period." }
        }
        (html::articles(reports))
        p .quiet { "On a terminal: " code { "honeyguide report " (plain(&asked.kind)) " " (plain(&asked.period)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_periods_that_are_over_are_a_click_away() {
        let now = crate::events::time::parse(b"2026-03-22T10:00:00Z").unwrap();
        let page = list(&Asked::default(), &["a<b".into(), String::new()], true, now).into_string();
        assert!(!page.contains("selected"), "a sensor without a name cannot be asked for: {page}");
        for part in ["kind=daily&amp;period=2026-03-21", "kind=weekly&amp;period=2026-W11", "kind=monthly&amp;period=2026-02", "a&lt;b"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let some = list(&Asked::default(), &[], false, now).into_string();
        assert!(!some.contains("all together") && !some.contains("2026-W11"));
    }
}
