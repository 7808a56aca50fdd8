//! Messages of chat-scam honeypots: one request of the sender's is one line.
//!
//! `{"sessionId", "message": {"sender", "text", "timestamp"}, "conversationHistory": […], "metadata": {"channel", …}}`; the
//! timestamp is ISO 8601 or milliseconds since 1970, as a number or a string of digits. The history repeats earlier messages,
//! so it is not part of a message's identity: the same message sent again with a longer history is the same event.
use super::decoder::{Decoder, Event, Identity, Place, Role};
use super::json::{self, Flaw, Value as Json};
use super::{Field, Micros, time};
use crate::extract::{Context, TEXT_BYTES_MAX};
use crate::telemetry::printable::prefix;

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

    fn places(&self, line: &[u8], show: &mut dyn FnMut(Role, Place)) {
        // It was accepted, so it is an object.
        let _ = json::members(line, |name, value| match value {
            Json::Object(from, to) if name.is(b"message") => json::members_of(line, (from, to), |name, value| {
                if name.is(b"sender") {
                    show(Role::Field(Field::Sender), Place::of(line, name, value));
                } else if name.is(b"text") {
                    show(Role::Text { context: Context::Chat, base64: false }, Place::of(line, name, value));
                }
            }),
            Json::Object(from, to) if name.is(b"metadata") => json::members_of(line, (from, to), |name, value| {
                if name.is(b"channel") {
                    show(Role::Field(Field::Channel), Place::of(line, name, value));
                }
            }),
            _ if name.is(b"sessionId") || name.is(b"session_id") => show(Role::Field(Field::Session), Place::of(line, name, value)),
            _ => {}
        });
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
    /// How many earlier messages, of both sides, the sender sent along.
    pub repeated: u64,
}

impl Message {
    /// The message in a line of the journal; `None` when it is no chat message. Reads exactly what the decoder does: nobody hides a
    /// message from being assessed by an odd type or a repeated key that the journal takes all the same.
    pub fn parse(line: &[u8]) -> Option<Message> {
        let mut message = Message::default();
        let (mut session, mut text) = (None, None);
        let visited = json::members(line, |name, value| match value {
            Json::Object(from, to) if name.is(b"message") => json::members_of(line, (from, to), |name, value| match name {
                _ if name.is(b"sender") => message.sender = owned(value).unwrap_or_default(),
                _ if name.is(b"text") => text = matches!(value, Json::String(_)).then(|| owned(value)).flatten(),
                _ if name.is(b"timestamp") => message.time = event_time(value),
                _ => {}
            }),
            Json::Object(from, to) if name.is(b"metadata") => json::members_of(line, (from, to), |name, value| match name {
                _ if name.is(b"channel") => message.channel = owned(value),
                _ if name.is(b"language") => message.language = owned(value),
                _ if name.is(b"locale") => message.locale = owned(value),
                _ => {}
            }),
            Json::Array(from, to) if name.is(b"conversationHistory") => {
                message.repeated = 0;
                json::elements_of(line, (from, to), |_| {
                    message.repeated += 1;
                    true
                });
            }
            Json::String(_) | Json::Number(..) if name.is(b"sessionId") || name.is(b"session_id") => session = owned(value),
            _ => {}
        });
        visited.ok()?;
        (message.session, message.text) = (session.filter(|session| !session.is_empty())?, text?);
        Some(message)
    }
}

/// A string or a number as text of bounded length.
fn owned(value: Json<'_>) -> Option<String> {
    let bytes = match value {
        Json::String(literal) => {
            let mut bytes = Vec::new();
            // No character is spelt with more than six times its bytes.
            json::unescape(&literal.raw[..literal.raw.len().min(6 * TEXT_BYTES_MAX)], &mut bytes);
            bytes
        }
        Json::Number(digits, _) => digits[..digits.len().min(TEXT_BYTES_MAX)].to_vec(),
        _ => return None,
    };
    let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Some(prefix(&text, TEXT_BYTES_MAX).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::batch::{Batcher, Explained};
    use crate::events::{EventId, Format};

    fn explained(line: &str) -> Result<Explained, String> {
        let [explanation] = &Batcher::new().explain(Format::CHAT, line.as_bytes(), 7)[..] else { panic!("one event") };
        explanation.event.clone().map_err(|refusal| format!("{}: {}", refusal.reason.name(), refusal.detail))
    }

    fn id(line: &str) -> EventId {
        explained(line).unwrap().id.unwrap()
    }

    #[test]
    fn a_message_has_its_session_channel_and_sender_as_terms() {
        let line = r#"{"sessionId":"s-1","message":{"sender":"scammer","text":"pay x@ybl","timestamp":"2026-01-21T10:00:00Z"},"conversationHistory":[{"sender":"user","text":"?"}],"metadata":{"channel":"SMS","language":"English","locale":"IN"}}"#;
        let explained = explained(line).unwrap();
        let terms: Vec<_> = explained.terms.iter().map(|(field, value)| (*field, str::from_utf8(value).unwrap())).collect();
        assert_eq!(terms, [(Field::Session, "s-1"), (Field::Channel, "SMS"), (Field::Sender, "scammer")]);
        assert_eq!(explained.time, time::parse(b"2026-01-21T10:00:00Z"));
        let mut event = Event::default();
        event.reset(true);
        Chat.decode(line.as_bytes(), &mut event).unwrap();
        let [(Context::Chat, text)] = event.texts[..] else { panic!("one text") };
        assert_eq!(text.of(line.as_bytes(), &event.arena), b"pay x@ybl");
        assert_eq!(Message::parse(line.as_bytes()).unwrap().time, explained.time);
    }

    #[test]
    fn a_message_sent_again_with_more_history_is_the_same_message() {
        let first = r#"{"sessionId":"s","message":{"sender":"scammer","text":"hi","timestamp":1769000000000},"conversationHistory":[]}"#;
        let again = r#"{"conversationHistory":[{"text":"hi"}],"message":{"timestamp":1769000000000,"text":"h\u0069","sender":"scammer"},"sessionId":"s","metadata":{"channel":"SMS"}}"#;
        assert_eq!(id(first), id(again));
        for other in [
            first.replace("\"s\"", "\"t\""),
            first.replace("hi", "ho"),
            first.replace("scammer", "user"),
            first.replace("1769000000000", "1769000000001"),
            first.replace(",\"timestamp\":1769000000000", ""),
        ] {
            assert_ne!(id(first), id(&other), "{other}");
        }
    }

    #[test]
    fn times_are_iso_or_milliseconds_as_a_number_or_digits() {
        let at = time::parse(b"2026-01-21T10:00:00.000Z");
        for timestamp in ["\"2026-01-21T10:00:00Z\"", "1768989600000", "\"1768989600000\"", "\"2026-01-21T15:30:00+05:30\""] {
            let line = format!(r#"{{"sessionId":"s","message":{{"text":"t","timestamp":{timestamp}}}}}"#);
            assert_eq!(explained(&line).unwrap().time, at, "{timestamp}");
            assert_eq!(Message::parse(line.as_bytes()).unwrap().time, at, "{timestamp}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_what_it_lacks() {
        let no_session = "malformed: a chat message needs a sessionId; this one has none, or an empty one";
        let no_text = "malformed: a chat message needs message.text; this one has none";
        for (line, expected) in [
            ("{}", no_session),
            (r#"{"sessionId":"","message":{"text":"t"}}"#, no_session),
            (r#"{"sessionId":null,"message":{"text":"t"}}"#, no_session),
            (r#"{"sessionId":{"a":1},"message":{"text":"t"}}"#, no_session),
            (r#"{"sessionId":"s"}"#, no_text),
            (r#"{"sessionId":"s","message":"t"}"#, no_text),
            (r#"{"sessionId":"s","message":{"text":5}}"#, no_text),
            ("\"\"", "not_an_object: expected an object at column 1"),
        ] {
            assert_eq!(explained(line).unwrap_err(), expected, "{line}");
        }
    }

    /// The journal takes all of these, so a message hidden in one of them would never be assessed.
    #[test]
    fn what_the_decoder_takes_is_parsed_as_a_message() {
        for line in [
            &br#"{"sessionId":42,"message":{"text":"hi","sender":"scammer"}}"#[..],
            br#"{"sessionId":"42","message":{"text":"hi","sender":7}}"#,
            br#"{"sessionId":"42","message":{"text":"hi"},"metadata":"none"}"#,
            br#"{"sessionId":"42","message":{"text":"hi"},"metadata":{"channel":5,"locale":null,"language":[]}}"#,
            br#"{"sessionId":"1","session_id":"42","message":{"text":"no","text":"hi"}}"#,
            br#"{"sessionId":"42","message":{"text":"\ud800hi"}}"#,
            b"{\"sessionId\":\"42\",\"message\":{\"text\":\"hi\xff\"}}",
            br#"{"sessionId":"42","message":{"text":"hi","timestamp":{"a":[1e999]}},"conversationHistory":{"x":1}}"#,
            br#"{"sessionId":"42","message":{"text":"hi"},"conversationHistory":[1,"x",{"sender":[]}]}"#,
        ] {
            let shown = String::from_utf8_lossy(line);
            let [explanation] = &Batcher::new().explain(Format::CHAT, line, 7)[..] else { panic!("one event") };
            assert!(explanation.event.is_ok(), "{shown}");
            let message = Message::parse(line).unwrap_or_else(|| panic!("{shown}"));
            assert_eq!((message.session.as_str(), message.text.contains("hi")), ("42", true), "{shown}");
        }
        for line in
            ["", "{}", "[1]", r#"{"sessionId":"s","message":{}}"#, r#"{"sessionId":"","message":{"text":"t"}}"#, "{\"sessionId\":\"s\""]
        {
            assert_eq!(Message::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_message_says_how_many_it_repeats_and_is_bounded() {
        let line = r#"{"sessionId":"s","message":{"text":"t"},"conversationHistory":[{"text":"a, ]"},{"text":"b"}]}"#;
        assert_eq!(Message::parse(line.as_bytes()).unwrap().repeated, 2);
        let long = format!(r#"{{"sessionId":"s","message":{{"text":"{}"}}}}"#, "\\u00e9".repeat(TEXT_BYTES_MAX));
        let text = Message::parse(long.as_bytes()).unwrap().text;
        assert_eq!((text.len(), text.chars().all(|c| c == 'é')), (TEXT_BYTES_MAX, true));
    }
}
