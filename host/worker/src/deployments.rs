//! Deployments, loaded and compiled once for each worker process.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use dacapo_model::{DeploymentId, Descriptor, Manifest, Workflow};
use dacapo_sandbox::{PrepareError, Prepared, Sandbox, Terms};
use dacapo_store::{Store, StoreError};
use tokio::sync::OnceCell;

/// A deployment that can be run.
pub(crate) struct Deployed {
    pub(crate) prepared: Prepared,
    descriptor: Descriptor,
    pub(crate) manifest: Manifest,
    pub(crate) terms: Arc<Terms>,
}

impl Deployed {
    /// The workflow with this full name.
    pub(crate) fn workflow(&self, name: &str) -> Option<&Workflow> {
        self.descriptor
            .workflows
            .iter()
            .find(|workflow| workflow.name == name)
    }
}

/// A deployment that cannot be run.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The database did not answer; try again.
    Store(StoreError),
    /// It cannot be run, and trying again does not help: code and reason.
    Unusable(&'static str, String),
}

/// All deployments that this process has seen.
pub(crate) struct Deployments {
    store: Store,
    sandbox: Sandbox,
    /// The runtime that does all input and output: a connection made on the guests' threads would end with them.
    io: tokio::runtime::Handle,
    loaded: Mutex<HashMap<DeploymentId, Arc<OnceCell<Arc<Deployed>>>>>,
}

impl Deployments {
    pub(crate) fn new(store: Store, sandbox: Sandbox) -> Self {
        Self {
            store,
            sandbox,
            io: tokio::runtime::Handle::current(),
            loaded: Mutex::new(HashMap::new()),
        }
    }

    /// The deployment, loaded by whoever asks first while others wait.
    pub(crate) async fn get(&self, id: DeploymentId) -> Result<Arc<Deployed>, LoadError> {
        let cell = {
            let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(loaded.entry(id).or_default())
        };
        let load = || async {
            let loading = self
                .io
                .spawn(load(self.store.clone(), self.sandbox.clone(), id));
            loading.await.unwrap_or_else(|error| {
                Err(LoadError::Unusable(
                    "bad-component",
                    format!("loading panicked: {error}"),
                ))
            })
        };
        cell.get_or_try_init(load).await.map(Arc::clone)
    }
}

async fn load(
    store: Store,
    sandbox: Sandbox,
    id: DeploymentId,
) -> Result<Arc<Deployed>, LoadError> {
    let row = dacapo_store::deployment(&store, id)
        .await
        .map_err(|error| match error {
            // A newer version wrote it, say. Another try would find the same.
            StoreError::Unreadable(message) => {
                LoadError::Unusable("unreadable-deployment", message)
            }
            error => LoadError::Store(error),
        })?
        .ok_or_else(|| {
            LoadError::Unusable(
                "missing-deployment",
                format!("there is no deployment with id {}", id.0),
            )
        })?;
    let started = std::time::Instant::now();
    let terms = sandbox.terms(&row.manifest);
    let cached = {
        let (sandbox, digest) = (sandbox.clone(), row.digest.clone());
        off_thread(&row.digest, move || sandbox.prepare_cached(&digest)).await?
    };
    let prepared = match cached {
        Some(prepared) => prepared,
        None => {
            let bytes = dacapo_store::component_bytes(&store, &row.digest)
                .await
                .map_err(LoadError::Store)?
                .ok_or_else(|| {
                    LoadError::Unusable(
                        "missing-component",
                        format!("component {} is not stored", row.digest),
                    )
                })?;
            let digest = row.digest.clone();
            off_thread(&row.digest, move || sandbox.prepare(&digest, &bytes)).await?
        }
    };
    tracing::info!(
        package = %row.package,
        number = row.number,
        milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "deployment is ready"
    );
    Ok(Arc::new(Deployed {
        prepared,
        descriptor: row.descriptor,
        terms,
        manifest: row.manifest,
    }))
}

/// Loading takes microseconds, compiling up to many seconds of a core: neither on a thread that the runtime needs.
async fn off_thread<T: Send + 'static>(
    digest: &str,
    work: impl FnOnce() -> Result<T, PrepareError> + Send + 'static,
) -> Result<T, LoadError> {
    let unusable = |cause: String| {
        LoadError::Unusable("bad-component", format!("component {digest}: {cause}"))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let cause = error
                .source()
                .map_or_else(String::new, |cause| format!(": {cause}"));
            Err(unusable(format!("{error}{cause}")))
        }
        Err(error) => Err(unusable(format!("loading panicked: {error}"))),
    }
}
