//! The tools that are there whatever is deployed: to look at runs, and to steer them.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_client::{
    By, Cancelled, Cursor, Killed, ListFilter, LogLevel, Paused, Role, RunFilter, RunId, SentEvent,
    Status, Timestamp,
};
use rmcp::RoleServer;
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use rmcp::service::RequestContext;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::asker::Asker;
use super::{Mcp, answer, calls};
use crate::Problem;

/// Runs of a list where nobody says how many, and at most.
const RUNS: u32 = 20;
const RUNS_MAX: u32 = 100;

/// Steps of a run where nobody says how many: a model reads them all.
const STEPS: usize = 50;

/// Lines of a log where nobody says how many, and at most.
const LINES: u32 = 100;
const LINES_MAX: u32 = 1_000;

/// A tool that is always there.
pub(super) struct Own {
    kind: Kind,
    pub(super) name: &'static str,
    title: &'static str,
    description: &'static str,
    /// What somebody must be allowed to.
    pub(super) role: Role,
    /// What the API calls it, if it changes something.
    pub(super) action: Option<&'static str>,
    /// Whether it can end something that goes on.
    is_destructive: bool,
    /// Whether it makes no difference to call it twice.
    is_idempotent: bool,
    /// The members of its arguments with their schemas; `*` behind a name: it must be there.
    arguments: fn() -> Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Get,
    Wait,
    Logs,
    Event,
    Pause,
    Resume,
    Retry,
    Cancel,
}

static OWN: [Own; 9] = [
    Own {
        kind: Kind::List,
        name: "dacapo_list_runs",
        title: "List runs",
        description: "Runs, the newest first, without their inputs, outputs and steps: by status, workflow, labels, words of their failure, and time.",
        role: Role::Read,
        action: None,
        is_destructive: false,
        is_idempotent: true,
        arguments: || {
            json!({
                "status": { "type": "string", "enum": Status::ALL.map(Status::as_str), "description": "Only with this status" },
                "workflow": { "type": "string", "description": "Only of this workflow: its full name, or an end of it that is unique" },
                "labels": { "type": "object", "additionalProperties": { "type": "string" }, "description": "Only with all of these labels" },
                "failure": { "type": "string", "description": "Only those that failed with these words in their code or message" },
                "createdSince": { "type": "string", "format": "date-time", "description": "Only those created then or later" },
                "createdBefore": { "type": "string", "format": "date-time", "description": "Only those created before" },
                "limit": { "type": "integer", "minimum": 1, "maximum": RUNS_MAX, "description": "How many at most; 20 if it is not given" },
                "after": { "type": "string", "description": "Go on behind a list: what that says as `next`" },
            })
        },
    },
    Own {
        kind: Kind::Get,
        name: "dacapo_get_run",
        title: "Look at a run",
        description: "A run as it stands: status, input, output, failure, what it waits for, what blocks it, and its steps with their attempts.",
        role: Role::Read,
        action: None,
        is_destructive: false,
        is_idempotent: true,
        arguments: || {
            json!({
                "run*": of_run(),
                "steps": { "type": "integer", "minimum": 0, "description": "How many of its last steps; 50 if it is not given" },
            })
        },
    },
    Own {
        kind: Kind::Wait,
        name: "dacapo_wait_run",
        title: "Wait for a run",
        description: "Waits until a run has ended, for a while, and answers what calling its workflow would. Cancelling the call does not cancel the run.",
        role: Role::Read,
        action: None,
        is_destructive: false,
        is_idempotent: true,
        arguments: || {
            json!({
                "run*": of_run(),
                "seconds": { "type": "integer", "minimum": 0, "description": "How long to wait at most; as long as a call of a workflow waits if it is not given, and no longer" },
            })
        },
    },
    Own {
        kind: Kind::Logs,
        name: "dacapo_run_logs",
        title: "Read the log of a run",
        description: "Lines that a run has logged, the oldest first.",
        role: Role::Read,
        action: None,
        is_destructive: false,
        is_idempotent: true,
        arguments: || {
            json!({
                "run*": of_run(),
                "level": { "type": "string", "enum": LogLevel::ALL.map(LogLevel::as_str), "description": "Only lines of this level and more urgent ones" },
                "limit": { "type": "integer", "minimum": 1, "maximum": LINES_MAX, "description": "How many at most; 100 if it is not given" },
                "after": { "type": "string", "description": "Go on behind a line: its id" },
            })
        },
    },
    Own {
        kind: Kind::Event,
        name: "dacapo_send_event",
        title: "Send an event to a run",
        description: "Gives a run an event that it waits for, or will wait for. The description of its workflow says which it takes.",
        role: Role::Operate,
        action: Some("sendEvent"),
        is_destructive: false,
        is_idempotent: false,
        arguments: || {
            json!({
                "run*": of_run(),
                "event*": { "type": "string", "description": "The event's name" },
                "payload": { "description": "What comes with it; null if it is not given" },
                "id": { "type": "string", "description": "An id for this delivery: sent again, the event is received once" },
            })
        },
    },
    Own {
        kind: Kind::Pause,
        name: "dacapo_pause_run",
        title: "Pause a run",
        description: "Stops a run at its next step or wait, until dacapo_resume_run.",
        role: Role::Operate,
        action: Some("pauseRun"),
        is_destructive: false,
        is_idempotent: true,
        arguments: || json!({ "run*": of_run(), "reason": reason() }),
    },
    Own {
        kind: Kind::Resume,
        name: "dacapo_resume_run",
        title: "Resume a run",
        description: "Lets a paused or blocked run go on.",
        role: Role::Operate,
        action: Some("resumeRun"),
        is_destructive: false,
        is_idempotent: false,
        arguments: || json!({ "run*": of_run(), "reason": reason() }),
    },
    Own {
        kind: Kind::Retry,
        name: "dacapo_retry_run",
        title: "Retry a failed run",
        description: "Lets a failed run go on from its failed step, with all that it has recorded before, once whatever made it fail is mended.",
        role: Role::Operate,
        action: Some("retryRun"),
        is_destructive: false,
        is_idempotent: false,
        arguments: || json!({ "run*": of_run() }),
    },
    Own {
        kind: Kind::Cancel,
        name: "dacapo_cancel_run",
        title: "Cancel a run",
        description: "Ends a run. Its code hears of it at its next step or wait, and may make up for what it has done; with force it is not asked.",
        role: Role::Operate,
        action: Some("cancelRun"),
        is_destructive: true,
        is_idempotent: true,
        arguments: || {
            json!({
                "run*": of_run(),
                "reason": reason(),
                "force": { "type": "boolean", "description": "End it at once, in the middle of whatever it does" },
            })
        },
    },
];

fn of_run() -> Value {
    json!({ "type": "string", "description": "The run's id" })
}

fn reason() -> Value {
    json!({ "type": "string", "maxLength": 1000, "description": "Why, for the record" })
}

/// The tools of somebody with this role.
pub(super) fn tools(role: Role) -> Vec<Tool> {
    let own = OWN.iter().filter(|own| role >= own.role);
    own.map(Own::tool).collect()
}

/// The tool of this name.
pub(super) fn find(name: &str) -> Option<&'static Own> {
    OWN.iter().find(|own| own.name == name)
}

impl Own {
    fn tool(&self) -> Tool {
        let is_read_only = self.action.is_none();
        let mut hints = ToolAnnotations::with_title(self.title)
            .read_only(is_read_only)
            .idempotent(self.is_idempotent)
            .open_world(false);
        if !is_read_only {
            hints = hints.destructive(self.is_destructive);
        }
        Tool::new(self.name, self.description, self.schema())
            .with_title(self.title)
            .with_annotations(hints)
    }

    fn schema(&self) -> JsonObject {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        if let Value::Object(arguments) = (self.arguments)() {
            for (name, schema) in arguments {
                let name = match name.strip_suffix('*') {
                    Some(name) => {
                        required.push(Value::from(name));
                        name.to_owned()
                    }
                    None => name,
                };
                properties.insert(name, schema);
            }
        }
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), properties.into());
        schema.insert("required".to_owned(), required.into());
        schema.insert("additionalProperties".to_owned(), false.into());
        schema
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    status: Option<Status>,
    workflow: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    failure: Option<String>,
    created_since: Option<Timestamp>,
    created_before: Option<Timestamp>,
    limit: Option<u32>,
    after: Option<Cursor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    run: RunId,
    steps: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    run: RunId,
    seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logs {
    run: RunId,
    level: Option<String>,
    limit: Option<u32>,
    after: Option<Uuid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    run: RunId,
    event: String,
    #[serde(default)]
    payload: Value,
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steer {
    run: RunId,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    run: RunId,
    reason: Option<String>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    run: RunId,
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Problem> {
    serde_path_to_error::deserialize(Value::Object(arguments))
        .map_err(|error| Problem::new("bad-argument", format!("arguments: {error}")))
}

fn within(limit: Option<u32>, default: u32, max: u32) -> Result<u32, Problem> {
    match limit {
        None => Ok(default),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(limit) => Err(Problem::new(
            "bad-argument",
            format!("limit: expected 1 to {max}, got {limit}"),
        )),
    }
}

pub(super) async fn call(
    mcp: &Mcp,
    asker: &Asker,
    tool: &Own,
    arguments: JsonObject,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, Problem> {
    let client = asker.client();
    let steered = |run: RunId, status: &str| {
        Ok(answer::of(
            json!({ "run": run.to_string(), "status": status }),
        ))
    };
    match tool.kind {
        Kind::List => list(asker, read(arguments)?).await,
        Kind::Get => {
            let Get { run, steps } = read(arguments)?;
            let mut run = client.get(run).await?;
            let left_out = run.steps.len().saturating_sub(steps.unwrap_or(STEPS));
            run.steps.drain(..left_out);
            let mut value = answer::written(&run)?;
            if left_out > 0 {
                value["stepsLeftOut"] = left_out.into();
            }
            Ok(answer::of(value))
        }
        Kind::Wait => {
            let Wait { run, seconds } = read(arguments)?;
            let time = seconds.map_or(mcp.wait, Duration::from_secs).min(mcp.wait);
            let _permit = asker.permit()?;
            calls::wait(mcp, asker, run, time, context).await
        }
        Kind::Logs => logs(asker, read(arguments)?).await,
        Kind::Event => {
            let event: Event = read(arguments)?;
            let payload = event.payload.to_string();
            let sent = client.send_event(event.run, &event.event, &payload, event.id.as_deref());
            let duplicate = sent.await? == SentEvent::Duplicate;
            Ok(answer::of(json!({
                "run": event.run.to_string(),
                "event": event.event,
                "duplicate": duplicate,
            })))
        }
        Kind::Pause => {
            let Steer { run, reason } = read(arguments)?;
            let status = match client.pause_by(run, by(asker, &reason)).await? {
                Paused::Now => "paused",
                Paused::Requested => "running",
            };
            steered(run, status)
        }
        Kind::Resume => {
            let Steer { run, reason } = read(arguments)?;
            client.resume_by(run, by(asker, &reason)).await?;
            steered(run, "queued")
        }
        Kind::Cancel => {
            let Cancel { run, reason, force } = read(arguments)?;
            let by = by(asker, &reason);
            let now = match force {
                true => client.kill_by(run, by).await? == Killed::Now,
                false => client.cancel_by(run, by).await? == Cancelled::Now,
            };
            steered(run, if now { "cancelled" } else { "cancelling" })
        }
        Kind::Retry => {
            let Retry { run } = read(arguments)?;
            let plan = client.retry(run, asker.who()).await?;
            Ok(answer::of(json!({
                "run": run.to_string(),
                "status": "queued",
                "opened": answer::written(&plan.opened)?,
                "removed": answer::written(&plan.removed)?,
            })))
        }
    }
}

fn by<'a>(asker: &'a Asker, reason: &'a Option<String>) -> By<'a> {
    By {
        who: asker.who(),
        reason: reason.as_deref(),
    }
}

async fn list(asker: &Asker, list: List) -> Result<CallToolResult, Problem> {
    let filter = ListFilter {
        runs: RunFilter {
            status: list.status,
            workflow: list.workflow,
            labels: list.labels,
            failure: list.failure,
            created_since: list.created_since,
            created_before: list.created_before,
            ..RunFilter::default()
        },
        limit: within(list.limit, RUNS, RUNS_MAX)?,
        after: list.after,
        before: None,
    };
    let page = asker.client().list(filter).await?;
    let mut runs = Vec::new();
    for run in &page.items {
        let mut value = answer::written(run)?;
        if let Some(members) = value.as_object_mut() {
            members.remove("input");
            members.remove("output");
            members.retain(|_, member| !member.is_null());
        }
        runs.push(value);
    }
    let mut value = json!({ "runs": runs });
    if let Some(next) = page.next {
        value["next"] = next.to_string().into();
    }
    Ok(answer::of(value))
}

async fn logs(asker: &Asker, logs: Logs) -> Result<CallToolResult, Problem> {
    let level = match &logs.level {
        None => LogLevel::default(),
        Some(level) => level
            .parse()
            .map_err(|error| Problem::new("bad-argument", format!("arguments: level: {error}")))?,
    };
    let limit = within(logs.limit, LINES, LINES_MAX)?;
    let lines = asker.client().log_page(logs.run, level, logs.after, limit);
    let lines = lines.await?;
    let mut next = None;
    if lines.len() == limit as usize {
        next = lines.last().map(|(id, _)| id.to_string());
    }
    let mut shown = Vec::new();
    for (id, line) in &lines {
        let mut value = json!({
            "id": id.to_string(),
            "at": answer::written(&line.at)?,
            "level": line.level,
            "source": line.source,
            "message": line.message,
        });
        if let Some(step) = &line.step {
            value["step"] = step.as_str().into();
        }
        if let Some(fields) = &line.fields {
            value["fields"] = answer::value_of(fields);
        }
        shown.push(value);
    }
    let mut value = json!({ "lines": shown });
    if let Some(next) = next {
        value["next"] = next.into();
    }
    Ok(answer::of(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_changes_something_takes_the_role_that_the_api_takes() {
        for own in &OWN {
            let expected = match own.action {
                Some(action) => {
                    let operations = crate::api::operations();
                    let operation = operations.iter().find(|one| one.id == action);
                    operation.unwrap_or_else(|| panic!("{action}")).role
                }
                None => Role::Read,
            };
            assert_eq!(own.role, expected, "{}", own.name);
            let tool = own.tool();
            let hints = tool.annotations.unwrap();
            assert_eq!(hints.read_only_hint, Some(own.action.is_none()));
            assert!(!tool.input_schema.is_empty());
        }
        assert_eq!(tools(Role::Read).len(), 4);
        assert_eq!(tools(Role::Operate).len(), OWN.len());
    }
}
