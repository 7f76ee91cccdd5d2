//! What a deployment says about its workflows beside their code.

use dacapo_model::{Manifest, RetryPolicy, RetrySettings, WorkflowSettings};
use dacapo_tests::{Database, database, guest};
use dacapo_worker::{Worker, WorkerConfig};

use crate::check::sound;
use crate::command::{fails, run, text};

fn attempts(max_attempts: u32) -> RetrySettings {
    RetrySettings {
        max_attempts: Some(max_attempts),
        initial_ms: Some(1),
        factor: Some(1.0),
        max_ms: Some(1),
    }
}

async fn deploy(database: &Database, manifest: &Manifest) -> i32 {
    let described = dacapo_sandbox::describe(&guest("probe")).unwrap();
    let deployed = database.client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        manifest,
    );
    let outcome = deployed.await.unwrap();
    assert!(outcome.created);
    outcome.number
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_says_nothing_is_tried_again_as_its_deployment_says_and_a_workflow_may_differ()
{
    let database = database().await;
    let of_all = Manifest {
        retry: Some(attempts(4)),
        ..Manifest::default()
    };
    let own = WorkflowSettings {
        retry: Some(RetrySettings {
            max_attempts: Some(2),
            ..RetrySettings::default()
        }),
        ..WorkflowSettings::default()
    };
    let of_one = Manifest {
        workflows: [("step-fails-retryable".to_owned(), own)].into(),
        ..of_all.clone()
    };
    let of_others = Manifest {
        workflows: [(
            "flaky".to_owned(),
            WorkflowSettings {
                retry: Some(attempts(3)),
                ..WorkflowSettings::default()
            },
        )]
        .into(),
        ..of_all.clone()
    };
    // Each run stays with the deployment that it was started on.
    let mut expected = Vec::new();
    for (manifest, attempts) in [
        (of_all, 4),
        (of_one, 2),
        (of_others, 4),
        (Manifest::default(), 5),
    ] {
        deploy(&database, &manifest).await;
        let run = database.start("step-fails-retryable", "null").await;
        expected.push((run, attempts));
        // What the code says comes before all of it.
        let input = r#"{"bad": 9, "attempts": 6, "backoffMs": 1, "how": "fail"}"#;
        expected.push((database.start("flaky", input).await, 6));
    }
    let mut config = WorkerConfig::default();
    config.sandbox.retry = RetryPolicy {
        max_attempts: 5,
        initial_ms: 1,
        factor: 1.0,
        max_ms: 1,
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    for (run, attempts) in expected {
        let done = database.done(run).await;
        assert_eq!(
            done.steps[0].failed_attempts.len(),
            attempts,
            "{} of deployment {}",
            done.workflow,
            done.deployment.number
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_with_another_manifest_are_another_deployment() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("probe.wasm");
    std::fs::write(&component, guest("probe")).unwrap();
    let component = component.to_str().unwrap();
    let manifest = directory.path().join("dacapo.toml");
    let deploy = async || {
        let output = run(&database, &["deploy", component]).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(
        deploy()
            .await
            .contains("deployment 1 of test:probe is active")
    );

    std::fs::write(&manifest, "[retry]\nmax-attempts = 7\nmax = \"5m\"\n").unwrap();
    let said = deploy().await;
    assert!(
        said.contains("deployment 2 of test:probe is active for new runs (before: 1)"),
        "{said}"
    );
    assert!(said.contains("dacapo.toml sets\n    steps that say nothing: 7 attempts, 1s between the first two, then 2 times as long, at most 5m"), "{said}");
    assert!(
        deploy().await.contains(
            "nothing changed: deployment 2 of test:probe has these bytes and this manifest"
        )
    );
    let shown = run(&database, &["workflows", "--output", "json"]).await;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown[0]["retry"]["maxAttempts"], 7, "{shown:#}");
    assert_eq!(shown[0]["retry"]["maxMs"], 300_000, "{shown:#}");

    // Another one may be named, and what lies beside the component does not count then.
    let other = directory.path().join("other.toml");
    std::fs::write(&other, "[workflows.flaky.retry]\nmax-attempts = 1\n").unwrap();
    let output = run(
        &database,
        &[
            "deploy",
            component,
            "--manifest",
            other.to_str().unwrap(),
            "-o",
            "json",
        ],
    )
    .await;
    let deployed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(deployed[0]["number"], 3);
    let workflows = deployed[0]["manifest"]["sets"]["workflows"]
        .as_object()
        .unwrap();
    let names: Vec<&String> = workflows.keys().collect();
    assert_eq!(names, ["test:probe/durable.flaky"]);
    std::fs::remove_file(&manifest).unwrap();
    assert!(
        deploy()
            .await
            .contains("deployment 4 of test:probe is active")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_meant_is_refused_with_line_and_column_and_nothing_is_deployed() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("probe.wasm");
    std::fs::write(&component, guest("probe")).unwrap();
    let component = component.to_str().unwrap();
    let manifest = directory.path().join("dacapo.toml");
    for (toml, says) in [
        (
            "[retry]\nmax-attempts = 0\n",
            "dacapo.toml:2:16: `max-attempts`: expected 1 to 1000, got 0",
        ),
        (
            "[retry]\n  initial = 5\n",
            "dacapo.toml:2:13: expected a duration in quotes, such as \"700ms\", \"5s\" or \"1m 30s\", got integer `5`",
        ),
        (
            "[retries]\n",
            "dacapo.toml:1:2: expected one of `build`, `retry`, `queue`, `priority`, `retention`, `sql`, `workflows`, `http`, `secrets`, `environment`, `limits`, got the key `retries`",
        ),
        (
            "[sql]\nsearch-path = [\"shop\"]\n",
            "dacapo.toml:1:1: missing field `database`",
        ),
        (
            "[sql]\ndatabase = \"The Shop\"\n",
            "dacapo.toml:2:12: `database`: expected 1 to 40 lower-case letters, digits and hyphens, beginning with a letter, got \"The Shop\"",
        ),
        (
            "[sql]\ndatabase = \"shop\"\nrole = \"a\"\n",
            "dacapo.toml:3:1: expected one of `database`, `search-path`, `statement-timeout`, `max-rows`, `max-bytes`, got the key `role`",
        ),
        (
            "[sql]\ndatabase = \"shop\"\nstatement-timeout = \"1h\"\n",
            "dacapo.toml:3:21: `statement-timeout`: expected 1 ms to 10 minutes, got 3600000 ms",
        ),
        (
            "[workflows.flakey.retry]\nfactor = 1",
            "dacapo.toml:1:12: expected the full name of a workflow of the component, or an end of it that is unique, got `flakey`; the component exports test:probe/",
        ),
    ] {
        std::fs::write(&manifest, toml).unwrap();
        let output = run(&database, &["deploy", component]).await;
        fails(
            &output,
            2,
            &[says, "hint: change the file and deploy again"],
        );
    }
    let output = run(&database, &["deploy", component, "--manifest", "gone.toml"]).await;
    fails(&output, 2, &["cannot read gone.toml"]);
    assert_eq!(
        database
            .count("select count(*) from dacapo.deployment")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_says_what_a_worker_does_not_know_blocks_runs_instead_of_being_ignored() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = Worker::start(database.store.clone(), WorkerConfig::default())
        .await
        .unwrap();
    let set = async |manifest: &str| {
        sqlx::query("update dacapo.deployment set manifest = $1")
            .bind(manifest)
            .execute(database.store.pool())
            .await
            .unwrap();
    };
    set(r#"{"hosts": []}"#).await;
    let started = database.start("step-fails-retryable", "null").await;
    database
        .until(
            "the run is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let blocked = database.client.get(started).await.unwrap().blocked.unwrap();
    assert!(
        blocked.as_str().contains("unreadable-deployment") && blocked.as_str().contains("hosts"),
        "{blocked:?}"
    );
    set(r#"{"retry": {"maxAttempts": 1}}"#).await;
    database.client.resume(started).await.unwrap();
    assert_eq!(
        database.done(started).await.steps[0].failed_attempts.len(),
        1
    );
    worker.drain().await.unwrap();
}
