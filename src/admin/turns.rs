//! Whose turn it is to have slow work done: there are few places, and one asker leaves some of them to others.
//!
//! Who asks is known of the task that answers ([`asked_by`]): what does slow work is called from many handlers, and none can forget to say
//! whom it works for.
use super::problem::Problem;
use crate::access::Principal;
use crate::access::places::{Share, Shares};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::futures::TaskLocalFuture;

/// How long somebody waits for a place.
const PATIENCE: Duration = Duration::from_secs(30);

tokio::task_local! {
    static ASKER: Arc<str>;
}

/// Answers a request on behalf of who asks.
pub(super) fn asked_by<F: Future>(who: &Principal, answer: F) -> TaskLocalFuture<Arc<str>, F> {
    ASKER.scope(who.name.clone(), answer)
}

/// Work in a task of its own, on behalf of who asks now.
pub(super) fn still_asked<F: Future>(work: F) -> TaskLocalFuture<Arc<str>, F> {
    ASKER.scope(asker(), work)
}

fn asker() -> Arc<str> {
    ASKER.try_with(Clone::clone).unwrap_or_else(|_| "nobody".into())
}

/// The places.
pub(super) struct Turns(Shares<Arc<str>>);

impl Turns {
    /// So many at once, and one asker all but one of them.
    pub fn new(places: u32) -> Turns {
        Turns(Shares::new(places, places.saturating_sub(1), PATIENCE))
    }

    /// Waits for a place, behind those that the same asker waits for already.
    pub async fn wait(&self) -> Result<Share, Problem> {
        self.0.take(asker(), 1).await.ok_or_else(Problem::busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    #[tokio::test(start_paused = true)]
    async fn one_asker_leaves_a_place_to_others_and_is_told_when_to_come_again() {
        let (turns, who) = (Turns::new(4), |uid| Principal::peer(uid, Role::Analyst));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(asked_by(&who(1), turns.wait()).await.expect("a place"));
        }
        let refused = asked_by(&who(1), turns.wait()).await.expect_err("no place in half a minute");
        assert_eq!((refused.status, refused.code.as_ref()), (503, "busy"));
        assert!(refused.retry_after_seconds.is_some());
        assert!(asked_by(&who(2), turns.wait()).await.is_ok());
        let elsewhere = asked_by(&who(1), async { tokio::spawn(still_asked(async { asker() })).await });
        assert_eq!(&*elsewhere.await.expect("it ends"), "uid 1");
    }
}
