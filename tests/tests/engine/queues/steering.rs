//! Queues that are made, changed, paused and deleted.

use std::time::Duration;

use dacapo_client::{ClientError, LimitChange, QueueChange, Rate, StartOptions};
use dacapo_model::Status;
use dacapo_tests::database;

use super::{concurrency, in_queue, start};
use crate::check::{sound, worker};
use crate::command::{fails, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_changed_hold_at_once_for_runs_that_wait() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(1))
        .await
        .unwrap();
    let worker = worker(&database).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(start(&database, "slow-step", "3000", in_queue("q")).await);
    }
    database
        .until(
            "the first one is on its way",
            "select count(*) = 1 from dacapo.task_leased",
        )
        .await;
    let changed = database
        .client
        .set_queue("q", concurrency(3))
        .await
        .unwrap();
    assert_eq!(
        (changed.concurrency, changed.queued + changed.running),
        (Some(3), 5)
    );
    database
        .until("three are", "select count(*) = 3 from dacapo.task_leased")
        .await;
    let open = QueueChange {
        concurrency: LimitChange::Remove,
        ..QueueChange::default()
    };
    database.client.set_queue("q", open).await.unwrap();
    database
        .until(
            "all are, before the first one has ended",
            "select count(*) = 5 from dacapo.task_leased",
        )
        .await;
    for run in runs {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_gives_no_run_away_and_takes_those_back_that_are_played() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("open", QueueChange::default())
        .await
        .unwrap();
    database
        .client
        .set_queue("limited", concurrency(5))
        .await
        .unwrap();
    let worker = worker(&database).await;
    for queue in ["open", "limited"] {
        let played = start(&database, "slow-step", "2000", in_queue(queue)).await;
        let begins = "select count(*) > (select count(*) from dacapo.log where message = 'slow ends') from dacapo.log where message = 'slow begins'";
        database.until("the run is played", begins).await;
        assert!(database.client.pause_queue(queue).await.unwrap());
        assert!(!database.client.pause_queue(queue).await.unwrap());
        let waits = start(&database, "nothing", "null", in_queue(queue)).await;
        database
            .until(
                "its step has ended and it is back in its queue",
                "select not exists (select from dacapo.task_leased)
                    and (select count(*) from dacapo.log where message = 'slow begins')
                        = (select count(*) from dacapo.log where message = 'slow ends')",
            )
            .await;
        assert_eq!(
            crate::check::journal(&database, played).await,
            ["slow#1 step ok null"]
        );
        let other = database.start("nothing", "null").await;
        assert_eq!(database.done(other).await.status, Status::Completed);
        for run in [played, waits] {
            assert_eq!(
                database.client.get(run).await.unwrap().status,
                Status::Queued
            );
        }
        assert!(database.client.resume_queue(queue).await.unwrap());
        for run in [played, waits] {
            assert_eq!(database.done(run).await.status, Status::Completed);
        }
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_queue_is_refused_and_nothing_is_written() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    for (options, says) in [
        (in_queue("nowhere"), "there is no queue \"nowhere\""),
        (in_queue("a/b"), "bad queue"),
        (
            StartOptions::default().priority(101),
            "expected -100 to 100, got 101",
        ),
        (
            StartOptions::default().concurrency_key("k"),
            "\"k\" is given without a queue",
        ),
        (in_queue("default").concurrency_key("k"), "without a queue"),
        (in_queue("q").concurrency_key(""), "it is empty"),
    ] {
        let refused = client
            .start_by_name("nothing", "null", options)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    for (name, change, says) in [
        ("default", concurrency(1), "the queue default has no limits"),
        ("q", concurrency(0), "expected 1 run or more, got 0"),
        ("q", concurrency(1_000_001), "at most 1,000,000 runs"),
        ("", concurrency(1), "bad queue"),
    ] {
        let refused = client.set_queue(name, change).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    for per in [Duration::ZERO, Duration::from_secs(40 * 86_400)] {
        let change = QueueChange {
            rate: LimitChange::Set(Rate { runs: 1, per }),
            ..QueueChange::default()
        };
        let refused = client.set_queue("q", change).await.unwrap_err();
        assert!(
            refused.to_string().contains("100 ms to 31 days"),
            "{refused}"
        );
    }
    let written = "select (select count(*) from dacapo.run) + (select count(*) from dacapo.queue)";
    assert_eq!(database.count(written).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_made_changed_shown_paused_and_deleted_from_the_command_line() {
    let database = database().await;
    database.deploy("probe").await;
    let shown = |output: &std::process::Output| -> serde_json::Value {
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let made = run(
        &database,
        &[
            "queue",
            "set",
            "mail",
            "--concurrency",
            "10",
            "--per-key",
            "2",
            "--rate",
            "100/1m",
            "--per-key-rate",
            "5/s",
        ],
    )
    .await;
    assert!(
        text(&made.stdout).contains("concurrency 10, per-key 2, rate 100/1m, per-key-rate 5/1s"),
        "{}{}",
        text(&made.stdout),
        text(&made.stderr)
    );
    let changed = run(
        &database,
        &["queue", "set", "mail", "--rate", "none", "-o", "json"],
    )
    .await;
    let changed = shown(&changed);
    assert_eq!(
        (changed["rate"].clone(), changed["concurrency"].clone()),
        (serde_json::Value::Null, 10.into())
    );
    assert_eq!(
        changed["ratePerKey"],
        serde_json::json!({ "runs": 5, "perMs": 1000 })
    );

    let started = run(
        &database,
        &[
            "start",
            "nothing",
            "--queue",
            "mail",
            "--concurrency-key",
            "c",
            "--priority",
            "-3",
        ],
    )
    .await;
    let id = text(&started.stdout).trim().to_owned();
    let looked = text(&run(&database, &["runs", "show", &id]).await.stdout);
    for word in [
        "waits for its turn",
        "mail (key c)",
        "priority   -3",
        "queued",
    ] {
        assert!(looked.contains(word), "{looked}");
    }
    let listed = shown(&run(&database, &["queue", "list", "-o", "json"]).await);
    assert_eq!(
        (
            listed["queues"][0]["queued"].clone(),
            listed["allPaused"].clone()
        ),
        (1.into(), serde_json::Value::Null)
    );
    fails(
        &run(&database, &["queue", "delete", "mail"]).await,
        1,
        &["active runs are in it"],
    );
    let paused = shown(&run(&database, &["queue", "pause", "mail", "-o", "json"]).await);
    assert_eq!(paused["paused"], true);
    let again = run(&database, &["queue", "pause", "mail"]).await;
    assert!(
        text(&again.stderr).contains("nothing changed"),
        "{}",
        text(&again.stderr)
    );
    let resumed = shown(&run(&database, &["queue", "resume", "mail", "-o", "json"]).await);
    assert_eq!(resumed["paused"], false);
    database.client.cancel(id.parse().unwrap()).await.unwrap();
    let deleted = run(&database, &["queue", "delete", "mail"]).await;
    assert!(deleted.status.success(), "{}", text(&deleted.stderr));

    for (arguments, code, says) in [
        (
            vec!["queue", "show", "mail"],
            1,
            "there is no queue \"mail\"",
        ),
        (
            vec!["queue", "pause", "mail"],
            1,
            "there is no queue \"mail\"",
        ),
        (
            vec!["start", "nothing", "--queue", "mail"],
            1,
            "dacapo queue set mail",
        ),
        (
            vec!["queue", "set", "mail", "--rate", "100"],
            2,
            "such as 100/1m",
        ),
        (
            vec!["queue", "set", "mail", "--concurrency", "many"],
            2,
            "a number of runs",
        ),
        (
            vec!["queue", "set", "mail", "--concurrency", "0"],
            2,
            "pause the queue to stop it",
        ),
        (
            vec!["queue", "pause", "default"],
            2,
            "cannot be changed or paused",
        ),
    ] {
        let output = run(&database, &arguments).await;
        fails(&output, code, &[]);
        assert!(
            text(&output.stderr).contains(says),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_while_a_run_is_started_in_it_keeps_that_run() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(1))
        .await
        .unwrap();
    let mut transaction = database.store.pool().begin().await.unwrap();
    let started = database
        .client
        .start_by_name_in(&mut transaction, "nothing", "null", in_queue("q"))
        .await
        .unwrap();
    let client = database.client.clone();
    let deleting = tokio::spawn(async move { client.delete_queue("q").await });
    database
        .until(
            "the deletion waits for the start",
            "select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%dacapo.queue%for update%'",
        )
        .await;
    transaction.commit().await.unwrap();
    let refused = deleting.await.unwrap().unwrap_err();
    assert!(matches!(refused, ClientError::QueueInUse(_)), "{refused}");
    let worker = worker(&database).await;
    assert_eq!(database.done(started.id).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}
