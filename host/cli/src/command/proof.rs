//! Replay proof: what a new component would do to the runs in flight, before and when it is deployed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use dacapo_client::{Client, ClientError, RunId, Store};
use dacapo_model::{DeploymentId, Descriptor, Manifest, PayloadLimits};
use dacapo_sandbox::{Sandbox, SandboxConfig};
use dacapo_store::Move;
use dacapo_worker::{Candidate, Finding, Findings, Judged};
use serde_json::json;

use crate::command::deploy::Deployable;
use crate::command::worker::default_cache_dir;
use crate::error::{Failed, Result};
use crate::ui::{Ui, cut, patiently, table};

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
    /// Deploy only if all runs in flight would go on with it; with --upgrade, fail if any was left behind
    #[arg(long, conflicts_with = "check")]
    pub(crate) require_all: bool,
    /// Count runs as going on, too, that would come to a step which dacapo.toml says was inserted: whether the code asks for what they have
    /// recorded behind it is not known before
    #[arg(long)]
    pub(crate) accept_inserted: bool,
    /// With --check: try no more than so many runs, chosen at random
    #[arg(long, value_name = "RUNS", requires = "check", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: Option<u32>,
}

/// Goes at a run that is busy, or whose journal grows, before it is left where it is.
const TRIES: u32 = 5;

/// Runs that are moved before it is noted how many were.
const MOVED_AT_ONCE: usize = 200;

/// How long such runs are left alone after the first go; twice as long after each other one.
const PATIENCE: Duration = Duration::from_millis(200);

/// What was found out about the runs of a package.
pub(crate) struct Proven {
    findings: Findings,
    /// How many there are in flight, if not all of them were tried.
    of: Option<usize>,
    /// Those that were proven.
    going_on: Vec<Judged>,
}

impl Proven {
    /// Of runs that were tried one by one.
    pub(crate) fn of(going_on: Vec<Judged>) -> Proven {
        let mut findings = Findings::default();
        going_on.iter().for_each(|judged| findings.add(judged));
        Proven {
            findings,
            of: None,
            going_on,
        }
    }

    pub(crate) fn all_go_on(&self) -> bool {
        self.findings.totals().1 == 0
    }

    /// How many would go on, and how many would not.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.findings.totals()
    }

    /// How many would not go on.
    pub(crate) fn not_proven(&self) -> u64 {
        self.findings.totals().1
    }

    /// What was found.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.findings.all()
    }

    /// How many there are in flight, if not all of them were tried.
    pub(crate) fn sampled_of(&self) -> Option<u64> {
        self.of.map(|of| of as u64)
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
        "goes-on-to" => "go on up to an inserted step",
        "fails" => "would fail",
        "fails-as-before" => "fail as they did",
        "journal-limit" => "their journals are too long for its manifest",
        "diverges" => "diverge",
        "input" => "their input does not fit",
        "event" => "an event does not fit",
        "no-workflow" => "have no workflow any more",
        other => other,
    }
}

/// A component that runs are to be tried with, compiled.
pub(crate) async fn candidate(
    one: &Deployable,
    accept_inserted: bool,
    payload: PayloadLimits,
) -> Result<Candidate> {
    let described = &one.described;
    let (digest, component) = (described.digest.clone(), described.component.clone());
    let (descriptor, manifest) = (described.descriptor.clone(), one.manifest.clone());
    let compiled = compile(digest, component, descriptor, manifest, payload).await;
    Ok(compiled?.accepts_inserted(accept_inserted))
}

/// The same, of its parts.
pub(crate) async fn compile(
    digest: String,
    component: Vec<u8>,
    descriptor: Descriptor,
    manifest: Manifest,
    payload: PayloadLimits,
) -> Result<Candidate> {
    let what = format!("compiling component {digest}");
    let compiling = tokio::task::spawn_blocking(move || -> Result<Candidate> {
        let sandbox = Sandbox::new(SandboxConfig {
            cache_dir: default_cache_dir().filter(|dir: &PathBuf| dir.is_dir()),
            payload,
            // Those of the workers are not known here; the manifest's hold.
            steps_max: u32::MAX,
            journal_max_bytes: usize::MAX,
            ..SandboxConfig::default()
        })
        .map_err(Failed::new)?;
        Candidate::new(sandbox, &digest, &component, &descriptor, &manifest).map_err(Failed::new)
    });
    patiently(&what, compiling).await.map_err(Failed::new)?
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
    let (findings, going_on) = judge(store, candidate, &runs, ui).await?;
    Ok(Proven {
        findings,
        of,
        going_on,
    })
}

async fn judge(
    store: &Store,
    candidate: &Candidate,
    runs: &[RunId],
    ui: Ui,
) -> Result<(Findings, Vec<Judged>)> {
    let (mut findings, mut going_on) = (Findings::default(), Vec::new());
    let bar = ui.bar("replaying", runs.len() as u64);
    let judging = candidate.judge_all(store, runs, |judged| {
        bar.inc(1);
        if judged.has_ended {
            return;
        }
        findings.add(&judged);
        if judged.verdict.is_proven() {
            going_on.push(judged);
        }
    });
    let judged = judging.await;
    bar.finish_and_clear();
    judged.map_err(ClientError::from)?;
    Ok((findings, going_on))
}

/// What became of runs that were to be moved.
pub(crate) struct Upgraded {
    /// What is known of the runs after it, those included that were moved.
    pub(crate) proven: Proven,
    /// How many go on with the other deployment.
    pub(crate) moved: u64,
    /// Those that were busy in all tries, and stay where they are.
    pub(crate) busy: Vec<RunId>,
    /// Those that have gone on meanwhile, and do not fit any more.
    pub(crate) unfit: Vec<RunId>,
    /// What kept the rest from being moved, if anything did.
    pub(crate) stopped: Option<Failed>,
}

/// Moves the runs that were proven, and judges those again that were busy or have gone on meanwhile.
pub(crate) async fn upgrade(
    client: &Client,
    candidate: &Candidate,
    to: DeploymentId,
    mut proven: Proven,
    who: &str,
    ui: Ui,
) -> Upgraded {
    let store = client.store();
    let by_run = |judged: Judged| (judged.at.run, judged);
    let mut going_on: HashMap<RunId, Judged> = proven.going_on.drain(..).map(by_run).collect();
    let mut done = Upgraded {
        proven,
        moved: 0,
        busy: Vec::new(),
        unfit: Vec::new(),
        stopped: None,
    };
    let mut patience = PATIENCE;
    let bar = ui.bar("moving", going_on.len() as u64);
    for attempt in 1..=TRIES {
        let moves: Vec<Move> = going_on.values().map(|judged| judged.at).collect();
        let mut again = Vec::new();
        // By and by, so that what was moved before an error is known.
        for batch in moves.chunks(MOVED_AT_ONCE) {
            let answer = match dacapo_worker::move_proven(store, to, batch, who).await {
                Ok(answer) => answer,
                Err(error) => {
                    done.stopped = Some(ClientError::from(error).into());
                    break;
                }
            };
            done.moved += answer.moved;
            bar.set_position(done.moved);
            for run in &answer.ended {
                if let Some(judged) = going_on.get(run) {
                    done.proven.findings.remove(judged);
                }
            }
            again.extend(answer.again);
            if answer.is_retired {
                done.stopped = Some(retired(done.moved));
                break;
            }
        }
        if again.is_empty() || attempt == TRIES || done.stopped.is_some() {
            done.busy = again;
            break;
        }
        tokio::time::sleep(patience).await;
        patience *= 2;
        for run in &again {
            if let Some(judged) = going_on.get(run) {
                done.proven.findings.remove(judged);
            }
        }
        going_on.clear();
        let judging = candidate.judge_all(store, &again, |judged| {
            if judged.has_ended {
                return;
            }
            done.proven.findings.add(&judged);
            if judged.verdict.is_proven() {
                going_on.insert(judged.at.run, judged);
            } else {
                done.unfit.push(judged.at.run);
            }
        });
        if let Err(error) = judging.await {
            done.stopped = Some(ClientError::from(error).into());
            break;
        }
    }
    bar.finish_and_clear();
    done
}

/// Nothing goes on with a deployment that is retired.
fn retired(moved: u64) -> Failed {
    Failed::request(format!(
        "the deployment was retired or taken away meanwhile: {moved} runs were moved there, and the others stay where they are"
    ))
    .hint("`dacapo deployments retire PACKAGE@N --undo` takes a retirement back; then the same command moves the others")
}
