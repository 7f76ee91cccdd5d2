//! One event for all runs that a filter finds.

use dacapo_client::{Client, RunFilter, StartOptions, Status};
use dacapo_model::RunId;
use dacapo_tests::{Database, database};

use crate::check::{sound, worker};
use crate::command::{fails, run as dacapo, text};

async fn start(database: &Database, tenant: &str, number: u32) -> Vec<RunId> {
    let options = StartOptions::default().label("tenant", tenant);
    let starts = vec![("null".to_owned(), options); number as usize];
    let started = database
        .client
        .start_many_by_name("step-wait-step", &starts)
        .await;
    started.unwrap().into_iter().map(|run| run.id).collect()
}

fn of(tenant: &str) -> RunFilter {
    RunFilter {
        labels: [("tenant".to_owned(), tenant.to_owned())].into(),
        ..RunFilter::default()
    }
}

async fn events(database: &Database) -> i64 {
    database.count("select count(*) from dacapo.event").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_all_runs_that_a_filter_finds_and_have_not_ended() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    // More than two batches, all of them created at the same time.
    let runs = start(&database, "a", 250).await;
    start(&database, "b", 3).await;
    client.cancel(runs[7]).await.unwrap();
    client.pause(runs[8]).await.unwrap();
    assert_eq!(client.count_receivers(of("a")).await.unwrap(), 249);
    let sent = client
        .send_event_to_many(of("a"), "go", "7", Some("one"))
        .await
        .unwrap();
    assert_eq!(
        (sent.sent, sent.duplicates, sent.delivery_id.as_str()),
        (249, 0, "one")
    );
    assert!(sent.stopped.is_none());
    assert_eq!(events(&database).await, 249);
    client.resume(runs[8]).await.unwrap();
    let worker = worker(&database).await;
    for run in &runs {
        let status = database.done(*run).await.status;
        let expected = if *run == runs[7] {
            Status::Cancelled
        } else {
            Status::Completed
        };
        assert_eq!(status, expected);
    }
    assert_eq!(client.count_receivers(of("a")).await.unwrap(), 0);
    assert_eq!(client.count_receivers(of("b")).await.unwrap(), 3);
    let elsewhere = Client::new(database.store.clone()).with_namespace("elsewhere");
    let sent = elsewhere
        .send_event_to_many(of("b"), "go", "7", None)
        .await
        .unwrap();
    assert_eq!(sent.sent, 0);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_many_that_is_repeated_is_received_once() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    start(&database, "a", 120).await;
    let first = client
        .send_event_to_many(of("a"), "go", "1", None)
        .await
        .unwrap();
    start(&database, "a", 5).await;
    let id = Some(first.delivery_id.as_str());
    let again = client
        .send_event_to_many(of("a"), "go", "1", id)
        .await
        .unwrap();
    assert_eq!((again.sent, again.duplicates), (5, 120));
    assert_eq!(events(&database).await, 125);
    // Without an id it is another event.
    let other = client
        .send_event_to_many(of("a"), "go", "1", None)
        .await
        .unwrap();
    assert_eq!((other.sent, other.duplicates), (125, 0));
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_sends_an_event_to_many_and_counts_them_first() {
    let database = database().await;
    database.deploy("probe").await;
    let runs = start(&database, "a", 4).await;
    start(&database, "b", 2).await;
    database.client.cancel(runs[0]).await.unwrap();
    let workflow = "test:probe/durable.step-wait-step";
    let tenant = ["--label", "tenant=a", "--workflow", workflow];
    let event = |words: &[&'static str]| {
        let words: Vec<&str> = ["event"]
            .iter()
            .chain(&tenant)
            .chain(words)
            .copied()
            .collect();
        let database = database.clone();
        async move { dacapo(&database, &words).await }
    };
    let counted = event(&["go", "[1]", "--dry-run"]).await;
    assert_eq!(text(&counted.stdout).trim(), "3 runs would be sent go");
    assert_eq!(events(&database).await, 0);
    let sent = event(&["go", "[1]", "--id", "x"]).await;
    assert_eq!(text(&sent.stdout).trim(), "sent go to 3 runs as delivery x");
    let again = event(&["go", "[1]", "--id", "x"]).await;
    assert_eq!(
        text(&again.stdout).trim(),
        "sent go to 0 runs as delivery x; 3 had received it before"
    );
    assert_eq!(events(&database).await, 3);
    fails(&event(&["a", "b", "1"]).await, 2, &["expected one of them"]);
    fails(&event(&["go", "{"]).await, 2, &["payload of event \"go\""]);
    fails(
        &event(&["go", "--status", "failed"]).await,
        2,
        &["have ended"],
    );
    fails(
        &dacapo(&database, &["event", "go"]).await,
        2,
        &["expected a run's id"],
    );
    let run = RunId::new().to_string();
    fails(
        &dacapo(&database, &["event", &run, "go", "--dry-run"]).await,
        2,
        &["--dry-run counts"],
    );
    sound(&database).await;
}
