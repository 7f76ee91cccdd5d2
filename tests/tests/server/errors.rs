//! What goes wrong with any request.

use axum::http::Method;
use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_tests::{database, database_with};
use serde_json::json;

use crate::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_cannot_be_asked_is_a_problem_with_a_code() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    for path in ["/nothing", "/", "", "/runs/a/b/c"] {
        api.ask_anything(Method::GET, path, &[], "")
            .await
            .is_problem(404, "not-found");
    }
    let refused = api.ask_anything(Method::PUT, "/runs", &[], "").await;
    refused.is_problem(405, "method-not-allowed");
    let allowed = refused.headers["allow"].to_str().unwrap();
    assert!(
        allowed.contains("GET") && allowed.contains("POST"),
        "{allowed}"
    );

    for path in [
        "/runs/17",
        "/runs?status=asleep",
        "/runs?limit=many",
        "/runs?color=red",
        "/runs?label=novalue",
        "/runs?cursor=here",
        "/runs?since=monday",
        "/runs/count?deployment=one",
        "/deployments/probe/diff?from=1",
    ] {
        api.get(path).await.is_problem(400, "bad-request");
    }
    for (path, words) in [
        (
            "/runs?limit=abc",
            "query: limit: expected a whole number, not below 0, got \"abc\"",
        ),
        ("/runs/123", "path: not a run id: \"123\": expected a UUID"),
        (
            "/deployments/probe/x",
            "path: expected the number of a deployment, or active, got \"x\"",
        ),
    ] {
        let problem = api.get(path).await.is_problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(words), "{path}: {detail}");
    }
    for (body, words) in [
        (
            json!({ "workflow": "x", "deadlineMs": "2h" }),
            "body: deadlineMs: invalid type: string \"2h\", expected a whole number of milliseconds",
        ),
        (
            json!({ "workflow": "x", "priority": "urgent" }),
            "body: priority: expected a whole number from -100 to 100, or lowest, low, normal, high or highest, got \"urgent\"",
        ),
        (
            json!({ "workflow": 1 }),
            "body: workflow: invalid type: integer `1`",
        ),
    ] {
        let problem = api
            .post("/runs", &body)
            .await
            .is_problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(words), "{detail}");
    }
    for path in [
        "/runs?limit=0",
        "/runs?limit=1001",
        "/runs?deployment=0",
        "/runs?failure=%00",
    ] {
        api.get(path).await.is_problem(422, "bad-argument");
    }
    let run = "01938e60-5a1c-7cc0-9d2f-3b8f0a6c41d7";
    let problem = api.get(&format!("/runs/{run}")).await;
    let problem = problem.is_problem(404, "run-not-found");
    assert_eq!(problem["run"], run);
    assert_eq!(problem["type"], "urn:dacapo:problem:run-not-found");
    assert!(problem["hint"].is_string());

    let kind = [("content-type", "application/json")];
    for body in [
        "",
        "{",
        "[]",
        "\"x\"",
        "{\"workflow\": 1}",
        "{\"workflow\":\"a\",\"workflow\":\"b\"}",
    ] {
        api.ask(Method::POST, "/runs", &kind, body)
            .await
            .is_problem(400, "bad-request");
    }
    let plain = [("content-type", "text/plain")];
    api.ask(
        Method::POST,
        "/runs",
        &plain,
        json!({ "workflow": "x" }).to_string(),
    )
    .await
    .is_problem(415, "unsupported-media-type");
    for body in [
        json!({ "workflow": "counted-steps", "input": 1, "labels": { "a": "\u{0}" } }),
        json!({ "workflow": "counted-steps", "input": 1, "key": "\u{0}" }),
    ] {
        api.post("/runs", &body)
            .await
            .is_problem(422, "bad-argument");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_a_problem_that_says_when_to_come_back() {
    let directory = tempfile::Builder::new()
        .prefix("dacapo-away-")
        .tempdir()
        .unwrap();
    // The server of Postgres runs as another user when we are root.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everybody).unwrap();
    let options = ClusterOptions {
        data_dir: directory.path().join("data"),
        settings: Vec::new(),
        binaries: None,
    };
    let cluster = Cluster::start(options).await.unwrap();
    let database = database_with(&cluster.url("postgres"));
    dacapo_store::migrate(&database.store).await.unwrap();
    let api = Api::on(&database).await;
    api.get("/queues").await.is(200);
    database.store.pool().close().await;
    cluster.stop().await.unwrap();
    let answer = api.get("/queues").await;
    answer.is_problem(503, "unavailable");
    assert!(answer.headers.contains_key("retry-after"));
}
