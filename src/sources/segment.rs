//! Reads a segment of a journal, archived or copied, as what it is: its lines were events already, with ids that the lines may not
//! give, and some of them stand for events that were erased. To read it as mere lines would bring those back.
use super::archive::{Expansion, Fault};
use super::{CHUNK_BYTES, Format, Reason, Refused, Stored};
use crate::events::Micros;
use crate::events::time::{self, EARLIEST, MICROS_PER_DAY};
use crate::index::BlockMeta;
use crate::journal::block::{Header, PREFIX_LEN, Run, is_ours};
use crate::journal::fs::{self, File};
use crate::journal::segment::{BlockReader, line_hashes, next_header, read_frame};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Behind so many damaged places the rest is given up: to look for the next whole header costs time.
const DAMAGE_MAX: usize = 64;
/// So many formats that nobody knows are told one by one.
const UNKNOWN_FORMATS_MAX: usize = 64;

/// Lines with one origin, and what was refused before them.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub data: Vec<u8>,
    /// `None`: of tombstones whose format nobody knows any more, and where there are no lines.
    pub format: Option<Format>,
    /// `None`: what the segment says cannot be.
    pub received_at: Option<Micros>,
    pub reflowed: bool,
    pub stored: Stored,
    pub refused: Vec<Refused>,
    /// Of the decompressed lines.
    pub start: u64,
    pub end: u64,
}

pub(super) struct SegmentReader {
    file: Arc<dyn File>,
    len: u64,
    at: u64,
    part_bytes: usize,
    expansion: Expansion,
    reader: BlockReader,
    /// The block that is being handed out: its lines, its runs, last one first, and how far the last one is.
    lines: Vec<u8>,
    line: usize,
    runs: Vec<Run>,
    taken: usize,
    /// Of all lines so far, decompressed.
    offset: u64,
    refused: Vec<Refused>,
    damage: usize,
    unknown: BTreeSet<String>,
    /// An opening was read and not its seal.
    unsealed: bool,
}

impl SegmentReader {
    /// `None`: the file is something else.
    pub fn of(file: &std::fs::File, part_bytes: usize, expansion: Expansion) -> io::Result<Option<SegmentReader>> {
        let mut head = [0; PREFIX_LEN];
        match file.read_exact_at(&mut head, 0) {
            Ok(()) if is_ours(&head) => {}
            Ok(()) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let len = file.metadata()?.len();
        Ok(Some(SegmentReader {
            file: fs::reading(file.try_clone()?),
            len,
            at: 0,
            part_bytes: part_bytes.clamp(1, CHUNK_BYTES),
            expansion,
            reader: BlockReader::default(),
            lines: Vec::new(),
            line: 0,
            runs: Vec::new(),
            taken: 0,
            offset: 0,
            refused: Vec::new(),
            damage: 0,
            unknown: BTreeSet::new(),
            unsealed: false,
        }))
    }

    /// Bytes that were read, and the file's length.
    pub fn progress(&self) -> (u64, u64) {
        (self.at, self.len)
    }

    /// The next lines with one origin; none at the end. An error is the disk's, or tells of a newer release.
    pub fn next_part(&mut self) -> io::Result<Option<Part>> {
        loop {
            if let Some(part) = self.cut() {
                return Ok(Some(part));
            }
            if self.at < self.len {
                self.advance()?;
                continue;
            }
            if std::mem::take(&mut self.unsealed) {
                self.refuse("the segment has no seal: it was cut short, or was still being written when it was copied".into());
            }
            let (start, end, refused) = (self.offset, self.offset, std::mem::take(&mut self.refused));
            return Ok((!refused.is_empty()).then(|| Part { refused, start, end, ..Part::default() }));
        }
    }

    /// Reads the next frame; of a block its lines.
    fn advance(&mut self) -> io::Result<()> {
        let (header, header_len, data_len) = match read_frame(&*self.file, self.at, self.len, false)? {
            Ok(frame) => frame,
            Err(what) => return self.pass_over(&what, self.at + 1),
        };
        let offset = self.at;
        self.at += u64::from(header_len) + u64::from(data_len);
        match header {
            Header::Opening(_) => {
                if std::mem::replace(&mut self.unsealed, true) {
                    self.refuse("a segment before another one in the file has no seal: it was cut short".into());
                }
            }
            Header::Seal(_) => self.unsealed = false,
            Header::Block(block) => {
                let produced = self.offset + u64::from(block.raw_len);
                let fault = if produced > self.expansion.bytes_max {
                    Some(Fault::Size)
                } else {
                    let too_far = produced > self.expansion.ratio_from_bytes && produced / self.at > self.expansion.ratio_max;
                    too_far.then_some(Fault::Ratio)
                };
                if let Some(fault) = fault {
                    self.refuse(format!("{fault}; {offset} of {} bytes were read", self.len));
                    (self.at, self.unsealed) = (self.len, false);
                    return Ok(());
                }
                let meta = BlockMeta {
                    offset,
                    header_len,
                    data_len,
                    raw_len: block.raw_len,
                    first_seq: block.first_seq,
                    events: block.events,
                    time_min: block.time_min,
                    time_max: block.time_max,
                };
                let read = self.reader.read(&*self.file, &meta, &mut self.lines).and_then(|block| {
                    let mut hashes = Vec::new();
                    line_hashes(&block, &self.lines, &mut hashes)?;
                    Ok((block, hashes.len()))
                });
                self.line = 0;
                self.taken = 0;
                match read {
                    Ok((block, lines)) if lines == block.events as usize => {
                        self.runs = block.runs;
                        self.runs.reverse();
                    }
                    Ok(_) => return self.drop_block(offset, "the block has not the lines that it counts"),
                    Err(crate::journal::segment::ReadError::Io(error)) => return Err(error),
                    Err(error) => return self.drop_block(offset, &error.to_string()),
                }
            }
        }
        Ok(())
    }

    /// The data of a block is damaged; its header is not, and says where the next one begins.
    fn drop_block(&mut self, offset: u64, what: &str) -> io::Result<()> {
        self.lines.clear();
        let behind = self.at;
        self.at = offset;
        self.pass_over(what, behind)
    }

    /// Goes on at the next header at or behind `from`.
    fn pass_over(&mut self, what: &str, from: u64) -> io::Result<()> {
        self.damage += 1;
        let next = if self.damage < DAMAGE_MAX { next_header(&*self.file, from, self.len)? } else { None };
        let behind = next.unwrap_or(self.len);
        let given_up = if self.damage < DAMAGE_MAX { "" } else { "; as much before was damaged as well, and it is read no further" };
        self.refuse(format!("segment is damaged at byte {}: {what}; {} bytes are left out{given_up}", self.at, behind - self.at));
        self.at = behind;
        Ok(())
    }

    fn refuse(&mut self, detail: String) {
        let hash = *blake3::hash(b"").as_bytes();
        self.refused.push(Refused { reason: Reason::Archive, offset: self.at, len: 0, hash, bytes: Vec::new(), detail });
    }

    /// The next lines of the block that was read, as far as they have one origin.
    fn cut(&mut self) -> Option<Part> {
        while let Some(run) = self.runs.pop() {
            let left = run.events as usize - self.taken;
            let unknown = run.format().is_none();
            let begin = self.line;
            let mut taken = 0;
            let rest = &self.lines[begin..];
            for newline in memchr::memchr_iter(b'\n', rest).take(left) {
                let len = newline + 1;
                if taken > 0 && len > self.part_bytes && !unknown {
                    break;
                }
                taken += 1;
                self.line = begin + len;
            }
            if taken == 0 {
                // A run that only moved a checkpoint.
                self.taken = 0;
                continue;
            }
            let (start, end) = (self.offset, self.offset + (self.line - begin) as u64);
            self.offset = end;
            let events = self.taken..self.taken + taken;
            self.taken = if taken < left { events.end } else { 0 };
            if unknown {
                if self.unknown.len() < UNKNOWN_FORMATS_MAX && self.unknown.insert(run.decoder.clone()) {
                    let plain =
                        run.decoder.len() <= 64 && run.decoder.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
                    let name = if plain { &run.decoder } else { "an odd name" };
                    self.refuse(format!("events of the format {name} are left out: describe it as [[format]], and load the segment again"));
                }
                // Their place in the input stays.
                return Some(Part { refused: std::mem::take(&mut self.refused), start, end, ..Part::default() });
            }
            let part = Part {
                data: self.lines[begin..self.line].to_vec(),
                format: Format::parse(&run.decoder),
                received_at: Some(run.received_at).filter(|at| (EARLIEST..=time::now() + MICROS_PER_DAY).contains(at)),
                reflowed: run.reflowed,
                stored: Stored { ids: run.ids.get(events).unwrap_or_default().to_vec(), tombstones: run.tombstones },
                refused: std::mem::take(&mut self.refused),
                start,
                end,
            };
            if taken < left {
                self.runs.push(run);
            }
            return Some(part);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventId;
    use crate::journal::block::{Checkpoints, GENESIS};
    use crate::journal::head::{Head, NewBlock};
    use std::io::{Seek, Write};

    const RECEIVED_AT: Micros = 1_774_138_242_000_000;

    fn run(decoder: &str, events: u32, ids: Vec<EventId>) -> Run {
        Run {
            source: "pots".into(),
            decoder: decoder.into(),
            stream: "pots/1".into(),
            received_at: RECEIVED_AT,
            events,
            reflowed: true,
            tombstones: false,
            checkpoint: Some(vec![1]),
            ids,
        }
    }

    /// A segment of these blocks, and where each of them ends.
    fn segment(blocks: &[(&[&str], Vec<Run>)]) -> (Vec<u8>, Vec<usize>) {
        let (mut head, mut bytes) = Head::begin(1, 1, (0, 0, GENESIS), Checkpoints::new(), RECEIVED_AT);
        let mut ends = vec![];
        for (lines, runs) in blocks {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let frame = if text.is_empty() { Vec::new() } else { zstd::bulk::compress(text.as_bytes(), 1).unwrap() };
            let line_hashes: Vec<EventId> = lines.iter().map(|line| EventId::of_line(line.as_bytes())).collect();
            let (time_min, time_max) = (RECEIVED_AT, RECEIVED_AT);
            let raw_len = text.len() as u32;
            let block = NewBlock { line_hashes: &line_hashes, raw_len, frame: &frame, time_min, time_max, runs: runs.clone() };
            bytes.extend(head.stage(block).header);
            bytes.extend(frame);
            ends.push(bytes.len());
        }
        bytes.extend(Header::Seal(head.seal()).encode());
        (bytes, ends)
    }

    fn read(bytes: &[u8], part_bytes: usize) -> Vec<Part> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let mut reader = SegmentReader::of(&file, part_bytes, Expansion::default()).unwrap().expect("a segment");
        let mut parts: Vec<Part> = Vec::new();
        while let Some(part) = reader.next_part().unwrap() {
            assert_eq!(part.start, parts.last().map_or(0, |last| last.end), "the input has no holes");
            parts.push(part);
        }
        assert_eq!(reader.progress().0, bytes.len() as u64);
        parts
    }

    fn text(parts: &[Part]) -> String {
        parts.iter().map(|part| std::str::from_utf8(&part.data).unwrap()).collect()
    }

    fn refused(parts: &[Part]) -> Vec<&str> {
        parts.iter().flat_map(|part| &part.refused).map(|refused| refused.detail.as_str()).collect()
    }

    #[test]
    fn runs_come_with_their_formats_times_and_ids_however_they_are_cut() {
        let ids: Vec<EventId> = (0..3).map(|n| EventId([n; 16])).collect();
        let nothing = Run { checkpoint: Some(vec![2]), ..run("cowrie", 0, vec![]) };
        let odd = Run { received_at: i64::MAX, reflowed: false, ..run("cowrie", 1, vec![]) };
        let (bytes, _) = segment(&[
            (
                &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}"],
                vec![nothing.clone(), run("chat", 3, ids.clone()), nothing.clone(), odd],
            ),
            (&[], vec![nothing]),
        ]);
        for part_bytes in [1, 9, 16, 1 << 20] {
            let parts = read(&bytes, part_bytes);
            assert_eq!(text(&parts), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":4}\n");
            assert_eq!(refused(&parts), [""; 0]);
            let (last, first) = parts.split_last().unwrap();
            assert!(
                first.iter().all(|part| part.format == Format::parse("chat") && part.reflowed && part.received_at == Some(RECEIVED_AT))
            );
            assert_eq!(first.iter().flat_map(|part| part.stored.ids.clone()).collect::<Vec<_>>(), ids);
            assert!(first.iter().all(|part| part.stored.ids.len() == part.data.iter().filter(|&&byte| byte == b'\n').count()));
            assert_eq!((last.format, last.received_at, last.reflowed), (Format::parse("cowrie"), None, false));
            assert!(last.stored.ids.is_empty());
        }
    }

    #[test]
    fn whatever_bit_flips_the_other_blocks_are_read_and_the_damage_is_told() {
        let lines = ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"];
        let blocks: Vec<(&[&str], Vec<Run>)> =
            lines.iter().map(|line| (std::slice::from_ref(line), vec![run("cowrie", 1, vec![])])).collect();
        let (bytes, ends) = segment(&blocks);
        for at in PREFIX_LEN..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let parts = read(&damaged, CHUNK_BYTES);
            let hit = ends.iter().position(|&end| at < end);
            let text = text(&parts);
            let lost = lines.iter().enumerate().filter(|(_, line)| !text.contains(**line)).map(|(number, _)| number).collect::<Vec<_>>();
            assert!(lost.is_empty() || lost.first() == hit.as_ref() && lost.len() == 1, "byte {at}: {lost:?}");
            assert!(!refused(&parts).is_empty(), "byte {at}");
        }
        for len in PREFIX_LEN..bytes.len() {
            assert!(!refused(&read(&bytes[..len], CHUNK_BYTES)).is_empty(), "cut at {len}");
        }
    }

    #[test]
    fn events_of_formats_that_nobody_knows_are_left_out_and_told_once() {
        let (bytes, _) = segment(&[
            (&["{\"a\":1}", "{\"a\":2}"], vec![run("gone", 1, vec![]), run("cowrie", 1, vec![])]),
            (&["{\"a\":3}"], vec![run("gone", 1, vec![])]),
            (&["{\"a\":4}"], vec![run("\u{1b}[2J", 1, vec![])]),
        ]);
        let parts = read(&bytes, CHUNK_BYTES);
        assert_eq!(text(&parts), "{\"a\":2}\n");
        let told = refused(&parts);
        assert!(told.len() == 2 && told[0].contains("the format gone") && told[1].contains("an odd name"), "{told:?}");
    }

    #[test]
    fn other_files_are_none() {
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0][..], b"something"].concat();
        for bytes in [&b""[..], b"{\"HGJ\":1}\n", &skippable, &zstd::bulk::compress(b"{\"a\":\"HGJ\"}", 1).unwrap()] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            assert!(SegmentReader::of(&file, CHUNK_BYTES, Expansion::default()).unwrap().is_none());
        }
    }

    #[test]
    fn a_segment_that_expands_beyond_reason_is_read_no_further() {
        let line = format!("{{\"a\":\"{}\"}}", "x".repeat(900_000));
        let lines: Vec<&str> = std::iter::repeat_n(line.as_str(), 60).collect();
        let (bytes, _) = segment(&[(&lines, vec![run("cowrie", 60, vec![])])]);
        let parts = read(&bytes, CHUNK_BYTES);
        assert!(text(&parts).is_empty() && refused(&parts)[0].starts_with(&Fault::Ratio.to_string()), "{:?}", refused(&parts));
    }
}
