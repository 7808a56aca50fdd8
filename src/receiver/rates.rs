//! How often an address, or a key, may ask. Memory is bounded: addresses share so many buckets, which only chance, not a sender, chooses.
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

pub struct Rates {
    addresses: Limiter<u16>,
    keys: Limiter<usize>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Rates {
    /// So many requests a second, and as many at once.
    pub fn new(per_second: NonZeroU32) -> Rates {
        let quota = Quota::per_second(per_second);
        Rates {
            addresses: RateLimiter::hashmap(quota),
            keys: RateLimiter::hashmap(quota),
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
        }
    }

    /// A request of this address. An error is after how many seconds the next one may come.
    pub fn address(&self, address: Option<IpAddr>) -> Result<(), u16> {
        self.check(&self.addresses, &self.bucket(address))
    }

    fn bucket(&self, address: Option<IpAddr>) -> u16 {
        // Who has one IPv6 address has 2⁶⁴ of them.
        let network = address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> 64 << 64,
        });
        self.hasher.hash_one(network) as u16
    }

    /// A request with the key of this number.
    pub fn key(&self, number: usize) -> Result<(), u16> {
        self.check(&self.keys, &number)
    }

    fn check<K: Hash + Eq + Clone>(&self, limiter: &Limiter<K>, key: &K) -> Result<(), u16> {
        limiter
            .check_key(key)
            .map_err(|not_until| u16::try_from(not_until.wait_time_from(self.clock.now()).as_secs() + 1).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_the_turns_of_others_and_one_network_is_one() {
        let rates = Rates::new(NonZeroU32::new(1).expect("one"));
        let address = |text: &str| rates.address(Some(text.parse().expect("an address")));
        assert_eq!(address("192.0.2.1"), Ok(()));
        assert_eq!(address("192.0.2.1"), Err(1));
        assert_eq!(address("::ffff:192.0.2.1"), Err(1), "the same address in other words");
        let other = |text: &str| Some(text.parse().expect("an address"));
        let taken = rates.bucket(other("192.0.2.1"));
        let network = (0..).find(|n| rates.bucket(other(&format!("2001:db8:0:{n:x}::1"))) != taken).expect("one of many");
        assert_eq!(address(&format!("2001:db8:0:{network:x}::1")), Ok(()));
        assert_eq!(address(&format!("2001:db8:0:{network:x}::2")), Err(1));
        assert_eq!((rates.key(0), rates.key(0), rates.key(1)), (Ok(()), Err(1), Ok(())));
    }
}
