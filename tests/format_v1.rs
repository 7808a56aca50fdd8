//! Files of format version 1, written once and kept: whatever the program becomes, it reads these as it did then.
//!
//! `tests/fixtures/format-v1` is a data directory of simulated events (`ops/FORMAT.md` says what the bytes mean): segment 1
//! was sealed with its small blocks rewritten, segment 2 as it was written, segment 3 is the one being written.
//! `expected.json` holds the answers that the release which wrote the files gave. A new format version gets a new directory
//! and a new test; these files are not written again. Should they have to be before the first release:
//! `HONEYGUIDE_WRITE_FIXTURES=1 cargo nextest run --test format_v1 writes_the_fixtures`, and put the two digests below right.
use honeyguide::events::batch::Batcher;
use honeyguide::events::{EventId, Field, Micros};
use honeyguide::index::BlockMeta;
use honeyguide::index::ids::IdCache;
use honeyguide::index::part::IndexPart;
use honeyguide::journal::block::{Block, Checkpoints, GENESIS, Header, HeaderError, Opening, Run, Seal};
use honeyguide::journal::fs::{File, RealFs};
use honeyguide::journal::segment::{self, BlockReader};
use honeyguide::journal::verify;
use honeyguide::service::{self, SearchRequest};
use honeyguide::simulate::{Generator, Simulation};
use honeyguide::sources::{Chunk, Format, Origin, Source};
use honeyguide::store::{CommittedLen, Layout, Limits, Parts, Store, open};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Running digest behind the last event, and BLAKE3 of all lines with their newlines.
const DIGEST: &str = "ad7c7a328e0ad0019c7d44a247ede427fbfaece5ab8493f4514a1d9585424f87";
const LINES_BLAKE3: &str = "9eb3518eb9d3af1c962953a54d439b9607972561cd6302b89376f91db371e046";

/// When the fixtures were written, by their own clock: 2026-01-04T00:00:00Z.
const NOW: Micros = 1_767_484_800_000_000;
const STREAM: &str = "cowrie/fd01-2a3b4c";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-v1")
}

/// A copy that may be written to.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for dir in ["journal", "ledger", "quarantine"] {
        std::fs::create_dir(copy.path().join(dir)).unwrap();
        for entry in std::fs::read_dir(fixtures().join(dir)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(dir).join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn open_dir(dir: &Path) -> Parts {
    open(Arc::new(RealFs), Layout::new(dir), Limits::default(), CommittedLen::default(), NOW, &mut |_| {}).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every line in the order of its sequence number, through sidecars and live index; the numbers have no gaps.
fn contents(store: &Store) -> Vec<u8> {
    let view = store.view();
    let (mut reader, mut block, mut all, mut next_seq) = (BlockReader::default(), Vec::new(), Vec::new(), 1);
    let mut take = |file: &dyn File, metas: &[BlockMeta]| {
        for meta in metas {
            assert_eq!(meta.first_seq, next_seq);
            next_seq += u64::from(meta.events);
            reader.read(file, meta, &mut block).unwrap();
            all.extend_from_slice(&block);
        }
    };
    view.sealed.iter().for_each(|sealed| take(&**sealed.file.as_ref().unwrap(), &sealed.sidecar.blocks().unwrap()));
    for live in &view.live {
        let live = live.read();
        take(&*live.file, live.index.metas());
    }
    all
}

/// What is asked of the fixtures: searches, top lists, duplicates, the other two logs.
fn answers(store: &Store) -> Value {
    let search = |query: &str, newest| {
        let request = SearchRequest { query: query.into(), limit: 40, newest };
        let mut lines = Vec::new();
        let (hits, more) = service::search(store, &request, NOW, &mut |line| {
            lines.extend_from_slice(line);
            lines.push(b'\n');
            ControlFlow::Continue(())
        })
        .unwrap();
        json!({ "query": query, "newest": newest, "hits": hits, "more": more, "lines_blake3": blake3::hash(&lines).to_hex().as_str() })
    };
    let top = |&field: &Field| {
        let rows = service::top(store, field, 5).unwrap().into_iter();
        let rows: Vec<Value> = rows.map(|row| json!([String::from_utf8_lossy(&row.value), row.count, row.first, row.last])).collect();
        json!({ "field": field.name(), "rows": rows })
    };
    let mut quarantine = Vec::new();
    store
        .quarantine()
        .for_each(0, |seq, record| {
            quarantine.push(json!([seq, record.reason.name(), record.offset, record.len, record.blake3]));
            true
        })
        .unwrap();
    let mut ledger = Vec::new();
    store
        .ledger()
        .for_each(0, |seq, line| {
            ledger.push(json!([seq, serde_json::from_slice::<Value>(line).unwrap()]));
            true
        })
        .unwrap();
    let queries = ["eventid:cowrie.login.failed", "eventid:cowrie.command.input", "username:root password:*", "src_ip:1* command:*&*", ""];
    json!({
        "events": service::holdings(store).unwrap().events,
        "searches": queries.iter().flat_map(|query| [search(query, false), search(query, true)]).collect::<Vec<_>>(),
        // The fields there were when the fixture was made.
        "top": Field::ALL[..=Field::Cve as usize].iter().map(top).collect::<Vec<_>>(),
        "quarantine": quarantine,
        "ledger": ledger,
    })
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("expected.json")).unwrap()).unwrap()
}

/// The answers without those fields whose values are found in texts.
fn of_members(mut answers: Value) -> Value {
    for (field, top) in Field::ALL.iter().zip(answers["top"].as_array_mut().expect("an array")) {
        if field.is_indicator() {
            *top = Value::Null;
        }
    }
    answers
}

#[test]
fn every_event_is_there_in_order_and_answers_are_what_they_were() {
    let dir = copy();
    let parts = open_dir(dir.path());
    assert_eq!(
        (parts.report.segments, &parts.report.sidecars_rebuilt, &parts.report.torn),
        (3, &vec![1, 2], &None),
        "sidecars of version 1 are made anew"
    );
    assert_eq!(parts.report.damage, vec![]);
    assert_eq!((parts.store.view().sealed.len(), parts.store.view().live.len()), (2, 1));
    let all = contents(&parts.store);
    assert_eq!(blake3::hash(&all).to_hex().as_str(), LINES_BLAKE3);
    assert_eq!(of_members(answers(&parts.store)), of_members(expected()), "a sidecar of today also knows what texts name");
    parts.store.view().sealed.iter().for_each(|sealed| sealed.sidecar.verify().unwrap());
    assert_eq!(hex(&parts.committer.head().seal().digest), DIGEST);
    let checkpoints: Checkpoints = [(STREAM.to_string(), b"end".to_vec())].into();
    assert_eq!(parts.committer.checkpoints(), checkpoints);
}

#[test]
fn the_chain_of_every_log_verifies() {
    let verify = |dir: &str| verify::verify(&RealFs, &fixtures().join(dir), false, |_| {}).unwrap();
    let journal = verify("journal");
    assert_eq!(journal.damage, vec![]);
    assert_eq!(hex(&journal.digest.unwrap()), DIGEST);
    for (log, records) in [("ledger", "ledger"), ("quarantine", "quarantine")] {
        let log = verify(log);
        assert_eq!(log.damage, vec![]);
        assert_eq!(log.events, expected()[records].as_array().unwrap().len() as u64);
    }
}

#[test]
fn missing_sidecars_are_made_again_and_answer_the_same() {
    let dir = copy();
    for number in [1, 2] {
        std::fs::remove_file(dir.path().join("journal").join(segment::sidecar_name(number))).unwrap();
    }
    let parts = open_dir(dir.path());
    assert_eq!(parts.report.sidecars_rebuilt, vec![1, 2]);
    assert_eq!(of_members(answers(&parts.store)), of_members(expected()), "a sidecar of today also knows what texts name");
    drop(parts);
    let parts = open_dir(dir.path());
    assert_eq!(parts.report.sidecars_rebuilt, Vec::<u64>::new());
    assert_eq!(of_members(answers(&parts.store)), of_members(expected()));
}

#[test]
fn events_of_then_are_duplicates_now_and_new_ones_go_on_behind_them() {
    let dir = copy();
    let mut parts = open_dir(dir.path());
    let before = contents(&parts.store);
    let next_seq = parts.committer.head().next_seq();
    let mut lines: Vec<&[u8]> = before.split_inclusive(|&byte| byte == b'\n').collect();
    let new = b"{\"eventid\":\"cowrie.session.connect\",\"session\":\"00000000aaaa\",\"timestamp\":\"2026-01-03T00:00:00.000000Z\"}\n";
    lines.push(new);
    let mut batcher = Batcher::new();
    for chunk in lines.chunks(500) {
        let known = parts.store.known(IdCache::new());
        let batch = batcher.extract(chunk_of(chunk.concat(), b"again"), &known);
        parts.committer.commit(batch, known.generation(), NOW).unwrap();
    }
    assert_eq!(parts.committer.head().next_seq(), next_seq + 1);
    let Parts { store, committer, writer, .. } = parts;
    drop(committer);
    writer.run(|_| {}).unwrap();
    assert_eq!(contents(&store), [&before[..], new].concat());
    let verified = verify::verify(&RealFs, &dir.path().join("journal"), false, |_| {}).unwrap();
    assert_eq!((verified.damage, verified.events), (vec![], next_seq));
}

#[test]
fn zstdcat_shows_the_events_and_nothing_else() {
    let journal = fixtures().join("journal");
    let output = std::process::Command::new("zstdcat").args([1, 2, 3].map(|number| journal.join(segment::file_name(number)))).output();
    let Ok(output) = output else {
        println!("SKIPPED: zstdcat_shows_the_events_and_nothing_else: zstd is not installed: apt-get install zstd");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(blake3::hash(&output.stdout).to_hex().as_str(), LINES_BLAKE3);
}

/// One header of each kind, with its bytes as `ops/FORMAT.md` lays them out.
fn golden() -> [(Header, &'static str); 3] {
    let run = |stream: &str, events, reflowed, checkpoint: Option<&[u8]>| Run {
        source: "cowrie".into(),
        decoder: "cowrie".into(),
        stream: stream.into(),
        received_at: 1_767_484_800_000_000,
        events,
        reflowed,
        tombstones: false,
        checkpoint: checkpoint.map(<[u8]>::to_vec),
        ids: Vec::new(),
    };
    [
        (
            Header::Opening(Opening {
                segment: 2,
                created_at: 1_767_484_800_000_000,
                first_seq: 78,
                previous: 1,
                previous_len: 4096,
                previous_digest: [0xAB; 32],
                checkpoints: [("cowrie/fd01-2a".to_string(), vec![1, 2, 3])].into(),
            }),
            "572a4d186e00000048474a010102000000000000000060a69f844706004e0000000000000001000000000000000010000000000000abababababababababababababababababababababababababababababababab010000000e000000636f777269652f666430312d326103000000010203dcee8749",
        ),
        (
            Header::Block(Block {
                first_seq: 78,
                events: 3,
                raw_len: 1500,
                data_len: 300,
                data_crc: 0x0403_0201,
                time_min: -1,
                time_max: 1_767_484_800_000_000,
                digest: [0xCD; 32],
                runs: vec![run("cowrie/fd01-2a", 1, false, Some(&[9, 8])), run("", 2, true, None)],
            }),
            "572a4d18a300000048474a01024e0000000000000003000000dc0500002c01000001020304ffffffffffffffff0060a69f84470600cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd030006000000636f777269650e000000636f777269652f666430312d326100000000020000000000000001000060a69f8447060001000000020200000009080000000002000060a69f844706000200000001743ef6ec",
        ),
        (
            Header::Seal(Seal { next_seq: 81, events: 3, blocks: 1, raw_len: 1500, digest: [0xCD; 32] }),
            "572a4d184500000048474a01035100000000000000030000000000000001000000dc05000000000000cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd3433c053",
        ),
    ]
}

#[test]
fn headers_have_their_golden_bytes() {
    for (header, bytes) in golden() {
        assert_eq!(hex(&header.encode()), bytes);
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
    assert_eq!(GENESIS, [0; 32]);
}

#[test]
fn a_header_of_a_later_version_is_refused_and_named() {
    let (header, _) = &golden()[2];
    let mut frame = header.encode();
    frame[11] = 2;
    let body = frame.len() - 4;
    let crc = crc32fast::hash(&frame[..body]);
    frame[body..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Header::decode(&frame), Err(HeaderError::Version(2)));
}

#[test]
fn a_header_with_fields_added_behind_those_known_is_read() {
    for (header, _) in golden() {
        let mut frame = header.encode();
        frame.truncate(frame.len() - 4);
        if matches!(header, Header::Block(_)) {
            // Ids of no runs: they stand before whatever comes later.
            frame.extend_from_slice(&0u32.to_le_bytes());
        }
        frame.extend_from_slice(b"added later");
        let payload = frame.len() as u32 + 4 - 8;
        frame[4..8].copy_from_slice(&payload.to_le_bytes());
        let crc = crc32fast::hash(&frame);
        frame.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&frame), Ok(header));
    }
}

fn chunk_of(data: Vec<u8>, checkpoint: &[u8]) -> Chunk {
    let origin = Origin {
        source: Arc::new(Source { name: "cowrie".into(), format: Format::COWRIE }),
        stream: STREAM.into(),
        run: 0,
        ordinal: 0,
        path: "/var/log/cowrie/cowrie.json".into(),
        offset: 0,
        generation: 0,
        first_seen: 0,
        input_bytes: data.len() as u64,
        received_at: NOW,
        reflowed: false,
        checkpoint: checkpoint.to_vec(),
        permit: None,
        only_sensors: None,
    };
    Chunk { origin, data, places: Vec::new(), refused: Vec::new(), stored: None }
}

#[test]
fn writes_the_fixtures() {
    if std::env::var_os("HONEYGUIDE_WRITE_FIXTURES").is_none() {
        return;
    }
    let dir = fixtures();
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::create_dir_all(&dir).unwrap();
    let mut parts = open_dir(&dir);
    // Two and a half days, so that terms have several (sensor, day) cells.
    let simulation = Simulation { seed: 1, events_per_second: 0.012, hostile: true, ..Simulation::default() };
    let mut generator = Generator::new(&simulation);
    let mut batcher = Batcher::new();
    let mut commit = |parts: &mut Parts, data: Vec<u8>, checkpoint: &[u8]| {
        let known = parts.store.known(IdCache::new());
        let batch = batcher.extract(chunk_of(data, checkpoint), &known);
        parts.committer.commit(batch, known.generation(), NOW).unwrap();
    };
    let mut lines = |events| {
        let mut lines = Vec::new();
        generator.fill(&mut lines, events);
        lines
    };
    // Small blocks, as live logs make them: rewritten into two at sealing.
    for _ in 0..40 {
        commit(&mut parts, lines(30), b"segment 1");
    }
    parts.committer.roll(NOW);
    // Two blocks too large to be merged: the segment is sealed as it is.
    for _ in 0..2 {
        commit(&mut parts, lines(620), b"segment 2");
    }
    parts.committer.roll(NOW);
    let last = lines(25);
    commit(&mut parts, last.clone(), b"segment 3");
    commit(&mut parts, lines(10), b"later");
    // Nothing but duplicates: a block without events.
    commit(&mut parts, last, b"end");
    parts.committer.flush_checkpoints(NOW);
    parts.store.record("fixture_written", json!({ "by": "tests/format_v1.rs" }), NOW).unwrap();
    parts.store.record("second_record", json!({}), NOW).unwrap();
    let Parts { store, committer, writer, sealer, .. } = parts;
    drop(committer);
    writer.run(|_| {}).unwrap();
    while let Some(sealed) = sealer.step() {
        let sealed = sealed.unwrap();
        println!("segment {}: {} blocks of {}", sealed.head.segment, sealed.blocks, sealed.blocks_before);
    }
    let answers = serde_json::to_string_pretty(&answers(&store)).unwrap() + "\n";
    std::fs::write(dir.join("expected.json"), answers).unwrap();
    let verified = verify::verify(&RealFs, &dir.join("journal"), false, |_| {}).unwrap();
    println!("DIGEST {}", hex(&verified.digest.unwrap()));
    println!("LINES_BLAKE3 {}", blake3::hash(&contents(&store)).to_hex());
    assert!(segment::lines(&contents(&store)).map(EventId::of_line).count() > 2_000);
}
