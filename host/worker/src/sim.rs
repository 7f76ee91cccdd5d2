//! What a simulation needs that plays several workers on one thread: workers that share what is dear to make, and play their guests on the
//! runtime that they are started on; and a say in who dies where. Only with the feature `failpoints`.

use std::cell::RefCell;
use std::sync::Arc;

use dacapo_sandbox::{PrepareError, Sandbox, SandboxError};
use tokio::runtime::Handle;
use tokio::sync::RwLock;

use crate::deployments::{Components, Deployments};
use crate::io::IoThread;
use crate::play::Stage;
use crate::sql::SqlDatabases;
use crate::{Failpoint, Guests, SandboxConfig, Store, Threads, Worker, WorkerConfig, WorkerError};

/// What simulated workers share.
pub struct House {
    sandbox: Sandbox,
    components: Components,
}

impl House {
    /// A house with nothing in it.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        Ok(Self {
            sandbox: Sandbox::new(config)?,
            components: Components::new(16),
        })
    }

    /// Makes a component ready, so that no worker has to.
    pub fn prepare(&self, digest: &str, bytes: &[u8]) -> Result<(), PrepareError> {
        let prepared = self.sandbox.prepare(digest, bytes)?;
        self.components.add(digest, prepared);
        Ok(())
    }

    /// Starts a worker on the runtime that this is called on.
    pub fn worker(&self, store: Store, config: WorkerConfig) -> Result<Worker, WorkerError> {
        config.check()?;
        let stage = Stage {
            deployments: Deployments::sharing(
                store.clone(),
                self.sandbox.clone(),
                config.deployments_max as usize,
                &self.components,
            ),
            sandbox: self.sandbox.clone(),
            alone: Arc::new(RwLock::new(())),
            sql: Arc::new(SqlDatabases::new(&config)?),
        };
        let threads = Threads {
            guests: Guests(None),
            journal: IoThread::callers(),
            caller: Handle::current(),
        };
        Ok(Worker::on(
            stage,
            store,
            config,
            threads,
            IoThread::callers(),
        ))
    }
}

impl Worker {
    /// Whether it has stopped, by itself or because it has drained.
    pub fn has_stopped(&self) -> bool {
        self.task.is_finished()
    }
}

/// Asked at each failpoint whether whoever came there dies.
pub type Fate = Box<dyn FnMut(Failpoint) -> bool>;

thread_local! {
    static FATE: RefCell<Option<Fate>> = const { RefCell::new(None) };
}

/// From now on workers on this thread die where this says so, which is to make them as good as dead before it answers.
pub fn set_fate(fate: Option<Fate>) {
    FATE.set(fate);
}

/// None: nobody simulates on this thread.
pub(crate) fn dies_at(failpoint: Failpoint) -> Option<bool> {
    FATE.with_borrow_mut(|fate| fate.as_mut().map(|dies| dies(failpoint)))
}

/// Leaves the task that came to a failpoint, without a word.
pub(crate) fn unwind() -> ! {
    std::panic::resume_unwind(Box::new("a simulated death"))
}
