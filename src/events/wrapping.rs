//! Lines that wrap an event in something else: syslog, the log of a Docker container, CSV. Each becomes one JSON object on a line
//! of its own before it is decoded; so the journal holds nothing but such lines. What was refused is told with its original bytes.
//!
//! - syslog: `{"syslog":{"priority":…,"timestamp":…,"host":…,"program":…,"pid":…},"event":{…}}`, with the bytes of the JSON object
//!   that the message is; of another message `"message":"…"` stands in place of `event`.
//! - docker: `{"docker":{"stream":…,"time":…},"event":{…}}`, likewise.
//! - csv: `{"column":"value",…}`; empty values are left out.
use super::decoder::{Decoder, Event, Identity, Place, Role, TOLD};
use super::json::{self, Flaw, Value};
use super::{Field, time};
use crate::extract::Context;
use serde::Deserialize;
use std::ops::Range;

/// What lines are wrapped in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrap {
    #[default]
    None,
    Syslog,
    Docker,
    Csv,
}

/// How to take lines out of their wrapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrapping {
    Syslog,
    Docker,
    /// With the columns' names.
    Csv(Vec<String>),
}

/// Longest record of CSV that is followed over the end of its line, bytes: a quote that is never closed must not swallow a file.
const CSV_RECORD_BYTES_MAX: usize = 16 << 10;
/// Most columns of CSV.
pub const CSV_COLUMNS_MAX: usize = 256;

/// Lines taken out of their wrapping.
#[derive(Debug, Default)]
pub(super) struct Unwrapped {
    /// Whole lines, each ended by `\n`.
    pub data: Vec<u8>,
    /// Per line: where it begins in `data`, and the stretch of the input it was made of. Ascending.
    pub lines: Vec<(u32, Range<u32>)>,
}

impl Unwrapped {
    /// Unwraps the lines of `input`; `refuse` is told of stretches that are not what the format says, and why.
    pub fn of(wrapping: &Wrapping, input: &[u8], mut refuse: impl FnMut(Range<u32>, String)) -> Unwrapped {
        let mut out = Unwrapped { data: Vec::with_capacity(input.len() + input.len() / 4), lines: Vec::new() };
        let mut csv = Csv { reader: csv_core::Reader::new(), fields: Vec::new(), ends: Vec::new() };
        let mut start = 0;
        while start < input.len() {
            let newline = memchr::memchr(b'\n', &input[start..]).map_or(input.len(), |at| start + at);
            let mut next = newline + 1;
            let line = input[start..newline].strip_suffix(b"\r").unwrap_or(&input[start..newline]);
            let begins = out.data.len();
            let unwrapped = if line.iter().all(u8::is_ascii_whitespace) {
                Ok(false)
            } else {
                match wrapping {
                    Wrapping::Syslog => syslog(line, &mut out.data),
                    Wrapping::Docker => docker(line, &mut out.data),
                    Wrapping::Csv(columns) => {
                        csv.record(columns, &input[start..], newline - start, &mut out.data).map(|(len, is_event)| {
                            next = start + len;
                            is_event
                        })
                    }
                }
            };
            match unwrapped {
                Ok(true) => {
                    out.data.push(b'\n');
                    let end = if input.get(next - 1) == Some(&b'\n') { next - 1 } else { next.min(input.len()) };
                    out.lines.push((begins as u32, start as u32..end as u32));
                }
                Ok(false) => out.data.truncate(begins),
                Err(why) => {
                    out.data.truncate(begins);
                    refuse(start as u32..newline as u32, why);
                }
            }
            start = next;
        }
        out
    }

    /// The stretch of the input that the line at `at` was made of.
    pub fn original(&self, at: u32) -> Range<u32> {
        let line = self.lines.partition_point(|(begins, _)| *begins <= at).saturating_sub(1);
        self.lines.get(line).map_or(0..0, |(_, original)| original.clone())
    }
}

/// Appends `"name":"value"`, with a comma unless it is the first member of its object. Bytes above 0x7F stay as they are.
fn member(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    string(out, name);
    out.push(b':');
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The object that the message is, or the message.
fn message(out: &mut Vec<u8>, text: &[u8]) {
    let trimmed = text.trim_ascii();
    if trimmed.first() == Some(&b'{') && !trimmed.contains(&b'\n') && json::members(trimmed, |_, _| {}).is_ok() {
        out.extend_from_slice(b",\"event\":");
        out.extend_from_slice(trimmed);
    } else {
        member(out, b"message", text);
    }
    out.push(b'}');
}

/// A line of RFC 5424 or RFC 3164, the latter as it is, or as files have it: without the priority, perhaps with an ISO time.
fn syslog(line: &[u8], out: &mut Vec<u8>) -> Result<bool, String> {
    let wrong = || "no syslog line: expected \"<PRIORITY>1 TIME HOST …\" (RFC 5424) or \"TIME HOST PROGRAM[PID]: …\" (RFC 3164)".to_owned();
    let (priority, rest) = match line.strip_prefix(b"<") {
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=3).contains(&digits) || rest.get(digits) != Some(&b'>') {
                return Err(wrong());
            }
            (Some(&rest[..digits]), &rest[digits + 1..])
        }
        None => (None, line),
    };
    out.extend_from_slice(b"{\"syslog\":{");
    if let Some(priority) = priority {
        member(out, b"priority", priority);
    }
    let text = match rest.strip_prefix(b"1 ") {
        Some(rest) if priority.is_some() => rfc5424(rest, out),
        _ => rfc3164(rest, out),
    };
    message(out, text.ok_or_else(wrong)?);
    Ok(true)
}

/// The next word and what stands behind the space that ends it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', text)?;
    (at > 0).then(|| (&text[..at], &text[at + 1..]))
}

fn rfc5424<'a>(line: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = line;
    for name in ["timestamp", "host", "program", "pid", "msgid"] {
        let (value, behind) = word(rest)?;
        if value != b"-" {
            member(out, name.as_bytes(), value);
        }
        rest = behind;
    }
    let len = structured_data(rest)?;
    if rest[..len] != *b"-" {
        member(out, b"data", &rest[..len]);
    }
    out.push(b'}');
    let text = &rest[len..];
    let text = text.strip_prefix(b" ").unwrap_or(text);
    Some(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text))
}

/// Length of the structured data at the front: `-`, or elements in brackets, with strings in which `\` escapes.
fn structured_data(text: &[u8]) -> Option<usize> {
    if text.first() == Some(&b'-') {
        return Some(1);
    }
    let (mut at, mut in_element, mut in_string) = (0, false, false);
    while at < text.len() {
        match text[at] {
            b'\\' if in_string => at += 1,
            b'"' if in_element => in_string = !in_string,
            b'[' if !in_element => in_element = true,
            b']' if in_element && !in_string => in_element = false,
            b' ' if !in_element => break,
            _ if !in_element => return None,
            _ => {}
        }
        at += 1;
    }
    (at > 0 && !in_element && at <= text.len()).then_some(at)
}

fn rfc3164<'a>(line: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (timestamp, rest) = match word(line)? {
        (first, rest) if time::parse(first).is_some() => (first, rest),
        _ => {
            // `Mar  3 04:05:06`
            let (stamp, rest) = line.split_at_checked(15)?;
            let shape = stamp.iter().zip(b"Aaa dd dd:dd:dd").all(|(byte, shape)| match shape {
                b'A' => byte.is_ascii_uppercase(),
                b'a' => byte.is_ascii_lowercase(),
                b'd' => byte.is_ascii_digit() || *byte == b' ',
                other => byte == other,
            });
            (shape.then_some(stamp)?, rest.strip_prefix(b" ")?)
        }
    };
    member(out, b"timestamp", timestamp);
    let (host, rest) = word(rest)?;
    member(out, b"host", host);
    // A tag is short and has no space; without one all of it is the message.
    let tag_end = rest.iter().take(256).position(|byte| matches!(byte, b':' | b' ' | b'{'));
    let text = match tag_end {
        Some(end) if rest[end] == b':' && end > 0 => {
            let tag = &rest[..end];
            let (program, pid) = match (memchr::memchr(b'[', tag), tag.strip_suffix(b"]")) {
                (Some(open), Some(tag)) => (&tag[..open], Some(&tag[open + 1..])),
                _ => (tag, None),
            };
            member(out, b"program", program);
            if let Some(pid) = pid {
                member(out, b"pid", pid);
            }
            let text = &rest[end + 1..];
            text.strip_prefix(b" ").unwrap_or(text)
        }
        _ => rest,
    };
    out.push(b'}');
    Some(text)
}

/// A line of Docker's json-file log.
fn docker(line: &[u8], out: &mut Vec<u8>) -> Result<bool, String> {
    let (mut log, mut stream, mut at) = (None, None, None);
    let scanned = json::members(line, |name, value| match value {
        Value::String(literal) if name.is(b"log") => log = Some(literal),
        Value::String(literal) if name.is(b"stream") => stream = Some(literal),
        Value::String(literal) if name.is(b"time") => at = Some(literal),
        _ => {}
    });
    let Some(log) = log.filter(|_| scanned.is_ok()) else {
        return Err("no line of a container's log: expected {\"log\":\"…\",\"stream\":\"…\",\"time\":\"…\"}".into());
    };
    out.extend_from_slice(b"{\"docker\":{");
    for (name, value) in [("stream", stream), ("time", at)] {
        if let Some(value) = value {
            let mut text = Vec::new();
            json::unescape(value.raw, &mut text);
            member(out, name.as_bytes(), &text);
        }
    }
    out.push(b'}');
    let mut text = Vec::with_capacity(log.raw.len());
    json::unescape(log.raw, &mut text);
    message(out, text.strip_suffix(b"\n").unwrap_or(&text));
    Ok(true)
}

/// Reads records of CSV (RFC 4180), with memory of its own.
struct Csv {
    reader: csv_core::Reader,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

impl Csv {
    /// The record at the front of `input`, whose first line has `line_len` bytes, as an object. Answers how long the record is, with
    /// its newline, and whether it is an event: the line with the columns' names is none.
    fn record(&mut self, columns: &[String], input: &[u8], line_len: usize, out: &mut Vec<u8>) -> Result<(usize, bool), String> {
        let input = &input[..input.len().min((line_len + 1).max(CSV_RECORD_BYTES_MAX))];
        self.fields.resize(input.len() + 1, 0);
        self.ends.resize(CSV_COLUMNS_MAX + 1, 0);
        self.reader.reset();
        let (mut result, mut len, mut written, mut ended) = self.reader.read_record(input, &mut self.fields, &mut self.ends);
        if result == csv_core::ReadRecordResult::InputEmpty && line_len >= input.len() {
            // The last line of an input need not end in a newline; one in an open quote does not end at all.
            let (end, more_len, more_written, more_ended) =
                self.reader.read_record(&[], &mut self.fields[written..], &mut self.ends[ended..]);
            (result, len, written, ended) = (end, len + more_len, written + more_written, ended + more_ended);
        }
        match result {
            csv_core::ReadRecordResult::Record => {}
            csv_core::ReadRecordResult::InputEmpty | csv_core::ReadRecordResult::End => {
                return Err(format!("a quoted field that does not end within {CSV_RECORD_BYTES_MAX} bytes"));
            }
            csv_core::ReadRecordResult::OutputFull | csv_core::ReadRecordResult::OutputEndsFull => {
                return Err(format!("more than {CSV_COLUMNS_MAX} columns"));
            }
        }
        if ended != columns.len() {
            return Err(format!("{ended} columns, where the format has {}", columns.len()));
        }
        // The reader leaves the second byte of CR LF to the next record.
        if input.get(len - 1) == Some(&b'\r') && input.get(len) == Some(&b'\n') {
            len += 1;
        }
        let fields = &self.fields[..written];
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let values = starts.zip(&self.ends[..ended]).map(|(from, &to)| &fields[from..to]);
        if values.clone().zip(columns).all(|(value, column)| value == column.as_bytes()) {
            return Ok((len, false));
        }
        out.push(b'{');
        for (value, column) in values.zip(columns).filter(|(value, _)| !value.is_empty()) {
            member(out, column.as_bytes(), value);
        }
        out.push(b'}');
        Ok((len, true))
    }
}

/// Reads what syslog or Docker had wrapped: the event as its format does, and the envelope for what the event does not say.
pub(super) struct Enveloped {
    pub inner: &'static dyn Decoder,
    pub identity: Identity,
}

impl Decoder for Enveloped {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn decode(&self, line: &[u8], event: &mut Event) -> Result<(), Flaw> {
        let (mut inner, mut envelope, mut text) = (None, None, None);
        json::members(line, |name, value| match value {
            Value::Object(from, to) if name.is(b"event") => inner = Some((from, to)),
            Value::Object(from, to) if name.is(b"syslog") || name.is(b"docker") => envelope = Some((from, to)),
            Value::String(_) if name.is(b"message") => text = Some(value),
            _ => {}
        })?;
        if let Some((from, to)) = inner {
            let decoded = self.inner.decode(&line[from..to], event);
            decoded.map_err(|flaw| Flaw { at: flaw.at + from, ..flaw })?;
            event.shift(from);
        }
        if let Some(envelope) = envelope {
            json::members_of(line, envelope, |name, value| {
                if name.is(b"host") && event.sensor.is_none() {
                    if let Some(host) = event.text(value).filter(|host| !host.is_empty()) {
                        event.sensor = Some(host);
                        event.add(Field::Sensor, host);
                    }
                } else if event.time.is_none() && (name.is(b"timestamp") || name.is(b"time")) {
                    // RFC 3164 names no year: such a line has no time of its own.
                    event.time = super::chat::event_time(value);
                }
            });
        }
        if let Some(text) = text.and_then(|text| event.long_text(text)) {
            event.note(Context::Other, text);
        }
        event.finish();
        Ok(())
    }

    fn places(&self, line: &[u8], show: &mut dyn FnMut(Role, Place)) {
        // It was accepted, so it is an object.
        let _ = json::members(line, |name, value| match value {
            Value::Object(from, to) if name.is(b"event") => {
                self.inner.places(&line[from..to], &mut |role, place| show(role, place.shifted(from)));
            }
            Value::Object(from, to) if name.is(b"syslog") || name.is(b"docker") => json::members_of(line, (from, to), |name, value| {
                if name.is(b"host") {
                    show(Role::Field(Field::Sensor), Place::of(line, name, value));
                }
            }),
            // It has words for what would be fields.
            _ if name.is(b"message") => {
                show(Role::Text { context: Context::Other, base64: false }, Place::of(line, name, value));
                show(Role::Retelling(TOLD), Place::of(line, name, value));
            }
            _ => {}
        });
    }

    fn verbatim(&self, field: Field) -> bool {
        self.inner.verbatim(field)
    }
}

/// A decoder with another identity rule.
pub(super) struct Reidentified {
    pub inner: &'static dyn Decoder,
    pub identity: Identity,
}

impl Decoder for Reidentified {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn decode(&self, line: &[u8], event: &mut Event) -> Result<(), Flaw> {
        self.inner.decode(line, event)
    }

    fn places(&self, line: &[u8], show: &mut dyn FnMut(Role, Place)) {
        self.inner.places(line, show);
    }

    fn verbatim(&self, field: Field) -> bool {
        self.inner.verbatim(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrap(wrapping: &Wrapping, input: &str) -> (Vec<String>, Vec<(String, String)>) {
        let mut refused = Vec::new();
        let unwrapped = Unwrapped::of(wrapping, input.as_bytes(), |range, why| {
            refused.push((input[range.start as usize..range.end as usize].to_owned(), why));
        });
        let lines = String::from_utf8(unwrapped.data.clone()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines.len(), unwrapped.lines.len());
        for (line, (at, _)) in lines.iter().zip(&unwrapped.lines) {
            assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
            assert!(unwrapped.data[*at as usize..].starts_with(line.as_bytes()));
        }
        (lines, refused)
    }

    #[test]
    fn syslog_lines_of_either_rfc_become_objects() {
        for (line, expected) in [
            (
                r#"<34>Oct 11 22:14:15 mymachine su[42]: 'su root' failed"#,
                r#"{"syslog":{"priority":"34","timestamp":"Oct 11 22:14:15","host":"mymachine","program":"su","pid":"42"},"message":"'su root' failed"}"#,
            ),
            (
                r#"Oct  1 22:14:15 hp cowrie: {"eventid":"cowrie.x", "a":[1]}"#,
                r#"{"syslog":{"timestamp":"Oct  1 22:14:15","host":"hp","program":"cowrie"},"event":{"eventid":"cowrie.x", "a":[1]}}"#,
            ),
            (
                r#"2026-03-22T00:10:42.831494+00:00 hp canary[7]: {"a":1} "#,
                r#"{"syslog":{"timestamp":"2026-03-22T00:10:42.831494+00:00","host":"hp","program":"canary","pid":"7"},"event":{"a":1}}"#,
            ),
            (
                r#"<165>1 2003-10-11T22:14:15.003Z host app 11 ID47 [a@1 k="v\"]"][b] {"x":"y"}"#,
                r#"{"syslog":{"priority":"165","timestamp":"2003-10-11T22:14:15.003Z","host":"host","program":"app","pid":"11","msgid":"ID47","data":"[a@1 k=\"v\\\"]\"][b]"},"event":{"x":"y"}}"#,
            ),
            ("<0>1 - - - - - -", r#"{"syslog":{"priority":"0"},"message":""}"#),
            ("<0>1 - h - - - - \u{feff}text", r#"{"syslog":{"priority":"0","host":"h"},"message":"text"}"#),
            ("<13>Oct 11 22:14:15 h {\"a\":1}", r#"{"syslog":{"priority":"13","timestamp":"Oct 11 22:14:15","host":"h"},"event":{"a":1}}"#),
            // An object that is none: a text.
            (
                "<13>Oct 11 22:14:15 h p: {\"a\":",
                r#"{"syslog":{"priority":"13","timestamp":"Oct 11 22:14:15","host":"h","program":"p"},"message":"{\"a\":"}"#,
            ),
            (
                "<13>Oct 11 22:14:15 h\"\\\u{1} p: \tx",
                r#"{"syslog":{"priority":"13","timestamp":"Oct 11 22:14:15","host":"h\"\\\u0001","program":"p"},"message":"\tx"}"#,
            ),
        ] {
            assert_eq!(unwrap(&Wrapping::Syslog, &(line.to_owned() + "\r\n\n")), (vec![expected.to_owned()], vec![]), "{line}");
        }
        for line in
            ["{\"a\":1}", "<>x", "<1234>Oct 11 22:14:15 h x", "<13>1 a b", "<13>1 - - - - - [x", "<13>1 - - - - - x", "Oct 11", "\0\0"]
        {
            let (lines, refused) = unwrap(&Wrapping::Syslog, line);
            assert!(lines.is_empty() && refused[0].0 == line, "{line}: {lines:?}");
        }
    }

    #[test]
    fn lines_of_a_containers_log_become_objects() {
        let input = concat!(
            r#"{"log":"{\"eventid\":\"cowrie.x\"}\n","stream":"stdout","time":"2026-03-22T00:10:42Z"}"#,
            "\n",
            r#"{"log":"plain \u001b[0m\n","stream":"stderr"}"#,
            "\n{\"log\":7}\nnothing\n"
        );
        let (lines, refused) = unwrap(&Wrapping::Docker, input);
        assert_eq!(
            lines,
            [
                r#"{"docker":{"stream":"stdout","time":"2026-03-22T00:10:42Z"},"event":{"eventid":"cowrie.x"}}"#,
                r#"{"docker":{"stream":"stderr"},"message":"plain \u001b[0m"}"#
            ]
        );
        assert_eq!(refused.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>(), ["{\"log\":7}", "nothing"]);
    }

    #[test]
    fn csv_records_become_objects_and_the_header_does_not() {
        let columns = Wrapping::Csv(["eventid", "src_ip", "message"].map(str::to_owned).to_vec());
        let input = "eventid,src_ip,message\r\na,192.0.2.1,\"x, \"\"y\"\"\"\r\nb,,\nc,1,\"two\nlines\"\nd,2\ne,3,4,5\n\nf,6,g";
        let (lines, refused) = unwrap(&columns, input);
        assert_eq!(
            lines,
            [
                r#"{"eventid":"a","src_ip":"192.0.2.1","message":"x, \"y\""}"#,
                r#"{"eventid":"b"}"#,
                r#"{"eventid":"c","src_ip":"1","message":"two\nlines"}"#,
                r#"{"eventid":"f","src_ip":"6","message":"g"}"#,
            ]
        );
        let expected = [("d,2", "2 columns, where the format has 3"), ("e,3,4,5", "4 columns, where the format has 3")];
        assert_eq!(refused, expected.map(|(line, why)| (line.to_owned(), why.to_owned())));
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_one_line() {
        let columns = Wrapping::Csv(vec!["a".into(), "b".into()]);
        let rest: String = (0..5_000).map(|n| format!("x,{n}\n")).collect();
        let (lines, refused) = unwrap(&columns, &format!("x,\"open\n{rest}"));
        assert_eq!((lines.len(), refused.len()), (5_000, 1), "{:?}", refused.last());
        assert_eq!(refused[0].0, "x,\"open");
        let (lines, refused) = unwrap(&columns, &format!("{}\n", ",".repeat(1_000)));
        assert_eq!((lines.len(), refused[0].1.as_str()), (0, "more than 256 columns"));
    }
}
