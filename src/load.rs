//! A load: from the paths somebody named to the final counts. A daemon does it when asked over its socket, the command
//! line does it itself when there is no daemon.
use crate::actors::ingest::IngestSnapshot;
use crate::actors::supervisor;
use crate::daemon::Engine;
use crate::sources::archive;
use crate::sources::{Format, reader};
use crate::telemetry::printable::printable;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// So many problems are told in full; beyond, they are counted.
pub const PROBLEMS_MAX: usize = 100;

/// What to load.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadRequest {
    /// Files and directories, absolute.
    #[schema(value_type = Vec<String>)]
    pub paths: Vec<PathBuf>,
    /// `None`: recognised, file by file.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadPhase {
    /// Finding and recognising files.
    #[default]
    Looking,
    Reading,
    /// Everything that could be read is durable.
    Finished,
    /// Whoever was loading was told to stop.
    Interrupted,
}

/// How far a load is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LoadProgress {
    pub phase: LoadPhase,
    /// Files to read, those done with, and of these the ones that could not be read (to their end).
    pub files: u64,
    pub files_done: u64,
    pub files_failed: u64,
    /// Files left out because nobody knows their format.
    pub files_unknown: u64,
    /// Of the files as they lie on disk.
    pub bytes_total: u64,
    pub bytes_read: u64,
    /// Durable, decompressed.
    pub input_bytes: u64,
    pub events: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub seconds: f64,
    /// One line each, the first [`PROBLEMS_MAX`].
    pub problems: Vec<String>,
    pub problems_total: u64,
}

impl LoadProgress {
    pub fn ended(&self) -> bool {
        matches!(self.phase, LoadPhase::Finished | LoadPhase::Interrupted)
    }

    fn problem(&mut self, problem: String) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// This, and what one run of the readers has done so far.
    fn with(&self, run: &IngestSnapshot) -> LoadProgress {
        let mut sum = self.clone();
        sum.files_done += run.progress.files_done;
        sum.files_failed += run.progress.files_failed;
        sum.bytes_read += run.progress.bytes_read;
        sum.input_bytes += run.input_bytes;
        sum.events += run.events;
        sum.duplicates += run.duplicates;
        sum.rejected += run.rejected;
        run.progress.trouble.iter().for_each(|trouble| sum.problem(trouble.clone()));
        sum
    }
}

/// Begins a load. It goes on whether or not somebody follows it, until it is done or `stopping` says true.
pub fn start(engine: Arc<Engine>, request: LoadRequest, stopping: watch::Receiver<bool>) -> watch::Receiver<LoadProgress> {
    let (sender, receiver) = watch::channel(LoadProgress::default());
    actix::spawn(async move { run(&engine, request, stopping, &sender).await });
    receiver
}

async fn run(engine: &Engine, request: LoadRequest, mut stopping: watch::Receiver<bool>, sender: &watch::Sender<LoadProgress>) {
    let started = Instant::now();
    let tell =
        |progress: &LoadProgress| drop(sender.send_replace(LoadProgress { seconds: started.elapsed().as_secs_f64(), ..progress.clone() }));
    let mut base = LoadProgress::default();
    let groups = match tokio::task::spawn_blocking(move || plan(&request)).await {
        Ok((planned, groups)) => {
            base = planned;
            groups
        }
        Err(panic) => {
            base.problem(format!("the files could not be looked through: {panic}"));
            Vec::new()
        }
    };
    base.phase = LoadPhase::Reading;
    tell(&base);
    for (format, files) in groups {
        match follow(engine, format, files, &mut stopping, |run| tell(&base.with(run))).await {
            (run, true) => base = base.with(&run),
            (run, false) => return tell(&LoadProgress { phase: LoadPhase::Interrupted, ..base.with(&run) }),
        }
    }
    base.phase = LoadPhase::Finished;
    tell(&base);
}

/// Reads files of one format. Answers how far it came, and whether that is all.
async fn follow(
    engine: &Engine,
    format: Format,
    files: Vec<PathBuf>,
    stopping: &mut watch::Receiver<bool>,
    mut tell: impl FnMut(&IngestSnapshot),
) -> (IngestSnapshot, bool) {
    let Ok(mut run) = engine.supervisor.send(supervisor::Load { files, format }).await else {
        return (IngestSnapshot::default(), false);
    };
    loop {
        let now = run.borrow_and_update().clone();
        if now.finished {
            return (now, true);
        }
        tell(&now);
        let go_on = tokio::select! {
            changed = run.changed() => changed.is_ok(),
            _ = stopping.wait_for(|&stopping| stopping) => false,
        };
        if !go_on {
            let last = run.borrow().clone();
            let finished = last.finished;
            return (last, finished);
        }
    }
}

/// Finds the files and what format they have.
fn plan(request: &LoadRequest) -> (LoadProgress, Vec<(Format, Vec<PathBuf>)>) {
    let mut progress = LoadProgress::default();
    let mut groups: Vec<(Format, Vec<PathBuf>)> = Vec::new();
    for path in &request.paths {
        let files = archive::expand(std::slice::from_ref(path)).unwrap_or_else(|error| {
            progress.files += 1;
            progress.files_done += 1;
            progress.files_failed += 1;
            progress.problem(error.to_string());
            Vec::new()
        });
        for file in files {
            let len = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
            let format = match request.format {
                Some(format) => Ok(Some(format)),
                // Nothing to recognise and nothing to read.
                None if len == 0 => Ok(Some(Format::COWRIE)),
                None => reader::recognise(&file),
            };
            match format {
                Ok(Some(format)) => {
                    progress.files += 1;
                    progress.bytes_total += len;
                    match groups.iter_mut().find(|(known, _)| *known == format) {
                        Some((_, files)) => files.push(file),
                        None => groups.push((format, vec![file])),
                    }
                }
                Ok(None) => {
                    progress.files_unknown += 1;
                    progress.problem(format!(
                        "{} has no format that is known: left out (name one with --format)",
                        printable(&file.to_string_lossy())
                    ));
                }
                Err(error) => {
                    progress.files += 1;
                    progress.files_done += 1;
                    progress.files_failed += 1;
                    progress.problem(error.to_string());
                }
            }
        }
    }
    (progress, groups)
}
