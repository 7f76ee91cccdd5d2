//! Steps that are tried again.

use std::time::Duration;

use dacapo_client::{Run, StepStatus};
use dacapo_model::{RetryPolicy, RunId, Status};
use dacapo_tests::{Dacapo, Database, database};
use dacapo_worker::{Worker, WorkerConfig};

use crate::check::{effects, journal, sound, worker};

/// A step that goes wrong like this, in its first `bad` attempts of `attempts`.
async fn flaky(database: &Database, how: &str, bad: u32, attempts: u32, backoff_ms: u64) -> RunId {
    let input =
        serde_json::json!({"bad": bad, "attempts": attempts, "backoffMs": backoff_ms, "how": how});
    database.start("flaky", &input.to_string()).await
}

async fn backed_off(database: &Database) {
    database
        .until(
            "the run waits for the next attempt",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'retry'",
        )
        .await;
}

/// The codes of the attempts at the run's first step that failed.
fn failed(run: &Run) -> Vec<&str> {
    let attempts = &run.steps[0].failed_attempts;
    for (index, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.number as usize, index + 1);
        assert!(attempt.finished_at >= attempt.started_at);
        assert!(attempt.worker.contains(':'), "{}", attempt.worker);
    }
    for pair in attempts.windows(2) {
        assert!(pair[1].started_at >= pair[0].finished_at, "{pair:?}");
    }
    attempts
        .iter()
        .map(|attempt| attempt.failure.code.as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_tried_again_after_a_back_off_and_every_failure_is_kept() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = flaky(&database, "fail", 2, 5, 100).await;
    let done = database.done(run).await;
    assert_eq!(done.output.as_ref().unwrap().as_str(), "3");
    assert_eq!(failed(&done), ["busy", "busy"]);
    let step = &done.steps[0];
    assert_eq!((step.attempts, step.status), (3, StepStatus::Completed));
    assert!(step.due.is_none());
    let (first, second) = (&step.failed_attempts[0], &step.failed_attempts[1]);
    assert_eq!(step.started_at, first.started_at);
    let between = second.started_at.as_micros() - first.finished_at.as_micros();
    assert!(between >= 100_000, "{between} us between two attempts");
    assert_eq!(
        effects(&database, run).await,
        ["effect attempt 1", "effect attempt 2", "effect attempt 3"]
    );
    assert_eq!(journal(&database, run).await, ["flaky#1 step ok 3"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_keeps_failing_is_a_value_after_its_last_attempt() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = flaky(&database, "fail", 9, 3, 1).await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Failed);
    assert_eq!(done.failure.as_ref().unwrap().message, "busy");
    assert_eq!(failed(&done), ["busy", "busy", "busy"]);
    assert_eq!(done.steps[0].attempts, 3);
    assert_eq!(done.steps[1].key.as_str(), "undo#1");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_not_retryable_is_not_tried_again() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let done = database
        .done(flaky(&database, "fatal", 9, 5, 1).await)
        .await;
    assert_eq!(failed(&done), ["card-declined"]);
    assert_eq!(done.steps[1].key.as_str(), "undo#1");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_and_time_outs_in_a_step_are_failed_attempts_and_values_in_the_end() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for (how, code) in [("panic", "trap"), ("spin", "timeout"), ("sleep", "timeout")] {
        let mended = flaky(&database, how, 1, 2, 1).await;
        let hopeless = flaky(&database, how, 9, 2, 1).await;
        let mended = database.done(mended).await;
        assert_eq!(mended.output.as_ref().unwrap().as_str(), "2", "{how}");
        assert_eq!(failed(&mended), [code], "{how}");
        if code == "timeout" {
            // And not the limit on computing between two calls.
            let message = &mended.steps[0].failed_attempts[0].failure.message;
            assert!(message.contains("its time-out of 100 ms"), "{message}");
        }
        let hopeless = database.done(hopeless).await;
        assert_eq!(hopeless.failure.as_ref().unwrap().message, code, "{how}");
        assert_eq!(failed(&hopeless), [code, code], "{how}");
        assert_eq!(hopeless.steps[1].key.as_str(), "undo#1", "{how}");
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_may_ask_for_a_longer_wait_before_the_next_one() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let done = database
        .done(flaky(&database, "fail-and-wait", 1, 2, 1).await)
        .await;
    let step = &done.steps[0];
    let between =
        step.finished_at.unwrap().as_micros() - step.failed_attempts[0].finished_at.as_micros();
    assert!(between >= 300_000, "{between} us between two attempts");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_next_attempt_is_suspended_and_may_be_paused_and_cancelled() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = flaky(&database, "fail", 9, 5, 3_600_000).await;
    backed_off(&database).await;
    let seen = database.client.get(run).await.unwrap();
    assert_eq!(seen.status, Status::Suspended);
    assert_eq!(seen.waiting_for.as_ref().unwrap().reason, "retry");
    assert_eq!(seen.steps[0].status, StepStatus::Retrying);
    assert_eq!(seen.steps[0].attempts, 1);
    let due = seen.steps[0].due.unwrap().as_micros();
    let waits = due - seen.steps[0].failed_attempts[0].finished_at.as_micros();
    assert!((3_600_000_000..=7_200_000_000).contains(&waits), "{waits}");

    database.client.pause(run).await.unwrap();
    database.client.resume(run).await.unwrap();
    backed_off(&database).await;
    assert_eq!(database.client.get(run).await.unwrap().steps[0].attempts, 1);
    database
        .client
        .send_event(run, "other", "1", None)
        .await
        .unwrap();
    database.client.cancel(run).await.unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Cancelled);
    assert_eq!(done.steps[0].status, StepStatus::Cancelled);
    assert_eq!(failed(&done), ["busy"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_counted_across_workers_and_one_that_a_crash_interrupted_is_not() {
    let database = database().await;
    database.deploy("probe").await;
    let run = flaky(&database, "fail", 2, 3, 1).await;
    let quick = || {
        Dacapo::on(&database)
            .arg("--lease=1500ms")
            .arg("--heartbeat=300ms")
    };
    // The second attempt's body has ended, and nobody knows.
    let doomed = quick().dying_at("before-suspend:2").worker().await;
    assert!(!doomed.ended().await.success());
    let successor = quick().worker().await;
    let done = database.done(run).await;
    assert_eq!(done.output.as_ref().unwrap().as_str(), "3");
    assert_eq!(failed(&done), ["busy", "busy"]);
    successor.kill().await;
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_means_nothing_ends_the_run_with_an_explanation() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let month = Duration::from_secs(31 * 86_400);
    let cases = [
        (0, 1, "max-attempts: expected 1 to 1000, got 0"),
        (1_001, 1, "max-attempts: expected 1 to 1000, got 1001"),
        (
            3,
            u64::try_from(month.as_millis()).unwrap(),
            "max-ms: expected at most 30 days",
        ),
    ];
    for (attempts, backoff_ms, says) in cases {
        let done = database
            .done(flaky(&database, "fail", 1, attempts, backoff_ms).await)
            .await;
        let failure = done.failure.unwrap();
        assert_eq!(failure.code, "misuse");
        assert!(failure.message.contains(says), "{failure:?}");
    }
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_says_nothing_is_tried_again_by_the_workers_policy() {
    let database = database().await;
    database.deploy("probe").await;
    let mut config = WorkerConfig::default();
    config.sandbox.retry = RetryPolicy {
        max_attempts: 4,
        initial_ms: 1,
        factor: 1.0,
        max_ms: 1,
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let run = database.start("step-fails-retryable", "null").await;
    let done = database.done(run).await;
    assert_eq!(done.output.as_ref().unwrap().as_str(), r#""busy""#);
    assert_eq!(failed(&done), ["busy"; 4]);
    worker.drain().await.unwrap();
}
