//! Indicators: what texts name that is worth knowing elsewhere. One small file per kind, each an [`Extractor`].
//!
//! [`indicators`] prepares a text once ([`Text`]) and lets every extractor look at it. All of them run in time linear in the
//! text's length, whatever it holds, and none is asked about a text that lacks the bytes its values cannot do without.
pub mod bank_account;
pub mod btc;
pub mod cve;
pub mod eth;
pub mod hash;
pub mod ifsc;
pub mod ja4;
pub mod label;
pub mod phone;
pub mod runs;
pub mod ssh_key;
#[cfg(test)]
mod table;
pub mod upi;
pub mod xmr;

use crate::events::Field;
use std::ops::Range;

/// Longest text that is looked at, bytes; of a longer one only its beginning.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most indicators taken from one text.
pub const INDICATORS_PER_TEXT_MAX: usize = 48;

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
    /// run in step. Empty when the texts are the same, or when this text was decoded out of another one.
    pub origins: &'a [(u32, u32)],
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
        if self.indicators.len() >= INDICATORS_PER_TEXT_MAX || value.is_empty() {
            return;
        }
        if self.indicators.iter().any(|known| known.field == field && known.value == value) {
            return;
        }
        let written = text.written(range);
        let verbatim = (written != value).then(|| written.to_owned());
        self.indicators.push(Indicator { field, value: value.to_owned(), verbatim });
    }

    /// Whether this was found.
    pub fn has(&self, field: Field, value: &str) -> bool {
        self.indicators.iter().any(|known| known.field == field && (known.value == value || known.verbatim.as_deref() == Some(value)))
    }
}

impl<'a> Text<'a> {
    /// A text with nothing to prepare.
    pub fn plain(context: Context, text: &'a str) -> Text<'a> {
        Text { context, verbatim: text, plain: text, defanged: &[], origins: &[] }
    }

    /// What stands at `range` of `plain`, as it was written.
    pub fn written(&self, range: Range<usize>) -> &'a str {
        if self.origins.is_empty() {
            return &self.plain[range];
        }
        let origin = |at: usize| {
            let pair = self.origins[self.origins.partition_point(|&(plain, _)| plain as usize <= at).saturating_sub(1)];
            (pair.1 as usize + at.saturating_sub(pair.0 as usize)).min(self.verbatim.len())
        };
        self.verbatim.get(origin(range.start)..origin(range.end)).unwrap_or(&self.plain[range])
    }
}

/// Finds the values of one kind, or of kinds that are told apart by looking closely (the hashes by their length).
pub trait Extractor: Sync {
    /// What it finds.
    fn fields(&self) -> &'static [Field];

    /// Finds every value in the text, in time linear in its length.
    fn extract(&self, text: &Text<'_>, found: &mut Found);
}

/// Every extractor. A new kind is one file and one entry here.
pub static EXTRACTORS: &[&dyn Extractor] = &[
    &hash::Hash,
    &cve::Cve,
    &btc::Btc,
    &eth::Eth,
    &xmr::Xmr,
    &phone::Phone,
    &upi::Upi,
    &ifsc::Ifsc,
    &bank_account::BankAccount,
    &ssh_key::SshKey,
    &ja4::Ja4,
];

/// All indicators of a text.
pub fn indicators(context: Context, text: &str, found: &mut Found) {
    let text = Text::plain(context, text);
    for extractor in EXTRACTORS {
        extractor.extract(&text, found);
    }
}
