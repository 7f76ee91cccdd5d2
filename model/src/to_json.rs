//! From a value of a type to its canonical JSON text. The form is described in `from_json.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::from_json::is_nullable;
use crate::schema::{Type, camel_case};
use crate::value::Value;

/// Integers of 64 bits stay numbers in JSON up to this, either side of zero: what a double can tell apart.
const EXACT: u64 = 1 << 53;

/// Why a value has no JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToJsonError {
    /// JSON has no word for infinities and NaN.
    #[error("{value} has no JSON form: a float must be finite")]
    NotFinite {
        /// The number.
        value: String,
    },
    /// The value is not of the type: whoever paired them made a mistake.
    #[error("the value does not fit the type {ty}")]
    WrongType {
        /// The type in WIT syntax.
        ty: String,
    },
}

/// Writes a value of the type as its canonical JSON text.
///
/// # Errors
/// If the value holds a float that is not finite, or is not of the type.
pub fn to_json(value: &Value, ty: &Type) -> Result<String, ToJsonError> {
    let mut text = String::new();
    write(&mut text, value, ty)?;
    Ok(text)
}

fn write(text: &mut String, value: &Value, ty: &Type) -> Result<(), ToJsonError> {
    let wrong = || ToJsonError::WrongType { ty: ty.to_string() };
    match (ty, value) {
        (Type::Bool, Value::Bool(value)) => text.push_str(if *value { "true" } else { "false" }),
        (Type::U8, Value::U8(value)) => text.push_str(&value.to_string()),
        (Type::U16, Value::U16(value)) => text.push_str(&value.to_string()),
        (Type::U32, Value::U32(value)) => text.push_str(&value.to_string()),
        (Type::U64, Value::U64(value)) => wide(text, *value, &value.to_string()),
        (Type::S8, Value::S8(value)) => text.push_str(&value.to_string()),
        (Type::S16, Value::S16(value)) => text.push_str(&value.to_string()),
        (Type::S32, Value::S32(value)) => text.push_str(&value.to_string()),
        (Type::S64, Value::S64(value)) => wide(text, value.unsigned_abs(), &value.to_string()),
        (Type::F32, Value::F32(value)) => single(text, *value)?,
        (Type::F64, Value::F64(value)) => double(text, *value)?,
        (Type::Char, Value::Char(value)) => string(text, value.encode_utf8(&mut [0; 4])),
        (Type::String, Value::String(value)) => string(text, value),
        (Type::Bytes, Value::Bytes(value)) => {
            text.push('"');
            BASE64.encode_string(value, text);
            text.push('"');
        }
        (Type::List(item), Value::List(items)) => {
            array(text, items, |text, value| write(text, value, item))?;
        }
        (Type::FixedList(item, length), Value::List(items)) if items.len() == *length as usize => {
            array(text, items, |text, value| write(text, value, item))?;
        }
        (Type::Tuple(types), Value::Tuple(items)) if items.len() == types.len() => {
            let pairs: Vec<_> = items.iter().zip(types).collect();
            array(text, &pairs, |text, (value, ty)| write(text, value, ty))?;
        }
        (Type::Record(record), Value::Record(values)) if values.len() == record.fields.len() => {
            text.push('{');
            for (index, (field, value)) in record.fields.iter().zip(values).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push('"');
                text.extend(camel_case(&field.name));
                text.push_str("\":");
                write(text, value, &field.ty)?;
            }
            text.push('}');
        }
        (Type::Variant(variant), Value::Variant(index, payload)) => {
            let case = variant.cases.get(*index as usize).ok_or_else(wrong)?;
            text.push_str("{\"tag\":");
            string(text, &case.name);
            match (&case.ty, payload) {
                (Some(ty), Some(value)) => {
                    text.push_str(",\"val\":");
                    write(text, value, ty)?;
                }
                (None, None) => {}
                _ => return Err(wrong()),
            }
            text.push('}');
        }
        (Type::Enum(cases), Value::Enum(index)) => {
            string(text, cases.cases.get(*index as usize).ok_or_else(wrong)?);
        }
        (Type::Flags(flags), Value::Flags(set)) if set.len() == flags.flags.len() => {
            let names: Vec<_> = flags
                .flags
                .iter()
                .zip(set)
                .filter(|(_, is_set)| **is_set)
                .collect();
            array(text, &names, |text, (name, _)| {
                string(text, name);
                Ok(())
            })?;
        }
        (Type::Option(_), Value::Option(None)) => text.push_str("null"),
        (Type::Option(inner), Value::Option(Some(value))) if is_nullable(inner) => {
            text.push_str("{\"some\":");
            write(text, value, inner)?;
            text.push('}');
        }
        (Type::Option(inner), Value::Option(Some(value))) => write(text, value, inner)?,
        (Type::Result { ok, err }, Value::Result(result)) => {
            let (side, ty, payload) = match result {
                Ok(payload) => ("{\"ok\":", ok, payload),
                Err(payload) => ("{\"err\":", err, payload),
            };
            text.push_str(side);
            match (ty, payload) {
                (Some(ty), Some(value)) => write(text, value, ty)?,
                (None, None) => text.push_str("null"),
                _ => return Err(wrong()),
            }
            text.push('}');
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

fn array<T>(
    text: &mut String,
    items: &[T],
    item: impl Fn(&mut String, &T) -> Result<(), ToJsonError>,
) -> Result<(), ToJsonError> {
    text.push('[');
    for (index, value) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        item(text, value)?;
    }
    text.push(']');
    Ok(())
}

fn wide(text: &mut String, magnitude: u64, digits: &str) {
    if magnitude <= EXACT {
        text.push_str(digits);
    } else {
        text.push('"');
        text.push_str(digits);
        text.push('"');
    }
}

fn double(text: &mut String, value: f64) -> Result<(), ToJsonError> {
    if !value.is_finite() {
        return Err(ToJsonError::NotFinite {
            value: value.to_string(),
        });
    }
    // The standard library's form rather than serde_json's, which has changed between its releases.
    text.push_str(&format!("{value:?}"));
    Ok(())
}

fn single(text: &mut String, value: f32) -> Result<(), ToJsonError> {
    if !value.is_finite() {
        return Err(ToJsonError::NotFinite {
            value: value.to_string(),
        });
    }
    let shortest = format!("{value:?}");
    // Readers take the digits for a double first. Where that rounds to another single, the exact double is written.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "this is how it will be read"
    )]
    let read = shortest.parse::<f64>().map(|double| double as f32);
    if read.is_ok_and(|read| read.to_bits() == value.to_bits()) {
        text.push_str(&shortest);
        return Ok(());
    }
    double(text, value.into())
}

fn string(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_a_double_become_strings() {
        let json = |value: i64| to_json(&Value::S64(value), &Type::S64).unwrap();
        assert_eq!(json(1 << 53), "9007199254740992");
        assert_eq!(json(-(1 << 53)), "-9007199254740992");
        assert_eq!(json((1 << 53) + 1), "\"9007199254740993\"");
        assert_eq!(json(i64::MIN), "\"-9223372036854775808\"");
        assert_eq!(
            to_json(&Value::U64(u64::MAX), &Type::U64).unwrap(),
            "\"18446744073709551615\""
        );
    }

    #[test]
    fn singles_have_their_own_shortest_text() {
        let json = |value: f32| to_json(&Value::F32(value), &Type::F32).unwrap();
        assert_eq!(json(0.1), "0.1");
        assert_eq!(json(-0.0), "-0.0");
        assert_eq!(json(16_777_216.0), "16777216.0");
    }

    /// Its shortest text, 7.038531e-26, is another single for whoever reads a double first.
    #[test]
    fn a_single_whose_shortest_text_would_be_misread_is_written_exactly() {
        let value = Value::F32(f32::from_bits(0x15ae_43fd));
        let text = to_json(&value, &Type::F32).unwrap();
        assert_ne!(text, "7.038531e-26");
        let limits = crate::PayloadLimits::default();
        assert_eq!(
            crate::from_json(&text, &Type::F32, "input", &limits),
            Ok(value)
        );
    }

    #[test]
    fn the_text_of_doubles_is_stable() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (4.0, "4.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e16"),
            (1e-7, "1e-7"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::from_bits(1), "5e-324"),
        ] {
            assert_eq!(to_json(&Value::F64(value), &Type::F64).unwrap(), text);
        }
    }

    #[test]
    fn floats_that_are_not_finite_are_refused() {
        assert_eq!(
            to_json(&Value::F64(f64::NAN), &Type::F64)
                .unwrap_err()
                .to_string(),
            "NaN has no JSON form: a float must be finite"
        );
        assert_eq!(
            to_json(&Value::F32(f32::NEG_INFINITY), &Type::F32)
                .unwrap_err()
                .to_string(),
            "-inf has no JSON form: a float must be finite"
        );
    }

    #[test]
    fn a_value_of_another_type_is_an_error() {
        let error = to_json(&Value::U8(1), &Type::List(Box::new(Type::U8))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value does not fit the type list<u8>"
        );
    }
}
