//! Transactional SQL steps: a statement and its step's outcome are both there or neither, whatever dies in between.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dacapo_model::{
    Failure, Manifest, Payload, RunId, SqlGrant, SqlValue, Status, StepKey, WorkerId,
};
use dacapo_store::{
    BegunSqlStep, Claim, FinishedSqlStep, SqlCaps, SqlRole, SqlRoleError, SqlToken, SqlTransaction,
    TakenBackSqlStep,
};
use dacapo_tests::{Dacapo, Database, database, guest, guest_path};
use dacapo_worker::{Failpoint, SqlUrl, Worker, WorkerConfig};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::check::{journal, sound};

/// What a worker allows.
const CAPS: SqlCaps = SqlCaps {
    rows_max: 1_000,
    bytes_max: 1 << 20,
    idle_max: Duration::from_secs(60),
};

/// The accounts hold this much in the beginning.
const CENTS: i64 = 1_000;

async fn sql(database: &Database, statements: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()))
        .execute(database.store.pool())
        .await
        .unwrap();
}

/// The name of the database, which is that of no other one in the cluster.
fn name(database: &Database) -> String {
    let path = database.url.split('?').next().unwrap();
    path.rsplit('/').next().unwrap().to_owned()
}

/// The role that steps log in as.
fn role(database: &Database) -> String {
    format!("steps_{}", name(database))
}

/// How a role logs in.
fn url_of(database: &Database, role: &str) -> String {
    database.url.replacen("postgres@", &format!("{role}@"), 1)
}

/// A database with two accounts, and a role that may move money between them and nothing else.
async fn bank() -> Database {
    let database = database().await;
    let role = role(&database);
    sql(
        &database,
        &format!(
            "create role {role} login;
            create table account (id integer primary key, cents bigint not null check (cents >= 0));
            create table entry (account integer not null, cents bigint not null);
            insert into account values (1, {CENTS}), (2, {CENTS});
            grant select, update on account to {role};
            grant select, insert on entry to {role};
            select dacapo.allow_sql_steps('{role}')"
        ),
    )
    .await;
    database
}

async fn deploy(database: &Database, grant: Option<SqlGrant>) {
    let described = dacapo_sandbox::describe(&guest("bank")).unwrap();
    let manifest = Manifest {
        sql: grant,
        ..Manifest::default()
    };
    let deployed = database.client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        &manifest,
    );
    deployed.await.unwrap();
}

async fn granted() -> Database {
    let database = bank().await;
    deploy(&database, Some(SqlGrant::new("bank"))).await;
    database
}

/// A worker in this process that knows the bank by this URL.
async fn worker_with(database: &Database, url: &str) -> Worker {
    let config = config(url);
    Worker::start(database.store.clone(), config).await.unwrap()
}

fn config(url: &str) -> WorkerConfig {
    WorkerConfig {
        sql: [("bank".to_owned(), SqlUrl(url.to_owned()))].into(),
        ..WorkerConfig::default()
    }
}

async fn worker(database: &Database) -> Worker {
    worker_with(database, &url_of(database, &role(database))).await
}

/// A worker process with a short lease.
fn process(database: &Database) -> Dacapo {
    Dacapo::on(database)
        .arg("--lease=1500ms")
        .arg("--heartbeat=300ms")
        .arg(&format!("--sql=bank={}", url_of(database, &role(database))))
}

async fn balances(database: &Database) -> (i64, i64) {
    sqlx::query_as(
        "select (select cents from account where id = 1), (select cents from account where id = 2)",
    )
    .fetch_one(database.store.pool())
    .await
    .unwrap()
}

async fn completed(database: &Database, run: RunId) -> String {
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{done:#?}");
    done.output.unwrap().as_str().to_owned()
}

async fn failed(database: &Database, run: RunId) -> Failure {
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Failed, "{done:#?}");
    let step = &done.steps[0];
    step.failed_attempts.last().unwrap().failure.clone()
}

async fn blocked(database: &Database, run: RunId) -> String {
    database
        .until(
            "a run is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let run = database.client.get(run).await.unwrap();
    run.blocked.unwrap().as_str().to_owned()
}

const TRANSFER: &str = r#"{"from": 1, "to": 2, "cents": 7}"#;

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

/// A transaction of the bank's role in which a cent was taken.
async fn taken(database: &Database) -> SqlTransaction {
    let role = SqlRole::new(&url_of(database, &role(database))).unwrap();
    let connection = role.connect(&database.store).await.unwrap();
    let mut transaction = connection
        .begin(&SqlGrant::new("bank"), &CAPS)
        .await
        .unwrap();
    let statement = "update account set cents = cents - $1 where id = 1";
    let params = vec![SqlValue::Integer(1)];
    assert_eq!(transaction.execute(statement, params).await, Ok(1));
    transaction
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_taken_only_with_the_token_in_its_transaction_and_while_the_fence_is_open() {
    let database = granted().await;
    let run = database.start("fails-for-good", "null").await;
    let mut connection = database.store.connect().await.unwrap();
    let worker = WorkerId(uuid::Uuid::now_v7());
    let lease = Duration::from_secs(60);
    dacapo_store::register(&mut connection, worker, "test", "0", lease, 1, None)
        .await
        .unwrap();
    let claim = Claim {
        max: 10,
        sources: vec![(None, None)],
        has_paused_workflows: false,
    };
    let claimed = dacapo_store::claim(&mut connection, worker, 0, &claim).await;
    let at = claimed.unwrap().leased[0].claimed_at;
    let key = StepKey::new("", "debit", 1);
    let begin = async |transaction: &SqlTransaction| {
        let (token, of) = (SqlToken::new(), transaction.id());
        let store = &database.store;
        let begun =
            dacapo_store::begin_sql_step(store, worker, 0, run, &key, 1, at, &token, &of).await;
        (token, begun.unwrap())
    };
    let one = Payload::from_trusted("1".to_owned());

    // Replaced by a later attempt; in another session; with another token.
    let first = taken(&database).await;
    let (first_token, begun) = begin(&first).await;
    assert_eq!(begun, BegunSqlStep::Begun(None));
    first.roll_back().await.unwrap();
    let mut second = taken(&database).await;
    let (token, begun) = begin(&second).await;
    assert!(matches!(begun, BegunSqlStep::Begun(Some(_))), "{begun:?}");
    let finished = second.finish(run, &key, &first_token, &one, at).await;
    assert_eq!(finished.unwrap(), FinishedSqlStep::Gone);
    let finished = second.finish(run, &key, &SqlToken::new(), &one, at).await;
    assert_eq!(finished.unwrap(), FinishedSqlStep::Gone);
    let role = SqlRole::new(&url_of(&database, &role(&database))).unwrap();
    let other = role.connect(&database.store).await.unwrap();
    let mut other = other.begin(&SqlGrant::new("bank"), &CAPS).await.unwrap();
    let finished = other.finish(run, &key, &token, &one, at).await;
    assert_eq!(finished.unwrap(), FinishedSqlStep::OtherTransaction);
    // In another transaction of the same session.
    let again = second.roll_back().await.unwrap();
    let mut again = again.begin(&SqlGrant::new("bank"), &CAPS).await.unwrap();
    let finished = again.finish(run, &key, &token, &one, at).await;
    assert_eq!(finished.unwrap(), FinishedSqlStep::OtherTransaction);
    assert_eq!(balances(&database).await, (CENTS, CENTS));

    // Under a closed fence.
    let mut third = taken(&database).await;
    let (token, _) = begin(&third).await;
    dacapo_store::close_own_fences(&mut connection, worker, 9)
        .await
        .unwrap();
    let finished = third.finish(run, &key, &token, &one, at).await;
    assert_eq!(finished.unwrap(), FinishedSqlStep::Fenced);
    third.commit().await.unwrap();
    assert!(journal(&database, run).await.is_empty());
    let fourth = taken(&database).await;
    assert_eq!(begin(&fourth).await.1, BegunSqlStep::Fenced);
    fourth.roll_back().await.unwrap();
    sql(&database, "update dacapo.fence set open = true").await;

    // Whoever takes the token back waits for a commit that is under way, and learns of it.
    let mut fifth = taken(&database).await;
    let (token, _) = begin(&fifth).await;
    let finished = fifth.finish(run, &key, &token, &one, at).await;
    assert_eq!(finished.unwrap(), FinishedSqlStep::Done);
    let waiting = tokio::spawn({
        let (store, key, token) = (database.store.clone(), key.clone(), token.clone());
        async move { dacapo_store::take_back_sql_step(&store, run, &key, &token).await }
    });
    database
        .until(
            "somebody waits for the commit",
            "select count(*) > 0 from pg_locks join pg_stat_activity using (pid)
            where not granted and query like '%take_back_sql_step%' and datname = current_database()",
        )
        .await;
    fifth.commit().await.unwrap();
    let taken_back = waiting.await.unwrap().unwrap();
    assert_eq!(taken_back, TakenBackSqlStep::Committed);
    assert_eq!(journal(&database, run).await, ["debit#1 step ok 1"]);
    // What was taken back before cannot be finished after; and a step with an outcome is not begun again.
    let sixth = taken(&database).await;
    assert_eq!(begin(&sixth).await.1, BegunSqlStep::Recorded);
    sixth.roll_back().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_leaves_nothing_behind() {
    let database = granted().await;
    let worker = worker(&database).await;
    let run = database.start("fails-for-good", "null").await;
    assert_eq!(completed(&database, run).await, r#""changed-my-mind""#);
    assert_eq!(balances(&database).await, (CENTS, CENTS + 1));
    // It fails twice, and keeps its place in the journal.
    let run = database.start("third-time", "null").await;
    assert_eq!(completed(&database, run).await, "3");
    assert_eq!(balances(&database).await, (CENTS - 1, CENTS + 1));
    // It is ended in the middle of a statement.
    let run = database.start("late", "null").await;
    assert_eq!(completed(&database, run).await, r#""done""#);
    assert_eq!(balances(&database).await, (CENTS - 2, CENTS + 1));
    let done = database.client.get(run).await.unwrap();
    assert_eq!(done.steps[0].failed_attempts[0].failure.code, "timeout");
    // The database refuses it: nobody can have less than nothing.
    let run = database
        .start("move-money", r#"{"from": 1, "to": 2, "cents": 5000}"#)
        .await;
    let failure = failed(&database, run).await;
    assert_eq!((failure.code.as_str(), failure.retryable), ("sql", false));
    let details = failure.details.unwrap();
    assert!(
        details.as_str().contains(r#""sqlState":"23514""#)
            && details.as_str().contains("account_cents_check"),
        "{details}"
    );
    assert_eq!(balances(&database).await, (CENTS - 2, CENTS + 1));
    worker.drain().await.unwrap();
    let left_over = database.count("select count(*) from dacapo.sql_step").await;
    assert_eq!(left_over, 0);
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_would_end_the_transaction_are_refused_and_it_goes_on() {
    let database = granted().await;
    let worker = worker(&database).await;
    let statements = [
        "commit",
        "rollback",
        "/* a */ commit",
        "begin",
        "savepoint a",
        "set role postgres",
        "reset role",
        "set session authorization default",
        "set statement_timeout = 0",
        "listen a",
        "notify a",
        "copy account to stdout",
        "prepare transaction 'a'",
        "discard all",
        "do $$ begin commit; end $$",
        "",
    ];
    let input = serde_json::to_string(&statements).unwrap();
    let run = database.start("hostile", &input).await;
    let codes: Vec<String> = serde_json::from_str(&completed(&database, run).await).unwrap();
    assert_eq!(codes, vec!["sql-statement"; statements.len()]);
    assert_eq!(balances(&database).await, (CENTS - 1, CENTS));
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_try_to_get_around_the_transaction_end_the_attempt_and_nothing_is_kept() {
    let database = granted().await;
    let role = role(&database);
    let other = format!("other_{}", name(&database));
    sql(
        &database,
        &format!(
            "create role {other}; grant {other} to {role}; grant select, update on account to {other};
            create procedure ends() language plpgsql as $$ begin commit; end $$;
            create function ends_too() returns integer language plpgsql as $$ begin commit; return 1; end $$"
        ),
    )
    .await;
    let worker = worker(&database).await;
    for (statement, says) in [
        ("select 1; commit", "multiple commands"),
        ("select 1; commit; begin", "multiple commands"),
        ("call ends()", "invalid transaction termination"),
        ("select ends_too()", "invalid transaction termination"),
        ("select * from dacapo.run", "permission denied"),
        ("select * from dacapo.sql_step", "permission denied"),
        ("delete from dacapo.step", "permission denied"),
        (
            "select set_config('session_authorization', 'postgres', false)",
            "permission denied",
        ),
        (
            "select set_config('role', 'postgres', false)",
            "permission denied",
        ),
        (
            "select pg_terminate_backend(pg_backend_pid())",
            "terminating connection",
        ),
        (
            &format!("select set_config('role', '{other}', false)"),
            "permission denied",
        ),
    ] {
        let input = serde_json::to_string(&[statement]).unwrap();
        let run = database.start("hostile", &input).await;
        let failure = failed(&database, run).await;
        assert!(failure.message.contains(says), "{statement}: {failure}");
        assert_eq!(balances(&database).await, (CENTS, CENTS), "{statement}");
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_statements_have_set_is_gone_with_their_step() {
    let database = granted().await;
    let config = WorkerConfig {
        sql: [(
            "bank".to_owned(),
            SqlUrl(url_of(&database, &role(&database))),
        )]
        .into(),
        sql_connections_max: 1,
        ..WorkerConfig::default()
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let guessing = format!(
        "select dacapo.finish_sql_step('{}', 'hostile#1', 'guess', '1', now())",
        uuid::Uuid::now_v7()
    );
    let statements = [
        "select set_config('search_path', 'pg_temp', false)",
        "select set_config('statement_timeout', '0', false)",
        "select set_config('synchronous_commit', 'off', false)",
        "select set_config('default_transaction_read_only', 'on', false)",
        "select set_config('application_name', 'somebody', false)",
        "select pg_advisory_lock(7)",
        guessing.as_str(),
    ];
    let input = serde_json::to_string(&statements).unwrap();
    let run = database.start("hostile", &input).await;
    let codes: Vec<String> = serde_json::from_str(&completed(&database, run).await).unwrap();
    assert_eq!(codes, vec!["ok"; statements.len()]);
    assert_eq!(balances(&database).await, (CENTS - 1, CENTS));
    let statement = "select current_setting('search_path') || ' ' || current_setting('statement_timeout') || ' '
        || current_setting('synchronous_commit') || ' ' || current_setting('transaction_read_only') || ' '
        || current_setting('application_name') || ' '
        || (select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())) as now";
    let input = serde_json::to_string(statement).unwrap();
    let run = database.start("read", &input).await;
    let said = completed(&database, run).await;
    let expected = r#"\\\"public\\\", pg_temp 10s on off dacapo-sql-step 0"#;
    assert!(said.contains(expected), "{said}");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_each_type_come_back_as_they_went() {
    let database = granted().await;
    let role = role(&database);
    sql(
        &database,
        &format!(
            "create type mood as enum ('happy', 'sad');
            create table kinds (
                small smallint, whole integer, big bigint, single real, double double precision, yes boolean, note text,
                code varchar(20), blob bytea, doc jsonb, at timestamptz, id uuid, mood mood, missing integer, amount numeric
            );
            grant select, insert on kinds to {role}"
        ),
    )
    .await;
    let worker = worker(&database).await;
    let run = database.start("round-trip", "null").await;
    assert_eq!(completed(&database, run).await, r#""[]""#);
    // What has no form here says what to do.
    let run = database.start("read", r#""select 1.5 as price""#).await;
    let failure = failed(&database, run).await;
    assert_eq!(
        failure.message,
        "column `price` has a value of type numeric that has no form here: cast it in the statement, as in `price::text`"
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_limits_and_statements_a_time() {
    let database = bank().await;
    let grant = SqlGrant {
        statement_timeout_ms: 1_500,
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
async fn an_outcome_is_recorded_as_it_was_whatever_encoding_a_statement_has_set() {
    let database = granted().await;
    let worker = worker(&database).await;
    let statement = r#"select set_config('client_encoding', 'LATIN1', false) as "grüße""#;
    let input = serde_json::to_string(statement).unwrap();
    let run = database.start("read", &input).await;
    let output = completed(&database, run).await;
    assert!(output.contains("grüße"), "{output}");
    let rows = journal(&database, run).await;
    assert!(rows[0].contains("grüße"), "{rows:?}");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_reach_dacapos_tables_by_whatever_way_are_refused() {
    let database = bank().await;
    let own = name(&database);
    let (boss, reader) = (format!("boss_{own}"), format!("tables_{own}"));
    sql(
        &database,
        &format!(
            "create role {boss} superuser; create role {reader};
            grant usage on schema dacapo to {reader}; grant select on dacapo.run to {reader}"
        ),
    )
    .await;
    let (mighty, touching) = (
        "is a superuser, or may do as much by another way",
        "may read or change Dacapo's own tables",
    );
    let member_of = |role: &str| format!("grant {role} to ROLE");
    let cases = [
        ("login", member_of(&boss), mighty),
        ("login noinherit", member_of(&boss), mighty),
        ("login noinherit", member_of(&reader), touching),
        (
            "login",
            "grant select (payload) on dacapo.step to ROLE".to_owned(),
            touching,
        ),
        (
            "login",
            "grant trigger on dacapo.step to ROLE".to_owned(),
            touching,
        ),
        ("login", member_of("pg_read_all_data"), touching),
        ("login noinherit", member_of("pg_write_all_data"), touching),
        ("login", member_of("pg_execute_server_program"), mighty),
        ("login", member_of("pg_read_server_files"), mighty),
        ("login", member_of("pg_write_server_files"), mighty),
        ("login", member_of("pg_signal_backend"), mighty),
        ("login createrole", "select 1".to_owned(), mighty),
        ("login replication", "select 1".to_owned(), mighty),
        ("login", member_of("postgres"), mighty),
    ];
    for (number, (options, grant, says)) in cases.into_iter().enumerate() {
        let role = format!("case_{number}_{own}");
        let grant = grant.replace("ROLE", &role);
        sql(
            &database,
            &format!(
                "create role {role} {options}; {grant}; select dacapo.allow_sql_steps('{role}')"
            ),
        )
        .await;
        let connected = SqlRole::new(&url_of(&database, &role)).unwrap();
        match connected.connect(&database.store).await {
            Err(SqlRoleError::Unsuitable(why)) => {
                assert!(why.contains(says), "{options}, {grant}: {why}");
            }
            other => panic!("{options}, {grant}: {other:?}"),
        }
    }
    // A group that has nothing of that is no harm.
    let role = role(&database);
    let group = format!("group_{own}");
    sql(
        &database,
        &format!(
            "create role {group}; grant select on account to {group}; grant {group} to {role}"
        ),
    )
    .await;
    let connected = SqlRole::new(&url_of(&database, &role)).unwrap();
    connected.connect(&database.store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_that_a_step_takes_hold_no_deploy_up() {
    let database = granted().await;
    let mut transaction = taken(&database).await;
    let packages = sqlx::query_as::<_, (String, String)>(
        "select distinct namespace, package from dacapo.deployment",
    );
    let packages = packages.fetch_all(database.store.pool()).await.unwrap();
    let mut locks = vec!["dacapo.collect".to_owned()];
    for (namespace, package) in packages {
        locks.push(format!("dacapo.deploy {namespace} {package}"));
    }
    assert_eq!(locks.len(), 2);
    for lock in locks {
        let statement = "select pg_advisory_xact_lock(hashtextextended($1::text, 0))";
        let params = vec![SqlValue::Text(lock)];
        transaction.query(statement, params).await.unwrap();
    }
    let grant = SqlGrant {
        max_rows: 7,
        ..SqlGrant::new("bank")
    };
    let deployed = tokio::time::timeout(Duration::from_secs(60), deploy(&database, Some(grant)));
    deployed.await.expect("a deploy waits for a step's lock");
    // It has held them all the while, and what deploys wait by is not for it.
    let refused = transaction.query("lock table dacapo.deploy_lock", Vec::new());
    let failure = refused.await.unwrap_err();
    assert!(failure.message.contains("permission denied"), "{failure}");
    transaction.roll_back().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_notifies_of_everything_disturbs_nobody() {
    let database = granted().await;
    let worker = worker(&database).await;
    let statements = [
        "select count(pg_notify('dacapo_deployment', g::text)) from generate_series(1, 50000) g",
        "select count(pg_notify('dacapo_signal', gen_random_uuid()::text)) from generate_series(1, 50000) g",
        "select count(pg_notify('dacapo_held', g::text)) from generate_series(1, 50000) g",
    ];
    let input = serde_json::to_string(&statements).unwrap();
    let run = database.start("hostile", &input).await;
    let codes: Vec<String> = serde_json::from_str(&completed(&database, run).await).unwrap();
    assert_eq!(codes, vec!["ok"; statements.len()]);
    let run = database.start("move-money", TRANSFER).await;
    completed(&database, run).await;
    worker.drain().await.unwrap();
    sound(&database).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_the_server_cannot_read_are_not_tried_again() {
    let database = granted().await;
    let mut transaction = taken(&database).await;
    let refused = transaction.query("select 1\0", Vec::new()).await;
    let failure = refused.unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.retryable),
        ("sql-statement", false)
    );
    // It was not sent, so the transaction goes on.
    transaction.query("select 1", Vec::new()).await.unwrap();
    let statement = "select $1::bigint + $2::bigint";
    let refused = transaction
        .query(statement, vec![SqlValue::Integer(1)])
        .await;
    let failure = refused.unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.retryable),
        ("sql", false),
        "{failure}"
    );
    transaction.roll_back().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_is_not_granted_blocks_the_run_and_outside_of_steps_it_is_misuse() {
    let database = bank().await;
    deploy(&database, None).await;
    let worker = worker(&database).await;
    let run = database.start("fails-for-good", "null").await;
    let why = blocked(&database, run).await;
    assert!(
        why.contains("sql-not-granted") && why.contains("add a table `[sql]`"),
        "{why}"
    );
    database.client.cancel(run).await.unwrap();
    let run = database.start("outside", "null").await;
    let failure = database.done(run).await.failure.unwrap();
    assert_eq!(failure.code, "misuse");
    assert!(
        failure
            .message
            .contains("`execute` of dacapo:workflow/sql was called outside of a step"),
        "{failure}"
    );
    assert_eq!(balances(&database).await, (CENTS, CENTS));
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_blocked_for_sql_go_on_when_a_deployment_that_is_granted_it_takes_them_over()
{
    let database = bank().await;
    deploy(&database, None).await;
    let worker = worker(&database).await;
    let run = database.start("move-money", TRANSFER).await;
    let why = blocked(&database, run).await;
    assert!(why.contains("sql-not-granted"), "{why}");
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("dacapo.toml");
    std::fs::write(&manifest, "[sql]\ndatabase = \"bank\"\n").unwrap();
    let output = crate::command::run(
        &database,
        &[
            "deploy",
            &guest_path("bank").to_string_lossy(),
            "--manifest",
            &manifest.to_string_lossy(),
            "--upgrade",
            "proven",
        ],
    )
    .await;
    let said = crate::command::text(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 of them go on"),
        "{said}"
    );
    completed(&database, run).await;
    assert_eq!(balances(&database).await, (CENTS - 7, CENTS + 7));
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_used_blocks_the_run_with_what_to_do_until_that_is_mended() {
    let database = granted().await;
    let role = role(&database);
    let (stranger, reader) = (
        format!("stranger_{}", name(&database)),
        format!("reader_{}", name(&database)),
    );
    let elsewhere = bank().await;
    sql(
        &database,
        &format!(
            "create role {stranger} login; create role {reader} login; grant usage on schema dacapo to {reader};
            grant select on dacapo.run to {reader}"
        ),
    )
    .await;
    let run = database.start("fails-for-good", "null").await;
    let unknown = Worker::start(database.store.clone(), WorkerConfig::default()).await;
    let why = blocked(&database, run).await;
    assert!(
        why.contains("sql-database") && why.contains("--sql bank=postgres://"),
        "{why}"
    );
    unknown.unwrap().drain().await.unwrap();
    for (url, says) in [
        (database.url.clone(), "Dacapo's own role"),
        (url_of(&elsewhere, &role), "Dacapo's own is"),
        (url_of(&database, &stranger), "dacapo.allow_sql_steps("),
        (
            url_of(&database, &reader),
            "may read or change Dacapo's own tables",
        ),
        (url_of(&database, "nobody"), "the server refuses the login"),
    ] {
        let worker = worker_with(&database, &url).await;
        database.client.resume(run).await.unwrap();
        database
            .until("it was taken", "select count(*) = 0 from dacapo.task_ready")
            .await;
        let why = blocked(&database, run).await;
        assert!(
            why.contains("sql-database") && why.contains(says),
            "{url}: {why}"
        );
        worker.drain().await.unwrap();
    }
    let worker = worker(&database).await;
    database.client.resume(run).await.unwrap();
    completed(&database, run).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}
