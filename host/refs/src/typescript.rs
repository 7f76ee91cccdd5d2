//! TypeScript: interfaces for records, unions for the rest, and a constant for each workflow, over the package `dacapo-client`.

use std::fmt::Write as _;

use dacapo_model::{Case, Descriptor, Type};

use crate::definitions::{Definition, Definitions, Reference};
use crate::names::Taken;

/// What the file takes from the package.
const RESERVED: &[&str] = &["AnyEvents"];

/// Fixed lists up to this length are written as tuples.
const TUPLE_MAX: u32 = 16;

/// A module of TypeScript for the workflows of a descriptor.
#[must_use]
pub fn typescript(descriptor: &Descriptor) -> String {
    let mut definitions = Definitions::of(descriptor, RESERVED);
    let mut taken = std::mem::replace(&mut definitions.taken, Taken::new(&[]));
    let mut body = String::new();
    for definition in &definitions.types {
        define(&mut body, &definitions, definition);
    }
    for reference in &definitions.workflows {
        refer(&mut body, &definitions, &mut taken, reference);
    }
    let any_events = if body.contains("AnyEvents") {
        "type AnyEvents, "
    } else {
        ""
    };
    format!(
        "// Workflows of {}: their types, and references to them. Written by `dacapo refs`.\n\nimport {{ {any_events}ref }} from \
         \"dacapo-client\";\n{body}",
        descriptor.package
    )
}

fn define(text: &mut String, definitions: &Definitions<'_>, definition: &Definition<'_>) {
    let name = &definition.name;
    text.push('\n');
    match definition.ty {
        Type::Record(record) => {
            text.push_str(&docs(record.docs.as_deref(), ""));
            let _ = writeln!(text, "export interface {name} {{");
            for field in &record.fields {
                text.push_str(&docs(field.docs.as_deref(), "  "));
                let optional = if matches!(field.ty, Type::Option(_)) {
                    "?"
                } else {
                    ""
                };
                let _ = writeln!(
                    text,
                    "  {}{optional}: {};",
                    field.json_name(),
                    of(definitions, &field.ty)
                );
            }
            text.push_str("}\n");
        }
        Type::Variant(variant) => {
            text.push_str(&docs(variant.docs.as_deref(), ""));
            let _ = write!(text, "export type {name} =");
            for case in &variant.cases {
                text.push('\n');
                text.push_str(&docs(case.docs.as_deref(), "  "));
                let _ = match &case.ty {
                    Some(ty) => write!(
                        text,
                        "  | {{ tag: {:?}; val: {} }}",
                        case.name,
                        of(definitions, ty)
                    ),
                    None => write!(text, "  | {{ tag: {:?} }}", case.name),
                };
            }
            text.push_str(";\n");
        }
        Type::Enum(cases) => {
            let _ = writeln!(text, "export type {name} = {};", literals(&cases.cases));
        }
        Type::Flags(flags) => {
            let _ = writeln!(text, "export type {name} = ({})[];", literals(&flags.flags));
        }
        _ => {}
    }
}

fn refer(
    text: &mut String,
    definitions: &Definitions<'_>,
    taken: &mut Taken,
    reference: &Reference<'_>,
) {
    let workflow = reference.workflow;
    let part = |ty: Option<&Type>| ty.map_or_else(|| "null".to_owned(), |ty| of(definitions, ty));
    let events = match reference.events() {
        [] => "AnyEvents".to_owned(),
        cases => {
            let name = taken.take(&[
                format!("{}Events", reference.stem),
                format!("{}EventPayloads", reference.stem),
            ]);
            let _ = write!(
                text,
                "\n/** What the events of `{}` carry. */\nexport interface {name} {{\n",
                workflow.name
            );
            for case in cases {
                text.push_str(&docs(case.docs.as_deref(), "  "));
                let _ = writeln!(text, "  {}: {};", key(case), part(case.ty.as_ref()));
            }
            text.push_str("}\n");
            name
        }
    };
    let alias = format!("{}Error", reference.stem);
    if let Some(error) = reference.error()
        && taken.take_if_free(&alias)
    {
        let _ = write!(
            text,
            "\n/** The error of `{}`: the details of its failure. */\nexport type {alias} = {};\n",
            workflow.name,
            of(definitions, error)
        );
    }
    let _ = write!(
        text,
        "\n{}export const {} = ref<{}, {}, {events}>({:?});\n",
        docs(workflow.docs.as_deref(), ""),
        reference.name,
        part(reference.input()),
        part(reference.output()),
        workflow.name
    );
}

/// The JSON form of a type, as TypeScript.
fn of(definitions: &Definitions<'_>, ty: &Type) -> String {
    let of = |ty: &Type| of(definitions, ty);
    match ty {
        Type::Bool => "boolean".to_owned(),
        Type::U8 | Type::U16 | Type::U32 | Type::S8 | Type::S16 | Type::S32 => "number".to_owned(),
        Type::F32 | Type::F64 => "number".to_owned(),
        // Beyond 2^53 they are strings.
        Type::U64 | Type::S64 => "number | string".to_owned(),
        Type::Char | Type::String | Type::Bytes => "string".to_owned(),
        Type::List(item) => array(&of(item)),
        Type::FixedList(item, length) if *length <= TUPLE_MAX => {
            let item = of(item);
            let items: Vec<&str> = (0..*length).map(|_| item.as_str()).collect();
            format!("[{}]", items.join(", "))
        }
        Type::FixedList(item, _) => array(&of(item)),
        Type::Tuple(items) => {
            let items: Vec<String> = items.iter().map(of).collect();
            format!("[{}]", items.join(", "))
        }
        Type::Option(inner) if matches!(**inner, Type::Option(_)) => {
            format!("{{ some: {} }} | null", of(inner))
        }
        Type::Option(inner) => format!("{} | null", of(inner)),
        Type::Result { ok, err } => {
            let side = |ty: &Option<Box<Type>>| ty.as_deref().map_or_else(|| "null".to_owned(), of);
            format!("{{ ok: {} }} | {{ err: {} }}", side(ok), side(err))
        }
        Type::Record(_) | Type::Variant(_) | Type::Enum(_) | Type::Flags(_) => {
            definitions.name_of(ty).to_owned()
        }
    }
}

fn array(item: &str) -> String {
    if item.contains('|') {
        format!("({item})[]")
    } else {
        format!("{item}[]")
    }
}

fn key(case: &Case) -> String {
    if case.name.contains('-') {
        format!("{:?}", case.name)
    } else {
        case.name.clone()
    }
}

fn literals(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    names.join(" | ")
}

fn docs(text: Option<&str>, indent: &str) -> String {
    let Some(text) = text else {
        return String::new();
    };
    let text = text.replace("*/", "*\\/");
    match text.lines().collect::<Vec<_>>().as_slice() {
        [one] => format!("{indent}/** {one} */\n"),
        lines => {
            let lines: String = lines
                .iter()
                .map(|line| format!("{indent} * {line}\n"))
                .collect();
            format!("{indent}/**\n{lines}{indent} */\n")
        }
    }
}
