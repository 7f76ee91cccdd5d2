//! The client itself: a handle on one namespace of one database.

use std::sync::Arc;

use dacapo_model::{PayloadLimits, RunId};
use dacapo_store::{AuditNote, RunRow, Store};

use crate::announce::Announcer;
use crate::gather::Gathering;
use crate::remote::{Remote, Transport, needs_database};
use crate::resolve::Resolved;
use crate::retry::retried;
use crate::run::{Progress, Run, RunProgress};
use crate::sight::{Secrets, Sight};
use crate::start::Start;
use crate::{ClientError, Payloads};

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
    pub(crate) sight: Arc<Sight>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) resolved: Resolved,
    pub(crate) announcer: Announcer,
    pub(crate) starts: Arc<Gathering<Start>>,
    pub(crate) looks: Arc<Gathering<RunId>>,
    /// The server that is asked in the place of the database.
    remote: Option<Remote>,
    pub(crate) deeds: Arc<Gathering<AuditNote>>,
    pub(crate) secrets: Secrets,
}

impl Shared {
    fn of(store: Store, remote: Option<Remote>) -> Self {
        let announcer = Announcer::new(store.clone());
        Self {
            store,
            resolved: Resolved::default(),
            announcer,
            starts: Arc::default(),
            looks: Arc::default(),
            remote,
            deeds: Arc::default(),
            secrets: Secrets::default(),
        }
    }
}

/// What stands for a database where there is none: it is never connected to.
const NO_DATABASE: &str = "postgres://nowhere.invalid/none";

impl Client {
    /// A client of the database at `url` (`postgres://…`), in the namespace `default`.
    ///
    /// # Errors
    /// The database cannot be reached, or does not have the tables that this version needs.
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        Self::connect_to(Store::new(url, CONNECTIONS_MAX)?).await
    }

    /// The same over a store that is there already, such as one with [`Store::with_direct`].
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub async fn connect_to(store: Store) -> Result<Self, ClientError> {
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
        Self::made(store, None)
    }

    /// A client of a server, which has the database: what is asked is carried there. Calls that a server has no answer for come back with
    /// [`ClientError::NeedsDatabase`]. What it sees is what its token lets it see: [`Client::within`] and [`Payloads::Hidden`] are for
    /// clients of a database, and with them it answers nothing.
    ///
    /// # Errors
    /// None that a caller could do anything about.
    pub fn over(transport: Box<dyn Transport>) -> Result<Self, ClientError> {
        let store = Store::new(NO_DATABASE, 1)?;
        Ok(Self::made(store, Some(Remote::new(transport))))
    }

    /// Whether a server is asked, and no database.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.remote().is_some()
    }

    /// Refuses what only a database answers, if a server is asked: `what` goes on after "the database itself is needed".
    ///
    /// # Errors
    /// [`ClientError::NeedsDatabase`].
    pub fn needs_no_server(&self, what: &str) -> Result<(), ClientError> {
        match self.remote() {
            None => Ok(()),
            Some(_) => Err(needs_database(what)),
        }
    }

    pub(crate) fn remote(&self) -> Option<&Remote> {
        self.shared.remote.as_ref()
    }

    /// A client of a server that would have to keep something from whoever holds it, and cannot: it answers nothing more.
    pub(crate) fn silenced(self) -> Self {
        match self.remote() {
            None => self,
            Some(remote) => Self {
                shared: Arc::new(Shared::of(self.store().clone(), Some(remote.silenced()))),
                ..self
            },
        }
    }

    fn made(store: Store, remote: Option<Remote>) -> Self {
        Self {
            shared: Arc::new(Shared::of(store, remote)),
            namespace: NAMESPACE.into(),
            limits: PayloadLimits::default(),
            sight: Arc::default(),
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

    /// The database behind the client. A client of a server has none that would answer.
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
        if let Some(remote) = self.remote() {
            return remote.run(run).await;
        }
        let store = self.store();
        let row = retried(|| dacapo_store::get_run(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        self.check_row(&row)?;
        self.with_steps(row).await
    }

    /// The run of this row. Its steps are read after it: they may know more than the status does, never less.
    pub(crate) async fn with_steps(&self, row: RunRow) -> Result<Run, ClientError> {
        let store = self.store();
        let run = row.id;
        let steps = retried(|| dacapo_store::steps_of(store, run)).await?;
        let interventions = retried(|| dacapo_store::interventions(store, run)).await?;
        self.run(row, steps, interventions).await
    }

    /// How far a run is.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`].
    pub async fn check_progress(&self, run: RunId) -> Result<Progress, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.progress(run).await;
        }
        let store = self.store();
        let row = retried(|| dacapo_store::get_run(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        self.check_row(&row)?;
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
            note: progress
                .note
                .filter(|_| self.payloads() != Payloads::Hidden),
        })
    }
}
