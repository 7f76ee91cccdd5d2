//! `dacapo deploy`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dacapo_client::{Client, DeployOutcome};
use dacapo_sandbox::{Described, describe};
use serde_json::json;

use crate::arguments::Global;
use crate::connect;
use crate::error::{Failed, Kind, Result, chain};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Components, or core modules that carry component type information
    #[arg(required = true, value_name = "FILE.wasm")]
    files: Vec<PathBuf>,
}

/// Reads a file and finds out what it offers.
pub(crate) fn read(file: &Path) -> Result<Described> {
    let bytes = std::fs::read(file)
        .map_err(|error| Failed::usage(format!("cannot read {}: {error}", file.display())))?;
    describe(&bytes).map_err(|error| Failed {
        kind: Kind::Usage,
        code: "bad-component".to_owned(),
        message: format!("{}: {}", file.display(), chain(&error)),
        hint: None,
    })
}

/// Puts a component into service.
pub(crate) async fn put(client: &Client, described: &Described) -> Result<DeployOutcome> {
    Ok(client
        .deploy(
            &described.descriptor,
            &described.digest,
            &described.component,
        )
        .await?)
}

/// What a deploy did, in a line, and the workflows with their types.
pub(crate) fn describe_outcome(described: &Described, outcome: &DeployOutcome) -> String {
    let package = &described.descriptor.package;
    let number = outcome.number;
    let mut lines = vec![match (outcome.created, outcome.replaces) {
        (false, _) => format!("nothing changed: deployment {number} of {package} has these bytes"),
        (true, Some(before)) => {
            format!("deployment {number} of {package} is active for new runs (before: {before})")
        }
        (true, None) => format!("deployment {number} of {package} is active"),
    }];
    lines.extend(
        described
            .descriptor
            .workflows
            .iter()
            .map(|workflow| format!("  {}{}", signature(workflow), events(workflow))),
    );
    lines.join("\n")
}

/// The events that it declares, as WIT would have them.
pub(crate) fn events(workflow: &dacapo_model::Workflow) -> String {
    if workflow.events.is_empty() {
        return String::new();
    }
    let event = |event: &dacapo_model::Case| match &event.ty {
        Some(ty) => format!("{}({ty})", event.name),
        None => event.name.clone(),
    };
    let events: Vec<String> = workflow.events.iter().map(event).collect();
    format!(", takes the events {}", events.join(", "))
}

/// The workflows of other packages that it calls, each with what may be wrong with it. Nothing of that keeps it from being deployed: the
/// other packages may come later.
pub(crate) async fn describe_calls(client: &Client, described: &Described) -> Result<Vec<String>> {
    let calls = &described.descriptor.children;
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let deployed = client.workflows().await?;
    let describe = |call: &dacapo_model::Workflow| {
        let there = deployed.iter().find(|there| there.name == call.name);
        let problem = match there {
            None => " (not deployed yet: a run that calls it is blocked until it is)".to_owned(),
            Some(there) if !there.workflow.has_types_of(call) => format!(
                " (deployed with other types: {}; a call fails, or blocks its run, where a value does not fit)",
                signature(&there.workflow)
            ),
            Some(_) => String::new(),
        };
        format!("  calls {}{problem}", signature(call))
    };
    Ok(calls.iter().map(describe).collect())
}

/// A workflow as WIT would have it.
pub(crate) fn signature(workflow: &dacapo_model::Workflow) -> String {
    let param = workflow
        .param
        .as_ref()
        .map_or_else(String::new, |param| format!("{}: {}", param.name, param.ty));
    let result = workflow
        .result
        .as_ref()
        .map_or_else(String::new, |ty| format!(" -> {ty}"));
    format!("{}({param}){result}", workflow.name)
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    // All files are read before any is deployed.
    let described = args
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<_>>>()?;
    let client = connect::client(global).await?;
    let mut outcomes = Vec::new();
    for one in &described {
        let outcome = put(&client, one).await?;
        if !ui.is_json() {
            ui.line(&describe_outcome(one, &outcome));
        }
        let calls = describe_calls(&client, one).await?;
        if !ui.is_json() {
            calls.iter().for_each(|line| ui.line(line));
        }
        outcomes.push(json!({
            "package": one.descriptor.package,
            "number": outcome.number,
            "created": outcome.created,
            "digest": one.digest,
            "workflows": one.descriptor.workflows.iter().map(|workflow| &workflow.name).collect::<Vec<_>>(),
            "calls": one.descriptor.children.iter().map(|workflow| &workflow.name).collect::<Vec<_>>(),
        }));
    }
    if ui.is_json() {
        ui.data(&outcomes, |_| String::new());
    }
    Ok(ExitCode::SUCCESS)
}
