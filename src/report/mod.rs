//! What happened in a period: the figures, and their forms.
//!
//! `ops/REPORTS.md` defines every figure. They are computed here from sidecars and live indexes alone ([`period`](crate::index::period));
//! only the sessions that stand for a sequence or a cluster are read from the journal, by whoever asks. [`Report`] is the JSON form and its
//! schema; the other forms are made of it.
pub mod anomaly;
pub mod compatible;
mod csv;
pub mod deviations;
pub(crate) mod html;
mod markdown;
pub mod period;

pub use self::csv::csv;
pub use anomaly::Rules;
pub use deviations::AnomalyRow;
pub use html::html;
pub use markdown::markdown;
pub use period::{Kind, NoPeriod, Period};

use crate::events::act::{Act, Acts};
use crate::events::time::{self, MICROS_PER_HOUR, format_day};
use crate::events::{Field, Micros};
use crate::index::cluster;
use crate::index::period::{self as scoped, Part, Scope};
use crate::index::search::View;
use crate::index::sidecar::SidecarError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Changes when a figure changes its meaning or its place; what is only added does not change it.
pub const SCHEMA: &str = "honeyguide.report/1";

/// The sensor of a report about all of them.
pub const AGGREGATE: &str = "aggregate";

/// What people read above clusters.
pub const CLUSTERS: &str = "Clusters: same client, commands and credentials";
/// And in place of commands that could not be read.
pub const UNREADABLE: &str = "(not readable)";

/// Rows of a list when nobody says how many, and most of them.
pub const ROWS_DEFAULT: usize = 10;
pub const ROWS_MAX: usize = 10_000;

/// Of longer periods activity is told by day.
const HOURLY_DAYS_MAX: i32 = 31;
/// Sequences of commands counted at once: about a hundred bytes each.
const SEQUENCES_MAX: usize = 100_000;

/// A report, as its JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    pub kind: Kind,
    /// `2026-03-23`, `2026-W12`, `2026-03`, `2026-03-01..2026-03-15`.
    pub period: String,
    /// First and last day.
    pub from: String,
    pub to: String,
    /// A sensor's name, or [`AGGREGATE`].
    pub sensor: String,
    pub generated_at: String,
    pub totals: Totals,
    pub before: Before,
    pub commands_per_session: CommandsPerSession,
    pub activity: Activity,
    /// The values that most events have, field by field.
    pub top: Vec<TopList>,
    pub sequences: Sequences,
    /// Sessions of one client that typed and tried the same from several addresses. Reports made before there were any have none.
    #[serde(default)]
    pub clusters: Clusters,
    pub new: Vec<NewList>,
    /// Those with events or sessions in the period, by name; only in a report about all of them.
    pub sensors: Vec<SensorTotals>,
    /// What was out of the ordinary on a day of the period, at this sensor or at any.
    #[serde(default)]
    pub anomalies: Anomalies,
    /// What the reader should know of the question: that there never was such a sensor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// Days of sensors that are out of the ordinary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportAnomalies)]
pub struct Anomalies {
    pub found: u64,
    /// By day, sensor and measure; of too many those furthest out.
    pub rows: Vec<AnomalyRow>,
}

/// The totals of the period before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportBefore)]
pub struct Before {
    pub period: String,
    pub totals: Totals,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportTotals)]
pub struct Totals {
    pub events: u64,
    pub sessions: u64,
    pub sessions_with_login: u64,
    pub sessions_with_commands: u64,
    pub addresses: u64,
    pub networks: u64,
    pub connections: u64,
    pub login_attempts: u64,
    pub logins_succeeded: u64,
    pub commands: u64,
    pub downloads: u64,
    pub uploads: u64,
    pub tunnels: u64,
    pub messages: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CommandsPerSession {
    pub average: f64,
    pub largest: u64,
    pub smallest: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportActivity)]
pub struct Activity {
    /// `hour` or `day`.
    pub step: String,
    /// Every step of the period, also those in which nothing happened.
    pub rows: Vec<ActivityRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActivityRow {
    /// When the step begins.
    pub at: String,
    pub events: u64,
    /// Sessions that began.
    pub sessions: u64,
    pub login_attempts: u64,
    pub commands: u64,
    pub downloads: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TopList {
    pub name: String,
    pub distinct: u64,
    pub rows: Vec<Counted>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportCounted)]
pub struct Counted {
    pub value: String,
    pub events: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Sequences {
    pub distinct: u64,
    pub rows: Vec<SequenceRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SequenceRow {
    pub sessions: u64,
    /// How many commands it has.
    pub commands: u64,
    /// One of the sessions, and the beginning of its commands; none when the journal no longer has it, or its id is not known.
    pub session: Option<String>,
    pub lines: Vec<String>,
    /// The journal has the session but cannot read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportClusters)]
pub struct Clusters {
    /// How many have at least two addresses.
    pub distinct: u64,
    /// Those with most addresses.
    pub rows: Vec<ClusterRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterRow {
    pub id: String,
    pub sessions: u64,
    pub addresses: u64,
    /// The addresses were too many to count one by one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    pub sensors: u64,
    pub first: String,
    pub last: String,
    /// Commands and credentials of a session.
    pub commands: u64,
    pub credentials: u64,
    /// Of the example: none when it has none, or the journal no longer has it.
    pub hassh: Option<String>,
    /// The session that began first, at its sensor, and the beginning of its commands.
    pub session: Option<String>,
    pub sensor: String,
    pub lines: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

/// What the journal says of a session that stands for many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExampleSession {
    pub session: Option<String>,
    pub hassh: Option<String>,
    /// The beginning of its commands.
    pub lines: Vec<String>,
    /// It is there, but cannot be read.
    pub unreadable: bool,
}

impl ClusterRow {
    /// A row as it is told, with what the example says.
    pub fn new(cluster: &cluster::Cluster, example: ExampleSession) -> ClusterRow {
        let ExampleSession { session, hassh, lines, unreadable } = example;
        ClusterRow {
            id: cluster::format_id(cluster.id),
            sessions: cluster.sessions,
            addresses: cluster.addresses,
            estimated: !cluster.addresses_exact,
            sensors: cluster.sensors,
            first: time::format(cluster.first),
            last: time::format(cluster.last),
            commands: cluster.commands,
            credentials: cluster.credentials,
            hassh,
            session,
            sensor: String::from_utf8_lossy(&cluster.example.sensor).into_owned(),
            lines,
            unreadable,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewList {
    pub name: String,
    /// How many are new.
    pub values: u64,
    /// The first of them.
    pub rows: Vec<NewRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewRow {
    pub value: String,
    pub first_seen: String,
    pub events: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SensorTotals {
    pub sensor: String,
    pub events: u64,
    pub sessions: u64,
    pub login_attempts: u64,
    pub commands: u64,
    pub downloads: u64,
}

impl Totals {
    /// Names and figures, in order.
    pub fn rows(&self) -> [(&'static str, u64); 14] {
        [
            ("events", self.events),
            ("sessions", self.sessions),
            ("sessions_with_login", self.sessions_with_login),
            ("sessions_with_commands", self.sessions_with_commands),
            ("addresses", self.addresses),
            ("networks", self.networks),
            ("connections", self.connections),
            ("login_attempts", self.login_attempts),
            ("logins_succeeded", self.logins_succeeded),
            ("commands", self.commands),
            ("downloads", self.downloads),
            ("uploads", self.uploads),
            ("tunnels", self.tunnels),
            ("messages", self.messages),
        ]
    }
}

/// What a report is asked to be about.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub period: Period,
    /// `None`: all of them.
    pub sensor: Option<String>,
    /// Most rows of a list.
    pub rows: usize,
    /// What counts as out of the ordinary.
    pub rules: Rules,
}

/// A list of a report.
pub struct List {
    /// In JSON.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    field: Field,
    part: Part,
    /// Whether it is told which values are new.
    news: bool,
    /// Whether its values are listed by how often they occur.
    top: bool,
}

const fn list(name: &'static str, title: &'static str, field: Field, part: Part, news: bool, top: bool) -> List {
    List { name, title, field, part, news, top }
}

/// The lists in the order in which people read them.
pub const LISTS: &[List] = &[
    list("src_ip", "Addresses", Field::SrcIp, Part::Whole, true, true),
    list("network", "Networks", Field::SrcIp, Part::Network, false, true),
    list("country", "Countries", Field::Country, Part::Whole, false, true),
    list("asn", "Networks by AS", Field::Asn, Part::Whole, false, true),
    list("credential", "Credentials", Field::Credential, Part::Whole, false, true),
    list("username", "User names", Field::Username, Part::Whole, false, true),
    list("password", "Passwords", Field::Password, Part::Whole, false, true),
    list("command", "Commands", Field::CommandLine, Part::Whole, false, true),
    list("download", "Downloads", Field::Download, Part::Whole, true, true),
    list("download_url", "Download URLs", Field::Download, Part::Url, false, true),
    list("upload", "Uploads", Field::Upload, Part::Whole, true, true),
    list("tunnel", "Tunnel targets", Field::Tunnel, Part::Whole, false, true),
    list("version", "Client versions", Field::Version, Part::Whole, false, true),
    list("hassh", "HASSH fingerprints", Field::Hassh, Part::Whole, true, true),
    list("ja4", "JA4 fingerprints", Field::Ja4, Part::Whole, true, true),
    list("protocol", "Protocols", Field::Protocol, Part::Whole, false, true),
    list("eventid", "Kinds of events", Field::Eventid, Part::Whole, false, true),
    list("cve", "Vulnerabilities", Field::Cve, Part::Whole, true, true),
    list("scam_type", "Scams by kind (messages)", Field::ScamType, Part::Whole, false, true),
    list("url", "URLs", Field::Url, Part::Whole, true, false),
    list("domain", "Domains", Field::Domain, Part::Whole, true, false),
    list("ipv4", "IPv4 addresses in texts", Field::Ipv4, Part::Whole, true, false),
    list("ipv6", "IPv6 addresses in texts", Field::Ipv6, Part::Whole, true, false),
    list("fingerprint", "SSH key fingerprints", Field::Fingerprint, Part::Whole, true, false),
    list("ssh_key", "SSH keys", Field::SshKey, Part::Whole, true, false),
    list("sha256", "SHA-256 in texts", Field::Sha256, Part::Whole, true, false),
    list("sha1", "SHA-1 in texts", Field::Sha1, Part::Whole, true, false),
    list("md5", "MD5 in texts", Field::Md5, Part::Whole, true, false),
    list("email", "E-mail addresses", Field::Email, Part::Whole, true, false),
    list("phone", "Phone numbers", Field::Phone, Part::Whole, true, false),
    list("upi", "UPI ids", Field::Upi, Part::Whole, true, false),
    list("bank_account", "Bank accounts", Field::BankAccount, Part::Whole, true, false),
    list("btc", "Bitcoin addresses", Field::Btc, Part::Whole, true, false),
    list("eth", "Ethereum addresses", Field::Eth, Part::Whole, true, false),
    list("xmr", "Monero addresses", Field::Xmr, Part::Whole, true, false),
];

/// The title of the list called `name` in JSON.
pub fn title(name: &str) -> &str {
    LISTS.iter().find(|list| list.name == name).map_or(name, |list| list.title)
}

/// Computes a report. `example` tells what the journal says of the session with that key at that sensor.
pub fn build(
    view: &View,
    request: &Request,
    now: Micros,
    example: &mut dyn FnMut(&[u8], u64) -> ExampleSession,
) -> Result<Report, SidecarError> {
    let (days, sensor) = (request.period.days.clone(), request.sensor.clone());
    let asked = deviations::Request { days, sensor, measure: None, rules: request.rules, now };
    std::thread::scope(|threads| {
        // As much work as all else together, over other days: done beside it.
        let unusual = threads.spawn(|| deviations::find(view, &asked, false, request.rows));
        let report = build_without_anomalies(view, request, now, example)?;
        let unusual = unusual.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Report { anomalies: Anomalies { found: unusual.anomalies, rows: unusual.rows }, ..report })
    })
}

fn build_without_anomalies(
    view: &View,
    request: &Request,
    now: Micros,
    example: &mut dyn FnMut(&[u8], u64) -> ExampleSession,
) -> Result<Report, SidecarError> {
    let scope_of =
        |period: &Period| Scope { days: period.days.clone(), sensor: request.sensor.as_ref().map(|name| name.as_bytes().to_vec()) };
    let (scope, before) = (scope_of(&request.period), request.period.before());
    let mut steps = Steps::of(&scope);
    let mut sensors = BTreeMap::<Vec<u8>, SensorTotals>::new();
    let mut acts = ActTotals::default();
    scoped::each_activity(view, &scope, &mut |hour, sensor, here| {
        acts.add(here);
        steps.acts(hour, here);
        if request.sensor.is_none() {
            sensor_totals(&mut sensors, sensor).acts(here);
        }
    })?;
    let (mut sessions, mut sessions_before) = (SessionFigures::default(), SessionFigures::default());
    // The sessions of both periods are found in one walk.
    let both = Scope { days: *before.days.start()..=*scope.days.end(), ..scope.clone() };
    let mut clusters = cluster::Counter::new(cluster::Wanted {
        by: cluster::By::ALL,
        sessions_min: 2,
        addresses_min: 2,
        order: cluster::Order::Addresses,
        rows: request.rows,
    });
    let mut sequences = sequences(view, &both, &scope, request.rows, &mut |sensor, session| {
        if !scope.days.contains(&time::day_of(session.first)) {
            return sessions_before.add(session);
        }
        sessions.add(session);
        clusters.add(sensor, session);
        steps.session(session.first);
        if request.sensor.is_none() {
            sensor_totals(&mut sensors, sensor).sessions += 1;
        }
    })?;
    while clusters.end_walk() {
        scoped::each_session(view, &scope, &mut |sensor, session| clusters.add(sensor, session))?;
    }
    let clusters = clusters.finish();
    for (row, (key, sensor)) in &mut sequences.rows {
        let ExampleSession { session, lines, unreadable, .. } = example(sensor, *key);
        (row.session, row.lines, row.unreadable) = (session, lines, unreadable);
    }
    let (mut top, mut new, mut networks, mut addresses) = (Vec::new(), Vec::new(), 0, 0);
    for list in LISTS {
        let values = scoped::values(view, (list.field, list.part), &scope, request.rows, list.news)?;
        match list.part {
            Part::Network => networks = values.distinct,
            Part::Whole if list.field == Field::SrcIp => addresses = values.distinct,
            _ => {}
        }
        if list.top {
            let rows = values.top.iter().map(|row| Counted { value: shown(list, &row.value), events: row.count }).collect();
            top.push(TopList { name: list.name.to_owned(), distinct: values.distinct, rows });
        }
        if list.news {
            let row = |row: &crate::index::top::TopRow| NewRow {
                value: shown(list, &row.value),
                first_seen: time::format(row.first),
                events: row.count,
            };
            new.push(NewList { name: list.name.to_owned(), values: values.new, rows: values.newest.iter().map(row).collect() });
        }
    }
    let before_totals = totals_before(view, &scope_of(&before), &sessions_before)?;
    Ok(Report {
        schema: SCHEMA.to_owned(),
        kind: request.period.kind,
        period: request.period.label(),
        from: format_day(*scope.days.start()),
        to: format_day(*scope.days.end()),
        sensor: request.sensor.clone().unwrap_or_else(|| AGGREGATE.to_owned()),
        generated_at: time::format(now),
        commands_per_session: sessions.commands(),
        totals: totals(&acts, &sessions, addresses, networks),
        before: Before { period: before.label(), totals: before_totals },
        activity: steps.finish(),
        top,
        sequences: Sequences { distinct: sequences.distinct, rows: sequences.rows.into_iter().map(|row| row.0).collect() },
        clusters: Clusters {
            distinct: clusters.clusters,
            rows: clusters.rows.iter().map(|row| ClusterRow::new(row, example(&row.example.sensor, row.example.key))).collect(),
        },
        new,
        sensors: sensors.into_values().collect(),
        anomalies: Anomalies::default(),
        note: None,
    })
}

fn totals_before(view: &View, scope: &Scope, sessions: &SessionFigures) -> Result<Totals, SidecarError> {
    let mut acts = ActTotals::default();
    scoped::each_activity(view, scope, &mut |_, _, here| acts.add(here))?;
    let addresses = scoped::values(view, (Field::SrcIp, Part::Whole), scope, 0, false)?.distinct;
    let networks = scoped::values(view, (Field::SrcIp, Part::Network), scope, 0, false)?.distinct;
    Ok(totals(&acts, sessions, addresses, networks))
}

/// [`Acts`] of any number of events.
#[derive(Default)]
struct ActTotals([u64; Act::ALL.len()]);

impl ActTotals {
    fn add(&mut self, acts: &Acts) {
        self.0.iter_mut().zip(acts.0).for_each(|(sum, count)| *sum += u64::from(count));
    }

    fn of(&self, act: Act) -> u64 {
        self.0[act as usize]
    }
}

fn login_attempts(acts: &Acts) -> u64 {
    u64::from(acts.of(Act::LoginFailed)) + u64::from(acts.of(Act::LoginSucceeded))
}

fn totals(acts: &ActTotals, sessions: &SessionFigures, addresses: u64, networks: u64) -> Totals {
    Totals {
        events: acts.0.iter().sum(),
        sessions: sessions.sessions,
        sessions_with_login: sessions.with_login,
        sessions_with_commands: sessions.with_commands,
        addresses,
        networks,
        connections: acts.of(Act::Connection),
        login_attempts: acts.of(Act::LoginFailed) + acts.of(Act::LoginSucceeded),
        logins_succeeded: acts.of(Act::LoginSucceeded),
        commands: acts.of(Act::Command),
        downloads: acts.of(Act::Download),
        uploads: acts.of(Act::Upload),
        tunnels: acts.of(Act::Tunnel),
        messages: acts.of(Act::Message),
    }
}

#[derive(Default)]
struct SessionFigures {
    sessions: u64,
    with_login: u64,
    with_commands: u64,
    commands: u64,
    largest: u64,
    smallest: Option<u64>,
}

impl SessionFigures {
    fn add(&mut self, session: &scoped::SessionTotals) {
        let commands = u64::from(session.acts.of(Act::Command));
        self.sessions += 1;
        self.with_login += u64::from(session.acts.of(Act::LoginSucceeded) > 0);
        self.with_commands += u64::from(commands > 0);
        self.commands += commands;
        self.largest = self.largest.max(commands);
        self.smallest = Some(self.smallest.map_or(commands, |smallest| smallest.min(commands)));
    }

    fn commands(&self) -> CommandsPerSession {
        let average = self.commands as f64 / self.sessions.max(1) as f64;
        CommandsPerSession { average: (average * 100.0).round() / 100.0, largest: self.largest, smallest: self.smallest.unwrap_or(0) }
    }
}

/// Activity by hour or day, every step of the period in place.
struct Steps {
    first_hour: i32,
    hours_per_step: i32,
    rows: Vec<ActivityRow>,
}

impl Steps {
    fn of(scope: &Scope) -> Steps {
        let days = scope.days.end() - scope.days.start() + 1;
        let hours_per_step = if days <= HOURLY_DAYS_MAX { 1 } else { 24 };
        let first_hour = scope.days.start() * 24;
        let row = |step: i32| ActivityRow {
            at: time::format(Micros::from(first_hour + step * hours_per_step) * MICROS_PER_HOUR),
            ..ActivityRow::default()
        };
        Steps { first_hour, hours_per_step, rows: (0..days * 24 / hours_per_step).map(row).collect() }
    }

    fn row(&mut self, hour: i32) -> Option<&mut ActivityRow> {
        let step = (hour - self.first_hour) / self.hours_per_step;
        self.rows.get_mut(usize::try_from(step).ok()?)
    }

    fn acts(&mut self, hour: i32, acts: &Acts) {
        if let Some(row) = self.row(hour) {
            row.events += acts.events();
            row.login_attempts += login_attempts(acts);
            row.commands += u64::from(acts.of(Act::Command));
            row.downloads += u64::from(acts.of(Act::Download));
        }
    }

    fn session(&mut self, first: Micros) {
        if let Some(row) = self.row(time::hour_of(first)) {
            row.sessions += 1;
        }
    }

    fn finish(self) -> Activity {
        Activity { step: if self.hours_per_step == 1 { "hour" } else { "day" }.to_owned(), rows: self.rows }
    }
}

fn sensor_totals<'s>(sensors: &'s mut BTreeMap<Vec<u8>, SensorTotals>, name: &[u8]) -> &'s mut SensorTotals {
    if !sensors.contains_key(name) {
        let sensor = String::from_utf8_lossy(name).into_owned();
        sensors.insert(name.to_vec(), SensorTotals { sensor, ..SensorTotals::default() });
    }
    sensors.get_mut(name).expect("it was put there")
}

impl SensorTotals {
    fn acts(&mut self, acts: &Acts) {
        self.events += acts.events();
        self.login_attempts += login_attempts(acts);
        self.commands += u64::from(acts.of(Act::Command));
        self.downloads += u64::from(acts.of(Act::Download));
    }
}

/// Sequences that most sessions typed, with key and sensor of the session that is shown.
struct ScopedSequences {
    distinct: u64,
    rows: Vec<(SequenceRow, (u64, Vec<u8>))>,
}

struct SequenceCount {
    sessions: u64,
    commands: u32,
    /// The earliest of the sessions: when, its key, its sensor.
    example: (Micros, u64, Vec<u8>),
}

/// Counts the sequences of the scope's sessions, exactly: where they are more than are counted at once, the sessions are walked again
/// for the rest. `each` sees every session of the `walked` scope, which holds the other, once.
fn sequences(
    view: &View,
    walked: &Scope,
    scope: &Scope,
    rows: usize,
    each: &mut dyn FnMut(&[u8], &scoped::SessionTotals),
) -> Result<ScopedSequences, SidecarError> {
    let (mut distinct, mut best) = (0, Vec::<(u64, SequenceCount)>::new());
    let mut counts: HashMap<u64, SequenceCount, foldhash::fast::RandomState> = HashMap::default();
    let (mut from, mut first_walk) = (0u64, true);
    loop {
        let mut to = u64::MAX;
        counts.clear();
        scoped::each_session(view, if first_walk { walked } else { scope }, &mut |sensor, session| {
            if first_walk {
                each(sensor, session);
            }
            let sequence = session.sequence;
            let is_inside = sequence.len > 0 && (from..to).contains(&sequence.hash);
            if !is_inside || !scope.days.contains(&time::day_of(session.first)) {
                return;
            }
            let known = counts.entry(sequence.hash).or_insert_with(|| SequenceCount {
                sessions: 0,
                commands: sequence.len,
                example: (Micros::MAX, 0, Vec::new()),
            });
            known.sessions += 1;
            if (session.first, session.key) < (known.example.0, known.example.1) {
                known.example = (session.first, session.key, sensor.to_vec());
            }
            if counts.len() > SEQUENCES_MAX {
                to = from + (to - from) / 2;
                counts.retain(|hash, _| *hash < to);
            }
        })?;
        distinct += counts.len() as u64;
        best.extend(counts.drain());
        best.sort_unstable_by(|a, b| (b.1.sessions, &a.1.example, a.0).cmp(&(a.1.sessions, &b.1.example, b.0)));
        best.truncate(rows);
        first_walk = false;
        if to == u64::MAX {
            break;
        }
        from = to;
    }
    let row = |(_, count): (u64, SequenceCount)| {
        let (_, key, sensor) = count.example;
        (SequenceRow { sessions: count.sessions, commands: count.commands.into(), ..SequenceRow::default() }, (key, sensor))
    };
    Ok(ScopedSequences { distinct, rows: best.into_iter().map(row).collect() })
}

fn shown(list: &List, value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value).into_owned();
    if list.part == Part::Network { format!("{text}.0/24") } else { text }
}
