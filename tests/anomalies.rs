//! What is out of the ordinary, from logs to alerts: what commands, routes and reports say of a loud day and of a sensor that fell
//! silent, and what the daemon tells of them, once, whatever happens to it.
mod served;

use honeyguide::cli::context::Exit;
use honeyguide::events::time::{self, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, format_day};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use served::{Home, until};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);
/// What an attacker could call a sensor.
const LOUD: &str = "loud\u{1b}[31m \"pot\"";

/// Three sensors with 20 days alike; then yesterday, on which one of them has ten times as much, and one has nothing more.
fn twenty_days_and_a_loud_one(now: i64) -> Vec<u8> {
    let today = now.div_euclid(MICROS_PER_DAY);
    let mut log = Vec::new();
    let mut event = |sensor: &str, session: u64, at: i64, members: Value| {
        let mut event = json!({
            "sensor": sensor, "session": format!("{session:012x}"), "timestamp": time::format(at),
            "src_ip": format!("198.{}.{}.{}", 18 + (session >> 16 & 1), session >> 8 & 255, session & 255),
        });
        event.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        writeln!(log, "{event}").expect("memory");
    };
    let mut session = 0;
    for hour in (today - 21) * 24..now.div_euclid(MICROS_PER_HOUR) {
        let is_yesterday = hour.div_euclid(24) == today - 1;
        for sensor in ["steady", LOUD, "mute"] {
            let sessions = match sensor {
                "mute" if hour.div_euclid(24) >= today - 1 => 0,
                LOUD if is_yesterday => 40,
                _ => 4,
            };
            for nth in 0..sessions {
                session += 1;
                let at = hour * MICROS_PER_HOUR + nth * 60 * MICROS_PER_SECOND;
                event(sensor, session, at, json!({ "eventid": "cowrie.session.connect" }));
                event(sensor, session, at + 1, json!({ "eventid": "cowrie.login.failed", "username": "root", "password": "1234" }));
            }
        }
    }
    log
}

/// Of yesterday: sensor, measure, direction.
fn expected() -> BTreeSet<(String, String, String)> {
    let rows = [
        (LOUD, "events", "high"),
        (LOUD, "sessions", "high"),
        (LOUD, "addresses", "high"),
        ("mute", "events", "low"),
        ("mute", "sessions", "low"),
        ("mute", "addresses", "low"),
        ("mute", "silence", "high"),
    ];
    rows.into_iter().map(|(sensor, measure, direction)| (sensor.to_owned(), measure.to_owned(), direction.to_owned())).collect()
}

fn key(row: &Value) -> (String, String, String) {
    let text = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("{name}: {row}")).to_owned();
    (text("sensor"), text("measure"), text("direction"))
}

/// Far enough from midnight for yesterday to stay yesterday.
fn a_quiet_moment() -> i64 {
    until("midnight has passed", || time::now().rem_euclid(MICROS_PER_DAY) < MICROS_PER_DAY - 90 * MICROS_PER_SECOND);
    time::now()
}

#[test]
fn commands_routes_and_reports_tell_what_is_unusual() {
    let home = Home::new();
    let now = a_quiet_moment();
    let yesterday = format_day((now.div_euclid(MICROS_PER_DAY) - 1) as i32);
    let file = home.write("logs/cowrie.json", &twenty_days_and_a_loud_one(now));
    home.json(Exit::Done, &["load", file.to_str().expect("UTF-8")]);

    let local = home.json(Exit::Done, &["anomalies", "daily", &yesterday]);
    let rows = local["rows"].as_array().expect("rows");
    assert_eq!(rows.iter().map(key).collect::<BTreeSet<_>>(), expected(), "{local}");
    assert_eq!((&local["found"], &local["judged"], &local["left_out"]), (&7.into(), &15.into(), &0.into()));
    let row = rows.iter().find(|row| row["sensor"] == LOUD && row["measure"] == "events").expect("told");
    // 40 sessions an hour with two events each, instead of 4; √192 is more than a tenth.
    assert_eq!((&row["value"], &row["expected"], &row["deviation"]), (&1920.into(), &json!(192.0), &json!(90.0)), "{row}");
    let days = rows.iter().map(|row| row["day"].as_str().expect("a day")).collect::<BTreeSet<_>>();
    assert_eq!(days, BTreeSet::from([yesterday.as_str()]));
    // The week up to now has the same and perhaps more of the running day.
    let week = home.json(Exit::Done, &["anomalies"]);
    let of_yesterday = week["rows"].as_array().expect("rows").iter().filter(|row| row["day"] == *yesterday).map(key);
    assert_eq!(of_yesterday.collect::<BTreeSet<_>>(), expected(), "{week}");
    // Days behind the seventh whole one, and none before.
    let all = ["anomalies", "range", &format!("2020-01-01..{yesterday}"), "--sensor", "steady", "--all"];
    let all = home.json(Exit::Done, &all);
    assert_eq!((&all["found"], &all["judged"]), (&0.into(), &(13 * 5).into()), "{all}");
    assert!(all["rows"].as_array().expect("rows").iter().all(|row| row["direction"].is_null()));
    let one = home.json(Exit::Done, &["anomalies", "daily", &yesterday, "--measure", "silence", "--limit", "1", "--all"]);
    assert_eq!((&one["rows"][0]["sensor"], &one["rows"][0]["value"], &one["left_out"]), (&"mute".into(), &24.into(), &2.into()), "{one}");
    let text = home.expect(Exit::Done, &["anomalies", "daily", &yesterday]);
    assert!(text.contains("7 anomalies among 15 figures") && text.contains("24 hours without an event, 0 expected"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");

    let report = home.json(Exit::Done, &["report", "daily", &yesterday]);
    assert_eq!(report[0]["anomalies"], json!({ "found": 7, "rows": local["rows"] }));
    for (form, words) in [
        ("text", &["Out of the ordinary", "24 hours without an event, 0 expected"][..]),
        ("markdown", &["## Anomalies", "24 hours without an event, 0 expected"]),
        ("html", &["Out of the ordinary", "24 hours without an event, 0 expected"]),
        ("csv", &["anomalies,found,,7", "anomaly,silence high,", "anomaly_deviation,events high,"]),
    ] {
        let told = home.expect(Exit::Done, &["report", "daily", &yesterday, "--format", form]);
        assert!(words.iter().all(|word| told.contains(word)), "{form}: {told}");
        // Tables for programs have values as they are.
        assert!(form == "csv" || !told.contains('\x1b'), "{form}: {told}");
    }

    let daemon = served::Daemon::start(&home);
    assert_eq!(home.json(Exit::Done, &["anomalies", "daily", &yesterday]), local);
    let route = daemon.get(&format!("/api/v1/anomalies?kind=daily&period={yesterday}&measure=silence")).json();
    assert_eq!((&route["found"], &route["rows"][0]["sensor"]), (&1.into(), &"mute".into()), "{route}");
    assert_eq!(daemon.get("/api/v1/anomalies").status, 200);
    for wrong in ["kind=yearly", "period=last", "kind=daily&period=2026-02-31", "measure=noise"] {
        assert_eq!(daemon.get(&format!("/api/v1/anomalies?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn a_sensor_that_never_was_is_said_with_the_nearest_known() {
    let home = Home::new();
    let file = home.write("logs/cowrie.json", &served::log(3, 2_000));
    home.json(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
    let known = home.json(Exit::Done, &["report", "daily", "2026-01-01", "--all"])[0]["sensor"].as_str().expect("a name").to_owned();
    let mistyped = format!("{known}x");
    let note = format!("no event came from a sensor called `{mistyped}`; did you mean `{known}`?");
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| served::Daemon::start(&home));
        for command in ["report", "anomalies"] {
            let ran = |sensor: &str| {
                let words = [command, "daily", "2026-01-01", "--json", "--sensor", sensor, "--config"];
                let output = Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(words).arg(home.config()).output().expect("it runs");
                let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                let answer = if command == "report" { answer[0].clone() } else { answer };
                (output.status.code(), answer, String::from_utf8(output.stderr).expect("UTF-8"))
            };
            let (code, answer, said) = ran(&mistyped);
            assert_eq!((code, &answer["note"], said), (Some(0), &note.as_str().into(), format!("honeyguide: {note}\n")), "{command}");
            let (code, answer, said) = ran(&known);
            assert_eq!((code, &answer["note"], said.as_str()), (Some(0), &Value::Null, ""), "{command}");
            let (_, answer, _) = ran("nothing like it");
            assert_eq!(answer["note"], "no event came from a sensor called `nothing like it`", "{command}");
        }
        drop(daemon);
    }
}

/// A `honeyguide run` and its log.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(home: &Home) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
            .args(["run", "--config"])
            .arg(home.config())
            .env_remove("RUNTIME_DIRECTORY")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("spawned");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Process { child, lines }
    }

    /// The log up to the next record of this kind, which is the last.
    fn records(&self, action: &str) -> Vec<Value> {
        let (deadline, mut records) = (Instant::now() + DEADLINE, Vec::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {action} in the log: {records:?}"));
            let record: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("a line that is no JSON: {line}"));
            records.push(record);
            if records.last().is_some_and(|record| record["event.action"] == action) {
                return records;
            }
        }
    }

    /// Asks it to end; what it logged until then.
    fn stop(mut self) -> Vec<Value> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("it runs");
        let records = self.records("daemon_stopped");
        assert_eq!(self.child.wait().expect("ended").code(), Some(0));
        records
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of a test that failed; one that has ended cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn anomalies_of<'r>(records: impl IntoIterator<Item = &'r Value>, day: &str) -> Vec<(String, String, String)> {
    records.into_iter().filter(|record| record["event.action"] == "anomaly" && record["day"] == day).map(key).collect()
}

/// Anomalies in the ledger, read as anybody could.
fn of_ledger(data: &Path, day: &str) -> Vec<(String, String, String)> {
    let mut segments: Vec<_> = served::files(&data.join("ledger"));
    segments.sort();
    let read = |segment| {
        let file = std::fs::File::open(segment).expect("opened");
        BufReader::new(zstd::stream::read::Decoder::new(file).expect("zstd")).lines().map_while(Result::ok).collect::<Vec<_>>()
    };
    let records: Vec<Value> = segments.iter().flat_map(read).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    let of_day = |record: &&Value| record["event"] == "anomaly" && record["details"]["day"] == day;
    records.iter().filter(of_day).map(|record| key(&record["details"])).collect()
}

#[test]
fn the_daemon_tells_each_anomaly_once_across_kill_and_restart() {
    let home = Home::with("[log]\nlevel = \"debug\"\n[[source]]\nname = \"pot\"\npaths = [\"logs/cowrie.json\"]\n");
    let now = a_quiet_moment();
    let yesterday = format_day((now.div_euclid(MICROS_PER_DAY) - 1) as i32);
    home.write("logs/cowrie.json", &twenty_days_and_a_loud_one(now));

    let mut process = Process::start(&home);
    process.records("daemon_started");
    let told = process.records("anomalies_looked");
    let lines = anomalies_of(&told, &yesterday);
    assert_eq!(lines.len(), expected().len(), "{lines:?}");
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected());
    let one = told.iter().find(|record| record["event.action"] == "anomaly" && record["measure"] == "silence").expect("told");
    assert_eq!((&one["log.level"], &one["value"], &one["expected"]), (&"warning".into(), &24.into(), &json!(0.0)), "{one}");
    let socket = UnixStream::connect(home.data().join("admin.sock")).expect("connected");
    let metrics = served::exchange(socket, &served::get("/metrics", "localhost")).text();
    assert!(metrics.contains("honeyguide_anomalies_total{direction=\"low\",measure=\"events\"} 1\n"), "{metrics}");
    assert!(!metrics.contains("mute"), "no sensor is a label");
    process.child.kill().expect("killed");
    process.child.wait().expect("ended");
    let in_ledger = of_ledger(&home.data(), &yesterday);
    assert_eq!((in_ledger.len(), in_ledger.into_iter().collect()), (expected().len(), expected()));

    for _ in 0..2 {
        let process = Process::start(&home);
        let mut records = process.records("anomalies_looked");
        records.extend(process.stop());
        assert_eq!(anomalies_of(&records, &yesterday), []);
        assert_eq!(of_ledger(&home.data(), &yesterday).len(), expected().len());
    }
}

#[test]
fn a_daemon_that_is_told_not_to_look_does_not() {
    let config = "[[source]]\nname = \"pot\"\npaths = [\"logs/cowrie.json\"]\n[log]\nlevel = \"debug\"\n[anomalies]\n";
    let home = Home::with(&format!("{config}enabled = false\n"));
    let now = a_quiet_moment();
    let yesterday = format_day((now.div_euclid(MICROS_PER_DAY) - 1) as i32);
    home.write("logs/cowrie.json", &twenty_days_and_a_loud_one(now));
    let process = Process::start(&home);
    process.records("batch_committed");
    // Until it is told to: and then with other rules.
    let head = std::fs::read_to_string(home.config()).expect("read").replace("enabled = false", "threshold = 50");
    std::fs::write(home.config(), head).expect("written");
    kill(Pid::from_raw(process.child.id() as i32), Signal::SIGHUP).expect("it runs");
    let before = process.records("settings_reloaded");
    assert_eq!(anomalies_of(&before, &yesterday), []);
    let told = anomalies_of(&process.records("anomalies_looked"), &yesterday);
    let high: BTreeSet<_> = expected().into_iter().filter(|(sensor, ..)| sensor == LOUD).collect();
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), high);
    process.stop();
}
