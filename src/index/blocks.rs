//! Sets of block numbers: in memory as a bitmap, in a sidecar as whatever is shortest, in the live index as deltas.
//!
//! A segment has about 128 blocks, so a set in memory is two words. 89 % of the terms of real logs occur in few blocks,
//! the rest in nearly all: one number, a run, a list of deltas and a bitmap cover that; roaring was five times larger.
use super::encoding::{Reader, put_varint, varint_len};

/// More blocks than any segment has: the directory of so many would take the live index's memory limit four times over,
/// and the segment is sealed before that.
pub const BLOCKS_MAX: u32 = 1 << 20;

/// A set of block numbers of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockSet {
    /// Trailing zero words are never kept, so that equal sets are equal.
    words: smallvec::SmallVec<[u64; 4]>,
}

impl BlockSet {
    /// No block.
    pub fn new() -> BlockSet {
        BlockSet::default()
    }

    /// Adds one block. Panics at [`BLOCKS_MAX`] and above, which no segment reaches.
    pub fn insert(&mut self, block: u32) {
        assert!(block < BLOCKS_MAX, "a segment has fewer than {BLOCKS_MAX} blocks");
        let word = block as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (block % 64);
    }

    pub fn contains(&self, block: u32) -> bool {
        self.words.get(block as usize / 64).is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    pub fn clear(&mut self) {
        self.words.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Keeps what `other` has too.
    pub fn intersect(&mut self, other: &BlockSet) {
        self.words.truncate(other.words.len());
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine &= theirs);
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// Adds all that `other` has.
    pub fn union(&mut self, other: &BlockSet) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// The blocks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(index as u32 * 64 + bit)
            })
        })
    }
}

impl FromIterator<u32> for BlockSet {
    fn from_iter<I: IntoIterator<Item = u32>>(blocks: I) -> BlockSet {
        let mut set = BlockSet::new();
        blocks.into_iter().for_each(|block| set.insert(block));
        set
    }
}

/// Blocks of one term of the live index, ascending, as varints of the distance to the block before.
#[derive(Debug)]
pub(super) struct Postings {
    last: u32,
    deltas: Deltas,
}

#[derive(Debug)]
enum Deltas {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Vec<u8>),
}

/// What fits beside the tag of a `Vec`: fifteen neighbouring blocks, or five far apart.
const INLINE: usize = 15;

impl Postings {
    pub fn new(block: u32) -> Postings {
        let mut postings = Postings { last: 0, deltas: Deltas::Inline { len: 0, bytes: [0; INLINE] } };
        postings.append(block);
        postings
    }

    /// Adds a block not below the last one; answers how many bytes of heap that took.
    #[inline]
    pub fn push(&mut self, block: u32) -> usize {
        if block == self.last {
            return 0;
        }
        debug_assert!(block > self.last, "blocks arrive in order");
        self.append(block)
    }

    fn append(&mut self, block: u32) -> usize {
        let mut delta = block.wrapping_sub(self.last);
        self.last = block;
        let mut taken = 0;
        while delta >= 0x80 {
            taken += self.append_byte(delta as u8 | 0x80);
            delta >>= 7;
        }
        taken + self.append_byte(delta as u8)
    }

    #[inline]
    fn append_byte(&mut self, byte: u8) -> usize {
        match &mut self.deltas {
            Deltas::Inline { len, bytes } if usize::from(*len) < INLINE => {
                bytes[usize::from(*len)] = byte;
                *len += 1;
                0
            }
            Deltas::Inline { bytes, .. } => {
                let mut heap = Vec::with_capacity(2 * INLINE + 2);
                heap.extend_from_slice(bytes);
                heap.push(byte);
                let taken = heap.capacity();
                self.deltas = Deltas::Heap(heap);
                taken
            }
            Deltas::Heap(heap) => {
                let before = heap.capacity();
                heap.push(byte);
                heap.capacity() - before
            }
        }
    }

    /// The blocks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bytes = match &self.deltas {
            Deltas::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Deltas::Heap(heap) => heap,
        };
        let (mut reader, mut block) = (Reader::new(bytes), 0u32);
        std::iter::from_fn(move || {
            let delta = reader.varint()?;
            block = block.wrapping_add(delta as u32);
            Some(block)
        })
    }

    pub fn heap_bytes(&self) -> usize {
        match &self.deltas {
            Deltas::Inline { .. } => 0,
            Deltas::Heap(heap) => heap.capacity(),
        }
    }

    /// The same with every block replaced by what `new_block_of_old` says, which never decreases.
    pub fn renumbered(&self, new_block_of_old: &[u32]) -> Postings {
        let mut blocks = self.iter().map(|block| new_block_of_old[block as usize]);
        let mut postings = Postings::new(blocks.next().expect("a term occurs in at least one block"));
        blocks.for_each(|block| {
            postings.push(block);
        });
        postings
    }
}

/// How a set of blocks stands in a sidecar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// The block.
    One = 0,
    /// The first block, how many more follow it without a gap.
    Run = 1,
    /// How many blocks; the first; distances less one.
    List = 2,
    /// Number of the first byte; how many bytes; the bytes, lowest block in the lowest bit.
    Bitmap = 3,
}

impl Shape {
    pub fn from_bits(bits: u64) -> Shape {
        match bits & 3 {
            0 => Shape::One,
            1 => Shape::Run,
            2 => Shape::List,
            _ => Shape::Bitmap,
        }
    }

    /// The shortest shape for `blocks`, which ascend and are not none.
    pub fn shortest(blocks: &[u32]) -> Shape {
        let (first, last) = (blocks[0], blocks[blocks.len() - 1]);
        if blocks.len() == 1 {
            return Shape::One;
        }
        if (last - first) as usize + 1 == blocks.len() {
            return Shape::Run;
        }
        let bitmap_len = (last / 8 - first / 8) as usize + 1;
        let bitmap = bitmap_len + varint_len(bitmap_len as u64) + varint_len(u64::from(first / 8));
        let mut list = varint_len(blocks.len() as u64) + varint_len(u64::from(first));
        for pair in blocks.windows(2) {
            list += varint_len(u64::from(pair[1] - pair[0] - 1));
            if list > bitmap {
                return Shape::Bitmap;
            }
        }
        Shape::List
    }
}

/// Appends `blocks` in `shape`, which [`Shape::shortest`] chose.
pub(super) fn put_blocks(out: &mut Vec<u8>, shape: Shape, blocks: &[u32]) {
    let (first, last) = (blocks[0], blocks[blocks.len() - 1]);
    match shape {
        Shape::One => put_varint(out, u64::from(first)),
        Shape::Run => {
            put_varint(out, u64::from(first));
            put_varint(out, u64::from(last - first));
        }
        Shape::List => {
            put_varint(out, blocks.len() as u64);
            put_varint(out, u64::from(first));
            blocks.windows(2).for_each(|pair| put_varint(out, u64::from(pair[1] - pair[0] - 1)));
        }
        Shape::Bitmap => {
            let base = first / 8;
            let len = (last / 8 - base) as usize + 1;
            put_varint(out, u64::from(base));
            put_varint(out, len as u64);
            let start = out.len();
            out.resize(start + len, 0);
            blocks.iter().for_each(|block| out[start + (block / 8 - base) as usize] |= 1 << (block % 8));
        }
    }
}

/// Reads what [`put_blocks`] wrote, adding it to `set` if there is one. Blocks not below `limit` are refused.
pub(super) fn read_blocks(reader: &mut Reader<'_>, shape: Shape, limit: u32, set: Option<&mut BlockSet>) -> Option<()> {
    let limit = u64::from(limit.min(BLOCKS_MAX));
    let mut unused = BlockSet::new();
    let wanted = set.is_some();
    let set = set.unwrap_or(&mut unused);
    match shape {
        Shape::One => {
            let block = reader.varint().filter(|&block| block < limit)?;
            if wanted {
                set.insert(block as u32);
            }
        }
        Shape::Run => {
            let (first, more) = (reader.varint()?, reader.varint()?);
            let last = first.checked_add(more).filter(|&last| last < limit)?;
            if wanted {
                (first..=last).for_each(|block| set.insert(block as u32));
            }
        }
        Shape::List => {
            let count = reader.varint().filter(|&count| count > 0 && count <= limit)?;
            let mut block = reader.varint()?;
            for index in 0..count {
                if index > 0 {
                    block = block.checked_add(reader.varint()?)?.checked_add(1)?;
                }
                if block >= limit {
                    return None;
                }
                if wanted {
                    set.insert(block as u32);
                }
            }
        }
        Shape::Bitmap => {
            let (base, len) = (reader.varint()?, reader.length()?);
            let bytes = reader.take(len)?;
            if !wanted {
                return Some(());
            }
            for (index, &byte) in bytes.iter().enumerate() {
                let start = base.checked_add(index as u64)?.checked_mul(8)?;
                for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                    set.insert(u32::try_from(start + bit).ok().filter(|&block| u64::from(block) < limit)?);
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn blocks() -> impl Strategy<Value = BTreeSet<u32>> {
        prop_oneof![
            proptest::collection::btree_set(0..200u32, 1..150),
            proptest::collection::btree_set(0..5_000u32, 1..60),
            (0..300u32, 1..300u32).prop_map(|(first, len)| (first..first + len).collect()),
        ]
    }

    proptest! {
        #[test]
        fn sets_behave_like_sets(a in blocks(), b in blocks()) {
            let (left, right): (BlockSet, BlockSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(left.iter().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(left.len(), a.len());
            let (mut both, mut either) = (left.clone(), left.clone());
            both.intersect(&right);
            either.union(&right);
            prop_assert_eq!(both, a.intersection(&b).copied().collect::<BlockSet>());
            prop_assert_eq!(either, a.union(&b).copied().collect::<BlockSet>());
            prop_assert!(b.iter().all(|&block| right.contains(block)) && !right.contains(6_000));
        }

        #[test]
        fn postings_and_every_shape_give_back_the_blocks(set in blocks()) {
            let all: Vec<u32> = set.into_iter().collect();
            let mut postings = Postings::new(all[0]);
            let heap: usize = all.iter().map(|&block| postings.push(block)).sum();
            prop_assert_eq!(heap, postings.heap_bytes());
            prop_assert_eq!(postings.iter().collect::<Vec<_>>(), all.clone());
            let halved: Vec<u32> = (0..6_000).map(|block| block / 2).collect();
            let mut expected: Vec<u32> = all.iter().map(|block| block / 2).collect();
            expected.dedup();
            prop_assert_eq!(postings.renumbered(&halved).iter().collect::<Vec<_>>(), expected);

            let shortest = Shape::shortest(&all);
            let mut lens = Vec::new();
            for shape in [Shape::One, Shape::Run, Shape::List, Shape::Bitmap] {
                if shape == Shape::One && all.len() != 1 || shape == Shape::Run && Shape::shortest(&all) != Shape::Run {
                    continue;
                }
                let mut bytes = Vec::new();
                put_blocks(&mut bytes, shape, &all);
                lens.push((bytes.len(), shape));
                let mut read = BlockSet::new();
                let mut reader = Reader::new(&bytes);
                prop_assert!(read_blocks(&mut reader, shape, 6_000, Some(&mut read)).is_some());
                prop_assert!(reader.is_empty());
                prop_assert_eq!(read.iter().collect::<Vec<_>>(), all.clone());
                let mut skipped = Reader::new(&bytes);
                prop_assert!(read_blocks(&mut skipped, shape, 6_000, None).is_some() && skipped.is_empty());
                let limit = all[all.len() - 1];
                prop_assert!(read_blocks(&mut Reader::new(&bytes), shape, limit, Some(&mut BlockSet::new())).is_none());
            }
            let least = lens.iter().map(|len| len.0).min();
            prop_assert!(lens.iter().any(|&(len, shape)| shape == shortest && Some(len) == least) || all.len() <= 2);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, bits: u64, limit: u32) {
            let _ = read_blocks(&mut Reader::new(&bytes), Shape::from_bits(bits), limit, Some(&mut BlockSet::new()));
        }
    }

    #[test]
    fn postings_are_no_larger_than_a_vector_and_a_number() {
        assert_eq!(size_of::<Postings>(), 32);
    }
}
