//! Steering one run: events, pause, resume, cancel, going back, notes.

use axum::Json;
use axum::response::{IntoResponse, Response};
use dacapo_client::{
    By as AskedBy, Cancelled, Killed, OnDeployment, Paused, RerunOptions, RunId, SentEvent,
    SkipOptions, Skipped,
};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Body, By, IdempotencyKey, MaybeBody, Path, Who};
use super::runs::OfRun;
use super::schema;
use crate::{App, Problem};

/// An event for a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Event {
    /// Its name
    name: String,
    /// What comes with it; `null` if it is left out
    #[schema(value_type = schema::Json, required = false)]
    payload: Option<Box<RawValue>>,
    /// An id for this delivery: the same id sent again is received once. The header Idempotency-Key says the same
    #[schema(max_length = 200)]
    id: Option<String>,
}

/// The header with the id of a delivery.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct DeliveryHeader {
    /// An id for this delivery: sent to the same run again, the event is received once
    #[param(rename = "Idempotency-Key", max_length = 200)]
    idempotency_key: Option<String>,
}

/// Sends an event to a run
#[utoipa::path(
    post,
    path = "/runs/{run}/events",
    tag = "steering",
    operation_id = "sendEvent",
    params(OfRun, DeliveryHeader),
    request_body = Event,
    responses((status = 200, description = "It is received", body = schema::EventSent)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["run-not-found", "conflict", "bad-argument", "bad-payload", "bad-event", "too-large"])),
    ),
)]
pub(crate) async fn event(
    app: App,
    Path(run): Path<RunId>,
    key: IdempotencyKey,
    Body(event): Body<Event>,
) -> Result<Response, Problem> {
    let id = key.or(event.id)?;
    let payload = event.payload.as_deref().map_or("null", RawValue::get);
    let sent = app
        .client()
        .send_event(run, &event.name, payload, id.as_deref())
        .await?;
    let duplicate = sent == SentEvent::Duplicate;
    let body = json!({ "run": run, "event": event.name, "duplicate": duplicate });
    Ok(Json(body).into_response())
}

/// Why something is asked of a run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Reason {
    /// Why, for the record
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// How a run is cancelled, and why.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Cancel {
    /// Why, for the record
    #[schema(max_length = 1000)]
    reason: Option<String>,
    /// End it at once, in the middle of whatever it does; its code is not asked and cannot compensate
    #[schema(required = false)]
    force: bool,
}

/// Pauses a run at its next step or wait
///
/// The status is `paused`, or `running` while it has still to come to one.
#[utoipa::path(
    post,
    path = "/runs/{run}/pause",
    tag = "steering",
    operation_id = "pauseRun",
    params(OfRun, By),
    request_body(content = Option<Reason>),
    responses((status = 200, description = "It is paused, or will be", body = schema::RunStatus)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["run-not-found", "conflict", "bad-argument"])),
    ),
)]
pub(crate) async fn pause(
    app: App,
    Path(run): Path<RunId>,
    Who(who): Who,
    MaybeBody(why): MaybeBody<Reason>,
) -> Result<Response, Problem> {
    let paused = app.client().pause_by(run, by(&who, &why.reason)).await?;
    let status = match paused {
        Paused::Now => "paused",
        Paused::Requested => "running",
    };
    Ok(Json(json!({ "run": run, "status": status })).into_response())
}

/// Lets a paused or blocked run go on
#[utoipa::path(
    post,
    path = "/runs/{run}/resume",
    tag = "steering",
    operation_id = "resumeRun",
    params(OfRun, By),
    request_body(content = Option<Reason>),
    responses((status = 200, description = "It goes on", body = schema::RunStatus)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["run-not-found", "conflict", "bad-argument"])),
    ),
)]
pub(crate) async fn resume(
    app: App,
    Path(run): Path<RunId>,
    Who(who): Who,
    MaybeBody(why): MaybeBody<Reason>,
) -> Result<Response, Problem> {
    app.client().resume_by(run, by(&who, &why.reason)).await?;
    Ok(Json(json!({ "run": run, "status": "queued" })).into_response())
}

/// Ends a run; its code may compensate first
///
/// The status is `cancelled`, or `cancelling` while it has still to end.
#[utoipa::path(
    post,
    path = "/runs/{run}/cancel",
    tag = "steering",
    operation_id = "cancelRun",
    params(OfRun, By),
    request_body(content = Option<Cancel>),
    responses((status = 200, description = "It is cancelled, or will be", body = schema::RunStatus)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["run-not-found", "conflict", "bad-argument"])),
    ),
)]
pub(crate) async fn cancel(
    app: App,
    Path(run): Path<RunId>,
    Who(who): Who,
    MaybeBody(cancel): MaybeBody<Cancel>,
) -> Result<Response, Problem> {
    let by = by(&who, &cancel.reason);
    let now = match cancel.force {
        true => app.client().kill_by(run, by).await? == Killed::Now,
        false => app.client().cancel_by(run, by).await? == Cancelled::Now,
    };
    let status = if now { "cancelled" } else { "cancelling" };
    Ok(Json(json!({ "run": run, "status": status })).into_response())
}

fn by<'a>(who: &'a str, reason: &'a Option<String>) -> AskedBy<'a> {
    AskedBy {
        who,
        reason: reason.as_deref(),
    }
}

/// How a run is started again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RerunBody {
    /// Begin with this step: what came before it is copied and does not happen again. Its key; empty: all of it is copied
    from: Option<String>,
    /// On the deployment that the run was on, and not on the active one
    #[schema(required = false)]
    same_deployment: bool,
}

impl RerunBody {
    pub(crate) fn new(from: Option<String>, same_deployment: bool) -> Self {
        Self {
            from,
            same_deployment,
        }
    }

    pub(crate) fn options(self) -> RerunOptions {
        RerunOptions {
            from: self.from,
            deployment: match self.same_deployment {
                true => OnDeployment::Own,
                false => OnDeployment::Active,
            },
        }
    }
}

/// Starts a run again that has ended or is blocked, as a new run with the same input
#[utoipa::path(
    post,
    path = "/runs/{run}/rerun",
    tag = "steering",
    operation_id = "rerunRun",
    params(OfRun, By),
    request_body(content = Option<RerunBody>),
    responses((status = 200, description = "It is started again", body = schema::Rerun)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!([
            "run-not-found", "step-not-found", "conflict", "bad-argument", "bad-input", "too-large", "unknown-workflow", "ambiguous-workflow",
            "deployment-retired", "redeployed",
        ])),
    ),
)]
pub(crate) async fn rerun(
    app: App,
    Path(run): Path<RunId>,
    Who(who): Who,
    MaybeBody(body): MaybeBody<RerunBody>,
) -> Result<Response, Problem> {
    let new = app.client().rerun(run, &body.options(), &who).await?;
    Ok(Json(json!({ "run": run, "newRun": new })).into_response())
}

/// Whether something is done, or only said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Retry {
    /// Change nothing: say what it would go back to
    #[schema(required = false)]
    dry_run: bool,
}

/// Lets a failed run go on from its failed step
#[utoipa::path(
    post,
    path = "/runs/{run}/retry",
    tag = "steering",
    operation_id = "retryRun",
    params(OfRun, By),
    request_body(content = Option<Retry>),
    responses((status = 200, description = "It goes on from there, or would", body = schema::Retried)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["run-not-found", "conflict", "nothing-failed", "children-ending", "bad-argument"])),
    ),
)]
pub(crate) async fn retry(
    app: App,
    Path(run): Path<RunId>,
    Who(who): Who,
    MaybeBody(body): MaybeBody<Retry>,
) -> Result<Response, Problem> {
    let (plan, status) = match body.dry_run {
        true => (app.client().plan_retry(run).await?, "failed"),
        false => (app.client().retry(run, &who).await?, "queued"),
    };
    let body =
        json!({ "run": run, "status": status, "opened": plan.opened, "removed": plan.removed });
    Ok(Json(body).into_response())
}

/// What is finished in a run's place.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SkipBody {
    /// The key of the step or wait; not needed if it is the only one that the run waits for
    step: Option<String>,
    /// The step's result or the event's payload, `null` if it is left out; for a wait for any of several events `["EVENT", PAYLOAD]`
    #[schema(value_type = schema::Json, required = false)]
    value: Option<Box<RawValue>>,
}

impl SkipBody {
    pub(crate) fn new(step: Option<String>, value: Option<Box<RawValue>>) -> Self {
        Self { step, value }
    }

    pub(crate) fn options(self) -> SkipOptions {
        SkipOptions {
            step: self.step,
            value: self
                .value
                .map(|value| String::from(Box::<str>::from(value))),
        }
    }
}

/// Finishes what a run waits for in its place
///
/// The status is `queued`, or `paused` if somebody has paused it: then it goes on once it is resumed.
#[utoipa::path(
    post,
    path = "/runs/{run}/skip",
    tag = "steering",
    operation_id = "skipStep",
    params(OfRun, By),
    request_body(content = Option<SkipBody>),
    responses((status = 200, description = "It goes on", body = schema::SkippedStep)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["run-not-found", "conflict", "not-open", "bad-argument", "bad-payload", "bad-event", "too-large"])),
    ),
)]
pub(crate) async fn skip(
    app: App,
    Path(run): Path<RunId>,
    Who(who): Who,
    MaybeBody(body): MaybeBody<SkipBody>,
) -> Result<Response, Problem> {
    let done = app.client().skip(run, &body.options(), &who).await?;
    let status = match done.skipped {
        Skipped::GoesOn => "queued",
        Skipped::StaysPaused => "paused",
    };
    Ok(Json(json!({ "run": run, "status": status, "step": done.step })).into_response())
}

/// A note on a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Note {
    #[schema(min_length = 1, max_length = 10000)]
    text: String,
}

/// Leaves a note on a run, for those who look at it
#[utoipa::path(
    post,
    path = "/runs/{run}/notes",
    tag = "steering",
    operation_id = "addNote",
    params(OfRun, By),
    request_body = Note,
    responses((status = 200, description = "It is noted", body = schema::Noted)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["run-not-found", "bad-argument"])),
    ),
)]
pub(crate) async fn note(
    app: App,
    Path(run): Path<RunId>,
    Who(who): Who,
    Body(note): Body<Note>,
) -> Result<Response, Problem> {
    app.client().note(run, &note.text, &who).await?;
    Ok(Json(json!({ "run": run, "note": note.text, "who": who })).into_response())
}
