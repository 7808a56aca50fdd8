//! The benches' data maker: every copy of the corpus parses and shares no identity with another.
use honeyguide::events::{EventId, time};
use serde_json::Value;
use std::collections::HashSet;

#[path = "bench/data.rs"]
mod data;
use data::{BenchData, Copies};

fn empty() -> Copies {
    // A directory without logs is refused, so begin with one line.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("cowrie")).unwrap();
    assert!(Copies::of(dir.path()).is_err());
    std::fs::write(
        dir.path().join("cowrie/cowrie.json"),
        concat!(
            r#"{"eventid":"cowrie.session.connect","src_ip":"198.51.100.7","src_port":1,"dst_ip":"198.51.100.77","#,
            r#""session":"00ff00ff00ff","message":"New connection: 198.51.100.7:1 (198.51.100.77:22) [session: 00ff00ff00ff]","#,
            r#""timestamp":"2026-02-27T23:59:59.000001Z"}"#,
            "\n",
            r#"{"eventid":"cowrie.session.closed","timestamp":"2026-02-27"#,
        ),
    )
    .unwrap();
    Copies::of(dir.path()).unwrap()
}

fn copy_of(copies: &mut Copies) -> Vec<Vec<u8>> {
    let (mut out, lines) = (Vec::new(), copies.lines() as u64);
    assert_eq!(copies.fill(&mut out, lines), lines);
    out.pop();
    out.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn a_copy_changes_session_day_and_source_address_wherever_they_stand_and_nothing_else() {
    let mut copies = empty();
    assert_eq!((copies.lines(), copies.left_out), (1, 1));
    let original: Value = serde_json::from_slice(&copy_of(&mut copies)[0]).unwrap();
    assert_eq!(original["session"], "00ff00ff00ff");
    for copy in 1..5 {
        let event: Value = serde_json::from_slice(&copy_of(&mut copies)[0]).unwrap();
        let (session, address) = (event["session"].as_str().unwrap(), event["src_ip"].as_str().unwrap());
        assert!(session.len() == 12 && session != "00ff00ff00ff");
        assert!(address.starts_with("198.51.") && address != "198.51.100.7");
        assert_eq!(event["message"], format!("New connection: {address}:1 (198.51.100.77:22) [session: {session}]"));
        assert_eq!(event["timestamp"], ["2026-02-28", "2026-03-01", "2026-03-02", "2026-03-03"][copy - 1].to_owned() + "T23:59:59.000001Z");
        assert_eq!((&event["dst_ip"], &event["src_port"]), (&original["dst_ip"], &original["src_port"]));
    }
}

#[test]
fn a_one_line_array_is_split_into_its_elements_as_they_stand() {
    let mut copies = empty();
    let element =
        |kind: &str, second: u32| format!(r#"{{"eventid": "{kind}", "session": "1234abcd", "timestamp": "2020-01-01T00:00:0{second}Z"}}"#);
    copies.add(format!("[{}, {}]", element("a", 0), element("b", 1)).as_bytes());
    assert_eq!(copies.lines(), 3);
    assert_eq!(copy_of(&mut copies)[1], element("a", 0).as_bytes());
    let copied = copy_of(&mut copies);
    assert_eq!(
        serde_json::from_slice::<Value>(&copied[1]).unwrap()["session"],
        serde_json::from_slice::<Value>(&copied[2]).unwrap()["session"],
        "events of a session stay together"
    );
}

#[test]
fn copies_of_the_corpus_parse_keep_their_order_and_share_no_identity() {
    let Some(corpus) = data::corpus() else {
        println!("skipped: HONEYGUIDE_CORPUS is not set");
        return;
    };
    let mut copies = Copies::of(&corpus).unwrap();
    let mut seen: HashSet<EventId> = HashSet::new();
    let (mut distinct, mut sessions) = (None, None);
    for copy in 0..4 {
        let lines = copy_of(&mut copies);
        let mut ids = HashSet::new();
        let mut names = HashSet::new();
        for line in &lines {
            let event: Value = serde_json::from_slice(line).unwrap_or_else(|error| panic!("copy {copy}: {error}"));
            assert!(time::parse(event["timestamp"].as_str().unwrap().as_bytes()).is_some());
            ids.insert(EventId::of_line(line));
            names.insert(event["session"].as_str().unwrap().to_owned());
        }
        assert_eq!(*distinct.get_or_insert(ids.len()), ids.len(), "copy {copy} has as many distinct lines as the corpus");
        assert_eq!(*sessions.get_or_insert(names.len()), names.len(), "copy {copy} has as many sessions as the corpus");
        assert!(ids.is_disjoint(&seen), "copy {copy} repeats a line of an earlier one");
        seen.extend(ids);
    }
}

#[test]
fn simulated_data_serves_where_there_is_no_corpus() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bench.json");
    let bytes = BenchData::simulated().write_file(&path, 10_000).unwrap();
    let text = std::fs::read(path).unwrap();
    assert_eq!((text.len() as u64, memchr::memchr_iter(b'\n', &text).count()), (bytes, 10_000));
}
