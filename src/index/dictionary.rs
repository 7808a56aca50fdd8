//! The values of one field in one segment: sorted, front-coded, in pages, each value with counts, times and blocks.
//!
//! Two sections of the sidecar: a small page table, which lies with the other small sections so that opening and
//! searching touch few pages of the file, and the pages. A page holds first the *summaries* of its terms (value, count,
//! first, last) and behind them their *details* (cells, blocks): top lists stream over the summaries only.
//!
//! Page table: number of pages (u32), of terms (u64); per page the ends of its separator and of its bytes, its length
//! when decompressed (highest bit: it is compressed) and its number of terms (u32 each); the separators. A separator is
//! the shortest value above everything on the page before and not above the page's first value.
//!
//! Page: number of terms, length of the summaries, summaries, details. Summary: bytes shared with the value before,
//! length of the rest, the rest, count, first time less the segment's base, last time less first. Details: number of
//! cells × 4 + shape of the block set; cells, each less the one before, with counts for all but the last; blocks.
use super::blocks::{BlockSet, Shape, put_blocks, read_blocks};
use super::encoding::{Reader, put_varint, u32_at};
use super::part::{TermEntry, TermSummary, ValueRange};
use crate::events::Micros;
use std::cell::RefCell;
use std::ops::Range;

/// A page is closed when its summaries and details reach this, bytes before compression.
const PAGE_BYTES: usize = 4 << 10;
/// A page that says it is longer is damaged: even one term in every cell a segment can have stays below.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// A page is kept compressed when that takes at most this share of it, as for commands. Other fields would save a tenth
/// of a percent of the raw bytes, and lookups and top lists would take three times as long.
const COMPRESSED_PERCENT_MAX: usize = 60;
/// A thread's buffer for decompression that had to grow beyond this is not kept.
const BUFFER_BYTES_KEPT: usize = 64 << 10;
const COMPRESSED: u32 = 1 << 31;
const TABLE_HEAD_LEN: usize = 12;
const TABLE_ROW_LEN: usize = 16;

/// What numbers in a page are relative to, and what they must stay below.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub time_base: Micros,
    pub blocks: u32,
    pub cells: u32,
}

/// Writes the two sections of a field.
pub(super) struct DictionaryWriter<'a, 'c> {
    compressor: &'a mut zstd::bulk::Compressor<'c>,
    scale: Scale,
    rows: Vec<u8>,
    separators: Vec<u8>,
    pages: Vec<u8>,
    page_count: u32,
    terms: u64,
    page_terms: u32,
    summaries: Vec<u8>,
    details: Vec<u8>,
    page: Vec<u8>,
    compressed: Vec<u8>,
    previous: Vec<u8>,
}

impl<'a, 'c> DictionaryWriter<'a, 'c> {
    pub fn new(scale: Scale, compressor: &'a mut zstd::bulk::Compressor<'c>) -> DictionaryWriter<'a, 'c> {
        DictionaryWriter {
            compressor,
            scale,
            rows: Vec::new(),
            separators: Vec::new(),
            pages: Vec::new(),
            page_count: 0,
            terms: 0,
            page_terms: 0,
            summaries: Vec::new(),
            details: Vec::new(),
            page: Vec::new(),
            compressed: Vec::new(),
            previous: Vec::new(),
        }
    }

    /// Adds a term: values ascend, cells (with their counts) and blocks ascend and are not none.
    pub fn push(&mut self, value: &[u8], summary: TermSummary, cells: &[(u32, u32)], blocks: &[u32]) {
        let shared = if self.terms == 0 { 0 } else { shared_prefix(&self.previous, value) };
        if self.page_terms == 0 {
            let separator = if self.terms == 0 { &[][..] } else { &value[..(shared + 1).min(value.len())] };
            self.separators.extend_from_slice(separator);
        }
        let shared = if self.page_terms == 0 { 0 } else { shared };
        put_varint(&mut self.summaries, shared as u64);
        put_varint(&mut self.summaries, (value.len() - shared) as u64);
        self.summaries.extend_from_slice(&value[shared..]);
        put_varint(&mut self.summaries, summary.count);
        put_varint(&mut self.summaries, summary.first.wrapping_sub(self.scale.time_base) as u64);
        put_varint(&mut self.summaries, summary.last.wrapping_sub(summary.first) as u64);

        let shape = Shape::shortest(blocks);
        put_varint(&mut self.details, (cells.len() as u64) << 2 | shape as u64);
        let mut before = 0;
        for (index, &(cell, count)) in cells.iter().enumerate() {
            put_varint(&mut self.details, u64::from(cell - before));
            if index + 1 < cells.len() {
                put_varint(&mut self.details, u64::from(count));
            }
            before = cell;
        }
        put_blocks(&mut self.details, shape, blocks);

        self.previous.clear();
        self.previous.extend_from_slice(value);
        self.page_terms += 1;
        self.terms += 1;
        if self.summaries.len() + self.details.len() >= PAGE_BYTES {
            self.close_page();
        }
    }

    fn close_page(&mut self) {
        self.page.clear();
        put_varint(&mut self.page, u64::from(self.page_terms));
        put_varint(&mut self.page, self.summaries.len() as u64);
        self.page.append(&mut self.summaries);
        self.page.append(&mut self.details);
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.page.len()));
        let compressed = self.compressor.compress_to_buffer(&self.page, &mut self.compressed);
        let pays = compressed.is_ok_and(|len| len * 100 <= self.page.len() * COMPRESSED_PERCENT_MAX);
        self.pages.extend_from_slice(if pays { &self.compressed } else { &self.page });
        for number in [
            self.separators.len() as u32,
            self.pages.len() as u32,
            self.page.len() as u32 | if pays { COMPRESSED } else { 0 },
            self.page_terms,
        ] {
            self.rows.extend_from_slice(&number.to_le_bytes());
        }
        self.page_count += 1;
        self.page_terms = 0;
    }

    /// The page table and the pages.
    pub fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        if self.page_terms > 0 {
            self.close_page();
        }
        let mut table = Vec::with_capacity(TABLE_HEAD_LEN + self.rows.len() + self.separators.len());
        table.extend_from_slice(&self.page_count.to_le_bytes());
        table.extend_from_slice(&self.terms.to_le_bytes());
        table.extend_from_slice(&self.rows);
        table.extend_from_slice(&self.separators);
        (table, self.pages)
    }
}

/// Reads the two sections of a field in place. `None` and `Err(Damaged)` mean the same: the bytes make no sense.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dictionary<'a> {
    rows: &'a [u8],
    separators: &'a [u8],
    pages: &'a [u8],
    page_count: usize,
    terms: u64,
    scale: Scale,
}

impl<'a> Dictionary<'a> {
    pub fn new(table: &'a [u8], pages: &'a [u8], scale: Scale) -> Option<Dictionary<'a>> {
        let mut head = Reader::new(table);
        let (page_count, terms) = (head.u32()? as usize, head.u64()?);
        let rows_end = page_count.checked_mul(TABLE_ROW_LEN)?.checked_add(TABLE_HEAD_LEN)?;
        let (rows, separators) = (table.get(TABLE_HEAD_LEN..rows_end)?, table.get(rows_end..)?);
        Some(Dictionary { rows, separators, pages, page_count, terms, scale })
    }

    pub fn terms_len(&self) -> u64 {
        self.terms
    }

    /// Calls `each` with the separator of every page but the first.
    pub fn each_split(&self, each: &mut dyn FnMut(&[u8])) -> Option<()> {
        (1..self.page_count).try_for_each(|page| self.separator(page).map(&mut *each))
    }

    /// Where the page lies in which the value would stand.
    pub fn place_of(&self, value: &[u8]) -> Option<Range<usize>> {
        let page = self.page_from(value).filter(|page| *page < self.page_count)?;
        self.stretch(page, 1).filter(|place| place.start <= place.end && place.end <= self.pages.len())
    }

    pub fn get(&self, value: &[u8]) -> Option<Option<TermEntry>> {
        let page = self.page_from(value)?;
        if page >= self.page_count {
            return Some(None);
        }
        self.with_page(page, |bytes| {
            let mut terms = PageReader::new(bytes, self.scale)?;
            while let Some(summary) = terms.next()? {
                if terms.value == value {
                    let mut entry = TermEntry { summary, cells: Vec::new(), blocks: BlockSet::new() };
                    terms.details(&mut entry)?;
                    return Some(Some(entry));
                }
                if *terms.value > *value {
                    break;
                }
            }
            Some(None)
        })
    }

    pub fn each_term(&self, range: ValueRange<'_>, each: &mut dyn FnMut(&[u8], TermSummary)) -> Option<()> {
        for page in self.pages_in(range)? {
            self.with_page(page, |bytes| {
                let mut terms = PageReader::new(bytes, self.scale)?;
                while let Some(summary) = terms.next()? {
                    if range.contains(&terms.value) {
                        each(&terms.value, summary);
                    }
                }
                Some(())
            })?;
        }
        Some(())
    }

    pub fn each_entry(
        &self,
        range: ValueRange<'_>,
        keep: &mut dyn FnMut(&[u8]) -> bool,
        each: &mut dyn FnMut(&[u8], &TermEntry),
    ) -> Option<()> {
        let summary = TermSummary { count: 0, first: 0, last: 0 };
        let mut entry = TermEntry { summary, cells: Vec::new(), blocks: BlockSet::new() };
        for page in self.pages_in(range)? {
            self.with_page(page, |bytes| {
                let mut terms = PageReader::new(bytes, self.scale)?;
                while let Some(summary) = terms.next()? {
                    if range.contains(&terms.value) && keep(&terms.value) {
                        entry.summary = summary;
                        terms.details(&mut entry)?;
                        each(&terms.value, &entry);
                    }
                }
                Some(())
            })?;
        }
        Some(())
    }

    /// The page that holds `value` if any does.
    fn page_from(&self, value: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.page_count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.separator(middle)? <= value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low.saturating_sub(1))
    }

    fn pages_in(&self, range: ValueRange<'_>) -> Option<Range<usize>> {
        let end = match range.to {
            Some(to) => (self.page_from(to)? + 1).min(self.page_count),
            None => self.page_count,
        };
        Some(self.page_from(range.from)?..end)
    }

    fn number(&self, page: usize, column: usize) -> Option<u32> {
        u32_at(self.rows, page * (TABLE_ROW_LEN / 4) + column)
    }

    /// The stretch that the ends in `column` give to `page`.
    fn stretch(&self, page: usize, column: usize) -> Option<Range<usize>> {
        let start = if page == 0 { 0 } else { self.number(page - 1, column)? as usize };
        Some(start..self.number(page, column)? as usize)
    }

    fn separator(&self, page: usize) -> Option<&'a [u8]> {
        self.separators.get(self.stretch(page, 0)?)
    }

    fn with_page<T>(&self, page: usize, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let bytes = self.pages.get(self.stretch(page, 1)?)?;
        let len = self.number(page, 2)?;
        if len & COMPRESSED == 0 {
            return read(bytes);
        }
        decompressed(bytes, (len & !COMPRESSED) as usize, PAGE_BYTES_MAX, read)
    }
}

/// Decompresses `bytes`, which must give exactly `len` bytes and no more than `len_max`, and hands them to `read`.
pub(super) fn decompressed<T>(bytes: &[u8], len: usize, len_max: usize, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    type Decompressor = (Option<zstd::bulk::Decompressor<'static>>, Vec<u8>);
    thread_local! {
        static DECOMPRESSOR: RefCell<Decompressor> = const { RefCell::new((None, Vec::new())) };
    }
    if len > len_max {
        return None;
    }
    // Taken out while in use: `read` may ask for another page.
    let (mut decompressor, mut buffer) = DECOMPRESSOR.take();
    buffer.clear();
    buffer.reserve(len);
    if decompressor.is_none() {
        decompressor = zstd::bulk::Decompressor::new().ok();
    }
    let written = decompressor.as_mut()?.decompress_to_buffer(bytes, &mut buffer).ok();
    let answer = if written == Some(len) { read(&buffer[..len]) } else { None };
    if buffer.capacity() <= BUFFER_BYTES_KEPT {
        DECOMPRESSOR.replace((decompressor, buffer));
    } else {
        DECOMPRESSOR.replace((decompressor, Vec::new()));
    }
    answer
}

/// Walks the terms of a page, reading details only where asked.
struct PageReader<'a> {
    summaries: Reader<'a>,
    details: Reader<'a>,
    scale: Scale,
    left: usize,
    value: Vec<u8>,
    /// Count of the term `next` answered last, and how many details before and including its own are unread.
    count: u64,
    unread: usize,
}

impl<'a> PageReader<'a> {
    fn new(bytes: &'a [u8], scale: Scale) -> Option<PageReader<'a>> {
        let mut page = Reader::new(bytes);
        let (left, summaries_len) = (page.length()?, page.length()?);
        let summaries = Reader::new(page.take(summaries_len)?);
        Some(PageReader { summaries, details: page, scale, left, value: Vec::with_capacity(64), count: 0, unread: 0 })
    }

    #[inline]
    fn next(&mut self) -> Option<Option<TermSummary>> {
        if self.left == 0 {
            return Some(None);
        }
        self.left -= 1;
        self.unread += 1;
        let (shared, rest) = (self.summaries.length()?, self.summaries.length()?);
        if shared > self.value.len() {
            return None;
        }
        self.value.truncate(shared);
        self.value.extend_from_slice(self.summaries.take(rest)?);
        self.count = self.summaries.varint()?;
        let first = self.scale.time_base.wrapping_add(self.summaries.varint()? as Micros);
        let last = first.wrapping_add(self.summaries.varint()? as Micros);
        Some(Some(TermSummary { count: self.count, first, last }))
    }

    /// Reads the details of the term `next` answered last.
    fn details(&mut self, entry: &mut TermEntry) -> Option<()> {
        while self.unread > 1 {
            self.unread -= 1;
            let head = self.details.varint()?;
            let cells = head >> 2;
            for index in 0..cells {
                self.details.varint()?;
                if index + 1 < cells {
                    self.details.varint()?;
                }
            }
            read_blocks(&mut self.details, Shape::from_bits(head), self.scale.blocks, None)?;
        }
        self.unread = 0;
        entry.cells.clear();
        entry.blocks.clear();
        let head = self.details.varint()?;
        let cells = head >> 2;
        let (mut cell, mut rest) = (0u32, self.count);
        for index in 0..cells {
            let step = self.details.varint32()?;
            cell = cell.checked_add(step).filter(|&cell| cell < self.scale.cells && (index == 0 || step > 0))?;
            let count = if index + 1 < cells { self.details.varint()? } else { rest };
            rest = rest.checked_sub(count)?;
            entry.cells.push((cell, u32::try_from(count).ok()?));
        }
        read_blocks(&mut self.details, Shape::from_bits(head), self.scale.blocks, Some(&mut entry.blocks))
    }
}

fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SCALE: Scale = Scale { time_base: 1_000, blocks: 300, cells: 8 };

    type Model = BTreeMap<Vec<u8>, TermEntry>;

    fn entry() -> impl Strategy<Value = TermEntry> {
        let cells = proptest::collection::btree_map(0..8u32, 1..1_000u32, 1..8);
        let blocks = proptest::collection::btree_set(0..300u32, 1..40);
        (cells, blocks, 0..1_000_000i64, 0..1_000_000i64).prop_map(|(cells, blocks, first, more)| TermEntry {
            summary: TermSummary { count: cells.values().map(|&count| u64::from(count)).sum(), first, last: first + more },
            cells: cells.into_iter().collect(),
            blocks: blocks.into_iter().collect(),
        })
    }

    fn model() -> impl Strategy<Value = Model> {
        let value = prop_oneof![
            "[a-c]{0,6}".prop_map(String::into_bytes),
            "10\\.[0-9]{1,3}\\.[0-9]{1,3}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        proptest::collection::btree_map(value, entry(), 0..1_000)
    }

    fn build(model: &Model) -> (Vec<u8>, Vec<u8>) {
        let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
        let mut writer = DictionaryWriter::new(SCALE, &mut compressor);
        for (value, entry) in model {
            writer.push(value, entry.summary, &entry.cells, &entry.blocks.iter().collect::<Vec<_>>());
        }
        writer.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn gives_back_every_term(model in model(), from in "[a-c1]{0,3}", to in proptest::option::of("[a-c1]{0,3}"), absent: Vec<u8>) {
            let (table, pages) = build(&model);
            let dictionary = Dictionary::new(&table, &pages, SCALE).unwrap();
            prop_assert_eq!(dictionary.terms_len(), model.len() as u64);
            for (value, entry) in &model {
                prop_assert_eq!(dictionary.get(value).unwrap(), Some(entry.clone()));
            }
            prop_assert_eq!(dictionary.get(&absent).unwrap(), model.get(&absent).cloned());
            let range = ValueRange { from: from.as_bytes(), to: to.as_ref().map(|to| to.as_bytes()) };
            let expected: Vec<_> = model.iter().filter(|(value, _)| range.contains(value)).collect();
            let mut light = Vec::new();
            dictionary.each_term(range, &mut |value, summary| light.push((value.to_vec(), summary))).unwrap();
            prop_assert_eq!(light, expected.iter().map(|(value, entry)| (value.to_vec(), entry.summary)).collect::<Vec<_>>());
            let mut full = Vec::new();
            let mut keep = |value: &[u8]| value.len() % 3 == 1;
            dictionary.each_entry(range, &mut keep, &mut |value, entry| full.push((value.to_vec(), entry.clone()))).unwrap();
            let kept = expected.iter().filter(|(value, _)| value.len() % 3 == 1);
            prop_assert_eq!(full, kept.map(|(value, entry)| (value.to_vec(), (*entry).clone())).collect::<Vec<_>>());
        }

        #[test]
        fn damaged_bytes_are_read_without_panic(model in model(), at: prop::sample::Index, flip in 1..=255u8, in_pages: bool) {
            let (mut table, mut pages) = build(&model);
            let bytes = if in_pages && !pages.is_empty() { &mut pages } else { &mut table };
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Some(dictionary) = Dictionary::new(&table, &pages, SCALE) {
                let _ = dictionary.get(b"10.1");
                let _ = dictionary.each_term(ValueRange::ALL, &mut |_, _| ());
                let _ = dictionary.each_entry(ValueRange::ALL, &mut |_| true, &mut |_, _| ());
                let _ = dictionary.each_split(&mut |_| ());
            }
        }
    }

    #[test]
    fn pages_split_where_separators_say() {
        let summary = TermSummary { count: 1, first: 5, last: 5 };
        let model: Model = (0..3_000u32)
            .map(|n| {
                (format!("value-{n:05}").into_bytes(), TermEntry { summary, cells: vec![(0, 1)], blocks: [n % 300].into_iter().collect() })
            })
            .collect();
        let (table, pages) = build(&model);
        let dictionary = Dictionary::new(&table, &pages, SCALE).unwrap();
        let mut splits = Vec::new();
        dictionary.each_split(&mut |value| splits.push(value.to_vec())).unwrap();
        assert!(splits.len() > 2 && splits.is_sorted());
    }
}
