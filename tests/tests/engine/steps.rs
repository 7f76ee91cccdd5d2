//! Steps: recorded once, handed back ever after.

use dacapo_model::Status;
use dacapo_tests::database;

use crate::check::{effects, journal, sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_records_its_steps_and_completes_with_its_typed_output() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("counted-steps", "3").await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed);
    assert_eq!(done.output.unwrap().as_str(), "6");
    assert_eq!(
        journal(&database, run).await,
        ["s#1 step ok 1", "s#2 step ok 2", "s#3 step ok 3"]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_step_is_not_executed_again_when_the_run_is_replayed() {
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
    database
        .client
        .send_event(run, "go", "7", None)
        .await
        .unwrap();
    let done = database.done(run).await;
    assert_eq!(done.output.unwrap().as_str(), r#""a 7 b""#);
    assert_eq!(effects(&database, run).await, ["effect a", "effect b"]);
    assert_eq!(
        journal(&database, run).await,
        ["a#1 step ok \"a\"", "go#1 wait ok 7", "b#1 step ok \"b\""]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_a_value_and_the_code_may_make_up_for_it() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("step-fails", "null").await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed);
    let journal = journal(&database, run).await;
    assert!(
        journal[0].starts_with("charge#1 step failed"),
        "{journal:?}"
    );
    assert_eq!(journal[1], "release#1 step ok null");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_workflow_fails_the_run_with_the_error() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("fail-with", r#""out of stock""#).await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Failed);
    assert!(done.failure.unwrap().message.contains("out of stock"));
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_the_limit_fails_the_run_and_names_the_limit() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for workflow in ["big-step", "big-output"] {
        let run = database.start(workflow, "2000000").await;
        let failure = database.done(run).await.failure.unwrap();
        assert_eq!(failure.code, "payload-limit", "{failure:?}");
        assert!(
            failure.message.contains("1,048,576") || failure.message.contains("1048576"),
            "{}",
            failure.message
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_postgres_is_picky_about_survives() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database
        .start(
            "echo-string",
            r#""nul \u0000, emoji \ud83d\ude00, quote \" and \\u""#,
        )
        .await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    let text: String = serde_json::from_str(done.output.unwrap().as_str()).unwrap();
    assert_eq!(text, "nul \0, emoji 😀, quote \" and \\u");
    worker.drain().await.unwrap();
}
