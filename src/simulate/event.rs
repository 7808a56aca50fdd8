//! Writing one Cowrie event as a line: the orders of fields, spacings and drifts of three generations of Cowrie.
//!
//! Lines are assembled by appending prepared bytes: a generator slower than the daemon would measure itself.
use crate::events::{Micros, time};

/// Which Cowrie writes the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 2017: Python's `json.dumps` spacing, `system` and `isError`, float `duration`, no `protocol`.
    Y2017,
    /// Early 2026: fields of the kind first, the session's last, `duration` a string.
    Y2026,
    /// Cowrie 3.1: the session's fields first, `message` last, `duration_ms` an integer.
    V31,
}

/// What all events of one session share, as bytes ready to be copied.
pub struct SessionBytes<'a> {
    pub session: &'a [u8],
    pub protocol: &'a [u8],
    pub src_ip: &'a [u8],
    pub src_port: u16,
    pub dst_ip: &'a [u8],
    pub dst_port: u16,
    pub sensor: &'a [u8],
    pub uuid: &'a [u8],
    /// `CowrieTelnetTransport,12,192.0.2.1` (2017 only).
    pub system: &'a [u8],
}

/// How an event of a kind differs from the common arrangement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    Common,
    /// `session.connect`: addresses first, in every generation.
    Connect,
    /// `direct-tcpip.request`: `src_ip` and `src_port` among its own fields.
    TunnelRequest,
    /// Later `direct-tcpip.*`: the destination is the tunnel's.
    Tunnel,
    /// `session.params`: the message is not a string.
    Params,
}

/// One event, but for [`LineWriter::fields`] and [`LineWriter::message`].
pub struct Event<'a> {
    /// With its `cowrie.`.
    pub kind: &'a str,
    pub arrangement: Arrangement,
    pub time: Micros,
    pub session: &'a SessionBytes<'a>,
    /// Where the tunnel leads, for the two arrangements that say so.
    pub tunnel: (&'a [u8], u16),
}

/// Appends lines; keeps the rendered minute, which most neighbours share.
pub struct LineWriter {
    minute: i64,
    /// `2026-03-22T00:14:`
    minute_text: [u8; 17],
    /// Fields of the event's kind: `"username":"root","password":"x",`, each with its comma.
    pub fields: Vec<u8>,
    /// The message, as it stands inside a JSON string.
    pub message: Vec<u8>,
}

impl Default for LineWriter {
    fn default() -> LineWriter {
        LineWriter {
            minute: i64::MIN,
            minute_text: *b"0000-00-00T00:00:",
            fields: Vec::with_capacity(4096),
            message: Vec::with_capacity(512),
        }
    }
}

macro_rules! put {
    ($out:expr, $($piece:expr),+ $(,)?) => {{ $( $out.extend_from_slice(AsRef::<[u8]>::as_ref($piece)); )+ }};
}
pub(super) use put;

impl LineWriter {
    /// Appends the event's line from [`LineWriter::fields`] and [`LineWriter::message`], then empties both.
    pub fn write(&mut self, out: &mut Vec<u8>, layout: Layout, event: &Event<'_>) {
        let stamp = self.stamp(event.time);
        match layout {
            Layout::Y2026 => self.write_2026(out, &stamp, event),
            Layout::V31 => self.write_v31(out, &stamp, event),
            Layout::Y2017 => self.write_2017(out, &stamp, event),
        }
        self.fields.clear();
        self.message.clear();
    }

    /// `2026-03-22T00:14:41.244717Z`
    pub fn stamp(&mut self, time: Micros) -> [u8; 27] {
        const MINUTE: i64 = 60 * time::MICROS_PER_SECOND;
        let minute = time.div_euclid(MINUTE);
        if minute != self.minute {
            self.minute = minute;
            let text = time::format(minute * MINUTE);
            self.minute_text.copy_from_slice(&text.as_bytes()[..17]);
        }
        let within = time.rem_euclid(MINUTE) as u32;
        let mut stamp = *b"0000-00-00T00:00:00.000000Z";
        stamp[..17].copy_from_slice(&self.minute_text);
        let (second, mut micros) = (within / 1_000_000, within % 1_000_000);
        stamp[17] = b'0' + (second / 10) as u8;
        stamp[18] = b'0' + (second % 10) as u8;
        for place in (20..26).rev() {
            stamp[place] = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        stamp
    }

    fn write_2026(&self, out: &mut Vec<u8>, stamp: &[u8], event: &Event<'_>) {
        let &Event { kind, arrangement, session, tunnel, .. } = event;
        put!(out, "{\"eventid\":\"", kind, "\",");
        match arrangement {
            Arrangement::Connect => {
                put!(out, "\"src_ip\":\"", session.src_ip, "\",\"src_port\":");
                push_number(out, u64::from(session.src_port));
                put!(out, ",\"dst_ip\":\"", session.dst_ip, "\",\"dst_port\":");
                push_number(out, u64::from(session.dst_port));
                put!(out, ",\"session\":\"", session.session, "\",\"protocol\":\"", session.protocol, "\",");
            }
            Arrangement::TunnelRequest | Arrangement::Tunnel => {
                put!(out, "\"dst_ip\":\"", tunnel.0, "\",\"dst_port\":");
                push_number(out, u64::from(tunnel.1));
                out.push(b',');
                if arrangement == Arrangement::TunnelRequest {
                    put!(out, "\"src_ip\":\"", session.src_ip, "\",\"src_port\":");
                    push_number(out, u64::from(session.src_port));
                    out.push(b',');
                }
            }
            Arrangement::Common | Arrangement::Params => (),
        }
        put!(out, &self.fields, "\"message\":");
        match arrangement {
            Arrangement::Params => put!(out, "[]"),
            _ => put!(out, "\"", &self.message, "\""),
        }
        put!(out, ",\"sensor\":\"", session.sensor, "\",\"uuid\":\"", session.uuid, "\",\"timestamp\":\"", stamp);
        match arrangement {
            Arrangement::Connect => put!(out, "\"}\n"),
            Arrangement::TunnelRequest => put!(out, "\",\"session\":\"", session.session, "\",\"protocol\":\"", session.protocol, "\"}\n"),
            _ => put!(
                out,
                "\",\"src_ip\":\"",
                session.src_ip,
                "\",\"session\":\"",
                session.session,
                "\",\"protocol\":\"",
                session.protocol,
                "\"}\n"
            ),
        }
    }

    fn write_v31(&self, out: &mut Vec<u8>, stamp: &[u8], event: &Event<'_>) {
        let &Event { kind, arrangement, session, tunnel, .. } = event;
        put!(out, "{\"session\":\"", session.session, "\",\"protocol\":\"", session.protocol, "\",\"src_ip\":\"", session.src_ip);
        put!(out, "\",\"src_port\":");
        push_number(out, u64::from(session.src_port));
        let (dst_ip, dst_port) = match arrangement {
            Arrangement::Tunnel | Arrangement::TunnelRequest => tunnel,
            _ => (session.dst_ip, session.dst_port),
        };
        put!(out, ",\"dst_ip\":\"", dst_ip, "\",\"dst_port\":");
        push_number(out, u64::from(dst_port));
        out.push(b',');
        if arrangement == Arrangement::TunnelRequest {
            put!(out, "\"orig_ip\":\"127.0.0.1\",\"orig_port\":");
            push_number(out, u64::from(session.src_port));
            out.push(b',');
        }
        put!(out, &self.fields, "\"eventid\":\"", kind, "\",\"sensor\":\"", session.sensor, "\",\"uuid\":\"", session.uuid);
        put!(out, "\",\"timestamp\":\"", stamp, "\",\"message\":\"", &self.message, "\"}\n");
    }

    fn write_2017(&self, out: &mut Vec<u8>, stamp: &[u8], event: &Event<'_>) {
        let &Event { kind, arrangement, session, tunnel, .. } = event;
        put!(out, "{\"eventid\": \"", kind, "\", ", &self.fields, "\"timestamp\": \"", stamp, "\", \"message\": \"", &self.message);
        put!(out, "\", \"system\": \"", session.system, "\", \"isError\": 0, \"src_ip\": \"", session.src_ip, "\", ");
        match arrangement {
            Arrangement::Connect => {
                put!(out, "\"src_port\": ");
                push_number(out, u64::from(session.src_port));
                put!(out, ", \"dst_port\": ");
                push_number(out, u64::from(session.dst_port));
                put!(out, ", \"dst_ip\": \"", session.dst_ip, "\", ");
            }
            Arrangement::Tunnel | Arrangement::TunnelRequest => {
                put!(out, "\"dst_port\": ");
                push_number(out, u64::from(tunnel.1));
                put!(out, ", \"dst_ip\": \"", tunnel.0, "\", ");
            }
            Arrangement::Common | Arrangement::Params => (),
        }
        put!(out, "\"session\": \"", session.session, "\", \"sensor\": \"", session.sensor, "\"}\n");
    }
}

/// Appends a decimal number.
#[inline]
pub fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the lowest `digits` hexadecimal digits.
#[inline]
pub fn push_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (place * 4)) as usize & 15]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_those_of_the_time_module() {
        let mut writer = LineWriter::default();
        for time in [0, 1, 1_774_138_242_831_494, 1_774_138_242_831_495, 1_774_138_259_999_999, 1_774_138_260_000_000, 951_826_332_000_007]
        {
            assert_eq!(std::str::from_utf8(&writer.stamp(time)).unwrap(), time::format(time));
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        let mut out = Vec::new();
        for number in [0, 7, 10, 65_535, u64::MAX] {
            push_number(&mut out, number);
            out.push(b' ');
        }
        push_hex(&mut out, 0xabc, 6);
        assert_eq!(out, b"0 7 10 65535 18446744073709551615 000abc");
    }
}
