//! How requests to a receiver fared in the last hour, minute by minute: what was long ago says nothing of how it is now.
use std::time::Duration;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
const MINUTES: usize = 60;

/// Requests and those that failed, of the running minute and the 59 before.
#[derive(Clone, Debug)]
pub struct Hour {
    begun: Instant,
    /// The minute since `begun` that was counted last.
    minute: u64,
    counts: [(u64, u64); MINUTES],
}

impl Hour {
    pub fn new(now: Instant) -> Hour {
        Hour { begun: now, minute: 0, counts: [(0, 0); MINUTES] }
    }

    pub fn count(&mut self, failed: bool, now: Instant) {
        self.forget(now);
        let (requests, failures) = &mut self.counts[self.minute as usize % MINUTES];
        *requests += 1;
        *failures += u64::from(failed);
    }

    /// Requests, and how many of them failed.
    pub fn sums(&mut self, now: Instant) -> (u64, u64) {
        self.forget(now);
        self.counts.iter().fold((0, 0), |(requests, failures), minute| (requests + minute.0, failures + minute.1))
    }

    /// Empties the minutes that have passed since it was looked at.
    fn forget(&mut self, now: Instant) {
        let minute = now.duration_since(self.begun).as_secs() / MINUTE.as_secs();
        let passed = minute.saturating_sub(self.minute).min(MINUTES as u64);
        for at in minute + 1 - passed..=minute {
            self.counts[at as usize % MINUTES] = (0, 0);
        }
        self.minute = self.minute.max(minute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_hour_counts() {
        let start = Instant::now();
        let at = |minutes: u64| start + MINUTE * u32::try_from(minutes).expect("few");
        let mut hour = Hour::new(start);
        assert_eq!(hour.sums(start), (0, 0));
        hour.count(true, at(0));
        hour.count(false, at(0));
        hour.count(false, at(30));
        assert_eq!(hour.sums(at(59)), (3, 1));
        assert_eq!(hour.sums(at(60)), (1, 0), "what was in the first minute is over an hour ago");
        hour.count(true, at(89));
        assert_eq!(hour.sums(at(89)), (2, 1));
        assert_eq!(hour.sums(at(90)), (1, 1));
        assert_eq!(hour.sums(at(100_000)), (0, 0));
        for minute in 0..200 {
            hour.count(minute % 2 == 0, at(100_000 + minute));
        }
        assert_eq!(hour.sums(at(100_199)), (60, 30));
    }
}
