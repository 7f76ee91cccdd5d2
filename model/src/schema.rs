//! The types of workflows as plain data: what a deployment stores, and what input is checked against before a run exists.
//!
//! The stored form is JSON and is stable: the name of a type alone where it has no parts (`"u32"`, `"bytes"`), else an object
//! with the kind as its only key (`{"list": "u32"}`, `{"record": {"name": "order", "fields": [..]}}`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a component offers and needs, as found in the component itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The WIT package, `ns:name`, without its version.
    pub package: String,
    /// The version of the WIT package, if it states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The exported workflows, in the order of the component.
    pub workflows: Vec<Workflow>,
    /// The full names of the imported interfaces.
    pub imports: Vec<String>,
    /// The workflows of other packages that it calls, with the types that it knows them by; calling one is a child run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Workflow>,
}

/// One exported function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// The full name, `ns:pkg/interface.function`, without a version.
    pub name: String,
    /// The exported interface as the component names it, with its version if it has one.
    pub interface: String,
    /// The function within the interface.
    pub function: String,
    /// The parameter, if the function takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<Param>,
    /// The result, if the function has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Type>,
    /// The events that it declares, with the types of their payloads. None: any event will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Case>,
    /// What the WIT says about the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}

/// The parameter of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Param {
    /// Its name in the WIT.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
}

/// A component-model value type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// `bool`
    Bool,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// `s8`
    S8,
    /// `s16`
    S16,
    /// `s32`
    S32,
    /// `s64`
    S64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `list<u8>`, which has a JSON form of its own.
    Bytes,
    /// `list<T>` of anything but `u8`.
    List(Box<Type>),
    /// `list<T, N>`: always `N` elements. A fixed list of `u8` is an array of numbers in JSON.
    FixedList(Box<Type>, u32),
    /// `tuple<..>`
    Tuple(Vec<Type>),
    /// `record { .. }`
    Record(RecordType),
    /// `variant { .. }`
    Variant(VariantType),
    /// `enum { .. }`
    Enum(EnumType),
    /// `flags { .. }`
    Flags(FlagsType),
    /// `option<T>`
    Option(Box<Type>),
    /// `result<T, E>`
    Result {
        /// The payload of `ok`, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ok: Option<Box<Type>>,
        /// The payload of `err`, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        err: Option<Box<Type>>,
    },
}

/// The parts of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordType {
    /// The name that the WIT gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The fields, in the order of the declaration.
    pub fields: Vec<Field>,
    /// What the WIT says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// The name in kebab case, as in the WIT.
    pub name: String,
    /// The type of the field.
    #[serde(rename = "type")]
    pub ty: Type,
    /// What the WIT says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}

impl Field {
    /// The name of the field in JSON: `order-id` is `orderId`.
    #[must_use]
    pub fn json_name(&self) -> String {
        camel_case(&self.name).collect()
    }
}

/// The parts of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantType {
    /// The name that the WIT gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The cases, in the order of the declaration.
    pub cases: Vec<Case>,
    /// What the WIT says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}

/// A case of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// The name in kebab case, as in the WIT and in JSON.
    pub name: String,
    /// The type of its payload, if it has one.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub ty: Option<Type>,
    /// What the WIT says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}

/// The parts of an enum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnumType {
    /// The name that the WIT gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The names of the cases, in the order of the declaration.
    pub cases: Vec<String>,
}

/// The parts of flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlagsType {
    /// The name that the WIT gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The names of the flags, in the order of the declaration.
    pub flags: Vec<String>,
}

/// `order-id` as `orderId`; `HTTP-status` as `httpStatus`. Letter by letter, since comparing needs no text of its own.
pub(crate) fn camel_case(kebab: &str) -> impl Iterator<Item = char> {
    let mut at_start = true;
    let mut after_hyphen = false;
    kebab.chars().filter_map(move |letter| {
        if letter == '-' {
            after_hyphen = true;
            return None;
        }
        let upper = after_hyphen && !at_start;
        (at_start, after_hyphen) = (false, false);
        Some(if upper {
            letter.to_ascii_uppercase()
        } else {
            letter.to_ascii_lowercase()
        })
    })
}

/// WIT syntax: a type with a name by its name, one without by its parts.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::U8 => f.write_str("u8"),
            Self::U16 => f.write_str("u16"),
            Self::U32 => f.write_str("u32"),
            Self::U64 => f.write_str("u64"),
            Self::S8 => f.write_str("s8"),
            Self::S16 => f.write_str("s16"),
            Self::S32 => f.write_str("s32"),
            Self::S64 => f.write_str("s64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("list<u8>"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::FixedList(item, length) => write!(f, "list<{item}, {length}>"),
            Self::Tuple(items) => {
                f.write_str("tuple<")?;
                separated(f, items, |f, item| write!(f, "{item}"))?;
                f.write_str(">")
            }
            Self::Record(record) => block(
                f,
                "record",
                record.name.as_deref(),
                &record.fields,
                |f, field| write!(f, "{}: {}", field.name, field.ty),
            ),
            Self::Variant(variant) => block(
                f,
                "variant",
                variant.name.as_deref(),
                &variant.cases,
                |f, case| match &case.ty {
                    Some(ty) => write!(f, "{}({ty})", case.name),
                    None => f.write_str(&case.name),
                },
            ),
            Self::Enum(cases) => {
                block(f, "enum", cases.name.as_deref(), &cases.cases, |f, case| {
                    f.write_str(case)
                })
            }
            Self::Flags(flags) => block(
                f,
                "flags",
                flags.name.as_deref(),
                &flags.flags,
                |f, flag| f.write_str(flag),
            ),
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::Result {
                ok: None,
                err: None,
            } => f.write_str("result"),
            Self::Result {
                ok: Some(ok),
                err: None,
            } => write!(f, "result<{ok}>"),
            Self::Result {
                ok: None,
                err: Some(err),
            } => write!(f, "result<_, {err}>"),
            Self::Result {
                ok: Some(ok),
                err: Some(err),
            } => write!(f, "result<{ok}, {err}>"),
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    parts: &[T],
    part: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        part(f, item)?;
    }
    Ok(())
}

fn block<T>(
    f: &mut fmt::Formatter<'_>,
    keyword: &str,
    name: Option<&str>,
    parts: &[T],
    part: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if let Some(name) = name {
        return f.write_str(name);
    }
    write!(f, "{keyword} {{ ")?;
    separated(f, parts, part)?;
    f.write_str(" }")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, ty: Type) -> Field {
        Field {
            name: name.to_owned(),
            ty,
            docs: None,
        }
    }

    #[test]
    fn stored_form_is_stable() {
        let ty = Type::Record(RecordType {
            name: Some("order".to_owned()),
            fields: vec![
                field("order-id", Type::String),
                field(
                    "items",
                    Type::List(Box::new(Type::Tuple(vec![Type::String, Type::U32]))),
                ),
                field("pin", Type::FixedList(Box::new(Type::U8), 4)),
                field("photo", Type::Option(Box::new(Type::Bytes))),
                field(
                    "paid",
                    Type::Result {
                        ok: None,
                        err: Some(Box::new(Type::F64)),
                    },
                ),
                field(
                    "size",
                    Type::Enum(EnumType {
                        name: None,
                        cases: vec!["small".to_owned()],
                    }),
                ),
            ],
            docs: None,
        });
        let stored = concat!(
            r#"{"record":{"name":"order","fields":["#,
            r#"{"name":"order-id","type":"string"},"#,
            r#"{"name":"items","type":{"list":{"tuple":["string","u32"]}}},"#,
            r#"{"name":"pin","type":{"fixed-list":["u8",4]}},"#,
            r#"{"name":"photo","type":{"option":"bytes"}},"#,
            r#"{"name":"paid","type":{"result":{"err":"f64"}}},"#,
            r#"{"name":"size","type":{"enum":{"cases":["small"]}}}]}}"#,
        );
        assert_eq!(serde_json::to_string(&ty).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Type>(stored).unwrap(), ty);
    }

    #[test]
    fn types_are_shown_as_in_wit() {
        let item = Type::Record(RecordType {
            name: Some("item".to_owned()),
            fields: vec![field("sku", Type::String)],
            docs: None,
        });
        assert_eq!(Type::List(Box::new(item)).to_string(), "list<item>");
        let anonymous = Type::Record(RecordType {
            name: None,
            fields: vec![field("sku", Type::String), field("tags", Type::Bytes)],
            docs: None,
        });
        assert_eq!(
            anonymous.to_string(),
            "record { sku: string, tags: list<u8> }"
        );
        let result = Type::Result {
            ok: None,
            err: Some(Box::new(Type::FixedList(Box::new(Type::U8), 3))),
        };
        assert_eq!(result.to_string(), "result<_, list<u8, 3>>");
        let variant = Type::Variant(VariantType {
            name: None,
            cases: vec![
                Case {
                    name: "none".to_owned(),
                    ty: None,
                    docs: None,
                },
                Case {
                    name: "card".to_owned(),
                    ty: Some(Type::String),
                    docs: None,
                },
            ],
            docs: None,
        });
        assert_eq!(variant.to_string(), "variant { none, card(string) }");
    }

    #[test]
    fn kebab_case_becomes_camel_case() {
        for (kebab, camel) in [
            ("id", "id"),
            ("order-id", "orderId"),
            ("HTTP-status", "httpStatus"),
            ("get-URL-a1", "getUrlA1"),
        ] {
            assert_eq!(camel_case(kebab).collect::<String>(), camel);
        }
    }
}
