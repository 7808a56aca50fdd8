//! The words of the live stream: what a client may say, and what it is told. `ops/LIVE.md` explains them.
//!
//! One message is one JSON object. A client must pass over messages whose `type` it does not know, and fields likewise; what changes the
//! meaning of those there are changes [`PROTOCOL`].
use super::queue::Dropped;
use crate::events::{Micros, time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Version of what is said; `hello` tells it.
pub const PROTOCOL: u32 = 1;
/// Longest message of a client, bytes.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Longest name of a subscription, bytes.
pub const ID_BYTES_MAX: usize = 64;

/// What a client may say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// Events that match, from now on; or from a sequence number; or from the first event at or behind a time.
    Subscribe {
        id: String,
        #[serde(default)]
        query: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// A date, a time or an age, as behind `since:` in a query.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
    },
    Unsubscribe {
        id: String,
    },
    /// Another query, from where the subscription is.
    Change {
        id: String,
        query: String,
    },
    /// The event with this number has been dealt with, and all that were sent before it.
    Ack {
        seq: u64,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First of all.
    Hello {
        protocol: u32,
        version: String,
        /// Which journal the sequence numbers are of.
        journal: String,
        /// Numbers of the first event that can be replayed, and of the next one to come.
        first: u64,
        next: u64,
        subscriptions_max: usize,
        queue_events: usize,
        queue_bytes: usize,
        /// Events that are sent ahead of what was acknowledged, once a client acknowledges.
        window: usize,
    },
    /// The subscription begins with the event `from`.
    Subscribed {
        id: String,
        from: u64,
    },
    /// Events from `from` on are judged by the new query.
    Changed {
        id: String,
        from: u64,
    },
    Unsubscribed {
        id: String,
    },
    /// See [`event_body`].
    Event {
        subscriptions: Vec<String>,
        seq: u64,
        /// By which it is indexed.
        time: String,
        /// The original line, U+FFFD for bytes that are no UTF-8; none when it is too long to be sent.
        line: Option<String>,
        /// The line in Base64, where it is not UTF-8.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line_base64: Option<String>,
        /// Its length, where it is not sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line_bytes: Option<usize>,
    },
    /// So many events that match were left out here, because the client was too slow.
    Dropped {
        count: u64,
        from: u64,
        to: u64,
        subscriptions: Vec<String>,
    },
    /// Events that cannot be read any more; whether they match is not known.
    Gap {
        from: u64,
        to: u64,
        why: String,
    },
    /// How far the client is behind: events sent and not acknowledged, events that wait, and the next one to come.
    Acked {
        seq: u64,
        unacknowledged: usize,
        waiting: usize,
        next: u64,
    },
    /// All events before `next` were judged, and what matched was sent.
    Position {
        next: u64,
    },
    Error(Refusal),
}

/// Why something a client asked for was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    pub code: Cow<'static, str>,
    pub detail: String,
    /// Of a query: where it stopped making sense, in characters from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The subscription that was meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Refusal {
    pub fn new(code: &'static str, detail: impl Into<String>, id: Option<&str>) -> Refusal {
        Refusal { code: code.into(), detail: detail.into(), column: None, id: id.map(str::to_owned) }
    }
}

impl ServerMessage {
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are JSON")
    }
}

/// A count of dropped events as it is told.
pub fn dropped(dropped: Dropped, subscriptions: Vec<String>) -> ServerMessage {
    let Dropped { count, from, to, .. } = dropped;
    ServerMessage::Dropped { count, from, to, subscriptions }
}

#[derive(Serialize)]
struct EventBody<'a> {
    seq: u64,
    time: String,
    line: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_bytes: Option<usize>,
}

/// What all clients are told of an event alike, without its opening brace: made once, and [`event`] puts in front what is a client's own.
pub fn event_body(seq: u64, time: Micros, line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let line_base64 = matches!(text, Cow::Owned(_)).then(|| BASE64.encode(line));
    body(&EventBody { seq, time: time::format(time), line: Some(text), line_base64, line_bytes: None })
}

/// The same of an event whose line is too long to be sent.
pub fn long_event_body(seq: u64, time: Micros, line_bytes: usize) -> Vec<u8> {
    body(&EventBody { seq, time: time::format(time), line: None, line_base64: None, line_bytes: Some(line_bytes) })
}

fn body(event: &EventBody<'_>) -> Vec<u8> {
    let mut json = serde_json::to_vec(event).expect("strings and numbers are JSON");
    json.remove(0);
    json
}

/// The whole message.
pub fn event<'s>(subscriptions: impl Iterator<Item = &'s str>, body: &[u8]) -> String {
    let names: Vec<&str> = subscriptions.collect();
    let mut text = String::with_capacity(body.len() + 48 + names.iter().map(|name| name.len() + 3).sum::<usize>());
    text.push_str("{\"type\":\"event\",\"subscriptions\":");
    text.push_str(&serde_json::to_string(&names).expect("strings are JSON"));
    text.push(',');
    text.push_str(std::str::from_utf8(body).expect("JSON is UTF-8"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> ServerMessage {
        serde_json::from_str(&event(["a", "\"b\\"].into_iter(), body)).expect("a message")
    }

    #[test]
    fn an_event_is_one_message_whatever_its_line_holds() {
        for line in [&b"{\"input\":\"\x1b[2J\\\\\"}"[..], b"", b"\"}]", "\u{2028}</script>".as_bytes()] {
            let ServerMessage::Event { subscriptions, seq, time, line: told, line_base64, line_bytes } = read(&event_body(7, 0, line))
            else {
                panic!("an event")
            };
            assert_eq!((seq, time.as_str(), subscriptions), (7, "1970-01-01T00:00:00.000000Z", vec!["a".to_owned(), "\"b\\".to_owned()]));
            assert_eq!((told.as_deref().map(str::as_bytes), line_base64, line_bytes), (Some(line), None, None));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_told_exactly_as_well() {
        let ServerMessage::Event { line, line_base64, .. } = read(&event_body(1, 0, b"a\xff")) else { panic!("an event") };
        assert_eq!((line.as_deref(), line_base64.as_deref()), (Some("a\u{fffd}"), Some("Yf8=")));
        let ServerMessage::Event { line, line_bytes, .. } = read(&long_event_body(1, 0, 1 << 20)) else { panic!("an event") };
        assert_eq!((line, line_bytes), (None, Some(1 << 20)));
    }

    #[test]
    fn clients_are_understood_or_refused() {
        let subscribe = ClientMessage::Subscribe { id: "a".into(), query: String::new(), from: Some(3), since: None };
        assert_eq!(serde_json::from_str::<ClientMessage>(r#"{"type":"subscribe","id":"a","from":3}"#).expect("valid"), subscribe);
        for wrong in [
            "",
            "[]",
            "null",
            r#"{"id":"a"}"#,
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","id":1}"#,
            r#"{"type":"subscribe","id":"a","from":-1}"#,
            r#"{"type":"subscribe","id":"a","form":1}"#,
            r#"{"type":"change","id":"a"}"#,
            r#"{"type":"ack","seq":"1"}"#,
            r#"{"type":"shutdown"}"#,
        ] {
            assert!(serde_json::from_str::<ClientMessage>(wrong).is_err(), "{wrong}");
        }
    }
}
