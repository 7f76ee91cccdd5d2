//! From nothing to a run: what a new user types.

use dacapo_tests::{Dacapo, dacapo_binary, database};

use crate::projects::{
    C, FOREIGN, GO, Language, PYTHON, RUST, TYPESCRIPT, dacapo, directory, said,
};

async fn begins(language: Language) {
    let database = database().await;
    let at = directory(&format!("beginning-{}", language.name));
    let new = ["new", "order-flow", "--lang", language.name];
    let files = said(&dacapo(&at, &new).await);
    assert!(files.contains("order-flow/dacapo.toml"), "{files}");

    let project = at.join("order-flow");
    let built = said(&dacapo(&project, &["build"]).await);
    assert!(
        built.contains(
            "app:order-flow/workflows.sign-up(request: request) -> result<account, string>"
        ),
        "{built}"
    );
    let tested = said(&dacapo(&project, &["test"]).await);
    assert!(
        tested.contains("sign-up.toml: as expected, also with each of"),
        "{tested}"
    );

    let url = ["--database-url", database.url.as_str()];
    let on = |words: &[&'static str]| [words, &url].concat();
    said(&dacapo(&project, &on(&["deploy", "order-flow.wasm"])).await);
    let worker = Dacapo::on(&database).worker().await;
    let input = r#"{"name": "Ada", "email": "ada@example.com"}"#;
    let started = said(&dacapo(&project, &on(&["start", "sign-up", "--input", input])).await);
    let run = started.split_whitespace().find(|word| word.len() == 36);
    let run = run.unwrap_or_else(|| panic!("no run's id in {started}"));
    let confirm = ["event", run, "confirmed", r#"{"by": "Grace"}"#];
    said(&dacapo(&project, &[&confirm[..], &url].concat()).await);
    let done = database.done(run.parse().unwrap()).await;
    let output = done.output.unwrap_or_else(|| panic!("{:?}", done.failure));
    assert!(
        output
            .as_str()
            .contains("Welcome, Ada! Grace has confirmed you."),
        "{output:?}"
    );
    // The example's own mistake, told by its own words.
    let bad = r#"{"name": "Ada", "email": "nobody"}"#;
    let failed = dacapo(
        &project,
        &on(&["start", "--wait", "sign-up", "--input", bad]),
    )
    .await;
    assert!(!failed.status.success());
    let told = String::from_utf8_lossy(&failed.stderr);
    assert!(
        told.contains("nobody") && told.contains("is no e-mail address"),
        "{told}"
    );
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_is_built_tested_deployed_and_run() {
    for language in [RUST].into_iter().chain(FOREIGN) {
        if language.is_here() {
            begins(language).await;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_project_is_said_with_what_to_do() {
    let at = directory("wrong");
    let fails = |output: std::process::Output, words: &[&str]| {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{told}");
        for word in words {
            assert!(told.contains(word), "expected {word:?} in {told}");
        }
    };
    fails(
        dacapo(&at, &["build"]).await,
        &["dacapo.toml", "dacapo new"],
    );
    fails(
        dacapo(&at, &["new", "Order", "--lang", "rust"]).await,
        &["lower-case", "Order"],
    );
    fails(
        dacapo(&at, &["new", "order", "--lang", "cobol"]).await,
        &["rust, ts, python, go, c", "cobol"],
    );
    said(&dacapo(&at, &["new", "order", "--lang", "rust"]).await);
    fails(
        dacapo(&at, &["new", "order", "--lang", "rust"]).await,
        &["not empty"],
    );
    let project = at.join("order");
    fails(
        dacapo(&project, &["test"]).await,
        &["order.wasm", "dacapo build"],
    );
    let manifest = |text: &str| std::fs::write(project.join("dacapo.toml"), text).unwrap();
    manifest("[retry]\nmax-attempts = 3\n");
    fails(dacapo(&project, &["build"]).await, &["[build]", "language"]);
    manifest("[build]\nlanguage = \"fortran\"\n");
    fails(
        dacapo(&project, &["build"]).await,
        &["dacapo.toml:2:12", "fortran"],
    );
    manifest("[build]\nlanguage = \"rust\"\nworld = \"shop\"\n");
    fails(
        dacapo(&project, &["build"]).await,
        &["no world shop", "guest"],
    );
    manifest("[build]\nlanguage = \"rust\"\nworlds = \"shop\"\n");
    fails(
        dacapo(&project, &["build"]).await,
        &["dacapo.toml:3:1", "worlds"],
    );
    manifest("[build]\nlanguage = \"rust\"\n");
    std::fs::write(
        project.join("wit/world.wit"),
        "package app:order; world order { export shop; }",
    )
    .unwrap();
    fails(
        dacapo(&project, &["build"]).await,
        &["wit", "interface or world `shop` does not exist"],
    );
}

#[tokio::test]
async fn a_toolchain_that_is_missing_is_named_with_what_to_type() {
    let at = directory("bare-machine");
    let nothing = at.join("no-programs");
    std::fs::create_dir(&nothing).unwrap();
    for language in [RUST].into_iter().chain(FOREIGN) {
        said(&dacapo(&at, &["new", language.name, "--lang", language.name]).await);
        let output = tokio::process::Command::new(dacapo_binary())
            .arg("build")
            .current_dir(at.join(language.name))
            .env("PATH", &nothing)
            .output()
            .await
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{}", language.name);
        for word in ["is not installed, or not in PATH", "hint: ", "install"] {
            assert!(told.contains(word), "{}: {told}", language.name);
        }
    }
}

#[tokio::test]
async fn a_workflow_that_the_code_has_under_another_name_is_named_with_what_to_write() {
    let at = directory("misnamed");
    // In each language: the file, what is there, what a mistaken author writes, and what is said.
    let mistakes: [(Language, &str, &str, &str, &[&str]); 4] = [
        (
            TYPESCRIPT,
            "src/workflows.ts",
            "export const workflows =",
            "export const workflow =",
            &[
                "src/workflows.ts exports `workflow`; expected `workflows`",
                "hint: write: export const workflows = workflows<Workflows>({",
            ],
        ),
        (
            PYTHON,
            "workflows.py",
            "class Workflows:",
            "class Workflow:",
            &[
                "module 'workflows' has no attribute 'Workflows'",
                "hint: a class that the module has not is that of an interface in wit/",
            ],
        ),
        (
            GO,
            "workflows.go",
            "func SignUp(",
            "func Signup(",
            &["SignUp", "hint: what .dacapo/main/main.go does not find"],
        ),
        (
            C,
            "workflows.c",
            "_workflows_sign_up(",
            "_workflows_signup(",
            &[
                "exports_app_named_c_workflows_sign_up",
                "hint: undefined symbols that begin with exports_",
            ],
        ),
    ];
    for (language, file, there, mistaken, says) in mistakes {
        if !language.is_here() {
            continue;
        }
        let name = format!("named-{}", language.name);
        said(&dacapo(&at, &["new", &name, "--lang", language.name]).await);
        let project = at.join(&name);
        let code = std::fs::read_to_string(project.join(file)).unwrap();
        assert!(code.contains(there), "{code}");
        std::fs::write(project.join(file), code.replace(there, mistaken)).unwrap();
        let output = dacapo(&project, &["build"]).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{told}");
        for words in says {
            assert!(
                told.contains(words),
                "{}: expected {words:?} in {told}",
                language.name
            );
        }
        assert!(!told.contains("Stack backtrace"), "{told}");
    }
}
