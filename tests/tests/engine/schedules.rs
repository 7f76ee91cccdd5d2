//! Schedules: one run for each tick, whoever is there to start it.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_client::{
    CatchUp, Existing, NewSchedule, Overlap, PassedOverReason, RunId, Status, Timestamp, Trigger,
    When,
};
use dacapo_model::{SchedulePlan, Ticks};
use dacapo_tests::{Dacapo, Database, database};
use dacapo_worker::{Worker, WorkerConfig};

use crate::check::{effects, sound, worker};
use crate::command::{fails, run, text};

/// Every second, under this name.
fn every_second(name: &str, workflow: &str) -> NewSchedule {
    NewSchedule::new(name, workflow, When::Every(Duration::from_secs(1)))
}

fn hourly(name: &str) -> NewSchedule {
    let when = When::Cron {
        expression: "0 * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
    };
    NewSchedule::new(name, "nothing", when)
}

async fn create(database: &Database, new: NewSchedule) {
    database.client.create_schedule(new).await.unwrap();
}

/// A tick, its run, when that was started and when it ended.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Ticked {
    tick: String,
    id: uuid::Uuid,
    delay_ms: f64,
    status: String,
    overlaps_next: bool,
}

/// The runs of a schedule's ticks, in the order of the ticks.
async fn ticked(database: &Database, schedule: &str) -> Vec<Ticked> {
    sqlx::query_as(
        "select labels ->> 'dacapo.tick' as tick, id, status,
            extract(epoch from created_at - (labels ->> 'dacapo.tick')::timestamptz)::float8 * 1000 as delay_ms,
            coalesce(
                coalesce(finished_at, 'infinity') > lead(created_at) over (order by labels ->> 'dacapo.tick'), false
            ) as overlaps_next
        from dacapo.run
        where labels ->> 'dacapo.schedule' = $1 and labels ? 'dacapo.tick'
        order by 1",
    )
    .bind(schedule)
    .fetch_all(database.store.pool())
    .await
    .unwrap()
}

async fn ticks(database: &Database, schedule: &str) -> Vec<Timestamp> {
    let ticked = ticked(database, schedule).await;
    ticked.iter().map(|one| one.tick.parse().unwrap()).collect()
}

/// Each tick is a second after the one before: none is missing, and none has two runs.
#[track_caller]
fn second_by_second(ticks: &[Timestamp]) {
    for pair in ticks.windows(2) {
        assert_eq!(
            pair[1],
            pair[0].add_millis(1_000),
            "a tick is missing, or has two runs: {ticks:#?}"
        );
    }
}

/// Waits until a schedule has started the runs of this many ticks.
async fn until_ticked(database: &Database, schedule: &str, count: usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
    loop {
        let ticked = ticked(database, schedule).await;
        if ticked.len() >= count {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "expected {count} ticks of {schedule}, got {ticked:#?}: {:#?}",
            database.client.schedule(schedule).await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Moves what the schedules have to decide about into the past, as if no worker had been there since.
async fn down_for(database: &Database, interval: &str) {
    sqlx::query(
        "update dacapo.schedule set next_tick = next_tick - $1::text::interval, next_at = next_at - $1::text::interval",
    )
    .bind(interval)
    .execute(database.store.pool())
    .await
    .unwrap();
}

/// All that is due is decided about.
const CAUGHT_UP: &str = "select bool_and(next_tick > now()) from dacapo.schedule";

#[tokio::test(flavor = "multi_thread")]
async fn each_tick_has_one_run_with_any_number_of_workers() {
    let database = database().await;
    database.deploy("probe").await;
    let mut workers = Vec::new();
    for _ in 0..4 {
        workers.push(worker(&database).await);
    }
    for name in ["a", "b", "c"] {
        create(
            &database,
            NewSchedule {
                overlap: Overlap::Allow,
                ..every_second(name, "nothing")
            },
        )
        .await;
    }
    for name in ["a", "b", "c"] {
        until_ticked(&database, name, 5).await;
        database.client.delete_schedule(name).await.unwrap();
        second_by_second(&ticks(&database, name).await);
    }
    for one in ticked(&database, "a").await {
        assert_eq!(database.done(RunId(one.id)).await.status, Status::Completed);
    }
    for worker in workers {
        worker.drain().await.unwrap();
    }
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tick_has_one_run_when_workers_are_killed_and_come_back() {
    let database = database().await;
    database.deploy("probe").await;
    create(
        &database,
        NewSchedule {
            overlap: Overlap::Allow,
            catch_up: CatchUp::None,
            input: "2".to_owned(),
            ..every_second("killed", "effects")
        },
    )
    .await;
    let quick = || {
        Dacapo::on(&database)
            .arg("--lease=1500ms")
            .arg("--heartbeat=300ms")
    };
    let mut workers = vec![quick().worker().await, quick().worker().await];
    for round in 1..=4 {
        until_ticked(&database, "killed", round * 2).await;
        workers.remove(0).kill().await;
        workers.push(quick().worker().await);
    }
    // Nobody is there for a while.
    for worker in workers {
        worker.kill().await;
    }
    database
        .until(
            "some ticks pass",
            "select now() > max(next_tick) + interval '3 seconds' from dacapo.schedule",
        )
        .await;
    let last = quick().worker().await;
    database.until("all is caught up", CAUGHT_UP).await;
    database.client.delete_schedule("killed").await.unwrap();
    let ticked = ticked(&database, "killed").await;
    assert!(ticked.len() > 10, "{ticked:#?}");
    second_by_second(&ticks(&database, "killed").await);
    for one in ticked {
        assert_eq!(database.done(RunId(one.id)).await.status, Status::Completed);
    }
    last.kill().await;
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_is_started_when_it_is_due_and_a_new_schedule_is_heard_of_at_once() {
    let database = database().await;
    database.deploy("probe").await;
    // With a heartbeat every 200 seconds a schedule that is only found by looking would start nothing while this test waits.
    let config = WorkerConfig {
        lease: Duration::from_secs(600),
        heartbeat: Duration::from_secs(200),
        ..WorkerConfig::default()
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let run = database.start("nothing", "null").await;
    database.done(run).await;
    create(&database, every_second("heard", "nothing")).await;
    until_ticked(&database, "heard", 5).await;
    // So is one that was changed.
    let rarely = NewSchedule {
        existing: Existing::Replace,
        ..hourly("heard")
    };
    create(&database, rarely).await;
    let before = ticked(&database, "heard").await;
    create(
        &database,
        NewSchedule {
            existing: Existing::Replace,
            ..every_second("heard", "nothing")
        },
    )
    .await;
    until_ticked(&database, "heard", before.len() + 2).await;
    let mut delays: Vec<f64> = ticked(&database, "heard")
        .await
        .iter()
        .map(|one| one.delay_ms)
        .collect();
    delays.sort_by(f64::total_cmp);
    assert!(delays[0] >= 0.0, "{delays:?}");
    assert!(delays[delays.len() / 2] < 300.0, "{delays:?}");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jitter_delays_a_tick_by_as_much_as_its_id_says() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    create(
        &database,
        NewSchedule {
            jitter: Duration::from_millis(900),
            overlap: Overlap::Allow,
            ..every_second("jitter", "nothing")
        },
    )
    .await;
    until_ticked(&database, "jitter", 4).await;
    worker.drain().await.unwrap();
    let plan = SchedulePlan {
        namespace: "default".to_owned(),
        name: "jitter".to_owned(),
        workflow: database.client.schedule("jitter").await.unwrap().workflow,
        ticks: Ticks::every(Duration::from_secs(1)).unwrap(),
        jitter: Duration::from_millis(900),
        overlap: Overlap::Allow,
        catch_up: CatchUp::One,
    };
    second_by_second(&ticks(&database, "jitter").await);
    for one in ticked(&database, "jitter").await {
        let tick: Timestamp = one.tick.parse().unwrap();
        assert_eq!(RunId(one.id), plan.run_of(tick));
        let jitter = (plan.due_at(tick).as_micros() - tick.as_micros()) as f64 / 1e3;
        assert!(one.delay_ms >= jitter, "{one:?} {jitter}");
    }
}

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
async fn a_triggered_run_is_no_tick_and_does_not_overlap_unless_forced() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    create(
        &database,
        NewSchedule {
            workflow: "step-wait-step".to_owned(),
            paused: true,
            labels: BTreeMap::from([("tenant".to_owned(), "a".to_owned())]),
            ..hourly("manual")
        },
    )
    .await;
    let trigger = |how| database.client.trigger_schedule("manual", how);
    let first = trigger(Trigger::UnlessActive).await.unwrap();
    let refused = trigger(Trigger::UnlessActive).await.unwrap_err();
    assert_eq!(refused.code(), "schedule-busy");
    assert!(
        refused.to_string().contains(&first.to_string()),
        "{refused}"
    );
    let forced = trigger(Trigger::Anyway).await.unwrap();
    let schedule = database.client.schedule("manual").await.unwrap();
    let last = schedule.last_run.unwrap();
    assert_eq!((last.id, last.tick), (first, None));
    for id in [first, forced] {
        let labels = database.client.get(id).await.unwrap().labels;
        let expected = [("dacapo.schedule", "manual"), ("tenant", "a")];
        assert_eq!(
            labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect::<Vec<_>>(),
            expected
        );
        database
            .client
            .send_event(id, "go", "1", None)
            .await
            .unwrap();
        database.done(id).await;
    }
    let next = trigger(Trigger::UnlessActive).await.unwrap();
    assert_ne!(next, first);
    worker.drain().await.unwrap();
    sound(&database).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_starts_on_the_deployment_that_is_active_then() {
    let database = database().await;
    database.deploy("probe2").await;
    let worker = worker(&database).await;
    create(
        &database,
        NewSchedule {
            overlap: Overlap::Allow,
            ..every_second("fresh", "changes.same")
        },
    )
    .await;
    until_ticked(&database, "fresh", 1).await;
    database.deploy("probe").await;
    let before = ticked(&database, "fresh").await.len();
    until_ticked(&database, "fresh", before + 2).await;
    let runs = ticked(&database, "fresh").await;
    let number = async |one: &Ticked| {
        database
            .client
            .get(RunId(one.id))
            .await
            .unwrap()
            .deployment
            .number
    };
    assert_eq!(number(&runs[0]).await, 1);
    assert_eq!(number(runs.last().unwrap()).await, 2);
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_cannot_be_started_says_why_and_is_started_once_that_is_mended() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for name in ["gone", "good"] {
        let workflow = if name == "gone" {
            "nothing"
        } else {
            "changes.same"
        };
        create(
            &database,
            NewSchedule {
                overlap: Overlap::Allow,
                ..every_second(name, workflow)
            },
        )
        .await;
    }
    until_ticked(&database, "gone", 2).await;
    // The same package, without that workflow.
    database.deploy("probe2").await;
    database
        .until(
            "the schedule is in trouble",
            "select trouble is not null from dacapo.schedule where name = 'gone'",
        )
        .await;
    let trouble = database
        .client
        .schedule("gone")
        .await
        .unwrap()
        .trouble
        .unwrap();
    assert_eq!(trouble.code, "unknown-workflow");
    assert!(trouble.message.contains("nothing"), "{}", trouble.message);
    let doctor = run(&database, &["doctor"]).await;
    assert!(
        text(&doctor.stdout).contains("of schedule gone"),
        "{}",
        text(&doctor.stdout)
    );
    let shown = run(&database, &["schedule", "list"]).await;
    assert!(
        text(&shown.stdout).contains("unknown-workflow"),
        "{}",
        text(&shown.stdout)
    );
    let others = ticked(&database, "good").await.len();
    until_ticked(&database, "good", others + 2).await;
    database.deploy("probe").await;
    let before = ticked(&database, "gone").await.len();
    until_ticked(&database, "gone", before + 3).await;
    second_by_second(&ticks(&database, "gone").await);
    second_by_second(&ticks(&database, "good").await);
    assert_eq!(
        database.client.schedule("gone").await.unwrap().trouble,
        None
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_no_longer_fits_is_said_and_another_one_goes_on() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let steps = |input: &str| NewSchedule {
        input: input.to_owned(),
        ..every_second("steps", "counted-steps")
    };
    create(&database, steps("2")).await;
    // As if the schedule was made when the workflow took a text.
    sqlx::query("update dacapo.schedule set input = '\"two\"'")
        .execute(database.store.pool())
        .await
        .unwrap();
    database
        .until(
            "the schedule is in trouble",
            "select trouble is not null from dacapo.schedule",
        )
        .await;
    let trouble = database
        .client
        .schedule("steps")
        .await
        .unwrap()
        .trouble
        .unwrap();
    assert_eq!(trouble.code, "bad-input");
    assert!(
        trouble.message.contains("expected u32, got \"two\""),
        "{}",
        trouble.message
    );
    let started = ticked(&database, "steps").await.len();
    create(
        &database,
        NewSchedule {
            existing: Existing::Replace,
            ..steps("3")
        },
    )
    .await;
    until_ticked(&database, "steps", started + 1).await;
    let schedule = database.client.schedule("steps").await.unwrap();
    assert_eq!(schedule.trouble, None);
    let run = ticked(&database, "steps").await.pop().unwrap();
    let done = database.done(RunId(run.id)).await;
    assert_eq!(done.output.unwrap().as_str(), "6");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_schedule_keeps_its_past_and_a_tick_that_is_due() {
    let database = database().await;
    database.deploy("probe").await;
    create(&database, hourly("job")).await;
    let run = database
        .client
        .trigger_schedule("job", Trigger::UnlessActive)
        .await
        .unwrap();
    down_for(&database, "1 hour").await;
    let due = database.client.schedule("job").await.unwrap().next_ticks[0];
    let refused = database.client.create_schedule(hourly("job")).await;
    assert_eq!(refused.unwrap_err().code(), "schedule-exists");
    let replace = |new: NewSchedule| NewSchedule {
        existing: Existing::Replace,
        ..new
    };
    // The same times: what is due is still to be decided about.
    let mut new = replace(hourly("job"));
    new.labels.insert("tenant".to_owned(), "a".to_owned());
    let schedule = database.client.create_schedule(new).await.unwrap();
    assert_eq!(schedule.next_ticks[0], due);
    assert_eq!(schedule.labels["tenant"], "a");
    // Other times begin now.
    let schedule = database
        .client
        .create_schedule(replace(every_second("job", "nothing")))
        .await
        .unwrap();
    assert_ne!(schedule.next_ticks[0], due);
    assert_eq!((schedule.cron, schedule.every_seconds), (None, Some(1)));
    assert_eq!(schedule.last_run.unwrap().id, run);
    let other = database
        .client
        .clone()
        .with_namespace("other")
        .schedules()
        .await
        .unwrap();
    assert_eq!(other, [], "another namespace has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_schedule_starts_nothing_more_and_its_runs_stay() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    create(&database, every_second("beat", "nothing")).await;
    create(&database, every_second("gone", "step-wait-step")).await;
    until_ticked(&database, "gone", 1).await;
    database.client.delete_schedule("gone").await.unwrap();
    let gone = database.client.delete_schedule("gone").await.unwrap_err();
    assert_eq!(gone.code(), "schedule-not-found");
    let beats = ticked(&database, "beat").await.len();
    until_ticked(&database, "beat", beats + 2).await;
    let runs = ticked(&database, "gone").await;
    assert_eq!(runs.len(), 1);
    let id = RunId(runs[0].id);
    database
        .client
        .send_event(id, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(database.done(id).await.status, Status::Completed);
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_shown_and_steered_by_the_command() {
    let database = database().await;
    database.deploy("probe").await;
    let create = [
        "schedule",
        "create",
        "nightly",
        "counted-steps",
        "--input",
        "3",
        "--cron",
        "30 2 * * MON-FRI",
        "--time-zone",
        "Europe/Paris",
        "--jitter",
        "5m",
        "--overlap",
        "queue",
        "--catch-up",
        "all",
        "--label",
        "tenant=a",
    ];
    let created = run(&database, &create).await;
    assert!(created.status.success(), "{}", text(&created.stderr));
    assert!(
        text(&created.stdout).contains("test:probe/durable.counted-steps, next at 20"),
        "{}",
        text(&created.stdout)
    );
    let shown = run(&database, &["schedule", "show", "nightly", "-o", "json"]).await;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    for (field, value) in [
        ("name", serde_json::json!("nightly")),
        (
            "workflow",
            serde_json::json!("test:probe/durable.counted-steps"),
        ),
        ("input", serde_json::json!(3)),
        ("cron", serde_json::json!("30 2 * * MON-FRI")),
        ("timeZone", serde_json::json!("Europe/Paris")),
        ("jitterMs", serde_json::json!(300_000)),
        ("overlap", serde_json::json!("queue")),
        ("catchUp", serde_json::json!("all")),
        ("paused", serde_json::json!(false)),
        ("labels", serde_json::json!({ "tenant": "a" })),
        ("lastRun", serde_json::Value::Null),
        ("trouble", serde_json::Value::Null),
    ] {
        assert_eq!(shown[field], value, "{field}: {shown:#}");
    }
    assert_eq!(shown["nextTicks"].as_array().unwrap().len(), 5);
    let triggered = run(&database, &["schedule", "trigger", "nightly"]).await;
    let id = text(&triggered.stdout).trim().to_owned();
    let shown = text(
        &run(&database, &["schedule", "show", "nightly"])
            .await
            .stdout,
    );
    for word in [
        "30 2 * * MON-FRI (Europe/Paris)",
        "jitter      5m",
        &format!("{id} (triggered): queued"),
        "dacapo.schedule=nightly",
    ] {
        assert!(shown.contains(word), "expected {word:?} in:\n{shown}");
    }
    fails(
        &run(&database, &["schedule", "trigger", "nightly"]).await,
        1,
        &[&id, "is active", "--force"],
    );
    let paused = run(&database, &["schedule", "pause", "nightly"]).await;
    assert!(paused.status.success(), "{}", text(&paused.stderr));
    let listed = text(&run(&database, &["schedule", "list"]).await.stdout);
    assert!(listed.contains("paused"), "{listed}");
    assert!(
        run(&database, &["schedule", "resume", "nightly"])
            .await
            .status
            .success()
    );
    let backfill = |more: &'static [&'static str]| {
        let mut arguments = vec![
            "schedule",
            "backfill",
            "nightly",
            "--from",
            "2024-03-29T00:00:00Z",
            "--until",
            "2024-04-02T00:00:00Z",
        ];
        arguments.extend(more);
        arguments
    };
    let dry = text(&run(&database, &backfill(&["--dry-run"])).await.stdout);
    assert!(dry.contains("2 ticks; nothing was started"), "{dry}");
    let done = text(&run(&database, &backfill(&[])).await.stdout);
    assert!(
        done.contains("started 2 of 2 ticks; 0 had a run already"),
        "{done}"
    );
    let done = run(&database, &backfill(&["-o", "json"])).await;
    let done: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (&done["started"], &done["existing"]),
        (&0.into(), &2.into())
    );
    assert!(
        run(&database, &["schedule", "delete", "nightly"])
            .await
            .status
            .success()
    );
    let every = run(
        &database,
        &["schedule", "create", "often", "nothing", "--every", "15m"],
    )
    .await;
    assert!(every.status.success(), "{}", text(&every.stderr));
    let listed = text(&run(&database, &["schedule", "list"]).await.stdout);
    assert!(listed.contains("every 15m"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_that_cannot_be_are_refused_with_what_was_expected() {
    let database = database().await;
    let create = |more: &'static [&'static str]| {
        let mut arguments = vec!["schedule", "create", "bad"];
        arguments.extend(more);
        arguments
    };
    fails(
        &run(&database, &create(&["process", "--every", "1h"])).await,
        1,
        &["no workflow", "hint:"],
    );
    database.deploy("process_payment").await;
    database.deploy("probe").await;
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &["proces", "--every", "1h"],
            1,
            &["no workflow", "payments:processing/payments.process"],
        ),
        (
            &["process", "--every", "1h"],
            2,
            &[
                "input: expected payment",
                "hint: payments:processing/payments.process takes",
            ],
        ),
        (
            &["counted-steps", "--every", "1h", "--input", "\"4\""],
            2,
            &["input: expected u32, got \"4\"", "hint:"],
        ),
        (
            &["nothing", "--cron", "61 * * * *"],
            2,
            &[
                "bad cron expression",
                "minute \"61\": number out of bounds",
                "expected minute, hour",
            ],
        ),
        (
            &["nothing", "--cron", "whenever"],
            2,
            &["bad cron expression: \"whenever\"", "30 2 * * MON-FRI"],
        ),
        (
            &["nothing", "--cron", "0 0 30 2 *"],
            2,
            &["names no time that is still to come"],
        ),
        (
            &["nothing", "--cron", "0 0 0 1 1 * 2020"],
            2,
            &["names no time that is still to come"],
        ),
        (
            &[
                "nothing",
                "--cron",
                "0 0 * * *",
                "--time-zone",
                "Europe/Pari",
            ],
            2,
            &["bad time zone", "Europe/Pari", "IANA"],
        ),
        (
            &["nothing", "--every", "0s"],
            2,
            &["bad interval: 0 s", "from 1 s to 366 days"],
        ),
        (
            &["nothing", "--every", "100ms"],
            2,
            &["from 1 s to 366 days"],
        ),
        (
            &["nothing", "--every", "100000h"],
            2,
            &["from 1 s to 366 days"],
        ),
        (
            &["nothing", "--every", "1h", "--jitter", "25h"],
            2,
            &["bad jitter", "at most 24 h"],
        ),
        (
            &["nothing", "--every", "1h", "--overlap", "maybe"],
            2,
            &["maybe", "skip, queue, cancel-previous, allow"],
        ),
        (
            &["nothing", "--every", "1h", "--catch-up", "some"],
            2,
            &["some", "none, one, all"],
        ),
        (
            &["nothing", "--every", "1h", "--label", "dacapo.tick=1"],
            2,
            &["dacapo.tick", "the schedule itself"],
        ),
    ];
    for (arguments, code, says) in cases {
        let output = run(&database, &create(arguments)).await;
        eprintln!("{}", text(&output.stderr));
        fails(&output, *code, says);
    }
    let slash = ["schedule", "create", "a/b", "nothing", "--every", "1h"];
    fails(&run(&database, &slash).await, 2, &["a/b", "not allowed"]);
    for (arguments, says) in [
        (
            create(&["nothing"]),
            "--cron <EXPRESSION>|--every <DURATION>",
        ),
        (
            create(&["nothing", "--every", "1h", "--cron", "* * * * *"]),
            "cannot be used with",
        ),
        (
            create(&["nothing", "--every=-1h"]),
            "expected a duration of zero or more",
        ),
        (
            create(&["nothing", "--every", "often"]),
            "expected a duration such as",
        ),
        (
            create(&["nothing", "--every", "1h", "--time-zone", "UTC"]),
            "cannot be used with",
        ),
    ] {
        let output = run(&database, &arguments).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text(&output.stderr).contains(says),
            "{}",
            text(&output.stderr)
        );
    }
    assert_eq!(
        database.count("select count(*) from dacapo.schedule").await,
        0
    );

    for command in ["show", "pause", "resume", "trigger", "delete"] {
        let output = run(&database, &["schedule", command, "nobody"]).await;
        fails(
            &output,
            1,
            &["there is no schedule \"nobody\"", "dacapo schedule list"],
        );
    }
    self::create(&database, hourly("there")).await;
    fails(
        &run(
            &database,
            &["schedule", "create", "there", "nothing", "--every", "1h"],
        )
        .await,
        1,
        &["there is a schedule \"there\" already", "--replace"],
    );
    let backfills: &[(&str, &str, &[&str])] = &[
        (
            "yesterday",
            "2024-01-01T00:00:00Z",
            &["not a time", "RFC 3339"],
        ),
        (
            "2024-01-02T00:00:00Z",
            "2024-01-01T00:00:00Z",
            &["expected an end after the beginning"],
        ),
        (
            "2024-01-02T00:00:00Z",
            "9024-01-01T00:00:00Z",
            &["expected an end that is not in the future"],
        ),
        (
            "2004-01-02T00:00:00Z",
            "2024-01-01T00:00:00Z",
            &["more than 10000 ticks", "in parts"],
        ),
    ];
    for (from, until, says) in backfills {
        let arguments = [
            "schedule", "backfill", "there", "--from", from, "--until", until,
        ];
        fails(&run(&database, &arguments).await, 2, says);
    }
    assert_eq!(database.count("select count(*) from dacapo.run").await, 0);
}
