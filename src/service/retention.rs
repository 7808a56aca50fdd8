//! One pass of retention: segments that are past every age go, and from those that stay the events of sensors that are past their own.
//! With an archive, nothing goes that is not in it.
use super::ServiceError;
use super::erase::erase_recorded;
use crate::archive::{self, ArchiveError, ArchiveSettings, Archiver, Retained, Stop};
use crate::events::Micros;
use crate::state::{SegmentRecord, State};
use crate::store::{RetentionPlan, Store};
use std::io;

/// Does what the plan and the store's ages of sensors ask for, a bounded number of segments at a time. For a thread that may block.
pub fn retain(
    store: &Store,
    state: &State,
    plan: RetentionPlan,
    archive: Option<&ArchiveSettings>,
    stop: &Stop,
    now: Micros,
) -> io::Result<Retained> {
    let mut retained = archive::retain(store, plan, now, archive, stop)?;
    retained.removed.iter().filter(|removed| removed.answers).for_each(|removed| drop(state.remove_segment(removed.segment)));
    if retained.failed.is_none() && !stop.is_stopped() {
        // What was done is told, whatever comes behind it.
        retained.fault = erase_aged(store, state, plan, archive, stop, now, &mut retained).err().map(|error| error.to_string());
    }
    Ok(retained)
}

fn erase_aged(
    store: &Store,
    state: &State,
    plan: RetentionPlan,
    archive: Option<&ArchiveSettings>,
    stop: &Stop,
    now: Micros,
    retained: &mut Retained,
) -> Result<(), ServiceError> {
    let mut archiver = None;
    let mut failed = None;
    let erased = store.erase_aged(plan, now, |segment, seqs: &[u64]| -> Result<_, ServiceError> {
        if let Some(settings) = archive {
            match put_away(store, segment, settings, &mut archiver, stop, now) {
                Ok(archived) => retained.archived.extend(archived),
                Err(error) => {
                    // Whatever is an error ends the pass before the segment counts as done.
                    let told = io::Error::other(error.to_string());
                    failed = Some(error);
                    return Err(told.into());
                }
            }
        }
        let erased = match erase_recorded(store, segment, seqs, "age", None, now) {
            // It says so itself at every opening, and to `verify`.
            Err(ServiceError::Erasing(error)) if error.is_about_one_segment() => None,
            erased => erased?,
        };
        if let Some(erased) = &erased {
            retained.erased.push((segment, erased.events));
            state.put_segment(segment, &SegmentRecord::of(&erased.head)).map_err(io::Error::other)?;
        }
        Ok(erased)
    });
    retained.failed = failed;
    match erased {
        Err(_) if retained.failed.is_some() => Ok(()),
        erased => erased.map(drop),
    }
}

/// Archives a segment, unless it is archived already; answers what is there now that was not before.
fn put_away(
    store: &Store,
    segment: u64,
    settings: &ArchiveSettings,
    archiver: &mut Option<Archiver>,
    stop: &Stop,
    now: Micros,
) -> Result<Option<archive::Archived>, ArchiveError> {
    let archiver = match archiver {
        Some(archiver) => archiver,
        none => none.insert(Archiver::open(store, settings, stop)?),
    };
    let view = store.view();
    let Some(sealed) = view.sealed.iter().find(|sealed| sealed.number == segment) else { return Ok(None) };
    let outcome = archiver.archive(sealed, now)?;
    if !outcome.recorded {
        return Err(ArchiveError::Segment { segment, source: io::Error::other("the ledger takes no record of its archive") });
    }
    Ok((outcome.written > 0).then_some(outcome.archived))
}
