//! What an event is in the words of reports: one act each, the same words for every format.
//!
//! `ops/REPORTS.md` defines the acts; this is that definition. Beside it stand the terms that join two members of an event (which
//! password with which user name), because the index counts values one by one and could not join them afterwards.
use super::Field;
use super::decoder::{Event, Span};
use super::id::EventId;

macro_rules! acts {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// What somebody did.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Act { $($variant,)* #[default] Other }

        impl Act {
            /// Every act, in the order of their numbers, which are the order of [`Acts`].
            pub const ALL: &'static [Act] = &[$(Act::$variant,)* Act::Other];

            /// The name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Act::$variant => $name,)* Act::Other => "other" }
            }
        }
    };
}

acts! {
    Connection "connections",
    LoginFailed "logins_failed",
    LoginSucceeded "logins_succeeded",
    Command "commands",
    Download "downloads",
    Upload "uploads",
    Tunnel "tunnels",
    Message "messages",
}

/// How many events of each act there are, by the number of the act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acts(pub [u32; Act::ALL.len()]);

impl Acts {
    pub fn count(&mut self, act: Act) {
        self.0[act as usize] += 1;
    }

    pub fn of(&self, act: Act) -> u32 {
        self.0[act as usize]
    }

    /// Every event has one act.
    pub fn events(&self) -> u64 {
        self.0.iter().map(|&count| u64::from(count)).sum()
    }

    pub fn add(&mut self, other: &Acts) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum = sum.saturating_add(count));
    }
}

/// A hash over commands in their order, which joins: that of a session is made of those of its parts.
///
/// A polynomial over the commands' BLAKE3 modulo 2^61 - 1. Two sequences may be made to share a hash by somebody who wants to; then
/// a report counts them as one, and no answer but that depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence {
    pub hash: u64,
    /// How many commands.
    pub len: u32,
}

const MODULUS: u64 = (1 << 61) - 1;
const BASE: u64 = 0x0b5a_d4ec_eda1_ce2b;

impl Sequence {
    /// Of one command.
    pub fn of(command: &[u8]) -> Sequence {
        // Never 0: an element more is another sequence.
        Sequence { hash: 1 + EventId::of_line(command).low64() % (MODULUS - 1), len: 1 }
    }

    /// This one, and the other behind it.
    #[must_use]
    pub fn then(self, next: Sequence) -> Sequence {
        if self.len == 0 || next.len == 0 {
            return if self.len == 0 { next } else { self };
        }
        let hash = (multiply(self.hash, power(next.len)) + next.hash) % MODULUS;
        Sequence { hash, len: self.len.saturating_add(next.len) }
    }
}

fn multiply(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(MODULUS)) as u64
}

/// `BASE` to the power of `exponent`.
fn power(mut exponent: u32) -> u64 {
    let (mut result, mut square) = (1, BASE);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, square);
        }
        square = multiply(square, square);
        exponent >>= 1;
    }
    result
}

/// The members that acts and joined terms are made of. Of several values of a field the last counts.
#[derive(Default)]
struct Members {
    eventid: Option<Span>,
    username: Option<Span>,
    password: Option<Span>,
    command: Option<Span>,
    dst_ip: Option<Span>,
    dst_port: Option<Span>,
    url: Option<Span>,
    shasum: Option<Span>,
    filename: Option<Span>,
    sender: Option<Span>,
    hassh: Option<Span>,
    src_ip: Option<Span>,
}

/// What of an event goes into the [marks](super::marks::Marks) of its session, where it stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marked {
    pub hassh: Option<Span>,
    pub credential: Option<Span>,
    pub src_ip: Option<Span>,
}

/// Decides what the event is, once its members are noted, and notes its joined terms.
#[inline]
pub(super) fn note(line: &[u8], event: &mut Event) -> (Act, Sequence, Marked) {
    let mut members = Members::default();
    for term in &event.terms {
        let member = match term.field {
            Field::Eventid => &mut members.eventid,
            Field::Username => &mut members.username,
            Field::Password => &mut members.password,
            Field::Command => &mut members.command,
            Field::DstIp => &mut members.dst_ip,
            Field::DstPort => &mut members.dst_port,
            Field::Url => &mut members.url,
            Field::Shasum => &mut members.shasum,
            Field::Filename => &mut members.filename,
            Field::Sender => &mut members.sender,
            Field::Hassh => &mut members.hassh,
            Field::SrcIp => &mut members.src_ip,
            _ => continue,
        };
        *member = Some(term.value);
    }
    let eventid = members.eventid.map_or(&[][..], |eventid| eventid.of(line, &event.arena));
    let act = match eventid.strip_prefix(b"cowrie.") {
        Some(b"session.connect") => Act::Connection,
        Some(b"login.failed") => Act::LoginFailed,
        Some(b"login.success") => Act::LoginSucceeded,
        Some(b"command.input") => Act::Command,
        Some(b"session.file_download") => Act::Download,
        Some(b"session.file_upload") => Act::Upload,
        Some(b"direct-tcpip.request") => Act::Tunnel,
        // What Cowrie says of a command, a file or a login besides, and all that is new.
        Some(_) => Act::Other,
        None if members.sender.is_some() => Act::Message,
        None if members.command.is_some() => Act::Command,
        None if members.password.is_some() => Act::LoginFailed,
        None if members.shasum.is_some() => Act::Download,
        None => Act::Other,
    };
    let mut sequence = Sequence::default();
    let mut marked = Marked { hassh: members.hassh, credential: None, src_ip: members.src_ip };
    match (act, &members) {
        (Act::LoginFailed | Act::LoginSucceeded, &Members { username: Some(username), password: Some(password), .. }) => {
            marked.credential = Some(event.join(Field::Credential, |event| credential(line, username, password, event)));
        }
        (Act::Command, &Members { command: Some(command), .. }) => {
            sequence = Sequence::of(command.of(line, &event.arena));
            event.add(Field::CommandLine, command);
        }
        (Act::Download, &Members { shasum: Some(shasum), url, .. }) => file(line, url, shasum, Field::Download, event),
        (Act::Upload, &Members { shasum: Some(shasum), filename, .. }) => file(line, filename, shasum, Field::Upload, event),
        (Act::Tunnel, &Members { dst_ip: Some(host), dst_port: Some(port), .. }) => {
            event.join(Field::Tunnel, |event| {
                event.append(line, host);
                event.arena.push(b':');
                event.append(line, port);
            });
        }
        _ => {}
    }
    (act, sequence, marked)
}

/// `username:password`, the user name's own colons and backslashes behind a backslash, so that the first bare colon parts them.
fn credential(line: &[u8], username: Span, password: Span, event: &mut Event) {
    let start = event.arena.len();
    event.append(line, username);
    event.escape(start, b"\\", b"\\\\");
    event.escape(start, b":", b"\\:");
    event.arena.push(b':');
    event.append(line, password);
}

/// `URL SHA-256`, or the hash alone. Blanks in a URL or name are written `%20`, so that the only one parts them.
fn file(line: &[u8], source: Option<Span>, shasum: Span, field: Field, event: &mut Event) {
    event.join(field, |event| {
        if let Some(source) = source {
            let start = event.arena.len();
            event.append(line, source);
            event.escape(start, b" ", b"%20");
            event.arena.push(b' ');
        }
        event.append(line, shasum);
    });
}

/// The two halves of a [`Field::Credential`].
pub fn split_credential(joined: &str) -> (String, &str) {
    let mut username = String::new();
    let mut characters = joined.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ':' => return (username, &joined[at + 1..]),
            '\\' => username.extend(characters.next().map(|(_, escaped)| escaped)),
            other => username.push(other),
        }
    }
    (username, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::batch::Batcher;
    use crate::events::time::EARLIEST;
    use crate::sources::Format;
    use proptest::prelude::*;

    fn joined(line: &str) -> Vec<(Field, String)> {
        let explained = Batcher::new().explain(Format::COWRIE, line.as_bytes(), EARLIEST).remove(0).event.expect("an event");
        let terms = explained.terms.into_iter().filter(|(field, _)| field.is_joined());
        terms.map(|(field, value)| (field, String::from_utf8(value).expect("UTF-8"))).collect()
    }

    #[test]
    fn members_that_belong_together_become_one_term() {
        for (line, expected) in [
            (r#"{"eventid":"cowrie.login.failed","username":"root","password":"12:34"}"#, Some((Field::Credential, "root:12:34"))),
            (r#"{"eventid":"cowrie.login.success","password":"","username":"a:b\\c"}"#, Some((Field::Credential, r"a\:b\\c:"))),
            (r#"{"eventid":"cowrie.login.success","username":"root","password":"\u00e9"}"#, Some((Field::Credential, "root:é"))),
            (r#"{"eventid":"cowrie.login.success","username":"root","fingerprint":"d1:28"}"#, None),
            (r#"{"eventid":"cowrie.client.fingerprint","username":"root","password":"x"}"#, None),
            (r#"{"eventid":"cowrie.command.input","input":"uname -a"}"#, Some((Field::CommandLine, "uname -a"))),
            (r#"{"eventid":"cowrie.command.failed","input":"uname -a"}"#, None),
            (r#"{"eventid":"cowrie.session.input","input":"x"}"#, None),
            (r#"{"eventid":"cowrie.session.file_download","url":"http://x/a","shasum":"e3"}"#, Some((Field::Download, "http://x/a e3"))),
            (
                r#"{"eventid":"cowrie.session.file_download","shasum":"e3","url":"http://x/a b"}"#,
                Some((Field::Download, "http://x/a%20b e3")),
            ),
            (r#"{"eventid":"cowrie.session.file_download","shasum":"e3","destfile":"/tmp/a"}"#, Some((Field::Download, "e3"))),
            (r#"{"eventid":"cowrie.session.file_upload","filename":"a.sh","shasum":"e3"}"#, Some((Field::Upload, "a.sh e3"))),
            (r#"{"eventid":"cowrie.log.closed","shasum":"e3"}"#, None),
            (r#"{"eventid":"cowrie.direct-tcpip.request","dst_ip":"ya.ru","dst_port":80}"#, Some((Field::Tunnel, "ya.ru:80"))),
            (r#"{"eventid":"cowrie.session.connect","dst_ip":"192.0.2.1","dst_port":22}"#, None),
        ] {
            assert_eq!(joined(line), expected.map(|(field, value)| (field, value.to_owned())).into_iter().collect::<Vec<_>>(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_credential_comes_apart_again(username in r"[a:\\é]{0,6}", password in r"[b:\\]{0,6}") {
            let line = serde_json::json!({ "eventid": "cowrie.login.failed", "username": username, "password": password }).to_string();
            let [(Field::Credential, value)] = &joined(&line)[..] else { panic!("one credential") };
            prop_assert_eq!(split_credential(value), (username, &password[..]));
        }

        #[test]
        fn a_sequence_does_not_depend_on_where_it_was_cut(commands in proptest::collection::vec("[a-c]", 0..9), cut in 0..9usize) {
            let of = |commands: &[String]| commands.iter().fold(Sequence::default(), |sum, command| sum.then(Sequence::of(command.as_bytes())));
            let (front, back) = commands.split_at(cut.min(commands.len()));
            prop_assert_eq!(of(front).then(of(back)), of(&commands));
            let mut turned = commands.clone();
            turned.reverse();
            prop_assert_eq!(of(&turned) == of(&commands), turned == commands);
        }
    }
}
