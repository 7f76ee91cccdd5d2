//! The real binary: what it prints, what it says when something is wrong, and how it exits.

use std::process::{Output, Stdio};

use dacapo_tests::{Database, dacapo_binary, database, guest_path};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

pub fn dacapo(database: &Database, arguments: &[&str]) -> Command {
    let mut command = Command::new(dacapo_binary());
    command
        .args(arguments)
        .env("DATABASE_URL", &database.url)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub async fn run(database: &Database, arguments: &[&str]) -> Output {
    dacapo(database, arguments).output().await.unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// It exits with this code and says all of this on standard error, once and with a hint where `hint` says so.
#[track_caller]
pub fn fails(output: &Output, code: i32, says: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(
        said.lines()
            .filter(|line| line.starts_with("error:"))
            .count(),
        1,
        "{said}"
    );
    for word in says {
        assert!(said.contains(word), "expected {word:?} in: {said}");
    }
}

fn guest(name: &str) -> String {
    guest_path(name).to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_watched_and_shown() {
    let database = database().await;
    let deployed = run(&database, &["deploy", &guest("bench_guest")]).await;
    assert!(deployed.status.success(), "{}", text(&deployed.stderr));
    assert!(text(&deployed.stdout).contains("deployment 1 of bench:noop is active"));
    let again = run(&database, &["deploy", &guest("bench_guest")]).await;
    assert!(
        text(&again.stdout).contains("nothing changed: deployment 1"),
        "{}",
        text(&again.stdout)
    );
    let workflows = run(&database, &["workflows", "--output", "json"]).await;
    let workflows: serde_json::Value = serde_json::from_slice(&workflows.stdout).unwrap();
    assert!(
        workflows
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "bench:noop/noop.three-steps")
    );

    let worker = dacapo_tests::Dacapo::on(&database).worker().await;
    let output = run(
        &database,
        &[
            "start",
            "noop-steps",
            "--input",
            "3",
            "--wait",
            "--label",
            "tenant=a",
        ],
    )
    .await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), "3");
    let listed = run(
        &database,
        &[
            "runs",
            "list",
            "-o",
            "json",
            "--label",
            "tenant=a",
            "--status",
            "completed",
        ],
    )
    .await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let shown = run(&database, &["runs", "show", &id, "--output", "json"]).await;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    for field in [
        "id",
        "workflow",
        "deployment",
        "status",
        "input",
        "output",
        "failure",
        "labels",
        "createdAt",
        "startedAt",
        "finishedAt",
        "progress",
        "steps",
    ] {
        assert!(shown.get(field).is_some(), "{field} is missing: {shown:#}");
    }
    for field in [
        "key",
        "name",
        "kind",
        "status",
        "attempts",
        "outcome",
        "startedAt",
        "finishedAt",
    ] {
        assert!(
            shown["steps"][0].get(field).is_some(),
            "{field} is missing: {shown:#}"
        );
    }
    let watched = run(&database, &["runs", "watch", &id]).await;
    assert!(
        watched.status.success() && text(&watched.stderr).contains("s#3"),
        "{}",
        text(&watched.stderr)
    );
    let doctor = run(&database, &["doctor"]).await;
    assert!(doctor.status.success(), "{}", text(&doctor.stdout));

    let waiting = text(&run(&database, &["start", "wait-event"]).await.stdout)
        .trim()
        .to_owned();
    assert!(
        run(&database, &["event", &waiting, "go", "[1]", "--id", "a"])
            .await
            .status
            .success()
    );
    let output = run(&database, &["runs", "watch", &waiting]).await;
    assert_eq!(text(&output.stdout).trim(), "3");
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_run_is_told_what_it_waits_for() {
    let database = database().await;
    database.deploy("probe").await;
    let start = ["start", "fail-with", "--input", "\"no stock\"", "--wait"];
    let mut waiting = dacapo(&database, &start)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let is_told = line.starts_with("queued: no worker has taken it yet; `dacapo doctor`");
        said.push(line);
        if is_told {
            break;
        }
    }
    assert!(said.len() == 2 && said[0].starts_with("run "), "{said:?}");
    let worker = dacapo_tests::Dacapo::on(&database).worker().await;
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push(line);
    }
    let hint = said.last().unwrap();
    assert!(hint.starts_with("hint: `dacapo runs show"), "{said:?}");
    assert_eq!(waiting.wait().await.unwrap().code(), Some(1));
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_run_is_told_how_the_event_is_sent_that_it_waits_for() {
    let database = database().await;
    database.deploy("approval").await;
    let worker = dacapo_tests::Dacapo::on(&database).worker().await;
    let input = r#"{"employee": "e", "purpose": "p", "amountCents": 1, "coolingOffSeconds": 0}"#;
    let start = ["start", "approve", "--input", input, "--key", "k"];
    let started = self::run(&database, &start).await;
    let run: dacapo_client::RunId = text(&started.stdout).trim().parse().unwrap();
    let paused = "select count(*) = 1 from dacapo.task_suspended where reason = 'pause'";
    database.until("it is paused", paused).await;
    database.client.resume(run).await.unwrap();
    let waits = "select count(*) = 1 from dacapo.task_suspended where reason = 'event'";
    database.until("it waits for the event", waits).await;
    let mut waiting = dacapo(&database, &[&start[..], &["--wait"]].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let says =
        format!(r#"  dacapo event {run} manager-decision '{{"approved":true,"by":"text"}}'"#);
    let mut said = Vec::new();
    while said.last() != Some(&says) {
        said.push(lines.next_line().await.unwrap().expect("it goes on"));
    }
    let before = &said[said.len() - 2];
    assert!(
        before.ends_with("(waits for manager-decision); in another terminal:"),
        "{said:?}"
    );
    // What is printed is what can be typed.
    let event = ["event", &run.to_string(), "manager-decision"];
    let payload = r#"{"approved":true,"by":"text"}"#;
    let sent = self::run(&database, &[&event[..], &[payload]].concat()).await;
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    assert!(waiting.wait().await.unwrap().success());
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_blocked_run_is_told_why_it_is_and_what_lets_it_go_on() {
    let database = database().await;
    database.deploy("gate").await;
    let worker = dacapo_tests::Dacapo::on(&database).worker().await;
    let input =
        r#"{"url": "http://127.0.0.1:1/", "headers": [], "idempotent": false, "attempts": 1}"#;
    let run = database.start("fetch", input).await;
    let blocked = "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'";
    database.until("it is blocked", blocked).await;
    let says = "blocked: not-granted: step `ask#1`: requests to 127.0.0.1 are not granted: add \"127.0.0.1:1\" to `allow`";
    let mut watching = dacapo(&database, &["runs", "watch", &run.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stderr.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    assert!(line.starts_with(says), "{line}");
    assert!(
        line.contains("`dacapo deploy FILE.wasm --upgrade proven`"),
        "{line}"
    );
    watching.kill().await.unwrap();
    worker.kill().await;
}

#[tokio::test]
async fn help_has_no_options_of_the_database_where_there_is_none() {
    for (command, is_there) in [("new", false), ("build", false), ("start", true)] {
        let output = Command::new(dacapo_binary())
            .args([command, "--help"])
            .output()
            .await
            .unwrap();
        let help = text(&output.stdout);
        for option in [
            "--database-url",
            "--direct-url",
            "--namespace",
            "--max-payload-bytes",
        ] {
            assert_eq!(
                help.contains(option),
                is_there,
                "{command} {option}: {help}"
            );
        }
        assert!(help.contains("--output"), "{help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_exits_with_1() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = dacapo_tests::Dacapo::on(&database).worker().await;
    let output = run(
        &database,
        &["start", "fail-with", "--input", "\"no stock\"", "--wait"],
    )
    .await;
    fails(
        &output,
        1,
        &["failed", "no stock", "hint: `dacapo runs show"],
    );
    assert_eq!(text(&output.stdout), "", "there is no output to print");
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_workflows_are_refused_with_a_reason_and_nothing_is_stored() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    };
    let cases: Vec<(String, Vec<&str>)> = vec![
        (
            file("text.wasm", b"hello, world"),
            vec!["not wasm", "hello, world"],
        ),
        (file("empty.wasm", b""), vec!["empty"]),
        (file("module.wasm", b"\0asm\x01\0\0\0"), vec!["component"]),
        (
            file("component.wasm", b"\0asm\x0d\0\x01\0"),
            vec!["no workflow"],
        ),
        (guest("bad_empty"), vec!["no workflow"]),
        (guest("bad_two_params"), vec!["parameter"]),
        (guest("bad_resource"), vec!["resource"]),
        (guest("bad_import"), vec!["import"]),
        (
            directory
                .path()
                .join("none.wasm")
                .to_string_lossy()
                .into_owned(),
            vec!["cannot read"],
        ),
    ];
    for (file, says) in cases {
        let output = run(&database, &["deploy", &file]).await;
        eprintln!("{}", text(&output.stderr));
        fails(&output, 2, &says);
    }
    assert_eq!(
        database
            .count("select count(*) from dacapo.component")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_does_not_fit_is_refused_before_a_run_exists() {
    let database = database().await;
    database.deploy("process_payment").await;
    let item = r#"{"sku": "a", "price": 1}"#;
    let wrong = format!(
        r#"{{"orderId": 1, "amountCents": 1, "currency": "eur", "items": [{item}, {item}, {{"sku": "b", "price": "4"}}]}}"#
    );
    let output = run(&database, &["start", "process", "--input", &wrong]).await;
    fails(
        &output,
        2,
        &[
            "items[2].price: expected u32, got \"4\"",
            "hint: payments:processing/payments.process takes record { orderId: u64, amountCents: u64, currency: currency, ",
            "where currency is enum { eur, gbp, usd }, item is record { sku: string, price: u32 }",
        ],
    );
    for arguments in [
        &["start", "process"][..],
        &["schedule", "create", "nightly", "process", "--every", "1h"],
    ] {
        let says = ["no input was given", "--input", "takes record { orderId"];
        fails(&run(&database, arguments).await, 2, &says);
    }
    fails(
        &run(&database, &["start", "process", "--input", "{"]).await,
        2,
        &["not JSON"],
    );
    fails(
        &run(
            &database,
            &["start", "process", "--input", "@/nowhere.json"],
        )
        .await,
        2,
        &["cannot read"],
    );
    fails(
        &run(
            &database,
            &[
                "start",
                "process",
                "--input",
                &format!("\"{}\"", "x".repeat(60_000)),
            ],
        )
        .await,
        2,
        &["expected payment"],
    );
    let large = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(large.path(), format!("\"{}\"", "x".repeat(2_000_000))).unwrap();
    let argument = format!("@{}", large.path().display());
    fails(
        &run(&database, &["start", "process", "--input", &argument]).await,
        2,
        &["limit", "1,048,576"],
    );
    let small = run(
        &database,
        &[
            "--max-payload-bytes",
            "10",
            "start",
            "process",
            "--input",
            "\"0123456789\"",
        ],
    )
    .await;
    fails(&small, 2, &["the limit is 10 bytes"]);
    assert_eq!(database.count("select count(*) from dacapo.run").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_with_a_way_on() {
    let database = database().await;
    fails(
        &run(&database, &["start", "process"]).await,
        1,
        &["no workflow", "dacapo deploy"],
    );
    database.deploy("process_payment").await;
    fails(
        &run(&database, &["start", "proces"]).await,
        1,
        &["no workflow", "payments:processing/payments.process"],
    );
    let nobody = "01920000-0000-7000-8000-000000000000";
    for arguments in [
        vec!["runs", "show", nobody],
        vec!["event", nobody, "go"],
        vec!["pause", nobody],
        vec!["cancel", nobody],
    ] {
        fails(
            &run(&database, &arguments).await,
            1,
            &["no run", nobody, "hint:"],
        );
    }
    fails(
        &run(&database, &["runs", "show", "17"]).await,
        2,
        &["17", "UUID"],
    );
    fails(
        &run(&database, &["runs", "list", "--status", "done"]).await,
        2,
        &["completed"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_used_is_said_with_a_way_on() {
    let database = database().await;
    for arguments in [["runs", "list"].as_slice(), &["migrate"], &["doctor"]] {
        let down = dacapo(&database, arguments)
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
            .output()
            .await
            .unwrap();
        let says = [
            "cannot reach the database at 127.0.0.1:1: ",
            "Connection refused",
            "hint:",
        ];
        fails(&down, 1, &says);
    }
    let nonsense = dacapo(&database, &["runs", "list"])
        .env("DATABASE_URL", "mysql:nonsense")
        .output()
        .await
        .unwrap();
    fails(&nonsense, 2, &["database URL", "hint:"]);
    sqlx::query("drop schema dacapo cascade")
        .execute(database.store.pool())
        .await
        .unwrap();
    fails(
        &run(&database, &["runs", "list"]).await,
        1,
        &["dacapo migrate"],
    );
    assert!(run(&database, &["migrate"]).await.status.success());
    sqlx::query("update dacapo.compatibility set breaking = 9000")
        .execute(database.store.pool())
        .await
        .unwrap();
    for arguments in [
        ["runs", "list"].as_slice(),
        &["migrate"],
        &["worker"],
        &["worker", "--no-migrate"],
        &["doctor"],
    ] {
        fails(&run(&database, arguments).await, 1, &["newer"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_a_database_that_is_down_and_says_so() {
    let database = database().await;
    let mut command = dacapo(&database, &["worker"]);
    let mut child = command
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stderr.take().unwrap()));
    let line = lines.next_line().await.unwrap().unwrap();
    assert!(line.contains("waiting for the database"), "{line}");
    assert!(line.contains("Connection refused"), "{line}");
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_usage_errors() {
    let database = database().await;
    fails(
        &run(&database, &["worker", "--heartbeat=4s"]).await,
        2,
        &["heartbeat", "lease"],
    );
    fails(
        &run(&database, &["worker", "--runs-max=0"]).await,
        2,
        &["runs-max"],
    );
    fails(
        &run(&database, &["worker", "--stack-max=1"]).await,
        2,
        &["stack-max"],
    );
    fails(
        &run(&database, &["worker", "--retry-factor=0.5"]).await,
        2,
        &["retry policy", "factor", "1 to 1000"],
    );
    let loud = dacapo(&database, &["runs", "list"])
        .env("DACAPO_LOG", "loud=very")
        .output()
        .await
        .unwrap();
    fails(&loud, 2, &["DACAPO_LOG", "hint:"]);
    let output = run(&database, &["worker", "--lease=soon"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("expected a duration"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn arguments_that_cannot_be_read_are_said_as_json_where_that_is_asked_for() {
    for (arguments, message, hint) in [
        (
            &["-o", "json", "runs", "list", "--lable", "x=y"][..],
            "unexpected argument '--lable' found",
            "a similar argument exists: '--label'",
        ),
        (
            &["runs", "--output=json", "lst"],
            "unrecognized subcommand 'lst'",
            "a similar subcommand exists: 'list'",
        ),
        (&["-o", "json"], "expected a command", "`dacapo help`"),
        (
            &["-o", "json", "runs", "list", "--limit", "many"],
            "invalid value 'many' for '--limit",
            "",
        ),
    ] {
        let mut command = Command::new(dacapo_binary());
        let output = command.args(arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        let error = &said["error"];
        assert_eq!(error["code"], "usage", "{said}");
        assert!(
            error["message"].as_str().unwrap().starts_with(message),
            "{said}"
        );
        assert!(
            error["hint"].as_str().unwrap_or_default().contains(hint),
            "{said}"
        );
    }
    let mut command = Command::new(dacapo_binary());
    let help = command.args(["-o", "json", "runs", "list", "-h"]).output();
    let help = help.await.unwrap();
    assert!(help.status.success() && text(&help.stdout).contains("Usage:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_of_the_command_is_as_it_was_accepted() {
    let commands: &[&[&str]] = &[
        &[],
        &["dev"],
        &["worker"],
        &["serve"],
        &["mcp"],
        &["deploy"],
        &["refs"],
        &["workflows"],
        &["test"],
        &["start"],
        &["runs"],
        &["runs", "list"],
        &["runs", "count"],
        &["runs", "show"],
        &["runs", "watch"],
        &["runs", "logs"],
        &["runs", "note"],
        &["runs", "export"],
        &["runs", "import"],
        &["event"],
        &["pause"],
        &["resume"],
        &["cancel"],
        &["rerun"],
        &["retry"],
        &["skip"],
        &["schedule"],
        &["schedule", "create"],
        &["schedule", "list"],
        &["schedule", "show"],
        &["schedule", "pause"],
        &["schedule", "resume"],
        &["schedule", "trigger"],
        &["schedule", "backfill"],
        &["schedule", "delete"],
        &["retention"],
        &["retention", "set"],
        &["migrate"],
        &["doctor"],
        &["bench"],
        &["completions"],
        &["man"],
        &["help"],
    ];
    let mut reference = String::new();
    for command in commands {
        let mut process = Command::new(dacapo_binary());
        // The short help: the options of all commands would otherwise stand there each time in full.
        process.args(*command).arg("-h").env_clear();
        let output = process.output().await.unwrap();
        assert!(output.status.success());
        reference = format!(
            "{reference}$ dacapo {} -h\n{}\n",
            command.join(" "),
            text(&output.stdout)
        );
    }
    insta::assert_snapshot!(reference);
}
