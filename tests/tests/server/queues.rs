//! Queues, standstill, retention, and how everything stands.

use axum::http::Method;
use dacapo_tests::{Dacapo, database};
use serde_json::json;

use crate::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_its_limits_changed_one_by_one() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let limits = json!({ "concurrency": 5, "rate": { "runs": 100, "perMs": 60000 } });
    let queue = api
        .json(Method::PATCH, "/queues/mail", &[], &limits)
        .await
        .is(200);
    assert_eq!(
        (&queue["concurrency"], &queue["rate"]),
        (&json!(5), &limits["rate"])
    );
    // What is left out stays, and null takes away.
    let change = json!({ "rate": null, "concurrencyPerKey": 2 });
    let queue = api
        .json(Method::PATCH, "/queues/mail", &[], &change)
        .await
        .is(200);
    assert_eq!(
        (
            &queue["concurrency"],
            &queue["rate"],
            &queue["concurrencyPerKey"]
        ),
        (&json!(5), &json!(null), &json!(2))
    );
    assert_eq!(api.tell("/queues/mail/pause").await.is(200)["paused"], true);
    assert_eq!(
        api.tell("/queues/mail/resume").await.is(200)["paused"],
        false
    );
    let list = api.get("/queues").await.is(200);
    assert_eq!(list["queues"][0], api.get("/queues/mail").await.is(200));
    let wrong = json!({ "concurrency": 0 });
    api.json(Method::PATCH, "/queues/mail", &[], &wrong)
        .await
        .is_problem(422, "bad-argument");

    let body = json!({ "workflow": "counted-steps", "input": 1, "queue": "mail" });
    api.post("/runs", &body).await.is(201);
    api.delete("/queues/mail")
        .await
        .is_problem(409, "queue-in-use");
    api.get("/queues/none")
        .await
        .is_problem(404, "queue-not-found");
    let stats = api.get("/stats").await.is(200);
    assert_eq!(stats["runs"]["queued"], 1);
    let names: Vec<&str> = stats["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| queue["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["mail", "default"]);
    assert_eq!(stats["queues"][0]["waiting"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_many_runs_may_be_a_moment_old_and_come_up_to_date() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    api.start("counted-steps", json!(1)).await;
    let queued = async || api.get("/stats").await.is(200)["runs"]["queued"].clone();
    // Few are counted each time.
    assert_eq!(queued().await, 1);
    sqlx::query(
        "insert into dacapo.run (id, namespace, workflow, deployment_id, input)
        select gen_random_uuid(), namespace, workflow, deployment_id, '1' from dacapo.run, generate_series(1, 10000)",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    sqlx::query(
        "insert into dacapo.task_ready (run_id) select id from dacapo.run on conflict do nothing",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    assert_eq!(queued().await, 10_001);
    api.start("counted-steps", json!(1)).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let now = queued().await;
        if now == 10_002 {
            break;
        }
        assert_eq!(now, 10_001);
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_paused_with_a_reason_and_goes_on() {
    let database = database().await;
    let api = Api::on(&database).await;
    assert_eq!(
        api.get("/standstill").await.is(200),
        json!({ "allPaused": null })
    );
    let why = json!({ "reason": "the bank is down" });
    let begun = api
        .json(Method::PUT, "/standstill", &[], &why)
        .await
        .is(200);
    assert_eq!(begun["allPaused"]["reason"], "the bank is down");
    assert_eq!(
        api.get("/queues").await.is(200)["allPaused"],
        begun["allPaused"]
    );
    api.delete("/standstill").await.is(200);
    assert_eq!(
        api.get("/standstill").await.is(200),
        json!({ "allPaused": null })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_runs_are_kept_is_set_and_taken_back() {
    let database = database().await;
    let api = Api::on(&database).await;
    let before = api.get("/retention").await.is(200);
    let rule = json!({ "status": "failed", "keepSeconds": 7776000 });
    let rules = api
        .json(Method::PUT, "/retention", &[], &rule)
        .await
        .is(200);
    assert_eq!(
        rules[1],
        json!({ "workflow": null, "status": "failed", "keepSeconds": 7776000 })
    );
    let rule = json!({ "status": "queued", "keepSeconds": 7776000 });
    api.json(Method::PUT, "/retention", &[], &rule)
        .await
        .is_problem(422, "bad-argument");
    assert_eq!(api.delete("/retention?status=failed").await.is(200), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_listed_while_it_lives() {
    let database = database().await;
    let api = Api::on(&database).await;
    assert_eq!(api.get("/workers").await.is(200), json!([]));
    let _worker = Dacapo::on(&database).worker().await;
    let workers = api.get("/workers").await.is(200);
    assert_eq!(workers[0]["alive"], true);
    assert_eq!(api.get("/stats").await.is(200)["workersAlive"], 1);
}
