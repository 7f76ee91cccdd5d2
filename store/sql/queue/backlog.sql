-- How much waits for workers in each queue of all namespaces, and for how long the first in line has waited. Counts stop at $1, and so
-- does looking for the oldest of those that wait for their turn. What is in no named queue is called `default`, in no namespace.
-- Called by: whoever serves metrics. Locks: nothing. Indexes: task_ready_in_order, task_ready_by_queue, task_suspended_in_queue.
select
    '' as "namespace!",
    'default' as "queue!",
    (select count(*) from (select from dacapo.task_ready where queue is null limit $1) as counted) as "ready!",
    0::bigint as "held!",
    (
        select extract(epoch from clock_timestamp() - ready_at - coalesce(priority, 0) * interval '1 minute')::float8
        from dacapo.task_ready
        where queue is null
        order by ready_at, run_id
        limit 1
    ) as oldest_seconds
union all
select
    queue.namespace,
    queue.name,
    (select count(*) from (select from dacapo.task_ready as task where task.queue = queue.id limit $1) as counted),
    held.count,
    extract(epoch from clock_timestamp() - least(first.since, held.since))::float8
from dacapo.queue
cross join lateral (
    select count(*) as count, min(counted.since) as since
    from (
        select task.queued_at + coalesce(task.priority, 0) * interval '1 minute' as since
        from dacapo.task_suspended as task
        where task.queue = queue.id and task.reason = 'queue' and not task.paused
        limit $1
    ) as counted
) as held
left join lateral (
    select task.ready_at + coalesce(task.priority, 0) * interval '1 minute' as since
    from dacapo.task_ready as task
    where task.queue = queue.id
    order by task.ready_at, task.run_id
    limit 1
) as first on true
