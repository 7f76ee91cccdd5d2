//! Queues, and what is stopped in an incident.

use axum::Json;
use axum::response::{IntoResponse, Response};
use dacapo_client::{LimitChange, QueueChange, Rate};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Body, MaybeBody, Path};
use super::schema;
use crate::{App, Problem};

/// How the queue of a path is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct OfQueue {
    /// The queue's name
    queue: String,
}

/// The limits of a queue: those that are left out stay as they are, and `null` takes a limit away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Runs on their way at the same time, at most
    #[serde(deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000000)]
    concurrency: Option<Option<u32>>,
    /// The same for the runs of one concurrency key
    #[serde(deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000000)]
    concurrency_per_key: Option<Option<u32>>,
    /// Runs that begin within any stretch of time of a length, at most
    #[serde(deserialize_with = "said")]
    #[schema(value_type = Option<schema::Rate>)]
    rate: Option<Option<Rate>>,
    /// The same for the runs of one concurrency key
    #[serde(deserialize_with = "said")]
    #[schema(value_type = Option<schema::Rate>)]
    rate_per_key: Option<Option<Rate>>,
}

/// What is there, `null` included.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

fn change<T>(said: Option<Option<T>>) -> LimitChange<T> {
    match said {
        None => LimitChange::Keep,
        Some(None) => LimitChange::Remove,
        Some(Some(limit)) => LimitChange::Set(limit),
    }
}

/// Lists the queues, and says whether everything is paused
#[utoipa::path(
    get,
    path = "/queues",
    tag = "queues",
    operation_id = "listQueues",
    responses((status = 200, description = "The named queues, by name", body = schema::Queues)),
    extensions(("x-role" = json!("read"))),
)]
pub(crate) async fn list(app: App) -> Result<Response, Problem> {
    let client = app.client();
    let (queues, standstill) = (client.queues().await?, client.standstill().await?);
    Ok(Json(json!({ "queues": queues, "allPaused": standstill })).into_response())
}

/// Shows a queue
#[utoipa::path(
    get,
    path = "/queues/{queue}",
    tag = "queues",
    operation_id = "getQueue",
    params(OfQueue),
    responses((status = 200, description = "The queue", body = schema::Queue)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["queue-not-found", "bad-argument"]))),
)]
pub(crate) async fn get(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    Ok(Json(app.client().queue(&name).await?).into_response())
}

/// Makes a queue, or changes the limits of one that is there
#[utoipa::path(
    patch,
    path = "/queues/{queue}",
    tag = "queues",
    operation_id = "setQueue",
    params(OfQueue),
    request_body = Limits,
    responses((status = 200, description = "The queue as it is now", body = schema::Queue)),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["bad-argument"]))),
)]
pub(crate) async fn set(
    app: App,
    Path(name): Path<String>,
    Body(limits): Body<Limits>,
) -> Result<Response, Problem> {
    let change = QueueChange {
        concurrency: change(limits.concurrency),
        concurrency_per_key: change(limits.concurrency_per_key),
        rate: change(limits.rate),
        rate_per_key: change(limits.rate_per_key),
    };
    Ok(Json(app.client().set_queue(&name, change).await?).into_response())
}

/// Takes a queue away that no active run is in
#[utoipa::path(
    delete,
    path = "/queues/{queue}",
    tag = "queues",
    operation_id = "deleteQueue",
    params(OfQueue),
    responses((status = 200, description = "It is gone", body = schema::QueueDeleted)),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["queue-not-found", "queue-in-use", "bad-argument"])),
    ),
)]
pub(crate) async fn delete(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    app.client().delete_queue(&name).await?;
    Ok(Json(json!({ "queue": name, "deleted": true })).into_response())
}

/// Lets workers take no more runs of a queue
///
/// Those that are played go back at their next step or wait. One that is paused stays so.
#[utoipa::path(
    post,
    path = "/queues/{queue}/pause",
    tag = "queues",
    operation_id = "pauseQueue",
    params(OfQueue),
    responses((status = 200, description = "The queue, which is paused", body = schema::Queue)),
    extensions(("x-role" = json!("operate")), ("x-problems" = json!(["queue-not-found", "bad-argument"]))),
)]
pub(crate) async fn pause(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    app.client().pause_queue(&name).await?;
    Ok(Json(app.client().queue(&name).await?).into_response())
}

/// Lets a paused queue go on
#[utoipa::path(
    post,
    path = "/queues/{queue}/resume",
    tag = "queues",
    operation_id = "resumeQueue",
    params(OfQueue),
    responses((status = 200, description = "The queue, which is open", body = schema::Queue)),
    extensions(("x-role" = json!("operate")), ("x-problems" = json!(["queue-not-found", "bad-argument"]))),
)]
pub(crate) async fn resume(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    app.client().resume_queue(&name).await?;
    Ok(Json(app.client().queue(&name).await?).into_response())
}

/// Says whether workers are kept from taking runs
#[utoipa::path(
    get,
    path = "/standstill",
    tag = "queues",
    operation_id = "getStandstill",
    responses((status = 200, description = "Since when and why, or `null`", body = schema::AllPaused)),
    extensions(("x-role" = json!("read"))),
)]
pub(crate) async fn standstill(app: App) -> Result<Response, Problem> {
    all(&app).await
}

/// Why everything is paused.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct StandstillReason {
    /// Why, for whoever finds everything paused
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// Keeps all workers from taking runs, of every queue and every namespace
#[utoipa::path(
    put,
    path = "/standstill",
    tag = "queues",
    operation_id = "beginStandstill",
    request_body(content = Option<StandstillReason>),
    responses((status = 200, description = "Everything is paused", body = schema::AllPaused)),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["bad-argument"]))),
)]
pub(crate) async fn begin_standstill(
    app: App,
    MaybeBody(why): MaybeBody<StandstillReason>,
) -> Result<Response, Problem> {
    app.client().begin_standstill(why.reason.as_deref()).await?;
    all(&app).await
}

/// Lets workers take runs again; queues and workflows that were paused by themselves stay so
#[utoipa::path(
    delete,
    path = "/standstill",
    tag = "queues",
    operation_id = "endStandstill",
    responses((status = 200, description = "Workers take runs", body = schema::AllPaused)),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn end_standstill(app: App) -> Result<Response, Problem> {
    app.client().end_standstill().await?;
    all(&app).await
}

async fn all(app: &App) -> Result<Response, Problem> {
    let standstill = app.client().standstill().await?;
    Ok(Json(json!({ "allPaused": standstill })).into_response())
}
