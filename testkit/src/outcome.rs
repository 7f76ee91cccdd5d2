//! How a run stands and how it ends.

use std::fmt;
use std::time::Duration;

use dacapo_model::{Failure, Payload, Status, StepKey};
use dacapo_sandbox::{BlockReason, SuspendReason};
use serde::de::DeserializeOwned;

use crate::clock;
use crate::error::Error;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RunOutcome {
    /// The workflow returned; its result as JSON, `null` when it has none.
    Completed(Payload),
    /// The workflow returned an error, or was ended for something that it did.
    Failed(Failure),
    /// The run was cancelled. The failure says how the workflow ended.
    Cancelled(Failure),
    /// The run cannot go on with this code: it contradicts its own journal. In production nothing would be lost, and the run would wait
    /// for other code.
    Blocked(BlockReason),
}

impl RunOutcome {
    /// The output of a run that completed, as a type of the test: `serde_json::Value`, or one that was made from the WIT.
    ///
    /// # Errors
    /// The run did not complete, or its output is not of the type.
    pub fn output<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let RunOutcome::Completed(output) = self else {
            return Err(Error::NotCompleted(Box::new(self.clone())));
        };
        serde_json::from_str(output.as_str()).map_err(|source| Error::Decode {
            what: "output",
            json: output.as_str().to_owned(),
            source,
        })
    }

    /// The error that the workflow itself returned, as a type of the test; none if it returned no error of its own.
    ///
    /// # Errors
    /// The workflow's error is not of the type.
    pub fn workflow_error<E: DeserializeOwned>(&self) -> Result<Option<E>, Error> {
        let details = match self {
            RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) => &failure.details,
            RunOutcome::Completed(_) | RunOutcome::Blocked(_) => return Ok(None),
        };
        let Some(details) = details else {
            return Ok(None);
        };
        serde_json::from_str(details.as_str())
            .map(Some)
            .map_err(|source| Error::Decode {
                what: "error",
                json: details.as_str().to_owned(),
                source,
            })
    }

    /// What went wrong, if the run failed or was cancelled.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) => Some(failure),
            RunOutcome::Completed(_) | RunOutcome::Blocked(_) => None,
        }
    }

    /// How it ended as one lower-case word, as everywhere in Dacapo.
    pub fn status(&self) -> Status {
        match self {
            RunOutcome::Completed(_) => Status::Completed,
            RunOutcome::Failed(_) => Status::Failed,
            RunOutcome::Cancelled(_) => Status::Cancelled,
            RunOutcome::Blocked(_) => Status::Blocked,
        }
    }
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunOutcome::Completed(output) => write!(f, "completed with {output}"),
            RunOutcome::Failed(failure) => write!(f, "failed with {failure}"),
            RunOutcome::Cancelled(failure) => write!(f, "was cancelled: {failure}"),
            RunOutcome::Blocked(reason) => {
                write!(f, "is blocked with {}: {}", reason.code, reason.message)
            }
        }
    }
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It waits.
    Waiting(Waiting),
    /// It has ended.
    Ended(RunOutcome),
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The kind of thing.
    pub reason: SuspendReason,
    /// The names of the events that let it go on.
    pub events: Vec<String>,
    /// When it goes on whatever happens, in time after the run's start; none means never.
    pub until: Option<Duration>,
    /// The waits that have no outcome yet.
    pub open: Vec<StepKey>,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            SuspendReason::Child => f.write_str("for a child that never ends")?,
            SuspendReason::Event => {
                let s = if self.events.len() == 1 { "" } else { "s" };
                write!(f, "for the event{s} {}", listed(&self.events))?;
            }
            SuspendReason::Pause => {
                f.write_str("for somebody to resume it, since it paused itself")?
            }
            SuspendReason::Paused => {
                f.write_str("for somebody to resume it, since somebody paused it")?;
            }
            _ => f.write_str("for a time")?,
        }
        if !self.open.is_empty() {
            write!(f, ", at {}", listed(&self.open))?;
        }
        match self.until {
            Some(until) => write!(f, ", until {} after its start", clock::text(until)),
            None => Ok(()),
        }
    }
}

/// Names for people.
pub(crate) fn listed<T: fmt::Display>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
