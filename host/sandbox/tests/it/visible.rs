//! Replay sees what the first play saw.

use dacapo_sandbox::Ending;
use serde_json::Value;

use crate::memory_journal::START_MS;
use crate::support::{Run, output};

async fn play_through(run: &Run, advance_ms: i64) -> Value {
    loop {
        match run.go().await {
            Ending::Suspended => run.journal.advance(advance_ms),
            ending => return serde_json::from_str(&output(ending)).unwrap(),
        }
    }
}

#[tokio::test]
async fn clocks_and_randomness_are_the_same_in_a_replay() {
    let run = Run::new("visible.clock", "null");
    let seen = play_through(&run, 50).await;
    assert_eq!(seen["first"], seen["again"]);
    // Rust counts its hash maps: those that a body makes are missing in a replay, and no host can see that.
    let all_but_hash = |place: &str| {
        let mut lines = seen[place].as_array().unwrap().clone();
        lines.retain(|line| !line.as_str().unwrap().starts_with("hash="));
        lines
    };
    assert_eq!(all_but_hash("afterFirst"), all_but_hash("afterAgain"));
    assert_ne!(
        seen["first"], seen["afterFirst"],
        "time went on and randomness too"
    );
    assert_ne!(seen["first"], seen["inside"]);
    assert_eq!(seen["first"][0], format!("wall={START_MS}"));
    assert_eq!(seen["first"][4], "args=[]");
    assert_eq!(
        seen["first"].as_array().unwrap().len(),
        5,
        "there is no environment"
    );
}

#[tokio::test]
async fn runs_do_not_share_randomness() {
    let (one, other) = (
        Run::new("visible.random-u64", "null"),
        Run::new("visible.random-u64", "null"),
    );
    let seen = output(one.go().await);
    assert_ne!(seen, output(other.go().await));
    assert_eq!(seen, output(one.go().await));
}

#[tokio::test]
async fn randomness_in_a_step_is_real_and_recorded() {
    let run = Run::new("visible.random-u64-in-step", "null");
    let seen = output(run.go().await);
    assert_eq!(seen, output(run.go().await));
    let mut same_run = Run::new("visible.random-u64-in-step", "null");
    same_run.id = run.id;
    assert_ne!(seen, output(same_run.go().await));
}

#[tokio::test]
async fn journal_time_is_when_the_last_outcome_was_recorded() {
    let run = Run::new("visible.journal-time", "1000");
    let seen = play_through(&run, 1_000).await;
    let times: Vec<i64> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|time| time.as_i64().unwrap())
        .collect();
    assert_eq!(times[0], START_MS);
    assert!(
        times[1] >= START_MS + 1_000 && times[2] >= times[1] + 1_000 && times[3] > times[2],
        "{times:?}"
    );
}

#[tokio::test]
async fn sleeping_through_the_system_outside_a_step_takes_no_time() {
    let run = Run::new("visible.thread-sleep", "600000");
    let ending = tokio::time::timeout(std::time::Duration::from_secs(20), run.go()).await;
    assert_eq!(output(ending.expect("it returns at once")), "null");
}

#[tokio::test]
async fn a_guest_knows_about_its_run() {
    let mut run = Run::new("visible.about", "null");
    run.labels = vec![
        ("b".to_owned(), "2".to_owned()),
        ("a".to_owned(), "1".to_owned()),
    ];
    let seen: Vec<String> = serde_json::from_str(&output(run.go().await)).unwrap();
    let expected = [
        &run.id.to_string(),
        "test:probe/visible.about",
        &START_MS.to_string(),
        "a=1",
        "b=2",
    ];
    assert_eq!(seen, expected);
}
