//! The contract that this host offers, which is `wit/`, and what a component wants of it.
//!
//! Within a version such as 0.1 the contract is added to, and nothing in it is changed. So an import of `@0.1.3` is linked with what the host
//! has of 0.1, whichever release of it that is: wasmtime looks an interface up by its exact name first, and then by the part of its version
//! that says what is compatible. What is left to go wrong is a component that wants what was added later.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wit_parser::{
    Function, FunctionKind, Handle, Interface, Resolve, SourceMap, Type, TypeDefKind, TypeId,
    World, WorldItem,
};

/// The version of the contract that this host offers.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// What its interfaces' names begin with.
const PREFIX: &str = "dacapo:workflow/";

/// All files of `wit/`.
const FILES: [(&str, &str); 11] = [
    ("children.wit", include_str!("../../../wit/children.wit")),
    ("context.wit", include_str!("../../../wit/context.wit")),
    ("forks.wit", include_str!("../../../wit/forks.wit")),
    ("http.wit", include_str!("../../../wit/http.wit")),
    ("log.wit", include_str!("../../../wit/log.wit")),
    ("secrets.wit", include_str!("../../../wit/secrets.wit")),
    ("sql.wit", include_str!("../../../wit/sql.wit")),
    ("steps.wit", include_str!("../../../wit/steps.wit")),
    ("types.wit", include_str!("../../../wit/types.wit")),
    ("waits.wit", include_str!("../../../wit/waits.wit")),
    ("world.wit", include_str!("../../../wit/world.wit")),
];

/// A type is written out up to this length: types refer to each other, so a short text can stand for a type without end.
const TEXT_MAX: usize = 16 << 10;

/// How deep types may nest that are written out.
const DEPTH_MAX: usize = 60;

/// How many names a message has.
const NAMED_MAX: usize = 5;

/// The functions and types of an interface by name, each written out with all that it is made of; none where only its name is known.
pub(crate) type Items = BTreeMap<String, Option<String>>;

/// The interfaces that are offered, by name without the package. None: `wit/` cannot be read, which a test rules out.
static OFFERED: LazyLock<Option<BTreeMap<String, Items>>> = LazyLock::new(|| {
    let mut files = SourceMap::default();
    for (name, text) in FILES {
        files.push_str(name, text);
    }
    interfaces(files)
});

fn interfaces(files: SourceMap) -> Option<BTreeMap<String, Items>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_group(files.parse().ok()?).ok()?;
    let interfaces = &resolve.packages[package].interfaces;
    let interfaces = interfaces.iter().map(|(name, id)| {
        let items = items(&resolve, &resolve.interfaces[*id]);
        (name.clone(), items)
    });
    Some(interfaces.collect())
}

/// What a component wants of the contract, and this host does not offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The newest version of the contract that the component imports.
    pub wanted: String,
    /// What is not there at all, such as `steps.step-run`.
    pub missing: Vec<String>,
    /// What is there, with another type.
    pub other: Vec<String>,
}

impl Lack {
    /// Whether a newer host may offer it.
    pub fn is_newer(&self) -> bool {
        numbers(&self.wanted) > numbers(CONTRACT_VERSION)
    }

    /// What is wanted and what is offered, without what to do about it.
    pub fn found(&self) -> String {
        let mut text = format!(
            "the component was built for dacapo:workflow {}, and this dacapo offers {CONTRACT_VERSION}",
            self.wanted
        );
        if !self.missing.is_empty() {
            text += &format!(", without {}", named(&self.missing));
        }
        if !self.other.is_empty() {
            text += &format!(", where {} has another type", named(&self.other));
        }
        text
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found())?;
        f.write_str(if self.is_newer() {
            "; use a newer dacapo for it, or build it with this one, whose WIT `dacapo build` brings along"
        } else {
            "; build it again with this dacapo, whose WIT `dacapo build` brings along"
        })
    }
}

fn named(names: &[String]) -> String {
    let first = names.iter().take(NAMED_MAX).map(|name| format!("`{name}`"));
    let mut text = first.collect::<Vec<_>>().join(", ");
    if names.len() > NAMED_MAX {
        text += &format!(" and {} more", names.len() - NAMED_MAX);
    }
    text
}

/// Whether an import is an interface of some version of the contract. A pre-release is none.
pub(crate) fn is_of_contract(import: &str) -> bool {
    parts(import).is_some()
}

/// The interface's name without the package, and its version.
fn parts(import: &str) -> Option<(&str, &str)> {
    let (interface, version) = import.strip_prefix(PREFIX)?.split_once('@')?;
    numbers(version).map(|_| (interface, version))
}

fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    let three = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(three)
}

/// The part of a version that says what is compatible: 0.1 of 0.1.3, and 2 of 2.1.3.
fn track([major, minor, _]: [u64; 3]) -> (u64, u64) {
    (major, if major == 0 { minor } else { 0 })
}

/// What is not offered of what a world imports of the contract.
pub(crate) fn lack_of_world(resolve: &Resolve, world: &World) -> Option<Lack> {
    lack(world.imports.iter().filter_map(|(key, item)| {
        let WorldItem::Interface { id, .. } = item else {
            return None;
        };
        let items = items(resolve, &resolve.interfaces[*id]);
        Some((resolve.name_world_key(key), items))
    }))
}

/// What is not offered of what a component imports of the contract, by names alone.
pub(crate) fn lack_of_component(engine: &Engine, component: &Component) -> Option<Lack> {
    let ty = component.component_type();
    lack(ty.imports(engine).filter_map(|(import, item)| {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            return None;
        };
        let exports = instance.exports(engine);
        let items = exports.map(|(name, _)| (shown(name), None)).collect();
        Some((import.to_owned(), items))
    }))
}

fn lack(wanted: impl Iterator<Item = (String, Items)>) -> Option<Lack> {
    let offered = OFFERED.as_ref()?;
    let ours = numbers(CONTRACT_VERSION)?;
    let mut newest = None;
    let (mut missing, mut other) = (BTreeSet::new(), BTreeSet::new());
    let mut is_lacking = false;
    for (import, items) in wanted {
        let Some((interface, version)) = parts(&import) else {
            continue;
        };
        let theirs = numbers(version)?;
        newest = newest.max(Some((theirs, version.to_owned())));
        if track(theirs) != track(ours) {
            is_lacking = true;
            continue;
        }
        let Some(offered) = offered.get(interface) else {
            missing.insert(interface.to_owned());
            continue;
        };
        for (name, text) in items {
            match offered.get(&name) {
                None => missing.insert(format!("{interface}.{name}")),
                Some(ours) if text.is_some() && text != *ours => {
                    other.insert(format!("{interface}.{name}"))
                }
                Some(_) => continue,
            };
        }
    }
    is_lacking |= !missing.is_empty() || !other.is_empty();
    is_lacking.then(|| Lack {
        wanted: newest.map_or_else(String::new, |(_, version)| version),
        missing: missing.into_iter().collect(),
        other: other.into_iter().collect(),
    })
}

/// All functions and types of an interface.
pub(crate) fn items(resolve: &Resolve, interface: &Interface) -> Items {
    let functions = interface.functions.values().map(|function| {
        let mut text = Text::of(resolve);
        text.function(function);
        (shown(&function.name), Some(text.out))
    });
    let types = interface.types.iter().map(|(name, id)| {
        let mut text = Text::of(resolve);
        text.defined(*id, 0);
        (name.clone(), Some(text.out))
    });
    functions.chain(types).collect()
}

/// The name of a function for people: `attempt.number` is `[method]attempt.number` in a component.
fn shown(name: &str) -> String {
    match name.strip_prefix("[constructor]") {
        Some(resource) => format!("{resource}.constructor"),
        None => name.rsplit(']').next().unwrap_or(name).to_owned(),
    }
}

/// Writes types with all that they are made of, so that two of them are the same if their texts are.
struct Text<'a> {
    resolve: &'a Resolve,
    out: String,
}

impl<'a> Text<'a> {
    fn of(resolve: &'a Resolve) -> Self {
        Self {
            resolve,
            out: String::new(),
        }
    }

    fn function(&mut self, function: &Function) {
        self.out.push_str(match function.kind {
            FunctionKind::AsyncFreestanding
            | FunctionKind::AsyncMethod(_)
            | FunctionKind::AsyncStatic(_) => "async func(",
            _ => "func(",
        });
        for param in &function.params {
            self.out += &format!("{}: ", param.name);
            self.ty(&param.ty, 0);
            self.out.push_str(", ");
        }
        self.out.push(')');
        if let Some(result) = &function.result {
            self.out.push_str(" -> ");
            self.ty(result, 0);
        }
    }

    fn ty(&mut self, ty: &Type, depth: usize) {
        let word = match ty {
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S8 => "s8",
            Type::S16 => "s16",
            Type::S32 => "s32",
            Type::S64 => "s64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Char => "char",
            Type::String => "string",
            Type::ErrorContext => "error-context",
            Type::Id(id) => return self.defined(*id, depth + 1),
        };
        self.out.push_str(word);
    }

    fn defined(&mut self, id: TypeId, depth: usize) {
        if depth > DEPTH_MAX || self.out.len() > TEXT_MAX {
            self.out.push('…');
            return;
        }
        let resolve = self.resolve;
        let def = &resolve.types[id];
        match &def.kind {
            TypeDefKind::Type(ty) => self.ty(ty, depth),
            TypeDefKind::Resource => {
                let name = def.name.as_deref().unwrap_or_default();
                self.out += &format!("resource {name}");
            }
            TypeDefKind::Handle(Handle::Own(id)) => {
                self.named("own", [Some(&Type::Id(*id))], depth)
            }
            TypeDefKind::Handle(Handle::Borrow(id)) => {
                self.named("borrow", [Some(&Type::Id(*id))], depth);
            }
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter();
                let fields = fields.map(|field| (&field.name, Some(&field.ty)));
                self.parts("record", fields, depth);
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter();
                self.parts(
                    "variant",
                    cases.map(|case| (&case.name, case.ty.as_ref())),
                    depth,
                );
            }
            TypeDefKind::Enum(names) => {
                self.parts(
                    "enum",
                    names.cases.iter().map(|case| (&case.name, None)),
                    depth,
                );
            }
            TypeDefKind::Flags(flags) => {
                self.parts(
                    "flags",
                    flags.flags.iter().map(|flag| (&flag.name, None)),
                    depth,
                );
            }
            TypeDefKind::Tuple(tuple) => self.named("tuple", tuple.types.iter().map(Some), depth),
            TypeDefKind::Option(ty) => self.named("option", [Some(ty)], depth),
            TypeDefKind::Result(result) => {
                self.named("result", [result.ok.as_ref(), result.err.as_ref()], depth);
            }
            TypeDefKind::List(ty) => self.named("list", [Some(ty)], depth),
            TypeDefKind::FixedLengthList(ty, length) => {
                self.named(&format!("list-of-{length}"), [Some(ty)], depth);
            }
            TypeDefKind::Map(key, value) => self.named("map", [Some(key), Some(value)], depth),
            TypeDefKind::Future(ty) => self.named("future", [ty.as_ref()], depth),
            TypeDefKind::Stream(ty) => self.named("stream", [ty.as_ref()], depth),
            TypeDefKind::Unknown => self.out.push('?'),
        }
    }

    /// `word<type, type>`
    fn named<'t>(
        &mut self,
        word: &str,
        types: impl IntoIterator<Item = Option<&'t Type>>,
        depth: usize,
    ) {
        self.out += &format!("{word}<");
        for ty in types {
            match ty {
                Some(ty) => self.ty(ty, depth),
                None => self.out.push('_'),
            }
            self.out.push_str(", ");
        }
        self.out.push('>');
    }

    /// `word{name: type, name}`
    fn parts<'t>(
        &mut self,
        word: &str,
        parts: impl Iterator<Item = (&'t String, Option<&'t Type>)>,
        depth: usize,
    ) {
        self.out += &format!("{word}{{");
        for (name, ty) in parts {
            self.out.push_str(name);
            if let Some(ty) = ty {
                self.out.push_str(": ");
                self.ty(ty, depth);
            }
            self.out.push_str(", ");
        }
        self.out.push('}');
    }
}
