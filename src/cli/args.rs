//! Every command and option, once: the parser, the help, the manual pages and the shell completions all come from these types.
//!
//! A command's long help ends with examples that `tests/cli_args.rs` parses, so that none of them rots.
use crate::access::Role;
use crate::access::keys::Lifetime;
use crate::archive;
use crate::events::{Field, Micros, time};
use crate::geoip;
use crate::index::aggregate::Interval;
use crate::indicators;
use crate::report::anomaly::Measure;
use crate::report::{self, Kind};
use crate::service::clusters;
use crate::service::indicators::INDICATORS_MAX;
use crate::simulate::{self, Shape, Simulation};
use crate::sources::Reason;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueHint};
use std::path::PathBuf;

/// What `honeyguide` was asked to do.
#[derive(Parser, Debug)]
#[command(
    name = "honeyguide",
    version,
    about = "Keeps what honeypots caught as evidence and answers questions about it",
    long_about = "Honeyguide follows the logs of honeypots, keeps every event once in a tamper-evident journal, and answers in \
                  milliseconds who attacked, with what, and what they typed.\n\n\
                  All commands work on one data directory. While a daemon runs on it they ask the daemon; otherwise they open the \
                  directory themselves.",
    after_long_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Args, Debug, Clone, Default)]
pub struct Global {
    /// Data directory [default: `data_dir` of the configuration; `demo` uses ./honeyguide-demo]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Global options")]
    pub data: Option<PathBuf>,
    /// Configuration file [default: /etc/honeyguide/honeyguide.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

const EXAMPLES: &str = "\
Exit codes:
  0   done
  1   failed
  2   the command line or the configuration is wrong
  3   done, but something was refused or found damaged
  70  an actor failed more often than its restart budget allows (run, demo)

Examples:
  honeyguide demo
  honeyguide load /var/log/cowrie
  honeyguide search username:root since:2026-03-01
  honeyguide top password --limit 20
  honeyguide session c7ae63583837

`honeyguide COMMAND --help` explains each command with examples.";

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the daemon: follow the configured logs until told to stop
    #[command(after_long_help = "\
Logs in JSON lines go to standard output. SIGTERM and Ctrl-C drain and stop; SIGHUP reads the configuration again, and a configuration \
that is wrong changes nothing.

Examples:
  honeyguide run
  honeyguide run --config /etc/honeyguide/honeyguide.toml
  honeyguide run --data /var/lib/honeyguide")]
    Run,
    /// See it work: a daemon on a log that grows before your eyes
    Demo(Demo),
    /// Check the configuration and say what would run, without running it
    #[command(after_long_help = "\
Names every source with the files its patterns match now, every sink with what keeps it from delivering, and every key that is not known, with its line and the nearest known key. \
Exits with 2 when `run` would refuse to start.

Examples:
  honeyguide check
  honeyguide check --config ./honeyguide.toml
  honeyguide check --json")]
    Check,
    /// Ask everybody whom the configuration names whether they can be reached
    #[command(after_long_help = "\
Sinks are asked as `honeyguide sinks test` asks them; issuers, enrichers, an archive in S3 and hooks are asked for / by HEAD, without a credential: any \
answer shows that name, route, port and certificate are right. With a daemon the daemon asks. Exits with 3 when somebody cannot be reached.

Examples:
  honeyguide peers
  honeyguide peers --json | jq -r '.[] | select(.reachable | not) | [.kind, .name, .answer] | @tsv'")]
    Peers,
    /// Show the settings in force, without what may be secret
    #[command(after_long_help = "\
Of a running daemon, or those that the next one would begin with. Texts that could hold a secret, such as URLs and paths, are not shown.

Examples:
  honeyguide config
  honeyguide config --json")]
    Config,
    /// Load logs and archives into the journal, once
    Load(Load),
    /// Find events
    Search(Search),
    /// Watch events as they happen
    Tap(Tap),
    /// Count the values of a field, most frequent first
    Top(Top),
    /// Report on a day, a week, a month or a range of days
    Report(Report),
    /// Tell which sensors had days that are not like those before
    Anomalies(Anomalies),
    /// Count events, also by hour, day or week
    Count(Count),
    /// Tell how many different values a field has
    Distinct(Distinct),
    /// Show values that were seen for the first time since a day
    New(New),
    /// List what attackers used, scored; export it for firewalls and for others
    Indicators(Indicators),
    /// Ask other services what they know of a hash, an address, a name or a URL, each once
    Enrich(Enrich),
    /// Show the services that can be asked: what is left of their quotas, and which is left alone
    #[command(after_long_help = "\
Services are configured as [[enricher]]; which there are, what they are sent and what never: ops/ENRICHMENT.md. Quotas are counted here, \
across restarts; keys are not shown. A service that fails, or says that it is asked too often, is left alone for a while.

Examples:
  honeyguide enrichers
  honeyguide enrichers --json | jq -r '.[] | select(.state != \"ready\") | .name'")]
    Enrichers,
    /// Show the fields events were seen with, their types, and where those changed
    Schema(Schema),
    /// Tell what happened in one session
    Session(SessionArgs),
    /// Find sessions of one actor at many addresses: same client, same commands, same credentials
    Clusters(Clusters),
    /// Show what one line is taken for: decoding, identity, time, terms
    Explain(Explain),
    /// Show what the daemon is doing, or what the data directory holds
    #[command(after_long_help = "\
Examples:
  honeyguide status
  honeyguide status --json
  honeyguide status --data ./honeyguide-demo")]
    Status,
    /// Check every byte of the journal against its digests
    #[command(after_long_help = "\
Reads all segments, follows the chain of digests from the first to the last, and compares every sidecar with the journal. Damage is named \
by segment and block, and the exit code is then 3.

Examples:
  honeyguide verify
  honeyguide verify --json
  honeyguide verify --data /mnt/backup/honeyguide")]
    Verify,
    /// Put sealed segments away, to a directory or S3; check what is put away
    Archive(Archive),
    /// Tell whether every byte of some files is in the journal, so that they may be deleted
    Ingested(Ingested),
    /// Look at what was refused, try it again, or remove it
    Quarantine(Quarantine),
    /// See where deliveries stand; test, pause, resume or repeat them
    Sinks(Sinks),
    /// Make, list, revoke and rotate the keys of the admin interface
    Keys(Keys),
    /// See which alerts are open and what was told; try a rule
    Alerts(Alerts),
    /// Make a file for a bug report, with nothing secret in it
    Support(Support),
    /// Import databases that tell where addresses are: country and autonomous system
    Geoip(Geoip),
    /// Make a log that looks like Cowrie's, from a seed
    Simulate(Box<Simulate>),
    /// Erase a session or a person: tombstones stay, so that the evidence around them still verifies
    Erase(Erase),
    /// Build sidecars and state again from the journal
    #[command(after_long_help = "\
The journal is the truth; indexes and state are views of it. This removes them and makes them anew. It is never needed in normal use: what \
is missing or stale is rebuilt when it is noticed. A running daemon does it while it goes on with its work.

Examples:
  honeyguide rebuild
  honeyguide rebuild --data /var/lib/honeyguide")]
    Rebuild,
    /// Print the manual pages
    Man(Man),
    /// Print completions for a shell
    Completions(Completions),
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Without --log it writes a simulated Cowrie log into the demo's own directory, rotates it, and follows it as it would a real one. \
With --log it follows the logs in DIR, which it only reads. Ctrl-C drains and stops; the data stays for search, top and session.

Examples:
  honeyguide demo
  honeyguide demo --rate 2000 --seconds 30
  honeyguide demo --log /var/log/cowrie --data ./my-honeypot")]
pub struct Demo {
    /// Follow the Cowrie logs in this directory instead of simulated ones
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "rate")]
    pub log: Option<PathBuf>,
    /// Simulated events per second
    #[arg(long, value_name = "N", default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// Stop after this many seconds
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Takes files and directories (all files below them; not hidden ones), plain or compressed with gzip, bzip2, zstd or xz. What is in the \
journal already is counted as duplicate and not stored again, so loading twice does no harm. Refused lines go to quarantine; they, and \
files that cannot be read or are of no known format, make the exit code 3.

Examples:
  honeyguide load /var/log/cowrie
  honeyguide load cowrie.json.2026-03-23.gz cowrie.json.2026-03-24.gz
  honeyguide load --format cowrie --json /srv/logs | tail -1")]
pub struct Load {
    /// Files and directories
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Format of the lines: cowrie, chat, opencanary, dionaea, dockerapi or one of the configuration [default: recognised]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

#[derive(Args, Debug)]
#[command(
    after_long_help = "\
Copies segments that are complete to the place of [archive] in the configuration, or to another, and compares what arrived; nothing is \
removed here. What is there already is skipped, so running it again does no harm, and an attempt that broke off goes on. Retention does \
the same by itself, before it removes evidence, once [archive] names a place.

As \"segment\" a file stays as it is: it proves itself, and `honeyguide load` reads it back. As \"parquet\" it is a table for DuckDB and \
others. Files are called honeyguide-JOURNAL-SEGMENT-FIRSTDAY_LASTDAY.zst or .parquet; ops/ARCHIVE.md describes them.

Examples:
  honeyguide archive
  honeyguide archive --to /mnt/archive --format segment,parquet
  honeyguide archive --to s3://pots/2026 --segments 1..40
  honeyguide archive --until 2026-03-01 --json
  honeyguide archive verify /mnt/archive",
    args_conflicts_with_subcommands = true
)]
pub struct Archive {
    #[command(subcommand)]
    pub action: Option<ArchiveAction>,
    /// A directory, or s3://BUCKET/PREFIX with the keys of [archive] [default: `to` of [archive]]
    #[arg(long, value_name = "PLACE")]
    pub to: Option<String>,
    /// As what: segment, parquet, or both [default: `formats` of [archive]]
    #[arg(long, value_name = "FORMAT", value_delimiter = ',', value_parser = archive_format_parser())]
    pub format: Vec<archive::ArchiveFormat>,
    /// Only these segments, both included [default: all that are complete]
    #[arg(long, value_name = "A..B", value_parser = parse_segments)]
    pub segments: Option<(u64, u64)>,
    /// Only segments all of whose events are before this
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Micros>,
}

#[derive(Subcommand, Debug)]
pub enum ArchiveAction {
    /// Check every file of an archive against its digests, and the chain from segment to segment
    #[command(after_long_help = "\
Needs nothing but the files: neither the data directory they came from nor the right to write. Of segments every byte is checked, of tables \
that their lines are the chain's. Damage is named by file, and the exit code is then 3; segments that are not there are counted.

Examples:
  honeyguide archive verify /mnt/archive
  honeyguide archive verify /mnt/archive --json")]
    Verify {
        /// Directory of the archive
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

#[derive(Args, Debug)]
#[command(after_long_help = search_help())]
pub struct Search {
    /// Conditions; an event must meet them all
    #[arg(value_name = "QUERY", required = true)]
    pub query: Vec<String>,
    /// Show at most this many events [default: 50; of a table, all]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Newest first [default: oldest first]
    #[arg(long)]
    pub newest: bool,
    /// Go on where the page before ended: the cursor told behind it, with the same query and order
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// Print the original lines byte for byte, even to a terminal
    #[arg(long)]
    pub raw: bool,
    /// Find the events, but tell what that took: segments and blocks there are, considered and read
    #[arg(long, conflicts_with = "raw")]
    pub explain: bool,
    /// Redact what is printed by [[redact]] of the configuration, as for a sink
    #[arg(long)]
    pub redact: bool,
    /// Write a table for DuckDB and others instead, in the order of the journal (ops/ARCHIVE.md has its columns)
    #[arg(long, value_name = "FORMAT", requires = "out", conflicts_with_all = ["newest", "cursor", "raw", "explain"],
        value_parser = PossibleValuesParser::new(["parquet"]))]
    pub format: Option<String>,
    /// File of the table; one that is there is replaced when the table is complete
    #[arg(long, visible_alias = "output", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "format")]
    pub out: Option<PathBuf>,
}

impl Search {
    /// Most events wanted.
    pub fn limit(&self) -> u64 {
        self.limit.unwrap_or(if self.format.is_some() { u64::MAX } else { 50 })
    }
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Shows every event that the daemon stores from now on and that meets the conditions, which are written as for `honeyguide search`; with \
--from or --since first those that are stored already. Events come in the order in which they were stored, each once. When the daemon is \
restarted it waits, and goes on behind the last event shown.

Whoever reads more slowly than events happen loses the oldest that wait, and is told on standard error how many; what was asked for \
with --from or --since waits for its reader. Needs a running daemon. With --json the original lines are printed, one each.

Examples:
  honeyguide tap
  honeyguide tap eventid:cowrie.login.success
  honeyguide tap 'command:\"wget *\"' --since 1h
  honeyguide tap src_ip:203.0.113.0/24 --json | jq -r .eventid
  honeyguide tap --limit 10 --redact")]
pub struct Tap {
    /// Conditions; an event must meet them all [default: every event]
    #[arg(value_name = "QUERY")]
    pub query: Vec<String>,
    /// End after this many events [default: at Ctrl-C]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Begin with the event of this number (`seq` in the API)
    #[arg(long, value_name = "SEQ", conflicts_with = "since")]
    pub from: Option<u64>,
    /// Begin with stored events of this time: 2026-03-22, 2026-03-22T10:00:00Z, or the last 24h (30m, 7d, …)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Redact what is printed by [[redact]] of the configuration, as for a sink
    #[arg(long)]
    pub redact: bool,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Counts events, of all or of those that meet the conditions, which are written as for `honeyguide search`; an event counts once for each \
value that it has. With `by` another field, the most frequent pairs. `by FIELD` and `where` may be written as words.

Without conditions, and with none but whole days (UTC) and sensors, the indexes answer; first and last seen of a value that also occurs \
outside are then told to the day. Anything else reads the events that may match, at bounded memory: should there be more than 250,000 \
values or pairs, the rarest are given up, the answer says by how much its counts may be too low, and with --json each row has \
error_at_most.

Examples:
  honeyguide top src_ip
  honeyguide top password --limit 100
  honeyguide top command --json | jq -r '.[].value'
  honeyguide top password by src_ip where sensor:ssh-1 since:7d
  honeyguide top username --by src_ip eventid:cowrie.login.success")]
pub struct Top {
    /// Field whose values to count
    #[arg(value_name = "FIELD", value_parser = field_parser(), hide_possible_values = false)]
    pub field: Field,
    /// Conditions that events must meet, after `where` or not; before it, `by FIELD`
    #[arg(value_name = "QUERY")]
    pub words: Vec<String>,
    /// Count pairs with the values of this field
    #[arg(long, value_name = "FIELD", value_parser = field_parser(), hide_possible_values = true)]
    pub by: Option<Field>,
    /// Show at most this many values
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u64,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Counts all events, or those that meet the conditions, which are written as for `honeyguide search`; by the hour, day or week (from Monday) \
of their own times, UTC, with those between the first and the last in which nothing happened. `by day` and `where` may be written as words.

Examples:
  honeyguide count
  honeyguide count by day where sensor:ssh-1 since:2026-03-01
  honeyguide count --by week eventid:cowrie.login.success
  honeyguide count --by hour since:24h --json | jq -r '.[].events'")]
pub struct Count {
    /// Conditions that events must meet, after `where` or not; before it, `by hour`, `by day` or `by week`
    #[arg(value_name = "QUERY")]
    pub words: Vec<String>,
    /// Count by the hour, day or week
    #[arg(long, value_name = "INTERVAL", value_parser = interval_parser())]
    pub by: Option<Interval>,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Of all events, or of those that meet the conditions, which are written as for `honeyguide search`. What the indexes can tell (see `top`) is \
exact. Anything else reads the events that may match and is exact up to 100,000 values; above that it is an estimate (HyperLogLog, standard \
error 0.8 %), and the answer says so.

Examples:
  honeyguide distinct src_ip
  honeyguide distinct password where sensor:ssh-1 since:7d
  honeyguide distinct session username:root --json | jq .distinct")]
pub struct Distinct {
    /// Field whose values to count
    #[arg(value_name = "FIELD", value_parser = field_parser(), hide_possible_values = true)]
    pub field: Field,
    /// Conditions that events must meet, after `where` or not
    #[arg(value_name = "QUERY")]
    pub words: Vec<String>,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Values whose first event of all that are kept lies in the span, the newest first, with all their events since then. The indexes answer.

Examples:
  honeyguide new src_ip --since 24h
  honeyguide new hassh since:7d
  honeyguide new command --since 2026-03-01 --until 2026-03-07 --json | jq -r '.[].value'")]
pub struct New {
    /// Field whose values to show
    #[arg(value_name = "FIELD", value_parser = field_parser(), hide_possible_values = true)]
    pub field: Field,
    /// The span, as in `honeyguide search`: since:TIME, until:TIME
    #[arg(value_name = "SPAN")]
    pub words: Vec<String>,
    /// First seen from then on: a date, a time or an age (24h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// First seen before then; with a date, to the end of that day
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Show at most this many values
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u64,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
What a person asks to be forgotten is found as in `honeyguide search`: by an address, a phone number, a sender. Every line that is found is \
replaced by a tombstone with its hash, its time and its sensor; indexes are made again, refused input that names the same loses its text, and \
what waits for a sink is not sent. All digests stay as they are: `honeyguide verify` says that the journal is whole and how many events were \
erased. An erased line is not accepted again, wherever it is read from.\n\n\
Look first (--dry-run): it tells how much it is, and to which sinks such events have been sent already. Those receivers, backups, archives and \
the honeypots' own logs are yours to clean. The ledger keeps that events were erased, by whom and for what reason, and never whose: \
write no names into the reason. Killed halfway, the same command finishes it.

Examples:
  honeyguide erase --session 0f4b5a11c2d3 --dry-run
  honeyguide erase --session 0f4b5a11c2d3 --sensor ssh-1 --yes
  honeyguide erase src_ip:203.0.113.9 --whole-sessions --dry-run
  honeyguide erase 'phone:+919876543210' --whole-sessions --reason 'request 2026-17' --yes
  honeyguide erase 'sender:scammer@example.org since:2026-03-01' --yes --json")]
pub struct Erase {
    /// Whose events, as in `honeyguide search`: src_ip:203.0.113.9, phone:…, sender:…
    #[arg(value_name = "QUERY", required_unless_present = "session", conflicts_with = "session")]
    pub words: Vec<String>,
    /// All events of the session with this id
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Of the session: at this sensor only
    #[arg(long, value_name = "NAME", requires = "session")]
    pub sensor: Option<String>,
    /// Every session in which the query finds something, as a whole
    #[arg(long, conflicts_with = "session")]
    pub whole_sessions: bool,
    /// Only tell what would be erased, and who has been sent it already
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Why, for the ledger: no names, for this is kept
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Figures go by event time, in UTC, and come from the index: no log is read again. What each of them counts is defined in ops/REPORTS.md. \
`last` is the latest day, week or month that is over; a range is written FROM..TO, both days included.

Examples:
  honeyguide report daily last
  honeyguide report weekly 2026-W12 --sensor ssh-1
  honeyguide report monthly 2026-03 --format html --out march.html
  honeyguide report range 2026-03-01..2026-03-15 --all --format csv
  honeyguide report daily 2026-03-23 --json | jq '.[0].totals'
  honeyguide report daily last --all --publish elastic")]
pub struct Report {
    /// What the report is about
    #[arg(value_name = "KIND", value_parser = kind_parser())]
    pub kind: Kind,
    /// Which one: 2026-03-23, 2026-W12, 2026-03, 2026-03-01..2026-03-15, or last
    #[arg(value_name = "PERIOD", default_value = "last")]
    pub period: String,
    /// Only this sensor [default: all of them together]
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub sensor: Option<String>,
    /// A report for each sensor, and one for all of them together
    #[arg(long)]
    pub all: bool,
    /// Form of the report [default: text, or json with --json]
    #[arg(long, value_name = "FORM", value_enum)]
    pub format: Option<ReportForm>,
    /// Rows of each list
    #[arg(long, value_name = "N", default_value_t = report::ROWS_DEFAULT)]
    pub rows: usize,
    /// Write to this file, replacing it as a whole [default: standard output]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Write into the Elasticsearch of this sink, in the compatible shape, over the report that is there [default: print]
    #[arg(long, value_name = "SINK", conflicts_with_all = ["format", "out"])]
    pub publish: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Each sensor is held against itself: events, sessions, distinct addresses, downloads, and the longest silence of a day against the same of the \
28 days before. A deviation counts how many usual spreads a value is away from the middle of those days; from 6 on, either way, it is an \
anomaly. Sensors of which fewer than 7 whole days are known are too young. The running day is told only where it is too much already. \
ops/REPORTS.md has the formulas, [anomalies] in the configuration the numbers; the daemon looks every hour and tells each anomaly once, \
in its log, in the ledger and in honeyguide_anomalies_total.

Examples:
  honeyguide anomalies
  honeyguide anomalies daily last
  honeyguide anomalies monthly 2026-03 --measure silence
  honeyguide anomalies range 2026-03-01..2026-03-15 --sensor ssh-1 --all
  honeyguide anomalies weekly last --json | jq -r '.rows[] | [.day, .sensor, .measure, .direction] | @tsv'")]
pub struct Anomalies {
    /// What period to look at [default: the last 7 days, today included]
    #[arg(value_name = "KIND", value_parser = kind_parser())]
    pub kind: Option<Kind>,
    /// Which one: 2026-03-23, 2026-W12, 2026-03, 2026-03-01..2026-03-15, or last
    #[arg(value_name = "PERIOD", default_value = "last")]
    pub period: String,
    /// Only this sensor
    #[arg(long, value_name = "NAME")]
    pub sensor: Option<String>,
    /// Only this measure
    #[arg(long, value_name = "MEASURE", value_parser = measure_parser())]
    pub measure: Option<Measure>,
    /// Also what is normal
    #[arg(long)]
    pub all: bool,
    /// Show at most this many, those furthest out
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub limit: usize,
}

fn measure_parser() -> impl TypedValueParser<Value = Measure> {
    PossibleValuesParser::new(Measure::ALL.map(|measure| PossibleValue::new(measure.name()).help(measure.about())))
        .map(|name| Measure::parse(&name).expect("only names of measures are possible"))
}

/// Forms of a report.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportForm {
    /// For a terminal
    Text,
    /// Everything, one list of reports
    Json,
    /// The shape of cowrieprocessor's reports, one document a line
    Compatible,
    /// One table: sensor, period, section, name, value, count
    Csv,
    /// For wikis and tickets
    Markdown,
    /// One page with charts
    Html,
}

fn kind_parser() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new([Kind::Daily, Kind::Weekly, Kind::Monthly, Kind::Range].map(Kind::name))
        .map(|name| Kind::parse(&name).expect("possible values are names of kinds"))
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
For each format, event id and sensor: the members that events ever had, and the types of their values, by when they were first seen. Each \
event that brings something new makes a new version. A field that came with another type than before is marked: that is drift, which also \
stands in the ledger and counts in honeyguide_schema_drift_total.

Examples:
  honeyguide schema
  honeyguide schema cowrie.session.closed
  honeyguide schema --sensor berlin --json")]
pub struct Schema {
    /// Only this event id
    #[arg(value_name = "EVENTID")]
    pub eventid: Option<String>,
    /// Only this sensor
    #[arg(long, value_name = "NAME")]
    pub sensor: Option<String>,
}

#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Addresses change from day to day; the program behind them does not. Sessions with the same HASSH, the same commands in the same order and the \
same credentials, each tried as often, are one cluster. Of sessions in which nobody typed or tried anything there are none. The index \
answers; of each cluster that is listed one session is read. Its id stays the same in every period. What is counted, and how: ops/REPORTS.md.

Examples:
  honeyguide clusters
  honeyguide clusters weekly last --sensor ssh-1
  honeyguide clusters --since 30d --by commands --sort sessions
  honeyguide clusters --by hassh,credentials --min-sessions 10
  honeyguide clusters monthly 2026-03 --json | jq -r '.rows[] | [.id, .addresses, .hassh] | @tsv'
  honeyguide clusters show 7a0c53e1b2d4f698"
)]
pub struct Clusters {
    #[command(subcommand)]
    pub action: Option<ClustersAction>,
    #[command(flatten)]
    pub span: ClusterSpan,
    /// What makes sessions the same: one or more of hassh, commands, credentials, between commas [default: all three]
    #[arg(long, value_name = "NAMES")]
    pub by: Option<String>,
    /// Only clusters of at least so many sessions
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub min_sessions: u64,
    /// What comes first
    #[arg(long, value_name = "ORDER", value_enum, default_value_t = ClusterSort::Addresses)]
    pub sort: ClusterSort,
    /// Show at most this many clusters
    #[arg(long, value_name = "N", default_value_t = clusters::LIMIT_DEFAULT)]
    pub limit: usize,
}

/// Which sessions: those that began then, and there.
#[derive(Args, Debug)]
pub struct ClusterSpan {
    /// Sessions of a period, as in `honeyguide report` [default: all that are kept]
    #[arg(value_name = "KIND", value_parser = kind_parser(), conflicts_with_all = ["since", "until"])]
    pub kind: Option<Kind>,
    /// Which one: 2026-03-23, 2026-W12, 2026-03, 2026-03-01..2026-03-15, or last
    #[arg(value_name = "PERIOD", default_value = "last")]
    pub period: String,
    /// Sessions that began on that day or later: a date, a time or an age (24h, 7d), taken as whole days
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Sessions that began on that day or before
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only sessions at this sensor
    #[arg(long, value_name = "NAME")]
    pub sensor: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum ClustersAction {
    /// Tell one cluster in full: its addresses, sensors, days, commands, and sessions to read
    #[command(after_long_help = "\
Examples:
  honeyguide clusters show 7a0c53e1b2d4f698
  honeyguide clusters show 7a0c53e1b2d4f698 --since 7d
  honeyguide clusters show 7a0c53e1b2d4f698 --json | jq -r '.from_addresses[].value'")]
    Show {
        /// As `honeyguide clusters` lists it
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        span: ClusterSpan,
    },
}

/// Orders of clusters.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterSort {
    /// Most addresses first
    Addresses,
    /// Most sessions first
    Sessions,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Prints who came, with what client, what they tried, typed, fetched and tunnelled, and when. Ids that several sensors used are told apart \
by sensor.

Examples:
  honeyguide session c7ae63583837
  honeyguide session c7ae63583837 --json")]
pub struct SessionArgs {
    /// Session id, as it stands in the events
    #[arg(value_name = "ID")]
    pub id: String,
    /// Redact what is printed by [[redact]] of the configuration, as for a sink
    #[arg(long)]
    pub redact: bool,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Nothing is stored; no data directory is needed. `-` reads lines from standard input. Where the configuration redacts, the line is told as \
it would be stored.

Examples:
  honeyguide explain '{\"eventid\":\"cowrie.login.failed\",\"username\":\"root\"}'
  tail -1 /var/log/cowrie/cowrie.json | honeyguide explain -
  honeyguide explain --json -")]
pub struct Explain {
    /// One line of a log, or `-`
    #[arg(value_name = "LINE")]
    pub line: String,
    /// Format of the line: cowrie, chat, opencanary, dionaea, dockerapi or one of the configuration [default: recognised]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Exits with 0 when every byte of every file is durable in the journal (or was refused and is durable in quarantine), with 1 when not; so a \
cron job may delete what is safe to delete.

Examples:
  honeyguide ingested /var/log/cowrie/cowrie.json.2026-03-23
  honeyguide ingested /var/log/cowrie/cowrie.json.2026-03-23 && rm /var/log/cowrie/cowrie.json.2026-03-23")]
pub struct Ingested {
    /// Files
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::FilePath)]
    pub paths: Vec<PathBuf>,
    /// Format of the lines [default: recognised]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
Nothing that was refused is lost: it waits here with the reason, the file and the offset it came from, until it is retried or removed.

Examples:
  honeyguide quarantine list
  honeyguide quarantine show 17
  honeyguide quarantine retry --all"
)]
pub struct Quarantine {
    #[command(subcommand)]
    pub action: QuarantineAction,
}

#[derive(Subcommand, Debug)]
pub enum QuarantineAction {
    /// List refused input, newest first
    #[command(after_long_help = "\
Examples:
  honeyguide quarantine list
  honeyguide quarantine list --reason not_an_object --limit 5
  honeyguide quarantine list --json")]
    List {
        /// Only what was refused for this reason
        #[arg(long, value_name = "REASON", value_parser = reason_parser())]
        reason: Option<Reason>,
        /// Show at most this many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u64,
    },
    /// Show one refusal and its bytes
    #[command(after_long_help = "\
Examples:
  honeyguide quarantine show 17
  honeyguide quarantine show 17 --raw > refused.bin")]
    Show {
        /// Number from `quarantine list`
        #[arg(value_name = "NUMBER")]
        number: u64,
        /// Print the bytes as they are, even to a terminal
        #[arg(long)]
        raw: bool,
    },
    /// Decode refused input again; what is accepted now moves to the journal
    #[command(after_long_help = "\
Examples:
  honeyguide quarantine retry 17 18
  honeyguide quarantine retry --all")]
    Retry(Selection),
    /// Remove refused input for good
    #[command(after_long_help = "\
Examples:
  honeyguide quarantine purge 17
  honeyguide quarantine purge --reason line_too_long
  honeyguide quarantine purge --all")]
    Purge(Selection),
}

/// Which refusals to act on: exactly one way of saying so.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("selection").required(true).args(["numbers", "reason", "all"]))]
pub struct Selection {
    /// Numbers from `quarantine list`
    #[arg(value_name = "NUMBER")]
    pub numbers: Vec<u64>,
    /// All that was refused for this reason
    #[arg(long, value_name = "REASON", value_parser = reason_parser())]
    pub reason: Option<Reason>,
    /// All of it
    #[arg(long)]
    pub all: bool,
}

#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
A key is for programs and people that ask the daemon over the network; the Unix socket needs none. What a role may, and how keys are \
sent: ops/ACCESS.md. Secrets are kept as hashes only; every change stands in the ledger with who made it.

Examples:
  honeyguide keys create laptop --role analyst
  honeyguide keys list
  honeyguide keys revoke 4fKq0ZsB1x"
)]
pub struct Keys {
    #[command(subcommand)]
    pub action: KeysAction,
}

#[derive(Subcommand, Debug)]
pub enum KeysAction {
    /// Make a key and show it, once
    #[command(after_long_help = "\
Examples:
  honeyguide keys create laptop --role analyst
  honeyguide keys create dmz-3 --role sensor --sensor dmz-3 --expires never
  honeyguide keys create feeder --role developer --expires 12h --json | jq -r .key")]
    Create {
        /// Who will use it, as the ledger will say: letters, digits, \"-\", \"_\", \".\" and \"@\"
        #[arg(value_name = "NAME")]
        name: String,
        /// What it may; give it again for several
        #[arg(long = "role", value_name = "ROLE", required = true, value_parser = role_parser())]
        roles: Vec<Role>,
        /// Only what this honeypot caught; give it again for several
        #[arg(long = "sensor", value_name = "NAME")]
        sensors: Vec<String>,
        /// For how long: 90d, 12h, or never
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: Lifetime,
    },
    /// List all keys, without their secrets
    #[command(after_long_help = "\
When a key was last used may miss up to an hour before a restart.

Examples:
  honeyguide keys list
  honeyguide keys list --json | jq -r '.[] | select(.state == \"active\" and .expires_at == null) | .name'")]
    List,
    /// Refuse a key, and every token made with it, at once and for good
    #[command(after_long_help = "\
Examples:
  honeyguide keys revoke 4fKq0ZsB1x
  honeyguide keys revoke 4fKq0ZsB1x --json")]
    Revoke {
        /// Id of the key: what stands behind hg_
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Give a key a new secret, for as long as it was made for, and show it, once
    #[command(after_long_help = "\
The secret before stays good for the overlap, so that it can be exchanged where it is used. If it may have leaked: --overlap 0s.

Examples:
  honeyguide keys rotate 4fKq0ZsB1x
  honeyguide keys rotate 4fKq0ZsB1x --overlap 0s")]
    Rotate {
        /// Id of the key: what stands behind hg_
        #[arg(value_name = "ID")]
        id: String,
        /// How long the secret before stays good: 0s to 30d
        #[arg(long, value_name = "TIME", default_value = "1h")]
        overlap: String,
    },
}

#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
What a bug report needs, and nothing that must not leave; ops/ALERTS.md says how that is made sure.

Examples:
  honeyguide support dump
  honeyguide support dump /tmp/report.tar.gz"
)]
pub struct Support {
    #[command(subcommand)]
    pub action: SupportAction,
}

#[derive(Subcommand, Debug)]
pub enum SupportAction {
    /// Write version, options, status, figures, and the last records of ledger and log into one file
    #[command(after_long_help = "\
No event, address, password, secret or path is in it, and of the configuration no text but defaults and the names of sources, sinks and \
rules. What is in it is printed; look through it before you send it. The file is readable by you only, and none is overwritten.

Examples:
  honeyguide support dump
  honeyguide support dump report.tar.gz --with-sensors
  honeyguide support dump --json | jq -r .file")]
    Dump {
        /// Where to write; honeyguide-support-TIME.tar.gz in the current directory unless given
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Show names of honeypots
        #[arg(long)]
        with_sensors: bool,
    },
}

#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
A rule of alerts, [[alert]] in the configuration, tells sinks once that something began and once that it is over: a count of events, an \
anomaly, a new indicator, a sink in trouble, little disk, a silent honeypot. ops/ALERTS.md shows one of each.

Examples:
  honeyguide alerts list
  honeyguide alerts test brute-force
  honeyguide alerts history --limit 100"
)]
pub struct Alerts {
    #[command(subcommand)]
    pub action: AlertsAction,
}

#[derive(Subcommand, Debug)]
pub enum AlertsAction {
    /// List all rules, and what is open
    #[command(after_long_help = "\
Exits with 3 while an alert is open.

Examples:
  honeyguide alerts list
  honeyguide alerts list --json | jq -r '.[] | select(.open != []) | .rule'")]
    List,
    /// Look at a rule now, and send a notice that says it is a test to its sinks
    #[command(after_long_help = "\
Nothing opens by it. Needs a running daemon, which delivers. Exits with 1 when a sink did not take the notice within 15 seconds.

Examples:
  honeyguide alerts test brute-force
  honeyguide alerts test disk --json")]
    Test {
        /// Name of the rule
        #[arg(value_name = "RULE")]
        rule: String,
    },
    /// Tell what alerts told, newest first
    #[command(after_long_help = "\
From the ledger, so also what was told before a restart. The values of new indicators are not in it: they can be erased from the journal.

Examples:
  honeyguide alerts history
  honeyguide alerts history brute-force --limit 5
  honeyguide alerts history --json | jq -r '.[] | [.at, .alert, .state, .summary] | @tsv'")]
    History {
        /// Only of this rule, which may be one that is configured no more
        #[arg(value_name = "RULE")]
        rule: Option<String>,
        /// Most rows
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: usize,
    },
}

#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
A sink is where events go: a file, a webhook, Elasticsearch. Each has its own place in the journal, the cursor; what a receiver has not \
taken waits there, however long it is away. What it refuses for good is a dead letter: it lies in quarantine until it is sent again or \
removed.

Examples:
  honeyguide sinks list
  honeyguide sinks test archive
  honeyguide sinks replay archive --since 2026-03-22"
)]
pub struct Sinks {
    #[command(subcommand)]
    pub action: SinksAction,
}

#[derive(Subcommand, Debug)]
pub enum SinksAction {
    /// List all sinks: what they do, and how far they are behind
    #[command(after_long_help = "\
States: idle (everything has arrived), reading (there is more to look at), delivering, waiting (behind a failure), open (the receiver failed again and again; single requests \
find out when it is back), paused, degraded (something waits and nothing gets through: the reason says why), stopped (no daemon runs), \
removed (no longer configured; its place is kept until it is forgotten).

Examples:
  honeyguide sinks list
  honeyguide sinks list --json | jq -r '.[] | select(.state == \"degraded\") | .reason'
  honeyguide sinks list --data ./honeyguide-demo")]
    List,
    /// Tell everything about one sink
    #[command(after_long_help = "\
Examples:
  honeyguide sinks show archive
  honeyguide sinks show archive --json")]
    Show {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Ask a receiver whether it would take deliveries, without delivering anything
    #[command(after_long_help = "\
Reads the secrets, resolves the name, connects, and shows what the receiver says. Exits with 1 when it cannot be delivered to.

Examples:
  honeyguide sinks test archive
  honeyguide sinks test archive --json")]
    Test {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Stop delivering to a sink until it is resumed, also across restarts
    #[command(after_long_help = "\
Events wait in the journal meanwhile, and retention waits for them.

Examples:
  honeyguide sinks pause archive
  honeyguide sinks pause archive --json")]
    Pause {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Go on delivering; a sink that waits tries again at once
    #[command(after_long_help = "\
Examples:
  honeyguide sinks resume archive
  honeyguide sinks resume archive --json")]
    Resume {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Deliver again from an earlier event, or go on at a later one
    #[command(
        group = ArgGroup::new("place").required(true).args(["from", "since"]),
        after_long_help = "\
Events are delivered again with the same ids, so a receiver that keeps ids sees nothing twice. --since goes back to the first stretch of \
the journal that has an event of that time or later; some older ones may come along.

Examples:
  honeyguide sinks replay archive --from 1
  honeyguide sinks replay archive --since 2026-03-22T10:00:00Z
  honeyguide sinks replay archive --since 2026-03-22"
    )]
    Replay {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
        /// Sequence number of the first event
        #[arg(long, value_name = "SEQUENCE")]
        from: Option<u64>,
        /// Time of the first event
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        since: Option<Micros>,
    },
    /// Forget where a sink stood that is configured no more
    #[command(after_long_help = "\
Examples:
  honeyguide sinks forget archive
  honeyguide sinks forget archive --json")]
    Forget {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Look at what a receiver refused for good, send it again, or remove it
    Dead(Dead),
}

#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
Dead letters lie in quarantine as well, where `honeyguide quarantine` finds them.

Examples:
  honeyguide sinks dead list archive
  honeyguide sinks dead export archive > letters.ndjson
  honeyguide sinks dead retry archive
  honeyguide sinks dead purge archive"
)]
pub struct Dead {
    #[command(subcommand)]
    pub action: DeadAction,
}

#[derive(Subcommand, Debug)]
pub enum DeadAction {
    /// List dead letters, newest first
    #[command(after_long_help = "\
Examples:
  honeyguide sinks dead list archive
  honeyguide sinks dead list archive --limit 5 --json")]
    List {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
        /// Show at most this many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u64,
    },
    /// Show a dead letter in full: what was sent, and what the receiver said
    #[command(after_long_help = "\
Numbers are those of the list, and change when other dead letters go.

Examples:
  honeyguide sinks dead show archive 1000000000007
  honeyguide sinks dead show archive 1000000000007 --json")]
    Show {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
        /// Number of the dead letter
        #[arg(value_name = "NUMBER")]
        number: u64,
    },
    /// Write all dead letters in full, oldest first, as JSON, one a line
    #[command(after_long_help = "\
Examples:
  honeyguide sinks dead export archive > letters.ndjson
  honeyguide sinks dead export archive | jq -r .text")]
    Export {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Send dead letters again; those that arrive leave the quarantine
    #[command(after_long_help = "\
Exits with 3 when some were refused again.

Examples:
  honeyguide sinks dead retry archive
  honeyguide sinks dead retry archive --json")]
    Retry {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Remove dead letters for good
    #[command(after_long_help = "\
Examples:
  honeyguide sinks dead purge archive
  honeyguide sinks dead purge archive --json")]
    Purge {
        /// Name of the sink
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
With a database of countries, events have the term country (DE) of their src_ip; with one of autonomous systems, asn (AS64500). Both are \
files in the MaxMind DB format, which are never fetched: GeoLite2-Country, GeoLite2-City and GeoLite2-ASN, or those of ip-location-db.

Examples:
  honeyguide geoip import GeoLite2-Country.mmdb
  honeyguide geoip lookup 198.51.100.7
  honeyguide search country:NL since:7d
  honeyguide top asn by country"
)]
pub struct Geoip {
    #[command(subcommand)]
    pub action: GeoipAction,
}

#[derive(Subcommand, Debug)]
pub enum GeoipAction {
    /// Check a database and put it in force, in place of the one before
    #[command(after_long_help = "\
The file is copied into the data directory. A running daemon takes it in at once, and reads the file as its own user. Events that come from \
then on have the term; events of before have it after `honeyguide geoip apply`.

Examples:
  honeyguide geoip import GeoLite2-Country.mmdb
  honeyguide geoip import GeoLite2-ASN.mmdb --json
  honeyguide geoip import ipinfo_lite.mmdb --name asn")]
    Import {
        /// The database, in the MaxMind DB format
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// What to take it for, if it has both: country or asn [default: what it has]
        #[arg(long, value_name = "KIND", value_parser = place_kind_parser())]
        name: Option<geoip::Kind>,
    },
    /// List the databases in force
    #[command(after_long_help = "\
Examples:
  honeyguide geoip list
  honeyguide geoip list --json | jq -r '.[].built'")]
    List,
    /// Remove a database
    #[command(after_long_help = "\
Examples:
  honeyguide geoip remove asn
  honeyguide geoip remove country --json")]
    Remove {
        /// Which one: country or asn
        #[arg(value_name = "KIND", value_parser = place_kind_parser())]
        name: geoip::Kind,
    },
    /// Tell where an address is
    #[command(after_long_help = "\
Examples:
  honeyguide geoip lookup 198.51.100.7
  honeyguide geoip lookup 2001:db8::1 --json | jq -r .country")]
    Lookup {
        /// The address
        #[arg(value_name = "ADDRESS")]
        address: std::net::IpAddr,
    },
    /// Give events of before the terms of the databases in force
    #[command(after_long_help = "\
Builds all sidecars again from the journal, which a running daemon does while it goes on with its work; the segment that it writes is ended \
first. Needed behind an import, a replacement or a removal, for events that were there before it. What retention has left nothing but answers \
of stays as it is. The ledger remembers which databases were in force.

Examples:
  honeyguide geoip apply
  honeyguide geoip apply --json")]
    Apply,
}

#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
Indicators are values from texts (URLs, domains, hashes, wallets, …), addresses that attacked (src_ip), and files that were fetched or left \
(shasum). The index answers; no log is read again. How they are scored, when they expire, and what is never exported: ops/INDICATORS.md.

Examples:
  honeyguide indicators list
  honeyguide indicators list --kind url,domain --since 7d
  honeyguide indicators export --format plain --min-score 50 --out /etc/blocked.txt"
)]
pub struct Indicators {
    #[command(subcommand)]
    pub action: IndicatorsAction,
}

#[derive(Subcommand, Debug)]
pub enum IndicatorsAction {
    /// List indicators, highest score first, written so that nobody follows them by accident
    #[command(after_long_help = "\
What a list calls harmless has score 0 and the list's name. Of one sensor, counts are exact, and first and last seen are told to the day \
when the value was seen elsewhere too.

Examples:
  honeyguide indicators list --limit 50
  honeyguide indicators list --kind src_ip --min-count 100 --sensor ssh-1
  honeyguide indicators list --kind shasum --since 2026-03-01 --until 2026-03-31
  honeyguide indicators list --json | jq -r '.[] | select(.warning == null) | .value'")]
    List(IndicatorsList),
    /// Write hostile indicators for other programs, with their exact values
    #[command(after_long_help = "\
Without --all, what a list calls harmless and what has expired stays out. Files are replaced as a whole; a MISP feed's manifest is \
replaced last.

Examples:
  honeyguide indicators export --format plain --kind src_ip --min-score 60 --out blocked.txt
  honeyguide indicators export --format stix --since 30d --out bundle.json
  honeyguide indicators export --format misp --out /srv/www/misp-feed
  honeyguide indicators export --format csv --all")]
    Export(IndicatorsExport),
    /// Tell all that is known of one: where, when, some events, and what was typed in their sessions
    #[command(after_long_help = "\
Examples:
  honeyguide indicators show 198.51.100.7
  honeyguide indicators show 'hxxp://evil[.]example/x.sh'
  honeyguide indicators show --json evil.example | jq '.kinds[].sensors'")]
    Show {
        /// The value, defanged or not
        #[arg(value_name = "VALUE")]
        value: String,
    },
    /// Take in a list of others, to tell which indicators they know too
    #[command(after_long_help = "\
One value a line, defanged or not; what stands behind a blank is not read, and neither are lines that start with #. It takes the place \
of the list that had the name, and an empty file empties that. Networks are left out. `list` and `export` then have the name in \
known_in, and the score is higher.

Examples:
  honeyguide indicators import urlhaus.txt --name urlhaus
  honeyguide indicators import /dev/null --name urlhaus")]
    Import {
        /// The list
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// What it is called from now on
        #[arg(long, value_name = "LIST")]
        name: String,
    },
}

/// Which indicators.
#[derive(Args, Debug)]
pub struct IndicatorFilter {
    /// Only these kinds, between commas: src_ip, url, domain, shasum, … [default: all]
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = indicator_kind)]
    pub kind: Vec<Field>,
    /// Last seen from then on: a date, a time or an age (24h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Last seen before then; with a date, to the end of that day
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only what at least so many events have
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_count: u64,
    /// Only from this score on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub min_score: u8,
    /// Only what was seen at this sensor
    #[arg(long, value_name = "NAME")]
    pub sensor: Option<String>,
}

#[derive(Args, Debug)]
pub struct IndicatorsList {
    #[command(flatten)]
    pub filter: IndicatorFilter,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Write values as they are: mind where you click
    #[arg(long)]
    pub raw: bool,
}

#[derive(Args, Debug)]
pub struct IndicatorsExport {
    /// Form of the export
    #[arg(long, value_name = "FORM", value_enum)]
    pub format: IndicatorsForm,
    #[command(flatten)]
    pub filter: IndicatorFilter,
    /// Write to this file, or for misp into this directory [default: standard output]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub out: Option<PathBuf>,
    /// Also what a list calls harmless, and what has expired
    #[arg(long)]
    pub all: bool,
    /// Leave out what [[redact]] of the configuration names; with its action "hash", write hashes
    #[arg(long)]
    pub redact: bool,
    /// Write at most this many
    #[arg(long, value_name = "N", default_value_t = INDICATORS_MAX)]
    pub limit: usize,
}

/// Forms of an export.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndicatorsForm {
    /// Everything, as one document
    Json,
    /// One table
    Csv,
    /// Addresses and domain names, one a line
    Plain,
    /// A STIX 2.1 bundle
    Stix,
    /// A MISP feed: a directory of files
    Misp,
}

fn indicator_kind(name: &str) -> Result<Field, String> {
    indicators::kinds_called(name)?.pop().ok_or_else(|| "name a kind".to_owned())
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Values may be written so that they lead nowhere (hxxp://evil[.]com). Each goes to every [[enricher]] that answers its kind; URLs only to \
those whose `kinds` name them. An answer is kept (ttl_hours, unknown_ttl_hours), so the same value asked a thousand times costs one request. \
Never sent to anybody: private and reserved addresses, and what is on your own lists or on those that are compiled in.

When a quota of a minute is used up, the command waits. Behind a quota of a day, or while a service is left alone, kept answers are told \
and marked as stale; what could not be asked is told at the end, and the exit code is then 3. With --json one object a line.

Examples:
  honeyguide enrich 198.51.100.7
  honeyguide enrich 'hxxp://evil[.]example/x.sh' evil.example --with urlhaus
  honeyguide enrich --refresh d41d8cd98f00b204e9800998ecf8427e
  honeyguide indicators list --kind shasum --raw --json | jq -r '.[].value' | honeyguide enrich - --no-wait --json
  honeyguide enrich --cached evil.example --json | jq -r '.answers[].verdict'")]
pub struct Enrich {
    /// Hashes, addresses, domain names, URLs; or - to read them from standard input, one a line
    #[arg(value_name = "VALUE", required = true)]
    pub values: Vec<String>,
    /// Ask only this one; may be given again [default: all that answer such values]
    #[arg(long, value_name = "NAME")]
    pub with: Vec<String>,
    /// Ask again although an answer is kept
    #[arg(long, conflicts_with = "cached")]
    pub refresh: bool,
    /// Ask nobody: tell what is kept
    #[arg(long)]
    pub cached: bool,
    /// Do not wait for the quota of a minute
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("length").args(["events", "sessions", "live"]),
    after_long_help = "\
The same options give the same bytes on every machine. All addresses are from ranges that no host on \
the Internet has, so nothing here points at anybody.

Examples:
  honeyguide simulate --events 1000000 > cowrie.json
  honeyguide simulate --seed 7 --sessions 500 --shape legacy --start 2017-10-07T00:00:00Z
  honeyguide simulate --live --rate 500 --log ./logs --rotate-bytes 16777216
  honeyguide simulate --hostile --events 5000 > hostile.json"
)]
pub struct Simulate {
    /// Number that all randomness comes from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Make this many events [default: 10000]
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,
    /// Make this many sessions, each to its end
    #[arg(long, value_name = "N")]
    pub sessions: Option<u64>,
    /// Go on for ever at the pace of the clock, with the time of now
    #[arg(long, conflicts_with = "start")]
    pub live: bool,
    /// Events per second of the log's own time
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = rate)]
    pub rate: f64,
    /// Stop a live log after this many seconds
    #[arg(long, value_name = "N", requires = "live")]
    pub seconds: Option<u64>,
    /// Time of the first event [default: 2026-01-01T00:00:00Z]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub start: Option<Micros>,
    /// Number of honeypots
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub sensors: u32,
    /// Which years' logs to imitate
    #[arg(long, value_name = "SHAPE", default_value = "modern", value_parser = shape_parser())]
    pub shape: Shape,
    /// Mix in strings and lines meant to break readers
    #[arg(long)]
    pub hostile: bool,
    /// Write a growing, daily rotated cowrie.json in this directory [default: standard output]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub log: Option<PathBuf>,
    /// Rotate the log at this size too, bytes
    #[arg(long, value_name = "BYTES", requires = "log", value_parser = clap::value_parser!(u64).range(1024..))]
    pub rotate_bytes: Option<u64>,
    /// Let readers of the log see half-written lines
    #[arg(long, requires = "log")]
    pub torn: bool,
}

/// Events made by `simulate` when neither a number of events nor of sessions is given.
pub const SIMULATED_EVENTS: u64 = 10_000;

impl Simulate {
    /// What to simulate; `now` is where a live log starts.
    pub fn simulation(&self, now: Micros) -> Simulation {
        Simulation {
            seed: self.seed,
            start: if self.live { now } else { self.start.unwrap_or(simulate::START) },
            events_per_second: self.rate,
            sensors: self.sensors,
            shape: self.shape,
            hostile: self.hostile,
            sessions: self.sessions,
            ..Simulation::default()
        }
    }

    /// How many events at most; `None` is no limit.
    pub fn events_limit(&self) -> Option<u64> {
        match (self.events, self.sessions, self.live) {
            (Some(events), _, _) => Some(events),
            (None, None, false) => Some(SIMULATED_EVENTS),
            (None, ..) => None,
        }
    }
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  honeyguide man | man -l -
  honeyguide man --dir /usr/local/share/man/man1")]
pub struct Man {
    /// Write one page per command into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  honeyguide completions bash > /etc/bash_completion.d/honeyguide
  honeyguide completions zsh > ~/.zfunc/_honeyguide
  honeyguide completions fish > ~/.config/fish/completions/honeyguide.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", action = ArgAction::Set)]
    pub shell: clap_complete::Shell,
}

fn search_help() -> String {
    let mut help = String::from(
        "\
Conditions:
  FIELD:VALUE        the field has exactly this value
  FIELD:\"A B\"        a value with spaces, quoted once more for the shell: 'command:\"uname -a\"'
  FIELD:PREFIX*      * stands for any characters, also within quotes; \\* for an asterisk
  FIELD:/REGEX/      the regular expression is found in the value: 'command:/wget .+sh/'
  src_ip:A.B.C.D/N   an address of the network; also dst_ip, ipv4, ipv6
  dst_port:>N        a number above; also >=, < and <=
  exists:FIELD       the field has a value
  WORD               any value holds it, in capitals or not; with spaces: '\"rm -rf\"'
  since:TIME         from 2026-03-22, from 2026-03-22T10:00:00Z, or for the last 24h (30m, 7d, …)
  until:TIME         before that time; with a date, to the end of that day

All must hold. OR, NOT and parentheses combine them: '(username:root OR username:admin) NOT src_ip:10.0.0.0/8'.

Fields:
",
    );
    for field in Field::ALL {
        help.push_str(&format!("  {:<18} {}\n", field.name(), field.about()));
    }
    help.push_str(
        "
Times are UTC. With --json the original lines are printed; on a terminal their control characters are escaped.

Examples:
  honeyguide search src_ip:198.51.100.7
  honeyguide search eventid:cowrie.login.success username:root since:2026-03-01 until:2026-03-31
  honeyguide search 'command:\"wget *\"' --newest --limit 20
  honeyguide search 'NOT exists:username src_ip:203.0.113.0/24' since:7d
  honeyguide search url:*.sh --json | jq -r .url
  honeyguide search since:7d --format parquet --out week.parquet",
    );
    help
}

fn field_parser() -> impl TypedValueParser<Value = Field> {
    PossibleValuesParser::new(Field::ALL.iter().map(|field| PossibleValue::new(field.name()).help(field.about())))
        .map(|name| Field::parse(&name).expect("only names of fields are possible"))
}

fn interval_parser() -> impl TypedValueParser<Value = Interval> {
    PossibleValuesParser::new(Interval::ALL.map(|interval| PossibleValue::new(interval.name())))
        .map(|name| Interval::parse(&name).expect("only names of intervals are possible"))
}

fn place_kind_parser() -> impl TypedValueParser<Value = geoip::Kind> {
    PossibleValuesParser::new(geoip::Kind::ALL.map(geoip::Kind::name))
        .map(|name| geoip::Kind::parse(&name).expect("only names of kinds are possible"))
}

fn reason_parser() -> impl TypedValueParser<Value = Reason> {
    PossibleValuesParser::new(Reason::ALL.map(|reason| PossibleValue::new(reason.name())))
        .map(|name| Reason::ALL.into_iter().find(|reason| reason.name() == name).expect("only names of reasons are possible"))
}

fn shape_parser() -> impl TypedValueParser<Value = Shape> {
    PossibleValuesParser::new([PossibleValue::new("modern").help("Cowrie of 2026"), PossibleValue::new("legacy").help("Cowrie of 2017")])
        .map(|name| if name == "legacy" { Shape::Legacy } else { Shape::Modern })
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1e-4..=1e6).contains(&rate) => Ok(rate),
        _ => Err("give a number of events per second from 0.0001 to 1000000".to_owned()),
    }
}

fn archive_format_parser() -> impl TypedValueParser<Value = archive::ArchiveFormat> {
    let formats = PossibleValuesParser::new(archive::ArchiveFormat::ALL.map(archive::ArchiveFormat::name));
    formats.map(|name| archive::ArchiveFormat::parse(&name).expect("one of the possible values"))
}

fn role_parser() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::name)).map(|name| Role::parse(&name).expect("one of the possible values"))
}

fn parse_segments(text: &str) -> Result<(u64, u64), String> {
    let wrong = || "give the first and the last segment, such as 1..40, or one".to_owned();
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from > to { Err(wrong()) } else { Ok((from, to)) }
}

fn parse_time(text: &str) -> Result<Micros, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    time::parse(whole.as_bytes()).ok_or_else(|| "give a time such as 2026-03-22 or 2026-03-22T10:00:00Z".to_owned())
}
