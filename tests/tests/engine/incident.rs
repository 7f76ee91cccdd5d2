//! What people stop in an incident: a workflow, or everything.

use dacapo_client::{Cancelled, RunFilter, StartOptions};
use dacapo_model::Status;
use dacapo_tests::{Dacapo, database};

use crate::check::{journal, sound, worker};
use crate::command::{fails, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn no_run_of_a_paused_workflow_is_played_until_it_is_resumed() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let waits = database.start("step-wait-step", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    let name = database
        .client
        .pause_workflow("step-wait-step")
        .await
        .unwrap();
    assert_eq!(name, "test:probe/durable.step-wait-step");
    let again = database
        .client
        .pause_workflow("step-wait-step")
        .await
        .unwrap_err();
    assert!(again.to_string().contains("is paused already"), "{again}");
    let begins = database.start("step-wait-step", "null").await;
    database
        .client
        .send_event(waits, "go", "1", None)
        .await
        .unwrap();
    // Another workflow is played all the time.
    let other = database.start("nothing", "null").await;
    assert_eq!(database.done(other).await.status, Status::Completed);
    database
        .until(
            "both are put aside",
            "select count(*) = 2 from dacapo.task_suspended where reason = 'workflow'",
        )
        .await;
    for run in [waits, begins] {
        let seen = database.client.get(run).await.unwrap();
        assert_eq!(
            (seen.status, seen.waiting_for.unwrap().reason.as_str()),
            (Status::Queued, "workflow")
        );
    }
    assert_eq!(journal(&database, begins).await, [""; 0]);
    let counts = database.client.count(RunFilter::default()).await.unwrap();
    assert_eq!(
        (counts[&Status::Queued], counts[&Status::Suspended]),
        (2, 0)
    );

    database
        .client
        .resume_workflow("step-wait-step")
        .await
        .unwrap();
    assert_eq!(database.done(waits).await.status, Status::Completed);
    database
        .client
        .send_event(begins, "go", "2", None)
        .await
        .unwrap();
    assert_eq!(database.done(begins).await.status, Status::Completed);
    let again = database
        .client
        .resume_workflow("step-wait-step")
        .await
        .unwrap_err();
    assert!(again.to_string().contains("is not paused"), "{again}");
    database
        .until(
            "nothing is left of it",
            "select not exists (select from dacapo.paused_workflow)",
        )
        .await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_workflow_that_is_paused_stops_at_its_next_boundary_and_keeps_what_it_has() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let played = database.start("slow-step", "2000").await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    database.client.pause_workflow("slow-step").await.unwrap();
    database
        .until(
            "the run is put aside",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'workflow'",
        )
        .await;
    assert_eq!(journal(&database, played).await, ["slow#1 step ok null"]);
    // It may be paused by itself, cancelled or ended meanwhile.
    let cancelled = database.start("slow-step", "1").await;
    database
        .until(
            "another one is put aside",
            "select count(*) = 2 from dacapo.task_suspended where reason = 'workflow'",
        )
        .await;
    assert_eq!(
        database.client.cancel(cancelled).await.unwrap(),
        Cancelled::Now
    );
    database.client.pause(played).await.unwrap();
    database.client.resume_workflow("slow-step").await.unwrap();
    database
        .until(
            "nothing is put aside",
            "select not exists (select from dacapo.task_suspended where reason = 'workflow')",
        )
        .await;
    assert_eq!(
        database.client.get(played).await.unwrap().status,
        Status::Paused
    );
    database.client.resume(played).await.unwrap();
    assert_eq!(database.done(played).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_runs_of_a_paused_workflow_hold_no_other_up_and_all_go_on() {
    let database = database().await;
    database.deploy("probe").await;
    database.client.pause_workflow("nothing").await.unwrap();
    let starts = vec![("null".to_owned(), StartOptions::default()); 3_000];
    database
        .client
        .start_many_by_name("nothing", &starts)
        .await
        .unwrap();
    let worker = worker(&database).await;
    let other = database.start("counted-steps", "3").await;
    assert_eq!(database.done(other).await.status, Status::Completed);
    database
        .until(
            "all are put aside",
            "select count(*) = 3000 from dacapo.task_suspended where reason = 'workflow'",
        )
        .await;
    database.client.resume_workflow("nothing").await.unwrap();
    database
        .until(
            "all are done",
            "select count(*) = 3001 from dacapo.run where status = 'completed'",
        )
        .await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_everything_is_paused_workers_take_nothing_and_give_back_what_they_play() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let played = database.start("slow-step", "2000").await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    let paused = run(
        &database,
        &["queue", "pause", "--all", "--reason", "the bank is down"],
    )
    .await;
    assert!(
        text(&paused.stdout).contains(": the bank is down"),
        "{}",
        text(&paused.stderr)
    );
    let again = run(&database, &["queue", "pause", "--all"]).await;
    assert!(
        text(&again.stderr).contains("nothing changed"),
        "{}",
        text(&again.stderr)
    );
    database
        .until(
            "the worker has given its run back",
            "select not exists (select from dacapo.task_leased) and exists (select from dacapo.task_ready)",
        )
        .await;
    assert_eq!(journal(&database, played).await, ["slow#1 step ok null"]);
    let waits = database.start("nothing", "null").await;
    // A worker that is started meanwhile takes nothing either, whatever else it does: a deadline passes.
    let second = Dacapo::on(&database).worker().await;
    let late = StartOptions::default().deadline(std::time::Duration::from_millis(1));
    let late = database
        .client
        .start_by_name("nothing", "null", late)
        .await
        .unwrap();
    assert_eq!(
        database.done(late.id).await.failure.unwrap().code,
        "deadline"
    );
    for run in [played, waits] {
        assert_eq!(
            database.client.get(run).await.unwrap().status,
            Status::Queued
        );
    }
    let doctor = text(&run(&database, &["doctor"]).await.stdout);
    assert!(
        doctor.contains("all queues are paused") && doctor.contains("the bank is down"),
        "{doctor}"
    );
    let listed = text(&run(&database, &["queue", "list"]).await.stdout);
    assert!(listed.contains("everything is paused since"), "{listed}");

    let resumed = run(&database, &["queue", "resume", "--all"]).await;
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    for run in [played, waits] {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    second.kill().await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_paused_and_resumed_from_the_command_line() {
    let database = database().await;
    database.deploy("probe").await;
    let paused = run(&database, &["workflows", "pause", "nothing"]).await;
    assert!(
        text(&paused.stdout).contains("workflow test:probe/"),
        "{}",
        text(&paused.stderr)
    );
    let listed = text(&run(&database, &["workflows"]).await.stdout);
    assert_eq!(listed.matches("paused since").count(), 1, "{listed}");
    let resumed = run(&database, &["workflows", "resume", "nothing", "-o", "json"]).await;
    let resumed: serde_json::Value = serde_json::from_slice(&resumed.stdout).unwrap();
    assert_eq!(resumed["paused"], false);
    fails(
        &run(&database, &["workflows", "resume", "nothing"]).await,
        1,
        &["is not paused"],
    );
    fails(
        &run(&database, &["workflows", "pause", "nothin"]).await,
        1,
        &["there is no workflow"],
    );
    for arguments in [
        vec!["queue", "pause"],
        vec!["queue", "pause", "a", "--all"],
        vec!["queue", "resume"],
    ] {
        assert_eq!(run(&database, &arguments).await.status.code(), Some(2));
    }
}
