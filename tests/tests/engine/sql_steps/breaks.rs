//! Workers that die and connections that break around the commit of a step with SQL.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dacapo_tests::Database;
use dacapo_worker::Failpoint;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{
    CENTS, TRANSFER, balances, completed, granted, name, process, role, sql, worker, worker_with,
};
use crate::check::{journal, sound};

/// Kills a worker at a failpoint, and looks at what its successor has made of it.
async fn die_at(failpoint: Failpoint, count: u32) {
    let database = granted().await;
    let what = format!("{}:{count}", failpoint.name());
    let mut transfers = Vec::new();
    for _ in 0..2 {
        transfers.push(database.start("move-money", TRANSFER).await);
    }
    let mut others = vec![database.start("move-many", "4").await];
    for _ in 0..2 {
        others.push(database.start("third-time", "null").await);
    }
    let doomed = process(&database).dying_at(&what).worker().await;
    let status = tokio::time::timeout(Duration::from_secs(30), doomed.ended()).await;
    let status = status.unwrap_or_else(|_| panic!("{what} was not reached"));
    assert!(!status.success(), "{what}: {status}");
    let successor = process(&database).worker().await;
    for run in others {
        completed(&database, run).await;
    }
    for run in transfers {
        completed(&database, run).await;
        let rows = journal(&database, run).await;
        let keys: Vec<&str> = rows
            .iter()
            .map(|row| row.split(' ').next().unwrap())
            .collect();
        assert_eq!(keys, ["debit#1", "credit#1", "after#1"], "{what}: {rows:?}");
    }
    // Two transfers, four in branches, and a cent in each of two runs that fail twice before.
    let expected = (CENTS - 14 - 4 - 2, CENTS + 14 + 4);
    assert_eq!(balances(&database).await, expected, "{what}");
    // Each transfer has left two entries, and no other one has left any.
    let entries = database.count("select count(*) from entry").await;
    assert_eq!(entries, 2 * 2 + 2 * 4, "{what}");
    let left_over = database.count("select count(*) from dacapo.sql_step").await;
    assert_eq!(left_over, 0, "{what}");
    sound(&database).await;
    successor.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_moved_once_wherever_a_worker_dies() {
    for failpoint in Failpoint::ALL {
        match failpoint {
            // It takes a dead worker to get there.
            Failpoint::FencedNotTaken => {}
            // All runs are claimed at once.
            Failpoint::Claimed => die_at(failpoint, 1).await,
            _ => {
                tokio::join!(die_at(failpoint, 1), die_at(failpoint, 4));
            }
        }
    }
}

/// Where a connection is cut, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The message with these bytes does not reach the server.
    Before(&'static [u8]),
    /// The server's answer to it does not reach the worker.
    After(&'static [u8]),
}

/// Forwards connections to the server, and cuts one. Answers the directory that it listens in.
fn proxy(database: &Database, cut: Cut) -> (tempfile::TempDir, String) {
    let query = database.url.split('?').nth(1).unwrap();
    let value = |name: &str| {
        let value = query
            .split('&')
            .find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        value.unwrap().replace("%2F", "/")
    };
    let (host, port) = (value("host"), value("port"));
    let directory = tempfile::tempdir().unwrap();
    let socket = |directory: &Path| directory.join(format!(".s.PGSQL.{port}"));
    let listener = UnixListener::bind(socket(directory.path())).unwrap();
    let server = socket(Path::new(&host));
    let is_cut = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(&server).await.unwrap();
            tokio::spawn(forward(client, server, cut, Arc::clone(&is_cut)));
        }
    });
    let role = role(database);
    let url = format!(
        "postgres://{role}@localhost/{}?host={}&port={port}&sslmode=disable",
        name(database),
        directory.path().to_str().unwrap().replace('/', "%2F")
    );
    (directory, url)
}

async fn forward(
    mut client: UnixStream,
    mut server: UnixStream,
    cut: Cut,
    is_cut: Arc<AtomicBool>,
) {
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    let (Cut::Before(needle) | Cut::After(needle)) = cut;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(size @ 1..) = read else { return };
                let bytes = &from_client[..size];
                let is_here = bytes.windows(needle.len()).any(|window| window == needle);
                if is_here && !is_cut.swap(true, Ordering::SeqCst) {
                    if matches!(cut, Cut::After(_)) {
                        server.write_all(bytes).await.unwrap();
                        // It has answered, so it is done.
                        let _ = server.read(&mut from_server).await;
                    }
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(size @ 1..) = read else { return };
                if client.write_all(&from_server[..size]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_around_the_commit_of_a_sql_step_moves_money_once() {
    for cut in [
        Cut::Before(b"finish_sql_step"),
        Cut::After(b"finish_sql_step"),
        Cut::Before(b"commit\0"),
        Cut::After(b"commit\0"),
    ] {
        let database = granted().await;
        let (_directory, url) = proxy(&database, cut);
        let worker = worker_with(&database, &url).await;
        let run = database.start("move-money", TRANSFER).await;
        let output = completed(&database, run).await;
        assert_eq!(output, r#""993 1007""#, "{cut:?}");
        assert_eq!(balances(&database).await, (993, 1_007), "{cut:?}");
        assert_eq!(
            journal(&database, run).await,
            [
                "debit#1 step ok 993",
                "credit#1 step ok 1007",
                "after#1 step ok null"
            ],
            "{cut:?}"
        );
        let done = database.client.get(run).await.unwrap();
        let failed: Vec<&str> = done.steps[0]
            .failed_attempts
            .iter()
            .map(|attempt| attempt.failure.code.as_str())
            .collect();
        let was_committed = cut == Cut::After(b"commit\0");
        let expected: &[&str] = if was_committed { &[] } else { &["sql-lost"] };
        assert_eq!(failed, expected, "{cut:?}");
        worker.drain().await.unwrap();
        sound(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_the_middle_of_a_statement_is_a_failed_attempt() {
    let database = granted().await;
    let worker = worker(&database).await;
    let run = database.start("slow", "60.0").await;
    database
        .until(
            "the statement is under way",
            "select count(*) = 1 from pg_stat_activity
            where application_name = 'dacapo-sql-step' and state = 'active' and query like '%pg_sleep%' and datname = current_database()",
        )
        .await;
    sql(
        &database,
        "select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'dacapo-sql-step' and datname = current_database()",
    )
    .await;
    assert_eq!(completed(&database, run).await, r#""attempt 2""#);
    assert_eq!(balances(&database).await, (CENTS - 1, CENTS));
    let done = database.client.get(run).await.unwrap();
    assert_eq!(done.steps[0].failed_attempts[0].failure.code, "sql-lost");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_in_the_middle_of_a_sql_step_writes_nothing() {
    let database = granted().await;
    let stopped = process(&database).worker().await;
    let run = database.start("stuck", "2000").await;
    database
        .until(
            "the money is taken and nothing is committed",
            "select count(*) = 1 from pg_stat_activity
            where application_name = 'dacapo-sql-step' and state = 'idle in transaction'
                and query like 'set local%' and datname = current_database()",
        )
        .await;
    stopped.signal(Signal::SIGSTOP);
    // Its successor does not wait for the locks that the stopped one holds.
    let successor = process(&database).worker().await;
    completed(&database, run).await;
    assert_eq!(balances(&database).await, (CENTS - 1, CENTS));
    let before = journal(&database, run).await;
    stopped.signal(Signal::SIGCONT);
    database
        .until(
            "it is back",
            "select count(*) = 2 from dacapo.worker where lease_until > now()",
        )
        .await;
    assert_eq!(balances(&database).await, (CENTS - 1, CENTS));
    assert_eq!(journal(&database, run).await, before);
    successor.kill().await;
    let next = database.start("move-money", TRANSFER).await;
    completed(&database, next).await;
    stopped.kill().await;
    sound(&database).await;
}
