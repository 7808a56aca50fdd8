//! `honeyguide check`: what `run` would do, and what would keep it from starting.
use super::context::{Context, Exit};
use super::terminal::{Align, Colour, Output, Table, bytes, escape};
use super::{format, print};
use crate::config::{self, Error, Origin, Problem, Settings};
use crate::events::time;
use crate::os::{lock, owner};
use crate::redact::Stage;
use crate::sources::finder::Finder;
use crate::store::Layout;
use nix::unistd::{AccessFlags, access};
use serde::Serialize;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub fn run(context: &Context) -> anyhow::Result<Exit> {
    let settings = match config::load(context.global.config.as_deref(), context.global.data.as_deref()) {
        Ok(settings) => settings,
        Err(error) if context.global.json => {
            print::text(format::json(&Refused::of(error), &context.output)? + "\n")?;
            return Ok(Exit::Usage);
        }
        Err(error) => return Err(super::context::Usage(error.to_string()).into()),
    };
    let mut obstacles = Vec::new();
    if let Err(error) = owner::become_owner_of(&settings.data_dir) {
        obstacles.push(error.to_string());
    }
    let report = Report::of(&settings, obstacles);
    if context.global.json {
        print::text(format::json(&report, &context.output)? + "\n")?;
    } else {
        print::text(report.render(&context.output))?;
    }
    Ok(if report.obstacles.is_empty() { Exit::Done } else { Exit::Usage })
}

/// Everything `check` tells; its JSON form is the answer to `--json`.
#[derive(Debug, Serialize)]
struct Report {
    valid: bool,
    /// The file that was read.
    config: Option<PathBuf>,
    data: PathBuf,
    /// Process id of the daemon that runs on the data directory.
    daemon: Option<u32>,
    journal: PathBuf,
    socket: PathBuf,
    listen: Option<String>,
    log_file: Option<PathBuf>,
    changed: Vec<Changed>,
    /// Of the configuration, beside those that are built in and shipped.
    formats: Vec<&'static str>,
    sources: Vec<SourceReport>,
    sinks: Vec<SinkReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<ArchiveReport>,
    /// What is redacted, a line for each rule; and what is wrong with the key.
    redaction: Vec<String>,
    redaction_problems: Vec<String>,
    enrichers: Vec<EnricherReport>,
    issuers: Vec<IssuerReport>,
    alerts: Vec<AlertReport>,
    /// Listeners for what is pushed, and what comes there.
    receivers: Vec<String>,
    /// What would keep `run` from starting.
    obstacles: Vec<String>,
}

/// A value that is not the default.
#[derive(Debug, Serialize)]
struct Changed {
    key: String,
    value: String,
    default: &'static str,
    set_in: String,
}

#[derive(Debug, Serialize)]
struct SourceReport {
    name: String,
    format: &'static str,
    set_in: String,
    patterns: Vec<String>,
    files: u64,
    bytes: u64,
    newest: Option<PathBuf>,
    newest_at: Option<String>,
    /// What `run` could not read, as things are now.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SinkReport {
    name: String,
    r#type: &'static str,
    set_in: String,
    /// Path or URL, with nothing secret in it.
    place: String,
    filter: Option<String>,
    start: &'static str,
    may_lose: bool,
    /// What would keep it from delivering, as things are now, and secrets that others can read.
    problems: Vec<String>,
}

/// Where evidence goes before it is removed.
#[derive(Debug, Serialize)]
struct ArchiveReport {
    to: String,
    formats: Vec<&'static str>,
    /// What would keep it from archiving, and so retention from removing, as things are now; nothing is asked of S3.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct EnricherReport {
    name: String,
    r#type: &'static str,
    set_in: String,
    /// URL, with nothing secret in it.
    place: String,
    kinds: Vec<&'static str>,
    quota_per_minute: u32,
    quota_per_day: u32,
    /// What would keep it from being asked, as things are now, and keys that others can read.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct IssuerReport {
    issuer: String,
    set_in: String,
    audience: String,
    /// What values of the claim mean: `soc = analyst`.
    roles: Vec<String>,
    /// Where it says which sensors somebody may see.
    sensors_claim: Option<String>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AlertReport {
    name: String,
    when: &'static str,
    set_in: String,
    /// What it waits for, in words.
    condition: String,
    to: Vec<String>,
    cooldown_seconds: u64,
}

/// The answer of `--json` about a configuration that is refused.
#[derive(Debug, Serialize)]
struct Refused {
    valid: bool,
    problems: Vec<Place>,
}

#[derive(Debug, Serialize)]
struct Place {
    file: Option<PathBuf>,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
}

impl Refused {
    fn of(error: Error) -> Refused {
        let problems = match error {
            Error::Refused { problems } => problems.into_iter().map(Place::of).collect(),
            other => vec![Place { file: None, line: None, column: None, message: other.to_string() }],
        };
        Refused { valid: false, problems }
    }
}

impl Place {
    fn of(problem: Problem) -> Place {
        match problem.origin {
            Origin::File(place) => {
                Place { file: Some(place.file.to_path_buf()), line: Some(place.line), column: Some(place.column), message: problem.message }
            }
            origin => Place { file: None, line: None, column: None, message: format!("{origin}: {}", problem.message) },
        }
    }
}

impl Report {
    fn of(settings: &Settings, mut obstacles: Vec<String>) -> Report {
        let daemon = lock::holder(&settings.data_dir);
        if daemon.is_none() {
            find_obstacles(settings, &mut obstacles);
        }
        let changed = settings.values().filter(|(.., origin)| *origin != Origin::Default).map(|(group, key, value, origin)| Changed {
            key: if group.name.is_empty() { key.name.into() } else { format!("{}.{}", group.name, key.name) },
            value,
            default: key.default,
            set_in: origin.to_string(),
        });
        let sources = settings.sources.iter().zip(settings.source_places());
        let sinks = settings.sinks.iter().zip(settings.sink_places());
        let enrichers = settings.enrichers.iter().zip(settings.enricher_places());
        let issuers = settings.issuers.iter().zip(settings.issuer_places());
        Report {
            valid: true,
            config: settings.file.clone(),
            data: settings.data_dir.clone(),
            daemon,
            journal: Layout::new(&settings.data_dir).journal,
            socket: settings.admin.socket.clone(),
            listen: settings.admin.listen.map(|listen| listen.to_string()),
            log_file: settings.log.file.clone(),
            changed: changed.filter(|changed| changed.value != changed.default).collect(),
            formats: settings.formats.iter().map(|format| format.name()).collect(),
            sources: sources.map(|(source, place)| SourceReport::of(source, &place.to_string())).collect(),
            sinks: sinks.map(|(sink, place)| SinkReport::of(sink, place.to_string())).collect(),
            archive: ArchiveReport::of(settings),
            redaction: settings.privacy.rules.iter().map(ToString::to_string).collect(),
            redaction_problems: redaction_problems(settings),
            enrichers: enrichers.map(|(enricher, place)| EnricherReport::of(enricher, place.to_string())).collect(),
            issuers: issuers.map(|(issuer, place)| IssuerReport::of(issuer, place.to_string())).collect(),
            alerts: settings.alerts.rules.iter().zip(settings.alert_places()).map(AlertReport::of).collect(),
            receivers: settings.receivers.iter().map(receiver_line).collect(),
            obstacles,
        }
    }

    fn render(&self, output: &Output) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            let name = output.paint(Colour::Quiet, &format!("{name:<9}"));
            let _ = writeln!(text, "{name} {value}");
        };
        let shown = |path: &Path| escape(&path.to_string_lossy()).into_owned();
        row("config", &self.config.as_deref().map_or_else(|| "no file: all values are defaults".into(), shown));
        let state = match self.daemon {
            Some(pid) => format!("a daemon runs on it (process {pid})"),
            None if self.journal.exists() => "no daemon runs on it".into(),
            None => "not there yet: the first start makes it".into(),
        };
        row("data", &format!("{}: {state}", shown(&self.data)));
        row("journal", &shown(&self.journal));
        row("socket", &shown(&self.socket));
        row("listen", self.listen.as_deref().unwrap_or("no TCP port"));
        for receiver in &self.receivers {
            row("receives", receiver);
        }
        if let Some(file) = &self.log_file {
            row("log", &shown(file));
        }
        if !self.formats.is_empty() {
            row("formats", &self.formats.join(", "));
        }
        for rule in &self.redaction {
            row("redacts", &escape(rule));
        }
        for problem in &self.redaction_problems {
            row("", &output.paint(Colour::Warning, &escape(problem)));
        }
        if !self.changed.is_empty() {
            let mut table = Table::new(&[("differs from the default", Align::Left), ("value", Align::Left), ("set in", Align::Left)]);
            for changed in &self.changed {
                table.row([changed.key.as_str().into(), changed.value.as_str().into(), changed.set_in.as_str().into()]);
            }
            let _ = write!(text, "\n{}", table.render(output));
        }
        if self.sources.is_empty() {
            let none = "no source is configured: nothing is followed, only what `honeyguide load` brings is stored";
            let _ = writeln!(text, "\n{}", output.paint(Colour::Warning, none));
        }
        for source in &self.sources {
            source.render(&mut text, output);
        }
        for sink in &self.sinks {
            sink.render(&mut text, output);
        }
        if let Some(archive) = &self.archive {
            archive.render(&mut text, output);
        }
        for enricher in &self.enrichers {
            enricher.render(&mut text, output);
        }
        for issuer in &self.issuers {
            issuer.render(&mut text, output);
        }
        for alert in &self.alerts {
            alert.render(&mut text, output);
        }
        text.push('\n');
        for obstacle in &self.obstacles {
            let _ = writeln!(text, "{}", output.paint(Colour::Bad, &format!("run would refuse to start: {}", escape(obstacle))));
        }
        if self.obstacles.is_empty() {
            let good = if self.daemon.is_some() { "this configuration is valid" } else { "run would start" };
            let _ = writeln!(text, "{}", output.paint(Colour::Good, good));
        }
        text
    }
}

impl SinkReport {
    fn of(sink: &config::SinkSettings, set_in: String) -> SinkReport {
        let mut problems: Vec<String> = sink.receiver.secrets().into_iter().filter_map(|file| secret_problem(file)).collect();
        match &sink.receiver {
            config::Receiver::File(file) => problems.extend(file_problem(&file.path)),
            _ => {
                let ca_file = sink.receiver.http().and_then(|http| http.ca_file.as_deref());
                problems.extend(ca_file.filter(|file| access(*file, AccessFlags::R_OK).is_err()).map(unreadable));
            }
        }
        SinkReport {
            name: sink.name.to_string(),
            r#type: sink.receiver.kind(),
            set_in,
            place: sink.receiver.place(),
            filter: sink.filter.as_ref().map(|(text, _)| text.clone()),
            start: if sink.start == config::Start::End { "end" } else { "beginning" },
            may_lose: sink.may_lose,
            problems,
        }
    }

    fn render(&self, text: &mut String, output: &Output) {
        let head = output.paint(Colour::Strong, &format!("sink {}", self.name));
        let _ = writeln!(text, "\n{head}  {}, {}", self.r#type, escape(&self.set_in));
        let _ = writeln!(text, "  {}", escape(&self.place));
        let what = self.filter.as_deref().map_or("all events".to_owned(), |filter| format!("events that match {}", escape(filter)));
        let lose = if self.may_lose { "; retention does not wait for it" } else { "" };
        let _ = writeln!(text, "  {what}, from the {} when first seen{lose}", self.start);
        for problem in &self.problems {
            let _ = writeln!(text, "  {}", output.paint(Colour::Warning, &escape(problem)));
        }
    }
}

impl ArchiveReport {
    fn of(settings: &Settings) -> Option<ArchiveReport> {
        let archive = settings.archive.settings()?;
        let mut problems: Vec<String> = settings.archive.secrets().into_iter().filter_map(|file| secret_problem(file)).collect();
        if problems.is_empty() {
            problems = crate::archive::problems(&archive, &settings.data_dir);
        }
        Some(ArchiveReport { to: archive.to.place(), formats: archive.formats.iter().map(|format| format.name()).collect(), problems })
    }

    fn render(&self, text: &mut String, output: &Output) {
        let _ = writeln!(text, "\n{}  {}", output.paint(Colour::Strong, "archive"), self.formats.join(", "));
        let _ = writeln!(text, "  {}", escape(&self.to));
        for problem in &self.problems {
            let told = format!("{}; retention removes nothing until it works", escape(problem));
            let _ = writeln!(text, "  {}", output.paint(Colour::Warning, &told));
        }
    }
}

impl EnricherReport {
    fn of(enricher: &config::EnricherSettings, set_in: String) -> EnricherReport {
        let mut problems: Vec<String> = enricher.api_key_file.iter().filter_map(|file| secret_problem(file)).collect();
        let ca_file = enricher.ca_file.as_deref();
        problems.extend(ca_file.filter(|file| access(*file, AccessFlags::R_OK).is_err()).map(unreadable));
        EnricherReport {
            name: enricher.name.to_string(),
            r#type: enricher.service.name(),
            set_in,
            place: crate::sinks::http::shown(&enricher.url),
            kinds: enricher.kinds.iter().map(|kind| kind.name()).collect(),
            quota_per_minute: enricher.quota.per_minute,
            quota_per_day: enricher.quota.per_day,
            problems,
        }
    }

    fn render(&self, text: &mut String, output: &Output) {
        let head = output.paint(Colour::Strong, &format!("enricher {}", self.name));
        let _ = writeln!(text, "\n{head}  {}, {}", self.r#type, escape(&self.set_in));
        let _ = writeln!(text, "  {}", escape(&self.place));
        let quota = format!("at most {} a minute, {} a day", self.quota_per_minute, self.quota_per_day);
        let _ = writeln!(text, "  asked about {}, when told to; {quota}", self.kinds.join(", "));
        for problem in &self.problems {
            let _ = writeln!(text, "  {}", output.paint(Colour::Warning, &escape(problem)));
        }
    }
}

impl AlertReport {
    fn of((rule, place): (&crate::alerts::Rule, &config::Place)) -> AlertReport {
        AlertReport {
            name: rule.name.to_string(),
            when: rule.when.name(),
            set_in: place.to_string(),
            condition: rule.when.to_string(),
            to: rule.to.iter().map(ToString::to_string).collect(),
            cooldown_seconds: rule.cooldown.as_secs(),
        }
    }

    fn render(&self, text: &mut String, output: &Output) {
        let head = output.paint(Colour::Strong, &format!("alert {}", self.name));
        let to = if self.to.is_empty() { "log and metrics only".to_owned() } else { self.to.join(", ") };
        let _ = writeln!(text, "\n{head}  {}, {}", self.when, escape(&self.set_in));
        let _ = writeln!(text, "  {}; tells {to}, then nothing new for {} s", escape(&self.condition), self.cooldown_seconds);
    }
}

fn unreadable(file: &Path) -> String {
    format!("{} cannot be read by this user", file.display())
}

impl IssuerReport {
    fn of(issuer: &config::IssuerSettings, set_in: String) -> IssuerReport {
        let ca_file = issuer.ca_file.as_deref();
        IssuerReport {
            issuer: issuer.issuer.clone(),
            set_in,
            audience: issuer.audience.clone(),
            roles: issuer.roles.iter().map(|(value, role)| format!("{value} = {role}")).collect(),
            sensors_claim: issuer.sensors_claim.clone(),
            problems: ca_file.filter(|file| access(*file, AccessFlags::R_OK).is_err()).map(unreadable).into_iter().collect(),
        }
    }

    fn render(&self, text: &mut String, output: &Output) {
        let head = output.paint(Colour::Strong, &format!("issuer {}", escape(&self.issuer)));
        let _ = writeln!(text, "\n{head}  {}", escape(&self.set_in));
        let sensors = self.sensors_claim.as_ref().map_or("all sensors".to_owned(), |claim| format!("sensors by the claim {claim}"));
        let _ = writeln!(text, "  tokens for {}: {}; {}", escape(&self.audience), escape(&self.roles.join(", ")), escape(&sensors));
        for problem in &self.problems {
            let _ = writeln!(text, "  {}", output.paint(Colour::Warning, &escape(problem)));
        }
    }
}

/// What is wrong with the key of privacy.
fn redaction_problems(settings: &Settings) -> Vec<String> {
    let stores = settings.privacy.rules.iter().any(|rule| rule.stage == Stage::Store);
    match &settings.privacy.key_file {
        Some(file) => secret_problem(file).into_iter().collect(),
        None if stores => {
            let remedy = "`openssl rand -hex 32 > FILE`, and key_file = \"FILE\" in [privacy]";
            vec![format!("there is no key: who has the data can try out by an event's id what its line may have been; {remedy}")]
        }
        None => Vec::new(),
    }
}

/// What is wrong with a file that holds a secret. The secret itself is not looked at.
fn secret_problem(file: &Path) -> Option<String> {
    let Ok(metadata) = std::fs::metadata(file) else { return Some(format!("{} is not there, or cannot be looked at", file.display())) };
    if access(file, AccessFlags::R_OK).is_err() {
        return Some(unreadable(file));
    }
    let others = metadata.mode() & 0o007 != 0;
    others.then(|| format!("{} holds a secret and every local user can read it: chmod o= it", file.display()))
}

fn file_problem(path: &Path) -> Option<String> {
    let mut obstacles = Vec::new();
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_symlink() => {
            return Some(format!("{} is a symbolic link: it is not written through", path.display()));
        }
        Ok(metadata) if !metadata.is_file() => return Some(format!("{} is no regular file", path.display())),
        _ => existing_directory(path.parent().unwrap_or(Path::new("/")), "the directory of the file", &mut obstacles),
    }
    obstacles.pop()
}

impl SourceReport {
    fn of(source: &config::SourceSettings, place: &str) -> SourceReport {
        let patterns: Vec<String> = source.patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        let mut report = SourceReport {
            name: source.name.to_string(),
            format: source.format.name(),
            set_in: place.to_owned(),
            files: 0,
            bytes: 0,
            newest: None,
            newest_at: None,
            problems: Vec::new(),
            patterns: patterns.clone(),
        };
        let listing = match Finder::new(&patterns, &source.roots) {
            Ok(finder) => finder.list(),
            Err(error) => {
                report.problems.push(error.to_string());
                return report;
            }
        };
        report.problems.extend(listing.conditions.iter().map(ToString::to_string));
        let mut newest = i64::MIN;
        for found in &listing.files {
            report.files += 1;
            report.bytes += found.len;
            if access(&found.path, AccessFlags::R_OK).is_err() {
                report.problems.push(format!("{} cannot be read by this user", found.path.display()));
            }
            let modified = std::fs::metadata(&found.path).map_or(i64::MIN, |metadata| metadata.mtime());
            if modified > newest {
                newest = modified;
                report.newest = Some(found.path.clone());
                report.newest_at = Some(time::format(modified.saturating_mul(time::MICROS_PER_SECOND)));
            }
        }
        report
    }

    fn render(&self, text: &mut String, output: &Output) {
        let head = output.paint(Colour::Strong, &format!("source {}", self.name));
        let _ = writeln!(text, "\n{head}  {}, {}", self.format, escape(&self.set_in));
        for pattern in &self.patterns {
            let _ = writeln!(text, "  {}", escape(pattern));
        }
        match (&self.newest, &self.newest_at) {
            (Some(newest), Some(at)) => {
                let files = format::plural(self.files, "file", "files");
                let at = at.get(..19).unwrap_or(at).replace('T', " ");
                let _ = writeln!(text, "  {files}, {}; newest {} ({at} UTC)", bytes(self.bytes), escape(&newest.to_string_lossy()));
            }
            _ => {
                let none = "no file matches now; files that appear later are read from their beginning";
                let _ = writeln!(text, "  {}", output.paint(Colour::Warning, none));
            }
        }
        for problem in self.problems.iter().take(PROBLEMS_SHOWN_MAX) {
            let _ = writeln!(text, "  {}", output.paint(Colour::Warning, &escape(problem)));
        }
        if let Some(more) = self.problems.len().checked_sub(PROBLEMS_SHOWN_MAX).filter(|&more| more > 0) {
            let _ = writeln!(text, "  and {more} more");
        }
    }
}

/// Of one source; `--json` has all of them.
const PROBLEMS_SHOWN_MAX: usize = 10;

/// What `run` needs beside a valid configuration, tried without changing anything.
fn receiver_line(receiver: &config::ReceiverSettings) -> String {
    format!("{} on {}: {} events, and messages", receiver.name, receiver.listen, receiver.format.name())
}

fn find_obstacles(settings: &Settings, obstacles: &mut Vec<String>) {
    obstacles.extend(settings.privacy.policy().err());
    directory(&settings.data_dir, "the data directory", obstacles);
    if let Some(parent) = settings.admin.socket.parent().filter(|parent| *parent != settings.data_dir) {
        existing_directory(parent, "the directory of the socket", obstacles);
    }
    if let Some(parent) = settings.log.file.as_deref().and_then(Path::parent).filter(|parent| *parent != settings.data_dir) {
        existing_directory(parent, "the directory of the log file", obstacles);
    }
    for receiver in &settings.receivers {
        obstacles.extend(crate::receiver::check(receiver).err().map(|error| error.to_string()));
    }
    if let Some(listen) = settings.admin.listen
        && let Err(error) = std::net::TcpListener::bind(listen)
    {
        obstacles.push(format!("cannot listen on {listen}: {error}; set `listen` in [admin] to another port, or to \"off\""));
    }
}

/// A directory that is made when it is not there.
fn directory(path: &Path, what: &str, obstacles: &mut Vec<String>) {
    let mut there = path;
    while !there.exists() {
        match there.parent() {
            Some(parent) => there = parent,
            None => break,
        }
    }
    if there == path {
        return existing_directory(path, what, obstacles);
    }
    if access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        obstacles.push(format!("{what} {} cannot be made: this user may not write into {}", path.display(), there.display()));
    }
}

fn existing_directory(path: &Path, what: &str, obstacles: &mut Vec<String>) {
    if !path.is_dir() {
        obstacles.push(format!("{what} {} is not there, or is no directory", path.display()));
    } else if access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        obstacles.push(format!("{what} {} cannot be written by this user", path.display()));
    }
}
