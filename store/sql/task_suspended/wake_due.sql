-- Moves up to $1 runs whose time has come into the queue, and tells how many those were and when the next one is due.
-- Called by: a worker's timer tick. Any number of workers may do it at once: each row moves once.
-- Locks: the task_suspended rows (skipping those locked by others). Index: task_suspended_by_time.
with due as (
    delete from dacapo.task_suspended
    where run_id = any (array(
        select run_id
        from dacapo.task_suspended
        where wake_at <= clock_timestamp() and not paused
        order by wake_at
        limit $1
        for update skip locked
    ))
    returning run_id, started_at, inbox_seq
),
ready as (
    insert into dacapo.task_ready (run_id, started_at, inbox_seq)
    select run_id, started_at, inbox_seq from due
    returning run_id
)
select
    (select count(*) from ready) as "woken!",
    (
        select wake_at
        from dacapo.task_suspended
        where wake_at is not null and not paused and wake_at > statement_timestamp()
        order by wake_at
        limit 1
    ) as "next_due: Time",
    clock_timestamp() as "now!: Time"
