//! What a test says of the world outside.

use std::time::Duration;

use dacapo_testkit::{Failure, LogSource, RunOutcome, Value, json};

use crate::support::{guest, messages, probe};

#[tokio::test]
async fn a_scripted_step_does_not_run_its_body() {
    let mut run = probe("step-wait-step", Value::Null);
    run.script_step("a", Ok(json!("scripted")))
        .send_event("go", 1);
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<String>().unwrap(), "scripted 1 b");
    assert_eq!(messages(&run), ["effect b"]);
    run.assert_journal(
        r#"
        a#1 step ok "scripted"
        go#1 wait ok 1
        b#1 step ok "b"
        "#,
    );
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn a_name_stands_for_all_uses_and_a_key_for_one() {
    let mut run = probe("counted-steps", json!(4));
    run.script_step("s", Ok(json!(10)))
        .script_step("s#3", Ok(json!(1_000)));
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<u64>().unwrap(), 1_030);
}

#[tokio::test]
async fn a_step_can_be_made_to_fail() {
    let mut run = probe("step-fails", Value::Null);
    run.script_step("charge", Err(Failure::new("down", "the bank is closed")));
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(
        outcome.output::<Value>().unwrap(),
        json!(["down", "the bank is closed"])
    );
    run.assert_journal(
        "charge#1 step failed down: the bank is closed
         release#1 step ok null",
    );
}

#[tokio::test]
async fn scripts_that_nothing_asked_for_are_named() {
    let mut run = probe("step-wait-step", Value::Null);
    run.script_step("a", Ok(json!("a")))
        .script_step("chrage", Ok(Value::Null))
        .resume_pause("first")
        .send_event("go", 1);
    let error = run.run_to_completion().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the run never asked for step `chrage`, pause `first`; what it asked for is `a#1`, `go#1`, `b#1`"
    );
    assert!(
        run.outcome().is_some(),
        "what came of the run can be looked at all the same"
    );
}

#[tokio::test]
async fn a_run_that_waits_for_what_nobody_sends_says_so() {
    let mut run = probe("step-wait-step", Value::Null);
    run.send_event("gone", 1);
    let error = run.run_to_completion().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the run waits for ever: for the event `go`, at `go#1`; send one with `send_event`; sent, and not taken: `gone`"
    );
    // What was missing can still be said.
    run.send_event("go", 1);
    run.run_to_completion().await.unwrap();
}

#[tokio::test]
async fn a_workflow_that_pauses_waits_for_a_person() {
    let mut run = probe("pauses", Value::Null);
    let error = run.run_to_completion().await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the run waits for ever: for somebody to resume it, since it paused itself, at `first#1`; script that with `resume_pause`, or \
         `resume_at`"
    );
    let mut run = probe("pauses", Value::Null);
    run.resume_pause("first").resume_at(Duration::from_secs(9));
    run.run_to_completion().await.unwrap();
    assert_eq!(run.elapsed(), Duration::from_secs(9));
    run.assert_journal(
        "first#1 pause ok null
         between#1 step ok null
         second#1 pause ok null",
    );
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn a_run_can_be_paused_and_resumed_from_outside() {
    let mut run = probe("effects", json!(2));
    run.pause();
    let error = run.run_to_completion().await.unwrap_err().to_string();
    assert!(error.contains("since somebody paused it"), "{error}");
    assert_eq!(messages(&run), Vec::<String>::new());
    run.resume();
    run.run_to_completion().await.unwrap();
    assert_eq!(messages(&run), ["effect s#1", "effect s#2"]);
}

#[tokio::test]
async fn a_resume_of_a_run_that_is_not_paused_is_a_mistake() {
    let mut run = probe("sleeps", json!({ "ms": 10_000, "times": 1 }));
    run.resume_at(Duration::from_secs(5));
    assert_eq!(
        run.run_to_completion().await.unwrap_err().to_string(),
        "the run was to be resumed 5s after its start, but was not paused then"
    );
}

#[tokio::test]
async fn a_cancel_reaches_a_waiting_run_which_compensates() {
    let mut run = probe("cancel-compensates", Value::Null);
    run.cancel_at(Duration::from_secs(60));
    let outcome = run.run_to_completion().await.unwrap();
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome}");
    assert_eq!(run.elapsed(), Duration::from_secs(60));
    run.assert_journal(
        "reserve#1 step ok null
         never#1 wait cancelled
         release#1 step ok null",
    );
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn people_and_time_together_approve_a_request() {
    let input = json!({ "employee": "Ada", "purpose": "a book", "amountCents": 100_000, "coolingOffSeconds": 86_400 });
    let mut run = guest("approval").run("approve", input).unwrap();
    run.resume_pause("completeness-check")
        .send_event(
            "manager-decision",
            json!({ "by": "Grace", "approved": true }),
        )
        .send_event_at(
            Duration::from_secs(3_600),
            "finance-decision",
            json!({ "by": "Mary", "approved": true }),
        );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(
        outcome.output::<Value>().unwrap(),
        json!({ "tag": "approved", "val": ["Grace", "Mary"] })
    );
    assert_eq!(run.elapsed(), Duration::from_secs(90_000));
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn events_that_the_workflow_does_not_declare_cannot_be_sent_to_it() {
    let input =
        json!({ "employee": "Ada", "purpose": "a book", "amountCents": 1, "coolingOffSeconds": 0 });
    for (name, payload, message) in [
        (
            "manager-decison",
            json!(null),
            "there is no event manager-decison",
        ),
        (
            "manager-decision",
            json!({ "by": "Grace", "approved": 1 }),
            "payload.approved: expected bool, got 1",
        ),
    ] {
        let mut run = guest("approval").run("approve", &input).unwrap();
        let refused = run.send_event(name, payload).run_to_completion().await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
    }
}

#[tokio::test]
async fn logs_name_their_step_and_their_virtual_time() {
    let mut run = probe("step-wait-step", Value::Null);
    run.send_event_at(Duration::from_secs(7), "go", 1);
    run.run_to_completion().await.unwrap();
    let logs = run.logs();
    let line = logs.last().unwrap();
    assert_eq!(line.step.as_ref().unwrap().as_str(), "b#1");
    assert_eq!(
        (line.message.as_str(), line.source),
        ("effect b", LogSource::Log)
    );
    assert_eq!(line.at, run.now());
}

#[tokio::test]
async fn a_run_knows_its_id_its_labels_and_its_start() {
    let mut run = probe("about", Value::Null);
    run.label("tenant", "a");
    let lines: Vec<String> = run.run_to_completion().await.unwrap().output().unwrap();
    assert_eq!(
        lines,
        [
            "01b8dac5-b400-7000-8000-000000000001",
            "test:probe/visible.about",
            "1893456000000",
            "tenant=a"
        ]
    );
    run.label("tenant", "b");
    let error = run.run_to_completion().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "labels must be given before the run is played"
    );
}

#[tokio::test]
#[should_panic(expected = "+ b#1 step ok \"b\"")]
async fn a_journal_that_is_not_the_expected_one_is_shown_with_what_differs() {
    let mut run = probe("step-wait-step", Value::Null);
    run.send_event("go", 1).run_to_completion().await.unwrap();
    run.assert_journal(
        "a#1 step ok …
         go#1 wait ok 1",
    );
}

#[tokio::test]
async fn how_far_a_run_has_said_that_it_is_can_be_asked() {
    let mut run = probe("loops", json!(3));
    assert_eq!(run.progress(), None);
    run.send_event("go", 1).send_event("more", 1);
    run.run_to_completion().await.unwrap();
    let said = run.progress().unwrap();
    assert_eq!(
        (said.done, said.total, said.note.as_deref()),
        (1, 2, Some("in the body"))
    );
    run.crash_everywhere().await.unwrap();
}
