//! The command with a server in the place of a database.

use std::process::{Output, Stdio};

use dacapo_tests::{Dacapo, dacapo_binary, database, guest_path};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::api::Api;

async fn dacapo(api: &Api, arguments: &[&str]) -> Output {
    tokio::process::Command::new(dacapo_binary())
        .args(arguments)
        .args(["--output", "json", "--server", &api.url()])
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

/// What it prints, once it went well.
async fn prints(api: &Api, arguments: &[&str]) -> Value {
    let output = dacapo(api, arguments).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The code of its error.
async fn fails(api: &Api, arguments: &[&str]) -> String {
    let output = dacapo(api, arguments).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?}");
    let line = said.lines().last().unwrap();
    let error: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{said}"));
    error["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_deploying_to_the_output_nothing_but_a_server_is_needed() {
    let database = database().await;
    let api = Api::on(&database).await;
    let file = guest_path("probe");
    let deployed = prints(&api, &["deploy", file.to_str().unwrap(), "--by", "ada"]).await;
    assert_eq!(
        (&deployed[0]["number"], &deployed[0]["created"]),
        (&json!(1), &json!(true))
    );
    let list = prints(&api, &["deployments", "list"]).await;
    assert_eq!(list[0]["lastChange"]["who"], "ada");

    let _worker = Dacapo::on(&database).worker().await;
    let start = [
        "start",
        "counted-steps",
        "--input",
        "3",
        "--key",
        "k",
        "--label",
        "a=b",
        "--wait",
    ];
    let run = prints(&api, &start).await;
    assert_eq!(
        (&run["status"], &run["output"]),
        (&json!("completed"), &json!(6))
    );
    let id = run["id"].as_str().unwrap();
    let shown = prints(&api, &["runs", "show", id]).await;
    assert_eq!(
        shown,
        serde_json::to_value(database.client.get(id.parse().unwrap()).await.unwrap()).unwrap()
    );
    assert_eq!(
        fails(
            &api,
            &["start", "counted-steps", "--input", "4", "--key", "k"]
        )
        .await,
        "key-conflict"
    );
    assert_eq!(
        fails(&api, &["start", "counted-steps", "--input", "\"x\""]).await,
        "bad-input"
    );

    let waiting = prints(&api, &["start", "step-wait-step"]).await;
    let waiting = waiting["id"].as_str().unwrap();
    prints(&api, &["runs", "list", "--label", "a=b"]).await["items"][0]["id"]
        .as_str()
        .filter(|found| *found == id)
        .unwrap();
    let counts = prints(&api, &["runs", "count", "--status", "completed"]).await;
    assert_eq!(counts, json!({ "completed": 1 }));
    prints(&api, &["runs", "note", waiting, "soon", "--by", "ada"]).await;
    prints(&api, &["event", waiting, "go", "1"]).await;
    let ended = prints(&api, &["runs", "watch", waiting]).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["interventions"][0]["who"], "ada");
    prints(&api, &["runs", "logs", waiting]).await;
    let again = prints(&api, &["rerun", waiting]).await;
    let again = again["newRun"].as_str().unwrap();
    let cancelled = prints(&api, &["cancel", again, "--force"]).await;
    assert_eq!(cancelled["run"], again);
    let many = ["event", "--label", "c=d", "go", "--id", "all"];
    prints(&api, &["start", "step-wait-step", "--label", "c=d"]).await;
    assert_eq!(
        prints(&api, &[&many[..], &["--dry-run"]].concat()).await["runs"],
        1
    );
    assert_eq!(prints(&api, &many).await["sent"], 1);
    let rerun = ["rerun", "--label", "a=b", "--status", "completed"];
    assert_eq!(
        prints(&api, &[&rerun[..], &["--dry-run"]].concat()).await["runs"],
        1
    );
    let done = prints(&api, &rerun).await;
    assert_eq!(done["changed"][0]["run"], id);
    let unknown = "01938e60-5a1c-7cc0-9d2f-3b8f0a6c41d7";
    assert_eq!(
        fails(&api, &["runs", "show", unknown]).await,
        "run-not-found"
    );
    assert_eq!(fails(&api, &["pause", waiting]).await, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_and_schedules_are_steered_through_a_server() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let set = [
        "queue",
        "set",
        "mail",
        "--concurrency",
        "3",
        "--rate",
        "5/1m",
    ];
    let queue = prints(&api, &set).await;
    assert_eq!(queue["rate"], json!({ "runs": 5, "perMs": 60000 }));
    let queue = prints(&api, &["queue", "set", "mail", "--rate", "none"]).await;
    assert_eq!(
        (&queue["rate"], &queue["concurrency"]),
        (&json!(null), &json!(3))
    );
    assert_eq!(
        prints(&api, &["queue", "pause", "mail"]).await["paused"],
        true
    );
    assert_eq!(
        prints(&api, &["queue", "list"]).await["queues"][0]["name"],
        "mail"
    );
    prints(&api, &["queue", "pause", "--all", "--reason", "fire"]).await;
    prints(&api, &["queue", "resume", "--all"]).await;
    prints(&api, &["queue", "delete", "mail"]).await;

    let create = [
        "schedule",
        "create",
        "n",
        "counted-steps",
        "--input",
        "1",
        "--every",
        "1h",
    ];
    let made = prints(&api, &create).await;
    assert_eq!(made["everySeconds"], 3600);
    assert_eq!(fails(&api, &create).await, "schedule-exists");
    let shown = prints(&api, &["schedule", "show", "n"]).await;
    assert_eq!(shown, prints(&api, &["schedule", "list"]).await[0]);
    prints(&api, &["schedule", "trigger", "n"]).await;
    prints(&api, &["schedule", "pause", "n"]).await;
    prints(&api, &["schedule", "delete", "n"]).await;
    let rules = prints(&api, &["retention", "set", "90d", "--status", "failed"]).await;
    assert_eq!(rules[1]["keepSeconds"], 90 * 86_400);
    let rules = prints(&api, &["retention", "set", "default", "--status", "failed"]).await;
    assert_eq!(rules.as_array().unwrap().len(), 1);
    let paused = prints(&api, &["workflows", "pause", "counted-steps"]).await;
    assert_eq!(paused["workflow"], "test:probe/durable.counted-steps");
    prints(&api, &["workflows", "resume", "counted-steps"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_the_database_says_so_and_a_server_that_is_not_there_too() {
    let database = database().await;
    let api = Api::on(&database).await;
    for arguments in [&["worker"][..], &["doctor"], &["migrate"]] {
        assert_eq!(fails(&api, arguments).await, "usage", "{arguments:?}");
    }
    for arguments in [
        &["deployments", "show", "probe"][..],
        &["refs", "probe", "--lang", "rust"],
        &["token", "list"],
    ] {
        assert_eq!(
            fails(&api, arguments).await,
            "needs-database",
            "{arguments:?}"
        );
    }
    // What a server's client sees is for its token to say.
    for option in [
        &["--workflow", "shop:*"][..],
        &["--label", "a=b"],
        &["--no-payloads"],
    ] {
        let arguments = [&["mcp"], option].concat();
        assert_eq!(fails(&api, &arguments).await, "usage", "{arguments:?}");
    }
    let output = tokio::process::Command::new(dacapo_binary())
        .args(["runs", "list", "--server", "http://127.0.0.1:9"])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot reach the server"), "{said}");
    for url in ["127.0.0.1:7007", "ftp://x", "http://"] {
        let output = tokio::process::Command::new(dacapo_binary())
            .args(["runs", "list", "--server", url])
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_is_told_to_type_who_waits_names_the_server() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let worker = Dacapo::on(&database).worker().await;
    let url = api.url();
    let mut waiting = tokio::process::Command::new(dacapo_binary())
        .args([
            "start",
            "step-wait-step",
            "--wait",
            "--timeout",
            "60s",
            "--server",
            &url,
        ])
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let begin = format!("  dacapo event --server {url} ");
    let run = loop {
        let line = lines.next_line().await.unwrap().expect("it goes on");
        if let Some(typed) = line.strip_prefix(&begin) {
            assert!(typed.ends_with(" go '{…}'"), "{typed}");
            break typed.split(' ').next().unwrap().to_owned();
        }
    };
    prints(&api, &["event", &run, "go", "\"now\""]).await;
    assert!(waiting.wait().await.unwrap().success());
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_too_fast_is_asked_again_when_it_says() {
    let database = database().await;
    let arguments = ["--requests-per-second", "1", "--requests-burst", "1"];
    let api = Api::with(&database, &arguments).await;
    for _ in 0..3 {
        assert_eq!(prints(&api, &["queue", "list"]).await["queues"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deployed_and_what_was_done_is_shown_through_a_server() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let workflows = prints(&api, &["workflows"]).await;
    let direct = database.client.workflows().await.unwrap();
    assert_eq!(workflows, serde_json::to_value(direct).unwrap());
    prints(&api, &["start", "counted-steps", "--input", "3"]).await;
    let audit = prints(&api, &["audit", "list"]).await;
    assert_eq!(audit["items"][0]["action"], "startRun");
}
