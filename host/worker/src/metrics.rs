//! What a worker counts, through the facade [`metrics`]: whoever embeds a worker installs a recorder of their own, and where there is none
//! nothing is counted.
//!
//! Names and units follow Prometheus. What is counted by workflow is counted for a bounded number of workflows, and beyond that under
//! [`OTHERS`], so that nobody can fill a recorder by deploying.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dacapo_model::{Kind, Outcome, RecordedState, Timestamp};
use dacapo_sandbox::RecordWrite;
use dacapo_store::{Claimed, End};
use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

/// The label of workflows that came after the first 200.
pub const OTHERS: &str = "(others)";

/// How many workflows one process tells apart.
const WORKFLOWS_MAX: usize = 200;

const CLAIMS: &str = "dacapo_claims_total";
const CLAIM_SECONDS: &str = "dacapo_claim_seconds";
const RUNS_CLAIMED: &str = "dacapo_runs_claimed_total";
const READY_LAG: &str = "dacapo_ready_lag_seconds";
const REPLAYS: &str = "dacapo_replays_total";
const REPLAYED_ENTRIES: &str = "dacapo_replayed_entries_total";
const STEPS: &str = "dacapo_steps_total";
const STEP_SECONDS: &str = "dacapo_step_seconds";
const ATTEMPTS: &str = "dacapo_attempts_total";
const EVENTS: &str = "dacapo_events_received_total";
const EVENT_LAG: &str = "dacapo_event_lag_seconds";
const CHILDREN: &str = "dacapo_children_started_total";
const RUNS_ENDED: &str = "dacapo_runs_ended_total";
const RUNS_SUSPENDED: &str = "dacapo_runs_suspended_total";
const RUNS_BLOCKED: &str = "dacapo_runs_blocked_total";
const COMMIT_SECONDS: &str = "dacapo_commit_seconds";
const COMMIT_RUNS: &str = "dacapo_commit_runs";
const LOAD_SECONDS: &str = "dacapo_deployment_load_seconds";
const LEASE_LOSSES: &str = "dacapo_lease_losses_total";
const TAKEN_OVER: &str = "dacapo_runs_taken_over_total";
const DATABASE_ERRORS: &str = "dacapo_database_errors_total";
const RUNS_PLAYING: &str = "dacapo_runs_playing";
const RUNS_MAX: &str = "dacapo_runs_max";

/// Every metric of a worker: its name, its unit, and what it is. A counter's name ends in `_total`, a histogram's in its unit.
const DESCRIPTIONS: &[(&str, What, Unit, &str)] = {
    use Unit::{Count, Seconds};
    use What::{Counts, Measures, Stands};
    &[
        (
            CLAIMS,
            Counts,
            Count,
            "Claims, by whether they found something.",
        ),
        (
            CLAIM_SECONDS,
            Measures,
            Seconds,
            "How long a claim takes, with the journals that it brings.",
        ),
        (
            RUNS_CLAIMED,
            Counts,
            Count,
            "Runs that were taken from the queue.",
        ),
        (
            READY_LAG,
            Measures,
            Seconds,
            "From when a run was ready to its claim; a run with a priority counts as ready so much earlier.",
        ),
        (
            REPLAYS,
            Counts,
            Count,
            "Runs that were taken up again with a journal.",
        ),
        (
            REPLAYED_ENTRIES,
            Counts,
            Count,
            "Entries of the journals that these brought.",
        ),
        (
            STEPS,
            Counts,
            Count,
            "Steps that have an outcome, by outcome.",
        ),
        (
            STEP_SECONDS,
            Measures,
            Seconds,
            "From when a step's body first began to its outcome.",
        ),
        (ATTEMPTS, Counts, Count, "Attempts at steps, by outcome."),
        (EVENTS, Counts, Count, "Events that a wait has received."),
        (
            EVENT_LAG,
            Measures,
            Seconds,
            "From when an event came, or was first waited for, to when it was received.",
        ),
        (CHILDREN, Counts, Count, "Child runs that were started."),
        (
            RUNS_ENDED,
            Counts,
            Count,
            "Runs that have ended here, by status.",
        ),
        (
            RUNS_SUSPENDED,
            Counts,
            Count,
            "Runs that were given up until there is something to do, by what they wait for.",
        ),
        (
            RUNS_BLOCKED,
            Counts,
            Count,
            "Runs that were blocked, by the reason's code.",
        ),
        (
            COMMIT_SECONDS,
            Measures,
            Seconds,
            "How long one commit of journals takes.",
        ),
        (COMMIT_RUNS, Measures, Count, "Runs that share one commit."),
        (
            LOAD_SECONDS,
            Measures,
            Seconds,
            "How long it takes until a deployment can be played, by whether it was compiled.",
        ),
        (
            LEASE_LOSSES,
            Counts,
            Count,
            "How often this worker has lost its lease, and all its runs.",
        ),
        (
            TAKEN_OVER,
            Counts,
            Count,
            "Runs that this worker has taken over from dead ones.",
        ),
        (
            DATABASE_ERRORS,
            Counts,
            Count,
            "How often the database did not do what the control loop asked.",
        ),
        (
            RUNS_PLAYING,
            Stands,
            Count,
            "Runs that this worker plays now.",
        ),
        (
            RUNS_MAX,
            Stands,
            Count,
            "Runs that it would play at a time.",
        ),
    ]
};

#[derive(Clone, Copy)]
enum What {
    Counts,
    Measures,
    Stands,
}

/// Tells the recorder what the metrics of workers are. To be called once it is installed, and before the first worker starts.
pub fn describe_metrics() {
    for &(name, what, unit, text) in DESCRIPTIONS {
        match what {
            What::Counts => metrics::describe_counter!(name, unit, text),
            What::Measures => metrics::describe_histogram!(name, unit, text),
            What::Stands => metrics::describe_gauge!(name, unit, text),
        }
    }
    dacapo_sandbox::describe_metrics();
}

/// The names of all metrics of a worker, also of those that nothing has happened for yet.
pub fn metric_names() -> impl Iterator<Item = &'static str> {
    DESCRIPTIONS.iter().map(|(name, ..)| *name)
}

/// What one worker counts.
pub(crate) struct Metrics {
    pub(crate) claims_some: Counter,
    pub(crate) claims_none: Counter,
    pub(crate) claim_seconds: Histogram,
    ready_lag: Histogram,
    event_lag: Histogram,
    step_seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_runs: Histogram,
    pub(crate) lease_losses: Counter,
    pub(crate) taken_over: Counter,
    pub(crate) database_errors: Counter,
    playing: Gauge,
    workflows: Mutex<HashMap<String, Arc<OfWorkflow>>>,
}

/// What is counted for one workflow.
pub(crate) struct OfWorkflow {
    claimed: Counter,
    replays: Counter,
    replayed_entries: Counter,
    steps_ok: Counter,
    steps_failed: Counter,
    steps_cancelled: Counter,
    attempts_ok: Counter,
    attempts_failed: Counter,
    events: Counter,
    children: Counter,
    completed: Counter,
    failed: Counter,
    cancelled: Counter,
}

impl OfWorkflow {
    fn new(name: &str) -> Self {
        let of = |metric: &'static str| counter!(metric, "workflow" => name.to_owned());
        let by = |metric: &'static str, label: &'static str, value: &'static str| counter!(metric, "workflow" => name.to_owned(), label => value);
        Self {
            claimed: of(RUNS_CLAIMED),
            replays: of(REPLAYS),
            replayed_entries: of(REPLAYED_ENTRIES),
            steps_ok: by(STEPS, "outcome", "ok"),
            steps_failed: by(STEPS, "outcome", "failed"),
            steps_cancelled: by(STEPS, "outcome", "cancelled"),
            attempts_ok: by(ATTEMPTS, "outcome", "ok"),
            attempts_failed: by(ATTEMPTS, "outcome", "failed"),
            events: of(EVENTS),
            children: of(CHILDREN),
            completed: by(RUNS_ENDED, "status", "completed"),
            failed: by(RUNS_ENDED, "status", "failed"),
            cancelled: by(RUNS_ENDED, "status", "cancelled"),
        }
    }
}

impl Metrics {
    /// All that stands from the beginning, so that it is shown before anything has happened.
    pub(crate) fn new(runs_max: u32) -> Self {
        gauge!(RUNS_MAX).set(runs_max);
        Self {
            claims_some: counter!(CLAIMS, "outcome" => "some"),
            claims_none: counter!(CLAIMS, "outcome" => "none"),
            claim_seconds: histogram!(CLAIM_SECONDS),
            ready_lag: histogram!(READY_LAG),
            event_lag: histogram!(EVENT_LAG),
            step_seconds: histogram!(STEP_SECONDS),
            commit_seconds: histogram!(COMMIT_SECONDS),
            commit_runs: histogram!(COMMIT_RUNS),
            lease_losses: counter!(LEASE_LOSSES),
            taken_over: counter!(TAKEN_OVER),
            database_errors: counter!(DATABASE_ERRORS),
            playing: gauge!(RUNS_PLAYING),
            workflows: Mutex::default(),
        }
    }

    /// What is counted for a workflow.
    pub(crate) fn of(&self, workflow: &str) -> Arc<OfWorkflow> {
        let mut workflows = self
            .workflows
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = workflows.get(workflow) {
            return Arc::clone(known);
        }
        let name = if workflows.len() < WORKFLOWS_MAX {
            workflow
        } else {
            OTHERS
        };
        let of = workflows.get(name).map(Arc::clone);
        let of = of.unwrap_or_else(|| Arc::new(OfWorkflow::new(name)));
        workflows.insert(name.to_owned(), Arc::clone(&of));
        of
    }

    /// One more run is played, until what is answered is dropped.
    pub(crate) fn plays(&self) -> Counted {
        self.playing.increment(1);
        Counted(self.playing.clone())
    }

    /// A run was claimed.
    pub(crate) fn claimed(&self, claimed: &Claimed) {
        let of = self.of(&claimed.workflow);
        of.claimed.increment(1);
        if !claimed.recorded.is_empty() {
            of.replays.increment(1);
            of.replayed_entries.increment(claimed.recorded.len() as u64);
        }
        self.ready_lag
            .record(between(claimed.ready_at, claimed.claimed_at));
    }

    /// A run records this. `received_at`: when the event came that it takes.
    pub(crate) fn recorded(
        &self,
        of: &OfWorkflow,
        write: &RecordWrite,
        received_at: Option<Timestamp>,
    ) {
        if write.failed_attempt.is_some() {
            of.attempts_failed.increment(1);
        }
        if write.starts_child.is_some() {
            of.children.increment(1);
        }
        let RecordedState::Done {
            outcome,
            finished_at,
        } = &write.recorded.state
        else {
            return;
        };
        if let Some(received_at) = received_at {
            of.events.increment(1);
            let since = received_at.max(write.recorded.started_at);
            self.event_lag.record(between(since, *finished_at));
        }
        if write.recorded.kind != Kind::Step {
            return;
        }
        match outcome {
            Outcome::Ok(_) => {
                of.steps_ok.increment(1);
                of.attempts_ok.increment(1);
            }
            Outcome::Failed(_) | Outcome::TimedOut => of.steps_failed.increment(1),
            Outcome::Cancelled => of.steps_cancelled.increment(1),
        }
        self.step_seconds
            .record(between(write.recorded.started_at, *finished_at));
    }

    /// A run's stay here has ended.
    pub(crate) fn ended(&self, of: &OfWorkflow, end: &Ended) {
        match end {
            Ended::Completed => of.completed.increment(1),
            Ended::Failed => of.failed.increment(1),
            Ended::Cancelled => of.cancelled.increment(1),
            Ended::Suspended(reason) => {
                counter!(RUNS_SUSPENDED, "reason" => *reason).increment(1);
            }
            Ended::Blocked(code) => counter!(RUNS_BLOCKED, "code" => code.clone()).increment(1),
        }
    }
}

/// A run that counts as played. However the worker's life ends, it does not count for longer.
pub(crate) struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// How a run's stay with a worker has ended: as much of an [`End`] as is counted.
pub(crate) enum Ended {
    Completed,
    Failed,
    Cancelled,
    Suspended(&'static str),
    Blocked(String),
}

impl From<&End> for Ended {
    fn from(end: &End) -> Self {
        match end {
            End::Completed(_) => Self::Completed,
            End::Failed(_) => Self::Failed,
            End::Cancelled(_) => Self::Cancelled,
            End::Suspended { reason, .. } => Self::Suspended(reason),
            End::Blocked(reason) => {
                // Written by `play::blocked`.
                let reason: Option<serde_json::Value> = serde_json::from_str(reason).ok();
                let code = reason.as_ref().and_then(|reason| reason["code"].as_str());
                Self::Blocked(code.unwrap_or("unknown").to_owned())
            }
        }
    }
}

/// A deployment can be played after this time.
pub(crate) fn loaded(compiled: bool, took: Duration) {
    let how = if compiled { "compiled" } else { "cached" };
    histogram!(LOAD_SECONDS, "how" => how).record(took);
}

/// How long it was from one time to another one that is not earlier, in seconds.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(to.as_micros() - from.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflows_beyond_the_first_ones_are_counted_together() {
        let metrics = Metrics::new(1);
        let of = |number: usize| metrics.of(&format!("a:b/c.w{number}"));
        let known: Vec<_> = (0..WORKFLOWS_MAX).map(of).collect();
        let (one, other) = (of(WORKFLOWS_MAX), of(10 * WORKFLOWS_MAX));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(known.iter().all(|known| !Arc::ptr_eq(known, &one)));
        assert!(Arc::ptr_eq(&known[7], &of(7)));
        assert_eq!(metrics.workflows.lock().unwrap().len(), WORKFLOWS_MAX + 1);
    }
}
