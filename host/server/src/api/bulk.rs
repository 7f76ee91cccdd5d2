//! Steering all runs that a filter finds.

use axum::Json;
use axum::response::{IntoResponse, Response};
use dacapo_client::{Change, ClientError, InBulk};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::extract::{About, Body, By, IdempotencyKey, Who};
use super::runs::Filter;
use super::schema;
use super::steer::{DeliveryHeader, RerunBody, SkipBody};
use crate::{App, Problem, Repair};

/// An event for many runs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EventForMany {
    /// Which runs; those that have ended take no events
    filter: Filter,
    /// The event's name
    name: String,
    /// What comes with it; `null` if it is left out
    #[schema(value_type = schema::Json, required = false)]
    payload: Option<Box<RawValue>>,
    /// The id of the delivery: who repeats it under the same id sends nothing twice; one is made if it is not said
    #[schema(max_length = 200)]
    id: Option<String>,
    /// Send nothing, and count the runs
    #[serde(default)]
    #[schema(required = false)]
    dry_run: bool,
}

/// Sends an event to all runs that a filter finds and that have not ended
#[utoipa::path(
    post,
    path = "/bulk/events",
    tag = "steering",
    operation_id = "sendEventToMany",
    params(DeliveryHeader),
    request_body = EventForMany,
    responses((status = 200, description = "What became of it", body = schema::SentToMany)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["bad-argument", "bad-payload", "too-large", "unknown-workflow", "ambiguous-workflow"])),
    ),
)]
pub(crate) async fn event(
    app: App,
    about: About,
    key: IdempotencyKey,
    Body(body): Body<EventForMany>,
) -> Result<Response, Problem> {
    let id = key.or(body.id)?;
    body.filter.tell(&about);
    let filter = body.filter.some()?;
    if body.dry_run {
        let runs = app.client().count_receivers(filter).await?;
        return Ok(Json(json!({ "runs": runs })).into_response());
    }
    let payload = body.payload.as_deref().map_or("null", RawValue::get);
    let mut done = app
        .client()
        .send_event_to_many(filter, &body.name, payload, id.as_deref())
        .await?;
    let problem = |error: Option<ClientError>| error.map(|error| Problem::from(error).json());
    let (refusal, stopped) = (problem(done.refusal.take()), problem(done.stopped.take()));
    let mut answer = serde_json::to_value(&done).unwrap_or_default();
    answer["refusal"] = refusal.unwrap_or_default();
    answer["stopped"] = stopped.unwrap_or_default();
    Ok(Json(answer).into_response())
}

/// Which runs are started again, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RerunMany {
    /// Which runs
    filter: Filter,
    /// Begin with this step, by its key
    from: Option<String>,
    /// On the deployments that the runs were on, and not on the active ones
    #[serde(default)]
    #[schema(required = false)]
    same_deployment: bool,
    /// Change nothing, and count the runs
    #[serde(default)]
    #[schema(required = false)]
    dry_run: bool,
}

/// Starts all runs again that a filter finds and that have ended or are blocked
#[utoipa::path(
    post,
    path = "/bulk/rerun",
    tag = "steering",
    operation_id = "rerunMany",
    params(By),
    request_body = RerunMany,
    responses((status = 200, description = "What became of them", body = schema::InBulk)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["bad-argument", "unknown-workflow", "ambiguous-workflow"])),
    ),
)]
pub(crate) async fn rerun(
    app: App,
    about: About,
    Who(who): Who,
    Body(body): Body<RerunMany>,
) -> Result<Response, Problem> {
    body.filter.tell(&about);
    let how = RerunBody::new(body.from, body.same_deployment);
    let change = Change::Rerun(how.options());
    in_bulk(&app, body.filter, &change, body.dry_run, &who).await
}

/// Which runs go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RetryMany {
    /// Which runs
    filter: Filter,
    /// Change nothing, and count the runs
    #[serde(default)]
    #[schema(required = false)]
    dry_run: bool,
}

/// Lets all failed runs that a filter finds go on from their failed steps
#[utoipa::path(
    post,
    path = "/bulk/retry",
    tag = "steering",
    operation_id = "retryMany",
    params(By),
    request_body = RetryMany,
    responses((status = 200, description = "What became of them", body = schema::InBulk)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["bad-argument", "unknown-workflow", "ambiguous-workflow"])),
    ),
)]
pub(crate) async fn retry(
    app: App,
    about: About,
    Who(who): Who,
    Body(body): Body<RetryMany>,
) -> Result<Response, Problem> {
    body.filter.tell(&about);
    in_bulk(&app, body.filter, &Change::Retry, body.dry_run, &who).await
}

/// Which runs go on without what they wait for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SkipMany {
    /// Which runs
    filter: Filter,
    /// The key of the step or wait; not needed if it is the only one that each run waits for
    step: Option<String>,
    /// The step's result or the event's payload, `null` if it is left out
    #[schema(value_type = schema::Json, required = false)]
    value: Option<Box<RawValue>>,
    /// Change nothing, and count the runs
    #[serde(default)]
    #[schema(required = false)]
    dry_run: bool,
}

/// Finishes what all runs wait for that a filter finds
#[utoipa::path(
    post,
    path = "/bulk/skip",
    tag = "steering",
    operation_id = "skipMany",
    params(By),
    request_body = SkipMany,
    responses((status = 200, description = "What became of them", body = schema::InBulk)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["bad-argument", "unknown-workflow", "ambiguous-workflow"])),
    ),
)]
pub(crate) async fn skip(
    app: App,
    about: About,
    Who(who): Who,
    Body(body): Body<SkipMany>,
) -> Result<Response, Problem> {
    body.filter.tell(&about);
    let change = Change::Skip(SkipBody::new(body.step, body.value).options());
    in_bulk(&app, body.filter, &change, body.dry_run, &who).await
}

async fn in_bulk(
    app: &App,
    filter: Filter,
    change: &Change,
    dry_run: bool,
    who: &str,
) -> Result<Response, Problem> {
    let filter = filter.some()?;
    if dry_run {
        let runs = app.client().count_changes(filter, change).await?;
        return Ok(Json(json!({ "runs": runs })).into_response());
    }
    let InBulk {
        changed,
        refused,
        stopped,
    } = app.client().change_many(filter, change, who).await?;
    let refused: Vec<Value> = refused
        .iter()
        .map(|(run, error)| json!({ "run": run, "code": error.code(), "message": error.to_string() }))
        .collect();
    let stopped = stopped.map(|error| Problem::from(error).json());
    let answer = json!({ "changed": changed, "refused": refused, "stopped": stopped });
    Ok(Json(answer).into_response())
}

/// Which runs go on with which code.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RepairMany {
    /// The package of the deployment with the mended code
    package: String,
    /// Its number
    #[schema(minimum = 1)]
    number: i32,
    /// Which of the failed and blocked runs; all if it is left out
    #[serde(default)]
    #[schema(required = false)]
    filter: Filter,
    /// Do it; else it is only said what would become of them
    #[serde(default)]
    #[schema(required = false)]
    apply: bool,
    /// Count runs as going on, too, that would come to a step which the manifest says was inserted
    #[serde(default)]
    #[schema(required = false)]
    accept_inserted: bool,
}

/// Plays failed and blocked runs over mended code, without any effect, and lets them go on
#[utoipa::path(
    post,
    path = "/bulk/repair",
    tag = "steering",
    operation_id = "repairMany",
    params(By),
    request_body = RepairMany,
    responses((status = 200, description = "What was found, and what became of them", body = Object)),
    extensions(
        ("x-role" = json!("deploy")),
        ("x-problems" = json!([
            "bad-argument", "unknown-workflow", "ambiguous-workflow", "deployment-not-found", "deployment-retired", "conflict", "not-here",
        ])),
    ),
)]
pub(crate) async fn repair(
    app: App,
    about: About,
    Who(who): Who,
    Body(body): Body<RepairMany>,
) -> Result<Response, Problem> {
    let code = app.code().ok_or_else(super::deployments::nobody_reads)?;
    about.is(format!("{}/{}", body.package, body.number));
    let repair = Repair {
        package: body.package,
        number: body.number,
        filter: body.filter.any(),
        apply: body.apply,
        accept_inserted: body.accept_inserted,
        who,
    };
    Ok(Json(code.repair(app.client(), repair).await?).into_response())
}
