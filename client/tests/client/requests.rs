//! What is asked of runs that no worker has taken yet.

use std::time::Duration;

use dacapo_client::{
    Cancelled, Client, ClientError, Paused, PayloadLimits, Resumed, RunId, SentEvent, StartOptions,
    Status,
};

use crate::database::{PING, client, code};

async fn queued(client: &Client) -> RunId {
    client
        .start_by_name(PING, "", StartOptions::default())
        .await
        .unwrap()
        .id
}

async fn status(client: &Client, run: RunId) -> Status {
    client.check_progress(run).await.unwrap().status
}

async fn inbox(client: &Client) -> Vec<(String, String)> {
    sqlx::query_as("select name, payload from dacapo.event order by seq")
        .fetch_all(client.store().pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_event_waits_in_the_inbox_of_a_run_that_has_not_begun() {
    let client = client().await;
    let run = queued(&client).await;
    assert_eq!(
        client
            .send_event(run, "paid", r#"{"by": "card"}"#, None)
            .await
            .unwrap(),
        SentEvent::Sent
    );
    assert_eq!(
        client
            .send_event_value(run, "paid", &7, None)
            .await
            .unwrap(),
        SentEvent::Sent
    );
    assert_eq!(
        inbox(&client).await,
        [
            ("paid".into(), r#"{"by": "card"}"#.into()),
            ("paid".into(), "7".into())
        ]
    );
}

#[tokio::test]
async fn an_event_delivered_twice_is_received_once() {
    let client = client().await;
    let (run, other) = (queued(&client).await, queued(&client).await);
    assert_eq!(
        client
            .send_event(run, "paid", "1", Some("d-1"))
            .await
            .unwrap(),
        SentEvent::Sent
    );
    assert_eq!(
        client
            .send_event(run, "paid", "1", Some("d-1"))
            .await
            .unwrap(),
        SentEvent::Duplicate
    );
    assert_eq!(
        client
            .send_event(run, "paid", "2", Some("d-2"))
            .await
            .unwrap(),
        SentEvent::Sent
    );
    assert_eq!(
        client
            .send_event(other, "paid", "3", Some("d-1"))
            .await
            .unwrap(),
        SentEvent::Sent
    );
    assert_eq!(inbox(&client).await.len(), 3);
}

#[tokio::test]
async fn a_bad_event_has_no_effect() {
    let client = client().await;
    let run = queued(&client).await;
    for name in ["", "a/b", "a#b", "a\0", &"x".repeat(201)] {
        assert_eq!(
            code(client.send_event(run, name, "1", None).await),
            "bad-argument",
            "{name}"
        );
    }
    assert_eq!(
        code(client.send_event(run, "paid", "1", Some("\0")).await),
        "bad-argument"
    );
    for payload in [
        "",
        "{",
        "nope",
        "\u{0}",
        r#"{"a":1,"a":2}"#,
        &"[".repeat(200_000),
    ] {
        assert_eq!(
            code(client.send_event(run, "paid", payload, None).await),
            "bad-payload",
            "{payload:.40}"
        );
    }
    let small = client.clone().with_payload_limits(PayloadLimits {
        max_bytes: 3,
        ..PayloadLimits::default()
    });
    assert_eq!(
        code(small.send_event(run, "paid", "1234", None).await),
        "too-large"
    );
    assert_eq!(
        code(client.send_event(RunId::new(), "paid", "1", None).await),
        "run-not-found"
    );
    assert!(inbox(&client).await.is_empty());
}

#[tokio::test]
async fn an_event_for_a_run_that_is_over_is_refused() {
    let client = client().await;
    let run = queued(&client).await;
    client.cancel(run).await.unwrap();
    let error = client.send_event(run, "paid", "1", None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot send an event to run {run}: it is cancelled")
    );
    assert_eq!(error.code(), "conflict");
    assert!(inbox(&client).await.is_empty());
}

#[tokio::test]
async fn a_queued_run_is_paused_at_once_and_resumed() {
    let client = client().await;
    let run = queued(&client).await;
    assert_eq!(client.pause(run).await.unwrap(), Paused::Now);
    let paused = client.get(run).await.unwrap();
    assert_eq!(
        (paused.status, paused.waiting_for.unwrap().reason.as_str()),
        (Status::Paused, "boundary")
    );
    let error = client.pause(run).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot pause run {run}: it is paused")
    );
    assert_eq!(client.resume(run).await.unwrap(), Resumed);
    assert_eq!(status(&client, run).await, Status::Queued);
    assert_eq!(code(client.resume(run).await), "conflict");
}

#[tokio::test]
async fn a_run_that_never_began_is_cancelled_at_once() {
    let client = client().await;
    for pause_first in [false, true] {
        let run = queued(&client).await;
        if pause_first {
            client.pause(run).await.unwrap();
        }
        assert_eq!(client.cancel(run).await.unwrap(), Cancelled::Now);
        let run = client.get(run).await.unwrap();
        assert_eq!(run.status, Status::Cancelled);
        assert!(run.finished_at.is_some() && run.started_at.is_none());
        for refused in [
            client.cancel(run.id).await.map(drop),
            client.pause(run.id).await.map(drop),
            client.resume(run.id).await.map(drop),
        ] {
            let ClientError::Conflict { status, .. } = refused.unwrap_err() else {
                panic!("not a conflict")
            };
            assert_eq!(status, Status::Cancelled);
        }
    }
}

#[tokio::test]
async fn requests_for_an_unknown_run_say_so() {
    let client = client().await;
    let run = RunId::new();
    assert_eq!(code(client.pause(run).await), "run-not-found");
    assert_eq!(code(client.resume(run).await), "run-not-found");
    assert_eq!(code(client.cancel(run).await), "run-not-found");
}

#[tokio::test]
async fn connections_that_the_server_closed_are_no_error() {
    let client = client().await;
    let run = queued(&client).await;
    // Several at once, so that the pool holds several connections.
    let look = || client.check_progress(run);
    let _ = tokio::join!(look(), look(), look(), look());
    let mut admin = client.store().pool().acquire().await.unwrap();
    let close = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()";
    for request in 0..4 {
        sqlx::query(close).execute(&mut *admin).await.unwrap();
        match request {
            0 => drop(client.check_progress(run).await.unwrap()),
            1 => drop(client.send_event(run, "e", "1", None).await.unwrap()),
            2 => drop(client.pause(run).await.unwrap()),
            _ => drop(
                client
                    .wait(run, Some(Duration::from_millis(10)))
                    .await
                    .unwrap_err(),
            ),
        }
    }
}
