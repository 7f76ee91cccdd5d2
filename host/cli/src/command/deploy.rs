//! `dacapo deploy`

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dacapo_client::{Breaking, Client, ClientError, Deploy, DeployOutcome, Rollout, Steered};
use dacapo_model::{Change, DeploymentId, Descriptor, HttpGrant, Manifest, Workflow};
use dacapo_sandbox::{Described, describe};
use dacapo_worker::Candidate;
use serde_json::json;

use crate::arguments::{Global, label};
use crate::command::proof::{self, Upgrade};
use crate::command::who;
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
    #[command(flatten)]
    proof: proof::ProofArgs,
    #[command(flatten)]
    rollout: RolloutArgs,
    /// Deploy it even if it breaks callers, readers of outputs, or senders of events: what breaks is shown
    #[arg(long)]
    allow_breaking: bool,
    /// Who does it, as deployments are shown with [default: the user and the machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Args {
    /// Whether journals of runs in flight are played.
    pub(crate) fn looks_at_runs(&self) -> bool {
        self.proof.check || self.proof.require_all || self.proof.upgrade != Upgrade::None
    }
}

/// Which new runs go to a deployment.
#[derive(Debug, clap::Args)]
pub(crate) struct RolloutArgs {
    /// Only this share of the new runs goes there, 1 to 100; the others go where they went. A run's key decides, so that the same one goes the
    /// same way
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: Option<u8>,
    /// Those new runs go there that have all these labels, whatever the share
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

impl RolloutArgs {
    /// The part of the new runs; none: all.
    pub(crate) fn rollout(&self) -> Option<Rollout> {
        let is_part = self
            .percent
            .map_or(!self.labels.is_empty(), |percent| percent < 100);
        is_part.then(|| Rollout {
            percent: self.percent.unwrap_or(0),
            labels: self.labels.iter().cloned().collect(),
        })
    }
}

/// The part of a roll-out, for people.
pub(crate) fn part(rollout: &Rollout) -> String {
    let labels: Vec<String> = rollout
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    match (rollout.percent, labels.as_slice()) {
        (percent, []) => format!("{percent} %"),
        (0, labels) => labels.join(","),
        (percent, labels) => format!("{percent} % and {}", labels.join(",")),
    }
}

/// Where the manifest is.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ManifestArgs {
    /// What the deployments say beside their code [default: dacapo.toml beside each component, if there is one]
    #[arg(long = "manifest", value_name = "FILE.toml")]
    pub(crate) file: Option<PathBuf>,
    /// Grant requests to this host, too, such as api.example.com or *.example.com:8443; may be repeated
    #[arg(long = "allow-host", value_name = "HOST", value_parser = manifest::allow_host)]
    pub(crate) allow_hosts: Vec<HttpGrant>,
    /// Set something in the manifest's place, as it would stand there, such as 'limits.memory="64MiB"' or
    /// 'workflows.refund.queue="slow"'; may be repeated. A table is merged with that of the file, all else replaces what the file has
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

/// A component that can be deployed.
pub(crate) struct Deployable {
    pub(crate) described: Described,
    pub(crate) manifest: Manifest,
    /// The component's file.
    file: PathBuf,
    /// Where the manifest was read from, if there is one.
    manifest_file: Option<PathBuf>,
    /// The options of the command line that say something, too.
    flags: Vec<&'static str>,
}

impl Deployable {
    /// Where its project is: beside its manifest, or without one beside the component.
    pub(crate) fn directory(&self) -> &Path {
        let file = self.manifest_file.as_ref().unwrap_or(&self.file);
        file.parent().unwrap_or(Path::new(""))
    }
}

/// Reads a component with its manifest, and finds out what it offers.
pub(crate) fn read(file: &Path, args: &ManifestArgs) -> Result<Deployable> {
    let bytes = std::fs::read(file).map_err(|error| cannot_read(file, &error))?;
    let described = describe(&bytes).map_err(|error| Failed {
        kind: Kind::Usage,
        code: "bad-component".to_owned(),
        message: format!("{}: {}", file.display(), chain(&error)),
        hint: None,
    })?;
    let manifest_file = manifest::find(file, args.file.as_deref());
    let mut manifest = manifest::read(manifest_file.as_deref(), &args.sets, &described.descriptor)?;
    if !args.allow_hosts.is_empty() {
        let http = manifest.http.get_or_insert_default();
        http.allow.extend(args.allow_hosts.iter().cloned());
    }
    let flags = [
        (!args.allow_hosts.is_empty()).then_some("--allow-host"),
        (!args.sets.is_empty()).then_some("--set"),
    ];
    Ok(Deployable {
        described,
        manifest,
        file: file.to_owned(),
        manifest_file,
        flags: flags.into_iter().flatten().collect(),
    })
}

/// Why a component's file could not be read.
pub(crate) fn cannot_read(file: &Path, error: &std::io::Error) -> Failed {
    let failed = Failed::usage(format!("cannot read {}: {error}", file.display()));
    match error.kind() {
        ErrorKind::IsADirectory => failed.hint("give the .wasm file in it"),
        ErrorKind::NotFound => failed.hint("build the component first, or give another path"),
        _ => failed,
    }
}

/// Puts a component into service.
pub(crate) async fn put(
    client: &Client,
    one: &Deployable,
    rollout: Option<Rollout>,
    breaking: Breaking,
    who: &str,
) -> Result<DeployOutcome> {
    let described = &one.described;
    let deploy = Deploy {
        descriptor: &described.descriptor,
        digest: &described.digest,
        component: &described.component,
        manifest: &one.manifest,
        rollout,
        breaking,
        who: Some(who),
    };
    Ok(client.put_into_service(&deploy).await?)
}

/// What a deploy did, in a line, the workflows with their types, and what the manifest set.
pub(crate) fn describe_outcome(one: &Deployable, outcome: &DeployOutcome) -> String {
    let descriptor = &one.described.descriptor;
    let package = &descriptor.package;
    let number = outcome.number;
    let manifest = match one.manifest_file.is_some() || !one.flags.is_empty() {
        true => " and this manifest",
        false => "",
    };
    let mut lines = vec![match (outcome.outcome, outcome.replaces) {
        (Steered::Same, _) => {
            format!("nothing changed: deployment {number} of {package} has these bytes{manifest}")
        }
        _ if outcome.is_partial => format!(
            "deployment {number} of {package} is being rolled out to a part of the new runs; finish with `dacapo deployments activate {package}@{number}`{}",
            outcome.replaces.map_or_else(String::new, |before| format!(
                ", go back with `dacapo deployments activate {package}@{before}`"
            ))
        ),
        (_, Some(before)) => {
            format!("deployment {number} of {package} is active for new runs (before: {before})")
        }
        (_, None) => format!("deployment {number} of {package} is active"),
    }];
    lines.extend(outcome.beside.map(|beside| {
        format!("  deployment {beside} is being rolled out beside it, and goes on; `dacapo deployments activate {package}@{number}` ends that")
    }));
    lines.extend(outcome.ended.map(|ended| {
        format!("  this has ended the roll-out of deployment {ended}: no new run goes there")
    }));
    lines.extend(
        outcome
            .changes
            .iter()
            .map(|one| format!("  {}", change(one))),
    );
    lines.extend(workflow_lines(descriptor));
    let set = manifest::describe(&one.manifest);
    let file = one.manifest_file.as_ref();
    let file = file.map(|file| file.display().to_string());
    let flags = one.flags.iter().map(ToString::to_string);
    let sources: Vec<String> = file.into_iter().chain(flags).collect();
    lines.extend(match (sources.as_slice(), set.is_empty()) {
        ([], _) => None,
        ([one], false) => Some(format!("  {one} sets")),
        ([one], true) => Some(format!("  {one} sets nothing")),
        (more, false) => Some(format!("  {} set", more.join(" and "))),
        (more, true) => Some(format!("  {} set nothing", more.join(" and "))),
    });
    lines.extend(set.iter().map(|set| format!("    {set}")));
    lines.join("\n")
}

/// The workflows with their types, a line for each.
pub(crate) fn workflow_lines(descriptor: &Descriptor) -> impl Iterator<Item = String> {
    let workflows = descriptor.workflows.iter();
    workflows.map(|workflow| format!("  {}{}", signature(workflow), events(workflow)))
}

/// A difference, and whether somebody minds.
pub(crate) fn change(change: &Change) -> String {
    let breaks = if change.breaking { "breaks" } else { "changes" };
    format!("{breaks}: {change}")
}

/// What becomes of what would break somebody.
pub(crate) fn breaking(is_allowed: bool) -> Breaking {
    match is_allowed {
        true => Breaking::Allow,
        false => Breaking::Refuse,
    }
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
    if calls.is_empty() || client.is_remote() {
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

/// Says what would become of the runs in flight, and whom it would break, and deploys nothing.
async fn check(
    client: &Client,
    deployable: &[Deployable],
    args: &proof::ProofArgs,
    breaking: Breaking,
    global: &Global,
    ui: Ui,
) -> Result<ExitCode> {
    let (mut all, mut is_fine) = (Vec::new(), true);
    // Each is compared with those before it in their places, as when they are deployed.
    let mut coming: Vec<&Descriptor> = Vec::new();
    for one in deployable {
        let package = &one.described.descriptor.package;
        let candidate =
            proof::candidate(one, args.accept_inserted, global.payload_limits()).await?;
        let proven = proof::prove(client, &candidate, package, None, args.sample, ui).await?;
        is_fine &= proven.all_go_on();
        let descriptor = &one.described.descriptor;
        let (_, changes) = client.changes_beside(descriptor, &coming).await?;
        coming.push(descriptor);
        is_fine &= breaking == Breaking::Allow || !changes.iter().any(|change| change.breaking);
        if !ui.is_json() {
            ui.line(&proven.text(package));
            changes.iter().for_each(|one| ui.line(&change(one)));
        }
        all.push(json!({ "package": package, "proof": proven.json(), "changes": changes }));
    }
    if ui.is_json() {
        ui.data(&all, |_| String::new());
    }
    match is_fine {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

/// Proves a component before it is deployed, if that is asked for. None: nobody asked.
async fn prove_first(
    client: &Client,
    one: &Deployable,
    args: &proof::ProofArgs,
    global: &Global,
    ui: Ui,
) -> Result<Option<Candidate>> {
    if args.upgrade == Upgrade::None && !args.require_all {
        return Ok(None);
    }
    let package = &one.described.descriptor.package;
    let candidate = proof::candidate(one, args.accept_inserted, global.payload_limits()).await?;
    if args.require_all {
        let proven = proof::prove(client, &candidate, package, None, None, ui).await?;
        if !proven.all_go_on() {
            if !ui.is_json() {
                ui.line(&proven.text(package));
            }
            return Err(Failed::request(format!(
                "{package} was not deployed: not all runs in flight would go on with it"
            ))
            .hint("mend the code, say in dacapo.toml what was inserted, renamed or dropped, or deploy without --require-all: the others then stay where they are"));
        }
    }
    Ok(Some(candidate))
}

/// Moves the runs in flight that go on with a deployment, and says what becomes of the others. Answers whether none was left behind.
async fn upgrade(
    client: &Client,
    candidate: &Candidate,
    package: &str,
    to: DeploymentId,
    who: &str,
    ui: Ui,
) -> Result<(serde_json::Value, bool)> {
    let proven = proof::prove(client, candidate, package, Some(to), None, ui).await?;
    if proven.is_empty() {
        if !ui.is_json() {
            ui.line(&format!(
                "no runs of {package} are in flight on another deployment"
            ));
        }
        let none = json!({ "moved": 0, "busy": 0, "proof": proven.json() });
        return Ok((none, true));
    }
    let upgraded = proof::upgrade(client, candidate, to, proven, who, ui).await;
    let (proven, moved, busy) = (upgraded.proven, upgraded.moved, upgraded.busy.len());
    if !ui.is_json() {
        ui.line(&proven.text(package));
        ui.line(&match busy {
            0 => format!("{moved} of them go on with it now"),
            busy => format!("{moved} of them go on with it now; {busy} were busy or have changed, and stay where they are: the same command tries them again"),
        });
    }
    if let Some(error) = upgraded.stopped {
        return Err(error);
    }
    let is_whole = busy == 0 && proven.not_proven() == 0;
    Ok((
        json!({ "moved": moved, "busy": busy, "proof": proven.json() }),
        is_whole,
    ))
}

/// Refuses all if one of them would break somebody, each with those before it in service.
async fn refuse_breaking(
    client: &Client,
    deployable: &[Deployable],
    is_partial: bool,
) -> Result<()> {
    let mut coming: Vec<&Descriptor> = Vec::new();
    for one in deployable {
        let descriptor = &one.described.descriptor;
        let (_, changes) = client.changes_beside(descriptor, &coming).await?;
        if changes.iter().any(|change| change.breaking) {
            return Err(ClientError::Breaking {
                package: descriptor.package.clone(),
                changes,
            }
            .into());
        }
        // What is only rolled out stands in nobody's place.
        if !is_partial {
            coming.push(descriptor);
        }
    }
    Ok(())
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    // All files are read before any is deployed.
    let deployable = args
        .files
        .iter()
        .map(|file| read(file, &args.manifest))
        .collect::<Result<Vec<_>>>()?;
    let rollout = args.rollout.rollout();
    if rollout.is_some() && args.proof.upgrade == Upgrade::Proven {
        return Err(Failed::usage(
            "expected --upgrade proven without --percent and --label: it moves all runs in flight that go on with the new deployment, and not a part of them",
        )
        .hint("roll it out first; once it is active for all new runs, deploy the same file with --upgrade proven"));
    }
    let client = connect::client(global).await?;
    let breaking = breaking(args.allow_breaking);
    if args.proof.check {
        return check(&client, &deployable, &args.proof, breaking, global, ui).await;
    }
    let who = who(args.by);
    // Nothing is deployed before all of them are known to go: a refusal of the second one must not leave the first one behind.
    let mut candidates = Vec::new();
    for one in &deployable {
        candidates.push(prove_first(&client, one, &args.proof, global, ui).await?);
    }
    if deployable.len() > 1 && breaking == Breaking::Refuse && !client.is_remote() {
        refuse_breaking(&client, &deployable, rollout.is_some()).await?;
    }
    let (mut outcomes, mut is_whole) = (Vec::new(), true);
    for (one, candidate) in deployable.iter().zip(candidates) {
        let what = format!("storing {}", one.described.descriptor.package);
        let putting = put(&client, one, rollout.clone(), breaking, &who);
        let outcome = ui.working(&what, putting).await?;
        if !ui.is_json() {
            ui.line(&describe_outcome(one, &outcome));
        }
        let calls = describe_calls(&client, one).await?;
        if !ui.is_json() {
            calls.iter().for_each(|line| ui.line(line));
        }
        let described = &one.described;
        let upgraded = match &candidate {
            Some(candidate) if args.proof.upgrade == Upgrade::Proven => {
                let package = &described.descriptor.package;
                let to = proof::deployment(&client, package, outcome.number).await?;
                let (upgraded, whole) = upgrade(&client, candidate, package, to, &who, ui).await?;
                is_whole &= whole;
                Some(upgraded)
            }
            _ => None,
        };
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
            "outcome": outcome.outcome,
            "before": outcome.replaces,
            "rollout": rollout,
            "beside": outcome.beside,
            "ended": outcome.ended,
            "changes": outcome.changes,
            "digest": described.digest,
            "workflows": names(&described.descriptor.workflows),
            "calls": names(&described.descriptor.children),
            "upgrade": upgraded,
            "manifest": (one.manifest_file.is_some() || !one.flags.is_empty())
                .then(|| json!({ "file": one.manifest_file, "flags": one.flags, "sets": one.manifest })),
        }));
    }
    if ui.is_json() {
        ui.data(&outcomes, |_| String::new());
    }
    match is_whole || !args.proof.require_all {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}
