//! Learning that runs have ended: one connection listens for all waits of a client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dacapo_model::RunId;
use dacapo_store::{Channel, Listener, Notice, Store};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Tells those who wait for a run that it has ended. What it misses, they find by looking themselves.
#[derive(Debug)]
pub(crate) struct Announcer {
    store: Store,
    watched: Arc<Watched>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// The runs that somebody waits for.
#[derive(Debug, Default)]
struct Watched(Mutex<HashMap<RunId, Bell>>);

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
        let mut bells = self.watched.bells();
        let bell = bells.entry(run).or_default();
        bell.watchers += 1;
        Watch {
            run,
            rings: Arc::clone(&bell.rings),
            watched: Arc::clone(&self.watched),
        }
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
    fn bells(&self) -> MutexGuard<'_, HashMap<RunId, Bell>> {
        // The map is whole whenever the lock is free, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, runs: &[RunId]) {
        let bells = self.bells();
        for bell in runs.iter().filter_map(|run| bells.get(run)) {
            bell.rings.notify_waiters();
        }
    }

    fn ring_all(&self) {
        for bell in self.bells().values() {
            bell.rings.notify_waiters();
        }
    }
}

impl Watch {
    /// Rings when the run has ended, or may have. To miss nothing, it must be enabled before the run is looked at.
    pub(crate) fn rings(&self) -> tokio::sync::futures::Notified<'_> {
        self.rings.notified()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut bells = self.watched.bells();
        if let Some(bell) = bells.get_mut(&self.run) {
            bell.watchers -= 1;
            if bell.watchers == 0 {
                bells.remove(&self.run);
            }
        }
    }
}

async fn listen(store: Store, watched: Arc<Watched>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match Listener::connect(&store, &[Channel::Run]).await {
            Ok(mut listener) => {
                // Whatever ended while nobody listened.
                watched.ring_all();
                loop {
                    match listener.next().await {
                        Ok(Notice::Finished(runs)) => watched.ring(&runs),
                        Ok(_) => watched.ring_all(),
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
