//! What the kit for guests adds to steps and waits: polling and sagas.

use dacapo_model::Status;
use dacapo_tests::{Database, database};

use crate::check::{journal, sound, worker};

/// Starts a saga and sends it what decides about its end, when it waits for that.
async fn saga(database: &Database, settled: &str) -> (dacapo_client::Run, Vec<String>) {
    let run = database.start("saga", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended where 'settled' = any (events)",
        )
        .await;
    let client = &database.client;
    if settled == "cancelled" {
        client.cancel(run).await.unwrap();
    } else {
        let payload = format!("\"{settled}\"");
        client
            .send_event(run, "settled", &payload, None)
            .await
            .unwrap();
    }
    let done = database.done(run).await;
    let keys = journal(database, run).await;
    let keys = keys
        .iter()
        .map(|row| {
            row.split_once(' ')
                .map_or(row.as_str(), |(key, _)| key)
                .to_owned()
        })
        .collect();
    (done, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_makes_up_for_what_was_done_the_newest_first() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;

    let (run, keys) = saga(&database, "done").await;
    assert_eq!(run.status, Status::Completed);
    assert_eq!(keys, ["reserve#1", "charge#1", "settled#1"]);

    let (run, keys) = saga(&database, "fails").await;
    assert_eq!(run.status, Status::Failed);
    let failure = run.failure.unwrap();
    assert!(failure.message.contains("there is no ship"), "{failure:?}");
    let compensated = [
        "reserve#1",
        "charge#1",
        "settled#1",
        "ship#1",
        "refund#1",
        "release#1",
    ];
    assert_eq!(keys, compensated);

    // One compensation that fails keeps no other from being run.
    let (run, keys) = saga(&database, "refund-fails").await;
    assert_eq!(run.status, Status::Failed);
    assert_eq!(keys, compensated);
    let failure = run.failure.unwrap();
    for part in [
        "compensation-failed",
        "there is no ship",
        "`refund`: the account is closed",
    ] {
        assert!(failure.message.contains(part), "{failure:?}");
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_of_a_run_that_is_cancelled_makes_up_for_what_was_done() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let (run, keys) = saga(&database, "cancelled").await;
    assert_eq!(run.status, Status::Cancelled);
    assert_eq!(
        keys,
        [
            "reserve#1",
            "charge#1",
            "settled#1",
            "refund#1",
            "release#1"
        ]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_comes_while_a_saga_makes_up_leaves_nothing_out() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("saga", "null").await;
    let client = &database.client;
    client
        .send_event(run, "settled", "\"refund-waits\"", None)
        .await
        .unwrap();
    database
        .until(
            "the refund waits for its next attempt",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'retry'",
        )
        .await;
    client.cancel(run).await.unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Cancelled, "{done:?}");
    let rows = journal(&database, run).await;
    let [.., ship, refund, again, release] = rows.as_slice() else {
        panic!("{rows:?}");
    };
    assert!(ship.starts_with("ship#1 step failed"), "{rows:?}");
    assert!(refund.starts_with("refund#1 step cancelled"), "{rows:?}");
    assert_eq!(
        [again.as_str(), release.as_str()],
        ["refund#2 step ok null", "release#1 step ok null"]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_looks_until_something_is_there_or_its_time_is_over() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;

    let run = database.start("polls", "900").await;
    let done = database.done(run).await;
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some("7"),
        "{done:?}"
    );
    let rows = journal(&database, run).await;
    let (found, before) = rows[1..].split_last().unwrap();
    assert!(
        found.starts_with("look#") && found.ends_with(" step ok [7]"),
        "{rows:?}"
    );
    for (at, pair) in before.chunks(2).enumerate() {
        let number = at + 1;
        assert_eq!(pair[0], format!("look#{number} step ok []"));
        assert!(
            pair[1].starts_with(&format!("look-pause#{number} sleep ok")),
            "{rows:?}"
        );
    }
    assert!(!before.is_empty(), "the first look found it: {rows:?}");

    let run = database.start("polls", "60000").await;
    let done = database.done(run).await;
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some("null"),
        "{done:?}"
    );
    let rows = journal(&database, run).await;
    // The first step, and ten pauses of at least 100 ms, at most, with the looks around them.
    assert!((4..=22).contains(&rows.len()), "{rows:?}");
    assert!(
        rows.iter().last().unwrap().ends_with("step ok []"),
        "{rows:?}"
    );
    let lasted = done.finished_at.unwrap().as_micros() - done.created_at.as_micros();
    assert!(lasted >= 1_000_000, "{lasted}");

    // Something that is `null` in JSON is something.
    let run = database.start("polls-for-nothing", "null").await;
    let done = database.done(run).await;
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some("true"),
        "{done:?}"
    );
    assert_eq!(journal(&database, run).await, ["look#1 step ok [null]"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}
