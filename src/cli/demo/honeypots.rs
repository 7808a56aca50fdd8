//! The simulated honeypots: a thread that writes a Cowrie log and rotates it, and the proof that what it wrote is stored.
//!
//! A rotated file counts as followed when every event in it is durable in the journal, which `honeyguide ingested` would
//! say of it too; only then may it be removed, so that the demo keeps few files and loses no line.
use crate::events::time;
use crate::service::{self, ServiceError};
use crate::simulate::{Generator, LogWriter, Rotation, Simulation};
use crate::sources::Format;
use crate::store::Store;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// How often the log grows.
const TICK: Duration = Duration::from_millis(50);
/// Most events written in one go, so that the end is never far.
const BATCH_EVENTS: u64 = 20_000;
/// The log begins with this much of the past, so that there is something to see at once.
const PAST_SECONDS: i64 = 60;
/// About the length of a line, bytes, and the time between two rotations that follows from it.
const LINE_BYTES: f64 = 350.0;
const ROTATION_SECONDS: f64 = 6.0;
/// Rotated files that stay.
const KEEP: usize = 5;

/// What has been written so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub events: u64,
    pub rotations: u64,
    /// Of those rotated files every event is durable.
    pub followed: u64,
}

pub struct Honeypots {
    path: PathBuf,
    store: Store,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// Rotated files not proven stored yet, oldest first, and those that are.
    unproven: VecDeque<Rotated>,
    proven: VecDeque<PathBuf>,
    written: Written,
    /// A proof under way, in a thread of its own.
    proof: Option<tokio::task::JoinHandle<Result<bool, ServiceError>>>,
}

struct Rotated {
    path: PathBuf,
    /// By this run, not an earlier one.
    now: bool,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    events: AtomicU64,
    rotated: Mutex<Vec<PathBuf>>,
}

impl Honeypots {
    /// Starts writing into `dir`, about `rate` events per second.
    pub fn start(dir: &Path, rate: f64, store: Store) -> io::Result<Honeypots> {
        let now = time::now();
        let simulation = Simulation {
            // Other sessions than in the last run on the same directory.
            seed: now as u64,
            start: now - PAST_SECONDS * time::MICROS_PER_SECOND,
            events_per_second: rate,
            ..Simulation::default()
        };
        let rotation = (rate * LINE_BYTES * ROTATION_SECONDS).clamp(256.0 * 1024.0, 64.0 * 1024.0 * 1024.0);
        let mut writer = LogWriter::open(dir, Rotation::Bytes(rotation as u64))?;
        // What earlier runs rotated goes the same way.
        let mut left: Vec<PathBuf> = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        left.retain(|path| *path != writer.path());
        left.sort_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok());
        let path = writer.path();
        let shared = Arc::new(Shared::default());
        let told = shared.clone();
        let thread = std::thread::Builder::new().name("honeypots".into()).spawn(move || {
            let mut generator = Generator::new(&simulation);
            let mut rotations = 0;
            while !told.stop.load(Ordering::Relaxed) {
                let made = writer.pump_at_most(&mut generator, time::now(), BATCH_EVENTS)?;
                told.events.fetch_add(made, Ordering::Relaxed);
                let rotated = writer.rotated();
                told.rotated.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&rotated[rotations..]);
                rotations = rotated.len();
                if made < BATCH_EVENTS {
                    std::thread::park_timeout(TICK);
                }
            }
            writer.finish()
        })?;
        Ok(Honeypots {
            path,
            store,
            shared,
            thread: Some(thread),
            unproven: left.into_iter().map(|path| Rotated { path, now: false }).collect(),
            proven: VecDeque::new(),
            written: Written::default(),
            proof: None,
        })
    }

    pub fn written(&self) -> Written {
        Written { events: self.shared.events.load(Ordering::Relaxed), ..self.written }
    }

    /// Goes on with proving and removing rotated files; fails when the log could not be written. Never waits.
    pub fn look_after(&mut self) -> anyhow::Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join()?;
        }
        let rotated = std::mem::take(&mut *self.shared.rotated.lock().unwrap_or_else(PoisonError::into_inner));
        self.written.rotations += rotated.len() as u64;
        self.unproven.extend(rotated.into_iter().map(|path| Rotated { path, now: true }));
        if let Some(proof) = self.proof.take_if(|proof| proof.is_finished()) {
            use futures_util::FutureExt;
            // Finished, so the answer is there; of one that failed the file is asked about again.
            if let Some(Ok(Ok(true))) = proof.now_or_never()
                && let Some(rotated) = self.unproven.pop_front()
            {
                self.written.followed += u64::from(rotated.now);
                self.proven.push_back(rotated.path);
            }
        }
        if self.proof.is_none()
            && let Some(rotated) = self.unproven.front()
        {
            self.proof = Some(prove(&self.store, &rotated.path));
        }
        while self.proven.len() > KEEP {
            // One that cannot be removed stays; it does no harm.
            self.proven.pop_front().map(std::fs::remove_file);
        }
        Ok(())
    }

    /// Ends the log with a whole line.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.as_ref() {
            thread.thread().unpark();
        }
        self.join()
    }

    /// Waits until everything that was written is durable; false when nothing has changed for as long as `patience`.
    pub async fn all_stored(&mut self, patience: Duration) -> anyhow::Result<bool> {
        let mut last = (0, 0);
        let mut changed_at = Instant::now();
        loop {
            self.look_after()?;
            if self.unproven.is_empty() && prove(&self.store, &self.path).await?? {
                return Ok(true);
            }
            let now = (self.store.view().events(), self.unproven.len());
            if now != last {
                (last, changed_at) = (now, Instant::now());
            } else if changed_at.elapsed() >= patience {
                return Ok(false);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn join(&mut self) -> anyhow::Result<()> {
        use anyhow::Context as _;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        match thread.join() {
            Ok(ended) => ended.with_context(|| format!("cannot write the simulated log {}", self.path.display())),
            Err(_) => anyhow::bail!("the simulation failed; this is a bug in honeyguide"),
        }
    }
}

/// Whether every event of a file is durable, asked in a thread that may block.
fn prove(store: &Store, path: &Path) -> tokio::task::JoinHandle<Result<bool, ServiceError>> {
    let (store, path) = (store.clone(), path.to_owned());
    tokio::task::spawn_blocking(move || Ok(service::ingested(&store, &path, Some(Format::COWRIE))?.ingested))
}
