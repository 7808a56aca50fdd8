//! `[[sink]]`: what each type of receiver needs, what it has no use for, and secrets that stand in files of their own.
use super::file::{Given, Values};
use super::groups::Sink;
use super::key::{Origin, Place};
use super::settings::{Check, SourceName, Start, default_of};
use crate::index::query::Query;
use crate::network::Network;
use crate::sinks::delivery::DeliveryPolicy;
use crate::sinks::feed::BatchLimits;
use crate::sinks::file::{FileFormat, FileSettings};
use crate::sinks::guard::Guard;
use crate::sinks::guvi::SessionSettings;
use crate::sinks::policy::Backoff;
use crate::telemetry::printable::printable;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    pub name: SourceName,
    /// As it was written, and understood.
    pub filter: Option<(String, Query)>,
    pub start: Start,
    pub policy: DeliveryPolicy,
    /// Retention need not wait for it.
    pub may_lose: bool,
    /// What it is sent is redacted.
    pub redact: bool,
    pub receiver: Receiver,
}

/// Who receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    File(FileSettings),
    Webhook {
        http: HttpReceiver,
        /// Holds the key of the signature.
        secret_file: Option<PathBuf>,
    },
    Elasticsearch {
        http: HttpReceiver,
        index: String,
        /// Of messages whose time their sender chose; `None`: any number.
        index_days: Option<u32>,
    },
    Guvi {
        http: HttpReceiver,
        chats: SessionSettings,
    },
}

/// What all that speak HTTP have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReceiver {
    pub url: url::Url,
    pub headers: BTreeMap<String, String>,
    pub compression: Compression,
    pub credential: Option<Credential>,
    /// PEM.
    pub ca_file: Option<PathBuf>,
    /// What is let through though it is private.
    pub allow_private: Vec<Network>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// How the daemon shows who it is; what is secret stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    Bearer(PathBuf),
    Basic { user: String, password_file: PathBuf },
    ApiKey(PathBuf),
}

impl Receiver {
    /// As in `type = `.
    pub fn kind(&self) -> &'static str {
        match self {
            Receiver::File(_) => "file",
            Receiver::Webhook { .. } => "webhook",
            Receiver::Elasticsearch { .. } => "elasticsearch",
            Receiver::Guvi { .. } => "guvi",
        }
    }

    pub fn http(&self) -> Option<&HttpReceiver> {
        match self {
            Receiver::File(_) => None,
            Receiver::Webhook { http, .. } | Receiver::Elasticsearch { http, .. } | Receiver::Guvi { http, .. } => Some(http),
        }
    }

    /// Where it is, without anything secret.
    pub fn place(&self) -> String {
        match (self, self.http()) {
            (Receiver::File(file), _) => file.path.to_string_lossy().into_owned(),
            (_, Some(http)) => crate::sinks::http::shown(&http.url),
            (_, None) => String::new(),
        }
    }

    /// Files with secrets.
    pub fn secrets(&self) -> Vec<&PathBuf> {
        let mut files = Vec::new();
        if let Receiver::Webhook { secret_file, .. } = self {
            files.extend(secret_file);
        }
        match self.http().and_then(|http| http.credential.as_ref()) {
            Some(Credential::Bearer(file) | Credential::ApiKey(file) | Credential::Basic { password_file: file, .. }) => files.push(file),
            None => {}
        }
        files
    }
}

/// Keys that only these types have.
const OF_TYPES: [(&[&str], &[&str]); 9] = [
    (&["path", "format", "envelope", "rotate_bytes", "keep"], &["file"]),
    (&["url", "headers", "ca_file", "allow_private", "token_file"], &["webhook", "elasticsearch", "guvi"]),
    (&["compression"], &["webhook", "elasticsearch"]),
    (&["concurrency", "user", "password_file"], &["webhook", "elasticsearch", "guvi"]),
    (&["secret_file"], &["webhook"]),
    (&["api_key_file"], &["elasticsearch", "guvi"]),
    (&["index", "index_days"], &["elasticsearch"]),
    (&["quiet_seconds", "again", "extended", "notes", "chats_open"], &["guvi"]),
    (&["filter"], &["file", "webhook", "elasticsearch"]),
];

impl Check<'_> {
    pub(super) fn sinks(&mut self, tables: &[(Place, Values)]) -> Vec<SinkSettings> {
        let mut sinks: Vec<SinkSettings> = Vec::new();
        for (place, values) in tables {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            let value = |key: &'static str| values.get(key).map_or_else(|| default_of(&Sink::GROUP, key), |given| given.value.clone());
            let mut sink = Sink::from_values(value);
            // What a required key shows as its default is an example.
            let missing = |key: &str| !values.contains_key(key);
            if missing("name") || missing("type") {
                continue;
            }
            let name = match SourceName::parse(&sink.name) {
                Ok(name) => name,
                Err(message) => {
                    self.complain(&given("name"), message);
                    continue;
                }
            };
            if sinks.iter().any(|other| other.name == name) {
                self.complain(&given("name"), format!("a sink called `{name}` stands above: give each its own name"));
                continue;
            }
            // Saying what holds anyway does no harm.
            let is_set = |key: &&&str| values.get_key_value(**key).is_some_and(|(key, given)| given.value != default_of(&Sink::GROUP, key));
            for (keys, types) in OF_TYPES.iter().filter(|(_, types)| !types.contains(&sink.r#type.as_str())) {
                for key in keys.iter().filter(|key| is_set(key)) {
                    let types: Vec<String> = types.iter().map(|name| format!("\"{name}\"")).collect();
                    let message = format!("a sink of type \"{}\" has no `{key}`, only {} has: remove it", sink.r#type, types.join(", "));
                    self.complain(&given(key), message);
                }
            }
            let filter = sink.filter.take().and_then(|text| self.filter(text, &given("filter")));
            let Some(receiver) = self.receiver(&sink, &given) else { continue };
            if let Receiver::File(file) = &receiver
                && let Some(other) = sinks.iter().find(|other| matches!(&other.receiver, Receiver::File(known) if known.collides(file)))
            {
                let why = match &other.receiver {
                    Receiver::File(known) if known.path == file.path => "writes to this file",
                    _ => "and this one would write over each other's files (path, path.position, rotated path.1 and on)",
                };
                self.complain(&given("path"), format!("the sink `{}` {why}: give each its own", other.name));
                continue;
            }
            if sink.backoff_ms_max < sink.backoff_initial_ms {
                self.complain(&given("backoff_ms_max"), "`backoff_ms_max` must not be less than `backoff_initial_ms`".into());
            }
            let start = if sink.start == "end" { Start::End } else { Start::Beginning };
            sinks.push(SinkSettings { name, filter, start, policy: policy(&sink), may_lose: sink.may_lose, redact: sink.redact, receiver });
        }
        sinks
    }

    fn filter(&mut self, text: String, origin: &Origin) -> Option<(String, Query)> {
        match Query::parse(&text, 0) {
            Ok(query) if query.since.is_some() || query.until.is_some() => {
                let remedy = "`start` says where to begin, `honeyguide sinks replay --since` goes back";
                self.complain(origin, format!("a sink's `filter` cannot have since: or until:; {remedy}"));
                None
            }
            Ok(query) => Some((text, query)),
            Err(error) => {
                self.complain(origin, format!("`filter` is no query: {error}"));
                None
            }
        }
    }

    fn receiver(&mut self, sink: &Sink, given: &dyn Fn(&str) -> Origin) -> Option<Receiver> {
        if sink.r#type == "file" {
            let Some(path) = &sink.path else {
                self.complain(
                    &given("type"),
                    "a sink of type \"file\" needs `path`: add path = \"/var/lib/honeyguide-out/events.ndjson\"".into(),
                );
                return None;
            };
            let path = self.path(path, &given("path"));
            let format = match (sink.format.as_str(), sink.envelope) {
                ("csv", true) => {
                    self.complain(&given("envelope"), "`envelope` is for NDJSON: CSV has columns for what it adds".into());
                    return None;
                }
                ("csv", false) => FileFormat::Csv,
                (_, envelope) => FileFormat::Ndjson { envelope },
            };
            return Some(Receiver::File(FileSettings { path, format, rotate_bytes: sink.rotate_bytes, keep: sink.keep }));
        }
        let http = self.http(sink, given)?;
        Some(match sink.r#type.as_str() {
            "webhook" => {
                let secret_file = sink.secret_file.as_ref().map(|file| self.file(file, &given("secret_file")));
                Receiver::Webhook { http, secret_file }
            }
            "elasticsearch" => {
                // https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create
                let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
                if sink.index.len() > 200
                    || !sink.index.chars().all(allowed)
                    || !sink.index.starts_with(|c: char| c.is_ascii_alphanumeric())
                {
                    let remedy = "use lower-case letters, digits, \"-\", \"_\" or \".\", starting with a letter or digit";
                    self.complain(&given("index"), format!("`{}` is no prefix for indexes: {remedy}", printable(&sink.index)));
                    return None;
                }
                if http.url.query().is_some() {
                    self.complain(&given("url"), "`url` must be the server's, without \"?…\"".into());
                    return None;
                }
                if http.compression == Compression::Zstd {
                    self.complain(&given("compression"), "Elasticsearch and OpenSearch take \"gzip\" only, not \"zstd\"".into());
                    return None;
                }
                let index_days = sink.index_days.map(|days| u32::try_from(days).unwrap_or(u32::MAX));
                Receiver::Elasticsearch { http, index: sink.index.clone(), index_days }
            }
            _ => {
                let chats = SessionSettings {
                    quiet: Duration::from_secs(sink.quiet_seconds),
                    again: sink.again,
                    extended: sink.extended,
                    notes: sink.notes.clone(),
                    sessions_max: sink.chats_open,
                };
                Receiver::Guvi { http, chats }
            }
        })
    }

    fn http(&mut self, sink: &Sink, given: &dyn Fn(&str) -> Origin) -> Option<HttpReceiver> {
        let Some(text) = &sink.url else {
            let message = format!("a sink of type \"{}\" needs `url`: add url = \"https://receiver.example/\"", sink.r#type);
            self.complain(&given("type"), message);
            return None;
        };
        let url = match url::Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() => {
                self.complain(&given("url"), "`url` must begin with http:// or https:// and a host".into());
                return None;
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                let remedy = "put the user into `user` and the password into a file named by `password_file`";
                self.complain(&given("url"), format!("`url` must not hold a user or a password: {remedy}"));
                return None;
            }
            Ok(url) => url,
            Err(error) => {
                self.complain(&given("url"), format!("`url` is no URL: {error}"));
                return None;
            }
        };
        let credential = match (&sink.token_file, (&sink.user, &sink.password_file), &sink.api_key_file) {
            (None, (None, None), None) => None,
            (Some(file), (None, None), None) => Some(Credential::Bearer(self.file(file, &given("token_file")))),
            (None, (Some(user), Some(file)), None) => {
                Some(Credential::Basic { user: user.clone(), password_file: self.file(file, &given("password_file")) })
            }
            (None, (None, None), Some(file)) => Some(Credential::ApiKey(self.file(file, &given("api_key_file")))),
            (None, (Some(_), None), None) => {
                self.complain(&given("user"), "`user` needs `password_file`: the file that holds the password".into());
                return None;
            }
            (None, (None, Some(_)), None) => {
                self.complain(&given("password_file"), "`password_file` needs `user`".into());
                return None;
            }
            _ => {
                let message = "give one credential only: `token_file`, or `user` with `password_file`, or `api_key_file`";
                self.complain(&given("url"), message.into());
                return None;
            }
        };
        for name in sink.headers.keys() {
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            let reserved =
                ["authorization", "content-length", "content-encoding", "content-type", "host", "transfer-encoding", "connection"];
            if name.is_empty() || !name.chars().all(token) {
                self.complain(&given("headers"), format!("`{}` is no name of a header field", printable(name)));
            } else if reserved.contains(&name.to_ascii_lowercase().as_str()) {
                let remedy = "credentials come from files, the rest is the sink's own";
                self.complain(&given("headers"), format!("the header field `{name}` cannot be set: {remedy}"));
            }
        }
        if let Some((name, _)) = sink.headers.iter().find(|(_, value)| value.chars().any(char::is_control)) {
            self.complain(&given("headers"), format!("the value of `{}` has control characters in it", printable(name)));
        }
        let allow_private = self.networks(&sink.allow_private, &given("allow_private"));
        if allow_private.len() == sink.allow_private.len()
            && let Err(forbidden) = Guard::new(allow_private.clone()).check_url(&url)
        {
            self.complain(&given("url"), format!("`url` can never be sent to: {forbidden}"));
        }
        let compression = match sink.compression.as_str() {
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            _ => Compression::None,
        };
        let ca_file = sink.ca_file.as_ref().map(|file| self.file(file, &given("ca_file")));
        Some(HttpReceiver { url, headers: sink.headers.clone(), compression, credential, ca_file, allow_private })
    }
}

fn policy(sink: &Sink) -> DeliveryPolicy {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    DeliveryPolicy {
        batch: BatchLimits { items: sink.batch_events, bytes: sink.batch_bytes },
        batch_age: Duration::from_millis(sink.batch_age_ms),
        timeout: Duration::from_secs(sink.timeout_seconds),
        backoff: Backoff { initial: Duration::from_millis(sink.backoff_initial_ms), max: Duration::from_millis(sink.backoff_ms_max) },
        breaker_failures: narrow(sink.breaker_failures),
        rate_per_second: sink.rate_per_second.and_then(|rate| NonZeroU32::new(narrow(rate))),
        concurrency_max: sink.concurrency,
        refused_max: narrow(sink.refused_max),
        degraded_after: Duration::from_secs(sink.degraded_seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::of_text as settings;
    use std::path::Path;

    #[test]
    fn each_type_gets_what_it_needs() {
        let text = "[[sink]]\nname = \"f\"\ntype = \"file\"\npath = \"out/e.csv\"\nformat = \"csv\"\nrotate_bytes = \"1 MiB\"\nkeep = 2\n\
                    [[sink]]\nname = \"w\"\ntype = \"webhook\"\nurl = \"https://r.example/in?key=k\"\nsecret_file = \"s.key\"\n\
                    headers = { X-Site = \"a\" }\nallow_private = [\"10.0.0.0/8\", \"::1\"]\ncompression = \"zstd\"\nrate_per_second = 100\n\
                    filter = 'src_ip:198.51.*'\nstart = \"end\"\nmay_lose = true\n\
                    [[sink]]\nname = \"e\"\ntype = \"elasticsearch\"\nurl = \"http://e.example:9200\"\nuser = \"u\"\npassword_file = \"/run/p\"\n\
                    [[sink]]\nname = \"g\"\ntype = \"guvi\"\nurl = \"https://g.example/\"\napi_key_file = \"/run/k\"\nagain = true\n\
                    notes = \"site 7:\"\nchats_open = 5\n";
        let sinks = settings(text).expect("valid").sinks;
        let expected = FileSettings { path: "/etc/h/out/e.csv".into(), format: FileFormat::Csv, rotate_bytes: Some(1 << 20), keep: 2 };
        assert_eq!(sinks[0].receiver, Receiver::File(expected));
        assert_eq!((sinks[0].start, sinks[0].may_lose, sinks[0].policy), (Start::Beginning, false, DeliveryPolicy::default()));
        let webhook = &sinks[1];
        assert_eq!((webhook.start, webhook.may_lose), (Start::End, true));
        assert_eq!(webhook.filter.as_ref().map(|(text, _)| text.as_str()), Some("src_ip:198.51.*"));
        assert_eq!(webhook.policy.rate_per_second, NonZeroU32::new(100));
        assert_eq!(webhook.receiver.place(), "https://r.example/in?…", "a token is not shown");
        assert_eq!(webhook.receiver.secrets(), [Path::new("/etc/h/s.key")]);
        let basic = Credential::Basic { user: "u".into(), password_file: "/run/p".into() };
        assert_eq!(sinks[2].receiver.http().and_then(|http| http.credential.clone()), Some(basic));
        assert!(matches!(sinks[2].receiver, Receiver::Elasticsearch { index_days: Some(30), .. }));
        let always = settings(&text.replace("user = \"u\"", "index_days = \"unlimited\"\nuser = \"u\"")).expect("valid").sinks;
        assert!(matches!(always[2].receiver, Receiver::Elasticsearch { index_days: None, .. }));
        let chats = SessionSettings { again: true, notes: Some("site 7:".into()), sessions_max: 5, ..SessionSettings::default() };
        assert!(matches!(&sinks[3].receiver, Receiver::Guvi { chats: configured, .. } if *configured == chats));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_line_and_a_remedy() {
        let file = "[[sink]]\nname = \"a\"\ntype = \"file\"\npath = \"/x\"\n";
        let hook = "[[sink]]\nname = \"a\"\ntype = \"webhook\"\nurl = \"https://x.example\"\n";
        let rotating = format!("{file}rotate_bytes = \"1 MiB\"\n");
        let over = "/etc/h/h.toml:9:8: the sink `a` and this one would write over each other's files";
        let over4 = "/etc/h/h.toml:8:8: the sink `a` and this one would write over each other's files";
        let cases: &[(String, &str)] = &[
            (file.replace("path = \"/x\"\n", ""), "/etc/h/h.toml:3:8: a sink of type \"file\" needs `path`"),
            (hook.replace("url = \"https://x.example\"\n", ""), "/etc/h/h.toml:3:8: a sink of type \"webhook\" needs `url`"),
            (
                format!("{file}url = \"http://x\""),
                "/etc/h/h.toml:5:7: a sink of type \"file\" has no `url`, only \"webhook\", \"elasticsearch\", \"guvi\" has",
            ),
            (
                format!("{hook}compression = \"zstd\"").replace("webhook", "elasticsearch"),
                "/etc/h/h.toml:5:15: Elasticsearch and OpenSearch take \"gzip\" only",
            ),
            (format!("{hook}index = \"x\""), "/etc/h/h.toml:5:9: a sink of type \"webhook\" has no `index`"),
            (format!("{file}{file}"), "/etc/h/h.toml:6:8: a sink called `a` stands above"),
            (format!("{file}{}", file.replace("\"a\"", "\"b\"")), "/etc/h/h.toml:8:8: the sink `a` writes to this file"),
            (format!("{rotating}{}", file.replace("\"a\"", "\"b\"").replace("/x", "/x.5")), over),
            (format!("{}{}", file.replace("/x", "/x.1"), rotating.replace("\"a\"", "\"b\"")), over4),
            (format!("{file}{}", file.replace("\"a\"", "\"b\"").replace("/x", "/x.position")), over4),
            (
                hook.replace("x.example", "10.0.3.7:9200"),
                "/etc/h/h.toml:4:7: `url` can never be sent to: 10.0.3.7 is private: if it is meant",
            ),
            (hook.replace("x.example", "0x7f.1"), "/etc/h/h.toml:4:7: `url` can never be sent to: 127.0.0.1 is loopback"),
            (hook.replace("x.example", "x.example:0"), "/etc/h/h.toml:4:7: `url` can never be sent to: the URL must not have port 0"),
            (format!("{hook}allow_private = [\"10.0.0.0/+8\"]"), "/etc/h/h.toml:5:17: `10.0.0.0/+8` in `allow_private` is neither"),
            (hook.replace("https:", "ftp:"), "/etc/h/h.toml:4:7: `url` must begin with http:// or https://"),
            (hook.replace("https://", "https://u:p@"), "/etc/h/h.toml:4:7: `url` must not hold a user or a password"),
            (format!("{hook}user = \"u\""), "/etc/h/h.toml:5:8: `user` needs `password_file`"),
            (format!("{hook}user = \"u\"\npassword_file = \"p\"\ntoken_file = \"t\""), "/etc/h/h.toml:4:7: give one credential only"),
            (format!("{hook}headers = {{ Authorization = \"x\" }}"), "/etc/h/h.toml:5:11: the header field `Authorization` cannot be set"),
            (format!("{hook}allow_private = [\"10.0.0.0/33\"]"), "/etc/h/h.toml:5:17: `10.0.0.0/33` in `allow_private` is neither"),
            (format!("{hook}filter = \"nosuch:1\""), "/etc/h/h.toml:5:10: `filter` is no query: column 1: there is no field `nosuch`"),
            (format!("{hook}filter = \"since:24h\""), "/etc/h/h.toml:5:10: a sink's `filter` cannot have since: or until:"),
            (format!("{hook}backoff_ms_max = 5"), "/etc/h/h.toml:5:18: `backoff_ms_max` must not be less"),
            (format!("{file}may_lose = \"yes\""), "/etc/h/h.toml:5:12: `may_lose` must be true or false"),
            (format!("{file}format = \"csv\"\nenvelope = true"), "/etc/h/h.toml:6:12: `envelope` is for NDJSON"),
        ];
        for (text, expected) in cases {
            let problems = settings(text).expect_err(text);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{expected}\n{problems:?}");
        }
        let second = |path: &str| file.replace("\"a\"", "\"b\"").replace("/x", path);
        for fine in [
            format!("{rotating}{}{}", second("/x.6"), second("/x.01").replace("\"b\"", "\"c\"")),
            format!("{file}{}", second("/x.1")),
            format!("{hook}allow_private = [\"10.0.0.0/8\"]").replace("x.example", "10.0.3.7"),
        ] {
            assert_eq!(settings(&fine).err(), None, "{fine}");
        }
    }
}
