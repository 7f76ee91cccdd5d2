//! Python: componentize-py puts the interpreter and the code into one component.

use std::path::PathBuf;

use serde_json::Value;

use crate::assets;
use crate::error::KitError;
use crate::languages::ProjectWords;
use crate::languages::shapes::{self, Names};
use crate::project::Project;
use crate::tool::Tool;
use crate::world::{GUEST, World};

pub(crate) const PROJECT: ProjectWords = ProjectWords {
    name: "Python",
    entry: "workflows.py",
    setup: "    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt   # once",
    ignored: &["/.venv/", "__pycache__/"],
};

/// The interpreter's generator is seeded from here in each instance.
pub(crate) const IMPORTS: &[&str] = &["wasi:random/random@0.2.0"];

/// Builds the component and answers its bytes.
pub(crate) fn build(project: &Project, world: &World) -> Result<Vec<u8>, KitError> {
    let entry = project.entry(PROJECT.entry)?;
    let module = entry.file_stem().unwrap_or_default();
    let code = entry.parent().unwrap_or(project.root());
    bindings(project, world)?;
    let shapes = shapes(project, world)?;
    let made = project.support().join("component.wasm");
    componentize_py(project)?
        .args(["--quiet", "--wit-path"])
        .arg(&world.directory)
        .args(["--world", GUEST, "componentize"])
        .arg(module)
        .arg("--python-path")
        .arg(code)
        .arg("--python-path")
        .arg(project.kit())
        .arg("--python-path")
        .arg(shapes)
        .args(packages(project))
        .arg("--output")
        .arg(&made)
        .hint("a class that the module has not is that of an interface in wit/, in PascalCase: @workflows class NAME")
        .run()?;
    std::fs::read(&made).map_err(KitError::file("read", &made))
}

/// Writes a module for the kit, which holds what workflows return against it: the tool would end the component without a word of its own.
fn shapes(project: &Project, world: &World) -> Result<PathBuf, KitError> {
    let directory = project.support().join("shapes");
    let mut all = shapes::shapes(&world.resolve, world.id, Names::Snake);
    for parts in all.values_mut().filter_map(Value::as_object_mut) {
        // The tool has checked what comes in.
        parts.remove("input");
    }
    // What JSON writes so, as a text of JSON, is a text of Python too.
    let text = Value::String(Value::Object(all).to_string());
    let module = format!(
        "\"\"\"Written by `dacapo build` from the project's WIT.\"\"\"\n\nSHAPES = {text}\n"
    );
    assets::write_file(&directory.join("dacapo_shapes.py"), module.as_bytes())?;
    Ok(directory)
}

/// What type checkers read of the project's own types; the component is made without it.
fn bindings(project: &Project, world: &World) -> Result<(), KitError> {
    let to = project.support().join("bindings");
    if to.exists() {
        std::fs::remove_dir_all(&to).map_err(KitError::file("remove", &to))?;
    }
    componentize_py(project)?
        .args(["--quiet", "--wit-path"])
        .arg(&world.directory)
        .args(["--world", GUEST, "bindings"])
        .arg(&to)
        .run()
}

fn componentize_py(project: &Project) -> Result<Tool, KitError> {
    let tool = Tool::find(
        "componentize-py",
        &[project.root().join(".venv/bin")],
        "to make a component of Python",
        "type: python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1",
    )?;
    // Its own frames are in nobody's code.
    Ok(tool.env("RUST_BACKTRACE", "0"))
}

/// Packages that the project's environment has, as arguments.
fn packages(project: &Project) -> Vec<PathBuf> {
    let libraries = project.root().join(".venv/lib");
    let entries = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    let sites = entries.map(|entry| entry.path().join("site-packages"));
    sites
        .filter(|site| site.is_dir())
        .flat_map(|site| [PathBuf::from("--python-path"), site])
        .collect()
}
