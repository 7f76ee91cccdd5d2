//! Schedules whose runs are in a named queue.

use dacapo_client::{ClientError, LimitChange, NewSchedule, Overlap, QueueChange, Trigger};
use dacapo_tests::database;

use super::{create, every_second, ticked, until_ticked};
use crate::check::{sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_of_a_schedule_are_in_its_queue_and_a_tick_waits_for_one_that_was_deleted() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    let new = NewSchedule {
        queue: Some("slow".to_owned()),
        concurrency_key: Some("ann".to_owned()),
        priority: Some(4),
        overlap: Overlap::Allow,
        ..every_second("often", "nothing")
    };
    let refused = client.create_schedule(new.clone()).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::QueueNotFound(_)),
        "{refused}"
    );
    let refused = NewSchedule {
        queue: None,
        ..new.clone()
    };
    let refused = client.create_schedule(refused).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::BadArgument { .. }),
        "{refused}"
    );
    assert_eq!(
        database.count("select count(*) from dacapo.schedule").await,
        0
    );

    let one = QueueChange {
        concurrency: LimitChange::Set(1),
        ..QueueChange::default()
    };
    client.set_queue("slow", one).await.unwrap();
    let worker = worker(&database).await;
    create(&database, new).await;
    until_ticked(&database, "often", 2).await;
    let triggered = client
        .trigger_schedule("often", Trigger::UnlessActive)
        .await;
    let triggered = database.done(triggered.unwrap()).await;
    // Ticks of before there was the schedule.
    let from = dacapo_client::Timestamp::from_micros(triggered.created_at.as_micros() - 60_000_000);
    let made_up = client
        .backfill_schedule("often", from, from.add_millis(3_000))
        .await
        .unwrap();
    assert_eq!(made_up.started, 3);
    database
        .until(
            "all runs are in the queue",
            "select count(*) = 0 from dacapo.run
            where (queue, concurrency_key, priority) is distinct from ('slow', 'ann', 4::smallint)",
        )
        .await;

    // Deleted between two ticks.
    loop {
        match client.delete_queue("slow").await {
            Ok(()) => break,
            Err(ClientError::QueueInUse(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    database
        .until(
            "the schedule is in trouble",
            "select trouble is not null from dacapo.schedule",
        )
        .await;
    let schedule = client.schedule("often").await.unwrap();
    let trouble = schedule.trouble.unwrap();
    assert_eq!(trouble.code, "unknown-queue");
    assert!(trouble.message.contains("\"slow\""), "{}", trouble.message);
    let refused = client
        .trigger_schedule("often", Trigger::Anyway)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ClientError::QueueNotFound(_)),
        "{refused}"
    );
    let before = ticked(&database, "often").await;
    let due = schedule.next_ticks[0];
    client
        .set_queue("slow", QueueChange::default())
        .await
        .unwrap();
    until_ticked(&database, "often", before.len() + 1).await;
    let after = ticked(&database, "often").await;
    assert_eq!(
        after[before.len()]
            .tick
            .parse::<dacapo_client::Timestamp>()
            .unwrap(),
        due,
        "no tick is lost"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}
