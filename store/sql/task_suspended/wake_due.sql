-- Moves up to $1 runs whose time has come into the queue, and tells how many those were, whether they may stand in front of others, and when the next one is due. Those of a queue with
-- limits wait for their turn there.
-- Called by: a worker's timer tick. Any number of workers may do it at once: each row moves once.
-- $2 is a lower bound of `wake_at` from which the index is read (null: none), so that it does not walk over entries of rows that are gone but still visible
-- to somebody's old snapshot; the next one that is due is looked for no further ahead than $3 milliseconds, for the same reason.
-- Locks: the task_suspended rows (skipping those locked by others). Indexes: task_suspended_by_time, task_suspended_pkey, queue_pkey.
with clock as materialized (
    -- Looked at once: it changes while a statement runs, and nothing that does bounds what is read of an index.
    select clock_timestamp() as now
),
due as materialized (
    select run_id, coalesce((select holds from dacapo.queue where queue.id = task_suspended.queue), false) as is_held
    from dacapo.task_suspended
    where wake_at >= coalesce($2::timestamptz, '-infinity') and wake_at <= (select now from clock) and not paused
    order by wake_at
    limit $1
    for update of task_suspended skip locked
),
woken as (
    delete from dacapo.task_suspended
    where run_id = any (array(select run_id from due where not is_held))
    returning run_id, started_at, inbox_seq, queue, queue_key, priority
),
ready as (
    insert into dacapo.task_ready (run_id, ready_at, started_at, inbox_seq, queue, queue_key, priority)
    select run_id, dacapo.place_in_line(priority), started_at, inbox_seq, queue, queue_key, priority from woken
    returning run_id, priority
),
held as (
    update dacapo.task_suspended
    set reason = 'queue', events = null, wake_at = null, queued_at = dacapo.place_in_line(priority)
    where run_id = any (array(select run_id from due where is_held))
    returning queue
),
told as (
    select pg_notify('dacapo_held', string_agg(distinct queue::text, ','))
    from held
    having count(*) > 0
)
select
    (select count(*) from ready) + (select count(*) from held) as "woken!",
    exists (select from ready where priority > 0) as "first!",
    (
        select wake_at
        from dacapo.task_suspended
        where not paused and wake_at > (select now from clock)
            and wake_at <= (select now + $3::bigint * interval '1 millisecond' from clock)
        order by wake_at
        limit 1
    ) as "next_due: Time",
    clock_timestamp() as "now!: Time",
    (select count(*) from told) as "told!"
