//! Indicators: what texts name that is worth knowing elsewhere. One small file per kind, each an [`Extractor`].
//!
//! [`indicators`] prepares a text once ([`Text`]) and lets every extractor look at it. All of them run in time linear in the
//! text's length, whatever it holds, and none is asked about a text that lacks the bytes its values cannot do without ([`Needs`]).
//! What was packed into the text (base64, percent signs) is looked at as a text of its own.
mod decode;
mod domain;
mod email;
mod fetched;
mod ipv4;
mod ipv6;
mod needs;
mod text;
mod url;

pub use needs::{ByteSet, Needs, Seen};

use crate::events::Field;
use std::ops::Range;

/// Longest text that is looked at, bytes; of a longer one only its beginning.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most indicators taken from one text.
pub const INDICATORS_PER_TEXT_MAX: usize = 48;
/// How deep texts packed into texts are followed.
pub const LAYERS_MAX: usize = 3;

/// Where a text comes from: what a string of digits means depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// Typed into a shell: escapes and base64 are decoded first.
    Command,
    /// One message of a chat.
    Chat,
    /// Where a name or an address is expected: a tunnel's target, a URL that was fetched.
    Address,
    /// A file's hash.
    Hash,
    /// Anything else: user names, passwords, version strings, payloads.
    Other,
}

/// One text, prepared for all extractors.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub context: Context,
    /// As it was written.
    pub verbatim: &'a str,
    /// With look-alikes folded to ASCII, invisible characters removed and defanged forms made whole: what extractors read.
    /// The same slice as `verbatim` when there was nothing to do.
    pub plain: &'a str,
    /// Offsets in `plain` where the text was defanged (ascending): who writes `evil[.]com` means a name.
    pub defanged: &'a [u32],
    /// Where a byte of `plain` stood in `verbatim`: pairs (offset in plain, offset in verbatim), ascending; between two of them both
    /// run in step. Two pairs enclose what was replaced, so an offset in `plain` occurs twice where something was removed.
    /// Empty when the texts are the same.
    pub origins: &'a [(u32, u32)],
    /// Offsets in `plain` (ascending) where a command names what `wget`, `curl` and the like shall fetch, or whom `ssh` shall call:
    /// a word there is an address even if it looks like a file.
    pub fetched: &'a [u32],
}

/// One indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indicator {
    pub field: Field,
    /// In the form in which equal things are equal: host names in lower case, phone numbers in E.164.
    pub value: String,
    /// As it stood in the text, where that differs.
    pub verbatim: Option<String>,
}

/// What was found in one text: each (field, value) once, in the order found, at most [`INDICATORS_PER_TEXT_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub indicators: Vec<Indicator>,
}

impl Found {
    /// Notes a value that stands at `range` of `text.plain`; `value` is its canonical form.
    pub fn add(&mut self, field: Field, value: &str, text: &Text<'_>, range: Range<usize>) {
        if self.is_full() || value.is_empty() {
            return;
        }
        if self.indicators.iter().any(|known| known.field == field && known.value == value) {
            return;
        }
        let written = text.written(range);
        let verbatim = (written != value).then(|| written.to_owned());
        self.indicators.push(Indicator { field, value: value.to_owned(), verbatim });
    }

    /// Whether no more is taken.
    pub fn is_full(&self) -> bool {
        self.indicators.len() >= INDICATORS_PER_TEXT_MAX
    }

    /// Whether this was found.
    pub fn has(&self, field: Field, value: &str) -> bool {
        self.indicators.iter().any(|known| known.field == field && (known.value == value || known.verbatim.as_deref() == Some(value)))
    }
}

impl<'a> Text<'a> {
    /// A text with nothing to prepare.
    pub fn plain(context: Context, text: &'a str) -> Text<'a> {
        Text { context, verbatim: text, plain: text, defanged: &[], origins: &[], fetched: &[] }
    }

    /// What stands at `range` of `plain`, as it was written.
    pub fn written(&self, range: Range<usize>) -> &'a str {
        if self.origins.is_empty() {
            return &self.plain[range];
        }
        let (start, end) = (text::origin_of_start(self.origins, range.start), text::origin_of_end(self.origins, range.end));
        self.verbatim.get(start..end).unwrap_or(&self.plain[range])
    }

    /// Whether the text was defanged somewhere in `range`.
    pub fn is_defanged(&self, range: &Range<usize>) -> bool {
        let next = self.defanged.partition_point(|&at| (at as usize) < range.start);
        self.defanged.get(next).is_some_and(|&at| (at as usize) < range.end)
    }

    /// Whether a command fetches from what begins at `at`.
    pub fn is_fetched(&self, at: usize) -> bool {
        self.fetched.binary_search(&(at as u32)).is_ok()
    }
}

/// Finds the values of one kind, or of kinds that are told apart by looking closely (the hashes by their length).
pub trait Extractor: Sync {
    /// What it finds.
    fn fields(&self) -> &'static [Field];

    /// What a text must hold for this to be worth a look: cheap to check, and most texts lack it.
    fn needs(&self) -> Needs {
        Needs::NOTHING
    }

    /// Finds every value in the text, in time linear in its length.
    fn extract(&self, text: &Text<'_>, found: &mut Found);
}

/// Every extractor, in the order in which a text's indicators are listed. A new kind is one file and one entry here.
pub static EXTRACTORS: &[&dyn Extractor] = &[&url::Urls, &domain::Domains, &ipv4::Addresses, &ipv6::Addresses, &email::Addresses];

/// All indicators of a text.
pub fn indicators(context: Context, text: &str, found: &mut Found) {
    indicators_of_all(context, &text[..text.floor_char_boundary(TEXT_BYTES_MAX)], found);
}

/// [`indicators`] of a text however long: for measuring that time grows with length and no faster.
#[doc(hidden)]
pub fn indicators_of_all(context: Context, text: &str, found: &mut Found) {
    let mut budget = decode::Budget::of(text);
    look(context, text, 0, &mut budget, found);
}

fn look(context: Context, text: &str, layer: usize, budget: &mut decode::Budget, found: &mut Found) {
    let seen = Seen::of(text);
    let prepared = text::prepare(context, text, &seen);
    let now_seen;
    let (looked_at, seen) = match &prepared {
        None => (Text::plain(context, text), &seen),
        Some(prepared) => {
            now_seen = Seen::of(&prepared.plain);
            (prepared.text(context, text), &now_seen)
        }
    };
    let fetched = fetched::targets(&looked_at, seen);
    let looked_at = Text { fetched: &fetched, ..looked_at };
    for extractor in EXTRACTORS {
        if seen.suffices(&extractor.needs()) {
            extractor.extract(&looked_at, found);
        }
    }
    if layer < LAYERS_MAX {
        decode::packed(&looked_at, seen, budget, &mut |budget, context, unpacked| look(context, unpacked, layer + 1, budget, found));
    }
}
