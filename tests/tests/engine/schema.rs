//! The schema: made once, by whoever comes first, and never where it does not belong.

use dacapo_model::Status;
use dacapo_store::{MigrateError, MigrateOutcome, SchemaState, Store, migrate, schema_state};
use dacapo_tests::{Database, database, server_log};
use sqlx::Executor;

/// A database with nothing in it.
async fn empty() -> Database {
    let database = database().await;
    database
        .store
        .pool()
        .execute("drop schema dacapo cascade")
        .await
        .unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_may_migrate_at_once() {
    let database = empty().await;
    let all: Vec<_> = (0..8)
        .map(|_| {
            let store = Store::new(&database.url, 2).unwrap();
            tokio::spawn(async move { migrate(&store).await })
        })
        .collect();
    let mut migrated = 0;
    for one in all {
        if matches!(
            one.await.unwrap().unwrap(),
            MigrateOutcome::Migrated { from: 0, .. }
        ) {
            migrated += 1;
        }
    }
    assert!(migrated >= 1);
    assert!(matches!(
        migrate(&database.store).await.unwrap(),
        MigrateOutcome::UpToDate(_)
    ));
    assert!(matches!(
        schema_state(&database.store).await.unwrap(),
        SchemaState::Ready(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_table_is_refused_and_nothing_is_touched() {
    let database = empty().await;
    database
        .store
        .pool()
        .execute("create schema dacapo; create table dacapo.run (mine text)")
        .await
        .unwrap();
    let error = migrate(&database.store).await.unwrap_err();
    assert!(
        matches!(&error, MigrateError::Foreign { tables } if tables == &["run"]),
        "{error}"
    );
    let tables = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'dacapo' and relkind = 'r'";
    assert_eq!(database.count(tables).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_leaves_what_was_before_it_and_lets_others_go_on() {
    let database = empty().await;
    // In the way of the eleventh migration, which begins with tables and ends with functions.
    database
        .store
        .pool()
        .execute(
            "create schema dacapo;
            create function dacapo.place_in_line(smallint) returns timestamptz language sql as 'select now()'",
        )
        .await
        .unwrap();
    let error = migrate(&database.store).await.unwrap_err();
    assert!(matches!(error, MigrateError::Failed(_)), "{error}");
    assert!(matches!(
        schema_state(&database.store).await.unwrap(),
        SchemaState::Behind(10)
    ));
    let of_the_eleventh =
        "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'dacapo' and relname = 'queue'";
    assert_eq!(database.count(of_the_eleventh).await, 0);

    database
        .store
        .pool()
        .execute("drop function dacapo.place_in_line(smallint)")
        .await
        .unwrap();
    // The one that failed is still connected; another process goes on nevertheless.
    let other = Store::new(&database.url, 2).unwrap();
    let migrated = tokio::time::timeout(std::time::Duration::from_secs(30), migrate(&other))
        .await
        .expect("the failed migration has kept its lock");
    assert!(matches!(
        migrated.unwrap(),
        MigrateOutcome::Migrated { from: 10, .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_migrated_is_asked_once() {
    let database = database().await;
    // From now on the server logs each statement of whoever connects to this database.
    database
        .store
        .pool()
        .execute(
            "do $$ begin
                execute format('alter database %I set log_statement = ''all''', current_database());
            end $$",
        )
        .await
        .unwrap();
    let before = server_log().len();
    let store = Store::new(&database.url, 2).unwrap();
    assert!(matches!(
        migrate(&store).await.unwrap(),
        MigrateOutcome::UpToDate(_)
    ));
    let log = server_log();
    let statements: Vec<&str> = log[before..]
        .lines()
        .filter(|line| line.contains("LOG:  execute") || line.contains("LOG:  statement"))
        .collect();
    assert_eq!(statements.len(), 1, "{statements:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_breaking_version_is_refused_and_of_a_newer_compatible_one_is_not() {
    let database = database().await;
    let ahead = "insert into dacapo._sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9000, 'from the future', true, '', 0)";
    database.store.pool().execute(ahead).await.unwrap();
    assert_eq!(
        migrate(&database.store).await.unwrap(),
        MigrateOutcome::UpToDate(9000)
    );
    database
        .store
        .pool()
        .execute("update dacapo.compatibility set breaking = 9000")
        .await
        .unwrap();
    let error = migrate(&database.store).await.unwrap_err();
    assert!(
        matches!(
            error,
            MigrateError::Newer {
                database: 9000,
                breaking: 9000,
                ..
            }
        ),
        "{error}"
    );
    let error = dacapo_client::Client::connect(&database.url)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("newer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_words_of_the_database_are_those_of_the_model() {
    let database = database().await;
    let view: String = sqlx::query_scalar("select pg_get_viewdef('dacapo.run_status'::regclass)")
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    let check: String = sqlx::query_scalar(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'run_status_known'",
    )
    .fetch_one(database.store.pool())
    .await
    .unwrap();
    for status in Status::ALL {
        let word = format!("'{}'", status.as_str());
        assert!(
            if status.is_terminal() {
                check.contains(&word)
            } else {
                view.contains(&word)
            },
            "{status} is missing"
        );
    }
}
