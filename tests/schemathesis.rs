//! A program that knows the API by its description only (PyPI `schemathesis`) asks a real daemon for everything there is, rightly and
//! wrongly: nothing fails, and every answer is one that is described.
mod python;
mod receivers;
mod served;

use serde_json::{Value, json};
use served::{Daemon, Home, log, until};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// The same requests each time.
const SEED: &str = "20261121";
/// Requests for each operation and phase.
const EXAMPLES: &str = "12";

const CONFIGURATION: &str = r#"address_rate = 1000000
key_rate = 1000000
[alerts]
every_seconds = 3600
[[alert]]
name = "logins"
when = "count"
query = "eventid:cowrie.login.failed"
window_seconds = 3600
above = 1000000
to = ["archive"]
[[sink]]
name = "archive"
type = "file"
path = "out.ndjson"
[[sink]]
name = "refusing"
type = "webhook"
secret_file = "secret"
allow_private = ["127.0.0.1"]
filter = "eventid:cowrie.session.file_download"
"#;

fn home(url: &str) -> Home {
    let home = Home::with(&format!("{CONFIGURATION}url = \"{url}\"\n"));
    home.write("secret", receivers::webhook::SECRET.as_bytes());
    home
}

/// What panics from now on, in whatever thread.
fn panics() -> Arc<Mutex<Vec<String>>> {
    let (panics, before) = (Arc::new(Mutex::new(Vec::new())), std::panic::take_hook());
    let told = panics.clone();
    std::panic::set_hook(Box::new(move |info| {
        told.lock().expect("not from here").push(info.to_string());
        before(info);
    }));
    panics
}

/// What it complained of: the end of what it printed.
fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(400)..].join("\n")
}

#[test]
fn every_answer_to_whatever_is_asked_is_one_that_is_described() {
    let panics = panics();
    let python = match python::with("schemathesis", &[SCHEMATHESIS], "import schemathesis") {
        Ok(python) => python,
        Err(why) => return println!("SKIPPED: every_answer_to_whatever_is_asked_is_one_that_is_described: {why}"),
    };
    let receiver = receivers::webhook::start();
    receiver.faults().poison(Some("cowrie"));
    let home = home(&receiver.url());
    let daemon = Daemon::start(&home);
    let bytes = [&log(7, 3_000)[..], b"refused\n"].concat();
    let path = home.write("cowrie.json", &bytes);
    assert_eq!(daemon.post("/api/v1/load", &json!({ "paths": [path] }).to_string()).status, 200);
    until("dead letters", || daemon.get("/api/v1/sinks/refusing/dead").json().as_array().is_some_and(|letters| letters.len() > 2));
    let made = daemon.post("/api/v1/keys", &json!({ "name": "schemathesis", "roles": ["admin"] }).to_string());
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    let description = home.write("openapi.json", &daemon.get("/api/v1/openapi.json").body);

    let checks =
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance";
    let ran = Command::new(python.with_file_name("schemathesis"))
        .arg("run")
        .arg(&description)
        .args(["--url", &format!("http://{}", daemon.listen), "--header", &format!("Authorization:Bearer {key}")])
        .args(["--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED])
        .args(["--continue-on-failure", "--no-shrink", "--warnings", "off", "--suppress-health-check", "all", "--no-color"])
        // A redelivery waits for a receiver that refuses, and a stream for events: neither ends soon.
        .args(["--request-timeout", "60", "--exclude-path", "/api/v1/live"])
        .current_dir(home.dir.path())
        .output()
        .expect("runs");
    assert!(ran.status.success(), "{}", told(&ran));

    assert_eq!(*panics.lock().expect("no panic"), [""; 0]);
    assert_eq!(daemon.get("/health").status, 200);
    assert_eq!(daemon.get("/ready").status, 200);
    let verified = daemon.post("/api/v1/verify", "");
    let last: Value = serde_json::from_str(verified.lines().last().expect("a report")).expect("JSON");
    assert_eq!(last["report"]["damage"], json!([]), "{last}");
    let actors = daemon.get("/api/v1/status").json()["actors"].clone();
    assert!(actors.as_array().expect("actors").iter().all(|actor| actor["restarts"] == 0), "{actors}");
}
