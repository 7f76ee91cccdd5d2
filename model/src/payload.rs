//! Payloads: JSON text that runs, steps and events carry.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::value::RawValue;

use crate::json::Json;
use crate::text::Text;

/// How large a payload may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// The length of the text, in bytes. Default: 1 MiB.
    pub max_bytes: usize,
    /// How deep arrays and objects may nest. Default: 100. More than 120 has no effect: that is what the reader can take.
    pub max_depth: usize,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 20,
            max_depth: 100,
        }
    }
}

/// Well-formed JSON text, kept byte for byte as it was given: a replay hands back exactly what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Payload(Text);

impl Payload {
    /// Checks that the text is JSON within the limits.
    ///
    /// # Errors
    /// Says what is wrong with the text, and where.
    pub fn new(text: impl Into<String>, limits: &PayloadLimits) -> Result<Self, PayloadError> {
        let text = text.into();
        Json::read(&text, limits)?;
        Ok(Self(text.into()))
    }

    /// The payload `null`.
    #[must_use]
    pub fn null() -> Self {
        Self("null".to_owned().into())
    }

    /// Takes text that was checked before it was stored.
    #[must_use]
    pub fn from_trusted(text: impl Into<Text>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The JSON text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0.into_string()
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A payload stands inline in the JSON around it. White space around the value is not kept there.
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.as_str()).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Trusts the JSON around it: limits and duplicate keys are not checked.
impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(String::from(Box::<str>::from(raw)).into()))
    }
}

/// Why a text cannot be a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The text is longer than the limit.
    #[error(
        "payload is {} bytes, the limit is {} bytes (max-payload-bytes)",
        grouped(*.bytes),
        grouped(*.max)
    )]
    TooLarge {
        /// The length of the text.
        bytes: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The text is not JSON.
    #[error("not JSON: {message} (line {line}, column {column})")]
    NotJson {
        /// What is wrong.
        message: String,
        /// The line of the mistake, from 1.
        line: usize,
        /// The column of the mistake in bytes, from 1.
        column: usize,
    },
    /// Arrays and objects nest deeper than the limit.
    #[error("JSON nests deeper than {max} levels (line {line}, column {column})")]
    TooDeep {
        /// The limit, in levels of arrays and objects.
        max: usize,
        /// The line of the first bracket too many, from 1.
        line: usize,
        /// Its column in bytes, from 1.
        column: usize,
    },
    /// An object has the same key twice, and readers differ in which one they take.
    #[error("duplicate key {key} in an object (line {line}, column {column})")]
    DuplicateKey {
        /// The key as JSON text, shortened.
        key: String,
        /// The line of the second one, from 1.
        line: usize,
        /// Its column in bytes, from 1.
        column: usize,
    },
}

/// The number with its digits in groups of three: `1,048,576`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_byte_for_byte() {
        let text = " {\"b\": 1.50, \"a\": \"\\u0000\"} ";
        assert_eq!(
            Payload::new(text, &PayloadLimits::default())
                .unwrap()
                .as_str(),
            text
        );
    }

    #[test]
    fn too_large_names_both_sizes_and_the_setting() {
        let text = format!("\"{}\"", "x".repeat(1_999_998));
        assert_eq!(
            Payload::new(text, &PayloadLimits::default())
                .unwrap_err()
                .to_string(),
            "payload is 2,000,000 bytes, the limit is 1,048,576 bytes (max-payload-bytes)"
        );
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
    }

    #[test]
    fn a_payload_stands_inline() {
        let payload = Payload::new(" [1, 2.50] ", &PayloadLimits::default()).unwrap();
        let json = serde_json::to_string(&[&payload]).unwrap();
        assert_eq!(json, "[[1, 2.50]]");
        let back: Vec<Payload> = serde_json::from_str(&json).unwrap();
        assert_eq!(back[0].as_str(), "[1, 2.50]");
    }
}
