//! The WIT that workflows are declared in.

use std::collections::BTreeSet;
use std::path::Path;

use dacapo_client_codegen::workflow_interfaces;
use wit_parser::{InterfaceId, PackageId, Resolve, WorldId, WorldItem};

use crate::RefsError;

/// WIT, and which of its interfaces have workflows.
#[derive(Debug, Clone)]
pub struct Wit {
    /// All packages.
    pub resolve: Resolve,
    /// The package of the workflows.
    pub package: PackageId,
    /// The interfaces whose functions are workflows.
    pub interfaces: BTreeSet<InterfaceId>,
}

impl Wit {
    /// Reads a file of WIT, or a directory of it with its `deps`. Workflows are what the world exports that is named; without one, what any
    /// world of the package exports, or all functions if no world exports anything.
    ///
    /// # Errors
    /// [`RefsError::BadWit`], [`RefsError::UnknownWorld`] and [`RefsError::NoWorkflows`].
    pub fn read(path: &Path, world: Option<&str>) -> Result<Self, RefsError> {
        let mut resolve = Resolve::default();
        let (package, _) = match resolve.push_path(path) {
            Ok(read) => read,
            Err(error) => {
                return Err(RefsError::BadWit {
                    path: path.to_owned(),
                    message: resolve.render_error(&error),
                });
            }
        };
        let worlds = &resolve.packages[package].worlds;
        let chosen = match world {
            None => None,
            Some(name) => Some(*worlds.get(name).ok_or_else(|| {
                let known: Vec<&str> = worlds.keys().map(String::as_str).collect();
                RefsError::UnknownWorld {
                    path: path.to_owned(),
                    world: name.to_owned(),
                    known: match known.as_slice() {
                        [] => "no world at all".to_owned(),
                        known => known.join(", "),
                    },
                }
            })?),
        };
        let interfaces = workflow_interfaces(&resolve, package, chosen);
        let of = match world {
            Some(world) => format!("the world {world} of {}", path.display()),
            None => format!("the WIT at {}", path.display()),
        };
        Self::of_interfaces(resolve, package, interfaces, of)
    }

    /// The WIT of a component, given by its world. Which of its exports are workflows is what `interfaces` says: their names with versions.
    ///
    /// # Errors
    /// [`RefsError::NoWorkflows`].
    pub fn of_component(
        resolve: Resolve,
        world: WorldId,
        is_workflow: &dyn Fn(&str) -> bool,
    ) -> Result<Self, RefsError> {
        let exports = resolve.worlds[world].exports.values();
        let interfaces: BTreeSet<InterfaceId> = exports
            .filter_map(|item| match item {
                WorldItem::Interface { id, .. } => Some(*id),
                _ => None,
            })
            .filter(|id| resolve.id_of(*id).is_some_and(|name| is_workflow(&name)))
            .collect();
        let package = interfaces
            .first()
            .and_then(|id| resolve.interfaces[*id].package);
        let of = "the component".to_owned();
        match package {
            Some(package) => Self::of_interfaces(resolve, package, interfaces, of),
            None => Err(RefsError::NoWorkflows { of }),
        }
    }

    fn of_interfaces(
        resolve: Resolve,
        package: PackageId,
        interfaces: BTreeSet<InterfaceId>,
        of: String,
    ) -> Result<Self, RefsError> {
        let has_functions = |id: &InterfaceId| !resolve.interfaces[*id].functions.is_empty();
        if !interfaces.iter().any(has_functions) {
            return Err(RefsError::NoWorkflows { of });
        }
        Ok(Self {
            resolve,
            package,
            interfaces,
        })
    }
}
