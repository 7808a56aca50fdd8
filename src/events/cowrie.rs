//! Cowrie's JSON log, as ten years of versions wrote it.
//!
//! Every JSON object is an event, whatever its `eventid`: a schema says what is wrong, not what is new. Members are known by
//! name alone, in any order: `input` is what was typed under four event ids, `src_ip` may be a hash, `dst_ip` of a tunnel is
//! mostly a host name, ports are numbers and become text. Members of another type than expected and unknown ones are passed over.
//!
//! An empty value is a term where somebody typed it: the empty user name, password or command is an answer worth counting
//! (5,781 of 409,000 real events). Elsewhere an empty string says that nothing is known, and is no term.
use super::decoder::{Decoder, Event, Identity, Place, Role, TOLD};
use super::json::{self, Flaw, Literal, Value};
use super::{Field, time};
use crate::extract::Context;

/// The decoder of [`Format::COWRIE`](super::Format::COWRIE).
pub struct Cowrie;

impl Decoder for Cowrie {
    fn identity(&self) -> Identity {
        Identity::Line
    }

    fn decode(&self, line: &[u8], event: &mut Event) -> Result<(), Flaw> {
        json::members(line, |name, value| {
            event.member(name, &value);
            match if name.escaped { escaped_member(name) } else { member(name.raw) } {
                Member::Unknown => {}
                Member::Term(field) => {
                    if let Some(text) = event.text(value)
                        && (!text.is_empty() || matches!(field, Field::Username | Field::Password | Field::Command))
                    {
                        event.add(field, text);
                        if let Some(context) = context(field)
                            && (field != Field::DstIp || is_name(text.of(line, &event.arena)))
                        {
                            event.note_whole(context, value, text);
                        }
                    }
                }
                Member::Text => {
                    if let Some(text) = event.text(value) {
                        event.note_whole(Context::Other, value, text);
                    }
                }
                Member::Sensor => {
                    if let Some(text) = event.text(value)
                        && !text.is_empty()
                    {
                        event.sensor = Some(text);
                        event.add(Field::Sensor, text);
                    }
                }
                Member::Session => {
                    if let Some(text) = event.text(value)
                        && !text.is_empty()
                    {
                        event.session = Some(text);
                    }
                }
                Member::Timestamp => {
                    event.time = match value {
                        Value::String(literal) if !literal.escaped => time::parse(literal.raw),
                        Value::String(literal) if literal.raw.len() < 6 * 64 => {
                            let mut text = Vec::new();
                            json::unescape(literal.raw, &mut text);
                            time::parse(&text)
                        }
                        _ => None,
                    };
                }
            }
        })?;
        Ok(())
    }

    fn places(&self, line: &[u8], show: &mut dyn FnMut(Role, Place)) {
        // It was accepted, so it is an object.
        let _ = json::members(line, |name, value| {
            let place = || Place::of(line, name, value);
            let mut text = |context| show(Role::Text { context, base64: false }, place());
            match if name.escaped { escaped_member(name) } else { member(name.raw) } {
                Member::Unknown => {
                    if let Some((_, told)) = RETELLINGS.iter().find(|(retelling, _)| name.is(retelling)) {
                        show(Role::Retelling(told), place());
                    }
                }
                Member::Timestamp => {}
                Member::Text => text(Context::Other),
                Member::Sensor => show(Role::Field(Field::Sensor), place()),
                Member::Session => show(Role::Field(Field::Session), place()),
                Member::Term(field) => {
                    if let Some(context) = context(field) {
                        text(context);
                    }
                    show(Role::Field(field), place());
                }
            }
        });
    }
}

/// Members made of others: `system` is `HoneyPotSSHTransport,0,192.0.2.1`, `ttylog` and `log_format` have had session ids in them.
const RETELLINGS: [(&[u8], &[Field]); 5] =
    [(b"message", TOLD), (b"format", TOLD), (b"system", &[Field::SrcIp]), (b"ttylog", &[Field::Session]), (b"log_format", TOLD)];

/// How a field's value is looked through for indicators. `message` is not: Cowrie makes it of the other members.
#[inline]
fn context(field: Field) -> Option<Context> {
    match field {
        Field::Command => Some(Context::Command),
        Field::Url => Some(Context::Address),
        Field::DstIp => Some(Context::Address),
        Field::Shasum => Some(Context::Hash),
        Field::Username | Field::Password | Field::Version | Field::Filename | Field::Destfile => Some(Context::Other),
        _ => None,
    }
}

/// A tunnel's target is often a name. An address there is a term already, and mostly the honeypot's own.
fn is_name(target: &[u8]) -> bool {
    !target.contains(&b':') && target.iter().any(u8::is_ascii_alphabetic)
}

enum Member {
    Unknown,
    Term(Field),
    /// No term itself, but what it names may be: a payload, a key.
    Text,
    Sensor,
    Session,
    Timestamp,
}

/// What a member means. Names are compared per length: the order of the members in a line is anything.
#[inline]
fn member(name: &[u8]) -> Member {
    use Field::*;
    let field = match name.len() {
        3 => match name {
            b"url" => Url,
            b"cve" => Cve,
            b"ja4" => Ja4,
            b"key" => return Member::Text,
            _ => return Member::Unknown,
        },
        4 => match name {
            b"arch" => Arch,
            b"ja4h" => Ja4h,
            b"data" => return Member::Text,
            _ => return Member::Unknown,
        },
        5 => match name {
            b"input" => Command,
            b"hassh" => Hassh,
            b"value" => return Member::Text,
            _ => return Member::Unknown,
        },
        6 => match name {
            b"src_ip" => SrcIp,
            b"dst_ip" => DstIp,
            b"sensor" => return Member::Sensor,
            b"shasum" => Shasum,
            _ => return Member::Unknown,
        },
        7 => match name {
            b"eventid" => Eventid,
            b"session" => return Member::Session,
            b"version" => Version,
            _ => return Member::Unknown,
        },
        8 => match name {
            b"username" => Username,
            b"password" => Password,
            b"protocol" => Protocol,
            b"dst_port" => DstPort,
            b"filename" => Filename,
            b"destfile" => Destfile,
            _ => return Member::Unknown,
        },
        9 if name == b"timestamp" => return Member::Timestamp,
        11 if name == b"fingerprint" => Fingerprint,
        17 if name == b"attempted_command" => Command,
        _ => return Member::Unknown,
    };
    Member::Term(field)
}

/// A name spelt with escapes, which no Cowrie does, means what it spells.
#[cold]
fn escaped_member(name: Literal<'_>) -> Member {
    const LONGEST: usize = 6 * "attempted_command".len();
    if name.raw.len() > LONGEST {
        return Member::Unknown;
    }
    let mut text = Vec::with_capacity(LONGEST);
    json::unescape(name.raw, &mut text);
    member(&text)
}

#[cfg(test)]
mod tests {
    use crate::events::batch::Batcher;
    use crate::events::{Field, TERM_BYTES_PER_EVENT_MAX, TERM_VALUE_BYTES_MAX, TERMS_PER_EVENT_MAX, decoder, time};
    use crate::sources::Format;

    /// The terms of a line as `field=value`, without the joined ones, or why it is refused.
    fn terms(line: &[u8]) -> Result<Vec<String>, String> {
        let [explanation] = &Batcher::new().explain(Format::COWRIE, line, time::EARLIEST)[..] else { panic!("one event") };
        let explained = explanation.event.as_ref().map_err(|refusal| refusal.detail.clone())?;
        let members = explained.terms.iter().filter(|(field, _)| !field.is_joined());
        Ok(members.map(|(field, value)| format!("{}={}", field.name(), str::from_utf8(value).unwrap())).collect())
    }

    #[test]
    fn reads_ten_years_of_drift() {
        for (line, expected) in [
            // Key order is anything; ports are numbers; `session` comes first.
            (
                r#"{"timestamp":"2026-03-22T00:10:42.831494Z","dst_port":22,"eventid":"e","session":"c7ae63583837","src_ip":"192.0.2.1"}"#,
                &["session=c7ae63583837", "dst_port=22", "eventid=e", "src_ip=192.0.2.1"][..],
            ),
            (
                r#"{"dst_port":"2222","dst_ip":"mail.example.org","src_ip":"5f3c9a hashed"}"#,
                &["dst_port=2222", "dst_ip=mail.example.org", "src_ip=5f3c9a hashed"],
            ),
            (r#"{"dst_ip":"2001:db8::1"}"#, &["dst_ip=2001:db8::1"]),
            // Duration: float, string, integer, absent; message: string or list.
            (r#"{"eventid":"cowrie.session.closed","duration":12.5,"message":"m"}"#, &["eventid=cowrie.session.closed"]),
            (r#"{"eventid":"cowrie.session.closed","duration":"12.5"}"#, &["eventid=cowrie.session.closed"]),
            (r#"{"eventid":"cowrie.session.closed","duration_ms":12500}"#, &["eventid=cowrie.session.closed"]),
            (
                r#"{"eventid":"cowrie.session.params","arch":"linux-x64-lsb","message":["a",{"b":[1]}]}"#,
                &["eventid=cowrie.session.params", "arch=linux-x64-lsb"],
            ),
            // Whatever was typed is a command.
            (r#"{"eventid":"cowrie.command.input","input":"ls"}"#, &["eventid=cowrie.command.input", "command=ls"]),
            (r#"{"eventid":"cowrie.session.input","input":"ls"}"#, &["eventid=cowrie.session.input", "command=ls"]),
            (r#"{"eventid":"never.seen","input":""}"#, &["eventid=never.seen", "command="]),
            (
                r#"{"cve":"CVE-2026-24061","username":"-f root","attempted_command":"id"}"#,
                &["cve=CVE-2026-24061", "username=-f root", "command=id"],
            ),
            // Empty where somebody typed it; no password with a key.
            (r#"{"username":"","password":"","src_ip":"","sensor":"","session":"","version":""}"#, &["username=", "password="]),
            (
                r#"{"username":"root","fingerprint":"d1:28","key":"ssh-ed25519 A","type":"ssh-ed25519"}"#,
                &["username=root", "fingerprint=d1:28"],
            ),
            (
                r#"{"ja4":"t13","ja4h":"ge11","hassh":"57","hasshAlgorithms":"a,b","version":"SSH-2.0-Go","kexAlgs":["x"]}"#,
                &["ja4=t13", "ja4h=ge11", "hassh=57", "version=SSH-2.0-Go"],
            ),
            (
                r#"{"url":"ftp://x","shasum":"e3","filename":"a.sh","destfile":"/tmp/a","outfile":"x","protocol":"ssh","sensor":"s1"}"#,
                &["url=ftp://x", "shasum=e3", "filename=a.sh", "destfile=/tmp/a", "protocol=ssh", "sensor=s1"],
            ),
            // Other types than expected.
            (
                r#"{"username":null,"password":["a"],"input":{"a":1},"src_ip":true,"session":7,"version":-1.5e3}"#,
                &["session=7", "version=-1.5e3"],
            ),
            // Escapes, also in names; NUL; surrogates with and without a partner.
            (r#"{"user\u006eame":"a\"b\\","password":"\u0000\u001b[2J"}"#, &["username=a\"b\\", "password=\0\u{1b}[2J"]),
            (r#"{"input":"\ud83d\ude00 \udc80"}"#, &["command=😀 \u{FFFD}"]),
            (r#"  { }  "#, &[]),
        ] {
            assert_eq!(terms(line.as_bytes()).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn takes_invalid_utf8_and_shows_a_lossy_view() {
        assert_eq!(terms(b"{\"username\":\"a\xFFb\",\"x\xFE\":1}").unwrap(), ["username=a\u{FFFD}b"]);
        assert_eq!(terms(b"{\"username\":\"a\xE2\x82\\n\"}").unwrap(), ["username=a\u{FFFD}\n"]);
    }

    #[test]
    fn refuses_what_is_no_object_and_says_where() {
        for (line, detail) in [
            (&b"Traceback (most recent call last):"[..], "expected an object at column 1"),
            (b"\"text\"", "expected an object at column 1"),
            (b"{\"username\":\"a\x1b[0m\"}", "control character in a string at column 15"),
            (b"{\"username\":NaN}", "expected a value at column 13"),
            (b"{\"a\":1}{\"a\":2}", "something behind the object at column 8"),
            (b"{\"a\":\"torn at midni", "ends too early at column 20"),
            (b"\0\0\0{\"a\":1}", "expected an object at column 1"),
        ] {
            assert_eq!(terms(line).unwrap_err(), detail);
        }
    }

    #[test]
    fn reads_the_time_however_it_is_spelt() {
        for (line, expected) in [
            (r#"{"timestamp":"2026-03-22T00:10:42.831494Z"}"#, Some(1_774_138_242_831_494)),
            (r#"{"timestamp":"2026-03-22 00:10:42.831494+00:00"}"#, Some(1_774_138_242_831_494)),
            (r#"{"timestamp":"2026-03-22T00:10:42\u002e831494"}"#, Some(1_774_138_242_831_494)),
            (r#"{"timestamp":"yesterday"}"#, None),
            (r#"{"timestamp":1774138242}"#, None),
            (r#"{"eventid":"x"}"#, None),
        ] {
            let explanations = Batcher::new().explain(Format::COWRIE, line.as_bytes(), 7);
            let explained = explanations[0].event.as_ref().unwrap();
            assert_eq!(explained.time, expected, "{line}");
            assert_eq!(explained.indexed_by, 7, "nothing received in 1970 can have happened later: {line}");
        }
    }

    #[test]
    fn a_long_value_becomes_a_prefix_and_a_hash() {
        let long = "é".repeat(3_000);
        let found = terms(format!(r#"{{"input":"{long}","username":"{}"}}"#, "u".repeat(TERM_VALUE_BYTES_MAX)).as_bytes()).unwrap();
        let value = found[0].strip_prefix("command=").unwrap();
        assert!(value.len() <= TERM_VALUE_BYTES_MAX && value.len() > TERM_VALUE_BYTES_MAX - 4);
        let (prefix, hash) = value.split_once('…').unwrap();
        assert!(long.starts_with(prefix));
        assert_eq!(hash, crate::events::EventId::of_line(long.as_bytes()).to_string());
        assert_eq!(value.as_bytes(), &*decoder::shorten(long.as_bytes()));
        assert_eq!(found[1].len(), "username=".len() + TERM_VALUE_BYTES_MAX);
        let found = terms(format!(r#"{{"dst_port":{}}}"#, "1".repeat(5_000)).as_bytes()).unwrap();
        assert_eq!(found[0].len(), "dst_port=".len() + TERM_VALUE_BYTES_MAX);
    }

    #[test]
    fn nobody_hides_an_address_behind_an_enormous_password() {
        let huge = "x".repeat(TERM_VALUE_BYTES_MAX);
        let line = format!(r#"{{"username":"{huge}","password":"{huge}","input":"{huge}","eventid":"e","src_ip":"192.0.2.1"}}"#);
        let found = terms(line.as_bytes()).unwrap();
        assert_eq!(found[1..], ["eventid=e", "src_ip=192.0.2.1"]);
        assert!(found.iter().map(String::len).sum::<usize>() < TERM_BYTES_PER_EVENT_MAX);

        let many: Vec<String> = (0..100_000).map(|at| format!(r#""input":"{at}""#)).collect();
        let found = terms(format!("{{{}}}", many.join(",")).as_bytes());
        assert_eq!(found.unwrap_err(), "line longer than 1048576 bytes");
        let found = terms(format!("{{{}}}", many[..50_000].join(",")).as_bytes()).unwrap();
        assert_eq!(found.len(), TERMS_PER_EVENT_MAX);
        assert_eq!(found[63], "command=63");
    }

    #[test]
    fn every_field_of_cowrie_has_a_member() {
        // Those behind `cve` are found in texts.
        let own = &Field::ALL[..=Field::Cve as usize];
        let line: Vec<String> =
            own.iter().map(|field| format!(r#""{}":"v""#, if *field == Field::Command { "input" } else { field.name() })).collect();
        let found = terms(format!("{{{}}}", line.join(",")).as_bytes()).unwrap();
        assert_eq!(found.len(), own.len());
    }
}
