//! Named queues, and what people stop in an incident: queues, workflows, everything.

use std::time::Duration;

use dacapo_model::{DEFAULT_QUEUE, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres};

use crate::{Store, StoreConnection, StoreError, Time};

/// So many runs within any stretch of time of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RateForm", into = "RateForm")]
pub struct Rate {
    /// How many runs may begin.
    pub runs: u32,
    /// Within how long.
    pub per: Duration,
}

/// A rate as it is written: `{"runs": 100, "perMs": 60000}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RateForm {
    runs: u32,
    per_ms: u64,
}

impl From<RateForm> for Rate {
    fn from(form: RateForm) -> Self {
        Self {
            runs: form.runs,
            per: Duration::from_millis(form.per_ms),
        }
    }
}

impl From<Rate> for RateForm {
    fn from(rate: Rate) -> Self {
        Self {
            runs: rate.runs,
            per_ms: u64::try_from(rate.per.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// What becomes of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitChange<T> {
    /// It stays as it is; a new queue is made without it.
    #[default]
    Keep,
    /// There is no such limit any more.
    Remove,
    /// This is the limit.
    Set(T),
}

impl<T> LimitChange<T> {
    fn parts(self) -> (bool, Option<T>) {
        match self {
            Self::Keep => (false, None),
            Self::Remove => (true, None),
            Self::Set(limit) => (true, Some(limit)),
        }
    }
}

/// A change of a queue's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueChange {
    /// Runs on their way at the same time, at most.
    pub concurrency: LimitChange<u32>,
    /// The same among those with one concurrency key.
    pub concurrency_per_key: LimitChange<u32>,
    /// How many runs begin.
    pub rate: LimitChange<Rate>,
    /// The same among those with one concurrency key.
    pub rate_per_key: LimitChange<Rate>,
}

/// A queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Its name.
    pub name: String,
    /// Runs on their way at the same time, at most.
    pub concurrency: Option<u32>,
    /// The same among those with one concurrency key.
    pub concurrency_per_key: Option<u32>,
    /// How many runs begin.
    pub rate: Option<Rate>,
    /// The same among those with one concurrency key.
    pub rate_per_key: Option<Rate>,
    /// Nothing of it is taken.
    pub paused: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody last changed it.
    pub updated_at: Timestamp,
    /// Runs that wait for their turn.
    pub held: u64,
    /// Runs that a worker may take.
    pub ready: u64,
    /// Runs that a worker plays.
    pub running: u64,
    /// Active runs that wait for something else: an event, a time, a person.
    pub suspended: u64,
}

/// What waits in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDepth {
    /// Its namespace; empty for what is in no named one.
    pub namespace: String,
    /// Its name; [`DEFAULT_QUEUE`] for what is in no named one, of all namespaces.
    pub name: String,
    /// Runs that wait, for their turn or for a worker, as far as they were counted.
    pub waiting: u64,
    /// Runs that a worker plays.
    pub running: u64,
    /// Since when the one that is next in line waits.
    pub oldest: Option<Timestamp>,
    /// The database's time.
    pub now: Timestamp,
}

/// Where a run is placed in the queues, and when. By default at once, in no named queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placing<'a> {
    /// The named queue of the run's namespace.
    pub queue: Option<&'a str>,
    /// Higher goes first.
    pub priority: i16,
    /// What its queue's limits per key go by.
    pub concurrency_key: Option<&'a str>,
    /// When it begins.
    pub begins: Begins,
}

/// What a deployment says of runs of a workflow whose start does not say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlacingDefaults {
    /// The named queue.
    pub queue: Option<String>,
    /// The priority.
    pub priority: Option<i16>,
}

impl PlacingDefaults {
    /// The named queue and the priority that a run comes to whose start says this: [`DEFAULT_QUEUE`] is that of no named one.
    pub fn under<'a>(
        &'a self,
        queue: Option<&'a str>,
        priority: Option<i16>,
    ) -> (Option<&'a str>, i16) {
        let queue = queue.or(self.queue.as_deref());
        (
            queue.filter(|queue| *queue != DEFAULT_QUEUE),
            priority.or(self.priority).unwrap_or(0),
        )
    }
}

/// When a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begins {
    /// At once.
    #[default]
    Now,
    /// This long after its start.
    After(Duration),
    /// At this time; at once if that is over.
    At(Timestamp),
}

/// Makes a queue or changes its limits.
pub async fn set_queue(
    store: &Store,
    namespace: &str,
    name: &str,
    change: QueueChange,
) -> Result<(), StoreError> {
    let (sets_concurrency, concurrency) = change.concurrency.parts();
    let (sets_per_key, per_key) = change.concurrency_per_key.parts();
    let (sets_rate, rate) = change.rate.parts();
    let (sets_rate_per_key, rate_per_key) = change.rate_per_key.parts();
    sqlx::query_file!(
        "sql/queue/set.sql",
        namespace,
        name,
        sets_concurrency,
        concurrency.map(count_of),
        sets_per_key,
        per_key.map(count_of),
        sets_rate,
        rate.map(|rate| count_of(rate.runs)),
        rate.map(|rate| millis(rate.per)),
        sets_rate_per_key,
        rate_per_key.map(|rate| count_of(rate.runs)),
        rate_per_key.map(|rate| millis(rate.per)),
    )
    .fetch_one(store.pool())
    .await?;
    Ok(())
}

/// The queues of a namespace by name, or the one of this name.
pub async fn list_queues(
    store: &Store,
    namespace: &str,
    name: Option<&str>,
) -> Result<Vec<QueueRow>, StoreError> {
    let rows = sqlx::query_file!("sql/queue/list.sql", namespace, name)
        .fetch_all(store.pool())
        .await?;
    let limit = |limit: Option<i32>| limit.and_then(|limit| u32::try_from(limit).ok());
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let rate = |runs: Option<i32>, ms: Option<i64>| {
        Some(Rate {
            runs: limit(runs)?,
            per: Duration::from_millis(u64::try_from(ms?).ok()?),
        })
    };
    Ok(rows
        .into_iter()
        .map(|row| QueueRow {
            name: row.name,
            concurrency: limit(row.concurrency),
            concurrency_per_key: limit(row.concurrency_per_key),
            rate: rate(row.rate_runs, row.rate_ms),
            rate_per_key: rate(row.rate_per_key_runs, row.rate_per_key_ms),
            paused: row.paused,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
            held: number(row.held),
            ready: number(row.ready),
            running: number(row.running),
            suspended: number(row.suspended - row.held),
        })
        .collect())
}

/// The workers as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetRow {
    /// Workers whose lease is not over.
    pub workers: u64,
    /// Runs that workers hold.
    pub running: u64,
    /// Runs that are blocked.
    pub blocked: u64,
}

/// How the workers stand. What would be counted beyond `counted_max` blocked runs is not.
pub async fn fleet(store: &Store, counted_max: u32) -> Result<FleetRow, StoreError> {
    let row = sqlx::query_file!("sql/worker/fleet.sql", i64::from(counted_max))
        .fetch_one(store.pool())
        .await?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(FleetRow {
        workers: number(row.workers),
        running: number(row.running),
        blocked: number(row.blocked),
    })
}

/// Pauses a queue, or lets it go on. False: there is no such queue.
pub async fn pause_queue(
    store: &Store,
    namespace: &str,
    name: &str,
    paused: bool,
) -> Result<bool, StoreError> {
    let changed = sqlx::query_file!("sql/queue/pause.sql", namespace, name, paused)
        .fetch_optional(store.pool())
        .await?;
    Ok(changed.is_some())
}

/// What became of a queue that was to be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedQueue {
    /// It is gone.
    Deleted,
    /// Runs of it are active; nothing was changed.
    InUse,
    /// There is no such queue.
    NotFound,
}

/// Takes a queue away that no active run is in.
pub async fn delete_queue(
    store: &Store,
    namespace: &str,
    name: &str,
) -> Result<DeletedQueue, StoreError> {
    let mut transaction = store.pool().begin().await?;
    let id = sqlx::query_scalar!(
        "select id from dacapo.queue where namespace = $1 and name = $2 for update",
        namespace,
        name
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(id) = id else {
        return Ok(DeletedQueue::NotFound);
    };
    let gone = sqlx::query_file!("sql/queue/delete.sql", id)
        .fetch_optional(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(match gone {
        Some(_) => DeletedQueue::Deleted,
        None => DeletedQueue::InUse,
    })
}

/// How many runs a queue let in, and what holds the others up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Runs that may be claimed now.
    pub runs: u32,
    /// When its rate allows more.
    pub again_at: Option<Timestamp>,
    /// Others wait.
    pub is_more: bool,
    /// Somebody else was at it, and nothing was done.
    pub is_busy: bool,
}

/// Lets up to `max` runs of a queue in, as many as its limits allow. See `dacapo.admit`.
pub async fn admit(
    connection: &mut StoreConnection,
    queue: i32,
    max: u32,
) -> Result<Admitted, StoreError> {
    let row = sqlx::query!(
        r#"select admitted as "admitted!", again_at as "again_at: Time", is_more as "is_more!", is_busy as "is_busy!"
        from dacapo.admit($1, $2)"#,
        queue,
        count_of(max)
    )
    .fetch_one(&mut connection.0)
    .await?;
    Ok(Admitted {
        runs: u32::try_from(row.admitted).unwrap_or(0),
        again_at: row.again_at.map(|at| at.0),
        is_more: row.is_more,
        is_busy: row.is_busy,
    })
}

/// What waits in each queue of a namespace, and in none; no more than `rows` rows of each kind are counted.
pub async fn queue_depths(
    store: &Store,
    namespace: Option<&str>,
    rows: u32,
) -> Result<Vec<QueueDepth>, StoreError> {
    let found = sqlx::query_file!("sql/queue/depths.sql", namespace, i64::from(rows))
        .fetch_all(store.pool())
        .await?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(found
        .into_iter()
        .map(|row| QueueDepth {
            namespace: row.namespace,
            name: row.name,
            waiting: number(row.waiting),
            running: number(row.running),
            oldest: row.oldest.map(|at| at.0),
            now: row.now.0,
        })
        .collect())
}

/// Pauses a workflow (full name). False: it is paused already.
pub async fn pause_workflow(
    store: &Store,
    namespace: &str,
    workflow: &str,
) -> Result<bool, StoreError> {
    let paused = sqlx::query_file!("sql/workflow/pause.sql", namespace, workflow)
        .fetch_optional(store.pool())
        .await?;
    Ok(paused.is_some())
}

/// Lets a workflow (full name) go on. False: it is not paused.
pub async fn resume_workflow(
    store: &Store,
    namespace: &str,
    workflow: &str,
) -> Result<bool, StoreError> {
    let resumed = sqlx::query_file!("sql/workflow/resume.sql", namespace, workflow)
        .fetch_optional(store.pool())
        .await?;
    Ok(resumed.is_some())
}

/// The paused workflows of a namespace, and since when they are.
pub async fn paused_workflows(
    store: &Store,
    namespace: &str,
) -> Result<Vec<(String, Timestamp)>, StoreError> {
    let rows = sqlx::query!(
        r#"select workflow, since as "since: Time" from dacapo.paused_workflow
        where namespace = $1 and not resumed order by workflow"#,
        namespace
    )
    .fetch_all(store.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.workflow, row.since.0))
        .collect())
}

/// Moves up to `max` runs back that were put aside while their workflow was paused. False: there is nothing to do at the moment.
pub async fn take_up(connection: &mut StoreConnection, max: u32) -> Result<bool, StoreError> {
    let looked = sqlx::query_scalar!(r#"select dacapo.take_up($1) as "looked!""#, count_of(max))
        .fetch_one(&mut connection.0)
        .await?;
    Ok(looked > 0)
}

/// Since when nothing is claimed at all, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standstill {
    /// Since when.
    pub since: Timestamp,
    /// What whoever asked for it said.
    pub reason: Option<String>,
}

/// Keeps all workers from claiming anything. False: that was so already; the reason stays.
pub async fn begin_standstill(store: &Store, reason: Option<&str>) -> Result<bool, StoreError> {
    let begun = sqlx::query_scalar!(
        r#"with begun as (
            insert into dacapo.standstill (reason) values ($1) on conflict do nothing returning since
        )
        select pg_notify('dacapo_queue', '')::text as "told!" from begun"#,
        reason
    )
    .fetch_optional(store.pool())
    .await?;
    Ok(begun.is_some())
}

/// Lets workers claim again. False: they did.
pub async fn end_standstill(store: &Store) -> Result<bool, StoreError> {
    let ended = sqlx::query_scalar!(
        r#"with ended as (
            delete from dacapo.standstill returning since
        )
        select pg_notify('dacapo_queue', '')::text as "told!" from ended"#
    )
    .fetch_optional(store.pool())
    .await?;
    Ok(ended.is_some())
}

/// Whether nothing is claimed at all.
pub async fn standstill<'e>(
    executor: impl sqlx::Executor<'e, Database = Postgres>,
) -> Result<Option<Standstill>, StoreError> {
    let row = sqlx::query!(r#"select since as "since: Time", reason from dacapo.standstill"#)
        .fetch_optional(executor)
        .await?;
    Ok(row.map(|row| Standstill {
        since: row.since.0,
        reason: row.reason,
    }))
}

fn count_of(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whether a namespace has a queue of this name.
pub async fn is_queue(
    connection: &mut PgConnection,
    namespace: &str,
    name: &str,
) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from dacapo.queue where namespace = $1 and name = $2) as "found!""#,
        namespace,
        name
    )
    .fetch_one(connection)
    .await?;
    Ok(found)
}
