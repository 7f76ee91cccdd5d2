//! The statuses of a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a run is doing. The words are the same in the database, in JSON and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It can go on and waits for a worker.
    Queued,
    /// A worker advances it.
    Running,
    /// It waits for an event or a time.
    Suspended,
    /// It waits for a person to resume it.
    Paused,
    /// It was cancelled and still compensates.
    Cancelling,
    /// It ended with a result.
    Completed,
    /// It ended with a failure.
    Failed,
    /// It ended because somebody cancelled it.
    Cancelled,
    /// It cannot go on until a mistake outside of it is mended. Nothing is lost.
    Blocked,
}

impl Status {
    /// Every status, in the order of a run's life.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::Suspended,
        Self::Paused,
        Self::Cancelling,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Blocked,
    ];

    /// The status as a word in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Blocked => "blocked",
        }
    }

    /// Whether the run is over. A blocked run is not.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` lets tables align the word.
        f.pad(self.as_str())
    }
}

/// The text names no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a status: {0:?}: expected one of queued, running, suspended, paused, cancelling, completed, failed, cancelled, blocked"
)]
pub struct StatusError(String);

impl FromStr for Status {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| StatusError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_text_and_json() {
        for status in Status::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
            assert_eq!(
                serde_json::to_string(&status).unwrap(),
                format!("\"{status}\"")
            );
        }
    }

    #[test]
    fn the_error_lists_every_status() {
        let error = "done".parse::<Status>().unwrap_err().to_string();
        for status in Status::ALL {
            assert!(error.contains(status.as_str()), "{error}");
        }
    }
}
