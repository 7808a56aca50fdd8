//! The model hook against a real server, over TCP and over a Unix socket: what it is asked, and that the rules stand wherever its answer
//! cannot be used.
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use honeyguide::events::chat::Message;
use honeyguide::extract::model::{Model, ModelEndpoint, ModelError, ModelSettings, Scored, Talk};
use honeyguide::extract::scam::assess;
use honeyguide::sinks::http::HttpSettings;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const SCAM: &str = "URGENT: your SBI account will be blocked. Share your OTP and pay Rs 500 to refund@ybl now";

/// What the server makes of a question; `None`: it never answers.
type Answering = Box<dyn Fn(&Value) -> Option<(u16, Vec<u8>)> + Send>;

struct State {
    answering: Mutex<Answering>,
    asked: Mutex<Vec<Value>>,
}

/// A scorer that listens on a port and on a socket.
struct Scorer {
    state: Arc<State>,
    port: u16,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

async fn score(body: Bytes, state: Data<State>) -> HttpResponse {
    let question = serde_json::from_slice(&body).expect("a question is JSON");
    let answer = state.answering.lock().unwrap()(&question);
    state.asked.lock().unwrap().push(question);
    match answer {
        Some((status @ 300..=399, to)) => {
            let to = String::from_utf8(to).unwrap();
            HttpResponse::build(status.try_into().unwrap()).insert_header(("location", to)).finish()
        }
        Some((status, body)) => HttpResponse::build(status.try_into().unwrap()).content_type("application/json").body(body),
        None => std::future::pending().await,
    }
}

impl Scorer {
    fn start() -> Scorer {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("scorer.sock");
        let (tcp, uds) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&socket).unwrap());
        let port = tcp.local_addr().unwrap().port();
        let answering: Answering = Box::new(|_| None);
        let data = Data::new(State { answering: Mutex::new(answering), asked: Mutex::default() });
        let state = data.clone().into_inner();
        let (started, ready) = mpsc::channel();
        // It ends with the process.
        std::thread::spawn(move || {
            let app = move || App::new().app_data(data.clone()).route("/score", web::post().to(score));
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(app).workers(1).disable_signals();
                let server = server.listen(tcp).unwrap().listen_uds(uds).unwrap().run();
                started.send(()).unwrap();
                server.await.unwrap();
            });
        });
        ready.recv().unwrap();
        Scorer { state, port, socket, _dir: dir }
    }

    fn endpoints(&self) -> [ModelEndpoint; 2] {
        let url = format!("http://127.0.0.1:{}/score", self.port).parse().unwrap();
        let allow_private = vec!["127.0.0.1".parse().unwrap()];
        [ModelEndpoint::Http(Box::new(HttpSettings { allow_private, ..HttpSettings::new(url) })), ModelEndpoint::Unix(self.socket.clone())]
    }

    fn answers(&self, answering: impl Fn(&Value) -> Option<(u16, Vec<u8>)> + Send + 'static) {
        *self.state.answering.lock().unwrap() = Box::new(answering);
    }

    /// The questions since this was asked last.
    fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.state.asked.lock().unwrap())
    }
}

fn talk(session: &str) -> Vec<Message> {
    let message = |sender: &str, text: &str, time| Message {
        session: session.into(),
        sender: sender.into(),
        text: text.into(),
        time,
        channel: Some("SMS".into()),
        ..Message::default()
    };
    vec![message("scammer", SCAM, Some(1_769_000_000_000_000)), message("user", "Who is this?", None)]
}

fn scored(endpoint: ModelEndpoint, timeout: Duration, batch: usize, sessions: &[&str]) -> Scored {
    let talks: Vec<_> = sessions.iter().map(|session| talk(session)).collect();
    let talks: Vec<_> = sessions.iter().zip(&talks).map(|(session, messages)| Talk { session, messages }).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scored = runtime.block_on(Model::new(ModelSettings { endpoint, timeout, batch }).unwrap().score(&talks));
    assert_eq!(scored.assessments.len(), sessions.len());
    scored
}

const PATIENT: Duration = Duration::from_secs(30);

/// A score for every talk asked about.
fn all(question: &Value, score: impl Fn(&str) -> Value) -> Value {
    let scores = question["sessions"].as_array().unwrap().iter().map(|session| score(session["session"].as_str().unwrap()));
    json!({"version": 1, "model": "m-1", "scores": scores.collect::<Vec<_>>()})
}

fn ok(answer: Value) -> Option<(u16, Vec<u8>)> {
    Some((200, answer.to_string().into_bytes()))
}

#[test]
fn the_model_is_asked_in_batches_and_its_scores_are_marked_as_its_own() {
    let scorer = Scorer::start();
    scorer.answers(|question| {
        ok(all(question, |session| {
            let reasons = json!([{"rule": "tone", "weight": 12.6, "evidence": "a\u{1b}[31m\u{202e}b"}, {"rule": "other"}]);
            json!({"session": session, "score": 3.4, "kind": "honest<b>", "reasons": reasons, "more": [1]})
        }))
    });
    for endpoint in scorer.endpoints() {
        let scored = scored(endpoint, PATIENT, 2, &["a", "b", "c", "d", "e"]);
        assert_eq!(scored.fallback, None);
        let rules = assess(&talk("a"));
        for assessment in &scored.assessments {
            assert_eq!((assessment.score, assessment.confirmed(), assessment.scored_by.as_str()), (3, false, "model:m-1"));
            assert_eq!(assessment.kind.as_deref(), Some("honestb"));
            assert_eq!((&assessment.indicators, &assessment.keywords), (&rules.indicators, &rules.keywords), "the extractors' own");
            let [tone, _] = &assessment.reasons[..] else { panic!("{:?}", assessment.reasons) };
            assert_eq!((tone.rule.as_ref(), tone.weight), ("tone", 12));
            assert!(!tone.evidence.contains(['\u{1b}', '\u{202e}']), "{:?}", tone.evidence);
        }
        let asked = scorer.asked();
        assert_eq!(asked.iter().map(|question| question["sessions"].as_array().unwrap().len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(asked[0]["version"], 1);
        let messages =
            json!([{"sender": "scammer", "text": SCAM, "time": "2026-01-21T12:53:20.000000Z"}, {"sender": "user", "text": "Who is this?"}]);
        assert_eq!(asked[0]["sessions"][0], json!({"session": "a", "channel": "SMS", "messages": messages}));
    }
}

#[test]
fn the_rules_stand_where_an_answer_cannot_be_used() {
    let scorer = Scorer::start();
    let good = |session: &str| json!({"session": session, "score": 5});
    let cases: Vec<(&str, Answering)> = vec![
        ("500", Box::new(move |question| Some((500, all(question, good).to_string().into_bytes())))),
        ("201", Box::new(move |question| Some((201, all(question, good).to_string().into_bytes())))),
        ("redirect", Box::new(|_| Some((307, b"http://169.254.169.254/score".to_vec())))),
        ("nothing", Box::new(|_| Some((200, Vec::new())))),
        ("garbage", Box::new(|_| Some((200, b"\x00\xff<html>".to_vec())))),
        ("a list", Box::new(|_| ok(json!([])))),
        ("no model", Box::new(|_| ok(json!({"scores": [{"session": "a", "score": 5}, {"session": "b", "score": 5}]})))),
        ("a nameless model", Box::new(|_| ok(json!({"model": "\u{1b}", "scores": [{"session": "a", "score": 5}]})))),
        ("version 2", Box::new(|_| ok(json!({"version": 2, "model": "m", "scores": [{"session": "a", "score": 5}]})))),
        ("no scores", Box::new(|_| ok(json!({"model": "m", "scores": []})))),
        ("others' scores", Box::new(|_| ok(json!({"model": "m", "scores": [{"session": "A", "score": 5}, {"session": "", "score": 5}]})))),
        ("not a number", Box::new(|_| Some((200, br#"{"model":"m","scores":[{"session":"a","score":NaN}]}"#.to_vec())))),
        ("infinite", Box::new(|_| Some((200, br#"{"model":"m","scores":[{"session":"a","score":1e999}]}"#.to_vec())))),
        ("negative", Box::new(|question| ok(all(question, |session| json!({"session": session, "score": -0.1}))))),
        ("too high", Box::new(|question| ok(all(question, |session| json!({"session": session, "score": 100.1}))))),
        ("a text", Box::new(|question| ok(all(question, |session| json!({"session": session, "score": "90"}))))),
        ("null", Box::new(|question| ok(all(question, |session| json!({"session": session, "score": null}))))),
        ("too long", Box::new(move |question| Some((200, [all(question, good).to_string().into_bytes(), vec![b' '; 1 << 20]].concat())))),
        ("deep", Box::new(|_| Some((200, vec![b'['; 10_000])))),
    ];
    for (name, answering) in cases {
        scorer.answers(answering);
        for endpoint in scorer.endpoints() {
            let scored = scored(endpoint, PATIENT, 16, &["a", "b"]);
            let why = scored.fallback.unwrap_or_else(|| panic!("{name}: no reason")).to_string();
            assert!(why.len() < 500 && !why.contains(char::is_control), "{name}: {why}");
            for (assessment, session) in scored.assessments.iter().zip(["a", "b"]) {
                assert_eq!(*assessment, assess(&talk(session)), "{name}");
                assert_eq!(assessment.scored_by, "rules");
            }
        }
    }
}

#[test]
fn a_talk_that_is_left_out_or_scored_twice_is_the_rules_and_the_others_are_the_models() {
    let scorer = Scorer::start();
    scorer.answers(|_| {
        let scores = json!([{"session": "twice", "score": 1}, {"session": "fine", "score": 77}, {"session": "twice", "score": 99}]);
        ok(json!({"model": "m", "scores": scores}))
    });
    for endpoint in scorer.endpoints() {
        let scored = scored(endpoint, PATIENT, 16, &["fine", "twice", "absent"]);
        assert_eq!(scored.fallback, Some(ModelError::Missing(2)));
        let by: Vec<_> = scored.assessments.iter().map(|assessment| assessment.scored_by.as_str()).collect();
        assert_eq!((by, scored.assessments[0].score), (vec!["model:m", "rules", "rules"], 77));
    }
}

#[test]
fn a_model_that_does_not_answer_in_time_or_is_not_there_leaves_the_rules() {
    let scorer = Scorer::start();
    for endpoint in scorer.endpoints() {
        let scored = scored(endpoint, Duration::from_millis(100), 16, &["a"]);
        assert_eq!(scored.assessments, [assess(&talk("a"))]);
        assert!(matches!(scored.fallback, Some(ModelError::Timeout(_))), "{:?}", scored.fallback);
        assert_eq!(scorer.asked().len(), 1);
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let allow_private = vec!["127.0.0.1".parse().unwrap()];
    let nobody = HttpSettings { allow_private, ..HttpSettings::new(format!("http://{free}/").parse().unwrap()) };
    for endpoint in [ModelEndpoint::Http(Box::new(nobody)), ModelEndpoint::Unix(scorer.socket.with_extension("none"))] {
        let scored = scored(endpoint, PATIENT, 16, &["a"]);
        assert_eq!(scored.assessments[0].scored_by, "rules");
        assert!(matches!(scored.fallback, Some(ModelError::Trouble(_))), "{:?}", scored.fallback);
    }
}

#[test]
fn a_models_private_address_has_to_be_listed() {
    let endpoint = ModelEndpoint::Http(Box::new(HttpSettings::new("http://127.0.0.1:9/score".parse().unwrap())));
    assert!(Model::new(ModelSettings { endpoint, timeout: PATIENT, batch: 1 }).is_err());
}
