//! Whether a service may be asked now: its quota, and how long it is left alone after a failure.
//!
//! Time and chance are parameters, as in [`crate::sinks::policy`]; times are those of the wall clock, because what was used of today's
//! quota and until when a service is left alone hold across restarts.
use crate::events::Micros;
use crate::events::time::{self, MICROS_PER_DAY};
use crate::sinks::policy::Backoff;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Most requests a minute that can be asked for: their times are kept.
pub const PER_MINUTE_MAX: u32 = 240;
const MINUTE: Micros = 60 * time::MICROS_PER_SECOND;
/// A service is never left alone for longer.
pub const COOLDOWN_MAX: Duration = Duration::from_secs(3600);
/// Answers in a row that cannot be used, and the service is left alone; of one that does not answer the first is enough.
const UNUSABLE_MAX: u32 = 3;

/// How many requests are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// In any sixty seconds.
    pub per_minute: u32,
    /// In a day of UTC.
    pub per_day: u32,
}

/// Why a service is not asked, and from when on it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Minute { until: Micros },
    Day { until: Micros },
    Cooldown { until: Micros },
}

impl Hold {
    pub fn until(self) -> Micros {
        match self {
            Hold::Minute { until } | Hold::Day { until } | Hold::Cooldown { until } => until,
        }
    }
}

/// Where a service stands; what is kept of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Day (since 1970) of `used`.
    day: i32,
    used: u32,
    /// Requests of the last minute.
    recent: VecDeque<Micros>,
    /// Failures in a row.
    failures: u32,
    /// Of them, answers that could not be used.
    unusable: u32,
    cooldown_until: Micros,
    /// All requests so far, and questions that were answered without one.
    pub requests: u64,
    pub hits: u64,
}

impl Standing {
    /// Takes a request out of the quota, if it is allowed now.
    pub fn admit(&mut self, quota: Quota, now: Micros) -> Result<(), Hold> {
        if let Some(hold) = self.hold(quota, now) {
            return Err(hold);
        }
        let today = time::day_of(now);
        if self.day != today {
            (self.day, self.used) = (today, 0);
        }
        self.used += 1;
        self.requests += 1;
        self.recent.retain(|at| (now - MINUTE..=now).contains(at) && *at > now - MINUTE);
        self.recent.push_back(now);
        // While a probe is under way the others wait for what it finds.
        if self.is_cooling() {
            self.cooldown_until = now.saturating_add(MINUTE);
        }
        Ok(())
    }

    /// Why no request is allowed now.
    pub fn hold(&self, quota: Quota, now: Micros) -> Option<Hold> {
        if self.is_cooling() {
            // A clock that was set back does not make it longer than it can be.
            let until = self.cooldown_until.min(now.saturating_add(COOLDOWN_MAX.as_micros() as Micros));
            if now < until {
                return Some(Hold::Cooldown { until });
            }
        }
        if self.left_today(quota, now) == 0 {
            return Some(Hold::Day { until: (i64::from(time::day_of(now)) + 1) * MICROS_PER_DAY });
        }
        let mut within = self.recent.iter().copied().filter(|at| *at > now - MINUTE && *at <= now).collect::<Vec<_>>();
        within.sort_unstable();
        let allowed = quota.per_minute.clamp(1, PER_MINUTE_MAX) as usize;
        let oldest = within.len().checked_sub(allowed).map(|index| within[index])?;
        Some(Hold::Minute { until: oldest + MINUTE })
    }

    pub fn left_today(&self, quota: Quota, now: Micros) -> u32 {
        let used = if self.day == time::day_of(now) { self.used } else { 0 };
        quota.per_day.saturating_sub(used)
    }

    /// Whether the last requests failed and it is left alone, or about to be tried again.
    pub fn is_cooling(&self) -> bool {
        self.cooldown_until > 0
    }

    /// It answered. True: it was left alone before.
    pub fn succeeded(&mut self) -> bool {
        let was_cooling = self.is_cooling();
        (self.failures, self.unusable, self.cooldown_until) = (0, 0, 0);
        was_cooling
    }

    /// It did not answer, or not before `asked`. Answers how long it is left alone.
    pub fn failed(&mut self, cooldown: Duration, asked: Option<Duration>, now: Micros, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let backoff = Backoff { initial: cooldown, max: COOLDOWN_MAX.max(cooldown) };
        let ceiling = backoff.delay(self.failures, None, 1.0);
        // Half of it is certain: a cooldown of nothing is none.
        let wait =
            (ceiling / 2 + backoff.delay(self.failures, None, random) / 2).max(asked.unwrap_or_default()).min(COOLDOWN_MAX.max(cooldown));
        let until = now.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
        self.cooldown_until = self.cooldown_until.max(until);
        wait
    }

    /// It answered with what cannot be used: it may be about this value only, so it takes a few to leave it alone.
    pub fn unusable(&mut self, cooldown: Duration, now: Micros, random: f64) -> Option<Duration> {
        self.unusable = self.unusable.saturating_add(1);
        (self.is_cooling() || self.unusable >= UNUSABLE_MAX).then(|| self.failed(cooldown, None, now, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 1_774_200_000 * time::MICROS_PER_SECOND;
    const SECOND: Micros = time::MICROS_PER_SECOND;
    const QUOTA: Quota = Quota { per_minute: 4, per_day: 10 };
    const COOLDOWN: Duration = Duration::from_secs(60);

    #[test]
    fn in_any_sixty_seconds_there_are_no_more_than_allowed() {
        let (mut standing, mut admitted) = (Standing::default(), Vec::new());
        for second in 0..300 {
            let now = NOW + second * SECOND;
            match standing.admit(Quota { per_day: 1000, ..QUOTA }, now) {
                Ok(()) => admitted.push(second),
                Err(Hold::Minute { until }) => assert_eq!(until, NOW + (admitted[admitted.len() - 4] + 60) * SECOND),
                Err(hold) => panic!("{hold:?}"),
            }
        }
        assert_eq!(admitted.len(), 20);
        assert!(admitted.windows(5).all(|five| five[4] - five[0] >= 60), "{admitted:?}");
    }

    #[test]
    fn a_day_has_its_quota_and_the_next_one_another() {
        let mut standing = Standing::default();
        let midnight = (NOW / MICROS_PER_DAY + 1) * MICROS_PER_DAY;
        for request in 0..10 {
            assert_eq!(standing.left_today(QUOTA, NOW + request * 20 * SECOND), 10 - request as u32);
            assert_eq!(standing.admit(QUOTA, NOW + request * 20 * SECOND), Ok(()));
        }
        assert_eq!(standing.admit(QUOTA, NOW + 3600 * SECOND), Err(Hold::Day { until: midnight }));
        assert_eq!(standing.admit(QUOTA, midnight), Ok(()));
        assert_eq!((standing.left_today(QUOTA, midnight), standing.requests), (9, 11));
        assert_eq!(Standing::default().admit(Quota { per_day: 0, ..QUOTA }, NOW), Err(Hold::Day { until: midnight }));
    }

    #[test]
    fn a_service_that_fails_is_left_alone_twice_as_long_each_time() {
        let mut standing = Standing::default();
        for (failure, ceiling) in [(1, 60), (2, 120), (3, 240), (7, 3600), (8, 3600)] {
            standing.failures = failure - 1;
            assert_eq!(standing.clone().failed(COOLDOWN, None, NOW, 1.0), Duration::from_secs(ceiling));
            assert!(standing.clone().failed(COOLDOWN, None, NOW, 0.0) >= Duration::from_secs(ceiling / 2));
        }
        let mut standing = Standing::default();
        standing.failed(COOLDOWN, Some(Duration::from_secs(500)), NOW, 0.5);
        let until = NOW + 500 * SECOND;
        assert_eq!(standing.admit(QUOTA, until - 1), Err(Hold::Cooldown { until }));
        assert_eq!(standing.clone().failed(COOLDOWN, Some(Duration::from_secs(1 << 40)), NOW, 0.5), COOLDOWN_MAX);
        assert_eq!(standing.admit(QUOTA, until), Ok(()), "one probe");
        assert!(matches!(standing.admit(QUOTA, until), Err(Hold::Cooldown { .. })), "and no other while it is under way");
        assert!(standing.succeeded());
        assert_eq!(standing.admit(QUOTA, until), Ok(()));
        assert!(!standing.succeeded(), "told once");
    }

    #[test]
    fn answers_that_cannot_be_used_are_borne_for_a_while() {
        let mut standing = Standing::default();
        assert_eq!([(); 2].map(|()| standing.unusable(COOLDOWN, NOW, 1.0)), [None, None]);
        assert_eq!(standing.unusable(COOLDOWN, NOW, 1.0), Some(COOLDOWN));
        assert!(matches!(standing.hold(QUOTA, NOW), Some(Hold::Cooldown { .. })));
        standing.succeeded();
        assert_eq!(standing.unusable(COOLDOWN, NOW, 1.0), None);
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing_for_long() {
        let mut standing = Standing::default();
        let year = 365 * MICROS_PER_DAY;
        for _ in 0..4 {
            standing.admit(QUOTA, NOW + year).unwrap();
        }
        standing.failed(COOLDOWN, None, NOW + year, 1.0);
        let hold = standing.hold(QUOTA, NOW).expect("cooling");
        assert!(hold.until() <= NOW + COOLDOWN_MAX.as_micros() as Micros);
        standing.succeeded();
        assert_eq!(standing.hold(QUOTA, NOW), None);
    }
}
