//! How many requests an address and a key may make: the configuration's rates, which a reload may change.
use super::problem::Problem;
use crate::access::rates::{self, Rates};
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{PoisonError, RwLock};

/// Seconds of a rate that may come at once.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// Each with the rate it was made for.
#[derive(Default)]
pub(super) struct Limits {
    addresses: RwLock<Option<(u32, Rates)>>,
    keys: RwLock<Option<(u32, Rates)>>,
}

impl Limits {
    pub fn address(&self, address: IpAddr, per_second: u32) -> Result<(), Problem> {
        admit(&self.addresses, rates::network(address), per_second)
    }

    pub fn key(&self, name: &str, per_second: u32) -> Result<(), Problem> {
        admit(&self.keys, name, per_second)
    }
}

fn admit(limit: &RwLock<Option<(u32, Rates)>>, whose: impl Hash, per_second: u32) -> Result<(), Problem> {
    if let Some((made_for, rates)) = &*limit.read().unwrap_or_else(PoisonError::into_inner)
        && *made_for == per_second
    {
        return rates.admit(whose).map_err(Problem::too_many);
    }
    let rates = Rates::new(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN), BURST_SECONDS);
    let admitted = rates.admit(whose).map_err(Problem::too_many);
    *limit.write().unwrap_or_else(PoisonError::into_inner) = Some((per_second, rates));
    admitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_rate_counts_at_once() {
        let limits = Limits::default();
        assert_eq!((0..100).filter(|_| limits.key("laptop", 1).is_ok()).count(), 10);
        assert_eq!((0..100).filter(|_| limits.key("laptop", 5).is_ok()).count(), 50);
        let refused = limits.key("laptop", 5).expect_err("too many");
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
    }

    #[test]
    fn each_address_has_its_own() {
        let limits = Limits::default();
        let one: IpAddr = "192.0.2.1".parse().expect("an address");
        assert_eq!((0..100).filter(|_| limits.address(one, 2).is_ok()).count(), 20);
        assert!(limits.address("::ffff:192.0.2.1".parse().expect("mapped"), 2).is_err());
    }
}
