//! From a directory of WIT to modules of Rust.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use wit_parser::{
    Function, FunctionKind, Interface, InterfaceId, PackageId, Resolve, TypeDefKind, TypeId,
    TypeOwner, WorldId, WorldItem,
};

use crate::items::{docs, item};
use crate::names::{screaming, upper_camel};
use crate::shapes::{JSON, Shapes};

/// The code for all workflows of the package at `path`, which the compiler reads again when its files change.
///
/// # Errors
/// What is wrong with the WIT, or with a workflow in it, and where.
pub fn from_path(path: &Path) -> Result<String, String> {
    let mut resolve = Resolve::default();
    let (main, sources) = match resolve.push_path(path) {
        Ok(read) => read,
        Err(error) => {
            let error = resolve.render_error(&error);
            return Err(format!(
                "cannot read the WIT at {}: {error}",
                path.display()
            ));
        }
    };
    let workflows = workflow_interfaces(&resolve, main, None);
    let mut code = code(&resolve, main, &workflows, &|_| true)?;
    for source in sources.paths() {
        // The compiler learns in this way that a change of the file changes the code.
        let _ = writeln!(
            code,
            "const _: &[u8] = ::core::include_bytes!({:?});",
            source.display().to_string()
        );
    }
    Ok(code)
}

/// The code for the workflows of these interfaces, as far as they are `wanted` by their full names: a module for each interface, and one
/// for each other one whose types they need. The modules of interfaces that are not of the package `main` bear their package's name.
///
/// # Errors
/// What is wrong with a workflow, and where.
pub fn code(
    resolve: &Resolve,
    main: PackageId,
    workflows: &BTreeSet<InterfaceId>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<String, String> {
    let mut shapes = Shapes::new(resolve, main);
    let mut any = false;
    // The items of each module, by its name.
    let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for &id in workflows {
        let interface = &resolve.interfaces[id];
        let module = shapes
            .module(id)
            .ok_or("an exported interface has no name: a workflow's name could not name it")?;
        let mut references = Vec::new();
        for function in interface.functions.values() {
            let name = workflow_name(resolve, id, function)?;
            if wanted(&name) {
                any = true;
                references.push(reference(&mut shapes, name, interface, function)?);
            }
        }
        references.extend(events(resolve, id));
        modules.entry(module).or_default().extend(references);
    }
    let words = resolve.packages[main].interfaces.values().copied();
    let words =
        words.filter(|id| workflows.contains(id) || resolve.interfaces[*id].functions.is_empty());
    shapes
        .needed
        .extend(words.flat_map(|id| resolve.interfaces[id].types.values()));

    let mut written: BTreeSet<TypeId> = BTreeSet::new();
    // Writing a type may come by others.
    while let Some(&id) = shapes.needed.difference(&written).next() {
        written.insert(id);
        let def = &resolve.types[id];
        let (TypeOwner::Interface(owner), Some(name)) = (def.owner, &def.name) else {
            continue;
        };
        let Some(module) = shapes.module(owner) else {
            continue;
        };
        let path = format!("{}.{name}", full_name(resolve, owner).unwrap_or_default());
        if matches!(def.kind, TypeDefKind::Resource) {
            return Err(format!(
                "{path}: a workflow cannot take or return a resource"
            ));
        }
        let code = item(&mut shapes, id, &path)?;
        modules.entry(module).or_default().push(code);
    }
    if !any {
        return Err("the WIT has no workflows: no interface has a function".to_owned());
    }
    Ok(modules
        .into_iter()
        .map(|(name, items)| module(resolve, &shapes, &name, &items))
        .collect())
}

fn module(resolve: &Resolve, shapes: &Shapes<'_>, name: &str, items: &[String]) -> String {
    let interface = resolve
        .interfaces
        .iter()
        .find(|(id, _)| shapes.module(*id).as_deref() == Some(name));
    let docs = interface.map_or_else(String::new, |(_, interface)| docs(&interface.docs));
    format!(
        "{docs}#[allow(missing_docs, dead_code, unused_qualifications, clippy::all, clippy::pedantic)]\npub mod {name} {{\n{}}}\n",
        items.concat()
    )
}

/// The interfaces whose functions are workflows: those that the world exports; without one, those that any world of the package exports, or
/// all if no world exports anything.
#[must_use]
pub fn workflow_interfaces(
    resolve: &Resolve,
    main: PackageId,
    world: Option<WorldId>,
) -> BTreeSet<InterfaceId> {
    let package = &resolve.packages[main];
    let worlds: Vec<WorldId> = match world {
        Some(world) => vec![world],
        None => package.worlds.values().copied().collect(),
    };
    let worlds = worlds.into_iter().map(|id| &resolve.worlds[id]);
    let exported: BTreeSet<InterfaceId> = worlds
        .flat_map(|world| world.exports.values())
        .filter_map(|item| match item {
            WorldItem::Interface { id, .. } => Some(*id),
            _ => None,
        })
        .filter(|id| {
            let owner = resolve.interfaces[*id].package;
            owner.is_none_or(|owner| {
                !matches!(
                    resolve.packages[owner].name.namespace.as_str(),
                    "wasi" | "dacapo"
                )
            })
        })
        .collect();
    if exported.is_empty() && world.is_none() {
        package.interfaces.values().copied().collect()
    } else {
        exported
    }
}

fn workflow_name(
    resolve: &Resolve,
    id: InterfaceId,
    function: &Function,
) -> Result<String, String> {
    let interface = full_name(resolve, id).ok_or("an exported interface has no name")?;
    Ok(format!("{interface}.{}", function.name))
}

/// The constant of a workflow, and the name of its error type.
fn reference(
    shapes: &mut Shapes<'_>,
    name: String,
    interface: &Interface,
    function: &Function,
) -> Result<String, String> {
    if !matches!(function.kind, FunctionKind::Freestanding) {
        return Err(format!(
            "{name}: a workflow is a plain function, neither async nor a method of a resource"
        ));
    }
    let input = match function.params.as_slice() {
        [] => shapes.payload(None, &name)?,
        [param] => shapes.shape(&param.ty, &format!("{name}: {}", param.name))?,
        params => {
            return Err(format!(
                "{name}: a workflow takes at most one parameter, this function takes {}",
                params.len()
            ));
        }
    };
    let place = format!("{name}: result");
    let mut error = None;
    let output = match &function.result {
        Some(ty) => match shapes.bare(ty) {
            Some(TypeDefKind::Result(result)) => {
                if let Some(ty) = &result.err {
                    error = Some(shapes.shape(ty, &format!("{place}.err"))?);
                }
                shapes.payload(result.ok.as_ref(), &format!("{place}.ok"))?
            }
            _ => shapes.shape(ty, &place)?,
        },
        None => shapes.payload(None, &place)?,
    };
    let mut code = docs(&function.docs);
    let value = if input.form.is_none() && output.form.is_none() {
        format!("::dacapo_client::WorkflowRef::new({name:?})")
    } else {
        format!(
            "::dacapo_client::WorkflowRef::with_codec({name:?}, {JSON}encode::<{}, {}>, {JSON}decode::<{}, {}>)",
            input.ty,
            input.form(),
            output.ty,
            output.form()
        )
    };
    let _ = writeln!(
        code,
        "pub const {}: ::dacapo_client::WorkflowRef<{}, {}> = {value};",
        screaming(&function.name),
        input.ty,
        output.ty
    );
    let alias = upper_camel(&format!("{}-error", function.name));
    let is_taken = interface
        .types
        .keys()
        .any(|name| upper_camel(name) == alias);
    if let Some(error) = error.filter(|_| !is_taken) {
        let _ = writeln!(
            code,
            "/// The error of the workflow `{name}`.\npub type {alias} = {};",
            error.ty
        );
    }
    Ok(code)
}

/// What makes events of the types that declare them: the variant or enum `events` of the interface, and `<function>-events`.
fn events(resolve: &Resolve, id: InterfaceId) -> Vec<String> {
    let interface = &resolve.interfaces[id];
    let own = interface.functions.values();
    let own = own.map(|function| format!("{}-events", function.name));
    std::iter::once("events".to_owned())
        .chain(own)
        .filter(|name| {
            interface.types.get(name).is_some_and(|ty| {
                let kind = &resolve.types[*ty].kind;
                matches!(kind, TypeDefKind::Variant(_) | TypeDefKind::Enum(_))
            })
        })
        .map(|name| {
            format!(
                "impl ::dacapo_client::Event for {} {{}}\n",
                upper_camel(&name)
            )
        })
        .collect()
}

/// `ns:pkg/interface`, without a version.
fn full_name(resolve: &Resolve, id: InterfaceId) -> Option<String> {
    let interface = &resolve.interfaces[id];
    let package = &resolve.packages[interface.package?].name;
    Some(format!(
        "{}:{}/{}",
        package.namespace,
        package.name,
        interface.name.as_ref()?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(wit: &str) -> Result<String, String> {
        let mut resolve = Resolve::default();
        let main = resolve.push_source("test.wit", wit).unwrap();
        let workflows = workflow_interfaces(&resolve, main, None);
        code(&resolve, main, &workflows, &|_| true)
    }

    #[track_caller]
    fn refused(interface: &str, message: &str) {
        let wit =
            format!("package a:b@1.0.0; interface i {{ {interface} }} world w {{ export i; }}");
        assert_eq!(all(&wit).unwrap_err(), message);
    }

    #[test]
    fn what_a_workflow_cannot_be_is_an_error_that_names_its_place() {
        refused(
            "f: func(a: u8, b: u8);",
            "a:b/i.f: a workflow takes at most one parameter, this function takes 2",
        );
        refused(
            "resource cart; f: func(a: option<own<cart>>);",
            "a:b/i.f: a: a workflow cannot take or return a resource",
        );
        refused(
            "resource cart; record order { cart: list<own<cart>> } f: func(order: order);",
            "a:b/i.cart: a workflow cannot take or return a resource",
        );
        refused(
            "f: func() -> result<u8, stream<u8>>;",
            "a:b/i.f: result.err: a workflow cannot take or return a stream",
        );
        refused(
            "f: async func();",
            "a:b/i.f: a workflow is a plain function, neither async nor a method of a resource",
        );
    }

    #[test]
    fn wit_without_workflows_is_an_error() {
        let message = "the WIT has no workflows: no interface has a function";
        assert_eq!(all("package a:b; world w {}").unwrap_err(), message);
        assert_eq!(
            all("package a:b; interface i { type t = u8; }").unwrap_err(),
            message
        );
    }

    #[test]
    fn without_exports_every_interface_has_workflows() {
        let code =
            all("package a:b; interface i { f: func(); } interface j { g: func(); }").unwrap();
        assert!(
            code.contains("\"a:b/i.f\"") && code.contains("\"a:b/j.g\""),
            "{code}"
        );
    }

    #[test]
    fn only_exported_interfaces_have_workflows() {
        let code = all(
            "package a:b; interface i { f: func(); } interface j { g: func(); } world w { import i; export j; }",
        );
        let code = code.unwrap();
        assert!(
            !code.contains("a:b/i.f") && code.contains("\"a:b/j.g\""),
            "{code}"
        );
    }

    #[test]
    fn a_type_of_the_wit_keeps_its_name_before_that_of_an_error() {
        let code = all(
            "package a:b; interface i { record f-error { a: u8 } f: func() -> result<_, string>; }",
        )
        .unwrap();
        assert!(
            code.contains("pub struct FError") && !code.contains("pub type FError"),
            "{code}"
        );
    }

    #[test]
    fn a_workflow_that_is_not_wanted_has_no_reference() {
        let mut resolve = Resolve::default();
        let wit = "package a:b; interface i { f: func(); g: func(); }";
        let main = resolve.push_source("test.wit", wit).unwrap();
        let workflows = workflow_interfaces(&resolve, main, None);
        let only =
            |wanted: &'static str| code(&resolve, main, &workflows, &move |name| name == wanted);
        let text = only("a:b/i.g").unwrap();
        assert!(
            !text.contains("a:b/i.f") && text.contains("\"a:b/i.g\""),
            "{text}"
        );
        assert!(only("a:b/i.h").is_err());
    }
}
