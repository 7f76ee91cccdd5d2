//! What goes into one go at a run, and how it can end.

use std::fmt;
use std::sync::Arc;

use dacapo_model::{
    Changes, Failure, Payload, PayloadError, Recorded, RetryPolicy, RunId, Timestamp,
};

use crate::journal::Stop;
use crate::terms::Terms;

/// One go at a run: everything that the guest may know.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// The run.
    pub run_id: RunId,
    /// The workflow's full name, `ns:pkg/interface.function`.
    pub workflow: String,
    /// The input as it was stored when the run was started.
    pub input: Payload,
    /// The run that randomness outside of attempts is derived from: this one, or the one from whose journal it goes on.
    pub seed: RunId,
    /// When that was started: where the journal's time begins.
    pub created_at: Timestamp,
    /// How often it was retried after it had failed.
    pub retries: u16,
    /// How steps are tried again that do not say so themselves; none: as [`SandboxConfig::retry`](crate::SandboxConfig::retry) says.
    pub retry: Option<RetryPolicy>,
    /// What its deployment grants it, from [`Sandbox::terms`](crate::Sandbox::terms).
    pub terms: Arc<Terms>,
    /// The run's labels.
    pub labels: Vec<(String, String)>,
    /// How the code differs from what the run may have begun with, as the deployment says.
    pub changes: Option<Arc<Changes>>,
    /// The journal so far, in any order.
    pub recorded: Vec<Recorded>,
}

/// How one go at a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The guest returned; the result as canonical JSON, `null` when there is none.
    Completed(Payload),
    /// The guest returned an error, or was ended for something that it did.
    Failed(Failure),
    /// A cancel was delivered to the guest and it has ended since, in whichever way. The failure says how.
    Cancelled(Failure),
    /// [`Journal::suspend`](crate::Journal::suspend) gave the run up.
    Suspended,
    /// The run cannot go on with this component, and nothing is lost: it waits until the cause is mended.
    Blocked(BlockReason),
    /// This process must not advance the run any further.
    Stopped(Stop),
}

/// Why a run is blocked.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockReason {
    /// The kind of reason.
    pub code: BlockCode,
    /// One sentence for people.
    pub message: String,
    /// The reason as data, such as both sides of a mismatch.
    pub details: Option<Payload>,
}

/// The kinds of reasons for which the sandbox blocks a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockCode {
    /// The code asks for something that contradicts the journal.
    Mismatch,
    /// The guest cannot decode what was recorded.
    Rejected,
    /// The stored input does not fit the workflow's parameter, or the component has no such workflow.
    Input,
    /// The journal is as long as it may be.
    JournalLimit,
    /// The workflow of a child is not deployed.
    UnknownWorkflow,
    /// A step sends a request, or wants a secret, that its deployment is not granted.
    NotGranted,
    /// A step uses SQL, which its deployment is not granted.
    SqlNotGranted,
    /// The database that a step is granted cannot be used as it is.
    SqlDatabase,
    /// A secret that its deployment grants is not on this worker.
    MissingSecret,
    /// There is no such queue as a child is to wait in.
    UnknownQueue,
}

impl BlockCode {
    /// The code as one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            BlockCode::Mismatch => "mismatch",
            BlockCode::Rejected => "rejected",
            BlockCode::Input => "input",
            BlockCode::JournalLimit => "journal-limit",
            BlockCode::UnknownWorkflow => "unknown-workflow",
            BlockCode::NotGranted => "not-granted",
            BlockCode::SqlNotGranted => "sql-not-granted",
            BlockCode::SqlDatabase => "sql-database",
            BlockCode::MissingSecret => "missing-secret",
            BlockCode::UnknownQueue => "unknown-queue",
        }
    }
}

impl fmt::Display for BlockCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The failure code for a payload that cannot be recorded: over a limit, or not what the guest promised.
pub(crate) fn payload_code(error: &PayloadError) -> &'static str {
    match error {
        PayloadError::TooLarge { .. } | PayloadError::TooDeep { .. } => dacapo_model::PAYLOAD_LIMIT,
        _ => dacapo_model::MISUSE,
    }
}
