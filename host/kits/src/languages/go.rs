//! Go: the go command makes a module, which becomes a component here.

mod bindings;

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::WorldItem;

use crate::assets;
use crate::error::KitError;
use crate::languages::ProjectWords;
use crate::project::Project;
use crate::tool::Tool;
use crate::world::World;

pub(crate) const PROJECT: ProjectWords = ProjectWords {
    name: "Go",
    entry: "workflows.go",
    setup: "    go version                  # 1.24 or later, and nothing else is needed",
    ignored: &[],
};

/// The oldest Go whose modules can export functions: 1.24.
const OLDEST_MINOR: u32 = 24;

/// Builds the component and answers its bytes.
pub(crate) fn build(project: &Project, world: &World) -> Result<Vec<u8>, KitError> {
    let entry = project.entry(PROJECT.entry)?;
    check_version()?;
    check_module(project)?;
    let main = project.support().join("main").join("main.go");
    let packages = packages(project, world, entry.parent().unwrap_or(project.root()))?;
    let text = bindings::main(&world.resolve, world.id, &packages);
    assets::write_file(&main, text.as_bytes())?;
    let made = absolute(&project.support().join("module.wasm"));
    go(project)?
        .args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-buildvcs=false",
        ])
        // Names for debuggers are left out; those in traces stay.
        .args(["-ldflags=-s -w", "-o"])
        .arg(&made)
        .arg(absolute(&main))
        .hint("what .dacapo/main/main.go does not find, or finds with another type, are workflows of wit/ as functions of the package")
        .run()?;
    let module = std::fs::read(&made).map_err(KitError::file("read", &made))?;
    componentize(module, world)
}

/// Writes the bindings into the kit's module: of what Dacapo offers, and of the project's own types.
pub(crate) fn prepare(project: &Project, world: &World) -> Result<(), KitError> {
    for (path, text) in bindings::files(&world.resolve, world.id)? {
        assets::write_file(&project.kit().join(path), text.as_bytes())?;
    }
    Ok(())
}

fn go(project: &Project) -> Result<Tool, KitError> {
    let go = Tool::find("go", &[], "to build Go", INSTALL)?;
    Ok(go
        .directory(project.root())
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm"))
}

const INSTALL: &str = "install Go 1.24 or later from https://go.dev/dl";

/// An older go command has messages about this that do not say what to do.
fn check_version() -> Result<(), KitError> {
    let version = Tool::find("go", &[], "to build Go", INSTALL)?
        // Not in the project, whose go.mod may ask for another one.
        .directory(&std::env::temp_dir())
        .env("GOTOOLCHAIN", "local")
        .args(["env", "GOVERSION"])
        .output()?;
    if is_new_enough(&version) {
        return Ok(());
    }
    Err(KitError::MissingTool {
        program: format!("Go 1.{OLDEST_MINOR} or later"),
        purpose: format!("to build Go; there is {}", version.trim()),
        install: INSTALL.to_owned(),
    })
}

/// Whether a version such as `go1.24.3` will do; one that cannot be read is the go command's own affair.
fn is_new_enough(version: &str) -> bool {
    let Some(rest) = version.trim().strip_prefix("go1.") else {
        return true;
    };
    let end = rest.find(|char: char| !char.is_ascii_digit());
    let minor = &rest[..end.unwrap_or(rest.len())];
    minor
        .parse::<u32>()
        .map_or(true, |minor| minor >= OLDEST_MINOR)
}

/// The go command's messages about a module that does not know the kit name no way out.
fn check_module(project: &Project) -> Result<(), KitError> {
    let path = project.root().join("go.mod");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(KitError::Project {
                message: format!(
                    "there is no {}: a project in Go is a module",
                    path.display()
                ),
                hint: format!("type: go mod init NAME, and then: {EDIT}"),
            });
        }
        Err(error) => return Err(KitError::file("read", &path)(error)),
    };
    if knows_the_kit(&text) {
        return Ok(());
    }
    Err(KitError::Project {
        message: format!("{} does not say where the kit `dacapo` is", path.display()),
        hint: format!("type: {EDIT}"),
    })
}

const EDIT: &str = "go mod edit -require=dacapo@v0.0.0 -replace=dacapo=./.dacapo/guest-sdk/go";

fn knows_the_kit(go_mod: &str) -> bool {
    go_mod.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("replace").unwrap_or(line).trim_start();
        let replaced = line.split("=>").next().unwrap_or_default();
        line.contains("=>") && replaced.split_whitespace().next() == Some("dacapo")
    })
}

/// The import path of the package that has the workflows of each exported interface: the one in the directory with the interface's name if
/// there is one, and that of the entry otherwise.
fn packages(project: &Project, world: &World, usual: &Path) -> Result<Vec<String>, KitError> {
    let exports = world.resolve.worlds[world.id].exports.values();
    let interfaces = exports.filter_map(|item| match item {
        WorldItem::Interface { id, .. } => world.resolve.interfaces[*id].name.as_deref(),
        _ => None,
    });
    interfaces
        .map(|interface| {
            let own = usual.join(interface.replace('-', ""));
            let directory = if has_go(&own) { &own } else { usual };
            import_path(project, directory)
        })
        .collect()
}

fn has_go(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .any(|path| path.extension().is_some_and(|extension| extension == "go"))
}

fn import_path(project: &Project, directory: &Path) -> Result<String, KitError> {
    let listed = go(project)?
        .args(["list", "-f", "{{.Name}} {{.ImportPath}}"])
        .arg(absolute(directory))
        .output()?;
    match listed.trim().split_once(' ') {
        Some(("main", _)) => Err(KitError::Project {
            message: format!(
                "the package in {} is a program: `package main`",
                directory.display()
            ),
            hint: "workflows are functions of a package that others import: `package workflows`"
                .to_owned(),
        }),
        Some((_, path)) => Ok(path.to_owned()),
        None => Err(KitError::Wit(format!(
            "go list does not name the package in {}: {listed:?}",
            directory.display()
        ))),
    }
}

/// Puts the world's types around the module, and what it needs of WASI behind it.
fn componentize(mut module: Vec<u8>, world: &World) -> Result<Vec<u8>, KitError> {
    use wasi_preview1_component_adapter_provider::{
        WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as NAME,
        WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
    };
    let encoding = StringEncoding::UTF8;
    embed_component_metadata(&mut module, &world.resolve, world.id, encoding)
        .and_then(|()| {
            ComponentEncoder::default()
                .validate(true)
                .module(&module)?
                .adapter(NAME, ADAPTER)?
                .encode()
        })
        .map_err(|error| KitError::Wit(format!("the module makes no component: {error:#}")))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_that_cannot_export_functions_is_too_old() {
        for good in [
            "go1.24",
            "go1.27.3\n",
            "go1.24rc1",
            "go2.0",
            "devel go1.28-abc",
        ] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["go1.23.9\n", "go1.9", "go1.21rc2"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[test]
    fn a_module_must_say_where_the_kit_is() {
        for good in [
            "module a\nreplace dacapo => ./.dacapo/guest-sdk/go\n",
            "replace (\n\tdacapo v0.0.0 => ../kit\n)\n",
        ] {
            assert!(knows_the_kit(good), "{good}");
        }
        for bad in [
            "module dacapo\n",
            "require dacapo v0.0.0\n",
            "replace dacapo-x => ../kit\n",
        ] {
            assert!(!knows_the_kit(bad), "{bad}");
        }
    }
}
