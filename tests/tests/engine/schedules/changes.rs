//! Schedules that are changed, mended and deleted.

use dacapo_client::{Existing, NewSchedule, Overlap, RunId, Status, Trigger};
use dacapo_tests::database;

use super::{
    create, down_for, every_second, hourly, second_by_second, ticked, ticks, until_ticked,
};
use crate::check::worker;
use crate::command::{run, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_cannot_be_started_says_why_and_is_started_once_that_is_mended() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for name in ["gone", "good"] {
        let workflow = if name == "gone" {
            "nothing"
        } else {
            "changes.same"
        };
        create(
            &database,
            NewSchedule {
                overlap: Overlap::Allow,
                ..every_second(name, workflow)
            },
        )
        .await;
    }
    until_ticked(&database, "gone", 2).await;
    // The same package, without that workflow.
    database.deploy("probe2").await;
    database
        .until(
            "the schedule is in trouble",
            "select trouble is not null from dacapo.schedule where name = 'gone'",
        )
        .await;
    let trouble = database
        .client
        .schedule("gone")
        .await
        .unwrap()
        .trouble
        .unwrap();
    assert_eq!(trouble.code, "unknown-workflow");
    assert!(trouble.message.contains("nothing"), "{}", trouble.message);
    let doctor = run(&database, &["doctor"]).await;
    assert!(
        text(&doctor.stdout).contains("of schedule gone"),
        "{}",
        text(&doctor.stdout)
    );
    let shown = run(&database, &["schedule", "list"]).await;
    assert!(
        text(&shown.stdout).contains("unknown-workflow"),
        "{}",
        text(&shown.stdout)
    );
    let others = ticked(&database, "good").await.len();
    until_ticked(&database, "good", others + 2).await;
    database.deploy("probe").await;
    let before = ticked(&database, "gone").await.len();
    until_ticked(&database, "gone", before + 3).await;
    second_by_second(&ticks(&database, "gone").await);
    second_by_second(&ticks(&database, "good").await);
    assert_eq!(
        database.client.schedule("gone").await.unwrap().trouble,
        None
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_no_longer_fits_is_said_and_another_one_goes_on() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let steps = |input: &str| NewSchedule {
        input: input.to_owned(),
        ..every_second("steps", "counted-steps")
    };
    create(&database, steps("2")).await;
    // As if the schedule was made when the workflow took a text.
    sqlx::query("update dacapo.schedule set input = '\"two\"'")
        .execute(database.store.pool())
        .await
        .unwrap();
    database
        .until(
            "the schedule is in trouble",
            "select trouble is not null from dacapo.schedule",
        )
        .await;
    let trouble = database
        .client
        .schedule("steps")
        .await
        .unwrap()
        .trouble
        .unwrap();
    assert_eq!(trouble.code, "bad-input");
    assert!(
        trouble.message.contains("expected u32, got \"two\""),
        "{}",
        trouble.message
    );
    let started = ticked(&database, "steps").await.len();
    create(
        &database,
        NewSchedule {
            existing: Existing::Replace,
            ..steps("3")
        },
    )
    .await;
    until_ticked(&database, "steps", started + 1).await;
    let schedule = database.client.schedule("steps").await.unwrap();
    assert_eq!(schedule.trouble, None);
    let run = ticked(&database, "steps").await.pop().unwrap();
    let done = database.done(RunId(run.id)).await;
    assert_eq!(done.output.unwrap().as_str(), "6");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_schedule_keeps_its_past_and_a_tick_that_is_due() {
    let database = database().await;
    database.deploy("probe").await;
    create(&database, hourly("job")).await;
    let run = database
        .client
        .trigger_schedule("job", Trigger::UnlessActive)
        .await
        .unwrap();
    down_for(&database, "1 hour").await;
    let due = database.client.schedule("job").await.unwrap().next_ticks[0];
    let refused = database.client.create_schedule(hourly("job")).await;
    assert_eq!(refused.unwrap_err().code(), "schedule-exists");
    let replace = |new: NewSchedule| NewSchedule {
        existing: Existing::Replace,
        ..new
    };
    // The same times: what is due is still to be decided about.
    let mut new = replace(hourly("job"));
    new.labels.insert("tenant".to_owned(), "a".to_owned());
    let schedule = database.client.create_schedule(new).await.unwrap();
    assert_eq!(schedule.next_ticks[0], due);
    assert_eq!(schedule.labels["tenant"], "a");
    // Other times begin now.
    let schedule = database
        .client
        .create_schedule(replace(every_second("job", "nothing")))
        .await
        .unwrap();
    assert_ne!(schedule.next_ticks[0], due);
    assert_eq!((schedule.cron, schedule.every_seconds), (None, Some(1)));
    assert_eq!(schedule.last_run.unwrap().id, run);
    let other = database
        .client
        .clone()
        .with_namespace("other")
        .schedules()
        .await
        .unwrap();
    assert_eq!(other, [], "another namespace has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_schedule_starts_nothing_more_and_its_runs_stay() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    create(&database, every_second("beat", "nothing")).await;
    create(&database, every_second("gone", "step-wait-step")).await;
    until_ticked(&database, "gone", 1).await;
    database.client.delete_schedule("gone").await.unwrap();
    let gone = database.client.delete_schedule("gone").await.unwrap_err();
    assert_eq!(gone.code(), "schedule-not-found");
    let beats = ticked(&database, "beat").await.len();
    until_ticked(&database, "beat", beats + 2).await;
    let runs = ticked(&database, "gone").await;
    assert_eq!(runs.len(), 1);
    let id = RunId(runs[0].id);
    database
        .client
        .send_event(id, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(database.done(id).await.status, Status::Completed);
    // Now nothing would overlap.
    let beats = ticked(&database, "beat").await.len();
    until_ticked(&database, "beat", beats + 2).await;
    assert_eq!(
        database
            .count("select count(*) from dacapo.run where workflow like '%.step-wait-step'")
            .await,
        1
    );
    worker.drain().await.unwrap();
}
