//! Access: who gets in, what they may and see, and what is kept of it. What browsers do is in `browsers`, and what comes over
//! a network in `tls` and `oidc`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use dacapo_client::{Access, Payloads, Role, RunId, Scope, StartOptions, Status};
use dacapo_server::{AccessConfig, AccessError, Gate, api};
use dacapo_tests::database;
use dacapo_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};

use crate::site::{PROCESS, Site, get, team_a, text, with_payments, with_token};

/// The path of an operation with something in the place of each parameter.
fn filled(path: &str) -> String {
    let part = |part: &str| match part {
        "{run}" => RunId::new().to_string(),
        "{number}" | "{from}" | "{to}" => "1".to_owned(),
        part if part.starts_with('{') => "nothing".to_owned(),
        part => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_takes_its_role_and_lets_nobody_else_in() {
    let (site, tokens) = Site::with_tokens().await;
    let operations = api::operations();
    assert!(operations.len() > 60, "{}", operations.len());
    for operation in operations {
        let path = filled(&operation.path);
        let what = format!("{} {path}", operation.method);
        let ask = async |token: Option<&str>| {
            let request = match token {
                Some(token) => with_token(&operation.method, &path, token),
                None => Request::builder()
                    .method(&operation.method)
                    .uri(&path)
                    .body(Body::empty())
                    .unwrap(),
            };
            site.ask(request).await
        };
        let refused = ask(None).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{what}");
        assert!(
            refused.headers().contains_key(header::WWW_AUTHENTICATE),
            "{what}"
        );
        assert!(text(refused).await.contains("unauthenticated"), "{what}");
        let never = format!("dcp_{}", "x".repeat(49));
        assert_eq!(
            ask(Some(&never)).await.status(),
            StatusCode::UNAUTHORIZED,
            "{what}"
        );
        for (role, token) in &tokens {
            let status = ask(Some(token)).await.status();
            if *role < operation.role {
                assert_eq!(status, StatusCode::FORBIDDEN, "{what} with the role {role}");
            } else if *role == operation.role {
                let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                assert!(!refused, "{what} with the role {role}: {status}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_whoever_is_on_this_machine_may_do_everything_and_nobody_else() {
    let site = Site::new().await;
    let runs = "/api/v1/runs";
    assert_eq!(site.ask(get(runs)).await.status(), StatusCode::OK);
    let other = site.ask_from("10.0.0.7:1", get(runs)).await;
    assert_eq!(other.status(), StatusCode::UNAUTHORIZED);
    // A page of another site may have given this address a name of its own.
    let renamed = Request::get(runs).header(header::HOST, "evil.example:7007");
    let renamed = site.ask(renamed.body(Body::empty()).unwrap()).await;
    assert_eq!(renamed.status(), StatusCode::FORBIDDEN);
    let paused =
        Request::patch("/api/v1/queues/q").header(header::CONTENT_TYPE, "application/json");
    let made = site.ask(paused.body(Body::from("{}")).unwrap()).await;
    assert!(made.status().is_success(), "{}", made.status());
    let audit = site.audit().await;
    assert_eq!(
        (
            audit[0].who.as_deref(),
            audit[0].via.as_str(),
            audit[0].target.as_deref()
        ),
        (Some("local"), "local", Some("q"))
    );

    // With the first token that is over, without a restart; health goes on.
    let token = site.token(Role::Read, Scope::default(), true).await;
    assert_eq!(site.ask(get(runs)).await.status(), StatusCode::UNAUTHORIZED);
    for open in ["/health/live", "/health/ready", "/version"] {
        assert_eq!(site.ask(get(open)).await.status(), StatusCode::OK, "{open}");
    }
    assert_eq!(
        site.ask(with_token(&Method::GET, runs, &token))
            .await
            .status(),
        StatusCode::OK
    );
    // One that is over counts as one.
    sqlx::query("update dacapo.token set expires_at = clock_timestamp()")
        .execute(site.database.store.pool())
        .await
        .unwrap();
    for request in [get(runs), with_token(&Method::GET, runs, &token)] {
        assert_eq!(site.ask(request).await.status(), StatusCode::UNAUTHORIZED);
    }
    let name = site.database.client.tokens(false).await.unwrap()[0]
        .name
        .clone();
    site.database
        .client
        .revoke_token(&name, "ann")
        .await
        .unwrap();
    assert_eq!(site.ask(get(runs)).await.status(), StatusCode::OK);
    // Whoever shows a token means it, and is nobody else.
    let revoked = site.ask(with_token(&Method::GET, runs, &token)).await;
    assert_eq!(revoked.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_others_reach_is_not_started_without_a_token() {
    let database = database().await;
    let open = AccessConfig::new(([0, 0, 0, 0], 7007).into());
    let refused = Gate::new(database.client.clone(), open.clone()).await;
    let Err(error @ AccessError::Open { .. }) = refused.map(drop) else {
        panic!("it is open to everybody");
    };
    assert!(error.to_string().contains("0.0.0.0:7007"), "{error}");
    assert!(error.hint().unwrap().contains("dacapo token create"));
    let access = Access::all();
    let token = database
        .client
        .create_token("me", &access, None, "ann")
        .await
        .unwrap();
    let site = Site::with(database, |_| open).await;
    assert_eq!(
        site.ask(get("/api/v1/runs")).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let secret = token.secret.reveal();
    let asked = with_token(&Method::GET, "/api/v1/runs", secret);
    assert_eq!(
        site.ask_from("10.0.0.7:1", asked).await.status(),
        StatusCode::OK
    );
    // Without its last token it is shut, on loopback, too.
    site.database
        .client
        .revoke_token("me", "ann")
        .await
        .unwrap();
    assert_eq!(
        site.ask(get("/api/v1/runs")).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_holds_for_each_operation_on_a_run_and_for_lists_and_counts() {
    let (site, [own, other]) = with_payments(&[]).await;
    let token = site.token(Role::Admin, team_a(), true).await;
    let list = site.get(&token, "/api/v1/runs").await;
    let ids: Vec<&Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["id"])
        .collect();
    assert_eq!(json!(ids), json!([own]));
    let counts = site.get(&token, "/api/v1/runs/count").await;
    let all: u64 = counts
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(all, 1, "{counts}");
    // Nothing that is asked of another's run, in whatever way, finds it.
    for operation in api::operations()
        .iter()
        .filter(|one| one.path.contains("{run}"))
    {
        let path = |run: RunId| operation.path.replace("{run}", &run.to_string());
        let body = match (operation.method.clone(), operation.path.rsplit('/').next()) {
            (Method::GET, _) => Value::Null,
            (_, Some("events")) => json!({ "name": "settled", "payload": { "reference": "r" } }),
            (_, Some("notes")) => json!({ "text": "hm" }),
            _ => json!({}),
        };
        let method = operation.method.clone();
        let (status, problem) = site.json(&token, method, &path(other), body).await;
        assert_eq!(
            status,
            StatusCode::NOT_FOUND,
            "{} {}: {problem}",
            operation.method,
            path(other)
        );
        assert_eq!(problem["code"], "run-not-found", "{}", operation.path);
    }
    let whole = site.database.client.get(other).await.unwrap();
    assert_eq!(
        (whole.status, whole.interventions.len()),
        (Status::Suspended, 0)
    );
    // What goes for many goes for those within it alone.
    let filter = json!({ "filter": { "workflow": PROCESS }, "name": "settled", "payload": { "reference": "r" } });
    let (status, sent) = site
        .json(&token, Method::POST, "/api/v1/bulk/events", filter)
        .await;
    assert_eq!(
        (status, &sent["sent"]),
        (StatusCode::OK, &json!(1)),
        "{sent}"
    );
    let start = json!({ "workflow": PROCESS, "labels": { "team": "b" }, "input": {
        "orderId": 1, "amountCents": 1, "currency": "eur", "items": [],
    } });
    let (status, problem) = site.json(&token, Method::POST, "/api/v1/runs", start).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::FORBIDDEN, &json!("out-of-scope"))
    );
}

/// Whatever of a run and its log can be read through the API.
async fn everything_read(site: &Site, token: &str, run: RunId) -> Vec<(String, String)> {
    let mut read = Vec::new();
    for path in [
        "/api/v1/runs".to_owned(),
        format!("/api/v1/runs/{run}"),
        format!("/api/v1/runs/{run}/steps"),
        format!("/api/v1/runs/{run}/progress"),
        format!("/api/v1/runs/{run}/export"),
        format!("/api/v1/runs/{run}/logs"),
        format!("/runs/{run}"),
        format!("/runs/{run}/logs"),
        format!("/runs/{run}/json"),
        format!("/runs/{run}/step?key=charge%231"),
        format!("/runs/{run}/live"),
        "/runs".to_owned(),
        "/runs/live".to_owned(),
        "/".to_owned(),
        "/overview/live".to_owned(),
    ] {
        let response = site.ask(with_token(&Method::GET, &path, token)).await;
        read.push((path, text(response).await));
    }
    // A stream begins with what there is.
    for path in [
        "/api/v1/runs/stream".to_owned(),
        format!("/api/v1/runs/{run}/stream"),
    ] {
        let response = site.ask(with_token(&Method::GET, &path, token)).await;
        let mut body = response.into_body().into_data_stream();
        let mut seen = String::new();
        let reading = async {
            while let Some(Ok(bytes)) = futures_util::StreamExt::next(&mut body).await {
                seen.push_str(&String::from_utf8_lossy(&bytes));
                if seen.contains("data:") {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading)
            .await
            .unwrap();
        read.push((path, seen));
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_for_everybody_is_shown_to_who_may_see_everything() {
    let (site, _) = with_payments(&[]).await;
    let client = &site.database.client;
    client
        .set_queue("line-of-others", Default::default())
        .await
        .unwrap();
    let worker = Worker::start(site.database.store.clone(), WorkerConfig::default())
        .await
        .unwrap();
    let there = "select exists (select from dacapo.worker)";
    site.database.until("the worker is there", there).await;
    let named = client.workers().await.unwrap()[0].name.clone();
    let whole = site.token(Role::Admin, Scope::default(), true).await;
    let limited = site.token(Role::Admin, team_a(), true).await;
    let by_workflow = Scope {
        labels: BTreeMap::new(),
        ..team_a()
    };
    let by_workflow = site.token(Role::Admin, by_workflow, true).await;
    let ask = async |path: &str, token: &str| {
        let answer = site.ask(with_token(&Method::GET, path, token)).await;
        (answer.status(), text(answer).await)
    };
    for path in [
        "/metrics",
        "/api/v1/stats",
        "/api/v1/workers",
        "/api/v1/queues",
        "/api/v1/queues/line-of-others",
    ] {
        let nobody = site.ask(get(path)).await.status();
        assert_eq!(nobody, StatusCode::UNAUTHORIZED, "{path}");
        let (status, _) = ask(path, "dcp_nothing").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        for limited in [&limited, &by_workflow] {
            let (status, problem) = ask(path, limited).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {problem}");
            assert!(problem.contains("\"out-of-scope\""), "{path}: {problem}");
        }
        assert_eq!(ask(path, &whole).await.0, StatusCode::OK, "{path}");
    }
    for path in ["/queues", "/queues/live", "/workers"] {
        let (status, page) = ask(path, &limited).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {page}");
        assert_eq!(ask(path, &whole).await.0, StatusCode::OK, "{path}");
    }
    // No other answer names them, and no other page leads there.
    let lists = api::operations().iter().filter(|operation| {
        let is_list = !operation.path.contains('{') && !operation.path.ends_with("/stream");
        operation.method == Method::GET && is_list
    });
    let lists = lists.map(|operation| operation.path.clone());
    let start = format!("/start/{PROCESS}");
    let pages = [
        "/",
        "/overview/live",
        "/runs",
        "/workflows",
        "/schedules",
        "/deployments",
        &start,
    ];
    let pages = pages.map(str::to_owned);
    for path in lists.chain(pages.clone()) {
        let (_, shown) = ask(&path, &limited).await;
        for word in [named.as_str(), "line-of-others"] {
            assert!(!shown.contains(word), "{path} names {word}: {shown}");
        }
    }
    for path in pages {
        let (status, limited) = ask(&path, &limited).await;
        assert_eq!(status, StatusCode::OK, "{path}: {limited}");
        let (_, whole) = ask(&path, &whole).await;
        let leads = |page: &str, to: &str| page.replace("&#x2f;", "/").contains(to);
        for to in ["href=\"/queues\"", "href=\"/workers\""] {
            assert!(!leads(&limited, to), "{path} leads to {to}");
            assert!(leads(&whole, to), "{path} does not lead to {to}");
        }
    }
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_run_does_not_tell_what_that_was_started_with_to_who_may_not_see_it() {
    let (site, _) = with_payments(&[]).await;
    let input = |order: u32| {
        json!({
            "orderId": order, "amountCents": 100, "currency": "eur", "items": [{ "sku": "hush", "price": 100 }],
        })
    };
    let options = StartOptions {
        labels: [("team".to_owned(), "b".to_owned())].into(),
        ..StartOptions::keyed("taken")
    };
    let text = input(4711).to_string();
    let first = site.database.client.start_by_name(PROCESS, &text, options);
    first.await.unwrap();
    let told = async |access: (Scope, Payloads)| {
        let client = site.database.client.clone();
        let client = client.within(access.0).showing(access.1);
        let options = StartOptions {
            labels: [("team".to_owned(), "a".to_owned())].into(),
            ..StartOptions::keyed("taken")
        };
        let text = input(1).to_string();
        let again = client.start_by_name(PROCESS, &text, options);
        again.await.unwrap_err().to_string()
    };
    let all = (Scope::default(), Payloads::WithoutSecrets);
    assert!(told(all).await.contains("4711"));
    for limited in [
        (team_a(), Payloads::WithoutSecrets),
        (Scope::default(), Payloads::Hidden),
    ] {
        let told = told(limited).await;
        assert!(
            told.contains("another input") && !told.contains("4711"),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_is_shown_by_no_route_to_nobody() {
    let secret = ["input.items.*.sku", "steps.charge.output", "output.charge"];
    let (site, [run, _]) = with_payments(&secret).await;
    let token = site.token(Role::Admin, Scope::default(), true).await;
    let mut redacted = 0;
    for (path, shown) in everything_read(&site, &token, run).await {
        for secret in ["hush", "charge-4711"] {
            assert!(!shown.contains(secret), "{path}: {shown}");
        }
        redacted += usize::from(shown.contains("•••"));
    }
    assert!(redacted >= 4, "{redacted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_see_no_payloads_is_shown_none_by_no_route() {
    let (site, [run, _]) = with_payments(&[]).await;
    // Whatever is kept of what somebody else was shown a moment ago.
    let whole = site.token(Role::Admin, Scope::default(), true).await;
    let shown = everything_read(&site, &whole, run).await;
    assert!(shown.iter().any(|(_, shown)| shown.contains("hush")));
    let token = site.token(Role::Admin, Scope::default(), false).await;
    for (path, shown) in everything_read(&site, &token, run).await {
        for payload in ["hush", "hold-4711", "charge-4711"] {
            assert!(!shown.contains(payload), "{path}: {shown}");
        }
    }
    let path = format!("/api/v1/runs/{run}/logs");
    let (status, problem) = site.json(&token, Method::GET, &path, Value::Null).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::FORBIDDEN, &json!("withheld"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_and_what_is_refused_is_in_the_audit_and_with_the_run() {
    let (site, [run, _]) = with_payments(&[]).await;
    let access = |role| Access {
        role,
        scope: Scope::default(),
        payloads: true,
    };
    let client = &site.database.client;
    let looks = client
        .create_token("looks", &access(Role::Read), None, "ann")
        .await
        .unwrap();
    let steers = client
        .create_token("steers", &access(Role::Operate), None, "ann")
        .await
        .unwrap();
    let path = format!("/api/v1/runs/{run}/pause");
    let pause = async |token: &str| site.json(token, Method::POST, &path, json!({})).await.0;
    assert_eq!(pause(looks.secret.reveal()).await, StatusCode::FORBIDDEN);
    assert_eq!(pause(steers.secret.reveal()).await, StatusCode::OK);
    assert_eq!(pause(steers.secret.reveal()).await, StatusCode::CONFLICT);
    site.get(steers.secret.reveal(), "/api/v1/runs").await;
    let start = json!({ "workflow": PROCESS, "input": {
        "orderId": 1, "amountCents": 0, "currency": "eur", "items": [],
    } });
    let secret = steers.secret.reveal();
    let (_, started) = site.json(secret, Method::POST, "/api/v1/runs", start).await;
    // What is refused is noted by what it was for, and what was made by what it is.
    let start = json!({ "workflow": PROCESS, "input": 7 });
    site.json(secret, Method::POST, "/api/v1/runs", start).await;
    let schedule = json!({ "name": "nightly", "workflow": PROCESS, "everySeconds": 0 });
    site.json(secret, Method::POST, "/api/v1/schedules", schedule)
        .await;
    let noted: Vec<Value> = site
        .audit()
        .await
        .into_iter()
        .filter(|entry| entry.via != "command")
        .map(|entry| {
            json!([
                entry.who,
                entry.role,
                entry.action,
                entry.target,
                entry.outcome,
                entry.status
            ])
        })
        .collect();
    assert_eq!(
        json!(noted),
        json!([
            [
                "steers",
                "operate",
                "createSchedule",
                "nightly",
                "refused",
                422
            ],
            ["steers", "operate", "startRun", PROCESS, "refused", 422],
            ["steers", "operate", "startRun", started["run"], "done", 201],
            ["steers", "operate", "pauseRun", run, "refused", 409],
            ["steers", "operate", "pauseRun", run, "done", 200],
            ["looks", "read", "pauseRun", run, "refused", 403],
        ])
    );
    assert_eq!(site.audit().await[0].address.as_deref(), Some("127.0.0.1"));
    // Through the API, for those who may.
    let path = format!("/api/v1/audit?target={run}&outcome=refused&limit=1");
    let admin = site.token(Role::Admin, Scope::default(), true).await;
    let page = site.get(&admin, &path).await;
    assert_eq!(
        (
            &page["items"][0]["status"],
            page["items"].as_array().unwrap().len()
        ),
        (&json!(409), 1)
    );
    let next = format!("{path}&cursor={}", page["next"]);
    assert_eq!(site.get(&admin, &next).await["items"][0]["who"], "looks");
    let (status, _) = site.json(secret, Method::GET, &path, Value::Null).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let interventions = client.get(run).await.unwrap().interventions;
    assert_eq!(interventions.len(), 1);
    assert_eq!(
        (
            interventions[0].action.as_str(),
            interventions[0].who.as_str()
        ),
        ("pause", "steers")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_is_revoked() {
    let site = Site::new().await;
    let client = &site.database.client;
    let token = client
        .create_token("me", &Access::all(), None, "ann")
        .await
        .unwrap();
    let request = with_token(&Method::GET, "/api/v1/runs/stream", token.secret.reveal());
    let response = site.ask(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    client.revoke_token("me", "ann").await.unwrap();
    let body = to_bytes(response.into_body(), 1 << 20);
    let ended = tokio::time::timeout(Duration::from_secs(60), body).await;
    assert!(ended.is_ok(), "the stream goes on");
}
