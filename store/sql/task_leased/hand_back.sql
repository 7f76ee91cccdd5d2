-- Puts runs of this worker back into the queue, as they are. Called by: a worker that drains.
-- Zero rows: the worker does not hold them (any more). Locks: the fence row (share), the task rows.
-- Indexes: fence_pkey, task_leased_pkey.
with fence as materialized (
    select worker_id
    from dacapo.fence
    where worker_id = $1 and connection = $2 and open
    for share
),
back as (
    delete from dacapo.task_leased
    using fence
    where task_leased.run_id = any ($3::uuid[]) and task_leased.worker_id = fence.worker_id
    returning task_leased.*
),
ready as (
    insert into dacapo.task_ready (
        run_id, ready_at, started_at, inbox_seq, signal, takeovers, takeover_progress, queue, queue_key, priority
    )
    select run_id, dacapo.place_in_line(priority), started_at, inbox_seq, nullif(signal, 'pause'), takeovers, takeover_progress,
        queue, queue_key, priority
    from back
    where signal is distinct from 'pause'
),
-- A pause that was asked for takes effect here.
paused as (
    insert into dacapo.task_suspended (run_id, reason, paused, started_at, inbox_seq, queue, queue_key, priority)
    select run_id, 'boundary', true, started_at, inbox_seq, queue, queue_key, priority from back
    where signal = 'pause'
)
select count(*) as "handed_back!", pg_notify('dacapo_ready', case when max(priority) > 0 then 'first' else '' end)::text as told from back
