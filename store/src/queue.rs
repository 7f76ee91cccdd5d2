//! The queue and the workers: claims, timers, leases, takeovers.

use std::time::Duration;

use dacapo_model::{DeploymentId, Failure, Payload, Recorded, RunId, Timestamp, WorkerId};
use sqlx::Executor;

use crate::columns::{Integers, Times};
use crate::recorded::{JournalColumns, journal_of};
use crate::{Store, StoreConnection, StoreError, Time};

/// A run that a worker has just leased, with all that is needed to play it.
#[derive(Debug)]
pub struct Claimed {
    /// The run.
    pub run: RunId,
    /// Its tenant.
    pub namespace: String,
    /// Full name of its workflow.
    pub workflow: String,
    /// The deployment that it is pinned to.
    pub deployment: DeploymentId,
    /// Its input as given.
    pub input: Payload,
    /// Its labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// The run that its randomness outside of attempts is derived from: itself, or the one from whose journal it goes on.
    pub seed: RunId,
    /// How often it was retried after it had failed.
    pub retries: u16,
    /// When that was started.
    pub created_at: Timestamp,
    /// When it is to be ended.
    pub deadline: Option<Timestamp>,
    /// The database's time of the claim.
    pub claimed_at: Timestamp,
    /// When it became ready.
    pub ready_at: Timestamp,
    /// What its inbox counted when it was claimed.
    pub inbox_seq: i32,
    /// A request that its worker has yet to act on.
    pub signal: Option<String>,
    /// The named queue that it is in.
    pub queue: Option<i32>,
    /// How often in a row it was taken over from a dead worker without anything new in its journal.
    pub takeovers: i16,
    /// Its journal.
    pub recorded: Vec<Recorded>,
    /// Events that no wait has taken yet.
    pub inbox: Vec<InboxEvent>,
}

/// An event that no wait has taken yet.
#[derive(Debug, Clone)]
pub struct InboxEvent {
    /// Its place in the run's inbox.
    pub seq: u32,
    /// Its name.
    pub name: String,
    /// Its payload as given.
    pub payload: Payload,
    /// When the database received it.
    pub received_at: Timestamp,
}

/// What a worker wants to claim.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// Runs, at most.
    pub max: u32,
    /// Where from, in this order: named queues, and none for the runs that are in no named queue. Each with the place in line from which
    /// on it is looked at.
    pub sources: Vec<(Option<i32>, Option<Timestamp>)>,
    /// Some workflow is paused.
    pub has_paused_workflows: bool,
}

/// What a claim brought.
#[derive(Debug, Default)]
pub struct ClaimedRuns {
    /// Runs that are the worker's now.
    pub leased: Vec<Claimed>,
    /// Those that were put aside because their workflow is paused: their queues, and their places in line.
    pub put_aside: Vec<(Option<i32>, Timestamp)>,
}

/// A [`Claimed`] from a row of a statement that claims, and the queue that the run is in.
macro_rules! claimed {
    ($row:expr, $queue:expr) => {{
        let row = $row;
        let recorded = journal_of(&JournalColumns {
            keys: row.keys.unwrap_or_default(),
            kinds: row.kinds.unwrap_or_default(),
            outcomes: row.outcomes.unwrap_or_default(),
            payloads: row.payloads.unwrap_or_default(),
            positions: row.positions.unwrap_or_default().0,
            finished_ats: row.finished_ats.unwrap_or_default().0,
            open_started_ats: row.open_started_ats.unwrap_or_default().0,
            open_dues: row.open_dues.unwrap_or_default().0,
            open_failed_attempts: row.open_failed_attempts.unwrap_or_default().0,
        })?;
        Claimed {
            run: RunId(row.run_id),
            namespace: row.namespace,
            workflow: row.workflow,
            deployment: DeploymentId(row.deployment_id),
            input: Payload::from_trusted(row.input),
            labels: labels_of(&row.labels)?,
            seed: RunId(row.seed),
            retries: u16::try_from(row.retries).unwrap_or(0),
            created_at: row.created_at.0,
            deadline: row.deadline.map(|deadline| deadline.0),
            claimed_at: row.claimed_at.0,
            ready_at: row.ready_at.0,
            inbox_seq: row.inbox_seq,
            signal: row.signal,
            queue: $queue,
            takeovers: row.takeovers,
            recorded,
            inbox: inbox_of(row.seqs, row.names, row.event_payloads, row.received_ats),
        }
    }};
}

/// Leases runs, the first in line first. See `sql/task_ready/claim.sql` and `claim_sources.sql`.
pub async fn claim(
    connection: &mut StoreConnection,
    worker: WorkerId,
    fence: i16,
    claim: &Claim,
) -> Result<ClaimedRuns, StoreError> {
    let mut claimed = ClaimedRuns::default();
    if let ([(None, floor)], false) = (claim.sources.as_slice(), claim.has_paused_workflows) {
        let rows = sqlx::query_file!(
            "sql/task_ready/claim.sql",
            worker.0,
            fence,
            i64::from(claim.max),
            place(*floor) as _
        )
        .fetch_all(&mut connection.0)
        .await?;
        for row in rows {
            claimed.leased.push(claimed!(row, None));
        }
        return Ok(claimed);
    }
    let (queues, floors) = lines_of(&claim.sources);
    let rows = sqlx::query_file!(
        "sql/task_ready/claim_sources.sql",
        worker.0,
        fence,
        i64::from(claim.max),
        &queues as _,
        &floors as _
    )
    .fetch_all(&mut connection.0)
    .await?;
    for row in rows {
        if row.put_aside {
            claimed.put_aside.push((row.queue, row.ready_at.0));
            continue;
        }
        let queue = row.queue;
        claimed.leased.push(claimed!(row, queue));
    }
    Ok(claimed)
}

pub(crate) fn inbox_of(
    seqs: Option<Vec<i32>>,
    names: Option<Vec<String>>,
    payloads: Option<Vec<String>>,
    received_ats: Option<Vec<Option<Time>>>,
) -> Vec<InboxEvent> {
    let (Some(seqs), Some(names), Some(payloads), Some(received_ats)) =
        (seqs, names, payloads, received_ats)
    else {
        return Vec::new();
    };
    let mut inbox: Vec<InboxEvent> = seqs
        .into_iter()
        .zip(names)
        .zip(payloads)
        .zip(received_ats)
        .filter_map(|(((seq, name), payload), received_at)| {
            Some(InboxEvent {
                seq: u32::try_from(seq).ok()?,
                name,
                payload: Payload::from_trusted(payload),
                received_at: received_at?.0,
            })
        })
        .collect();
    inbox.sort_by_key(|event| event.seq);
    inbox
}

pub(crate) fn labels_of(text: &str) -> Result<Vec<(String, String)>, StoreError> {
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|error| StoreError::Unreadable(format!("labels {text}: {error}")))?;
    Ok(labels.into_iter().collect())
}

/// What was sent to a leased run.
#[derive(Debug)]
pub struct Look {
    /// What its inbox counts.
    pub inbox_seq: i32,
    /// A request that its worker has yet to act on.
    pub signal: Option<String>,
    /// Events that no wait has taken yet, as far as the database knows.
    pub inbox: Vec<InboxEvent>,
}

/// Looks into the inbox of a leased run. None: the worker does not hold it.
pub async fn look(store: &Store, worker: WorkerId, run: RunId) -> Result<Option<Look>, StoreError> {
    let row = sqlx::query_file!("sql/task_leased/look.sql", run.0, worker.0)
        .fetch_optional(store.pool())
        .await?;
    Ok(row.map(|row| Look {
        inbox_seq: row.inbox_seq,
        signal: row.signal,
        inbox: inbox_of(row.seqs, row.names, row.event_payloads, row.received_ats),
    }))
}

/// Reads a journal for no other purpose than to have read it. The first reader of a row that was just written looks up whether its
/// transaction was committed and notes the answer beside the row; for thousands of rows that takes longer than reading them, and it is
/// better done while the run waits than when it is to go on.
pub async fn read_journal_once(store: &Store, run: RunId) -> Result<(), StoreError> {
    sqlx::query_scalar!(
        "select count(outcome) from dacapo.step where run_id = $1",
        run.0
    )
    .fetch_one(store.pool())
    .await?;
    Ok(())
}

/// Puts runs back into the queue as they are. Answers how many of them the worker still held.
pub async fn hand_back(
    connection: &mut StoreConnection,
    worker: WorkerId,
    fence: i16,
    runs: &[RunId],
) -> Result<u64, StoreError> {
    let ids: Vec<uuid::Uuid> = runs.iter().map(|run| run.0).collect();
    let row = sqlx::query_file!("sql/task_leased/hand_back.sql", worker.0, fence, &ids)
        .fetch_one(&mut connection.0)
        .await?;
    Ok(u64::try_from(row.handed_back).unwrap_or(0))
}

/// Announces a worker with `connections` fences, its lease good for `lease`, and the queues that it serves: none stands for all.
pub async fn register(
    connection: &mut StoreConnection,
    worker: WorkerId,
    name: &str,
    version: &str,
    lease: Duration,
    connections: i32,
    queues: Option<&[String]>,
) -> Result<(), StoreError> {
    sqlx::query_file!(
        "sql/worker/register.sql",
        worker.0,
        name,
        version,
        millis(lease),
        connections,
        queues
    )
    .execute(&mut connection.0)
    .await?;
    Ok(())
}

/// What a worker learns by renewing its lease.
#[derive(Debug)]
pub struct Heartbeat {
    /// The database's time.
    pub now: Timestamp,
    /// Somebody's lease is over.
    pub expired: bool,
    /// Something is ready to be claimed.
    pub ready: bool,
    /// A parent is to be told of a child, or a child to be cancelled.
    pub children: bool,
    /// When the next suspended run is due.
    pub next_due: Option<Timestamp>,
    /// When the next deadline passes.
    pub next_deadline: Option<Timestamp>,
    /// When the next schedule is due.
    pub next_schedule: Option<Timestamp>,
    /// The named queues of all namespaces.
    pub queues: Vec<QueueBeat>,
    /// Nothing is to be claimed at all.
    pub standstill: bool,
    /// Workflows that are paused: namespace and full name.
    pub paused_workflows: Vec<(String, String)>,
    /// Runs that were put aside are to be moved back.
    pub resumed: bool,
    /// Runs wait for the key of a singleton that nobody has.
    pub promotes: bool,
}

/// What a worker knows of a named queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueBeat {
    /// What the tasks know it by.
    pub id: i32,
    /// Its name within its namespace.
    pub name: String,
    /// It has limits, and its runs wait for their turn.
    pub holds: bool,
    /// Nothing of it is to be claimed.
    pub paused: bool,
    /// Some of its runs wait for their turn.
    pub has_held: bool,
}

/// Where a heartbeat looks for what is to be done.
#[derive(Debug, Clone, Default)]
pub struct BeatScope {
    /// Lines, as in [`Claim::sources`].
    pub sources: Vec<(Option<i32>, Option<Timestamp>)>,
    /// Timers and deadlines.
    pub timers: Timers,
}

/// Which timers are looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timers {
    /// Those from this time on; none: all.
    pub from: Option<Timestamp>,
    /// The next one is looked for so far ahead of now.
    pub ahead: Duration,
}

/// Renews a worker's lease. None: the worker was fenced.
pub async fn heartbeat(
    connection: &mut StoreConnection,
    worker: WorkerId,
    lease: Duration,
    scope: &BeatScope,
) -> Result<Option<Heartbeat>, StoreError> {
    let (lines, floors) = lines_of(&scope.sources);
    let row = sqlx::query_file!(
        "sql/worker/heartbeat.sql",
        worker.0,
        millis(lease),
        &lines as _,
        &floors as _,
        scope.timers.from.map(Time) as _,
        millis(scope.timers.ahead)
    )
    .fetch_optional(&mut connection.0)
    .await?;
    Ok(row.map(|row| Heartbeat {
        now: row.now.0,
        expired: row.expired,
        ready: row.ready,
        children: row.children,
        next_due: row.next_due.map(|due| due.0),
        next_deadline: row.next_deadline.map(|at| at.0),
        next_schedule: row.next_schedule.map(|due| due.0),
        queues: row
            .queue_ids
            .into_iter()
            .zip(row.queue_names)
            .zip(row.queue_holds)
            .zip(row.queue_paused)
            .zip(row.queue_has_held)
            .map(|((((id, name), holds), paused), has_held)| QueueBeat {
                id,
                name,
                holds,
                paused,
                has_held,
            })
            .collect(),
        standstill: row.standstill,
        paused_workflows: row
            .paused_namespaces
            .into_iter()
            .zip(row.paused_workflows)
            .collect(),
        resumed: row.resumed,
        promotes: row.promotes,
    }))
}

/// Where it is looked for what was missed.
#[derive(Debug, Clone, Default)]
pub struct LookBack {
    /// Lines, each with the place before which it is looked at.
    pub lines: Vec<(Option<i32>, Timestamp)>,
    /// How far ahead of now timers and deadlines are looked for, all of them, and the runs that the worker holds; none: neither these nor those.
    pub everything: Option<Duration>,
}

/// What was found there.
#[derive(Debug)]
pub struct LookedBack {
    /// By line, the first place that a run stands at.
    pub firsts: Vec<Option<Timestamp>>,
    /// Runs of the worker with a signal.
    pub signalled: Vec<RunId>,
    /// All runs that it holds.
    pub held: Vec<RunId>,
    /// When the first suspended run is due.
    pub next_due: Option<Timestamp>,
    /// When the first deadline passes.
    pub next_deadline: Option<Timestamp>,
}

/// Looks at what stands before the places where claims and heartbeats begin. See `sql/worker/look_back.sql`.
pub async fn look_back(
    store: &Store,
    worker: WorkerId,
    looks: &LookBack,
) -> Result<LookedBack, StoreError> {
    ask_back(store.pool(), worker, looks).await
}

/// The same on this connection.
pub async fn look_back_on(
    connection: &mut StoreConnection,
    worker: WorkerId,
    looks: &LookBack,
) -> Result<LookedBack, StoreError> {
    ask_back(&mut connection.0, worker, looks).await
}

async fn ask_back(
    executor: impl sqlx::PgExecutor<'_>,
    worker: WorkerId,
    looks: &LookBack,
) -> Result<LookedBack, StoreError> {
    let lines = looks.lines.iter();
    let (lines, places): (Vec<Option<i32>>, Vec<Time>) =
        lines.map(|(queue, place)| (*queue, Time(*place))).unzip();
    let row = sqlx::query_file!(
        "sql/worker/look_back.sql",
        &lines as _,
        &places as _,
        looks.everything.is_some(),
        worker.0,
        millis(looks.everything.unwrap_or_default())
    )
    .fetch_one(executor)
    .await?;
    let times = row.firsts.into_iter();
    Ok(LookedBack {
        firsts: times.map(|first| first.map(|at| at.0)).collect(),
        signalled: row.signalled.into_iter().map(RunId).collect(),
        held: row.held.into_iter().map(RunId).collect(),
        next_due: row.next_due.map(|due| due.0),
        next_deadline: row.next_deadline.map(|at| at.0),
    })
}

/// Closes all fences of a worker but one: waits for its flushes under way, and disarms those that come later.
pub async fn close_own_fences(
    connection: &mut StoreConnection,
    worker: WorkerId,
    except: i16,
) -> Result<(), StoreError> {
    let mut tx = sqlx::Connection::begin(&mut connection.0).await?;
    // Whoever renews a fence holds this lock, and the update must see what it has put in: a statement of its own, that begins afterwards.
    sqlx::query_scalar!(
        "select id from dacapo.worker where id = $1 for update",
        worker.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    sqlx::query!(
        "update dacapo.fence set open = false where worker_id = $1 and connection <> $2 and open",
        worker.0,
        except
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Takes a worker that holds nothing off the list.
pub async fn retire(connection: &mut StoreConnection, worker: WorkerId) -> Result<(), StoreError> {
    sqlx::query_file!("sql/worker/retire.sql", worker.0)
        .execute(&mut connection.0)
        .await?;
    Ok(())
}

/// What a timer tick found.
#[derive(Debug, Clone, Copy)]
pub struct Woken {
    /// Runs that were moved into the queue.
    pub woken: u64,
    /// Some of them may stand further in front than where the last claim looked.
    pub first: bool,
    /// When the next one is due.
    pub next_due: Option<Timestamp>,
    /// The database's time.
    pub now: Timestamp,
}

/// Moves up to `limit` runs whose time has come into the queue.
pub async fn wake_due(
    connection: &mut StoreConnection,
    limit: u32,
    timers: Timers,
) -> Result<Woken, StoreError> {
    let row = sqlx::query_file!(
        "sql/task_suspended/wake_due.sql",
        i64::from(limit),
        timers.from.map(Time) as _,
        millis(timers.ahead)
    )
    .fetch_one(&mut connection.0)
    .await?;
    Ok(Woken {
        woken: u64::try_from(row.woken).unwrap_or(0),
        first: row.first,
        next_due: row.next_due.map(|due| due.0),
        now: row.now.0,
    })
}

/// What a look at the deadlines brought.
#[derive(Debug, Clone, Copy)]
pub struct Expired {
    /// Runs whose deadline has passed.
    pub asked: u64,
    /// When the next one passes.
    pub next: Option<Timestamp>,
}

/// Ends up to `limit` runs whose deadline has passed. One that a worker plays is looked at again after `again`.
pub async fn expire(
    connection: &mut StoreConnection,
    limit: u32,
    failure: &Failure,
    again: Duration,
    timers: Timers,
) -> Result<Expired, StoreError> {
    let row = sqlx::query_file!(
        "sql/deadline/expire.sql",
        i64::from(limit),
        failure.to_json(),
        millis(again),
        timers.from.map(Time) as _,
        millis(timers.ahead)
    )
    .fetch_one(&mut connection.0)
    .await?;
    Ok(Expired {
        asked: u64::try_from(row.asked).unwrap_or(0),
        next: row.next.map(|at| at.0),
    })
}

/// First half of a takeover: closes the fences of workers whose lease is over. Answers whether there is anything to take.
pub async fn close_expired_fences(connection: &mut StoreConnection) -> Result<bool, StoreError> {
    let row = sqlx::query_file!("sql/fence/close_expired.sql")
        .fetch_one(&mut connection.0)
        .await?;
    Ok(row.expired > 0)
}

/// What a takeover brought.
#[derive(Debug, Clone)]
pub struct TakeOver {
    /// Dead workers whose names were taken off.
    pub workers: u64,
    /// Runs that went back into the queue.
    pub runs: u64,
    /// Runs that were blocked because they were taken over again and again without anything new in their journal.
    pub blocked: Vec<RunId>,
}

/// Notes that a worker plays a run alone. False: it does not hold it any more.
pub async fn note_alone(store: &Store, worker: WorkerId, run: RunId) -> Result<bool, StoreError> {
    let noted = sqlx::query_file!("sql/task_leased/note_alone.sql", worker.0, run.0)
        .fetch_optional(store.pool())
        .await?;
    Ok(noted.is_some())
}

/// Second half of a takeover: moves the runs of fenced workers. At the `takeovers_max`-th in a row without progress a run is
/// blocked with `reason` (JSON).
pub async fn take_over(
    connection: &mut StoreConnection,
    takeovers_max: i32,
    reason: &str,
) -> Result<TakeOver, StoreError> {
    let row = sqlx::query_file!("sql/task_leased/take_over.sql", takeovers_max, reason)
        .fetch_one(&mut connection.0)
        .await?;
    Ok(TakeOver {
        workers: u64::try_from(row.workers).unwrap_or(0),
        runs: u64::try_from(row.runs).unwrap_or(0),
        blocked: row.blocked.into_iter().map(RunId).collect(),
    })
}

/// Vacuums the hot tables of the queue, unless somebody else is doing that. Autovacuum comes by once a minute at best, and by
/// then the claim walks over many thousands of dead entries.
pub async fn vacuum_queue(store: &Store) -> Result<(), StoreError> {
    let mut connection = store.pool().acquire().await.map_err(StoreError::from)?;
    for statement in [
        "vacuum (truncate off, skip_locked on, index_cleanup on) dacapo.task_ready",
        "vacuum (truncate off, skip_locked on, index_cleanup on) dacapo.task_leased",
    ] {
        connection.execute(statement).await?;
    }
    Ok(())
}

/// A place in line from which on it is looked at. 'epoch' stands for "from the very first": no run of ours is older.
fn place(floor: Option<Timestamp>) -> Time {
    Time(floor.unwrap_or(Timestamp::from_micros(0)))
}

fn lines_of(sources: &[(Option<i32>, Option<Timestamp>)]) -> (Vec<Option<i32>>, Vec<Time>) {
    let lines = sources.iter();
    lines.map(|(queue, floor)| (*queue, place(*floor))).unzip()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What became of a wish for a new fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewedFence {
    /// The old fence is gone for good, and nothing that was sent under it will be written; the new one is open.
    Renewed,
    /// The worker was fenced.
    Fenced,
}

/// Puts a new fence in the place of one whose connection was lost. May be repeated with the same numbers.
pub async fn renew_fence(
    connection: &mut StoreConnection,
    worker: WorkerId,
    old: i16,
    new: i16,
) -> Result<RenewedFence, StoreError> {
    let mut tx = sqlx::Connection::begin(&mut connection.0).await?;
    // The worker row's lock keeps a takeover from closing fences between the look and the insert. The lease may have run out while
    // the database was away: renewing it is fair as long as nobody has closed a fence.
    let lives = sqlx::query_scalar!(
        "update dacapo.worker set lease_until = greatest(lease_until, clock_timestamp() + interval '2 seconds') where id = $1 returning id",
        worker.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    let closed = sqlx::query_scalar!(
        r#"select exists (select from dacapo.fence where worker_id = $1 and not open) as "closed!""#,
        worker.0
    )
    .fetch_one(&mut *tx)
    .await?;
    if lives.is_none() || closed {
        return Ok(RenewedFence::Fenced);
    }
    sqlx::query!(
        "delete from dacapo.fence where worker_id = $1 and connection = $2",
        worker.0,
        old
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into dacapo.fence (worker_id, connection) values ($1, $2) on conflict do nothing",
        worker.0,
        new
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(RenewedFence::Renewed)
}
