//! Looks at the rules of alerts when they are due, and hands notices to the sinks' deliveries until they arrive.
//!
//! Owns: when rules were looked at, and which notices are on their way. Talks to: the supervisor, for the sinks. Lost on restart:
//! when the dead letters of sinks grew; what is open and what has yet to arrive stands in ledger and state ([`Alerts`]).
//! Invariants: at most one look is under way, on a thread that may block; at most one notice is on its way to each sink, the oldest.
use super::metrics::{BULK_BYTES, Observed, backlog};
use super::supervisor::ToSink;
use super::{answers_ping, supervisor::SupervisorActor};
use crate::alerts::book::Pending;
use crate::alerts::look::Snapshots;
use crate::config::{AlertSettings, Settings, SinkSettings};
use crate::enrich::Desk;
use crate::events::time;
use crate::service::alerts::{Alerts, Judging, Looker, send_due};
use crate::telemetry::events::{AlertNotKept, AlertWaits};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Supervised, WrapFuture};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_secs(1);
/// So many times in a row there was no backlog: what was written while the daemon did not run has been read.
const TICKS_CALM: u32 = 3;
/// A sink that did not take a notice is asked again so much later; its delivery has a backoff of its own besides.
const AGAIN: Duration = Duration::from_secs(5);

/// Other rules, sinks and lists from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconfigure(pub Box<Settings>);

/// The daemon ends: nothing is looked at or sent any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

pub struct AlertActor {
    observed: Observed,
    alerts: Arc<Alerts>,
    settings: AlertSettings,
    sinks: Vec<SinkSettings>,
    judging: Judging,
    supervisor: Addr<SupervisorActor>,
    looker: Arc<Mutex<Looker>>,
    calm_ticks: u32,
    looked: Option<Instant>,
    is_looking: bool,
    is_stopping: bool,
    /// Sinks to which a notice is on its way, or that are asked again only then.
    busy: HashMap<String, Option<Instant>>,
    is_fetching: bool,
}

impl Observed {
    /// What rules of alerts look at besides the store.
    pub fn alert_snapshots(&self, calm: bool) -> Snapshots {
        let journal = self.journal.borrow();
        Snapshots { sinks: self.sinks(), free_bytes: journal.free_bytes, paused: journal.paused, calm }
    }
}

impl AlertActor {
    pub fn new(
        observed: Observed,
        alerts: Arc<Alerts>,
        settings: &Settings,
        desk: Arc<Desk>,
        supervisor: Addr<SupervisorActor>,
    ) -> AlertActor {
        let judging = Judging { lists: settings.lists.clone(), data_dir: settings.data_dir.clone(), desk };
        AlertActor {
            observed,
            alerts,
            settings: settings.alerts.clone(),
            sinks: settings.sinks.clone(),
            judging,
            supervisor,
            looker: Arc::default(),
            calm_ticks: 0,
            looked: None,
            is_looking: false,
            is_stopping: false,
            busy: HashMap::new(),
            is_fetching: false,
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let is_calm = self.observed.ingests().iter().map(backlog).sum::<u64>() <= BULK_BYTES;
        self.calm_ticks = if is_calm { self.calm_ticks.saturating_add(1) } else { 0 };
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= self.settings.every);
        // The journal's first look at the disk comes before ours.
        let is_available = self.observed.journal.borrow().available;
        if is_due && is_available && !self.is_looking && !self.is_stopping {
            self.looked = Some(Instant::now());
            self.look(ctx);
        }
        self.fetch(ctx);
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.is_looking = true;
        let (observed, looker, alerts) = (self.observed.clone(), self.looker.clone(), self.alerts.clone());
        let (settings, sinks, judging) = (self.settings.clone(), self.sinks.clone(), self.judging.clone());
        let snapshots = observed.alert_snapshots(self.calm_ticks >= TICKS_CALM);
        let looked = tokio::task::spawn_blocking(move || {
            let mut looker = looker.lock().unwrap_or_else(PoisonError::into_inner);
            let looked = looker.look((&alerts, &settings, &sinks), &snapshots, &judging, &observed.telemetry, time::now());
            if let Err(error) = looked {
                observed.telemetry.emit(&AlertNotKept { error: &error.to_string() });
            }
        });
        ctx.spawn(looked.into_actor(self).map(|_, actor, ctx| {
            actor.is_looking = false;
            actor.fetch(ctx);
        }));
    }

    /// Finds what is due for sinks that are not busy, and sends it.
    fn fetch(&mut self, ctx: &mut Context<Self>) {
        if self.is_fetching || self.is_stopping {
            return;
        }
        self.is_fetching = true;
        self.busy.retain(|_, until| until.is_none_or(|until| Instant::now() < until));
        let (alerts, busy) = (self.alerts.clone(), self.busy.clone());
        let found = tokio::task::spawn_blocking(move || alerts.next_pending(&|sink| busy.contains_key(sink)));
        ctx.spawn(found.into_actor(self).map(|found, actor, ctx| {
            actor.is_fetching = false;
            // What cannot be read now is told of by the look.
            for pending in found.ok().and_then(Result::ok).unwrap_or_default() {
                actor.send(pending, ctx);
            }
        }));
    }

    fn send(&mut self, pending: Pending, ctx: &mut Context<Self>) {
        // The look gives up what is for a sink that is no more.
        let Some(sink) = self.sinks.iter().find(|sink| sink.name.as_str() == pending.sink).cloned() else { return };
        self.busy.insert(pending.sink.clone(), None);
        let (alerts, supervisor, telemetry) = (self.alerts.clone(), self.supervisor.clone(), self.observed.telemetry.clone());
        let name = pending.sink.clone();
        let sent = async move {
            let outcome = send_due(&alerts, &sink, &pending.notice, async |order: ToSink| supervisor.send(order).await.ok()).await;
            let settled = tokio::task::spawn_blocking(move || {
                let settled = alerts.sent(&sink, &pending, outcome, &telemetry, time::now());
                if let Err(reason) = &settled {
                    let Pending { sink, notice } = &pending;
                    telemetry.emit(&AlertWaits { alert: &notice.alert, sink, number: notice.number, reason });
                }
                settled.is_ok()
            });
            settled.await.unwrap_or(false)
        };
        ctx.spawn(sent.into_actor(self).map(move |settled, actor, ctx| {
            if settled {
                actor.busy.remove(&name);
                actor.fetch(ctx);
            } else {
                actor.busy.insert(name, Some(Instant::now() + AGAIN));
            }
        }));
    }
}

impl Actor for AlertActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |actor, ctx| actor.tick(ctx));
    }
}

impl Supervised for AlertActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        (self.is_looking, self.is_fetching) = (false, false);
        self.busy.clear();
    }
}

impl Handler<Reconfigure> for AlertActor {
    type Result = ();

    fn handle(&mut self, Reconfigure(settings): Reconfigure, _: &mut Self::Context) {
        self.judging = Judging { lists: settings.lists, data_dir: settings.data_dir, desk: self.judging.desk.clone() };
        (self.settings, self.sinks, self.looked) = (settings.alerts, settings.sinks, None);
    }
}

impl Handler<Stop> for AlertActor {
    type Result = ();

    fn handle(&mut self, _: Stop, _: &mut Self::Context) {
        self.is_stopping = true;
    }
}

answers_ping!(AlertActor);
