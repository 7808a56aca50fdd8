//! Restart in place: an actor whose code panics goes on at the same address, with a new state and its queued messages.
//!
//! actix's own supervisor restarts actors that stop, but never one that panicked: its future is dropped and the address
//! closes for good. So the actor's future is driven here, each poll under `catch_unwind`, and restarted in place with
//! jittered backoff until the budget of restarts is spent.
use crate::telemetry::Telemetry;
use crate::telemetry::events::{ActorRestarted, RestartBudgetSpent};
use crate::telemetry::metrics::Actor as Kind;
use actix::dev::{ContextFut, channel};
use actix::{Actor, Addr, ArbiterHandle, Context, Supervised};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

/// Exit code when the budget of restarts is spent: systemd starts the process again.
pub const EXIT_BUDGET_SPENT: i32 = 70;

/// How often actors may be restarted before the process gives up.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub restarts_max: u32,
    pub window: Duration,
    pub delay_min: Duration,
    pub delay_max: Duration,
}

/// The delay before restart number `attempt` (from 0): exponential with full jitter, `random` in 0..1.
fn delay(policy: &Policy, attempt: u32, random: f64) -> Duration {
    let ceiling = policy.delay_min.saturating_mul(1 << attempt.min(16)).min(policy.delay_max);
    policy.delay_min.max(ceiling.mul_f64(random))
}

/// The budget all actors share.
#[derive(Clone)]
pub struct Budget {
    policy: Policy,
    spent: Arc<Mutex<VecDeque<Instant>>>,
    restarts: Arc<Mutex<BTreeMap<String, u64>>>,
    pub telemetry: Telemetry,
}

enum Verdict {
    Restart { after: Duration, restarts: u32 },
    GiveUp { restarts: u32 },
}

impl Budget {
    pub fn new(policy: Policy, telemetry: Telemetry) -> Budget {
        Budget { policy, spent: Arc::default(), restarts: Arc::default(), telemetry }
    }

    /// How often the actor of this name was restarted since the start.
    pub fn restarts(&self, name: &str) -> u64 {
        self.restarts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(name).copied().unwrap_or(0)
    }

    fn count(&self, name: &str) {
        *self.restarts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).entry(name.to_owned()).or_default() += 1;
    }

    fn spend(&self, now: Instant, random: f64) -> Verdict {
        let mut spent = self.spent.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        spent.retain(|&at| now.duration_since(at) < self.policy.window);
        let restarts = spent.len() as u32;
        if restarts >= self.policy.restarts_max {
            return Verdict::GiveUp { restarts };
        }
        spent.push_back(now);
        Verdict::Restart { after: delay(&self.policy, restarts, random), restarts: restarts + 1 }
    }
}

/// Starts an actor on `arbiter` under the budget. `name` tells actors of one kind apart in the log.
pub fn start<A>(
    arbiter: &ArbiterHandle,
    budget: &Budget,
    kind: Kind,
    name: &str,
    make: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let (sender, receiver) = channel::channel(MAILBOX);
    let (budget, name) = (budget.clone(), name.to_owned());
    arbiter.spawn_fn(move || {
        let mut context = Context::with_receiver(receiver);
        let actor = make(&mut context);
        actix::spawn(Driver { future: Some(context.into_future(actor)), pause: None, budget, kind, name });
    });
    Addr::new(sender)
}

/// Only a hint to actix; what bounds the memory are the permits that chunks carry.
const MAILBOX: usize = 64;

struct Driver<A: Actor<Context = Context<A>> + Supervised> {
    future: Option<ContextFut<A, Context<A>>>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    budget: Budget,
    kind: Kind,
    name: String,
}

impl<A: Actor<Context = Context<A>> + Supervised> Unpin for Driver<A> {}

impl<A: Actor<Context = Context<A>> + Supervised> Driver<A> {
    /// After a panic. False: the actor is not to be polled again.
    fn restart(&mut self, cause: &str) -> bool {
        match self.budget.spend(Instant::now(), rand::random()) {
            Verdict::Restart { after, restarts } => {
                let (actor, name) = (self.kind, self.name.as_str());
                self.budget.count(name);
                self.budget.telemetry.emit(&ActorRestarted { actor, name, cause, restarts_in_window: restarts, delay: after });
                self.pause = Some(Box::pin(tokio::time::sleep(after)));
                true
            }
            Verdict::GiveUp { restarts } => {
                let (actor, name) = (self.kind, self.name.as_str());
                self.budget.telemetry.emit(&RestartBudgetSpent { actor, name, cause, restarts_in_window: restarts });
                actix::System::current().stop_with_code(EXIT_BUDGET_SPENT);
                false
            }
        }
    }
}

impl<A: Actor<Context = Context<A>> + Supervised> Future for Driver<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let Some(future) = &mut this.future else { return Poll::Ready(()) };
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
                // `restarting` rebuilds the actor's state; it may panic as well as any other code.
                match catch_unwind(AssertUnwindSafe(|| future.restart())) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Ready(()),
                    Err(panic) if this.restart(&message(&*panic)) => continue,
                    Err(_) => {
                        this.future = None;
                        return Poll::Ready(());
                    }
                }
            }
            match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))) {
                Ok(poll) => return poll,
                Err(panic) if this.restart(&message(&*panic)) => {}
                Err(_) => {
                    this.future = None;
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// What a panic said.
pub fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{AsyncContext, Handler, Message};

    const POLICY: Policy = Policy {
        restarts_max: 3,
        window: Duration::from_secs(60),
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(5),
    };

    struct Counter {
        state: u32,
        started: Arc<Mutex<u32>>,
        panic_in_timer: bool,
    }

    impl Actor for Counter {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            *self.started.lock().unwrap() += 1;
            if self.panic_in_timer {
                ctx.run_later(Duration::from_millis(1), |_, _| panic!("in a timer"));
            }
        }
    }

    impl Supervised for Counter {
        fn restarting(&mut self, _: &mut Self::Context) {
            self.state = 0;
        }
    }

    #[derive(Message)]
    #[rtype(result = "u32")]
    struct Add(u32);

    impl Handler<Add> for Counter {
        type Result = u32;
        fn handle(&mut self, Add(number): Add, _: &mut Self::Context) -> u32 {
            assert!(number != 13, "thirteen");
            self.state += number;
            self.state
        }
    }

    fn counter(panic_in_timer: bool) -> (Addr<Counter>, Arc<Mutex<u32>>) {
        let started = Arc::new(Mutex::new(0));
        let in_actor = started.clone();
        let budget = Budget::new(POLICY, Telemetry::unlogged());
        let arbiter = actix::Arbiter::current();
        let addr = start(&arbiter, &budget, Kind::Metrics, "test", move |_| Counter { state: 0, started: in_actor, panic_in_timer });
        (addr, started)
    }

    #[actix::test]
    async fn a_panic_costs_the_state_and_the_message_and_nothing_else() {
        let (addr, started) = counter(false);
        assert_eq!(addr.send(Add(1)).await.unwrap(), 1);
        addr.do_send(Add(13));
        let queued = addr.send(Add(5));
        assert_eq!(queued.await.unwrap(), 5, "the same address, the queued message, a new state");
        assert_eq!(*started.lock().unwrap(), 2);
    }

    #[test]
    fn a_spent_budget_ends_the_process_with_its_code() {
        let runner = actix::System::new();
        runner.block_on(async {
            let (_addr, _) = counter(true);
            std::mem::forget(_addr);
        });
        assert_eq!(runner.run_with_code().unwrap(), EXIT_BUDGET_SPENT);
    }

    #[test]
    fn delays_grow_to_their_limit_and_are_jittered() {
        let policy = Policy { delay_min: Duration::from_millis(100), delay_max: Duration::from_secs(5), ..POLICY };
        for (attempt, random, expected_ms) in [(0, 0.0, 100), (0, 1.0, 100), (3, 1.0, 800), (3, 0.5, 400), (10, 1.0, 5_000), (60, 0.0, 100)]
        {
            assert_eq!(delay(&policy, attempt, random), Duration::from_millis(expected_ms), "{attempt} {random}");
        }
    }
}
