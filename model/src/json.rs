//! The JSON reader: text to a tree, strict about what other readers let pass.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::payload::{PayloadError, PayloadLimits};

/// The deepest nesting that the reader takes, whatever the limits say: `serde_json` itself stops at 128.
const MAX_DEPTH: usize = 120;

/// JSON as a tree. Integers that fit 64 bits stay integers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// An integer from 0, written without fraction and exponent.
    Unsigned(u64),
    /// An integer below 0, written without fraction and exponent.
    Negative(i64),
    /// Any other number: with a fraction or an exponent, an integer beyond 64 bits, or `-0`.
    Float(f64),
    String(String),
    Array(Vec<Json>),
    /// The members in the order of the text; no key is there twice.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads one JSON text within the limits.
    pub(crate) fn read(text: &str, limits: &PayloadLimits) -> Result<Self, PayloadError> {
        if text.len() > limits.max_bytes {
            return Err(PayloadError::TooLarge {
                bytes: text.len(),
                max: limits.max_bytes,
            });
        }
        let max_depth = limits.max_depth.min(MAX_DEPTH);
        let mut problem = None;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let seed = Reader {
            levels_left: max_depth,
            problem: &mut problem,
        };
        let read = seed.deserialize(&mut deserializer).and_then(|json| {
            deserializer.end()?;
            Ok(json)
        });
        read.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            match problem {
                Some(Problem::TooDeep) => PayloadError::TooDeep {
                    max: max_depth,
                    line,
                    column,
                },
                Some(Problem::DuplicateKey(key)) => PayloadError::DuplicateKey {
                    key: excerpt(&Self::String(key)),
                    line,
                    column,
                },
                None => {
                    let full = error.to_string();
                    // The place is a part of the error of its own.
                    let end = full.rfind(" at line ").unwrap_or(full.len());
                    PayloadError::NotJson {
                        message: full[..end].to_owned(),
                        line,
                        column,
                    }
                }
            }
        })
    }
}

/// What serde's error type cannot carry.
enum Problem {
    TooDeep,
    DuplicateKey(String),
}

struct Reader<'a> {
    levels_left: usize,
    problem: &'a mut Option<Problem>,
}

impl Reader<'_> {
    /// A reader for what is one level further in.
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self {
                levels_left,
                ..self
            }),
            None => {
                *self.problem = Some(Problem::TooDeep);
                Err(E::custom("too deep"))
            }
        }
    }

    fn again(&mut self) -> Reader<'_> {
        Reader {
            levels_left: self.levels_left,
            problem: self.problem,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(u64::try_from(value).map_or(Json::Negative(value), Json::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner.again())? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        /// Up to this many keys a look through them is quicker than a table.
        const FEW: usize = 16;

        let mut inner = self.inner()?;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let duplicate = if members.len() < FEW {
                members.iter().any(|(other, _)| *other == key)
            } else {
                if seen.is_empty() {
                    seen.extend(members.iter().map(|(other, _)| other.clone()));
                }
                !seen.insert(key.clone())
            };
            if duplicate {
                *inner.problem = Some(Problem::DuplicateKey(key));
                return Err(de::Error::custom("duplicate key"));
            }
            let value = map.next_value_seed(inner.again())?;
            members.push((key, value));
        }
        Ok(Json::Object(members))
    }
}

/// The beginning of the JSON as compact text, at most about 60 characters long.
pub(crate) fn excerpt(json: &Json) -> String {
    const LONGEST: usize = 60;
    let mut text = String::new();
    write_start(json, &mut text, LONGEST);
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Writes the JSON until the text is longer than `enough` bytes; what it stands for may be a megabyte.
fn write_start(json: &Json, text: &mut String, enough: usize) {
    match json {
        Json::Null => text.push_str("null"),
        Json::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Json::Unsigned(value) => text.push_str(&value.to_string()),
        Json::Negative(value) => text.push_str(&value.to_string()),
        Json::Float(value) => text.push_str(&format!("{value:?}")),
        Json::String(value) => write_string_start(value, text, enough),
        Json::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if text.len() > enough * 4 {
                    return;
                }
                if index > 0 {
                    text.push(',');
                }
                write_start(item, text, enough);
            }
            text.push(']');
        }
        Json::Object(members) => {
            text.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                if text.len() > enough * 4 {
                    return;
                }
                if index > 0 {
                    text.push(',');
                }
                write_string_start(key, text, enough);
                text.push(':');
                write_start(value, text, enough);
            }
            text.push('}');
        }
    }
}

fn write_string_start(value: &str, text: &mut String, enough: usize) {
    let cut = value
        .char_indices()
        .nth(enough)
        .map_or(value.len(), |(index, _)| index);
    text.push_str(&serde_json::Value::from(&value[..cut]).to_string());
}
