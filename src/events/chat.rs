//! Messages of chat-scam honeypots: one request of the sender's is one line.
//!
//! `{"sessionId", "message": {"sender", "text", "timestamp"}, "conversationHistory": […], "metadata": {"channel", …}}`; the
//! timestamp is ISO 8601 or milliseconds since 1970, as a number or a string of digits. The history repeats earlier messages,
//! so it is not part of a message's identity: the same message sent again with a longer history is the same event.
use super::decoder::{Decoder, Event, Identity};
use super::json::{self, Flaw, Value as Json};
use super::{Field, Micros, time};
use crate::extract::Context;
use serde::Deserialize;
use serde_json::Value;

/// The decoder of [`Format::CHAT`](super::Format::CHAT).
pub struct Chat;

/// What tells messages apart, in the order in which it counts: session, sender, text, time.
type Key<'a> = [Option<Json<'a>>; 4];

impl Decoder for Chat {
    fn identity(&self) -> Identity {
        Identity::Fields
    }

    fn decode(&self, line: &[u8], event: &mut Event) -> Result<(), Flaw> {
        let mut key: Key<'_> = [None; 4];
        let mut channel = None;
        json::members(line, |name, value| {
            event.member(name, &value);
            match value {
                Json::Object(from, to) if name.is(b"message") => json::members_of(line, (from, to), |name, value| match name {
                    _ if name.is(b"sender") => key[1] = Some(value),
                    _ if name.is(b"text") => key[2] = Some(value),
                    _ if name.is(b"timestamp") => key[3] = Some(value),
                    _ => {}
                }),
                Json::Object(from, to) if name.is(b"metadata") => json::members_of(line, (from, to), |name, value| {
                    if name.is(b"channel") {
                        channel = Some(value);
                    }
                }),
                Json::String(_) | Json::Number(..) if name.is(b"sessionId") || name.is(b"session_id") => key[0] = Some(value),
                _ => {}
            }
        })?;
        let [session, sender, text, timestamp] = key;
        event.session = session.and_then(|session| event.text(session)).filter(|session| !session.is_empty());
        if event.session.is_none() {
            return Err(Flaw::malformed("a chat message needs a sessionId; this one has none, or an empty one"));
        }
        let Some(text @ Json::String(_)) = text else {
            return Err(Flaw::malformed("a chat message needs message.text; this one has none"));
        };
        event.identify("chat", line, key.len(), |at| key[at].into_iter());
        event.time = timestamp.and_then(|timestamp| event_time(timestamp));
        for (field, value) in [(Field::Channel, channel), (Field::Sender, sender)] {
            if let Some(value) = value.and_then(|value| event.text(value)).filter(|value| !value.is_empty()) {
                event.add(field, value);
            }
        }
        if let Some(text) = event.long_text(text) {
            event.note(Context::Chat, text);
        }
        event.finish();
        Ok(())
    }
}

/// The time in a value: as [`time::parse`] or, of digits, [`time::of_number`] reads it.
pub(super) fn event_time(value: Json<'_>) -> Option<Micros> {
    let read = |text: &[u8]| time::parse(text).or_else(|| time::of_number(text));
    match value {
        Json::String(literal) if !literal.escaped => read(literal.raw),
        Json::String(literal) if literal.raw.len() < 6 * 64 => {
            let mut text = Vec::new();
            json::unescape(literal.raw, &mut text);
            read(&text)
        }
        Json::Number(digits, _) => time::of_number(digits),
        _ => None,
    }
}

/// One message, with its strings owned: for assessing whole conversations, not for the hot path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub session: String,
    /// `scammer`, `user`, or what the sender called them.
    pub sender: String,
    pub text: String,
    pub time: Option<Micros>,
    pub channel: Option<String>,
    pub language: Option<String>,
    pub locale: Option<String>,
}

impl Message {
    /// The message in a line of the journal; `None` when it is no chat message.
    pub fn parse(line: &[u8]) -> Option<Message> {
        #[derive(Deserialize)]
        struct Request {
            #[serde(rename = "sessionId", alias = "session_id")]
            session: String,
            message: Inner,
            #[serde(default)]
            metadata: Option<Metadata>,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(default)]
            sender: Option<String>,
            #[serde(default)]
            text: Option<String>,
            #[serde(default)]
            timestamp: Option<Value>,
        }
        #[derive(Deserialize, Default)]
        struct Metadata {
            channel: Option<String>,
            language: Option<String>,
            locale: Option<String>,
        }
        let Request { session, message, metadata } = serde_json::from_slice(line).ok()?;
        let Metadata { channel, language, locale } = metadata.unwrap_or_default();
        Some(Message {
            session,
            sender: message.sender.unwrap_or_default(),
            text: message.text.unwrap_or_default(),
            time: message.timestamp.as_ref().and_then(time_of),
            channel,
            language,
            locale,
        })
    }
}

fn time_of(timestamp: &Value) -> Option<Micros> {
    match timestamp {
        Value::String(text) => time::parse(text.as_bytes()).or_else(|| time::of_number(text.as_bytes())),
        Value::Number(number) => time::of_number(number.to_string().as_bytes()),
        _ => None,
    }
}
