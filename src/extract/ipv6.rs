//! IPv6 addresses in every form of RFC 4291, and not the times, hardware addresses and C++ names that also consist of colons.
use super::{Extractor, Found, Needs, Text};
use crate::events::Field;
use std::net::Ipv6Addr;

/// The longest address, with an IPv4 address at its end.
const ADDRESS_BYTES_MAX: usize = 45;
/// Longest zone that is read, bytes.
const ZONE_BYTES_MAX: usize = 32;

pub(super) struct Addresses;

impl Extractor for Addresses {
    fn fields(&self) -> &'static [Field] {
        &[Field::Ipv6]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.one_of(b":");
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        let bytes = text.plain.as_bytes();
        let mut from = 0;
        while let Some(colon) = memchr::memchr(b':', &bytes[from..]).map(|at| from + at) {
            let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
            let mut start = colon;
            while start > from && colon - start <= 4 && is_part(bytes[start - 1]) {
                start -= 1;
            }
            let mut end = colon;
            while end < bytes.len() && is_part(bytes[end]) {
                end += 1;
            }
            from = end;
            if end - start <= ADDRESS_BYTES_MAX + 2
                && let Some((start, end, address)) = address_in(bytes, start, end)
            {
                found.add(Field::Ipv6, &address.to_string(), text, start..with_zone(bytes, end));
                if found.is_full() {
                    return;
                }
            }
        }
    }
}

/// An address within a run of colons, dots and hexadecimal digits, if what stands around it lets it be one.
fn address_in(bytes: &[u8], mut start: usize, mut end: usize) -> Option<(usize, usize, Ipv6Addr)> {
    // Punctuation that belongs to the sentence: `addr:fe80::1`, `fe80::1.`, `fe80::1:`.
    if bytes[start] == b'.' {
        start += 1;
    }
    let lone = |at: usize, beside: Option<&u8>| bytes.get(at) == Some(&b':') && beside != Some(&b':');
    let is_glued = start > 0 && (bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] >= 0x80 || bytes[start - 1] == b'_');
    if lone(start, bytes.get(start + 1)) {
        start += 1;
    } else if is_glued {
        return None;
    }
    while end > start && (bytes[end - 1] == b'.' || (lone(end - 1, bytes.get(end.wrapping_sub(2))))) {
        end -= 1;
    }
    let follows = bytes.get(end);
    if follows.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || *byte >= 0x80) {
        return None;
    }
    if start > 0 && matches!(bytes[start - 1], b'-' | b'.' | b'$' | b'/' if !bytes[..start].ends_with(b"//") ) {
        return None;
    }
    // A prefix length behind it makes it a network.
    if follows == Some(&b'/') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        let digits = bytes[end + 1..bytes.len().min(end + 5)].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits <= 3 && !bytes.get(end + 1 + digits).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.')) {
            return None;
        }
    }
    Some((start, end, parse(&bytes[start..end])?))
}

/// The address that `written` is, if nothing else is written that way.
pub(super) fn parse(written: &[u8]) -> Option<Ipv6Addr> {
    if !(3..=ADDRESS_BYTES_MAX).contains(&written.len()) || memchr::memchr(b':', written).is_none() {
        return None;
    }
    let address: Ipv6Addr = std::str::from_utf8(written).ok()?.parse().ok()?;
    if address.is_unspecified() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_unspecified()) {
        return None;
    }
    // Eight groups of two digits are a hardware address.
    if memchr::memmem::find(written, b"::").is_none() && written.split(|byte| *byte == b':').all(|group| group.len() == 2) {
        return None;
    }
    // `Ab::Cd` is a name in a program and `10::20` a time or a ratio.
    let canonical = address.to_string();
    let Some((before, after)) = canonical.split_once("::").filter(|(before, _)| !before.is_empty()) else {
        return canonical.bytes().any(|byte| byte.is_ascii_digit()).then_some(address);
    };
    let mut groups = before.split(':').chain(after.split(':')).filter(|group| !group.is_empty());
    let is_name = before.len() + after.len() <= 8 && !canonical.bytes().any(|byte| byte.is_ascii_digit());
    let is_time = groups.all(|group| group.len() <= 2 && group.bytes().all(|byte| byte.is_ascii_digit()));
    (!is_name && !is_time).then_some(address)
}

/// Where the zone ends that follows an address ending at `at`: `%eth0`.
pub(super) fn with_zone(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at) != Some(&b'%') {
        return at;
    }
    let window = &bytes[at + 1..bytes.len().min(at + 1 + ZONE_BYTES_MAX)];
    let length = window.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')).count();
    let length = window[..length].iter().rposition(|byte| byte.is_ascii_alphanumeric()).map_or(0, |last| last + 1);
    if length == 0 { at } else { at + 1 + length }
}

#[cfg(test)]
mod tests {
    use super::super::Context::*;
    use super::super::tests::check;
    use super::*;

    #[test]
    fn addresses_are_told_from_times_hardware_addresses_and_names() {
        check(
            Field::Ipv6,
            &[
                (Other, "2001:db8::1", &["2001:db8::1"]),
                (Other, "2001:DB8:0:0:0:0:0:1", &["2001:db8::1"]),
                (Other, "2001:0db8:0000:0000:0000:0000:0000:0001", &["2001:db8::1"]),
                (Other, "fdc4:2581:575b:5a72:0000:0000:0000:0001", &["fdc4:2581:575b:5a72::1"]),
                (Other, "1:2:3:4:5:6:7:8", &["1:2:3:4:5:6:7:8"]),
                (Other, "1:2:3:4:5:6:7::", &["1:2:3:4:5:6:7:0"]),
                (Other, "::1", &["::1"]),
                (Other, "fe80::", &["fe80::"]),
                (Other, "2001:db8::", &["2001:db8::"]),
                (Other, "::ffff:192.0.2.1", &["::ffff:192.0.2.1"]),
                (Other, "64:ff9b::192.0.2.33", &["64:ff9b::c000:221"]),
                (Other, "fe80::1%eth0", &["fe80::1"]),
                (Other, "fe80::1%25eth0.", &["fe80::1"]),
                (Other, "fe80::1%", &["fe80::1"]),
                (Other, "[2001:db8::1]", &["2001:db8::1"]),
                (Other, "[2001:db8::1]:80", &["2001:db8::1"]),
                (Other, "(2001:db8::1)", &["2001:db8::1"]),
                (Other, "2001:db8::1.", &["2001:db8::1"]),
                (Other, "2001:db8::1, 2001:db8::2;", &["2001:db8::1", "2001:db8::2"]),
                (Other, "at 2001:db8::1: refused", &["2001:db8::1"]),
                (Other, "addr:fe80::1", &["fe80::1"]),
                (Other, "inet6 addr: fe80::5054:ff:fe12:3456 Scope:Link", &["fe80::5054:ff:fe12:3456"]),
                (Other, "ip=2001:db8::1&x", &["2001:db8::1"]),
                (Other, "{\"ip\":\"2001:db8::1\"}", &["2001:db8::1"]),
                (Other, "<b>2001:db8::1</b>", &["2001:db8::1"]),
                (Other, "http://[2001:db8::1]/", &["2001:db8::1"]),
                (Other, "http://[fe80::1%25eth0]:80/x", &["fe80::1"]),
                (Other, "http://2001:db8:0:0:0:0:0:1", &["2001:db8::1"]),
                (Other, "http://user@[2001:db8::1]:80/x", &["2001:db8::1"]),
                (Other, "root@2001:db8::1", &["2001:db8::1"]),
                (Chat, "２００１:db8::1", &["2001:db8::1"]),
                (Chat, "2001\u{ff1a}db8::1", &["2001:db8::1"]),
                (Chat, "2001:db8\u{200b}::1", &["2001:db8::1"]),
                (Other, "2001[:]db8[:]0:0:0:0:0:1", &["2001:db8::1"]),
                (Address, "2001:db8::1", &["2001:db8::1"]),
                (Command, "ping6 2001:db8::1; ls", &["2001:db8::1"]),
                (Command, "wget http://[2001:db8::1]/a.sh", &["2001:db8::1"]),
                (Command, "ssh root@fe80::1%eth0", &["fe80::1"]),
                (Command, "echo \\x32001:db8::1", &["2001:db8::1"]),
                (Other, "::", &[]),
                (Other, ":", &[]),
                (Other, "::::", &[]),
                (Other, "12:34:56", &[]),
                (Other, "2026-11-21T12:34:56", &[]),
                (Other, "12:34:56:78", &[]),
                (Other, "10::20", &[]),
                (Other, "00:11:22:33:44:55", &[]),
                (Other, "00:11:22:33:44:55:66:77", &[]),
                (Other, "aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99", &[]),
                (Other, "std::string", &[]),
                (Other, "std::dead", &[]),
                (Other, "Ab::Cd", &[]),
                (Other, "a::b", &[]),
                (Other, "dead::beef", &[]),
                (Other, "x2001:db8::1", &[]),
                (Other, "2001:db8::1x", &[]),
                (Other, "2001:db8::g", &[]),
                (Other, "2001:db8::12345", &[]),
                (Other, "2001:db8::1::2", &[]),
                (Other, "1:2:3:4:5:6:7", &[]),
                (Other, "1:2:3:4:5:6:7:8:9", &[]),
                (Other, "2001:db8::/32", &[]),
                (Other, "fe80::1/64 scope link", &[]),
                (Other, "/2001:db8::1", &[]),
                (Other, "2001:db8:::1", &[]),
                (Other, "::ffff:999.0.2.1", &[]),
                (Other, "12345678901234567890::1", &[]),
                (Other, "a:b:c:d:e:f", &[]),
                (Other, "12:34:56.789012", &[]),
                (Other, "root:x:0:0::/root:/bin/sh", &[]),
            ],
        );
    }
}
