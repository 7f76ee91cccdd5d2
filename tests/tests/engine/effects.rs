//! What steps may do outside: requests, secrets, and the limits that a manifest says.

mod granted;
mod redirects;
mod secrets;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use dacapo_client::StartOptions;
use dacapo_model::{HttpGrant, HttpSettings, Manifest, Otherwise, RunId, Status};
use dacapo_tests::{Database, database, guest};
use dacapo_worker::{OutboundConfig, Worker, WorkerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::check::{effects, sound, worker};

/// A service on the loopback.
struct Service {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicU32>,
}

/// A request that came.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Service {
    async fn start() -> Service {
        let (seen, connections) = (Arc::default(), Arc::<AtomicU32>::default());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let counted = Arc::clone(&connections);
        let listener = listener.tap_io(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Service {
            port,
            seen,
            connections,
        }
    }

    /// By its address.
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// By a name that stands for its address.
    fn named(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Grants it by its address.
    fn grant(&self) -> HttpGrant {
        HttpGrant::parse(&format!("127.0.0.1:{}", self.port)).unwrap()
    }

    /// Grants it by its name, with or without what that takes.
    fn named_grant(&self, private: bool) -> HttpGrant {
        let grant = HttpGrant::parse(&format!("localhost:{}", self.port)).unwrap();
        HttpGrant { private, ..grant }
    }
}

/// `/echo` says what came, `/bytes/7` answers so many, `/to?<url>` leads on, `/stuck` never answers, `/drip` never ends, `/late` takes its
/// time, `/account` tells the authorization that came first.
async fn answer(
    State(seen): State<Arc<Mutex<Vec<Seen>>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let came = Seen {
        method,
        path: uri.path().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    seen.lock().unwrap().push(came.clone());
    let query = uri.query().unwrap_or_default().to_owned();
    match uri.path() {
        "/to" => (StatusCode::FOUND, [(header::LOCATION, query)]).into_response(),
        "/stuck" => std::future::pending().await,
        "/late" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "late".into_response()
        }
        "/account" => {
            let first = seen.lock().unwrap()[0]
                .header("authorization")
                .map(str::to_owned);
            first.unwrap().into_response()
        }
        "/drip" => {
            let drops = futures_util::stream::once(async { Ok::<_, std::io::Error>("drop") });
            let rest = futures_util::stream::pending();
            Body::from_stream(futures_util::StreamExt::chain(drops, rest)).into_response()
        }
        path => match path.strip_prefix("/bytes/") {
            Some(count) => "x".repeat(count.parse().unwrap()).into_response(),
            None => {
                let shown = ["authorization", "x-note", "idempotency-key", "host"]
                    .map(|name| format!("{name}={}", came.header(name).unwrap_or("-")));
                // As a service would that tells too much.
                let told = [(
                    "x-told",
                    came.header("authorization").unwrap_or("-").to_owned(),
                )];
                let body = format!(
                    "{} {} {} {}",
                    came.method,
                    came.path,
                    shown.join(" "),
                    came.body
                );
                (told, body).into_response()
            }
        },
    }
}

fn granting(allow: Vec<HttpGrant>) -> Manifest {
    Manifest {
        http: Some(HttpSettings {
            allow,
            // For guests that tell what they were told.
            otherwise: Otherwise::Fail,
            ..HttpSettings::default()
        }),
        ..Manifest::default()
    }
}

async fn deploy(database: &Database, manifest: &Manifest) {
    let described = dacapo_sandbox::describe(&guest("gate")).unwrap();
    let deployed = database.client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        manifest,
    );
    deployed.await.unwrap();
}

fn ask(url: &str, more: Value) -> String {
    let mut ask = json!({ "url": url, "headers": [], "idempotent": false, "attempts": 1 });
    let more = more.as_object().unwrap().clone();
    ask.as_object_mut().unwrap().extend(more);
    ask.to_string()
}

/// The output of a run, which is a text.
async fn output(database: &Database, workflow: &str, input: &str) -> String {
    let run = database.start(workflow, input).await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    serde_json::from_str(done.output.unwrap().as_str()).unwrap()
}

async fn blocked(database: &Database, run: RunId) -> Value {
    database
        .until(
            "a run is blocked",
            "select count(*) > 0 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let run = database.client.get(run).await.unwrap();
    assert_eq!(run.status, Status::Blocked);
    serde_json::from_str(run.blocked.unwrap().as_str()).unwrap()
}

const BOTH: [&str; 2] = ["fetch", "wasi-fetch"];

fn bearer() -> Value {
    json!({ "headers": [{ "name": "authorization", "value": "Bearer {{dacapo.secret.key}}" }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_sends_requests_to_hosts_that_are_granted() {
    let (database, service) = (database().await, Service::start().await);
    deploy(
        &database,
        &granting(vec![service.grant(), service.named_grant(true)]),
    )
    .await;
    let worker = worker(&database).await;
    for workflow in BOTH {
        for url in [service.url("/echo"), service.named("/echo")] {
            let more = json!({
                "method": "POST", "body": "a body",
                "headers": [{ "name": "X-Note", "value": "noted" }],
            });
            let said = output(&database, workflow, &ask(&url, more)).await;
            let host = url
                .strip_prefix("http://")
                .unwrap()
                .strip_suffix("/echo")
                .unwrap();
            assert_eq!(
                said,
                format!(
                    "200 POST /echo authorization=- x-note=noted idempotency-key=- host={host} a body"
                ),
                "{workflow}"
            );
        }
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_to_which_trace_it_belongs_unless_the_code_says_it() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &granting(vec![service.grant()])).await;
    let worker = worker(&database).await;
    let starter = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let own = "00-11111111111111111111111111111111-2222222222222222-01";
    for workflow in BOTH {
        let says = json!({ "headers": [{ "name": "Traceparent", "value": own }] });
        for more in [json!({}), says] {
            let options = StartOptions::default().label("traceparent", starter);
            let input = ask(&service.url("/echo"), more);
            let started = database.client.start_by_name(workflow, &input, options);
            database.done(started.await.unwrap().id).await;
        }
        // Nobody asks for a trace.
        output(&database, workflow, &ask(&service.url("/echo"), json!({}))).await;
    }
    let seen = service.seen();
    let said: Vec<_> = seen.iter().map(|seen| seen.header("traceparent")).collect();
    for said in said.chunks(3) {
        let handed_on = said[0].unwrap();
        // The same trace, and below the attempt.
        assert_eq!(handed_on[..36], starter[..36]);
        assert_eq!(handed_on.len(), starter.len());
        assert_ne!(handed_on, starter);
        assert_eq!(said[1..], [Some(own), None]);
    }
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_for_the_next_run() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &granting(vec![service.grant()])).await;
    let worker = worker(&database).await;
    for workflow in ["fetch", "wasi-fetch", "fetch", "wasi-fetch"] {
        output(&database, workflow, &ask(&service.url("/echo"), json!({}))).await;
    }
    assert_eq!(service.seen().len(), 4);
    assert_eq!(service.connections.load(Ordering::Relaxed), 1);
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_refused_with_what_is_missing() {
    let (database, service) = (database().await, Service::start().await);
    let narrow = HttpGrant {
        methods: vec!["GET".to_owned()],
        ..service.grant()
    };
    deploy(&database, &granting(vec![narrow])).await;
    let worker = worker(&database).await;
    let other_port = service.url("/echo").replace(&service.port.to_string(), "1");
    for (url, method, missing) in [
        (
            service.named("/echo"),
            "GET",
            format!(
                "add \"localhost:{}\" to `allow` under [http] in dacapo.toml",
                service.port
            ),
        ),
        (
            other_port,
            "GET",
            "requests to port 1 of 127.0.0.1 are not granted".to_owned(),
        ),
        (
            service.url("/echo"),
            "POST",
            "add \"POST\" to the `methods`".to_owned(),
        ),
        (
            "https://example.com/".to_owned(),
            "GET",
            "add \"example.com\" to `allow`".to_owned(),
        ),
    ] {
        let input = ask(&url, json!({ "method": method }));
        let said = output(&database, "fetch", &input).await;
        assert!(
            said.starts_with("not-granted: ") && said.contains(&missing),
            "{said}"
        );
        // The codes of WASI cannot say what, so the log does.
        let run = database.start("wasi-fetch", &input).await;
        let done = database.done(run).await;
        assert!(done.output.unwrap().as_str().contains("HttpRequestDenied"));
        let lines: Vec<String> =
            sqlx::query_scalar("select message from dacapo.log where run_id = $1")
                .bind(run.0)
                .fetch_all(database.store.pool())
                .await
                .unwrap();
        assert!(
            lines.iter().any(|line| line.contains(&missing)),
            "{lines:?}"
        );
    }
    assert!(service.seen().is_empty());
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_without_a_manifest_reaches_nothing() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &Manifest::default()).await;
    let worker = worker(&database).await;
    for workflow in BOTH {
        let input = ask(&service.url("/echo"), json!({}));
        let run = database.start(workflow, &input).await;
        let why = blocked(&database, run).await;
        assert_eq!(why["code"], "not-granted");
        database.client.cancel(run).await.unwrap();
        database.done(run).await;
    }
    assert!(service.seen().is_empty());
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lacks_a_grant_goes_on_when_a_deployment_that_has_it_takes_it_over() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &Manifest::default()).await;
    let worker = worker(&database).await;
    let run = database
        .start("fetch", &ask(&service.url("/echo"), bearer()))
        .await;
    let why = blocked(&database, run).await;
    let missing = format!("add \"127.0.0.1:{}\" to `allow`", service.port);
    assert!(why["message"].as_str().unwrap().contains(&missing), "{why}");
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("dacapo.toml");
    let gate = dacapo_tests::guest_path("gate").display().to_string();
    let file = manifest.display().to_string();
    let upgrade = async |text: String| {
        std::fs::write(&manifest, text).unwrap();
        let deploy = [
            "deploy",
            gate.as_str(),
            "--manifest",
            file.as_str(),
            "--upgrade",
            "proven",
        ];
        let output = crate::command::run(&database, &deploy).await;
        let said = crate::command::text(&output.stdout);
        assert!(said.contains("1 of them go on"), "{said}");
    };
    // The host alone is not all that it lacks.
    let port = service.port;
    upgrade(format!("[http]\nallow = [\"127.0.0.1:{port}\"]\n")).await;
    let waits = "select count(*) = 1 from dacapo.task_suspended where blocked like '%secret `key` is not granted%'";
    database.until("it is blocked for the secret", waits).await;
    upgrade(format!(
        "[http]\nallow = [\"127.0.0.1:{port}\"]\notherwise = \"fail\"\n"
    ))
    .await;
    let done = database.done(run).await;
    let said = done.output.unwrap();
    assert!(
        said.as_str().contains("not-granted: secret `key`"),
        "{said:?}"
    );
    assert!(service.seen().is_empty());
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_longer_than_it_may_be_is_a_failure() {
    let (database, service) = (database().await, Service::start().await);
    let mut manifest = granting(vec![service.grant()]);
    manifest.http.as_mut().unwrap().response_max_bytes = Some(1_000);
    deploy(&database, &manifest).await;
    let worker = worker(&database).await;
    let long = ask(&service.url("/bytes/1001"), json!({}));
    let said = output(&database, "fetch", &long).await;
    assert!(
        said.starts_with("http-too-large: ") && said.contains("1000 bytes"),
        "{said}"
    );
    let said = output(&database, "wasi-fetch", &long).await;
    assert!(said.contains("HttpResponseBodySize(Some(1000))"), "{said}");
    for workflow in BOTH {
        let said = output(
            &database,
            workflow,
            &ask(&service.url("/bytes/1000"), json!({})),
        )
        .await;
        assert_eq!(said.len(), 1_004, "{workflow}");
    }
    // The code may ask for less, and not for more.
    let less = ask(&service.url("/bytes/1000"), json!({ "responseMax": 999 }));
    assert!(
        output(&database, "fetch", &less)
            .await
            .starts_with("http-too-large: ")
    );
    let more = ask(&service.url("/bytes/1001"), json!({ "responseMax": 5_000 }));
    assert!(
        output(&database, "fetch", &more)
            .await
            .starts_with("http-too-large: ")
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_ends_by_a_time_limit() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &granting(vec![service.grant()])).await;
    let worker = worker(&database).await;
    for path in ["/stuck", "/drip"] {
        let own = ask(&service.url(path), json!({ "timeoutMs": 100 }));
        let said = output(&database, "fetch", &own).await;
        assert!(said.starts_with("http-timeout: "), "{said}");
        // The step's time-out ends it through both interfaces.
        let of_step = ask(&service.url(path), json!({ "stepTimeoutMs": 100 }));
        for workflow in BOTH {
            let said = output(&database, workflow, &of_step).await;
            assert!(said.starts_with("timeout: "), "{workflow}: {said}");
        }
    }
    let mut manifest = granting(vec![service.grant()]);
    manifest.http.as_mut().unwrap().timeout_ms = Some(100);
    deploy(&database, &manifest).await;
    for path in ["/stuck", "/drip"] {
        // The code may ask for less, and not for more.
        let longer = ask(&service.url(path), json!({ "timeoutMs": 60_000 }));
        assert!(
            output(&database, "fetch", &longer)
                .await
                .starts_with("http-timeout: ")
        );
        let said = output(&database, "wasi-fetch", &longer).await;
        assert!(said.contains("HttpResponseTimeout"), "{said}");
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_the_time_that_its_guest_or_its_manifest_says() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &granting(vec![service.grant()])).await;
    let config = WorkerConfig {
        outbound: OutboundConfig {
            timeout_ms: 100,
            ..OutboundConfig::default()
        },
        ..WorkerConfig::default()
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let late = |more: Value| ask(&service.url("/late"), more);
    let said = output(&database, "fetch", &late(json!({}))).await;
    assert!(said.starts_with("http-timeout: "), "{said}");
    let said = output(&database, "wasi-fetch", &late(json!({}))).await;
    assert!(said.contains("HttpResponseTimeout"), "{said}");
    for own in [
        "connectTimeoutMs",
        "firstByteTimeoutMs",
        "betweenBytesTimeoutMs",
    ] {
        let said = output(&database, "wasi-fetch", &late(json!({ own: 60_000 }))).await;
        assert_eq!(said, "200 late", "{own}");
    }
    let brief = ask(
        &service.url("/drip"),
        json!({ "firstByteTimeoutMs": 60_000, "betweenBytesTimeoutMs": 100 }),
    );
    let said = output(&database, "wasi-fetch", &brief).await;
    assert!(said.contains("ConnectionReadTimeout"), "{said}");

    let mut manifest = granting(vec![service.grant()]);
    manifest.http.as_mut().unwrap().timeout_ms = Some(60_000);
    deploy(&database, &manifest).await;
    for workflow in BOTH {
        let said = output(&database, workflow, &late(json!({}))).await;
        assert_eq!(said, "200 late", "{workflow}");
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_not_sent_on_when_its_step_has_ended() {
    let database = database().await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let grant = HttpGrant::parse(&address).unwrap();
    deploy(&database, &granting(vec![grant])).await;
    let worker = worker(&database).await;
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut came = Vec::new();
        while !came.ends_with(b"one\r\n") {
            came.push(stream.read_u8().await.unwrap());
        }
        // The head of a response that never ends.
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        // One that is reset is closed, too.
        let _ = stream.read_to_end(&mut came).await;
        String::from_utf8(came).unwrap()
    });
    let url = json!(format!("http://{address}/upload")).to_string();
    output(&database, "wasi-lingers", &url).await;
    let came = served.await.unwrap();
    assert!(came.contains("one") && !came.contains("two"), "{came}");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_only_so_many_requests_under_way() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &granting(vec![service.grant()])).await;
    let worker = worker(&database).await;
    let flood = |count: u32| json!({ "url": service.url("/stuck"), "count": count }).to_string();
    let said = output(&database, "wasi-floods", &flood(1_000)).await;
    assert!(said.starts_with("64 "), "{said}");
    assert!(said.contains("64 requests are under way"), "{said}");
    assert_eq!(output(&database, "wasi-floods", &flood(64)).await, "64");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_outside_of_a_step_ends_the_run_and_says_where_it_belongs() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &granting(vec![service.grant()])).await;
    let worker = worker(&database).await;
    let url = json!(service.url("/echo")).to_string();
    for (workflow, call, input) in [
        ("fetch-outside", "http.fetch", url.as_str()),
        (
            "wasi-fetch-outside",
            "wasi:http/outgoing-handler.handle",
            url.as_str(),
        ),
        ("reveals-outside", "secrets.reveal", "\"key\""),
    ] {
        let run = database.start(workflow, input).await;
        let failure = database.done(run).await.failure.unwrap();
        assert_eq!(failure.code, "misuse", "{workflow}: {failure:?}");
        assert!(
            failure
                .message
                .starts_with(&format!("`{call}` was called outside of a step"))
                && failure.message.contains("step(...)"),
            "{}",
            failure.message
        );
    }
    // A response does not outlive its step, either.
    let said = output(&database, "wasi-smuggles", &url).await;
    assert!(said.contains("ConnectionTerminated"), "{said}");
    assert!(service.seen().len() <= 1);
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_has_one_idempotency_key_over_all_its_attempts() {
    let (database, service) = (database().await, Service::start().await);
    let mut manifest = granting(vec![service.grant()]);
    manifest.http.as_mut().unwrap().idempotency_header = Some("X-Once".to_owned());
    deploy(&database, &manifest).await;
    let worker = worker(&database).await;
    let input = ask(
        &service.url("/echo"),
        json!({ "idempotent": true, "attempts": 3 }),
    );
    for (workflow, header) in [("fetch", "idempotency-key"), ("wasi-fetch", "x-once")] {
        let before = service.seen().len();
        let run = database.start(workflow, &input).await;
        assert_eq!(database.done(run).await.status, Status::Completed);
        let seen = service.seen();
        let keys: Vec<Option<&str>> = seen[before..]
            .iter()
            .map(|seen| seen.header(header))
            .collect();
        let key = format!("{run}/ask#1");
        assert_eq!(keys, [Some(key.as_str()); 3], "{workflow}");
    }
    let run = database.start("keys", "null").await;
    let done = database.done(run).await;
    let keys: Vec<String> = serde_json::from_str(done.output.unwrap().as_str()).unwrap();
    let tried = format!("{run}/tried%20zw%C3%B6lf%20times#1");
    assert_eq!(keys, ["none", &tried, &format!("{run}/other#1")]);
    assert_eq!(
        effects(&database, run).await,
        [format!("effect {tried}"), format!("effect {tried}")]
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_clock_writes_nothing() {
    let database = database().await;
    deploy(&database, &Manifest::default()).await;
    let worker = worker(&database).await;
    let run = database.start("read-clocks", "1000").await;
    let done = database.done(run).await;
    // Outside of steps time stands still.
    assert_eq!(done.output.unwrap().as_str(), "1");
    assert_eq!(database.count("select count(*) from dacapo.step").await, 0);
    assert_eq!(database.count("select count(*) from dacapo.log").await, 0);
    worker.drain().await.unwrap();
}
