//! Branches in tests: one after the other, as durable as ever.

use std::time::Duration;

use dacapo_testkit::{Value, json};

use crate::support::probe;

#[tokio::test]
async fn a_race_is_won_by_the_first_by_the_virtual_clock() {
    let mut run = probe("branches.races", json!(1_000));
    let slept = run.run_to_completion().await.unwrap();
    assert_eq!(run.elapsed(), Duration::from_secs(1));
    let slept: String = slept.output().unwrap();

    let mut run = probe("branches.races", json!(1_000));
    run.send_event_at(Duration::from_millis(500), "answered", json!("yes"));
    let answered = run.run_to_completion().await.unwrap();
    assert_eq!(run.elapsed(), Duration::from_millis(500));
    assert_ne!(answered.output::<String>().unwrap(), slept);
}

#[tokio::test]
async fn races_and_nested_forks_survive_crashes_everywhere() {
    let mut run = probe("branches.races", json!(1_000));
    run.crash_everywhere().await.unwrap();
    let mut run = probe("branches.nested", Value::Null);
    let outcome = run.run_to_completion().await.unwrap();
    assert!(outcome.output::<u32>().unwrap() > 0);
    run.crash_everywhere().await.unwrap();
}
