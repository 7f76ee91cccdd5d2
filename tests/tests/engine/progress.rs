//! How far a run is, as its code says.

use dacapo_client::{RunFilter, RunProgress};
use dacapo_model::{RunId, Status};
use dacapo_tests::{Database, database};
use sqlx::Executor;

use crate::check::{sound, worker};
use crate::command::{run as dacapo, text};

async fn shown(database: &Database, run: RunId) -> (u64, Option<u64>, Option<String>) {
    let RunProgress {
        done, total, note, ..
    } = database.client.get(run).await.unwrap().progress;
    (done, total, note)
}

async fn waits_for(database: &Database, event: &str) {
    let query = match event {
        "go" => "select count(*) = 1 from dacapo.task_suspended where events = '{go}'",
        _ => "select count(*) = 1 from dacapo.task_suspended where events = '{more}'",
    };
    database.until("the run waits", query).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_says_last_is_written_once_and_before_it_waits() {
    let database = database().await;
    database.deploy("probe").await;
    // Each write leaves a row.
    database
        .store
        .pool()
        .execute(
            "create table written (done bigint);
            create function written() returns trigger language plpgsql as $$
            begin
                insert into written values (new.done);
                return null;
            end $$;
            create trigger written after insert or update on dacapo.progress for each row execute function written()",
        )
        .await
        .unwrap();
    let worker = worker(&database).await;
    let run = database.start("loops", "10000").await;
    waits_for(&database, "go").await;
    assert_eq!(shown(&database, run).await, (10_000, Some(10_000), None));
    // Once, and once more for each second that the loop may take on a machine that is busy.
    let written = database.count("select count(*) from written").await;
    assert!((1..=5).contains(&written), "{written}");

    // The loop is played again twice, and says nothing new.
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    waits_for(&database, "more").await;
    let said = (1, Some(2), Some("in the body".to_owned()));
    assert_eq!(shown(&database, run).await, said);
    let listed = database.client.list(Default::default()).await.unwrap();
    let progress = serde_json::to_value(&listed.items[0].progress).unwrap();
    assert_eq!(
        (&progress["done"], &progress["total"], &progress["note"]),
        (&1.into(), &2.into(), &"in the body".into())
    );
    let progress = database.client.check_progress(run).await.unwrap();
    assert_eq!((progress.done, progress.total, progress.note), said);
    let id = run.to_string();
    let output = text(&dacapo(&database, &["runs", "show", &id]).await.stdout);
    assert!(
        output.contains("progress   1 of 2: in the body (said "),
        "{output}"
    );
    let output = text(&dacapo(&database, &["runs", "list"]).await.stdout);
    assert!(output.contains("1/2"), "{output}");

    database
        .client
        .send_event(run, "more", "1", None)
        .await
        .unwrap();
    assert_eq!(database.done(run).await.status, Status::Completed);
    assert_eq!(shown(&database, run).await, said);
    assert_eq!(
        database.count("select count(*) from written").await,
        written + 1
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_computes_on_shows_how_far_it_is_meanwhile() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("computes", "4000").await;
    database
        .until(
            "it is written while the run is played",
            "select count(*) = 1 from dacapo.progress join dacapo.task_leased using (run_id) where done = 1 and total = 3",
        )
        .await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_all_is_all_and_a_run_that_says_nothing_is_as_far_as_its_steps() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for (saying, expected) in [
        (
            r#"{"done": 5, "total": 3, "note": "a\u0000b"}"#,
            (3, Some(3), Some("a\u{FFFD}b".to_owned())),
        ),
        (r#"{"done": 1, "total": 0}"#, (0, Some(0), None)),
        (
            r#"{"done": "18446744073709551615", "total": "18446744073709551615"}"#,
            (i64::MAX as u64, Some(i64::MAX as u64), None),
        ),
    ] {
        let run = database.start("progress.says", saying).await;
        assert_eq!(database.done(run).await.status, Status::Completed);
        assert_eq!(shown(&database, run).await, expected, "{saying}");
    }
    let run = database.start("counted-steps", "3").await;
    database.done(run).await;
    assert_eq!(shown(&database, run).await, (3, None, None));
    // A wait that is not over does not count.
    let run = database.start("step-wait-step", "null").await;
    waits_for(&database, "go").await;
    assert_eq!(shown(&database, run).await, (1, None, None));
    let progress = database.client.check_progress(run).await.unwrap();
    assert_eq!((progress.done, progress.total), (1, None));
    let listed = database.client.list(Default::default()).await.unwrap();
    let listed = listed.items.iter().find(|one| one.id == run).unwrap();
    assert_eq!((listed.progress.done, listed.progress.total), (1, None));
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_run_was_goes_where_it_is_imported_and_goes_with_it_when_it_is_deleted() {
    let (here, there) = (database().await, database().await);
    here.deploy("probe").await;
    there.deploy("probe").await;
    let worker = worker(&here).await;
    let run = here
        .start("progress.says", r#"{"done": 1, "total": 3, "note": "n"}"#)
        .await;
    here.done(run).await;
    worker.drain().await.unwrap();
    let export = here.client.export(run, false).await.unwrap();
    there.client.import(&export, "ann").await.unwrap();
    assert_eq!(
        there.client.get(run).await.unwrap().progress,
        here.client.get(run).await.unwrap().progress
    );

    sqlx::query("update dacapo.run set created_at = now() - interval '99 days', finished_at = now() - interval '99 days'")
        .execute(here.store.pool())
        .await
        .unwrap();
    let mut connection = here.store.connect().await.unwrap();
    let swept = dacapo_store::sweep(&mut connection, "default", None, 10, 1_000)
        .await
        .unwrap();
    assert_eq!(swept.deleted, 1);
    assert_eq!(here.count("select count(*) from dacapo.progress").await, 0);
    let left = here.client.count(RunFilter::default()).await.unwrap();
    assert_eq!(left.values().sum::<u64>(), 0);
}
