//! `dacapo runs repair`

use std::collections::HashMap;
use std::process::ExitCode;

use dacapo_client::{Client, ClientError, DeploymentStatus, ListFilter, RunFilter, RunId, Status};
use dacapo_model::{DeploymentId, PayloadLimits};
use dacapo_server::Repair;
use dacapo_worker::{Candidate, Findings, Judged};
use serde_json::json;

use crate::arguments::Global;
use crate::command::deployments::Named;
use crate::command::proof;
use crate::command::runs::Filter;
use crate::command::who;
use crate::connect;
use crate::error::{Failed, Result};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    with: Named,
    #[command(flatten)]
    filter: Filter,
    /// Do it: move the blocked runs that go on with it, and start those of the failed ones again, behind all that they have recorded
    #[arg(long)]
    apply: bool,
    /// Count runs as going on, too, that would come to a step which the manifest says was inserted: whether the code asks for what they have
    /// recorded behind it is not known before
    #[arg(long)]
    accept_inserted: bool,
    /// Who does it, as it is kept with the runs [default: the user and the machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Runs that are looked up in one statement.
const PAGE: u32 = 1_000;

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let (package, number) = args.with.split()?;
    let client = connect::client(global).await?;
    let ask = Repair {
        package: package.to_owned(),
        number,
        filter: args.filter.filter()?,
        apply: args.apply,
        accept_inserted: args.accept_inserted,
        who: who(args.by),
    };
    let report = repair(&client, ask, global.payload_limits(), ui).await?;
    if ui.is_json() {
        ui.data(&report.json(), |_| String::new());
    } else {
        report.text().iter().for_each(|line| ui.line(line));
    }
    let done = report.done.unwrap_or_default();
    for run in &done.busy {
        ui.say(&format!(
            "run {run}: it was busy, or does not fit any more, and stays where it is; do this again"
        ));
    }
    for (run, error) in &done.refused {
        ui.say(&format!("run {run}: {error}"));
    }
    match done.stopped {
        Some(error) if error.hint.is_none() => {
            Err(error.hint("do this again: what was done is not done twice"))
        }
        Some(error) => Err(error),
        None if done.busy.is_empty() && done.refused.is_empty() => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::FAILURE),
    }
}

/// What was found about failed and blocked runs, and what was done to them.
pub(crate) struct Report {
    package: String,
    findings: Findings,
    /// Runs that were repaired before.
    before: usize,
    /// Runs that were played.
    played: usize,
    /// Those of them that go on, by what they are.
    blocked: usize,
    failed: usize,
    /// None: nothing was to be done.
    done: Option<Repaired>,
}

impl Report {
    /// As data.
    pub(crate) fn json(&self) -> serde_json::Value {
        let (proven, not) = self.findings.totals();
        let done = self.done.as_ref();
        let started = done.map(|done| {
            let started = done.started.iter();
            let started = started.map(|(old, new)| json!({ "run": old, "newRun": new }));
            started.collect::<Vec<_>>()
        });
        json!({
            "findings": self.findings.all(),
            "proven": proven,
            "notProven": not,
            "repairedBefore": self.before,
            "moved": done.map(|done| done.moved),
            "started": started,
            "busy": done.map(|done| &done.busy),
            "refused": done.map_or(0, |done| done.refused.len()),
        })
    }

    /// For people.
    fn text(&self) -> Vec<String> {
        let mut lines = vec![proof::findings_text(&self.findings, &self.package)];
        if self.before > 0 {
            lines.push(format!(
                "{} failed runs were repaired with it before",
                self.before
            ));
        }
        if self.played > 0 {
            lines.push(match &self.done {
                Some(done) => format!(
                    "{} blocked runs go on, {} failed ones go on as new runs",
                    done.moved,
                    done.started.len()
                ),
                None => format!(
                    "--apply would let {} blocked runs go on, and {} failed ones as new runs",
                    self.blocked, self.failed
                ),
            });
        }
        lines
    }
}

/// Plays failed and blocked runs over the code of a deployment, and lets those go on that agree with it, if that is asked for.
pub(crate) async fn repair(
    client: &Client,
    ask: Repair,
    limits: PayloadLimits,
    ui: Ui,
) -> Result<Report> {
    let number = ask.number;
    let details = client.deployment(&ask.package, Some(number)).await?;
    let package = details.info.package;
    if details.info.status == DeploymentStatus::Retired {
        let mut failed = Failed::request(format!(
            "deployment {number} of {package} is retired: no run can go on there"
        ))
        .hint(format!(
            "`dacapo deployments retire {package}@{number} --undo` takes that back; or name another one"
        ));
        failed.code = "deployment-retired".to_owned();
        return Err(failed);
    }
    let to = proof::deployment(client, &package, number).await?;
    let candidate = candidate(client, to, limits).await?;
    let candidate = candidate.accepts_inserted(ask.accept_inserted);

    let mut broken = broken(client, ask.filter, &package).await?;
    // Those go on already, as other runs.
    let failed = broken
        .iter()
        .filter(|(_, status)| **status == Status::Failed);
    let failed: Vec<RunId> = failed.map(|(run, _)| *run).collect();
    let before = client.repaired(&failed, to).await?;
    broken.retain(|run, _| !before.contains(run));
    let runs: Vec<RunId> = broken.keys().copied().collect();
    let mut findings = Findings::default();
    let (mut blocked, mut failed) = (Vec::new(), Vec::new());
    let bar = ui.bar("replaying", runs.len() as u64);
    let judging = candidate.judge_all(client.store(), &runs, |judged| {
        bar.inc(1);
        let run = judged.at.run;
        findings.add(&judged);
        match broken.get(&run) {
            Some(Status::Blocked) if judged.verdict.is_proven() => blocked.push(judged),
            Some(Status::Failed) if judged.verdict.is_proven() => failed.push(run),
            _ => {}
        }
    });
    let judged = judging.await;
    bar.finish_and_clear();
    judged.map_err(ClientError::from)?;
    failed.sort_unstable();
    let counts = (blocked.len(), failed.len());
    let done = match ask.apply {
        true => Some(apply(client, &candidate, to, blocked, &failed, &ask.who, ui).await),
        false => None,
    };
    Ok(Report {
        package,
        findings,
        before: before.len(),
        played: runs.len(),
        blocked: counts.0,
        failed: counts.1,
        done,
    })
}

/// The deployment's component, compiled.
pub(crate) async fn candidate(
    client: &Client,
    id: DeploymentId,
    limits: PayloadLimits,
) -> Result<Candidate> {
    let store = client.store();
    let gone = || Failed::request("the deployment was taken away meanwhile");
    let row = dacapo_store::deployment(store, id).await;
    let row = row.map_err(ClientError::from)?.ok_or_else(gone)?;
    let bytes = dacapo_store::component_bytes(store, &row.digest).await;
    let bytes = bytes.map_err(ClientError::from)?.ok_or_else(gone)?;
    proof::compile(row.digest, bytes, row.descriptor, row.manifest, limits).await
}

/// The failed and blocked runs that the filter finds, of workflows of this package.
async fn broken(
    client: &Client,
    filter: RunFilter,
    package: &str,
) -> Result<HashMap<RunId, Status>> {
    let statuses = match filter.status {
        None => vec![Status::Failed, Status::Blocked],
        Some(status @ (Status::Failed | Status::Blocked)) => vec![status],
        Some(status) => {
            return Err(Failed::usage(format!(
                "only failed and blocked runs can be repaired, got --status {status}"
            )));
        }
    };
    let of_package = format!("{package}/");
    let mut broken = HashMap::new();
    for status in statuses {
        // Words of a failure find runs that have ended.
        if status == Status::Blocked && filter.failure.is_some() {
            continue;
        }
        let mut after = None;
        loop {
            let page = client.list(ListFilter {
                runs: RunFilter {
                    status: Some(status),
                    ..filter.clone()
                },
                limit: PAGE,
                after,
                before: None,
            });
            let page = page.await?;
            let ours = page.items.into_iter();
            let ours = ours.filter(|run| run.workflow.starts_with(&of_package));
            broken.extend(ours.map(|run| (run.id, run.status)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(broken)
}

/// What was done.
#[derive(Default)]
struct Repaired {
    /// Blocked runs that go on.
    moved: u64,
    /// Failed runs, and the runs that go on in their places.
    started: Vec<(RunId, RunId)>,
    refused: Vec<(RunId, ClientError)>,
    /// Blocked runs that were to go on, and stay where they are.
    busy: Vec<RunId>,
    /// What kept the rest from being tried, if anything did.
    stopped: Option<Failed>,
}

async fn apply(
    client: &Client,
    candidate: &Candidate,
    to: DeploymentId,
    blocked: Vec<Judged>,
    failed: &[RunId],
    who: &str,
    ui: Ui,
) -> Repaired {
    let blocked = proof::Proven::of(blocked);
    let moving = proof::upgrade(client, candidate, to, blocked, who, ui).await;
    let mut done = Repaired {
        moved: moving.moved,
        busy: [moving.busy, moving.unfit].concat(),
        stopped: moving.stopped,
        ..Repaired::default()
    };
    if done.stopped.is_some() {
        return done;
    }
    let bar = ui.bar("starting again", failed.len() as u64);
    for &run in failed {
        match client.repair(run, to, who).await {
            Ok(new) => done.started.push((run, new)),
            Err(error @ (ClientError::Unavailable(_) | ClientError::Store(_))) => {
                done.stopped = Some(error.into());
                break;
            }
            Err(error) => done.refused.push((run, error)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    done
}
