//! Limits of statements, answers and sessions.

use std::time::Duration;

use dacapo_model::{SqlGrant, SqlValue, Status};
use dacapo_worker::{Worker, WorkerConfig};

use super::{
    CENTS, TRANSFER, balances, bank, completed, config, deploy, failed, granted, role, sql, taken,
    url_of, worker,
};
use crate::check::sound;

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_limits_and_statements_a_time() {
    let database = bank().await;
    let grant = SqlGrant {
        // A busy machine may need a while for the first rows of an answer.
        statement_timeout_ms: 6_000,
        max_rows: 100,
        max_bytes: 10_000,
        ..SqlGrant::new("bank")
    };
    deploy(&database, Some(grant)).await;
    let worker = worker(&database).await;
    for (statement, says) in [
        (
            "select generate_series(1, 101)",
            "at most 100 rows (max-rows) and 10000 bytes (max-bytes)",
        ),
        ("select generate_series(1, 1000000000)", "at most 100 rows"),
        // Nulls hold nothing, and take what they take.
        (
            "select null, null, null, null, null, null, null, null from generate_series(1, 100)",
            "10000 bytes (max-bytes)",
        ),
        (
            "select repeat('x', 10001)",
            "at most 100 rows (max-rows) and 10000 bytes (max-bytes)",
        ),
        ("select pg_sleep(60)", "statement timeout"),
    ] {
        let input = serde_json::to_string(statement).unwrap();
        let run = database.start("read", &input).await;
        let failure = failed(&database, run).await;
        assert_eq!(failure.code, "sql-limit", "{statement}: {failure}");
        assert!(failure.message.contains(says), "{statement}: {failure}");
    }
    let run = database
        .start("read", r#""select generate_series(1, 100)""#)
        .await;
    completed(&database, run).await;
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_allows_holds_where_more_is_granted() {
    let database = granted().await;
    let config = WorkerConfig {
        sql_rows_max: 10,
        sql_bytes_max: 5_000,
        ..config(&url_of(&database, &role(&database)))
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    for statement in ["select generate_series(1, 11)", "select repeat('x', 5000)"] {
        let input = serde_json::to_string(statement).unwrap();
        let run = database.start("read", &input).await;
        let failure = failed(&database, run).await;
        assert_eq!(failure.code, "sql-limit", "{statement}: {failure}");
        let says = "at most 10 rows (the worker's --sql-rows-max) and 5000 bytes (the worker's --sql-bytes-max)";
        assert!(failure.message.contains(says), "{statement}: {failure}");
    }
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_statements_is_limited_whatever_statements_before_have_set() {
    let database = bank().await;
    let grant = SqlGrant {
        statement_timeout_ms: 300,
        ..SqlGrant::new("bank")
    };
    deploy(&database, Some(grant)).await;
    let worker = worker(&database).await;
    let statements = [
        "select set_config('statement_timeout', '0', false)",
        "select set_config('idle_in_transaction_session_timeout', '0', true)",
        "select set_config('client_connection_check_interval', '0', true), set_config('statement_timeout', '0', true)",
        "select pg_sleep(60)",
    ];
    let input = serde_json::to_string(&statements).unwrap();
    let run = database.start("hostile", &input).await;
    let failure = failed(&database, run).await;
    assert_eq!(failure.code, "sql-limit", "{failure}");
    // The server says so itself.
    let says = "canceling statement due to statement timeout";
    assert!(failure.message.contains(says), "{failure}");
    // And so it is with sessions that wait.
    let mut transaction = taken(&database).await;
    for statement in statements.iter().take(3) {
        transaction.query(statement, Vec::new()).await.unwrap();
    }
    let statement = "select current_setting('statement_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout')
        || ' ' || current_setting('client_connection_check_interval')";
    let rows = transaction.query(statement, Vec::new()).await.unwrap();
    let expected = SqlValue::Text("10s 65s 2s".to_owned());
    assert_eq!(rows.rows, [[expected]]);
    transaction.roll_back().await.unwrap();
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_outlives_its_time_is_ended_with_its_session() {
    let database = bank().await;
    sql(
        &database,
        "create function stubborn() returns void language plpgsql as $$
        begin
            perform set_config('client_connection_check_interval', '0', true);
            loop
                begin
                    perform pg_sleep(3600);
                exception when query_canceled then
                    null;
                end;
            end loop;
        end $$",
    )
    .await;
    let grant = SqlGrant {
        statement_timeout_ms: 300,
        ..SqlGrant::new("bank")
    };
    deploy(&database, Some(grant)).await;
    let config = WorkerConfig {
        sql_connections_max: 1,
        ..config(&url_of(&database, &role(&database)))
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let run = database.start("read", r#""select stubborn()""#).await;
    let failure = failed(&database, run).await;
    assert_eq!(failure.code, "sql-limit", "{failure}");
    let says = "a statement took longer than 5300 ms";
    assert!(failure.message.contains(says), "{failure}");
    // Its place is free once it is gone.
    let next = database.start("move-money", TRANSFER).await;
    completed(&database, next).await;
    database
        .until(
            "the session is gone",
            "select count(*) = 0 from pg_stat_activity
            where application_name = 'dacapo-sql-step' and query like '%stubborn%' and datname = current_database()",
        )
        .await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_waits_for_its_body_for_too_long_is_ended_and_its_place_is_free() {
    let database = granted().await;
    let config = WorkerConfig {
        sql_connections_max: 1,
        sql_idle_max: Duration::from_secs(1),
        ..config(&url_of(&database, &role(&database)))
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let stuck = database.start("stuck", "8000").await;
    database
        .until(
            "it has its session",
            "select count(*) = 1 from pg_stat_activity
            where application_name = 'dacapo-sql-step' and datname = current_database()",
        )
        .await;
    // There is one place, and the same row is needed.
    let next = database.start("move-money", TRANSFER).await;
    completed(&database, next).await;
    let run = database.client.get(stuck).await.unwrap();
    assert_eq!(run.status, Status::Running);
    assert!(
        run.steps.iter().all(|step| step.failed_attempts.is_empty()),
        "{run:#?}"
    );
    database
        .until(
            "the stuck attempt has failed",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'retry'",
        )
        .await;
    let run = database.client.get(stuck).await.unwrap();
    let failure = &run.steps[0].failed_attempts[0].failure;
    assert_eq!(
        (failure.code.as_str(), failure.retryable),
        ("sql-lost", true)
    );
    assert!(failure.message.contains("--sql-idle-max"), "{failure}");
    database.client.cancel(stuck).await.unwrap();
    assert_eq!(balances(&database).await, (993, 1_007));
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_waits_for_others_gives_up_and_nothing_is_kept() {
    let database = bank().await;
    let role = role(&database);
    sql(
        &database,
        &format!(
            "create table owner (id integer primary key); insert into owner values (1);
            create table pet (owner integer not null references owner deferrable initially deferred);
            grant insert on pet to {role}"
        ),
    )
    .await;
    let grant = SqlGrant {
        statement_timeout_ms: 600_000,
        ..SqlGrant::new("bank")
    };
    deploy(&database, Some(grant)).await;
    let worker = worker(&database).await;
    let mut other = database.store.pool().begin().await.unwrap();
    sqlx::query("select from owner where id = 1 for update")
        .execute(&mut *other)
        .await
        .unwrap();
    let statements = [
        "insert into pet values (1)",
        "select set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)",
    ];
    let input = serde_json::to_string(&statements).unwrap();
    let run = database.start("hostile", &input).await;
    let failure = failed(&database, run).await;
    let says = "canceling statement due to lock timeout";
    assert!(failure.message.contains(says), "{failure}");
    assert!(failure.retryable, "{failure}");
    other.rollback().await.unwrap();
    assert_eq!(database.count("select count(*) from pet").await, 0);
    assert_eq!(balances(&database).await, (CENTS, CENTS));
    worker.drain().await.unwrap();
    sound(&database).await;
}
