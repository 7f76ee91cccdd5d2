//! Replay proof: what would become of runs with another component, found by playing their journals over it without any effect.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dacapo_model::{
    Changes, DeploymentId, Descriptor, Failure, Manifest, Payload, PayloadLimits, RunId, StepKey,
    Workflow,
};
use dacapo_sandbox::{
    BlockCode, Ending, Observer, PrepareError, Prepared, Proof, RunSpec, Sandbox, Terms,
};
use dacapo_store::{Move, Moved, Store, StoreError, WholeRun};
use futures_util::{StreamExt, stream};
use serde::Serialize;

/// Runs that are read in one statement.
const BATCH: usize = 200;

/// What would become of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It would go on where it is.
    GoesOn,
    /// It would go on up to this call, which the code's author says was inserted; whether the code asks for what is recorded behind that is
    /// not known. Whoever tries the component may say that this is enough ([`Candidate::accepts_inserted`]).
    GoesOnTo {
        /// The call's key.
        key: StepKey,
        /// It is enough.
        is_accepted: bool,
    },
    /// It would complete without doing anything new.
    Completes,
    /// It would fail.
    Fails(Failure),
    /// It has failed, and would fail in the same way.
    FailsAsBefore(Failure),
    /// It would be blocked, because its journal is as long as the manifest lets it be.
    JournalLimit(String),
    /// The code contradicts its journal, or cannot read what is recorded.
    Diverges {
        /// Both sides, in words.
        reason: String,
        /// Both sides as data, and where the code was.
        details: Option<Payload>,
    },
    /// Its input is not what the workflow takes.
    Input(String),
    /// An event that it was sent and has not taken is not what the workflow takes.
    Event(String),
    /// The component has no such workflow.
    NoWorkflow,
}

impl Verdict {
    /// Whether the component may take the run over.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        match self {
            Self::GoesOn | Self::Completes => true,
            Self::GoesOnTo { is_accepted, .. } => *is_accepted,
            _ => false,
        }
    }

    /// The verdict as one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::GoesOn => "goes-on",
            Self::GoesOnTo { .. } => "goes-on-to",
            Self::Completes => "completes",
            Self::Fails(_) => "fails",
            Self::FailsAsBefore(_) => "fails-as-before",
            Self::JournalLimit(_) => "journal-limit",
            Self::Diverges { .. } => "diverges",
            Self::Input(_) => "input",
            Self::Event(_) => "event",
            Self::NoWorkflow => "no-workflow",
        }
    }

    /// Why, in words.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::GoesOn | Self::Completes => String::new(),
            Self::GoesOnTo { key, .. } => format!(
                "it would make the inserted call `{key}`, and what is recorded behind that is unchecked"
            ),
            Self::Fails(failure) | Self::FailsAsBefore(failure) => {
                format!("{}: {}", failure.code, failure.message)
            }
            Self::Diverges { reason, .. }
            | Self::JournalLimit(reason)
            | Self::Input(reason)
            | Self::Event(reason) => reason.clone(),
            Self::NoWorkflow => "the component has no such workflow".to_owned(),
        }
    }

    /// More about it as JSON, such as the functions that were running.
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        match self {
            Self::Fails(failure) | Self::FailsAsBefore(failure) => failure.details.as_ref(),
            Self::Diverges { details, .. } => details.as_ref(),
            _ => None,
        }
        .map(Payload::as_str)
    }
}

/// A component that runs are tried with.
#[derive(Clone)]
pub struct Candidate {
    sandbox: Sandbox,
    prepared: Prepared,
    /// By full name.
    workflows: Arc<HashMap<String, Offered>>,
    terms: Arc<Terms>,
    limits: PayloadLimits,
    accepts_inserted: bool,
}

/// A workflow of a candidate, and how its code differs from what runs may have begun with.
struct Offered {
    workflow: Workflow,
    changes: Option<Arc<Changes>>,
}

impl Candidate {
    /// Compiles a component, or finds it compiled. Takes up to many seconds of a core.
    ///
    /// # Errors
    /// The component cannot be run.
    pub fn new(
        sandbox: Sandbox,
        digest: &str,
        component: &[u8],
        descriptor: &Descriptor,
        manifest: &Manifest,
    ) -> Result<Self, PrepareError> {
        let prepared = match sandbox.prepare_cached(digest)? {
            Some(prepared) => prepared,
            None => sandbox.prepare(digest, component)?,
        };
        let workflows = descriptor.workflows.iter().map(|workflow| {
            let changes = manifest.changes_of(&workflow.name);
            let changes = changes.map(|changes| Arc::new(changes.clone()));
            let offered = Offered {
                workflow: workflow.clone(),
                changes,
            };
            (workflow.name.clone(), offered)
        });
        Ok(Self {
            limits: sandbox.config().payload,
            terms: sandbox.terms(manifest),
            workflows: Arc::new(workflows.collect()),
            prepared,
            sandbox,
            accepts_inserted: false,
        })
    }

    /// Whether it is enough that a run would go on up to an inserted call.
    #[must_use]
    pub fn accepts_inserted(mut self, accepts: bool) -> Self {
        self.accepts_inserted = accepts;
        self
    }

    /// What would become of a run. It is not touched.
    pub async fn judge(&self, run: WholeRun, observer: Option<Arc<dyn Observer>>) -> Verdict {
        let Some(Offered { workflow, changes }) = self.workflows.get(&run.workflow) else {
            return Verdict::NoWorkflow;
        };
        // Also where the workflow takes no input any more.
        if let Err(error) = workflow.check_input(run.input.as_str(), &self.limits) {
            return Verdict::Input(error.to_string());
        }
        for (name, payload) in &run.inbox {
            if let Err(error) = workflow.check_event(name, payload.as_str(), &self.limits) {
                return Verdict::Event(format!("event {name}: {error}"));
            }
        }
        let failed_with = run.failure;
        let spec = RunSpec {
            run_id: run.run,
            workflow: run.workflow,
            input: run.input,
            seed: run.seed,
            created_at: run.created_at,
            retries: run.retries,
            retry: None,
            labels: run.labels,
            changes: changes.clone(),
            terms: Arc::clone(&self.terms),
            recorded: run.recorded,
        };
        let proof = self
            .sandbox
            .prove(&self.prepared, workflow, spec, observer)
            .await;
        match proof {
            Proof::GoesOn | Proof::Ends(Ending::Suspended | Ending::Stopped(_)) => Verdict::GoesOn,
            Proof::GoesOnTo(key) => Verdict::GoesOnTo {
                key,
                is_accepted: self.accepts_inserted,
            },
            Proof::Ends(Ending::Completed(_) | Ending::Cancelled(_)) => Verdict::Completes,
            Proof::Ends(Ending::Failed(failure)) => match failed_with {
                Some(before)
                    if (&before.code, &before.message) == (&failure.code, &failure.message) =>
                {
                    Verdict::FailsAsBefore(failure)
                }
                _ => Verdict::Fails(failure),
            },
            Proof::Ends(Ending::Blocked(reason)) | Proof::Diverges(reason) => match reason.code {
                BlockCode::Input => Verdict::Input(reason.message),
                BlockCode::JournalLimit => Verdict::JournalLimit(reason.message),
                _ => Verdict::Diverges {
                    reason: reason.message,
                    details: reason.details,
                },
            },
        }
    }

    /// What would become of each of these runs, in any order; those that are not there are left out. `on` is called for each as soon as it is
    /// known. They are played on all cores.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn judge_all(
        &self,
        store: &Store,
        runs: &[RunId],
        mut on: impl FnMut(Judged),
    ) -> Result<(), StoreError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let batches = runs.chunks(BATCH).map(|batch| {
            let (store, candidate, batch) = (store.clone(), self.clone(), batch.to_vec());
            async move {
                // A task of its own, so that batches are played on different cores.
                let judging = tokio::spawn(async move {
                    let mut judged = Vec::with_capacity(batch.len());
                    for run in dacapo_store::look_whole(&store, &batch).await? {
                        let (at, workflow) = (Move::of(&run), run.workflow.clone());
                        let has_ended = run.ended.is_some();
                        judged.push(Judged {
                            verdict: candidate.judge(run, None).await,
                            workflow,
                            has_ended,
                            at,
                        });
                    }
                    Ok(judged)
                });
                judging
                    .await
                    .unwrap_or_else(|error| Err(StoreError::Unreadable(error.to_string())))
            }
        });
        let mut batches = stream::iter(batches).buffer_unordered(cores + 1);
        while let Some(batch) = batches.next().await {
            batch?.into_iter().for_each(&mut on);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").finish_non_exhaustive()
    }
}

/// A run and what would become of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What would become of it.
    pub verdict: Verdict,
    /// Full name of its workflow.
    pub workflow: String,
    /// It had ended when it was looked at.
    pub has_ended: bool,
    /// The run, and how it stood.
    pub at: Move,
}

/// Runs with the same verdict for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Full name of their workflow.
    pub workflow: String,
    /// What would become of them: `goes-on`, `goes-on-to`, `completes`, `fails`, `fails-as-before`, `diverges`, `journal-limit`, `input`,
    /// `event` or `no-workflow`.
    pub verdict: &'static str,
    /// Why, in words; empty where nothing is wrong.
    pub reason: String,
    /// How many they are.
    pub runs: u64,
    /// One of them.
    pub example: RunId,
    /// The component may take them over.
    pub is_proven: bool,
}

/// What would become of many runs, by workflow, verdict and reason.
#[derive(Debug, Clone, Default)]
pub struct Findings(BTreeMap<(String, bool, &'static str, String), (u64, RunId)>);

/// Different reasons that are kept apart.
const REASONS_MAX: usize = 200;

impl Findings {
    /// Counts one in.
    pub fn add(&mut self, judged: &Judged) {
        let key = self.key(judged);
        self.0.entry(key).or_insert((0, judged.at.run)).0 += 1;
    }

    /// Takes one back that was counted in.
    pub fn remove(&mut self, judged: &Judged) {
        let key = self.key(judged);
        if let Some((runs, _)) = self.0.get_mut(&key) {
            *runs = runs.saturating_sub(1);
            if *runs == 0 {
                self.0.remove(&key);
            }
        }
    }

    fn key(&self, judged: &Judged) -> (String, bool, &'static str, String) {
        let mut key = (
            judged.workflow.clone(),
            judged.verdict.is_proven(),
            judged.verdict.word(),
            judged.verdict.reason(),
        );
        if self.0.len() >= REASONS_MAX && !self.0.contains_key(&key) {
            "other reasons".clone_into(&mut key.3);
        }
        key
    }

    /// All of them, those that are proven last within their workflow.
    #[must_use]
    pub fn all(&self) -> Vec<Finding> {
        let finding = |((workflow, is_proven, verdict, reason), (runs, example)): (
            &(String, bool, &'static str, String),
            &(u64, RunId),
        )| Finding {
            workflow: workflow.clone(),
            verdict,
            reason: reason.clone(),
            runs: *runs,
            example: *example,
            is_proven: *is_proven,
        };
        self.0.iter().map(finding).collect()
    }

    /// How many runs may be taken over, and how many may not.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.0
            .iter()
            .fold((0, 0), |(proven, not), ((_, is_proven, ..), (runs, _))| {
                if *is_proven {
                    (proven + runs, not)
                } else {
                    (proven, not + runs)
                }
            })
    }
}

/// What became of runs that were to be moved.
#[derive(Debug, Clone, Default)]
pub struct MovedRuns {
    /// How many go on with the deployment.
    pub moved: u64,
    /// Those that were busy or have changed: they are to be judged again.
    pub again: Vec<RunId>,
    /// Those that have ended meanwhile.
    pub ended: Vec<RunId>,
    /// The deployment is retired, or is not there any more: no further run was moved.
    pub is_retired: bool,
}

/// Moves runs that were proven to a deployment of the candidate. They are played there at once, but for those that somebody has paused.
///
/// # Errors
/// Those of the database; what was moved until then stays so.
pub async fn move_proven(
    store: &Store,
    to: DeploymentId,
    proven: &[Move],
    who: &str,
) -> Result<MovedRuns, StoreError> {
    let mut all = MovedRuns::default();
    for batch in proven.chunks(BATCH) {
        for (run, became) in dacapo_store::move_runs(store, to, batch, who).await? {
            match became {
                Moved::Moved => all.moved += 1,
                Moved::Changed | Moved::Busy => all.again.push(run),
                Moved::Ended => all.ended.push(run),
                Moved::Retired => all.is_retired = true,
            }
        }
        if all.is_retired {
            break;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_judged_again_counts_as_it_was_judged_last() {
        let judged = |verdict| Judged {
            verdict,
            workflow: "a:b/c.d".to_owned(),
            has_ended: false,
            at: Move {
                run: RunId::new(),
                rows: 0,
                done: 0,
                latest: None,
                inbox_seq: 0,
            },
        };
        let (first, second) = (judged(Verdict::GoesOn), judged(Verdict::GoesOn));
        let mut findings = Findings::default();
        findings.add(&first);
        findings.add(&second);
        findings.remove(&first);
        findings.add(&judged(Verdict::NoWorkflow));
        assert_eq!(findings.totals(), (1, 1));
        findings.remove(&second);
        assert_eq!(findings.totals(), (0, 1));
        assert_eq!(findings.all().len(), 1);
    }
}
