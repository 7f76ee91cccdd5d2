//! The Rust item of a named WIT type.

use std::fmt::Write as _;

use wit_parser::{Docs, Enum, Flags, Record, Type, TypeDefKind, TypeId, Variant};

use crate::names::{lower_camel, snake, upper_camel};
use crate::shapes::{JSON, Shape, Shapes};

const SERDE: &str = "::dacapo_client::generated::serde";

/// The item of a named type. `path` names the type, for errors.
pub(crate) fn item(shapes: &mut Shapes<'_>, id: TypeId, path: &str) -> Result<String, String> {
    let resolve = shapes.resolve;
    let def = &resolve.types[id];
    let Some(name) = &def.name else {
        return Err(format!("{path}: a type without a name"));
    };
    let name = upper_camel(name);
    let mut code = docs(&def.docs);
    // A struct or an enum holds floats exactly when the type that names it does.
    let exact = !shapes.has_float(&Type::Id(id));
    match &def.kind {
        TypeDefKind::Record(parts) => {
            code += &attributes(exact, "");
            code += &record(shapes, &name, parts, path)?;
        }
        TypeDefKind::Variant(parts) => {
            code += &attributes(exact, ", tag = \"tag\", content = \"val\"");
            code += &variant(shapes, &name, parts, path)?;
        }
        TypeDefKind::Enum(parts) => {
            code += "#[derive(Copy, Hash)]\n";
            code += &attributes(exact, "");
            code += &enumeration(&name, parts);
        }
        TypeDefKind::Flags(parts) => code += &flags(&name, parts),
        kind => {
            let shape = shapes.kind(kind, path)?;
            let _ = writeln!(code, "pub type {name} = {};", shape.ty);
        }
    }
    Ok(code)
}

fn attributes(exact: bool, form: &str) -> String {
    let eq = if exact { ", Eq" } else { "" };
    format!(
        "#[derive(Debug, Clone, PartialEq{eq}, {SERDE}::Serialize, {SERDE}::Deserialize)]\n#[serde(crate = \"{SERDE}\"{form})]\n"
    )
}

fn record(
    shapes: &mut Shapes<'_>,
    name: &str,
    record: &Record,
    path: &str,
) -> Result<String, String> {
    let mut code = format!("pub struct {name} {{\n");
    for field in &record.fields {
        let shape = shapes.shape(&field.ty, &format!("{path}.{}", field.name))?;
        code += &docs(&field.docs);
        let optional = if shapes.is_option(&field.ty) {
            ", default, skip_serializing_if = \"::std::option::Option::is_none\""
        } else {
            ""
        };
        let _ = writeln!(
            code,
            "#[serde(rename = \"{}\"{optional}{})]\npub {}: {},",
            lower_camel(&field.name),
            with(&shape),
            snake(&field.name),
            shape.ty
        );
    }
    Ok(code + "}\n")
}

fn variant(
    shapes: &mut Shapes<'_>,
    name: &str,
    variant: &Variant,
    path: &str,
) -> Result<String, String> {
    let mut code = format!("pub enum {name} {{\n");
    for case in &variant.cases {
        code += &docs(&case.docs);
        let _ = write!(
            code,
            "#[serde(rename = \"{}\")]\n{}",
            case.name,
            upper_camel(&case.name)
        );
        if let Some(ty) = &case.ty {
            let shape = shapes.shape(ty, &format!("{path}.{}", case.name))?;
            let attribute = match with(&shape) {
                none if none.is_empty() => none,
                with => format!("#[serde({})] ", with.trim_start_matches([',', ' '])),
            };
            let _ = write!(code, "({attribute}{})", shape.ty);
        }
        code += ",\n";
    }
    Ok(code + "}\n")
}

fn enumeration(name: &str, cases: &Enum) -> String {
    let mut code = format!("pub enum {name} {{\n");
    for case in &cases.cases {
        code += &docs(&case.docs);
        let _ = writeln!(
            code,
            "#[serde(rename = \"{}\")]\n{},",
            case.name,
            upper_camel(&case.name)
        );
    }
    code + "}\n"
}

fn flags(name: &str, flags: &Flags) -> String {
    let mut code = format!(
        "#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]\npub struct {name} {{\n"
    );
    for flag in &flags.flags {
        code += &docs(&flag.docs);
        let _ = writeln!(code, "pub {}: bool,", snake(&flag.name));
    }
    let names = || flags.flags.iter();
    let pairs: String = names()
        .map(|flag| format!("({:?}, self.{}), ", flag.name, snake(&flag.name)))
        .collect();
    let known: String = names().map(|flag| format!("{:?}, ", flag.name)).collect();
    let fields: String = names().map(|flag| snake(&flag.name) + ", ").collect();
    let _ = write!(
        code,
        "}}
        impl {SERDE}::Serialize for {name} {{
            fn serialize<S: {SERDE}::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {{
                {JSON}write_flags(&[{pairs}], serializer)
            }}
        }}
        impl<'de> {SERDE}::Deserialize<'de> for {name} {{
            fn deserialize<D: {SERDE}::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {{
                let [{fields}] = {JSON}read_flags(&[{known}], deserializer)?;
                ::std::result::Result::Ok(Self {{ {fields} }})
            }}
        }}
        "
    );
    code
}

fn with(shape: &Shape) -> String {
    shape.form.as_ref().map_or_else(String::new, |form| {
        format!(", with = \"{JSON}As::<{form}>\"")
    })
}

/// What the WIT says, as documentation of the Rust item.
pub(crate) fn docs(docs: &Docs) -> String {
    let text = docs.contents.as_deref().unwrap_or_default();
    text.trim()
        .lines()
        .map(|line| format!("#[doc = {:?}]\n", format!(" {line}").trim_end()))
        .collect()
}
