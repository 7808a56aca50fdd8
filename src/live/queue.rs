//! What waits for one client: bounded, and when it is full the oldest events go, counted where they stood.
//!
//! Answers to what the client asked stay in order with the events and are never dropped; that there are few of them is the hub's
//! business, which takes no more orders from a client that does not read.
use std::collections::VecDeque;
use std::sync::Arc;

/// Subscriptions of one client, one bit each.
pub type Slots = u16;

/// Bytes that an entry costs besides its text.
const ENTRY_BYTES: usize = 64;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    pub events: usize,
    pub bytes: usize,
}

impl QueueLimits {
    /// Whether an event of so many bytes can wait at all.
    pub fn can_hold(&self, body_bytes: usize) -> bool {
        body_bytes + ENTRY_BYTES <= self.bytes
    }
}

/// An event that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub seq: u64,
    /// Which of the client's subscriptions it matches.
    pub slots: Slots,
    /// As it is sent, shared with other clients: see [`super::message::event_body`].
    pub body: Arc<[u8]>,
}

impl Event {
    fn bytes(&self) -> usize {
        self.body.len() + ENTRY_BYTES
    }
}

/// Events that matched and were not sent, because the client was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub count: u64,
    /// Sequence numbers of the first and the last of them.
    pub from: u64,
    pub to: u64,
    pub slots: Slots,
}

impl Dropped {
    fn of(event: &Event) -> Dropped {
        Dropped { count: 1, from: event.seq, to: event.seq, slots: event.slots }
    }

    fn add(&mut self, event: &Event) {
        self.count += 1;
        self.from = self.from.min(event.seq);
        self.to = self.to.max(event.seq);
        self.slots |= event.slots;
    }
}

/// One thing that waits; `Reply` is what the hub answers to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<Reply> {
    Event(Event),
    Dropped(Dropped),
    Reply(Reply),
}

/// In the order in which it is sent.
#[derive(Debug)]
pub struct Queue<Reply> {
    limits: QueueLimits,
    entries: VecDeque<Entry<Reply>>,
    events: usize,
    bytes: usize,
}

impl<Reply> Queue<Reply> {
    pub fn new(limits: QueueLimits) -> Queue<Reply> {
        Queue { limits, entries: VecDeque::new(), events: 0, bytes: 0 }
    }

    pub fn limits(&self) -> QueueLimits {
        self.limits
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Events that wait.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Whether another event fits without one being dropped.
    pub fn fits(&self, body_bytes: usize) -> bool {
        self.events < self.limits.events && self.bytes + body_bytes + ENTRY_BYTES <= self.limits.bytes
    }

    /// At most half of it is in use: worth reading more from the journal.
    pub fn has_room(&self) -> bool {
        self.events <= self.limits.events / 2 && self.bytes <= self.limits.bytes / 2
    }

    /// Adds an event. Answers how many others, or itself, were dropped for it.
    pub fn push(&mut self, event: Event) -> u64 {
        self.events += 1;
        self.bytes += event.bytes();
        self.entries.push_back(Entry::Event(event));
        let mut dropped = 0;
        while self.events > self.limits.events || self.bytes > self.limits.bytes {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// Adds what is never dropped.
    pub fn reply(&mut self, reply: Reply) {
        self.entries.push_back(Entry::Reply(reply));
    }

    pub fn first(&self) -> Option<&Entry<Reply>> {
        self.entries.front()
    }

    pub fn pop(&mut self) -> Option<Entry<Reply>> {
        let entry = self.entries.pop_front()?;
        if let Entry::Event(event) = &entry {
            self.events -= 1;
            self.bytes -= event.bytes();
        }
        if self.entries.is_empty() {
            // What a burst needed is given back.
            self.entries.shrink_to(64);
        }
        Some(entry)
    }

    /// A subscription is over: events that only it asked for no longer wait, and drops no longer name it.
    pub fn forget(&mut self, slots: Slots) {
        let (mut events, mut bytes) = (0, 0);
        self.entries.retain_mut(|entry| match entry {
            Entry::Event(event) => {
                event.slots &= !slots;
                if event.slots != 0 {
                    events += 1;
                    bytes += event.bytes();
                }
                event.slots != 0
            }
            Entry::Dropped(dropped) => {
                dropped.slots &= !slots;
                dropped.slots != 0
            }
            Entry::Reply(_) => true,
        });
        (self.events, self.bytes) = (events, bytes);
    }

    /// Only answers stand before the oldest event, and one count of drops between any two of them.
    fn drop_oldest(&mut self) {
        let Some(at) = self.entries.iter().position(|entry| matches!(entry, Entry::Event(_))) else { return };
        let Entry::Event(event) = &self.entries[at] else { return };
        let event = event.clone();
        self.events -= 1;
        self.bytes -= event.bytes();
        match at.checked_sub(1).map(|before| &mut self.entries[before]) {
            Some(Entry::Dropped(dropped)) => {
                dropped.add(&event);
                self.entries.remove(at);
            }
            _ => self.entries[at] = Entry::Dropped(Dropped::of(&event)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(seq: u64, slots: Slots, bytes: usize) -> Event {
        Event { seq, slots, body: vec![b'x'; bytes].into() }
    }

    fn taken(queue: &mut Queue<&'static str>) -> Vec<Entry<&'static str>> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn the_oldest_go_first_and_are_counted_where_they_stood() {
        let mut queue = Queue::new(QueueLimits { events: 2, bytes: 1 << 20 });
        queue.reply("first");
        queue.push(event(3, 1, 10));
        queue.reply("second");
        let dropped: u64 = [event(5, 2, 10), event(6, 1, 10), event(9, 1, 10)].into_iter().map(|event| queue.push(event)).sum();
        assert_eq!(dropped, 2);
        assert_eq!(
            taken(&mut queue),
            [
                Entry::Reply("first"),
                Entry::Dropped(Dropped { count: 1, from: 3, to: 3, slots: 1 }),
                Entry::Reply("second"),
                Entry::Dropped(Dropped { count: 1, from: 5, to: 5, slots: 2 }),
                Entry::Event(event(6, 1, 10)),
                Entry::Event(event(9, 1, 10)),
            ]
        );
    }

    #[test]
    fn bytes_are_a_limit_as_well() {
        let limits = QueueLimits { events: 100, bytes: 1_000 };
        let mut queue: Queue<&str> = Queue::new(limits);
        assert!(limits.can_hold(936) && !limits.can_hold(937));
        assert_eq!(queue.push(event(1, 1, 900)), 0);
        assert!(!queue.fits(0) && !queue.has_room());
        assert_eq!(queue.push(event(2, 1, 900)), 1);
        assert_eq!(queue.push(event(3, 1, 2_000)), 2, "one that could never wait");
        assert_eq!(taken(&mut queue), [Entry::Dropped(Dropped { count: 3, from: 1, to: 3, slots: 1 })]);
        assert!(queue.fits(900) && queue.has_room());
    }

    #[test]
    fn what_nobody_asks_for_any_more_does_not_wait() {
        let mut queue = Queue::new(QueueLimits { events: 2, bytes: 1 << 20 });
        for (seq, slots) in [(1, 1), (2, 0b11), (3, 1), (4, 0b10)] {
            queue.push(event(seq, slots, 10));
        }
        queue.reply("unsubscribed");
        queue.forget(1);
        assert_eq!(queue.events(), 1);
        let dropped = Dropped { count: 2, from: 1, to: 2, slots: 0b10 };
        assert_eq!(taken(&mut queue), [Entry::Dropped(dropped), Entry::Event(event(4, 0b10, 10)), Entry::Reply("unsubscribed")]);
    }

    proptest! {
        #[test]
        fn whatever_is_pushed_comes_out_in_order_or_is_counted(
            events in 1usize..6,
            bytes in 64usize..600,
            acts in prop::collection::vec((0u8..4, 0usize..300), 0..80),
        ) {
            let limits = QueueLimits { events, bytes };
            let mut queue: Queue<u64> = Queue::new(limits);
            let (mut seq, mut replies, mut counted, mut passed) = (0, 0, 0, 0);
            let (mut reply_seen, mut dropped_seen) = (0, 0);
            let mut out = |entry: Entry<u64>| match entry {
                Entry::Event(event) => {
                    assert_eq!(event.seq, passed + 1, "nothing is passed over in silence");
                    passed = event.seq;
                }
                Entry::Dropped(dropped) => {
                    assert_eq!((dropped.from, dropped.to), (passed + 1, passed + dropped.count));
                    passed = dropped.to;
                    dropped_seen += dropped.count;
                }
                Entry::Reply(number) => {
                    assert_eq!(number, reply_seen + 1);
                    reply_seen = number;
                }
            };
            for (act, size) in acts {
                match act {
                    0 | 1 => {
                        seq += 1;
                        counted += queue.push(event(seq, 1, size));
                    }
                    2 => {
                        replies += 1;
                        queue.reply(replies);
                    }
                    _ => queue.pop().into_iter().for_each(&mut out),
                }
                prop_assert!(queue.events <= limits.events && queue.bytes <= limits.bytes);
                let bytes = |entry: &Entry<u64>| if let Entry::Event(event) = entry { event.bytes() } else { 0 };
                let waiting: usize = queue.entries.iter().map(bytes).sum();
                prop_assert_eq!(waiting, queue.bytes);
            }
            std::iter::from_fn(|| queue.pop()).for_each(&mut out);
            prop_assert_eq!((passed, reply_seen, dropped_seen), (seq, replies, counted));
        }
    }
}
