//! Takes runs from the queue and plays them.
//!
//! A [`Worker`] is one process's share of the work: a control loop (`coordinator`) that renews the worker's lease, wakes runs whose
//! time has come, takes the runs of dead workers over and claims runs; a task for each run that it plays (`play`), on threads of
//! their own; a few journal writers (`writer`) that commit what all of these runs record, many rows at a time; and a `scheduler` that
//! starts the runs of schedules.
//!
//! It can be embedded: a service that starts runs may as well work on them.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use dacapo_worker::{Store, Worker, WorkerConfig};
//!
//! let store = Store::new("postgres://localhost/app", 8)?;
//! let worker = Worker::start(store, WorkerConfig::default()).await?;
//! // … the service's own work …
//! worker.drain().await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod backoff;
mod clock;
mod config;
mod coordinator;
mod deployments;
mod failpoint;
mod health;
mod incarnation;
mod io;
mod lines;
mod lookout;
mod metrics;
mod play;
mod proof;
mod relatives;
mod retention;
mod scheduler;
mod session;
#[cfg(feature = "failpoints")]
pub mod sim;
mod sql;
mod traces;
mod vacuum;
mod writer;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use dacapo_model::{SecretName, Timestamp, WorkerId};
use dacapo_outbound::{Outbound, OutboundError};
use dacapo_sandbox::{CONTRACT_VERSION, Sandbox, SandboxError};
use dacapo_store::{Channel, Listener, MigrateError, Notice, SchemaState, StoreError, in_time};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, RwLock, mpsc};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::coordinator::{Coordinator, Inbox};
use crate::deployments::Deployments;
use crate::incarnation::Incarnation;
use crate::io::IoThread;
use crate::metrics::Metrics;
use crate::play::Stage;
use crate::relatives::Relatives;
use crate::retention::Retention;
use crate::scheduler::Scheduler;
use crate::sql::SqlDatabases;
use crate::vacuum::Vacuum;
use crate::writer::Writer;

pub use crate::config::{ConfigError, SqlUrl, WorkerConfig};
pub use crate::failpoint::Failpoint;
pub use crate::health::Health;
pub use crate::metrics::{OTHERS, describe_metrics, metric_names};
pub use crate::proof::{Candidate, Finding, Findings, Judged, MovedRuns, Verdict, move_proven};
pub use crate::traces::{Span, Traces};
pub use dacapo_outbound::{OutboundConfig, Secrets};
pub use dacapo_sandbox::SandboxConfig;
pub use dacapo_store::Store;

/// How often a worker looks for runs that older ones have blocked for want of what it has.
const UNBLOCK_NEWER_EVERY: Duration = Duration::from_secs(60);

/// How long the database may take for one of the short statements beside the hot path. One that was not answered by then is sent again by
/// another connection.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A worker could not start, or had to stop.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The configuration cannot work.
    #[error("bad configuration")]
    Config(#[from] ConfigError),
    /// The sandbox could not be made.
    #[error("cannot make the sandbox")]
    Sandbox(#[from] SandboxError),
    /// The client for requests of steps could not be made.
    #[error("the worker cannot send requests")]
    Outbound(#[from] OutboundError),
    /// The database has the wrong schema.
    #[error("the database cannot be used")]
    Schema(#[from] MigrateError),
    /// The database has no tables of ours yet, or older ones.
    #[error("the database is not migrated to this version: run `dacapo migrate`")]
    NotMigrated,
    /// The database refused something that a worker needs.
    #[error("the worker stopped")]
    Store(#[from] StoreError),
    /// The worker's threads could not be started.
    #[error("cannot start the worker's threads")]
    Threads(#[source] std::io::Error),
    /// A bug: the worker's task panicked.
    #[error("the worker panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// A worker at work. Dropping it stops it without ceremony; others take its runs over when its lease is over.
#[derive(Debug)]
pub struct Worker {
    task: JoinHandle<Result<(), WorkerError>>,
    // Dropped after the task is aborted.
    _control: IoThread,
    drain: Arc<Notify>,
    health: Arc<Health>,
}

impl Worker {
    /// Starts a worker on a database that is migrated. It waits for the database, with back-off, for as long as that does not answer.
    pub async fn start(store: Store, config: WorkerConfig) -> Result<Self, WorkerError> {
        config.check()?;
        // Connections of steps are made here and not on the guests' threads.
        let io = Handle::current();
        let outbound = Outbound::new(config.outbound.clone(), config.secrets.clone(), io.clone())?;
        let sandbox = SandboxConfig {
            computing_max: u32::try_from(config.guest_threads).unwrap_or(u32::MAX),
            ..config.sandbox.clone()
        };
        let sandbox = Sandbox::with_outbound(sandbox, outbound)?;
        let sql = SqlDatabases::new(&config)?;
        let guests = tokio::runtime::Builder::new_multi_thread()
            // One more than may compute: a run that can go on finds a thread, whoever computes.
            .worker_threads(config.guest_threads.saturating_add(1))
            .thread_name("dacapo-guest")
            .enable_all()
            .build()
            .map_err(WorkerError::Threads)?;
        let stage = Stage {
            deployments: Deployments::new(
                store.clone(),
                sandbox.clone(),
                config.deployments_max as usize,
            ),
            sandbox,
            alone: Arc::new(RwLock::new(())),
            sql: Arc::new(sql),
        };
        let control = IoThread::start("dacapo-control").map_err(WorkerError::Threads)?;
        let threads = Threads {
            guests: Guests(Some(guests)),
            journal: IoThread::start("dacapo-journal").map_err(WorkerError::Threads)?,
            caller: io,
        };
        Ok(Self::on(stage, store, config, threads, control))
    }

    fn on(
        stage: Stage,
        store: Store,
        config: WorkerConfig,
        threads: Threads,
        control: IoThread,
    ) -> Self {
        let drain = Arc::new(Notify::new());
        let health = Arc::new(Health::default());
        let task = control.handle().spawn(work(
            store,
            config,
            Arc::new(stage),
            threads,
            Arc::clone(&drain),
            Arc::clone(&health),
        ));
        Self {
            task,
            _control: control,
            drain,
            health,
        }
    }

    /// Whether it works.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Claims no more, lets open steps finish within the grace time, and puts everything else back into the queue at once.
    pub async fn drain(self) -> Result<(), WorkerError> {
        self.drain.notify_one();
        self.wait().await
    }

    /// Waits until the worker has stopped by itself: only when the database refuses something that it needs.
    pub async fn wait(mut self) -> Result<(), WorkerError> {
        (&mut self.task).await.map_err(WorkerError::Panicked)?
    }

    /// Like [`Worker::drain`], to be called once a future of the caller's is ready.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), WorkerError> {
        tokio::select! {
            result = &mut self.task => return result.map_err(WorkerError::Panicked)?,
            () = stop => {}
        }
        self.drain().await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where the parts of a worker run, beside the control loop and what it listens to, which have a thread of their own.
struct Threads {
    guests: Guests,
    /// The journal writers.
    journal: IoThread,
    /// The runtime that the worker was started on: it has the store's pool, whose connections must outlive the worker, and all that
    /// nobody's steps wait for.
    caller: Handle,
}

/// The threads for guests; none: they are played where the control loop is. A runtime must not be dropped where others wait, so it goes away
/// in the background.
struct Guests(Option<tokio::runtime::Runtime>);

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// One incarnation after the other, until one has drained.
async fn work(
    store: Store,
    config: WorkerConfig,
    stage: Arc<Stage>,
    threads: Threads,
    drain: Arc<Notify>,
    health: Arc<Health>,
) -> Result<(), WorkerError> {
    let caller = &threads.caller;
    let inbox = Arc::new(Inbox::default());
    let metrics = Arc::new(Metrics::new(config.runs_max));
    let _listener = AbortOnDrop(tokio::spawn(listen(
        store.clone(),
        Arc::clone(&inbox),
        Arc::clone(&stage),
    )));
    let prefetching = Arc::clone(&stage);
    let _prefetching = AbortOnDrop(caller.spawn(async move {
        prefetching.deployments.prefetch().await;
    }));
    let scheduler = Scheduler::new(
        store.clone(),
        Arc::clone(&inbox.agenda),
        config.sandbox.payload,
    );
    let _scheduler = AbortOnDrop(caller.spawn(scheduler.run()));
    let relatives = Relatives::new(store.clone(), Arc::clone(&inbox.relatives));
    let _relatives = AbortOnDrop(caller.spawn(relatives.run()));
    let vacuum = Vacuum::new(store.clone(), Arc::clone(&inbox.vacuum));
    let _vacuum = AbortOnDrop(caller.spawn(vacuum.run()));
    let _retention =
        AbortOnDrop(caller.spawn(Retention::new(store.clone(), config.audit_kept).run()));
    let _newer = AbortOnDrop(caller.spawn(unblock_newer(store.clone())));
    loop {
        let (submissions, source) = mpsc::unbounded_channel();
        let fences = config.writers + 1;
        // One more, for SQL steps.
        let Some((mut connection, id)) =
            register(&store, &config, caller, i32::from(fences) + 1, &drain).await?
        else {
            return Ok(());
        };
        let fences = i16::try_from(fences).unwrap_or(i16::MAX);
        let incarnation = Arc::new(Incarnation::new(
            id,
            // The first heartbeat, right after this, brings the database's time.
            Clock::new(Timestamp::from_micros(0)),
            store.clone(),
            caller.clone(),
            Arc::clone(&inbox),
            submissions,
            fences,
            Arc::clone(&metrics),
            config.traces.clone(),
        ));
        incarnation.begins_on(&connection);
        let _end = EndOnDrop(Arc::clone(&incarnation));
        let source = Arc::new(Mutex::new(source));
        let writers: Vec<_> = (1..fences)
            .map(|fence| {
                let writer = Writer {
                    incarnation: Arc::clone(&incarnation),
                    source: Arc::clone(&source),
                    fence,
                    flush_max: config.flush_max as usize,
                    connection: None,
                };
                threads.journal.handle().spawn(writer.run())
            })
            .collect();
        let scope = dacapo_store::BeatScope::default();
        let beat = dacapo_store::heartbeat(&mut connection, id, config.lease, &scope);
        if let Ok(Some(beat)) = in_time(ANSWER_MAX, beat).await {
            incarnation.clock.set(beat.now);
        }
        let _ = caller
            .spawn(tokio::time::timeout(
                ANSWER_MAX,
                unblock_secrets(store.clone(), config.secrets.clone()),
            ))
            .await;
        tracing::info!(worker = %id.0, "worker is ready");
        let coordinator = Coordinator::new(
            store.clone(),
            config.clone(),
            Arc::clone(&incarnation),
            Arc::clone(&stage),
            Arc::clone(&inbox),
            Arc::clone(&health),
            threads
                .guests
                .0
                .as_ref()
                .map_or_else(Handle::current, |runtime| runtime.handle().clone()),
            connection,
            0,
        );
        let result = coordinator.run(&drain).await;
        let drained = incarnation.is_draining();
        incarnation.end();
        for writer in writers {
            let _ = writer.await;
        }
        result?;
        if drained {
            tracing::info!(worker = %id.0, "worker has drained");
            return Ok(());
        }
    }
}

/// Announces the worker, waiting for the database as long as it takes. None: asked to stop before that.
async fn register(
    store: &Store,
    config: &WorkerConfig,
    caller: &Handle,
    fences: i32,
    drain: &Notify,
) -> Result<Option<(dacapo_store::StoreConnection, WorkerId)>, WorkerError> {
    let name = format!("{}:{}", host_name(), std::process::id());
    let mut backoff = Backoff::default();
    loop {
        // Another one for each try: if only the answer was lost the last one is taken, and holds nothing.
        let id = WorkerId(uuid::Uuid::now_v7());
        let attempt = async {
            let mut connection = store.connect().await?;
            let checked = caller.spawn(check_schema(store.clone())).await;
            checked.map_err(WorkerError::Panicked)??;
            let registered = dacapo_store::register(
                &mut connection,
                id,
                &name,
                env!("CARGO_PKG_VERSION"),
                config.lease,
                fences,
                config.queues.as_deref(),
            );
            in_time(ANSWER_MAX, registered).await?;
            Ok::<_, WorkerError>(connection)
        };
        match attempt.await {
            Ok(connection) => return Ok(Some((connection, id))),
            Err(WorkerError::Store(error)) if error.is_transient() => {
                if backoff.is_first() {
                    tracing::warn!(%error, cause = error.source(), "waiting for the database");
                }
                tokio::select! {
                    biased;
                    () = drain.notified() => return Ok(None),
                    () = backoff.wait() => {}
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Lets runs go on that are blocked for secrets which this worker has. If that fails they stay blocked until somebody resumes them.
async fn unblock_secrets(store: Store, secrets: Secrets) {
    let unblock = async {
        let missing = dacapo_store::missing_secrets(&store).await?;
        let has = |name: &String| SecretName::parse(name).is_ok_and(|name| secrets.has(&name));
        let here: Vec<String> = missing.into_iter().filter(has).collect();
        if here.is_empty() {
            return Ok(0);
        }
        dacapo_store::unblock_secrets(&store, &here).await
    };
    match unblock.await {
        Ok(0) => {}
        Ok(runs) => tracing::info!(runs, "runs go on that were blocked for a secret"),
        Err::<_, StoreError>(error) => {
            tracing::warn!(%error, "cannot look for runs that are blocked for a secret");
        }
    }
}

/// Lets runs go on that older workers have blocked because their component wants a newer contract, which this worker has. Again and again:
/// while workers are being replaced an older one may take such a run before a newer one does.
async fn unblock_newer(store: Store) {
    loop {
        let unblocked = dacapo_store::unblock_newer(&store, CONTRACT_VERSION);
        match in_time(ANSWER_MAX, unblocked).await {
            Ok(0) => {}
            Ok(runs) => tracing::info!(runs, "runs go on that older workers could not play"),
            Err(error) => {
                tracing::debug!(%error, "cannot look for runs that older workers could not play");
            }
        }
        tokio::time::sleep(UNBLOCK_NEWER_EVERY).await;
    }
}

/// A worker must not touch a database that it does not understand.
async fn check_schema(store: Store) -> Result<(), WorkerError> {
    match in_time(ANSWER_MAX, dacapo_store::schema_state(&store)).await {
        Ok(SchemaState::Ready(_)) => Ok(()),
        Ok(SchemaState::Empty | SchemaState::Behind(_)) => Err(WorkerError::NotMigrated),
        Err(MigrateError::Store(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}

/// Turns notifications into rings of the control loop's bell.
async fn listen(store: Store, inbox: Arc<Inbox>, stage: Arc<Stage>) {
    let mut backoff = Backoff::default();
    loop {
        let Ok(mut listener) = Listener::connect(
            &store,
            &[
                Channel::Ready,
                Channel::Signal,
                Channel::Deployment,
                Channel::Schedule,
                Channel::Children,
                Channel::Held,
                Channel::Due,
                Channel::Queue,
            ],
        )
        .await
        else {
            backoff.wait().await;
            continue;
        };
        inbox.missed();
        while let Ok(notice) = listener.next().await {
            backoff.reset();
            match notice {
                Notice::Signal(run) => inbox.look_at(run),
                Notice::Ready => inbox.ready(),
                Notice::ReadyFirst => inbox.ready_first(),
                Notice::Reconnected => inbox.missed(),
                Notice::Held(queues) => inbox.held(&queues),
                Notice::Due(at) => inbox.due(at),
                Notice::Queue => inbox.queues_changed(),
                Notice::Schedule => inbox.agenda.look(),
                Notice::Children => inbox.relatives.notify_one(),
                Notice::Deployment(id) => stage.deployments.want(id),
                Notice::Finished(_) => {}
            }
        }
        backoff.wait().await;
    }
}

/// Also when the worker is dropped in the middle, nobody may go on under its name.
struct EndOnDrop(Arc<Incarnation>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The name of this machine, as workers give it.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map_or_else(|| "localhost".to_owned(), |name| name.trim().to_owned())
}
