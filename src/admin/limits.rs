//! How many requests an address and a key may make: token buckets, of as many as are remembered at once.
use super::problem::Problem;
use governor::clock::{Clock, DefaultClock};
use governor::{Quota, RateLimiter};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::RwLock;

/// Seconds of a bucket's rate that may come at once.
const BURST_SECONDS: u32 = 10;
/// Buckets that are remembered; past that, those that are full again are forgotten.
const BUCKETS_MAX: usize = 10_000;

type Buckets<K> = RateLimiter<K, governor::state::keyed::HashMapStateStore<K>, DefaultClock>;

/// The buckets of both kinds, and the rates they were made with: a reload that changes a rate makes them anew.
pub(super) struct Limits {
    addresses: RwLock<(u32, Buckets<IpAddr>)>,
    keys: RwLock<(u32, Buckets<String>)>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { addresses: RwLock::new((1, buckets(1))), keys: RwLock::new((1, buckets(1))) }
    }
}

fn buckets<K: Hash + Eq + Clone>(per_second: u32) -> Buckets<K> {
    let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    RateLimiter::hashmap(Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1))))
}

impl Limits {
    /// An IPv6 host has a whole /64 to choose from: it counts as one.
    pub fn address(&self, address: IpAddr, per_second: u32) -> Result<(), Problem> {
        let host = match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
            address => address,
        };
        admit(&self.addresses, &host, per_second)
    }

    pub fn key(&self, name: &str, per_second: u32) -> Result<(), Problem> {
        admit(&self.keys, &name.to_owned(), per_second)
    }
}

fn admit<K: Hash + Eq + Clone>(limit: &RwLock<(u32, Buckets<K>)>, whose: &K, per_second: u32) -> Result<(), Problem> {
    if limit.read().unwrap_or_else(|poisoned| poisoned.into_inner()).0 != per_second {
        *limit.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = (per_second, buckets(per_second));
    }
    let limit = limit.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let buckets = &limit.1;
    if buckets.len() >= BUCKETS_MAX {
        buckets.retain_recent();
        if buckets.len() >= BUCKETS_MAX {
            return Err(Problem::too_many(1));
        }
    }
    buckets.check_key(whose).map_err(|until| {
        let seconds = until.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
        Problem::too_many(u16::try_from(seconds).unwrap_or(u16::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_bucket_and_a_network_of_ipv6_one() {
        let limits = Limits::default();
        let one: IpAddr = "192.0.2.1".parse().expect("an address");
        assert_eq!((0..100).filter(|_| limits.address(one, 2).is_ok()).count(), 20);
        let refused = limits.address(one, 2).expect_err("too many");
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
        assert!(limits.address("::ffff:192.0.2.1".parse().expect("mapped"), 2).is_err());
        assert!(limits.address("192.0.2.2".parse().expect("another"), 2).is_ok());
        let network = (0..100u16).filter(|host| limits.address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, *host)), 2).is_ok());
        assert_eq!(network.count(), 20);
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_than_that() {
        let limits = Limits::default();
        let admitted = (0..3 * BUCKETS_MAX as u32).filter(|&host| limits.address(IpAddr::V4(host.into()), 1).is_ok()).count();
        assert!((BUCKETS_MAX..2 * BUCKETS_MAX + 2_000).contains(&admitted), "{admitted}");
        assert!(limits.addresses.read().expect("not poisoned").1.len() <= BUCKETS_MAX);
    }

    #[test]
    fn another_rate_counts_at_once() {
        let limits = Limits::default();
        assert_eq!((0..100).filter(|_| limits.key("laptop", 1).is_ok()).count(), 10);
        assert_eq!((0..100).filter(|_| limits.key("laptop", 5).is_ok()).count(), 50);
    }
}
