-- What waits in the queues of a namespace ($1; none: of all of them), for how long, and what of it is played; no more than $2 rows of each kind are counted.
-- Called by: clients and whoever serves metrics, again and again. Locks: nothing. The last row is what is in no named queue, of all namespaces: the queue `default`.
-- Indexes: queue_name_unique, task_suspended_in_queue, task_ready_by_queue, task_ready_in_order, task_leased_by_queue; it reads the whole of
-- `task_leased`, which is small. Places in the line are made earlier by the priority, a minute for each step; that is taken back.
select
    queue.namespace as "namespace!",
    queue.name as "name!",
    (select count(*) from (select from dacapo.task_ready as task where task.queue = queue.id limit $2) as task)
        + (
            select count(*)
            from (
                select
                from dacapo.task_suspended as task
                where task.queue = queue.id and task.reason = 'queue' and not task.paused
                limit $2
            ) as task
        ) as "waiting!",
    (select count(*) from dacapo.task_leased as task where task.queue = queue.id) as "running!",
    least(
        (
            select ready_at + coalesce(priority, 0) * interval '1 minute'
            from dacapo.task_ready as task
            where task.queue = queue.id
            order by ready_at, run_id
            limit 1
        ),
        (
            select min(since)
            from (
                select queued_at + coalesce(priority, 0) * interval '1 minute' as since
                from dacapo.task_suspended as task
                where task.queue = queue.id and task.reason = 'queue' and not task.paused
                limit $2
            ) as task
        )
    ) as "oldest: Time",
    clock_timestamp() as "now!: Time"
from dacapo.queue
where $1::text is null or namespace = $1
union all
select
    '',
    'default',
    (select count(*) from (select from dacapo.task_ready as task where task.queue is null limit $2) as task),
    (select count(*) from dacapo.task_leased as task where task.queue is null),
    (
        select ready_at + coalesce(priority, 0) * interval '1 minute'
        from dacapo.task_ready as task
        where task.queue is null
        order by ready_at, run_id
        limit 1
    ),
    clock_timestamp()
