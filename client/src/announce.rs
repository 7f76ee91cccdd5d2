//! Learning that runs have ended: one connection listens for all waits of a client.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dacapo_model::RunId;
use dacapo_store::{Channel, Listener, Notice, Store};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs that were started here and are remembered.
const BEGUN_MAX: usize = 10_000;

/// Tells those who wait for a run that it has ended. What it misses, they find by looking themselves.
#[derive(Debug)]
pub(crate) struct Announcer {
    store: Store,
    watched: Arc<Watched>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Watched(Mutex<Heard>);

/// What there is to be heard of.
#[derive(Debug, Default)]
struct Heard {
    /// The runs that somebody waits for.
    bells: HashMap<RunId, Bell>,
    /// Somebody listens.
    listens: bool,
    /// Runs that were started while somebody listened and of whose end nothing was heard.
    begun: HashSet<RunId>,
    /// All that were put there and are not forgotten, the oldest first.
    order: VecDeque<RunId>,
}

impl Heard {
    fn begins(&mut self, run: RunId) {
        if !self.listens {
            return;
        }
        if self.begun.insert(run) {
            self.order.push_back(run);
        }
        if self.order.len() > BEGUN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.begun.remove(&oldest);
        }
    }

    /// Whether somebody listens from here on. What was said before may have been missed.
    fn listens(&mut self, does: bool) {
        self.listens = does;
        self.begun.clear();
        self.order.clear();
    }
}

#[derive(Debug, Default)]
struct Bell {
    rings: Arc<Notify>,
    /// How many wait for it.
    watchers: usize,
}

/// Somebody waits for a run, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Watch {
    run: RunId,
    rings: Arc<Notify>,
    watched: Arc<Watched>,
}

impl Announcer {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            watched: Arc::default(),
            listener: Mutex::default(),
        }
    }

    /// Begins to watch a run. The first watch of a client starts its listening connection.
    pub(crate) fn watch(&self, run: RunId) -> Watch {
        self.ensure_listening();
        let mut heard = self.watched.heard();
        let bell = heard.bells.entry(run).or_default();
        bell.watchers += 1;
        Watch {
            run,
            rings: Arc::clone(&bell.rings),
            watched: Arc::clone(&self.watched),
        }
    }

    /// A run is about to be started, which nobody else knows yet.
    pub(crate) fn begins(&self, run: RunId) {
        self.watched.heard().begins(run);
    }

    fn ensure_listening(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        // The task ends only with the runtime that it was started on; a client may outlive that.
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(listen(
                self.store.clone(),
                Arc::clone(&self.watched),
            )));
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        let listener = self
            .listener
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.take() {
            listener.abort();
        }
    }
}

impl Watched {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        // It is whole whenever the lock is free, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, runs: &[RunId]) {
        let mut heard = self.heard();
        for run in runs {
            heard.begun.remove(run);
            if let Some(bell) = heard.bells.get(run) {
                bell.rings.notify_waiters();
            }
        }
    }

    /// Anything may have been said until now.
    fn ring_all(&self, listens: bool) {
        let mut heard = self.heard();
        heard.listens(listens);
        for bell in heard.bells.values() {
            bell.rings.notify_waiters();
        }
    }
}

impl Watch {
    /// Rings when the run has ended, or may have. To miss nothing, it must be enabled before the run is looked at.
    pub(crate) fn rings(&self) -> tokio::sync::futures::Notified<'_> {
        self.rings.notified()
    }

    /// Whether the run was started here, and its end would have been heard. Asked after a ring is [awaited](Watch::rings), so that one that comes
    /// meanwhile is not lost.
    pub(crate) fn goes_on(&self) -> bool {
        self.watched.heard().begun.contains(&self.run)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut heard = self.watched.heard();
        let bells = &mut heard.bells;
        if let Some(bell) = bells.get_mut(&self.run) {
            bell.watchers -= 1;
            if bell.watchers == 0 {
                bells.remove(&self.run);
            }
        }
    }
}

/// Nobody listens any more once this is dropped, with the runtime or otherwise.
struct Ears<'a>(&'a Watched);

impl Drop for Ears<'_> {
    fn drop(&mut self) {
        self.0.ring_all(false);
    }
}

async fn listen(store: Store, watched: Arc<Watched>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match Listener::connect(&store, &[Channel::Run]).await {
            Ok(mut listener) => {
                // Whatever ended while nobody listened.
                watched.ring_all(true);
                let _ears = Ears(&watched);
                loop {
                    match listener.next().await {
                        Ok(Notice::Finished(runs)) => watched.ring(&runs),
                        Ok(_) => watched.ring_all(true),
                        Err(error) => {
                            tracing::debug!(%error, "the listening connection is lost");
                            break;
                        }
                    }
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot listen for runs that end; looking instead")
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_that_was_started_while_somebody_listened_until_its_end_is_heard() {
        let watched = Arc::new(Watched::default());
        let watch = |run: RunId| Watch {
            run,
            rings: Arc::default(),
            watched: Arc::clone(&watched),
        };
        let [early, one, other] = [(); 3].map(|()| RunId::new());
        watched.heard().begins(early);
        watched.ring_all(true);
        watched.heard().begins(one);
        watched.heard().begins(other);
        assert!(!watch(early).goes_on() && watch(one).goes_on() && watch(other).goes_on());
        watched.ring(&[one]);
        assert!(!watch(one).goes_on() && watch(other).goes_on());
        // What was said while the connection was away nobody has heard.
        watched.ring_all(true);
        assert!(!watch(other).goes_on());
        watched.heard().begins(one);
        watched.ring_all(false);
        watched.heard().begins(other);
        assert!(!watch(one).goes_on() && !watch(other).goes_on());
    }

    #[test]
    fn only_so_many_runs_are_remembered() {
        let mut heard = Heard::default();
        heard.listens(true);
        let runs: Vec<RunId> = (0..=BEGUN_MAX).map(|_| RunId::new()).collect();
        for run in &runs {
            heard.begins(*run);
        }
        assert_eq!(
            (heard.begun.len(), heard.order.len()),
            (BEGUN_MAX, BEGUN_MAX)
        );
        assert!(!heard.begun.contains(&runs[0]) && heard.begun.contains(&runs[1]));
    }
}
