//! Runs that go from one database to another as files.

use dacapo_client::{Client, ClientError, Run, RunExport, Status};
use dacapo_model::RunId;
use dacapo_tests::{Database, database};

use crate::check::{effects, journal, sound, worker};
use crate::command::{fails, run as dacapo, text};

const ANN: &str = "ann@desk";

/// A run as it is seen, without what differs between databases.
async fn seen(database: &Database, run: RunId) -> serde_json::Value {
    let run: Run = database.client.get(run).await.unwrap();
    let mut seen = serde_json::to_value(&run).unwrap();
    seen["deployment"]["number"] = 0.into();
    seen["interventions"] = serde_json::Value::Null;
    seen
}

/// What the database holds of a run beside its own row.
async fn stored(database: &Database, run: RunId) -> serde_json::Value {
    let rows: String = sqlx::query_scalar(
        "select jsonb_build_object(
            'journal', (select jsonb_agg(to_jsonb(row) order by position) from dacapo.step as row where run_id = $1),
            'attempts', (select jsonb_agg(to_jsonb(row) order by key, number) from dacapo.attempt as row where run_id = $1),
            'events', (select jsonb_agg(to_jsonb(row) order by seq) from dacapo.event as row where run_id = $1),
            'log', (select jsonb_agg(to_jsonb(row) order by id) from dacapo.log as row where run_id = $1),
            'interventions', (
                select jsonb_agg(to_jsonb(row) - 'id' order by at)
                from dacapo.intervention as row
                where run_id = $1 and action <> 'import'
            )
        )::text",
    )
    .bind(run.0)
    .fetch_one(database.store.pool())
    .await
    .unwrap();
    serde_json::from_str(&rows).unwrap()
}

async fn waits(database: &Database) {
    database
        .until(
            "the run waits",
            "select count(*) = 1 from dacapo.task_suspended where reason in ('event', 'retry')",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_run_that_has_ended_is_the_same_where_it_is_imported() {
    let (here, there) = (database().await, database().await);
    here.deploy("probe2").await;
    here.deploy("probe").await;
    let mut runs = Vec::new();
    for (workflow, input) in [("step-wait-step", "null"), ("any-event", r#"["go", "x"]"#)] {
        let run = here.start(workflow, input).await;
        let odd = "{\"a\": \"\\u0000\", \"b\": 1.50}";
        for (event, id) in [("x", None), ("go", Some("d"))] {
            here.client.send_event(run, event, odd, id).await.unwrap();
        }
        runs.push(run);
    }
    let local = worker(&here).await;
    let plan = r#"{"bad": 2, "attempts": 2, "backoffMs": 1, "how": "fail"}"#;
    runs.push(here.start("flaky", plan).await);
    for run in &runs {
        here.done(*run).await;
    }
    let cancelled = here.start("cancel-compensates", "null").await;
    waits(&here).await;
    here.client.cancel(cancelled).await.unwrap();
    here.done(cancelled).await;
    runs.push(cancelled);
    local.drain().await.unwrap();
    here.client.note(runs[0], "odd", ANN).await.unwrap();
    // The same package, but not that component.
    there.deploy("probe2").await;
    for run in &runs {
        let export = here.client.export(*run, true).await.unwrap();
        let export = RunExport::from_json(&export.to_json().unwrap()).unwrap();
        let refused = there.client.import(&export, ANN).await.unwrap_err();
        assert!(
            refused.to_string().contains(&export.deployment.digest)
                && refused.to_string().contains("deployment 2 of test:probe"),
            "{refused}"
        );
    }
    there.deploy("probe").await;
    for run in runs {
        let export = here.client.export(run, true).await.unwrap();
        let export = RunExport::from_json(&export.to_json().unwrap()).unwrap();
        there.client.import(&export, ANN).await.unwrap();
        assert_eq!(seen(&there, run).await, seen(&here, run).await);
        assert_eq!(journal(&there, run).await, journal(&here, run).await);
        assert_eq!(stored(&there, run).await, stored(&here, run).await);
        let mut again = there.client.export(run, true).await.unwrap();
        assert_eq!(again.interventions.pop().unwrap().action, "import");
        again.exported_at = export.exported_at;
        again.deployment.number = export.deployment.number;
        assert_eq!(again, export, "nothing was lost on the way");
        let refused = there.client.import(&export, ANN).await.unwrap_err();
        assert!(matches!(refused, ClientError::RunExists(_)), "{refused}");
    }
    assert_eq!(
        there
            .count("select count(*) from dacapo.unsuccessful")
            .await,
        2
    );
    sound(&there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_had_not_ended_is_paused_where_it_is_imported_and_goes_on_from_there() {
    let (here, there) = (database().await, database().await);
    here.deploy("probe").await;
    there.deploy("probe").await;
    let local = worker(&here).await;
    let run = here.start("step-wait-step", "null").await;
    waits(&here).await;
    local.drain().await.unwrap();
    let export = here.client.export(run, false).await.unwrap();
    assert_eq!((export.run.status, &export.log), (Status::Suspended, &None));
    there.client.import(&export, ANN).await.unwrap();
    assert_eq!(there.client.get(run).await.unwrap().status, Status::Paused);
    let worker = worker(&there).await;
    there.client.send_event(run, "go", "1", None).await.unwrap();
    assert_eq!(journal(&there, run).await.len(), 2, "nobody plays it");
    there.client.resume(run).await.unwrap();
    let done = there.done(run).await;
    assert_eq!(done.output.unwrap().as_str(), "\"a 1 b\"");
    assert_eq!(effects(&there, run).await, ["effect b"]);
    worker.drain().await.unwrap();
    sound(&there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_run_is_kept_as_if_it_had_ended_when_it_was_imported() {
    let (here, there) = (database().await, database().await);
    here.deploy("probe").await;
    there.deploy("probe").await;
    let worker = worker(&here).await;
    let run = here.start("effects", "1").await;
    here.done(run).await;
    worker.drain().await.unwrap();
    let years = "update dacapo.run set created_at = created_at - interval '3 years', finished_at = finished_at - interval '2 years'";
    sqlx::query(years).execute(here.store.pool()).await.unwrap();
    let export = here.client.export(run, false).await.unwrap();
    there.client.import(&export, ANN).await.unwrap();
    let mut connection = there.store.connect().await.unwrap();
    for expected in [0, 1] {
        let swept = dacapo_store::sweep(&mut connection, "default", None, 10, 100).await;
        assert_eq!(swept.unwrap().deleted, expected);
        let long_ago = "update dacapo.intervention set at = at - interval '40 days'";
        sqlx::query(long_ago)
            .execute(there.store.pool())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_exports_and_imports_and_refuses_what_is_no_exported_run() {
    let (here, there) = (database().await, database().await);
    here.deploy("probe").await;
    let worker = worker(&here).await;
    let run = here.start("effects", "2").await;
    here.done(run).await;
    worker.drain().await.unwrap();
    let id = run.to_string();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("run.json");
    let file = file.to_str().unwrap();
    there.deploy("probe2").await;
    let exported = dacapo(&here, &["runs", "export", &id, "--file", file, "--log"]).await;
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let written = std::fs::read_to_string(file).unwrap();
    let printed = dacapo(&here, &["runs", "export", &id, "--log"]).await;
    let but_for_the_time = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("exportedAt"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        but_for_the_time(&text(&printed.stdout)),
        but_for_the_time(&written)
    );
    fails(
        &dacapo(&there, &["runs", "import", file]).await,
        1,
        &["is not deployed here", "dacapo deploy"],
    );
    there.deploy("probe").await;
    let imported = dacapo(&there, &["runs", "import", file, "--by", "bob"]).await;
    assert_eq!(
        text(&imported.stdout).trim(),
        format!("run {id} is here: completed")
    );
    let shown = text(
        &dacapo(&there, &["runs", "show", &id, "--logs"])
            .await
            .stdout,
    );
    assert!(
        shown.contains("import by bob") && shown.contains("effect s#2"),
        "{shown}"
    );
    fails(
        &dacapo(&there, &["runs", "import", file]).await,
        1,
        &["already"],
    );
    for (old, new, says) in [
        ("\"version\": 1", "\"version\": 7", "version 7"),
        (
            "\"format\": \"dacapo-run\"",
            "\"format\": \"x\"",
            "not an exported run",
        ),
        ("\"position\": 1", "\"position\": \"first\"", "damaged"),
    ] {
        std::fs::write(file, written.replace(old, new)).unwrap();
        fails(&dacapo(&there, &["runs", "import", file]).await, 2, &[says]);
    }
    fails(
        &dacapo(&there, &["runs", "import", "/nowhere"]).await,
        2,
        &["cannot read /nowhere"],
    );
    let nobody = RunId::new().to_string();
    fails(
        &dacapo(&there, &["runs", "export", &nobody]).await,
        1,
        &["there is no run"],
    );
    // In another namespace there is no such component.
    let elsewhere = Client::new(there.store.clone()).with_namespace("elsewhere");
    let export = RunExport::from_json(&written).unwrap();
    let refused = elsewhere.import(&export, ANN).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::ComponentMissing { .. }),
        "{refused}"
    );
}
