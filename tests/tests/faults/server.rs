//! The server goes away, or gives no connections.

use std::time::Duration;

use dacapo_tests::{Again, Worker, Workload};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, PgConnection};

use crate::private::{LONG, Private, private, sql, steps_later, until, until_seen};

async fn two(workload: &Workload, lease: &str) -> [Worker; 2] {
    [
        workload.worker_with_lease(lease).worker().await,
        workload.worker_with_lease(lease).worker().await,
    ]
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// It ends its sessions, and rolls back what they were at.
    Fast,
    /// It drops everything, and recovers at its next start.
    Immediate,
}

async fn restarted(how: Stop) {
    let mut private = private(&[]).await;
    let mut workload = private.workload().await;
    let url = private.cluster.url("postgres");
    let workers = two(&workload, LONG).await;
    let restarts = async {
        for _ in 0..3 {
            steps_later(&url, 30).await;
            if let (Stop::Immediate, Some(server)) = (how, private.cluster.pid()) {
                kill(Pid::from_raw(server.cast_signed()), Signal::SIGQUIT).unwrap();
                until_seen("it is gone", || private.cluster.pid().is_none()).await;
            }
            private.cluster.restart().await.unwrap();
        }
        steps_later(&url, 30).await;
    };
    workload.start_during(restarts).await;
    workload.check(Again::Never).await;
    for worker in workers {
        worker.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_fast_interrupts_no_step_of_a_worker_that_keeps_its_lease() {
    restarted(Stop::Fast).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_at_once_interrupts_no_step_of_a_worker_that_keeps_its_lease() {
    restarted(Stop::Immediate).await;
}

/// Ends all sessions of Dacapo.
const TERMINATE: &str =
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dacapo'";

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_again_and_again_interrupt_no_step() {
    let private = private(&[]).await;
    let mut workload = private.workload().await;
    let url = private.cluster.url("postgres");
    let mut admin = private.admin().await;
    let workers = two(&workload, LONG).await;
    let storm = async {
        for _ in 0..15 {
            // The sessions of the one before have had time for something.
            steps_later(&url, 3).await;
            for _ in 0..3 {
                sql(&mut admin, TERMINATE).await;
            }
        }
    };
    workload.start_during(storm).await;
    workload.check(Again::Never).await;
    for worker in workers {
        worker.kill().await;
    }
}

/// Takes all connections that there are, until it is told that it is enough.
async fn take_all(private: &Private, mut enough: tokio::sync::oneshot::Receiver<()>) {
    let url = private.cluster.url("postgres");
    let mut taken = Vec::new();
    while enough.try_recv().is_err() {
        match PgConnection::connect(&url).await {
            Ok(connection) => taken.push(connection),
            // There is none.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    for connection in taken {
        connection.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_on_once_there_are_connections_again() {
    let private = private(&[("max_connections", "30")]).await;
    let mut workload = private.workload().await;
    let url = private.cluster.url("postgres");
    let mut admin = private.admin().await;
    let workers = two(&workload, "1s").await;
    let shortage = async {
        steps_later(&url, 30).await;
        let (enough, is_enough) = tokio::sync::oneshot::channel();
        let shortage = async {
            // Whoever has one loses it, and others take it.
            let nobody =
                "select not exists (select from pg_stat_activity where application_name = 'dacapo')
                and (select count(*) from pg_stat_activity where backend_type = 'client backend') >= 30
                and not exists (select from dacapo.worker where lease_until > clock_timestamp())";
            for _ in 0..600 {
                sql(&mut admin, TERMINATE).await;
                let is_so: bool = sqlx::query_scalar(nobody)
                    .fetch_one(&mut admin)
                    .await
                    .unwrap();
                if is_so {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            until(&mut admin, "no worker has a lease", nobody).await;
            enough.send(()).unwrap();
        };
        tokio::join!(take_all(&private, is_enough), shortage);
        steps_later(&url, 30).await;
    };
    workload.start_during(shortage).await;
    assert!(private.log().contains("sorry, too many clients already"));
    workload.check(Again::Times(2)).await;
    for worker in workers {
        worker.kill().await;
    }
}
