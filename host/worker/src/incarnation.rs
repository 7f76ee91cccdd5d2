//! One life of a worker under one id: from its registration until it is fenced or has drained.

use std::sync::atomic::{AtomicBool, AtomicI16, Ordering};
use std::sync::{Arc, OnceLock};

use dacapo_model::{RunId, StepKey, Timestamp, WorkerId};
use dacapo_store::{
    BegunSqlStep, ChildState, ChildWorkflow, Look, SqlToken, SqlTransactionId, Store,
    StoreConnection, StoreError, TakenBackSqlStep, in_time,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::ANSWER_MAX;
use crate::clock::Clock;
use crate::coordinator::Inbox;
use crate::metrics::Metrics;
use crate::traces::Traces;
use crate::writer::Submission;

/// What everything that runs under one worker id shares.
pub(crate) struct Incarnation {
    pub(crate) id: WorkerId,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traces: Option<Arc<dyn Traces>>,
    store: Store,
    /// The runtime that the worker was started on: a pooled connection made on another one would end with that.
    io: tokio::runtime::Handle,
    inbox: Arc<Inbox>,
    /// To the journal writers. At most one entry for each run that is played, so it needs no bound of its own.
    submissions: UnboundedSender<Submission>,
    /// Cancelled once nothing may be written under this id any more.
    over: CancellationToken,
    draining: AtomicBool,
    next_fence: AtomicI16,
    /// The fence that outcomes of SQL steps are written under. It is never renewed: a lost connection is found out about by the step's token.
    sql_fence: i16,
    /// The timeline that the database wrote when this life began.
    timeline: OnceLock<String>,
    /// It writes another one now.
    moved: AtomicBool,
}

impl Incarnation {
    #[expect(clippy::too_many_arguments, reason = "put together in one place only")]
    pub(crate) fn new(
        id: WorkerId,
        clock: Clock,
        store: Store,
        io: tokio::runtime::Handle,
        inbox: Arc<Inbox>,
        submissions: UnboundedSender<Submission>,
        fences: i16,
        metrics: Arc<Metrics>,
        traces: Option<Arc<dyn Traces>>,
    ) -> Self {
        Self {
            id,
            clock,
            metrics,
            traces,
            store,
            inbox,
            io,
            submissions,
            over: CancellationToken::new(),
            draining: AtomicBool::new(false),
            // The last of those that it is registered with; new ones come after it.
            sql_fence: fences,
            next_fence: AtomicI16::new(fences.saturating_add(1)),
            timeline: OnceLock::new(),
            moved: AtomicBool::new(false),
        }
    }

    /// Its life began on this connection.
    pub(crate) fn begins_on(&self, connection: &StoreConnection) {
        if let Some(timeline) = connection.timeline() {
            // It begins once.
            let _ = self.timeline.set(timeline.to_owned());
        }
    }

    /// A connection for what is written under this id. A replica that was promoted may never have heard of rows that the sessions of running
    /// runs hold for durable: what they wrote behind those would leave a hole. So this life ends with the server that it began on.
    pub(crate) async fn connect(&self) -> Result<StoreConnection, StoreError> {
        let connection = self.store.connect().await?;
        if let (Some(then), Some(now)) = (self.timeline.get(), connection.timeline())
            && then != now
        {
            tracing::warn!(worker = %self.id.0, then, now, "the database was promoted from a replica, or restored");
            self.moved.store(true, Ordering::Relaxed);
            self.end();
        }
        Ok(connection)
    }

    /// Whether it is over because the database has another history now. Its runs can be handed back then: it was not fenced.
    pub(crate) fn has_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed)
    }

    /// Hands rows to the journal writers.
    pub(crate) fn submit(&self, submission: Submission) {
        // The writers are gone only when the incarnation is over; the dropped reply then says so.
        let _ = self.submissions.send(submission);
    }

    /// What was sent to a run. None: the run is not this worker's any more. May be called from the guests' threads.
    pub(crate) async fn look(&self, run: RunId) -> Result<Option<Look>, StoreError> {
        let (store, id) = (self.store.clone(), self.id);
        self.ask(async move { dacapo_store::look(&store, id, run).await })
            .await
    }

    /// The workflows that a child of a run may be a run of. May be called from the guests' threads.
    pub(crate) async fn find_workflow(
        &self,
        run: RunId,
        name: &str,
        child: RunId,
        labels: Option<&[(String, String)]>,
    ) -> Result<Vec<ChildWorkflow>, StoreError> {
        let (store, name) = (self.store.clone(), name.to_owned());
        let labels = labels.map(<[_]>::to_vec);
        let found = async move {
            dacapo_store::find_child_workflow(&store, run, &name, child, labels.as_deref()).await
        };
        self.ask(found).await
    }

    /// Notes that a run is played alone. False: the worker does not hold it any more. May be called from the guests' threads.
    pub(crate) async fn note_alone(&self, run: RunId) -> Result<bool, StoreError> {
        let (store, worker) = (self.store.clone(), self.id);
        self.ask(async move { dacapo_store::note_alone(&store, worker, run).await })
            .await
    }

    /// How a child of a run stands. May be called from the guests' threads.
    pub(crate) async fn child_state(
        &self,
        run: RunId,
        child: RunId,
    ) -> Result<ChildState, StoreError> {
        let store = self.store.clone();
        self.ask(async move { dacapo_store::child_state(&store, run, child).await })
            .await
    }

    /// Notes that a transaction has begun for a step. May be called from the guests' threads.
    pub(crate) async fn begin_sql_step(
        &self,
        run: RunId,
        key: &StepKey,
        position: u32,
        started_at: Timestamp,
        token: &SqlToken,
        of: SqlTransactionId,
    ) -> Result<BegunSqlStep, StoreError> {
        let (store, id, fence) = (self.store.clone(), self.id, self.sql_fence);
        let (key, token) = (key.clone(), token.clone());
        self.ask(async move {
            dacapo_store::begin_sql_step(
                &store, id, fence, run, &key, position, started_at, &token, &of,
            )
            .await
        })
        .await
    }

    /// Finds out for good what became of a step's transaction. May be called from the guests' threads.
    pub(crate) async fn take_back_sql_step(
        &self,
        run: RunId,
        key: &StepKey,
        token: &SqlToken,
    ) -> Result<TakenBackSqlStep, StoreError> {
        let (store, key, token) = (self.store.clone(), key.clone(), token.clone());
        self.ask(async move { dacapo_store::take_back_sql_step(&store, run, &key, &token).await })
            .await
    }

    /// Dacapo's own database.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Does something that nobody waits for, on the runtime that has the store's pool.
    pub(crate) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.io.spawn(work);
    }

    /// Does something on that runtime until it is told to stop.
    pub(crate) fn spawn(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        self.io.spawn(work)
    }

    /// Whether there is a queue of this name that a child of a run can wait in. May be called from the guests' threads.
    pub(crate) async fn has_queue(&self, run: RunId, name: &str) -> Result<bool, StoreError> {
        let (store, name) = (self.store.clone(), name.to_owned());
        self.ask(async move { dacapo_store::has_queue(&store, run, &name).await })
            .await
    }

    /// Asks the database on the runtime that has the store's pool.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.io.spawn(in_time(ANSWER_MAX, question)).await;
        answer.unwrap_or_else(|error| {
            Err(StoreError::Unreadable(format!(
                "a question to the database was not answered: {error}"
            )))
        })
    }

    /// A run that has written very many rows was given up: whoever takes it next is to find them quickly.
    pub(crate) fn read_once(&self, run: RunId) {
        let store = self.store.clone();
        self.io.spawn(async move {
            if let Err(error) = dacapo_store::read_journal_once(&store, run).await {
                tracing::debug!(%run, %error, "a long journal was not read in advance");
            }
        });
    }

    /// A run was suspended until this time.
    pub(crate) fn due(&self, at: dacapo_model::Timestamp) {
        self.inbox.due(at);
    }

    /// The worker was fenced: nothing may be written under this id any more.
    pub(crate) fn end(&self) {
        self.over.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Waits until the incarnation is over.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Runs are to stop at their next boundary.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// A number for a fence that none had before.
    pub(crate) fn next_fence(&self) -> i16 {
        self.next_fence.fetch_add(1, Ordering::Relaxed)
    }
}
