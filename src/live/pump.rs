//! Follows the journal for all clients.
//!
//! Those that want what happens now share one cursor: an event is read and decoded once, and asked once for each different query. Those
//! that asked for the past have a position of their own until it meets that cursor; they take turns, a slice each, and only as far as
//! there is room for them. One thread does all of it, so however many watch, the rest of the daemon loses one core at most.
use super::message::{self, Refusal, ServerMessage};
use super::outbox::{Ended, Outbox};
use super::queue::{Event, Slots};
use super::{Begin, Order, Shared, What};
use crate::events::batch::Batcher;
use crate::events::{Format, Micros};
use crate::index::query::Query;
use crate::redact::{Policy, Redactor, Subject, digest};
use crate::store::{Found, Gap, JournalReader, StoredEvent};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// So much is looked at in one go, so that orders and the others are not kept waiting.
const BATCH_EVENTS: usize = 1_024;
const BATCH_BYTES: usize = 1 << 20;
/// How long to leave a journal alone that cannot be read.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Worked,
    /// There is nothing to do before something changes.
    Idle,
    /// The journal could not be read.
    Failed,
    /// Nobody subscribes to anything.
    Finished,
}

pub(super) struct Pump {
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    /// Of those that want what happens now.
    now: JournalReader,
    /// Of the others, in turn.
    past: JournalReader,
    turn: usize,
    judge: Judge,
    privacy: Privacy,
    watchers: Vec<Watcher>,
    /// The inbox knows that nobody follows any more.
    has_finished: bool,
}

/// A client with subscriptions.
struct Watcher {
    outbox: Arc<Outbox>,
    subscriptions: Vec<Subscription>,
    at: At,
}

struct Subscription {
    id: String,
    slot: u8,
    /// Among the judge's.
    query: usize,
    /// The first event that it has not been asked about.
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Now,
    /// The next event to look at for this one.
    Past(u64),
}

/// Whom a batch is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Now,
    /// One watcher, up to but without this event.
    Past { watcher: usize, end: Option<u64> },
}

impl Pump {
    pub fn new(shared: Arc<Shared>) -> Pump {
        let store = &shared.store;
        let head = store.view().next_seq();
        Pump {
            durable: store.durable_seq(),
            now: JournalReader::new(store.clone(), head),
            past: JournalReader::new(store.clone(), head),
            turn: 0,
            judge: Judge { batcher: store.batcher(), queries: Vec::new(), wanted: Vec::new(), found: Vec::new(), accepted: Vec::new() },
            privacy: Privacy::default(),
            watchers: Vec::new(),
            has_finished: false,
            shared,
        }
    }

    /// Until nobody subscribes any more.
    pub fn run(mut self) {
        // Wakes, and the time after a fault; nothing that needs a thread of its own.
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(_) => return,
        };
        loop {
            let pause = match self.step() {
                Step::Worked => continue,
                Step::Finished => break,
                Step::Idle => None,
                Step::Failed => Some(FAULT_PAUSE),
            };
            let (shared, durable) = (&self.shared, &mut self.durable);
            runtime.block_on(async {
                match pause {
                    Some(pause) => drop(tokio::time::timeout(pause, shared.wake.notified()).await),
                    None => tokio::select! {
                        () = shared.wake.notified() => {}
                        // The store lives as long as this.
                        _ = durable.changed() => {}
                    },
                }
            });
        }
        drop(self);
        crate::os::memory::give_back();
    }

    /// Obeys what was ordered, and looks at a batch of new events and at one of old ones.
    pub fn step(&mut self) -> Step {
        let orders = {
            let mut inbox = self.shared.inbox();
            if inbox.orders.is_empty() && self.watchers.is_empty() {
                inbox.is_followed = false;
                self.has_finished = true;
                return Step::Finished;
            }
            std::mem::take(&mut inbox.orders)
        };
        self.durable.borrow_and_update();
        let mut worked = !orders.is_empty();
        for Order { outbox, what } in orders {
            self.obey(&outbox, what);
        }
        for watched in [self.look_at_now(), self.look_at_past()] {
            match watched {
                Ok(looked) => worked |= looked,
                Err(_) => return Step::Failed,
            }
        }
        if worked { Step::Worked } else { Step::Idle }
    }

    fn obey(&mut self, outbox: &Arc<Outbox>, what: What) {
        let known = self.watchers.iter().position(|watcher| Arc::ptr_eq(&watcher.outbox, outbox));
        let reply = match what {
            What::Leave => {
                known.into_iter().for_each(|watcher| self.remove(watcher));
                return;
            }
            What::Subscribe { id, query, begin } => {
                if outbox.has_ended() {
                    return;
                }
                self.subscribe(known, outbox, id, query, begin)
            }
            What::Change { id, query } => match self.find(known, &id) {
                None => Err(unknown(&id)),
                Some((watcher, at)) => {
                    let query = self.judge.take_on(query);
                    let subscription = &mut self.watchers[watcher].subscriptions[at];
                    let before = std::mem::replace(&mut subscription.query, query);
                    let from = subscription.next;
                    self.judge.let_go(before);
                    Ok(ServerMessage::Changed { id, from })
                }
            },
            What::Unsubscribe { id } => match self.find(known, &id) {
                None => Err(unknown(&id)),
                Some((watcher, at)) => {
                    let subscription = self.watchers[watcher].subscriptions.remove(at);
                    self.judge.let_go(subscription.query);
                    outbox.forget(subscription.slot);
                    if self.watchers[watcher].subscriptions.is_empty() {
                        outbox.set_position(None);
                        self.remove(watcher);
                    }
                    Ok(ServerMessage::Unsubscribed { id })
                }
            },
        };
        outbox.reply(reply.unwrap_or_else(ServerMessage::Error));
    }

    fn find(&self, watcher: Option<usize>, id: &str) -> Option<(usize, usize)> {
        let watcher = watcher?;
        let at = self.watchers[watcher].subscriptions.iter().position(|subscription| subscription.id == id)?;
        Some((watcher, at))
    }

    fn subscribe(
        &mut self,
        known: Option<usize>,
        outbox: &Arc<Outbox>,
        id: String,
        query: Query,
        begin: Begin,
    ) -> Result<ServerMessage, Refusal> {
        let head = self.shared.store.view().next_seq();
        let from = match begin {
            Begin::Now => head,
            Begin::Seq(seq) if seq <= head => seq.max(1),
            Begin::Seq(seq) => {
                let detail = format!("there is no event {seq}, and the next one to come is {head}: is this number of another journal?");
                return Err(Refusal::new("bad_from", detail, Some(&id)));
            }
            Begin::Time(time) => self.shared.store.seq_at(time).map_err(|error| Refusal::new("failed", error.to_string(), Some(&id)))?,
        };
        let slot = outbox.name(&id)?;
        let is_watched = self.watchers.iter().any(|watcher| watcher.at == At::Now);
        let watcher = known.unwrap_or_else(|| {
            self.watchers.push(Watcher { outbox: outbox.clone(), subscriptions: Vec::new(), at: At::Now });
            self.watchers.len() - 1
        });
        if !is_watched {
            // Nobody needs what came before.
            self.now.seek(head);
        }
        let here = self.now.position();
        let query = self.judge.take_on(query);
        let watcher = &mut self.watchers[watcher];
        watcher.subscriptions.push(Subscription { id: id.clone(), slot, query, next: from });
        watcher.at = match watcher.at {
            At::Past(at) => At::Past(at.min(from)),
            At::Now if from < here => At::Past(from),
            At::Now => At::Now,
        };
        Ok(ServerMessage::Subscribed { id, from })
    }

    fn remove(&mut self, watcher: usize) {
        for subscription in self.watchers.swap_remove(watcher).subscriptions {
            self.judge.let_go(subscription.query);
        }
    }

    fn look_at_now(&mut self) -> io::Result<bool> {
        if self.watchers.iter().all(|watcher| watcher.at != At::Now) {
            self.now.rest();
            return Ok(false);
        }
        let mut reader = std::mem::replace(&mut self.now, JournalReader::new(self.shared.store.clone(), 1));
        let read = self.read(&mut reader, For::Now);
        self.now = reader;
        let position = Some(self.now.position());
        self.watchers.iter().filter(|watcher| watcher.at == At::Now).for_each(|watcher| watcher.outbox.set_position(position));
        read
    }

    fn look_at_past(&mut self) -> io::Result<bool> {
        let count = self.watchers.len();
        let waiting = |watcher: &Watcher| matches!(watcher.at, At::Past(_)) && watcher.outbox.has_room();
        let Some(watcher) = (0..count).map(|step| (self.turn + step) % count).find(|&at| waiting(&self.watchers[at])) else {
            if self.watchers.iter().all(|watcher| watcher.at == At::Now) {
                self.past.rest();
            }
            return Ok(false);
        };
        self.turn = watcher + 1;
        let At::Past(from) = self.watchers[watcher].at else { return Ok(false) };
        let is_watched = self.watchers.iter().any(|watcher| watcher.at == At::Now);
        let end = is_watched.then(|| self.now.position());
        let mut reader = std::mem::replace(&mut self.past, JournalReader::new(self.shared.store.clone(), 1));
        reader.seek(from);
        let read = self.read(&mut reader, For::Past { watcher, end });
        self.past = reader;
        let position = self.past.position();
        let has_caught_up = match end {
            Some(end) => position >= end,
            // Nobody is there to meet: whoever comes to the end first is.
            None => matches!(read, Ok(_)) && position >= self.shared.store.view().next_seq(),
        };
        if has_caught_up && end.is_none() {
            self.now.seek(position);
        }
        // Those that the rules sent away are gone already.
        if let Some(watcher) = self.watchers.get_mut(watcher) {
            watcher.at = if has_caught_up { At::Now } else { At::Past(position) };
            watcher.outbox.set_position(Some(position));
        }
        read.map(|_| true)
    }

    /// Reads a batch, and brings it to those it is read for. Answers whether there was anything.
    fn read(&mut self, reader: &mut JournalReader, whom: For) -> io::Result<bool> {
        self.privacy.look(&self.shared.store.privacy().policy());
        self.send_away_those_with_other_rules();
        let is_meant = |at: usize, watcher: &Watcher| match whom {
            For::Now => watcher.at == At::Now,
            For::Past { watcher: one, .. } => at == one,
        };
        let watchers: Vec<usize> = (0..self.watchers.len()).filter(|&at| is_meant(at, &self.watchers[at])).collect();
        self.judge.want(watchers.iter().flat_map(|&at| &self.watchers[at].subscriptions).map(|subscription| subscription.query));
        let (mut events, mut bytes) = (0, 0);
        while events < BATCH_EVENTS && bytes < BATCH_BYTES {
            if matches!(whom, For::Past { end: Some(end), .. } if reader.position() >= end) {
                break;
            }
            match reader.load()? {
                Found::Event => {}
                Found::End => {
                    if whom == For::Now {
                        // A quiet stream holds no block.
                        reader.rest();
                    }
                    break;
                }
                Found::Gap(gap) => {
                    events += 1;
                    watchers.iter().for_each(|&at| self.watchers[at].outbox.tell(told(&gap)));
                    continue;
                }
            }
            let Some(event) = reader.event() else { break };
            if !self.bring(&event, &watchers, whom) {
                break;
            }
            events += 1;
            bytes += event.line.len();
            reader.advance();
        }
        let position = reader.position();
        for &at in &watchers {
            self.watchers[at].subscriptions.iter_mut().for_each(|subscription| subscription.next = subscription.next.max(position));
        }
        Ok(events > 0)
    }

    /// False: there is no room for it.
    fn bring(&mut self, event: &StoredEvent<'_>, watchers: &[usize], whom: For) -> bool {
        // The line is no more.
        if event.format == Format::TOMBSTONE {
            return true;
        }
        let time = self.judge.look(event);
        let mut bodies = Bodies { event, time, most: self.shared.limits.queue, plain: None, redacted: None };
        for &at in watchers {
            let Watcher { outbox, subscriptions, .. } = &self.watchers[at];
            let asks = |subscription: &&Subscription| subscription.next <= event.seq && self.judge.accepted[subscription.query];
            let slots: Slots = subscriptions.iter().filter(asks).fold(0, |slots, subscription| slots | 1 << subscription.slot);
            if slots == 0 {
                continue;
            }
            let body = match outbox.redacted() {
                None => bodies.plain(),
                Some(_) => bodies.redacted(&mut self.privacy),
            };
            let event = Event { seq: event.seq, slots, body };
            match whom {
                For::Now => outbox.push(event),
                For::Past { .. } if !outbox.push_if_it_fits(event) => return false,
                For::Past { .. } => {}
            }
        }
        true
    }

    fn send_away_those_with_other_rules(&mut self) {
        let digest = self.privacy.digest.as_deref();
        let is_other = |watcher: &Watcher| watcher.outbox.redacted().is_some_and(|rules| Some(rules) != digest);
        // They stay among the watchers, with nothing asked, until they leave: places in the list do not move while it is read.
        for watcher in self.watchers.iter_mut().filter(|watcher| is_other(watcher)) {
            watcher.outbox.end(Ended::OtherRules);
            watcher.subscriptions.drain(..).for_each(|subscription| self.judge.let_go(subscription.query));
        }
    }
}

impl Drop for Pump {
    /// Also when it broke down: then nobody waits for what never comes.
    fn drop(&mut self) {
        if self.has_finished {
            return;
        }
        let orders = {
            let mut inbox = self.shared.inbox();
            inbox.is_followed = false;
            std::mem::take(&mut inbox.orders)
        };
        let waiting = self.watchers.iter().map(|watcher| &watcher.outbox).chain(orders.iter().map(|order| &order.outbox));
        waiting.for_each(|outbox| outbox.end(Ended::Failed));
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal::new("no_subscription", format!("there is no subscription {id:?}"), Some(id))
}

fn told(gap: &Gap) -> ServerMessage {
    ServerMessage::Gap { from: gap.first_seq, to: gap.first_seq + gap.events.saturating_sub(1), why: gap.why.to_string() }
}

/// Asks all queries of an event at once.
struct Judge {
    batcher: Batcher,
    /// Each different one once, with how many subscriptions have it.
    queries: Vec<Option<(Query, usize)>>,
    /// Those that somebody waits for.
    wanted: Vec<usize>,
    /// By query: the clauses that the event fulfils, and whether it is asked for.
    found: Vec<u32>,
    accepted: Vec<bool>,
}

impl Judge {
    fn take_on(&mut self, query: Query) -> usize {
        let same = self.queries.iter_mut().position(|known| known.as_ref().is_some_and(|(known, _)| *known == query));
        if let Some((at, (_, count))) = same.and_then(|at| Some((at, self.queries[at].as_mut()?))) {
            *count += 1;
            return at;
        }
        let free = self.queries.iter().position(Option::is_none).unwrap_or_else(|| {
            self.queries.push(None);
            self.found.push(0);
            self.accepted.push(false);
            self.queries.len() - 1
        });
        self.queries[free] = Some((query, 1));
        free
    }

    fn let_go(&mut self, at: usize) {
        if let Some((_, count)) = &mut self.queries[at] {
            *count -= 1;
            if *count == 0 {
                self.queries[at] = None;
            }
        }
    }

    fn want(&mut self, queries: impl Iterator<Item = usize>) {
        self.wanted.clear();
        self.wanted.extend(queries);
        self.wanted.sort_unstable();
        self.wanted.dedup();
    }

    /// Decodes it, and answers its time. A line that its decoder does not read any more has no terms: as for a sink, it is passed on when
    /// nothing is asked of it.
    fn look(&mut self, event: &StoredEvent<'_>) -> Micros {
        let Judge { batcher, queries, wanted, found, accepted } = self;
        let asked = || wanted.iter().filter_map(|&at| queries[at].as_ref().map(|(query, _)| (at, query)));
        wanted.iter().for_each(|&at| found[at] = 0);
        let time = batcher.terms(event.format, event.line, event.received_at, &mut |field, value| {
            asked().for_each(|(at, query)| found[at] |= query.matches(field, value));
        });
        let time = time.unwrap_or(event.received_at);
        asked().for_each(|(at, query)| accepted[at] = query.accepts(found[at], time));
        time
    }
}

/// The policy by which lines leave.
#[derive(Default)]
struct Privacy {
    policy: Option<Arc<Policy>>,
    digest: Option<String>,
    redactor: Redactor,
}

impl Privacy {
    fn look(&mut self, policy: &Option<Arc<Policy>>) {
        let is_same = match (&self.policy, policy) {
            (None, None) => true,
            (Some(known), Some(policy)) => Arc::ptr_eq(known, policy),
            _ => false,
        };
        if !is_same {
            self.digest = policy.as_ref().map(|policy| digest(&policy.rules));
            self.policy.clone_from(policy);
        }
    }
}

/// An event as clients are told of it, made when the first of them is.
struct Bodies<'e> {
    event: &'e StoredEvent<'e>,
    time: Micros,
    most: super::queue::QueueLimits,
    plain: Option<Arc<[u8]>>,
    redacted: Option<Arc<[u8]>>,
}

impl Bodies<'_> {
    fn plain(&mut self) -> Arc<[u8]> {
        let (event, time, most) = (self.event, self.time, self.most);
        self.plain.get_or_insert_with(|| body(event, time, event.line, most)).clone()
    }

    fn redacted(&mut self, privacy: &mut Privacy) -> Arc<[u8]> {
        let (event, time, most) = (self.event, self.time, self.most);
        let made = self.redacted.get_or_insert_with(|| {
            let subject = Subject { source: event.source, format: event.format };
            let policy = privacy.policy.as_deref().expect("whoever has other rules, or none, was sent away");
            body(event, time, &privacy.redactor.leaving(policy, subject, event.line), most)
        });
        made.clone()
    }
}

fn body(event: &StoredEvent<'_>, time: Micros, line: &[u8], most: super::queue::QueueLimits) -> Arc<[u8]> {
    let body = message::event_body(event.seq, time, line);
    if most.can_hold(body.len()) { body.into() } else { message::long_event_body(event.seq, time, line.len()).into() }
}
