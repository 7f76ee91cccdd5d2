-- Renews a worker's lease and tells all that it might have missed: the safety net under the notifications.
-- Called by: a worker's heartbeat tick. Zero rows: the worker was fenced; it must stop its runs and register anew.
-- While somebody holds an old snapshot, rows that are gone stay in the indexes, and whoever reads one from its beginning walks over them. So the lines $3
-- are read from their places $4 on (a line is a named queue, or null: the runs that are in none), timers and deadlines from $5 on (null: all), and no
-- further ahead than $6 milliseconds. What stands before that is looked for beside (look_back.sql).
-- Locks: the worker row. Indexes: worker_pkey, fence_pkey, task_ready_in_order, task_ready_by_queue, task_suspended_by_time, deadline_by_time,
-- schedule_by_time, run_pkey, task_suspended_in_queue, singleton_waiting, singleton_one_holder; it reads the whole of `worker`, `queue`, `paused_workflow`, `child_end`
-- and `child_cancel`, which are small.
update dacapo.worker
set lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond'
where id = $1 and not exists (select from dacapo.fence where worker_id = $1 and not open)
returning
    clock_timestamp() as "now!: Time",
    -- Whether somebody's lease is over.
    exists (select from dacapo.worker as other where other.lease_until < clock_timestamp()) as "expired!",
    -- Whether anything is ready to be claimed.
    exists (
        select
        from unnest($3::integer[], $4::timestamptz[]) as line (id, floor)
        where exists (select from dacapo.task_ready where queue = line.id and ready_at >= line.floor)
            or line.id is null and exists (select from dacapo.task_ready where queue is null and ready_at >= line.floor)
    ) as "ready!",
    -- Whether a parent is to be told of a child, or a child to be cancelled.
    -- By their place in the table, page after page: their keys are in no order, so by those each entry would lead to a page of its own.
    exists (select from dacapo.child_end where ctid >= '(0,0)') or exists (select from dacapo.child_cancel where ctid >= '(0,0)') as "children!",
    -- When the next suspended run is due.
    (
        select wake_at
        from dacapo.task_suspended
        where wake_at >= coalesce($5::timestamptz, '-infinity') and wake_at <= (select clock_timestamp() + $6::bigint * interval '1 millisecond')
            and not paused
        order by wake_at
        limit 1
    ) as "next_due: Time",
    -- When the next deadline passes.
    (
        select at
        from dacapo.deadline
        where at >= coalesce($5::timestamptz, '-infinity') and at <= (select clock_timestamp() + $6::bigint * interval '1 millisecond')
        order by at
        limit 1
    ) as "next_deadline: Time",
    -- When the next schedule is due: at once if the run that its tick waited for has ended.
    least(
        (
            select next_at
            from dacapo.schedule
            where not paused and waiting_for is null
            order by next_at
            limit 1
        ),
        (
            select clock_timestamp()
            from dacapo.schedule
            where not paused
                and next_at <= statement_timestamp()
                and waiting_for is not null
                and not exists (select from dacapo.run where run.id = schedule.waiting_for and run.status = 'active')
            limit 1
        )
    ) as "next_schedule?: Time",
    -- All queues, in the order of their ids.
    array(select id from dacapo.queue order by id) as "queue_ids!",
    array(select name from dacapo.queue order by id) as "queue_names!",
    array(select holds from dacapo.queue order by id) as "queue_holds!",
    array(select paused from dacapo.queue order by id) as "queue_paused!",
    array(
        select exists (select from dacapo.task_suspended where queue = queue.id and reason = 'queue' and not task_suspended.paused)
        from dacapo.queue
        order by id
    ) as "queue_has_held!",
    -- Whether nothing is to be claimed at all.
    exists (select from dacapo.standstill) as "standstill!",
    array(select namespace from dacapo.paused_workflow where not resumed order by namespace, workflow) as "paused_namespaces!",
    array(select workflow from dacapo.paused_workflow where not resumed order by namespace, workflow) as "paused_workflows!",
    -- Whether runs that were put aside are to go on.
    exists (select from dacapo.paused_workflow where resumed) as "resumed!",
    -- Whether runs wait for a singleton's key that nobody has.
    exists (
        select
        from dacapo.singleton as waiting
        where not is_holder and not exists (
            select
            from dacapo.singleton as holder
            where holder.namespace = waiting.namespace and holder.workflow = waiting.workflow and holder.key = waiting.key
                and holder.is_holder
        )
    ) as "promotes!"
