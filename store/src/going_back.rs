//! Going back: starting runs again, letting failed ones go on, finishing what they wait for in its place; and what is kept of that.

use dacapo_model::{DeploymentId, Kind, Payload, RunId, StepKey, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::requests::refusal;
use crate::{Refusal, Store, StoreError, Time};

/// A run to be started again.
#[derive(Debug, Clone, Copy)]
pub struct Rerun<'a> {
    /// Id of the new run.
    pub new: RunId,
    /// The old one.
    pub old: RunId,
    /// The deployment of the new run. It takes the old run's input.
    pub deployment: DeploymentId,
    /// Whether that may be one that is not active.
    pub any_deployment: bool,
    /// The step that the journal is copied up to; none: the new run begins with an empty journal.
    pub from: Option<&'a str>,
    /// Who asks for it.
    pub who: &'a str,
}

/// Why a run was not started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RerunRefusal {
    /// There is no such run, or its status does not allow it.
    Run(Refusal),
    /// It has no such step.
    NoStep,
    /// The deployment is not active any more. Look the workflow up again.
    NotActive,
    /// The old run's own deployment is retired.
    Retired,
}

/// Starts a run again. See `sql/run/rerun.sql`.
pub async fn rerun(
    connection: &mut PgConnection,
    rerun: &Rerun<'_>,
) -> Result<Result<(), RerunRefusal>, StoreError> {
    let row = sqlx::query_file!(
        "sql/run/rerun.sql",
        &[rerun.new.0],
        &[rerun.old.0],
        &[rerun.deployment.0],
        rerun.from,
        rerun.any_deployment,
        rerun.who
    )
    .fetch_one(connection)
    .await?;
    Ok(match row.answer.as_str() {
        "rerun" => Ok(()),
        "no-step" => Err(RerunRefusal::NoStep),
        "not-active" => Err(RerunRefusal::NotActive),
        "retired" => Err(RerunRefusal::Retired),
        other => Err(RerunRefusal::Run(refusal(other)?)),
    })
}

/// What a failed run goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPlan {
    /// The failed steps that are tried again: several if it was branches that failed.
    pub opened: Vec<StepKey>,
    /// What is removed from the journal, in its order.
    pub removed: Vec<StepKey>,
}

impl RetryPlan {
    fn of(opened: Option<Vec<String>>, removed: Option<Vec<String>>) -> Self {
        let keys = |keys: Option<Vec<String>>| {
            let keys = keys.unwrap_or_default().into_iter();
            keys.map(StepKey::from_trusted).collect()
        };
        Self {
            opened: keys(opened),
            removed: keys(removed),
        }
    }
}

/// Why a failed run does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryRefusal {
    /// There is no such run, or its status does not allow it.
    Run(Refusal),
    /// None of its steps failed: its code would come to the same end again.
    NothingFailed,
    /// Children that were cancelled on account of its end have not ended yet.
    ChildrenEnding,
}

/// Lets a failed run go on from its failed steps, and children that were cancelled on account of its end with it.
pub async fn retry(
    connection: &mut PgConnection,
    run: RunId,
    who: &str,
) -> Result<Result<RetryPlan, RetryRefusal>, StoreError> {
    let row = sqlx::query!(
        r#"select answer as "answer!", opened, removed from dacapo.retry($1, $2)"#,
        run.0,
        who
    )
    .fetch_one(connection)
    .await?;
    Ok(match row.answer.as_str() {
        "retried" => Ok(RetryPlan::of(row.opened, row.removed)),
        "nothing-failed" => Err(RetryRefusal::NothingFailed),
        "children-ending" => Err(RetryRefusal::ChildrenEnding),
        other => Err(RetryRefusal::Run(refusal(other)?)),
    })
}

/// What [`retry`] would do, now.
pub async fn plan_retry(
    store: &Store,
    run: RunId,
) -> Result<Result<RetryPlan, RetryRefusal>, StoreError> {
    let row = sqlx::query!(
        r#"select dacapo.status_of($1) as "status!", is_possible as "is_possible!", opened, removed from dacapo.retry_plan($1)"#,
        run.0
    )
    .fetch_one(store.pool())
    .await?;
    Ok(match row.status.as_str() {
        "failed" if row.is_possible => Ok(RetryPlan::of(row.opened, row.removed)),
        "failed" => Err(RetryRefusal::NothingFailed),
        other => Err(RetryRefusal::Run(refusal(other)?)),
    })
}

/// What became of a row that was finished in the place of whatever the run waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// The run goes on.
    GoesOn,
    /// The run is paused, and goes on from there when it is resumed.
    StaysPaused,
}

/// Why nothing was finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipRefusal {
    /// There is no such run, or its status does not allow it.
    Run(Refusal),
    /// It has no such row, or one with an outcome that can be used.
    NotOpen,
    /// The value is no event that the run's workflow declares.
    BadEvent {
        /// The event's name.
        name: String,
        /// Why.
        problem: String,
    },
}

/// Finishes a row of a run's journal with a value.
pub async fn skip(
    connection: &mut PgConnection,
    run: RunId,
    step: &StepKey,
    value: &Payload,
    who: &str,
) -> Result<Result<Skipped, SkipRefusal>, StoreError> {
    let answer = sqlx::query_scalar!(
        r#"select dacapo.skip($1, $2, $3, $4) as "answer!""#,
        run.0,
        step.as_str(),
        value.as_str(),
        who
    )
    .fetch_one(connection)
    .await?;
    if let Some((name, problem)) = answer
        .strip_prefix("bad-event: ")
        .and_then(|rest| rest.split_once('/'))
    {
        return Ok(Err(SkipRefusal::BadEvent {
            name: name.to_owned(),
            problem: problem.to_owned(),
        }));
    }
    Ok(match answer.as_str() {
        "skipped" => Ok(Skipped::GoesOn),
        "skipped-paused" => Ok(Skipped::StaysPaused),
        "not-open" => Err(SkipRefusal::NotOpen),
        other => Err(SkipRefusal::Run(refusal(other)?)),
    })
}

/// A row of a journal that has no outcome yet, and can be given one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRow {
    /// The run.
    pub run: RunId,
    /// The row's key.
    pub key: StepKey,
    /// What it is.
    pub kind: Kind,
}

/// The rows without an outcome of these runs that can be given one, in the order of their journals.
pub async fn open_rows(store: &Store, runs: &[RunId]) -> Result<Vec<OpenRow>, StoreError> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
    let rows = sqlx::query!(
        "select run_id, key, kind from dacapo.step
        where run_id = any ($1::uuid[]) and outcome is null and kind in ('step', 'wait', 'sleep', 'pause')
        order by run_id, position",
        &ids
    )
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            let unreadable = |_| StoreError::Unreadable(format!("step {}: {}", row.key, row.kind));
            Ok(OpenRow {
                run: RunId(row.run_id),
                kind: row.kind.parse().map_err(unreadable)?,
                key: StepKey::from_trusted(row.key),
            })
        })
        .collect()
}

/// Something that a person did to a run.
#[derive(Debug, Clone)]
pub struct InterventionRow {
    /// When.
    pub at: Timestamp,
    /// What: `rerun`, `rerun-of`, `retry`, `skip`, `import`, `note`.
    pub action: String,
    /// Who.
    pub who: String,
    /// What exactly, as a JSON object.
    pub details: Payload,
}

/// What people did to a run, the oldest first.
pub async fn interventions(store: &Store, run: RunId) -> Result<Vec<InterventionRow>, StoreError> {
    let rows = sqlx::query!(
        r#"select at as "at: Time", action, who, details from dacapo.intervention where run_id = $1 order by at, id"#,
        run.0
    )
    .fetch_all(store.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| InterventionRow {
            at: row.at.0,
            action: row.action,
            who: row.who,
            details: Payload::from_trusted(row.details),
        })
        .collect())
}

/// The deployment that a run is pinned to. None: there is no such run.
pub async fn deployment_of(store: &Store, run: RunId) -> Result<Option<DeploymentId>, StoreError> {
    let id = sqlx::query_scalar!("select deployment_id from dacapo.run where id = $1", run.0)
        .fetch_optional(store.pool())
        .await?;
    Ok(id.map(DeploymentId))
}

/// How many of these runs have a step with this key.
pub async fn count_with_step(store: &Store, runs: &[RunId], step: &str) -> Result<u64, StoreError> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from dacapo.step where run_id = any ($1::uuid[]) and key = $2"#,
        &ids,
        step
    )
    .fetch_one(store.pool())
    .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// How many of these failed runs [`retry`] would not refuse.
pub async fn count_retriable(store: &Store, runs: &[RunId]) -> Result<u64, StoreError> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!"
        from unnest($1::uuid[]) as failed (id)
        cross join lateral dacapo.retry_plan(failed.id) as plan
        where plan.is_possible"#,
        &ids
    )
    .fetch_one(store.pool())
    .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Leaves a note on a run. False: there is no such run.
pub async fn note(
    connection: &mut PgConnection,
    run: RunId,
    text: &str,
    who: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query_file!("sql/intervention/note.sql", run.0, text, who)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}
