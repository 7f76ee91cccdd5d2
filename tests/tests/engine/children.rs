//! Children: runs that runs have started.

use std::time::Duration;

use dacapo_client::{QueueChange, Run, RunId, StartOptions};
use dacapo_model::Status;
use dacapo_tests::{Dacapo, Database, database, guest_path};

use crate::check::{bodies_once, journal, sound, worker};
use crate::command::{run, text};

/// Input for the probe's workflows that start a child.
fn plan(workflow: &str, input: &str) -> String {
    serde_json::json!({ "workflow": workflow, "input": input }).to_string()
}

/// What a run returned, or the error with which it failed.
fn said(run: &Run) -> String {
    match (&run.output, &run.failure) {
        (Some(output), _) => output.to_string(),
        (None, Some(failure)) => failure.message.clone(),
        (None, None) => format!("{:?}", run.status),
    }
}

async fn children(database: &Database, parent: RunId) -> Vec<RunId> {
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from dacapo.run where parent = $1 order by created_at")
            .bind(parent.0)
            .fetch_all(database.store.pool())
            .await
            .unwrap();
    ids.into_iter().map(RunId).collect()
}

/// The child of a run, once that waits for it, and the child for a person.
async fn waiting_child(database: &Database, parent: RunId) -> RunId {
    database
        .until(
            "the parent waits for its child, and the child for a person",
            "select count(*) = 2 from dacapo.task_suspended where reason in ('child', 'pause')",
        )
        .await;
    children(database, parent).await[0]
}

async fn start(database: &Database, workflow: &str, input: &str) -> RunId {
    database.start(&format!("children.{workflow}"), input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_a_run_of_its_own_and_its_outcome_a_value() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;

    let parent = start(
        &database,
        "runs-child",
        &plan("test:probe/children.square", "12"),
    )
    .await;
    assert_eq!(said(&database.done(parent).await), r#""144""#);
    let child = children(&database, parent).await[0];
    assert_eq!(
        journal(&database, parent).await,
        [
            format!(
                r#"child#1 child ok {{"run":"{child}","workflow":"test:probe/children.square"}}"#
            ),
            "between#1 step ok null".to_owned(),
            r#"child-end#1 wait ok {"ok":144}"#.to_owned(),
        ]
    );
    assert_eq!(journal(&database, child).await, ["square#1 step ok 144"]);

    // It is as urgent as its parent, and in no queue.
    let client = &database.client;
    client.set_queue("q", QueueChange::default()).await.unwrap();
    let urgent = StartOptions {
        priority: Some(5),
        ..StartOptions::default().queue("q")
    };
    let input = plan("test:probe/children.square", "2");
    let parent = client
        .start_by_name("children.runs-child", &input, urgent)
        .await
        .unwrap();
    assert_eq!(said(&database.done(parent.id).await), r#""4""#);
    let child = children(&database, parent.id).await[0];
    let child = client.get(child).await.unwrap();
    assert_eq!((child.priority, child.parent), (5, Some(parent.id)));
    assert_eq!(child.queue, None);

    // An end of the name is enough where it is unique; an output of `null` is one.
    for (workflow, input, expected) in [
        ("square", "3", r#""9""#),
        ("children.square", "3", r#""9""#),
        ("shapes.nothing", "null", r#""null""#),
        (
            "square",
            "\"three\"",
            "input: child of test:probe/children.square: input: expected u32, got \"three\"",
        ),
        ("branches.one-fails", "null", "error: one cannot"),
    ] {
        let parent = start(&database, "runs-child", &plan(workflow, input)).await;
        let said = said(&database.done(parent).await);
        assert!(said.starts_with(expected), "{workflow} {input}: {said}");
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_trap_or_are_cancelled_are_failures_of_their_own() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let parent = start(&database, "runs-child", &plan("branches.traps", "null")).await;
    let trapped = said(&database.done(parent).await);
    assert!(trapped.starts_with("trap: "), "{trapped}");

    let parent = start(&database, "runs-child", &plan("durable.pauses", "null")).await;
    let child = waiting_child(&database, parent).await;
    database.client.cancel(child).await.unwrap();
    let cancelled = said(&database.done(parent).await);
    assert_eq!(
        cancelled,
        format!("child-cancelled: the child run {child} was cancelled")
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_may_be_waited_for_in_turns_and_again() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let parent = start(&database, "waits-again", &plan("busy-step", "300")).await;
    assert_eq!(said(&database.done(parent).await), r#""false null null""#);
    let stranger = start(&database, "awaits-stranger", &format!("\"{parent}\"")).await;
    assert_eq!(said(&database.done(stranger).await), "unknown-child");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_does_not_outlive_its_parent_unless_it_is_detached() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let waits = plan("durable.pauses", "null");

    // The parent completes. Its child was given labels, and has not its own.
    let labelled = |workflow: &'static str| {
        let options = StartOptions::default().label("tenant", "a");
        let started = database.client.start_by_name(workflow, &waits, options);
        async move { started.await.unwrap().id }
    };
    let parent = labelled("children.leaves-child").await;
    assert_eq!(database.done(parent).await.status, Status::Completed);
    let child = children(&database, parent).await[0];
    let ended = database.done(child).await;
    assert_eq!(ended.status, Status::Cancelled, "{ended:?}");
    assert_eq!(ended.labels, [("left".to_owned(), "yes".to_owned())].into());

    // The parent is cancelled while it waits: the child is told at once, and the parent of its own cancel.
    let parent = labelled("children.runs-child").await;
    let child = waiting_child(&database, parent).await;
    let client = &database.client;
    client.pause_workflow("children.runs-child").await.unwrap();
    client.cancel(parent).await.unwrap();
    let ended = database.done(child).await;
    assert_eq!(ended.status, Status::Cancelled, "{ended:?}");
    assert_eq!(
        ended.labels,
        [("tenant".to_owned(), "a".to_owned())].into(),
        "those of its parent"
    );
    assert_eq!(
        client.get(parent).await.unwrap().status,
        Status::Cancelling,
        "it is not played, and has not ended"
    );
    client.resume_workflow("children.runs-child").await.unwrap();
    assert_eq!(database.done(parent).await.status, Status::Cancelled);

    // The parent is ended by force.
    let parent = start(&database, "runs-child", &waits).await;
    let child = waiting_child(&database, parent).await;
    database.client.kill(parent).await.unwrap();
    assert_eq!(database.done(child).await.status, Status::Cancelled);

    // The parent fails by its deadline.
    let options = StartOptions::default().deadline(Duration::from_secs(2));
    let parent = client.start_by_name("children.runs-child", &waits, options);
    let parent = parent.await.unwrap().id;
    let child = waiting_child(&database, parent).await;
    assert_eq!(database.done(parent).await.status, Status::Failed);
    assert_eq!(database.done(child).await.status, Status::Cancelled);

    let parent = start(&database, "detaches-child", &waits).await;
    assert_eq!(database.done(parent).await.status, Status::Completed);
    let child = children(&database, parent).await[0];
    database
        .until(
            "the detached child waits",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'pause'",
        )
        .await;
    database
        .until(
            "nothing is left to be cancelled",
            "select count(*) = 0 from dacapo.child_cancel",
        )
        .await;
    let left = database.client.get(child).await.unwrap();
    assert_eq!(left.status, Status::Paused);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_start_each_other_without_end_are_stopped_at_a_depth() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = start(&database, "cycle", "null").await;
    let said = said(&database.done(run).await);
    assert!(said.contains("32 deep"), "{said}");
    assert_eq!(database.count("select count(*) from dacapo.run").await, 33);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_of_a_workflow_that_is_not_deployed_blocks_the_run_until_it_is() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let parent = start(&database, "runs-child", &plan("nowhere.nothing", "null")).await;
    database
        .until(
            "the parent is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let blocked = database.client.get(parent).await.unwrap();
    let reason = blocked.blocked.unwrap().to_string();
    assert!(
        reason.contains("unknown-workflow")
            && reason.contains("deploy a component that exports it"),
        "{reason}"
    );
    // Something else that is deployed is of no use to it.
    database.deploy("forgetful").await;
    let still = database.client.get(parent).await.unwrap();
    assert_eq!(still.status, Status::Blocked);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_function_is_a_child_run_of_the_workflow_of_that_name() {
    let database = database().await;
    database.deploy("caller").await;
    let worker = worker(&database).await;

    // Nothing is lost when the other package is not there yet.
    let order = |name: &str, count: u32| format!(r#"{{"itemName": "{name}", "count": {count}}}"#);
    let early = database.start("calls.reserve", &order("cup", 2)).await;
    database
        .until(
            "the caller is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    // It goes on by itself when it is.
    database.deploy("probe").await;
    assert_eq!(said(&database.done(early).await), r#""7 cup-1,cup-2""#);
    let child = children(&database, early).await[0];
    assert_eq!(
        journal(&database, early).await,
        [
            format!(
                r#"typed.reserve#1 child ok {{"run":"{child}","workflow":"test:probe/typed.reserve"}}"#
            ),
            r#"typed.reserve-end#1 wait ok {"ok":{"id":7,"items":["cup-1","cup-2"]}}"#.to_owned(),
            "after#1 step ok null".to_owned(),
        ]
    );

    // Its own error arrives as such, whatever else goes wrong as the case `failed`.
    for (order, expected) in [
        (order("cup", 11), "sold out, 10 left"),
        (order("trap", 1), "trap: "),
    ] {
        let run = database.start("calls.reserve", &order).await;
        let said = said(&database.done(run).await);
        assert!(said.starts_with(expected), "{said}");
    }
    let run = database.start("count-thrice", r#"["a", "b"]"#).await;
    assert_eq!(said(&database.done(run).await), "6");
    assert_eq!(children(&database, run).await.len(), 3);

    // Without such a case the caller fails.
    let run = database.start("calls.check", "\"\"").await;
    assert_eq!(
        said(&database.done(run).await),
        r#""bad: there is nothing to check""#
    );
    let run = database.start("calls.check", "\"trap\"").await;
    let failed = database.done(run).await;
    let failure = failed.failure.clone().unwrap();
    assert_eq!(failure.code, "child-failed", "{failure:?}");
    assert!(failure.message.contains("told to trap"), "{failure:?}");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_child_is_started_once_wherever_its_parents_worker_dies() {
    let database = database().await;
    database.deploy("probe").await;
    let run = start(&database, "runs-many", "60").await;
    // While the children are being started, nobody knows whether they are.
    for failpoint in [
        "flush-sent:1",
        "flush-sent:2",
        "flush-sent:3",
        "committed:2",
    ] {
        let doomed = Dacapo::on(&database)
            .arg("--lease=1500ms")
            .arg("--heartbeat=300ms")
            .dying_at(failpoint)
            .worker()
            .await;
        let ended = tokio::time::timeout(Duration::from_secs(30), doomed.ended()).await;
        assert!(!ended.unwrap().success(), "{failpoint}");
    }
    let mut worker = Dacapo::on(&database).worker().await;
    for ended in [5, 20, 40] {
        loop {
            let children = database
                .count("select count(*) from dacapo.run where parent is not null and status = 'completed'")
                .await;
            if children >= ended {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        worker.kill().await;
        worker = Dacapo::on(&database).worker().await;
    }
    let done = database.done(run).await;
    assert_eq!(said(&done), "70210");
    let children = children(&database, run).await;
    assert_eq!(children.len(), 60);
    for child in children {
        bodies_once(&database, child).await;
    }
    worker.kill().await;
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_says_what_the_component_calls_and_what_is_missing() {
    let database = database().await;
    let file = guest_path("caller").display().to_string();
    let deployed = run(&database, &["deploy", &file]).await;
    let said = text(&deployed.stdout);
    assert!(deployed.status.success(), "{said}");
    for line in [
        "  calls test:probe/typed.check(text: string) -> result<_, string> (not deployed yet: a run that calls it is blocked until it is)",
        "  calls test:probe/typed.count(items: list<string>) -> u32 (not deployed yet",
    ] {
        assert!(said.contains(line), "{said}");
    }
    database.deploy("probe").await;
    let deployed = run(&database, &["deploy", &file]).await;
    let said = text(&deployed.stdout);
    assert!(
        said.contains("  calls test:probe/typed.count(items: list<string>) -> u32\n"),
        "{said}"
    );
    assert!(!said.contains("other types"), "{said}");

    // As if what is deployed there had been built from another interface.
    sqlx::query(
        "update dacapo.workflow set schema = replace(schema, '\"u32\"', '\"u64\"') where name = 'test:probe/typed.count'",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    let deployed = run(&database, &["deploy", &file]).await;
    let said = text(&deployed.stdout);
    assert!(
        said.contains(
            "  calls test:probe/typed.count(items: list<string>) -> u32 (deployed with other types: \
             test:probe/typed.count(items: list<string>) -> u64;"
        ),
        "{said}"
    );
}
