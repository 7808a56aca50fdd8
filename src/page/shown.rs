//! How figures, times and whatever attackers wrote are shown: as text that does nothing, in full if it is asked for.
use crate::events::{Field, time};
use crate::indicators::defang::defang;
use crate::telemetry::printable::printable;
use maud::{Markup, html};
use std::time::Duration;

/// Longer values are cut, with all of them a click away, characters.
const SHOWN_CHARS: usize = 160;
/// No value is written longer than this into a page, characters: the original line has all of it.
const CHARS_MAX: usize = 20_000;

/// What an attacker wrote. Control characters and those that reorder or hide text are written as what they are.
pub fn value(value: &str) -> Markup {
    cut(value, SHOWN_CHARS)
}

/// The same, in a place where more fits.
pub fn long_value(value: &str) -> Markup {
    cut(value, SHOWN_CHARS * 6)
}

/// A value of a field: what leads somewhere is written so that it does not.
pub fn value_of(field: Field, value: &str) -> Markup {
    self::value(&defanged(field, value))
}

/// The same as text. Values that are joined of several are written so that no part of them leads anywhere.
pub fn defanged(field: Field, value: &str) -> String {
    match (field, value.split_once(' ')) {
        (Field::Download, Some((url, hash))) => format!("{} {hash}", defang(Field::Url, url)),
        (Field::Download, None) if value.contains("://") => defang(Field::Url, value),
        (Field::Tunnel | Field::DstIp, _) => defang(Field::Domain, value),
        _ => defang(field, value),
    }
}

/// What we say, in whole: with what stands between backticks as code, and what attackers wrote in it made visible.
pub fn prose(text: &str) -> Markup {
    let bounded: String = text.chars().take(CHARS_MAX / 10).collect();
    let text = printable(&bounded);
    html! { @for (number, part) in text.split('`').enumerate() { @if number % 2 == 1 { code { (part) } } @else { (part) } } }
}

fn cut(value: &str, chars: usize) -> Markup {
    let bounded: String = value.chars().take(CHARS_MAX).collect();
    let text = printable(&bounded);
    let end = text.char_indices().nth(chars).map(|(at, _)| at);
    html! {
        @if value.is_empty() {
            span .quiet { "(empty)" }
        } @else if let Some(end) = end {
            details .long {
                summary { bdi { code { (&text[..end]) "…" } } }
                bdi { code { (text) } }
                @if bounded.len() < value.len() { span .quiet { " … and " (count((value.len() - bounded.len()) as u64)) " bytes more" } }
            }
        } @else {
            bdi { code { (text) } }
        }
    }
}

/// Text for an attribute or a title, where no element can stand.
pub fn plain(value: &str) -> String {
    let bounded: String = value.chars().take(SHOWN_CHARS).collect();
    let more = if bounded.len() < value.len() { "…" } else { "" };
    format!("{}{more}", printable(&bounded))
}

/// `1 234 567`, with narrow spaces.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 event`, `2 events`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// RFC 3339 for machines; to the second for people, UTC.
pub fn moment(stamp: &str) -> Markup {
    let short = stamp.get(..19).unwrap_or(stamp).replace('T', " ");
    html! { time datetime=(stamp) { (short) } }
}

/// How long ago, at `now`: `3 min`.
pub fn age(stamp: &str, now: i64) -> Option<String> {
    let at = time::parse(stamp.as_bytes())?;
    let micros = u64::try_from(now.saturating_sub(at)).unwrap_or(0);
    Some(seconds(Duration::from_micros(micros)))
}

/// A stretch of time in its largest unit.
pub fn seconds(lasted: Duration) -> String {
    match lasted.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A piece of a path or of a query string of a URL.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => out.push(char::from(byte)),
            // A path piece of dots only would be taken for a directory.
            b'.' if text.bytes().any(|other| other != b'.') => out.push('.'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_attackers_wrote_is_text_and_is_seen() {
        let shown = value("<script>\u{202e}x\u{1b}[31m\"'").into_string();
        assert_eq!(shown, "<bdi><code>&lt;script&gt;\\u{202e}x\\u{1b}[31m&quot;'</code></bdi>");
        assert!(value("").into_string().contains("(empty)"));
    }

    #[test]
    fn long_values_are_cut_and_all_of_them_is_there() {
        let long = format!("{}END", "x".repeat(1_000));
        let shown = value(&long).into_string();
        assert!(shown.contains("<details") && shown.contains("x…</code>") && shown.contains("xEND</code>"), "{shown}");
        let endless = value(&"y".repeat(1 << 20)).into_string();
        assert!(endless.len() < 2 * CHARS_MAX && endless.contains("bytes more"));
    }

    #[test]
    fn nothing_of_a_value_gets_out_of_its_place_in_a_url() {
        assert_eq!(encoded("a/b?c&d=e#f%\"<é"), "a%2Fb%3Fc%26d%3De%23f%25%22%3C%C3%A9");
        assert_eq!((encoded(".."), encoded("1.2"), encoded(".")), ("%2E%2E".to_owned(), "1.2".to_owned(), "%2E".to_owned()));
    }

    #[test]
    fn no_part_of_a_joined_value_leads_anywhere() {
        assert_eq!(defanged(Field::Download, "http://evil.top/a 00ff"), "hxxp://evil[.]top/a 00ff");
        assert_eq!(defanged(Field::Download, "00ff"), "00ff");
        assert_eq!(defanged(Field::Tunnel, "evil.top:25"), "evil[.]top:25");
        assert_eq!(prose("see `a <b>` there").into_string(), "see <code>a &lt;b&gt;</code> there");
    }

    #[test]
    fn figures_and_ages_read_well() {
        assert_eq!((count(0), count(1_234_567)), ("0".to_owned(), "1\u{202f}234\u{202f}567".to_owned()));
        assert_eq!(counted(1, "event", "events"), "1 event");
        let at = |seconds: u64| super::seconds(Duration::from_secs(seconds));
        assert_eq!((at(5), at(90), at(7_300), at(200_000)), ("5 s".into(), "1 min".into(), "2 h".into(), "2 days".into()));
    }
}
