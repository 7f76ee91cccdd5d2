//! The workflows that can be started.

use axum::Json;
use axum::response::{IntoResponse, Response};
use dacapo_client::{Client, Payloads, WorkflowInfo};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::extract::{Path, Query};
use super::schema;
use crate::{App, Problem};

/// How the workflow of a path is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct OfWorkflow {
    /// The workflow: its full name, `ns:pkg/interface.function` with `%2F` for the slash, or an end of it that is unique
    workflow: String,
}

/// How much is said of a workflow.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct WorkflowParams {
    /// With its types as data (`definition`), and whether something in its payloads is kept from who asks (`hasSecrets`)
    #[serde(default)]
    #[param(required = false)]
    definition: bool,
}

impl WorkflowParams {
    fn shown(&self, workflow: &WorkflowInfo, client: &Client) -> Result<Value, Problem> {
        let written = |error: serde_json::Error| Problem::new("internal", error.to_string());
        let mut value = serde_json::to_value(workflow).map_err(written)?;
        if self.definition {
            value["definition"] = serde_json::to_value(&workflow.workflow).map_err(written)?;
            let is_hidden = client.payloads() == Payloads::Hidden;
            value["hasSecrets"] = (is_hidden || workflow.has_secrets).into();
        }
        Ok(value)
    }
}

/// Lists the workflows that can be started, with their types as WIT and as JSON Schema
#[utoipa::path(
    get,
    path = "/workflows",
    tag = "workflows",
    operation_id = "listWorkflows",
    params(WorkflowParams),
    responses((status = 200, description = "The workflows, by name", body = Vec<schema::Workflow>)),
    extensions(("x-role" = json!("read"))),
)]
pub(crate) async fn list(
    app: App,
    Query(params): Query<WorkflowParams>,
) -> Result<Response, Problem> {
    let client = app.client();
    let workflows = client.workflows().await?;
    let shown = workflows
        .iter()
        .map(|workflow| params.shown(workflow, client));
    Ok(Json(shown.collect::<Result<Vec<_>, _>>()?).into_response())
}

/// Shows a workflow with its types as WIT and as JSON Schema
#[utoipa::path(
    get,
    path = "/workflows/{workflow}",
    tag = "workflows",
    operation_id = "getWorkflow",
    params(OfWorkflow, WorkflowParams),
    responses((status = 200, description = "The workflow", body = schema::Workflow)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["unknown-workflow", "ambiguous-workflow"]))),
)]
pub(crate) async fn get(
    app: App,
    Path(name): Path<String>,
    Query(params): Query<WorkflowParams>,
) -> Result<Response, Problem> {
    let client = app.client();
    let workflow = client.workflow(&name).await?;
    Ok(Json(params.shown(&workflow, client)?).into_response())
}

/// Lets no run of a workflow be played
///
/// Those that are go back into their queue at their next step or wait.
#[utoipa::path(
    post,
    path = "/workflows/{workflow}/pause",
    tag = "workflows",
    operation_id = "pauseWorkflow",
    params(OfWorkflow),
    responses((status = 200, description = "It is paused", body = schema::WorkflowPaused)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["unknown-workflow", "ambiguous-workflow", "already-so"])),
    ),
)]
pub(crate) async fn pause(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    let workflow = app.client().pause_workflow(&name).await?;
    Ok(Json(json!({ "workflow": workflow, "paused": true })).into_response())
}

/// Lets the runs of a paused workflow go on
#[utoipa::path(
    post,
    path = "/workflows/{workflow}/resume",
    tag = "workflows",
    operation_id = "resumeWorkflow",
    params(OfWorkflow),
    responses((status = 200, description = "It goes on", body = schema::WorkflowPaused)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!(["unknown-workflow", "ambiguous-workflow", "already-so"])),
    ),
)]
pub(crate) async fn resume(app: App, Path(name): Path<String>) -> Result<Response, Problem> {
    let workflow = app.client().resume_workflow(&name).await?;
    Ok(Json(json!({ "workflow": workflow, "paused": false })).into_response())
}

/// Lists the workflows that are paused
#[utoipa::path(
    get,
    path = "/paused-workflows",
    tag = "workflows",
    operation_id = "listPausedWorkflows",
    responses((status = 200, description = "The paused ones, by name", body = Vec<schema::PausedWorkflow>)),
    extensions(("x-role" = json!("read"))),
)]
pub(crate) async fn paused(app: App) -> Result<Response, Problem> {
    Ok(Json(app.client().paused_workflows().await?).into_response())
}
