//! The flush: everything that a worker's runs hand over, in one statement and so in one commit.

use std::collections::BTreeMap;

use dacapo_model::{
    DeploymentId, FailedAttempt, Failure, Outcome, Payload, Recorded, RecordedState, RunId,
    SaidProgress, StepKey, Timestamp, WorkerId,
};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{StoreConnection, StoreError, Time};

/// A row of the journal on its way to the database.
#[derive(Debug, Clone)]
pub struct RecordRow {
    /// The row.
    pub recorded: Recorded,
    /// The row is there, open, and is to be completed, or to wait for its next attempt.
    pub updates_open: bool,
    /// `seq` of the event that the outcome was taken from.
    pub takes_event: Option<u32>,
    /// The attempt that has failed.
    pub failed_attempt: Option<FailedAttempt>,
    /// The child run that is started with it.
    pub starts_child: Option<Box<ChildStart>>,
}

/// A run that another one starts.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildStart {
    /// The child.
    pub id: RunId,
    /// The full name of its workflow.
    pub workflow: String,
    /// The deployment that it is pinned to.
    pub deployment: DeploymentId,
    /// Its input, checked.
    pub input: Payload,
    /// Its labels; none: the parent's.
    pub labels: Option<Vec<(String, String)>>,
    /// How long after its start it is ended, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// It outlives its parent.
    pub detached: bool,
    /// The named queue that it waits in; none: the one without limits.
    pub queue: Option<String>,
    /// What the queue's limits per key go by.
    pub concurrency_key: Option<String>,
    /// Its priority; none: its parent's.
    pub priority: Option<i16>,
}

/// A line of a run's log on its way to the database.
#[derive(Debug, Clone)]
pub struct LogRow {
    /// UUIDv7; lines of one run sort by it.
    pub id: Uuid,
    /// When it was written.
    pub at: Timestamp,
    /// `trace`, `debug`, `info`, `warn`, `error`.
    pub level: &'static str,
    /// The step whose attempt was open.
    pub step: Option<StepKey>,
    /// `log`, `stdout`, `stderr`.
    pub source: &'static str,
    /// The text, without NUL.
    pub message: String,
    /// Names and values as a JSON object; none when there are none.
    pub fields: Option<String>,
}

/// How a worker gives a run up.
#[derive(Debug, Clone)]
pub enum End {
    /// The workflow returned a value.
    Completed(Payload),
    /// The workflow failed.
    Failed(Failure),
    /// A cancel was delivered and the workflow has ended.
    Cancelled(Option<Failure>),
    /// Nothing can be done until something comes in. Refused when something has come in already: the inbox or the signal differ
    /// from what the worker has seen.
    Suspended {
        /// `event`, `time`, `pause` or `boundary`.
        reason: &'static str,
        /// Names of the events that wake it; for reason `event`.
        events: Vec<String>,
        /// When time wakes it.
        wake_at: Option<Timestamp>,
        /// Only a person wakes it.
        paused: bool,
        /// Last `inbox_seq` that the worker has seen.
        inbox_seq: i32,
        /// Last signal that the worker has seen.
        signal: Option<String>,
    },
    /// The run cannot go on until its trouble is mended: the reason, as JSON.
    Blocked(String),
}

/// Everything of one run that is to be written.
#[derive(Debug, Clone)]
pub struct RunWrites {
    /// The run.
    pub run: RunId,
    /// Rows of its journal.
    pub records: Vec<RecordRow>,
    /// Lines of its log.
    pub logs: Vec<LogRow>,
    /// How far it is, as its code said last.
    pub progress: Option<SaidProgress>,
    /// The run is given up.
    pub end: Option<End>,
    /// The run has started children, now or before: what is left of them is to be cancelled when it has ended.
    pub is_parent: bool,
}

impl RunWrites {
    /// About how much of a statement it fills, in bytes.
    pub fn bytes(&self) -> usize {
        let records = self.records.iter().map(|row| {
            let attempt = row.failed_attempt.as_ref();
            let child = row.starts_child.as_ref();
            row.recorded.bytes()
                + attempt.map_or(0, |attempt| attempt.failure.bytes())
                + child.map_or(0, |child| child.input.as_str().len())
        });
        let logs = self
            .logs
            .iter()
            .map(|line| line.message.len() + line.fields.as_ref().map_or(0, String::len));
        let end = match &self.end {
            Some(End::Completed(output)) => output.as_str().len(),
            Some(End::Failed(failure) | End::Cancelled(Some(failure))) => failure.bytes(),
            Some(End::Blocked(reason)) => reason.len(),
            Some(End::Cancelled(None) | End::Suspended { .. }) | None => 0,
        };
        records.chain(logs).sum::<usize>() + end
    }
}

/// What a flush did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlushResult {
    /// All rows are durable, and these runs are given up.
    Written {
        /// Runs whose `end` took effect. Others that asked for one still belong to the worker: there is news for them, or they were
        /// not its own.
        gone: Vec<RunId>,
    },
    /// The connection's fence is closed: nothing was written, and nothing ever will be under this worker id.
    Fenced,
}

/// Notifications carry at most 8,000 bytes; a run id with its comma takes 37.
const RUNS_PER_NOTICE: usize = 200;

/// Writes all of it in one statement, or nothing: `sql/journal/flush.sql`, or `record.sql` or `complete.sql` where that is enough.
///
/// An open row may be completed only by a later flush than the one that inserted it. On [`StoreError::Refused`] nothing was
/// written; the caller finds the run whose data is refused by halves. On [`StoreError::Unavailable`] it may have been written or
/// not: repeating it with the same rows fails on the journal's key when it had been.
pub async fn flush(
    connection: &mut StoreConnection,
    worker: WorkerId,
    fence: i16,
    writes: &[RunWrites],
) -> Result<FlushResult, StoreError> {
    let c = Columns::of(writes);
    match c.least() {
        Statement::Record => record(&mut connection.0, worker, fence, &c).await,
        Statement::Complete => complete(&mut connection.0, worker, fence, &c).await,
        Statement::Flush => flush_all(&mut connection.0, worker, fence, &c).await,
        Statement::FlushAndMore => flush_and_more(connection, worker, fence, &c).await,
    }
}

/// What a flush is written by.
enum Statement {
    Record,
    Complete,
    Flush,
    /// With others beside it, in a transaction.
    FlushAndMore,
}

async fn record(
    connection: &mut PgConnection,
    worker: WorkerId,
    fence: i16,
    c: &Columns<'_>,
) -> Result<FlushResult, StoreError> {
    let fenced = sqlx::query_file_scalar!(
        "sql/journal/record.sql",
        worker.0,
        fence,
        &c.new.run,
        &c.new.key as _,
        &c.new.position,
        &c.new.kind as _,
        &c.new.outcome as _,
        &c.new.payload as _,
        &c.new.due as _,
        &c.new.started_at as _,
        &c.new.finished_at as _,
    )
    .fetch_one(connection)
    .await?;
    Ok(written(fenced, Vec::new()))
}

async fn complete(
    connection: &mut PgConnection,
    worker: WorkerId,
    fence: i16,
    c: &Columns<'_>,
) -> Result<FlushResult, StoreError> {
    let row = sqlx::query_file!(
        "sql/journal/complete.sql",
        worker.0,
        fence,
        &c.new.run,
        &c.new.key as _,
        &c.new.position,
        &c.new.kind as _,
        &c.new.outcome as _,
        &c.new.payload as _,
        &c.new.due as _,
        &c.new.started_at as _,
        &c.new.finished_at as _,
        &c.finished.run,
        &c.finished.status as _,
        &c.finished.output as _,
        &c.finished.failure as _,
        &c.notices,
    )
    .fetch_one(connection)
    .await?;
    Ok(written(row.fenced, row.gone))
}

fn written(fenced: bool, gone: Vec<Uuid>) -> FlushResult {
    if fenced {
        FlushResult::Fenced
    } else {
        FlushResult::Written {
            gone: gone.into_iter().map(RunId).collect(),
        }
    }
}

async fn flush_and_more(
    connection: &mut StoreConnection,
    worker: WorkerId,
    fence: i16,
    c: &Columns<'_>,
) -> Result<FlushResult, StoreError> {
    let mut transaction = connection.0.begin().await?;
    let result = flush_all(&mut transaction, worker, fence, c).await?;
    if result != FlushResult::Fenced && !c.children.is_empty() {
        start_children(&mut transaction, &c.children).await?;
    }
    if result != FlushResult::Fenced && !c.progress.run.is_empty() {
        sqlx::query_file!(
            "sql/progress/set.sql",
            &c.progress.run,
            &c.progress.done,
            &c.progress.total,
            &c.progress.note as _,
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(result)
}

async fn flush_all(
    connection: &mut PgConnection,
    worker: WorkerId,
    fence: i16,
    c: &Columns<'_>,
) -> Result<FlushResult, StoreError> {
    let row = sqlx::query_file!(
        "sql/journal/flush.sql",
        worker.0,
        fence,
        &c.new.run,
        &c.new.key as _,
        &c.new.position,
        &c.new.kind as _,
        &c.new.outcome as _,
        &c.new.payload as _,
        &c.new.due as _,
        &c.new.started_at as _,
        &c.new.finished_at as _,
        &c.open.run,
        &c.open.key as _,
        &c.open.outcome as _,
        &c.open.payload as _,
        &c.open.finished_at as _,
        &c.open.due as _,
        &c.taken.run,
        &c.taken.seq,
        &c.taken.key as _,
        &c.log.run,
        &c.log.id,
        &c.log.at as _,
        &c.log.level as _,
        &c.log.step as _,
        &c.log.source as _,
        &c.log.message as _,
        &c.log.fields as _,
        &c.finished.run,
        &c.finished.status as _,
        &c.finished.output as _,
        &c.finished.failure as _,
        &c.given_up.run,
        &c.given_up.reason as _,
        &c.given_up.events as _,
        &c.given_up.wake_at as _,
        &c.given_up.paused,
        &c.given_up.blocked as _,
        &c.given_up.inbox_seq,
        &c.given_up.signal as _,
        &c.notices,
        &c.attempts.run,
        &c.attempts.key as _,
        &c.attempts.number,
        &c.attempts.started_at as _,
        &c.attempts.finished_at as _,
        &c.attempts.failure,
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(written(row.fenced, row.gone))
}

/// What a flush does for the children of its runs, in the same transaction: `sql/child/start.sql`.
async fn start_children(
    connection: &mut PgConnection,
    children: &Children<'_>,
) -> Result<(), StoreError> {
    sqlx::query_file!(
        "sql/child/start.sql",
        &children.parent,
        &children.id,
        &children.workflow as _,
        &children.deployment,
        &children.input as _,
        &children.labels as _,
        &children.deadline_ms as _,
        &children.detached,
        &children.left_over,
        &children.queue as _,
        &children.concurrency_key as _,
        &children.priority as _,
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

#[derive(Default)]
struct Columns<'a> {
    new: NewSteps<'a>,
    open: OpenSteps<'a>,
    taken: Taken<'a>,
    log: Logs<'a>,
    finished: Finished<'a>,
    given_up: GivenUp<'a>,
    attempts: Attempts<'a>,
    children: Children<'a>,
    progress: Progress<'a>,
    notices: Vec<String>,
}

#[derive(Default)]
struct NewSteps<'a> {
    run: Vec<Uuid>,
    key: Vec<&'a str>,
    position: Vec<i32>,
    kind: Vec<&'a str>,
    outcome: Vec<Option<&'a str>>,
    payload: Vec<Option<String>>,
    due: Vec<Option<Time>>,
    started_at: Vec<Time>,
    finished_at: Vec<Option<Time>>,
}

#[derive(Default)]
struct OpenSteps<'a> {
    run: Vec<Uuid>,
    key: Vec<&'a str>,
    outcome: Vec<Option<&'a str>>,
    payload: Vec<Option<String>>,
    finished_at: Vec<Option<Time>>,
    due: Vec<Option<Time>>,
}

#[derive(Default)]
struct Attempts<'a> {
    run: Vec<Uuid>,
    key: Vec<&'a str>,
    number: Vec<i32>,
    started_at: Vec<Time>,
    finished_at: Vec<Time>,
    failure: Vec<String>,
}

#[derive(Default)]
struct Children<'a> {
    parent: Vec<Uuid>,
    id: Vec<Uuid>,
    workflow: Vec<&'a str>,
    deployment: Vec<i64>,
    input: Vec<&'a str>,
    labels: Vec<Option<String>>,
    deadline_ms: Vec<Option<i64>>,
    detached: Vec<bool>,
    queue: Vec<Option<&'a str>>,
    concurrency_key: Vec<Option<&'a str>>,
    priority: Vec<Option<i16>>,
    /// Parents that end.
    left_over: Vec<Uuid>,
}

impl Children<'_> {
    fn is_empty(&self) -> bool {
        self.id.is_empty() && self.left_over.is_empty()
    }
}

#[derive(Default)]
struct Progress<'a> {
    run: Vec<Uuid>,
    done: Vec<i64>,
    total: Vec<i64>,
    note: Vec<Option<&'a str>>,
}

#[derive(Default)]
struct Taken<'a> {
    run: Vec<Uuid>,
    seq: Vec<i32>,
    key: Vec<&'a str>,
}

#[derive(Default)]
struct Logs<'a> {
    run: Vec<Uuid>,
    id: Vec<Uuid>,
    at: Vec<Time>,
    level: Vec<&'a str>,
    step: Vec<Option<&'a str>>,
    source: Vec<&'a str>,
    message: Vec<&'a str>,
    fields: Vec<Option<&'a str>>,
}

#[derive(Default)]
struct Finished<'a> {
    run: Vec<Uuid>,
    status: Vec<&'a str>,
    output: Vec<Option<&'a str>>,
    failure: Vec<Option<String>>,
}

#[derive(Default)]
struct GivenUp<'a> {
    run: Vec<Uuid>,
    reason: Vec<&'a str>,
    events: Vec<Option<String>>,
    wake_at: Vec<Option<Time>>,
    paused: Vec<bool>,
    blocked: Vec<Option<&'a str>>,
    inbox_seq: Vec<i32>,
    signal: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(writes: &'a [RunWrites]) -> Self {
        let mut columns = Self::default();
        for one in writes {
            let run = one.run.0;
            for record in &one.records {
                columns.record(run, record);
            }
            for line in &one.logs {
                columns.log(run, line);
            }
            if let Some(said) = &one.progress {
                let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                columns.progress.run.push(run);
                columns.progress.done.push(count(said.done));
                columns.progress.total.push(count(said.total));
                columns.progress.note.push(said.note.as_deref());
            }
            if let Some(end) = &one.end {
                columns.end(run, end);
                let is_over = !matches!(end, End::Suspended { .. } | End::Blocked(_));
                if is_over && one.is_parent {
                    columns.children.left_over.push(run);
                }
            }
        }
        let finished: Vec<String> = columns.finished.run.iter().map(Uuid::to_string).collect();
        columns.notices = finished
            .chunks(RUNS_PER_NOTICE)
            .map(|runs| runs.join(","))
            .collect();
        columns
    }

    fn child(&mut self, parent: Uuid, child: &'a ChildStart) {
        let children = &mut self.children;
        children.parent.push(parent);
        children.id.push(child.id.0);
        children.workflow.push(&child.workflow);
        children.deployment.push(child.deployment.0);
        children.input.push(child.input.as_str());
        children.labels.push(child.labels.as_ref().map(|labels| {
            let labels: BTreeMap<&str, &str> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            serde_json::to_string(&labels).unwrap_or_else(|_| "{}".to_owned())
        }));
        children.deadline_ms.push(
            child
                .deadline_ms
                .map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        );
        children.detached.push(child.detached);
        children.queue.push(child.queue.as_deref());
        children
            .concurrency_key
            .push(child.concurrency_key.as_deref());
        children.priority.push(child.priority);
    }

    /// The statement that does no more than these need.
    fn least(&self) -> Statement {
        if !self.children.is_empty() || !self.progress.run.is_empty() {
            return Statement::FlushAndMore;
        }
        let has_more = [
            self.open.run.is_empty(),
            self.attempts.run.is_empty(),
            self.taken.run.is_empty(),
            self.log.run.is_empty(),
            self.given_up.run.is_empty(),
        ]
        .contains(&false);
        match (has_more, self.finished.run.is_empty()) {
            (true, _) => Statement::Flush,
            (false, false) => Statement::Complete,
            (false, true) => Statement::Record,
        }
    }

    fn record(&mut self, run: Uuid, record: &'a RecordRow) {
        let recorded = &record.recorded;
        let key = recorded.key.as_str();
        let (outcome, due, finished_at) = match &recorded.state {
            RecordedState::Open { due, .. } => (None, *due, None),
            RecordedState::Done {
                outcome,
                finished_at,
            } => (Some(outcome), None, Some(*finished_at)),
        };
        let payload = match &recorded.state {
            RecordedState::Open { plan, .. } => plan.as_ref().map(ToString::to_string),
            RecordedState::Done { outcome, .. } => payload_of(outcome),
        };
        if record.updates_open {
            self.open.run.push(run);
            self.open.key.push(key);
            self.open.outcome.push(outcome.map(Outcome::code));
            self.open.payload.push(payload);
            self.open.finished_at.push(finished_at.map(Time));
            self.open.due.push(due.map(Time));
        } else {
            // A sleep that is over at once has a time that it was due, too: when it was over.
            let due = due.or(if recorded.kind == dacapo_model::Kind::Sleep {
                finished_at
            } else {
                None
            });
            self.new.run.push(run);
            self.new.key.push(key);
            self.new
                .position
                .push(i32::try_from(recorded.position).unwrap_or(i32::MAX));
            self.new.kind.push(recorded.kind.as_str());
            self.new.outcome.push(outcome.map(Outcome::code));
            self.new.payload.push(payload);
            self.new.due.push(due.map(Time));
            self.new.started_at.push(Time(recorded.started_at));
            self.new.finished_at.push(finished_at.map(Time));
        }
        if let Some(seq) = record.takes_event {
            self.taken.run.push(run);
            self.taken.seq.push(i32::try_from(seq).unwrap_or(i32::MAX));
            self.taken.key.push(key);
        }
        if let Some(child) = &record.starts_child {
            self.child(run, child);
        }
        if let Some(attempt) = &record.failed_attempt {
            self.attempts.run.push(run);
            self.attempts.key.push(key);
            self.attempts
                .number
                .push(i32::try_from(attempt.number).unwrap_or(i32::MAX));
            self.attempts.started_at.push(Time(attempt.started_at));
            self.attempts.finished_at.push(Time(attempt.finished_at));
            self.attempts.failure.push(attempt.failure.to_json());
        }
    }

    fn log(&mut self, run: Uuid, line: &'a LogRow) {
        self.log.run.push(run);
        self.log.id.push(line.id);
        self.log.at.push(Time(line.at));
        self.log.level.push(line.level);
        self.log.step.push(line.step.as_ref().map(StepKey::as_str));
        self.log.source.push(line.source);
        self.log.message.push(&line.message);
        self.log.fields.push(line.fields.as_deref());
    }

    fn end(&mut self, run: Uuid, end: &'a End) {
        match end {
            End::Completed(output) => self.finish(run, "completed", Some(output.as_str()), None),
            End::Failed(failure) => self.finish(run, "failed", None, Some(failure.to_json())),
            End::Cancelled(failure) => self.finish(
                run,
                "cancelled",
                None,
                failure.as_ref().map(Failure::to_json),
            ),
            End::Suspended {
                reason,
                events,
                wake_at,
                paused,
                inbox_seq,
                signal,
            } => {
                // `#` cannot stand in a name, so it can stand between names.
                let events = (!events.is_empty()).then(|| events.join("#"));
                self.give_up(
                    run,
                    reason,
                    events,
                    *wake_at,
                    *paused,
                    None,
                    *inbox_seq,
                    signal.as_deref(),
                );
            }
            End::Blocked(reason) => {
                self.give_up(run, "blocked", None, None, false, Some(reason), 0, None)
            }
        }
    }

    fn finish(
        &mut self,
        run: Uuid,
        status: &'static str,
        output: Option<&'a str>,
        failure: Option<String>,
    ) {
        self.finished.run.push(run);
        self.finished.status.push(status);
        self.finished.output.push(output);
        self.finished.failure.push(failure);
    }

    #[expect(clippy::too_many_arguments, reason = "one argument for each column")]
    fn give_up(
        &mut self,
        run: Uuid,
        reason: &'a str,
        events: Option<String>,
        wake_at: Option<Timestamp>,
        paused: bool,
        blocked: Option<&'a str>,
        inbox_seq: i32,
        signal: Option<&'a str>,
    ) {
        self.given_up.run.push(run);
        self.given_up.reason.push(reason);
        self.given_up.events.push(events);
        self.given_up.wake_at.push(wake_at.map(Time));
        self.given_up.paused.push(paused);
        self.given_up.blocked.push(blocked);
        self.given_up.inbox_seq.push(inbox_seq);
        self.given_up.signal.push(signal);
    }
}

fn payload_of(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Ok(payload) => Some(payload.as_str().to_owned()),
        Outcome::Failed(failure) => Some(failure.to_json()),
        Outcome::TimedOut | Outcome::Cancelled => None,
    }
}

/// What became of a flush whose connection was lost, asked after its fence was renewed. None: nothing of it was written, and
/// nothing will be.
pub async fn find_flush(
    connection: &mut StoreConnection,
    worker: WorkerId,
    fence: i16,
    writes: &[RunWrites],
) -> Result<Option<FlushResult>, StoreError> {
    // A flush is written whole or not at all, so any one of its rows tells, but for an open one that is still open.
    let tells = |record: &&RecordRow| {
        let open = matches!(record.recorded.state, RecordedState::Open { .. });
        !(record.updates_open && open && record.failed_attempt.is_none())
    };
    let witness = writes.iter().find_map(|one| {
        let record = one.records.iter().find(tells)?;
        Some((one.run, record))
    });
    let line = writes
        .iter()
        .find_map(|one| one.logs.first().map(|line| (one.run, line.id)));
    let written = if let Some((run, record, attempt)) =
        witness.and_then(|(run, record)| Some((run, record, record.failed_attempt.as_ref()?)))
    {
        // The step's row may have been open before, and look the same.
        sqlx::query_scalar!(
            r#"select exists (
                select from dacapo.attempt where run_id = $1 and key = $2 and number = $3
            ) as "written!""#,
            run.0,
            record.recorded.key.as_str(),
            i32::try_from(attempt.number).unwrap_or(i32::MAX)
        )
        .fetch_one(&mut connection.0)
        .await?
    } else if let Some((run, record)) = witness {
        let open = matches!(record.recorded.state, RecordedState::Open { .. });
        sqlx::query_scalar!(
            r#"select exists (
                select from dacapo.step where run_id = $1 and key = $2 and ($3 or outcome is not null)
            ) as "written!""#,
            run.0,
            record.recorded.key.as_str(),
            open
        )
        .fetch_one(&mut connection.0)
        .await?
    } else if let Some((run, line)) = line {
        sqlx::query_scalar!(
            r#"select exists (select from dacapo.log where run_id = $1 and id = $2) as "written!""#,
            run.0,
            line
        )
        .fetch_one(&mut connection.0)
        .await?
    } else {
        false
    };
    let ending: Vec<Uuid> = writes
        .iter()
        .filter(|one| one.end.is_some())
        .map(|one| one.run.0)
        .collect();
    let held: Vec<Uuid> = sqlx::query_scalar!(
        "select run_id from dacapo.task_leased where run_id = any ($1::uuid[]) and worker_id = $2",
        &ending,
        worker.0
    )
    .fetch_all(&mut connection.0)
    .await?;
    // Asked last: a fence that is open now was so before. Runs that were taken over since it was renewed are gone, too, and their rows may be
    // those of others.
    let is_open = sqlx::query_scalar!(
        r#"select exists (select from dacapo.fence where worker_id = $1 and connection = $2 and open) as "open!""#,
        worker.0,
        fence,
    )
    .fetch_one(&mut connection.0)
    .await?;
    if !is_open {
        return Ok(Some(FlushResult::Fenced));
    }
    let gone: Vec<RunId> = ending
        .into_iter()
        .filter(|run| !held.contains(run))
        .map(RunId)
        .collect();
    // A flush with nothing but endings was written if any of them took effect; if none did, asking again does no harm.
    Ok((written || !gone.is_empty()).then_some(FlushResult::Written { gone }))
}
