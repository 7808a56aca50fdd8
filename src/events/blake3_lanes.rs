//! BLAKE3 of many short lines at once, one line per lane of an AVX2 register.
//!
//! The blake3 crate is fast on long inputs, which it cuts into kibibytes that it hashes side by side; a log line is shorter than
//! one such chunk, and hashing it is a chain of steps that wait for each other. Eight lines next to each other take little longer
//! than one. The tests hold every length against the crate, which also does whatever is longer than a chunk, or runs elsewhere.
//!
//! Source: the BLAKE3 paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020), section 2.
use super::EventId;

/// Inputs up to here are one chunk of BLAKE3's tree: no tree.
const CHUNK_BYTES: usize = 1_024;
const BLOCK_BYTES: usize = 64;

/// [`EventId::of_line`] of each line, in their order.
pub(super) fn ids_of_lines(lines: &[&[u8]], ids: &mut Vec<EventId>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // Lines of about the same number of blocks go together: a counting sort over the sixteen that are possible.
        const LONG: usize = CHUNK_BYTES / BLOCK_BYTES + 1;
        let class = |line: &[u8]| if line.len() > CHUNK_BYTES { LONG } else { line.len().div_ceil(BLOCK_BYTES) };
        let mut next = [0u32; LONG + 2];
        for line in lines {
            next[class(line) + 1] += 1;
        }
        for class in 1..next.len() {
            next[class] += next[class - 1];
        }
        let long = next[LONG] as usize;
        let mut order = vec![0u32; lines.len()];
        for (at, line) in lines.iter().enumerate() {
            let place = &mut next[class(line)];
            order[*place as usize] = at as u32;
            *place += 1;
        }
        let first = ids.len();
        ids.resize(first + lines.len(), EventId::default());
        let ids = &mut ids[first..];
        let (short, long) = order.split_at(long);
        for group in short.chunks(avx2::LANES) {
            let mut inputs = [&[][..]; avx2::LANES];
            for (input, &at) in inputs.iter_mut().zip(group) {
                *input = lines[at as usize];
            }
            // SAFETY: the processor has AVX2, as was just detected.
            let hashes = unsafe { avx2::hash(&inputs) };
            for (&at, hash) in group.iter().zip(hashes) {
                ids[at as usize] = EventId(hash);
            }
        }
        for &at in long {
            ids[at as usize] = EventId::of_line(lines[at as usize]);
        }
        return;
    }
    ids.extend(lines.iter().map(|line| EventId::of_line(line)));
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BLOCK_BYTES, CHUNK_BYTES};
    use std::arch::x86_64::*;

    pub const LANES: usize = 8;

    const IV: [u32; 8] = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];
    const CHUNK_START: u32 = 1;
    const CHUNK_END: u32 = 2;
    const ROOT: u32 = 8;

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

    /// The first 128 bits of the BLAKE3 of each input; none is longer than one chunk.
    #[target_feature(enable = "avx2")]
    pub fn hash(inputs: &[&[u8]; LANES]) -> [[u8; 16]; LANES] {
        debug_assert!(inputs.iter().all(|input| input.len() <= CHUNK_BYTES));
        let last_block = inputs.map(|input| input.len().saturating_sub(1) / BLOCK_BYTES);
        let blocks = last_block.iter().max().map_or(0, |&last| last + 1);
        let mut hashes = [[0; 16]; LANES];
        let mut chaining = IV.map(|word| _mm256_set1_epi32(word as i32));
        for block in 0..blocks {
            let mut buffers = [[0; BLOCK_BYTES]; LANES];
            let mut parts = [None; LANES];
            let (mut lens, mut flags) = ([0i32; LANES], [0i32; LANES]);
            let mut ends = false;
            for lane in 0..LANES {
                // A lane whose input has ended goes on over zeros; its hash has been taken.
                let rest = inputs[lane].get(block * BLOCK_BYTES..).unwrap_or_default();
                parts[lane] = rest.first_chunk::<BLOCK_BYTES>();
                if parts[lane].is_none() {
                    buffers[lane][..rest.len()].copy_from_slice(rest);
                }
                lens[lane] = rest.len().min(BLOCK_BYTES) as i32;
                let last = block == last_block[lane];
                ends |= last;
                flags[lane] = (if block == 0 { CHUNK_START } else { 0 } | if last { CHUNK_END | ROOT } else { 0 }) as i32;
            }
            let message = transpose(&std::array::from_fn(|lane| parts[lane].unwrap_or(&buffers[lane])));
            compress(&mut chaining, &message, load(&lens), load(&flags));
            if ends {
                let words: [[i32; LANES]; 4] = std::array::from_fn(|word| store(chaining[word]));
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
    fn compress(chaining: &mut [__m256i; 8], message: &[__m256i; 16], lens: __m256i, flags: __m256i) {
        let mut v = [_mm256_setzero_si256(); 16];
        v[..8].copy_from_slice(chaining);
        for word in 0..4 {
            v[8 + word] = _mm256_set1_epi32(IV[word] as i32);
        }
        // Words 12 and 13 are the number of the chunk: zero.
        (v[14], v[15]) = (lens, flags);
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
        ids_of_lines(lines, &mut ids);
        let expected: Vec<EventId> = lines.iter().map(|line| EventId::of_line(line)).collect();
        assert_eq!((ids[0], &ids[1..]), (EventId([7; 16]), &expected[..]));
    }

    #[test]
    fn every_length_hashes_as_the_blake3_crate_does() {
        let bytes: Vec<u8> = (0..3_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let lines: Vec<&[u8]> = (0..2_200).map(|len| &bytes[len % 700..][..len]).collect();
        agree(&lines);
        for line in &lines {
            agree(&[line]);
        }
        agree(&[]);
    }

    proptest! {
        #[test]
        fn any_company_of_lines_hashes_as_the_blake3_crate_does(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1_100), 0..40),
        ) {
            agree(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
