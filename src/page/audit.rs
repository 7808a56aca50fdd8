//! Who did what: the ledger, newest first.
use super::shown::{encoded, moment, plain, value};
use crate::service::audit::{Asked, REQUEST, Recorded, Records};
use maud::{Markup, html};
use serde_json::Value;

/// Kinds that are offered to choose from; any other can be typed.
const KINDS: [&str; 8] = [
    REQUEST,
    "sink_ordered",
    "dead_letters_delivered",
    "dead_letters_purged",
    "sink_lost_events",
    "erasure_begun",
    "quarantine_purged",
    "segment_removed",
];

pub fn audit(asked: &Asked, page: &Records) -> Markup {
    let kind = asked.kind.as_deref().unwrap_or_default();
    html! {
        h1 { "Audit" }
        section {
            form .fields action="/audit" {
                div {
                    label for="kind" { "Kind of record" }
                    input id="kind" name="kind" value=(kind) list="kinds" maxlength="100" placeholder="all" autocapitalize="off" spellcheck="false";
                    datalist id="kinds" { @for kind in KINDS { option value=(kind); } }
                }
                button .primary { "Show" }
            }
            p .kinds {
                @for (about, kind) in [("Everything", ""), ("Requests and refusals", REQUEST), ("Orders to sinks", "sink_ordered")] {
                    a href=(format!("/audit?kind={kind}")) { (about) }
                }
            }
        }
        section {
            @if page.records.is_empty() { p { "No such record." } } @else {
                div .scroll tabindex="0" role="region" aria-label="Records" {
                    table .events {
                        caption .unseen { "Records of the ledger, newest first" }
                        thead { tr { th .number { "record" } th { "time" } th { "by" } th { "what" } th { "details" } } }
                        tbody {
                            @for record in &page.records {
                                tr {
                                    td .number { (record.number) }
                                    td .nowrap { (moment(&record.time)) }
                                    td { (plain(member(record, "by"))) }
                                    td { (what(record)) }
                                    td .what { (value(&details(record))) }
                                }
                            }
                        }
                    }
                }
                nav .pages aria-label="Pages" {
                    @if asked.before.is_some() { a href=(format!("/audit?kind={}", encoded(kind))) { "Newest" } }
                    @if let Some(next) = page.next { a .button rel="next" href=(format!("/audit?kind={}&before={next}", encoded(kind))) { "Older" } }
                }
            }
        }
    }
}

fn member<'r>(record: &'r Recorded, name: &str) -> &'r str {
    record.details[name].as_str().unwrap_or_default()
}

/// A request is told as one; anything else by its kind.
fn what(record: &Recorded) -> Markup {
    let status = record.details["status"].as_u64().unwrap_or(0);
    html! {
        @if record.kind == REQUEST {
            @if status >= 400 { span .state .bad { "refused " (status) } " " }
            (plain(member(record, "method"))) " " code { (plain(member(record, "path"))) }
        } @else { (plain(&record.kind).replace('_', " ")) }
    }
}

/// What the other columns do not say.
fn details(record: &Recorded) -> String {
    let Value::Object(members) = &record.details else { return record.details.to_string() };
    let told = |name: &&String| name.as_str() == "by" || record.kind == REQUEST && ["method", "path", "status"].contains(&name.as_str());
    let rest = members.iter().filter(|(name, value)| !told(name) && !value.is_null());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rest: Vec<String> = rest.map(|(name, value)| format!("{name}: {}", text(value))).collect();
    if rest.is_empty() { "–".to_owned() } else { rest.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_says_who_did_what() {
        let refused = json!({ "by": "nobody", "method": "POST", "path": "/<b>", "status": 403, "code": "forbidden", "from": "192.0.2.1" });
        let ordered = json!({ "by": "uid 0", "sink": "siem", "order": "pause" });
        let record = |number, kind: &str, details| Recorded { number, time: "2026-03-22T00:00:00Z".into(), kind: kind.into(), details };
        let records = Records { records: vec![record(9, "request", refused), record(8, "sink_ordered", ordered)], next: Some(8) };
        let page = audit(&Asked { kind: Some("a&b".into()), ..Asked::default() }, &records).into_string();
        for part in ["refused 403", "POST <code>/&lt;b&gt;</code>", "sink ordered", "order: pause", "uid 0", "kind=a%26b&amp;before=8"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
