//! The session table of a sidecar: two thirds of all distinct terms, so kept apart from the dictionaries.
//!
//! Rows are sorted by (key, sensor) and cut into groups, which are stored column by column. Two sections: the group
//! table (first key u64, end of the group's bytes u32, length of its columns when decompressed u32) and the groups. A
//! group is its number of rows, its keys (each less the one before; preceded by their length) and, compressed, the
//! other columns, each preceded by its length: sensors; first times less the segment's base; last less first; [acts](put_acts); four
//! pairs of columns of values that [many sessions share](Shared): sequences of commands (number, hash u64), clients (u64), credentials
//! (number, hash u64), addresses (length, bytes); (shape, blocks). Keys are random, so compressing them would save nothing and cost
//! most: a session is looked up in every segment and is absent from nearly all, which the keys alone tell.
use super::blocks::{BlockSet, Shape, put_blocks, read_blocks};
use super::dictionary::{Scale, decompressed};
use super::encoding::{Reader, put_varint};
use super::part::SessionEntry;
use crate::events::Micros;
use crate::events::act::{Acts, Sequence};
use crate::events::marks::{Address, Credentials, Marks};
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::{Range, RangeInclusive};

/// A group is closed at this many rows, or bytes before compression.
pub(super) const GROUP_ROWS: usize = 256;
const GROUP_BYTES: usize = 64 << 10;
const TABLE_ROW_LEN: usize = 16;
/// A group that says it is longer is damaged: one row is never longer than a bitmap of [`super::blocks::BLOCKS_MAX`].
const GROUP_BYTES_MAX: usize = 1 << 20;

/// A row to be written; `blocks` ascends and is not none.
pub(super) struct SessionRow {
    pub key: u64,
    pub sensor: u32,
    pub acts: Acts,
    pub sequence: Sequence,
    pub marks: Marks,
    pub first: Micros,
    pub last: Micros,
    pub blocks: Vec<u32>,
}

/// Writes rows sorted by (key, sensor): the group table and the groups.
pub(super) fn write(
    rows: impl Iterator<Item = SessionRow>,
    scale: Scale,
    compressor: &mut zstd::bulk::Compressor<'_>,
) -> (Vec<u8>, Vec<u8>) {
    let (mut table, mut groups, mut plain, mut keys, mut columns) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), <[Vec<u8>; 5]>::default());
    let (mut sequences, mut clients) = (Shared::<(u64, u32)>::default(), Shared::<u64>::default());
    let (mut credentials, mut addresses) = (Shared::<(u64, u32)>::default(), Shared::<Address>::default());
    let mut rows = rows.peekable();
    while let Some(first_key) = rows.peek().map(|row| row.key) {
        let mut before = first_key;
        let mut count = 0;
        while count < GROUP_ROWS && columns.iter().map(Vec::len).sum::<usize>() < GROUP_BYTES {
            let Some(row) = rows.next() else { break };
            let shape = Shape::shortest(&row.blocks);
            put_varint(&mut keys, row.key - before);
            put_varint(&mut columns[0], u64::from(row.sensor));
            put_varint(&mut columns[1], row.first.wrapping_sub(scale.time_base) as u64);
            put_varint(&mut columns[2], row.last.wrapping_sub(row.first) as u64);
            put_acts(&mut columns[3], &row.acts);
            let (sequence, marks) = (row.sequence, row.marks);
            sequences.put((sequence.len > 0).then_some((sequence.hash, sequence.len)), put_counted_hash);
            clients.put((marks.client > 0).then_some(marks.client), |out, client| out.extend_from_slice(&client.to_le_bytes()));
            let tried = marks.credentials;
            credentials.put((tried.count > 0).then_some((tried.hash, tried.count)), put_counted_hash);
            addresses.put((marks.address != Address::None).then_some(marks.address), put_address);
            columns[4].push(shape as u8);
            put_blocks(&mut columns[4], shape, &row.blocks);
            before = row.key;
            count += 1;
        }
        put_varint(&mut groups, count as u64);
        put_varint(&mut groups, keys.len() as u64);
        groups.append(&mut keys);
        plain.clear();
        let [sensors, firsts, spans, acts, blocks] = &mut columns;
        let shared = [sequences.finish(), clients.finish(), credentials.finish(), addresses.finish()].into_iter().flatten();
        for column in [sensors, firsts, spans, acts].into_iter().chain(shared).chain([blocks]) {
            put_varint(&mut plain, column.len() as u64);
            plain.append(column);
        }
        let packed = compressor.compress(&plain).expect("the buffer is as large as zstd asks for");
        groups.extend_from_slice(&packed);
        table.extend_from_slice(&first_key.to_le_bytes());
        table.extend_from_slice(&(groups.len() as u32).to_le_bytes());
        table.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    }
    (table, groups)
}

/// Reads the two sections in place; `None` means that the bytes make no sense.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sessions<'a> {
    pub table: &'a [u8],
    pub groups: &'a [u8],
    pub scale: Scale,
    /// Not in a sidecar of version 2.
    pub has_marks: bool,
}

impl Sessions<'_> {
    pub fn get(&self, key: u64) -> Option<Vec<SessionEntry>> {
        let mut found = Vec::new();
        self.among(&[key], &mut |entry| found.push(entry.clone()))?;
        Some(found)
    }

    pub fn each(&self, each: &mut dyn FnMut(&SessionEntry)) -> Option<()> {
        let mut kept = Vec::new();
        (0..self.len()).try_for_each(|group| self.read_group(group, u64::MAX, |_| true, &mut kept, each))
    }

    /// Key, sensor and first time of every row; the other columns are passed over.
    pub fn each_start(&self, each: &mut dyn FnMut(u64, u32, Micros)) -> Option<()> {
        for group in 0..self.len() {
            let (mut key, end, len) = self.row(group)?;
            let start = if group == 0 { 0 } else { self.row(group - 1)?.1 };
            let mut group = Reader::new(self.groups.get(start as usize..end as usize)?);
            let (count, mut keys) = (group.length()?, Reader::new(group.take_counted()?));
            let packed = group.take(group.remaining())?;
            decompressed(packed, len as usize, GROUP_BYTES_MAX, |plain| {
                let mut plain = Reader::new(plain);
                let (mut sensors, mut firsts) = (Reader::new(plain.take_counted()?), Reader::new(plain.take_counted()?));
                for _ in 0..count {
                    key = key.checked_add(keys.varint()?)?;
                    each(key, sensors.varint32()?, self.scale.time_base.wrapping_add(firsts.varint()? as Micros));
                }
                Some(())
            })?;
        }
        Some(())
    }

    /// The key of every row with such a key, ascending; nothing is decompressed.
    pub fn each_key(&self, keys: RangeInclusive<u64>, each: &mut dyn FnMut(u64)) -> Option<()> {
        let mut kept = Vec::new();
        for group in self.groups_with(&keys)? {
            let note = |key| {
                if keys.contains(&key) {
                    each(key);
                }
                false
            };
            self.read_group(group, *keys.end(), note, &mut kept, &mut |_| ())?;
        }
        Some(())
    }

    /// The rows with these keys, which ascend; groups that have none of them stay compressed.
    pub fn among(&self, wanted: &[u64], each: &mut dyn FnMut(&SessionEntry)) -> Option<()> {
        let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else { return Some(()) };
        let (mut kept, mut at) = (Vec::new(), 0);
        for group in self.groups_with(&(first..=last))? {
            // Of few keys most groups have none: where its keys lie, the table tells. The next one may begin with the last of these.
            let lowest = wanted.partition_point(|wanted| Some(*wanted) < self.first_key(group));
            let behind = self.first_key(group + 1).map_or(wanted.len(), |next| wanted.partition_point(|wanted| *wanted <= next));
            let Some(&highest) = wanted.get(lowest..behind).and_then(<[u64]>::last) else { continue };
            // Keys ascend here as well: it is a step from one to the next. The last of a group may be the first of the next.
            let is_wanted = |key| {
                while wanted.get(at).is_some_and(|wanted| *wanted < key) {
                    at += 1;
                }
                wanted.get(at) == Some(&key)
            };
            self.read_group(group, highest, is_wanted, &mut kept, each)?;
        }
        Some(())
    }

    /// The groups in which rows with such keys may be. Those of a key with many sensors may begin in the group before the first that
    /// opens with the key.
    fn groups_with(&self, keys: &RangeInclusive<u64>) -> Option<Range<usize>> {
        let first = self.first_group_at_or_after(*keys.start())?.saturating_sub(1);
        let end = match keys.end().checked_add(1) {
            Some(behind) => self.first_group_at_or_after(behind)?,
            None => self.len(),
        };
        Some(first..end.max(first))
    }

    /// The first key of each group.
    pub fn each_split(&self, each: &mut dyn FnMut(u64)) -> Option<()> {
        (0..self.len()).try_for_each(|group| {
            each(self.first_key(group)?);
            Some(())
        })
    }

    fn len(&self) -> usize {
        self.table.len() / TABLE_ROW_LEN
    }

    fn row(&self, group: usize) -> Option<(u64, u32, u32)> {
        let mut row = Reader::new(self.table.get(group * TABLE_ROW_LEN..)?);
        Some((row.u64()?, row.u32()?, row.u32()?))
    }

    fn first_key(&self, group: usize) -> Option<u64> {
        self.row(group).map(|row| row.0)
    }

    fn first_group_at_or_after(&self, key: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.first_key(middle)? < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low)
    }

    /// Shows `keep` every key of a group up to `until`, and hands out the rows that it keeps.
    fn read_group(
        &self,
        group: usize,
        until: u64,
        mut keep: impl FnMut(u64) -> bool,
        kept: &mut Vec<bool>,
        each: &mut dyn FnMut(&SessionEntry),
    ) -> Option<()> {
        let (first_key, end, len) = self.row(group)?;
        let start = if group == 0 { 0 } else { self.row(group - 1)?.1 };
        let mut group = Reader::new(self.groups.get(start as usize..end as usize)?);
        let count = group.length()?;
        let keys = Reader::new(group.take_counted()?);
        kept.clear();
        let (mut deltas, mut key) = (keys, first_key);
        for _ in 0..count {
            key = key.checked_add(deltas.varint()?)?;
            if key > until {
                break;
            }
            kept.push(keep(key));
        }
        let Some(last) = kept.iter().rposition(|kept| *kept) else { return Some(()) };
        kept.truncate(last + 1);
        let packed = group.take(group.remaining())?;
        decompressed(packed, len as usize, GROUP_BYTES_MAX, |plain| self.read_rows(plain, keys, first_key, kept, each))
    }
    /// Hands out the rows of a group that are `kept`.
    fn read_rows(
        &self,
        plain: &[u8],
        mut keys: Reader<'_>,
        first_key: u64,
        kept: &[bool],
        each: &mut dyn FnMut(&SessionEntry),
    ) -> Option<()> {
        let mut reader = Reader::new(plain);
        let mut column = || reader.take_counted().map(Reader::new);
        let (mut sensors, mut firsts, mut spans, mut acts) = (column()?, column()?, column()?, column()?);
        let mut who = match self.has_marks {
            true => Who::Marked(Box::new(MarkColumns::read(&mut column)?)),
            false => Who::Sequences(column()?),
        };
        let mut blocks = column()?;
        let mut key = first_key;
        let (no_acts, sequence, marks) = (Acts::default(), Sequence::default(), Marks::default());
        let mut entry = SessionEntry { key, sensor: 0, acts: no_acts, sequence, marks, first: 0, last: 0, blocks: BlockSet::new() };
        for &kept in kept {
            key = key.checked_add(keys.varint()?)?;
            entry.key = key;
            entry.sensor = sensors.varint32()?;
            entry.first = self.scale.time_base.wrapping_add(firsts.varint()? as Micros);
            entry.last = entry.first.wrapping_add(spans.varint()? as Micros);
            entry.acts = read_acts(&mut acts)?;
            who.next(&mut entry)?;
            entry.blocks.clear();
            let shape = Shape::from_bits(u64::from(blocks.take(1)?[0]));
            read_blocks(&mut blocks, shape, self.scale.blocks, kept.then_some(&mut entry.blocks))?;
            if kept {
                each(&entry);
            }
        }
        Some(())
    }
}

/// What tells who was there and what they typed.
enum Who<'a> {
    Marked(Box<MarkColumns<'a>>),
    /// Of version 2: per row the number of commands and, where that is not 0, their hash.
    Sequences(Reader<'a>),
}

struct MarkColumns<'a> {
    sequences: SharedReader<'a, (u64, u32)>,
    clients: SharedReader<'a, u64>,
    credentials: SharedReader<'a, (u64, u32)>,
    addresses: SharedReader<'a, Address>,
}

impl<'a> MarkColumns<'a> {
    fn read(column: &mut impl FnMut() -> Option<Reader<'a>>) -> Option<MarkColumns<'a>> {
        let mut shared = || Some((column()?, column()?));
        Some(MarkColumns {
            sequences: SharedReader::new(shared()?),
            clients: SharedReader::new(shared()?),
            credentials: SharedReader::new(shared()?),
            addresses: SharedReader::new(shared()?),
        })
    }
}

impl Who<'_> {
    #[inline]
    fn next(&mut self, entry: &mut SessionEntry) -> Option<()> {
        match self {
            Who::Marked(columns) => {
                let (hash, len) = columns.sequences.next(read_counted_hash)?;
                entry.sequence = Sequence { hash, len };
                entry.marks.client = columns.clients.next(Reader::u64)?;
                let (hash, count) = columns.credentials.next(read_counted_hash)?;
                entry.marks.credentials = Credentials { hash, count };
                entry.marks.address = columns.addresses.next(read_address)?;
            }
            Who::Sequences(column) => {
                let len = column.varint32()?;
                entry.sequence = Sequence { hash: if len == 0 { 0 } else { column.u64()? }, len };
            }
        }
        Some(())
    }
}

/// Two columns of values that many sessions share. The first has a number (varint) for each row: 0 for none, 1 for a value that is new
/// in this group and next in the second column, n + 2 for the n-th value of that (from 0).
struct Shared<V> {
    known: HashMap<V, u64, foldhash::fast::RandomState>,
    numbers: Vec<u8>,
    values: Vec<u8>,
}

impl<V> Default for Shared<V> {
    fn default() -> Shared<V> {
        Shared { known: HashMap::default(), numbers: Vec::new(), values: Vec::new() }
    }
}

impl<V: Copy + Eq + Hash> Shared<V> {
    fn put(&mut self, value: Option<V>, write: impl FnOnce(&mut Vec<u8>, V)) {
        let Some(value) = value else { return self.numbers.push(0) };
        let next = self.known.len() as u64;
        match self.known.entry(value) {
            std::collections::hash_map::Entry::Occupied(known) => put_varint(&mut self.numbers, known.get() + 2),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(next);
                self.numbers.push(1);
                write(&mut self.values, value);
            }
        }
    }

    /// The columns of a group, which are the caller's to empty; the next one begins anew.
    fn finish(&mut self) -> [&mut Vec<u8>; 2] {
        self.known.clear();
        [&mut self.numbers, &mut self.values]
    }
}

struct SharedReader<'a, V> {
    known: Vec<V>,
    numbers: Reader<'a>,
    values: Reader<'a>,
}

impl<'a, V: Copy + Default> SharedReader<'a, V> {
    fn new((numbers, values): (Reader<'a>, Reader<'a>)) -> SharedReader<'a, V> {
        SharedReader { known: Vec::new(), numbers, values }
    }

    /// The next row's; the default stands for none.
    fn next(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Option<V>) -> Option<V> {
        match self.numbers.varint()? {
            0 => Some(V::default()),
            1 => {
                let value = read(&mut self.values)?;
                self.known.push(value);
                Some(value)
            }
            number => self.known.get(usize::try_from(number - 2).ok()?).copied(),
        }
    }
}

fn put_counted_hash(out: &mut Vec<u8>, (hash, count): (u64, u32)) {
    put_varint(out, u64::from(count));
    out.extend_from_slice(&hash.to_le_bytes());
}

fn read_counted_hash(reader: &mut Reader<'_>) -> Option<(u64, u32)> {
    let count = reader.varint32()?;
    Some((reader.u64()?, count))
}

fn put_address(out: &mut Vec<u8>, address: Address) {
    let mut put = |bytes: &[u8]| {
        out.push(bytes.len() as u8);
        out.extend_from_slice(bytes);
    };
    match address {
        Address::None => put(&[]),
        Address::V4(address) => put(&address.octets()),
        Address::V6(address) => put(&address.octets()),
    }
}

fn read_address(reader: &mut Reader<'_>) -> Option<Address> {
    match reader.take_counted()? {
        [] => Some(Address::None),
        &[a, b, c, d] => Some(Address::V4([a, b, c, d].into())),
        bytes => Some(Address::V6(<[u8; 16]>::try_from(bytes).ok()?.into())),
    }
}

/// Which acts there are, one bit each, and their counts.
pub(super) fn put_acts(out: &mut Vec<u8>, acts: &Acts) {
    let there = (0..).zip(acts.0).filter(|(_, count)| *count > 0).fold(0u64, |bits, (act, _)| bits | 1 << act);
    put_varint(out, there);
    acts.0.iter().filter(|&&count| count > 0).for_each(|&count| put_varint(out, u64::from(count)));
}

pub(super) fn read_acts(reader: &mut Reader<'_>) -> Option<Acts> {
    let there = reader.varint()?;
    let mut acts = Acts::default();
    for (act, count) in acts.0.iter_mut().enumerate() {
        if there >> act & 1 == 1 {
            *count = reader.varint32()?;
        }
    }
    (there >> acts.0.len() == 0).then_some(acts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SCALE: Scale = Scale { time_base: -50, blocks: 200, cells: 1 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_row_is_found_by_its_key(
            model in proptest::collection::btree_map((0..300u64, 0..6u32), (1..9u32, 0..99i64, proptest::collection::btree_set(0..200u32, 1..5)), 0..1_200),
            absent: u64,
        ) {
            let acts = |events: u32| Acts(std::array::from_fn(|act| if act as u32 % 3 == events % 3 { events } else { 0 }));
            let sequence = |events: u32| Sequence { hash: if events > 4 { u64::MAX / 7 } else { 0 }, len: events.saturating_sub(4) };
            let marks = |key: u64, events: u32| Marks {
                client: if events < 3 { 0 } else { key % 3 },
                credentials: if events == 5 { Credentials::default() } else { Credentials { hash: u64::MAX / (key + 1), count: events } },
                address: match key % 5 {
                    0 => Address::None,
                    1 => Address::V6(u128::from(key).into()),
                    _ => Address::V4((key as u32 % 50).into()),
                },
            };
            let rows = model.iter().map(|(&(key, sensor), (events, first, blocks))| SessionRow {
                key: key << 40, sensor, acts: acts(*events), sequence: sequence(*events), marks: marks(key, *events), first: *first, last: first + 7, blocks: blocks.iter().copied().collect(),
            });
            let (table, groups) = write(rows, SCALE, &mut zstd::bulk::Compressor::new(1).unwrap());
            let sessions = Sessions { table: &table, groups: &groups, scale: SCALE, has_marks: true };
            let mut by_key = BTreeMap::<u64, Vec<SessionEntry>>::new();
            for (&(key, sensor), (events, first, blocks)) in &model {
                let blocks = blocks.iter().copied().collect();
                by_key.entry(key << 40).or_default().push(SessionEntry { key: key << 40, sensor, acts: acts(*events), sequence: sequence(*events), marks: marks(key, *events), first: *first, last: first + 7, blocks });
            }
            let mut all = Vec::new();
            sessions.each(&mut |entry| all.push(entry.clone())).unwrap();
            let (from, to) = (absent.min(100 << 40), absent.max(100 << 40));
            let mut keys = Vec::new();
            sessions.each_key(from..=to, &mut |key| keys.push(key)).unwrap();
            prop_assert_eq!(keys, all.iter().map(|entry| entry.key).filter(|key| (from..=to).contains(key)).collect::<Vec<_>>());
            let wanted: Vec<u64> = (0..310).filter(|key| key % 3 == absent % 3).map(|key| key << 40).collect();
            let mut some = Vec::new();
            sessions.among(&wanted, &mut |entry| some.push(entry.clone())).unwrap();
            prop_assert_eq!(some, all.iter().filter(|entry| wanted.contains(&entry.key)).cloned().collect::<Vec<_>>());
            prop_assert_eq!(all, by_key.values().flatten().cloned().collect::<Vec<_>>());
            for (&key, expected) in &by_key {
                prop_assert_eq!(&sessions.get(key).unwrap(), expected);
            }
            prop_assert_eq!(sessions.get(absent).unwrap(), by_key.remove(&absent).unwrap_or_default());
        }
    }

    #[test]
    fn rows_of_version_2_are_read_without_marks() {
        let commands = Sequence { hash: 0x0123_4567_89ab_cdef, len: 300 };
        let rows = [(5u64 << 40, 3u32, 7i64, Sequence::default()), (6 << 40, 0, 9, commands), (6 << 40, 1, 9, commands)];
        let acts = Acts(std::array::from_fn(|act| act as u32 % 2));
        let (mut keys, mut columns, mut before) = (Vec::new(), <[Vec<u8>; 6]>::default(), rows[0].0);
        for &(key, sensor, first, sequence) in &rows {
            put_varint(&mut keys, key - before);
            before = key;
            put_varint(&mut columns[0], u64::from(sensor));
            put_varint(&mut columns[1], (first - SCALE.time_base) as u64);
            put_varint(&mut columns[2], 4);
            put_acts(&mut columns[3], &acts);
            put_varint(&mut columns[4], u64::from(sequence.len));
            if sequence.len > 0 {
                columns[4].extend_from_slice(&sequence.hash.to_le_bytes());
            }
            let blocks = [sensor, 40];
            let shape = Shape::shortest(&blocks);
            columns[5].push(shape as u8);
            put_blocks(&mut columns[5], shape, &blocks);
        }
        let mut plain = Vec::new();
        for column in &columns {
            put_varint(&mut plain, column.len() as u64);
            plain.extend_from_slice(column);
        }
        let mut groups = vec![rows.len() as u8, keys.len() as u8];
        groups.extend_from_slice(&keys);
        groups.extend_from_slice(&zstd::bulk::compress(&plain, 1).unwrap());
        let lens = [(groups.len() as u32).to_le_bytes(), (plain.len() as u32).to_le_bytes()].concat();
        let table = [&rows[0].0.to_le_bytes()[..], &lens].concat();
        let sessions = Sessions { table: &table, groups: &groups, scale: SCALE, has_marks: false };
        let mut found = Vec::new();
        sessions.each(&mut |entry| found.push(entry.clone())).unwrap();
        let expected = rows.map(|(key, sensor, first, sequence)| {
            let (marks, blocks) = (Marks::default(), [sensor, 40].into_iter().collect());
            SessionEntry { key, sensor, acts, sequence, marks, first, last: first + 4, blocks }
        });
        assert_eq!(found, expected);
        assert_eq!(sessions.get(6 << 40).unwrap(), expected[1..]);
    }
}
