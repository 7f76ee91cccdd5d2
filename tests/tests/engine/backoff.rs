//! Ten thousand runs that wait for their next attempt.

use std::time::Duration;

use dacapo_client::StartOptions;
use dacapo_tests::{Dacapo, Database, database};

use crate::check::sound;

const RUNS: usize = 10_000;
/// Runs that may become due within a tenth of a second, of all that wait for a minute and up to another one.
const TOGETHER_MAX: i64 = RUNS as i64 / 100;

/// How many connections to this database are not the test's own.
async fn connections(database: &Database) -> i64 {
    let all = "select count(*) from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend'";
    database.count(all).await - i64::from(database.store.pool().size())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_runs_in_back_off_hold_nothing_and_do_not_come_back_all_at_once() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = Dacapo::on(&database).worker().await;
    let before = connections(&database).await;
    assert!(before > 0, "the worker has no connection");
    let input = r#"{"bad": 1, "attempts": 2, "backoffMs": 60000, "how": "fail"}"#;
    let starts = vec![(input.to_owned(), StartOptions::default()); RUNS];
    database
        .client
        .start_many_by_name("flaky", &starts)
        .await
        .unwrap();
    let begun = std::time::Instant::now();
    database
        .until_within(
            Duration::from_secs(90),
            "all wait for their next attempt",
            "select count(*) = 10000 from dacapo.task_suspended where reason = 'retry'",
        )
        .await;
    println!("{RUNS} runs wait after {:?}", begun.elapsed());

    // An instance belongs to a run that some worker holds.
    for held in [
        "select count(*) from dacapo.task_leased",
        "select count(*) from dacapo.task_ready",
    ] {
        assert_eq!(database.count(held).await, 0, "{held}");
    }
    let now = connections(&database).await;
    println!("{now} connections of the worker, {before} before");
    // What the worker's pool has opened meanwhile; ten thousand would be another matter.
    assert!(now <= before + 2, "{now} connections, {before} before");
    let open = "select count(*) from pg_stat_activity
        where datname = current_database() and state like 'idle in transaction%'";
    assert_eq!(database.count(open).await, 0);

    let apart = "select count(*) from dacapo.task_suspended
        join dacapo.step using (run_id) where step.outcome is null and step.due is distinct from wake_at";
    assert_eq!(
        database.count(apart).await,
        0,
        "a run wakes up at another time than its step is due"
    );
    let together = database
        .count(
            "select max(others) from (
                select count(*) over (order by wake_at range between interval '100 milliseconds' preceding and current row) as others
                from dacapo.task_suspended
            ) as run",
        )
        .await;
    println!("{together} of {RUNS} are due within a tenth of a second, at most");
    assert!(together <= TOGETHER_MAX, "{together} at once");

    // Two minutes are too long for a test: they come thirty times as fast, and so thirty times as many at once.
    let mut connection = database.store.pool().acquire().await.unwrap();
    sqlx::raw_sql(
        "create temporary table soon as
            select run_id, now() + (wake_at - min(wake_at) over ()) / 30 as at from dacapo.task_suspended;
        begin;
        update dacapo.step set due = soon.at from soon where step.run_id = soon.run_id and step.outcome is null;
        update dacapo.task_suspended set wake_at = soon.at from soon where task_suspended.run_id = soon.run_id;
        commit;
        select pg_notify('dacapo_due', (extract(epoch from min(at)) * 1000000)::bigint::text) from soon",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
    drop(connection);
    let begun = std::time::Instant::now();
    database
        .until_within(
            Duration::from_secs(90),
            "all are done",
            "select count(*) = 10000 from dacapo.run where status = 'completed' and output = '2'",
        )
        .await;
    println!("{RUNS} runs are done after {:?}", begun.elapsed());
    let not_twice = "select count(*) from dacapo.run
        where (select array_agg(message order by id) from dacapo.log where run_id = run.id) <> '{effect attempt 1,effect attempt 2}'
            or (select count(*) from dacapo.attempt where run_id = run.id and number = 1) <> 1
            or (select count(*) from dacapo.attempt where run_id = run.id) <> 1
            or (select count(*) from dacapo.step where run_id = run.id) <> 1";
    assert_eq!(database.count(not_twice).await, 0);
    worker.kill().await;
    sound(&database).await;
}
