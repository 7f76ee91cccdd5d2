//! Schedules: workflows that are started by the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dacapo_client::{CatchUp, Existing, NewSchedule, Overlap, Timestamp, Trigger, When};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::extract::{About, Body, MaybeBody, Path, Priority};
use super::schema;
use crate::{App, Problem};

/// How the schedule of a path is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct OfSchedule {
    /// The schedule's name
    schedule: String,
}

/// A schedule to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewOne {
    /// Its name, unique within the namespace
    name: String,
    /// The workflow: its full name, or an end of it that is unique
    workflow: String,
    /// When: minute, hour, day of month, month and day of week; six fields have the second in front. This or `everySeconds`
    cron: Option<String>,
    /// The time zone of the cron expression; UTC if it is not said
    time_zone: Option<String>,
    /// When: at the multiples of this since 1970. This or `cron`
    #[schema(minimum = 1)]
    every_seconds: Option<u64>,
    /// The input of each run; `null` if it is left out
    #[schema(value_type = schema::Json, required = false)]
    input: Option<Box<RawValue>>,
    /// The labels of each run
    #[serde(default)]
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// The queue that each run waits in
    queue: Option<String>,
    /// The priority of each run; also `lowest`, `low`, `normal`, `high` or `highest`
    #[schema(value_type = Option<i16>, minimum = -100, maximum = 100)]
    priority: Option<Priority>,
    /// What the queue's limits per key go by
    #[schema(min_length = 1, max_length = 200)]
    concurrency_key: Option<String>,
    /// Delay each tick by a share of this that is its own, but never beyond the next tick
    #[serde(default)]
    #[schema(required = false, maximum = 86400000)]
    jitter_ms: u64,
    /// What becomes of a tick that comes while the run of an earlier one is active; `skip` if it is not said
    #[schema(value_type = Option<schema::Overlap>)]
    overlap: Option<Overlap>,
    /// What becomes of ticks that were missed while no worker was there; `one` if it is not said
    #[schema(value_type = Option<schema::CatchUp>)]
    catch_up: Option<CatchUp>,
    /// Make it paused
    #[serde(default)]
    #[schema(required = false)]
    paused: bool,
}

impl NewOne {
    fn schedule(self, existing: Existing) -> Result<NewSchedule, Problem> {
        let when = match (self.cron, self.every_seconds, self.time_zone) {
            (Some(expression), None, zone) => When::Cron {
                expression,
                time_zone: zone.unwrap_or_else(|| "UTC".to_owned()),
            },
            (None, Some(seconds), None) => When::Every(Duration::from_secs(seconds)),
            _ => {
                return Err(Problem::bad_request(
                    "body: expected cron, with a timeZone or without, or everySeconds",
                ));
            }
        };
        let new = NewSchedule::new(self.name, self.workflow, when);
        Ok(NewSchedule {
            input: self.input.map_or_else(
                || "null".to_owned(),
                |input| String::from(Box::<str>::from(input)),
            ),
            labels: self.labels,
            queue: self.queue,
            priority: self.priority.map(|Priority(priority)| priority),
            concurrency_key: self.concurrency_key,
            jitter: Duration::from_millis(self.jitter_ms),
            overlap: self.overlap.unwrap_or(new.overlap),
            catch_up: self.catch_up.unwrap_or(new.catch_up),
            paused: self.paused,
            existing,
            ..new
        })
    }
}

/// Lists schedules
#[utoipa::path(
    get,
    path = "/schedules",
    tag = "schedules",
    operation_id = "listSchedules",
    responses((status = 200, description = "The schedules, by name", body = Vec<schema::Schedule>)),
    extensions(("x-role" = json!("read"))),
)]
pub(crate) async fn list(app: App) -> Result<Response, Problem> {
    Ok(Json(app.client().schedules().await?).into_response())
}

/// Makes a schedule
#[utoipa::path(
    post,
    path = "/schedules",
    tag = "schedules",
    operation_id = "createSchedule",
    request_body = NewOne,
    responses((status = 201, description = "It is made", body = schema::Schedule)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!([
            "unknown-workflow", "ambiguous-workflow", "bad-input", "bad-argument", "queue-not-found", "schedule-exists",
        ])),
    ),
)]
pub(crate) async fn create(
    app: App,
    about: About,
    Body(new): Body<NewOne>,
) -> Result<Response, Problem> {
    about.is(&new.name);
    let new = new.schedule(Existing::Refuse)?;
    let schedule = app.client().create_schedule(new).await?;
    Ok((StatusCode::CREATED, Json(schedule)).into_response())
}

/// Makes a schedule, or gives the one of this name another definition
///
/// Its past, and whether it is paused, stay.
#[utoipa::path(
    put,
    path = "/schedules/{schedule}",
    tag = "schedules",
    operation_id = "replaceSchedule",
    params(OfSchedule),
    request_body = NewOne,
    responses((status = 200, description = "The schedule as it is now", body = schema::Schedule)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["unknown-workflow", "ambiguous-workflow", "bad-input", "bad-argument", "queue-not-found"])),
    ),
)]
pub(crate) async fn replace(
    app: App,
    Path(name): Path<String>,
    Body(new): Body<NewOne>,
) -> Result<Response, Problem> {
    if new.name != name {
        return Err(Problem::bad_request(format!(
            "body: name: expected {name:?} as in the path, got {:?}",
            new.name
        )));
    }
    let new = new.schedule(Existing::Replace)?;
    Ok(Json(app.client().create_schedule(new).await?).into_response())
}

/// Shows a schedule, with the ticks that come
#[utoipa::path(
    get,
    path = "/schedules/{schedule}",
    tag = "schedules",
    operation_id = "getSchedule",
    params(OfSchedule),
    responses((status = 200, description = "The schedule", body = schema::Schedule)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["schedule-not-found", "bad-argument"]))),
)]
pub(crate) async fn get(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    Ok(Json(app.client().schedule(&name).await?).into_response())
}

/// Takes a schedule away; its runs stay
#[utoipa::path(
    delete,
    path = "/schedules/{schedule}",
    tag = "schedules",
    operation_id = "deleteSchedule",
    params(OfSchedule),
    responses((status = 200, description = "It is gone", body = schema::ScheduleDeleted)),
    extensions(("x-role" = json!("operate")), ("x-problems" = json!(["schedule-not-found", "bad-argument"]))),
)]
pub(crate) async fn delete(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    app.client().delete_schedule(&name).await?;
    Ok(Json(json!({ "schedule": name, "deleted": true })).into_response())
}

/// Lets the ticks of a schedule pass without runs
#[utoipa::path(
    post,
    path = "/schedules/{schedule}/pause",
    tag = "schedules",
    operation_id = "pauseSchedule",
    params(OfSchedule),
    responses((status = 200, description = "The schedule, which is paused", body = schema::Schedule)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["schedule-not-found", "schedule-conflict", "bad-argument"])),
    ),
)]
pub(crate) async fn pause(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    Ok(Json(app.client().pause_schedule(&name).await?).into_response())
}

/// Lets a paused schedule go on with the next tick that comes
#[utoipa::path(
    post,
    path = "/schedules/{schedule}/resume",
    tag = "schedules",
    operation_id = "resumeSchedule",
    params(OfSchedule),
    responses((status = 200, description = "The schedule, which goes on", body = schema::Schedule)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["schedule-not-found", "schedule-conflict", "bad-argument"])),
    ),
)]
pub(crate) async fn resume(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    Ok(Json(app.client().resume_schedule(&name).await?).into_response())
}

/// Whether a run may overlap.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct TriggerBody {
    /// Also while its last run is active and its runs must not overlap
    #[schema(required = false)]
    force: bool,
}

/// Starts a run of a schedule now, beside its ticks
#[utoipa::path(
    post,
    path = "/schedules/{schedule}/trigger",
    tag = "schedules",
    operation_id = "triggerSchedule",
    params(OfSchedule),
    request_body(content = Option<TriggerBody>),
    responses((status = 201, description = "The run is started", body = schema::Triggered)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!([
            "schedule-not-found", "schedule-busy", "bad-argument", "unknown-workflow", "ambiguous-workflow", "bad-input", "queue-not-found",
            "redeployed",
        ])),
    ),
)]
pub(crate) async fn trigger(
    app: App,
    Path(name): Path<String>,
    MaybeBody(body): MaybeBody<TriggerBody>,
) -> Result<Response, Problem> {
    let trigger = match body.force {
        true => Trigger::Anyway,
        false => Trigger::UnlessActive,
    };
    let run = app.client().trigger_schedule(&name, trigger).await?;
    let body = json!({ "schedule": name, "run": run });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Which ticks of the past.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Backfill {
    /// The first time whose tick counts
    #[schema(value_type = schema::Time)]
    from: Timestamp,
    /// The time before which ticks count; not in the future
    #[schema(value_type = schema::Time)]
    until: Timestamp,
    /// Only answer the ticks
    #[serde(default)]
    #[schema(required = false)]
    dry_run: bool,
}

/// Starts the runs of ticks of the past; those that have a run get no second one
#[utoipa::path(
    post,
    path = "/schedules/{schedule}/backfill",
    tag = "schedules",
    operation_id = "backfillSchedule",
    params(OfSchedule),
    request_body = Backfill,
    responses((status = 200, description = "What was started", body = schema::Backfilled)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!([
            "schedule-not-found", "bad-argument", "unknown-workflow", "ambiguous-workflow", "bad-input", "queue-not-found", "redeployed",
        ])),
    ),
)]
pub(crate) async fn backfill(
    app: App,
    Path(name): Path<String>,
    Body(body): Body<Backfill>,
) -> Result<Response, Problem> {
    let client = app.client();
    if body.dry_run {
        let ticks = client.ticks_between(&name, body.from, body.until).await?;
        return Ok(Json(json!({ "ticks": ticks })).into_response());
    }
    let done = client
        .backfill_schedule(&name, body.from, body.until)
        .await?;
    Ok(Json(done).into_response())
}
