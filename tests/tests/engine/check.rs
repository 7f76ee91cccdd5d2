//! One readable check of what a database holds, instead of field by field.

use dacapo_model::RunId;
use dacapo_tests::Database;
use dacapo_worker::{Worker, WorkerConfig};

/// A worker in this process, with default limits.
pub async fn worker(database: &Database) -> Worker {
    Worker::start(database.store.clone(), WorkerConfig::default())
        .await
        .unwrap()
}

/// The journal of a run as one line a step: `key kind outcome payload`.
pub async fn journal(database: &Database, run: RunId) -> Vec<String> {
    let rows: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "select key, kind, outcome, payload from dacapo.step where run_id = $1 order by position",
    )
    .bind(run.0)
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    rows.into_iter()
        .map(|(key, kind, outcome, payload)| {
            let words = [
                Some(key),
                Some(kind),
                Some(outcome.unwrap_or_else(|| "open".to_owned())),
                payload,
            ];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// What the bodies of a run's steps have logged: the lines that begin with `effect`, in order.
pub async fn effects(database: &Database, run: RunId) -> Vec<String> {
    sqlx::query_scalar(
        "select message from dacapo.log where run_id = $1 and message like 'effect %' order by id",
    )
    .bind(run.0)
    .fetch_all(database.store.pool())
    .await
    .unwrap()
}

/// What must hold in every database at rest (design: invariants): each active run has one task and no other run has any, nothing is
/// leased to nobody, and positions in journals have no twins.
pub async fn sound(database: &Database) {
    let broken: Vec<String> = sqlx::query_scalar(
        "with tasks as (
            select run_id from dacapo.task_ready
            union all select run_id from dacapo.task_leased
            union all select run_id from dacapo.task_suspended
        )
        select 'active run without a task: ' || id from dacapo.run where status = 'active' and id not in (select run_id from tasks)
        union all
        select 'task of a run that is done or not there: ' || run_id from tasks
            where run_id not in (select id from dacapo.run where status = 'active')
        union all
        select 'two tasks: ' || run_id from tasks group by run_id having count(*) > 1
        union all
        select 'task in a queue that is not there: ' || run_id from (
            select run_id, queue from dacapo.task_ready
            union all select run_id, queue from dacapo.task_leased
            union all select run_id, queue from dacapo.task_suspended
        ) as task
            where queue is not null and queue not in (select id from dacapo.queue)
        union all
        select 'task that does not know its queue, key or priority: ' || run.id
            from dacapo.run
            join (
                select run_id, queue, queue_key, priority from dacapo.task_ready
                union all select run_id, queue, queue_key, priority from dacapo.task_leased
                union all select run_id, queue, queue_key, priority from dacapo.task_suspended
            ) as task on task.run_id = run.id
            left join dacapo.queue on queue.id = task.queue
            where (queue.name, nullif(task.queue_key, ''), task.priority) is distinct from (run.queue, run.concurrency_key, run.priority)
        union all
        select 'key of a singleton that an ended run has: ' || run_id from dacapo.singleton
            where run_id not in (select id from dacapo.run where status = 'active')
        union all
        select 'shared with no roll-out, or a roll-out beside what is not shared: ' || package from dacapo.deployment
            group by namespace, package having bool_or(shared) <> bool_or(rollout_percent is not null)
        union all
        select 'leased to nobody: ' || run_id from dacapo.task_leased where worker_id not in (select id from dacapo.worker)
        union all
        select 'two steps at one position: ' || run_id from dacapo.step group by run_id, position having count(*) > 1
        union all
        select 'event taken by a wait that has no outcome: ' || event.run_id from dacapo.event
            where taken_by is not null and not exists (
                select from dacapo.step where step.run_id = event.run_id and key = taken_by and outcome is not null
            )",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The body of each of a run's steps was executed once to be recorded, and never again after that. A body that was interrupted before
/// it was recorded may have left its line, too: before the recorded one began.
pub async fn bodies_once(database: &Database, run: RunId) {
    let wrong: Vec<String> = sqlx::query_scalar(
        "select step.key || ': ' || count(log.id) filter (where log.at between step.started_at and step.finished_at)
            || ' lines of the recorded body, ' || count(log.id) filter (where log.at > step.finished_at) || ' after it'
        from dacapo.step left join dacapo.log
            on log.run_id = step.run_id and log.step = step.key and log.message like 'effect %'
        where step.run_id = $1 and step.kind = 'step'
        group by step.key, step.started_at, step.finished_at
        having count(log.id) filter (where log.at between step.started_at and step.finished_at) <> 1
            or count(log.id) filter (where log.at > step.finished_at) <> 0",
    )
    .bind(run.0)
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
