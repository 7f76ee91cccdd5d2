//! The tables `retry`: how steps are tried again that do not say so themselves.

use std::fmt;
use std::ops::Range;

use dacapo_model::{RetryPolicy, RetrySettings};
use serde::de::{Deserialize, Deserializer, Unexpected, Visitor};
use toml::Spanned;

use super::millis::{Millis, time};

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Retry {
    max_attempts: Option<Spanned<Attempts>>,
    initial: Option<Spanned<Millis>>,
    factor: Option<Spanned<Factor>>,
    max: Option<Spanned<Millis>>,
}

impl Retry {
    pub(super) fn settings(&self) -> RetrySettings {
        RetrySettings {
            max_attempts: self.max_attempts.as_ref().map(|it| it.get_ref().0),
            initial_ms: self.initial.as_ref().map(|it| it.get_ref().0),
            factor: self.factor.as_ref().map(|it| it.get_ref().0),
            max_ms: self.max.as_ref().map(|it| it.get_ref().0),
        }
    }

    /// Where the part of a policy is that has this name in WIT.
    pub(super) fn place(&self, part: &str) -> Option<Range<usize>> {
        match part {
            "max-attempts" => self.max_attempts.as_ref().map(Spanned::span),
            "initial-ms" => self.initial.as_ref().map(Spanned::span),
            "factor" => self.factor.as_ref().map(Spanned::span),
            "max-ms" => self.max.as_ref().map(Spanned::span),
            _ => None,
        }
    }
}

/// A policy as people say it.
pub(crate) fn retry_text(retry: RetryPolicy) -> String {
    let RetryPolicy {
        max_attempts,
        initial_ms,
        factor,
        max_ms,
    } = retry;
    match max_attempts {
        1 => "1 attempt".to_owned(),
        _ => format!(
            "{max_attempts} attempts, {} between the first two, then {factor} times as long, at most {}",
            time(initial_ms),
            time(max_ms)
        ),
    }
}

/// How often something is tried.
#[derive(Debug)]
struct Attempts(u32);

#[derive(Debug)]
struct Factor(f32);

impl<'de> Deserialize<'de> for Attempts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Attempts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "a whole number from 1 to {}, such as 5",
                    RetryPolicy::ATTEMPTS_MAX
                )
            }

            fn visit_i64<E: serde::de::Error>(
                self,
                value: i64,
            ) -> std::result::Result<Attempts, E> {
                u32::try_from(value)
                    .map(Attempts)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Factor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 1 to 1000, such as 2 or 1.5")
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<Factor, E> {
                Ok(Factor(value as f32))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Factor, E> {
                Ok(Factor(value as f32))
            }
        }
        deserializer.deserialize_any(Number)
    }
}
