//! Takes away what is gone from the tables of the queue, more often than the server does by itself.

use std::sync::Arc;
use std::time::Duration;

use dacapo_store::{Store, in_time};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::coordinator::PATIENCE_MAX;

/// Shortest time between two vacuums.
const REST_MIN: Duration = Duration::from_secs(3);
/// One that took long is followed by a rest of so many times as long: while somebody holds an old snapshot it reads more each time, and may take away nothing.
const REST_FOR_VACUUM: u32 = 20;
/// But no longer than this.
const REST_MAX: Duration = Duration::from_secs(60);

/// Vacuums whenever it is rung, with rests in between: a task of each worker beside its control loop.
pub(crate) struct Vacuum {
    store: Store,
    /// Rung after some thousands of claims.
    bell: Arc<Notify>,
}

impl Vacuum {
    pub(crate) fn new(store: Store, bell: Arc<Notify>) -> Self {
        Self { store, bell }
    }

    /// Vacuums for as long as the worker lives.
    pub(crate) async fn run(self) {
        loop {
            self.bell.notified().await;
            let begun = Instant::now();
            let vacuumed = in_time(PATIENCE_MAX, dacapo_store::vacuum_queue(&self.store)).await;
            if let Err(error) = vacuumed {
                tracing::debug!(%error, "the queue was not vacuumed");
            }
            tokio::time::sleep((REST_FOR_VACUUM * begun.elapsed()).clamp(REST_MIN, REST_MAX)).await;
        }
    }
}
