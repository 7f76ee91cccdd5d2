//! A replica takes the place of its primary.

use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_tests::{Again, Worker, Workload, database_with};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Connection;

use crate::private::{LONG, Private, migrated, private, sql, steps_later, until};
use crate::proxy::Proxy;

/// A primary with a replica, and a name that leads to the primary: here a proxy.
struct Pair {
    primary: Private,
    replica: Private,
    proxy: Proxy,
}

async fn pair() -> Pair {
    let primary = private(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    primary.copy_to(directory.path(), &["-R"]);
    let options = ClusterOptions {
        data_dir: directory.path().to_owned(),
        settings: Vec::new(),
        binaries: None,
    };
    let replica = Private {
        cluster: Cluster::start(options).await.unwrap(),
        directory,
    };
    Pair {
        proxy: Proxy::before(&primary.socket()).await,
        primary,
        replica,
    }
}

impl Pair {
    /// Everybody goes by the proxy: the workers, and the clients.
    async fn workload(&self) -> Workload {
        Workload::on(migrated(&self.proxy.url()).await).await
    }

    async fn workers(&self, workload: &Workload) -> [Worker; 2] {
        [
            workload.worker_with_lease(LONG).worker().await,
            workload.worker_with_lease(LONG).worker().await,
        ]
    }

    /// The primary dies, and the replica takes its place.
    async fn fail_over(&mut self) {
        self.primary.cluster.crash().await;
        let mut admin = self.replica.admin().await;
        until(&mut admin, "it is promoted", "select pg_promote()").await;
        self.proxy.lead_to(&self.replica.socket());
    }

    async fn wait_for_replica(&self, state: &str) {
        let mut admin = self.primary.admin().await;
        let query = format!(
            "select exists (select from pg_stat_replication where state = 'streaming' and sync_state = '{state}')"
        );
        until(&mut admin, "the replica follows", &query).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_anybody_was_told_is_lost_when_a_synchronous_replica_takes_over() {
    let mut pair = pair().await;
    let mut admin = pair.primary.admin().await;
    sql(
        &mut admin,
        "alter system set synchronous_standby_names = '*'",
    )
    .await;
    sql(&mut admin, "select pg_reload_conf()").await;
    admin.close().await.unwrap();
    pair.wait_for_replica("sync").await;
    let mut workload = pair.workload().await;
    let workers = pair.workers(&workload).await;
    let url = pair.proxy.url();
    let trouble = async {
        steps_later(&url, 60).await;
        pair.fail_over().await;
        steps_later(&url, 60).await;
    };
    workload.start_during(trouble).await;
    // Workers begin anew on the server that took over, since they cannot know that it has everything.
    workload.check(Again::Times(1)).await;
    for worker in workers {
        worker.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_on_from_what_is_left_when_a_replica_takes_over_that_has_not_heard_of_everything() {
    let mut pair = pair().await;
    pair.wait_for_replica("async").await;
    let mut workload = pair.workload().await;
    let url = pair.proxy.url();
    for _ in 0..30 {
        workload.start_one().await;
    }
    let mut admin = pair.primary.admin().await;
    let mut replica = pair.replica.admin().await;
    let position: String = sqlx::query_scalar("select pg_current_wal_lsn()::text")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let has = format!("select pg_last_wal_replay_lsn() >= '{position}'");
    until(&mut replica, "the replica has all that was started", &has).await;
    let workers = pair.workers(&workload).await;
    steps_later(&url, 40).await;
    // From here on it hears nothing.
    let sender: i32 = sqlx::query_scalar("select pid from pg_stat_replication")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    kill(Pid::from_raw(sender), Signal::SIGSTOP).unwrap();
    steps_later(&url, 40).await;
    let before = database_with(&pair.primary.cluster.url("postgres"));
    let recorded = before.count("select count(*) from dacapo.step").await;
    before.store.pool().close().await;
    admin.close().await.unwrap();
    pair.fail_over().await;
    let left: i64 = sqlx::query_scalar("select count(*) from dacapo.step")
        .fetch_one(&mut replica)
        .await
        .unwrap();
    println!("{recorded} rows were recorded, and {left} are left");
    workload.check(Again::Lost).await;
    for worker in workers {
        worker.kill().await;
    }
}
