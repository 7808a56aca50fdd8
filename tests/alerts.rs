//! Alerts of a real daemon at real receivers: told once, also when it is killed; over when they are over; held by their cooldown.
mod receivers;
mod served;

use honeyguide::cli::context::Exit;
use honeyguide::events::time;
use honeyguide::telemetry::log::Log;
use receivers::webhook::{Receiver, SECRET, start};
use serde_json::{Value, json};
use served::{Daemon, Home, until};
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// A webhook that gets alerts and no events.
fn pager(name: &str, receiver: &Receiver) -> String {
    format!(
        "[[sink]]\nname = \"{name}\"\ntype = \"webhook\"\nurl = \"{}\"\nsecret_file = \"key\"\nallow_private = [\"127.0.0.1\"]\n\
         filter = 'eventid:no.such.event'\nbackoff_initial_ms = 50\nbackoff_ms_max = 200\nbreaker_failures = 1000\n",
        receiver.url()
    )
}

fn home(more: &str) -> Home {
    let home = Home::with(&format!("[alerts]\nevery_seconds = 1\n[[source]]\nname = \"cowrie\"\npaths = [\"log/cowrie.json\"]\n{more}"));
    home.write("key", SECRET.as_bytes());
    home.write("log/cowrie.json", b"");
    home
}

/// Appends a failed login to the log, so many seconds old.
fn login(home: &Home, number: u64, sensor: &str, username: &str, age_seconds: i64) {
    let event = json!({
        "eventid": "cowrie.login.failed", "username": username, "password": "x", "message": number, "sensor": sensor,
        "timestamp": time::format(time::now() - age_seconds * time::MICROS_PER_SECOND), "src_ip": "198.51.100.7", "session": format!("s{number:011}"),
    });
    let mut log = std::fs::File::options().append(true).open(home.path("log/cowrie.json")).expect("opened");
    writeln!(log, "{event}").expect("written");
}

/// Documents that arrived, in the order of their numbers; each came once.
fn told(receiver: &Receiver) -> Vec<Value> {
    assert_eq!(receiver.problems(), [""; 0]);
    assert!(receiver.events().values().all(|times| *times == 1), "{:?}", receiver.events());
    let mut told: Vec<Value> = receiver.lines().values().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    told.sort_by_key(|document| document["number"].as_u64());
    told
}

fn states(told: &[Value]) -> Vec<(&str, &str)> {
    told.iter().map(|document| (document["alert"].as_str().unwrap_or("?"), document["state"].as_str().unwrap_or("?"))).collect()
}

struct Process(Child);

impl Process {
    fn start(home: &Home) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_honeyguide"));
        command.arg("run").arg("--config").arg(home.config()).stdout(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().expect("started"))
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed by the test already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `alerts list --json`, whatever is open.
fn list(home: &Home) -> Value {
    let (_, out) = home.run(&["alerts", "list", "--json"]);
    serde_json::from_str(out.trim()).unwrap_or_default()
}

#[test]
fn a_count_is_told_once_across_kills_recovers_and_holds_its_cooldown() {
    let receiver = start();
    receiver.keep_lines();
    let rules = "[[alert]]\nname = \"brute\"\nwhen = \"count\"\nquery = 'username:root'\nabove = 5\nwindow_seconds = 15\nto = [\"pager\"]\n\
                 cooldown_seconds = 3600\n\
                 [[alert]]\nname = \"marker\"\nwhen = \"count\"\nquery = 'username:marker'\nabove = 0\nto = [\"pager\"]\n";
    let home = home(&format!("{rules}{}", pager("pager", &receiver)));
    let daemon = Process::start(&home);
    (0..10).for_each(|number| login(&home, number, "ssh-1", "root", 0));
    until("the alert", || receiver.count() == 1 && list(&home)[0]["pending"] == 0);
    let first = told(&receiver);
    assert_eq!(
        (states(&first), &first[0]["threshold"], &first[0]["eventid"]),
        (vec![("brute", "firing")], &json!(5), &json!("alert.firing"))
    );
    daemon.kill();
    let daemon = Process::start(&home);
    until("its end", || receiver.count() >= 2 && list(&home)[0]["pending"] == 0);
    let second = told(&receiver);
    assert_eq!(states(&second), [("brute", "firing"), ("brute", "recovered")]);
    assert!(second[1]["duration_seconds"].as_u64().is_some_and(|seconds| seconds >= 1), "{second:?}");
    // Within the cooldown. When the marker, which is looked at behind it, is told, it was looked at.
    (10..20).for_each(|number| login(&home, number, "ssh-1", "root", 0));
    login(&home, 20, "ssh-1", "marker", 0);
    until("the marker", || receiver.count() >= 3);
    assert_eq!(states(&told(&receiver)), [("brute", "firing"), ("brute", "recovered"), ("marker", "firing")]);
    daemon.kill();
    // Without a daemon: from the ledger and the state.
    let history = home.json(Exit::Done, &["alerts", "history"]);
    assert_eq!(states(history.as_array().expect("rows")), [("marker", "firing"), ("brute", "recovered"), ("brute", "firing")]);
    assert_eq!(home.json(Exit::Findings, &["alerts", "list"])[1]["open"][0]["summary"], "1 events in 3600 s, more than 0");
}

#[test]
fn an_alert_on_its_way_survives_a_kill_and_the_loss_of_the_state() {
    let receiver = start();
    receiver.keep_lines();
    receiver.server.absent();
    let rule = "[[alert]]\nname = \"any\"\nwhen = \"count\"\nabove = 0\nwindow_seconds = 86400\nto = [\"pager\"]\n";
    let home = home(&format!("{rule}{}", pager("pager", &receiver)));
    let daemon = Process::start(&home);
    login(&home, 1, "ssh-1", "root", 0);
    until("the alert", || list(&home)[0]["open"].as_array().is_some_and(|open| open.len() == 1));
    daemon.kill();
    let daemon = Process::start(&home);
    until("the daemon", || list(&home)[0]["pending"] == 1);
    daemon.kill();
    std::fs::remove_dir_all(home.data().join("state")).expect("removed");
    let _daemon = Process::start(&home);
    receiver.server.present();
    until("the arrival", || receiver.count() == 1 && list(&home)[0]["pending"] == 0);
    assert_eq!(states(&told(&receiver)), [("any", "firing")]);
    assert_eq!(list(&home)[0]["open"][0]["number"], 1, "it is the same one");
}

#[test]
fn a_silent_sensor_is_told_and_heard_again() {
    let receiver = start();
    receiver.keep_lines();
    let rule = "[[alert]]\nname = \"quiet\"\nwhen = \"silence\"\nwindow_seconds = 600\nto = [\"pager\"]\n";
    let home = home(&format!("{rule}{}", pager("pager", &receiver)));
    login(&home, 1, "ssh-1", "root", 3600);
    login(&home, 2, "ssh-2", "root", 0);
    let daemon = Daemon::start(&home);
    until("the silence", || receiver.count() == 1);
    let first = told(&receiver);
    assert_eq!((states(&first), &first[0]["subject"]), (vec![("quiet", "firing")], &json!("ssh-1")));
    login(&home, 3, "ssh-1", "root", 0);
    until("an event", || receiver.count() == 2);
    assert_eq!(states(&told(&receiver)), [("quiet", "firing"), ("quiet", "recovered")]);
    until("the figure", || daemon.tcp(&served::get("/metrics", "localhost")).text().contains("honeyguide_alerts_open{rule=\"quiet\"} 0"));
}

#[test]
fn a_sink_that_delivers_nothing_is_told_to_another_and_so_is_its_recovery() {
    let (receiver, broken) = (start(), start());
    receiver.keep_lines();
    broken.server.absent();
    let archive = pager("archive", &broken).replace("filter = 'eventid:no.such.event'\n", "");
    let rule = "[[alert]]\nname = \"stuck\"\nwhen = \"sink\"\nsinks = [\"archive\"]\nto = [\"pager\"]\n";
    let home = home(&format!("{rule}{}{archive}", pager("pager", &receiver)));
    login(&home, 1, "ssh-1", "root", 0);
    let _daemon = Daemon::start(&home);
    until("the trouble", || receiver.count() == 1);
    let first = told(&receiver);
    assert_eq!((states(&first), &first[0]["subject"]), (vec![("stuck", "firing")], &json!("archive")));
    assert!(first[0]["summary"].as_str().is_some_and(|summary| summary.contains("requests failed in a row")), "{first:?}");
    broken.server.present();
    until("the recovery", || receiver.count() == 2);
    assert_eq!(states(&told(&receiver)), [("stuck", "firing"), ("stuck", "recovered")]);
}

#[test]
fn little_disk_is_told_in_a_file_and_over_when_the_rule_is_content() {
    let file = "[[sink]]\nname = \"file\"\ntype = \"file\"\npath = \"out.ndjson\"\nfilter = 'eventid:no.such.event'\n";
    let rule = "[[alert]]\nname = \"room\"\nwhen = \"disk\"\nfree_bytes = \"1000 TiB\"\nto = [\"file\"]\n";
    let home = home(&format!("{rule}{file}"));
    let lines = |count: usize| {
        let lines = std::fs::read_to_string(home.path("out.ndjson")).unwrap_or_default();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (lines.len() == count).then_some(lines)
    };
    let daemon = Daemon::start(&home);
    until("the alert", || lines(1).is_some());
    assert_eq!(lines(1).expect("one")[0]["threshold"], json!(1000u64 << 40));
    let text = std::fs::read_to_string(home.config()).expect("read").replace("1000 TiB", "2 GiB");
    std::fs::write(home.config(), text).expect("written");
    let (settings, metrics) = (daemon.engine().settings.borrow().log.clone(), daemon.engine().observed.telemetry.metrics.clone());
    let log = Log::start_on(&settings, &metrics, std::io::sink(), false, 0).expect("a log");
    daemon.engine().reload(&log);
    until("its end", || lines(2).is_some());
    assert_eq!(states(&lines(2).expect("two")), [("room", "firing"), ("room", "recovered")]);
}

#[test]
fn new_values_and_anomalies_are_told_and_no_value_stays_in_the_ledger() {
    let receiver = start();
    receiver.keep_lines();
    let rules = "[[alert]]\nname = \"file\"\nwhen = \"indicator\"\nkind = \"url\"\nto = [\"pager\"]\n\
                 [[alert]]\nname = \"odd\"\nwhen = \"anomaly\"\nsensor = \"ssh-1\"\nmeasure = \"events\"\nto = [\"pager\"]\n";
    let home = home(&format!("{rules}{}", pager("pager", &receiver)));
    let daemon = Daemon::start(&home);
    let today = &time::format(time::now())[..10];
    let anomaly = |sensor: &str| json!({ "day": today, "sensor": sensor, "measure": "events", "direction": "high", "value": 900, "expected": 3.0, "deviation": 50.0 });
    daemon.engine().store().record_all("anomaly", [anomaly("ssh-2"), anomaly("ssh-1")], time::now()).expect("recorded");
    // Rules are looked at one after the other: now the first has seen what was there before.
    until("the anomaly", || receiver.count() == 1);
    assert_eq!(told(&receiver)[0]["subject"], "ssh-1 events high");
    let event = json!({
        "eventid": "cowrie.session.file_download", "url": "http://payloads.evil-drop.top/x.sh", "shasum": "a".repeat(64), "sensor": "ssh-1",
        "timestamp": time::format(time::now()), "src_ip": "198.51.100.7", "session": "s00000000001",
    });
    home.write("log/cowrie.json", format!("{event}\n").as_bytes());
    until("the value", || receiver.count() == 2);
    let second = &told(&receiver)[1];
    assert_eq!((&second["value"], &second["values"][0]["value"]), (&json!(1), &json!("http://payloads.evil-drop.top/x.sh")));
    let history = home.json(Exit::Done, &["alerts", "history", "file"]).to_string();
    assert!(history.contains("1 new: url") && !history.contains("evil-drop"), "{history}");
    let rows = home.expect(Exit::Findings, &["alerts", "list"]);
    assert!(rows.contains("odd ssh-1 events high: events: 900 on"), "{rows}");
}

#[test]
fn a_test_reaches_every_sink_of_a_rule_and_opens_nothing() {
    let receiver = start();
    receiver.keep_lines();
    let rule = "[[alert]]\nname = \"room\"\nwhen = \"disk\"\nto = [\"pager\", \"gone\"]\n";
    let gone = start();
    gone.server.absent();
    let home = home(&format!("{rule}{}{}", pager("pager", &receiver), pager("gone", &gone)));
    assert!(home.fails(&["alerts", "test", "room"]).to_string().contains("no daemon runs"));
    let daemon = Daemon::start(&home);
    let done = home.json(Exit::Failed, &["alerts", "test", "room"]);
    assert_eq!((&done["holds"], &done["sinks"][0]["arrived"], &done["sinks"][1]["arrived"]), (&json!(0), &json!(true), &json!(false)));
    assert_eq!(states(&told(&receiver)), [("room", "test")]);
    let unknown = home.fails(&["alerts", "test", "rom"]).to_string();
    assert!(unknown.contains("there is no rule of alerts called \"rom\""), "{unknown}");
    assert_eq!(daemon.post("/api/v1/alerts/room/test", "{\"x\":1}").status, 400);
    assert_eq!(daemon.get("/api/v1/alerts/history?limit=x").status, 400);
    assert_eq!(home.json(Exit::Done, &["alerts", "list"])[0]["open"], json!([]));
}
