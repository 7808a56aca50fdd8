//! Dead letters in full: what a receiver refused for good, what it said, and just what is sent when it is tried again.
use super::ServiceError;
use crate::events::time;
use crate::store::{DEAD_LETTERS_FROM, QuarantineRecord, Store};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Letters read at once, bytes: the quarantine is locked meanwhile, and the receiver of an export may be slow.
const AT_ONCE_BYTES: usize = 1 << 20;
const AT_ONCE: usize = 1_000;

/// One dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// What `quarantine show` calls it. Those that stay when others go get new numbers.
    pub number: u64,
    pub sink: String,
    /// Sequence number of the event; of several the last one's.
    pub sequence: u64,
    /// Of the event or document, as receivers are told it.
    pub id: String,
    pub source: String,
    pub format: String,
    /// The time it is indexed by.
    pub time: String,
    pub received_at: String,
    /// What the receiver said.
    pub reason: String,
    /// Of what was to be delivered.
    pub bytes: u64,
    /// What was to be delivered; in hexadecimal when it is no UTF-8, and neither when it was erased.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hex: Option<String>,
    /// All of it was kept, so that it can be sent again.
    pub is_whole: bool,
}

impl DeadLetter {
    /// `None`: it is no letter, or another sink's.
    fn of(sink: &str, number: u64, record: QuarantineRecord) -> Option<DeadLetter> {
        let is_whole = record.kept == record.len && (record.text.is_some() || record.hex.is_some());
        let undelivered = record.undelivered.filter(|undelivered| undelivered.sink == sink)?;
        Some(DeadLetter {
            number,
            sink: undelivered.sink,
            sequence: undelivered.sequence,
            id: undelivered.id,
            source: record.source,
            format: record.format,
            time: time::format(undelivered.time),
            received_at: record.timestamp,
            reason: record.detail,
            bytes: record.len,
            text: record.text,
            hex: record.hex,
            is_whole,
        })
    }
}

/// One dead letter of a sink.
pub fn letter(store: &Store, sink: &str, number: u64) -> Result<DeadLetter, ServiceError> {
    let record = store.quarantine().get(number)?;
    record.and_then(|record| DeadLetter::of(sink, number, record)).ok_or_else(|| ServiceError::NoLetter(sink.to_owned(), number))
}

/// Calls `each` with every dead letter of a sink that there is now, oldest first, until it breaks off. The quarantine is free while it
/// is called.
pub fn each_letter(store: &Store, sink: &str, each: &mut dyn FnMut(&DeadLetter) -> ControlFlow<()>) -> Result<(), ServiceError> {
    let (mut from, end, rewritten) = {
        let quarantine = store.quarantine();
        (DEAD_LETTERS_FROM, quarantine.letters_end(), quarantine.letters_rewritten())
    };
    while from < end {
        let (mut letters, mut bytes, mut seen) = (Vec::new(), 0, 0);
        let mut behind = end;
        let quarantine = store.quarantine();
        if quarantine.letters_rewritten() != rewritten {
            return Err(ServiceError::NotNow(
                "dead letters were removed meanwhile, and the others got new numbers: begin again".to_owned(),
            ));
        }
        quarantine.for_each(from, |number, record| {
            if number >= end || bytes >= AT_ONCE_BYTES || seen >= AT_ONCE {
                behind = number.min(end);
                return false;
            }
            seen += 1;
            bytes += usize::try_from(record.kept).unwrap_or(usize::MAX);
            letters.extend(DeadLetter::of(sink, number, record));
            true
        })?;
        drop(quarantine);
        for letter in &letters {
            if each(letter).is_break() {
                return Ok(());
            }
        }
        from = behind;
    }
    Ok(())
}
