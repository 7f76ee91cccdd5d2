-- The queues of a namespace ($1), or one of them ($2), by name, with what is in them. Called by: clients. Locks: nothing.
-- Indexes: queue_name_unique, task_suspended_in_queue, task_ready_by_queue, task_leased_by_queue, task_suspended_by_queue.
select
    name as "name!",
    concurrency,
    concurrency_per_key,
    rate_runs,
    rate_ms,
    rate_per_key_runs,
    rate_per_key_ms,
    paused as "paused!",
    created_at as "created_at!: Time",
    updated_at as "updated_at!: Time",
    (
        select count(*)
        from dacapo.task_suspended as task
        where task.queue = queue.id and task.reason = 'queue' and not task.paused
    ) as "held!",
    (select count(*) from dacapo.task_ready as task where task.queue = queue.id) as "ready!",
    (select count(*) from dacapo.task_leased as task where task.queue = queue.id) as "running!",
    (select count(*) from dacapo.task_suspended as task where task.queue = queue.id) as "suspended!"
from dacapo.queue
where namespace = $1 and ($2::text is null or name = $2)
order by name
