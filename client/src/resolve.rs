//! From the name of a workflow to its active deployment and its types.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dacapo_model::{is_short_for, similar_workflows};
use dacapo_store::ActiveWorkflow;
use tokio::time::Instant;

use crate::retry::retried;
use crate::{Client, ClientError};

/// More answers than these are not kept.
const KEPT_MAX: usize = 10_000;

/// How long the answer to a short name is believed: a deployment of another package may make the name ambiguous.
const SHORT_NAME_BELIEVED: Duration = Duration::from_secs(5);

/// What names stand for, kept between starts. An answer that is out of date is noticed by the start that uses it, because the
/// statement that starts a run does so only while the deployment is active.
#[derive(Debug, Default)]
pub(crate) struct Resolved(Mutex<HashMap<(Arc<str>, String), Answer>>);

#[derive(Debug)]
struct Answer {
    workflow: Arc<ActiveWorkflow>,
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
        let key = (Arc::clone(&self.namespace), name.to_owned());
        if let Some(answer) = self.shared.resolved.answers().get(&key)
            && answer
                .believed_until
                .is_none_or(|until| Instant::now() < until)
        {
            return Ok(Arc::clone(&answer.workflow));
        }
        let workflow = Arc::new(self.look_up(name).await?);
        let is_full = workflow.workflow.name == name;
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

    async fn look_up(&self, name: &str) -> Result<ActiveWorkflow, ClientError> {
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
        if found.len() > 1 {
            return Err(ClientError::AmbiguousWorkflow {
                name: name.to_owned(),
                full_names: found.into_iter().map(|found| found.workflow.name).collect(),
            });
        }
        found.pop().ok_or_else(|| ClientError::UnknownWorkflow {
            name: name.to_owned(),
            similar: Vec::new(),
            any: true,
        })
    }

    /// The one full name that ends in `name`.
    async fn full_name(&self, name: &str) -> Result<String, ClientError> {
        let store = self.store();
        let deployed = retried(|| dacapo_store::list_workflows(store, &self.namespace)).await?;
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
