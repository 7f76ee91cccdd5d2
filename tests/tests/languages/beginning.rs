//! From nothing to a run: what a new user types.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dacapo_tests::{dacapo_binary, database};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::projects::{
    C, FOREIGN, GO, Language, PYTHON, RUST, TYPESCRIPT, command, dacapo, directory, said,
};

/// Reads lines up to one with this in it, and answers all of them.
async fn up_to<R: AsyncRead + Unpin>(word: &str, lines: &mut Lines<BufReader<R>>) -> String {
    let mut all = String::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            all = format!("{all}{line}\n");
            if line.contains(word) {
                return true;
            }
        }
        false
    };
    let found = tokio::time::timeout(Duration::from_secs(120), reading).await;
    assert!(found == Ok(true), "{word:?} is not said in:\n{all}");
    all
}

/// A `dacapo dev` that is under way.
struct Dev {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Dev {
    /// In this project, with its data there.
    fn start(project: &Path, component: &str, data: &Path) -> Dev {
        let mut child = command(project, &["dev", component])
            .env("DACAPO_DATA_DIR", data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Dev { child, lines }
    }

    /// As Ctrl-C does it.
    async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
        while let Some(_line) = self.lines.next_line().await.unwrap() {}
        assert!(self.child.wait().await.unwrap().success());
    }
}

/// As editors do it, and whoever types `npm run check`.
async fn check_types(language: Language, project: &Path) {
    let checker: &[&str] = match language {
        TYPESCRIPT => &["tsc", "--noEmit"],
        PYTHON => &["mypy", "--strict", "workflows.py"],
        _ => return,
    };
    let output = Command::new(checker[0])
        .args(&checker[1..])
        .env("MYPYPATH", ".dacapo/guest-sdk/python:.dacapo/bindings")
        .current_dir(project)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    said(&output);
}

async fn begins(language: Language, data: &Path) {
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
    check_types(language, &project).await;
    let tested = said(&dacapo(&project, &["test"]).await);
    assert!(
        tested.contains("sign-up.toml: as expected, also with each of"),
        "{tested}"
    );

    let mut dev = Dev::start(&project, "order-flow.wasm", data);
    let told = up_to("runs list", &mut dev.lines).await;
    assert!(told.contains("of app:order-flow is active"), "{told}");
    assert!(
        told.contains("start app:order-flow/workflows.sign-up"),
        "{told}"
    );
    let typed = |arguments: &[&str]| {
        let mut command = command(&project, arguments);
        command.env("DACAPO_DATA_DIR", data);
        command
    };
    let start = ["start", "--wait", "sign-up", "--input"];
    let input = r#"{"name": "Ada", "email": "ada@example.com"}"#;
    let mut started = typed(&[&start[..], &[input]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(started.stderr.take().unwrap()).lines();
    let told = up_to("run ", &mut lines).await;
    let run = told.split_whitespace().find(|word| word.len() == 36);
    let run = run.unwrap_or_else(|| panic!("no run's id in {told}"));
    let confirm = ["event", run, "confirmed", r#"{"by": "Grace"}"#];
    said(&typed(&confirm).output().await.unwrap());
    let output = said(&started.wait_with_output().await.unwrap());
    assert!(
        output.contains("Welcome, Ada! Grace has confirmed you."),
        "{output}"
    );
    let shown = said(&typed(&["runs", "show", run]).output().await.unwrap());
    for step in ["create-account#1", "confirmed#1", "send-greeting#1"] {
        assert!(shown.contains(step), "{shown}");
    }
    // The example's own mistake, told by its own words.
    let bad = r#"{"name": "Ada", "email": "nobody"}"#;
    let failed = typed(&[&start[..], &[bad]].concat())
        .output()
        .await
        .unwrap();
    assert!(!failed.status.success());
    let told = String::from_utf8_lossy(&failed.stderr);
    assert!(
        told.contains("nobody") && told.contains("is no e-mail address"),
        "{told}"
    );
    dev.stop().await;
}

/// A directory that the server, which runs as another user when we are root, can get to.
fn reachable_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new()
        .prefix("dacapo-beginning-")
        .tempdir()
        .unwrap();
    if nix::unistd::Uid::effective().is_root() {
        std::fs::set_permissions(
            directory.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
    }
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_is_built_tested_deployed_and_run() {
    // One after the other on the same data, as by somebody who tries them all.
    let data = reachable_directory();
    for language in [RUST].into_iter().chain(FOREIGN) {
        if language.is_here() {
            begins(language, &data.path().join("data")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wit_says_about_a_workflow_is_in_its_component_and_told_to_models() {
    const SAID: &str = "Makes an account, waits until somebody confirms it, and writes a greeting.";
    let quick = [C, GO, TYPESCRIPT]
        .into_iter()
        .find(|language| language.is_here());
    let Some(language) = quick else {
        return;
    };
    let at = directory("documented");
    said(&dacapo(&at, &["new", "order-flow", "--lang", language.name]).await);
    let project = at.join("order-flow");
    let wit = std::fs::read_to_string(project.join("wit/world.wit")).unwrap();
    let wit = wit.replace(
        "        email: string,",
        "        /// Where the greeting goes.\n        email: string,",
    );
    std::fs::write(project.join("wit/world.wit"), wit).unwrap();
    said(&dacapo(&project, &["build"]).await);
    let described = said(&dacapo(&project, &["describe", "order-flow.wasm"]).await);
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    let text = described.to_string();
    assert!(text.contains(SAID), "{text}");
    assert!(text.contains("Where the greeting goes."), "{text}");

    let database = database().await;
    let typed = |arguments: &[&str]| {
        let mut command = command(&project, arguments);
        command.env("DATABASE_URL", &database.url);
        command
    };
    let deployed = typed(&["deploy", "order-flow.wasm"]).output().await;
    said(&deployed.unwrap());
    let mut mcp = typed(&["mcp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = serde_json::json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    });
    let input = [
        serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin }),
        serde_json::json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        serde_json::json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {} }),
    ];
    let mut stdin = mcp.stdin.take().unwrap();
    for message in input {
        let line = format!("{message}\n");
        stdin.write_all(line.as_bytes()).await.unwrap();
    }
    let mut lines = BufReader::new(mcp.stdout.take().unwrap()).lines();
    let listed = up_to("\"tools\":[", &mut lines).await;
    assert!(
        listed.contains(SAID) && listed.contains("Where the greeting goes."),
        "{listed}"
    );
}

/// Each line that is wrong says so itself.
const TYPED: &str = r#"import { child, waitFor, waitForAny } from "dacapo";

type Payment = { reference: string };
declare const toPayment: (payload: unknown) => Payment;
declare const timeoutMs: number | undefined;

export async function typed(): Promise<unknown[]> {
  const endless: Payment = await waitFor<Payment>("paid");
  const limited: Payment | undefined = await waitFor<Payment>("paid", { timeoutMs: 5 });
  // @ts-expect-error: it may be over before the event comes
  const never: Payment = await waitFor<Payment>("paid", { timeoutMs: 5 });
  // @ts-expect-error: so may this
  const perhaps: Payment = await waitFor<Payment>("paid", { timeoutMs });
  const came = await waitForAny("answer", { paid: toPayment, refused: String });
  const known: "paid" | "refused" = came.event;
  const said: string = came.event === "paid" ? came.payload.reference : came.payload;
  // @ts-expect-error: only one of them has it
  const mixed: Payment = came.payload;
  const late = await waitForAny("answer", { paid: toPayment }, { timeoutMs: 5 });
  // @ts-expect-error: it may be over before one of them comes
  late.event;
  const listed = await waitForAny("answer", ["paid", "refused"]);
  const which: "paid" | "refused" = listed.event;
  const number: number = (await waitForAny<number>("turn", ["left", "right"])).payload;
  const parsed: Payment = (await waitForAny("turn", ["left", "right"], { parse: toPayment })).payload;
  const mail = await child<string>("mail", "shop:mail/api.send");
  const letter: string = await mail.output();
  // @ts-expect-error: the child may not have ended by then
  const early: string = await mail.output({ timeoutMs: 5 });
  return [endless, limited, never, perhaps, known, said, mixed, late, which, number, parsed, letter, early];
}
"#;

#[tokio::test]
async fn what_is_waited_for_has_the_type_of_what_comes() {
    if !TYPESCRIPT.is_here() {
        return;
    }
    let at = directory("typed");
    said(&dacapo(&at, &["new", "typed", "--lang", "ts"]).await);
    let project = at.join("typed");
    said(&dacapo(&project, &["build", "--prepare"]).await);
    std::fs::write(project.join("src/typed.ts"), TYPED).unwrap();
    check_types(TYPESCRIPT, &project).await;
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
        &[
            "wit",
            "interface or world `shop` does not exist",
            "--> ./wit/world.wit:1:",
        ],
    );
    let wit = |text: &str| std::fs::write(project.join("wit/world.wit"), text).unwrap();
    wit(
        "package app:order;\ninterface shop {\n  buy: func(what: strin);\n}\nworld order { export shop; }",
    );
    fails(
        dacapo(&project, &["build"]).await,
        &["`strin` does not exist", "--> ./wit/world.wit:3:19"],
    );
    fails(
        dacapo(&project, &["refs", "wit", "--lang", "ts"]).await,
        &["`strin` does not exist", "--> wit/world.wit:3:19"],
    );
    wit(
        "package app:order;\ninterface shop {\n  buy: func(what: string, many: u32);\n}\nworld order { export shop; }",
    );
    fails(
        dacapo(&project, &["build"]).await,
        &[
            "./wit/world.wit:3:3: the workflow `buy` has 2 parameters, it may have one",
            "hint: put them into a record",
        ],
    );
    wit("package app:order;\nworld order { export buy: func(what: string); }");
    fails(
        dacapo(&project, &["build"]).await,
        &[
            "the world order in ./wit exports no interface that has a function",
            "hint: workflows are functions of an interface",
        ],
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
