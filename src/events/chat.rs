//! Messages of chat-scam honeypots: one request of the sender's is one line.
//!
//! `{"sessionId", "message": {"sender", "text", "timestamp"}, "conversationHistory": […], "metadata": {"channel", …}}`; the
//! timestamp is ISO 8601 or milliseconds since 1970, as a number or a string of digits. The history repeats earlier messages,
//! so it is not part of a message's identity: the same message sent again with a longer history is the same event.
use super::{Micros, time};
use serde::Deserialize;
use serde_json::Value;

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
        Value::String(text) => time::parse(text.as_bytes()).or_else(|| text.parse::<i64>().ok()?.checked_mul(1000)),
        Value::Number(number) => number.as_i64()?.checked_mul(1000),
        _ => None,
    }
}
