//! How much may be asked.

use std::process::Stdio;

use axum::http::Method;
use dacapo_tests::{dacapo_binary, database};
use serde_json::json;

use crate::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_fast_is_told_when_to_come_back() {
    let database = database().await;
    let arguments = ["--requests-per-second", "1", "--requests-burst", "3"];
    let api = Api::with(&database, &arguments).await;
    let mut refused = None;
    for _ in 0..5 {
        let answer = api.get("/queues").await;
        if answer.status.as_u16() == 429 {
            refused = Some(answer);
        }
    }
    let refused = refused.unwrap();
    refused.is_problem(429, "rate-limited");
    let after: u32 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=3).contains(&after), "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_limits_and_those_of_many_starts_a_larger_one() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::with(&database, &["--body-max", "8"]).await;
    let long = "x".repeat(10_000);
    let start = json!({ "workflow": "events", "input": [long] });
    let large = api.post("/runs", &start).await;
    let large = large.is_problem(413, "too-large").to_string();
    for word in ["8192 bytes", "--body-max"] {
        assert!(large.contains(word), "{large}");
    }
    let many = json!({ "workflow": "events", "starts": [{ "input": [long] }] });
    api.post("/runs/batch", &many).await.is(201);

    // What fits the body may still be more than a payload may have.
    let api = Api::with(&database, &["--max-payload-bytes", "1000"]).await;
    api.post("/runs", &start).await.is_problem(413, "too-large");
    let run = api.start("step-wait-step", json!(null)).await;
    let event = json!({ "name": "go", "payload": long });
    api.post(&format!("/runs/{run}/events"), &event)
        .await
        .is_problem(413, "too-large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tokens_listens_for_this_machine_alone() {
    let database = database().await;
    let output = tokio::process::Command::new(dacapo_binary())
        .args(["serve", "--listen", "0.0.0.0:0"])
        .env("DATABASE_URL", &database.url)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    for word in [
        "has no token",
        "anybody could do anything",
        "dacapo token create",
    ] {
        assert!(said.contains(word), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_change_nothing_and_read_nothing() {
    let database = database().await;
    let api = Api::on(&database).await;
    let evil = [("origin", "http://evil.example")];
    api.ask(Method::PUT, "/standstill", &evil, "")
        .await
        .is_problem(403, "cross-site");
    let site = [("sec-fetch-site", "cross-site")];
    api.ask(Method::DELETE, "/standstill", &site, "")
        .await
        .is_problem(403, "cross-site");
    // A name of another site that has been made to stand for this address.
    let host = [("host", "evil.example:7007")];
    api.ask(Method::GET, "/runs", &host, "")
        .await
        .is_problem(403, "bad-host");
    let own = api.url();
    let same = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    api.ask(Method::PUT, "/standstill", &same, "").await.is(200);
}
