//! What a type must hold to before its JSON form is unambiguous.

use std::collections::HashSet;

use crate::schema::{Type, camel_case};

/// How deep types may nest. A level of type is two levels of JSON at most, and payloads may nest 100 levels by default.
const MAX_DEPTH: usize = 50;

/// Why a type cannot be used for workflows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// Two fields of a record have the same name in JSON.
    #[error("{ty}: fields `{first}` and `{second}` are both `{json}` in JSON; rename one of them")]
    FieldsCollide {
        /// The record.
        ty: String,
        /// The first field.
        first: String,
        /// The second field.
        second: String,
        /// The name of both in JSON.
        json: String,
    },
    /// Two cases or flags have the same name.
    #[error("{ty}: `{name}` is there twice")]
    NameTwice {
        /// The type.
        ty: String,
        /// The name.
        name: String,
    },
    /// A record, variant, enum, flags or tuple type has no parts.
    #[error("{ty} has no parts")]
    Empty {
        /// The type.
        ty: String,
    },
    /// More flags than a component may have.
    #[error("{ty} has {count} flags, the limit is 32")]
    TooManyFlags {
        /// The type.
        ty: String,
        /// How many.
        count: usize,
    },
    /// A list of `u8` is [`Type::Bytes`], so that it has one JSON form only.
    #[error("a list of u8 must be described as bytes")]
    PlainBytes,
    /// The type nests too deep.
    #[error("the type nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Checks that values of the type have exactly one JSON form each.
///
/// # Errors
/// Names the part of the type that is in the way.
pub fn check_type(ty: &Type) -> Result<(), TypeError> {
    check(ty, MAX_DEPTH)
}

fn check(ty: &Type, levels_left: usize) -> Result<(), TypeError> {
    let levels_left = levels_left.checked_sub(1).ok_or(TypeError::TooDeep)?;
    match ty {
        Type::Bool
        | Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::S8
        | Type::S16
        | Type::S32
        | Type::S64
        | Type::F32
        | Type::F64
        | Type::Char
        | Type::String
        | Type::Bytes => Ok(()),
        Type::List(item) if **item == Type::U8 => Err(TypeError::PlainBytes),
        Type::List(inner) | Type::FixedList(inner, _) | Type::Option(inner) => {
            check(inner, levels_left)
        }
        Type::Tuple(items) => {
            not_empty(ty, items)?;
            items.iter().try_for_each(|item| check(item, levels_left))
        }
        Type::Record(record) => {
            not_empty(ty, &record.fields)?;
            record
                .fields
                .iter()
                .try_for_each(|field| check(&field.ty, levels_left))?;
            for (index, second) in record.fields.iter().enumerate() {
                let same = |name: &str| camel_case(name).eq(camel_case(&second.name));
                if let Some(first) = record.fields[..index]
                    .iter()
                    .find(|first| same(&first.name))
                {
                    return Err(TypeError::FieldsCollide {
                        ty: shown(ty),
                        first: first.name.clone(),
                        second: second.name.clone(),
                        json: second.json_name(),
                    });
                }
            }
            Ok(())
        }
        Type::Variant(variant) => {
            not_empty(ty, &variant.cases)?;
            unique(ty, variant.cases.iter().map(|case| case.name.as_str()))?;
            variant
                .cases
                .iter()
                .filter_map(|case| case.ty.as_ref())
                .try_for_each(|ty| check(ty, levels_left))
        }
        Type::Enum(cases) => {
            not_empty(ty, &cases.cases)?;
            unique(ty, cases.cases.iter().map(String::as_str))
        }
        Type::Flags(flags) => {
            not_empty(ty, &flags.flags)?;
            if flags.flags.len() > 32 {
                return Err(TypeError::TooManyFlags {
                    ty: shown(ty),
                    count: flags.flags.len(),
                });
            }
            unique(ty, flags.flags.iter().map(String::as_str))
        }
        Type::Result { ok, err } => [ok, err]
            .into_iter()
            .flatten()
            .try_for_each(|side| check(side, levels_left)),
    }
}

fn not_empty<T>(ty: &Type, parts: &[T]) -> Result<(), TypeError> {
    if parts.is_empty() {
        Err(TypeError::Empty { ty: shown(ty) })
    } else {
        Ok(())
    }
}

fn unique<'a>(ty: &Type, names: impl Iterator<Item = &'a str>) -> Result<(), TypeError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(TypeError::NameTwice {
                ty: shown(ty),
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// The type by its kind and name; by its kind alone if it has none, since its parts may be many.
fn shown(ty: &Type) -> String {
    let (kind, name) = match ty {
        Type::Record(record) => ("record", &record.name),
        Type::Variant(variant) => ("variant", &variant.name),
        Type::Enum(cases) => ("enum", &cases.name),
        Type::Flags(flags) => ("flags", &flags.name),
        other => return other.to_string(),
    };
    match name {
        Some(name) => format!("{kind} {name}"),
        None => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{EnumType, Field, FlagsType, RecordType};

    fn record(names: &[&str]) -> Type {
        let fields = names
            .iter()
            .map(|name| Field {
                name: (*name).to_owned(),
                ty: Type::Bool,
                docs: None,
            })
            .collect();
        Type::Record(RecordType {
            name: Some("order".to_owned()),
            fields,
            docs: None,
        })
    }

    #[test]
    fn fields_that_collide_in_json_are_refused_wherever_they_hide() {
        let ty = Type::List(Box::new(Type::Option(Box::new(record(&[
            "URL-path", "url-path",
        ])))));
        assert_eq!(
            check_type(&ty).unwrap_err().to_string(),
            "record order: fields `URL-path` and `url-path` are both `urlPath` in JSON; rename one of them"
        );
        assert_eq!(check_type(&record(&["url", "url-path"])), Ok(()));
    }

    #[test]
    fn types_without_parts_are_refused() {
        assert_eq!(
            check_type(&record(&[])).unwrap_err().to_string(),
            "record order has no parts"
        );
        assert_eq!(
            check_type(&Type::Tuple(vec![])).unwrap_err().to_string(),
            "tuple<> has no parts"
        );
    }

    #[test]
    fn names_may_be_there_once() {
        let cases = vec!["small".to_owned(), "small".to_owned()];
        assert_eq!(
            check_type(&Type::Enum(EnumType { name: None, cases }))
                .unwrap_err()
                .to_string(),
            "enum: `small` is there twice"
        );
        let flags = (0..33).map(|n| format!("f{n}")).collect();
        assert_eq!(
            check_type(&Type::Flags(FlagsType { name: None, flags }))
                .unwrap_err()
                .to_string(),
            "flags has 33 flags, the limit is 32"
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels| (0..levels).fold(Type::Bool, |ty, _| Type::List(Box::new(ty)));
        assert_eq!(check_type(&nested(49)), Ok(()));
        assert_eq!(check_type(&nested(50)), Err(TypeError::TooDeep));
    }
}
