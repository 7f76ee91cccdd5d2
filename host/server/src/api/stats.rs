//! How everything stands, and who works.

use axum::Json;
use axum::response::{IntoResponse, Response};
use dacapo_client::{QueueDepth, RunFilter};
use serde_json::{Value, json};

use super::schema;
use crate::{App, Problem};

/// Rows of each kind that are counted for a queue.
const COUNTED_MAX: u32 = 10_000;

/// Says how many runs there are in each status, what waits in the queues and for how long, and how many workers there are
///
/// Not for a token with a scope: what it sees is counted by `GET /runs/count`.
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
    let runs = client.count(RunFilter::default()).await?;
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
