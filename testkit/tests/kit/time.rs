//! The virtual clock.

use std::time::{Duration, Instant};

use dacapo_testkit::{Standing, SuspendReason, Timestamp, Value, json};

use crate::support::probe;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn a_year_of_sleep_takes_no_time_and_is_seen_by_the_workflow() {
    let mut run = probe("journal-time", json!(365 * 24 * 60 * 60 * 1000_u64 / 2));
    let begun = Instant::now();
    let times: Vec<u64> = run.run_to_completion().await.unwrap().output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(run.elapsed(), 365 * DAY);
    let year_ms = 365 * 24 * 60 * 60 * 1000;
    let start_ms = 1_893_456_000_000;
    assert_eq!(
        times,
        [
            start_ms,
            start_ms + year_ms / 2,
            start_ms + year_ms,
            start_ms + year_ms
        ]
    );
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn an_event_counts_until_the_very_moment_of_the_time_out() {
    for (after_ms, expected) in [(5_000, json!("1")), (5_001, Value::Null)] {
        let mut run = probe("wait-timeout", json!(5_000));
        run.send_event_at(Duration::from_millis(after_ms), "go", 1);
        let outcome = run.run_to_completion().await.unwrap();
        assert_eq!(outcome.output::<Value>().unwrap(), expected, "{after_ms}");
        assert_eq!(run.elapsed(), Duration::from_secs(5));
        assert_eq!(run.untaken_events().is_empty(), after_ms == 5_000);
        run.crash_everywhere().await.unwrap();
    }
}

#[tokio::test]
async fn events_of_one_name_are_taken_in_the_order_of_their_times() {
    let mut run = probe("events", json!(["a", "b", "a"]));
    run.send_event_at(DAY, "a", "second")
        .send_event("a", "first")
        .send_event_at(2 * DAY, "b", Value::Null);
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(
        outcome.output::<Value>().unwrap(),
        json!(["\"first\"", "null", "\"second\""])
    );
    assert_eq!(run.elapsed(), 2 * DAY);
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn a_test_may_go_through_time_by_hand() {
    let mut run = probe("wait-timeout", json!(60_000));
    let Standing::Waiting(waiting) = run.advance(Duration::ZERO).await.unwrap() else {
        panic!("it has not ended")
    };
    assert_eq!(
        waiting.to_string(),
        "for the event `go`, at `go#1`, until 1m after its start"
    );
    assert_eq!(waiting.reason, SuspendReason::Event);
    run.assert_journal("go#1 wait open");
    let standing = run.advance(Duration::from_secs(59)).await.unwrap();
    assert!(matches!(standing, Standing::Waiting(_)), "{standing:?}");
    assert_eq!(run.elapsed(), Duration::from_secs(59));
    run.send_event("go", "in time");
    let Standing::Ended(outcome) = run.advance(Duration::ZERO).await.unwrap() else {
        panic!("it has ended")
    };
    assert_eq!(outcome.output::<String>().unwrap(), "\"in time\"");
    assert_eq!(run.elapsed(), Duration::from_secs(59));
    run.crash_everywhere().await.unwrap();
}

#[tokio::test]
async fn time_that_is_gone_through_ends_what_comes_due() {
    let mut run = probe("sleeps", json!({ "ms": 1_000, "times": 3 }));
    run.advance(Duration::from_millis(2_500)).await.unwrap();
    run.assert_journal(
        "nap#1 sleep ok null
         nap#2 sleep ok null
         nap#3 sleep open",
    );
    assert_eq!(run.elapsed(), Duration::from_millis(2_500));
}

#[tokio::test]
async fn the_start_is_when_the_test_says() {
    let start: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    let mut run = probe("sleeps-until", json!(start.as_millis() + 1_500));
    run.start_at(start);
    run.run_to_completion().await.unwrap();
    assert_eq!(run.elapsed(), Duration::from_millis(1_500));
}

#[tokio::test]
async fn a_body_that_waits_for_the_clock_ends() {
    let mut run = probe("busy-step", json!(50));
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.to_string(), "completed with null");
    assert!(run.elapsed() >= Duration::from_secs(1));
}
