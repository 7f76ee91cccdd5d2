//! `dacapo deployments`

use std::process::ExitCode;

use dacapo_client::{
    Collected, DeploymentChange, DeploymentDetails, DeploymentDiff, DeploymentInfo,
    DeploymentStatus, SteerOutcome, Steered, WorkflowTypes,
};

use crate::arguments::Global;
use crate::command::deploy::{RolloutArgs, breaking, change, events, part, signature};
use crate::command::who;
use crate::connect;
use crate::error::{Failed, Result};
use crate::manifest;
use crate::ui::{Ui, table};

/// Characters of a digest in tables.
const DIGEST_SHOWN: usize = 12;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the deployments, the newest first, with the runs in flight on each
    List {
        /// Only those of this package: ns:name, or its name alone where that is unique
        package: Option<String>,
    },
    /// Show a deployment: its workflows with their types, what it calls and imports, its manifest, and what was done to it
    Show {
        /// The package, and the number behind an @; without a number the active one
        #[arg(value_name = "PACKAGE[@N]")]
        deployment: String,
        /// The number, as a word of its own
        #[arg(hide = true)]
        number: Option<String>,
    },
    /// Let new runs go to a deployment: to an older one, that is going back. Runs in flight stay where they are
    Activate {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        rollout: RolloutArgs,
        /// Activate it even if it breaks callers, readers of outputs, or senders of events: what breaks is shown
        #[arg(long)]
        allow_breaking: bool,
    },
    /// Let no new run go to a deployment any more; runs in flight end there
    Retire {
        #[command(flatten)]
        one: One,
        /// Take that back: it may be activated again
        #[arg(long)]
        undo: bool,
    },
    /// Show what is different between two deployments of a package: types of workflows and events, imports, manifests
    Diff {
        /// The one: the package, and the number behind an @
        #[arg(value_name = "PACKAGE@A")]
        from: String,
        /// The other: the same, or the number alone
        #[arg(value_name = "PACKAGE@B")]
        to: String,
        /// The other, where the numbers are words of their own behind the package
        #[arg(hide = true)]
        number: Option<String>,
    },
    /// Take away retired deployments without runs, of all namespaces, and components that no deployment has
    Gc {
        /// Only show them
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    #[command(flatten)]
    named: Named,
    /// Who does it, as deployments are shown with [default: the user and the machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// A deployment, in whichever way it is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The package (ns:name, or its name alone where that is unique), and the deployment's number behind an @
    // Filters have a deployment and the like of their own.
    #[arg(id = "named", value_name = "PACKAGE@N")]
    deployment: String,
    /// The number, as a word of its own
    #[arg(id = "named_number", hide = true)]
    number: Option<String>,
}

impl Named {
    /// The package and the number.
    pub(crate) fn split(&self) -> Result<(&str, i32)> {
        match split(&self.deployment, self.number.as_deref())? {
            (package, Some(number)) => Ok((package, number)),
            (package, None) => Err(no_number(package)),
        }
    }
}

fn no_number(got: &str) -> Failed {
    Failed::usage(format!(
        "expected PACKAGE@N with the number of a deployment, got {got:?}"
    ))
    .hint("`dacapo deployments list` shows them")
}

/// `PACKAGE@N`, `PACKAGE N` or `PACKAGE`.
fn split<'a>(package: &'a str, number: Option<&str>) -> Result<(&'a str, Option<i32>)> {
    let (package, number) = match (package.split_once('@'), number) {
        (None, None) => return Ok((package, None)),
        (Some(both), None) => both,
        (None, Some(number)) => (package, number),
        (Some(_), Some(more)) => return Err(no_number(&format!("{package} {more}"))),
    };
    match number.parse() {
        Ok(number) => Ok((package, Some(number))),
        Err(_) => Err(no_number(&format!("{package}@{number}"))),
    }
}

/// `PACKAGE@A PACKAGE@B`, `PACKAGE@A B` or `PACKAGE A B`.
fn split_two<'a>(from: &'a str, to: &str, number: Option<&str>) -> Result<(&'a str, i32, i32)> {
    let (from, to) = match number {
        Some(number) => (split(from, Some(to))?, (from, number)),
        None => {
            let of_from = split(from, None)?;
            (of_from, to.split_once('@').unwrap_or((of_from.0, to)))
        }
    };
    match (from, to, to.1.parse()) {
        ((package, Some(from)), (other, _), Ok(to)) if package == other => Ok((package, from, to)),
        ((package, Some(_)), (other, _), Ok(_)) => Err(Failed::usage(format!(
            "expected two deployments of one package, got one of {package} and one of {other}"
        ))),
        ((_, Some(_)), (package, number), Err(_)) => Err(no_number(&format!("{package}@{number}"))),
        ((package, None), ..) => Err(no_number(package)),
    }
}

pub(crate) async fn run(command: Command, global: &Global, ui: Ui) -> Result<ExitCode> {
    let client = connect::client(global).await?;
    match command {
        Command::List { package } => {
            let deployments = client.deployments(package.as_deref()).await?;
            ui.data(&deployments, |deployments| list(deployments));
        }
        Command::Show { deployment, number } => {
            let (package, number) = split(&deployment, number.as_deref())?;
            let details = client.deployment(package, number).await?;
            ui.data(&details, show);
        }
        Command::Activate {
            one,
            rollout,
            allow_breaking,
        } => {
            let (package, number) = one.named.split()?;
            let rollout = rollout.rollout();
            let who = who(one.by);
            let activated = client
                .activate_deployment(
                    package,
                    number,
                    rollout.as_ref(),
                    breaking(allow_breaking),
                    &who,
                )
                .await?;
            ui.data(&activated, |activated| {
                let outcome = steered(&activated.outcome);
                let first = match &rollout {
                    Some(rollout) => format!("{outcome}: {} of the new runs", part(rollout)),
                    None => outcome,
                };
                let changes = activated
                    .changes
                    .iter()
                    .map(|one| format!("  {}", change(one)));
                std::iter::once(first)
                    .chain(changes)
                    .collect::<Vec<_>>()
                    .join("\n")
            });
        }
        Command::Retire { one, undo } => {
            let (package, number) = one.named.split()?;
            let who = who(one.by);
            let outcome = client
                .retire_deployment(package, number, undo, &who)
                .await?;
            ui.data(&outcome, steered);
        }
        Command::Diff { from, to, number } => {
            let (package, from, to) = split_two(&from, &to, number.as_deref())?;
            let diff = client.diff_deployments(package, from, to).await?;
            ui.data(&diff, describe_diff);
        }
        Command::Gc { dry_run } => {
            let collected = client.collect_deployments(dry_run).await?;
            ui.data(&collected, |collected| gone(collected, dry_run));
            if !dry_run {
                for one in client.collect_deployments(true).await? {
                    if let (Some(package), Some(number)) = (one.package, one.number) {
                        ui.say(&format!(
                            "deployment {number} of {package} stays: transactions are open that may have started runs there before it was retired; do this again once they have ended"
                        ));
                    }
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn status(info: &DeploymentInfo) -> String {
    match (info.status, &info.rollout) {
        (DeploymentStatus::Active, _) => "active".to_owned(),
        (DeploymentStatus::RollingOut, Some(rollout)) => format!("rolling out: {}", part(rollout)),
        (DeploymentStatus::RollingOut, None) => "rolling out".to_owned(),
        (DeploymentStatus::Retired, _) => "retired".to_owned(),
        (DeploymentStatus::Inactive, _) => String::new(),
    }
}

fn list(deployments: &[DeploymentInfo]) -> String {
    if deployments.is_empty() {
        return "nothing is deployed; deploy a component with `dacapo deploy FILE.wasm`".to_owned();
    }
    let rows = deployments.iter().map(|info| {
        vec![
            info.package.clone(),
            info.number.to_string(),
            status(info),
            info.digest.chars().take(DIGEST_SHOWN).collect(),
            info.deployed_at.to_string(),
            info.last_change
                .as_ref()
                .map_or_else(String::new, |change| {
                    format!("{} by {}", change.what, change.who)
                }),
            info.runs_in_flight.to_string(),
        ]
    });
    table(
        &[
            "package",
            "number",
            "status",
            "digest",
            "deployed",
            "last",
            "in flight",
        ],
        rows,
    )
}

fn show(details: &DeploymentDetails) -> String {
    let info = &details.info;
    let version = details
        .version
        .as_ref()
        .map_or_else(String::new, |version| format!(", version {version}"));
    let state = match status(info) {
        status if status.is_empty() => "no new runs go there".to_owned(),
        status => status,
    };
    let mut lines = vec![
        format!("deployment {} of {}{version}", info.number, info.package),
        format!("status     {state}"),
        format!("digest     {}", info.digest),
        format!("deployed   {}", info.deployed_at),
        format!("in flight  {}", info.runs_in_flight),
        "workflows".to_owned(),
    ];
    let types =
        |one: &WorkflowTypes| format!("  {}{}", signature(&one.workflow), events(&one.workflow));
    lines.extend(details.workflows.iter().map(types));
    if !details.calls.is_empty() {
        lines.push("calls".to_owned());
        lines.extend(details.calls.iter().map(types));
    }
    if !details.imports.is_empty() {
        lines.push("imports".to_owned());
        lines.extend(details.imports.iter().map(|name| format!("  {name}")));
    }
    let set = manifest::describe(&details.manifest);
    if !set.is_empty() {
        lines.push("manifest".to_owned());
        lines.extend(set.iter().map(|line| format!("  {line}")));
    }
    if !details.changes.is_empty() {
        lines.push("history".to_owned());
        lines.extend(details.changes.iter().map(history));
    }
    lines.join("\n")
}

fn history(change: &DeploymentChange) -> String {
    let part = change
        .rollout
        .as_ref()
        .map_or_else(String::new, |rollout| format!(" ({})", part(rollout)));
    format!("  {} {}{part} by {}", change.at, change.what, change.who)
}

fn steered(outcome: &SteerOutcome) -> String {
    let SteerOutcome {
        package, number, ..
    } = outcome;
    let before = match outcome.before {
        Some(before) if before != *number => format!(" (before: {before})"),
        _ => String::new(),
    };
    match outcome.outcome {
        Steered::Same => format!("nothing changed: deployment {number} of {package} is so already"),
        Steered::Retired => {
            format!("deployment {number} of {package} is retired: no new run can go there")
        }
        Steered::Unretired => format!("deployment {number} of {package} may be activated again"),
        Steered::RolledOut => format!("deployment {number} of {package} is being rolled out"),
        Steered::Created | Steered::Activated | Steered::Moved => {
            format!("deployment {number} of {package} is active for new runs{before}")
        }
    }
}

fn describe_diff(diff: &DeploymentDiff) -> String {
    let mut lines = Vec::new();
    if diff.same_component {
        lines.push("both are the same component".to_owned());
    }
    lines.extend(diff.changes.iter().map(change));
    let sides = [
        (&diff.imports_added, "imports", "+"),
        (&diff.imports_removed, "imports", "-"),
        (&diff.calls_added, "calls", "+"),
        (&diff.calls_removed, "calls", "-"),
    ];
    for (names, verb, sign) in sides {
        lines.extend(names.iter().map(|name| format!("{sign} {verb} {name}")));
    }
    if let Some((one, other)) = &diff.manifests {
        for (manifest, sign) in [(one, "-"), (other, "+")] {
            let set = manifest::describe(manifest);
            lines.extend(set.iter().map(|line| format!("{sign} manifest: {line}")));
        }
    }
    if lines.is_empty() {
        lines.push("the types, the imports and the manifests are the same".to_owned());
    }
    lines.join("\n")
}

fn gone(collected: &[Collected], dry_run: bool) -> String {
    let verb = if dry_run { "would go" } else { "is gone" };
    if collected.is_empty() {
        return "everything is needed".to_owned();
    }
    let line = |one: &Collected| {
        let what = match (&one.namespace, &one.package, one.number) {
            (Some(namespace), Some(package), Some(number)) => {
                format!("deployment {number} of {package} in namespace {namespace}")
            }
            _ => format!("component {}", one.digest),
        };
        match one.bytes {
            Some(bytes) => format!("{what} {verb}, with {bytes} bytes of its component"),
            None => format!("{what} {verb}; others have its component"),
        }
    };
    collected.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_named_by_one_word_or_by_two() {
        assert_eq!(split("a:b@5", None).unwrap(), ("a:b", Some(5)));
        assert_eq!(split("a:b", Some("5")).unwrap(), ("a:b", Some(5)));
        assert_eq!(split("a:b", None).unwrap(), ("a:b", None));
        for (package, number, got) in [
            ("a:b@x", None, "\"a:b@x\""),
            ("a:b", Some("x"), "\"a:b@x\""),
            ("a:b@5", Some("6"), "\"a:b@5 6\""),
        ] {
            let said = split(package, number).unwrap_err().message;
            assert!(
                said.contains("expected PACKAGE@N") && said.ends_with(got),
                "{said}"
            );
        }
    }

    #[test]
    fn two_deployments_are_named_in_each_way() {
        for (from, to, number) in [
            ("a:b@4", "a:b@5", None),
            ("a:b@4", "5", None),
            ("a:b", "4", Some("5")),
        ] {
            assert_eq!(split_two(from, to, number).unwrap(), ("a:b", 4, 5));
        }
        for (from, to, number, says) in [
            ("a:b@4", "a:c@5", None, "two deployments of one package"),
            ("a:b", "a:b@5", None, "got \"a:b\""),
            ("a:b@4", "x", None, "got \"a:b@x\""),
            ("a:b", "4", Some("x"), "got \"a:b@x\""),
            ("a:b@4", "5", Some("6"), "got \"a:b@4 5\""),
        ] {
            let said = split_two(from, to, number).unwrap_err().message;
            assert!(said.contains(says), "{said}");
        }
    }
}
