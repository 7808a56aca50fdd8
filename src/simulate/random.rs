//! Randomness that is the same for a seed on every machine and in every later version.
//!
//! Simulated logs are test fixtures: a seed in a bug report must give the same bytes years later. Library generators promise no such
//! thing, and floating point functions such as `ln` differ between platforms, so everything here is integer arithmetic and division.

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): eight bytes of state, passes BigCrush.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// One step of the SplitMix64 finaliser: a bijection on 64 bits that looks random.
#[inline]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

impl Random {
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    #[inline]
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, which must not be 0. The bias of the multiplication is below one in four billion.
    #[inline]
    pub const fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * bound as u64) >> 32) as u32
    }

    /// A number in `from..to`; `from` when the range is empty.
    #[inline]
    pub const fn between(&mut self, from: u32, to: u32) -> u32 {
        if to <= from { from } else { from + self.below(to - from) }
    }

    /// True in `percent` of a hundred cases.
    #[inline]
    pub const fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}

/// Draws numbers with given weights in constant time (Vose's alias method).
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Per column: the threshold below which it is itself, and what it is above.
    columns: Box<[(u32, u32)]>,
}

impl Weighted {
    /// `weights` must be positive and not empty.
    pub fn new(weights: &[f64]) -> Weighted {
        assert!(!weights.is_empty() && weights.len() < u32::MAX as usize, "a weighted choice needs something to choose from");
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut share: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..share.len()).partition(|&index| share[index] < 1.0);
        let mut columns: Box<[(u32, u32)]> = (0..share.len()).map(|index| (u32::MAX, index as u32)).collect();
        while let (Some(&under), Some(&over)) = (small.last(), large.last()) {
            small.pop();
            columns[under] = ((share[under] * f64::from(u32::MAX)) as u32, over as u32);
            share[over] -= 1.0 - share[under];
            if share[over] < 1.0 {
                large.pop();
                small.push(over);
            }
        }
        Weighted { columns }
    }

    /// Ranks `0..count` where rank r has weight 1/(r + shift): Zipf's law as Mandelbrot corrected it.
    pub fn zipf(count: u32, shift: f64) -> Weighted {
        Weighted::new(&(0..count.max(1)).map(|rank| 1.0 / (f64::from(rank) + shift)).collect::<Vec<_>>())
    }

    #[inline]
    pub fn draw(&self, random: &mut Random) -> u32 {
        let bits = random.next();
        let column = (((bits >> 32) * self.columns.len() as u64) >> 32) as usize;
        let (threshold, other) = self.columns[column];
        if bits as u32 <= threshold { column as u32 } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_their_weights() {
        let weighted = Weighted::new(&[1.0, 2.0, 5.0, 2.0]);
        let mut random = Random::new(1);
        let mut seen = [0u32; 4];
        for _ in 0..100_000 {
            seen[weighted.draw(&mut random) as usize] += 1;
        }
        for (count, expected) in seen.into_iter().zip([10_000u32, 20_000, 50_000, 20_000]) {
            assert!(count.abs_diff(expected) < 1_000, "{seen:?}");
        }
    }

    #[test]
    fn zipf_favours_the_first_ranks_and_reaches_the_last() {
        let weighted = Weighted::zipf(1_000, 2.0);
        let mut random = Random::new(7);
        let mut seen = vec![0u32; 1_000];
        for _ in 0..200_000 {
            seen[weighted.draw(&mut random) as usize] += 1;
        }
        assert!(seen[0] > seen[10] && seen[10] > seen[500], "{:?}", &seen[..12]);
        assert!(seen.iter().filter(|&&count| count == 0).count() < 20);
        assert_eq!(Weighted::zipf(0, 1.0).draw(&mut random), 0);
    }

    #[test]
    fn the_sequence_of_a_seed_never_changes() {
        let mut random = Random::new(42);
        assert_eq!([random.next(), random.next()], [13_679_457_532_755_275_413, 2_949_826_092_126_892_291]);
        assert!((0..1_000).all(|_| (10..20).contains(&random.between(10, 20))));
        assert_eq!(random.between(5, 5), 5);
    }
}
