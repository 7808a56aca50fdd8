//! Lists that say what a value is not: hostile, whoever used it. And the operator's own, which go first.
//!
//! An attacker chooses what stands in a log. Whoever feeds a firewall from it would otherwise be made to block his own mail server,
//! a resolver, or the mirror his updates come from, by somebody who types its name at a honeypot.
use super::{resolvers, software_hosts};
use crate::events::Field;
use crate::index::pattern::Pattern;
use crate::network::Network;
use crate::sinks::guard::Guard;
use std::net::IpAddr;
use url::{Host, Url};

/// Names of the lists, as they are shown.
pub const OWN: &str = "own";
pub const ALLOWED: &str = "allow";
pub const RESERVED: &str = "private and reserved addresses";
pub const RESOLVERS: &str = "public resolvers";
pub const SOFTWARE_HOSTS: &str = "top domains and software";
pub const SPECIAL_NAMES: &str = "special-use names";
pub const EMPTY_FILES: &str = "hashes of nothing";
/// Not a list of names: what attackers asked for through tunnels, or attacked, and nothing else. Those are other victims.
pub const TARGETS: &str = "targets of attacks";

/// Names that no public host has (RFC 6761, RFC 6762, RFC 8375, RFC 9476) and what is used like them.
const SPECIAL_SUFFIXES: &[&str] =
    &["localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "arpa", "test", "invalid", "example", "alt"];

/// Of the file without a byte, which every failed download leaves, and of an empty line: MD5, SHA-1, SHA-256, SHA-512.
const EMPTY_FILE_HASHES: &[&str] = &[
    "d41d8cd98f00b204e9800998ecf8427e",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
    "68b329da9893e34099c7d8ad5cb9c940",
    "adc83b19e793491b1c6ea0fd8b46cd9f32e592fc",
    "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
    "be688838ca8686e5c90689bf2ab585cef1137c999b48c70b92f67a5c34dc15697b5d11c982ed6d71be1e1e7f7b4e0733884aa97c3f7a339a8ed03577cf74be09",
];

/// Longest line of a list, bytes.
const ENTRY_BYTES_MAX: usize = 512;

/// A line of the operator's lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Network(Network),
    /// A value, or one with stars; in lower case.
    Value(Pattern),
}

impl Entry {
    /// An address, a network, or a value in which `*` stands for any characters. The error says what to write instead.
    pub fn parse(text: &str) -> Result<Entry, String> {
        let text = text.trim();
        if let Ok(network) = text.parse::<Network>() {
            return Ok(Entry::Network(network));
        }
        if text.len() > ENTRY_BYTES_MAX {
            return Err(format!("is longer than {ENTRY_BYTES_MAX} bytes: write its beginning and a *"));
        }
        if text.bytes().all(|byte| matches!(byte, b'*' | b'.' | b' ')) {
            return Err(
                "would stand for everything: write a network such as \"198.51.100.0/24\" or a value such as \"*.example.com\"".into()
            );
        }
        if let Some((address, _)) = text.split_once('/')
            && address.parse::<IpAddr>().is_ok()
        {
            return Err("is no network: behind the / goes the number of bits, such as \"198.51.100.0/24\"".into());
        }
        let text = text.to_lowercase();
        let pieces: Vec<Vec<u8>> = text.split('*').map(|piece| piece.as_bytes().to_vec()).collect();
        Ok(Entry::Value(if pieces.len() == 1 { Pattern::Exact(text.into_bytes()) } else { Pattern::Wildcard(pieces) }))
    }

    fn matches(&self, value: &str, place: &Place) -> bool {
        match self {
            Entry::Network(network) => matches!(place, Place::Address(address) if network.contains(*address)),
            Entry::Value(pattern) => {
                pattern.matches(value.as_bytes()) || matches!(place, Place::Name(name) if pattern.matches(name.as_bytes()))
            }
        }
    }
}

/// What the lists say of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Not hostile, by the list of that name.
    Harmless(&'static str),
    /// The operator says that it is.
    Denied,
    Unlisted,
}

impl Judged {
    /// With what its events say: what was only ever attacked is not hostile, unless the operator says so.
    pub fn of_target(self, is_target: bool) -> Judged {
        if is_target && self == Judged::Unlisted { Judged::Harmless(TARGETS) } else { self }
    }
}

/// The operator's lists; those that are compiled in need not be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    pub own: Vec<Entry>,
    pub allow: Vec<Entry>,
    pub deny: Vec<Entry>,
}

impl Lists {
    /// The operator's word goes before the lists that are compiled in, and what he spares before what he denies: better one address
    /// too few is blocked than one too many.
    pub fn judge(&self, kind: Field, value: &str) -> Judged {
        let place = place_of(kind, value);
        let lower = value.to_lowercase();
        let listed = |entries: &[Entry]| entries.iter().any(|entry| entry.matches(&lower, &place));
        if listed(&self.own) {
            Judged::Harmless(OWN)
        } else if listed(&self.allow) {
            Judged::Harmless(ALLOWED)
        } else if listed(&self.deny) {
            Judged::Denied
        } else {
            compiled_in(kind, &lower, &place).map_or(Judged::Unlisted, Judged::Harmless)
        }
    }
}

/// Where a value leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(IpAddr),
    /// In lower case, without the dot at the end.
    Name(String),
    Nowhere,
}

impl Place {
    fn of(text: &str) -> Place {
        let text = text.trim_end_matches('.');
        match text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => Place::Address(address.to_canonical()),
            Err(_) if text.is_empty() => Place::Nowhere,
            Err(_) => Place::Name(text.to_lowercase()),
        }
    }
}

fn place_of(kind: Field, value: &str) -> Place {
    match kind {
        Field::Domain => Place::of(value),
        // A honeypot may write a name for an address; that it is attacked from there makes it none of ours.
        Field::SrcIp | Field::Ipv4 | Field::Ipv6 => match Place::of(value) {
            Place::Name(_) => Place::Nowhere,
            place => place,
        },
        Field::Email => value.rsplit_once('@').map_or(Place::Nowhere, |(_, host)| Place::of(host)),
        Field::Url => {
            let parsed = if value.contains("://") { Url::parse(value) } else { Url::parse(&format!("http://{value}")) };
            match parsed.as_ref().map(Url::host) {
                Ok(Some(Host::Ipv4(address))) => Place::Address(address.into()),
                Ok(Some(Host::Ipv6(address))) => Place::Address(IpAddr::from(address).to_canonical()),
                // Of schemes that it does not know, an address is a name to the parser.
                Ok(Some(Host::Domain(name))) => Place::of(name),
                _ => Place::Nowhere,
            }
        }
        _ => Place::Nowhere,
    }
}

/// Whether values of this kind stand in texts as what is attacked through tunnels, too: their events with it as target tell.
pub fn may_be_target(kind: Field) -> bool {
    matches!(kind, Field::Domain | Field::Ipv4 | Field::Ipv6)
}

/// The host that a URL leads to, or the domain of an e-mail address.
pub fn host_of(kind: Field, value: &str) -> Option<String> {
    match (kind, place_of(kind, value)) {
        (Field::Url | Field::Email, Place::Address(address)) => Some(address.to_string()),
        (Field::Url | Field::Email, Place::Name(name)) => Some(name),
        _ => None,
    }
}

fn compiled_in(kind: Field, lower: &str, place: &Place) -> Option<&'static str> {
    match place {
        Place::Address(address) if Guard::default().check(*address).is_err() => Some(RESERVED),
        Place::Address(address) if resolvers::is_resolver(*address) => Some(RESOLVERS),
        Place::Name(name) if is_special(name) => Some(SPECIAL_NAMES),
        // Anybody has an address of e-mail there: it is the person's, not the host's.
        Place::Name(name) if kind != Field::Email && software_hosts::is_software_host(name) => Some(SOFTWARE_HOSTS),
        Place::Nowhere if is_hash(kind) && EMPTY_FILE_HASHES.contains(&lower) => Some(EMPTY_FILES),
        _ => None,
    }
}

fn is_special(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, last)) => SPECIAL_SUFFIXES.contains(&last),
        // A name without a dot is one of a network of somebody's own.
        None => true,
    }
}

/// Whether the kind's values are hashes of files.
pub fn is_hash(kind: Field) -> bool {
    matches!(kind, Field::Shasum | Field::Md5 | Field::Sha1 | Field::Sha256 | Field::Sha512)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(texts: &[&str]) -> Vec<Entry> {
        texts.iter().map(|text| Entry::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
    }

    #[test]
    fn what_is_not_hostile_is_on_a_list_however_it_is_written() {
        let cases = [
            (Field::SrcIp, "10.1.2.3", Some(RESERVED)),
            (Field::SrcIp, "::ffff:192.168.1.1", Some(RESERVED)),
            (Field::Ipv4, "8.8.8.8", Some(RESOLVERS)),
            (Field::Ipv6, "2606:4700:4700::1111", Some(RESOLVERS)),
            (Field::SrcIp, "185.220.101.1", None),
            (Field::SrcIp, "not an address", None),
            (Field::Url, "http://127.0.0.1/x", Some(RESERVED)),
            (Field::Url, "http://0x7f000001/x", Some(RESERVED)),
            (Field::Url, "http://[::1]:80/", Some(RESERVED)),
            (Field::Url, "tftp://10.0.0.1/bin", Some(RESERVED)),
            (Field::Url, "https://1.1.1.1/dns-query", Some(RESOLVERS)),
            (Field::Url, "http://GITHUB.com./x/y.sh", Some(SOFTWARE_HOSTS)),
            (Field::Url, "raw.githubusercontent.com/x/y.sh", Some(SOFTWARE_HOSTS)),
            (Field::Url, "http://github.com@evil.top/x", None),
            (Field::Url, "http://evil.top/github.com", None),
            (Field::Url, "http://evil.top\\@github.com/", None),
            (Field::Url, "http://router/setup", Some(SPECIAL_NAMES)),
            (Field::Domain, "printer.local", Some(SPECIAL_NAMES)),
            (Field::Domain, "deb.debian.org", Some(SOFTWARE_HOSTS)),
            (Field::Domain, "xdebian.org", None),
            (Field::Email, "thief@gmail.com", None),
            (Field::Email, "root@host.internal", Some(SPECIAL_NAMES)),
            (Field::Shasum, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Some(EMPTY_FILES)),
            (Field::Md5, "D41D8CD98F00B204E9800998ECF8427E", Some(EMPTY_FILES)),
            (Field::Btc, "10.0.0.1", None),
        ];
        for (kind, value, list) in cases {
            let expected = list.map_or(Judged::Unlisted, Judged::Harmless);
            assert_eq!(Lists::default().judge(kind, value), expected, "{} {value}", kind.name());
        }
    }

    #[test]
    fn the_operators_lists_go_first_and_sparing_before_denying() {
        let lists = Lists {
            own: entries(&["185.1.2.0/24", "*.my-company.com"]),
            allow: entries(&["https://partner.example.org/*", "scanner.top"]),
            deny: entries(&["185.1.2.3", "*.github.io", "evil@gmail.com", "github.com", "scanner.top"]),
        };
        let cases = [
            (Field::SrcIp, "185.1.2.3", Judged::Harmless(OWN)),
            (Field::SrcIp, "::ffff:185.1.2.4", Judged::Harmless(OWN)),
            (Field::Url, "http://185.1.2.9:8080/x", Judged::Harmless(OWN)),
            (Field::Email, "ceo@MAIL.my-company.com", Judged::Harmless(OWN)),
            (Field::Url, "https://Partner.example.org/feed", Judged::Harmless(ALLOWED)),
            (Field::Url, "http://scanner.top/probe", Judged::Harmless(ALLOWED)),
            (Field::Url, "https://miner.github.io/x", Judged::Denied),
            (Field::Domain, "github.com", Judged::Denied),
            (Field::Domain, "api.github.com", Judged::Harmless(SOFTWARE_HOSTS)),
            (Field::Email, "evil@gmail.com", Judged::Denied),
            (Field::SrcIp, "185.1.3.1", Judged::Unlisted),
        ];
        for (kind, value, expected) in cases {
            assert_eq!(lists.judge(kind, value), expected, "{} {value}", kind.name());
        }
    }

    #[test]
    fn an_entry_that_would_stand_for_everything_or_is_half_a_network_is_refused() {
        for text in ["", "*", "**", "*.*", " . ", "10.0.0.0/33", "10.0.0.0/x", "::/129"] {
            assert!(Entry::parse(text).is_err(), "{text:?}");
        }
        assert!(Entry::parse(&"a".repeat(513)).is_err());
        for text in ["10.0.0.0/8", "fd00::/8", "*.example.com", "a"] {
            assert!(Entry::parse(text).is_ok(), "{text:?}");
        }
    }
}
