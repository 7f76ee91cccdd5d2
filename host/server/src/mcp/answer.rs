//! What a tool answers: structured for programs, and the same as text.

use dacapo_client::{Payload, Run, RunId, Status};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Problem;

/// What came of it, as JSON.
pub(super) fn of(value: Value) -> CallToolResult {
    let text = value.to_string();
    with(value, text, false)
}

/// The same of something that is written as the API writes it.
pub(super) fn written(value: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(value)
        .map_err(|error| Problem::new("internal", format!("the answer cannot be written: {error}")))
}

/// A payload as a value. One with a number that no program here can hold is shown as its text.
pub(super) fn value_of(payload: &Payload) -> Value {
    serde_json::from_str(payload.as_str()).unwrap_or_else(|_| Value::from(payload.as_str()))
}

/// It was not done. The run, if one was started before that.
pub(super) fn refusal(problem: &Problem, run: Option<RunId>) -> CallToolResult {
    let (detail, hint) = problem.words();
    let run = run.or(problem.run());
    let mut error = json!({ "code": problem.code(), "message": detail });
    let mut text = format!("{}: {detail}", problem.code());
    if let Some(hint) = hint {
        error["hint"] = hint.into();
        text = format!("{text}\n{hint}");
    }
    let mut value = json!({ "error": error });
    if let Some(run) = run {
        value["run"] = run.to_string().into();
        text = format!("{text}\nrun {run}");
    }
    with(value, text, true)
}

/// The request itself cannot be answered.
pub(super) fn unanswerable(problem: &Problem) -> ErrorData {
    let (detail, _) = problem.words();
    ErrorData::internal_error(
        format!("{}: {detail}", problem.code()),
        Some(json!({ "code": problem.code() })),
    )
}

/// A run that has ended, or that has been waited for long enough.
pub(super) fn of_run(run: &Run) -> CallToolResult {
    let id = run.id;
    let mut value = json!({ "run": id.to_string(), "status": run.status.as_str() });
    match run.status {
        Status::Completed => {
            value["output"] = run.output.as_ref().map_or(Value::Null, value_of);
            of(value)
        }
        Status::Failed | Status::Cancelled => {
            let (code, message) = match &run.failure {
                Some(failure) => (failure.code.as_str(), failure.message.as_str()),
                None => ("cancelled", "the run was cancelled"),
            };
            value["error"] = json!({ "code": code, "message": message });
            if let Some(details) = run.failure.as_ref().and_then(|one| one.details.as_ref()) {
                value["error"]["details"] = value_of(details);
            }
            let text = format!("run {id} has {}: {code}: {message}", ended(run.status));
            with(value, text, true)
        }
        status => {
            value["progress"] = written(&run.progress).unwrap_or_default();
            let mut waits = String::new();
            if let Some(waiting) = &run.waiting_for {
                value["waitingFor"] = written(waiting).unwrap_or_default();
                waits = match waiting.events.is_empty() {
                    true => format!(", waits ({})", waiting.reason),
                    false => format!(", waits for the event {}", waiting.events.join(" or ")),
                };
            }
            if let Some(blocked) = &run.blocked {
                value["blocked"] = value_of(blocked);
            }
            let text = format!(
                "run {id} has not ended: it is {status}{waits}. It goes on by itself; dacapo_wait_run waits on, dacapo_get_run shows it.\n{value}"
            );
            with(value, text, false)
        }
    }
}

fn ended(status: Status) -> &'static str {
    match status {
        Status::Cancelled => "been cancelled",
        _ => "failed",
    }
}

fn with(value: Value, text: String, is_error: bool) -> CallToolResult {
    let content = vec![ContentBlock::text(text)];
    let mut result = match is_error {
        true => CallToolResult::error(content),
        false => CallToolResult::success(content),
    };
    result.structured_content = Some(value);
    result
}
