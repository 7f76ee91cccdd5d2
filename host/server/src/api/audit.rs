//! Who did what.

use axum::Json;
use axum::response::{IntoResponse, Response};
use dacapo_client::{AuditFilter, Timestamp};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::Query;
use super::schema;
use crate::{App, Problem};

/// Which part of the audit.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct AuditParams {
    /// Only of this one: the name of a token, whom a provider knows, user@host of a command
    who: Option<String>,
    /// Only this: the name of an operation, or `token-create`, `token-revoke`, `sign-in`, `sign-out`
    action: Option<String>,
    /// Only what was done to this: the id of a run, the name of a workflow, a schedule, a queue, a token
    target: Option<String>,
    /// Only with this outcome
    #[param(value_type = Option<schema::AuditOutcome>)]
    outcome: Option<String>,
    /// Only at this time or later
    #[param(value_type = Option<schema::Time>)]
    since: Option<Timestamp>,
    /// Only before this time
    #[param(value_type = Option<schema::Time>)]
    before: Option<Timestamp>,
    /// How many at most; 50 if it is not said
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Go on after this entry: the `next` of another page
    cursor: Option<i64>,
}

/// Lists who did what through the server, and who made and revoked tokens, the newest first
#[utoipa::path(
    get,
    path = "/audit",
    tag = "access",
    operation_id = "listAudit",
    params(AuditParams),
    responses((status = 200, description = "A page of entries", body = schema::AuditPage)),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["bad-argument"]))),
)]
pub(crate) async fn list(app: App, Query(params): Query<AuditParams>) -> Result<Response, Problem> {
    let filter = AuditFilter {
        who: params.who,
        action: params.action,
        target: params.target,
        outcome: params.outcome,
        since: params.since,
        before: params.before,
        limit: params.limit.unwrap_or(AuditFilter::default().limit),
        after: params.cursor,
    };
    Ok(Json(app.client().audit(&filter).await?).into_response())
}
