//! Deployments, loaded and compiled once for each worker process, and forgotten again when others are wanted more.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dacapo_model::{Changes, DeploymentId, Descriptor, Manifest, Workflow};
use dacapo_sandbox::{DescribeError, Described, Lack, PrepareError, Prepared, Sandbox, Terms};
use dacapo_store::{DeploymentRow, Store, StoreError};
use tokio::sync::{Notify, OnceCell, Semaphore, SemaphorePermit};

/// When many workers hear of a deployment, each fetches it at some time within this.
const PREFETCH_WITHIN: Duration = Duration::from_secs(2);

/// A component that takes longer than this to compile is spoken of, and again each time that it has taken so much longer.
const SLOW: Duration = Duration::from_secs(1);
const STILL_EVERY: Duration = Duration::from_secs(5);

/// Deployments that are to be fetched before their first runs, at most. Anybody who may notify can name any number of them.
const WANTED_MAX: usize = 64;

/// A deployment that can be run.
pub(crate) struct Deployed {
    component: Arc<Loaded>,
    descriptor: Descriptor,
    pub(crate) manifest: Manifest,
    /// How workflows differ from what their runs may have begun with, by full name.
    changes: HashMap<String, Arc<Changes>>,
    pub(crate) terms: Arc<Terms>,
}

/// A component, which deployments share that differ only in their manifests.
struct Loaded {
    prepared: Prepared,
    /// What it says of itself, once a deployment was not verified yet.
    said: OnceCell<Said>,
}

/// A component's digest, and its descriptor.
struct Said {
    digest: String,
    descriptor: Descriptor,
}

impl Deployed {
    /// Its component.
    pub(crate) fn prepared(&self) -> &Prepared {
        &self.component.prepared
    }

    /// How a workflow differs from what its runs may have begun with, if its manifest says so.
    pub(crate) fn changes(&self, workflow: &str) -> Option<Arc<Changes>> {
        self.changes.get(workflow).cloned()
    }

    /// The workflow with this full name.
    pub(crate) fn workflow(&self, name: &str) -> Option<&Workflow> {
        self.descriptor
            .workflows
            .iter()
            .find(|workflow| workflow.name == name)
    }
}

/// A deployment that cannot be run.
#[derive(Debug, Clone)]
pub(crate) enum LoadError {
    /// The database did not answer; try again.
    Unavailable(String),
    /// It cannot be run, and trying again does not help: code and reason.
    Unusable(&'static str, String),
    /// It may be run by a newer worker: the component's digest, and what it wants.
    Newer(String, Lack),
}

/// Why a component cannot be made ready.
enum Unfit {
    /// It wants what another version of the contract has.
    Lacks(Lack),
    /// Anything else.
    Other(String),
}

impl From<PrepareError> for Unfit {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::OtherContract { lack, .. } => Self::Lacks(*lack),
            error => Self::Other(causes(&error)),
        }
    }
}

impl From<DescribeError> for Unfit {
    fn from(error: DescribeError) -> Self {
        match error {
            DescribeError::OtherContract(lack) => Self::Lacks(lack),
            error => Self::Other(causes(&error)),
        }
    }
}

impl LoadError {
    fn of_store(error: StoreError) -> Self {
        match error {
            // A newer version wrote it, say. Another try would find the same.
            StoreError::Unreadable(message) => Self::Unusable("unreadable-deployment", message),
            error => Self::Unavailable(error.reason()),
        }
    }
}

/// The deployments that this process has seen lately.
pub(crate) struct Deployments {
    loader: Loader,
    /// The runtime that does all input and output: a connection made on the guests' threads would end with them.
    io: tokio::runtime::Handle,
    loaded: Recent<DeploymentId, Deployed>,
    wanted: Wanted,
}

/// Deployments to fetch before their first runs come, each once however often it is named.
#[derive(Default)]
struct Wanted {
    ids: Mutex<BTreeSet<DeploymentId>>,
    bell: Notify,
}

impl Wanted {
    /// One more, if there are not too many: a run that comes waits for its deployment as ever.
    fn add(&self, id: DeploymentId) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() < WANTED_MAX {
            ids.insert(id);
            self.bell.notify_one();
        }
    }

    fn take(&self) -> BTreeSet<DeploymentId> {
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What loading takes.
#[derive(Clone)]
struct Loader {
    store: Store,
    sandbox: Sandbox,
    /// Components by their digests.
    components: Arc<Recent<String, Loaded>>,
    /// As many as may be compiled at the same time. Bytes are fetched in such a turn only: until then they wait in the database, and not
    /// in the memory of this process. Nobody waits for a cell of `components` while holding one.
    turns: Arc<Semaphore>,
}

impl Deployments {
    /// Keeps this many of them.
    pub(crate) fn new(store: Store, sandbox: Sandbox, kept_max: usize) -> Self {
        let turns = sandbox.config().compile_concurrency as usize;
        Self {
            loader: Loader {
                store,
                sandbox,
                components: Arc::new(Recent::new(kept_max)),
                turns: Arc::new(Semaphore::new(turns)),
            },
            io: tokio::runtime::Handle::current(),
            loaded: Recent::new(kept_max),
            wanted: Wanted::default(),
        }
    }

    /// The same over components that are shared with others.
    #[cfg(feature = "failpoints")]
    pub(crate) fn sharing(
        store: Store,
        sandbox: Sandbox,
        kept_max: usize,
        components: &Components,
    ) -> Self {
        let mut deployments = Self::new(store, sandbox, kept_max);
        deployments.loader.components = Arc::clone(&components.0);
        deployments
    }

    /// The deployment, loaded by whoever asks first while others wait.
    pub(crate) async fn get(&self, id: DeploymentId) -> Result<Arc<Deployed>, LoadError> {
        let cell = self.loaded.cell(id);
        let load = || async {
            let loader = self.loader.clone();
            let loading = self.io.spawn(async move { loader.load(id).await });
            loading.await.unwrap_or_else(|error| {
                Err(LoadError::Unusable(
                    "bad-component",
                    format!("loading panicked: {error}"),
                ))
            })
        };
        cell.get_or_try_init(load).await.map(Arc::clone)
    }

    /// A deployment was activated, it is said.
    pub(crate) fn want(&self, id: DeploymentId) {
        self.wanted.add(id);
    }

    /// Loads deployments that were activated before their first runs come, one after the other; if that fails, the run will say why. Not
    /// at once: all workers hear of it at the same time.
    pub(crate) async fn prefetch(&self) {
        let spread = u64::try_from(PREFETCH_WITHIN.as_millis()).unwrap_or(u64::MAX);
        loop {
            self.wanted.bell.notified().await;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..=spread))).await;
            for id in self.wanted.take() {
                // One that is not there would take the place of one that is used.
                if let Ok(Some(_)) = dacapo_store::deployment(&self.loader.store, id).await {
                    drop(self.get(id).await);
                }
            }
        }
    }
}

/// Components that are loaded, for several workers of one process.
#[cfg(feature = "failpoints")]
pub(crate) struct Components(Arc<Recent<String, Loaded>>);

#[cfg(feature = "failpoints")]
impl Components {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self(Arc::new(Recent::new(kept_max)))
    }

    /// One more.
    pub(crate) fn add(&self, digest: &str, prepared: Prepared) {
        let loaded = Loaded {
            prepared,
            said: OnceCell::new(),
        };
        // One that is there already is the same.
        let _ = self.0.cell(digest.to_owned()).set(Arc::new(loaded));
    }
}

impl Loader {
    async fn load(&self, id: DeploymentId) -> Result<Arc<Deployed>, LoadError> {
        let row = dacapo_store::deployment(&self.store, id)
            .await
            .map_err(LoadError::of_store)?
            .ok_or_else(|| {
                LoadError::Unusable(
                    "missing-deployment",
                    format!("there is no deployment with id {}", id.0),
                )
            })?;
        let started = std::time::Instant::now();
        let cell = self.components.cell(row.digest.clone());
        let mut compiled = false;
        let prepare = async {
            let component = self.prepare(&row).await?;
            compiled = component.prepared.was_compiled();
            Ok::<_, LoadError>(component)
        };
        let component = cell.get_or_try_init(|| prepare).await?;
        if !row.verified {
            self.verify(id, &row, component).await?;
        }
        crate::metrics::loaded(compiled, started.elapsed());
        tracing::info!(
            package = %row.package,
            number = row.number,
            compiled,
            milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "deployment is ready"
        );
        Ok(Arc::new(Deployed {
            component: Arc::clone(component),
            terms: self.sandbox.terms(&row.manifest),
            changes: changes_of(&row.descriptor, &row.manifest),
            descriptor: row.descriptor,
            manifest: row.manifest,
        }))
    }

    /// Notes that the descriptor is that of the component, and that the manifest can be meant: whoever deployed it may have given another
    /// one's descriptor with it, and a manifest that nobody has looked at.
    async fn verify(
        &self,
        id: DeploymentId,
        row: &DeploymentRow,
        component: &Loaded,
    ) -> Result<(), LoadError> {
        let describe = || async {
            let _turn = self.turn().await?;
            let bytes = Arc::new(self.bytes(&row.digest).await?);
            self.describe(&row.digest, &bytes).await
        };
        check_descriptor(row, component.said.get_or_try_init(describe).await?)?;
        if let Some(problem) = row.manifest.problem(&row.descriptor) {
            return Err(LoadError::Unusable(
                "bad-manifest",
                format!(
                    "the manifest of deployment {} of {} cannot be meant: {problem}; deploy it again with what `dacapo describe` prints of it",
                    row.number, row.package
                ),
            ));
        }
        dacapo_store::note_verified(&self.store, id)
            .await
            .map_err(LoadError::of_store)
    }

    /// From the cache on disk, or compiled: the bytes are fetched only then, and once.
    async fn prepare(&self, row: &DeploymentRow) -> Result<Arc<Loaded>, LoadError> {
        if let Some(prepared) = self.prepare_cached(&row.digest).await? {
            return Ok(Arc::new(Loaded {
                prepared,
                said: OnceCell::new(),
            }));
        }
        let _turn = self.turn().await?;
        let bytes = Arc::new(self.bytes(&row.digest).await?);
        let said = if row.verified {
            None
        } else {
            let said = self.describe(&row.digest, &bytes).await?;
            // Before it is compiled: that takes longer.
            check_descriptor(row, &said)?;
            Some(said)
        };
        let prepared = self.compile(row, bytes).await?;
        Ok(Arc::new(Loaded {
            prepared,
            said: OnceCell::new_with(said),
        }))
    }

    async fn prepare_cached(&self, digest: &str) -> Result<Option<Prepared>, LoadError> {
        let (sandbox, owned) = (self.sandbox.clone(), digest.to_owned());
        off_thread(digest, move || Ok(sandbox.prepare_cached(&owned)?)).await
    }

    async fn describe(&self, digest: &str, bytes: &Arc<Vec<u8>>) -> Result<Said, LoadError> {
        let (sandbox, bytes) = (self.sandbox.clone(), Arc::clone(bytes));
        let Described {
            digest, descriptor, ..
        } = off_thread(digest, move || Ok(sandbox.describe(&bytes)?)).await?;
        Ok(Said { digest, descriptor })
    }

    /// Says so if it takes long, for there are runs that wait.
    async fn compile(
        &self,
        row: &DeploymentRow,
        bytes: Arc<Vec<u8>>,
    ) -> Result<Prepared, LoadError> {
        let (package, number, digest) = (&row.package, row.number, &row.digest);
        let (kilobytes, started) = (bytes.len() >> 10, std::time::Instant::now());
        let (sandbox, owned) = (self.sandbox.clone(), row.digest.clone());
        let compiling = off_thread(digest, move || Ok(sandbox.prepare(&owned, &bytes)?));
        tokio::pin!(compiling);
        if let Ok(compiled) = tokio::time::timeout(SLOW, &mut compiling).await {
            return compiled;
        }
        tracing::info!(%package, number, digest, kilobytes, "compiling; runs of this component wait for it");
        let compiled = loop {
            match tokio::time::timeout(STILL_EVERY, &mut compiling).await {
                Ok(compiled) => break compiled,
                Err(_) => {
                    let seconds = started.elapsed().as_secs();
                    tracing::info!(%package, number, digest, seconds, "still compiling");
                }
            }
        };
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &compiled {
            Ok(_) => tracing::info!(%package, number, digest, milliseconds, "compiled"),
            Err(_) => tracing::warn!(%package, number, digest, milliseconds, "not compiled"),
        }
        compiled
    }

    /// Waits until something may be fetched and compiled.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, LoadError> {
        let turn = self.turns.acquire().await;
        turn.map_err(|_| LoadError::Unavailable("the worker stops".to_owned()))
    }

    async fn bytes(&self, digest: &str) -> Result<Vec<u8>, LoadError> {
        dacapo_store::component_bytes(&self.store, digest)
            .await
            .map_err(LoadError::of_store)?
            .ok_or_else(|| {
                LoadError::Unusable(
                    "missing-component",
                    format!("component {digest} is not stored"),
                )
            })
    }
}

/// Refuses a deployment whose descriptor is not what its component says.
fn check_descriptor(row: &DeploymentRow, said: &Said) -> Result<(), LoadError> {
    let problem = if said.digest == row.digest {
        row.descriptor.contradicts(&said.descriptor)
    } else {
        Some(format!(
            "the bytes that are stored have the digest {}",
            said.digest
        ))
    };
    let Some(problem) = problem else {
        return Ok(());
    };
    Err(LoadError::Unusable(
        "bad-descriptor",
        format!(
            "the descriptor of deployment {} of {} is not that of its component: {problem}; deploy it again with what \
             `dacapo describe` prints of it",
            row.number, row.package
        ),
    ))
}

fn changes_of(descriptor: &Descriptor, manifest: &Manifest) -> HashMap<String, Arc<Changes>> {
    let workflows = descriptor.workflows.iter();
    let changes = workflows.filter_map(|workflow| {
        let changes = manifest.changes_of(&workflow.name)?;
        Some((workflow.name.clone(), Arc::new(changes.clone())))
    });
    changes.collect()
}

/// Loading takes microseconds, compiling up to many seconds of a core: neither on a thread that the runtime needs.
async fn off_thread<T: Send + 'static>(
    digest: &str,
    work: impl FnOnce() -> Result<T, Unfit> + Send + 'static,
) -> Result<T, LoadError> {
    let unusable = |cause: String| {
        LoadError::Unusable("bad-component", format!("component {digest}: {cause}"))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Unfit::Lacks(lack))) if lack.is_newer() => {
            Err(LoadError::Newer(digest.to_owned(), lack))
        }
        Ok(Err(Unfit::Lacks(lack))) => Err(unusable(lack.to_string())),
        Ok(Err(Unfit::Other(cause))) => Err(unusable(cause)),
        Err(error) => Err(unusable(format!("loading panicked: {error}"))),
    }
}

fn causes(error: &dyn Error) -> String {
    let cause = error
        .source()
        .map_or_else(String::new, |cause| format!(": {cause}"));
    format!("{error}{cause}")
}

/// What was used lately. Nothing is forgotten while somebody uses it or waits for it: that would free no memory, and whoever comes next
/// would load it a second time.
struct Recent<K, V> {
    kept_max: usize,
    kept: Mutex<Kept<K, V>>,
}

struct Kept<K, V> {
    cells: HashMap<K, Used<V>>,
    uses: u64,
}

struct Used<V> {
    cell: Arc<OnceCell<Arc<V>>>,
    /// The number of its last use.
    last: u64,
}

impl<V> Used<V> {
    /// Nobody else has it. Whoever gets it takes the cell first, under the lock, and so is seen.
    fn is_idle(&self) -> bool {
        let unused = |value: &Arc<V>| Arc::strong_count(value) == 1;
        Arc::strong_count(&self.cell) == 1 && self.cell.get().is_none_or(unused)
    }
}

impl<K: Eq + std::hash::Hash + Clone, V> Recent<K, V> {
    fn new(kept_max: usize) -> Self {
        Self {
            kept_max,
            kept: Mutex::new(Kept {
                cells: HashMap::new(),
                uses: 0,
            }),
        }
    }

    /// The cell of a key, which is not empty if it was used lately.
    fn cell(&self, key: K) -> Arc<OnceCell<Arc<V>>> {
        let mut kept = self.kept();
        kept.uses += 1;
        let uses = kept.uses;
        let used = kept.cells.entry(key).or_insert_with(|| Used {
            cell: Arc::default(),
            last: 0,
        });
        used.last = uses;
        let cell = Arc::clone(&used.cell);
        while kept.cells.len() > self.kept_max {
            let idle = kept.cells.iter().filter(|(_, used)| used.is_idle());
            let oldest = idle.min_by_key(|(_, used)| used.last);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            kept.cells.remove(&oldest);
        }
        cell
    }

    fn kept(&self) -> MutexGuard<'_, Kept<K, V>> {
        // It is whole whenever the lock is free, whoever panicked.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_fetched_ahead_is_bounded_and_named_once() {
        let wanted = Wanted::default();
        for id in (1..=10_000).chain(1..=10_000) {
            wanted.add(DeploymentId(id));
        }
        let expected: BTreeSet<DeploymentId> = (1..).take(WANTED_MAX).map(DeploymentId).collect();
        assert_eq!(wanted.take(), expected);
        wanted.add(DeploymentId(7));
        wanted.add(DeploymentId(7));
        assert_eq!(wanted.take(), BTreeSet::from([DeploymentId(7)]));
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let recent: Recent<u32, u32> = Recent::new(2);
        let put = |key: u32| {
            let _ = recent.cell(key).set(Arc::new(key));
        };
        put(1);
        put(2);
        put(1);
        put(3);
        let mut kept: Vec<u32> = recent.kept().cells.keys().copied().collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, 3]);
    }

    #[test]
    fn what_is_used_or_waited_for_is_not_forgotten() {
        let recent: Recent<u32, u32> = Recent::new(1);
        let waited_for = recent.cell(1);
        let used = Arc::new(2);
        let _ = recent.cell(2).set(Arc::clone(&used));
        let _ = recent.cell(3).set(Arc::new(3));
        let kept = |recent: &Recent<u32, u32>| {
            let mut kept: Vec<u32> = recent.kept().cells.keys().copied().collect();
            kept.sort_unstable();
            kept
        };
        let _ = recent.cell(4).set(Arc::new(4));
        assert_eq!(kept(&recent), [1, 2, 4], "3 is nobody's");
        drop((waited_for, used));
        let _ = recent.cell(4);
        assert_eq!(kept(&recent), [4]);
    }
}
