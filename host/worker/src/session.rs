//! One leased run as the sandbox sees it: its journal.
//!
//! What the guest records is gathered here and handed to the journal writer when somebody has to wait for it, so that the last step
//! and the completion share one commit. At most one hand-over of a run is under way at a time: its rows are written in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dacapo_model::{RunId, SaidProgress, StepKey, Timestamp};
use dacapo_sandbox::{
    ChildState, ChildWorkflow, Event, Journal, Signal, SqlRefusal, SqlStep, SqlTransaction, Stop,
    SuspendReason, Suspended, Suspension, Write,
};
use dacapo_store::{Claimed, End, InboxEvent, LogRow, Look, RecordRow, RunWrites, StoreError};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::failpoint::Failpoint;
use crate::incarnation::Incarnation;
use crate::metrics::{Ended, OfWorkflow};
use crate::sql::SqlAccess;
use crate::traces::RunTrace;
use crate::writer::{Reply, Submission};

/// A leased run.
pub(crate) struct Session {
    run: RunId,
    /// When the run is to be ended whatever it does.
    deadline: Option<Timestamp>,
    incarnation: Arc<Incarnation>,
    /// What is counted for its workflow.
    counted: Arc<OfWorkflow>,
    /// Its trace, if there is one.
    trace: Option<RunTrace>,
    state: Mutex<State>,
    /// Held by whoever waits for a hand-over: branches of a run wait at the same time, and what one of them hands over may hold the rows of
    /// another.
    handing_over: tokio::sync::Mutex<()>,
    /// Rung when the run is to be ended at once.
    end_now: Notify,
    /// It is to go back into its queue at its next boundary: its queue, its workflow or everything is paused.
    is_to_go_back: AtomicBool,
    /// What its steps may use; set when its deployment is loaded.
    sql: OnceLock<SqlAccess>,
}

/// Why a run is ended in the middle of whatever it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndNow {
    /// Somebody insists.
    Kill,
    /// Its deadline has passed.
    Deadline,
}

/// Rows written in one stay with a worker from which on it pays to read them once before they are needed.
const MANY_ROWS: usize = 500;

/// While a guest computes on, how far it is is written so often at most.
const PROGRESS_EVERY_MICROS: i64 = 1_000_000;

struct State {
    records: Vec<RecordRow>,
    /// All that was ever appended.
    appended: usize,
    logs: Vec<LogRow>,
    /// How far the run is, as its code said last, and that is not handed over yet.
    progress: Option<SaidProgress>,
    /// When that began to wait for a hand-over.
    progress_at: Timestamp,
    /// A hand-over that nobody has waited for yet.
    under_way: Option<oneshot::Receiver<Reply>>,
    /// Somebody waits for a hand-over that is under way: another one must not overtake it.
    waiting: bool,
    /// Events that no wait has taken yet.
    inbox: Vec<InboxEvent>,
    /// When those came that somebody has sent and a wait has taken, which is not recorded yet; by their numbers.
    taken: BTreeMap<u32, Timestamp>,
    /// The newest event that has been seen, taken or not.
    newest_event: u32,
    inbox_seq: i32,
    signal: Option<String>,
    /// All that came in by then is known.
    looked_at: Timestamp,
    /// Time never goes back within a run.
    latest: Timestamp,
    /// Why nothing of this run may be written any more.
    stop: Option<Stop>,
    /// The database refused the run's data: what it said.
    refused: Option<String>,
    /// What still plays the run is to have no effect any more.
    closed: bool,
    /// The run has started children.
    is_parent: bool,
}

impl State {
    /// Nothing has gathered that could be handed over.
    fn has_nothing(&self) -> bool {
        self.records.is_empty() && self.logs.is_empty() && self.progress.is_none()
    }
}

/// How a hand-over went.
enum Written {
    /// Durable. `gone`: the run was given up as asked.
    Yes { gone: bool },
    /// The database refuses the run's data.
    Refused,
    /// Not written.
    Stopped(Stop),
}

impl Session {
    /// The run was claimed by a statement that began at `asked_at` or later.
    pub(crate) fn new(
        claimed: &mut Claimed,
        incarnation: Arc<Incarnation>,
        asked_at: Timestamp,
    ) -> Self {
        let inbox = std::mem::take(&mut claimed.inbox);
        let state = State {
            records: Vec::new(),
            appended: 0,
            logs: Vec::new(),
            progress: None,
            progress_at: claimed.claimed_at,
            under_way: None,
            waiting: false,
            newest_event: inbox.last().map_or(0, |event| event.seq),
            inbox,
            taken: BTreeMap::new(),
            inbox_seq: claimed.inbox_seq,
            signal: claimed.signal.take(),
            looked_at: asked_at,
            latest: claimed.claimed_at,
            stop: None,
            refused: None,
            closed: false,
            is_parent: claimed
                .recorded
                .iter()
                .any(|row| row.kind == dacapo_model::Kind::Child),
        };
        Self {
            run: claimed.run,
            deadline: claimed.deadline,
            counted: incarnation.metrics.of(&claimed.workflow),
            trace: RunTrace::of(claimed, incarnation.traces.as_ref()),
            incarnation,
            state: Mutex::new(state),
            handing_over: tokio::sync::Mutex::new(()),
            end_now: Notify::new(),
            is_to_go_back: AtomicBool::new(false),
            sql: OnceLock::new(),
        }
    }

    /// Its steps may use this.
    pub(crate) fn grant_sql(&self, access: SqlAccess) {
        // A session is for one go, so it is set once.
        let _ = self.sql.set(access);
    }

    /// Whether the run is to go back into its queue at its next boundary.
    pub(crate) fn give_back(&self, is_to_go_back: bool) {
        self.is_to_go_back.store(is_to_go_back, Ordering::Relaxed);
    }

    /// Returns when the run is to be ended in the middle of whatever it does.
    pub(crate) async fn end_now(&self) -> EndNow {
        loop {
            let rung = self.end_now.notified();
            match self.state().signal.as_deref() {
                Some("kill") => return EndNow::Kill,
                Some("deadline") => return EndNow::Deadline,
                _ => {}
            }
            let Some(deadline) = self.deadline else {
                rung.await;
                continue;
            };
            let left = deadline.as_micros() - self.incarnation.clock.now().as_micros();
            let Ok(left @ 1..) = u64::try_from(left) else {
                return EndNow::Deadline;
            };
            tokio::select! {
                biased;
                () = rung => {}
                () = tokio::time::sleep(Duration::from_micros(left)) => {}
            }
        }
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what the database holds for the run. False: the worker does not hold it any more.
    pub(crate) async fn look_again(&self) -> Result<bool, StoreError> {
        let asked_at = self.incarnation.clock.now();
        let look = self.incarnation.look(self.run).await?;
        let is_held = look.is_some();
        if let Some(look) = look {
            self.take_look(look, asked_at);
        }
        Ok(is_held)
    }

    fn take_look(&self, look: Look, asked_at: Timestamp) {
        let mut state = self.state();
        state.looked_at = state.looked_at.max(asked_at);
        let newest = state.newest_event;
        state
            .inbox
            .extend(look.inbox.into_iter().filter(|event| event.seq > newest));
        state.newest_event = state
            .inbox
            .last()
            .map_or(newest, |event| event.seq.max(newest));
        state.inbox_seq = look.inbox_seq;
        state.signal = look.signal;
        self.end_now.notify_one();
    }

    /// Nothing of this run may be written any more.
    pub(crate) fn stop(&self, stop: Stop) {
        self.state().stop.get_or_insert(stop);
    }

    /// What the database said when it refused the run's data, if it did. What it refused is dropped, so that the run can be ended.
    pub(crate) fn take_refused(&self) -> Option<String> {
        let mut state = self.state();
        if state.refused.is_some() {
            state.records.clear();
            state.logs.clear();
            state.progress = None;
        }
        state.refused.take()
    }

    /// What the database answered. If it did not the run is handed back, with all that it has recorded: the writers may well reach it.
    fn answer<T>(&self, what: &str, answer: Result<T, StoreError>) -> Result<T, Stop> {
        answer.map_err(|error| {
            tracing::warn!(run = %self.run, %error, "cannot look for {what} of a run");
            Stop::Unavailable
        })
    }

    /// Nothing more of what plays the run counts: branches that were dropped in the middle of a computation stop only when they next come
    /// up for air.
    pub(crate) fn close(&self) {
        self.state().closed = true;
    }

    /// Hands over what is recorded already, also of a run that is closed.
    pub(crate) async fn keep(&self) {
        let _ = self.hand_over(None).await;
    }

    /// Hands everything over and ends the run's stay with this worker. False: it is still the worker's, or never was.
    pub(crate) async fn end(&self, end: End) -> Result<bool, Stop> {
        match self.hand_over(Some(end)).await {
            Written::Yes { gone } => Ok(gone),
            Written::Refused => Ok(false),
            Written::Stopped(stop) => Err(stop),
        }
    }

    /// Hands over what has gathered, after what is under way, and waits until it is durable.
    async fn hand_over(&self, end: Option<End>) -> Written {
        let ended = end.as_ref().map(Ended::from);
        let traced = self.trace.as_ref().zip(end.as_ref());
        let traced = traced.and_then(|(trace, end)| Some((trace, trace.end(end)?)));
        let written = self.hand_over_in_turn(end).await;
        if let (Some(ended), Written::Yes { gone: true }) = (&ended, &written) {
            self.incarnation.metrics.ended(&self.counted, ended);
            if let Some((trace, span)) = traced {
                trace.ended(span, self.incarnation.clock.now());
            }
        }
        written
    }

    async fn hand_over_in_turn(&self, mut end: Option<End>) -> Written {
        let _turn = self.handing_over.lock().await;
        loop {
            // In one go: rows that a nudge hands over in between must be waited for, too.
            let (reply, last) = {
                let mut state = self.state();
                if let Some(reply) = state.under_way.take() {
                    state.waiting = true;
                    (reply, false)
                } else {
                    if let Some(stop) = state.stop {
                        return Written::Stopped(stop);
                    }
                    if state.refused.is_some() {
                        return Written::Refused;
                    }
                    if state.has_nothing() && end.is_none() {
                        return Written::Yes { gone: false };
                    }
                    state.waiting = true;
                    (self.submit(&mut state, end.take()), true)
                }
            };
            match self.wait(reply).await {
                Written::Yes { .. } if !last => {}
                written => return written,
            }
        }
    }

    fn submit(&self, state: &mut State, end: Option<End>) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        let progress = state.progress.take();
        let writes = RunWrites {
            run: self.run,
            progress,
            records: std::mem::take(&mut state.records),
            logs: std::mem::take(&mut state.logs),
            end,
            is_parent: state.is_parent,
        };
        self.incarnation.submit(Submission {
            writes,
            reply: sender,
        });
        receiver
    }

    async fn wait(&self, reply: oneshot::Receiver<Reply>) -> Written {
        let mut awaited = Awaited {
            session: self,
            reply: Some(reply),
        };
        let reply = match &mut awaited.reply {
            Some(reply) => reply.await.unwrap_or(Reply::Stopped(Stop::Unavailable)),
            None => Reply::Stopped(Stop::Unavailable),
        };
        awaited.reply = None;
        let mut state = self.state();
        state.waiting = false;
        match reply {
            Reply::Written { gone } => {
                drop(state);
                Failpoint::Acknowledged.reach();
                Written::Yes { gone }
            }
            Reply::Refused(message) => {
                state.refused.get_or_insert(message);
                Written::Refused
            }
            Reply::Stopped(stop) => {
                let stop = *state.stop.get_or_insert(stop);
                Written::Stopped(stop)
            }
        }
    }
}

/// A reply that is being waited for. If the waiting is given up in the middle, because the run is ended, the next hand-over has to come
/// after that one all the same.
struct Awaited<'a> {
    session: &'a Session,
    reply: Option<oneshot::Receiver<Reply>>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            let mut state = self.session.state();
            state.waiting = false;
            state.under_way = Some(reply);
        }
    }
}

#[async_trait]
impl Journal for Session {
    fn now(&self) -> Timestamp {
        let now = self.incarnation.clock.now();
        let mut state = self.state();
        state.latest = state.latest.max(now);
        state.latest
    }

    fn append(&self, write: Write) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        match write {
            Write::Record(mut write) => {
                if write.recorded.kind == dacapo_model::Kind::Step {
                    Failpoint::AfterBody.reach();
                }
                state.appended += 1;
                let received_at = write.takes_event.and_then(|seq| state.taken.remove(&seq));
                // What will never be written is for somebody else to count.
                let is_written = state.stop.is_none() && state.refused.is_none();
                if is_written && !self.incarnation.is_over() {
                    let metrics = &self.incarnation.metrics;
                    metrics.recorded(&self.counted, &write, received_at);
                    if let Some(trace) = &self.trace {
                        trace.recorded(&write);
                    }
                }
                state.is_parent |= write.starts_child.is_some();
                if let (Some(trace), Some(child)) = (&self.trace, &mut write.starts_child) {
                    let labels = child.labels.take();
                    child.labels = trace.labels_of_child(&write.recorded.key, labels);
                }
                let mut row = RecordRow {
                    recorded: write.recorded,
                    updates_open: write.updates_open,
                    takes_event: write.takes_event,
                    failed_attempt: write.failed_attempt,
                    starts_child: write.starts_child.map(|child| {
                        Box::new(dacapo_store::ChildStart {
                            id: child.id,
                            workflow: child.workflow,
                            deployment: child.deployment,
                            input: child.input,
                            labels: child.labels,
                            deadline_ms: child.deadline_ms,
                            detached: child.detached,
                            queue: child.queue,
                            concurrency_key: child.concurrency_key,
                            priority: child.priority,
                        })
                    }),
                };
                // A statement that inserts an open row cannot complete it, too: only what the row has come to is handed over.
                if row.updates_open
                    && let Some(at) = state
                        .records
                        .iter()
                        .rposition(|known| known.recorded.key == row.recorded.key)
                {
                    let open = state.records.remove(at);
                    row.updates_open = open.updates_open;
                    row.failed_attempt = row.failed_attempt.or(open.failed_attempt);
                }
                state.records.push(row);
            }
            Write::Progress(said) => {
                if state.progress.replace(said).is_none() {
                    state.progress_at = self.incarnation.clock.now();
                }
            }
            Write::Log(line) => {
                let fields = (!line.fields.is_empty()).then(|| {
                    let fields: BTreeMap<String, String> = line.fields.into_iter().collect();
                    serde_json::to_string(&fields).unwrap_or_default()
                });
                state.logs.push(LogRow {
                    id: Uuid::now_v7(),
                    at: line.at,
                    level: line.level.as_str(),
                    step: line.step,
                    source: line.source.as_str(),
                    message: line.message,
                    fields,
                });
            }
        }
    }

    fn nudge(&self) {
        let mut state = self.state();
        if state.waiting {
            return;
        }
        if let Some(mut reply) = state.under_way.take() {
            match reply.try_recv() {
                Ok(Reply::Written { .. }) => {}
                Ok(Reply::Refused(message)) => {
                    state.refused.get_or_insert(message);
                }
                Ok(Reply::Stopped(stop)) => {
                    state.stop.get_or_insert(stop);
                }
                Err(oneshot::error::TryRecvError::Closed) => {
                    state.stop.get_or_insert(Stop::Unavailable);
                }
                Err(oneshot::error::TryRecvError::Empty) => {
                    state.under_way = Some(reply);
                    return;
                }
            }
        }
        // A guest that says all the time how far it is must not cost a commit each time.
        let waits = self.incarnation.clock.now().as_micros() - state.progress_at.as_micros();
        let only_progress = state.records.is_empty() && state.logs.is_empty();
        if state.has_nothing()
            || (only_progress && waits < PROGRESS_EVERY_MICROS)
            || state.stop.is_some()
            || state.refused.is_some()
        {
            return;
        }
        let reply = self.submit(&mut state, None);
        state.under_way = Some(reply);
    }

    async fn settle(&self) -> Result<(), Stop> {
        if self.state().closed {
            return Err(Stop::Again);
        }
        match self.hand_over(None).await {
            Written::Yes { .. } => {
                Failpoint::BeforeBody.reach();
                Ok(())
            }
            // The run ends here; what the database said becomes its failure.
            Written::Refused => Err(Stop::Unavailable),
            Written::Stopped(stop) => Err(stop),
        }
    }

    fn boundary(&self) -> Option<Signal> {
        let state = self.state();
        if let Some(stop) = state.stop {
            return Some(Signal::Stop(stop));
        }
        if self.incarnation.is_draining() || self.is_to_go_back.load(Ordering::Relaxed) {
            return Some(Signal::Stop(Stop::Drained));
        }
        match state.signal.as_deref() {
            Some("pause") => Some(Signal::Pause),
            Some("cancel") => Some(Signal::Cancel),
            // Whoever plays the run ends it; the guest is to do nothing more until then.
            Some("kill" | "deadline") => Some(Signal::Stop(Stop::Again)),
            _ => None,
        }
    }

    fn take_event(&self, names: &[String], received_by: Option<Timestamp>) -> Option<Event> {
        let mut state = self.state();
        let place = state.inbox.iter().position(|event| {
            names.contains(&event.name)
                && received_by.is_none_or(|limit| event.received_at <= limit)
        })?;
        let event = state.inbox.remove(place);
        let event = Event {
            seq: event.seq,
            name: event.name,
            payload: event.payload,
            received_at: event.received_at,
        };
        if !event.is_of_child() {
            state.taken.insert(event.seq, event.received_at);
        }
        Some(event)
    }

    async fn find_workflow(
        &self,
        name: &str,
        child: RunId,
        labels: Option<&[(String, String)]>,
    ) -> Result<Result<ChildWorkflow, String>, Stop> {
        // Postgres would refuse the question.
        if name.contains('\0') {
            return Ok(Err(format!(
                "there is no workflow {name:?}: it holds a NUL character"
            )));
        }
        let mut found = self.answer(
            "a workflow",
            self.incarnation
                .find_workflow(self.run, name, child, labels)
                .await,
        )?;
        if found.len() > 1 {
            let names: Vec<String> = found.into_iter().map(|found| found.workflow.name).collect();
            let message = format!(
                "{name:?} may be any of {}: expected the full name of one",
                names.join(", ")
            );
            return Ok(Err(message));
        }
        let Some(found) = found.pop() else {
            let message = format!(
                "no workflow {name:?} is deployed: deploy a component that exports it, and the run goes on"
            );
            return Ok(Err(message));
        };
        Ok(Ok(ChildWorkflow {
            deployment: found.deployment,
            workflow: found.workflow,
            is_typed: true,
            depth: found.depth,
            queue: found.defaults.queue,
            priority: found.defaults.priority,
        }))
    }

    async fn has_queue(&self, name: &str) -> Result<bool, Stop> {
        let found = self.incarnation.has_queue(self.run, name).await;
        self.answer("a queue", found)
    }

    async fn child_state(&self, child: RunId) -> Result<ChildState, Stop> {
        let state = self.incarnation.child_state(self.run, child).await;
        Ok(match self.answer("a child", state)? {
            dacapo_store::ChildState::Unknown => ChildState::Unknown,
            dacapo_store::ChildState::Active => ChildState::Active,
            dacapo_store::ChildState::Ended(outcome) => ChildState::Ended(outcome),
        })
    }

    fn attempt_begins(&self, step: &StepKey, number: u32, at: Timestamp) {
        if let Some(trace) = &self.trace {
            trace.begins(step, number, at);
        }
    }

    fn trace_parent(&self, step: &StepKey, number: u32) -> Option<String> {
        Some(self.trace.as_ref()?.header(step, number))
    }

    fn has_event(&self, names: &[String]) -> bool {
        let state = self.state();
        state.inbox.iter().any(|event| names.contains(&event.name))
    }

    async fn look(&self) {
        if let Err(error) = self.look_again().await {
            tracing::debug!(run = %self.run, %error, "cannot look into a run's inbox");
        }
    }

    fn has_looked_since(&self, at: Timestamp) -> bool {
        self.state().looked_at >= at
    }

    async fn begin_sql(&self, step: SqlStep) -> Result<Box<dyn SqlTransaction>, SqlRefusal> {
        let access = self
            .sql
            .get()
            .ok_or(SqlRefusal::Stopped(Stop::Unavailable))?;
        access.begin(&self.incarnation, self.run, step).await
    }

    async fn suspend(&self, suspension: Suspension) -> Result<Suspended, Stop> {
        Failpoint::BeforeSuspend.reach();
        let (inbox_seq, signal) = {
            let state = self.state();
            // A suspended run has no signal: it must not be given up with this one.
            if matches!(state.signal.as_deref(), Some("kill" | "deadline")) {
                return Err(Stop::Again);
            }
            (state.inbox_seq, state.signal.clone())
        };
        // Told a moment ago, behind the back of whoever decided this.
        let is_held = signal.as_deref() == Some("pause");
        let knows = match suspension.reason {
            SuspendReason::Pause => true,
            SuspendReason::Paused => is_held,
            _ => !is_held,
        };
        if !knows {
            return Ok(Suspended::Woken);
        }
        let wake_at = suspension.wake_at;
        let (reason, paused) = match suspension.reason {
            SuspendReason::Event => ("event", false),
            SuspendReason::Child => ("child", false),
            SuspendReason::Time => ("time", false),
            SuspendReason::Retry => ("retry", false),
            SuspendReason::Pause => ("pause", true),
            SuspendReason::Paused => ("boundary", true),
        };
        let end = End::Suspended {
            reason,
            events: suspension.events,
            wake_at,
            paused,
            inbox_seq,
            signal,
        };
        match self.hand_over(Some(end)).await {
            Written::Yes { gone: true } => {
                if let Some(at) = wake_at {
                    self.incarnation.due(at);
                }
                if self.state().appended >= MANY_ROWS {
                    self.incarnation.read_once(self.run);
                }
                Ok(Suspended::Gone)
            }
            Written::Yes { gone: false } => match self.look_again().await {
                Ok(true) => Ok(Suspended::Woken),
                Ok(false) => {
                    self.stop(Stop::LeaseLost);
                    Err(Stop::LeaseLost)
                }
                Err(error) => {
                    tracing::warn!(run = %self.run, %error, "cannot look into a run's inbox");
                    self.stop(Stop::Unavailable);
                    Err(Stop::Unavailable)
                }
            },
            Written::Refused => Err(Stop::Unavailable),
            Written::Stopped(stop) => Err(stop),
        }
    }
}
