//! BLAKE3 of many short lines at once, one per lane of an AVX2 register.
//!
//! The blake3 crate is fast on long inputs, which it cuts into chunks of a kibibyte that it hashes side by side; most log lines
//! are shorter than one chunk, and hashing one is a chain of steps that wait for each other. Eight lines next to each other take
//! little longer than one. The tests hold every length against the crate, which also does long lines and other processors.
//!
//! Source: the BLAKE3 paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020), section 2.
use super::EventId;

const BLOCK_BYTES: usize = 64;
const CHUNK_BYTES: usize = 1_024;
/// From here on the crate fills the lanes with the chunks of one line.
const LONG_BYTES: usize = 8 * CHUNK_BYTES;

const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const PARENT: u32 = 4;
const ROOT: u32 = 8;

/// [`EventId::of_line`] of each line, in their order; false, with nothing done, where there are no lanes.
pub(super) fn ids_of_lines(lines: &[&[u8]], ids: &mut Vec<EventId>) -> bool {
    let lanes = std::arch::is_x86_feature_detected!("avx2");
    if lanes {
        let first = ids.len();
        ids.resize(first + lines.len(), EventId::default());
        in_lanes(lines, &mut ids[first..]);
    }
    lanes
}

/// A chunk, or a pair of hashes, to be hashed.
#[derive(Clone, Copy, Default)]
struct Job<'a> {
    bytes: &'a [u8],
    /// The chunk's number in its line.
    counter: u32,
    /// Flags of the first and of the last block.
    first: u32,
    last: u32,
    /// Where the result goes.
    to: u32,
}

fn in_lanes(lines: &[&[u8]], ids: &mut [EventId]) {
    // A line of one chunk is done with its job; those of more leave a node per chunk, to be joined below.
    let mut jobs = Vec::with_capacity(lines.len() * 5 / 4);
    let mut trees = Vec::new();
    let mut nodes: Vec<[u8; 32]> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.len() >= LONG_BYTES {
            ids[at] = EventId::of_line(line);
        } else if line.len() <= CHUNK_BYTES {
            jobs.push(Job { bytes: line, counter: 0, first: CHUNK_START, last: CHUNK_END | ROOT, to: at as u32 });
        } else {
            trees.push((at, nodes.len(), line.len().div_ceil(CHUNK_BYTES)));
            for (counter, bytes) in line.chunks(CHUNK_BYTES).enumerate() {
                let to = (lines.len() + nodes.len()) as u32;
                jobs.push(Job { bytes, counter: counter as u32, first: CHUNK_START, last: CHUNK_END, to });
                nodes.push([0; 32]);
            }
        }
    }
    each_hash(&jobs, |to, hash| match to.checked_sub(lines.len()) {
        None => ids[to].0.copy_from_slice(&hash[..16]),
        Some(node) => nodes[node] = hash,
    });
    // Neighbours are joined level by level, and an odd one waits: that is BLAKE3's tree.
    let mut pairs: Vec<([u8; 64], u32)> = Vec::new();
    while !trees.is_empty() {
        pairs.clear();
        for &(_, start, len) in &trees {
            let last = if len == 2 { PARENT | ROOT } else { PARENT };
            for pair in nodes[start..start + len].chunks_exact(2) {
                let mut bytes = [0; 64];
                bytes[..32].copy_from_slice(&pair[0]);
                bytes[32..].copy_from_slice(&pair[1]);
                pairs.push((bytes, last));
            }
        }
        let jobs: Vec<Job<'_>> =
            pairs.iter().enumerate().map(|(to, (bytes, last))| Job { bytes, counter: 0, first: 0, last: *last, to: to as u32 }).collect();
        let mut joined = vec![[0; 32]; jobs.len()];
        each_hash(&jobs, |to, hash| joined[to] = hash);
        let mut joined = joined.into_iter();
        trees.retain_mut(|(line, start, len)| {
            for (node, hash) in joined.by_ref().take(*len / 2).enumerate() {
                nodes[*start + node] = hash;
            }
            if *len % 2 == 1 {
                nodes[*start + *len / 2] = nodes[*start + *len - 1];
            }
            *len = len.div_ceil(2);
            if *len == 1 {
                ids[*line].0.copy_from_slice(&nodes[*start][..16]);
            }
            *len > 1
        });
    }
}

/// Does the jobs, those of about the same number of blocks together: a counting sort over the few numbers that are possible.
fn each_hash(jobs: &[Job<'_>], mut done: impl FnMut(usize, [u8; 32])) {
    let blocks = |job: &Job<'_>| job.bytes.len().div_ceil(BLOCK_BYTES);
    let mut next = [0u32; CHUNK_BYTES / BLOCK_BYTES + 2];
    for job in jobs {
        next[blocks(job) + 1] += 1;
    }
    for blocks in 1..next.len() {
        next[blocks] += next[blocks - 1];
    }
    let mut order = vec![0u32; jobs.len()];
    for (at, job) in jobs.iter().enumerate() {
        let place = &mut next[blocks(job)];
        order[*place as usize] = at as u32;
        *place += 1;
    }
    for group in order.chunks(avx2::LANES) {
        let lanes: [Job<'_>; avx2::LANES] = std::array::from_fn(|lane| group.get(lane).map_or(Job::default(), |&at| jobs[at as usize]));
        // SAFETY: the processor has AVX2: `ids_of_lines` has asked.
        let hashes = unsafe { avx2::hash(&lanes) };
        for (lane, hash) in lanes.iter().zip(hashes).take(group.len()) {
            done(lane.to as usize, hash);
        }
    }
}

mod avx2 {
    use super::{BLOCK_BYTES, CHUNK_BYTES, Job};
    use std::arch::x86_64::*;

    pub const LANES: usize = 8;

    const IV: [u32; 8] = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];
    /// Which word of the message each step of each round takes: the permutation of the paper, applied over and over.
    const SCHEDULE: [[usize; 16]; 7] = {
        const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
        let mut schedule = [[0; 16]; 7];
        let mut word = 0;
        while word < 16 {
            schedule[0][word] = word;
            word += 1;
        }
        let mut round = 1;
        while round < 7 {
            word = 0;
            while word < 16 {
                schedule[round][word] = schedule[round - 1][PERMUTATION[word]];
                word += 1;
            }
            round += 1;
        }
        schedule
    };

    /// The chaining value, or root hash, of each job; none is longer than one chunk.
    #[target_feature(enable = "avx2")]
    pub fn hash(jobs: &[Job<'_>; LANES]) -> [[u8; 32]; LANES] {
        debug_assert!(jobs.iter().all(|job| job.bytes.len() <= CHUNK_BYTES));
        let last_block = jobs.map(|job| job.bytes.len().saturating_sub(1) / BLOCK_BYTES);
        let blocks = last_block.iter().max().map_or(0, |&last| last + 1);
        let counters = load(&jobs.map(|job| job.counter as i32));
        let mut hashes = [[0; 32]; LANES];
        let mut chaining = IV.map(|word| _mm256_set1_epi32(word as i32));
        for block in 0..blocks {
            let mut buffers = [[0; BLOCK_BYTES]; LANES];
            let mut parts = [None; LANES];
            let (mut lens, mut flags) = ([0i32; LANES], [0i32; LANES]);
            let mut ends = false;
            for lane in 0..LANES {
                // A lane whose job has ended goes on over zeros; its hash has been taken.
                let rest = jobs[lane].bytes.get(block * BLOCK_BYTES..).unwrap_or_default();
                parts[lane] = rest.first_chunk::<BLOCK_BYTES>();
                if parts[lane].is_none() {
                    buffers[lane][..rest.len()].copy_from_slice(rest);
                }
                lens[lane] = rest.len().min(BLOCK_BYTES) as i32;
                let last = block == last_block[lane];
                ends |= last;
                flags[lane] = (if block == 0 { jobs[lane].first } else { 0 } | if last { jobs[lane].last } else { 0 }) as i32;
            }
            let message = transpose(&std::array::from_fn(|lane| parts[lane].unwrap_or(&buffers[lane])));
            compress(&mut chaining, &message, counters, load(&lens), load(&flags));
            if ends {
                let words = chaining.map(|word| store(word));
                for lane in (0..LANES).filter(|&lane| block == last_block[lane]) {
                    for (word, bytes) in hashes[lane].chunks_exact_mut(4).enumerate() {
                        bytes.copy_from_slice(&words[word][lane].to_le_bytes());
                    }
                }
            }
        }
        hashes
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn compress(chaining: &mut [__m256i; 8], message: &[__m256i; 16], counters: __m256i, lens: __m256i, flags: __m256i) {
        let mut v = [_mm256_setzero_si256(); 16];
        v[..8].copy_from_slice(chaining);
        for word in 0..4 {
            v[8 + word] = _mm256_set1_epi32(IV[word] as i32);
        }
        // The counter's upper half, word 13, is zero.
        (v[12], v[14], v[15]) = (counters, lens, flags);
        for schedule in &SCHEDULE {
            let m = |step: usize| message[schedule[step]];
            mix(&mut v, [0, 4, 8, 12], m(0), m(1));
            mix(&mut v, [1, 5, 9, 13], m(2), m(3));
            mix(&mut v, [2, 6, 10, 14], m(4), m(5));
            mix(&mut v, [3, 7, 11, 15], m(6), m(7));
            mix(&mut v, [0, 5, 10, 15], m(8), m(9));
            mix(&mut v, [1, 6, 11, 12], m(10), m(11));
            mix(&mut v, [2, 7, 8, 13], m(12), m(13));
            mix(&mut v, [3, 4, 9, 14], m(14), m(15));
        }
        for word in 0..8 {
            chaining[word] = _mm256_xor_si256(v[word], v[word + 8]);
        }
    }

    /// The paper's G.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn mix(v: &mut [__m256i; 16], [a, b, c, d]: [usize; 4], x: __m256i, y: __m256i) {
        let right_16 =
            _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        let right_8 =
            _mm256_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
        v[a] = _mm256_add_epi32(_mm256_add_epi32(v[a], v[b]), x);
        v[d] = _mm256_shuffle_epi8(_mm256_xor_si256(v[d], v[a]), right_16);
        v[c] = _mm256_add_epi32(v[c], v[d]);
        let mixed = _mm256_xor_si256(v[b], v[c]);
        v[b] = _mm256_or_si256(_mm256_srli_epi32(mixed, 12), _mm256_slli_epi32(mixed, 20));
        v[a] = _mm256_add_epi32(_mm256_add_epi32(v[a], v[b]), y);
        v[d] = _mm256_shuffle_epi8(_mm256_xor_si256(v[d], v[a]), right_8);
        v[c] = _mm256_add_epi32(v[c], v[d]);
        let mixed = _mm256_xor_si256(v[b], v[c]);
        v[b] = _mm256_or_si256(_mm256_srli_epi32(mixed, 7), _mm256_slli_epi32(mixed, 25));
    }

    /// From a block per lane to a register per word.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transpose(blocks: &[&[u8; BLOCK_BYTES]; LANES]) -> [__m256i; 16] {
        let mut words = [_mm256_setzero_si256(); 16];
        for half in 0..2 {
            let row = |lane: usize| {
                // SAFETY: a half of a block is 32 bytes, and the load needs no alignment.
                unsafe { _mm256_loadu_si256(blocks[lane].as_ptr().add(half * 32).cast()) }
            };
            let pair = |lane: usize| {
                let (even, odd) = (row(lane), row(lane + 1));
                [_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd)]
            };
            let four = |lane: usize| {
                let (first, second) = (pair(lane), pair(lane + 2));
                [
                    _mm256_unpacklo_epi64(first[0], second[0]),
                    _mm256_unpackhi_epi64(first[0], second[0]),
                    _mm256_unpacklo_epi64(first[1], second[1]),
                    _mm256_unpackhi_epi64(first[1], second[1]),
                ]
            };
            let (low, high) = (four(0), four(4));
            for word in 0..4 {
                words[half * 8 + word] = _mm256_permute2x128_si256(low[word], high[word], 0x20);
                words[half * 8 + word + 4] = _mm256_permute2x128_si256(low[word], high[word], 0x31);
            }
        }
        words
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(words: &[i32; LANES]) -> __m256i {
        // SAFETY: the array has exactly 32 bytes.
        unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(register: __m256i) -> [i32; LANES] {
        let mut words = [0; LANES];
        // SAFETY: the array has exactly 32 bytes.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), register) };
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agree(lines: &[&[u8]]) {
        let mut ids = vec![EventId([7; 16])];
        if !ids_of_lines(lines, &mut ids) {
            println!("skipped: no AVX2");
            return;
        }
        let expected: Vec<EventId> = lines.iter().map(|line| EventId::of_line(line)).collect();
        assert_eq!((ids[0], &ids[1..]), (EventId([7; 16]), &expected[..]));
    }

    #[test]
    fn every_length_hashes_as_the_blake3_crate_does() {
        let bytes: Vec<u8> = (0..12_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let lines: Vec<&[u8]> = (0..11_000).map(|len| &bytes[len % 700..][..len]).collect();
        agree(&lines);
        for line in &lines {
            agree(&[line]);
        }
        agree(&[]);
    }

    proptest! {
        #[test]
        fn any_company_of_lines_hashes_as_the_blake3_crate_does(
            lines in prop::collection::vec((any::<u8>(), prop_oneof![0usize..1_100, 0usize..9_000]), 0..40),
        ) {
            let line = |(seed, len)| (0..len).map(|at| (at as u8).wrapping_mul(seed)).collect();
            let lines: Vec<Vec<u8>> = lines.into_iter().map(line).collect();
            agree(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
