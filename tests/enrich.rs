//! Enrichers against a real server that answers as the services do: nothing is asked twice, quotas and cooldowns hold across restarts,
//! nothing that is private is sent, and no answer does harm.
mod served;

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use honeyguide::cli::context::{Context, Exit};
use honeyguide::cli::terminal::Output;
use honeyguide::cli::{args, enrich};
use honeyguide::config::{self, Settings};
use honeyguide::enrich::desk::{Answer, From, Held, Wanted};
use honeyguide::enrich::{Desk, Opinion};
use honeyguide::events::Micros;
use honeyguide::events::time::{self, MICROS_PER_SECOND};
use honeyguide::state::State;
use honeyguide::telemetry::{Metrics, Telemetry};
use serde_json::{Value, json};
use served::{Daemon, Home};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

const NOW: Micros = 1_774_200_000 * MICROS_PER_SECOND;
const HOUR: Micros = 3600 * MICROS_PER_SECOND;
const HASH: &str = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f";
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// What the server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    method: String,
    /// With the query.
    path: String,
    key: String,
    body: String,
}

/// What it answers.
#[derive(Clone, Debug)]
struct Said {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn said(status: u16, body: &Value) -> Option<Said> {
    Some(Said { status, headers: Vec::new(), body: body.to_string().into() })
}

type Answering = Box<dyn Fn(&Asked) -> Option<Said> + Send>;

struct Served {
    answering: Mutex<Answering>,
    asked: Mutex<Vec<Asked>>,
}

/// A service on loopback.
struct Service {
    served: Arc<Served>,
    port: u16,
}

async fn serve(request: HttpRequest, body: Bytes, served: Data<Served>) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let keys = ["x-apikey", "key", "auth-key", "authorization"].map(header);
    let asked = Asked {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        key: keys.concat(),
        body: String::from_utf8(body.to_vec()).expect("questions are text"),
    };
    let said = served.answering.lock().unwrap()(&asked);
    served.asked.lock().unwrap().push(asked);
    match said {
        Some(said) => {
            let mut response = HttpResponse::build(said.status.try_into().unwrap());
            for (name, value) in &said.headers {
                response.insert_header((*name, value.as_str()));
            }
            response.content_type("application/json").body(said.body)
        }
        // It never answers.
        None => std::future::pending().await,
    }
}

impl Service {
    fn start(answering: impl Fn(&Asked) -> Option<Said> + Send + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let data = Data::new(Served { answering: Mutex::new(Box::new(answering)), asked: Mutex::default() });
        let served = data.clone().into_inner();
        let (started, ready) = mpsc::channel();
        // It ends with the process.
        std::thread::spawn(move || {
            let app = move || App::new().app_data(data.clone()).default_service(web::to(serve));
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
                started.send(()).unwrap();
                server.await.unwrap();
            });
        });
        ready.recv().unwrap();
        Service { served, port }
    }

    fn answers(&self, answering: impl Fn(&Asked) -> Option<Said> + Send + 'static) {
        *self.served.answering.lock().unwrap() = Box::new(answering);
    }

    fn asked(&self) -> Vec<Asked> {
        self.served.asked.lock().unwrap().clone()
    }

    /// An `[[enricher]]` of it, as it can be configured on loopback.
    fn table(&self, name: &str, r#type: &str, more: &str) -> String {
        format!(
            "[[enricher]]\nname = \"{name}\"\ntype = \"{type}\"\nurl = \"http://127.0.0.1:{}/{type}/\"\nallow_private = [\"127.0.0.1\"]\n\
             api_key_file = \"service.key\"\n{more}\n",
            self.port
        )
    }
}

/// A desk with a clock of its own, and what it counted.
struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<AtomicI64>,
    metrics: Arc<Metrics>,
    config: String,
}

impl Bench {
    fn new(config: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("service.key"), format!("{KEY}\n")).unwrap();
        Bench { dir, clock: Arc::new(AtomicI64::new(NOW)), metrics: Metrics::new(None), config: config.to_owned() }
    }

    fn settings(&self) -> Settings {
        let file = self.dir.path().join("h.toml");
        std::fs::write(&file, &self.config).unwrap();
        config::load(Some(&file), Some(&self.dir.path().join("data"))).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As after a start.
    fn desk(&self) -> Desk {
        let state = State::open(&self.dir.path().join("state"), 1 << 20, 0).expect("opened").state;
        let mut telemetry = Telemetry::unlogged();
        telemetry.metrics = self.metrics.clone();
        let clock = self.clock.clone();
        Desk::with_clock(Arc::new(state), &self.settings(), telemetry, Box::new(move || clock.load(Ordering::Relaxed)))
    }

    fn pass(&self, micros: Micros) {
        self.clock.fetch_add(micros, Ordering::Relaxed);
    }

    fn figure(&self, line: &str) -> u64 {
        let text = self.metrics.text();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.unwrap_or_else(|| panic!("no {line} in {text}")).trim().parse().unwrap()
    }
}

async fn one(desk: &Desk, value: &str) -> Answer {
    let mut told = desk.ask(value, &Wanted::default()).await.expect("asked");
    assert_eq!(told.answers.len(), 1, "{told:?}");
    told.answers.remove(0)
}

fn opinion(answer: &Answer) -> Option<Opinion> {
    answer.verdict.as_ref().map(|verdict| verdict.verdict)
}

fn report(malicious: u64) -> Value {
    let stats = json!({ "malicious": malicious, "suspicious": 0, "undetected": 70 - malicious, "harmless": 0 });
    json!({ "data": { "id": HASH, "type": "file", "attributes": { "last_analysis_stats": stats, "tags": ["elf"] } } })
}

fn not_found() -> Option<Said> {
    said(404, &json!({ "error": { "code": "NotFoundError", "message": "not found" } }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_hash_asked_a_thousand_times_costs_one_request_also_behind_a_restart() {
    let service = Service::start(|_| said(200, &report(12)));
    let bench = Bench::new(&service.table("vt", "virustotal", ""));
    let mut written = [HASH.to_owned(), HASH.to_uppercase(), format!(" {HASH} ")].into_iter().cycle();
    {
        let desk = Arc::new(bench.desk());
        let asking: Vec<_> = (0..1000)
            .map(|_| {
                let (desk, value) = (desk.clone(), written.next().unwrap());
                tokio::spawn(async move { one(&desk, &value).await })
            })
            .collect();
        for asked in asking {
            assert_eq!(opinion(&asked.await.unwrap()), Some(Opinion::Malicious));
        }
        for _ in 0..1000 {
            assert_eq!(one(&desk, HASH).await.from, From::Cache);
        }
        assert_eq!(desk.rows()[0].hits, 1999);
    }
    bench.pass(HOUR);
    let desk = bench.desk();
    for _ in 0..1000 {
        assert_eq!(one(&desk, HASH).await.from, From::Cache);
    }
    let expected = Asked { method: "GET".into(), path: format!("/virustotal/files/{HASH}"), key: KEY.into(), body: String::new() };
    assert_eq!(service.asked(), [expected]);
    assert_eq!(bench.figure("honeyguide_enrichment_requests_total{enricher=\"vt\",outcome=\"answered\"}"), 1);
    assert_eq!(bench.figure("honeyguide_enrichment_cache_hits_total{enricher=\"vt\"}"), 2999);
    let row = &desk.rows()[0];
    assert_eq!((row.requests, row.hits, row.left_today, row.state.as_str()), (1, 2999, 499, "ready"));
    assert!(!format!("{row:?}").contains(KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_want_it_anew_share_one_request() {
    let service = Service::start(|_| said(200, &report(12)));
    let bench = Bench::new(&service.table("vt", "virustotal", ""));
    let desk = Arc::new(bench.desk());
    one(&desk, HASH).await;
    bench.pass(MICROS_PER_SECOND);
    let refresh = Wanted { refresh: true, ..Wanted::default() };
    let asking = (0..1000).map(|_| {
        let (desk, refresh) = (desk.clone(), refresh.clone());
        tokio::spawn(async move { desk.ask(HASH, &refresh).await.unwrap() })
    });
    for asked in futures_util::future::join_all(asking).await {
        assert!(matches!(asked.unwrap().answers[0].from, From::Service | From::Cache));
    }
    assert_eq!(service.asked().len(), 2);
}

#[tokio::test]
async fn answers_hold_for_their_time_and_those_that_nothing_is_known_for_a_shorter_one() {
    let service = Service::start(|asked| if asked.path.ends_with(HASH) { said(200, &report(12)) } else { not_found() });
    let bench = Bench::new(&service.table("vt", "virustotal", ""));
    let desk = bench.desk();
    let other = "a".repeat(64);
    for _ in 0..10 {
        assert_eq!(opinion(&one(&desk, HASH).await), Some(Opinion::Malicious));
        assert_eq!(opinion(&one(&desk, &other).await), Some(Opinion::Unknown));
    }
    assert_eq!(service.asked().len(), 2, "that nothing is known is an answer, and is kept");
    bench.pass(24 * HOUR);
    assert_eq!((one(&desk, HASH).await.from, one(&desk, &other).await.from), (From::Cache, From::Service));
    bench.pass((7 * 24 - 24) * HOUR - 1);
    assert_eq!(one(&desk, HASH).await.from, From::Cache);
    bench.pass(1);
    assert_eq!(desk.flagged().unwrap().by(honeyguide::events::Field::Shasum, HASH), [""; 0], "no longer counted");
    assert_eq!(one(&desk, HASH).await.from, From::Service);
    assert_eq!(desk.flagged().unwrap().by(honeyguide::events::Field::Shasum, HASH), ["vt"]);
    // An answer of another time than ours is no answer of today.
    bench.pass(-30 * 24 * HOUR);
    assert_eq!(one(&desk, HASH).await.from, From::Service);
    assert_eq!(service.asked().len(), 5);
}

#[tokio::test]
async fn a_quota_is_kept_across_restarts_and_stale_answers_are_told_behind_it() {
    let service = Service::start(|_| said(200, &report(12)));
    let bench = Bench::new(&service.table("vt", "virustotal", "quota_per_minute = 2\nquota_per_day = 3"));
    let hash = |number: u64| format!("{number:064x}");
    {
        let desk = bench.desk();
        for number in 0..2 {
            assert_eq!(one(&desk, &hash(number)).await.from, From::Service);
        }
        let held = one(&desk, &hash(2)).await;
        assert_eq!((held.from, held.held), (From::Nowhere, Some(Held::MinuteQuota)));
        assert_eq!(held.until, Some(time::format(NOW + 60 * MICROS_PER_SECOND)));
    }
    let desk = bench.desk();
    assert_eq!(one(&desk, &hash(2)).await.held, Some(Held::MinuteQuota), "a restart forgets nothing");
    bench.pass(60 * MICROS_PER_SECOND);
    assert_eq!(one(&desk, &hash(2)).await.from, From::Service);
    bench.pass(60 * MICROS_PER_SECOND);
    drop(desk);
    let desk = bench.desk();
    let held = one(&desk, &hash(3)).await;
    assert_eq!((held.held, held.until.is_some()), (Some(Held::DayQuota), true));
    assert_eq!((desk.rows()[0].left_today, desk.rows()[0].state.as_str()), (0, "quota_used_up"));
    let refresh = Wanted { refresh: true, ..Wanted::default() };
    let stale = desk.ask(&hash(0), &refresh).await.unwrap().answers.remove(0);
    assert_eq!((stale.from, stale.held, opinion(&stale)), (From::StaleCache, Some(Held::DayQuota), Some(Opinion::Malicious)));
    assert_eq!(service.asked().len(), 3);
    bench.pass(24 * HOUR);
    assert_eq!(one(&desk, &hash(3)).await.from, From::Service);
}

#[tokio::test]
async fn a_service_that_is_asked_too_often_is_left_alone_for_as_long_as_it_says() {
    let service = Service::start(|_| said(200, &report(12)));
    let bench = Bench::new(&service.table("vt", "virustotal", "ttl_hours = 1"));
    let desk = bench.desk();
    one(&desk, HASH).await;
    bench.pass(2 * HOUR);
    let limit = json!({ "error": { "code": "QuotaExceededError", "message": "Quota exceeded" } });
    service.answers(move |_| said(429, &limit).map(|said| Said { headers: vec![("Retry-After", "600".into())], ..said }));
    let stale = one(&desk, HASH).await;
    assert_eq!((stale.from, stale.held, opinion(&stale)), (From::StaleCache, Some(Held::Failed), Some(Opinion::Malicious)));
    let until = NOW + 2 * HOUR + 600 * MICROS_PER_SECOND;
    assert_eq!(stale.until, Some(time::format(until)));
    drop(desk);
    let desk = bench.desk();
    bench.pass(599 * MICROS_PER_SECOND);
    for number in 0..100 {
        assert_eq!(one(&desk, &format!("{number:064x}")).await.held, Some(Held::Cooldown), "also behind a restart");
    }
    assert_eq!(service.asked().len(), 2);
    assert_eq!(desk.rows()[0].state, "cooling_down");
    bench.pass(MICROS_PER_SECOND);
    service.answers(|_| said(200, &report(0)));
    assert_eq!(one(&desk, HASH).await.from, From::Service);
    assert_eq!((desk.rows()[0].state.as_str(), service.asked().len()), ("ready", 3));
    assert_eq!(bench.figure("honeyguide_enrichment_requests_total{enricher=\"vt\",outcome=\"rate_limited\"}"), 1);
    assert_eq!(bench.figure("honeyguide_enricher_cooling{enricher=\"vt\"}"), 0);
}

#[tokio::test]
async fn what_is_no_answer_is_neither_kept_nor_asked_for_without_end() {
    let location = |to: &str| {
        let to = to.to_owned();
        move |_: &Asked| Some(Said { status: 307, headers: vec![("Location", to.clone())], body: Vec::new() })
    };
    let body = |status: u16, body: Vec<u8>| move |_: &Asked| Some(Said { status, headers: Vec::new(), body: body.clone() });
    let cases: Vec<(&str, Answering, usize, &str)> = vec![
        ("garbage", Box::new(body(200, b"<html>\x1b[2J</html>".to_vec())), 3, "not as documented"),
        ("deep", Box::new(body(200, format!("{{\"data\": {}", "[".repeat(1 << 20)).into_bytes())), 3, "not as documented"),
        ("ten MiB", Box::new(body(200, vec![b' '; 10 << 20])), 3, "longer than 2097152 bytes"),
        ("empty", Box::new(body(200, Vec::new())), 3, "not as documented"),
        ("not found by somebody else", Box::new(body(404, b"<html>".to_vec())), 3, "not as documented"),
        ("a wrong key", Box::new(body(401, b"{}".to_vec())), 1, "is it the right key?"),
        ("forbidden", Box::new(body(403, b"{}".to_vec())), 1, "is it the right key?"),
        ("broken", Box::new(body(503, b"later".to_vec())), 1, "status 503: later"),
        ("a redirect to a private address", Box::new(location("http://10.0.0.1/x")), 1, "10.0.0.1 is private"),
        ("a redirect to a metadata service", Box::new(location("http://169.254.169.254/")), 1, "a cloud's metadata service"),
        ("no answer in time", Box::new(|_: &Asked| None), 1, "no answer within 1 s"),
    ];
    for (what, answering, requests, why) in cases {
        let service = Service::start(answering);
        let bench = Bench::new(&service.table("vt", "virustotal", "timeout_seconds = 1\nquota_per_minute = 100"));
        let desk = bench.desk();
        for _ in 0..5 {
            let answer = one(&desk, HASH).await;
            assert!(answer.verdict.is_none() && matches!(answer.held, Some(Held::Failed | Held::Cooldown)), "{what}: {answer:?}");
            let told = answer.why.unwrap_or_default();
            assert!(told.contains(why) && told.len() < 700 && !told.contains(char::is_control), "{what}: {told}");
            assert!(!told.contains(KEY));
        }
        assert_eq!(service.asked().len(), requests, "{what}");
    }
}

#[tokio::test]
async fn a_key_goes_to_the_service_only_and_one_that_is_missing_costs_nothing() {
    let elsewhere = Service::start(|_| said(200, &report(1)));
    let to = format!("http://127.0.0.1:{}/stolen", elsewhere.port);
    let service = Service::start(move |_| Some(Said { status: 307, headers: vec![("Location", to.clone())], body: Vec::new() }));
    let bench = Bench::new(&service.table("vt", "virustotal", ""));
    assert_eq!(opinion(&one(&bench.desk(), HASH).await), Some(Opinion::Suspicious));
    assert_eq!((elsewhere.asked()[0].key.as_str(), service.asked()[0].key.as_str()), ("", KEY));
    let bench = Bench::new(&service.table("vt", "virustotal", "").replace("service.key", "none.key"));
    let answer = one(&bench.desk(), HASH).await;
    assert!(answer.why.is_some_and(|why| why.starts_with("cannot read the secret in")));
    assert_eq!((service.asked().len(), bench.desk().rows()[0].left_today), (1, 500));
}

#[tokio::test]
async fn nothing_private_and_nothing_on_a_list_is_told_to_anybody() {
    let service = Service::start(|_| said(200, &json!({ "verdict": "malicious" })));
    let lists = "[indicators]\nown = [\"185.1.2.0/24\", \"*.mine.top\"]\nallow = [\"partner.top\"]\n";
    let tables =
        ["virustotal", "hook"].map(|r#type| service.table(r#type, r#type, "kinds = [\"hash\", \"address\", \"domain\", \"url\"]")).concat();
    let bench = Bench::new(&format!("{lists}{tables}"));
    let desk = bench.desk();
    let private = [
        "10.1.2.3",
        "127.0.0.1",
        "0x7f000001",
        "::1",
        "fd00::1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.7",
        "::ffff:192.168.1.1",
        "64:ff9b::a00:1",
        "http://192.168.0.1/x",
        "http://2130706433/",
        "http://u:p@10.0.0.1/",
        "host.internal",
        "printer.local",
        "http://router.lan/",
        "185.1.2.3",
        "http://185.1.2.3/x",
        "mail.mine.top",
        "https://intranet.mine.top/secret",
        "partner.top",
        "8.8.8.8",
        "github.com",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ];
    for value in private {
        let told = desk.ask(value, &Wanted { refresh: true, ..Wanted::default() }).await.unwrap();
        assert_eq!(told.answers.len(), 2, "{value}");
        for answer in told.answers {
            assert_eq!((answer.from, answer.held), (From::Nowhere, Some(Held::Withheld)), "{value}");
        }
    }
    assert_eq!(service.asked(), []);
    let told =
        desk.ask("http://user:password@evil.top/x?q#fragment", &Wanted { with: vec!["hook".into()], ..Wanted::default() }).await.unwrap();
    assert_eq!((told.value.as_str(), told.answers.len()), ("http://evil.top/x?q", 1));
    let sent = &service.asked()[0];
    assert_eq!(sent.body, r#"{"kind":"url","value":"http://evil.top/x?q","version":1}"#);
    assert_eq!((sent.method.as_str(), sent.key.as_str()), ("POST", &*format!("Bearer {KEY}")));
}

#[tokio::test]
async fn each_service_is_asked_as_it_documents_and_urls_only_where_they_are_named() {
    let service = Service::start(|asked| match asked.path.split('/').nth(1).unwrap_or_default() {
        "virustotal" => not_found(),
        "abuseipdb" => said(200, &json!({ "data": { "abuseConfidenceScore": 100, "totalReports": 9, "numDistinctUsers": 3 } })),
        "greynoise" => said(404, &json!({ "ip": "185.220.101.1", "noise": false, "riot": false, "message": "IP not observed" })),
        _ => said(200, &json!({ "query_status": "no_results" })),
    });
    let tables =
        [("vt", "virustotal", ""), ("ab", "abuseipdb", ""), ("gn", "greynoise", ""), ("uh", "urlhaus", "kinds = [\"address\", \"url\"]")];
    let bench = Bench::new(&tables.map(|(name, r#type, more)| service.table(name, r#type, more)).concat());
    let desk = bench.desk();
    let told = desk.ask("185.220.101.1", &Wanted::default()).await.unwrap();
    let opinions: Vec<_> = told.answers.iter().map(|answer| (answer.enricher.as_str(), opinion(answer))).collect();
    let unknown = Some(Opinion::Unknown);
    assert_eq!(opinions, [("vt", unknown), ("ab", Some(Opinion::Malicious)), ("gn", unknown), ("uh", unknown)]);
    let url = desk.ask("http://evil.top/x", &Wanted::default()).await.unwrap();
    assert_eq!(url.answers.iter().map(|answer| answer.enricher.as_str()).collect::<Vec<_>>(), ["uh"]);
    let mut asked: Vec<_> = service.asked().into_iter().map(|asked| (asked.path, asked.body)).collect();
    asked.sort();
    let expected = [
        ("/abuseipdb/check?ipAddress=185.220.101.1&maxAgeInDays=90", ""),
        ("/greynoise/community/185.220.101.1", ""),
        ("/urlhaus/host/", "host=185.220.101.1"),
        ("/urlhaus/url/", "url=http%3A%2F%2Fevil.top%2Fx"),
        ("/virustotal/ip_addresses/185.220.101.1", ""),
    ];
    assert_eq!(asked, expected.map(|(path, body)| (path.to_owned(), body.to_owned())));
    assert!(service.asked().iter().all(|asked| asked.key == KEY), "{:?}", service.asked());
    assert!(desk.ask("evil.top", &Wanted { with: vec!["nobody".into()], ..Wanted::default() }).await.is_err());
}

#[tokio::test]
async fn a_state_that_is_lost_costs_asking_again() {
    let service = Service::start(|_| said(200, &report(12)));
    let bench = Bench::new(&service.table("vt", "virustotal", ""));
    assert_eq!(one(&bench.desk(), HASH).await.from, From::Service);
    std::fs::remove_dir_all(bench.dir.path().join("state")).unwrap();
    assert_eq!(one(&bench.desk(), HASH).await.from, From::Service);
    assert_eq!(service.asked().len(), 2);
}

/// A home with a service that calls an address malicious, and an event from it.
fn home(service: &Service, more: &str) -> Home {
    let home = Home::with(&service.table("vt", "virustotal", more));
    home.write("service.key", KEY.as_bytes());
    let line = json!({ "eventid": "cowrie.login.failed", "src_ip": "185.220.101.1", "session": "a1", "username": "root", "password": "x",
        "sensor": "s", "timestamp": "2026-03-22T00:00:00.000000Z" });
    home.write("logs/cowrie.json", format!("{line}\n").as_bytes());
    home.expect(Exit::Done, &["load", &home.path("logs").to_string_lossy()]);
    home
}

fn stats(malicious: u64) -> Option<Said> {
    let stats = json!({ "malicious": malicious, "suspicious": 0, "undetected": 90 - malicious, "harmless": 0 });
    said(200, &json!({ "data": { "id": "x", "type": "ip_address", "attributes": { "last_analysis_stats": stats } } }))
}

#[test]
fn commands_say_the_same_with_a_daemon_and_without_and_show_asks_nobody() {
    let service = Service::start(|_| stats(9));
    let home = home(&service, "");
    let score = |home: &Home| home.json(Exit::Done, &["indicators", "list", "--kind", "src_ip"])[0].clone();
    let before = score(&home);
    let show = |home: &Home| home.json(Exit::Done, &["indicators", "show", "185.220.101.1"]);
    assert!(show(&home)["verdicts"].is_null());
    assert_eq!(home.json(Exit::Done, &["enrich", "185[.]220[.]101[.]1", "--cached"])["answers"][0]["held"], "not_asked");
    assert_eq!(service.asked().len(), 0);
    let first = home.json(Exit::Done, &["enrich", "185[.]220[.]101[.]1"]);
    assert_eq!((&first["value"], &first["kind"]), (&json!("185.220.101.1"), &json!("address")));
    assert_eq!((&first["answers"][0]["verdict"], &first["answers"][0]["from"]), (&json!("malicious"), &json!("service")));
    let daemon = Daemon::start(&home);
    let again = home.json(Exit::Done, &["enrich", "185.220.101.1"]);
    assert_eq!((&again["answers"][0]["verdict"], &again["answers"][0]["from"]), (&json!("malicious"), &json!("cache")));
    let rows = home.json(Exit::Done, &["enrichers"]);
    assert_eq!((&rows[0]["name"], &rows[0]["requests"], &rows[0]["left_today"]), (&json!("vt"), &json!(1), &json!(499)));
    let with_daemon = (score(&home), show(&home)["verdicts"].clone());
    assert!(home.expect(Exit::Done, &["indicators", "show", "185.220.101.1"]).contains("vt  malicious; 9 of 90 engines; score 10"));
    drop(daemon);
    let without = (score(&home), show(&home)["verdicts"].clone());
    assert_eq!(with_daemon, without);
    assert_eq!(without.0["score"].as_u64(), before["score"].as_u64().map(|score| score + 15));
    assert_eq!((&without.0["flagged_by"], &without.1[0]["summary"]), (&json!(["vt"]), &json!("9 of 90 engines")));
    let reasons = without.0["reasons"].as_array().and_then(|reasons| reasons.last()).cloned();
    assert_eq!(reasons, Some(json!("+15 malicious by vt")));
    assert!(home.expect(Exit::Done, &["indicators", "show", "185.220.101.1"]).contains("; +15 malicious by vt"));
    assert_eq!(service.asked().len(), 1);
    for words in [["enrich", "root"], ["enrich", "a b"]] {
        assert!(home.fails(&words).to_string().contains("nothing others can be asked about"));
    }
}

/// `honeyguide enrich -` with this standard input.
fn piped(home: &Home, options: &[&str], input: &str) -> (Exit, Vec<Value>) {
    use clap::Parser;
    let words = ["honeyguide", "enrich", "-", "--json"].iter().chain(options).copied();
    let cli = args::Cli::try_parse_from(words).unwrap();
    let args::Command::Enrich(args) = &cli.command else { unreachable!() };
    let mut global = cli.global.clone();
    global.config = Some(home.config());
    let (context, mut out) = (Context { global, output: Output::plain() }, Vec::new());
    let exit = enrich::answer_from(args, &context, &mut input.as_bytes(), &mut out).unwrap();
    (exit, out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect())
}

#[test]
fn a_list_of_values_is_asked_as_far_as_the_quota_goes_and_the_rest_is_told() {
    let service = Service::start(|_| stats(9));
    let home = home(&service, "quota_per_minute = 240\nquota_per_day = 3");
    let _daemon = Daemon::start(&home);
    let values: String = (1..=5).map(|last| format!("185.220.101.{last}\n185[.]220[.]101[.]{last}\n")).collect();
    let (exit, told) = piped(&home, &[], &format!("# addresses\n\n{values}10.0.0.1\n"));
    assert_eq!((exit, told.len(), service.asked().len()), (Exit::Findings, 11, 3));
    let held: Vec<&Value> = told.iter().map(|told| &told["answers"][0]["held"]).collect();
    assert_eq!(held[..6], [&Value::Null; 6]);
    assert!(held[6..10].iter().all(|held| **held == "day_quota") && *held[10] == "withheld", "{held:?}");
    let (exit, _) = piped(&home, &[], "185.220.101.1\n10.0.0.1\n");
    assert_eq!(exit, Exit::Done, "what is never sent is not missed");
    assert_eq!(piped(&home, &[], "185.220.101.1\nroot\n").0, Exit::Findings);
}

#[test]
fn without_waiting_a_quota_of_a_minute_is_told_too() {
    let service = Service::start(|_| stats(9));
    let home = home(&service, "quota_per_minute = 1");
    let (exit, told) = piped(&home, &["--no-wait"], "185.220.101.1\n185.220.101.2\n");
    assert_eq!((exit, &told[1]["answers"][0]["held"], service.asked().len()), (Exit::Findings, &json!("minute_quota"), 1));
}

#[test]
fn routes_refuse_what_makes_no_sense_and_check_tells_of_a_missing_key() {
    let service = Service::start(|_| stats(9));
    let home = home(&service, "");
    let daemon = Daemon::start(&home);
    let asked = |body: &Value| daemon.post("/api/v1/enrich", &body.to_string());
    assert_eq!(asked(&json!({ "value": "root" })).status, 400);
    assert_eq!(asked(&json!({ "value": "185.220.101.1", "with": ["nobody"] })).status, 404);
    assert_eq!(asked(&json!({})).status, 400);
    assert_eq!(asked(&json!({ "value": "185.220.101.1" })).json()["answers"][0]["verdict"], "malicious");
    assert!(!daemon.get("/api/v1/enrichers").text().contains(KEY));
    let none = Home::new();
    none.expect(Exit::Done, &["load", &home.path("logs").to_string_lossy()]);
    assert!(none.fails(&["enrich", "185.220.101.1"]).to_string().starts_with("no [[enricher]] is configured"));
    assert!(none.expect(Exit::Done, &["enrichers"]).starts_with("no enricher is configured"));
}

#[test]
fn a_reload_takes_lists_and_enrichers_over_and_forgets_no_quota() {
    let service = Service::start(|_| stats(9));
    let home = home(&service, "");
    let settings = |path: &Path| config::load(Some(path), None).unwrap();
    let desk_of = |state: State, settings: &Settings| Desk::new(Arc::new(state), settings, Telemetry::unlogged());
    let state = State::open(&home.path("other-state"), 1 << 20, 0).expect("opened").state;
    let old = settings(&home.config());
    let desk = desk_of(state, &old);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |desk: &Desk, value: &str| runtime.block_on(desk.ask(value, &Wanted::default())).unwrap().answers.remove(0);
    assert_eq!(ask(&desk, "185.220.101.1").from, From::Service);
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), format!("{text}[indicators]\nown = [\"185.220.101.0/24\"]\n[limits]\nenrichment_entries = 7\n")).unwrap();
    let new = old.reloaded(&settings(&home.config()));
    assert_eq!((new.limits.enrichment_entries, new.lists.own.len()), (7, 1));
    desk.configure(&new);
    assert_eq!(ask(&desk, "185.220.101.1").held, Some(Held::Withheld));
    assert_eq!(desk.rows()[0].requests, 1);
}
