//! How many different values there are: counted one by one up to 100,000, estimated above (HyperLogLog: Flajolet, Fusy, Gandouet
//! and Meunier, 2007), at 64-bit hashes, so that nothing needs correcting at large numbers, and above 100,000 nothing at small
//! ones.
use super::SEED;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::LazyLock;

/// Values told apart one by one.
pub const EXACT_MAX: usize = 100_000;
/// 2^14 registers of one byte: the standard error is 1.04 / sqrt(2^14).
const REGISTER_BITS: u32 = 14;
const REGISTERS: usize = 1 << REGISTER_BITS;
/// Of an estimate: about two of three lie within it, and 95 of 100 within twice as much.
pub const STANDARD_ERROR: f64 = 0.008_125;

/// With [`SEED`] 128 bits that nobody outside can foresee: values whose hashes are the same are the same.
static SECOND_SEED: LazyLock<foldhash::quality::RandomState> = LazyLock::new(foldhash::quality::RandomState::default);

/// What values were seen, or about how many.
#[derive(Default)]
pub struct Distinct {
    known: HashTable<(u64, u64)>,
    /// Empty until there are too many.
    registers: Vec<u8>,
}

/// What tells values apart.
pub(super) fn hashes(value: &[u8]) -> (u64, u64) {
    (SEED.hash_one(value), SECOND_SEED.hash_one(value))
}

impl Distinct {
    pub fn add(&mut self, value: &[u8]) {
        let (hash, second) = hashes(value);
        self.add_hashes(hash, second);
    }

    /// What is estimated from the beginning: values are known by a hash that is hard to foresee.
    pub(super) fn estimating(hashes: impl Iterator<Item = u64>) -> Distinct {
        let mut registers = vec![0; REGISTERS];
        hashes.for_each(|hash| register(&mut registers, hash));
        Distinct { known: HashTable::new(), registers }
    }

    /// Adds to what is [estimated](Distinct::estimating).
    pub(super) fn add_hash(&mut self, hash: u64) {
        self.add_hashes(hash, 0);
    }

    fn add_hashes(&mut self, hash: u64, second: u64) {
        if !self.registers.is_empty() {
            return register(&mut self.registers, hash);
        }
        if self.known.find(hash, |known| *known == (hash, second)).is_some() {
            return;
        }
        self.known.insert_unique(hash, (hash, second), |known| known.0);
        if self.known.len() > EXACT_MAX {
            self.registers = vec![0; REGISTERS];
            for (hash, _) in std::mem::take(&mut self.known) {
                register(&mut self.registers, hash);
            }
        }
    }

    /// How many there are, and whether that is exact.
    pub fn count(&self) -> (u64, bool) {
        if self.registers.is_empty() { (self.known.len() as u64, true) } else { (estimate(&self.registers), false) }
    }
}

fn register(registers: &mut [u8], hash: u64) {
    let rest = hash << REGISTER_BITS;
    let zeros = if rest == 0 { u64::BITS - REGISTER_BITS } else { rest.leading_zeros() };
    let register = &mut registers[(hash >> (u64::BITS - REGISTER_BITS)) as usize];
    *register = (*register).max(zeros as u8 + 1);
}

fn estimate(registers: &[u8]) -> u64 {
    let count = REGISTERS as f64;
    let sum: f64 = registers.iter().map(|&register| (-f64::from(register)).exp2()).sum();
    (0.7213 / (1.0 + 1.079 / count) * count * count / sum).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random: splitmix64.
    fn hash(number: u64) -> u64 {
        let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    #[test]
    fn is_exact_to_a_hundred_thousand_and_near_above() {
        let mut distinct = Distinct::default();
        for number in 0..2_000_000u64 {
            distinct.add_hashes(hash(number), 0);
            distinct.add_hashes(hash(number / 2), 0);
            let seen = number + 1;
            if seen <= EXACT_MAX as u64 {
                assert!(!seen.is_multiple_of(9_999) || distinct.count() == (seen, true));
            } else if seen.is_multiple_of(100_001) {
                let (count, exact) = distinct.count();
                let error = (count as f64 - seen as f64).abs() / seen as f64;
                assert!(!exact && error < 3.0 * STANDARD_ERROR, "{seen}: {count}");
            }
        }
    }

    #[test]
    fn values_are_told_apart() {
        let mut distinct = Distinct::default();
        for value in ["", "a", "b", "a", "ab", ""] {
            distinct.add(value.as_bytes());
        }
        assert_eq!(distinct.count(), (4, true));
    }

    #[test]
    fn the_error_is_that_of_the_registers() {
        assert!((STANDARD_ERROR - 1.04 / (REGISTERS as f64).sqrt()).abs() < 1e-9);
    }
}
