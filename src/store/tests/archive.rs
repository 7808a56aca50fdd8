//! Archiving before removal, on a disk that crashes, fills up, and holds other things already.
use super::*;
use crate::archive::run::{Selection, run};
use crate::archive::{ArchiveFormat, ArchiveName, ArchiveSettings, Retained, Stop, Target, parquet, retain};
use crate::journal::fs::Fs;
use std::collections::BTreeMap;

const NOW: i64 = 1_774_138_242_000_000;
const PLAN: RetentionPlan = RetentionPlan { disk_budget_bytes: Some(4_000), answers_days: None, evidence_days: None };

fn settings() -> ArchiveSettings {
    ArchiveSettings { to: Target::Directory("/archive".into()), formats: ArchiveFormat::ALL.to_vec() }
}

fn prepare() -> (SimulatedFs, Parts) {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 60, 3, |_| {}).unwrap();
    (fs, parts)
}

fn put_away(parts: &Parts) -> std::io::Result<Retained> {
    retain(&parts.store, PLAN, NOW, Some(&settings()), &Stop::default())
}

/// Segments of the journal, by number.
fn evidence(fs: &SimulatedFs) -> BTreeMap<u64, Vec<u8>> {
    let dir = Path::new("/data/journal");
    let numbers = crate::journal::log::numbers(fs, dir).unwrap();
    numbers.into_iter().map(|number| (number, fs.read(&dir.join(segment::file_name(number))).unwrap())).collect()
}

/// Complete files of the archive, as they are called.
fn archived(fs: &SimulatedFs) -> BTreeMap<String, (ArchiveName, Vec<u8>)> {
    let dir = Path::new("/archive");
    let names = fs.list(dir).unwrap().into_iter().filter_map(|entry| Some((ArchiveName::parse(&entry.name)?, entry.name)));
    names.map(|(parsed, name)| (name.clone(), (parsed, fs.read(&dir.join(name)).unwrap()))).collect()
}

fn records(store: &Store, event: &str) -> Vec<u64> {
    let mut segments = Vec::new();
    let visit = |_: u64, line: &[u8]| {
        let record: serde_json::Value = serde_json::from_slice(line).unwrap();
        segments.extend((record["event"] == event).then(|| record["details"]["segment"].as_u64().unwrap()));
        true
    };
    store.ledger().for_each(0, visit).unwrap();
    segments
}

#[test]
fn at_no_crash_is_evidence_removed_that_is_not_archived() {
    let (fs, parts) = prepare();
    let originals = evidence(&fs);
    let before = fs.operations();
    let retained = put_away(&parts).unwrap();
    assert!(retained.failed.is_none() && retained.removed.len() > 2, "{retained:?}");
    assert_eq!(archived(&fs).len(), 2 * retained.removed.len());
    let operations = fs.operations() - before;
    for at in 0..operations {
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(at)] {
            let (fs, parts) = prepare();
            fs.crash_after(fs.operations() + at);
            let crashed = put_away(&parts);
            assert!(crashed.is_err() || crashed.unwrap().failed.is_some() || at + 1 >= operations, "operation {at}");
            let fs = fs.after_crash(unsynced);
            let parts = start(&fs, CommittedLen::default()).unwrap();
            let (left, put) = (evidence(&fs), archived(&fs));
            for (number, bytes) in &originals {
                let complete = |format| {
                    put.values().any(|(name, found)| {
                        name.segment == *number && name.format == format && (format == ArchiveFormat::Parquet || found == bytes)
                    })
                };
                let everywhere = ArchiveFormat::ALL.into_iter().all(complete);
                assert!(left.contains_key(number) || everywhere, "operation {at}, {unsynced:?}: segment {number} is nowhere");
            }
            let removed = records(&parts.store, "segment_removed");
            let known = records(&parts.store, "segment_archived");
            assert!(removed.iter().all(|segment| known.contains(segment)), "first the one, then the other");
            // And it goes on to the same end.
            let again = put_away(&parts).unwrap();
            assert!(again.failed.is_none(), "{again:?}");
            let put = archived(&fs);
            assert!(put.values().all(|(name, _)| name.copy == 1), "the same contents have one name: {:?}", put.keys());
            assert_eq!(evidence(&fs).keys().max(), originals.keys().max());
        }
    }
}

#[test]
fn what_cannot_be_archived_is_not_removed_and_goes_when_it_can() {
    let (fs, parts) = prepare();
    let before = evidence(&fs);
    fs.set_free_bytes(700);
    let failed = put_away(&parts).unwrap();
    assert!(failed.removed.is_empty());
    let error = failed.failed.unwrap().to_string();
    assert!(error.contains("No space left") && error.contains("make room"), "{error}");
    assert_eq!(evidence(&fs), before, "whatever the budget says");
    fs.set_free_bytes(1 << 30);
    let retained = put_away(&parts).unwrap();
    assert!(retained.failed.is_none() && retained.removed.len() > 2);
    // One that was told to stop failed at nothing, and removed nothing.
    let (_, parts) = prepare();
    let stop = Stop::default();
    stop.stop();
    let stopped = retain(&parts.store, PLAN, NOW, Some(&settings()), &stop).unwrap();
    assert!(stopped.removed.is_empty() && matches!(stopped.failed, None | Some(crate::archive::ArchiveError::Stopped)), "{stopped:?}");
}

#[test]
fn other_contents_under_a_name_are_left_alone() {
    let (fs, parts) = prepare();
    let journal = parts.store.history().journal;
    let view = parts.store.view();
    let head = view.sealed[0].sidecar.head();
    let name = ArchiveName::new(journal, 1, (head.time_min, head.time_max), ArchiveFormat::Segment);
    let taken = Path::new("/archive").join(name.to_string());
    fs.create(&taken).unwrap().write_at(&[b"somebody else's"], 0).unwrap();
    let retained = put_away(&parts).unwrap();
    assert!(retained.failed.is_none());
    assert_eq!(fs.read(&taken).unwrap(), b"somebody else's");
    let second = ArchiveName { copy: 2, ..name };
    assert_eq!(retained.archived[0].files[0].name, second.to_string());
    assert!(archived(&fs).contains_key(&second.to_string()));
}

#[test]
fn what_was_archived_on_demand_is_neither_written_nor_recorded_again() {
    let (fs, parts) = prepare();
    let originals = evidence(&fs);
    let mut seen = Vec::new();
    let all = |seen: &mut Vec<(u64, u64)>| {
        run(&parts.store, &settings(), Selection::default(), &Stop::default(), &mut |done, total| seen.push((done, total)))
    };
    let first = all(&mut seen);
    assert_eq!((first.problem, first.archived, first.there_before), (None, first.selected, 0));
    assert_eq!(seen.last(), Some(&(first.selected, first.selected)));
    let files = archived(&fs);
    assert_eq!(files.len() as u64, first.files);
    for (name, bytes) in files.values().filter(|(name, _)| name.format == ArchiveFormat::Segment) {
        assert_eq!(originals[&name.segment], *bytes);
    }
    let again = all(&mut seen);
    assert_eq!((again.files, again.there_before), (0, first.selected));
    let retained = put_away(&parts).unwrap();
    assert!(retained.failed.is_none() && !retained.removed.is_empty());
    assert_eq!(archived(&fs), files);
    assert_eq!(records(&parts.store, "segment_archived").len() as u64, first.selected, "one record each");
    let one = Selection { segments: Some((first.selected, first.selected)), until: None };
    assert_eq!(run(&parts.store, &settings(), one, &Stop::default(), &mut |_, _| {}).selected, 1);
    let none = Selection { segments: None, until: Some(0) };
    assert_eq!(run(&parts.store, &settings(), none, &Stop::default(), &mut |_, _| {}).selected, 0);
}

#[test]
fn tables_hold_the_events_of_their_segment() {
    let (fs, parts) = prepare();
    run(&parts.store, &settings(), Selection::default(), &Stop::default(), &mut |_, _| {});
    let view = parts.store.view();
    let (mut previous, mut rows) = ([0; 32], 0);
    for sealed in &view.sealed {
        let head = sealed.sidecar.head();
        let name = ArchiveName::new(parts.store.history().journal, sealed.number, (head.time_min, head.time_max), ArchiveFormat::Parquet);
        let checked = parquet::check(fs.open(&Path::new("/archive").join(name.to_string())).unwrap()).unwrap();
        assert_eq!((checked.rows, checked.promised(), checked.previous()), (head.events, Some(head.digest), Some(previous)));
        (previous, rows) = (head.digest, rows + checked.rows);
    }
    assert!(rows > 20);
}
