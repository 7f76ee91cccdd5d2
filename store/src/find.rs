//! Finding runs by what people know of them.

use std::collections::BTreeMap;

use dacapo_model::{RunId, Status, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::connect::{Plans, plan_look_ups};
use crate::runs::{StepCount, runs_by_id};
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
    /// What a search goes by: `creation`, which is that of `sql/run/newest.sql`, or what `sql/run/list.sql` says. Of what is asked for, the part that fewest runs have decides.
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
    let way = find.way();
    let mut transaction = match way {
        "creation" => store.search(Plans::KeptInOrder).await?,
        // Labels and words are looked up by indexes that have no order.
        _ if find.labels.is_some() || find.failure.is_some() => store.search(Plans::Anew).await?,
        _ => store.search(Plans::AnewInOrder).await?,
    };
    let mut ids = page_of(&mut transaction, find, way, at, limit).await?;
    if way != "creation" {
        plan_look_ups(&mut transaction).await?;
    }
    let mut found = runs_by_id(&mut transaction, &ids, StepCount::Yes).await?;
    transaction.commit().await?;
    if matches!(at, PageAt::Before(..)) {
        ids.reverse();
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// The ids of a page, in the order in which they were looked for.
async fn page_of(
    connection: &mut PgConnection,
    find: &FindRuns<'_>,
    way: &str,
    at: PageAt,
    limit: u32,
) -> Result<Vec<Uuid>, StoreError> {
    // Times are places in the list, too: the ones below all runs of that time.
    let place = |time: Option<Timestamp>| time.map(|time| (time, Uuid::nil()));
    let (other_end, place) = match at {
        PageAt::Newest | PageAt::After(..) => {
            let after = match at {
                PageAt::After(time, id) => Some((time, id.0)),
                PageAt::Newest | PageAt::Before(..) => None,
            };
            let ends = [place(find.created_before), after];
            (find.created_since, ends.into_iter().flatten().min())
        }
        PageAt::Before(time, id) => {
            let ends = [place(find.created_since), Some((time, id.0))];
            (find.created_before, ends.into_iter().flatten().max())
        }
    };
    let (time, id): (Option<Timestamp>, Option<Uuid>) = place.unzip();
    let status = find.status.map(|status| status.as_str());
    macro_rules! newest {
        ($sql:literal) => {
            sqlx::query_file_scalar!(
                $sql,
                find.namespace,
                status,
                other_end.map(Time) as _,
                time.map(Time) as _,
                id,
                i64::from(limit)
            )
            .fetch_all(connection)
            .await?
        };
    }
    macro_rules! list {
        ($sql:literal) => {
            sqlx::query_file_scalar!(
                $sql,
                find.namespace,
                status,
                find.workflow,
                find.deployment,
                find.labels_text()?,
                find.failure,
                other_end.map(Time) as _,
                time.map(Time) as _,
                id,
                i64::from(limit),
                way,
                find.workflows_like
            )
            .fetch_all(connection)
            .await?
        };
    }
    let is_back = matches!(at, PageAt::Before(..));
    Ok(match (way, is_back) {
        ("creation", false) => newest!("sql/run/newest.sql"),
        ("creation", true) => newest!("sql/run/newest_back.sql"),
        (_, false) => list!("sql/run/list.sql"),
        (_, true) => list!("sql/run/list_back.sql"),
    })
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
    let mut transaction = store.search(Plans::AnewInOrder).await?;
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
        let (list, back) = (
            include_str!("../sql/run/list.sql"),
            include_str!("../sql/run/list_back.sql"),
        );
        is_mirror(list, back, "with deployments as", ["$7", "$8"]);
        let (newest, back) = (
            include_str!("../sql/run/newest.sql"),
            include_str!("../sql/run/newest_back.sql"),
        );
        is_mirror(newest, back, "select id", ["$3", "$4"]);
    }

    /// From where a statement begins; the parameters are the one end, and the other.
    fn is_mirror(on: &'static str, back: &'static str, begin: &str, [end, other]: [&str; 2]) {
        let body = |sql: &'static str| sql.split_once(begin).unwrap().1;
        let mut mirrored = body(on)
            .replace(" desc", "")
            .replace("newest", "oldest")
            .replace(
                &format!("created_at >= coalesce({end}"),
                &format!("created_at < coalesce({end}"),
            )
            .replace(
                &format!("< (coalesce({other}"),
                &format!("> (coalesce({other}"),
            );
        for cast in ["", "::timestamptz"] {
            for (parameter, from, to) in [
                (end, "-infinity", "infinity"),
                (other, "infinity", "-infinity"),
            ] {
                mirrored = mirrored.replace(
                    &format!("({parameter}{cast}, '{from}')"),
                    &format!("({parameter}{cast}, '{to}')"),
                );
            }
        }
        let back = body(back);
        for (line, (expected, found)) in (1..).zip(mirrored.lines().zip(back.lines())) {
            assert_eq!(found, expected, "line {line} below the header");
        }
        assert_eq!(back, mirrored);
    }
}
