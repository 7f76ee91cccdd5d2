//! What can go wrong for a client, by what its caller can do about it.

use std::fmt;
use std::time::Duration;

use dacapo_model::{
    ExportError, ExportedDeployment, Failure, InputError, ManifestError, Overlap, PayloadError,
    RunId, Status,
};
use dacapo_store::{MigrateError, NotSent, Refusal, SchemaState, StoreError};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::DecodeError;

/// A call of the client had no effect, or no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no such run.
    #[error("there is no run {0}")]
    RunNotFound(RunId),
    /// No active deployment has such a workflow.
    #[error("there is no workflow {name:?}{}", did_you_mean(.similar, *.any))]
    UnknownWorkflow {
        /// The name as given.
        name: String,
        /// Full names of workflows that may have been meant, the most similar first.
        similar: Vec<String>,
        /// Whether any workflow is deployed.
        any: bool,
    },
    /// More than one workflow goes by this short name.
    #[error("the name {name:?} is ambiguous; it stands for {}", .full_names.join(" and "))]
    AmbiguousWorkflow {
        /// The name as given.
        name: String,
        /// The full names that it could stand for.
        full_names: Vec<String>,
    },
    /// The input is not of the workflow's type. Nothing was written.
    #[error("{error}")]
    BadInput {
        /// The workflow's full name.
        workflow: String,
        /// What it takes, in WIT syntax; `nothing` if it has no parameter.
        expected: String,
        /// Where the input is wrong, and how.
        error: InputError,
    },
    /// An event's payload is not JSON, or too deep. Nothing was written.
    #[error("{what}: {error}")]
    BadPayload {
        /// What the payload belongs to.
        what: String,
        /// What is wrong with it.
        error: PayloadError,
    },
    /// It is none of the events that the run's workflow declares, or its payload is not of that event's type. Nothing was written.
    #[error("event {name:?} for run {run}: {problem}")]
    BadEvent {
        /// The run.
        run: RunId,
        /// The event's name.
        name: String,
        /// What is wrong, with its place.
        problem: String,
    },
    /// A payload is longer than the limit. Nothing was written.
    #[error("{what}: {error}")]
    TooLarge {
        /// What the payload belongs to.
        what: String,
        /// How long it is and may be.
        error: PayloadError,
    },
    /// A name, key, label or the like cannot be one. Nothing was written.
    #[error("bad {what}: {message}")]
    BadArgument {
        /// What it was to be.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The manifest of a deployment does not fit its component, or means nothing. Nothing was written.
    #[error("manifest: {0}")]
    BadManifest(#[from] ManifestError),
    /// A deployment cannot be had so. Nothing was changed.
    #[error("{message}")]
    DeploymentRefused {
        /// A word for programs: `deployment-not-found`, `deployment-conflict`, `deployment-retired`, `bad-deployment`, `queue-not-found`.
        code: &'static str,
        /// Why not.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A deployment would break somebody who deals with its workflows. Nothing was written.
    #[error("{} would break who deals with its workflows:{}", .package, listed(.changes))]
    Breaking {
        /// The package.
        package: String,
        /// What would break them, among what else is different.
        changes: Vec<dacapo_model::Change>,
    },
    /// The key was used before, for a run with another input. Nothing was written.
    #[error(
        "the key {key:?} belongs to run {run}, which was started with another input: it has {existing}, this start has {given}"
    )]
    KeyConflict {
        /// The key.
        key: String,
        /// The run that has it.
        run: RunId,
        /// The input of that run; its beginning if it is long.
        existing: String,
        /// The input of this start; its beginning if it is long.
        given: String,
    },
    /// The key of a singleton belongs to an active run. Nothing was written.
    #[error("the singleton {key:?} belongs to run {run}, which is active")]
    SingletonTaken {
        /// The key.
        key: String,
        /// The run that has it.
        run: RunId,
    },
    /// One of many starts cannot be. None was written.
    #[error("start {}: {error}", .index + 1)]
    InMany {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<ClientError>,
    },
    /// The run's status does not allow what was asked. Nothing was changed.
    #[error("cannot {action} run {run}: it is {status}")]
    Conflict {
        /// The run.
        run: RunId,
        /// What was asked.
        action: Action,
        /// The run's status.
        status: Status,
    },
    /// The run has no such step. Nothing was changed.
    #[error("run {run} has no step {step:?}{}", it_has(.there))]
    StepNotFound {
        /// The run.
        run: RunId,
        /// The key as given.
        step: String,
        /// Keys that it has, the first ones.
        there: Vec<String>,
    },
    /// What was to be finished in a run's place is not open. Nothing was changed.
    #[error("run {run}: {problem}")]
    NotOpen {
        /// The run.
        run: RunId,
        /// What is in the way.
        problem: String,
    },
    /// The run failed, but no step of it did. Nothing was changed.
    #[error("no step of run {0} has failed: its code would come to the same end again")]
    NothingFailed(RunId),
    /// Children that were cancelled on account of the run's end have not ended yet. Nothing was changed.
    #[error(
        "run {0} cannot go on yet: children that were cancelled on account of its end are still ending"
    )]
    ChildrenEnding(RunId),
    /// A file is no run that can be imported. Nothing was written.
    #[error(transparent)]
    NotImportable(#[from] ExportError),
    /// There is a run with the id of the one to be imported. Nothing was written.
    #[error("there is a run {0} already: an imported run keeps its id")]
    RunExists(RunId),
    /// The component of the run to be imported is not deployed. Nothing was written.
    #[error(
        "run {run} was on deployment {} of {}, and its component is not deployed here: its SHA-256 is {}", .deployment.number,
        .deployment.package, .deployment.digest
    )]
    ComponentMissing {
        /// The run.
        run: RunId,
        /// The deployment that it was on.
        deployment: ExportedDeployment,
    },
    /// There is no such queue. Nothing was written.
    #[error("there is no queue {0:?}")]
    QueueNotFound(String),
    /// Active runs are in the queue. Nothing was changed.
    #[error("cannot delete queue {0:?}: active runs are in it")]
    QueueInUse(String),
    /// A workflow, a queue or everything is paused already, or is not paused. Nothing was changed.
    #[error("{0}")]
    AlreadySo(String),
    /// There is no such schedule.
    #[error("there is no schedule {0:?}")]
    ScheduleNotFound(String),
    /// There is a schedule of this name. Nothing was changed.
    #[error("there is a schedule {0:?} already")]
    ScheduleExists(String),
    /// The schedule does not allow what was asked. Nothing was changed.
    #[error("schedule {name:?}: {problem}")]
    ScheduleConflict {
        /// The schedule.
        name: String,
        /// What is in the way.
        problem: String,
    },
    /// A run of the schedule is active, and its runs must not overlap. Nothing was started.
    #[error(
        "schedule {name:?}: its run {run} is active, and its runs must not overlap ({overlap})"
    )]
    ScheduleBusy {
        /// The schedule.
        name: String,
        /// The run.
        run: RunId,
        /// The schedule's policy.
        overlap: Overlap,
    },
    /// There is a token of this name. Nothing was changed.
    #[error("there is a token {0:?} already")]
    TokenExists(String),
    /// There is no such token. Nothing was changed.
    #[error("there is no token {0:?}")]
    TokenNotFound(String),
    /// The access that this client has does not reach so far. Nothing was changed.
    #[error("{what} is out of reach: this access is limited to {scope}")]
    OutOfScope {
        /// What was asked for.
        what: String,
        /// What there is access to.
        scope: String,
    },
    /// Payloads are hidden from this client, and this is full of them.
    #[error("{0} are hidden: this access shows no payloads")]
    Withheld(&'static str),
    /// The operating system has no random numbers.
    #[error("the operating system gave no random numbers: {0}")]
    NoRandomness(String),
    /// The run ended with a failure.
    #[error("run {run} failed: {failure}")]
    Failed {
        /// The run.
        run: RunId,
        /// What went wrong; a workflow's own error is in its `details`.
        failure: Box<Failure>,
    },
    /// The run was cancelled.
    #[error("run {run} was cancelled")]
    RunCancelled {
        /// The run.
        run: RunId,
        /// What the workflow returned to being cancelled, if it returned an error.
        failure: Option<Box<Failure>>,
    },
    /// The run did not end in the time given. It goes on.
    #[error("run {run} has not ended within {}; it is {status}", seconds(*.waited))]
    WaitTimedOut {
        /// The run.
        run: RunId,
        /// Its status when last looked at.
        status: Status,
        /// How long was waited.
        waited: Duration,
    },
    /// A value of this program has no JSON form. Nothing was written.
    #[error("{what} has no JSON form")]
    Encode {
        /// What the value is.
        what: String,
        /// Why not.
        #[source]
        error: serde_json::Error,
    },
    /// What a run recorded is not of the type that this program expects.
    #[error("cannot read the output of run {run}")]
    Decode {
        /// The run.
        run: RunId,
        /// Where the output is not of the type.
        #[source]
        error: DecodeError,
    },
    /// New deployments of the workflow came faster than the run could be started. Nothing was written.
    #[error("workflow {0} was deployed anew again and again while the run was being started")]
    Redeployed(String),
    /// The database does not have the tables that this version needs.
    #[error("{problem}")]
    Schema {
        /// What it has instead.
        problem: String,
        /// Whether `dacapo migrate` mends it.
        can_migrate: bool,
    },
    /// The database cannot be reached, or has too much to do. Try again later.
    #[error(transparent)]
    Unavailable(StoreError),
    /// A server said no.
    #[error("{}", .0.detail)]
    Remote(crate::RemoteProblem),
    /// The server cannot be reached. Try again later.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    /// A server cannot be asked for this.
    #[error("the database itself is needed {0}, and a server was given")]
    NeedsDatabase(String),
    /// The database refused a statement, or holds what this version cannot read.
    #[error(transparent)]
    Store(StoreError),
}

/// What can be asked of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To take an event.
    SendEvent,
    /// To stop at its next boundary.
    Pause,
    /// To go on.
    Resume,
    /// To end.
    Cancel,
    /// To be started again as another run.
    Rerun,
    /// To go on from its failed step.
    Retry,
    /// To have what it waits for finished in its place.
    Skip,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendEvent => "send an event to",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Rerun => "rerun",
            Self::Retry => "retry",
            Self::Skip => "skip anything in",
        })
    }
}

impl ClientError {
    /// A word for programs that stays the same across versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::RunNotFound(_) => "run-not-found",
            Self::UnknownWorkflow { .. } => "unknown-workflow",
            Self::AmbiguousWorkflow { .. } => "ambiguous-workflow",
            Self::BadInput { .. } => "bad-input",
            Self::BadPayload { .. } => "bad-payload",
            Self::BadEvent { .. } => "bad-event",
            Self::TooLarge { .. } => "too-large",
            Self::BadArgument { .. } => "bad-argument",
            Self::BadManifest(_) => "bad-manifest",
            Self::DeploymentRefused { code, .. } => code,
            Self::Breaking { .. } => "breaking",
            Self::KeyConflict { .. } => "key-conflict",
            Self::SingletonTaken { .. } => "singleton-taken",
            Self::InMany { error, .. } => error.code(),
            Self::Conflict { .. } => "conflict",
            Self::StepNotFound { .. } => "step-not-found",
            Self::NotOpen { .. } => "not-open",
            Self::NothingFailed(_) => "nothing-failed",
            Self::ChildrenEnding(_) => "children-ending",
            Self::NotImportable(_) => "not-importable",
            Self::RunExists(_) => "run-exists",
            Self::ComponentMissing { .. } => "component-missing",
            Self::QueueNotFound(_) => "queue-not-found",
            Self::QueueInUse(_) => "queue-in-use",
            Self::AlreadySo(_) => "already-so",
            Self::ScheduleNotFound(_) => "schedule-not-found",
            Self::ScheduleExists(_) => "schedule-exists",
            Self::ScheduleConflict { .. } => "schedule-conflict",
            Self::ScheduleBusy { .. } => "schedule-busy",
            Self::TokenExists(_) => "token-exists",
            Self::TokenNotFound(_) => "token-not-found",
            Self::OutOfScope { .. } => "out-of-scope",
            Self::Withheld(_) => "withheld",
            Self::NoRandomness(_) => "no-randomness",
            Self::Failed { .. } => "run-failed",
            Self::RunCancelled { .. } => "run-cancelled",
            Self::WaitTimedOut { .. } => "wait-timed-out",
            Self::Encode { .. } => "encode",
            Self::Decode { .. } => "decode",
            Self::Redeployed(_) => "redeployed",
            Self::Schema { .. } => "schema",
            Self::Unavailable(_) => "unavailable",
            Self::Remote(problem) => problem.code,
            Self::Unreachable(_) => "unreachable",
            Self::NeedsDatabase(_) => "needs-database",
            Self::Store(_) => "database",
        }
    }

    /// What to do about it, where there is something better to say than the message does.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::RunNotFound(_) => "`dacapo runs list` shows the runs of this database".to_owned(),
            Self::UnknownWorkflow { any: false, .. } => "deploy one with `dacapo deploy FILE.wasm`".to_owned(),
            Self::UnknownWorkflow { .. } => "`dacapo workflows` shows what is deployed".to_owned(),
            Self::AmbiguousWorkflow { .. } => "use a full name".to_owned(),
            Self::BadInput { workflow, expected, .. } => format!("{workflow} takes {expected}"),
            Self::BadEvent { .. } => {
                "the workflow declares its events in its WIT; `dacapo workflows` shows them".to_owned()
            }
            Self::TooLarge { .. } => {
                "keep large data elsewhere and pass a reference to it, or raise the limit here and on the workers".to_owned()
            }
            Self::InMany { error, .. } => return error.hint(),
            Self::DeploymentRefused { hint, .. } => return hint.clone(),
            Self::Breaking { .. } => {
                "keep what callers use as it was, put the new behaviour under another workflow's name, or allow it with --allow-breaking".to_owned()
            }
            Self::KeyConflict { .. } => {
                "a key names one run while that is kept: use another key for another input, or the first input to get the same run".to_owned()
            }
            Self::SingletonTaken { .. } => {
                "wait until it has ended, or say with --on-conflict: queue (wait for it) or replace (cancel it)".to_owned()
            }
            Self::Conflict { action: Action::SendEvent, .. } => "events can be sent to a run until it ends".to_owned(),
            Self::Conflict { action: Action::Resume, .. } => "only paused and blocked runs can be resumed".to_owned(),
            Self::Conflict { action: Action::Rerun, .. } => {
                "only runs that have ended or are blocked can be started again; others would do the same twice at a time".to_owned()
            }
            Self::Conflict { action: Action::Retry, .. } => {
                "only failed runs can be retried; `dacapo rerun` starts an ended one again".to_owned()
            }
            Self::Conflict { action: Action::Skip, run, status } if !status.is_terminal() => {
                format!("what a run waits for can be skipped while it waits; `dacapo pause {run}` stops it at its next step or wait")
            }
            Self::StepNotFound { run, .. } | Self::NotOpen { run, .. } => format!("`dacapo runs show {run}` shows its steps"),
            Self::ChildrenEnding(_) => "try again when they have ended; `dacapo cancel --force` ends one at once".to_owned(),
            Self::NothingFailed(run) => format!("start it again: `dacapo rerun {run}`, or from a step with --from"),
            Self::RunExists(run) => format!("see it with `dacapo runs show {run}`, or import into another database"),
            Self::ComponentMissing { deployment, .. } => format!(
                "deploy that very component of {} with `dacapo deploy FILE.wasm`; new runs go to it then, until another one is deployed",
                deployment.package
            ),
            Self::QueueNotFound(name) => {
                format!("make it with `dacapo queue set {name}`; `dacapo queue list` shows the queues of this namespace")
            }
            Self::QueueInUse(_) => "wait until they have ended, or cancel them".to_owned(),
            Self::ScheduleNotFound(_) => "`dacapo schedule list` shows the schedules of this namespace".to_owned(),
            Self::ScheduleExists(name) => {
                format!("give it another definition with --replace, or see it with `dacapo schedule show {name}`")
            }
            Self::ScheduleBusy { run, .. } => {
                format!("wait until it ends, `dacapo cancel {run}`, or start another one in any case with --force")
            }
            Self::TokenExists(name) => {
                format!("give it another name, or revoke that one first with `dacapo token revoke {name}`")
            }
            Self::TokenNotFound(_) => "`dacapo token list` shows the tokens of this namespace".to_owned(),
            Self::OutOfScope { .. } => {
                "use a token with a wider scope, or none; start runs with the labels that the scope names".to_owned()
            }
            Self::Withheld(_) => "use a token that was made without --no-payloads".to_owned(),
            Self::WaitTimedOut { status: Status::Blocked, run, .. } => format!("`dacapo runs show {run}` says what blocks it"),
            Self::WaitTimedOut { status: Status::Queued, .. } => "is a worker running? Start one with `dacapo worker`".to_owned(),
            Self::Decode { .. } => "generate the types anew from the WIT of the workflow that is deployed".to_owned(),
            Self::Schema { can_migrate: true, .. } => "run `dacapo migrate`".to_owned(),
            Self::Remote(problem) => return problem.hint.clone(),
            Self::Unreachable(_) => "check the server's address, and that it runs".to_owned(),
            Self::NeedsDatabase(_) => "ask the database itself: with --database-url or DATABASE_URL, and without a server".to_owned(),
            Self::Unavailable(_) => "check the database's address, and that it runs".to_owned(),
            _ => return None,
        })
    }

    /// Whether the same call may succeed later, after [`ClientError::retry_after`] if that says something.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Redeployed(_) | Self::Unreachable(_) => true,
            Self::Remote(problem) => matches!(problem.status, 429 | 503),
            Self::InMany { error, .. } => error.is_transient(),
            _ => false,
        }
    }

    /// How long to wait at least before the same call, if a server said so. A client of a server has waited itself for up to a minute where
    /// that can do no harm.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Remote(problem) => problem.retry_after,
            Self::InMany { error, .. } => error.retry_after(),
            _ => None,
        }
    }

    /// The error that the workflow itself returned, if that is why there is no output and it is of this type.
    #[must_use]
    pub fn workflow_error<E: DeserializeOwned>(&self) -> Option<E> {
        let failure = match self {
            Self::Failed { failure, .. } => failure,
            Self::RunCancelled { failure, .. } => failure.as_ref()?,
            _ => return None,
        };
        serde_json::from_str(failure.details.as_ref()?.as_str()).ok()
    }

    /// The same, of one start among many.
    pub(crate) fn in_many(self, index: usize) -> Self {
        Self::InMany {
            index,
            error: Box::new(self),
        }
    }

    pub(crate) fn refused(refusal: Refusal, run: RunId, action: Action) -> Self {
        match refusal {
            Refusal::NotFound => Self::RunNotFound(run),
            Refusal::Status(status) => Self::Conflict {
                run,
                action,
                status,
            },
        }
    }

    pub(crate) fn not_sent(reason: NotSent, run: RunId, name: &str) -> Self {
        match reason {
            NotSent::Refused(refusal) => Self::refused(refusal, run, Action::SendEvent),
            NotSent::Undeclared(problem) => Self::BadEvent {
                run,
                name: name.to_owned(),
                problem,
            },
        }
    }

    pub(crate) fn payload(what: String, error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { .. } => Self::TooLarge { what, error },
            _ => Self::BadPayload { what, error },
        }
    }

    /// The state of a database that cannot be used. None: it can.
    pub(crate) fn unready(state: SchemaState) -> Option<Self> {
        let problem = match state {
            SchemaState::Ready(_) => return None,
            SchemaState::Empty => NOT_MIGRATED.to_owned(),
            SchemaState::Behind(version) => {
                format!(
                    "the database is at schema version {version}, which is older than this program needs"
                )
            }
        };
        Some(Self::Schema {
            problem,
            can_migrate: true,
        })
    }
}

const NOT_MIGRATED: &str = "the database has no tables of dacapo yet";

impl From<StoreError> for ClientError {
    fn from(error: StoreError) -> Self {
        match error.code().as_deref() {
            // The schema, a table or a function of ours is not there.
            Some("3F000" | "42P01") => Self::Schema {
                problem: NOT_MIGRATED.to_owned(),
                can_migrate: true,
            },
            _ if error.is_transient() => Self::Unavailable(error),
            _ => Self::Store(error),
        }
    }
}

impl From<MigrateError> for ClientError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Store(error) => error.into(),
            other => Self::Schema {
                problem: other.to_string(),
                can_migrate: false,
            },
        }
    }
}

fn it_has(there: &[String]) -> String {
    match there {
        [] => ": it has none".to_owned(),
        there => format!(": it has {}", there.join(", ")),
    }
}

fn did_you_mean(similar: &[String], any: bool) -> String {
    match similar {
        _ if !any => ": no workflow is deployed".to_owned(),
        [] => String::new(),
        similar => format!("; did you mean {}?", similar.join(" or ")),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// The changes that break somebody, a line each.
fn listed(changes: &[dacapo_model::Change]) -> String {
    changes
        .iter()
        .filter(|change| change.breaking)
        .map(|change| format!("\n  {change}"))
        .collect()
}
