//! Archiving on demand: `honeyguide archive`. Nothing is removed.
use super::{ArchiveError, ArchiveSettings, Archiver, Stop};
use crate::events::{Micros, time};
use crate::store::Store;
use serde::{Deserialize, Serialize};

/// Which of the sealed segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SegmentSelection)]
pub struct Selection {
    /// From and to, both included.
    #[serde(default)]
    pub segments: Option<(u64, u64)>,
    /// Those all of whose events are before this.
    #[serde(default)]
    pub until: Option<Micros>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArchiveRun {
    pub to: String,
    /// Segments selected, of which so many are in the archive now.
    pub selected: u64,
    pub archived: u64,
    /// Of those: they were there already, in every format.
    pub there_before: u64,
    /// Files written now, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// Why it ended early.
    pub problem: Option<String>,
}

/// Archives what is selected, oldest first; `progress` is told (segments done, segments).
pub fn run(store: &Store, settings: &ArchiveSettings, selection: Selection, stop: &Stop, progress: &mut dyn FnMut(u64, u64)) -> ArchiveRun {
    let wanted = |number: u64, time_max: Micros| {
        selection.segments.is_none_or(|(from, to)| (from..=to).contains(&number)) && selection.until.is_none_or(|until| time_max < until)
    };
    let view = store.view();
    let there = view.sealed.iter().filter(|sealed| sealed.file.is_some());
    let selected: Vec<_> = there.filter(|sealed| wanted(sealed.number, sealed.sidecar.head().time_max)).cloned().collect();
    let mut run = ArchiveRun { to: settings.to.place(), selected: selected.len() as u64, ..ArchiveRun::default() };
    let ended = archive(store, settings, stop, &mut run, selected.iter().map(|sealed| &**sealed), progress);
    run.problem = ended.err().map(|error| error.to_string());
    run
}

fn archive<'a>(
    store: &Store,
    settings: &ArchiveSettings,
    stop: &Stop,
    run: &mut ArchiveRun,
    segments: impl Iterator<Item = &'a crate::store::Sealed>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ArchiveError> {
    let mut archiver = Archiver::open(store, settings, stop)?;
    progress(0, run.selected);
    for (done, sealed) in segments.enumerate() {
        match archiver.archive(sealed, time::now()) {
            Ok(outcome) => {
                run.archived += 1;
                run.there_before += u64::from(outcome.written == 0);
                run.files += outcome.written as u64;
                run.bytes += outcome.bytes_written;
            }
            // Retention was faster; then it archived the segment, if it had to.
            Err(_) if store.view().sealed.iter().all(|now| now.number != sealed.number || now.file.is_none()) => {}
            Err(error) => return Err(error),
        }
        progress(done as u64 + 1, run.selected);
    }
    Ok(())
}
