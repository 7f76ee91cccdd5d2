-- What stands before the places where claims and heartbeats begin to read: of the lines $1 (named queues, or null: the runs that are in none) the first run
-- before $2 each; with $3 also the first timer and the first deadline of all, no further ahead than $5 milliseconds, and the runs that the worker $4 holds.
-- Called by: a worker, beside its control loop, after rests; while somebody holds an old snapshot it walks over all that is gone. One row.
-- What others are about to claim is found, too. Locks: none.
-- Indexes: task_ready_in_order, task_ready_by_queue, task_suspended_by_time, deadline_by_time; it reads the whole of `task_leased`, which is small.
with mine as materialized (
    select run_id, signal from dacapo.task_leased where worker_id = $4 and $3::boolean
)
select
    array(
        select case
            when line.id is null
                then (select ready_at from dacapo.task_ready where queue is null and ready_at < line.floor order by ready_at limit 1)
            else (select ready_at from dacapo.task_ready where queue = line.id and ready_at < line.floor order by ready_at limit 1)
        end
        from unnest($1::integer[], $2::timestamptz[]) with ordinality as line (id, floor, number)
        order by number
    ) as "firsts!: Vec<Option<Time>>",
    -- Runs of its own with a signal.
    array(select run_id from mine where signal is not null) as "signalled!",
    -- All runs that it holds: one that it does not play is a claim whose answer was lost.
    array(select run_id from mine) as "held!",
    (
        select wake_at
        from dacapo.task_suspended
        where wake_at <= (select clock_timestamp() + $5::bigint * interval '1 millisecond') and not paused and $3::boolean
        order by wake_at
        limit 1
    ) as "next_due: Time",
    (
        select at
        from dacapo.deadline
        where at <= (select clock_timestamp() + $5::bigint * interval '1 millisecond') and $3::boolean
        order by at
        limit 1
    ) as "next_deadline: Time"
