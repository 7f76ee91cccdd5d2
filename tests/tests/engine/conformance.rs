//! Promises of docs/conformance.md that no other test holds by itself.

use dacapo_client::{OnConflict, StartOptions, Status};
use dacapo_tests::database;

use crate::check::{bodies_once, journal, sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_one_run_in_whichever_state_that_is() {
    let database = database().await;
    database.deploy("probe").await;
    let start = async || {
        let options = StartOptions::keyed("order 7");
        let started = database
            .client
            .start_by_name("step-wait-step", "null", options);
        let started = started.await.unwrap();
        let runs = "select count(*) from dacapo.run";
        assert_eq!(database.count(runs).await, 1);
        (started.id, started.created)
    };
    let (run, created) = start().await;
    assert!(created);
    let again = (run, false);
    assert_eq!(start().await, again, "queued");
    let worker = worker(&database).await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    let before = journal(&database, run).await;
    assert_eq!(start().await, again, "waiting");
    let waits = database.client.get(run).await.unwrap();
    assert_eq!(waits.status, Status::Suspended);
    assert_eq!(journal(&database, run).await, before);
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    let done = database.done(run).await;
    assert_eq!(start().await, again, "completed");
    assert_eq!(database.client.get(run).await.unwrap(), done);
    bodies_once(&database, run).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_keeps_no_other_workflow_and_no_other_key_from_being_started() {
    let database = database().await;
    database.deploy("probe").await;
    let start = async |workflow: &str, key: &str| {
        let options = StartOptions::default().singleton(key, OnConflict::Reject);
        database
            .client
            .start_by_name(workflow, "null", options)
            .await
    };
    start("step-wait-step", "k").await.unwrap();
    assert!(start("step-wait-step", "k").await.is_err());
    start("step-wait-step", "l").await.unwrap();
    start("pauses", "k").await.unwrap();
    database
        .client
        .start_by_name("step-wait-step", "null", StartOptions::default())
        .await
        .unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_may_compute_the_names_of_what_it_waits_for() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database
        .start("events", r#"["a-1", "a-2", "b", "a-1"]"#)
        .await;
    for (name, payload) in [("a-1", "1"), ("b", "3"), ("a-2", "2"), ("a-1", "4")] {
        database
            .client
            .send_event(run, name, payload, None)
            .await
            .unwrap();
    }
    let done = database.done(run).await;
    assert_eq!(done.output.unwrap().as_str(), r#"["1","2","3","4"]"#);
    assert_eq!(
        journal(&database, run).await,
        [
            "a-1#1 wait ok 1",
            "a-2#1 wait ok 2",
            "b#1 wait ok 3",
            "a-1#2 wait ok 4"
        ]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}
