//! What was typed in a session, and with what client: read from the journal, for reports, dossiers and clusters.
//!
//! Only the blocks are read in which the index knows the session. It is found by its key, so that also sessions whose ids are not
//! hexadecimal are told; two of these that share a key (60 bits of a hash) would be told as one.
use crate::events::Field;
use crate::index::search::{BlockLines, LineTerms, SearchError, View};
use crate::index::{session_key, session_name};
use crate::telemetry::printable::prefix;
use memchr::memmem;

/// Which session, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// [`session_key`] of its id.
    pub key: u64,
    /// `None`: the sessions with that id at all sensors.
    pub sensor: Option<&'a [u8]>,
    pub commands_max: usize,
    pub command_bytes_max: usize,
}

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// As its events write it; none when the journal has none of them any more.
    pub id: Option<String>,
    pub hassh: Option<String>,
    /// The first commands, in the order in which they are stored.
    pub commands: Vec<String>,
    /// There are more than these.
    pub more: bool,
}

/// Reads until there are enough commands: who has a HASSH says so before typing.
pub fn typed(view: &View, terms: &mut dyn LineTerms, session: Session<'_>) -> Result<Typed, SearchError> {
    let (mut found, mut lines) = (Typed::default(), BlockLines::default());
    let name = session_name(session.key);
    let named = name.as_deref().map(memmem::Finder::new);
    for segment in &view.segments {
        let mut blocks = Vec::new();
        segment.with_index(&mut |index| {
            let entries = index.session(session.key)?;
            let mut numbers: Vec<u32> = entries.iter().flat_map(|entry| entry.blocks.iter()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            if !numbers.is_empty() {
                let metas = index.blocks()?;
                blocks.extend(numbers.iter().filter_map(|&number| metas.get(number as usize).copied()));
            }
            Ok(())
        })?;
        for block in blocks {
            segment.read_block(&block, &mut lines).map_err(|source| SearchError::Block { first_seq: block.first_seq, source })?;
            let mut rest = &lines.bytes[..];
            for run in &lines.runs {
                for _ in 0..run.events {
                    let Some(end) = memchr::memchr(b'\n', rest) else { break };
                    let (line, behind) = (&rest[..end], &rest[end + 1..]);
                    rest = behind;
                    // A hexadecimal id stands in its lines as it is, unless somebody wrote it with escapes.
                    if named.as_ref().is_some_and(|named| named.find(line).is_none()) && memmem::find(line, b"\\u").is_none() {
                        continue;
                    }
                    let Some(format) = run.format else { continue };
                    let (mut id, mut command, mut hassh) = (None, None, None);
                    let mut is_sensor = session.sensor.is_none_or(<[u8]>::is_empty);
                    terms.terms(format, line, run.received_at, &mut |field, value| match field {
                        Field::Session if session_key(value) == session.key => id = Some(String::from_utf8_lossy(value).into_owned()),
                        Field::Sensor => is_sensor = session.sensor.is_none_or(|sensor| sensor == value),
                        Field::CommandLine => command = Some(String::from_utf8_lossy(value).into_owned()),
                        Field::Hassh => hassh = Some(String::from_utf8_lossy(value).into_owned()),
                        _ => {}
                    });
                    if id.is_none() || !is_sensor {
                        continue;
                    }
                    found.id = found.id.or(id);
                    found.hassh = found.hassh.or(hassh);
                    if let Some(command) = command {
                        if found.commands.len() == session.commands_max {
                            found.more = true;
                            return Ok(found);
                        }
                        found.commands.push(prefix(&command, session.command_bytes_max).to_owned());
                    }
                }
            }
        }
    }
    Ok(found)
}
