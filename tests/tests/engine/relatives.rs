//! Parents and children together: queues of children, retries that bring children back, and what one's end means to the others.

use std::time::Duration;

use dacapo_client::{
    ClientError, LimitChange, QueueChange, RerunOptions, Run, RunId, StartOptions, Status,
};
use dacapo_tests::{Database, database};

use crate::check::{effects, journal, sound, worker};
use crate::command::{run as dacapo, text};

const ANN: &str = "ann@desk";

/// Input for the probe's workflows that start a child.
fn plan(workflow: &str, input: &str) -> String {
    serde_json::json!({ "workflow": workflow, "input": input }).to_string()
}

fn output(run: &Run) -> &str {
    assert_eq!(run.status, Status::Completed, "{run:#?}");
    run.output.as_ref().unwrap().as_str()
}

async fn ended(database: &Database, run: RunId, status: Status) -> Run {
    let run = database.done(run).await;
    assert_eq!(run.status, status, "{run:#?}");
    run
}

async fn only_child(database: &Database, parent: RunId) -> RunId {
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar("select id from dacapo.run where parent = $1")
        .bind(parent.0)
        .fetch_all(database.store.pool())
        .await
        .unwrap();
    assert_eq!(ids.len(), 1, "{ids:?}");
    RunId(ids[0])
}

/// Waits until a run is suspended for this reason.
async fn suspended(database: &Database, run: RunId, reason: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let found: bool = sqlx::query_scalar(
            "select exists (select from dacapo.task_suspended where run_id = $1 and reason = $2)",
        )
        .bind(run.0)
        .bind(reason)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
        if found {
            return;
        }
        let now = database.client.get(run).await.unwrap();
        assert!(
            !now.status.is_terminal() && tokio::time::Instant::now() < deadline,
            "the run does not wait for {reason}: {now:#?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Which transaction has written the row of a suspended run: whoever plays it moves that.
async fn written_by(database: &Database, run: RunId) -> String {
    sqlx::query_scalar("select xmin::text from dacapo.task_suspended where run_id = $1")
        .bind(run.0)
        .fetch_one(database.store.pool())
        .await
        .unwrap()
}

/// A parent that has started this child, whose gate was shut then, and so has failed; and the child.
async fn failed_parent(database: &Database, child: &str, input: &str) -> (RunId, RunId) {
    let parent = database
        .start("children.keeps-child", &plan(child, input))
        .await;
    suspended(database, parent, "event").await;
    let kept = only_child(database, parent).await;
    database
        .until(
            "the child and its own wait",
            "select count(*) = 0 from dacapo.task_ready",
        )
        .await;
    (parent, kept)
}

async fn shut_gate(database: &Database, parent: RunId) {
    database
        .client
        .send_event(parent, "go", "1", None)
        .await
        .unwrap();
    ended(database, parent, Status::Failed).await;
}

fn placed(queue: Option<&str>, key: Option<&str>, priority: Option<i32>) -> String {
    let plan = serde_json::json!({ "workflow": "test:probe/children.square", "input": "3" });
    serde_json::json!({ "plan": plan, "queue": queue, "key": key, "priority": priority })
        .to_string()
}

fn one_at_a_time() -> QueueChange {
    QueueChange {
        concurrency: LimitChange::Set(1),
        ..QueueChange::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_waits_in_the_queue_that_its_parent_names() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    client.set_queue("slow", one_at_a_time()).await.unwrap();
    client.pause_queue("slow").await.unwrap();
    let worker = worker(&database).await;
    let input = placed(Some("slow"), Some("ann"), Some(-7));
    let parent = database.start("places-child", &input).await;
    suspended(&database, parent, "child").await;
    let child = only_child(&database, parent).await;
    suspended(&database, child, "queue").await;
    client.resume_queue("slow").await.unwrap();
    assert_eq!(
        output(&ended(&database, parent, Status::Completed).await),
        "\"9\""
    );
    let ran = client.get(child).await.unwrap();
    assert_eq!(
        (
            ran.queue.as_deref(),
            ran.concurrency_key.as_deref(),
            ran.priority
        ),
        (Some("slow"), Some("ann"), -7)
    );
    let own = client.get(parent).await.unwrap();
    assert_eq!((own.queue, own.priority), (None, 0));

    // A queue without limits; and none, for the child of a run that is in one.
    client
        .set_queue("free", QueueChange::default())
        .await
        .unwrap();
    for (queue, of_parent, expected) in [
        (Some("free"), None, Some("free")),
        (Some("default"), Some("slow"), None),
        (None, Some("slow"), None),
    ] {
        let options = StartOptions {
            queue: of_parent.map(str::to_owned),
            priority: Some(3),
            ..StartOptions::default()
        };
        let input = placed(queue, None, None);
        let parent = client.start_by_name("places-child", &input, options).await;
        let parent = parent.unwrap().id;
        ended(&database, parent, Status::Completed).await;
        let child = only_child(&database, parent).await;
        let child = client.get(child).await.unwrap();
        assert_eq!((child.queue.as_deref(), child.priority), (expected, 3));
    }

    for (input, says) in [
        (
            placed(Some("slow"), None, Some(101)),
            "priority of a child: expected -100 to 100, got 101",
        ),
        (
            placed(None, Some("ann"), None),
            "concurrency key of a child: limits per key are those of a named queue",
        ),
        (
            placed(Some("slow"), Some(""), None),
            "concurrency key of a child: expected 1 to 200 bytes, got 0",
        ),
        (
            placed(Some("a/b"), None, None),
            "queue of a child: the name \"a/b\" contains '/'",
        ),
    ] {
        let run = database.start("places-child", &input).await;
        let failure = ended(&database, run, Status::Failed).await.failure.unwrap();
        assert_eq!(failure.code, "misuse");
        assert!(failure.message.contains(says), "{failure:?}");
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_there_is_not_blocks_the_run_that_wants_a_child_in_it_until_it_is_made() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let parent = database
        .start("places-child", &placed(Some("slow"), None, None))
        .await;
    suspended(&database, parent, "blocked").await;
    let blocked = database.client.get(parent).await.unwrap().blocked.unwrap();
    let blocked = blocked.to_string();
    assert!(
        blocked.contains("unknown-queue") && blocked.contains("make it with `dacapo queue set`"),
        "{blocked}"
    );
    let client = &database.client;
    // Another one is of no use to it.
    client.set_queue("other", one_at_a_time()).await.unwrap();
    let still = client.get(parent).await.unwrap();
    assert_eq!(still.status, Status::Blocked);
    client.set_queue("slow", one_at_a_time()).await.unwrap();
    assert_eq!(
        output(&ended(&database, parent, Status::Completed).await),
        "\"9\""
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_was_cancelled_with_its_parent_goes_on_when_that_is_retried() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let (parent, child) = failed_parent(&database, "step-wait-step", "null").await;
    suspended(&database, child, "event").await;
    shut_gate(&database, parent).await;
    ended(&database, child, Status::Cancelled).await;

    client.retry(parent, ANN).await.unwrap();
    suspended(&database, child, "event").await;
    suspended(&database, parent, "child").await;
    client.send_event(child, "go", "1", None).await.unwrap();
    assert_eq!(
        output(&ended(&database, parent, Status::Completed).await),
        r#""\"a 1 b\"""#
    );
    assert_eq!(only_child(&database, parent).await, child);
    assert_eq!(effects(&database, child).await, ["effect a", "effect b"]);
    let brought_back = client.get(child).await.unwrap();
    let done: Vec<&str> = brought_back
        .interventions
        .iter()
        .map(|one| one.action.as_str())
        .collect();
    assert_eq!(done, ["retry"]);
    let shown = dacapo(&database, &["runs", "show", &child.to_string()]).await;
    assert!(
        text(&shown.stdout).contains(&format!("with its parent {parent}, without go#1")),
        "{}",
        text(&shown.stdout)
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_start_the_retry_removes_stays_cancelled_and_another_one_is_started() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let input = plan("step-wait-step", "null");
    let parent = database.start("children.starts-behind-gate", &input).await;
    suspended(&database, parent, "event").await;
    let child = only_child(&database, parent).await;
    suspended(&database, child, "event").await;
    shut_gate(&database, parent).await;
    ended(&database, child, Status::Cancelled).await;

    // The event that was taken by a wait that is removed, too, is taken again.
    client.retry(parent, ANN).await.unwrap();
    suspended(&database, parent, "child").await;
    let of_parent = "select id from dacapo.run where parent = $1 and id <> $2";
    let other: uuid::Uuid = sqlx::query_scalar(of_parent)
        .bind(parent.0)
        .bind(child.0)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    suspended(&database, RunId(other), "event").await;
    client
        .send_event(RunId(other), "go", "1", None)
        .await
        .unwrap();
    ended(&database, parent, Status::Completed).await;
    let first = client.get(child).await.unwrap();
    assert_eq!(first.status, Status::Cancelled, "{first:#?}");
    assert!(first.interventions.is_empty(), "{first:#?}");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_of_a_child_that_was_cut_off_begins_anew_with_its_time_out() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let (parent, child) = failed_parent(&database, "wait-timeout", "3600000").await;
    suspended(&database, child, "event").await;
    let times_out = async || -> i64 {
        let due = "select (extract(epoch from due) * 1000000)::bigint from dacapo.step where run_id = $1 and kind = 'wait'";
        sqlx::query_scalar(due)
            .bind(child.0)
            .fetch_one(database.store.pool())
            .await
            .unwrap()
    };
    let before = times_out().await;
    shut_gate(&database, parent).await;
    let cut_off = ended(&database, child, Status::Cancelled).await;
    database.client.retry(parent, ANN).await.unwrap();
    suspended(&database, child, "event").await;
    let again = times_out().await - before;
    // An hour from the beginning of the wait, which is behind the end of the one that was cut off.
    let begun = times_out().await - 3_600_000_000;
    assert!(
        again > 0 && begun >= cut_off.finished_at.unwrap().as_micros(),
        "it times out {again} µs later than before"
    );
    database
        .client
        .send_event(child, "go", "1", None)
        .await
        .unwrap();
    ended(&database, parent, Status::Completed).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_has_made_up_for_what_it_did_begins_anew_when_its_parent_is_retried() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let (parent, child) = failed_parent(&database, "children.releases", "null").await;
    suspended(&database, child, "event").await;
    shut_gate(&database, parent).await;
    ended(&database, child, Status::Cancelled).await;
    assert_eq!(
        journal(&database, child).await,
        [
            "reserve#1 step ok null",
            "go#1 wait cancelled",
            "release#1 step ok null"
        ]
    );
    client.retry(parent, ANN).await.unwrap();
    suspended(&database, child, "event").await;
    client.send_event(child, "go", "1", None).await.unwrap();
    assert_eq!(
        output(&ended(&database, parent, Status::Completed).await),
        r#""\"1\"""#
    );
    assert_eq!(
        effects(&database, child).await,
        ["effect reserve", "effect reserve"]
    );
    assert_eq!(
        journal(&database, child).await,
        [
            "reserve#1 step ok null",
            "go#1 wait ok 1",
            "pack#1 step ok null"
        ]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_a_person_has_cancelled_stays_so_when_its_parent_is_retried() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let (parent, child) = failed_parent(&database, "step-wait-step", "null").await;
    suspended(&database, child, "event").await;
    client.cancel(child).await.unwrap();
    ended(&database, child, Status::Cancelled).await;
    shut_gate(&database, parent).await;
    client.retry(parent, ANN).await.unwrap();
    let failure = ended(&database, parent, Status::Failed)
        .await
        .failure
        .unwrap();
    assert!(
        failure.message.starts_with("child-cancelled: "),
        "{failure:?}"
    );
    assert_eq!(client.get(child).await.unwrap().status, Status::Cancelled);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_of_children_go_on_when_the_first_parent_is_retried() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let middle = plan("step-wait-step", "null");
    let (parent, child) = failed_parent(&database, "test:probe/children.runs-child", &middle).await;
    suspended(&database, child, "child").await;
    let grandchild = only_child(&database, child).await;
    suspended(&database, grandchild, "event").await;
    shut_gate(&database, parent).await;
    ended(&database, child, Status::Cancelled).await;
    ended(&database, grandchild, Status::Cancelled).await;
    client.retry(parent, ANN).await.unwrap();
    suspended(&database, grandchild, "event").await;
    client
        .send_event(grandchild, "go", "1", None)
        .await
        .unwrap();
    ended(&database, parent, Status::Completed).await;
    ended(&database, child, Status::Completed).await;
    assert_eq!(
        effects(&database, grandchild).await,
        ["effect a", "effect b"]
    );
    assert_eq!(database.count("select count(*) from dacapo.run").await, 3);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_not_retried_while_its_children_are_still_ending() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let (parent, child) = failed_parent(&database, "durable.slow-step", "3000").await;
    shut_gate(&database, parent).await;
    database
        .until(
            "the child is told in the middle of its step",
            "select count(*) = 1 from dacapo.run where status = 'active' and cancel_requested_at is not null",
        )
        .await;
    let before = journal(&database, parent).await;
    let refused = client.retry(parent, ANN).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::ChildrenEnding(_)),
        "{refused}"
    );
    assert_eq!(client.get(parent).await.unwrap().status, Status::Failed);
    assert_eq!(
        journal(&database, parent).await,
        before,
        "nothing was changed"
    );
    ended(&database, child, Status::Cancelled).await;
    client.retry(parent, ANN).await.unwrap();
    ended(&database, parent, Status::Completed).await;
    assert_eq!(
        journal(&database, child).await,
        ["slow#1 step ok null", "next#1 step ok null"]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_goes_back_in_all_branches_that_failed() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let run = database.start("branches.many-fail", "null").await;
    ended(&database, run, Status::Failed).await;
    let planned = client.plan_retry(run).await.unwrap();
    let plan = client.retry(run, ANN).await.unwrap();
    assert_eq!(planned, plan);
    let keys = |keys: &[dacapo_model::StepKey]| -> Vec<String> {
        let mut keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(&plan.opened),
        [
            "many#1/0/first#1",
            "many#1/2/inner#1/0/third#1",
            "many#1/2/inner#1/1/third#1"
        ]
    );
    assert_eq!(
        keys(&plan.removed),
        [
            "many#1/0",
            "many#1/2",
            "many#1/2/inner#1/0",
            "many#1/2/inner#1/1"
        ]
    );
    assert_eq!(output(&ended(&database, run, Status::Completed).await), "4");
    let mut effects = effects(&database, run).await;
    effects.sort();
    assert_eq!(
        effects,
        [
            "effect first 1",
            "effect first 2",
            "effect fourth",
            "effect third 1",
            "effect third 1",
            "effect third 2",
            "effect third 2"
        ]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_has_the_children_that_were_started_before_its_step() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let (parent, child) = failed_parent(&database, "test:probe/children.square", "3").await;
    ended(&database, child, Status::Completed).await;
    shut_gate(&database, parent).await;
    let from = RerunOptions {
        from: Some("gate#1".to_owned()),
        ..RerunOptions::default()
    };
    let rerun = client.rerun(parent, &from, ANN).await.unwrap();
    ended(&database, rerun, Status::Failed).await;
    client.retry(rerun, ANN).await.unwrap();
    assert_eq!(
        output(&ended(&database, rerun, Status::Completed).await),
        "\"9\""
    );
    // The same for the parent itself, which had not been told yet.
    client.retry(parent, ANN).await.unwrap();
    assert_eq!(
        output(&ended(&database, parent, Status::Completed).await),
        "\"9\""
    );
    assert_eq!(database.count("select count(*) from dacapo.run").await, 3);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_were_started_before_its_step_do_not_end_with_a_rerun() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let client = &database.client;
    let (parent, child) = failed_parent(&database, "step-wait-step", "null").await;
    suspended(&database, child, "event").await;
    shut_gate(&database, parent).await;
    ended(&database, child, Status::Cancelled).await;
    let from = RerunOptions {
        from: Some("gate#1".to_owned()),
        ..RerunOptions::default()
    };
    let rerun = client.rerun(parent, &from, ANN).await.unwrap();
    ended(&database, rerun, Status::Failed).await;
    client.retry(parent, ANN).await.unwrap();
    suspended(&database, child, "event").await;
    client.retry(rerun, ANN).await.unwrap();
    suspended(&database, rerun, "child").await;
    client.cancel(rerun).await.unwrap();
    ended(&database, rerun, Status::Cancelled).await;
    database
        .until(
            "nothing is left to be cancelled",
            "select count(*) = 0 from dacapo.child_cancel",
        )
        .await;
    let left = client.get(child).await.unwrap();
    assert_eq!(left.status, Status::Suspended, "{left:#?}");
    client.send_event(child, "go", "1", None).await.unwrap();
    ended(&database, parent, Status::Completed).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_the_children_of_children() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let inner = plan("durable.pauses", "null");
    let outer = plan("test:probe/children.runs-child", &inner);
    let root = database.start("children.runs-child", &outer).await;
    suspended(&database, root, "child").await;
    let child = only_child(&database, root).await;
    suspended(&database, child, "child").await;
    let grandchild = only_child(&database, child).await;
    suspended(&database, grandchild, "pause").await;
    database.client.cancel(root).await.unwrap();
    for run in [root, child, grandchild] {
        ended(&database, run, Status::Cancelled).await;
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_runs_on_the_deployment_that_is_active_when_it_is_started() {
    let database = database().await;
    database.deploy("probe").await;
    let parent = database
        .start("children.runs-child", &plan("changes.same", "null"))
        .await;
    database.deploy("probe2").await;
    let worker = worker(&database).await;
    suspended(&database, parent, "child").await;
    let child = only_child(&database, parent).await;
    let client = &database.client;
    client.send_event(child, "go", "1", None).await.unwrap();
    let parent = ended(&database, parent, Status::Completed).await;
    assert_eq!(output(&parent), r#""\"new reserve\"""#);
    let child = client.get(child).await.unwrap();
    assert_eq!((parent.deployment.number, child.deployment.number), (1, 2));
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_a_branch_holds_the_run_and_nobody_plays_it_meanwhile() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("branches.pauses-beside", "200").await;
    suspended(&database, run, "pause").await;
    database
        .until(
            "the sleep beside the pause is over",
            "select count(*) = 1 from dacapo.step where kind = 'sleep' and due < clock_timestamp() - interval '1 second'",
        )
        .await;
    let before = written_by(&database, run).await;
    database
        .until(
            "another second",
            "select count(*) = 1 from dacapo.step where kind = 'sleep' and due < clock_timestamp() - interval '2 seconds'",
        )
        .await;
    let later = written_by(&database, run).await;
    assert_eq!(before, later, "somebody has played the run");
    assert!(
        !journal(&database, run)
            .await
            .iter()
            .any(|row| row.contains("woke")),
        "neither time nor events wake a paused run"
    );
    database.client.resume(run).await.unwrap();
    assert_eq!(output(&ended(&database, run, Status::Completed).await), "2");
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_function_in_a_branch_that_lost_is_cancelled_like_any_wait() {
    let database = database().await;
    database.deploy("probe").await;
    database.deploy("caller").await;
    let worker = worker(&database).await;
    let order = r#"{"itemName": "wait", "count": 1}"#;
    let run = database.start("calls.races-reserve", order).await;
    suspended(&database, run, "event").await;
    let child = only_child(&database, run).await;
    suspended(&database, child, "event").await;
    let client = &database.client;
    client
        .send_event(run, "stop", "\"stopped\"", None)
        .await
        .unwrap();
    assert_eq!(
        output(&ended(&database, run, Status::Completed).await),
        "\"stopped\""
    );
    let rows = journal(&database, run).await;
    let row = |start: &str| {
        let found = rows.iter().find(|row| row.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start}: {rows:#?}"))
            .clone()
    };
    assert!(
        row("race#1/0/typed.reserve-end#1").contains("wait cancelled"),
        "{rows:#?}"
    );
    assert!(row("race#1/0/release#1").contains("step ok"), "{rows:#?}");
    assert!(row("race#1/0 ").contains("lost"), "{rows:#?}");
    // It ends with its parent.
    ended(&database, child, Status::Cancelled).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_children_reach_a_parent_that_is_paused_and_resumed_all_the_time() {
    let database = database().await;
    database.deploy("probe").await;
    let workers = [worker(&database).await, worker(&database).await];
    let parents: Vec<RunId> = {
        let mut parents = Vec::new();
        for _ in 0..4 {
            parents.push(database.start("children.runs-many", "30").await);
        }
        parents
    };
    let steering = {
        let (client, parents) = (database.client.clone(), parents.clone());
        tokio::spawn(async move {
            for _ in 0..40 {
                for &parent in &parents {
                    // Refused once it has ended.
                    let _ = client.pause(parent).await;
                    let _ = client.send_event(parent, "noise", "1", None).await;
                    let _ = client.resume(parent).await;
                }
            }
        })
    };
    steering.await.unwrap();
    for parent in parents {
        // 0² + 1² + … + 29²
        assert_eq!(
            output(&ended(&database, parent, Status::Completed).await),
            "8555"
        );
    }
    assert_eq!(
        database.count("select count(*) from dacapo.run").await,
        4 * 31
    );
    for worker in workers {
        worker.drain().await.unwrap();
    }
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_and_children_that_are_cancelled_at_the_same_time_all_end() {
    let database = database().await;
    database.deploy("probe").await;
    let workers = [worker(&database).await, worker(&database).await];
    let mut parents = Vec::new();
    for _ in 0..12 {
        let waits = plan("durable.pauses", "null");
        parents.push(database.start("children.runs-child", &waits).await);
    }
    database
        .until(
            "all children wait",
            "select count(*) = 12 from dacapo.task_suspended where reason = 'pause'",
        )
        .await;
    let mut cancels = Vec::new();
    for &parent in &parents {
        let child = only_child(&database, parent).await;
        for run in [parent, child] {
            let client = database.client.clone();
            cancels.push(tokio::spawn(async move { client.cancel(run).await }));
        }
    }
    for cancel in cancels {
        // Refused if the other one's cancel came first, and for nothing else.
        if let Err(error) = cancel.await.unwrap() {
            assert!(matches!(error, ClientError::Conflict { .. }), "{error}");
        }
    }
    for parent in parents {
        let child = only_child(&database, parent).await;
        let ended_parent = database.done(parent).await;
        assert!(ended_parent.status.is_terminal(), "{ended_parent:#?}");
        ended(&database, child, Status::Cancelled).await;
    }
    database
        .until(
            "nobody is to be told anything",
            "select (select count(*) from dacapo.child_end) + (select count(*) from dacapo.child_cancel) = 0",
        )
        .await;
    for worker in workers {
        worker.drain().await.unwrap();
    }
    sound(&database).await;
}
