-- Renews a worker's lease and tells all that it might have missed: the safety net under the notifications.
-- Called by: a worker's heartbeat tick. Zero rows: the worker was fenced; it must stop its runs and register anew.
-- Locks: the worker row. Indexes: worker_pkey, fence_pkey, task_ready_in_order, task_suspended_by_time, deadline_by_time,
-- schedule_by_time, run_pkey; it reads the whole of `worker` and `task_leased`, which are small.
update dacapo.worker
set lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond'
where id = $1 and not exists (select from dacapo.fence where worker_id = $1 and not open)
returning
    clock_timestamp() as "now!: Time",
    -- Runs of its own with a signal.
    array(select run_id from dacapo.task_leased where worker_id = $1 and signal is not null) as "signalled!",
    -- All runs that it holds: one that it does not play is a claim whose answer was lost.
    array(select run_id from dacapo.task_leased where worker_id = $1) as "held!",
    -- Whether somebody's lease is over.
    exists (select from dacapo.worker as other where other.lease_until < clock_timestamp()) as "expired!",
    -- Whether anything is ready to be claimed.
    exists (select from dacapo.task_ready) as "ready!",
    -- Whether a parent is to be told of a child, or a child to be cancelled.
    exists (select from dacapo.child_end) or exists (select from dacapo.child_cancel) as "children!",
    -- When the next suspended run is due.
    (
        select wake_at
        from dacapo.task_suspended
        where wake_at is not null and not paused
        order by wake_at
        limit 1
    ) as "next_due: Time",
    -- When the next deadline passes.
    (select at from dacapo.deadline order by at limit 1) as "next_deadline: Time",
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
    ) as "next_schedule?: Time"
