//! `dacapo deploy`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dacapo_client::{Client, DeployOutcome};
use dacapo_model::{HttpGrant, Manifest, Workflow};
use dacapo_sandbox::{Described, describe};
use serde_json::json;

use crate::arguments::Global;
use crate::connect;
use crate::error::{Failed, Kind, Result, chain};
use crate::manifest;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Components, or core modules that carry component type information
    #[arg(required = true, value_name = "FILE.wasm")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    manifest: ManifestArgs,
}

/// Where the manifest is.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestArgs {
    /// What the deployments say beside their code [default: dacapo.toml beside each component, if there is one]
    #[arg(long = "manifest", value_name = "FILE.toml")]
    pub(crate) file: Option<PathBuf>,
    /// Grant requests to this host, too, such as api.example.com or *.example.com:8443; may be repeated
    #[arg(long = "allow-host", value_name = "HOST", value_parser = manifest::allow_host)]
    pub(crate) allow_hosts: Vec<HttpGrant>,
}

/// A component that can be deployed.
pub(crate) struct Deployable {
    described: Described,
    manifest: Manifest,
    /// Where the manifest was read from, if there is one.
    manifest_file: Option<PathBuf>,
    /// The command line granted hosts, too.
    has_extra_hosts: bool,
}

/// Reads a component with its manifest, and finds out what it offers.
pub(crate) fn read(file: &Path, args: &ManifestArgs) -> Result<Deployable> {
    let bytes = std::fs::read(file)
        .map_err(|error| Failed::usage(format!("cannot read {}: {error}", file.display())))?;
    let described = describe(&bytes).map_err(|error| Failed {
        kind: Kind::Usage,
        code: "bad-component".to_owned(),
        message: format!("{}: {}", file.display(), chain(&error)),
        hint: None,
    })?;
    let manifest_file = manifest::find(file, args.file.as_deref());
    let mut manifest = match &manifest_file {
        Some(manifest_file) => manifest::read(manifest_file, &described.descriptor)?,
        None => Manifest::default(),
    };
    if !args.allow_hosts.is_empty() {
        let http = manifest.http.get_or_insert_default();
        http.allow.extend(args.allow_hosts.iter().cloned());
    }
    Ok(Deployable {
        described,
        manifest,
        manifest_file,
        has_extra_hosts: !args.allow_hosts.is_empty(),
    })
}

/// Puts a component into service.
pub(crate) async fn put(client: &Client, one: &Deployable) -> Result<DeployOutcome> {
    let described = &one.described;
    Ok(client
        .deploy_with(
            &described.descriptor,
            &described.digest,
            &described.component,
            &one.manifest,
        )
        .await?)
}

/// What a deploy did, in a line, the workflows with their types, and what the manifest set.
pub(crate) fn describe_outcome(one: &Deployable, outcome: &DeployOutcome) -> String {
    let descriptor = &one.described.descriptor;
    let package = &descriptor.package;
    let number = outcome.number;
    let manifest = match &one.manifest_file {
        Some(_) => " and this manifest",
        None => "",
    };
    let mut lines = vec![match (outcome.created, outcome.replaces) {
        (false, _) => {
            format!("nothing changed: deployment {number} of {package} has these bytes{manifest}")
        }
        (true, Some(before)) => {
            format!("deployment {number} of {package} is active for new runs (before: {before})")
        }
        (true, None) => format!("deployment {number} of {package} is active"),
    }];
    let workflows = descriptor.workflows.iter();
    lines
        .extend(workflows.map(|workflow| format!("  {}{}", signature(workflow), events(workflow))));
    let set = manifest::describe(&one.manifest);
    let file = one.manifest_file.as_ref().map(|file| file.display());
    lines.extend(match (file, set.is_empty()) {
        (Some(file), true) => Some(format!("  {file} sets nothing")),
        (Some(file), false) if one.has_extra_hosts => {
            Some(format!("  {file} and --allow-host set"))
        }
        (Some(file), false) => Some(format!("  {file} sets")),
        (None, false) => Some("  --allow-host sets".to_owned()),
        (None, true) => None,
    });
    lines.extend(set.iter().map(|set| format!("    {set}")));
    lines.join("\n")
}

/// The events that it declares, as WIT would have them.
pub(crate) fn events(workflow: &Workflow) -> String {
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
pub(crate) async fn describe_calls(client: &Client, one: &Deployable) -> Result<Vec<String>> {
    let calls = &one.described.descriptor.children;
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let deployed = client.workflows().await?;
    let describe = |call: &Workflow| {
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
pub(crate) fn signature(workflow: &Workflow) -> String {
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
    let deployable = args
        .files
        .iter()
        .map(|file| read(file, &args.manifest))
        .collect::<Result<Vec<_>>>()?;
    let client = connect::client(global).await?;
    let mut outcomes = Vec::new();
    for one in &deployable {
        let outcome = put(&client, one).await?;
        if !ui.is_json() {
            ui.line(&describe_outcome(one, &outcome));
        }
        let calls = describe_calls(&client, one).await?;
        if !ui.is_json() {
            calls.iter().for_each(|line| ui.line(line));
        }
        let described = &one.described;
        let names = |workflows: &[Workflow]| -> Vec<String> {
            workflows
                .iter()
                .map(|workflow| workflow.name.clone())
                .collect()
        };
        outcomes.push(json!({
            "package": described.descriptor.package,
            "number": outcome.number,
            "created": outcome.created,
            "digest": described.digest,
            "workflows": names(&described.descriptor.workflows),
            "calls": names(&described.descriptor.children),
            "manifest": one.manifest_file.as_ref().map(|file| json!({ "file": file, "sets": one.manifest })),
        }));
    }
    if ui.is_json() {
        ui.data(&outcomes, |_| String::new());
    }
    Ok(ExitCode::SUCCESS)
}
