-- Moves up to $1 runs whose time has come into the queue, and tells how many those were and when the next one is due. Those of a queue with
-- limits wait for their turn there.
-- Called by: a worker's timer tick. Any number of workers may do it at once: each row moves once.
-- Locks: the task_suspended rows (skipping those locked by others). Indexes: task_suspended_by_time, task_suspended_pkey, queue_pkey.
with due as materialized (
    select run_id, coalesce((select holds from dacapo.queue where queue.id = task_suspended.queue), false) as is_held
    from dacapo.task_suspended
    where wake_at <= clock_timestamp() and not paused
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
    returning run_id
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
    (
        select wake_at
        from dacapo.task_suspended
        where wake_at is not null and not paused and wake_at > statement_timestamp()
        order by wake_at
        limit 1
    ) as "next_due: Time",
    clock_timestamp() as "now!: Time",
    (select count(*) from told) as "told!"
