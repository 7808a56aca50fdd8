//! Looks every hour at yesterday and the running day, and tells what is out of the ordinary.
//!
//! Owns: when it looked last, and what was told of these two days. Talks to: nobody; it is told new settings, and to stop. Lost on
//! restart: nothing, for what was told stands in the ledger.
//! Invariants: an anomaly stands in the ledger before it is told, and is told once. At most one look is under way, on a thread that
//! may block, and it ends early when the daemon stops. Nothing is called low while there are logs yet to be read.
use super::answers_ping;
use super::metrics::{BULK_BYTES, Observed, backlog};
use crate::config::AnomalySettings;
use crate::events::Micros;
use crate::events::time::{self, MICROS_PER_HOUR, MICROS_PER_SECOND};
use crate::index::BlockMeta;
use crate::index::part::IndexPart;
use crate::index::search::{BlockLines, Segment, View};
use crate::index::sidecar::SidecarError;
use crate::report::{AnomalyRow, Rules};
use crate::service::anomalies::{NotTold, Told, news, write};
use crate::telemetry::events::{AnomaliesLooked, AnomaliesUnknown, AnomalyFound};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Supervised, WrapFuture};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_secs(2);
/// So many times in a row there was no backlog: what was written while the daemon did not run has been read.
const TICKS_CALM: u32 = 3;
/// A look is due so long past every full hour: what happened before midnight has come in by then.
const PAST_THE_HOUR: Micros = 300 * MICROS_PER_SECOND;

/// Other rules from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconfigure(pub AnomalySettings);

/// The daemon ends: no look is begun any more, and one that is under way ends soon.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

pub struct AnomalyActor {
    observed: Observed,
    settings: AnomalySettings,
    /// `None` until the ledger was read. Locked by the look that is under way.
    told: Arc<Mutex<Option<Told>>>,
    calm_ticks: u32,
    /// The hour of the last look, see [`due_hour`].
    looked: Option<i64>,
    is_looking: bool,
    stopping: Arc<AtomicBool>,
}

/// A look falls due when this changes.
fn due_hour(now: Micros) -> i64 {
    (now - PAST_THE_HOUR).div_euclid(MICROS_PER_HOUR)
}

impl AnomalyActor {
    pub fn new(observed: Observed, settings: AnomalySettings) -> AnomalyActor {
        let (told, stopping) = (Arc::default(), Arc::default());
        AnomalyActor { observed, settings, told, calm_ticks: 0, looked: None, is_looking: false, stopping }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let is_calm = self.observed.ingests().iter().map(backlog).sum::<u64>() <= BULK_BYTES;
        self.calm_ticks = if is_calm { self.calm_ticks.saturating_add(1) } else { 0 };
        let now = time::now();
        let is_due = self.looked != Some(due_hour(now)) && self.calm_ticks >= TICKS_CALM;
        if is_due && self.settings.enabled && !self.is_looking && !self.stopping.load(Ordering::Relaxed) {
            self.looked = Some(due_hour(now));
            self.look(now, ctx);
        }
    }

    fn look(&mut self, now: Micros, ctx: &mut Context<Self>) {
        self.is_looking = true;
        let (observed, rules, told, stopping) = (self.observed.clone(), self.settings.rules, self.told.clone(), self.stopping.clone());
        let looked = tokio::task::spawn_blocking(move || {
            // A look that outlived its actor's restart comes to its end first.
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let looked = look(&observed, &rules, &mut told, &stopping, now);
            if let Err(error) = looked
                && !stopping.load(Ordering::Relaxed)
            {
                observed.telemetry.emit(&AnomaliesUnknown { error: &error.to_string() });
            }
        });
        ctx.spawn(looked.into_actor(self).map(|_, actor, _| actor.is_looking = false));
    }
}

/// Tells what is new, once it stands in the ledger.
fn look(observed: &Observed, rules: &Rules, told: &mut Option<Told>, stopping: &Arc<AtomicBool>, now: Micros) -> Result<(), NotTold> {
    let (store, started) = (&observed.store, Instant::now());
    // Not there again unless all goes well: a ledger that could not be synced may or may not have taken the records.
    let mut known = told.take().map_or_else(|| Told::read(store, now), Ok)?;
    known.forget_before(now);
    let view = store.answers();
    let guarded = |segment| Arc::new(WhileRunning { segment, stopping: stopping.clone() }) as Arc<dyn Segment>;
    let view = View { segments: view.segments.into_iter().map(guarded).collect(), settled: 0, ..view };
    let found = news(&view, rules, &known, now)?;
    write(store, &found, now)?;
    known.add(&found);
    found.iter().filter_map(event).for_each(|event| observed.telemetry.emit(&event));
    observed.telemetry.emit(&AnomaliesLooked { told: found.len() as u64, duration: started.elapsed() });
    *told = Some(known);
    Ok(())
}

fn event(row: &AnomalyRow) -> Option<AnomalyFound<'_>> {
    let AnomalyRow { sensor, day, measure, value, expected, deviation, direction, .. } = row;
    Some(AnomalyFound {
        sensor,
        day,
        measure: *measure,
        direction: (*direction)?,
        value: *value,
        expected: *expected,
        deviation: *deviation,
    })
}

/// A segment that answers nothing more once the daemon stops, so that a long look ends.
struct WhileRunning {
    segment: Arc<dyn Segment>,
    stopping: Arc<AtomicBool>,
}

impl Segment for WhileRunning {
    fn with_index(&self, ask: &mut dyn FnMut(&dyn IndexPart) -> Result<(), SidecarError>) -> Result<(), SidecarError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(SidecarError::Read { segment: 0, source: io::Error::other("the daemon stops") });
        }
        self.segment.with_index(ask)
    }

    fn read_block(&self, block: &BlockMeta, lines: &mut BlockLines) -> io::Result<()> {
        self.segment.read_block(block, lines)
    }
}

impl Actor for AnomalyActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |actor, ctx| actor.tick(ctx));
    }
}

impl Supervised for AnomalyActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.is_looking = false;
    }
}

impl Drop for AnomalyActor {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Handler<Reconfigure> for AnomalyActor {
    type Result = ();

    fn handle(&mut self, Reconfigure(settings): Reconfigure, _: &mut Self::Context) {
        if self.settings != settings {
            (self.settings, self.looked) = (settings, None);
        }
    }
}

impl Handler<Stop> for AnomalyActor {
    type Result = ();

    fn handle(&mut self, _: Stop, _: &mut Self::Context) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

answers_ping!(AnomalyActor);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_due_past_every_hour_and_so_after_midnight() {
        let at = |text: &str| due_hour(time::parse(text.as_bytes()).expect("a time"));
        assert_eq!(at("2026-03-22T23:05:00Z"), at("2026-03-23T00:04:59Z"));
        assert_ne!(at("2026-03-23T00:04:59Z"), at("2026-03-23T00:05:00Z"));
        assert_eq!(at("2026-03-23T00:05:00Z"), at("2026-03-23T01:04:59Z"));
    }
}
