//! Events: kept when early, taken once, in order.

use dacapo_client::SentEvent;
use dacapo_model::Status;
use dacapo_tests::database;

use crate::check::{journal, sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_sent_before_the_run_starts_is_received() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("events", r#"["one", "two"]"#).await;
    database
        .client
        .send_event(run, "two", "2", None)
        .await
        .unwrap();
    database
        .client
        .send_event(run, "one", "1", None)
        .await
        .unwrap();
    let worker = worker(&database).await;
    assert_eq!(
        database.done(run).await.output.unwrap().as_str(),
        r#"["1","2"]"#
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_sent_before_the_run_waits_for_it_is_received() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("events", r#"["one", "two"]"#).await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    database
        .client
        .send_event(run, "two", "2", None)
        .await
        .unwrap();
    assert_eq!(
        database
            .count("select count(*) from dacapo.task_suspended")
            .await,
        1,
        "woken by an event it does not wait for"
    );
    database
        .client
        .send_event(run, "one", "1", None)
        .await
        .unwrap();
    assert_eq!(
        database.done(run).await.output.unwrap().as_str(),
        r#"["1","2"]"#
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_while_the_run_advances_is_received() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let names: Vec<String> = (0..20).map(|_| "e".to_owned()).collect();
    let mut runs = Vec::new();
    for _ in 0..10 {
        runs.push(
            database
                .start("events", &serde_json::to_string(&names).unwrap())
                .await,
        );
    }
    // Sent with no regard to what the runs are doing: some arrive while they are leased, some while they are being suspended.
    let senders: Vec<_> = runs
        .iter()
        .map(|&run| {
            let client = database.client.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    client
                        .send_event(run, "e", &number.to_string(), None)
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let expected =
        serde_json::to_string(&(0..20).map(|number| number.to_string()).collect::<Vec<_>>())
            .unwrap();
    for run in runs {
        assert_eq!(
            database.done(run).await.output.unwrap().as_str(),
            expected,
            "first in, first out"
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_id_sent_twice_is_received_once() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("events", r#"["pay", "pay"]"#).await;
    assert_eq!(
        database
            .client
            .send_event(run, "pay", "1", Some("id-1"))
            .await
            .unwrap(),
        SentEvent::Sent
    );
    assert_eq!(
        database
            .client
            .send_event(run, "pay", "1", Some("id-1"))
            .await
            .unwrap(),
        SentEvent::Duplicate
    );
    database
        .until(
            "the run waits for the second",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    assert_eq!(
        database
            .client
            .send_event(run, "pay", "1", Some("id-1"))
            .await
            .unwrap(),
        SentEvent::Duplicate
    );
    assert_eq!(
        journal(&database, run).await,
        ["pay#1 wait ok 1", "pay#2 wait open"]
    );
    assert_eq!(
        database
            .client
            .send_event(run, "pay", "2", Some("id-2"))
            .await
            .unwrap(),
        SentEvent::Sent
    );
    assert_eq!(
        database.done(run).await.output.unwrap().as_str(),
        r#"["1","2"]"#
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_a_finished_run_is_an_error_and_changes_nothing() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("nothing", "null").await;
    database.done(run).await;
    let error = database
        .client
        .send_event(run, "late", "1", None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("completed"), "{error}");
    assert_eq!(database.count("select count(*) from dacapo.event").await, 0);
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Completed
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_payload_is_not_a_time_out() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let with_event = database.start("wait-timeout", "60000").await;
    database
        .client
        .send_event(with_event, "go", "null", None)
        .await
        .unwrap();
    let without = database.start("wait-timeout", "50").await;
    assert_eq!(
        database.done(with_event).await.output.unwrap().as_str(),
        r#""null""#
    );
    assert_eq!(
        database.done(without).await.output.unwrap().as_str(),
        "null"
    );
    assert_eq!(journal(&database, without).await, ["go#1 wait timed-out"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_received_in_time_counts_even_when_the_worker_looks_late() {
    let database = database().await;
    database.deploy("probe").await;
    let first = worker(&database).await;
    let run = database.start("wait-timeout", "400").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    first.drain().await.unwrap();
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    database
        .until(
            "its time is over",
            "select now() > max(due) from dacapo.step",
        )
        .await;
    let second = worker(&database).await;
    assert_eq!(database.done(run).await.output.unwrap().as_str(), r#""1""#);

    // The time counts from when the wait was first reached, and not from when it is looked at again.
    let late = database.start("wait-timeout", "3600000").await;
    database
        .until(
            "the other run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    let two_hours_ago = "with reached as (
            update dacapo.step set started_at = started_at - interval '2 hours', due = due - interval '2 hours'
            where outcome is null
        )
        update dacapo.task_suspended set wake_at = wake_at - interval '2 hours'";
    sqlx::query(two_hours_ago)
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_eq!(database.done(late).await.output.unwrap().as_str(), "null");
    second.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_any_takes_the_oldest_of_its_events_byte_for_byte_and_leaves_the_others() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("any-event", r#"["paid", "refused"]"#).await;
    for (name, payload) in [
        ("other", "0"),
        ("refused", " { \"why\":\t1.0 } "),
        ("paid", "1"),
    ] {
        database
            .client
            .send_event(run, name, payload, None)
            .await
            .unwrap();
    }
    let twice = database
        .start("any-event-twice", r#"["paid", "refused"]"#)
        .await;
    for name in ["refused", "paid"] {
        database
            .client
            .send_event(twice, name, "1", None)
            .await
            .unwrap();
    }
    let worker = worker(&database).await;
    assert_eq!(
        database.done(twice).await.output.unwrap().as_str(),
        r#"[["refused","1"],["paid","1"]]"#,
        "the other one is there for the next wait"
    );
    assert_eq!(
        database.done(run).await.output.unwrap().as_str(),
        r#"["refused","{ \"why\":\t1.0 }"]"#
    );
    assert_eq!(
        journal(&database, run).await,
        ["any#1 wait ok [\"refused\", { \"why\":\t1.0 } ]"]
    );
    let left: Vec<String> =
        sqlx::query_scalar("select name from dacapo.event where taken_by is null order by seq")
            .fetch_all(database.store.pool())
            .await
            .unwrap();
    assert_eq!(left, ["other", "paid"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_any_is_woken_by_each_of_its_events_and_may_time_out() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("any-event-timeout", "3600000").await;
    let other = database.start("any-event-timeout", "20").await;
    assert_eq!(
        database.done(other).await.output.unwrap().as_str(),
        "null",
        "none came in time"
    );
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended where events = array['paid', 'refused']",
        )
        .await;
    database
        .client
        .send_event(run, "refused", "7", None)
        .await
        .unwrap();
    assert_eq!(
        database.done(run).await.output.unwrap().as_str(),
        r#"["refused","7"]"#
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}
