//! Ticks that passed while nobody could start them.

use dacapo_client::{
    CatchUp, NewSchedule, Overlap, PassedOverReason, RunId, Status, Timestamp, When,
};
use dacapo_tests::database;

use super::{
    CAUGHT_UP, Ticked, create, down_for, every_second, hourly, second_by_second, ticked, ticks,
    until_ticked,
};
use crate::check::{sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_schedule_starts_nothing_and_what_passed_is_not_made_up_for() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    create(&database, every_second("beat", "nothing")).await;
    create(
        &database,
        NewSchedule {
            catch_up: CatchUp::All,
            ..every_second("paused", "nothing")
        },
    )
    .await;
    until_ticked(&database, "paused", 2).await;
    let paused = database.client.pause_schedule("paused").await.unwrap();
    assert!(paused.paused && paused.next_ticks.is_empty());
    let before = ticks(&database, "paused").await;
    let beats = ticked(&database, "beat").await.len();
    until_ticked(&database, "beat", beats + 3).await;
    assert_eq!(ticks(&database, "paused").await, before);
    let again = database.client.pause_schedule("paused").await.unwrap_err();
    assert_eq!(again.code(), "schedule-conflict");

    let resumed = database.client.resume_schedule("paused").await.unwrap();
    assert!(!resumed.paused);
    until_ticked(&database, "paused", before.len() + 2).await;
    let after = ticks(&database, "paused").await;
    assert!(
        after[before.len()] > before[before.len() - 1].add_millis(2_000),
        "{after:#?}"
    );
    second_by_second(&after[before.len()..]);
    let again = database.client.resume_schedule("paused").await.unwrap_err();
    assert_eq!(again.code(), "schedule-conflict");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_starts_each_tick_once_also_over_a_change_of_clocks() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let when = When::Cron {
        expression: "30 2 * * *".to_owned(),
        time_zone: "Europe/Paris".to_owned(),
    };
    create(&database, NewSchedule::new("nightly", "nothing", when)).await;
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let backfill = |from, until| {
        database
            .client
            .backfill_schedule("nightly", at(from), at(until))
    };
    // 2024-03-31 had no 02:30 in Paris, and 2024-10-27 had two.
    let spring = backfill("2024-03-30T00:00:00Z", "2024-04-02T00:30:00Z")
        .await
        .unwrap();
    assert_eq!((spring.started, spring.existing), (3, 0));
    let autumn = backfill("2024-10-26T00:30:00Z", "2024-10-29T00:00:00Z")
        .await
        .unwrap();
    assert_eq!((autumn.started, autumn.existing), (3, 0));
    let expected = [
        "2024-03-30T01:30:00.000000Z",
        "2024-03-31T01:00:00.000000Z",
        "2024-04-01T00:30:00.000000Z",
        "2024-10-26T00:30:00.000000Z",
        "2024-10-27T00:30:00.000000Z",
        "2024-10-28T01:30:00.000000Z",
    ];
    let ticks = |ticked: Vec<Ticked>| ticked.into_iter().map(|one| one.tick).collect::<Vec<_>>();
    assert_eq!(ticks(ticked(&database, "nightly").await), expected);
    let again = backfill("2024-03-31T00:00:00Z", "2024-04-03T00:00:00Z")
        .await
        .unwrap();
    assert_eq!((again.started, again.existing), (1, 2));
    for one in ticked(&database, "nightly").await {
        assert_eq!(database.done(RunId(one.id)).await.status, Status::Completed);
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_downtime_the_catch_up_policy_decides_about_missed_ticks() {
    let database = database().await;
    database.deploy("probe").await;
    let policies = [
        ("none", CatchUp::None, 0),
        ("one", CatchUp::One, 1),
        ("all", CatchUp::All, 5),
    ];
    for (name, catch_up, _) in policies {
        create(
            &database,
            NewSchedule {
                catch_up,
                overlap: Overlap::Allow,
                ..hourly(name)
            },
        )
        .await;
    }
    let next = database.client.schedule("all").await.unwrap().next_ticks[0];
    // The five before the next one are left to start: if the last of them is less than a minute ago, it was not missed.
    down_for(&database, "5 hours").await;
    let worker = worker(&database).await;
    database.until("all is caught up", CAUGHT_UP).await;
    worker.drain().await.unwrap();
    let hours_before =
        |hours: u64| Timestamp::from_micros(next.as_micros() - 3_600_000_000 * hours as i64);
    for (name, _, expected) in policies {
        let ticks = ticks(&database, name).await;
        if name == "all" || ticks.len() == expected {
            let all: Vec<_> = (1..=expected as u64).rev().map(hours_before).collect();
            assert_eq!(ticks, all, "{name}");
        } else {
            // The hour had just begun.
            assert_eq!(ticks.len(), expected + 1, "{name}");
        }
        let schedule = database.client.schedule(name).await.unwrap();
        let passed = schedule.passed_over.map(|passed| passed.reason);
        assert_eq!(
            passed,
            (name != "all").then_some(PassedOverReason::Missed),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn catching_up_is_limited_to_the_newest_thousand_ticks() {
    let database = database().await;
    database.deploy("probe").await;
    create(
        &database,
        NewSchedule {
            overlap: Overlap::Allow,
            catch_up: CatchUp::All,
            ..every_second("backlog", "nothing")
        },
    )
    .await;
    down_for(&database, "1 day").await;
    let worker = worker(&database).await;
    database.until("all is caught up", CAUGHT_UP).await;
    database.client.pause_schedule("backlog").await.unwrap();
    let ticks = ticks(&database, "backlog").await;
    second_by_second(&ticks);
    // Those that came due meanwhile are the only ones beyond the limit.
    assert!((1_000..1_060).contains(&ticks.len()), "{}", ticks.len());
    let passed = database
        .client
        .schedule("backlog")
        .await
        .unwrap()
        .passed_over
        .unwrap();
    assert_eq!(passed.reason, PassedOverReason::Missed);
    assert_eq!(passed.until, Some(ticks[0]));
    worker.drain().await.unwrap();
}
