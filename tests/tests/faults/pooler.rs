//! PgBouncer between workers and the server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dacapo_tests::{Again, Workload};

use crate::by_transaction;
use crate::private::{LONG, Private, private, steps_later, until_seen};

/// A running PgBouncer. Killed when it is dropped.
struct Pooler {
    child: Child,
    port: u16,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, and its version; none if it is not installed.
fn installed() -> Option<(PathBuf, (u32, u32))> {
    let program = [
        // Whoever has built one has a newer one.
        "/usr/local/sbin/pgbouncer",
        "/usr/local/bin/pgbouncer",
        "/usr/sbin/pgbouncer",
        "/usr/bin/pgbouncer",
    ]
    .map(Path::new)
    .into_iter()
    .find(|program| program.exists());
    let Some(program) = program else {
        println!("left out: PgBouncer is not installed");
        return None;
    };
    let said = Command::new(program).arg("--version").output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.split_whitespace().nth(1).unwrap();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap());
    Some((
        program.to_owned(),
        (numbers.next().unwrap(), numbers.next().unwrap()),
    ))
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts one before a server.
async fn pooler(private: &Private, program: &Path, port: u16, mode: &str) -> Pooler {
    let directory = private.directory.path();
    let settings = directory.join(format!("pgbouncer-{mode}.ini"));
    let mut file = std::fs::File::create(&settings).unwrap();
    write!(
        file,
        "[databases]
postgres = host={} port=5432 dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 40
max_client_conn = 200
ignore_startup_parameters = extra_float_digits,options
{}",
        private.socket_directory().display(),
        match mode {
            "transaction" => "max_prepared_statements = 200\n",
            _ => "",
        }
    )
    .unwrap();
    let child = private
        .command(program)
        .arg("-q")
        .arg(&settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_seen("the pooler listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .await;
    Pooler { child, port }
}

impl Pooler {
    fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_sessions_together_may_stand_between_and_be_restarted() {
    let Some((program, _)) = installed() else {
        return;
    };
    let private = private(&[]).await;
    let port = free_port();
    let mut pooler_now = pooler(&private, &program, port, "session").await;
    let mut workload = private.workload().await;
    let by = workload.worker_with_lease(LONG).by(&pooler_now.url());
    let workers = [by.clone().worker().await, by.worker().await];
    let url = private.cluster.url("postgres");
    let restarts = async {
        for _ in 0..3 {
            steps_later(&url, 30).await;
            drop(pooler_now);
            pooler_now = pooler(&private, &program, port, "session").await;
        }
        steps_later(&url, 30).await;
        pooler_now
    };
    let pooler_now = workload.start_during(restarts).await;
    workload.check(Again::Never).await;
    for worker in workers {
        worker.kill().await;
    }
    drop(pooler_now);
}

/// What workers say on one connection goes to whichever session is free; only listening goes another way.
async fn shared_by_transaction(private: &Private, pooled: &str, direct: &str) {
    let url = private.cluster.url("postgres");
    let mut workload: Workload = private.workload().await;
    let by = workload
        .worker_with_lease(LONG)
        .by(pooled)
        .env("DACAPO_DIRECT_URL", direct);
    let workers = [by.clone().worker().await, by.worker().await];
    workload.start_during(steps_later(&url, 300)).await;
    workload.check(Again::Never).await;
    for worker in workers {
        worker.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_by_transaction_may_stand_between_if_listening_goes_past_it()
{
    let private = private(&[]).await;
    // Fewer than there are connections of workers.
    let pooler = by_transaction::Pooler::before(&private.socket(), 4).await;
    let url = format!(
        "postgres://postgres@{}/postgres?sslmode=disable",
        pooler.address
    );
    shared_by_transaction(&private, &url, &private.cluster.url("postgres")).await;
    let moves = pooler.moves();
    assert!(moves > 100, "they shared the sessions: {moves}");
    assert_eq!(pooler.listens(), 0, "listening goes past it");
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_may_share_sessions_by_transaction_from_the_version_on_that_keeps_statements() {
    let Some((program, version)) = installed() else {
        return;
    };
    if version < (1, 21) {
        println!(
            "left out: this PgBouncer is {}.{}, and keeps prepared statements from 1.21 on",
            version.0, version.1
        );
        return;
    }
    let private = private(&[]).await;
    // Two of them, as it is where nothing else reaches the server: one for what needs a session of its own, and one for all else.
    let sessions = pooler(&private, &program, free_port(), "session").await;
    let shared = pooler(&private, &program, free_port(), "transaction").await;
    shared_by_transaction(&private, &shared.url(), &sessions.url()).await;
}
