//! The sinks that speak HTTP against real servers: what arrives, and what each fault of a receiver is taken for.
mod receivers;

use honeyguide::events::{EventId, Format, Micros, time};
use honeyguide::network::Network;
use honeyguide::sinks::elasticsearch::{Elasticsearch, ElasticsearchSettings};
use honeyguide::sinks::http::{Compression, Credentials, Http, HttpError, HttpSettings, Secret};
use honeyguide::sinks::webhook::{Webhook, WebhookSettings};
use honeyguide::sinks::{Answer, Batch, Item, Outcome, Sink, Verdict};
use receivers::{Fault, Faults};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const RECEIVED: Micros = 1_774_200_000_000_000;

fn batch_of(lines: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for (seq, line) in (1..).zip(lines) {
        let item = Item {
            seq,
            id: EventId::of_line(line.as_bytes()),
            time: RECEIVED,
            received_at: RECEIVED,
            source: Arc::from("pot \"1\""),
            format: Format::COWRIE,
            payload: 0..0,
        };
        batch.push(item, line.as_bytes());
    }
    batch
}

fn line(number: u32) -> String {
    format!(
        r#"{{"eventid":"cowrie.login.failed","username":"root","password":"p\"{number}","session":"s{number}","src_ip":"198.51.100.{}","timestamp":"2026-03-{:02}T00:00:{:02}.5Z"}}"#,
        number % 250,
        20 + number / 60 % 3,
        number % 60
    )
}

fn batch(events: u32) -> Batch {
    let lines: Vec<String> = (0..events).map(line).collect();
    batch_of(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn loopback() -> Vec<Network> {
    vec!["127.0.0.1".parse().expect("an address")]
}

fn settings(url: &str) -> HttpSettings {
    HttpSettings { allow_private: loopback(), ..HttpSettings::new(url.parse().expect("a URL")) }
}

fn webhook_of(http: HttpSettings) -> Webhook {
    Webhook::new(WebhookSettings { http, secret: Some(Secret::new(receivers::webhook::SECRET)) }).expect("made")
}

fn elasticsearch_of(http: HttpSettings) -> Elasticsearch {
    Elasticsearch::new(ElasticsearchSettings { http, prefix: "pots".into(), sender_days_max: Some(30) }).expect("made")
}

async fn deliver(sink: &dyn Sink, batch: &Batch, attempt: u32) -> Outcome {
    let request = sink.encode(batch).expect("encoded");
    sink.send(&request, attempt).await
}

fn retry(answer: &Answer) -> Option<(Option<Duration>, &str)> {
    match answer {
        Answer::Retry { after, why } => Some((*after, why)),
        _ => None,
    }
}

fn unusable(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Unusable { why } => Some(why),
        _ => None,
    }
}

/// The faults every receiver can have, and what they mean. What was wrong is put right again.
async fn every_fault_has_its_answer(sink: &dyn Sink, batch: &Batch, faults: &Faults) {
    for (status, expected) in [
        (408, "retry"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (501, "retry"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
        (401, "unusable"),
        (402, "unusable"),
        (403, "unusable"),
        (404, "unusable"),
        (405, "unusable"),
        (407, "unusable"),
        (410, "unusable"),
        (431, "unusable"),
        (304, "unusable"),
        (413, "too large"),
        (400, "refused"),
        (409, "refused"),
        (415, "refused"),
        (422, "refused"),
    ] {
        faults.set(Fault::Status(status));
        let Outcome { answer, status: seen } = deliver(sink, batch, 1).await;
        let (kind, why) = match &answer {
            Answer::Retry { after: None, why } => ("retry", why.as_str()),
            Answer::Unusable { why } => ("unusable", why.as_str()),
            Answer::TooLarge { why } => ("too large", why.as_str()),
            Answer::Refused { why } => ("refused", why.as_str()),
            _ => ("", ""),
        };
        assert_eq!((kind, seen), (expected, Some(status)), "{answer:?}");
        assert!(why.starts_with(&format!("status {status}")), "{why}");
    }
    for (value, seconds) in
        [("7", Some(7)), ("99999999999999999999", Some(3600)), ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)), ("soon", None)]
    {
        faults.set(Fault::RetryAfter(429, value.into()));
        let outcome = deliver(sink, batch, 1).await;
        assert_eq!(retry(&outcome.answer).map(|(after, _)| after), Some(seconds.map(Duration::from_secs)), "{value}");
    }
    for (status, to, expected) in [
        (301, "/elsewhere", "status 301: only 307 and 308 keep the request: set url to http://127.0.0.1"),
        (302, "https://receiver.example/?token=1", "set url to https://receiver.example/?…"),
        (303, "/elsewhere", "only 307 and 308"),
        (307, "/again", "more than 3 redirects"),
        (307, "http://169.254.169.254/latest/meta-data/", "169.254.169.254 is the address of a cloud's metadata service"),
        (308, "http://10.0.0.1/", "10.0.0.1 is private"),
        (308, "http://[::ffff:192.168.0.1]/", "192.168.0.1 is private"),
        (308, "http://0x7f.2:80/", "127.0.0.2 is loopback"),
        (307, "http://user:secret@127.0.0.1/", "must not hold a user or a password"),
        (307, "file:///etc/passwd", "must begin with http:// or https://"),
        (307, "http://", "its Location is no URL"),
    ] {
        faults.set(Fault::Redirect(status, to.into()));
        let outcome = deliver(sink, batch, 1).await;
        let why = unusable(&outcome.answer).unwrap_or_else(|| panic!("{to}: {outcome:?}"));
        assert!(why.contains(expected), "{to}: {why}");
    }
    faults.set(Fault::DieMidBody);
    let outcome = deliver(sink, batch, 1).await;
    assert!(retry(&outcome.answer).is_some_and(|(_, why)| why.starts_with("the answer broke off from 127.0.0.1:")), "{outcome:?}");
    faults.set(Fault::None);
    assert_eq!(deliver(sink, batch, 2).await.answer, Answer::Delivered);
}

#[tokio::test]
async fn webhook_delivers_each_event_signed_in_every_encoding() {
    let receiver = receivers::webhook::start();
    receiver.keep_lines();
    let batch = batch(500);
    for (attempt, compression) in (1..).zip([Compression::None, Compression::Gzip, Compression::Zstd]) {
        let sink = webhook_of(HttpSettings { compression, ..settings(&receiver.url()) });
        let outcome = deliver(&sink, &batch, attempt).await;
        assert_eq!((outcome.answer, outcome.status), (Answer::Delivered, Some(202)));
    }
    assert_eq!(receiver.problems(), Vec::<String>::new());
    let batches = receiver.batches();
    let ids: Vec<String> = batch.items.iter().map(|item| item.id.to_string()).collect();
    let key = batch.id().to_string();
    for (attempt, (taken, encoding)) in (1..).zip(batches.iter().zip([None, Some("gzip"), Some("zstd")])) {
        assert_eq!((&taken.key, &taken.correlation, taken.encoding.as_deref()), (&key, &format!("{key}-{attempt}"), encoding));
        assert_eq!(taken.events, ids);
    }
    assert_eq!(batches.len(), 3);
    assert_eq!(receiver.events().len(), 500);
    assert!(receiver.events().values().all(|&times| times == 3));
    let lines = receiver.lines();
    assert!(batch.items.iter().all(|item| lines[&item.id.to_string()].as_bytes() == batch.payload(item)));
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    // The test above, in a process with proxies that nobody serves.
    let proxy = "http://127.0.0.1:9";
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "webhook_delivers_each_event_signed_in_every_encoding"])
        .envs(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, proxy)))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn webhook_signature_is_what_another_implementation_computes() {
    let receiver = receivers::webhook::start();
    let sink = webhook_of(settings(&receiver.url()));
    // Small bodies are signed in place, large ones are not.
    for events in [1, 2000] {
        assert_eq!(deliver(&sink, &batch(events), 1).await.answer, Answer::Delivered);
        let request = receiver.last();
        let signature = &request.headers["x-honeyguide-signature"];
        let (time, v1) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("t and v1");
        let script =
            "import hmac,sys;print(hmac.new(sys.argv[1].encode(),sys.argv[2].encode()+b'.'+sys.stdin.buffer.read(),'sha256').hexdigest())";
        let spawned = Command::new("python3")
            .args(["-c", script, receivers::webhook::SECRET, time])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut python) = spawned else {
            println!("SKIPPED: webhook_signature_is_what_another_implementation_computes: python3 is not installed");
            return;
        };
        python.stdin.take().expect("piped").write_all(&request.body).expect("written");
        let output = python.wait_with_output().expect("ended");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), v1);
        let now = time.parse().expect("seconds");
        let mut changed = request.body.clone();
        changed[10] ^= 1;
        assert!(receivers::webhook::verify(signature, receivers::webhook::SECRET, &changed, now).is_err());
        assert!(receivers::webhook::verify(signature, "another key", &request.body, now).is_err());
        assert!(receivers::webhook::verify(signature, receivers::webhook::SECRET, &request.body, now + 301).is_err());
    }
}

#[tokio::test]
async fn webhook_takes_every_fault_for_what_it_is() {
    let receiver = receivers::webhook::start();
    let sink = webhook_of(settings(&receiver.url()));
    every_fault_has_its_answer(&sink, &batch(3), receiver.faults()).await;
    assert_eq!(receiver.problems(), Vec::<String>::new());
    let all = receiver.batches();
    assert!(all.windows(2).all(|pair| pair[0].key == pair[1].key), "repetitions have the same key");
    receiver.faults().poison(Some("\"session\":\"s1\""));
    let outcome = deliver(&sink, &batch(3), 1).await;
    assert_eq!(outcome.answer, Answer::Refused { why: "status 400: an event is poison".into() });
    assert_eq!(deliver(&sink, &batch(1), 1).await.answer, Answer::Delivered);
}

#[tokio::test]
async fn an_absent_or_slow_receiver_means_retry_and_back_again_it_delivers() {
    let receiver = receivers::webhook::start();
    let sink = webhook_of(HttpSettings { timeout: Duration::from_millis(300), ..settings(&receiver.url()) });
    assert_eq!(deliver(&sink, &batch(1), 1).await.answer, Answer::Delivered);
    receiver.server.absent();
    // A connection of before may be found closed; a new one is refused.
    let patient = webhook_of(settings(&receiver.url()));
    let outcome = deliver(&patient, &batch(1), 1).await;
    assert_eq!(outcome.status, None);
    let (_, why) = retry(&outcome.answer).unwrap_or_else(|| panic!("{outcome:?}"));
    assert!(why.starts_with("cannot connect to 127.0.0.1:") && why.contains("refused"), "{why}");
    receiver.server.present();
    assert_eq!(deliver(&patient, &batch(1), 2).await.answer, Answer::Delivered);
    receiver.faults().set(Fault::Slow(Duration::from_secs(3600)));
    let outcome = deliver(&sink, &batch(1), 3).await;
    assert_eq!(outcome.answer, Answer::Retry { after: None, why: "no answer within 0.3 s".into() });
}

#[tokio::test]
async fn redirects_are_followed_and_other_origins_get_no_credentials() {
    let (first, second) = (receivers::webhook::start(), receivers::webhook::start());
    let http = HttpSettings {
        credentials: Some(Credentials::Bearer(Secret::new("the-token"))),
        headers: vec![("x-site".into(), "alpha".into())],
        ..settings(&first.url())
    };
    let sink = webhook_of(http);
    first.faults().set_times(Fault::Redirect(308, "/in/here".into()), 3);
    assert_eq!(deliver(&sink, &batch(1), 1).await.answer, Answer::Delivered);
    let headers = first.last().headers;
    assert_eq!((headers["authorization"].as_str(), headers["x-site"].as_str()), ("Bearer the-token", "alpha"));
    first.faults().set_times(Fault::Redirect(307, second.url()), 1);
    assert_eq!(deliver(&sink, &batch(1), 1).await.answer, Answer::Delivered);
    let headers = second.last().headers;
    assert!(headers.contains_key("x-honeyguide-signature"));
    assert!(!headers.contains_key("authorization") && !headers.contains_key("x-site"), "{headers:?}");
    // Not even when the other sends it back.
    first.faults().set_times(Fault::Redirect(307, second.url()), 1);
    second.faults().set_times(Fault::Redirect(307, first.url()), 1);
    assert_eq!(deliver(&sink, &batch(1), 1).await.answer, Answer::Delivered);
    assert!(!first.last().headers.contains_key("authorization"));
    assert_eq!((first.problems(), second.problems()), (vec![], vec![]));
}

#[tokio::test]
async fn private_addresses_are_not_connected_to_however_they_are_named() {
    let receiver = receivers::webhook::start();
    let http = HttpSettings::new(format!("http://localhost:{}/", receiver.port()).parse().expect("a URL"));
    let sink = webhook_of(http);
    let outcome = deliver(&sink, &batch(1), 1).await;
    let why = unusable(&outcome.answer).unwrap_or_else(|| panic!("{outcome:?}"));
    assert!(why.starts_with("the name localhost leads to ") && why.contains("which is loopback"), "{why}");
    assert_eq!((outcome.status, receiver.faults().requests()), (None, 0));
    for url in ["http://127.0.0.1:1/", "http://2130706433/", "http://[::ffff:a9fe:a9fe]/", "http://user:secret@receiver.example/"] {
        let error = Http::new(HttpSettings::new(url.parse().expect("a URL"))).expect_err(url);
        assert!(matches!(error, HttpError::Url { .. }) && !error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn nothing_secret_and_nothing_that_steers_terminals_is_told() {
    let mut http = settings("https://receiver.example/in?token=query-secret&k=v2-secret");
    http.headers = vec![("x-key".into(), "header-secret".into())];
    http.credentials = Some(Credentials::Basic { user: "user".into(), password: Secret::new("pass-secret") });
    assert!(!format!("{http:?}").contains("secret"));
    let http = Http::new(http).expect("made");
    assert!(!format!("{http:?}").contains("secret"));
    // Of user and password, in base64.
    let basic = "dXNlcjpwYXNzLXNlY3JldA==";
    let body = format!("\x1b[2Jno: pass-secret, {basic}, header-secret,\n query-secret v2-secret \u{202e}{}", "x".repeat(10_000));
    let shown = http.excerpt(body.as_bytes());
    assert!(!shown.contains("secret") && !shown.contains(basic) && shown.len() <= 160, "{shown}");
    assert!(shown.starts_with("\\u{1b}[2Jno: …, …, …, … … \\u{202e}xxx"), "{shown}");
    assert_eq!(http.excerpt(&[0xff, b'a', 0]), "\u{fffd}a\\u{0}");
    for bad in ["line\nbreak", "nul\0"] {
        let credentials = Some(Credentials::Bearer(Secret::new(bad)));
        let error = Http::new(HttpSettings { credentials, ..settings("https://receiver.example/") }).expect_err(bad);
        assert!(matches!(error, HttpError::Credential), "{error}");
    }
    let missing = HttpSettings { ca_file: Some("/nonexistent/ca.pem".into()), ..settings("https://receiver.example/") };
    assert!(matches!(Http::new(missing), Err(HttpError::CaRead { .. })));
}

#[tokio::test]
async fn a_probe_delivers_nothing_and_says_what_a_delivery_would_meet() {
    let receiver = receivers::webhook::start();
    let sink = webhook_of(settings(&receiver.url()));
    assert_eq!(sink.probe().await.answer, Answer::Delivered);
    assert_eq!((receiver.count(), receiver.problems()), (0, vec![]));
    let double = receivers::elasticsearch::start();
    let sink = elasticsearch_of(settings(&double.url()));
    assert_eq!(sink.probe().await.answer, Answer::Delivered);
    double.require_authorization(Some("ApiKey k"));
    let outcome = sink.probe().await;
    assert!(unusable(&outcome.answer).is_some_and(|why| why.contains("unable to authenticate")), "{outcome:?}");
    assert_eq!(double.count(), 0);
}

#[tokio::test]
async fn elasticsearch_gets_each_event_once_in_the_index_of_its_own_day() {
    let double = receivers::elasticsearch::start();
    let sink = elasticsearch_of(HttpSettings { compression: Compression::Gzip, ..settings(&double.url()) });
    let batch = batch(200);
    for attempt in 1..=2 {
        let outcome = deliver(&sink, &batch, attempt).await;
        assert_eq!((outcome.answer, outcome.status), (Answer::Delivered, Some(200)), "conflicts are deliveries, too");
    }
    assert_eq!(double.templates(), ["pots"]);
    assert_eq!(double.encodings(), ["gzip", "gzip"]);
    let documents = double.documents();
    assert_eq!(documents.len(), 200);
    let item = &batch.items[61];
    let document = documents.iter().find(|document| document.id == item.id.to_string()).expect("delivered");
    assert_eq!(document.index, "pots-2026.03.21");
    let expected = serde_json::json!({
        "@timestamp": "2026-03-21T00:00:01.500000Z",
        "event": { "original": line(61) },
        "honeyguide": { "sequence": 62, "source": "pot \"1\"", "format": "cowrie", "received_at": time::format(RECEIVED) },
        "terms": {
            "eventid": ["cowrie.login.failed"], "session": ["s61"], "src_ip": ["198.51.100.61"], "username": ["root"], "password": ["p\"61"],
        },
    });
    assert_eq!(document.source, expected);
    let mappings = double.mappings("pots-2026.03.21").expect("made by the template");
    assert_eq!(mappings["dynamic"], serde_json::json!(false));
    for field in honeyguide::events::Field::ALL.iter().filter(|field| !field.is_joined()) {
        assert_eq!(mappings["properties"]["terms"]["properties"][field.name()]["type"], "keyword", "{}", field.name());
    }
    assert_eq!(mappings["properties"]["terms"]["properties"]["src_ip"]["fields"]["ip"]["type"], "ip");
}

#[tokio::test]
async fn those_who_send_messages_choose_no_indexes_and_old_logs_have_their_days() {
    let double = receivers::elasticsearch::start();
    let day = |days: i64| time::format(RECEIVED - days * 24 * 3600 * 1_000_000);
    let message =
        |days: i64| format!(r#"{{"sessionId":"s","message":{{"sender":"scammer","text":"day {days}","timestamp":"{}"}}}}"#, day(days));
    let chat = |days: std::ops::Range<i64>| {
        let lines: Vec<String> = days.map(message).collect();
        let mut batch = batch_of(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        batch.items.iter_mut().for_each(|item| item.format = Format::CHAT);
        batch
    };
    let sink = elasticsearch_of(settings(&double.url()));
    assert_eq!(deliver(&sink, &chat(0..9000), 1).await.answer, Answer::Delivered);
    let indexes = || double.documents().into_iter().map(|document| document.index).collect::<std::collections::BTreeSet<_>>();
    assert_eq!((double.count(), indexes().len()), (9000, 31), "of {:?}", indexes());
    let documents = double.documents();
    let old = documents.iter().find(|document| document.source["@timestamp"] == day(8000)).expect("its time is its own");
    assert_eq!(old.index, "pots-2026.03.22");
    assert!(indexes().contains("pots-2026.02.20"), "30 days are believed");
    // A sensor's clock is nobody else's.
    let old_log: Vec<String> = (100..200).map(|days| format!(r#"{{"eventid":"x","timestamp":"{}"}}"#, day(days))).collect();
    let old_log = batch_of(&old_log.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(deliver(&sink, &old_log, 1).await.answer, Answer::Delivered);
    assert_eq!(indexes().len(), 131);
    let http = settings(&double.url());
    let trusting = Elasticsearch::new(ElasticsearchSettings { http, prefix: "pots".into(), sender_days_max: None }).expect("made");
    assert_eq!(deliver(&trusting, &chat(9000..9001), 1).await.answer, Answer::Delivered);
    assert_eq!(indexes().len(), 132, "when the operator says so");
}

#[tokio::test]
async fn elasticsearch_accepts_drifting_types_and_hostile_lines() {
    let double = receivers::elasticsearch::start();
    let sink = elasticsearch_of(settings(&double.url()));
    let long = format!(r#"{{"eventid":"cowrie.command.input","input":"{}"}}"#, "A".repeat(100_000));
    let lines = [
        r#"{"eventid":"cowrie.session.connect","src_ip":"198.51.100.1","dst_port":22,"timestamp":"2026-03-22T00:10:42.831494Z"}"#,
        r#"{"eventid":"cowrie.session.connect","src_ip":"no address","dst_port":"twenty-two","timestamp":"yesterday"}"#,
        r#"{"eventid":{"a":1},"src_ip":[1,2],"dst_port":{"x":null},"timestamp":17}"#,
        r#"{"eventid":["a",{"b":2}],"input":"\ud800 \u0000 \" \\ é","username":null,"session":7}"#,
        r#"{}"#,
        r#"{"eventid":"x","timestamp":"0001-01-01T00:00:00Z"}"#,
        r#"{"eventid":"x","timestamp":"9999-01-01T00:00:00Z"}"#,
        &long,
    ];
    let mut batch = batch_of(&lines);
    batch.push(Item { id: EventId([7; 16]), ..batch.items[0].clone() }, b"{\"eventid\":\"x\",\"input\":\"\xff\xfe\"}");
    batch.push(Item { id: EventId([8; 16]), ..batch.items[0].clone() }, b"no JSON at all");
    assert_eq!(deliver(&sink, &batch, 1).await.answer, Answer::Delivered);
    assert_eq!(double.count(), lines.len() + 2);
    // What is believed to be wrong is filed by the time it was received.
    let indexes: std::collections::BTreeSet<String> = double.documents().into_iter().map(|document| document.index).collect();
    assert_eq!(indexes.into_iter().collect::<Vec<_>>(), ["pots-2026.03.22"]);
    let hook = receivers::webhook::start();
    batch.items.pop();
    assert_eq!(deliver(&webhook_of(settings(&hook.url())), &batch, 1).await.answer, Answer::Delivered);
    assert_eq!((hook.count(), hook.problems()), (lines.len() + 1, vec![]));
}

#[tokio::test]
async fn elasticsearch_takes_every_fault_for_what_it_is() {
    let double = receivers::elasticsearch::start();
    let sink = elasticsearch_of(settings(&double.url()));
    // The template first: what it meets is never the items'.
    double.faults().set(Fault::Status(400));
    let outcome = deliver(&sink, &batch(3), 1).await;
    assert!(unusable(&outcome.answer).is_some_and(|why| why.starts_with("the index template was refused: status 400")), "{outcome:?}");
    double.faults().set(Fault::Status(503));
    assert!(retry(&deliver(&sink, &batch(3), 1).await.answer).is_some());
    double.faults().set(Fault::None);
    assert_eq!(deliver(&sink, &batch(3), 1).await.answer, Answer::Delivered);
    let before = double.faults().requests();
    assert_eq!(deliver(&sink, &batch(3), 1).await.answer, Answer::Delivered);
    assert_eq!(double.faults().requests(), before + 1, "the template is put once");
    every_fault_has_its_answer(&sink, &batch(3), double.faults()).await;
    let before = double.faults().requests();
    double.server.absent();
    let outcome = deliver(&sink, &batch(3), 1).await;
    assert!(retry(&outcome.answer).is_some(), "{outcome:?}");
    double.server.present();
    assert_eq!(deliver(&sink, &batch(3), 2).await.answer, Answer::Delivered);
    assert_eq!(double.faults().requests(), before + 2, "another server may have come back: the template is put again");
    let fine = r#"{"create":{"status":201}}"#;
    for (body, expected) in [
        ("<html>a proxy's page</html>", "the answer is none to a bulk request: status 200: <html>a proxy's page</html>"),
        ("", "the answer is none to a bulk request: status 200"),
        (r#"{"errors":false,"items":[]}"#, "the answer is about 0 items instead of 3"),
        (&format!("{{\"items\":[{fine},{fine},{fine},{fine}]}}"), "the answer is about 4 items instead of 3"),
        (r#"{"items":[{"update":{"status":201}}]}"#, "the answer is none to a bulk request"),
    ] {
        double.faults().set(Fault::Body(body.into()));
        let outcome = deliver(&sink, &batch(3), 1).await;
        assert!(retry(&outcome.answer).is_some_and(|(_, why)| why.starts_with(expected)), "{outcome:?}");
    }
}

#[tokio::test]
async fn elasticsearch_says_what_became_of_each_item() {
    let double = receivers::elasticsearch::start();
    let sink = elasticsearch_of(settings(&double.url()));
    double.faults().set(Fault::Partial { every: 2, status: 429 });
    // The template is put by the first.
    let outcome = deliver(&sink, &batch(3), 1).await;
    let Answer::Items(verdicts) = outcome.answer else { panic!("{outcome:?}") };
    let [Verdict::Retry { status: Some(429), why }, Verdict::Delivered, Verdict::Retry { .. }] = &verdicts[..] else {
        panic!("{verdicts:?}")
    };
    assert!(why.starts_with("status 429: "), "{why}");
    double.faults().set(Fault::None);
    double.faults().poison(Some("\"session\":[\"s2\"]"));
    let refused = Verdict::Refused("status 400: document_parsing_exception poison".into());
    let outcome = deliver(&sink, &batch(4), 1).await;
    assert_eq!(outcome.answer, Answer::Items(vec![Verdict::Delivered, Verdict::Delivered, refused, Verdict::Delivered]));
    double.faults().poison(None);
    let item = |status: u16, kind: &str, reason: &str| {
        format!(r#"{{"create":{{"status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}}}"#)
    };
    let fine = r#"{"create":{"status":201}}"#.to_owned();
    let forbidden = item(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];");
    let shards = item(
        400,
        "validation_exception",
        "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open;",
    );
    let no_index = item(404, "index_not_found_exception", "no such index [x] and [action.auto_create_index] is [false]");
    let again = |status: u16, why: &str| Verdict::Retry { status: Some(status), why: format!("status {status}{why}") };
    let blocked = again(403, ": cluster_block_exception index [x] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];");
    let cases = [
        (vec![fine.clone(), item(500, "x", "y")], Answer::Items(vec![Verdict::Delivered, again(500, ": x y")])),
        (vec![item(409, "version_conflict_engine_exception", ""), fine.clone()], Answer::Delivered),
        (
            vec![item(404, "document_missing_exception", "z"), r#"{"create":{"status":400,"error":"old text"}}"#.into()],
            Answer::Items(vec![
                Verdict::Refused("status 404: document_missing_exception z".into()),
                Verdict::Refused("status 400: old text".into()),
            ]),
        ),
        (vec![fine.clone(), forbidden.clone()], Answer::Items(vec![Verdict::Delivered, blocked])),
        (vec![fine, r#"{"create":{"status":0}}"#.into()], Answer::Items(vec![Verdict::Delivered, again(0, "")])),
    ];
    for (items, expected) in cases {
        double.faults().set(Fault::Body(format!("{{\"took\":3,\"errors\":true,\"items\":[{}]}}", items.join(","))));
        assert_eq!(deliver(&sink, &batch(2), 1).await.answer, expected);
    }
    for stuck in [forbidden, shards, no_index] {
        double.faults().set(Fault::Body(format!("{{\"items\":[{stuck},{stuck}]}}")));
        let outcome = deliver(&sink, &batch(2), 1).await;
        assert!(unusable(&outcome.answer).is_some(), "the receiver's state costs no item: {outcome:?}");
    }
}

#[tokio::test]
async fn elasticsearch_gets_each_kind_of_credential_below_any_path() {
    let secret = || Secret::new("k3y");
    for (credentials, expected) in [
        (Credentials::Bearer(secret()), "Bearer k3y"),
        (Credentials::ApiKey(secret()), "ApiKey k3y"),
        (Credentials::Basic { user: "honey".into(), password: secret() }, "Basic aG9uZXk6azN5"),
    ] {
        let double = receivers::elasticsearch::start();
        double.require_authorization(Some(expected));
        let sink = elasticsearch_of(HttpSettings { credentials: Some(credentials), ..settings(&double.url()) });
        assert_eq!(deliver(&sink, &batch(1), 1).await.answer, Answer::Delivered);
        let outcome = deliver(&elasticsearch_of(settings(&double.url())), &batch(1), 1).await;
        assert!(unusable(&outcome.answer).is_some_and(|why| why.starts_with("status 401")), "{outcome:?}");
    }
    let of = |url: &str, compression| {
        let http = HttpSettings { compression, ..settings(url) };
        Elasticsearch::new(ElasticsearchSettings { http, prefix: "p".into(), sender_days_max: None })
    };
    assert!(matches!(of("http://es.example/?pretty", Compression::None), Err(HttpError::Base { .. })));
    assert!(matches!(of("http://es.example/", Compression::Zstd), Err(HttpError::Encoding)));
    let double = receivers::elasticsearch::start();
    let sink = elasticsearch_of(settings(&format!("{}/below/a/proxy", double.url())));
    let outcome = deliver(&sink, &batch(1), 1).await;
    assert!(unusable(&outcome.answer).is_some_and(|why| why.contains("/below/a/proxy/_index_template/pots")), "{outcome:?}");
}

#[tokio::test]
async fn certificates_of_ones_own_are_trusted_when_they_are_given_and_not_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name);
    let (authority, key, certificate) = (file("ca.pem"), file("key.pem"), file("cert.pem"));
    let openssl = |words: &str| {
        let words = words.split(' ').map(str::to_owned);
        Command::new("openssl").args(words).current_dir(dir.path()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let server = "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca-key.pem";
    if !openssl(&format!("{new} -subj /CN=authority -keyout ca-key.pem -out ca.pem"))
        || !openssl(&format!("{new} -subj /CN=server {server} -keyout key.pem -out cert.pem"))
    {
        println!("SKIPPED: certificates_of_ones_own_are_trusted_when_they_are_given_and_not_else: needs openssl 3");
        return;
    }
    let mut server = Command::new("openssl")
        .args(["s_server", "-www", "-accept", "127.0.0.1:0", "-key"])
        .args([key.as_os_str(), "-cert".as_ref(), certificate.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is there");
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let port = lines.find_map(|line| line.ok()?.strip_prefix("ACCEPT 127.0.0.1:")?.trim().parse::<u16>().ok()).expect("it says its port");
    let url = format!("https://127.0.0.1:{port}");
    let trusting = elasticsearch_of(HttpSettings { ca_file: Some(authority), ..settings(&url) });
    let trusted = trusting.probe().await;
    let distrusted = elasticsearch_of(settings(&url)).probe().await;
    server.kill().expect("killed");
    server.wait().expect("ended");
    assert_eq!(trusted.answer, Answer::Delivered);
    let (_, why) = retry(&distrusted.answer).unwrap_or_else(|| panic!("{distrusted:?}"));
    assert!(why.contains("certificate"), "{why}");
    let no_certificate = HttpSettings { ca_file: Some(key), ..settings(&url) };
    assert!(matches!(Http::new(no_certificate), Err(HttpError::CaParse { .. })));
}
