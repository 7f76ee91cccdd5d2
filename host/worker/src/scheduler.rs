//! Schedules: starts the runs of ticks that are due.
//!
//! Every worker does this, by a task of its own that touches no run and needs no lease: whoever holds a schedule's row decides about
//! its ticks, and starts their runs in the transaction that moves the schedule on. [`Scheduler::tick`] does whatever is due now;
//! [`Scheduler::run`] only waits in between. What is due next it learns from the control loop's heartbeats and from notifications,
//! so that schedules which are not due cost no statement.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dacapo_model::{
    Decision, Payload, PayloadLimits, PolicyError, RunId, SchedulePlan, Standing, Ticks, Timestamp,
    Wait,
};
use dacapo_store::{
    DueLook, DueSchedule, DueSchedules, DueTick, PlacingDefaults, ScheduleAdvance, StartResult,
    StartRun, Store, StoreError,
};
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::clock::Clock;

/// Schedules decided about in one transaction, at most.
const TOGETHER_MAX: u32 = 20;

/// How long a schedule whose next tick cannot be started is left alone before it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What the scheduler is told.
pub(crate) struct Agenda {
    bell: Notify,
    due: Mutex<Option<Timestamp>>,
    clock: Clock,
}

impl Default for Agenda {
    fn default() -> Self {
        Self {
            bell: Notify::default(),
            due: Mutex::default(),
            // Nothing is due before somebody has told the database's time.
            clock: Clock::new(Timestamp::MIN),
        }
    }
}

impl Agenda {
    /// What a heartbeat has brought: the database's time, and when the next schedule is due.
    pub(crate) fn beat(&self, now: Timestamp, next: Option<Timestamp>) {
        self.clock.set(now);
        if let Some(next) = next {
            self.due(next);
        }
    }

    /// A schedule was made or changed: it may be due at any time.
    pub(crate) fn look(&self) {
        self.due(Timestamp::MIN);
    }

    fn due(&self, at: Timestamp) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = Some(due.map_or(at, |earlier| earlier.min(at)));
        drop(due);
        self.bell.notify_one();
    }

    fn take_due(&self) -> Option<Timestamp> {
        self.due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Starts the runs of ticks that are due.
pub(crate) struct Scheduler {
    store: Store,
    agenda: Arc<Agenda>,
    limits: PayloadLimits,
    next_due: Option<Timestamp>,
}

impl Scheduler {
    pub(crate) fn new(store: Store, agenda: Arc<Agenda>, limits: PayloadLimits) -> Self {
        Self {
            store,
            agenda,
            limits,
            next_due: None,
        }
    }

    /// Works until it is dropped. Whatever goes wrong with schedules, runs go on.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            match self.tick().await {
                Ok(Some(rest)) => {
                    backoff.reset();
                    tokio::select! {
                        biased;
                        () = self.agenda.bell.notified() => {}
                        () = tokio::time::sleep(rest) => {}
                    }
                }
                Ok(None) => {
                    backoff.reset();
                    self.agenda.bell.notified().await;
                }
                Err(error) => {
                    if !error.is_transient() {
                        tracing::error!(%error, cause = error.source(), "schedules cannot be looked at");
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    /// Does all that is due. Answers how long there is nothing to do unless somebody rings; none: for ever.
    async fn tick(&mut self) -> Result<Option<Duration>, StoreError> {
        let told = self.agenda.take_due();
        self.next_due = match (self.next_due, told) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        let Some(due) = self.next_due else {
            return Ok(None);
        };
        if due <= self.agenda.clock.now() {
            self.next_due = self.decide_all().await?;
        }
        Ok(self.next_due.map(|due| {
            let now = self.agenda.clock.now();
            let micros = due.as_micros().saturating_sub(now.as_micros());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        }))
    }

    /// Decides about all schedules that are due and that nobody else decides about. Answers when the next one is due.
    async fn decide_all(&self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            match dacapo_store::lock_due_schedules(&self.store, TOGETHER_MAX, None).await? {
                DueLook::Nothing { next_due, now } => {
                    self.agenda.clock.set(now);
                    return Ok(next_due);
                }
                DueLook::Locked(due) => {
                    let names: Vec<(String, String)> = due
                        .schedules
                        .iter()
                        .map(|schedule| (schedule.namespace.clone(), schedule.name.clone()))
                        .collect();
                    match self.decide(due).await {
                        Err(error) if !error.is_transient() => self.decide_each(&names).await?,
                        result => result?,
                    }
                }
            }
        }
    }

    /// Decides about each of these schedules alone: something is wrong with one of them, and it is to hold up no other.
    async fn decide_each(&self, names: &[(String, String)]) -> Result<(), StoreError> {
        for (namespace, name) in names {
            let only = Some((namespace.as_str(), name.as_str()));
            let DueLook::Locked(due) =
                dacapo_store::lock_due_schedules(&self.store, 1, only).await?
            else {
                continue;
            };
            let Err(error) = self.decide(due).await else {
                continue;
            };
            if error.is_transient() {
                return Err(error);
            }
            let message = match error.source() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            tracing::warn!(
                schedule = name,
                reason = message,
                "a tick cannot be started"
            );
            let reason = Trouble::new("refused", message).json();
            dacapo_store::schedule_trouble(&self.store, namespace, name, &reason, AGAIN_AFTER)
                .await?;
        }
        Ok(())
    }

    /// Decides about the schedules that are locked, starts the runs of their ticks, and moves them on, all or nothing.
    async fn decide(&self, mut due: DueSchedules) -> Result<(), StoreError> {
        let mut decided = Vec::with_capacity(due.schedules.len());
        for schedule in std::mem::take(&mut due.schedules) {
            match Ready::new(&schedule, &self.limits) {
                Ok(ready) => decided.push((schedule, ready)),
                Err(trouble) => {
                    let (namespace, name) = (&schedule.namespace, &schedule.name);
                    tracing::warn!(
                        schedule = name,
                        reason = trouble.message,
                        "a tick cannot be started"
                    );
                    due.trouble(namespace, name, &trouble.json(), AGAIN_AFTER)
                        .await?;
                }
            }
        }
        for (schedule, ready) in &decided {
            if ready.decision.cancel_previous
                && let Some(run) = schedule.last_run
            {
                // Refused if it has just ended, or is being cancelled; in both cases its end is what is waited for.
                let _ = dacapo_store::cancel(due.transaction(), run).await?;
            }
        }
        let starts: Vec<StartRun<'_>> = decided
            .iter()
            .flat_map(|(schedule, ready)| ready.starts(schedule))
            .collect();
        if !starts.is_empty() {
            let results = dacapo_store::start_runs(due.transaction(), &starts).await?;
            if results.contains(&StartResult::NotActive)
                || results.contains(&StartResult::UnknownQueue)
            {
                // A newer deployment was activated since, or a queue deleted; dropping the transaction undoes everything, and the next look
                // finds it.
                return Ok(());
            }
        }
        let advances: Vec<ScheduleAdvance> = decided
            .iter()
            .map(|(schedule, ready)| ready.advance(schedule))
            .collect();
        due.advance(&advances).await
    }
}

/// Why a tick cannot be started.
struct Trouble {
    code: &'static str,
    message: String,
}

impl Trouble {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn json(&self) -> String {
        serde_json::json!({ "code": self.code, "message": self.message }).to_string()
    }
}

/// A schedule whose ticks can be started, and what was decided about them.
struct Ready {
    plan: SchedulePlan,
    decision: Decision,
    /// The runs to start.
    runs: Vec<TickRun>,
}

struct TickRun {
    tick: Timestamp,
    id: RunId,
    labels: BTreeMap<String, String>,
    deployment: dacapo_model::DeploymentId,
    defaults: PlacingDefaults,
    input: Payload,
}

impl Ready {
    fn new(schedule: &DueSchedule, limits: &PayloadLimits) -> Result<Self, Trouble> {
        let unreadable =
            |error: &dyn std::fmt::Display| Trouble::new("unreadable", error.to_string());
        let ticks = match (&schedule.cron, &schedule.time_zone, schedule.every_s) {
            (Some(cron), Some(zone), None) => Ticks::cron(cron, zone),
            (_, _, every) => {
                let seconds = every.and_then(|seconds| u64::try_from(seconds).ok());
                Ticks::every(Duration::from_secs(seconds.unwrap_or(0)))
            }
        };
        let plan = SchedulePlan {
            namespace: schedule.namespace.clone(),
            name: schedule.name.clone(),
            workflow: schedule.workflow.clone(),
            ticks: ticks.map_err(|error| unreadable(&error))?,
            jitter: Duration::from_millis(schedule.jitter_ms),
            overlap: schedule
                .overlap
                .parse()
                .map_err(|error: PolicyError| unreadable(&error))?,
            catch_up: schedule
                .catch_up
                .parse()
                .map_err(|error: PolicyError| unreadable(&error))?,
        };
        let labels = schedule.labels().map_err(|error| unreadable(&error))?;
        let run_of = |tick: Timestamp| {
            let (id, labels) = (plan.run_of(tick), plan.labels_of(tick, &labels));
            let target = schedule.target(id, &labels);
            let Some((target, workflow)) = target.map_err(|error| unreadable(&error))? else {
                let message = format!(
                    "the workflow {} is not deployed: deploy it, or delete the schedule",
                    schedule.workflow
                );
                return Err(Trouble::new("unknown-workflow", message));
            };
            if !target.has_queue {
                let queue = schedule.placing(&target.defaults).queue.unwrap_or_default();
                let message = format!(
                    "there is no queue {queue:?} any more: make it with `dacapo queue set`, or replace the schedule by one with another queue"
                );
                return Err(Trouble::new("unknown-queue", message));
            }
            let input = workflow.check_input(&schedule.input, limits).map_err(|error| {
                let message = format!(
                    "the input does not fit the workflow that is deployed now: {error}; give the schedule another one"
                );
                Trouble::new("bad-input", message)
            })?;
            Ok(TickRun {
                tick,
                id,
                labels,
                deployment: target.deployment,
                defaults: target.defaults.clone(),
                input,
            })
        };
        let decision = plan.decide(&Standing {
            next: schedule.next_tick,
            now: schedule.now,
            waited: schedule.waited,
            previous_active: schedule.previous_active,
        });
        if decision.start.is_empty() {
            // What cannot be started is said before it is its turn.
            run_of(schedule.next_tick)?;
        }
        let runs: Vec<TickRun> = decision
            .start
            .iter()
            .map(|&tick| run_of(tick))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            plan,
            decision,
            runs,
        })
    }

    fn starts<'a>(&'a self, schedule: &'a DueSchedule) -> impl Iterator<Item = StartRun<'a>> {
        self.runs.iter().map(|run| StartRun {
            id: run.id,
            workflow: &self.plan.workflow,
            deployment: run.deployment,
            input: &run.input,
            labels: &run.labels,
            deadline: None,
            placing: schedule.placing(&run.defaults),
        })
    }

    fn advance(&self, schedule: &DueSchedule) -> ScheduleAdvance {
        let decision = &self.decision;
        let started = self.runs.last().map(|run| (run.tick, run.id));
        ScheduleAdvance {
            namespace: schedule.namespace.clone(),
            name: schedule.name.clone(),
            next: decision.next.map(|tick| DueTick {
                tick,
                at: self.plan.due_at(tick),
            }),
            waiting_for: match decision.wait {
                Wait::Nothing => None,
                Wait::Previous => schedule.last_run,
                Wait::Started => started.map(|(_, run)| run),
            },
            started,
            passed_over: decision
                .passed_over
                .map(|passed| (passed.from, passed.until, passed.reason.as_str())),
        }
    }
}
