//! How a run is started, beside its workflow and its input.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ClientError;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1_000;

/// The longest deadline.
const DEADLINE_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// How to start a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Makes the start idempotent: at most one run of the workflow has this key for as long as that run is kept
    /// ([`Client::retention`](crate::Client::retention)). 1 to 1,000 bytes.
    pub key: Option<String>,
    /// To find the run by. Names and values are at most 200 bytes long, and hold no NUL.
    pub labels: BTreeMap<String, String>,
    /// The run fails with the code `deadline` when it has not ended by itself this long after its start, whatever it does then; its code
    /// is not asked. 1 ms to 10 years.
    pub deadline: Option<Duration>,
}

impl StartOptions {
    /// The options of an idempotent start.
    pub fn keyed(key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// The same options with one more label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// The same options with a deadline.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    pub(crate) fn check(&self) -> Result<(), ClientError> {
        if let Some(deadline) = self.deadline
            && !(Duration::from_millis(1)..=DEADLINE_MAX).contains(&deadline)
        {
            return Err(ClientError::BadArgument {
                what: "deadline",
                message: format!("expected 1 ms to 10 years, got {deadline:?}"),
            });
        }
        if let Some(key) = &self.key {
            check_text("key", key, KEY_BYTES_MAX)?;
            if key.is_empty() {
                return Err(ClientError::BadArgument {
                    what: "key",
                    message:
                        "it is empty: expected what the run is about, such as an order's number"
                            .to_owned(),
                });
            }
        }
        check_labels(&self.labels)
    }
}

pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ClientError> {
    for (name, value) in labels {
        dacapo_model::check_label(name, value).map_err(|error| ClientError::BadArgument {
            what: "label",
            message: error.to_string(),
        })?;
    }
    Ok(())
}

/// Postgres keeps no NUL in a text, and what is indexed must not be long.
pub(crate) fn check_text(
    what: &'static str,
    text: &str,
    bytes_max: usize,
) -> Result<(), ClientError> {
    let message = if text.len() > bytes_max {
        let start: String = text.chars().take(40).collect();
        format!(
            "\"{start}…\" is {} bytes long, the limit is {bytes_max} bytes",
            text.len()
        )
    } else if text.contains('\0') {
        format!("{text:?} holds a NUL character, which Postgres cannot keep")
    } else {
        return Ok(());
    };
    Err(ClientError::BadArgument { what, message })
}
