//! How often somebody may ask: token buckets. Memory is bounded: whoever asks shares one of so many buckets, and chance, not a sender,
//! chooses which.
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// Buckets of one rate.
pub struct Rates {
    limiter: RateLimiter<u16, HashMapStateStore<u16>, DefaultClock>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Rates {
    /// So many requests a second, and so many seconds' worth of them at once.
    pub fn new(per_second: NonZeroU32, burst_seconds: NonZeroU32) -> Rates {
        let quota = Quota::per_second(per_second).allow_burst(per_second.saturating_mul(burst_seconds));
        Rates { limiter: RateLimiter::hashmap(quota), hasher: RandomState::new(), clock: DefaultClock::default() }
    }

    /// One more request. An error is after how many seconds the next one may come.
    pub fn admit(&self, whose: impl Hash) -> Result<(), u16> {
        self.limiter
            .check_key(&self.bucket(whose))
            .map_err(|not_until| u16::try_from(not_until.wait_time_from(self.clock.now()).as_secs() + 1).unwrap_or(u16::MAX))
    }

    fn bucket(&self, whose: impl Hash) -> u16 {
        self.hasher.hash_one(whose) as u16
    }
}

/// Whom an address stands for: who has one IPv6 address has 2⁶⁴ of them.
pub fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> u128 {
        network(text.parse().expect("an address"))
    }

    #[test]
    fn one_does_not_take_the_turns_of_others() {
        let rates = Rates::new(NonZeroU32::new(2).expect("two"), NonZeroU32::new(10).expect("ten"));
        assert_eq!((0..100).filter(|_| rates.admit("laptop").is_ok()).count(), 20);
        assert_eq!(rates.admit("laptop"), Err(1));
        let other = (0..).find(|n| rates.bucket(n) != rates.bucket("laptop")).expect("one of many");
        assert_eq!(rates.admit(other), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_a_mapped_address_the_same_in_other_words() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:2"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }
}
