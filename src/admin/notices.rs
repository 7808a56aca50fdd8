//! What came of an order that a form gave. The form's answer leads to a page (303), which tells it this once: loading that page again
//! repeats neither the order nor the words.
use crate::page::sinks::Done;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who does not look within so long finds out from the page's state.
const AGE_MAX: Duration = Duration::from_secs(120);
/// Notices at once; of more the oldest goes.
const NOTICES_MAX: usize = 256;

/// The notices nobody has seen yet: by whose they are (the token of their forms) and the sink's name.
#[derive(Default)]
pub(super) struct Notices(Mutex<HashMap<(String, String), (Instant, Done)>>);

impl Notices {
    pub fn leave(&self, whose: &str, sink: &str, done: Done, now: Instant) {
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notices.retain(|_, (at, _)| now.duration_since(*at) < AGE_MAX);
        if notices.len() >= NOTICES_MAX {
            let oldest = notices.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| key.clone());
            oldest.map(|oldest| notices.remove(&oldest));
        }
        notices.insert((whose.to_owned(), sink.to_owned()), (now, done));
    }

    /// Tells it once.
    pub fn take(&self, whose: &str, sink: &str, now: Instant) -> Option<Done> {
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, done) = notices.remove(&(whose.to_owned(), sink.to_owned()))?;
        (now.duration_since(at) < AGE_MAX).then_some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_told_once_to_whoever_gave_the_order_and_soon() {
        let (notices, now) = (Notices::default(), Instant::now());
        notices.leave("a", "siem", Done::Paused, now);
        assert_eq!(notices.take("b", "siem", now), None);
        assert_eq!(notices.take("a", "other", now), None);
        assert_eq!(notices.take("a", "siem", now), Some(Done::Paused));
        assert_eq!(notices.take("a", "siem", now), None);
        notices.leave("a", "siem", Done::Paused, now);
        notices.leave("a", "siem", Done::Resumed, now);
        assert_eq!(notices.take("a", "siem", now), Some(Done::Resumed), "the newest");
        notices.leave("a", "siem", Done::Paused, now);
        assert_eq!(notices.take("a", "siem", now + AGE_MAX), None);
    }

    #[test]
    fn there_are_so_many() {
        let (notices, start) = (Notices::default(), Instant::now());
        for at in 0..=NOTICES_MAX as u64 {
            notices.leave(&at.to_string(), "siem", Done::Paused, start + Duration::from_millis(at));
        }
        assert_eq!(notices.0.lock().unwrap().len(), NOTICES_MAX);
        assert_eq!(notices.take("0", "siem", start), None);
        assert_eq!(notices.take("1", "siem", start), Some(Done::Paused));
    }
}
