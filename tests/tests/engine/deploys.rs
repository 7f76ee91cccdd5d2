//! Deploys: picked up without a restart; runs in flight keep what they started on.

use dacapo_model::Status;
use dacapo_tests::{database, guest};

use crate::check::{sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_picks_a_new_deployment_up_and_runs_in_flight_keep_theirs() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let old = database.start("changes.renamed", "null").await;
    database
        .until(
            "the old run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    database.deploy("probe2").await;
    let new = database.start("changes.renamed", "null").await;
    database
        .until(
            "both runs wait",
            "select count(*) = 2 from dacapo.task_suspended",
        )
        .await;
    for run in [old, new] {
        database
            .client
            .send_event(run, "go", "1", None)
            .await
            .unwrap();
    }
    assert_eq!(database.done(old).await.status, Status::Completed);
    assert_eq!(database.done(new).await.status, Status::Completed);
    assert_eq!(database.client.get(old).await.unwrap().deployment.number, 1);
    assert_eq!(database.client.get(new).await.unwrap().deployment.number, 2);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_change_nothing() {
    let database = database().await;
    let described = dacapo_sandbox::describe(&guest("probe")).unwrap();
    let deploy = || {
        database.client.deploy(
            &described.descriptor,
            &described.digest,
            &described.component,
        )
    };
    let first = deploy().await.unwrap();
    let second = deploy().await.unwrap();
    assert!(first.created && !second.created);
    assert_eq!(second.number, 1);
    assert_eq!(
        database
            .count("select count(*) from dacapo.deployment")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_its_code_contradicts_is_blocked_with_both_sides_and_goes_on_when_that_is_mended()
 {
    let database = database().await;
    database.deploy("probe").await;
    database.deploy("probe2").await;
    let worker = worker(&database).await;
    for (workflow, journal_has, code_asks) in [
        ("renamed", "`reserve#1`", "a step `book#1`"),
        (
            "kind-changed",
            "a step under that key",
            "a sleep `reserve#1`",
        ),
        ("dropped", "`reserve#1`", "a wait `go#1`"),
    ] {
        for statement in [
            "update dacapo.deployment set active = false",
            "update dacapo.deployment set active = true where number = 1",
        ] {
            sqlx::query(statement)
                .execute(database.store.pool())
                .await
                .unwrap();
        }
        let run = dacapo_client::Client::new(database.store.clone())
            .start_by_name(&format!("changes.{workflow}"), "null", Default::default())
            .await
            .unwrap()
            .id;
        database
            .until(
                "the run waits",
                "select count(*) = 1 from dacapo.task_suspended where reason = 'event'",
            )
            .await;
        let pin = |number: i32| {
            let store = database.store.clone();
            async move {
                sqlx::query("update dacapo.run set deployment_id = (select id from dacapo.deployment where number = $1) where id = $2")
                    .bind(number)
                    .bind(run.0)
                    .execute(store.pool())
                    .await
                    .unwrap();
            }
        };
        pin(2).await;
        database
            .client
            .send_event(run, "go", "1", None)
            .await
            .unwrap();
        database
            .until(
                "the run is blocked",
                "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
            )
            .await;
        let blocked = database.client.get(run).await.unwrap();
        assert_eq!(blocked.status, Status::Blocked);
        let reason = serde_json::to_value(&blocked).unwrap()["blocked"].clone();
        assert_eq!(reason["code"], "mismatch", "{workflow}: {reason:#}");
        let message = reason["message"].as_str().unwrap();
        let (asks, has) = message.split_once(", but the journal ").unwrap();
        assert!(asks.contains(code_asks), "{workflow}: {message}");
        assert!(has.contains(journal_has), "{workflow}: {message}");
        pin(1).await;
        database.client.resume(run).await.unwrap();
        assert_eq!(
            database.done(run).await.status,
            Status::Completed,
            "{workflow}"
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}
