//! Guests that bring an interpreter: as many as a worker plays, and more than fit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dacapo_model::{Manifest, Payload, RunId, Status, Timestamp, Workflow};
use dacapo_sandbox::{
    ChildState, ChildWorkflow, Described, Ending, Event, Journal, Prepared, RunSpec, Sandbox,
    SandboxConfig, Signal, Stop, Suspended, Suspension, Write, describe,
};
use dacapo_tests::database;
use dacapo_worker::{Worker, WorkerConfig};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::projects::{GO, PYTHON, TYPESCRIPT, order};

/// With one item, so that there is one branch, and with three.
const SHORT: &str = r#"{"number":7,"customer":"Ada","items":[{"sku":"tea","quantity":2}]}"#;
const LONG: &str = r#"{"number":7,"customer":"Ada","items":[{"sku":"tea","quantity":2},{"sku":"cup","quantity":1},{"sku":"pot","quantity":1}]}"#;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(240);

/// Holds every run, alive, before the body of its first step.
struct Holds {
    /// A permit for each that has come here.
    here: Semaphore,
    /// A permit for each that may go.
    free: Semaphore,
    alive: AtomicU32,
    most: AtomicU32,
}

struct Held(Arc<Holds>);

#[async_trait]
impl Journal for Held {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1)
    }

    fn append(&self, _write: Write) {}

    fn nudge(&self) {}

    async fn settle(&self) -> Result<(), Stop> {
        let alive = self.0.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(alive, Ordering::SeqCst);
        self.0.here.add_permits(1);
        self.0.free.acquire().await.unwrap().forget();
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
        Err(Stop::Drained)
    }

    fn boundary(&self) -> Option<Signal> {
        None
    }

    fn take_event(&self, _names: &[String], _received_by: Option<Timestamp>) -> Option<Event> {
        None
    }

    fn has_event(&self, _names: &[String]) -> bool {
        false
    }

    async fn look(&self) {}

    fn has_looked_since(&self, _at: Timestamp) -> bool {
        true
    }

    async fn find_workflow(
        &self,
        _name: &str,
        _child: RunId,
        _labels: Option<&[(String, String)]>,
    ) -> Result<Result<ChildWorkflow, String>, Stop> {
        Err(Stop::Drained)
    }

    async fn has_queue(&self, _name: &str) -> Result<bool, Stop> {
        Err(Stop::Drained)
    }

    async fn child_state(&self, _child: RunId) -> Result<ChildState, Stop> {
        Err(Stop::Drained)
    }

    async fn suspend(&self, _suspension: Suspension) -> Result<Suspended, Stop> {
        Err(Stop::Drained)
    }
}

/// A guest, ready in a sandbox of its own.
struct Guest {
    sandbox: Sandbox,
    prepared: Prepared,
    workflow: Workflow,
}

impl Guest {
    fn new(path: &Path, config: SandboxConfig) -> Self {
        let sandbox = Sandbox::new(SandboxConfig {
            cache_dir: Some(cache_dir()),
            ..config
        });
        let sandbox = sandbox.unwrap();
        let Described {
            component,
            digest,
            descriptor,
        } = describe(&std::fs::read(path).unwrap()).unwrap();
        let mut workflows = descriptor.workflows.into_iter();
        Self {
            prepared: sandbox.prepare(&digest, &component).unwrap(),
            workflow: workflows.find(|known| known.function == "place").unwrap(),
            sandbox,
        }
    }

    /// Plays so many runs at the same time.
    fn play(&self, runs: u32) -> (Arc<Holds>, JoinSet<Ending>) {
        let holds = Arc::new(Holds {
            here: Semaphore::new(0),
            free: Semaphore::new(0),
            alive: AtomicU32::new(0),
            most: AtomicU32::new(0),
        });
        let mut playing = JoinSet::new();
        for _ in 0..runs {
            let run_id = RunId::new();
            let spec = RunSpec {
                run_id,
                workflow: self.workflow.name.clone(),
                input: Payload::from_trusted(SHORT.to_owned()),
                seed: run_id,
                retries: 0,
                retry: None,
                terms: self.sandbox.terms(&Manifest::default()),
                created_at: Timestamp::from_micros(0),
                labels: Vec::new(),
                changes: None,
                recorded: Vec::new(),
            };
            let (sandbox, prepared) = (self.sandbox.clone(), self.prepared.clone());
            let (workflow, journal) = (self.workflow.clone(), Arc::new(Held(Arc::clone(&holds))));
            playing.spawn(async move { sandbox.run(&prepared, &workflow, spec, journal).await });
        }
        (holds, playing)
    }
}

/// Waits until so many more of them are held.
async fn until_held(holds: &Holds, playing: &mut JoinSet<Ending>, runs: u32) {
    let here = async {
        tokio::select! {
            held = holds.here.acquire_many(runs) => held.unwrap().forget(),
            ended = playing.join_next() => panic!("it ended: {ended:?}"),
        }
    };
    tokio::time::timeout(PATIENCE, here).await.unwrap();
}

fn cache_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("languages-cache")
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_heavy_guests_are_alive_at_once_as_a_worker_plays_by_default() {
    let WorkerConfig {
        runs_max, sandbox, ..
    } = WorkerConfig::default();
    for language in [PYTHON, TYPESCRIPT, GO] {
        if !language.is_here() {
            continue;
        }
        let guest = Guest::new(&order(language).await, sandbox.clone());
        let (holds, mut playing) = guest.play(runs_max);
        until_held(&holds, &mut playing, runs_max).await;
        assert_eq!(holds.most.load(Ordering::SeqCst), runs_max);
        holds.free.add_permits(runs_max as usize);
        while let Some(ending) = playing.join_next().await {
            assert_eq!(ending.unwrap(), Ending::Stopped(Stop::Drained));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_heavy_guests_than_the_pool_holds_wait_for_a_place() {
    for language in [PYTHON, TYPESCRIPT] {
        if !language.is_here() {
            continue;
        }
        let config = SandboxConfig {
            instances_max: 4,
            ..SandboxConfig::default()
        };
        let guest = Guest::new(&order(language).await, config);
        let (holds, mut playing) = guest.play(20);
        // One after the other is let go, and another one comes in its place.
        for _ in 0..20 {
            let held = tokio::time::timeout(PATIENCE, holds.here.acquire()).await;
            held.unwrap().unwrap().forget();
            holds.free.add_permits(1);
        }
        while let Some(ending) = playing.join_next().await {
            assert_eq!(ending.unwrap(), Ending::Stopped(Stop::Drained));
        }
        let most = holds.most.load(Ordering::SeqCst);
        assert!((1..=4).contains(&most), "{most}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_more_python_to_play_than_fits_plays_all_of_it() {
    if !PYTHON.is_here() {
        return;
    }
    let (database, python) = (database().await, order(PYTHON).await);
    let described = describe(&std::fs::read(python).unwrap()).unwrap();
    let deployed = database.client.deploy(
        &described.descriptor,
        &described.digest,
        &described.component,
    );
    deployed.await.unwrap();
    let mut config = WorkerConfig {
        runs_max: 16,
        ..WorkerConfig::default()
    };
    // Each of them has branches, too, that are played at the same time.
    config.sandbox.instances_max = 16;
    config.sandbox.cache_dir = Some(cache_dir());
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..48 {
        let run = database.start("orders.place", LONG).await;
        let paid = r#"{"reference":"bank-1"}"#;
        let sent = database.client.send_event(run, "paid", paid, None);
        sent.await.unwrap();
        runs.push(run);
    }
    for run in runs {
        let done = database.client.wait(run, Some(PATIENCE)).await.unwrap();
        assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    }
    worker.drain().await.unwrap();
}
