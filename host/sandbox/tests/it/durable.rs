//! Steps and waits, played and played again.

use dacapo_model::{SaidProgress, Timestamp};
use dacapo_sandbox::{Ending, SuspendReason};

use crate::memory_journal::START_MS;
use crate::support::{Run, output, probe};

#[tokio::test]
async fn what_comes_before_a_body_is_durable() {
    let run = Run::new("durable.counted-steps", "3");
    assert_eq!(output(run.go().await), "6");
    assert_eq!(
        run.journal.trace(),
        ["settle", "s#1 ok", "settle", "s#2 ok", "settle", "s#3 ok"]
    );
    assert_eq!(
        run.journal.keys(),
        ["s#1 step ok", "s#2 step ok", "s#3 step ok"]
    );
}

#[tokio::test]
async fn replay_executes_and_writes_nothing_twice() {
    let run = Run::new("durable.effects", "5");
    output(run.go().await);
    let effects: Vec<String> = (1..=5).map(|k| format!("effect s#{k}")).collect();
    assert_eq!(run.journal.messages(), effects);
    run.journal.forget_trace();
    assert_eq!(output(run.go().await), "null");
    assert_eq!(run.journal.trace(), Vec::<String>::new());
    assert_eq!(run.journal.messages(), effects);
}

#[tokio::test]
async fn a_waiting_run_is_given_up_and_goes_on_where_it_was() {
    let run = Run::new("durable.step-wait-step", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(run.journal.keys(), ["a#1 step ok", "go#1 wait open"]);
    let suspension = run.journal.suspension().unwrap();
    assert_eq!(
        (suspension.reason, suspension.wake_at),
        (SuspendReason::Event, None)
    );
    assert_eq!(suspension.events, ["go"]);

    // Woken for nothing, it gives up again and writes nothing.
    run.journal.forget_trace();
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(run.journal.trace(), ["suspend event"]);

    run.journal.send("go", "\"now\"");
    assert_eq!(output(run.go().await), r#""a \"now\" b""#);
    assert_eq!(
        run.journal.keys(),
        ["a#1 step ok", "go#1 wait ok", "b#1 step ok"]
    );
    assert_eq!(run.journal.messages(), ["effect a", "effect b"]);
}

#[tokio::test]
async fn an_event_that_came_early_is_taken_without_suspending() {
    let run = Run::new("durable.step-wait-step", "null");
    run.journal.send("go", "1");
    assert_eq!(output(run.go().await), r#""a 1 b""#);
    assert_eq!(
        run.journal.trace(),
        ["settle", "a#1 ok", "go#1 ok", "settle", "b#1 ok"]
    );
}

#[tokio::test]
async fn an_event_that_comes_while_the_run_is_given_up_is_taken_by_this_instance() {
    let run = Run::new("durable.wait-timeout", "10000");
    run.journal.send_while_suspending("go", "1");
    assert_eq!(output(run.go().await), r#""1""#);
    assert_eq!(
        run.journal.trace(),
        ["go#1 open", "suspend event", "go#1 ok"]
    );
}

#[tokio::test]
async fn a_run_that_is_woken_for_nothing_is_given_up_again() {
    let run = Run::new("durable.wait-timeout", "10000");
    run.journal.send_while_suspending("other", "1");
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(
        run.journal.trace(),
        ["go#1 open", "suspend event", "suspend event"]
    );
}

#[tokio::test]
async fn events_are_taken_once_each_in_the_order_of_the_code() {
    let run = Run::new("durable.events", r#"["a","b","a"]"#);
    for (name, json) in [("b", "2"), ("a", "1"), ("a", "null")] {
        run.journal.send(name, json);
    }
    assert_eq!(output(run.go().await), r#"["1","2","null"]"#);
    assert_eq!(
        run.journal.keys(),
        ["a#1 wait ok", "b#1 wait ok", "a#2 wait ok"]
    );
}

#[tokio::test]
async fn a_wait_that_is_over_returns_none() {
    let run = Run::new("durable.wait-timeout", "5000");
    assert_eq!(run.go().await, Ending::Suspended);
    let due = run.journal.suspension().unwrap().wake_at.unwrap();
    run.journal.advance(5_000);
    run.journal.send("go", "\"late\"");
    assert_eq!(output(run.go().await), "null");
    assert_eq!(run.journal.keys(), ["go#1 wait timed-out"]);
    assert!(due >= Timestamp::from_millis(START_MS + 5_000));
}

#[tokio::test]
async fn an_event_in_time_counts_even_if_it_is_looked_at_late() {
    let run = Run::new("durable.wait-timeout", "5000");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal.send("go", "\"in time\"");
    run.journal.advance(60_000);
    assert_eq!(output(run.go().await), r#""\"in time\"""#);
}

#[tokio::test]
async fn what_came_in_time_is_looked_for_before_a_wait_is_over() {
    for fails in [0, 1, 3] {
        let run = Run::new("durable.wait-timeout", "5000");
        assert_eq!(run.go().await, Ending::Suspended);
        run.journal.send_unseen("go", "\"in time\"", fails);
        run.journal.advance(60_000);
        // What cannot be known now is known to whoever plays the run next.
        for _ in 0..fails {
            assert_eq!(run.go().await, Ending::Suspended);
        }
        assert_eq!(output(run.go().await), r#""\"in time\"""#);
        assert_eq!(run.journal.keys(), ["go#1 wait ok"]);
    }
}

#[tokio::test]
async fn a_time_out_of_nothing_is_over_at_once() {
    let run = Run::new("durable.wait-timeout", "0");
    assert_eq!(output(run.go().await), "null");
    assert_eq!(run.journal.trace(), ["go#1 timed-out"]);
}

#[tokio::test]
async fn a_time_out_beyond_all_time_is_kept_in_bounds() {
    let run = Run::new("durable.wait-timeout", "\"18446744073709551615\"");
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(
        run.journal.suspension().unwrap().wake_at,
        Some(Timestamp::MAX)
    );
}

#[tokio::test]
async fn an_event_of_another_type_fails_with_its_name() {
    let run = Run::new("durable.typed-event", "null");
    run.journal.send("n", "\"four\"");
    let Ending::Failed(failure) = run.go().await else {
        panic!("expected a failure")
    };
    assert!(failure.message.contains('n'), "{failure:?}");
}

#[tokio::test]
async fn sleeps_end_when_their_time_has_come() {
    let run = Run::new("durable.sleeps", r#"{"ms":1000,"times":2}"#);
    for occurrence in 1..=2 {
        assert_eq!(run.go().await, Ending::Suspended);
        assert_eq!(
            run.journal.suspension().unwrap().reason,
            SuspendReason::Time
        );
        assert_eq!(
            run.journal.keys().last().unwrap(),
            &format!("nap#{occurrence} sleep open")
        );
        run.journal.advance(1_000);
    }
    assert_eq!(output(run.go().await), "null");
    assert_eq!(run.journal.keys(), ["nap#1 sleep ok", "nap#2 sleep ok"]);
}

#[tokio::test]
async fn sleeping_for_nothing_or_into_the_past_is_over_at_once() {
    let run = Run::new("durable.sleeps", r#"{"ms":0,"times":3}"#);
    assert_eq!(output(run.go().await), "null");
    let run = Run::new("durable.sleeps-until", "1000");
    assert_eq!(output(run.go().await), "null");
    assert_eq!(run.journal.keys(), ["until#1 sleep ok"]);
}

#[tokio::test]
async fn a_pause_holds_until_somebody_resumes_it() {
    let run = Run::new("durable.pauses", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(run.journal.keys(), ["first#1 pause open"]);
    run.journal.complete_pauses();
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal.complete_pauses();
    assert_eq!(output(run.go().await), "null");
    assert_eq!(
        run.journal.keys(),
        ["first#1 pause ok", "between#1 step ok", "second#1 pause ok"]
    );
}

#[tokio::test]
async fn a_failed_step_is_a_value_that_is_recorded() {
    let run = Run::new("durable.step-fails", "null");
    let expected = r#"["card-declined","the bank said no"]"#;
    assert_eq!(output(run.go().await), expected);
    assert_eq!(
        run.journal.keys(),
        ["charge#1 step failed", "release#1 step ok"]
    );
    assert_eq!(output(run.go().await), expected);
}

#[tokio::test]
async fn a_result_over_the_limit_fails_the_run_and_names_step_and_limit() {
    let ending = Run::new("durable.big-step", "1048576").go().await;
    let Ending::Failed(failure) = ending else {
        panic!("expected a failure: {ending:?}")
    };
    assert_eq!(failure.code, "payload-limit");
    assert_eq!(
        failure.message,
        "the outcome of step `big#1` cannot be recorded: payload is 1,048,578 bytes, the limit is 1,048,576 bytes \
         (max-payload-bytes)"
    );
    assert_eq!(
        output(Run::new("durable.big-step", "1048574").go().await),
        "1048574"
    );
}

#[tokio::test]
async fn more_runs_than_places_wait_for_one() {
    let runs: Vec<Run> = (0..64)
        .map(|_| Run::new("durable.counted-steps", "10"))
        .collect();
    probe();
    let mut tasks = tokio::task::JoinSet::new();
    for run in runs {
        tasks.spawn(async move { output(run.go().await) });
    }
    assert_eq!(tasks.join_all().await, vec!["55"; 64]);
}

#[tokio::test]
async fn how_far_a_run_is_is_said_again_only_behind_what_is_replayed() {
    let run = Run::new("progress.loops", "3");
    let said = || -> Vec<String> {
        let said = run.journal.progress();
        let line = |said: SaidProgress| {
            format!(
                "{}/{} {}",
                said.done,
                said.total,
                said.note.unwrap_or_default()
            )
        };
        said.into_iter().map(line).collect()
    };
    assert_eq!(run.go().await, Ending::Suspended);
    let looped = ["1/3 ", "2/3 ", "3/3 "];
    assert_eq!(said(), looped);
    run.journal.send("go", "1");
    assert_eq!(run.go().await, Ending::Suspended);
    let all = ["1/3 ", "2/3 ", "3/3 ", "1/2 in the body"];
    // What it waited for was open: it had come no further than the loop.
    assert_eq!(said(), all);
    run.journal.send("more", "1");
    assert_eq!(output(run.go().await), "null");
    assert_eq!(said(), all);
}
