//! Starting runs.

use axum::http::Method;
use dacapo_tests::database;
use serde_json::json;

use crate::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_key_is_one_run_and_another_input_is_refused() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let body = json!({ "workflow": "counted-steps", "input": 3, "labels": { "a": "b" } });
    let start = |key: &'static str, body| {
        let api = &api;
        async move {
            let headers = [("idempotency-key", key)];
            api.json(Method::POST, "/runs", &headers, &body).await
        }
    };
    let first = start("order-17", body.clone()).await;
    let location = first.headers["location"].to_str().unwrap().to_owned();
    let first = first.is(201);
    assert_eq!(first["created"], true);
    assert_eq!(
        location,
        format!("/api/v1/runs/{}", first["run"].as_str().unwrap())
    );
    // A draft of the header has the key in quotes.
    for key in ["order-17", "\"order-17\""] {
        let second = start(key, body.clone()).await.is(200);
        assert_eq!(
            (&second["run"], &second["created"]),
            (&first["run"], &json!(false))
        );
    }
    let other = json!({ "workflow": "counted-steps", "input": 4 });
    let conflict = start("order-17", other.clone()).await;
    let conflict = conflict.is_problem(409, "key-conflict");
    assert_eq!(conflict["run"], first["run"]);
    start("order-18", other).await.is(201);

    // The body says the same as the header, or the one of them.
    let mut keyed = body;
    keyed["key"] = json!("order-17");
    assert_eq!(api.post("/runs", &keyed).await.is(200)["run"], first["run"]);
    start("order-18", keyed)
        .await
        .is_problem(400, "bad-request");
    let summary = api.get("/runs?label=a%3Db").await.is(200);
    assert_eq!(summary["items"][0]["id"], first["run"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_belongs_to_the_trace_of_the_request_that_starts_it_unless_it_says_otherwise() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let here = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let label = async |run: &serde_json::Value| {
        let run = api.get(&format!("/runs/{}", run.as_str().unwrap())).await;
        run.is(200)["labels"]["traceparent"].clone()
    };
    let start = json!({ "workflow": "counted-steps", "input": 1 });
    let many = json!({ "workflow": "counted-steps", "starts": [{ "input": 1 }, { "input": 2 }] });
    let own = here.replace("-01", "-00");
    let mut labelled = start.clone();
    labelled["labels"] = json!({ "traceparent": own });
    for (header, body, expected) in [
        (here, &start, json!(here)),
        (here, &labelled, json!(own)),
        ("nonsense", &start, json!(null)),
    ] {
        let headers = [("traceparent", header)];
        let started = api.json(Method::POST, "/runs", &headers, body).await;
        assert_eq!(label(&started.is(201)["run"]).await, expected, "{header}");
    }
    let headers = [("traceparent", here)];
    let started = api.json(Method::POST, "/runs/batch", &headers, &many).await;
    for run in started.is(201).as_array().unwrap() {
        assert_eq!(label(&run["run"]).await, here);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_of_another_type_is_refused_with_its_place_and_numbers_are_kept_to_the_last_digit()
{
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let input = json!({ "bad": 1, "attempts": "two", "backoffMs": 1, "how": "fail" });
    let problem = api
        .post("/runs", &json!({ "workflow": "flaky", "input": input }))
        .await;
    let problem = problem.is_problem(422, "bad-input");
    assert!(
        problem["detail"].as_str().unwrap().contains(".attempts"),
        "{problem}"
    );
    assert!(
        problem["hint"].as_str().unwrap().contains("record"),
        "{problem}"
    );

    let text = r#"{"workflow":"sleeps-until","input":18446744073709551615}"#;
    let headers = [("content-type", "application/json")];
    let answer = api.ask(Method::POST, "/runs", &headers, text).await.is(201);
    let run = api
        .get(&format!("/runs/{}", answer["run"].as_str().unwrap()))
        .await;
    assert!(
        String::from_utf8_lossy(&run.body).contains("\"input\":18446744073709551615"),
        "{run:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_are_started_together_or_none_of_them() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let starts: Vec<_> = (0..20)
        .map(|n| json!({ "input": n, "labels": { "batch": "1" }, "priority": n }))
        .collect();
    let body = json!({ "workflow": "counted-steps", "starts": starts });
    let started = api.post("/runs/batch", &body).await.is(201);
    assert_eq!(started.as_array().unwrap().len(), 20);
    let wrong =
        json!({ "workflow": "counted-steps", "starts": [{ "input": 1 }, { "input": "x" }] });
    let problem = api.post("/runs/batch", &wrong).await;
    assert_eq!(problem.is_problem(422, "bad-input")["index"], 1);
    let counts = api.get("/runs/count").await.is(200);
    assert_eq!(counts["queued"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn singletons_and_debounces_are_started_as_they_are_by_the_command() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let single = json!({ "workflow": "step-wait-step", "singleton": { "key": "only" } });
    let first = api.post("/runs", &single).await.is(201);
    let second = api.post("/runs", &single).await;
    assert_eq!(
        second.is_problem(409, "singleton-taken")["run"],
        first["run"]
    );
    let bounced = json!({ "workflow": "counted-steps", "input": 1, "debounce": { "key": "d", "quietMs": 60000 } });
    let first = api.post("/runs", &bounced).await.is(201);
    let second = api.post("/runs", &bounced).await.is(200);
    assert_eq!(first["run"], second["run"]);
    for (body, status, code) in [
        (
            json!({ "workflow": "counted-steps", "input": 1, "queue": "nowhere" }),
            404,
            "queue-not-found",
        ),
        (
            json!({ "workflow": "no-such-thing" }),
            404,
            "unknown-workflow",
        ),
        (
            json!({ "workflow": "counted-steps", "input": 1, "deadlineMs": 0 }),
            422,
            "bad-argument",
        ),
        (
            json!({ "workflow": "counted-steps", "input": 1, "delayMs": 1, "beginAt": "2026-01-01T00:00:00Z" }),
            400,
            "bad-request",
        ),
        (
            json!({ "workflow": "counted-steps", "input": 1, "unknown": true }),
            400,
            "bad-request",
        ),
        (json!({ "input": 1 }), 400, "bad-request"),
    ] {
        api.post("/runs", &body).await.is_problem(status, code);
    }
}
