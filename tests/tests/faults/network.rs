//! What is between workers and the server.

use std::time::Duration;

use dacapo_tests::{Again, Worker, Workload};
use sqlx::PgConnection;

use crate::private::{LONG, Private, private, steps_later, until};
use crate::proxy::{Fate, Proxy};

struct Network {
    private: Private,
    proxy: Proxy,
    workload: Workload,
    admin: PgConnection,
    url: String,
}

/// A server behind a proxy. Clients go around it.
async fn network() -> Network {
    let private = private(&[]).await;
    Network {
        proxy: Proxy::before(&private.socket()).await,
        workload: private.workload().await,
        admin: private.admin().await,
        url: private.cluster.url("postgres"),
        private,
    }
}

impl Network {
    /// A worker behind the proxy.
    async fn worker(&self, lease: &str) -> Worker {
        let worker = self.workload.worker_with_lease(lease);
        worker.by(&self.proxy.url()).worker().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_slow_cut_or_half_closed_interrupt_no_step() {
    let mut network = network().await;
    let workers = [network.worker(LONG).await, network.worker(LONG).await];
    let (proxy, url) = (&network.proxy, &network.url);
    let trouble = async {
        proxy.all(Fate::Slow(Duration::from_millis(30)));
        steps_later(url, 10).await;
        proxy.all(Fate::Pass);
        for _ in 0..6 {
            for fate in [Fate::Cut, Fate::NoAnswers, Fate::NoQuestions] {
                steps_later(url, 3).await;
                proxy.present(fate);
            }
        }
        // Slow ones, too.
        proxy.all(Fate::Slow(Duration::from_millis(5)));
        for _ in 0..3 {
            for fate in [Fate::Cut, Fate::NoAnswers, Fate::NoQuestions] {
                steps_later(url, 1).await;
                proxy.present(fate);
            }
        }
        proxy.all(Fate::Pass);
        steps_later(url, 30).await;
    };
    network.workload.start_during(trouble).await;
    network.workload.check(Again::Never).await;
    for worker in workers {
        worker.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_cut_off_for_longer_than_its_lease_and_heard_late_writes_nothing() {
    let mut network = network().await;
    let cut_off = network.worker("1s").await;
    let other = network.workload.worker_with_lease("1s").worker().await;
    let (proxy, url, admin) = (&network.proxy, &network.url, &mut network.admin);
    let is_there = format!(
        "exists (select from dacapo.worker where name like '%:{}')",
        cut_off.id()
    );
    let trouble = async {
        for _ in 0..2 {
            steps_later(url, 30).await;
            proxy.all(Fate::Held);
            let gone = format!("select not {is_there}");
            until(admin, "its runs are taken over", &gone).await;
            // What it has said arrives now.
            proxy.all(Fate::Pass);
            let back = format!("select {is_there}");
            until(admin, "it has begun anew", &back).await;
        }
    };
    network.workload.start_during(trouble).await;
    network.workload.check(Again::TimesAndLate(2)).await;
    cut_off.kill().await;
    other.kill().await;
}

/// As when a machine in between has lost its power: nobody is told that a connection is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_connections_die_without_a_word_finds_out_and_goes_on() {
    let mut network = network().await;
    // Alone: nobody else can do its work.
    let worker = network.worker("1s").await;
    let (proxy, url) = (&network.proxy, &network.url);
    for _ in 0..10 {
        network.workload.start_one().await;
    }
    steps_later(url, 30).await;
    proxy.present(Fate::Lost);
    for _ in 0..10 {
        network.workload.start_one().await;
    }
    network.workload.check(Again::Times(1)).await;
    worker.kill().await;
    drop(network.private);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_that_died_without_a_word_gives_its_place_to_another_one() {
    let network = network().await;
    let hour = Duration::from_secs(3600);
    // None is tried before it is used.
    let store = dacapo_store::Store::with_rest(&network.proxy.url(), 1, hour).unwrap();
    store.ping().await.unwrap();
    // Given back: the pool itself has tried it, and waits for that without an end.
    while store.pool().num_idle() == 0 {
        tokio::task::yield_now().await;
    }
    network.proxy.present(Fate::Lost);
    let asked: Result<(), dacapo_store::StoreError> =
        dacapo_store::in_time(Duration::from_millis(100), store.ping()).await;
    assert!(asked.unwrap_err().is_late());
    store.ping().await.unwrap();

    // The same in the middle of a transaction.
    let mut transaction = store.pool().begin().await.unwrap();
    sqlx::query("select 1")
        .execute(&mut *transaction)
        .await
        .unwrap();
    network.proxy.present(Fate::Lost);
    drop(transaction);
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_server_gave_up_while_its_worker_was_not_heard_is_written_again() {
    let mut network = network().await;
    let worker = network.worker(LONG).await;
    let (proxy, admin) = (&network.proxy, &mut network.admin);
    let open = "exists (select from pg_stat_activity where application_name = 'dacapo' and state = 'idle in transaction')";
    loop {
        // One run alone, whose flushes nobody shares, and slow ones: the one that starts its child is a transaction.
        proxy.all(Fate::Slow(Duration::from_millis(100)));
        network.workload.start_one().await;
        until(admin, "a transaction is open", &format!("select {open}")).await;
        proxy.all(Fate::Held);
        // What was on its way has arrived then.
        let settled = "select not exists (
            select from pg_stat_activity
            where application_name = 'dacapo'
                and (state = 'active' or state = 'idle in transaction' and state_change > clock_timestamp() - interval '1 second')
        )";
        until(admin, "nothing arrives any more", settled).await;
        let is_open: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select {open}")))
            .fetch_one(&mut *admin)
            .await
            .unwrap();
        if is_open {
            break;
        }
        proxy.all(Fate::Pass);
    }
    until(
        admin,
        "the server gives it up",
        &format!("select not {open}"),
    )
    .await;
    proxy.all(Fate::Pass);
    let log = network.private.log();
    assert!(log.contains("due to idle-in-transaction timeout"), "{log}");
    network.workload.check(Again::Never).await;
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_told_to_give_up_clients_that_do_not_answer_any_more() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let _private = private(&[("listen_addresses", "127.0.0.1"), ("port", &port)]).await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let store = dacapo_store::Store::new(&url, 1).unwrap();
    let told: String = sqlx::query_scalar(
        "select current_setting('tcp_user_timeout') || ' ' || current_setting('tcp_keepalives_idle')",
    )
    .fetch_one(store.pool())
    .await
    .unwrap();
    assert_eq!(told, "30000 30");
}
