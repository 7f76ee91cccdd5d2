//! What was looked up a moment ago, for all who look at the same page: however many there are, the database is asked once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Answers that are kept at most.
const SLOTS_MAX: usize = 200;

/// How long after it was given an answer may still be what the next one goes on from. No page that somebody looks at rests longer.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// An answer, and when it was given. Whoever looks for one that is too old holds the lock until there is a new one.
type Slot<T> = Arc<tokio::sync::Mutex<Option<(Instant, Arc<T>)>>>;

/// Answers by what was asked.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    slots: Mutex<HashMap<String, Slot<T>>>,
    how_long: Duration,
    forgotten: Duration,
}

impl<T> Kept<T> {
    /// Answers are kept for so long.
    pub(crate) fn for_up_to(how_long: Duration) -> Self {
        Self {
            slots: Mutex::default(),
            how_long,
            forgotten: FORGOTTEN.max(how_long),
        }
    }

    /// The answer to this: one that is kept, or that of `look`. Errors are not kept.
    pub(crate) async fn get<E, F: Future<Output = Result<T, E>>>(
        &self,
        asked: &str,
        look: impl FnOnce() -> F,
    ) -> Result<Arc<T>, E> {
        self.get_after(asked, |_| look()).await
    }

    /// The same; `look` is handed the answer before, to go on from it, if that is still there.
    pub(crate) async fn get_after<E, F: Future<Output = Result<T, E>>>(
        &self,
        asked: &str,
        look: impl FnOnce(Option<Arc<T>>) -> F,
    ) -> Result<Arc<T>, E> {
        let slot = self.slot(asked);
        let mut held = slot.lock().await;
        if let Some((at, answer)) = &*held
            && at.elapsed() < self.how_long
        {
            return Ok(Arc::clone(answer));
        }
        let before = held.take().map(|(_, answer)| answer);
        let answer = Arc::new(look(before).await?);
        *held = Some((Instant::now(), Arc::clone(&answer)));
        Ok(answer)
    }

    fn slot(&self, asked: &str) -> Slot<T> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(asked) {
            let is_old = |slot: &Slot<T>| {
                slot.try_lock().is_ok_and(|held| {
                    held.as_ref()
                        .is_none_or(|(at, _)| at.elapsed() >= self.forgotten)
                })
            };
            let is_full = slots.len() >= SLOTS_MAX;
            // Never those that somebody waits for.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || !(is_full || is_old(slot)));
        }
        Arc::clone(slots.entry(asked.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_the_same_at_a_time_are_one_question() {
        let kept = Kept::<u32>::for_up_to(Duration::from_secs(3_600));
        let asked = AtomicU32::new(0);
        let ask = async |what: &'static str| {
            let look = || async {
                tokio::task::yield_now().await;
                Ok::<_, ()>(asked.fetch_add(1, Ordering::Relaxed))
            };
            *kept.get(what, look).await.unwrap()
        };
        let (one, other, third) = tokio::join!(ask("a"), ask("a"), ask("b"));
        assert_eq!(one, other);
        assert_ne!(one, third);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_answer_that_is_too_old_and_an_error_are_asked_for_anew() {
        let kept = Kept::<u32>::for_up_to(Duration::ZERO);
        for n in 0..3 {
            assert_eq!(
                *kept.get("a", || async { Ok::<_, ()>(n) }).await.unwrap(),
                n
            );
        }
        let kept = Kept::<u32>::for_up_to(Duration::from_secs(3_600));
        assert!(kept.get("a", || async { Err::<u32, _>(()) }).await.is_err());
        assert_eq!(
            *kept.get("a", || async { Ok::<_, ()>(1) }).await.unwrap(),
            1
        );
    }

    #[tokio::test]
    async fn an_answer_is_what_the_next_one_goes_on_from_until_it_is_forgotten() {
        let mut kept = Kept::<u32>::for_up_to(Duration::ZERO);
        let next = async |kept: &Kept<u32>, asked: &'static str| {
            let look = |before: Option<Arc<u32>>| async move {
                Ok::<_, ()>(before.map_or(0, |before| *before + 1))
            };
            *kept.get_after(asked, look).await.unwrap()
        };
        assert_eq!(next(&kept, "a").await, 0);
        assert_eq!(next(&kept, "a").await, 1);
        assert_eq!(next(&kept, "b").await, 0);
        assert_eq!(next(&kept, "a").await, 2);
        kept.forgotten = Duration::ZERO;
        assert_eq!(next(&kept, "c").await, 0);
        assert_eq!(next(&kept, "a").await, 0);
    }
}
