//! Schedules: making and changing them, and what a worker's scheduler does with those that are due.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_model::{
    CatchUp, DeploymentId, Overlap, Payload, Rollout, RunId, Status, Ticks, Timestamp, Workflow,
};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::code::{parse, rollout};
use crate::queue::labels_of;
use crate::queues::{Begins, Placing, PlacingDefaults};
use crate::{Store, StoreError, Time};

/// What a schedule is to be. Its input has been checked against the workflow's type.
#[derive(Debug, Clone)]
pub struct ScheduleDefinition<'a> {
    /// Tenant.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Full name of the workflow that it starts.
    pub workflow: &'a str,
    /// The input of its runs.
    pub input: &'a Payload,
    /// The labels of its runs.
    pub labels: &'a BTreeMap<String, String>,
    /// When it is due.
    pub ticks: &'a Ticks,
    /// The longest delay of a tick.
    pub jitter: Duration,
    /// What becomes of ticks that overlap.
    pub overlap: Overlap,
    /// What becomes of ticks that were missed.
    pub catch_up: CatchUp,
    /// In which queue its runs are. None: as the manifest of their deployment says.
    pub queue: Option<&'a str>,
    /// Their priority. None: as the manifest of their deployment says.
    pub priority: Option<i16>,
    /// What the queue's limits per key go by.
    pub concurrency_key: Option<&'a str>,
}

/// A tick, and when it is to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTick {
    /// The tick.
    pub tick: Timestamp,
    /// The tick and its jitter.
    pub at: Timestamp,
}

fn tick_columns(next: Option<DueTick>) -> (Option<Time>, Option<Time>) {
    (
        next.map(|next| Time(next.tick)),
        next.map(|next| Time(next.at)),
    )
}

fn labels_text(labels: &BTreeMap<String, String>) -> Result<String, StoreError> {
    serde_json::to_string(labels).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The database's time.
pub async fn database_time(connection: &mut PgConnection) -> Result<Timestamp, StoreError> {
    let now = sqlx::query_scalar!(r#"select clock_timestamp() as "now!: Time""#)
        .fetch_one(connection)
        .await?;
    Ok(now.0)
}

/// Makes a schedule. False: there is one of this name, and nothing was written.
pub async fn create_schedule(
    connection: &mut PgConnection,
    definition: &ScheduleDefinition<'_>,
    paused: bool,
    next: Option<DueTick>,
) -> Result<bool, StoreError> {
    let (cron, time_zone) = definition.ticks.as_cron().unzip();
    let (next_tick, next_at) = tick_columns(next);
    let row = sqlx::query_file!(
        "sql/schedule/create.sql",
        definition.namespace,
        definition.name,
        definition.workflow,
        definition.input.as_str(),
        labels_text(definition.labels)?,
        cron,
        time_zone,
        definition.ticks.as_every(),
        millis(definition.jitter),
        definition.overlap.as_str(),
        definition.catch_up.as_str(),
        paused,
        next_tick as _,
        next_at as _,
        definition.queue,
        definition.priority,
        definition.concurrency_key
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

/// Puts another definition in the place of a schedule's whose row the caller has locked.
pub async fn replace_schedule(
    connection: &mut PgConnection,
    definition: &ScheduleDefinition<'_>,
    next: Option<DueTick>,
) -> Result<(), StoreError> {
    let (cron, time_zone) = definition.ticks.as_cron().unzip();
    let (next_tick, next_at) = tick_columns(next);
    sqlx::query_file!(
        "sql/schedule/replace.sql",
        definition.namespace,
        definition.name,
        definition.workflow,
        definition.input.as_str(),
        labels_text(definition.labels)?,
        cron,
        time_zone,
        definition.ticks.as_every(),
        millis(definition.jitter),
        definition.overlap.as_str(),
        definition.catch_up.as_str(),
        next_tick as _,
        next_at as _,
        definition.queue,
        definition.priority,
        definition.concurrency_key
    )
    .fetch_optional(connection)
    .await?;
    Ok(())
}

/// A schedule as it stands.
#[derive(Debug, Clone)]
pub struct ScheduleRow {
    /// Its name.
    pub name: String,
    /// Full name of the workflow that it starts.
    pub workflow: String,
    /// The input of its runs.
    pub input: Payload,
    /// The labels of its runs.
    pub labels: BTreeMap<String, String>,
    /// The queue of its runs. None: as the manifest of their deployment says.
    pub queue: Option<String>,
    /// The priority of its runs. None: as the manifest of their deployment says.
    pub priority: Option<i16>,
    /// What the queue's limits per key go by.
    pub concurrency_key: Option<String>,
    /// Its cron expression.
    pub cron: Option<String>,
    /// The time zone of that.
    pub time_zone: Option<String>,
    /// Its interval, in seconds.
    pub every_s: Option<i64>,
    /// The longest delay of a tick, in milliseconds.
    pub jitter_ms: u64,
    /// What becomes of ticks that overlap.
    pub overlap: Overlap,
    /// What becomes of ticks that were missed.
    pub catch_up: CatchUp,
    /// Whether it is paused.
    pub paused: bool,
    /// The first tick that nothing was decided about, and when that will be; none: there are no more.
    pub next: Option<DueTick>,
    /// The run whose end the next tick waits for.
    pub waiting_for: Option<RunId>,
    /// The tick that was started last; none if its last run was triggered by a person.
    pub last_tick: Option<Timestamp>,
    /// The run that was started last.
    pub last_run: Option<RunId>,
    /// How that run stands; none if it is not there any more.
    pub last_run_status: Option<Status>,
    /// The ticks that were passed over last: from the first on, before the second (none: all that followed), and why.
    pub passed_over: Option<(Timestamp, Option<Timestamp>, String)>,
    /// Why the next tick cannot be started, as JSON, and since when.
    pub trouble: Option<(Payload, Timestamp)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a person last changed it.
    pub updated_at: Timestamp,
    /// The deployment that says what is secret in its input; none: the workflow is not deployed.
    pub deployment: Option<DeploymentId>,
}

impl ScheduleRow {
    /// In which queue its runs are on a deployment with these defaults.
    pub fn placing<'a>(&'a self, defaults: &'a PlacingDefaults) -> Placing<'a> {
        placing(
            self.queue.as_deref(),
            self.priority,
            self.concurrency_key.as_deref(),
            defaults,
        )
    }
}

fn placing<'a>(
    queue: Option<&'a str>,
    priority: Option<i16>,
    concurrency_key: Option<&'a str>,
    defaults: &'a PlacingDefaults,
) -> Placing<'a> {
    let (queue, priority) = defaults.under(queue, priority);
    Placing {
        queue,
        priority,
        // Limits per key are those of a named queue, and a newer deployment may name none.
        concurrency_key: concurrency_key.filter(|_| queue.is_some()),
        begins: Begins::Now,
    }
}

/// The schedules of a namespace, by name; with a name only that one.
pub async fn list_schedules<'e>(
    executor: impl sqlx::Executor<'e, Database = Postgres>,
    namespace: &str,
    name: Option<&str>,
) -> Result<Vec<ScheduleRow>, StoreError> {
    let rows = sqlx::query_file!("sql/schedule/list.sql", namespace, name)
        .fetch_all(executor)
        .await?;
    rows.into_iter()
        .map(|row| {
            let unreadable =
                |error: String| StoreError::Unreadable(format!("schedule {}: {error}", row.name));
            Ok(ScheduleRow {
                workflow: row.workflow,
                input: Payload::from_trusted(row.input),
                labels: labels_of(&row.labels)?.into_iter().collect(),
                queue: row.queue,
                priority: row.priority,
                concurrency_key: row.concurrency_key,
                cron: row.cron,
                time_zone: row.time_zone,
                every_s: row.every_s,
                jitter_ms: u64::try_from(row.jitter_ms).unwrap_or(0),
                overlap: row
                    .overlap
                    .parse()
                    .map_err(|error: dacapo_model::PolicyError| unreadable(error.to_string()))?,
                catch_up: row
                    .catch_up
                    .parse()
                    .map_err(|error: dacapo_model::PolicyError| unreadable(error.to_string()))?,
                paused: row.paused,
                next: row.next_tick.zip(row.next_at).map(|(tick, at)| DueTick {
                    tick: tick.0,
                    at: at.0,
                }),
                waiting_for: row.waiting_for.map(RunId),
                last_tick: row.last_tick.map(|time| time.0),
                last_run: row.last_run.map(RunId),
                last_run_status: row
                    .last_run_status
                    .map(|status| status.parse())
                    .transpose()
                    .map_err(|error: dacapo_model::StatusError| unreadable(error.to_string()))?,
                passed_over: row
                    .passed_from
                    .zip(row.passed_reason)
                    .map(|(from, reason)| (from.0, row.passed_until.map(|until| until.0), reason)),
                trouble: row
                    .trouble
                    .map(Payload::from_trusted)
                    .zip(row.trouble_since.map(|since| since.0)),
                created_at: row.created_at.0,
                updated_at: row.updated_at.0,
                deployment: row.deployment_id.map(DeploymentId),
                name: row.name,
            })
        })
        .collect()
}

/// Locks a schedule's row until the end of the caller's transaction, and reads it. None: there is no such schedule.
pub async fn lock_schedule(
    connection: &mut PgConnection,
    namespace: &str,
    name: &str,
) -> Result<Option<ScheduleRow>, StoreError> {
    let locked = sqlx::query_scalar!(
        "select name from dacapo.schedule where namespace = $1 and name = $2 for update",
        namespace,
        name
    )
    .fetch_optional(&mut *connection)
    .await?;
    if locked.is_none() {
        return Ok(None);
    }
    // By a statement of its own: whoever held the lock before may have started a run that this one must see.
    Ok(list_schedules(connection, namespace, Some(name))
        .await?
        .pop())
}

/// Pauses a schedule. False: there is no such schedule, or it is paused.
pub async fn pause_schedule(
    connection: &mut PgConnection,
    namespace: &str,
    name: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update dacapo.schedule set paused = true, waiting_for = null, trouble = null, trouble_since = null, updated_at = clock_timestamp()
        where namespace = $1 and name = $2 and not paused",
        namespace,
        name
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Lets a schedule whose row the caller has locked go on with this tick.
pub async fn resume_schedule(
    connection: &mut PgConnection,
    namespace: &str,
    name: &str,
    next: Option<DueTick>,
) -> Result<(), StoreError> {
    let (next_tick, next_at) = tick_columns(next);
    sqlx::query_file!(
        "sql/schedule/resume.sql",
        namespace,
        name,
        next_tick as _,
        next_at as _
    )
    .fetch_optional(connection)
    .await?;
    Ok(())
}

/// Notes a run that a person has triggered, for a schedule whose row the caller has locked.
pub async fn note_triggered(
    connection: &mut PgConnection,
    namespace: &str,
    name: &str,
    run: RunId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update dacapo.schedule set last_run = $3, last_tick = null where namespace = $1 and name = $2",
        namespace,
        name,
        run.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes a schedule away; its runs stay. False: there is no such schedule.
pub async fn delete_schedule(
    connection: &mut PgConnection,
    namespace: &str,
    name: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "delete from dacapo.schedule where namespace = $1 and name = $2",
        namespace,
        name
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A schedule that is due, as it is stored; whoever decides about it says what cannot be read.
#[derive(Debug, Clone)]
pub struct DueSchedule {
    /// Tenant.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Full name of the workflow that it starts.
    pub workflow: String,
    /// The input of its runs.
    pub input: String,
    /// The labels of its runs, as JSON.
    pub labels: String,
    /// The queue of its runs. None: as the manifest of their deployment says.
    pub queue: Option<String>,
    /// The priority of its runs. None: as the manifest of their deployment says.
    pub priority: Option<i16>,
    /// What the queue's limits per key go by.
    pub concurrency_key: Option<String>,
    /// Its cron expression.
    pub cron: Option<String>,
    /// The time zone of that.
    pub time_zone: Option<String>,
    /// Its interval, in seconds.
    pub every_s: Option<i64>,
    /// The longest delay of a tick, in milliseconds.
    pub jitter_ms: u64,
    /// What becomes of ticks that overlap.
    pub overlap: String,
    /// What becomes of ticks that were missed.
    pub catch_up: String,
    /// The first tick that nothing was decided about.
    pub next_tick: Timestamp,
    /// Whether that tick has waited for a run.
    pub waited: bool,
    /// The run that was started last.
    pub last_run: Option<RunId>,
    /// Whether that run is active.
    pub previous_active: bool,
    /// The active deployment of the workflow.
    pub active: Option<ScheduleTarget>,
    /// The one that is being rolled out, and what goes to it.
    pub rolled_out: Option<(ScheduleTarget, Rollout)>,
    /// The database's time.
    pub now: Timestamp,
}

/// A deployment that runs of a schedule may go to.
#[derive(Debug, Clone)]
pub struct ScheduleTarget {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The workflow's schema, as JSON.
    pub schema: String,
    /// What the deployment says of runs of it whose start does not say it.
    pub defaults: PlacingDefaults,
    /// Whether there is the queue of the schedule's runs there, or none is named.
    pub has_queue: bool,
}

impl DueSchedule {
    /// Where this run of it goes, and the workflow with its types; none if it is not deployed.
    pub fn target(
        &self,
        run: RunId,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<(&ScheduleTarget, Workflow)>, StoreError> {
        let rolled_out = self
            .rolled_out
            .as_ref()
            .filter(|(_, rollout)| self.active.is_none() || rollout.takes(run, labels))
            .map(|(target, _)| target);
        rolled_out
            .or(self.active.as_ref())
            .map(|target| Ok((target, parse(&target.schema, &self.workflow)?)))
            .transpose()
    }

    /// In which queue its runs are on a deployment with these defaults.
    pub fn placing<'a>(&'a self, defaults: &'a PlacingDefaults) -> Placing<'a> {
        placing(
            self.queue.as_deref(),
            self.priority,
            self.concurrency_key.as_deref(),
            defaults,
        )
    }

    /// The labels of its runs.
    pub fn labels(&self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(labels_of(&self.labels)?.into_iter().collect())
    }
}

/// A transaction in which schedules are locked.
#[derive(Debug)]
pub struct DueSchedules {
    transaction: Transaction<'static, Postgres>,
    /// The schedules that are locked.
    pub schedules: Vec<DueSchedule>,
}

/// What a look for schedules that are due has found.
#[derive(Debug)]
pub enum DueLook {
    /// Some, which are locked.
    Locked(DueSchedules),
    /// None that is to be had.
    Nothing {
        /// When the next one is due.
        next_due: Option<Timestamp>,
        /// The database's time.
        now: Timestamp,
    },
}

/// Locks up to `limit` schedules that are due, or only the one of this namespace and name.
pub async fn lock_due_schedules(
    store: &Store,
    limit: u32,
    only: Option<(&str, &str)>,
) -> Result<DueLook, StoreError> {
    let mut transaction = store.pool().begin().await?;
    let (namespace, name) = only.unzip();
    let rows = sqlx::query_file!(
        "sql/schedule/lock_due.sql",
        i64::from(limit),
        namespace,
        name
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut next_due = None;
    let mut now = Timestamp::MIN;
    let mut schedules = Vec::with_capacity(rows.len());
    for row in rows {
        next_due = row.next_due.map(|due| due.0);
        now = row.now.0;
        if let (Some(namespace), Some(name), Some(workflow), Some(input), Some(labels)) =
            (row.namespace, row.name, row.workflow, row.input, row.labels)
        {
            schedules.push(DueSchedule {
                namespace,
                name,
                workflow,
                input,
                labels,
                queue: row.queue,
                priority: row.priority,
                concurrency_key: row.concurrency_key,
                cron: row.cron,
                time_zone: row.time_zone,
                every_s: row.every_s,
                jitter_ms: row
                    .jitter_ms
                    .and_then(|jitter| u64::try_from(jitter).ok())
                    .unwrap_or(0),
                overlap: row.overlap.unwrap_or_default(),
                catch_up: row.catch_up.unwrap_or_default(),
                next_tick: row.next_tick.map_or(now, |tick| tick.0),
                waited: row.waiting_for.is_some(),
                last_run: row.last_run.map(RunId),
                previous_active: false,
                active: None,
                rolled_out: None,
                now,
            });
        }
    }
    if schedules.is_empty() {
        transaction.rollback().await?;
        return Ok(DueLook::Nothing { next_due, now });
    }
    let namespaces: Vec<&str> = schedules.iter().map(|one| one.namespace.as_str()).collect();
    let workflows: Vec<&str> = schedules.iter().map(|one| one.workflow.as_str()).collect();
    let last_runs: Vec<Option<Uuid>> = schedules
        .iter()
        .map(|one| one.last_run.map(|run| run.0))
        .collect();
    let queues: Vec<Option<&str>> = schedules.iter().map(|one| one.queue.as_deref()).collect();
    let looks = sqlx::query_file!(
        "sql/schedule/look.sql",
        &namespaces as _,
        &workflows as _,
        &last_runs as _,
        &queues as _
    )
    .fetch_all(&mut *transaction)
    .await?;
    for (schedule, look) in schedules.iter_mut().zip(looks) {
        schedule.previous_active = look.previous_active;
        let defaults = |queue, priority| PlacingDefaults { queue, priority };
        let active = look.deployment_id.zip(look.schema);
        schedule.active = active.map(|(id, schema)| ScheduleTarget {
            deployment: DeploymentId(id),
            schema,
            defaults: defaults(look.queue, look.priority),
            has_queue: look.has_queue,
        });
        let part = rollout(look.rollout_percent, look.rollout_labels.as_deref())?;
        let rolled_out = look.rollout_id.zip(look.rollout_schema).zip(part);
        schedule.rolled_out = rolled_out.map(|((id, schema), part)| {
            let target = ScheduleTarget {
                deployment: DeploymentId(id),
                schema,
                defaults: defaults(look.rollout_queue, look.rollout_priority),
                has_queue: look.rollout_has_queue,
            };
            (target, part)
        });
        schedule.now = look.now.0;
    }
    Ok(DueLook::Locked(DueSchedules {
        transaction,
        schedules,
    }))
}

/// What was decided about a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleAdvance {
    /// Tenant.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The first tick that nothing was decided about.
    pub next: Option<DueTick>,
    /// The run whose end that tick waits for.
    pub waiting_for: Option<RunId>,
    /// The newest tick that was started, and its run.
    pub started: Option<(Timestamp, RunId)>,
    /// Ticks that were passed over: from the first on, before the second, and why.
    pub passed_over: Option<(Timestamp, Option<Timestamp>, &'static str)>,
}

impl DueSchedules {
    /// The transaction, to start and cancel runs in.
    pub fn transaction(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Notes why the next tick of a schedule cannot be started; it is looked at again after a while.
    pub async fn trouble(
        &mut self,
        namespace: &str,
        name: &str,
        reason: &str,
        again_after: Duration,
    ) -> Result<(), StoreError> {
        sqlx::query_file!(
            "sql/schedule/trouble.sql",
            namespace,
            name,
            reason,
            millis(again_after)
        )
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Writes what was decided, and commits.
    pub async fn advance(mut self, decided: &[ScheduleAdvance]) -> Result<(), StoreError> {
        let time = |time: Timestamp| Time(time);
        let namespaces: Vec<&str> = decided.iter().map(|one| one.namespace.as_str()).collect();
        let names: Vec<&str> = decided.iter().map(|one| one.name.as_str()).collect();
        let next_ticks: Vec<Option<Time>> = decided
            .iter()
            .map(|one| one.next.map(|next| time(next.tick)))
            .collect();
        let next_ats: Vec<Option<Time>> = decided
            .iter()
            .map(|one| one.next.map(|next| time(next.at)))
            .collect();
        let waiting_for: Vec<Option<Uuid>> = decided
            .iter()
            .map(|one| one.waiting_for.map(|run| run.0))
            .collect();
        let last_ticks: Vec<Option<Time>> = decided
            .iter()
            .map(|one| one.started.map(|(tick, _)| time(tick)))
            .collect();
        let last_runs: Vec<Option<Uuid>> = decided
            .iter()
            .map(|one| one.started.map(|(_, run)| run.0))
            .collect();
        let passed_from: Vec<Option<Time>> = decided
            .iter()
            .map(|one| one.passed_over.map(|(from, ..)| time(from)))
            .collect();
        let passed_until: Vec<Option<Time>> = decided
            .iter()
            .map(|one| one.passed_over.and_then(|(_, until, _)| until.map(time)))
            .collect();
        let passed_reasons: Vec<Option<&str>> = decided
            .iter()
            .map(|one| one.passed_over.map(|(.., reason)| reason))
            .collect();
        sqlx::query_file!(
            "sql/schedule/advance.sql",
            &namespaces as _,
            &names as _,
            &next_ticks as _,
            &next_ats as _,
            &waiting_for as _,
            &last_ticks as _,
            &last_runs as _,
            &passed_from as _,
            &passed_until as _,
            &passed_reasons as _
        )
        .execute(&mut *self.transaction)
        .await?;
        self.transaction.commit().await?;
        Ok(())
    }
}

/// Notes why the next tick of a schedule cannot be started, in a transaction of its own.
pub async fn schedule_trouble(
    store: &Store,
    namespace: &str,
    name: &str,
    reason: &str,
    again_after: Duration,
) -> Result<(), StoreError> {
    sqlx::query_file!(
        "sql/schedule/trouble.sql",
        namespace,
        name,
        reason,
        millis(again_after)
    )
    .execute(store.pool())
    .await?;
    Ok(())
}
