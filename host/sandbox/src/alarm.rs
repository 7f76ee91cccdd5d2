//! Ends an attempt that takes too long, whatever it is doing: computing, or waiting for something that the host does for it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// An alarm clock that its owner sets and somebody else waits for.
#[derive(Debug, Clone)]
pub(crate) struct Alarm(watch::Sender<Option<Instant>>);

impl Default for Alarm {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Alarm {
    /// It rings after this long unless it is stopped before.
    pub(crate) fn set(&self, after: Duration) {
        // A time too far away to be told is one that never comes.
        self.0.send_replace(Instant::now().checked_add(after));
    }

    pub(crate) fn stop(&self) {
        // Most attempts have no time-out, and whoever waits need not be woken for them.
        self.0.send_if_modified(|at| at.take().is_some());
    }

    /// Returns when it rings.
    pub(crate) async fn rings(&self) {
        let mut set = self.0.subscribe();
        loop {
            let at = *set.borrow_and_update();
            tokio::select! {
                // First: an alarm that was stopped, or set anew, does not ring for the time that it was set to before. The sender is
                // ours, so it is never gone.
                biased;
                _ = set.changed() => {}
                () = sleep_until(at) => return,
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
