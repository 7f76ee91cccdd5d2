//! Rust: cargo makes the component itself.

use std::path::PathBuf;

use crate::error::KitError;
use crate::languages::ProjectWords;
use crate::project::Project;
use crate::tool::Tool;

pub(crate) const PROJECT: ProjectWords = ProjectWords {
    name: "Rust",
    entry: "src/lib.rs",
    setup: "    rustup target add wasm32-wasip2   # once",
    ignored: &["/target/"],
};

const TARGET: &str = "wasm32-wasip2";

/// Builds the component and answers its bytes.
pub(crate) fn build(project: &Project) -> Result<Vec<u8>, KitError> {
    let cargo = || {
        Tool::find(
            "cargo",
            &[],
            "to build Rust",
            "install Rust from https://rustup.rs",
        )
        .map(|cargo| cargo.directory(project.root()))
    };
    check_target()?;
    cargo()?
        .args(["build", "--release", "--target", TARGET])
        .run()?;
    let metadata = cargo()?
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()?;
    let file = artifact(&metadata, project)?;
    std::fs::read(&file).map_err(KitError::file("read", &file))
}

/// cargo's own message for a target that is not installed is long, and does not say what to type.
fn check_target() -> Result<(), KitError> {
    let rustc = Tool::find(
        "rustc",
        &[],
        "to build Rust",
        "install Rust from https://rustup.rs",
    )?;
    let libraries = rustc
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    if PathBuf::from(libraries.trim()).is_dir() {
        return Ok(());
    }
    Err(KitError::MissingTool {
        program: format!("Rust's target {TARGET}"),
        purpose: "to build Rust for components".to_owned(),
        install: format!("type: rustup target add {TARGET}"),
    })
}

/// The file that cargo has made, by what it says of the project.
fn artifact(metadata: &str, project: &Project) -> Result<PathBuf, KitError> {
    let metadata: serde_json::Value = serde_json::from_str(metadata)
        .map_err(|error| KitError::Wit(format!("cargo metadata printed no JSON: {error}")))?;
    let manifest = project.root().join("Cargo.toml");
    let manifest = std::fs::canonicalize(&manifest).map_err(KitError::file("read", &manifest))?;
    let packages = metadata["packages"].as_array();
    let package = packages.and_then(|packages| {
        packages
            .iter()
            .find(|package| package["manifest_path"].as_str() == manifest.to_str())
    });
    let is_cdylib = |target: &&serde_json::Value| {
        let kinds = target["crate_types"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
    };
    let library = package
        .and_then(|package| package["targets"].as_array())
        .and_then(|targets| targets.iter().find(is_cdylib))
        .and_then(|target| target["name"].as_str());
    let (Some(library), Some(target)) = (library, metadata["target_directory"].as_str()) else {
        return Err(KitError::Project {
            message: format!("{} has no library of the kind cdylib", manifest.display()),
            hint: "a guest is one: [lib] crate-type = [\"cdylib\"]".to_owned(),
        });
    };
    let name = format!("{}.wasm", library.replace('-', "_"));
    Ok([target, TARGET, "release", &name].iter().collect())
}
