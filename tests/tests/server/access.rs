//! Access: who gets in, what they may and see, and what is kept of it. The routes are asked without a network in between; what comes over
//! one is in `tls` and `oidc`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, Response, StatusCode, header};
use dacapo_client::{
    Access, AuditEntry, AuditFilter, Deed, DeedOutcome, Manifest, Payloads, Role, RunId, Scope,
    StartOptions, Status, Via,
};
use dacapo_server::{
    AccessConfig, AccessError, App, Gate, Limits, OidcConfig, Readiness, api, everything,
};
use dacapo_tests::{Database, database, guest};
use dacapo_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) const PROCESS: &str = "payments:processing/payments.process";

/// A server's routes over a database.
pub(crate) struct Site {
    pub(crate) database: Database,
    pub(crate) routes: Router,
}

impl Site {
    /// One that listens on loopback, with nothing deployed.
    pub(crate) async fn new() -> Self {
        Self::with(database().await, |config| config).await
    }

    pub(crate) async fn with(
        database: Database,
        change: impl FnOnce(AccessConfig) -> AccessConfig,
    ) -> Self {
        let limits = Limits {
            requests_per_second: 0,
            ..Limits::default()
        };
        Self::within(limits, database, change).await
    }

    pub(crate) async fn within(
        limits: Limits,
        database: Database,
        change: impl FnOnce(AccessConfig) -> AccessConfig,
    ) -> Self {
        let config = change(AccessConfig::new(([127, 0, 0, 1], 7007).into()));
        let client = database.client.clone();
        let gate = Gate::new(client.clone(), config).await.unwrap();
        let probe = Arc::new(|| Readiness::Ready);
        let app = App::new(client, probe, limits, CancellationToken::new())
            .with_metrics(Arc::new(String::new));
        Self {
            routes: everything(app, gate),
            database,
        }
    }

    /// One with a token of each role.
    async fn with_tokens() -> (Self, BTreeMap<Role, String>) {
        let site = Self::new().await;
        let mut tokens = BTreeMap::new();
        for role in Role::ALL {
            tokens.insert(role, site.token(role, Scope::default(), true).await);
        }
        (site, tokens)
    }

    pub(crate) async fn token(&self, role: Role, scope: Scope, payloads: bool) -> String {
        let access = Access {
            role,
            scope,
            payloads,
        };
        let name = format!("{role} {}", RunId::new());
        let token = self
            .database
            .client
            .create_token(&name, &access, None, "ann");
        token.await.unwrap().secret.reveal().to_owned()
    }

    /// Asks as somebody on this machine.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Response<Body> {
        self.ask_from("127.0.0.1:50000", request).await
    }

    pub(crate) async fn ask_from(
        &self,
        address: &str,
        mut request: Request<Body>,
    ) -> Response<Body> {
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        let host = header::HeaderValue::from_static("localhost:7007");
        request.headers_mut().entry(header::HOST).or_insert(host);
        self.routes.clone().oneshot(request).await.unwrap()
    }

    /// Asks with a token, and answers with the status and the body.
    async fn json(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let response = self.ask(request.body(body).unwrap()).await;
        let status = response.status();
        (
            status,
            serde_json::from_str(&text(response).await).unwrap_or_default(),
        )
    }

    async fn get(&self, token: &str, path: &str) -> Value {
        let (status, body) = self.json(token, Method::GET, path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(crate) async fn audit(&self) -> Vec<AuditEntry> {
        let page = self.database.client.audit(&AuditFilter::default()).await;
        page.unwrap().items
    }
}

pub(crate) async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 16 << 20).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

pub(crate) fn with_token(method: &Method, path: &str, token: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap()
}

fn form(path: &str, fields: &str) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ORIGIN, "http://localhost:7007")
        .body(Body::from(fields.to_owned()))
        .unwrap()
}

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

/// A site with a payment of team a and one of team b, which wait for their bank.
async fn with_payments(secret: &[&str]) -> (Site, [RunId; 2]) {
    let site = Site::new().await;
    let described = dacapo_sandbox::describe(&guest("process_payment")).unwrap();
    let manifest = json!({ "workflows": { PROCESS: { "secret": secret } } });
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    let client = &site.database.client;
    client
        .deploy_with(
            &described.descriptor,
            &described.digest,
            &described.component,
            &manifest,
        )
        .await
        .unwrap();
    let worker = Worker::start(site.database.store.clone(), WorkerConfig::default())
        .await
        .unwrap();
    let mut runs = Vec::new();
    for team in ["a", "b"] {
        let input = json!({
            "orderId": 4711, "amountCents": 100, "currency": "eur", "items": [{ "sku": "hush", "price": 100 }],
        });
        let options = StartOptions {
            labels: [("team".to_owned(), team.to_owned())].into(),
            ..StartOptions::default()
        };
        let input = input.to_string();
        let started = client.start_by_name(PROCESS, &input, options);
        runs.push(started.await.unwrap().id);
    }
    let waiting = "select count(*) = 2 from dacapo.task_suspended where reason = 'event'";
    site.database
        .until("both wait for their bank", waiting)
        .await;
    worker.drain().await.unwrap();
    (site, runs.try_into().unwrap())
}

fn team_a() -> Scope {
    Scope {
        workflows: vec!["payments:*".parse().unwrap()],
        labels: [("team".to_owned(), "a".to_owned())].into(),
    }
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

/// The cookie that an answer sets.
pub(crate) fn cookie(response: &Response<Body>, name: &str) -> Option<String> {
    let cookies = response.headers().get_all(header::SET_COOKIE).into_iter();
    let cookies = cookies.map(|cookie| cookie.to_str().unwrap());
    let mut named = cookies.filter(|cookie| cookie.starts_with(name));
    named.next().map(str::to_owned)
}

fn with_cookie(mut request: Request<Body>, cookie: &str) -> Request<Body> {
    let pair = cookie.split(';').next().unwrap();
    request
        .headers_mut()
        .insert(header::COOKIE, pair.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_with_a_token_and_out_again() {
    let site = Site::new().await;
    let token = site.token(Role::Operate, Scope::default(), true).await;
    // Whoever comes from somewhere is led back there.
    let sent = site.ask(get("/runs?status=failed")).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        sent.headers()[header::LOCATION],
        "/sign-in?next=%2Fruns%3Fstatus%3Dfailed"
    );
    let page = site
        .ask(get("/sign-in?next=%2Fruns%3Fstatus%3Dfailed"))
        .await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = text(page).await.replace("&#x2f;", "/");
    assert!(
        page.contains("/runs?status=failed") && page.contains("secret"),
        "{page}"
    );

    let wrong = site.ask(form("/sign-in", "secret=dcp_no&next=/runs")).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(cookie(&wrong, "dacapo-session"), None);
    let fields = format!("secret=%20{token}%20&next=%2Fruns%3Fstatus%3Dfailed");
    let right = site.ask(form("/sign-in", &fields)).await;
    assert_eq!(right.status(), StatusCode::SEE_OTHER);
    assert_eq!(right.headers()[header::LOCATION], "/runs?status=failed");
    let session = cookie(&right, "dacapo-session").unwrap();
    assert!(
        session.contains("HttpOnly") && session.contains("SameSite=Lax"),
        "{session}"
    );
    assert!(
        !session.contains("Secure") && !session.contains(&token),
        "{session}"
    );
    for path in ["/runs", "/api/v1/runs"] {
        let seen = site.ask(with_cookie(get(path), &session)).await;
        assert_eq!(seen.status(), StatusCode::OK, "{path}");
    }
    // A page of another site can send the cookie along, and changes nothing.
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for path in ["/api/v1/workflows/nothing/pause", "/sign-out"] {
            let request = Request::post(path).header(name, value);
            let request = with_cookie(request.body(Body::empty()).unwrap(), &session);
            let refused = site.ask(request).await;
            assert_eq!(
                refused.status(),
                StatusCode::FORBIDDEN,
                "{path} {name}: {value}"
            );
        }
    }
    let out = site.ask(with_cookie(form("/sign-out", ""), &session)).await;
    assert_eq!(out.status(), StatusCode::SEE_OTHER);
    assert!(
        cookie(&out, "dacapo-session")
            .unwrap()
            .contains("Max-Age=0")
    );
    let gone = site.ask(with_cookie(get("/api/v1/runs"), &session)).await;
    assert_eq!(gone.status(), StatusCode::UNAUTHORIZED);
    let actions = site
        .audit()
        .await
        .into_iter()
        .filter(|entry| entry.action.starts_with("sign"));
    let actions: Vec<_> = actions
        .map(|entry| (entry.action, entry.outcome, entry.via))
        .collect();
    let expected = [
        ("sign-out", "done", "session"),
        ("sign-in", "done", "session"),
        ("sign-in", "refused", "nobody"),
    ];
    assert_eq!(
        actions,
        expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_audit_is_for_admins_who_see_everything() {
    let (site, tokens) = Site::with_tokens().await;
    let limited = site.token(Role::Admin, team_a(), true).await;
    let page = async |token: &str, path: &str| {
        let response = site.ask(with_token(&Method::GET, path, token)).await;
        let status = response.status();
        (status, text(response).await.replace("&#x2f;", "/"))
    };
    let link = "<a href=\"/audit\"";
    for (role, token) in &tokens {
        let (status, _) = page(token, "/audit").await;
        let expected = match role {
            Role::Admin => StatusCode::OK,
            _ => StatusCode::FORBIDDEN,
        };
        assert_eq!(status, expected, "{role}");
        let (_, runs) = page(token, "/runs").await;
        assert_eq!(runs.contains(link), *role == Role::Admin, "{role}");
    }
    let (status, refused) = page(&limited, "/audit").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(!refused.contains("<tbody>"), "{refused}");
    assert!(!page(&limited, "/runs").await.1.contains(link));
    let first = site.ask(get("/audit")).await;
    assert_eq!(first.status(), StatusCode::SEE_OTHER);

    // What is asked for is looked for, in pages.
    let admin = &tokens[&Role::Admin];
    let run = RunId::new();
    for n in 0..60 {
        let (who, target) = match n % 2 {
            0 => ("ann & co", run.to_string()),
            _ => ("bob", "mail".to_owned()),
        };
        let deed = Deed {
            who: Some(who.to_owned()),
            via: Via::Session,
            role: Some(Role::Operate),
            action: ["pauseRun", "resumeQueue"][n % 2].to_owned(),
            target: Some(target),
            outcome: [DeedOutcome::Done, DeedOutcome::Refused][n % 2],
            status: 200,
            address: Some("10.0.0.7".to_owned()),
        };
        site.database.client.note_deed(deed).await.unwrap();
    }
    let rows = |page: &str| page.matches("<td class=\"main\">").count();
    let (_, shown) = page(admin, "/audit").await;
    assert_eq!(rows(&shown), 50);
    let older = shown.split("href=\"").find(|part| part.contains(">Older"));
    let older = older.unwrap().split('"').next().unwrap().to_owned();
    let (_, shown) = page(admin, &older).await;
    // And those tokens that were made.
    assert_eq!(rows(&shown), 10 + tokens.len() + 1);
    assert!(
        shown.contains(">Newest<") && !shown.contains(">Older<"),
        "{shown}"
    );
    for (query, expected) in [
        ("who=bob", 30),
        ("who=ann+%26+co&outcome=done", 30),
        ("who=bob&outcome=done", 0),
        ("action=pauseRun&since=1h", 30),
        ("target=mail", 30),
        ("who=nobody", 0),
    ] {
        let (status, shown) = page(admin, &format!("/audit?{query}")).await;
        assert_eq!(
            (status, rows(&shown)),
            (StatusCode::OK, expected),
            "{query}"
        );
    }
    let (_, shown) = page(admin, &format!("/audit?target={run}")).await;
    assert!(shown.contains(&format!("href=\"/runs/{run}\"")), "{shown}");
    assert!(
        shown.contains("ann &amp; co") && shown.contains("who=ann+%26+co"),
        "{shown}"
    );
    for (query, why) in [
        ("outcome=odd", "expected done, refused or failed"),
        ("after=odd", "expected the number of an entry"),
        ("since=odd", "expected a time"),
    ] {
        let (status, shown) = page(admin, &format!("/audit?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert!(shown.contains(why), "{query}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_the_dashboard_carry_what_another_site_cannot_know() {
    let (site, [run, _]) = with_payments(&[]).await;
    let token = site.token(Role::Operate, Scope::default(), true).await;
    let right = site.ask(form("/sign-in", &format!("secret={token}"))).await;
    let session = cookie(&right, "dacapo-session").unwrap();
    let refused = site
        .ask(with_cookie(
            form(&format!("/runs/{run}/do/pause"), ""),
            &session,
        ))
        .await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let paused = site.database.client.get(run).await.unwrap();
    assert_eq!(paused.status, Status::Suspended);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fails_to_sign_in_again_and_again_has_to_wait() {
    let site = Site::new().await;
    let token = site.token(Role::Read, Scope::default(), true).await;
    for _ in 0..10 {
        let wrong = site.ask(form("/sign-in", "secret=dcp_no")).await;
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    }
    let late = site.ask(form("/sign-in", &format!("secret={token}"))).await;
    assert_eq!(late.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(late.headers().contains_key(header::RETRY_AFTER));
    let other = form("/sign-in", &format!("secret={token}"));
    let other = site.ask_from("10.0.0.8:1", other).await;
    assert_eq!(other.status(), StatusCode::SEE_OTHER);
    let refused = site.audit().await;
    let refused = refused
        .iter()
        .filter(|entry| entry.action == "sign-in" && entry.outcome == "refused");
    assert_eq!(refused.count(), 10, "what is kept waiting fills no table");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_believed_only_if_it_is_named() {
    let site = Site::with(database().await, |config| AccessConfig {
        trusted_proxies: vec!["10.0.0.1".parse().unwrap()],
        ..config
    })
    .await;
    let token = site.token(Role::Read, Scope::default(), true).await;
    let sign_in = |forwarded: &str| {
        let mut request = form("/sign-in", &format!("secret={token}"));
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        request
    };
    let named = site
        .ask_from("10.0.0.1:1", sign_in("6.6.6.6, 192.0.2.7"))
        .await;
    let session = cookie(&named, "__Host-dacapo-session").unwrap();
    assert!(session.contains("; Secure"), "{session}");
    let other = site.ask_from("10.0.0.2:1", sign_in("192.0.2.8")).await;
    assert!(cookie(&other, "dacapo-session").is_some());
    let addresses = site
        .audit()
        .await
        .into_iter()
        .filter(|entry| entry.action == "sign-in");
    let addresses: Vec<_> = addresses.filter_map(|entry| entry.address).collect();
    assert_eq!(addresses, ["10.0.0.2", "192.0.2.7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_browsers_to_do_nothing_that_a_page_of_ours_does_not_need() {
    let (site, [run, _]) = with_payments(&[]).await;
    let run = format!("/runs/{run}");
    for path in [
        "/",
        "/runs",
        &run,
        "/workflows",
        "/schedules",
        "/queues",
        "/sign-in",
        "/nothing/at/all",
        "/api/v1/runs",
        "/api/v1/openapi.json",
        "/api/v1/nothing",
        "/health/live",
        "/version",
    ] {
        let answer = site.ask(get(path)).await;
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        let policy = header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(header(name), Some(value), "{path}");
        }
        assert!(header("cache-control").is_some(), "{path}");
        assert_eq!(header("strict-transport-security"), None, "{path}");
    }
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

#[allow(dead_code, reason = "for `oidc`")]
pub(crate) fn with_oidc(config: AccessConfig, oidc: OidcConfig) -> AccessConfig {
    AccessConfig {
        oidc: Some(oidc),
        ..config
    }
}
