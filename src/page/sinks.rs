//! Sinks: how far they are, what keeps them, and the few orders an operator gives them from here.
use super::layout::button;
use super::overview::{lag, state, success};
use super::shown::{age, count, counted, encoded, moment, plain, value};
use crate::events::Micros;
use crate::service::sinks::{DeadLetterRow, Redelivered, SinkRow, TestReport};
use maud::{Markup, html};

/// What was just done, told on top of the page.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    Paused,
    Resumed,
    Tested(TestReport),
    Retried(Redelivered),
}

/// Whether somebody may give orders, and with which token.
#[derive(Clone, Copy, Debug)]
pub struct Orders<'a> {
    pub may: bool,
    pub csrf: &'a str,
}

pub fn list(sinks: &[SinkRow], orders: Orders<'_>, now: Micros) -> Markup {
    html! {
        h1 { "Sinks" }
        section {
            @if sinks.is_empty() { p { "None is configured: events stay here. " code { "[[sink]]" } " in the configuration sends them on." } }
            @else {
                div .scroll tabindex="0" role="region" aria-label="Sinks" {
                    table .cards {
                        thead {
                            tr {
                                th { "sink" } th { "state" } th .number { "behind" } th .number { "delivered" } th { "last hour" } th .number { "dead letters" } th { "last success" }
                                @if orders.may { th { "orders" } }
                            }
                        }
                        tbody {
                            @for sink in sinks {
                                tr {
                                    td { a href=(path(&sink.name, "")) { (sink.name) } p .quiet { (sink.r#type) } }
                                    td { (state(&sink.state)) }
                                    td .number data-label="behind" { (count(sink.lag_events)) @if let Some(lag) = lag(sink) { p .quiet { (lag) } } }
                                    td .number data-label="delivered" { (count(sink.delivered)) }
                                    td .quiet data-label="last hour" { (success(sink)) }
                                    td .number data-label="dead letters" { (count(sink.dead_letters_kept)) }
                                    td .nowrap data-label="last success" { (sink.last_success.as_deref().and_then(|at| age(at, now)).map_or("–".to_owned(), |age| format!("{age} ago"))) }
                                    @if orders.may { td { (pause(sink, orders.csrf)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn path(name: &str, order: &str) -> String {
    format!("/sinks/{}{order}", encoded(name))
}

/// Pauses, or ends a pause; of one that is configured no more there is nothing to order.
fn pause(sink: &SinkRow, csrf: &str) -> Markup {
    html! {
        @match sink.state.as_str() {
            "removed" => {},
            "paused" => { (button(&path(&sink.name, "/resume"), csrf, "Resume", &sink.name)) },
            _ => { (button(&path(&sink.name, "/pause"), csrf, "Pause", &sink.name)) },
        }
    }
}

pub fn one(sink: &SinkRow, dead: Option<&[DeadLetterRow]>, orders: Orders<'_>, done: Option<&Done>) -> Markup {
    html! {
        p .kind { "Sink" }
        h1 { (sink.name) }
        @if let Some(done) = done { (told(done)) }
        section {
            p { (state(&sink.state)) @if let Some(reason) = &sink.reason { " " (plain(reason)) } }
            dl .facts {
                @if !sink.r#type.is_empty() { div { dt { "type" } dd { (sink.r#type) } } }
                @if !sink.place.is_empty() { div { dt { "to" } dd { (value(&sink.place)) } } }
                @if let Some(filter) = &sink.filter { div { dt { "filter" } dd { (value(filter)) } } }
                div { dt { "behind" } dd { (counted(sink.lag_events, "event", "events")) @if let Some(lag) = lag(sink) { ", " (lag) } } }
                div { dt { "next event" } dd { (count(sink.cursor)) " of " (count(sink.head)) } }
                div { dt { "delivered" } dd { (count(sink.delivered)) " since the daemon started" } }
                div { dt { "last hour" } dd { (success(sink)) } }
                div { dt { "failed" } dd { (count(sink.failures)) " of " (counted(sink.attempts, "request", "requests")) " since the daemon started" } }
                @if sink.lost > 0 { div { dt { "lost" } dd { (count(sink.lost)) } } }
                @if let Some(at) = &sink.last_success { div { dt { "last success" } dd { (moment(at)) } } }
                @if let Some(error) = &sink.last_error { div { dt { "last error" } dd { (value(error)) @if let Some(at) = &sink.last_error_at { ", " (moment(at)) } } } }
            }
            @if orders.may && sink.state != "removed" {
                div .orders { (pause(sink, orders.csrf)) (button(&path(&sink.name, "/test"), orders.csrf, "Test", "")) }
            }
        }
        @if let Some(dead) = dead { (letters(sink, dead, orders)) }
    }
}

fn told(done: &Done) -> Markup {
    let (class, text) = match done {
        Done::Paused => ("look", "It is paused: events wait until it is resumed.".to_owned()),
        Done::Resumed => ("good", "It goes on.".to_owned()),
        Done::Tested(report) if report.usable => ("good", format!("The receiver would take deliveries ({:.1} s).", report.seconds)),
        Done::Tested(report) => ("bad", format!("The receiver takes nothing: {}", plain(&report.answer))),
        Done::Retried(Redelivered { retried: 0, .. }) => ("look", "There was no dead letter to send.".to_owned()),
        Done::Retried(sent) if sent.delivered == sent.retried => ("good", format!("All {} arrived.", count(sent.retried))),
        Done::Retried(sent) => ("bad", format!("{} of {} arrived; the others stay.", count(sent.delivered), count(sent.retried))),
    };
    html! { p class={ "done " (class) } role="status" { (text) } }
}

fn letters(sink: &SinkRow, dead: &[DeadLetterRow], orders: Orders<'_>) -> Markup {
    html! {
        section {
            div .head {
                h2 { "Dead letters" }
                @if orders.may && !dead.is_empty() && sink.state != "removed" {
                    (button(&path(&sink.name, "/retry"), orders.csrf, "Deliver them again", ""))
                }
            }
            @if dead.is_empty() { p { "None: the receiver has refused nothing for good." } } @else {
                @if (dead.len() as u64) < sink.dead_letters_kept { p .quiet { "The newest " (dead.len()) "." } }
                div .scroll tabindex="0" role="region" aria-label="Dead letters" {
                    table .cards {
                        thead { tr { th .number { "record" } th .number { "event" } th { "refused" } th { "why" } th .number { "bytes" } } }
                        tbody {
                            @for letter in dead {
                                tr {
                                    td .number data-label="record" { (letter.number) }
                                    td .number data-label="event" { (count(letter.sequence)) }
                                    td .nowrap data-label="refused" { (moment(&letter.received_at)) }
                                    td .what data-label="why" { (value(&letter.reason)) }
                                    td .number data-label="bytes" { (count(letter.bytes)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(state: &str) -> SinkRow {
        SinkRow { name: "siem".into(), r#type: "file".into(), state: state.into(), dead_letters_kept: 1, ..SinkRow::default() }
    }

    #[test]
    fn orders_are_for_whoever_may_give_them() {
        let (may, may_not) = (Orders { may: true, csrf: "t" }, Orders { may: false, csrf: "t" });
        let page = list(&[sink("idle"), sink("paused")], may, 0).into_string();
        assert!(page.contains("/sinks/siem/pause") && page.contains("/sinks/siem/resume") && page.contains(r#"aria-label="Pause siem""#));
        assert!(!list(&[sink("idle")], may_not, 0).into_string().contains("<form"));
        assert!(!one(&sink("removed"), Some(&[]), may, None).into_string().contains("<form"));
        let letter = DeadLetterRow { reason: "<b>no</b>".into(), ..DeadLetterRow::default() };
        let page = one(&sink("idle"), Some(&[letter]), may, Some(&Done::Paused)).into_string();
        assert!(page.contains("/sinks/siem/retry") && page.contains("&lt;b&gt;no&lt;/b&gt;") && page.contains("It is paused"));
    }

    #[test]
    fn a_sink_says_how_many_of_its_requests_succeed() {
        let told = |percent, requests| {
            let sink = SinkRow { success_percent: percent, attempts_hour: requests, ..sink("idle") };
            success(&sink).into_string()
        };
        assert!(told(None, 0).contains("no request"));
        assert!(told(Some(99.5), 200).ends_with("99.5 %</span> of 200 requests") && !told(Some(99.5), 200).contains("bad"));
        assert!(told(Some(50.0), 1).contains(r#"class="bad""#));
    }

    #[test]
    fn what_was_done_is_told() {
        let tested = |usable| Done::Tested(TestReport { usable, answer: "<x>".into(), ..TestReport::default() });
        assert!(told(&tested(true)).into_string().contains("would take deliveries"));
        assert!(told(&tested(false)).into_string().contains("takes nothing: &lt;x&gt;"));
        let retried = |retried, delivered| told(&Done::Retried(Redelivered { retried, delivered })).into_string();
        assert!(retried(0, 0).contains("no dead letter") && retried(2, 2).contains("All 2") && retried(2, 1).contains("1 of 2"));
    }
}
