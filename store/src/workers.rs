//! Who works.

use dacapo_model::Timestamp;
use uuid::Uuid;

use crate::{Store, StoreError, Time};

/// A worker that has put its name down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// One life of it.
    pub id: Uuid,
    /// `host:pid`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When its runs are taken over if it says nothing more.
    pub lease_until: Timestamp,
    /// The queues that it serves; none: all.
    pub queues: Option<Vec<String>>,
    /// Runs that it holds.
    pub runs: u64,
    /// Its connections write nothing more.
    pub is_fenced: bool,
    /// The database's time.
    pub now: Timestamp,
}

/// All workers, by name.
pub async fn list_workers(store: &Store) -> Result<Vec<WorkerRow>, StoreError> {
    let rows = sqlx::query_file!("sql/worker/list.sql")
        .fetch_all(store.pool())
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| WorkerRow {
            id: row.id,
            name: row.name,
            version: row.version,
            started_at: row.started_at.0,
            lease_until: row.lease_until.0,
            queues: row.queues,
            runs: u64::try_from(row.runs).unwrap_or(0),
            is_fenced: row.is_fenced,
            now: row.now.0,
        })
        .collect())
}
