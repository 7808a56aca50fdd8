//! Searching: what matches, a page at a time, and where a query went wrong.
use super::events::{self, EventRow};
use super::layout::search_form;
use super::shown::{counted, encoded, prose};
use maud::{Markup, html};

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub rows: Vec<EventRow>,
    /// The cursor of the next page.
    pub next: Option<String>,
    pub newest: bool,
    pub first_page: bool,
}

/// Why it is no query, and at which character, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong {
    pub detail: String,
    pub column: Option<usize>,
}

pub fn search(query: &str, outcome: Option<Result<&Found, &Wrong>>) -> Markup {
    html! {
        h1 { "Search" }
        section { (search_form(query, matches!(outcome, Some(Err(_))))) }
        @match outcome {
            None => { (help()) },
            Some(Err(wrong)) => { (mistake(query, wrong)) },
            Some(Ok(found)) => { (results(query, found)) },
        }
    }
}

fn results(query: &str, found: &Found) -> Markup {
    let path = |newest: bool| format!("/search?query={}{}", encoded(query), if newest { "" } else { "&order=oldest" });
    html! {
        section {
            div .head {
                h2 { @if found.rows.is_empty() { "Nothing matches" } @else { (counted(found.rows.len() as u64, "event", "events")) @if found.next.is_some() { ", and more" } } }
                @if !found.rows.is_empty() {
                    p .quiet {
                        @if found.newest { "Newest first. " a href=(path(false)) { "Oldest first" } }
                        @else { "Oldest first. " a href=(path(true)) { "Newest first" } }
                    }
                }
            }
            @if !found.rows.is_empty() { (events::table(&found.rows, "Events that match", false)) }
            @else { p { "No event matches that. A word without a field is looked for in all values." } }
            @if found.next.is_some() || !found.first_page {
                nav .pages aria-label="Pages" {
                    @if !found.first_page { a href=(path(found.newest)) { "First page" } }
                    @if let Some(next) = &found.next { a .button rel="next" href=(format!("{}&cursor={}", path(found.newest), encoded(next))) { "Next page" } }
                }
            }
        }
    }
}

/// The query with a mark below the character from which on it makes no sense.
fn mistake(query: &str, wrong: &Wrong) -> Markup {
    let line: String = query.chars().map(|char| if crate::telemetry::printable::is_hostile(char) { '?' } else { char }).collect();
    html! {
        section .problem role="alert" {
            h2 { "This is no query" }
            p { (prose(&wrong.detail)) }
            @if let Some(column) = wrong.column {
                @let at = column.saturating_sub(1);
                @let before: String = line.chars().take(at).collect();
                @let there: String = line.chars().skip(at).take(1).collect();
                @let behind: String = line.chars().skip(at + 1).collect();
                p .pointer aria-label=(format!("The mistake is at character {column}")) {
                    code { (before) mark { @if there.is_empty() { "\u{a0}" } @else { (there) } } (behind) }
                }
            }
        }
        (help())
    }
}

fn help() -> Markup {
    let examples = [
        ("username:root password:123456", "both must match, letter case included"),
        ("command:\"wget *\" since:7d", "* stands for any text; ages are m, h, d"),
        ("src_ip:203.0.113.0/24 OR country:DE", "networks, alternatives, parentheses, NOT"),
        ("exists:download until:2026-03-22", "there is one, before a day's end"),
        ("busybox", "a word in any value"),
    ];
    html! {
        section {
            h2 { "How to ask" }
            dl .examples {
                @for (query, about) in examples {
                    div { dt { a href=(format!("/search?query={}", encoded(query))) { code { (query) } } } dd { (about) } }
                }
            }
            details {
                summary { "Fields" }
                dl .examples {
                    @for field in crate::events::Field::ALL { div { dt { code { (field.name()) } } dd { (field.about()) } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_marked_where_it_is() {
        let wrong = Wrong { detail: "column 3: no".into(), column: Some(3) };
        let page = search("a <b>", Some(Err(&wrong))).into_string();
        assert!(page.contains("<code>a <mark>&lt;</mark>b&gt;</code>"), "{page}");
        assert!(page.contains(r#"aria-invalid="true""#) && page.contains("The mistake is at character 3"));
        let behind = search("a", Some(Err(&Wrong { column: Some(9), ..wrong }))).into_string();
        assert!(behind.contains("<mark>\u{a0}</mark>"), "{behind}");
    }

    #[test]
    fn the_next_page_is_asked_for_with_the_same_query() {
        let row = EventRow { time: "2026".into(), sensor: None, src_ip: None, session: "".into(), kind: "k".into(), what: "w".into() };
        let found = Found { rows: vec![row], next: Some("abc".into()), newest: false, first_page: true };
        let page = search("a&b", Some(Ok(&found))).into_string();
        assert!(page.contains("/search?query=a%26b&amp;order=oldest&amp;cursor=abc"), "{page}");
        assert!(search("x", Some(Ok(&Found::default()))).into_string().contains("Nothing matches"));
    }
}
