//! Failures: what went wrong as part of a workflow's story.

use serde::{Deserialize, Deserializer, Serialize};

use crate::payload::{Payload, PayloadError, PayloadLimits};

/// The guest trapped: a panic, an `unreachable`, a memory access out of bounds.
pub const TRAP: &str = "trap";
/// The guest wanted more memory than it may have.
pub const MEMORY_LIMIT: &str = "memory-limit";
/// The guest called too deep.
pub const STACK_OVERFLOW: &str = "stack-overflow";
/// The guest computed for longer than it may, or a step took longer than its limit.
pub const TIMEOUT: &str = "timeout";
/// Somebody cancelled the run.
pub const CANCELLED: &str = "cancelled";
/// The run's deadline has passed.
pub const DEADLINE: &str = "deadline";
/// A value could not be read as the type that was expected.
pub const DECODE: &str = "decode";
/// A payload is larger than the limit.
pub const PAYLOAD_LIMIT: &str = "payload-limit";
/// The guest broke the protocol: a step inside a step and the like.
pub const MISUSE: &str = "misuse";

/// How a run has ended that was cancelled by force.
#[must_use]
pub fn killed() -> Failure {
    Failure::new(
        CANCELLED,
        "the run was cancelled by force; its code was not asked and did not compensate",
    )
}

/// Something that went wrong: stored with the step or the run, shown to people, and a plain value in the guest.
///
/// In JSON it is an object with `code`, `message`, `retryable` and, if there are any, `details`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A short, stable word for programs, such as `card-declined` or one of the constants of this module.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// Whether trying the same thing again could help.
    pub retryable: bool,
    /// Whatever else a program might want to know.
    // A present `null` is not the same as an absent one: a guest must see in a replay just what it saw the first time.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub details: Option<Payload>,
}

pub(crate) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Payload>, D::Error> {
    Payload::deserialize(deserializer).map(Some)
}

impl Failure {
    /// A failure that trying again will not help, without details.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: without_nul(code.into()),
            message: without_nul(message.into()),
            retryable: false,
            details: None,
        }
    }

    /// A failure as a guest hands it over, in the form in which it is recorded: NUL characters in code and message become
    /// U+FFFD, since a `text` of Postgres refuses them, and white space around the details is dropped.
    ///
    /// Whoever answers the guest must answer with the returned value, so that a replay shows it the same.
    ///
    /// # Errors
    /// If the details are not JSON, or all parts together are longer than the limit.
    pub fn from_guest(
        code: String,
        message: String,
        retryable: bool,
        details: Option<&str>,
        limits: &PayloadLimits,
    ) -> Result<Self, PayloadError> {
        let bytes = code.len() + message.len() + details.map_or(0, str::len);
        if bytes > limits.max_bytes {
            return Err(PayloadError::TooLarge {
                bytes,
                max: limits.max_bytes,
            });
        }
        let details = match details {
            Some(text) => {
                let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
                Some(Payload::new(trimmed, limits)?)
            }
            None => None,
        };
        Ok(Self {
            retryable,
            details,
            ..Self::new(code, message)
        })
    }

    /// About what it takes to keep, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let details = self
            .details
            .as_ref()
            .map_or(0, |details| details.as_str().len());
        self.code.len() + self.message.len() + details
    }

    /// The failure as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| {
            // Only details that never were JSON lead here; the rest of the failure must not be lost for them.
            let rest = Self {
                details: None,
                ..self.clone()
            };
            serde_json::to_string(&rest).expect("text and a boolean always have a JSON form")
        })
    }

    /// Reads what [`Failure::to_json`] wrote.
    ///
    /// # Errors
    /// If the text is not the JSON form of a failure.
    pub fn from_json(text: &str) -> Result<Self, FailureError> {
        serde_json::from_str(text).map_err(|error| FailureError(error.to_string()))
    }
}

/// The text is not the JSON form of a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a failure in JSON: {0}")]
pub struct FailureError(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_form_is_stable() {
        let mut failure = Failure::new("card-declined", "the card was declined");
        assert_eq!(
            failure.to_json(),
            r#"{"code":"card-declined","message":"the card was declined","retryable":false}"#
        );
        failure.details = Some(Payload::from_trusted(r#"{"attempts": 3}"#.to_owned()));
        assert_eq!(
            failure.to_json(),
            r#"{"code":"card-declined","message":"the card was declined","retryable":false,"details":{"attempts": 3}}"#
        );
        assert_eq!(Failure::from_json(&failure.to_json()), Ok(failure));
    }

    #[test]
    fn null_details_are_not_absent_details() {
        let failure = Failure {
            details: Some(Payload::null()),
            ..Failure::new("a", "b")
        };
        assert_eq!(Failure::from_json(&failure.to_json()), Ok(failure));
    }

    #[test]
    fn nul_becomes_the_replacement_character() {
        let failure = Failure::new("a\0b", "\0");
        assert_eq!(
            (failure.code.as_str(), failure.message.as_str()),
            ("a\u{fffd}b", "\u{fffd}")
        );
    }

    #[test]
    fn what_a_guest_hands_over_survives_its_recorded_form() {
        let limits = PayloadLimits::default();
        let failure = Failure::from_guest(
            "a".into(),
            "b\0".into(),
            true,
            Some(" {\"x\":1}\n"),
            &limits,
        )
        .unwrap();
        assert_eq!(Failure::from_json(&failure.to_json()), Ok(failure));
        assert!(Failure::from_guest("a".into(), "b".into(), true, Some("{"), &limits).is_err());
        let long = "x".repeat(limits.max_bytes);
        assert!(matches!(
            Failure::from_guest("a".into(), long, true, None, &limits),
            Err(PayloadError::TooLarge { .. })
        ));
    }
}
