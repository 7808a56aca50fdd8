//! What commands ask of the sinks. With a daemon the orders go to its exporters; without one they change what the next will find.
use super::ServiceError;
use crate::actors::exporter;
use crate::actors::supervisor::ToSink;
use crate::config::{Settings, SinkSettings};
use crate::daemon::Engine;
use crate::events::id::unhex;
use crate::events::{EventId, Format, Micros, time};
use crate::geoip::Handle;
use crate::sinks::delivery::{Command, SinkSnapshot, SinkState};
use crate::sinks::feed::BatchLimits;
use crate::sinks::{Answer, Batch, Item, Outcome};
use crate::state::{SinkCursor, State};
use crate::store::{DEAD_LETTERS_FROM, History, QuarantineRecord, Store};
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;

/// One sink, as `sinks list`, `sinks show` and `status` tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SinkRow {
    pub name: String,
    /// `file`, `webhook`, …; empty for one that is configured no more.
    pub r#type: String,
    /// Path or URL.
    pub place: String,
    /// [`SinkState::name`]; `stopped` without a daemon, `removed` when only its place in the journal is left.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub filter: Option<String>,
    pub may_lose: bool,
    /// Sequence number of the first event that has not settled.
    pub cursor: u64,
    /// Sequence number of the next event to come.
    pub head: u64,
    pub lag_events: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lag_seconds: Option<f64>,
    /// Since the daemon's start.
    pub delivered: u64,
    /// Since the daemon's start.
    pub dead_letters: u64,
    /// Dead letters that are there now.
    #[serde(default)]
    pub dead_letters_kept: u64,
    pub lost: u64,
    pub attempts: u64,
    pub failures: u64,
    /// Requests of the last hour, and those of them that failed.
    #[serde(default)]
    pub attempts_hour: u64,
    #[serde(default)]
    pub failures_hour: u64,
    /// How many of a hundred requests of the last hour succeeded; none when there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub success_percent: Option<f64>,
    pub in_flight: u64,
    pub concurrency: u64,
    pub batches: u64,
    pub batch_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_success: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error_at: Option<String>,
}

impl SinkRow {
    fn of(settings: &SinkSettings, snapshot: &SinkSnapshot, now: Micros) -> SinkRow {
        let waited = |since: Micros| now.saturating_sub(since).max(0) as f64 / time::MICROS_PER_SECOND as f64;
        SinkRow {
            name: settings.name.to_string(),
            r#type: settings.receiver.kind().to_owned(),
            place: settings.receiver.place(),
            state: snapshot.state.name().to_owned(),
            reason: snapshot.reason.clone(),
            filter: settings.filter.as_ref().map(|(text, _)| text.clone()),
            may_lose: settings.may_lose,
            cursor: snapshot.cursor,
            head: snapshot.head,
            lag_events: snapshot.lag_events,
            lag_seconds: snapshot.oldest_waiting.map(waited),
            delivered: snapshot.delivered,
            dead_letters: snapshot.dead_letters,
            dead_letters_kept: 0,
            lost: snapshot.lost,
            attempts: snapshot.attempts,
            failures: snapshot.failures,
            attempts_hour: snapshot.attempts_hour,
            failures_hour: snapshot.failures_hour,
            success_percent: snapshot.success().map(|ratio| (ratio * 1_000.0).round() / 10.0),
            in_flight: snapshot.in_flight,
            concurrency: snapshot.concurrency,
            batches: snapshot.batches,
            batch_bytes: snapshot.batch_bytes,
            last_success: snapshot.last_success.map(time::format),
            last_error: snapshot.last_error.clone(),
            last_error_at: snapshot.last_error_at.map(time::format),
        }
    }
}

/// All sinks of a running daemon, from their snapshots; and those of which only the place is left.
pub fn list(engine: &Engine, now: Micros) -> Vec<SinkRow> {
    let settings = engine.settings.borrow().sinks.clone();
    let snapshots = engine.observed.sinks();
    let mut rows: Vec<SinkRow> = settings
        .iter()
        .map(|sink| {
            let snapshot = snapshots.iter().find(|snapshot| snapshot.name == sink.name.as_str()).cloned();
            SinkRow::of(sink, &snapshot.unwrap_or_default(), now)
        })
        .collect();
    rows.extend(removed(&settings, &engine.state, engine.store()));
    with_letters(rows, engine.store())
}

fn with_letters(mut rows: Vec<SinkRow>, store: &Store) -> Vec<SinkRow> {
    let quarantine = store.quarantine();
    rows.iter_mut().for_each(|row| row.dead_letters_kept = quarantine.letters_of(&row.name));
    rows
}

/// All sinks of a data directory that nobody works on.
pub fn list_stopped(settings: &[SinkSettings], state: &State, store: &Store, now: Micros) -> Vec<SinkRow> {
    let head = store.view().next_seq();
    let row = |sink: &SinkSettings| {
        let cursor = exporter::cursor(sink, state, store);
        let lag_events = head.saturating_sub(cursor.seq);
        let snapshot = SinkSnapshot { cursor: cursor.seq, head, lag_events, ..SinkSnapshot::default() };
        let state = if cursor.paused { SinkState::Paused.name() } else { "stopped" };
        SinkRow { state: state.to_owned(), ..SinkRow::of(sink, &snapshot, now) }
    };
    with_letters(settings.iter().map(row).chain(removed(settings, state, store)).collect(), store)
}

fn removed(settings: &[SinkSettings], state: &State, store: &Store) -> Vec<SinkRow> {
    let head = store.view().next_seq();
    let gone = state.cursors().into_iter().filter(|(name, _)| settings.iter().all(|sink| sink.name.as_str() != name));
    let row = |(name, cursor): (String, SinkCursor)| SinkRow {
        name,
        state: "removed".to_owned(),
        cursor: cursor.seq,
        head,
        lag_events: head.saturating_sub(cursor.seq),
        ..SinkRow::default()
    };
    gone.map(row).collect()
}

/// Whether a receiver would take deliveries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TestReport {
    pub sink: String,
    pub usable: bool,
    /// HTTP status, where there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// What it said, or why it could not be asked.
    pub answer: String,
    pub seconds: f64,
}

impl TestReport {
    fn of(sink: &str, outcome: Outcome, took: Duration) -> TestReport {
        let (usable, answer) = match outcome.answer {
            Answer::Delivered | Answer::Items(_) => (true, "ready".to_owned()),
            Answer::Retry { why, .. } | Answer::Unusable { why } | Answer::TooLarge { why } | Answer::Refused { why } => (false, why),
        };
        TestReport { sink: sink.to_owned(), usable, status: outcome.status, answer, seconds: took.as_secs_f64() }
    }
}

/// Where a sink stands behind an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Ordered {
    pub sink: String,
    pub paused: bool,
    pub cursor: u64,
    /// Events from there to the end of the journal.
    pub lag_events: u64,
    /// A replay from behind the place where it stood leaves out so many events.
    #[serde(default)]
    pub skipped: u64,
}

/// An order that moves a sink's place or keeps it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SinkOrder)]
pub enum Order {
    Pause,
    Resume,
    /// Deliver again from this event.
    ReplayFrom(u64),
    /// Deliver again from about this time (microseconds since 1970): from the first block that has an event of it.
    ReplaySince(Micros),
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Order::Pause => "pause",
            Order::Resume => "resume",
            Order::ReplayFrom(_) | Order::ReplaySince(_) => "replay",
        }
    }
}

pub(super) fn known<'s>(settings: &'s [SinkSettings], name: &str) -> Result<&'s SinkSettings, ServiceError> {
    settings.iter().find(|sink| sink.name.as_str() == name).ok_or_else(|| ServiceError::NoSink(name.to_owned()))
}

/// Sends an order to a running sink; `by` is who gave it. Blocking work is done on threads that may block.
pub async fn order(engine: &Engine, name: &str, order: Order, by: &str) -> Result<Ordered, ServiceError> {
    known(&engine.settings.borrow().sinks, name)?;
    is_there(engine.store(), order)?;
    let before = engine.state.cursor(name).map(|cursor| cursor.seq);
    let (done, answered) = oneshot::channel();
    let command = match order {
        Order::Pause => Command::Pause(done),
        Order::Resume => Command::Resume(done),
        Order::ReplayFrom(seq) => Command::Seek(seq.max(1), done),
        Order::ReplaySince(at) => {
            let store = engine.store().clone();
            let seq = tokio::task::spawn_blocking(move || store.seq_at(at)).await;
            Command::Seek(seq.map_err(|panic| ServiceError::Sink(panic.to_string()))??, done)
        }
    };
    let mut to = match &command {
        Command::Seek(seq, _) => Some(*seq),
        _ => None,
    };
    send(engine, name, command).await?;
    answered.await.map_err(|_| not_ready(name))?.map_err(ServiceError::Sink)?;
    let cursor = engine.state.cursor(name).unwrap_or(SinkCursor { seq: 1, paused: false });
    let cursor = SinkCursor { seq: to.take().unwrap_or(cursor.seq), ..cursor };
    let head = engine.store().view().next_seq();
    let skipped = skipped(order, before, cursor.seq);
    let (store, owner, by, what) = (engine.store().clone(), name.to_owned(), by.to_owned(), order);
    let recorded = tokio::task::spawn_blocking(move || record(&store, &owner, what, cursor.seq, skipped, &by)).await;
    recorded.map_err(|panic| ServiceError::Sink(panic.to_string()))??;
    engine.observed.telemetry.emit(&crate::telemetry::events::SinkOrdered { sink: name, order: order.name(), sequence: cursor.seq });
    let lag_events = head.saturating_sub(cursor.seq);
    Ok(Ordered { sink: name.to_owned(), paused: cursor.paused, cursor: cursor.seq, lag_events, skipped })
}

/// An order to deliver from an event that is not there yet would leave out what comes until then.
fn is_there(store: &Store, order: Order) -> Result<(), ServiceError> {
    let next = store.view().next_seq();
    match order {
        Order::ReplayFrom(seq) if seq > next => {
            let last = next.saturating_sub(1);
            Err(ServiceError::Wrong(format!("there is no event {seq} yet: the newest is {last}; give a number up to {next}")))
        }
        _ => Ok(()),
    }
}

fn skipped(order: Order, before: Option<u64>, to: u64) -> u64 {
    match order {
        Order::ReplayFrom(_) | Order::ReplaySince(_) => before.map_or(0, |before| to.saturating_sub(before)),
        Order::Pause | Order::Resume => 0,
    }
}

async fn send(engine: &Engine, name: &str, command: Command) -> Result<(), ServiceError> {
    let sent = engine.supervisor.send(ToSink(name.to_owned(), command)).await;
    match sent.map_err(|error| ServiceError::Sink(error.to_string()))? {
        true => Ok(()),
        false => Err(ServiceError::NoSink(name.to_owned())),
    }
}

fn not_ready(name: &str) -> ServiceError {
    ServiceError::NotNow(format!("the sink `{name}` takes no orders now: `honeyguide sinks show {name}` says why"))
}

fn record(store: &Store, sink: &str, order: Order, cursor: u64, skipped: u64, by: &str) -> Result<(), ServiceError> {
    let details = serde_json::json!({ "sink": sink, "order": order.name(), "sequence": cursor, "skipped": skipped, "by": by });
    Ok(store.record("sink_ordered", details, time::now())?)
}

/// The same without a daemon: the next one finds it so.
pub fn order_stopped(
    settings: &[SinkSettings],
    state: &State,
    store: &Store,
    name: &str,
    order: Order,
    by: &str,
) -> Result<Ordered, ServiceError> {
    let sink = known(settings, name)?;
    is_there(store, order)?;
    let mut cursor = exporter::cursor(sink, state, store);
    let before = Some(cursor.seq);
    match order {
        Order::Pause => cursor.paused = true,
        Order::Resume => cursor.paused = false,
        Order::ReplayFrom(seq) => cursor.seq = seq.max(1),
        Order::ReplaySince(at) => cursor.seq = store.seq_at(at)?,
    }
    if matches!(order, Order::ReplayFrom(_) | Order::ReplaySince(_)) {
        let made = crate::sinks::open::open(sink, store.history(), store.places(), Box::new(|_| ())).map_err(ServiceError::Sink)?;
        made.rewound().map_err(ServiceError::Sink)?;
    }
    state.save_cursor(name, cursor).map_err(|error| ServiceError::Sink(error.to_string()))?;
    let skipped = skipped(order, before, cursor.seq);
    record(store, name, order, cursor.seq, skipped, by)?;
    let lag_events = store.view().next_seq().saturating_sub(cursor.seq);
    Ok(Ordered { sink: name.to_owned(), paused: cursor.paused, cursor: cursor.seq, lag_events, skipped })
}

/// Asks a receiver whether it would take deliveries; nothing is delivered.
pub async fn test(settings: &Settings, name: &str) -> Result<TestReport, ServiceError> {
    let sink = known(&settings.sinks, name)?.clone();
    let (timeout, begun) = (sink.policy.timeout, tokio::time::Instant::now());
    // Made anew, so that it can be asked while the running one waits, is paused, or could not be made.
    let made =
        tokio::task::spawn_blocking(move || crate::sinks::open::open(&sink, History::default(), &Handle::default(), Box::new(|_| ())))
            .await;
    let outcome = match made.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(made) => tokio::time::timeout(timeout, made.probe()).await.unwrap_or_else(|_| Outcome {
            answer: Answer::Retry { after: None, why: format!("no answer within {} s", timeout.as_secs()) },
            status: None,
        }),
        Err(why) => Outcome { answer: Answer::Unusable { why }, status: None },
    };
    Ok(TestReport::of(name, outcome, begun.elapsed()))
}

/// What a sink's receiver refused for good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetterRow {
    /// What `quarantine show` calls it.
    pub number: u64,
    pub sequence: u64,
    pub id: String,
    pub source: String,
    pub received_at: String,
    pub reason: String,
    pub bytes: u64,
}

fn is_dead(record: &QuarantineRecord, sink: &str) -> bool {
    record.undelivered.as_ref().is_some_and(|undelivered| undelivered.sink == sink)
}

/// Dead letters that are looked through first; of these are too few of the sink's, eight times as many are, and so on.
const LOOKED_THROUGH: u64 = 1_024;

/// The newest dead letters of a sink, newest first. There may be very many, most of them of other sinks: it begins at their end.
pub fn dead(store: &Store, sink: &str, limit: u64) -> Result<Vec<DeadLetterRow>, ServiceError> {
    let quarantine = store.quarantine();
    let wanted = limit.min(quarantine.letters_of(sink));
    let (end, mut behind) = (quarantine.letters_end(), LOOKED_THROUGH);
    let mut newest = VecDeque::new();
    while newest.len() as u64 != wanted {
        let from = end.saturating_sub(behind).max(DEAD_LETTERS_FROM);
        newest.clear();
        quarantine.for_each(from, |number, record| {
            if let Some(undelivered) = record.undelivered.filter(|undelivered| undelivered.sink == sink) {
                if newest.len() as u64 == wanted {
                    newest.pop_front();
                }
                newest.push_back(DeadLetterRow {
                    number,
                    sequence: undelivered.sequence,
                    id: undelivered.id,
                    source: record.source,
                    received_at: record.timestamp,
                    reason: record.detail,
                    bytes: record.len,
                });
            }
            true
        })?;
        if from == DEAD_LETTERS_FROM {
            break;
        }
        behind = behind.saturating_mul(8);
    }
    Ok(newest.into_iter().rev().collect())
}

/// Removes the dead letters of a sink for good. Answers how many went.
pub fn dead_purge(store: &Store, sink: &str, by: &str) -> Result<u64, ServiceError> {
    let now = time::now();
    let removed = store.quarantine().retain_letters(|_, record| !is_dead(record, sink), now)?;
    if removed > 0 {
        store.record("dead_letters_purged", serde_json::json!({ "sink": sink, "removed": removed, "by": by }), now)?;
    }
    Ok(removed)
}

/// What became of dead letters that were sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Redelivered {
    pub retried: u64,
    /// These are gone from the quarantine.
    pub delivered: u64,
}

/// How long a batch of dead letters may take.
const REDELIVERY_PATIENCE: Duration = Duration::from_secs(120);

/// Sends the dead letters of a sink again, batch by batch; those that arrive leave the quarantine, the others stay.
pub async fn dead_retry(engine: &Engine, name: &str, by: &str) -> Result<Redelivered, ServiceError> {
    let limits = known(&engine.settings.borrow().sinks, name)?.policy.batch;
    let mut outcome = Redelivered::default();
    let mut arrived: HashSet<String> = HashSet::new();
    let sent = send_dead(engine, name, limits, &mut outcome.retried, &mut arrived).await;
    // Also when it broke off: what arrived must not be sent once more.
    if !arrived.is_empty() {
        let (store, sink, by) = (engine.store().clone(), name.to_owned(), by.to_owned());
        let removed = tokio::task::spawn_blocking(move || dead_arrived(&store, &sink, &arrived, &by));
        outcome.delivered = removed.await.map_err(|panic| ServiceError::Sink(panic.to_string()))??;
    }
    match sent {
        Err(error) if outcome.delivered > 0 => Err(ServiceError::NotNow(format!("{error}; {} arrived before", outcome.delivered))),
        sent => sent.map(|()| outcome),
    }
}

/// Sends batch by batch until one does not arrive; notes how many were sent and the ids of those that arrived.
async fn send_dead(
    engine: &Engine,
    name: &str,
    limits: BatchLimits,
    retried: &mut u64,
    arrived: &mut HashSet<String>,
) -> Result<(), ServiceError> {
    let (mut from, until) = (DEAD_LETTERS_FROM, engine.store().quarantine().letters_end());
    loop {
        let (store, sink) = (engine.store().clone(), name.to_owned());
        let next = tokio::task::spawn_blocking(move || dead_batch(&store, &sink, from, until, limits.items, limits.bytes)).await;
        let (batch, behind) = next.map_err(|panic| ServiceError::Sink(panic.to_string()))??;
        if batch.items.is_empty() {
            return Ok(());
        }
        from = behind;
        *retried += batch.items.len() as u64;
        let (done, answered) = oneshot::channel();
        send(engine, name, Command::Redeliver(batch, REDELIVERY_PATIENCE, done)).await?;
        let redelivery = answered.await.map_err(|_| not_ready(name))?;
        let redelivery = redelivery.map_err(|why| ServiceError::NotNow(format!("the sink `{name}` sends no dead letters now: {why}")))?;
        arrived.extend(redelivery.arrived.iter().map(ToString::to_string));
        if !redelivery.is_whole {
            let seconds = REDELIVERY_PATIENCE.as_secs();
            return Err(ServiceError::NotNow(format!(
                "the sink `{name}` has not delivered them within {seconds} s, or was paused, sent back or stopped: the others stay in \
                 quarantine; `honeyguide sinks show {name}` says more"
            )));
        }
    }
}

/// Takes dead letters that arrived out of the quarantine. Answers how many went.
fn dead_arrived(store: &Store, sink: &str, arrived: &HashSet<String>, by: &str) -> Result<u64, ServiceError> {
    let now = time::now();
    let is_arrived = |record: &QuarantineRecord| record.undelivered.as_ref().is_some_and(|dead| arrived.contains(&dead.id));
    let removed = store.quarantine().retain_letters(|_, record| !(is_dead(record, sink) && is_arrived(record)), now)?;
    store.record("dead_letters_delivered", serde_json::json!({ "sink": sink, "delivered": removed, "by": by }), now)?;
    Ok(removed)
}

/// Dead letters from a record number on, as many as make a batch; and the number behind them.
fn dead_batch(store: &Store, sink: &str, from: u64, until: u64, items: usize, bytes: usize) -> Result<(Batch, u64), ServiceError> {
    let (mut batch, mut behind) = (Batch { redelivered: true, ..Batch::default() }, from);
    store.quarantine().for_each(from, |number, record| {
        if number >= until || batch.items.len() >= items || batch.payload.len() >= bytes {
            return false;
        }
        behind = number + 1;
        if let (Some(dead), Some(payload)) = (record.undelivered.as_ref().filter(|dead| dead.sink == sink), record.bytes())
            && let Some(id) = unhex(dead.id.as_bytes()).map(EventId)
        {
            let item = Item {
                seq: dead.sequence,
                id,
                time: dead.time,
                received_at: time::parse(record.timestamp.as_bytes()).unwrap_or(dead.time),
                source: record.source.as_str().into(),
                format: Format::parse(&record.format).unwrap_or(Format::COWRIE),
                payload: 0..0,
            };
            batch.push(item, &payload);
        }
        true
    })?;
    Ok((batch, behind))
}

/// Forgets where a sink stood that is configured no more; configured again, it begins at its `start`.
pub fn forget(settings: &[SinkSettings], state: &State, store: &Store, name: &str, by: &str) -> Result<(), ServiceError> {
    if known(settings, name).is_ok() {
        let remedy = "take it out of the configuration and reload first";
        return Err(ServiceError::NotNow(format!("the sink `{name}` is configured: {remedy}")));
    }
    store.carry(&SinkCursor::checkpoint_name(name), Vec::new());
    if !state.forget_sink(name).map_err(|error| ServiceError::Sink(error.to_string()))? {
        return Err(ServiceError::NoSink(name.to_owned()));
    }
    Ok(store.record("sink_forgotten", serde_json::json!({ "sink": name, "by": by }), time::now())?)
}
