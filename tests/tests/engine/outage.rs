//! The database goes away and comes back.

use std::time::Duration;

use dacapo_model::Status;
use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_tests::database_with;
use dacapo_worker::{Worker, WorkerConfig};

use crate::check::{bodies_once, journal, sound, worker};

async fn cluster() -> (tempfile::TempDir, Cluster) {
    let directory = tempfile::tempdir().unwrap();
    let options = ClusterOptions {
        data_dir: directory.path().to_owned(),
        settings: Vec::new(),
        binaries: None,
    };
    let cluster = Cluster::start(options).await.unwrap();
    (directory, cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_on_when_the_database_crashes_and_returns() {
    let (_directory, mut cluster) = cluster().await;
    let database = database_with(&cluster.url("postgres"));
    dacapo_store::migrate(&database.store).await.unwrap();
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let slow = database.start("slow-step", "1500").await;
    let mut runs = vec![slow];
    for _ in 0..20 {
        runs.push(database.start("counted-steps", "200").await);
    }
    database
        .until(
            "some steps are recorded",
            "select count(*) > 300 from dacapo.step",
        )
        .await;
    cluster.crash().await;
    cluster.restart().await.unwrap();
    for run in runs {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    assert_eq!(
        journal(&database, slow).await,
        ["slow#1 step ok null", "next#1 step ok null"]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_lose_nothing_and_repeat_no_recorded_step() {
    let (_directory, cluster) = cluster().await;
    let database = database_with(&cluster.url("postgres"));
    dacapo_store::migrate(&database.store).await.unwrap();
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let mut runs = Vec::new();
    for _ in 0..10 {
        runs.push(database.start("effects", "100").await);
    }
    // These are claimed again and again, so that claims are cut, too.
    let mut sleepers = Vec::new();
    for _ in 0..10 {
        sleepers.push(database.start("sleeps", r#"{"ms": 15, "times": 30}"#).await);
    }
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                   where application_name = 'dacapo' and pid <> pg_backend_pid()";
        // The statement may cut the pool's own connections, and so its own successor's.
        let _ = sqlx::query(cut).execute(database.store.pool()).await;
    }
    for run in runs {
        assert_eq!(database.done(run).await.status, Status::Completed);
        assert_eq!(journal(&database, run).await.len(), 100);
        bodies_once(&database, run).await;
    }
    for run in sleepers {
        assert_eq!(database.done(run).await.status, Status::Completed);
        assert_eq!(journal(&database, run).await.len(), 30);
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_starts_before_its_database_waits_for_it() {
    let (_directory, mut cluster) = cluster().await;
    let database = database_with(&cluster.url("postgres"));
    dacapo_store::migrate(&database.store).await.unwrap();
    database.deploy("probe").await;
    let run = database.start("counted-steps", "3").await;
    cluster.crash().await;
    let worker = Worker::start(database.store.clone(), WorkerConfig::default())
        .await
        .unwrap();
    cluster.restart().await.unwrap();
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
}
