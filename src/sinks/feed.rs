//! What a sink is fed: items made of the journal's events behind a position.
//!
//! Mostly an item is an event. A feed may also make one item of many events (the result of a chat); then the position waits for
//! the earliest event that is still needed.
use super::{Batch, Item};
use crate::events::Micros;
use crate::store::Gap;

/// How large a batch may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    pub items: usize,
    /// Of payload.
    pub bytes: usize,
}

/// What [`Feed::take`] brings.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub batch: Batch,
    /// Sequence number of the first event that is needed after a restart, once everything taken so far is settled: the cursor.
    pub cursor: u64,
    /// There is more at once.
    pub more: bool,
    /// Events that were due and are not there any more.
    pub lost: Vec<Gap>,
}

/// Why nothing could be taken; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("cannot read the journal: {0}")]
    Journal(String),
}

/// Makes items of events, from a position on. Runs on threads that may block.
pub trait Feed: Send {
    /// The next items behind those taken last; none when there are none now. Events the sink does not want only move the cursor.
    fn take(&mut self, limits: BatchLimits, now: Micros) -> Result<Taken, FeedError>;

    /// These arrived, or became dead letters. Called once for each item taken.
    fn settled(&mut self, items: &[Item]);

    /// Begins again at an event: after a replay was asked for.
    fn seek(&mut self, seq: u64);
}
