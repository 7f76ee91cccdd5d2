//! Putting components into service: from SQL, with what is wrong, at the same time; retiring them, and taking away what nothing needs.

use dacapo_client::{
    Breaking, ClientError, NewSchedule, OnDeployment, RerunOptions, RunId, Status, When,
};
use dacapo_model::{Descriptor, Manifest, Type};
use dacapo_tests::{Database, database};
use dacapo_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use super::{descriptor, number_of, put, put_as, refusal, share, sql_deploy, standing, version};
use crate::check::{sound, worker};

/// What `run` waits for has come.
async fn go(database: &Database, run: RunId) {
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
}

async fn waiting(database: &Database, count: i64) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while database
        .count("select count(*) from dacapo.task_suspended where reason = 'event'")
        .await
        < count
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{count} runs do not wait"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_from_sql_and_a_change_of_tables_come_together_or_not_at_all() {
    let database = database().await;
    let described = version("probe", 1);
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let worker = worker(&database).await;
    for commits in [false, true] {
        let mut transaction = connection.begin().await.unwrap();
        transaction
            .execute("create table migrated (id integer)")
            .await
            .unwrap();
        let answer = sql_deploy(
            &mut transaction,
            &described.component,
            &descriptor(&described),
            &json!({ "by": "the migration" }),
        )
        .await
        .unwrap();
        assert_eq!(
            answer,
            json!({ "package": "test:probe", "number": 1, "before": null, "outcome": "created" })
        );
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
            assert_eq!(standing(&database).await, []);
            assert_eq!(
                database
                    .count("select count(*) from dacapo.component")
                    .await,
                0
            );
        }
    }
    let run = database.start("children.square", "7").await;
    assert_eq!(database.done(run).await.output.unwrap().as_str(), "49");
    let details = database.client.deployment("probe", None).await.unwrap();
    let history: Vec<_> = details
        .changes
        .iter()
        .map(|change| (change.what.as_str(), change.who.as_str()))
        .collect();
    assert_eq!(
        history,
        [
            ("deployed", "the migration"),
            ("activated", "the migration")
        ]
    );
    // The client deploys the same thing by the same statement.
    let same = put(&database.client, &described, None).await.unwrap();
    assert!(!same.created && same.number == 1, "{same:?}");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deployed_is_said_and_nothing_is_changed() {
    let database = database().await;
    let described = version("probe", 1);
    put(&database.client, &described, None).await.unwrap();
    let other = version("probe", 2);
    let (bytes, right) = (other.component.as_slice(), descriptor(&other));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut descriptor = right.clone();
        change(&mut descriptor);
        descriptor
    };
    let none = json!({});
    let cases: Vec<(&[u8], Value, Value, &str)> = vec![
        // The upload was cut short.
        (
            &bytes[..bytes.len() / 2],
            right.clone(),
            none.clone(),
            "cut short",
        ),
        (
            b"",
            right.clone(),
            none.clone(),
            "expected a WebAssembly component, got 0 bytes",
        ),
        (
            b"\0asm\x01\0\0\0",
            right.clone(),
            none.clone(),
            "expected a WebAssembly component",
        ),
        // A digest that is known, and other bytes.
        (
            bytes,
            descriptor(&described),
            none.clone(),
            "the descriptor is that of a component with the SHA-256",
        ),
        // Another component's descriptor.
        (
            bytes,
            descriptor(&version("caller", 1)),
            none.clone(),
            "the descriptor is that of a component",
        ),
        (
            bytes,
            json!([]),
            none.clone(),
            "descriptor: expected an object",
        ),
        (
            bytes,
            with(&|d| d["digest"] = json!("abc")),
            none.clone(),
            "descriptor.digest: expected a SHA-256",
        ),
        (
            bytes,
            with(&|d| d["package"] = json!("probe")),
            none.clone(),
            "descriptor.package: expected ns:name",
        ),
        (
            bytes,
            with(&|d| d["workflows"] = json!([])),
            none.clone(),
            "expected at least one workflow",
        ),
        (
            bytes,
            with(&|d| d["workflows"][0]["name"] = json!("a:b/c.d")),
            none.clone(),
            "descriptor.workflows[0].name",
        ),
        (
            bytes,
            with(&|d| d["workflows"][1] = d["workflows"][0].clone()),
            none.clone(),
            "is there twice",
        ),
        (
            bytes,
            with(&|d| d["workflows"][0]["result"] = json!("u33")),
            none.clone(),
            "descriptor.workflows[0].result: expected a type",
        ),
        (
            bytes,
            with(&|d| d["workflows"][0]["result"] = json!({ "list": { "record": 1 } })),
            none.clone(),
            "expected a type",
        ),
        (
            bytes,
            with(&|d| d["imports"] = json!("all")),
            none.clone(),
            "descriptor.imports: expected a list",
        ),
        (
            bytes,
            with(&|d| d["manifest"] = json!(1)),
            none.clone(),
            "descriptor.manifest: expected an object",
        ),
        (
            bytes,
            with(&|d| d["manifest"] = json!({ "retires": {} })),
            none.clone(),
            "descriptor.manifest: there is no setting \"retires\"",
        ),
        (
            bytes,
            with(&|d| d["manifest"] = json!({ "workflows": [] })),
            none.clone(),
            "descriptor.manifest.workflows: expected an object",
        ),
        // The end of a name is only for `dacapo.toml`: it would be passed over here.
        (
            bytes,
            with(&|d| d["manifest"] = json!({ "workflows": { "square": {} } })),
            none.clone(),
            "expected the full name of a workflow of the component, got \"square\"; it exports test:probe/",
        ),
        (
            bytes,
            right.clone(),
            json!({ "percent": 0 }),
            "options.percent: expected a whole number from 1 to 100",
        ),
        (
            bytes,
            right.clone(),
            json!({ "percent": "ten" }),
            "options.percent",
        ),
        (
            bytes,
            right.clone(),
            json!({ "labels": ["a"] }),
            "options.labels: expected an object of strings",
        ),
        (bytes, right.clone(), json!({ "share": 1 }), "share"),
    ];
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for (component, descriptor, options, says) in cases {
        let error = sql_deploy(&mut connection, component, &descriptor, &options)
            .await
            .expect_err(says);
        let said = error.as_database_error().unwrap();
        let hint = said
            .downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .hint()
            .unwrap_or_default()
            .to_owned();
        let said = format!("{}; {hint}", said.message());
        assert!(said.contains(says), "expected {says:?} in: {said}");
        assert_eq!(standing(&database).await, [(1, true, None)], "{says}");
        assert_eq!(
            database
                .count("select count(*) from dacapo.component")
                .await,
            1,
            "{says}"
        );
    }
    // The client says the same.
    let said = refusal(
        database
            .client
            .deploy(&other.descriptor, &described.digest, &other.component)
            .await,
    );
    assert!(said.contains("another component's"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deploys_at_the_same_time_all_succeed_one_after_the_other() {
    let database = database().await;
    put(&database.client, &version("probe", 0), None)
        .await
        .unwrap();
    let deploys = (1..=6u8).map(|at| {
        let client = database.client.clone();
        tokio::spawn(async move {
            let outcome = put(&client, &version("probe", at), None).await.unwrap();
            assert!(outcome.created);
            outcome.number
        })
    });
    let back = {
        let client = database.client.clone();
        tokio::spawn(async move {
            client
                .activate_deployment("test:probe", 1, None, Breaking::Refuse, "ada")
                .await
                .unwrap();
        })
    };
    let mut numbers = Vec::new();
    for deploy in deploys.collect::<Vec<_>>() {
        numbers.push(deploy.await.unwrap());
    }
    back.await.unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7]);
    let standing = standing(&database).await;
    assert_eq!(standing.len(), 7);
    assert_eq!(standing.iter().filter(|(_, active, _)| *active).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_new_run_goes_to_a_retired_deployment_and_its_runs_in_flight_end_there() {
    let database = database().await;
    let client = &database.client;
    put(client, &version("probe", 1), None).await.unwrap();
    let worker = worker(&database).await;
    let run = database.start("changes.same", "null").await;
    waiting(&database, 1).await;
    let said = refusal(client.retire_deployment("probe", 1, false, "ada").await);
    assert!(
        said.contains("deployment 1 of test:probe is active"),
        "{said}"
    );
    put(client, &version("probe", 2), None).await.unwrap();
    client
        .retire_deployment("probe", 1, false, "ada")
        .await
        .unwrap();
    let said = refusal(
        client
            .activate_deployment("probe", 1, None, Breaking::Refuse, "ada")
            .await,
    );
    assert!(
        said.contains("deployment 1 of test:probe is retired") && said.contains("--undo"),
        "{said}"
    );
    assert_eq!(
        standing(&database).await,
        [(1, false, None), (2, true, None)]
    );
    go(&database, run).await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    let own = RerunOptions {
        deployment: OnDeployment::Own,
        ..RerunOptions::default()
    };
    let said = refusal(client.rerun(run, &own, "ada").await);
    assert!(said.contains("is retired"), "{said}");
    client
        .retire_deployment("probe", 1, true, "ada")
        .await
        .unwrap();
    let again = client.rerun(run, &own, "ada").await.unwrap();
    assert_eq!(number_of(&database, again).await, 1);
    client
        .activate_deployment("probe", 1, None, Breaking::Refuse, "ada")
        .await
        .unwrap();
    let said = refusal(
        client
            .activate_deployment("probe", 9, None, Breaking::Refuse, "ada")
            .await,
    );
    assert!(
        said.contains("there is no deployment 9 of test:probe: the newest is 2"),
        "{said}"
    );
    let said = refusal(
        client
            .activate_deployment("nothing", 1, None, Breaking::Refuse, "ada")
            .await,
    );
    assert!(
        said.contains("no package \"nothing\" was deployed"),
        "{said}"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_nothing_needs_is_taken_away_and_nothing_else() {
    let database = database().await;
    let client = &database.client;
    for at in 1..=3 {
        put(client, &version("probe", at), None).await.unwrap();
        if at == 1 {
            database.start("changes.same", "null").await;
        }
    }
    // Retired and needed by a run; retired and not needed; active.
    for number in [1, 2] {
        client
            .retire_deployment("probe", number, false, "ada")
            .await
            .unwrap();
    }
    let would_go = client.collect_deployments(true).await.unwrap();
    assert_eq!(would_go.len(), 1, "{would_go:#?}");
    assert_eq!(would_go[0].number, Some(2));
    assert_eq!(
        would_go[0].bytes,
        Some(i64::try_from(version("probe", 2).component.len()).unwrap())
    );
    assert_eq!(standing(&database).await.len(), 3);
    // Workers wait for a day, so that it can be undone.
    let day = std::time::Duration::from_secs(86_400);
    let by_workers = dacapo_store::collect_deployments(&database.store, false, day).await;
    assert_eq!(by_workers.unwrap(), []);
    assert_eq!(client.collect_deployments(false).await.unwrap(), would_go);
    assert_eq!(
        standing(&database).await,
        [(1, false, None), (3, true, None)]
    );
    assert_eq!(
        database
            .count("select count(*) from dacapo.component")
            .await,
        2
    );
    // Its only run goes, and its component is another deployment's, too.
    sqlx::raw_sql("delete from dacapo.task_ready; delete from dacapo.run")
        .execute(database.store.pool())
        .await
        .unwrap();
    put(client, &version("probe", 1), None).await.unwrap();
    let gone = client.collect_deployments(false).await.unwrap();
    assert_eq!(gone.len(), 1, "{gone:#?}");
    assert_eq!((gone[0].number, gone[0].bytes), (Some(1), None));
    // The newest stays although it is retired: its number is not given again.
    client
        .activate_deployment("probe", 3, None, Breaking::Refuse, "ada")
        .await
        .unwrap();
    client
        .retire_deployment("probe", 4, false, "ada")
        .await
        .unwrap();
    assert_eq!(client.collect_deployments(false).await.unwrap(), []);
    assert_eq!(
        put(client, &version("probe", 5), None)
            .await
            .unwrap()
            .number,
        5
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_plays_runs_on_three_versions_at_once_although_it_keeps_only_one() {
    let database = database().await;
    let config = WorkerConfig {
        deployments_max: 1,
        ..WorkerConfig::default()
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let mut runs = Vec::new();
    for at in 1..=3 {
        put(&database.client, &version("probe", at), None)
            .await
            .unwrap();
        for _ in 0..3 {
            runs.push((database.start("changes.same", "null").await, i32::from(at)));
        }
    }
    waiting(&database, 9).await;
    for (run, _) in &runs {
        go(&database, *run).await;
    }
    for (run, number) in &runs {
        assert_eq!(database.done(*run).await.status, Status::Completed);
        assert_eq!(number_of(&database, *run).await, *number);
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_breaks_who_deals_with_its_workflows_is_refused_unless_that_is_allowed() {
    let database = database().await;
    let client = &database.client;
    let described = version("probe", 1);
    put(client, &described, None).await.unwrap();
    put(client, &version("caller", 1), None).await.unwrap();
    client
        .create_schedule(NewSchedule::new(
            "nightly",
            "changes.same",
            When::Every(std::time::Duration::from_secs(86_400)),
        ))
        .await
        .unwrap();
    database.start("shapes.nothing", "null").await;
    let other = version("probe", 2);
    // The number that a component in service gets from a child is a text now, the input of another workflow is narrower, and two are gone.
    let mut changed = other.descriptor.clone();
    changed.workflows.retain(|workflow| {
        ![
            "test:probe/changes.same",
            "test:probe/shapes.nothing",
            "test:probe/changes.dropped",
        ]
        .contains(&workflow.name.as_str())
    });
    for workflow in &mut changed.workflows {
        match workflow.name.as_str() {
            "test:probe/typed.count" => workflow.result = Some(Type::String),
            "test:probe/children.square" => workflow.param.as_mut().unwrap().ty = Type::U8,
            _ => {}
        }
    }
    let error = put_as(client, &other, &changed, None, Breaking::Refuse)
        .await
        .unwrap_err();
    let ClientError::Breaking { package, changes } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(package, "test:probe");
    let mut breaking: Vec<String> = changes
        .iter()
        .filter(|change| change.breaking)
        .map(ToString::to_string)
        .collect();
    breaking.sort_unstable();
    assert_eq!(
        breaking,
        [
            "test:probe/changes.same: it is gone: schedule nightly starts it",
            "test:probe/children.square: input: expected u8, may be u32",
            "test:probe/shapes.nothing: it is gone: 1 of its runs are in flight (and stay on their deployment)",
            "test:probe/typed.count: output: expected u32, may be string",
        ]
    );
    assert!(
        changes
            .iter()
            .any(|change| change.workflow == "test:probe/changes.dropped" && !change.breaking),
        "nobody uses it: {changes:#?}"
    );
    assert!(error.hint().unwrap().contains("--allow-breaking"));
    assert_eq!(
        standing(&database)
            .await
            .iter()
            .filter(|(number, ..)| *number == 2)
            .count(),
        0
    );
    // An output with one more field breaks the caller in WebAssembly alone.
    let mut wider = other.descriptor.clone();
    for workflow in &mut wider.workflows {
        if workflow.name == "test:probe/typed.reserve"
            && let Some(Type::Result { ok: Some(ok), .. }) = &mut workflow.result
            && let Type::Record(record) = ok.as_mut()
        {
            let mut more = record.fields[0].clone();
            more.name = "more".to_owned();
            record.fields.push(more);
        }
    }
    let error = put_as(client, &other, &wider, Some(share(10)), Breaking::Refuse)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(
            "test:probe/typed.reserve: output.more: there is no such field for who reads it (for deployment 1 of test:caller, which calls it)"
        ),
        "{error}"
    );
    let outcome = put_as(client, &other, &wider, None, Breaking::Allow)
        .await
        .unwrap();
    assert!(outcome.created && outcome.changes.iter().any(|change| change.breaking));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_knows_every_setting_of_a_manifest() {
    let database = database().await;
    let error = serde_json::from_str::<Manifest>(r#"{"none": 1}"#)
        .unwrap_err()
        .to_string();
    let settings: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(settings.contains(&"retry"), "{error}");
    for setting in settings {
        let problem: Option<String> = sqlx::query_scalar(
            "select dacapo.manifest_names_problem(jsonb_build_object($1::text, '{}'::jsonb), '[]')",
        )
        .bind(setting)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
        assert_eq!(problem, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_whose_runs_are_in_flight_are_asked_although_no_new_run_goes_there() {
    let database = database().await;
    let client = &database.client;
    put(client, &version("probe", 1), None).await.unwrap();
    let caller = version("caller", 1);
    put(client, &caller, None).await.unwrap();
    for _ in 0..3 {
        database.start("calls.check", r#""it""#).await;
    }
    // The next one calls nobody.
    let alone = version("caller", 2);
    let mut calls_nobody = alone.descriptor.clone();
    calls_nobody.children.clear();
    put_as(client, &alone, &calls_nobody, None, Breaking::Refuse)
        .await
        .unwrap();
    let other = version("probe", 2);
    let mut changed = other.descriptor.clone();
    for workflow in &mut changed.workflows {
        if workflow.name == "test:probe/typed.reserve"
            && let Some(Type::Result { ok: Some(ok), .. }) = &mut workflow.result
            && let Type::Record(record) = ok.as_mut()
        {
            let mut more = record.fields[0].clone();
            more.name = "more".to_owned();
            record.fields.push(more);
        }
    }
    let error = put_as(client, &other, &changed, None, Breaking::Refuse)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(
            "output.more: there is no such field for who reads it (for deployment 1 of test:caller, which calls it; its runs in flight: 3)"
        ),
        "{error}"
    );
    // What comes in the same command is asked in the place of what it replaces.
    sqlx::raw_sql("delete from dacapo.task_ready; delete from dacapo.run")
        .execute(database.store.pool())
        .await
        .unwrap();
    let breaking = async |coming: &[&Descriptor]| {
        let (_, changes) = client.changes_beside(&changed, coming).await.unwrap();
        let breaking = changes.into_iter().filter(|change| change.breaking);
        breaking.map(|change| change.what).collect::<Vec<_>>()
    };
    assert_eq!(breaking(&[]).await, [""; 0]);
    assert_eq!(
        breaking(&[&caller.descriptor]).await,
        [
            "there is no such field for who reads it (for test:caller, which comes with it and calls it)"
        ]
    );
    sqlx::query("select dacapo.activate('test:caller', 1)")
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_eq!(breaking(&[]).await.len(), 1);
    assert_eq!(breaking(&[&calls_nobody]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_beside_an_activation_is_compared_with_what_is_active_then() {
    let database = database().await;
    let client = &database.client;
    put(client, &version("probe", 1), None).await.unwrap();
    database.start("children.square", "7").await;
    let without = |at| {
        let described = version("probe", at);
        let mut fewer = described.descriptor.clone();
        fewer
            .workflows
            .retain(|workflow| workflow.name != "test:probe/children.square");
        (described, fewer)
    };
    let (two, fewer) = without(2);
    put_as(client, &two, &fewer, None, Breaking::Allow)
        .await
        .unwrap();
    // Somebody goes back to 1, and has not committed.
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let mut going_back = connection.begin().await.unwrap();
    going_back
        .execute("select dacapo.activate('test:probe', 1)")
        .await
        .unwrap();
    let deploying = {
        let client = client.clone();
        tokio::spawn(async move {
            let (three, fewer) = without(3);
            put_as(&client, &three, &fewer, None, Breaking::Refuse).await
        })
    };
    database
        .until(
            "the deploy waits",
            "select exists (
                select from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock' and query like '%dacapo.deploy%'
            )",
        )
        .await;
    going_back.commit().await.unwrap();
    let refused = deploying.await.unwrap();
    assert!(
        matches!(refused, Err(ClientError::Breaking { .. })),
        "nothing is missing beside 2, but beside 1: {refused:?}"
    );
    assert_eq!(
        standing(&database).await,
        [(1, true, None), (2, false, None)]
    );
}
