//! Ways out of the sandbox.

use dacapo_sandbox::{Ending, Level, LogSource};

use crate::support::{Run, output};

#[tokio::test]
async fn prints_become_log_lines_and_are_silent_in_a_replay() {
    let run = Run::new("outside.print", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    let before = ["out before", "err before", "out inside", "err inside"];
    assert_eq!(run.journal.messages(), before);
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(run.journal.messages(), before);
    run.journal.send("go", "null");
    output(run.go().await);
    assert_eq!(run.journal.messages()[4..], ["out after", "err after"]);

    let logs = run.journal.logs();
    let step = |at: usize| logs[at].step.as_ref().map(ToString::to_string);
    assert_eq!(
        (step(0), step(2), step(4)),
        (None, Some("print#1".to_owned()), None)
    );
    assert_eq!(
        (logs[0].source, logs[1].source),
        (LogSource::Stdout, LogSource::Stderr)
    );
}

#[tokio::test]
async fn log_lines_have_levels_and_fields_and_are_silent_in_a_replay() {
    let run = Run::new("outside.logs", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal.send("go", "null");
    output(run.go().await);
    let logs = run.journal.logs();
    assert_eq!(logs.len(), 15);
    let levels: Vec<Level> = logs[..5].iter().map(|line| line.level).collect();
    assert_eq!(
        levels,
        [
            Level::Trace,
            Level::Debug,
            Level::Info,
            Level::Warn,
            Level::Error
        ]
    );
    let first = &logs[0];
    assert_eq!(first.message, "trace before");
    assert_eq!(first.source, LogSource::Log);
    let field =
        |name: &str, value: &str| first.fields.contains(&(name.to_owned(), value.to_owned()));
    assert!(
        field("n", "7") && field("who", "probe"),
        "{:?}",
        first.fields
    );
}

#[tokio::test]
async fn the_network_is_closed_inside_and_outside_of_steps() {
    for workflow in ["outside.network", "outside.network-in-step"] {
        let seen = output(Run::new(workflow, "null").go().await);
        assert!(seen.contains("error: "), "{workflow}: {seen}");
    }
}

#[tokio::test]
async fn there_are_no_files() {
    for workflow in ["outside.files", "outside.files-in-step"] {
        let seen: Vec<String> =
            serde_json::from_str(&output(Run::new(workflow, "null").go().await)).unwrap();
        assert!(
            seen.iter().all(|line| line.contains(": error: ")),
            "{workflow}: {seen:?}"
        );
    }
}
