//! What a client shows to whom: secret parts of payloads, scopes, tokens, and the audit. What the server makes of it is in `server`.

use std::time::Duration;

use dacapo_client::{
    Access, AuditFilter, Client, ClientError, Deed, DeedOutcome, Existing, ListFilter, Manifest,
    NewSchedule, Payloads, Role, RunFilter, RunId, Schedule, Scope, Secret, StartOptions, Status,
    Trigger, Via, When,
};
use dacapo_tests::{Database, database, guest};
use dacapo_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};

use crate::command::{dacapo, fails, run, text};

const PROCESS: &str = "payments:processing/payments.process";
const APPROVE: &str = "hr:approvals/approvals.approve";

const SECRET: [&str; 6] = [
    "input.items.*.sku",
    "output.settlement",
    "error.declined",
    "steps.charge.output",
    "events.settled.reference",
    "input.order-id",
];

async fn deploy(database: &Database, name: &str, manifest: Value) {
    let described = dacapo_sandbox::describe(&guest(name)).unwrap();
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    let deployed = database.client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        &manifest,
    );
    deployed.await.unwrap();
}

async fn deploy_with_secrets(database: &Database) {
    let manifest = json!({ "workflows": { PROCESS: { "secret": SECRET } } });
    deploy(database, "process_payment", manifest).await;
}

async fn worker(database: &Database) -> Worker {
    Worker::start(database.store.clone(), WorkerConfig::default())
        .await
        .unwrap()
}

fn payment(cents: u32) -> String {
    json!({
        "orderId": 4711, "amountCents": 100, "currency": "eur",
        "items": [{ "sku": "hush", "price": cents }],
    })
    .to_string()
}

fn labelled(name: &str, value: &str) -> StartOptions {
    StartOptions {
        labels: [(name.to_owned(), value.to_owned())].into(),
        ..StartOptions::default()
    }
}

fn scope(workflows: &[&str], labels: &[(&str, &str)]) -> Scope {
    let labels = labels.iter();
    Scope {
        workflows: workflows.iter().map(|one| one.parse().unwrap()).collect(),
        labels: labels
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manifest_calls_secret_is_shown_nowhere_and_whoever_started_the_run_gets_it() {
    let database = database().await;
    deploy_with_secrets(&database).await;
    let worker = worker(&database).await;
    let client = &database.client;
    let started = client
        .start_by_name(PROCESS, &payment(100), StartOptions::default())
        .await
        .unwrap();
    client
        .send_event(started.id, "settled", r#"{"reference": "iban-9"}"#, None)
        .await
        .unwrap();
    let output = client.wait_output(&started).await.unwrap();
    assert_eq!(
        output["settlement"], "iban-9",
        "the code and its starter see all"
    );

    let whole = client.clone().showing(Payloads::Whole);
    let seen = serde_json::to_string(&whole.get(started.id).await.unwrap()).unwrap();
    for secret in ["hush", "iban-9", "charge-4711", "4711"] {
        assert!(seen.contains(secret), "{seen}");
    }
    let list = client.list(ListFilter::default()).await.unwrap();
    let shown = [
        serde_json::to_string(&client.get(started.id).await.unwrap()).unwrap(),
        serde_json::to_string(&client.wait(started.id, None).await.unwrap()).unwrap(),
        serde_json::to_string(&list).unwrap(),
        client
            .export(started.id, false)
            .await
            .unwrap()
            .to_json()
            .unwrap(),
    ];
    for shown in &shown {
        assert!(shown.contains("•••"), "{shown}");
        for secret in ["hush", "iban-9"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    let run = client.get(started.id).await.unwrap();
    assert_eq!(
        run.input.as_str(),
        r#"{"amountCents":100,"currency":"eur","items":[{"price":100,"sku":"•••"}],"orderId":"•••"}"#
    );
    // What `output.charge` holds is not called secret, though the step that it comes from is.
    assert_eq!(
        run.output.unwrap().as_str(),
        r#"{"orderId":4711,"charge":"charge-4711","settlement":"•••"}"#
    );
    let charge = run.steps.iter().find(|step| step.name == "charge").unwrap();
    assert_eq!(
        serde_json::to_value(&charge.outcome).unwrap(),
        json!({ "ok": "•••" })
    );

    // By the command, too, and an error of the workflow.
    let shown = crate::command::run(&database, &["runs", "show", &started.id.to_string()]).await;
    let shown = text(&shown.stdout);
    assert!(shown.contains("•••") && !shown.contains("hush"), "{shown}");
    let declined = database.start(PROCESS, &payment(1)).await;
    let failed = database.done(declined).await;
    let details = failed.failure.unwrap().details.unwrap();
    assert_eq!(details.as_str(), r#"{"tag":"declined","val":"•••"}"#);
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_again_with_what_was_hidden_from_whoever_asks() {
    let database = database().await;
    deploy_with_secrets(&database).await;
    let client = &database.client;
    let run = database.start(PROCESS, &payment(100)).await;
    client.kill(run).await.unwrap();
    let done = client
        .change_many(
            RunFilter::default(),
            &dacapo_client::Change::Rerun(dacapo_client::RerunOptions::default()),
            "ann",
        )
        .await
        .unwrap();
    assert!(
        done.refused.is_empty() && done.stopped.is_none(),
        "{done:?}"
    );
    let new = done.changed[0].new_run.unwrap();
    let whole = client.clone().showing(Payloads::Whole);
    assert!(
        whole
            .get(new)
            .await
            .unwrap()
            .input
            .as_str()
            .contains("hush")
    );

    // A schedule, too: its input is hidden, and its runs have it.
    let mut schedule =
        NewSchedule::new("nightly", PROCESS, When::Every(Duration::from_secs(86_400)));
    schedule.input = payment(100);
    let shown = client.create_schedule(schedule).await.unwrap();
    assert!(!shown.input.as_str().contains("hush"), "{}", shown.input);
    let run = client
        .trigger_schedule("nightly", Trigger::Anyway)
        .await
        .unwrap();
    assert!(
        whole
            .get(run)
            .await
            .unwrap()
            .input
            .as_str()
            .contains("hush")
    );
    assert!(
        !client
            .get(run)
            .await
            .unwrap()
            .input
            .as_str()
            .contains("hush")
    );

    // What is deployed elsewhere calls more secret at once, in the list as well.
    let amount = |schedule: &Schedule| {
        let input: Value = serde_json::from_str(schedule.input.as_str()).unwrap();
        input["amountCents"].clone()
    };
    assert_eq!(amount(&client.schedules().await.unwrap()[0]), 100);
    let elsewhere = Database {
        client: Client::new(database.store.clone()),
        ..database.clone()
    };
    let secret = [&SECRET[..], &["input.amount-cents"]].concat();
    let manifest = json!({ "workflows": { PROCESS: { "secret": secret } } });
    deploy(&elsewhere, "process_payment", manifest).await;
    assert_eq!(amount(&client.schedules().await.unwrap()[0]), "•••");
    assert_eq!(amount(&client.schedule("nightly").await.unwrap()), "•••");
    assert_eq!(amount(&whole.schedules().await.unwrap()[0]), 100);

    // Nor does an error tell.
    let keyed = |cents| {
        let options = StartOptions {
            key: Some("k".to_owned()),
            ..StartOptions::default()
        };
        async move {
            client
                .start_by_name(PROCESS, &payment(cents), options)
                .await
        }
    };
    keyed(100).await.unwrap();
    let conflict = keyed(99).await.unwrap_err().to_string();
    assert!(
        conflict.contains("•••") && !conflict.contains("hush"),
        "{conflict}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_without_its_secrets_can_be_looked_at_and_nothing_else() {
    let database = database().await;
    deploy_with_secrets(&database).await;
    let run = database.start(PROCESS, &payment(100)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("run.json");
    let file = file.to_str().unwrap();
    let id = run.to_string();
    let output = crate::command::run(&database, &["runs", "export", &id, "--file", file]).await;
    assert!(
        text(&output.stderr).contains("--with-secrets"),
        "{}",
        text(&output.stderr)
    );
    assert!(!std::fs::read_to_string(file).unwrap().contains("hush"));
    let other = database_with_payments().await;
    let refused = crate::command::run(&other, &["runs", "import", file]).await;
    fails(&refused, 2, &["without what is secret", "--with-secrets"]);
    let component = dacapo_tests::guest_path("process_payment");
    let replay = ["replay", "--component", component.to_str().unwrap(), file];
    fails(
        &crate::command::run(&database, &replay).await,
        2,
        &["without what is secret"],
    );

    let output = crate::command::run(
        &database,
        &["runs", "export", &id, "--file", file, "--with-secrets"],
    )
    .await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let imported = crate::command::run(&other, &["runs", "import", file]).await;
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let whole = other.client.clone().showing(Payloads::Whole);
    assert!(
        whole
            .get(run)
            .await
            .unwrap()
            .input
            .as_str()
            .contains("hush")
    );
}

async fn database_with_payments() -> Database {
    let database = database().await;
    deploy_with_secrets(&database).await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_leads_nowhere_is_refused_with_its_place_when_it_is_deployed() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("payment.wasm");
    std::fs::write(&component, guest("process_payment")).unwrap();
    let manifest = directory.path().join("dacapo.toml");
    for (path, says) in [
        (
            "input.card",
            "a field in the place of \"card\": orderId, amountCents",
        ),
        ("input.items.sku", "`*` in the place of \"sku\""),
        (
            "outputs",
            "expected input, output, error, events.NAME or steps.NAME.output",
        ),
    ] {
        let toml = format!("[workflows.process]\nsecret = [\"output.charge\", \"{path}\"]\n");
        std::fs::write(&manifest, toml).unwrap();
        let output = crate::command::run(&database, &["deploy", component.to_str().unwrap()]).await;
        fails(&output, 2, &["dacapo.toml:2:28", "secret", says]);
    }
    std::fs::write(
        &manifest,
        "[workflows.process]\nsecret = [\"input\", \"steps.charge.output\"]\n",
    )
    .unwrap();
    let output = crate::command::run(&database, &["deploy", component.to_str().unwrap()]).await;
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("input, steps.charge.output"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_see_no_payloads_sees_what_was_done_and_when() {
    let database = database().await;
    deploy(&database, "process_payment", json!({})).await;
    let worker = worker(&database).await;
    let run = database.start(PROCESS, &payment(1)).await;
    database.done(run).await;
    worker.drain().await.unwrap();
    let hidden = database.client.clone().showing(Payloads::Hidden);
    let seen = hidden.get(run).await.unwrap();
    assert_eq!(seen.status, Status::Failed);
    assert_eq!(seen.input.as_str(), "\"••• hidden\"");
    let failure = seen.failure.clone().unwrap();
    assert_eq!(
        (failure.message.as_str(), failure.details),
        ("••• hidden", None)
    );
    assert_eq!(seen.steps.len(), 3, "{seen:?}");
    let list = hidden.list(ListFilter::default()).await.unwrap();
    for shown in [
        serde_json::to_string(&seen).unwrap(),
        serde_json::to_string(&list).unwrap(),
    ] {
        for payload in ["hush", "hold-4711", "cost"] {
            assert!(!shown.contains(payload), "{payload} in {shown}");
        }
    }
    for refused in [
        hidden.logs(run).await.map(drop),
        hidden.export(run, true).await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(ClientError::Withheld(_))),
            "{refused:?}"
        );
    }
}

/// A database with three runs: a payment of team a, one of team b, and an approval of team a.
async fn three_runs() -> (Database, [RunId; 3]) {
    let database = database().await;
    deploy(&database, "process_payment", json!({})).await;
    deploy(&database, "approval", json!({})).await;
    let request = r#"{"employee": "e", "purpose": "p", "amountCents": 1, "coolingOffSeconds": 0}"#;
    let payment = payment(100);
    let mut runs = Vec::new();
    for (workflow, input, team) in [
        (PROCESS, payment.as_str(), "a"),
        (PROCESS, payment.as_str(), "b"),
        (APPROVE, request, "a"),
    ] {
        let started = database
            .client
            .start_by_name(workflow, input, labelled("team", team));
        runs.push(started.await.unwrap().id);
    }
    let runs = runs.try_into().unwrap();
    (database, runs)
}

/// The runs that a client lists, and as many as it counts.
async fn listed(client: &Client, filter: RunFilter) -> Vec<RunId> {
    let page = client
        .list(ListFilter {
            runs: filter.clone(),
            ..ListFilter::default()
        })
        .await
        .unwrap();
    let counted = client.count(filter).await.unwrap();
    assert_eq!(counted.values().sum::<u64>(), page.items.len() as u64);
    let mut runs: Vec<RunId> = page.items.iter().map(|run| run.id).collect();
    runs.sort();
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_counts_hold_what_is_within_the_scope() {
    let (database, [pay_a, pay_b, approve_a]) = three_runs().await;
    let cancelled = |client: Client| async move {
        let filter = RunFilter {
            status: Some(Status::Cancelled),
            ..RunFilter::default()
        };
        listed(&client, filter).await
    };
    for (scope, expected) in [
        (Scope::default(), vec![pay_a, pay_b, approve_a]),
        (scope(&["payments:*"], &[]), vec![pay_a, pay_b]),
        (scope(&[APPROVE], &[]), vec![approve_a]),
        (scope(&["*"], &[("team", "a")]), vec![pay_a, approve_a]),
        (scope(&[], &[("team", "b")]), vec![pay_b]),
        (
            scope(&["payments:*", "hr:*"], &[("team", "a")]),
            vec![pay_a, approve_a],
        ),
        (scope(&["shop:*"], &[]), vec![]),
        (scope(&[], &[("team", "a"), ("more", "x")]), vec![]),
    ] {
        let client = database.client.clone().within(scope.clone());
        assert_eq!(
            listed(&client, RunFilter::default()).await,
            expected,
            "{scope}"
        );
        let queued = RunFilter {
            status: Some(Status::Queued),
            ..RunFilter::default()
        };
        assert_eq!(listed(&client, queued).await, expected, "{scope}");
        for (team, all) in [("a", [pay_a, approve_a].as_slice()), ("b", &[pay_b])] {
            let filter = RunFilter {
                labels: [("team".to_owned(), team.to_owned())].into(),
                ..RunFilter::default()
            };
            let both = all.iter().filter(|run| expected.contains(run)).copied();
            assert_eq!(
                listed(&client, filter).await,
                both.collect::<Vec<_>>(),
                "{scope}"
            );
        }
        for (workflow, all) in [
            (PROCESS, [pay_a, pay_b].as_slice()),
            (APPROVE, &[approve_a]),
        ] {
            let filter = RunFilter {
                workflow: Some(workflow.to_owned()),
                ..RunFilter::default()
            };
            let both = all.iter().filter(|run| expected.contains(run)).copied();
            assert_eq!(
                listed(&client, filter).await,
                both.collect::<Vec<_>>(),
                "{scope}"
            );
        }
        let workflows = client.workflows().await.unwrap();
        assert!(workflows.iter().all(|one| scope.covers_workflow(&one.name)));
        assert_eq!(cancelled(client).await, []);
    }
    for run in [pay_a, approve_a] {
        database.client.kill(run).await.unwrap();
    }
    let client = database.client.clone().within(scope(&["payments:*"], &[]));
    assert_eq!(cancelled(client).await, [pay_a]);
    // Nor is anybody of another namespace within any scope.
    let elsewhere = database.client.clone().with_namespace("elsewhere");
    let elsewhere = elsewhere.within(Scope::default());
    assert!(matches!(
        elsewhere.get(pay_b).await,
        Err(ClientError::RunNotFound(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_beyond_the_scope_is_not_there_whatever_is_asked_of_it() {
    let (database, [pay_a, pay_b, _]) = three_runs().await;
    let client = database
        .client
        .clone()
        .within(scope(&["payments:*"], &[("team", "a")]));
    let run = pay_b;
    let by = dacapo_client::By {
        who: "ann",
        reason: None,
    };
    let skip = dacapo_client::SkipOptions::default();
    let rerun = dacapo_client::RerunOptions::default();
    let asked: Vec<(&str, Result<(), ClientError>)> = vec![
        ("get", client.get(run).await.map(drop)),
        ("progress", client.check_progress(run).await.map(drop)),
        (
            "wait",
            client
                .wait(run, Some(Duration::from_secs(5)))
                .await
                .map(drop),
        ),
        ("logs", client.logs(run).await.map(drop)),
        ("export", client.export(run, false).await.map(drop)),
        (
            "event",
            client.send_event(run, "settled", "1", None).await.map(drop),
        ),
        ("pause", client.pause(run).await.map(drop)),
        ("pause by", client.pause_by(run, by).await.map(drop)),
        ("resume", client.resume(run).await.map(drop)),
        ("resume by", client.resume_by(run, by).await.map(drop)),
        ("cancel", client.cancel(run).await.map(drop)),
        ("cancel by", client.cancel_by(run, by).await.map(drop)),
        ("kill", client.kill(run).await.map(drop)),
        ("kill by", client.kill_by(run, by).await.map(drop)),
        ("rerun", client.rerun(run, &rerun, "ann").await.map(drop)),
        ("retry", client.retry(run, "ann").await.map(drop)),
        ("plan of a retry", client.plan_retry(run).await.map(drop)),
        ("skip", client.skip(run, &skip, "ann").await.map(drop)),
        ("note", client.note(run, "hm", "ann").await),
    ];
    for (what, answer) in asked {
        assert!(
            matches!(answer, Err(ClientError::RunNotFound(of)) if of == run),
            "{what}: {answer:?}"
        );
    }
    assert_eq!(
        database.client.get(run).await.unwrap().status,
        Status::Queued
    );
    client.pause_by(pay_a, by).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_beyond_the_scope_is_refused() {
    let (database, _) = three_runs().await;
    let wide = database.client.clone();
    let of_b = |name: &str| {
        let mut new = NewSchedule::new(name, PROCESS, When::Every(Duration::from_secs(3_600)));
        new.input = payment(100);
        new.labels = [("team".to_owned(), "b".to_owned())].into();
        new
    };
    wide.create_schedule(of_b("theirs")).await.unwrap();
    let client = wide
        .clone()
        .within(scope(&["payments:*"], &[("team", "a")]));
    let refused = |what: &str, answer: Result<(), ClientError>| {
        assert!(
            matches!(answer, Err(ClientError::OutOfScope { .. })),
            "{what}: {answer:?}"
        );
    };
    let start = |workflow: &'static str, options| {
        let client = client.clone();
        async move {
            let input = payment(100);
            let started = client.start_by_name(workflow, &input, options);
            started.await.map(drop)
        }
    };
    refused("no label", start(PROCESS, StartOptions::default()).await);
    refused("another label", start(PROCESS, labelled("team", "b")).await);
    refused(
        "another workflow",
        start(APPROVE, labelled("team", "a")).await,
    );
    start(PROCESS, labelled("team", "a")).await.unwrap();
    let many = [(payment(100), StartOptions::default())];
    let many = client.start_many_by_name(PROCESS, &many).await;
    let Err(ClientError::InMany { error, .. }) = many else {
        panic!("{many:?}");
    };
    refused("many", Err(*error));
    refused("queues", client.queues().await.map(drop));
    refused("workers", client.workers().await.map(drop));
    refused(
        "a queue",
        client.set_queue("q", Default::default()).await.map(drop),
    );
    refused("retention", client.retention().await.map(drop));
    refused(
        "a standstill",
        client.begin_standstill(None).await.map(drop),
    );
    refused(
        "the audit",
        client.audit(&AuditFilter::default()).await.map(drop),
    );
    refused("code", client.collect_deployments(true).await.map(drop));
    refused(
        "all runs of a workflow",
        client.pause_workflow(PROCESS).await.map(drop),
    );
    refused(
        "a deployment",
        client
            .retire_deployment("payments:processing", 1, false, "ann")
            .await
            .map(drop),
    );
    refused(
        "a schedule",
        client.create_schedule(of_b("ours")).await.map(drop),
    );
    let mut replacing = of_b("theirs");
    replacing.labels = [("team".to_owned(), "a".to_owned())].into();
    replacing.existing = Existing::Replace;
    for answer in [
        client.schedule("theirs").await.map(drop),
        client.pause_schedule("theirs").await.map(drop),
        client
            .trigger_schedule("theirs", Trigger::Anyway)
            .await
            .map(drop),
        client.delete_schedule("theirs").await,
        client.create_schedule(replacing).await.map(drop),
    ] {
        assert!(
            matches!(answer, Err(ClientError::ScheduleNotFound(_))),
            "{answer:?}"
        );
    }
    assert!(client.schedules().await.unwrap().is_empty());
    assert_eq!(wide.schedules().await.unwrap().len(), 1);
    // Whoever has a whole package may deploy it and pause its workflows.
    let package = wide.clone().within(scope(&["payments:*"], &[]));
    package.pause_workflow(PROCESS).await.unwrap();
    refused("another's", package.pause_workflow(APPROVE).await.map(drop));
    let described = dacapo_sandbox::describe(&guest("approval")).unwrap();
    let deployed = package.deploy(
        &described.descriptor,
        &described.digest,
        &described.component,
    );
    refused("another's code", deployed.await.map(drop));
    let packages = package.deployments(None).await.unwrap();
    assert!(
        packages
            .iter()
            .all(|one| one.package == "payments:processing")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_one_until_it_is_revoked_or_expires() {
    let database = database().await;
    let client = &database.client;
    assert!(!client.has_tokens().await.unwrap());
    let access = Access {
        role: Role::Operate,
        scope: scope(&["shop:*"], &[("team", "a")]),
        payloads: false,
    };
    let token = client
        .create_token("ci", &access, None, "ann")
        .await
        .unwrap();
    let secret = token.secret.reveal();
    assert!(client.has_tokens().await.unwrap());
    let known = client.know_token(secret).await.unwrap().unwrap();
    assert_eq!((known.who.as_str(), &known.access), ("ci", &access));
    let elsewhere = client.clone().with_namespace("elsewhere");
    assert_eq!(elsewhere.know_token(secret).await.unwrap(), None);
    assert_eq!(client.know_token("dcp_x").await.unwrap(), None);
    let twice = client.create_token("ci", &access, None, "ann").await;
    assert!(
        matches!(twice, Err(ClientError::TokenExists(_))),
        "{twice:?}"
    );

    // Its secret is nowhere, and its use is noted once a minute.
    let rows: Vec<String> = sqlx::query_scalar("select token::text from dacapo.token")
        .fetch_all(database.store.pool())
        .await
        .unwrap();
    assert!(
        rows.iter().all(|row| !row.contains(&secret[4..20])),
        "{rows:?}"
    );
    let used = |token: &str| {
        let query = format!("select used_at::text from dacapo.token where name = '{token}'");
        async {
            sqlx::query_scalar::<_, Option<String>>(sqlx::AssertSqlSafe(query))
                .fetch_one(database.store.pool())
                .await
                .unwrap()
        }
    };
    let first = used("ci").await;
    assert!(first.is_some());
    client.know_token(secret).await.unwrap().unwrap();
    assert_eq!(used("ci").await, first);

    let (cookie, _) = client
        .begin_session(secret, Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    let session = client.know_session(&cookie).await.unwrap().unwrap();
    assert_eq!(
        (session.who.as_str(), session.access),
        ("ci", access.clone())
    );
    client.revoke_token("ci", "ben").await.unwrap();
    assert_eq!(client.know_token(secret).await.unwrap(), None);
    assert_eq!(client.know_session(&cookie).await.unwrap(), None);
    assert_eq!(
        client
            .begin_session(secret, Duration::from_secs(60))
            .await
            .unwrap(),
        None
    );
    let again = client.revoke_token("ci", "ben").await;
    assert!(
        matches!(again, Err(ClientError::TokenNotFound(_))),
        "{again:?}"
    );
    let revoked = &client.tokens(true).await.unwrap()[0];
    assert_eq!(revoked.revoked_by.as_deref(), Some("ben"));
    assert!(client.tokens(false).await.unwrap().is_empty());

    // One that expires is none any more, and keeps the door shut.
    let short = client
        .create_token(
            "short",
            &Access::all(),
            Some(Duration::from_secs(3_600)),
            "ann",
        )
        .await
        .unwrap();
    sqlx::query("update dacapo.token set expires_at = clock_timestamp() where name = 'short'")
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_eq!(
        client.know_token(short.secret.reveal()).await.unwrap(),
        None
    );
    assert!(client.has_tokens().await.unwrap());
    assert!(client.tokens(false).await.unwrap()[0].expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_person_ends_when_it_is_ended_or_its_time_is_over() {
    let database = database().await;
    let client = &database.client;
    let access = Access {
        role: Role::Read,
        scope: Scope::default(),
        payloads: true,
    };
    let begin = || client.begin_session_of("ann@example.com", &access, Duration::from_secs(60));
    let (ended, over) = (begin().await.unwrap(), begin().await.unwrap());
    let known = client.know_session(&ended).await.unwrap().unwrap();
    assert_eq!(
        (known.who.as_str(), known.is_token),
        ("ann@example.com", false)
    );
    client.end_session(&ended).await.unwrap();
    assert_eq!(client.know_session(&ended).await.unwrap(), None);
    assert!(client.know_session(&over).await.unwrap().is_some());
    sqlx::query("update dacapo.session set expires_at = clock_timestamp()")
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_eq!(client.know_session(&over).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_paged_and_filtered_and_swept() {
    let database = database().await;
    let client = &database.client;
    let deed = |who: &str, action: &str, target: &str, outcome| Deed {
        who: Some(who.to_owned()),
        via: Via::Token,
        role: Some(Role::Operate),
        action: action.to_owned(),
        target: Some(target.to_owned()),
        outcome,
        status: 200,
        address: Some("10.0.0.7".to_owned()),
    };
    for n in 0..5 {
        let outcome = match n {
            4 => DeedOutcome::Refused,
            _ => DeedOutcome::Done,
        };
        let (who, action) = if n % 2 == 0 {
            ("ann", "cancelRun")
        } else {
            ("ben", "startRun")
        };
        client
            .note_deed(deed(who, action, &format!("run-{n}\0"), outcome))
            .await
            .unwrap();
    }
    let targets = |filter: AuditFilter| async move {
        let page = client.audit(&filter).await.unwrap();
        let targets = page.items.iter().map(|entry| entry.target.clone().unwrap());
        let targets: Vec<String> = targets.map(|target| target[4..5].to_owned()).collect();
        (targets.concat(), page.next)
    };
    let all = AuditFilter::default;
    assert_eq!(targets(all()).await, ("43210".to_owned(), None));
    let (first, next) = targets(AuditFilter { limit: 2, ..all() }).await;
    assert_eq!(first, "43");
    let (second, next) = targets(AuditFilter {
        limit: 2,
        after: next,
        ..all()
    })
    .await;
    assert_eq!(second, "21");
    assert_eq!(
        targets(AuditFilter {
            limit: 2,
            after: next,
            ..all()
        })
        .await,
        ("0".to_owned(), None)
    );
    let some = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (
            AuditFilter {
                who: some("ann"),
                ..all()
            },
            "420",
        ),
        (
            AuditFilter {
                action: some("startRun"),
                ..all()
            },
            "31",
        ),
        (
            AuditFilter {
                target: some("run-3\u{fffd}"),
                ..all()
            },
            "3",
        ),
        (
            AuditFilter {
                outcome: some("refused"),
                ..all()
            },
            "4",
        ),
        (
            AuditFilter {
                who: some("ann"),
                action: some("startRun"),
                ..all()
            },
            "",
        ),
    ] {
        assert_eq!(targets(filter.clone()).await.0, expected, "{filter:?}");
    }
    let other = client.clone().with_namespace("elsewhere");
    assert!(other.audit(&all()).await.unwrap().items.is_empty());

    let age = "update dacapo.audit set at = clock_timestamp() - interval '401 days' where target like 'run-0%'";
    sqlx::query(age)
        .execute(database.store.pool())
        .await
        .unwrap();
    let kept = Duration::from_secs(400 * 86_400);
    let sweep = || dacapo_store::sweep_audit(&database.store, kept, 100);
    assert_eq!(sweep().await.unwrap(), 1);
    assert_eq!(sweep().await.unwrap(), 0);
    assert_eq!(targets(all()).await.0, "4321");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_listed_and_revoked_by_the_command_and_that_is_noted() {
    let database = database().await;
    let output = run(&database, &["token", "list"]).await;
    assert!(
        text(&output.stdout).contains("no tokens"),
        "{}",
        text(&output.stdout)
    );
    let create = [
        "token",
        "create",
        "ci",
        "--role",
        "deploy",
        "--workflow",
        "shop:*",
        "--label",
        "team=a",
        "--no-payloads",
        "--expires",
        "90d",
        "--by",
        "ann",
    ];
    let output = run(&database, &create).await;
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let secret = text(&output.stdout);
    assert!(Secret::is_one(secret.trim()), "{secret}");
    assert!(!said.contains(secret.trim()), "the secret alone is data");
    assert!(said.contains("shop:*, team=a, without payloads"), "{said}");
    let output = run(&database, &["token", "list", "--output", "json"]).await;
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed[0]["role"], "deploy");
    assert_eq!(listed[0]["workflows"], json!(["shop:*"]));
    assert_eq!(listed[0]["payloads"], false);
    assert!(!text(&output.stdout).contains("hash"));
    fails(
        &run(&database, &create).await,
        1,
        &["there is a token \"ci\" already", "revoke"],
    );
    let output = run(&database, &["token", "revoke", "ci"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    fails(
        &run(&database, &["token", "revoke", "ci"]).await,
        1,
        &["there is no token"],
    );
    for (bad, says) in [
        (
            ["--role", "root"],
            "expected read, operate, deploy or admin",
        ),
        (
            ["--role=read", "--workflow=place"],
            "is no pattern of workflows",
        ),
        (["--role=read", "--label=team"], "expected NAME=VALUE"),
    ] {
        let output = dacapo(&database, &["token", "create", "x"])
            .args(bad)
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text(&output.stderr).contains(says),
            "{}",
            text(&output.stderr)
        );
    }
    let output = run(&database, &["audit", "list", "--output", "json"]).await;
    let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entries = audit["items"].as_array().unwrap().iter();
    let entries: Vec<[&Value; 4]> = entries
        .map(|entry| {
            [
                &entry["action"],
                &entry["target"],
                &entry["via"],
                &entry["outcome"],
            ]
        })
        .collect();
    assert_eq!(
        json!(entries),
        json!([
            ["token-revoke", "ci", "command", "done"],
            ["token-create", "ci", "command", "done"],
        ])
    );
    assert_eq!(audit["items"][1]["who"], "ann");
    let output = run(&database, &["audit", "list", "--action", "token-create"]).await;
    let shown = text(&output.stdout);
    assert!(
        shown.contains("token-create") && !shown.contains("token-revoke"),
        "{shown}"
    );
}
