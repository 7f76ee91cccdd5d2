//! Code that changes under a run: what would run a step again blocks the run, and what is safe goes on.

use dacapo_model::{Changes, Kind, Payload, RecordedState, StepKey};
use dacapo_sandbox::{BlockCode, Ending, Proof};

use crate::support::{Run, output, probe, probe2};

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
    let details = reason.details.expect("both sides are there as data");
    assert!(
        details.as_str().contains("recorded") && details.as_str().contains("\"backtrace\":[\""),
        "both sides, and where the code was: {details}"
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

#[tokio::test]
async fn a_proof_says_what_would_become_of_a_run_and_has_no_effect() {
    for (workflow, expected) in [
        ("same", "goes on"),
        ("appended", "goes on"),
        ("swapped", "goes on"),
        ("asks", "goes on"),
        ("renamed", "mismatch"),
        ("kind-changed", "mismatch"),
        ("inserted", "mismatch"),
        ("dropped", "mismatch"),
        ("other-event", "mismatch"),
        ("type-changed", "rejected"),
        ("branch-renamed", "mismatch"),
    ] {
        let run = Run::new(&format!("changes.{workflow}"), "null");
        assert_eq!(run.go().await, Ending::Suspended);
        let rows = run.journal.rows();
        run.journal.forget_trace();
        let found = match run.prove_on(probe2()).await {
            Proof::GoesOn => "goes on",
            Proof::GoesOnTo(key) => panic!("{workflow}: nothing was inserted, got {key}"),
            Proof::Diverges(reason) => reason.code.as_str(),
            Proof::Ends(ending) => panic!("{workflow}: it waits, and does not end: {ending:?}"),
        };
        assert_eq!(found, expected, "{workflow}");
        assert_eq!(run.prove_on(probe()).await, Proof::GoesOn, "{workflow}");
        assert_eq!(run.journal.rows(), rows);
        assert_eq!(run.journal.trace(), Vec::<String>::new());
        // What the proof says is what happens.
        run.journal.send("go", "null");
        run.journal.send("go", "null");
        let blocked = matches!(run.go_on(probe2()).await, Ending::Blocked(_));
        assert_eq!(blocked, expected != "goes on", "{workflow}");
    }
}

/// Plays the old code up to its wait, and then the new code with what its author says of it.
async fn declared(workflow: &str, changes: Changes) -> (String, Run) {
    let run = waiting(workflow, changes).await;
    assert_eq!(run.prove_on(probe2()).await, Proof::GoesOn);
    run.journal.send("go", "null");
    (output(run.go_on(probe2()).await), run)
}

/// What the old code has recorded when it waits, with what is said of the new code.
async fn waiting(workflow: &str, changes: Changes) -> Run {
    let mut run = Run::new(&format!("changes.{workflow}"), "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.changes = changes;
    run
}

fn inserted(name: &str) -> Changes {
    Changes {
        inserted: [name.to_owned()].into(),
        ..Changes::default()
    }
}

fn dropped(name: &str) -> Changes {
    Changes {
        dropped: [name.to_owned()].into(),
        ..Changes::default()
    }
}

fn renamed(old: &str, new: &str) -> Changes {
    Changes {
        renamed: [(old.to_owned(), new.to_owned())].into(),
        ..Changes::default()
    }
}

#[tokio::test]
async fn what_is_recorded_behind_an_inserted_step_is_not_proven() {
    let check = || StepKey::new("", "check", 1);
    let run = waiting("inserted", inserted("check")).await;
    assert_eq!(run.prove_on(probe2()).await, Proof::GoesOnTo(check()));
    run.journal.send("go", "null");
    assert_eq!(output(run.go_on(probe2()).await), r#""old reserve""#);

    // The same says nothing of what comes then, and that the code has renamed a step besides shows only there.
    let run = waiting("inserted-and-renamed", inserted("check")).await;
    assert_eq!(run.prove_on(probe2()).await, Proof::GoesOnTo(check()));
    let Ending::Blocked(reason) = run.go_on(probe2()).await else {
        panic!("`book` is not declared")
    };
    assert_eq!(reason.code, BlockCode::Mismatch);

    // Where nothing is recorded behind it, all is known.
    let run = waiting("appended", inserted("late")).await;
    assert_eq!(run.prove_on(probe2()).await, Proof::GoesOn);
}

#[tokio::test]
async fn a_step_that_is_inserted_before_an_open_fork_runs_once_and_in_no_branch() {
    let run = waiting("inserted-before-fork", inserted("check")).await;
    let check = StepKey::new("", "check", 1);
    assert_eq!(run.prove_on(probe2()).await, Proof::GoesOnTo(check));
    run.journal.send("go", "null");
    run.journal.send("go", "null");
    let done = output(run.go_on(probe2()).await);
    assert_eq!(done, r#""old reserve, old reserve""#);
    assert_eq!(checks(&run), ["check#1 step ok"]);

    let run = waiting("inserted-before-inner", inserted("check")).await;
    for _ in 0..4 {
        run.journal.send("go", "null");
    }
    assert_eq!(output(run.go_on(probe2()).await), r#""2, 2""#);
    let mut each = checks(&run);
    each.sort();
    assert_eq!(
        each,
        ["pair#1/0/check#1 step ok", "pair#1/1/check#1 step ok"]
    );
}

/// The calls of a run that have `check` in their names.
fn checks(run: &Run) -> Vec<String> {
    let keys = run.journal.keys().into_iter();
    keys.filter(|key| key.contains("check")).collect()
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_fork_that_was_dropped_while_it_was_open_runs_once() {
    let run = waiting("fork-dropped", dropped("pair")).await;
    assert_eq!(run.prove_on(probe2()).await, Proof::GoesOn);
    run.journal.send("go", "null");
    run.journal.send("go", "null");
    assert_eq!(output(run.go_on(probe2()).await), r#""new late""#);
    let keys = run.journal.keys().into_iter();
    let late: Vec<String> = keys.filter(|key| key.contains("late")).collect();
    assert_eq!(late, ["late#1 step ok"]);
}

/// As a run is moved: what its branches wait for is not known any more.
fn moved(run: &Run) {
    let mut rows = run.journal.rows();
    for row in &mut rows {
        if let RecordedState::Open { plan, .. } = &mut row.state
            && row.kind == Kind::Wait
        {
            *plan = Some(Payload::null());
        }
    }
    run.journal.put(&rows);
}

#[tokio::test]
async fn a_branch_that_was_moved_says_again_what_it_waits_for_and_that_is_kept() {
    let events = |run: &Run| run.journal.suspension().expect("it waits").events;
    let run = waiting("branch-any", Changes::default()).await;
    assert_eq!(events(&run), ["go", "stop"]);
    moved(&run);
    assert_eq!(run.go_on(probe2()).await, Ending::Suspended);
    assert_eq!(events(&run), ["go", "start", "stop"]);

    let run = waiting("branch-event", renamed("go", "start")).await;
    moved(&run);
    assert_eq!(run.go_on(probe2()).await, Ending::Suspended);
    assert_eq!(events(&run), ["start"]);
    // The other branch goes on, and the first one is not played for that.
    run.journal.advance(2_000);
    assert_eq!(run.go_on(probe2()).await, Ending::Suspended);
    assert_eq!(events(&run), ["start"]);
    run.journal.send("start", "null");
    run.journal.send("start", "null");
    let done = output(run.go_on(probe2()).await);
    assert_eq!(done, r#""started, started""#);
}

#[tokio::test]
async fn what_the_author_says_of_inserted_renamed_and_dropped_steps_lets_a_run_go_on() {
    let run = waiting("inserted", inserted("check")).await;
    run.journal.send("go", "null");
    let done = output(run.go_on(probe2()).await);
    assert_eq!(done, r#""old reserve""#);
    assert_eq!(
        run.journal.keys(),
        ["reserve#1 step ok", "go#1 wait ok", "check#1 step ok"]
    );
    let (output, run) = declared("renamed", renamed("reserve", "book")).await;
    assert_eq!(output, r#""old reserve""#);
    assert_eq!(run.journal.keys(), ["reserve#1 step ok", "go#1 wait ok"]);
    let (output, _) = declared("dropped", dropped("reserve")).await;
    assert_eq!(output, r#""nothing reserved""#);
}

#[tokio::test]
async fn code_that_asks_whether_it_has_changed_takes_runs_both_ways() {
    let old = Run::new("changes.asks", "null");
    assert_eq!(old.go().await, Ending::Suspended);
    old.journal.send("go", "null");
    assert_eq!(output(old.go_on(probe2()).await), r#""old reserve""#);
    assert_eq!(old.journal.keys(), ["reserve#1 step ok", "go#1 wait ok"]);

    let new = Run::new("changes.asks", "null");
    assert_eq!(new.go_on(probe2()).await, Ending::Suspended);
    new.journal.send("go", "null");
    assert_eq!(output(new.go_on(probe2()).await), r#""new reserve""#);
    assert_eq!(
        new.journal.keys(),
        [
            "changed:check#1 change ok",
            "check#1 step ok",
            "reserve#1 step ok",
            "go#1 wait ok",
            "late#1 step ok"
        ]
    );
}
