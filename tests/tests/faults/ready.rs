//! Whether a process is ready, while its database is away and once it is there again.

use std::process::Stdio;
use std::time::Duration;

use dacapo_tests::{Dacapo, dacapo_binary};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;

use crate::private::{private, until_seen};

/// A port that nobody listens at.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The status of an answer, and all of it; none: nobody answers yet.
async fn asked(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

/// Waits until a process says of itself that it is ready, or that it is not; answers what it says.
async fn says(address: &str, status: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = asked(address, "/health/ready").await;
        if let Some((now, text)) = &answer
            && *now == status
        {
            return text.clone();
        }
        assert!(
            Instant::now() < deadline,
            "{status} was expected: {answer:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_not_ready_while_their_database_is_away_and_live_on() {
    let mut private = private(&[]).await;
    let database = private.database().await;
    let (worker_at, server_at) = (free_address(), free_address());
    let worker = Dacapo::on(&database)
        .arg("--listen")
        .arg(&worker_at)
        .worker()
        .await;
    let _server = Command::new(dacapo_binary())
        .args(["serve", "--listen", &server_at])
        .env("DATABASE_URL", &database.url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let both = [&worker_at, &server_at];
    for _ in 0..2 {
        for address in both {
            says(address, 200).await;
        }
        let server = private.cluster.pid().unwrap();
        kill(Pid::from_raw(server.cast_signed()), Signal::SIGQUIT).unwrap();
        until_seen("it is gone", || private.cluster.pid().is_none()).await;
        for address in both {
            let why = says(address, 503).await;
            assert!(
                why.contains("database") || why.contains("committed"),
                "{why}"
            );
            let (live, _) = asked(address, "/health/live").await.unwrap();
            assert_eq!(live, 200);
        }
        private.cluster.restart().await.unwrap();
    }
    for address in both {
        says(address, 200).await;
    }
    worker.kill().await;
}
