//! The JSON Schema (2020-12) of a type's JSON form, for tools and languages that know no WIT.

use serde_json::{Map, Value as Schema, json};

use crate::from_json::is_nullable;
use crate::schema::Type;

/// The JSON Schema of the type. It allows what [`from_json`](crate::from_json) takes, except that JSON Schema sees no
/// difference between `4` and `4.0`, and that a string of digits may be beyond 64 bits.
#[must_use]
pub fn json_schema(ty: &Type) -> Schema {
    let mut schema = of(ty);
    if let Schema::Object(members) = &mut schema {
        members.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
    }
    schema
}

fn of(ty: &Type) -> Schema {
    match ty {
        Type::Bool => json!({"type": "boolean"}),
        Type::U8 => json!({"type": "integer", "minimum": 0, "maximum": u8::MAX}),
        Type::U16 => json!({"type": "integer", "minimum": 0, "maximum": u16::MAX}),
        Type::U32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Type::U64 => json!({"anyOf": [
            {"type": "integer", "minimum": 0, "maximum": u64::MAX},
            {"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"},
        ]}),
        Type::S8 => json!({"type": "integer", "minimum": i8::MIN, "maximum": i8::MAX}),
        Type::S16 => json!({"type": "integer", "minimum": i16::MIN, "maximum": i16::MAX}),
        Type::S32 => json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX}),
        Type::S64 => json!({"anyOf": [
            {"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX},
            {"type": "string", "pattern": "^(0|-?[1-9][0-9]{0,18})$"},
        ]}),
        Type::F32 => {
            json!({"type": "number", "minimum": f64::from(f32::MIN), "maximum": f64::from(f32::MAX)})
        }
        Type::F64 => json!({"type": "number"}),
        Type::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Type::List(item) => json!({"type": "array", "items": of(item)}),
        Type::FixedList(item, length) => {
            json!({"type": "array", "items": of(item), "minItems": length, "maxItems": length})
        }
        Type::Tuple(items) => json!({
            "type": "array",
            "prefixItems": items.iter().map(of).collect::<Vec<_>>(),
            "minItems": items.len(),
            "maxItems": items.len(),
        }),
        Type::Record(record) => {
            let mut properties = Map::new();
            let mut required = Vec::new();
            for field in &record.fields {
                properties.insert(
                    field.json_name(),
                    described(of(&field.ty), None, field.docs.as_deref()),
                );
                if !matches!(field.ty, Type::Option(_)) {
                    required.push(field.json_name());
                }
            }
            let schema = json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            });
            described(schema, record.name.as_deref(), record.docs.as_deref())
        }
        Type::Variant(variant) => {
            let cases: Vec<Schema> = variant
                .cases
                .iter()
                .map(|case| {
                    let tag = json!({"const": case.name});
                    let schema = match &case.ty {
                        Some(ty) => object(&[("tag", tag), ("val", of(ty))]),
                        None => object(&[("tag", tag)]),
                    };
                    described(schema, None, case.docs.as_deref())
                })
                .collect();
            described(
                json!({"oneOf": cases}),
                variant.name.as_deref(),
                variant.docs.as_deref(),
            )
        }
        Type::Enum(cases) => described(
            json!({"type": "string", "enum": cases.cases}),
            cases.name.as_deref(),
            None,
        ),
        Type::Flags(flags) => {
            let schema = json!({
                "type": "array",
                "items": {"type": "string", "enum": flags.flags},
                "uniqueItems": true,
            });
            described(schema, flags.name.as_deref(), None)
        }
        Type::Option(inner) if is_nullable(inner) => {
            json!({"anyOf": [{"type": "null"}, object(&[("some", of(inner))])]})
        }
        Type::Option(inner) => json!({"anyOf": [{"type": "null"}, of(inner)]}),
        Type::Result { ok, err } => {
            let side = |ty: &Option<Box<Type>>| ty.as_deref().map_or(json!({"type": "null"}), of);
            json!({"oneOf": [object(&[("ok", side(ok))]), object(&[("err", side(err))])]})
        }
    }
}

/// An object with exactly these members.
fn object(members: &[(&str, Schema)]) -> Schema {
    let properties: Map<String, Schema> = members
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let required: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn described(mut schema: Schema, title: Option<&str>, docs: Option<&str>) -> Schema {
    if let Schema::Object(members) = &mut schema {
        for (key, text) in [("title", title), ("description", docs)] {
            if let Some(text) = text {
                members.insert(key.to_owned(), json!(text));
            }
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Field, RecordType};

    #[test]
    fn a_record_names_its_fields_as_in_json() {
        let ty = Type::Record(RecordType {
            name: Some("order".to_owned()),
            fields: vec![
                Field {
                    name: "order-id".to_owned(),
                    ty: Type::String,
                    docs: Some("As printed.".to_owned()),
                },
                Field {
                    name: "pieces".to_owned(),
                    ty: Type::Option(Box::new(Type::Option(Box::new(Type::U8)))),
                    docs: None,
                },
            ],
            docs: None,
        });
        let pieces =
            json!({"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 0, "maximum": 255}]});
        assert_eq!(
            json_schema(&ty),
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "order",
                "type": "object",
                "properties": {
                    "orderId": {"type": "string", "description": "As printed."},
                    "pieces": {"anyOf": [{"type": "null"}, {
                        "type": "object",
                        "properties": {"some": pieces},
                        "required": ["some"],
                        "additionalProperties": false,
                    }]},
                },
                "required": ["orderId"],
                "additionalProperties": false,
            })
        );
    }
}
