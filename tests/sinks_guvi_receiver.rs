//! Final results of chats and a receiver that checks the convention: requests, what they hold, and how few of them come twice.
//! What the receiver's faults do to a daemon is the suite's: `sinks_conformance.rs`.
mod receivers;
mod served;

use honeyguide::cli::context::Exit;
use honeyguide::events::{EventId, Format};
use honeyguide::sinks::guvi::Guvi;
use honeyguide::sinks::http::{Credentials, HttpSettings, Secret};
use honeyguide::sinks::{Answer, Batch, Item, Sink, Verdict};
use receivers::Fault;
use receivers::guvi::{API_KEY, Receiver, Told, start};
use serde_json::{Value, json};
use served::{Daemon, Home, until};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn sink(url: &str, key: &str) -> Guvi {
    let credentials = Some(Credentials::Header { name: "x-api-key", value: Secret::new(key) });
    let allow_private = vec!["127.0.0.1".parse().unwrap()];
    let timeout = Duration::from_secs(20);
    Guvi::new(HttpSettings { credentials, allow_private, timeout, ..HttpSettings::new(url.parse().unwrap()) }).unwrap()
}

fn result(session: &str) -> Vec<u8> {
    let intelligence = json!({"bankAccounts": [], "upiIds": ["a@ybl"], "phishingLinks": [], "phoneNumbers": [], "suspiciousKeywords": []});
    let result = json!({"sessionId": session, "scamDetected": true, "totalMessagesExchanged": 1, "extractedIntelligence": intelligence,
        "agentNotes": "notes"});
    result.to_string().into_bytes()
}

fn batch(sessions: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for (seq, session) in sessions.iter().enumerate() {
        let id = EventId::of_line(session.as_bytes());
        let item = Item { seq: seq as u64 + 1, id, time: 0, received_at: 0, source: "chat".into(), format: Format::CHAT, payload: 0..0 };
        batch.push(item, &result(session));
    }
    batch
}

/// Encodes once and sends so often.
fn send(sink: &Guvi, batch: &Batch, times: u32) -> Vec<Answer> {
    let request = sink.encode(batch).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (1..=times).map(|attempt| runtime.block_on(sink.send(&request, attempt)).answer).collect()
}

#[test]
fn a_result_goes_to_the_conventions_path_with_the_api_key_and_repeats_with_its_key() {
    let receiver = start();
    for url in [receiver.url(), format!("{}/", receiver.url()), format!("{}/api/updateHoneyPotFinalResult", receiver.url())] {
        let before = receiver.told().len();
        assert_eq!(send(&sink(&url, API_KEY), &batch(&["s"]), 2), [Answer::Delivered, Answer::Delivered], "{url}");
        let results = receiver.told();
        let [first, second] = &results[before..] else { panic!("{results:?}") };
        assert_eq!((&first.key, first), (&EventId::of_line(b"s").to_string(), second));
    }
    assert_eq!(receiver.problems(), [""; 0]);
}

#[test]
fn another_key_is_refused_and_not_shown() {
    let receiver = start();
    let unknown = send(&sink(&receiver.url(), "another key"), &batch(&["s"]), 1);
    assert!(matches!(&unknown[..], [Answer::Unusable { why }] if why.contains("401") && !why.contains("another")), "{unknown:?}");
    assert_eq!(receiver.told(), []);
}

#[test]
fn of_several_results_each_has_its_own_verdict() {
    let receiver = start();
    receiver.faults().poison(Some("bad"));
    let answers = send(&sink(&receiver.url(), API_KEY), &batch(&["a", "bad", "c"]), 1);
    let [Answer::Items(verdicts)] = &answers[..] else { panic!("{answers:?}") };
    assert!(matches!(&verdicts[..], [Verdict::Delivered, Verdict::Refused(_), Verdict::Delivered]), "{verdicts:?}");
    let keys: Vec<String> = receiver.told().into_iter().map(|told| told.key).collect();
    assert_eq!(keys, [b"a", b"c"].map(|session| EventId::of_line(session).to_string()), "the same as when they go alone");
}

#[test]
fn a_probe_delivers_nothing_and_finds_wrong_credentials() {
    let receiver = start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(sink(&receiver.url(), API_KEY).probe()).answer, Answer::Delivered);
    assert!(matches!(runtime.block_on(sink(&receiver.url(), "another key").probe()).answer, Answer::Unusable { .. }));
    assert_eq!(receiver.told(), []);
}

/// A home whose daemon sends results to the receiver, after a second of silence.
fn home(receiver: &Receiver, more: &str) -> Home {
    let home = Home::with(&format!(
        "[[sink]]\nname = \"guvi\"\ntype = \"guvi\"\nurl = \"{}\"\napi_key_file = \"key\"\nallow_private = [\"127.0.0.1\"]\n\
         quiet_seconds = 1\nbatch_age_ms = 5\nbackoff_initial_ms = 10\nbackoff_ms_max = 100\n{more}",
        receiver.url()
    ));
    home.write("key", API_KEY.as_bytes());
    home
}

fn said(session: &str, sender: &str, text: &str, second: i64) -> String {
    let message = json!({"sender": sender, "text": text, "timestamp": 1_769_000_000_000i64 + second * 1000});
    json!({"sessionId": session, "message": message, "conversationHistory": [], "metadata": {"channel": "SMS"}}).to_string() + "\n"
}

fn texts(result: &Value, list: &str) -> Vec<String> {
    result["extractedIntelligence"][list].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_daemon_tells_a_chat_once_with_values_as_they_stood() {
    let receiver = start();
    let home = home(&receiver, "extended = true\n");
    let mut log = String::new();
    log += &said("s-1", "scammer", "URGENT: your SBI account 1234567890123456 will be blocked. Share your OTP immediately.", 0);
    log += &said("s-1", "user", "Who is this? My own number is 9811122233", 30);
    log += &said(
        "s-1",
        "scammer",
        "Call +91-98765 43210, pay Rs 500 to Refund.Desk@ybl, policy #LIC-482901, order ID FK-8823, case no. 77/2026",
        60,
    );
    log += &said(
        "s-1",
        "scammer",
        "or verify at hxxp://sbi-kyc[.]example.com/v?id=1 or mail help@sbi-kyc.example.com. Call +91-98765 43210!",
        90,
    );
    log += &said("s-2", "scammer", "Hi, are we still meeting for lunch?", 0);
    let input = home.write("chat.ndjson", log.as_bytes());
    let _daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", "--format", "chat", input.to_str().unwrap()]);
    until("the result is there", || !receiver.told().is_empty());
    let [Told { result, .. }] = &receiver.told()[..] else { panic!("one result") };
    assert_eq!((&result["sessionId"], &result["totalMessagesExchanged"]), (&json!("s-1"), &json!(4)));
    assert_eq!(texts(result, "phoneNumbers"), ["+91-98765 43210"], "the honeypot's own is none");
    assert_eq!(texts(result, "bankAccounts"), ["1234567890123456"]);
    assert_eq!(texts(result, "upiIds"), ["Refund.Desk@ybl"]);
    assert_eq!(texts(result, "phishingLinks"), ["hxxp://sbi-kyc[.]example.com/v?id=1"]);
    assert_eq!(texts(result, "emailAddresses"), ["help@sbi-kyc.example.com"]);
    assert_eq!(texts(result, "policyNumbers"), ["LIC-482901"]);
    assert_eq!(texts(result, "orderNumbers"), ["FK-8823"]);
    assert_eq!(texts(result, "caseIds"), ["77/2026"]);
    assert_eq!(result["engagementDurationSeconds"], 90);
    assert!(result["agentNotes"].as_str().unwrap().contains("credential_request"), "{result}");
    assert_eq!(receiver.problems(), [""; 0]);
}

/// A process that is killed when it is no longer wanted.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_daemon_that_is_killed_and_started_again_repeats_only_what_was_under_way() {
    let receiver = start();
    let home = home(&receiver, "");
    let log: String =
        (0..40).map(|n| said(&format!("s-{n}"), "scammer", "Share your OTP and pay Rs 500 to a@ybl now or be blocked", n)).collect();
    let input = home.write("chat.ndjson", log.as_bytes());
    home.expect(Exit::Done, &["load", "--format", "chat", input.to_str().unwrap()]);
    let run = || {
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_honeyguide"));
        daemon.args(["run", "--config", home.config().to_str().unwrap()]).stdout(Stdio::null()).stderr(Stdio::null());
        Killed(daemon.spawn().unwrap())
    };
    // So slow that every kill comes in the midst of the work.
    receiver.faults().set(Fault::Slow(Duration::from_millis(30)));
    for results in [1, 10, 25] {
        let _daemon = run();
        until("some results are there", || receiver.told().len() >= results);
    }
    let _daemon = run();
    let told = || receiver.told().into_iter().map(|taken| taken.result["sessionId"].to_string()).collect::<std::collections::BTreeSet<_>>();
    until("every result is there", || told().len() == 40);
    // At most the one under way at each kill came again.
    assert!(receiver.told().len() <= 43, "{}", receiver.told().len());
}
