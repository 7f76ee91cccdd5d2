//! `GET /metrics`: what this process counts, and how much waits for workers, for Prometheus.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use dacapo_client::{Backlog, Client};
use metrics::{Unit, gauge};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{Caller, Problem};

/// Writes down all that the process counts, in Prometheus' text format.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// The database is asked so often at most, however often somebody scrapes.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// What is counted here is worth having also while the database does not answer.
const SAMPLE_MAX: Duration = Duration::from_secs(3);

/// Where it is.
pub(crate) const PATH: &str = "/metrics";

const DEPTH: &str = "dacapo_queue_depth";
const OLDEST: &str = "dacapo_queue_oldest_age_seconds";
const WORKERS: &str = "dacapo_workers";
const RUNNING: &str = "dacapo_runs_leased";
const BLOCKED: &str = "dacapo_blocked_runs";
const ANSWERS: &str = "dacapo_database_answers";

struct Scrape {
    render: Render,
    client: Client,
    last: Mutex<Option<Sample>>,
}

/// What the database said last.
struct Sample {
    at: Instant,
    /// Namespaces and names of queues: one that is gone must not be shown as it last was.
    queues: BTreeSet<(String, String)>,
}

/// The route `/metrics`, over a recorder that is installed.
pub fn metrics(render: Render, client: Client) -> Router {
    metrics::describe_gauge!(
        DEPTH,
        Unit::Count,
        "Runs that wait for a worker or for their turn, up to 100,000; `default` is what is in no named queue."
    );
    metrics::describe_gauge!(
        OLDEST,
        Unit::Seconds,
        "For how long the first in line has waited; 0: nobody waits."
    );
    metrics::describe_gauge!(WORKERS, Unit::Count, "Workers whose lease is not over.");
    metrics::describe_gauge!(RUNNING, Unit::Count, "Runs that workers hold.");
    metrics::describe_gauge!(
        BLOCKED,
        Unit::Count,
        "Runs that stand still until somebody mends what blocks them, up to 100,000."
    );
    metrics::describe_gauge!(
        ANSWERS,
        Unit::Count,
        "1 if the database answered when the metrics that come from it were last wanted, else 0."
    );
    let scrape = Scrape {
        render,
        client,
        last: Mutex::new(None),
    };
    Router::new()
        .route(PATH, get(scraped))
        .with_state(Arc::new(scrape))
}

/// A worker asks nobody who they are; behind a gate there is a caller, who must see everything that is counted here.
async fn scraped(State(scrape): State<Arc<Scrape>>, caller: Option<Extension<Caller>>) -> Response {
    if let Some(Extension(caller)) = caller
        && let Err(error) = caller.client().check_sees_all()
    {
        return Problem::from(error).into_response();
    }
    scrape.sample().await;
    let format = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (format, (scrape.render)()).into_response()
}

impl Scrape {
    async fn sample(&self) {
        let mut last = self.last.lock().await;
        if last
            .as_ref()
            .is_some_and(|sample| sample.at.elapsed() < SAMPLE_EVERY)
        {
            return;
        }
        let backlog = tokio::time::timeout(SAMPLE_MAX, self.client.backlog()).await;
        let Ok(Ok(backlog)) = backlog else {
            gauge!(ANSWERS).set(0);
            return;
        };
        gauge!(ANSWERS).set(1);
        let known = last.take().map(|sample| sample.queues).unwrap_or_default();
        *last = Some(Sample {
            at: Instant::now(),
            queues: show(backlog, &known),
        });
    }
}

/// Shows how much waits, and nothing for queues that were known and are gone. Answers those that there are.
fn show(backlog: Backlog, known: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    gauge!(WORKERS).set(backlog.workers as f64);
    gauge!(RUNNING).set(backlog.running as f64);
    gauge!(BLOCKED).set(backlog.blocked as f64);
    let mut queues = BTreeSet::new();
    for line in backlog.queues {
        let name = (line.namespace, line.queue);
        let oldest = line.oldest.unwrap_or_default().as_secs_f64();
        show_queue(&name, line.depth as f64, oldest);
        queues.insert(name);
    }
    for gone in known.difference(&queues) {
        show_queue(gone, 0.0, 0.0);
    }
    queues
}

fn show_queue((namespace, queue): &(String, String), depth: f64, oldest: f64) {
    let labels = [("namespace", namespace.clone()), ("queue", queue.clone())];
    gauge!(DEPTH, &labels).set(depth);
    gauge!(OLDEST, &labels).set(oldest);
}
