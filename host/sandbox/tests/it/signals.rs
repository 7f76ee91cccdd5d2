//! What somebody outside wants of a run.

use dacapo_sandbox::{Ending, Signal, Stop, SuspendReason};

use crate::support::{Run, output};

#[tokio::test]
async fn a_cancel_reaches_a_waiting_run_which_compensates() {
    let run = Run::new("durable.cancel-compensates", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal
        .signal([Some(Signal::Cancel), Some(Signal::Cancel)]);
    let ending = run.go().await;
    let Ending::Cancelled(failure) = ending else {
        panic!("expected a cancel: {ending:?}")
    };
    assert_eq!(failure.code, "cancelled");
    assert_eq!(
        run.journal.keys(),
        [
            "reserve#1 step ok",
            "never#1 wait cancelled",
            "release#1 step ok"
        ]
    );
    assert_eq!(run.journal.messages(), ["effect release"]);
}

#[tokio::test]
async fn a_cancel_that_was_delivered_before_is_not_delivered_again() {
    let run = Run::new("durable.cancel-compensates", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal
        .signal([Some(Signal::Cancel), Some(Signal::Stop(Stop::LeaseLost))]);
    assert_eq!(run.go().await, Ending::Stopped(Stop::LeaseLost));
    // Another worker takes over after the cancel was recorded, and is told to cancel, too.
    run.journal.signal([Some(Signal::Cancel)]);
    assert!(matches!(run.go().await, Ending::Cancelled(_)));
    assert_eq!(
        run.journal.keys(),
        [
            "reserve#1 step ok",
            "never#1 wait cancelled",
            "release#1 step ok"
        ]
    );
}

#[tokio::test]
async fn a_cancel_reaches_a_step_before_its_body() {
    let run = Run::new("durable.effects", "3");
    run.journal.signal([None, Some(Signal::Cancel)]);
    assert!(matches!(run.go().await, Ending::Cancelled(_)));
    assert_eq!(run.journal.keys(), ["s#1 step ok", "s#2 step cancelled"]);
    assert_eq!(run.journal.messages(), ["effect s#1"]);
}

#[tokio::test]
async fn a_pause_from_outside_holds_the_run_at_the_next_step() {
    let run = Run::new("durable.effects", "2");
    run.journal.signal([None, Some(Signal::Pause)]);
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(
        run.journal.suspension().unwrap().reason,
        SuspendReason::Paused
    );
    assert_eq!(run.journal.keys(), ["s#1 step ok"]);
    assert_eq!(output(run.go().await), "null");
    assert_eq!(run.journal.messages(), ["effect s#1", "effect s#2"]);
}

#[tokio::test]
async fn a_pause_that_is_taken_back_meanwhile_lets_the_run_go_on() {
    let run = Run::new("durable.effects", "1");
    run.journal.signal([Some(Signal::Pause)]);
    run.journal.wake_once();
    assert_eq!(output(run.go().await), "null");
    assert_eq!(run.journal.trace(), ["suspend paused", "settle", "s#1 ok"]);
}

#[tokio::test]
async fn a_lost_lease_runs_no_body() {
    let run = Run::new("durable.effects", "2");
    run.journal.fail_settle(Stop::LeaseLost);
    assert_eq!(run.go().await, Ending::Stopped(Stop::LeaseLost));
    assert_eq!(run.journal.messages(), Vec::<String>::new());
    assert_eq!(run.journal.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_drained_worker_stops_at_the_next_durable_call() {
    let run = Run::new("durable.effects", "2");
    run.journal
        .signal([None, Some(Signal::Stop(Stop::Drained))]);
    assert_eq!(run.go().await, Ending::Stopped(Stop::Drained));
    assert_eq!(run.journal.keys(), ["s#1 step ok"]);
}
