//! TypeScript and JavaScript: esbuild makes one file of the code, an engine and that file become the component.

mod sources;
mod types;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::KitError;
use crate::languages::ProjectWords;
use crate::languages::shapes::{self, Names};
use crate::project::{Engine, Project};
use crate::tool::Tool;
use crate::world::{GUEST, World};

pub(crate) const PROJECT: ProjectWords = ProjectWords {
    name: "TypeScript",
    entry: "src/workflows.ts",
    setup: "    npm install                 # once; it takes Node.js 20 or later",
    ignored: &["/node_modules/"],
};

/// The engine's own generator was frozen when the component was made.
pub(crate) const IMPORTS: &[&str] = &["wasi:random/random@0.2.0"];

/// Builds the component and answers its bytes.
pub(crate) fn build(project: &Project, world: &World) -> Result<Vec<u8>, KitError> {
    let entry = project.entry(PROJECT.entry)?;
    let bundled = project.support().join("bundle.js");
    let made = project.support().join("component.wasm");
    bundle(project, world, &entry, &bundled)?;
    match project.settings().engine {
        Engine::QuickJs => quickjs(project, world, &bundled, &made)?,
        Engine::SpiderMonkey => spidermonkey(project, world, &bundled, &made)?,
    }
    std::fs::read(&made).map_err(KitError::file("read", &made))
}

/// Writes the project's own types, for editors and type checkers.
pub(crate) fn prepare(project: &Project, world: &World) -> Result<(), KitError> {
    let directory = project.support().join("types");
    for (interface, text) in
        types::declarations(&world.resolve, world.id, project.settings().engine)
    {
        crate::assets::write_file(
            &directory.join(format!("{interface}.d.ts")),
            text.as_bytes(),
        )?;
    }
    Ok(())
}

/// What the engines have, and the kit must not leave to them: `async` functions become generators over the kit's own promises, since there is no
/// event loop whose promises somebody would settle. All else stays as `tsconfig.json` of a new project has it, too.
const ASYNC: [&str; 4] = [
    "async-await",
    "async-generator",
    "for-await",
    "top-level-await",
];

/// What goes out of workflows is held against this. Of what comes in only integers of 64 bits are of interest, where numbers are all that the
/// engine has for them.
fn shapes(world: &World, engine: Engine) -> Map<String, Value> {
    let mut all = shapes::shapes(&world.resolve, world.id, Names::Camel);
    for parts in all.values_mut().filter_map(Value::as_object_mut) {
        let input = parts.remove("input").as_ref().map(shapes::wide);
        if let Some(input) = input.filter(|shape| engine == Engine::QuickJs && !shape.is_null()) {
            parts.insert("input".to_owned(), input);
        }
    }
    all
}

fn bundle(project: &Project, world: &World, entry: &Path, to: &Path) -> Result<(), KitError> {
    let engine = match project.settings().engine {
        Engine::QuickJs => "quickjs",
        Engine::SpiderMonkey => "spidermonkey",
    };
    let shapes = Value::Object(shapes(world, project.settings().engine));
    let metafile = project.support().join("bundle.json");
    node_tool(project, "esbuild", "to make one file of the code")?
        .arg(entry)
        .args([
            "--bundle",
            "--format=esm",
            "--target=es2022",
            "--log-level=warning",
            "--sourcemap=external",
            "--sources-content=false",
        ])
        .args(ASYNC.map(|feature| format!("--supported:{feature}=false")))
        .args(["--external:dacapo:*", "--external:wasi:*"])
        .arg(format!(
            "--alias:dacapo={}",
            absolute(&project.kit().join("src/index.ts")).display()
        ))
        .arg(format!("--define:DACAPO_ENGINE=\"{engine}\""))
        .arg(format!("--define:DACAPO_SHAPES={shapes}"))
        .arg(format!("--outfile={}", to.display()))
        .arg(format!("--metafile={}", metafile.display()))
        .run()?;
    let text = std::fs::read(&metafile).map_err(KitError::file("read", &metafile))?;
    check_exports(entry, &text, world)?;
    // Its lines are where the engines say that something was thrown.
    let map = to.with_extension("js.map");
    let map = std::fs::read(&map).map_err(KitError::file("read", &map))?;
    if let Some(statement) = sources::statement(&map) {
        let mut text = std::fs::read(to).map_err(KitError::file("read", to))?;
        text.extend(statement.as_bytes());
        std::fs::write(to, text).map_err(KitError::file("write", to))?;
    }
    Ok(())
}

/// The engines say so only when a workflow is called.
fn check_exports(entry: &Path, metafile: &[u8], world: &World) -> Result<(), KitError> {
    let metafile: Value = serde_json::from_slice(metafile)
        .map_err(|error| KitError::Wit(format!("esbuild's metafile is not JSON: {error}")))?;
    let outputs = metafile["outputs"].as_object().into_iter().flatten();
    let exported: Vec<&str> = outputs
        .flat_map(|(_, output)| output["exports"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    for (interface, name) in types::exports(&world.resolve, world.id) {
        // An interface may go by its full name, too.
        if exported.iter().any(|one| *one == name || one.contains('/')) {
            continue;
        }
        let there = match exported.as_slice() {
            [] => "exports nothing".to_owned(),
            names => format!("exports `{}`", names.join("`, `")),
        };
        return Err(KitError::Project {
            message: format!(
                "{} {there}; expected `{name}`, which has the workflows of the interface {interface} in wit/",
                entry.display()
            ),
            hint: format!(
                "write: export const {name} = workflows<{}>({{ … }})",
                types::pascal(&interface)
            ),
        });
    }
    Ok(())
}

fn quickjs(project: &Project, world: &World, bundled: &Path, made: &Path) -> Result<(), KitError> {
    node_tool(
        project,
        "componentize-qjs",
        "to make a component of JavaScript",
    )?
    .arg("--wit")
    .arg(absolute(&world.directory))
    .arg("--js")
    .arg(absolute(bundled))
    .args(["--world", GUEST, "--sync", "--output"])
    .arg(absolute(made))
    .run()
}

/// Its command cannot say what its library can.
fn spidermonkey(
    project: &Project,
    world: &World,
    bundled: &Path,
    made: &Path,
) -> Result<(), KitError> {
    let modules = project
        .root()
        .join("node_modules/@bytecodealliance/componentize-js");
    if !modules.is_dir() {
        return Err(KitError::MissingTool {
            program: "@bytecodealliance/componentize-js".to_owned(),
            purpose: "to make a component with SpiderMonkey".to_owned(),
            install: "type: npm install --save-dev @bytecodealliance/componentize-js @bytecodealliance/preview2-shim"
                .to_owned(),
        });
    }
    let script = project.support().join("componentize.mjs");
    crate::assets::write_file(&script, include_bytes!("typescript/componentize.mjs"))?;
    Tool::find("node", &[], "to run componentize-js", NODE)?
        .directory(project.root())
        .arg(absolute(&script))
        .arg(absolute(&world.directory))
        .arg(GUEST)
        .arg(absolute(bundled))
        .arg(absolute(made))
        .run()
}

const NODE: &str =
    "install Node.js 20 or later from https://nodejs.org, and then type: npm install";

fn node_tool(project: &Project, name: &str, purpose: &str) -> Result<Tool, KitError> {
    let own = project.root().join("node_modules/.bin");
    // What npm installs is run by it as well.
    Tool::find("node", &[], purpose, NODE)?;
    let tool = Tool::find(name, &[own], purpose, "type: npm install")?;
    Ok(tool.directory(project.root()))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
