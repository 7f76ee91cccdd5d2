//! Going back: `rerun`, `retry`, `skip`, one by one and for all that a filter finds.

use std::time::Duration;

use dacapo_client::{
    Change, ClientError, OnDeployment, RerunOptions, Run, RunFilter, SkipOptions, Skipped,
    StartOptions, Status,
};
use dacapo_model::RunId;
use dacapo_tests::{Database, database};

use crate::check::{bodies_once, effects, journal, sound, worker};
use crate::command::{fails, run as dacapo, text};

const ANN: &str = "ann@desk";

const ONE_WAITS: &str = "select count(*) = 1 from dacapo.task_suspended where reason = 'event'";

fn from(step: &str) -> RerunOptions {
    RerunOptions {
        from: Some(step.to_owned()),
        ..RerunOptions::default()
    }
}

fn skip(step: Option<&str>, value: Option<&str>) -> SkipOptions {
    SkipOptions {
        step: step.map(str::to_owned),
        value: value.map(str::to_owned),
    }
}

fn output(run: &Run) -> String {
    assert_eq!(run.status, Status::Completed, "{run:#?}");
    run.output.as_ref().unwrap().as_str().to_owned()
}

/// What people did to a run, as lines: `action by who details`.
async fn interventions(database: &Database, run: RunId) -> Vec<String> {
    let run = database.client.get(run).await.unwrap();
    let line = |one: &dacapo_client::Intervention| {
        format!("{} by {} {}", one.action, one.who, one.details.as_str())
    };
    run.interventions.iter().map(line).collect()
}

/// Waits until a run fails.
async fn failed(database: &Database, run: RunId) -> Run {
    let run = database.done(run).await;
    assert_eq!(run.status, Status::Failed, "{run:#?}");
    run
}

/// Waits until a run is suspended.
async fn waits(database: &Database, run: RunId) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let now = database.client.get(run).await.unwrap();
        if now.waiting_for.is_some() {
            return;
        }
        assert!(!now.status.is_terminal(), "{now:#?}");
        assert!(tokio::time::Instant::now() < deadline, "{now:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_is_a_new_run_with_the_same_input_and_labels() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let options = StartOptions::keyed("one")
        .label("tenant", "a")
        .deadline(Duration::from_secs(3_600));
    let old = database.client.start_by_name("effects", "3", options).await;
    let old = old.unwrap().id;
    database.done(old).await;
    let new = database
        .client
        .rerun(old, &RerunOptions::default(), ANN)
        .await
        .unwrap();
    let (old, new) = (database.done(old).await, database.done(new).await);
    assert_ne!(old.id, new.id);
    assert_eq!(new.status, Status::Completed);
    assert_eq!(
        (&old.workflow, &old.input, &old.labels, &old.deployment),
        (&new.workflow, &new.input, &new.labels, &new.deployment)
    );
    let allowed = |run: &Run| run.deadline.unwrap().as_micros() - run.created_at.as_micros();
    assert!((allowed(&old) - allowed(&new)).abs() < 1_000_000);
    assert_eq!(
        effects(&database, new.id).await,
        ["effect s#1", "effect s#2", "effect s#3"],
        "all of it happens again"
    );
    assert_eq!(
        interventions(&database, old.id).await,
        [format!(
            "rerun by {ANN} {{\"run\" : \"{}\", \"from\" : null}}",
            new.id
        )]
    );
    assert_eq!(
        interventions(&database, new.id).await,
        [format!(
            "rerun-of by {ANN} {{\"run\" : \"{}\", \"from\" : null}}",
            old.id
        )]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_goes_to_the_active_deployment_unless_it_is_to_stay() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let old = database.start("changes.same", "null").await;
    database
        .client
        .send_event(old, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(output(&database.done(old).await), "\"old reserve\"");
    let gone = database.start("counted-steps", "1").await;
    database.done(gone).await;
    // A workflow that takes another input than the run was started with.
    let takes = async |before: &str, now: &str| {
        sqlx::query("update dacapo.workflow set schema = replace(schema, $1, $2) where name like '%.counted-steps'")
            .bind(before)
            .bind(now)
            .execute(database.store.pool())
            .await
            .unwrap();
    };
    takes("\"u32\"", "\"string\"").await;
    let client = dacapo_client::Client::new(database.store.clone());
    let refused = client
        .rerun(gone, &RerunOptions::default(), ANN)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::BadInput { .. }), "{refused}");
    assert!(interventions(&database, gone).await.is_empty());
    takes("\"string\"", "\"u32\"").await;
    database.deploy("probe2").await;
    let same = RerunOptions {
        deployment: OnDeployment::Own,
        ..RerunOptions::default()
    };
    for (options, number, expected) in [
        (RerunOptions::default(), 2, "\"new reserve\""),
        (same.clone(), 1, "\"old reserve\""),
        // What is copied is what the old code recorded.
        (from("go#1"), 2, "\"old reserve\""),
    ] {
        let new = database.client.rerun(old, &options, ANN).await.unwrap();
        database
            .client
            .send_event(new, "go", "1", None)
            .await
            .unwrap();
        let new = database.done(new).await;
        assert_eq!(
            (output(&new).as_str(), new.deployment.number),
            (expected, number)
        );
    }
    // A workflow that the active deployment has not got.
    let refused = database
        .client
        .rerun(gone, &RerunOptions::default(), ANN)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ClientError::UnknownWorkflow { .. }),
        "{refused}"
    );
    let new = database.client.rerun(gone, &same, ANN).await.unwrap();
    assert_eq!(output(&database.done(new).await), "1");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_from_a_step_has_all_before_it_and_takes_no_event_twice() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let old = database.start("step-wait-step", "null").await;
    for (event, id) in [("other", "a"), ("go", "b"), ("go", "c")] {
        database
            .client
            .send_event(old, event, "1", Some(id))
            .await
            .unwrap();
    }
    assert_eq!(output(&database.done(old).await), "\"a 1 b\"");
    // Behind the wait: the event that it took came along, the others did not.
    let new = database.client.rerun(old, &from("b#1"), ANN).await.unwrap();
    assert_eq!(output(&database.done(new).await), "\"a 1 b\"");
    assert_eq!(journal(&database, new).await, journal(&database, old).await);
    assert_eq!(effects(&database, new).await, ["effect b"]);
    let events: Vec<(i32, String, Option<String>)> =
        sqlx::query_as("select seq, name, taken_by from dacapo.event where run_id = $1")
            .bind(new.0)
            .fetch_all(database.store.pool())
            .await
            .unwrap();
    assert_eq!(events, [(2, "go".to_owned(), Some("go#1".to_owned()))]);
    // At the wait: it waits again, and the same delivery is known only where it was taken.
    let new = database
        .client
        .rerun(old, &from("go#1"), ANN)
        .await
        .unwrap();
    database.until("the new run waits", ONE_WAITS).await;
    assert_eq!(journal(&database, new).await.len(), 2);
    database
        .client
        .send_event(new, "go", "2", Some("b"))
        .await
        .unwrap();
    assert_eq!(output(&database.done(new).await), "\"a 2 b\"");
    assert_eq!(effects(&database, new).await, ["effect b"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_sent_to_a_rerun_comes_after_those_that_were_copied() {
    let database = database().await;
    database.deploy("probe").await;
    let old = database.start("events", r#"["x", "x", "x"]"#).await;
    for payload in ["1", "2", "3"] {
        database
            .client
            .send_event(old, "x", payload, None)
            .await
            .unwrap();
    }
    let worker = worker(&database).await;
    database.done(old).await;
    let new = database.client.rerun(old, &from("x#3"), ANN).await.unwrap();
    database
        .client
        .send_event(new, "x", "4", None)
        .await
        .unwrap();
    assert_eq!(output(&database.done(new).await), r#"["1","2","4"]"#);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_from_a_step_keeps_attempts_times_and_randomness() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    // The code compares what it saw before its sleeps with what a replay shows.
    let old = database.start("clock", "null").await;
    database.done(old).await;
    let client = &database.client;
    let again = client.rerun(old, &from("nap#2"), ANN).await.unwrap();
    database.done(again).await;
    let other = client.rerun(again, &from("nap#2"), ANN).await.unwrap();
    for run in [again, other] {
        let seen: serde_json::Value =
            serde_json::from_str(&output(&database.done(run).await)).unwrap();
        assert_eq!(seen["first"], seen["again"], "{seen:#}");
    }
    let plan = r#"{"bad": 9, "attempts": 2, "backoffMs": 1, "how": "fail"}"#;
    let old = database.start("flaky", plan).await;
    failed(&database, old).await;
    let new = database
        .client
        .rerun(old, &from("undo#1"), ANN)
        .await
        .unwrap();
    failed(&database, new).await;
    let mut attempts = Vec::new();
    for run in [old, new] {
        let run = client.get(run).await.unwrap();
        attempts.push(run.steps[0].failed_attempts.clone());
    }
    assert_eq!(attempts[0].len(), 2);
    assert_eq!(attempts[0], attempts[1]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_again_is_refused_and_changes_nothing() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let waiting = database.start("step-wait-step", "null").await;
    database.until("the run waits", ONE_WAITS).await;
    let client = &database.client;
    let rerun = RerunOptions::default();
    let refused = client.rerun(waiting, &rerun, ANN).await.unwrap_err();
    assert!(
        refused.to_string().contains("cannot rerun") && refused.to_string().contains("suspended"),
        "{refused}"
    );
    client.cancel(waiting).await.unwrap();
    database.done(waiting).await;
    let refused = client.rerun(waiting, &from("c#1"), ANN).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("run {waiting} has no step \"c#1\": it has a#1, go#1")
    );
    let nobody = RunId::new();
    let refused = client.rerun(nobody, &rerun, ANN).await.unwrap_err();
    assert!(matches!(refused, ClientError::RunNotFound(_)), "{refused}");
    let refused = client.rerun(waiting, &rerun, " ").await.unwrap_err();
    assert!(
        matches!(refused, ClientError::BadArgument { .. }),
        "{refused}"
    );
    assert_eq!(database.count("select count(*) from dacapo.run").await, 1);
    assert!(interventions(&database, waiting).await.is_empty());
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_goes_on_from_its_failed_step_with_the_attempts_that_it_has_made() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let plan = r#"{"bad": 3, "attempts": 2, "backoffMs": 1, "how": "fail"}"#;
    let run = database.start("flaky", plan).await;
    failed(&database, run).await;
    assert_eq!(
        database.client.plan_retry(run).await.unwrap().removed.len(),
        1
    );
    // It fails once more.
    let plan = database.client.retry(run, ANN).await.unwrap();
    assert_eq!(plan.opened[0].as_str(), "flaky#1");
    assert_eq!(plan.removed.len(), 1);
    failed(&database, run).await;
    assert_eq!(
        journal(&database, run).await.len(),
        2,
        "it has compensated again"
    );
    database.client.retry(run, ANN).await.unwrap();
    let run = database.done(run).await;
    assert_eq!(output(&run), "4");
    assert_eq!(journal(&database, run.id).await, ["flaky#1 step ok 4"]);
    let numbers: Vec<u32> = run.steps[0]
        .failed_attempts
        .iter()
        .map(|one| one.number)
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(run.failure, None);
    assert_eq!(
        database
            .count("select count(*) from dacapo.unsuccessful")
            .await,
        0
    );
    let done = interventions(&database, run.id).await;
    assert_eq!(done.len(), 2);
    for word in [
        "retry by ann@desk",
        "\"opened\" : [\"flaky#1\"]",
        "[\"undo#1\"]",
        "\"busy\"",
    ] {
        assert!(done[0].contains(word), "{word} is missing: {done:?}");
    }
    // Of two failed steps it is the last one.
    let run = database.start("fails-twice", "2").await;
    failed(&database, run).await;
    let plan = database.client.retry(run, ANN).await.unwrap();
    assert_eq!(plan.opened[0].as_str(), "charge#1");
    assert!(plan.removed.is_empty(), "{:?}", plan.removed);
    assert_eq!(output(&database.done(run).await), "2");
    assert_eq!(
        effects(&database, run).await,
        ["effect first", "effect charge 1", "effect charge 2"]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wait_took_that_a_retry_removes_can_be_taken_again() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("fails-and-waits", "3").await;
    for payload in ["1", "2"] {
        database
            .client
            .send_event(run, "go", payload, None)
            .await
            .unwrap();
    }
    assert_eq!(failed(&database, run).await.failure.unwrap().message, "1");
    let plan = database.client.retry(run, ANN).await.unwrap();
    assert_eq!(plan.removed.len(), 1);
    assert_eq!(
        failed(&database, run).await.failure.unwrap().message,
        "1",
        "the event that the wait took is there again"
    );
    database.client.retry(run, ANN).await.unwrap();
    assert_eq!(output(&database.done(run).await), "3");
    assert_eq!(
        effects(&database, run).await,
        [
            "effect reserve",
            "effect charge 1",
            "effect charge 2",
            "effect charge 3"
        ],
        "what came before the failed step does not run again"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_removes_nothing_that_did_not_lead_to_the_end_of_the_run() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    // A trap right behind a failed step: that is why.
    let run = database.start("fails-and-traps", "2").await;
    assert_eq!(failed(&database, run).await.failure.unwrap().code, "trap");
    database.client.retry(run, ANN).await.unwrap();
    assert_eq!(output(&database.done(run).await), "2");
    // A trap further on: the failed step was borne, and what came after it is kept.
    let run = database.start("fails-and-goes-on", "null").await;
    failed(&database, run).await;
    let plan = database.client.retry(run, ANN).await.unwrap();
    assert_eq!((plan.opened.len(), plan.removed.len()), (0, 0));
    failed(&database, run).await;
    assert_eq!(
        effects(&database, run).await,
        ["effect charge 1", "effect note"]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_retried_and_run_again_without_those_beside_it() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("branches.one-fails", "null").await;
    failed(&database, run).await;
    let rows = "select key, position, kind, outcome, finished_at::text from dacapo.step
        where run_id = $1 and key !~ '^three#1(/1.*)?$' order by key";
    let beside = async || -> Vec<(String, i32, String, String, String)> {
        sqlx::query_as(rows)
            .bind(run.0)
            .fetch_all(database.store.pool())
            .await
            .unwrap()
    };
    let before = beside().await;
    assert_eq!(before.len(), 4, "{before:?}");

    let plan = database.client.retry(run, ANN).await.unwrap();
    assert_eq!(
        plan.opened.first().map(ToString::to_string).as_deref(),
        Some("three#1/1/work#1")
    );
    // It cannot be mended, and so fails again: what matters is that nothing else was done again.
    let again = failed(&database, run).await;
    assert_eq!(again.failure.unwrap().message, "one cannot");
    assert_eq!(beside().await, before);
    let attempts = database.count("select count(*) from dacapo.attempt").await;
    assert_eq!(attempts, 2);

    // The same from a step of a branch: the fork is open again, and the branches before the step are there.
    let rerun = database
        .client
        .rerun(run, &from("three#1/1/work#1"), ANN)
        .await
        .unwrap();
    let rerun = failed(&database, rerun).await;
    assert_eq!(rerun.failure.unwrap().message, "one cannot");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_deadline_had_passed_goes_on_where_it_was_and_has_as_long_again() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    // Loads the code, so that the deadline does not pass meanwhile.
    let first = database.start("nothing", "null").await;
    database.done(first).await;
    let options = StartOptions::default().deadline(Duration::from_secs(2));
    let naps = r#"{"ms": 3600000, "times": 1}"#;
    let run = database.client.start_by_name("sleeps", naps, options).await;
    let run = run.unwrap().id;
    let ended = failed(&database, run).await;
    assert_eq!(ended.failure.unwrap().code, "deadline");
    database.client.retry(run, ANN).await.unwrap();
    waits(&database, run).await;
    let again = database.client.get(run).await.unwrap();
    let longer = again.deadline.unwrap().as_micros() - ended.deadline.unwrap().as_micros();
    assert!(longer >= 2_000_000, "{longer}");
    assert_eq!(
        again.steps[0].due, ended.steps[0].due,
        "it still sleeps as long as it was to"
    );
    // And it holds.
    assert_eq!(
        failed(&database, run).await.failure.unwrap().code,
        "deadline"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_failed_run_with_a_failed_step_can_be_retried_and_only_once() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    let queued = database.start("effects", "1").await;
    let refused = client.retry(queued, ANN).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ClientError::Conflict {
                status: Status::Queued,
                ..
            }
        ),
        "{refused}"
    );
    let worker = worker(&database).await;
    database.done(queued).await;
    let refused = client.retry(queued, ANN).await.unwrap_err();
    assert!(refused.to_string().contains("completed"), "{refused}");
    // Its code returned an error, and would again.
    let run = database.start("typed-event", "null").await;
    client.send_event(run, "n", "\"x\"", None).await.unwrap();
    failed(&database, run).await;
    let refused = client.retry(run, ANN).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::NothingFailed(_)),
        "{refused}"
    );
    assert!(interventions(&database, run).await.is_empty());
    // Of rivals one wins.
    let run = database.start("fails-and-traps", "2").await;
    failed(&database, run).await;
    worker.drain().await.unwrap();
    let rivals: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.retry(run, ANN).await })
        })
        .collect();
    let mut won = 0;
    for rival in rivals {
        match rival.await.unwrap() {
            Ok(_) => won += 1,
            Err(refused) => assert!(
                matches!(
                    refused,
                    ClientError::Conflict {
                        status: Status::Queued,
                        ..
                    }
                ),
                "{refused}"
            ),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(interventions(&database, run).await.len(), 1);
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_waits_for_can_be_finished_in_its_place() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    // A wait, whose event comes too late.
    let run = database.start("step-wait-step", "null").await;
    waits(&database, run).await;
    let done = client.skip(run, &skip(None, Some("7")), ANN).await.unwrap();
    assert_eq!(
        (done.step.as_str(), done.skipped),
        ("go#1", Skipped::GoesOn)
    );
    assert_eq!(output(&database.done(run).await), "\"a 7 b\"");
    bodies_once(&database, run).await;
    assert_eq!(
        interventions(&database, run).await,
        ["skip by ann@desk {\"step\" : \"go#1\", \"was\" : null}"]
    );
    // A wait for any of several events.
    let run = database.start("any-event", r#"["paid", "refused"]"#).await;
    waits(&database, run).await;
    for bad in [None, Some("1"), Some(r#"["lost", 1]"#)] {
        let refused = client.skip(run, &skip(None, bad), ANN).await.unwrap_err();
        assert!(refused.to_string().contains("paid, refused"), "{refused}");
    }
    let value = skip(Some("any#1"), Some(r#"["paid", {"a": 1}]"#));
    client.skip(run, &value, ANN).await.unwrap();
    assert_eq!(
        output(&database.done(run).await),
        r#"["paid","{\"a\": 1}"]"#
    );
    // A sleep and a pause, which have no value.
    for (workflow, input, step) in [
        ("sleeps", r#"{"ms": 3600000, "times": 1}"#, "nap#1"),
        ("pauses", "null", "first#1"),
    ] {
        let run = database.start(workflow, input).await;
        waits(&database, run).await;
        let refused = client
            .skip(run, &skip(None, Some("1")), ANN)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("has no value"), "{refused}");
        client
            .skip(run, &skip(Some(step), None), ANN)
            .await
            .unwrap();
        if workflow == "pauses" {
            waits(&database, run).await;
            client
                .skip(run, &skip(Some("second#1"), None), ANN)
                .await
                .unwrap();
        }
        assert_eq!(output(&database.done(run).await), "null");
    }
    // A step that waits for its next attempt.
    let plan = r#"{"bad": 9, "attempts": 9, "backoffMs": 3600000, "how": "fail"}"#;
    let run = database.start("flaky", plan).await;
    waits(&database, run).await;
    client.skip(run, &skip(None, Some("5")), ANN).await.unwrap();
    let run = database.done(run).await;
    assert_eq!(output(&run), "5");
    assert_eq!(run.steps[0].attempts, 1, "nobody tried a second time");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_stays_paused_when_what_it_waits_for_is_finished() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let run = database.start("step-wait-step", "null").await;
    waits(&database, run).await;
    client.pause(run).await.unwrap();
    let done = client.skip(run, &skip(None, Some("7")), ANN).await.unwrap();
    assert_eq!(done.skipped, Skipped::StaysPaused);
    assert_eq!(client.get(run).await.unwrap().status, Status::Paused);
    client.resume(run).await.unwrap();
    assert_eq!(output(&database.done(run).await), "\"a 7 b\"");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_code_of_a_blocked_run_cannot_use_is_recorded_anew() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let plan = r#"{"bad": 9, "attempts": 9, "backoffMs": 3600000, "how": "fail"}"#;
    let run = database.start("flaky", plan).await;
    waits(&database, run).await;
    client
        .skip(run, &skip(None, Some("\"x\"")), ANN)
        .await
        .unwrap();
    let blocked = "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'";
    database.until("the run is blocked", blocked).await;
    let refused = client
        .skip(run, &skip(None, Some("5")), ANN)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::NotOpen { .. }), "{refused}");
    let refused = client
        .skip(run, &skip(Some("undo#1"), None), ANN)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::NotOpen { .. }), "{refused}");
    client
        .skip(run, &skip(Some("flaky#1"), Some("5")), ANN)
        .await
        .unwrap();
    assert_eq!(output(&database.done(run).await), "5");
    let done = interventions(&database, run).await;
    assert!(done[1].contains("\"was\" : \"x\""), "{done:?}");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_finished_in_a_run_that_is_played_queued_or_over() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    let run = database.start("slow-step", "1500").await;
    let nothing = skip(None, None);
    let refused = client.skip(run, &nothing, ANN).await.unwrap_err();
    assert!(refused.to_string().contains("queued"), "{refused}");
    let worker = worker(&database).await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    let refused = client.skip(run, &nothing, ANN).await.unwrap_err();
    assert!(refused.to_string().contains("running"), "{refused}");
    database.done(run).await;
    let refused = client.skip(run, &nothing, ANN).await.unwrap_err();
    assert!(refused.to_string().contains("completed"), "{refused}");
    let run = database.start("step-wait-step", "null").await;
    waits(&database, run).await;
    for step in ["a#1", "b#1"] {
        let refused = client
            .skip(run, &skip(Some(step), None), ANN)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("it waits for go#1"),
            "{refused}"
        );
    }
    assert!(interventions(&database, run).await.is_empty());
    worker.drain().await.unwrap();
    // What it waits for has come, and nobody has looked yet.
    client.send_event(run, "go", "1", None).await.unwrap();
    let refused = client
        .skip(run, &skip(Some("go#1"), Some("7")), ANN)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("queued"), "{refused}");
    let worker = crate::check::worker(&database).await;
    assert_eq!(output(&database.done(run).await), "\"a 1 b\"");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_runs_that_a_filter_finds_are_changed_and_no_other() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let mut all = Vec::new();
    for (label, good) in [("a", 2), ("a", 2), ("b", 2), ("a", 1)] {
        let options = StartOptions::default().label("tenant", label);
        let good = good.to_string();
        let run = client
            .start_by_name("fails-and-traps", &good, options)
            .await;
        all.push(database.done(run.unwrap().id).await);
    }
    let filter = RunFilter {
        labels: [("tenant".to_owned(), "a".to_owned())].into(),
        ..RunFilter::default()
    };
    let rerun = |from: Option<&str>| {
        Change::Rerun(RerunOptions {
            from: from.map(str::to_owned),
            ..RerunOptions::default()
        })
    };
    for (change, expected) in [
        (Change::Retry, 2),
        (rerun(None), 3),
        (rerun(Some("charge#1")), 3),
        (rerun(Some("other#1")), 0),
        (Change::Skip(SkipOptions::default()), 0),
    ] {
        let count = client.count_changes(filter.clone(), &change).await.unwrap();
        assert_eq!(count, expected, "{change:?}");
    }
    assert_eq!(
        database
            .count("select count(*) from dacapo.intervention")
            .await,
        0
    );
    let done = client
        .change_many(filter.clone(), &Change::Retry, ANN)
        .await
        .unwrap();
    let changed: Vec<RunId> = done.changed.iter().map(|one| one.run).collect();
    assert_eq!(changed, [all[1].id, all[0].id], "the newest first");
    assert!(done.refused.is_empty() && done.stopped.is_none());
    for run in changed {
        assert_eq!(output(&database.done(run).await), "2");
    }
    assert_eq!(client.get(all[2].id).await.unwrap().status, Status::Failed);
    let done = client
        .change_many(filter.clone(), &rerun(None), ANN)
        .await
        .unwrap();
    assert_eq!(done.changed.len(), 3);
    for changed in &done.changed {
        database.done(changed.new_run.unwrap()).await;
    }
    // A status that never allows it.
    let filter = RunFilter {
        status: Some(Status::Completed),
        ..filter
    };
    let refused = client
        .change_many(filter, &Change::Retry, ANN)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("expected failed"), "{refused}");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_go_back_and_say_what_they_did() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("fails-and-waits", "2").await;
    let id = run.to_string();
    waits(&database, run).await;
    let skipped = dacapo(
        &database,
        &["skip", &id, "--value", "\"lost\"", "--by", "bob"],
    )
    .await;
    assert!(
        text(&skipped.stdout).contains("goes on without go#1"),
        "{}",
        text(&skipped.stderr)
    );
    failed(&database, run).await;
    let planned = dacapo(&database, &["retry", &id, "--dry-run"]).await;
    assert_eq!(
        text(&planned.stdout).trim(),
        format!("run {id} would go on from charge#1, without go#1")
    );
    let retried = dacapo(&database, &["retry", &id, "--by", "bob"]).await;
    assert_eq!(
        text(&retried.stdout).trim(),
        format!("run {id} goes on from charge#1, without go#1")
    );
    database.done(run).await;
    let rerun = dacapo(&database, &["rerun", &id, "--from", "charge#1"]).await;
    let new = text(&rerun.stdout).trim().to_owned();
    let shown = text(&dacapo(&database, &["runs", "show", &id]).await.stdout);
    for line in [
        "skip by bob of go#1".to_owned(),
        "retry by bob from charge#1, without go#1".to_owned(),
        format!(" as {new} from charge#1"),
    ] {
        assert!(shown.contains(&line), "{line} is missing: {shown}");
    }
    let shown = dacapo(&database, &["runs", "show", &new, "-o", "json"]).await;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let done = &shown["interventions"][0];
    assert_eq!(
        (&done["action"], &done["details"]["run"]),
        (&"rerun-of".into(), &id.as_str().into())
    );
    // Without a name it is the user's on this machine.
    assert!(done["who"].as_str().unwrap().contains('@'), "{done}");

    fails(
        &dacapo(&database, &["rerun"]).await,
        2,
        &["no run was named", "--label"],
    );
    fails(
        &dacapo(&database, &["retry", &id, "--workflow", "w:w/w.w"]).await,
        2,
        &["expected one of them"],
    );
    fails(
        &dacapo(&database, &["retry", &id]).await,
        1,
        &["cannot retry", "completed", "dacapo rerun"],
    );
    fails(
        &dacapo(&database, &["skip", &id, "--value", "{"]).await,
        1,
        &["completed"],
    );
    fails(
        &dacapo(&database, &["skip", &id, "--dry-run"]).await,
        2,
        &["--dry-run counts"],
    );
    for _ in 0..2 {
        let other = database.start("effects", "1").await;
        database.done(other).await;
    }
    let bulk = ["rerun", "--status", "completed", "--dry-run"];
    let counted = dacapo(&database, &bulk).await;
    assert_eq!(
        text(&counted.stdout).trim(),
        "3 runs would be started again"
    );
    // Those that cannot be keep no other from being changed.
    let bulk = ["rerun", "--status", "completed", "--from", "charge#1"];
    let some = dacapo(&database, &bulk).await;
    fails(
        &some,
        1,
        &["2 of 3 runs", "has no step \"charge#1\": it has s#1"],
    );
    let said = text(&some.stdout);
    assert!(
        said.contains(&format!("{id} as ")) && said.contains("1 run was started again"),
        "{said}"
    );
    let bulk = ["retry", "--status", "failed", "-o", "json"];
    let none = dacapo(&database, &bulk).await;
    let none: serde_json::Value = serde_json::from_slice(&none.stdout).unwrap();
    assert_eq!(none, serde_json::json!({ "changed": [], "refused": [] }));
    worker.drain().await.unwrap();
    sound(&database).await;
}
