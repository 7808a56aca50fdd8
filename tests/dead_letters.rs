//! Dead letters in full, over the API and by the command line, with a daemon and without one.
mod receivers;
mod served;

use honeyguide::cli::context::Exit;
use serde_json::{Value, json};
use served::{Daemon, Home, until};

const SINKS: &str = r#"[[sink]]
name = "pager"
type = "webhook"
secret_file = "secret"
allow_private = ["127.0.0.1"]
"#;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_dead_letter_is_shown_with_what_was_sent_and_what_was_said() {
    let receiver = receivers::webhook::start();
    receiver.faults().poison(Some("hunter2"));
    let home = Home::with(&format!("{SINKS}url = \"{}\"\n", receiver.url()));
    home.write("secret", receivers::webhook::SECRET.as_bytes());
    let event = |number: u32, password: &str| {
        json!({
            "eventid": "cowrie.login.failed", "session": format!("{number:012x}"), "sensor": "hive", "src_ip": "198.51.100.7",
            "username": "root", "password": password, "timestamp": format!("2026-03-22T00:00:{number:02}.000000Z"),
        })
        .to_string()
    };
    let events: Vec<String> = (0..40).map(|number| event(number, if number % 10 == 7 { "hunter2" } else { "123456" })).collect();
    let path = home.write("cowrie.json", format!("{}\nrefused\n", events.join("\n")).as_bytes());
    let poison: Vec<&String> = events.iter().filter(|event| event.contains("hunter2")).collect();

    let daemon = Daemon::start(&home);
    assert_eq!(daemon.post("/api/v1/load", &json!({ "paths": [path] }).to_string()).status, 200);
    let rows = || daemon.get("/api/v1/sinks/pager/dead").json().as_array().expect("rows").clone();
    until("four dead letters", || rows().len() == 4);
    let exported = lines(&daemon.get("/api/v1/sinks/pager/dead/export").text());
    // Which of two that are refused at once is buried first is nobody's order.
    let mut texts: Vec<&str> = exported.iter().filter_map(|letter| letter["text"].as_str()).collect();
    texts.sort_unstable();
    assert_eq!(texts, poison, "exactly what was to be delivered");
    assert!(exported.is_sorted_by_key(|letter| letter["number"].as_u64()), "oldest first");
    for (letter, row) in exported.iter().zip(rows().iter().rev()) {
        let number = letter["number"].as_u64().expect("a number");
        assert_eq!(daemon.get(&format!("/api/v1/sinks/pager/dead/{number}")).json(), *letter);
        for member in ["number", "sequence", "id", "source", "received_at", "reason", "bytes"] {
            assert_eq!(letter[member], row[member], "{member}");
        }
        assert!(letter["reason"].as_str().expect("text").contains("an event is poison"), "{letter}");
        assert_eq!((&letter["sink"], &letter["format"], &letter["is_whole"]), (&"pager".into(), &"cowrie".into(), &true.into()));
        let shown = home.expect(Exit::Done, &["sinks", "dead", "show", "pager", &number.to_string()]);
        assert!(shown.contains("an event is poison") && shown.contains("hunter2"), "{shown}");
        assert_eq!(daemon.get(&format!("/api/v1/sinks/another/dead/{number}")).status, 404);
    }
    // What was refused on its way in is no dead letter.
    let refused = daemon.get("/api/v1/quarantine?reason=not_an_object").json()[0]["number"].clone();
    assert_eq!(daemon.get(&format!("/api/v1/sinks/pager/dead/{refused}")).status, 404);
    let nobody = daemon.get("/api/v1/sinks/another/dead/export");
    assert_eq!((nobody.status, nobody.body.len()), (200, 0));
    assert_eq!(lines(&home.expect(Exit::Done, &["sinks", "dead", "export", "pager"])), exported);
    drop(daemon);

    assert_eq!(lines(&home.expect(Exit::Done, &["sinks", "dead", "export", "pager"])), exported, "without a daemon");
    let number = exported[0]["number"].to_string();
    assert_eq!(home.json(Exit::Done, &["sinks", "dead", "show", "pager", &number]), exported[0]);
    assert!(home.fails(&["sinks", "dead", "show", "pager", "5"]).to_string().contains("has no dead letter 5"));
}
