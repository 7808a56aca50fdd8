//! One session, read like a transcript; a chat, read like a conversation.
use super::overview::indicator_link;
use super::shown::{counted, defanged, encoded, long_value, moment, plain, seconds, value};
use crate::cli::conversation::Conversation;
use crate::cli::terminal::Colour;
use crate::cli::transcript::{Action, Entry, Transcript, offset};
use crate::events::Field;
use crate::extract::scam;
use crate::index::query::quote;
use maud::{Markup, html};
use std::time::Duration;

/// What is told of a session's id: sensors may share one, and a honeypot of chats may have used it, too.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub id: String,
    pub shells: Vec<Transcript>,
    pub chat: Option<Conversation>,
    /// There are more events than are told.
    pub more: bool,
    /// Addresses have a page for whoever looks.
    pub links_indicators: bool,
}

pub fn session(told: &Told) -> Markup {
    let query = format!("session:{}", quote(&told.id));
    html! {
        p .kind { "Session" }
        h1 { bdi { code { (plain(&told.id)) } } }
        p { a href=(format!("/search?query={}&order=oldest", encoded(&query))) { "Its events, as they were logged" } }
        @for shell in &told.shells { (transcript(shell, told.links_indicators)) }
        @if let Some(chat) = &told.chat { (conversation(chat)) }
        @if told.more { p .quiet { "There are more events than are told here." } }
    }
}

fn transcript(shell: &Transcript, links: bool) -> Markup {
    let first = shell.entries.iter().find_map(|entry| entry.micros);
    let lasted = shell.duration_seconds.and_then(|lasted| Duration::try_from_secs_f64(lasted).ok()).map(seconds);
    html! {
        section {
            dl .facts {
                @if let Some(sensor) = shell.sensor.as_ref().filter(|sensor| !sensor.is_empty()) { div { dt { "sensor" } dd { (plain(sensor)) } } }
                @if let Some(address) = shell.src_ip.as_ref().filter(|address| !address.is_empty()) {
                    div {
                        dt { "from" }
                        dd {
                            @if links { (indicator_link(Field::SrcIp, address)) } @else { (super::shown::value_of(Field::SrcIp, address)) }
                            @if let Some(port) = shell.src_port { " port " (port) }
                        }
                    }
                }
                @if let Some(protocol) = &shell.protocol { div { dt { "protocol" } dd { (plain(protocol)) @if let Some(port) = shell.dst_port { " port " (port) } } } }
                @if let Some(version) = &shell.version { div { dt { "client" } dd { (value(version)) } } }
                @if let Some(hassh) = &shell.hassh { div { dt { "HASSH" } dd { (value(hassh)) } } }
                @if let Some(started) = &shell.started { div { dt { "began" } dd { (moment(started)) } } }
                @if let Some(lasted) = &lasted { div { dt { "lasted" } dd { (lasted) @if !shell.closed { " (its end was not logged)" } } } }
                div { dt { "tried" } dd { (counted(shell.logins_tried, "login", "logins")) } }
                div { dt { "typed" } dd { (counted(shell.commands_typed, "command", "commands")) } }
            }
        }
        section {
            h2 { "Transcript" }
            ol .transcript {
                @for entry in &shell.entries { (step(entry, first)) }
            }
        }
    }
}

fn step(entry: &Entry, first: Option<i64>) -> Markup {
    let (label, colour, mut text) = entry.action.describe(&entry.eventid);
    if let Action::Download { url: Some(url), .. } = &entry.action {
        text = text.replacen(url.as_str(), &defanged(Field::Url, url), 1);
    }
    let at = entry.micros.zip(first).map(|(at, first)| offset(at - first));
    let class = match colour {
        Colour::Quiet => "faint",
        Colour::Strong => "typed",
        Colour::Good => "good",
        Colour::Warning => "look",
        Colour::Bad => "bad",
    };
    html! {
        li class=(class) {
            span .at { @if let Some(at) = &at { time datetime=[entry.time.as_deref()] { (at) } } @else { "?" } }
            span .label { (plain(&label)) }
            span .text { @if !text.is_empty() { (long_value(&text)) } }
        }
    }
}

fn conversation(chat: &Conversation) -> Markup {
    html! {
        section {
            p class={ "words " (if chat.scam { "bad" } else { "good" }) } {
                strong { @if chat.scam { "A scam" } @else { "No scam as far as is known" } }
                ": score " (chat.score) " of 100 by " (plain(&chat.scored_by))
                @if let Some(kind) = &chat.scam_type { ", " (plain(kind)) }
                ", " (chat.state)
            }
            @if !chat.reasons.is_empty() {
                ul .quiet { @for reason in &chat.reasons { li { (format!("{:+} ", reason.weight)) (plain(&reason.rule)) @if !reason.evidence.is_empty() { ": " (value(&reason.evidence)) } } } }
            }
            @if !chat.indicators.is_empty() {
                h2 { "Found in it" }
                ul { @for found in &chat.indicators { li { (found.field) " " (value(&found.value)) } } }
            }
        }
        section {
            h2 { "Conversation" }
            ol .chat {
                @for said in &chat.messages {
                    li class=(if scam::is_own(&said.sender) { "own" } else { "other" }) {
                        p .quiet { (plain(&said.sender)) @if let Some(time) = &said.time { ", " (moment(time)) } }
                        p { (long_value(&said.text)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::transcript::transcripts;
    use crate::simulate::hostile;

    #[test]
    fn a_session_reads_like_a_transcript() {
        let lines = [
            r#"{"eventid":"cowrie.session.connect","src_ip":"192.0.2.7","src_port":4711,"session":"c0","sensor":"hive","timestamp":"2026-03-22T00:00:00Z"}"#,
            r#"{"eventid":"cowrie.login.success","username":"root","password":"<b>","session":"c0","sensor":"hive","timestamp":"2026-03-22T00:00:01Z"}"#,
            r#"{"eventid":"cowrie.command.input","input":"uname -a","session":"c0","sensor":"hive","timestamp":"2026-03-22T00:00:03.5Z"}"#,
        ];
        let told = Told { id: "c0".into(), shells: transcripts(&lines), links_indicators: true, ..Told::default() };
        let page = session(&told).into_string();
        for part in
            ["192[.]0[.]2[.]7", "port 4711", "root / &lt;b&gt;", "uname -a", "+0:03.500", "LOGGED IN", "1 command", r#"<li class="typed">"#]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains(r#"href="/indicators/192.0.2.7""#));
    }

    #[test]
    fn hostile_sessions_stay_text() {
        let told = Told { id: "\"><script>".into(), shells: transcripts(&hostile::lines()), ..Told::default() };
        let page = session(&told).into_string();
        assert!(!page.contains("<script") && !page.contains("<img") && !page.chars().any(crate::telemetry::printable::is_hostile));
    }
}
