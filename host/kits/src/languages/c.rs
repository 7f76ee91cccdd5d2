//! C: bindings are made here, a compiler for WebAssembly makes a module of them and the code, and the module becomes a component here.

use std::path::{Path, PathBuf};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::Files;
use wit_component::ComponentEncoder;

use crate::error::KitError;
use crate::languages::ProjectWords;
use crate::project::Project;
use crate::tool::Tool;
use crate::world::World;

pub(crate) const PROJECT: ProjectWords = ProjectWords {
    name: "C",
    entry: "workflows.c",
    setup: "    python3 -m venv .venv && .venv/bin/pip install ziglang   # once, where there is no zig",
    ignored: &["/.venv/"],
};

/// How it is optimised, and what is kept for backtraces: words for the compiler in the environment.
const FLAGS: &str = "DACAPO_CFLAGS";

const PURPOSE: &str = "to compile C for WebAssembly";
const INSTALL: &str = "type: python3 -m venv .venv && .venv/bin/pip install ziglang; or install zig from \
                       https://ziglang.org, or clang with lld and wasi-libc";

/// Builds the component and answers its bytes.
pub(crate) fn build(project: &Project, world: &World) -> Result<Vec<u8>, KitError> {
    let entry = project.entry(PROJECT.entry)?;
    let code = entry.parent().unwrap_or(project.root());
    let bindings = bindings(project, world)?;
    let kit = project.kit();
    let made = project.support().join("module.wasm");
    // The kit comes first: what it puts in the place of the C library's must be there before anything asks for it.
    let directories = [kit.as_path(), bindings.as_path(), code];
    let mut compiler = compiler(project)?.directory(project.root());
    for directory in directories {
        compiler = compiler.arg("-I").arg(relative(project, directory));
        for source in sources(directory)? {
            // Without the project's own path in it a component is the same wherever it is built.
            compiler = compiler.arg(relative(project, &source));
        }
    }
    let flags = std::env::var(FLAGS).unwrap_or_else(|_| "-Os -s".to_owned());
    compiler
        // Assertions are part of what a workflow says; zig would leave them out.
        .args(["-std=gnu17", "-Wall", "-UNDEBUG", "-mexec-model=reactor"])
        .args(flags.split_whitespace())
        // Without it each instance begins with 16 MiB of memory.
        .arg("-Wl,-z,stack-size=65536")
        .arg("-o")
        .arg(relative(project, &made))
        .hint("undefined symbols that begin with exports_ are workflows of wit/ that the code has not: .dacapo/bindings/*.h declares them")
        .run()?;
    let module = std::fs::read(&made).map_err(KitError::file("read", &made))?;
    component(&module)
}

/// What the world is in C: types, functions, and an object file that tells the linker what the component is.
fn bindings(project: &Project, world: &World) -> Result<PathBuf, KitError> {
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut world.resolve.clone(), world.id, &mut files)
        .map_err(|error| KitError::Wit(format!("cannot write the world as C: {error:#}")))?;
    let directory = project.support().join("bindings");
    for (name, contents) in files.iter() {
        crate::assets::write_file(&directory.join(name), contents)?;
    }
    Ok(directory)
}

/// What is compiled and linked of a directory: its `.c` and `.o` files, in an order that is the same everywhere.
fn sources(directory: &Path) -> Result<Vec<PathBuf>, KitError> {
    let entries = std::fs::read_dir(directory).map_err(KitError::file("read", directory))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(KitError::file("read", directory))?.path();
        if matches!(path.extension(), Some(extension) if extension == "c" || extension == "o") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A C compiler for WebAssembly: zig brings a C library along; clang needs one beside it.
fn compiler(project: &Project) -> Result<Tool, KitError> {
    let own = [project.root().join(".venv/bin")];
    let find = |name| Tool::find(name, &own, PURPOSE, INSTALL);
    let zig = find("zig").or_else(|_| find("python-zig"));
    if let Ok(zig) = zig.or_else(|_| python_zig(&find)) {
        let cache = relative(project, &project.support().join("zig-cache"));
        return Ok(zig
            .env("ZIG_LOCAL_CACHE_DIR", cache)
            .args(["cc", "-target", "wasm32-wasi"]));
    }
    for target in ["wasm32-wasip1", "wasm32-wasi"] {
        let target = format!("--target={target}");
        // clang answers the bare name of what it does not find.
        let is_there = |clang: Tool| {
            let library = clang.args([&target, "-print-file-name=libc.a"]).output();
            library.is_ok_and(|library| Path::new(library.trim()).is_absolute())
        };
        if find("clang").is_ok_and(is_there) {
            // A stack that overflows traps then, and writes over nothing; zig does it unasked.
            return Ok(find("clang")?.args([&target, "-Wl,--stack-first"]));
        }
    }
    Err(KitError::MissingTool {
        program: "zig".to_owned(),
        purpose: PURPOSE.to_owned(),
        install: INSTALL.to_owned(),
    })
}

/// The package `ziglang` of an environment whose programs are not in PATH.
fn python_zig(find: &dyn Fn(&'static str) -> Result<Tool, KitError>) -> Result<Tool, KitError> {
    let version = find("python3")?.args([
        "-c",
        "import importlib.util as i; print(i.find_spec('ziglang') is not None)",
    ]);
    match version.output()?.trim() {
        "True" => Ok(find("python3")?.args(["-m", "ziglang"])),
        _ => find("zig"),
    }
}

/// Makes a component of the module. What it takes of WASI, if anything, is WASI 0.2 then.
fn component(module: &[u8]) -> Result<Vec<u8>, KitError> {
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        })
        .and_then(|mut encoder| encoder.encode());
    encoded
        .map_err(|error| KitError::Wit(format!("the module cannot become a component: {error:#}")))
}

/// From the project's root, where the compiler is started.
fn relative(project: &Project, path: &Path) -> PathBuf {
    match path.strip_prefix(project.root()) {
        Ok(inside) if inside.as_os_str().is_empty() => PathBuf::from("."),
        Ok(inside) => inside.to_owned(),
        Err(_) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}
