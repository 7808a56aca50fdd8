//! The store on a simulated disk: crashes at every operation, failed writes and syncs, damage.
use super::open::{Parts, open};
use super::writer::Wait;
use super::*;
use crate::events::EventId;
use crate::events::batch::Batcher;
use crate::index::ids::IdCache;
use crate::journal::segment::{BlockReader, lines};
use crate::journal::simulated::{SimulatedFs, Unsynced};
use crate::journal::verify;
use crate::sources::{Chunk, Format, Origin, Source};
use std::collections::HashSet;

mod archive;

const STREAM: &str = "test/1-1";

fn limits() -> Limits {
    Limits { segment_raw_bytes: 1_500, day_raw_bytes: u64::MAX, ..Limits::default() }
}

fn line(n: u64) -> String {
    let session = n / 3;
    format!(
        r#"{{"eventid":"cowrie.login.failed","username":"root","password":"p{}","session":"{session:012x}","src_ip":"192.0.2.{}","sensor":"s{}","timestamp":"2026-03-{:02}T00:00:00.{n:06}Z"}}"#,
        n % 7,
        n % 5,
        n % 2,
        1 + n / 20,
    )
}

/// Lines `from..to` of the endless test log; every eleventh is no JSON.
fn chunk(from: u64, to: u64) -> Chunk {
    let text = |n: u64| if n % 11 == 10 { format!("garbage {n}\n") } else { line(n) + "\n" };
    Chunk {
        origin: Origin {
            source: Arc::new(Source { name: "test".into(), format: Format::COWRIE }),
            stream: STREAM.into(),
            run: 0,
            ordinal: 0,
            path: "/log".into(),
            offset: from,
            generation: 0,
            first_seen: 0,
            input_bytes: 0,
            received_at: 1_774_138_242_000_000,
            reflowed: false,
            checkpoint: to.to_le_bytes().to_vec(),
            permit: None,
            only_sensors: None,
        },
        data: (from..to).flat_map(|n| text(n).into_bytes()).collect(),
        places: vec![],
        refused: vec![],
        stored: None,
    }
}

fn good(range: std::ops::Range<u64>) -> Vec<String> {
    range.filter(|n| n % 11 != 10).map(line).collect()
}

fn start(fs: &SimulatedFs, committed: CommittedLen) -> Result<Parts, OpenError> {
    open(Arc::new(fs.clone()), Layout::new(Path::new("/data")), limits(), committed, 1, &mut |_| {})
}

fn position(parts: &Parts) -> u64 {
    parts.committer.checkpoint(STREAM).map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}

/// Commits the log from the checkpoint to `end`, `group` chunks per sync. Returns the position acknowledged last.
fn drive(parts: &mut Parts, end: u64, group: u64, mut acknowledged: impl FnMut(u64)) -> Result<(), String> {
    let mut batcher = Batcher::new();
    let mut from = position(parts);
    let mut chunks = 0;
    while from < end {
        let to = (from + 4).min(end);
        let known = parts.store.known(IdCache::new());
        let batch = batcher.extract(chunk(from, to), &known);
        parts.committer.commit(batch, known.generation(), 1).map_err(|error| error.to_string())?;
        from = to;
        chunks += 1;
        if chunks % group == 0 || from == end {
            if from == end {
                parts.committer.flush_checkpoints(1);
            }
            while let Some(durable) = parts.writer.step(Wait::Never).map_err(|fault| fault.to_string())? {
                for ticket in durable.tickets {
                    acknowledged(ticket.origin.offset + 4);
                }
            }
            while let Some(sealed) = parts.sealer.step() {
                sealed.map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

/// Every event that readers see, in order of sequence numbers, with the numbers checked.
fn contents(store: &Store) -> Vec<String> {
    let view = store.view();
    let mut reader = BlockReader::default();
    let mut block = Vec::new();
    let mut found = Vec::new();
    let mut next_seq = 1;
    let mut take = |file: &dyn File, meta: &crate::index::BlockMeta| {
        assert_eq!(meta.first_seq, next_seq, "sequence numbers have no gaps");
        next_seq += u64::from(meta.events);
        reader.read(file, meta, &mut block).unwrap();
        found.extend(lines(&block).map(|line| String::from_utf8(line.to_vec()).unwrap()));
    };
    let mut segments: Vec<(u64, Arc<dyn File>, Vec<crate::index::BlockMeta>)> = Vec::new();
    for sealed in &view.sealed {
        use crate::index::part::IndexPart;
        segments.push((sealed.number, sealed.file.clone().unwrap(), sealed.sidecar.blocks().unwrap()));
    }
    for live in &view.live {
        let inner = live.read();
        let durable = inner.index.metas()[..live.durable_blocks() as usize].to_vec();
        segments.push((live.number, inner.file.clone(), durable));
    }
    segments.sort_by_key(|segment| segment.0);
    segments.iter().for_each(|(_, file, metas)| metas.iter().for_each(|meta| take(&**file, meta)));
    found
}

fn assert_whole(fs: &SimulatedFs, store: &Store, what: &str) {
    for dir in ["/data/journal", "/data/quarantine", "/data/ledger"] {
        let verified = verify::verify(fs, Path::new(dir), false, |_| {}).unwrap();
        assert_eq!(verified.damage, vec![], "{what}: {dir}");
    }
    for sealed in &store.view().sealed {
        sealed.sidecar.verify().unwrap();
    }
    let all = contents(store);
    let ids: Vec<EventId> = all.iter().map(|line| EventId::of_line(line.as_bytes())).collect();
    let hours: Vec<i32> = all.iter().map(|line| hour_of_line(line)).collect();
    for (id, hour) in ids.iter().zip(hours) {
        assert_eq!(store.view().contains(&[*id], &[hour], &mut IdCache::new()).unwrap(), [true]);
    }
}

fn hour_of_line(line: &str) -> i32 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    crate::events::time::hour_of(crate::events::time::parse(value["timestamp"].as_str().unwrap().as_bytes()).unwrap())
}

fn refused(store: &Store) -> HashSet<String> {
    let mut texts = HashSet::new();
    let again = |_, record: QuarantineRecord| {
        if record.reason == crate::sources::Reason::NotAnObject {
            assert!(texts.insert(record.text.unwrap()), "refused twice");
        }
        true
    };
    store.quarantine().for_each(0, again).unwrap();
    texts
}

#[test]
fn events_refusals_and_answers_survive_closing_and_opening() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 100, 3, |_| {}).unwrap();
    assert_eq!(contents(&parts.store), good(0..100));
    drop(parts);
    let parts = start(&fs, CommittedLen::default()).unwrap();
    assert_eq!(position(&parts), 100);
    assert_eq!(contents(&parts.store), good(0..100));
    assert!(parts.store.view().sealed.len() > 3, "segments were sealed");
    assert_eq!(refused(&parts.store).len(), 9);
    assert_whole(&fs, &parts.store, "after opening again");
    assert!(parts.report.damage.is_empty() && parts.report.torn.is_none() && parts.report.sidecars_rebuilt.is_empty());
}

#[test]
fn the_same_input_again_is_all_duplicates() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 100, 3, |_| {}).unwrap();
    let before = contents(&parts.store);
    let mut batcher = Batcher::new();
    for from in (0..100).step_by(4) {
        let known = parts.store.known(IdCache::new());
        let batch = batcher.extract(chunk(from, from + 4), &known);
        let committed = parts.committer.commit(batch, known.generation(), 1).unwrap();
        assert_eq!(committed.events, 0);
    }
    parts.committer.flush_checkpoints(1);
    while parts.writer.step(Wait::Never).unwrap().is_some() {}
    assert_eq!(contents(&parts.store), before);
    assert_eq!(refused(&parts.store).len(), 9);
}

#[test]
fn a_batch_checked_before_a_segment_was_sealed_is_still_checked_against_it() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    let mut batcher = Batcher::new();
    let known = parts.store.known(IdCache::new());
    let (first, late) = (batcher.extract(chunk(0, 8), &known), batcher.extract(chunk(4, 12), &known));
    let generation = known.generation();
    parts.committer.commit(first, generation, 1).unwrap();
    parts.committer.roll(1);
    while parts.writer.step(Wait::Never).unwrap().is_some() {}
    parts.sealer.step().unwrap().unwrap();
    assert_eq!(parts.store.view().sealed.len(), 1);
    let committed = parts.committer.commit(late, generation, 1).unwrap();
    assert_eq!((committed.events, committed.duplicates), (3, 4));
    while parts.writer.step(Wait::Never).unwrap().is_some() {}
    assert_eq!(contents(&parts.store), good(0..12));
}

/// A crash at every operation of a recorded run, with everything unsynced forgotten, kept, or torn: nothing acknowledged
/// is missing, nothing is there twice, the chain is whole, and the log can be read on from the checkpoint.
#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged_and_repeats_nothing() {
    const END: u64 = 60;
    let run = |fs: &SimulatedFs, group: u64| -> u64 {
        let mut last = 0;
        if let Ok(mut parts) = start(fs, CommittedLen::default()) {
            // The machine stops here: what is left of the run does not matter.
            let _ = drive(&mut parts, END, group, |position| last = position.min(END));
        }
        last
    };
    for group in [1, 3] {
        let whole = SimulatedFs::default();
        assert_eq!(run(&whole, group), END);
        for at in 0..whole.operations() {
            for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(at * 2 + 1)] {
                let what = format!("crash after operation {at} of group {group}, {unsynced:?}");
                let fs = SimulatedFs::default();
                fs.crash_after(at);
                let acknowledged = run(&fs, group);
                let fs = fs.after_crash(unsynced);
                let mut parts = start(&fs, CommittedLen::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(parts.report.damage, vec![], "{what}");
                let position = position(&parts);
                assert!(position >= acknowledged, "{what}: at {position}, acknowledged {acknowledged}");
                assert_eq!(contents(&parts.store), good(0..position), "{what}");
                drive(&mut parts, END, group, |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(contents(&parts.store), good(0..END), "{what}");
                assert_eq!(refused(&parts.store).len(), (0..END).filter(|n| n % 11 == 10).count(), "{what}");
                assert_whole(&fs, &parts.store, &what);
            }
        }
    }
}

#[test]
fn a_crash_during_retention_leaves_whole_segments() {
    let prepare = || {
        let fs = SimulatedFs::default();
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        drive(&mut parts, 100, 3, |_| {}).unwrap();
        (fs, parts)
    };
    let plan = RetentionPlan { disk_budget_bytes: Some(4_000), answers_days: None, evidence_days: None };
    let (fs, parts) = prepare();
    let before = fs.operations();
    let removed = parts.store.retain(plan, 1_774_138_242_000_000).unwrap();
    assert!(removed.len() > 2);
    let operations = fs.operations() - before;
    assert!(operations > 4);
    for at in 0..operations {
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            let (fs, parts) = prepare();
            fs.crash_after(fs.operations() + at);
            assert!(parts.store.retain(plan, 1_774_138_242_000_000).is_err());
            let fs = fs.after_crash(unsynced);
            let parts = start(&fs, CommittedLen::default()).unwrap();
            assert_eq!(position(&parts), 100);
            let verified = verify::verify(&fs, Path::new("/data/journal"), false, |_| {}).unwrap();
            assert_eq!(verified.damage, vec![]);
            parts.store.retain(plan, 1_774_138_242_000_000).unwrap();
        }
    }
}

#[test]
fn evidence_may_go_before_its_answers() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 100, 3, |_| {}).unwrap();
    let plan = RetentionPlan { evidence_days: Some(1), ..RetentionPlan::default() };
    let removed = parts.store.retain(plan, i64::MAX / 2).unwrap();
    assert!(removed.iter().all(|removed| removed.evidence && !removed.answers) && removed.len() > 2);
    let check = |store: &Store| {
        let view = store.view();
        assert!(view.sealed.iter().all(|sealed| sealed.file.is_none()));
        let first = line(0);
        let known = view.contains(&[EventId::of_line(first.as_bytes())], &[hour_of_line(&first)], &mut IdCache::new()).unwrap();
        assert_eq!(known, [true], "what was once stored is not accepted again");
    };
    check(&parts.store);
    drop(parts);
    check(&start(&fs, CommittedLen::default()).unwrap().store);
}

#[test]
fn after_a_failed_write_or_sync_nothing_in_doubt_is_acknowledged() {
    for fail in [SimulatedFs::fail_next_write as fn(&SimulatedFs), SimulatedFs::fail_next_sync] {
        let fs = SimulatedFs::default();
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        drive(&mut parts, 24, 1, |_| {}).unwrap();
        let mut batcher = Batcher::new();
        for from in [24, 28] {
            let known = parts.store.known(IdCache::new());
            // 24..32 holds no refusal, so that the failure hits the journal and not the quarantine.
            let batch = batcher.extract(chunk(from, from + 4), &known);
            parts.committer.commit(batch, known.generation(), 1).unwrap();
        }
        fail(&fs);
        let fault = parts.writer.step(Wait::Never).unwrap_err();
        let store = parts.store.clone();
        drop(parts);
        assert_eq!(contents(&store), good(0..24), "readers never see what is not durable");
        let committed = CommittedLen { trusted: Some((fault.segment, fault.trusted_len)), ..CommittedLen::default() };
        let mut parts = store.reopen(committed, 2, &mut |_| {}).unwrap();
        assert_eq!(position(&parts), 24, "the source is asked again from the last acknowledged line");
        assert!(parts.committer.head().segment() > fault.segment, "the descriptor in doubt is never written again");
        drive(&mut parts, 100, 2, |_| {}).unwrap();
        assert_eq!(contents(&parts.store), good(0..100));
        assert_whole(&fs, &parts.store, "after the fault");
        drop(parts);
        assert_eq!(contents(&start(&fs, CommittedLen::default()).unwrap().store), good(0..100));
    }
}

#[test]
fn a_full_disk_stops_intake_and_loses_nothing() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 20, 1, |_| {}).unwrap();
    fs.set_free_bytes(100);
    let mut batcher = Batcher::new();
    let known = parts.store.known(IdCache::new());
    parts.committer.commit(batcher.extract(chunk(20, 24), &known), known.generation(), 1).unwrap();
    let fault = parts.writer.step(Wait::Never).unwrap_err();
    let store = parts.store.clone();
    drop(parts);
    let committed = CommittedLen { trusted: Some((fault.segment, fault.trusted_len)), ..CommittedLen::default() };
    assert!(store.reopen(committed, 2, &mut |_| {}).is_err(), "there is no room for the next segment's opening");
    assert_eq!(contents(&store), good(0..20), "answers go on");
    fs.set_free_bytes(1 << 30);
    let mut parts = store.reopen(committed, 2, &mut |_| {}).unwrap();
    drive(&mut parts, 60, 1, |_| {}).unwrap();
    assert_eq!(contents(&parts.store), good(0..60));
    assert_whole(&fs, &parts.store, "after the disk had room again");
}

#[test]
fn damage_below_the_committed_length_is_reported_and_not_taken_for_a_torn_append() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 8, 1, |_| {}).unwrap();
    let saved = Some((parts.committer.head().segment(), parts.committer.head().len()));
    let last = parts.store.view().live[0].read().index.metas()[1];
    drop(parts);
    fs.flip(Path::new("/data/journal/00000001.zst"), (last.offset + 20) * 8);
    let mut parts = start(&fs, CommittedLen { saved, ..CommittedLen::default() }).unwrap();
    assert_eq!(parts.report.damage.len(), 1);
    assert_eq!((parts.report.damage[0].segment, parts.report.damage[0].block), (1, Some(1)));
    assert!(parts.report.torn.is_none());
    drive(&mut parts, 30, 1, |_| {}).unwrap();
    let verified = verify::verify(&fs, Path::new("/data/journal"), false, |_| {}).unwrap();
    assert!(verified.damage.iter().any(|damage| (damage.segment, damage.block) == (1, Some(1))));
}

#[test]
fn every_flipped_byte_is_found_and_named_by_segment_and_block() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 40, 2, |_| {}).unwrap();
    drop(parts);
    let all = crate::journal::log::numbers(&fs, Path::new("/data/journal")).unwrap();
    for &number in &all {
        let path = Path::new("/data/journal").join(segment::file_name(number));
        let file = fs.open(&path).unwrap();
        let blocks = segment::scan(&*file, number, false).unwrap().blocks;
        for byte in 0..file.len().unwrap() {
            fs.flip(&path, byte * 8 + byte % 8);
            let verified = verify::verify(&fs, Path::new("/data/journal"), false, |_| {}).unwrap();
            fs.flip(&path, byte * 8 + byte % 8);
            let inside = blocks.iter().position(|block| {
                let meta = block.meta;
                (meta.offset..meta.offset + u64::from(meta.header_len) + u64::from(meta.data_len)).contains(&byte)
            });
            let named = verified
                .damage
                .iter()
                .any(|damage| damage.segment == number && inside.is_none_or(|block| damage.block == Some(block as u32)));
            assert!(named, "segment {number}, byte {byte} (block {inside:?}): {:?}", verified.damage);
        }
    }
}

#[test]
fn sealing_that_fails_at_any_step_is_tried_again_and_readers_notice_nothing() {
    let prepare = || {
        let fs = SimulatedFs::default();
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        let mut batcher = Batcher::new();
        for from in (0..40).step_by(4) {
            let known = parts.store.known(IdCache::new());
            parts.committer.commit(batcher.extract(chunk(from, from + 4), &known), known.generation(), 1).unwrap();
            if from == 16 {
                parts.committer.roll(1);
            }
        }
        while parts.writer.step(Wait::Never).unwrap().is_some() {}
        (fs, parts)
    };
    let (fs, parts) = prepare();
    let before = fs.operations();
    while parts.sealer.step().is_some() {}
    let operations = fs.operations() - before;
    assert!(operations > 6);
    for at in 0..operations {
        let (fs, parts) = prepare();
        fs.fail_operation(fs.operations() + at);
        let Parts { store, committer, writer, sealer, .. } = parts;
        let expected = store.view().live.len() - 1;
        // Without a writer the sealer ends when its queue is empty; what failed is tried again before.
        drop((committer, writer));
        let (mut sealed, mut failed) = (0, 0);
        sealer.run(std::time::Duration::ZERO, |outcome| {
            match outcome {
                Ok(_) => sealed += 1,
                Err(_) => failed += 1,
            }
            assert_eq!(contents(&store), good(0..40), "operation {at}");
        });
        assert_eq!((sealed, failed), (expected, 1), "operation {at}");
        assert_whole(&fs, &store, "after sealing again");
    }
}

/// Everything a reader sees from `from` on: lines, and what was missing.
fn read_from(store: &Store, from: u64) -> (Vec<(u64, String)>, Vec<Gap>) {
    let mut reader = JournalReader::new(store.clone(), from);
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match reader.load().unwrap() {
            Found::End => return (events, gaps),
            Found::Gap(gap) => gaps.push(gap),
            Found::Event => {
                let event = reader.event().unwrap();
                assert_eq!(event.id, EventId::of_line(event.line));
                assert_eq!((&**event.source, event.format, event.received_at), ("test", Format::COWRIE, 1_774_138_242_000_000));
                events.push((event.seq, String::from_utf8(event.line.to_vec()).unwrap()));
                reader.advance();
            }
        }
    }
}

#[test]
fn a_reader_sees_every_durable_event_in_order_from_any_position() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 120, 3, |_| {}).unwrap();
    let expected = good(0..120);
    assert!(parts.store.view().sealed.len() > 3, "several segments");
    for from in [0, 1, 2, 17, 50, expected.len() as u64, expected.len() as u64 + 1, 10_000] {
        let (events, gaps) = read_from(&parts.store, from);
        let skipped = from.saturating_sub(1) as usize;
        assert!(gaps.is_empty());
        assert!(events.iter().map(|(_, line)| line).eq(expected.iter().skip(skipped)), "from {from}");
        assert!(events.iter().map(|(seq, _)| *seq).eq(from.max(1)..from.max(1) + events.len() as u64));
    }
    assert_eq!(*parts.store.durable_seq().borrow(), expected.len() as u64 + 1);
    // Staged, and not durable: neither seen nor signalled.
    let known = parts.store.known(IdCache::new());
    parts.committer.commit(Batcher::new().extract(chunk(120, 124), &known), known.generation(), 1).unwrap();
    assert_eq!(read_from(&parts.store, 1).0.len(), expected.len());
    let mut signal = parts.store.durable_seq();
    signal.borrow_and_update();
    while parts.writer.step(Wait::Never).unwrap().is_some() {}
    assert!(signal.has_changed().unwrap());
    assert_eq!(read_from(&parts.store, 1).0.len(), good(0..124).len());
}

#[test]
fn a_reader_keeps_its_place_while_segments_are_sealed_under_it() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    let mut reader = JournalReader::new(parts.store.clone(), 1);
    let mut seen = Vec::new();
    let mut batcher = Batcher::new();
    for from in (0..200).step_by(2) {
        let known = parts.store.known(IdCache::new());
        parts.committer.commit(batcher.extract(chunk(from, from + 2), &known), known.generation(), 1).unwrap();
        while parts.writer.step(Wait::Never).unwrap().is_some() {}
        // One behind the writer, so that it is in a segment that is being sealed now and then.
        while from > 20 && seen.len() + 10 < from as usize && reader.load().unwrap() == Found::Event {
            seen.push(String::from_utf8(reader.event().unwrap().line.to_vec()).unwrap());
            reader.advance();
            if seen.len() % 7 == 0 {
                reader.rest();
            }
            while parts.sealer.step().is_some() {}
        }
    }
    let expected = good(0..200);
    assert!(seen.len() > 100);
    assert_eq!(seen, expected[..seen.len()]);
}

#[test]
fn a_reader_tells_what_retention_took_and_what_is_damaged() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 120, 3, |_| {}).unwrap();
    let view = parts.store.view();
    let (first, second) = (view.sealed[0].sidecar.head(), view.sealed[1].sidecar.head());
    let (first_events, second_first) = (first.events, second.first_seq);
    parts.store.hold("a", Some(second_first));
    parts.store.hold("b", Some(second_first + 1));
    let plan = RetentionPlan { disk_budget_bytes: Some(0), ..RetentionPlan::default() };
    let removed = parts.store.retain(plan, 1).unwrap();
    assert_eq!(removed.len(), 1, "the rest is needed: {removed:?}");
    let (events, gaps) = read_from(&parts.store, 3);
    assert_eq!(gaps, [Gap { first_seq: 3, events: first_events - 2, why: Missing::Removed }]);
    assert_eq!(events[0].0, second_first);
    assert_eq!(parts.store.first_seq(), second_first);
    // A flipped bit in the data of the last block of the second segment.
    let block = {
        use crate::index::part::IndexPart;
        *view.sealed[1].sidecar.blocks().unwrap().last().unwrap()
    };
    let path = Layout::new(Path::new("/data")).journal.join(segment::file_name(view.sealed[1].number));
    fs.flip(&path, (block.offset + u64::from(block.header_len) + 3) * 8);
    let (events, gaps) = read_from(&parts.store, second_first);
    assert_eq!((gaps.len(), gaps[0].first_seq, gaps[0].events), (1, block.first_seq, u64::from(block.events)), "{gaps:?}");
    assert!(matches!(&gaps[0].why, Missing::Damaged(_)));
    assert_eq!(events.len() as u64 + gaps[0].events, good(0..120).len() as u64 - first_events);
}

#[test]
fn a_position_is_found_by_time() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 120, 3, |_| {}).unwrap();
    let day = |day: u32| crate::events::time::parse(format!("2026-03-{day:02}T00:00:00Z").as_bytes()).unwrap();
    assert_eq!(parts.store.seq_at(day(1)).unwrap(), 1);
    let (events, _) = read_from(&parts.store, parts.store.seq_at(day(4)).unwrap());
    let expected: Vec<String> = good(60..120);
    assert!(events.len() >= expected.len() && events.len() < expected.len() + 8, "whole blocks: {}", events.len());
    assert_eq!(parts.store.seq_at(day(31)).unwrap(), good(0..120).len() as u64 + 1);
}

#[test]
fn a_journal_stays_the_same_when_segments_begin_and_go_and_a_new_one_is_another() {
    let fs = SimulatedFs::default();
    let open_at = |fs: &SimulatedFs, now| {
        open(Arc::new(fs.clone()), Layout::new(Path::new("/data")), limits(), CommittedLen::default(), now, &mut |_| {}).unwrap()
    };
    let first = open_at(&fs, 1).store.history();
    assert_eq!((first.opened_at, first.opened_seq), (1, 1));
    let mut parts = open_at(&fs, 2);
    assert_eq!(parts.store.history(), super::History { opened_at: 2, ..first });
    drive(&mut parts, 200, 3, |_| {}).unwrap();
    drop(parts);
    let numbers = crate::journal::log::numbers(&fs, Path::new("/data/journal")).unwrap();
    for number in &numbers[..numbers.len() - 1] {
        fs.remove(&Path::new("/data/journal").join(crate::journal::segment::file_name(*number))).unwrap();
    }
    assert!(numbers.len() > 1);
    let again = open_at(&fs, 3).store.history();
    assert_eq!(again, super::History { opened_at: 3, opened_seq: again.opened_seq, ..first });
    assert!(again.opened_seq > 100);
    assert_ne!(open_at(&SimulatedFs::default(), 4).store.history().journal, first.journal);
}

#[test]
fn dead_letters_that_a_full_quarantine_loses_are_told_by_sink() {
    let fs = SimulatedFs::default();
    let limits = Limits { quarantine_bytes: 1, ..limits() };
    let parts = open(Arc::new(fs), Layout::new(Path::new("/data")), limits, CommittedLen::default(), 1, &mut |_| {}).unwrap();
    let letter = |sequence: u64, sink: &str| {
        let text = "x".repeat(1 << 20);
        let (len, hash) = (text.len() as u64, *blake3::hash(text.as_bytes()).as_bytes());
        let reason = crate::sources::Reason::Undeliverable;
        let refused = crate::sources::Refused { reason, offset: sequence, len, hash, bytes: text.into(), detail: String::new() };
        let undelivered = super::Undelivered { sink: sink.into(), sequence, id: format!("{sequence:032x}"), time: 0 };
        QuarantineRecord { undelivered: Some(undelivered), ..QuarantineRecord::new(&refused, "c", "cowrie", sink, 0) }
    };
    assert!(parts.store.bury(&[letter(5, "b"), letter(4, "a"), letter(3, "b")], 0).unwrap().is_empty());
    let gone: Vec<_> = (10..20).flat_map(|sequence| parts.store.bury(&[letter(sequence, "c")], 0).unwrap()).collect();
    assert_eq!(gone[..2], [("a".to_owned(), (4, 1)), ("b".to_owned(), (3, 2))]);
    assert_eq!((parts.store.letters_lost("a"), parts.store.letters_lost("b"), parts.store.letters_lost("d")), (1, 2, 0));
}

#[test]
fn the_newest_dead_letters_of_a_sink_are_found_however_many_others_have() {
    let parts =
        open(Arc::new(SimulatedFs::default()), Layout::new(Path::new("/data")), limits(), CommittedLen::default(), 1, &mut |_| {}).unwrap();
    let letter = |sequence: u64, sink: &str| {
        let bytes = sequence.to_string().into_bytes();
        let (len, hash) = (bytes.len() as u64, *blake3::hash(&bytes).as_bytes());
        let reason = crate::sources::Reason::Undeliverable;
        let refused = crate::sources::Refused { reason, offset: sequence, len, hash, bytes, detail: String::new() };
        let undelivered = super::Undelivered { sink: sink.into(), sequence, id: format!("{sequence:032x}"), time: 0 };
        QuarantineRecord { undelivered: Some(undelivered), ..QuarantineRecord::new(&refused, "c", "cowrie", sink, 0) }
    };
    let letters: Vec<_> = (1..=3_000).map(|sequence| letter(sequence, if matches!(sequence, 2 | 900) { "a" } else { "b" })).collect();
    parts.store.bury(&letters, 0).unwrap();
    let found = |sink: &str, limit: u64| -> Vec<u64> {
        crate::service::sinks::dead(&parts.store, sink, limit).unwrap().iter().map(|letter| letter.sequence).collect()
    };
    assert_eq!(found("a", 50), [900, 2]);
    assert_eq!(found("a", 1), [900]);
    assert_eq!(found("b", 3), [3_000, 2_999, 2_998]);
    assert_eq!((found("b", 0), found("c", 50), found("b", u64::MAX).len()), (vec![], vec![], 2_998));
}

#[test]
fn what_is_carried_stands_in_the_next_opening_and_outlives_the_state() {
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 30, 3, |_| {}).unwrap();
    parts.store.carry("sink:a", vec![1, 2]);
    parts.store.carry("sink:b", vec![3]);
    drive(&mut parts, 90, 3, |_| {}).unwrap();
    parts.store.carry("sink:b", Vec::new());
    drive(&mut parts, 120, 3, |_| {}).unwrap();
    drop(parts);
    let parts = start(&fs, CommittedLen::default()).unwrap();
    assert_eq!((parts.store.carried("sink:a"), parts.store.carried("sink:b")), (Some(vec![1, 2]), None));
    assert_eq!(position(&parts), 120, "checkpoints of sources are not touched");
}

#[test]
fn a_feed_lets_through_what_its_filter_matches_and_the_cursor_passes_the_rest() {
    use crate::index::query::Query;
    use crate::sinks::events_feed::EventsFeed;
    use crate::sinks::feed::{BatchLimits, Feed};
    let fs = SimulatedFs::default();
    let mut parts = start(&fs, CommittedLen::default()).unwrap();
    drive(&mut parts, 120, 3, |_| {}).unwrap();
    let all = good(0..120);
    let take_all = |filter: Option<&str>, limits: BatchLimits| {
        let filter = filter.map(|text| Query::parse(text, 0).unwrap());
        let mut feed = EventsFeed::new(parts.store.clone(), 1, filter, true);
        let (mut lines, mut batches, mut cursor) = (Vec::new(), Vec::new(), 1);
        loop {
            let taken = feed.take(limits, 0).unwrap();
            assert!(taken.cursor >= cursor);
            cursor = taken.cursor;
            batches.push(taken.batch.items.len());
            for item in &taken.batch.items {
                assert!(item.seq < cursor);
                let line = String::from_utf8(taken.batch.payload(item).to_vec()).unwrap();
                assert!(line.contains(&crate::events::time::format(item.time)[..19]), "the event's own time");
                lines.push(line);
            }
            if !taken.more {
                assert_eq!(cursor, all.len() as u64 + 1);
                return (lines, batches);
            }
        }
    };
    let wide = BatchLimits { items: 1_000, bytes: 1 << 20 };
    assert_eq!(take_all(None, wide).0, all);
    let (lines, batches) = take_all(None, BatchLimits { items: 7, ..wide });
    assert_eq!((lines, batches.iter().max()), (all.clone(), Some(&7)));
    let (lines, batches) = take_all(None, BatchLimits { bytes: 10, ..wide });
    assert_eq!((lines, batches.iter().max()), (all.clone(), Some(&1)), "one that is too large goes alone");
    let wanted = |line: &&String| line.contains("\"sensor\":\"s1\"") && line.contains("\"192.0.2.3\"");
    let expected: Vec<String> = all.iter().filter(wanted).cloned().collect();
    assert!(!expected.is_empty());
    assert_eq!(take_all(Some("sensor:s1 src_ip:192.0.2.3"), wide).0, expected);
    assert_eq!(take_all(Some("sensor:nosuch"), wide).0, Vec::<String>::new());
}

/// Three logs whose events are told apart in three ways, in one journal.
mod rules {
    use super::*;
    use crate::events::mapping::Description;

    const LINES: u64 = 36;
    const LINE_BYTES: u64 = 64;

    fn formats() -> [Format; 3] {
        let describe = |name: &str, identity: &str| -> Description {
            toml::from_str(&format!("name = \"{name}\"\nidentity = {identity}\nfields = {{ url = \"u\" }}\nsensor = \"s\"")).unwrap()
        };
        let described = vec![describe("by-id", "[\"id\"]"), describe("by-place", "\"position\"")];
        let mut made = Format::describe(described).into_iter().map(Result::unwrap);
        let formats = [Format::COWRIE, made.next().unwrap(), made.next().unwrap()];
        Format::configure(formats[1..].to_vec());
        formats
    }

    /// Of all three, every line is there twice but for a note; of the second the id is the same, of the third all are equal.
    fn line(log: usize, n: u64) -> String {
        let line = match log {
            0 => format!(r#"{{"eventid":"e","url":"u{}","sensor":"s""#, n / 2),
            1 => format!(r#"{{"id":{},"note":{},"u":"u{}""#, n / 2, n % 2, n / 2),
            _ => r#"{"u":"same","s":"s""#.to_owned(),
        };
        format!("{line:<width$}}}\n", width = LINE_BYTES as usize - 2)
    }

    fn expected(log: usize) -> Vec<String> {
        let kept = (0..LINES).filter(|n| log == 2 || n % 2 == 0);
        kept.map(|n| line(log, n).trim_end().to_owned()).collect()
    }

    fn chunk(formats: &[Format; 3], log: usize, from: u64, to: u64) -> Chunk {
        let mut chunk = super::chunk(0, 0);
        chunk.origin.source = Arc::new(Source { name: format!("log{log}"), format: formats[log] });
        chunk.origin.stream = format!("log{log}/1-1").as_str().into();
        chunk.origin.offset = from * LINE_BYTES;
        chunk.origin.checkpoint = to.to_le_bytes().to_vec();
        chunk.data = (from..to).flat_map(|n| line(log, n).into_bytes()).collect();
        chunk
    }

    /// Commits what is behind the checkpoints (or all of it again), `step` lines a chunk.
    fn drive(parts: &mut Parts, formats: &[Format; 3], step: u64, again: bool) -> Result<u64, String> {
        let mut batcher = Batcher::new();
        let mut new = 0;
        for part in 0..LINES.div_ceil(step) {
            for log in 0..formats.len() {
                let position =
                    parts.committer.checkpoint(&format!("log{log}/1-1")).map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()));
                let from = if again { part * step } else { position };
                if from >= LINES {
                    continue;
                }
                let known = parts.store.known(IdCache::new());
                let mut chunk = chunk(formats, log, from, (from + step).min(LINES));
                if again {
                    chunk.origin.checkpoint = LINES.to_le_bytes().to_vec();
                }
                let batch = batcher.extract(chunk, &known);
                new += u64::from(parts.committer.commit(batch, known.generation(), 1).map_err(|error| error.to_string())?.events);
            }
            parts.committer.flush_checkpoints(1);
            while parts.writer.step(Wait::Never).map_err(|fault| fault.to_string())?.is_some() {}
            while let Some(sealed) = parts.sealer.step() {
                sealed.map_err(|error| error.to_string())?;
            }
        }
        Ok(new)
    }

    fn assert_each_once(fs: &SimulatedFs, parts: &mut Parts, formats: &[Format; 3], what: &str) {
        let all = contents(&parts.store);
        let mut sorted = all.clone();
        let mut wanted: Vec<String> = (0..3).flat_map(expected).collect();
        sorted.sort();
        wanted.sort();
        assert_eq!(sorted, wanted, "{what}");
        assert_eq!(verify::verify(fs, Path::new("/data/journal"), false, |_| {}).unwrap().damage, vec![], "{what}");
        // However it is cut, the same input holds nothing new.
        assert_eq!(drive(parts, formats, 5, true), Ok(0), "{what}");
        assert_eq!(contents(&parts.store).len(), all.len(), "{what}");
    }

    #[test]
    fn every_rule_keeps_each_event_once_through_sealing_and_rebuilding() {
        let formats = formats();
        let fs = SimulatedFs::default();
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        assert_eq!(drive(&mut parts, &formats, 4, false), Ok(LINES * 2));
        assert_each_once(&fs, &mut parts, &formats, "written");
        assert!(parts.store.view().sealed.len() > 2, "some segments were sealed, their blocks merged");
        drop(parts);
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        assert_each_once(&fs, &mut parts, &formats, "opened again");
        let numbers: Vec<u64> = parts.store.view().sealed.iter().map(|sealed| sealed.number).collect();
        for number in numbers {
            assert_eq!(parts.store.rebuild_sidecar(number).unwrap(), Rebuilt::Done);
        }
        assert_each_once(&fs, &mut parts, &formats, "sidecars rebuilt");
        drop(parts);
        for entry in fs.list(Path::new("/data/journal")).unwrap() {
            if entry.name.ends_with(".idx") {
                fs.remove(&Path::new("/data/journal").join(entry.name)).unwrap();
            }
        }
        // Nobody describes the formats any more: their events are there, have no terms, and are still known.
        Format::configure(Vec::new());
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        assert_each_once(&fs, &mut parts, &formats, "sidecars lost and formats forgotten");
        let found = |parts: &Parts, query: &str| {
            let request = crate::service::SearchRequest { query: query.into(), limit: 1_000, newest: false };
            crate::service::search(&parts.store, &request, 1_774_138_242_000_001, &mut |_| std::ops::ControlFlow::Continue(())).unwrap().0
        };
        assert_eq!((found(&parts, "url:u1"), found(&parts, "url:same")), (1, 0));
        Format::configure(formats[1..].to_vec());
        let numbers: Vec<u64> = parts.store.view().sealed.iter().map(|sealed| sealed.number).collect();
        for number in numbers {
            parts.store.rebuild_sidecar(number).unwrap();
        }
        assert!(found(&parts, "url:same") > LINES / 2);
        assert_each_once(&fs, &mut parts, &formats, "formats described again");
    }

    #[test]
    fn a_crash_at_any_operation_repeats_and_loses_nothing_under_any_rule() {
        let formats = formats();
        let whole = SimulatedFs::default();
        drive(&mut start(&whole, CommittedLen::default()).unwrap(), &formats, 6, false).unwrap();
        for at in (0..whole.operations()).step_by(3) {
            for unsynced in [Unsynced::Lost, Unsynced::Torn(at * 2 + 1)] {
                let what = format!("crash after operation {at}, {unsynced:?}");
                let fs = SimulatedFs::default();
                fs.crash_after(at);
                if let Ok(mut parts) = start(&fs, CommittedLen::default()) {
                    let _ = drive(&mut parts, &formats, 6, false);
                }
                let fs = fs.after_crash(unsynced);
                let mut parts = start(&fs, CommittedLen::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
                drive(&mut parts, &formats, 6, false).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_each_once(&fs, &mut parts, &formats, &what);
            }
        }
    }

    #[test]
    fn schemas_are_what_the_ledger_says() {
        let fs = SimulatedFs::default();
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        let mut batcher = Batcher::new();
        let mut commit = |parts: &mut Parts, lines: &str| {
            let known = parts.store.known(IdCache::new());
            let mut chunk = super::chunk(0, 0);
            chunk.data = lines.as_bytes().to_vec();
            let batch = batcher.extract(chunk, &known);
            let shapes = batch.shapes.len();
            parts.committer.commit(batch, known.generation(), 1).unwrap();
            let mut drifts = Vec::new();
            while let Some(durable) = parts.writer.step(Wait::Never).unwrap() {
                drifts.extend(durable.drifts);
            }
            (shapes, drifts)
        };
        let closed = |duration: &str, n: u32| format!("{{\"eventid\":\"closed\",\"sensor\":\"s\",\"duration\":{duration},\"n\":{n}}}\n");
        assert_eq!(commit(&mut parts, &(closed("\"1\"", 1) + &closed("\"2\"", 2))), (1, vec![]));
        assert_eq!(commit(&mut parts, &closed("\"3\"", 3)).0, 0, "known by now");
        let (_, drifts) = commit(&mut parts, &closed("1.5", 4));
        let told: Vec<_> = drifts.iter().map(|drift| (drift.field.as_str(), drift.known[0].name(), drift.kind.name())).collect();
        assert_eq!(told, [("duration", "string", "float")]);
        commit(&mut parts, "{\"duration\":7,\"eventid\":\"closed\",\"n\":5,\"sensor\":\"s\"}\n{\"eventid\":\"other\"}\n");
        let before = parts.store.schemas().list(|_| true);
        assert_eq!(before.len(), 2);
        assert_eq!(before[0].1.version, 3);
        drop(parts);
        let parts = start(&fs, CommittedLen::default()).unwrap();
        let strip = |schemas: Vec<(SchemaKey, Schema)>| format!("{schemas:?}");
        assert_eq!(strip(parts.store.schemas().list(|_| true)), strip(before));
    }

    #[test]
    fn what_the_ledger_did_not_take_is_learnt_with_the_next_batch() {
        let fs = SimulatedFs::default();
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        let shared = parts.store.0.clone();
        let known = parts.store.known(IdCache::new());
        let batch = Batcher::new().extract(super::chunk(0, 2), &known);
        assert!(!batch.shapes.is_empty());
        fs.fail_next_write();
        assert!(shared.learn(&batch.shapes, 1).is_err());
        assert!(parts.store.schemas().is_empty() && !parts.store.schemas().knows(batch.shapes[0].hash));
        super::drive(&mut parts, 4, 1, |_| {}).unwrap();
        assert!(parts.store.schemas().knows(batch.shapes[0].hash) && !parts.store.schemas().is_empty());
    }
}

/// Events that are erased.
mod erasure {
    use super::super::erase::{Sessions, Whose};
    use super::*;
    use crate::events::tombstone;
    use crate::index::query::Query;
    use crate::journal::block::VERSION_TOMBSTONES;

    const END: u64 = 60;
    const ERASED: [&str; 3] = ["192.0.2.3", "000000000005", "p4"];

    /// Erased are the events of 192.0.2.3, those of a session, and those with a password.
    fn is_erased(line: &str) -> bool {
        ERASED.iter().any(|value| line.contains(&format!("\"{value}\"")))
    }

    fn erase(store: &Store) -> Result<u64, EraseError> {
        let mut erased = 0;
        let query = Query::parse("src_ip:192.0.2.3 OR password:p4", 0).unwrap();
        let mut sessions = Sessions::default();
        sessions.add(b"000000000005", None);
        for sealed in &store.view().sealed {
            for whose in [Whose::Matching(&query), Whose::OfSessions(&sessions)] {
                let mut seqs = Vec::new();
                store.events_of(sealed.number, whose, &mut store.batcher(), &mut |event| seqs.push(event.seq))?;
                erased += store.erase_in(sealed.number, &seqs)?.map_or(0, |erased| erased.events);
            }
        }
        Ok(erased)
    }

    fn prepare() -> (SimulatedFs, Parts) {
        let fs = SimulatedFs::default();
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        drive(&mut parts, END, 3, |_| {}).unwrap();
        seal_all(&mut parts);
        (fs, parts)
    }

    fn seal_all(parts: &mut Parts) {
        parts.committer.roll(1);
        while parts.writer.step(Wait::Never).unwrap().is_some() {}
        while let Some(sealed) = parts.sealer.step() {
            sealed.unwrap();
        }
    }

    /// Every byte on the disk, frames decompressed as well.
    fn all_text(fs: &SimulatedFs) -> String {
        let mut text = String::new();
        for dir in ["journal", "quarantine", "undelivered", "ledger"] {
            let dir = Path::new("/data").join(dir);
            for entry in fs.list(&dir).unwrap() {
                let bytes = fs.read(&dir.join(&entry.name)).unwrap();
                text.push_str(&String::from_utf8_lossy(&bytes));
                let number = segment::number_of(entry.name.trim_end_matches(".tmp"));
                if let Some(number) = number.filter(|_| entry.name.contains(".zst")) {
                    let file = fs.open(&dir.join(&entry.name)).unwrap();
                    let mut lines = Vec::new();
                    for block in segment::scan(&*file, number, false).unwrap().blocks {
                        BlockReader::default().read(&*file, &block.meta, &mut lines).unwrap();
                        text.push_str(&String::from_utf8_lossy(&lines));
                    }
                }
            }
        }
        text
    }

    fn assert_gone(text: &str, what: &str) {
        // Two letters may stand anywhere in what is compressed.
        for value in ["192.0.2.3", "000000000005", "\"p4\""] {
            assert!(!text.contains(value), "{what}: {value} is on the disk");
        }
    }

    /// Everything is erased and nothing else is; ids, counts, digests and checkpoints are as they were.
    fn assert_erased(fs: &SimulatedFs, parts: &mut Parts, what: &str) {
        let all = good(0..END);
        let found = contents(&parts.store);
        assert_eq!(found.len(), all.len(), "{what}");
        for (line, found) in all.iter().zip(&found) {
            if is_erased(line) {
                assert_eq!(tombstone::erased(found.as_bytes()), Some(EventId::of_line(line.as_bytes())), "{what}: {found}");
            } else {
                assert_eq!(line, found, "{what}");
            }
        }
        let verified = verify::verify(fs, Path::new("/data/journal"), false, |_| {}).unwrap();
        assert_eq!(verified.damage, vec![], "{what}");
        let erased = all.iter().filter(|line| is_erased(line)).count() as u64;
        assert_eq!(verified.tombstones.values().sum::<u64>(), erased, "{what}");
        for sealed in &parts.store.view().sealed {
            sealed.sidecar.verify().unwrap();
        }
        assert_eq!(position(parts), END, "{what}");
        // The same input again holds nothing new.
        let mut batcher = Batcher::new();
        for from in (0..END).step_by(4) {
            let known = parts.store.known(IdCache::new());
            let batch = batcher.extract(chunk(from, from + 4), &known);
            assert_eq!(parts.committer.commit(batch, known.generation(), 1).unwrap().events, 0, "{what}");
        }
        let search = |query: &str| {
            let request = crate::service::SearchRequest { query: query.into(), limit: 1_000, newest: false };
            crate::service::search(&parts.store, &request, 1_774_138_242_000_001, &mut |_| std::ops::ControlFlow::Continue(())).unwrap().0
        };
        for query in ["src_ip:192.0.2.3", "session:000000000005", "password:p4"] {
            assert_eq!(search(query), 0, "{what}: {query}");
        }
        let left = |part: &str| all.iter().filter(|line| !is_erased(line) && line.contains(part)).count() as u64;
        assert_eq!(search("src_ip:192.0.2.1"), left("\"192.0.2.1\""), "{what}");
        // Tombstones are events of their sensor.
        assert_eq!(search("sensor:s1"), all.iter().filter(|line| line.contains("\"s1\"")).count() as u64, "{what}");
    }

    #[test]
    fn erased_events_leave_tombstones_and_nothing_else() {
        let (fs, mut parts) = prepare();
        let before = verify::verify(&fs, Path::new("/data/journal"), false, |_| {}).unwrap();
        let old = parts.store.evidence();
        let sealed = parts.store.view().sealed.len();
        assert!(sealed > 3);
        assert!(erase(&parts.store).unwrap() > 10);
        assert_erased(&fs, &mut parts, "erased");
        let after = verify::verify(&fs, Path::new("/data/journal"), false, |_| {}).unwrap();
        assert_eq!((after.digest, after.events), (before.digest, before.events));
        let text = all_text(&fs);
        assert_gone(&text, "erased");
        assert!(text.contains("192.0.2.1"));
        for sealed in &parts.store.view().sealed {
            use crate::index::part::IndexPart;
            assert!(sealed.sidecar.term(crate::events::Field::SrcIp, b"192.0.2.3").unwrap().is_none());
            assert!(sealed.sidecar.session(crate::index::session_key(b"000000000005")).unwrap().is_empty());
        }
        // Who asked before goes on with what he had.
        let query = Query::parse("src_ip:192.0.2.3", 0).unwrap();
        let page = crate::index::search::Page { limit: 99, newest_first: false, after: None, last_seq: None };
        let mut hits = 0;
        crate::index::search::search(&old, &query, page, &mut parts.store.terms(), &mut |_| {
            hits += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert!(hits > 5);
        assert_eq!(erase(&parts.store).unwrap(), 0, "again there is nothing to do");
        drop(old);
        drop(parts);
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        assert!(parts.report.damage.is_empty() && parts.report.sidecars_rebuilt.is_empty());
        assert_erased(&fs, &mut parts, "opened again");
        let numbers: Vec<u64> = parts.store.view().sealed.iter().map(|sealed| sealed.number).collect();
        numbers.iter().for_each(|&number| assert_eq!(parts.store.rebuild_sidecar(number).unwrap(), Rebuilt::Done));
        assert_erased(&fs, &mut parts, "sidecars rebuilt");
    }

    #[test]
    fn a_crash_at_any_operation_of_an_erasure_leaves_the_old_or_the_new_and_it_can_be_finished() {
        let (fs, parts) = prepare();
        let before = fs.operations();
        erase(&parts.store).unwrap();
        let operations = fs.operations() - before;
        assert!(operations > 20);
        for at in 0..operations {
            for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(at * 2 + 1)] {
                let what = format!("crash after operation {at}, {unsynced:?}");
                let (fs, parts) = prepare();
                fs.crash_after(fs.operations() + at);
                assert!(erase(&parts.store).is_err(), "{what}");
                let fs = fs.after_crash(unsynced);
                let mut parts = start(&fs, CommittedLen::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(parts.report.damage, vec![], "{what}");
                let verified = verify::verify(&fs, Path::new("/data/journal"), false, |_| {}).unwrap();
                assert_eq!(verified.damage, vec![], "{what}");
                for (line, found) in good(0..END).iter().zip(contents(&parts.store)) {
                    assert!(*line == found || is_erased(line), "{what}: {found}");
                }
                erase(&parts.store).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_erased(&fs, &mut parts, &what);
                assert_gone(&all_text(&fs), &what);
            }
        }
    }

    #[test]
    fn an_operation_that_fails_is_made_up_for_by_erasing_again() {
        let (fs, parts) = prepare();
        let before = fs.operations();
        erase(&parts.store).unwrap();
        let operations = fs.operations() - before;
        for at in 0..operations {
            let (fs, mut parts) = prepare();
            fs.fail_operation(fs.operations() + at);
            // The removal of a leftover may fail unnoticed.
            let first = erase(&parts.store);
            erase(&parts.store).unwrap_or_else(|error| panic!("operation {at} ({first:?}): {error}"));
            assert_erased(&fs, &mut parts, &format!("operation {at}"));
        }
    }

    #[test]
    fn a_feed_passes_tombstones_also_those_of_a_block_it_has_in_memory() {
        use crate::sinks::events_feed::EventsFeed;
        use crate::sinks::feed::{BatchLimits, Feed};
        let (_fs, parts) = prepare();
        let mut feed = EventsFeed::new(parts.store.clone(), 1, None, false);
        let first = feed.take(BatchLimits { items: 2, bytes: 1 << 20 }, 0).unwrap();
        assert_eq!(first.cursor, 3);
        erase(&parts.store).unwrap();
        let rest = feed.take(BatchLimits { items: 1_000, bytes: 1 << 20 }, 0).unwrap();
        let all = good(0..END);
        assert_eq!(rest.cursor, all.len() as u64 + 1);
        let expected: Vec<&String> = all[2..].iter().filter(|line| !is_erased(line)).collect();
        let sent: Vec<String> = rest.batch.items.iter().map(|item| String::from_utf8(rest.batch.payload(item).to_vec()).unwrap()).collect();
        assert_eq!(sent.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_line_that_looks_like_a_tombstone_is_an_event_like_any_other() {
        let fs = SimulatedFs::default();
        let mut parts = start(&fs, CommittedLen::default()).unwrap();
        let fake =
            tombstone::Tombstone { erased: EventId([7; 16]), time: Some(1_774_138_242_000_000), sensor: Some(b"s1".to_vec()) }.line();
        let mut chunk = chunk(0, 0);
        chunk.data = [&fake[..], b"\n", line(0).as_bytes(), b"\n"].concat();
        let known = parts.store.known(IdCache::new());
        let batch = Batcher::new().extract(chunk, &known);
        parts.committer.commit(batch, known.generation(), 1).unwrap();
        seal_all(&mut parts);
        let verified = verify::verify(&fs, Path::new("/data/journal"), false, |_| {}).unwrap();
        assert_eq!((verified.damage, verified.tombstones.len(), verified.events), (vec![], 0, 2));
        let mut seen = Vec::new();
        let query = Query::parse("sensor:s1 OR sensor:s0", 0).unwrap();
        parts.store.events_of(1, Whose::Matching(&query), &mut parts.store.batcher(), &mut |event| seen.push(event.seq)).unwrap();
        assert_eq!(seen, [1, 2]);
        let erased = parts.store.erase_in(1, &[1]).unwrap().unwrap();
        assert_eq!((erased.events, erased.tombstones), (1, 1));
        let stands = tombstone::erased(contents(&parts.store)[0].as_bytes());
        assert_eq!(stands, Some(EventId::of_line(&fake)), "and can be erased");
    }

    #[test]
    fn blocks_with_tombstones_are_of_version_2_and_only_they() {
        let (fs, parts) = prepare();
        parts.store.erase_in(2, &[parts.store.view().sealed[1].sidecar.head().first_seq]).unwrap().unwrap();
        let mut versions = HashSet::new();
        for number in [1, 2] {
            let path = Path::new("/data/journal").join(segment::file_name(number));
            let file = fs.open(&path).unwrap();
            for block in segment::scan(&*file, number, true).unwrap().blocks {
                let mut prefix = [0; 13];
                file.read_exact_at(&mut prefix, block.meta.offset).unwrap();
                versions.insert((prefix[11] == VERSION_TOMBSTONES, block.header.runs.iter().any(|run| run.tombstones)));
            }
        }
        assert_eq!(versions, HashSet::from([(false, false), (true, true)]));
        // The last run's checkpoint is where it was.
        drop(parts);
        assert_eq!(position(&start(&fs, CommittedLen::default()).unwrap()), END);
    }

    #[test]
    fn a_damaged_segment_is_left_as_it_is() {
        let (fs, parts) = prepare();
        fs.flip(Path::new("/data/journal/00000001.zst"), 3_000);
        let before = fs.read(Path::new("/data/journal/00000001.zst")).unwrap();
        let error = parts.store.erase_in(1, &[1, 2, 3]).unwrap_err();
        assert!(error.is_about_one_segment(), "{error}");
        assert_eq!(fs.read(Path::new("/data/journal/00000001.zst")).unwrap(), before);
    }
}
