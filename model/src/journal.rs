//! The words of the journal, shared by everything that writes, reads or replays one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::key::StepKey;
use crate::payload::Payload;
use crate::time::Timestamp;

/// What an entry of the journal records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A step: a body that ran.
    Step,
    /// A wait for an event.
    Wait,
    /// A sleep for some time or until a time.
    Sleep,
    /// A pause until somebody resumes the run.
    Pause,
    /// A fork into branches, until all of them have ended.
    Fork,
    /// The outcome of one branch of a fork.
    Branch,
    /// The start of a child run; its value is the child's id.
    Child,
    /// Whether the run takes the new one of two ways through changed code; its value is `true`.
    Change,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Step,
        Self::Wait,
        Self::Sleep,
        Self::Pause,
        Self::Fork,
        Self::Branch,
        Self::Child,
        Self::Change,
    ];

    /// The kind as a word in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Wait => "wait",
            Self::Sleep => "sleep",
            Self::Pause => "pause",
            Self::Fork => "fork",
            Self::Branch => "branch",
            Self::Child => "child",
            Self::Change => "change",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no kind of journal entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a kind of journal entry: {0:?}: expected one of step, wait, sleep, pause, fork, branch, child, change"
)]
pub struct KindError(String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| KindError(text.to_owned()))
    }
}

/// How a step or a wait came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has a result: a step's value, an event's payload, `null` for a sleep or a pause.
    Ok(Payload),
    /// It failed.
    Failed(Failure),
    /// No event was received in time.
    TimedOut,
    /// The run was cancelled while it waited.
    Cancelled,
}

impl Outcome {
    /// The outcome as a word: `ok`, `failed`, `timed-out` or `cancelled`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One entry of a run's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where in the run it belongs.
    pub key: StepKey,
    /// What it records.
    pub kind: Kind,
    /// Its place in the order in which the run's entries were first written, from 1.
    pub position: u32,
    /// When the step's body began or the wait was first reached.
    pub started_at: Timestamp,
    /// Whether there is an outcome yet.
    pub state: RecordedState,
}

impl Recorded {
    /// About what it takes to keep and to hand over, in bytes: its key and its outcome.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let outcome = match &self.state {
            RecordedState::Done {
                outcome: Outcome::Ok(payload),
                ..
            } => payload.as_str().len(),
            RecordedState::Done {
                outcome: Outcome::Failed(failure),
                ..
            } => failure.bytes(),
            RecordedState::Open { plan, .. } => plan.as_ref().map_or(0, |plan| plan.as_str().len()),
            RecordedState::Done { .. } => 0,
        };
        self.key.as_str().len() + outcome
    }
}

/// An attempt at a step that failed. The attempt that succeeds is told by the step's own entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Which one it was, from 1.
    pub number: u32,
    /// When its body began.
    pub started_at: Timestamp,
    /// When it had failed.
    pub finished_at: Timestamp,
    /// What went wrong.
    pub failure: Failure,
}

/// Whether an entry has an outcome yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedState {
    /// It still waits.
    Open {
        /// When the wait ends by itself; `None` if only an event or a person can end it. For a step, when its next attempt begins.
        due: Option<Timestamp>,
        /// How many attempts at a step have failed; 0 for everything else.
        failed_attempts: u32,
        /// What must be known of it without its code: the names of the events that a wait waits for, when they are others than its own
        /// name, and how a fork is to be carried out.
        plan: Option<Payload>,
    },
    /// It is over and never changes again.
    Done {
        /// How it came out.
        outcome: Outcome,
        /// When that was recorded.
        finished_at: Timestamp,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_text_and_json() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert_eq!(
            "nap".parse::<Kind>().unwrap_err().to_string(),
            "not a kind of journal entry: \"nap\": expected one of step, wait, sleep, pause, fork, branch, child, change"
        );
    }
}
