//! Answers that take long to make and may be a little old: what the page lists goes through millions of values. One at a time makes an
//! answer, whoever else asks for the same waits for it; it holds at least so long, and twenty times as long as it took to make, so that
//! however many look, and however often, it takes a twentieth of a core.
use super::problem::Problem;
use super::turns::still_asked;
use actix_web::rt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many times as long as it took to make an answer holds, and no longer than that: waiting for a turn counts, too.
const REST: u32 = 20;
const REST_MAX: Duration = Duration::from_secs(120);
/// Different questions whose answers are kept; of more the one asked longest ago goes.
const ANSWERS_MAX: usize = 16;
/// Longest question, bytes: a longer one is answered and not kept.
const QUESTION_BYTES_MAX: usize = 1_024;

/// Answers by question.
pub(super) struct Kept<T> {
    /// An answer holds at least so long.
    fresh: Duration,
    /// One that is not much older is told as it is, while a newer one is made.
    stale: Duration,
    entries: Mutex<HashMap<String, Arc<Entry<T>>>>,
}

struct Entry<T> {
    /// When somebody asked last.
    asked: Mutex<Instant>,
    made: Mutex<Option<Made<T>>>,
    making: tokio::sync::Mutex<()>,
}

struct Made<T> {
    at: Instant,
    took: Duration,
    answer: Arc<T>,
}

enum Look<T> {
    Fresh(Arc<T>),
    Stale(Arc<T>),
    Nothing,
}

impl<T: 'static> Kept<T> {
    pub fn new(fresh: Duration, stale: Duration) -> Kept<T> {
        Kept { fresh, stale, entries: Mutex::default() }
    }

    /// The answer to a question. `make` goes on when whoever asked goes away: the next one has it.
    pub async fn of(&self, question: &str, make: impl AsyncFnOnce() -> Result<T, Problem> + 'static) -> Result<Arc<T>, Problem> {
        let (entry, fresh) = (self.entry(question), self.fresh);
        match entry.look(fresh, self.stale) {
            Look::Fresh(answer) => Ok(answer),
            Look::Stale(answer) => {
                rt::spawn(still_asked(async move {
                    // Somebody is at it already; what goes wrong, who asks next is told.
                    let Ok(_making) = entry.making.try_lock() else { return };
                    let _ = entry.renew(make).await;
                }));
                Ok(answer)
            }
            Look::Nothing => {
                let made = rt::spawn(still_asked(async move {
                    let _making = entry.making.lock().await;
                    match entry.look(fresh, Duration::ZERO) {
                        Look::Fresh(answer) => Ok(answer),
                        _ => entry.renew(make).await,
                    }
                }));
                made.await.map_err(|panic| Problem::failed(&panic))?
            }
        }
    }

    /// Forgets all answers; one that is being made is told to who waits for it, and not kept.
    pub fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn entry(&self, question: &str) -> Arc<Entry<T>> {
        let new = || Arc::new(Entry { asked: Mutex::new(Instant::now()), made: Mutex::new(None), making: tokio::sync::Mutex::default() });
        if question.len() > QUESTION_BYTES_MAX {
            return new();
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ANSWERS_MAX && !entries.contains_key(question) {
            let oldest = entries.iter().min_by_key(|(_, entry)| *entry.asked()).map(|(question, _)| question.clone());
            oldest.map(|oldest| entries.remove(&oldest));
        }
        let entry = entries.entry(question.to_owned()).or_insert_with(new);
        *entry.asked() = Instant::now();
        entry.clone()
    }
}

impl<T> Entry<T> {
    fn asked(&self) -> MutexGuard<'_, Instant> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, fresh: Duration, stale: Duration) -> Look<T> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Made { at, took, answer }) = &*made else { return Look::Nothing };
        let holds = fresh.max((*took * REST).min(REST_MAX));
        match at.elapsed() {
            age if age < holds => Look::Fresh(answer.clone()),
            age if age < holds + stale => Look::Stale(answer.clone()),
            _ => Look::Nothing,
        }
    }

    async fn renew(&self, make: impl AsyncFnOnce() -> Result<T, Problem>) -> Result<Arc<T>, Problem> {
        let begun = Instant::now();
        let answer = Arc::new(make().await?);
        let made = Made { at: Instant::now(), took: begun.elapsed(), answer: answer.clone() };
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    const LONG: Duration = Duration::from_secs(3_600);

    /// Counts how often an answer is made, and makes it when it is let.
    #[derive(Clone, Default)]
    struct Work {
        begun: Rc<Cell<u32>>,
        go: Rc<tokio::sync::Notify>,
    }

    impl Work {
        fn at_once(&self) -> impl AsyncFnOnce() -> Result<u32, Problem> + 'static {
            let work = self.clone();
            async move || {
                work.begun.set(work.begun.get() + 1);
                Ok(work.begun.get())
            }
        }

        fn when_let(&self) -> impl AsyncFnOnce() -> Result<u32, Problem> + 'static {
            let work = self.clone();
            async move || {
                work.begun.set(work.begun.get() + 1);
                work.go.notified().await;
                Ok(work.begun.get())
            }
        }
    }

    #[actix_web::test]
    async fn many_who_ask_the_same_wait_for_one_answer() {
        let (kept, work) = (Kept::new(LONG, Duration::ZERO), Work::default());
        let asked = futures_util::future::join_all((0..50).map(|_| kept.of("q", work.when_let())));
        work.go.notify_one();
        assert!(asked.await.into_iter().all(|answer| *answer.expect("made") == 1));
        assert_eq!(*kept.of("q", work.at_once()).await.expect("kept"), 1);
        assert_eq!(*kept.of("other", work.at_once()).await.expect("made"), 2);
        kept.clear();
        assert_eq!(*kept.of("q", work.at_once()).await.expect("made"), 3, "what was kept is forgotten");
    }

    #[actix_web::test]
    async fn an_answer_that_has_aged_is_told_while_a_newer_one_is_made() {
        let (kept, work) = (Kept::new(Duration::ZERO, LONG), Work::default());
        assert_eq!(*kept.of("q", work.at_once()).await.expect("made"), 1);
        // It took next to nothing, so it holds next to nothing.
        while matches!(kept.entry("q").look(Duration::ZERO, LONG), Look::Fresh(_)) {
            tokio::task::yield_now().await;
        }
        for _ in 0..5 {
            assert_eq!(*kept.of("q", work.when_let()).await.expect("kept"), 1);
            tokio::task::yield_now().await;
        }
        assert_eq!(work.begun.get(), 2, "one makes the newer");
        work.go.notify_one();
        while matches!(kept.entry("q").look(Duration::ZERO, LONG), Look::Stale(answer) | Look::Fresh(answer) if *answer == 1) {
            tokio::task::yield_now().await;
        }
    }

    #[actix_web::test]
    async fn what_fails_is_tried_again_and_little_is_kept() {
        let (kept, work) = (Kept::new(LONG, Duration::ZERO), Work::default());
        assert!(kept.of("q", async || Err(Problem::busy())).await.is_err());
        assert_eq!(*kept.of("q", work.at_once()).await.expect("made"), 1);
        for at in 0..100 {
            assert!(kept.of(&at.to_string(), work.at_once()).await.is_ok());
        }
        assert_eq!(kept.entries.lock().unwrap().len(), ANSWERS_MAX);
        let long = "x".repeat(QUESTION_BYTES_MAX + 1);
        let before = work.begun.get();
        assert!(kept.of(&long, work.at_once()).await.is_ok() && kept.of(&long, work.at_once()).await.is_ok());
        assert_eq!(work.begun.get(), before + 2);
    }
}
