//! Every figure of a report, computed again from the raw lines with maps and strings, must be the report's.
//!
//! `ops/REPORTS.md` is what both are made after. Here lines are read by serde_json, times are compared as the text they are, and
//! nothing is shared with the program but the names of its lists.
mod receivers;
mod served;

use honeyguide::cli::context::Exit;
use serde_json::{Map, Value};
use served::{Home, log};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

const ROWS: usize = 25;
const SEGMENTS: &str = "[journal]\nsegment_bytes = \"1 MiB\"\n[anomalies]\nthreshold = 3\nbaseline_days = 10\nmin_days = 3\n";
const THRESHOLD: f64 = 3.0;
const BASELINE_DAYS: i64 = 10;
const MIN_DAYS: usize = 3;
const MEASURES: [&str; 5] = ["events", "sessions", "addresses", "downloads", "silence"];

#[derive(Clone, Default)]
struct Line {
    /// `2026-03-23T10:11:12.123456Z`
    time: String,
    sensor: String,
    session: Option<String>,
    act: &'static str,
    values: BTreeMap<&'static str, String>,
    command: Option<String>,
}

/// The lines of events as they are stored: each once, in their order.
fn lines(raw: &[u8]) -> Vec<Line> {
    let mut seen = BTreeSet::new();
    raw.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && seen.insert(line.to_vec())).map(line).collect()
}

fn line(raw: &[u8]) -> Line {
    let event: Map<String, Value> = serde_json::from_slice(raw).expect("an object");
    let text = |name: &str| match event.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let typed = |name: &str| text(name).map(short);
    let filled = |name: &str| typed(name).filter(|text| !text.is_empty());
    let time = text("timestamp").expect("a time");
    assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    let eventid = text("eventid").expect("an event id");
    let act = match eventid.as_str() {
        "cowrie.session.connect" => "connections",
        "cowrie.login.failed" => "logins_failed",
        "cowrie.login.success" => "logins_succeeded",
        "cowrie.command.input" => "commands",
        "cowrie.session.file_download" => "downloads",
        "cowrie.session.file_upload" => "uploads",
        "cowrie.direct-tcpip.request" => "tunnels",
        _ => "other",
    };
    let mut values = BTreeMap::new();
    for name in ["src_ip", "version", "hassh", "protocol", "eventid"] {
        values.extend(filled(name).map(|value| (name, value)));
    }
    for name in ["username", "password"] {
        values.extend(typed(name).map(|value| (name, value)));
    }
    if let Some(address) = values.get("src_ip").filter(|address| address.parse::<std::net::Ipv4Addr>().is_ok()) {
        let network = format!("{}.0/24", address.rsplit_once('.').expect("three dots").0);
        values.insert("network", network);
    }
    let credential = typed("username").zip(typed("password")).filter(|_| act.starts_with("logins"));
    values
        .extend(credential.map(|(name, word)| ("credential", short(format!("{}:{word}", name.replace('\\', "\\\\").replace(':', "\\:"))))));
    let command = typed("input").filter(|_| act == "commands");
    values.extend(command.clone().map(|command| ("command", command)));
    let file = |source: Option<String>, hash: String| match source {
        Some(source) => short(format!("{} {hash}", source.replace(' ', "%20"))),
        None => hash,
    };
    match (act, filled("shasum")) {
        ("downloads", Some(hash)) => {
            values.extend(filled("url").map(|url| ("download_url", url.replace(' ', "%20"))));
            values.insert("download", file(filled("url"), hash));
        }
        ("uploads", Some(hash)) => drop(values.insert("upload", file(filled("filename"), hash))),
        _ => {}
    }
    if let ("tunnels", Some(host), Some(port)) = (act, filled("dst_ip"), filled("dst_port")) {
        values.insert("tunnel", format!("{host}:{port}"));
    }
    Line { time, sensor: text("sensor").unwrap_or_default(), session: text("session").filter(|id| !id.is_empty()), act, values, command }
}

/// A value longer than 4 KiB is its beginning and its hash.
fn short(value: String) -> String {
    if value.len() <= 4096 {
        return value;
    }
    let hash: String = blake3::hash(value.as_bytes()).as_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut cut = 4096 - "…".len() - hash.len();
    while !value.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}…{hash}", &value[..cut])
}

/// A session, wherever its events lie.
#[derive(Clone, Default)]
struct Session {
    first: String,
    last: String,
    commands: Vec<String>,
    logged_in: bool,
    hassh: Option<String>,
    address: Option<std::net::IpAddr>,
    /// As often as it was tried, in the order of the alphabet.
    credentials: Vec<String>,
}

/// Days from and to, both included, as text; `None` for all sensors.
struct Scope<'a> {
    from: &'a str,
    to: &'a str,
    sensor: Option<&'a str>,
}

impl Scope<'_> {
    fn holds(&self, time: &str) -> bool {
        let day = &time[..10];
        self.from <= day && day <= self.to
    }

    fn has(&self, sensor: &str) -> bool {
        self.sensor.is_none_or(|wanted| wanted == sensor)
    }
}

struct Log {
    lines: Vec<Line>,
    sessions: HashMap<(String, String), Session>,
    /// When a value of a list was first seen, anywhere.
    firsts: HashMap<(&'static str, String), String>,
    /// By sensor, then by the number of the day.
    days: BTreeMap<String, BTreeMap<i64, Day>>,
    /// What was measured before.
    measured: RefCell<HashMap<(String, i64, &'static str), f64>>,
}

/// A sensor's day.
#[derive(Default)]
struct Day {
    events: u64,
    sessions: u64,
    downloads: u64,
    addresses: BTreeSet<String>,
    /// Since the first day of all.
    hours: BTreeSet<i64>,
}

/// Days since some day in the past: `2026-03-23` and whatever follows.
fn day_number(time: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| time[range].parse::<i64>().expect("a number");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let years: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    years + lengths[..month as usize - 1].iter().sum::<i64>() + day
}

fn middle(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

impl Log {
    fn new(raw: &[u8]) -> Log {
        let lines = lines(raw);
        let (mut sessions, mut firsts) = (HashMap::<_, Session>::new(), HashMap::<_, String>::new());
        for line in &lines {
            for (name, value) in &line.values {
                let first = firsts.entry((*name, value.clone())).or_insert_with(|| line.time.clone());
                *first = line.time.clone().min(first.clone());
            }
            let Some(id) = &line.session else { continue };
            let session: &mut Session = sessions.entry((line.sensor.clone(), id.clone())).or_default();
            if session.first.is_empty() || line.time < session.first {
                session.first = line.time.clone();
            }
            session.last = session.last.clone().max(line.time.clone());
            let value = |name: &str| line.values.get(name).cloned();
            session.hassh = session.hassh.take().or_else(|| value("hassh"));
            let address = value("src_ip").and_then(|text| text.parse::<std::net::IpAddr>().ok());
            session.address = session.address.or(address.map(|address| address.to_canonical()));
            session.credentials.extend(value("credential"));
            session.credentials.sort();
            session.commands.extend(line.command.clone());
            session.logged_in |= line.act == "logins_succeeded";
        }
        let mut days = BTreeMap::<String, BTreeMap<i64, Day>>::new();
        for line in &lines {
            let number = day_number(&line.time);
            let day = days.entry(line.sensor.clone()).or_default().entry(number).or_default();
            day.events += 1;
            day.downloads += u64::from(line.act == "downloads");
            day.addresses.extend(line.values.get("src_ip").cloned());
            day.hours.insert(number * 24 + line.time[11..13].parse::<i64>().expect("an hour"));
        }
        for ((sensor, _), session) in &sessions {
            let day = days.get_mut(sensor).expect("it has events").get_mut(&day_number(&session.first));
            day.expect("its first event").sessions += 1;
        }
        Log { lines, sessions, firsts, days, measured: RefCell::default() }
    }

    fn measured(&self, sensor: &str, day: i64, measure: &'static str) -> f64 {
        let place = (sensor.to_owned(), day, measure);
        let known = self.measured.borrow().get(&place).copied();
        known.unwrap_or_else(|| {
            let value = self.measure(sensor, day, measure);
            self.measured.borrow_mut().insert(place, value);
            value
        })
    }

    fn measure(&self, sensor: &str, day: i64, measure: &str) -> f64 {
        let days = &self.days[sensor];
        if measure == "silence" {
            let happened = |hour: i64| days.get(&hour.div_euclid(24)).is_some_and(|day| day.hours.contains(&hour));
            let silent = |hour: i64| (0..168).take_while(|back| !happened(hour - back)).count();
            return (day * 24..day * 24 + 24).map(silent).max().expect("hours") as f64;
        }
        let Some(day) = days.get(&day) else { return 0.0 };
        let value = match measure {
            "events" => day.events,
            "sessions" => day.sessions,
            "downloads" => day.downloads,
            _ => day.addresses.len() as u64,
        };
        value as f64
    }

    /// Days before `today`: a day that is not over, on which nothing happens, is never out of the ordinary.
    fn anomalies(&self, scope: &Scope<'_>, today: &str) -> Value {
        let mut rows = Vec::new();
        for (sensor, days) in self.days.iter().filter(|(sensor, _)| scope.has(sensor)) {
            let first = *days.keys().next().expect("a day");
            let mut name = scope.from.to_owned();
            for day in day_number(scope.from)..=day_number(scope.to).min(day_number(today) - 1) {
                for (place, measure) in MEASURES.into_iter().enumerate() {
                    let before: Vec<f64> =
                        ((first + 1).max(day - BASELINE_DAYS)..day).map(|day| self.measured(sensor, day, measure)).collect();
                    if before.len() < MIN_DAYS {
                        continue;
                    }
                    let (value, expected) = (self.measured(sensor, day, measure), middle(&before));
                    let spread = 1.4826 * middle(&before.iter().map(|value| (value - expected).abs()).collect::<Vec<_>>());
                    let floors = if measure == "silence" { [expected / 4.0, 0.0] } else { [expected / 10.0, expected.sqrt()] };
                    let mut ordered = before.clone();
                    ordered.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
                    if value >= expected {
                        ordered.reverse();
                    }
                    let spread = spread.max((ordered[before.len() / 10] - expected).abs() / 1.2816);
                    let deviation = (value - expected) / floors.into_iter().fold(spread.max(1.0), f64::max);
                    if deviation.abs() >= THRESHOLD {
                        let direction = if deviation > 0.0 { "high" } else { "low" };
                        let deviation = (deviation * 100.0).round() / 100.0;
                        let row = serde_json::json!({
                            "day": name, "sensor": sensor, "measure": measure, "value": value as u64, "expected": expected,
                            "deviation": deviation, "direction": direction,
                        });
                        rows.push((deviation, (name.clone(), sensor, place), row));
                    }
                }
                name = next_day(&name);
            }
        }
        let found = rows.len();
        rows.sort_by(|a, b| b.0.abs().partial_cmp(&a.0.abs()).expect("numbers").then_with(|| a.1.cmp(&b.1)));
        rows.truncate(ROWS);
        rows.sort_by(|a, b| a.1.cmp(&b.1));
        serde_json::json!({ "found": found, "rows": rows.into_iter().map(|row| row.2).collect::<Vec<_>>() })
    }

    fn lines<'l>(&'l self, scope: &'l Scope<'_>) -> impl Iterator<Item = &'l Line> {
        self.lines.iter().filter(|line| scope.holds(&line.time) && scope.has(&line.sensor))
    }

    fn sessions<'l>(&'l self, scope: &'l Scope<'_>) -> impl Iterator<Item = (&'l str, &'l Session)> {
        let inside = self.sessions.iter().filter(|((sensor, _), session)| scope.holds(&session.first) && scope.has(sensor));
        inside.map(|((sensor, _), session)| (sensor.as_str(), session))
    }

    fn values(&self, scope: &Scope<'_>, name: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for value in self.lines(scope).filter_map(|line| line.values.get(name)) {
            *counts.entry(value.clone()).or_default() += 1;
        }
        counts
    }

    fn totals(&self, scope: &Scope<'_>) -> Value {
        let act = |names: &[&str]| self.lines(scope).filter(|line| names.contains(&line.act)).count();
        serde_json::json!({
            "events": self.lines(scope).count(),
            "sessions": self.sessions(scope).count(),
            "sessions_with_login": self.sessions(scope).filter(|(_, session)| session.logged_in).count(),
            "sessions_with_commands": self.sessions(scope).filter(|(_, session)| !session.commands.is_empty()).count(),
            "addresses": self.values(scope, "src_ip").len(),
            "networks": self.values(scope, "network").len(),
            "connections": act(&["connections"]),
            "login_attempts": act(&["logins_failed", "logins_succeeded"]),
            "logins_succeeded": act(&["logins_succeeded"]),
            "commands": act(&["commands"]),
            "downloads": act(&["downloads"]),
            "uploads": act(&["uploads"]),
            "tunnels": act(&["tunnels"]),
            "messages": 0,
        })
    }

    fn commands_per_session(&self, scope: &Scope<'_>) -> Value {
        let counts: Vec<usize> = self.sessions(scope).map(|(_, session)| session.commands.len()).collect();
        let average = counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64;
        let (largest, smallest) = (counts.iter().max().copied().unwrap_or(0), counts.iter().min().copied().unwrap_or(0));
        serde_json::json!({ "average": (average * 100.0).round() / 100.0, "largest": largest, "smallest": smallest })
    }

    /// Holds the clusters against the lines: sessions of one client that typed and tried the same from several addresses.
    fn check_clusters(&self, report: &Value, scope: &Scope<'_>, about: &str) {
        type Group<'g> = Vec<(&'g (String, String), &'g Session)>;
        let mut groups = HashMap::<(&Option<String>, &[String], &[String]), Group<'_>>::new();
        let inside = self.sessions.iter().filter(|((sensor, _), session)| scope.holds(&session.first) && scope.has(sensor));
        for (name, session) in inside.filter(|(_, session)| !session.commands.is_empty() || !session.credentials.is_empty()) {
            groups.entry((&session.hassh, &session.commands, &session.credentials)).or_default().push((name, session));
        }
        let addresses = |group: &Group<'_>| group.iter().filter_map(|(_, session)| session.address).collect::<BTreeSet<_>>().len();
        let sensors = |group: &Group<'_>| group.iter().map(|(name, _)| &name.0).collect::<BTreeSet<_>>().len();
        groups.retain(|_, group| addresses(group) >= 2);
        assert_eq!(report["clusters"]["distinct"], groups.len(), "{about}");
        let mut most: Vec<(usize, usize)> = groups.values().map(|group| (addresses(group), group.len())).collect();
        most.sort_unstable_by(|a, b| b.cmp(a));
        most.truncate(ROWS);
        let rows = report["clusters"]["rows"].as_array().expect("rows");
        let number = |row: &Value, name: &str| row[name].as_u64().expect("a number") as usize;
        assert_eq!(rows.iter().map(|row| (number(row, "addresses"), number(row, "sessions"))).collect::<Vec<_>>(), most, "{about}");
        let mut ids = BTreeSet::new();
        for row in rows {
            let example = (row["sensor"].as_str().expect("a name").to_owned(), row["session"].as_str().expect("an id").to_owned());
            let found = groups.iter().find(|(_, group)| group.iter().any(|(name, _)| **name == example));
            let ((hassh, commands, credentials), group) = found.unwrap_or_else(|| panic!("{about}: {row}"));
            let first = group.iter().map(|(_, session)| &session.first).min().expect("sessions");
            let last = group.iter().map(|(_, session)| &session.last).max().expect("sessions");
            assert_eq!((row["first"].as_str(), row["last"].as_str()), (Some(first.as_str()), Some(last.as_str())), "{about}: {row}");
            assert_eq!(self.sessions[&example].first, *first, "{about}: the example began first: {row}");
            let figures = ["addresses", "sessions", "sensors", "commands", "credentials"].map(|name| number(row, name));
            assert_eq!(figures, [addresses(group), group.len(), sensors(group), commands.len(), credentials.len()], "{about}: {row}");
            assert_eq!(row["hassh"].as_str(), hassh.as_deref(), "{about}: {row}");
            let shown: Vec<String> = serde_json::from_value(row["lines"].clone()).expect("lines");
            assert!(shown.len() == commands.len().min(20), "{about}: {row}");
            assert!(commands.iter().zip(&shown).all(|(command, shown)| command.starts_with(shown.as_str())), "{about}: {row}");
            assert!(ids.insert(row["id"].as_str().expect("an id").to_owned()), "{about}: {row}");
        }
    }

    /// Holds a whole report against the lines.
    fn check(&self, report: &Value) {
        let text = |name: &str| report[name].as_str().expect("text");
        let about = format!("{} of {}", text("period"), text("sensor"));
        let sensor = (text("sensor") != "aggregate").then(|| text("sensor"));
        let scope = Scope { from: text("from"), to: text("to"), sensor };
        assert_eq!(report["totals"], self.totals(&scope), "{about}");
        assert_eq!(report["commands_per_session"], self.commands_per_session(&scope), "{about}");

        let step = if report["activity"]["step"] == "day" { "2026-03-23".len() } else { "2026-03-23T10".len() };
        let mut activity = BTreeMap::<String, [u64; 5]>::new();
        for line in self.lines(&scope) {
            let row = activity.entry(line.time[..step].to_owned()).or_default();
            row[0] += 1;
            row[2] += u64::from(line.act.starts_with("logins"));
            row[3] += u64::from(line.act == "commands");
            row[4] += u64::from(line.act == "downloads");
        }
        self.sessions(&scope).for_each(|(_, session)| activity.entry(session.first[..step].to_owned()).or_default()[1] += 1);
        for row in report["activity"]["rows"].as_array().expect("rows") {
            let expected = activity.remove(&row["at"].as_str().expect("a time")[..step]).unwrap_or_default();
            let found = ["events", "sessions", "login_attempts", "commands", "downloads"].map(|name| row[name].as_u64().expect("a number"));
            assert_eq!(found, expected, "{about} {}", row["at"]);
        }
        assert!(activity.is_empty(), "{about}: {activity:?}");

        for list in report["top"].as_array().expect("lists") {
            let name = list["name"].as_str().expect("a name");
            // What texts name is found by extractors, which have tests of their own.
            if ["ja4", "cve", "scam_type"].contains(&name) {
                continue;
            }
            let counts = self.values(&scope, name);
            assert_eq!(list["distinct"], counts.len(), "{about} {name}");
            let mut top: Vec<(String, u64)> = counts.into_iter().collect();
            // Networks are ordered without what all their names end in.
            let key = |value: &str| value.strip_suffix(".0/24").filter(|_| name == "network").unwrap_or(value).to_owned();
            top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| key(&a.0).cmp(&key(&b.0))));
            top.truncate(ROWS);
            let top: Vec<Value> = top.into_iter().map(|(value, events)| serde_json::json!({ "value": value, "events": events })).collect();
            assert_eq!(list["rows"], Value::from(top), "{about} {name}");
        }

        let mut sequences = HashMap::<&[String], u64>::new();
        for (_, session) in self.sessions(&scope).filter(|(_, session)| !session.commands.is_empty()) {
            *sequences.entry(&session.commands).or_default() += 1;
        }
        assert_eq!(report["sequences"]["distinct"], sequences.len(), "{about}");
        let mut most: Vec<u64> = sequences.values().copied().collect();
        most.sort_unstable_by(|a, b| b.cmp(a));
        most.truncate(ROWS);
        let rows = report["sequences"]["rows"].as_array().expect("rows");
        assert_eq!(rows.iter().map(|row| row["sessions"].as_u64().expect("a number")).collect::<Vec<_>>(), most, "{about}");
        for row in rows.iter().filter(|row| row["session"].is_string()) {
            let shown: Vec<String> = serde_json::from_value(row["lines"].clone()).expect("lines");
            let whole = sequences.iter().find(|(commands, count)| {
                let same = commands.iter().zip(&shown).all(|(command, shown)| command.starts_with(shown.as_str()));
                commands.len().min(20) == shown.len() && same && row["commands"] == commands.len() && row["sessions"] == **count
            });
            assert!(whole.is_some(), "{about}: {row}");
        }

        self.check_clusters(report, &scope, &about);

        for list in report["new"].as_array().expect("lists") {
            let name = list["name"].as_str().expect("a name");
            if !["src_ip", "hassh", "download", "upload"].contains(&name) {
                continue;
            }
            let firsts: HashMap<&String, &String> =
                self.firsts.iter().filter(|((of, _), _)| *of == name).map(|((_, value), first)| (value, first)).collect();
            let counts = self.values(&scope, name);
            let mut new: Vec<(&String, &String, u64)> =
                counts.iter().map(|(value, count)| (firsts[value], value, *count)).filter(|new| scope.holds(new.0)).collect();
            new.sort_unstable();
            assert_eq!(list["values"], new.len(), "{about} {name}");
            let rows = new
                .into_iter()
                .take(ROWS)
                .map(|(first, value, events)| serde_json::json!({ "value": value, "first_seen": first, "events": events }));
            assert_eq!(list["rows"], Value::from(rows.collect::<Vec<_>>()), "{about} {name}");
        }

        let mut sensors = BTreeMap::<&str, [u64; 5]>::new();
        if sensor.is_none() {
            for line in self.lines(&scope) {
                let row = sensors.entry(&line.sensor).or_default();
                row[0] += 1;
                row[2] += u64::from(line.act.starts_with("logins"));
                row[3] += u64::from(line.act == "commands");
                row[4] += u64::from(line.act == "downloads");
            }
            self.sessions(&scope).for_each(|(sensor, _)| sensors.entry(sensor).or_default()[1] += 1);
        }
        let rows = report["sensors"].as_array().expect("rows").iter().map(|row| {
            let figures =
                ["events", "sessions", "login_attempts", "commands", "downloads"].map(|name| row[name].as_u64().expect("a number"));
            (row["sensor"].as_str().expect("a name"), figures)
        });
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), sensors, "{about}");
        assert_eq!(report["anomalies"], self.anomalies(&scope, text("generated_at")), "{about}");
    }
}

/// `2026-04-01` behind `2026-03-31`.
fn next_day(day: &str) -> String {
    let number = day_number(day) + 1;
    let (year, month) = (&day[..4], &day[5..7]);
    let year = year.parse::<u32>().expect("a year");
    let candidates = [
        format!("{year:04}-{month}-{:02}", day[8..].parse::<u32>().expect("a day") + 1),
        format!("{year:04}-{:02}-01", month.parse::<u32>().expect("a month") % 12 + 1),
        format!("{:04}-01-01", year + 1),
    ];
    // The 32nd of a month has the number of the next one's first day.
    candidates.into_iter().rev().find(|next| day_number(next) == number).expect("one of them")
}

fn reports(home: &Home, words: &[&str]) -> Vec<Value> {
    let rows = ROWS.to_string();
    let words: Vec<&str> = ["report"].iter().chain(words).chain(&["--rows", &rows]).copied().collect();
    let Value::Array(reports) = home.json(Exit::Done, &words) else { panic!("a list of reports") };
    reports
}

/// Loads the lines, and holds reports on every day, on weeks, months and ranges against them.
fn hold(raw: &[u8], home: &Home) {
    let file = home.write("logs/cowrie.json", raw);
    home.json(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
    let log = Log::new(raw);
    let days: BTreeSet<&str> = log.lines.iter().map(|line| &line.time[..10]).collect();
    let (first, last) = (*days.first().expect("events"), *days.last().expect("events"));
    let mut checked = 0;
    let mut all = |words: &[&str]| {
        let reports = reports(home, words);
        reports.iter().for_each(|report| log.check(report));
        checked += reports.len();
        reports
    };
    let (mut sessions, mut month) = (0, String::new());
    for day in &days {
        let reports = all(&["daily", day, "--all"]);
        let aggregate = reports.last().expect("one for all sensors");
        assert_eq!(aggregate["sensor"], "aggregate");
        sessions += aggregate["totals"]["sessions"].as_u64().expect("a number");
        // The period before, too, is what its own report says.
        let before = aggregate["before"]["period"].as_str().expect("a day");
        assert_eq!(aggregate["before"]["totals"], all(&["daily", before])[0]["totals"]);
        if month != day[..7] {
            month = day[..7].to_owned();
            all(&["monthly", &month]);
            all(&["weekly", day]);
        }
    }
    assert_eq!(sessions as usize, log.sessions.len(), "every session belongs to one day");
    all(&["range", &format!("{first}..{last}")]);
    let year = format!("{}-01-01..{}-12-31", &first[..4], &last[..4]);
    let whole = all(&["range", &year, "--all"]);
    assert_eq!(whole.last().expect("one")["activity"]["step"], "day");
    let silent = all(&["daily", first, "--sensor", "no such sensor"]);
    assert_eq!((&silent[0]["totals"]["events"], &silent[0]["totals"]["sessions"]), (&0.into(), &0.into()), "zero, not nothing");
    assert!(checked > 5);
}

#[test]
fn late_repeated_and_disordered_events_of_many_sensors_count_as_they_should() {
    let home = Home::with(SEGMENTS);
    let simulation = honeyguide::simulate::Simulation { seed: 7, events_per_second: 0.04, sensors: 4, ..Default::default() };
    let mut raw = Vec::new();
    honeyguide::simulate::Generator::new(&simulation).fill(&mut raw, 16_000);
    let mut lines: Vec<&[u8]> = raw.split_inclusive(|byte| *byte == b'\n').collect();
    // Disorder by a generator of its own: neighbours change places, some come days late, some come again.
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut late = Vec::new();
    for at in 0..lines.len() {
        let other = (at + random(40)).min(lines.len() - 1);
        lines.swap(at, other);
        match random(20) {
            0 => late.push(lines[at]),
            1 => late.extend([lines[at], lines[at]]),
            _ => {}
        }
    }
    // Half of those that come late come only then.
    for late in late.iter().step_by(2) {
        if let Some(at) = lines.iter().position(|line| line == late) {
            lines.remove(at);
        }
    }
    lines.extend(late);
    hold(&lines.concat(), &home);
    let segments = std::fs::read_dir(home.data().join("journal")).expect("a journal").filter_map(Result::ok);
    let sealed = segments.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "idx")).count();
    assert!(sealed >= 5, "sessions span segments: {sealed}");
}

/// Twenty days of few events each, one loud day, one sensor that falls silent and one that comes late.
#[test]
fn unusual_days_are_those_of_a_plain_computation() {
    let mut lines: Vec<(String, Vec<u8>)> = Vec::new();
    for (number, sensor, events, days) in
        [(1u64, "steady", 900u64, 0..24), (2, "loud", 900, 0..24), (3, "mute", 700, 0..17), (4, "late", 300, 14..24)]
    {
        for day in days {
            let start = honeyguide::simulate::START + day * 86_400_000_000;
            let count = if sensor == "loud" && day == 18 { events * 6 } else { events };
            let simulation = honeyguide::simulate::Simulation {
                seed: number * 100 + day as u64,
                start,
                events_per_second: count as f64 / 90_000.0,
                sensors: 1,
                ..Default::default()
            };
            let mut raw = Vec::new();
            honeyguide::simulate::Generator::new(&simulation).fill(&mut raw, count);
            for line in raw.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let mut event: Map<String, Value> = serde_json::from_slice(line).expect("an object");
                event.insert("sensor".to_owned(), sensor.into());
                let time = event["timestamp"].as_str().expect("a time").to_owned();
                lines.push((time, serde_json::to_vec(&event).expect("JSON")));
            }
        }
    }
    // In the order of time, but every seventh line comes at the very end: addresses and sessions of a day lie in several segments.
    lines.sort();
    let (late, on_time): (Vec<_>, Vec<_>) = lines.into_iter().enumerate().partition(|(number, _)| number % 7 == 0);
    let raw: Vec<u8> = on_time.into_iter().chain(late).flat_map(|(_, (_, line))| [line, vec![b'\n']].concat()).collect();
    let home = Home::with(SEGMENTS);
    hold(&raw, &home);
    let whole = &reports(&home, &["range", "2026-01-01..2026-01-24"])[0]["anomalies"];
    let found: BTreeSet<_> = whole["rows"].as_array().expect("rows").iter().map(|row| row.to_string()).collect();
    for (day, sensor, measure, direction) in [
        ("2026-01-19", "loud", "events", "high"),
        ("2026-01-19", "loud", "sessions", "high"),
        ("2026-01-18", "mute", "events", "low"),
        ("2026-01-19", "mute", "silence", "high"),
    ] {
        let words = [day, sensor, measure, direction].map(|word| format!("\"{word}\""));
        assert!(found.iter().any(|row| words.iter().all(|word| row.contains(word))), "{words:?}: {found:#?}");
    }
}

#[test]
fn a_daemon_reports_what_the_directory_says() {
    let home = Home::new();
    let file = home.write("logs/cowrie.json", &log(3, 3_000));
    home.json(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
    let strip = |mut reports: Vec<Value>| {
        reports.iter_mut().for_each(|report| drop(report.as_object_mut().expect("an object").remove("generated_at")));
        reports
    };
    let local = strip(reports(&home, &["daily", "2026-01-01", "--all"]));
    let daemon = served::Daemon::start(&home);
    assert_eq!(strip(reports(&home, &["daily", "2026-01-01", "--all"])), local);
    assert_eq!(strip(reports(&home, &["daily", "2026-01-01", "--sensor", "none"])).len(), 1);
    drop(daemon);
    let unclear = home.fails(&["report", "daily", "2026-02-31"]).to_string();
    assert!(unclear.contains("there is no 2026-02-31"), "{unclear}");
}

#[test]
fn reports_are_published_once_for_each_period_and_sensor() {
    let double = receivers::elasticsearch::start();
    let url = double.url();
    let sink = format!(
        "[[sink]]\nname = \"elastic\"\ntype = \"elasticsearch\"\nurl = \"{url}\"\nindex = \"pots\"\nallow_private = [\"127.0.0.1\"]\n"
    );
    let home = Home::with(&format!("{sink}start = \"end\"\n"));
    let file = home.write("logs/cowrie.json", &log(3, 3_000));
    home.json(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
    let publish = ["report", "daily", "2026-01-01", "--all", "--publish", "elastic"];
    let aggregate = reports(&home, &["daily", "2026-01-01"]).remove(0);
    let mut ids = Vec::new();
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| served::Daemon::start(&home));
        let told = home.json(Exit::Done, &publish);
        let found: Vec<_> = double.documents().into_iter().filter(|document| document.index == "pots.daily-write").collect();
        assert_eq!((&told["reports"], &told["delivered"]), (&found.len().into(), &found.len().into()));
        ids.push(found.iter().map(|document| document.id.clone()).collect::<BTreeSet<_>>());
        let whole = &found.iter().find(|document| document.id == "aggregate:daily:2026-01-01").expect("published").source;
        let figures = |name: &str| aggregate["totals"][name].clone();
        assert_eq!(whole["sessions"]["total"], figures("sessions"));
        assert_eq!(
            (&whole["sessions"]["login_attempts"], &whole["sessions"]["unique_ips"]),
            (&figures("login_attempts"), &figures("addresses"))
        );
        let commands = aggregate["top"].as_array().expect("lists").iter().find(|list| list["name"] == "command").expect("commands");
        assert_eq!(whole["commands"]["top"][0]["command"], commands["rows"][0]["value"]);
        drop(daemon);
    }
    assert_eq!(ids[0], ids[1], "the second time over the first");
    assert!(ids[0].len() > 2, "one for each sensor and one for all: {ids:?}");
    let usage = home.fails(&["report", "range", "2026-01-01..2026-01-02", "--publish", "elastic"]).to_string();
    assert!(usage.contains("only daily, weekly and monthly"), "{usage}");
    let unknown = home.fails(&["report", "daily", "2026-01-01", "--publish", "nosuch"]).to_string();
    assert!(unknown.contains("there is no sink called \"nosuch\""), "{unknown}");
}

fn corpus(set: &str) -> Option<Vec<u8>> {
    let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS") else {
        println!("SKIPPED: reports of {set}: HONEYGUIDE_CORPUS is not set");
        return None;
    };
    let mut files: Vec<_> = std::fs::read_dir(Path::new(&corpus).join("cowrie").join(set))
        .expect("the set")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut raw = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).expect("a file");
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => drop(flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut raw).expect("gzip")),
            Some("json") if file.ends_with("growth.json") => {}
            _ => raw.extend_from_slice(&bytes),
        }
    }
    // The log of 2017 ends in the middle of a line.
    raw.truncate(raw.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    Some(raw)
}

#[test]
fn real_logs_of_2017() {
    if let Some(raw) = corpus("legacy-2017") {
        hold(&raw, &Home::with(SEGMENTS));
    }
}

#[test]
fn real_logs_of_2026() {
    if let Some(raw) = corpus("modern-2026") {
        hold(&raw, &Home::with(SEGMENTS));
    }
}
