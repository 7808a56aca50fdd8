//! Indicators of the texts of an event, each distinct text looked through once.
//!
//! Attackers are scripts: of 203,000 text values of a segment 13,000 are new. What was found in a text is remembered with the
//! text, within [`MEMO_BYTES_MAX`]; then everything is forgotten at once, which costs less than to know what is old.
use super::Field;
use crate::extract::{self, Context, Found};
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Texts and findings remembered by one worker, bytes, besides their table.
const MEMO_BYTES_MAX: usize = 2 << 20;
const MEMO_TEXTS_MAX: usize = 16 << 10;
/// A longer text is looked through each time: a flood of them would push everything else out.
const MEMO_TEXT_BYTES_MAX: usize = 16 << 10;

/// Looks texts through, and remembers.
#[derive(Default)]
pub(super) struct Indicators {
    texts: HashTable<Remembered>,
    /// Texts and the values found in them.
    bytes: Vec<u8>,
    found: Vec<(Field, Range<u32>)>,
    scratch: Found,
    hasher: foldhash::fast::RandomState,
    /// Texts on which an extractor panicked: they have no indicators.
    pub panics: u64,
}

struct Remembered {
    hash: u64,
    context: Context,
    text: Range<u32>,
    found: Range<u32>,
}

impl Indicators {
    /// Looks a text through, unless it is remembered; what it names is what [`Indicators::found`] says of the answer.
    pub fn look(&mut self, context: Context, text: &[u8]) -> Range<u32> {
        if text.is_empty() {
            return 0..0;
        }
        let hash = self.hasher.hash_one((context, text));
        let same = |known: &Remembered| {
            known.hash == hash && known.context == context && self.bytes[known.text.start as usize..known.text.end as usize] == *text
        };
        match self.texts.find(hash, same) {
            Some(known) => known.found.clone(),
            None => self.look_through(context, text, hash),
        }
    }

    /// The indicators of a text as terms: canonical values, and what stood there where people search for that. Until the next
    /// look.
    pub fn found(&self, found: Range<u32>) -> impl Iterator<Item = (Field, &[u8])> {
        let found = &self.found[found.start as usize..found.end as usize];
        found.iter().map(|(field, value)| (*field, &self.bytes[value.start as usize..value.end as usize]))
    }

    #[cold]
    fn look_through(&mut self, context: Context, text: &[u8], hash: u64) -> Range<u32> {
        if self.bytes.len() > MEMO_BYTES_MAX || self.texts.len() >= MEMO_TEXTS_MAX {
            self.texts.clear();
            self.bytes.clear();
            self.found.clear();
        }
        self.scratch.indicators.clear();
        let scratch = &mut self.scratch;
        // An extractor's bug must cost an indicator, never an event.
        let looked = catch_unwind(AssertUnwindSafe(|| {
            super::poison("extract::text", || text);
            extract::indicators(context, &String::from_utf8_lossy(text), scratch);
        }));
        if looked.is_err() {
            self.panics += 1;
            self.scratch.indicators.clear();
        }
        let first = self.found.len() as u32;
        let bytes = &mut self.bytes;
        let mut keep = |value: &[u8]| {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(value);
            start..bytes.len() as u32
        };
        for indicator in &self.scratch.indicators {
            let value = keep(indicator.value.as_bytes());
            self.found.push((indicator.field, value));
            if let (Field::Phone, Some(verbatim)) = (indicator.field, &indicator.verbatim) {
                // Whoever looks for a number types it as it was sent.
                let verbatim = keep(verbatim.as_bytes());
                self.found.push((Field::Phone, verbatim));
            }
        }
        let found = first..self.found.len() as u32;
        if text.len() <= MEMO_TEXT_BYTES_MAX {
            let text = keep(text);
            self.texts.insert_unique(hash, Remembered { hash, context, text, found: found.clone() }, |known| known.hash);
        }
        found
    }
}
