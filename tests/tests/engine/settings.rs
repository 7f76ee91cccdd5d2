//! What a manifest says of runs: the queue and the priority of those whose start does not say.

use std::collections::BTreeMap;

use dacapo_client::{
    Client, ClientError, Manifest, NewSchedule, OnConflict, QueueChange, Run, RunId, StartOptions,
    Trigger,
};
use dacapo_model::{RetrySettings, WorkflowSettings};
use dacapo_tests::{Database, database, guest};
use sqlx::{Connection, Executor};

use crate::check::{sound, worker};
use crate::command::{fails, run, text};
use crate::schedules::{every_second, until_ticked};

/// Deploys the guest `probe` with a manifest; answers the number of the deployment.
async fn deploy(client: &Client, manifest: &Manifest) -> Result<i32, ClientError> {
    let described = dacapo_sandbox::describe(&guest("probe")).unwrap();
    let deployed = client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        manifest,
    );
    Ok(deployed.await?.number)
}

/// Runs of all workflows go to `slow` with priority 10, those of `nothing` to `fast`, those of `children.square` to none, with 3.
fn manifest() -> Manifest {
    let own = |queue: &str, priority| WorkflowSettings {
        queue: Some(queue.to_owned()),
        priority,
        ..WorkflowSettings::default()
    };
    Manifest {
        queue: Some("slow".to_owned()),
        priority: Some(10),
        workflows: BTreeMap::from([
            ("nothing".to_owned(), own("fast", None)),
            ("children.square".to_owned(), own("default", Some(3))),
        ]),
        ..Manifest::default()
    }
}

async fn queues(client: &Client, names: &[&str]) {
    for name in names {
        let change = QueueChange::default();
        client.set_queue(name, change).await.unwrap();
    }
}

/// A database with the queues `slow`, `fast` and `other`, and a deployment with [`manifest`].
async fn deployed() -> Database {
    let database = database().await;
    queues(&database.client, &["slow", "fast", "other"]).await;
    deploy(&database.client, &manifest()).await.unwrap();
    database
}

fn place(run: &Run) -> (Option<&str>, i16) {
    (run.queue.as_deref(), run.priority)
}

async fn placed(database: &Database, run: RunId) -> (Option<String>, i16) {
    let run = database.client.get(run).await.unwrap();
    (run.queue, run.priority)
}

async fn by_sql(database: &Database, workflow: &str, options: &str) -> Result<RunId, String> {
    let started = sqlx::query_scalar("select dacapo.start($1, 'null', $2::text::jsonb)")
        .bind(workflow)
        .bind(options)
        .fetch_one(database.store.pool())
        .await;
    started
        .map(RunId)
        .map_err(|error| error.as_database_error().unwrap().message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_where_its_start_says_then_where_the_manifest_of_its_workflow_or_of_all_puts_it()
{
    let database = deployed().await;
    let client = &database.client;
    let options = StartOptions::default;
    // The workflow, what the start says, the same in SQL, and where the run is.
    let cases = [
        ("nothing", options(), "{}", (Some("fast"), 10)),
        ("step-wait-step", options(), "{}", (Some("slow"), 10)),
        (
            "nothing",
            options().queue("other"),
            r#"{"queue": "other"}"#,
            (Some("other"), 10),
        ),
        (
            "nothing",
            options().queue("default").priority(0),
            r#"{"queue": "default", "priority": 0}"#,
            (None, 0),
        ),
        (
            "nothing",
            options().priority(-4),
            r#"{"queue": null, "priority": -4}"#,
            (Some("fast"), -4),
        ),
        // The limits per key are those of the queue that the manifest names.
        (
            "nothing",
            options().concurrency_key("ann"),
            r#"{"concurrencyKey": "ann"}"#,
            (Some("fast"), 10),
        ),
        (
            "nothing",
            options().singleton("s", OnConflict::Replace),
            r#"{"singleton": "s", "onConflict": "replace"}"#,
            (Some("fast"), 10),
        ),
    ];
    for (workflow, options, sql, expected) in cases {
        let is_special = options.singleton.is_some();
        let started = client
            .start_by_name(workflow, "null", options.clone())
            .await
            .unwrap();
        let mut runs = vec![started.id, by_sql(&database, workflow, sql).await.unwrap()];
        let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let within = client
            .start_by_name_in(&mut transaction, workflow, "null", options.clone())
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        runs.push(within.id);
        if !is_special {
            let many = [("null".to_owned(), options.clone())];
            let many = client.start_many_by_name(workflow, &many).await.unwrap();
            runs.push(many[0].id);
        }
        for run in runs {
            let run = client.get(run).await.unwrap();
            assert_eq!(place(&run), expected, "{workflow} {options:?}");
            assert_eq!(run.concurrency_key, options.concurrency_key);
        }
    }
    let by_command = run(&database, &["start", "nothing"]).await;
    let id = text(&by_command.stdout).trim().parse().unwrap();
    assert_eq!(placed(&database, id).await, (Some("fast".to_owned()), 10));
    let square = client.start_by_name("children.square", "3", StartOptions::default());
    let square = square.await.unwrap().id;
    assert_eq!(placed(&database, square).await, (None, 3));

    // There is no queue whose limits the key could be for.
    let keyed = StartOptions::default().concurrency_key("ann");
    let refused = client.start_by_name("children.square", "3", keyed.clone());
    let refused = refused.await.unwrap_err().to_string();
    assert!(refused.contains("given without a queue"), "{refused}");
    let starts = [("3".to_owned(), keyed)];
    let refused = client.start_many_by_name("children.square", &starts).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("given without a queue"), "{refused}");
    let refused = by_sql(
        &database,
        "nothing",
        r#"{"queue": "default", "concurrencyKey": "ann"}"#,
    );
    let refused = refused.await.unwrap_err();
    assert!(refused.contains("options.concurrencyKey"), "{refused}");

    // Another deployment, other places; runs in flight stay where they are.
    deploy(&database.client, &Manifest::default())
        .await
        .unwrap();
    let now = database.start("nothing", "null").await;
    assert_eq!(placed(&database, now).await, (None, 0));
    let now = by_sql(&database, "nothing", "{}").await.unwrap();
    assert_eq!(placed(&database, now).await, (None, 0));
    assert_eq!(placed(&database, square).await, (None, 3));
    assert_eq!(placed(&database, id).await, (Some("fast".to_owned()), 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_goes_where_its_parent_says_then_where_the_manifest_of_its_workflow_puts_it() {
    let database = deployed().await;
    let client = &database.client;
    let worker = worker(&database).await;
    let child_of = async |queue: Option<&str>, priority: Option<i32>| {
        let plan = serde_json::json!({ "workflow": "test:probe/children.square", "input": "3" });
        let plan =
            serde_json::json!({ "plan": plan, "queue": queue, "key": null, "priority": priority });
        let options = StartOptions::default().queue("other").priority(7);
        let parent = client
            .start_by_name("places-child", &plan.to_string(), options)
            .await
            .unwrap();
        let parent = database.done(parent.id).await;
        assert_eq!(place(&parent), (Some("other"), 7));
        let child: uuid::Uuid =
            sqlx::query_scalar("select run_id from dacapo.child where parent = $1")
                .bind(parent.id.0)
                .fetch_one(database.store.pool())
                .await
                .unwrap();
        placed(&database, RunId(child)).await
    };
    // In none, as its own manifest says for it; its parent's priority is the last word only where nothing else is said.
    assert_eq!(child_of(None, None).await, (None, 3));
    assert_eq!(
        child_of(Some("fast"), Some(-2)).await,
        (Some("fast".to_owned()), -2)
    );
    let mut elsewhere = manifest();
    elsewhere.workflows.remove("children.square");
    elsewhere.priority = None;
    deploy(&database.client, &elsewhere).await.unwrap();
    assert_eq!(child_of(None, None).await, (Some("slow".to_owned()), 7));
    assert_eq!(child_of(Some("default"), Some(0)).await, (None, 0));

    // Like a queue that its parent names, this one is waited for.
    client.delete_queue("slow").await.unwrap();
    let plan = serde_json::json!({ "workflow": "test:probe/children.square", "input": "3" });
    let plan = serde_json::json!({ "plan": plan, "queue": null, "key": null, "priority": null });
    let options = StartOptions::default().queue("default");
    let parent = client
        .start_by_name("places-child", &plan.to_string(), options)
        .await
        .unwrap();
    database
        .until(
            "the parent is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let blocked = client.get(parent.id).await.unwrap().blocked.unwrap();
    assert!(blocked.as_str().contains("unknown-queue"), "{blocked:?}");
    // That is all it lacked.
    queues(client, &["slow"]).await;
    database.done(parent.id).await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_of_a_schedule_that_says_nothing_go_where_the_manifest_puts_them() {
    let database = deployed().await;
    let client = &database.client;
    let said = NewSchedule {
        queue: Some("default".to_owned()),
        priority: Some(0),
        ..every_second("said", "nothing")
    };
    let keyed = NewSchedule {
        concurrency_key: Some("ann".to_owned()),
        ..every_second("keyed", "nothing")
    };
    for new in [every_second("silent", "nothing"), said, keyed.clone()] {
        client.create_schedule(new).await.unwrap();
    }
    let of_none = NewSchedule {
        workflow: "children.square".to_owned(),
        input: "3".to_owned(),
        ..keyed
    };
    let refused = client.create_schedule(of_none).await.unwrap_err();
    assert!(refused.to_string().contains("without a queue"), "{refused}");

    let worker = worker(&database).await;
    for (name, expected) in [
        ("silent", "fast 10 "),
        ("said", " 0 "),
        ("keyed", "fast 10 ann"),
    ] {
        until_ticked(&database, name, 1).await;
        let triggered = client.trigger_schedule(name, Trigger::Anyway).await;
        triggered.unwrap();
        let from = client.schedule(name).await.unwrap().created_at;
        let from = dacapo_client::Timestamp::from_micros(from.as_micros() - 60_000_000);
        let made_up = client.backfill_schedule(name, from, from.add_millis(2_000));
        assert_eq!(made_up.await.unwrap().started, 2);
        let places: Vec<String> = sqlx::query_scalar(
            "select distinct concat(queue, ' ', coalesce(priority, 0), ' ', concurrency_key)
            from dacapo.run where labels ->> 'dacapo.schedule' = $1",
        )
        .bind(name)
        .fetch_all(database.store.pool())
        .await
        .unwrap();
        assert_eq!(places, [expected], "{name}");
    }
    let shown = client.schedule("silent").await.unwrap();
    assert_eq!((shown.queue, shown.priority), (None, None));
    let shown = client.schedule("said").await.unwrap();
    assert_eq!(
        (shown.queue.as_deref(), shown.priority),
        (Some("default"), Some(0))
    );

    // A queue that is gone is waited for, and its absence said.
    loop {
        match client.delete_queue("fast").await {
            Ok(()) => break,
            Err(ClientError::QueueInUse(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    database
        .until(
            "the schedules that go there are in trouble",
            "select count(*) = 2 from dacapo.schedule where trouble like '%unknown-queue%fast%'",
        )
        .await;
    let refused = client.trigger_schedule("silent", Trigger::Anyway).await;
    assert_eq!(refused.unwrap_err().code(), "queue-not-found");
    queues(client, &["fast"]).await;
    database
        .until(
            "their ticks are started",
            "select count(*) = 0 from dacapo.schedule where trouble is not null",
        )
        .await;
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_goes_into_service_only_where_there_are_the_queues_that_it_names() {
    let database = database().await;
    let client = &database.client;
    queues(client, &["slow"]).await;
    let missing = deploy(&database.client, &manifest()).await.unwrap_err();
    assert_eq!(missing.code(), "queue-not-found");
    assert_eq!(
        missing.to_string(),
        "there is no queue \"fast\" in the namespace default, where the manifest puts the runs of test:probe/shapes.nothing"
    );
    let count = "select count(*) from dacapo.deployment";
    assert_eq!(database.count(count).await, 0);
    queues(client, &["fast"]).await;
    assert_eq!(deploy(&database.client, &manifest()).await.unwrap(), 1);
    // Queues are those of one namespace.
    let elsewhere = client.clone().with_namespace("elsewhere");
    let missing = deploy(&elsewhere, &manifest()).await.unwrap_err();
    assert!(
        missing.to_string().contains("in the namespace elsewhere"),
        "{missing}"
    );

    // It may be deleted later; then each start is refused that does not name another one, and so is going back to the deployment.
    client.delete_queue("fast").await.unwrap();
    let refused = client
        .start_by_name("nothing", "null", StartOptions::default())
        .await;
    assert!(
        matches!(refused, Err(ClientError::QueueNotFound(ref queue)) if queue == "fast"),
        "{refused:?}"
    );
    let refused = by_sql(&database, "nothing", "{}").await.unwrap_err();
    assert_eq!(
        refused,
        "there is no queue \"fast\", where the manifest puts the runs of test:probe/shapes.nothing"
    );
    by_sql(&database, "nothing", r#"{"queue": "slow"}"#)
        .await
        .unwrap();
    let elsewhere = StartOptions::default().queue("default");
    client
        .start_by_name("nothing", "null", elsewhere)
        .await
        .unwrap();
    assert_eq!(
        deploy(&database.client, &Manifest::default())
            .await
            .unwrap(),
        2
    );
    let back = ["deployments", "activate", "test:probe", "1"];
    let says = "there is no queue \"fast\" in the namespace default";
    fails(
        &run(&database, &back).await,
        1,
        &[says, "make it first, with `dacapo queue set`"],
    );
    queues(client, &["fast"]).await;
    assert!(run(&database, &back).await.status.success());
    let again = database.start("nothing", "null").await;
    assert_eq!(
        placed(&database, again).await,
        (Some("fast".to_owned()), 10)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sql_deploys_with_settings_that_cannot_be_meant_is_refused() {
    let database = database().await;
    let component = dacapo_sandbox::describe(&guest("probe")).unwrap();
    let mut descriptor = serde_json::to_value(&component.descriptor).unwrap();
    descriptor["digest"] = component.digest.clone().into();
    for (manifest, expected) in [
        (
            r#"{"queue": 5}"#,
            "descriptor.manifest.queue: expected the name of a queue, got 5",
        ),
        (
            r#"{"priority": 101}"#,
            "descriptor.manifest.priority: expected a whole number from -100 to 100, got 101",
        ),
        (
            r#"{"priority": 1.5}"#,
            "descriptor.manifest.priority: expected a whole number",
        ),
        (
            r#"{"priority": "high"}"#,
            "descriptor.manifest.priority: expected a whole number",
        ),
        (
            r#"{"retention": "30d"}"#,
            "descriptor.manifest.retention: expected an object",
        ),
        (
            r#"{"retention": {"done": "forever"}}"#,
            "descriptor.manifest.retention: expected completed, failed or cancelled, got done",
        ),
        (
            r#"{"retention": {"failed": {"seconds": 59}}}"#,
            "descriptor.manifest.retention.failed: expected \"forever\" or {\"seconds\": N}",
        ),
        (
            r#"{"retention": {"failed": {"days": 5}}}"#,
            "descriptor.manifest.retention.failed: expected \"forever\" or",
        ),
        (
            r#"{"workflows": {"test:probe/shapes.nothing": {"queue": ""}}}"#,
            "descriptor.manifest.workflows.test:probe/shapes.nothing.queue: expected the name of a queue",
        ),
        (
            r#"{"queue": "slow"}"#,
            "there is no queue \"slow\" in the namespace default",
        ),
    ] {
        descriptor["manifest"] = serde_json::from_str(manifest).unwrap();
        let refused = sqlx::query("select dacapo.deploy($1, $2::text::jsonb)")
            .bind(&component.component)
            .bind(descriptor.to_string())
            .execute(database.store.pool())
            .await
            .unwrap_err();
        let message = refused.as_database_error().unwrap().message();
        assert!(message.starts_with(expected), "{message}\n{expected}");
    }
    let count = "select count(*) from dacapo.deployment";
    assert_eq!(database.count(count).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_may_set_what_its_manifest_does_not_and_what_holds_is_shown() {
    let database = database().await;
    queues(&database.client, &["slow"]).await;
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("probe.wasm");
    std::fs::write(&component, guest("probe")).unwrap();
    let component = component.to_str().unwrap();
    let deploy = async |sets: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let arguments: Vec<&str> = ["deploy", component].into_iter().chain(sets).collect();
        run(&database, &arguments).await
    };
    let output = deploy(&["limits.steps=500"]).await;
    let said = text(&output.stdout);
    assert!(
        said.contains("  --set sets\n    rows of a journal: at most 500"),
        "{said}"
    );

    let file = "queue = \"slow\"\nretention = \"30d\"\n[limits]\nsteps = 1000\ncpu = \"2s\"\n";
    std::fs::write(directory.path().join("dacapo.toml"), file).unwrap();
    let output = deploy(&[
        "limits.steps=7",
        "priority=\"high\"",
        "workflows.nothing.queue=\"default\"",
        "workflows.nothing.retention.failed=\"forever\"",
    ])
    .await;
    let said = text(&output.stdout);
    let expected = "dacapo.toml and --set set
    runs whose start names no queue: slow
    runs whose start says no priority: 10
    runs that have ended are kept: 30d
    runs of test:probe/shapes.nothing whose start names no queue: default
    runs of test:probe/shapes.nothing that have ended are kept: completed 30d, failed forever, cancelled 30d
    computing between two durable calls: at most 2s
    rows of a journal: at most 7";
    assert!(said.contains(expected), "{said}");
    let shown = text(
        &run(&database, &["deployments", "show", "test:probe"])
            .await
            .stdout,
    );
    for line in expected.lines().skip(1) {
        assert!(shown.contains(line.trim()), "{line}\n{shown}");
    }
    let listed = run(&database, &["workflows", "-o", "json"]).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let of = |name: &str| {
        let mut all = listed.as_array().unwrap().iter();
        all.find(|one| one["name"] == format!("test:probe/{name}"))
            .unwrap()
    };
    assert_eq!(of("shapes.nothing")["queue"], serde_json::Value::Null);
    assert_eq!(of("shapes.nothing")["priority"], 10);
    assert_eq!(of("shapes.nothing")["retention"]["failed"], "forever");
    assert_eq!(of("children.square")["queue"], "slow");
    assert_eq!(
        of("children.square")["retention"]["completed"]["seconds"],
        30 * 86_400
    );
    let listed = text(&run(&database, &["workflows"]).await.stdout);
    assert!(
        listed.contains("queue slow, priority 10, kept 30d"),
        "{listed}"
    );
    let again = deploy(&["limits.steps=8"]).await;
    assert!(
        text(&again.stdout).contains("deployment 3 of test:probe"),
        "{}",
        text(&again.stdout)
    );

    // What is set goes through the checks of the file, and is named.
    for (set, says) in [
        (
            "limits.steps=0",
            "--set 'limits.steps=0': expected a whole number from 1 on, such as 1000, got integer `0`",
        ),
        (
            "limits.stepz=5",
            "--set 'limits.stepz=5': expected one of `memory`, `cpu`, `step-cpu`, `payload`, `steps`, `scratch`, got the key `stepz`",
        ),
        (
            "limits.memory=64MiB",
            "--set 'limits.memory=64MiB': expected KEY=VALUE in TOML, such as limits.memory=\"64MiB\"",
        ),
        (
            "retention=\"5s\"",
            "--set 'retention=\"5s\"': `retention`: expected a minute to a hundred years",
        ),
    ] {
        fails(
            &deploy(&[set]).await,
            2,
            &[says, "docs/manifest.md has all that it may say"],
        );
    }
    let output = deploy(&["queue=\"gone\""]).await;
    fails(
        &output,
        1,
        &["there is no queue \"gone\"", "dacapo queue set"],
    );
    let count = "select count(*) from dacapo.deployment";
    assert_eq!(database.count(count).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_on_a_deployment_that_places_no_runs_are_the_short_statement() {
    let database = database().await;
    let silent = Manifest {
        retry: Some(RetrySettings {
            max_attempts: Some(2),
            ..RetrySettings::default()
        }),
        ..Manifest::default()
    };
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    connection
        .execute("set track_functions = 'all'")
        .await
        .unwrap();
    let long = "select count(*) from pg_prepared_statements where statement like '-- Starts runs of which some are in a named queue%'";
    let asked = "select coalesce(sum(calls), 0)::bigint from pg_stat_xact_user_functions where funcname = 'with_settings'";
    let mut counted = Vec::new();
    queues(&database.client, &["slow", "fast"]).await;
    for manifest in [silent, manifest()] {
        deploy(&database.client, &manifest).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let options = StartOptions::default();
        let client = &database.client;
        client
            .start_by_name_in(&mut transaction, "nothing", "null", options)
            .await
            .unwrap();
        transaction
            .execute("select dacapo.start('nothing')")
            .await
            .unwrap();
        let mut counts = Vec::new();
        for count in [long, asked] {
            let count: i64 = sqlx::query_scalar(count)
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            counts.push(count);
        }
        transaction.rollback().await.unwrap();
        counted.push(counts);
    }
    assert_eq!(counted, [[0, 0], [1, 1]]);
}
