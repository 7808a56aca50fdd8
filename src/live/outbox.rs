//! What is on its way to one client: the pump puts it in, the client's connection takes it out.
//!
//! The lock is held for one event at a time and never while anything is read, decoded or sent.
use super::message::{self, Refusal, ServerMessage};
use super::queue::{Dropped, Entry, Event, Queue, QueueLimits, Slots};
use super::{ORDERS_MAX, SUBSCRIPTIONS_MAX};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What comes next for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A message, to be sent as it is.
    Message(String),
    Ended(Ended),
}

/// Why a client gets nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Left,
    /// The rules of redaction are others than those it asked for.
    OtherRules,
    /// The journal's follower broke down; the daemon's log says why.
    Failed,
}

pub(super) struct Outbox {
    /// The digest of the rules by which lines leave.
    redacted: Option<String>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    queue: Queue<ServerMessage>,
    /// The latest answer to an acknowledgement: it overtakes, for it tells how much there is to overtake.
    acked: Option<ServerMessage>,
    /// Not answered, or the answer not taken.
    orders: usize,
    /// Names of the subscriptions, by their bits.
    names: [Option<Arc<str>>; SUBSCRIPTIONS_MAX],
    /// Numbers of the events sent and not acknowledged, in the order in which they were sent: the last of them, of a client that never
    /// acknowledged anything.
    unacknowledged: VecDeque<u64>,
    acknowledges: bool,
    /// The pump waits for room to go on with what was asked for from the past.
    is_awaited: bool,
    position: Option<u64>,
    ended: Option<Ended>,
}

impl Outbox {
    pub fn new(limits: QueueLimits, redacted: Option<String>) -> Outbox {
        let state = State {
            queue: Queue::new(limits),
            acked: None,
            orders: 0,
            names: Default::default(),
            unacknowledged: VecDeque::new(),
            acknowledges: false,
            is_awaited: false,
            position: None,
            ended: None,
        };
        Outbox { redacted, state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn redacted(&self) -> Option<&str> {
        self.redacted.as_deref()
    }

    // Of the client.

    /// What is to be sent next, and whether the pump waits for the room that this made.
    pub fn take(&self) -> (Option<Next>, bool) {
        let mut state = self.state();
        if let Some(ended) = state.ended {
            return (Some(Next::Ended(ended)), false);
        }
        let message = state.take();
        let wakes = state.is_awaited && state.queue.has_room();
        if wakes {
            state.is_awaited = false;
        }
        (message.map(Next::Message), wakes)
    }

    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn ordered(&self) {
        self.state().orders += 1;
    }

    pub fn orders(&self) -> usize {
        self.state().orders
    }

    pub fn acknowledge(&self, seq: u64, next: impl FnOnce() -> u64) {
        let mut state = self.state();
        state.acknowledges = true;
        if let Some(at) = state.unacknowledged.iter().rposition(|&sent| sent == seq) {
            state.unacknowledged.drain(..=at);
        }
        let (unacknowledged, waiting) = (state.unacknowledged.len(), state.queue.events());
        state.acked = Some(ServerMessage::Acked { seq, unacknowledged, waiting, next: next() });
        drop(state);
        self.changed.notify_one();
    }

    pub fn position(&self) -> Option<u64> {
        let state = self.state();
        state.position.filter(|_| state.queue.is_empty())
    }

    pub fn end(&self, why: Ended) {
        self.state().ended.get_or_insert(why);
        self.changed.notify_one();
    }

    // Of the pump.

    pub fn has_ended(&self) -> bool {
        self.state().ended.is_some()
    }

    pub fn reply(&self, reply: ServerMessage) {
        self.state().queue.reply(reply);
        self.changed.notify_one();
    }

    /// An answer to nothing the client asked.
    pub fn tell(&self, message: ServerMessage) {
        let mut state = self.state();
        // To a client that takes nothing, a journal full of holes need not be told hole by hole.
        if state.orders < 2 * ORDERS_MAX {
            state.orders += 1;
            state.queue.reply(message);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The subscription's bit, unless there are as many as may be, or it is there already.
    pub fn name(&self, id: &str) -> Result<u8, Refusal> {
        let mut state = self.state();
        if state.names.iter().flatten().any(|name| &**name == id) {
            let detail = format!("there is a subscription {id:?} already: change it, or end it first");
            return Err(Refusal::new("subscription_exists", detail, Some(id)));
        }
        let Some(slot) = state.names.iter().position(Option::is_none) else {
            let detail = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions: end one, or open another connection");
            return Err(Refusal::new("too_many_subscriptions", detail, Some(id)));
        };
        state.names[slot] = Some(id.into());
        Ok(slot as u8)
    }

    /// The subscription is over.
    pub fn forget(&self, slot: u8) {
        let mut state = self.state();
        state.names[usize::from(slot)] = None;
        state.queue.forget(1 << slot);
    }

    /// Adds an event. Answers how many were dropped for it.
    pub fn push(&self, event: Event) -> u64 {
        let mut state = self.state();
        let was_empty = state.queue.is_empty();
        let dropped = state.queue.push(event);
        drop(state);
        if was_empty {
            self.changed.notify_one();
        }
        dropped
    }

    /// Adds an event for which there is room.
    pub fn push_if_it_fits(&self, event: Event) -> bool {
        let mut state = self.state();
        if !state.queue.fits(event.body.len()) {
            state.is_awaited = true;
            return false;
        }
        state.queue.push(event);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Whether there is room for more from the past; if not, the pump is woken when there is.
    pub fn has_room(&self) -> bool {
        let mut state = self.state();
        state.is_awaited = !state.queue.has_room();
        !state.is_awaited
    }

    pub fn set_position(&self, position: Option<u64>) {
        self.state().position = position;
    }
}

impl State {
    fn take(&mut self) -> Option<String> {
        if let Some(acked) = self.acked.take() {
            return Some(acked.to_json());
        }
        let window = self.queue.limits().events;
        let is_closed = self.acknowledges && self.unacknowledged.len() >= window;
        if is_closed && matches!(self.queue.first(), Some(Entry::Event(_))) {
            return None;
        }
        Some(match self.queue.pop()? {
            Entry::Event(event) => {
                if self.unacknowledged.len() >= window {
                    self.unacknowledged.pop_front();
                }
                self.unacknowledged.push_back(event.seq);
                message::event(self.named(event.slots), &event.body)
            }
            Entry::Dropped(dropped) => self.dropped(dropped).to_json(),
            Entry::Reply(reply) => {
                self.orders = self.orders.saturating_sub(1);
                reply.to_json()
            }
        })
    }

    fn named(&self, slots: Slots) -> impl Iterator<Item = &str> {
        let numbered = self.names.iter().enumerate();
        numbered.filter(move |(slot, _)| slots >> slot & 1 == 1).filter_map(|(_, name)| name.as_deref())
    }

    fn dropped(&self, dropped: Dropped) -> ServerMessage {
        message::dropped(dropped, self.named(dropped.slots).map(str::to_owned).collect())
    }
}
