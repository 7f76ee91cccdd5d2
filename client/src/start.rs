//! Starting runs.

mod many;

use std::fmt;
use std::sync::Arc;

use dacapo_model::{
    InputError, Payload, PayloadError, PayloadLimits, RunId, Type, Workflow, from_json,
    spelled_out, to_json,
};
use dacapo_store::{ActiveWorkflow, SpecialStart, StartResult, StartRun, Store, StoreError};
use sqlx::PgConnection;

use crate::gather::Question;
use crate::reference::{WorkflowRef, decode};
use crate::remote::needs_database;
use crate::retry::retried;
use crate::run::Deployment;
use crate::{Client, ClientError, StartOptions};

/// How often a start follows a workflow to a newer deployment, or waits for the rival that has its key.
const TRIES_MAX: u32 = 8;

/// Characters of an input that an error shows.
const INPUT_SHOWN_MAX: usize = 200;

/// A run that was started.
pub struct Started<O> {
    /// Its id.
    pub id: RunId,
    /// False: a run with this key was there already, with an equal input, or one that waits for more starts, and this is it.
    pub created: bool,
    /// Full name of its workflow.
    pub workflow: String,
    /// The deployment that such a run goes to now; the run's own if it was created.
    pub deployment: Deployment,
    pub(crate) decode: fn(&str) -> Result<O, serde_json::Error>,
}

impl<O> Clone for Started<O> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            created: self.created,
            workflow: self.workflow.clone(),
            deployment: self.deployment.clone(),
            decode: self.decode,
        }
    }
}

impl<O> fmt::Debug for Started<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started")
            .field("id", &self.id)
            .field("created", &self.created)
            .field("workflow", &self.workflow)
            .field("deployment", &self.deployment)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a run.
    ///
    /// # Errors
    /// [`ClientError::UnknownWorkflow`], [`ClientError::BadInput`] if the workflow that is deployed takes something else, and
    /// [`ClientError::TooLarge`]. Nothing was written then.
    pub async fn start<I, O>(
        &self,
        workflow: WorkflowRef<I, O>,
        input: &I,
    ) -> Result<Started<O>, ClientError> {
        self.start_with(workflow, input, StartOptions::default())
            .await
    }

    /// Starts a run with a key or labels. With a key there is one run, however often it is started while that is kept.
    ///
    /// # Errors
    /// Those of [`Client::start`]; [`ClientError::KeyConflict`] if the key has a run with another input.
    pub async fn start_with<I, O>(
        &self,
        workflow: WorkflowRef<I, O>,
        input: &I,
        options: StartOptions,
    ) -> Result<Started<O>, ClientError> {
        let input = encode(&workflow, input)?;
        self.launch(None, workflow.name(), &input, &options, workflow.decoder())
            .await
    }

    /// Starts a run of the workflow that goes by this name, with an input in JSON. The name is a full one
    /// (`ns:pkg/interface.function`), or an end of one (`function`, `interface.function`) where that is unique.
    ///
    /// # Errors
    /// Those of [`Client::start_with`], and [`ClientError::AmbiguousWorkflow`].
    pub async fn start_by_name(
        &self,
        workflow: &str,
        input_json: &str,
        options: StartOptions,
    ) -> Result<Started<serde_json::Value>, ClientError> {
        self.launch(None, workflow, input_json, &options, decode)
            .await
    }

    /// Starts a run inside the caller's transaction: it exists if and when that commits.
    ///
    /// # Errors
    /// Those of [`Client::start_with`]. After an error of the database itself the transaction can only be rolled back.
    pub async fn start_in<I, O>(
        &self,
        transaction: &mut PgConnection,
        workflow: WorkflowRef<I, O>,
        input: &I,
        options: StartOptions,
    ) -> Result<Started<O>, ClientError> {
        let input = encode(&workflow, input)?;
        self.launch(
            Some(transaction),
            workflow.name(),
            &input,
            &options,
            workflow.decoder(),
        )
        .await
    }

    /// Like [`Client::start_in`], by name and with an input in JSON.
    ///
    /// # Errors
    /// Those of [`Client::start_by_name`]. After an error of the database itself the transaction can only be rolled back.
    pub async fn start_by_name_in(
        &self,
        transaction: &mut PgConnection,
        workflow: &str,
        input_json: &str,
        options: StartOptions,
    ) -> Result<Started<serde_json::Value>, ClientError> {
        self.launch(Some(transaction), workflow, input_json, &options, decode)
            .await
    }

    async fn launch<O>(
        &self,
        mut transaction: Option<&mut PgConnection>,
        name: &str,
        input: &str,
        options: &StartOptions,
        decode: fn(&str) -> Result<O, serde_json::Error>,
    ) -> Result<Started<O>, ClientError> {
        options.check()?;
        if let Some(remote) = self.remote() {
            if transaction.is_some() {
                return Err(needs_database("to start a run inside a transaction"));
            }
            let started = remote.start(name, input, options).await?;
            return Ok(Started {
                id: started.run,
                created: started.created,
                workflow: started.workflow,
                deployment: started.deployment,
                decode,
            });
        }
        // One id for all tries: a start whose answer was lost finds the run that it made.
        let fresh = RunId::new();
        let shared = Arc::new(options.clone());
        for _ in 0..TRIES_MAX {
            let resolution = self.resolve_all(name).await?;
            let workflow = resolution.name();
            self.check_start(workflow, &options.labels)?;
            let id = options
                .key
                .as_ref()
                .map_or(fresh, |key| RunId::keyed(&self.namespace, workflow, key));
            let active = Arc::clone(resolution.target(id, &options.labels));
            options.check_on(&active.defaults)?;
            let payload = match active.workflow.check_input(input, &self.limits) {
                Ok(payload) => Arc::new(payload),
                // The answer may be an old one: a newer deployment may take this input.
                Err(error) => match self.resolve_all_anew(name, &resolution).await? {
                    Some(_) => continue,
                    None => return Err(bad_input(&active.workflow, error)),
                },
            };
            let start = Start {
                id,
                active: Arc::clone(&active),
                input: Arc::clone(&payload),
                options: Arc::clone(&shared),
            };
            let is_keyed = options.key.is_some();
            let mut found = None;
            let result = if let Some(special) = options.special() {
                let row = start.row();
                let result = match transaction.as_deref_mut() {
                    Some(transaction) => {
                        dacapo_store::start_special(transaction, &row, special).await?
                    }
                    None => {
                        let pool = self.store().pool();
                        retried(|| dacapo_store::start_special(pool, &row, special)).await?
                    }
                };
                match result {
                    SpecialStart::Started => StartResult::Started,
                    SpecialStart::Debounced(run) => {
                        found = Some(run);
                        StartResult::Started
                    }
                    SpecialStart::Taken(run) => {
                        let singleton = options.singleton.as_ref();
                        let key =
                            singleton.map_or_else(String::new, |singleton| singleton.key.clone());
                        return Err(ClientError::SingletonTaken { key, run });
                    }
                    SpecialStart::Exists { input } => StartResult::Exists {
                        input,
                        workflow: workflow.to_owned(),
                    },
                    SpecialStart::NotActive => StartResult::NotActive,
                    SpecialStart::UnknownQueue => StartResult::UnknownQueue,
                }
            } else {
                self.ask(&start, transaction.as_deref_mut(), is_keyed)
                    .await?
            };
            let created = match result {
                StartResult::Started => found.is_none(),
                StartResult::NotActive => {
                    self.forget(name);
                    continue;
                }
                StartResult::UnknownQueue => return Err(unknown_queue(options, &active)),
                // A rival with the same key committed while our statement ran; the next one sees its run.
                StartResult::Exists { workflow, .. } if workflow.is_empty() => continue,
                StartResult::Exists { input, .. } => match &options.key {
                    None => true,
                    Some(_) if is_same_input(&active.workflow, &input, payload.as_str()) => false,
                    Some(key) => {
                        let of = (active.deployment, workflow);
                        let conflict = self.key_conflict(of, key, id, &input, payload.as_str());
                        return Err(conflict.await?);
                    }
                },
            };
            return Ok(Started {
                id: found.unwrap_or(id),
                created,
                workflow: workflow.to_owned(),
                deployment: Deployment {
                    package: active.package.clone(),
                    number: active.number,
                },
                decode,
            });
        }
        Err(ClientError::Redeployed(name.to_owned()))
    }

    /// One ordinary start.
    async fn ask(
        &self,
        start: &Start,
        transaction: Option<&mut PgConnection>,
        is_keyed: bool,
    ) -> Result<StartResult, StoreError> {
        match transaction {
            Some(transaction) => start.ask(transaction).await,
            // Starts with keys go one by one: two that brought the same keys in different orders would deadlock.
            None if is_keyed => {
                let pool = self.store().pool();
                retried(|| start.ask(pool)).await
            }
            None => {
                self.shared.announcer.begins(start.id);
                let starts = &self.shared.starts;
                retried(|| starts.ask(self.store(), start.clone())).await
            }
        }
    }

    /// Looks a name up again. None: it stands for the same deployment as before.
    pub(crate) async fn resolve_anew(
        &self,
        name: &str,
        before: &ActiveWorkflow,
    ) -> Result<Option<Arc<ActiveWorkflow>>, ClientError> {
        self.forget(name);
        let now = self.resolve(name).await?;
        Ok((now.deployment != before.deployment).then_some(now))
    }
}

/// A run to be started, with all that its statement needs.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    id: RunId,
    active: Arc<ActiveWorkflow>,
    input: Arc<Payload>,
    options: Arc<StartOptions>,
}

impl Start {
    fn row(&self) -> StartRun<'_> {
        StartRun {
            id: self.id,
            workflow: &self.active.workflow.name,
            deployment: self.active.deployment,
            input: &self.input,
            labels: &self.options.labels,
            deadline: self.options.deadline,
            placing: self.options.placing(&self.active.defaults),
        }
    }

    async fn ask<'e>(
        &self,
        executor: impl sqlx::Executor<'e, Database = sqlx::Postgres>,
    ) -> Result<StartResult, StoreError> {
        let mut results = dacapo_store::start_runs(executor, &[self.row()]).await?;
        Ok(results.pop().unwrap_or(StartResult::NotActive))
    }
}

impl Question for Start {
    type Answer = StartResult;

    async fn ask_all(store: &Store, starts: &[Self]) -> Result<Vec<StartResult>, StoreError> {
        let rows: Vec<StartRun<'_>> = starts.iter().map(Self::row).collect();
        dacapo_store::start_runs(store.pool(), &rows).await
    }
}

/// The queue that a start names, or the manifest of its deployment, is not there.
fn unknown_queue(options: &StartOptions, active: &ActiveWorkflow) -> ClientError {
    let queue = options.placing(&active.defaults).queue;
    ClientError::QueueNotFound(queue.unwrap_or_default().to_owned())
}

fn encode<I, O>(workflow: &WorkflowRef<I, O>, input: &I) -> Result<String, ClientError> {
    workflow.encode(input).map_err(|error| ClientError::Encode {
        what: format!("the input of {}", workflow.name()),
        error,
    })
}

pub(crate) fn bad_input(workflow: &Workflow, error: InputError) -> ClientError {
    if let InputError::Malformed {
        root,
        error: error @ PayloadError::TooLarge { .. },
    } = error
    {
        return ClientError::TooLarge { what: root, error };
    }
    ClientError::BadInput {
        workflow: workflow.name.clone(),
        expected: workflow
            .param
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |param| spelled_out(&param.ty)),
        error,
    }
}

/// Whether two inputs are the same value, however they are written.
fn is_same_input(workflow: &Workflow, existing: &str, given: &str) -> bool {
    existing == given
        || workflow
            .param
            .as_ref()
            .is_some_and(|param| is_same_value(&param.ty, existing, given))
}

fn is_same_value(ty: &Type, existing: &str, given: &str) -> bool {
    // Both were accepted once, perhaps under larger limits than ours.
    let limits = PayloadLimits {
        max_bytes: usize::MAX,
        ..PayloadLimits::default()
    };
    let canonical = |text: &str| {
        let value = from_json(text, ty, "input", &limits).ok()?;
        to_json(&value, ty).ok()
    };
    match (canonical(existing), canonical(given)) {
        (Some(existing), Some(given)) => existing == given,
        // The input of an older deployment, whose type was another one.
        _ => false,
    }
}

pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(INPUT_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A payload from JSON text, for what is not typed by a workflow.
pub(crate) fn payload(
    what: String,
    text: &str,
    limits: &PayloadLimits,
) -> Result<Payload, ClientError> {
    Payload::new(text, limits).map_err(|error| ClientError::payload(what, error))
}
