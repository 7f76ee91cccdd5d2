//! Crashes everywhere: what they find, and what they let pass.

use std::time::Duration;

use dacapo_testkit::{Value, json};

use crate::support::{guest, probe};

#[tokio::test]
async fn each_row_is_cut_before_and_after_it_is_written() {
    let mut run = probe("step-wait-step", Value::Null);
    run.send_event_at(Duration::from_secs(1), "go", 1);
    // `a`, the open wait, the wait's outcome, `b`.
    assert_eq!(run.crash_everywhere().await.unwrap().count, 2 * 4);
    let mut run = probe("step-wait-step", Value::Null);
    run.send_event("go", 1);
    let crashes = run.crash_everywhere().await.unwrap();
    assert_eq!(crashes.to_string(), "6 crashes, each with the same outcome");
}

#[tokio::test]
async fn what_a_body_leaves_in_memory_is_found() {
    let mut run = guest("forgetful")
        .run("memory.counts", Value::Null)
        .unwrap();
    assert_eq!(
        run.run_to_completion().await.unwrap().to_string(),
        "completed with 2"
    );
    let error = run.crash_everywhere().await.unwrap_err().to_string();
    // A crash before the first record runs both bodies again in one instance; the one after it does not.
    let says = "a crash after `count#1` was recorded (write 1) changes the run: without it the run completed with 2, with it the run \
                completed with 1";
    assert!(error.starts_with(says), "{error}");
}

#[tokio::test]
async fn memory_that_decides_what_runs_is_found() {
    let mut run = guest("forgetful").run("decides", Value::Null).unwrap();
    run.send_event("go", Value::Null);
    let error = run.crash_everywhere().await.unwrap_err().to_string();
    // Nothing in the outcome would tell that a step was left out.
    let says = "a crash after `first#1` was recorded (write 1) changes the run: it completed with null all the same, but does other things \
                on its way";
    assert!(error.starts_with(says), "{error}");
    assert!(error.contains("\n- second#1 step ok null\n"), "{error}");
    // A wait drops the instance, so that this is found without any crash.
    let mut run = guest("forgetful").run("decides", Value::Null).unwrap();
    run.send_event_at(Duration::from_secs(1), "go", Value::Null);
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.status().as_str(), "blocked");
    assert!(outcome.to_string().contains("second#1"), "{outcome}");
    let error = outcome.output::<Value>().unwrap_err().to_string();
    assert!(
        error.starts_with("the run has no output: it is blocked with mismatch"),
        "{error}"
    );
}

#[tokio::test]
async fn what_counts_in_outcomes_passes() {
    let mut run = guest("forgetful").run("more.counts", Value::Null).unwrap();
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn a_body_that_returns_something_else_each_time_is_told_from_a_crash() {
    let mut run = probe("random-u64-in-step", Value::Null);
    let error = run.crash_everywhere().await.unwrap_err().to_string();
    assert!(error.starts_with("played twice without a crash"), "{error}");
    let mut run = probe("random-u64-in-step", Value::Null);
    run.script_step("random", Ok(json!(["1", "2"])));
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn a_run_that_fails_fails_after_each_crash() {
    let mut run = probe("typed-event", Value::Null);
    run.send_event_at(Duration::from_secs(1), "n", "four");
    let crashes = run.crash_everywhere().await.unwrap();
    assert_eq!(crashes.count, 2 * 2);
    assert_eq!(run.outcome().unwrap().status().as_str(), "failed");
}

#[tokio::test]
async fn a_trap_in_a_body_is_the_same_after_a_crash() {
    let mut run = probe("trap-in-step", Value::Null);
    let outcome = run.run_to_completion().await.unwrap();
    // The code makes an error of the failure that it is handed.
    assert_eq!(outcome.failure().unwrap().message, "trap");
    run.crash_everywhere().await.unwrap();
}
