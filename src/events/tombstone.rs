//! What stands in the journal where an event was erased.
//!
//! `{"erased":"9f86…","timestamp":"2026-03-22T00:10:42.831494Z","sensor":"node01"}`: the hash of the line that stood here, which the
//! running digest goes over in its place, and what it takes to count the event on its day and at its sensor. Only a run's flag makes a
//! line a tombstone: a honeypot may write one that looks the same.
use super::decoder::{Decoder, Event, Identity, Place, Role};
use super::json::{self, Flaw, Value};
use super::{EventId, Field, Micros, time};
use serde::Serialize;

/// An erased event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Hash of the line that was erased.
    pub erased: EventId,
    /// The event's own time, believable or not.
    pub time: Option<Micros>,
    pub sensor: Option<Vec<u8>>,
}

/// Its line. Members that the event had not are left out.
#[derive(Serialize)]
struct Line<'a> {
    erased: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensor: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Timestamp {
    Text(String),
    /// Microseconds since 1970: of years that the text cannot say.
    Micros(Micros),
}

impl Tombstone {
    /// The line, without a newline.
    pub fn line(&self) -> Vec<u8> {
        let timestamp = |time: Micros| {
            let text = time::format(time);
            if time::parse(text.as_bytes()) == Some(time) { Timestamp::Text(text) } else { Timestamp::Micros(time) }
        };
        let line = Line {
            erased: self.erased.to_string(),
            timestamp: self.time.map(timestamp),
            sensor: self.sensor.as_deref().map(String::from_utf8_lossy),
        };
        serde_json::to_vec(&line).expect("a struct of strings and numbers is always JSON")
    }
}

/// The hash that a tombstone's line gives; `None` for a line that is none.
pub fn erased(line: &[u8]) -> Option<EventId> {
    let mut erased = None;
    json::members(line, |name, value| {
        if let Value::String(literal) = value
            && name.is(b"erased")
        {
            erased = EventId::parse(literal.raw);
        }
    })
    .ok()?;
    erased
}

/// The decoder of [`Format::TOMBSTONE`](super::Format::TOMBSTONE). Tombstones are events of their time and their sensor and say nothing
/// else; their ids stand beside their lines.
pub(super) struct Decode;

impl Decoder for Decode {
    fn identity(&self) -> Identity {
        Identity::Line
    }

    fn decode(&self, line: &[u8], event: &mut Event) -> Result<(), Flaw> {
        json::members(line, |name, value| match value {
            Value::String(literal) if name.is(b"timestamp") => event.time = time::parse(literal.raw),
            Value::Number(digits, _) if name.is(b"timestamp") => {
                event.time = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            }
            Value::String(_) if name.is(b"sensor") => {
                if let Some(sensor) = event.text(value) {
                    event.sensor = Some(sensor);
                    event.add(Field::Sensor, sensor);
                }
            }
            _ => {}
        })
    }

    /// What it says is what may stay.
    fn places(&self, _line: &[u8], _show: &mut dyn FnMut(Role, Place)) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Format;
    use crate::events::batch::{Batcher, StoredRun};
    use crate::index::HOUR_UNKNOWN;

    const RECEIVED_AT: Micros = 1_774_138_242_000_000;

    #[test]
    fn a_tombstone_says_what_it_was_made_of() {
        let erased = EventId([0x9f; 16]);
        let days: [(Option<Micros>, Micros); 5] = [
            (None, RECEIVED_AT),
            (Some(1_774_100_000_000_001), 1_774_100_000_000_001),
            (Some(7), RECEIVED_AT),
            (Some(i64::from(i32::MIN)), RECEIVED_AT),
            (Some(-62_167_219_200_000_001), RECEIVED_AT),
        ];
        for (time, indexed) in days {
            for sensor in [None, Some(&b""[..]), Some(b"node01"), Some("a\"\\\u{1}\u{2028}é".as_bytes())] {
                let tombstone = Tombstone { erased, time, sensor: sensor.map(<[u8]>::to_vec) };
                let line = tombstone.line();
                assert!(!line.contains(&b'\n'));
                assert_eq!(super::erased(&line), Some(erased));
                let text = [&line[..], b"\n"].concat();
                let ids = [EventId([3; 16])];
                let run = StoredRun { events: 1, format: Some(Format::TOMBSTONE), received_at: RECEIVED_AT, ids: &ids };
                let (terms, times, found) = Batcher::new().index(&text, &[run]);
                assert_eq!((times, found), (vec![indexed], ids.to_vec()));
                assert_eq!(terms.identity_hours, [time.map_or(HOUR_UNKNOWN, time::hour_of)]);
                assert_eq!(*terms.sensors[0], *sensor.unwrap_or_default());
                assert!(terms.sessions.is_empty());
            }
        }
    }

    #[test]
    fn what_is_no_tombstone_gives_no_hash() {
        for line in ["", "{}", "null", r#"{"erased":"9f"}"#, r#"{"erased":7}"#, r#"{"erased":"zz9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f"}"#] {
            assert_eq!(erased(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Format::parse("tombstone"), None, "no line is one because somebody says so");
    }
}
