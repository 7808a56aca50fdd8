//! Adds up the terms of a block's events: what the index takes in, made where the block is made.
//!
//! Neighbouring lines of a log say mostly the same of sensor, protocol and address, so each field remembers its last term and
//! is compared before anything is hashed. Events are taken cell by cell, so that a term's count in a cell is finished when the
//! cell is, and nothing is looked up per (term, cell).
use super::act::{Act, Acts, Marked, Sequence};
use super::decoder::{Span, Term};
use super::marks::{self, Address, Credentials, Marks};
use super::{EventId, Field, Micros, time};
use crate::index::{Activity, BlockTerm, BlockTerms, Cell, SessionPart, TermCount, term_hash};
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::Range;

/// What is known of one event when it is added up.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    /// Its line in the data, without the newline.
    pub line: Range<u32>,
    /// Its terms in the list of all terms; the first `own_terms` of them are members, the rest indicators.
    pub terms: Range<u32>,
    pub own_terms: u32,
    pub sensor: Option<Span>,
    /// [`session_key`](crate::index::session_key), when it has a session.
    pub session: Option<u64>,
    /// The time it is indexed by.
    pub time: Micros,
    /// Hour of its own time, or [`HOUR_UNKNOWN`](crate::index::HOUR_UNKNOWN).
    pub identity_hour: i32,
    pub act: Act,
    pub sequence: Sequence,
    pub marked: Marked,
    /// [`Event::shape`](super::decoder::Event::shape).
    pub shape: u64,
}

/// The events of a block and the memory their values stand in.
pub(super) struct Events<'a> {
    pub data: &'a [u8],
    pub arena: &'a [u8],
    pub events: &'a [Noted],
    pub terms: &'a [Term],
    pub ids: &'a [EventId],
}

/// Tables reused from block to block.
#[derive(Default)]
pub(super) struct Tally {
    /// Index of the event being added up: the culprit, should it panic.
    pub at: usize,
    terms: HashTable<u32>,
    sessions: HashTable<u32>,
    cells: HashTable<u16>,
    sensors: HashTable<u16>,
    /// Per term: the cell being counted, how often there, and the last event that had the term.
    counting: Vec<Counting>,
    cell_of_event: Vec<u16>,
    by_cell: Vec<u32>,
    rows: Vec<TermCount>,
    hasher: foldhash::quality::RandomState,
}

#[derive(Clone, Copy)]
struct Counting {
    last_event: u32,
    count: u32,
    cell: u16,
}

const NONE: u32 = u32::MAX;

/// Tables that one hostile block made larger than this are given back.
const TABLE_ENTRIES_KEPT_MAX: usize = 1 << 16;

impl Tally {
    /// What the block made of these events adds to the index.
    pub fn add_up(&mut self, block: &Events<'_>) -> BlockTerms {
        self.clear();
        let mut out = BlockTerms { ids: block.ids.to_vec(), ..BlockTerms::default() };
        out.sessions.reserve(block.events.len() / 8);
        self.place(block, &mut out);
        self.count(block, &mut out);
        self.arrange(&mut out);
        out
    }

    fn clear(&mut self) {
        if self.terms.capacity().max(self.sessions.capacity()) > TABLE_ENTRIES_KEPT_MAX {
            *self = Tally::default();
        }
        self.terms.clear();
        self.sessions.clear();
        self.cells.clear();
        self.sensors.clear();
        self.counting.clear();
        self.cell_of_event.clear();
        self.by_cell.clear();
        self.rows.clear();
    }

    /// Everything that is one value per event: sensor, day, hour, act, session.
    fn place(&mut self, block: &Events<'_>, out: &mut BlockTerms) {
        let (mut sensor, mut cell, mut session) = (0u16, 0u16, NONE);
        for (at, event) in block.events.iter().enumerate() {
            self.at = at;
            let line = &block.data[event.line.start as usize..event.line.end as usize];
            let name = event.sensor.map_or(&[][..], |span| span.of(line, block.arena));
            if out.sensors.get(sensor as usize).is_none_or(|last| **last != *name) {
                sensor = self.sensor(name, out);
            }
            let wanted = Cell { sensor, day: time::day_of(event.time) };
            if out.cells.get(cell as usize) != Some(&wanted) {
                cell = self.cell(wanted, out);
            }
            out.cell_events[cell as usize] += 1;
            self.cell_of_event.push(cell);
            if let Some(key) = event.session {
                if out.sessions.get(session as usize).is_none_or(|part| part.key != key || part.sensor != sensor) {
                    session = self.session(key, sensor, event.time, out);
                }
                let part = &mut out.sessions[session as usize];
                part.acts.count(event.act);
                part.sequence = part.sequence.then(event.sequence);
                part.first = part.first.min(event.time);
                part.last = part.last.max(event.time);
                mark(&mut part.marks, &event.marked, line, block.arena);
            }
            let hour = time::hour_of(event.time);
            match out.activity.last_mut() {
                Some(last) if (last.hour, last.sensor) == (hour, sensor) => last.acts.count(event.act),
                _ => {
                    let mut acts = Acts::default();
                    acts.count(event.act);
                    out.activity.push(Activity { hour, sensor, acts });
                }
            }
            if out.identity_hours.last() != Some(&event.identity_hour) {
                out.identity_hours.push(event.identity_hour);
            }
        }
        out.activity.sort_unstable_by_key(|row| (row.hour, row.sensor));
        out.activity.dedup_by(|next, kept| {
            let same = (next.hour, next.sensor) == (kept.hour, kept.sensor);
            if same {
                kept.acts.add(&next.acts);
            }
            same
        });
        out.identity_hours.sort_unstable();
        out.identity_hours.dedup();
    }

    fn sensor(&mut self, name: &[u8], out: &mut BlockTerms) -> u16 {
        let hash = term_hash(Field::Sensor, name);
        if let Some(&found) = self.sensors.find(hash, |&index| *out.sensors[index as usize] == *name) {
            return found;
        }
        // A block holds one chunk or a segment's share of them; what does not fit in 16 bits goes to the last one.
        let Some(index) = small_index(out.sensors.len()) else { return u16::MAX };
        out.sensors.push(name.into());
        self.sensors.insert_unique(hash, index, |&index| term_hash(Field::Sensor, &out.sensors[index as usize]));
        index
    }

    fn cell(&mut self, cell: Cell, out: &mut BlockTerms) -> u16 {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(cell);
        if let Some(&found) = self.cells.find(hash, |&index| out.cells[index as usize] == cell) {
            return found;
        }
        let Some(index) = small_index(out.cells.len()) else { return u16::MAX };
        out.cells.push(cell);
        out.cell_events.push(0);
        self.cells.insert_unique(hash, index, |&index| hasher.hash_one(out.cells[index as usize]));
        index
    }

    fn session(&mut self, key: u64, sensor: u16, time: Micros, out: &mut BlockTerms) -> u32 {
        let hasher = &self.hasher;
        let hash = hasher.hash_one((key, sensor));
        let same = |&index: &u32| {
            let part = &out.sessions[index as usize];
            part.key == key && part.sensor == sensor
        };
        if let Some(&found) = self.sessions.find(hash, same) {
            return found;
        }
        let index = out.sessions.len() as u32;
        let (acts, sequence, marks) = (Acts::default(), Sequence::default(), Marks::default());
        out.sessions.push(SessionPart { key, sensor, acts, sequence, marks, first: time, last: time });
        self.sessions.insert_unique(hash, index, |&index| {
            let part = &out.sessions[index as usize];
            hasher.hash_one((part.key, part.sensor))
        });
        index
    }

    /// Terms and their counts. Rows of finished cells go to `self.rows`, those of each term's last cell stay in `self.counting`.
    fn count(&mut self, block: &Events<'_>, out: &mut BlockTerms) {
        let mut last_of_field = [NONE; Field::ALL.len()];
        let one_cell = out.cells.len() <= 1;
        if !one_cell {
            self.order_by_cell(out);
        }
        for place in 0..block.events.len() {
            let at = if one_cell { place } else { self.by_cell[place] as usize };
            self.at = at;
            let event = &block.events[at];
            let cell = self.cell_of_event[at];
            let line = &block.data[event.line.start as usize..event.line.end as usize];
            for term in &block.terms[event.terms.start as usize..event.terms.end as usize] {
                super::poison("tally::event", || line);
                let value = term.value.of(line, block.arena);
                let last = last_of_field[term.field as usize];
                let index = match out.terms.get(last as usize) {
                    Some(known) if out.values[known.start as usize..][..known.len as usize] == *value => last,
                    _ => self.term(term.field, value, event.time, out),
                };
                last_of_field[term.field as usize] = index;
                let known = &mut out.terms[index as usize];
                known.first = known.first.min(event.time);
                known.last = known.last.max(event.time);
                let counting = &mut self.counting[index as usize];
                if counting.last_event == at as u32 {
                    continue;
                }
                counting.last_event = at as u32;
                if counting.cell != cell {
                    if counting.count > 0 {
                        self.rows.push(TermCount { term: index, cell: counting.cell, count: counting.count });
                    }
                    (counting.cell, counting.count) = (cell, 0);
                }
                counting.count += 1;
            }
        }
    }

    #[inline]
    fn term(&mut self, field: Field, value: &[u8], time: Micros, out: &mut BlockTerms) -> u32 {
        let hash = term_hash(field, value);
        let same = |&index: &u32| {
            let known = &out.terms[index as usize];
            known.hash == hash && known.field == field && out.values[known.start as usize..][..known.len as usize] == *value
        };
        if let Some(&found) = self.terms.find(hash, same) {
            return found;
        }
        let index = out.terms.len() as u32;
        let start = u32::try_from(out.values.len()).expect("values of one block are bounded by its lines");
        out.values.extend_from_slice(value);
        out.terms.push(BlockTerm { hash, start, len: value.len() as u32, field, first: time, last: time });
        self.counting.push(Counting { last_event: NONE, count: 0, cell: 0 });
        self.terms.insert_unique(hash, index, |&index| out.terms[index as usize].hash);
        index
    }

    /// Counting sort of the events by cell, in their order within each.
    fn order_by_cell(&mut self, out: &BlockTerms) {
        let mut next: Vec<u32> = Vec::with_capacity(out.cells.len());
        let mut sum = 0;
        for &events in &out.cell_events {
            next.push(sum);
            sum += events;
        }
        self.by_cell.resize(self.cell_of_event.len(), 0);
        for (event, &cell) in self.cell_of_event.iter().enumerate() {
            let place = &mut next[cell as usize];
            self.by_cell[*place as usize] = event as u32;
            *place += 1;
        }
    }

    /// Puts the counts in the order of their terms.
    fn arrange(&mut self, out: &mut BlockTerms) {
        let last_rows =
            self.counting.iter().enumerate().map(|(term, last)| TermCount { term: term as u32, cell: last.cell, count: last.count });
        if self.rows.is_empty() {
            out.counts.extend(last_rows);
            return;
        }
        self.rows.extend(last_rows);
        let mut next = vec![0u32; out.terms.len() + 1];
        for row in &self.rows {
            next[row.term as usize + 1] += 1;
        }
        for term in 1..next.len() {
            next[term] += next[term - 1];
        }
        out.counts = vec![TermCount { term: 0, cell: 0, count: 0 }; self.rows.len()];
        for row in &self.rows {
            let place = &mut next[row.term as usize];
            out.counts[*place as usize] = *row;
            *place += 1;
        }
    }
}

/// Adds what an event says to the marks of its session. Most events say nothing new, and then nothing is hashed or parsed.
#[inline]
fn mark(marks: &mut Marks, event: &Marked, line: &[u8], arena: &[u8]) {
    if let (Address::None, Some(address)) = (marks.address, event.src_ip) {
        marks.address = Address::parse(address.of(line, arena));
    }
    if let (0, Some(hassh)) = (marks.client, event.hassh) {
        marks.client = marks::client(hassh.of(line, arena));
    }
    if let Some(credential) = event.credential {
        marks.credentials = marks.credentials.and(Credentials::of(credential.of(line, arena)));
    }
}

/// An index that fits in 16 bits, or `None` when the table is full.
fn small_index(len: usize) -> Option<u16> {
    u16::try_from(len).ok()
}
