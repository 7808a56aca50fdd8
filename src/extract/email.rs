//! E-mail addresses: a local part as people have them, and a domain name under a public suffix.
//!
//! Indicators must not be what they only look like, so logins and passwords are told apart from them. What is to be redacted must
//! not be missed: there whatever may be an address is one.
use super::text::boundary;
use super::{Context, Extractor, Found, Needs, Text, domain};
use crate::events::Field;

/// Longest local part, bytes (RFC 5321).
const LOCAL_BYTES_MAX: usize = 64;
/// How far back a command or a URL is looked for that makes `user@host` a login, bytes.
const LOOK_BEHIND_BYTES: usize = 128;
/// Longest domain as written, bytes.
const DOMAIN_BYTES_MAX: usize = 320;

/// Names that nobody can register, and that mail inside of companies has (RFC 6761, 6762, 8375, and what is in use). Sorted.
const INTERNAL: &[&str] = &[
    "alt",
    "arpa",
    "corp",
    "domain",
    "example",
    "home",
    "internal",
    "intra",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "localnet",
    "onion",
    "private",
    "test",
    "workgroup",
];

pub(super) struct Addresses;

impl Extractor for Addresses {
    fn fields(&self) -> &'static [Field] {
        &[Field::Email]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.one_of(b"@").one_of(b".");
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        if found.is_strict() {
            return all(text, found);
        }
        let bytes = text.plain.as_bytes();
        for at in memchr::memchr_iter(b'@', bytes) {
            let Some(start) = local_part(bytes, at) else {
                continue;
            };
            let run = run_behind(text.plain, at);
            let written = run.trim_end_matches(['.', '-', '_']);
            if is_login(text, start, at + 1 + run.len()) {
                continue;
            }
            if let Some(name) = domain::name(written) {
                let mut value = text.plain[start..at].to_ascii_lowercase();
                value.push('@');
                value.push_str(&name);
                found.add(Field::Email, &value, text, start..at + 1 + written.len());
                if found.is_full() {
                    return;
                }
            }
        }
    }
}

/// Everything that may be an address: logins, too, and whatever stands around it.
fn all(text: &Text<'_>, found: &mut Found) {
    let mut last = 0;
    for at in memchr::memchr_iter(b'@', text.plain.as_bytes()) {
        let before = &text.plain[std::mem::replace(&mut last, at + 1)..at];
        let is_part = |char: char| {
            matches!(char, '.' | '_' | '%' | '+' | '-' | '\'')
                || char.is_ascii_alphanumeric()
                || (char.is_alphanumeric() && char < '\u{2e80}')
        };
        let local = before[before.rfind(|char| !is_part(char)).map_or(0, |at| boundary_after(before, at))..]
            .trim_start_matches(|char: char| !char.is_alphanumeric() && char != '_');
        let run = run_behind(text.plain, at);
        if let Some(end) = end_of_name(run).filter(|_| !local.is_empty()) {
            let name = domain::name(&run[..end]).unwrap_or_else(|| run[..end].to_ascii_lowercase());
            let value = format!("{}@{name}", local.to_ascii_lowercase());
            found.add(Field::Email, &value, text, at - local.len()..at + 1 + end);
        }
    }
}

/// Where the character ends that begins at `at`.
fn boundary_after(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(0, char::len_utf8)
}

/// What stands behind the sign at `at` that names consist of.
fn run_behind(plain: &str, at: usize) -> &str {
    let window = &plain[at + 1..boundary(plain, at + 1 + DOMAIN_BYTES_MAX)];
    // Scripts without blanks between words: an address in ASCII ends where they begin.
    let in_ascii = window.starts_with(|char: char| char.is_ascii());
    let length = window.find(|char| !domain::is_name_char(char) || (in_ascii && char >= '\u{2e80}')).unwrap_or(window.len());
    &window[..length]
}

/// Where the longest piece ends, from the front of a run, that may be a host's name, whatever is glued to it.
fn end_of_name(run: &str) -> Option<usize> {
    let written = run.trim_end_matches(['.', '-', '_']);
    if domain::name(written).is_some() {
        return Some(written.len());
    }
    let mut end = None;
    for (dot, _) in run.match_indices('.').filter(|(dot, _)| *dot > 0) {
        let behind = &run[dot + 1..];
        let label = &behind[..behind.find(['.', '_']).unwrap_or(behind.len())];
        let len =
            if label.starts_with("xn--") { label.len() } else { label.find(|char: char| !char.is_alphabetic()).unwrap_or(label.len()) };
        let label = label[..len].to_lowercase();
        let (unicode, _) = idna::domain_to_unicode(&label);
        if domain::is_suffix(unicode.as_bytes()) || INTERNAL.binary_search(&label.as_str()).is_ok() {
            end = Some(dot + 1 + len);
        }
    }
    end
}

/// Where the local part begins that ends at `at`.
fn local_part(bytes: &[u8], at: usize) -> Option<usize> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'');
    let mut start = at;
    while start > 0 && at - start <= LOCAL_BYTES_MAX && is_part(bytes[start - 1]) {
        start -= 1;
    }
    // What surrounds an address is no part of it: quotes, dashes, dots.
    while start < at && !bytes[start].is_ascii_alphanumeric() && bytes[start] != b'_' {
        start += 1;
    }
    if bytes[start..at].starts_with(b"20") && start > 0 && bytes[start - 1] == b'%' {
        start += 2;
    }
    if start == at || at - start > LOCAL_BYTES_MAX || bytes[at - 1] == b'.' || bytes[start..at].windows(2).any(|two| two == b"..") {
        return None;
    }
    // Two signs are a password or a handle.
    (start == 0 || !matches!(bytes[start - 1], b'@' | b'$' | b'#' | b'!' | b'^')).then_some(start)
}

/// Whether `user@host` is a login: in a URL, before a path of `scp`, or behind `ssh`.
fn is_login(text: &Text<'_>, start: usize, end: usize) -> bool {
    let bytes = text.plain.as_bytes();
    let behind = &bytes[start.saturating_sub(LOOK_BEHIND_BYTES)..start];
    let word = &behind
        [behind.iter().rposition(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>')).map_or(0, |at| at + 1)..];
    // In the authority of a URL no slash stands between the scheme and the sign.
    if let Some(slashes) = memchr::memmem::rfind(word, b"://")
        && !word[slashes + 3..].iter().any(|byte| matches!(byte, b'/' | b'?' | b'#'))
    {
        return true;
    }
    if text.context != Context::Command {
        return false;
    }
    if bytes.get(end) == Some(&b':')
        && bytes.get(end + 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'/' | b'.'))
    {
        return true;
    }
    let command = &behind[behind.iter().rposition(|byte| matches!(byte, b';' | b'|' | b'&' | b'\n' | b'(')).map_or(0, |at| at + 1)..];
    command
        .split(|byte| matches!(byte, b' ' | b'\t' | b'/'))
        .any(|word| matches!(word, b"ssh" | b"scp" | b"sftp" | b"rsync" | b"sshpass" | b"ssh-copy-id"))
}

#[cfg(test)]
mod tests {
    use super::super::Context::*;
    use super::super::tests::check;
    use super::*;

    #[test]
    fn addresses_are_told_from_logins_passwords_and_handles() {
        check(
            Field::Email,
            &[
                (Other, "a@example.com", &["a@example.com"]),
                (Other, "First.Last@Example.COM", &["first.last@example.com"]),
                (Other, "first_last+tag@mail.example.co.uk", &["first_last+tag@mail.example.co.uk"]),
                (Other, "o'brien@example.ie", &["o'brien@example.ie"]),
                (Other, "'a@example.com'", &["a@example.com"]),
                (Other, "<a@example.com>", &["a@example.com"]),
                (Other, "\"A B\" <a.b@example.com>", &["a.b@example.com"]),
                (Other, "(a@example.com)", &["a@example.com"]),
                (Other, "a@example.com.", &["a@example.com"]),
                (Other, "a@example.com,b@example.org;c@example.net", &["a@example.com", "b@example.org", "c@example.net"]),
                (Other, "mailto:a@example.com?subject=x", &["a@example.com"]),
                (Other, "<a href=\"mailto:a@example.com\">", &["a@example.com"]),
                (Other, "{\"mail\":\"a@example.com\"}", &["a@example.com"]),
                (Other, "mail=a@example.com&x=1", &["a@example.com"]),
                (Other, "mail=a%40example.com", &[]),
                (Other, "-a@example.com-", &["a@example.com"]),
                (Other, "a@example.com!", &["a@example.com"]),
                (Other, "1234567890@example.com", &["1234567890@example.com"]),
                (Other, "a@b.example.sh", &["a@b.example.sh"]),
                (Other, "a@example.sh", &["a@example.sh"]),
                (Other, "a@bücher.de", &["a@xn--bcher-kva.de"]),
                (Other, "a@xn--bcher-kva.de", &["a@xn--bcher-kva.de"]),
                (Other, "a@яндекс.рф", &["a@xn--d1acpjx3f.xn--p1ai"]),
                (Other, "a[@]example[.]com", &["a@example.com"]),
                (Other, "a[at]example[dot]com", &["a@example.com"]),
                (Other, "a(at)example(dot)com", &["a@example.com"]),
                (Other, "a {at} example {dot} com", &["a@example.com"]),
                (Chat, "write to a (at) example (dot) com today", &["a@example.com"]),
                (Chat, "write to help at example dot com today", &["help@example.com"]),
                (Chat, "mail a at mail dot example dot com", &["a@mail.example.com"]),
                (Chat, "ａ＠ｅｘａｍｐｌｅ．ｃｏｍ", &["a@example.com"]),
                (Chat, "a@exam\u{200b}ple.com", &["a@example.com"]),
                (Chat, "a@example\u{ff61}com", &["a@example.com"]),
                (Chat, "邮箱a@example.com谢谢", &["a@example.com"]),
                (Chat, "email us at offers@fake-amazon-deals.com or click", &["offers@fake-amazon-deals.com"]),
                (Chat, "Contact:offers@example.com for help", &["offers@example.com"]),
                (Address, "a@example.com", &["a@example.com"]),
                (Command, "echo x | mail -s y a@example.com", &["a@example.com"]),
                (Command, "git config user.email a@example.com", &["a@example.com"]),
                (Command, "echo YSBAIGFAZXhhbXBsZS5jb20geHg= | base64 -d", &["a@example.com"]),
                (Command, "echo a\\x40example.com", &["a@example.com"]),
                (Command, "ssh a@example.com", &[]),
                (Command, "/usr/bin/ssh -p 22 a@example.com ls", &[]),
                (Command, "scp x a@example.com:/tmp", &[]),
                (Command, "rsync -a x a@example.com:", &[]),
                (Command, "git clone git@example.com:a/b.git", &[]),
                (Command, "ssh a@example.org; echo b@example.com", &["b@example.com"]),
                (Other, "ftp://a@example.com/", &[]),
                (Other, "ftp://anonymous:a@example.com/x", &[]),
                (Other, "http://example.com/?mail=a@example.org", &["a@example.org"]),
                (Other, "a@example", &[]),
                (Other, "a@fakebank", &[]),
                (Other, "scammer.fraud@fakebank", &[]),
                (Other, "9876543210@ybl", &[]),
                (Other, "@example.com", &[]),
                (Other, "a@", &[]),
                (Other, "a@.example.com", &[]),
                (Other, "a.@example.com", &[]),
                (Other, "a..b@example.com", &[]),
                (Other, ".a@example.com", &["a@example.com"]),
                (Other, "a@@example.com", &[]),
                (Other, "P@ssw0rd", &[]),
                (Other, "P@ssw0rd.2019", &[]),
                (Other, "p@ss@123.45", &[]),
                (Other, "!@#$%^.com", &[]),
                (Other, "a@example.com.invalidtld", &[]),
                (Other, "a@com", &[]),
                (Other, "a@co.uk", &[]),
                (Other, "a@-example.com", &[]),
                (Other, "a@exa_mple.com", &[]),
                (Other, "a@192.0.2.1", &[]),
                (Other, "user name@example.com", &["name@example.com"]),
                (Other, "ssh-rsa AAAAB3NzaC1yc2E= root@host.example.com", &["root@host.example.com"]),
                (Other, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com", &[]),
                (Other, "foo@2x.png", &[]),
                (Other, "@angular/core@17.0.1", &[]),
            ],
        );
    }
}
