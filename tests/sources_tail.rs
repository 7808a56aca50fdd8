//! The tail against real files: every case of log rotation, restarts in between, and random histories.
use honeyguide::events::Micros;
use honeyguide::events::time::MICROS_PER_SECOND;
use honeyguide::sources::checkpoint::Checkpoint;
use honeyguide::sources::framing::Limits;
use honeyguide::sources::notice::TailNotice;
use honeyguide::sources::tail::{ARCHIVE_SETTLE, GONE_WAIT, Start, TORN_WAIT, Tail, TailSettings};
use honeyguide::sources::{Format, Reason, Refused, Source};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of logs, the tail that follows them, and what was committed of what it delivered.
struct World {
    dir: tempfile::TempDir,
    settings: TailSettings,
    tail: Tail,
    committed: BTreeMap<String, Vec<u8>>,
    ordinals: BTreeMap<String, u64>,
    data: Vec<u8>,
    refused: Vec<Refused>,
    notices: Vec<TailNotice>,
    now: Micros,
    budget: usize,
}

fn source() -> Arc<Source> {
    Arc::new(Source { name: "cowrie".into(), format: Format::COWRIE })
}

fn event(n: u64) -> String {
    format!("{{\"eventid\":\"cowrie.command.input\",\"n\":{n},\"input\":\"{}\"}}\n", "x".repeat((n * 37 % 150) as usize))
}

impl World {
    fn new(patterns: &[&str]) -> World {
        World::with(patterns, |_| {})
    }

    fn with(patterns: &[&str], change: impl FnOnce(&mut TailSettings)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let patterns = patterns.iter().map(|pattern| dir.path().join(pattern).to_str().unwrap().to_owned()).collect();
        let mut settings = TailSettings::new(patterns);
        change(&mut settings);
        let tail = Tail::open(source(), settings.clone(), BTreeMap::new()).unwrap();
        World {
            dir,
            settings,
            tail,
            committed: BTreeMap::new(),
            ordinals: BTreeMap::new(),
            data: Vec::new(),
            refused: Vec::new(),
            notices: Vec::new(),
            now: 1_774_138_242_000_000,
            budget: 1 << 20,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        File::options().create(true).append(true).open(self.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn append_events(&self, name: &str, numbers: std::ops::Range<u64>) {
        self.append(name, &numbers.map(event).collect::<String>());
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn truncate(&self, name: &str) {
        File::options().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    /// Compresses a file beside it and removes it, as logrotate does.
    fn compress(&self, name: &str, suffix: &str) {
        let bytes = fs::read(self.path(name)).unwrap();
        fs::write(self.path(&format!("{name}.{suffix}")), compressed(&bytes, suffix)).unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Polls as after a notification, and commits everything.
    fn poll(&mut self) {
        self.tail.rescan();
        for _ in 0..10_000 {
            let poll = self.tail.poll(self.now, self.budget);
            self.notices.extend(poll.notices);
            for chunk in poll.chunks {
                let ordinal = self.ordinals.entry(chunk.origin.stream.to_string()).or_default();
                assert_eq!(chunk.origin.ordinal, *ordinal, "chunks of {} are numbered", chunk.origin.stream);
                *ordinal += 1;
                assert!(chunk.data.is_empty() || chunk.data.ends_with(b"\n"));
                let checkpoint = Checkpoint::decode(&chunk.origin.checkpoint).unwrap();
                assert_eq!(checkpoint.offset, chunk.origin.offset + chunk.origin.input_bytes);
                self.data.extend(&chunk.data);
                self.refused.extend(chunk.refused);
                self.committed.insert(chunk.origin.stream.to_string(), chunk.origin.checkpoint);
            }
            for stream in poll.ended {
                self.committed.remove(&*stream);
            }
            if !poll.more {
                return;
            }
        }
        panic!("the tail always has more to do");
    }

    /// Lets time pass, second by second.
    fn wait(&mut self, time: Micros) {
        for _ in 0..time / MICROS_PER_SECOND + 1 {
            self.now += MICROS_PER_SECOND;
            self.poll();
        }
    }

    fn stop(&mut self) {
        self.tail = Tail::open(source(), self.settings.clone(), self.committed.clone()).unwrap();
        self.ordinals.clear();
    }

    /// The events delivered, by number, in order.
    fn numbers(&self) -> Vec<u64> {
        self.lines().map(|line| number_of(line).unwrap()).collect()
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
    }

    fn assert_delivered(&self, numbers: std::ops::Range<u64>) {
        assert_eq!(self.numbers(), numbers.collect::<Vec<_>>(), "notices: {:?}", self.notices);
    }

    fn has_notice(&self, is: impl Fn(&TailNotice) -> bool) -> bool {
        self.notices.iter().any(is)
    }
}

fn number_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(line).ok()?["n"].as_u64()
}

fn compressed(bytes: &[u8], suffix: &str) -> Vec<u8> {
    match suffix {
        "gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "bz2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

const TWINS: [&str; 4] = ["gz", "bz2", "zst", "xz"];

// Renamed, and a new file in its place.

#[test]
fn rename_and_new_file_reads_the_old_descriptor_to_its_end_then_the_new() {
    for pattern in ["cowrie.json", "cowrie.json*"] {
        let mut world = World::new(&[pattern]);
        world.append_events("cowrie.json", 0..5);
        world.poll();
        // The writer still has the old file open when it is renamed.
        let mut writer = File::options().append(true).open(world.path("cowrie.json")).unwrap();
        world.append_events("cowrie.json", 5..8);
        world.rename("cowrie.json", "cowrie.json.2026-03-23");
        writer.write_all(event(8).as_bytes()).unwrap();
        world.append_events("cowrie.json", 10..12);
        world.poll();
        assert_eq!(world.numbers(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11], "{pattern}");
        writer.write_all(event(9).as_bytes()).unwrap();
        world.poll();
        assert_eq!(*world.numbers().last().unwrap(), 9, "{pattern}");
        world.wait(GONE_WAIT);
        assert_eq!(world.numbers().len(), 12);
        assert_eq!(world.committed.len(), 2);
    }
}

#[test]
fn rotations_while_the_daemon_was_down_are_found_by_device_and_inode() {
    let mut world = World::new(&["cowrie.json"]);
    world.append_events("cowrie.json", 0..5);
    world.poll();
    world.append_events("cowrie.json", 5..8);
    world.rename("cowrie.json", "cowrie.json.1");
    world.append_events("cowrie.json", 8..10);
    world.stop();
    world.poll();
    world.assert_delivered(0..10);
    // Twice before it comes back.
    world.append_events("cowrie.json", 10..12);
    world.rename("cowrie.json.1", "cowrie.json.2");
    world.rename("cowrie.json", "cowrie.json.1");
    world.append_events("cowrie.json", 12..14);
    world.stop();
    world.poll();
    world.assert_delivered(0..14);
}

#[test]
fn rotated_and_compressed_while_down_goes_on_in_the_archive_behind_the_offset() {
    for suffix in TWINS {
        for pattern in ["cowrie.json", "cowrie.json*"] {
            // Below and above what the prefix hash covers.
            for first in [3, 200] {
                let mut world = World::new(&[pattern]);
                world.append_events("cowrie.json", 0..first);
                world.poll();
                world.append_events("cowrie.json", first..first + 50);
                world.stop();
                world.rename("cowrie.json", "cowrie.json.1");
                world.compress("cowrie.json.1", suffix);
                world.append_events("cowrie.json", first + 50..first + 60);
                world.poll();
                world.wait(2 * ARCHIVE_SETTLE);
                let mut numbers = world.numbers();
                numbers.sort_unstable();
                assert_eq!(numbers, (0..first + 60).collect::<Vec<u64>>(), "{suffix} {pattern} {first} {:?}", world.notices);
                assert!(world.has_notice(|notice| matches!(notice, TailNotice::ContinuedIn { .. })));
                world.stop();
                world.wait(GONE_WAIT + ARCHIVE_SETTLE);
                assert_eq!(world.numbers().len() as u64, first + 60, "{suffix} {pattern}: not again");
                assert!(world.refused.is_empty());
            }
        }
    }
}

#[test]
fn archive_is_read_once_and_has_the_same_identity_as_its_plain_twin() {
    for suffix in TWINS {
        let mut world = World::new(&["cowrie.json*"]);
        let old: String = (0..300).map(event).collect();
        fs::write(world.path(&format!("cowrie.json.0.{suffix}")), compressed(old.as_bytes(), suffix)).unwrap();
        world.wait(ARCHIVE_SETTLE);
        world.assert_delivered(0..300);
        // Rotated and compressed under the eyes of the tail.
        world.append_events("cowrie.json", 300..500);
        world.poll();
        world.rename("cowrie.json", "cowrie.json.1");
        world.append_events("cowrie.json", 500..501);
        world.poll();
        world.compress("cowrie.json.1", suffix);
        world.wait(GONE_WAIT + ARCHIVE_SETTLE);
        world.assert_delivered(0..501);
        world.stop();
        world.wait(GONE_WAIT);
        world.assert_delivered(0..501);
        assert_eq!(world.committed.len(), 3, "one for each file that exists");
    }
}

#[test]
fn archive_beside_its_original_adds_nothing() {
    let mut world = World::new(&["cowrie.json*"]);
    world.append_events("cowrie.json", 0..100);
    world.poll();
    // A snapshot of a log that goes on growing.
    let bytes = fs::read(world.path("cowrie.json")).unwrap();
    fs::write(world.path("cowrie.json.gz"), compressed(&bytes, "gz")).unwrap();
    world.append_events("cowrie.json", 100..120);
    world.wait(3 * ARCHIVE_SETTLE);
    world.assert_delivered(0..120);
}

#[test]
fn archive_resumes_behind_what_was_committed() {
    let mut world = World::with(&["*.gz"], |settings| settings.limits.chunk_bytes = 8 << 10);
    let old: String = (0..3000).map(event).collect();
    fs::write(world.path("a.gz"), compressed(old.as_bytes(), "gz")).unwrap();
    world.tail.poll(world.now, 1);
    world.now += ARCHIVE_SETTLE;
    world.budget = 20_000;
    let poll = world.tail.poll(world.now + MICROS_PER_SECOND, world.budget);
    assert!(poll.more && !poll.chunks.is_empty());
    for chunk in poll.chunks {
        world.data.extend(&chunk.data);
        world.committed.insert(chunk.origin.stream.to_string(), chunk.origin.checkpoint);
    }
    assert!(world.numbers().len() < 3000);
    world.stop();
    world.wait(ARCHIVE_SETTLE);
    world.assert_delivered(0..3000);
}

#[test]
fn truncated_archive_is_delivered_as_far_as_it_goes_and_refused_once() {
    let mut world = World::new(&["*.gz"]);
    let bytes = compressed((0..2000).map(event).collect::<String>().as_bytes(), "gz");
    fs::write(world.path("a.gz"), &bytes[..bytes.len() / 2]).unwrap();
    world.wait(ARCHIVE_SETTLE);
    let delivered = world.numbers().len();
    assert!(delivered > 100);
    assert_eq!(world.refused.iter().filter(|refused| refused.reason == Reason::Archive).count(), 1);
    world.stop();
    world.wait(ARCHIVE_SETTLE);
    assert_eq!(world.numbers().len(), delivered);
}

// Truncated.

#[test]
fn copytruncate_begins_a_new_generation_and_does_not_read_the_copy_twice() {
    for pattern in ["cowrie.json", "cowrie.json*"] {
        for first in [3, 100] {
            let mut world = World::new(&[pattern]);
            world.append_events("cowrie.json", 0..first);
            world.poll();
            world.append_events("cowrie.json", first..first + 3);
            fs::copy(world.path("cowrie.json"), world.path("cowrie.json.1")).unwrap();
            world.truncate("cowrie.json");
            world.append_events("cowrie.json", first + 3..first + 4);
            world.wait(GONE_WAIT);
            world.stop();
            world.wait(GONE_WAIT);
            world.assert_delivered(0..first + 4);
            assert!(world.has_notice(|notice| matches!(notice, TailNotice::Truncated { generation: 1, .. })));
        }
    }
}

#[test]
fn copy_seen_before_the_truncation_is_not_read_twice() {
    let mut world = World::new(&["cowrie.json*"]);
    world.append_events("cowrie.json", 0..50);
    world.poll();
    // The copy grows while it is made.
    let bytes = fs::read(world.path("cowrie.json")).unwrap();
    fs::write(world.path("cowrie.json.1"), &bytes[..1000]).unwrap();
    world.poll();
    world.append_events("cowrie.json", 50..53);
    fs::copy(world.path("cowrie.json"), world.path("cowrie.json.1")).unwrap();
    world.poll();
    // Written between copy and truncation, and read in time.
    world.append_events("cowrie.json", 53..54);
    world.poll();
    world.truncate("cowrie.json");
    world.append_events("cowrie.json", 54..56);
    world.wait(GONE_WAIT);
    world.assert_delivered(0..56);
    world.stop();
    world.wait(GONE_WAIT);
    world.assert_delivered(0..56);
}

#[test]
fn copy_truncated_while_down_is_found() {
    for pattern in ["cowrie.json", "cowrie.json*"] {
        let mut world = World::new(&[pattern]);
        world.append_events("cowrie.json", 0..50);
        world.poll();
        world.append_events("cowrie.json", 50..55);
        world.stop();
        fs::copy(world.path("cowrie.json"), world.path("cowrie.json.1")).unwrap();
        world.truncate("cowrie.json");
        world.append_events("cowrie.json", 55..200);
        world.wait(GONE_WAIT);
        world.assert_delivered(0..200);
    }
}

#[test]
fn reopened_with_w_reports_the_bytes_at_risk() {
    let mut world = World::new(&["cowrie.json"]);
    world.append_events("cowrie.json", 0..5);
    world.poll();
    world.append("cowrie.json", "{\"torn");
    world.poll();
    fs::write(world.path("cowrie.json"), event(5)).unwrap();
    world.poll();
    world.assert_delivered(0..6);
    let path = world.path("cowrie.json");
    assert!(world.has_notice(|notice| *notice == TailNotice::Truncated { path: path.clone(), generation: 1, bytes_at_risk: 6 }));
}

#[test]
fn truncated_and_grown_past_the_offset_is_told_by_the_marker() {
    for restart in [false, true] {
        let mut world = World::new(&["cowrie.json"]);
        world.append_events("cowrie.json", 0..20);
        world.poll();
        world.truncate("cowrie.json");
        world.append_events("cowrie.json", 20..60);
        if restart {
            world.stop();
        }
        world.poll();
        world.assert_delivered(0..60);
        assert!(world.has_notice(|notice| matches!(notice, TailNotice::Truncated { generation: 1, .. })));
    }
}

#[test]
fn torn_end_rewritten_is_read_again_without_a_new_generation() {
    let mut world = World::new(&["cowrie.json"]);
    world.append_events("cowrie.json", 0..3);
    let len = fs::metadata(world.path("cowrie.json")).unwrap().len();
    world.append("cowrie.json", "{\"eventid\":\"gar");
    world.poll();
    File::options().write(true).open(world.path("cowrie.json")).unwrap().set_len(len).unwrap();
    world.append_events("cowrie.json", 3..6);
    world.poll();
    world.assert_delivered(0..6);
    assert!(world.notices.is_empty());
}

// Identity.

#[test]
fn reused_inode_is_another_file() {
    let mut world = World::new(&["cowrie.json"]);
    world.append_events("cowrie.json", 0..10);
    world.poll();
    // The same inode with other content, as when the old file was deleted and the number given out again.
    for content in [10..11, 11..60] {
        world.stop();
        let mut file = File::options().write(true).truncate(true).open(world.path("cowrie.json")).unwrap();
        file.write_all(content.map(event).collect::<String>().as_bytes()).unwrap();
        world.poll();
    }
    world.assert_delivered(0..60);
}

#[test]
fn two_files_with_the_same_first_line_are_told_apart_by_device_and_inode() {
    let mut world = World::new(&["*.json"]);
    let first = "{\"eventid\":\"cowrie.x\",\"n\":0}\n";
    world.append("a.json", first);
    world.append("b.json", first);
    world.poll();
    world.append_events("a.json", 1..3);
    world.append_events("b.json", 101..103);
    world.poll();
    world.stop();
    world.append_events("a.json", 3..5);
    world.append_events("b.json", 103..105);
    world.poll();
    world.stop();
    world.rename("a.json", "c.json");
    world.rename("b.json", "a.json");
    world.rename("c.json", "b.json");
    world.append_events("b.json", 5..6);
    world.append_events("a.json", 105..106);
    world.poll();
    let mut numbers = world.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 0, 1, 2, 3, 4, 5, 101, 102, 103, 104, 105]);
}

// Lines.

#[test]
fn partial_last_line_waits_and_is_never_checkpointed_past_the_last_newline() {
    let mut world = World::new(&["cowrie.json"]);
    let line = event(7);
    for (at, byte) in line.bytes().enumerate() {
        world.append("cowrie.json", std::str::from_utf8(&[byte]).unwrap());
        world.poll();
        assert_eq!(world.numbers().len(), usize::from(at + 1 == line.len()));
        if at % 10 == 0 {
            world.stop();
        }
    }
    assert_eq!(world.numbers(), [7]);
}

#[test]
fn line_torn_by_the_rotation_is_joined_when_the_halves_make_an_object() {
    for restart in [false, true] {
        for pattern in ["cowrie.json", "cowrie.json*"] {
            let mut world = World::new(&[pattern]);
            let torn = event(3);
            world.append_events("cowrie.json", 0..3);
            world.append("cowrie.json", &torn[..30]);
            world.poll();
            if restart {
                world.stop();
            }
            world.rename("cowrie.json", "cowrie.json.1");
            world.append("cowrie.json", &torn[30..]);
            world.append_events("cowrie.json", 4..6);
            world.poll();
            world.assert_delivered(0..6);
            assert!(world.has_notice(|notice| matches!(notice, TailNotice::TornLineJoined { .. })));
            world.stop();
            world.wait(GONE_WAIT);
            world.assert_delivered(0..6);
            assert!(world.refused.is_empty());
        }
    }
}

#[test]
fn torn_line_without_its_other_half_is_refused_as_partial_after_the_wait() {
    let mut world = World::new(&["cowrie.json"]);
    world.append_events("cowrie.json", 0..3);
    world.append("cowrie.json", "{\"eventid\":\"torn");
    world.poll();
    world.rename("cowrie.json", "cowrie.json.1");
    world.append_events("cowrie.json", 3..5);
    world.poll();
    assert!(world.refused.is_empty());
    world.wait(TORN_WAIT);
    assert_eq!(world.refused.iter().map(|refused| (refused.reason, refused.len)).collect::<Vec<_>>(), [(Reason::Partial, 16)]);
    world.assert_delivered(0..5);
    // A whole object that only lacks its newline is an event.
    world.append("cowrie.json", event(5).trim_end());
    world.poll();
    world.rename("cowrie.json", "cowrie.json.0");
    world.append_events("cowrie.json", 6..7);
    world.wait(TORN_WAIT);
    let mut numbers = world.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(world.refused.len(), 1);
}

#[test]
fn line_over_the_limit_is_refused_counted_and_passed() {
    let mut world = World::with(&["cowrie.json"], |settings| {
        settings.limits = Limits { chunk_bytes: 4096, line_bytes_max: 8192, ..Limits::default() };
    });
    world.append_events("cowrie.json", 0..2);
    for _ in 0..20 {
        world.append("cowrie.json", &"y".repeat(1000));
        world.poll();
        world.stop();
    }
    world.append("cowrie.json", "\n");
    world.append_events("cowrie.json", 2..4);
    world.poll();
    world.assert_delivered(0..4);
    assert_eq!(world.refused.iter().map(|refused| (refused.reason, refused.len)).collect::<Vec<_>>(), [(Reason::LineTooLong, 20_000)]);
}

#[test]
fn nul_run_at_the_front_is_skipped_and_told() {
    let mut world = World::new(&["cowrie.json"]);
    world.append_events("cowrie.json", 0..10);
    world.poll();
    // A writer that does not append goes on at its old offset after a truncation: the gap reads as NULs.
    let mut writer = File::options().write(true).open(world.path("cowrie.json")).unwrap();
    writer.seek(std::io::SeekFrom::End(0)).unwrap();
    world.truncate("cowrie.json");
    writer.write_all((10..12).map(event).collect::<String>().as_bytes()).unwrap();
    world.poll();
    world.assert_delivered(0..12);
    assert!(world.has_notice(|notice| matches!(notice, TailNotice::FrontSkipped { .. })));
}

#[test]
fn invalid_utf8_is_delivered_byte_for_byte() {
    let mut world = World::new(&["cowrie.json"]);
    let line = b"{\"n\":1,\"input\":\"\xff\xfe\x80\"}\n";
    fs::write(world.path("cowrie.json"), line).unwrap();
    world.poll();
    assert_eq!(world.data, line);
}

#[test]
fn pretty_printed_object_in_a_growing_file_waits_until_it_is_complete() {
    let mut world = World::new(&["cowrie.json"]);
    let text = "{\n  \"n\": 1,\n  \"a\": [\n    1\n  ]\n}\n{\n  \"n\": 2\n}\n[\n  {\n    \"n\": 3\n  }\n]\n";
    for (at, byte) in text.bytes().enumerate() {
        world.append("cowrie.json", std::str::from_utf8(&[byte]).unwrap());
        world.poll();
        if at % 3 == 0 {
            world.stop();
        }
    }
    assert_eq!(String::from_utf8_lossy(&world.data), "{\"n\":1,\"a\":[1]}\n{\"n\":2}\n{\"n\":3}\n");
    assert!(world.refused.is_empty());
}

// Files that come, go and are not for us.

#[test]
fn symlink_is_followed_inside_the_roots_and_refused_outside() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), event(99)).unwrap();
    let mut world = World::new(&["*.json"]);
    world.append_events("real.log", 0..2);
    std::os::unix::fs::symlink(world.path("real.log"), world.path("in.json")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), world.path("out.json")).unwrap();
    world.poll();
    world.wait(3 * MICROS_PER_SECOND);
    world.assert_delivered(0..2);
    assert_eq!(world.notices, [TailNotice::OutsideRoots { path: world.path("out.json") }], "told once");
    assert_eq!(world.tail.conditions().len(), 1);
    world.append_events("real.log", 2..3);
    world.poll();
    world.assert_delivered(0..3);
}

#[test]
fn deleted_while_open_is_read_to_its_end_and_closed() {
    let mut world = World::new(&["cowrie.json"]);
    world.append_events("cowrie.json", 0..2);
    world.poll();
    let mut writer = File::options().append(true).open(world.path("cowrie.json")).unwrap();
    world.append_events("cowrie.json", 2..4);
    fs::remove_file(world.path("cowrie.json")).unwrap();
    world.poll();
    writer.write_all(event(4).as_bytes()).unwrap();
    world.poll();
    world.assert_delivered(0..5);
    world.wait(GONE_WAIT);
    assert_eq!((world.tail.lag().files, world.committed.len()), (0, 0), "nothing is kept of it");
}

#[test]
fn directory_missing_or_file_unreadable_is_told_once_and_tried_again() {
    let mut world = World::new(&["late/*.json"]);
    world.wait(3 * MICROS_PER_SECOND);
    assert!(matches!(world.notices[..], [TailNotice::DirectoryUnreadable { .. }]));
    fs::create_dir(world.path("late")).unwrap();
    // Root may read anything: a link to nothing and a pipe stand for what cannot be read.
    nix::unistd::mkfifo(&world.path("late/pipe.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    world.append_events("late/a.json", 0..2);
    world.wait(3 * MICROS_PER_SECOND);
    world.assert_delivered(0..2);
    assert_eq!(world.notices.len(), 2);
    assert_eq!(world.notices[1], TailNotice::NotRegular { path: world.path("late/pipe.json") });
}

#[test]
fn directory_missing_at_a_restart_loses_no_position() {
    let mut world = World::new(&["logs/cowrie.json"]);
    fs::create_dir(world.path("logs")).unwrap();
    world.append_events("logs/cowrie.json", 0..3);
    world.poll();
    world.rename("logs", "unmounted");
    world.stop();
    world.wait(2 * GONE_WAIT);
    world.rename("unmounted", "logs");
    world.append_events("logs/cowrie.json", 3..5);
    world.poll();
    world.assert_delivered(0..5);
}

#[test]
fn clocks_that_jump_change_nothing() {
    let mut world = World::new(&["cowrie.json*"]);
    world.append_events("cowrie.json", 0..3);
    world.poll();
    world.now -= 3600 * MICROS_PER_SECOND;
    world.append_events("cowrie.json", 3..5);
    world.rename("cowrie.json", "cowrie.json.1");
    world.append_events("cowrie.json", 5..6);
    let old = std::time::SystemTime::UNIX_EPOCH;
    File::options().write(true).open(world.path("cowrie.json")).unwrap().set_modified(old).unwrap();
    world.poll();
    world.assert_delivered(0..6);
}

#[test]
fn open_files_are_bounded_and_closed_ones_taken_up_again() {
    let mut world = World::with(&["*.json"], |settings| settings.open_files_max = 3);
    for n in 0..10 {
        world.append_events(&format!("{n}.json"), n..n + 1);
    }
    world.poll();
    world.now += MICROS_PER_SECOND;
    assert_eq!((world.tail.lag().files, world.tail.lag().files_open), (10, 3));
    for n in 0..10 {
        world.append_events(&format!("{n}.json"), n + 10..n + 11);
        world.poll();
    }
    assert_eq!(world.tail.lag().files_open, 3);
    let mut numbers = world.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<u64>>());
}

#[test]
fn lag_and_budget_tell_what_is_left() {
    let mut world = World::with(&["*.json"], |settings| settings.limits.chunk_bytes = 4096);
    world.append_events("a.json", 0..1000);
    let poll = world.tail.poll(world.now, 10_000);
    assert!(poll.more);
    let read: u64 = poll.chunks.iter().map(|chunk| chunk.origin.input_bytes).sum();
    let len = fs::metadata(world.path("a.json")).unwrap().len();
    assert_eq!(world.tail.lag().bytes_behind, len - read);
    world.ordinals.insert(poll.chunks[0].origin.stream.to_string(), poll.chunks.len() as u64);
    world.poll();
    assert_eq!(world.tail.lag().bytes_behind, 0);
}

#[test]
fn start_at_the_end_passes_what_was_there_before() {
    let mut world = World::with(&["*.json"], |settings| settings.start = Start::End);
    world.append_events("a.json", 0..10);
    world.append("a.json", &event(10)[..20]);
    world.poll();
    world.append("a.json", &event(10)[20..]);
    world.append_events("b.json", 11..12);
    world.poll();
    assert_eq!(world.numbers(), [10, 11]);
}

#[test]
fn damaged_checkpoint_is_told_and_the_file_read_anew() {
    let mut world = World::new(&["*.json"]);
    world.append_events("a.json", 0..3);
    world.poll();
    world.committed.values_mut().for_each(|bytes| bytes[9] ^= 1);
    world.stop();
    world.poll();
    assert_eq!(world.numbers(), [0, 1, 2, 0, 1, 2]);
    assert!(world.has_notice(|notice| matches!(notice, TailNotice::CheckpointUnusable { .. })));
}

// Real growth.

fn gunzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The log of 2017 as it grew, every five minutes, rotated where it was, with restarts at random.
#[test]
fn growth_of_a_real_log_is_delivered_byte_for_byte() {
    let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS") else {
        return println!("skipped: HONEYGUIDE_CORPUS is not set");
    };
    let corpus = Path::new(&corpus).join("cowrie/legacy-2017");
    #[derive(serde::Deserialize)]
    struct Segment {
        file: String,
        growth: Vec<(i64, usize)>,
    }
    let segments: Vec<Segment> = serde_json::from_slice(&fs::read(corpus.join("growth.json")).unwrap()).unwrap();
    let mut world = World::new(&["cowrie.json*"]);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut expected: Vec<u8> = Vec::new();
    for (number, segment) in segments.iter().enumerate() {
        let bytes = gunzip(&corpus.join(&segment.file));
        let mut written = 0;
        for (time, size) in &segment.growth {
            world.now = world.now.max(time * MICROS_PER_SECOND);
            let mut log = File::options().create(true).append(true).open(world.path("cowrie.json")).unwrap();
            log.write_all(&bytes[written..*size]).unwrap();
            written = *size;
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match seed >> 61 {
                0 => world.stop(),
                1 => {}
                _ => world.poll(),
            }
        }
        world.rename("cowrie.json", &format!("cowrie.json.2017_10_{number}"));
        expected.extend(&bytes[..memchr::memrchr(b'\n', &bytes).unwrap() + 1]);
    }
    world.poll();
    assert!(world.data == expected, "{} bytes delivered of {}", world.data.len(), expected.len());
    assert!(world.refused.is_empty() && world.notices.is_empty(), "{:?}", world.notices);
}

// Random histories.

#[derive(Clone, Copy, Debug)]
enum Act {
    Append(u8),
    AppendPartial(u8),
    Rename,
    CopyTruncate,
    Rewrite,
    GzipRotated,
    Poll,
    Wait,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..40u8).prop_map(Act::Append),
        2 => (1..200u8).prop_map(Act::AppendPartial),
        2 => Just(Act::Rename),
        2 => Just(Act::CopyTruncate),
        1 => Just(Act::Rewrite),
        2 => Just(Act::GzipRotated),
        4 => Just(Act::Poll),
        1 => Just(Act::Wait),
        2 => Just(Act::Restart),
    ]
}

fn check_history(acts: &[Act], pattern: &str) -> Result<(), TestCaseError> {
    let mut world = World::new(&[pattern]);
    let (mut next, mut rotations) = (0u64, 0u64);
    // Lines in the log that were truncated away without a copy, perhaps before they could be read.
    let mut at_risk: Vec<u64> = Vec::new();
    let mut in_log: Vec<u64> = Vec::new();
    // A line torn by a rotation is an event again or its halves are refused, here or by the decoder.
    let mut torn: Vec<u64> = Vec::new();
    // The rest of a line begun.
    let mut rest = String::new();
    world.append("cowrie.json", "");
    for act in acts.iter().chain(&[Act::Append(3), Act::Poll]) {
        match act {
            Act::Append(count) => {
                world.append("cowrie.json", &std::mem::take(&mut rest));
                for _ in 0..*count {
                    world.append("cowrie.json", &event(next));
                    in_log.push(next);
                    next += 1;
                }
            }
            Act::AppendPartial(cut) => {
                world.append("cowrie.json", &std::mem::take(&mut rest));
                let line = event(next);
                let cut = usize::from(*cut).min(line.len() - 2);
                world.append("cowrie.json", &line[..cut]);
                rest = line[cut..].to_owned();
                in_log.push(next);
                next += 1;
            }
            // Old Cowrie tears a line across the rotation, too: the rest goes to the new file.
            Act::Rename => {
                rotations += 1;
                world.rename("cowrie.json", &format!("cowrie.json.{rotations:04}"));
                if !rest.is_empty() {
                    torn.push(next - 1);
                }
                world.append("cowrie.json", &std::mem::take(&mut rest));
                in_log.clear();
            }
            Act::CopyTruncate => {
                world.append("cowrie.json", &std::mem::take(&mut rest));
                rotations += 1;
                fs::copy(world.path("cowrie.json"), world.path(&format!("cowrie.json.{rotations:04}"))).unwrap();
                world.truncate("cowrie.json");
                in_log.clear();
            }
            Act::Rewrite => {
                rest.clear();
                at_risk.append(&mut in_log);
                fs::write(world.path("cowrie.json"), event(next)).unwrap();
                in_log.push(next);
                next += 1;
            }
            Act::GzipRotated => {
                let newest = format!("cowrie.json.{rotations:04}");
                if rotations > 0 && world.path(&newest).exists() {
                    world.compress(&newest, "gz");
                }
            }
            Act::Poll => world.poll(),
            Act::Wait => world.wait(10 * MICROS_PER_SECOND),
            Act::Restart => world.stop(),
        }
    }
    world.append("cowrie.json", &rest);
    world.wait(GONE_WAIT + 2 * ARCHIVE_SETTLE);
    let mut numbers: Vec<u64> = world.lines().filter_map(number_of).collect();
    numbers.sort_unstable();
    // The last few bytes of a torn line are refused twice rather than taken for another file's.
    let broken = world.lines().filter(|line| number_of(line).is_none()).collect::<std::collections::BTreeSet<_>>().len();
    prop_assert!(broken <= 2 * torn.len() + at_risk.len(), "{broken} broken lines");
    for pair in numbers.windows(2) {
        prop_assert!(pair[0] != pair[1], "event {} twice; notices {:?}", pair[0], world.notices);
    }
    for n in 0..next {
        let delivered = numbers.binary_search(&n).is_ok();
        prop_assert!(delivered || at_risk.contains(&n) || torn.contains(&n), "event {n} is missing; notices {:?}", world.notices);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_line_of_a_random_history_is_delivered_once_or_reported(acts in prop::collection::vec(act(), 1..25)) {
        check_history(&acts, "cowrie.json*")?;
    }
}

/// Found by the test above: a file that begins as the one before it does is no copy of it once a torn line was joined.
#[test]
fn torn_line_two_rotations_and_a_restart_lose_nothing() {
    use Act::{AppendPartial, Poll, Rename, Restart, Wait};
    check_history(&[AppendPartial(50), Rename, AppendPartial(87), Poll, Rename, AppendPartial(1), Wait, Restart], "cowrie.json*").unwrap();
}
