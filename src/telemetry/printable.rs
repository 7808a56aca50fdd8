//! Text that reaches a terminal or a log without doing anything there.
use std::borrow::Cow;
use std::fmt::Write;

/// Characters that steer a terminal, start a line, reorder text or hide in it.
///
/// C0, DEL and C1 controls; line and paragraph separators; bidirectional controls; zero-width and other invisible format
/// characters; tag characters; the byte order mark; private-use and non-characters stay, they only look odd.
pub const fn is_hostile(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with each hostile character as `\u{…}`.
///
/// A backslash stays as it is, so the result is for reading, not for parsing back.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hostile(c) {
            write!(out, "\\u{{{:x}}}", u32::from(c)).expect("writing to a string cannot fail");
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The longest beginning of `text` of at most `bytes_max` bytes that ends at a character's end.
pub fn prefix(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    // A character has at most four bytes, and the empty beginning always ends at one.
    let end = (bytes_max.saturating_sub(3)..=bytes_max).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

/// A CSV cell: a spreadsheet takes one that begins like this for a formula, and attackers chose it.
pub fn spreadsheet_cell(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_become_visible() {
        let cases = [
            ("plain ünïcödé 漢字 🐝", "plain ünïcödé 漢字 🐝"),
            ("\x1b]0;owned\x07", "\\u{1b}]0;owned\\u{7}"),
            ("a\r\nb\0", "a\\u{d}\\u{a}b\\u{0}"),
            ("\u{9b}2J\u{85}", "\\u{9b}2J\\u{85}"),
            ("\u{202e}gpj.exe\u{2066}\u{200b}\u{2028}", "\\u{202e}gpj.exe\\u{2066}\\u{200b}\\u{2028}"),
            ("\u{feff}\u{e0041}\u{7f}", "\\u{feff}\\u{e0041}\\u{7f}"),
        ];
        for (text, expected) in cases {
            assert_eq!(printable(text), expected);
            assert!(!printable(text).chars().any(is_hostile));
        }
    }

    #[test]
    fn a_prefix_ends_between_characters() {
        assert_eq!(prefix("a漢字", 3), "a");
        assert_eq!(prefix("a漢字", 4), "a漢");
        assert_eq!(prefix("abc", 10), "abc");
    }
}
