//! Children: what a test says of runs that it does not play.

use std::time::Duration;

use dacapo_testkit::{Child, Error, Failure, Run, Value, json};

use crate::support::{guest, probe};

const SQUARE: &str = "test:probe/children.square";

fn runs(workflow: &str, input: &Value) -> Run {
    probe(
        "runs-child",
        json!({ "workflow": workflow, "input": input.to_string() }),
    )
}

#[tokio::test]
async fn a_child_ends_as_the_test_says() {
    let mut run = runs(SQUARE, &json!(12));
    run.script_child(
        "square",
        Child::answers(|input| {
            let number = input.as_u64().unwrap();
            Ok(json!(number * number))
        }),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<Value>().unwrap(), "144");
    run.assert_journal(
        r#"child#1 child ok {"run":"…","workflow":"test:probe/children.square"}
           between#1 step ok null
           child-end#1 wait ok {"ok":144}"#,
    );
    let child = run.children().pop().unwrap();
    assert_eq!(
        (child.workflow.as_str(), child.input.as_str()),
        (SQUARE, "12")
    );
    run.crash_everywhere().await.unwrap();

    let mut run = runs(SQUARE, &json!(12));
    run.script_child(
        SQUARE,
        Child::ends(Err(Failure::new("lost", "it got lost"))),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(
        outcome.workflow_error::<String>().unwrap().unwrap(),
        "lost: it got lost"
    );
    run.crash_everywhere().await.unwrap();

    // Of a workflow whose types nobody knows here.
    let mut run = runs("other:depot/api.pack", &json!({ "id": 7 }));
    run.script_child("api.pack", Child::ends(Ok(json!("p-1"))));
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<Value>().unwrap(), "\"p-1\"");
}

#[tokio::test]
async fn a_childs_input_is_checked_where_its_type_is_known() {
    let mut run = runs(SQUARE, &json!("twelve"));
    run.script_child("square", Child::ends(Ok(json!(144))));
    let outcome = run.run_to_completion().await.unwrap();
    let error = outcome.workflow_error::<String>().unwrap().unwrap();
    assert!(
        error.starts_with("input: child of test:probe/children.square"),
        "{error}"
    );
    assert!(run.children().is_empty());
}

#[tokio::test]
async fn waits_for_children_time_out_by_the_virtual_clock() {
    let plan = json!({ "workflow": SQUARE, "input": "3" });
    let mut run = probe("waits-again", plan.clone());
    run.script_child(
        "square",
        Child::ends(Ok(json!(9))).after(Duration::from_secs(3600)),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<Value>().unwrap(), "false 9 9");
    assert_eq!(run.elapsed(), Duration::from_secs(3600));
    run.assert_journal(
        r"child#1 child ok …
          child-end#1 wait timed-out
          child-end#2 wait ok …
          child-end#3 wait ok …",
    );
    run.crash_everywhere().await.unwrap();

    let mut run = probe("waits-again", plan.clone());
    run.script_child(
        "square",
        Child::ends(Ok(json!(9))).after(Duration::from_millis(10)),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<Value>().unwrap(), "true 9 9");

    let mut run = probe("waits-again", plan);
    run.script_child("square", Child::never_ends());
    let error = run.run_to_completion().await.unwrap_err().to_string();
    assert!(
        error.starts_with("the run waits for ever: for a child that never ends, at `child-end#2`; script a child that ends"),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_child_was_started_with_is_told() {
    let mut run = probe(
        "detaches-child",
        json!({ "workflow": SQUARE, "input": "3" }),
    );
    run.script_child("square", Child::never_ends());
    run.run_to_completion().await.unwrap();
    let child = run.children().pop().unwrap();
    assert!(child.detached);
    run.crash_everywhere().await.unwrap();

    let mut run = probe(
        "places-child",
        json!({
            "plan": { "workflow": SQUARE, "input": "3" }, "queue": "slow", "key": "ann", "priority": -7,
        }),
    );
    run.script_child("square", Child::ends(Ok(json!(9))));
    run.run_to_completion().await.unwrap();
    let child = run.children().pop().unwrap();
    assert_eq!(
        (
            child.queue.as_deref(),
            child.concurrency_key.as_deref(),
            child.priority,
            child.detached
        ),
        (Some("slow"), Some("ann"), Some(-7), false)
    );
}

#[tokio::test]
async fn imported_functions_are_scripted_like_other_children() {
    let caller = guest("caller");
    let order = json!({ "itemName": "cup", "count": 2 });
    let mut run = caller.run("calls.reserve", &order).unwrap();
    run.script_child(
        "typed.reserve",
        Child::ends(Ok(json!({ "id": 7, "items": ["a", "b"] }))),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<Value>().unwrap(), "7 a,b");
    run.crash_everywhere().await.unwrap();

    let mut run = caller.run("calls.reserve", &order).unwrap();
    run.script_child(
        "typed.reserve",
        Child::returns_error(json!({ "tag": "sold-out", "val": 3 })),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(
        outcome.workflow_error::<String>().unwrap().unwrap(),
        "sold out, 3 left"
    );

    let mut run = caller.run("calls.reserve", &order).unwrap();
    run.script_child(
        "typed.reserve",
        Child::ends(Err(Failure::new("trap", "it trapped"))),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(
        outcome.workflow_error::<String>().unwrap().unwrap(),
        "trap: it trapped"
    );

    let mut run = caller.run("count-thrice", json!(["a"])).unwrap();
    run.script_child(
        "count",
        Child::answers(|items| Ok(json!(items.as_array().unwrap().len()))),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<u32>().unwrap(), 3);
}

#[tokio::test]
async fn a_child_that_nobody_scripted_says_how_to() {
    let mut run = runs("children.square", &json!(12));
    let outcome = run.run_to_completion().await.unwrap().to_string();
    assert_eq!(
        outcome,
        "is blocked with unknown-workflow: `child#1` is to start a child: a test plays one run, and a child of \
         `test:probe/children.square` would be another: say how it ends with `script_child(\"test:probe/children.square\", …)`"
    );
    let mut run = runs(SQUARE, &json!(12));
    run.script_child("square", Child::ends(Ok(json!(144))));
    run.script_child("cube", Child::never_ends());
    let error = run.run_to_completion().await.unwrap_err();
    assert!(matches!(error, Error::Unused { .. }), "{error}");
    assert!(error.to_string().contains("child `cube`"), "{error}");
    let mut run = runs(SQUARE, &json!(12));
    run.script_child("square", Child::ends(Ok(json!(144))));
    run.script_child("square", Child::never_ends());
    let error = run.run_to_completion().await.unwrap_err();
    assert!(matches!(error, Error::ScriptedTwice(_)), "{error}");
}

#[tokio::test]
async fn children_of_branches_are_scripted_too() {
    let mut run = probe("runs-many", json!(4));
    run.script_child(
        SQUARE,
        Child::answers(|input| Ok(json!(input.as_u64().unwrap() * 10)))
            .after(Duration::from_secs(60)),
    );
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<u64>().unwrap(), 60);
    assert_eq!(
        run.elapsed(),
        Duration::from_secs(60),
        "all at the same time"
    );
    run.crash_everywhere().await.unwrap();
}
