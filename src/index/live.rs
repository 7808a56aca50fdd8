//! The index of the segment being written: what its blocks said, merged in memory until the segment is sealed.
//!
//! Merging happens on the ordered commit path, once per block, so it is made of one probe per distinct term of the
//! block, one per session and one per event id. Hashes are seeded per process and mostly come ready from the workers.
//! Nothing is freed piecemeal: the whole index is dropped when its sidecar is durable.
use super::blocks::{BlockSet, Postings};
use super::part::{ActivityRow, CellRow, CellTable, IndexPart, SessionEntry, TermEntry, TermSummary, ValueRange};
use super::sidecar::SidecarError;
use super::{BlockMeta, BlockTerms, SEED, SessionPart, id_hash, term_hash};
use crate::events::act::{Acts, Sequence};
use crate::events::marks::Marks;
use crate::events::{EventId, Field, Micros};
use hashbrown::HashTable;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::mem::size_of;
use std::ops::RangeInclusive;

/// Terms, sessions, ids and blocks of the live segment.
#[derive(Debug, Default)]
pub struct LiveIndex {
    pub(super) terms: Vec<Term>,
    term_table: HashTable<u32>,
    values: Vec<u8>,
    /// Counts in the cells that are not a term's current one.
    other_cells: HashTable<CellCount>,
    pub(super) sessions: Vec<Session>,
    session_table: HashTable<u32>,
    ids: HashTable<EventId>,
    /// By (hour, sensor).
    pub(super) activity: BTreeMap<(i32, u32), Acts>,
    pub(super) identity_hours: BTreeSet<i32>,
    pub(super) sensors: Vec<Box<[u8]>>,
    sensor_table: HashTable<u32>,
    pub(super) cells: Vec<CellRow>,
    cell_table: HashTable<u32>,
    pub(super) blocks: Vec<BlockMeta>,
    /// Heap behind postings and sensor names.
    heap_bytes: usize,
    /// Number here of each sensor and cell of the block being merged; kept for their capacity.
    sensor_of_block: Vec<u32>,
    cell_of_block: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Term {
    hash: u64,
    pub first: Micros,
    pub last: Micros,
    start: u32,
    len: u32,
    pub count: u32,
    /// The cell seen last and the events there since it became that; moved to `other_cells` when another one comes.
    cell: u32,
    cell_count: u32,
    pub field: Field,
    pub postings: Postings,
}

#[derive(Debug)]
pub(super) struct Session {
    pub key: u64,
    pub first: Micros,
    pub last: Micros,
    pub sensor: u32,
    pub acts: Acts,
    pub sequence: Sequence,
    pub marks: Marks,
    pub postings: Postings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellCount {
    pub term: u32,
    pub cell: u32,
    pub count: u32,
}

impl LiveIndex {
    pub fn new() -> LiveIndex {
        LiveIndex::default()
    }

    /// Adds a block. `terms` must be consistent in itself, and `block` the number after the last block's: a mistake
    /// there is a bug of the caller and panics.
    pub fn merge(&mut self, block: u32, meta: BlockMeta, terms: &BlockTerms) {
        assert_eq!(block as usize, self.blocks.len(), "blocks are merged in order");
        self.blocks.push(meta);
        self.merge_cells(terms);
        self.merge_terms(block, terms);
        self.merge_sessions(block, terms);
        for &id in &terms.ids {
            if let hashbrown::hash_table::Entry::Vacant(vacant) = self.ids.entry(id_hash(id), |&known| known == id, |&id| id_hash(id)) {
                vacant.insert(id);
            }
        }
        self.identity_hours.extend(&terms.identity_hours);
        for row in &terms.activity {
            self.activity.entry((row.hour, self.sensor_of_block[usize::from(row.sensor)])).or_default().add(&row.acts);
        }
    }

    fn merge_cells(&mut self, terms: &BlockTerms) {
        self.sensor_of_block.clear();
        for name in &terms.sensors {
            let hash = SEED.hash_one(name);
            let known = self.sensor_table.find(hash, |&index| self.sensors[index as usize] == *name).copied();
            let sensor = known.unwrap_or_else(|| {
                let sensors = &mut self.sensors;
                let index = sensors.len() as u32;
                self.heap_bytes += name.len();
                sensors.push(name.clone());
                self.sensor_table.insert_unique(hash, index, |&index| SEED.hash_one(&sensors[index as usize]));
                index
            });
            self.sensor_of_block.push(sensor);
        }
        self.cell_of_block.clear();
        for (cell, &events) in terms.cells.iter().zip(&terms.cell_events) {
            let (sensor, day) = (self.sensor_of_block[usize::from(cell.sensor)], cell.day);
            let hash = SEED.hash_one((sensor, day));
            let known =
                self.cell_table.find(hash, |&index| (self.cells[index as usize].sensor, self.cells[index as usize].day) == (sensor, day));
            let index = known.copied().unwrap_or_else(|| {
                let cells = &mut self.cells;
                let index = cells.len() as u32;
                cells.push(CellRow { sensor, day, events: 0 });
                self.cell_table
                    .insert_unique(hash, index, |&index| SEED.hash_one((cells[index as usize].sensor, cells[index as usize].day)));
                index
            });
            self.cells[index as usize].events += u64::from(events);
            self.cell_of_block.push(index);
        }
    }

    fn merge_terms(&mut self, block: u32, terms: &BlockTerms) {
        let LiveIndex { terms: known, term_table, values, other_cells, heap_bytes, cell_of_block, .. } = self;
        let mut rows = terms.counts.iter().peekable();
        for (number, term) in (0u32..).zip(&terms.terms) {
            let value = &terms.values[term.start as usize..][..term.len as usize];
            let same = |&index: &u32| {
                let known = &known[index as usize];
                known.hash == term.hash && known.field == term.field && values[known.start as usize..][..known.len as usize] == *value
            };
            let index = match term_table.find(term.hash, same) {
                Some(&index) => {
                    let known = &mut known[index as usize];
                    known.first = known.first.min(term.first);
                    known.last = known.last.max(term.last);
                    *heap_bytes += known.postings.push(block);
                    index
                }
                None => {
                    let index = known.len() as u32;
                    known.push(Term {
                        hash: term.hash,
                        first: term.first,
                        last: term.last,
                        start: u32::try_from(values.len()).expect("a segment is sealed long before it has 4 GiB of values"),
                        len: term.len,
                        count: 0,
                        cell: u32::MAX,
                        cell_count: 0,
                        field: term.field,
                        postings: Postings::new(block),
                    });
                    values.extend_from_slice(value);
                    term_table.insert_unique(term.hash, index, |&index| known[index as usize].hash);
                    index
                }
            };
            let known = &mut known[index as usize];
            while let Some(row) = rows.next_if(|row| row.term == number) {
                known.count += row.count;
                let cell = cell_of_block[usize::from(row.cell)];
                if cell != known.cell {
                    if known.cell_count > 0 {
                        add_count(other_cells, CellCount { term: index, cell: known.cell, count: known.cell_count });
                    }
                    (known.cell, known.cell_count) = (cell, 0);
                }
                known.cell_count += row.count;
            }
        }
        debug_assert!(rows.next().is_none(), "counts are sorted by term");
    }

    fn merge_sessions(&mut self, block: u32, terms: &BlockTerms) {
        let LiveIndex { sessions, session_table, sensor_of_block, heap_bytes, .. } = self;
        let hash_of = |session: &Session| session_hash(session.key, session.sensor);
        for part in &terms.sessions {
            let (key, sensor) = (part.key, sensor_of_block[usize::from(part.sensor)]);
            let hash = session_hash(key, sensor);
            match session_table.find(hash, |&index| (sessions[index as usize].key, sessions[index as usize].sensor) == (key, sensor)) {
                Some(&index) => {
                    let session = &mut sessions[index as usize];
                    session.first = session.first.min(part.first);
                    session.last = session.last.max(part.last);
                    session.acts.add(&part.acts);
                    session.sequence = session.sequence.then(part.sequence);
                    session.marks.then(&part.marks);
                    *heap_bytes += session.postings.push(block);
                }
                None => {
                    let index = sessions.len() as u32;
                    let &SessionPart { acts, sequence, marks, first, last, .. } = part;
                    sessions.push(Session { key, sensor, acts, sequence, marks, first, last, postings: Postings::new(block) });
                    session_table.insert_unique(hash, index, |&index| hash_of(&sessions[index as usize]));
                }
            }
        }
    }

    /// Whether the segment holds the event.
    #[inline]
    pub fn contains(&self, id: EventId) -> bool {
        self.ids.find(id_hash(id), |&known| known == id).is_some()
    }

    /// Sets `known[i]` where `ids[i]` is held; answers how many became known.
    pub fn mark_known(&self, ids: &[EventId], known: &mut [bool]) -> usize {
        let mut found = 0;
        for (&id, known) in ids.iter().zip(known) {
            if !*known && self.contains(id) {
                *known = true;
                found += 1;
            }
        }
        found
    }

    /// Memory held, bytes: what was allocated, used or not.
    pub fn memory_bytes(&self) -> usize {
        self.terms.capacity() * size_of::<Term>()
            + self.sessions.capacity() * size_of::<Session>()
            + self.blocks.capacity() * size_of::<BlockMeta>()
            + self.cells.capacity() * size_of::<CellRow>()
            + self.sensors.capacity() * size_of::<Box<[u8]>>()
            + self.values.capacity()
            + self.term_table.allocation_size()
            + self.session_table.allocation_size()
            + self.other_cells.allocation_size()
            + self.ids.allocation_size()
            + self.sensor_table.allocation_size()
            + self.cell_table.allocation_size()
            // A node of a B-tree is at least half full.
            + 2 * (self.activity.len() * size_of::<((i32, u32), Acts)>() + self.identity_hours.len() * size_of::<i32>())
            + self.heap_bytes
    }

    /// Lengths of the parts, for figures.
    #[cfg(test)]
    pub(super) fn describe(&self) -> String {
        let (terms, sessions, cells, ids) = (self.terms.len(), self.sessions.len(), self.other_cells.len(), self.ids.len());
        format!("{terms} terms, {} bytes of values, {sessions} sessions, {cells} other cells, {ids} ids", self.values.len())
    }

    /// The blocks merged so far, in their order.
    pub fn metas(&self) -> &[BlockMeta] {
        &self.blocks
    }

    /// Events merged.
    pub fn events(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.events)).sum()
    }

    /// The blocks were rewritten: block `old` is now part of block `new_block_of_old[old]`, which never decreases.
    pub fn renumber(&mut self, new_block_of_old: &[u32], new_metas: Vec<BlockMeta>) {
        assert_eq!(new_block_of_old.len(), self.blocks.len(), "every block has a new number");
        self.blocks = new_metas;
        let before: usize = self.postings().map(Postings::heap_bytes).sum();
        for postings in
            self.terms.iter_mut().map(|term| &mut term.postings).chain(self.sessions.iter_mut().map(|session| &mut session.postings))
        {
            *postings = postings.renumbered(new_block_of_old);
        }
        let after: usize = self.postings().map(Postings::heap_bytes).sum();
        self.heap_bytes = self.heap_bytes - before + after;
    }

    fn postings(&self) -> impl Iterator<Item = &Postings> {
        self.terms.iter().map(|term| &term.postings).chain(self.sessions.iter().map(|session| &session.postings))
    }

    /// The ids, in no order.
    pub(super) fn ids(&self) -> impl ExactSizeIterator<Item = EventId> + '_ {
        self.ids.iter().copied()
    }

    pub(super) fn value(&self, term: &Term) -> &[u8] {
        &self.values[term.start as usize..][..term.len as usize]
    }

    /// Every (term, cell, count), sorted, each pair once.
    pub(super) fn cell_counts(&self) -> Vec<CellCount> {
        let mut rows: Vec<CellCount> = Vec::with_capacity(self.terms.len() + self.other_cells.len());
        rows.extend(self.other_cells.iter());
        rows.extend((0u32..).zip(&self.terms).map(|(term, known)| CellCount { term, cell: known.cell, count: known.cell_count }));
        rows.sort_unstable();
        rows.dedup_by(|next, row| {
            let same = (next.term, next.cell) == (row.term, row.cell);
            if same {
                row.count += next.count;
            }
            same
        });
        rows
    }

    fn find(&self, field: Field, value: &[u8]) -> Option<u32> {
        let same = |&index: &u32| self.terms[index as usize].field == field && self.value(&self.terms[index as usize]) == value;
        self.term_table.find(term_hash(field, value), same).copied()
    }

    fn each_of(&self, field: Field, range: ValueRange<'_>) -> impl Iterator<Item = (u32, &Term, &[u8])> {
        let rows = (0u32..).zip(&self.terms).filter(move |(_, term)| term.field == field);
        rows.map(|(index, term)| (index, term, self.value(term))).filter(move |(_, _, value)| range.contains(value))
    }
}

fn summary(term: &Term) -> TermSummary {
    TermSummary { count: u64::from(term.count), first: term.first, last: term.last }
}

fn session_entry(session: &Session) -> SessionEntry {
    SessionEntry {
        key: session.key,
        sensor: session.sensor,
        acts: session.acts,
        sequence: session.sequence,
        marks: session.marks,
        first: session.first,
        last: session.last,
        blocks: session.postings.iter().collect::<BlockSet>(),
    }
}

fn session_hash(key: u64, sensor: u32) -> u64 {
    SEED.hash_one((key, sensor))
}

fn add_count(table: &mut HashTable<CellCount>, row: CellCount) {
    let hash_of = |row: &CellCount| SEED.hash_one((row.term, row.cell));
    let hash = hash_of(&row);
    match table.find_mut(hash, |known| (known.term, known.cell) == (row.term, row.cell)) {
        Some(known) => known.count += row.count,
        None => {
            table.insert_unique(hash, row, hash_of);
        }
    }
}

impl IndexPart for LiveIndex {
    fn blocks(&self) -> Result<Vec<BlockMeta>, SidecarError> {
        Ok(self.blocks.clone())
    }

    fn blocks_len(&self) -> usize {
        self.blocks.len()
    }

    fn time_span(&self) -> Option<(Micros, Micros)> {
        let blocks = || self.blocks.iter().filter(|block| block.events > 0);
        Some((blocks().map(|block| block.time_min).min()?, blocks().map(|block| block.time_max).max()?))
    }

    fn cells(&self) -> Result<CellTable, SidecarError> {
        Ok(CellTable { sensors: self.sensors.clone(), cells: self.cells.clone() })
    }

    fn activity(&self) -> Result<Vec<ActivityRow>, SidecarError> {
        Ok(self.activity.iter().map(|(&(hour, sensor), &acts)| ActivityRow { hour, sensor, acts }).collect())
    }

    fn terms_len(&self, field: Field) -> u64 {
        self.terms.iter().filter(|term| term.field == field).count() as u64
    }

    fn term(&self, field: Field, value: &[u8]) -> Result<Option<TermEntry>, SidecarError> {
        let Some(index) = self.find(field, value) else { return Ok(None) };
        let term = &self.terms[index as usize];
        let cells = (0..self.cells.len() as u32).filter_map(|cell| {
            let other = self.other_cells.find(SEED.hash_one((index, cell)), |row| (row.term, row.cell) == (index, cell));
            let count = other.map_or(0, |row| row.count) + if cell == term.cell { term.cell_count } else { 0 };
            (count > 0).then_some((cell, count))
        });
        Ok(Some(TermEntry { summary: summary(term), cells: cells.collect(), blocks: term.postings.iter().collect() }))
    }

    fn each_term(&self, field: Field, range: ValueRange<'_>, each: &mut dyn FnMut(&[u8], TermSummary)) -> Result<(), SidecarError> {
        self.each_of(field, range).for_each(|(_, term, value)| each(value, summary(term)));
        Ok(())
    }

    fn each_entry(
        &self,
        field: Field,
        range: ValueRange<'_>,
        keep: &mut dyn FnMut(&[u8]) -> bool,
        each: &mut dyn FnMut(&[u8], &TermEntry),
    ) -> Result<(), SidecarError> {
        let of_field = |row: &&CellCount| self.terms[row.term as usize].field == field;
        let mut others: Vec<CellCount> = self.other_cells.iter().filter(of_field).copied().collect();
        others.sort_unstable();
        for (index, term, value) in self.each_of(field, range) {
            if keep(value) {
                let start = others.partition_point(|row| row.term < index);
                let rows = others[start..].iter().take_while(|row| row.term == index);
                let mut cells: Vec<(u32, u32)> = rows.map(|row| (row.cell, row.count)).collect();
                match cells.binary_search_by_key(&term.cell, |cell| cell.0) {
                    Ok(at) => cells[at].1 += term.cell_count,
                    Err(at) => cells.insert(at, (term.cell, term.cell_count)),
                }
                each(value, &TermEntry { summary: summary(term), cells, blocks: term.postings.iter().collect() });
            }
        }
        Ok(())
    }

    fn session(&self, key: u64) -> Result<Vec<SessionEntry>, SidecarError> {
        let found = (0..self.sensors.len() as u32).filter_map(|sensor| {
            let index = self.session_table.find(session_hash(key, sensor), |&index| {
                let session = &self.sessions[index as usize];
                (session.key, session.sensor) == (key, sensor)
            })?;
            Some(session_entry(&self.sessions[*index as usize]))
        });
        Ok(found.collect())
    }

    fn each_session(&self, each: &mut dyn FnMut(&SessionEntry)) -> Result<(), SidecarError> {
        self.sessions.iter().for_each(|session| each(&session_entry(session)));
        Ok(())
    }

    fn each_session_key(&self, keys: RangeInclusive<u64>, each: &mut dyn FnMut(u64)) -> Result<(), SidecarError> {
        self.sessions.iter().map(|session| session.key).filter(|key| keys.contains(key)).for_each(each);
        Ok(())
    }

    fn sessions_among(&self, keys: &[u64], each: &mut dyn FnMut(&SessionEntry)) -> Result<(), SidecarError> {
        let wanted = self.sessions.iter().filter(|session| keys.binary_search(&session.key).is_ok());
        wanted.for_each(|session| each(&session_entry(session)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{assert_part_says_what_events_say, blocks};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn says_what_its_events_say(blocks in blocks(0..300, 5)) {
            let live = blocks.live();
            assert_part_says_what_events_say(&live, &blocks, &|block| block);
            prop_assert_eq!(live.blocks().unwrap(), blocks.metas.clone());
            prop_assert_eq!(live.events(), blocks.head(1).events);
            let ids: Vec<EventId> = blocks.events().map(|(_, _, line, _)| EventId::of_line(line)).collect();
            prop_assert!(ids.iter().all(|&id| live.contains(id)) && !live.contains(EventId::of_line(b"absent")));
            let mut known = vec![false; ids.len() + 1];
            prop_assert_eq!(live.mark_known(&[&ids[..], &[EventId([9; 16])]].concat(), &mut known), ids.len());
            prop_assert!(known[..ids.len()].iter().all(|&known| known) && !known[ids.len()]);
        }

        #[test]
        fn follows_blocks_that_were_rewritten(blocks in blocks(1..300, 5), merged in 1..9u32) {
            let mut live = blocks.live();
            let new_block_of_old: Vec<u32> = (0..blocks.metas.len() as u32).map(|old| old / merged).collect();
            let new_metas: Vec<BlockMeta> = blocks.metas.iter().copied().step_by(merged as usize).collect();
            live.renumber(&new_block_of_old, new_metas.clone());
            assert_part_says_what_events_say(&live, &blocks, &|block| block / merged);
            prop_assert_eq!(live.blocks().unwrap(), new_metas);
            prop_assert_eq!(live.heap_bytes, live.postings().map(Postings::heap_bytes).sum::<usize>() + live.sensors.iter().map(|name| name.len()).sum::<usize>());
        }
    }

    #[test]
    fn memory_grows_with_what_is_held() {
        let mut live = LiveIndex::new();
        assert_eq!(live.memory_bytes(), 0);
        let meta = BlockMeta { offset: 0, header_len: 1, data_len: 1, raw_len: 1, first_seq: 0, events: 1_000, time_min: 0, time_max: 0 };
        let terms = BlockTerms { ids: (0..1_000u32).map(|n| EventId::of_line(&n.to_le_bytes())).collect(), ..BlockTerms::default() };
        live.merge(0, meta, &terms);
        assert!((16_000..40_000).contains(&live.memory_bytes()), "{}", live.memory_bytes());
    }
}
