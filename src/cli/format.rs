//! How answers look: each is a plain struct with a JSON form (its serde form, fixed: programs read it) and a rendering for people.
//!
//! Handlers fill the structs, whether they asked a daemon over its socket or opened the data directory themselves; nothing here knows of
//! journals or sockets. Times in the structs are RFC 3339 (what [`crate::events::time::format`] writes). Text that attackers chose is kept
//! as it is in the structs and escaped by the renderings.
use super::terminal::{self, Align, Colour, Output, Table};
use super::transcript;
use crate::events::{Field, time};
use crate::service::sinks::SinkRow;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// The JSON form of an answer on one line, made harmless when it goes to a terminal.
pub fn json<Answer: Serialize>(answer: &Answer, output: &Output) -> Result<String, serde_json::Error> {
    let text = serde_json::to_vec(answer)?;
    let line = output.json_line(&text, false);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// What `load` did: its last line of output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LoadSummary {
    pub files: u64,
    /// Lines read, blank ones not counted: `events + duplicates + rejected`.
    pub lines: u64,
    /// Stored now.
    pub events: u64,
    /// In the journal already.
    pub duplicates: u64,
    /// Refused, and in quarantine now.
    pub rejected: u64,
    /// Read, after decompression.
    pub bytes: u64,
    pub seconds: f64,
    /// Lines dealt with per second, duplicates included.
    pub events_per_second: f64,
}

impl LoadSummary {
    /// A summary whose last field follows from the others.
    pub fn with_rate(mut self) -> LoadSummary {
        let rate = (self.events + self.duplicates) as f64 / self.seconds;
        self.events_per_second = if rate.is_finite() { rate.round() } else { 0.0 };
        self
    }

    pub fn render(&self, output: &Output) -> String {
        let mut text = format!(
            "{} stored from {} ({}) in {}, {} events/s\n",
            plural(self.events, "event", "events"),
            plural(self.files, "file", "files"),
            terminal::bytes(self.bytes),
            seconds(self.seconds),
            terminal::count(self.events_per_second as u64),
        );
        if self.duplicates > 0 {
            let _ = writeln!(text, "{} in the journal already", plural(self.duplicates, "event was", "events were"));
        }
        if self.rejected > 0 {
            let refused = format!("{} refused; see `honeyguide quarantine list`", plural(self.rejected, "line was", "lines were"));
            let _ = writeln!(text, "{}", output.paint(Colour::Warning, &refused));
        }
        text
    }
}

/// One value of `top`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TopRow {
    pub value: String,
    /// The other field's value, in a list by another field.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    pub count: u64,
    pub first_seen: String,
    pub last_seen: String,
    /// Only where the count may be too low, and then by how much at most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_at_most: Option<u64>,
}

/// One kind of event and the members it was seen with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Schema {
    pub format: String,
    pub eventid: String,
    pub sensor: String,
    pub version: u32,
    pub first_seen: String,
    pub changed_at: String,
    pub fields: Vec<SchemaField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SchemaField {
    pub name: String,
    /// It came with another type later on.
    pub drifted: bool,
    /// In the order of their appearance.
    pub types: Vec<SchemaType>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SchemaType {
    pub name: String,
    pub version: u32,
    pub first_seen: String,
}

/// `schema` for people. Its JSON form is the array of schemas.
pub fn schemas(schemas: &[Schema], output: &Output) -> String {
    if schemas.is_empty() {
        return "no such event was seen yet\n".into();
    }
    let mut text = String::new();
    for schema in schemas {
        let eventid = if schema.eventid.is_empty() { "(no eventid)" } else { &schema.eventid };
        let sensor = if schema.sensor.is_empty() { "(no sensor)" } else { &schema.sensor };
        let head = format!("{}  {}  {}", terminal::escape(eventid), terminal::escape(sensor), terminal::escape(&schema.format));
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(
            text,
            "{gap}{}  version {}, first seen {}, changed {}",
            output.paint(Colour::Strong, &head),
            schema.version,
            minute(&schema.first_seen),
            minute(&schema.changed_at)
        );
        let mut table = Table::new(&[("field", Align::Left), ("types", Align::Left), ("first seen", Align::Left), ("", Align::Left)]);
        for field in &schema.fields {
            let types: Vec<&str> = field.types.iter().map(|seen| seen.name.as_str()).collect();
            let first = field.types.first().map_or("", |seen| seen.first_seen.as_str());
            let drift = if field.drifted { "drift" } else { "" };
            table.row([terminal::escape(&field.name), types.join(", ").into(), minute(first).into(), drift.into()]);
        }
        text += &table.render(output);
    }
    text
}

/// `top` for people. Its JSON form is the array of rows.
pub fn top(field: &'static str, by: Option<&'static str>, rows: &[TopRow], output: &Output) -> String {
    if rows.is_empty() {
        let names_not_kept =
            if field == Field::Session.name() { " whose name the index keeps: `search exists:session` shows them" } else { "" };
        return format!("no event has {field}{names_not_kept}\n");
    }
    let values = by.into_iter().chain([field]).map(|field| (field, Align::Left));
    let numbers = [("events", Align::Right), ("first seen", Align::Left), ("last seen", Align::Left)];
    let mut table = Table::new(&numbers.into_iter().chain(values).collect::<Vec<_>>());
    let shown = |value: &str| if value.is_empty() { "(empty)".to_owned() } else { value.to_owned() };
    // The table cuts its last column only.
    let by_columns = output.columns.map_or(usize::MAX, |columns| columns / 3);
    let cut = |by: &str| terminal::truncate(&terminal::escape(&shown(by)), by_columns).into_owned();
    for row in rows {
        let numbers = [row.count.to_string(), minute(&row.first_seen), minute(&row.last_seen)];
        let values = row.by.as_deref().map(cut).into_iter().chain([shown(&row.value)]);
        table.row(numbers.into_iter().chain(values).map(Cow::Owned));
    }
    table.render(output)
}

/// One event found, in one line: time, sensor, address, kind, and what matters of it. `line` is the original line.
pub fn hit(line: &[u8], output: &Output) -> String {
    let told = transcript::transcripts(&[line]);
    let (Some(session), Some(entry)) = (told.first(), told.first().and_then(|session| session.entries.first())) else {
        return String::new();
    };
    if let transcript::Action::Unreadable { .. } = entry.action {
        return cut(&terminal::escape_bytes(line), output);
    }
    let stamp = entry.time.as_deref().map_or("no time", |stamp| stamp.get(..19).unwrap_or(stamp)).replace('T', " ");
    let kind = entry.eventid.strip_prefix("cowrie.").unwrap_or(&entry.eventid);
    let kind = if kind.is_empty() { "(no eventid)" } else { kind };
    let what = salient(session, entry);
    // Padded to `least` columns; cut at `most` only on a terminal: whoever reads a pipe wants the whole address.
    let column = |text: Option<&str>, least: usize, most: usize| {
        let text = terminal::escape(text.unwrap_or("-"));
        let text = terminal::truncate(&text, if output.columns.is_some() { most } else { usize::MAX });
        let pad = least.saturating_sub(terminal::width(&text));
        format!("{text}{:pad$}", "")
    };
    let before = format!("{stamp:<19}  {}  {}  ", column(session.sensor.as_deref(), 10, 16), column(session.src_ip.as_deref(), 15, 39));
    let kind_column = column(Some(kind), 21, 28);
    let rest = match output.columns {
        Some(columns) => {
            let used = terminal::width(&before) + terminal::width(&kind_column) + 2;
            terminal::truncate(&terminal::escape(&what), columns.saturating_sub(used).max(10)).into_owned()
        }
        None => terminal::escape(&what).into_owned(),
    };
    let mut text = format!("{}{}  {rest}", output.paint(Colour::Quiet, &before), output.paint(Colour::Strong, &kind_column));
    text.truncate(text.trim_end().len());
    if output.colour { text } else { cut(&text, output) }
}

/// What a reader wants to know of an event beside when, where and of what kind.
pub(crate) fn salient(session: &transcript::Transcript, entry: &transcript::Entry) -> String {
    use transcript::Action;
    match &entry.action {
        Action::Connected => match session.dst_port {
            Some(port) => format!("{} port {port}", session.protocol.as_deref().unwrap_or("to")),
            None => session.protocol.clone().unwrap_or_default(),
        },
        Action::Closed { duration_seconds } => duration_seconds.map(|lasted| format!("after {}", seconds(lasted))).unwrap_or_default(),
        action => action.text(),
    }
}

/// The state of a daemon, or of a data directory without one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Status {
    pub version: String,
    pub data_dir: String,
    /// A daemon answered; without one the fields about it are absent.
    pub running: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uptime_seconds: Option<f64>,
    /// `bulk` while catching up, `live` after.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub phase: Option<String>,
    /// Why intake is paused, if it is: what happened and what ends it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub events_per_second: Option<f64>,
    pub journal: JournalStatus,
    pub quarantine: QuarantineStatus,
    /// Where evidence goes before it is removed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub archive: Option<crate::archive::ArchiveStatus>,
    #[serde(default)]
    pub sources: Vec<SourceStatus>,
    #[serde(default)]
    pub sinks: Vec<SinkRow>,
    #[serde(default)]
    pub actors: Vec<ActorStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JournalStatus {
    pub events: u64,
    pub segments: u64,
    /// Of the lines as they were.
    pub raw_bytes: u64,
    /// Of the segments on disk.
    pub journal_bytes: u64,
    /// Of the term indexes on disk.
    pub sidecar_bytes: u64,
    /// Times of the earliest and the latest event.
    pub first_event: Option<String>,
    pub last_event: Option<String>,
    /// Running digest at the head, hexadecimal: note it elsewhere and `verify` proves that nothing before it was changed.
    pub head: Option<String>,
    /// Left on the file system.
    pub free_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuarantineStatus {
    pub records: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceStatus {
    pub name: String,
    /// `live`, `reading` (catching up), or `degraded` (see `problem`).
    pub state: String,
    pub files: u64,
    pub events: u64,
    /// Bytes that the files hold beyond what is durable.
    pub behind_bytes: u64,
    /// What is wrong, if something is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActorStatus {
    pub name: String,
    pub state: String,
    pub restarts: u64,
}

impl Status {
    pub fn render(&self, output: &Output) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let name = output.paint(Colour::Quiet, &format!("{name:<11}"));
            let _ = writeln!(text, "{name} {value}");
        };
        let escaped = |value: &str| terminal::escape(value).into_owned();
        let daemon = if self.running {
            let pid = self.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
            let uptime = self.uptime_seconds.map(|uptime| format!(", up {}", seconds(uptime))).unwrap_or_default();
            let phase = self.phase.as_deref().map(|phase| format!(", {}", escaped(phase))).unwrap_or_default();
            output.paint(Colour::Good, &format!("running{pid}{uptime}{phase}"))
        } else {
            output.paint(Colour::Warning, "not running")
        };
        line("daemon", daemon);
        line("data", escaped(&self.data_dir));
        if let Some(paused) = &self.paused {
            line("paused", output.paint(Colour::Bad, &escaped(paused)));
        }
        let journal = &self.journal;
        let rate = self.events_per_second.map(|rate| format!(", {} a second now", terminal::count(rate as u64))).unwrap_or_default();
        line("events", format!("{}{rate}", grouped(journal.events)));
        if let (Some(first), Some(last)) = (&journal.first_event, &journal.last_event) {
            line("from", escaped(first));
            line("to", escaped(last));
        }
        let stored = journal.journal_bytes + journal.sidecar_bytes;
        let share = if journal.raw_bytes > 0 {
            format!(", {:.1} % of the logs' {}", 100.0 * stored as f64 / journal.raw_bytes as f64, terminal::bytes(journal.raw_bytes))
        } else {
            String::new()
        };
        let segments = plural(journal.segments, "segment", "segments");
        line(
            "journal",
            format!("{} in {segments}, indexes {}{share}", terminal::bytes(journal.journal_bytes), terminal::bytes(journal.sidecar_bytes)),
        );
        if let Some(head) = &journal.head {
            line("head", escaped(head));
        }
        if let Some(free) = journal.free_bytes {
            line("free", terminal::bytes(free));
        }
        let quarantine = match self.quarantine.records {
            0 => "empty".to_owned(),
            records => {
                let text = format!("{}, {}", plural(records, "record", "records"), terminal::bytes(self.quarantine.bytes));
                output.paint(Colour::Warning, &text)
            }
        };
        line("quarantine", quarantine);
        if let Some(archive) = &self.archive {
            let done = match archive.last_segment {
                Some(last) => format!(", {} since the start, the last is {last}", plural(archive.segments, "segment", "segments")),
                None => String::new(),
            };
            line("archive", format!("{}{done}", escaped(&archive.to)));
            if let Some(problem) = &archive.problem {
                let tried = plural(archive.failures, "attempt", "attempts");
                let since = archive.failing_since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
                let told = format!("nothing is removed: {problem} ({tried}{since})");
                line("", output.paint(Colour::Bad, &escaped(&told)));
            }
        }
        if !self.sources.is_empty() {
            let mut table = Table::new(&[
                ("source", Align::Left),
                ("state", Align::Left),
                ("files", Align::Right),
                ("events", Align::Right),
                ("behind", Align::Right),
                ("problem", Align::Left),
            ]);
            for source in &self.sources {
                table.row([
                    source.name.as_str().into(),
                    source.state.as_str().into(),
                    source.files.to_string().into(),
                    grouped(source.events).into(),
                    terminal::bytes(source.behind_bytes).into(),
                    source.problem.as_deref().unwrap_or_default().into(),
                ]);
            }
            let _ = write!(text, "\n{}", table.render(output));
        }
        if !self.sinks.is_empty() {
            let _ = write!(text, "\n{}", super::sinks::list(&self.sinks, output));
        }
        let troubled: Vec<&ActorStatus> = self.actors.iter().filter(|actor| actor.restarts > 0 || actor.state != "running").collect();
        if !troubled.is_empty() {
            let mut table = Table::new(&[("actor", Align::Left), ("state", Align::Left), ("restarts", Align::Right)]);
            for actor in troubled {
                table.row([actor.name.as_str().into(), actor.state.as_str().into(), actor.restarts.to_string().into()]);
            }
            let _ = write!(text, "\n{}", table.render(output));
        }
        text
    }
}

/// What `verify` found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VerifyReport {
    pub segments: u64,
    pub blocks: u64,
    pub events: u64,
    /// How many of them were erased.
    #[serde(default)]
    pub tombstones: u64,
    /// Read from disk.
    pub bytes: u64,
    pub seconds: f64,
    pub sidecars: u64,
    /// Running digest at the head, hexadecimal.
    pub head: Option<String>,
    pub damage: Vec<Damage>,
}

/// One thing wrong with the journal or a sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Damage {
    /// File name below `journal/`.
    pub file: String,
    /// Number of the block in the segment, from 0; none when the damage is not in a block.
    pub block: Option<u64>,
    /// Where in the file, bytes.
    pub offset: Option<u64>,
    pub problem: String,
}

impl VerifyReport {
    pub fn render(&self, output: &Output) -> String {
        let mut text = damage_table(&self.damage, output);
        let checked = format!(
            "{} in {} and {} checked ({} in {})",
            plural(self.events, "event", "events"),
            plural(self.segments, "segment", "segments"),
            plural(self.sidecars, "sidecar", "sidecars"),
            terminal::bytes(self.bytes),
            seconds(self.seconds)
        );
        let checked = match self.tombstones {
            0 => checked,
            erased => format!("{checked}; {} erased", plural(erased, "of these events was", "of these events were")),
        };
        let verdict = if self.damage.is_empty() {
            output.paint(Colour::Good, "everything is whole")
        } else {
            output.paint(Colour::Bad, &format!("{} found", plural(self.damage.len() as u64, "damaged place", "damaged places")))
        };
        let _ = writeln!(text, "{checked}: {verdict}");
        if let Some(head) = &self.head {
            let _ = writeln!(text, "head {}", terminal::escape(head));
        }
        text
    }
}

/// What `rebuild` did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RebuildReport {
    /// Sealed segments.
    pub segments: u64,
    /// Sidecars made anew.
    pub rebuilt: u64,
    /// Sidecars left as they were: their evidence is gone by retention, or is damaged and they are not.
    pub kept: u64,
    pub seconds: f64,
    /// Places of the journal that cannot be read.
    pub damage: Vec<Damage>,
}

impl RebuildReport {
    pub fn render(&self, output: &Output) -> String {
        let mut text = damage_table(&self.damage, output);
        let kept = if self.kept > 0 { format!(", {} left as they were", grouped(self.kept)) } else { String::new() };
        let _ =
            writeln!(text, "{} and the state built again in {}{kept}", plural(self.rebuilt, "sidecar", "sidecars"), seconds(self.seconds));
        text
    }
}

fn damage_table(damage: &[Damage], output: &Output) -> String {
    let mut table = Table::new(&[("file", Align::Left), ("block", Align::Right), ("offset", Align::Right), ("problem", Align::Left)]);
    for damage in damage {
        let number = |number: Option<u64>| Cow::Owned(number.map(|number| number.to_string()).unwrap_or_default());
        table.row([damage.file.as_str().into(), number(damage.block), number(damage.offset), damage.problem.as_str().into()]);
    }
    table.render(output)
}

/// One record of the quarantine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuarantineRow {
    /// What `show`, `retry` and `purge` call it.
    pub number: u64,
    pub received_at: String,
    /// [`crate::sources::Reason::name`].
    pub reason: String,
    pub source: String,
    pub path: String,
    /// Where in the (decompressed) input, bytes.
    pub offset: u64,
    /// Of all that was refused, bytes.
    pub len: u64,
    /// What was wrong, with nothing of the input in it.
    pub detail: String,
    /// BLAKE3 of all that was refused, hexadecimal.
    pub hash: String,
}

/// `quarantine list` for people. Its JSON form is the array of rows.
pub fn quarantine_list(rows: &[QuarantineRow], output: &Output) -> String {
    if rows.is_empty() {
        return "the quarantine is empty\n".to_owned();
    }
    let mut table = Table::new(&[
        ("number", Align::Right),
        ("received", Align::Left),
        ("reason", Align::Left),
        ("size", Align::Right),
        ("source", Align::Left),
        ("offset", Align::Right),
        ("path: detail", Align::Left),
    ]);
    for row in rows {
        table.row([
            row.number.to_string().into(),
            minute(&row.received_at).into(),
            row.reason.as_str().into(),
            terminal::bytes(row.len).into(),
            row.source.as_str().into(),
            row.offset.to_string().into(),
            format!("{}: {}", row.path, row.detail).into(),
        ]);
    }
    table.render(output)
}

/// `quarantine show`: the record, and as many of its bytes as were kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuarantineItem {
    #[serde(flatten)]
    pub row: QuarantineRow,
    /// The beginning of what was refused; bytes that are not UTF-8 appear as U+FFFD (`--raw` prints the exact bytes).
    pub text: String,
    /// How many bytes were kept.
    pub kept: u64,
}

impl QuarantineItem {
    /// The item with `bytes` as what was kept.
    pub fn new(row: QuarantineRow, bytes: &[u8]) -> QuarantineItem {
        QuarantineItem { row, text: String::from_utf8_lossy(bytes).into_owned(), kept: bytes.len() as u64 }
    }

    pub fn render(&self, output: &Output) -> String {
        let row = &self.row;
        let mut text = String::new();
        for (name, value) in [
            ("number", row.number.to_string()),
            ("received", row.received_at.clone()),
            ("reason", format!("{}: {}", row.reason, row.detail)),
            ("source", row.source.clone()),
            ("path", format!("{} at byte {}", row.path, row.offset)),
            ("size", format!("{} bytes, of which {} were kept", row.len, self.kept)),
            ("blake3", row.hash.clone()),
        ] {
            let _ = writeln!(text, "{} {}", output.paint(Colour::Quiet, &format!("{name:<9}")), terminal::escape(&value));
        }
        let _ = writeln!(text, "\n{}", terminal::truncate(&terminal::escape(&self.text), 4_000));
        text
    }
}

/// Whether a file is safe to delete, for `ingested`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IngestedFile {
    pub path: String,
    /// Every byte is durable, in journal or quarantine.
    pub ingested: bool,
    /// Bytes of the file, and how many of them are durable.
    pub bytes: u64,
    pub durable_bytes: u64,
    /// Why not, if not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<String>,
}

/// `ingested` for people. Its JSON form is the array of files.
pub fn ingested(files: &[IngestedFile], output: &Output) -> String {
    let mut text = String::new();
    for file in files {
        let verdict = if file.ingested { output.paint(Colour::Good, "yes") } else { output.paint(Colour::Bad, "no ") };
        let problem = file.problem.as_deref().map(|problem| format!(": {}", terminal::escape(problem))).unwrap_or_default();
        let missing = file.bytes.saturating_sub(file.durable_bytes);
        let missing = if missing > 0 { format!(" ({} to go)", terminal::bytes(missing)) } else { String::new() };
        let _ = writeln!(text, "{verdict}  {}{missing}{problem}", terminal::escape(&file.path));
    }
    text
}

/// `2026-03-22 00:14` of an RFC 3339 time.
pub fn minute(stamp: &str) -> String {
    match time::parse(stamp.as_bytes()) {
        Some(at) => time::format(at)[..16].replace('T', " "),
        None => stamp.to_owned(),
    }
}

pub(super) fn seconds(seconds: f64) -> String {
    terminal::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// `1 event`, `2,100 events`.
pub(super) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// `1,234,567`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn cut(text: &str, output: &Output) -> String {
    match output.columns {
        Some(columns) => terminal::truncate(text, columns).into_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::hostile;
    use serde_json::json;

    const TERMINAL: Output = Output { terminal: true, colour: false, columns: Some(100) };

    #[test]
    fn json_shapes_are_the_promised_ones() {
        let load =
            LoadSummary { files: 2, lines: 12, events: 8, duplicates: 2, rejected: 2, bytes: 100, seconds: 0.5, ..LoadSummary::default() };
        assert_eq!(
            json(&load.with_rate(), &Output::plain()).unwrap(),
            r#"{"files":2,"lines":12,"events":8,"duplicates":2,"rejected":2,"bytes":100,"seconds":0.5,"events_per_second":20.0}"#
        );
        let row = TopRow {
            value: "1\u{1b}".to_owned(),
            count: 3,
            first_seen: "2026-03-22T00:14:41.244717Z".to_owned(),
            last_seen: "2026-03-23T00:14:41.244717Z".to_owned(),
            ..TopRow::default()
        };
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json(&[row], &TERMINAL).unwrap()).unwrap(),
            json!([{
                "value": "1\u{1b}",
                "count": 3,
                "first_seen": "2026-03-22T00:14:41.244717Z",
                "last_seen": "2026-03-23T00:14:41.244717Z"
            }])
        );
        assert_eq!(LoadSummary::default().with_rate().events_per_second, 0.0);
    }

    #[test]
    fn hits_say_what_matters_on_one_line() {
        let hive = r#""sensor":"hive","timestamp":"2026-03-22T00:14:41.244717Z","src_ip":"192.0.2.7","session":"1""#;
        let elsewhere = r#""timestamp":"2026-03-22T00:14:41Z","src_ip":"2001:db8::1","session":"1""#;
        for (line, shown) in [
            (
                format!(r#"{{"eventid":"cowrie.login.failed","username":"root","password":"a\u001b[2J",{hive}}}"#),
                r"2026-03-22 00:14:41  hive        192.0.2.7        login.failed           root / a\x1b[2J",
            ),
            (
                format!(r#"{{"eventid":"cowrie.session.closed","duration":"1.5",{hive}}}"#),
                "2026-03-22 00:14:41  hive        192.0.2.7        session.closed         after 1.5 s",
            ),
            (
                format!(r#"{{"eventid":"cowrie.session.connect","protocol":"ssh","dst_port":22,{elsewhere}}}"#),
                "2026-03-22 00:14:41  -           2001:db8::1      session.connect        ssh port 22",
            ),
            (r#"{"a":1}"#.to_owned(), "no time              -           -                (no eventid)           a=1"),
            ("not json".to_owned(), "not json"),
        ] {
            assert_eq!(hit(line.as_bytes(), &Output::plain()), shown);
        }
    }

    #[test]
    fn hostile_text_is_harmless_and_fits_in_every_rendering() {
        for line in hostile::lines() {
            let text = String::from_utf8_lossy(&line).into_owned();
            let row = QuarantineRow { path: text.clone(), detail: text.clone(), source: text.clone(), ..QuarantineRow::default() };
            let one = TopRow { value: text.clone(), by: Some(text.clone()), count: 1, first_seen: text.clone(), ..TopRow::default() };
            let file = IngestedFile { path: text.chars().take(1_000).collect(), ..IngestedFile::default() };
            let status = Status { data_dir: text.clone(), paused: Some(text.clone()), ..Status::default() };
            for shown in [
                hit(&line, &TERMINAL),
                top("password", Some("src_ip"), &[one], &TERMINAL),
                quarantine_list(std::slice::from_ref(&row), &TERMINAL),
                QuarantineItem::new(QuarantineRow::default(), &line).render(&TERMINAL),
                ingested(&[file], &TERMINAL),
                status.render(&TERMINAL),
                json(&row, &TERMINAL).unwrap(),
            ] {
                assert!(shown.chars().all(|character| character == '\n' || !character.is_control()));
                assert!(!shown.contains(['\u{202e}', '\u{2066}', '\u{2028}', '\u{200b}', '\u{e0041}']));
            }
            assert!(terminal::width(&hit(&line, &TERMINAL)) <= 100);
        }
    }

    #[test]
    fn status_tells_a_stopped_daemon_from_a_running_one() {
        let mut status = Status { data_dir: "/var/lib/honeyguide".to_owned(), ..Status::default() };
        assert!(status.render(&TERMINAL).starts_with("daemon      not running\n"));
        let stopped = serde_json::to_value(&status).unwrap();
        assert!(stopped.get("pid").is_none() && stopped["running"] == false);
        status.running = true;
        status.pid = Some(7);
        status.uptime_seconds = Some(90.0);
        status.journal = JournalStatus {
            events: 1_234_567,
            segments: 1,
            raw_bytes: 1_000,
            journal_bytes: 60,
            sidecar_bytes: 45,
            ..JournalStatus::default()
        };
        status.sources = vec![SourceStatus { name: "cowrie".to_owned(), state: "following".to_owned(), ..SourceStatus::default() }];
        status.actors = vec![
            ActorStatus { name: "journal".to_owned(), state: "running".to_owned(), restarts: 0 },
            ActorStatus { name: "ingest".to_owned(), state: "running".to_owned(), restarts: 2 },
        ];
        let shown = status.render(&TERMINAL);
        for part in ["running, process 7, up 1 min 30 s", "1,234,567", "10.5 % of the logs' 1000 B", "following", "ingest"] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert!(!shown.split("\nactor ").nth(1).unwrap().contains("journal"), "actors without trouble are not listed\n{shown}");
        assert_eq!(serde_json::from_value::<Status>(serde_json::to_value(&status).unwrap()).unwrap(), status);
    }

    #[test]
    fn verify_names_damage_by_file_and_block() {
        let mut report = VerifyReport { segments: 2, events: 1, sidecars: 1, bytes: 2_048, ..VerifyReport::default() };
        assert!(report.render(&TERMINAL).contains("1 event in 2 segments and 1 sidecar checked (2.0 KiB in 0 ms): everything is whole"));
        report.damage.push(Damage {
            file: "00000001.zst".to_owned(),
            block: Some(17),
            offset: Some(4_096),
            problem: "the block's checksum differs".to_owned(),
        });
        let shown = report.render(&TERMINAL);
        assert!(
            shown.contains("00000001.zst     17    4096  the block's checksum differs") && shown.contains("1 damaged place found"),
            "{shown}"
        );
    }

    #[test]
    fn load_mentions_duplicates_and_refusals_only_when_there_are_some() {
        let clean = LoadSummary { files: 1, lines: 1, events: 1, bytes: 500, seconds: 4.0, ..LoadSummary::default() }.with_rate();
        assert_eq!(clean.render(&TERMINAL), "1 event stored from 1 file (500 B) in 4.0 s, 0 events/s\n");
        let messy = LoadSummary { duplicates: 1, rejected: 2_000, ..clean };
        assert!(messy.render(&TERMINAL).contains("1 event was in the journal already\n2,000 lines were refused"));
    }
}
