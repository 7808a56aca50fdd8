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
const EXAMPLES: &str = "20";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,every_line_is_described";

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

/// Where the program finds what there is, so that it gets more than that there is nothing. Its own key is not among what it revokes.
fn known(daemon: &Daemon) -> String {
    let first = |path: &str, pointer: &str| daemon.get(path).json().pointer(pointer).cloned().unwrap_or_else(|| panic!("{path} {pointer}"));
    let other = daemon.post("/api/v1/keys", &json!({ "name": "other", "roles": ["analyst"] }).to_string()).json()["id"].clone();
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/schemathesis_hooks.py");
    let mut text = format!(
        "hooks = \"{hooks}\"\n[generation]\nwith-security-parameters = false\n[warnings]\ndisplay = [\"missing_auth\", \"missing_test_data\"]\n"
    );
    for (paths, parameters) in [
        ("/keys/", json!({ "path.id": other })),
        ("/sinks/.name.(/[a-z]*)*$", json!({ "path.name": "refusing" })),
        ("/dead/.number", json!({ "path.name": "refusing", "path.number": first("/api/v1/sinks/refusing/dead", "/0/number") })),
        ("/quarantine/.number", json!({ "path.number": first("/api/v1/quarantine", "/0/number") })),
        ("/sessions/.id", json!({ "path.id": first("/api/v1/sessions", "/sessions/0/session") })),
        ("/clusters/.id", json!({ "path.id": first("/api/v1/clusters?min_sessions=1", "/rows/0/id"), "query.min_sessions": 1 })),
        ("/indicators/show", json!({ "query.value": first("/api/v1/indicators", "/indicators/0/value") })),
        ("/alerts/.rule", json!({ "path.rule": "logins" })),
        ("/terms/.field./new", json!({ "query.since": "2020-01-01" })),
        (
            "/(events|count|sessions|terms/.field.|distinct/.field.)(/page|/cost|/parquet)?$",
            json!({ "query.query": "eventid:cowrie.login.*" }),
        ),
    ] {
        let parameters: Vec<String> =
            parameters.as_object().expect("some").iter().map(|(name, value)| format!("\"{name}\" = {value}")).collect();
        text.push_str(&format!("[[operations]]\ninclude-path-regex = '{paths}'\nparameters = {{ {} }}\n", parameters.join(", ")));
    }
    text
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
    let description = home.write("openapi.json", &daemon.get("/api/v1/openapi.json").body);

    home.write("schemathesis.toml", known(&daemon).as_bytes());

    let made = daemon.post("/api/v1/keys", &json!({ "name": "schemathesis", "roles": ["admin"] }).to_string());
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    // What only reads comes first: the other requests purge and erase.
    for methods in [["--include-method", "GET"], ["--exclude-method", "GET"]] {
        let ran = Command::new(python.with_file_name("schemathesis"))
            .arg("run")
            .arg(&description)
            .args(["--url", &format!("http://{}", daemon.listen), "--header", &format!("Authorization:Bearer {key}")])
            .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED])
            .args(["--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--no-color", "--request-timeout", "60"])
            // Of a WebSocket it knows nothing: tests/live.rs does.
            .args(["--exclude-path", "/api/v1/live"])
            .args(methods)
            .current_dir(home.dir.path())
            .output()
            .expect("runs");
        println!("{}", told(&ran));
        assert!(ran.status.success(), "what it found is printed above");
    }
    let status = format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n");
    assert_eq!(daemon.tcp(&status).status, 200, "its key was good to the end");

    assert_eq!(*panics.lock().expect("no panic"), [""; 0]);
    assert_eq!(daemon.get("/health").status, 200);
    assert_eq!(daemon.get("/ready").status, 200);
    let verified = daemon.post("/api/v1/verify", "");
    let last: Value = serde_json::from_str(verified.lines().last().expect("a report")).expect("JSON");
    assert_eq!(last["report"]["damage"], json!([]), "{last}");
    let actors = daemon.get("/api/v1/status").json()["actors"].clone();
    assert!(actors.as_array().expect("actors").iter().all(|actor| actor["restarts"] == 0), "{actors}");
}
