//! What runs have to know of their relatives: parents of children that have ended, and children of parents that have.

use std::sync::Arc;

use dacapo_store::{LeftChild, Store, StoreError, in_time};
use tokio::sync::Notify;

use crate::ANSWER_MAX;
use crate::backoff::Backoff;

/// How many of those that are noted are looked up at once.
const NOTED_MAX: u32 = 100;

/// Passes on what one run's end means to others, whichever worker played them: a task of each worker beside its control loop.
pub(crate) struct Relatives {
    store: Store,
    /// Rung when there may be something to pass on.
    bell: Arc<Notify>,
}

impl Relatives {
    pub(crate) fn new(store: Store, bell: Arc<Notify>) -> Self {
        Self { store, bell }
    }

    /// Passes on for as long as the worker lives.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            self.bell.notified().await;
            // What is left now is noted in the database, and heard of again with the next heartbeat.
            match self.tick().await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::debug!(%error, "the ends of children were not passed on");
                    backoff.wait().await;
                }
            }
        }
    }

    /// Passes on all that is there to be. Each parent and each child is a transaction of its own, so that no two of them are locked at once.
    async fn tick(&self) -> Result<(), StoreError> {
        let (told, cancelled) = (self.tell().await, self.cancel().await);
        told.and(cancelled)
    }

    async fn tell(&self) -> Result<(), StoreError> {
        loop {
            let noted = dacapo_store::parents_to_tell(&self.store, NOTED_MAX);
            let mut has_told = false;
            for parent in in_time(ANSWER_MAX, noted).await? {
                has_told |=
                    in_time(ANSWER_MAX, dacapo_store::tell_parent(&self.store, parent)).await?;
            }
            // What is still there others are at.
            if !has_told {
                return Ok(());
            }
        }
    }

    async fn cancel(&self) -> Result<(), StoreError> {
        loop {
            let noted = dacapo_store::parents_to_leave(&self.store, NOTED_MAX);
            let mut has_left = false;
            for parent in in_time(ANSWER_MAX, noted).await? {
                loop {
                    let left = dacapo_store::cancel_child(&self.store, parent);
                    let left = in_time(ANSWER_MAX, left).await?;
                    has_left |= left != LeftChild::NotNoted;
                    if left != LeftChild::Cancelled {
                        break;
                    }
                }
            }
            if !has_left {
                return Ok(());
            }
        }
    }
}
