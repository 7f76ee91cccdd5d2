//! Reads a component's workflows and their types from its bytes, without an engine.

mod error;
mod imports;
#[cfg(test)]
mod tests;
mod types;

pub use error::DescribeError;

use dacapo_model::{Case, Descriptor, Param, Type, Workflow};
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{
    Function, FunctionKind, Interface, InterfaceId, PackageId, PackageMetadata, PackageName,
    Resolve, Type as WitType, TypeDefKind, World, WorldId, WorldItem, WorldKey,
};

use crate::host::typed_children::is_foreign;
use crate::sandbox::sha256_hex;
use types::Types;

/// A component may have this many bytes, with its debug sections. It is one value in the database.
pub const COMPONENT_MAX_BYTES: usize = 256 << 20;

/// The section in which `dacapo build` keeps what the WIT says, encoded as tools of WIT encode it for a package.
const DOCS: &str = "dacapo-docs";

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The component: the bytes as given, or made from the core module that was given.
    pub component: Vec<u8>,
    /// The SHA-256 of the component's bytes, in hex. It is what the component is known by.
    pub digest: String,
    /// Its package, its workflows with their types, and its imports.
    pub descriptor: Descriptor,
}

/// Reads the workflows of a component, or of a core module with component type information, which is made into a component first.
///
/// Each function of each exported interface is a workflow.
///
/// # Errors
/// The bytes are not a component that can be deployed; the text says what to do about it.
pub fn describe(bytes: &[u8]) -> Result<Described, DescribeError> {
    let (component, resolve, world) = decode(bytes)?;
    let descriptor = descriptor(&resolve, world)?;
    Ok(Described {
        digest: sha256_hex(&component),
        component,
        descriptor,
    })
}

/// The WIT of a component that [`describe`] takes: all packages, and the component's own world.
///
/// # Errors
/// As for [`describe`], of which this is the first half.
pub fn wit_of(bytes: &[u8]) -> Result<(Resolve, WorldId), DescribeError> {
    let (_, resolve, world) = decode(bytes)?;
    Ok((resolve, world))
}

/// What a component would say of itself that exports these interfaces of the package: for workflows that are not built yet, or not by
/// whoever asks.
///
/// # Errors
/// A function cannot be a workflow.
pub fn describe_interfaces(
    resolve: &Resolve,
    package: PackageId,
    interfaces: impl IntoIterator<Item = InterfaceId>,
) -> Result<Descriptor, DescribeError> {
    let package = &resolve.packages[package].name;
    let mut workflows = Vec::new();
    for id in interfaces {
        let interface = &resolve.interfaces[id];
        let (Some(name), Some(owner)) = (&interface.name, interface.package) else {
            return Err(DescribeError::UnnamedInterface {
                name: interface.name.clone().unwrap_or_default(),
            });
        };
        let owner = &resolve.packages[owner].name;
        if interface.functions.is_empty() {
            continue;
        }
        if owner != package {
            return Err(DescribeError::TwoPackages {
                first: package.to_string(),
                second: owner.to_string(),
            });
        }
        let full_name = format!("{}:{}/{name}", owner.namespace, owner.name);
        add_workflows(resolve, interface, &full_name, &mut workflows)?;
    }
    if workflows.is_empty() {
        return Err(DescribeError::NoWorkflows {
            exports: Vec::new(),
        });
    }
    Ok(Descriptor {
        package: format!("{}:{}", package.namespace, package.name),
        version: package.version.as_ref().map(ToString::to_string),
        workflows,
        imports: Vec::new(),
        children: Vec::new(),
    })
}

fn decode(bytes: &[u8]) -> Result<(Vec<u8>, Resolve, WorldId), DescribeError> {
    if bytes.len() > COMPONENT_MAX_BYTES {
        return Err(DescribeError::TooLarge { bytes: bytes.len() });
    }
    let component = match encoding(bytes)? {
        Encoding::Component => bytes.to_vec(),
        Encoding::Module => componentize(bytes)?,
    };
    let features = WasmFeatures::default() | WasmFeatures::CM_FIXED_LENGTH_LISTS;
    Validator::new_with_features(features)
        .validate_all(&component)
        .map_err(|error| DescribeError::invalid(&error, bytes))?;
    let decoded = wit_component::decode(&component).map_err(|error| DescribeError::Invalid {
        message: format!("{error:#}"),
    })?;
    match decoded {
        DecodedWasm::Component(mut resolve, world) => {
            add_docs(&component, &mut resolve, world);
            Ok((component, resolve, world))
        }
        DecodedWasm::WitPackage(..) => Err(DescribeError::WitPackage),
    }
}

/// Adds what the WIT said of which the component was made, if it says so in its section for that, as `dacapo build` makes it.
fn add_docs(component: &[u8], resolve: &mut Resolve, world: WorldId) {
    let Some(docs) = section(component, DOCS) else {
        return;
    };
    let mut exports = resolve.worlds[world].exports.values();
    let package = exports.find_map(|item| match item {
        WorldItem::Interface { id, .. } => {
            let interface = &resolve.interfaces[*id];
            let package = interface.package?;
            let is_ours = resolve.packages[package].name.namespace != "wasi";
            (is_ours && !interface.functions.is_empty()).then_some(package)
        }
        _ => None,
    });
    if let (Some(package), Ok(docs)) = (package, PackageMetadata::decode(docs)) {
        // Where they speak of what the component has not, the rest of them is passed over: nothing depends on it.
        let _ = docs.inject(resolve, package);
    }
}

/// A custom section of the component itself, and not of what is in it.
fn section<'a>(component: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.checked_sub(1)?,
            Payload::CustomSection(section) if depth == 0 && section.name() == name => {
                return Some(section.data());
            }
            _ => {}
        }
    }
    None
}

fn encoding(bytes: &[u8]) -> Result<Encoding, DescribeError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(DescribeError::not_wasm(bytes));
    }
    match Parser::new(0).parse_all(bytes).next() {
        Some(Ok(Payload::Version { encoding, .. })) => Ok(encoding),
        Some(Err(error)) => Err(DescribeError::invalid(&error, bytes)),
        _ => Err(DescribeError::not_wasm(bytes)),
    }
}

fn componentize(module: &[u8]) -> Result<Vec<u8>, DescribeError> {
    let has_types = Parser::new(0).parse_all(module).any(|payload| {
        matches!(payload, Ok(Payload::CustomSection(section)) if section.name().starts_with("component-type"))
    });
    if !has_types {
        return Err(DescribeError::NoTypeInfo);
    }
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| DescribeError::Componentize {
            message: format!("{error:#}"),
        })
}

fn descriptor(resolve: &Resolve, world: WorldId) -> Result<Descriptor, DescribeError> {
    let world = &resolve.worlds[world];
    let imports = imports::check(resolve, world)?;
    let children = children(resolve, world)?;
    let mut package: Option<&PackageName> = None;
    let mut workflows = Vec::new();
    for (key, item) in &world.exports {
        if is_left_by_a_toolchain(resolve, key, item) {
            continue;
        }
        let id = match item {
            WorldItem::Interface { id, .. } => *id,
            WorldItem::Function(function) => {
                return Err(DescribeError::WorldFunction {
                    function: function.name.clone(),
                });
            }
            WorldItem::Type { .. } => continue,
        };
        let interface = &resolve.interfaces[id];
        if interface.functions.is_empty() {
            continue;
        }
        let (WorldKey::Interface(_), Some(name), Some(owner)) =
            (key, &interface.name, interface.package)
        else {
            return Err(DescribeError::UnnamedInterface {
                name: resolve.name_world_key(key),
            });
        };
        let owner = &resolve.packages[owner].name;
        // What a language's runtime exports for itself, such as `wasi:cli/run`, is not a workflow.
        if owner.namespace == "wasi" {
            continue;
        }
        match package {
            Some(package) if package != owner => {
                return Err(DescribeError::TwoPackages {
                    first: package.to_string(),
                    second: owner.to_string(),
                });
            }
            _ => package = Some(owner),
        }
        let full_name = format!("{}:{}/{name}", owner.namespace, owner.name);
        add_workflows(resolve, interface, &full_name, &mut workflows)?;
    }
    let Some(package) = package else {
        let exports = world.exports.keys();
        return Err(DescribeError::NoWorkflows {
            exports: exports.map(|key| resolve.name_world_key(key)).collect(),
        });
    };
    Ok(Descriptor {
        package: format!("{}:{}", package.namespace, package.name),
        version: package.version.as_ref().map(ToString::to_string),
        workflows,
        imports,
        children,
    })
}

/// What the tools that make components of JavaScript (`init`) and of Python (`exports`, with `init`) call while they build, and leave there.
fn is_left_by_a_toolchain(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> bool {
    let takes = |function: &Function, first: &str| {
        let param = function.params.first();
        function.name == "init" && param.is_some_and(|param| param.name == first)
    };
    match (key, item) {
        (WorldKey::Name(_), WorldItem::Function(function)) => takes(function, "shim"),
        (WorldKey::Name(name), WorldItem::Interface { id, .. }) if name == "exports" => {
            let functions = &resolve.interfaces[*id].functions;
            functions.len() == 1 && functions.values().all(|only| takes(only, "app-name"))
        }
        _ => false,
    }
}

/// The workflows of other packages that the component calls.
fn children(resolve: &Resolve, world: &World) -> Result<Vec<Workflow>, DescribeError> {
    let mut children = Vec::new();
    for (key, item) in &world.imports {
        let import = resolve.name_world_key(key);
        if !is_foreign(&import) {
            continue;
        }
        let (WorldItem::Interface { id, .. }, WorldKey::Interface(_)) = (item, key) else {
            return Err(DescribeError::ForeignImports {
                names: vec![format!("`{import}`")],
            });
        };
        let interface = import.split('@').next().unwrap_or(&import);
        add_workflows(resolve, &resolve.interfaces[*id], interface, &mut children)?;
    }
    Ok(children)
}

fn add_workflows(
    resolve: &Resolve,
    interface: &Interface,
    interface_name: &str,
    workflows: &mut Vec<Workflow>,
) -> Result<(), DescribeError> {
    for function in interface.functions.values() {
        let name = format!("{interface_name}.{}", function.name);
        match function.kind {
            FunctionKind::Freestanding => {}
            FunctionKind::AsyncFreestanding => return Err(DescribeError::Async { function: name }),
            _ => {
                // `[method]order.total` and the like come with a resource.
                return Err(DescribeError::Resource {
                    function: name,
                    path: function.name.clone(),
                });
            }
        }
        let mut workflow = workflow(resolve, interface_name, name, function)?;
        workflow.events = events(resolve, interface, &workflow.name, function)?;
        workflows.push(workflow);
    }
    Ok(())
}

fn workflow(
    resolve: &Resolve,
    interface: &str,
    name: String,
    function: &Function,
) -> Result<Workflow, DescribeError> {
    if function.params.len() > 1 {
        return Err(DescribeError::TooManyParameters {
            function: name,
            count: function.params.len(),
        });
    }
    let mut types = Types::new(resolve, &name);
    let param = match function.params.first() {
        Some(param) => Some(Param {
            name: param.name.clone(),
            ty: types.lower(&param.ty, &param.name)?,
        }),
        None => None,
    };
    let result = match &function.result {
        Some(ty) => Some(types.lower(ty, "result")?),
        None => None,
    };
    Ok(Workflow {
        name,
        interface: interface.to_owned(),
        function: function.name.clone(),
        param,
        result,
        events: Vec::new(),
        docs: types::docs(&function.docs),
    })
}

/// The events that a workflow of this interface declares: the cases of its variant, or enum, `<function>-events`, or else of the
/// interface's `events`. Other types of these names declare nothing.
fn events(
    resolve: &Resolve,
    interface: &Interface,
    workflow: &str,
    function: &Function,
) -> Result<Vec<Case>, DescribeError> {
    let own = format!("{}-events", function.name);
    let declared = [own.as_str(), "events"].into_iter().find_map(|name| {
        let id = interface.types.get(name)?;
        let cases = matches!(
            resolve.types[*id].kind,
            TypeDefKind::Variant(_) | TypeDefKind::Enum(_)
        );
        cases.then_some((name, *id))
    });
    let Some((name, id)) = declared else {
        return Ok(Vec::new());
    };
    let ty = Types::new(resolve, workflow).lower(&WitType::Id(id), name)?;
    Ok(match ty {
        Type::Variant(variant) => variant.cases,
        Type::Enum(names) => {
            let case = |name| Case {
                name,
                ty: None,
                docs: None,
            };
            names.cases.into_iter().map(case).collect()
        }
        _ => Vec::new(),
    })
}
