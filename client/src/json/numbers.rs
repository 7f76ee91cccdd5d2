//! Numbers that JSON, or its readers, cannot take as they are.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

use super::Form;

/// Integers of 64 bits stay numbers up to this, either side of zero: what a double can tell apart.
const EXACT: u64 = 1 << 53;

/// `u64` and `s64`: a number up to 2^53 either side of zero, beyond it a text of decimal digits. Both are read anywhere.
#[derive(Debug)]
pub struct Wide;

impl Form<u64> for Wide {
    fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        if *value <= EXACT {
            serializer.serialize_u64(*value)
        } else {
            serializer.collect_str(value)
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(WideVisitor(PhantomData))
    }
}

impl Form<i64> for Wide {
    fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.unsigned_abs() <= EXACT {
            serializer.serialize_i64(*value)
        } else {
            serializer.collect_str(value)
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        deserializer.deserialize_any(WideVisitor(PhantomData))
    }
}

struct WideVisitor<T>(PhantomData<T>);

impl<T: TryFrom<u64> + TryFrom<i64> + FromStr> Visitor<'_> for WideVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of 64 bits as a number or a text")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        T::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse()
            .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// `f64`: a number. Infinities and NaN have no form; serde's own would write `null`.
#[derive(Debug)]
pub struct Double;

impl Form<f64> for Double {
    fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        finite(*value)?;
        serializer.serialize_f64(*value)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        f64::deserialize(deserializer)
    }
}

/// `f32`: a number, like [`Double`].
#[derive(Debug)]
pub struct Single;

impl Form<f32> for Single {
    fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        finite(f64::from(*value))?;
        // Readers take the digits for a double first. Where the shortest ones would then round to another single, the exact
        // double is written.
        let shortest: Result<f64, _> = value.to_string().parse();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "this is how it will be read"
        )]
        if shortest.is_ok_and(|double| (double as f32).to_bits() == value.to_bits()) {
            serializer.serialize_f32(*value)
        } else {
            serializer.serialize_f64(f64::from(*value))
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        let double = f64::deserialize(deserializer)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounding to the nearest is what is wanted"
        )]
        let single = double as f32;
        if single.is_finite() {
            Ok(single)
        } else {
            Err(de::Error::custom(format!("{double} is beyond an f32")))
        }
    }
}

fn finite<E: serde::ser::Error>(value: f64) -> Result<(), E> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(E::custom(format!(
            "{value} has no JSON form: a float must be finite"
        )))
    }
}
