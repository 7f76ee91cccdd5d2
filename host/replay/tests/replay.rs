//! The comparison of code and journal, as a workflow's code meets it.

use std::sync::Arc;

use dacapo_model::{Changes, Kind, Outcome, Payload, Recorded, RecordedState, StepKey, Timestamp};
use dacapo_replay::{Answer, Changed, Mismatch, Positions, Replay, Side};
use proptest::prelude::*;

const START: Timestamp = Timestamp::EPOCH;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn replay(recorded: Vec<Recorded>, created_at: Timestamp) -> Replay {
    let positions = Positions::behind(&recorded);
    Replay::new(recorded.into(), created_at, positions, None)
}

fn text(text: &str) -> Outcome {
    Outcome::Ok(Payload::from_trusted(format!("{text:?}")))
}

fn done(name: &str, occurrence: u32, position: u32) -> Recorded {
    let state = RecordedState::Done {
        outcome: text(name),
        finished_at: at(i64::from(position) * 10),
    };
    Recorded {
        key: StepKey::new("", name, occurrence),
        kind: Kind::Step,
        position,
        started_at: START,
        state,
    }
}

fn open(name: &str, position: u32, due: Option<Timestamp>) -> Recorded {
    let state = RecordedState::Open {
        due,
        failed_attempts: 0,
        plan: None,
    };
    Recorded {
        key: StepKey::new("", name, 1),
        kind: Kind::Wait,
        position,
        started_at: START,
        state,
    }
}

fn key_of(answer: Answer) -> String {
    match answer {
        Answer::Recorded { key, .. } | Answer::Open { key, .. } | Answer::New { key, .. } => {
            key.to_string()
        }
    }
}

fn mismatch(result: Result<Answer, Mismatch>) -> Mismatch {
    result.expect_err("the code contradicts the journal")
}

#[test]
fn a_recorded_outcome_is_handed_back_and_moves_time() {
    let mut replay = replay(vec![done("b", 1, 2), done("a", 1, 1)], START);
    assert!(replay.is_replaying());
    let answer = replay.ask("", Kind::Step, "a").unwrap();
    assert_eq!(
        answer,
        Answer::Recorded {
            key: StepKey::new("", "a", 1),
            outcome: text("a")
        }
    );
    assert_eq!(replay.now(), at(10));
    replay.ask("", Kind::Step, "b").unwrap();
    assert_eq!(replay.now(), at(20));
    assert!(!replay.is_replaying());
    assert_eq!(replay.finish(), Ok(()));
}

#[test]
fn occurrences_are_counted_over_all_kinds() {
    let mut replay = replay(vec![], START);
    assert_eq!(key_of(replay.ask("", Kind::Step, "x").unwrap()), "x#1");
    assert_eq!(key_of(replay.ask("", Kind::Wait, "x").unwrap()), "x#2");
    assert_eq!(key_of(replay.ask("", Kind::Step, "y").unwrap()), "y#1");
    assert_eq!(
        key_of(replay.ask("f#1/0", Kind::Step, "x").unwrap()),
        "f#1/0/x#1"
    );
}

#[test]
fn positions_go_on_after_the_journals_last() {
    let mut replay = replay(vec![done("a", 1, 7)], START);
    replay.ask("", Kind::Step, "a").unwrap();
    let answer = replay.ask("", Kind::Step, "b").unwrap();
    assert_eq!(
        answer,
        Answer::New {
            key: StepKey::new("", "b", 1),
            position: 8
        }
    );
    assert_eq!(Positions::behind(&[]).take(), 1);
}

#[test]
fn an_open_row_keeps_its_place_and_due_time() {
    let mut replay = replay(vec![done("a", 1, 1), open("go", 2, Some(at(500)))], START);
    replay.ask("", Kind::Step, "a").unwrap();
    let answer = replay.ask("", Kind::Wait, "go").unwrap();
    let expected = Answer::Open {
        key: StepKey::new("", "go", 1),
        position: 2,
        started_at: START,
        due: Some(at(500)),
        failed_attempts: 0,
        plan: None,
    };
    assert_eq!(answer, expected);
}

#[test]
fn a_live_outcome_moves_time_forward_only() {
    let mut replay = replay(vec![], at(100));
    replay.ask("", Kind::Step, "a").unwrap();
    replay.record(at(50));
    assert_eq!(replay.now(), at(100));
    replay.record(at(150));
    assert_eq!(replay.now(), at(150));
}

#[test]
fn another_kind_under_the_same_key_is_a_mismatch() {
    let mut replay = replay(vec![done("charge", 1, 1)], START);
    let mismatch = mismatch(replay.ask("", Kind::Sleep, "charge"));
    assert_eq!(
        mismatch.to_string(),
        "the code asks for a sleep `charge#1`, but the journal has a step under that key, at position 1"
    );
    assert_eq!(mismatch.asked, Side::Asked { kind: Kind::Sleep });
}

#[test]
fn a_renamed_step_is_a_mismatch_that_names_the_old_one() {
    let mut replay = replay(vec![done("reserve", 1, 1)], START);
    let mismatch = mismatch(replay.ask("", Kind::Step, "book"));
    assert_eq!(
        mismatch.to_string(),
        "the code asks for a step `book#1`, but the journal still has `reserve#1`, which the code has not asked for \
         (inserted, renamed or removed?)"
    );
}

#[test]
fn going_on_from_an_open_row_past_an_unasked_one_is_a_mismatch() {
    let mut replay = replay(vec![done("reserve", 1, 1), open("go", 2, None)], START);
    let mismatch = mismatch(replay.ask("", Kind::Wait, "go"));
    assert_eq!(
        mismatch.recorded,
        Side::Unconsumed {
            keys: vec![StepKey::new("", "reserve", 1)],
            count: 1
        }
    );
}

#[test]
fn recorded_steps_may_change_places() {
    let mut replay = replay(vec![done("first", 1, 1), done("second", 1, 2)], START);
    assert_eq!(
        key_of(replay.ask("", Kind::Step, "second").unwrap()),
        "second#1"
    );
    assert_eq!(
        key_of(replay.ask("", Kind::Step, "first").unwrap()),
        "first#1"
    );
    assert_eq!(replay.now(), at(20));
}

#[test]
fn another_scope_may_have_rows_left() {
    let mut elsewhere = done("x", 1, 1);
    elsewhere.key = StepKey::new("resize#1/0", "x", 1);
    let mut replay = replay(vec![elsewhere], START);
    assert!(matches!(
        replay.ask("", Kind::Step, "a"),
        Ok(Answer::New { .. })
    ));
}

#[test]
fn returning_before_the_journals_end_is_a_mismatch() {
    let replay = replay(vec![done("b", 1, 2), done("a", 1, 1)], START);
    let mismatch = replay.finish().expect_err("two rows were not asked for");
    assert_eq!(mismatch.key, StepKey::new("", "a", 1));
    assert_eq!(
        mismatch.to_string(),
        "the code has returned, but the journal still has `a#1`, `b#1`, which the code has not asked for \
         (inserted, renamed or removed?)"
    );
}

#[test]
fn a_mismatch_names_a_bounded_number_of_keys() {
    let rows = (1..=1_000).map(|n| done("s", n, n)).collect();
    let mismatch = mismatch(replay(rows, START).ask("", Kind::Step, "other"));
    assert!(
        mismatch.to_string().contains("`s#20` and 980 more"),
        "{mismatch}"
    );
    let json = serde_json::to_string(&mismatch).unwrap();
    assert_eq!(serde_json::from_str::<Mismatch>(&json).unwrap(), mismatch);
}

/// A durable call of a made-up workflow.
fn call() -> impl Strategy<Value = (Kind, &'static str)> {
    // Whether the code has changed is asked in another way.
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Change);
    (
        proptest::sample::select(kinds.collect::<Vec<_>>()),
        proptest::sample::select(vec!["a", "b", "c"]),
    )
}

proptest! {
    #[test]
    fn replaying_what_was_recorded_gives_the_same_answers(calls in proptest::collection::vec(call(), 0..60)) {
        let mut live = replay(vec![], START);
        let mut journal = Vec::new();
        for (n, (kind, name)) in calls.iter().enumerate() {
            let Ok(Answer::New { key, position }) = live.ask("", *kind, name) else { panic!("nothing is recorded") };
            let finished_at = at(n as i64);
            live.record(finished_at);
            let state = RecordedState::Done { outcome: text(&n.to_string()), finished_at };
            journal.push(Recorded { key, kind: *kind, position, started_at: START, state });
        }
        prop_assert!(!live.is_replaying());

        let mut shuffled = journal.clone();
        shuffled.reverse();
        let mut replay = replay(shuffled, START);
        for (row, (kind, name)) in journal.iter().zip(&calls) {
            prop_assert!(replay.is_replaying());
            let answer = replay.ask("", *kind, name).unwrap();
            let RecordedState::Done { outcome, finished_at } = &row.state else { unreachable!() };
            prop_assert_eq!(answer, Answer::Recorded { key: row.key.clone(), outcome: outcome.clone() });
            prop_assert_eq!(replay.now(), *finished_at);
        }
        prop_assert_eq!(replay.finish(), Ok(()));
        prop_assert_eq!(replay.ask("", Kind::Step, "new"), live.ask("", Kind::Step, "new"));
    }

    #[test]
    fn a_journal_cut_short_goes_on_with_new_keys(calls in proptest::collection::vec(call(), 1..40), cut in 0usize..40) {
        let cut = cut.min(calls.len());
        let mut live = replay(vec![], START);
        let mut journal = Vec::new();
        for (kind, name) in &calls {
            let Ok(Answer::New { key, position }) = live.ask("", *kind, name) else { panic!("nothing is recorded") };
            let state = RecordedState::Done { outcome: text("x"), finished_at: START };
            journal.push(Recorded { key, kind: *kind, position, started_at: START, state });
        }
        let mut replay = replay(journal[..cut].to_vec(), START);
        for (n, (kind, name)) in calls.iter().enumerate() {
            match replay.ask("", *kind, name).unwrap() {
                Answer::Recorded { key, .. } => prop_assert!(n < cut && key == journal[n].key),
                Answer::New { key, position } => {
                    prop_assert!(n >= cut && key == journal[n].key && position == journal[n].position);
                }
                Answer::Open { .. } => prop_assert!(false, "nothing was left open"),
            }
        }
        prop_assert_eq!(replay.finish(), Ok(()));
    }
}

fn changed_code(recorded: Vec<Recorded>, changes: Changes) -> Replay {
    let positions = Positions::behind(&recorded);
    Replay::new(recorded.into(), at(0), positions, Some(Arc::new(changes)))
}

fn fresh(recorded: Vec<Recorded>) -> Replay {
    replay(recorded, START)
}

fn names(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn met(answer: Answer) -> (&'static str, String) {
    match answer {
        Answer::Recorded { key, .. } => ("recorded", key.to_string()),
        Answer::Open { key, .. } => ("open", key.to_string()),
        Answer::New { key, .. } => ("new", key.to_string()),
    }
}

#[test]
fn an_inserted_step_runs_although_what_follows_is_recorded() {
    let rows = || vec![done("a", 1, 1), done("b", 1, 2)];
    let changes = || Changes {
        inserted: names(&["check"]),
        ..Changes::default()
    };
    let mut replay = changed_code(rows(), changes());
    let mut ask = |name| met(replay.ask("", Kind::Step, name).unwrap());
    assert_eq!(ask("a"), ("recorded", "a#1".to_owned()));
    assert_eq!(ask("check"), ("new", "check#1".to_owned()));
    assert_eq!(ask("b"), ("recorded", "b#1".to_owned()));
    // Played again it is found where it is.
    let mut rows = rows();
    rows.push(done("check", 1, 3));
    let mut replay = changed_code(rows, changes());
    for name in ["a", "check", "b"] {
        let (how, _) = met(replay.ask("", Kind::Step, name).unwrap());
        assert_eq!(how, "recorded", "{name}");
    }
    // Any other is still a contradiction.
    let mut replay = changed_code(vec![done("a", 1, 1)], changes());
    replay.ask("", Kind::Step, "other").unwrap_err();
}

#[test]
fn a_renamed_step_finds_what_is_recorded_under_its_old_name() {
    let changes = Changes {
        renamed: [("charge-card".to_owned(), "charge".to_owned())].into(),
        ..Changes::default()
    };
    let mut replay = changed_code(
        vec![
            done("charge-card", 1, 1),
            done("charge", 2, 2),
            done("b", 1, 3),
        ],
        changes,
    );
    let mut ask = |name| met(replay.ask("", Kind::Step, name).unwrap());
    assert_eq!(ask("charge"), ("recorded", "charge-card#1".to_owned()));
    assert_eq!(ask("charge"), ("recorded", "charge#2".to_owned()));
    assert_eq!(ask("b"), ("recorded", "b#1".to_owned()));
    assert_eq!(ask("charge"), ("new", "charge#3".to_owned()));
    replay.finish().unwrap();
}

#[test]
fn what_is_recorded_of_dropped_steps_and_forks_is_passed_over() {
    let rows = vec![
        done("a", 1, 1),
        done("audit", 1, 2),
        Recorded {
            key: StepKey::new("audits#1/0", "look", 1),
            ..done("look", 1, 3)
        },
        done("b", 1, 4),
    ];
    let changes = Changes {
        dropped: names(&["audit", "audits"]),
        ..Changes::default()
    };
    let mut replay = changed_code(rows, changes);
    replay.ask("", Kind::Step, "a").unwrap();
    let (how, _) = met(replay.ask("", Kind::Step, "b").unwrap());
    assert_eq!(how, "recorded");
    assert!(!replay.is_replaying());
    let (how, _) = met(replay.ask("", Kind::Step, "c").unwrap());
    assert_eq!(how, "new");
    replay.finish().unwrap();
}

#[test]
fn only_runs_that_are_not_past_a_change_take_the_new_way_and_all_keep_to_theirs() {
    // Past it: the old way, whatever is recorded later.
    for more in [0, 1] {
        let mut rows = vec![done("a", 1, 1), done("b", 1, 2)];
        rows.extend((0..more).map(|_| done("c", 1, 3)));
        let mut replay = fresh(rows);
        replay.ask("", Kind::Step, "a").unwrap();
        assert_eq!(replay.changed("", "x").unwrap(), Changed::Known(false));
        replay.ask("", Kind::Step, "b").unwrap();
        assert_eq!(replay.changed("", "x").unwrap(), Changed::Known(false));
    }
    // Not past it: the new way, which is recorded.
    let mut replay = fresh(vec![done("a", 1, 1)]);
    replay.ask("", Kind::Step, "a").unwrap();
    let Changed::New { key, position } = replay.changed("", "x").unwrap() else {
        panic!("it was told before");
    };
    assert_eq!((key.to_string(), position), ("changed:x#1".to_owned(), 2));
    assert_eq!(replay.changed("", "x").unwrap(), Changed::Known(true));
    let change = Recorded {
        key,
        kind: Kind::Change,
        ..done("x", 1, 2)
    };
    let rows = || vec![done("a", 1, 1), change.clone(), done("b", 1, 3)];
    let mut replay = fresh(rows());
    replay.ask("", Kind::Step, "a").unwrap();
    assert_eq!(replay.changed("", "x").unwrap(), Changed::Known(true));
    replay.ask("", Kind::Step, "b").unwrap();
    replay.finish().unwrap();
    // Code that does not ask any more is no contradiction.
    let mut replay = fresh(rows());
    replay.ask("", Kind::Step, "a").unwrap();
    replay.ask("", Kind::Step, "b").unwrap();
    assert!(!replay.is_replaying());
    replay.finish().unwrap();
}
