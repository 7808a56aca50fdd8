//! Output a person reads: made harmless, measured, aligned, coloured only where that is wanted.
//!
//! What honeypots log was chosen by attackers, and a terminal obeys what it is sent: escape sequences retitle windows, fill clipboards and
//! rewrite lines; direction marks turn names around; invisible characters hide. So nothing of theirs reaches a terminal but through
//! [`escape`] (for people) or [`escape_json`] (JSON that stays the same JSON). Exact bytes go only to a pipe or file, or with `--raw`.
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;
use unicode_width::UnicodeWidthChar;

/// Columns assumed when nobody says how wide the terminal is.
const COLUMNS_DEFAULT: usize = 100;
/// More zero-width marks than this on one character are escaped: they would pile up over the neighbouring lines.
const MARKS_MAX: usize = 3;

/// Where output goes and what it may look like there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Standard output is a terminal: attackers' text is escaped even in JSON.
    pub terminal: bool,
    /// Colours are wanted.
    pub colour: bool,
    /// Width to keep to; `None` in a pipe, where nothing is cut.
    pub columns: Option<usize>,
}

impl Output {
    /// Standard output as it is.
    pub fn stdout() -> Output {
        let terminal = std::io::stdout().is_terminal();
        Output::decide(terminal, terminal.then(columns_of_stdout).flatten(), |name| std::env::var(name).ok())
    }

    /// As [`Output::stdout`], with what it looks at as parameters: colour on a terminal unless `NO_COLOR` says otherwise (any value but
    /// the empty one, see no-color.org) or `TERM` is dumb.
    pub fn decide(terminal: bool, columns: Option<usize>, variable: impl Fn(&str) -> Option<String>) -> Output {
        let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty()) || variable("TERM").as_deref() == Some("dumb");
        let named = variable("COLUMNS").and_then(|value| value.parse().ok());
        let columns = terminal.then(|| columns.or(named).unwrap_or(COLUMNS_DEFAULT).clamp(20, 1_000));
        Output { terminal, colour: terminal && !refused, columns }
    }

    /// A pipe or a file: no colour, no cutting. Human-readable forms are escaped all the same.
    pub const fn plain() -> Output {
        Output { terminal: false, colour: false, columns: None }
    }

    /// `text`, which must be harmless already, in a colour if colours are wanted.
    pub fn paint(&self, colour: Colour, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{}m{text}\x1b[0m", colour.code()) } else { text.to_owned() }
    }

    /// One original line for `--json`: exact bytes, but on a terminal (unless `raw`) escaped so that it is harmless and the same JSON.
    pub fn json_line<'a>(&self, line: &'a [u8], raw: bool) -> Cow<'a, [u8]> {
        if self.terminal && !raw { escape_json(line) } else { Cow::Borrowed(line) }
    }
}

/// The few colours used, by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Times, counts, column heads.
    Quiet,
    /// Names and values worth a look.
    Strong,
    Good,
    Warning,
    Bad,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Colour::Quiet => "2",
            Colour::Strong => "1",
            Colour::Good => "32",
            Colour::Warning => "33",
            Colour::Bad => "31",
        }
    }
}

/// `text` for a person: every character that a terminal would obey or that would not be seen becomes visible: `\x1b`, `\n`, `\u{202e}`.
///
/// Backslashes stay as they are, so a literal `\x1b` typed by an attacker looks like an escape character: harmless, and commands stay
/// readable. JSON output tells the two apart.
pub fn escape(text: &str) -> Cow<'_, str> {
    if is_harmless(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut marks = 0;
    for character in text.chars() {
        marks = if character.width() == Some(0) { marks + 1 } else { 0 };
        if is_harmful(character) || marks > MARKS_MAX {
            push_visible(&mut out, character);
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// [`escape`] for bytes that may not be UTF-8: what is not becomes `\xff`.
pub fn escape_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return escape(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// JSON that means the same and holds nothing a terminal obeys: harmful characters become `\uXXXX`, which is what they stand for inside a
/// string; between values, where JSON allows only blanks, line ends become blanks. Bytes that are not UTF-8 become U+FFFD.
pub fn escape_json(json: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(json).is_ok_and(is_harmless) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    let (mut in_string, mut escaped, mut marks) = (false, false, 0);
    for chunk in json.utf8_chunks() {
        for character in chunk.valid().chars() {
            marks = if character.width() == Some(0) { marks + 1 } else { 0 };
            if !in_string && matches!(character, '\t' | '\n' | '\r') {
                out.push(' ');
            } else if is_harmful(character) || marks > MARKS_MAX {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            } else {
                out.push(character);
            }
            match character {
                '"' if !escaped => in_string = !in_string,
                _ => (),
            }
            escaped = in_string && character == '\\' && !escaped;
        }
        if !chunk.invalid().is_empty() {
            out.push_str("\\ufffd");
            escaped = false;
        }
    }
    Cow::Owned(out.into_bytes())
}

fn is_harmless(text: &str) -> bool {
    // Nearly all text is printable ASCII.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return true;
    }
    let mut marks = 0;
    text.chars().all(|character| {
        marks = if character.width() == Some(0) { marks + 1 } else { 0 };
        !is_harmful(character) && marks <= MARKS_MAX
    })
}

/// Characters that act on a terminal, change the direction of text, end lines, or hide: Unicode's categories Cc, Cf, Zl and Zp, private use
/// (whose look depends on the reader's fonts), letters without a shape, and variation selectors beyond the two for emoji.
fn is_harmful(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{10ffff}')
}

fn push_visible(out: &mut String, character: char) {
    let _ = match character {
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(character)),
        _ => write!(out, "\\u{{{:x}}}", u32::from(character)),
    };
}

/// Columns that harmless text takes.
pub fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// `text` in at most `columns` columns, ending in `…` when something was cut.
pub fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if text.len() <= columns || width(text) <= columns {
        return Cow::Borrowed(text);
    }
    if columns == 0 {
        return Cow::Borrowed("");
    }
    let mut used = 0;
    let end = text
        .char_indices()
        .find(|&(_, character)| {
            used += character.width().unwrap_or(0);
            used > columns - 1
        })
        .map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// `999`, `1.2 k`, `34 M`: three digits or fewer.
pub fn count(number: u64) -> String {
    scaled(number, 1_000, &["", "k", "M", "G", "T", "P", "E"])
}

/// `512 B`, `3.4 MiB`.
pub fn bytes(number: u64) -> String {
    scaled(number, 1_024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn scaled(number: u64, base: u64, units: &[&str]) -> String {
    let (mut value, mut unit) = (number as f64, 0);
    // What would round to the base (999,950 to "1000 k") goes to the next unit.
    while unit + 1 < units.len() && (value >= base as f64 || value.round() >= base as f64 && unit > 0) {
        value /= base as f64;
        unit += 1;
    }
    let digits = if unit == 0 {
        format!("{number}")
    } else if value < 9.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    };
    if units[unit].is_empty() { digits } else { format!("{digits} {}", units[unit]) }
}

/// `85 ms`, `1.5 s`, `3 min 07 s`, `2 h 05 min`, `12 d 3 h`.
pub fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.as_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{} s", millis % 1_000 / 100),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Which side a column leans to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Rows under heads, as wide as their contents; the last column gives way when the terminal is too narrow.
#[derive(Debug)]
pub struct Table {
    heads: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(heads: &[(&'static str, Align)]) -> Table {
        Table { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells are escaped here, so nobody can forget to. Missing cells are empty, surplus ones are dropped.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = Cow<'a, str>>) {
        let mut row: Vec<String> = cells.into_iter().take(self.heads.len()).map(|cell| escape(&cell).into_owned()).collect();
        row.resize(self.heads.len(), String::new());
        self.rows.push(row);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line with its newline; empty without rows.
    pub fn render(&self, output: &Output) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut widths: Vec<usize> = self.heads.iter().map(|(head, _)| width(head)).collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                widths[column] = widths[column].max(width(cell));
            }
        }
        let last = widths.len() - 1;
        if let Some(columns) = output.columns {
            let before: usize = widths[..last].iter().map(|width| width + 2).sum();
            widths[last] = widths[last].min(columns.saturating_sub(before).max(10));
        }
        let mut text = String::new();
        let heads: Vec<String> = self.heads.iter().map(|(head, _)| (*head).to_owned()).collect();
        let head = self.line(&heads, &widths);
        text.push_str(&output.paint(Colour::Quiet, &head));
        text.push('\n');
        for row in &self.rows {
            text.push_str(&self.line(row, &widths));
            text.push('\n');
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let cell = truncate(cell, widths[column]);
            let pad = widths[column].saturating_sub(width(&cell));
            match self.heads[column].1 {
                Align::Right => line.extend(std::iter::repeat_n(' ', pad)),
                Align::Left => (),
            }
            line.push_str(&cell);
            if self.heads[column].1 == Align::Left && column + 1 < cells.len() {
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

const TEMPLATE_TOTAL: &str = "{bar:24} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left  {msg}";
const TEMPLATE_OPEN: &str = "{spinner} {binary_bytes}  {binary_bytes_per_sec}  {msg}";
const TEMPLATE_COUNT: &str = "{spinner} {pos} done  {elapsed}  {msg}";

/// A progress bar over `total` bytes on standard error, hidden when that is no terminal. Finish it with `finish_and_clear`.
pub fn progress(total: Option<u64>) -> indicatif::ProgressBar {
    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), TEMPLATE_TOTAL),
        None => (ProgressBar::no_length(), TEMPLATE_OPEN),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    let style = ProgressStyle::with_template(template).expect("the templates are constants, and a test parses them");
    bar.set_style(style.progress_chars("=> "));
    bar
}

/// A count of what is done, on standard error, hidden when that is no terminal. Finish it with `finish_and_clear`.
pub fn counter() -> indicatif::ProgressBar {
    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    bar.set_style(ProgressStyle::with_template(TEMPLATE_COUNT).expect("the templates are constants, and a test parses them"));
    bar
}

fn columns_of_stdout() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::hostile;

    const TERMINAL: Output = Output { terminal: true, colour: true, columns: Some(60) };

    #[test]
    fn escapes_what_a_terminal_would_obey_or_hide() {
        for (text, shown) in [
            ("plain text, naïve 日本", "plain text, naïve 日本"),
            ("\x1b[31mred", "\\x1b[31mred"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("a\nb\r\tc\x7f\0", "a\\nb\\r\\tc\\x7f\\x00"),
            ("exe\u{202e}txt", "exe\\u{202e}txt"),
            ("a\u{2028}b\u{200b}c\u{feff}", "a\\u{2028}b\\u{200b}c\\u{feff}"),
            ("echo -e \"\\x6f\"", "echo -e \"\\x6f\""),
            ("e\u{301}", "e\u{301}"),
            ("e\u{301}\u{302}\u{303}\u{304}", "e\u{301}\u{302}\u{303}\\u{304}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(escape(text), shown);
        }
        assert_eq!(escape_bytes(b"caf\xe9 \x1b"), "caf\\xe9 \\x1b");
        assert!(matches!(escape("harmless"), Cow::Borrowed(_)));
    }

    #[test]
    fn nothing_of_the_hostile_menu_survives_any_way_out() {
        for line in hostile::lines() {
            for shown in [escape_bytes(&line).into_owned(), String::from_utf8(escape_json(&line).into_owned()).unwrap()] {
                assert!(shown.chars().all(|character| !is_harmful(character)), "{shown}");
            }
        }
    }

    #[test]
    fn escaped_json_means_the_same() {
        for line in hostile::lines() {
            let Ok(before) = serde_json::from_slice::<serde_json::Value>(&line) else { continue };
            let after: serde_json::Value = serde_json::from_slice(&escape_json(&line)).unwrap();
            assert!(before == after, "{before}");
        }
        let raw = "{\"a\":\t\"x\u{7f}\u{202e}\\\\\u{e0041}\",\r\n\"b\":\"\\\"\u{85}\"}";
        let before: serde_json::Value = serde_json::from_str(raw).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&escape_json(raw.as_bytes())).unwrap(), before);
        // Invalid UTF-8 would not parse at all; it becomes the replacement character.
        let mended: serde_json::Value = serde_json::from_slice(&escape_json(b"{\"a\":\"\xff\xfe!\"}")).unwrap();
        assert!(mended["a"].as_str().unwrap().ends_with('!'));
    }

    #[test]
    fn json_lines_are_exact_in_a_pipe_and_with_raw() {
        let line = b"{\"a\":\"\xff\x7f\"}";
        assert_eq!(&*Output::plain().json_line(line, false), line);
        assert_eq!(&*TERMINAL.json_line(line, true), line);
        assert_eq!(&*TERMINAL.json_line(line, false), br#"{"a":"\ufffd\u007f"}"#);
    }

    #[test]
    fn colour_needs_a_terminal_and_nobody_against_it() {
        let none = |_: &str| None;
        let no_color = |name: &str| (name == "NO_COLOR").then(|| "1".to_owned());
        let empty = |name: &str| (name == "NO_COLOR").then(String::new);
        let dumb = |name: &str| (name == "TERM").then(|| "dumb".to_owned());
        assert!(Output::decide(true, Some(80), none).colour && Output::decide(true, None, empty).colour);
        assert!(!Output::decide(true, Some(80), no_color).colour && !Output::decide(true, Some(80), dumb).colour);
        assert_eq!(Output::decide(false, Some(80), none), Output::plain());
        assert_eq!(TERMINAL.paint(Colour::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Output::plain().paint(Colour::Bad, "x"), "x");
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0 k"),
            (1_234, "1.2 k"),
            (9_949, "9.9 k"),
            (12_345, "12 k"),
            (999_499, "999 k"),
            (999_950, "1.0 M"),
            (u64::MAX, "18 E"),
        ] {
            assert_eq!(count(number), text);
        }
        for (number, text) in [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (3_565_158, "3.4 MiB"), (68_719_476_736, "64 GiB")] {
            assert_eq!(bytes(number), text);
        }
        for (millis, text) in
            [(0, "0 ms"), (85, "85 ms"), (1_560, "1.5 s"), (187_000, "3 min 07 s"), (7_500_000, "2 h 05 min"), (1_047_600_000, "12 d 3 h")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn cuts_by_columns_not_bytes() {
        assert_eq!(truncate("abcdef", 6), "abcdef");
        assert_eq!(truncate("abcdefg", 6), "abcde…");
        assert_eq!(truncate("全角全角", 8), "全角全角");
        assert_eq!(truncate("全角全角", 7), "全角全…");
        assert_eq!(truncate("全角全角", 6), "全角…");
        assert_eq!(truncate("abc", 0), "");
    }

    #[test]
    fn tables_align_escape_and_fit() {
        let mut table = Table::new(&[("n", Align::Right), ("name", Align::Left), ("text", Align::Left)]);
        assert_eq!(table.render(&Output::plain()), "");
        table.row(["1".into(), "全角".into(), "x\x1b[2J".into()]);
        table.row(["100".into(), "b".into()]);
        assert_eq!(table.render(&Output::plain()), "  n  name  text\n  1  全角  x\\x1b[2J\n100  b\n");
        table.row(["2".into(), "c".into(), "y".repeat(500).into()]);
        let narrow = Output { colour: false, ..TERMINAL };
        assert!(table.render(&narrow).lines().all(|line| width(line) <= 60));
        assert!(table.render(&Output::plain()).lines().any(|line| width(line) > 500));
    }

    #[test]
    fn progress_templates_are_valid() {
        progress(Some(10)).finish_and_clear();
        progress(None).finish_and_clear();
        for template in [TEMPLATE_TOTAL, TEMPLATE_OPEN, TEMPLATE_COUNT] {
            indicatif::ProgressStyle::with_template(template).unwrap();
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_out_harmless_and_any_json_unchanged(text in ".{0,80}", columns in 0usize..40) {
            proptest::prop_assert!(is_harmless(&escape(&text)));
            proptest::prop_assert!(width(&truncate(&escape(&text), columns)) <= columns);
            let json = serde_json::to_string(&[&text, &text]).unwrap();
            let escaped = escape_json(json.as_bytes());
            proptest::prop_assert!(escaped.iter().all(|byte| !byte.is_ascii_control()));
            proptest::prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&escaped).unwrap(), [text.as_str(), text.as_str()]);
        }

        #[test]
        fn any_bytes_come_out_harmless(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            proptest::prop_assert!(is_harmless(&escape_bytes(&bytes)));
            let json = String::from_utf8(escape_json(&bytes).into_owned()).unwrap();
            proptest::prop_assert!(json.chars().all(|character| !is_harmful(character)));
        }
    }
}
