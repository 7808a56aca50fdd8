//! Where events go: one file per sink, and the delivery they all share.
//!
//! A sink knows how to make a request of a batch and what an answer means. Everything else (cursor, filter, batching, backoff,
//! circuit breaker, dead letters, pause and replay, rate limit) is the delivery's, once.
pub mod delivery;
pub mod elasticsearch;
pub mod events_feed;
pub mod feed;
pub mod file;
pub mod guard;
pub mod guvi;
pub mod hour;
pub mod http;
pub mod json;
pub mod open;
pub mod policy;
pub mod session_feed;
pub mod webhook;

use crate::events::{EventId, Format, Micros};
use futures_util::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Items on their way to a sink, in the order of the journal.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub items: Vec<Item>,
    /// The items' payloads: for events their lines, as they stand in the journal.
    pub payload: Vec<u8>,
    /// These are dead letters, sent again: out of the order of the journal, and wanted although later events have arrived.
    pub redelivered: bool,
}

/// One event (or what a [`feed`] made of several).
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the journal; of several events the last one's.
    pub seq: u64,
    /// The idempotency key: the same for every repetition, whoever asks for it.
    pub id: EventId,
    /// The time it is indexed by.
    pub time: Micros,
    pub received_at: Micros,
    /// Name of the configured source.
    pub source: Arc<str>,
    pub format: Format,
    /// Its payload in [`Batch::payload`], without a newline.
    pub payload: Range<u32>,
}

impl Batch {
    pub fn payload(&self, item: &Item) -> &[u8] {
        &self.payload[item.payload.start as usize..item.payload.end as usize]
    }

    /// The batch's idempotency key: a hash of its items' ids, so that the same batch always has the same one.
    pub fn id(&self) -> EventId {
        let mut ids = Vec::with_capacity(self.items.len() * 16);
        self.items.iter().for_each(|item| ids.extend_from_slice(&item.id.0));
        EventId::of_line(&ids)
    }

    /// Some of its items, in their order, with their payloads.
    pub fn part(&self, items: impl Iterator<Item = usize>) -> Batch {
        let mut part = Batch { redelivered: self.redelivered, ..Batch::default() };
        for index in items {
            part.push(self.items[index].clone(), self.payload(&self.items[index]));
        }
        part
    }

    /// Adds an item; where its payload lies is noted here.
    pub fn push(&mut self, item: Item, payload: &[u8]) {
        let start = self.payload.len() as u32;
        self.payload.extend_from_slice(payload);
        self.items.push(Item { payload: start..self.payload.len() as u32, ..item });
    }
}

/// A request made of a batch, ready to be sent as often as needed.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub body: Vec<u8>,
    /// Of the batch.
    pub id: EventId,
    /// How many items it carries.
    pub items: usize,
    /// Sequence number of the last of them.
    pub last_seq: u64,
    /// Header fields that depend on the body, such as its encoding.
    pub headers: Vec<(&'static str, String)>,
}

/// What a sink's answer to a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything arrived (or had arrived before).
    Delivered,
    /// Nothing is certain: send the same again, not before `after`.
    Retry { after: Option<Duration>, why: String },
    /// The sink cannot work as it is configured (credentials, unknown address, refused by the guard): nothing is wrong with the
    /// items, so none becomes a dead letter; tried again slowly, and told at once.
    Unusable { why: String },
    /// Send it in smaller pieces.
    TooLarge { why: String },
    /// The batch was refused as a whole: one of its items must be the reason.
    Refused { why: String },
    /// One verdict for each item.
    Items(Vec<Verdict>),
}

impl Answer {
    /// Why there is nothing, of an answer that stands where another was wanted.
    pub fn into_why(self) -> String {
        match self {
            Answer::Retry { why, .. } | Answer::Unusable { why } | Answer::TooLarge { why } | Answer::Refused { why } => why,
            Answer::Delivered | Answer::Items(_) => "no answer".to_owned(),
        }
    }
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// Send it again; `status` is the item's own, where it has one.
    Retry {
        status: Option<u16>,
        why: String,
    },
    /// Never to be accepted: a dead letter.
    Refused(String),
}

/// An answer and how it came.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub answer: Answer,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
}

/// A receiver of batches.
pub trait Sink: Send + Sync {
    /// Makes the request of a batch; runs on a thread that may block. An error means that this batch can never be sent.
    fn encode(&self, batch: &Batch) -> Result<Request, String>;

    /// Sends a request once. `attempt` counts from 1. The delivery enforces the time limit by dropping the future.
    fn send<'a>(&'a self, request: &'a Request, attempt: u32) -> BoxFuture<'a, Outcome>;

    /// Asks the receiver whether it would take deliveries, without delivering anything: for `sinks test`.
    fn probe(&self) -> BoxFuture<'_, Outcome>;

    /// The delivery was sent back: what comes from now on is wanted, whether it arrived before or not. Runs on a thread that may block.
    fn rewound(&self) -> Result<(), String> {
        Ok(())
    }

    /// Most requests under way at once; the delivery finds out how many the receiver bears.
    fn concurrency_max(&self) -> usize {
        1
    }
}
