//! For tests: events, the block terms a slow and obvious builder makes of them, and what a model without any index says.
use super::blocks::BlockSet;
use super::ids::IdCache;
use super::live::LiveIndex;
use super::part::{IndexPart, LookUp, SessionEntry, TermEntry, TermSummary, ValueRange};
use super::search::{BlockLines, LineRun, LineTerms, Segment, View};
use super::sidecar::{Sidecar, SidecarError, SidecarHead, build};
use super::{Activity, BlockMeta, BlockTerm, BlockTerms, Cell, SessionPart, TermCount, session_key, term_hash};
use crate::events::act::{Act, Acts, Sequence};
use crate::events::marks::{self, Address, Credentials, Marks};
use crate::events::time::{self, day_of, hour_of};
use crate::events::{EventId, Field, Format, Micros};
use crate::journal::fs::{File, Mapped};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

pub const RECEIVED_AT: Micros = 1_774_200_000_000_000;

/// Terms are the members named like a field, `input` being the command.
pub struct SampleDecoder;

impl LineTerms for SampleDecoder {
    fn terms(&mut self, _: Format, line: &[u8], received_at: Micros, out: &mut dyn FnMut(Field, &[u8])) -> Option<Micros> {
        let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&String::from_utf8_lossy(line)).ok()?;
        for &field in Field::ALL {
            let name = if field == Field::Command { "input" } else { field.name() };
            match event.get(name) {
                Some(serde_json::Value::String(text)) => out(field, text.as_bytes()),
                Some(serde_json::Value::Number(number)) => out(field, number.to_string().as_bytes()),
                _ => {}
            }
        }
        let time = event.get("timestamp").and_then(|time| time.as_str()).and_then(|text| time::parse(text.as_bytes()));
        Some(time.unwrap_or(received_at))
    }
}

/// What an event says, decoded.
pub struct Decoded {
    pub time: Micros,
    pub sensor: Vec<u8>,
    pub session: Option<Vec<u8>>,
    /// Distinct, without the session.
    pub terms: BTreeSet<(Field, Vec<u8>)>,
    pub act: Act,
    pub sequence: Sequence,
    pub marks: Marks,
}

pub fn decode(line: &[u8]) -> Option<Decoded> {
    let (act, sequence, marks) = (Act::Other, Sequence::default(), Marks::default());
    let mut decoded = Decoded { time: 0, sensor: Vec::new(), session: None, terms: BTreeSet::new(), act, sequence, marks };
    decoded.time = SampleDecoder.terms(Format::COWRIE, line, RECEIVED_AT, &mut |field, value| match field {
        Field::Session => decoded.session = Some(value.to_vec()),
        _ => {
            if field == Field::Sensor {
                decoded.sensor = value.to_vec();
            }
            match field {
                Field::Command => (decoded.act, decoded.sequence) = (Act::Command, Sequence::of(value)),
                Field::Password => {
                    decoded.act = Act::LoginFailed;
                    decoded.marks.credentials = Credentials::of(value);
                }
                Field::Hassh => decoded.marks.client = marks::client(value),
                Field::SrcIp => decoded.marks.address = Address::parse(value),
                _ => {}
            }
            decoded.terms.insert((field, value.to_vec()));
        }
    })?;
    Some(decoded)
}

fn position<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

pub fn block_terms(lines: &[Vec<u8>]) -> BlockTerms {
    type Counted = (Micros, Micros, BTreeMap<u16, u32>);
    let mut block = BlockTerms::default();
    let mut terms: BTreeMap<(Field, Vec<u8>), Counted> = BTreeMap::new();
    let mut sessions: BTreeMap<(u64, u16), SessionPart> = BTreeMap::new();
    let (mut activity, mut identity_hours) = (BTreeMap::new(), BTreeSet::new());
    for line in lines {
        let event = decode(line).expect("samples are events");
        let sensor = position(&mut block.sensors, event.sensor.clone().into()) as u16;
        let cell = position(&mut block.cells, Cell { sensor, day: day_of(event.time) });
        block.cell_events.resize(block.cells.len(), 0);
        block.cell_events[cell] += 1;
        activity.entry((hour_of(event.time), sensor)).or_insert(Acts::default()).count(event.act);
        identity_hours.insert(hour_of(event.time));
        block.ids.push(EventId::of_line(line));
        if let Some(session) = &event.session {
            let key = session_key(session);
            let (acts, sequence, marks) = (Acts::default(), Sequence::default(), Marks::default());
            let new = SessionPart { key, sensor, acts, sequence, marks, first: event.time, last: event.time };
            let part = sessions.entry((key, sensor)).or_insert(new);
            part.acts.count(event.act);
            part.sequence = part.sequence.then(event.sequence);
            part.marks.then(&event.marks);
            (part.first, part.last) = (part.first.min(event.time), part.last.max(event.time));
        }
        for term in event.terms {
            let known = terms.entry(term).or_insert((event.time, event.time, BTreeMap::new()));
            (known.0, known.1) = (known.0.min(event.time), known.1.max(event.time));
            *known.2.entry(cell as u16).or_insert(0) += 1;
        }
    }
    for ((field, value), (first, last, cells)) in terms {
        let (number, start) = (block.terms.len() as u32, block.values.len() as u32);
        block.values.extend_from_slice(&value);
        block.terms.push(BlockTerm { hash: term_hash(field, &value), start, len: value.len() as u32, field, first, last });
        block.counts.extend(cells.into_iter().map(|(cell, count)| TermCount { term: number, cell, count }));
    }
    block.sessions = sessions.into_values().collect();
    block.activity = activity.into_iter().map(|((hour, sensor), acts)| Activity { hour, sensor, acts }).collect();
    block.identity_hours = identity_hours.into_iter().collect();
    block
}

/// Lines cut into blocks, and the directory of the blocks.
#[derive(Clone, Debug)]
pub struct Blocks {
    pub lines: Vec<Vec<Vec<u8>>>,
    pub metas: Vec<BlockMeta>,
}

impl Blocks {
    pub fn new(lines: Vec<Vec<Vec<u8>>>, first_seq: u64) -> Blocks {
        let (mut seq, mut offset, mut metas) = (first_seq, 40, Vec::new());
        for block in &lines {
            let times: Vec<Micros> = block.iter().filter_map(|line| decode(line)).map(|event| event.time).collect();
            let raw_len = block.iter().map(|line| line.len() as u32 + 1).sum();
            let (time_min, time_max) = (times.iter().min().copied().unwrap_or(0), times.iter().max().copied().unwrap_or(0));
            let events = block.len() as u32;
            metas.push(BlockMeta {
                offset,
                header_len: 60,
                data_len: raw_len / 9 + 1,
                raw_len,
                first_seq: seq,
                events,
                time_min,
                time_max,
            });
            seq += u64::from(events);
            offset += u64::from(60 + raw_len / 9 + 1);
        }
        Blocks { lines, metas }
    }

    pub fn live(&self) -> LiveIndex {
        let mut live = LiveIndex::new();
        for (number, (lines, meta)) in (0u32..).zip(self.lines.iter().zip(&self.metas)) {
            live.merge(number, *meta, &block_terms(lines));
        }
        live
    }

    pub fn head(&self, segment: u64) -> SidecarHead {
        let spans = || self.metas.iter().filter(|meta| meta.events > 0);
        SidecarHead {
            segment,
            first_seq: self.metas.first().map_or(0, |meta| meta.first_seq),
            events: self.metas.iter().map(|meta| u64::from(meta.events)).sum(),
            raw_bytes: self.metas.iter().map(|meta| u64::from(meta.raw_len)).sum(),
            journal_len: 1_000_000,
            digest: *blake3::hash(&segment.to_le_bytes()).as_bytes(),
            time_min: spans().map(|meta| meta.time_min).min().unwrap_or(0),
            time_max: spans().map(|meta| meta.time_max).max().unwrap_or(0),
        }
    }

    pub fn sidecar(&self, segment: u64) -> Sidecar {
        open(build(&self.live(), self.head(segment))).expect("what was built opens")
    }

    /// Every event with its block, sequence number and line.
    pub fn events(&self) -> impl Iterator<Item = (u32, u64, &[u8], Decoded)> {
        (0u32..).zip(self.lines.iter().zip(&self.metas)).flat_map(|(number, (lines, meta))| {
            (meta.first_seq..).zip(lines).map(move |(seq, line)| (number, seq, &line[..], decode(line).expect("samples are events")))
        })
    }
}

/// A file that can only be read.
pub struct MemoryFile(pub Vec<u8>);

impl File for MemoryFile {
    fn write_at(&self, _pieces: &[&[u8]], _at: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = start.checked_add(buffer.len()).and_then(|end| self.0.get(start..end)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

pub fn open(bytes: Vec<u8>) -> Result<Sidecar, SidecarError> {
    let map: Arc<dyn Mapped> = Arc::new(bytes.clone());
    Sidecar::open(map, Arc::new(MemoryFile(bytes)))
}

/// A segment of a view: its blocks, and a live or a sealed index over them.
pub struct SampleSegment {
    pub blocks: Blocks,
    pub index: Box<dyn IndexPart + Send + Sync>,
}

impl SampleSegment {
    pub fn new(blocks: Blocks, segment: u64, sealed: bool) -> SampleSegment {
        let index: Box<dyn IndexPart + Send + Sync> = if sealed { Box::new(blocks.sidecar(segment)) } else { Box::new(blocks.live()) };
        SampleSegment { blocks, index }
    }
}

impl Segment for SampleSegment {
    fn with_index(&self, ask: &mut dyn FnMut(&dyn IndexPart) -> Result<(), SidecarError>) -> Result<(), SidecarError> {
        ask(&*self.index)
    }

    fn read_block(&self, block: &BlockMeta, lines: &mut BlockLines) -> io::Result<()> {
        let number = self.blocks.metas.iter().position(|meta| meta == block).ok_or(io::ErrorKind::NotFound)?;
        lines.bytes.clear();
        for line in &self.blocks.lines[number] {
            lines.bytes.extend_from_slice(line);
            lines.bytes.push(b'\n');
        }
        lines.runs =
            vec![LineRun { events: block.events, source: "cowrie".into(), received_at: RECEIVED_AT, format: Some(Format::COWRIE) }];
        Ok(())
    }
}

/// A view over segments of which every other one is sealed.
pub fn view(segments: &[Blocks]) -> View {
    let last_seq = segments.iter().flat_map(|blocks| blocks.metas.iter().map(|meta| meta.first_seq + u64::from(meta.events))).max();
    let segments = (1u64..).zip(segments);
    View {
        segments: segments
            .map(|(number, blocks)| -> Arc<dyn Segment> { Arc::new(SampleSegment::new(blocks.clone(), number, number % 2 == 1)) })
            .collect(),
        last_seq: last_seq.unwrap_or(0).saturating_sub(1),
        ..View::default()
    }
}

/// Lines of made-up events: few values, so that they repeat, on three days, at sensors of which one has no name.
pub fn lines(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let event =
        (0..40u32, 0..3u8, 0..12u32, "[ab/é\"]{0,3}", 0..3i64 * 86_400, any::<u16>(), proptest::option::weighted(0.2, "[a-c ]{1,4}"));
    let line = event.prop_map(|(session, sensor, ip, password, second, salt, input)| {
        let mut event = serde_json::json!({
            "eventid": if input.is_some() { "cowrie.command.input" } else { "cowrie.login.failed" },
            "session": if session < 35 { format!("{session:012x}") } else { format!("odd-{session}") },
            "src_ip": format!("10.0.{}.{ip}", ip % 3),
            "password": password,
            "dst_port": 22,
            "salt": salt,
        });
        if sensor > 0 {
            event["sensor"] = format!("node{sensor}").into();
        }
        if salt % 16 > 0 {
            event["timestamp"] = time::format(RECEIVED_AT - second * time::MICROS_PER_SECOND).into();
        }
        if salt % 8 == 3 {
            event["hassh"] = ["a9", "b8", "c7"][usize::from(salt / 8 % 3)].into();
        }
        if let Some(input) = input {
            event["input"] = input.into();
        }
        event.to_string().into_bytes()
    });
    proptest::collection::vec(line, count)
}

/// The lines without repetitions, cut into blocks.
pub fn blocks(count: impl Into<proptest::collection::SizeRange>, first_seq: u64) -> impl Strategy<Value = Blocks> {
    (lines(count), 1..40usize).prop_map(move |(mut lines, size)| {
        let mut seen = BTreeSet::new();
        lines.retain(|line| seen.insert(line.clone()));
        Blocks::new(lines.chunks(size).map(<[_]>::to_vec).collect(), first_seq)
    })
}

/// Up to four segments whose sequence numbers follow each other.
pub fn consecutive(lines: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Blocks>> {
    proptest::collection::vec(blocks(lines, 0), 1..5).prop_map(|segments| {
        let mut first_seq = 1;
        let renumbered = segments.into_iter().map(|blocks| {
            let blocks = Blocks::new(blocks.lines, first_seq);
            first_seq += blocks.head(0).events;
            blocks
        });
        renumbered.collect()
    })
}

/// Compares everything a part answers with what the events themselves say; `block_of` renumbers the blocks.
pub fn assert_part_says_what_events_say(part: &dyn IndexPart, blocks: &Blocks, block_of: &dyn Fn(u32) -> u32) {
    type Naive = (TermSummary, BTreeMap<(Vec<u8>, i32), u32>, BlockSet);
    let mut terms: BTreeMap<(Field, Vec<u8>), Naive> = BTreeMap::new();
    let mut sessions: BTreeMap<(u64, Vec<u8>), SessionEntry> = BTreeMap::new();
    let (mut hours, mut activity, mut cell_events) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (block, _, _, event) in blocks.events() {
        let cell = (event.sensor.clone(), day_of(event.time));
        *hours.entry(hour_of(event.time)).or_insert(0u64) += 1;
        activity.entry((hour_of(event.time), event.sensor.clone())).or_insert(Acts::default()).count(event.act);
        *cell_events.entry(cell.clone()).or_insert(0u64) += 1;
        for term in event.terms {
            let new = (TermSummary { count: 0, first: event.time, last: event.time }, BTreeMap::new(), BlockSet::new());
            let (summary, cells, set) = terms.entry(term).or_insert(new);
            summary.count += 1;
            (summary.first, summary.last) = (summary.first.min(event.time), summary.last.max(event.time));
            *cells.entry(cell.clone()).or_insert(0) += 1;
            set.insert(block_of(block));
        }
        if let Some(session) = &event.session {
            let key = session_key(session);
            let (acts, sequence, marks) = (Acts::default(), Sequence::default(), Marks::default());
            let new = SessionEntry { key, sensor: 0, acts, sequence, marks, first: event.time, last: event.time, blocks: BlockSet::new() };
            let entry = sessions.entry((key, event.sensor.clone())).or_insert(new);
            entry.acts.count(event.act);
            entry.sequence = entry.sequence.then(event.sequence);
            entry.marks.then(&event.marks);
            (entry.first, entry.last) = (entry.first.min(event.time), entry.last.max(event.time));
            entry.blocks.insert(block_of(block));
        }
    }
    let table = part.cells().unwrap();
    let cell_name = |cell: u32| {
        let row = table.cells[cell as usize];
        (table.sensors[row.sensor as usize].to_vec(), row.day)
    };
    let found = (0u32..).zip(&table.cells).map(|(cell, row)| (cell_name(cell), row.events)).collect::<BTreeMap<_, _>>();
    assert_eq!(found, cell_events);
    assert_eq!(part.hours().unwrap(), hours.into_iter().collect::<Vec<_>>());
    let rows = part.activity().unwrap().into_iter().map(|row| ((row.hour, table.sensors[row.sensor as usize].to_vec()), row.acts));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), activity);
    let named = |entry: &TermEntry| -> Naive {
        let cells = entry.cells.iter().map(|&(cell, count)| (cell_name(cell), count)).collect();
        (entry.summary, cells, entry.blocks.clone())
    };
    for &field in Field::ALL {
        let expected: BTreeMap<Vec<u8>, &Naive> =
            terms.iter().filter(|(term, _)| term.0 == field).map(|(term, naive)| (term.1.clone(), naive)).collect();
        assert_eq!(part.terms_len(field), expected.len() as u64, "{field:?}");
        let mut light = BTreeMap::new();
        part.each_term(field, ValueRange::ALL, &mut |value, summary| assert!(light.insert(value.to_vec(), summary).is_none())).unwrap();
        assert_eq!(light, expected.iter().map(|(value, naive)| (value.clone(), naive.0)).collect());
        let mut full = BTreeMap::new();
        part.each_entry(field, ValueRange::ALL, &mut |_| true, &mut |value, entry| drop(full.insert(value.to_vec(), named(entry))))
            .unwrap();
        assert_eq!(full, expected.iter().map(|(value, &naive)| (value.clone(), naive.clone())).collect());
        for (value, naive) in expected {
            assert_eq!(part.term(field, &value).unwrap().as_ref().map(named).as_ref(), Some(naive));
        }
        assert_eq!(part.term(field, b"no such value").unwrap(), None);
    }
    let sensor_name = |entry: &SessionEntry| table.sensors[entry.sensor as usize].to_vec();
    let mut found = BTreeMap::new();
    let mut keep = |entry: &SessionEntry| drop(found.insert((entry.key, sensor_name(entry)), SessionEntry { sensor: 0, ..entry.clone() }));
    part.each_session(&mut keep).unwrap();
    assert_eq!(found, sessions);
    let mut starts = BTreeMap::new();
    let mut start = |key, sensor: u32, first| {
        starts.insert((key, table.sensors[sensor as usize].to_vec()), first);
    };
    part.each_session_start(&mut start).unwrap();
    assert_eq!(starts, sessions.iter().map(|(name, session)| (name.clone(), session.first)).collect());
    for (key, sensor) in sessions.keys() {
        let entries = part.session(*key).unwrap();
        assert_eq!(entries.len(), sessions.keys().filter(|known| known.0 == *key).count());
        assert!(entries.iter().any(|entry| sensor_name(entry) == *sensor && entry.blocks == sessions[&(*key, sensor.clone())].blocks));
    }
    assert!(part.session(session_key(b"never")).unwrap().is_empty());
}

/// Every question there is, for bytes that may be nonsense: any answer will do.
pub fn ask_everything(sidecar: &Sidecar, ids: &[EventId]) {
    let _ = (sidecar.blocks(), sidecar.cells(), sidecar.hours(), sidecar.activity(), sidecar.time_span(), sidecar.verify());
    for &field in Field::ALL {
        let _ = (sidecar.terms_len(field), sidecar.term(field, b"10.0.1.1"));
        LookUp::ALL.into_iter().for_each(|step| sidecar.will_look_up(field, b"10.0.1.1", step));
        let _ = sidecar.each_term(field, ValueRange::ALL, &mut |_, _| ());
        let _ = sidecar.each_entry(field, ValueRange { from: b"1", to: Some(b"b") }, &mut |_| true, &mut |_, _| ());
        let _ = sidecar.each_split(field, &mut |_| ());
    }
    let _ = sidecar.session(session_key(b"000000000003"));
    let _ = (sidecar.each_session(&mut |_| ()), sidecar.each_session_start(&mut |_, _, _| ()));
    let mut cache = IdCache::new();
    for chunk in [ids, &ids[..ids.len().min(3)]] {
        let mut known = vec![false; chunk.len()];
        let _ = sidecar.mark_known(chunk, &[hour_of(RECEIVED_AT)], &mut known, &mut cache);
        let _ = sidecar.contains(EventId([7; 16]), &mut cache);
    }
}
