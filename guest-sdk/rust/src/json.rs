//! JSON from outside, whose integers of 64 bits may be texts.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Reads JSON that others have written: a child's output, an event's payload.
///
/// Beyond 2^53 either side of zero they write `u64` and `s64` as a text of decimal digits, since there are readers that have doubles only. A
/// `u64` or an `i64` is read from either form here, wherever it is in the type; but for one within what serde buffers (`flatten`, enums that
/// are untagged or tagged within), which needs `#[serde(with = "dacapo_guest::json::wide")]`.
///
/// What the kit hands over has been read so. This is for what a workflow reads itself:
///
/// ```
/// let ids: Vec<u64> = dacapo_guest::json::read(r#"[7, "18446744073709551615"]"#)?;
/// assert_eq!(ids, [7, u64::MAX]);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
///
/// The text is not JSON, or not a `T`.
pub fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Wide(&mut reader))?;
    reader.end()?;
    Ok(value)
}

/// For a `u64` or an `i64` that serde buffers: `#[serde(with = "dacapo_guest::json::wide")]`. It is written as a number, and read as one or
/// as a text of digits.
pub mod wide {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the number.
    ///
    /// # Errors
    ///
    /// As the serializer has them.
    pub fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    /// Reads the number from either form.
    ///
    /// # Errors
    ///
    /// It is neither, or of more than 64 bits.
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        T::deserialize(super::Wide(deserializer))
    }
}

/// Whatever is in it: integers of 64 bits in it are read from either form.
struct Wide<T>(T);

/// Takes an integer of 64 bits.
struct Signed<V>(V);
struct Unsigned<V>(V);

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* Wide(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Wide<D> {
    type Error = D::Error;

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Signed(visitor))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Unsigned(visitor))
    }

    forward! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i128() deserialize_u8()
        deserialize_u16() deserialize_u32() deserialize_u128() deserialize_f32() deserialize_f64() deserialize_char() deserialize_str()
        deserialize_string() deserialize_bytes() deserialize_byte_buf() deserialize_option() deserialize_unit()
        deserialize_unit_struct(name: &'static str) deserialize_newtype_struct(name: &'static str) deserialize_seq()
        deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize) deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) deserialize_identifier() deserialize_ignored_any()
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Wide<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128, visit_u8: u8, visit_u16: u16,
        visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32, visit_f64: f64, visit_char: char, visit_str: &str,
        visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8],
        visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Wide(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Wide(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Wide(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Wide(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, case: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Wide(case))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Wide<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Wide(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Wide<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Wide(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Wide<A> {
    type Error = A::Error;

    // Names are texts in any case.
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Wide(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Wide<A> {
    type Error = A::Error;
    type Variant = Wide<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (case, variant) = self.0.variant_seed(seed)?;
        Ok((case, Wide(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Wide<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Wide(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Wide(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Wide(visitor))
    }
}

/// The name of the only member of what serde_json makes of a number then.
const NUMBER: &str = "$serde_json::private::Number";

/// The integer of which these are the digits, written as it is written.
fn digits<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

macro_rules! integer {
    ($($name:ident, $visit:ident;)*) => {$(
        impl<'de, V: Visitor<'de>> Visitor<'de> for $name<V> {
            type Value = V::Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.expecting(f)
            }

            visit! {
                visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64,
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<V::Value, E> {
                match digits(text) {
                    Some(value) => self.0.$visit(value),
                    None => self.0.visit_str(text),
                }
            }

            fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
                self.0.visit_unit()
            }

            // So serde_json hands over any number if somebody has turned on its feature `arbitrary_precision`.
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<V::Value, A::Error> {
                if members.next_key::<String>()?.as_deref() != Some(NUMBER) {
                    return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
                }
                let text: String = members.next_value()?;
                match digits(&text) {
                    Some(value) => self.0.$visit(value),
                    None => match text.parse() {
                        Ok(float) => self.0.visit_f64(float),
                        Err(_) => Err(de::Error::invalid_type(de::Unexpected::Other("number"), &self)),
                    },
                }
            }
        }
    )*};
}

integer! {
    Signed, visit_i64;
    Unsigned, visit_u64;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Number(u64);

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(tag = "tag", content = "val")]
    enum Kind {
        None,
        One(i64),
        Both { left: u64, right: u32 },
    }

    #[derive(Deserialize)]
    struct Parcel {
        id: Number,
        before: Option<i64>,
        others: Vec<(u64, String)>,
        by: BTreeMap<u64, u64>,
        kinds: Vec<Kind>,
        free: serde_json::Value,
        raw: Box<serde_json::value::RawValue>,
        #[serde(flatten)]
        rest: Rest,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Rest {
        #[serde(with = "wide")]
        weight: u64,
    }

    #[test]
    fn integers_of_64_bits_are_read_from_either_form() {
        for text in ["18446744073709551615", r#""18446744073709551615""#] {
            assert_eq!(read::<u64>(text).expect("it is one"), u64::MAX);
        }
        let parcel: Parcel = read(
            r#"{"id": "18446744073709551615", "before": "-9223372036854775808", "others": [["9007199254740993", "7"], [7, ""]],
                "by": {"18446744073709551615": "9007199254740993"},
                "kinds": [{"tag": "None"}, {"tag": "One", "val": "-9007199254740993"},
                    {"tag": "Both", "val": {"left": "9007199254740993", "right": 7}}],
                "free": ["9007199254740993", 18446744073709551615], "raw": "9007199254740993", "weight": "9007199254740993"}"#,
        )
        .expect("it is one");
        let exact = (1 << 53) + 1;
        assert_eq!(parcel.id, Number(u64::MAX));
        assert_eq!(parcel.before, Some(i64::MIN));
        assert_eq!(parcel.others, [(exact, "7".into()), (7, String::new())]);
        assert_eq!(parcel.by, BTreeMap::from([(u64::MAX, exact)]));
        let both = Kind::Both {
            left: exact,
            right: 7,
        };
        assert_eq!(parcel.kinds, [Kind::None, Kind::One(-(1 << 53) - 1), both]);
        assert_eq!(
            parcel.free,
            serde_json::json!(["9007199254740993", u64::MAX])
        );
        assert_eq!(parcel.raw.get(), r#""9007199254740993""#);
        assert_eq!(parcel.rest.weight, exact);
    }

    #[test]
    fn integers_are_read_where_serde_json_keeps_all_digits() {
        fn number<T: DeserializeOwned>(text: &str) -> Result<T, de::value::Error> {
            let members = std::iter::once((NUMBER, text));
            T::deserialize(Wide(de::value::MapDeserializer::new(members)))
        }
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(number("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(number("7"), Ok(7_i64));
        for text in ["18446744073709551616", "-1", "1.5", "1e3", "seven"] {
            assert!(number::<u64>(text).is_err(), "{text}");
        }
        let other =
            de::value::MapDeserializer::<_, de::value::Error>::new(std::iter::once(("id", "7")));
        assert!(u64::deserialize(Wide(other)).is_err());
    }

    #[test]
    fn what_is_no_integer_is_none_in_a_text_neither() {
        for text in [
            r#""a text""#,
            r#""007""#,
            r#""+7""#,
            r#""-1""#,
            r#""18446744073709551616""#,
            r#""""#,
            "1.5",
            "null",
            "[7]",
            "7 8",
        ] {
            assert!(read::<u64>(text).is_err(), "{text}");
        }
        assert!(read::<u32>(r#""7""#).is_err());
        let said = read::<u64>(r#""a text""#).map_err(|error| error.to_string());
        let expected = "invalid type: string \"a text\", expected u64 at line 1 column 8";
        assert_eq!(said, Err(expected.to_owned()));
    }
}
