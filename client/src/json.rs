//! The JSON forms of WIT types that differ from serde's own, for the types that [`refs!`](crate::refs) generates.
//!
//! A [`Form`] is a way to write a Rust type, apart from the type: `Vec<u8>` is a list of numbers in the form `List<Same>` and a text in
//! the form `Base64`. Forms are put together as types are: `Option<Vec<u64>>` has the form `Maybe<List<Wide>>`. A field takes its form
//! by `#[serde(with = "As::<…>")]`.
//!
//! Reading is lenient where a newer deployment may have more to say: unknown fields of a record are ignored.

mod bytes;
mod collections;
mod flags;
mod numbers;
mod options;

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use bytes::Base64;
pub use collections::{Array, List, Tuple};
pub use flags::{read_flags, write_flags};
pub use numbers::{Double, Single, Wide};
pub use options::{Maybe, Nested, Outcome};

/// A way to write values of type `T` as JSON, and to read them.
pub trait Form<T> {
    /// Writes a value.
    ///
    /// # Errors
    /// If the value has no JSON form, or the serializer fails.
    fn serialize<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads a value.
    ///
    /// # Errors
    /// If what is there is not of the form.
    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>;
}

/// The form that the type has by itself.
#[derive(Debug)]
pub struct Same;

impl<T: Serialize + DeserializeOwned> Form<T> for Same {
    fn serialize<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}

/// Gives a field a form: `#[serde(with = "As::<Base64>")]`.
#[derive(Debug)]
pub struct As<F>(PhantomData<F>);

impl<F> As<F> {
    /// Writes a value in the form.
    ///
    /// # Errors
    /// Those of the form.
    pub fn serialize<T, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        F: Form<T>,
    {
        F::serialize(value, serializer)
    }

    /// Reads a value in the form.
    ///
    /// # Errors
    /// Those of the form.
    pub fn deserialize<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>
    where
        F: Form<T>,
    {
        F::deserialize(deserializer)
    }
}

/// JSON text of a value in a form.
///
/// # Errors
/// Those of the form.
pub fn encode<T, F: Form<T>>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Written::<T, F>::new(value))
}

/// A value from JSON text in a form.
///
/// # Errors
/// Those of the form.
pub fn decode<T, F: Form<T>>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str::<Read<T, F>>(text).map(|read| read.value)
}

/// A part of a value, to be written in a form.
struct Written<'a, T, F> {
    value: &'a T,
    form: PhantomData<F>,
}

impl<'a, T, F> Written<'a, T, F> {
    fn new(value: &'a T) -> Self {
        Self {
            value,
            form: PhantomData,
        }
    }
}

impl<T, F: Form<T>> Serialize for Written<'_, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        F::serialize(self.value, serializer)
    }
}

/// A part of a value that was read in a form.
struct Read<T, F> {
    value: T,
    form: PhantomData<F>,
}

impl<'de, T, F: Form<T>> Deserialize<'de> for Read<T, F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        F::deserialize(deserializer).map(|value| Self {
            value,
            form: PhantomData,
        })
    }
}
