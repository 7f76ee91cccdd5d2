//! Ends of an instance that are not the guest's own doing: they unwind it as a trap and are recognised again on the outside.

use dacapo_model::{Failure, StepKey};

use crate::ending::{BlockCode, BlockReason};
use crate::journal::{Stop, Suspension};

/// Why a host function did not return to the guest.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Interrupt {
    /// The journal gave the run up.
    #[error("the run is suspended")]
    Suspended,
    /// The branch has to wait.
    #[error("the branch waits")]
    Parked(Suspension),
    /// The run goes on in the branches of this fork.
    #[error("the run forks at {0}")]
    Forked(StepKey),
    /// The branch has ended, and its outcome is recorded.
    #[error("the branch has ended")]
    BranchEnded,
    /// This process must not advance the run.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// The run cannot go on with this component.
    #[error("the run is blocked: {}", .0.message)]
    Blocked(BlockReason),
    /// The guest did something that ends its run.
    #[error("{}", .0.message)]
    Failed(Failure),
}

impl Interrupt {
    /// The guest broke the protocol; the message says what to do instead.
    pub(crate) fn misuse(message: impl Into<String>) -> Interrupt {
        Interrupt::Failed(Failure::new(dacapo_model::MISUSE, message))
    }
}

impl From<dacapo_replay::Mismatch> for Interrupt {
    fn from(mismatch: dacapo_replay::Mismatch) -> Interrupt {
        Interrupt::Blocked(mismatch_reason(&mismatch))
    }
}

/// A contradiction between code and journal as the reason why a run is blocked, with both sides as data.
pub(crate) fn mismatch_reason(mismatch: &dacapo_replay::Mismatch) -> BlockReason {
    BlockReason {
        code: BlockCode::Mismatch,
        message: mismatch.to_string(),
        details: serde_json::to_string(mismatch)
            .ok()
            .map(dacapo_model::Payload::from_trusted),
    }
}
