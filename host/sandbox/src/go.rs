//! One go at a run: what all instances that play it share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use dacapo_model::{Changes, Payload, Recorded, RetryPolicy, RunId, StepKey, Timestamp};
use dacapo_outbound::Outbound;
use dacapo_replay::Positions;

use crate::config::SandboxConfig;
use crate::console::LogUse;
use crate::ending::RunSpec;
use crate::history::History;
use crate::journal::{Journal, Stop};
use crate::terms::Terms;

/// Bytes of rows that may be on their way to the journal before a guest that goes on recording has to wait for them.
const UNSETTLED_MAX_BYTES: usize = 1 << 20;

/// What the instances of one go at a run share. A run that does not fork has one instance at a time.
pub(crate) struct Go {
    pub(crate) run_id: RunId,
    /// What its randomness is derived from.
    pub(crate) seed: RunId,
    pub(crate) retries: u16,
    /// How steps are tried again that do not say so themselves.
    pub(crate) retry: RetryPolicy,
    pub(crate) workflow: String,
    /// The events that the workflow declares; none: any will do.
    pub(crate) events: Vec<String>,
    pub(crate) created_at: Timestamp,
    /// Sorted by name.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) journal: Arc<dyn Journal>,
    /// Somebody looks on.
    pub(crate) is_watched: bool,
    pub(crate) config: Arc<SandboxConfig>,
    pub(crate) terms: Arc<Terms>,
    /// The way out of its steps, if there is one.
    pub(crate) outbound: Option<Outbound>,
    pub(crate) positions: Positions,
    /// How the code differs from what the run may have begun with.
    pub(crate) changes: Option<Arc<Changes>>,
    /// What the journal holds, for components that can fork: a branch is played over it.
    pub(crate) history: Option<History>,
    /// How much was logged.
    pub(crate) log: Arc<LogUse>,
    journal_bytes: AtomicUsize,
    /// About how much was recorded since somebody last waited until that was durable.
    unsettled_bytes: AtomicUsize,
    /// The first call that the code's author says was inserted and that came while something recorded was still to be asked for.
    inserted: OnceLock<StepKey>,
    /// What is known of the run's children.
    children: Mutex<HashMap<RunId, Child>>,
}

/// A child of the run, as far as its parent knows.
#[derive(Debug, Clone)]
pub(crate) enum Child {
    /// It was started in this go, and may not be durable yet.
    Started,
    /// The run was told how it ended.
    Ended(Payload),
}

impl Go {
    /// The rows are answered beside, by position, for the instance that is played first.
    pub(crate) fn new(
        spec: RunSpec,
        events: Vec<String>,
        journal: Arc<dyn Journal>,
        outbound: Option<Outbound>,
        forks: bool,
    ) -> (Go, Arc<Vec<Recorded>>) {
        let mut labels = spec.labels;
        labels.sort();
        let mut recorded = spec.recorded;
        if !recorded.is_sorted_by_key(|row| row.position) {
            recorded.sort_unstable_by_key(|row| row.position);
        }
        let recorded = Arc::new(recorded);
        let config = Arc::clone(&spec.terms.config);
        let history = forks.then(|| History::new(Arc::clone(&recorded)));
        let go = Go {
            run_id: spec.run_id,
            seed: spec.seed,
            retries: spec.retries,
            retry: spec.retry.unwrap_or(config.retry),
            workflow: spec.workflow,
            events,
            created_at: spec.created_at,
            labels,
            is_watched: journal.is_watched(),
            journal,
            config,
            terms: spec.terms,
            outbound,
            positions: Positions::behind(&recorded),
            changes: spec.changes.filter(|changes| !changes.is_empty()),
            history,
            journal_bytes: AtomicUsize::new(recorded.iter().map(Recorded::bytes).sum()),
            log: Arc::default(),
            unsettled_bytes: AtomicUsize::new(0),
            inserted: OnceLock::new(),
            children: Mutex::default(),
        };
        (go, recorded)
    }

    /// The code makes an inserted call in front of what is recorded.
    pub(crate) fn note_inserted(&self, key: &StepKey) {
        let _ = self.inserted.set(key.clone());
    }

    /// The first of the inserted calls in front of what is recorded.
    pub(crate) fn inserted(&self) -> Option<StepKey> {
        self.inserted.get().cloned()
    }

    /// Whether the code's author says that the call of this key, or a fork around it, is gone.
    pub(crate) fn is_dropped(&self, key: &StepKey) -> bool {
        let changes = self.changes.as_ref();
        changes.is_some_and(|changes| dacapo_replay::is_dropped(key, changes))
    }

    /// About how many bytes the journal holds.
    pub(crate) fn journal_bytes(&self) -> usize {
        self.journal_bytes.load(Ordering::Relaxed)
    }

    /// What is known of a child; none: nothing in this go.
    pub(crate) fn child(&self, id: RunId) -> Option<Child> {
        self.children().get(&id).cloned()
    }

    pub(crate) fn know_child(&self, id: RunId, child: Child) {
        self.children().insert(id, child);
    }

    fn children(&self) -> MutexGuard<'_, HashMap<RunId, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The journal holds so many bytes more.
    pub(crate) fn add_journal_bytes(&self, bytes: usize) {
        self.journal_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are on their way to the journal.
    pub(crate) fn add_unsettled_bytes(&self, bytes: usize) {
        self.unsettled_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits until everything recorded so far is durable.
    pub(crate) async fn settle(&self) -> Result<(), Stop> {
        self.unsettled_bytes.store(0, Ordering::Relaxed);
        self.journal.settle().await
    }

    /// Waits if so much is on its way to the journal that it would only gather here.
    pub(crate) async fn relieve(&self) -> Result<(), Stop> {
        if self.unsettled_bytes.load(Ordering::Relaxed) > UNSETTLED_MAX_BYTES {
            return self.settle().await;
        }
        Ok(())
    }
}
