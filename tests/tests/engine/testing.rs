//! `dacapo test`, and what docs/testing.md shows.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use dacapo_tests::{dacapo_binary, guest_path};
use serde_json::{Value, json};
use tokio::process::Command;

const PAYMENT: &str = r#"{"orderId": 7, "amountCents": 1250, "currency": "eur", "items": [{"sku": "tea", "price": 1250}]}"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A command that finds no database, and keeps what it compiles with the tests.
fn hermetic(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("DATABASE_URL")
        .env("NO_COLOR", "1")
        .env(
            "DACAPO_CACHE_DIR",
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("testing-cache"),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn test(guest: &str, arguments: &[&str]) -> Output {
    let mut command = hermetic(dacapo_binary());
    command.arg("test").arg(guest_path(guest)).args(arguments);
    command.output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// It exits with this code, and says all of this in one error on standard error.
#[track_caller]
fn fails(output: &Output, code: i32, says: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let errors = said.lines().filter(|line| line.starts_with("error:"));
    assert_eq!(errors.count(), 1, "{said}");
    for word in says {
        assert!(said.contains(word), "expected {word:?} in: {said}");
    }
}

#[tokio::test]
async fn a_run_that_completes_is_shown_with_its_journal_its_log_and_its_output() {
    let settled = r#"settled={"reference": "bank-1"}"#;
    let arguments = [
        "--input",
        PAYMENT,
        "--event-at",
        "90m",
        settled,
        "--crash-everywhere",
    ];
    let output = test("process_payment", &arguments).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for line in [
        r#" reserve#1  step  completed  "hold-7"                +0s    +0s"#,
        r#" settled#1  wait  completed  {"reference":"bank-1"}  +0s    +1h 30m"#,
        r#"{"orderId":7,"charge":"charge-7","settlement":"bank-1"}"#,
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "expected {line:?} in:\n{shown}"
        );
    }
    assert_eq!(
        text(&output.stderr),
        "8 crashes, each with the same outcome\n"
    );
}

#[tokio::test]
async fn programs_get_one_document() {
    let arguments = [
        "-o",
        "json",
        "--input",
        PAYMENT,
        "--step",
        "charge=\"ch_1\"",
        "--event",
        "other",
    ];
    let output = test("process_payment", &arguments).await;
    fails_in_json(&output, 1, "failed", "not-settled");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["status"], "failed");
    assert_eq!(document["failure"]["code"], "not-settled");
    assert_eq!(document["elapsedMs"], 24 * 60 * 60 * 1000);
    assert_eq!(document["untakenEvents"], json!(["other"]));
    assert_eq!(document["steps"][1]["outcome"], json!({ "ok": "ch_1" }));
    assert_eq!(
        document["steps"][2],
        json!({
            "key": "settled#1", "name": "settled", "kind": "wait", "status": "timed-out", "outcome": { "timedOut": true },
            "startedAt": "2030-01-01T00:00:00.000000Z", "finishedAt": "2030-01-02T00:00:00.000000Z",
        })
    );
    let output = test("probe", &["-o", "json", "-w", "effects", "-i", "1"]).await;
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["logs"][0]["step"], "s#1");
    let output = test("probe", &["-o", "json", "-w", "step-wait-step"]).await;
    fails_in_json(&output, 1, "waits-for-ever", "`go`");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["status"], "suspended");
    assert_eq!(
        document["waitingFor"],
        json!({ "reason": "event", "events": ["go"], "open": ["go#1"] })
    );
}

#[track_caller]
fn fails_in_json(output: &Output, exit: i32, code: &str, says: &str) {
    assert_eq!(output.status.code(), Some(exit));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], code, "{error}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(says), "{error}");
}

#[tokio::test]
async fn a_step_can_be_made_to_fail_and_the_run_with_it() {
    let fails_with = "charge=card-declined: the bank said no";
    let output = test(
        "process_payment",
        &["-i", PAYMENT, "--step-fails", fails_with],
    )
    .await;
    fails(
        &output,
        1,
        &["the run failed with declined: the bank said no"],
    );
    let shown = text(&output.stdout);
    assert!(shown.contains("card-declined: the bank said no"), "{shown}");
    assert!(shown.contains("release#1"), "{shown}");
}

#[tokio::test]
async fn people_are_played_by_options() {
    let input =
        r#"{"employee": "Ada", "purpose": "a book", "amountCents": 5, "coolingOffSeconds": 86400}"#;
    let decision = r#"manager-decision={"by": "Grace", "approved": true}"#;
    let arguments = [
        "-i",
        input,
        "--resume",
        "completeness-check",
        "--event",
        decision,
    ];
    let output = test("approval", &arguments).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(
        shown.ends_with("{\"tag\":\"approved\",\"val\":[\"Grace\"]}\n"),
        "{shown}"
    );
    let output = test("approval", &["-i", input, "--cancel-at", "2h"]).await;
    fails(&output, 1, &["the run was cancelled"]);
    let output = test("approval", &["-i", input]).await;
    fails(
        &output,
        1,
        &[
            "waits for ever: for somebody to resume it",
            "completeness-check#1",
            "hint: resume it with --resume",
        ],
    );
}

#[tokio::test]
async fn a_run_that_waits_for_ever_is_shown_as_far_as_it_came() {
    let output = test("probe", &["-w", "step-wait-step", "--event", "gone=1"]).await;
    fails(
        &output,
        1,
        &[
            "the run waits for ever: for the event `go`, at `go#1`",
            "hint: send one with --event",
            "no wait has taken the event gone",
        ],
    );
    assert!(
        text(&output.stdout).contains("go#1  wait  waiting"),
        "{}",
        text(&output.stdout)
    );
}

#[tokio::test]
async fn runs_that_do_not_complete_or_not_after_each_crash_fail() {
    // A failure that is no outcome of a step, and a limit that is reached.
    let output = test("probe", &["-w", "trap"]).await;
    fails(&output, 1, &["the run failed with trap: panicked at"]);
    assert!(
        !text(&output.stdout).contains("STEP"),
        "there is no journal to show"
    );
    let naps = r#"{"ms": 1, "times": 100}"#;
    let output = test("probe", &["-w", "sleeps", "-i", naps, "--steps-max", "20"]).await;
    fails(&output, 1, &["20 rows", "hint:", "--steps-max"]);
    let output = test("forgetful", &["-w", "memory.counts", "--crash-everywhere"]).await;
    fails(&output, 1, &["a crash after `count#1` was recorded"]);
    let output = test("probe", &["-w", "random-u64-in-step", "--crash-everywhere"]).await;
    fails(
        &output,
        1,
        &["two outcomes", "hint: give steps", "--step STEP=JSON"],
    );
}

#[tokio::test]
async fn a_failure_is_shown_with_the_lines_of_its_functions() {
    let output = test("probe", &["-w", "limits.trap"]).await;
    fails(&output, 1, &["the probe panics on purpose"]);
    let shown = text(&output.stdout);
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("  at ")
                && line.contains("(tests/guests/probe/src/limits.rs:")),
        "{shown}"
    );
}

#[tokio::test]
async fn whatever_is_no_component_is_refused_with_what_came_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let probe = std::fs::read(guest_path("probe")).unwrap();
    let half = &probe[..probe.len() / 2];
    let cut_short = format!("{} bytes, and is damaged or cut short", half.len());
    let noise: Vec<u8> = (0..5_000_u32).map(|at| (at * 31 % 251) as u8).collect();
    let garbage = [&probe[..5_000], &noise].concat();
    let files: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "it begins with nothing (the file is empty)"),
        ("text", b"(component)", "it begins with `(component)`"),
        ("program", b"\x7fELF\x02\x01", "it begins with `\\x7fELF"),
        (
            "module",
            b"\0asm\x01\0\0\0",
            "build for the target `wasm32-wasip2`",
        ),
        (
            "nothing",
            b"\0asm\x0d\0\x01\0",
            "no workflows: the component exports nothing",
        ),
        (
            "version",
            b"\0asm\x09\0\0\0",
            "not a valid component: unknown binary version",
        ),
        ("half", half, &cut_short),
        ("garbage", &garbage, "not a valid component"),
    ];
    for (name, bytes, says) in files {
        let file = dir.path().join(format!("{name}.wasm"));
        std::fs::write(&file, bytes).unwrap();
        everywhere(&file, says).await;
    }
    everywhere(dir.path(), "Is a directory").await;
    everywhere(&dir.path().join("missing.wasm"), "No such file").await;
}

/// Every command that reads a component says the same of it.
async fn everywhere(file: &std::path::Path, says: &str) {
    let file = file.display().to_string();
    let history = ["replay", "no.history", "--component"];
    for command in [&["describe"][..], &["test"], &["deploy"], &history] {
        // There a directory is a project.
        if command == ["test"] && says == "Is a directory" {
            continue;
        }
        let output = hermetic(dacapo_binary())
            .args(command)
            .arg(&file)
            .output()
            .await
            .unwrap();
        fails(&output, 2, &[&file, says]);
    }
}

#[tokio::test]
async fn mistakes_are_usage_errors_that_say_what_to_do() {
    let output = hermetic(dacapo_binary())
        .args(["test", "/nowhere/x.wasm"])
        .output()
        .await
        .unwrap();
    fails(&output, 2, &["cannot read /nowhere/x.wasm: No such file"]);
    fails(
        &test("bad_empty", &[]).await,
        2,
        &["bad_empty.wasm: no workflows"],
    );
    let cases: &[(&[&str], &[&str])] = &[
        (
            &[],
            &[
                "several workflows",
                "--workflow",
                "hint: it has test:probe/",
            ],
        ),
        (
            &["-w", "step-wait-stop"],
            &[
                "no workflow",
                "did you mean test:probe/durable.step-wait-step?",
            ],
        ),
        (
            &["-w", "effects", "-i", "\"4\""],
            &[
                "input: expected u32, got \"4\"",
                "hint: test:probe/durable.effects takes u32",
            ],
        ),
        (&["-w", "effects", "-i", "{"], &["input: not JSON"]),
        (
            &["-w", "effects", "-i", "@/nowhere.json"],
            &["cannot read /nowhere.json"],
        ),
        (
            &["-w", "effects", "-i", "1", "--event", "go=now"],
            &["event go: not JSON", "hint: text is JSON with its quotes"],
        ),
        (
            &["-w", "effects", "-i", "1", "--event", "a/b"],
            &["event: the name \"a/b\" contains '/'"],
        ),
        (
            &["-w", "effects", "-i", "1", "--event-at", "soon", "go"],
            &["--event-at: \"soon\": expected a duration"],
        ),
        (
            &["-w", "effects", "-i", "1", "--step", "s"],
            &["--step s: expected STEP=JSON"],
        ),
        (
            &["-w", "effects", "-i", "1", "--step-fails", "s="],
            &["expected STEP=CODE"],
        ),
        (
            &["-w", "effects", "-i", "1", "--step", "t=1"],
            &["never asked for step `t`", "`s#1`"],
        ),
        (
            &["-w", "effects", "-i", "1", "--step", "s=1", "--step", "s=2"],
            &["scripted twice"],
        ),
        (
            &[
                "--max-payload-bytes",
                "3",
                "-w",
                "fail-with",
                "-i",
                "\"long\"",
            ],
            &["the limit is 3 bytes"],
        ),
    ];
    for (arguments, says) in cases {
        fails(&test("probe", arguments).await, 2, says);
    }
}

fn document() -> String {
    std::fs::read_to_string(root().join("docs/testing.md")).unwrap()
}

#[test]
fn the_tests_that_the_document_shows_are_run_with_the_kit() {
    let tests = root().join("testkit/tests/kit/process_payment.rs");
    let tests = std::fs::read_to_string(tests).unwrap();
    assert!(
        document().contains(tests.trim()),
        "docs/testing.md shows other tests"
    );
}

#[tokio::test]
async fn the_commands_that_the_document_shows_print_what_it_shows() {
    let document = document();
    let blocks: Vec<&str> = document
        .split("```console\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty());
    let path = std::env::var("PATH").unwrap();
    let binaries = dacapo_binary().parent().unwrap().display().to_string();
    for block in blocks {
        let (typed, expected): (Vec<&str>, Vec<&str>) = block
            .lines()
            .partition(|line| line.starts_with("$ ") || line.starts_with("    "));
        let script = typed.join("\n");
        let output = hermetic("sh")
            .args(["-c", script.strip_prefix("$ ").unwrap()])
            .env("PATH", format!("{binaries}:{path}"))
            .current_dir(root())
            .output()
            .await
            .unwrap();
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(printed.trim(), expected.join("\n").trim(), "{script}");
    }
}

#[tokio::test]
async fn children_are_scripted_on_the_command_line() {
    let input = r#"{"workflow": "test:probe/children.square", "input": "12"}"#;
    let run = ["--workflow", "runs-child", "--input", input];
    let with = |more: &[&'static str]| [run.as_slice(), more].concat();
    let ended = test(
        "probe",
        &with(&["--child", "square=144", "--crash-everywhere"]),
    )
    .await;
    let said = text(&ended.stdout);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(said.ends_with("\"144\"\n"), "{said}");
    let ended = test("probe", &with(&["--child-at", "2h", "square=144"])).await;
    let said = text(&ended.stdout);
    assert!(ended.status.success() && said.contains("+2h"), "{said}");
    let failed = test(
        "probe",
        &with(&["--child-fails", "square=lost: it got lost"]),
    )
    .await;
    fails(&failed, 1, &["lost: it got lost"]);
    let unscripted = test("probe", &run).await;
    fails(
        &unscripted,
        1,
        &[
            "a child of `test:probe/children.square` would be another",
            "--child WORKFLOW=JSON",
        ],
    );
    let bad = test("probe", &with(&["--child", "square"])).await;
    fails(&bad, 2, &["--child square: expected WORKFLOW=JSON"]);
}
