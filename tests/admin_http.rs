//! The admin endpoint of a real daemon: what it serves, to whom, and what it does not.
mod served;

use served::{Answer, Daemon, Home, exchange, get, log, post, until};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

fn load(daemon: &Daemon, home: &Home, name: &str, bytes: &[u8]) -> serde_json::Value {
    let path = home.write(name, bytes);
    let answer = daemon.post("/api/v1/load", &serde_json::json!({ "paths": [path] }).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let last = answer.lines().pop().expect("a last line");
    serde_json::from_str(&last).expect("JSON")
}

fn problem(answer: &Answer, status: u16, code: &str) -> serde_json::Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()));
    assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["type"].is_string());
    problem
}

#[test]
fn tcp_tells_strangers_three_things_and_only_under_loopback_names() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    assert_eq!(daemon.tcp(&get("/health", "localhost")).text(), "ok\n");
    assert_eq!(daemon.tcp(&get("/ready", "127.0.0.1:1")).text(), "ready\n");
    let metrics = daemon.tcp(&get("/metrics", "[::1]"));
    assert!(metrics.text().contains("honeyguide_uptime_seconds") && metrics.head.contains("version=0.0.4"), "{metrics:?}");
    for path in ["/health/metrics", "/api/v1/status", "/api/v1/events?query=eventid:*", "/api/v1/quarantine", "/api/v1/openapi.json"] {
        let refused = daemon.tcp(&get(path, "localhost"));
        problem(&refused, 401, "unauthorized");
        assert!(refused.head.contains("www-authenticate: bearer"), "{refused:?}");
    }
    for path in ["/api/v1/load", "/api/v1/quarantine/purge", "/api/v1/rebuild"] {
        problem(&daemon.tcp(&post(path, "{}")), 401, "unauthorized");
    }
    for path in ["/api", "/health/", "//health", "/api/v1/nothing", "/%2e%2e/health"] {
        problem(&daemon.tcp(&get(path, "localhost")), 404, "not_found");
    }
    let wrong = daemon.tcp(&post("/health", "{}"));
    problem(&wrong, 405, "method_not_allowed");
    assert!(wrong.head.contains("allow: get"), "{wrong:?}");
    for host in ["evil.example", "evil.example:8787", "localhost.evil.example", "192.0.2.1", ""] {
        problem(&daemon.tcp(&get("/metrics", host)), 403, "forbidden");
    }
    problem(&daemon.tcp("GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 403, "forbidden");
    problem(&daemon.tcp("GET /metrics HTTP/1.0\r\n\r\n"), 403, "forbidden");
    let forwarded = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\nConnection: close\r\n\r\n";
    problem(&daemon.tcp(forwarded), 403, "forbidden");
}

#[test]
fn readiness_follows_the_intake() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    daemon.engine().observed.intake.pause(true);
    let unready = daemon.tcp(&get("/ready", "localhost"));
    assert_eq!((unready.status, unready.text().as_str()), (503, "intake is paused\n"));
    assert_eq!(daemon.tcp(&get("/health", "localhost")).status, 200, "the process answers all the same");
    daemon.engine().observed.intake.pause(false);
    assert_eq!(daemon.get("/ready").status, 200);
}

#[test]
fn the_socket_serves_every_route() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let mode = std::fs::metadata(&daemon.socket).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let bytes = [&log(1, 3_000)[..], b"refused\n"].concat();
    let loaded = load(&daemon, &home, "cowrie.json", &bytes);
    assert_eq!((&loaded["phase"], &loaded["events"], &loaded["rejected"]), (&"finished".into(), &3_000.into(), &1.into()));
    let again = load(&daemon, &home, "again.json", &bytes);
    assert_eq!((&again["events"], &again["duplicates"]), (&0.into(), &3_000.into()));

    let identity = daemon.get("/health").json();
    assert_eq!(identity["data_dir"], serde_json::json!(home.data().canonicalize().expect("there")));
    assert_eq!(daemon.get("/health/metrics").json()["sources"]["load"]["events"], 3_000);
    let status = daemon.get("/api/v1/status").json();
    assert_eq!((&status["running"], &status["journal"]["events"]), (&true.into(), &3_000.into()));
    let names: Vec<&str> = status["actors"].as_array().expect("actors").iter().filter_map(|actor| actor["name"].as_str()).collect();
    assert!(["supervisor", "journal", "extraction", "metrics"].iter().all(|name| names.contains(name)), "{names:?}");

    let found = daemon.get("/api/v1/events?query=eventid:cowrie.session.connect&limit=5");
    assert!(found.head.contains("content-type: application/x-ndjson"), "{found:?}");
    assert_eq!(found.lines().len(), 5);
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert!(found.lines().iter().all(|line| text.lines().any(|original| original == line)));
    let newest = daemon.get("/api/v1/events?query=eventid:cowrie.session.connect&limit=1&newest=true");
    assert_ne!(newest.lines(), found.lines()[..1]);
    assert_eq!(daemon.get("/api/v1/events?query=username:nobody-has-this").lines().len(), 0);
    let rows = daemon.get("/api/v1/terms/eventid?limit=2").json();
    assert_eq!(rows.as_array().map(Vec::len), Some(2));
    let first: serde_json::Value = serde_json::from_str(&found.lines()[0]).expect("JSON");
    let session = daemon.get(&format!("/api/v1/sessions/{}", first["session"].as_str().expect("a session")));
    assert!(session.lines().iter().all(|line| line.contains(first["session"].as_str().expect("a session"))));

    let verified = daemon.post("/api/v1/verify", "");
    let last: serde_json::Value = serde_json::from_str(verified.lines().last().expect("a report")).expect("JSON");
    assert_eq!((&last["report"]["events"], &last["report"]["damage"]), (&3_000.into(), &serde_json::json!([])));
    let asked = serde_json::json!({ "paths": [home.path("cowrie.json"), home.path("gone.json")] }).to_string();
    let files = daemon.post("/api/v1/ingested", &asked).json();
    assert_eq!((&files[0]["ingested"], &files[1]["ingested"]), (&true.into(), &false.into()));

    let records = daemon.get("/api/v1/quarantine?reason=not_an_object").json();
    let number = records[0]["number"].as_u64().expect("a number");
    assert_eq!(daemon.get(&format!("/api/v1/quarantine/{number}")).json()["text"], "refused");
    assert_eq!(daemon.get(&format!("/api/v1/quarantine/{number}/bytes")).body, b"refused");
    assert_eq!(daemon.post("/api/v1/quarantine/retry", r#"{"all":true}"#).json(), serde_json::json!({ "retried": 1, "resolved": 0 }));
    assert_eq!(daemon.post("/api/v1/quarantine/purge", &format!(r#"{{"numbers":[{number}]}}"#)).json()["removed"], 1);
    let rebuilt = daemon.post("/api/v1/rebuild", "");
    assert!(rebuilt.lines().last().expect("a report").contains("rebuilt"));
}

#[test]
fn wrong_requests_are_problems_that_say_where() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let wrong = problem(&daemon.get("/api/v1/events?query=eventid:x%20usrname:root"), 400, "bad_query");
    assert_eq!(wrong["column"], 11);
    assert!(wrong["detail"].as_str().expect("text").contains("usrname"), "{wrong}");
    problem(&daemon.get("/api/v1/events"), 400, "bad_request");
    problem(&daemon.get("/api/v1/events?query=eventid:x&limit=many"), 400, "bad_request");
    problem(&daemon.get("/api/v1/terms/nosuch"), 404, "not_found");
    problem(&daemon.get("/api/v1/sessions/nosuch"), 404, "not_found");
    problem(&daemon.get("/api/v1/sessions/%2a"), 404, "not_found");
    problem(&daemon.get("/api/v1/quarantine/17"), 404, "not_found");
    problem(&daemon.get("/api/v1/quarantine/x"), 400, "bad_request");
    problem(&daemon.get("/api/v1/quarantine?reason=nosuch"), 400, "bad_request");
    problem(&daemon.get("/api/v1/nosuch"), 404, "not_found");
    problem(&daemon.post("/api/v1/load", "{"), 400, "bad_request");
    problem(&daemon.post("/api/v1/load", r#"{"paths":["relative"]}"#), 400, "bad_request");
    problem(&daemon.post("/api/v1/ingested", r#"{"paths":["relative"]}"#), 400, "bad_request");
    let too_long = format!(r#"{{"paths":["/{}"]}}"#, "x".repeat(2 << 20));
    assert_ne!(daemon.post("/api/v1/ingested", &too_long).status, 200);
}

#[test]
fn what_no_route_takes_is_refused_with_where_and_changes_nothing() {
    let home = Home::with("[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"out.ndjson\"\n");
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "cowrie.json", &[&log(1, 500)[..], b"refused\n"].concat());
    let recorded = || {
        let mut kinds: Vec<String> = Vec::new();
        let ledger = daemon.get("/api/v1/audit?limit=1000").json();
        kinds.extend(ledger["records"].as_array().expect("records").iter().filter_map(|record| record["kind"].as_str()).map(str::to_owned));
        kinds.retain(|kind| kind != "request");
        kinds
    };
    let held = || {
        let status = daemon.get("/api/v1/status").json();
        let lists = ["/api/v1/keys", "/api/v1/sinks/archive/dead", "/api/v1/quarantine"].map(|path| daemon.get(path).json());
        (status["journal"]["events"].clone(), status["sinks"][0]["state"].clone(), lists, recorded())
    };
    until("deliveries", || daemon.get("/api/v1/sinks/archive").json()["lag_events"] == 0);
    let before = held();
    for (path, parameter) in [
        ("/api/v1/events?query=&limt=5", "limt"),
        ("/api/v1/events?query=&limit=many", "limit"),
        ("/api/v1/events?query=&limit=-1", "limit"),
        ("/api/v1/events?query=&newest=1", "newest"),
        ("/api/v1/events?query=&query=x", "query"),
        ("/api/v1/events", "query"),
        ("/api/v1/events/page?query=&since=1d", "since"),
        ("/api/v1/sessions?limit=1001", "limit"),
        ("/api/v1/sessions?q=x", "q"),
        ("/api/v1/terms/username?order=up", "order"),
        ("/api/v1/status?verbose=true", "verbose"),
        ("/api/v1/configuration?secrets=true", "secrets"),
        ("/api/v1/quarantine?reason=nosuch", "reason"),
        ("/api/v1/anomalies?measure=mood", "measure"),
        ("/api/v1/anomalies?kind=hourly", "kind"),
        ("/api/v1/indicators?min_score=101", "min_score"),
        ("/api/v1/clusters?sort=size", "sort"),
        ("/api/v1/audit?before=x", "before"),
        ("/api/v1/alerts/history?limit=x", "limit"),
        ("/health?x=1", "x"),
    ] {
        let wrong = problem(&daemon.get(path), 400, "bad_request");
        assert_eq!(wrong["parameter"], parameter, "{path}: {wrong}");
        assert!(wrong["detail"].as_str().expect("text").contains(&format!("`{parameter}`")), "{path}: {wrong}");
    }
    for (path, body, says) in [
        ("/api/v1/keys", r#"{"name":"x","roles":["admin"],"admin":true}"#, "unknown field `admin`"),
        ("/api/v1/keys", r#"{"name":"x","roles":["root"]}"#, "unknown variant `root`"),
        ("/api/v1/keys", r#"{"name":7,"roles":["admin"]}"#, "expected a string"),
        ("/api/v1/keys", r#"{"roles":["admin"]}"#, "missing field `name`"),
        ("/api/v1/sinks/archive/order", r#""stop""#, "unknown variant `stop`"),
        ("/api/v1/sinks/archive/order", r#"{"replay_from":-1}"#, "invalid value"),
        ("/api/v1/sinks/archive/dead/purge", r#"{"all":true}"#, "unknown field `all`"),
        ("/api/v1/quarantine/purge", r#"{"everything":true}"#, "unknown field `everything`"),
        ("/api/v1/quarantine/purge", r#"{"numbers":["1"]}"#, "expected u64"),
        ("/api/v1/quarantine/retry", r#"{"all":true"#, "EOF"),
        ("/api/v1/load", r#"{"paths":["/x"],"follow":true}"#, "unknown field `follow`"),
        ("/api/v1/ingested", r#"{"paths":["/x"],"format":7}"#, "expected a"),
        ("/api/v1/enrich", r#"{"value":"x","fresh":true}"#, "unknown field `fresh`"),
        ("/api/v1/archive", r#"{"selection":{"from":1}}"#, "unknown field `from`"),
        ("/api/v1/erase", r#"{"session":"x","dry":true}"#, "unknown field `dry`"),
        ("/api/v1/geoip", r#"{"path":"/x","kind":"asn"}"#, "unknown field `kind`"),
        ("/api/v1/reports/daily/last/publish", r#"{"sink":"archive","kind":"x"}"#, "unknown field `kind`"),
    ] {
        let wrong = problem(&daemon.post(path, body), 400, "bad_request");
        assert!(wrong["detail"].as_str().expect("text").contains(says), "{path} {body}: {wrong}");
        assert!(wrong["line"].is_u64() && wrong["column"].is_u64(), "{path} {body}: {wrong}");
    }
    let as_text =
        "POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    problem(&daemon.unix(as_text), 415, "unsupported_media_type");
    let too_large = format!(r#"{{"name":"{}"}}"#, "x".repeat(2 << 20));
    problem(&daemon.post("/api/v1/keys", &too_large), 413, "too_large");
    for (path, status, code) in [
        ("/api/v1/quarantine/x", 400, "bad_request"),
        ("/api/v1/reports/hourly/last", 404, "not_found"),
        ("/api/v1/reports/daily/2026-99-99", 400, "bad_request"),
        ("/api/v1/geoip/lookup/300.1.1.1", 400, "bad_request"),
        ("/api/v1/sinks/nosuch/dead/5", 404, "not_found"),
        ("/api/v1/sinks/archive/dead/-5", 400, "bad_request"),
        ("/api/v1/events/page?query=&cursor=x", 400, "bad_cursor"),
        ("/api/v1/events/page?query=(", 400, "bad_query"),
    ] {
        problem(&daemon.get(path), status, code);
    }
    assert_eq!(held(), before, "nothing is changed");
}

#[test]
fn a_client_that_goes_away_ends_its_search_and_nothing_else() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let bytes = log(2, 30_000);
    load(&daemon, &home, "cowrie.json", &bytes);
    for _ in 0..12 {
        let mut stream = UnixStream::connect(&daemon.socket).expect("connected");
        stream.write_all(get("/api/v1/events?query=eventid:*&limit=1000000", "localhost").as_bytes()).expect("sent");
        let mut beginning = [0; 1_000];
        stream.read_exact(&mut beginning).expect("an answer begins");
        assert!(beginning.starts_with(b"HTTP/1.1 200"));
    }
    // More went away than there are places: all of them are free again.
    let whole = daemon.get("/api/v1/events?query=eventid:*&limit=1000000");
    assert_eq!(whole.lines().len(), 30_000);
}

#[test]
fn a_load_goes_on_when_its_client_goes_away() {
    let home = Home::new();
    let daemon = Daemon::start(&home);
    let path = home.write("cowrie.json", &log(3, 20_000));
    let mut stream = UnixStream::connect(&daemon.socket).expect("connected");
    stream.write_all(post("/api/v1/load", &serde_json::json!({ "paths": [path] }).to_string()).as_bytes()).expect("sent");
    stream.read_exact(&mut [0; 15]).expect("an answer begins");
    drop(stream);
    until("the load", || daemon.get("/api/v1/status").json()["journal"]["events"] == 20_000);
}

#[test]
fn peers_of_another_user_are_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: peers_of_another_user_are_refused: needs root to take on another user");
        return;
    }
    let home = Home::new();
    let daemon = Daemon::start(&home);
    // As open as a mistake could make them.
    for (path, mode) in [(home.dir.path().to_owned(), 0o755), (home.data(), 0o755), (daemon.socket.clone(), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    }
    let socket = daemon.socket.clone();
    let strangers = std::thread::spawn(move || {
        become_nobody();
        ["/health", "/metrics", "/api/v1/status"]
            .map(|path| exchange(UnixStream::connect(&socket).expect("open to all"), &get(path, "localhost")))
    });
    for answer in strangers.join().expect("answered") {
        problem(&answer, 403, "forbidden");
    }
    let socket = daemon.socket.clone();
    let purge = std::thread::spawn(move || {
        become_nobody();
        exchange(UnixStream::connect(&socket).expect("open to all"), &post("/api/v1/quarantine/purge", r#"{"all":true}"#))
    });
    problem(&purge.join().expect("answered"), 403, "forbidden");
    assert_eq!(daemon.get("/health").status, 200);
}

/// Only this thread: the system call, not the library's function, which changes all threads.
fn become_nobody() {
    use nix::libc::{SYS_setgroups, SYS_setresgid, SYS_setresuid, syscall};
    const NOBODY: u32 = 65_534;
    // SAFETY: these calls take numbers and, for no groups, no memory.
    let failed = unsafe {
        [
            syscall(SYS_setgroups, 0, std::ptr::null::<u32>()),
            syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY),
            syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY),
        ]
    };
    assert_eq!(failed, [0; 3]);
}

#[test]
fn a_stale_socket_is_replaced_and_other_files_and_live_sockets_are_not() {
    let home = Home::new();
    std::fs::create_dir_all(home.data()).expect("made");
    let socket = home.data().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bound"));
    assert!(socket.exists(), "left behind");
    let daemon = Daemon::start(&home);
    assert_eq!(daemon.get("/health").status, 200);
    drop(daemon);
    assert!(!socket.exists(), "removed at the end");

    let refused = |home: &Home| -> String {
        let settings = honeyguide::config::load(Some(&home.config()), None).expect("valid");
        actix::System::new().block_on(async {
            use honeyguide::daemon::{DataDir, Engine};
            let telemetry = honeyguide::telemetry::Telemetry::unlogged();
            let data_dir = DataDir::open(&settings, &telemetry, &mut |_| {}).expect("opened");
            let notifier = honeyguide::os::notify::Notifier::new(None, None, None, 0).expect("none");
            let engine = std::sync::Arc::new(Engine::start(data_dir, settings, telemetry, notifier.into()));
            engine.available().await;
            let error = honeyguide::admin::serve(engine.clone()).err().expect("refused").to_string();
            engine.drain().await;
            engine.release().await;
            error
        })
    };
    std::fs::write(&socket, "precious").expect("written");
    assert!(refused(&home).contains("is no socket"));
    assert_eq!(std::fs::read(&socket).expect("still there"), b"precious");
    std::fs::remove_file(&socket).expect("ours");
    let _live = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    assert!(refused(&home).contains("another program answers"));
}

#[test]
fn with_tls_connections_are_counted_as_well_and_the_cookie_is_for_tls_alone() {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    use std::net::TcpStream;
    use std::process::{Command, Stdio};
    let home = Home::with("tls_certificate = \"cert.pem\"\ntls_key = \"key.pem\"\naddress_connections = 2\n");
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                 -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem";
    let made = Command::new("openssl").args(words.split_whitespace()).current_dir(home.dir.path()).stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("SKIPPED: with_tls_connections_are_counted_as_well_and_the_cookie_is_for_tls_alone: needs openssl 3");
        return;
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(home.path("cert.pem")).expect("a certificate")).expect("taken");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = std::sync::Arc::new(client);
    let daemon = Daemon::start(&home);
    let connect = || {
        let connection = rustls::ClientConnection::new(client.clone(), "localhost".try_into().expect("a name")).expect("a client");
        let stream = TcpStream::connect(daemon.listen).expect("connected");
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("set");
        rustls::StreamOwned::new(connection, stream)
    };
    let figure = |name: &str| {
        let text = daemon.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}")).trim().to_owned();
        line.parse::<u64>().expect("a number")
    };
    let open = "honeyguide_http_connections{listener=\"tcp\"}";
    let begun = || {
        let mut stream = connect();
        stream.write_all(b"GET /health HTTP/1.1\r\n").expect("sent");
        stream.flush().expect("sent");
        stream
    };
    let mut held = vec![begun(), begun()];
    until("both are counted", || figure(open) == 2);
    // Streams of HTTP/2 that nobody reads would be bounded by nothing that bounds connections.
    assert!(held.iter().all(|stream| stream.conn.alpn_protocol() == Some(b"http/1.1")));
    let mut said = Vec::new();
    // The handshake itself may be cut off.
    let mut third = connect();
    let _ = third.write_all(get("/health", "localhost").as_bytes());
    let _ = third.read_to_end(&mut said);
    assert_eq!((String::from_utf8_lossy(&said).as_ref(), figure("honeyguide_http_connections_refused_total{listener=\"tcp\"}")), ("", 1));
    held.clear();
    until("both are gone", || figure(open) == 0);

    let key =
        daemon.post("/api/v1/keys", "{\"name\":\"laptop\",\"roles\":[\"analyst\"]}").json()["key"].as_str().expect("a key").to_owned();
    let page = exchange(connect(), &get("/login", "localhost")).text();
    let csrf = page.split_once("name=\"csrf\" value=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a form").0;
    let fields = format!("csrf={csrf}&key={key}");
    let form = post("/login", &fields).replace("application/json", "application/x-www-form-urlencoded");
    let answer = exchange(connect(), &form);
    let name = format!("set-cookie: __host-honeyguide_session_{}=", daemon.listen.port());
    let cookie = answer.head.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{answer:?}"));
    assert!(cookie.contains("; secure") && cookie.contains("; path=/") && !cookie.contains("domain"), "{cookie}");
}
