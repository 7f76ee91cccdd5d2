//! Secrets are sent where that is granted, and show nowhere.

use dacapo_model::{Manifest, SecretGrant, SecretName, Status};
use dacapo_tests::{Database, database};
use dacapo_worker::{Secrets, Worker, WorkerConfig};
use serde_json::json;

use super::{BOTH, Service, ask, bearer, blocked, deploy, granting, output};
use crate::check::{journal, sound};

const SECRET: &str = "s3cret \"with\" quotes";

/// A manifest that grants both names of the service, and the secret `key` for its address.
fn with_secret(service: &Service, reveal: bool) -> Manifest {
    let grant = SecretGrant {
        hosts: vec![service.grant().host],
        reveal,
    };
    Manifest {
        secrets: [(SecretName::parse("key").unwrap(), grant)].into(),
        ..granting(vec![service.grant(), service.named_grant(true)])
    }
}

async fn worker_with_secrets(database: &Database, directory: &std::path::Path) -> Worker {
    let config = WorkerConfig {
        secrets: Secrets::new([], Some(directory.to_owned())),
        ..WorkerConfig::default()
    };
    Worker::start(database.store.clone(), config).await.unwrap()
}

/// All text that the database holds.
async fn all_text(database: &Database) -> String {
    let texts: Vec<Option<String>> = sqlx::query_scalar(
        "select run::text from dacapo.run union all select step::text from dacapo.step union all select log::text from dacapo.log
        union all select attempt::text from dacapo.attempt union all select deployment::text from dacapo.deployment
        union all select task_suspended::text from dacapo.task_suspended",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    texts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_sent_to_hosts_that_it_is_granted_for_and_shows_nowhere() {
    let (database, service) = (database().await, Service::start().await);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), format!("{SECRET}\n")).unwrap();
    deploy(&database, &with_secret(&service, false)).await;
    let worker = worker_with_secrets(&database, directory.path()).await;

    // It is granted for the address and not for the name.
    let other = ask(&service.named("/echo"), bearer());
    let said = output(&database, "fetch", &other).await;
    assert!(
        said.starts_with("not-granted: secret `key` is not granted for requests to localhost"),
        "{said}"
    );
    assert!(
        output(&database, "wasi-fetch", &other)
            .await
            .contains("HttpRequestDenied")
    );
    assert!(service.seen().is_empty());

    let granted = ask(&service.url("/echo"), bearer());
    for workflow in ["blabs", "wasi-blabs"] {
        // The service tells it back, and the guest tells that to everybody.
        let run = database.start(workflow, &granted).await;
        let done = database.done(run).await;
        assert!(
            done.failure
                .unwrap()
                .message
                .contains("Bearer {{dacapo.secret.key}}")
        );
        assert_eq!(journal(&database, run).await.len(), 3);
    }
    let sent = service.seen();
    assert_eq!(sent.len(), 6);
    assert!(
        sent.iter()
            .all(|seen| seen.header("authorization") == Some(&format!("Bearer {SECRET}")))
    );
    let redirected = ask(
        &service.url(&format!("/to?{}", service.named("/echo"))),
        bearer(),
    );
    assert!(
        output(&database, "fetch", &redirected)
            .await
            .contains("authorization=-")
    );
    // Not in the body, and not in another guest's reach.
    let in_body = ask(
        &service.url("/echo"),
        json!({ "method": "POST", "body": "{{dacapo.secret.key}}" }),
    );
    output(&database, "fetch", &in_body).await;
    assert_eq!(service.seen().last().unwrap().body, "{{dacapo.secret.key}}");
    let refused = output(&database, "reveals", "\"key\"").await;
    assert!(
        refused.starts_with("not-granted: ") && refused.contains("`reveal = true`"),
        "{refused}"
    );

    let text = all_text(&database).await;
    assert!(text.contains("dacapo.secret.key"));
    assert!(!text.contains("s3cret"), "{text}");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_another_worker_has_sent_shows_nowhere() {
    let (database, service) = (database().await, Service::start().await);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), SECRET).unwrap();
    deploy(&database, &with_secret(&service, false)).await;
    let worker = worker_with_secrets(&database, directory.path()).await;
    output(&database, "fetch", &ask(&service.url("/echo"), bearer())).await;
    worker.drain().await.unwrap();
    let sent = service.seen()[0].header("authorization").map(str::to_owned);
    assert_eq!(sent, Some(format!("Bearer {SECRET}")));

    let worker = worker_with_secrets(&database, directory.path()).await;
    let told = ask(&service.url("/account"), json!({}));
    for workflow in BOTH {
        let said = output(&database, workflow, &told).await;
        assert_eq!(said, "200 Bearer {{dacapo.secret.key}}", "{workflow}");
    }
    let text = all_text(&database).await;
    assert!(!text.contains("s3cret"), "{text}");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_revealed_where_that_is_granted() {
    let (database, service) = (database().await, Service::start().await);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), SECRET).unwrap();
    deploy(&database, &with_secret(&service, true)).await;
    let worker = worker_with_secrets(&database, directory.path()).await;
    assert_eq!(output(&database, "reveals", "\"key\"").await, SECRET);
    let unknown = output(&database, "reveals", "\"other\"").await;
    assert!(
        unknown.starts_with("not-granted: secret `other`"),
        "{unknown}"
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_blocks_its_run_until_it_is_there() {
    let (database, service) = (database().await, Service::start().await);
    let directory = tempfile::tempdir().unwrap();
    deploy(&database, &with_secret(&service, false)).await;
    let worker = worker_with_secrets(&database, directory.path()).await;
    let file = directory.path().join("key");
    for workflow in BOTH {
        let run = database
            .start(workflow, &ask(&service.url("/echo"), bearer()))
            .await;
        let why = blocked(&database, run).await;
        assert_eq!(why["code"], "missing-secret");
        let message = why["message"].as_str().unwrap();
        assert!(
            message.starts_with("secret `key` is not on this worker: cannot read ")
                && message.contains("resume"),
            "{message}"
        );
        std::fs::write(&file, SECRET).unwrap();
        database.client.resume(run).await.unwrap();
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Completed);
        // It was not the step that failed.
        assert!(done.steps[0].failed_attempts.is_empty());
        std::fs::remove_file(&file).unwrap();
    }
    assert_eq!(service.seen().len(), 2);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_blocked_for_a_secret_go_on_when_a_worker_starts_that_has_it() {
    let (database, service) = (database().await, Service::start().await);
    let directory = tempfile::tempdir().unwrap();
    deploy(&database, &with_secret(&service, false)).await;
    let without = worker_with_secrets(&database, directory.path()).await;
    let mut runs = Vec::new();
    for workflow in BOTH {
        let run = database
            .start(workflow, &ask(&service.url("/echo"), bearer()))
            .await;
        runs.push(run);
    }
    database
        .until(
            "both are blocked",
            "select count(*) = 2 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    // One that has other secrets lets them be.
    without.drain().await.unwrap();
    std::fs::write(directory.path().join("other"), SECRET).unwrap();
    let other = worker_with_secrets(&database, directory.path()).await;
    let shown = database.client.get(runs[0]).await.unwrap();
    assert_eq!(shown.status, Status::Blocked);
    std::fs::write(directory.path().join("key"), SECRET).unwrap();
    let with = worker_with_secrets(&database, directory.path()).await;
    for run in runs {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    for worker in [other, with] {
        worker.drain().await.unwrap();
    }
    sound(&database).await;
}
