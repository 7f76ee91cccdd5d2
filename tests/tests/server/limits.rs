//! How much may be asked.

use std::process::Stdio;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use dacapo_client::Access;
use dacapo_server::{AccessConfig, Limits};
use dacapo_tests::{dacapo_binary, database};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use sqlx::{Connection, Executor};

use crate::api::Api;
use crate::site::{Site, get, text, with_token};

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

/// A site that lets each address ask twice at once.
async fn pacing(change: impl FnOnce(AccessConfig) -> AccessConfig) -> Site {
    let limits = Limits {
        requests_per_second: 1,
        requests_burst: 2,
        ..Limits::default()
    };
    Site::within(limits, database().await, change).await
}

/// Asks the same several times at once, and answers with the first answer that says that this is too fast, if one does.
async fn too_fast(
    site: &Site,
    address: &str,
    request: impl Fn() -> Request<Body>,
) -> Option<Response<Body>> {
    let asking = (0..5).map(|_| site.ask_from(address, request()));
    let mut asking: FuturesUnordered<_> = asking.collect();
    while let Some(answer) = asking.next().await {
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            return Some(answer);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_an_address_asks_for_is_paced_before_the_database_is_asked_who_it_is() {
    let site = pacing(|config| config).await;
    let client = &site.database.client;
    let access = Access::all();
    let made = client.create_token("gone", &access, None, "ann");
    let made = made.await.unwrap();
    let never = made.secret.reveal();
    client.revoke_token("gone", "ann").await.unwrap();
    // Whoever asks the database about a token waits for this.
    let mut connection = sqlx::PgConnection::connect(&site.database.url)
        .await
        .unwrap();
    let mut locking = connection.begin().await.unwrap();
    let lock = "lock table dacapo.token in access exclusive mode";
    locking.execute(lock).await.unwrap();
    let (problem, page) = ("application/problem+json", "text/html; charset=utf-8");
    for (place, (method, path, kind)) in [
        (Method::GET, "/api/v1/runs", problem),
        (Method::POST, "/api/v1/runs", problem),
        (Method::GET, "/api/v1/runs/stream", problem),
        (Method::GET, "/api/v1/nothing", problem),
        (Method::POST, "/mcp", problem),
        (Method::GET, "/metrics", problem),
        (Method::GET, "/", page),
        (Method::GET, "/runs/live", page),
        (Method::GET, "/nothing", page),
        (Method::GET, "/sign-in", page),
        (Method::POST, "/sign-in", page),
        (Method::GET, "/sign-in/oidc/callback", page),
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("10.0.0.{place}:1");
        let request = || with_token(&method, path, never);
        let refused = too_fast(&site, &address, request).await;
        let refused = refused.unwrap_or_else(|| panic!("{method} {path} is not paced"));
        assert_eq!(refused.headers()[header::CONTENT_TYPE], kind, "{path}");
        let after = refused.headers()[header::RETRY_AFTER].to_str().unwrap();
        assert!(after.parse::<u32>().unwrap() >= 1, "{path}: {after}");
        let said = text(refused).await;
        assert!(said.contains("at most 1 requests a second"), "{said}");
        assert!(said.contains("429"), "{said}");
    }
    // Whoever looks whether the process lives is answered in any case.
    for path in ["/health/live", "/health/ready", "/version"] {
        let refused = too_fast(&site, "10.0.1.1:1", || get(path)).await;
        assert!(refused.is_none(), "{path}");
    }
    locking.rollback().await.unwrap();
    let other = site.ask_from("10.0.2.1:1", with_token(&Method::GET, "/", never));
    assert_ne!(other.await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_is_named_each_address_has_a_pace_of_its_own() {
    let site = pacing(|config| AccessConfig {
        trusted_proxies: vec!["10.0.0.1/32".parse().unwrap()],
        ..config
    })
    .await;
    let forwarded = |address: &'static str| {
        move || {
            let request = Request::get("/api/v1/runs").header("x-forwarded-for", address);
            request.body(Body::empty()).unwrap()
        }
    };
    let one = forwarded("192.0.2.1");
    assert!(too_fast(&site, "10.0.0.1:1", &one).await.is_some());
    let other = site.ask_from("10.0.0.1:1", forwarded("192.0.2.2")());
    assert_eq!(other.await.status(), StatusCode::UNAUTHORIZED);
    // Nobody else can say for whom they ask.
    let names = ["192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"];
    let next = std::sync::atomic::AtomicUsize::new(0);
    let several = || {
        let next = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        forwarded(names[next % names.len()])()
    };
    assert!(too_fast(&site, "10.0.0.2:1", several).await.is_some());
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
