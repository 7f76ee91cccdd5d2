//! What a running guest needs from whoever holds its journal.
//!
//! The sandbox decides *what* is written and *when* it has to be durable; it knows nothing of databases or leases. Those are
//! behind [`Journal`], which the worker implements over a leased run.

use async_trait::async_trait;
use dacapo_model::{
    DeploymentId, FailedAttempt, Failure, Kind, Outcome, Payload, Recorded, RunId, SaidProgress,
    StepKey, Timestamp, Workflow,
};

use crate::ending::BlockCode;
use crate::sql::{SqlRefusal, SqlStep, SqlTransaction};

/// A run's journal, as the sandbox sees it.
///
/// All writes of one run are appended in the order in which the guest made them, and become durable in that order.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// The real time. It never goes back within a run.
    fn now(&self) -> Timestamp;

    /// Takes a write. It is buffered, keeps its place in the order, and never blocks.
    fn append(&self, write: Write);

    /// Starts to write what was appended, without waiting for it. Called while a guest computes on for long without a call to the host.
    fn nudge(&self);

    /// Returns when everything appended so far is durable.
    ///
    /// # Errors
    /// The reason why this process must stop advancing the run; nothing appended since the last success may be relied upon.
    async fn settle(&self) -> Result<(), Stop>;

    /// What somebody outside wants of the run, asked at each durable call that the journal does not answer.
    fn boundary(&self) -> Option<Signal>;

    /// The oldest buffered event of one of these names that was not taken yet and was received no later than `received_by`.
    ///
    /// The event counts as taken from now on in this instance; [`RecordWrite::takes_event`] makes it so for good.
    fn take_event(&self, names: &[String], received_by: Option<Timestamp>) -> Option<Event>;

    /// Whether there is a buffered event of one of these names that was not taken yet.
    fn has_event(&self, names: &[String]) -> bool;

    /// Looks whether something came in, so that [`Journal::take_event`] and [`Journal::boundary`] know of it. Called while some branches of
    /// a run wait for events and others are played, and before a wait is over because of its time.
    async fn look(&self);

    /// Whether all is known that came in by this time, which has passed: it was looked since.
    fn has_looked_since(&self, at: Timestamp) -> bool;

    /// The deployed workflow that goes by this name; the inner error says why there is none.
    ///
    /// # Errors
    /// The reason why this process must stop advancing the run.
    async fn find_workflow(
        &self,
        name: &str,
        child: RunId,
        labels: Option<&[(String, String)]>,
    ) -> Result<Result<ChildWorkflow, String>, Stop>;

    /// Whether there is a named queue that a child can wait in.
    ///
    /// # Errors
    /// The reason why this process must stop advancing the run.
    async fn has_queue(&self, name: &str) -> Result<bool, Stop>;

    /// How a child stands that was not started in this go. Its end comes as an event, too, whose name is `child/` and its id.
    ///
    /// # Errors
    /// The reason why this process must stop advancing the run.
    async fn child_state(&self, child: RunId) -> Result<ChildState, Stop>;

    /// What an attempt at a step returns in place of its body, from a journal that was told so by a test. Asked before each attempt.
    fn scripted(&self, _step: &StepKey) -> Option<Result<Payload, Failure>> {
        None
    }

    /// The body of an attempt begins.
    fn attempt_begins(&self, _step: &StepKey, _number: u32, _at: Timestamp) {}

    /// What a request that an attempt sends says of the trace that it belongs to, in the header `traceparent`; none: nothing.
    fn trace_parent(&self, _step: &StepKey, _number: u32) -> Option<String> {
        None
    }

    /// Begins the transaction of an attempt that uses SQL. Everything appended is durable by then.
    ///
    /// # Errors
    /// Why there is none.
    async fn begin_sql(&self, step: SqlStep) -> Result<Box<dyn SqlTransaction>, SqlRefusal> {
        Err(SqlRefusal::Blocked(
            BlockCode::SqlDatabase,
            format!(
                "step `{}` uses SQL, and there is no database where it is played",
                step.key
            ),
        ))
    }

    /// Whether somebody looks on, who wants to see what the code does while it is replayed, too.
    fn is_watched(&self) -> bool {
        false
    }

    /// The code makes a durable call, and this is what the journal says to it.
    fn observe(&self, _seen: Seen<'_>) {}

    /// Makes everything appended durable and gives the run up until there is something to do.
    ///
    /// # Errors
    /// The reason why this process must stop advancing the run.
    async fn suspend(&self, suspension: Suspension) -> Result<Suspended, Stop>;
}

/// A durable call, as whoever looks on sees it.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// It is answered by what is recorded.
    Recorded {
        /// Its key.
        key: &'a StepKey,
        /// What it is.
        kind: Kind,
        /// What was recorded.
        outcome: &'a Outcome,
    },
    /// It has no outcome yet.
    Reached {
        /// Its key.
        key: &'a StepKey,
        /// What it is.
        kind: Kind,
        /// It was reached before, and waits, or is to be tried again.
        was_open: bool,
    },
}

/// One thing to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A row of the journal.
    Record(RecordWrite),
    /// A line of the run's log.
    Log(LogLine),
    /// How far the run is. Only the last one that was appended has to be kept, so it may be written with whatever is written next.
    Progress(SaidProgress),
}

/// A row of the journal, and what else must happen in the same commit.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordWrite {
    /// The row. Its position is the one that an open row of the same key had, if there was one.
    pub recorded: Recorded,
    /// The row was written as open before, and is now done or has another attempt behind it.
    pub updates_open: bool,
    /// [`Event::seq`] of the event that is used up by this row.
    pub takes_event: Option<u32>,
    /// The attempt whose failure made this row what it is; every one is kept.
    pub failed_attempt: Option<FailedAttempt>,
    /// The child run that is started in the same commit.
    pub starts_child: Option<Box<ChildStart>>,
}

/// A run that the guest starts.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildStart {
    /// The child, which is the same in every replay.
    pub id: RunId,
    /// The full name of its workflow.
    pub workflow: String,
    /// The deployment that it is pinned to.
    pub deployment: DeploymentId,
    /// Its input, checked against the workflow's type.
    pub input: Payload,
    /// Its labels; none: its parent's.
    pub labels: Option<Vec<(String, String)>>,
    /// How long after its start it is ended, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// It outlives its parent.
    pub detached: bool,
    /// The named queue that it waits in; none: the one without limits.
    pub queue: Option<String>,
    /// What the queue's limits per key go by.
    pub concurrency_key: Option<String>,
    /// Its priority; none: its parent's.
    pub priority: Option<i16>,
}

/// A workflow that a child may be a run of.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildWorkflow {
    /// The deployment that takes it now.
    pub deployment: DeploymentId,
    /// The workflow.
    pub workflow: Workflow,
    /// Whether its types are known. Only in a test they may not be: then its input is any JSON.
    pub is_typed: bool,
    /// How many runs have started each other on the way to the one that is played.
    pub depth: u16,
    /// The named queue of its runs whose start names none.
    pub queue: Option<String>,
    /// The priority of its runs whose start says none.
    pub priority: Option<i16>,
}

/// How a child stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildState {
    /// The run has no such child.
    Unknown,
    /// It has not ended.
    Active,
    /// It has ended, with `{"ok": …}` or `{"failed": …}`: the payload of the event that tells of it.
    Ended(Payload),
}

/// A line of the run's log, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When the line was written, in real time.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// The step whose attempt was open, if any.
    pub step: Option<StepKey>,
    /// The text, without NUL characters, at most [`SandboxConfig::log_line_max_bytes`](crate::SandboxConfig::log_line_max_bytes) long
    /// (and a note when it was cut).
    pub message: String,
    /// Names and values for programs, without NUL characters.
    pub fields: Vec<(String, String)>,
    /// How the guest wrote it.
    pub source: LogSource,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For following every move.
    Trace,
    /// For finding a fault.
    Debug,
    /// For the record.
    Info,
    /// Something to look at.
    Warn,
    /// Something went wrong.
    Error,
}

impl Level {
    /// The level as one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// How a guest wrote a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogSource {
    /// Through the `log` interface.
    Log,
    /// A line on its standard output.
    Stdout,
    /// A line on its standard error.
    Stderr,
}

impl LogSource {
    /// The source as one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            LogSource::Log => "log",
            LogSource::Stdout => "stdout",
            LogSource::Stderr => "stderr",
        }
    }
}

/// What somebody outside wants of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Hold at this point until it is resumed.
    Pause,
    /// End, after the guest had its chance to compensate.
    Cancel,
    /// This process must not advance the run any further.
    Stop(Stop),
}

/// Why this process stops advancing a run that is not at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Another worker may have the run by now; nothing more may be written for it.
    #[error("the lease on the run was lost")]
    LeaseLost,
    /// The worker is shutting down and hands the run back.
    #[error("the worker is shutting down")]
    Drained,
    /// This instance is of no use any more; the run is to be played again from the top, at once.
    #[error("the run has to be played again")]
    Again,
    /// The journal cannot be reached for longer than is worth waiting.
    #[error("the journal is unavailable")]
    Unavailable,
}

/// An event that was sent to the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number within the run.
    pub seq: u32,
    /// Its name.
    pub name: String,
    /// What was sent.
    pub payload: Payload,
    /// When it was received.
    pub received_at: Timestamp,
}

impl Event {
    /// Whether it tells that a child has ended: nobody can send an event of such a name.
    pub fn is_of_child(&self) -> bool {
        self.name.starts_with("child/")
    }
}

/// A wish to give the run up until there is something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// What the run waits for.
    pub reason: SuspendReason,
    /// Names of the events that wake it; for [`SuspendReason::Event`] and [`SuspendReason::Child`], and empty otherwise.
    pub events: Vec<String>,
    /// The latest time at which it wants to be woken; none means never.
    pub wake_at: Option<Timestamp>,
}

/// What a suspended run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuspendReason {
    /// An event, or the wait's time-out.
    Event,
    /// The end of a child, or the wait's time-out.
    Child,
    /// A time.
    Time,
    /// The next attempt at a step.
    Retry,
    /// A person: the guest called `pause`.
    Pause,
    /// A person: somebody outside paused the run.
    Paused,
}

impl SuspendReason {
    /// The reason as one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            SuspendReason::Event => "event",
            SuspendReason::Child => "child",
            SuspendReason::Time => "time",
            SuspendReason::Retry => "retry",
            SuspendReason::Pause => "pause",
            SuspendReason::Paused => "paused",
        }
    }
}

/// What became of a wish to suspend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspended {
    /// The run is given up; this instance must end.
    Gone,
    /// Something came in meanwhile, an event or a signal: look again.
    Woken,
}
