//! Arrays of numbers and times with thousands of elements, read at once. The general way reads each element as a value of its own, which
//! takes longer than the database needs to send it.

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Postgres, Type};

use crate::Time;

/// An array of `integer` without nulls.
#[derive(Debug, Default)]
pub(crate) struct Integers(pub Vec<i32>);

/// An array of `timestamptz`.
#[derive(Debug, Default)]
pub(crate) struct Times(pub Vec<Option<Time>>);

impl Type<Postgres> for Integers {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_int4")
    }
}

impl Decode<'_, Postgres> for Integers {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let integers = elements(&value)?.into_iter().map(|element| {
            let bytes = element.ok_or("expected an array of integers without nulls, got a null")?;
            Ok(i32::from_be_bytes(bytes))
        });
        integers.collect::<Result<_, BoxDynError>>().map(Self)
    }
}

impl Type<Postgres> for Times {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_timestamptz")
    }
}

impl Decode<'_, Postgres> for Times {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let times = elements(&value)?.into_iter();
        Ok(Self(
            times
                .map(|element| element.map(|bytes| Time::from_sent(i64::from_be_bytes(bytes))))
                .collect(),
        ))
    }
}

/// The elements of an array in binary form: a head of five words (the number of dimensions, whether there are nulls, the type, the length,
/// the first index), then each element behind its length, which is -1 for a null.
fn elements<const N: usize>(value: &PgValueRef<'_>) -> Result<Vec<Option<[u8; N]>>, BoxDynError> {
    if value.format() != PgValueFormat::Binary {
        return Err("an array came as text, expected binary".into());
    }
    let mut rest = value.as_bytes()?;
    let word = |rest: &mut &[u8]| -> Result<i32, BoxDynError> {
        let (word, after) = rest.split_first_chunk().ok_or("an array ends too early")?;
        *rest = after;
        Ok(i32::from_be_bytes(*word))
    };
    let dimensions = word(&mut rest)?;
    if dimensions == 0 {
        return Ok(Vec::new());
    }
    if dimensions != 1 {
        return Err(format!("expected an array of one dimension, got {dimensions}").into());
    }
    let (_nulls, _type) = (word(&mut rest)?, word(&mut rest)?);
    let length = usize::try_from(word(&mut rest)?)?;
    let _first = word(&mut rest)?;
    let mut elements = Vec::with_capacity(length.min(rest.len()));
    for _ in 0..length {
        let bytes = word(&mut rest)?;
        elements.push(match usize::try_from(bytes) {
            Err(_) => None,
            Ok(bytes) if bytes == N => {
                let (element, after) = rest.split_first_chunk().ok_or("an array ends too early")?;
                rest = after;
                Some(*element)
            }
            Ok(bytes) => return Err(format!("expected elements of {N} bytes, got {bytes}").into()),
        });
    }
    Ok(elements)
}
