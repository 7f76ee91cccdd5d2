//! What the project's WIT says about workflows and their types, put into the component: a component has no place for it but a section of its
//! own. That is encoded as tools of WIT encode it for packages, and `describe` (sandbox) reads it.

use wit_component::DecodedWasm;
use wit_parser::{Docs, PackageId, PackageMetadata, Resolve, TypeDef, TypeDefKind, WorldItem};

use crate::world::World;

/// The section. It has a name of its own, since what tools of WIT find in one of theirs they take to be about the component's world.
const SECTION: &str = "dacapo-docs";

/// The component with what is said about its workflows. As it is if nothing is said, or if it is none: whoever describes it tells why.
pub(crate) fn put_into(mut component: Vec<u8>, world: &World) -> Vec<u8> {
    if let Some(said) = said(&component, world) {
        component.extend(section(SECTION, &said));
    }
    component
}

/// The contents of the section; none if it would say nothing.
fn said(component: &[u8], world: &World) -> Option<Vec<u8>> {
    let package = of_workflows(world)?;
    let name = &world.resolve.packages[package].name;
    // Only what the component has of its WIT may be spoken of.
    let Ok(DecodedWasm::Component(mut built, _)) = wit_component::decode(component) else {
        return None;
    };
    let (there, _) = built.packages.iter().find(|(_, one)| one.name == *name)?;
    if !copy(&world.resolve, package, &mut built, there) {
        return None;
    }
    PackageMetadata::extract(&built, there).encode().ok()
}

/// The package whose functions are the workflows.
fn of_workflows(world: &World) -> Option<PackageId> {
    let resolve = &world.resolve;
    let mut exports = resolve.worlds[world.id].exports.values();
    exports.find_map(|item| {
        let WorldItem::Interface { id, .. } = item else {
            return None;
        };
        let interface = &resolve.interfaces[*id];
        let is_ours = |package: &PackageId| resolve.packages[*package].name.namespace != "wasi";
        let package = interface.package.filter(is_ours);
        package.filter(|_| !interface.functions.is_empty())
    })
}

/// Copies what is said about a package, as far as the other one has it. Whether that is anything.
fn copy(from: &Resolve, package: PackageId, to: &mut Resolve, there: PackageId) -> bool {
    let mut is_any = false;
    let mut copied = |from: &Docs, to: &mut Docs| {
        is_any |= from.contents.is_some();
        *to = from.clone();
    };
    let interfaces = to.packages[there].interfaces.clone();
    for (name, id) in interfaces {
        let Some(source) = from.packages[package].interfaces.get(&name) else {
            continue;
        };
        let source = &from.interfaces[*source];
        let target = &mut to.interfaces[id];
        copied(&source.docs, &mut target.docs);
        for (name, function) in &mut target.functions {
            if let Some(source) = source.functions.get(name) {
                copied(&source.docs, &mut function.docs);
            }
        }
        for (name, id) in &target.types {
            if let Some(source) = source.types.get(name) {
                copy_type(&from.types[*source], &mut to.types[*id], &mut copied);
            }
        }
    }
    is_any
}

fn copy_type(from: &TypeDef, to: &mut TypeDef, copied: &mut impl FnMut(&Docs, &mut Docs)) {
    copied(&from.docs, &mut to.docs);
    // A component has the names of its WIT in their order.
    match (&from.kind, &mut to.kind) {
        (TypeDefKind::Record(from), TypeDefKind::Record(to)) => {
            for (from, to) in from.fields.iter().zip(&mut to.fields) {
                copied(&from.docs, &mut to.docs);
            }
        }
        (TypeDefKind::Variant(from), TypeDefKind::Variant(to)) => {
            for (from, to) in from.cases.iter().zip(&mut to.cases) {
                copied(&from.docs, &mut to.docs);
            }
        }
        (TypeDefKind::Enum(from), TypeDefKind::Enum(to)) => {
            for (from, to) in from.cases.iter().zip(&mut to.cases) {
                copied(&from.docs, &mut to.docs);
            }
        }
        (TypeDefKind::Flags(from), TypeDefKind::Flags(to)) => {
            for (from, to) in from.flags.iter().zip(&mut to.flags) {
                copied(&from.docs, &mut to.docs);
            }
        }
        _ => {}
    }
}

/// A custom section: 0, its length, and its name with its length before its contents.
fn section(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut inner = length(name.len());
    inner.extend(name.as_bytes());
    inner.extend(contents);
    let mut section = vec![0];
    section.extend(length(inner.len()));
    section.extend(inner);
    section
}

/// A number in LEB128.
fn length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0x7f);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_says_how_long_it_is() {
        assert_eq!(section("ab", b"c"), [0, 4, 2, b'a', b'b', b'c']);
        let long = section("a", &[7; 300]);
        assert_eq!(long[..5], [0, 0xae, 0x02, 1, b'a']);
        assert_eq!(long.len(), 3 + 302);
    }
}
