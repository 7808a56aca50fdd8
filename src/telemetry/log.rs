//! The daemon's log: one record is one line, whatever attackers wrote into it.
//!
//! A record passes, in its caller's thread: the level filter, then [`Tidy`] (time taken, duplicate names resolved, long
//! values cut), then a bounded queue. When the queue is full the record is dropped and counted, and the next one that
//! fits is preceded by a line that says how many are missing: logging never waits for a disk. A thread writes the lines.
//!
//! Crates that log through `log` (actix, sled, reqwest) come in through slog-stdlog; they must be one level more severe
//! than our own records to be written, for their `info` is our `debug`.
use super::file::RollingFile;
use super::metrics::Metrics;
use super::printable::{is_hostile, prefix, printable};
use crate::config::{LogFormat, LogSettings};
use crate::events::time;
use slog::{BorrowedKV, Drain, FnValue, KV, Key, Level, Logger, Never, OwnedKVList, PushFnValue, Record, Serializer, o};
use std::ffi::OsStr;
use std::fmt;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Records waiting to be written.
const QUEUE_RECORDS: usize = 4096;
/// Longest value and longest message, bytes; the rest is cut off, and said so.
const VALUE_BYTES_MAX: usize = 4096;
/// Most values of one record.
const VALUES_MAX: usize = 64;

/// The keys every record has; a value called so is renamed.
const RESERVED: [&str; 8] = ["@timestamp", "@version", "level", "message", "log.level", "service.name", "process.pid", "event.dataset"];

/// Why the log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the log file {}: {error}", printable(&path.to_string_lossy()))]
    Open { path: PathBuf, error: io::Error },
}

/// The running log; `main` holds it. Dropping it writes what is queued.
pub struct Log {
    logger: Logger,
    control: Arc<Control>,
    // Dropped last: waits for the queue to drain.
    _queue: slog_async::AsyncGuard,
}

/// What can be changed while the log runs.
#[derive(Debug)]
struct Control {
    /// `Level::as_usize` of the least severe level written.
    level: AtomicUsize,
    reopen: AtomicBool,
}

impl Log {
    /// Starts the log on standard output and, if configured, a file.
    pub fn start(settings: &LogSettings, metrics: &Arc<Metrics>) -> Result<Log, Error> {
        let human = match settings.format {
            LogFormat::Auto => io::stdout().is_terminal(),
            LogFormat::Human => true,
            LogFormat::Json => false,
        };
        let to_journal = !human && is_journal(std::env::var_os("JOURNAL_STREAM").as_deref(), io::stdout().as_fd());
        Log::start_to(settings, metrics, Box::new(io::stdout()), Form { human, to_journal }, std::process::id())
    }

    /// The same on any writer.
    pub fn start_on(
        settings: &LogSettings,
        metrics: &Arc<Metrics>,
        out: impl Write + Send + 'static,
        human: bool,
        pid: u32,
    ) -> Result<Log, Error> {
        Log::start_to(settings, metrics, Box::new(out), Form { human, to_journal: false }, pid)
    }

    fn start_to(settings: &LogSettings, metrics: &Arc<Metrics>, out: Box<dyn Write + Send>, form: Form, pid: u32) -> Result<Log, Error> {
        let control = Arc::new(Control { level: AtomicUsize::new(settings.level.as_usize()), reopen: AtomicBool::new(false) });
        let file = match &settings.file {
            Some(path) => Some(
                RollingFile::open(path, settings.file_bytes, settings.file_keep)
                    .map_err(|error| Error::Open { path: path.clone(), error })?,
            ),
            None => None,
        };
        let sinks = Sinks { out, form, file };
        let writer = Writer::new(sinks, pid, Arc::clone(&control), Arc::clone(metrics));
        let (queue, guard) = slog_async::AsyncCore::custom(writer).chan_size(QUEUE_RECORDS).thread_name("log".into()).build_with_guard();
        let tidy =
            Tidy { queue, dropped: AtomicU64::new(0), control: Arc::clone(&control), metrics: AssertUnwindSafe(Arc::clone(metrics)) };
        Ok(Log { logger: Logger::root(tidy, o!()), control, _queue: guard })
    }

    pub fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Makes this the log of the whole process: for slog-scope, and for crates that use `log`.
    ///
    /// It stays so when this value is dropped (what is logged then goes nowhere): slog-scope would panic instead.
    pub fn serve_process(&self) {
        slog_scope::set_global_logger(self.logger.clone()).cancel_reset();
        // A second log in one process (tests) finds the bridge in place, and it follows the global logger.
        let _ = slog_stdlog::init();
        ::log::set_max_level(foreign_filter(level_of(&self.control)));
        // After a panic the process goes on (an actor is restarted), so a panic belongs into the log.
        std::panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let message = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let thread = std::thread::current();
            // Empty unless RUST_BACKTRACE asks for it.
            let backtrace = std::backtrace::Backtrace::capture();
            let captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
            // Messages of the library's panics quote texts.
            let message = if crate::redact::is_private() { Some("(withheld: a redaction policy is in force)") } else { message };
            slog_scope::with_logger(|logger| {
                slog::error!(logger, "panicked: {}", message.unwrap_or("(no message)"); "event.dataset" => "honeyguide.panic",
                    "place" => place, "thread" => thread.name().unwrap_or_default(),
                    "stack" => captured.then(|| backtrace.to_string()));
            });
        }));
    }

    pub fn set_level(&self, level: Level) {
        self.control.level.store(level.as_usize(), Ordering::Relaxed);
        ::log::set_max_level(foreign_filter(level));
    }

    /// Opens the file anew before the next record: someone moved it away.
    pub fn reopen(&self) {
        self.control.reopen.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.control.fmt(f)
    }
}

fn level_of(control: &Control) -> Level {
    Level::from_usize(control.level.load(Ordering::Relaxed)).unwrap_or(Level::Info)
}

/// The least severe level of other crates that is written.
fn foreign_level(own: Level) -> Level {
    match own {
        Level::Critical | Level::Error => own,
        Level::Warning => Level::Error,
        Level::Info => Level::Warning,
        Level::Debug => Level::Info,
        Level::Trace => Level::Debug,
    }
}

fn foreign_filter(own: Level) -> ::log::LevelFilter {
    match foreign_level(own) {
        Level::Critical | Level::Error => ::log::LevelFilter::Error,
        Level::Warning => ::log::LevelFilter::Warn,
        Level::Info => ::log::LevelFilter::Info,
        Level::Debug => ::log::LevelFilter::Debug,
        Level::Trace => ::log::LevelFilter::Trace,
    }
}

/// Filters, bounds and queues records.
struct Tidy {
    queue: slog_async::AsyncCore,
    /// Since the last line that told.
    dropped: AtomicU64,
    control: Arc<Control>,
    /// Counters only: a panic cannot leave them half changed.
    metrics: AssertUnwindSafe<Arc<Metrics>>,
}

impl Tidy {
    /// False: the queue is full.
    fn send(&self, fixed: &slog::RecordStatic<'_>, message: &str, fields: &Fields) -> bool {
        match self.queue.log(&Record::new(fixed, &format_args!("{message}"), BorrowedKV(fields)), &OwnedKVList::from(o!())) {
            Ok(()) => true,
            Err(slog_async::AsyncError::Full) => false,
            // The log has been shut down: the process is about to end.
            Err(slog_async::AsyncError::Fatal(_)) => true,
        }
    }

    fn tell_dropped(&self) {
        let count = self.dropped.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let fields = Fields {
            values: vec![
                ("@timestamp", Scalar::Text(time::format(time::now()))),
                ("event.dataset", Scalar::Text("honeyguide.log".into())),
                ("records", Scalar::Unsigned(count)),
            ],
        };
        let message = "log records were dropped, because they came faster than they could be written";
        if !self.send(&slog::record_static!(Level::Warning, ""), message, &fields) {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Drain for Tidy {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, logger_values: &OwnedKVList) -> Result<(), Never> {
        let own = record.module() == "honeyguide" || record.module().starts_with("honeyguide::");
        let level = level_of(&self.control);
        if !record.level().is_at_least(if own { level } else { foreign_level(level) }) {
            return Ok(());
        }
        let mut fields = Fields { values: vec![("@timestamp", Scalar::Text(time::format(time::now())))] };
        let dataset = fields.values.len();
        fields.values.push(("event.dataset", Scalar::Text(String::new())));
        // A value that cannot be serialised is left out; there is nobody to tell.
        let _ = logger_values.serialize(record, &mut fields);
        let _ = record.kv().serialize(record, &mut fields);
        if let (_, Scalar::Text(name)) = &mut fields.values[dataset]
            && name.is_empty()
        {
            let module = if record.module().starts_with('<') { record.tag() } else { record.module() };
            *name = cut(&module.replace("::", "."));
        }
        self.tell_dropped();
        let fixed = slog::RecordStatic { location: record.location(), tag: record.tag(), level: record.level() };
        if !self.send(&fixed, &Capped::of(record.msg()), &fields) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.metrics.log_record_lost();
        }
        Ok(())
    }
}

/// The values of a record: each name once, the last one given wins.
struct Fields {
    values: Vec<(Key, Scalar)>,
}

enum Scalar {
    Unit,
    Flag(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
}

impl Fields {
    fn put(&mut self, key: Key, value: Scalar) -> slog::Result {
        // The record's own time and kind are ours to set; other reserved names would stand in the line twice.
        let key = match key {
            "event.dataset" => key,
            "level" | "log.level" => "value.level",
            "message" => "value.message",
            key if RESERVED.contains(&key) => "value.reserved",
            key => key,
        };
        match self.values.iter().position(|(name, _)| *name == key) {
            Some(index) => self.values[index].1 = value,
            None if self.values.len() < VALUES_MAX => self.values.push((key, value)),
            None => {}
        }
        Ok(())
    }
}

fn cut(text: &str) -> String {
    match prefix(text, VALUE_BYTES_MAX) {
        short if short.len() < text.len() => format!("{short}… ({} bytes)", text.len()),
        all => all.to_string(),
    }
}

/// A string that stops growing: formatting a huge value must not take its memory first.
struct Capped {
    text: String,
    bytes: usize,
}

impl Capped {
    fn of(arguments: &fmt::Arguments<'_>) -> String {
        let mut capped = Capped { text: String::new(), bytes: 0 };
        // A `Display` that fails leaves what it had written.
        let _ = capped.write_fmt(*arguments);
        if capped.bytes > capped.text.len() {
            let bytes = capped.bytes;
            let _ = write!(capped.text, "… ({bytes} bytes)");
        }
        capped.text
    }
}

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.bytes == self.text.len() {
            self.text.push_str(prefix(text, VALUE_BYTES_MAX - self.text.len()));
        }
        self.bytes += text.len();
        Ok(())
    }
}

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.put(key, Scalar::Text(Capped::of(value)))
    }
    fn emit_str(&mut self, key: Key, value: &str) -> slog::Result {
        self.put(key, Scalar::Text(cut(value)))
    }
    fn emit_unit(&mut self, key: Key) -> slog::Result {
        self.put(key, Scalar::Unit)
    }
    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.put(key, Scalar::Unit)
    }
    fn emit_bool(&mut self, key: Key, value: bool) -> slog::Result {
        self.put(key, Scalar::Flag(value))
    }
    fn emit_u8(&mut self, key: Key, value: u8) -> slog::Result {
        self.put(key, Scalar::Unsigned(value.into()))
    }
    fn emit_u16(&mut self, key: Key, value: u16) -> slog::Result {
        self.put(key, Scalar::Unsigned(value.into()))
    }
    fn emit_u32(&mut self, key: Key, value: u32) -> slog::Result {
        self.put(key, Scalar::Unsigned(value.into()))
    }
    fn emit_u64(&mut self, key: Key, value: u64) -> slog::Result {
        self.put(key, Scalar::Unsigned(value))
    }
    fn emit_usize(&mut self, key: Key, value: usize) -> slog::Result {
        self.put(key, Scalar::Unsigned(value as u64))
    }
    fn emit_i8(&mut self, key: Key, value: i8) -> slog::Result {
        self.put(key, Scalar::Signed(value.into()))
    }
    fn emit_i16(&mut self, key: Key, value: i16) -> slog::Result {
        self.put(key, Scalar::Signed(value.into()))
    }
    fn emit_i32(&mut self, key: Key, value: i32) -> slog::Result {
        self.put(key, Scalar::Signed(value.into()))
    }
    fn emit_i64(&mut self, key: Key, value: i64) -> slog::Result {
        self.put(key, Scalar::Signed(value))
    }
    fn emit_isize(&mut self, key: Key, value: isize) -> slog::Result {
        self.put(key, Scalar::Signed(value as i64))
    }
    fn emit_f32(&mut self, key: Key, value: f32) -> slog::Result {
        self.put(key, Scalar::Float(value.into()))
    }
    fn emit_f64(&mut self, key: Key, value: f64) -> slog::Result {
        self.put(key, Scalar::Float(value))
    }
}

impl KV for Fields {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        self.values.iter().try_for_each(|(key, value)| match value {
            Scalar::Unit => serializer.emit_none(key),
            Scalar::Flag(value) => serializer.emit_bool(key, *value),
            Scalar::Unsigned(value) => serializer.emit_u64(key, *value),
            Scalar::Signed(value) => serializer.emit_i64(key, *value),
            Scalar::Float(value) => serializer.emit_f64(key, *value),
            Scalar::Text(value) => serializer.emit_str(key, value),
        })
    }
}

/// Turns records into lines and writes each with one call; lives in the log's thread.
struct Writer {
    /// What slog-json has written of the current record.
    line: Line,
    json: Mutex<slog_json::Json<Line>>,
    sinks: Mutex<Sinks>,
    control: Arc<Control>,
    metrics: Arc<Metrics>,
}

/// How lines look on standard output.
#[derive(Clone, Copy, Debug)]
struct Form {
    human: bool,
    /// With the level before each line as sd-daemon(3) has it, so that `journalctl --priority` finds it.
    to_journal: bool,
}

/// Whether the stream is the one that systemd connected to its journal: inode and device are in `$JOURNAL_STREAM`.
fn is_journal(stream: Option<&OsStr>, out: BorrowedFd<'_>) -> bool {
    let told = stream.and_then(OsStr::to_str).and_then(|told| told.split_once(':'));
    let Some((Ok(device), Ok(inode))) = told.map(|(device, inode)| (device.parse::<u64>(), inode.parse::<u64>())) else { return false };
    nix::sys::stat::fstat(out).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (device, inode))
}

/// The level as syslog counts, before a line for the journal.
fn journal_prefix(level: Level) -> &'static [u8] {
    match level {
        Level::Critical => b"<2>",
        Level::Error => b"<3>",
        Level::Warning => b"<4>",
        Level::Info => b"<6>",
        Level::Debug | Level::Trace => b"<7>",
    }
}

struct Sinks {
    out: Box<dyn Write + Send>,
    form: Form,
    file: Option<RollingFile>,
}

#[derive(Clone, Default)]
struct Line(Arc<Mutex<Vec<u8>>>);

impl Line {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer {
    fn new(sinks: Sinks, pid: u32, control: Arc<Control>, metrics: Arc<Metrics>) -> Writer {
        let line = Line::default();
        let level = |record: &Record<'_>| record.level().as_str();
        let json = slog_json::Json::new(line.clone()).set_newlines(false).add_key_value(o!(
            "process.pid" => pid,
            "service.name" => "honeyguide",
            "message" => PushFnValue(|record: &Record<'_>, serializer| serializer.emit(record.msg())),
            "log.level" => FnValue(move |record: &Record<'_>| level(record).to_lowercase()),
            "level" => FnValue(level),
            "@version" => "1",
        ));
        Writer { line, json: Mutex::new(json.build()), sinks: Mutex::new(sinks), control, metrics }
    }

    fn json_line(&self, record: &Record<'_>, values: &OwnedKVList) -> Option<Vec<u8>> {
        let json = self.json.lock().unwrap_or_else(PoisonError::into_inner);
        let result = json.log(record, values);
        let line = self.line.take();
        result.is_ok().then(|| one_harmless_line(line))
    }
}

impl Drain for Writer {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let json = if !sinks.form.human || sinks.file.is_some() { self.json_line(record, values) } else { None };
        let mut written = true;
        if sinks.form.human {
            let line = human_line(record);
            written &= sinks.out.write_all(line.as_bytes()).and_then(|()| sinks.out.flush()).is_ok();
        } else {
            let prefix = if sinks.form.to_journal { journal_prefix(record.level()) } else { b"" };
            // In one piece: lines of several writers may share the stream.
            let line = json.as_ref().map(|line| [prefix, line.as_slice()].concat());
            written &= line.is_some_and(|line| sinks.out.write_all(&line).and_then(|()| sinks.out.flush()).is_ok());
        }
        if let Some(file) = &mut sinks.file {
            if self.control.reopen.swap(false, Ordering::Relaxed) {
                // A failure shows again, and is counted, with the write.
                let _ = file.reopen();
            }
            written &= json.as_ref().is_some_and(|line| file.write_record(line).is_ok());
        }
        if !written {
            self.metrics.log_record_lost();
        }
        Ok(())
    }
}

/// JSON as slog-json writes it, with the characters that JSON allows and terminals and line readers do not escaped too.
///
/// Such characters can only be inside strings, where `\uXXXX` means the same.
fn one_harmless_line(json: Vec<u8>) -> Vec<u8> {
    // slog-json writes UTF-8; if it ever does not, a replacement character is the harmless choice.
    let text = String::from_utf8_lossy(&json);
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_hostile(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(line, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line.into_bytes()
}

/// `2026-03-22T00:10:42Z WARNING message  key=value key="a value"`
fn human_line(record: &Record<'_>) -> String {
    struct Human(String, Option<String>);
    impl Serializer for Human {
        fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
            let value = value.to_string();
            match key {
                "@timestamp" => self.1 = Some(value),
                "event.dataset" => {}
                _ if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=') => {
                    let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
                    write!(self.0, " {key}=\"{}\"", printable(&quoted))?;
                }
                _ => write!(self.0, " {key}={}", printable(&value))?,
            }
            Ok(())
        }
    }
    let mut human = Human(String::new(), None);
    // A value that cannot be written is left out.
    let _ = record.kv().serialize(record, &mut human);
    let time = human.1.unwrap_or_default();
    let seconds = time.get(..19).unwrap_or_default();
    let message = record.msg().to_string();
    let gap = if human.0.is_empty() { "" } else { " " };
    format!("{seconds}Z {:<7} {}{gap}{}\n", record.level().as_str(), printable(&message), human.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;
    use crate::telemetry::events::{LinesRefused, SegmentSealed};
    use std::sync::Condvar;
    use std::time::Duration;

    /// Keeps each `write` call.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").push(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn lines(&self) -> Vec<String> {
            self.0.lock().expect("not poisoned").iter().map(|line| String::from_utf8(line.clone()).expect("UTF-8")).collect()
        }
    }

    fn settings(level: Level) -> LogSettings {
        LogSettings { level, format: LogFormat::Json, file: None, file_bytes: 1 << 20, file_keep: 2 }
    }

    /// What `write` makes the log write.
    fn logged(level: Level, human: bool, write: impl FnOnce(&Log, &Logger)) -> Vec<String> {
        let out = Written::default();
        let log = Log::start_on(&settings(level), &Metrics::new(None), out.clone(), human, 42).expect("started");
        let logger = log.logger().clone();
        write(&log, &logger);
        drop(log);
        out.lines()
    }

    /// The time is the only thing that differs from run to run.
    fn without_time(line: &str) -> String {
        let start = line.find("\"@timestamp\":\"").expect("a time") + 14;
        assert!(time::parse(&line.as_bytes()[start..start + 27]).is_some(), "{line}");
        format!("{}TIME{}", &line[..start], &line[start + 27..])
    }

    #[test]
    fn a_record_is_exactly_this() {
        let lines = logged(Level::Info, false, |_, logger| {
            let telemetry = Telemetry::new(logger.clone(), Metrics::new(None));
            telemetry.emit(&SegmentSealed {
                segment: 7,
                events: 131_072,
                raw_bytes: 67_108_864,
                journal_bytes: 4_000_000,
                sidecar_bytes: 3_000_000,
                digest: "00ff",
                duration: Duration::from_millis(250),
            });
        });
        let expected = concat!(
            r#"{"@version":"1","level":"INFO","log.level":"info","message":"segment sealed","service.name":"honeyguide","process.pid":42,"#,
            r#""@timestamp":"TIME","event.dataset":"honeyguide.journal","event.action":"segment_sealed","segment":7,"events":131072,"#,
            r#""raw_bytes":67108864,"journal_bytes":4000000,"sidecar_bytes":3000000,"digest":"00ff","duration":0.25}"#,
            "\n"
        );
        assert_eq!(lines.iter().map(|line| without_time(line)).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn hostile_text_stays_within_its_line_and_says_the_same_when_parsed() {
        let hostile = [
            "\x1b[2J\x1b]0;owned\x07",
            "two\nlines\r\nthree",
            "nul\0byte",
            "\u{202e}gpj.exe\u{2069}",
            "\u{2028}\u{2029}\u{85}\u{9b}31m",
            "\"},{\"level\":\"CRITICAL\"",
            "\u{e0041}\u{feff}\u{200b}\x7f",
            &String::from_utf8_lossy(b"\xff\xfe\xc3("),
            "",
        ];
        let lines = logged(Level::Info, false, |_, logger| {
            for text in hostile {
                slog::warn!(logger, "said {}", text; "said" => text, "twice" => 1, "twice" => text);
                slog::warn!(logger, "said {}", text; "message" => text, "@timestamp" => text, "level" => text, "event.dataset" => text);
            }
        });
        assert_eq!(lines.len(), 2 * hostile.len());
        for (pair, text) in lines.chunks(2).zip(hostile) {
            for line in pair {
                assert!(line.ends_with('\n') && !line.trim_end_matches('\n').chars().any(is_hostile), "{line:?}");
                let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
                assert_eq!(record["message"], format!("said {text}"));
                assert_eq!((&record["level"], &record["log.level"]), (&"WARNING".into(), &"warning".into()));
                assert_eq!(line.matches("\"message\":").count(), 1);
            }
            let first: serde_json::Value = serde_json::from_str(&pair[0]).expect("JSON");
            assert_eq!(first["said"], *text);
            let second: serde_json::Value = serde_json::from_str(&pair[1]).expect("JSON");
            assert_eq!(second["value.message"], *text);
            assert!(time::parse(second["@timestamp"].as_str().expect("text").as_bytes()).is_some());
        }
    }

    #[test]
    fn long_values_are_cut_and_their_length_told() {
        let lines = logged(Level::Info, false, |_, logger| {
            let long = "é".repeat(10 << 20);
            slog::error!(logger, "{}", long; "text" => long.as_str(), "formatted" => format_args!("{long}{long}"));
        });
        assert!(lines[0].len() < 4 * VALUE_BYTES_MAX, "{}", lines[0].len());
        let record: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
        for (key, bytes) in [("message", 20 << 20), ("text", 20 << 20), ("formatted", 40 << 20)] {
            assert!(record[key].as_str().expect("text").ends_with(&format!("é… ({bytes} bytes)")), "{key}");
        }
    }

    #[test]
    fn for_a_terminal_a_record_is_one_readable_harmless_line() {
        let lines = logged(Level::Info, true, |_, logger| {
            let telemetry = Telemetry::new(logger.clone(), Metrics::new(None));
            let path = "/var/log/\x1b[2Ja \"b\"\n";
            let reason = crate::sources::Reason::TooDeep;
            telemetry.emit(&LinesRefused { source: "c", path, offset: 9, reason, count: 1, detail: "" });
        });
        let (time, rest) = lines[0].split_once(' ').expect("a time");
        assert!(time::parse(time.as_bytes()).is_some(), "{time}");
        assert_eq!(
            rest,
            "WARNING input refused and put into quarantine  event.action=lines_refused source=c \
             path=\"/var/log/\\u{1b}[2Ja \\\"b\\\"\\u{a}\" offset=9 reason=too_deep count=1 detail=\"\"\n"
        );
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn the_journal_is_told_the_level_of_each_line() {
        let out = Written::default();
        let form = Form { human: false, to_journal: true };
        let log = Log::start_to(&settings(Level::Info), &Metrics::new(None), Box::new(out.clone()), form, 42).expect("started");
        slog::info!(log.logger(), "one");
        slog::warn!(log.logger(), "<0>two\n<0>");
        slog::error!(log.logger(), "three");
        slog::crit!(log.logger(), "four");
        drop(log);
        let lines = out.lines();
        let starts: Vec<&str> = lines.iter().map(|line| &line[..4]).collect();
        assert_eq!(starts, ["<6>{", "<4>{", "<3>{", "<2>{"]);
        // What attackers wrote cannot be a prefix: it is inside one line of JSON.
        assert_eq!(lines[1].matches('\n').count(), 1);
    }

    #[test]
    fn the_journal_is_known_by_its_inode() {
        let file = tempfile::tempfile().expect("temporary file");
        let stat = nix::sys::stat::fstat(&file).expect("open");
        let stream = |text: String| is_journal(Some(OsStr::new(&text)), file.as_fd());
        assert!(stream(format!("{}:{}", stat.st_dev, stat.st_ino)));
        assert!(!stream(format!("{}:{}", stat.st_dev, stat.st_ino + 1)) && !stream("8".into()) && !stream("a:b".into()));
        assert!(!is_journal(None, file.as_fd()));
    }

    #[test]
    fn levels_are_filtered_and_can_change_while_running() {
        let lines = logged(Level::Warning, false, |log, logger| {
            slog::info!(logger, "one");
            slog::warn!(logger, "two");
            log.set_level(Level::Debug);
            slog::debug!(logger, "three");
            slog::trace!(logger, "four");
            log.set_level(Level::Critical);
            slog::error!(logger, "five");
            slog::crit!(logger, "six");
        });
        let messages: Vec<String> = lines
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["message"].as_str().expect("text").into())
            .collect();
        assert_eq!(messages, ["two", "three", "six"]);
    }

    #[test]
    fn other_crates_must_be_one_level_more_severe() {
        let lines = logged(Level::Info, false, |_, logger| {
            let location = slog::RecordLocation { file: "", line: 0, column: 0, function: "", module: "sled::pagecache" };
            for level in [Level::Info, Level::Warning, Level::Trace] {
                let fixed = slog::RecordStatic { location: &location, level, tag: "sled::pagecache" };
                logger.log(&Record::new(&fixed, &format_args!("of sled"), slog::b!()));
            }
        });
        assert_eq!(lines.len(), 1);
        let record: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
        assert_eq!((&record["level"], &record["event.dataset"]), (&"WARNING".into(), &"sled.pagecache".into()));
    }

    /// A disk that stands still until told.
    #[derive(Clone, Default)]
    struct Stuck(Arc<(Mutex<(bool, bool)>, Condvar)>, Written);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (state, changed) = &*self.0;
            let mut state = state.lock().expect("not poisoned");
            state.0 = true;
            changed.notify_all();
            drop(changed.wait_while(state, |(_, free)| !*free).expect("not poisoned"));
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_drops_counts_and_tells() {
        let out = Stuck::default();
        let metrics = Metrics::new(None);
        let log = Log::start_on(&settings(Level::Info), &metrics, out.clone(), false, 1).expect("started");
        let (state, changed) = &*out.0;
        slog::info!(log.logger(), "first");
        // The writer holds the first record, so the queue is empty.
        drop(changed.wait_while(state.lock().expect("not poisoned"), |(waiting, _)| !*waiting).expect("not poisoned"));
        for i in 0..QUEUE_RECORDS + 10 {
            slog::info!(log.logger(), "{}", i);
        }
        assert_eq!(metrics.snapshot().log_records_lost, 10);
        state.lock().expect("not poisoned").1 = true;
        changed.notify_all();
        let queued = || out.1.0.lock().expect("not poisoned").len();
        while queued() < QUEUE_RECORDS + 1 {
            std::thread::yield_now();
        }
        slog::info!(log.logger(), "last");
        drop(log);
        let lines = out.1.lines();
        assert_eq!(lines.len(), QUEUE_RECORDS + 3);
        assert!(lines[QUEUE_RECORDS + 1].contains("\"records\":10"), "{}", lines[QUEUE_RECORDS + 1]);
        assert!(lines[QUEUE_RECORDS + 2].contains("\"last\""));
    }

    #[test]
    fn the_file_gets_json_too_and_is_opened_anew_on_demand() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("honeyguide.log");
        let settings = LogSettings { file: Some(path.clone()), ..settings(Level::Info) };
        let out = Written::default();
        let metrics = Metrics::new(None);
        let log = Log::start_on(&settings, &metrics, out.clone(), true, 1).expect("started");
        slog::info!(log.logger(), "one");
        while !std::fs::read_to_string(&path).expect("readable").contains("one") {
            std::thread::yield_now();
        }
        std::fs::rename(&path, dir.path().join("moved")).expect("moved");
        log.reopen();
        slog::info!(log.logger(), "two");
        drop(log);
        assert!(std::fs::read_to_string(&path).expect("readable").starts_with("{\"@version\":\"1\",\"level\":\"INFO\","));
        assert_eq!(out.lines().len(), 2);
        assert!(out.lines()[1].ends_with("Z INFO    two\n"), "{:?}", out.lines());
        let error =
            Log::start_on(&LogSettings { file: Some("/nosuch/x".into()), ..settings }, &metrics, out, true, 1).expect_err("refused");
        assert_eq!(error.to_string(), "cannot open the log file /nosuch/x: No such file or directory (os error 2)");
    }
}
