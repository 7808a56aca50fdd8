//! Every honeypot's format, through the real program: real logs in, answers out.
use std::path::{Path, PathBuf};
use std::process::Command;

/// The corpus of real logs, or says why the test does nothing.
fn corpus(test: &str) -> Option<PathBuf> {
    let corpus = std::env::var_os("HONEYGUIDE_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        println!("SKIPPED: {test}: HONEYGUIDE_CORPUS is not set");
    }
    corpus
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(config: &str) -> Place {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::write(dir.path().join("honeyguide.toml"), format!("data_dir = \"data\"\n[admin]\nlisten = \"off\"\n{config}"))
            .expect("written");
        Place { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_honeyguide"));
        command.args(args).arg("--config").arg(self.path("honeyguide.toml"));
        command.env_remove("RUNTIME_DIRECTORY").env_remove("NOTIFY_SOCKET");
        command
    }

    /// Standard output and exit code.
    fn run(&self, args: &[&str]) -> (String, i32) {
        let output = self.command(args).output().expect("the binary runs");
        let code = output.status.code().expect("it was not killed");
        assert!(code == 0 || code == 3 || code == 1, "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).expect("UTF-8"), code)
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut all = args.to_vec();
        all.push("--json");
        let (out, _) = self.run(&all);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    }

    /// Loads a file: (events, duplicates, rejected).
    fn load(&self, args: &[&str], path: &Path) -> (u64, u64, u64) {
        let mut all = vec!["load"];
        all.extend(args);
        let path = path.to_str().expect("UTF-8");
        all.push(path);
        let summary = self.json(&all);
        let count = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"));
        (count("events"), count("duplicates"), count("rejected"))
    }

    fn top(&self, field: &str) -> Vec<(String, u64)> {
        let rows = self.json(&["top", field, "--limit", "100000"]);
        let row = |row: &serde_json::Value| (row["value"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap());
        rows.as_array().unwrap().iter().map(row).collect()
    }

    fn found(&self, query: &str) -> usize {
        self.run(&["search", "--raw", "--limit", "1000000", query]).0.lines().count()
    }

    fn verify(&self) {
        assert_eq!(self.run(&["verify"]).1, 0);
    }
}

fn expect(found: &[(String, u64)], values: &[(&str, u64)]) {
    for (value, count) in values {
        assert!(found.contains(&((*value).to_owned(), *count)), "{value}: {count} in {found:?}");
    }
}

#[test]
fn opencanary_as_it_is() {
    let Some(corpus) = corpus("opencanary_as_it_is") else { return };
    let place = Place::new("");
    let log = corpus.join("other/opencanary.log");
    // Three lines, each eleven times.
    assert_eq!(place.load(&[], &log), (3, 30, 0));
    assert_eq!(place.load(&[], &log), (0, 33, 0));
    expect(&place.top("eventid"), &[("opencanary.3000", 1), ("opencanary.3001", 2)]);
    expect(&place.top("password"), &[("aderai", 1), ("test", 1)]);
    expect(&place.top("sensor"), &[("opencanary-1", 3)]);
    assert_eq!(place.found("eventid:opencanary.3001 username:Test"), 1);
    assert_eq!(place.found("src_ip:10.20.10.45"), 2);
    let (out, _) = place.run(&["ingested", log.to_str().unwrap()]);
    assert!(out.contains("opencanary.log"), "{out}");
    let schema = place.json(&["schema", "opencanary.3001"]);
    let fields = schema[0]["fields"].as_array().unwrap();
    let of = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap()["types"][0]["name"].clone();
    assert_eq!((of("logdata"), of("logtype"), of("src_host")), ("object".into(), "integer".into(), "string".into()));
    place.verify();
}

#[test]
fn dionaea_as_mongodb_exports_it() {
    let Some(corpus) = corpus("dionaea_as_mongodb_exports_it") else { return };
    let place = Place::new("");
    let log = corpus.join("other/dionaea.json.gz");
    assert_eq!(place.load(&[], &log), (2030, 0, 0));
    assert_eq!(place.load(&[], &log), (0, 2030, 0));
    expect(&place.top("src_ip"), &[("72.226.28.47", 516), ("107.155.185.36", 93)]);
    let protocols =
        [("pcap", 1509), ("SipSession", 264), ("smbd", 115), ("SipCall", 77), ("mssqld", 57), ("RtpUdpStream", 7), ("mysqld", 1)];
    expect(&place.top("protocol"), &protocols);
    expect(&place.top("eventid"), &[("dionaea.smbd", 115)]);
    assert_eq!(place.found("eventid:dionaea.mysqld"), 1);
    assert_eq!(place.found("protocol:pcap until:2017-11-11T06:19:13Z"), 1);
    place.verify();
}

#[test]
fn dockerapi_keeps_equal_lines() {
    let Some(corpus) = corpus("dockerapi_keeps_equal_lines") else { return };
    let place = Place::new("");
    let log = corpus.join("other/dockerapi.ndjson.gz");
    assert_eq!(place.load(&[], &log), (11, 0, 0));
    assert_eq!(place.load(&[], &log), (0, 11, 0), "the same file again is the same events");
    let copy = place.path("copy.ndjson.gz");
    std::fs::copy(&log, &copy).unwrap();
    let (_, proven) = place.run(&["ingested", log.to_str().unwrap()]);
    let (out, elsewhere) = place.run(&["ingested", copy.to_str().unwrap()]);
    assert_eq!((proven, elsewhere), (0, 1));
    assert!(out.contains("only what was loaded from this very path"), "{out}");
    let methods: u64 = place.top("eventid").iter().map(|(_, count)| count).sum();
    assert_eq!(methods, 11);
    assert!(place.top("version").iter().any(|(agent, _)| agent == "Mozilla/5.0 zgrab/0.x"));
    assert!(place.found("src_ip:202.102.95.13") >= 2);
    place.verify();
    place.run(&["rebuild"]);
    assert_eq!(place.load(&[], &log), (0, 11, 0), "ids come from the journal, not from the lines");
}

#[test]
fn chat_messages_each_once() {
    let Some(corpus) = corpus("chat_messages_each_once") else { return };
    let place = Place::new("");
    let requests = corpus.join("chat/requests.ndjson");
    assert_eq!(place.load(&[], &requests), (174, 0, 0));
    // Posted again with another history: the same messages.
    let again: String = std::fs::read_to_string(&requests)
        .unwrap()
        .lines()
        .map(|line| {
            let mut request: serde_json::Value = serde_json::from_str(line).unwrap();
            request["conversationHistory"] = serde_json::json!([{ "sender": "user", "text": "longer" }]);
            request.to_string() + "\n"
        })
        .collect();
    let path = place.path("again.ndjson");
    std::fs::write(&path, again + "{}\n").unwrap();
    assert_eq!(place.load(&["--format", "chat"], &path), (0, 174, 1));
    let senders: u64 = place.top("sender").iter().map(|(_, count)| count).sum();
    assert_eq!(senders, 174);
    assert!(place.top("channel").iter().any(|(channel, _)| channel == "SMS"));
    assert!(place.found("session:Swelo-ui-bank_fraud channel:SMS") >= 3);
    let (out, _) = place.run(&["quarantine", "list"]);
    assert!(out.contains("malformed"), "{out}");
}

const CSV: &str = r#"
[[format]]
name = "cowrie-csv"
like = "cowrie"
wrap = "csv"
columns = ["eventid", "timestamp", "src_ip", "dst_ip", "session", "duration"]
[[format]]
name = "cowrie-csv-message"
like = "cowrie"
wrap = "csv"
columns = ["eventid", "timestamp", "src_ip", "dst_ip", "session", "duration", "message"]
"#;

#[test]
fn csv_with_and_without_messages() {
    let Some(corpus) = corpus("csv_with_and_without_messages") else { return };
    let assorted = corpus.join("cowrie/assorted");
    let place = Place::new(CSV);
    for (format, name) in [
        ("cowrie-csv", "andymalepe--cowrie.json1630084649.30228.csv.gz"),
        ("cowrie-csv-message", "andymalepe--cowrie.json1631042834.41071.csv.gz"),
    ] {
        let (events, duplicates, rejected) = place.load(&["--format", format], &assorted.join(name));
        assert_eq!((events + duplicates, rejected), (2112, 0), "{name}");
    }
    assert!(place.found("eventid:cowrie.session.connect session:764f287c8bd8 src_ip:146.64.171.59") == 2);
    // The other one's columns.
    let wrong = assorted.join("andymalepe--cowrie.json1631042834.41071.csv.gz");
    let (events, _, rejected) = place.load(&["--format", "cowrie-csv"], &wrong);
    assert!(events == 0 && rejected > 0);
    place.verify();
}

#[test]
fn real_cowrie_logs_show_that_durations_drift() {
    let Some(corpus) = corpus("real_cowrie_logs_show_that_durations_drift") else { return };
    let place = Place::new("");
    place.load(&["--format", "cowrie"], &corpus.join("cowrie/assorted"));
    let schemas = place.json(&["schema", "cowrie.session.closed"]);
    let mut types = std::collections::BTreeSet::new();
    for field in schemas.as_array().unwrap().iter().flat_map(|schema| schema["fields"].as_array().unwrap()) {
        if field["name"] == "duration" {
            types.extend(field["types"].as_array().unwrap().iter().map(|seen| seen["name"].as_str().unwrap().to_owned()));
        }
    }
    assert!(types.contains("string") && types.contains("float"), "{types:?}");
    let all = place.json(&["schema"]);
    let drifted =
        all.as_array().unwrap().iter().flat_map(|schema| schema["fields"].as_array().unwrap()).filter(|field| field["drifted"] == true);
    assert!(drifted.count() > 0);
    let (out, _) = place.run(&["schema", "cowrie.session.closed"]);
    assert!(out.contains("duration"), "{out}");
    place.verify();
}

#[test]
fn lines_of_syslog_are_events_of_what_is_inside() {
    let place = Place::new("[[format]]\nname = \"cowrie-syslog\"\nlike = \"cowrie\"\nwrap = \"syslog\"\n");
    let log = place.path("messages");
    let text = concat!(
        r#"<13>1 2026-03-22T00:10:42.8Z berlin cowrie 7 - - {"eventid":"cowrie.login.failed","username":"root","src_ip":"192.0.2.1","session":"c7ae63583837"}"#,
        "\n<13>Mar 22 00:10:43 berlin sshd[9]: Server listening\nnothing\n"
    );
    std::fs::write(&log, text).unwrap();
    assert_eq!(place.load(&["--format", "cowrie-syslog"], &log), (2, 0, 1));
    assert_eq!(place.found("username:root sensor:berlin since:2026-03-22 until:2026-03-23"), 1);
    assert_eq!(place.found("sensor:berlin"), 2);
    let record = place.json(&["quarantine", "list"]);
    let at = (text.len() - "nothing\n".len()) as u64;
    assert_eq!((&record[0]["reason"], &record[0]["offset"], &record[0]["len"]), (&"malformed".into(), &at.into(), &7.into()));
    place.verify();
}

#[test]
fn a_daemon_follows_an_opencanary_log() {
    let place = Place::new("[[source]]\nname = \"canary\"\nformat = \"opencanary\"\npaths = [\"canary.log\"]\n");
    let line = |n: u32| {
        format!(
            "{{\"dst_host\": \"10.0.0.1\", \"dst_port\": 80, \"local_time\": \"2026-03-22 00:00:0{n}.000001\", \"logdata\": {{\"PASSWORD\": \"p{n}\", \
             \"USERNAME\": \"u\"}}, \"logtype\": 3001, \"node_id\": \"canary-1\", \"src_host\": \"192.0.2.{n}\"}}\n"
        )
    };
    std::fs::write(place.path("canary.log"), line(1) + &line(2)).unwrap();
    let mut daemon =
        place.command(&["run"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("spawned");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let wait_for = |count: usize| {
        loop {
            let output = place.command(&["search", "--raw", "password:p* eventid:opencanary.3001"]).output().expect("the binary runs");
            if output.status.success() && String::from_utf8_lossy(&output.stdout).lines().count() == count {
                return;
            }
            assert!(std::time::Instant::now() < until, "{}", String::from_utf8_lossy(&output.stderr));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    wait_for(2);
    let mut log = std::fs::OpenOptions::new().append(true).open(place.path("canary.log")).unwrap();
    std::io::Write::write_all(&mut log, line(3).as_bytes()).unwrap();
    wait_for(3);
    let schemas = place.json(&["schema", "opencanary.3001", "--sensor", "canary-1"]);
    assert_eq!((&schemas[0]["format"], &schemas[0]["version"]), (&"opencanary".into(), &1.into()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    assert_eq!(place.found("src_ip:192.0.2.3 sensor:canary-1"), 1);
    place.verify();
}
