//! How long runs are kept once they have ended.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use dacapo_client::{RetentionRule, Status};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::extract::{About, Body, Query};
use super::schema;
use crate::{App, Problem};

/// How long some runs are kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rule {
    /// Only runs of this workflow
    workflow: Option<String>,
    /// Only runs that ended with this status: completed, failed, cancelled
    #[schema(value_type = Option<schema::Status>)]
    status: Option<Status>,
    /// How long, a minute to a hundred years; `null` is for ever
    #[schema(required, minimum = 60, maximum = 3155760000_i64)]
    keep_seconds: Option<u64>,
}

/// Which rule.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct OfRule {
    /// That for runs of this workflow
    workflow: Option<String>,
    /// That for runs that ended with this status
    #[param(value_type = Option<schema::Status>)]
    status: Option<Status>,
}

/// Lists how long runs are kept: of the rules that fit a run the last one counts
#[utoipa::path(
    get,
    path = "/retention",
    tag = "retention",
    operation_id = "getRetention",
    responses((status = 200, description = "The rules, the most general first", body = Vec<schema::RetentionRule>)),
    extensions(("x-role" = json!("read"))),
)]
pub(crate) async fn list(app: App) -> Result<Response, Problem> {
    rules(&app).await
}

/// Sets how long runs are kept once they have ended
#[utoipa::path(
    put,
    path = "/retention",
    tag = "retention",
    operation_id = "setRetention",
    request_body = Rule,
    responses((status = 200, description = "All rules", body = Vec<schema::RetentionRule>)),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["bad-argument", "unknown-workflow", "ambiguous-workflow"])),
    ),
)]
pub(crate) async fn set(
    app: App,
    about: About,
    Body(rule): Body<Rule>,
) -> Result<Response, Problem> {
    if let Some(workflow) = &rule.workflow {
        about.is(workflow);
    }
    let rule = RetentionRule {
        workflow: rule.workflow,
        status: rule.status,
        keep: rule.keep_seconds.map(Duration::from_secs),
    };
    app.client().set_retention(rule).await?;
    rules(&app).await
}

/// Takes back what was set, so that more general rules count again
#[utoipa::path(
    delete,
    path = "/retention",
    tag = "retention",
    operation_id = "resetRetention",
    params(OfRule),
    responses((status = 200, description = "All rules", body = Vec<schema::RetentionRule>)),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["bad-argument", "unknown-workflow", "ambiguous-workflow"])),
    ),
)]
pub(crate) async fn reset(
    app: App,
    about: About,
    Query(rule): Query<OfRule>,
) -> Result<Response, Problem> {
    if let Some(workflow) = &rule.workflow {
        about.is(workflow);
    }
    app.client()
        .reset_retention(rule.workflow, rule.status)
        .await?;
    rules(&app).await
}

async fn rules(app: &App) -> Result<Response, Problem> {
    let rules = app.client().retention().await?;
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| {
            json!({
                "workflow": rule.workflow,
                "status": rule.status,
                "keepSeconds": rule.keep.map(|keep| keep.as_secs()),
            })
        })
        .collect();
    Ok(Json(rules).into_response())
}
