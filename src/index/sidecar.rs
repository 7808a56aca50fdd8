//! The sidecar of a sealed segment: its index in one immutable file, mapped, never trusted.
//!
//! Header (128 bytes), directory of sections, sections without gaps. Header and directory carry their own CRC and are
//! checked when the file is opened; every section's CRC stands in the directory and is checked by [`Sidecar::verify`],
//! so that opening reads one page and not the file. Readers check every offset and number they follow: whatever the
//! bytes, the answer is a result or [`SidecarError::Damaged`]. Small sections come first, so that a cold search finds
//! them together. Sections are found by name, fields among them, so a later version can add some and this one reads on.
//!
//! All numbers are little endian or LEB128 varints ("signed": zigzag); times are relative to the header's smallest time.
//!
//! | offset | header |
//! |---|---|
//! | 0 | magic `hgindex\n` |
//! | 8 | format version, length of the directory (u32 each) |
//! | 16 | segment, first sequence number, events, bytes of lines, length of the journal file, smallest and largest time (u64 each) |
//! | 72 | running digest of the journal file at that length (32 bytes) |
//! | 104 | number of blocks, of cells (u32 each) |
//! | 112 | length of this file (u64) |
//! | 120 | CRC-32 of the directory, CRC-32 of bytes 0 to 123 (u32 each) |
//!
//! A row of the directory: length of the name (u8), name, offset and length (u64 each), CRC-32 (u32). Sections:
//!
//! | name | content |
//! |---|---|
//! | `activity` | (hour less the one before, signed; sensor; [acts](super::sessions)) … |
//! | `identity_hours` | hours less the one before, signed … |
//! | `cells` | number of sensors, (length, name) …; number of cells, (day less the one before, signed; sensor; events) … |
//! | `blocks` | (offset less the end of the block before, signed; header, data and raw length; first sequence number less the one expected, signed; events; smallest time less that of the block before, signed; span, signed) … |
//! | `session_table`, `sessions` | see `sessions.rs` |
//! | `page_table/FIELD`, `pages/FIELD` | see `dictionary.rs` |
//! | `id_table`, `id_filter`, `ids` | see `ids.rs` |
use super::BlockMeta;
use super::dictionary::{Dictionary, DictionaryWriter, Scale};
use super::encoding::{Reader, put_signed, put_varint};
use super::ids::{self, FilterDescriptor, HITS_BEFORE_WHOLE, ID_LEN, IdCache, IdFilter, PAGE_IDS};
use super::live::{LiveIndex, Session};
use super::part::{ActivityRow, CellRow, CellTable, IndexPart, LookUp, SessionEntry, TermEntry, TermSummary, ValueRange};
use super::sessions::{self, SessionRow, Sessions, put_acts, read_acts};
use crate::events::{EventId, Field, Micros};
use crate::journal::fs::{File, Mapped};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The format this program writes, and the only one it reads so far.
///
/// Version 2 has no marks of sessions: it is read, and made again where there is evidence. Version 1 had events by hour where `activity` is
/// now, and no acts of sessions: it is made again.
pub const FORMAT_VERSION: u32 = 3;
const FORMAT_VERSION_READ_MIN: u32 = 2;

const MAGIC: [u8; 8] = *b"hgindex\n";
/// So many sessions are in few groups of a segment: telling the system that all will be read would cost more than reading these.
const FEW_SESSIONS: usize = 100;
const HEADER_LEN: usize = 128;
/// More than a directory with every field a later version may have.
const DIRECTORY_BYTES_MAX: usize = 64 << 10;

const ACTIVITY: &str = "activity";
const IDENTITY_HOURS: &str = "identity_hours";
const CELLS: &str = "cells";
const BLOCKS: &str = "blocks";
const SESSION_TABLE: &str = "session_table";
const SESSIONS: &str = "sessions";
const ID_TABLE: &str = "id_table";
const ID_FILTER: &str = "id_filter";
const IDS: &str = "ids";
const PAGE_TABLE: &str = "page_table/";
const PAGES: &str = "pages/";

/// What is wrong with a sidecar. All but `Read` mean: rebuild it from the journal.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    #[error("not a sidecar: it does not begin with the magic bytes; rebuild it")]
    NotASidecar,
    #[error("sidecar format {found} is unknown (this program writes {FORMAT_VERSION}); rebuild it or use a newer program")]
    Version { found: u32 },
    #[error("sidecar of segment {segment} is damaged in its {part}; rebuild it")]
    Damaged { segment: u64, part: String },
    #[error("cannot read the sidecar of segment {segment}: {source}")]
    Read { segment: u64, source: std::io::Error },
}

/// What a sidecar says of the segment it was built from: whoever opens it compares, and rebuilds a stale one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidecarHead {
    pub segment: u64,
    pub first_seq: u64,
    pub events: u64,
    /// Length of all lines, newlines included, bytes.
    pub raw_bytes: u64,
    /// Length of the journal file, bytes, and its running digest at that length.
    pub journal_len: u64,
    pub digest: [u8; 32],
    /// Smallest and largest time events are indexed by.
    pub time_min: Micros,
    pub time_max: Micros,
}

impl SidecarError {
    /// The segment whose sidecar it is, where that is known.
    pub fn segment(&self) -> Option<u64> {
        match self {
            SidecarError::Damaged { segment, .. } | SidecarError::Read { segment, .. } => Some(*segment),
            SidecarError::NotASidecar | SidecarError::Version { .. } => None,
        }
    }
}

impl SidecarHead {
    fn id_seed(&self) -> u64 {
        u64::from_le_bytes(self.digest[..8].try_into().expect("eight of thirty-two bytes"))
    }
}

/// The sidecar file of a live index whose segment is complete.
pub fn build(live: &LiveIndex, head: SidecarHead) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(1).expect("zstd has a level 1");
    let scale = Scale { time_base: head.time_min, blocks: live.blocks.len() as u32, cells: live.cells.len() as u32 };
    let order = CellOrder::of(live);
    let dictionaries = build_dictionaries(live, scale, &order, &mut compressor);
    let mut rows: Vec<(u64, u32, usize)> = Vec::with_capacity(live.sessions.len());
    rows.extend(live.sessions.iter().enumerate().map(|(index, session)| (session.key, order.sensor_rank[session.sensor as usize], index)));
    rows.sort_unstable();
    let rows = rows.into_iter().map(|(key, sensor, index)| {
        let session = &live.sessions[index];
        let &Session { acts, sequence, marks, first, last, .. } = session;
        SessionRow { key, sensor, acts, sequence, marks, first, last, blocks: session.postings.iter().collect() }
    });
    let (session_table, session_groups) = sessions::write(rows, scale, &mut compressor);
    let ids = ids::write(live.ids(), head.id_seed());

    let mut sections: Vec<(String, Vec<u8>)> = vec![
        (ACTIVITY.into(), order.put_activity(live)),
        (IDENTITY_HOURS.into(), put_identity_hours(live)),
        (CELLS.into(), order.put(live)),
        (BLOCKS.into(), put_block_directory(&live.blocks, &head)),
        (SESSION_TABLE.into(), session_table),
    ];
    let mut pages = Vec::new();
    for (field, table, bytes) in dictionaries {
        sections.push((format!("{PAGE_TABLE}{}", field.name()), table));
        pages.push((format!("{PAGES}{}", field.name()), bytes));
    }
    sections.push((ID_TABLE.into(), ids.table));
    sections.push((SESSIONS.into(), session_groups));
    sections.append(&mut pages);
    sections.push((ID_FILTER.into(), ids.filter));
    sections.push((IDS.into(), ids.ids));
    assemble(&head, scale, &sections)
}

fn assemble(head: &SidecarHead, scale: Scale, sections: &[(String, Vec<u8>)]) -> Vec<u8> {
    let row_len = |name: &str| 1 + name.len() + 8 + 8 + 4;
    let directory_len: usize = sections.iter().map(|(name, _)| row_len(name)).sum();
    let mut offset = (HEADER_LEN + directory_len) as u64;
    let mut directory = Vec::with_capacity(directory_len);
    for (name, bytes) in sections {
        directory.push(u8::try_from(name.len()).expect("names of sections are short"));
        directory.extend_from_slice(name.as_bytes());
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        directory.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        offset += bytes.len() as u64;
    }
    let mut file = Vec::with_capacity(offset as usize);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    file.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    for number in [head.segment, head.first_seq, head.events, head.raw_bytes, head.journal_len, head.time_min as u64, head.time_max as u64]
    {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(&head.digest);
    file.extend_from_slice(&scale.blocks.to_le_bytes());
    file.extend_from_slice(&scale.cells.to_le_bytes());
    file.extend_from_slice(&offset.to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(&directory).to_le_bytes());
    let crc = crc32fast::hash(&file);
    file.extend_from_slice(&crc.to_le_bytes());
    debug_assert_eq!(file.len(), HEADER_LEN);
    file.extend_from_slice(&directory);
    sections.iter().for_each(|(_, bytes)| file.extend_from_slice(bytes));
    file
}

/// Sensors sorted by name and cells by (day, sensor): the same events give the same file.
struct CellOrder {
    sensors: Vec<u32>,
    sensor_rank: Vec<u32>,
    cells: Vec<u32>,
    cell_rank: Vec<u32>,
}

impl CellOrder {
    fn of(live: &LiveIndex) -> CellOrder {
        let inverse = |order: &[u32]| {
            let mut rank = vec![0; order.len()];
            (0u32..).zip(order).for_each(|(position, &index)| rank[index as usize] = position);
            rank
        };
        let mut sensors: Vec<u32> = (0..live.sensors.len() as u32).collect();
        sensors.sort_unstable_by_key(|&sensor| &live.sensors[sensor as usize]);
        let sensor_rank = inverse(&sensors);
        let mut cells: Vec<u32> = (0..live.cells.len() as u32).collect();
        cells.sort_unstable_by_key(|&cell| (live.cells[cell as usize].day, sensor_rank[live.cells[cell as usize].sensor as usize]));
        let cell_rank = inverse(&cells);
        CellOrder { sensors, sensor_rank, cells, cell_rank }
    }

    fn put(&self, live: &LiveIndex) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.sensors.len() as u64);
        for &sensor in &self.sensors {
            put_varint(&mut out, live.sensors[sensor as usize].len() as u64);
            out.extend_from_slice(&live.sensors[sensor as usize]);
        }
        let mut day = 0;
        put_varint(&mut out, self.cells.len() as u64);
        for &cell in &self.cells {
            let cell = live.cells[cell as usize];
            put_signed(&mut out, i64::from(cell.day) - day);
            put_varint(&mut out, u64::from(self.sensor_rank[cell.sensor as usize]));
            put_varint(&mut out, cell.events);
            day = i64::from(cell.day);
        }
        out
    }

    fn put_activity(&self, live: &LiveIndex) -> Vec<u8> {
        let rows = live.activity.iter().map(|(&(hour, sensor), acts)| (hour, self.sensor_rank[sensor as usize], acts));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable_by_key(|&(hour, sensor, _)| (hour, sensor));
        let (mut out, mut before) = (Vec::new(), 0);
        for (hour, sensor, acts) in rows {
            put_signed(&mut out, i64::from(hour) - before);
            put_varint(&mut out, u64::from(sensor));
            put_acts(&mut out, acts);
            before = i64::from(hour);
        }
        out
    }
}

fn build_dictionaries(
    live: &LiveIndex,
    scale: Scale,
    order: &CellOrder,
    compressor: &mut zstd::bulk::Compressor<'_>,
) -> Vec<(Field, Vec<u8>, Vec<u8>)> {
    let counts = live.cell_counts();
    let mut starts = vec![0u32; live.terms.len() + 1];
    counts.iter().for_each(|row| starts[row.term as usize + 1] += 1);
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    // The first bytes of a value nearly always decide, without a visit to the value.
    let mut terms: Vec<(Field, u64, u32)> = Vec::with_capacity(live.terms.len());
    terms.extend((0u32..).zip(&live.terms).map(|(index, term)| (term.field, leading_bytes(live.value(term)), index)));
    let value = |index: u32| live.value(&live.terms[index as usize]);
    terms.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| value(a.2).cmp(value(b.2))));

    let mut dictionaries = Vec::new();
    let (mut cells, mut blocks) = (Vec::new(), Vec::new());
    for terms in terms.chunk_by(|a, b| a.0 == b.0) {
        let mut writer = DictionaryWriter::new(scale, compressor);
        for &(_, _, index) in terms {
            let term = &live.terms[index as usize];
            cells.clear();
            let rows = &counts[starts[index as usize] as usize..starts[index as usize + 1] as usize];
            cells.extend(rows.iter().map(|row| (order.cell_rank[row.cell as usize], row.count)));
            cells.sort_unstable();
            blocks.clear();
            blocks.extend(term.postings.iter());
            let summary = TermSummary { count: u64::from(term.count), first: term.first, last: term.last };
            writer.push(value(index), summary, &cells, &blocks);
        }
        let (table, pages) = writer.finish();
        dictionaries.push((terms[0].0, table, pages));
    }
    dictionaries
}

fn leading_bytes(value: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = value.len().min(8);
    word[..len].copy_from_slice(&value[..len]);
    u64::from_be_bytes(word)
}

fn put_identity_hours(live: &LiveIndex) -> Vec<u8> {
    let (mut out, mut before) = (Vec::new(), 0);
    for &hour in &live.identity_hours {
        put_signed(&mut out, i64::from(hour) - before);
        before = i64::from(hour);
    }
    out
}

fn put_block_directory(blocks: &[BlockMeta], head: &SidecarHead) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut offset, mut seq, mut time) = (0u64, head.first_seq, head.time_min);
    for block in blocks {
        put_signed(&mut out, block.offset.wrapping_sub(offset) as i64);
        put_varint(&mut out, u64::from(block.header_len));
        put_varint(&mut out, u64::from(block.data_len));
        put_varint(&mut out, u64::from(block.raw_len));
        put_signed(&mut out, block.first_seq.wrapping_sub(seq) as i64);
        put_varint(&mut out, u64::from(block.events));
        put_signed(&mut out, block.time_min.wrapping_sub(time));
        put_signed(&mut out, block.time_max.wrapping_sub(block.time_min));
        (offset, seq, time) = after(block);
    }
    out
}

fn read_block_directory(bytes: &[u8], head: &SidecarHead) -> Option<Vec<BlockMeta>> {
    let mut reader = Reader::new(bytes);
    let mut blocks = Vec::new();
    let (mut offset, mut seq, mut time) = (0u64, head.first_seq, head.time_min);
    while !reader.is_empty() {
        let offset_here = offset.wrapping_add(reader.signed()? as u64);
        let (header_len, data_len, raw_len) = (reader.varint32()?, reader.varint32()?, reader.varint32()?);
        let (first_seq, events) = (seq.wrapping_add(reader.signed()? as u64), reader.varint32()?);
        let time_min = time.wrapping_add(reader.signed()?);
        let time_max = time_min.wrapping_add(reader.signed()?);
        let block = BlockMeta { offset: offset_here, header_len, data_len, raw_len, first_seq, events, time_min, time_max };
        (offset, seq, time) = after(&block);
        blocks.push(block);
    }
    Some(blocks)
}

/// Where the next block would lie, which number its first event would have, and about when.
fn after(block: &BlockMeta) -> (u64, u64, Micros) {
    let end = block.offset.wrapping_add(u64::from(block.header_len)).wrapping_add(u64::from(block.data_len));
    (end, block.first_seq.wrapping_add(u64::from(block.events)), block.time_min)
}

/// An opened sidecar. Holds no more than its header, where its sections are, and the hours its events belong to.
pub struct Sidecar {
    map: Arc<dyn Mapped>,
    ids_file: Arc<dyn File>,
    version: u32,
    head: SidecarHead,
    scale: Scale,
    places: Places,
    /// Sorted.
    identity_hours: Box<[i32]>,
    filter: Option<FilterDescriptor>,
    /// Tells the ids of this opening from those of any other in an [`IdCache`].
    token: u64,
}

/// Byte ranges of the sections this version knows, all within the file.
#[derive(Debug)]
struct Places {
    activity: Range<usize>,
    identity_hours: Range<usize>,
    cells: Range<usize>,
    blocks: Range<usize>,
    session_table: Range<usize>,
    sessions: Range<usize>,
    id_table: Range<usize>,
    id_filter: Range<usize>,
    ids: Range<usize>,
    /// (page table, pages) by number of the field; empty for one with no terms here.
    fields: Box<[(Range<usize>, Range<usize>)]>,
}

/// One row of the directory.
struct Section<'a> {
    name: &'a [u8],
    range: Range<usize>,
    crc: u32,
}

struct Opened<'a> {
    version: u32,
    head: SidecarHead,
    scale: Scale,
    sections: Vec<Section<'a>>,
}

static NEXT_TOKEN: AtomicU64 = AtomicU64::new(0);

impl Sidecar {
    /// Opens a sidecar: `map` shows the whole file, of which `ids_file` reads the exact ids.
    pub fn open(map: Arc<dyn Mapped>, ids_file: Arc<dyn File>) -> Result<Sidecar, SidecarError> {
        let bytes = map.bytes();
        let Opened { version, head, scale, sections } = read_front(bytes)?;
        let damaged = |part: &str| SidecarError::Damaged { segment: head.segment, part: part.to_owned() };
        let find = |name: &str| sections.iter().find(|section| section.name == name.as_bytes()).map(|section| section.range.clone());
        let needed = |name: &str| find(name).ok_or_else(|| damaged(name));
        let fields = Field::ALL.iter().map(|field| {
            let table = find(&format!("{PAGE_TABLE}{}", field.name())).unwrap_or_default();
            (table, find(&format!("{PAGES}{}", field.name())).unwrap_or_default())
        });
        let places = Places {
            activity: needed(ACTIVITY)?,
            identity_hours: needed(IDENTITY_HOURS)?,
            cells: needed(CELLS)?,
            blocks: needed(BLOCKS)?,
            session_table: needed(SESSION_TABLE)?,
            sessions: needed(SESSIONS)?,
            id_table: needed(ID_TABLE)?,
            id_filter: needed(ID_FILTER)?,
            ids: needed(IDS)?,
            fields: fields.collect(),
        };
        let identity_hours = read_identity_hours(&bytes[places.identity_hours.clone()]).ok_or_else(|| damaged(IDENTITY_HOURS))?;
        let filter = FilterDescriptor::read(&bytes[places.id_filter.clone()]).ok_or_else(|| damaged(ID_FILTER))?;
        drop(sections);
        let token = NEXT_TOKEN.fetch_add(1, Ordering::Relaxed);
        Ok(Sidecar { map, ids_file, version, head, scale, places, identity_hours: identity_hours.into(), filter, token })
    }

    pub fn head(&self) -> &SidecarHead {
        &self.head
    }

    /// Checks every byte of the file against its checksum; names the first part that fails.
    pub fn verify(&self) -> Result<(), SidecarError> {
        let bytes = self.map.bytes();
        for section in read_front(bytes)?.sections {
            self.map.will_need(section.range.clone());
            if crc32fast::hash(&bytes[section.range]) != section.crc {
                return Err(self.damaged(&String::from_utf8_lossy(section.name)));
            }
        }
        Ok(())
    }

    /// Whether an event of that (identity) hour is here; if not, none of its ids need be looked up.
    pub fn has_hour(&self, hour: i32) -> bool {
        self.identity_hours.binary_search(&hour).is_ok()
    }

    /// Whether the filter lets the id pass: `false` is certain, `true` wrong once in 65,536.
    #[inline]
    pub fn may_contain(&self, id: EventId) -> bool {
        self.id_filter().is_none_or(|filter| filter.may_contain(id))
    }

    /// Whether the segment holds the event, exactly.
    pub fn contains(&self, id: EventId, cache: &mut IdCache) -> Result<bool, SidecarError> {
        let mut known = [false];
        self.mark(&[id], &mut known, cache)?;
        Ok(known[0])
    }

    /// Sets `known[i]` where the segment holds `ids[i]`; answers how many became known.
    ///
    /// `identity_hours` are those of the batch: without one in common nothing is read. A batch with many hits reads all
    /// ids of the segment into `cache` once, so that loading the same file again costs no read per event.
    pub fn mark_known(
        &self,
        ids: &[EventId],
        identity_hours: &[i32],
        known: &mut [bool],
        cache: &mut IdCache,
    ) -> Result<usize, SidecarError> {
        if !identity_hours.iter().any(|&hour| self.has_hour(hour)) {
            return Ok(0);
        }
        self.mark(ids, known, cache)
    }

    fn mark(&self, ids: &[EventId], known: &mut [bool], cache: &mut IdCache) -> Result<usize, SidecarError> {
        let table = &self.map.bytes()[self.places.id_table.clone()];
        let filter = self.id_filter();
        let mut hits = std::mem::take(&mut cache.hits);
        hits.clear();
        for (number, (&id, &known)) in (0u32..).zip(ids.iter().zip(known.iter())) {
            if !known && filter.is_none_or(|filter| filter.may_contain(id)) {
                hits.push((0, number));
            }
        }
        let answer = if hits.is_empty() {
            Ok(0)
        } else if hits.len() > HITS_BEFORE_WHOLE || cache.whole(self.token).is_some() {
            self.mark_in_whole(ids, &hits, known, cache)
        } else {
            hits.iter_mut().for_each(|hit| hit.0 = ids::pages_of(table, ids[hit.1 as usize]).start as u32);
            hits.sort_unstable();
            self.mark_in_pages(ids, &hits, known, &mut cache.page)
        };
        cache.hits = hits;
        answer.map_err(|source| SidecarError::Read { segment: self.head.segment, source })
    }

    fn mark_in_whole(&self, ids: &[EventId], hits: &[(u32, u32)], known: &mut [bool], cache: &mut IdCache) -> std::io::Result<usize> {
        let table = &self.map.bytes()[self.places.id_table.clone()];
        if cache.whole(self.token).is_none() {
            let mut buffer = cache.take_buffer();
            buffer.resize(self.places.ids.len(), 0);
            self.ids_file.read_exact_at(&mut buffer, self.places.ids.start as u64)?;
            cache.whole.push((self.token, buffer));
        }
        let whole = cache.whole(self.token).unwrap_or_default();
        let mut found = 0;
        for &(_, number) in hits {
            if ids::whole_holds(table, whole, ids[number as usize]) {
                known[number as usize] = true;
                found += 1;
            }
        }
        Ok(found)
    }

    /// `hits` are sorted by page, so that each page is read once.
    fn mark_in_pages(&self, ids: &[EventId], hits: &[(u32, u32)], known: &mut [bool], page: &mut Vec<u8>) -> std::io::Result<usize> {
        let table = &self.map.bytes()[self.places.id_table.clone()];
        let (mut loaded, mut found) = (None, 0);
        for &(_, number) in hits {
            let id = ids[number as usize];
            for wanted in ids::pages_of(table, id) {
                if loaded != Some(wanted) {
                    let start = wanted * PAGE_IDS * ID_LEN;
                    let len = self.places.ids.len().saturating_sub(start).min(PAGE_IDS * ID_LEN);
                    page.resize(len, 0);
                    self.ids_file.read_exact_at(page, (self.places.ids.start + start) as u64)?;
                    loaded = Some(wanted);
                }
                if ids::page_holds(page, id) {
                    known[number as usize] = true;
                    found += 1;
                    break;
                }
            }
        }
        Ok(found)
    }

    fn id_filter(&self) -> Option<IdFilter<'_>> {
        let section = &self.map.bytes()[self.places.id_filter.clone()];
        self.filter.map(|descriptor| IdFilter::new(section, descriptor, self.head.id_seed()))
    }

    fn section(&self, place: &Range<usize>) -> &[u8] {
        &self.map.bytes()[place.clone()]
    }

    /// `None` for a field without terms here.
    fn dictionary(&self, field: Field) -> Result<Option<Dictionary<'_>>, SidecarError> {
        let (table, pages) = &self.places.fields[field as usize];
        if table.is_empty() {
            return Ok(None);
        }
        let dictionary = Dictionary::new(self.section(table), self.section(pages), self.scale);
        dictionary.map(Some).ok_or_else(|| self.damaged_field(field))
    }

    fn sessions(&self) -> Sessions<'_> {
        let (table, groups) = (self.section(&self.places.session_table), self.section(&self.places.sessions));
        Sessions { table, groups, scale: self.scale, has_marks: self.is_current() }
    }

    /// Whether it has all that one of this version has.
    pub fn is_current(&self) -> bool {
        self.version == FORMAT_VERSION
    }

    fn damaged(&self, part: &str) -> SidecarError {
        SidecarError::Damaged { segment: self.head.segment, part: part.to_owned() }
    }

    fn damaged_field(&self, field: Field) -> SidecarError {
        self.damaged(&format!("{PAGES}{}", field.name()))
    }
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sidecar").field("head", &self.head).finish_non_exhaustive()
    }
}

impl IndexPart for Sidecar {
    fn blocks(&self) -> Result<Vec<BlockMeta>, SidecarError> {
        read_block_directory(self.section(&self.places.blocks), &self.head)
            .filter(|blocks| blocks.len() == self.scale.blocks as usize)
            .ok_or_else(|| self.damaged(BLOCKS))
    }

    fn blocks_len(&self) -> usize {
        self.scale.blocks as usize
    }

    fn time_span(&self) -> Option<(Micros, Micros)> {
        (self.head.events > 0).then_some((self.head.time_min, self.head.time_max))
    }

    fn cells(&self) -> Result<CellTable, SidecarError> {
        read_cells(self.section(&self.places.cells))
            .filter(|table| table.cells.len() == self.scale.cells as usize)
            .ok_or_else(|| self.damaged(CELLS))
    }

    fn activity(&self) -> Result<Vec<ActivityRow>, SidecarError> {
        read_activity(self.section(&self.places.activity)).ok_or_else(|| self.damaged(ACTIVITY))
    }

    fn terms_len(&self, field: Field) -> u64 {
        self.dictionary(field).ok().flatten().map_or(0, |dictionary| dictionary.terms_len())
    }

    fn term(&self, field: Field, value: &[u8]) -> Result<Option<TermEntry>, SidecarError> {
        let Some(dictionary) = self.dictionary(field)? else { return Ok(None) };
        dictionary.get(value).ok_or_else(|| self.damaged_field(field))
    }

    fn each_term(&self, field: Field, range: ValueRange<'_>, each: &mut dyn FnMut(&[u8], TermSummary)) -> Result<(), SidecarError> {
        let Some(dictionary) = self.dictionary(field)? else { return Ok(()) };
        dictionary.each_term(range, each).ok_or_else(|| self.damaged_field(field))
    }

    fn each_entry(
        &self,
        field: Field,
        range: ValueRange<'_>,
        keep: &mut dyn FnMut(&[u8]) -> bool,
        each: &mut dyn FnMut(&[u8], &TermEntry),
    ) -> Result<(), SidecarError> {
        let Some(dictionary) = self.dictionary(field)? else { return Ok(()) };
        dictionary.each_entry(range, keep, each).ok_or_else(|| self.damaged_field(field))
    }

    fn session(&self, key: u64) -> Result<Vec<SessionEntry>, SidecarError> {
        self.sessions().get(key).ok_or_else(|| self.damaged(SESSIONS))
    }

    fn each_session(&self, each: &mut dyn FnMut(&SessionEntry)) -> Result<(), SidecarError> {
        self.map.will_need(self.places.sessions.clone());
        self.sessions().each(each).ok_or_else(|| self.damaged(SESSIONS))
    }

    fn each_session_start(&self, each: &mut dyn FnMut(u64, u32, Micros)) -> Result<(), SidecarError> {
        self.map.will_need(self.places.sessions.clone());
        self.sessions().each_start(each).ok_or_else(|| self.damaged(SESSIONS))
    }

    fn each_session_key(&self, keys: RangeInclusive<u64>, each: &mut dyn FnMut(u64)) -> Result<(), SidecarError> {
        self.map.will_need(self.places.sessions.clone());
        self.sessions().each_key(keys, each).ok_or_else(|| self.damaged(SESSIONS))
    }

    fn sessions_among(&self, keys: &[u64], each: &mut dyn FnMut(&SessionEntry)) -> Result<(), SidecarError> {
        if keys.len() > FEW_SESSIONS {
            self.map.will_need(self.places.sessions.clone());
        }
        self.sessions().among(keys, each).ok_or_else(|| self.damaged(SESSIONS))
    }

    fn each_session_split(&self, each: &mut dyn FnMut(u64)) -> Result<(), SidecarError> {
        self.sessions().each_split(each).ok_or_else(|| self.damaged(SESSIONS))
    }

    fn each_split(&self, field: Field, each: &mut dyn FnMut(&[u8])) -> Result<(), SidecarError> {
        let Some(dictionary) = self.dictionary(field)? else { return Ok(()) };
        dictionary.each_split(each).ok_or_else(|| self.damaged_field(field))
    }

    fn will_need(&self, field: Field) {
        let (table, pages) = &self.places.fields[field as usize];
        if !table.is_empty() {
            self.map.will_need(table.clone());
            self.map.will_need(pages.clone());
        }
    }

    fn will_look_up(&self, field: Field, value: &[u8], step: LookUp) {
        let (table, pages) = &self.places.fields[field as usize];
        match step {
            LookUp::PageTable => self.map.will_need(table.clone()),
            LookUp::Page => {
                // What is damaged the look-up itself tells.
                if let Ok(Some(dictionary)) = self.dictionary(field)
                    && let Some(page) = dictionary.place_of(value)
                {
                    self.map.will_need(pages.start + page.start..pages.start + page.end);
                }
            }
        }
    }
}

/// Header and directory, checked: sections follow each other without a gap from the directory to the end of the file.
fn read_front(bytes: &[u8]) -> Result<Opened<'_>, SidecarError> {
    let Some(header) = bytes.get(..HEADER_LEN) else { return Err(SidecarError::NotASidecar) };
    if header[..MAGIC.len()] != MAGIC {
        return Err(SidecarError::NotASidecar);
    }
    let mut reader = Reader::new(&header[MAGIC.len()..]);
    let mut short = || reader.u32().expect("the header is long enough");
    let (version, directory_len) = (short(), short() as usize);
    if !(FORMAT_VERSION_READ_MIN..=FORMAT_VERSION).contains(&version) {
        return Err(SidecarError::Version { found: version });
    }
    let mut long = || reader.u64().expect("the header is long enough");
    let (segment, first_seq, events, raw_bytes, journal_len) = (long(), long(), long(), long(), long());
    let (time_min, time_max) = (long() as Micros, long() as Micros);
    let digest = reader.take(32).and_then(|bytes| bytes.try_into().ok()).expect("the header is long enough");
    let mut short = || reader.u32().expect("the header is long enough");
    let (blocks, cells) = (short(), short());
    let file_len = reader.u64().expect("the header is long enough");
    let mut short = || reader.u32().expect("the header is long enough");
    let (directory_crc, header_crc) = (short(), short());

    let damaged = |part: &str| SidecarError::Damaged { segment, part: part.to_owned() };
    if crc32fast::hash(&header[..HEADER_LEN - 4]) != header_crc {
        return Err(SidecarError::Damaged { segment, part: "header".to_owned() });
    }
    if file_len != bytes.len() as u64 {
        return Err(damaged("length"));
    }
    let directory = bytes.get(HEADER_LEN..HEADER_LEN.saturating_add(directory_len));
    let directory = directory.filter(|_| directory_len <= DIRECTORY_BYTES_MAX).ok_or_else(|| damaged("directory"))?;
    if crc32fast::hash(directory) != directory_crc {
        return Err(damaged("directory"));
    }
    let sections = read_directory(directory, bytes.len()).ok_or_else(|| damaged("directory"))?;
    let head = SidecarHead { segment, first_seq, events, raw_bytes, journal_len, digest, time_min, time_max };
    Ok(Opened { version, head, scale: Scale { time_base: time_min, blocks, cells }, sections })
}

fn read_directory(directory: &[u8], file_len: usize) -> Option<Vec<Section<'_>>> {
    let mut reader = Reader::new(directory);
    let mut end = HEADER_LEN + directory.len();
    let mut sections = Vec::new();
    while !reader.is_empty() {
        let name_len = reader.take(1)?[0];
        let name = reader.take(usize::from(name_len))?;
        let (offset, len) = (usize::try_from(reader.u64()?).ok()?, usize::try_from(reader.u64()?).ok()?);
        let crc = reader.u32()?;
        if offset != end {
            return None;
        }
        end = offset.checked_add(len).filter(|&end| end <= file_len)?;
        sections.push(Section { name, range: offset..end, crc });
    }
    (end == file_len).then_some(sections)
}

/// Name and length of every section, for figures.
#[cfg(test)]
pub(super) fn section_lens(bytes: &[u8]) -> Vec<(String, u64)> {
    let sections = read_front(bytes).expect("what was built opens").sections;
    sections.iter().map(|section| (String::from_utf8_lossy(section.name).into_owned(), section.range.len() as u64)).collect()
}

fn read_activity(bytes: &[u8]) -> Option<Vec<ActivityRow>> {
    let mut reader = Reader::new(bytes);
    let (mut rows, mut hour) = (Vec::new(), 0i64);
    while !reader.is_empty() {
        hour = hour.checked_add(reader.signed()?)?;
        let (hour, sensor) = (i32::try_from(hour).ok()?, reader.varint32()?);
        rows.push(ActivityRow { hour, sensor, acts: read_acts(&mut reader)? });
    }
    Some(rows)
}

fn read_identity_hours(bytes: &[u8]) -> Option<Vec<i32>> {
    let (mut reader, mut hours, mut hour) = (Reader::new(bytes), Vec::new(), 0i64);
    while !reader.is_empty() {
        hour = hour.checked_add(reader.signed()?)?;
        hours.push(i32::try_from(hour).ok()?);
    }
    hours.is_sorted().then_some(hours)
}

fn read_cells(bytes: &[u8]) -> Option<CellTable> {
    let mut reader = Reader::new(bytes);
    let mut table = CellTable::default();
    for _ in 0..reader.length()? {
        table.sensors.push(reader.take_counted()?.into());
    }
    let mut day = 0i64;
    for _ in 0..reader.length()? {
        day = day.checked_add(reader.signed()?)?;
        let sensor = reader.varint32().filter(|&sensor| (sensor as usize) < table.sensors.len())?;
        table.cells.push(CellRow { sensor, day: i32::try_from(day).ok()?, events: reader.varint()? });
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Blocks, MemoryFile, ask_everything, assert_part_says_what_events_say, blocks, open};
    use super::*;
    use crate::events::time::hour_of;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn says_what_its_events_say(blocks in blocks(0..400, 5), segment: u64) {
            let sidecar = blocks.sidecar(segment);
            assert_part_says_what_events_say(&sidecar, &blocks, &|block| block);
            prop_assert_eq!(sidecar.blocks().unwrap(), blocks.metas.clone());
            prop_assert_eq!(sidecar.head(), &blocks.head(segment));
            sidecar.verify().unwrap();
        }

        #[test]
        fn knows_its_ids_and_no_others(blocks in blocks(1..400, 5), every in 1..5usize) {
            let sidecar = blocks.sidecar(3);
            let (mut ids, mut hours, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            for (number, (_, _, line, event)) in blocks.events().enumerate() {
                let held = number % every == 0;
                ids.push(if held { EventId::of_line(line) } else { EventId::of_line(&number.to_le_bytes()) });
                hours.push(hour_of(event.time));
                expected.push(held);
            }
            let mut cache = IdCache::new();
            let mut known = vec![false; ids.len()];
            let found = sidecar.mark_known(&ids, &hours, &mut known, &mut cache).unwrap();
            prop_assert_eq!(&known, &expected);
            prop_assert_eq!(found, known.iter().filter(|&&known| known).count());
            prop_assert_eq!(sidecar.mark_known(&ids, &hours, &mut known, &mut cache).unwrap(), 0);
            for (&id, &held) in ids.iter().zip(&expected).take(20) {
                prop_assert_eq!(sidecar.contains(id, &mut cache).unwrap(), held);
                prop_assert!(!held || sidecar.may_contain(id));
            }
            let mut untouched = vec![false; ids.len()];
            prop_assert_eq!(sidecar.mark_known(&ids, &[1, 2, super::super::HOUR_UNKNOWN], &mut untouched, &mut cache).unwrap(), 0);
        }

        #[test]
        fn garbled_sidecars_are_asked_without_panic(blocks in blocks(60..300, 5), places: Vec<(prop::sample::Index, u8)>) {
            let mut bytes = build(&blocks.live(), blocks.head(1));
            let front = read_front(&bytes).unwrap().sections[0].range.start;
            for (at, byte) in places {
                let at = front + at.index(bytes.len() - front);
                bytes[at] = byte;
            }
            let ids: Vec<EventId> = blocks.events().map(|(_, _, line, _)| EventId::of_line(line)).collect();
            if let Ok(sidecar) = open(bytes) {
                ask_everything(&sidecar, &ids);
            }
        }
    }

    fn small() -> (Blocks, Vec<u8>) {
        let lines = (0..90u32).map(|n| {
            format!(r#"{{"session":"{:012x}","sensor":"node","src_ip":"10.0.1.{n}","timestamp":"2026-03-22T00:10:{:02}Z"}}"#, n / 3, n % 60)
                .into_bytes()
        });
        let blocks = Blocks::new(lines.collect::<Vec<_>>().chunks(30).map(<[_]>::to_vec).collect(), 1);
        let bytes = build(&blocks.live(), blocks.head(1));
        (blocks, bytes)
    }

    /// Notes what it is told will be read.
    struct Foretold(Vec<u8>, std::sync::Mutex<Vec<std::ops::Range<usize>>>);

    impl Mapped for Foretold {
        fn bytes(&self) -> &[u8] {
            &self.0
        }

        fn will_need(&self, range: std::ops::Range<usize>) {
            self.1.lock().unwrap().push(range);
        }
    }

    #[test]
    fn foretells_the_page_table_and_the_page_of_a_look_up() {
        let (_, bytes) = small();
        let map = Arc::new(Foretold(bytes.clone(), std::sync::Mutex::default()));
        let sidecar = Sidecar::open(map.clone(), Arc::new(MemoryFile(bytes))).unwrap();
        let (table, pages) = sidecar.places.fields[Field::SrcIp as usize].clone();
        map.1.lock().unwrap().clear();
        LookUp::ALL.into_iter().for_each(|step| sidecar.will_look_up(Field::SrcIp, b"10.0.1.7", step));
        let foretold = map.1.lock().unwrap().clone();
        assert_eq!((foretold.len(), &foretold[0]), (2, &table));
        assert!(!foretold[1].is_empty() && pages.start <= foretold[1].start && foretold[1].end <= pages.end, "{foretold:?} in {pages:?}");
        assert!(sidecar.term(Field::SrcIp, b"10.0.1.7").unwrap().is_some());
    }

    #[test]
    fn every_flipped_byte_is_found_by_verify() {
        let (blocks, bytes) = small();
        let ids: Vec<EventId> = blocks.events().map(|(_, _, line, _)| EventId::of_line(line)).collect();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let Ok(sidecar) = open(bytes) else { continue };
                assert!(sidecar.verify().is_err(), "byte {at} xor {flip:#x}");
                if flip == 0xff {
                    ask_everything(&sidecar, &ids);
                }
            }
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let (_, bytes) = small();
        for len in 0..bytes.len() {
            assert!(open(bytes[..len].to_vec()).is_err(), "length {len}");
        }
        assert!(open([&bytes[..], b"more"].concat()).is_err());
        assert!(matches!(open(Vec::new()), Err(SidecarError::NotASidecar)));
    }

    #[test]
    fn unknown_versions_are_named() {
        let (_, mut bytes) = small();
        bytes[8] = 9;
        assert!(matches!(open(bytes), Err(SidecarError::Version { found: 9 })));
    }

    #[test]
    fn a_file_shorter_than_its_map_is_an_error_not_an_absent_event() {
        let (blocks, bytes) = small();
        let map: Arc<dyn Mapped> = Arc::new(bytes.clone());
        let sidecar = Sidecar::open(map, Arc::new(MemoryFile(bytes[..bytes.len() - 100].to_vec()))).unwrap();
        let ids: Vec<EventId> = blocks.events().map(|(_, _, line, _)| EventId::of_line(line)).collect();
        let failed = ids.iter().filter(|&&id| sidecar.contains(id, &mut IdCache::new()).is_err()).count();
        assert!(failed > 0);
    }

    #[test]
    fn the_same_events_give_the_same_file() {
        let (blocks, bytes) = small();
        assert!(bytes == build(&blocks.live(), blocks.head(1)));
    }

    #[test]
    fn many_huge_terms_in_one_event_are_kept_and_found() {
        let mut terms = super::super::BlockTerms { sensors: vec![(*b"node").into()], ..Default::default() };
        terms.cells.push(super::super::Cell { sensor: 0, day: 0 });
        terms.cell_events.push(1);
        let value = |number: u32| vec![b'a' + (number % 20) as u8; 4_000 + number as usize];
        for number in 0..64u32 {
            let (start, value) = (terms.values.len() as u32, value(number));
            terms.values.extend_from_slice(&value);
            let hash = super::super::term_hash(Field::Command, &value);
            terms.terms.push(super::super::BlockTerm { hash, start, len: value.len() as u32, field: Field::Command, first: 7, last: 9 });
            terms.counts.push(super::super::TermCount { term: number, cell: 0, count: 1 });
        }
        let meta = BlockMeta { offset: 0, header_len: 1, data_len: 1, raw_len: 1, first_seq: 1, events: 1, time_min: 7, time_max: 9 };
        let mut live = LiveIndex::new();
        live.merge(0, meta, &terms);
        let head =
            SidecarHead { segment: 1, first_seq: 1, events: 1, raw_bytes: 1, journal_len: 1, digest: [1; 32], time_min: 7, time_max: 9 };
        let sidecar = open(build(&live, head)).unwrap();
        for number in 0..64 {
            let entry = sidecar.term(Field::Command, &value(number)).unwrap().unwrap();
            assert_eq!((entry.summary, entry.cells), (TermSummary { count: 1, first: 7, last: 9 }, vec![(0, 1)]));
        }
    }
}
