//! The endpoints over a real socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dacapo_server::{Probe, Readiness, Server, health};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

async fn get(address: SocketAddr, path: &str) -> io::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status line");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(readiness: Readiness) -> Running {
    let server = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = server.address();
    let probe: Probe = Arc::new(move || readiness.clone());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.serve(health(probe), stopped).await.unwrap();
    });
    Running {
        address,
        stop,
        task,
    }
}

#[tokio::test]
async fn ready_process_says_so() {
    let server = start(Readiness::Ready).await;
    assert_eq!(
        get(server.address, "/health/live").await.unwrap(),
        (200, json!({"live": true}))
    );
    assert_eq!(
        get(server.address, "/health/ready").await.unwrap(),
        (200, json!({"ready": true}))
    );
    let version = json!({"name": "dacapo", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(
        get(server.address, "/version").await.unwrap(),
        (200, version)
    );
    assert_eq!(get(server.address, "/nothing").await.unwrap().0, 404);
}

#[tokio::test]
async fn process_that_does_not_work_is_live_and_not_ready() {
    let server = start(Readiness::NotReady(
        "the database does not answer".to_owned(),
    ))
    .await;
    assert_eq!(get(server.address, "/health/live").await.unwrap().0, 200);
    let body = json!({"ready": false, "reason": "the database does not answer"});
    assert_eq!(
        get(server.address, "/health/ready").await.unwrap(),
        (503, body)
    );
}

#[tokio::test]
async fn open_connection_does_not_keep_the_server_from_stopping() {
    let server = start(Readiness::Ready).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .expect("it stops")
        .unwrap();
}

#[tokio::test]
async fn taken_address_is_an_error_that_names_it() {
    let first = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let error = Server::bind(first.address()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}", first.address())
    );
}
