//! Who works. The serde form is stable.

use dacapo_model::Timestamp;
use dacapo_store::WorkerRow;
use serde::{Deserialize, Serialize};

use crate::retry::retried;
use crate::{Client, ClientError};

/// A worker that has put its name down in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// One life of it: a worker that was fenced comes back under another id.
    pub id: String,
    /// `host:pid`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When its runs are taken over if it says nothing more.
    pub lease_until: Timestamp,
    /// Whether its lease holds, and it may write.
    pub alive: bool,
    /// The queues that it serves; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<String>>,
    /// Runs that it holds, of all namespaces.
    pub runs: u64,
}

impl Client {
    /// The workers of the database, of all namespaces, by name: also those that died and whose runs nobody has taken over yet.
    ///
    /// # Errors
    /// [`ClientError::OutOfScope`] if the client is limited to some runs: workers play everybody's.
    pub async fn workers(&self) -> Result<Vec<Worker>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.workers().await;
        }
        self.check_whole("workers")?;
        let store = self.store();
        let rows = retried(|| dacapo_store::list_workers(store)).await?;
        Ok(rows.into_iter().map(Worker::from_row).collect())
    }
}

impl Worker {
    fn from_row(row: WorkerRow) -> Self {
        Self {
            alive: !row.is_fenced && row.lease_until > row.now,
            id: row.id.to_string(),
            name: row.name,
            version: row.version,
            started_at: row.started_at,
            lease_until: row.lease_until,
            queues: row.queues,
            runs: row.runs,
        }
    }
}
