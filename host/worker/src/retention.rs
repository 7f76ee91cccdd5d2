//! Deleting runs that ended long ago, then code that nothing needs, and what is old of who did what: whichever worker's turn it is does it, a small batch at a time, and rests in between.

use std::time::Duration;

use dacapo_model::{RunId, Timestamp};
use dacapo_store::{Store, StoreConnection, StoreError, in_time};
use tokio::time::Instant;

/// How often a worker asks whether it is its turn.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// Runs that one statement looks at, at most.
const EXAMINED_MAX: u32 = 1_000;

/// Rows that one statement deletes, about; those of one run at least.
const ROWS_MAX: u32 = 5_000;

/// How long a deployment has been retired before it is taken away: until then that can be undone.
const RETIRED_FOR: Duration = Duration::from_secs(86_400);

/// How long a batch may take.
const BATCH_MAX: Duration = Duration::from_secs(300);

/// Shortest rest after a batch.
const REST_MIN: Duration = Duration::from_millis(20);

/// Rests are so many times as long as the batch before them, so that a sweep takes a fifth of one connection's time at most.
const REST_FACTOR: u32 = 4;

/// The sweeper of a worker.
pub(crate) struct Retention {
    store: Store,
    /// How long it is kept who did what.
    audit_kept: Duration,
    sweep: Option<Sweep>,
}

/// A sweep under way.
struct Sweep {
    connection: StoreConnection,
    /// Those still to be done; the last one is under way.
    namespaces: Vec<String>,
    after: Option<(Timestamp, RunId)>,
    deleted: u64,
}

impl Retention {
    pub(crate) fn new(store: Store, audit_kept: Duration) -> Self {
        Self {
            store,
            audit_kept,
            sweep: None,
        }
    }

    /// Sweeps for as long as the worker lives.
    pub(crate) async fn run(mut self) {
        loop {
            let rest = match in_time(BATCH_MAX, self.tick()).await {
                Ok(rest) => rest,
                Err(error) => {
                    // Nothing is lost by waiting: whoever has the next turn begins anew.
                    tracing::debug!(%error, "runs that ended long ago were not deleted");
                    self.sweep = None;
                    ASK_EVERY
                }
            };
            tokio::time::sleep(rest).await;
        }
    }

    /// Begins a sweep if it is this worker's turn, or does one batch of the one under way. Answers how long to rest.
    async fn tick(&mut self) -> Result<Duration, StoreError> {
        let Some(sweep) = &mut self.sweep else {
            let Some(namespaces) = dacapo_store::take_retention_turn(&self.store).await? else {
                return Ok(ASK_EVERY);
            };
            self.sweep = Some(Sweep {
                connection: self.store.connect().await?,
                namespaces,
                after: None,
                deleted: 0,
            });
            return Ok(Duration::ZERO);
        };
        let Some(namespace) = sweep.namespaces.last() else {
            if sweep.deleted > 0 {
                tracing::info!(runs = sweep.deleted, "deleted runs that ended long ago");
            }
            // The last run of a retired deployment may have been among them.
            for gone in dacapo_store::collect_deployments(&self.store, false, RETIRED_FOR).await? {
                tracing::info!(digest = gone.digest, deployment = ?gone.deployment, "nothing needs this code any more");
            }
            let gone = dacapo_store::sweep_audit(&self.store, self.audit_kept, ROWS_MAX).await?;
            if gone == u64::from(ROWS_MAX) {
                // There are more.
                return Ok(REST_MIN);
            }
            self.sweep = None;
            return Ok(ASK_EVERY);
        };
        let begun = Instant::now();
        let swept = dacapo_store::sweep(
            &mut sweep.connection,
            namespace,
            sweep.after,
            EXAMINED_MAX,
            ROWS_MAX,
        )
        .await?;
        sweep.deleted += swept.deleted;
        sweep.after = swept.next;
        if swept.next.is_none() {
            sweep.namespaces.pop();
        }
        Ok(REST_MIN.max(begun.elapsed() * REST_FACTOR))
    }
}
