//! Paging through a search while events arrive, over the API and by the command line: every event of the first moment once, no other.
mod served;

use honeyguide::cli::context::{Exit, Usage};
use honeyguide::events::time;
use honeyguide::index::search::Position;
use honeyguide::service::cursor::Cursor;
use serde_json::Value;
use served::{Answer, Daemon, Home, log};
use std::process::{Command, Output};

/// Loads so many other events, with times before, between and behind those that are there.
fn arrive(home: &Home, seed: u64, events: usize) {
    let file = home.write(&format!("logs/{seed}.json"), &log(seed, events));
    home.expect(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn get_page(daemon: &Daemon, query: &str, more: &str, cursor: Option<&str>) -> Answer {
    let cursor = cursor.map(|cursor| format!("&cursor={}", percent(cursor))).unwrap_or_default();
    daemon.get(&format!("/api/v1/events/page?query={}{more}{cursor}", percent(query)))
}

fn page(daemon: &Daemon, query: &str, more: &str, cursor: Option<&str>) -> (Vec<Value>, Option<String>) {
    let answer = get_page(daemon, query, more, cursor);
    assert_eq!(answer.status, 200, "{answer:?}");
    let Value::Object(mut page) = answer.json() else { panic!("no object") };
    let (events, next) = (page.remove("events"), page.remove("next"));
    assert!(page.is_empty(), "{page:?}");
    let events = events.expect("events").as_array().expect("a list").clone();
    (events, next.expect("present").as_str().map(str::to_owned))
}

fn lines_of(events: &[Value]) -> impl Iterator<Item = String> {
    events.iter().map(|event| event["line"].as_str().expect("text").to_owned())
}

fn binary(home: &Home, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_honeyguide")).arg("--config").arg(home.config()).args(words).output().expect("the binary runs")
}

fn bad_cursor(answer: &Answer, says: &str) {
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["code"], "bad_cursor");
    assert!(problem["detail"].as_str().expect("text").contains(says), "{problem}");
}

#[test]
fn pages_of_the_api_hold_every_event_of_the_first_moment_once_in_both_directions() {
    for (direction, order) in [("&newest=false", &[][..]), ("&newest=true", &["--newest"][..])] {
        let home = Home::with("[journal]\nsegment_bytes = \"1 MiB\"\n");
        let daemon = Daemon::start(&home);
        arrive(&home, 1, 6_000);
        for query in ["eventid:*", "NOT username:root eventid:cowrie.login.*"] {
            let words = [&["search", query, "--limit", "100000", "--json"][..], order].concat();
            let expected = home.expect(Exit::Done, &words);
            let (mut found, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
            loop {
                pages += 1;
                let parameters = format!("&limit=313{direction}");
                let arriving = || arrive(&home, 100 * query.len() as u64 + pages, 150);
                let (events, next) = match &cursor {
                    None => {
                        let first = page(&daemon, query, &parameters, None);
                        arriving();
                        first
                    }
                    Some(cursor) => std::thread::scope(|scope| {
                        scope.spawn(arriving);
                        page(&daemon, query, &parameters, Some(cursor))
                    }),
                };
                let is_full = events.len() == 313;
                assert_eq!(next.is_some(), is_full && found.len() + 313 < expected.lines().count());
                found.extend(lines_of(&events));
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            assert!(pages > 2);
            assert!(found.iter().map(String::as_str).eq(expected.lines()), "{query}: {} of {}", found.len(), expected.lines().count());
        }
    }
}

#[test]
fn pages_of_the_command_line_hold_every_event_of_the_first_moment_once() {
    for with_daemon in [false, true] {
        let home = Home::new();
        arrive(&home, 1, 1_000);
        let daemon = with_daemon.then(|| Daemon::start(&home));
        for order in [&[][..], &["--newest"][..]] {
            let all = [&["search", "eventid:*", "--limit", "100000", "--json"][..], order].concat();
            let expected = home.expect(Exit::Done, &all);
            let (mut found, mut cursor, mut pages) = (String::new(), None::<String>, 0);
            loop {
                let words = [&["search", "eventid:*", "--limit", "400", "--json"][..], order].concat();
                let go_on = cursor.iter().flat_map(|cursor| ["--cursor", cursor]);
                let output = binary(&home, &words.into_iter().chain(go_on).collect::<Vec<_>>());
                assert!(output.status.success(), "{output:?}");
                found += std::str::from_utf8(&output.stdout).expect("UTF-8");
                pages += 1;
                arrive(&home, 10 + pages + 100 * order.len() as u64, 50);
                let hint = String::from_utf8(output.stderr).expect("UTF-8");
                match hint.split_once("--cursor ") {
                    Some((_, rest)) => cursor = rest.split(' ').next().map(str::to_owned),
                    None => {
                        assert_eq!(hint, "");
                        break;
                    }
                }
            }
            assert!(pages >= 3);
            assert!(found == expected, "with a daemon: {with_daemon}, {order:?}");
        }
        drop(daemon);
    }
}

#[test]
fn the_stream_goes_on_from_a_cursor_and_tells_its_end_only_if_asked() {
    let home = Home::new();
    arrive(&home, 1, 300);
    let daemon = Daemon::start(&home);
    let all = daemon.get("/api/v1/events?query=eventid:*&limit=1000").lines();
    assert_eq!(all.len(), 300);
    let mut first = daemon.get("/api/v1/events?query=eventid:*&limit=100&end=true").lines();
    let end: Value = serde_json::from_str(&first.pop().expect("an end")).expect("JSON");
    assert_eq!((&first[..], &end["more"]), (&all[..100], &true.into()));
    let cursor = end["next"].as_str().expect("a cursor");
    let rest = daemon.get(&format!("/api/v1/events?query=eventid:*&limit=1000&cursor={cursor}")).lines();
    assert_eq!(rest, &all[100..]);
    let (rest, next) = page(&daemon, "eventid:*", "&limit=200", Some(cursor));
    assert_eq!((lines_of(&rest).collect::<Vec<_>>(), next), (all[100..].to_vec(), None));
    let mut whole = daemon.get("/api/v1/events?query=eventid:*&limit=300&end=true").lines();
    assert_eq!(whole.pop().expect("an end"), r#"{"more":false,"next":null}"#);
    assert_eq!(whole, all);
}

#[test]
fn a_page_holds_no_more_than_a_thousand_events_and_eight_mebibytes() {
    let home = Home::new();
    arrive(&home, 1, 1_100);
    let daemon = Daemon::start(&home);
    let (events, next) = page(&daemon, "eventid:*", "&limit=1000000", None);
    assert_eq!(events.len(), 1_000);
    let (events, next) = page(&daemon, "eventid:*", "&limit=1000000", next.as_deref());
    assert_eq!((events.len(), next), (100, None));

    // Each is nearly as long as a line may be.
    let long: Vec<String> = (10..30)
        .map(|second| {
            let input = format!("{second}{}", "x".repeat(1_000_000));
            let fields = r#""eventid":"cowrie.command.input","session":"0123456789ab","src_ip":"203.0.113.7","sensor":"long""#;
            format!(r#"{{{fields},"timestamp":"2026-03-22T00:10:{second}.000000Z","input":"{input}"}}"#)
        })
        .collect();
    let file = home.write("logs/long.json", (long.join("\n") + "\n").as_bytes());
    home.expect(Exit::Done, &["load", file.to_str().expect("UTF-8")]);
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let (events, next) = page(&daemon, "sensor:long", "&limit=1000", cursor.as_deref());
        let bytes: usize = lines_of(&events).map(|line| line.len()).sum();
        assert!(!events.is_empty() && bytes <= 8 << 20, "{bytes} bytes");
        found.extend(lines_of(&events));
        cursor = next;
        if cursor.is_none() {
            break;
        }
        assert_eq!(events.len(), 8);
    }
    assert!(found == long);
}

#[test]
fn ages_count_back_from_the_first_page() {
    let home = Home::new();
    arrive(&home, 1, 500);
    let daemon = Daemon::start(&home);
    let (all, _) = page(&daemon, "eventid:*", "&limit=1000", None);
    let last = time::parse(all[499]["time"].as_str().expect("a time").as_bytes()).expect("a time");
    let in_the_hour = |event: &&Value| {
        let at = time::parse(event["time"].as_str().expect("a time").as_bytes()).expect("a time");
        (last - time::MICROS_PER_HOUR..).contains(&at)
    };
    let expected: Vec<&Value> = all.iter().filter(in_the_hour).collect();
    // As if the first page had been asked for at the time of the last event.
    let cursor = Cursor::new("since:1h", false, last, u64::MAX, Position { time: i64::MIN, seq: 0 }).encode();
    let (found, next) = page(&daemon, "since:1h", "&limit=1000", Some(&cursor));
    assert_eq!((found.iter().collect::<Vec<_>>(), next), (expected, None));
    assert_eq!(page(&daemon, "since:1h", "&limit=1000", None).0, Vec::<Value>::new(), "today nothing is as new");
    for now in [i64::MIN, i64::MAX] {
        let cursor = Cursor::new("since:1h", true, now, 0, Position { time: now, seq: u64::MAX }).encode();
        let answer = get_page(&daemon, "since:1h", "&newest=true", Some(&cursor));
        assert!([200, 400].contains(&answer.status), "{answer:?}");
    }
}

#[test]
fn lines_that_are_no_utf8_are_shown_in_pages_and_whole_in_the_stream() {
    let home = Home::new();
    let line =
        b"{\"eventid\":\"cowrie.command.input\",\"session\":\"0123456789ab\",\"timestamp\":\"2026-03-22T00:10:10Z\",\"input\":\"\xff\"}";
    let file = home.write("cowrie.json", &[&line[..], b"\n"].concat());
    home.expect(Exit::Done, &["load", "--format", "cowrie", file.to_str().expect("UTF-8")]);
    let daemon = Daemon::start(&home);
    let (events, next) = page(&daemon, "eventid:*", "", None);
    assert_eq!((lines_of(&events).collect::<Vec<_>>(), next), (vec![String::from_utf8_lossy(line).into_owned()], None));
    assert_eq!(events[0]["time"], "2026-03-22T00:10:10.000000Z");
    assert!(events[0]["seq"].is_u64());
    assert_eq!(binary(&home, &["search", "eventid:*", "--raw"]).stdout, [&line[..], b"\n"].concat());
}

#[test]
fn cursors_that_do_not_lead_on_are_refused_with_the_reason() {
    let home = Home::new();
    arrive(&home, 1, 200);
    let daemon = Daemon::start(&home);
    let (first, next) = page(&daemon, "eventid:*", "&limit=50", None);
    let cursor = next.expect("there are more");
    let garbled = cursor.replacen(&cursor[20..22], if &cursor[20..22] == "ab" { "cd" } else { "ab" }, 1);
    let refused = [
        (&cursor[..cursor.len() - 1], "not all of it"),
        ("", "not all of it"),
        ("\u{1F980}", "not all of it"),
        (&garbled, "changed on its way"),
        (&cursor.to_lowercase(), "the cursor "),
    ];
    for (wrong, says) in refused {
        bad_cursor(&get_page(&daemon, "eventid:*", "", Some(wrong)), says);
        bad_cursor(&daemon.get(&format!("/api/v1/events?query=eventid:*&cursor={}", percent(wrong))), says);
        bad_cursor(&daemon.get(&format!("/api/v1/events/cost?query=eventid:*&cursor={}", percent(wrong))), says);
    }
    bad_cursor(&get_page(&daemon, "eventid:* ", "", Some(&cursor)), "of another query");
    bad_cursor(&get_page(&daemon, "eventid:*", "&newest=true", Some(&cursor)), "with the oldest events first");
    let without_query = daemon.get(&format!("/api/v1/events/page?cursor={cursor}"));
    assert_eq!((without_query.status, &without_query.json()["code"]), (400, &"bad_request".into()));
    let nothing = get_page(&daemon, "eventid:*", "&limit=0", None);
    assert_eq!((nothing.status, &nothing.json()["code"]), (400, &"bad_request".into()));
    assert_eq!(daemon.tcp(&served::get("/api/v1/events/page?query=eventid:*", "localhost")).status, 401, "on TCP a key is needed");
    let (second, _) = page(&daemon, "eventid:*", "&limit=50", Some(&cursor));
    let (both, _) = page(&daemon, "eventid:*", "&limit=100", None);
    assert_eq!([first, second].concat(), both, "none of this changed anything");
    for (words, says) in [
        (&["search", "eventid:*", "--cursor", &garbled][..], "changed on its way"),
        (&["search", "src_ip:*", "--cursor", &cursor][..], "of another query"),
        (&["search", "eventid:*", "--newest", "--cursor", &cursor][..], "with the oldest events first"),
    ] {
        let error = home.fails(words);
        assert!(error.downcast_ref::<Usage>().is_some() && error.to_string().contains(says), "{error:#}");
    }
    // A cursor outlives the daemon.
    drop(daemon);
    let words = ["search", "eventid:*", "--limit", "50", "--json", "--cursor", &cursor];
    let without = home.expect(Exit::Done, &words);
    assert!(lines_of(&both[50..]).eq(without.lines().map(str::to_owned)));
}
