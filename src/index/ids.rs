//! The event ids of a sidecar: what makes loading the same events again a matter of counting.
//!
//! Three sections. *Filter*: a binary fuse filter of 16-bit fingerprints (18 bits an event, 1 wrong yes in 65,536),
//! probed where it lies in the map. *Exact ids*: 16 bytes an event, sorted, read by `pread`, because mapping them made
//! 250 MiB resident at 10 million events. *Page table*: the first eight bytes (big endian) of every 256th id. Pages
//! are equal slices of the sorted ids, so whoever crafts ids cannot make one page larger than another.
//!
//! Filter section: the descriptor (seed u64, segment length, its mask, segments' total length: u32 each; Graf and
//! Lemire, "Binary fuse filters", 2022) and the fingerprints (u16). Its keys are the ids' first eight bytes mixed with
//! a seed that depends on every event of the segment, so that filters cannot be attacked from outside. No filter (an
//! empty section) answers "perhaps" to everything.
use super::encoding::Reader;
use crate::events::EventId;
use xorf::{BinaryFuse16, DmaSerializable};

pub(super) const ID_LEN: usize = 16;
/// Ids per page: one page is 4 KiB.
pub(super) const PAGE_IDS: usize = 256;
/// More hits than this in one batch of a segment and all its ids are read at once: the same file is being loaded again.
pub(super) const HITS_BEFORE_WHOLE: usize = 64;

const DESCRIPTOR_LEN: usize = 20;

/// The three sections.
pub(super) struct IdSections {
    pub filter: Vec<u8>,
    pub table: Vec<u8>,
    pub ids: Vec<u8>,
}

/// Builds the sections over distinct ids in any order.
pub(super) fn write(ids: impl ExactSizeIterator<Item = EventId>, seed: u64) -> IdSections {
    let mut sorted: Vec<u128> = ids.map(|id| u128::from_be_bytes(id.0)).collect();
    sorted.sort_unstable();
    let mut keys: Vec<u64> = sorted.iter().map(|id| filter_key(EventId(id.to_be_bytes()), seed)).collect();
    // Two ids share their first eight bytes only when somebody worked for it.
    if sorted.windows(2).any(|pair| pair[0] >> 64 == pair[1] >> 64) {
        keys.sort_unstable();
        keys.dedup();
    }
    let filter = if keys.is_empty() { None } else { BinaryFuse16::try_from(&keys).ok() };
    let filter = filter.map_or_else(Vec::new, |filter| {
        let mut bytes = vec![0; DESCRIPTOR_LEN];
        filter.dma_copy_descriptor_to(&mut bytes);
        bytes.extend(filter.fingerprints.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()));
        bytes
    });
    let table = sorted.iter().step_by(PAGE_IDS).flat_map(|id| ((id >> 64) as u64).to_le_bytes()).collect();
    let ids = sorted.iter().flat_map(|id| id.to_be_bytes()).collect();
    IdSections { filter, table, ids }
}

/// A filter where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdFilter<'a> {
    fingerprints: &'a [u8],
    descriptor: FilterDescriptor,
    id_seed: u64,
}

/// What is read from the filter's head once, at opening.
#[derive(Clone, Copy, Debug)]
pub(super) struct FilterDescriptor {
    seed: u64,
    segment_len: u32,
    segments_len: u32,
}

impl FilterDescriptor {
    /// Of a whole filter section; `None` when it is damaged. An empty section is no filter.
    pub fn read(section: &[u8]) -> Option<Option<FilterDescriptor>> {
        if section.is_empty() {
            return Some(None);
        }
        let mut reader = Reader::new(section);
        let (seed, segment_len, mask, segments_len) = (reader.u64()?, reader.u32()?, reader.u32()?, reader.u32()?);
        let consistent = segment_len.is_power_of_two() && mask == segment_len - 1 && segments_len % segment_len == 0;
        let fingerprints = u64::from(segments_len) + 2 * u64::from(segment_len);
        // A filter may be longer than its segments reach, never shorter: then every probe is in bounds.
        let in_bounds = fingerprints <= u64::from(u32::MAX) && reader.remaining() as u64 >= 2 * fingerprints;
        (consistent && in_bounds).then_some(Some(FilterDescriptor { seed, segment_len, segments_len }))
    }
}

impl<'a> IdFilter<'a> {
    pub fn new(section: &'a [u8], descriptor: FilterDescriptor, id_seed: u64) -> IdFilter<'a> {
        IdFilter { fingerprints: section.get(DESCRIPTOR_LEN..).unwrap_or_default(), descriptor, id_seed }
    }

    /// `false` is certain.
    #[inline]
    pub fn may_contain(&self, id: EventId) -> bool {
        let FilterDescriptor { seed, segment_len, segments_len } = self.descriptor;
        let hash = mix(filter_key(id, self.id_seed).wrapping_add(seed));
        let mask = segment_len - 1;
        let first = ((u128::from(hash) * u128::from(segments_len)) >> 64) as u32;
        let second = (first + segment_len) ^ ((hash >> 18) as u32 & mask);
        let third = (first + 2 * segment_len) ^ (hash as u32 & mask);
        let mut rest = (hash ^ (hash >> 32)) as u16;
        for index in [first, second, third] {
            // Bounds were checked at opening; still, bytes that are missing refuse nothing.
            let Some(bytes) = self.fingerprints.get(2 * index as usize..2 * index as usize + 2) else { return true };
            rest ^= u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        rest == 0
    }
}

/// The ids' own seed comes before the filter's, which is public: fuse filters try seeds in a fixed order.
#[inline]
fn filter_key(id: EventId, seed: u64) -> u64 {
    mix(u64::from_be_bytes(id.0[..8].try_into().expect("eight of sixteen bytes")) ^ seed)
}

/// MurmurHash3's finaliser, which is what the filter's construction uses; it maps distinct words to distinct words.
#[inline]
fn mix(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
    word ^= word >> 33;
    word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

/// The pages that may hold `id`: nearly always one.
pub(super) fn pages_of(table: &[u8], id: EventId) -> std::ops::Range<usize> {
    let key = u64::from_be_bytes(id.0[..8].try_into().expect("eight of sixteen bytes"));
    let (words, _) = table.as_chunks::<8>();
    let from = words.partition_point(|word| u64::from_le_bytes(*word) < key).saturating_sub(1);
    let to = from + words[from..].partition_point(|word| u64::from_le_bytes(*word) <= key);
    from..to
}

/// Whether sorted ids hold `id`.
pub(super) fn find(sorted: &[u8], id: EventId) -> bool {
    let (ids, _) = sorted.as_chunks::<ID_LEN>();
    ids.binary_search(&id.0).is_ok()
}

/// Working memory for probing, kept between batches: pages being read, and the whole ids of the segments hit most
/// recently.
#[derive(Debug, Default)]
pub struct IdCache {
    /// (which sidecar, its ids), most recently used last.
    pub(super) whole: Vec<(u64, Vec<u8>)>,
    pub(super) page: Vec<u8>,
    pub(super) hits: Vec<(u32, u32)>,
}

/// Segments whose ids are kept: one being loaded again, and its neighbour where a batch crosses over.
const WHOLE_MAX: usize = 2;

impl IdCache {
    pub fn new() -> IdCache {
        IdCache::default()
    }

    /// Gives back the memory, when loading is over.
    pub fn clear(&mut self) {
        *self = IdCache::default();
    }

    pub fn memory_bytes(&self) -> usize {
        self.whole.iter().map(|(_, ids)| ids.capacity()).sum::<usize>() + self.page.capacity() + self.hits.capacity() * 8
    }

    /// The ids of a sidecar, if they are kept.
    pub(super) fn whole(&mut self, token: u64) -> Option<&[u8]> {
        let at = self.whole.iter().position(|entry| entry.0 == token)?;
        let entry = self.whole.remove(at);
        self.whole.push(entry);
        self.whole.last().map(|entry| &entry.1[..])
    }

    /// An empty buffer for the ids of a sidecar, the least recently used one when there are enough.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = if self.whole.len() < WHOLE_MAX { Vec::new() } else { self.whole.remove(0).1 };
        buffer.clear();
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn id(number: u32) -> EventId {
        EventId::of_line(&number.to_le_bytes())
    }

    #[test]
    fn filters_hold_every_id_and_few_others() {
        for count in [1u32, 2, 3, 10, 255, 256, 257, 5_000] {
            let sections = write((0..count).map(id).collect::<Vec<_>>().into_iter(), 7);
            let descriptor = FilterDescriptor::read(&sections.filter).unwrap().unwrap();
            let filter = IdFilter::new(&sections.filter, descriptor, 7);
            assert!((0..count).all(|number| filter.may_contain(id(number))));
            let wrong = (count..count + 100_000).filter(|&number| filter.may_contain(id(number))).count();
            assert!(wrong < 20, "{wrong} wrong answers of 100,000 at {count}");
            for number in 0..2 * count {
                let found = pages_of(&sections.table, id(number)).any(|page| {
                    let end = ((page + 1) * PAGE_IDS * ID_LEN).min(sections.ids.len());
                    find(&sections.ids[page * PAGE_IDS * ID_LEN..end], id(number))
                });
                assert_eq!(found, number < count);
            }
        }
    }

    #[test]
    fn crafted_ids_that_share_their_first_half_are_all_found() {
        let ids: BTreeSet<EventId> = (0..2_000u128).map(|number| EventId((number + ((number % 3) << 64)).to_be_bytes())).collect();
        let sections = write(ids.iter().copied().collect::<Vec<_>>().into_iter(), 1);
        for id in ids {
            let found = pages_of(&sections.table, id).any(|page| {
                let end = ((page + 1) * PAGE_IDS * ID_LEN).min(sections.ids.len());
                find(&sections.ids[page * PAGE_IDS * ID_LEN..end], id)
            });
            assert!(found);
            if let Some(descriptor) = FilterDescriptor::read(&sections.filter).unwrap() {
                assert!(IdFilter::new(&sections.filter, descriptor, 1).may_contain(id));
            }
        }
    }

    #[test]
    fn damaged_filters_are_refused_or_answer_without_panic() {
        let sections = write((0..300).map(id).collect::<Vec<_>>().into_iter(), 7);
        for len in 0..sections.filter.len() {
            let cut = &sections.filter[..len];
            if let Some(Some(descriptor)) = FilterDescriptor::read(cut) {
                IdFilter::new(cut, descriptor, 7).may_contain(id(1));
            }
        }
        for at in 0..DESCRIPTOR_LEN {
            for bit in 0..8 {
                let mut bytes = sections.filter.clone();
                bytes[at] ^= 1 << bit;
                if let Some(Some(descriptor)) = FilterDescriptor::read(&bytes) {
                    (0..100).for_each(|number| {
                        IdFilter::new(&bytes, descriptor, 7).may_contain(id(number));
                    });
                }
            }
        }
    }
}
