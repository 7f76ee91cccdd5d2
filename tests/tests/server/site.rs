//! A server's routes, asked without a network in between.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, Response, StatusCode, header};
use dacapo_client::{Access, AuditEntry, AuditFilter, Manifest, Role, RunId, Scope, StartOptions};
use dacapo_server::{AccessConfig, App, Gate, Limits, OidcConfig, Readiness, everything};
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
    pub(crate) async fn with_tokens() -> (Self, BTreeMap<Role, String>) {
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
    pub(crate) async fn json(
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

    pub(crate) async fn get(&self, token: &str, path: &str) -> Value {
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

/// A site with a payment of team a and one of team b, which wait for their bank.
pub(crate) async fn with_payments(secret: &[&str]) -> (Site, [RunId; 2]) {
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

/// What the first team may see.
pub(crate) fn team_a() -> Scope {
    Scope {
        workflows: vec!["payments:*".parse().unwrap()],
        labels: [("team".to_owned(), "a".to_owned())].into(),
    }
}

pub(crate) fn with_oidc(config: AccessConfig, oidc: OidcConfig) -> AccessConfig {
    AccessConfig {
        oidc: Some(oidc),
        ..config
    }
}
