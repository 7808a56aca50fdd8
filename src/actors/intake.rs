//! The memory budget of input on its way, and the switch that stops reading.
//!
//! A chunk's permit is its size in KiB; it travels inside messages and comes back when the chunk is durable. Mailboxes
//! need no other bound.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Clone)]
pub struct Intake {
    permits: Arc<Semaphore>,
    total_kib: u32,
    paused: Arc<AtomicBool>,
}

impl Intake {
    pub fn new(in_flight_bytes: usize) -> Intake {
        let total_kib = (in_flight_bytes >> 10).clamp(1, u32::MAX as usize) as u32;
        Intake { permits: Arc::new(Semaphore::new(total_kib as usize)), total_kib, paused: Arc::default() }
    }

    /// Waits for room for `bytes`. A chunk larger than the whole budget takes all of it.
    pub async fn admit(&self, bytes: usize) -> OwnedSemaphorePermit {
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).saturating_add(1).min(self.total_kib);
        self.permits.clone().acquire_many_owned(kib).await.expect("the semaphore is never closed")
    }

    /// Stops or resumes reading; what is on its way goes on.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Bytes on their way, and the most there may be.
    pub fn usage(&self) -> (u64, u64) {
        let total = u64::from(self.total_kib) << 10;
        (total - ((self.permits.available_permits() as u64) << 10), total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn permits_bound_what_is_on_its_way_and_come_back() {
        let intake = Intake::new(10 << 10);
        let first = intake.admit(5 << 10).await;
        assert_eq!(intake.usage(), (6 << 10, 10 << 10));
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), intake.admit(5 << 10)).await;
        assert!(waiting.is_err(), "there is no room");
        drop(first);
        let whole = intake.admit(1 << 30).await;
        assert_eq!(intake.usage().0, 10 << 10);
        drop(whole);
        assert_eq!(intake.usage().0, 0);
    }
}
