//! Forks: branches played in instances of their own, given up and taken up again.

use std::collections::HashSet;

use dacapo_model::{Kind, Outcome, Payload, PayloadLimits, RecordedState};
use dacapo_sandbox::{BlockCode, Ending, Signal, SuspendReason};

use crate::support::{Run, failure, output};

/// The keys and outcomes of a run's journal in the order of the keys: branches record in any order.
fn sorted(run: &Run) -> Vec<String> {
    let mut keys = run.journal.keys();
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_are_played_and_joined_and_a_replay_executes_nothing() {
    let run = Run::new(
        "branches.squares",
        r#"{"n": 40, "ms": 0, "maxParallel": null}"#,
    );
    assert_eq!(output(run.go().await), "20540");
    let keys = sorted(&run);
    assert_eq!(keys.len(), 81);
    for key in [
        "fan#1 fork ok",
        "fan#1/0 branch ok",
        "fan#1/0/square#1 step ok",
        "fan#1/39/square#1 step ok",
    ] {
        assert!(keys.contains(&key.to_owned()), "{key}: {keys:?}");
    }
    assert_eq!(run.journal.messages().len(), 40);
    run.journal.forget_trace();
    assert_eq!(output(run.go().await), "20540");
    assert_eq!(run.journal.trace(), Vec::<String>::new());
    assert_eq!(run.journal.messages().len(), 40);

    // By index, in whichever order they end.
    let run = Run::new(
        "branches.listeners",
        r#"{"n": 3, "ms": 0, "maxParallel": null}"#,
    );
    for name in ["go-2", "go-0", "go-1"] {
        assert_eq!(run.go().await, Ending::Suspended);
        run.journal.send(name, &format!("{name:?}"));
    }
    assert_eq!(output(run.go().await), r#"["go-0","go-1","go-2"]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_time_is_looked_for_before_the_wait_of_a_branch_is_over() {
    for fails in [0, 1, 3] {
        let run = Run::new(
            "branches.listeners",
            r#"{"n": 3, "ms": 5000, "maxParallel": null}"#,
        );
        assert_eq!(run.go().await, Ending::Suspended);
        run.journal.send_unseen("go-1", "\"in time\"", fails);
        run.journal.advance(60_000);
        // What cannot be known now is known to whoever plays the run next.
        for _ in 0..fails {
            assert_eq!(run.go().await, Ending::Suspended);
        }
        assert_eq!(output(run.go().await), r#"["","in time",""]"#);
        assert!(sorted(&run).contains(&"fan#1/1/go-1#1 wait ok".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_of_steps_waits_and_sleeps_goes_on_when_the_last_has_ended() {
    let run = Run::new("branches.joins", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    let suspension = run.journal.suspension().unwrap();
    assert_eq!(suspension.reason, SuspendReason::Event);
    assert_eq!(suspension.events, ["approved"]);
    assert!(suspension.wake_at.is_some(), "the branch that sleeps");
    assert_eq!(
        sorted(&run),
        [
            "all#1 fork open",
            "all#1/0 branch ok",
            "all#1/0/make#1 step ok",
            "all#1/1/approved#1 wait open",
            "all#1/2/nap#1 sleep open",
            "before#1 step ok",
        ]
    );

    // The sleep is over, the event is not there: one branch ends, the other is not even played.
    run.journal.advance(1_000);
    run.journal.forget_trace();
    run.journal.forget_asked();
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(
        run.journal.trace(),
        ["all#1/2/nap#1 ok", "all#1/2 ok", "suspend event"]
    );
    assert_eq!(
        run.journal.asked(),
        Vec::<String>::new(),
        "only who plays the branch takes its event"
    );
    assert_eq!(run.journal.suspension().unwrap().wake_at, None);

    run.journal.send("approved", "\"yes\"");
    assert_eq!(output(run.go().await), r#""1 2 3 yes""#);
    assert_eq!(
        sorted(&run),
        [
            "after#1 step ok",
            "all#1 fork ok",
            "all#1/0 branch ok",
            "all#1/0/make#1 step ok",
            "all#1/1 branch ok",
            "all#1/1/approved#1 wait ok",
            "all#1/2 branch ok",
            "all#1/2/nap#1 sleep ok",
            "before#1 step ok",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn forks_may_hold_forks() {
    let run = Run::new("branches.nested", "null");
    // (1 + 10) + (1 + 20) + (2 + 10) + (2 + 20)
    assert_eq!(output(run.go().await), "66");
    assert!(sorted(&run).contains(&"outer#1/1/inner#1/0/add#1 step ok".to_owned()));
    assert_eq!(output(run.go().await), "66");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_cut_after_any_row_plays_only_what_is_missing() {
    let whole = Run::new("branches.nested", "null");
    output(whole.go().await);
    let writes = whole.journal.writes();
    for cut in 0..writes.len() {
        let run = Run::new("branches.nested", "null");
        run.journal.put(&writes[..cut]);
        assert_eq!(output(run.go().await), "66", "cut after {cut} writes");
        assert_eq!(sorted(&run), sorted(&whole));
        // The journal itself refuses to take a row twice; what was done is not even looked at again.
        let written = run.journal.trace();
        let logs = run.journal.logs();
        for row in &writes[..cut] {
            if matches!(row.state, RecordedState::Done { .. }) {
                assert!(!written.contains(&format!("{} ok", row.key)), "{written:?}");
                let again = logs
                    .iter()
                    .find(|line| line.step.as_ref() == Some(&row.key));
                assert_eq!(again, None, "its body ran again");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_branches_are_under_way_than_allowed() {
    let run = Run::new(
        "branches.listeners",
        r#"{"n": 5, "ms": 0, "maxParallel": 2}"#,
    );
    let mut waiting = vec!["go-0", "go-1"];
    for next in ["go-2", "go-3", "go-4", "", ""] {
        assert_eq!(run.go().await, Ending::Suspended);
        assert_eq!(run.journal.suspension().unwrap().events, waiting);
        let first = waiting.remove(0);
        run.journal.send(first, &format!("{first:?}"));
        waiting.extend((!next.is_empty()).then_some(next));
    }
    assert_eq!(
        output(run.go().await),
        r#"["go-0","go-1","go-2","go-3","go-4"]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_to_succeed_wins_and_the_others_make_up_for_what_they_did() {
    let run = Run::new("branches.races", "10");
    let ending = loop {
        match run.go().await {
            Ending::Suspended => run.journal.advance(100),
            ending => break ending,
        }
    };
    assert_eq!(output(ending), r#""nobody""#);
    assert_eq!(
        sorted(&run),
        [
            "first#1 fork ok",
            "first#1/0 branch failed",
            "first#1/0/answered#1 wait cancelled",
            "first#1/0/undo#1 step ok",
            "first#1/1 branch ok",
            "first#1/1/patience#1 sleep ok",
            "told#1 step ok",
        ]
    );
    assert_eq!(output(run.go().await), r#""nobody""#);

    // One that succeeds later, although it has lost, does not win.
    let late = Run::new("branches.races", "10");
    let mut rows = run.journal.writes();
    rows.retain(|row| row.kind != Kind::Step || row.key.scope() != "");
    rows.retain(|row| row.kind != Kind::Fork || matches!(row.state, RecordedState::Open { .. }));
    let loser = rows
        .iter_mut()
        .find(|row| row.key.as_str() == "first#1/0")
        .unwrap();
    if let RecordedState::Done { outcome, .. } = &mut loser.state {
        *outcome = Outcome::Ok(Payload::new("\"me\"", &PayloadLimits::default()).unwrap());
    }
    late.journal.put(&rows);
    assert_eq!(output(late.go().await), r#""nobody""#);

    let run = Run::new("branches.races", "60000");
    run.journal.send("answered", "\"me\"");
    assert_eq!(output(run.go().await), r#""me""#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_that_nobody_wins_has_the_first_ones_failure() {
    let (_, message) = failure(Run::new("branches.loses", "null").go().await);
    assert_eq!(message, "a-failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_fails_is_a_value_and_keeps_no_other_from_its_work() {
    let run = Run::new("branches.one-fails", "null");
    let (_, message) = failure(run.go().await);
    assert_eq!(message, "one cannot");
    assert!(sorted(&run).contains(&"three#1/2 branch ok".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_a_branch_is_tried_again_without_the_others() {
    let run = Run::new("branches.one-retries", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(
        run.journal.suspension().unwrap().reason,
        SuspendReason::Retry
    );
    run.journal.advance(1_000);
    assert_eq!(output(run.go().await), "3");
    let mut effects = run.journal.messages();
    effects.sort();
    assert_eq!(
        effects,
        [
            "effect work 0",
            "effect work 1",
            "effect work 1",
            "effect work 2"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_each_branch_once_and_then_the_workflow() {
    let run = Run::new("branches.cancels", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal.keep_signal(Some(Signal::Cancel));
    assert_eq!(run.go().await, Ending::Suspended, "both cool down");
    assert_eq!(
        run.journal.suspension().unwrap().reason,
        SuspendReason::Time
    );
    run.journal.advance(1_000);
    let ending = run.go().await;
    assert!(matches!(ending, Ending::Cancelled(_)), "{ending:?}");
    assert_eq!(
        sorted(&run),
        [
            "release#1 step ok",
            "two#1 fork ok",
            "two#1/0 branch failed",
            "two#1/0/cool-down#1 sleep ok",
            "two#1/0/never#1 wait cancelled",
            "two#1/0/undo#1 step ok",
            "two#1/1 branch failed",
            "two#1/1/cool-down#1 sleep ok",
            "two#1/1/never#1 wait cancelled",
            "two#1/1/undo#1 step ok",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_all_branches() {
    let run = Run::new("branches.joins", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal.keep_signal(Some(Signal::Pause));
    run.journal.advance(1_000);
    run.journal.forget_trace();
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(run.journal.trace(), ["suspend paused"]);
    run.journal.keep_signal(None);
    run.journal.send("approved", "\"yes\"");
    assert_eq!(output(run.go().await), r#""1 2 3 yes""#);
}

/// What one look of a workflow or a branch has seen: `number milliseconds order drawn`.
type Look = (String, String, String, String);

fn looks(text: &str) -> Vec<Vec<Look>> {
    let seen: Vec<String> = serde_json::from_str(text).unwrap();
    let one = |look: &str| {
        let (head, order) = look.split_once(" [").unwrap();
        let (number, millis) = head.split_once(' ').unwrap();
        let (order, drawn) = order.split_once("] ").unwrap();
        [number, millis, order, drawn].map(str::to_owned).into()
    };
    // A branch has looked twice: four words each, but for the lists, which hold spaces.
    let halves = |text: &String| {
        let end = text.find(']').unwrap();
        let rest = text[end + 2..].find(' ').map(|at| end + 2 + at);
        let mut halves = vec![one(&text[..rest.unwrap_or(text.len())])];
        halves.extend(rest.map(|at| one(&text[at + 1..])));
        halves
    };
    seen.iter().map(halves).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_see_the_same_in_every_replay() {
    let run = Run::new("branches.sees", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal.advance(1_000);
    let text = output(run.go().await);
    assert_eq!(output(run.go().await), text);
    let first = looks(&text);
    let drawn: HashSet<&String> = first.iter().flatten().map(|look| &look.3).collect();
    assert_eq!(drawn.len(), 6, "each draws numbers of its own: {first:?}");

    // The same journal cut anywhere, and played to the end by other instances.
    let writes = run.journal.writes();
    for cut in 1..writes.len() {
        let mut again = Run::new("branches.sees", "null");
        again.id = run.id;
        again.journal.put(&writes[..cut]);
        while again.go().await == Ending::Suspended {
            again.journal.advance(1_000);
        }
        let played = looks(&output(again.go().await));
        // What was recorded before is the same. Times differ by when what is missing was recorded; what is derived from the run does not.
        assert_eq!(played[0], first[0], "cut after {cut} writes");
        for (played, first) in played.iter().zip(&first) {
            for (at, (played, first)) in played.iter().zip(first).enumerate() {
                let derived = |look: &Look| (look.0.clone(), look.2.clone(), look.3.clone());
                assert_eq!(derived(played), derived(first), "cut after {cut} writes");
                // Before a branch has recorded anything its time is that of the fork.
                let is_before = at == 0 && played.0 != "10";
                assert!(!is_before || played.1 == first.1, "cut after {cut} writes");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_into_another_number_of_branches_than_recorded_blocks_the_run() {
    let run = Run::new(
        "branches.listeners",
        r#"{"n": 2, "ms": 0, "maxParallel": null}"#,
    );
    assert_eq!(run.go().await, Ending::Suspended);
    let mut changed = Run::new(
        "branches.listeners",
        r#"{"n": 3, "ms": 0, "maxParallel": null}"#,
    );
    changed.journal = run.journal.clone();
    changed.id = run.id;
    run.journal.send("go-0", "\"a\"");
    let Ending::Blocked(reason) = changed.go().await else {
        panic!("the run goes on")
    };
    assert_eq!(reason.code, BlockCode::Mismatch);
    assert_eq!(
        reason.message,
        "the code asks for a fork of 3 branches `fan#1`, but the journal has a fork of 2 branches under that key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn misuse_of_forks_ends_the_run_with_an_explanation() {
    for (workflow, input, expected) in [
        (
            "raw-fork",
            "0",
            "the fork `many` has 0 branches: expected 1 to 10000; let each branch do more of the work, or start child runs",
        ),
        (
            "raw-fork",
            "1000000",
            "the fork `many` has 1000000 branches",
        ),
        (
            "fork-in-step",
            "null",
            "fork `inner` was reached inside step `outer#1`: a fork cannot be inside a step",
        ),
        (
            "returns",
            "null",
            "the workflow returned inside of branch `two#1/",
        ),
        (
            "ends-nothing",
            "null",
            "`branch-end` was called outside of a branch",
        ),
        ("traps", "null", "in branch `two#1/1`: "),
    ] {
        let run = Run::new(&format!("branches.{workflow}"), input);
        let (code, message) = failure(run.go().await);
        assert!(message.contains(expected), "{workflow}: {code}: {message}");
    }
}
