//! Code that changes under a run: what would run a step again blocks the run, and what is safe goes on.

use dacapo_sandbox::{BlockCode, Ending};

use crate::support::{Run, output, probe2};

/// Plays the old code up to its wait, and then the new code.
async fn change(workflow: &str) -> (Ending, Run) {
    let run = Run::new(&format!("changes.{workflow}"), "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal.send("go", "null");
    run.journal.send("start", "null");
    run.journal.forget_trace();
    (run.go_on(probe2()).await, run)
}

async fn blocked(workflow: &str, expected: &str) {
    let (ending, run) = change(workflow).await;
    let Ending::Blocked(reason) = ending else {
        panic!("{workflow}: expected a block: {ending:?}")
    };
    assert_eq!(reason.code, BlockCode::Mismatch);
    assert_eq!(reason.message, expected, "{workflow}");
    assert!(
        reason
            .details
            .is_some_and(|details| details.as_str().contains("recorded")),
        "both sides are there as data"
    );
    assert!(
        run.journal
            .trace()
            .iter()
            .all(|line| !line.ends_with(" ok")),
        "nothing was done: {:?}",
        run.journal.trace()
    );

    // The old code still can go on.
    assert!(matches!(run.go().await, Ending::Completed(_)), "{workflow}");
}

#[tokio::test]
async fn a_renamed_step_blocks() {
    blocked(
        "renamed",
        "the code asks for a step `book#1`, but the journal still has `reserve#1`, `go#1`, which the code has not asked for \
         (inserted, renamed or removed?)",
    )
    .await;
}

#[tokio::test]
async fn another_kind_blocks() {
    blocked(
        "kind-changed",
        "the code asks for a sleep `reserve#1`, but the journal has a step under that key, at position 1",
    )
    .await;
}

#[tokio::test]
async fn an_inserted_step_blocks() {
    blocked(
        "inserted",
        "the code asks for a step `check#1`, but the journal still has `reserve#1`, `go#1`, which the code has not asked for \
         (inserted, renamed or removed?)",
    )
    .await;
}

#[tokio::test]
async fn a_step_that_is_gone_blocks() {
    blocked(
        "dropped",
        "the code asks for a wait `go#1`, but the journal still has `reserve#1`, which the code has not asked for \
         (inserted, renamed or removed?)",
    )
    .await;
}

#[tokio::test]
async fn another_event_blocks() {
    blocked(
        "other-event",
        "the code asks for a wait `start#1`, but the journal still has `go#1`, which the code has not asked for \
         (inserted, renamed or removed?)",
    )
    .await;
}

#[tokio::test]
async fn an_outcome_of_another_type_is_rejected_by_the_guest() {
    let (ending, _) = change("type-changed").await;
    let Ending::Blocked(reason) = ending else {
        panic!("expected a block: {ending:?}")
    };
    assert_eq!(reason.code, BlockCode::Rejected);
    assert!(reason.message.contains("`reserve`"), "{}", reason.message);
}

#[tokio::test]
async fn steps_that_change_places_keep_their_outcomes() {
    let (ending, _) = change("swapped").await;
    assert_eq!(output(ending), r#""old first old second""#);
}

#[tokio::test]
async fn a_step_after_what_is_recorded_is_safe() {
    let (ending, _) = change("appended").await;
    assert_eq!(output(ending), r#""old reserve, new late""#);
}
