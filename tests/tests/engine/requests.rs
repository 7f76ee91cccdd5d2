//! Pause, resume, cancel: what is asked of a run from outside.

use dacapo_client::{Cancelled, Paused};
use dacapo_model::Status;
use dacapo_tests::database;

use crate::check::{effects, journal, sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_the_code_lasts_until_somebody_resumes_the_run() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("pauses", "null").await;
    for pauses in 1..=2 {
        database
            .until(
                "the run pauses",
                "select count(*) = 1 from dacapo.task_suspended where paused",
            )
            .await;
        assert_eq!(
            database.client.get(run).await.unwrap().status,
            Status::Paused
        );
        assert_eq!(journal(&database, run).await.len(), 2 * pauses - 1);
        database.client.resume(run).await.unwrap();
    }
    assert_eq!(database.done(run).await.status, Status::Completed);
    assert_eq!(
        journal(&database, run).await,
        [
            "first#1 pause ok null",
            "between#1 step ok null",
            "second#1 pause ok null"
        ]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_is_woken_by_nothing_but_resume() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("step-wait-step", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    assert_eq!(database.client.pause(run).await.unwrap(), Paused::Now);
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Paused
    );
    let again = database.client.pause(run).await.unwrap_err();
    assert!(again.to_string().contains("paused"), "{again}");
    database.client.resume(run).await.unwrap();
    assert_eq!(database.done(run).await.status, Status::Completed);

    // Nor by time: what is due later is over before it.
    let sleeps = database
        .start("sleeps", r#"{"ms": 1000, "times": 1}"#)
        .await;
    database
        .until(
            "the run sleeps",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    assert_eq!(database.client.pause(sleeps).await.unwrap(), Paused::Now);
    let later = database
        .start("sleeps", r#"{"ms": 1100, "times": 1}"#)
        .await;
    assert_eq!(database.done(later).await.status, Status::Completed);
    assert_eq!(
        database.client.get(sleeps).await.unwrap().status,
        Status::Paused
    );
    database.client.resume(sleeps).await.unwrap();
    assert_eq!(database.done(sleeps).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_run_pauses_at_its_next_boundary() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("slow-step", "1500").await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    assert_eq!(database.client.pause(run).await.unwrap(), Paused::Requested);
    database
        .until(
            "the run pauses",
            "select count(*) = 1 from dacapo.task_suspended where paused",
        )
        .await;
    assert_eq!(
        journal(&database, run).await,
        ["slow#1 step ok null"],
        "the step that was open is kept"
    );
    database.client.resume(run).await.unwrap();
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_can_be_paused_resumed_and_cancelled() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("nothing", "null").await;
    assert_eq!(database.client.pause(run).await.unwrap(), Paused::Now);
    database.client.resume(run).await.unwrap();
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Queued
    );
    assert_eq!(database.client.cancel(run).await.unwrap(), Cancelled::Now);
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Cancelled
    );
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_compensates_before_it_is_cancelled() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("cancel-compensates", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    assert_eq!(
        database.client.cancel(run).await.unwrap(),
        Cancelled::Requested
    );
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Cancelled);
    let expected = [
        "reserve#1 step ok null",
        "never#1 wait cancelled",
        "release#1 step ok null",
    ];
    assert_eq!(journal(&database, run).await, expected);
    assert_eq!(effects(&database, run).await, ["effect release"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_a_run_that_is_running() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("slow-step", "1500").await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    assert_eq!(
        database.client.cancel(run).await.unwrap(),
        Cancelled::Requested
    );
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Cancelling
    );
    assert_eq!(database.done(run).await.status, Status::Cancelled);
    assert_eq!(
        journal(&database, run).await,
        ["slow#1 step ok null", "next#1 step cancelled"]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_finished_run_does_not_allow_is_a_conflict_that_names_its_status() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("nothing", "null").await;
    database.done(run).await;
    let errors = [
        database.client.pause(run).await.unwrap_err(),
        database.client.resume(run).await.unwrap_err(),
        database.client.cancel(run).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("completed"), "{error}");
    }
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Completed
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_run_can_be_cancelled_and_does_not_forget_it() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for mended in [true, false] {
        let run = database.start("cancel-compensates", "null").await;
        let waits = "select count(*) = 1 from dacapo.task_suspended where reason = 'event'";
        database.until("the run waits", waits).await;
        // Whatever blocks a run: it cannot be played while it is cancelled.
        let blocks = "update dacapo.task_suspended set reason = 'blocked', events = null, blocked = '{\"code\": \"test\"}'";
        sqlx::query(blocks)
            .execute(database.store.pool())
            .await
            .unwrap();
        let asks = "update dacapo.run set cancel_requested_at = now() where status = 'active'";
        sqlx::query(asks)
            .execute(database.store.pool())
            .await
            .unwrap();
        if mended {
            database.client.resume(run).await.unwrap();
            assert_eq!(database.done(run).await.status, Status::Cancelled);
            assert_eq!(
                effects(&database, run).await,
                ["effect release"],
                "its code was told"
            );
        } else {
            assert_eq!(database.client.cancel(run).await.unwrap(), Cancelled::Now);
            assert_eq!(
                database.client.get(run).await.unwrap().status,
                Status::Cancelled
            );
        }
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}
