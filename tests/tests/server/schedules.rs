//! Schedules.

use axum::http::Method;
use dacapo_tests::database;
use serde_json::json;

use crate::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_paused_triggered_backfilled_and_taken_away() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let new = json!({
        "name": "nightly", "workflow": "counted-steps", "input": 1, "cron": "0 2 * * *", "timeZone": "Europe/Paris",
        "labels": { "a": "b" }, "jitterMs": 5000, "overlap": "queue", "catchUp": "none",
    });
    let made = api.post("/schedules", &new).await.is(201);
    assert_eq!(made["timeZone"], "Europe/Paris");
    assert_eq!(made["nextTicks"].as_array().unwrap().len(), 5);
    api.post("/schedules", &new)
        .await
        .is_problem(409, "schedule-exists");
    let every =
        json!({ "name": "nightly", "workflow": "counted-steps", "input": 2, "everySeconds": 3600 });
    let replaced = api
        .json(Method::PUT, "/schedules/nightly", &[], &every)
        .await
        .is(200);
    assert_eq!(replaced["everySeconds"], 3600);
    api.json(Method::PUT, "/schedules/daily", &[], &every)
        .await
        .is_problem(400, "bad-request");

    assert_eq!(
        api.tell("/schedules/nightly/pause").await.is(200)["paused"],
        true
    );
    api.tell("/schedules/nightly/pause")
        .await
        .is_problem(409, "schedule-conflict");
    let run = api.tell("/schedules/nightly/trigger").await.is(201)["run"].clone();
    let busy = api.tell("/schedules/nightly/trigger").await;
    assert_eq!(busy.is_problem(409, "schedule-busy")["run"], run);
    api.post("/schedules/nightly/trigger", &json!({ "force": true }))
        .await
        .is(201);
    api.tell("/schedules/nightly/resume").await.is(200);

    let times =
        json!({ "from": "2026-01-01T00:00:00Z", "until": "2026-01-01T03:00:00Z", "dryRun": true });
    let dry = api
        .post("/schedules/nightly/backfill", &times)
        .await
        .is(200);
    assert_eq!(dry["ticks"].as_array().unwrap().len(), 3);
    let times = json!({ "from": "2026-01-01T00:00:00Z", "until": "2026-01-01T03:00:00Z" });
    let done = api
        .post("/schedules/nightly/backfill", &times)
        .await
        .is(200);
    assert_eq!(
        (&done["started"], &done["existing"]),
        (&json!(3), &json!(0))
    );
    let times = json!({ "from": "yesterday", "until": "2026-01-01T03:00:00Z" });
    api.post("/schedules/nightly/backfill", &times)
        .await
        .is_problem(400, "bad-request");

    let list = api.get("/schedules").await.is(200);
    assert_eq!(list[0], api.get("/schedules/nightly").await.is(200));
    api.delete("/schedules/nightly").await.is(200);
    api.get("/schedules/nightly")
        .await
        .is_problem(404, "schedule-not-found");
    for wrong in [
        json!({ "name": "n", "workflow": "counted-steps", "input": 1 }),
        json!({ "name": "n", "workflow": "counted-steps", "input": 1, "cron": "* * * * *", "everySeconds": 1 }),
        json!({ "name": "n", "workflow": "counted-steps", "input": 1, "everySeconds": 60, "overlap": "never" }),
    ] {
        api.post("/schedules", &wrong)
            .await
            .is_problem(400, "bad-request");
    }
    let wrong = json!({ "name": "n", "workflow": "counted-steps", "input": 1, "cron": "soon" });
    api.post("/schedules", &wrong)
        .await
        .is_problem(422, "bad-argument");
}
