//! What does not happen to a run that waits for its child.

use dacapo_client::{RunId, SkipOptions, Status};
use dacapo_tests::{Database, database};

use crate::check::{journal, sound, worker};

/// A run that starts a child which pauses twice, and waits for it.
async fn parent(database: &Database) -> RunId {
    let plan = serde_json::json!({ "workflow": "durable.pauses", "input": "null" });
    database
        .start("children.runs-child", &plan.to_string())
        .await
}

async fn only_child(database: &Database) -> RunId {
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from dacapo.run where parent is not null")
            .fetch_all(database.store.pool())
            .await
            .unwrap();
    assert_eq!(ids.len(), 1);
    RunId(ids[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_of_a_run_that_waits_for_its_child_is_a_conflict_and_changes_nothing() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let parent = parent(&database).await;
    database
        .until(
            "the parent waits for its child, and that for a person",
            "select count(*) = 2 from dacapo.task_suspended where reason in ('child', 'pause')",
        )
        .await;
    let before = journal(&database, parent).await;
    let refused = database.client.resume(parent).await.unwrap_err();
    assert!(refused.to_string().contains("suspended"), "{refused}");
    assert_eq!(journal(&database, parent).await, before);

    let child = only_child(&database).await;
    for pause in ["first#1", "second#1"] {
        let query = match pause {
            "first#1" => {
                "select count(*) = 1 from dacapo.step where key = 'first#1' and outcome is null"
            }
            _ => "select count(*) = 1 from dacapo.step where key = 'second#1' and outcome is null",
        };
        database.until("the child pauses", query).await;
        database.client.resume(child).await.unwrap();
    }
    let done = database.done(parent).await;
    assert_eq!(done.output.unwrap().as_str(), r#""null""#);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_place_in_line_cannot_be_written_at_first_is_started_once_and_whole() {
    let database = database().await;
    database.deploy("probe").await;
    // The first three times that a child is put into line its transaction is undone.
    sqlx::raw_sql(
        "create sequence tries;
        create function collide() returns trigger language plpgsql as $$ begin
            if exists (select from dacapo.run where id = new.run_id and parent is not null) and nextval('tries') <= 3 then
                raise exception 'not now' using errcode = 'serialization_failure';
            end if;
            return new;
        end $$;
        create trigger collide before insert on dacapo.task_ready for each row execute function collide()",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    let worker = worker(&database).await;
    let plan = serde_json::json!({ "workflow": "children.square", "input": "12" });
    let parent = database
        .start("children.runs-child", &plan.to_string())
        .await;
    let done = database.done(parent).await;
    assert_eq!(done.status, Status::Completed, "{done:?}");
    assert!(database.count("select last_value from tries").await > 3);
    assert_eq!(done.output.unwrap().as_str(), r#""144""#);
    only_child(&database).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_child_can_be_finished_in_its_place_and_its_end_changes_nothing_then() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let parent = parent(&database).await;
    database
        .until(
            "the parent waits for its child, and that for a person",
            "select count(*) = 2 from dacapo.task_suspended where reason in ('child', 'pause')",
        )
        .await;
    let child = only_child(&database).await;
    let five = SkipOptions {
        value: Some("5".to_owned()),
        ..SkipOptions::default()
    };
    let client = &database.client;
    client.skip(parent, &five, "ann@desk").await.unwrap();
    let done = database.done(parent).await;
    assert_eq!(done.output.as_ref().unwrap().as_str(), r#""5""#);
    let journal_then = journal(&database, parent).await;
    // The parent's end cancels it, and its own end is told to nobody.
    assert_eq!(database.done(child).await.status, Status::Cancelled);
    database
        .until(
            "the child's end was told",
            "select count(*) = 0 from dacapo.child_end",
        )
        .await;
    assert_eq!(journal(&database, parent).await, journal_then);
    let later = client.get(parent).await.unwrap();
    assert_eq!((later.status, later.output), (done.status, done.output));
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_finished_without_a_value_has_null() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("step-wait-step", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    let client = &database.client;
    client
        .skip(run, &SkipOptions::default(), "ann@desk")
        .await
        .unwrap();
    let done = database.done(run).await;
    assert_eq!(done.output.unwrap().as_str(), r#""a null b""#);
    worker.drain().await.unwrap();
    sound(&database).await;
}
