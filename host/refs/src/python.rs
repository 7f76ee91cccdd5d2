//! Python: a `TypedDict` for each record, since JSON objects are dictionaries in Python, and constants for workflows and their events, over
//! the package `dacapo_client`.

use std::fmt::Write as _;

use dacapo_model::{Descriptor, Field, Type};

use crate::definitions::{Definition, Definitions, Reference};
use crate::names::{Taken, pascal, screaming};

/// What the file takes from the package and from Python, and words that are no names.
const RESERVED: &[&str] = &[
    "Err",
    "EventRef",
    "False",
    "Literal",
    "None",
    "NotRequired",
    "Ok",
    "Ref",
    "Sequence",
    "Some",
    "True",
    "TypeAlias",
    "TypedDict",
];

/// Words that cannot be the names of fields in a class.
const KEYWORDS: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Types whose names a field of the same name would hide from the fields after it.
const TYPES: &[&str] = &["bool", "float", "int", "list", "str"];

/// A module of Python for the workflows of a descriptor.
#[must_use]
pub fn python(descriptor: &Descriptor) -> String {
    let mut definitions = Definitions::of(descriptor, RESERVED);
    let mut taken = std::mem::replace(&mut definitions.taken, Taken::new(&[]));
    let mut body = String::new();
    for definition in &definitions.types {
        define(&mut body, &definitions, &mut taken, definition);
    }
    body.push('\n');
    for reference in &definitions.workflows {
        refer(&mut body, &definitions, &mut taken, reference);
    }
    let mut text = format!(
        "\"\"\"Workflows of {}: their types, and references to them. Written by `dacapo refs`.\"\"\"\n",
        descriptor.package
    );
    // Only what is used: type checkers and linters look at this file, too.
    let used = |names: &[&str]| {
        let used: Vec<&str> = names
            .iter()
            .filter(|name| {
                ["[", "(", " =", ")"]
                    .iter()
                    .any(|end| uses(&body, name, end))
            })
            .copied()
            .collect();
        used.join(", ")
    };
    let groups = [
        vec![
            ("collections.abc", used(&["Sequence"])),
            (
                "typing",
                used(&["Literal", "NotRequired", "TypeAlias", "TypedDict"]),
            ),
        ],
        vec![(
            "dacapo_client",
            used(&["Err", "EventRef", "Ok", "Ref", "Some"]),
        )],
    ];
    for group in groups {
        let lines: String = group
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(module, names)| format!("from {module} import {names}\n"))
            .collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n{lines}");
        }
    }
    text + &body
}

/// Whether a name is there that is no end of another one.
fn uses(body: &str, name: &str, end: &str) -> bool {
    let sought = format!("{name}{end}");
    body.match_indices(&sought).any(|(at, _)| {
        let before = body[..at].chars().next_back();
        before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_')
    })
}

fn define(
    text: &mut String,
    definitions: &Definitions<'_>,
    taken: &mut Taken,
    definition: &Definition<'_>,
) {
    let name = &definition.name;
    match definition.ty {
        Type::Record(record) => {
            let fields: Vec<Member<'_>> = record
                .fields
                .iter()
                .map(|field| Member::of(definitions, field))
                .collect();
            class(text, name, record.docs.as_deref(), &fields);
        }
        Type::Variant(variant) => {
            let mut cases = Vec::new();
            for case in &variant.cases {
                let case_name = taken.take(&[format!("{name}{}", pascal(&case.name))]);
                let mut members = vec![Member {
                    key: "tag".to_owned(),
                    ty: format!("Literal[{:?}]", case.name),
                    docs: None,
                }];
                if let Some(ty) = &case.ty {
                    members.push(Member {
                        key: "val".to_owned(),
                        ty: of(definitions, ty),
                        docs: None,
                    });
                }
                class(text, &case_name, case.docs.as_deref(), &members);
                cases.push(case_name);
            }
            text.push_str("\n\n");
            text.push_str(&comment(variant.docs.as_deref(), ""));
            let _ = writeln!(text, "{name}: TypeAlias = {}", cases.join(" | "));
        }
        Type::Enum(cases) => {
            let _ = write!(text, "\n\n{name}: TypeAlias = {}\n", literal(&cases.cases));
        }
        Type::Flags(flags) => {
            let _ = write!(
                text,
                "\n\n{name}: TypeAlias = list[{}]\n",
                literal(&flags.flags)
            );
        }
        _ => {}
    }
}

/// A key of a dictionary.
struct Member<'a> {
    key: String,
    ty: String,
    docs: Option<&'a str>,
}

impl<'a> Member<'a> {
    fn of(definitions: &Definitions<'_>, field: &'a Field) -> Self {
        let ty = of(definitions, &field.ty);
        Self {
            key: field.json_name(),
            ty: match field.ty {
                Type::Option(_) => format!("NotRequired[{ty}]"),
                _ => ty,
            },
            docs: field.docs.as_deref(),
        }
    }
}

fn class(text: &mut String, name: &str, docs: Option<&str>, members: &[Member<'_>]) {
    text.push_str("\n\n");
    if members.iter().any(|member| {
        [KEYWORDS, TYPES]
            .iter()
            .any(|words| words.contains(&member.key.as_str()))
    }) {
        text.push_str(&comment(docs, ""));
        let _ = write!(text, "{name} = TypedDict(\n    {name:?},\n    {{\n");
        for member in members {
            text.push_str(&comment(member.docs, "        "));
            let _ = writeln!(text, "        {:?}: {},", member.key, member.ty);
        }
        text.push_str("    },\n)\n");
        return;
    }
    let _ = writeln!(text, "class {name}(TypedDict):");
    if let Some(docs) = docs {
        let _ = write!(text, "    {}\n\n", doc_string(docs));
    }
    for member in members {
        text.push_str(&comment(member.docs, "    "));
        let _ = writeln!(text, "    {}: {}", member.key, member.ty);
    }
}

fn refer(
    text: &mut String,
    definitions: &Definitions<'_>,
    taken: &mut Taken,
    reference: &Reference<'_>,
) {
    let workflow = reference.workflow;
    let part = |ty: Option<&Type>| ty.map_or_else(|| "None".to_owned(), |ty| of(definitions, ty));
    let alias = format!("{}Error", reference.stem);
    if let Some(error) = reference.error()
        && taken.take_if_free(&alias)
    {
        let _ = write!(
            text,
            "\n# The error of `{}`: the details of its failure.\n{alias}: TypeAlias = {}\n",
            workflow.name,
            of(definitions, error)
        );
    }
    text.push('\n');
    text.push_str(&comment(workflow.docs.as_deref(), ""));
    let _ = writeln!(
        text,
        "{} = Ref[{}, {}]({:?})",
        reference.name,
        part(reference.input()),
        part(reference.output()),
        workflow.name
    );
    for case in reference.events() {
        let name = taken.take(&[format!("{}_{}", reference.name, screaming(&case.name))]);
        text.push_str(&comment(case.docs.as_deref(), ""));
        let _ = writeln!(
            text,
            "{name} = EventRef[{}]({:?})",
            part(case.ty.as_ref()),
            case.name
        );
    }
}

/// The JSON form of a type, as Python.
fn of(definitions: &Definitions<'_>, ty: &Type) -> String {
    let of = |ty: &Type| of(definitions, ty);
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::U8 | Type::U16 | Type::U32 | Type::S8 | Type::S16 | Type::S32 => "int".to_owned(),
        // Beyond 2^53 they are strings when they come back.
        Type::U64 | Type::S64 => "int | str".to_owned(),
        Type::F32 | Type::F64 => "float".to_owned(),
        Type::Char | Type::String | Type::Bytes => "str".to_owned(),
        Type::List(item) | Type::FixedList(item, _) => format!("list[{}]", of(item)),
        // JSON has lists only; a tuple may be given, and a list comes back.
        Type::Tuple(items) => {
            let mut kinds: Vec<String> = Vec::new();
            for item in items.iter().map(of) {
                // `int | str` and `str` are two kinds, not three.
                let parts = match item.contains('[') {
                    true => vec![item.as_str()],
                    false => item.split(" | ").collect(),
                };
                for part in parts {
                    if !kinds.iter().any(|kind| kind == part) {
                        kinds.push(part.to_owned());
                    }
                }
            }
            format!("Sequence[{}]", kinds.join(" | "))
        }
        Type::Option(inner) if matches!(**inner, Type::Option(_)) => {
            format!("Some[{}] | None", of(inner))
        }
        Type::Option(inner) => format!("{} | None", of(inner)),
        Type::Result { ok, err } => {
            let side = |ty: &Option<Box<Type>>| ty.as_deref().map_or_else(|| "None".to_owned(), of);
            format!("Ok[{}] | Err[{}]", side(ok), side(err))
        }
        Type::Record(_) | Type::Variant(_) | Type::Enum(_) | Type::Flags(_) => {
            definitions.name_of(ty).to_owned()
        }
    }
}

fn literal(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("Literal[{}]", names.join(", "))
}

fn comment(text: Option<&str>, indent: &str) -> String {
    let lines = text.unwrap_or_default().lines();
    lines
        .map(|line| format!("{indent}# {line}").trim_end().to_owned() + "\n")
        .collect()
}

fn doc_string(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"");
    let text = match text.strip_suffix('"') {
        Some(rest) => format!("{rest}\\\""),
        None => text,
    };
    let lines: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let indent = if at == 0 { "" } else { "    " };
            format!("{indent}{line}").trim_end().to_owned()
        })
        .collect();
    format!("\"\"\"{}\"\"\"", lines.join("\n"))
}
