//! Runs: starting them, and reading them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use dacapo_model::{
    DeploymentId, FailedAttempt, Failure, Payload, Recorded, RunId, SaidProgress, Status, Timestamp,
};
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use crate::queue::labels_of;
use crate::queues::{Begins, Placing};
use crate::recorded::recorded_of;
use crate::{Store, StoreError, Time};

/// A run to be started. Its input has been checked against the workflow's type.
#[derive(Debug, Clone)]
pub struct StartRun<'a> {
    /// Its id.
    pub id: RunId,
    /// Full name of the workflow.
    pub workflow: &'a str,
    /// The deployment whose schema the input was checked against.
    pub deployment: DeploymentId,
    /// The input as given.
    pub input: &'a Payload,
    /// Labels to find it by.
    pub labels: &'a BTreeMap<String, String>,
    /// It is ended when it has not ended by itself after this long.
    pub deadline: Option<Duration>,
    /// In which queue, and when.
    pub placing: Placing<'a>,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartResult {
    /// The run is queued.
    Started,
    /// A run with this id was there; nothing was written. `input` and `workflow` are what it was started with.
    Exists {
        /// Input of the run that is there.
        input: String,
        /// Workflow of the run that is there.
        workflow: String,
    },
    /// The deployment is not active any more; nothing was written. Look the workflow up again.
    NotActive,
    /// There is no such queue in the run's namespace; nothing was written.
    UnknownQueue,
}

/// Starts runs, also inside a transaction of the caller's: the answers are in the order of the runs, no two of which may have the same
/// id.
pub async fn start_runs<'e>(
    executor: impl sqlx::Executor<'e, Database = Postgres>,
    starts: &[StartRun<'_>],
) -> Result<Vec<StartResult>, StoreError> {
    let mut labels = Vec::with_capacity(starts.len());
    for start in starts {
        let text = serde_json::to_string(start.labels)
            .map_err(|error| StoreError::Unreadable(error.to_string()))?;
        labels.push(text);
    }
    let ids: Vec<Uuid> = starts.iter().map(|start| start.id.0).collect();
    let workflows: Vec<&str> = starts.iter().map(|start| start.workflow).collect();
    let inputs: Vec<&str> = starts.iter().map(|start| start.input.as_str()).collect();
    let deployments: Vec<i64> = starts.iter().map(|start| start.deployment.0).collect();
    let deadlines: Vec<Option<i64>> = starts
        .iter()
        .map(|start| Some(i64::try_from(start.deadline?.as_millis()).unwrap_or(i64::MAX)))
        .collect();
    if starts
        .iter()
        .all(|start| start.placing == Placing::default())
    {
        let rows = sqlx::query_file!(
            "sql/run/start.sql",
            &ids,
            &workflows as _,
            &inputs as _,
            &deployments,
            &labels,
            &deadlines as _
        )
        .fetch_all(executor)
        .await?;
        let results = rows.into_iter().map(|row| {
            let result = start_result(row.created, true, row.input, row.workflow);
            (row.id, result)
        });
        return Ok(in_order(&ids, results.collect()));
    }
    let queues: Vec<Option<&str>> = starts.iter().map(|start| start.placing.queue).collect();
    // Zero is stored as null, which takes no room.
    let priorities: Vec<Option<i16>> = starts
        .iter()
        .map(|start| Some(start.placing.priority).filter(|priority| *priority != 0))
        .collect();
    let keys: Vec<Option<&str>> = starts
        .iter()
        .map(|start| start.placing.concurrency_key)
        .collect();
    let mut begin_ats: Vec<Option<Time>> = Vec::with_capacity(starts.len());
    let mut delays: Vec<Option<i64>> = Vec::with_capacity(starts.len());
    for start in starts {
        let (at, delay) = match start.placing.begins {
            Begins::Now => (None, None),
            Begins::At(at) => (Some(Time(at)), None),
            Begins::After(delay) => {
                let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                (None, Some(millis))
            }
        };
        begin_ats.push(at);
        delays.push(delay);
    }
    let rows = sqlx::query_file!(
        "sql/run/start_placed.sql",
        &ids,
        &workflows as _,
        &inputs as _,
        &deployments,
        &labels,
        &deadlines as _,
        &queues as _,
        &priorities as _,
        &keys as _,
        &begin_ats as _,
        &delays as _
    )
    .fetch_all(executor)
    .await?;
    let results = rows.into_iter().map(|row| {
        let result = start_result(row.created, row.has_queue, row.input, row.workflow);
        (row.id, result)
    });
    Ok(in_order(&ids, results.collect()))
}

fn start_result(
    created: bool,
    has_queue: bool,
    input: Option<String>,
    workflow: Option<String>,
) -> StartResult {
    match input {
        _ if created => StartResult::Started,
        None if !has_queue => StartResult::UnknownQueue,
        input => StartResult::Exists {
            input: input.unwrap_or_default(),
            workflow: workflow.unwrap_or_default(),
        },
    }
}

/// The results in the order of the runs. One that has none belongs to a deployment that is not active.
fn in_order(ids: &[Uuid], mut results: HashMap<Uuid, StartResult>) -> Vec<StartResult> {
    ids.iter()
        .map(|id| results.remove(id).unwrap_or(StartResult::NotActive))
        .collect()
}

/// A run as it stands.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Its tenant.
    pub namespace: String,
    /// Full name of its workflow.
    pub workflow: String,
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Package of its deployment.
    pub package: String,
    /// Number of its deployment.
    pub number: i32,
    /// Its status.
    pub status: Status,
    /// Its input.
    pub input: Payload,
    /// Its output, once completed.
    pub output: Option<Payload>,
    /// Its failure, as JSON.
    pub failure: Option<Payload>,
    /// Its labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it is ended if it has not ended by itself.
    pub deadline: Option<Timestamp>,
    /// Its named queue.
    pub queue: Option<String>,
    /// Higher goes first.
    pub priority: i16,
    /// What its queue's limits per key go by.
    pub concurrency_key: Option<String>,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The run that started it.
    pub parent: Option<RunId>,
    /// What it waits for: `event`, `child`, `time`, `retry`, `pause`, `boundary`, `blocked`; `queue` (its turn), `delay` (its beginning), `workflow`
    /// (that its workflow is resumed), `singleton` (the end of the run before it).
    pub waiting_for: Option<String>,
    /// Names of the events that it waits for.
    pub waiting_for_events: Vec<String>,
    /// When time wakes it.
    pub wake_at: Option<Timestamp>,
    /// Why it is blocked, as JSON.
    pub blocked: Option<Payload>,
    /// Steps with an outcome; none where they were not counted.
    pub steps_done: Option<u64>,
    /// How far it is, as its code said last, and when.
    pub said: Option<(SaidProgress, Timestamp)>,
}

/// What a run's code said of how far it is, if it did.
fn said(
    done: Option<i64>,
    total: Option<i64>,
    note: Option<String>,
    at: Option<Time>,
) -> Option<(SaidProgress, Timestamp)> {
    let count = |count: Option<i64>| u64::try_from(count?).ok();
    let said = SaidProgress {
        done: count(done)?,
        total: count(total)?,
        note,
    };
    Some((said, at?.0))
}

/// Runs by their ids: one answer for each, in their order. None: there is no such run.
pub async fn get_runs(store: &Store, runs: &[RunId]) -> Result<Vec<Option<RunRow>>, StoreError> {
    let mut connection = store.pool().acquire().await?;
    let ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
    let found = runs_by_id(&mut connection, &ids, StepCount::No).await?;
    // The same run may be asked for twice.
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// Whether the steps of runs are counted, which takes long where there are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepCount {
    No,
    Yes,
}

/// Runs by their ids; those that are there.
pub(crate) async fn runs_by_id(
    connection: &mut PgConnection,
    ids: &[Uuid],
    count: StepCount,
) -> Result<HashMap<Uuid, RunRow>, StoreError> {
    let rows = sqlx::query_file!("sql/run/get.sql", ids, count == StepCount::Yes)
        .fetch_all(connection)
        .await?;
    let read = rows.into_iter().map(|row| {
        let unreadable =
            || StoreError::Unreadable(format!("run {}: unknown status {:?}", row.id, row.status));
        let run = RunRow {
            id: RunId(row.id),
            namespace: row.namespace,
            workflow: row.workflow,
            deployment: DeploymentId(row.deployment_id),
            package: row.package,
            number: row.number,
            status: row.status.parse().map_err(|_| unreadable())?,
            input: Payload::from_trusted(row.input),
            output: row.output.map(Payload::from_trusted),
            failure: row.failure.map(Payload::from_trusted),
            labels: labels_of(&row.labels)?,
            created_at: row.created_at.0,
            deadline: row.deadline.map(|time| time.0),
            parent: row.parent.map(RunId),
            queue: row.queue,
            priority: row.priority.unwrap_or(0),
            concurrency_key: row.concurrency_key,
            started_at: row.started_at.map(|time| time.0),
            finished_at: row.finished_at.map(|time| time.0),
            waiting_for: row.waiting_for,
            waiting_for_events: row.waiting_for_events.unwrap_or_default(),
            wake_at: row.wake_at.map(|time| time.0),
            blocked: row.blocked.map(Payload::from_trusted),
            steps_done: row.steps_done.and_then(|done| u64::try_from(done).ok()),
            said: said(row.said_done, row.said_total, row.said_note, row.said_at),
        };
        Ok((row.id, run))
    });
    read.collect()
}

/// One run. None: there is no such run.
pub async fn get_run(store: &Store, run: RunId) -> Result<Option<RunRow>, StoreError> {
    Ok(get_runs(store, &[run]).await?.pop().flatten())
}

/// Those of these ids that are of runs.
pub async fn existing_runs(store: &Store, ids: &[RunId]) -> Result<Vec<RunId>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let there = sqlx::query_scalar!(
        "select id from dacapo.run where id = any ($1::uuid[])",
        &ids
    )
    .fetch_all(store.pool())
    .await?;
    Ok(there.into_iter().map(RunId).collect())
}

/// How many steps of a run have an outcome; 0 also when there is no such run.
pub async fn steps_done(store: &Store, run: RunId) -> Result<u64, StoreError> {
    let done = sqlx::query_scalar!(
        r#"select count(*) as "done!" from dacapo.step where run_id = $1 and outcome is not null"#,
        run.0
    )
    .fetch_one(store.pool())
    .await?;
    Ok(u64::try_from(done).unwrap_or(0))
}

/// A step of a run as it stands.
#[derive(Debug, Clone)]
pub struct StepRow {
    /// The row of the journal.
    pub recorded: Recorded,
    /// When it is due, for waits with a time-out and sleeps, also after they are done; for a step, when its next attempt begins.
    pub due: Option<Timestamp>,
    /// Its attempts that failed, the first one first.
    pub failed_attempts: Vec<FailedAttemptRow>,
}

/// An attempt at a step that failed.
#[derive(Debug, Clone)]
pub struct FailedAttemptRow {
    /// What is recorded of it.
    pub attempt: FailedAttempt,
    /// The worker that made it, as `host:pid`.
    pub worker: String,
}

/// The journal of a run, in the order in which the run first reached its steps.
pub async fn steps_of(store: &Store, run: RunId) -> Result<Vec<StepRow>, StoreError> {
    let rows = sqlx::query_file!("sql/run/steps.sql", run.0)
        .fetch_all(store.pool())
        .await?;
    // Most runs have none.
    let mut failed_attempts = if rows.iter().any(|row| row.has_failed_attempts) {
        failed_attempts_of(store, run, None).await?
    } else {
        HashMap::new()
    };
    rows.into_iter()
        .map(|row| {
            let due = row.due.map(|due| due.0);
            let failed_attempts = failed_attempts.remove(&row.key).unwrap_or_default();
            let recorded = recorded_of(
                row.key.into(),
                row.position,
                &row.kind,
                row.outcome.as_deref(),
                row.payload.map(Into::into),
                row.due,
                i32::try_from(failed_attempts.len()).unwrap_or(i32::MAX),
                Some(row.started_at),
                row.finished_at,
            )?;
            Ok(StepRow {
                recorded,
                due,
                failed_attempts,
            })
        })
        .collect()
}

/// What somebody knows of a run's journal who looks again.
#[derive(Debug, Clone, Default)]
pub struct KnownSteps {
    /// The position of the last row.
    pub up_to: u32,
    /// Positions before it that no row had.
    pub missing: Vec<u32>,
    /// The keys of rows that were open.
    pub open: Vec<String>,
}

/// What a journal comes to. It tells journals apart in which rows were only added, and open ones closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalSum {
    /// How many rows it has.
    pub rows: u64,
    /// How many of them have an outcome.
    pub done: u64,
    /// When the last of these came out.
    pub latest: Option<Timestamp>,
}

/// What may have changed of a run's journal, by position, and what the whole of it comes to. See `sql/run/steps_since.sql`.
pub async fn steps_since(
    store: &Store,
    run: RunId,
    known: &KnownSteps,
) -> Result<(Vec<StepRow>, JournalSum), StoreError> {
    let number = |position: u32| i32::try_from(position).unwrap_or(i32::MAX);
    let missing: Vec<i32> = known.missing.iter().copied().map(number).collect();
    let rows = sqlx::query_file!(
        "sql/run/steps_since.sql",
        run.0,
        number(known.up_to),
        &missing,
        &known.open
    )
    .fetch_all(store.pool())
    .await?;
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let sum = rows.first().map(|row| JournalSum {
        rows: count(row.rows),
        done: count(row.done),
        latest: row.latest.map(|at| at.0),
    });
    let sum = sum.ok_or_else(|| {
        StoreError::Unreadable(format!("the journal of run {run} comes to nothing"))
    })?;
    let keys: Vec<String> = rows.iter().filter_map(|row| row.key.clone()).collect();
    let mut failed_attempts = match rows.iter().any(|row| row.has_failed_attempts) {
        true if !keys.is_empty() => failed_attempts_of(store, run, Some(&keys)).await?,
        _ => HashMap::new(),
    };
    let mut steps = Vec::with_capacity(keys.len());
    for row in rows {
        let (Some(key), Some(position), Some(kind)) = (row.key, row.position, row.kind) else {
            continue;
        };
        let failed_attempts = failed_attempts.remove(&key).unwrap_or_default();
        let due = row.due.map(|due| due.0);
        let recorded = recorded_of(
            key.into(),
            position,
            &kind,
            row.outcome.as_deref(),
            row.payload.map(Into::into),
            row.due,
            i32::try_from(failed_attempts.len()).unwrap_or(i32::MAX),
            row.started_at,
            row.finished_at,
        )?;
        steps.push(StepRow {
            recorded,
            due,
            failed_attempts,
        });
    }
    Ok((steps, sum))
}

/// The attempts that failed of all steps of a run, or of those with these keys, by the steps' keys.
async fn failed_attempts_of(
    store: &Store,
    run: RunId,
    keys: Option<&[String]>,
) -> Result<HashMap<String, Vec<FailedAttemptRow>>, StoreError> {
    let rows = sqlx::query!(
        r#"select key, number, started_at as "started_at: Time", finished_at as "finished_at: Time", failure, worker
        from dacapo.attempt where run_id = $1 and ($2::text[] is null or key = any ($2)) order by key, number"#,
        run.0,
        keys as _
    )
    .fetch_all(store.pool())
    .await?;
    let mut attempts: HashMap<String, Vec<FailedAttemptRow>> = HashMap::new();
    for row in rows {
        let unreadable = |_| {
            StoreError::Unreadable(format!(
                "step {}: the failure of attempt {}: {:?}",
                row.key, row.number, row.failure
            ))
        };
        let attempt = FailedAttempt {
            number: u32::try_from(row.number).unwrap_or(0),
            started_at: row.started_at.0,
            finished_at: row.finished_at.0,
            failure: Failure::from_json(&row.failure).map_err(unreadable)?,
        };
        attempts.entry(row.key).or_default().push(FailedAttemptRow {
            attempt,
            worker: row.worker,
        });
    }
    Ok(attempts)
}

/// A line of a run's log.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// `trace`, `debug`, `info`, `warn`, `error`.
    pub level: String,
    /// The step whose attempt was open.
    pub step: Option<String>,
    /// `log`, `stdout`, `stderr`.
    pub source: String,
    /// The text.
    pub message: String,
    /// Names and values as a JSON object.
    pub fields: Option<Payload>,
}

/// Which lines of a run's log.
#[derive(Debug, Clone, Copy)]
pub struct FindLines<'a> {
    /// The run.
    pub run: RunId,
    /// Only those whose level is one of these.
    pub levels: &'a [&'a str],
    /// Only those with an id above this one.
    pub after: Option<Uuid>,
    /// How many at most.
    pub limit: u32,
}

/// Lines of a run's log by their ids, the lowest first: nearly the order in which they were written. See `sql/log/list.sql`.
pub async fn log_lines(
    store: &Store,
    find: FindLines<'_>,
) -> Result<Vec<(Uuid, LogLine)>, StoreError> {
    let rows = sqlx::query_file!(
        "sql/log/list.sql",
        find.run.0,
        find.levels as _,
        find.after,
        i64::from(find.limit)
    )
    .fetch_all(store.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let line = LogLine {
                at: row.at.0,
                level: row.level,
                step: row.step,
                source: row.source,
                message: row.message,
                fields: row.fields.map(Payload::from_trusted),
            };
            (row.id, line)
        })
        .collect())
}
