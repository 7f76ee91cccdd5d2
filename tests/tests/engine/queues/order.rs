//! Of the runs that wait for their turn, which one goes first.

use dacapo_client::{RunId, StartOptions};
use dacapo_model::Status;
use dacapo_tests::database;

use super::{concurrency, in_order, in_queue, one_by_one, start};
use crate::check::{sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn of_the_runs_that_wait_for_their_turn_the_one_with_the_highest_priority_goes_first() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(1))
        .await
        .unwrap();
    let mut runs = Vec::new();
    for priority in [0, -1, 2, 1] {
        runs.push(
            start(
                &database,
                "nothing",
                "null",
                in_queue("q").priority(priority),
            )
            .await,
        );
    }
    let worker = worker(&database).await;
    assert_eq!(in_order(&database, &runs).await, [2, 3, 0, 1]);
    assert_eq!(database.client.get(runs[2]).await.unwrap().priority, 2);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_priority_is_worth_a_minute_of_waiting() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(1))
        .await
        .unwrap();
    for queue in ["q", "default"] {
        let old = start(&database, "nothing", "null", in_queue(queue)).await;
        let ago = "with held as (update dacapo.task_suspended set queued_at = queued_at - interval '150 seconds' where reason = 'queue')
            update dacapo.task_ready set ready_at = ready_at - interval '150 seconds'";
        sqlx::query(ago)
            .execute(database.store.pool())
            .await
            .unwrap();
        let two = start(&database, "nothing", "null", in_queue(queue).priority(2)).await;
        let three = start(&database, "nothing", "null", in_queue(queue).priority(3)).await;
        let worker = one_by_one(&database).await;
        assert_eq!(
            in_order(&database, &[old, two, three]).await,
            [2, 0, 1],
            "{queue}"
        );
        worker.drain().await.unwrap();
    }
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_no_named_queue_go_by_their_priority_too() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = one_by_one(&database).await;
    // The worker is busy, and has looked at the end of the line a moment ago.
    let busy = database.start("slow-step", "2000").await;
    database
        .until(
            "the worker is busy",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    let mut runs = Vec::new();
    for priority in [0, -1, 2, 1] {
        runs.push(
            start(
                &database,
                "nothing",
                "null",
                StartOptions::default().priority(priority),
            )
            .await,
        );
    }
    assert_eq!(in_order(&database, &runs).await, [2, 3, 0, 1]);
    assert_eq!(database.done(busy).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_start_is_committed_long_after_others_behind_it_were_claimed_is_played_too() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let mut late = database.store.pool().begin().await.unwrap();
    let run: uuid::Uuid = sqlx::query_scalar("select dacapo.start('nothing', 'null')")
        .fetch_one(&mut *late)
        .await
        .unwrap();
    for _ in 0..3 {
        let slow = database.start("slow-step", "200").await;
        assert_eq!(database.done(slow).await.status, Status::Completed);
    }
    late.commit().await.unwrap();
    assert_eq!(database.done(RunId(run)).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_few_runs_does_not_wait_for_one_with_many() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(2))
        .await
        .unwrap();
    let mut runs = Vec::new();
    for _ in 0..12 {
        runs.push(
            start(
                &database,
                "slow-step",
                "60",
                in_queue("q").concurrency_key("many"),
            )
            .await,
        );
    }
    for _ in 0..3 {
        runs.push(
            start(
                &database,
                "slow-step",
                "60",
                in_queue("q").concurrency_key("few"),
            )
            .await,
        );
    }
    let worker = worker(&database).await;
    let order = in_order(&database, &runs).await;
    let last_of_few = order.iter().rposition(|place| *place >= 12).unwrap();
    assert!(last_of_few <= 7, "one of each in turn: {order:?}");
    worker.drain().await.unwrap();
    sound(&database).await;
}
