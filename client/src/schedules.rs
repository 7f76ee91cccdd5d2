//! Schedules: workflows that are started again and again by the clock. The serde forms are stable.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_model::{
    CatchUp, JITTER_MAX, Overlap, PassedOver, PassedOverReason, Payload, RESERVED_LABELS, RunId,
    SCHEDULE_LABEL, SchedulePlan, Status, Ticks, Timestamp, check_name,
};
use dacapo_store::{
    ActiveWorkflow, DueTick, ScheduleDefinition, ScheduleRow, StartResult, StartRun, StoreError,
};
use serde::{Deserialize, Serialize};
use sqlx::Connection;

use crate::options::{StartOptions, check_labels};
use crate::resolve::Resolution;
use crate::retry::retried;
use crate::start::bad_input;
use crate::{Client, ClientError};

/// Ticks that one backfill starts, at most.
pub const BACKFILL_MAX: usize = 10_000;

/// Ticks of the future that a schedule shows.
const NEXT_SHOWN: usize = 5;

/// Runs that one statement starts.
const TOGETHER_MAX: usize = 500;

/// How often a start follows a workflow to a newer deployment.
const TRIES_MAX: u32 = 8;

/// A schedule to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    /// Its name, unique within the namespace.
    pub name: String,
    /// The workflow: a full name, or an end of one that is unique.
    pub workflow: String,
    /// The input of each run as JSON.
    pub input: String,
    /// The labels of each run. Each also gets `dacapo.schedule` and `dacapo.tick`.
    pub labels: BTreeMap<String, String>,
    /// When it is due.
    pub when: When,
    /// Each tick is delayed by a share of this that is its own, never beyond the next tick. At most a day.
    pub jitter: Duration,
    /// What becomes of a tick that comes while the run of an earlier one is active.
    pub overlap: Overlap,
    /// What becomes of ticks that were missed because no worker was there.
    pub catch_up: CatchUp,
    /// The queue that each run waits in, made before with [`Client::set_queue`]; `default` is the one without limits. None: as the manifest
    /// of its deployment says, and else that one.
    pub queue: Option<String>,
    /// The priority of each run: -100 to 100, higher goes first. None: as the manifest of its deployment says, and else 0.
    pub priority: Option<i16>,
    /// What the limits per key of the queue go by; only with a named queue. 1 to 200 bytes.
    pub concurrency_key: Option<String>,
    /// It is made paused.
    pub paused: bool,
    /// What happens if there is a schedule of this name.
    pub existing: Existing,
}

impl NewSchedule {
    /// A schedule with an input of `null`, no labels and no jitter, which skips ticks that overlap, makes up for one that was missed,
    /// and takes no other's place.
    pub fn new(name: impl Into<String>, workflow: impl Into<String>, when: When) -> Self {
        Self {
            name: name.into(),
            workflow: workflow.into(),
            input: "null".to_owned(),
            labels: BTreeMap::new(),
            when,
            jitter: Duration::ZERO,
            overlap: Overlap::Skip,
            catch_up: CatchUp::One,
            queue: None,
            priority: None,
            concurrency_key: None,
            paused: false,
            existing: Existing::Refuse,
        }
    }
}

/// When a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// By a cron expression: minute, hour, day of month, month and day of week; or six fields, with the second in front.
    Cron {
        /// The expression.
        expression: String,
        /// IANA name of the time zone, such as `Europe/Paris`.
        time_zone: String,
    },
    /// At the whole multiples of an interval since 1970-01-01T00:00:00Z.
    Every(Duration),
}

/// What happens to a schedule that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is; that is an error.
    Refuse,
    /// It gets the new definition. Its past, and whether it is paused, stay; if it is due at the same times, so does its next tick.
    Replace,
}

/// Whether a person's run may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Not while the last run of the schedule is active, unless its overlap policy allows that.
    UnlessActive,
    /// In any case; the overlap policy does not look at that run.
    Anyway,
}

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// Full name of the workflow that it starts.
    pub workflow: String,
    /// The input of its runs.
    pub input: Payload,
    /// The labels of its runs.
    pub labels: BTreeMap<String, String>,
    /// The queue of its runs. None: as the manifest of their deployment says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The priority of its runs. None: as the manifest of their deployment says.
    pub priority: Option<i16>,
    /// What the queue's limits per key go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// Its cron expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Its interval, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<i64>,
    /// The longest delay of a tick, in milliseconds.
    pub jitter_ms: u64,
    /// What becomes of ticks that overlap.
    pub overlap: Overlap,
    /// What becomes of ticks that were missed.
    pub catch_up: CatchUp,
    /// Whether it is paused.
    pub paused: bool,
    /// The ticks that come, without their jitter; none while it is paused, or if there are no more.
    pub next_ticks: Vec<Timestamp>,
    /// The run whose end the next tick waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<RunId>,
    /// The run that was started last.
    pub last_run: Option<ScheduledRun>,
    /// The ticks that were passed over last.
    pub passed_over: Option<PassedOver>,
    /// Why the next tick cannot be started.
    pub trouble: Option<Trouble>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a person last changed it.
    pub updated_at: Timestamp,
}

/// A run of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledRun {
    /// Its id.
    pub id: RunId,
    /// Its tick; none if a person triggered it.
    pub tick: Option<Timestamp>,
    /// How it stands; none if it is not there any more.
    pub status: Option<Status>,
}

/// Why a tick cannot be started. It is tried again every few seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a backfill did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backfilled {
    /// The ticks of the time that was given.
    pub ticks: Vec<Timestamp>,
    /// How many of them were started now.
    pub started: usize,
    /// How many had a run already.
    pub existing: usize,
}

/// What a server answers that only says the ticks.
#[derive(Deserialize)]
struct Ticked {
    ticks: Vec<Timestamp>,
}

#[derive(Deserialize)]
struct StoredTrouble {
    code: String,
    message: String,
}

impl Schedule {
    pub(crate) fn from_row(row: ScheduleRow) -> Result<Self, StoreError> {
        let unreadable =
            |error: String| StoreError::Unreadable(format!("schedule {}: {error}", row.name));
        let ticks = ticks_of(&row).map_err(unreadable)?;
        let next_ticks = match row.next {
            Some(next) if !row.paused => ticks.iter_from(next.tick).take(NEXT_SHOWN).collect(),
            _ => Vec::new(),
        };
        let passed_over = match row.passed_over {
            Some((from, until, reason)) => Some(PassedOver {
                from,
                until,
                reason: [PassedOverReason::Missed, PassedOverReason::Overlap]
                    .into_iter()
                    .find(|known| known.as_str() == reason)
                    .ok_or_else(|| unreadable(format!("unknown reason {reason:?}")))?,
            }),
            None => None,
        };
        let trouble = match row.trouble {
            Some((json, since)) => {
                let stored: StoredTrouble = serde_json::from_str(json.as_str())
                    .map_err(|error| unreadable(error.to_string()))?;
                Some(Trouble {
                    code: stored.code,
                    message: stored.message,
                    since,
                })
            }
            None => None,
        };
        Ok(Self {
            cron: row.cron,
            time_zone: row.time_zone,
            every_seconds: row.every_s,
            jitter_ms: row.jitter_ms,
            overlap: row.overlap,
            catch_up: row.catch_up,
            paused: row.paused,
            next_ticks,
            waiting_for: row.waiting_for,
            last_run: row.last_run.map(|id| ScheduledRun {
                id,
                tick: row.last_tick,
                status: row.last_run_status,
            }),
            passed_over,
            trouble,
            created_at: row.created_at,
            updated_at: row.updated_at,
            name: row.name,
            workflow: row.workflow,
            input: row.input,
            labels: row.labels,
            queue: row.queue,
            priority: row.priority,
            concurrency_key: row.concurrency_key,
        })
    }
}

fn ticks_of(row: &ScheduleRow) -> Result<Ticks, String> {
    match (&row.cron, &row.time_zone, row.every_s) {
        (Some(cron), Some(zone), None) => Ticks::cron(cron, zone),
        (_, _, every) => {
            let seconds = every.and_then(|seconds| u64::try_from(seconds).ok());
            Ticks::every(Duration::from_secs(seconds.unwrap_or(0)))
        }
    }
    .map_err(|error| error.to_string())
}

fn due(plan: &SchedulePlan, after: Timestamp) -> Option<DueTick> {
    plan.ticks.next_after(after).map(|tick| DueTick {
        tick,
        at: plan.due_at(tick),
    })
}

impl Client {
    /// Makes a schedule, or gives the one of this name another definition.
    ///
    /// # Errors
    /// Those of [`Client::start_by_name`] if the workflow cannot be started with this input; [`ClientError::BadArgument`] if the
    /// schedule cannot be one; [`ClientError::QueueNotFound`]; [`ClientError::ScheduleExists`]. Nothing was written then.
    pub async fn create_schedule(&self, new: NewSchedule) -> Result<Schedule, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.create_schedule(&new).await;
        }
        check_schedule_name(&new.name)?;
        check_labels(&new.labels)?;
        let places = StartOptions {
            queue: new.queue.clone(),
            priority: new.priority,
            concurrency_key: new.concurrency_key.clone(),
            ..StartOptions::default()
        };
        places.check()?;
        if let Some(label) = new
            .labels
            .keys()
            .find(|name| name.starts_with(RESERVED_LABELS))
        {
            return Err(ClientError::BadArgument {
                what: "label",
                message: format!(
                    "{label:?}: names that begin with {RESERVED_LABELS:?} are those that the schedule itself gives to its runs"
                ),
            });
        }
        let ticks = match &new.when {
            When::Cron {
                expression,
                time_zone,
            } => Ticks::cron(expression, time_zone),
            When::Every(interval) => Ticks::every(*interval),
        }
        .map_err(|error| ClientError::BadArgument {
            what: error.what(),
            message: error.to_string(),
        })?;
        if new.jitter > JITTER_MAX {
            return Err(ClientError::BadArgument {
                what: "jitter",
                message: format!("{} s: expected at most 24 h", new.jitter.as_secs_f64()),
            });
        }
        let (active, input) = self.checked_input(&new.workflow, &new.input).await?;
        self.check_start(&active.workflow.name, &new.labels)?;
        if new.existing == Existing::Replace {
            // Whoever may not see the one that is there may not take its place.
            self.check_schedule(&new.name).await?;
        }
        places.check_on(&active.defaults)?;
        let plan = SchedulePlan {
            namespace: self.namespace.to_string(),
            name: new.name.clone(),
            workflow: active.workflow.name.clone(),
            ticks,
            jitter: new.jitter,
            overlap: new.overlap,
            catch_up: new.catch_up,
        };
        let definition = ScheduleDefinition {
            namespace: &self.namespace,
            name: &new.name,
            workflow: &active.workflow.name,
            input: &input,
            labels: &new.labels,
            ticks: &plan.ticks,
            jitter: new.jitter,
            overlap: new.overlap,
            catch_up: new.catch_up,
            queue: places.queue.as_deref(),
            priority: places.priority,
            concurrency_key: places.concurrency_key.as_deref(),
        };
        let mut connection = self.live_connection().await?;
        let mut transaction = connection.begin().await.map_err(StoreError::from)?;
        if let Some(queue) = places.placing(&active.defaults).queue
            && !dacapo_store::is_queue(&mut transaction, &self.namespace, queue).await?
        {
            return Err(ClientError::QueueNotFound(queue.to_owned()));
        }
        let now = dacapo_store::database_time(&mut transaction).await?;
        let next = due(&plan, now);
        if next.is_none() {
            return Err(ClientError::BadArgument {
                what: "cron expression",
                message: format!(
                    "{:?} names no time that is still to come: expected one that does",
                    plan.ticks.as_cron().map_or("", |(cron, _)| cron)
                ),
            });
        }
        if !dacapo_store::create_schedule(&mut transaction, &definition, new.paused, next).await? {
            if new.existing == Existing::Refuse {
                return Err(ClientError::ScheduleExists(new.name));
            }
            let existing = self.locked(&mut transaction, &new.name).await?;
            // A tick that is due just now must not get lost by a definition that did not change.
            let is_same = (existing.cron.as_deref().zip(existing.time_zone.as_deref()))
                == plan.ticks.as_cron()
                && existing.every_s == plan.ticks.as_every()
                && Duration::from_millis(existing.jitter_ms) == plan.jitter
                && existing.workflow == plan.workflow;
            let next = match existing.next {
                Some(tick) if is_same => Some(tick),
                _ => next,
            };
            dacapo_store::replace_schedule(&mut transaction, &definition, next).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        drop(connection);
        self.schedule(&new.name).await
    }

    /// The schedules of the client's namespace, by name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.schedules().await;
        }
        let pool = self.store().pool();
        let mut rows =
            retried(|| dacapo_store::list_schedules(pool, &self.namespace, None)).await?;
        rows.retain(|row| self.sees(&self.namespace, &row.workflow, &row.labels));
        self.show_schedules(rows).await
    }

    /// A schedule as it stands.
    ///
    /// # Errors
    /// [`ClientError::ScheduleNotFound`].
    pub async fn schedule(&self, name: &str) -> Result<Schedule, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.schedule(name).await;
        }
        let row = self.schedule_row(name).await?;
        let mut shown = self.show_schedules(vec![row]).await?;
        let not_found = || ClientError::ScheduleNotFound(name.to_owned());
        shown.pop().ok_or_else(not_found)
    }

    /// The same with its input as it is.
    async fn schedule_row(&self, name: &str) -> Result<ScheduleRow, ClientError> {
        check_schedule_name(name)?;
        let pool = self.store().pool();
        retried(|| dacapo_store::list_schedules(pool, &self.namespace, Some(name)))
            .await?
            .pop()
            .filter(|row| self.sees(&self.namespace, &row.workflow, &row.labels))
            .ok_or_else(|| ClientError::ScheduleNotFound(name.to_owned()))
    }

    /// Refuses a schedule that is there, but not for this client.
    async fn check_schedule(&self, name: &str) -> Result<(), ClientError> {
        if self.limits_of_scope().is_none() {
            return Ok(());
        }
        let pool = self.store().pool();
        let rows =
            retried(|| dacapo_store::list_schedules(pool, &self.namespace, Some(name))).await?;
        let hidden = |row: &ScheduleRow| !self.sees(&self.namespace, &row.workflow, &row.labels);
        match rows.iter().any(hidden) {
            true => Err(ClientError::ScheduleNotFound(name.to_owned())),
            false => Ok(()),
        }
    }

    /// Pauses a schedule: its ticks pass without runs. Runs that were started go on.
    ///
    /// # Errors
    /// [`ClientError::ScheduleNotFound`]; [`ClientError::ScheduleConflict`] if it is paused.
    pub async fn pause_schedule(&self, name: &str) -> Result<Schedule, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.steer_schedule(name, "pause").await;
        }
        let schedule = self.schedule(name).await?;
        let mut connection = self.live_connection().await?;
        if !dacapo_store::pause_schedule(&mut connection, &self.namespace, name).await? {
            return Err(ClientError::ScheduleConflict {
                name: schedule.name,
                problem: "it is paused already".to_owned(),
            });
        }
        drop(connection);
        self.schedule(name).await
    }

    /// Lets a paused schedule go on with the next tick that comes. Those that passed meanwhile are not made up for; a backfill starts
    /// them.
    ///
    /// # Errors
    /// [`ClientError::ScheduleNotFound`]; [`ClientError::ScheduleConflict`] if it is not paused.
    pub async fn resume_schedule(&self, name: &str) -> Result<Schedule, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.steer_schedule(name, "resume").await;
        }
        check_schedule_name(name)?;
        self.check_schedule(name).await?;
        let mut connection = self.live_connection().await?;
        let mut transaction = connection.begin().await.map_err(StoreError::from)?;
        let row = self.locked(&mut transaction, name).await?;
        if !row.paused {
            return Err(ClientError::ScheduleConflict {
                name: row.name,
                problem: "it is not paused".to_owned(),
            });
        }
        let plan = self.plan(&row)?;
        let now = dacapo_store::database_time(&mut transaction).await?;
        let next = due(&plan, now);
        dacapo_store::resume_schedule(&mut transaction, &self.namespace, name, next).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        drop(connection);
        self.schedule(name).await
    }

    /// Starts a run of a schedule now, also while it is paused. It is the run of no tick, and changes none.
    ///
    /// # Errors
    /// [`ClientError::ScheduleNotFound`]; [`ClientError::ScheduleBusy`] while the schedule's last run is active and must not be
    /// overlapped; those of [`Client::start_by_name`] if the workflow cannot be started with the schedule's input any more.
    pub async fn trigger_schedule(
        &self,
        name: &str,
        trigger: Trigger,
    ) -> Result<RunId, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.trigger(name, trigger).await;
        }
        for _ in 0..TRIES_MAX {
            // Before the row is locked: no other connection is wanted while one is held.
            let seen = self.schedule_row(name).await?;
            let id = RunId::new();
            let mut labels = seen.labels.clone();
            labels.insert(SCHEDULE_LABEL.to_owned(), seen.name.clone());
            let resolution = self.resolved_now(&seen.workflow).await?;
            let active = resolution.target(id, &labels);
            let input = self.fitting(active, seen.input.as_str())?;
            let mut connection = self.live_connection().await?;
            let mut transaction = connection.begin().await.map_err(StoreError::from)?;
            let row = self.locked(&mut transaction, name).await?;
            if row.updated_at != seen.updated_at {
                continue;
            }
            let active_run = row.last_run.filter(|_| {
                row.last_run_status
                    .is_some_and(|status| !status.is_terminal())
            });
            if let Some(run) = active_run
                && trigger == Trigger::UnlessActive
                && row.overlap != Overlap::Allow
            {
                return Err(ClientError::ScheduleBusy {
                    name: row.name,
                    run,
                    overlap: row.overlap,
                });
            }
            let start = StartRun {
                id,
                workflow: &active.workflow.name,
                deployment: active.deployment,
                input: &input,
                labels: &labels,
                deadline: None,
                placing: row.placing(&active.defaults),
            };
            let results =
                dacapo_store::start_runs(&mut *transaction, std::slice::from_ref(&start)).await?;
            if let Some(error) = no_queue(&[start], &results) {
                return Err(error);
            }
            if results.contains(&StartResult::NotActive) {
                continue;
            }
            // A run that may overlap takes nobody's place: what came before it is still what ticks look at.
            if active_run.is_none() {
                dacapo_store::note_triggered(&mut transaction, &self.namespace, name, id).await?;
            }
            transaction.commit().await.map_err(StoreError::from)?;
            return Ok(id);
        }
        Err(ClientError::Redeployed(name.to_owned()))
    }

    /// The ticks of a schedule that are not earlier than `from` and earlier than `until`, which must not be in the future.
    ///
    /// # Errors
    /// [`ClientError::ScheduleNotFound`]; [`ClientError::BadArgument`] if there are more than [`BACKFILL_MAX`], or if the time is none.
    pub async fn ticks_between(
        &self,
        name: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Timestamp>, ClientError> {
        if let Some(remote) = self.remote() {
            let dry: Ticked = remote.backfill(name, from, until, true).await?;
            return Ok(dry.ticks);
        }
        let (_, ticks) = self.to_backfill(name, from, until).await?;
        Ok(ticks)
    }

    /// Starts the runs of a schedule's ticks that are not earlier than `from` and earlier than `until`. A tick that was started has its
    /// run, and gets no second one. They are started at once, whatever the overlap policy says.
    ///
    /// # Errors
    /// Those of [`Client::ticks_between`]; those of [`Client::start_by_name`] if the workflow cannot be started with the schedule's
    /// input any more.
    pub async fn backfill_schedule(
        &self,
        name: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Backfilled, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.backfill(name, from, until, false).await;
        }
        let (row, ticks) = self.to_backfill(name, from, until).await?;
        let plan = self.plan(&row)?;
        let mut backfilled = Backfilled {
            started: 0,
            existing: 0,
            ticks: Vec::new(),
        };
        let labels: Vec<_> = ticks
            .iter()
            .map(|&tick| plan.labels_of(tick, &row.labels))
            .collect();
        let mut done = 0;
        let mut tries = 0;
        while done < ticks.len() {
            let end = ticks.len().min(done + TOGETHER_MAX);
            let resolution = self.resolved_now(&row.workflow).await?;
            let mut targets = Vec::with_capacity(end - done);
            for at in done..end {
                let run = plan.run_of(ticks[at]);
                let active = resolution.target(run, &labels[at]);
                let input = self.fitting(active, row.input.as_str())?;
                targets.push((run, active, input, &labels[at]));
            }
            let starts: Vec<StartRun<'_>> = targets
                .iter()
                .map(|(run, active, input, labels)| StartRun {
                    id: *run,
                    workflow: &row.workflow,
                    deployment: active.deployment,
                    input,
                    labels,
                    deadline: None,
                    placing: row.placing(&active.defaults),
                })
                .collect();
            let pool = self.store().pool();
            let results = retried(|| dacapo_store::start_runs(pool, &starts)).await?;
            if let Some(error) = no_queue(&starts, &results) {
                return Err(error);
            }
            if results.contains(&StartResult::NotActive) {
                tries += 1;
                if tries >= TRIES_MAX {
                    return Err(ClientError::Redeployed(row.workflow));
                }
                continue;
            }
            let started = results
                .iter()
                .filter(|result| **result == StartResult::Started)
                .count();
            backfilled.started += started;
            backfilled.existing += results.len() - started;
            done = end;
        }
        backfilled.ticks = ticks;
        Ok(backfilled)
    }

    /// Takes a schedule away. Its runs stay, and go on.
    ///
    /// # Errors
    /// [`ClientError::ScheduleNotFound`].
    pub async fn delete_schedule(&self, name: &str) -> Result<(), ClientError> {
        if let Some(remote) = self.remote() {
            return remote.delete_schedule(name).await;
        }
        check_schedule_name(name)?;
        self.check_schedule(name).await?;
        let mut connection = self.live_connection().await?;
        if dacapo_store::delete_schedule(&mut connection, &self.namespace, name).await? {
            Ok(())
        } else {
            Err(ClientError::ScheduleNotFound(name.to_owned()))
        }
    }

    /// The schedule, and its ticks within a time that can be backfilled.
    async fn to_backfill(
        &self,
        name: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<(ScheduleRow, Vec<Timestamp>), ClientError> {
        check_schedule_name(name)?;
        self.check_schedule(name).await?;
        let bad = |message: String| ClientError::BadArgument {
            what: "time to backfill",
            message,
        };
        let mut connection = self.live_connection().await?;
        let now = dacapo_store::database_time(&mut connection).await?;
        let row = dacapo_store::list_schedules(&mut *connection, &self.namespace, Some(name))
            .await?
            .pop()
            .ok_or_else(|| ClientError::ScheduleNotFound(name.to_owned()))?;
        if from >= until {
            return Err(bad(format!(
                "it begins at {from} and ends at {until}: expected an end after the beginning"
            )));
        }
        if until > now {
            return Err(bad(format!(
                "it ends at {until}, and it is {now}: expected an end that is not in the future"
            )));
        }
        let plan = self.plan(&row)?;
        let ticks: Vec<Timestamp> = plan
            .ticks
            .iter_from(from)
            .take_while(|&tick| tick < until)
            .take(BACKFILL_MAX + 1)
            .collect();
        if ticks.len() > BACKFILL_MAX {
            return Err(bad(format!(
                "from {from} to {until} there are more than {BACKFILL_MAX} ticks: expected at most that many; backfill in parts"
            )));
        }
        Ok((row, ticks))
    }

    /// The active deployment of a workflow, and an input that fits it.
    async fn checked_input(
        &self,
        workflow: &str,
        input: &str,
    ) -> Result<(std::sync::Arc<ActiveWorkflow>, Payload), ClientError> {
        self.resolved_now(workflow).await?;
        let active = self.resolve(workflow).await?;
        let input = self.fitting(&active, input)?;
        Ok((active, input))
    }

    /// What a workflow stands for now. Unlike a start, nothing that is written here would notice an answer that is out of date.
    async fn resolved_now(
        &self,
        workflow: &str,
    ) -> Result<std::sync::Arc<Resolution>, ClientError> {
        self.forget(workflow);
        self.resolve_all(workflow).await
    }

    fn fitting(&self, active: &ActiveWorkflow, input: &str) -> Result<Payload, ClientError> {
        active
            .workflow
            .check_input(input, &self.limits)
            .map_err(|error| bad_input(&active.workflow, error))
    }

    fn plan(&self, row: &ScheduleRow) -> Result<SchedulePlan, ClientError> {
        Ok(SchedulePlan {
            namespace: self.namespace.to_string(),
            name: row.name.clone(),
            workflow: row.workflow.clone(),
            ticks: ticks_of(row).map_err(|error| {
                StoreError::Unreadable(format!("schedule {}: {error}", row.name))
            })?,
            jitter: Duration::from_millis(row.jitter_ms),
            overlap: row.overlap,
            catch_up: row.catch_up,
        })
    }

    async fn locked(
        &self,
        connection: &mut sqlx::PgConnection,
        name: &str,
    ) -> Result<ScheduleRow, ClientError> {
        dacapo_store::lock_schedule(connection, &self.namespace, name)
            .await?
            .ok_or_else(|| ClientError::ScheduleNotFound(name.to_owned()))
    }
}

fn check_schedule_name(name: &str) -> Result<(), ClientError> {
    check_name(name).map_err(|error| ClientError::BadArgument {
        what: "schedule",
        message: error.to_string(),
    })
}

/// What is wrong if there is no queue for one of the runs.
fn no_queue(starts: &[StartRun<'_>], results: &[StartResult]) -> Option<ClientError> {
    let mut both = starts.iter().zip(results);
    let (start, _) = both.find(|(_, result)| **result == StartResult::UnknownQueue)?;
    let queue = start.placing.queue.unwrap_or_default();
    Some(ClientError::QueueNotFound(queue.to_owned()))
}
