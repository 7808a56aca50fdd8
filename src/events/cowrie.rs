//! Cowrie's JSON log, as ten years of versions wrote it.
//!
//! Every JSON object is an event, whatever its `eventid`: a schema says what is wrong, not what is new. Members are known by
//! name alone, in any order: `input` is what was typed under four event ids, `src_ip` may be a hash, `dst_ip` of a tunnel is
//! mostly a host name, ports are numbers and become text. Members of another type than expected and unknown ones are passed over.
//!
//! An empty value is a term where somebody typed it: the empty user name, password or command is an answer worth counting
//! (5,781 of 409,000 real events). Elsewhere an empty string says that nothing is known, and is no term.
use super::decoder::{Decoder, Event, Identity};
use super::json::{self, Flaw, Literal, Value};
use super::{Field, time};

/// The decoder of [`Format::Cowrie`](crate::sources::Format::Cowrie).
pub struct Cowrie;

impl Decoder for Cowrie {
    fn identity(&self) -> Identity {
        Identity::Line
    }

    fn decode(&self, line: &[u8], event: &mut Event) -> Result<(), Flaw> {
        json::members(line, |name, value| match if name.escaped { escaped_member(name) } else { member(name.raw) } {
            Member::Unknown => {}
            Member::Term(field) => {
                if let Some(text) = event.text(value)
                    && (!text.is_empty() || matches!(field, Field::Username | Field::Password | Field::Command))
                {
                    event.add(field, text);
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
        })?;
        event.finish();
        Ok(())
    }
}

enum Member {
    Unknown,
    Term(Field),
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
            _ => return Member::Unknown,
        },
        4 => match name {
            b"arch" => Arch,
            b"ja4h" => Ja4h,
            _ => return Member::Unknown,
        },
        5 => match name {
            b"input" => Command,
            b"hassh" => Hassh,
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
