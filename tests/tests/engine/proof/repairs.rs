//! Failed and blocked runs that mended code takes over.

use dacapo_model::{DeploymentId, RunId, Status};
use dacapo_tests::{Database, database};
use serde_json::Value;
use sqlx::{Connection, Executor};

use super::{expected, found, start, with_manifest};
use crate::check::{sound, worker};
use crate::command::{fails, run as dacapo, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_run_goes_on_by_itself_when_a_deployment_takes_it_over_that_fits() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = start(&database, "renamed", 1).await[0];
    database
        .until("it waits", "select count(*) = 1 from dacapo.task_suspended")
        .await;
    database.deploy("probe2").await;
    // As if somebody had moved it without a proof.
    sqlx::query("update dacapo.run set deployment_id = (select max(id) from dacapo.deployment)")
        .execute(database.store.pool())
        .await
        .unwrap();
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    database
        .until(
            "it is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let file = with_manifest(
        "blocked",
        "[workflows.\"changes.renamed\".changes]\nrenamed = { reserve = \"book\" }\n",
    );
    let file = file.display().to_string();
    let upgraded = dacapo(&database, &["deploy", &file, "--upgrade", "proven"]).await;
    assert!(upgraded.status.success(), "{}", text(&upgraded.stderr));
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_blocked_runs_are_repaired_by_mended_code_behind_what_they_have_recorded() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let failed = start(&database, "mended", 3).await;
    for run in &failed {
        assert_eq!(database.done(*run).await.status, Status::Failed);
    }
    database.deploy("probe2").await;
    let repair = |arguments: &'static [&'static str]| {
        let mut all = vec!["runs", "repair", "test:probe@2", "--output", "json"];
        all.extend(arguments);
        let database = &database;
        async move {
            let repaired = dacapo(database, &all).await;
            assert!(repaired.status.success(), "{}", text(&repaired.stderr));
            serde_json::from_slice::<Value>(&repaired.stdout).unwrap()
        }
    };
    let only_said = repair(&["--workflow", "changes.mended"]).await;
    assert_eq!(
        (&only_said["proven"], &only_said["started"]),
        (&Value::from(3), &Value::Null)
    );
    assert_eq!(found(&only_said), expected(&[("mended", "completes", 3)]));
    assert_eq!(database.count("select count(*) from dacapo.run").await, 3);
    let applied = repair(&["--apply"]).await;
    let started = applied["started"].as_array().unwrap();
    assert_eq!(started.len(), 3);
    for one in started {
        let run: RunId = one["newRun"].as_str().unwrap().parse().unwrap();
        let done = database.done(run).await;
        // What the old code had recorded, and not what the new one would.
        assert_eq!(done.output.unwrap().as_str(), "\"old reserve\"");
        assert_eq!(done.deployment.number, 2);
        let from = done
            .interventions
            .iter()
            .find(|one| one.action == "rerun-of");
        let old: RunId = one["run"].as_str().unwrap().parse().unwrap();
        assert!(from.unwrap().details.as_str().contains(&old.to_string()));
    }
    fails(
        &dacapo(&database, &["runs", "repair", "test:probe", "--apply"]).await,
        2,
        &["expected PACKAGE@N"],
    );
    fails(
        &dacapo(
            &database,
            &["runs", "repair", "test:probe@2", "--status", "completed"],
        )
        .await,
        2,
        &["only failed and blocked runs"],
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

/// `dacapo runs repair … --apply --output json`, with what it exits and what it says beside.
async fn repair(database: &Database, with: &str) -> (Option<i32>, Value, String) {
    let repaired = dacapo(
        database,
        &["runs", "repair", with, "--apply", "--output", "json"],
    )
    .await;
    let said = text(&repaired.stderr);
    let data = serde_json::from_slice(&repaired.stdout).unwrap_or(Value::Null);
    (repaired.status.code(), data, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_done_again_or_was_interrupted_starts_nothing_twice() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let mut failed = start(&database, "mended", 3).await;
    for run in &failed {
        assert_eq!(database.done(*run).await.status, Status::Failed);
    }
    failed.sort_unstable();
    database.deploy("probe2").await;
    let deployment: i64 = sqlx::query_scalar("select max(id) from dacapo.deployment")
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    // The database gives up in the middle.
    let second = RunId::of_repair(failed[1], DeploymentId(deployment));
    let trigger = format!(
        "create function give_up() returns trigger language plpgsql as $$ begin raise exception 'no more'; end $$;
        create trigger gives_up before insert on dacapo.run for each row when (new.id = '{second}') execute function give_up()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
        .execute(database.store.pool())
        .await
        .unwrap();
    let (code, data, said) = repair(&database, "test:probe@2").await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no more") && said.contains("not done twice"),
        "{said}"
    );
    let started = data["started"].as_array().unwrap();
    assert_eq!(started.len(), 1, "what was done is shown: {data:#}");
    assert_eq!(started[0]["run"], failed[0].to_string());
    sqlx::raw_sql("drop trigger gives_up on dacapo.run")
        .execute(database.store.pool())
        .await
        .unwrap();
    let (code, data, said) = repair(&database, "test:probe@2").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        (
            data["started"].as_array().unwrap().len(),
            &data["repairedBefore"]
        ),
        (2, &Value::from(1))
    );
    let (code, data, said) = repair(&database, "test:probe@2").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        (
            data["started"].as_array().unwrap().len(),
            &data["repairedBefore"]
        ),
        (0, &Value::from(3))
    );
    assert_eq!(database.count("select count(*) from dacapo.run").await, 6);
    // Also not by two at once, which have not seen each other.
    for _ in 0..2 {
        let client = &database.client;
        let again = client
            .repair(failed[1], DeploymentId(deployment), "ada")
            .await;
        assert_eq!(again.unwrap(), second);
    }
    assert_eq!(database.count("select count(*) from dacapo.run").await, 6);
    assert_eq!(database.done(second).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_names_the_blocked_runs_that_were_busy_and_refuses_a_retired_deployment() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = start(&database, "renamed", 1).await[0];
    database
        .until("it waits", "select count(*) = 1 from dacapo.task_suspended")
        .await;
    database.deploy("probe2").await;
    // As if somebody had moved it without a proof.
    sqlx::query("update dacapo.run set deployment_id = (select max(id) from dacapo.deployment)")
        .execute(database.store.pool())
        .await
        .unwrap();
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    database
        .until(
            "it is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let file = with_manifest(
        "busy",
        "[workflows.\"changes.renamed\".changes]\nrenamed = { reserve = \"book\" }\n",
    );
    let deployed = dacapo(&database, &["deploy", &file.display().to_string()]).await;
    assert!(deployed.status.success(), "{}", text(&deployed.stderr));
    let mut holder = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let mut holding = holder.begin().await.unwrap();
    holding
        .execute("select from dacapo.task_suspended for update")
        .await
        .unwrap();
    let (code, data, said) = repair(&database, "test:probe@3").await;
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(data["busy"], serde_json::json!([run]));
    assert_eq!(data["moved"], 0);
    assert!(said.contains(&format!("run {run}: it was busy")), "{said}");
    holding.rollback().await.unwrap();
    // No run goes on where none can go.
    sqlx::raw_sql("select dacapo.activate('test:probe', 2), dacapo.retire('test:probe', 3)")
        .execute(database.store.pool())
        .await
        .unwrap();
    fails(
        &dacapo(&database, &["runs", "repair", "test:probe@3", "--apply"]).await,
        1,
        &["deployment 3 of test:probe is retired", "--undo"],
    );
    sqlx::raw_sql("select dacapo.retire('test:probe', 3, '{\"undo\": true}')")
        .execute(database.store.pool())
        .await
        .unwrap();
    let (code, data, said) = repair(&database, "test:probe@3").await;
    assert_eq!((code, &data["moved"]), (Some(0), &Value::from(1)), "{said}");
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}
