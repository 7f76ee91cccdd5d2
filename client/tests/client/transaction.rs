//! Starts and events inside the caller's own transaction.

use dacapo_client::{Client, RunId, SentEvent, StartOptions, WorkflowRef};

use crate::database::{GREET, PING, client, code, runs};

const ADA: &str = r#"{"name": "Ada"}"#;

async fn events(client: &Client) -> i64 {
    sqlx::query_scalar("select count(*) from dacapo.event")
        .fetch_one(client.store().pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_rolled_back_transaction_leaves_nothing() {
    let client = client().await;
    let mut transaction = client.store().pool().begin().await.unwrap();
    let run = client
        .start_by_name_in(&mut transaction, GREET, ADA, StartOptions::keyed("k"))
        .await
        .unwrap();
    assert!(run.created);
    client
        .send_event_in(&mut transaction, run.id, "paid", "1", None)
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(code(client.get(run.id).await), "run-not-found");
    assert_eq!((runs(&client).await, events(&client).await), (0, 0));
    let tasks: i64 = sqlx::query_scalar("select count(*) from dacapo.task_ready")
        .fetch_one(client.store().pool())
        .await
        .unwrap();
    assert_eq!(tasks, 0);
}

#[tokio::test]
async fn a_committed_transaction_starts_the_run_with_the_callers_rows() {
    let client = client().await;
    let pool = client.store().pool();
    sqlx::query("create table orders (run uuid)")
        .execute(pool)
        .await
        .unwrap();
    let ping: WorkflowRef<(), ()> = WorkflowRef::new(PING);
    let mut transaction = pool.begin().await.unwrap();
    let run = client
        .start_in(&mut transaction, ping, &(), StartOptions::default())
        .await
        .unwrap();
    sqlx::query("insert into orders values ($1)")
        .bind(run.id.0)
        .execute(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(code(client.get(run.id).await), "run-not-found");
    let sent = client
        .send_event_in(&mut transaction, run.id, "paid", "1", Some("d"))
        .await
        .unwrap();
    assert_eq!(sent, SentEvent::Sent);
    transaction.commit().await.unwrap();
    assert_eq!(client.get(run.id).await.unwrap().id, run.id);
    assert_eq!((runs(&client).await, events(&client).await), (1, 1));
}

#[tokio::test]
async fn a_refused_start_leaves_the_transaction_usable() {
    let client = client().await;
    let mut transaction = client.store().pool().begin().await.unwrap();
    let start = client
        .start_by_name_in(&mut transaction, GREET, "{}", StartOptions::default())
        .await;
    assert_eq!(code(start), "bad-input");
    let first = client
        .start_by_name_in(&mut transaction, GREET, ADA, StartOptions::keyed("k"))
        .await
        .unwrap();
    let again = client
        .start_by_name_in(&mut transaction, GREET, ADA, StartOptions::keyed("k"))
        .await
        .unwrap();
    assert_eq!((again.id, again.created), (first.id, false));
    let other = client
        .start_by_name_in(
            &mut transaction,
            GREET,
            r#"{"name":"Bob"}"#,
            StartOptions::keyed("k"),
        )
        .await;
    assert_eq!(code(other), "key-conflict");
    let event = client
        .send_event_in(&mut transaction, RunId::new(), "paid", "1", None)
        .await;
    assert_eq!(code(event), "run-not-found");
    transaction.commit().await.unwrap();
    assert_eq!(runs(&client).await, 1);
}

/// A rival of the same key that has not committed is waited for; both then have the one run.
#[tokio::test]
async fn a_rival_in_a_transaction_is_waited_for() {
    let client = client().await;
    for commits in [true, false] {
        let key = StartOptions::keyed(format!("rival-{commits}"));
        let mut transaction = client.store().pool().begin().await.unwrap();
        let first = client
            .start_by_name_in(&mut transaction, GREET, ADA, key.clone())
            .await
            .unwrap();
        let second = tokio::spawn({
            let client = client.clone();
            async move { client.start_by_name(GREET, ADA, key).await }
        });
        until_blocked(&client).await;
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let second = second.await.unwrap().unwrap();
        assert_eq!((second.id, second.created), (first.id, !commits));
    }
}

async fn until_blocked(client: &Client) {
    let waiting = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())";
    while !sqlx::query_scalar::<_, bool>(waiting)
        .fetch_one(client.store().pool())
        .await
        .unwrap()
    {
        tokio::task::yield_now().await;
    }
}
