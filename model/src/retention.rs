//! How long runs are kept once they have ended, as a deployment says it.

use serde::{Deserialize, Serialize};

use crate::Status;

/// How long a run is kept once it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Keep {
    /// So many seconds: a minute to a hundred years.
    Seconds(u64),
    /// For ever.
    Forever,
}

impl Keep {
    /// The shortest time in seconds: whoever started a run may still be asking for its output.
    pub const SECONDS_MIN: u64 = 60;

    /// The longest time in seconds, a hundred years; for longer there is for ever.
    pub const SECONDS_MAX: u64 = 3_155_760_000;

    /// Whether it can be meant.
    ///
    /// # Errors
    /// What it is, if not.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Seconds(seconds)
                if !(Self::SECONDS_MIN..=Self::SECONDS_MAX).contains(&seconds) =>
            {
                Err(format!("{seconds} seconds"))
            }
            _ => Ok(()),
        }
    }
}

/// How long runs are kept once they have ended, by how they did. What is not said is as the rules of the database say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// Those that completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Keep>,
    /// Those that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Keep>,
    /// Those that were cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Keep>,
}

impl RetentionSettings {
    /// The same time for all.
    pub fn all(keep: Keep) -> Self {
        Self {
            completed: Some(keep),
            failed: Some(keep),
            cancelled: Some(keep),
        }
    }

    /// The times where these settings say them, and the others where they do not.
    pub(crate) fn over(self, other: Self) -> Self {
        Self {
            completed: self.completed.or(other.completed),
            failed: self.failed.or(other.failed),
            cancelled: self.cancelled.or(other.cancelled),
        }
    }

    /// What is said, with the status that it is said of.
    pub fn times(self) -> impl Iterator<Item = (Status, Keep)> {
        [
            (Status::Completed, self.completed),
            (Status::Failed, self.failed),
            (Status::Cancelled, self.cancelled),
        ]
        .into_iter()
        .filter_map(|(status, keep)| Some((status, keep?)))
    }
}
