//! `option` and `result`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serializer};

use super::{Form, Read, Written};

/// `option<T>`: `null`, or the value in its own form.
#[derive(Debug)]
pub struct Maybe<F>(PhantomData<F>);

impl<T, F: Form<T>> Form<Option<T>> for Maybe<F> {
    fn serialize<S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            None => serializer.serialize_none(),
            Some(value) => serializer.serialize_some(&Written::<T, F>::new(value)),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_option(MaybeVisitor::<T, F>(PhantomData))
    }
}

struct MaybeVisitor<T, F>(PhantomData<(T, F)>);

impl<'de, T, F: Form<T>> Visitor<'de> for MaybeVisitor<T, F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null or a value")
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        F::deserialize(deserializer).map(Some)
    }
}

/// `option<option<T>>`: `null`, or `{"some": …}` around the inner option, so that `some(none)` survives. The form is the inner one's.
#[derive(Debug)]
pub struct Nested<F>(PhantomData<F>);

impl<T, F: Form<T>> Form<Option<T>> for Nested<F> {
    fn serialize<S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            None => serializer.serialize_none(),
            Some(value) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("some", &Written::<T, F>::new(value))?;
                map.end()
            }
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        Maybe::<Tagged<F>>::deserialize(deserializer)
    }
}

struct Tagged<F>(PhantomData<F>);

impl<T, F: Form<T>> Form<T> for Tagged<F> {
    fn serialize<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        F::serialize(value, serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_map(TaggedVisitor::<T, F>(PhantomData))
    }
}

struct TaggedVisitor<T, F>(PhantomData<(T, F)>);

impl<'de, T, F: Form<T>> Visitor<'de> for TaggedVisitor<T, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null or an object with the key `some` alone")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let key: Option<String> = map.next_key()?;
        if key.as_deref() != Some("some") {
            return Err(de::Error::invalid_value(de::Unexpected::Map, &self));
        }
        let read: Read<T, F> = map.next_value()?;
        only_key(&mut map)?;
        Ok(read.value)
    }
}

/// `result<T, E>` as a part of a value: `{"ok": …}` or `{"err": …}`. A side without a payload is `()`, written as `null`.
#[derive(Debug)]
pub struct Outcome<F, G>(PhantomData<(F, G)>);

impl<T, E, F: Form<T>, G: Form<E>> Form<Result<T, E>> for Outcome<F, G> {
    fn serialize<S: Serializer>(value: &Result<T, E>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match value {
            Ok(value) => map.serialize_entry("ok", &Written::<T, F>::new(value))?,
            Err(error) => map.serialize_entry("err", &Written::<E, G>::new(error))?,
        }
        map.end()
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Result<T, E>, D::Error> {
        deserializer.deserialize_map(OutcomeVisitor::<T, E, F, G>(PhantomData))
    }
}

struct OutcomeVisitor<T, E, F, G>(PhantomData<(T, E, F, G)>);

impl<'de, T, E, F: Form<T>, G: Form<E>> Visitor<'de> for OutcomeVisitor<T, E, F, G> {
    type Value = Result<T, E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the key `ok` or the key `err`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let key: Option<String> = map.next_key()?;
        let result = match key.as_deref() {
            Some("ok") => Ok(map.next_value::<Read<T, F>>()?.value),
            Some("err") => Err(map.next_value::<Read<E, G>>()?.value),
            _ => return Err(de::Error::invalid_value(de::Unexpected::Map, &self)),
        };
        only_key(&mut map)?;
        Ok(result)
    }
}

fn only_key<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    match map.next_key::<String>()? {
        None => Ok(()),
        Some(key) => Err(de::Error::custom(format!(
            "unexpected key {key:?}: expected one key alone"
        ))),
    }
}
