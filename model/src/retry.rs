//! When a failed attempt is followed by another one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How often, and how fast, something is tried again after a retryable failure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// Tries in all, the first one included.
    pub max_attempts: u32,
    /// Between the first two tries, in milliseconds.
    pub initial_ms: u64,
    /// By how much that grows from one try to the next.
    pub factor: f32,
    /// It never grows beyond this, in milliseconds.
    pub max_ms: u64,
}

impl Default for RetryPolicy {
    /// Three tries, after 1 s and 2 s.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_ms: 1_000,
            factor: 2.0,
            max_ms: 60_000,
        }
    }
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("retry policy: {name}: expected {expected}, got {got}")]
pub struct RetryPolicyError {
    name: &'static str,
    expected: String,
    got: String,
}

impl RetryPolicyError {
    /// The part that cannot be, as it is named in the interface `steps`: `max-attempts`, `initial-ms`, `factor`, `max-ms`.
    pub fn part(&self) -> &'static str {
        self.name
    }

    /// What that may be.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What it is.
    pub fn got(&self) -> &str {
        &self.got
    }
}

impl RetryPolicy {
    /// Tries that a policy may ask for.
    pub const ATTEMPTS_MAX: u32 = 1_000;
    /// The longest time between two tries: 30 days, in milliseconds.
    pub const WAIT_MAX_MS: u64 = 30 * 86_400_000;

    /// Checks that the policy ends one day, and means what it says.
    ///
    /// # Errors
    /// Names the part that cannot be, and what it may be.
    pub fn check(&self) -> Result<(), RetryPolicyError> {
        let refuse = |name, expected: String, got: &dyn fmt::Display| {
            Err(RetryPolicyError {
                name,
                expected,
                got: got.to_string(),
            })
        };
        if !(1..=Self::ATTEMPTS_MAX).contains(&self.max_attempts) {
            let expected = format!("1 to {}", Self::ATTEMPTS_MAX);
            return refuse("max-attempts", expected, &self.max_attempts);
        }
        // Also not a number.
        if !(1.0..=1_000.0).contains(&self.factor) {
            return refuse("factor", "1 to 1000".to_owned(), &self.factor);
        }
        if self.max_ms > Self::WAIT_MAX_MS {
            let expected = format!("at most 30 days ({} ms)", Self::WAIT_MAX_MS);
            return refuse("max-ms", expected, &self.max_ms);
        }
        if self.initial_ms > self.max_ms {
            let expected = format!("at most max-ms ({})", self.max_ms);
            return refuse("initial-ms", expected, &self.initial_ms);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_policy() {
        RetryPolicy::default().check().unwrap();
    }

    #[test]
    fn what_could_never_end_or_means_nothing_is_refused() {
        let policy = RetryPolicy::default();
        let refused = [
            (
                RetryPolicy {
                    max_attempts: 0,
                    ..policy
                },
                "max-attempts: expected 1 to 1000, got 0",
            ),
            (
                RetryPolicy {
                    max_attempts: 1_001,
                    ..policy
                },
                "max-attempts: expected 1 to 1000, got 1001",
            ),
            (
                RetryPolicy {
                    factor: 0.5,
                    ..policy
                },
                "factor: expected 1 to 1000, got 0.5",
            ),
            (
                RetryPolicy {
                    factor: f32::NAN,
                    ..policy
                },
                "factor: expected 1 to 1000, got NaN",
            ),
            (
                RetryPolicy {
                    initial_ms: 70_000,
                    ..policy
                },
                "initial-ms: expected at most max-ms (60000), got 70000",
            ),
            (
                RetryPolicy {
                    max_ms: u64::MAX,
                    ..policy
                },
                "max-ms: expected at most 30 days (2592000000 ms), got 18446744073709551615",
            ),
        ];
        for (policy, message) in refused {
            assert_eq!(
                policy.check().unwrap_err().to_string(),
                format!("retry policy: {message}")
            );
        }
    }
}
