//! Looking at runs: the list, one, its steps, its log, and its way to another database.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dacapo_client::{
    ClientError, Cursor, ListFilter, LogLevel, LogLine, Page, RunExport, RunFilter, RunId, Status,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{About, Body, By, Path, Query, Who};
use super::schema;
use crate::{App, Problem};

/// How long a request may wait for the end of a run, at most.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long one waits that does not say it.
const WAIT_DEFAULT_MS: u64 = 30_000;

/// Lines of a page of a log, at most.
const LINES_MAX: u32 = 1_000;

/// How the run of a path is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct OfRun {
    /// The run's id
    #[param(format = "uuid")]
    run: String,
}

/// Which runs: those that have all of this.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct FilterParams {
    /// Only runs with this status
    #[param(value_type = Option<schema::Status>)]
    status: Option<Status>,
    /// Only runs of this workflow: its full name, or an end of it that is unique
    workflow: Option<String>,
    /// Only runs of the deployment with this number
    #[param(minimum = 1)]
    deployment: Option<i32>,
    /// Only runs with this label, as NAME=VALUE; may be repeated
    #[serde(default)]
    #[param(required = false, pattern = "=")]
    label: Vec<String>,
    /// Only runs whose failure has these words, each as the beginning of a word of its code or message
    failure: Option<String>,
    /// Only runs created at this time or later
    #[param(value_type = Option<schema::Time>)]
    since: Option<Timestamp>,
    /// Only runs created before this time
    #[param(value_type = Option<schema::Time>)]
    before: Option<Timestamp>,
}

/// Which part of the list of which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListParams {
    /// Only runs with this status
    #[param(value_type = Option<schema::Status>)]
    status: Option<Status>,
    /// Only runs of this workflow: its full name, or an end of it that is unique
    workflow: Option<String>,
    /// Only runs of the deployment with this number
    #[param(minimum = 1)]
    deployment: Option<i32>,
    /// Only runs with this label, as NAME=VALUE; may be repeated
    #[serde(default)]
    #[param(required = false, pattern = "=")]
    label: Vec<String>,
    /// Only runs whose failure has these words, each as the beginning of a word of its code or message
    failure: Option<String>,
    /// Only runs created at this time or later
    #[param(value_type = Option<schema::Time>)]
    since: Option<Timestamp>,
    /// Only runs created before this time
    #[param(value_type = Option<schema::Time>)]
    before: Option<Timestamp>,
    /// How many at most; 50 if it is not said
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Go on after this place: the `next` of another page
    cursor: Option<String>,
    /// Go back to what is in front of this place: the `previous` of another page
    back_from: Option<String>,
}

/// Which runs: those that have all of this.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Filter {
    /// Only runs with this status
    #[schema(value_type = Option<schema::Status>)]
    status: Option<Status>,
    /// Only runs of this workflow: its full name, or an end of it that is unique
    workflow: Option<String>,
    /// Only runs of the deployment with this number
    #[schema(minimum = 1)]
    deployment: Option<i32>,
    /// Only runs with all of these labels
    #[schema(value_type = std::collections::BTreeMap<String, String>, required = false)]
    labels: std::collections::BTreeMap<String, String>,
    /// Only runs whose failure has these words, each as the beginning of a word of its code or message
    failure: Option<String>,
    /// Only runs created at this time or later
    #[schema(value_type = Option<schema::Time>)]
    since: Option<Timestamp>,
    /// Only runs created before this time
    #[schema(value_type = Option<schema::Time>)]
    before: Option<Timestamp>,
}

impl FilterParams {
    pub(crate) fn filter(self) -> Result<RunFilter, Problem> {
        Ok(RunFilter {
            status: self.status,
            workflow: self.workflow,
            deployment: self.deployment,
            labels: labels(&self.label)?,
            failure: self.failure,
            created_since: self.since,
            created_before: self.before,
        })
    }
}

impl ListParams {
    pub(crate) fn filter(self) -> Result<ListFilter, Problem> {
        let place = |name: &str, text: Option<String>| -> Result<Option<Cursor>, Problem> {
            text.map(|text| text.parse())
                .transpose()
                .map_err(|error| Problem::bad_request(format!("query: {name}: {error}")))
        };
        let defaults = ListFilter::default();
        Ok(ListFilter {
            limit: self.limit.unwrap_or(defaults.limit),
            after: place("cursor", self.cursor)?,
            before: place("backFrom", self.back_from)?,
            runs: RunFilter {
                status: self.status,
                workflow: self.workflow,
                deployment: self.deployment,
                labels: labels(&self.label)?,
                failure: self.failure,
                created_since: self.since,
                created_before: self.before,
            },
        })
    }
}

impl Filter {
    /// Says for the audit which workflow it is about, if it names one.
    pub(crate) fn tell(&self, about: &About) {
        if let Some(workflow) = &self.workflow {
            about.is(workflow);
        }
    }

    pub(crate) fn any(self) -> RunFilter {
        RunFilter {
            status: self.status,
            workflow: self.workflow,
            deployment: self.deployment,
            labels: self.labels,
            failure: self.failure,
            created_since: self.since,
            created_before: self.before,
        }
    }

    /// The filter, which must not find all runs: nobody means that who leaves it out.
    pub(crate) fn some(self) -> Result<RunFilter, Problem> {
        let filter = self.any();
        if filter == RunFilter::default() {
            return Err(Problem::bad_request(
                "body: filter: it finds every run: expected a status, a workflow, a label or something else",
            ));
        }
        Ok(filter)
    }
}

fn labels(texts: &[String]) -> Result<std::collections::BTreeMap<String, String>, Problem> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Problem::bad_request(format!(
                "query: label: expected NAME=VALUE, got {:?}",
                text.chars().take(80).collect::<String>()
            ))
        })?;
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.iter().map(pair).collect()
}

/// Lists runs, the newest first
#[utoipa::path(
    get,
    path = "/runs",
    tag = "runs",
    operation_id = "listRuns",
    params(ListParams),
    responses((
        status = 200,
        description = "A page of the list. Where to go on is in `next`, and in the header Link",
        body = schema::RunPage,
        headers(("Link" = String, description = "The pages behind (`next`) and before (`prev`) this one")),
    )),
    extensions(
        ("x-role" = json!("read")),
        ("x-problems" = json!(["bad-argument", "unknown-workflow", "ambiguous-workflow"])),
    ),
)]
pub(crate) async fn list(
    app: App,
    Query(params): Query<ListParams>,
    uri: axum::extract::OriginalUri,
) -> Result<Response, Problem> {
    let page = app.client().list(params.filter()?).await?;
    let links = links(&uri, &page);
    Ok((links, Json(page)).into_response())
}

/// The neighbours of a page.
fn links<T>(uri: &axum::http::Uri, page: &Page<T>) -> HeaderMap {
    let rest: Vec<&str> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|part| {
            !part.is_empty() && !part.starts_with("cursor=") && !part.starts_with("backFrom=")
        })
        .collect();
    let link = |relation: &str, name: &str, place: Option<Cursor>| {
        let place = format!("{name}={}", place?);
        let query: Vec<&str> = rest.iter().copied().chain([place.as_str()]).collect();
        let text = format!("<{}?{}>; rel=\"{relation}\"", uri.path(), query.join("&"));
        HeaderValue::from_str(&text).ok()
    };
    [
        link("next", "cursor", page.next),
        link("prev", "backFrom", page.previous),
    ]
    .into_iter()
    .flatten()
    .map(|link| (header::LINK, link))
    .collect()
}

/// Counts runs by their status
#[utoipa::path(
    get,
    path = "/runs/count",
    tag = "runs",
    operation_id = "countRuns",
    params(FilterParams),
    responses((status = 200, description = "How many there are: in the status that was asked for, or in each", body = schema::Counts)),
    extensions(
        ("x-role" = json!("read")),
        ("x-problems" = json!(["bad-argument", "unknown-workflow", "ambiguous-workflow"])),
    ),
)]
pub(crate) async fn count(
    app: App,
    Query(params): Query<FilterParams>,
) -> Result<Response, Problem> {
    let counts = app.client().count(params.filter()?).await?;
    Ok(Json(counts).into_response())
}

/// Shows a run with its steps
#[utoipa::path(
    get,
    path = "/runs/{run}",
    tag = "runs",
    operation_id = "getRun",
    params(OfRun),
    responses((status = 200, description = "The run", body = schema::Run)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["run-not-found"]))),
)]
pub(crate) async fn get(app: App, Path(run): Path<RunId>) -> Result<Response, Problem> {
    Ok(Json(app.client().get(run).await?).into_response())
}

/// Shows the steps and waits of a run
#[utoipa::path(
    get,
    path = "/runs/{run}/steps",
    tag = "runs",
    operation_id = "getSteps",
    params(OfRun),
    responses((status = 200, description = "The steps, in the order in which the run first reached them", body = Vec<schema::Step>)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["run-not-found"]))),
)]
pub(crate) async fn steps(app: App, Path(run): Path<RunId>) -> Result<Response, Problem> {
    Ok(Json(app.client().get(run).await?.steps).into_response())
}

/// Says how far a run is
#[utoipa::path(
    get,
    path = "/runs/{run}/progress",
    tag = "runs",
    operation_id = "getProgress",
    params(OfRun),
    responses((status = 200, description = "How far it is", body = schema::Progress)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["run-not-found"]))),
)]
pub(crate) async fn progress(app: App, Path(run): Path<RunId>) -> Result<Response, Problem> {
    Ok(Json(app.client().check_progress(run).await?).into_response())
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct WaitParams {
    /// How long to wait at most, in milliseconds; 30,000 if it is not said
    #[param(minimum = 0, maximum = 60000)]
    timeout_ms: Option<u64>,
}

/// Waits until a run has ended
///
/// Who wants to wait for longer asks again, or takes the stream of the run.
#[utoipa::path(
    get,
    path = "/runs/{run}/wait",
    tag = "runs",
    operation_id = "waitForRun",
    params(OfRun, WaitParams),
    responses(
        (status = 200, description = "The run, which has ended", body = schema::Run),
        (status = 202, description = "The run, which has not ended in that time", body = schema::Run),
    ),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["run-not-found", "too-many-streams"]))),
)]
pub(crate) async fn wait(
    app: App,
    Path(run): Path<RunId>,
    Query(params): Query<WaitParams>,
) -> Result<Response, Problem> {
    let time = Duration::from_millis(params.timeout_ms.unwrap_or(WAIT_DEFAULT_MS));
    if time > WAIT_MAX {
        return Err(Problem::bad_request(format!(
            "query: timeoutMs: expected at most {}, got {}",
            WAIT_MAX.as_millis(),
            time.as_millis()
        )));
    }
    let _permit = super::stream::permit(&app)?;
    let waited = tokio::select! {
        waited = app.client().wait(run, Some(time)) => waited,
        () = app.stopping().cancelled() => app.client().wait(run, Some(Duration::ZERO)).await,
    };
    match waited {
        Ok(run) => Ok(Json(run).into_response()),
        Err(ClientError::WaitTimedOut { .. }) => {
            let run = app.client().get(run).await?;
            let status = match run.status.is_terminal() {
                true => StatusCode::OK,
                false => StatusCode::ACCEPTED,
            };
            Ok((status, Json(run)).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// Which lines of a stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct LogParams {
    /// Only lines of this level and more urgent ones; all if it is not said
    #[param(inline, value_type = Option<Level>)]
    level: Option<String>,
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct LinesParams {
    /// Only lines of this level and more urgent ones; all if it is not said
    #[param(inline, value_type = Option<Level>)]
    level: Option<String>,
    /// How many at most, the oldest first; all if it is not said
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Go on behind the line with this id
    #[param(value_type = Option<String>, format = "uuid")]
    after: Option<Uuid>,
}

/// How urgent a line is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it describes")]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogParams {
    pub(crate) fn level(&self) -> Result<LogLevel, Problem> {
        level(self.level.as_deref())
    }
}

fn level(text: Option<&str>) -> Result<LogLevel, Problem> {
    let level: Option<LogLevel> = text
        .map(str::parse)
        .transpose()
        .map_err(|error| Problem::bad_request(format!("query: level: {error}")))?;
    Ok(level.unwrap_or_default())
}

/// A line as it is answered.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    id: Uuid,
    at: Timestamp,
    level: &'a str,
    step: Option<&'a str>,
    source: &'a str,
    message: &'a str,
    fields: Option<&'a dacapo_client::Payload>,
}

impl<'a> From<&'a (Uuid, LogLine)> for Line<'a> {
    fn from((id, line): &'a (Uuid, LogLine)) -> Self {
        Self {
            id: *id,
            at: line.at,
            level: &line.level,
            step: line.step.as_deref(),
            source: &line.source,
            message: &line.message,
            fields: line.fields.as_ref(),
        }
    }
}

/// Shows the lines that a run has logged
///
/// All of them, or a page. A line of a worker whose clock is slower than that of the line before it may be passed over by the pages behind
/// that; the stream passes over none.
#[utoipa::path(
    get,
    path = "/runs/{run}/logs",
    tag = "runs",
    operation_id = "getLogs",
    params(OfRun, LinesParams),
    responses((status = 200, description = "The lines, the oldest first", body = Vec<schema::LogLine>)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["run-not-found"]))),
)]
pub(crate) async fn logs(
    app: App,
    Path(run): Path<RunId>,
    Query(params): Query<LinesParams>,
) -> Result<Response, Problem> {
    let level = level(params.level.as_deref())?;
    let client = app.client();
    let lines = match params.limit {
        Some(limit) if (1..=LINES_MAX).contains(&limit) => {
            client.log_page(run, level, params.after, limit).await?
        }
        Some(limit) => {
            return Err(Problem::bad_request(format!(
                "query: limit: expected 1 to {LINES_MAX}, got {limit}"
            )));
        }
        None => {
            let mut tail = client.log_tail(run, level).await?;
            if let Some(after) = params.after {
                tail = tail.behind(after);
            }
            tail.next_lines_with_ids().await?
        }
    };
    let lines: Vec<Line<'_>> = lines.iter().map(Line::from).collect();
    Ok(Json(lines).into_response())
}

/// What is exported.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ExportParams {
    /// With the lines of its log
    #[serde(default)]
    #[param(required = false)]
    log: bool,
}

/// Writes a run with its journal, for another database
#[utoipa::path(
    get,
    path = "/runs/{run}/export",
    tag = "runs",
    operation_id = "exportRun",
    params(OfRun, ExportParams),
    responses((status = 200, description = "What `importRun` takes", body = Object)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["run-not-found"]))),
)]
pub(crate) async fn export(
    app: App,
    Path(run): Path<RunId>,
    Query(params): Query<ExportParams>,
) -> Result<Response, Problem> {
    let export = app.client().export(run, params.log).await?;
    Ok(Json(export).into_response())
}

/// Writes a run that was exported into this database
///
/// It is there as it ended, or paused if it had not ended.
#[utoipa::path(
    post,
    path = "/runs/import",
    tag = "runs",
    operation_id = "importRun",
    params(By),
    request_body(content = Object, description = "What `exportRun` answers"),
    responses((status = 201, description = "The run is here", body = schema::RunStatus)),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["bad-argument", "not-importable", "run-exists", "component-missing"])),
    ),
)]
pub(crate) async fn import(
    app: App,
    about: About,
    Who(who): Who,
    Body(text): Body<Box<serde_json::value::RawValue>>,
) -> Result<Response, Problem> {
    let export = RunExport::from_json(text.get()).map_err(ClientError::from)?;
    about.is(export.run.id.to_string());
    match app.client().import(&export, &who).await {
        Ok(()) => {}
        // The file holds what no run can have.
        Err(ClientError::Store(error)) => {
            return Err(Problem::new(
                "not-importable",
                format!("the database refuses what the run holds: {error}"),
            ));
        }
        Err(error) => return Err(error.into()),
    }
    let run = app.client().get(export.run.id).await?;
    let body = json!({ "run": run.id, "status": run.status });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
