//! Points in time, in whole microseconds since the Unix epoch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time between the years 1 and 9999, in whole microseconds: what Postgres keeps too, so nothing is lost there.
///
/// Its text form is RFC 3339 in UTC with always six digits of fraction, so texts sort like the times they name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-30T22:00:00Z: the latest time that has a date in year 9999 or before in every time zone.
    pub const MAX: Self = Self(253_402_207_200_000_000);
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// A time in microseconds since the epoch, clamped to what a timestamp can be.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// A time in milliseconds since the epoch, clamped to what a timestamp can be.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }

    /// Milliseconds since the epoch, rounded towards the past.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time and `millis` milliseconds more, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn add_millis(self, millis: u64) -> Self {
        let micros = i64::try_from(millis.saturating_mul(1000)).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{time:.6}")
    }
}

/// The text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time: {text:?}: expected RFC 3339 such as 2026-11-23T08:00:00Z")]
pub struct TimestampError {
    text: String,
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339 with any offset. What is finer than a microsecond is rounded towards the past.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let time: jiff::Timestamp = text.parse().map_err(|_| TimestampError {
            text: text.chars().take(60).collect(),
        })?;
        let micros = time.as_nanosecond().div_euclid(1000);
        Ok(Self::from_micros(i64::try_from(micros).unwrap_or(i64::MAX)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_fixed_width_utc() {
        let time = Timestamp::from_micros(1_795_420_800_123_456);
        assert_eq!(time.to_string(), "2026-11-23T08:00:00.123456Z");
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!("2026-11-23T10:00:00.1234569+02:00".parse(), Ok(time));
    }

    #[test]
    fn extremes_are_clamped_and_have_a_text_form() {
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_millis(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::EPOCH.add_millis(u64::MAX), Timestamp::MAX);
        for extreme in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(extreme.to_string().parse(), Ok(extreme));
        }
    }

    #[test]
    fn milliseconds_round_towards_the_past() {
        assert_eq!(Timestamp::from_micros(1_999).as_millis(), 1);
        assert_eq!(Timestamp::from_micros(-1).as_millis(), -1);
    }

    #[test]
    fn malformed_time_says_what_was_expected() {
        let error = "tomorrow".parse::<Timestamp>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a time: \"tomorrow\": expected RFC 3339 such as 2026-11-23T08:00:00Z"
        );
    }
}
