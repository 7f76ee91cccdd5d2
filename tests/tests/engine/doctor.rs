//! What `dacapo doctor` finds: each kind of trouble is planted in a healthy database, and it says that and nothing else.

use std::collections::BTreeSet;

use dacapo_client::{LimitChange, QueueChange, StartOptions};
use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_tests::{Database, database_with};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::command::{run, text};
use crate::dev::reachable_directory;

/// One kind of trouble.
struct Trouble {
    code: &'static str,
    /// Statements that plant it.
    plant: &'static str,
    /// How many it is about, as the finding says.
    count: i64,
    /// What it says, in all that it says.
    says: &'static [&'static str],
}

const fn trouble(
    code: &'static str,
    count: i64,
    says: &'static [&'static str],
    plant: &'static str,
) -> Trouble {
    Trouble {
        code,
        plant,
        count,
        says,
    }
}

/// What the plants use: a run without a task, and a worker that lives.
const HELPERS: &str = "
    create function a_run(p_workflow text default 'test:probe/steps.nothing') returns uuid language sql as $$
        insert into dacapo.run (id, namespace, workflow, deployment_id, input)
        select gen_random_uuid(), 'default', p_workflow, id, 'null' from dacapo.deployment where package = 'test:probe'
        returning id
    $$;
    create function ready(p_run uuid) returns void language sql as 'insert into dacapo.task_ready (run_id) values (p_run)';
    create function waits(p_run uuid) returns uuid language sql as $$
        insert into dacapo.task_suspended (run_id, reason, events, inbox_seq) values (p_run, 'event', '{go}', 0) returning run_id
    $$;
    create function a_schedule(p_workflow text, p_next interval) returns void language sql as $$
        insert into dacapo.schedule (namespace, name, workflow, input, every_s, overlap, catch_up, next_tick, next_at)
        values ('default', 'nightly', p_workflow, 'null', 60, 'skip', 'none', now() + p_next, now() + p_next)
    $$;
    create function set_parent(p_child uuid, p_parent uuid) returns void language sql as
        'update dacapo.run set parent = p_parent where id = p_child';
    update dacapo.deployment set verified = true;
";

/// All that can be planted by statements alone, beside blocked runs.
const TROUBLES: &[Trouble] = &[
    trouble(
        "no-worker",
        2,
        &["2 runs are ready and no worker is alive", "`dacapo worker`"],
        "delete from dacapo.worker; select ready(a_run()), ready(a_run())",
    ),
    trouble(
        "queue-unserved",
        1,
        &["1 runs wait in queue slow (namespace default)", "`dacapo worker --queue slow`"],
        "update dacapo.worker set queues = '{default}';
        insert into dacapo.queue (namespace, name) values ('default', 'slow');
        insert into dacapo.task_ready (run_id, queue, queue_key) select a_run(), id, '' from dacapo.queue",
    ),
    trouble(
        "queue-unserved",
        1,
        &["1 runs wait in queue default, which", "`dacapo worker --queue default`"],
        "update dacapo.worker set queues = '{slow}'; select ready(a_run())",
    ),
    trouble(
        "queue-old",
        1,
        &["1 runs are ready since more than a minute", "--runs-max"],
        "insert into dacapo.task_ready (run_id, ready_at) values (a_run(), now() - interval '2 minutes')",
    ),
    trouble(
        "overdue",
        1,
        &["1 suspended runs should have been woken"],
        "insert into dacapo.task_suspended (run_id, reason, wake_at, inbox_seq) values (a_run(), 'time', now() - interval '1 minute', 0)",
    ),
    trouble(
        "deadline-passed",
        1,
        &["1 runs go on although their deadlines passed"],
        "insert into dacapo.deadline (run_id, at) select waits(a_run()), now() - interval '1 minute'",
    ),
    trouble(
        "retrying-long",
        1,
        &["1 runs try the same step again and again", "`dacapo skip RUN`"],
        "with run as (
            insert into dacapo.task_suspended (run_id, reason, wake_at, inbox_seq)
            values (a_run(), 'retry', now() + interval '1 hour', 0) returning run_id
        ), step as (
            insert into dacapo.step (run_id, key, position, kind, due, started_at)
            select run_id, 'charge#1', 1, 'step', now() + interval '1 hour', now() - interval '2 days' from run
        )
        insert into dacapo.attempt (run_id, key, number, started_at, finished_at, failure, worker)
        select run_id, 'charge#1', 1, now() - interval '2 days', now() - interval '2 days', '{}', 'host:1' from run",
    ),
    trouble(
        "standstill",
        1,
        &["all queues are paused since", "the bank is down", "`dacapo queue resume --all`"],
        "insert into dacapo.standstill (reason) values ('the bank is down')",
    ),
    trouble(
        "queue-paused",
        1,
        &["1 runs wait in queue slow (namespace default), which is paused", "`dacapo queue resume slow`"],
        "insert into dacapo.queue (namespace, name, paused) values ('default', 'slow', true);
        insert into dacapo.task_ready (run_id, ready_at, queue, queue_key) select a_run(), now() - interval '1 hour', id, '' from dacapo.queue",
    ),
    trouble(
        "workflow-paused",
        1,
        &["1 runs of workflow test:probe/steps.nothing", "`dacapo workflows resume test:probe/steps.nothing`"],
        "insert into dacapo.paused_workflow (namespace, workflow) values ('default', 'test:probe/steps.nothing');
        insert into dacapo.task_suspended (run_id, reason, inbox_seq) values (a_run(), 'workflow', 0)",
    ),
    trouble(
        "queue-line",
        2,
        &["2 runs wait for their turn in queue slow (namespace default), the first since"],
        "insert into dacapo.queue (namespace, name, concurrency) values ('default', 'slow', 1);
        insert into dacapo.task_suspended (run_id, reason, inbox_seq, queue, queue_key, queued_at, suspended_at)
        select a_run(), 'queue', 0, id, '', now(), now() - hours * interval '1 hour' from dacapo.queue, generate_series(0, 2, 2) as hours",
    ),
    trouble(
        "queue-stuck",
        1,
        &["1 runs wait for their turn in queue slow (namespace default), which has no limits any more"],
        "insert into dacapo.queue (namespace, name, updated_at) values ('default', 'slow', now() - interval '1 minute');
        insert into dacapo.task_suspended (run_id, reason, inbox_seq, queue, queue_key, queued_at, suspended_at)
        select a_run(), 'queue', 0, id, '', now(), now() - interval '1 minute' from dacapo.queue",
    ),
    trouble(
        "event-misfit",
        1,
        &["1 events that were sent", "there is no event go: expected paid"],
        "update dacapo.workflow set schema = jsonb_set(schema::jsonb, '{events}', '[{\"name\": \"paid\"}]')::text where function = 'step-wait-step';
        insert into dacapo.event (run_id, seq, name, payload)
        select waits(a_run(name)), 1, 'go', '1' from dacapo.workflow where function = 'step-wait-step'",
    ),
    trouble(
        "worker-gone",
        1,
        &["the lease of worker host:2", "1 runs are still leased to it"],
        "with worker as (
            insert into dacapo.worker (id, name, version, lease_until)
            select gen_random_uuid(), 'host:2', version, now() - interval '1 minute' from dacapo.worker returning id
        )
        insert into dacapo.task_leased (run_id, worker_id, started_at, inbox_seq, takeovers) select a_run(), id, now(), 0, 0 from worker",
    ),
    trouble(
        "worker-version",
        1,
        &["1 workers are of version 0.0.0-old", "host:1"],
        "update dacapo.worker set version = '0.0.0-old'",
    ),
    trouble(
        "orphan",
        1,
        &["1 runs are leased to workers that are not there"],
        "insert into dacapo.task_leased (run_id, worker_id, started_at, inbox_seq, takeovers)
        values (a_run(), gen_random_uuid(), now(), 0, 0)",
    ),
    trouble(
        "schedule-trouble",
        1,
        &["of schedule nightly (namespace default) cannot be started: bad-input: no"],
        "select a_schedule('test:probe/gone.gone', interval '5 seconds');
        update dacapo.schedule set trouble = '{\"code\": \"bad-input\", \"message\": \"no\"}', trouble_since = now()",
    ),
    trouble(
        "schedule-overdue",
        1,
        &["of schedule nightly (namespace default) should have been started"],
        "select a_schedule(name, interval '-1 minute') from dacapo.workflow where function = 'nothing'",
    ),
    trouble(
        "schedule-unknown-workflow",
        1,
        &["schedule nightly (namespace default) is to start test:probe/gone.gone, which no active deployment has"],
        "select a_schedule('test:probe/gone.gone', interval '1 hour')",
    ),
    trouble(
        "missing-component",
        1,
        &["deployment 1 of test:probe has no component", "deploy the file with digest"],
        "alter table dacapo.deployment drop constraint deployment_digest_fkey; delete from dacapo.component",
    ),
    trouble(
        "damaged-component",
        1,
        &["have another digest", "test:probe@1"],
        // Also if no worker has looked at the descriptor yet.
        "update dacapo.component set bytes = substr(bytes, 1, 1000); update dacapo.deployment set verified = false",
    ),
    trouble(
        "bad-descriptor",
        1,
        &["the descriptor of test:probe@1 is not that of its component", "`dacapo describe`"],
        "update dacapo.deployment set verified = false, descriptor = replace(descriptor, '\"u32\"', '\"u64\"')",
    ),
    trouble(
        "unreadable-deployment",
        1,
        &["test:probe@1 cannot be read by this version"],
        "update dacapo.deployment set manifest = '{\"fromTheFuture\": 1}'",
    ),
    trouble(
        "unknown-child",
        1,
        &["deployment 1 of test:probe calls 1 workflows that no active deployment has", "shop:stock/api.reserve"],
        "update dacapo.deployment set descriptor = jsonb_set(
            descriptor::jsonb, '{children}',
            '[{\"name\": \"shop:stock/api.reserve\", \"interface\": \"shop:stock/api\", \"function\": \"reserve\"}]'
        )::text",
    ),
    trouble(
        "stray-roll-out",
        1,
        &["test:probe (namespace default) has a roll-out"],
        "update dacapo.deployment set shared = true",
    ),
    trouble("lost", 1, &["1 runs are not done and have no task"], "select a_run()"),
    trouble(
        "stray-task",
        1,
        &["1 tasks are those of runs that are done or not there"],
        "select ready(gen_random_uuid())",
    ),
    trouble(
        "two-tasks",
        1,
        &["1 runs have more than one task"],
        "select ready(waits(a_run()))",
    ),
    trouble(
        "stray-queue",
        1,
        &["1 runs are in a queue that is not there"],
        "insert into dacapo.task_ready (run_id, queue, queue_key) values (a_run(), 99, '')",
    ),
    trouble(
        "stray-aside",
        1,
        &["1 runs were put aside"],
        "insert into dacapo.task_suspended (run_id, reason, inbox_seq) values (a_run(), 'workflow', 0)",
    ),
    trouble(
        "stray-singleton",
        1,
        &["1 keys of singletons belong to runs that are done"],
        "insert into dacapo.singleton (namespace, workflow, key, run_id, is_holder)
        values ('default', 'test:probe/steps.nothing', 'k', gen_random_uuid(), true)",
    ),
    trouble(
        "no-deployment",
        1,
        &["1 runs that are not done have a deployment that is not there"],
        "select waits(a_run()); update dacapo.run set deployment_id = 99",
    ),
    trouble(
        "stray-journal",
        1,
        &["1 journals are those of runs that are not there"],
        "insert into dacapo.step (run_id, key, position, kind, outcome, payload, started_at, finished_at)
        values (gen_random_uuid(), 'a#1', 1, 'step', 'ok', 'null', now(), now())",
    ),
    trouble(
        "twin-positions",
        1,
        &["1 journals of runs that are not done have two rows at one place"],
        "insert into dacapo.step (run_id, key, position, kind, outcome, payload, started_at, finished_at)
        select run.id, key, 1, 'step', 'ok', 'null', now(), now()
        from (select waits(a_run()) as id) as run, (values ('a#1'), ('b#1')) as keys (key)",
    ),
    trouble(
        "stray-event",
        1,
        &["1 events were taken by waits that have no outcome"],
        "insert into dacapo.event (run_id, seq, name, payload, taken_by) values (waits(a_run()), 1, 'go', '1', 'go#1')",
    ),
    trouble(
        "stray-child",
        1,
        &["1 runs know a parent that does not know them"],
        "with two as (select waits(a_run()) as parent, waits(a_run()) as child)
        select set_parent(child, parent) from two",
    ),
    trouble(
        "stray-child",
        1,
        &["1 runs are known as children of runs that are not there"],
        "insert into dacapo.child (parent, run_id, detached) values (gen_random_uuid(), waits(a_run()), false)",
    ),
    trouble(
        "setting",
        1,
        &["synchronous_commit is off", "set synchronous_commit to on"],
        "do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$",
    ),
    trouble(
        "autovacuum-off",
        1,
        &["track_counts is off"],
        "do $$ begin execute format('alter database %I set track_counts = off', current_database()); end $$",
    ),
    trouble(
        "autovacuum-off",
        1,
        &["autovacuum is off for 1 tables of dacapo", "task_ready"],
        "alter table dacapo.task_ready set (autovacuum_enabled = off)",
    ),
    trouble(
        "not-analysed",
        1,
        &["1 large tables of dacapo were never analysed", "log"],
        "insert into dacapo.log (run_id, id, at, level, source, message)
        select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), now(), 'info', 'log', repeat('x', 400) from generate_series(1, 30000)",
    ),
    trouble(
        "bloat",
        1,
        &["1 hot tables of dacapo are full of dead rows", "queue_rate", "`vacuum"],
        "insert into dacapo.queue_rate (queue, per_key, part, key, runs, last_at) select 1, false, part, '', 1, now() from generate_series(1, 120000) as part;
        delete from dacapo.queue_rate;
        select pg_stat_force_next_flush()",
    ),
    trouble(
        "schema",
        1,
        &["the schema is at version 9999, and this binary knows"],
        "insert into dacapo._sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, '', 0)",
    ),
    trouble(
        "schema",
        1,
        &["which is older than this binary", "`dacapo migrate`"],
        "delete from dacapo._sqlx_migrations where version > 20",
    ),
    trouble("schema", 1, &["the database is empty", "`dacapo migrate`"], "drop schema dacapo cascade"),
];

/// Reasons for which runs are blocked, and what is said about each.
const REASONS: &[(&str, &str)] = &[
    ("mismatch", "--upgrade proven"),
    ("rejected", "`dacapo skip RUN`"),
    ("input", "--upgrade proven"),
    ("journal-limit", "--steps-max"),
    ("unknown-workflow", "no `dacapo resume` is needed"),
    ("unknown-queue", "no `dacapo resume` is needed"),
    ("not-granted", "--upgrade proven"),
    ("sql-not-granted", "--upgrade proven"),
    ("sql-database", "`dacapo resume RUN`"),
    ("missing-secret", "no `dacapo resume` is needed"),
    ("missing-component", "no `dacapo resume` is needed"),
    ("bad-component", "no `dacapo resume` is needed"),
    ("newer-component", "no `dacapo resume` is needed"),
    ("bad-descriptor", "`dacapo rerun RUN`"),
    ("bad-manifest", "--upgrade proven"),
    ("missing-deployment", "--upgrade proven"),
    ("missing-workflow", "--upgrade proven"),
    ("unreadable-deployment", "`dacapo resume RUN`"),
    ("poison", "crashes of the host"),
    ("internal", "report it"),
    ("some-later-code", "`dacapo resume RUN`"),
];

/// A server of its own: what is planted in it would disturb the other tests.
struct Clinic {
    cluster: Cluster,
    next: u32,
    _directory: tempfile::TempDir,
}

impl Clinic {
    async fn open() -> Self {
        let directory = reachable_directory();
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let cluster = Cluster::start(ClusterOptions {
            data_dir: directory.path().join("data"),
            settings: vec![
                setting("max_connections", "40"),
                setting("max_prepared_transactions", "2"),
                // What is planted stays.
                setting("autovacuum_naptime", "1d"),
                setting("fsync", "on"),
            ],
            binaries: None,
        })
        .await
        .unwrap();
        let clinic = Self {
            cluster,
            next: 0,
            _directory: directory,
        };
        clinic.admin("create database healthy").await;
        let database = database_with(&clinic.cluster.url("healthy"));
        dacapo_store::migrate(&database.store).await.unwrap();
        database.deploy("probe").await;
        sqlx::raw_sql(HELPERS)
            .execute(database.store.pool())
            .await
            .unwrap();
        sqlx::query(
            "insert into dacapo.worker (id, name, version, lease_until) values (gen_random_uuid(), 'host:1', $1, now() + interval '1 hour')",
        )
        .bind(env!("CARGO_PKG_VERSION"))
        .execute(database.store.pool())
        .await
        .unwrap();
        // A database with connections cannot be a template.
        database.store.pool().close().await;
        clinic
    }

    async fn admin(&self, statement: &str) {
        let mut admin = PgConnection::connect(&self.cluster.url("postgres"))
            .await
            .unwrap();
        admin
            .execute(AssertSqlSafe(statement.to_owned()))
            .await
            .unwrap();
        admin.close().await.unwrap();
    }

    /// A database in which nothing is wrong.
    async fn healthy(&mut self) -> Database {
        self.next += 1;
        let name = format!("patient_{}", self.next);
        self.admin(&format!("create database {name} template healthy"))
            .await;
        database_with(&self.cluster.url(&name))
    }
}

/// By a connection of its own, which is closed then: what it did is counted in the server's statistics.
async fn plant(database: &Database, statements: &str) {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await
    {
        panic!("{error}, in:\n{statements}");
    }
    connection.close().await.unwrap();
}

/// What the doctor finds; its exit code says whether that is anything, and what it prints for people says the same.
async fn findings(database: &Database, arguments: &[&str]) -> Vec<Value> {
    let output = run(
        database,
        &[&["doctor", "--output", "json"], arguments].concat(),
    )
    .await;
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    assert_eq!(
        output.status.code(),
        Some(i32::from(!findings.is_empty())),
        "{findings:#?}"
    );
    findings
}

/// The doctor finds this and nothing else.
async fn finds(database: &Database, trouble: &Trouble, arguments: &[&str]) -> Value {
    let found = findings(database, arguments).await;
    let codes: BTreeSet<&str> = found
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert!(
        found.len() == 1 && codes.contains(trouble.code),
        "expected only {}, got {found:#?}",
        trouble.code
    );
    let finding = &found[0];
    assert_eq!(finding["count"], trouble.count, "{finding:#}");
    for field in ["what", "why", "advice"] {
        assert!(!finding[field].as_str().unwrap().is_empty(), "{finding:#}");
    }
    let which = finding["which"].as_array().unwrap();
    assert!(
        which.len() <= 3 && i64::try_from(which.len()).unwrap() <= trouble.count.max(1),
        "{finding:#}"
    );
    let said = text(
        &run(database, &[&["doctor"], arguments].concat())
            .await
            .stdout,
    );
    for says in trouble.says {
        assert!(said.contains(says), "expected {says:?} in:\n{said}");
    }
    finding.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_each_kind_of_trouble_that_is_planted_and_nothing_else() {
    let mut clinic = Clinic::open().await;
    let healthy = clinic.healthy().await;
    assert_eq!(findings(&healthy, &[]).await, Vec::<Value>::new());
    assert_eq!(
        text(&run(&healthy, &["doctor"]).await.stdout).trim(),
        "nothing is wrong"
    );
    // That no worker has looked at it yet is no trouble, when what is said of it is true.
    plant(&healthy, "update dacapo.deployment set verified = false").await;
    assert_eq!(findings(&healthy, &[]).await, Vec::<Value>::new());
    healthy.store.pool().close().await;

    for trouble in TROUBLES {
        let database = clinic.healthy().await;
        plant(&database, trouble.plant).await;
        if trouble.code == "bloat" {
            database
                .until(
                    "the dead rows are counted",
                    "select n_dead_tup > 100000 from pg_stat_all_tables where relname = 'queue_rate'",
                )
                .await;
        }
        finds(&database, trouble, &[]).await;
        database.store.pool().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_for_each_reason_of_blocked_runs_what_to_do() {
    let mut clinic = Clinic::open().await;
    for (code, says) in REASONS {
        let database = clinic.healthy().await;
        let statement = format!(
            "insert into dacapo.task_suspended (run_id, reason, blocked, inbox_seq)
            select a_run(), 'blocked', '{{\"code\": \"{code}\", \"message\": \"because of that\"}}', 0 from generate_series(1, 5)"
        );
        plant(&database, &statement).await;
        let code: &'static str = format!("blocked-{code}").leak();
        let says = ["5 runs are blocked", "because of that", says, "and 2 more"];
        let expected = trouble(code, 5, Vec::from(says).leak(), "");
        let finding = finds(&database, &expected, &[]).await;
        let listed = run(
            &database,
            &["runs", "list", "--status", "blocked", "--output", "json"],
        )
        .await;
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let ids: BTreeSet<&str> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), 5);
        for which in finding["which"].as_array().unwrap() {
            assert!(ids.contains(which.as_str().unwrap()), "{finding:#}");
        }
        database.store.pool().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_holds_vacuum_up_and_what_the_server_runs_out_of() {
    let mut clinic = Clinic::open().await;
    let at_once = ["--long-transaction", "0s"];

    let database = clinic.healthy().await;
    let mut holder = PgConnection::connect(&database.url).await.unwrap();
    holder
        .execute("begin; select count(*) from dacapo.run")
        .await
        .unwrap();
    // After ten minutes, unless something else is said.
    assert_eq!(findings(&database, &[]).await, Vec::<Value>::new());
    let open = trouble("long-transaction", 1, &["pg_terminate_backend"], "");
    finds(&database, &open, &at_once).await;
    holder.execute("rollback").await.unwrap();
    holder
        .execute("begin; create table lost (id integer); prepare transaction 'lost'")
        .await
        .unwrap();
    let prepared = trouble(
        "prepared-transaction",
        1,
        &["which: lost", "`rollback prepared`"],
        "",
    );
    finds(&database, &prepared, &at_once).await;
    holder.execute("rollback prepared 'lost'").await.unwrap();
    assert_eq!(findings(&database, &at_once).await, Vec::<Value>::new());

    let mut connections = Vec::new();
    while connections.len() < 34 {
        connections.push(PgConnection::connect(&database.url).await.unwrap());
    }
    let output = text(&run(&database, &["doctor"]).await.stdout);
    assert!(
        output.starts_with("connections: ") && output.contains("of 37 connections are used"),
        "{output}"
    );
    for connection in connections {
        connection.close().await.unwrap();
    }

    plant(
        &database,
        "set allow_system_table_mods = on;
        update pg_database set datfrozenxid = ((txid_current() - 1500000000 + 4294967296) % 4294967296)::text::xid
        where datname = current_database()",
    )
    .await;
    let old = trouble("wraparound", 1, &["`vacuum freeze`"], "");
    finds(&database, &old, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_wrong_while_a_worker_is_busy() {
    let database = dacapo_tests::database().await;
    database.deploy("probe").await;
    let client = &database.client;
    let limited = QueueChange {
        concurrency: LimitChange::Set(2),
        ..QueueChange::default()
    };
    client.set_queue("slow", limited).await.unwrap();
    let worker = dacapo_tests::Dacapo::on(&database).worker().await;
    let mut runs = Vec::new();
    for round in 0..5 {
        for _ in 0..20 {
            runs.push(database.start("nothing", "null").await);
            let waiting = database.start("step-wait-step", "null").await;
            client.send_event(waiting, "go", "1", None).await.unwrap();
            runs.push(waiting);
            let queued = StartOptions::default().queue("slow");
            runs.push(
                client
                    .start_by_name("nothing", "null", queued)
                    .await
                    .unwrap()
                    .id,
            );
        }
        // One that waits, and is not late.
        database.start("step-wait-step", "null").await;
        assert_eq!(
            findings(&database, &[]).await,
            Vec::<Value>::new(),
            "round {round}"
        );
    }
    for run in runs {
        database.done(run).await;
    }
    assert_eq!(findings(&database, &[]).await, Vec::<Value>::new());
    worker.kill().await;
}
