//! Pause, resume, cancel: what is asked of a run from outside.

use dacapo_client::{By, Cancelled, Killed, Paused, Run};
use dacapo_model::{RunId, Status};
use dacapo_tests::database;

use crate::check::{effects, journal, sound, worker};
use crate::command::{fails, run as dacapo, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_the_code_lasts_until_somebody_resumes_the_run() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("pauses", "null").await;
    for pauses in 1..=2 {
        database
            .until(
                "the run pauses",
                "select count(*) = 1 from dacapo.task_suspended where paused",
            )
            .await;
        assert_eq!(
            database.client.get(run).await.unwrap().status,
            Status::Paused
        );
        assert_eq!(journal(&database, run).await.len(), 2 * pauses - 1);
        database.client.resume(run).await.unwrap();
    }
    assert_eq!(database.done(run).await.status, Status::Completed);
    assert_eq!(
        journal(&database, run).await,
        [
            "first#1 pause ok null",
            "between#1 step ok null",
            "second#1 pause ok null"
        ]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_is_woken_by_nothing_but_resume() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("step-wait-step", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    assert_eq!(database.client.pause(run).await.unwrap(), Paused::Now);
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Paused
    );
    let again = database.client.pause(run).await.unwrap_err();
    assert!(again.to_string().contains("paused"), "{again}");
    database.client.resume(run).await.unwrap();
    assert_eq!(database.done(run).await.status, Status::Completed);

    // Nor by time: what is due later is over before it.
    let sleeps = database
        .start("sleeps", r#"{"ms": 1000, "times": 1}"#)
        .await;
    database
        .until(
            "the run sleeps",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    assert_eq!(database.client.pause(sleeps).await.unwrap(), Paused::Now);
    let later = database
        .start("sleeps", r#"{"ms": 1100, "times": 1}"#)
        .await;
    assert_eq!(database.done(later).await.status, Status::Completed);
    assert_eq!(
        database.client.get(sleeps).await.unwrap().status,
        Status::Paused
    );
    database.client.resume(sleeps).await.unwrap();
    assert_eq!(database.done(sleeps).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_run_pauses_at_its_next_boundary() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("slow-step", "1500").await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    assert_eq!(database.client.pause(run).await.unwrap(), Paused::Requested);
    database
        .until(
            "the run pauses",
            "select count(*) = 1 from dacapo.task_suspended where paused",
        )
        .await;
    assert_eq!(
        journal(&database, run).await,
        ["slow#1 step ok null"],
        "the step that was open is kept"
    );
    database.client.resume(run).await.unwrap();
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_can_be_paused_resumed_and_cancelled() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("nothing", "null").await;
    assert_eq!(database.client.pause(run).await.unwrap(), Paused::Now);
    database.client.resume(run).await.unwrap();
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Queued
    );
    assert_eq!(database.client.cancel(run).await.unwrap(), Cancelled::Now);
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Cancelled
    );
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_compensates_before_it_is_cancelled() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("cancel-compensates", "null").await;
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended",
        )
        .await;
    assert_eq!(
        database.client.cancel(run).await.unwrap(),
        Cancelled::Requested
    );
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Cancelled);
    let expected = [
        "reserve#1 step ok null",
        "never#1 wait cancelled",
        "release#1 step ok null",
    ];
    assert_eq!(journal(&database, run).await, expected);
    assert_eq!(effects(&database, run).await, ["effect release"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_a_run_that_is_running() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("slow-step", "1500").await;
    database
        .until(
            "the step has begun",
            "select count(*) = 1 from dacapo.log where message = 'slow begins'",
        )
        .await;
    assert_eq!(
        database.client.cancel(run).await.unwrap(),
        Cancelled::Requested
    );
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Cancelling
    );
    assert_eq!(database.done(run).await.status, Status::Cancelled);
    assert_eq!(
        journal(&database, run).await,
        ["slow#1 step ok null", "next#1 step cancelled"]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_finished_run_does_not_allow_is_a_conflict_that_names_its_status() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("nothing", "null").await;
    database.done(run).await;
    let errors = [
        database.client.pause(run).await.unwrap_err(),
        database.client.resume(run).await.unwrap_err(),
        database.client.cancel(run).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("completed"), "{error}");
    }
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Completed
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_run_can_be_cancelled_and_does_not_forget_it() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for mended in [true, false] {
        let run = database.start("cancel-compensates", "null").await;
        let waits = "select count(*) = 1 from dacapo.task_suspended where reason = 'event'";
        database.until("the run waits", waits).await;
        // Whatever blocks a run: it cannot be played while it is cancelled.
        let blocks = "update dacapo.task_suspended set reason = 'blocked', events = null, blocked = '{\"code\": \"test\"}'";
        sqlx::query(blocks)
            .execute(database.store.pool())
            .await
            .unwrap();
        let asks = "update dacapo.run set cancel_requested_at = now() where status = 'active'";
        sqlx::query(asks)
            .execute(database.store.pool())
            .await
            .unwrap();
        if mended {
            database.client.resume(run).await.unwrap();
            assert_eq!(database.done(run).await.status, Status::Cancelled);
            assert_eq!(
                effects(&database, run).await,
                ["effect release"],
                "its code was told"
            );
        } else {
            assert_eq!(database.client.cancel(run).await.unwrap(), Cancelled::Now);
            assert_eq!(
                database.client.get(run).await.unwrap().status,
                Status::Cancelled
            );
        }
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_paused_resumed_or_cancelled_a_run_is_kept_with_the_reason_and_what_was_refused_is_not()
{
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("step-wait-step", "null").await;
    let forced = database.start("step-wait-step", "null").await;
    let id = run.to_string();
    let typed = async |arguments: &[&str]| {
        let output = dacapo(&database, arguments).await;
        (output.status.code(), text(&output.stderr))
    };
    let incident = ["pause", &id, "--by", "ann", "--reason", "the bank is down"];
    assert_eq!(typed(&incident).await.0, Some(0));
    // It is paused already.
    fails(&dacapo(&database, &incident).await, 1, &["paused"]);
    assert_eq!(typed(&["resume", &id, "--by", "bob"]).await.0, Some(0));
    assert_eq!(typed(&["cancel", &id]).await.0, Some(0));
    let insisted = database.start("step-wait-step", "null").await;
    let killed = insisted.to_string();
    let force = [
        "cancel", &killed, "--force", "--by", "bob", "--reason", "stuck",
    ];
    assert_eq!(typed(&force).await.0, Some(0));
    let by = By {
        who: "ann",
        reason: Some("stuck"),
    };
    assert_eq!(
        database.client.kill_by(forced, by).await.unwrap(),
        Killed::Now
    );

    let kept = |run: &Run| -> Vec<String> {
        let interventions = run.interventions.iter();
        interventions
            .map(|one| format!("{} {} {}", one.action, one.who, one.details.as_str()))
            .collect()
    };
    let seen = database.client.get(run).await.unwrap();
    let me = seen.interventions[2].who.clone();
    assert!(me.contains('@'), "{me}");
    assert_eq!(
        kept(&seen),
        [
            r#"pause ann {"reason":"the bank is down"}"#.to_owned(),
            "resume bob {}".to_owned(),
            format!("cancel {me} {{}}"),
        ]
    );
    let shown = text(&dacapo(&database, &["runs", "show", &id]).await.stdout);
    assert!(
        shown.contains("pause by ann: the bank is down\n"),
        "{shown}"
    );
    assert!(shown.contains("resume by bob\n"), "{shown}");
    for (run, who) in [(forced, "ann"), (insisted, "bob")] {
        let seen = database.client.get(run).await.unwrap();
        assert_eq!(
            kept(&seen),
            [format!(r#"force-cancel {who} {{"reason":"stuck"}}"#)]
        );
        let (at, ended) = (seen.interventions[0].at, seen.finished_at.unwrap());
        assert!(
            seen.created_at <= at && (ended.as_micros() - at.as_micros()).abs() < 5_000_000,
            "kept at {at}, ended at {ended}"
        );
    }

    let long = "x".repeat(1_001);
    for (arguments, says) in [
        (
            ["cancel", &id, "--by", " "],
            "name of who does this: it is empty",
        ),
        (["cancel", &id, "--reason", &long], "reason: "),
    ] {
        fails(&dacapo(&database, &arguments).await, 2, &[says]);
    }
    let unknown = RunId::new();
    let error = database.client.pause_by(unknown, by).await.unwrap_err();
    assert_eq!(error.code(), "run-not-found");
    assert_eq!(
        database
            .count("select count(*) from dacapo.intervention")
            .await,
        5
    );
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_is_kept_when_a_worker_plays_the_run() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("computes", "3000").await;
    database
        .until(
            "the run is played",
            "select count(*) = 1 from dacapo.progress join dacapo.task_leased using (run_id)",
        )
        .await;
    let by = By {
        who: "ann",
        reason: None,
    };
    assert_eq!(
        database.client.pause_by(run, by).await.unwrap(),
        Paused::Requested
    );
    assert_eq!(
        database.client.cancel_by(run, by).await.unwrap(),
        Cancelled::Requested
    );
    assert_eq!(
        database.client.kill_by(run, by).await.unwrap(),
        Killed::Requested
    );
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Cancelled);
    let actions: Vec<&str> = done
        .interventions
        .iter()
        .map(|one| one.action.as_str())
        .collect();
    assert_eq!(actions, ["pause", "cancel", "force-cancel"]);
    worker.drain().await.unwrap();
    sound(&database).await;
}
