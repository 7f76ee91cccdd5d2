//! What a program knows of a workflow at compile time.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A workflow by its full name, with the Rust types of its input and its output.
///
/// [`refs!`](crate::refs) makes these from WIT. A workflow without a parameter, or without a result, has `()` in its place; for a
/// workflow that returns `result<T, E>` the output is `T`.
pub struct WorkflowRef<I, O> {
    name: &'static str,
    encode: fn(&I) -> Result<String, serde_json::Error>,
    decode: fn(&str) -> Result<O, serde_json::Error>,
    types: PhantomData<fn(&I) -> O>,
}

impl<I, O> WorkflowRef<I, O> {
    /// A reference to the workflow `ns:pkg/interface.function`. The types' serde forms must be the JSON forms of the workflow's
    /// WIT types.
    #[must_use]
    pub const fn new(name: &'static str) -> Self
    where
        I: Serialize,
        O: DeserializeOwned,
    {
        Self::with_codec(name, encode::<I>, decode::<O>)
    }

    /// A reference with its own way between values and JSON text, for types whose serde form is another one.
    #[must_use]
    pub const fn with_codec(
        name: &'static str,
        encode: fn(&I) -> Result<String, serde_json::Error>,
        decode: fn(&str) -> Result<O, serde_json::Error>,
    ) -> Self {
        Self {
            name,
            encode,
            decode,
            types: PhantomData,
        }
    }

    /// The workflow's full name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The JSON text of an input.
    ///
    /// # Errors
    /// If the value has no JSON form, such as a float that is not finite.
    pub fn encode(&self, input: &I) -> Result<String, serde_json::Error> {
        (self.encode)(input)
    }

    /// Reads an output.
    ///
    /// # Errors
    /// If the text is not of the output's type.
    pub fn decode(&self, output: &str) -> Result<O, serde_json::Error> {
        (self.decode)(output)
    }

    pub(crate) fn decoder(&self) -> fn(&str) -> Result<O, serde_json::Error> {
        self.decode
    }
}

fn encode<I: Serialize>(input: &I) -> Result<String, serde_json::Error> {
    serde_json::to_string(input)
}

pub(crate) fn decode<O: DeserializeOwned>(output: &str) -> Result<O, serde_json::Error> {
    serde_json::from_str(output)
}

impl<I, O> Clone for WorkflowRef<I, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, O> Copy for WorkflowRef<I, O> {}

impl<I, O> fmt::Debug for WorkflowRef<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkflowRef").field(&self.name).finish()
    }
}

/// What a run recorded is not of the type that this program was built with.
#[derive(Debug, Error)]
#[error("not of the type that this program was built with: {0}")]
pub struct DecodeError(#[from] pub(crate) serde_json::Error);
