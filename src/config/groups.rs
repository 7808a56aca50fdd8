//! Every option there is, with its default, its limits and its documentation.
//!
//! Each group is the struct the program reads and the table everything else is made from (see [`super::key`]); the doc
//! comments are the comments in `config/honeyguide.toml`.
use super::key::{Apply, Group, Key, Kind, Setting, Value, name_in_file};
use crate::events::mapping::IdentityRule;
use crate::events::wrapping::CSV_COLUMNS_MAX;
use crate::sources::CHUNK_BYTES;
use std::collections::BTreeMap;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

macro_rules! required {
    (required) => {
        true
    };
    () => {
        false
    };
}

macro_rules! groups {
    ($($(#[doc = $about:literal])* $group:ident $name:literal $($repeated:ident)? {
        $($(#[doc = $doc:literal])* $field:ident: $type:ty = $default:literal $($required:ident)?, $kind:expr, $apply:ident;)*
    })*) => {
        $(
            $(#[doc = $about])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $group { $($(#[doc = $doc])* pub $field: $type),* }

            impl $group {
                pub const GROUP: Group = Group {
                    name: $name,
                    repeated: required!($($repeated)?),
                    about: &[$($about),*],
                    keys: &[$(Key {
                        name: name_in_file(stringify!($field)),
                        kind: $kind,
                        default: $default,
                        required: required!($($required)?),
                        apply: Apply::$apply,
                        about: &[$($doc),*],
                    }),*],
                };

                /// From checked values, one for each key.
                pub(super) fn from_values(mut value: impl FnMut(&'static str) -> Value) -> $group {
                    $group { $($field: Setting::from_value(&value(name_in_file(stringify!($field))))),* }
                }
            }
        )*

        /// All groups, in the order of the file.
        pub static GROUPS: &[Group] = &[$($group::GROUP),*];
    };
}

groups! {
    /// Where everything is kept.
    Root "" {
        /// Directory of journal, ledger, quarantine and state; `--data DIR` overrides it. A relative path here and below is
        /// relative to the directory of this file.
        data_dir: String = "\"/var/lib/honeyguide\"", Kind::Text { none: None }, Restart;
    }

    /// How to ask the running daemon.
    Admin "admin" {
        /// TCP address of the API (ops/ACCESS.md); "off" opens none. Other than loopback it needs TLS, as credentials go through it.
        listen: Option<String> = "\"127.0.0.1:8787\"", Kind::Text { none: Some("off") }, Restart;
        /// Unix socket that serves every command. "auto": admin.sock in $RUNTIME_DIRECTORY under systemd, else in the data directory.
        socket: Option<String> = "\"auto\"", Kind::Text { none: Some("auto") }, Restart;
        /// What members of the data directory's group are on the socket: "admin", "analyst", "researcher", "developer" (ops/ACCESS.md), or
        /// "none". Root and the daemon's own user may do everything.
        group_role: Option<String> = "\"analyst\"", Kind::Text { none: Some("none") }, Reload;
        /// Whether /health, /ready and /metrics (numbers and fixed words only) answer without a credential.
        anonymous: bool = "true", Kind::Flag, Reload;
        /// Names besides localhost and loopback addresses under which it is asked; whoever asks for another name is refused, as pages
        /// of other sites would (DNS rebinding).
        hosts: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        /// Origins of other sites' pages that may ask with a key of theirs (CORS), such as "https://dash.example"; none else may.
        origins: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        /// PEM files of certificate chain and key; read again at reload.
        tls_certificate: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        tls_key: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// Listen elsewhere than on loopback without TLS: whoever can read the network then reads keys and evidence.
        insecure_listen: bool = "false", Kind::Flag, Restart;
        /// Requests a second, on average over ten seconds: from an address, before anything of it is looked at, and with one key.
        address_rate: u64 = "500", Kind::Number { min: 1, max: 1_000_000, none: None }, Reload;
        key_rate: u64 = "200", Kind::Number { min: 1, max: 1_000_000, none: None }, Reload;
        /// Connections of one address at once, of those on TCP (64, and `live_clients` more): further ones are hung up on. Behind a proxy
        /// all have its address: allow it all of them.
        address_connections: usize = "64", Kind::Number { min: 1, max: 2_000, none: None }, Restart;
        /// Clients that may watch the live stream at once (`honeyguide tap`, the page), and of these with one key or as one user of the
        /// machine; further ones are refused.
        live_clients: usize = "64", Kind::Number { min: 1, max: 1_000, none: None }, Restart;
        live_clients_each: usize = "16", Kind::Number { min: 1, max: 1_000, none: None }, Restart;
        /// Events, and bytes of them, that wait for a client that reads slowly; beyond that the oldest are dropped, and it is told
        /// how many.
        live_queue_events: usize = "1000", Kind::Number { min: 16, max: 100_000, none: None }, Restart;
        live_queue_bytes: usize = "\"256 KiB\"", Kind::Bytes { min: 16 * KIB, max: 16 * MIB, none: None }, Restart;
    }

    /// Whose tokens (JWT) are taken besides keys and tokens of our own: an OpenID Connect provider; one such table for each. What its
    /// tokens must hold, and how to set up some: ops/ACCESS.md.
    Issuer "issuer" required {
        /// As `iss` of its tokens has it, to the letter. With https://; http:// only to addresses in `allow_private`.
        url: String = "\"https://id.example\"" required, Kind::Text { none: None }, Reload;
        /// What its tokens for this daemon have in `aud`: tokens for others are refused.
        audience: String = "\"honeyguide\"" required, Kind::Text { none: None }, Reload;
        /// What the values of `roles_claim` mean here, such as { soc = "analyst", honeypot-admins = "admin" }: admin, analyst,
        /// researcher, developer or sensor. Who has none of them is refused.
        roles: BTreeMap<String, String> = "{ soc = \"analyst\" }" required, Kind::Map { most: 64 }, Reload;
        /// The claim that holds a value or a list of them; a path of names joined by dots leads into it: "realm_access.roles".
        roles_claim: String = "\"roles\"", Kind::Text { none: None }, Reload;
        /// The claim that says which sensors somebody may see: a name, a list, or "*". Tokens must then have it. "none": all sensors.
        sensors_claim: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// Signatures that are taken.
        algorithms: Vec<String> = "[\"RS256\", \"ES256\", \"EdDSA\"]", Kind::List { most: 3 }, Reload;
        /// Where its keys are; "discover": it says so under `url`/.well-known/openid-configuration.
        jwks_url: Option<String> = "\"discover\"", Kind::Text { none: Some("discover") }, Reload;
        /// By how much clocks may differ.
        leeway_seconds: u64 = "30", Kind::Number { min: 0, max: 300, none: None }, Reload;
        /// How long its keys are used before they are asked for again, and how much longer when they cannot be had.
        ttl_seconds: u64 = "600", Kind::Number { min: 10, max: 86_400, none: None }, Reload;
        stale_seconds: u64 = "3600", Kind::Number { min: 0, max: 604_800, none: None }, Reload;
        /// It is not asked more often than this, whatever keys tokens name.
        interval_seconds: u64 = "30", Kind::Number { min: 1, max: 3600, none: None }, Reload;
        /// A request that is not answered within this time failed.
        timeout_seconds: u64 = "10", Kind::Number { min: 1, max: 60, none: None }, Reload;
        /// Private addresses that its URLs may lead to, as for sinks.
        allow_private: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        /// Trust the certificates in this PEM file as well.
        ca_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
    }

    /// A listener of its own for what honeypots push: POST /api/v1/events, and POST /api/v1/messages of chat-scam honeypots; nothing
    /// else is on it. One such table for each; its events have its name as their source. How to set it up: ops/PUSH.md.
    Receiver "receiver" required {
        /// Short name, as of a source: do not change it later.
        name: String = "\"chat\"" required, Kind::Text { none: None }, Restart;
        /// TCP address. Without TLS keys and events cross the network as they are, so loopback only, behind a proxy or a tunnel…
        listen: String = "\"127.0.0.1:8788\"" required, Kind::Text { none: None }, Restart;
        /// …unless this insists, on a network that is the honeypots' own.
        insecure_listen: bool = "false", Kind::Flag, Restart;
        /// File with one key a line, of 16 characters or more (`openssl rand -hex 32`), which no other user can read; # begins a
        /// comment. Requests show one as x-api-key. Under systemd: a credential, /run/credentials/honeyguide.service/NAME.
        /// A reload reads it again.
        keys_file: String = "\"/etc/honeyguide/receiver.keys\"" required, Kind::Text { none: None }, Restart;
        /// Of what comes to /api/v1/events; messages are always "chat".
        format: String = "\"cowrie\"", Kind::Text { none: None }, Restart;
        /// What a message is answered with: an empty text, a phrase of a table, or what a service of your own says ("hook").
        reply: String = "\"none\"", Kind::Choice(&["none", "persona", "hook"]), Restart;
        /// Table of phrases (TOML), also for when the hook has no answer.
        persona_file: Option<String> = "\"built-in\"", Kind::Text { none: Some("built-in") }, Restart;
        /// Where the hook is asked, and how long it may take.
        hook_url: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Restart;
        hook_timeout_ms: u64 = "2000", Kind::Number { min: 10, max: 60_000, none: None }, Restart;
        /// Private addresses that the hook's URL may lead to, as for sinks.
        allow_private: Vec<String> = "[]", Kind::List { most: 64 }, Restart;
        /// Requests that one address, and one key, may make in a second; more get 429.
        rate_per_second: usize = "100", Kind::Number { min: 1, max: 1_000_000, none: None }, Restart;
        /// Connections at once; more wait.
        connections_max: usize = "256", Kind::Number { min: 1, max: 4096, none: None }, Restart;
    }

    /// What to read; one such table for each group of logs.
    Source "source" required {
        /// Short name of letters, digits, "-", "_" and ".": it labels metrics and checkpoints, so do not change it later.
        name: String = "\"cowrie\"" required, Kind::Text { none: None }, Reload;
        /// Kind of source.
        r#type: String = "\"file\"", Kind::Choice(&["file"]), Reload;
        /// Who wrote the logs: "cowrie", "chat" (messages of a chat-scam honeypot), "opencanary", "dionaea", "dockerapi", or the
        /// name of a [[format]] below.
        format: String = "\"cowrie\"", Kind::Text { none: None }, Reload;
        /// Files, with the wildcards * ? [] and **; rotated and compressed ones included, each is read once.
        paths: Vec<String> = "[\"/home/cowrie/cowrie/var/log/cowrie/cowrie.json*\"]" required, Kind::List { most: 64 }, Reload;
        /// Directories that symbolic links among the files may lead to; none given: the directories named before the first wildcard.
        roots: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        /// Where to start in files that exist when the source is first seen; files that appear later are read from their beginning.
        start: String = "\"beginning\"", Kind::Choice(&["beginning", "end"]), Reload;
    }

    /// A format of your own, or another meaning for a shipped one (opencanary, dionaea, dockerapi); one such table for each.
    /// Paths are names joined by dots; behind a name, [0] is an element of an array, [] each, [User-Agent] the value that goes with
    /// a name; of paths joined by | the first that is there counts.
    Format "format" required {
        /// What a source calls it.
        name: String = "\"canary\"" required, Kind::Text { none: None }, Reload;
        /// Read lines, or what is wrapped in them, as this format does: then no paths are needed.
        like: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// What each line is taken out of first: "syslog" (RFC 3164 and 5424), "docker" (a container's json-file log), "csv".
        wrap: String = "\"none\"", Kind::Choice(&["none", "syslog", "docker", "csv"]), Reload;
        /// Of CSV: the columns, in their order. A line that holds just these names is no event.
        columns: Vec<String> = "[]", Kind::List { most: CSV_COLUMNS_MAX }, Reload;
        /// Paths of the time (ISO 8601, or seconds, milliseconds or microseconds since 1970), the session, the honeypot's name.
        time: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        session: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        sensor: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// Path of the kind of event, or a text with paths in braces, such as "canary.{logtype}".
        eventid: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// Fields of searches, each with its path, such as { src_ip = "peer.address", username = "logdata.USERNAME|user" }.
        fields: BTreeMap<String, String> = "{}", Kind::Map { most: 64 }, Reload;
        /// Paths of texts that indicators are looked for in; "command:", "chat:", "address:" or "hash:" before a path says what kind
        /// of text it is, "base64:" that it is to be decoded first.
        texts: Vec<String> = "[]", Kind::List { most: 32 }, Reload;
        /// What tells events apart: "line" (equal lines are the same event), "position" (the place in the file: for lines without
        /// time or id), or the paths of values; "auto": as the format it is like, else by the line.
        identity: IdentityRule = "\"auto\"", Kind::WordOrList { words: &["line", "position"], none: "auto", most: 16 }, Reload;
        /// Members that its lines have and those of no other format: `load` recognises files by them.
        recognised_by: Vec<String> = "[]", Kind::List { most: 16 }, Reload;
    }

    /// What must not be stored, or must not leave; one such table for each rule, and of several that fit the first counts. What a rule
    /// names is gone before anything of the line is stored or indexed: nothing brings it back. Input that is no event, and what cannot
    /// be redacted for certain, then goes into quarantine without its text. A reload applies to what is read from then on.
    Redact "redact" required {
        /// Fields of searches, whatever member the format maps to them, such as ["password", "command"].
        fields: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        /// What is found in any text, number or name of the line, also inside longer texts and packed in base64: "email", "phone", "card".
        kinds: Vec<String> = "[]", Kind::List { most: 3 }, Reload;
        /// "mask": [password] stands in its place. "hash": [password:9f2c…], the same for equal values, which nobody can try out without
        /// the key in [privacy]. "drop": it goes, as if it had not been there.
        action: String = "\"mask\"" required, Kind::Choice(&["mask", "hash", "drop"]), Reload;
        /// "store": before it is stored. "export": it is stored, and goes before it leaves, to sinks and to commands with --redact;
        /// so does then what was stored before a rule for storing was made.
        when: String = "\"store\"", Kind::Choice(&["store", "export"]), Reload;
        /// Only in events of these sources ("load": what `honeyguide load` reads), and of these honeypots; none given: of all.
        sources: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        sensors: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
    }

    /// The key of redaction.
    Privacy "privacy" {
        /// File with 64 hexadecimal digits (`openssl rand -hex 32`) that only the daemon's user can read. Besides hashing values it hides
        /// the ids of redacted events, which could be tried out else. Keep it as long as the data, also when the rules go: with another
        /// key, equal values get other hashes, and redacted events that are read again are not recognised.
        key_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
    }

    /// Where to send events; one such table for each receiver. Each has a place of its own in the journal, so one that is slow or
    /// absent holds up neither the others nor the reading, and nothing that is stored is skipped. Keys that a type does not have
    /// are refused.
    Sink "sink" required {
        /// Short name, as of a source: its place in the journal is kept under it, so do not change it later.
        name: String = "\"archive\"" required, Kind::Text { none: None }, Reload;
        /// Kind of receiver: "file" (a file, exactly once), "webhook" (batches by HTTP POST), "elasticsearch" (also OpenSearch; bulk),
        /// "guvi" (the result of a chat, once it is confirmed and over).
        r#type: String = "\"file\"" required, Kind::Choice(&["file", "webhook", "elasticsearch", "guvi"]), Reload;
        /// file: what to write to. Its directory must be there.
        path: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// All others: where to send to, with http:// or https://.
        url: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// Send only events that match, as in `honeyguide search`: 'eventid:cowrie.login.* src_ip:198.51.*'.
        filter: Option<String> = "\"all\"", Kind::Text { none: Some("all") }, Reload;
        /// Where to start when the sink is first seen: with all that is stored, or with what comes from then on.
        start: String = "\"beginning\"", Kind::Choice(&["beginning", "end"]), Reload;
        /// A batch is sent when it has so many events, or so many bytes of them, or when its first event has waited this long.
        batch_events: usize = "500", Kind::Number { min: 1, max: 100_000, none: None }, Reload;
        batch_bytes: usize = "\"1 MiB\"", Kind::Bytes { min: 4 * KIB, max: 64 * MIB, none: None }, Reload;
        batch_age_ms: u64 = "200", Kind::Number { min: 1, max: 600_000, none: None }, Reload;
        /// A request that is not answered within this time is sent again.
        timeout_seconds: u64 = "30", Kind::Number { min: 1, max: 3600, none: None }, Reload;
        /// Longest wait behind the first and behind any later failure; waits double and are jittered.
        backoff_initial_ms: u64 = "500", Kind::Number { min: 1, max: 600_000, none: None }, Reload;
        backoff_ms_max: u64 = "60000", Kind::Number { min: 1, max: 3_600_000, none: None }, Reload;
        /// So many failures in a row, and only single requests are tried until one succeeds.
        breaker_failures: usize = "5", Kind::Number { min: 1, max: 10_000, none: None }, Reload;
        /// So many refusals in a row without one delivery, and nothing more becomes a dead letter: the receiver must be set up wrongly.
        refused_max: usize = "64", Kind::Number { min: 1, max: 1_000_000, none: None }, Reload;
        /// Nothing delivered for this long while something waits, and the sink counts as degraded.
        degraded_seconds: u64 = "30", Kind::Number { min: 1, max: 86_400, none: None }, Reload;
        /// Send no more events a second than this.
        rate_per_second: Option<usize> = "\"unlimited\"", Kind::Number { min: 1, max: 10_000_000, none: Some("unlimited") }, Reload;
        /// Requests under way at once; how many the receiver bears is found out. A file takes one.
        concurrency: usize = "4", Kind::Number { min: 1, max: 64, none: None }, Reload;
        /// Retention may remove events that this sink has not delivered; without it they stay, whatever `[journal]` says.
        may_lose: bool = "false", Kind::Flag, Reload;
        /// Redact by [[redact]] what is sent; false for a receiver that may have what is stored as it is stored.
        redact: bool = "true", Kind::Flag, Reload;
        /// file: the lines as they are, or a table. "csv" has the common fields.
        format: String = "\"ndjson\"", Kind::Choice(&["ndjson", "csv"]), Reload;
        /// file: put each line into an object with its id, sequence number, source and time.
        envelope: bool = "false", Kind::Flag, Reload;
        /// file: begin a new file rather than let this one outgrow it, and keep so many old ones (path.1 is the newest).
        rotate_bytes: Option<u64> = "\"never\"", Kind::Bytes { min: 64 * KIB, max: TIB, none: Some("never") }, Reload;
        keep: usize = "5", Kind::Number { min: 0, max: 1000, none: None }, Reload;
        /// HTTP: how bodies are compressed.
        compression: String = "\"none\"", Kind::Choice(&["none", "gzip", "zstd"]), Reload;
        /// HTTP: header fields to add. No secrets here: those come from files, readable by the daemon's user only.
        headers: BTreeMap<String, String> = "{}", Kind::Map { most: 32 }, Reload;
        /// webhook: file with the key that signs each body (HMAC-SHA256).
        secret_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// HTTP: file with a bearer token; or a user with the file of a password; or (Elasticsearch, GUVI) the file of an API key.
        token_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        user: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        password_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        api_key_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// HTTP: trust the certificates in this PEM file as well.
        ca_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// HTTP: private addresses that may be sent to, such as "10.0.3.7" or "10.0.0.0/8"; all others are refused, wherever a name or a
        /// redirect leads.
        allow_private: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        /// elasticsearch: indexes are called PREFIX-YYYY.MM.DD by the event's day.
        index: String = "\"honeyguide\"", Kind::Text { none: None }, Reload;
        /// elasticsearch: the time of a chat's message is its sender's. When it is more days than this from when the message came, the
        /// day it came chooses the index, so that nobody makes indexes without end; raise it before you load old chats. The logs of
        /// other honeypots have their own clocks' time, and go into the index of that day however old they are.
        index_days: Option<u64> = "30", Kind::Number { min: 1, max: 36_500, none: Some("unlimited") }, Reload;
        /// guvi: a chat is over when nothing came for this long.
        quiet_seconds: u64 = "300", Kind::Number { min: 1, max: 604_800, none: None }, Reload;
        /// guvi: send the result again when the chat grew afterwards.
        again: bool = "false", Kind::Flag, Reload;
        /// guvi: add the keys of the later variant: e-mail addresses, numbers of cases, policies and orders, how long the chat went on,
        /// its kind and how sure that is.
        extended: bool = "false", Kind::Flag, Reload;
        /// guvi: text to put in front of the reasons in `agentNotes`.
        notes: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// guvi: most chats open at once; the one silent for longest is concluded early rather than outgrow this.
        chats_open: usize = "10000", Kind::Number { min: 1, max: 1_000_000, none: None }, Reload;
    }

    /// Services that are asked what they know of a value, when `honeyguide enrich` is told to; one such table for each. Every answer is
    /// kept, so that nothing is asked twice. What they are sent, and what never: ops/ENRICHMENT.md.
    Enricher "enricher" required {
        /// Short name, as of a source: answers and quotas are kept under it.
        name: String = "\"greynoise\"" required, Kind::Text { none: None }, Reload;
        /// Whose shape it has: "virustotal", "abuseipdb", "greynoise" (Community), "urlhaus", or "hook", a service of your own.
        r#type: String = "\"greynoise\"" required, Kind::Choice(&["virustotal", "abuseipdb", "greynoise", "urlhaus", "hook"]), Reload;
        /// Where it is asked: "default" is the service's own address. With https://; http:// only to addresses in `allow_private`.
        url: Option<String> = "\"default\"", Kind::Text { none: Some("default") }, Reload;
        /// File with the key, readable by the daemon's user only. "greynoise" and "hook" also do without.
        api_key_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// What it is asked about: "hash", "address", "domain", "url"; none given: all that it answers, but no URLs, which tell more.
        kinds: Vec<String> = "[]", Kind::List { most: 4 }, Reload;
        /// How long an answer holds; and one that nothing is known. Older ones are told, marked as stale, only while it cannot be asked.
        ttl_hours: u64 = "168", Kind::Number { min: 1, max: 87_600, none: None }, Reload;
        unknown_ttl_hours: u64 = "24", Kind::Number { min: 1, max: 87_600, none: None }, Reload;
        /// Most requests in any minute, and in a day (UTC); "default" is what the service gives away free of charge.
        quota_per_minute: Option<usize> = "\"default\"", Kind::Number { min: 1, max: 240, none: Some("default") }, Reload;
        quota_per_day: Option<usize> = "\"default\"", Kind::Number { min: 1, max: 10_000_000, none: Some("default") }, Reload;
        /// A request that is not answered within this time failed.
        timeout_seconds: u64 = "20", Kind::Number { min: 1, max: 300, none: None }, Reload;
        /// How long it is left alone when it fails or says that it is asked too often; doubles with each failure in a row, to an hour.
        cooldown_seconds: u64 = "60", Kind::Number { min: 1, max: 3600, none: None }, Reload;
        /// Private addresses that the URL may lead to, as for sinks.
        allow_private: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        /// Trust the certificates in this PEM file as well.
        ca_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
    }

    /// An outside program that scores chats; what it does not answer in time, or not at all, the built-in rules score.
    /// What it is sent and has to answer is described in ops/INDICATORS.md.
    Model "model" {
        /// A socket, "unix:/run/scorer.sock", or a URL with http:// or https://.
        url: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Restart;
        timeout_ms: u64 = "2000", Kind::Number { min: 10, max: 60_000, none: None }, Restart;
        /// Private addresses that the URL may lead to, as for sinks.
        allow_private: Vec<String> = "[]", Kind::List { most: 64 }, Restart;
    }

    /// What `honeyguide indicators` takes for hostile, and what not: addresses, networks such as "198.51.100.0/24", and values in which
    /// * stands for any characters, such as "*.example.com"; of URLs the whole or the host. `own` and `allow` go before `deny`, and
    /// that before the lists that are compiled in.
    Indicators "indicators" {
        /// Your own addresses, networks and names: never exported.
        own: Vec<String> = "[]", Kind::List { most: 4096 }, Reload;
        /// Others that are not hostile: never exported.
        allow: Vec<String> = "[]", Kind::List { most: 4096 }, Reload;
        /// What is hostile whatever else is known of it: its score is 100.
        deny: Vec<String> = "[]", Kind::List { most: 4096 }, Reload;
    }

    /// Sensors with days that are not like those before: what `honeyguide anomalies` and reports tell, and what the daemon looks for
    /// every hour. Each is told once: in the log, in the ledger, and in honeyguide_anomalies_total. ops/REPORTS.md has the formulas.
    Anomalies "anomalies" {
        /// Whether the daemon looks by itself.
        enabled: bool = "true", Kind::Flag, Reload;
        /// So many usual spreads away from the middle of the days before, either way, and it is an anomaly.
        threshold: u64 = "6", Kind::Number { min: 2, max: 1000, none: None }, Reload;
        /// Most days before that a day is held against.
        baseline_days: u64 = "28", Kind::Number { min: 3, max: 90, none: None }, Reload;
        /// With fewer of them there is no verdict.
        min_days: u64 = "7", Kind::Number { min: 3, max: 90, none: None }, Reload;
    }

    /// How the rules of alerts are looked at.
    Alerts "alerts" {
        /// How often. A rule whose look takes long is looked at less often, so that all looks cost little.
        every_seconds: u64 = "10", Kind::Number { min: 1, max: 3600, none: None }, Reload;
        /// So many requests of a sink failed in a row, and a rule of "sink" tells it.
        worker_alert_failure_threshold: u64 = "5", Kind::Number { min: 1, max: 1_000_000, none: None }, Reload;
    }

    /// What to tell whom, without another program that watches; one such table for each rule. A rule tells once that something began,
    /// and once that it is over. Keys that a `when` does not have are refused. ops/ALERTS.md shows one of each.
    Alert "alert" required {
        /// Short name, as of a source: what is open is kept under it.
        name: String = "\"logins\"" required, Kind::Text { none: None }, Reload;
        /// "count" (the events that match a query), "anomaly" (what [anomalies] finds), "indicator" (values never seen before), "sink" (one
        /// that delivers nothing, fails again and again, or makes dead letters), "disk" (little room, or reading is paused for it),
        /// "silence" (a honeypot without an event).
        when: String = "\"count\"" required, Kind::Choice(&["count", "anomaly", "indicator", "sink", "disk", "silence"]), Reload;
        /// Names of the sinks that are told; none given: log, metrics and `honeyguide alerts` only.
        to: Vec<String> = "[]", Kind::List { most: 16 }, Reload;
        /// count: what is counted, as in `honeyguide search`, without since: and until:.
        query: Option<String> = "\"all\"", Kind::Text { none: Some("all") }, Reload;
        /// count: over so long until now. silence: so long without an event. sink: dead letters within it. indicator: values whose
        /// first event is not older.
        window_seconds: u64 = "3600", Kind::Number { min: 1, max: 2_592_000, none: None }, Reload;
        /// count: alert while there are more than this, or fewer.
        above: Option<usize> = "\"none\"", Kind::Number { min: 0, max: 1_000_000_000_000, none: Some("none") }, Reload;
        below: Option<usize> = "\"none\"", Kind::Number { min: 1, max: 1_000_000_000_000, none: Some("none") }, Reload;
        /// anomaly, silence: only of this honeypot.
        sensor: Option<String> = "\"any\"", Kind::Text { none: Some("any") }, Reload;
        /// anomaly: only of this figure: "events", "sessions", "addresses", "downloads", "silence".
        measure: Option<String> = "\"any\"", Kind::Text { none: Some("any") }, Reload;
        /// indicator: kind of value, as `honeyguide indicators --kind` has it, such as "url", "shasum", "src_ip", "upi".
        kind: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// indicator: only with this score at least, 0 to 100; only when an outside list or an enricher knows it.
        min_score: u64 = "0", Kind::Number { min: 0, max: 100, none: None }, Reload;
        listed: bool = "false", Kind::Flag, Reload;
        /// sink: only of these; none given: of all.
        sinks: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
        /// disk: while less than this is free; "paused": only while reading is paused for `min_free_bytes` in [journal].
        free_bytes: Option<u64> = "\"paused\"", Kind::Bytes { min: MIB, max: 1024 * TIB, none: Some("paused") }, Reload;
        /// So long behind an alert nothing of the same rule and subject is told anew, however often it comes and goes.
        cooldown_seconds: u64 = "900", Kind::Number { min: 1, max: 604_800, none: None }, Reload;
    }

    /// The evidence, and how long it is kept.
    Journal "journal" {
        /// A segment is sealed at this many bytes of raw lines (or at the end of the UTC day).
        segment_bytes: u64 = "\"64 MiB\"", Kind::Bytes { min: MIB, max: GIB, none: None }, Restart;
        /// Reading pauses while the file system has less than this free, and resumes by itself.
        min_free_bytes: u64 = "\"256 MiB\"", Kind::Bytes { min: MIB, max: TIB, none: None }, Reload;
        /// The oldest segments go when journal and sidecars outgrow this.
        disk_budget_bytes: Option<u64> = "\"unlimited\"", Kind::Bytes { min: 4 * MIB, max: 1024 * TIB, none: Some("unlimited") }, Reload;
        /// Days the log lines themselves are kept.
        evidence_days: Option<u64> = "\"forever\"", Kind::Number { min: 1, max: 36_500, none: Some("forever") }, Reload;
        /// Days that counts, top lists and first-seen times are kept: at least as long as the lines.
        answers_days: Option<u64> = "\"forever\"", Kind::Number { min: 1, max: 36_500, none: Some("forever") }, Reload;
    }

    /// Where evidence is put before retention removes it: what is not there and compared is not removed, whatever [journal] says.
    /// `honeyguide archive` puts segments there at any time. Names, columns and how to read them: ops/ARCHIVE.md.
    Archive "archive" {
        /// A directory that is there, on another disk at best, or "s3://BUCKET/PREFIX".
        to: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// "segment": the file as it is, which proves itself and which `honeyguide load` reads; "parquet": a table for DuckDB.
        formats: Vec<String> = "[\"segment\"]", Kind::List { most: 2 }, Reload;
        /// S3: where another server than Amazon's is, such as "https://minio.example:9000".
        endpoint: Option<String> = "\"aws\"", Kind::Text { none: Some("aws") }, Reload;
        region: String = "\"us-east-1\"", Kind::Text { none: None }, Reload;
        /// S3: the bucket's name is in the path, not in the host's name, as most other servers want it.
        path_style: bool = "false", Kind::Flag, Reload;
        /// S3: files that hold the two keys, readable by the daemon's user only. They need s3:PutObject, s3:GetObject and s3:ListBucket.
        access_key_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        secret_key_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// S3: an object that is not there within this time is sent again later.
        timeout_seconds: u64 = "300", Kind::Number { min: 1, max: 86_400, none: None }, Reload;
        /// S3: trust the certificates in this PEM file as well.
        ca_file: Option<String> = "\"none\"", Kind::Text { none: Some("none") }, Reload;
        /// S3: private addresses that the endpoint may lead to, as for sinks.
        allow_private: Vec<String> = "[]", Kind::List { most: 64 }, Reload;
    }

    /// Sensors whose log lines are kept longer or shorter than `evidence_days`; one such table for each name or pattern, and the first
    /// that matches counts. A segment stays as long as any of its sensors; what is past its age is erased from it, with its answers
    /// (counts by day and sensor remain).
    Retention "retention" required {
        /// Name of the sensor, or a pattern: "dmz-*".
        sensor: String = "\"dmz-*\"" required, Kind::Text { none: None }, Reload;
        /// Days its lines are kept.
        days: Option<u64> = "30" required, Kind::Number { min: 1, max: 36_500, none: Some("forever") }, Reload;
    }

    /// Bounds on memory, disk and work.
    Limits "limits" {
        /// Input that has been read and is not yet durable; when this is used up, reading waits.
        in_flight_bytes: usize = "\"16 MiB\"", Kind::Bytes { min: 4 * CHUNK_BYTES as u64, max: GIB, none: None }, Restart;
        /// Index of the segment being written; it is sealed early rather than outgrow this.
        live_index_bytes: usize = "\"12 MiB\"", Kind::Bytes { min: MIB, max: GIB, none: None }, Restart;
        /// Cache of the state store.
        sled_cache_bytes: u64 = "\"8 MiB\"", Kind::Bytes { min: MIB, max: GIB, none: None }, Restart;
        /// What was refused is kept up to this, and so much again of dead letters; then the oldest goes, and a log line says so.
        quarantine_bytes: u64 = "\"256 MiB\"", Kind::Bytes { min: MIB, max: TIB, none: None }, Reload;
        /// Answers of enrichers that are kept; of more the oldest go.
        enrichment_entries: u64 = "100000", Kind::Number { min: 1, max: 10_000_000, none: None }, Reload;
        /// Log files held open at once.
        open_files: usize = "512", Kind::Number { min: 16, max: 65_536, none: None }, Restart;
        /// Threads that decode and compress; "auto": one for each processor.
        workers: Option<usize> = "\"auto\"", Kind::Number { min: 1, max: 64, none: Some("auto") }, Restart;
        /// An archive that expands to more than this many times its size is refused.
        archive_ratio: u64 = "200", Kind::Number { min: 10, max: 100_000, none: None }, Restart;
        /// An archive that expands to more than this is refused.
        archive_bytes: u64 = "\"64 GiB\"", Kind::Bytes { min: MIB, max: 1024 * TIB, none: None }, Restart;
    }

    /// What happens when a part of the daemon fails, and when it is told to stop.
    Supervision "supervision" {
        /// A part that fails more often than this within the window ends the process with exit code 70.
        restart_budget: u64 = "5", Kind::Number { min: 0, max: 1000, none: None }, Restart;
        restart_window_seconds: u64 = "60", Kind::Number { min: 1, max: 86_400, none: None }, Restart;
        /// Longest wait before the first and before any later restart; waits double and are jittered.
        backoff_initial_ms: u64 = "100", Kind::Number { min: 1, max: 60_000, none: None }, Restart;
        backoff_ms_max: u64 = "10000", Kind::Number { min: 1, max: 600_000, none: None }, Restart;
        /// How often every part is asked for a sign of life.
        heartbeat_seconds: u64 = "5", Kind::Number { min: 1, max: 600, none: None }, Restart;
        /// A part that gives none for this long counts as stalled: the systemd watchdog is no longer fed.
        stall_seconds: u64 = "30", Kind::Number { min: 2, max: 3600, none: None }, Restart;
        /// How long stopping may take to make durable what has been read. What is not, is read again at the next start.
        drain_deadline_seconds: u64 = "20", Kind::Number { min: 1, max: 3600, none: None }, Restart;
    }

    /// The daemon's own log.
    Log "log" {
        level: String = "\"info\"", Kind::Choice(&["critical", "error", "warning", "info", "debug", "trace"]), Reload;
        /// "json": one object a line, Logstash and ECS names; "human": for a terminal; "auto": human on a terminal, else json.
        format: String = "\"auto\"", Kind::Choice(&["auto", "json", "human"]), Restart;
        /// Also write JSON lines to this file.
        file: Option<String> = "\"off\"", Kind::Text { none: Some("off") }, Restart;
        /// Start a new file at this size…
        file_bytes: u64 = "\"16 MiB\"", Kind::Bytes { min: 64 * KIB, max: 16 * GIB, none: None }, Restart;
        /// …and keep this many old ones (file.1 is the newest).
        file_keep: usize = "5", Kind::Number { min: 0, max: 1000, none: None }, Restart;
    }
}
