//! Whose turn it is to have slow work done: there are few places, and one asker leaves some of them to others.
//!
//! Who asks is known of the task that answers ([`asked_by`]): what does slow work is called from many handlers, and none can forget to say
//! whom it works for.
use super::problem::Problem;
use crate::access::Principal;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::futures::TaskLocalFuture;

/// How long somebody waits for a place.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of one asker at once, besides those that are answered.
const WAITING_MAX: usize = 64;

tokio::task_local! {
    static ASKER: Arc<str>;
}

/// Answers a request on behalf of who asks.
pub(super) fn asked_by<F: Future>(who: &Principal, answer: F) -> TaskLocalFuture<Arc<str>, F> {
    ASKER.scope(who.name.clone(), answer)
}

/// The places.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    each_max: usize,
    each: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
    patience: Duration,
}

/// A place, held until it is dropped.
pub(super) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_one: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at once, and one asker all but one of them.
    pub fn new(places: usize) -> Turns {
        Turns {
            all: Arc::new(Semaphore::new(places)),
            each_max: places.saturating_sub(1).max(1),
            each: Mutex::default(),
            patience: PATIENCE,
        }
    }

    /// Waits for a place, behind those that the same asker waits for already; not without end, and not in a line without end.
    pub async fn wait(&self) -> Result<Turn, Problem> {
        let asker = ASKER.try_with(Clone::clone).unwrap_or_else(|_| "nobody".into());
        let theirs = self.of(asker)?;
        let turn = async {
            // First one of theirs: who waits for that stands in nobody's way.
            let of_one = theirs.acquire_owned().await.ok()?;
            let of_all = self.all.clone().acquire_owned().await.ok()?;
            Some(Turn { _of_all: of_all, _of_one: of_one })
        };
        tokio::time::timeout(self.patience, turn).await.ok().flatten().ok_or_else(Problem::busy)
    }

    fn of(&self, asker: Arc<str>) -> Result<Arc<Semaphore>, Problem> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(theirs) = each.get(&asker) {
            // One of the references is the table's; each other one is of somebody who waits, or has a place.
            return if Arc::strong_count(theirs) > self.each_max + WAITING_MAX { Err(Problem::busy()) } else { Ok(theirs.clone()) };
        }
        // Nobody is remembered for longer than somebody else needs to come.
        each.retain(|_, theirs| Arc::strong_count(theirs) > 1);
        let theirs = Arc::new(Semaphore::new(self.each_max));
        each.insert(asker, theirs.clone());
        Ok(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;
    use futures_util::future::join_all;

    fn who(uid: u32) -> Principal {
        Principal::peer(uid, Role::Analyst)
    }

    #[tokio::test(start_paused = true)]
    async fn one_asker_leaves_a_place_to_others() {
        let turns = Turns::new(4);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(asked_by(&who(1), turns.wait()).await.expect("a place"));
        }
        let refused = asked_by(&who(1), turns.wait()).await.err().expect("no place in half a minute");
        assert_eq!((refused.status, refused.code.as_ref()), (503, "busy"));
        assert!(refused.retry_after_seconds.is_some());
        let other = asked_by(&who(2), turns.wait()).await.expect("the place that was left");
        let full = asked_by(&who(3), turns.wait());
        tokio::pin!(full);
        assert!(futures_util::poll!(full.as_mut()).is_pending());
        drop(other);
        assert!(full.await.is_ok());
        held.clear();
        assert!(asked_by(&who(1), turns.wait()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_of_one_asker_has_an_end() {
        let turns = Turns::new(4);
        let waits = (0..WAITING_MAX + 50).map(|_| asked_by(&who(1), async { turns.wait().await.map(std::mem::forget) }));
        let refused = {
            let mut waits: Vec<_> = waits.map(Box::pin).collect();
            let polled = join_all(waits.iter_mut().map(|wait| async move { futures_util::poll!(wait.as_mut()) })).await;
            polled.into_iter().filter(|polled| matches!(polled, std::task::Poll::Ready(Err(_)))).count()
        };
        assert_eq!(refused, 50 - 3, "three have a place");
        for uid in 2..100 {
            drop(turns.of(format!("uid {uid}").into()));
        }
        assert!(turns.each.lock().unwrap().len() <= 2, "who neither waits nor has a place is forgotten");
    }
}
