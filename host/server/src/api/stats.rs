//! How everything stands, and who works.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use dacapo_client::{Client, ClientError, QueueDepth, RunFilter, Status};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::in_use::PATIENCE;
use super::schema;
use crate::{App, Problem};

/// Rows of each kind that are counted for a queue.
const COUNTED_MAX: u32 = 10_000;

/// Fewer runs are counted anew whenever somebody asks.
const MANY: u64 = 10_000;

/// More take at most this part of the time: somebody may ask each second, and others as well.
const REST_FACTOR: u32 = 20;

/// How many runs there were when they were counted last.
#[derive(Default)]
pub(crate) struct Counts(Mutex<Option<Counted>>);

struct Counted {
    began: Instant,
    /// Until then everybody is told this.
    until: Instant,
    counts: BTreeMap<Status, u64>,
}

impl Counts {
    async fn of(&self, client: &Client) -> Result<BTreeMap<Status, u64>, ClientError> {
        let asked = Instant::now();
        // Held while they are counted: whoever waits for that is given the same answer, if they were counted after it was asked for. Nobody
        // waits for long behind somebody else.
        let Ok(mut held) = timeout(PATIENCE, self.0.lock()).await else {
            return client.count(RunFilter::default()).await;
        };
        let began = Instant::now();
        if let Some(counted) = &*held
            && (began < counted.until || asked <= counted.began)
        {
            return Ok(counted.counts.clone());
        }
        let counts = client.count(RunFilter::default()).await?;
        let now = Instant::now();
        let are_many = counts.values().sum::<u64>() >= MANY;
        let rest = if are_many {
            (now - began) * REST_FACTOR
        } else {
            Duration::ZERO
        };
        *held = Some(Counted {
            began,
            until: now + rest,
            counts: counts.clone(),
        });
        Ok(counts)
    }
}

/// Says how many runs there are in each status, what waits in the queues and for how long, and how many workers there are
///
/// Of 10,000 runs or more the counts may be older: by as much as twenty times the time that counting takes. Not for a token with a scope: what it
/// sees is counted by `GET /runs/count`.
#[utoipa::path(
    get,
    path = "/stats",
    tag = "stats",
    operation_id = "getStats",
    responses((status = 200, description = "How everything stands", body = schema::Stats)),
    extensions(("x-role" = json!("read"))),
)]
pub(crate) async fn stats(app: App) -> Result<Response, Problem> {
    let client = app.client();
    client.check_sees_all()?;
    let runs = app.counts().of(client).await?;
    let queues = client.queue_depths(COUNTED_MAX).await?;
    let workers = client.workers().await?;
    let standstill = client.standstill().await?;
    let paused = client.paused_workflows().await?;
    let queues: Vec<Value> = queues.iter().map(depth).collect();
    let body = json!({
        "runs": runs,
        "queues": queues,
        "workersAlive": workers.iter().filter(|worker| worker.alive).count(),
        "allPaused": standstill,
        "pausedWorkflows": paused,
    });
    Ok(Json(body).into_response())
}

fn depth(queue: &QueueDepth) -> Value {
    let oldest_ms = queue
        .oldest
        .map(|oldest| (queue.now.as_millis() - oldest.as_millis()).max(0));
    json!({
        "name": queue.name,
        "waiting": queue.waiting,
        "running": queue.running,
        "oldestMs": oldest_ms,
    })
}

/// Lists the workers, of all namespaces
///
/// Also those that died and whose runs nobody has taken over yet. Not for a token with a scope.
#[utoipa::path(
    get,
    path = "/workers",
    tag = "stats",
    operation_id = "listWorkers",
    responses((status = 200, description = "The workers, by name", body = Vec<schema::Worker>)),
    extensions(("x-role" = json!("read"))),
)]
pub(crate) async fn workers(app: App) -> Result<Response, Problem> {
    Ok(Json(app.client().workers().await?).into_response())
}
