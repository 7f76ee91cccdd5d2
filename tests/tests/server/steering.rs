//! Steering runs, one by one and many.

use axum::http::Method;
use dacapo_client::Status;
use dacapo_model::RunId;
use dacapo_tests::{Dacapo, Database, database};
use serde_json::json;

use crate::api::Api;

/// Waits until a run has this status.
async fn stands(database: &Database, run: RunId, status: Status) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while database.client.get(run).await.unwrap().status != status {
        assert!(tokio::time::Instant::now() < deadline, "not {status}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_paused_resumed_sent_an_event_and_the_record_says_by_whom() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let _worker = Dacapo::on(&database).worker().await;
    let run = api.start("step-wait-step", json!(null)).await;
    stands(&database, run, Status::Suspended).await;

    let by = [("dacapo-by", "ada")];
    let path = format!("/runs/{run}/pause");
    let paused = api
        .json(Method::POST, &path, &by, &json!({ "reason": "lunch" }))
        .await;
    assert_eq!(paused.is(200), json!({ "run": run, "status": "paused" }));
    let conflict = api.tell(&path).await.is_problem(409, "conflict");
    assert_eq!(conflict["run"], json!(run));
    api.tell(&format!("/runs/{run}/resume")).await.is(200);
    let event = json!({ "name": "go", "payload": 1, "id": "d1" });
    let path = format!("/runs/{run}/events");
    let sent = api.post(&path, &event).await.is(200);
    assert_eq!(
        sent,
        json!({ "run": run, "event": "go", "duplicate": false })
    );
    let same = json!({ "name": "go", "payload": 1 });
    let again = api
        .json(Method::POST, &path, &[("idempotency-key", "d1")], &same)
        .await;
    // Received once, or the run has ended by then.
    assert!(
        again.status.as_u16() == 409 || again.is(200)["duplicate"] == json!(true),
        "{again:?}"
    );
    stands(&database, run, Status::Completed).await;

    let noted = api
        .json(
            Method::POST,
            &format!("/runs/{run}/notes"),
            &by,
            &json!({ "text": "well" }),
        )
        .await;
    assert_eq!(noted.is(200)["who"], "ada");
    let shown = api.get(&format!("/runs/{run}")).await.is(200);
    let done: Vec<(&str, &str)> = shown["interventions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["action"].as_str().unwrap(),
                one["who"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        done,
        [
            ("pause", "ada"),
            ("resume", "api@127.0.0.1"),
            ("note", "ada")
        ]
    );
    api.post(&path, &same).await.is_problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_retried_and_started_again_and_what_waits_is_skipped() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let worker = Dacapo::on(&database).worker().await;
    let plan = json!({ "bad": 9, "attempts": 1, "backoffMs": 1, "how": "panic" });
    let run = api.start("flaky", plan).await;
    stands(&database, run, Status::Failed).await;

    let dry = api
        .post(&format!("/runs/{run}/retry"), &json!({ "dryRun": true }))
        .await
        .is(200);
    assert_eq!(dry["status"], "failed");
    assert!(!dry["opened"].as_array().unwrap().is_empty(), "{dry}");
    let new = api
        .post(&format!("/runs/{run}/rerun"), &json!({ "from": "flaky#1" }))
        .await
        .is(200);
    assert_ne!(new["newRun"], json!(run));
    api.post(&format!("/runs/{run}/rerun"), &json!({ "from": "nowhere" }))
        .await
        .is_problem(404, "step-not-found");

    let waiting = api.start("step-wait-step", json!(null)).await;
    stands(&database, waiting, Status::Suspended).await;
    let skipped = api
        .post(&format!("/runs/{waiting}/skip"), &json!({ "value": 1 }))
        .await
        .is(200);
    assert_eq!(skipped["step"], "go#1");
    stands(&database, waiting, Status::Completed).await;
    api.tell(&format!("/runs/{waiting}/skip"))
        .await
        .is_problem(409, "conflict");
    worker.kill().await;

    let killed = api.start("step-wait-step", json!(null)).await;
    let cancelled = api
        .post(&format!("/runs/{killed}/cancel"), &json!({ "force": true }))
        .await
        .is(200);
    assert_eq!(cancelled["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_finds_is_changed_together_and_an_empty_filter_finds_nothing() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let starts = vec![json!({ "labels": { "set": "x" } }); 5];
    let body = json!({ "workflow": "step-wait-step", "starts": starts });
    api.post("/runs/batch", &body).await.is(201);
    let filter = json!({ "labels": { "set": "x" } });

    let event = json!({ "filter": filter, "name": "go", "dryRun": true });
    let counted = api.post("/bulk/events", &event).await.is(200);
    assert_eq!(counted, json!({ "runs": 5 }));
    let event = json!({ "filter": filter, "name": "go", "id": "all" });
    let sent = api.post("/bulk/events", &event).await.is(200);
    assert_eq!((&sent["sent"], &sent["duplicates"]), (&json!(5), &json!(0)));
    let sent = api.post("/bulk/events", &event).await.is(200);
    assert_eq!((&sent["sent"], &sent["duplicates"]), (&json!(0), &json!(5)));

    for run in database
        .client
        .list(Default::default())
        .await
        .unwrap()
        .items
    {
        database.client.kill(run.id).await.unwrap();
    }
    let rerun = json!({ "filter": filter, "dryRun": true });
    assert_eq!(api.post("/bulk/rerun", &rerun).await.is(200)["runs"], 5);
    let rerun = json!({ "filter": filter });
    let done = api.post("/bulk/rerun", &rerun).await.is(200);
    assert_eq!(done["changed"].as_array().unwrap().len(), 5);
    let done = api.post("/bulk/retry", &rerun).await.is(200);
    assert_eq!(
        done,
        json!({ "changed": [], "refused": [], "stopped": null })
    );
    let done = api.post("/bulk/skip", &rerun).await.is(200);
    assert_eq!(done["changed"], json!([]));
    for path in ["/bulk/rerun", "/bulk/retry", "/bulk/skip"] {
        api.post(path, &json!({ "filter": {} }))
            .await
            .is_problem(400, "bad-request");
    }
    let wrong = json!({ "filter": { "status": "running" } });
    api.post("/bulk/retry", &wrong)
        .await
        .is_problem(422, "bad-argument");
}
