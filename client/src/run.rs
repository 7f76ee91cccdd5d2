//! A run and its steps as programs and people see them. The serde forms are stable.

use std::collections::{BTreeMap, HashSet};

use dacapo_model::{
    Failure, Kind, Outcome, Payload, RecordedState, RunId, SaidProgress, Status, StepKey, Timestamp,
};
use dacapo_store::{InterventionRow, RunRow, StepRow, StoreError};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A run as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Full name of its workflow.
    pub workflow: String,
    /// The deployment that it runs on.
    pub deployment: Deployment,
    /// What it is doing.
    pub status: Status,
    /// What it was started with, as given.
    pub input: Payload,
    /// What it returned, once it is completed.
    pub output: Option<Payload>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it is ended if it has not ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The run that started it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
    /// The named queue that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Runs with a higher one go first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i16,
    /// What its queue's limits per key go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How far it is.
    pub progress: RunProgress,
    /// What it waits for, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// Why it cannot go on, while it is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Payload>,
    /// Its steps, in the order in which it first reached them.
    pub steps: Vec<Step>,
    /// What people did to it beside asking its code, and what they noted, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<Intervention>,
}

impl Run {
    /// The same run without its steps.
    #[must_use]
    pub fn without_steps(&self) -> Self {
        Self {
            id: self.id,
            workflow: self.workflow.clone(),
            deployment: self.deployment.clone(),
            status: self.status,
            input: self.input.clone(),
            output: self.output.clone(),
            failure: self.failure.clone(),
            labels: self.labels.clone(),
            created_at: self.created_at,
            deadline: self.deadline,
            parent: self.parent,
            queue: self.queue.clone(),
            priority: self.priority,
            concurrency_key: self.concurrency_key.clone(),
            started_at: self.started_at,
            finished_at: self.finished_at,
            progress: self.progress.clone(),
            waiting_for: self.waiting_for.clone(),
            blocked: self.blocked.clone(),
            steps: Vec::new(),
            interventions: self.interventions.clone(),
        }
    }
}

/// Something that a person did to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intervention {
    /// When.
    pub at: Timestamp,
    /// What: `rerun` (it was started again as another run), `rerun-of` (it is that other run), `retry`, `skip`, `import`,
    /// `note`, `pause`, `resume`, `cancel`, `force-cancel`.
    pub action: String,
    /// Who, as they said.
    pub who: String,
    /// What exactly: `run` and `from` of a rerun; `opened`, `removed` and the `failure` of a retry, or the `parent` that was retried and
    /// `removed`; the `step` that was skipped, and what it `was` before; the `text` of a note; the `reason` of a pause, resume or cancel, if
    /// one was given.
    pub details: Payload,
}

impl Intervention {
    pub(crate) fn from_row(row: InterventionRow) -> Self {
        Self {
            at: row.at,
            action: row.action,
            who: row.who,
            details: row.details,
        }
    }

    /// The key of the step that was skipped, if that is what was done.
    fn skipped(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Details {
            step: String,
        }
        let details = (self.action == "skip").then_some(self.details.as_str())?;
        Some(serde_json::from_str::<Details>(details).ok()?.step)
    }
}

/// A run as it stands, without its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Full name of its workflow.
    pub workflow: String,
    /// The deployment that it runs on.
    pub deployment: Deployment,
    /// What it is doing.
    pub status: Status,
    /// What it was started with, as given.
    pub input: Payload,
    /// What it returned, once it is completed.
    pub output: Option<Payload>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it is ended if it has not ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The run that started it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
    /// The named queue that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Runs with a higher one go first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i16,
    /// What its queue's limits per key go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How far it is.
    pub progress: RunProgress,
    /// What it waits for, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// Why it cannot go on, while it is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Payload>,
}

/// A deployment by its name for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The package, `ns:name`.
    pub package: String,
    /// The number within the package, from 1.
    pub number: i32,
}

/// How far a run is: as its code said last, and without that as many steps and waits as are over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunProgress {
    /// What is done, as its code said, or steps and waits with an outcome.
    pub done: u64,
    /// All that there is to do, if its code said that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What its code said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When its code said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said_at: Option<Timestamp>,
}

impl RunProgress {
    pub(crate) fn new(steps_done: u64, said: Option<(SaidProgress, Timestamp)>) -> Self {
        match said {
            Some((said, at)) => Self {
                done: said.done,
                total: Some(said.total),
                note: said.note,
                said_at: Some(at),
            },
            None => Self {
                done: steps_done,
                total: None,
                note: None,
                said_at: None,
            },
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The run.
    pub run: RunId,
    /// What it is doing.
    pub status: Status,
    /// What is done, as its code said, or steps and waits with an outcome.
    pub done: u64,
    /// All that there is to do, if its code said that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What its code said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// `event`, `time`, `retry`, `pause` (a person, by the workflow's wish), `boundary` (a person, by an operator's wish), `blocked`,
    /// `queue` (its turn), `delay` (its beginning), `workflow` (that its workflow is resumed), `singleton` (the end of the run before it).
    pub reason: String,
    /// The events that let it go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// When it goes on whatever happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Timestamp>,
}

/// A step or a wait of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its place in the run: `scope/name#occurrence`.
    pub key: StepKey,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How it stands.
    pub status: StepStatus,
    /// How often its body was tried and ended; tries that a crash interrupted are not counted, and waits have no body: 0.
    pub attempts: u32,
    /// How it came out; none while it waits.
    pub outcome: Option<StepOutcome>,
    /// When its body began, or the wait was first reached.
    pub started_at: Timestamp,
    /// When it came out.
    pub finished_at: Option<Timestamp>,
    /// When the wait ends by itself, or the next attempt begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Its attempts that failed, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<FailedAttempt>,
}

/// An attempt at a step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedAttempt {
    /// Which one it was, from 1.
    pub number: u32,
    /// When its body began.
    pub started_at: Timestamp,
    /// When it had failed.
    pub finished_at: Timestamp,
    /// What went wrong.
    pub failure: Failure,
    /// The worker that made it, as `host:pid`.
    pub worker: String,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// It has a result.
    Completed,
    /// It failed.
    Failed,
    /// It waits for an event, a time or a person.
    Waiting,
    /// An attempt has failed, and it waits for the next one.
    Retrying,
    /// No event was received in time.
    TimedOut,
    /// The run was cancelled while it waited.
    Cancelled,
}

impl StepStatus {
    /// The status as a word: `completed`, `failed`, `waiting`, `retrying`, `timed-out` or `cancelled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for StepStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a step came out. In JSON: `{"ok": …}`, `{"failed": …}`, `{"timedOut": true}` or `{"cancelled": true}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// Its result; an event's payload for a wait.
    Ok(Payload),
    /// What went wrong.
    Failed(Failure),
    /// No event was received in time.
    TimedOut,
    /// The run was cancelled while it waited.
    Cancelled,
}

impl Serialize for StepOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Ok(payload) => map.serialize_entry("ok", payload)?,
            Self::Failed(failure) => map.serialize_entry("failed", failure)?,
            Self::TimedOut => map.serialize_entry("timedOut", &true)?,
            Self::Cancelled => map.serialize_entry("cancelled", &true)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for StepOutcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Form {
            #[serde(default, deserialize_with = "present")]
            ok: Option<Payload>,
            failed: Option<Failure>,
            timed_out: Option<bool>,
            cancelled: Option<bool>,
        }
        // A result may be `null`, which is not the same as none.
        fn present<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Payload>, D::Error> {
            Payload::deserialize(deserializer).map(Some)
        }
        match Form::deserialize(deserializer)? {
            Form {
                ok: Some(payload), ..
            } => Ok(Self::Ok(payload)),
            Form {
                failed: Some(failure),
                ..
            } => Ok(Self::Failed(failure)),
            Form {
                timed_out: Some(true),
                ..
            } => Ok(Self::TimedOut),
            Form {
                cancelled: Some(true),
                ..
            } => Ok(Self::Cancelled),
            _ => Err(de::Error::custom(
                "expected ok, failed, timedOut or cancelled",
            )),
        }
    }
}

fn is_zero(number: &i16) -> bool {
    *number == 0
}

impl RunSummary {
    pub(crate) fn from_row(row: RunRow) -> Result<Self, StoreError> {
        let waiting_for = row.waiting_for.map(|reason| WaitingFor {
            reason,
            events: row.waiting_for_events,
            wake_at: row.wake_at,
        });
        let failure = match &row.failure {
            Some(text) => Some(Failure::from_json(text.as_str()).map_err(|error| {
                StoreError::Unreadable(format!("failure of run {}: {error}", row.id))
            })?),
            None => None,
        };
        Ok(Self {
            progress: RunProgress::new(row.steps_done.unwrap_or(0), row.said),
            id: row.id,
            workflow: row.workflow,
            deployment: Deployment {
                package: row.package,
                number: row.number,
            },
            status: row.status,
            input: row.input,
            output: row.output,
            failure,
            labels: row.labels.into_iter().collect(),
            created_at: row.created_at,
            deadline: row.deadline,
            parent: row.parent,
            queue: row.queue,
            priority: row.priority,
            concurrency_key: row.concurrency_key,
            started_at: row.started_at,
            finished_at: row.finished_at,
            waiting_for,
            blocked: row.blocked,
        })
    }
}

impl Run {
    pub(crate) fn of(run: RunSummary, steps: Vec<Step>, interventions: Vec<Intervention>) -> Self {
        let done = steps.iter().filter(|step| step.outcome.is_some()).count();
        Self {
            id: run.id,
            workflow: run.workflow,
            deployment: run.deployment,
            status: run.status,
            input: run.input,
            output: run.output,
            failure: run.failure,
            labels: run.labels,
            created_at: run.created_at,
            deadline: run.deadline,
            parent: run.parent,
            queue: run.queue,
            priority: run.priority,
            concurrency_key: run.concurrency_key,
            started_at: run.started_at,
            finished_at: run.finished_at,
            progress: match run.progress.said_at {
                Some(_) => run.progress,
                None => RunProgress::new(done as u64, None),
            },
            waiting_for: run.waiting_for,
            blocked: run.blocked,
            steps,
            interventions,
        }
    }
}

impl Step {
    /// Steps of a run to which people did this.
    pub(crate) fn from_rows(rows: Vec<StepRow>, interventions: &[Intervention]) -> Vec<Self> {
        let skipped: HashSet<String> = interventions
            .iter()
            .filter_map(Intervention::skipped)
            .collect();
        let rows = rows.into_iter();
        rows.map(|row| {
            let by_its_body = !skipped.contains(row.recorded.key.as_str());
            Self::from_row(row, by_its_body)
        })
        .collect()
    }

    /// `by_its_body`: the outcome of a step is that of its body, and not what somebody gave it.
    fn from_row(row: StepRow, by_its_body: bool) -> Self {
        let recorded = row.recorded;
        let failed_attempts: Vec<FailedAttempt> = row
            .failed_attempts
            .into_iter()
            .map(|row| FailedAttempt {
                number: row.attempt.number,
                started_at: row.attempt.started_at,
                finished_at: row.attempt.finished_at,
                failure: row.attempt.failure,
                worker: row.worker,
            })
            .collect();
        let (outcome, finished_at) = match recorded.state {
            RecordedState::Open { .. } => (None, None),
            RecordedState::Done {
                outcome,
                finished_at,
            } => (Some(outcome), Some(finished_at)),
        };
        let status = match &outcome {
            None if recorded.kind == Kind::Step => StepStatus::Retrying,
            None => StepStatus::Waiting,
            Some(Outcome::Ok(_)) => StepStatus::Completed,
            Some(Outcome::Failed(_)) => StepStatus::Failed,
            Some(Outcome::TimedOut) => StepStatus::TimedOut,
            Some(Outcome::Cancelled) => StepStatus::Cancelled,
        };
        Self {
            name: recorded.key.name().to_owned(),
            key: recorded.key,
            kind: recorded.kind,
            status,
            attempts: failed_attempts.len() as u32
                + u32::from(
                    recorded.kind == Kind::Step
                        && by_its_body
                        && matches!(outcome, Some(Outcome::Ok(_))),
                ),
            outcome: outcome.map(|outcome| match outcome {
                Outcome::Ok(payload) => StepOutcome::Ok(payload),
                Outcome::Failed(failure) => StepOutcome::Failed(failure),
                Outcome::TimedOut => StepOutcome::TimedOut,
                Outcome::Cancelled => StepOutcome::Cancelled,
            }),
            started_at: recorded.started_at,
            finished_at,
            due: row.due,
            failed_attempts,
        }
    }
}
