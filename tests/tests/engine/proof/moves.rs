//! Runs that are moved to the deployment that was proven for them, and those that are not.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_model::{DeploymentId, RunId, Status, WorkerId};
use dacapo_store::{Claim, Move, Moved, Store, look_whole, move_runs};
use dacapo_tests::{Database, database};

use super::{start, with_manifest};
use crate::check::{sound, worker};
use crate::command::{fails, run as dacapo, text};

/// How runs of the old code stand, ready to be moved.
async fn stand(store: &Store, runs: &[RunId]) -> Vec<Move> {
    let whole = look_whole(store, runs).await.unwrap();
    whole.iter().map(Move::of).collect()
}

/// The id of a deployment of the probe.
async fn probe_at(database: &Database, number: i32) -> DeploymentId {
    let id = sqlx::query_scalar(
        "select id from dacapo.deployment where package = 'test:probe' and number = $1",
    )
    .bind(number)
    .fetch_one(database.store.pool());
    DeploymentId(id.await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_run_looks_again_at_what_it_waits_for_unless_somebody_has_paused_it() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let mut runs = BTreeMap::new();
    for workflow in ["wait-dropped", "other-event", "branch-event", "branch-any"] {
        runs.insert(workflow, start(&database, workflow, 1).await[0]);
    }
    let paused = start(&database, "wait-dropped", 1).await[0];
    database
        .until(
            "all of them wait, and the branch that sleeps first does, too",
            "select count(*) = 5 and count(*) filter (where wake_at is null) = 5 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    database.client.pause(paused).await.unwrap();
    let file = with_manifest(
        "waits",
        "[workflows.\"changes.wait-dropped\".changes]\ndropped = [\"go\"]\n\
         [workflows.\"changes.other-event\".changes]\nrenamed = { go = \"start\" }\n\
         [workflows.\"changes.branch-event\".changes]\nrenamed = { go = \"start\" }\n",
    );
    let file = file.display().to_string();
    let upgrade = [
        "deploy",
        &file,
        "--upgrade",
        "proven",
        "--require-all",
        "--allow-breaking",
    ];
    let upgraded = dacapo(&database, &upgrade).await;
    let said = text(&upgraded.stdout);
    assert!(
        upgraded.status.success(),
        "{said}{}",
        text(&upgraded.stderr)
    );
    assert!(said.contains("5 of them go on with it now"), "{said}");

    let done = database.done(runs["wait-dropped"]).await;
    assert_eq!(done.output.unwrap().as_str(), "\"old reserve\"");
    for (workflow, events, output) in [
        ("other-event", 1, "\"old reserve\""),
        ("branch-event", 2, "\"started, started\""),
        ("branch-any", 2, "\"start, start\""),
    ] {
        let run = runs[workflow];
        for _ in 0..events {
            let sent = database.client.send_event(run, "start", "1", None).await;
            sent.unwrap();
        }
        let done = database.done(run).await;
        assert_eq!(done.output.unwrap().as_str(), output, "{workflow}");
    }
    let still = database.client.get(paused).await.unwrap();
    assert_eq!(still.status, Status::Paused);
    database.client.resume(paused).await.unwrap();
    assert_eq!(database.done(paused).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_sent_something_or_whose_journal_is_another_is_not_moved() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = start(&database, "same", 1).await[0];
    database
        .until("it waits", "select count(*) = 1 from dacapo.task_suspended")
        .await;
    worker.drain().await.unwrap();
    database.deploy("probe2").await;
    let (store, to) = (&database.store, probe_at(&database, 2).await);
    let moved = async |standing: &[Move]| move_runs(store, to, standing, "me").await.unwrap();

    let before = stand(store, &[run]).await;
    let sent = database.client.send_event(run, "other", "1", None).await;
    sent.unwrap();
    assert_eq!(moved(&before).await, [(run, Moved::Changed)]);

    // As many rows as before, and other ones.
    let before = stand(store, &[run]).await;
    let again = "update dacapo.step set finished_at = clock_timestamp() where outcome is not null";
    sqlx::query(again).execute(store.pool()).await.unwrap();
    assert_eq!(moved(&before).await, [(run, Moved::Changed)]);
    assert_eq!(
        moved(&stand(store, &[run]).await).await,
        [(run, Moved::Moved)]
    );
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_while_its_run_is_moved_is_held_against_the_new_types() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = start(&database, "same", 1).await[0];
    database
        .until("it waits", "select count(*) = 1 from dacapo.task_suspended")
        .await;
    worker.drain().await.unwrap();
    database.deploy("probe2").await;
    // As if the new code declared its events.
    let declares = "update dacapo.workflow set schema = jsonb_set(schema::jsonb, '{events}', '[{\"name\": \"start\"}]')::text
        where deployment_id = (select max(id) from dacapo.deployment)";
    let store = &database.store;
    sqlx::query(declares).execute(store.pool()).await.unwrap();
    let (to, at) = (probe_at(&database, 2).await, stand(store, &[run]).await[0]);
    let mut moving = store.pool().begin().await.unwrap();
    let moved: String = sqlx::query_scalar(
        "select dacapo.move_run($1, $2, $3, $4, to_timestamp($5::numeric / 1000000), $6, 'me')",
    )
    .bind(run.0)
    .bind(to.0)
    .bind(i32::try_from(at.rows).unwrap())
    .bind(i32::try_from(at.done).unwrap())
    .bind(at.latest.unwrap().as_micros().to_string())
    .bind(at.inbox_seq)
    .fetch_one(&mut *moving)
    .await
    .unwrap();
    assert_eq!(moved, "moved");
    let client = database.client.clone();
    let sending = tokio::spawn(async move { client.send_event(run, "go", "1", None).await });
    database
        .until(
            "the event waits for the move",
            "select exists (select from pg_locks where not granted)",
        )
        .await;
    moving.commit().await.unwrap();
    let error = sending.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("there is no event go"), "{error}");
    assert_eq!(database.count("select count(*) from dacapo.event").await, 0);
    assert_eq!(stand(store, &[run]).await[0].inbox_seq, at.inbox_seq);
    database
        .client
        .send_event(run, "start", "null", None)
        .await
        .unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_began_before_a_run_was_moved_does_not_play_it_on_the_old_deployment() {
    let database = database().await;
    database.deploy("probe").await;
    let run = start(&database, "same", 1).await[0];
    database.deploy("probe2").await;
    let (store, to) = (&database.store, probe_at(&database, 2).await);
    let worker = WorkerId(uuid::Uuid::now_v7());
    let mut connection = store.connect().await.unwrap();
    let lease = Duration::from_secs(60);
    dacapo_store::register(&mut connection, worker, "test", "0", lease, 1, None)
        .await
        .unwrap();
    let one = || Claim {
        max: 1,
        sources: vec![(None, None)],
        has_paused_workflows: false,
    };
    // The claim has its snapshot, and waits for its fence.
    let mut held = store.pool().begin().await.unwrap();
    sqlx::query("select from dacapo.fence for update")
        .execute(&mut *held)
        .await
        .unwrap();
    let claiming = tokio::spawn(async move {
        let claimed = dacapo_store::claim(&mut connection, worker, 0, &one()).await;
        (claimed.unwrap().leased, connection)
    });
    database
        .until(
            "the claim waits",
            "select exists (select from pg_locks where not granted)",
        )
        .await;
    let standing = stand(store, &[run]).await;
    let moved = move_runs(store, to, &standing, "me").await.unwrap();
    assert_eq!(moved, [(run, Moved::Moved)]);
    held.rollback().await.unwrap();
    let (claimed, mut connection) = claiming.await.unwrap();
    assert!(claimed.is_empty(), "{:?}", claimed[0].deployment);
    let claimed = dacapo_store::claim(&mut connection, worker, 0, &one()).await;
    assert_eq!(claimed.unwrap().leased[0].deployment, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_moved_to_a_deployment_that_is_retired_or_gone() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = start(&database, "renamed", 1).await[0];
    database
        .until("it waits", "select count(*) = 1 from dacapo.task_suspended")
        .await;
    database.deploy("probe2").await;
    let store = &database.store;
    sqlx::query("update dacapo.run set deployment_id = (select max(id) from dacapo.deployment)")
        .execute(store.pool())
        .await
        .unwrap();
    let sent = database.client.send_event(run, "go", "1", None).await;
    sent.unwrap();
    database
        .until(
            "it is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let client = &database.client;
    client
        .activate_deployment("test:probe", 2, None, dacapo_client::Breaking::Allow, "me")
        .await
        .unwrap();
    client
        .retire_deployment("test:probe", 1, false, "me")
        .await
        .unwrap();
    let repair = ["runs", "repair", "test:probe@1", "--apply"];
    fails(
        &dacapo(&database, &repair).await,
        1,
        &["is retired", "--undo"],
    );
    let standing = stand(store, &[run]).await;
    let retired = move_runs(store, probe_at(&database, 1).await, &standing, "me").await;
    assert_eq!(retired.unwrap(), [(run, Moved::Retired)]);
    let gone = move_runs(store, DeploymentId(1_000_000), &standing, "me").await;
    assert_eq!(gone.unwrap(), [(run, Moved::Retired)]);
    client
        .retire_deployment("test:probe", 1, true, "me")
        .await
        .unwrap();
    let repaired = dacapo(&database, &repair).await;
    assert!(repaired.status.success(), "{}", text(&repaired.stderr));
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}
