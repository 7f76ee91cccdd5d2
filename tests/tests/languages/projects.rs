//! Projects, and what is needed to build them.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use dacapo_tests::dacapo_binary;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// A language, by its name at `dacapo new --lang`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language {
    pub name: &'static str,
    /// Programs without which nothing can be built.
    tools: &'static [&'static str],
}

pub const RUST: Language = Language {
    name: "rust",
    tools: &["cargo"],
};
pub const TYPESCRIPT: Language = Language {
    name: "ts",
    tools: &["node", "npm", "esbuild", "componentize-qjs", "tsc"],
};
pub const PYTHON: Language = Language {
    name: "python",
    tools: &["componentize-py", "mypy"],
};

pub const GO: Language = Language {
    name: "go",
    tools: &["go"],
};
pub const C: Language = Language {
    name: "c",
    tools: &["python-zig"],
};
/// It has no kit.
pub const ZIG: Language = Language {
    name: "zig",
    tools: &["python-zig", "wasm-tools"],
};

/// TypeScript with the other engine.
pub const SPIDERMONKEY: Language = Language {
    name: "ts-spidermonkey",
    tools: &["node", "esbuild", "npm", "componentize-js"],
};

/// All that have a kit but Rust, whose guests are built with the tests.
pub const FOREIGN: [Language; 4] = [TYPESCRIPT, PYTHON, GO, C];

/// Those whose mistakes are in `tests/languages`.
pub const MISTAKEN: [Language; 4] = FOREIGN;

impl Language {
    /// Whether its tools are here.
    ///
    /// # Panics
    /// They are not, and all languages are required.
    pub fn is_here(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there =
            |tool: &str| std::env::split_paths(&path).any(|place| place.join(tool).is_file());
        let Some(missing) = self.tools.iter().find(|tool| !is_there(tool)) else {
            return true;
        };
        let required = std::env::var("DACAPO_LANGUAGES").is_ok_and(|value| value == "required");
        assert!(!required, "{missing} is not in PATH; type: ./x setup");
        eprintln!("LEFT OUT: {} ({missing} is not in PATH)", self.name);
        false
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A directory that is empty at first.
pub fn directory(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("languages")
        .join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).unwrap();
    }
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// What the command says.
pub async fn dacapo(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().await.unwrap()
}

/// The command, which finds no database unless it is told of one, and keeps what it compiles with the tests.
pub fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(dacapo_binary());
    command
        .args(arguments)
        .current_dir(directory)
        .env_remove("DATABASE_URL")
        .env("NO_COLOR", "1")
        .env("CARGO_TARGET_DIR", root().join("target/languages"))
        .env("DACAPO_CACHE_DIR", cache())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What the command prints, if all went well.
#[track_caller]
pub fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{talk}");
    said
}

/// Where compiled components are kept.
pub fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("languages-cache")
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), &target).unwrap()),
        }
    }
}

/// A project that shares its WIT with others of its kind: `from/<language>`, and `from/wit`.
fn project(from: &str, language: Language) -> PathBuf {
    let from = root().join(from);
    let name = format!("{}-{}", from.file_name().unwrap().display(), language.name);
    let project = directory(&name);
    let code = match language {
        SPIDERMONKEY => TYPESCRIPT,
        other => other,
    };
    copy(&from.join(code.name), &project);
    copy(&from.join("wit"), &project.join("wit"));
    project
}

async fn build(project: &Path) -> PathBuf {
    said(&dacapo(project, &["build"]).await);
    let mut made = std::fs::read_dir(project).unwrap();
    made.find_map(|entry| {
        let path = entry.unwrap().path();
        path.extension()
            .is_some_and(|extension| extension == "wasm")
            .then_some(path)
    })
    .unwrap()
}

/// Builds such a project, once in each process.
async fn built(from: &str, language: Language, cell: &'static OnceCell<PathBuf>) -> PathBuf {
    let build = || async { build(&project(from, language)).await };
    cell.get_or_init(build).await.clone()
}

/// A program that users call themselves. It needs no network here.
async fn prepare(project: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(project)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    said(&output);
}

/// The component of `examples-guests/order` in this language.
pub async fn order(language: Language) -> PathBuf {
    static CELLS: [OnceCell<PathBuf>; FOREIGN.len()] =
        [const { OnceCell::const_new() }; FOREIGN.len()];
    if language == RUST {
        return dacapo_tests::guest_path("order");
    }
    let at = FOREIGN.iter().position(|known| *known == language).unwrap();
    built("examples-guests/order", language, &CELLS[at]).await
}

/// The component of `examples-guests/bench` in this language.
pub async fn bench(language: Language) -> PathBuf {
    static CELLS: [OnceCell<PathBuf>; FOREIGN.len()] =
        [const { OnceCell::const_new() }; FOREIGN.len()];
    let at = FOREIGN.iter().position(|known| *known == language).unwrap();
    built("examples-guests/bench/languages", language, &CELLS[at]).await
}

/// The component of `tests/languages` in this language: workflows that go wrong.
pub async fn mistakes(language: Language) -> PathBuf {
    static CELLS: [OnceCell<PathBuf>; MISTAKEN.len()] =
        [const { OnceCell::const_new() }; MISTAKEN.len()];
    let at = MISTAKEN
        .iter()
        .position(|known| *known == language)
        .unwrap();
    built("tests/languages", language, &CELLS[at]).await
}

/// The component of `tests/guests/tour` in this language, with a package that is none of its own, installed as users do it.
pub async fn tour(language: Language) -> PathBuf {
    const ALL: [Language; 5] = [TYPESCRIPT, PYTHON, GO, C, SPIDERMONKEY];
    static CELLS: [OnceCell<PathBuf>; ALL.len()] = [const { OnceCell::const_new() }; ALL.len()];
    if language == RUST {
        return dacapo_tests::guest_path("tour");
    }
    let at = ALL.iter().position(|known| *known == language).unwrap();
    let made = async || {
        let project = project("tests/guests/tour", language);
        match language {
            TYPESCRIPT | SPIDERMONKEY => install_by_npm(&project).await,
            PYTHON => install_by_pip(&project).await,
            _ => {}
        }
        if language == SPIDERMONKEY {
            choose_spidermonkey(&project);
        }
        build(&project).await
    };
    CELLS[at].get_or_init(made).await.clone()
}

/// The component of `tests/guests/freight` in this language.
pub async fn freight(language: Language) -> PathBuf {
    const ALL: [Language; 2] = [GO, PYTHON];
    static CELLS: [OnceCell<PathBuf>; ALL.len()] = [const { OnceCell::const_new() }; ALL.len()];
    if language == RUST {
        return dacapo_tests::guest_path("freight");
    }
    let at = ALL.iter().position(|known| *known == language).unwrap();
    built("tests/guests/freight", language, &CELLS[at]).await
}

async fn install_by_npm(project: &Path) {
    let install = [
        "install",
        "--offline",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
    ];
    prepare(project, "npm", &install).await;
}

/// The package is built into a wheel, which is an archive, since building one as usual needs tools from elsewhere.
async fn install_by_pip(project: &Path) {
    let tools = of_path("componentize-py");
    let python = tools.with_file_name("python");
    let python = python.to_str().unwrap();
    prepare(project, python, &["-m", "venv", "--without-pip", ".venv"]).await;
    prepare(&project.join("landmarks"), python, &["wheel.py"]).await;
    let install = [
        "-m",
        "pip",
        "--python",
        ".venv/bin/python",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "landmarks/landmarks-1.0.0-py3-none-any.whl",
    ];
    prepare(project, python, &install).await;
}

/// Its library is found in the project, which here is where it was installed for all.
fn choose_spidermonkey(project: &Path) {
    let manifest = project.join("dacapo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text + "engine = \"spidermonkey\"\n").unwrap();
    let program = of_path("componentize-js");
    let modules = program.parent().and_then(Path::parent).unwrap();
    let name = "@bytecodealliance";
    std::os::unix::fs::symlink(modules.join(name), project.join("node_modules").join(name))
        .unwrap();
}

/// Where a program is.
fn of_path(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|place| place.join(program))
        .find(|place| place.is_file())
        .unwrap()
}
