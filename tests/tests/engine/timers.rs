//! Time: sleeps end when they are due, also when nobody was there at that moment.

use dacapo_model::Status;
use dacapo_tests::database;

use crate::check::{journal, sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn sleeps_suspend_the_run_and_end_no_earlier_than_asked() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("sleeps", r#"{"ms": 150, "times": 2}"#).await;
    let long = database
        .start("sleeps", r#"{"ms": 3600000, "times": 1}"#)
        .await;
    database
        .until(
            "the run that sleeps for long is suspended, and nothing holds it",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'time' and wake_at > now() + interval '30 minutes'",
        )
        .await;
    database.client.kill(long).await.unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed);
    assert_eq!(
        journal(&database, run).await,
        ["nap#1 sleep ok null", "nap#2 sleep ok null"]
    );
    let early = "select count(*) from dacapo.step where finished_at < due or due < started_at + interval '150 milliseconds'";
    assert_eq!(database.count(early).await, 0);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_the_past_is_over_at_once() {
    let database = database().await;
    database.deploy("probe").await;
    let refuse = "
        create function refuse() returns trigger language plpgsql as $$
        begin
            raise exception 'suspended for a time that is over' using errcode = 'data_exception';
        end $$;
        create trigger refuse before insert on dacapo.task_suspended for each row execute function refuse()";
    sqlx::raw_sql(refuse)
        .execute(database.store.pool())
        .await
        .unwrap();
    let worker = worker(&database).await;
    let run = database.start("sleeps-until", "1000").await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{done:?}");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_that_ends_while_no_worker_is_there_ends_when_one_comes() {
    let database = database().await;
    database.deploy("probe").await;
    let first = worker(&database).await;
    let run = database.start("sleeps", r#"{"ms": 300, "times": 1}"#).await;
    database
        .until(
            "the run sleeps",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    first.drain().await.unwrap();
    database
        .until(
            "its time is over",
            "select now() > max(due) from dacapo.step",
        )
        .await;
    let second = worker(&database).await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    second.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_is_noticed_when_it_is_due_and_not_at_the_next_heartbeat() {
    let database = database().await;
    database.deploy("probe").await;
    let config = dacapo_worker::WorkerConfig {
        lease: std::time::Duration::from_secs(600),
        heartbeat: std::time::Duration::from_secs(200),
        ..Default::default()
    };
    let worker = dacapo_worker::Worker::start(database.store.clone(), config)
        .await
        .unwrap();
    let run = database.start("sleeps", r#"{"ms": 100, "times": 3}"#).await;
    // With a heartbeat every 200 seconds it would not be done within the 30 that this waits.
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
}
