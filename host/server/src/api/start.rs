//! Starting runs.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dacapo_client::{Begins, Debounce, OnConflict, Singleton, StartOptions, Started, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::PREFIX;
use super::extract::{About, Body, IdempotencyKey, Priority, TraceParent};
use super::schema;
use crate::{App, Problem};

/// A run to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Start {
    /// The workflow: its full name, `ns:pkg/interface.function`, or an end of it that is unique
    workflow: String,
    /// What it takes; `null` if it is left out
    #[schema(value_type = schema::Json, required = false)]
    input: Option<Box<RawValue>>,
    /// At most one run of the workflow has this key while it is kept: starting again with it and an equal input gives the same run. The header
    /// Idempotency-Key says the same
    #[schema(min_length = 1, max_length = 1000)]
    key: Option<String>,
    /// To find the run by
    #[serde(default)]
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// The run fails when it has not ended by itself this long after its start
    #[schema(minimum = 1)]
    deadline_ms: Option<u64>,
    /// The queue that it waits in; `default` is the one without limits
    queue: Option<String>,
    /// Runs with a higher one go first; also `lowest`, `low`, `normal`, `high` or `highest`
    #[schema(value_type = Option<i16>, minimum = -100, maximum = 100)]
    priority: Option<Priority>,
    /// What the queue's limits per key go by
    #[schema(min_length = 1, max_length = 200)]
    concurrency_key: Option<String>,
    /// It begins this much later
    delay_ms: Option<u64>,
    /// It begins at this time; at once if that is over
    #[schema(value_type = Option<schema::Time>)]
    begin_at: Option<Timestamp>,
    /// At most one active run of the workflow has this key
    singleton: Option<SingletonKey>,
    /// Starts with this key that come soon after each other are one run
    debounce: Option<DebounceKey>,
}

/// One of many runs to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OneStart {
    /// What the workflow takes; `null` if it is left out
    #[schema(value_type = schema::Json, required = false)]
    input: Option<Box<RawValue>>,
    /// At most one run of the workflow has this key while it is kept
    #[schema(min_length = 1, max_length = 1000)]
    key: Option<String>,
    /// To find the run by
    #[serde(default)]
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// The run fails when it has not ended by itself this long after its start
    #[schema(minimum = 1)]
    deadline_ms: Option<u64>,
    /// The queue that it waits in; `default` is the one without limits
    queue: Option<String>,
    /// Runs with a higher one go first; also `lowest`, `low`, `normal`, `high` or `highest`
    #[schema(value_type = Option<i16>, minimum = -100, maximum = 100)]
    priority: Option<Priority>,
    /// What the queue's limits per key go by
    #[schema(min_length = 1, max_length = 200)]
    concurrency_key: Option<String>,
    /// It begins this much later
    delay_ms: Option<u64>,
    /// It begins at this time; at once if that is over
    #[schema(value_type = Option<schema::Time>)]
    begin_at: Option<Timestamp>,
}

/// Many runs of one workflow to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ManyStarts {
    /// The workflow: its full name, or an end of it that is unique
    workflow: String,
    /// The runs
    starts: Vec<OneStart>,
}

/// At most one active run of a workflow has a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SingletonKey {
    #[schema(min_length = 1, max_length = 1000)]
    key: String,
    /// What happens to a start while there is one: it is refused, waits for its end, or takes its place; `reject` if it is not said
    #[serde(default)]
    on_conflict: Conflict,
}

/// What happens to a start while another run has its key.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Conflict {
    #[default]
    Reject,
    Queue,
    Replace,
}

/// Starts that come soon after each other are one run, with the newest input.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DebounceKey {
    #[schema(min_length = 1, max_length = 1000)]
    key: String,
    /// The run begins when no start has come for this long
    #[schema(minimum = 1)]
    quiet_ms: u64,
    /// It begins this long after the first start at the latest; ten times as long as it must be quiet if it is not said
    #[schema(minimum = 1)]
    at_most_ms: Option<u64>,
}

/// The header with the key of a start.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct KeyHeader {
    /// At most one run of the workflow has this key while that run is kept: sent again with an equal body, the answer names the same run;
    /// with another input it is refused (`key-conflict`)
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 1000)]
    idempotency_key: Option<String>,
}

/// The header of a sender that takes part in a trace.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct TraceHeader {
    /// Where the sender stands in a trace, as W3C writes it: the run belongs there, unless its label of that name says otherwise
    #[param(rename = "traceparent")]
    traceparent: Option<String>,
}

fn begins(delay_ms: Option<u64>, at: Option<Timestamp>) -> Result<Begins, Problem> {
    match (delay_ms, at) {
        (Some(_), Some(_)) => Err(Problem::bad_request(
            "body: expected delayMs or beginAt, got both",
        )),
        (Some(delay), None) => Ok(Begins::After(Duration::from_millis(delay))),
        (None, Some(at)) => Ok(Begins::At(at)),
        (None, None) => Ok(Begins::Now),
    }
}

/// A run as it was started.
fn body(started: &Started<Value>) -> Value {
    json!({
        "run": started.id,
        "created": started.created,
        "workflow": started.workflow,
        "deployment": started.deployment,
    })
}

/// Starts a run
#[utoipa::path(
    post,
    path = "/runs",
    tag = "runs",
    operation_id = "startRun",
    params(KeyHeader, TraceHeader),
    request_body = Start,
    responses(
        (status = 201, description = "It is started", body = schema::Started, headers(("Location" = String, description = "Where the run is"))),
        (status = 200, description = "There is a run with this key already, and this is it", body = schema::Started, headers(("Location" = String, description = "Where the run is"))),
    ),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!([
            "unknown-workflow", "ambiguous-workflow", "bad-input", "bad-argument", "too-large", "key-conflict", "singleton-taken", "queue-not-found", "redeployed",
        ])),
    ),
)]
pub(crate) async fn start(
    app: App,
    about: About,
    key: IdempotencyKey,
    trace: TraceParent,
    Body(start): Body<Start>,
) -> Result<Response, Problem> {
    about.is(&start.workflow);
    let options = StartOptions {
        key: key.or(start.key)?,
        labels: trace.and(start.labels),
        deadline: start.deadline_ms.map(Duration::from_millis),
        queue: start.queue,
        priority: start.priority.map(|Priority(priority)| priority),
        concurrency_key: start.concurrency_key,
        begins: begins(start.delay_ms, start.begin_at)?,
        singleton: start.singleton.map(|singleton| Singleton {
            key: singleton.key,
            on_conflict: match singleton.on_conflict {
                Conflict::Reject => OnConflict::Reject,
                Conflict::Queue => OnConflict::Queue,
                Conflict::Replace => OnConflict::Replace,
            },
        }),
        debounce: start.debounce.map(|debounce| Debounce {
            key: debounce.key,
            quiet: Duration::from_millis(debounce.quiet_ms),
            at_most: debounce.at_most_ms.map(Duration::from_millis),
        }),
    };
    let input = start.input.as_deref().map_or("null", RawValue::get);
    let started = app
        .client()
        .start_by_name(&start.workflow, input, options)
        .await?;
    let status = match started.created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let location = format!("{PREFIX}/runs/{}", started.id);
    Ok((status, [(header::LOCATION, location)], Json(body(&started))).into_response())
}

/// Starts many runs of one workflow: all of them, or none
#[utoipa::path(
    post,
    path = "/runs/batch",
    tag = "runs",
    operation_id = "startRuns",
    params(TraceHeader),
    request_body = ManyStarts,
    responses((status = 201, description = "They are started; in the order in which they were given", body = Vec<schema::Started>)),
    extensions(
        ("x-role" = json!("operate")),
        ("x-problems" = json!([
            "unknown-workflow", "ambiguous-workflow", "bad-input", "bad-argument", "too-large", "key-conflict", "queue-not-found", "redeployed",
        ])),
    ),
)]
pub(crate) async fn start_many(
    app: App,
    about: About,
    trace: TraceParent,
    Body(many): Body<ManyStarts>,
) -> Result<Response, Problem> {
    about.is(&many.workflow);
    let mut starts = Vec::with_capacity(many.starts.len());
    for start in many.starts {
        let options = StartOptions {
            key: start.key,
            labels: trace.and(start.labels),
            deadline: start.deadline_ms.map(Duration::from_millis),
            queue: start.queue,
            priority: start.priority.map(|Priority(priority)| priority),
            concurrency_key: start.concurrency_key,
            begins: begins(start.delay_ms, start.begin_at)?,
            ..StartOptions::default()
        };
        let input = start.input.map_or_else(
            || "null".to_owned(),
            |input| String::from(Box::<str>::from(input)),
        );
        starts.push((input, options));
    }
    let started = app
        .client()
        .start_many_by_name(&many.workflow, &starts)
        .await?;
    if let Some(first) = started.first() {
        about.is(&first.workflow);
    }
    let started: Vec<Value> = started.iter().map(body).collect();
    Ok((StatusCode::CREATED, Json(started)).into_response())
}
