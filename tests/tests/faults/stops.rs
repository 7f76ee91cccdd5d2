//! Processes that stop for longer than their lease, and come back.

use dacapo_tests::{Again, Worker};
use nix::sys::signal::Signal;

use crate::private::{private, until};

const STOPS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_stop_for_longer_than_their_lease_and_come_back_write_nothing_of_what_others_do_now()
 {
    let private = private(&[]).await;
    let mut workload = private.workload().await;
    let mut admin = private.admin().await;
    let mut workers: Vec<Worker> = Vec::new();
    for _ in 0..3 {
        workers.push(workload.worker_with_lease("1s").worker().await);
    }
    let stops = async {
        for worker in &workers[..STOPS] {
            let is_there = format!(
                "exists (select from dacapo.worker where name like '%:{}')",
                worker.id()
            );
            until(
                &mut admin,
                "it plays runs",
                &format!(
                    "select exists (select from dacapo.task_leased join dacapo.worker on worker.id = worker_id where name like '%:{}')",
                    worker.id()
                ),
            )
            .await;
            worker.signal(Signal::SIGSTOP);
            let gone = format!("select not {is_there}");
            until(&mut admin, "its runs are taken over", &gone).await;
            worker.signal(Signal::SIGCONT);
            let back = format!("select {is_there}");
            until(&mut admin, "it has begun anew", &back).await;
        }
    };
    workload.start_during(stops).await;
    workload.check(Again::TimesAndLate(STOPS)).await;
    for worker in workers {
        worker.kill().await;
    }
}
