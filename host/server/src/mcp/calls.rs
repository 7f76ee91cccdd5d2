//! Calling tools.

use std::time::Duration;

use dacapo_client::{ClientError, Role, RunId, StartOptions, WorkflowInfo};
use rmcp::model::{CallToolRequestParams, CallToolResult, JsonObject};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;

use super::asker::Asker;
use super::progress::Telling;
use super::{Mcp, answer, own, workflow};
use crate::Problem;

/// The member of a call's `_meta` that makes its start idempotent.
const KEY: &str = "idempotencyKey";

/// What the API calls a start.
const START: &str = "startRun";

pub(super) async fn call(
    mcp: &Mcp,
    asker: &Asker,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let arguments = request.arguments.unwrap_or_default();
    let called = match own::find(&request.name) {
        Some(tool) => call_own(mcp, asker, tool, arguments, context).await,
        None => {
            let workflows = asker.client().workflows().await;
            let workflows = workflows.map_err(|error| answer::unanswerable(&error.into()))?;
            let mut workflows = workflows.into_iter();
            let Some(called) = workflows.find(|one| workflow::name(&one.name) == request.name)
            else {
                let name = request.name;
                let message = format!("there is no tool {name:?}; tools/list says which there are");
                return Err(ErrorData::invalid_params(message, None));
            };
            return Ok(start(mcp, asker, &called, arguments, context).await);
        }
    };
    Ok(called.unwrap_or_else(|problem| answer::refusal(&problem, None)))
}

async fn call_own(
    mcp: &Mcp,
    asker: &Asker,
    tool: &'static own::Own,
    arguments: JsonObject,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, Problem> {
    let target = arguments.get("run").and_then(Value::as_str);
    let target = target.map(|run| run.chars().take(100).collect());
    let called = match asker.must_be(tool.role) {
        Ok(()) => own::call(mcp, asker, tool, arguments, context).await,
        Err(problem) => Err(problem),
    };
    if let Some(action) = tool.action {
        asker.note(action, target, &called).await;
    }
    called
}

/// Starts a run, and waits for its end.
async fn start(
    mcp: &Mcp,
    asker: &Asker,
    workflow: &WorkflowInfo,
    arguments: JsonObject,
    context: &RequestContext<RoleServer>,
) -> CallToolResult {
    // First, so that nothing is started that nobody can wait for.
    let (permit, started) = match asker.must_be(Role::Operate).and_then(|()| asker.permit()) {
        Ok(permit) => (permit, started(asker, workflow, arguments, context).await),
        Err(problem) => (None, Err(problem)),
    };
    let target = match &started {
        Ok(run) => run.to_string(),
        Err(_) => workflow.name.clone(),
    };
    asker.note(START, Some(target), &started).await;
    let run = match started {
        Ok(run) => run,
        Err(problem) => return answer::refusal(&problem, None),
    };
    let waited = wait(mcp, asker, run, mcp.wait, context).await;
    drop(permit);
    waited.unwrap_or_else(|problem| answer::refusal(&problem, Some(run)))
}

async fn started(
    asker: &Asker,
    workflow: &WorkflowInfo,
    arguments: JsonObject,
    context: &RequestContext<RoleServer>,
) -> Result<RunId, Problem> {
    let input = workflow::input_of(workflow, arguments)?;
    let mut options = StartOptions::default();
    match context.meta.get(KEY) {
        None | Some(Value::Null) => {}
        Some(Value::String(key)) => options.key = Some(key.clone()),
        Some(other) => {
            let detail = format!("_meta.{KEY}: expected a string, got {other}");
            return Err(Problem::new("bad-argument", detail));
        }
    }
    // Without the labels of their scope they could start nothing.
    if let Some(scope) = asker.client().scope() {
        options.labels.clone_from(&scope.labels);
    }
    let started = asker
        .client()
        .start_by_name(&workflow.name, &input, options);
    Ok(started.await?.id)
}

/// Waits until a run has ended, and tells how far it is if that is wanted. It ends without that when the time is over, when the process is to
/// stop, and when nobody waits for the answer any more; the run goes on.
pub(super) async fn wait(
    mcp: &Mcp,
    asker: &Asker,
    run: RunId,
    time: Duration,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, Problem> {
    let client = asker.client();
    let mut telling = Telling::to(context);
    let waited = tokio::select! {
        waited = client.wait(run, Some(time)) => Some(waited),
        () = telling.follow(client, run) => None,
        () = mcp.stopping.cancelled() => None,
        () = context.ct.cancelled() => None,
    };
    let run = match waited {
        Some(Ok(run)) => run,
        None | Some(Err(ClientError::WaitTimedOut { .. })) => client.get(run).await?,
        Some(Err(error)) => return Err(error.into()),
    };
    telling.last(&run).await;
    Ok(answer::of_run(&run))
}
