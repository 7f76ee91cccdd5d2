//! Transactional SQL steps: a statement and its step's outcome are both there or neither, whatever dies in between.

mod breaks;
mod limits;

use std::time::Duration;

use dacapo_model::{
    Failure, Manifest, Payload, RunId, SqlGrant, SqlValue, Status, StepKey, WorkerId,
};
use dacapo_store::{
    BegunSqlStep, Claim, FinishedSqlStep, SqlCaps, SqlRole, SqlRoleError, SqlToken, SqlTransaction,
    TakenBackSqlStep,
};
use dacapo_tests::{Dacapo, Database, database, guest, guest_path};
use dacapo_worker::{SqlUrl, Worker, WorkerConfig};

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
