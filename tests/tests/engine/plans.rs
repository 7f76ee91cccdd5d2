//! Statements that claim, wake and list use their indexes, also on tables that were analysed when they were empty.

use dacapo_tests::{Database, database};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor};

/// The plan of a file of SQL on a connection of a worker: its settings are part of what is tested. The parameters are given as
/// `execute` takes them.
async fn plan(database: &Database, file: &str, parameters: &str) -> String {
    let options = database.store.options().clone();
    explain(options, "costs on", file, parameters).await
}

async fn explain(options: PgConnectOptions, how: &str, file: &str, parameters: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../store/sql")
        .join(file);
    let sql = std::fs::read_to_string(path).unwrap();
    let options = options.options([("plan_cache_mode", "force_generic_plan")]);
    let mut connection = sqlx::PgConnection::connect_with(&options).await.unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!("prepare statement as {sql}")))
        .await
        .unwrap();
    let lines: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "explain ({how}) execute statement ({parameters})"
    )))
    .fetch_all(&mut connection)
    .await
    .unwrap();
    lines.join("\n")
}

/// How many blocks a statement has looked at, by its plan.
fn blocks(plan: &str) -> u64 {
    let (_, line) = plan.split_once("Buffers: ").unwrap();
    let line = line.lines().next().unwrap();
    let count = |word: &str| -> u64 {
        let after = line.split_once(word).map_or("0", |(_, after)| after);
        let digits: String = after
            .chars()
            .take_while(|character| character.is_ascii_digit())
            .collect();
        digits.parse().unwrap()
    };
    let looked_at = count("hit=") + count(" read=");
    assert!(looked_at > 0, "{plan}");
    looked_at
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_reads_the_queue_in_order_and_all_else_by_key() {
    let database = database().await;
    let nobody = "'00000000-0000-0000-0000-000000000000'";
    for (file, parameters, line) in [
        ("task_ready/claim.sql", "'-infinity'", "task_ready_in_order"),
        (
            "task_ready/claim_sources.sql",
            "'{null, 1}', '{-infinity, -infinity}'",
            "task_ready_by_queue",
        ),
    ] {
        let plan = plan(&database, file, &format!("{nobody}, 0, 10, {parameters}")).await;
        for index in [
            line,
            "task_ready_in_order",
            "run_pkey",
            "step_pkey",
            "event_pkey",
            "fence_pkey",
        ] {
            assert!(plan.contains(index), "{index} is not used:\n{plan}");
        }
        // Neither is there more than a row of it, nor is it read when there is none.
        let plan = plan.replace("Seq Scan on paused_workflow", "");
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_found_by_their_time() {
    let database = database().await;
    let plan = plan(&database, "task_suspended/wake_due.sql", "10, null, 3000").await;
    assert!(plan.contains("task_suspended_by_time"), "{plan}");
    assert!(!plan.contains("Seq Scan on task_suspended"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_finds_every_row_by_its_key() {
    let database = database().await;
    let nobody = "'00000000-0000-0000-0000-000000000000'";
    let arrays = vec!["'{}'"; 45].join(", ");
    let plan = plan(
        &database,
        "journal/flush.sql",
        &format!("{nobody}, 1::smallint, {arrays}"),
    )
    .await;
    for index in [
        "fence_pkey",
        "step_pkey",
        "event_pkey",
        "task_leased_pkey",
        "run_pkey",
    ] {
        assert!(plan.contains(index), "{index} is not used:\n{plan}");
    }
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pages_ask_again_and_again_goes_by_indexes() {
    let database = database().await;
    let nobody = "'00000000-0000-0000-0000-000000000000'";
    for (file, parameters, indexes) in [
        (
            "run/steps_since.sql",
            format!("{nobody}, 5000, '{{}}', '{{}}'"),
            ["step_pkey", "attempt_pkey"],
        ),
        (
            "deployment/moved.sql",
            "1, '{a:b/c.d}', 2000".to_owned(),
            ["run_by_code", "intervention_pkey"],
        ),
    ] {
        let plan = plan(&database, file, &parameters).await;
        for index in indexes {
            assert!(plan.contains(index), "{index} is not used:\n{plan}");
        }
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_started_by_the_keys_of_their_parents() {
    let database = database().await;
    let arrays = ["'{}'"; 12].join(", ");
    let plan = plan(&database, "child/start.sql", &arrays).await;
    assert!(plan.contains("run_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan on run "), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_finds_runs_in_order_and_their_rows_by_key() {
    let database = database().await;
    let plan = plan(
        &database,
        "run/sweep.sql",
        "'default', null, null, 1000, 5000",
    )
    .await;
    for index in [
        "run_by_creation",
        "run_pkey",
        "step_pkey",
        "event_pkey",
        "log_pkey",
        "intervention_pkey",
        "workflow_retention_pkey",
        "workflow_retention_by_length",
    ] {
        assert!(plan.contains(index), "{index} is not used:\n{plan}");
    }
    for table in [
        "run",
        "step",
        "event",
        "log",
        "intervention",
        "unsuccessful",
    ] {
        assert!(!plan.contains(&format!("Seq Scan on {table} ")), "{plan}");
    }
    // Deletes do not walk over all rows of a table to compare them with those of the batch.
    assert!(!plan.contains("Join Filter: (step"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_found_by_their_time() {
    let database = database().await;
    let plan = plan(&database, "schedule/lock_due.sql", "10, null, null").await;
    assert!(plan.contains("schedule_by_time"), "{plan}");
    assert!(!plan.contains("Seq Scan on schedule"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_listed_with_what_says_what_is_secret_in_them_by_keys() {
    let database = database().await;
    let plan = plan(&database, "schedule/list.sql", "'default', null").await;
    assert!(plan.contains("schedule_pkey"), "{plan}");
    for table in ["schedule", "workflow", "deployment", "run"] {
        let all = format!("Seq Scan on {table} ");
        assert!(!plan.contains(&all), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_of_new_rows_alone_reads_nothing_but_its_fence() {
    let database = database().await;
    let nobody = "'00000000-0000-0000-0000-000000000000'";
    let arrays = ["'{}'"; 9].join(", ");
    let plan = plan(
        &database,
        "journal/record.sql",
        &format!("{nobody}, 1::smallint, {arrays}"),
    )
    .await;
    assert!(plan.contains("fence_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_of_runs_that_have_ended_finds_them_by_key() {
    let database = database().await;
    let nobody = "'00000000-0000-0000-0000-000000000000'";
    let arrays = ["'{}'"; 14].join(", ");
    let plan = plan(
        &database,
        "journal/complete.sql",
        &format!("{nobody}, 1::smallint, {arrays}"),
    )
    .await;
    for index in ["fence_pkey", "task_leased_pkey", "run_pkey"] {
        assert!(plan.contains(index), "{index} is not used:\n{plan}");
    }
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_runs_finds_them_and_their_tasks_by_key() {
    let database = database().await;
    let plan = plan(&database, "run/get.sql", "'{}', true").await;
    for index in [
        "run_pkey",
        "task_leased_pkey",
        "task_suspended_pkey",
        "task_ready_pkey",
    ] {
        assert!(plan.contains(index), "{index} is not used:\n{plan}");
    }
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_a_callers_transaction_looks_at_no_other_run() {
    let database = database().await;
    database.deploy("probe").await;
    // Few runs, and the planner knows it: on a connection that was not set up by us it takes a scan for the best way to find one.
    for _ in 0..30 {
        database.start("nothing", "null").await;
    }
    sqlx::query("analyze dacapo.run")
        .execute(database.store.pool())
        .await
        .unwrap();
    let (workflow, deployment): (String, i64) =
        sqlx::query_as("select workflow, deployment_id from dacapo.run limit 1")
            .fetch_one(database.store.pool())
            .await
            .unwrap();
    let parameters = format!(
        "array[gen_random_uuid()], '{{{workflow}}}', '{{\"null\"}}', '{{{deployment}}}', array['{{}}'], '{{null}}'"
    );
    let placed = format!("{parameters}, '{{null}}', '{{1}}', '{{null}}', '{{null}}', '{{null}}'");
    for (file, parameters) in [
        ("run/start.sql", parameters),
        ("run/start_placed.sql", placed),
    ] {
        let plan = explain(
            database.url.parse().unwrap(),
            "analyze, costs off, timing off",
            file,
            &parameters,
        )
        .await;
        let looks: Vec<&str> = plan
            .lines()
            .filter(|line| line.contains("Scan") && line.contains(" on run"))
            .collect();
        assert!(
            !looks.is_empty() && looks.iter().all(|line| line.contains("(never executed)")),
            "{plan}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_copies_a_journal_by_its_keys() {
    let database = database().await;
    let plan = plan(
        &database,
        "run/rerun.sql",
        "'{}', '{}', '{}', 'a#1', false, 'ann'",
    )
    .await;
    for index in ["run_pkey", "step_pkey", "attempt_pkey", "event_pkey"] {
        assert!(plan.contains(index), "{index} is not used:\n{plan}");
    }
    for table in ["run", "step", "attempt", "event"] {
        assert!(!plan.contains(&format!("Seq Scan on {table} ")), "{plan}");
    }
    // Neither all keys of all runs nor all runs are looked through for one.
    for whole in ["Bitmap", "run_by_code"] {
        assert!(!plan.contains(whole), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_log_are_read_by_their_ids() {
    let database = database().await;
    let nobody = "'00000000-0000-0000-0000-000000000000'";
    let plan = plan(
        &database,
        "log/list.sql",
        &format!("{nobody}, '{{info}}', null, 10"),
    )
    .await;
    assert!(plan.contains("log_pkey"), "{plan}");
    assert!(!plan.contains("Sort"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letting_runs_in_looks_at_no_more_of_the_line_than_it_takes() {
    let database = database().await;
    let options = database.store.options().clone();
    let options = options.options([("plan_cache_mode", "force_generic_plan")]);
    let mut connection = sqlx::PgConnection::connect_with(&options).await.unwrap();
    // Plans are made, and kept, while the tables are empty.
    let fill = "insert into dacapo.queue (namespace, name, concurrency) values ('default', 'q', 64);
        analyze dacapo.task_suspended;
        insert into dacapo.task_suspended (run_id, reason, inbox_seq, queue, queue_key, queued_at)
        values (gen_random_uuid(), 'queue', 0, 1, 'a', now());
        select dacapo.admit(1, 64);
        insert into dacapo.task_suspended (run_id, reason, inbox_seq, queue, queue_key, queued_at)
        select gen_random_uuid(), 'queue', 0, 1, 'key-' || number % 3, clock_timestamp() from generate_series(1, 20000) as number;";
    connection.execute(fill).await.unwrap();
    let lines: Vec<String> = sqlx::query_scalar(
        "explain (analyze, buffers, costs off, timing off) select * from dacapo.admit(1, 64)",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let plan = lines.join("\n");
    let looked_at = blocks(&plan);
    assert!(looked_at < 5_000, "{plan}");
    assert_eq!(
        database
            .count("select count(*) from dacapo.task_ready")
            .await,
        64
    );
}

const WORKER: &str = "'00000000-0000-0000-0000-000000000001'";

/// A worker, and tables whose rows have come and gone while somebody held a snapshot that still sees them, as a vacuum leaves them then. The
/// snapshot is held as long as the connection.
async fn rows_that_are_gone(database: &Database) -> sqlx::PgConnection {
    let mut holder = sqlx::PgConnection::connect(&database.url).await.unwrap();
    holder
        .execute("begin isolation level repeatable read; select 1")
        .await
        .unwrap();
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let worker = format!(
        "insert into dacapo.worker (id, name, version, lease_until) values ({WORKER}, 'w', '1', now() + interval '1 day')"
    );
    let fence = format!("insert into dacapo.fence (worker_id, connection) values ({WORKER}, 0)");
    let churn = format!(
        "do $$
        begin
            for i in 1..20 loop
                insert into dacapo.task_ready (run_id) select gen_random_uuid() from generate_series(1, 1000);
                with gone as (delete from dacapo.task_ready returning run_id)
                insert into dacapo.task_leased (run_id, worker_id, started_at, inbox_seq, takeovers)
                select run_id, {WORKER}, clock_timestamp(), 0, 0 from gone;
                with gone as (delete from dacapo.task_leased returning run_id)
                insert into dacapo.task_suspended (run_id, reason, wake_at, inbox_seq)
                select run_id, 'time', clock_timestamp() + i % 2 * interval '1 hour', 0 from gone;
                with gone as (delete from dacapo.task_suspended returning run_id, wake_at)
                insert into dacapo.deadline (run_id, at) select run_id, wake_at from gone;
                with gone as (delete from dacapo.deadline returning run_id)
                insert into dacapo.child_end (parent, run_id) select run_id, run_id from gone;
                with gone as (delete from dacapo.child_end returning run_id)
                insert into dacapo.child_cancel (parent) select run_id from gone;
                delete from dacapo.child_cancel;
                commit;
            end loop;
        end $$"
    );
    for statement in [worker, fence, churn] {
        let statement = sqlx::AssertSqlSafe(statement);
        connection.execute(statement).await.unwrap();
    }
    for table in [
        "task_ready",
        "task_leased",
        "task_suspended",
        "deadline",
        "child_end",
        "child_cancel",
    ] {
        let vacuum = sqlx::AssertSqlSafe(format!("vacuum analyze dacapo.{table}"));
        connection.execute(vacuum).await.unwrap();
    }
    holder
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_gone_but_visible_to_an_old_snapshot_are_not_walked_over() {
    let database = database().await;
    let _holder = rows_that_are_gone(&database).await;
    let ids: Vec<String> = (1..=10)
        .map(|number| uuid::Uuid::from_u128(number).to_string())
        .collect();
    let ids = format!("'{{{}}}'::uuid[]", ids.join(","));
    let texts = |text: &str| format!("array_fill({text}, array[10])");
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "insert into dacapo.task_leased (run_id, worker_id, started_at, inbox_seq, takeovers)
        select unnest({ids}), {WORKER}, now(), 0, 0"
    )))
    .execute(database.store.pool())
    .await
    .unwrap();
    let nothing = |count: usize| vec!["'{}'"; count].join(", ");
    let finished = format!(
        "{ids}, {}, {}, {}",
        texts("'completed'::text"),
        texts("'1'::text"),
        texts("null::text")
    );
    let given_up = format!(
        "{ids}, {}, {}, {}, {}, {}, {}, {}",
        texts("'time'::text"),
        texts("null::text"),
        texts("now()"),
        texts("false"),
        texts("null::text"),
        texts("0"),
        texts("null::text")
    );
    for (file, parameters, most) in [
        ("task_ready/claim.sql", "0, 64, now()".to_owned(), 40),
        (
            "task_ready/claim_sources.sql",
            "0, 64, array[null, 1], array[now(), now()]".to_owned(),
            40,
        ),
        // From its beginning, the index in its order and the table with it.
        ("task_ready/claim.sql", "0, 64, '-infinity'".to_owned(), 600),
        (
            "worker/heartbeat.sql",
            "5000, array[null, 1], array[now(), now()], now(), 3000".to_owned(),
            400,
        ),
        (
            "journal/flush.sql",
            format!("0, {}, {given_up}, {}", nothing(30), nothing(7)),
            400,
        ),
        (
            "journal/flush.sql",
            format!("0, {}, {finished}, {}", nothing(26), nothing(15)),
            400,
        ),
        (
            "journal/complete.sql",
            format!("0, {}, {finished}, {}", nothing(9), nothing(1)),
            300,
        ),
    ] {
        let plan = explain(
            database.store.options().clone(),
            "analyze, buffers, costs off, timing off",
            file,
            &format!("{WORKER}, {parameters}"),
        )
        .await;
        let looked_at = blocks(&plan);
        println!("{file}: {looked_at} blocks");
        assert!(looked_at <= most, "{file}: {looked_at} blocks\n{plan}");
    }
    for (file, parameters) in [
        ("task_suspended/wake_due.sql", "10, now(), 3000"),
        ("deadline/expire.sql", "10, '{}', 1000, now(), 3000"),
    ] {
        let plan = explain(
            database.store.options().clone(),
            "analyze, buffers, costs off, timing off",
            file,
            parameters,
        )
        .await;
        let looked_at = blocks(&plan);
        println!("{file}: {looked_at} blocks");
        assert!(looked_at <= 60, "{file}: {looked_at} blocks\n{plan}");
    }
    // All that is gone once, in the order of the indexes.
    let plan = explain(
        database.store.options().clone(),
        "analyze, buffers, costs off, timing off",
        "worker/look_back.sql",
        &format!("array[null, 1], array[now(), now()], true, {WORKER}, 3000"),
    )
    .await;
    println!("worker/look_back.sql: {} blocks", blocks(&plan));
    assert!(blocks(&plan) <= 2_500, "{plan}");
    // Page after page, and not by a key that is in no order.
    for function in ["parents_to_tell", "parents_to_leave"] {
        let mut connection = sqlx::PgConnection::connect_with(database.store.options())
            .await
            .unwrap();
        let lines: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "explain (analyze, buffers, costs off, timing off) select dacapo.{function}(100)"
        )))
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let plan = lines.join("\n");
        assert!(blocks(&plan) <= 600, "{function}\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_and_deadlines_that_are_not_due_are_not_read() {
    let database = database().await;
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let fill = "insert into dacapo.task_suspended (run_id, reason, wake_at, inbox_seq)
        select gen_random_uuid(), 'time', now() + interval '1 hour', 0 from generate_series(1, 20000);
        insert into dacapo.deadline (run_id, at) select gen_random_uuid(), now() + interval '1 hour' from generate_series(1, 20000);
        analyze dacapo.task_suspended; analyze dacapo.deadline;";
    connection.execute(fill).await.unwrap();
    for (file, parameters) in [
        ("task_suspended/wake_due.sql", "10, null, 3000"),
        ("deadline/expire.sql", "10, '{}', 1000, null, 3000"),
    ] {
        let plan = explain(
            database.store.options().clone(),
            "analyze, buffers, costs off, timing off",
            file,
            parameters,
        )
        .await;
        let looked_at = blocks(&plan);
        assert!(looked_at <= 60, "{file}: {looked_at} blocks\n{plan}");
    }
}
