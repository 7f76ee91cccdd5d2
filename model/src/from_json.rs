//! From JSON text to a value of a type.
//!
//! There is one JSON form of each type, and it is strict: what a caller got wrong is said before a run exists.
//!
//! | WIT | JSON |
//! |---|---|
//! | `bool` | `true`, `false` |
//! | `u8` .. `u32`, `s8` .. `s32` | an integer, written without fraction and exponent |
//! | `u64`, `s64` | the same up to 2^53 either side of zero, beyond it a string of decimal digits; both are read anywhere |
//! | `f32`, `f64` | a number; infinities and NaN have no JSON form; `-0.0` survives |
//! | `char` | a string of one Unicode scalar value |
//! | `string` | a string |
//! | `list<u8>` | a string of base64 in the standard alphabet, padded |
//! | `list<T>`, `list<T, N>`, `tuple<..>` | an array |
//! | `record` | an object; field names in camel case; `option` fields may be absent; unknown fields are errors |
//! | `variant` | `{"tag": "case-name", "val": ..}`, without `val` if the case has no payload |
//! | `enum` | the name of the case as a string |
//! | `flags` | an array of the names that are set, each once; written in the order of the declaration |
//! | `option<T>` | `null`, or the value itself |
//! | `option<option<T>>` | `null`, or `{"some": ..}` around the JSON of the inner option, so that `some(none)` survives |
//! | `result<T, E>` | `{"ok": ..}` or `{"err": ..}`; `null` in the place of a payload that does not exist |
//!
//! The canonical text, which [`to_json`](crate::to_json) writes, has no white space, names every field in the order of the
//! declaration (an absent option as `null`), and the shortest digits that read back as the same number.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::json::{Json, excerpt};
use crate::mismatch::{InputError, Mismatch, expected, listed, not_one_of};
use crate::payload::PayloadLimits;
use crate::schema::{Case, EnumType, Field, FlagsType, RecordType, Type, VariantType, camel_case};
use crate::value::Value;

/// More mistakes than these are not listed in one error.
const MOST_MISMATCHES: usize = 5;

/// Reads a value of the type from JSON text. `root` names the text in errors: `input`.
///
/// The type must have passed [`check_type`](crate::check_type).
///
/// # Errors
/// Names the place of each mistake, five of them at most.
pub fn from_json(
    text: &str,
    ty: &Type,
    root: &str,
    limits: &PayloadLimits,
) -> Result<Value, InputError> {
    let json = Json::read(text, limits).map_err(|error| InputError::Malformed {
        root: root.to_owned(),
        error,
    })?;
    let mut reader = Reader {
        root,
        path: Vec::new(),
        mismatches: Vec::new(),
    };
    match reader.value(&json, ty) {
        Some(value) if reader.mismatches.is_empty() => Ok(value),
        _ => Err(InputError::Mismatch(reader.mismatches)),
    }
}

/// One part of a path.
enum Segment<'a> {
    Member(&'a str),
    /// A field of a record, by its name in kebab case.
    Field(&'a str),
    Index(usize),
}

struct Reader<'a> {
    root: &'a str,
    path: Vec<Segment<'a>>,
    mismatches: Vec<Mismatch>,
}

impl<'a> Reader<'a> {
    /// The value, or `None` after a mismatch was noted. Where the parts of a value are independent the reader goes on after
    /// a mismatch, so that the caller learns of several at once.
    fn value(&mut self, json: &'a Json, ty: &'a Type) -> Option<Value> {
        let value = match (ty, json) {
            (Type::Bool, Json::Bool(value)) => Value::Bool(*value),
            (Type::U8, _) => Value::U8(self.integer(json, ty, 0, u8::MAX.into())?),
            (Type::U16, _) => Value::U16(self.integer(json, ty, 0, u16::MAX.into())?),
            (Type::U32, _) => Value::U32(self.integer(json, ty, 0, u32::MAX.into())?),
            (Type::U64, _) => Value::U64(self.integer(json, ty, 0, u64::MAX.into())?),
            (Type::S8, _) => Value::S8(self.integer(json, ty, i8::MIN.into(), i8::MAX.into())?),
            (Type::S16, _) => {
                Value::S16(self.integer(json, ty, i16::MIN.into(), i16::MAX.into())?)
            }
            (Type::S32, _) => {
                Value::S32(self.integer(json, ty, i32::MIN.into(), i32::MAX.into())?)
            }
            (Type::S64, _) => {
                Value::S64(self.integer(json, ty, i64::MIN.into(), i64::MAX.into())?)
            }
            (Type::F32, _) => self.single(json)?,
            (Type::F64, _) => match float(json) {
                Some(value) => Value::F64(value),
                None => return self.unexpected(ty, json),
            },
            (Type::Char, Json::String(text)) => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(value), None) => Value::Char(value),
                    _ => return self.unexpected(ty, json),
                }
            }
            (Type::String, Json::String(text)) => Value::String(text.clone()),
            (Type::Bytes, Json::String(text)) => match BASE64.decode(text) {
                Ok(bytes) => Value::Bytes(bytes),
                Err(_) => return self.unexpected(ty, json),
            },
            (Type::List(item), Json::Array(items)) => {
                Value::List(self.items(items, |_| Some(item))?)
            }
            (Type::FixedList(item, length), Json::Array(items))
                if items.len() == *length as usize =>
            {
                Value::List(self.items(items, |_| Some(item))?)
            }
            (Type::Tuple(types), Json::Array(items)) if items.len() == types.len() => {
                Value::Tuple(self.items(items, |index| types.get(index))?)
            }
            (Type::Record(record), Json::Object(members)) => self.record(members, record)?,
            (Type::Variant(variant), Json::Object(members)) => {
                self.variant(members, variant, json)?
            }
            (Type::Enum(cases), Json::String(name)) => self.case(name, cases, json)?,
            (Type::Flags(flags), Json::Array(items)) => self.flags(items, flags)?,
            (Type::Option(_), Json::Null) => Value::Option(None),
            (Type::Option(inner), _) if is_nullable(inner) => match json {
                Json::Object(members) if is_only(members, &["some"]) => {
                    let some = self.member("some", &members[0].1, inner)?;
                    Value::Option(Some(Box::new(some)))
                }
                _ => return self.unexpected(ty, json),
            },
            (Type::Option(inner), _) => Value::Option(Some(Box::new(self.value(json, inner)?))),
            (Type::Result { ok, err }, Json::Object(members))
                if is_only(members, &["ok", "err"]) =>
            {
                let (side, payload) = &members[0];
                if side == "ok" {
                    Value::Result(Ok(self.payload(side, payload, ok.as_deref())?))
                } else {
                    Value::Result(Err(self.payload(side, payload, err.as_deref())?))
                }
            }
            _ => return self.unexpected(ty, json),
        };
        Some(value)
    }

    fn integer<T: TryFrom<i128>>(
        &mut self,
        json: &Json,
        ty: &Type,
        least: i128,
        most: i128,
    ) -> Option<T> {
        let wide = matches!(ty, Type::U64 | Type::S64);
        let number = match json {
            Json::Unsigned(value) => i128::from(*value),
            Json::Negative(value) => i128::from(*value),
            Json::String(text) if wide => match decimal(text) {
                Some(value) => value,
                None => return self.unexpected(ty, json),
            },
            // An integer of 64 bits would not have become a float.
            Json::Float(value)
                if (-9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0).contains(value) =>
            {
                let got = excerpt(json);
                return self.mismatch(format!(
                    "expected {ty}, got {got}: integers are written without fraction, exponent and negative zero"
                ));
            }
            // Beyond 64 bits whatever its last digits were.
            Json::Float(_) => i128::MAX,
            _ => return self.unexpected(ty, json),
        };
        match T::try_from(number) {
            Ok(value) if (least..=most).contains(&number) => Some(value),
            _ => {
                let got = excerpt(json);
                self.mismatch(format!("expected {ty} ({least} to {most}), got {got}"))
            }
        }
    }

    fn single(&mut self, json: &Json) -> Option<Value> {
        let Some(double) = float(json) else {
            return self.unexpected(&Type::F32, json);
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounding to the nearest is what is wanted"
        )]
        let single = double as f32;
        if single.is_finite() {
            return Some(Value::F32(single));
        }
        let got = excerpt(json);
        self.mismatch(format!(
            "expected f32 (-3.4028235e38 to 3.4028235e38), got {got}"
        ))
    }

    fn items(
        &mut self,
        items: &'a [Json],
        ty: impl Fn(usize) -> Option<&'a Type>,
    ) -> Option<Vec<Value>> {
        let mut values = Vec::with_capacity(items.len());
        let mut complete = true;
        for (index, item) in items.iter().enumerate() {
            if self.is_full() {
                return None;
            }
            self.path.push(Segment::Index(index));
            match self.value(item, ty(index)?) {
                Some(value) => values.push(value),
                None => complete = false,
            }
            self.path.pop();
        }
        complete.then_some(values)
    }

    fn record(&mut self, members: &'a [(String, Json)], record: &'a RecordType) -> Option<Value> {
        let mut places: Vec<Option<&'a Json>> = vec![None; record.fields.len()];
        let mut complete = true;
        for (key, json) in members {
            match record
                .fields
                .iter()
                .position(|field| camel_case(&field.name).eq(key.chars()))
            {
                Some(index) => places[index] = Some(json),
                None => {
                    complete = false;
                    let names: Vec<String> = record.fields.iter().map(Field::json_name).collect();
                    let expected = listed(names.iter().map(String::as_str));
                    self.at(Segment::Member(key), |reader| {
                        reader.note(format!("unknown field; expected {expected}"));
                    });
                }
            }
        }
        let mut values = Vec::with_capacity(places.len());
        for (field, json) in record.fields.iter().zip(places) {
            if self.is_full() {
                return None;
            }
            let value = match json {
                Some(json) => self.at(Segment::Field(&field.name), |reader| {
                    reader.value(json, &field.ty)
                }),
                None if matches!(field.ty, Type::Option(_)) => Some(Value::Option(None)),
                None => self.at(Segment::Field(&field.name), |reader| {
                    reader.mismatch(format!("missing, expected {}", expected(&field.ty)))
                }),
            };
            match value {
                Some(value) => values.push(value),
                None => complete = false,
            }
        }
        complete.then_some(Value::Record(values))
    }

    fn variant(
        &mut self,
        members: &'a [(String, Json)],
        variant: &'a VariantType,
        json: &Json,
    ) -> Option<Value> {
        let tag = match members.iter().find(|(key, _)| key == "tag") {
            Some((_, Json::String(tag))) => tag,
            Some((_, other)) => {
                let message =
                    not_one_of(variant.cases.iter().map(|case| case.name.as_str()), other);
                return self.at(Segment::Member("tag"), |reader| reader.mismatch(message));
            }
            None => {
                let names = listed(variant.cases.iter().map(|case| case.name.as_str()));
                let message = format!("missing, expected {names}; got {}", excerpt(json));
                return self.at(Segment::Member("tag"), |reader| reader.mismatch(message));
            }
        };
        let Some((index, case)) = find(&variant.cases, |case: &Case| case.name == *tag) else {
            let message = not_one_of(
                variant.cases.iter().map(|case| case.name.as_str()),
                &Json::String(tag.clone()),
            );
            return self.at(Segment::Member("tag"), |reader| reader.mismatch(message));
        };
        let mut payload = None;
        for (key, json) in members {
            match (key.as_str(), &case.ty) {
                ("tag", _) => {}
                ("val", Some(_)) => payload = Some(json),
                ("val", None) => {
                    let message = format!("unknown field; case `{tag}` has no payload");
                    return self.at(Segment::Member(key), |reader| reader.mismatch(message));
                }
                _ => {
                    return self.at(Segment::Member(key), |reader| {
                        reader.mismatch("unknown field; expected one of tag, val".to_owned())
                    });
                }
            }
        }
        let payload = match (&case.ty, payload) {
            (Some(ty), Some(json)) => Some(Box::new(self.member("val", json, ty)?)),
            (Some(ty), None) => {
                let message = format!("missing, expected {}", expected(ty));
                return self.at(Segment::Member("val"), |reader| reader.mismatch(message));
            }
            (None, _) => None,
        };
        Some(Value::Variant(index, payload))
    }

    fn case(&mut self, name: &str, cases: &EnumType, json: &Json) -> Option<Value> {
        match find(&cases.cases, |case| case == name) {
            Some((index, _)) => Some(Value::Enum(index)),
            None => self.mismatch(not_one_of(cases.cases.iter().map(String::as_str), json)),
        }
    }

    fn flags(&mut self, items: &'a [Json], flags: &FlagsType) -> Option<Value> {
        let mut set = vec![false; flags.flags.len()];
        for (index, item) in items.iter().enumerate() {
            let place = match item {
                Json::String(name) => flags.flags.iter().position(|flag| flag == name),
                _ => None,
            };
            let message = match place {
                Some(place) if !set[place] => {
                    set[place] = true;
                    continue;
                }
                Some(_) => format!("flag {} is there twice", excerpt(item)),
                None => not_one_of(flags.flags.iter().map(String::as_str), item),
            };
            return self.at(Segment::Index(index), |reader| reader.mismatch(message));
        }
        Some(Value::Flags(set))
    }

    /// What stands behind `ok` or `err`. The outer option is whether it could be read, the inner one whether it exists.
    #[expect(
        clippy::option_option,
        reason = "the two mean different things, as said above"
    )]
    fn payload(
        &mut self,
        side: &'a str,
        json: &'a Json,
        ty: Option<&'a Type>,
    ) -> Option<Option<Box<Value>>> {
        match (ty, json) {
            (Some(ty), _) => Some(Some(Box::new(self.member(side, json, ty)?))),
            (None, Json::Null) => Some(None),
            (None, _) => {
                let message = format!(
                    "expected null, since `{side}` has no payload, got {}",
                    excerpt(json)
                );
                self.at(Segment::Member(side), |reader| reader.mismatch(message))
            }
        }
    }

    fn member(&mut self, name: &'a str, json: &'a Json, ty: &'a Type) -> Option<Value> {
        self.at(Segment::Member(name), |reader| reader.value(json, ty))
    }

    fn at<T>(&mut self, segment: Segment<'a>, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let result = read(self);
        self.path.pop();
        result
    }

    fn unexpected<T>(&mut self, ty: &Type, json: &Json) -> Option<T> {
        self.mismatch(format!("expected {}, got {}", expected(ty), excerpt(json)))
    }

    fn mismatch<T>(&mut self, message: String) -> Option<T> {
        self.note(message);
        None
    }

    fn note(&mut self, message: String) {
        if !self.is_full() {
            self.mismatches.push(Mismatch {
                path: self.path_text(),
                message,
            });
        }
    }

    fn is_full(&self) -> bool {
        self.mismatches.len() >= MOST_MISMATCHES
    }

    fn path_text(&self) -> String {
        let mut text = self.root.to_owned();
        for segment in &self.path {
            match segment {
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
                Segment::Member(name) => push_name(&mut text, name),
                Segment::Field(name) => push_name(&mut text, &camel_case(name).collect::<String>()),
            }
        }
        text
    }
}

/// A name that a person would not take for one is quoted, and shortened: unknown keys may be anything.
fn push_name(path: &mut String, name: &str) {
    let plain = !name.is_empty()
        && name.len() <= 60
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
    if plain {
        path.push('.');
        path.push_str(name);
    } else {
        path.push('[');
        path.push_str(&excerpt(&Json::String(name.to_owned())));
        path.push(']');
    }
}

/// Whether `null` is a JSON form of the type, so that an option around it needs a tag.
pub(crate) fn is_nullable(ty: &Type) -> bool {
    matches!(ty, Type::Option(_))
}

fn is_only(members: &[(String, Json)], names: &[&str]) -> bool {
    matches!(members, [(key, _)] if names.contains(&key.as_str()))
}

fn find<T>(items: &[T], is_it: impl Fn(&T) -> bool) -> Option<(u32, &T)> {
    let index = items.iter().position(is_it)?;
    Some((u32::try_from(index).ok()?, &items[index]))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rounding to the nearest is what a float type asks for"
)]
fn float(json: &Json) -> Option<f64> {
    match json {
        Json::Unsigned(value) => Some(*value as f64),
        Json::Negative(value) => Some(*value as f64),
        Json::Float(value) => Some(*value),
        _ => None,
    }
}

/// The number, if this is how [`to_json`](crate::to_json) would write it: no plus, no leading zeros, no negative zero.
fn decimal(text: &str) -> Option<i128> {
    let number: i128 = if text.len() <= 20 {
        text.parse().ok()?
    } else {
        return None;
    };
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
#[path = "from_json_tests.rs"]
mod tests;
