//! Replay proof: what a new component would do to the runs in flight, before and when it is deployed.

use std::path::PathBuf;

use dacapo_client::{Client, ClientError, RunId, Store};
use dacapo_model::{DeploymentId, Descriptor, Manifest, PayloadLimits};
use dacapo_sandbox::{Sandbox, SandboxConfig};
use dacapo_store::{Move, StoreError};
use dacapo_worker::{Candidate, Finding, Findings};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::command::deploy::Deployable;
use crate::command::worker::default_cache_dir;
use crate::error::{Failed, Result};
use crate::ui::{Ui, cut, table};

/// What becomes of runs in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Upgrade {
    /// They stay on the deployment that they were started on
    None,
    /// Those go on with the new one whose journals it has been proven to agree with; the others stay
    Proven,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProofArgs {
    /// Deploy nothing: play the journals of all runs in flight over each component, without any effect, and say what would become of them,
    /// and whom its types would break; the exit code says whether all would go on and nobody would be broken
    #[arg(long)]
    pub(crate) check: bool,
    /// Whether runs in flight go on with the new deployment
    #[arg(long, value_enum, default_value_t = Upgrade::None)]
    pub(crate) upgrade: Upgrade,
    /// Deploy only if all runs in flight would go on with it
    #[arg(long, conflicts_with = "check")]
    pub(crate) require_all: bool,
    /// With --check: try no more than so many runs, chosen at random
    #[arg(long, value_name = "RUNS", requires = "check", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: Option<u32>,
}

/// Goes at a run that is busy, or whose journal grows, before it is left where it is.
const TRIES: u32 = 5;

/// Runs that are moved before it is noted how many were.
const MOVED_AT_ONCE: usize = 200;

/// What was found out about the runs of a package.
pub(crate) struct Proven {
    findings: Findings,
    /// How many there are in flight, if not all of them were tried.
    of: Option<usize>,
    pub(crate) moves: Vec<Move>,
}

impl Proven {
    pub(crate) fn all_go_on(&self) -> bool {
        self.findings.totals().1 == 0
    }

    /// Whether there were no runs at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.findings.totals() == (0, 0)
    }

    /// As data.
    pub(crate) fn json(&self) -> serde_json::Value {
        let (proven, not) = self.findings.totals();
        json!({ "proven": proven, "notProven": not, "sampledOf": self.of, "findings": self.findings.all() })
    }

    /// For people.
    pub(crate) fn text(&self, package: &str) -> String {
        let (proven, not) = self.findings.totals();
        let tried = proven + not;
        if tried == 0 {
            return format!("no runs of {package} are in flight");
        }
        let of = self
            .of
            .map_or_else(String::new, |of| format!(" (a sample of {of})"));
        format!(
            "{proven} of {tried} runs in flight would go on{of}\n{}",
            findings_text(&self.findings, package)
        )
    }
}

/// What was found, as a table.
pub(crate) fn findings_text(findings: &Findings, package: &str) -> String {
    let all = findings.all();
    let rows = all.iter().map(|finding: &Finding| {
        let example = match finding.is_proven {
            true => String::new(),
            false => format!("{}, such as {}", cut(&finding.reason, 300), finding.example),
        };
        vec![
            finding.workflow.clone(),
            finding.runs.to_string(),
            words(finding.verdict).to_owned(),
            example,
        ]
    });
    match all.is_empty() {
        true => format!("no such runs of {package}"),
        false => table(&["workflow", "runs", "", ""], rows),
    }
}

/// A verdict for people.
pub(crate) fn words(verdict: &str) -> &str {
    match verdict {
        "goes-on" => "go on",
        "completes" => "complete",
        "fails" => "would fail",
        "diverges" => "diverge",
        "input" => "their input does not fit",
        "event" => "an event does not fit",
        "no-workflow" => "have no workflow any more",
        other => other,
    }
}

/// A component that runs are to be tried with, compiled.
pub(crate) async fn candidate(one: &Deployable, payload: PayloadLimits) -> Result<Candidate> {
    let described = &one.described;
    let (digest, component) = (described.digest.clone(), described.component.clone());
    let (descriptor, manifest) = (described.descriptor.clone(), one.manifest.clone());
    compile(digest, component, descriptor, manifest, payload).await
}

/// The same, of its parts.
pub(crate) async fn compile(
    digest: String,
    component: Vec<u8>,
    descriptor: Descriptor,
    manifest: Manifest,
    payload: PayloadLimits,
) -> Result<Candidate> {
    let compiled = tokio::task::spawn_blocking(move || -> Result<Candidate> {
        let sandbox = Sandbox::new(SandboxConfig {
            cache_dir: default_cache_dir().filter(|dir: &PathBuf| dir.is_dir()),
            payload,
            ..SandboxConfig::default()
        })
        .map_err(Failed::new)?;
        Candidate::new(sandbox, &digest, &component, &descriptor, &manifest).map_err(Failed::new)
    });
    compiled.await.map_err(Failed::new)?
}

/// What runs of a deployment are pinned to.
pub(crate) async fn deployment(
    client: &Client,
    package: &str,
    number: i32,
) -> Result<DeploymentId> {
    let (store, namespace) = (client.store(), client.namespace());
    let content = dacapo_store::deployment_content(store, namespace, package, number).await;
    let content = content.map_err(ClientError::from)?;
    let content = content.ok_or_else(|| {
        Failed::request(format!("there is no deployment {number} of {package}"))
            .hint("`dacapo deployments list` shows them")
    })?;
    Ok(content.id)
}

/// Tries the runs in flight of a package with a component, but for those of one deployment.
pub(crate) async fn prove(
    client: &Client,
    candidate: &Candidate,
    package: &str,
    except: Option<DeploymentId>,
    sample: Option<u32>,
    ui: Ui,
) -> Result<Proven> {
    let store = client.store();
    let in_flight = dacapo_store::runs_in_flight(store, client.namespace(), package, except);
    let in_flight = in_flight.await.map_err(ClientError::from)?;
    let mut runs: Vec<RunId> = in_flight.into_iter().map(|(run, _)| run).collect();
    let mut of = None;
    if let Some(sample) = sample.map(|sample| sample as usize)
        && sample < runs.len()
    {
        of = Some(runs.len());
        // The end of an id is random.
        runs.sort_unstable_by_key(|run| run.0.as_u128().reverse_bits());
        runs.truncate(sample);
    }
    let (findings, moves) = judge(store, candidate, &runs, ui).await?;
    Ok(Proven {
        findings,
        of,
        moves,
    })
}

async fn judge(
    store: &Store,
    candidate: &Candidate,
    runs: &[RunId],
    ui: Ui,
) -> Result<(Findings, Vec<Move>)> {
    let (mut findings, mut moves) = (Findings::default(), Vec::new());
    let bar = match ui.is_json() {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(runs.len() as u64),
    };
    if let Ok(style) = ProgressStyle::with_template("replaying [{bar:30}] {pos}/{len} {per_sec}") {
        bar.set_style(style);
    }
    let judging = candidate.judge_all(store, runs, |judged| {
        bar.inc(1);
        if judged.has_ended {
            return;
        }
        findings.add(&judged);
        if judged.verdict.is_proven() {
            moves.push(judged.at);
        }
    });
    let judged = judging.await;
    bar.finish_and_clear();
    judged.map_err(ClientError::from)?;
    Ok((findings, moves))
}

/// What became of runs that were to be moved.
#[derive(Default)]
pub(crate) struct Moving {
    /// How many go on with the other deployment.
    pub(crate) moved: u64,
    /// Those that were busy in all tries, or that do not fit any more: they stay where they are.
    pub(crate) left: Vec<RunId>,
    /// What kept the rest from being moved, if anything did.
    pub(crate) stopped: Option<Failed>,
}

/// Moves the runs that were proven, and judges those again that were busy or have gone on meanwhile.
pub(crate) async fn move_all(
    client: &Client,
    candidate: &Candidate,
    to: DeploymentId,
    mut moves: Vec<Move>,
    who: &str,
) -> Moving {
    let store = client.store();
    let mut done = Moving::default();
    let stopped = |error: StoreError| -> Option<Failed> { Some(ClientError::from(error).into()) };
    for attempt in 1..=TRIES {
        let mut again = Vec::new();
        // By and by, so that what was moved before an error is known.
        for batch in moves.chunks(MOVED_AT_ONCE) {
            match dacapo_worker::move_proven(store, to, batch, who).await {
                Ok((now, busy)) => {
                    done.moved += now;
                    again.extend(busy);
                }
                Err(error) => {
                    done.left.extend(again);
                    done.stopped = stopped(error);
                    return done;
                }
            }
        }
        if again.is_empty() || attempt == TRIES {
            done.left.extend(again);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        moves.clear();
        let judging = candidate.judge_all(store, &again, |judged| {
            if judged.has_ended {
                return;
            }
            match judged.verdict.is_proven() {
                true => moves.push(judged.at),
                false => done.left.push(judged.at.run),
            }
        });
        if let Err(error) = judging.await {
            done.stopped = stopped(error);
            return done;
        }
    }
    done
}
