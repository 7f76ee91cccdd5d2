//! Types as WIT declares them, for people who want to see what is in a type that its workflow names.

use std::fmt::Write;

use dacapo_model::Type;

/// What a type names, as far as it does, each once: what it is made of comes after it.
pub(crate) fn declarations<'a>(types: impl Iterator<Item = &'a Type>) -> String {
    let mut said: Vec<(String, String)> = Vec::new();
    for ty in types {
        declare(ty, &mut said);
    }
    let texts: Vec<String> = said.into_iter().map(|(_, text)| text).collect();
    texts.join("\n\n")
}

fn declare(ty: &Type, said: &mut Vec<(String, String)>) {
    match ty {
        Type::List(item) | Type::FixedList(item, _) | Type::Option(item) => declare(item, said),
        Type::Tuple(types) => types.iter().for_each(|ty| declare(ty, said)),
        Type::Result { ok, err } => [ok, err]
            .into_iter()
            .flatten()
            .for_each(|ty| declare(ty, said)),
        Type::Record(record) => {
            let lines = record.fields.iter().map(|field| {
                (
                    field.docs.as_deref(),
                    format!("{}: {}", field.name, field.ty),
                )
            });
            say(
                "record",
                record.name.as_deref(),
                record.docs.as_deref(),
                lines,
                said,
            );
            record
                .fields
                .iter()
                .for_each(|field| declare(&field.ty, said));
        }
        Type::Variant(variant) => {
            let lines = variant.cases.iter().map(|case| {
                let text = match &case.ty {
                    Some(ty) => format!("{}({ty})", case.name),
                    None => case.name.clone(),
                };
                (case.docs.as_deref(), text)
            });
            say(
                "variant",
                variant.name.as_deref(),
                variant.docs.as_deref(),
                lines,
                said,
            );
            let types = variant.cases.iter().filter_map(|case| case.ty.as_ref());
            types.for_each(|ty| declare(ty, said));
        }
        Type::Enum(cases) => {
            let lines = cases.cases.iter().map(|case| (None, case.clone()));
            say("enum", cases.name.as_deref(), None, lines, said);
        }
        Type::Flags(flags) => {
            let lines = flags.flags.iter().map(|flag| (None, flag.clone()));
            say("flags", flags.name.as_deref(), None, lines, said);
        }
        _ => {}
    }
}

/// One declaration. A type without a name is written where it is used.
fn say<'a>(
    kind: &str,
    name: Option<&str>,
    docs: Option<&str>,
    lines: impl Iterator<Item = (Option<&'a str>, String)>,
    said: &mut Vec<(String, String)>,
) {
    let Some(name) = name else {
        return;
    };
    if said.iter().any(|(known, _)| known == name) {
        return;
    }
    let mut text = String::new();
    let comment = |text: &mut String, docs: Option<&str>, indent: &str| {
        for line in docs.unwrap_or("").lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{indent}/// {line}");
        }
    };
    comment(&mut text, docs, "");
    let _ = writeln!(text, "{kind} {name} {{");
    for (docs, line) in lines {
        comment(&mut text, docs, "    ");
        let _ = writeln!(text, "    {line},");
    }
    text.push('}');
    said.push((name.to_owned(), text));
}

#[cfg(test)]
mod tests {
    use dacapo_model::{EnumType, Field, RecordType};

    use super::*;

    #[test]
    fn each_named_type_is_declared_once() {
        let colour = Type::Enum(EnumType {
            name: Some("colour".to_owned()),
            cases: vec!["red".to_owned()],
        });
        let field = |name: &str, ty: Type, docs: Option<&str>| Field {
            name: name.to_owned(),
            ty,
            docs: docs.map(str::to_owned),
        };
        let record = Type::Record(RecordType {
            name: Some("car".to_owned()),
            fields: vec![
                field("paint", colour.clone(), Some("Outside.")),
                field("seats", Type::List(Box::new(colour)), None),
            ],
            docs: None,
        });
        assert_eq!(
            declarations([&record, &record].into_iter()),
            "record car {\n    /// Outside.\n    paint: colour,\n    seats: list<colour>,\n}\n\nenum colour {\n    red,\n}"
        );
    }
}
