//! The client itself: a handle on one namespace of one database.

use std::sync::Arc;

use dacapo_model::{Descriptor, Manifest, PayloadLimits, RunId};
use dacapo_store::{DeployOutcome, RunRow, Store};

use crate::ClientError;
use crate::announce::Announcer;
use crate::gather::Gathering;
use crate::resolve::Resolved;
use crate::retry::retried;
use crate::run::{Progress, Run, RunProgress};
use crate::start::Start;

/// Connections that a client opens at most, beside the one that listens.
const CONNECTIONS_MAX: u32 = 8;

/// The namespace where nobody names another.
const NAMESPACE: &str = "default";

/// Starts, watches and steers runs. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) namespace: Arc<str>,
    pub(crate) limits: PayloadLimits,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) resolved: Resolved,
    pub(crate) announcer: Announcer,
    pub(crate) starts: Arc<Gathering<Start>>,
    pub(crate) looks: Arc<Gathering<RunId>>,
}

impl Client {
    /// A client of the database at `url` (`postgres://…`), in the namespace `default`.
    ///
    /// # Errors
    /// The database cannot be reached, or does not have the tables that this version needs.
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        let store = Store::new(url, CONNECTIONS_MAX)?;
        // The pool tries again and again for a while and then knows no cause; one connection of our own fails at once, and says why.
        store.connect().await?;
        let state = dacapo_store::schema_state(&store).await?;
        match ClientError::unready(state) {
            Some(error) => Err(error),
            None => Ok(Self::new(store)),
        }
    }

    /// A client over a store that is there already, such as an embedded worker's. Nothing is checked.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let announcer = Announcer::new(store.clone());
        Self {
            shared: Arc::new(Shared {
                store,
                resolved: Resolved::default(),
                announcer,
                starts: Arc::default(),
                looks: Arc::default(),
            }),
            namespace: NAMESPACE.into(),
            limits: PayloadLimits::default(),
        }
    }

    /// The same client in another namespace. Runs are found by their ids in every namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The same client with other limits for inputs and events. Workers have limits of their own.
    #[must_use]
    pub fn with_payload_limits(mut self, limits: PayloadLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The database behind the client.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The namespace in which the client starts and lists runs.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A run as it stands, with its steps.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`].
    pub async fn get(&self, run: RunId) -> Result<Run, ClientError> {
        let store = self.store();
        let row = retried(|| dacapo_store::get_run(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        self.with_steps(row).await
    }

    /// The run of this row. Its steps are read after it: they may know more than the status does, never less.
    pub(crate) async fn with_steps(&self, row: RunRow) -> Result<Run, ClientError> {
        let store = self.store();
        let run = row.id;
        let steps = retried(|| dacapo_store::steps_of(store, run)).await?;
        let interventions = retried(|| dacapo_store::interventions(store, run)).await?;
        Ok(Run::from_rows(row, steps, interventions)?)
    }

    /// How far a run is.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`].
    pub async fn check_progress(&self, run: RunId) -> Result<Progress, ClientError> {
        let store = self.store();
        let row = retried(|| dacapo_store::get_run(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        let steps_done = match row.said {
            Some(_) => 0,
            None => retried(|| dacapo_store::steps_done(store, run)).await?,
        };
        let status = row.status;
        let progress = RunProgress::new(steps_done, row.said);
        Ok(Progress {
            run,
            status,
            done: progress.done,
            total: progress.total,
            note: progress.note,
        })
    }

    /// Stores a component and makes it the active deployment of its package: new runs go to it, runs that were started stay where they
    /// are. `digest` is the SHA-256 of the component in hex, `descriptor` what it offers. The same bytes as before change nothing. It has no manifest:
    /// [`Client::deploy_with`] gives it one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn deploy(
        &self,
        descriptor: &Descriptor,
        digest: &str,
        component: &[u8],
    ) -> Result<DeployOutcome, ClientError> {
        self.deploy_with(descriptor, digest, component, &Manifest::default())
            .await
    }

    /// Like [`Client::deploy`], with what the deployment says about its workflows beside their code. It may name workflows by an end of
    /// their names. The same bytes with another manifest are another deployment.
    ///
    /// # Errors
    /// [`ClientError::BadManifest`], and those of the database.
    pub async fn deploy_with(
        &self,
        descriptor: &Descriptor,
        digest: &str,
        component: &[u8],
        manifest: &Manifest,
    ) -> Result<DeployOutcome, ClientError> {
        let manifest = &manifest.checked(descriptor)?;
        let store = self.store();
        let deploy = || {
            dacapo_store::deploy(
                store,
                &self.namespace,
                digest,
                component,
                descriptor,
                manifest,
            )
        };
        Ok(retried(deploy).await?)
    }
}
