//! A workflow as a tool.

use std::collections::BTreeSet;
use std::fmt::Write;

use dacapo_client::{Payloads, WorkflowInfo};
use dacapo_model::{Type, json_schema};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::Problem;

/// The longest name of a tool. Models take 64 characters, of which clients use some for a name of the server.
const NAME_MAX: usize = 48;

/// The member that an input is put into that is no object itself.
const INPUT: &str = "input";

/// The tools of all workflows, each once.
pub(super) fn tools(workflows: &[WorkflowInfo], payloads: Payloads) -> Vec<Tool> {
    let mut names = BTreeSet::new();
    let each = workflows.iter();
    let each = each.filter(|workflow| names.insert(name(&workflow.name)));
    each.map(|workflow| tool(workflow, payloads)).collect()
}

/// The name of a workflow's tool: its full name with `_` in the place of what no name of a tool may have. No name in WIT has a `_`, so two
/// workflows have two names; one that is too long keeps its end, and has a part of its hash behind that.
pub(super) fn name(workflow: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name: String = workflow
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let is_told_apart = workflow.chars().all(|c| is_plain(c) || ":/.".contains(c));
    if name.len() <= NAME_MAX && is_told_apart {
        return name;
    }
    let hash = Sha256::digest(workflow.as_bytes());
    let hash = hash.iter().take(4).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let kept = (NAME_MAX - 1 - hash.len()).min(name.len());
    let end = name[name.len() - kept..].trim_start_matches(['-', '_']);
    format!("{end}_{hash}")
}

fn tool(workflow: &WorkflowInfo, payloads: Payloads) -> Tool {
    let mut tool = Tool::new(name(&workflow.name), description(workflow), input(workflow))
        .with_title(workflow.name.clone())
        .with_annotations(
            ToolAnnotations::new()
                .read_only(false)
                .idempotent(false)
                .open_world(true),
        );
    tool = tool.with_raw_output_schema(output(workflow, payloads).into());
    tool
}

fn description(workflow: &WorkflowInfo) -> String {
    let mut text = String::new();
    if let Some(docs) = workflow.docs.as_deref().map(str::trim)
        && !docs.is_empty()
    {
        let _ = writeln!(text, "{docs}\n");
    }
    let _ = write!(
        text,
        "Starts a durable run of the workflow {} and waits for its end.",
        workflow.name
    );
    if let Some(output) = output_type(workflow) {
        let _ = write!(text, " Its output is {output}.");
    }
    for event in &workflow.events {
        let payload = event.payload.as_ref();
        let payload = payload.map_or_else(String::new, |value| format!(" ({})", value.ty));
        let _ = write!(text, " It takes the event {}{payload}.", event.name);
    }
    text.push_str(
        " A run that takes longer goes on: the answer has its id, for dacapo_wait_run. Cancelling the call does not cancel the run; \
         dacapo_cancel_run does.",
    );
    text
}

/// What a run has for an output: of a result the one half, since a run that returned the other half has failed.
fn output_type(workflow: &WorkflowInfo) -> Option<&Type> {
    match &workflow.workflow.result {
        Some(Type::Result { ok, .. }) => ok.as_deref(),
        other => other.as_ref(),
    }
}

/// Whether what the workflow takes is an object, so that its members are the tool's arguments.
fn takes_members(workflow: &WorkflowInfo) -> bool {
    let input = workflow.input.as_ref();
    input.is_some_and(|input| input.schema["type"] == "object")
}

/// Whether the input may be left out.
fn may_be_null(workflow: &WorkflowInfo) -> bool {
    let param = workflow.workflow.param.as_ref();
    param.is_some_and(|param| matches!(param.ty, Type::Option(_)))
}

/// The schema of the tool's arguments.
fn input(workflow: &WorkflowInfo) -> JsonObject {
    let schema = match &workflow.input {
        None => json!({ "type": "object", "properties": {}, "additionalProperties": false }),
        Some(input) if takes_members(workflow) => input.schema.clone(),
        Some(input) => {
            let mut inner = without_dialect(&input.schema);
            if let (Some(name), Some(inner)) = (&input.name, inner.as_object_mut()) {
                inner.entry("title").or_insert_with(|| json!(name));
            }
            let mut schema = json!({
                "type": "object",
                "properties": { INPUT: inner },
                "additionalProperties": false,
            });
            if !may_be_null(workflow) {
                schema["required"] = json!([INPUT]);
            }
            schema
        }
    };
    object(schema)
}

/// The schema of what it answers, whatever comes of the run. Nothing in it is required: a call that is refused has no run.
fn output(workflow: &WorkflowInfo, payloads: Payloads) -> JsonObject {
    let is_shown = payloads != Payloads::Hidden && !workflow.has_secrets;
    let shown = match output_type(workflow) {
        Some(output) if is_shown => without_dialect(&json_schema(output)),
        None if is_shown => json!({ "type": "null" }),
        // What is shown in the place of something hidden is of no type of the workflow's.
        _ => json!({}),
    };
    object(json!({
        "type": "object",
        "properties": {
            "run": { "type": "string", "description": "The run's id" },
            "status": { "type": "string", "description": "How the run stands: completed, failed, cancelled, or something else if it has not ended" },
            "output": shown,
            "error": { "type": "object", "description": "Why there is no output: code, message, and perhaps details" },
            "progress": { "type": "object", "description": "How far the run is, if it has not ended" },
            "waitingFor": { "type": "object", "description": "What the run waits for, if it has not ended" },
            "blocked": { "description": "Why the run cannot go on" },
        },
    }))
}

fn without_dialect(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        members.remove("$schema");
    }
    schema
}

fn object(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The workflow's input, out of the tool's arguments.
pub(super) fn input_of(
    workflow: &WorkflowInfo,
    mut arguments: JsonObject,
) -> Result<String, Problem> {
    if takes_members(workflow) {
        return Ok(Value::Object(arguments).to_string());
    }
    let input = match &workflow.input {
        Some(_) => arguments.remove(INPUT),
        None => None,
    };
    if let Some(other) = arguments.keys().next() {
        let expected = match &workflow.input {
            Some(value) => format!("{INPUT} with {}", value.ty),
            None => "none".to_owned(),
        };
        return Err(Problem::new(
            "bad-argument",
            format!("arguments: expected {expected}, got {other}"),
        ));
    }
    Ok(input.unwrap_or_default().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_has_a_name_that_models_take_and_no_other_has() {
        let plain = name("payments:processing/payments.process");
        assert_eq!(plain, "payments_processing_payments_process");
        assert_eq!(name("a-b:c/d.e-f"), "a-b_c_d_e-f");
        let long = format!("payments:processing/{}.process", "payments-".repeat(9));
        let other = format!("payments:processing2/{}.process", "payments-".repeat(9));
        let names = [
            name(&long),
            name(&other),
            name("a:b/c.d@1"),
            name("a:b/c.d_1"),
        ];
        for (index, one) in names.iter().enumerate() {
            assert!(one.len() <= NAME_MAX, "{one}");
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            assert!(one.chars().all(is_allowed), "{one}");
            assert!(!names[..index].contains(one), "{one}");
        }
        assert!(names[0].contains("_process_"), "{}", names[0]);
    }
}
