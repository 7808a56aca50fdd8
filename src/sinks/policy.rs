//! When to send, how much, how often, and when to stop trying: every decision of the delivery, without a clock of its own.
//!
//! Time and chance are parameters (`now`; `random` in 0..1), so that each case is a line of a test.
use std::time::Duration;
use tokio::time::Instant;

/// A receiver that asks for more patience than this is asked again all the same.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// Exponential backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

impl Backoff {
    /// How long to wait behind failure number `failures` (from 1): anything up to twice the ceiling of the failure before, so that
    /// many who failed together do not come back together (full jitter). Never before `asked`, what the receiver asked for.
    pub fn delay(&self, failures: u32, asked: Option<Duration>, random: f64) -> Duration {
        let ceiling = self.initial.saturating_mul(1 << failures.saturating_sub(1).min(24)).min(self.max);
        // A millisecond at least: a delay of nothing is a busy loop.
        let delay = ceiling.mul_f64(random.clamp(0.0, 1.0)).max(Duration::from_millis(1));
        delay.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX))
    }
}

/// Whether requests are sent at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// As many as are allowed.
    Closed,
    /// None before this.
    Open { until: Instant },
    /// One is under way, to see.
    HalfOpen,
}

/// Stops sending to a receiver that fails again and again, and tries it with single requests from time to time.
#[derive(Clone, Debug)]
pub struct Breaker {
    failures_max: u32,
    failures: u32,
    circuit: Circuit,
}

impl Breaker {
    pub fn new(failures_max: u32) -> Breaker {
        Breaker { failures_max: failures_max.max(1), failures: 0, circuit: Circuit::Closed }
    }

    pub fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether a request may begin now; one that may has to be answered with [`Breaker::succeeded`] or [`Breaker::failed`].
    pub fn admit(&mut self, now: Instant) -> bool {
        match self.circuit {
            Circuit::Closed => true,
            Circuit::Open { until } if now >= until => {
                self.circuit = Circuit::HalfOpen;
                true
            }
            Circuit::Open { .. } | Circuit::HalfOpen => false,
        }
    }

    /// The receiver answered, whatever it said of the items.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.circuit = Circuit::Closed;
    }

    /// The receiver failed; were the circuit to open, it would stay so for `wait`.
    pub fn failed(&mut self, now: Instant, wait: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.failures_max || self.circuit != Circuit::Closed {
            self.open(now, wait);
        }
    }

    /// Opens at once: the receiver cannot be used as it is configured.
    pub fn open(&mut self, now: Instant, wait: Duration) {
        let until = now + wait;
        self.circuit = match self.circuit {
            // Failures of requests that had begun before do not shorten the wait.
            Circuit::Open { until: later } if later > until => Circuit::Open { until: later },
            _ => Circuit::Open { until },
        };
    }

    /// Forgets what happened: the operator asks to try again.
    pub fn reset(&mut self) {
        *self = Breaker::new(self.failures_max);
    }
}

/// How many requests may be under way: one more for every round that went well, half as many when the receiver shows strain.
#[derive(Clone, Debug)]
pub struct Concurrency {
    limit: usize,
    max: usize,
    succeeded: usize,
}

impl Concurrency {
    pub fn new(max: usize) -> Concurrency {
        Concurrency { limit: 1, max: max.max(1), succeeded: 0 }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn succeeded(&mut self) {
        self.succeeded += 1;
        if self.succeeded >= self.limit {
            self.succeeded = 0;
            self.limit = (self.limit + 1).min(self.max);
        }
    }

    pub fn strained(&mut self) {
        self.succeeded = 0;
        self.limit = (self.limit / 2).max(1);
    }
}

/// How large batches may be: halved when the receiver finds them too large or shows strain, and slowly larger again.
#[derive(Clone, Copy, Debug)]
pub struct BatchSize {
    items: usize,
    bytes: usize,
    items_max: usize,
    bytes_max: usize,
}

/// Batches do not get smaller than this; a single item may be larger.
const BATCH_BYTES_MIN: usize = 4 << 10;

impl BatchSize {
    pub fn new(items_max: usize, bytes_max: usize) -> BatchSize {
        let (items_max, bytes_max) = (items_max.max(1), bytes_max.max(1));
        BatchSize { items: items_max, bytes: bytes_max, items_max, bytes_max }
    }

    pub fn limits(&self) -> super::feed::BatchLimits {
        super::feed::BatchLimits { items: self.items, bytes: self.bytes }
    }

    pub fn halve(&mut self) {
        self.items = (self.items / 2).max(1);
        self.bytes = (self.bytes / 2).max(BATCH_BYTES_MIN.min(self.bytes_max));
    }

    /// A batch arrived.
    pub fn grow(&mut self) {
        self.items = (self.items + self.items_max.div_ceil(32)).min(self.items_max);
        self.bytes = (self.bytes + self.bytes_max.div_ceil(32)).min(self.bytes_max);
    }
}

/// The two halves of a batch of `items`, in which the one is looked for that the receiver refuses; `None` when it is found.
pub fn bisect(items: usize) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    (items > 1).then_some((0..items / 2, items / 2..items))
}

/// Keeps a misconfigured receiver from turning everything into dead letters: after so many refusals without one delivery between
/// them, nothing more is given up.
#[derive(Clone, Debug)]
pub struct Brake {
    refused_max: u32,
    refused: u32,
}

impl Brake {
    pub fn new(refused_max: u32) -> Brake {
        Brake { refused_max: refused_max.max(1), refused: 0 }
    }

    pub fn delivered(&mut self) {
        self.refused = 0;
    }

    /// Whether an item that was refused may become a dead letter.
    pub fn may_give_up(&mut self) -> bool {
        let may = self.refused < self.refused_max;
        self.refused = self.refused.saturating_add(1);
        may
    }

    pub fn is_on(&self) -> bool {
        self.refused >= self.refused_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_ceiling_and_are_jittered_over_all_of_it() {
        let backoff = Backoff { initial: SECOND, max: 60 * SECOND };
        for (failures, ceiling) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (100, 60), (u32::MAX, 60)] {
            assert_eq!(backoff.delay(failures, None, 1.0), ceiling * SECOND, "{failures}");
            assert_eq!(backoff.delay(failures, None, 0.5), ceiling * SECOND / 2);
            assert_eq!(backoff.delay(failures, None, 0.0), Duration::from_millis(1), "never a busy loop");
        }
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        let backoff = Backoff { initial: SECOND, max: 60 * SECOND };
        assert_eq!(backoff.delay(1, Some(30 * SECOND), 0.3), 30 * SECOND);
        assert_eq!(backoff.delay(7, Some(SECOND), 1.0), 60 * SECOND, "its own patience is longer");
        assert_eq!(backoff.delay(1, Some(Duration::from_secs(1 << 40)), 0.3), RETRY_AFTER_MAX);
    }

    #[test]
    fn the_circuit_opens_after_failures_in_a_row_and_probes_with_one_request() {
        let start = Instant::now();
        let mut breaker = Breaker::new(3);
        for _ in 0..2 {
            assert!(breaker.admit(start));
            breaker.failed(start, SECOND);
        }
        breaker.succeeded();
        for _ in 0..3 {
            assert!(breaker.admit(start));
            breaker.failed(start, SECOND);
        }
        assert_eq!(breaker.circuit(), Circuit::Open { until: start + SECOND });
        assert!(!breaker.admit(start));
        let later = start + SECOND;
        assert!(breaker.admit(later));
        assert!(!breaker.admit(later), "one probe only");
        breaker.failed(later, 2 * SECOND);
        assert!(!breaker.admit(later + SECOND));
        assert!(breaker.admit(later + 2 * SECOND));
        breaker.succeeded();
        assert!(breaker.admit(later) && breaker.admit(later));
        assert_eq!(breaker.failures(), 0);
    }

    #[test]
    fn answers_to_older_requests_do_not_shorten_the_wait() {
        let start = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.open(start, 60 * SECOND);
        breaker.failed(start, SECOND);
        assert_eq!(breaker.circuit(), Circuit::Open { until: start + 60 * SECOND });
    }

    #[test]
    fn concurrency_grows_by_one_a_round_and_halves_under_strain() {
        let mut concurrency = Concurrency::new(4);
        let mut limits = Vec::new();
        for _ in 0..10 {
            limits.push(concurrency.limit());
            concurrency.succeeded();
        }
        assert_eq!(limits, [1, 2, 2, 3, 3, 3, 4, 4, 4, 4]);
        concurrency.strained();
        assert_eq!(concurrency.limit(), 2);
        (0..5).for_each(|_| concurrency.strained());
        assert_eq!(concurrency.limit(), 1);
    }

    #[test]
    fn batches_shrink_at_once_and_grow_slowly() {
        let mut size = BatchSize::new(500, 1 << 20);
        (0..20).for_each(|_| size.halve());
        assert_eq!(size.limits(), super::super::feed::BatchLimits { items: 1, bytes: BATCH_BYTES_MIN });
        size.grow();
        assert_eq!(size.limits().items, 17);
        (0..100).for_each(|_| size.grow());
        assert_eq!(size.limits(), super::super::feed::BatchLimits { items: 500, bytes: 1 << 20 });
    }

    #[test]
    fn one_poison_item_is_found_in_a_logarithm_of_requests() {
        for poison in 0..1000 {
            let (mut range, mut requests) = (0..1000, 1);
            while let Some((left, right)) = bisect(range.len()) {
                let (left, right) = (range.start + left.start..range.start + left.end, range.start + right.start..range.start + right.end);
                requests += 2;
                range = if left.contains(&poison) { left } else { right };
            }
            assert_eq!(range, poison..poison + 1);
            assert!(requests <= 1 + 2 * 10, "{requests}");
        }
    }

    #[test]
    fn the_brake_holds_until_something_is_delivered() {
        let mut brake = Brake::new(3);
        assert_eq!([(); 5].map(|()| brake.may_give_up()), [true, true, true, false, false]);
        assert!(brake.is_on());
        brake.delivered();
        assert!(!brake.is_on() && brake.may_give_up());
    }
}
