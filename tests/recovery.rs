//! What once went wrong when a data directory was opened again: each test names the defect.
use honeyguide::events::batch::Batcher;
use honeyguide::index::ids::IdCache;
use honeyguide::journal::fs::Fs;
use honeyguide::journal::log::{Log, Record};
use honeyguide::journal::simulated::SimulatedFs;
use honeyguide::journal::verify;
use honeyguide::sources::{Chunk, Format, Origin, Source};
use honeyguide::store::{CommittedLen, Layout, Limits, Parts, RetentionPlan, open};
use std::path::Path;
use std::sync::Arc;

fn records(range: std::ops::Range<u64>) -> Vec<Record> {
    range.map(|n| Record { time: 0, line: format!("{{\"n\":{n},\"padding\":\"{n:0>200}\"}}").into_bytes() }).collect()
}

fn all(log: &Log) -> Vec<u64> {
    let mut seqs = Vec::new();
    log.for_each(0, |seq, _| {
        seqs.push(seq);
        true
    })
    .unwrap();
    seqs
}

#[test]
fn a_purge_that_fails_does_not_overwrite_what_is_there() {
    let fs = SimulatedFs::default();
    let open_log = || Log::open(Arc::new(fs.clone()), Path::new("/log"), "test", 1 << 30, 0).unwrap();
    let mut log = open_log();
    for n in 0..5 {
        log.append(&records(n * 5..n * 5 + 5), 0).unwrap();
    }
    assert_eq!(all(&log).len(), 25);
    fs.fail_next_write();
    assert!(log.begin_segment(0).is_err()); // what Quarantine::retain does first
    log.append(&records(25..26), 0).unwrap();
    drop(log);
    let log = open_log();
    assert_eq!(all(&log).len(), 26, "records acknowledged before and behind the failed purge");
}

fn line(n: u64, month: u64) -> String {
    format!(r#"{{"eventid":"cowrie.login.failed","session":"{n:012x}","sensor":"s","timestamp":"2026-{month:02}-01T00:00:00.{n:06}Z"}}"#)
        + "\n"
}

fn chunk(data: String) -> Chunk {
    Chunk {
        origin: Origin {
            source: Arc::new(Source { name: "test".into(), format: Format::COWRIE }),
            stream: "test/1-1".into(),
            run: 0,
            ordinal: 0,
            path: "/log".into(),
            offset: 0,
            generation: 0,
            first_seen: 0,
            input_bytes: 0,
            received_at: 1_774_138_242_000_000,
            reflowed: false,
            checkpoint: vec![1],
            permit: None,
            only_sensors: None,
        },
        data: data.into_bytes(),
        places: vec![],
        refused: vec![],
        stored: None,
    }
}

fn start(fs: &SimulatedFs, committed: CommittedLen) -> Parts {
    open(Arc::new(fs.clone()), Layout::new(Path::new("/data")), Limits::default(), committed, 1, &mut |_| {}).unwrap()
}

fn commit(parts: &mut Parts, data: String) {
    let known = parts.store.known(IdCache::new());
    let batch = Batcher::new().extract(chunk(data), &known);
    parts.committer.commit(batch, known.generation(), 1).unwrap();
}

#[test]
fn two_faults_in_a_row_leave_a_journal_that_verifies() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default());
    for n in 0..2 {
        commit(&mut parts, line(n, 1));
        fs.fail_next_write();
        let Parts { store, committer, writer, sealer, .. } = parts;
        drop(committer);
        let fault = writer.run(|_| {}).unwrap_err();
        while sealer.step().is_some() {}
        drop(sealer);
        parts = store
            .reopen(CommittedLen { trusted: Some((fault.segment, fault.trusted_len)), ..CommittedLen::default() }, 1, &mut |_| {})
            .unwrap();
    }
    commit(&mut parts, line(3, 1));
    let Parts { committer, writer, sealer, .. } = parts;
    drop(committer);
    writer.run(|_| {}).unwrap();
    while sealer.step().is_some() {}
    let verified = verify::verify(&fs, Path::new("/data/journal"), false, |_| {}).unwrap();
    let names: Vec<_> = fs.list(Path::new("/data/journal")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(verified.damage, vec![], "{names:?}");
}

#[test]
fn a_last_segment_that_cannot_be_read_is_not_deleted() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default());
    commit(&mut parts, line(0, 1));
    let head = parts.committer.head();
    let saved = Some((head.segment(), head.len()));
    let Parts { committer, writer, .. } = parts;
    drop(committer);
    writer.run(|_| {}).unwrap();
    // One bit of the opening and one of the only block's header; or: written by a later format version.
    let path = Path::new("/data/journal/00000001.zst");
    let file = fs.open(path).unwrap();
    let block = honeyguide::journal::segment::scan(&*file, 1, false).unwrap().blocks[0].meta.offset;
    let before = fs.read(path).unwrap();
    fs.flip(path, 20 * 8);
    fs.flip(path, (block + 20) * 8);
    let parts = start(&fs, CommittedLen { saved, ..CommittedLen::default() });
    let torn = parts.report.torn.expect("it is reported");
    assert_eq!((torn.segment, torn.offset, torn.bytes.len()), (1, 0, before.len()));
    let kept = fs.list(Path::new("/data/quarantine")).unwrap();
    assert!(kept.iter().any(|entry| entry.name.starts_with("torn-") && entry.len == before.len() as u64), "every byte is kept: {kept:?}");
}

#[test]
fn retention_of_segments_in_the_middle_leaves_a_journal_that_verifies() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default());
    // New events, then an old archive is loaded, then new events again.
    for (n, month) in [(1, 3), (2, 1), (3, 3)] {
        commit(&mut parts, line(n, month));
        parts.committer.roll(1);
    }
    let Parts { store, committer, writer, sealer, .. } = parts;
    drop(committer);
    writer.run(|_| {}).unwrap();
    while sealer.step().is_some() {}
    let april = honeyguide::events::time::parse(b"2026-04-01T00:00:00.000000Z").unwrap();
    let removed = store.retain(RetentionPlan { evidence_days: Some(60), ..RetentionPlan::default() }, april).unwrap();
    assert_eq!(removed, vec![], "the old events wait for what is before them: a gap would look like tampering");
    let verified = verify::verify(&fs, Path::new("/data/journal"), true, |_| {}).unwrap();
    assert_eq!(verified.damage, vec![], "retention is not damage");
}

#[test]
fn a_flipped_bit_in_the_last_ledger_record_is_not_cut_off_silently() {
    let fs = SimulatedFs::default();
    let open_log = || Log::open(Arc::new(fs.clone()), Path::new("/log"), "ledger", 1 << 30, 0).unwrap();
    let mut log = open_log();
    log.append(&records(0..1), 0).unwrap();
    log.append(&records(1..2), 0).unwrap();
    let path = Path::new("/log/00000001.zst");
    let len = fs.read(path).unwrap().len() as u64;
    fs.flip(path, (len - 5) * 8);
    let log = open_log();
    let torn = log.torn.as_ref().expect("it is reported");
    let kept = fs.list(Path::new("/log")).unwrap();
    assert!(
        kept.iter().any(|entry| entry.name.starts_with("torn-") && entry.len == torn.bytes.len() as u64),
        "every byte is kept: {kept:?}"
    );
    assert_eq!(fs.read(path).unwrap().len() + torn.bytes.len(), len as usize);
}
