//! Values and words that somebody can type as they are printed.

use dacapo_model::Type;
use serde_json::{Value, json};

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@#".contains(&byte);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A value of a type, as JSON.
pub(crate) fn sample(ty: &Type) -> Value {
    match ty {
        Type::Bool => json!(true),
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::S8
        | Type::S16
        | Type::S32
        | Type::S64 => json!(1),
        Type::F32 | Type::F64 => json!(1.5),
        Type::Char => json!("a"),
        Type::String => json!("text"),
        Type::Bytes => json!("AAEC"),
        Type::List(item) => json!([sample(item)]),
        Type::FixedList(item, length) => {
            Value::Array(vec![sample(item); (*length).min(16) as usize])
        }
        Type::Tuple(items) => items.iter().map(sample).collect(),
        Type::Record(record) => record
            .fields
            .iter()
            .filter(|field| !matches!(field.ty, Type::Option(_)))
            .map(|field| (field.json_name(), sample(&field.ty)))
            .collect(),
        Type::Variant(variant) => match variant.cases.first() {
            Some(case) => match &case.ty {
                Some(ty) => json!({ "tag": case.name, "val": sample(ty) }),
                None => json!({ "tag": case.name }),
            },
            None => Value::Null,
        },
        Type::Enum(one) => json!(one.cases.first()),
        Type::Flags(_) => json!([]),
        Type::Option(_) => Value::Null,
        Type::Result { ok, .. } => json!({ "ok": ok.as_ref().map(|ty| sample(ty)) }),
    }
}

#[cfg(test)]
mod tests {
    use dacapo_model::{Field, Param, PayloadLimits, RecordType, Type, Workflow};

    use super::{quoted, sample};

    #[test]
    fn the_sample_fits_the_type() {
        let field = |name: &str, ty: Type| Field {
            name: name.to_owned(),
            ty,
            docs: None,
        };
        let fields = vec![
            field("order-id", Type::U64),
            field("note", Type::Option(Box::new(Type::String))),
            field("prices", Type::List(Box::new(Type::F64))),
        ];
        let ty = Type::Record(RecordType {
            name: Some("order".to_owned()),
            fields,
            docs: None,
        });
        let text = sample(&ty).to_string();
        let workflow = Workflow {
            name: "a:b/c.d".to_owned(),
            interface: "a:b/c".to_owned(),
            function: "d".to_owned(),
            param: Some(Param {
                name: "order".to_owned(),
                ty,
            }),
            result: None,
            events: Vec::new(),
            docs: None,
        };
        workflow
            .check_input(&text, &PayloadLimits::default())
            .unwrap();
    }
    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(quoted("confirmed"), "confirmed");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted(r#"{"a":"it's"}"#), r#"'{"a":"it'\''s"}'"#);
        assert_eq!(quoted(""), "''");
    }
}
