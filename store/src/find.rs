//! Finding runs by what people know of them.

use std::collections::BTreeMap;

use dacapo_model::{Payload, RunId, Status, Timestamp};
use uuid::Uuid;

use crate::runs::run_row;
use crate::{RunRow, Store, StoreError, Time};

/// Which runs are asked for.
#[derive(Debug, Clone)]
pub struct FindRuns<'a> {
    /// Tenant.
    pub namespace: &'a str,
    /// Only with this status.
    pub status: Option<Status>,
    /// Only of this workflow (full name).
    pub workflow: Option<&'a str>,
    /// Only of deployments with this number.
    pub deployment: Option<i32>,
    /// Only with all of these labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Only those in whose failure's code or message each of these words begins a word.
    pub failure: Option<&'a str>,
    /// Only those created at this time or later.
    pub created_since: Option<Timestamp>,
    /// Only those created before this time.
    pub created_before: Option<Timestamp>,
}

impl FindRuns<'_> {
    /// What a search goes by; `sql/run/list.sql` says what that means. Of what is asked for, the part that fewest runs have decides.
    fn way(&self) -> &'static str {
        match self.status {
            Some(Status::Failed | Status::Cancelled) => "unsuccessful",
            _ if self.failure.is_some() => "unsuccessful",
            Some(Status::Cancelling) => "cancel",
            Some(Status::Running | Status::Paused | Status::Blocked) => "task",
            Some(Status::Queued | Status::Suspended) if self.labels.is_none() => "task",
            _ if self.labels.is_some() => "label",
            _ if self.workflow.is_some() || self.deployment.is_some() => "code",
            _ => "creation",
        }
    }

    fn labels_text(&self) -> Result<Option<String>, StoreError> {
        self.labels
            .map(serde_json::to_string)
            .transpose()
            .map_err(|error| StoreError::Unreadable(error.to_string()))
    }
}

/// A page of runs, newest first: `limit` at most, only those after `after` in the list.
pub async fn list_runs(
    store: &Store,
    find: &FindRuns<'_>,
    after: Option<(Timestamp, RunId)>,
    limit: u32,
) -> Result<Vec<RunRow>, StoreError> {
    // "Created before" is a place in the list, too: the one below all runs of that time.
    let below = [
        find.created_before.map(|time| (time, Uuid::nil())),
        after.map(|(time, id)| (time, id.0)),
    ];
    let (below_time, below_id) = below.into_iter().flatten().min().unzip();
    let mut transaction = store.planned_anew().await?;
    let rows = sqlx::query_file!(
        "sql/run/list.sql",
        find.namespace,
        find.status.map(|status| status.as_str()),
        find.workflow,
        find.deployment,
        find.labels_text()?,
        find.failure,
        find.created_since.map(Time) as _,
        below_time.map(Time) as _,
        below_id,
        i64::from(limit),
        find.way()
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    rows.into_iter().map(|row| run_row!(row)).collect()
}

/// How many runs there are in each status; a status that is not there has none.
pub async fn count_runs(
    store: &Store,
    find: &FindRuns<'_>,
) -> Result<BTreeMap<Status, u64>, StoreError> {
    let mut transaction = store.planned_anew().await?;
    let rows = sqlx::query_file!(
        "sql/run/count.sql",
        find.namespace,
        find.status.map(|status| status.as_str()),
        find.workflow,
        find.deployment,
        find.labels_text()?,
        find.failure,
        find.created_since.map(Time) as _,
        find.created_before.map(Time) as _
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    rows.into_iter()
        .map(|row| {
            let status = row
                .status
                .parse()
                .map_err(|_| StoreError::Unreadable(format!("unknown status {:?}", row.status)))?;
            Ok((status, u64::try_from(row.runs).unwrap_or(0)))
        })
        .collect()
}
