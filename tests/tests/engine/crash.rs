//! Workers die by SIGKILL, in real processes, at every failpoint.

use std::time::{Duration, Instant};

use dacapo_model::{RunId, Status};
use dacapo_tests::{Dacapo, Database, database};
use dacapo_worker::Failpoint;

use crate::check::{bodies_once, journal, sound};

/// A shorter lease than the default, so that the tests are shorter; the rule is the same.
fn quick(dacapo: Dacapo) -> Dacapo {
    dacapo.arg("--lease=1500ms").arg("--heartbeat=300ms")
}

async fn start_some(database: &Database) -> Vec<RunId> {
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(database.start("effects", "5").await);
        runs.push(database.start("sleeps", r#"{"ms": 20, "times": 3}"#).await);
    }
    runs
}

/// All completed, and no recorded step's body executed again.
async fn check_all(database: &Database, runs: &[RunId]) {
    for (index, &run) in runs.iter().enumerate() {
        assert_eq!(database.done(run).await.status, Status::Completed);
        if index % 2 == 0 {
            bodies_once(database, run).await;
            assert_eq!(journal(database, run).await.len(), 5);
        }
    }
    sound(database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_is_lost_and_no_recorded_step_repeated_wherever_a_worker_dies() {
    for failpoint in Failpoint::ALL {
        // They have tests of their own: it takes a dead worker, or SQL steps, to get there.
        if failpoint == Failpoint::FencedNotTaken || Failpoint::OF_SQL_STEPS.contains(&failpoint) {
            continue;
        }
        for count in [1, 7] {
            let database = database().await;
            database.deploy("probe").await;
            let runs = start_some(&database).await;
            let count = if failpoint == Failpoint::Claimed {
                1
            } else {
                count
            };
            let doomed = quick(Dacapo::on(&database))
                .dying_at(&format!("{}:{count}", failpoint.name()))
                .worker()
                .await;
            let status = tokio::time::timeout(Duration::from_secs(20), doomed.ended()).await;
            let status = status.unwrap_or_else(|_| panic!("{} was not reached", failpoint.name()));
            assert!(!status.success(), "{}: {status}", failpoint.name());
            let successor = quick(Dacapo::on(&database)).worker().await;
            check_all(&database, &runs).await;
            successor.kill().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_dies_half_way_is_finished_by_another_worker() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("slow-step", "20000").await;
    let others = start_some(&database).await;
    let first = quick(Dacapo::on(&database)).worker().await;
    database
        .until(
            "the slow run runs",
            "select count(*) > 0 from dacapo.task_leased",
        )
        .await;
    first.kill().await;
    let second = quick(Dacapo::on(&database))
        .dying_at("fenced-not-taken")
        .worker()
        .await;
    assert!(!second.ended().await.success());
    assert!(
        database
            .count("select count(*) from dacapo.task_leased")
            .await
            > 0
    );
    let third = quick(Dacapo::on(&database)).worker().await;
    check_all(&database, &others).await;
    database.client.cancel(run).await.unwrap();
    third.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_goes_on_within_the_lease_and_a_second() {
    let database = database().await;
    database.deploy("probe").await;
    let first = Dacapo::on(&database).worker().await;
    let slow: Vec<_> = vec![
        database.start("slow-step", "2500").await,
        database.start("slow-step", "2500").await,
    ];
    database
        .until(
            "the slow runs run",
            "select count(*) = 2 from dacapo.task_leased",
        )
        .await;
    let second = Dacapo::on(&database).worker().await;
    first.kill().await;
    let killed = Instant::now();
    for run in slow {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    let took = killed.elapsed();
    // The body itself takes 2.5 s again.
    assert!(
        took < Duration::from_millis(5_000 + 1_000 + 2_500 + 500),
        "took {took:?}"
    );
    second.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_kills_its_workers_is_blocked_after_the_third_and_others_go_on() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("effects", "5").await;
    for _ in 0..3 {
        let doomed = quick(Dacapo::on(&database))
            .dying_at("before-body")
            .worker()
            .await;
        assert!(!doomed.ended().await.success());
    }
    let worker = quick(Dacapo::on(&database)).worker().await;
    let good = database.start("counted-steps", "3").await;
    assert_eq!(database.done(good).await.status, Status::Completed);
    database
        .until(
            "the run is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let blocked = serde_json::to_value(database.client.get(run).await.unwrap()).unwrap();
    assert_eq!(blocked["blocked"]["code"], "poison", "{blocked:#}");
    database.client.resume(run).await.unwrap();
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.kill().await;

    // One that each of its workers brings further is not.
    let run = database.start("effects", "6").await;
    for _ in 0..4 {
        let doomed = quick(Dacapo::on(&database))
            .dying_at("before-body:2")
            .worker()
            .await;
        assert!(!doomed.ended().await.success());
    }
    assert_eq!(journal(&database, run).await.len(), 4);
    let worker = quick(Dacapo::on(&database)).worker().await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_only_wait_for_their_turn_when_their_workers_die_are_not_blocked() {
    let database = database().await;
    database.deploy("probe").await;
    for _ in 0..20 {
        database.start("slow-step", "200").await;
    }
    // As after two workers that died too early to play any of them.
    sqlx::query("update dacapo.task_ready set takeovers = 2, takeover_progress = 0")
        .execute(database.store.pool())
        .await
        .unwrap();
    const DEATHS: i64 = 3;
    for _ in 0..DEATHS {
        let worker = quick(Dacapo::on(&database)).worker().await;
        database
            .until(
                "one is played, and others wait for that",
                "select count(*) > 5 and count(*) filter (where alone) = 1 from dacapo.task_leased",
            )
            .await;
        worker.kill().await;
    }
    let worker = quick(Dacapo::on(&database)).worker().await;
    database
        .until(
            "all but those that were played when a worker died have completed",
            "select count(*) filter (where status = 'completed') = 20 - (select count(*) from dacapo.task_suspended where reason = 'blocked')
             from dacapo.run",
        )
        .await;
    let blocked = database
        .count("select count(*) from dacapo.task_suspended where reason = 'blocked'")
        .await;
    assert!(blocked <= DEATHS, "{blocked} are blocked");
    worker.kill().await;
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_hands_everything_back_at_once() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("slow-step", "1500").await;
    let first = Dacapo::on(&database).worker().await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    first.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(first.ended().await.success());
    assert_eq!(
        database
            .count("select count(*) from dacapo.task_leased")
            .await,
        0
    );
    assert_eq!(
        database.count("select count(*) from dacapo.worker").await,
        0
    );
    assert_eq!(
        journal(&database, run).await,
        ["slow#1 step ok null"],
        "the open step was allowed to finish"
    );
    let second = Dacapo::on(&database)
        .arg("--drain-grace=300ms")
        .worker()
        .await;
    assert_eq!(database.done(run).await.status, Status::Completed);

    // A step that takes longer than it may is not waited for, and its run is handed back, too.
    let endless = database.start("slow-step", "3600000").await;
    database
        .until(
            "the other step has begun",
            "select count(*) = 2 from dacapo.log where message = 'slow begins'",
        )
        .await;
    second.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(second.ended().await.success());
    assert_eq!(
        database
            .count("select count(*) from dacapo.task_ready")
            .await,
        1
    );
    assert!(journal(&database, endless).await.is_empty());
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_task_panics_is_blocked_with_all_that_it_has_recorded_and_goes_on_when_resumed()
{
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("effects", "5").await;
    let worker = Dacapo::on(&database)
        .dying_at("before-completion:1:panic")
        .worker()
        .await;
    database
        .until(
            "the run is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let blocked = serde_json::to_value(database.client.get(run).await.unwrap()).unwrap();
    assert_eq!(blocked["blocked"]["code"], "internal", "{blocked:#}");
    assert_eq!(journal(&database, run).await.len(), 5);
    database.client.resume(run).await.unwrap();
    assert_eq!(database.done(run).await.status, Status::Completed);
    bodies_once(&database, run).await;
    sound(&database).await;
    worker.kill().await;
}
