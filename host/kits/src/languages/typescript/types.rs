//! The types of a project's WIT as its TypeScript sees them.

use std::fmt::Write as _;

use wit_parser::{
    Docs, Interface, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldId, WorldItem,
};

use crate::languages::shapes::{camel, capital};
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
