//! Events as they become durable, for whoever watches.
//!
//! One thread follows the journal for all watchers together ([`pump`]): like every stage it is a cursor over what is durable, decodes an
//! event once, and asks every subscription's query of it. It runs while somebody subscribes to something and not otherwise.
//! What matches waits in a bounded queue for each client ([`queue`]). A client that is too slow for what happens now loses the oldest
//! events and is told how many; one that asked for earlier events gets all of them at its own pace, as the journal has them anyway, and
//! joins the others when it has caught up.
//!
//! Knows the journal and the query language, and nothing of HTTP: the words are [`message`]'s, how they travel is the caller's business.
pub mod message;
mod outbox;
mod pump;
pub mod queue;

use crate::access::places::{Place, Places};
use crate::events::Micros;
use crate::index::query::Query;
use crate::store::Store;
use message::ServerMessage;
use outbox::Outbox;
pub use outbox::{Ended, Next};
use pump::Pump;
use queue::QueueLimits;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Subscriptions of one client: one bit each in [`queue::Slots`].
pub const SUBSCRIPTIONS_MAX: usize = 16;
/// Orders of one client that are not answered, or whose answers it did not take; it is heard again when there are fewer.
const ORDERS_MAX: usize = 32;

const _: () = assert!(SUBSCRIPTIONS_MAX <= queue::Slots::BITS as usize);

/// Limits of the live stream; keys `live_*` of `[admin]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveLimits {
    pub clients: usize,
    /// Of these, of one asker.
    pub clients_each: usize,
    /// What waits for each of them.
    pub queue: QueueLimits,
}

/// Where clients join.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    store: Store,
    limits: LiveLimits,
    clients: AtomicUsize,
    /// By who asks.
    places: Places<Arc<str>>,
    refused: AtomicU64,
    /// Events that clients were too slow for.
    dropped: AtomicU64,
    inbox: Mutex<Inbox>,
    /// An order came, or a client that is behind has room again.
    wake: Notify,
}

#[derive(Default)]
struct Inbox {
    orders: Vec<Order>,
    /// Somebody follows the journal, and will look here before ending.
    is_followed: bool,
}

struct Order {
    outbox: Arc<Outbox>,
    what: What,
}

enum What {
    Subscribe { id: String, query: Query, begin: Begin },
    Change { id: String, query: Query },
    Unsubscribe { id: String },
    Leave,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the next event to come.
    Now,
    /// At the event with this number.
    Seq(u64),
    /// At the first event of the block in which one of this time comes first; what is older in it, the query must keep away.
    Time(Micros),
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    pub fn new(store: Store, limits: LiveLimits) -> Hub {
        Hub(Arc::new(Shared {
            store,
            limits,
            clients: AtomicUsize::new(0),
            places: Places::new(limits.clients_each),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            inbox: Mutex::default(),
            wake: Notify::new(),
        }))
    }

    pub fn limits(&self) -> LiveLimits {
        self.0.limits
    }

    pub fn clients(&self) -> usize {
        self.0.clients.load(Ordering::Relaxed)
    }

    /// How many were refused because there were too many, since the start.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// How many events were dropped because their clients were too slow, since the start.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// A new client of this asker, unless there are as many as may be, of all or of theirs. With `redacted`, the digest of the rules in force, lines leave as those rules say,
    /// and the client is sent away when they change.
    pub fn join(&self, whose: &Arc<str>, redacted: Option<String>) -> Option<Client> {
        let joined = self.try_join(whose, redacted);
        if joined.is_none() {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        }
        joined
    }

    fn try_join(&self, whose: &Arc<str>, redacted: Option<String>) -> Option<Client> {
        let place = self.0.places.take(whose.clone())?;
        let max = self.0.limits.clients;
        let joined = |clients: usize| (clients < max).then_some(clients + 1);
        self.0.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, joined).ok()?;
        Some(Client { hub: self.clone(), outbox: Arc::new(Outbox::new(self.0.limits.queue, redacted)), _place: place })
    }

    /// What a client is told first.
    pub fn hello(&self) -> ServerMessage {
        let Shared { store, limits, .. } = &*self.0;
        ServerMessage::Hello {
            protocol: message::PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            journal: format!("{:016x}", store.history().journal),
            first: store.first_seq(),
            next: store.view().next_seq(),
            subscriptions_max: SUBSCRIPTIONS_MAX,
            queue_events: limits.queue.events,
            queue_bytes: limits.queue.bytes,
            window: limits.queue.events,
        }
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let mut inbox = self.0.inbox();
        if let (false, What::Change { id, .. } | What::Unsubscribe { id }) = (inbox.is_followed, &order.what) {
            // Nobody subscribes to anything: no thread is needed to say so.
            order.outbox.reply(ServerMessage::Error(pump::unknown(id)));
            return Ok(());
        }
        inbox.orders.push(order);
        if !inbox.is_followed {
            let pump = Pump::new(self.0.clone());
            // Its end of the inbox is looked at only behind this lock.
            std::thread::Builder::new().name("live".into()).spawn(move || pump.run()).inspect_err(|_| inbox.orders.clear())?;
            inbox.is_followed = true;
        }
        drop(inbox);
        self.0.wake.notify_one();
        Ok(())
    }
}

/// One who watches. Dropped, it is gone.
pub struct Client {
    hub: Hub,
    outbox: Arc<Outbox>,
    _place: Place<Arc<str>>,
}

impl Client {
    /// Answered in order with the events: [`ServerMessage::Subscribed`], or an error.
    pub fn subscribe(&self, id: String, query: Query, begin: Begin) -> io::Result<()> {
        self.order(What::Subscribe { id, query, begin })
    }

    /// Another query for a subscription, from where it is.
    pub fn change(&self, id: String, query: Query) -> io::Result<()> {
        self.order(What::Change { id, query })
    }

    pub fn unsubscribe(&self, id: String) -> io::Result<()> {
        self.order(What::Unsubscribe { id })
    }

    /// Answers an order that could not even be given.
    pub fn refuse(&self, refusal: message::Refusal) {
        self.outbox.ordered();
        self.outbox.reply(ServerMessage::Error(refusal));
    }

    /// What was sent up to and with this event has been dealt with.
    pub fn acknowledge(&self, seq: u64) {
        self.outbox.acknowledge(seq, || self.hub.0.store.view().next_seq());
    }

    /// So much is unanswered that nothing more should be heard until something was taken: see [`Client::next`].
    pub fn is_busy(&self) -> bool {
        self.outbox.orders() >= ORDERS_MAX
    }

    /// The next thing to send. May be dropped and called again; only ever once at a time.
    pub async fn next(&self) -> Next {
        loop {
            let (next, wakes) = self.outbox.take();
            if wakes {
                self.hub.0.wake.notify_one();
            }
            match next {
                Some(next) => return next,
                None => self.outbox.changed().await,
            }
        }
    }

    /// All events before this one were judged and what matched was taken; `None` while that is not so, or nothing is subscribed.
    pub fn position(&self) -> Option<u64> {
        self.outbox.position()
    }

    fn order(&self, what: What) -> io::Result<()> {
        self.outbox.ordered();
        self.hub.order(Order { outbox: self.outbox.clone(), what })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.outbox.end(Ended::Left);
        self.hub.0.clients.fetch_sub(1, Ordering::Relaxed);
        let mut inbox = self.hub.0.inbox();
        // If nobody follows, nobody knows it either.
        if inbox.is_followed {
            inbox.orders.push(Order { outbox: self.outbox.clone(), what: What::Leave });
            drop(inbox);
            self.hub.0.wake.notify_one();
        }
    }
}
