//! The project's world together with all that Dacapo offers, for tools that need the whole of it in one directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use wit_parser::{Resolve, WorldId, WorldItem};

use crate::assets;
use crate::error::KitError;

/// The name of the world that is made of the project's.
pub(crate) const GUEST: &str = "dacapo-guest";

const CONTRACT: &str = "dacapo:workflow/imports@0.1.0";

/// The world that is to be built, with its package and all that it depends on.
pub(crate) struct World {
    /// A directory with all of it.
    pub(crate) directory: PathBuf,
    pub(crate) resolve: Resolve,
    pub(crate) id: WorldId,
}

/// Writes the project's WIT into a directory, with the contract beside its dependencies, and a world that has the imports of both.
pub(crate) fn write(
    project: &Path,
    to: &Path,
    named: Option<&str>,
    extra_imports: &[&str],
) -> Result<World, KitError> {
    if !project.is_dir() {
        return Err(KitError::Project {
            message: format!("there is no directory {}", project.display()),
            hint: "a project describes its workflows there, in WIT: `dacapo new` shows how"
                .to_owned(),
        });
    }
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(KitError::file("remove", to))?;
    }
    copy(project, to)?;
    assets::write(assets::contract(), &to.join("deps/dacapo-workflow"))?;
    for (name, text) in crate::languages::wasi() {
        assets::write_file(
            &to.join("deps").join(name).join("package.wit"),
            text.as_bytes(),
        )?;
    }
    let (resolve, worlds) = parse(to, project)?;
    let name = choose(&resolve, &worlds, named, project)?;
    let mut text = format!(
        "// {name}, and all that Dacapo offers.\nworld {GUEST} {{\n    include {name};\n    include {CONTRACT};\n"
    );
    for import in extra_imports {
        let _ = writeln!(text, "    import {import};");
    }
    text.push_str("}\n");
    assets::write_file(&to.join(format!("{GUEST}.wit")), text.as_bytes())?;
    let (resolve, worlds) = parse(to, project)?;
    let found = worlds.iter().find(|id| resolve.worlds[**id].name == GUEST);
    let id =
        *found.ok_or_else(|| KitError::Wit(format!("{} has no world {GUEST}", to.display())))?;
    let world = World {
        directory: to.to_owned(),
        resolve,
        id,
    };
    check(&world, &name, project)?;
    Ok(world)
}

/// Reads the copy; what is wrong with it is said of the original.
fn parse(directory: &Path, original: &Path) -> Result<(Resolve, Vec<WorldId>), KitError> {
    let mut resolve = Resolve::default();
    let (package, _) = match resolve.push_dir(directory) {
        Ok(read) => read,
        Err(error) => {
            let text = resolve.render_error(&error);
            return Err(KitError::Wit(of_original(&text, directory, original)));
        }
    };
    let worlds = resolve.packages[package].worlds.values().copied().collect();
    Ok((resolve, worlds))
}

fn of_original(text: &str, copy: &Path, original: &Path) -> String {
    text.replace(&copy.display().to_string(), &original.display().to_string())
}

/// Looks for what no component can be deployed with, since the languages' own tools would stumble over it in words of theirs.
fn check(world: &World, name: &str, original: &Path) -> Result<(), KitError> {
    let resolve = &world.resolve;
    let exports = resolve.worlds[world.id].exports.values();
    let functions = exports.filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(resolve.interfaces[*id].functions.values()),
        _ => None,
    });
    let mut functions = functions.flatten().peekable();
    if functions.peek().is_none() {
        return Err(KitError::Project {
            message: format!(
                "the world {name} in {} exports no interface that has a function, and so no workflow",
                original.display()
            ),
            hint: "workflows are functions of an interface: `interface api { place: func(order: order) -> receipt; }`, and in the \
                   world: `export api;`"
                .to_owned(),
        });
    }
    for function in functions {
        let count = function.params.len();
        if count > 1 {
            let at = resolve.render_location(function.span);
            return Err(KitError::Project {
                message: format!(
                    "{}: the workflow `{}` has {count} parameters, it may have one",
                    of_original(&at, &world.directory, original),
                    function.name
                ),
                hint: "put them into a record, and take that".to_owned(),
            });
        }
    }
    Ok(())
}

/// The name of the world that the project implements.
fn choose(
    resolve: &Resolve,
    worlds: &[WorldId],
    named: Option<&str>,
    project: &Path,
) -> Result<String, KitError> {
    let names: Vec<&str> = worlds
        .iter()
        .map(|id| resolve.worlds[*id].name.as_str())
        .collect();
    let known = names.join(", ");
    match named {
        Some(named) if names.contains(&named) => Ok(named.to_owned()),
        Some(named) => Err(KitError::Project {
            message: format!("{} has no world {named}", project.display()),
            hint: format!("name one of {known} in dacapo.toml: [build] world = \"…\""),
        }),
        None => match names.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => Err(KitError::Project {
                message: format!("{} has no world", project.display()),
                hint:
                    "write which interfaces the component exports: `world orders { export api; }`"
                        .to_owned(),
            }),
            _ => Err(KitError::Project {
                message: format!("{} has several worlds: {known}", project.display()),
                hint: "name one of them in dacapo.toml: [build] world = \"…\"".to_owned(),
            }),
        },
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), KitError> {
    for entry in std::fs::read_dir(from).map_err(KitError::file("read", from))? {
        let path = entry.map_err(KitError::file("read", from))?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let target = to.join(name);
        if path.is_dir() {
            copy(&path, &target)?;
        } else if path.extension().is_some_and(|extension| extension == "wit") {
            let text = std::fs::read(&path).map_err(KitError::file("read", &path))?;
            assets::write_file(&target, &text)?;
        }
    }
    Ok(())
}
