//! How much of something one asker may hold at once: connections of an address, watchers of a key ([`Places`]); turns and memory, for which
//! one waits ([`Shares`]). What is taken is held until it is dropped.
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who holds how many. Nobody who holds none is remembered, so there are never more entries than places.
#[derive(Debug)]
pub struct Places<K> {
    each_max: usize,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Places { each_max: self.each_max, held: self.held.clone() }
    }
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// Each may hold so many.
    pub fn new(each_max: usize) -> Places<K> {
        Places { each_max, held: Arc::default() }
    }

    /// One more, unless they have as many as one may.
    pub fn take(&self, whose: K) -> Option<Place<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&whose).copied().unwrap_or(0);
        if count >= self.each_max {
            return None;
        }
        held.insert(whose.clone(), count + 1);
        Some(Place { whose, held: self.held.clone() })
    }
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub struct Place<K: Hash + Eq> {
    whose: K,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.whose);
            }
        }
    }
}

/// Something there is so much of, for which askers wait: each in a line of its own, so that nobody stands in another's way.
#[derive(Debug)]
pub struct Shares<K> {
    all: Arc<Semaphore>,
    each_max: u32,
    patience: Duration,
    each: Mutex<HashMap<K, Arc<Semaphore>>>,
}

/// What was taken, given back when it is dropped.
#[derive(Debug)]
pub struct Share(#[expect(dead_code, reason = "held, not read")] [OwnedSemaphorePermit; 2]);

/// Requests of one asker that wait or have something.
const LINE_MAX: usize = 64;

impl<K: Hash + Eq> Shares<K> {
    /// So much in all, so much of it for one asker, for whom nobody waits longer than this.
    pub fn new(all: u32, each_max: u32, patience: Duration) -> Shares<K> {
        let all = Arc::new(Semaphore::new(all as usize));
        Shares { all, each_max: each_max.max(1), patience, each: Mutex::default() }
    }

    /// Waits for so much, or as much as one asker can have; not without end, and not in a line without end.
    pub async fn take(&self, whose: K, count: u32) -> Option<Share> {
        let (theirs, count) = (self.of(whose)?, count.min(self.each_max));
        let taken = async {
            // First from their own: who waits for that stands in nobody's way.
            let of_one = theirs.acquire_many_owned(count).await.ok()?;
            let of_all = self.all.clone().acquire_many_owned(count).await.ok()?;
            Some(Share([of_one, of_all]))
        };
        tokio::time::timeout(self.patience, taken).await.ok().flatten()
    }

    fn of(&self, whose: K) -> Option<Arc<Semaphore>> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(theirs) = each.get(&whose) {
            // One of the references is the table's; each other one is of a request.
            return (Arc::strong_count(theirs) <= LINE_MAX).then(|| theirs.clone());
        }
        // Nobody is remembered for longer than somebody else needs to come.
        each.retain(|_, theirs| Arc::strong_count(theirs) > 1);
        let theirs = Arc::new(Semaphore::new(self.each_max as usize));
        each.insert(whose, theirs.clone());
        Some(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_takes_no_more_than_its_share_and_gives_it_back() {
        let places = Places::new(2);
        let first = places.take("a").expect("the first");
        let _second = places.take("a").expect("the second");
        assert!(places.take("a").is_none());
        assert!(places.take("b").is_some(), "another has a share of its own");
        drop(first);
        assert!(places.take("a").is_some());
        assert_eq!(places.held.lock().unwrap().len(), 1, "who holds none is forgotten");
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn one_asker_leaves_something_to_others() {
        let shares = Shares::new(4, 3, PATIENCE);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(shares.take("a", 1).await.expect("room"));
        }
        assert!(shares.take("a", 1).await.is_none(), "not in half a minute");
        let other = shares.take("b", 1).await.expect("what was left");
        let full = shares.take("c", 1);
        tokio::pin!(full);
        assert!(futures_util::poll!(full.as_mut()).is_pending());
        drop(other);
        assert!(full.await.is_some());
        held.clear();
        assert!(shares.take("a", 100).await.is_some(), "as much as one can have");
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_of_one_asker_has_an_end_and_nobody_is_remembered() {
        let shares = Shares::new(4, 3, PATIENCE);
        let mut takes: Vec<_> = (0..LINE_MAX + 50).map(|_| Box::pin(shares.take(0, 1))).collect();
        let polled = futures_util::future::join_all(takes.iter_mut().map(|take| async { futures_util::poll!(take.as_mut()) })).await;
        let refused = polled.iter().filter(|polled| matches!(polled, std::task::Poll::Ready(None))).count();
        assert_eq!(refused, 50);
        drop((takes, polled));
        for asker in 1..1_000 {
            drop(shares.take(asker, 1).await);
        }
        assert_eq!(shares.each.lock().unwrap().len(), 1);
    }
}
