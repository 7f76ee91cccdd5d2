//! The end of an attempt at a step, which its requests hear of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether the attempt is over that requests belong to. All clones speak of the same one.
#[derive(Debug, Clone, Default)]
pub struct StepOver {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    is_set: AtomicBool,
    waiting: Notify,
}

impl StepOver {
    /// It is over now: what is under way of its requests is broken off.
    pub fn set(&self) {
        self.inner.is_set.store(true, Ordering::Release);
        self.inner.waiting.notify_waiters();
    }

    /// Whether it is over.
    pub fn is_set(&self) -> bool {
        self.inner.is_set.load(Ordering::Acquire)
    }

    /// Returns when it is over.
    pub async fn wait(&self) {
        let notified = self.inner.waiting.notified();
        tokio::pin!(notified);
        // Whoever is told from here on is told of; what was set before is seen.
        notified.as_mut().enable();
        if !self.is_set() {
            notified.await;
        }
    }
}
