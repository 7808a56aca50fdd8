//! Events that match a query as Parquet, in the order of the journal: `honeyguide search --format parquet`.
//!
//! All evidence is read, from the first block that may hold an event of the query's span: an export is for many events, and its memory must
//! not grow with them.
use super::parquet::{WriteError, Writer, key};
use crate::events::Micros;
use crate::index::query::Query;
use crate::redact::{Policy, Redactor, Subject};
use crate::store::{Found, JournalReader, Missing, Store, StoredEvent};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, Write};

/// What an export came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    pub events: u64,
    /// Events in damaged blocks: nobody can tell whether they match.
    pub unreadable: u64,
}

/// Writes the first `limit` events of the journal that match, as a policy lets them leave.
pub fn export<W: Write + Send>(
    store: &Store,
    (text, query): (&str, &Query),
    limit: u64,
    policy: Option<&Policy>,
    out: W,
) -> Result<(W, Exported), WriteError> {
    let mut writer = Writer::new(out)?;
    let (mut exported, mut redactor) = (Exported::default(), Redactor::default());
    // Retention may take the first blocks while this begins; the reader says so and goes on.
    let from = store.first_seq().max(query.since.map_or(Ok(0), |since| store.seq_at(since))?);
    let (mut reader, mut batcher) = (JournalReader::new(store.clone(), from), store.batcher());
    while exported.events < limit {
        match reader.load()? {
            Found::Event => {}
            Found::End => break,
            Found::Gap(gap) => {
                if let Missing::Damaged(_) = gap.why {
                    exported.unreadable += gap.events;
                }
                continue;
            }
        }
        let Some(event) = reader.event() else { break };
        let mut found = 0;
        let time: Option<Micros> =
            batcher.terms(event.format, event.line, event.received_at, &mut |field, value| found |= query.matches(field, value));
        // A line that its decoder does not read any more has no terms: it matches what asks for none.
        let found = if time.is_some() { found } else { 0 };
        if query.condition.holds(found) && query.covers(time.unwrap_or(event.received_at)) {
            match policy {
                None => writer.push(&event)?,
                Some(policy) => {
                    let line = redactor.leaving(policy, Subject { source: event.source, format: event.format }, event.line);
                    // A plain hash of what was left out could be tried out by whoever has the table.
                    let key = policy.key.as_ref().filter(|_| matches!(line, Cow::Owned(_)));
                    let id = key.map_or(event.id, |key| key.id(event.id));
                    writer.push(&StoredEvent { id, line: &line, ..event })?;
                }
            }
            exported.events += 1;
        }
        reader.advance();
    }
    // What was asked for may be what must not leave.
    let about = policy.is_none().then(|| (key::QUERY, text.to_owned()));
    let out = writer.finish(about.as_slice())?;
    Ok((out, exported))
}

/// Writes into a function, for receivers that are no files.
pub struct Into<F: FnMut(&[u8]) -> io::Result<()> + Send>(pub F);

impl<F: FnMut(&[u8]) -> io::Result<()> + Send> Write for Into<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
