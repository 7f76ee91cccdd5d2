//! What workers tell to those who watch them: metrics, and runs as traces.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use dacapo_client::{QueueChange, StartOptions};
use dacapo_model::Status;
use dacapo_tests::{Dacapo, Database, database};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::check::sound;

const PLACE: &str = "shop:orders/orders.place";
const ORDER: &str = r#"{"number": 7, "customer": "Ada", "items": [{"sku": "tea", "quantity": 2}, {"sku": "cup", "quantity": 1}]}"#;

/// An order that is placed, paid and shipped: a failed attempt, an event, branches and a child.
async fn order(database: &Database, options: StartOptions) -> dacapo_client::Run {
    let started = database.client.start_by_name("place", ORDER, options);
    let run = started.await.unwrap().id;
    database
        .until(
            "the order waits to be paid",
            "select count(*) > 0 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    let paid = r#"{"reference": "bank-1"}"#;
    let sent = database.client.send_event(run, "paid", paid, None);
    sent.await.unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    done
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The body of an answer to a request that must be answered with 200.
async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

/// A port that nobody listens at.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

/// What a process shows at `/metrics`: values by names with labels.
async fn scrape(address: &str) -> BTreeMap<String, f64> {
    get(address, "/metrics")
        .await
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_shows_what_it_counts_and_what_waits() {
    let database = database().await;
    database.deploy("order").await;
    let address = free_address();
    let worker = Dacapo::on(&database)
        .arg("--listen")
        .arg(&address)
        .worker()
        .await;
    let queue = database.client.set_queue("slow", QueueChange::default());
    queue.await.unwrap();
    database.client.pause_queue("slow").await.unwrap();
    for _ in 0..3 {
        let options = StartOptions::default().queue("slow");
        let started = database.client.start_by_name("place", ORDER, options);
        started.await.unwrap();
    }
    order(&database, StartOptions::default()).await;

    let shown = scrape(&address).await;
    let value = |name: &str| match shown.get(name) {
        Some(value) => *value,
        None => panic!("{name} is not among {:#?}", shown.keys()),
    };
    let place = |name: &str, more: &str| value(&format!("{name}{{workflow=\"{PLACE}\"{more}}}"));
    assert_eq!(
        place("dacapo_runs_ended_total", ",status=\"completed\""),
        1.0
    );
    assert_eq!(place("dacapo_runs_ended_total", ",status=\"failed\""), 0.0);
    // reserve, charge, and a pick for each of two items.
    assert_eq!(place("dacapo_steps_total", ",outcome=\"ok\""), 4.0);
    assert_eq!(place("dacapo_attempts_total", ",outcome=\"ok\""), 4.0);
    assert_eq!(place("dacapo_attempts_total", ",outcome=\"failed\""), 1.0);
    assert_eq!(place("dacapo_children_started_total", ""), 1.0);
    // The payment; the end of the child is none.
    assert_eq!(place("dacapo_events_received_total", ""), 1.0);
    assert!(place("dacapo_replays_total", "") >= 2.0);
    assert!(place("dacapo_replayed_entries_total", "") >= 4.0);
    assert_eq!(
        value("dacapo_queue_depth{namespace=\"default\",queue=\"slow\"}"),
        3.0
    );
    assert!(
        value("dacapo_queue_oldest_age_seconds{namespace=\"default\",queue=\"slow\"}") > 0.0,
        "{shown:#?}"
    );
    assert_eq!(
        value("dacapo_queue_depth{namespace=\"\",queue=\"default\"}"),
        0.0
    );
    assert_eq!(value("dacapo_workers"), 1.0);
    assert_eq!(value("dacapo_blocked_runs"), 0.0);
    assert_eq!(value("dacapo_runs_playing"), 0.0);
    assert_eq!(value("dacapo_database_answers"), 1.0);
    assert_eq!(value("dacapo_runs_suspended_total{reason=\"event\"}"), 1.0);
    let loads = shown
        .iter()
        .filter(|(name, _)| name.starts_with("dacapo_deployment_load_seconds_count"));
    assert_eq!(loads.map(|(_, loads)| loads).sum::<f64>(), 1.0);
    assert_eq!(value("dacapo_event_lag_seconds_count"), 1.0);
    for some in [
        "dacapo_claim_seconds_count",
        "dacapo_commit_seconds_count",
        "dacapo_commit_runs_count",
        "dacapo_step_seconds_count",
        "dacapo_instantiation_seconds_count",
        "dacapo_ready_lag_seconds_count",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(value(some) > 0.0, "{some}: {}", value(some));
    }
    // Buckets, and not quantiles of one process, which nobody can add up.
    assert!(shown.contains_key("dacapo_commit_seconds_bucket{le=\"+Inf\"}"));
    drop(worker);
    sound(&database).await;
}

/// All names of metrics of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("dacapo_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_for_programs_is_an_object_in_each_line() {
    let database = database().await;
    let mut worker = Dacapo::on(&database)
        .arg("--log-format")
        .arg("json")
        .env("DACAPO_LOG", "debug")
        .worker()
        .await;
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    for _ in 0..2 {
        let line = worker.says("").await;
        let said: serde_json::Value = serde_json::from_str(&line).expect(&line);
        let level = said["level"].as_str().unwrap();
        assert!(["DEBUG", "INFO", "WARN"].contains(&level), "{line}");
        assert!(
            said["timestamp"].is_string() && said["fields"]["message"].is_string(),
            "{line}"
        );
    }
    assert!(worker.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_drawn_and_watched_is_what_workers_show() {
    let database = database().await;
    let address = free_address();
    let worker = Dacapo::on(&database)
        .arg("--listen")
        .arg(&address)
        .arg("--otlp-endpoint")
        .arg(&format!("http://{}", free_address()))
        .worker()
        .await;
    let text = get(&address, "/metrics").await;
    let known: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .map(str::to_owned)
        .chain(dacapo_worker::metric_names().map(str::to_owned))
        .collect();
    for file in ["grafana.json", "alerts.yaml"] {
        let file = root().join("deploy/monitoring").join(file);
        let drawn = std::fs::read_to_string(&file).unwrap();
        let used = names(&drawn);
        assert!(used.len() > 5, "{} uses {used:?}", file.display());
        for name in used {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let is_known = known.contains(&name)
                || base.is_some_and(|base| known.contains(base) && base.ends_with("_seconds"))
                || base == Some("dacapo_commit_runs");
            assert!(is_known, "{}: nothing shows {name}", file.display());
        }
    }
    let documented = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let documented = names(&documented);
    for name in known.iter().filter(|name| name.starts_with("dacapo_")) {
        assert!(
            documented.contains(name.as_str()),
            "docs/metrics.md does not say what {name} is"
        );
    }
    drop(worker);
}

/// A collector of spans.
struct Collector {
    address: String,
    taken: Arc<Taken>,
}

#[derive(Default)]
struct Taken {
    spans: Mutex<Vec<Span>>,
    more: Notify,
}

impl Collector {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let taken = Arc::<Taken>::default();
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&taken));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, taken }
    }

    /// The spans, once there are as many of runs.
    async fn spans(&self, runs: usize) -> Vec<Span> {
        loop {
            let more = self.taken.more.notified();
            let spans = self.taken.spans.lock().unwrap().clone();
            let ended = spans
                .iter()
                .filter(|span| attribute(span, "dacapo.run.status").is_some());
            if ended.count() >= runs {
                return spans;
            }
            more.await;
        }
    }
}

async fn take(State(taken): State<Arc<Taken>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = taken.spans.lock().unwrap();
    for resource in request.resource_spans {
        let named = resource.resource.unwrap().attributes;
        let service = named.iter().find(|named| named.key == "service.name");
        assert!(format!("{service:?}").contains("\"dacapo\""), "{service:?}");
        spans.extend(
            resource
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans),
        );
    }
    taken.more.notify_one();
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let found = span.attributes.iter().find(|named| named.key == name)?;
    match &found.value.as_ref()?.value {
        Some(Value::StringValue(text)) => Some(text.clone()),
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_a_trace_from_its_starter_to_its_children_whoever_plays_it() {
    let (database, collector) = (database().await, Collector::start().await);
    database.deploy("order").await;
    let worker = Dacapo::on(&database)
        .arg("--otlp-endpoint")
        .arg(&format!("http://{}", collector.address))
        .worker()
        .await;
    let (trace, starter) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let options = StartOptions::default().label("traceparent", format!("00-{trace}-{starter}-01"));
    let run = order(&database, options).await;
    let spans = collector.spans(2).await;

    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert!(spans.iter().all(|span| hex(&span.trace_id) == trace));
    let only = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let only = found.next().unwrap_or_else(|| panic!("no span is {name}"));
        assert!(found.next().is_none(), "two spans are {name}");
        only
    };
    let place = only(PLACE);
    assert_eq!(hex(&place.parent_span_id), starter);
    assert_eq!(attribute(place, "dacapo.run.id"), Some(run.id.to_string()));
    let is_below = |child: &Span, parent: &Span| {
        assert_eq!(
            child.parent_span_id, parent.span_id,
            "{} of {}",
            child.name, parent.name
        );
        assert!(child.start_time_unix_nano <= child.end_time_unix_nano);
        assert!(child.start_time_unix_nano >= parent.start_time_unix_nano);
    };
    for name in [
        "reserve#1",
        "charge#1",
        "paid#1",
        "pick#1",
        "ship#1",
        "ship-end#1",
    ] {
        is_below(only(name), place);
    }
    for name in ["pick#1/0", "pick#1/1"] {
        is_below(only(name), only("pick#1"));
        is_below(only(&format!("{name}/pick#1")), only(name));
    }
    // Both attempts at the step that failed first, which different plays of the run made.
    let charge = only("charge#1");
    let mut attempts: Vec<&Span> = spans
        .iter()
        .filter(|span| span.name == "attempt" && span.parent_span_id == charge.span_id)
        .collect();
    attempts.sort_by_key(|span| span.start_time_unix_nano);
    let numbers = attempts
        .iter()
        .map(|span| attribute(span, "dacapo.attempt"));
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        [Some("1".to_owned()), Some("2".to_owned())]
    );
    let failed = attempts[0].status.as_ref().unwrap();
    assert_eq!(failed.code, 2, "{failed:?}");
    assert_eq!(
        attribute(attempts[0], "error.type"),
        Some("busy".to_owned())
    );
    // The child goes on where its parent started it.
    is_below(only("shop:orders/orders.ship"), only("ship#1"));
    drop(worker);
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_keeps_no_run_from_its_end() {
    let database = database().await;
    database.deploy("order").await;
    let (collector, metrics) = (free_address(), free_address());
    let mut worker = Dacapo::on(&database)
        .arg("--otlp-endpoint")
        .arg(&format!("http://{collector}"))
        .arg("--listen")
        .arg(&metrics)
        .worker()
        .await;
    order(&database, StartOptions::default()).await;
    worker.says("spans cannot be sent").await;
    let shown = scrape(&metrics).await;
    assert!(shown["dacapo_spans_dropped_total"] > 0.0);
    drop(worker);
}
