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

    fn needs(&self) -> Needs {
        Needs::NOTHING.one_of(b":")
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
    let groups = || written.split(|byte| *byte == b':').filter(|group| !group.is_empty());
    let shortened = memchr::memmem::find(written, b"::").is_some();
    let is_name = shortened && groups().count() <= 2 && !written.iter().any(u8::is_ascii_digit);
    // Eight groups of two digits are a hardware address; `10::20` and the like are no address of anybody.
    let is_hardware = !shortened && groups().all(|group| group.len() == 2);
    let is_time = shortened && !written.starts_with(b"::") && groups().all(|group| group.len() <= 2 && group.iter().all(u8::is_ascii_digit));
    (!is_name && !is_hardware && !is_time && !address.is_unspecified()).then_some(address)
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
