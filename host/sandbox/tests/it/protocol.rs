//! Guests that do not keep to the protocol are told what to do instead.

use dacapo_sandbox::{BlockCode, Ending};

use crate::support::{Run, failure, output};

async fn misuse(workflow: &str, input: &str) -> String {
    let (code, message) = failure(Run::new(workflow, input).go().await);
    assert_eq!(code, "misuse", "{message}");
    message
}

#[tokio::test]
async fn a_step_inside_a_step_is_refused() {
    let message = misuse("protocol.nested-steps", "null").await;
    assert!(
        message.starts_with("step `inner` was begun while step `outer#1` is still running"),
        "{message}"
    );
}

#[tokio::test]
async fn a_wait_inside_a_step_is_refused() {
    for (workflow, what) in [
        ("protocol.wait-in-step", "a wait (`go`)"),
        ("protocol.sleep-in-step", "a sleep (`nap`)"),
    ] {
        let message = misuse(workflow, "null").await;
        assert!(
            message.starts_with(&format!("{what} was reached inside step `outer#1`")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn an_attempt_that_is_dropped_is_refused() {
    for workflow in [
        "protocol.dropped-attempt",
        "protocol.dropped-attempt-at-end",
    ] {
        let message = misuse(workflow, "null").await;
        assert_eq!(
            message,
            "the attempt at step `dropped#1` was dropped without an outcome: call `step-end` with it"
        );
    }
}

#[tokio::test]
async fn returning_inside_a_step_is_refused() {
    let message = misuse("protocol.return-in-step", "null").await;
    assert_eq!(
        message,
        "the workflow returned while step `open#1` was open: call `step-end` for each attempt"
    );
}

#[tokio::test]
async fn names_that_keys_cannot_hold_are_refused() {
    for name in ["", "a/b", "a#1", "a\\nb"] {
        let input = format!("\"{name}\"");
        misuse("protocol.step-named", &input).await;
        misuse("protocol.wait-named", &input).await;
    }
    assert_eq!(
        output(
            Run::new("protocol.step-named", "\"Grüße aus dem Schritt\"")
                .go()
                .await
        ),
        "null"
    );
}

#[tokio::test]
async fn an_outcome_that_is_not_json_is_refused() {
    for text in [r#""not json""#, r#""{\"a\":1,\"a\":2}""#, r#""""#] {
        let message = misuse("protocol.record-text", text).await;
        assert!(
            message.starts_with("the outcome of step `s#1` cannot be recorded: "),
            "{message}"
        );
    }
    let deep = format!("\"{}\"", "[".repeat(200_000));
    let (code, _) = failure(Run::new("protocol.record-text", &deep).go().await);
    assert!(code == "misuse" || code == "payload-limit", "{code}");
}

#[tokio::test]
async fn an_outcome_is_recorded_byte_for_byte() {
    let run = Run::new("protocol.record-text", r#""{ \"b\": 1.50,\"a\":null }""#);
    let expected = r#""{ \"b\": 1.50,\"a\":null }""#;
    assert_eq!(output(run.go().await), expected);
    assert_eq!(output(run.go().await), expected);
}

#[tokio::test]
async fn a_rejected_outcome_blocks_the_run() {
    let run = Run::new("protocol.reject", "null");
    run.journal.send("go", "null");
    let ending = run.go().await;
    let Ending::Blocked(reason) = ending else {
        panic!("expected a block: {ending:?}")
    };
    assert_eq!(reason.code, BlockCode::Rejected);
    assert_eq!(
        reason.message,
        "the workflow cannot use what was recorded for step `s`: the probe rejects it on purpose"
    );
}

#[tokio::test]
async fn the_first_attempt_has_the_number_one() {
    assert_eq!(
        output(Run::new("protocol.attempt-number", "null").go().await),
        "1"
    );
}

#[tokio::test]
async fn code_may_fail_its_run_whatever_its_type_says_but_not_inside_of_a_step() {
    let run = Run::new("protocol.fail-run", "false");
    let (code, message) = failure(run.go().await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("own", "the code has had enough")
    );
    let message = misuse("protocol.fail-run", "true").await;
    assert!(
        message.starts_with(
            "the run was to be failed inside step `open#1` (own: the code has had enough)"
        ),
        "{message}"
    );
}
