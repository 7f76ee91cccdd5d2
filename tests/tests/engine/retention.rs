//! Retention: what ended long ago is deleted, and nothing else is.

use std::time::Duration;

use dacapo_client::{Keep, Manifest, RetentionRule, RetentionSettings, RunFilter, Status};
use dacapo_model::{RunId, WorkflowSettings};
use dacapo_store::Swept;
use dacapo_tests::{Database, database, guest};
use sqlx::Connection;

use crate::check::{sound, worker};
use crate::command::{fails, run, text};

const FAILURE: &str = r#"{"code":"declined","message":"no money","retryable":false}"#;

/// A run of `shop:p/api.<function>` that was created and ended so many hours ago, with a step, an event and a line of log.
async fn ended(database: &Database, function: &str, status: Status, hours: (f64, f64)) -> RunId {
    let id = RunId::new();
    let mut transaction = database.store.pool().begin().await.unwrap();
    sqlx::query(
        "insert into dacapo.run (id, namespace, workflow, deployment_id, status, input, output, failure, cancel_requested_at, created_at, finished_at)
        select $1, 'default', 'shop:p/api.' || $2, 1, $3, 'null', case $3 when 'completed' then 'null' end,
            case $3 when 'failed' then $4 end, case $3 when 'cancelled' then now() end,
            now() - $5 * interval '1 hour', case when $3 <> 'active' then now() - $6 * interval '1 hour' end",
    )
    .bind(id.0)
    .bind(function)
    .bind(if status.is_terminal() { status.as_str() } else { "active" })
    .bind(FAILURE)
    .bind(hours.0)
    .bind(hours.1)
    .execute(&mut *transaction)
    .await
    .unwrap();
    for statement in [
        "insert into dacapo.step (run_id, key, position, kind, outcome, payload, started_at, finished_at) values ($1, 's#1', 1, 'step', 'ok', 'null', now(), now())",
        "insert into dacapo.event (run_id, seq, name, payload) values ($1, 1, 'paid', '1')",
        "insert into dacapo.log (run_id, id, at, level, source, message) values ($1, gen_random_uuid(), now(), 'info', 'log', 'm')",
        "insert into dacapo.intervention (run_id, action, who, details) values ($1, 'skip', 'ann@desk', '{}')",
    ] {
        sqlx::query(statement)
            .bind(id.0)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    id
}

/// A database with a deployment, so that it has a namespace.
async fn deployed() -> Database {
    let database = database().await;
    database.deploy("bench_guest").await;
    database
}

/// Sweeps the namespace `default` from the beginning; answers how many runs each batch deleted.
async fn sweep(database: &Database, examined_max: u32, rows_max: u32) -> Vec<u64> {
    let mut connection = database.store.connect().await.unwrap();
    let mut batches = Vec::new();
    let mut after = None;
    loop {
        let swept: Swept =
            dacapo_store::sweep(&mut connection, "default", after, examined_max, rows_max)
                .await
                .unwrap();
        batches.push(swept.deleted);
        after = swept.next;
        if after.is_none() {
            return batches;
        }
    }
}

async fn left(database: &Database) -> Vec<RunId> {
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar("select id from dacapo.run order by id")
        .fetch_all(database.store.pool())
        .await
        .unwrap();
    ids.into_iter().map(RunId).collect()
}

/// Rows of runs that are not there any more, in any table.
async fn orphans(database: &Database) -> i64 {
    database
        .count(
            "select count(*) from (
                select run_id from dacapo.step union all select run_id from dacapo.event
                union all select run_id from dacapo.log union all select run_id from dacapo.intervention union all select run_id from dacapo.unsuccessful
            ) as rows where run_id not in (select id from dacapo.run)",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_deleted_with_all_its_rows_30_days_after_it_ended_unless_something_else_was_set() {
    let database = deployed().await;
    let day = 24.0;
    for status in [Status::Completed, Status::Failed, Status::Cancelled] {
        ended(&database, "a", status, (31.0 * day, 30.1 * day)).await;
    }
    let kept = [
        ended(&database, "a", Status::Completed, (31.0 * day, 29.9 * day)).await,
        ended(&database, "a", Status::Failed, (29.0 * day, 29.0 * day)).await,
        // It is active and has no task: a sweep must not look at tasks to know.
        ended(&database, "a", Status::Running, (400.0 * day, 0.0)).await,
    ];
    assert_eq!(sweep(&database, 100, 1_000).await, [3]);
    assert_eq!(left(&database).await, kept);
    assert_eq!(orphans(&database).await, 0);
    assert_eq!(database.count("select count(*) from dacapo.step").await, 3);
    let failed = RunFilter {
        failure: Some("money".to_owned()),
        ..RunFilter::default()
    };
    assert_eq!(
        database.client.count(failed).await.unwrap()[&Status::Failed],
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_rules_that_fit_a_run_the_most_particular_one_counts() {
    let database = deployed().await;
    let rule = |workflow: Option<&str>, status: Option<Status>, hours: Option<u64>| RetentionRule {
        workflow: workflow.map(str::to_owned),
        status,
        keep: hours.map(|hours| Duration::from_secs(hours * 3_600)),
    };
    for rule in [
        rule(None, None, Some(10)),
        rule(None, Some(Status::Failed), Some(20)),
        rule(Some("shop:p/api.a"), None, Some(5)),
        rule(Some("shop:p/api.a"), Some(Status::Failed), None),
    ] {
        database.client.set_retention(rule).await.unwrap();
    }
    let mut kept = Vec::new();
    for (function, status, hours) in [
        ("b", Status::Completed, 10.0),
        ("b", Status::Failed, 20.0),
        ("a", Status::Completed, 5.0),
    ] {
        kept.push(ended(&database, function, status, (hours - 0.1, hours - 0.1)).await);
        ended(&database, function, status, (hours + 0.1, hours + 0.1)).await;
    }
    kept.push(ended(&database, "a", Status::Failed, (100_000.0, 100_000.0)).await);
    assert_eq!(sweep(&database, 100, 1_000).await, [3]);
    assert_eq!(left(&database).await, kept);

    // Taken back, the more general rules count again.
    let workflow = Some("shop:p/api.a".to_owned());
    let reset = database
        .client
        .reset_retention(workflow.clone(), Some(Status::Failed));
    assert!(reset.await.unwrap());
    let again = database
        .client
        .reset_retention(workflow, Some(Status::Failed));
    assert!(!again.await.unwrap());
    // It is kept for 5 hours for its workflow, and not for 20 for its status.
    ended(&database, "a", Status::Failed, (10.0, 10.0)).await;
    assert_eq!(sweep(&database, 100, 1_000).await, [2]);
    // Kept for ever, all of them, also in another namespace's opinion.
    database
        .client
        .set_retention(rule(None, None, None))
        .await
        .unwrap();
    let other = database.client.clone().with_namespace("other");
    // Its rules would be the more particular ones.
    for status in [None, Some(Status::Completed)] {
        other
            .set_retention(rule(None, status, Some(1)))
            .await
            .unwrap();
    }
    ended(&database, "b", Status::Completed, (90_000.0, 90_000.0)).await;
    assert_eq!(sweep(&database, 100, 1_000).await, [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_says_how_long_runs_are_kept_unless_a_rule_is_for_that_very_workflow() {
    let database = database().await;
    let client = &database.client;
    let (a, b) = ("bench:noop/noop.nothing", "bench:noop/noop.noop-steps");
    let hours = |hours: u64| Some(Keep::Seconds(hours * 3_600));
    let own = WorkflowSettings {
        retention: Some(RetentionSettings {
            completed: hours(5),
            cancelled: Some(Keep::Forever),
            ..RetentionSettings::default()
        }),
        ..WorkflowSettings::default()
    };
    let manifest = Manifest {
        retention: Some(RetentionSettings::all(Keep::Seconds(200 * 3_600))),
        workflows: [(a.to_owned(), own)].into(),
        ..Manifest::default()
    };
    let described = dacapo_sandbox::describe(&guest("bench_guest")).unwrap();
    for manifest in [&manifest, &Manifest::default()] {
        let deployed = client.deploy_with(
            &described.descriptor,
            &described.digest,
            &described.component,
            manifest,
        );
        deployed.await.unwrap();
    }
    // A run goes by the deployment that it is on, and not by the one that is active.
    let ended_on = async |number: i32, workflow: &str, status: Status, hours: f64| {
        let id = ended(&database, "a", status, (hours, hours)).await;
        sqlx::query("update dacapo.run set workflow = $2, deployment_id = (select id from dacapo.deployment where number = $3) where id = $1")
            .bind(id.0)
            .bind(workflow)
            .bind(number)
            .execute(database.store.pool())
            .await
            .unwrap();
        id
    };
    let mut kept = Vec::new();
    let mut gone = 0;
    for (number, workflow, status, hours) in [
        (1, a, Status::Completed, 5.0),
        // What it does not say of its own is as for all workflows.
        (1, a, Status::Failed, 200.0),
        (1, b, Status::Completed, 200.0),
        (2, a, Status::Completed, 720.0),
        (2, b, Status::Cancelled, 720.0),
    ] {
        kept.push(ended_on(number, workflow, status, hours - 0.1).await);
        ended_on(number, workflow, status, hours + 0.1).await;
        gone += 1;
    }
    let forever = ended_on(1, a, Status::Cancelled, 500_000.0).await;
    kept.push(forever);
    // Kept ones before, between and behind the others hold nobody up.
    assert_eq!(sweep(&database, 3, 1_000).await.iter().sum::<u64>(), gone);
    kept.sort_unstable();
    assert_eq!(left(&database).await, kept);
    assert_eq!(orphans(&database).await, 0);

    // A rule for all workflows is not for this one; a rule for this one is.
    let rule = |workflow: Option<&str>, keep: u64| RetentionRule {
        workflow: workflow.map(str::to_owned),
        status: None,
        keep: Some(Duration::from_secs(keep * 3_600)),
    };
    client.set_retention(rule(None, 1)).await.unwrap();
    assert_eq!(sweep(&database, 100, 1_000).await, [2]);
    client.set_retention(rule(Some(a), 2)).await.unwrap();
    assert_eq!(sweep(&database, 100, 1_000).await, [3]);
    assert_eq!(left(&database).await.len(), 1);

    // What says how long goes with its deployment.
    let (said, none) = (
        "select count(*) from dacapo.workflow_retention",
        "delete from dacapo.run",
    );
    let of_each = 3 * i64::try_from(described.descriptor.workflows.len()).unwrap();
    assert_eq!(database.count(said).await, of_each);
    sqlx::query(none)
        .execute(database.store.pool())
        .await
        .unwrap();
    client
        .retire_deployment("bench:noop", 1, false, "test")
        .await
        .unwrap();
    dacapo_store::collect_deployments(&database.store, false, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(database.count(said).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_goes_by_small_batches_and_waits_for_nobody() {
    let database = deployed().await;
    let mut all = Vec::new();
    for hours in 0..7 {
        let ago = 10_000.0 - f64::from(hours);
        all.push(ended(&database, "a", Status::Completed, (ago, ago)).await);
    }
    let kept = ended(&database, "a", Status::Suspended, (20_000.0, 0.0)).await;
    // Somebody holds one of them.
    let mut rival = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let mut held = rival.begin().await.unwrap();
    sqlx::query("select from dacapo.run where id = $1 for update")
        .bind(all[2].0)
        .execute(&mut *held)
        .await
        .unwrap();
    // A run has five rows, so two of them are deleted at a time.
    let batches = tokio::time::timeout(Duration::from_secs(20), sweep(&database, 100, 6)).await;
    let batches = batches.expect("a sweep waits for a lock");
    assert_eq!(batches, [2, 2, 2]);
    assert_eq!(left(&database).await, [all[2], kept]);
    held.rollback().await.unwrap();
    // One that is larger than a batch is one.
    assert_eq!(sweep(&database, 1, 1).await.iter().sum::<u64>(), 1);
    assert_eq!(
        (left(&database).await, orphans(&database).await),
        (vec![kept], 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sweeps_and_leaves_runs_alone_that_have_not_ended() {
    let database = deployed().await;
    let first = worker(&database).await;
    let done = database.start("noop-steps", "3").await;
    database.done(done).await;
    let waiting = database.start("wait-event", "null").await;
    let blocked = database.start("wait-event", "null").await;
    database
        .until(
            "both wait",
            "select count(*) = 2 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    first.drain().await.unwrap();
    // As if all of this had been years ago.
    for statement in [
        "update dacapo.run set created_at = created_at - interval '9 years', finished_at = finished_at - interval '9 years'",
        "update dacapo.retention_turn set next_at = '-infinity'",
    ] {
        sqlx::query(statement)
            .execute(database.store.pool())
            .await
            .unwrap();
    }
    sqlx::query("update dacapo.task_suspended set reason = 'blocked', events = null, blocked = '{\"code\":\"poison\",\"message\":\"\"}' where run_id = $1")
        .bind(blocked.0)
        .execute(database.store.pool())
        .await
        .unwrap();
    let second = worker(&database).await;
    database
        .until(
            "the run that ended is gone",
            "select count(*) = 2 from dacapo.run",
        )
        .await;
    let mut expected = vec![waiting, blocked];
    expected.sort_unstable();
    assert_eq!(left(&database).await, expected);
    assert_eq!(orphans(&database).await, 0);
    // Nobody else's turn for a while.
    assert_eq!(
        dacapo_store::take_retention_turn(&database.store)
            .await
            .unwrap(),
        None
    );
    database
        .client
        .send_event(waiting, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(database.done(waiting).await.status, Status::Completed);
    second.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_free_again_once_its_run_is_deleted() {
    let database = deployed().await;
    let keyed = async |input: &str| {
        let options = dacapo_client::StartOptions::keyed("k");
        database
            .client
            .start_by_name("noop-steps", input, options)
            .await
    };
    let run = keyed("1").await.unwrap();
    assert_eq!(keyed("2").await.unwrap_err().code(), "key-conflict");
    database.client.cancel(run.id).await.unwrap();
    sqlx::query("update dacapo.run set created_at = '2020-01-01', finished_at = '2020-01-01'")
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_eq!(sweep(&database, 10, 10).await, [1]);
    assert!(keyed("2").await.unwrap().created);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_and_sets_how_long_runs_are_kept() {
    let database = deployed().await;
    let lines = async |arguments: &[&str]| -> Vec<String> {
        let output = run(&database, &[["retention"].as_slice(), arguments].concat()).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text(&output.stdout).lines().skip(1).map(words).collect()
    };
    assert_eq!(lines(&["show"]).await, ["all all 30d"]);
    assert_eq!(
        lines(&["set", "90d", "--status", "failed"]).await,
        ["all all 30d", "all failed 90d"]
    );
    assert_eq!(
        lines(&["set", "forever", "--workflow", "noop-steps"]).await,
        [
            "all all 30d",
            "all failed 90d",
            "bench:noop/noop.noop-steps all forever"
        ]
    );
    assert_eq!(
        lines(&["set", "default", "--status", "failed"]).await,
        ["all all 30d", "bench:noop/noop.noop-steps all forever"]
    );
    assert_eq!(lines(&["set", "1d 12h"]).await[0], "all all 1d 12h");
    let json = run(&database, &["retention", "show", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json[0]["keepSeconds"], 36 * 3_600);
    assert_eq!(json[1]["keepSeconds"], serde_json::Value::Null);

    for (arguments, says) in [
        (
            ["set", "59s", "--status", "failed"],
            "within a minute and a hundred years",
        ),
        (
            ["set", "200000w", "--status", "failed"],
            "within a minute and a hundred years",
        ),
        (
            ["set", "1d", "--status", "blocked"],
            "a run that is blocked is never deleted",
        ),
        (["set", "1d", "--status", "done"], "not a status"),
    ] {
        fails(
            &run(
                &database,
                &[["retention"].as_slice(), arguments.as_slice()].concat(),
            )
            .await,
            2,
            &[says],
        );
    }
    let soon = run(&database, &["retention", "set", "soon"]).await;
    assert!(
        text(&soon.stderr).contains("expected a duration such as 12h or 90d"),
        "{}",
        text(&soon.stderr)
    );
    fails(
        &run(&database, &["retention", "set", "1d", "--workflow", "nope"]).await,
        1,
        &["no workflow"],
    );
}
