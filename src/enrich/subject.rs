//! What others are asked about: a file by its hash, an address, a domain name, a URL; each in one spelling, so that however it was
//! written it is asked for once.
use crate::events::Field;
use crate::indicators::defang::refang;
use crate::indicators::lists::{Judged, Lists, RESERVED, SPECIAL_NAMES};
use std::fmt;
use std::net::IpAddr;
use url::{Host, Url};

/// Longest value that is asked about, bytes.
const VALUE_BYTES_MAX: usize = 2048;

/// Kinds of what is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// Of a file: MD5, SHA-1 or SHA-256.
    Hash,
    Address,
    Domain,
    Url,
}

impl SubjectKind {
    pub const ALL: [SubjectKind; 4] = [SubjectKind::Hash, SubjectKind::Address, SubjectKind::Domain, SubjectKind::Url];

    pub fn name(self) -> &'static str {
        match self {
            SubjectKind::Hash => "hash",
            SubjectKind::Address => "address",
            SubjectKind::Domain => "domain",
            SubjectKind::Url => "url",
        }
    }

    pub fn parse(name: &str) -> Option<SubjectKind> {
        SubjectKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    kind: SubjectKind,
    value: String,
}

impl Subject {
    pub fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// In its one spelling: hashes, names, schemes and hosts in lower case; of a URL without user, password and fragment.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What a person typed, defanged or not; `None` when nobody can be asked about such a value.
    pub fn recognise(written: &str) -> Option<Subject> {
        let plain = refang(written.trim());
        hash(&plain).or_else(|| url(&plain)).or_else(|| host(&plain))
    }

    /// An indicator.
    pub fn of(kind: Field, value: &str) -> Option<Subject> {
        match kind {
            Field::SrcIp | Field::Ipv4 | Field::Ipv6 => host(value).filter(|subject| subject.kind == SubjectKind::Address),
            Field::Domain => host(value).filter(|subject| subject.kind == SubjectKind::Domain),
            Field::Url => url(value),
            Field::Shasum | Field::Md5 | Field::Sha1 | Field::Sha256 => hash(value),
            _ => None,
        }
    }

    /// The list by which it must not be told to anybody: those of the operator, and those that are compiled in.
    pub fn withheld(&self, lists: &Lists) -> Option<&'static str> {
        let kind = match self.kind {
            SubjectKind::Hash => Field::Shasum,
            SubjectKind::Address => Field::SrcIp,
            SubjectKind::Domain => Field::Domain,
            SubjectKind::Url => Field::Url,
        };
        match lists.judge(kind, &self.value) {
            Judged::Harmless(list) => Some(list),
            Judged::Unlisted => None,
            // Whose a private address is does not change by denying it.
            Judged::Denied => match Lists::default().judge(kind, &self.value) {
                Judged::Harmless(list @ (RESERVED | SPECIAL_NAMES)) => Some(list),
                _ => None,
            },
        }
    }
}

fn hash(value: &str) -> Option<Subject> {
    let is_hash = matches!(value.len(), 32 | 40 | 64) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| Subject { kind: SubjectKind::Hash, value: value.to_ascii_lowercase() })
}

fn host(value: &str) -> Option<Subject> {
    let value = value.trim_end_matches('.');
    if value.is_empty() || value.len() > 255 {
        return None;
    }
    let address = |address: IpAddr| Subject { kind: SubjectKind::Address, value: address.to_canonical().to_string() };
    let bare = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(value);
    if let Ok(known) = bare.parse::<IpAddr>() {
        return Some(address(known));
    }
    // Also numbers that a client would take for an address; names come out in lower case and punycode.
    match Host::parse(value).ok()? {
        Host::Ipv4(known) => Some(address(known.into())),
        Host::Ipv6(known) => Some(address(known.into())),
        Host::Domain(name) => is_name(&name).then_some(Subject { kind: SubjectKind::Domain, value: name }),
    }
}

/// Letters, digits, hyphens and underscores between dots, of which there is one at least.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.contains('.') && name.split('.').all(label)
}

fn url(value: &str) -> Option<Subject> {
    if value.len() > VALUE_BYTES_MAX || value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let whole = match value.split_once("://") {
        Some(_) => value.to_owned(),
        // Without a scheme it must have a path, or it is a host.
        None if value.contains('/') => format!("http://{value}"),
        None => return None,
    };
    let mut parsed = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https" | "ftp"))?;
    host(parsed.host_str()?)?;
    // Whose they are nobody knows, and no server needs them to tell the URL.
    parsed.set_username("").ok()?;
    parsed.set_password(None).ok()?;
    parsed.set_fragment(None);
    Some(Subject { kind: SubjectKind::Url, value: parsed.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicators::lists::{Entry, OWN, SOFTWARE_HOSTS};

    fn told(subject: Option<Subject>) -> String {
        subject.map_or_else(|| "-".to_owned(), |subject| format!("{} {}", subject.kind, subject.value))
    }

    #[test]
    fn a_value_has_one_spelling_however_it_was_written() {
        let sha256 = "A".repeat(64);
        let cases = [
            (sha256.as_str(), format!("hash {}", "a".repeat(64))),
            ("D41D8CD98F00B204E9800998ECF8427E", "hash d41d8cd98f00b204e9800998ecf8427e".into()),
            ("198[.]51[.]100[.]7", "address 198.51.100.7".into()),
            ("::ffff:198.51.100.7", "address 198.51.100.7".into()),
            ("[2001:DB8::1]", "address 2001:db8::1".into()),
            ("0x7f000001", "address 127.0.0.1".into()),
            ("Evil.Example.", "domain evil.example".into()),
            ("b\u{fc}cher.example", "domain xn--bcher-kva.example".into()),
            ("hxxp://EVIL[.]example", "url http://evil.example/".into()),
            ("hxxps://user:secret@evil.example:443/x?q=1#part", "url https://evil.example/x?q=1".into()),
            ("evil.example/x.sh", "url http://evil.example/x.sh".into()),
            ("root", "-".into()),
            ("", "-".into()),
            ("a..b", "-".into()),
            ("http://", "-".into()),
            ("javascript://evil.example/%0a", "-".into()),
            ("http://evil.example/a b", "-".into()),
            ("thief@evil.example", "-".into()),
        ];
        for (written, expected) in cases {
            assert_eq!(told(Subject::recognise(written)), expected, "{written}");
        }
        assert_eq!(Subject::recognise(&format!("http://evil.example/{}", "a".repeat(VALUE_BYTES_MAX))), None);
    }

    #[test]
    fn an_indicator_is_asked_for_as_what_it_is() {
        for (kind, value, expected) in [
            (Field::SrcIp, "198.51.100.7", "address 198.51.100.7"),
            (Field::SrcIp, "evil.example", "-"),
            (Field::Domain, "1.2.3.4", "-"),
            (Field::Sha512, &"a".repeat(128), "-"),
            (Field::Email, "a@evil.example", "-"),
        ] {
            assert_eq!(told(Subject::of(kind, value)), expected, "{} {value}", kind.name());
        }
    }

    #[test]
    fn what_is_private_reserved_or_on_a_list_is_withheld() {
        let lists = Lists { own: vec![Entry::parse("185.1.2.0/24").unwrap(), Entry::parse("*.mine.top").unwrap()], ..Lists::default() };
        for (written, expected) in [
            ("10.1.2.3", Some(RESERVED)),
            ("192.0.2.1", Some(RESERVED)),
            ("::1", Some(RESERVED)),
            ("64:ff9b::a00:1", Some(RESERVED)),
            ("169.254.169.254", Some(RESERVED)),
            ("http://user@10.1.2.3/x", Some(RESERVED)),
            ("http://0x7f.1/x", Some(RESERVED)),
            ("185.1.2.3", Some(OWN)),
            ("http://185.1.2.3/x", Some(OWN)),
            ("mail.mine.top", Some(OWN)),
            ("printer.local", Some(SPECIAL_NAMES)),
            ("github.com", Some(SOFTWARE_HOSTS)),
            ("185.1.3.3", None),
            ("evil.top", None),
        ] {
            assert_eq!(Subject::recognise(written).unwrap().withheld(&lists), expected, "{written}");
        }
        let lists = Lists { deny: ["10.0.0.0/8", "*.local", "github.com"].map(|text| Entry::parse(text).unwrap()).into(), ..lists };
        for (written, expected) in [("10.1.2.3", Some(RESERVED)), ("printer.local", Some(SPECIAL_NAMES)), ("github.com", None)] {
            assert_eq!(Subject::recognise(written).unwrap().withheld(&lists), expected, "{written}, though it is denied");
        }
    }
}
