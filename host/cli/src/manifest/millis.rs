//! Durations in a manifest.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Unexpected, Visitor};

use crate::arguments::duration;

/// A duration in milliseconds.
#[derive(Debug)]
pub(super) struct Millis(pub(super) u64);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Duration;
        impl Visitor<'_> for Duration {
            type Value = Millis;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a duration in quotes, such as "700ms", "5s" or "1m 30s""#)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Millis, E> {
                let duration =
                    duration(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                Ok(Millis(
                    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                ))
            }
        }
        deserializer.deserialize_any(Duration)
    }
}

/// A duration as people say it.
pub(super) fn time(ms: u64) -> String {
    let signed = jiff::SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    format!("{signed:#}")
}
