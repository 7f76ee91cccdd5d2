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
    /// Only of workflows whose full names are like one of these patterns of SQL.
    pub workflows_like: Option<&'a [String]>,
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
            _ if self.workflow.is_some()
                || self.workflows_like.is_some()
                || self.deployment.is_some() =>
            {
                "code"
            }
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

/// Where a page is in the list of runs, which begins with the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageAt {
    /// At the beginning.
    Newest,
    /// Behind this run.
    After(Timestamp, RunId),
    /// In front of this run, and next to it.
    Before(Timestamp, RunId),
}

/// A page of runs, newest first: `limit` at most. Of a page in front of a run, what is nearest to that.
pub async fn list_runs(
    store: &Store,
    find: &FindRuns<'_>,
    at: PageAt,
    limit: u32,
) -> Result<Vec<RunRow>, StoreError> {
    // Times are places in the list, too: the ones below all runs of that time.
    let place = |time: Option<Timestamp>| time.map(|time| (time, Uuid::nil()));
    let mut transaction = store.planned_anew().await?;
    // The two statements differ in their direction alone, but have rows of types of their own.
    macro_rules! page {
        ($sql:literal, $other_end:expr, $place:expr) => {{
            let (time, id): (Option<Timestamp>, Option<Uuid>) = $place.unzip();
            sqlx::query_file!(
                $sql,
                find.namespace,
                find.status.map(|status| status.as_str()),
                find.workflow,
                find.deployment,
                find.labels_text()?,
                find.failure,
                $other_end.map(Time) as _,
                time.map(Time) as _,
                id,
                i64::from(limit),
                find.way(),
                find.workflows_like
            )
            .fetch_all(&mut *transaction)
            .await?
            .into_iter()
            .map(|row| run_row!(row))
            .collect::<Result<Vec<_>, _>>()?
        }};
    }
    let runs = match at {
        PageAt::Newest | PageAt::After(..) => {
            let after = match at {
                PageAt::After(time, id) => Some((time, id.0)),
                PageAt::Newest | PageAt::Before(..) => None,
            };
            let ends = [place(find.created_before), after];
            let below = ends.into_iter().flatten().min();
            page!("sql/run/list.sql", find.created_since, below)
        }
        PageAt::Before(time, id) => {
            let ends = [place(find.created_since), Some((time, id.0))];
            let above = ends.into_iter().flatten().max();
            let mut runs: Vec<RunRow> = page!("sql/run/list_back.sql", find.created_before, above);
            runs.reverse();
            runs
        }
    };
    transaction.commit().await?;
    Ok(runs)
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
        find.created_before.map(Time) as _,
        find.workflows_like
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

/// How many runs of a status were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// How many at least.
    pub runs: u64,
    /// There are no more.
    pub is_all: bool,
}

/// How many runs there are in each status, whatever the filter says of statuses, as far as `rows` rows of each kind tell.
pub async fn count_runs_up_to(
    store: &Store,
    find: &FindRuns<'_>,
    rows: u32,
) -> Result<BTreeMap<Status, Counted>, StoreError> {
    let mut transaction = store.planned_anew().await?;
    let counted = sqlx::query_file!(
        "sql/run/count_up_to.sql",
        find.namespace,
        find.workflow,
        find.deployment,
        find.labels_text()?,
        find.failure,
        find.created_since.map(Time) as _,
        find.created_before.map(Time) as _,
        i64::from(rows),
        find.workflows_like
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    counted
        .into_iter()
        .map(|row| {
            let status = row
                .status
                .parse()
                .map_err(|_| StoreError::Unreadable(format!("unknown status {:?}", row.status)))?;
            let counted = Counted {
                runs: u64::try_from(row.runs).unwrap_or(0),
                is_all: row.is_all,
            };
            Ok((status, counted))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    /// A change of one of the two statements without the other would lose runs in one direction.
    #[test]
    fn paging_back_is_the_mirror_of_paging_on() {
        let body = |sql: &'static str| {
            let (_, body) = sql.split_once("with deployments as").unwrap();
            body
        };
        let mirrored = body(include_str!("../sql/run/list.sql"))
            .replace(" desc", "")
            .replace("newest", "oldest")
            .replace("created_at >= coalesce($7", "created_at < coalesce($7")
            .replace(
                "($7::timestamptz, '-infinity')",
                "($7::timestamptz, 'infinity')",
            )
            .replace("($7, '-infinity')", "($7, 'infinity')")
            .replace("< (coalesce($8", "> (coalesce($8")
            .replace(
                "($8::timestamptz, 'infinity')",
                "($8::timestamptz, '-infinity')",
            )
            .replace("($8, 'infinity')", "($8, '-infinity')");
        let back = body(include_str!("../sql/run/list_back.sql"));
        for (line, (expected, found)) in (1..).zip(mirrored.lines().zip(back.lines())) {
            assert_eq!(
                found, expected,
                "line {line} below the header of list_back.sql"
            );
        }
        assert_eq!(back, mirrored);
    }
}
