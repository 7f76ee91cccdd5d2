//! What becomes of a tick while the run of the one before is active.

use dacapo_client::{CatchUp, NewSchedule, Overlap, PassedOverReason, RunId};
use dacapo_tests::database;

use super::{create, down_for, every_second, second_by_second, ticked, ticks, until_ticked};
use crate::check::{effects, sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn skip_passes_over_the_ticks_that_come_while_a_run_is_active() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    create(&database, every_second("skip", "step-wait-step")).await;
    create(&database, every_second("beat", "nothing")).await;
    until_ticked(&database, "skip", 1).await;
    let first = ticked(&database, "skip").await.remove(0);
    let beats = ticked(&database, "beat").await.len();
    until_ticked(&database, "beat", beats + 3).await;
    let schedule = database.client.schedule("skip").await.unwrap();
    let passed = schedule.passed_over.unwrap();
    assert_eq!(passed.reason, PassedOverReason::Overlap);
    assert_eq!(schedule.last_run.unwrap().id, RunId(first.id));
    assert_eq!(ticked(&database, "skip").await.len(), 1);
    database
        .client
        .send_event(RunId(first.id), "go", "1", None)
        .await
        .unwrap();
    until_ticked(&database, "skip", 2).await;
    let ticks = ticks(&database, "skip").await;
    assert!(ticks[1] > ticks[0].add_millis(2_000), "{ticks:#?}");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_starts_every_tick_strictly_after_the_run_before() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    create(
        &database,
        NewSchedule {
            overlap: Overlap::Queue,
            catch_up: CatchUp::None,
            ..every_second("queue", "step-wait-step")
        },
    )
    .await;
    create(&database, every_second("beat", "nothing")).await;
    for round in 1..=4 {
        until_ticked(&database, "queue", round).await;
        let current = ticked(&database, "queue").await.pop().unwrap();
        if round == 1 {
            let beats = ticked(&database, "beat").await.len();
            until_ticked(&database, "beat", beats + 3).await;
            let schedule = database.client.schedule("queue").await.unwrap();
            assert_eq!(schedule.waiting_for, Some(RunId(current.id)));
        }
        assert_eq!(ticked(&database, "queue").await.len(), round);
        database
            .client
            .send_event(RunId(current.id), "go", "1", None)
            .await
            .unwrap();
        database.done(RunId(current.id)).await;
    }
    until_ticked(&database, "queue", 5).await;
    let five = ticked(&database, "queue").await;
    assert!(five.iter().all(|one| !one.overlaps_next), "{five:#?}");
    second_by_second(&ticks(&database, "queue").await);
    // What waits is not missed, however long it takes.
    database
        .until(
            "the next tick waits",
            "select waiting_for is not null from dacapo.schedule where name = 'queue'",
        )
        .await;
    down_for(&database, "10 minutes").await;
    let last = RunId(five[4].id);
    database
        .client
        .send_event(last, "go", "1", None)
        .await
        .unwrap();
    until_ticked(&database, "queue", 6).await;
    worker.drain().await.unwrap();
    assert_eq!(
        database.client.schedule("queue").await.unwrap().passed_over,
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_previous_lets_the_run_before_compensate_and_starts_after_it() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    // A run that has not begun when it is cancelled has nothing to make up for.
    let first = database.start("nothing", "null").await;
    database.done(first).await;
    create(
        &database,
        NewSchedule {
            overlap: Overlap::CancelPrevious,
            ..every_second("cancel", "cancel-compensates")
        },
    )
    .await;
    until_ticked(&database, "cancel", 4).await;
    worker.drain().await.unwrap();
    let ticked = ticked(&database, "cancel").await;
    assert!(ticked.iter().all(|one| !one.overlaps_next), "{ticked:#?}");
    for one in &ticked[..3] {
        assert_eq!(one.status, "cancelled");
        assert_eq!(effects(&database, RunId(one.id)).await, ["effect release"]);
    }
    sound(&database).await;
}
