//! The examples do what they say.

use dacapo_model::Status;
use dacapo_tests::database;

use crate::check::{journal, sound, worker};

const PAYMENT: &str = r#"{"orderId": 7, "amountCents": 1250, "currency": "eur", "items": [{"sku": "tea", "price": 1250}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn onboard_user_creates_an_account_and_sends_a_welcome() {
    let database = database().await;
    database.deploy("onboard_user").await;
    let worker = worker(&database).await;
    let run = database
        .start("onboard", r#"{"email": "ada@example.org", "name": "Ada"}"#)
        .await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    assert!(done.output.unwrap().as_str().contains("ada@example.org"));
    let keys: Vec<String> = journal(&database, run)
        .await
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["create-account#1", "send-welcome#1"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn process_payment_settles() {
    let database = database().await;
    database.deploy("process_payment").await;
    let worker = worker(&database).await;
    let run = database.start("process", PAYMENT).await;
    database
        .until(
            "it waits for the bank",
            "select count(*) = 1 from dacapo.task_suspended where events = '{settled}'",
        )
        .await;
    database
        .client
        .send_event(run, "settled", r#"{"reference": "bank-1"}"#, Some("bank-1"))
        .await
        .unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    assert!(done.output.unwrap().as_str().contains("bank-1"));
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn process_payment_releases_what_it_holds_when_the_bank_is_late() {
    let database = database().await;
    database.deploy("process_payment").await;
    let worker = worker(&database).await;
    let late = PAYMENT.replace("\"items\"", "\"settleWithinMs\": 50, \"items\"");
    let run = database.start("process", &late).await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Failed);
    assert_eq!(done.failure.unwrap().code, "not-settled");
    let journal = journal(&database, run).await;
    assert!(
        journal
            .iter()
            .any(|line| line.starts_with("settled#1 wait timed-out")),
        "{journal:?}"
    );
    assert!(
        journal.last().unwrap().starts_with("release#1 step ok"),
        "{journal:?}"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_waits_for_people() {
    let database = database().await;
    database.deploy("approval").await;
    let worker = worker(&database).await;
    let request = r#"{"employee": "Ada", "purpose": "a loom", "amountCents": 150000, "coolingOffSeconds": 0}"#;
    let run = database.start("approve", request).await;
    database
        .until(
            "it pauses",
            "select count(*) = 1 from dacapo.task_suspended where paused",
        )
        .await;
    database.client.resume(run).await.unwrap();
    database
        .client
        .send_event(
            run,
            "manager-decision",
            r#"{"by": "Grace", "approved": true}"#,
            None,
        )
        .await
        .unwrap();
    database
        .client
        .send_event(
            run,
            "finance-decision",
            r#"{"by": "Mary", "approved": true}"#,
            None,
        )
        .await
        .unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    assert_eq!(
        done.output.unwrap().as_str(),
        r#"{"tag":"approved","val":["Grace","Mary"]}"#
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_component_that_the_bench_carries_runs_on_this_host() {
    let database = database().await;
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/cli/assets/bench.wasm");
    let bytes = std::fs::read(component).unwrap();
    let described = dacapo_sandbox::describe(&bytes).unwrap();
    database
        .client
        .deploy(
            &described.descriptor,
            &described.digest,
            &described.component,
        )
        .await
        .unwrap();
    let worker = worker(&database).await;
    let run = database.start("noop-steps", "3").await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
}
