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

/// What reading a batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    /// There were events.
    Some,
    /// There was nothing to look at, or no room for it.
    Nothing,
    /// All that is durable has been looked at.
    AtEnd,
}

/// Whom a batch is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Now,
    /// One watcher, up to but without this event.
    Past {
        watcher: usize,
        end: Option<u64>,
    },
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
        // An empty one costs nothing.
        let mut reader = std::mem::replace(&mut self.now, JournalReader::new(self.shared.store.clone(), 1));
        let read = self.read(&mut reader, For::Now);
        self.now = reader;
        let position = Some(self.now.position());
        self.watchers.iter().filter(|watcher| watcher.at == At::Now).for_each(|watcher| watcher.outbox.set_position(position));
        Ok(read? == Looked::Some)
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
            // There is nobody to meet: the first who comes to the end is who others meet.
            None => matches!(read, Ok(Looked::AtEnd)),
        };
        if has_caught_up && end.is_none() {
            self.now.seek(position);
        }
        let watcher = &mut self.watchers[watcher];
        watcher.at = if has_caught_up { At::Now } else { At::Past(position) };
        watcher.outbox.set_position(Some(position));
        Ok(has_caught_up || read? == Looked::Some)
    }

    /// Reads a batch, and brings it to those it is read for.
    fn read(&mut self, reader: &mut JournalReader, whom: For) -> io::Result<Looked> {
        self.privacy.look(&self.shared.store.privacy().policy());
        self.send_away_those_with_other_rules();
        let is_meant = |at: usize, watcher: &Watcher| match whom {
            For::Now => watcher.at == At::Now,
            For::Past { watcher: one, .. } => at == one,
        };
        let watchers: Vec<usize> = (0..self.watchers.len()).filter(|&at| is_meant(at, &self.watchers[at])).collect();
        self.judge.want(watchers.iter().flat_map(|&at| &self.watchers[at].subscriptions).map(|subscription| subscription.query));
        let (mut events, mut bytes, mut is_at_end) = (0, 0, false);
        while events < BATCH_EVENTS && bytes < BATCH_BYTES {
            if matches!(whom, For::Past { end: Some(end), .. } if reader.position() >= end) {
                break;
            }
            match reader.load()? {
                Found::Event => {}
                Found::End => {
                    // A quiet stream holds no block.
                    reader.rest();
                    is_at_end = true;
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
        Ok(match (is_at_end, events) {
            (true, 0) => Looked::AtEnd,
            (_, 0) => Looked::Nothing,
            _ => Looked::Some,
        })
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
                For::Now => drop(self.shared.dropped.fetch_add(outbox.push(event), std::sync::atomic::Ordering::Relaxed)),
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
            watcher.at = At::Now;
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

pub(super) fn unknown(id: &str) -> Refusal {
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
        let numbered = self.queries.iter_mut().enumerate().filter_map(|(at, known)| Some((at, known.as_mut()?)));
        for (at, (known, count)) in numbered {
            if *known == query {
                *count += 1;
                return at;
            }
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

#[cfg(test)]
mod tests {
    use super::super::message::ServerMessage as Told;
    use super::super::queue::QueueLimits;
    use super::super::{Client, Hub, LiveLimits, Next};
    use super::*;
    use crate::index::ids::IdCache;
    use crate::journal::simulated::SimulatedFs;
    use crate::sources::{Chunk, Origin, Source};
    use crate::store::{CommittedLen, Layout, Limits, Parts, Wait, open};
    use futures_util::FutureExt;
    use proptest::prelude::*;
    use std::path::Path;

    const USERS: [&str; 3] = ["root", "admin", "pi"];

    fn line(n: u64) -> String {
        let user = USERS[(n % 3) as usize];
        format!(
            r#"{{"eventid":"cowrie.login.failed","username":"{user}","password":"p{n}","session":"{n:012x}","src_ip":"192.0.2.1","timestamp":"2026-03-01T00:00:00.{n:06}Z"}}"#
        )
    }

    /// A journal, a hub without its thread, and the thread's work to be done step by step.
    struct Bench {
        parts: Parts,
        hub: Hub,
        pump: Pump,
        written: u64,
    }

    impl Bench {
        fn new(queue: QueueLimits) -> Bench {
            let fs = Arc::new(SimulatedFs::default());
            let parts = open(fs, Layout::new(Path::new("/data")), Limits::default(), CommittedLen::default(), 1, &mut |_| {}).unwrap();
            let hub = Hub::new(parts.store.clone(), LiveLimits { clients: 3, clients_each: 3, queue });
            let pump = Pump::new(hub.0.clone());
            Bench { parts, hub, pump, written: 0 }
        }

        /// So that an order starts no thread.
        fn joined(&self) -> Client {
            self.hub.0.inbox().is_followed = true;
            self.hub.join(&"somebody".into(), None).expect("there is room")
        }

        /// Event number `n` gets the sequence number `n`.
        fn append(&mut self, events: u64) {
            let origin = Origin {
                source: Arc::new(Source { name: "test".into(), format: Format::COWRIE }),
                stream: "test/1-1".into(),
                run: 0,
                ordinal: 0,
                path: "/log".into(),
                offset: self.written,
                generation: 0,
                first_seen: 0,
                input_bytes: 0,
                received_at: 1_774_138_242_000_000,
                reflowed: false,
                checkpoint: Vec::new(),
                permit: None,
                only_sensors: None,
            };
            let data = (1..=events).flat_map(|n| (line(self.written + n) + "\n").into_bytes()).collect();
            self.written += events;
            let chunk = Chunk { origin, data, places: vec![], refused: vec![], stored: None };
            let known = self.parts.store.known(IdCache::new());
            let batch = self.parts.store.batcher().extract(chunk, &known);
            self.parts.committer.commit(batch, known.generation(), 1).unwrap();
            while self.parts.writer.step(Wait::Never).unwrap().is_some() {}
            assert_eq!(self.parts.store.view().next_seq(), self.written + 1);
        }

        fn settle(&mut self) {
            while self.step() == Step::Worked {}
        }

        fn step(&mut self) -> Step {
            let step = self.pump.step();
            if step == Step::Finished {
                self.pump.has_finished = false;
                self.hub.0.inbox().is_followed = true;
            }
            step
        }
    }

    fn query(text: &str) -> Query {
        Query::parse(text, 0).expect("a query")
    }

    fn next(client: &Client) -> Option<Told> {
        match client.next().now_or_never()? {
            Next::Message(text) => Some(serde_json::from_str(&text).expect("a message")),
            Next::Ended(why) => panic!("ended: {why:?}"),
        }
    }

    fn all(client: &Client) -> Vec<Told> {
        std::iter::from_fn(|| next(client)).collect()
    }

    const WIDE: QueueLimits = QueueLimits { events: 1_000, bytes: 1 << 20 };

    fn seqs(told: &[Told]) -> Vec<(u64, Vec<String>)> {
        let event = |told: &Told| match told {
            Told::Event { seq, subscriptions, .. } => Some((*seq, subscriptions.clone())),
            _ => None,
        };
        told.iter().filter_map(event).collect()
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_happens_now_comes_once_with_all_subscriptions_it_matches() {
        let mut bench = Bench::new(WIDE);
        bench.append(3);
        let client = bench.joined();
        client.subscribe("all".into(), query(""), Begin::Now).unwrap();
        client.subscribe("root".into(), query("username:root"), Begin::Now).unwrap();
        bench.settle();
        assert_eq!(all(&client), [Told::Subscribed { id: "all".into(), from: 4 }, Told::Subscribed { id: "root".into(), from: 4 }]);
        assert_eq!(client.position(), Some(4));
        bench.append(3);
        bench.settle();
        let told = all(&client);
        assert_eq!(seqs(&told), [(4, named(&["all"])), (5, named(&["all"])), (6, named(&["all", "root"]))]);
        let Told::Event { line: told, time, .. } = &told[0] else { panic!("an event") };
        assert_eq!((told.as_deref(), time.as_str()), (Some(line(4).as_str()), "2026-03-01T00:00:00.000004Z"));
        client.unsubscribe("all".into()).unwrap();
        client.change("root".into(), query("username:pi")).unwrap();
        bench.append(3);
        bench.settle();
        let told = all(&client);
        assert_eq!(told[..2], [Told::Unsubscribed { id: "all".into() }, Told::Changed { id: "root".into(), from: 7 }]);
        assert_eq!(seqs(&told), [(8, named(&["root"]))]);
    }

    #[test]
    fn the_past_comes_whole_at_the_clients_pace_and_then_what_happens_now() {
        let mut bench = Bench::new(QueueLimits { events: 4, bytes: 1 << 20 });
        bench.append(50);
        let client = bench.joined();
        client.subscribe("a".into(), query(""), Begin::Seq(11)).unwrap();
        let mut told = Vec::new();
        for round in 0..200 {
            bench.settle();
            if round % 10 == 0 && round < 100 {
                bench.append(1);
            }
            told.extend(next(&client));
        }
        bench.settle();
        told.extend(all(&client));
        assert_eq!(seqs(&told), (11..=60).map(|seq| (seq, named(&["a"]))).collect::<Vec<_>>());
        assert_eq!(told.len(), 51, "nothing else was told");
        // It is no longer behind: from now on the oldest go.
        bench.append(10);
        bench.settle();
        let dropped = Told::Dropped { count: 6, from: 61, to: 66, subscriptions: named(&["a"]) };
        let told = all(&client);
        assert_eq!((&told[0], seqs(&told).len(), client.position()), (&dropped, 4, Some(71)));
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_changes_nothing() {
        let mut bench = Bench::new(WIDE);
        bench.append(1);
        let client = bench.joined();
        let codes = |bench: &mut Bench| {
            bench.settle();
            let code = |told| if let Told::Error(refusal) = told { refusal.code.into_owned() } else { "done".into() };
            all(&client).into_iter().map(code).collect::<Vec<String>>()
        };
        client.unsubscribe("a".into()).unwrap();
        client.change("a".into(), query("")).unwrap();
        client.subscribe("a".into(), query(""), Begin::Seq(3)).unwrap();
        assert_eq!(codes(&mut bench), ["no_subscription", "no_subscription", "bad_from"]);
        for n in 0..17 {
            client.subscribe(format!("s{n}"), query(""), Begin::Seq(0)).unwrap();
        }
        client.subscribe("s3".into(), query(""), Begin::Now).unwrap();
        bench.settle();
        let told = codes(&mut bench);
        assert_eq!(told.iter().filter(|code| *code == "done").count(), 17, "16 answers and an event");
        assert!(told.contains(&"too_many_subscriptions".to_owned()) && told.contains(&"subscription_exists".to_owned()));
        assert!(!client.is_busy());
        for _ in 0..32 {
            client.unsubscribe("gone".into()).unwrap();
        }
        assert!(client.is_busy(), "it has to take the answers first");
        assert_eq!(codes(&mut bench).len(), 32);
        assert!(!client.is_busy());
    }

    #[test]
    fn nobody_is_let_in_beyond_the_limit_and_nothing_runs_for_nobody() {
        let mut bench = Bench::new(WIDE);
        let clients: Vec<Client> = (0..3).map(|_| bench.joined()).collect();
        assert!(bench.hub.join(&"somebody".into(), None).is_none());
        assert_eq!(bench.pump.step(), Step::Finished);
        assert!(!bench.hub.0.inbox().is_followed);
        drop(clients);
        assert!(bench.hub.0.inbox().orders.is_empty(), "nobody is told that they left who never knew of them");
        assert_eq!((bench.hub.clients(), bench.hub.join(&"somebody".into(), None).is_some()), (0, true));
        let client = bench.joined();
        client.subscribe("a".into(), query(""), Begin::Now).unwrap();
        bench.settle();
        drop(client);
        bench.settle();
        assert!(bench.pump.watchers.is_empty() && bench.pump.judge.queries.iter().all(Option::is_none));
    }

    #[test]
    fn acknowledging_says_how_far_behind_and_opens_the_window() {
        let mut bench = Bench::new(QueueLimits { events: 3, bytes: 1 << 20 });
        let client = bench.joined();
        client.subscribe("a".into(), query(""), Begin::Seq(1)).unwrap();
        bench.settle();
        client.acknowledge(0);
        assert!(matches!(all(&client)[..], [Told::Acked { seq: 0, unacknowledged: 0, waiting: 0, next: 1 }, Told::Subscribed { .. }]));
        for _ in 0..3 {
            bench.append(2);
            bench.settle();
        }
        let told = all(&client);
        assert_eq!(seqs(&told).len(), 3, "the window is closed");
        assert!(matches!(told[0], Told::Dropped { count: 3, from: 1, to: 3, .. }));
        bench.append(2);
        bench.settle();
        assert_eq!(all(&client), []);
        client.acknowledge(5);
        let told = all(&client);
        assert_eq!(told[0], Told::Acked { seq: 5, unacknowledged: 1, waiting: 2, next: 9 });
        assert_eq!(seqs(&told).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [7, 8]);
        client.acknowledge(8);
        assert_eq!(all(&client), [Told::Acked { seq: 8, unacknowledged: 0, waiting: 0, next: 9 }]);
    }

    #[test]
    fn a_follower_that_breaks_down_takes_its_clients_with_it() {
        let bench = Bench::new(WIDE);
        let client = bench.joined();
        client.subscribe("a".into(), query(""), Begin::Now).unwrap();
        drop(bench.pump);
        assert_eq!(client.next().now_or_never(), Some(Next::Ended(Ended::Failed)));
        assert!(!bench.hub.0.inbox().is_followed);
    }

    #[test]
    fn a_thread_follows_for_as_long_as_somebody_subscribes() {
        let mut bench = Bench::new(WIDE);
        let client = bench.hub.join(&"somebody".into(), None).expect("there is room");
        client.subscribe("a".into(), query(""), Begin::Now).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(matches!(runtime.block_on(client.next()), Next::Message(text) if text.contains("subscribed")));
        bench.append(1);
        assert!(matches!(runtime.block_on(client.next()), Next::Message(text) if text.contains("event")));
        drop(client);
        while bench.hub.0.inbox().is_followed {
            std::thread::yield_now();
        }
    }

    /// What one client does, or what happens to it.
    #[derive(Clone, Debug)]
    enum Act {
        Append(u64),
        Step,
        Take(usize, usize),
        Subscribe(usize, usize, Option<u64>),
        Unsubscribe(usize, usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (1u64..8).prop_map(Act::Append),
            4 => Just(Act::Step),
            3 => (0usize..3, 1usize..6).prop_map(|(client, count)| Act::Take(client, count)),
            2 => (0usize..3, 0usize..4, prop::option::of(0u64..40)).prop_map(|(client, what, from)| Act::Subscribe(client, what, from)),
            1 => (0usize..3, 0usize..4).prop_map(|(client, what)| Act::Unsubscribe(client, what)),
        ]
    }

    /// What a client knows of one subscription.
    #[derive(Clone, Copy, Debug)]
    struct Followed {
        /// Everything before this was told, or dropped and told so.
        next: u64,
    }

    /// Whether the event number `n` matches: 3 asks for all.
    fn wants(what: usize, n: u64) -> bool {
        what == 3 || n % 3 == what as u64
    }

    struct Seen {
        followed: [Option<Followed>; 4],
        /// Of the dropped events that were told of, so many are not accounted for yet, up to this number.
        events: u64,
        dropped: u64,
    }

    impl Seen {
        /// Checks a message against everything told before.
        fn hear(&mut self, told: Told) {
            let number = |id: &str| id.parse::<usize>().expect("ours");
            match told {
                Told::Subscribed { id, from } => {
                    let before = self.followed[number(&id)].replace(Followed { next: from });
                    assert!(before.is_none());
                }
                Told::Unsubscribed { id } => self.followed[number(&id)] = None,
                Told::Event { subscriptions, seq, line: told, .. } => {
                    assert_eq!(told.as_deref(), Some(line(seq).as_str()));
                    self.events += 1;
                    for id in subscriptions {
                        let what = number(&id);
                        let followed = self.followed[what].as_mut().expect("it is subscribed");
                        assert!(wants(what, seq) && seq >= followed.next, "{what} {seq} {followed:?}: not again, and only what matches");
                        let missing = (followed.next..seq).find(|&n| wants(what, n));
                        assert_eq!(missing, None, "subscription {what} before {seq}");
                        followed.next = seq + 1;
                    }
                }
                Told::Dropped { count, from, to, subscriptions } => {
                    self.dropped += count;
                    let concerned: Vec<usize> = subscriptions.iter().map(|id| number(id)).collect();
                    let dropped = (from..=to).filter(|&n| {
                        let due = |what: &usize| wants(*what, n) && self.followed[*what].is_some_and(|followed| followed.next <= n);
                        concerned.iter().any(due)
                    });
                    assert!(dropped.count() as u64 <= count, "what was dropped is counted");
                    for what in concerned {
                        let followed = self.followed[what].as_mut().expect("it is subscribed");
                        followed.next = followed.next.max(to + 1);
                    }
                }
                Told::Error(refusal) => assert!(["subscription_exists", "no_subscription", "bad_from"].contains(&&*refusal.code)),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn everybody_gets_exactly_what_matches_or_is_told_what_was_dropped(
            events in 2usize..12,
            acts in prop::collection::vec(act(), 1..120),
        ) {
            let mut bench = Bench::new(QueueLimits { events, bytes: 1 << 20 });
            let clients: Vec<Client> = (0..3).map(|_| bench.joined()).collect();
            let mut seen: Vec<Seen> = (0..3).map(|_| Seen { followed: [None; 4], events: 0, dropped: 0 }).collect();
            let asked = |what: usize| if what == 3 { query("") } else { query(&format!("username:{}", USERS[what])) };
            for act in acts {
                match act {
                    Act::Append(events) => bench.append(events),
                    Act::Step => {
                        bench.step();
                    }
                    Act::Take(client, count) => {
                        let told: Vec<Told> = (0..count).map_while(|_| next(&clients[client])).collect();
                        told.into_iter().for_each(|told| seen[client].hear(told));
                    }
                    Act::Subscribe(client, what, from) => {
                        clients[client].subscribe(what.to_string(), asked(what), from.map_or(Begin::Now, Begin::Seq)).unwrap();
                    }
                    Act::Unsubscribe(client, what) => clients[client].unsubscribe(what.to_string()).unwrap(),
                }
            }
            // Everybody takes what there is until there is nothing more.
            loop {
                bench.settle();
                let told: Vec<Vec<Told>> = clients.iter().map(all).collect();
                if told.iter().all(Vec::is_empty) {
                    break;
                }
                for (seen, told) in seen.iter_mut().zip(told) {
                    told.into_iter().for_each(|told| seen.hear(told));
                }
            }
            for seen in &seen {
                for (what, followed) in seen.followed.iter().enumerate() {
                    let missing = followed.and_then(|followed| (followed.next..=bench.written).find(|&n| wants(what, n)));
                    prop_assert_eq!(missing, None, "subscription {} ends whole", what);
                }
            }
        }
    }
}
