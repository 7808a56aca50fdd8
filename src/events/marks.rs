//! What of a session tells who it was: the client, what it tried, from where. Kept so that the marks of a session are made of those of
//! its parts, in whatever blocks and segments these lie; the commands are a [`Sequence`](super::act::Sequence).
//!
//! `ops/REPORTS.md`, "Clusters", defines them; this is that definition.
use super::id::EventId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The marks of a session, or of a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks {
    /// [`client`] of its first HASSH; 0: it has none.
    pub client: u64,
    pub credentials: Credentials,
    /// The first one.
    pub address: Address,
}

impl Marks {
    /// Adds those of the part that lies behind.
    #[inline]
    pub fn then(&mut self, next: &Marks) {
        if self.client == 0 {
            self.client = next.client;
        }
        if self.address == Address::None {
            self.address = next.address;
        }
        self.credentials = self.credentials.and(next.credentials);
    }
}

/// What a HASSH is known by, never 0.
pub fn client(hassh: &[u8]) -> u64 {
    EventId::of_line(hassh).low64().max(1)
}

/// A hash over credentials in any order, each as often as it was tried, and how many these were.
///
/// The sum of the credentials' BLAKE3 modulo 2^64: it joins, and an order does not change it. A set, in which what was tried twice
/// counts once, could not be made of its parts without a look at them. Two sums may be made equal by somebody who wants to; then their
/// sessions are one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    pub hash: u64,
    pub count: u32,
}

impl Credentials {
    /// Of one `username:password`.
    pub fn of(credential: &[u8]) -> Credentials {
        Credentials { hash: EventId::of_line(credential).low64(), count: 1 }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Credentials) -> Credentials {
        Credentials { hash: self.hash.wrapping_add(other.hash), count: self.count.saturating_add(other.count) }
    }
}

/// Where somebody came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Nobody said, or what was said is no address.
    #[default]
    None,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl Address {
    /// Of text. An IPv6 address that stands for an IPv4 one is that one.
    pub fn parse(text: &[u8]) -> Address {
        let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok());
        match parsed.map(|address| address.to_canonical()) {
            None => Address::None,
            Some(IpAddr::V4(address)) => Address::V4(address),
            Some(IpAddr::V6(address)) => Address::V6(address),
        }
    }

    /// The address, when there is one.
    pub fn known(self) -> Option<IpAddr> {
        match self {
            Address::None => None,
            Address::V4(address) => Some(address.into()),
            Address::V6(address) => Some(address.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_as_what_they_are() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("2001:DB8::0001", Some("2001:db8::1")),
            ("", None),
            ("192.0.2.1:22", None),
            ("host.example", None),
            ("192.0.2.256", None),
        ] {
            assert_eq!(Address::parse(text.as_bytes()).known().map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
        assert_eq!(Address::parse(b"\xff\xfe"), Address::None);
    }

    fn part() -> impl Strategy<Value = Marks> {
        (0..3u64, proptest::collection::vec("[ab]:[ab]", 0..4), 0..3u8).prop_map(|(client, credentials, address)| Marks {
            client,
            credentials: credentials.iter().fold(Credentials::default(), |sum, one| sum.and(Credentials::of(one.as_bytes()))),
            address: if address == 0 { Address::None } else { Address::V4([192, 0, 2, address].into()) },
        })
    }

    proptest! {
        #[test]
        fn marks_do_not_depend_on_where_a_session_was_cut(parts in proptest::collection::vec(part(), 1..7), cut in 0..7usize) {
            let whole = |parts: &[Marks]| parts.iter().fold(Marks::default(), |mut sum, next| { sum.then(next); sum });
            let (front, back) = parts.split_at(cut.min(parts.len()));
            let mut joined = whole(front);
            joined.then(&whole(back));
            prop_assert_eq!(joined, whole(&parts));
            prop_assert_eq!(joined.client, parts.iter().map(|part| part.client).find(|client| *client > 0).unwrap_or(0));
        }

        #[test]
        fn credentials_are_the_same_in_any_order_and_not_when_tried_more_often(tried in proptest::collection::vec("[a-c]:x", 1..6)) {
            let of = |tried: &[String]| tried.iter().fold(Credentials::default(), |sum, one| sum.and(Credentials::of(one.as_bytes())));
            let mut turned = tried.clone();
            turned.reverse();
            prop_assert_eq!(of(&turned), of(&tried));
            turned.push(tried[0].clone());
            prop_assert_ne!(of(&turned), of(&tried));
        }
    }
}
