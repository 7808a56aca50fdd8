//! Delivers to one sink; each sink has an actor of its own.
//!
//! Owns: the delivery loop, which runs beside the mailbox, so that it is asked and told things while its receiver hangs.
//! Talks to: nobody's mailbox. What it needs it reads from the store, what it settled it saves in the state.
//! Lost on restart: requests under way. They are sent again from the cursor, with the same keys.
//! Invariant: the cursor of a sink is moved by one loop at a time.
use super::answers_ping;
use crate::config::{Receiver, SinkSettings, Start};
use crate::events::id::hex;
use crate::events::{Field, Format, time};
use crate::extract::model::{Model, ModelSettings};
use crate::redact::{Policy, Redactor, Subject};
use crate::service::{self, ServiceError};
use crate::sinks::Sink;
use crate::sinks::delivery::{Attempt, Command, DeadLetter, Delivery, DeliveryPorts, Keeper, SinkSnapshot, SinkState};
use crate::sinks::events_feed::EventsFeed;
use crate::sinks::feed::Feed;
use crate::sinks::open::open;
use crate::sinks::session_feed::{Assess, DeliveredSessions, SessionFeed, SessionLines};
use crate::sources::{Reason, Refused};
use crate::state::{SinkCursor, State};
use crate::store::{Gap, JournalReader, QuarantineRecord, Store, Undelivered};
use crate::telemetry::Telemetry;
use crate::telemetry::events::{
    ModelFailed, SinkDegraded, SinkDelivered, SinkFailed, SinkLost, SinkNotDelivered, SinkOfOtherJournal, SinkRecovered, SinkRefused,
};
use crate::telemetry::metrics::{FailureClass, FailureStage, SendOutcome};
use crate::telemetry::printable::printable;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, Supervised, WrapFuture};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

impl Message for Command {
    type Result = ();
}

/// Ends the delivery, within the deadline for requests under way, with its cursor saved; and the actor.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub struct Drain(pub Duration);

/// Orders that wait for the loop.
const ORDERS_MAX: usize = 64;
/// A sink that cannot be made (a secret's file is missing) is tried again so often.
const MAKE_AGAIN: Duration = Duration::from_secs(10);
/// Longest reason that is kept with a dead letter, bytes.
const DETAIL_BYTES_MAX: usize = 500;

pub struct ExporterConfig {
    pub settings: SinkSettings,
    pub store: Store,
    pub state: Arc<State>,
    pub telemetry: Telemetry,
    pub snapshot: watch::Sender<SinkSnapshot>,
    /// Who scores chats besides the rules.
    pub model: Option<ModelSettings>,
}

pub struct ExporterActor {
    config: Arc<ExporterConfig>,
    orders: Option<mpsc::Sender<Command>>,
    /// The last state that was told.
    degraded: bool,
}

impl ExporterActor {
    pub fn new(config: ExporterConfig) -> ExporterActor {
        ExporterActor { config: Arc::new(config), orders: None, degraded: false }
    }

    /// Makes the sink, off this thread because secrets are read, and begins to deliver.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let config = self.config.clone();
        let made = tokio::task::spawn_blocking(move || {
            let of_notice = config.clone();
            let notice = move |notice: &str| {
                of_notice.telemetry.emit(&SinkOfOtherJournal { sink: of_notice.settings.name.as_str(), notice });
            };
            let sink = open(&config.settings, config.store.history(), config.store.places(), Box::new(notice))?;
            let cursor = cursor(&config.settings, &config.state, &config.store);
            let feed = make_feed(&config, cursor.seq)?;
            Ok::<_, String>((sink, feed, cursor))
        });
        ctx.spawn(made.into_actor(self).map(|made, actor, ctx| match made {
            Ok(Ok((sink, feed, cursor))) => actor.deliver(sink, feed, cursor, ctx),
            Ok(Err(why)) => actor.cannot_begin(&why, ctx),
            Err(panic) => actor.cannot_begin(&panic.to_string(), ctx),
        }));
    }

    fn deliver(&mut self, sink: Arc<dyn Sink>, feed: Box<dyn Feed>, cursor: SinkCursor, ctx: &mut Context<Self>) {
        let config = &self.config;
        let (orders, commands) = mpsc::channel(ORDERS_MAX);
        let settings = &config.settings;
        let ports = DeliveryPorts {
            sink,
            feed,
            keeper: Arc::new(StoreKeeper(config.clone())),
            commands,
            durable: config.store.durable_seq(),
            snapshot: config.snapshot.clone(),
            random: Box::new(rand::random::<f64>),
        };
        let delivery = Delivery::new(settings.name.as_str(), settings.receiver.kind(), settings.policy, cursor, ports);
        self.orders = Some(orders);
        // A panic in there is one of this actor: it is restarted, and delivers from the saved cursor.
        ctx.spawn(delivery.run().into_actor(self));
    }

    fn cannot_begin(&mut self, why: &str, ctx: &mut Context<Self>) {
        let (store, settings) = (&self.config.store, &self.config.settings);
        let cursor = cursor(settings, &self.config.state, store);
        let head = *store.durable_seq().borrow();
        let now = Some(time::now());
        self.config.telemetry.emit(&SinkFailed {
            sink: settings.name.as_str(),
            stage: FailureStage::Send,
            class: FailureClass::Configuration,
            error: why,
        });
        self.config.snapshot.send_replace(SinkSnapshot {
            name: settings.name.to_string(),
            kind: settings.receiver.kind().to_owned(),
            state: SinkState::Degraded,
            reason: Some(why.to_owned()),
            cursor: cursor.seq,
            head,
            lag_events: head.saturating_sub(cursor.seq),
            last_error: Some(why.to_owned()),
            last_error_at: now,
            ..SinkSnapshot::default()
        });
        ctx.run_later(MAKE_AGAIN, |actor, ctx| actor.begin(ctx));
    }

    fn watch_state(&mut self) {
        let snapshot = self.config.snapshot.borrow().clone();
        let degraded = snapshot.state == SinkState::Degraded;
        if degraded == self.degraded {
            return;
        }
        self.degraded = degraded;
        let (sink, lag_events) = (snapshot.name.as_str(), snapshot.lag_events);
        if degraded {
            let reason = snapshot.reason.as_deref().unwrap_or_default();
            self.config.telemetry.emit(&SinkDegraded { sink, reason, lag_events });
        } else {
            self.config.telemetry.emit(&SinkRecovered { sink, lag_events });
        }
    }
}

/// Where the sink stands: as the state says, or else the journal; or where it is to start.
pub fn cursor(settings: &SinkSettings, state: &State, store: &Store) -> SinkCursor {
    let name = settings.name.as_str();
    let carried = || SinkCursor::decode(&store.carried(&SinkCursor::checkpoint_name(name))?);
    state.cursor(name).or_else(carried).unwrap_or_else(|| {
        let seq = match settings.start {
            Start::Beginning => store.first_seq(),
            Start::End => *store.durable_seq().borrow(),
        };
        SinkCursor { seq, paused: false }
    })
}

/// Has retention wait for the sinks, before any of them runs. Where a new one starts is written down at once: after a restart the
/// journal's end is another.
pub fn hold_for(sinks: &[SinkSettings], state: &State, store: &Store) {
    for settings in sinks {
        let (name, cursor) = (settings.name.as_str(), cursor(settings, state, store));
        if state.cursor(name).is_none() {
            store.carry(&SinkCursor::checkpoint_name(name), cursor.encode());
            // A state that cannot be written is told of by whoever writes it next.
            let _ = state.save_cursor(name, cursor);
        }
        store.hold(name, (!settings.may_lose).then_some(cursor.seq));
    }
}

/// The journal's side.
fn make_feed(config: &Arc<ExporterConfig>, from: u64) -> Result<Box<dyn Feed>, String> {
    let (settings, store) = (&config.settings, config.store.clone());
    if let Receiver::Guvi { chats, .. } = &settings.receiver {
        let of_session = store.clone();
        let privacy = settings.redact.then(|| store.privacy().clone());
        let mut redactor = Redactor::default();
        let lines: SessionLines = Box::new(move |session, each| {
            // The receiver asks for the session by its name.
            let policy = privacy.as_ref().and_then(|privacy| privacy.policy());
            let policy = policy.map(|policy| Policy::clone(&policy).of_any_source().without(Field::Session));
            let redacted = &mut |line: &[u8]| match &policy {
                None => each(line),
                Some(policy) => each(&redactor.leaving(policy, Subject { source: "", format: Format::CHAT }, line)),
            };
            match service::session(&of_session, session, time::now(), redacted) {
                Ok(()) | Err(ServiceError::NoSession(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        });
        let events = Box::new(JournalReader::new(store, from));
        let results = Box::new(Results(config.clone()));
        let feed = SessionFeed::new(events, Format::CHAT.name(), lines, results, chats.clone());
        return Ok(match &config.model {
            None => Box::new(feed),
            Some(model) => Box::new(feed.with_assess(assess_by(model.clone(), config.clone())?)),
        });
    }
    let filter = settings.filter.as_ref().map(|(_, query)| query.clone());
    // Indexes are chosen by the event's day; a file's own time is worked out with the rest of its row.
    let wants_time = matches!(settings.receiver, Receiver::Elasticsearch { .. });
    let privacy = store.privacy().clone();
    let feed = EventsFeed::new(store, from, filter, wants_time);
    Ok(Box::new(if settings.redact { feed.redacted(privacy) } else { feed }))
}

/// Asks the model, from a thread that may block; where it has no say, the rules have.
fn assess_by(settings: ModelSettings, config: Arc<ExporterConfig>) -> Result<Assess, String> {
    let model = Model::new(settings).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Handle::current();
    Ok(Box::new(move |talks| {
        let scored = runtime.block_on(model.score(talks));
        if let Some(why) = scored.fallback {
            config.telemetry.emit(&ModelFailed { sink: config.settings.name.as_str(), error: &why.to_string() });
        }
        scored.assessments
    }))
}

/// Which chats' results were delivered, in the state.
struct Results(Arc<ExporterConfig>);

impl DeliveredSessions for Results {
    fn messages(&mut self, session: &str) -> Result<Option<u64>, String> {
        self.0.state.result(self.0.settings.name.as_str(), session).map_err(|error| error.to_string())
    }

    fn delivered(&mut self, session: &str, messages: u64) -> Result<(), String> {
        self.0.state.put_result(self.0.settings.name.as_str(), session, messages).map_err(|error| error.to_string())
    }
}

/// Keeps results where they belong: cursors in the state, in the journal's openings and with retention; dead letters in
/// quarantine; the rest in log, metrics and ledger.
struct StoreKeeper(Arc<ExporterConfig>);

impl StoreKeeper {
    fn name(&self) -> &str {
        self.0.settings.name.as_str()
    }

    fn tell_lost(&self, sink: &str, first_sequence: u64, events: u64, cause: &str) {
        self.0.telemetry.emit(&SinkLost { sink, first_sequence, events, cause });
        let details = serde_json::json!({ "sink": sink, "first_sequence": first_sequence, "events": events, "cause": cause });
        let store = self.0.store.clone();
        // Nobody waits for the ledger, and what cannot be written there is in the log.
        tokio::task::spawn_blocking(move || store.record("sink_lost_events", details, time::now()));
    }
}

impl Keeper for StoreKeeper {
    fn save(&self, cursor: SinkCursor) -> Result<(), String> {
        self.0.store.carry(&SinkCursor::checkpoint_name(self.name()), cursor.encode());
        self.0.state.save_cursor(self.name(), cursor).map_err(|error| error.to_string())?;
        // Durable: only now may retention take what is behind it.
        self.0.store.hold(self.name(), (!self.0.settings.may_lose).then_some(cursor.seq));
        Ok(())
    }

    fn bury(&self, letters: &[DeadLetter]) -> Result<(), String> {
        let now = time::now();
        let records: Vec<QuarantineRecord> = letters.iter().map(|letter| record(self.name(), letter)).collect();
        let gone = self.0.store.bury(&records, now).map_err(|error| error.to_string())?;
        for (sink, (first_sequence, events)) in gone {
            self.tell_lost(&sink, first_sequence, events, "dead letters reached limits.quarantine_bytes and the oldest were removed");
        }
        if let Some(first) = letters.first() {
            self.0.telemetry.emit(&SinkRefused {
                sink: self.name(),
                items: letters.len() as u64,
                first_sequence: first.item.seq,
                detail: &first.why,
            });
        }
        Ok(())
    }

    fn attempted(&self, attempt: &Attempt<'_>) {
        let (batch, sink) = (attempt.batch.to_string(), self.name());
        let correlation_id = format!("{batch}-{}", attempt.attempt);
        let (status, latency, outcome) = (u32::from(attempt.status.unwrap_or(0)), attempt.latency, attempt.outcome);
        let (items, bytes) = (attempt.items as u64, attempt.bytes as u64);
        let (batch, correlation_id, attempt, error) = (batch.as_str(), correlation_id.as_str(), attempt.attempt, attempt.why);
        if outcome == SendOutcome::Delivered {
            self.0.telemetry.emit(&SinkDelivered { sink, batch, attempt, status, outcome, latency, items, bytes, correlation_id });
        } else {
            self.0.telemetry.emit(&SinkNotDelivered {
                sink,
                batch,
                attempt,
                status,
                outcome,
                latency,
                items,
                bytes,
                correlation_id,
                error,
            });
        }
    }

    fn failed(&self, stage: FailureStage, class: FailureClass, why: &str) {
        self.0.telemetry.emit(&SinkFailed { sink: self.name(), stage, class, error: why });
    }

    fn lost(&self, gap: &Gap) {
        self.tell_lost(self.name(), gap.first_seq, gap.events, &gap.why.to_string());
    }

    fn letters_lost(&self) -> u64 {
        self.0.store.letters_lost(self.name())
    }
}

fn record(sink: &str, letter: &DeadLetter) -> QuarantineRecord {
    let mut detail = printable(&letter.why).into_owned();
    let mut cut = detail.len().min(DETAIL_BYTES_MAX);
    while !detail.is_char_boundary(cut) {
        cut -= 1;
    }
    detail.truncate(cut);
    let item = &letter.item;
    let refused = Refused {
        reason: Reason::Undeliverable,
        offset: item.seq,
        len: letter.payload.len() as u64,
        hash: *blake3::hash(&letter.payload).as_bytes(),
        // All of it: it is to be sent again. A line is bounded where it comes in.
        bytes: letter.payload.clone(),
        detail,
    };
    let path = SinkCursor::checkpoint_name(sink);
    let mut record = QuarantineRecord::new(&refused, &item.source, item.format.name(), &path, item.received_at);
    record.undelivered = Some(Undelivered { sink: sink.to_owned(), sequence: item.seq, id: hex(&item.id.0), time: item.time });
    record
}

impl Actor for ExporterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(ctx);
        ctx.run_interval(Duration::from_secs(1), |actor, _| actor.watch_state());
    }
}

impl Supervised for ExporterActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.orders = None;
    }
}

impl Handler<Command> for ExporterActor {
    type Result = ();

    fn handle(&mut self, command: Command, _: &mut Self::Context) {
        if let Some(orders) = &self.orders {
            // Refused (the loop is gone or has too many), it is dropped, which tells whoever waits for its answer.
            let _ = orders.try_send(command);
        }
    }
}

impl Handler<Drain> for ExporterActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Drain(deadline): Drain, _: &mut Self::Context) -> Self::Result {
        let orders = self.orders.take();
        let drained = async move {
            if let Some(orders) = orders {
                let (done, drained) = oneshot::channel();
                if orders.send(Command::Drain(deadline, done)).await.is_ok() {
                    let _ = drained.await;
                }
            }
        };
        Box::pin(drained.into_actor(self).map(|(), _, ctx| ctx.stop()))
    }
}

answers_ping!(ExporterActor);
