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

/// What is often asked for.
const VIEWS: [(&str, &str); 4] = [
    ("What people did", "/audit"),
    ("Requests and refusals", "/audit?kind=request"),
    ("Orders to sinks", "/audit?kind=sink_ordered"),
    ("Everything", "/audit?people=false"),
];

pub fn audit(asked: &Asked, page: &Records) -> Markup {
    let kind = asked.kind.as_deref().unwrap_or_default();
    let people = asked.people.map(|people| format!("&people={people}")).unwrap_or_default();
    let of = format!("/audit?kind={}{people}", encoded(kind));
    html! {
        h1 { "Audit" }
        section {
            form .fields action="/audit" {
                div {
                    label for="kind" { "Kind of record" }
                    input id="kind" name="kind" value=(kind) list="kinds" maxlength="100" placeholder="what people did" autocapitalize="off" spellcheck="false";
                    datalist id="kinds" { @for kind in KINDS { option value=(kind); } }
                }
                button .primary { "Show" }
            }
            p .kinds {
                @for (about, path) in VIEWS { a href=(path) { (about) } }
            }
        }
        section {
            @if page.records.is_empty() { p { "No such record. What somebody orders, changes or is refused appears here." } } @else {
                div .scroll tabindex="0" role="region" aria-label="Records" {
                    table .events {
                        caption .unseen { "Records of the ledger, newest first" }
                        thead { tr { th .number { "record" } th { "time" } th { "by" } th { "what" } th { "details" } } }
                        tbody {
                            @for record in &page.records {
                                tr {
                                    td .number { (record.number) }
                                    td .nowrap { (moment(&record.time)) }
                                    td .by { (plain(member(record, "by"))) }
                                    td .asked { (what(record)) }
                                    td .what {
                                        (difference(record))
                                        @let rest = details(record);
                                        @if !rest.is_empty() { p .quiet { (value(&rest)) } }
                                    }
                                }
                            }
                        }
                    }
                }
                nav .pages aria-label="Pages" {
                    @if asked.before.is_some() { a href=(of) { "Newest" } }
                    @if let Some(next) = page.next { a .button rel="next" href=(format!("{of}&before={next}")) { "Older" } }
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
    let told = |name: &&String| match name.as_str() {
        "by" => true,
        "before" | "after" => has_sides(record),
        "method" | "path" | "status" => record.kind == REQUEST,
        _ => false,
    };
    let is_nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let rest = members.iter().filter(|(name, value)| !told(name) && !is_nothing(value));
    let rest: Vec<String> = rest.map(|(name, value)| format!("{name}: {}", text(value))).collect();
    rest.join(", ")
}

/// Some tell one of the two, under a name of their own.
fn has_sides(record: &Recorded) -> bool {
    record.details.get("before").is_some() && record.details.get("after").is_some()
}

/// What was, and what is: of members that both have only those that differ.
fn difference(record: &Recorded) -> Markup {
    let (before, after) = (&record.details["before"], &record.details["after"]);
    let (Some(is), true) = (after.as_object(), has_sides(record)) else {
        let gone = before.as_object().filter(|_| has_sides(record));
        return html! { @if let Some(gone) = gone { ul .plain { @for (name, was) in gone { (side(name, Some(was), None)) } } } };
    };
    let was = |name: &str| before.get(name);
    let changed: Vec<_> = is.iter().filter(|(name, now)| !now.is_null() && was(name) != Some(*now)).collect();
    let lost: Vec<_> = before.as_object().into_iter().flatten().filter(|(name, _)| !is.contains_key(*name)).collect();
    html! {
        @if changed.is_empty() && lost.is_empty() { p { "nothing changed" } } @else {
            @let (told, new): (Vec<_>, Vec<_>) = changed.into_iter().partition(|(name, _)| was(name).is_some());
            ul .plain {
                @for (name, now) in told { (side(name, was(name), Some(now))) }
                @if !new.is_empty() {
                    li {
                        @for (at, (name, now)) in new.into_iter().enumerate() {
                            @if at > 0 { ", " }
                            span .label { (plain(name).replace('_', " ")) ": " } ins { (value(&text(now))) }
                        }
                    }
                }
                @for (name, was) in lost {
                    // Of what was only asked for, it says what there was, and not that it is no more.
                    @if is.contains_key("asked") { li { (plain(name)) ": " (value(&text(was))) } } @else { (side(name, Some(was), None)) }
                }
            }
        }
    }
}

fn side(name: &str, was: Option<&Value>, now: Option<&Value>) -> Markup {
    html! {
        li {
            span .label { (plain(name).replace('_', " ")) ": " }
            @if let Some(was) = was { del { (value(&text(was))) } }
            @if was.is_some() && now.is_some() { " " span aria-label="became" { "→" } " " }
            @if let Some(now) = now { ins { (value(&text(now))) } }
        }
    }
}

/// `2026-03-22T00:00:00.000000Z`, of which people need the first part.
fn is_stamp(text: &str) -> bool {
    text.len() == 27 && text.ends_with('Z') && crate::events::time::parse(text.as_bytes()).is_some()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) if text.is_empty() => "–".to_owned(),
        Value::String(text) if is_stamp(text) => text[..19].replace('T', " "),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            if items.is_empty() {
                "none".to_owned()
            } else {
                items.iter().map(text).collect::<Vec<_>>().join(", ")
            }
        }
        Value::Object(members) => members.iter().map(|(name, member)| format!("{name}: {}", text(member))).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
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
        let paused = json!({ "by": "k", "method": "POST", "path": "/sinks/siem/pause", "status": 303, "before": { "paused": false, "cursor": 7 },
            "after": { "paused": true, "cursor": 7, "sink": "<b>", "until": "2026-03-22T00:00:00.000000Z" } });
        let page = audit(&Asked::default(), &Records { records: vec![record(1, "request", paused)], next: None }).into_string();
        for part in [
            "paused: ",
            "<del><bdi><code>false</code></bdi></del>",
            "<ins><bdi><code>true</code></bdi></ins>",
            "&lt;b&gt;",
            "<code>2026-03-22 00:00:00</code>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("cursor"), "it is the same: {page}");
        let purged = json!({ "by": "k", "status": 200, "before": { "type": "country" }, "after": null });
        let page = audit(&Asked::default(), &Records { records: vec![record(1, "request", purged)], next: None }).into_string();
        assert!(page.contains("<del>") && !page.contains("<ins>"), "{page}");
        let page = audit(&Asked { kind: Some("a&b".into()), ..Asked::default() }, &records).into_string();
        for part in ["refused 403", "POST <code>/&lt;b&gt;</code>", "sink ordered", "order: pause", "uid 0", "kind=a%26b&amp;before=8"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
