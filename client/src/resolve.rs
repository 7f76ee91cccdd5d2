//! From the name of a workflow to its active deployment and its types.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dacapo_model::{RunId, is_short_for, similar_workflows};
use dacapo_store::ActiveWorkflow;
use tokio::time::Instant;

use crate::retry::retried;
use crate::{Client, ClientError};

/// More answers than these are not kept.
const KEPT_MAX: usize = 10_000;

/// How long the answer to a short name is believed: a deployment of another package may make the name ambiguous.
const SHORT_NAME_BELIEVED: Duration = Duration::from_secs(5);

/// What a name stands for: the workflow of the active deployment, and that of the one which is being rolled out beside it.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// The active one; if that has no such workflow, the one that is being rolled out.
    main: Arc<ActiveWorkflow>,
    /// The one that is being rolled out, if both have it.
    beside: Option<Arc<ActiveWorkflow>>,
}

impl Resolution {
    /// The full name of the workflow.
    pub(crate) fn name(&self) -> &str {
        &self.main.workflow.name
    }

    /// Where this new run goes.
    pub(crate) fn target(
        &self,
        run: RunId,
        labels: &BTreeMap<String, String>,
    ) -> &Arc<ActiveWorkflow> {
        match &self.beside {
            Some(beside)
                if beside
                    .rollout
                    .as_ref()
                    .is_some_and(|rollout| rollout.takes(run, labels)) =>
            {
                beside
            }
            _ => &self.main,
        }
    }

    fn is_same(&self, other: &Resolution) -> bool {
        let key = |one: &Resolution| {
            let beside = one.beside.as_ref();
            (
                one.main.deployment,
                beside.map(|beside| (beside.deployment, beside.rollout.clone())),
            )
        };
        key(self) == key(other)
    }
}

/// What names stand for, kept between starts. An answer that is out of date is noticed by the start that uses it, because the
/// statement that starts a run does so only while its deployment takes that run.
#[derive(Debug, Default)]
pub(crate) struct Resolved(Mutex<HashMap<(Arc<str>, String), Answer>>);

#[derive(Debug)]
struct Answer {
    workflow: Arc<Resolution>,
    believed_until: Option<Instant>,
}

impl Resolved {
    fn answers(&self) -> MutexGuard<'_, HashMap<(Arc<str>, String), Answer>> {
        // The map is whole whenever the lock is free, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// The active workflow that goes by this name: a full name, or an end of one (`function`, `interface.function`) that is unique.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Arc<ActiveWorkflow>, ClientError> {
        Ok(Arc::clone(&self.resolve_all(name).await?.main))
    }

    /// The same, with what is being rolled out.
    pub(crate) async fn resolve_all(&self, name: &str) -> Result<Arc<Resolution>, ClientError> {
        let key = (Arc::clone(&self.namespace), name.to_owned());
        // What is unique within a scope need not be so for others, nor the other way round.
        let is_limited = self.limits_of_scope().is_some();
        if let Some(answer) = self.shared.resolved.answers().get(&key)
            && (!is_limited || answer.workflow.name() == name)
            && answer
                .believed_until
                .is_none_or(|until| Instant::now() < until)
        {
            return Ok(Arc::clone(&answer.workflow));
        }
        let workflow = Arc::new(self.look_up(name).await?);
        let is_full = workflow.name() == name;
        if is_limited && !is_full {
            return Ok(workflow);
        }
        let answer = Answer {
            workflow: Arc::clone(&workflow),
            believed_until: (!is_full).then(|| Instant::now() + SHORT_NAME_BELIEVED),
        };
        let mut answers = self.shared.resolved.answers();
        if answers.len() >= KEPT_MAX {
            answers.clear();
        }
        answers.insert(key, answer);
        Ok(workflow)
    }

    /// Forgets what a name stood for.
    pub(crate) fn forget(&self, name: &str) {
        self.shared
            .resolved
            .answers()
            .remove(&(Arc::clone(&self.namespace), name.to_owned()));
    }

    /// Looks a name up again. None: it stands for the same as before.
    pub(crate) async fn resolve_all_anew(
        &self,
        name: &str,
        before: &Resolution,
    ) -> Result<Option<Arc<Resolution>>, ClientError> {
        self.forget(name);
        let now = self.resolve_all(name).await?;
        Ok((!now.is_same(before)).then_some(now))
    }

    async fn look_up(&self, name: &str) -> Result<Resolution, ClientError> {
        if name.contains('\0') {
            // Postgres would refuse the question.
            return Err(ClientError::BadArgument {
                what: "workflow",
                message: format!("{name:?} holds a NUL character"),
            });
        }
        let store = self.store();
        let mut found =
            retried(|| dacapo_store::active_workflow(store, &self.namespace, name)).await?;
        if found.is_empty() {
            let full_name = self.full_name(name).await?;
            found = retried(|| dacapo_store::active_workflow(store, &self.namespace, &full_name))
                .await?;
        }
        let mut full_names: Vec<String> = found
            .iter()
            .map(|found| found.workflow.name.clone())
            .collect();
        full_names.dedup();
        if full_names.len() > 1 {
            return Err(ClientError::AmbiguousWorkflow {
                name: name.to_owned(),
                full_names,
            });
        }
        // The active one comes first.
        let mut found = found.into_iter().map(Arc::new);
        let main = found.next().ok_or_else(|| ClientError::UnknownWorkflow {
            name: name.to_owned(),
            similar: Vec::new(),
            any: true,
        })?;
        Ok(Resolution {
            main,
            beside: found.next(),
        })
    }

    /// The one full name that ends in `name`.
    async fn full_name(&self, name: &str) -> Result<String, ClientError> {
        let store = self.store();
        let mut deployed = retried(|| dacapo_store::list_workflows(store, &self.namespace)).await?;
        // What is out of reach is not told.
        deployed.retain(|row| self.check_workflow(&row.workflow.name).is_ok());
        let mut full_names: Vec<String> = deployed
            .iter()
            .map(|row| row.workflow.name.clone())
            .filter(|full_name| is_short_for(name, full_name))
            .collect();
        match full_names.len() {
            0 => Err(ClientError::UnknownWorkflow {
                name: name.to_owned(),
                similar: similar_workflows(
                    name,
                    deployed.iter().map(|row| row.workflow.name.as_str()),
                ),
                any: !deployed.is_empty(),
            }),
            1 => Ok(full_names.remove(0)),
            _ => Err(ClientError::AmbiguousWorkflow {
                name: name.to_owned(),
                full_names,
            }),
        }
    }
}
