//! Runs that are ended from outside, whatever they do: by their deadline, or by force.

use std::time::{Duration, Instant};

use dacapo_client::{ClientError, Killed, QueueChange, Run, RunId, StartOptions};
use dacapo_model::Status;
use dacapo_tests::{Dacapo, Database, database};

use crate::check::{effects, sound, worker};

/// Loads the code, so that a short deadline does not pass meanwhile.
async fn warm_up(database: &Database) {
    let first = database.start("nothing", "null").await;
    assert_eq!(database.done(first).await.status, Status::Completed);
}

async fn with_deadline(database: &Database, workflow: &str, input: &str, after_ms: u64) -> RunId {
    let options = StartOptions::default().deadline(Duration::from_millis(after_ms));
    database
        .client
        .start_by_name(workflow, input, options)
        .await
        .unwrap()
        .id
}

#[track_caller]
fn failed_by_its_deadline(run: &Run) {
    assert_eq!(run.status, Status::Failed, "{run:?}");
    assert_eq!(run.failure.as_ref().unwrap().code, "deadline");
    assert!(run.finished_at.unwrap() >= run.deadline.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_run_whatever_it_does() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    warm_up(&database).await;
    let client = &database.client;
    client
        .set_queue("held", QueueChange::default())
        .await
        .unwrap();
    client.pause_queue("held").await.unwrap();
    let hour = "3600000";
    let begun = Instant::now();
    let running = [
        with_deadline(&database, "slow-step", hour, 3_000).await,
        with_deadline(&database, "busy-step", "20000", 3_000).await,
    ];
    let suspended = with_deadline(&database, "cancel-compensates", "null", 3_000).await;
    let paused = with_deadline(&database, "pauses", "null", 3_000).await;
    let options = StartOptions::default()
        .deadline(Duration::from_millis(3_000))
        .queue("held");
    let queued = client.start_by_name("counted-steps", "1", options).await;
    let queued = queued.unwrap().id;
    let other = database.start("slow-step", "3500").await;
    database
        .until(
            "each does something else",
            "select (select count(*) from dacapo.task_leased) = 3
                and (select count(*) from dacapo.task_suspended where reason = 'event' and not paused) = 1
                and (select count(*) from dacapo.task_suspended where paused) = 1
                and (select count(*) from dacapo.task_ready) = 1",
        )
        .await;
    for run in running {
        let done = database.done(run).await;
        failed_by_its_deadline(&done);
        assert!(done.steps.is_empty(), "{done:?}");
    }
    for run in [suspended, paused, queued] {
        let done = database.done(run).await;
        failed_by_its_deadline(&done);
        // Its code was not asked: what it would have made up for stays.
        assert!(effects(&database, run).await.is_empty(), "{done:?}");
        assert!(done.steps.len() <= 2, "{done:?}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "no run was waited for"
    );
    assert_eq!(database.done(other).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_while_no_worker_lives_ends_the_run_when_one_comes() {
    let database = database().await;
    database.deploy("probe").await;
    let queued = with_deadline(&database, "counted-steps", "3", 1).await;
    let first = Dacapo::on(&database)
        .arg("--lease=1500ms")
        .arg("--heartbeat=300ms")
        .worker()
        .await;
    failed_by_its_deadline(&database.done(queued).await);
    warm_up(&database).await;
    let running = with_deadline(&database, "slow-step", "3600000", 2_000).await;
    let suspended = with_deadline(&database, "wait-timeout", "3600000", 2_000).await;
    database
        .until(
            "the slow run runs, and the other one waits",
            "select (select count(*) from dacapo.task_leased) = 1
                and (select count(*) from dacapo.task_suspended where reason = 'event') = 1",
        )
        .await;
    first.kill().await;
    database
        .until(
            "both deadlines have passed",
            "select count(*) = 2 and max(at) < clock_timestamp() from dacapo.deadline",
        )
        .await;
    let second = worker(&database).await;
    failed_by_its_deadline(&database.done(running).await);
    failed_by_its_deadline(&database.done(suspended).await);
    database
        .until(
            "no deadline is left",
            "select not exists (select from dacapo.deadline)",
        )
        .await;
    second.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_its_worker_is_to_end_by_its_deadline_is_not_paused() {
    let database = database().await;
    database.deploy("probe").await;
    let run = with_deadline(&database, "counted-steps", "3", 3_600_000).await;
    // As it stands between the deadline and the worker that hears of it.
    sqlx::query(
        "with task as (delete from dacapo.task_ready returning run_id, inbox_seq, takeovers)
        insert into dacapo.task_leased (run_id, worker_id, started_at, inbox_seq, signal, takeovers)
        select run_id, gen_random_uuid(), clock_timestamp(), inbox_seq, 'deadline', takeovers from task",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    let refused = database.client.pause(run).await.unwrap_err();
    assert!(refused.to_string().contains("running"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_in_time_is_not_touched_by_its_deadline() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    warm_up(&database).await;
    let run = with_deadline(&database, "counted-steps", "3", 3_000).await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    database
        .until(
            "its deadline has come and gone",
            "select not exists (select from dacapo.deadline)",
        )
        .await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_by_force_ends_whatever_it_does() {
    let database = database().await;
    database.deploy("probe").await;
    let queued = database.start("counted-steps", "3").await;
    assert_eq!(database.client.kill(queued).await.unwrap(), Killed::Now);
    let worker = worker(&database).await;
    let running = database.start("slow-step", "3600000").await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    // The code would be asked only once the step is over.
    database.client.cancel(running).await.unwrap();
    assert_eq!(
        database.client.kill(running).await.unwrap(),
        Killed::Requested
    );
    let suspended = database.start("cancel-compensates", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    assert_eq!(database.client.kill(suspended).await.unwrap(), Killed::Now);
    for run in [queued, running, suspended] {
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Cancelled);
        assert!(done.failure.unwrap().message.contains("by force"));
    }
    assert_eq!(
        database.client.get(suspended).await.unwrap().steps.len(),
        2,
        "nothing compensated"
    );
    let again = database.client.kill(queued).await.unwrap_err();
    assert!(
        matches!(again, ClientError::Conflict { .. }) && again.to_string().contains("cancelled"),
        "{again}"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_deadline_starts_nothing() {
    let database = database().await;
    database.deploy("probe").await;
    for deadline in [Duration::ZERO, Duration::MAX] {
        let options = StartOptions::default().deadline(deadline);
        let refused = database
            .client
            .start_by_name("counted-steps", "1", options)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("1 ms to 10 years"),
            "{refused}"
        );
    }
    assert_eq!(database.count("select count(*) from dacapo.run").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_cancelled_by_force_or_overtaken_by_their_deadline_at_any_moment_all_end() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let mut killed = Vec::new();
    let mut late = Vec::new();
    for index in 0..60 {
        // Suspended, woken and played again every few milliseconds.
        let naps = r#"{"ms": 1, "times": 5000}"#;
        killed.push(database.start("sleeps", naps).await);
        // All of these at about the same time, by the control loop and by those who play them.
        late.push(with_deadline(&database, "sleeps", naps, 1_200 - 10 * index).await);
    }
    for &run in &killed {
        database.client.kill(run).await.unwrap();
    }
    for run in killed {
        assert_eq!(database.done(run).await.status, Status::Cancelled);
    }
    for run in late {
        failed_by_its_deadline(&database.done(run).await);
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}
