//! The types of a project's WIT as its TypeScript sees them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use wit_parser::{
    Docs, Interface, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldId, WorldItem,
};

use crate::project::Engine;

/// A file for each interface that the world exports: its name, and its declarations.
pub(super) fn declarations(
    resolve: &Resolve,
    world: WorldId,
    engine: Engine,
) -> Vec<(String, String)> {
    let exports = resolve.worlds[world].exports.values();
    let interfaces = exports.filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(*id),
        _ => None,
    });
    let writer = Writer { resolve, engine };
    interfaces
        .filter_map(|id| {
            let name = resolve.interfaces[id].name.clone()?;
            Some((name.clone(), writer.interface(&name, id)))
        })
        .collect()
}

/// Where the workflows have integers of 64 bits, by the names of their functions: `{"place": {"input": {"fields": {"id": "u64"}}}}`. One whose
/// name stands for several that differ in this is left out.
pub(super) fn wide(resolve: &Resolve, world: WorldId) -> Map<String, Value> {
    let writer = Writer {
        resolve,
        engine: Engine::QuickJs,
    };
    let exports = resolve.worlds[world].exports.values();
    let functions = exports.filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(resolve.interfaces[*id].functions.values()),
        _ => None,
    });
    let mut wide = Map::new();
    let mut unclear = BTreeSet::new();
    for function in functions.flatten() {
        let (output, error) = match function.result {
            None => (None, None),
            Some(result) => match writer.resolved(&result) {
                Some(TypeDefKind::Result(of)) => (of.ok, of.err),
                _ => (Some(result), None),
            },
        };
        let input = function.params.first().map(|param| param.ty);
        let parts = [("input", input), ("output", output), ("error", error)];
        let parts = parts.into_iter().filter_map(|(part, ty)| {
            let wide = writer.wide(&ty?)?;
            Some((part.to_owned(), wide))
        });
        let parts = Value::Object(parts.collect());
        let name = camel(&function.name);
        match wide.get(&name) {
            Some(other) if *other != parts => drop(unclear.insert(name)),
            _ => drop(wide.insert(name, parts)),
        }
    }
    wide.retain(|name, parts| !unclear.contains(name) && *parts != json!({}));
    wide
}

/// The interfaces that the world exports, and the names under which the code does.
pub(super) fn exports(resolve: &Resolve, world: WorldId) -> Vec<(String, String)> {
    let exports = resolve.worlds[world].exports.values();
    let interfaces = exports.filter_map(|item| match item {
        WorldItem::Interface { id, .. } if !resolve.interfaces[*id].functions.is_empty() => {
            resolve.interfaces[*id].name.clone()
        }
        _ => None,
    });
    interfaces
        .map(|name| {
            let exported = camel(&name);
            (name, exported)
        })
        .collect()
}

struct Writer<'a> {
    resolve: &'a Resolve,
    engine: Engine,
}

impl Writer<'_> {
    fn interface(&self, name: &str, id: InterfaceId) -> String {
        let interface = &self.resolve.interfaces[id];
        let mut text = "// Written by `dacapo build` from the project's WIT.\n".to_owned();
        for other in self.used(interface, id) {
            for ty in self.resolve.interfaces[other].types.values() {
                self.definition(&mut text, *ty);
            }
        }
        for ty in interface.types.values() {
            self.definition(&mut text, *ty);
        }
        let _ = write!(
            text,
            "\n{}export interface {} {{",
            docs(&interface.docs, ""),
            pascal(name)
        );
        for function in interface.functions.values() {
            let param = function.params.first();
            let param = param.map_or_else(String::new, |param| {
                format!("{}: {}", camel(&param.name), self.ty(&param.ty))
            });
            // An error is thrown, as a `WorkflowError`.
            let result = match function.result.map(|result| (result, self.result(&result))) {
                None => "void".to_owned(),
                Some((_, Some(ok))) => ok.map_or_else(|| "void".to_owned(), |ok| self.ty(&ok)),
                Some((result, None)) => self.ty(&result),
            };
            let _ = write!(
                text,
                "\n{}  {}({param}): {result} | Promise<{result}>;",
                docs(&function.docs, "  "),
                camel(&function.name)
            );
        }
        text.push_str("\n}\n");
        text
    }

    /// The interfaces whose types this one uses under their own names, in the order of their first use.
    fn used(&self, interface: &Interface, own: InterfaceId) -> Vec<InterfaceId> {
        let mut used = Vec::new();
        for ty in interface.types.values() {
            if let TypeDefKind::Type(Type::Id(target)) = self.resolve.types[*ty].kind
                && let TypeOwner::Interface(owner) = self.resolve.types[target].owner
                && owner != own
                && !used.contains(&owner)
            {
                used.push(owner);
            }
        }
        used
    }

    fn definition(&self, text: &mut String, id: TypeId) {
        let ty = &self.resolve.types[id];
        let Some(name) = &ty.name else { return };
        let name = pascal(name);
        let body = match &ty.kind {
            // What is only used here is written where it is defined.
            TypeDefKind::Type(Type::Id(target)) if self.resolve.types[*target].name == ty.name => {
                return;
            }
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter().map(|field| {
                    let optional = self.option(&field.ty).is_some();
                    format!(
                        "{}  {}{}: {};\n",
                        docs(&field.docs, "  "),
                        camel(&field.name),
                        if optional { "?" } else { "" },
                        self.ty(&field.ty)
                    )
                });
                let fields: String = fields.collect();
                let _ = write!(
                    text,
                    "\n{}export interface {name} {{\n{fields}}}\n",
                    docs(&ty.docs, "")
                );
                return;
            }
            kind => self.kind(kind),
        };
        let _ = write!(
            text,
            "\n{}export type {name} = {body};\n",
            docs(&ty.docs, "")
        );
    }

    fn ty(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "boolean".to_owned(),
            Type::U64 | Type::S64 if self.engine == Engine::SpiderMonkey => "bigint".to_owned(),
            Type::Char | Type::String => "string".to_owned(),
            Type::Id(id) => match &self.resolve.types[*id].name {
                Some(name) => pascal(name),
                None => self.kind(&self.resolve.types[*id].kind),
            },
            Type::ErrorContext => "never".to_owned(),
            _ => "number".to_owned(),
        }
    }

    /// Where a value of this type has integers of 64 bits, as `guest-sdk/ts/src/wide.ts` reads it.
    fn wide(&self, ty: &Type) -> Option<Value> {
        let id = match ty {
            Type::U64 => return Some(json!("u64")),
            Type::S64 => return Some(json!("s64")),
            Type::Id(id) => *id,
            _ => return None,
        };
        let some = |parts: Vec<(String, Option<Value>)>, word: &str| {
            let wide = parts.into_iter();
            let wide: Map<String, Value> = wide
                .filter_map(|(name, wide)| Some((name, wide?)))
                .collect();
            (!wide.is_empty()).then(|| json!({ word: wide }))
        };
        let optional = |ty: &Option<Type>| ty.as_ref().and_then(|ty| self.wide(ty));
        match &self.resolve.types[id].kind {
            TypeDefKind::Type(ty) => self.wide(ty),
            TypeDefKind::List(ty) | TypeDefKind::FixedLengthList(ty, _) => {
                self.wide(ty).map(|wide| json!({ "list": wide }))
            }
            TypeDefKind::Option(ty) if self.option(ty).is_some() => {
                some(vec![("some".to_owned(), self.wide(ty))], "cases")
            }
            TypeDefKind::Option(ty) => self.wide(ty),
            TypeDefKind::Tuple(tuple) => {
                let types = tuple.types.iter().enumerate();
                let types = types.map(|(index, ty)| (index.to_string(), self.wide(ty)));
                some(types.collect(), "fields")
            }
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter();
                let fields = fields.map(|field| (camel(&field.name), self.wide(&field.ty)));
                some(fields.collect(), "fields")
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases = cases.map(|case| (case.name.clone(), optional(&case.ty)));
                some(cases.collect(), "cases")
            }
            TypeDefKind::Result(result) => some(
                vec![
                    ("ok".to_owned(), optional(&result.ok)),
                    ("err".to_owned(), optional(&result.err)),
                ],
                "cases",
            ),
            _ => None,
        }
    }

    fn kind(&self, kind: &TypeDefKind) -> String {
        match kind {
            TypeDefKind::Type(ty) => self.ty(ty),
            TypeDefKind::List(Type::U8) => "Uint8Array".to_owned(),
            TypeDefKind::List(ty) => match self.ty(ty) {
                plain if plain.chars().all(char::is_alphanumeric) => format!("{plain}[]"),
                other => format!("({other})[]"),
            },
            TypeDefKind::Option(ty) if self.option(ty).is_some() => {
                let inner = self.ty(ty);
                format!("{{ tag: \"some\"; val: {inner} }} | {{ tag: \"none\" }}")
            }
            TypeDefKind::Option(ty) => format!("{} | {}", self.ty(ty), self.none()),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<String> = tuple.types.iter().map(|ty| self.ty(ty)).collect();
                format!("[{}]", types.join(", "))
            }
            TypeDefKind::Result(result) => {
                let val = |ty: &Option<Type>| {
                    ty.as_ref()
                        .map_or_else(String::new, |ty| format!("; val: {}", self.ty(ty)))
                };
                format!(
                    "{{ tag: \"ok\"{} }} | {{ tag: \"err\"{} }}",
                    val(&result.ok),
                    val(&result.err)
                )
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| match &case.ty {
                    Some(ty) => format!("{{ tag: \"{}\"; val: {} }}", case.name, self.ty(ty)),
                    None => format!("{{ tag: \"{}\" }}", case.name),
                });
                cases.collect::<Vec<_>>().join(" | ")
            }
            TypeDefKind::Enum(of) => {
                let cases = of.cases.iter().map(|case| format!("\"{}\"", case.name));
                cases.collect::<Vec<_>>().join(" | ")
            }
            TypeDefKind::Flags(flags) => {
                let flags = flags.flags.iter();
                let flags = flags.map(|flag| format!("{}?: boolean", camel(&flag.name)));
                format!("{{ {} }}", flags.collect::<Vec<_>>().join("; "))
            }
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter();
                let fields =
                    fields.map(|field| format!("{}: {}", camel(&field.name), self.ty(&field.ty)));
                format!("{{ {} }}", fields.collect::<Vec<_>>().join("; "))
            }
            // Nothing else may be part of a workflow's type.
            _ => "never".to_owned(),
        }
    }

    /// What stands for an option that is none; a field may be left out, too.
    fn none(&self) -> &'static str {
        match self.engine {
            Engine::QuickJs => "null",
            Engine::SpiderMonkey => "undefined",
        }
    }

    /// What is optional, if this is an option.
    fn option(&self, ty: &Type) -> Option<Type> {
        match self.resolved(ty)? {
            TypeDefKind::Option(inner) => Some(*inner),
            _ => None,
        }
    }

    /// What is handed back when all goes well, if this is a result.
    fn result(&self, ty: &Type) -> Option<Option<Type>> {
        match self.resolved(ty)? {
            TypeDefKind::Result(result) => Some(result.ok),
            _ => None,
        }
    }

    fn resolved(&self, ty: &Type) -> Option<&TypeDefKind> {
        let Type::Id(id) = ty else { return None };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(target) => self.resolved(target),
            kind => Some(kind),
        }
    }
}

fn docs(docs: &Docs, indent: &str) -> String {
    docs.contents.as_ref().map_or_else(String::new, |text| {
        let lines = text.trim().lines();
        let lines: String = lines.map(|line| format!("{indent} * {line}\n")).collect();
        format!("{indent}/**\n{}{indent} */\n", lines.replace("*/", "* /"))
    })
}

pub(super) fn pascal(name: &str) -> String {
    name.split('-').map(capital).collect()
}

fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &capital(word))
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_64_bits_are_found_wherever_they_are() {
        let wit = "package a:b;
            interface i {
                variant v { one(u64), two(u32), three }
                record r { order-id: u64, name: string, all: list<tuple<string, s64>>, v: v, o: option<u64>, oo: option<option<s64>> }
                type id = u64;
                place: func(r: r) -> result<id, v>;
                cancel-it: func(id: u64);
                plain: func(n: u32) -> string;
                twice: func(n: u64);
            }
            interface j { twice: func(); plain: func(n: u32) -> string; cancel-it: func(id: u64); }
            world w { export i; export j; }";
        let mut resolve = Resolve::default();
        let package = resolve.push_str("test.wit", wit).unwrap();
        let world = resolve.select_world(&[package], Some("w")).unwrap();
        let v = json!({ "cases": { "one": "u64" } });
        let expected = json!({
            "place": {
                "input": { "fields": {
                    "orderId": "u64", "all": { "list": { "fields": { "1": "s64" } } }, "v": v, "o": "u64",
                    "oo": { "cases": { "some": "s64" } },
                } },
                "output": "u64",
                "error": v,
            },
            "cancelIt": { "input": "u64" },
        });
        assert_eq!(Value::Object(wide(&resolve, world)), expected);
    }
}
