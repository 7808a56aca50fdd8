//! Public DNS resolvers: scripts name them to find out whether they are online, and blocking one cuts off those who use it.
//!
//! From what the operators themselves publish (Google Public DNS, Cloudflare, Quad9, OpenDNS, AdGuard, Level 3, Verisign, Yandex,
//! DNS.WATCH, CleanBrowsing, Comodo, Neustar, AliDNS, DNSPod, 114DNS, Hurricane Electric, Control D, Mullvad, dns0.eu).
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::LazyLock;

/// In no order that matters.
pub const RESOLVERS: &[&str] = &[
    "1.0.0.1",
    "1.0.0.2",
    "1.0.0.3",
    "1.1.1.1",
    "1.1.1.2",
    "1.1.1.3",
    "1.12.12.12",
    "1.2.4.8",
    "114.114.114.114",
    "114.114.115.115",
    "119.29.29.29",
    "120.53.53.53",
    "149.112.112.10",
    "149.112.112.11",
    "149.112.112.112",
    "156.154.70.1",
    "156.154.71.1",
    "180.76.76.76",
    "182.254.116.116",
    "185.222.222.222",
    "185.228.168.168",
    "185.228.168.9",
    "185.228.169.168",
    "185.228.169.9",
    "193.110.81.0",
    "194.242.2.2",
    "2001:4860:4860::6464",
    "2001:4860:4860::64",
    "2001:4860:4860::8844",
    "2001:4860:4860::8888",
    "2001:470:20::2",
    "2606:4700:4700::1001",
    "2606:4700:4700::1111",
    "2620:119:35::35",
    "2620:119:53::53",
    "2620:fe::9",
    "2620:fe::fe",
    "208.67.220.220",
    "208.67.222.222",
    "210.2.4.8",
    "223.5.5.5",
    "223.6.6.6",
    "2400:3200::1",
    "2400:3200:baba::1",
    "2a02:6b8:0:1::feed:ff",
    "2a02:6b8::feed:ff",
    "2a10:50c0::ad1:ff",
    "2a10:50c0::ad2:ff",
    "4.2.2.1",
    "4.2.2.2",
    "4.2.2.3",
    "4.2.2.4",
    "4.2.2.5",
    "4.2.2.6",
    "45.90.28.0",
    "45.90.30.0",
    "64.6.64.6",
    "64.6.65.6",
    "74.82.42.42",
    "76.76.10.0",
    "76.76.2.0",
    "77.88.8.1",
    "77.88.8.8",
    "8.20.247.20",
    "8.26.56.26",
    "8.8.4.4",
    "8.8.8.8",
    "84.200.69.80",
    "84.200.70.40",
    "9.9.9.10",
    "9.9.9.11",
    "9.9.9.9",
    "94.140.14.14",
    "94.140.15.15",
];

pub fn is_resolver(address: IpAddr) -> bool {
    static ADDRESSES: LazyLock<HashSet<IpAddr>> = LazyLock::new(|| RESOLVERS.iter().filter_map(|text| text.parse().ok()).collect());
    ADDRESSES.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_is_an_address_and_stands_there_once() {
        let mut addresses: Vec<IpAddr> = RESOLVERS.iter().map(|text| text.parse().unwrap_or_else(|_| panic!("{text}"))).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), RESOLVERS.len());
        assert!(is_resolver("2606:4700:4700:0::1111".parse().unwrap()) && !is_resolver("8.8.8.9".parse().unwrap()));
    }
}
