//! Where requests may go: nowhere private, unless the operator listed it.
//!
//! What a honeypot's daemon sends could be turned against the network it stands in: by a receiver that redirects, or by a name that
//! resolves to another address the second time. So a name is resolved once, by [`Guard`], and connected to exactly those of its
//! addresses that were let through; an address in a URL is judged as it stands, whatever its spelling (the `url` crate has made
//! `0x7f.1` into 127.0.0.1 before it is seen here), also when it is wrapped into an IPv6 address.
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use url::{Host, Url};

/// An address, or all that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Network, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(drop)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>().map_err(drop))?;
        if bits <= most { Ok(Network { address, bits }) } else { Err(()) }
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same_bits(u128::from(u32::from(own)) << 96, u128::from(u32::from(other)) << 96, self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same_bits(own.into(), other.into(), self.bits),
            (IpAddr::V4(_), IpAddr::V6(other)) => other.to_ipv4_mapped().is_some_and(|other| self.contains(other.into())),
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn same_bits(a: u128, b: u128, bits: u8) -> bool {
    bits == 0 || (a ^ b) >> (128 - u32::from(bits)) == 0
}

/// Why a request must not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{address} is {what}: list it in `allow_private` if it is meant")]
    Address { address: IpAddr, what: &'static str },
    #[error("the name resolves to {address} only, which is {what}: list it in `allow_private` if it is meant")]
    Name { address: IpAddr, what: &'static str },
    #[error("the name has no address")]
    NoAddress,
    #[error("the URL has neither http nor https and a host")]
    Url,
}

/// Lets addresses through, or not. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard {
    allowed: Arc<[Network]>,
}

impl Guard {
    /// Lets through what is public, and `allowed`.
    pub fn new(allowed: Vec<Network>) -> Guard {
        Guard { allowed: allowed.into() }
    }

    /// Whether a connection to the address may be made.
    pub fn admit(&self, address: IpAddr) -> Result<(), Refusal> {
        match not_public(address) {
            Some(what) if !self.allowed.iter().any(|network| network.contains(address)) => Err(Refusal::Address { address, what }),
            _ => Ok(()),
        }
    }

    /// Whether the URL may be asked for. A name in it is judged when it is resolved.
    pub fn admit_url(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Url);
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.admit(address.into()),
            Some(Host::Ipv6(address)) => self.admit(address.into()),
            Some(Host::Domain(_)) => Ok(()),
            None => Err(Refusal::Url),
        }
    }

    /// Of a name's addresses those that may be connected to.
    fn choose(&self, addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Refusal> {
        let (mut admitted, mut refused) = (Vec::new(), Refusal::NoAddress);
        for address in addresses {
            match self.admit(address.ip()) {
                Ok(()) => admitted.push(address),
                Err(Refusal::Address { address, what }) => refused = Refusal::Name { address, what },
                Err(other) => refused = other,
            }
        }
        if admitted.is_empty() { Err(refused) } else { Ok(admitted) }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Addrs = Box::new(guard.choose(addresses)?.into_iter());
            Ok(addresses)
        })
    }
}

/// What an address is, when it is not one of the public Internet (IANA's special-purpose registries, RFC 6890 and later).
pub fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => not_public_v4(address),
        IpAddr::V6(address) => not_public_v6(address),
    }
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "of this host",
        [10, ..] | [192, 168, ..] => "a private address",
        [172, second, ..] if second & 0xF0 == 16 => "a private address",
        [100, second, ..] if second & 0xC0 == 64 => "an address of a provider's own network",
        [127, ..] => "a loopback address",
        [169, 254, 169, 254] => "the metadata service of a cloud",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] | [192, 88, 99, _] => "reserved for protocols",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "for documentation only",
        [198, 18 | 19, ..] => "for benchmarks only",
        [224..=239, ..] => "a multicast address",
        [255, 255, 255, 255] => "the broadcast address",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let groups = address.segments();
    let embedded = |high: u16, low: u16| not_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match groups {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("of this host"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        // IPv4-mapped and -compatible, NAT64, 6to4: what counts is the address within.
        [0, 0, 0, 0, 0, 0 | 0xFFFF, high, low] => embedded(high, low),
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xFF9B, ..] => Some("a translated address of a local network"),
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0, ..] => Some("a tunnelled address"),
        [0x2001, 0xDB8, ..] => Some("for documentation only"),
        [0x2001, second, ..] if second < 0x200 => Some("reserved for protocols"),
        [0x3FFF, second, ..] if second < 0x1000 => Some("for documentation only"),
        [first, ..] if first & 0xFE00 == 0xFC00 => Some("a private address"),
        [first, ..] if first & 0xFFC0 == 0xFE80 => Some("a link-local address"),
        [first, ..] if first & 0xFF00 == 0xFF00 => Some("a multicast address"),
        [first, ..] if first & 0xE000 == 0x2000 => None,
        _ => Some("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_let_through_however_they_are_spelt() {
        let guard = Guard::new(Vec::new());
        let refused = [
            "http://0.0.0.0/",
            "http://0.1.2.3/",
            "http://10.0.0.1/",
            "http://10.255.255.255:8080/x",
            "http://100.64.0.1/",
            "http://100.127.255.255/",
            "http://127.0.0.1/",
            "http://127.1/",
            "http://127.255.255.254/",
            "http://0x7f.0.0.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://017700000001/",
            "http://169.254.1.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://172.16.0.1/",
            "http://172.31.255.255/",
            "http://192.0.0.1/",
            "http://192.0.2.1/",
            "http://192.88.99.1/",
            "http://192.168.0.1/",
            "http://198.18.0.1/",
            "http://198.19.255.255/",
            "http://198.51.100.1/",
            "http://203.0.113.1/",
            "http://224.0.0.1/",
            "http://239.255.255.255/",
            "http://240.0.0.1/",
            "http://255.255.255.255/",
            "http://[::]/",
            "http://[::1]/",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::ffff:10.1.2.3]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://[64:ff9b:1::1]/",
            "http://[100::1]/",
            "http://[2001::1]/",
            "http://[2001:10::1]/",
            "http://[2001:20::1]/",
            "http://[2001:db8::1]/",
            "http://[3fff::1]/",
            "http://[2002:7f00:1::]/",
            "http://[2002:a00:1::1]/",
            "http://[2002:c0a8:1::1]/",
            "http://[fc00::1]/",
            "http://[fdc4:2581:575b:5a72::1]/",
            "http://[fe80::1]/",
            "http://[febf::1]/",
            "http://[fec0::1]/",
            "http://[ff02::1]/",
            "http://[5f00::1]/",
            "http://[4000::1]/",
            "http://[fd00:ec2::254]/",
            "ftp://8.8.8.8/",
            "file:///etc/passwd",
            "gopher://8.8.8.8/",
            "http://１２７.０.０.１/",
        ];
        for text in refused {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(guard.admit_url(&url).is_err(), "{text}");
        }
        let admitted = [
            "http://8.8.8.8/",
            "https://1.1.1.1/",
            "http://100.63.255.255/",
            "http://100.128.0.1/",
            "http://172.15.0.1/",
            "http://172.32.0.1/",
            "http://192.0.3.1/",
            "http://198.17.0.1/",
            "http://198.20.0.1/",
            "http://223.255.255.255/",
            "http://[2606:4700::1111]/",
            "http://[2a00:1450::1]/",
            "http://[::ffff:8.8.8.8]/",
            "http://[64:ff9b::808:808]/",
            "http://[2002:808:808::1]/",
            "https://example.com/",
            "http://localhost/",
        ];
        for text in admitted {
            assert_eq!(guard.admit_url(&Url::parse(text).expect("a URL")), Ok(()), "{text}");
        }
        assert!(refused.len() + admitted.len() >= 60);
    }

    #[test]
    fn what_the_operator_listed_is_let_through_and_nothing_beside_it() {
        let listed = ["10.1.0.0/16", "127.0.0.1", "fd00::/8"].map(|text| text.parse().expect("a network"));
        let guard = Guard::new(listed.to_vec());
        for (text, expected) in [
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("fc12::1", false),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.2.0.1", false),
        ] {
            assert_eq!(guard.admit(text.parse().expect("an address")).is_ok(), expected, "{text}");
        }
        for text in ["10.0.0.0/33", "::/129", "10.0.0", "x", "", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(()), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Network>().expect("a network").contains("1.2.3.4".parse().expect("an address")));
    }

    #[test]
    fn of_a_names_addresses_only_admitted_ones_are_connected_to() {
        let guard = Guard::new(Vec::new());
        let address = |text: &str| SocketAddr::new(text.parse().expect("an address"), 0);
        assert_eq!(guard.choose([address("127.0.0.1"), address("8.8.8.8")].into_iter()), Ok(vec![address("8.8.8.8")]));
        let refused = guard.choose([address("10.0.0.1")].into_iter());
        assert!(matches!(refused, Err(Refusal::Name { what: "a private address", .. })), "{refused:?}");
        assert_eq!(guard.choose([].into_iter()), Err(Refusal::NoAddress));
    }
}
