//! What a chat was about: its messages in order, and before them whether it is a scam, of what kind, why, and what was found in it.
//!
//! Pure, as [`super::transcript`] is: lines in, [`Conversation`] out. It is assessed anew from its messages by the rules, so that it can
//! be asked about while it goes on, and whether or not a sink reports it.
use super::terminal::{self, Colour, Output};
use super::transcript::{offset, shown};
use crate::events::chat::Message;
use crate::events::{Micros, time};
use crate::extract::scam::{self, Assessment};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// One chat session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conversation {
    pub session: String,
    pub channel: Option<String>,
    pub language: Option<String>,
    pub locale: Option<String>,
    /// Time of the first and of the last message, RFC 3339.
    pub started: Option<String>,
    pub ended: Option<String>,
    pub duration_seconds: Option<f64>,
    pub scam: bool,
    /// 0 to 100; a scam from [`scam::CONFIRMED_SCORE`] on.
    pub score: u8,
    /// `bank_fraud`, `phishing`, …; none when it is about nothing known.
    pub scam_type: Option<String>,
    /// `open`, `confirmed`, `ended` or `quiet`.
    pub state: &'static str,
    pub scored_by: String,
    pub reasons: Vec<Reason>,
    pub keywords: Vec<&'static str>,
    /// In the counterpart's messages.
    pub indicators: Vec<Indicator>,
    pub messages: Vec<Said>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    pub rule: String,
    /// Points it added; those of honest talk are negative.
    pub weight: i16,
    /// The words it was found by.
    pub evidence: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Indicator {
    pub field: &'static str,
    pub value: String,
    /// As it was written, where that differs.
    pub verbatim: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// RFC 3339; none when the message says no time.
    pub time: Option<String>,
    #[serde(skip)]
    pub micros: Option<Micros>,
    pub sender: String,
    pub text: String,
}

impl Conversation {
    /// Of the messages of one session, in their order; `None` when there are none. `quiet_after`: it counts as quiet when its last
    /// message is so long ago at `now`.
    pub fn of(messages: &[Message], now: Micros, quiet_after: Duration) -> Option<Conversation> {
        let first = messages.first()?;
        let assessment = scam::assess(messages);
        let quiet_micros = Micros::try_from(quiet_after.as_micros()).unwrap_or(Micros::MAX);
        let quiet = assessment.last.is_some_and(|last| now.saturating_sub(last) >= quiet_micros);
        let state = assessment.state(quiet).name();
        let scam = assessment.confirmed();
        let said = |name: fn(&Message) -> &Option<String>| messages.iter().find_map(|message| name(message).clone());
        let Assessment { score, reasons, kind, keywords, indicators, began, last, scored_by, .. } = assessment;
        Some(Conversation {
            session: first.session.clone(),
            channel: said(|message| &message.channel),
            language: said(|message| &message.language),
            locale: said(|message| &message.locale),
            started: began.map(time::format),
            ended: last.map(time::format),
            duration_seconds: began.zip(last).map(|(began, last)| (last - began) as f64 / 1e6),
            scam,
            score,
            scam_type: kind,
            state,
            scored_by,
            reasons: reasons
                .into_iter()
                .map(|reason| Reason { rule: reason.rule.into_owned(), weight: reason.weight, evidence: reason.evidence })
                .collect(),
            keywords,
            indicators: indicators
                .into_iter()
                .map(|found| Indicator { field: found.field.name(), value: found.value, verbatim: found.verbatim })
                .collect(),
            messages: messages
                .iter()
                .map(|message| Said {
                    time: message.time.map(time::format),
                    micros: message.time,
                    sender: message.sender.clone(),
                    text: message.text.clone(),
                })
                .collect(),
        })
    }

    /// The page a person reads.
    pub fn render(&self, output: &Output) -> String {
        let mut page = String::new();
        let mut head = |name: &str, colour: Option<Colour>, value: &str| {
            if !value.is_empty() {
                let value = shown(value, output, 10);
                let value = colour.map_or(value.clone(), |colour| output.paint(colour, &value));
                let _ = writeln!(page, "{} {value}", output.paint(Colour::Quiet, &format!("{name:<9}")));
            }
        };
        let words = |words: &[&Option<String>]| words.iter().filter_map(|word| word.as_deref()).collect::<Vec<_>>().join(", ");
        head("session", None, &self.session);
        head("channel", None, &words(&[&self.channel, &self.language, &self.locale]));
        head("start", None, self.started.as_deref().unwrap_or_default());
        let lasted = self.duration_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        head("lasted", None, &lasted.map(terminal::duration).unwrap_or_default());
        head("state", None, self.state);
        let kind = self.scam_type.as_deref().unwrap_or("unknown kind");
        let verdict = if self.scam { "a scam" } else { "no scam as far as is known" };
        let colour = self.scam.then_some(Colour::Bad);
        head("verdict", colour, &format!("{verdict}: score {} of 100 by {}, {kind}", self.score, self.scored_by));
        for (index, reason) in self.reasons.iter().enumerate() {
            let because = format!("{:+} {}", reason.weight, reason.rule);
            let because = if reason.evidence.is_empty() { because } else { format!("{because} ({})", reason.evidence) };
            head(if index == 0 { "because" } else { "" }, None, &because);
        }
        head("keywords", None, &self.keywords.join(", "));
        for (index, found) in self.indicators.iter().enumerate() {
            let written = found.verbatim.as_ref().map(|verbatim| format!(" (written {verbatim})")).unwrap_or_default();
            head(if index == 0 { "found" } else { "" }, None, &format!("{} {}{written}", found.field, found.value));
        }
        page.push('\n');
        let first = self.messages.iter().find_map(|said| said.micros);
        for said in &self.messages {
            let at = said.micros.zip(first).map_or_else(|| "?".to_owned(), |(at, first)| offset(at - first));
            let time = output.paint(Colour::Quiet, &format!("{at:>11}"));
            let sender = terminal::truncate(&terminal::escape(&said.sender), 10).into_owned();
            let colour = if scam::is_own(&said.sender) { Colour::Quiet } else { Colour::Warning };
            let _ = writeln!(page, "{time} {}{}", output.paint(colour, &format!("{sender:<10} ")), shown(&said.text, output, 23));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sender: &str, text: &str, seconds: Micros) -> Message {
        let (session, sender, text) = ("s-1".to_owned(), sender.to_owned(), text.to_owned());
        Message { session, sender, text, time: Some(seconds * 1_000_000), channel: Some("SMS".into()), ..Message::default() }
    }

    #[test]
    fn a_scam_is_told_with_its_score_reasons_and_what_was_found() {
        let messages = [
            message("scammer", "Your SBI account will be blocked today. Verify immediately: share your OTP.", 100),
            message("user", "Why?", 130),
            message("scammer", "Pay the fee to scammer@ybl or call +91 98765 43210 now.\u{1b}[31m", 160),
        ];
        let told = Conversation::of(&messages, 200_000_000, Duration::from_secs(300)).unwrap();
        assert!(told.scam && told.score >= scam::CONFIRMED_SCORE, "{told:?}");
        assert_eq!((told.state, told.duration_seconds, told.channel.as_deref()), ("confirmed", Some(60.0), Some("SMS")));
        assert!(told.indicators.iter().any(|found| (found.field, &*found.value) == ("upi", "scammer@ybl")));
        assert!(!told.reasons.is_empty());
        let page = told.render(&Output::plain());
        for text in ["session   s-1", "verdict   a scam: score", "state     confirmed", "because   +", "upi scammer@ybl", "+91 98765 43210"]
        {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains('\u{1b}'), "escaped");
        let later = Conversation::of(&messages, 460_000_000, Duration::from_secs(300)).unwrap();
        assert_eq!(later.state, "quiet");
        assert_eq!(Conversation::of(&[], 0, Duration::ZERO), None);
    }
}
