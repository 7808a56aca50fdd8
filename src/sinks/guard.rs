//! Which addresses a sink may connect to: the guard against being sent where only this machine can go (SSRF).
//!
//! A sink's address comes from the configuration, but what its name resolves to and where it redirects to is decided by
//! others. So every URL is checked before it is asked for, and every name is resolved here, once: the addresses that were
//! checked are the ones that are connected to, and a second answer of the name server changes nothing.
//!
//! Let through is what is public; all else must be listed. Addresses that carry another one (IPv4-mapped, NAT64, 6to4, Teredo,
//! ISATAP) must be allowed as what they are and as what they carry. The registries:
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>.
use crate::network::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use url::{Host, Url};

/// Of one name; more are not tried.
const ADDRESSES_MAX: usize = 16;

/// Where a connection was not made to, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("{address} is {what}: if it is meant, list it in allow_private")]
    Address { address: IpAddr, what: &'static str },
    #[error("the name {host} leads to {address}, which is {what}: if it is meant, list it in allow_private")]
    Name { host: String, address: IpAddr, what: &'static str },
    #[error("{0}")]
    Url(&'static str),
}

/// Decides where connections may go.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Vec<Network>,
}

impl Guard {
    /// `allowed`: what is let through though it is not public.
    pub fn new(allowed: Vec<Network>) -> Guard {
        Guard { allowed: allowed.into_iter().map(canonical).collect() }
    }

    /// Checks everything about a URL but what its name resolves to, which [`Resolver`] does.
    pub fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Forbidden::Url("the URL must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::Url("the URL must not hold a user or a password"));
        }
        if url.port() == Some(0) {
            return Err(Forbidden::Url("the URL must not have port 0"));
        }
        // The parser has made addresses of decimal, octal, hexadecimal and shortened ones.
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into()),
            Some(Host::Ipv6(address)) => self.check(address.into()),
            Some(Host::Domain(name)) if !name.trim_end_matches('.').is_empty() => Ok(()),
            _ => Err(Forbidden::Url("the URL must have a host")),
        }
    }

    pub fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        let canonical = address.to_canonical();
        let mut faces = [Some(canonical), None, None];
        if let IpAddr::V6(v6) = canonical {
            let [first, second] = carried(v6);
            (faces[1], faces[2]) = (first.map(IpAddr::V4), second.map(IpAddr::V4));
        }
        for face in faces.into_iter().flatten() {
            if let Some(what) = special(face)
                && !self.lists(face, what)
                // Who lists the outer address means what it carries, too.
                && !self.allowed.contains(&Network::one(canonical))
            {
                return Err(Forbidden::Address { address, what });
            }
        }
        Ok(())
    }

    /// A metadata service gives its credentials to whoever asks, so listing a network around it is not enough.
    fn lists(&self, address: IpAddr, what: &str) -> bool {
        let exact = what == METADATA;
        self.allowed.iter().any(|network| if exact { *network == Network::one(address) } else { network.contains(address) })
    }
}

const METADATA: &str = "the address of a cloud's metadata service";

/// Not public: (network, what it is). The first that fits counts.
const SPECIAL_V4: &[([u8; 4], u8, &str)] = &[
    ([169, 254, 169, 254], 32, METADATA),
    ([169, 254, 170, 2], 32, METADATA),
    ([169, 254, 170, 23], 32, METADATA),
    ([100, 100, 100, 200], 32, METADATA),
    ([192, 0, 0, 192], 32, METADATA),
    // Azure's, in the midst of public addresses.
    ([168, 63, 129, 16], 32, METADATA),
    ([0, 0, 0, 0], 32, "unspecified"),
    ([0, 0, 0, 0], 8, "of this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "of a carrier's network"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 31, 196, 0], 24, "reserved"),
    ([192, 52, 193, 0], 24, "reserved"),
    ([192, 88, 99, 0], 24, "reserved"),
    ([192, 168, 0, 0], 16, "private"),
    ([192, 175, 48, 0], 24, "reserved"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

const SPECIAL_V6: &[([u16; 8], u8, &str)] = &[
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, METADATA),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, METADATA),
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "private"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "reserved"),
    // Teredo is not special itself; what it carries is looked at. The rest of its block is for protocols.
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "for benchmarks"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private (unique local)"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "private (site-local)"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

/// What else is public in IPv6: global unicast, and the prefix of NAT64.
const GLOBAL_V6: ([u16; 8], u8) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const NAT64: ([u16; 8], u8) = ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const TEREDO: ([u16; 8], u8) = ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);
const PROTOCOLS_V6: ([u16; 8], u8) = ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23);

/// Why an address is not public; what it carries is not looked at.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => {
            let within =
                |&&(net, bits, _): &&([u8; 4], u8, &str)| Network { address: Ipv4Addr::from(net).into(), bits }.contains(v4.into());
            SPECIAL_V4.iter().find(within).map(|&(_, _, what)| what)
        }
        IpAddr::V6(v6) => {
            if let Some(&(_, _, what)) = SPECIAL_V6.iter().find(|&&(net, bits, _)| inside(v6, (net, bits))) {
                return Some(what);
            }
            let public = inside(v6, NAT64) || inside(v6, TEREDO) || (inside(v6, GLOBAL_V6) && !inside(v6, PROTOCOLS_V6));
            (!public).then_some("reserved")
        }
    }
}

/// IPv4 addresses that packets to this address end up at. IPv4-mapped ones have become IPv4 before.
fn carried(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    let last = v4(segments[6], segments[7]);
    if inside(address, NAT64) {
        [last, None]
    } else if segments[0] == 0x2002 {
        [v4(segments[1], segments[2]), None]
    } else if inside(address, TEREDO) {
        // The server, and the client with its bits inverted (RFC 4380).
        [v4(segments[2], segments[3]), v4(!segments[6], !segments[7])]
    } else if matches!(segments[4], 0 | 0x200) && segments[5] == 0x5efe {
        // ISATAP
        [last, None]
    } else {
        [None, None]
    }
}

fn inside(address: Ipv6Addr, (net, bits): ([u16; 8], u8)) -> bool {
    Network { address: Ipv6Addr::from(net).into(), bits }.contains(address.into())
}

/// IPv4-mapped networks are what they map: addresses are compared in that form.
fn canonical(network: Network) -> Network {
    match (network.address, network.address.to_canonical()) {
        (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if network.bits >= 96 => Network { address: v4, bits: network.bits - 96 },
        _ => network,
    }
}

/// Resolves names for the HTTP client and keeps to itself what may not be connected to.
#[derive(Clone, Debug)]
pub struct Resolver(pub Arc<Guard>);

impl Resolver {
    /// Of the addresses a name has those that are allowed; when none is, why.
    pub fn select(&self, host: &str, addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Forbidden> {
        let (mut selected, mut forbidden) = (Vec::new(), None);
        for address in addresses.take(ADDRESSES_MAX) {
            match self.0.check(address.ip()) {
                Ok(()) => selected.push(address),
                Err(Forbidden::Address { address, what }) => {
                    forbidden.get_or_insert(Forbidden::Name { host: host.to_owned(), address, what });
                }
                Err(other) => {
                    forbidden.get_or_insert(other);
                }
            }
        }
        match forbidden {
            Some(forbidden) if selected.is_empty() => Err(forbidden),
            _ => Ok(selected),
        }
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            // The port is the URL's; the client puts it in.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let selected = resolver.select(name.as_str(), found)?;
            Ok(Box::new(selected.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        Guard::new(allowed.iter().map(|text| text.parse().unwrap_or_else(|_| panic!("{text} is a network"))).collect())
    }

    /// What the guard finds in a URL; "" when it lets it through.
    fn verdict(guard: &Guard, url: &str) -> &'static str {
        match guard.check_url(&Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))) {
            Ok(()) => "",
            Err(Forbidden::Address { what, .. } | Forbidden::Name { what, .. }) => what,
            Err(Forbidden::Url(_)) => "URL",
        }
    }

    #[test]
    fn only_public_addresses_are_let_through() {
        let cases = [
            ("http://8.8.8.8/", ""),
            ("https://1.1.1.1:8443/x", ""),
            ("http://9.255.255.255/", ""),
            ("http://11.0.0.0/", ""),
            ("http://100.63.255.255/", ""),
            ("http://100.128.0.0/", ""),
            ("http://126.255.255.255/", ""),
            ("http://128.0.0.1/", ""),
            ("http://169.253.255.255/", ""),
            ("http://172.15.255.255/", ""),
            ("http://172.32.0.0/", ""),
            ("http://192.167.255.255/", ""),
            ("http://192.169.0.0/", ""),
            ("http://198.17.255.255/", ""),
            ("http://198.20.0.0/", ""),
            ("http://223.255.255.255/", ""),
            ("http://receiver.example/", ""),
            ("http://[2606:4700:4700::1111]/", ""),
            ("http://[2a00:1450::1]:9200/", ""),
            ("http://127.0.0.1/", "loopback"),
            ("http://127.255.255.254/", "loopback"),
            // How else a loopback address can be written.
            ("http://2130706433/", "loopback"),
            ("http://0x7f000001/", "loopback"),
            ("http://0x7f.1/", "loopback"),
            ("http://0177.0.0.1/", "loopback"),
            ("http://127.1/", "loopback"),
            ("http://127.0.0.1./", "loopback"),
            ("http://①②⑦.0.0.1/", "loopback"),
            ("http://127。0。0。1/", "loopback"),
            ("http://%31%32%37.0.0.1/", "loopback"),
            ("http://0/", "unspecified"),
            ("http://0.0.0.0/", "unspecified"),
            ("http://0.1.2.3/", "of this network"),
            ("http://10.0.0.1/", "private"),
            ("http://10.255.255.255/", "private"),
            ("http://0xA.1/", "private"),
            ("http://172.16.0.1/", "private"),
            ("http://172.31.255.255/", "private"),
            ("http://192.168.0.1/", "private"),
            ("http://3232235777/", "private"),
            ("http://100.64.0.1/", "of a carrier's network"),
            ("http://100.127.255.255/", "of a carrier's network"),
            ("http://169.254.0.1/", "link-local"),
            ("http://169.254.169.254/latest/meta-data/", METADATA),
            ("http://0xa9fea9fe/", METADATA),
            ("http://169.254.170.2/v2/credentials", METADATA),
            ("http://100.100.100.200/", METADATA),
            ("http://192.0.0.192/", METADATA),
            ("http://168.63.129.16/", METADATA),
            ("http://192.0.0.1/", "reserved"),
            ("http://192.88.99.1/", "reserved"),
            ("http://192.0.2.1/", "for documentation"),
            ("http://198.51.100.7/", "for documentation"),
            ("http://203.0.113.255/", "for documentation"),
            ("http://198.18.0.1/", "for benchmarks"),
            ("http://198.19.255.255/", "for benchmarks"),
            ("http://224.0.0.1/", "multicast"),
            ("http://239.255.255.255/", "multicast"),
            ("http://240.0.0.1/", "reserved"),
            ("http://255.255.255.255/", "broadcast"),
            ("http://[::1]/", "loopback"),
            ("http://[::]/", "unspecified"),
            ("http://[::2]/", "reserved"),
            // IPv4-compatible, deprecated.
            ("http://[::8.8.8.8]/", "reserved"),
            ("http://[::127.0.0.1]/", "reserved"),
            // IPv4-mapped.
            ("http://[::ffff:127.0.0.1]/", "loopback"),
            ("http://[::ffff:a9fe:a9fe]/", METADATA),
            ("http://[::ffff:10.1.2.3]/", "private"),
            ("http://[::ffff:8.8.8.8]/", ""),
            // NAT64.
            ("http://[64:ff9b::8.8.8.8]/", ""),
            ("http://[64:ff9b::127.0.0.1]/", "loopback"),
            ("http://[64:ff9b::a9fe:a9fe]/", METADATA),
            ("http://[64:ff9b::192.168.1.1]/", "private"),
            ("http://[64:ff9b:1::8.8.8.8]/", "private"),
            ("http://[64:ff9b:2::1]/", "reserved"),
            // 6to4.
            ("http://[2002:808:808::1]/", ""),
            ("http://[2002:7f00:1::1]/", "loopback"),
            ("http://[2002:a00:1::]/", "private"),
            // Teredo: the server's address, and the client's inverted.
            ("http://[2001:0:808:808:0:0:f7f7:f7f7]/", ""),
            ("http://[2001:0:a00:1:0:0:f7f7:f7f7]/", "private"),
            ("http://[2001:0:808:808:0:0:80ff:fffe]/", "loopback"),
            // ISATAP.
            ("http://[2a00::5efe:192.168.1.1]/", "private"),
            ("http://[2a00::200:5efe:127.0.0.1]/", "loopback"),
            ("http://[fe80::1]/", "link-local"),
            ("http://[febf:ffff::1]/", "link-local"),
            ("http://[fec0::1]/", "private (site-local)"),
            ("http://[fc00::1]/", "private (unique local)"),
            ("http://[fdff::1]/", "private (unique local)"),
            ("http://[fd00:ec2::254]/", METADATA),
            ("http://[fd20:ce::254]/", METADATA),
            ("http://[ff02::1]/", "multicast"),
            ("http://[2001:db8::1]/", "for documentation"),
            ("http://[3fff::1]/", "for documentation"),
            ("http://[2001:2::1]/", "for benchmarks"),
            ("http://[2001:10::1]/", "reserved"),
            ("http://[2001:20::1]/", "reserved"),
            ("http://[100::1]/", "reserved"),
            ("http://[5f00::1]/", "reserved"),
            ("http://[4000::1]/", "reserved"),
            ("ftp://8.8.8.8/", "URL"),
            ("file:///etc/passwd", "URL"),
            ("http://user@8.8.8.8/", "URL"),
            ("http://:password@8.8.8.8/", "URL"),
            ("http://8.8.8.8:0/", "URL"),
            ("http://./", "URL"),
        ];
        let guard = guard(&[]);
        for (url, expected) in cases {
            assert_eq!(verdict(&guard, url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_listed_is_let_through_and_nothing_beside_it() {
        let cases = [
            ("10.0.0.0/8", "http://10.255.0.1/", ""),
            ("10.0.0.0/8", "http://11.0.0.1/", ""),
            ("10.0.0.0/8", "http://192.168.0.1/", "private"),
            ("10.0.0.0/8", "http://[::ffff:10.0.0.1]/", ""),
            ("10.0.0.0/8", "http://[64:ff9b::10.0.0.1]/", ""),
            ("::ffff:10.0.0.0/104", "http://10.1.2.3/", ""),
            ("10.0.0.7", "http://10.0.0.7/", ""),
            ("10.0.0.7", "http://10.0.0.8/", "private"),
            ("127.0.0.1", "http://127.0.0.2/", "loopback"),
            ("::1", "http://[::1]/", ""),
            ("::1", "http://127.0.0.1/", "loopback"),
            ("fd00::/8", "http://[fd12::1]/", ""),
            ("2002:a00:1::/128", "http://[2002:a00:1::]/", ""),
            // A metadata service must be listed itself.
            ("169.254.0.0/16", "http://169.254.1.1/", ""),
            ("169.254.0.0/16", "http://169.254.169.254/", METADATA),
            ("169.254.169.254", "http://169.254.169.254/", ""),
            ("0.0.0.0/0", "http://127.0.0.1/", ""),
            ("0.0.0.0/0", "http://[::1]/", "loopback"),
            ("::/0", "http://127.0.0.1/", "loopback"),
        ];
        for (allowed, url, expected) in cases {
            assert_eq!(verdict(&guard(&[allowed]), url), expected, "{allowed}: {url}");
        }
    }

    #[test]
    fn of_the_addresses_of_a_name_only_the_allowed_ones_are_connected_to() {
        let resolver = Resolver(Arc::new(guard(&["10.0.0.1"])));
        let socket = |text: &str| SocketAddr::new(text.parse().expect("an address"), 0);
        let select = |addresses: &[&str]| resolver.select("r.example", addresses.iter().map(|text| socket(text)));
        assert_eq!(select(&["8.8.8.8", "127.0.0.1", "::1", "10.0.0.1"]), Ok(vec![socket("8.8.8.8"), socket("10.0.0.1")]));
        let error = select(&["169.254.169.254", "::1"]).expect_err("none is allowed");
        let expected = "the name r.example leads to 169.254.169.254, which is the address of a cloud's metadata service: \
                        if it is meant, list it in allow_private";
        assert_eq!(error.to_string(), expected);
        assert_eq!(select(&[]), Ok(vec![]), "the client says itself that there is none");
        let many: Vec<String> = (0..100).map(|last| format!("8.8.8.{last}")).collect();
        assert_eq!(select(&many.iter().map(String::as_str).collect::<Vec<_>>()).map(|found| found.len()), Ok(ADDRESSES_MAX));
    }
}
