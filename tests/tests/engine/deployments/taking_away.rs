//! Code that a run may need is not taken away under it, however late the run becomes visible.

use std::time::Duration;

use dacapo_client::{RunId, Status};
use dacapo_tests::{Database, database};
use sqlx::{Connection, Executor, PgConnection};

use super::{number_of, put, standing, version};
use crate::check::{sound, worker};

const SQUARE: &str = "test:probe/children.square";

async fn sql_start(connection: &mut PgConnection) -> RunId {
    let id: uuid::Uuid = sqlx::query_scalar("select dacapo.start($1, '7')")
        .bind(SQUARE)
        .fetch_one(connection)
        .await
        .unwrap();
    RunId(id)
}

/// Takes away what can be, without waiting; answers the numbers of the deployments that went.
async fn collect(database: &Database) -> Vec<i32> {
    dacapo_store::collect_deployments(&database.store, false, Duration::ZERO)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|gone| gone.deployment)
        .map(|(_, _, number)| number)
        .collect()
}

/// When a transaction that starts a run has looked at what is active.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// It has started the run before anything changed.
    Before,
    /// It has started the run while the change was under way.
    Meanwhile,
    /// It goes by what it saw before, and starts the run when the deployment is to be taken away.
    Later,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_stays_while_a_transaction_is_open_that_may_have_started_a_run_there() {
    for order in [Start::Before, Start::Meanwhile, Start::Later] {
        let database = database().await;
        put(&database.client, &version("probe", 1), None)
            .await
            .unwrap();
        put(&database.client, &version("probe", 2), None)
            .await
            .unwrap();
        let mut caller = PgConnection::connect(&database.url).await.unwrap();
        caller
            .execute("select dacapo.activate('test:probe', 1)")
            .await
            .unwrap();
        let mut open = caller.begin().await.unwrap();
        if matches!(order, Start::Later) {
            open.execute("set transaction isolation level repeatable read")
                .await
                .unwrap();
            open.execute("select count(*) from dacapo.queue")
                .await
                .unwrap();
        }
        let mut run = None;
        if matches!(order, Start::Before) {
            run = Some(sql_start(&mut open).await);
        }
        // Another version and the end of this one, in one transaction.
        let mut steering = PgConnection::connect(&database.url).await.unwrap();
        let mut change = steering.begin().await.unwrap();
        change
            .execute("select dacapo.activate('test:probe', 2), dacapo.retire('test:probe', 1)")
            .await
            .unwrap();
        if matches!(order, Start::Meanwhile) {
            run = Some(sql_start(&mut open).await);
        }
        change.commit().await.unwrap();
        let would_go = database.client.collect_deployments(true).await.unwrap();
        assert_eq!(would_go.len(), 1, "{order:?}: {would_go:#?}");
        for _ in 0..2 {
            assert_eq!(collect(&database).await, [0; 0], "{order:?}");
        }
        let run = match run {
            Some(run) => run,
            None => sql_start(&mut open).await,
        };
        open.commit().await.unwrap();
        assert_eq!(
            database.client.collect_deployments(false).await.unwrap(),
            [],
            "{order:?}: a run needs it"
        );
        let worker = worker(&database).await;
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Completed, "{order:?}");
        assert_eq!(number_of(&database, run).await, 1);
        worker.drain().await.unwrap();
        sqlx::raw_sql("delete from dacapo.run")
            .execute(database.store.pool())
            .await
            .unwrap();
        let gone = database.client.collect_deployments(false).await.unwrap();
        assert_eq!(gone.len(), 1, "{order:?}: {gone:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_goes_once_the_transactions_are_over_that_were_open_when_it_was_retired() {
    let database = database().await;
    let client = &database.client;
    for at in 1..=2 {
        put(client, &version("probe", at), None).await.unwrap();
    }
    let mut caller = PgConnection::connect(&database.url).await.unwrap();
    let mut open = caller.begin().await.unwrap();
    open.execute("select 1").await.unwrap();
    client
        .retire_deployment("probe", 1, false, "ada")
        .await
        .unwrap();
    assert_eq!(collect(&database).await, [0; 0]);
    // One that begins after that disturbs nobody.
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut later = other.begin().await.unwrap();
    later.execute("select 1").await.unwrap();
    // Taken back, it is looked at anew when it is retired again.
    for undo in [true, false] {
        client
            .retire_deployment("probe", 1, undo, "ada")
            .await
            .unwrap();
    }
    assert_eq!(collect(&database).await, [0; 0]);
    open.rollback().await.unwrap();
    assert_eq!(
        collect(&database).await,
        [0; 0],
        "the later one is awaited now"
    );
    let mut last = PgConnection::connect(&database.url).await.unwrap();
    let mut newest = last.begin().await.unwrap();
    newest.execute("select 1").await.unwrap();
    later.rollback().await.unwrap();
    assert_eq!(collect(&database).await, [1]);
    newest.rollback().await.unwrap();
    assert_eq!(standing(&database).await, [(2, true, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_deployment_was_retired_since_its_parent_asked_for_it_runs_on_the_active_one()
{
    let database = database().await;
    let client = &database.client;
    put(client, &version("probe", 1), None).await.unwrap();
    let worker = worker(&database).await;
    // The flush that starts the child waits here, after its parent was told on which deployment.
    let mut blocker = PgConnection::connect(&database.url).await.unwrap();
    let mut blocking = blocker.begin().await.unwrap();
    blocking
        .execute("lock table dacapo.child in share mode")
        .await
        .unwrap();
    let plan = format!(r#"{{"workflow": "{SQUARE}", "input": "7"}}"#);
    let parent = database.start("children.detaches-child", &plan).await;
    database
        .until(
            "the flush waits",
            "select exists (
                select from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock' and query like '-- Starts the children of a flush%'
            )",
        )
        .await;
    put(client, &version("probe", 2), None).await.unwrap();
    client
        .retire_deployment("probe", 1, false, "ada")
        .await
        .unwrap();
    blocking.rollback().await.unwrap();
    let parent = database.done(parent).await;
    let child: RunId = parent
        .output
        .unwrap()
        .as_str()
        .trim_matches('"')
        .parse()
        .unwrap();
    assert_eq!(database.done(child).await.output.unwrap().as_str(), "49");
    assert_eq!(number_of(&database, child).await, 2);
    worker.drain().await.unwrap();
    sound(&database).await;
}
