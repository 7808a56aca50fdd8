//! One pass of retention: segments that are past every age go, and from those that stay the events of sensors that are past their own.
//! With an archive, nothing goes that is not in it.
use super::ServiceError;
use super::erase::erase_recorded;
use crate::archive::{self, ArchiveError, ArchiveSettings, Archiver, Retained, Stop};
use crate::events::Micros;
use crate::state::State;
use crate::store::{RetentionPlan, Store};
use std::io;

/// What a pass works with.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    pub store: &'a Store,
    pub state: &'a State,
    pub plan: RetentionPlan,
    pub archive: Option<&'a ArchiveSettings>,
    pub stop: &'a Stop,
    pub now: Micros,
}

impl Pass<'_> {
    /// Does what the plan and the store's ages of sensors ask for, a bounded number of segments at a time. For a thread that may block.
    pub fn retain(self) -> io::Result<Retained> {
        let mut retained = archive::retain(self.store, self.plan, self.now, self.archive, self.stop)?;
        let gone = retained.removed.iter().filter(|removed| removed.answers);
        gone.for_each(|removed| drop(self.state.remove_segment(removed.segment)));
        if retained.failed.is_none() && !self.stop.is_stopped() {
            // What was done is told, whatever comes behind it.
            retained.fault = self.erase_aged(&mut retained).err().map(|error| error.to_string());
        }
        Ok(retained)
    }

    fn erase_aged(self, retained: &mut Retained) -> Result<(), ServiceError> {
        let (mut archiver, mut failed) = (None, None);
        let erased = self.store.erase_aged(self.plan, self.now, |segment, seqs: &[u64]| -> Result<_, ServiceError> {
            match self.put_away(segment, &mut archiver) {
                Ok(archived) => retained.archived.extend(archived),
                Err(error) => {
                    // Whatever is an error ends the pass before the segment counts as done.
                    let told = io::Error::other(error.to_string());
                    failed = Some(error);
                    return Err(told.into());
                }
            }
            let erased = match erase_recorded(self.store, self.state, segment, seqs, "age", None, self.now) {
                // It says so itself at every opening, and to `verify`.
                Err(ServiceError::Erasing(error)) if error.is_about_one_segment() => None,
                erased => erased?,
            };
            retained.erased.extend(erased.as_ref().map(|erased| (segment, erased.events)));
            Ok(erased)
        });
        retained.failed = failed;
        if retained.failed.is_some() { Ok(()) } else { erased.map(drop) }
    }

    /// Archives a segment, unless it is archived already or nothing is; answers what is there now that was not before.
    fn put_away(self, segment: u64, archiver: &mut Option<Archiver>) -> Result<Option<archive::Archived>, ArchiveError> {
        let Some(settings) = self.archive else { return Ok(None) };
        let archiver = match archiver {
            Some(archiver) => archiver,
            none => none.insert(Archiver::open(self.store, settings, self.stop)?),
        };
        let view = self.store.view();
        let Some(sealed) = view.sealed.iter().find(|sealed| sealed.number == segment) else { return Ok(None) };
        let outcome = archiver.archive(sealed, self.now)?;
        if !outcome.recorded {
            return Err(ArchiveError::Segment { segment, source: io::Error::other("the ledger takes no record of its archive") });
        }
        Ok((outcome.written > 0).then_some(outcome.archived))
    }
}
