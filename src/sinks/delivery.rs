//! The one delivery loop: takes from a feed, sends to a sink, and moves the cursor over what has settled.
//!
//! One such loop runs for each sink, on its own; it knows nothing of actors and nothing of what is behind its [`Sink`], its
//! [`Feed`] and its [`Keeper`]. What holds:
//!
//! - The cursor moves over a contiguous prefix of settled batches only, and a refused item is durable as a dead letter before that.
//! - A request is repeated as it was, with the same key, until it is answered. After a crash the events behind the cursor are
//!   sent again: items keep their ids. Batches are cut at the cursor by count and bytes, so while there is more to send than a
//!   batch holds they are the same ones again, and so is their key; a batch that was cut because nothing more had come may come
//!   back as the beginning of a larger one.
//! - At most so many batches as may be under way at once, and one more, are in memory, however long the receiver is absent.
//! - A sink that takes one request at a time gets everything in order; others may see batches overtake each other.
use super::feed::{BatchLimits, Feed, Taken};
use super::hour::Hour;
use super::policy::{Backoff, BatchSize, Brake, Breaker, Circuit, Concurrency, bisect};
use super::{Answer, Batch, Item, Outcome, Request, Sink, Verdict};
use crate::events::{EventId, Micros, time};
use crate::state::SinkCursor;
use crate::store::Gap;
use crate::telemetry::metrics::{FailureClass, FailureStage, SendOutcome};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The loop looks by itself this often, whatever it was told.
const TICK: Duration = Duration::from_secs(1);
/// The cursor is saved at most so often.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// A sink that cannot work as it is configured is tried again this often at most.
const UNUSABLE_WAIT_MIN: Duration = Duration::from_secs(10);

/// How a sink is delivered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    pub batch: BatchLimits,
    /// How long an event may wait for others to share its batch.
    pub batch_age: Duration,
    /// For one request.
    pub timeout: Duration,
    pub backoff: Backoff,
    /// Failures in a row that open the circuit.
    pub breaker_failures: u32,
    /// Items.
    pub rate_per_second: Option<NonZeroU32>,
    /// Requests under way at once; the sink may allow fewer.
    pub concurrency_max: usize,
    /// Refusals in a row behind which nothing more becomes a dead letter.
    pub refused_max: u32,
    /// Something waits and nothing is delivered for this long: degraded.
    pub degraded_after: Duration,
}

impl Default for DeliveryPolicy {
    fn default() -> DeliveryPolicy {
        DeliveryPolicy {
            batch: BatchLimits { items: 500, bytes: 1 << 20 },
            batch_age: Duration::from_millis(200),
            timeout: Duration::from_secs(30),
            backoff: Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(60) },
            breaker_failures: 5,
            rate_per_second: None,
            concurrency_max: 4,
            refused_max: 64,
            degraded_after: Duration::from_secs(30),
        }
    }
}

/// What keeps the delivery's results. All but the telling may block and is called on a thread that may.
pub trait Keeper: Send + Sync {
    /// Makes the cursor durable.
    fn save(&self, cursor: SinkCursor) -> Result<(), String>;

    /// Makes dead letters durable; those that are known already are passed over.
    fn bury(&self, letters: &[DeadLetter]) -> Result<(), String>;

    /// A request was answered, or was not.
    fn attempted(&self, attempt: &Attempt<'_>);

    /// Something failed besides a request.
    fn failed(&self, stage: FailureStage, class: FailureClass, why: &str);

    /// Events that were due are gone.
    fn lost(&self, gap: &Gap);

    /// How many dead letters are gone from quarantine because it was full, since the start. Does not block.
    fn letters_lost(&self) -> u64;
}

/// An item that its receiver refused for good.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub item: Item,
    pub payload: Vec<u8>,
    pub why: String,
}

/// One request, for the log and the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Its key.
    pub batch: EventId,
    /// From 1.
    pub attempt: u32,
    pub outcome: SendOutcome,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    pub latency: Duration,
    pub items: usize,
    /// Of the body.
    pub bytes: usize,
    /// What the receiver said of a failure.
    pub why: &'a str,
}

/// What the operator asks of a delivery.
pub enum Command {
    /// Begins no more requests until resumed, also across restarts.
    Pause(oneshot::Sender<Result<(), String>>),
    Resume(oneshot::Sender<Result<(), String>>),
    /// Goes on at this event, forwards or back.
    Seek(u64, oneshot::Sender<Result<(), String>>),
    /// Sends dead letters again, for so long; refused while it is paused or others are on their way again.
    Redeliver(Batch, Duration, oneshot::Sender<Result<Redelivery, String>>),
    /// Lets requests under way come to their end, saves the cursor and ends the loop.
    Drain(Duration, oneshot::Sender<()>),
}

/// What became of dead letters that were sent again. Those that are not here were refused again, or not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redelivery {
    pub arrived: Vec<EventId>,
    /// Every one was answered. Otherwise it broke off, and the rest is not sent any more.
    pub is_whole: bool,
}

/// What a delivery is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// Everything has arrived.
    #[default]
    Idle,
    /// There is more to look at than was looked at yet; nothing of it waits to be sent.
    Reading,
    Delivering,
    /// Behind a failure, for the next try.
    Waiting,
    /// The circuit is open: the receiver failed again and again.
    Open,
    Paused,
    /// Something waits and nothing gets through.
    Degraded,
}

impl SinkState {
    pub const fn name(self) -> &'static str {
        match self {
            SinkState::Idle => "idle",
            SinkState::Reading => "reading",
            SinkState::Delivering => "delivering",
            SinkState::Waiting => "waiting",
            SinkState::Open => "open",
            SinkState::Paused => "paused",
            SinkState::Degraded => "degraded",
        }
    }
}

/// What status and metrics read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkSnapshot {
    pub name: String,
    /// `file`, `webhook`, …
    pub kind: String,
    pub state: SinkState,
    /// Why it is in this state, when it is a bad one.
    pub reason: Option<String>,
    /// The first event that has not settled.
    pub cursor: u64,
    /// The next event to come.
    pub head: u64,
    /// Events between the two.
    pub lag_events: u64,
    /// When the oldest item that waits in memory was received, microseconds.
    pub oldest_waiting: Option<Micros>,
    /// Items, since the start.
    pub delivered: u64,
    pub dead_letters: u64,
    /// Events that retention removed before they were delivered, and dead letters that a full quarantine lost.
    pub lost: u64,
    /// Requests that failed since one succeeded.
    pub failures_in_row: u64,
    /// Requests, and those that failed.
    pub attempts: u64,
    pub failures: u64,
    /// The same of the last hour.
    pub attempts_hour: u64,
    pub failures_hour: u64,
    pub in_flight: u64,
    /// Requests that may be under way now.
    pub concurrency: u64,
    /// Batches in memory, and bytes of their payloads.
    pub batches: u64,
    pub batch_bytes: u64,
    pub last_success: Option<Micros>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Micros>,
}

impl SinkSnapshot {
    /// Which part of the requests of the last hour succeeded, of 1.
    pub fn success(&self) -> Option<f64> {
        (self.attempts_hour > 0).then(|| 1.0 - self.failures_hour as f64 / self.attempts_hour as f64)
    }
}

/// Time as tokio has it, so that a test's virtual time counts for the rate limit as well.
#[derive(Clone, Copy, Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// A batch that was taken and has not settled.
struct Slot {
    number: u64,
    batch: Arc<Batch>,
    /// Items that have not settled.
    open: usize,
    /// The cursor behind it.
    cursor: u64,
    /// Of dead letters sent again. The cursor does not wait for them.
    asked: Option<Asked>,
}

/// Who asked for dead letters to be sent again, and what there is to answer. Dropped, it answers.
struct Asked {
    done: Option<oneshot::Sender<Result<Redelivery, String>>>,
    outcome: Redelivery,
    /// Nothing more is sent behind this.
    until: Instant,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // Whoever asked may be gone.
            let _ = done.send(Ok(std::mem::take(&mut self.outcome)));
        }
    }
}

/// Items of a slot that share a request.
struct Piece {
    slot: u64,
    batch: Arc<Batch>,
    /// Made at the first attempt.
    request: Option<Arc<Request>>,
    attempts: u32,
    not_before: Instant,
}

impl Piece {
    fn first_seq(&self) -> u64 {
        self.batch.items.first().map_or(0, |item| item.seq)
    }
}

struct Attempted {
    piece: Piece,
    /// An error: no request could be made of it.
    outcome: Result<Outcome, String>,
    latency: Duration,
}

/// The feed comes back with what it brought.
type FromFeed = (Box<dyn Feed>, Result<Taken, super::feed::FeedError>);

/// Ends of the loop that lead elsewhere.
pub struct DeliveryPorts {
    pub sink: Arc<dyn Sink>,
    pub feed: Box<dyn Feed>,
    pub keeper: Arc<dyn Keeper>,
    pub commands: mpsc::Receiver<Command>,
    /// Sequence number behind the last durable event.
    pub durable: watch::Receiver<u64>,
    pub snapshot: watch::Sender<SinkSnapshot>,
    /// Jitter: 0..1.
    pub random: Box<dyn FnMut() -> f64 + Send>,
}

pub struct Delivery {
    policy: DeliveryPolicy,
    ports: DeliveryPorts,
    /// `None` while it is taken from, on another thread.
    feed: Option<Box<dyn Feed>>,
    taking: Option<JoinHandle<FromFeed>>,
    saving: Option<JoinHandle<(SinkCursor, Result<(), String>)>>,
    sends: FuturesUnordered<BoxFuture<'static, Attempted>>,
    /// For the feed when it is back.
    settled: Vec<Arc<Batch>>,
    seek: Option<u64>,
    /// In the order of the journal.
    window: VecDeque<Slot>,
    /// Dead letters sent again.
    redelivered: Vec<Slot>,
    next_slot: u64,
    /// In the order of slots and events.
    ready: Vec<Piece>,
    breaker: Breaker,
    concurrency: Concurrency,
    size: BatchSize,
    brake: Brake,
    limiter: Option<Limiter>,
    rate_until: Instant,
    /// The sink takes one request at a time.
    in_order: bool,
    cursor: SinkCursor,
    saved: SinkCursor,
    save_at: Instant,
    more: bool,
    /// What is being taken began with something to look at.
    reading: bool,
    /// Everything below this was looked at.
    seen: u64,
    linger_until: Option<Instant>,
    poll_at: Instant,
    durable_gone: bool,
    /// Since when something waits and nothing was delivered.
    stuck_since: Option<Instant>,
    /// Why nothing can be delivered before something changes.
    unusable: Option<String>,
    feed_trouble: Option<String>,
    draining: bool,
    hour: Hour,
    snapshot: SinkSnapshot,
}

impl Delivery {
    /// A delivery that goes on from `cursor`, where `ports.feed` begins.
    pub fn new(name: &str, kind: &str, policy: DeliveryPolicy, cursor: SinkCursor, mut ports: DeliveryPorts) -> Delivery {
        let now = Instant::now();
        let concurrency = policy.concurrency_max.min(ports.sink.concurrency_max()).max(1);
        // A batch is no more than what may be sent in a second: a slow rate is a steady one.
        let items = policy.rate_per_second.map_or(policy.batch.items, |rate| policy.batch.items.min(rate.get() as usize)).max(1);
        let limiter = policy.rate_per_second.map(|rate| RateLimiter::direct_with_clock(Quota::per_second(rate), TokioClock(now)));
        let feed = std::mem::replace(&mut ports.feed, Box::new(Nothing));
        let snapshot = SinkSnapshot { name: name.to_owned(), kind: kind.to_owned(), ..SinkSnapshot::default() };
        Delivery {
            breaker: Breaker::new(policy.breaker_failures),
            concurrency: Concurrency::new(concurrency),
            size: BatchSize::new(items, policy.batch.bytes),
            brake: Brake::new(policy.refused_max),
            limiter,
            rate_until: now,
            in_order: concurrency == 1,
            policy,
            ports,
            feed: Some(feed),
            taking: None,
            saving: None,
            sends: FuturesUnordered::new(),
            settled: Vec::new(),
            seek: None,
            window: VecDeque::new(),
            redelivered: Vec::new(),
            next_slot: 0,
            ready: Vec::new(),
            cursor,
            saved: cursor,
            save_at: now,
            more: true,
            reading: false,
            seen: 0,
            linger_until: None,
            poll_at: now,
            durable_gone: false,
            stuck_since: None,
            unusable: None,
            feed_trouble: None,
            draining: false,
            hour: Hour::new(now),
            snapshot,
        }
    }

    /// Delivers until told to drain, or until nobody is there to tell it anything.
    pub async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.begin(now);
            self.publish(now);
            let wake = self.wake(now);
            tokio::select! {
                biased;
                command = self.ports.commands.recv() => match command {
                    Some(Command::Drain(deadline, done)) => {
                        self.drain(deadline).await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.obey(command).await,
                    None => return self.drain(Duration::ZERO).await,
                },
                Some(attempted) = self.sends.next(), if !self.sends.is_empty() => self.attempted(attempted).await,
                taken = joined(&mut self.taking), if self.taking.is_some() => self.taken(taken),
                saved = joined(&mut self.saving), if self.saving.is_some() => self.was_saved(saved),
                changed = self.ports.durable.changed(), if !self.durable_gone => {
                    self.durable_gone = changed.is_err();
                    self.events_came(Instant::now());
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Begins everything that may begin now: a look at the feed, requests, saving the cursor.
    fn begin(&mut self, now: Instant) {
        if self.may_take() && (self.more || self.linger_until.is_some_and(|until| now >= until) || now >= self.poll_at) {
            self.take(now);
        }
        self.break_off_redelivery(now);
        while let Some(piece) = self.next_piece(now) {
            self.send(piece);
        }
        if self.cursor != self.saved && self.saving.is_none() && now >= self.save_at {
            self.save_at = now + SAVE_EVERY;
            let (keeper, cursor) = (self.ports.keeper.clone(), self.cursor);
            self.saving = Some(tokio::task::spawn_blocking(move || (cursor, keeper.save(cursor))));
        }
    }

    fn may_take(&self) -> bool {
        // One batch more than may be under way, so that the next is at hand when an answer comes.
        self.feed.is_some() && !self.cursor.paused && !self.draining && self.window.len() <= self.concurrency.limit()
    }

    fn events_came(&mut self, now: Instant) {
        let head = *self.ports.durable.borrow_and_update();
        if head > self.seen {
            let full = head - self.seen >= self.size.limits().items as u64;
            let age = if full { Duration::ZERO } else { self.policy.batch_age };
            let until = now + age;
            self.linger_until = Some(self.linger_until.map_or(until, |before| before.min(until)));
        }
    }

    fn take(&mut self, now: Instant) {
        let Some(mut feed) = self.feed.take() else { return };
        let head = *self.ports.durable.borrow_and_update();
        self.reading = self.more || head > self.seen;
        self.seen = head;
        self.linger_until = None;
        self.more = false;
        self.poll_at = now + TICK;
        let (limits, settled, seek) = (self.size.limits(), std::mem::take(&mut self.settled), self.seek.take());
        self.taking = Some(tokio::task::spawn_blocking(move || {
            settled.iter().for_each(|batch| feed.settled(&batch.items));
            if let Some(seq) = seek {
                feed.seek(seq);
            }
            let taken = feed.take(limits, time::now());
            (feed, taken)
        }));
    }

    fn taken(&mut self, (feed, taken): FromFeed) {
        self.feed = Some(feed);
        if self.seek.is_some() {
            // Sent elsewhere meanwhile.
            self.more = true;
            return;
        }
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                let why = error.to_string();
                if self.feed_trouble.as_ref() != Some(&why) {
                    self.ports.keeper.failed(FailureStage::Read, FailureClass::Transient, &why);
                }
                self.note_error(&why);
                self.feed_trouble = Some(why);
                return;
            }
        };
        self.feed_trouble = None;
        self.more = taken.more;
        for gap in &taken.lost {
            self.snapshot.lost += gap.events;
            self.ports.keeper.lost(gap);
        }
        if taken.batch.items.is_empty() {
            match self.window.back_mut() {
                Some(last) => last.cursor = taken.cursor,
                None => self.cursor.seq = taken.cursor,
            }
            return;
        }
        let number = self.slot_number();
        let batch = Arc::new(taken.batch);
        self.window.push_back(Slot { number, open: batch.items.len(), batch: batch.clone(), cursor: taken.cursor, asked: None });
        self.push(Piece { slot: number, batch, request: None, attempts: 0, not_before: Instant::now() });
    }

    fn slot_number(&mut self) -> u64 {
        self.next_slot += 1;
        self.next_slot
    }

    fn push(&mut self, piece: Piece) {
        let key = |piece: &Piece| (piece.slot, piece.first_seq());
        let at = self.ready.partition_point(|other| key(other) <= key(&piece));
        self.ready.insert(at, piece);
    }

    /// The next piece whose time has come, if a request may begin.
    fn next_piece(&mut self, now: Instant) -> Option<Piece> {
        if self.cursor.paused || self.draining || self.sends.len() >= self.concurrency.limit() || now < self.rate_until {
            return None;
        }
        let at = if self.in_order {
            self.ready.first().is_some_and(|piece| piece.not_before <= now).then_some(0)
        } else {
            self.ready.iter().position(|piece| piece.not_before <= now)
        }?;
        if let (Some(limiter), Some(items)) = (&self.limiter, NonZeroU32::new(self.ready[at].batch.items.len() as u32))
            && let Some(wait) = self.limited(limiter, items)
        {
            self.rate_until = now + wait.max(Duration::from_millis(1));
            return None;
        }
        self.breaker.admit(now).then(|| self.ready.remove(at))
    }

    /// How long the rate limit asks to wait.
    fn limited(&self, limiter: &Limiter, items: NonZeroU32) -> Option<Duration> {
        // A circuit that is open takes nothing from the budget.
        if !matches!(self.breaker.circuit(), Circuit::Closed) {
            return None;
        }
        match limiter.check_n(items) {
            Ok(Ok(())) => None,
            Ok(Err(not_until)) => Some(not_until.wait_time_from(limiter.clock().now())),
            // More than a second's worth, of a batch that was cut before: by itself it may go.
            Err(_) => None,
        }
    }

    fn send(&mut self, mut piece: Piece) {
        piece.attempts = piece.attempts.saturating_add(1);
        let (sink, timeout) = (self.ports.sink.clone(), self.policy.timeout);
        self.sends.push(Box::pin(attempt(sink, piece, timeout)));
    }

    async fn attempted(&mut self, attempted: Attempted) {
        fail::fail_point!("delivery::attempted");
        let now = Instant::now();
        let Attempted { mut piece, outcome, latency } = attempted;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(why) => {
                // Nothing was sent: this says nothing about the receiver, but a probe has to end.
                self.ports.keeper.failed(FailureStage::Encode, FailureClass::Permanent, &why);
                self.breaker.succeeded();
                return self.refused_whole(piece, why, now).await;
            }
        };
        let Outcome { answer, status } = outcome;
        let answer = match answer {
            Answer::Items(verdicts) if verdicts.len() != piece.batch.items.len() => {
                let why = format!("{} answers for {} items", verdicts.len(), piece.batch.items.len());
                Answer::Retry { after: None, why }
            }
            answer => answer,
        };
        self.tell(&piece, &answer, status, latency);
        match answer {
            Answer::Delivered => {
                self.answered();
                self.concurrency.succeeded();
                self.size.grow();
                let all: Vec<usize> = (0..piece.batch.items.len()).collect();
                self.delivered(&piece, &all, now);
                self.settle(piece.slot, all.len());
            }
            Answer::Retry { after, why } => {
                self.strained(status);
                let delay = self.policy.backoff.delay(piece.attempts, after, (self.ports.random)());
                let open = self.policy.backoff.delay(self.breaker.failures() + 1, after, (self.ports.random)());
                self.breaker.failed(now, open);
                self.note_error(&why);
                piece.not_before = now + delay;
                self.push(piece);
            }
            Answer::Unusable { why } => {
                self.stop_using(&why, now);
                piece.not_before = now;
                self.push(piece);
            }
            Answer::TooLarge { why } => {
                self.answered();
                self.size.halve();
                self.refused_whole(piece, why, now).await;
            }
            Answer::Refused { why } => {
                self.answered();
                self.refused_whole(piece, why, now).await;
            }
            Answer::Items(verdicts) => self.judged(piece, verdicts, status, now).await,
        }
    }

    fn tell(&mut self, piece: &Piece, answer: &Answer, status: Option<u16>, latency: Duration) {
        let (outcome, why) = match answer {
            Answer::Delivered => (SendOutcome::Delivered, ""),
            Answer::Retry { why, .. } => (SendOutcome::Retry, why.as_str()),
            Answer::Unusable { why } => (SendOutcome::Unusable, why.as_str()),
            Answer::TooLarge { why } => (SendOutcome::TooLarge, why.as_str()),
            Answer::Refused { why } => (SendOutcome::Refused, why.as_str()),
            Answer::Items(verdicts) if verdicts.iter().all(|verdict| *verdict == Verdict::Delivered) => (SendOutcome::Delivered, ""),
            Answer::Items(verdicts) => {
                let refused = verdicts.iter().find_map(|verdict| match verdict {
                    Verdict::Refused(why) => Some(why.as_str()),
                    _ => None,
                });
                let again = verdicts.iter().find_map(|verdict| match verdict {
                    Verdict::Retry { why, .. } => Some(why.as_str()),
                    _ => None,
                });
                (SendOutcome::Partial, refused.or(again).unwrap_or_default())
            }
        };
        self.snapshot.attempts += 1;
        self.snapshot.failures += u64::from(outcome != SendOutcome::Delivered);
        self.hour.count(outcome != SendOutcome::Delivered, Instant::now());
        let (batch, bytes) = piece.request.as_ref().map_or((EventId::default(), 0), |request| (request.id, request.body.len()));
        let items = piece.batch.items.len();
        self.ports.keeper.attempted(&Attempt { batch, attempt: piece.attempts, outcome, status, latency, items, bytes, why });
    }

    /// The receiver works, whatever it thinks of the items.
    fn answered(&mut self) {
        if !self.brake.is_on() {
            self.breaker.succeeded();
            self.unusable = None;
        }
    }

    fn strained(&mut self, status: Option<u16>) {
        self.concurrency.strained();
        if status == Some(429) {
            self.size.halve();
        }
    }

    fn stop_using(&mut self, why: &str, now: Instant) {
        let ceiling = self.policy.backoff.max;
        let wait = ceiling.mul_f64(0.5 + 0.5 * (self.ports.random)()).max(UNUSABLE_WAIT_MIN.min(ceiling));
        self.breaker.open(now, wait);
        self.note_error(why);
        self.unusable = Some(why.to_owned());
    }

    /// One item of the piece must be the reason: it is looked for by halves, and given up when it is found.
    async fn refused_whole(&mut self, piece: Piece, why: String, now: Instant) {
        match bisect(piece.batch.items.len()) {
            Some((left, right)) if !self.brake.is_on() => {
                for half in [left, right] {
                    let batch = Arc::new(piece.batch.part(half));
                    self.push(Piece { slot: piece.slot, batch, request: None, attempts: 0, not_before: now });
                }
            }
            Some((left, right)) => {
                // Nothing has got through for long: single items will do to find out when that changes.
                self.stop_using(&refuses_everything(&why), now);
                for half in [left, right] {
                    let batch = Arc::new(piece.batch.part(half));
                    self.push(Piece { slot: piece.slot, batch, request: None, attempts: 0, not_before: now });
                }
            }
            None => self.give_up(piece, vec![(0, why)], Vec::new(), now).await,
        }
    }

    /// Every item has its own verdict.
    async fn judged(&mut self, piece: Piece, verdicts: Vec<Verdict>, status: Option<u16>, now: Instant) {
        let (mut refused, mut again, mut delivered) = (Vec::new(), Vec::new(), Vec::new());
        let (mut busy, mut why_again) = (false, None);
        for (index, verdict) in verdicts.into_iter().enumerate() {
            match verdict {
                Verdict::Delivered => {
                    // The brake counts refusals in a row.
                    self.brake.delivered();
                    delivered.push(index);
                }
                Verdict::Retry { status, why } => {
                    busy |= status == Some(429);
                    why_again.get_or_insert(why);
                    again.push(index);
                }
                Verdict::Refused(why) => refused.push((index, why)),
            }
        }
        if !delivered.is_empty() {
            self.answered();
            self.delivered(&piece, &delivered, now);
            self.settle(piece.slot, delivered.len());
        }
        if again.is_empty() {
            self.answered();
            self.concurrency.succeeded();
            self.size.grow();
        } else {
            // The answer to a bulk request is a 200, whatever its items are told.
            self.strained(if busy { Some(429) } else { status });
            self.note_error(why_again.as_deref().unwrap_or_default());
            if delivered.is_empty() {
                let wait = self.policy.backoff.delay(self.breaker.failures() + 1, None, (self.ports.random)());
                self.breaker.failed(now, wait);
            }
        }
        if !refused.is_empty() || !again.is_empty() {
            self.give_up(piece, refused, again, now).await;
        }
    }

    /// Makes dead letters of the refused items, as far as that is allowed; the others, and those of `again`, are sent again.
    async fn give_up(&mut self, piece: Piece, refused: Vec<(usize, String)>, mut again: Vec<usize>, now: Instant) {
        let (mut letters, mut indices, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let last = refused.last().map(|(_, why)| why.clone()).unwrap_or_default();
        for (index, why) in refused {
            if self.brake.may_give_up() {
                let item = piece.batch.items[index].clone();
                letters.push(DeadLetter { payload: piece.batch.payload(&item).to_vec(), item, why });
                indices.push(index);
            } else {
                kept.push(index);
            }
        }
        if !letters.is_empty() {
            let keeper = self.ports.keeper.clone();
            let buried = tokio::task::spawn_blocking(move || keeper.bury(&letters)).await;
            match buried.unwrap_or_else(|panic| Err(panic.to_string())) {
                Ok(()) => {
                    self.snapshot.dead_letters += indices.len() as u64;
                    self.note_error(&last);
                    self.settle(piece.slot, indices.len());
                }
                Err(why) => {
                    // Not durable in quarantine: it must come again.
                    self.ports.keeper.failed(FailureStage::Quarantine, FailureClass::Transient, &why);
                    self.note_error(&why);
                    again.extend(indices);
                }
            }
        }
        if !kept.is_empty() {
            self.stop_using(&refuses_everything(&last), now);
        }
        again.extend(kept);
        if !again.is_empty() {
            again.sort_unstable();
            let delay = self.policy.backoff.delay(piece.attempts, None, (self.ports.random)());
            let batch = Arc::new(piece.batch.part(again.into_iter()));
            // Another request with a key of its own, but one that has failed as often.
            self.push(Piece { slot: piece.slot, batch, request: None, attempts: piece.attempts, not_before: now + delay });
        }
    }

    fn delivered(&mut self, piece: &Piece, indices: &[usize], now: Instant) {
        self.brake.delivered();
        self.breaker.succeeded();
        self.unusable = None;
        self.stuck_since = Some(now);
        self.snapshot.delivered += indices.len() as u64;
        self.snapshot.last_success = Some(time::now());
        if let Some(asked) = self.redelivered.iter_mut().find(|slot| slot.number == piece.slot).and_then(|slot| slot.asked.as_mut()) {
            asked.outcome.arrived.extend(indices.iter().map(|&index| piece.batch.items[index].id));
        }
    }

    /// So many items of the slot have settled; moves the cursor over the slots that have settled altogether.
    fn settle(&mut self, slot: u64, items: usize) {
        if let Some(slot) = self.window.iter_mut().chain(&mut self.redelivered).find(|known| known.number == slot) {
            debug_assert!(items <= slot.open);
            slot.open = slot.open.saturating_sub(items);
        }
        while self.window.front().is_some_and(|slot| slot.open == 0) {
            if let Some(slot) = self.window.pop_front() {
                self.cursor.seq = slot.cursor;
                self.settled.push(slot.batch);
            }
        }
        while let Some(at) = self.redelivered.iter().position(|slot| slot.open == 0) {
            if let Some(asked) = &mut self.redelivered.swap_remove(at).asked {
                asked.outcome.is_whole = true;
            }
        }
    }

    /// Dead letters are not sent for ever, and not while paused: whoever asked learns what arrived, the others stay where they are.
    fn break_off_redelivery(&mut self, now: Instant) {
        let (ready, paused) = (&mut self.ready, self.cursor.paused);
        self.redelivered.retain(|slot| {
            let waiting: usize = ready.iter().filter(|piece| piece.slot == slot.number).map(|piece| piece.batch.items.len()).sum();
            let is_over = paused || slot.asked.as_ref().is_none_or(|asked| asked.until <= now);
            // What is under way is waited for: it may arrive, and then must not be sent again.
            let ends = is_over && waiting == slot.open;
            if ends {
                ready.retain(|piece| piece.slot != slot.number);
            }
            !ends
        });
    }

    fn note_error(&mut self, why: &str) {
        self.snapshot.last_error = Some(why.to_owned());
        self.snapshot.last_error_at = Some(time::now());
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Pause(done) => {
                self.cursor.paused = true;
                let _ = done.send(self.save_now().await);
            }
            Command::Resume(done) => {
                self.cursor.paused = false;
                self.breaker.reset();
                self.ready.iter_mut().for_each(|piece| piece.not_before = Instant::now());
                let _ = done.send(self.save_now().await);
            }
            Command::Seek(seq, done) => {
                let sought = self.seek(seq).await;
                let _ = done.send(sought);
            }
            Command::Redeliver(batch, patience, done) => {
                let refused = match (self.cursor.paused, self.redelivered.is_empty()) {
                    (true, _) => Some("it is paused: resume it first"),
                    (false, false) => Some("dead letters are being sent again already: wait for them"),
                    (false, true) => None,
                };
                if let Some(why) = refused {
                    let _ = done.send(Err(why.to_owned()));
                    return;
                }
                let until = Instant::now() + patience;
                let asked = Some(Asked { done: Some(done), outcome: Redelivery::default(), until });
                let number = self.slot_number();
                let batch = Arc::new(batch);
                self.redelivered.push(Slot { number, open: batch.items.len(), batch: batch.clone(), cursor: 0, asked });
                if batch.items.is_empty() {
                    return self.settle(number, 0);
                }
                self.push(Piece { slot: number, batch, request: None, attempts: 0, not_before: Instant::now() });
            }
            Command::Drain(_, done) => drop(done.send(())),
        }
    }

    /// Forgets what is under way and goes on elsewhere.
    async fn seek(&mut self, seq: u64) -> Result<(), String> {
        let sink = self.ports.sink.clone();
        tokio::task::spawn_blocking(move || sink.rewound()).await.unwrap_or_else(|panic| Err(panic.to_string()))?;
        self.sends = FuturesUnordered::new();
        self.ready.clear();
        self.window.clear();
        // Who asked for dead letters to be sent again learns that it broke off.
        self.redelivered.clear();
        self.breaker.reset();
        self.brake = Brake::new(self.policy.refused_max);
        self.unusable = None;
        self.seek = Some(seq.max(1));
        self.cursor.seq = seq.max(1);
        self.more = true;
        self.save_now().await
    }

    async fn save_now(&mut self) -> Result<(), String> {
        // One after the other, so that the last one stays.
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        let (keeper, cursor) = (self.ports.keeper.clone(), self.cursor);
        let saved = tokio::task::spawn_blocking(move || keeper.save(cursor)).await.unwrap_or_else(|panic| Err(panic.to_string()));
        if saved.is_ok() {
            self.saved = cursor;
        }
        saved
    }

    fn was_saved(&mut self, (cursor, saved): (SinkCursor, Result<(), String>)) {
        match saved {
            Ok(()) => self.saved = cursor,
            Err(why) => {
                self.ports.keeper.failed(FailureStage::Cursor, FailureClass::Transient, &why);
                self.note_error(&why);
            }
        }
    }

    async fn drain(&mut self, deadline: Duration) {
        self.draining = true;
        let until = Instant::now() + deadline;
        while !self.sends.is_empty() {
            match tokio::time::timeout_at(until, self.sends.next()).await {
                Ok(Some(attempted)) => self.attempted(attempted).await,
                _ => break,
            }
        }
        self.remember(until).await;
        if self.cursor != self.saved
            && let Err(why) = self.save_now().await
        {
            self.ports.keeper.failed(FailureStage::Cursor, FailureClass::Transient, &why);
        }
        self.publish(Instant::now());
    }

    /// Tells the feed what has settled since it was asked last, before the cursor passes it.
    async fn remember(&mut self, until: Instant) {
        if self.taking.is_some()
            && let Ok((feed, _)) = tokio::time::timeout_at(until, joined(&mut self.taking)).await
        {
            self.feed = Some(feed);
        }
        let Some(mut feed) = self.feed.take() else { return };
        let settled = std::mem::take(&mut self.settled);
        let told = tokio::task::spawn_blocking(move || {
            settled.iter().for_each(|batch| feed.settled(&batch.items));
            feed
        });
        self.feed = told.await.ok();
    }

    /// When the loop has to look again if nothing happens.
    fn wake(&self, now: Instant) -> Instant {
        let mut wake = now + TICK;
        if self.may_take() {
            wake = wake.min(self.linger_until.unwrap_or(wake)).min(self.poll_at);
        }
        if !self.cursor.paused && self.sends.len() < self.concurrency.limit() {
            let gate = match self.breaker.circuit() {
                Circuit::Closed => Some(now),
                Circuit::Open { until } => Some(until),
                Circuit::HalfOpen => None,
            };
            let soonest = if self.in_order { self.ready.first() } else { self.ready.iter().min_by_key(|piece| piece.not_before) };
            if let (Some(gate), Some(piece)) = (gate, soonest) {
                wake = wake.min(gate.max(piece.not_before).max(self.rate_until));
            }
        }
        if self.cursor != self.saved && self.saving.is_none() {
            wake = wake.min(self.save_at);
        }
        // Whatever was due by now has begun.
        wake.max(now + Duration::from_millis(1))
    }

    fn publish(&mut self, now: Instant) {
        let waits = !self.window.is_empty() || !self.redelivered.is_empty() || self.feed_trouble.is_some();
        match (waits && !self.cursor.paused, self.stuck_since) {
            (true, None) => self.stuck_since = Some(now),
            (false, Some(_)) => self.stuck_since = None,
            _ => {}
        }
        let stuck = self.stuck_since.map(|since| now.duration_since(since)).filter(|stuck| *stuck >= self.policy.degraded_after);
        let (state, reason) = match self.breaker.circuit() {
            _ if self.cursor.paused => (SinkState::Paused, None),
            _ if self.unusable.is_some() => (SinkState::Degraded, self.unusable.clone()),
            _ if stuck.is_some() => {
                let seconds = stuck.unwrap_or_default().as_secs();
                let why = self.feed_trouble.as_ref().or(self.snapshot.last_error.as_ref());
                let why = why.map_or_else(|| "no answer yet".to_owned(), Clone::clone);
                (SinkState::Degraded, Some(format!("nothing was delivered for {seconds} s: {why}")))
            }
            Circuit::Open { .. } | Circuit::HalfOpen => (SinkState::Open, self.snapshot.last_error.clone()),
            Circuit::Closed if self.feed_trouble.is_some() => (SinkState::Waiting, self.feed_trouble.clone()),
            Circuit::Closed if !self.sends.is_empty() => (SinkState::Delivering, None),
            Circuit::Closed if self.ready.iter().any(|piece| piece.attempts > 0) => (SinkState::Waiting, self.snapshot.last_error.clone()),
            Circuit::Closed if waits => (SinkState::Delivering, None),
            Circuit::Closed if self.more || (self.reading && self.taking.is_some()) => (SinkState::Reading, None),
            Circuit::Closed => (SinkState::Idle, None),
        };
        let head = *self.ports.durable.borrow();
        let snapshot = &mut self.snapshot;
        (snapshot.state, snapshot.reason) = (state, reason);
        (snapshot.cursor, snapshot.head) = (self.cursor.seq, head);
        snapshot.lag_events = head.saturating_sub(self.cursor.seq);
        snapshot.oldest_waiting = self.window.front().and_then(|slot| slot.batch.items.first()).map(|item| item.received_at);
        snapshot.failures_in_row = u64::from(self.breaker.failures());
        (snapshot.attempts_hour, snapshot.failures_hour) = self.hour.sums(now);
        snapshot.in_flight = self.sends.len() as u64;
        snapshot.concurrency = self.concurrency.limit() as u64;
        snapshot.batches = self.window.len() as u64;
        snapshot.batch_bytes = self.window.iter().map(|slot| slot.batch.payload.len() as u64).sum();
        let lost = snapshot.lost + self.ports.keeper.letters_lost();
        self.ports.snapshot.send_replace(SinkSnapshot { lost, ..snapshot.clone() });
    }
}

fn refuses_everything(why: &str) -> String {
    format!("the receiver refuses everything, so nothing more becomes a dead letter; the last reason: {why}")
}

fn no_answer(timeout: Duration) -> Outcome {
    Outcome { answer: Answer::Retry { after: None, why: format!("no answer within {} s", timeout.as_secs_f64()) }, status: None }
}

/// One request: made if this is the first time, sent, and answered within the time limit.
async fn attempt(sink: Arc<dyn Sink>, mut piece: Piece, timeout: Duration) -> Attempted {
    let request = match piece.request.clone() {
        Some(request) => request,
        None => {
            let (encoder, batch) = (sink.clone(), piece.batch.clone());
            let encoded = tokio::task::spawn_blocking(move || encoder.encode(&batch)).await;
            match encoded.unwrap_or_else(|_| Err("making a request of it failed: a bug, the log has more".to_owned())) {
                Ok(request) => Arc::new(request),
                Err(why) => return Attempted { piece, outcome: Err(why), latency: Duration::ZERO },
            }
        }
    };
    piece.request = Some(request.clone());
    let started = Instant::now();
    let sent = AssertUnwindSafe(tokio::time::timeout(timeout, sink.send(&request, piece.attempts))).catch_unwind().await;
    let outcome = match sent {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => no_answer(timeout),
        Err(_) => Outcome { answer: Answer::Retry { after: None, why: "sending failed: a bug, the log has more".into() }, status: None },
    };
    Attempted { piece, outcome: Ok(outcome), latency: started.elapsed() }
}

/// What a task on another thread brought; a panic there goes on here.
async fn joined<T>(task: &mut Option<JoinHandle<T>>) -> T {
    let Some(running) = task else { return std::future::pending().await };
    let joined = running.await;
    *task = None;
    joined.unwrap_or_else(|panic| panic!("a thread of a delivery failed: {panic}"))
}

/// Stands where the feed was taken from.
struct Nothing;

impl Feed for Nothing {
    fn take(&mut self, _: BatchLimits, _: Micros) -> Result<Taken, super::feed::FeedError> {
        Ok(Taken::default())
    }
    fn settled(&mut self, _: &[Item]) {}
    fn seek(&mut self, _: u64) {}
}

#[cfg(test)]
mod tests;
