//! Server-sent events.

use axum::http::Method;
use dacapo_tests::{Dacapo, database};
use serde_json::json;

use crate::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_until_its_end_and_who_has_seen_that_is_told_so() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let run = api.start("step-wait-step", json!(null)).await;
    let path = format!("/runs/{run}/stream");
    let mut events = api.stream(&path, &[]).await;
    let first = events.up_to("run").await;
    assert_eq!(first.last().unwrap().data["status"], "queued");
    let _worker = Dacapo::on(&database).worker().await;
    let waiting = loop {
        let event = events.next().await.unwrap();
        if event.name == "run" && event.data["status"] == "suspended" {
            break event;
        }
    };
    assert_eq!(waiting.data["steps"], json!([]));
    let body = json!({ "name": "go" });
    api.post(&format!("/runs/{run}/events"), &body)
        .await
        .is(200);
    let rest = events.up_to("end").await;
    let end = rest.last().unwrap();
    assert_eq!(end.data, json!({ "run": run, "status": "completed" }));
    let last_step = rest.iter().rfind(|event| event.name == "step").unwrap();
    assert_eq!(last_step.data["key"], "b#1");
    assert_eq!(events.next().await, None);

    let seen = [("last-event-id", end.id.as_deref().unwrap())];
    let answer = api.ask(Method::GET, &path, &seen, "").await;
    assert_eq!(answer.status.as_u16(), 204);
    // Who comes anew is sent everything again, and each step once.
    let all = api.stream(&path, &[]).await.up_to("end").await;
    let steps: Vec<_> = all.iter().filter(|event| event.name == "step").collect();
    assert_eq!(steps.len(), 3, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_and_taken_up_behind_the_line_that_was_seen_last() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let _worker = Dacapo::on(&database).worker().await;
    let run = api.start("effects", json!(4)).await;
    let path = format!("/runs/{run}/logs/stream");
    let all = api.stream(&path, &[]).await.up_to("end").await;
    let lines: Vec<_> = all.iter().filter(|event| event.name == "line").collect();
    assert!(lines.len() >= 4, "{all:?}");
    assert!(lines.iter().all(|line| line.id.is_some()));
    let seen = [("last-event-id", lines[1].id.as_deref().unwrap())];
    let rest = api.stream(&path, &seen).await.up_to("end").await;
    assert_eq!(rest.len(), all.len() - 2);
    assert_eq!(&rest[0], lines[2]);
    let urgent = format!("{path}?level=error");
    assert_eq!(api.stream(&urgent, &[]).await.up_to("end").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_runs_is_sent_anew_when_it_has_changed() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let mut events = api.stream("/runs/stream?label=a%3Db&limit=2", &[]).await;
    let page = events.up_to("page").await.pop().unwrap();
    assert_eq!(page.data["items"], json!([]));
    api.start("counted-steps", json!(1)).await;
    let body = json!({ "workflow": "counted-steps", "input": 1, "labels": { "a": "b" } });
    let run = api.post("/runs", &body).await.is(201)["run"].clone();
    let page = events.up_to("page").await.pop().unwrap();
    assert_eq!(page.data["items"][0]["id"], run);
    assert_eq!(page.data["items"].as_array().unwrap().len(), 1);
    let counts = events.up_to("counts").await.pop().unwrap();
    assert_eq!(counts.data["queued"], json!({ "runs": 1, "isAll": true }));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_streams_than_allowed_and_they_end_when_the_server_stops() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::with(&database, &["--streams-max", "2"]).await;
    let run = api.start("step-wait-step", json!(null)).await;
    let path = format!("/runs/{run}/stream");
    let mut one = api.stream(&path, &[]).await;
    let two = api.stream("/runs/stream", &[]).await;
    let refused = api.get(&path).await;
    refused.is_problem(429, "too-many-streams");
    assert!(refused.headers.contains_key("retry-after"));
    drop(two);
    // What nobody reads any more makes room as soon as it is noticed, at the next event or heartbeat.
    api.start("counted-steps", json!(1)).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let answer = api.get(&format!("/runs/{run}/wait?timeoutMs=1")).await;
        if answer.status.as_u16() == 202 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    one.up_to("run").await;
    api.stop().await;
    assert_eq!(one.next().await, None);
}
