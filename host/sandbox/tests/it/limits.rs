//! A guest can hurt its own run only.

use dacapo_model::{Failure, PayloadLimits};
use dacapo_sandbox::{BlockCode, Ending, Sandbox, SandboxConfig, Stop};

use crate::support::{Run, config, details, failure, output, probe};

async fn end_of(workflow: &str) -> (Ending, Run) {
    let run = Run::new(workflow, "null");
    (run.go().await, run)
}

fn backtrace(ending: &Ending) -> Vec<String> {
    serde_json::from_value(details(ending)["backtrace"].clone()).unwrap()
}

#[tokio::test]
async fn a_panic_ends_the_run_with_its_text_and_a_backtrace() {
    let (ending, run) = end_of("limits.trap").await;
    assert!(
        backtrace(&ending)
            .iter()
            .any(|name| name.contains("limits@1.0.0#trap")),
        "{ending:#?}"
    );
    let (code, message) = failure(ending);
    assert_eq!(code, "trap");
    assert!(
        message.starts_with("panicked at ") && message.ends_with("the probe panics on purpose"),
        "{message}"
    );
    assert!(
        !run.journal.messages().is_empty(),
        "what the panic printed is in the log, too"
    );
}

/// A guest that goes wrong in a step's only attempt: the failure that is recorded of it. The code has its say after that.
async fn attempt_of(workflow: &str) -> Failure {
    let (ending, run) = end_of(workflow).await;
    assert_eq!(ending, Ending::Stopped(Stop::Again), "{workflow}");
    assert_eq!(run.journal.keys(), ["s#1 step failed"]);
    let attempts = run.journal.failed_attempts();
    let [attempt] = attempts.as_slice() else {
        panic!("{attempts:?}")
    };
    // Played again, it is handed the failure as a value.
    assert_eq!(failure(run.go().await).1, attempt.failure.code);
    attempt.failure.clone()
}

#[tokio::test]
async fn what_goes_wrong_in_a_step_is_a_failed_attempt_with_a_backtrace() {
    for (workflow, code) in [
        ("limits.trap-in-step", "trap"),
        ("limits.spin-in-step", "timeout"),
        ("limits.hog-in-step", "memory-limit"),
        ("limits.overflow-in-step", "stack-overflow"),
    ] {
        let failure = attempt_of(workflow).await;
        assert_eq!(failure.code, code);
        assert!(failure.retryable);
        let details = failure.details.expect("there are details");
        let details: serde_json::Value = serde_json::from_str(details.as_str()).unwrap();
        assert_eq!(details["step"], "s#1");
        assert!(
            !details["backtrace"].as_array().unwrap().is_empty(),
            "{workflow}: {details}"
        );
    }
    // Far more handed over at once than a payload may have.
    let sandbox = Sandbox::new(SandboxConfig {
        payload: PayloadLimits {
            max_bytes: 1_000,
            ..PayloadLimits::default()
        },
        memory_max_bytes: 128 << 20,
        // So much takes its time.
        cpu_between_calls_max_ms: 30_000,
        instances_max: 1,
        ..config()
    })
    .unwrap();
    let prepared = sandbox
        .prepare(&probe().described.digest, &probe().described.component)
        .unwrap();
    let run = Run::new("durable.big-step", "20000000");
    let ending = run.go_in(&sandbox, probe(), &prepared).await;
    assert_eq!(ending, Ending::Suspended, "until the next attempt");
    let attempts = run.journal.failed_attempts();
    let [attempt] = attempts.as_slice() else {
        panic!("{attempts:?}")
    };
    assert_eq!(attempt.failure.code, "payload-limit");
    assert!(attempt.failure.retryable);
}

#[tokio::test]
async fn an_abort_ends_the_run() {
    let (ending, _) = end_of("limits.abort").await;
    let (code, message) = failure(ending);
    assert_eq!(code, "trap");
    assert!(message.contains("unreachable"), "{message}");
}

#[tokio::test]
async fn an_endless_loop_is_ended_and_others_go_on_meanwhile() {
    // Both on this one thread: the other run can only make progress while the loop is interrupted.
    let looping = end_of("limits.spin");
    let other = Run::new("durable.counted-steps", "20");
    let ((ending, run), ()) = tokio::join!(looping, async {
        tokio::task::yield_now().await;
        assert_eq!(output(other.go().await), "210");
    });
    assert!(
        run.journal.nudges() > 0,
        "what is recorded is written while the guest computes"
    );
    assert!(!backtrace(&ending).is_empty());
    let (code, message) = failure(ending);
    assert_eq!(code, "timeout");
    assert_eq!(
        message,
        "the workflow computed for more than 300 ms without a step or a wait"
    );
}

#[tokio::test]
async fn memory_beyond_the_limit_ends_the_run_and_names_the_limit() {
    let (ending, _) = end_of("limits.hog").await;
    let (code, message) = failure(ending);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("memory-limit", "memory limit of 33554432 bytes reached")
    );
}

#[tokio::test]
async fn a_recursion_without_end_ends_the_run() {
    let (ending, _) = end_of("limits.overflow").await;
    assert!(backtrace(&ending)[0].contains("descend"), "{ending:#?}");
    assert_eq!(failure(ending).0, "stack-overflow");
}

#[tokio::test]
async fn a_dropped_run_frees_its_place() {
    for _ in 0..40 {
        let run = Run::new("limits.spin", "null");
        let cut = tokio::time::timeout(std::time::Duration::from_millis(2), run.go()).await;
        assert!(cut.is_err(), "a loop does not end in 2 ms");
    }
    assert_eq!(
        output(Run::new("durable.counted-steps", "1").go().await),
        "1"
    );
}

#[tokio::test]
async fn a_journal_that_is_full_blocks_the_run_which_goes_on_under_a_higher_limit() {
    let tight = [
        SandboxConfig {
            steps_max: 3,
            ..config()
        },
        // Each row holds its key and its outcome: `s#1` and one digit.
        SandboxConfig {
            journal_max_bytes: 12,
            ..config()
        },
    ];
    for config in tight {
        let sandbox = Sandbox::new(config).unwrap();
        let guest = probe();
        let prepared = sandbox
            .prepare(&guest.described.digest, &guest.described.component)
            .unwrap();
        let run = Run::new("durable.counted-steps", "5");
        let Ending::Blocked(reason) = run.go_in(&sandbox, guest, &prepared).await else {
            panic!("the run is blocked");
        };
        assert_eq!(reason.code, BlockCode::JournalLimit);
        assert!(
            reason.message.contains("`s#4`") && reason.message.contains("-max)"),
            "{}",
            reason.message
        );
        assert_eq!(run.journal.keys().len(), 3);
        assert_eq!(output(run.go().await), "15");
        assert_eq!(run.journal.keys().len(), 5);
    }
}
