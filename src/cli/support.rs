//! `honeyguide support dump`: what a bug report needs, in one file, with nothing in it that must not leave.
//!
//! Nothing is listed as secret; what may be shown is listed. Of every record only members of known names are taken, and of those texts
//! only where the program itself chose them. In the end the whole bundle is searched for what stands in the files of secrets.
use super::args::{self, SupportAction};
use super::client::{Client, Target};
use super::context::{Context, Exit};
use super::{answers, format, print};
use crate::config::Settings;
use crate::events::time;
use crate::journal::fs::RealFs;
use crate::os::limits;
use crate::store::{Layout, each_ledger_line};
use crate::telemetry::printable::printable;
use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Records of the ledger, and lines of the log: the last so many.
const RECORDS_MAX: usize = 500;
const LOG_LINES_MAX: usize = 2_000;
/// The end of the log that is looked at, bytes.
const LOG_BYTES_MAX: u64 = 4 << 20;
/// Most files that are listed.
const FILES_MAX: usize = 10_000;
/// A shorter secret is found everywhere.
const SECRET_BYTES_MIN: usize = 6;
const SECRET_BYTES_MAX: u64 = 16 << 10;

/// Stands for what is hidden.
const HIDDEN: &str = "<hidden>";

/// Members of which numbers and switches are shown, and what is in them.
const MEMBERS: &[&str] = &[
    "actors",
    "anomalies",
    "answers",
    "attempts",
    "attempts_hour",
    "batch_bytes",
    "batches",
    "behind_bytes",
    "block",
    "bytes",
    "concurrency",
    "cooldown_seconds",
    "cursor",
    "damaged",
    "dead_letters",
    "dead_letters_kept",
    "delivered",
    "details",
    "deviation",
    "disk",
    "duplicates",
    "duration",
    "duration_seconds",
    "events",
    "events_per_second",
    "evidence",
    "expected",
    "failures",
    "failures_hour",
    "files",
    "first_sequence",
    "free",
    "free_bytes",
    "head",
    "in_flight",
    "items",
    "journal",
    "journal_bytes",
    "lag_events",
    "lag_seconds",
    "latency",
    "live",
    "lost",
    "may_lose",
    "min_free_bytes",
    "next_seq",
    "number",
    "offset",
    "open",
    "pending",
    "pid",
    "process.pid",
    "quarantine",
    "raw_bytes",
    "refused",
    "removed",
    "restarts",
    "running",
    "sealed",
    "segment",
    "segments",
    "sequence",
    "sidecar_bytes",
    "sidecars",
    "silent",
    "sinks",
    "skipped",
    "sources",
    "startup",
    "status",
    "success_percent",
    "suppressed",
    "suppressed_lines",
    "threshold",
    "told",
    "uptime_seconds",
    "value",
];
/// Members whose texts are the program's own words, times, or names that label metrics anyway.
const WORDS: &[&str] = &[
    "@timestamp",
    "actor",
    "alert",
    "at",
    "class",
    "day",
    "direction",
    "event",
    "event.action",
    "event.dataset",
    "first",
    "format",
    "kind",
    "last",
    "last_error_at",
    "last_success",
    "level",
    "log.level",
    "measure",
    "name",
    "operation",
    "order",
    "outcome",
    "phase",
    "rule",
    "since",
    "sink",
    "source",
    "stage",
    "state",
    "type",
    "version",
    "when",
];
/// Members that name honeypots.
const SENSORS: &[&str] = &["sensor", "sensors"];

/// One file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub bytes: u64,
    pub about: String,
}

/// What `support dump` made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dumped {
    pub file: String,
    pub bytes: u64,
    pub parts: Vec<Part>,
}

pub fn run(args: &args::Support, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Support, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let SupportAction::Dump { file, with_sensors } = &args.action;
    let settings = context.settings()?;
    let now = time::now();
    let stamp: String = time::format(now).chars().take(19).filter(char::is_ascii_digit).collect();
    let path = file.clone().unwrap_or_else(|| PathBuf::from(format!("honeyguide-support-{stamp}.tar.gz")));
    let shown = printable(&path.to_string_lossy()).into_owned();
    if std::fs::symlink_metadata(&path).is_ok() {
        bail!("{shown} is there already and is not overwritten: name another file");
    }
    let parts = gather(&settings, *with_sensors)?;
    refuse_secrets(&settings, &parts)?;
    let bytes = write(&path, &parts, now).with_context(|| format!("cannot write {shown}"))?;
    let part = |(name, about, content): &(String, &str, Vec<u8>)| Part {
        name: name.clone(),
        bytes: content.len() as u64,
        about: (*about).to_owned(),
    };
    let dumped = Dumped { file: path.to_string_lossy().into_owned(), bytes, parts: parts.iter().map(part).collect() };
    context.tell(&dumped, |_| text(&dumped), out)?;
    Ok(Exit::Done)
}

fn text(dumped: &Dumped) -> String {
    let mut text = format!("{}: {}, readable by you only\n", printable(&dumped.file), super::terminal::bytes(dumped.bytes));
    for Part { name, bytes, about } in &dumped.parts {
        text.push_str(&format!("  {name:<20} {:>10}  {about}\n", super::terminal::bytes(*bytes)));
    }
    text.push_str("Look through it before you send it: tar -xzOf FILE | less\n");
    text
}

/// Name, what it is, and content.
type Content = (String, &'static str, Vec<u8>);

fn gather(settings: &Settings, sensors: bool) -> anyhow::Result<Vec<Content>> {
    let mut parts: Vec<Content> = Vec::new();
    let mut add = |name: &str, about: &'static str, content: Vec<u8>| parts.push((name.to_owned(), about, content));
    let (status, metrics) = match Target::find(settings)? {
        Target::Daemon(client) => (client.get::<Value>(&["api", "v1", "status"], &[], None)?, Some(metrics(&client)?)),
        Target::Local(open) => {
            let status = answers::status(&open.store, &settings.data_dir, None)?;
            (serde_json::to_value::<format::Status>(status)?, None)
        }
    };
    let system = system(settings);
    add("version.txt", "which honeyguide", format!("honeyguide {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
    add(
        "configuration.toml",
        "options; of texts only defaults and names of sources, sinks and rules",
        settings.disclosed(sensors).into_bytes(),
    );
    add("status.json", "what the daemon does", pretty(&disclosed(&status, sensors)));
    if let Some(metrics) = metrics {
        add("metrics.txt", "figures", metrics);
    }
    add("ledger.ndjson", "what was done to the data, the last records", ledger(settings, sensors));
    if let Some(log) = &settings.log.file {
        add("log.ndjson", "the last lines of the log", log_lines(log, sensors));
    }
    add("files.json", "sizes of the files in the data directory", pretty(&files(&settings.data_dir)));
    add("system.json", "kernel, limits, memory, disk", pretty(&system));
    Ok(parts)
}

fn metrics(client: &Client) -> anyhow::Result<Vec<u8>> {
    client.get_bytes(&["metrics"])
}

fn pretty(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// What of a document may be shown: members of known names; of texts only words of the program's own.
fn disclosed(value: &Value, sensors: bool) -> Value {
    fn within(value: &Value, is_word: bool, sensors: bool) -> Value {
        match value {
            Value::String(text) if is_word && is_harmless(text) => value.clone(),
            Value::String(_) => HIDDEN.into(),
            Value::Array(elements) => elements.iter().map(|element| within(element, is_word, sensors)).collect(),
            Value::Object(members) => {
                let mut shown = Map::new();
                let mut left_out = 0u64;
                for (name, member) in members {
                    let is_word = WORDS.contains(&name.as_str()) || (sensors && SENSORS.contains(&name.as_str()));
                    if is_word || MEMBERS.contains(&name.as_str()) || SENSORS.contains(&name.as_str()) {
                        shown.insert(name.clone(), within(member, is_word, sensors));
                    } else {
                        left_out += 1;
                    }
                }
                if left_out > 0 {
                    shown.insert("<members left out>".to_owned(), left_out.into());
                }
                Value::Object(shown)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
    within(value, false, sensors)
}

/// A word, a name or a time, and no address: nothing with a dot between digits, no path, no URL.
fn is_harmless(text: &str) -> bool {
    let is_time = time::parse(text.as_bytes()).is_some();
    let is_word = text.len() <= 64 && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | '/'));
    is_time || (is_word && text.parse::<std::net::IpAddr>().is_err() && !text.starts_with('/'))
}

fn ledger(settings: &Settings, sensors: bool) -> Vec<u8> {
    let mut last: VecDeque<String> = VecDeque::new();
    let read = each_ledger_line(&RealFs, &Layout::new(&settings.data_dir).ledger, &mut |line| {
        if let Ok(record) = serde_json::from_slice::<Value>(line) {
            if last.len() == RECORDS_MAX {
                last.pop_front();
            }
            last.push_back(disclosed(&record, sensors).to_string());
        }
    });
    lines(last, read.err())
}

fn log_lines(path: &Path, sensors: bool) -> Vec<u8> {
    let mut last: VecDeque<String> = VecDeque::new();
    let read = tail(path).map(|text| {
        for line in text.split(|byte| *byte == b'\n') {
            let Ok(Value::Object(record)) = serde_json::from_slice::<Value>(line) else { continue };
            // The messages of the daemon's own events never hold what somebody else wrote; those of libraries may.
            let message = record.get("message").filter(|_| record.contains_key("event.action")).cloned();
            let mut shown = disclosed(&Value::Object(record), sensors);
            if let (Some(members), Some(message)) = (shown.as_object_mut(), message) {
                members.insert("message".to_owned(), message);
            }
            if last.len() == LOG_LINES_MAX {
                last.pop_front();
            }
            last.push_back(shown.to_string());
        }
    });
    lines(last, read.err())
}

/// With the reason at the end when it could not all be read; its path is not told.
fn lines(lines: VecDeque<String>, error: Option<std::io::Error>) -> Vec<u8> {
    let mut text = lines.into_iter().map(|line| line + "\n").collect::<String>();
    if let Some(error) = error {
        text.push_str(&format!("{}\n", serde_json::json!({ "cannot be read": format!("{:?}", error.kind()) })));
    }
    text.into_bytes()
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LOG_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sizes by directory and ending, and of each file in the program's own directories; names that an operator chose are not told.
fn files(data_dir: &Path) -> Value {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let (mut waiting, mut count) = (vec![(data_dir.to_owned(), String::new())], 0);
    while let Some((dir, shown)) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.len() <= 64
                && !shown.starts_with("lists")
                && name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'));
            count += 1;
            let name = if is_ours { format!("{shown}{name}") } else { format!("{shown}{HIDDEN}-{count}") };
            if metadata.is_dir() {
                waiting.push((entry.path(), format!("{name}/")));
            } else if found.len() < FILES_MAX {
                found.insert(name, serde_json::json!({ "bytes": metadata.len(), "mode": format!("{:o}", metadata.mode() & 0o7777) }));
            }
        }
        if count > FILES_MAX {
            break;
        }
    }
    serde_json::json!({ "files": found, "looked_at": count })
}

fn system(settings: &Settings) -> Value {
    let line_of = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_matches([' ', ':', '=', '"']).to_owned())
    };
    let uname = nix::sys::utsname::uname().ok();
    let field =
        |of: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| uname.as_ref().map(|uname| of(uname).to_string_lossy().into_owned());
    let disk = nix::sys::statvfs::statvfs(&settings.data_dir).ok();
    let open_files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok();
    // The name of the machine is left out.
    serde_json::json!({
        "kernel": field(nix::sys::utsname::UtsName::sysname),
        "kernel_release": field(nix::sys::utsname::UtsName::release),
        "machine": field(nix::sys::utsname::UtsName::machine),
        "os": line_of("/etc/os-release", "PRETTY_NAME"),
        "cpus": std::thread::available_parallelism().map(usize::from).ok(),
        "memory": line_of("/proc/meminfo", "MemTotal"),
        "memory_limit_bytes": limits::memory_bytes_max(),
        "open_files": open_files.map(|(soft, hard)| vec![soft, hard]),
        "disk_free_bytes": disk.as_ref().map(|disk| disk.blocks_available() * disk.fragment_size()),
        "disk_bytes": disk.as_ref().map(|disk| disk.blocks() * disk.fragment_size()),
    })
}

/// The last line of defence: what stands in files of secrets must not be in the bundle.
fn refuse_secrets(settings: &Settings, parts: &[Content]) -> anyhow::Result<()> {
    let mut files: Vec<PathBuf> = settings.sinks.iter().flat_map(|sink| sink.receiver.secrets()).cloned().collect();
    files.extend(settings.enrichers.iter().filter_map(|enricher| enricher.api_key_file.clone()));
    files.extend(settings.privacy.key_file.clone());
    for file in files {
        let mut secret = Vec::new();
        let read = File::open(&file).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_end(&mut secret));
        let secret = secret.trim_ascii();
        // Who may not read it has no part of it either.
        if read.is_err() || secret.len() < SECRET_BYTES_MIN {
            continue;
        }
        let finder = memchr::memmem::Finder::new(secret);
        if let Some((name, ..)) = parts.iter().find(|(_, _, content)| finder.find(content).is_some()) {
            let shown = printable(&file.to_string_lossy()).into_owned();
            return Err(anyhow!("what stands in {shown} would be in {name}: nothing was written; please report this without the file"));
        }
    }
    Ok(())
}

fn write(path: &Path, parts: &[Content], now: i64) -> std::io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = archive(&file, parts, now).and_then(|()| file.sync_all()).and_then(|()| Ok(file.metadata()?.len()));
    if written.is_err() {
        // Half a bundle is none.
        let _ = std::fs::remove_file(path);
    }
    written
}

fn archive(file: &File, parts: &[Content], now: i64) -> std::io::Result<()> {
    let mut bundle = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::default()));
    for (name, _, content) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now / time::MICROS_PER_SECOND).unwrap_or(0));
        header.set_cksum();
        bundle.append_data(&mut header, format!("honeyguide-support/{name}"), content.as_slice())?;
    }
    bundle.into_inner()?.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_documents_only_known_members_and_words_are_shown() {
        let record = json!({
            "@timestamp": "2026-03-22T00:00:00.000000Z", "event": "sink_ordered",
            "details": { "sink": "pager", "sequence": 7, "by": "uid 0", "sensor": "bank-dmz", "reason": "at 198.51.100.7", "hunter2": 1,
                "state": "a text of somebody's", "name": "198.51.100.7", "events": { "x": "y" }, "segments": ["secret"] },
        });
        let shown = disclosed(&record, false);
        assert_eq!(shown["event"], "sink_ordered");
        assert_eq!((&shown["details"]["sink"], &shown["details"]["sequence"]), (&json!("pager"), &json!(7)));
        let text = shown.to_string();
        for hidden in ["uid", "bank-dmz", "198.51", "hunter2", "somebody", "secret", "\"x\""] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
        assert!(disclosed(&record, true).to_string().contains("bank-dmz"));
    }
}
