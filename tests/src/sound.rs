//! What must hold in every database at rest.

use std::process::Stdio;

use crate::{Database, dacapo_binary};

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

/// The same, and that `dacapo doctor` finds nothing.
pub async fn sound_to_the_doctor(database: &Database) {
    sound(database).await;
    let examined = tokio::process::Command::new(dacapo_binary())
        .args(["doctor", "--database-url", &database.url])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(
        examined.status.success(),
        "{}{}",
        String::from_utf8_lossy(&examined.stdout),
        String::from_utf8_lossy(&examined.stderr)
    );
}
