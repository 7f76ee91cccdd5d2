//! A guest can hurt only its own run.

use dacapo_model::Status;
use dacapo_tests::database;
use dacapo_worker::{Worker, WorkerConfig};

use crate::check::sound;

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_go_wrong_end_their_own_runs_with_a_cause_and_a_backtrace() {
    let database = database().await;
    database.deploy("probe").await;
    let mut config = WorkerConfig {
        guest_threads: 2,
        ..WorkerConfig::default()
    };
    config.sandbox.cpu_between_calls_max_ms = 300;
    config.sandbox.memory_max_bytes = 32 << 20;
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let cases = [
        ("spin", "timeout", "spin"),
        ("hog", "memory-limit", "33554432"),
        ("overflow", "stack-overflow", "overflow"),
        ("trap", "trap", "the probe panics on purpose"),
        ("abort", "trap", "abort"),
    ];
    let mut runs = Vec::new();
    for (workflow, code, says) in cases {
        // Two of each at once, among runs that behave.
        for _ in 0..2 {
            runs.push((database.start(workflow, "null").await, code, says));
        }
    }
    let mut good = Vec::new();
    for _ in 0..30 {
        good.push(database.start("counted-steps", "10").await);
    }
    for run in good {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    for (run, code, says) in runs {
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Failed);
        let failure = done.failure.unwrap();
        assert_eq!(failure.code, code, "{failure:?}");
        let details = failure
            .details
            .as_ref()
            .map(|details| details.as_str())
            .unwrap_or_default();
        assert!(details.contains("backtrace"), "{failure:?}");
        assert!(
            failure.message.contains(says) || details.contains(says),
            "expected {says:?} in {failure:?}"
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn misuse_of_the_interface_ends_the_run_with_an_explanation() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = crate::check::worker(&database).await;
    for workflow in [
        "nested-steps",
        "wait-in-step",
        "sleep-in-step",
        "dropped-attempt",
        "return-in-step",
    ] {
        let run = database.start(workflow, "null").await;
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Failed, "{workflow}");
        let failure = done.failure.unwrap();
        assert_eq!(failure.code, "misuse", "{workflow}: {failure:?}");
    }
    for name in ["", "a/b", "a#b", "a\nb"] {
        let run = database
            .start("step-named", &serde_json::to_string(name).unwrap())
            .await;
        assert_eq!(
            database.done(run).await.failure.unwrap().code,
            "misuse",
            "{name:?}"
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}
