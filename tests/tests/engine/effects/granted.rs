//! What else a manifest gives a guest and takes from it: its environment, its limits, a scratch directory.

use dacapo_model::{LimitSettings, Manifest, Status};
use dacapo_tests::{database, guest};
use dacapo_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};

use super::{Service, ask, blocked, deploy, output};
use crate::check::{sound, worker};
use crate::command::{run, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_the_environment_of_its_deployment_and_no_other() {
    let database = database().await;
    let environment = [("STAGE", "test"), ("REGION", "eu")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    deploy(
        &database,
        &Manifest {
            environment: environment.into(),
            ..Manifest::default()
        },
    )
    .await;
    let worker = worker(&database).await;
    let run = database.start("environment", "null").await;
    let done = database.done(run).await;
    let seen: Vec<String> = serde_json::from_str(done.output.unwrap().as_str()).unwrap();
    assert_eq!(seen, ["REGION=eu", "STAGE=test", "REGION=eu", "STAGE=test"]);
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_narrows_the_limits_of_its_guests_and_widens_none() {
    let database = database().await;
    let limits = LimitSettings {
        memory_bytes: Some(32 << 20),
        cpu_ms: Some(2_000),
        step_cpu_ms: Some(3_000),
        payload_bytes: Some(1_000),
        steps: Some(5),
        scratch_bytes: None,
    };
    let manifest = Manifest {
        limits: Some(limits),
        ..Manifest::default()
    };
    deploy(&database, &manifest).await;
    let worker = worker(&database).await;
    for (workflow, input, code, says) in [
        ("takes", "64", "memory-limit", "33554432"),
        ("burns", "60000", "timeout", "2000 ms"),
        ("burns-in-step", "60000", "timeout", "3000 ms"),
        ("records", "2000", "payload-limit", "1,000 bytes"),
    ] {
        let run = database.start(workflow, input).await;
        let failure = database
            .done(run)
            .await
            .failure
            .unwrap_or_else(|| panic!("{workflow}"));
        assert!(failure.message.contains(says), "{workflow}: {failure:?}");
        assert!(
            workflow == "burns-in-step" || failure.code == code,
            "{workflow}: {failure:?}"
        );
    }
    for (workflow, input) in [
        ("takes", "8"),
        ("burns-in-step", "50"),
        ("records", "900"),
        ("steps", "5"),
    ] {
        let run = database.start(workflow, input).await;
        assert_eq!(
            database.done(run).await.status,
            Status::Completed,
            "{workflow}"
        );
    }
    let run = database.start("steps", "6").await;
    let why = blocked(&database, run).await;
    assert_eq!(why["code"], "journal-limit");
    assert!(why["message"].as_str().unwrap().contains("5 rows"), "{why}");
    worker.drain().await.unwrap();

    // The worker's own limits are the ceiling.
    let wide = LimitSettings {
        memory_bytes: Some(1 << 40),
        cpu_ms: Some(1_000_000),
        step_cpu_ms: Some(1_000_000),
        payload_bytes: Some(1 << 40),
        steps: Some(1_000_000),
        scratch_bytes: None,
    };
    deploy(
        &database,
        &Manifest {
            limits: Some(wide),
            ..Manifest::default()
        },
    )
    .await;
    let mut config = WorkerConfig::default();
    config.sandbox.memory_max_bytes = 32 << 20;
    config.sandbox.cpu_between_calls_max_ms = 2_000;
    config.sandbox.payload.max_bytes = 1_000;
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    for (workflow, input, says) in [
        ("takes", "64", "33554432"),
        ("burns", "60000", "2000 ms"),
        ("burns-in-step", "60000", "2000 ms"),
        ("records", "2000", "1,000 bytes"),
    ] {
        let run = database.start(workflow, input).await;
        let failure = database
            .done(run)
            .await
            .failure
            .unwrap_or_else(|| panic!("{workflow}"));
        assert!(failure.message.contains(says), "{workflow}: {failure:?}");
    }
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_grants_steps_a_scratch_directory() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("gate.wasm");
    std::fs::write(&component, guest("gate")).unwrap();
    let manifest = "[limits]\nscratch = \"64KiB\"\n";
    std::fs::write(directory.path().join("dacapo.toml"), manifest).unwrap();
    let deployed = run(&database, &["deploy", component.to_str().unwrap()]).await;
    let said = text(&deployed.stdout);
    assert!(deployed.status.success(), "{}", text(&deployed.stderr));
    let line = "scratch directory of a step: at most 64.0 KiB";
    assert!(said.contains(line), "{said}");

    let worker = worker(&database).await;
    let steps = json!([
        ["write /tmp/a hello", "read /tmp/a", "fill /tmp/b 57345"],
        ["list /tmp", "fill /tmp/b 57344"],
    ]);
    let script = database.start("script", &steps.to_string()).await;
    let done = database.done(script).await;
    let said: Value = serde_json::from_str(done.output.unwrap().as_str()).unwrap();
    assert_eq!(
        said,
        json!([["done", "hello", "Uncategorized"], ["", "done"]])
    );
    let outside = database.start("script-outside", r#"["read /tmp/a"]"#).await;
    let failure = database.done(outside).await.failure.unwrap();
    assert_eq!(failure.code, "misuse");
    assert!(failure.message.contains("open-at"), "{failure:?}");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_prints_what_it_grants_and_may_grant_more() {
    let (database, service) = (database().await, Service::start().await);
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("gate.wasm");
    std::fs::write(&component, guest("gate")).unwrap();
    let component = component.to_str().unwrap();
    let manifest = "[http]\nallow = [\"api.example.com\"]\n[secrets]\nbank-key = [\"api.example.com\"]\n[environment]\nSTAGE = \"test\"\n";
    std::fs::write(directory.path().join("dacapo.toml"), manifest).unwrap();
    let host = format!("127.0.0.1:{}", service.port);
    let output_of_deploy = run(&database, &["deploy", component, "--allow-host", &host]).await;
    let said = text(&output_of_deploy.stdout);
    assert!(
        output_of_deploy.status.success(),
        "{}",
        text(&output_of_deploy.stderr)
    );
    for line in [
        "dacapo.toml and --allow-host set",
        "requests to api.example.com",
        &format!("requests to {host}"),
        "secret bank-key: sent to api.example.com",
        "environment STAGE=test",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let refused = run(
        &database,
        &[
            "deploy",
            component,
            "--allow-host",
            "https://api.example.com/v1",
        ],
    )
    .await;
    let said = text(&refused.stderr);
    assert!(
        said.contains("expected a host and not a URL: write \"api.example.com\""),
        "{said}"
    );
    let worker = worker(&database).await;
    assert!(
        output(&database, "fetch", &ask(&service.url("/echo"), json!({})))
            .await
            .starts_with("200 ")
    );
    worker.drain().await.unwrap();
}
