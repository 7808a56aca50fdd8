//! Chats through the real program: messages by file, the result told once, phone numbers as they were written; by the rules and by a
//! model.
mod receivers;
mod served;

use honeyguide::cli::context::Exit;
use receivers::guvi::{self, API_KEY};
use serde_json::{Value, json};
use served::{Daemon, Home, until};
use std::sync::Arc;
use std::time::Duration;

const SCAM: &[&str] = &[
    "URGENT: Your SBI account 1234567890123456 has been compromised and will be blocked in 2 hours. Share your OTP immediately.",
    "Sir, I am senior manager of the SBI fraud department. Call me at +91-98765 43210 or pay Rs.1 to verify.fraud@okicici UPI now.",
    "This is your FINAL WARNING, share the OTP or click http://sbi-kyc.example-verify.com/login to verify.",
];
const HONEST: &[&str] = &["Hi, are we still meeting for lunch tomorrow?", "Great, see you at one."];

/// Lines of a talk, whose messages each repeat those before.
fn talk(session: &str, texts: &[&str], from: usize) -> Vec<u8> {
    let said = |n: usize| json!({ "sender": "scammer", "text": texts[n], "timestamp": 1_769_000_000_000u64 + n as u64 * 20_000 });
    let line = |n: usize| {
        let history: Vec<Value> = (0..n).map(said).collect();
        let metadata = json!({ "channel": "SMS", "language": "English", "locale": "IN" });
        json!({ "sessionId": session, "message": said(n), "conversationHistory": history, "metadata": metadata }).to_string() + "\n"
    };
    (from..texts.len()).flat_map(|n| line(n).into_bytes()).collect()
}

fn home(receiver: &guvi::Receiver, more: &str) -> Home {
    let home = Home::with(&format!(
        "[[sink]]\nname = \"guvi\"\ntype = \"guvi\"\nurl = \"{}\"\napi_key_file = \"key\"\nquiet_seconds = 1\nallow_private = [\"127.0.0.1\"]\n\
         backoff_initial_ms = 10\nbackoff_ms_max = 100\n{more}",
        receiver.url()
    ));
    home.write("key", API_KEY.as_bytes());
    home
}

fn load(home: &Home, name: &str, lines: &[u8]) {
    let file = home.write(name, lines);
    home.expect(Exit::Done, &["load", "--format", "chat", file.to_str().expect("a path")]);
}

/// Long enough for a chat to be quiet and its result to come, had one been due.
fn wait() {
    std::thread::sleep(Duration::from_millis(2_500));
}

fn told(receiver: &Arc<guvi::Receiver>) -> Vec<Value> {
    receiver.told().into_iter().map(|told| told.result).collect()
}

#[test]
fn a_scam_is_told_once_when_it_is_quiet_and_an_honest_chat_never() {
    let receiver = guvi::start();
    let home = home(&receiver, "extended = true\n");
    let daemon = Daemon::start(&home);
    load(&home, "chats.ndjson", &[talk("scam-1", SCAM, 0), talk("honest", HONEST, 0)].concat());
    until("the result came", || !receiver.told().is_empty());
    wait();
    let [result] = &told(&receiver)[..] else { panic!("one result: {:?}", receiver.told()) };
    assert_eq!(
        (&result["sessionId"], &result["scamDetected"], &result["totalMessagesExchanged"]),
        (&json!("scam-1"), &json!(true), &json!(3))
    );
    let found = &result["extractedIntelligence"];
    assert_eq!(found["bankAccounts"], json!(["1234567890123456"]));
    assert_eq!(found["phoneNumbers"], json!(["+91-98765 43210"]), "as it stood in the text");
    assert_eq!(found["upiIds"], json!(["verify.fraud@okicici"]));
    assert_eq!(found["phishingLinks"], json!(["http://sbi-kyc.example-verify.com/login"]));
    assert!(found["suspiciousKeywords"].as_array().is_some_and(|words| !words.is_empty()) && result["confidenceLevel"].is_number());
    assert!(result["agentNotes"].as_str().is_some_and(|notes| notes.contains("by rules")), "{result}");
    // What the index says of the same messages.
    for query in ["upi:verify.fraud@okicici", "phone:+919876543210", "phone:\"+91-98765 43210\"", "channel:SMS scam_type:*"] {
        assert!(!home.expect(Exit::Done, &["search", query]).is_empty(), "{query}");
    }
    // Started again, it has nothing new to tell; and a chat that grew is told no second time.
    drop(daemon);
    let _daemon = Daemon::start(&home);
    let grown: Vec<&str> = SCAM.iter().copied().chain(["Last chance, send the OTP now!"]).collect();
    load(&home, "more.ndjson", &talk("scam-1", &grown, 3));
    wait();
    assert_eq!(receiver.told().len(), 1);
}

#[test]
fn a_chat_that_grew_is_told_again_when_that_is_configured_and_repeats_have_the_same_key() {
    let receiver = guvi::start();
    receiver.faults().set_times(receivers::Fault::Status(503), 3);
    let home = home(&receiver, "again = true\n");
    let _daemon = Daemon::start(&home);
    load(&home, "chats.ndjson", &talk("scam-2", SCAM, 0));
    until("the result came, behind failures", || receiver.told().len() == 1);
    let grown: Vec<&str> = SCAM.iter().copied().chain(["Last chance, send the OTP now!"]).collect();
    load(&home, "more.ndjson", &talk("scam-2", &grown, 3));
    until("it came again", || receiver.told().len() == 2);
    wait();
    let told = receiver.told();
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0].result["totalMessagesExchanged"], &told[1].result["totalMessagesExchanged"]), (&json!(3), &json!(4)));
    assert_ne!(told[0].key, told[1].key, "another result has another key");
}

#[test]
fn a_model_scores_and_where_it_has_no_say_the_rules_do() {
    let says_so = guvi::model(|asked| {
        let of = |session: &Value| json!({ "session": session["session"], "score": 93, "kind": "odd_jobs" });
        json!({ "model": "m1", "scores": asked["sessions"].as_array().map(|all| all.iter().map(of).collect::<Vec<_>>()) })
    });
    let babbles = guvi::model(|_| json!({ "scores": "many" }));
    for (model, by, honest) in [(&says_so, "by model:m1", true), (&babbles, "by rules", false)] {
        let receiver = guvi::start();
        let table = format!("[model]\nurl = \"http://127.0.0.1:{}/\"\nallow_private = [\"127.0.0.1\"]\n", model.port());
        let home = home(&receiver, &table);
        let _daemon = Daemon::start(&home);
        load(&home, "chats.ndjson", &[talk("scam-3", SCAM, 0), talk("honest-3", HONEST, 0)].concat());
        let expected = if honest { 2 } else { 1 };
        until("the results came", || receiver.told().len() == expected);
        wait();
        let results = told(&receiver);
        assert_eq!(results.len(), expected);
        assert!(results.iter().all(|result| result["agentNotes"].as_str().is_some_and(|notes| notes.contains(by))), "{results:?}");
    }
}
