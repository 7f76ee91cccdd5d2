//! Branches of runs, by real workers.

use std::time::Duration;

use dacapo_client::RunId;
use dacapo_model::Status;
use dacapo_tests::{Dacapo, Database, database};

use crate::check::{bodies_once, effects, journal, sound, worker};

async fn rows(database: &Database, run: RunId, kind: &str) -> i64 {
    sqlx::query_scalar(
        "select count(*) from dacapo.step where run_id = $1 and kind = $2 and outcome = 'ok'",
    )
    .bind(run.0)
    .bind(kind)
    .fetch_one(database.store.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_branches_of_a_step_each_are_one_run() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("squares", r#"{"n": 1000, "ms": 0}"#).await;
    let done = database.done(run).await;
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some("332833500")
    );
    assert_eq!(rows(&database, run, "step").await, 1_000);
    assert_eq!(rows(&database, run, "branch").await, 1_000);
    assert_eq!(rows(&database, run, "fork").await, 1);
    assert_eq!(effects(&database, run).await.len(), 1_000);

    // Those of a fork are played at the same time.
    let run = database.start("squares", r#"{"n": 8, "ms": 300}"#).await;
    assert_eq!(
        database.done(run).await.output.unwrap().as_str(),
        "140",
        "the sum of their squares"
    );
    let together: i64 = sqlx::query_scalar(
        "select max((select count(*) from dacapo.step as other where other.run_id = one.run_id and other.kind = 'step'
                and other.started_at <= one.started_at and other.finished_at > one.started_at))
        from dacapo.step as one where one.run_id = $1 and one.kind = 'step'",
    )
    .bind(run.0)
    .fetch_one(database.store.pool())
    .await
    .unwrap();
    assert!(together > 1, "one after the other");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_branches_that_sleep_hold_no_instance() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database
        .start("sleepers", r#"{"n": 1000, "ms": 3000}"#)
        .await;
    database
        .until(
            "the run is suspended until the first branch has slept",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'time' and wake_at is not null",
        )
        .await;
    assert_eq!(
        database
            .count("select count(*) from dacapo.task_leased")
            .await,
        0
    );
    let done = database.done(run).await;
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some("1000")
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_only_branches_to_do_that_had_not_ended() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database
        .start("squares", r#"{"n": 400, "ms": 0, "maxParallel": 4}"#)
        .await;
    let first = Dacapo::on(&database).worker().await;
    database
        .until(
            "some branches have ended, and not all",
            "select count(*) >= 20 from dacapo.step where kind = 'branch'",
        )
        .await;
    first.kill().await;
    let ended = rows(&database, run, "branch").await;
    let second = Dacapo::on(&database).worker().await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{done:?}");
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some("21253400")
    );
    assert!((20..400).contains(&ended), "{ended}");
    bodies_once(&database, run).await;
    second.kill().await;
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_branch_takes_its_own_event_in_any_order() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("listeners", r#"{"n": 3, "ms": 0}"#).await;
    for (number, taken) in [(2, 1), (0, 2), (1, 3)] {
        let (name, payload) = (format!("go-{number}"), format!("\"{number}\""));
        database
            .client
            .send_event(run, &name, &payload, None)
            .await
            .unwrap();
        while rows(&database, run, "wait").await < taken {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let done = database.done(run).await;
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some(r#"["0","1","2"]"#)
    );
    worker.drain().await.unwrap();

    // All are there before the first branch looks.
    let run = database.start("listeners", r#"{"n": 3, "ms": 0}"#).await;
    for number in [2, 0, 1] {
        let (name, payload) = (format!("go-{number}"), format!("\"{number}\""));
        database
            .client
            .send_event(run, &name, &payload, None)
            .await
            .unwrap();
    }
    let worker = crate::check::worker(&database).await;
    let done = database.done(run).await;
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some(r#"["0","1","2"]"#)
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_is_over_before_it_is_durable_is_recorded_as_over() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("only-computes", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended where 'go' = any (events)",
        )
        .await;
    let mut rows = journal(&database, run).await;
    rows.sort();
    assert_eq!(
        rows,
        [
            "go#1 wait open",
            "pure#1 fork ok {\"branches\":2}",
            "pure#1/0 branch ok 2",
            "pure#1/1 branch ok 3",
            "sum#1 step ok 5",
        ]
    );
    database
        .client
        .send_event(run, "go", "null", None)
        .await
        .unwrap();
    let done = database.done(run).await;
    assert_eq!(
        done.output.as_ref().map(|output| output.as_str()),
        Some("5"),
        "{done:?}"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_up_behind_a_fork_runs_through_retries_and_branches_of_its_own() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("makes-up", "null").await;
    database
        .until(
            "the branch waits",
            "select count(*) = 1 from dacapo.task_suspended where 'never' = any (events)",
        )
        .await;
    database.client.cancel(run).await.unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Cancelled, "{done:?}");
    let mut effects = effects(&database, run).await;
    effects.sort();
    assert_eq!(
        effects,
        ["effect undo", "effect undo 0", "effect undo 1"],
        "{done:?}"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_tells_all_its_branches() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("cancels", "null").await;
    database
        .until(
            "both branches wait",
            "select count(*) = 2 from dacapo.step where kind = 'wait' and outcome is null",
        )
        .await;
    database
        .until(
            "the run is suspended",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    database.client.cancel(run).await.unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Cancelled, "{done:?}");
    let mut effects = effects(&database, run).await;
    effects.sort();
    assert_eq!(effects, ["effect undo 0", "effect undo 1"]);
    assert_eq!(
        rows(&database, run, "step").await,
        3,
        "two undone, and released"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}
