//! Waiting for runs. What a worker would do is done by statements of the test.

use std::time::{Duration, Instant};

use dacapo_client::{Client, ClientError, RunId, StartOptions, Status, WorkflowRef};

use crate::database::{GREET, client, code};

const ADA: &str = r#"{"name": "Ada"}"#;

async fn queued(client: &Client) -> RunId {
    client
        .start_by_name(GREET, ADA, StartOptions::default())
        .await
        .unwrap()
        .id
}

/// Ends a run as a worker would.
async fn end(
    client: &Client,
    run: RunId,
    status: &str,
    output: Option<&str>,
    failure: Option<&str>,
    tell: bool,
) {
    let mut transaction = client.store().pool().begin().await.unwrap();
    sqlx::query("delete from dacapo.task_ready where run_id = $1")
        .bind(run.0)
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query(
        "update dacapo.run set status = $2, output = $3, failure = $4, finished_at = clock_timestamp(),
            cancel_requested_at = case when $2 = 'cancelled' then clock_timestamp() end
        where id = $1",
    )
    .bind(run.0)
    .bind(status)
    .bind(output)
    .bind(failure)
    .execute(&mut *transaction)
    .await
    .unwrap();
    if tell {
        let others = format!("{},{run}", RunId::new());
        sqlx::query("select pg_notify('dacapo_run', $1)")
            .bind(others)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn until_listening(client: &Client) {
    let listening =
        "select exists (select from pg_stat_activity where query ilike 'listen%' and state = 'idle'
        and datname = current_database())";
    while !sqlx::query_scalar::<_, bool>(listening)
        .fetch_one(client.store().pool())
        .await
        .unwrap()
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_wait_ends_with_the_run() {
    let client = client().await;
    let run = queued(&client).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait(run, Some(Duration::from_secs(20))).await }
    });
    until_listening(&client).await;
    end(&client, run, "completed", Some("\"hello\""), None, true).await;
    let run = waiting.await.unwrap().unwrap();
    assert_eq!(
        (run.status, run.output.unwrap().as_str()),
        (Status::Completed, "\"hello\"")
    );
}

#[tokio::test]
async fn a_lost_notification_costs_time_only() {
    let client = client().await;
    let run = queued(&client).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait(run, Some(Duration::from_secs(20))).await }
    });
    until_listening(&client).await;
    end(&client, run, "completed", Some("1"), None, false).await;
    assert_eq!(waiting.await.unwrap().unwrap().status, Status::Completed);
}

#[tokio::test]
async fn many_waits_share_one_connection_that_survives_its_loss() {
    let client = client().await;
    let mut waits = Vec::new();
    for _ in 0..30 {
        let run = queued(&client).await;
        let client = client.clone();
        waits.push((
            run,
            tokio::spawn(async move { client.wait(run, Some(Duration::from_secs(20))).await }),
        ));
    }
    until_listening(&client).await;
    let listeners = "select count(*) from pg_stat_activity where query ilike 'listen%' and datname = current_database()";
    let listeners: i64 = sqlx::query_scalar(listeners)
        .fetch_one(client.store().pool())
        .await
        .unwrap();
    assert_eq!(listeners, 1);
    let close = "select pg_terminate_backend(pid) from pg_stat_activity
        where query ilike 'listen%' and datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query(close)
        .execute(client.store().pool())
        .await
        .unwrap();
    for (run, _) in &waits {
        end(&client, *run, "completed", Some("1"), None, true).await;
    }
    for (_, wait) in waits {
        assert_eq!(wait.await.unwrap().unwrap().status, Status::Completed);
    }
}

#[tokio::test]
async fn a_wait_that_takes_too_long_says_what_the_run_does() {
    let client = client().await;
    let run = queued(&client).await;
    let begin = Instant::now();
    let error = client
        .wait(run, Some(Duration::from_millis(200)))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("run {run} has not ended within 0.2 s; it is queued")
    );
    assert!(error.hint().unwrap().contains("dacapo worker"));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_output_comes_typed() {
    let client = client().await;
    let greet: WorkflowRef<serde_json::Value, String> = WorkflowRef::new(GREET);
    let started = client
        .start(greet, &serde_json::json!({"name": "Ada"}))
        .await
        .unwrap();
    end(
        &client,
        started.id,
        "completed",
        Some("\"hello\""),
        None,
        true,
    )
    .await;
    assert_eq!(client.wait_output(&started).await.unwrap(), "hello");

    let wrong: WorkflowRef<serde_json::Value, u32> = WorkflowRef::new(GREET);
    let started = client
        .start(wrong, &serde_json::json!({"name": "Ada"}))
        .await
        .unwrap();
    end(
        &client,
        started.id,
        "completed",
        Some("\"hello\""),
        None,
        true,
    )
    .await;
    assert_eq!(code(client.wait_output(&started).await), "decode");
}

#[tokio::test]
async fn a_failed_run_has_its_failure_in_the_place_of_an_output() {
    let client = client().await;
    let started = client
        .start_by_name(GREET, ADA, StartOptions::default())
        .await
        .unwrap();
    let failure = r#"{"code":"declined","message":"no money","retryable":false,"details":{"tag":"declined","val":"no money"}}"#;
    end(&client, started.id, "failed", None, Some(failure), true).await;
    let error = client.wait_output(&started).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("run {} failed: declined: no money", started.id)
    );

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(tag = "tag", content = "val", rename_all = "kebab-case")]
    enum Problem {
        Declined(String),
    }
    assert_eq!(
        error.workflow_error(),
        Some(Problem::Declined("no money".to_owned()))
    );
    assert_eq!(
        client.get(started.id).await.unwrap().failure.unwrap().code,
        "declined"
    );
}

#[tokio::test]
async fn a_cancelled_run_has_no_output() {
    let client = client().await;
    let started = client
        .start_by_name(GREET, ADA, StartOptions::default())
        .await
        .unwrap();
    client.cancel(started.id).await.unwrap();
    let error = client.wait_output(&started).await.unwrap_err();
    assert!(matches!(
        error,
        ClientError::RunCancelled { failure: None, .. }
    ));
    assert_eq!(
        client.wait(started.id, None).await.unwrap().status,
        Status::Cancelled
    );
}
