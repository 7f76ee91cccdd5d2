//! Named queues: their limits, who comes first, and who serves them.

mod order;
mod steering;

use std::time::Duration;

use dacapo_client::{Cancelled, LimitChange, Paused, QueueChange, Rate, RunId, StartOptions};
use dacapo_model::Status;
use dacapo_tests::{Dacapo, Database, database};
use dacapo_worker::{Worker, WorkerConfig};

use crate::check::{sound, worker};
use crate::command::{run, text};

/// How many steps named `slow` were under way at the same time, at most.
const TOGETHER: &str = "with span as (
        select one.run_id, one.at as begins, other.at as ends
        from dacapo.log as one
        join dacapo.log as other on other.run_id = one.run_id and other.message = 'slow ends'
        where one.message = 'slow begins'
    )
    select coalesce(max((select count(*) from span as other where other.begins <= span.begins and other.ends > span.begins)), 0)
    from span";

/// The same among runs with one concurrency key.
const TOGETHER_PER_KEY: &str = "with span as (
        select run.concurrency_key as key, one.at as begins, other.at as ends
        from dacapo.log as one
        join dacapo.log as other on other.run_id = one.run_id and other.message = 'slow ends'
        join dacapo.run on run.id = one.run_id
        where one.message = 'slow begins'
    )
    select coalesce(max((
        select count(*) from span as other where other.key = span.key and other.begins <= span.begins and other.ends > span.begins
    )), 0)
    from span";

fn concurrency(runs: u32) -> QueueChange {
    QueueChange {
        concurrency: LimitChange::Set(runs),
        ..QueueChange::default()
    }
}

fn in_queue(queue: &str) -> StartOptions {
    StartOptions::default().queue(queue)
}

async fn start(database: &Database, workflow: &str, input: &str, options: StartOptions) -> RunId {
    let started = database
        .client
        .start_by_name(workflow, input, options)
        .await
        .unwrap();
    started.id
}

/// A worker that plays one run at a time.
async fn one_by_one(database: &Database) -> Worker {
    let config = WorkerConfig {
        runs_max: 1,
        claim_max: 1,
        ..WorkerConfig::default()
    };
    Worker::start(database.store.clone(), config).await.unwrap()
}

/// The runs in the order in which a worker first took them, once all are done.
async fn in_order(database: &Database, runs: &[RunId]) -> Vec<usize> {
    let mut started = Vec::new();
    for (place, run) in runs.iter().enumerate() {
        let done = database.done(*run).await;
        assert_eq!(done.status, Status::Completed, "{done:?}");
        started.push((done.started_at.unwrap(), place));
    }
    started.sort();
    started.into_iter().map(|(_, place)| place).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_runs_of_a_queue_are_on_their_way_than_its_concurrency_allows() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(2))
        .await
        .unwrap();
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(start(&database, "slow-step", "150", in_queue("q")).await);
    }
    // While one worker lets runs in, which nobody else sees before it has, another one does nothing.
    let admit = "select admitted, is_busy from dacapo.admit((select id from dacapo.queue), 10)";
    let mut first = database.store.pool().begin().await.unwrap();
    let let_in: (i32, bool) = sqlx::query_as(admit).fetch_one(&mut *first).await.unwrap();
    assert_eq!(let_in, (2, false));
    let let_in: (i32, bool) = sqlx::query_as(admit)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    assert_eq!(let_in, (0, true));
    first.rollback().await.unwrap();
    let waiting = database.client.get(runs[7]).await.unwrap();
    assert_eq!(waiting.status, Status::Queued);
    assert_eq!(waiting.waiting_for.unwrap().reason, "queue");
    assert_eq!(waiting.queue.as_deref(), Some("q"));
    let workers = [worker(&database).await, worker(&database).await];
    // One that is in no queue waits for none of them.
    let other = database.start("nothing", "null").await;
    assert_eq!(database.done(other).await.status, Status::Completed);
    for run in runs {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    assert_eq!(database.count(TOGETHER).await, 2);
    for worker in workers {
        worker.drain().await.unwrap();
    }
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_key_is_for_each_key_by_itself_and_not_for_runs_without_one() {
    let database = database().await;
    database.deploy("probe").await;
    let change = QueueChange {
        concurrency_per_key: LimitChange::Set(1),
        ..QueueChange::default()
    };
    database.client.set_queue("q", change).await.unwrap();
    let worker = worker(&database).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        for key in ["a", "b"] {
            runs.push(
                start(
                    &database,
                    "slow-step",
                    "200",
                    in_queue("q").concurrency_key(key),
                )
                .await,
            );
        }
        runs.push(start(&database, "slow-step", "200", in_queue("q")).await);
    }
    for run in runs {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    assert_eq!(database.count(TOGETHER_PER_KEY).await, 1);
    // All three without a key at once, with one of each key.
    assert!(database.count(TOGETHER).await >= 4);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_takes_no_room_and_goes_on_before_others_begin() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(1))
        .await
        .unwrap();
    let worker = worker(&database).await;
    let waits = start(&database, "step-wait-step", "null", in_queue("q")).await;
    database
        .until(
            "the run waits for its event",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    let slow = start(&database, "slow-step", "2000", in_queue("q")).await;
    database
        .until(
            "another one is on its way",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    let later = [
        start(&database, "slow-step", "50", in_queue("q")).await,
        start(&database, "slow-step", "50", in_queue("q")).await,
    ];
    database
        .client
        .send_event(waits, "go", "1", None)
        .await
        .unwrap();
    let woken = database.client.get(waits).await.unwrap();
    assert_eq!(
        (woken.status, woken.waiting_for.unwrap().reason.as_str()),
        (Status::Queued, "queue"),
        "there is no room for it yet"
    );
    let woken = database.done(waits).await;
    assert_eq!(woken.status, Status::Completed);
    assert!(database.done(slow).await.finished_at.unwrap() <= woken.finished_at.unwrap());
    for run in later {
        let begun = database.done(run).await.started_at.unwrap();
        assert!(
            begun >= woken.finished_at.unwrap(),
            "it began before the other had gone on"
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_runs_begin_within_any_stretch_of_time_than_the_rate_allows() {
    let database = database().await;
    database.deploy("probe").await;
    let rate = |runs| {
        LimitChange::Set(Rate {
            runs,
            per: Duration::from_secs(1),
        })
    };
    let change = QueueChange {
        rate: rate(3),
        rate_per_key: rate(1),
        ..QueueChange::default()
    };
    database.client.set_queue("q", change).await.unwrap();
    let worker = worker(&database).await;
    let mut runs = Vec::new();
    for key in ["a", "b", "c", "a", "b", "d", "e"] {
        runs.push(
            start(
                &database,
                "nothing",
                "null",
                in_queue("q").concurrency_key(key),
            )
            .await,
        );
    }
    let (mut all, mut of_a) = (Vec::new(), Vec::new());
    for (place, run) in runs.into_iter().enumerate() {
        let began = database.done(run).await.started_at.unwrap().as_micros();
        all.push(began);
        if place == 0 || place == 3 {
            of_a.push(began);
        }
    }
    all.sort_unstable();
    // What is counted is when a run is let in; a worker takes it a little later.
    let second = 950_000;
    for (first, fourth) in all.iter().zip(&all[3..]) {
        assert!(fourth - first >= second, "{all:?}");
    }
    assert!(of_a[1] - of_a[0] >= second, "{of_a:?}");
    assert!(
        all[6] - all[0] < 4 * second,
        "and they do not wait much longer: {all:?}"
    );

    // With a rate per key alone one key waits for no other.
    let change = QueueChange {
        rate_per_key: rate(1),
        ..QueueChange::default()
    };
    database.client.set_queue("p", change).await.unwrap();
    let mut began = Vec::new();
    for key in ["a", "a", "b"] {
        let options = in_queue("p").concurrency_key(key);
        began.push(start(&database, "nothing", "null", options).await);
    }
    let mut of_p = Vec::new();
    for run in began {
        of_p.push(database.done(run).await.started_at.unwrap().as_micros());
    }
    let (first, second_of_a) = (of_p[0].min(of_p[1]), of_p[0].max(of_p[1]));
    assert!(second_of_a - first >= second, "{of_p:?}");
    assert!(of_p[2] < second_of_a, "{of_p:?}");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_begun_does_not_wait_for_the_rate_again() {
    let database = database().await;
    database.deploy("probe").await;
    let change = QueueChange {
        rate: LimitChange::Set(Rate {
            runs: 1,
            per: Duration::from_secs(3_600),
        }),
        ..QueueChange::default()
    };
    database.client.set_queue("q", change).await.unwrap();
    let worker = worker(&database).await;
    let sleeps = start(
        &database,
        "sleeps",
        r#"{"ms": 50, "times": 3}"#,
        in_queue("q"),
    )
    .await;
    assert_eq!(database.done(sleeps).await.status, Status::Completed);
    let next = start(&database, "nothing", "null", in_queue("q")).await;
    // What has gone through since then would have been enough for it as well.
    let other = database.start("sleeps", r#"{"ms": 50, "times": 3}"#).await;
    assert_eq!(database.done(other).await.status, Status::Completed);
    assert_eq!(
        database.client.get(next).await.unwrap().status,
        Status::Queued
    );
    let change = QueueChange {
        rate: LimitChange::Remove,
        ..QueueChange::default()
    };
    database.client.set_queue("q", change).await.unwrap();
    assert_eq!(database.done(next).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_runs_only_from_the_queues_that_it_serves() {
    let database = database().await;
    database.deploy("probe").await;
    for queue in ["a", "b"] {
        database
            .client
            .set_queue(queue, QueueChange::default())
            .await
            .unwrap();
    }
    database
        .client
        .set_queue("limited", concurrency(1))
        .await
        .unwrap();
    let serving = Dacapo::on(&database)
        .arg("--queue=a")
        .arg("--queue=limited")
        .worker()
        .await;
    let in_b = start(&database, "nothing", "null", in_queue("b")).await;
    let unnamed = database.start("nothing", "null").await;
    for queue in ["a", "limited"] {
        let run = start(&database, "nothing", "null", in_queue(queue)).await;
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    for run in [in_b, unnamed] {
        assert_eq!(
            database.client.get(run).await.unwrap().status,
            Status::Queued
        );
    }
    let doctor = run(&database, &["doctor"]).await;
    let said = text(&doctor.stdout);
    assert!(
        said.contains("1 runs wait in queue b") && said.contains("dacapo worker --queue b"),
        "{said}"
    );

    let rest = Dacapo::on(&database).arg("--queue=default").worker().await;
    assert_eq!(database.done(unnamed).await.status, Status::Completed);
    assert_eq!(
        database.client.get(in_b).await.unwrap().status,
        Status::Queued
    );
    let all = Dacapo::on(&database).worker().await;
    assert_eq!(database.done(in_b).await.status, Status::Completed);
    for worker in [serving, rest, all] {
        worker.kill().await;
    }
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_turn_can_be_paused_cancelled_ended_and_sent_events() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(1))
        .await
        .unwrap();
    let client = &database.client;
    let paused = start(&database, "step-wait-step", "null", in_queue("q")).await;
    let cancelled = start(&database, "nothing", "null", in_queue("q")).await;
    let killed = start(&database, "nothing", "null", in_queue("q")).await;
    let late = in_queue("q").deadline(Duration::from_millis(1));
    let late = start(&database, "nothing", "null", late).await;
    for run in [paused, cancelled, killed, late] {
        assert_eq!(client.get(run).await.unwrap().status, Status::Queued);
    }
    assert_eq!(client.pause(paused).await.unwrap(), Paused::Now);
    assert_eq!(client.get(paused).await.unwrap().status, Status::Paused);
    client.send_event(paused, "go", "1", None).await.unwrap();
    assert_eq!(client.cancel(cancelled).await.unwrap(), Cancelled::Now);
    client.kill(killed).await.unwrap();
    let counts = client
        .count(dacapo_client::RunFilter::default())
        .await
        .unwrap();
    assert_eq!(
        (
            counts[&Status::Queued],
            counts[&Status::Paused],
            counts[&Status::Suspended]
        ),
        (1, 1, 0)
    );

    let worker = worker(&database).await;
    assert_eq!(database.done(late).await.failure.unwrap().code, "deadline");
    let next = start(&database, "nothing", "null", in_queue("q")).await;
    assert_eq!(database.done(next).await.status, Status::Completed);
    assert_eq!(client.get(paused).await.unwrap().status, Status::Paused);
    client.resume(paused).await.unwrap();
    assert_eq!(database.done(paused).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_a_run_that_waits_to_go_on_is_told_when_it_has_its_turn() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(1))
        .await
        .unwrap();
    let worker = worker(&database).await;
    let waits = start(&database, "cancel-compensates", "null", in_queue("q")).await;
    database
        .until(
            "the run waits for its event",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    let slow = start(&database, "slow-step", "2000", in_queue("q")).await;
    database
        .until(
            "another one is on its way",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    assert_eq!(
        database.client.cancel(waits).await.unwrap(),
        Cancelled::Requested
    );
    assert_eq!(
        database.client.get(waits).await.unwrap().status,
        Status::Cancelling
    );
    let done = database.done(waits).await;
    assert_eq!(done.status, Status::Cancelled);
    assert_eq!(
        crate::check::effects(&database, waits).await,
        ["effect release"]
    );
    assert!(database.done(slow).await.finished_at.unwrap() <= done.finished_at.unwrap());
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_a_queue_survive_the_death_of_workers() {
    let database = database().await;
    database.deploy("probe").await;
    let change = QueueChange {
        concurrency: LimitChange::Set(2),
        concurrency_per_key: LimitChange::Set(1),
        ..QueueChange::default()
    };
    database.client.set_queue("q", change).await.unwrap();
    let mut runs = Vec::new();
    for index in 0..6 {
        let options = in_queue("q")
            .concurrency_key(["a", "b"][index % 2])
            .priority(1);
        runs.push(start(&database, "slow-step", "2000", options).await);
    }
    let first = Dacapo::on(&database)
        .arg("--lease=1500ms")
        .arg("--heartbeat=300ms")
        .worker()
        .await;
    database
            .until(
                "runs are played",
                "select count(*) = 2 from dacapo.task_leased join dacapo.log using (run_id) where message = 'slow begins'",
            )
            .await;
    first.kill().await;
    database
        .until(
            "its lease is over",
            "select not exists (select from dacapo.worker where lease_until > clock_timestamp())",
        )
        .await;
    let admit = "select admitted from dacapo.admit((select id from dacapo.queue), 10)";
    let let_in: i32 = sqlx::query_scalar(admit)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    assert_eq!(let_in, 0, "what it played counts until it is taken over");
    sqlx::query("delete from dacapo.log")
        .execute(database.store.pool())
        .await
        .unwrap();
    let worker = worker(&database).await;
    for run in &runs {
        let done = database.done(*run).await;
        assert_eq!(done.status, Status::Completed);
    }
    assert_eq!(database.count(TOGETHER).await, 2);
    assert_eq!(database.count(TOGETHER_PER_KEY).await, 1);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_are_started_in_a_queue_together_or_not_at_all() {
    let database = database().await;
    database.deploy("probe").await;
    database
        .client
        .set_queue("q", concurrency(3))
        .await
        .unwrap();
    let worker = worker(&database).await;
    let starts: Vec<(String, StartOptions)> = (0..500)
        .map(|index| {
            let options = in_queue("q").concurrency_key(format!("customer-{}", index % 50));
            ("null".to_owned(), options)
        })
        .collect();
    let started = database
        .client
        .start_many_by_name("nothing", &starts)
        .await
        .unwrap();
    for one in &started {
        assert_eq!(database.done(one.id).await.status, Status::Completed);
    }
    let mut wrong = starts[..3].to_vec();
    wrong[1].1.queue = Some("p".to_owned());
    let refused = database
        .client
        .start_many_by_name("nothing", &wrong)
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "start 2: there is no queue \"p\"");
    assert_eq!(database.count("select count(*) from dacapo.run").await, 500);
    worker.drain().await.unwrap();
    sound(&database).await;
}
