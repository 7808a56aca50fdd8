//! What the daemon runs with: every value present, checked, and in the type its user needs.
use super::admin::AdminSettings;
use super::alerts::AlertSettings;
use super::archive::ArchiveOptions;
use super::enrichers::EnricherSettings;
use super::file::{Fragment, Given, Problem, Values};
use super::groups::{
    Admin, Alerts, Anomalies, Archive, Format as FormatTable, GROUPS, Indicators, Journal, Limits, Log, Model, Privacy, Retention, Root,
    Source, Supervision,
};
use super::issuers::IssuerSettings;
use super::key::{Group, Key, Origin, Place, Value};
use super::privacy::PrivacySettings;
use super::receivers::ReceiverSettings;
use super::sinks::SinkSettings;
use crate::events::mapping::Description;
use crate::events::wrapping::Wrap;
use crate::indicators::lists::{Entry, Lists};
use crate::network::{Network, NotANetwork};
use crate::report::Rules;
use crate::sources::Format;
use crate::store::{SensorAge, SensorAges};
use crate::telemetry::printable::printable;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What stands before the name of a credential.
const CREDENTIAL: &str = "credential:";
/// Where systemd puts credentials of the shipped unit.
const UNIT_CREDENTIALS_DIR: &str = "/run/credentials/honeyguide.service";
/// Longest name of a credential, bytes: that of a file.
const CREDENTIAL_BYTES_MAX: usize = 255;

/// The validated configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Absolute.
    pub data_dir: PathBuf,
    pub admin: AdminSettings,
    /// Whose tokens are taken.
    pub issuers: Vec<IssuerSettings>,
    /// Those that the file describes.
    pub formats: Vec<Format>,
    pub sources: Vec<SourceSettings>,
    /// Listeners for what is pushed.
    pub receivers: Vec<ReceiverSettings>,
    pub sinks: Vec<SinkSettings>,
    /// What must not be stored, or must not leave.
    pub privacy: PrivacySettings,
    pub enrichers: Vec<EnricherSettings>,
    /// Who scores chats besides the rules.
    pub model: Option<ModelEndpoint>,
    pub model_timeout: Duration,
    /// What is hostile, and what is not, by the operator's word.
    pub lists: Lists,
    pub anomalies: AnomalySettings,
    pub alerts: AlertSettings,
    pub journal: Journal,
    pub archive: ArchiveOptions,
    /// Ages of sensors that have their own.
    pub retention: SensorAges,
    pub limits: Limits,
    pub supervision: Supervision,
    pub log: LogSettings,
    pub(super) fragment: Fragment,
}

/// What the daemon looks for in the days of sensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnomalySettings {
    pub enabled: bool,
    pub rules: Rules,
}

/// Where the program that scores chats is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelEndpoint {
    Unix(PathBuf),
    Http { url: url::Url, networks: Vec<Network> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    pub name: SourceName,
    pub format: Format,
    /// Absolute.
    pub patterns: Vec<glob::Pattern>,
    /// Absolute directories that symbolic links may lead to; never empty.
    pub roots: Vec<PathBuf>,
    pub start: Start,
}

/// Where reading starts in files that exist when a source is first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Beginning,
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: slog::Level,
    pub format: LogFormat,
    /// Absolute.
    pub file: Option<PathBuf>,
    pub file_bytes: u64,
    pub file_keep: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    Json,
    Human,
}

/// The name of a source: 1 to 64 of `A-Z a-z 0-9 - _ .`, not starting with `.` or `-`.
///
/// The only strings that become metric labels are of this type: nothing an attacker wrote can.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// Names that mean something else in metrics and checkpoints.
    const RESERVED: [&'static str; 2] = ["load", "other"];

    /// What `load` reads counts under this name.
    pub fn load() -> SourceName {
        SourceName("load".into())
    }

    /// What is pushed to the admin's socket counts under this name, unless it says another.
    pub fn push() -> SourceName {
        SourceName("push".into())
    }

    /// For the name of a source that an operator chose; says what is wrong with it.
    pub fn parse(name: &str) -> Result<SourceName, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) || name.starts_with(['.', '-']) {
            let name: String = name.chars().take(40).collect();
            let name = printable(&name);
            return Err(format!(
                "`{name}` is no name: use 1 to 64 letters, digits, \"-\", \"_\" or \".\", starting with a letter or digit"
            ));
        }
        if SourceName::RESERVED.contains(&name) {
            return Err(format!("`{name}` is reserved: choose another name"));
        }
        Ok(SourceName(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the surroundings say, as a parameter so that tests need not change the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    pub current_dir: PathBuf,
    /// `$RUNTIME_DIRECTORY`, set by systemd.
    pub runtime_dir: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY`, set by systemd when the unit has credentials.
    pub credentials_dir: Option<PathBuf>,
}

impl Surroundings {
    pub fn of_process() -> std::io::Result<Surroundings> {
        // systemd separates several directories by colons; ours is the first.
        let first = |value: std::ffi::OsString| {
            use std::os::unix::ffi::{OsStrExt, OsStringExt};
            let first = value.as_bytes().split(|&byte| byte == b':').next().unwrap_or_default().to_vec();
            let path = PathBuf::from(std::ffi::OsString::from_vec(first));
            path.is_absolute().then_some(path)
        };
        Ok(Surroundings {
            current_dir: std::env::current_dir()?,
            runtime_dir: std::env::var_os("RUNTIME_DIRECTORY").and_then(first),
            credentials_dir: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|dir| dir.is_absolute()),
        })
    }
}

impl Settings {
    /// Checks what single keys cannot say: names, paths, globs, addresses, and limits against each other.
    pub(super) fn validate(fragment: Fragment, file: Option<PathBuf>, surroundings: &Surroundings) -> Result<Settings, Vec<Problem>> {
        let mut check = Check { surroundings, problems: Vec::new(), described: Vec::new() };
        let root = Root::from_values(|key| value_of(&fragment, &Root::GROUP, key));
        let admin = Admin::from_values(|key| value_of(&fragment, &Admin::GROUP, key));
        let journal = Journal::from_values(|key| value_of(&fragment, &Journal::GROUP, key));
        let limits = Limits::from_values(|key| value_of(&fragment, &Limits::GROUP, key));
        let supervision = Supervision::from_values(|key| value_of(&fragment, &Supervision::GROUP, key));
        let log = Log::from_values(|key| value_of(&fragment, &Log::GROUP, key));

        let data_dir = check.path(&root.data_dir, &origin_of(&fragment, "", "data_dir"));
        let admin = check.admin(&fragment, &admin, &data_dir);
        let issuers = check.issuers(fragment.tables("issuer"));
        let formats = check.formats(fragment.tables("format"));
        let sources = check.sources(fragment.tables("source"), &formats);
        let receivers = check.receivers(fragment.tables("receiver"), &formats, &sources);
        let sinks = check.sinks(fragment.tables("sink"));
        let table = Privacy::from_values(|key| value_of(&fragment, &Privacy::GROUP, key));
        let privacy = check.privacy(&fragment, &table, fragment.tables("redact"), &sources, &receivers);
        let enrichers = check.enrichers(fragment.tables("enricher"));
        let table = Model::from_values(|key| value_of(&fragment, &Model::GROUP, key));
        let model = check.model(&fragment, &table);
        let model_timeout = Duration::from_millis(table.timeout_ms);
        let anomalies = check.anomalies(&fragment, &Anomalies::from_values(|key| value_of(&fragment, &Anomalies::GROUP, key)));
        let table = Alerts::from_values(|key| value_of(&fragment, &Alerts::GROUP, key));
        let alerts = check.alerts(&fragment, &table, &sinks, journal.min_free_bytes);
        let lists = check.lists(&fragment, &Indicators::from_values(|key| value_of(&fragment, &Indicators::GROUP, key)));
        check.journal(&fragment, &journal);
        let archive = Archive::from_values(|key| value_of(&fragment, &Archive::GROUP, key));
        let archive = check.archive(archive, &data_dir, &|key| origin_of(&fragment, "archive", key));
        let retention = check.retention(fragment.tables("retention"), &journal);
        check.supervision(&fragment, &supervision);
        let log = check.log(&fragment, log);
        if check.problems.is_empty() {
            Ok(Settings {
                file,
                data_dir,
                admin,
                issuers,
                formats,
                sources,
                receivers,
                sinks,
                privacy,
                enrichers,
                model,
                model_timeout,
                lists,
                anomalies,
                alerts,
                journal,
                archive,
                retention,
                limits,
                supervision,
                log,
                fragment,
            })
        } else {
            Err(check.problems)
        }
    }

    /// Every value outside the repeated tables, as TOML, with where it was set.
    pub fn values(&self) -> impl Iterator<Item = (&'static Group, &'static Key, String, Origin)> {
        let groups = GROUPS.iter().filter(|group| !group.repeated);
        groups.flat_map(|group| group.keys.iter().map(move |key| (group, key))).map(|(group, key)| {
            let literal = value_of(&self.fragment, group, key.name).literal(key.kind);
            (group, key, literal, origin_of(&self.fragment, group.name, key.name))
        })
    }

    /// Where a command looks for the daemon of this data directory, in this order.
    ///
    /// A shell has no `$RUNTIME_DIRECTORY`, so a daemon that systemd started is found by the unit's directory; that unit
    /// serves the default data directory only.
    pub fn client_sockets(&self) -> Vec<PathBuf> {
        let mut sockets = vec![self.admin.socket.clone()];
        let configured = self.fragment.get("admin", "socket").is_some_and(|given| given.value != Value::None);
        if !configured {
            sockets.push(self.data_dir.join("admin.sock"));
            if self.data_dir == Path::new("/var/lib/honeyguide") {
                sockets.push("/run/honeyguide/admin.sock".into());
            }
        }
        sockets.dedup();
        sockets
    }

    /// Where a source was configured: parallel to `sources`.
    pub fn source_places(&self) -> impl Iterator<Item = &Place> {
        self.fragment.tables("source").iter().map(|(place, _)| place)
    }

    /// Where a sink was configured: parallel to `sinks`.
    pub fn sink_places(&self) -> impl Iterator<Item = &Place> {
        self.fragment.tables("sink").iter().map(|(place, _)| place)
    }

    /// Where an issuer was configured: parallel to `issuers`.
    pub fn issuer_places(&self) -> impl Iterator<Item = &Place> {
        self.fragment.tables("issuer").iter().map(|(place, _)| place)
    }

    /// Where a rule of alerts was configured: parallel to `alerts.rules`.
    pub fn alert_places(&self) -> impl Iterator<Item = &Place> {
        self.fragment.tables("alert").iter().map(|(place, _)| place)
    }

    /// Where an enricher was configured: parallel to `enrichers`.
    pub fn enricher_places(&self) -> impl Iterator<Item = &Place> {
        self.fragment.tables("enricher").iter().map(|(place, _)| place)
    }
}

pub(super) fn default_of(group: &Group, name: &str) -> Value {
    let key = group.key(name).expect("fields and keys come from one table");
    super::file::parse_literal(group, key).expect("defaults are within their own limits, a test says so")
}

pub(super) fn value_of(fragment: &Fragment, group: &Group, key: &str) -> Value {
    fragment.get(group.name, key).map_or_else(|| default_of(group, key), |given| given.value.clone())
}

pub(super) fn origin_of(fragment: &Fragment, group: &str, key: &str) -> Origin {
    fragment.get(group, key).map_or(Origin::Default, |given| given.origin.clone())
}

/// As systemd has it: the name of a file, without a colon.
fn is_credential(name: &str) -> bool {
    let fits =
        (1..=CREDENTIAL_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte));
    fits && name != "." && name != ".."
}

pub(super) struct Check<'s> {
    pub(super) surroundings: &'s Surroundings,
    problems: Vec<Problem>,
    /// Names of all formats in the file, right or wrong.
    described: Vec<String>,
}

impl Check<'_> {
    pub(super) fn complain(&mut self, origin: &Origin, message: String) {
        self.problems.push(Problem { origin: origin.clone(), message });
    }

    /// Relative to the directory of the file that says so, or to where the command was typed.
    pub(super) fn path(&mut self, text: &str, origin: &Origin) -> PathBuf {
        if text.starts_with("~/") || text == "~" || text.starts_with('$') {
            self.complain(origin, format!("`{text}` is not expanded: write the whole path"));
        }
        let base = match origin {
            Origin::File(place) => place.file.parent().unwrap_or(Path::new("")).to_path_buf(),
            Origin::Default | Origin::CommandLine(_) => PathBuf::new(),
        };
        tidy(&self.surroundings.current_dir.join(base).join(text))
    }

    /// A file to be read, such as a key: a path, or `credential:NAME` for what the unit gives with `LoadCredential=NAME:…`.
    pub(super) fn file(&mut self, text: &str, origin: &Origin) -> PathBuf {
        let Some(name) = text.strip_prefix(CREDENTIAL) else { return self.path(text, origin) };
        if !is_credential(name) {
            let remedy = "write the name that LoadCredential= in the unit has before its colon, such as \"credential:siem.password\"";
            self.complain(origin, format!("`{}` is no name of a credential: {remedy}", printable(text)));
        }
        // A shell has no `$CREDENTIALS_DIRECTORY`: what the running unit was given lies here, for root to see.
        self.surroundings.credentials_dir.as_deref().unwrap_or(Path::new(UNIT_CREDENTIALS_DIR)).join(name)
    }

    /// Formats that could be made; what is wrong with the others is told.
    fn formats(&mut self, tables: &[(Place, Values)]) -> Vec<Format> {
        let (mut descriptions, mut origins) = (Vec::new(), Vec::new());
        for (place, values) in tables {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            let table = FormatTable::from_values(|key| {
                values.get(key).map_or_else(|| default_of(&FormatTable::GROUP, key), |given| given.value.clone())
            });
            self.described.push(table.name.clone());
            if let Err(message) = SourceName::parse(&table.name) {
                self.complain(&given("name"), message);
                continue;
            }
            let FormatTable { name, like, wrap, columns, time, session, sensor, eventid, fields, texts, identity, recognised_by } = table;
            if descriptions.iter().any(|other: &Description| other.name == name) {
                self.complain(&given("name"), format!("a format called `{name}` stands above: give each its own name"));
                continue;
            }
            let wrap = match wrap.as_str() {
                "syslog" => Wrap::Syslog,
                "docker" => Wrap::Docker,
                "csv" => Wrap::Csv,
                _ => Wrap::None,
            };
            let description =
                Description { name, like, wrap, columns, time, session, sensor, eventid, fields, texts, identity, recognised_by };
            descriptions.push(description);
            origins.push((place, values));
        }
        let mut formats = Vec::new();
        for (made, (place, values)) in Format::describe(descriptions).into_iter().zip(origins) {
            match made {
                Ok(format) => formats.push(format),
                Err(problem) => {
                    let given = values.get(problem.key).map_or(Origin::File(place.clone()), |given| given.origin.clone());
                    self.complain(&given, problem.to_string());
                }
            }
        }
        formats
    }

    fn sources(&mut self, tables: &[(Place, Values)], formats: &[Format]) -> Vec<SourceSettings> {
        let mut sources: Vec<SourceSettings> = Vec::new();
        for (place, values) in tables {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            let source =
                Source::from_values(|key| values.get(key).map_or_else(|| default_of(&Source::GROUP, key), |given| given.value.clone()));
            let name = match SourceName::parse(&source.name) {
                Ok(name) => name,
                Err(message) => {
                    self.complain(&given("name"), message);
                    continue;
                }
            };
            if sources.iter().any(|other| other.name == name) {
                self.complain(&given("name"), format!("a source called `{name}` stands above: give each its own name"));
                continue;
            }
            let patterns = self.patterns(&source.paths, &given("paths"));
            let mut roots: Vec<PathBuf> = source.roots.iter().map(|root| self.path(root, &given("roots"))).collect();
            if roots.is_empty() {
                roots = patterns.iter().map(|pattern| fixed_directory(pattern.as_str())).collect();
            }
            roots.sort();
            roots.dedup();
            let format = match Format::named(&source.format, formats) {
                Ok(format) => format,
                // One that is described wrongly is told of already.
                Err(_) if self.described.contains(&source.format) => continue,
                Err(message) => {
                    self.complain(&given("format"), message);
                    continue;
                }
            };
            let start = if source.start == "end" { Start::End } else { Start::Beginning };
            sources.push(SourceSettings { name, format, patterns, roots, start });
        }
        sources
    }

    fn patterns(&mut self, paths: &[String], origin: &Origin) -> Vec<glob::Pattern> {
        if paths.is_empty() {
            self.complain(origin, "`paths` names no file: add one".into());
        }
        let mut patterns = Vec::new();
        for text in paths {
            let path = self.path(text, origin);
            let Some(absolute) = path.to_str() else {
                self.complain(origin, format!("`{text}` is relative to a directory whose name is not UTF-8: write the whole path"));
                continue;
            };
            match glob::Pattern::new(absolute) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    self.complain(origin, format!("`{}` is no pattern: {} at character {}", printable(text), error.msg, error.pos + 1))
                }
            }
        }
        patterns
    }

    fn journal(&mut self, fragment: &Fragment, journal: &Journal) {
        if let Some(budget) = journal.disk_budget_bytes
            && budget < 2 * journal.segment_bytes
        {
            self.complain(
                &origin_of(fragment, "journal", "disk_budget_bytes"),
                "`disk_budget_bytes` must be at least twice `segment_bytes`: raise it or make the segments smaller".into(),
            );
        }
        let evidence_kept_longer = match (journal.evidence_days, journal.answers_days) {
            (Some(evidence), Some(answers)) => evidence > answers,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if evidence_kept_longer {
            self.complain(
                &origin_of(fragment, "journal", "answers_days"),
                "`answers_days` must not be less than `evidence_days`: evidence that nothing finds is of no use".into(),
            );
        }
    }

    fn retention(&mut self, tables: &[(Place, Values)], journal: &Journal) -> SensorAges {
        let mut ages: Vec<SensorAge> = Vec::new();
        for (place, values) in tables {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            let table = Retention::from_values(|key| {
                values.get(key).map_or_else(|| default_of(&Retention::GROUP, key), |given| given.value.clone())
            });
            let sensors = match glob::Pattern::new(&table.sensor) {
                Ok(sensors) => sensors,
                Err(error) => {
                    let sensor = printable(&table.sensor);
                    self.complain(&given("sensor"), format!("`{sensor}` is no pattern: {} at character {}", error.msg, error.pos + 1));
                    continue;
                }
            };
            if ages.iter().any(|other| other.sensors == sensors) {
                let sensor = printable(&table.sensor);
                self.complain(&given("sensor"), format!("the age of `{sensor}` is told above: say it once"));
                continue;
            }
            if journal.answers_days.is_some_and(|answers| table.days.is_none_or(|days| days > answers)) {
                let message = "`days` must not be more than `answers_days` in [journal]: evidence that nothing finds is of no use";
                self.complain(&given("days"), message.into());
            }
            ages.push(SensorAge { sensors, days: table.days.map(|days| days.min(u64::from(u32::MAX)) as u32) });
        }
        SensorAges::new(ages)
    }

    fn model(&mut self, fragment: &Fragment, model: &Model) -> Option<ModelEndpoint> {
        let (origin, text) = (origin_of(fragment, "model", "url"), model.url.as_deref()?);
        let networks = self.networks(&model.allow_private, &origin_of(fragment, "model", "allow_private"));
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Some(ModelEndpoint::Unix(path.into()));
        }
        match url::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => Some(ModelEndpoint::Http { url, networks }),
            _ => {
                self.complain(&origin, "`url` must begin with http://, https:// or unix:/".into());
                None
            }
        }
    }

    fn anomalies(&mut self, fragment: &Fragment, table: &Anomalies) -> AnomalySettings {
        let &Anomalies { enabled, threshold, baseline_days, min_days } = table;
        if min_days > baseline_days {
            let text = "`min_days` must not be more than `baseline_days`: else there is never a verdict";
            self.complain(&origin_of(fragment, "anomalies", "min_days"), text.into());
        }
        // The limits of the keys keep them small.
        let rules = Rules { threshold: threshold as f64, baseline_days: baseline_days as u32, min_days: min_days as u32 };
        AnomalySettings { enabled, rules }
    }

    fn lists(&mut self, fragment: &Fragment, table: &Indicators) -> Lists {
        let mut entries = |key: &str, written: &[String]| {
            let origin = origin_of(fragment, "indicators", key);
            let mut entries = Vec::with_capacity(written.len());
            for text in written {
                match Entry::parse(text) {
                    Ok(entry) => entries.push(entry),
                    Err(error) => self.complain(&origin, format!("`{}` in `{key}` {error}", printable(text))),
                }
            }
            entries
        };
        Lists { own: entries("own", &table.own), allow: entries("allow", &table.allow), deny: entries("deny", &table.deny) }
    }

    /// Of an `allow_private`.
    pub(super) fn networks(&mut self, written: &[String], origin: &Origin) -> Vec<Network> {
        let mut networks = Vec::new();
        for network in written {
            match network.parse() {
                Ok(network) => networks.push(network),
                Err(NotANetwork) => self.complain(origin, format!("`{}` in `allow_private` {NotANetwork}", printable(network))),
            }
        }
        networks
    }

    fn supervision(&mut self, fragment: &Fragment, supervision: &Supervision) {
        if supervision.stall_seconds <= supervision.heartbeat_seconds {
            self.complain(
                &origin_of(fragment, "supervision", "stall_seconds"),
                "`stall_seconds` must be more than `heartbeat_seconds`: else every part counts as stalled between two signs of life".into(),
            );
        }
        if supervision.backoff_ms_max < supervision.backoff_initial_ms {
            self.complain(
                &origin_of(fragment, "supervision", "backoff_ms_max"),
                "`backoff_ms_max` must not be less than `backoff_initial_ms`".into(),
            );
        }
    }

    fn log(&mut self, fragment: &Fragment, log: Log) -> LogSettings {
        let level = match log.level.as_str() {
            "critical" => slog::Level::Critical,
            "error" => slog::Level::Error,
            "warning" => slog::Level::Warning,
            "info" => slog::Level::Info,
            "debug" => slog::Level::Debug,
            _ => slog::Level::Trace,
        };
        let format = match log.format.as_str() {
            "json" => LogFormat::Json,
            "human" => LogFormat::Human,
            _ => LogFormat::Auto,
        };
        let file = log.file.map(|text| self.path(&text, &origin_of(fragment, "log", "file")));
        LogSettings { level, format, file, file_bytes: log.file_bytes, file_keep: log.file_keep }
    }
}

/// Without `.`, `..` and doubled slashes; purely by the text, so that globs pass.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// The directory that every match of an absolute pattern lies in.
fn fixed_directory(pattern: &str) -> PathBuf {
    let wild = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let slash = pattern[..wild].rfind('/').unwrap_or(0);
    PathBuf::from(&pattern[..slash.max(1)])
}

/// What a file with this text says, and what is wrong with it.
#[cfg(test)]
pub(super) fn of_text(text: &str) -> Result<Settings, Vec<String>> {
    let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let fragment = super::file::parse(Path::new("/etc/h/h.toml"), text).map_err(texts)?;
    Settings::validate(fragment, None, &Surroundings { current_dir: "/here".into(), ..Surroundings::default() }).map_err(texts)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::of_text as settings;
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings { current_dir: "/here".into(), ..Surroundings::default() }
    }

    #[test]
    fn every_default_is_within_its_own_limits() {
        for group in GROUPS {
            for key in group.keys {
                if let Err(error) = file::parse_literal(group, key) {
                    panic!("{} {}: {error}", group.title(), key.name);
                }
            }
        }
        let settings = settings("").expect("defaults are valid");
        assert_eq!(settings.data_dir, Path::new("/var/lib/honeyguide"));
        assert_eq!(settings.admin.listen, Some("127.0.0.1:8787".parse().expect("address")));
        assert_eq!(settings.admin.socket, Path::new("/var/lib/honeyguide/admin.sock"));
        assert_eq!(settings.journal.segment_bytes, 64 << 20);
        assert_eq!(settings.journal.evidence_days, None);
        assert_eq!(settings.limits.in_flight_bytes, 16 << 20);
        assert_eq!(settings.log.level, slog::Level::Info);
        assert!(settings.sources.is_empty());
    }

    #[test]
    fn paths_are_absolute_and_relative_to_the_file() {
        let text = "data_dir = \"../data\"\n[[source]]\nname = \"a\"\npaths = [\"logs/*.json\", \"/var/log/x/y[12]/z\"]\n[log]\nfile = \"./l.log\"";
        let settings = settings(text).expect("valid");
        assert_eq!(settings.data_dir, Path::new("/etc/data"));
        assert_eq!(settings.log.file.as_deref(), Some(Path::new("/etc/h/l.log")));
        let source = &settings.sources[0];
        assert_eq!(source.patterns.iter().map(glob::Pattern::as_str).collect::<Vec<_>>(), ["/etc/h/logs/*.json", "/var/log/x/y[12]/z"]);
        assert_eq!(source.roots, [Path::new("/etc/h/logs"), Path::new("/var/log/x")]);
        assert_eq!((source.start, source.format), (Start::Beginning, Format::COWRIE));
    }

    #[test]
    fn credentials_are_found_where_systemd_put_them() {
        let text = "[privacy]\nkey_file = \"credential:redaction.key\"";
        let key_file = |surroundings: &Surroundings| {
            let fragment = file::parse(Path::new("/etc/h.toml"), text).expect("valid");
            Settings::validate(fragment, None, surroundings).expect("valid").privacy.key_file.expect("given")
        };
        assert_eq!(key_file(&surroundings()), Path::new("/run/credentials/honeyguide.service/redaction.key"));
        let under_systemd = Surroundings { credentials_dir: Some("/run/credentials/other.service".into()), ..surroundings() };
        assert_eq!(key_file(&under_systemd), Path::new("/run/credentials/other.service/redaction.key"));
        for name in ["", ".", "..", "a/b", "../../etc/shadow", "a:b", "a b", "a\u{1b}", "\u{e9}", &"x".repeat(256)] {
            let text = format!("[privacy]\nkey_file = {}", toml::Value::String(format!("credential:{name}")));
            let problems = settings(&text).expect_err("refused");
            assert!(problems[0].contains("is no name of a credential") || problems[0].contains("control"), "{name:?}: {problems:?}");
        }
        // Only files that are read can be credentials.
        assert_eq!(settings("data_dir = \"credential:x\"").expect("valid").data_dir, Path::new("/etc/h/credential:x"));
    }

    #[test]
    fn the_socket_follows_systemd_then_the_data_directory() {
        let under_systemd = Surroundings { runtime_dir: Some("/run/honeyguide".into()), ..surroundings() };
        let settings = Settings::validate(Fragment::default(), None, &under_systemd).expect("valid");
        assert_eq!(settings.admin.socket, Path::new("/run/honeyguide/admin.sock"));
        let fragment = file::parse(Path::new("/etc/h.toml"), "[admin]\nsocket = \"/x/y.sock\"\nlisten = \"off\"").expect("valid");
        let settings = Settings::validate(fragment, None, &under_systemd).expect("valid");
        assert_eq!((settings.admin.socket.as_path(), settings.admin.listen), (Path::new("/x/y.sock"), None));
        assert_eq!(settings.client_sockets(), [Path::new("/x/y.sock")]);
    }

    #[test]
    fn a_command_in_a_shell_finds_the_daemon_that_systemd_started() {
        let sockets = |text| settings(text).expect("valid").client_sockets();
        assert_eq!(sockets(""), [Path::new("/var/lib/honeyguide/admin.sock"), Path::new("/run/honeyguide/admin.sock")]);
        assert_eq!(sockets("data_dir = \"/srv/h\""), [Path::new("/srv/h/admin.sock")]);
    }

    #[test]
    fn what_fits_its_type_and_still_cannot_work_is_refused_with_a_remedy() {
        let cases: &[(&str, &str)] = &[
            (
                "[admin]\nlisten = \"0.0.0.0:80\"",
                "/etc/h/h.toml:2:10: `listen` is 0.0.0.0:80, and keys and evidence would cross the network in clear: set `tls_certificate` and `tls_key`, or use \"127.0.0.1:80\" and reach it from elsewhere through SSH or a proxy, or insist with `insecure_listen = true`",
            ),
            (
                "[admin]\nlisten = \"localhost\"",
                "/etc/h/h.toml:2:10: `listen` must be an IP address and a port, such as \"127.0.0.1:8787\", or \"off\"",
            ),
            ("data_dir = \"~/x\"", "/etc/h/h.toml:1:12: `~/x` is not expanded: write the whole path"),
            (
                "[[source]]\nname = \"a b\"\npaths = [\"/x\"]",
                "/etc/h/h.toml:2:8: `a b` is no name: use 1 to 64 letters, digits, \"-\", \"_\" or \".\", starting with a letter or digit",
            ),
            ("[[source]]\nname = \"other\"\npaths = [\"/x\"]", "/etc/h/h.toml:2:8: `other` is reserved: choose another name"),
            ("[[source]]\nname = \"a\"\npaths = []", "/etc/h/h.toml:3:9: `paths` names no file: add one"),
            (
                "[[source]]\nname = \"a\"\npaths = [\"/x/[a\"]",
                "/etc/h/h.toml:3:9: `/x/[a` is no pattern: invalid range pattern at character 4",
            ),
            (
                "[[source]]\nname = \"a\"\npaths = [\"/x\"]\n[[source]]\nname = \"a\"\npaths = [\"/y\"]",
                "/etc/h/h.toml:5:8: a source called `a` stands above: give each its own name",
            ),
            (
                "[journal]\ndisk_budget_bytes = \"100 MiB\"",
                "/etc/h/h.toml:2:21: `disk_budget_bytes` must be at least twice `segment_bytes`: raise it or make the segments smaller",
            ),
            (
                "[journal]\nevidence_days = 2\nanswers_days = 3\n[[retention]]\nsensor = \"a\"\ndays = 9",
                "/etc/h/h.toml:6:8: `days` must not be more than `answers_days` in [journal]: evidence that nothing finds is of no use",
            ),
            ("[[retention]]\nsensor = \"a[\"\ndays = 9", "/etc/h/h.toml:2:10: `a[` is no pattern: invalid range pattern at character 2"),
            (
                "[[retention]]\nsensor = \"a\"\ndays = 9\n[[retention]]\nsensor = \"a\"\ndays = \"forever\"",
                "/etc/h/h.toml:5:10: the age of `a` is told above: say it once",
            ),
            (
                "[journal]\nanswers_days = 3",
                "/etc/h/h.toml:2:16: `answers_days` must not be less than `evidence_days`: evidence that nothing finds is of no use",
            ),
            (
                "[supervision]\nstall_seconds = 5",
                "/etc/h/h.toml:2:17: `stall_seconds` must be more than `heartbeat_seconds`: else every part counts as stalled between two signs of life",
            ),
            ("[supervision]\nbackoff_ms_max = 5", "/etc/h/h.toml:2:18: `backoff_ms_max` must not be less than `backoff_initial_ms`"),
        ];
        for (text, expected) in cases {
            assert_eq!(settings(text).expect_err(text), [*expected]);
        }
        let long = format!("[admin]\nsocket = \"/{}\"", "s".repeat(120));
        assert!(settings(&long).expect_err("too long")[0].contains("set `socket` in [admin] to a shorter one"));
        assert_eq!(
            settings("[admin]\nlisten = \"[::1]:1\"").expect("IPv6 loopback").admin.listen,
            Some("[::1]:1".parse().expect("address"))
        );
    }
}
