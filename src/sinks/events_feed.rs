//! The feed of most sinks: every event is an item, as far as the sink's filter lets it through.
use super::feed::{BatchLimits, Feed, FeedError, Taken};
use super::{Batch, Item};
use crate::events::batch::Batcher;
use crate::events::{EventId, Format, Micros};
use crate::index::query::Query;
use crate::redact::{self, Redactor, Subject};
use crate::store::{Found, JournalReader, Store};
use std::borrow::Cow;

/// So much is looked at in one go, so that a filter that lets nothing through does not keep an order waiting.
const SCANNED_EVENTS_MAX: usize = 64 << 10;
const SCANNED_BYTES_MAX: usize = 16 << 20;

/// Events as they stand in the journal.
pub struct EventsFeed {
    reader: JournalReader,
    filter: Option<Query>,
    /// The sink needs the time an event is indexed by, which costs decoding it.
    wants_time: bool,
    batcher: Batcher,
    /// Events leave as the policy in force says; `None`: as they are stored.
    privacy: Option<redact::Handle>,
    redactor: Redactor,
}

impl EventsFeed {
    /// Begins at the event with sequence number `from`. Without `wants_time` and without a filter, an item's time is when it was
    /// received.
    pub fn new(store: Store, from: u64, filter: Option<Query>, wants_time: bool) -> EventsFeed {
        let batcher = store.batcher();
        EventsFeed { reader: JournalReader::new(store, from), filter, wants_time, batcher, privacy: None, redactor: Redactor::default() }
    }

    /// What it is asked for is redacted by the policy in force. Filters still match what is stored.
    pub fn redacted(self, privacy: redact::Handle) -> EventsFeed {
        EventsFeed { privacy: Some(privacy), ..self }
    }
}

/// Whether the event is let through, and its time.
fn judge(batcher: &mut Batcher, filter: Option<&Query>, event: &crate::store::StoredEvent<'_>) -> Option<Micros> {
    let mut found = 0;
    let time = batcher.terms(event.format, event.line, event.received_at, &mut |field, value| {
        found |= filter.map_or(0, |filter| filter.matches(field, value));
    });
    // A line that its decoder does not read any more has no terms: it is delivered when nothing is asked of it.
    let time = time.unwrap_or(event.received_at);
    filter.is_none_or(|filter| filter.accepts(found, time)).then_some(time)
}

impl Feed for EventsFeed {
    fn take(&mut self, limits: BatchLimits, _now: Micros) -> Result<Taken, FeedError> {
        let mut taken = Taken::default();
        let (mut events, mut bytes) = (0, 0);
        let policy = self.privacy.as_ref().and_then(redact::Handle::policy);
        loop {
            if events == SCANNED_EVENTS_MAX || bytes >= SCANNED_BYTES_MAX || taken.batch.items.len() >= limits.items {
                taken.more = true;
                break;
            }
            match self.reader.load() {
                Ok(Found::Event) => {}
                Ok(Found::End) => break,
                Ok(Found::Gap(gap)) => {
                    taken.lost.push(gap);
                    continue;
                }
                // What was read before the fault is good.
                Err(_) if !taken.batch.items.is_empty() => break,
                Err(error) => return Err(FeedError::Journal(error.to_string())),
            }
            let Some(event) = self.reader.event() else { break };
            let time = if event.format == Format::TOMBSTONE {
                // The cursor passes it.
                None
            } else if self.filter.is_some() || self.wants_time {
                judge(&mut self.batcher, self.filter.as_ref(), &event)
            } else {
                Some(event.received_at)
            };
            if let Some(time) = time {
                let line = match &policy {
                    None => event.line.into(),
                    Some(policy) => {
                        let subject = Subject { source: event.source, format: event.format };
                        self.redactor.leaving(policy, subject, event.line)
                    }
                };
                if !taken.batch.items.is_empty() && taken.batch.payload.len() + line.len() > limits.bytes {
                    taken.more = true;
                    break;
                }
                // A plain hash of what was left out could be tried out by the receiver.
                let key = policy.as_ref().and_then(|policy| policy.key.as_ref()).filter(|_| matches!(line, Cow::Owned(_)));
                let id = key.map_or(event.id, |key| key.id(event.id));
                push(&mut taken.batch, &event, id, &line, time);
            }
            events += 1;
            bytes += event.line.len();
            self.reader.advance();
        }
        if !taken.more {
            // A quiet sink holds no block.
            self.reader.rest();
        }
        taken.cursor = self.reader.position();
        Ok(taken)
    }

    fn settled(&mut self, _items: &[Item]) {}

    fn seek(&mut self, seq: u64) {
        self.reader.seek(seq);
    }
}

fn push(batch: &mut Batch, event: &crate::store::StoredEvent<'_>, id: EventId, line: &[u8], time: Micros) {
    let item = Item {
        seq: event.seq,
        id,
        time,
        received_at: event.received_at,
        source: event.source.clone(),
        format: event.format,
        payload: 0..0,
    };
    batch.push(item, line);
}
