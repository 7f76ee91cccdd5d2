//! How long runs are kept once they have ended, and deleting them.

use std::time::Duration;

use dacapo_model::{RunId, Status, Timestamp};

use crate::{Store, StoreConnection, StoreError, Time};

/// What stands for all of a kind in a rule's row.
const ALL: &str = "*";

/// How long runs are kept once they have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// Only those of this workflow (full name).
    pub workflow: Option<String>,
    /// Only those that ended like this.
    pub status: Option<Status>,
    /// How long. None: for ever.
    pub keep: Option<Duration>,
}

/// The rules that hold in a namespace, the most general first. Of those that fit a run the last one counts.
pub async fn retention_rules(
    store: &Store,
    namespace: &str,
) -> Result<Vec<RetentionRule>, StoreError> {
    // A rule of the namespace hides one of all namespaces that is about the same.
    let rows = sqlx::query!(
        "select workflow, status, keep_seconds
        from (
            select distinct on (workflow, status) workflow, status, keep_seconds
            from dacapo.retention
            where namespace in ('*', $1)
            order by workflow, status, namespace <> '*' desc
        ) as rules
        order by workflow <> '*', status <> '*', workflow, status",
        namespace
    )
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(RetentionRule {
                workflow: (row.workflow != ALL).then_some(row.workflow),
                status: match row.status.as_str() {
                    ALL => None,
                    status => Some(status.parse().map_err(|_| {
                        StoreError::Unreadable(format!("unknown status {status:?}"))
                    })?),
                },
                keep: row
                    .keep_seconds
                    .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
            })
        })
        .collect()
}

/// Sets a rule of a namespace, in the place of the one about the same.
pub async fn set_retention(
    store: &Store,
    namespace: &str,
    rule: &RetentionRule,
) -> Result<(), StoreError> {
    let seconds = rule
        .keep
        .map(|keep| i64::try_from(keep.as_secs()).unwrap_or(i64::MAX));
    sqlx::query!(
        "insert into dacapo.retention (namespace, workflow, status, keep_seconds) values ($1, $2, $3, $4)
        on conflict (namespace, workflow, status) do update set keep_seconds = excluded.keep_seconds",
        namespace,
        rule.workflow.as_deref().unwrap_or(ALL),
        rule.status.map_or(ALL, Status::as_str),
        seconds
    )
    .execute(store.pool())
    .await?;
    Ok(())
}

/// Takes back what [`set_retention`] has set for this workflow and status. False: there was no such rule.
pub async fn reset_retention(
    store: &Store,
    namespace: &str,
    workflow: Option<&str>,
    status: Option<Status>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "delete from dacapo.retention where namespace = $1 and workflow = $2 and status = $3",
        namespace,
        workflow.unwrap_or(ALL),
        status.map_or(ALL, Status::as_str)
    )
    .execute(store.pool())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether it is the caller's turn to look for runs to delete; then nobody else's for ten minutes. If it is, the namespaces.
pub async fn take_retention_turn(store: &Store) -> Result<Option<Vec<String>>, StoreError> {
    let namespaces = sqlx::query_scalar!(
        r#"update dacapo.retention_turn set next_at = clock_timestamp() + interval '10 minutes'
        where next_at <= clock_timestamp()
        returning array(select distinct namespace from dacapo.deployment order by 1) as "namespaces!""#
    )
    .fetch_optional(store.pool())
    .await?;
    Ok(namespaces)
}

/// What a batch of a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Runs that are gone.
    pub deleted: u64,
    /// Where to go on. None: the namespace is done.
    pub next: Option<(Timestamp, RunId)>,
}

/// Deletes a batch of runs that have been kept for long enough. See `sql/run/sweep.sql`.
pub async fn sweep(
    connection: &mut StoreConnection,
    namespace: &str,
    after: Option<(Timestamp, RunId)>,
    examined_max: u32,
    rows_max: u32,
) -> Result<Swept, StoreError> {
    let (after_time, after_id) = after.map(|(time, id)| (Time(time), id.0)).unzip();
    let row = sqlx::query_file!(
        "sql/run/sweep.sql",
        namespace,
        after_time as _,
        after_id,
        i64::from(examined_max),
        i64::from(rows_max)
    )
    .fetch_one(&mut connection.0)
    .await?;
    let place = row.place_time.zip(row.place_id);
    Ok(Swept {
        deleted: u64::try_from(row.deleted).unwrap_or(0),
        next: place
            .filter(|_| !row.is_done)
            .map(|(time, id)| (time.0, RunId(id))),
    })
}
