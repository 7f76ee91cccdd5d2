//! The types of an interface as programmers see them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use wit_parser::{Docs, InterfaceId, Type, TypeDefKind, TypeId};

use super::{Form, HEADER, Writer, capital, pascal};

impl Writer<'_> {
    /// The types of an interface as programmers see them.
    pub(super) fn types(&self, id: InterfaceId, package: &str) -> String {
        let interface = &self.resolve.interfaces[id];
        let errors = self.errors();
        let mut body = String::new();
        for ty in interface.types.values() {
            self.definition(&mut body, id, *ty, errors.contains(ty));
        }
        let mut text = format!(
            "{HEADER}{}package {package}\n",
            package_docs(&interface.docs, package)
        );
        let mut imports = String::new();
        for (used, path) in [("json.", "encoding/json"), ("wittypes.", "dacapo/wittypes")] {
            if body.contains(used) {
                let _ = writeln!(imports, "\t\"{path}\"");
            }
        }
        for (other, name) in &self.packages {
            if *other != id && body.contains(&format!("wit_{name}.")) {
                let _ = writeln!(imports, "\twit_{name} \"dacapo/wit/{name}\"");
            }
        }
        if !imports.is_empty() {
            let _ = write!(text, "\nimport (\n{imports})\n");
        }
        text + &body
    }

    /// The types with names that workflows have as their errors.
    fn errors(&self) -> BTreeSet<TypeId> {
        let functions = self
            .exports
            .iter()
            .flat_map(|(_, id)| self.resolve.interfaces[*id].functions.values());
        functions
            .filter_map(|function| self.result(function)?.1)
            .filter_map(|err| self.named(&err))
            .collect()
    }

    fn definition(&self, text: &mut String, own: InterfaceId, id: TypeId, is_error: bool) {
        let ty = &self.resolve.types[id];
        let Some(wit) = &ty.name else { return };
        let name = pascal(wit);
        let about = docs(&ty.docs, "");
        let form = |ty: &Type| self.form(ty, Form::Own, Some(own));
        match &ty.kind {
            TypeDefKind::Record(record) => {
                let _ = write!(text, "\n{about}type {name} struct {{\n");
                for field in &record.fields {
                    let _ = writeln!(
                        text,
                        "{}\t{} {} `json:\"{}\"`",
                        docs(&field.docs, "\t"),
                        pascal(&field.name),
                        form(&field.ty),
                        camel(&field.name)
                    );
                }
                text.push_str("}\n");
                let clashes = record.fields.iter().any(|field| field.name == "error");
                describe(text, &name, is_error && !clashes);
            }
            TypeDefKind::Variant(variant) => {
                let about = match about.as_str() {
                    "" => format!("// {name}: exactly one of its fields is set.\n"),
                    about => format!("{about}//\n// Exactly one of its fields is set.\n"),
                };
                let _ = write!(text, "\n{about}type {name} struct {{\n");
                for case in &variant.cases {
                    let form = case
                        .ty
                        .map_or("bool".to_owned(), |ty| format!("*{}", form(&ty)));
                    let about = docs(&case.docs, "\t");
                    let _ = writeln!(text, "{about}\t{} {form}", pascal(&case.name));
                }
                let (mut written, mut read) = (String::new(), String::new());
                for case in &variant.cases {
                    let (wit, field) = (&case.name, pascal(&case.name));
                    let ty = case.ty.as_ref().map(&form);
                    let _ = match ty {
                        None => write!(
                            written,
                            "\tcase value.{field}:\n\t\treturn wittypes.MarshalBare(\"{wit}\")\n"
                        ),
                        Some(_) => write!(
                            written,
                            "\tcase value.{field} != nil:\n\t\treturn wittypes.MarshalCase(\"{wit}\", *value.{field})\n"
                        ),
                    };
                    let ty = case.ty.as_ref().map(&form);
                    let _ = match ty {
                        None => write!(
                            read,
                            "\tcase \"{wit}\":\n\t\tvalue.{field} = true\n\t\treturn nil\n"
                        ),
                        Some(ty) => write!(
                            read,
                            "\tcase \"{wit}\":\n\t\tvalue.{field} = new({ty})\n\t\treturn json.Unmarshal(payload, value.{field})\n"
                        ),
                    };
                }
                let names = names(variant.cases.iter().map(|case| case.name.as_str()));
                let payload = if read.contains("payload") {
                    "payload"
                } else {
                    "_"
                };
                let _ = write!(
                    text,
                    "}}\n\n// MarshalJSON writes the case that is set.\nfunc (value {name}) MarshalJSON() ([]byte, error) {{\n\tswitch {{\n{written}\t}}\n\treturn nil, wittypes.NoCase(\"{wit}\")\n}}\n\
                     \n// UnmarshalJSON reads what MarshalJSON writes.\nfunc (value *{name}) UnmarshalJSON(text []byte) error {{\n\ttag, {payload}, err := wittypes.UnmarshalCase(text)\n\tif err != nil {{\n\t\treturn err\n\t}}\n\t*value = {name}{{}}\n\tswitch tag {{\n{read}\t}}\n\treturn wittypes.NotOneOf(tag, \"{wit}\", {names})\n}}\n"
                );
                let clashes = variant.cases.iter().any(|case| case.name == "error");
                describe(text, &name, is_error && !clashes);
            }
            TypeDefKind::Enum(of) => {
                let _ = write!(
                    text,
                    "\n{about}type {name} uint32\n\n// The cases of {name}.\nconst (\n"
                );
                for (index, case) in of.cases.iter().enumerate() {
                    let value = if index == 0 {
                        format!(" {name} = iota")
                    } else {
                        String::new()
                    };
                    let about = docs(&case.docs, "\t");
                    let _ = writeln!(text, "{about}\t{name}{}{value}", pascal(&case.name));
                }
                let names = names(of.cases.iter().map(|case| case.name.as_str()));
                let list = variable(wit);
                let _ = write!(
                    text,
                    ")\n\nvar {list} = {names}\n\n// String is the name in WIT.\nfunc (value {name}) String() string {{\n\treturn {list}[value]\n}}\n\
                     \n// MarshalText writes the name in WIT.\nfunc (value {name}) MarshalText() ([]byte, error) {{\n\treturn []byte({list}[value]), nil\n}}\n\
                     \n// UnmarshalText reads the name in WIT.\nfunc (value *{name}) UnmarshalText(text []byte) error {{\n\tindex, err := wittypes.Index(text, \"{wit}\", {list})\n\t*value = {name}(index)\n\treturn err\n}}\n"
                );
                describe(text, &name, is_error);
            }
            TypeDefKind::Flags(flags) => {
                let _ = write!(
                    text,
                    "\n{about}type {name} uint32\n\n// The flags of {name}.\nconst (\n"
                );
                for (index, flag) in flags.flags.iter().enumerate() {
                    let value = if index == 0 {
                        format!(" {name} = 1 << iota")
                    } else {
                        String::new()
                    };
                    let about = docs(&flag.docs, "\t");
                    let _ = writeln!(text, "{about}\t{name}{}{value}", pascal(&flag.name));
                }
                let names = names(flags.flags.iter().map(|flag| flag.name.as_str()));
                let list = variable(wit);
                let _ = write!(
                    text,
                    ")\n\nvar {list} = {names}\n\n// MarshalJSON writes the names of the flags that are set.\nfunc (value {name}) MarshalJSON() ([]byte, error) {{\n\treturn wittypes.MarshalFlags(uint32(value), {list})\n}}\n\
                     \n// UnmarshalJSON reads what MarshalJSON writes.\nfunc (value *{name}) UnmarshalJSON(text []byte) error {{\n\tbits, err := wittypes.UnmarshalFlags(text, \"{wit}\", {list})\n\t*value = {name}(bits)\n\treturn err\n}}\n"
                );
                describe(text, &name, is_error);
            }
            TypeDefKind::Type(target) => {
                let _ = write!(text, "\n{about}type {name} = {}\n", form(target));
            }
            kind => {
                let _ = write!(
                    text,
                    "\n{about}type {name} = {}\n",
                    self.kind(kind, Form::Own, Some(own))
                );
            }
        }
    }
}

/// A method that makes a type an error of Go.
fn describe(text: &mut String, name: &str, is_error: bool) {
    if is_error {
        let _ = write!(
            text,
            "\n// Error makes the value an error that a workflow may return.\nfunc (value {name}) Error() string {{\n\treturn wittypes.Describe(value)\n}}\n"
        );
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    format!("[]string{{{}}}", names.join(", "))
}

fn package_docs(about: &Docs, package: &str) -> String {
    match about.contents {
        Some(_) => docs(about, ""),
        None => {
            format!("// Package {package} has the types of an interface of the project's WIT.\n")
        }
    }
}

fn docs(docs: &Docs, indent: &str) -> String {
    let lines = docs.contents.as_deref().unwrap_or_default().trim().lines();
    lines.map(|line| format!("{indent}// {line}\n")).collect()
}

fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_ascii_lowercase();
    words.fold(first, |name, word| name + &capital(word))
}

/// The variable with the names of an enum's or flags' parts.
fn variable(name: &str) -> String {
    format!("namesOf{}", pascal(name))
}
