//! References for clients: `dacapo refs`, and the clients in TypeScript and Python that they are for.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dacapo_tests::{Database, database, guest_path};

use crate::check::{sound, worker};
use crate::command::{fails, run, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn order_wit() -> String {
    let path = root().join("examples-guests/order/wit");
    path.to_string_lossy().into_owned()
}

fn guest(name: &str) -> String {
    guest_path(name).to_string_lossy().into_owned()
}

/// What `dacapo refs` prints.
async fn refs(database: &Database, arguments: &[&str]) -> String {
    let output = run(database, &[&["refs"], arguments].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// References without what the WIT says about them: tools that build components may leave that out.
fn without_docs(lang: &str, text: &str) -> String {
    let comments: &[&str] = match lang {
        "json-schema" => &["\"description\":"],
        "python" => &["#", "\"\"\""],
        _ => &["//", "/**"],
    };
    let lines = text.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !comments.iter().any(|comment| line.starts_with(comment))
    });
    lines
        .map(|line| line.trim_end_matches(',').to_owned() + "\n")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn wit_its_component_and_its_deployment_have_the_same_references() {
    let database = database().await;
    database.deploy("order").await;
    let (wit, component) = (order_wit(), guest("order"));
    for lang in ["rust", "ts", "python", "json-schema"] {
        let of_wit = refs(&database, &["--lang", lang, &wit]).await;
        assert!(of_wit.contains("shop:orders/orders.place"), "{of_wit}");
        for other in [component.as_str(), "shop:orders", "orders"] {
            let of_other = refs(&database, &["--lang", lang, other]).await;
            assert_eq!(
                without_docs(lang, &of_wit),
                without_docs(lang, &of_other),
                "{lang} of {other}"
            );
        }
        let one = refs(&database, &["--lang", lang, "ship"]).await;
        assert!(
            one.contains("shop:orders/orders.ship") && !one.contains("shop:orders/orders.place"),
            "{one}"
        );
    }
    // A project is known by its manifest.
    let project = tempfile::tempdir().unwrap();
    std::fs::write(project.path().join("dacapo.toml"), "").unwrap();
    std::os::unix::fs::symlink(
        std::fs::canonicalize(&wit).unwrap(),
        project.path().join("wit"),
    )
    .unwrap();
    let of_project = refs(
        &database,
        &["--lang", "ts", &project.path().to_string_lossy()],
    )
    .await;
    assert_eq!(of_project, refs(&database, &["--lang", "ts", &wit]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_written_to_a_file_and_only_when_they_changed() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.ts");
    let file = file.to_string_lossy();
    let arguments = ["refs", "--lang", "typescript", &order_wit(), "--to", &file];
    let written = run(&database, &arguments).await;
    assert!(
        text(&written.stdout).starts_with("wrote "),
        "{}{}",
        text(&written.stdout),
        text(&written.stderr)
    );
    let accepted = root().join("clients/typescript/examples/orders.ts");
    assert_eq!(
        std::fs::read_to_string(&*file).unwrap(),
        std::fs::read_to_string(accepted).unwrap()
    );
    let again = run(&database, &arguments).await;
    assert!(text(&again.stdout).starts_with("nothing changed: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_references_cannot_be_made_of_is_refused_with_what_to_do() {
    let database = database().await;
    database.deploy("order").await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    };
    let wit = order_wit();
    let broken = file("broken.wit", "package a:b; interface i { f: fun(); }");
    let two = file(
        "two.wit",
        "package a:b; interface i { f: func(a: u8, b: u8); }",
    );
    let types = file("types.wit", "package a:b; interface i { type t = u8; }");
    let text = file("text.wasm", "hello");
    let order = guest("order");
    let empty = guest("bad_empty");
    let cases: [(&[&str], i32, &[&str]); 12] = [
        (
            &[&wit, "--world", "orders"],
            2,
            &["has no world orders; it has order"],
        ),
        (
            &[&order, "--world", "order"],
            2,
            &["--world is for WIT", "leave it out"],
        ),
        (
            &["shop:orders", "--world", "order"],
            2,
            &["--world is for WIT"],
        ),
        (
            &[&empty],
            2,
            &["bad_empty.wasm: no workflows", "write `export`"],
        ),
        (
            &[&types],
            2,
            &["no workflows: the WIT at", "write `export`"],
        ),
        (&[&broken], 2, &["cannot read the WIT at", "broken.wit"]),
        (
            &[&two],
            2,
            &["two.wit: workflow `a:b/i.f` has 2 parameters", "record"],
        ),
        (&[&text], 2, &["text.wasm: this is not wasm"]),
        (
            &["./nowhere"],
            2,
            &[
                "there is no ./nowhere",
                "hint: give a file or directory of WIT",
            ],
        ),
        (&["nowhere.wit"], 2, &["there is no nowhere.wit"]),
        (
            &["shop:orders/orders.plaice"],
            1,
            &["plaice", "shop:orders/orders.place"],
        ),
        (&["nothing"], 1, &["nothing", "`dacapo workflows` shows"]),
    ];
    for (arguments, code, says) in cases {
        let output = run(&database, &[&["refs", "--lang", "ts"], arguments].concat()).await;
        fails(&output, code, says);
    }
    let bad = run(&database, &["refs", "--lang", "cobol", &wit]).await;
    assert_eq!(bad.status.code(), Some(2));
}

/// Tests that cannot be made here say so past the capture of their output, and do not fail, unless all languages are required.
#[track_caller]
fn skipped(what: &str, because: &str) {
    let required = std::env::var("DACAPO_LANGUAGES").is_ok_and(|value| value == "required");
    assert!(!required, "{what}: {because}; type: ./x setup");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {because}");
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

async fn succeeds(mut command: tokio::process::Command) {
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// A database with a worker, where `order` is deployed.
async fn shop() -> (Database, dacapo_worker::Worker) {
    let database = database().await;
    database.deploy("order").await;
    let worker = worker(&database).await;
    (database, worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_client_and_its_example_do_what_their_tests_say() {
    let source = root().join("clients/typescript");
    let modules = source.join("node_modules");
    if !works(Command::new("node").arg("--version")) || !modules.join("pg").exists() {
        return skipped(
            "the TypeScript client",
            "node is not in PATH, or `npm install` was not typed in clients/typescript",
        );
    }
    let directory = tempfile::tempdir().unwrap();
    for part in ["src", "examples", "test"] {
        let to = directory.path().join(part);
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(source.join(part)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    for file in ["package.json", "tsconfig.json"] {
        std::fs::copy(source.join(file), directory.path().join(file)).unwrap();
    }
    let modules = modules.canonicalize().unwrap();
    std::os::unix::fs::symlink(&modules, directory.path().join("node_modules")).unwrap();
    let mut build = tokio::process::Command::new(modules.join(".bin/tsc"));
    build.arg("-p").arg(directory.path());
    succeeds(build).await;
    let (database, worker) = shop().await;
    let mut test = tokio::process::Command::new("node");
    test.args(["--test", "dist/test/service.test.js"])
        .current_dir(directory.path())
        .env("DATABASE_URL", &database.url);
    succeeds(test).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_and_its_example_do_what_their_tests_say() {
    let check = "import sys, psycopg; sys.exit(sys.version_info < (3, 11))";
    if !works(Command::new("python3").args(["-c", check])) {
        return skipped(
            "the Python client",
            "python3 is not in PATH, or is older than 3.11, or has no psycopg",
        );
    }
    let (database, worker) = shop().await;
    let mut test = tokio::process::Command::new("python3");
    test.args(["-m", "unittest", "discover", "-s", "tests"])
        .current_dir(root().join("clients/python"))
        .env("DATABASE_URL", &database.url)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    succeeds(test).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}
