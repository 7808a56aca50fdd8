//! What is around every page: head, navigation by what somebody may see, and the small parts that several pages have.
use super::shown;
use crate::access::{Principal, Right};
use maud::{DOCTYPE, Markup, html};

/// A bee's comb, so that no browser asks for `/favicon.ico`.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%23c98a10' d='M8 1l6 3.5v7L8 15l-6-3.5v-7z'/%3E%3C/svg%3E";

/// The parts of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Overview,
    Search,
    Indicators,
    Sinks,
    Reports,
    Audit,
    /// None of those: logging in, a problem.
    Other,
}

impl Part {
    const SHOWN: [Part; 6] = [Part::Overview, Part::Search, Part::Indicators, Part::Sinks, Part::Reports, Part::Audit];

    fn name(self) -> &'static str {
        match self {
            Part::Overview => "Overview",
            Part::Search => "Search",
            Part::Indicators => "Indicators",
            Part::Sinks => "Sinks",
            Part::Reports => "Reports",
            Part::Audit => "Audit",
            Part::Other => "",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Part::Overview | Part::Other => "/",
            Part::Search => "/search",
            Part::Indicators => "/indicators",
            Part::Sinks => "/sinks",
            Part::Reports => "/reports",
            Part::Audit => "/audit",
        }
    }

    /// Whether somebody gets it shown: what its route needs.
    fn is_for(self, who: &Principal) -> bool {
        match self {
            Part::Overview => true,
            Part::Search | Part::Reports => who.may(Right::Evidence),
            Part::Indicators => may_of_all(who, Right::Evidence),
            Part::Sinks => may_of_all(who, Right::Status),
            Part::Audit => may_of_all(who, Right::Audit),
            Part::Other => false,
        }
    }
}

/// Whether somebody may, and not of some sensors only.
pub fn may_of_all(who: &Principal, right: Right) -> bool {
    who.may(right) && who.sensors.is_none()
}

/// Whose page it is, and of what.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    pub title: &'a str,
    pub part: Part,
    pub who: Option<&'a Principal>,
    /// They came with a session that can be ended.
    pub logs_out: bool,
    /// Of the content security policy.
    pub nonce: &'a str,
    /// What forms must carry.
    pub csrf: &'a str,
    /// Load it again after so many seconds, because somebody asked for that.
    pub refresh_seconds: Option<u32>,
}

/// The whole page.
pub fn page(frame: &Frame<'_>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = frame.refresh_seconds { meta http-equiv="refresh" content=(seconds); }
                title { (frame.title) " · Honeyguide" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/style.css";
                script src="/live.js" nonce=(frame.nonce) defer {}
            }
            body {
                a .skip href="#main" { "Skip to the content" }
                header .top {
                    a .brand href="/" { "Honeyguide" }
                    @if let Some(who) = frame.who {
                        nav aria-label="Parts" {
                            @for part in Part::SHOWN.into_iter().filter(|part| part.is_for(who)) {
                                a href=(part.path()) aria-current=[(part == frame.part).then_some("page")] { (part.name()) }
                            }
                        }
                        div .who {
                            span .quiet { (shown::plain(&who.to_string())) }
                            @if frame.logs_out {
                                form method="post" action="/logout" { (token(frame.csrf)) button .plain { "Log out" } }
                            }
                        }
                    }
                }
                main id="main" tabindex="-1" { (body) }
                footer { "Times are UTC. ""Honeyguide " (env!("CARGO_PKG_VERSION")) }
            }
        }
    }
}

/// The hidden field that says a form is ours.
pub fn token(csrf: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(csrf); }
}

/// A form that is one button.
pub fn button(action: &str, csrf: &str, label: &str, about: &str) -> Markup {
    html! {
        form .inline method="post" action=(action) {
            (token(csrf))
            button aria-label=[(!about.is_empty()).then(|| format!("{label} {about}"))] { (label) }
        }
    }
}

/// The form of the query language.
pub fn search_form(query: &str, wrong: bool) -> Markup {
    html! {
        form .search role="search" action="/search" {
            label for="query" { "Search in the query language" }
            div .row {
                input type="search" id="query" name="query" value=(query) placeholder="src_ip:203.0.113.7 since:7d" autocomplete="off"
                    autocapitalize="off" spellcheck="false" maxlength="16384" aria-describedby="query-help" aria-invalid=[wrong.then_some("true")];
                button .primary { "Search" }
            }
            p .quiet id="query-help" {
                "Such as " code { "username:root command:\"wget *\"" } ", " code { "eventid:cowrie.login.success since:24h" } " or a word."
            }
        }
    }
}

/// What could not be done, and why.
pub fn problem(status: u16, title: &str, detail: &str, request_id: &str) -> Markup {
    html! {
        section .problem role="alert" {
            p .kind { (status) }
            h1 { (title) }
            p { (shown::prose(detail)) }
            @if !request_id.is_empty() { p .quiet { "request " code { (request_id) } } }
            p { a href="/" { "To the overview" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    fn drawn(who: &Principal) -> String {
        let frame = Frame { title: "x", part: Part::Search, who: Some(who), logs_out: true, nonce: "n", csrf: "c", refresh_seconds: None };
        page(&frame, &html! { "body" }).into_string()
    }

    #[test]
    fn nobody_is_led_to_what_they_may_not_see() {
        let parts = |who: &Principal| -> Vec<&str> { Part::SHOWN.into_iter().filter(|part| part.is_for(who)).map(Part::name).collect() };
        let of = |role| parts(&Principal::peer(1, role));
        assert_eq!(of(Role::Analyst), ["Overview", "Search", "Indicators", "Sinks", "Reports", "Audit"]);
        assert_eq!(of(Role::Developer), ["Overview", "Sinks"]);
        assert_eq!(of(Role::Sensor), ["Overview"]);
        let scoped = Principal { sensors: Some(["hive".to_owned()].into()), ..Principal::peer(1, Role::Analyst) };
        assert_eq!(parts(&scoped), ["Overview", "Search", "Reports"]);
        let page = drawn(&Principal::peer(1, Role::Developer));
        assert!(!page.contains("/search") && page.contains(r#"href="/sinks""#));
    }

    #[test]
    fn the_frame_says_where_one_is_and_lets_one_out() {
        let page = drawn(&Principal::peer(1, Role::Admin));
        assert!(page.contains(r#"<a href="/search" aria-current="page">Search</a>"#), "{page}");
        assert!(page.contains(r#"action="/logout""#) && page.contains(r#"name="csrf" value="c""#));
        assert!(page.contains(r#"<script src="/live.js" nonce="n" defer>"#) && !page.contains("style="));
    }
}
