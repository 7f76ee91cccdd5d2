//! Each tick has one run, when it is due, whoever is there to start it.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_client::{CatchUp, Existing, NewSchedule, Overlap, RunId, Status, Timestamp, Trigger};
use dacapo_model::{SchedulePlan, Ticks};
use dacapo_tests::{Dacapo, database};
use dacapo_worker::{Worker, WorkerConfig};

use super::{
    CAUGHT_UP, Ticked, create, every_second, hourly, second_by_second, ticked, ticks, until_ticked,
};
use crate::check::{sound, worker};

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
        // A hash's lower bits, without the marks of a UUID, as a share of the 900 ms.
        let (_, low) = one.id.as_u64_pair();
        let jitter = i64::try_from((low << 2 >> 2) % 900_001).unwrap();
        assert_eq!(plan.due_at(tick).as_micros() - tick.as_micros(), jitter);
        assert!(one.delay_ms >= jitter as f64 / 1e3, "{one:?} {jitter}");
    }
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
