//! How much waits for workers, and how these stand, in all namespaces: for whoever watches over the whole.

use std::time::Duration;

use dacapo_model::Timestamp;
use serde::Serialize;

use crate::{Client, ClientError};

/// Counts stop here: beyond it a number says no more, and counting takes long.
const COUNTED_MAX: u32 = 100_000;

/// How much of a queue waits for workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueBacklog {
    /// The namespace of a named queue; empty for what is in none.
    pub namespace: String,
    /// The queue's name; `default` for what is in no named one.
    pub queue: String,
    /// Runs that wait: for a worker, or for their turn. At most 100,000 are counted of either kind.
    pub depth: u64,
    /// For how long the first in line has waited, in seconds; none: nobody waits.
    #[serde(serialize_with = "seconds", rename = "oldestSeconds")]
    pub oldest: Option<Duration>,
}

/// How much waits for workers, and how these stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// By queue.
    pub queues: Vec<QueueBacklog>,
    /// Workers whose lease is not over.
    pub workers: u64,
    /// Runs that workers hold.
    pub running: u64,
    /// Runs that are blocked. At most 100,000 are counted.
    pub blocked: u64,
}

/// Clocks and priorities may make it a little less than nothing.
fn age(since: Timestamp, now: Timestamp) -> Duration {
    let micros = now.as_micros() - since.as_micros();
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| duration.as_secs_f64())
        .serialize(serializer)
}

impl Client {
    /// How much waits for workers, and how these stand. Not of one namespace: workers serve all of them.
    ///
    /// # Errors
    /// The database did not answer, or the client is limited to a scope.
    pub async fn backlog(&self) -> Result<Backlog, ClientError> {
        self.needs_no_server("to see how much waits in all namespaces")?;
        self.check_whole("how much waits in all namespaces")?;
        let store = self.store();
        let queues = dacapo_store::queue_depths(store, None, COUNTED_MAX).await?;
        let fleet = dacapo_store::fleet(store, COUNTED_MAX).await?;
        Ok(Backlog {
            queues: queues
                .into_iter()
                .map(|row| QueueBacklog {
                    namespace: row.namespace,
                    queue: row.name,
                    depth: row.waiting,
                    oldest: row.oldest.map(|since| age(since, row.now)),
                })
                .collect(),
            workers: fleet.workers,
            running: fleet.running,
            blocked: fleet.blocked,
        })
    }
}
