//! What the kit for C has that no other one has: JSON by formats, failures of assertions, and texts whose memory may be anywhere.

use std::path::PathBuf;

use dacapo_testkit::{Component, Run, RunOutcome, Value, json};
use tokio::sync::OnceCell;

use crate::projects::{C, copy, dacapo, directory, root, said};

/// A run of a workflow of `tests/languages/c-kit`; none if C cannot be built here.
async fn begun(workflow: &str) -> Option<Run> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    if !C.is_here() {
        return None;
    }
    let build = || async {
        let project = directory("c-kit");
        copy(&root().join("tests/languages/c-kit"), &project);
        said(&dacapo(&project, &["build"]).await);
        project.join("kit.wasm")
    };
    let component = Component::load(BUILT.get_or_init(build).await).unwrap();
    Some(
        component
            .run(&format!("kit.{workflow}"), Value::Null)
            .unwrap(),
    )
}

async fn answered(run: &mut Run) -> String {
    let outcome = run.run_to_completion().await.unwrap();
    outcome.output().unwrap()
}

/// The code and the message with which the run failed.
async fn failed(run: &mut Run) -> (String, String) {
    match run.run_to_completion().await.unwrap() {
        RunOutcome::Failed(failure) => (failure.code, failure.message),
        other => panic!("expected a failure, the run {other}"),
    }
}

fn logged(run: &Run) -> String {
    let lines = run.logs().into_iter();
    lines.map(|line| line.message + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_read_in_place_and_written_by_a_format() {
    let Some(mut run) = begun("reads").await else {
        return;
    };
    assert_eq!(answered(&mut run).await, "fine");

    let mut run = begun("writes").await.unwrap();
    run.run_to_completion().await.unwrap();
    run.assert_journal(
        r#"
        write#1 step ok [-5,1152921504606846976,7,4000000000,0.1,1e+300,0.3333333333333333,"xy","q\"\\\u000a\u0001é",null,[1],"100%"]
        "#,
    );

    let mut run = begun("misformats").await.unwrap();
    assert_eq!(failed(&mut run).await.0, "trap");
    assert!(
        logged(&run).contains("no flags or widths"),
        "{}",
        logged(&run)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_in_c_says_what_it_is() {
    let Some(mut run) = begun("aborts").await else {
        return;
    };
    let (code, message) = failed(&mut run).await;
    assert_eq!(code, "exception");
    assert_eq!(message, "the workflow has called abort()");

    let mut run = begun("asserts-in-step").await.unwrap();
    assert_eq!(failed(&mut run).await.0, "trap");
    let says = "assertion failed: attempt->number == 7, in assert_in_step at workflows.c:";
    assert!(logged(&run).contains(says), "{}", logged(&run));

    let mut run = begun("says-nothing").await.unwrap();
    let (code, message) = failed(&mut run).await;
    assert_eq!(code, "error");
    assert_eq!(
        message,
        "step `say-nothing` has answered false and no failure"
    );

    let mut run = begun("garbles").await.unwrap();
    assert_eq!(failed(&mut run).await.1, "the bank says ??, é");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_not_from_malloc_may_be_handed_out() {
    let Some(mut run) = begun("literals").await else {
        return;
    };
    assert_eq!(answered(&mut run).await, r#""a literal""#);
    run.crash_everywhere().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_and_waits_answer_what_came_of_them() {
    let Some(mut run) = begun("branches").await else {
        return;
    };
    assert_eq!(
        answered(&mut run).await,
        r#"{"index":0,"side":"left"} {"index":1,"side":"right"}; 1 {"index":1,"side":"right"}; {"index":0,"side":"odd"} branch 1 is odd"#
    );
    assert!(
        logged(&run).contains("odd: branch 1 is odd"),
        "{}",
        logged(&run)
    );

    let mut run = begun("waits").await.unwrap();
    run.send_event("y", json!(3));
    assert_eq!(answered(&mut run).await, "1 3");
    let mut run = begun("waits").await.unwrap();
    assert_eq!(answered(&mut run).await, "2 nothing");
}
