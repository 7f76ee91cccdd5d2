//! One writer for each run.

use std::time::Duration;

use dacapo_model::{Kind, Outcome, Payload, Recorded, RecordedState, Status, StepKey, WorkerId};
use dacapo_store::{Claim, End, FlushResult, RecordRow, RunWrites};
use dacapo_tests::{Dacapo, database};
use nix::sys::signal::Signal;

use crate::check::{journal, sound};

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_worker_writes_nothing() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("nothing", "null").await;
    let mut connection = database.store.connect().await.unwrap();
    let worker = WorkerId(uuid::Uuid::now_v7());
    dacapo_store::register(
        &mut connection,
        worker,
        "test",
        "0",
        Duration::from_millis(1),
        1,
        None,
    )
    .await
    .unwrap();
    let ten = Claim {
        max: 10,
        sources: vec![(None, None)],
        has_paused_workflows: false,
    };
    let claimed = dacapo_store::claim(&mut connection, worker, 0, &ten)
        .await
        .unwrap()
        .leased;
    assert_eq!(claimed.len(), 1);
    database
        .until(
            "the lease is over",
            "select lease_until < now() from dacapo.worker",
        )
        .await;

    let mut other = database.store.connect().await.unwrap();
    assert!(
        dacapo_store::close_expired_fences(&mut other)
            .await
            .unwrap()
    );
    let at = claimed[0].claimed_at;
    let recorded = Recorded {
        key: StepKey::new("", "late", 1),
        kind: Kind::Step,
        position: 1,
        started_at: at,
        state: RecordedState::Done {
            outcome: Outcome::Ok(Payload::null()),
            finished_at: at,
        },
    };
    let writes = [RunWrites {
        run,
        records: vec![RecordRow {
            recorded,
            updates_open: false,
            takes_event: None,
            failed_attempt: None,
            starts_child: None,
        }],
        progress: None,
        logs: Vec::new(),
        end: Some(End::Completed(Payload::null())),
        is_parent: false,
    }];
    // Also by the statement for new rows alone.
    let mut rows_only = writes.clone();
    rows_only[0].end = None;
    assert_eq!(
        dacapo_store::flush(&mut connection, worker, 0, &rows_only)
            .await
            .unwrap(),
        FlushResult::Fenced
    );
    assert_eq!(
        dacapo_store::flush(&mut connection, worker, 0, &writes)
            .await
            .unwrap(),
        FlushResult::Fenced
    );
    assert!(
        dacapo_store::claim(&mut connection, worker, 0, &ten)
            .await
            .unwrap()
            .leased
            .is_empty()
    );
    assert!(
        dacapo_store::heartbeat(
            &mut connection,
            worker,
            Duration::from_secs(5),
            &dacapo_store::BeatScope::default()
        )
        .await
        .unwrap()
        .is_none()
    );

    let took = dacapo_store::take_over(&mut other, 3, "{}").await.unwrap();
    assert_eq!((took.workers, took.runs), (1, 1));
    // That the run is not the worker's any more does not tell that its flush was written.
    assert_eq!(
        dacapo_store::find_flush(&mut connection, worker, 0, &writes)
            .await
            .unwrap(),
        Some(FlushResult::Fenced)
    );
    // Also when there is no trace of the worker any more.
    assert_eq!(
        dacapo_store::flush(&mut connection, worker, 0, &writes)
            .await
            .unwrap(),
        FlushResult::Fenced
    );
    assert!(journal(&database, run).await.is_empty());
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Queued
    );
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_is_renewed_while_its_worker_drains_is_closed_with_the_others() {
    let database = database().await;
    let mut control = database.store.connect().await.unwrap();
    let worker = WorkerId(uuid::Uuid::now_v7());
    let lease = Duration::from_secs(60);
    dacapo_store::register(&mut control, worker, "test", "0", lease, 2, None)
        .await
        .unwrap();
    // What renewing one does, up to its commit.
    let mut renewing = database.store.pool().begin().await.unwrap();
    for statement in [
        "update dacapo.worker set lease_until = lease_until + interval '1 second' where id = $1",
        "delete from dacapo.fence where worker_id = $1 and connection = 1",
        "insert into dacapo.fence (worker_id, connection) values ($1, 2)",
    ] {
        let done = sqlx::query(statement).bind(worker.0);
        assert_eq!(
            done.execute(&mut *renewing).await.unwrap().rows_affected(),
            1
        );
    }
    let closing =
        tokio::spawn(async move { dacapo_store::close_own_fences(&mut control, worker, 0).await });
    database
        .until(
            "the fences are about to be closed",
            "select count(*) = 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .await;
    renewing.commit().await.unwrap();
    closing.await.unwrap().unwrap();
    let open: Vec<i16> =
        sqlx::query_scalar("select connection from dacapo.fence where worker_id = $1 and open")
            .bind(worker.0)
            .fetch_all(database.store.pool())
            .await
            .unwrap();
    assert_eq!(open, [0]);
    // Nor is there another one for those that come later.
    let mut late = database.store.connect().await.unwrap();
    let renewed = dacapo_store::renew_fence(&mut late, worker, 2, 3).await;
    assert!(renewed.unwrap() == dacapo_store::RenewedFence::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_for_longer_than_its_lease_does_not_disturb_its_successor() {
    let database = database().await;
    database.deploy("probe").await;
    let quick = || {
        Dacapo::on(&database)
            .arg("--lease=1500ms")
            .arg("--heartbeat=300ms")
    };
    let stopped = quick().worker().await;
    let run = database.start("slow-step", "1000").await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    stopped.signal(Signal::SIGSTOP);
    let successor = quick().worker().await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    let before = journal(&database, run).await;
    let lines = database.count("select count(*) from dacapo.log").await;
    stopped.signal(Signal::SIGCONT);
    // It finds out, begins a new life and works again.
    database
        .until(
            "it is back",
            "select count(*) = 2 from dacapo.worker where lease_until > now()",
        )
        .await;
    assert_eq!(journal(&database, run).await, before);
    assert_eq!(
        database.count("select count(*) from dacapo.log").await,
        lines
    );
    successor.kill().await;
    let next = database.start("counted-steps", "2").await;
    assert_eq!(database.done(next).await.status, Status::Completed);
    stopped.kill().await;
    sound(&database).await;
}
