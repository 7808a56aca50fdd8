//! Every route, asked by every role, by nobody, and with wrong methods: what the table of routes says holds, and nothing else is served.
mod served;

use honeyguide::access::{Right, Role};
use serde_json::{Value, json};
use served::{Answer, Daemon, Home, get, log, until};
use std::collections::{BTreeMap, BTreeSet};

/// A request with more header fields.
fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
    )
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

fn key(daemon: &Daemon, name: &str, roles: &[Role], sensors: &[&str]) -> String {
    let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    let made = daemon.post("/api/v1/keys", &json!({ "name": name, "roles": roles, "sensors": sensors }).to_string());
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["key"].as_str().expect("a key").to_owned()
}

/// An operation of the description: its method, its path with something in place of parameters, and what it needs.
struct Operation {
    method: String,
    path: String,
    needs: Option<Right>,
    any_credential: bool,
}

fn operations(description: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in description["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let said = operation["description"].as_str().unwrap_or_default();
            let named = said.strip_prefix("Needs the right `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
            let needs = named.map(|named| Right::ALL.into_iter().find(|right| right.name() == named).expect("a right"));
            let mut filled = path.clone();
            while let Some((before, rest)) = filled.split_once('{') {
                filled = format!("{before}7{}", rest.split_once('}').expect("closed").1);
            }
            let any_credential = needs.is_none() && operation["security"].is_array();
            operations.push(Operation { method: method.to_uppercase(), path: filled, needs, any_credential });
        }
    }
    operations
}

fn code(answer: &Answer) -> String {
    serde_json::from_slice::<Value>(&answer.body).ok().and_then(|body| body["code"].as_str().map(str::to_owned)).unwrap_or_default()
}

#[test]
fn every_route_answers_the_roles_that_have_its_right_and_no_others() {
    let home = Home::with("address_rate = 100000\nkey_rate = 100000\n");
    let daemon = Daemon::start(&home);
    let keys: Vec<(Role, String)> = Role::ALL.into_iter().map(|role| (role, key(&daemon, role.name(), &[role], &[]))).collect();
    let description = daemon.get("/api/v1/openapi.json").json();
    let operations = operations(&description);
    assert!(operations.len() > 40, "{}", operations.len());
    let by_socket = ["/api/v1/load", "/api/v1/ingested", "/api/v1/geoip", "/api/v1/archive"];
    // What runs long or ends things is asked with a body that no handler takes; the guard stands before it all the same.
    let body = "{\"no\":\"such member\"";
    for Operation { method, path, needs, any_credential } in &operations {
        let told = |who: &str, answer: &Answer| format!("{method} {path} by {who}: {} {}", answer.status, answer.text());
        let nobody = daemon.tcp(&request(method, path, "", body));
        let is_open = needs.is_none() && !any_credential;
        assert_eq!(nobody.status == 401, !is_open, "{}", told("nobody", &nobody));
        for (role, key) in &keys {
            let answer = daemon.tcp(&request(method, path, &bearer(key), body));
            let names_files = method == "POST" && by_socket.contains(&path.as_str());
            let may = !names_files && needs.is_none_or(|right| role.rights().contains(&right));
            assert_eq!(answer.status == 403 && code(&answer) == "forbidden", !may, "{}", told(role.name(), &answer));
            assert!(answer.status != 405 && answer.status != 401 || !may, "{}", told(role.name(), &answer));
        }
        let (_, admin) = &keys[0];
        for wrong in ["PUT", "DELETE", "PATCH"] {
            let answer = daemon.tcp(&request(wrong, path, &bearer(admin), ""));
            assert_eq!((answer.status, code(&answer).as_str()), (405, "method_not_allowed"), "{}", told(wrong, &answer));
        }
    }
}

#[test]
fn what_is_described_is_served_and_nothing_else() {
    let home = Home::with("address_rate = 100000\nkey_rate = 100000\n");
    let daemon = Daemon::start(&home);
    let description = daemon.get("/api/v1/openapi.json").json();
    // A handler may know nothing of what it is asked for; the words of this one say that there is no handler.
    let is_nowhere = |answer: &Answer| {
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        answer.status == 404 && detail.starts_with("there is nothing at this path")
    };
    let operations = operations(&description);
    let paths: BTreeSet<&str> = operations.iter().map(|operation| operation.path.as_str()).collect();
    for Operation { method, path, .. } in &operations {
        let answer = daemon.unix(&request(method, path, "", "{\"no\":\"such member\""));
        assert!(answer.status != 405 && (answer.status != 404 || !is_nowhere(&answer)), "{method} {path}: {answer:?}");
    }
    for path in &paths {
        let (parent, last) = path.rsplit_once('/').expect("a slash");
        let capital = format!("{parent}/{}{}", last[..1].to_ascii_uppercase(), &last[1..]);
        let others =
            [format!("{path}/"), format!("{path}/x/y/z"), format!("{path}x"), format!("/{path}"), format!("/api/v2{path}"), capital];
        // What a parameter can stand for is described.
        let is_parameter =
            |other: &str| description["paths"].as_object().is_some_and(|paths| paths.keys().any(|path| stands_for(path, other)));
        for other in others.iter().filter(|other| !is_parameter(other) && !paths.contains(other.as_str())) {
            let answer = daemon.unix(&request("GET", other, "", ""));
            assert!(is_nowhere(&answer), "{other}: {answer:?}");
        }
    }
}

/// Whether a path with parameters takes in this one.
fn stands_for(path: &str, other: &str) -> bool {
    let (parts, others): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), other.split('/').collect());
    parts.len() == others.len()
        && parts.iter().zip(others).all(|(part, other)| if part.starts_with('{') { !other.is_empty() } else { *part == other })
}

#[test]
fn credentials_that_are_none_are_refused_for_what_they_are() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let good = key(&daemon, "laptop", &[Role::Analyst], &[]);
    let status = |headers: &str| daemon.tcp(&request("GET", "/api/v1/status", headers, ""));
    assert_eq!(status(&bearer(&good)).status, 200);
    assert_eq!(status(&format!("x-api-key: {good}\r\n")).status, 200);
    let mut mistyped = good.clone();
    let last = mistyped.pop().expect("not empty");
    mistyped.push(if last == 'a' { 'b' } else { 'a' });
    for (headers, expected) in [
        (bearer(&mistyped), "key_mistyped"),
        (bearer("hello"), "credential_unrecognised"),
        (format!("Authorization: Basic {good}\r\n"), "credential_scheme"),
        (format!("{}x-api-key: another\r\n", bearer(&good)), "credential_ambiguous"),
        (format!("{}{}", bearer(&good), bearer(&good)), "credential_ambiguous"),
        (bearer(&"x".repeat(9_000)), "credential_too_long"),
    ] {
        let refused = status(&headers);
        assert_eq!((refused.status, code(&refused).as_str()), (401, expected), "{refused:?}");
    }
    let rows = daemon.get("/api/v1/keys").json();
    let id = rows[0]["id"].as_str().expect("an id");
    assert_eq!(daemon.post(&format!("/api/v1/keys/{id}/revoke"), "{}").status, 200);
    assert_eq!(code(&status(&bearer(&good))), "key_revoked");
}

#[test]
fn a_key_of_one_sensor_sees_that_sensor_only() {
    let home = Home::with("address_rate = 100000\nkey_rate = 100000\n");
    let daemon = Daemon::start(&home);
    let path = home.write("cowrie.json", &log(1, 5_000));
    assert_eq!(daemon.post("/api/v1/load", &json!({ "paths": [path] }).to_string()).status, 200);
    let rows = daemon.get("/api/v1/terms/sensor").json();
    let sensors: BTreeMap<String, u64> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["value"].as_str().expect("a name").to_owned(), row["count"].as_u64().expect("a number")))
        .collect();
    assert!(sensors.len() > 1, "{sensors:?}");
    let (mine, count) = sensors.first_key_value().expect("a sensor");
    let key = key(&daemon, "mine", &[Role::Admin], &[mine]);
    let ask = |path: &str| daemon.tcp(&request("GET", path, &bearer(&key), ""));
    assert_eq!(ask("/api/v1/count").json()["events"], *count);
    assert_eq!(ask("/api/v1/terms/sensor").json().as_array().map(Vec::len), Some(1));
    for line in ask("/api/v1/events?query=&limit=100000").lines() {
        assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON")["sensor"], **mine);
    }
    let other = sensors.keys().nth(1).expect("another");
    // Whatever is put into the query, it does not get out of the scope.
    for query in [format!("sensor:{other}"), format!("sensor:{other} OR sensor:{mine} NOT sensor:{mine}"), format!("NOT sensor:{mine}")] {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(ask(&format!("/api/v1/events?query={query}&limit=10")).lines().len(), 0, "{query}");
    }
    for breaking_out in ["a)%20OR%20(sensor:x", "x)%20OR%20NOT%20y", "command:x)%20OR%20exists:sensor%20y", "x)%20OR%20since:1d"] {
        let wrong = ask(&format!("/api/v1/events?query={breaking_out}&limit=10"));
        assert_eq!((wrong.status, code(&wrong).as_str()), (400, "bad_query"), "{wrong:?}");
    }
    let theirs = daemon.get(&format!("/api/v1/events?query=sensor:{other}%20eventid:cowrie.session.connect&limit=1")).lines().remove(0);
    let session = serde_json::from_str::<Value>(&theirs).expect("JSON")["session"].as_str().expect("a session").to_owned();
    assert_eq!(ask(&format!("/api/v1/sessions/{session}")).status, 404);
    assert_eq!(ask(&format!("/api/v1/reports/daily/last?sensor={other}")).status, 403);
    assert_eq!(ask(&format!("/api/v1/reports/daily/last?sensor={mine}")).status, 200);
    // That somebody asked for what is another's is in the audit, although only the handler knew.
    let asked_for_another = |record: &Value| record["path"] == "/api/v1/reports/daily/last" && record["status"] == 403;
    until("the refusal in the ledger", || recorded(&daemon).iter().any(asked_for_another));
    // Nor is somebody told what others are called.
    let (mistyped, note) = (format!("{other}x"), "did you mean");
    let told = daemon.get(&format!("/api/v1/reports/daily/last?sensor={mistyped}")).text();
    assert!(told.contains(note), "{told}");
    let stranger = self::key(&daemon, "stranger", &[Role::Analyst], &[&mistyped]);
    let told = daemon.tcp(&request("GET", &format!("/api/v1/reports/daily/last?sensor={mistyped}"), &bearer(&stranger), "")).text();
    assert!(told.contains("no event came from a sensor called") && !told.contains(note), "{told}");
    for about_all in ["/api/v1/status", "/api/v1/indicators", "/api/v1/quarantine", "/api/v1/keys", "/api/v1/clusters"] {
        let refused = ask(about_all);
        assert_eq!((refused.status, code(&refused).as_str()), (403, "forbidden"), "{about_all} {refused:?}");
    }
}

fn recorded(daemon: &Daemon) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    daemon.engine().store().each_recorded("request", &mut |details: Value| records.push(details)).expect("read");
    records
}

#[test]
fn a_key_of_some_sensors_pushes_their_events_and_who_pushed_is_recorded() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let key = key(&daemon, "pot", &[Role::Sensor], &["pot-1", "pot-2"]);
    let event = |number: u32, sensor: &str| {
        format!("{{\"eventid\":\"cowrie.login.failed\",\"timestamp\":\"2026-01-02T03:04:05Z\",\"session\":\"s{number}\"{sensor}}}\n")
    };
    let push = |query: &str, body: &str| {
        let request = request("POST", &format!("/api/v1/events{query}"), &bearer(&key), body);
        daemon.tcp(&request.replace("application/json", "application/x-ndjson"))
    };
    let theirs = event(1, ",\"sensor\":\"pot-1\"") + &event(2, ",\"sensor\":\"pot-2\"");
    let others = event(3, ",\"sensor\":\"pot-3\"") + &event(4, "") + &event(5, ",\"sensor\":\"pot-1 \"") + &event(6, ",\"sensor\":7");
    let outcome = push("", &format!("{theirs}{others}")).json();
    assert_eq!((&outcome["stored"], &outcome["refused"]), (&2.into(), &4.into()), "{outcome}");
    let refusals = outcome["refusals"].as_array().expect("a list");
    let lines: Vec<_> = refusals.iter().map(|refusal| (refusal["line"].as_u64(), refusal["reason"].as_str())).collect();
    assert_eq!(lines, (3..=6).map(|line| (Some(line), Some("sensor_not_allowed"))).collect::<Vec<_>>());
    assert_eq!(daemon.get("/api/v1/count").json()["events"], 2);
    assert_eq!(daemon.get("/api/v1/quarantine?reason=sensor_not_allowed").json().as_array().map(Vec::len), Some(4));
    // Which source it is, is the operator's to say: rules of redaction are by source.
    let named = push("?source=cowrie", &theirs);
    assert_eq!((named.status, code(&named).as_str()), (403, "forbidden"));
    assert_eq!(push("", &theirs).json()["duplicate"], 2);
    let pushes: Vec<Value> = recorded(&daemon).into_iter().filter(|record| record["after"]["source"] == "push").collect();
    assert_eq!(pushes.len(), 1, "once a day: {pushes:?}");
    let id = &daemon.get("/api/v1/keys").json()[0]["id"];
    assert_eq!((&pushes[0]["by"], &pushes[0]["key"], &pushes[0]["after"]["stored"]), (&"key pot".into(), id, &2.into()));
}

#[test]
fn a_key_has_so_many_sensors_that_half_of_a_query_is_left_to_it() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let names: Vec<String> = (0..17).map(|number| format!("pot-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = daemon.post("/api/v1/keys", &json!({ "name": "many", "roles": ["analyst"], "sensors": names }).to_string());
    assert!(refused.status == 400 && refused.text().contains("up to 16"), "{refused:?}");
    let key = key(&daemon, "some", &[Role::Analyst], &names[..16]);
    let of_terms = |count: usize| {
        let query = vec!["x"; count].join("%20OR%20");
        daemon.tcp(&request("GET", &format!("/api/v1/events?query={query}"), &bearer(&key), "")).status
    };
    assert_eq!((of_terms(16), of_terms(17)), (200, 400));
}

#[test]
fn figures_tell_of_credentials_connections_and_watchers() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let key = key(&daemon, "laptop", &[Role::Analyst], &[]);
    for (credential, times) in [(&*key, 3), ("hg_nonsense", 2)] {
        (0..times).for_each(|_| drop(daemon.tcp(&request("GET", "/api/v1/count", &bearer(credential), ""))));
    }
    let figures = daemon.get("/metrics").text();
    for expected in [
        "honeyguide_credentials_total{outcome=\"accepted\"} 3",
        "honeyguide_credentials_total{outcome=\"key_mistyped\"} 2",
        "honeyguide_http_connections_refused_total{listener=\"tcp\"} 0",
        "honeyguide_live_clients 0",
        "honeyguide_live_refused 0",
        "honeyguide_live_dropped 0",
    ] {
        assert!(figures.lines().any(|line| line == expected), "{expected} in {figures}");
    }
}

#[test]
fn changes_and_refusals_are_in_the_ledger_with_who_and_from_where() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let key = key(&daemon, "laptop", &[Role::Analyst], &[]);
    let refused = daemon.tcp(&request("POST", "/api/v1/rebuild", &format!("{}x-request-id: try-1\r\n", bearer(&key)), ""));
    assert_eq!(refused.status, 403);
    assert!(refused.head.contains("x-request-id: try-1"), "{refused:?}");
    assert_eq!(daemon.tcp(&request("GET", "/api/v1/status", &bearer("hg_nonsense"), "")).status, 401);
    until("three records", || recorded(&daemon).len() == 3);
    let records = recorded(&daemon);
    let of = |path: &str| records.iter().find(|record| record["path"] == path).unwrap_or_else(|| panic!("{path} in {records:?}"));
    let made = of("/api/v1/keys");
    assert!(made["by"].as_str().expect("a name").starts_with("uid "), "{made}");
    assert_eq!((&made["from"], &made["status"]), (&"socket".into(), &200.into()));
    let refusal = of("/api/v1/rebuild");
    assert_eq!((&refusal["from"], &refusal["code"], &refusal["request_id"]), (&"127.0.0.1".into(), &"forbidden".into(), &"try-1".into()));
    assert!(refusal["by"].as_str().expect("a name").contains("laptop"), "{refusal}");
    assert_eq!(refusal["key"], daemon.get("/api/v1/keys").json()[0]["id"], "names are given again, ids are not");
    assert_eq!(of("/api/v1/status")["by"], "nobody");
    assert!(!serde_json::to_string(&records).expect("JSON").contains(&key), "no secret is recorded");
}

#[test]
fn floods_are_told_when_to_come_again() {
    let home = Home::with("address_rate = 2\nkey_rate = 1\n");
    let daemon = Daemon::start(&home);
    let key = key(&daemon, "laptop", &[Role::Analyst], &[]);
    let mut answers: Vec<Answer> = (0..15).map(|_| daemon.tcp(&request("GET", "/api/v1/count", &bearer(&key), ""))).collect();
    let limited = answers.pop().expect("the last");
    assert_eq!((limited.status, code(&limited).as_str()), (429, "too_many_requests"));
    assert!(limited.head.contains("retry-after: "), "{limited:?}");
    assert_eq!(answers[0].status, 200);
    let strangers: Vec<u16> = (0..40).map(|_| daemon.tcp(&get("/health", "localhost")).status).collect();
    assert!(strangers.contains(&429), "an address is limited whatever it asks for: {strangers:?}");
    assert_eq!(daemon.get("/api/v1/count").status, 200, "the socket is not");
}

#[test]
fn only_listed_origins_may_read_answers() {
    let home = Home::with("origins = [\"https://dash.example\"]\n");
    let daemon = Daemon::start(&home);
    let key = key(&daemon, "dash", &[Role::Analyst], &[]);
    let asked =
        |method: &str, origin: &str| daemon.tcp(&request(method, "/api/v1/count", &format!("Origin: {origin}\r\n{}", bearer(&key)), ""));
    assert!(asked("GET", "https://dash.example").head.contains("access-control-allow-origin: https://dash.example"));
    assert!(!asked("GET", "https://evil.example").head.contains("access-control"));
    let preflight =
        daemon.tcp(&request("OPTIONS", "/api/v1/count", "Origin: https://dash.example\r\nAccess-Control-Request-Method: GET\r\n", ""));
    assert!(preflight.status == 204 && preflight.head.contains("access-control-allow-headers: authorization"), "{preflight:?}");
    let refused =
        daemon.tcp(&request("OPTIONS", "/api/v1/count", "Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n", ""));
    assert!(refused.status == 405 && !refused.head.contains("access-control"), "{refused:?}");
}

#[tokio::test]
async fn a_live_stream_ends_with_the_key_that_began_it() {
    use futures_util::StreamExt;
    use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message, protocol::frame::coding::CloseCode};
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let key = key(&daemon, "watcher", &[Role::Analyst], &[]);
    let connected = tokio::net::TcpStream::connect(daemon.listen).await.expect("connected");
    let uri = format!("ws://{}/api/v1/live", daemon.listen).parse().expect("a URI");
    let asked = ClientRequestBuilder::new(uri).with_header("x-api-key", key);
    let (mut messages, _) = tokio_tungstenite::client_async(asked, connected).await.expect("an upgrade");
    assert!(matches!(messages.next().await, Some(Ok(Message::Text(hello))) if hello.contains("\"hello\"")));
    let id = daemon.get("/api/v1/keys").json()[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(daemon.post(&format!("/api/v1/keys/{id}/revoke"), "{}").status, 200);
    let end = loop {
        match messages.next().await.expect("a good-bye").expect("a frame") {
            Message::Close(end) => break end.expect("a reason"),
            _ => continue,
        }
    };
    assert_eq!(end.code, CloseCode::Policy, "{end:?}");
}
