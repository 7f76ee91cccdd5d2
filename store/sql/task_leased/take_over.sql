-- Takes the runs of fenced workers: the second half of a takeover. Runs whose takeovers bring nothing new in the journal are
-- counted, and blocked at the third in a row ($1). From the second one on they are played alone, and counted only if that had begun: one that
-- waited for its turn when its worker died had no part in it. All others go back to the queue, and so do those that are to be ended at once.
-- Called by: a worker's takeover tick, after close_expired, in a transaction of its own. May be repeated at will.
-- Locks: the worker rows, their fence rows, the task rows. Indexes: fence_pkey, task_leased_pkey, step_pkey.
with dead as (
    delete from dacapo.worker
    where lease_until < clock_timestamp()
        and not exists (select from dacapo.fence where fence.worker_id = worker.id and fence.open)
    returning id
),
unfenced as (
    delete from dacapo.fence
    using dead
    where fence.worker_id = dead.id
),
-- Runs of a worker that has no row are nobody's: an interrupted clean-up must not strand them.
orphaned as (
    delete from dacapo.task_leased
    where worker_id in (select id from dead)
        or not exists (select from dacapo.worker where worker.id = task_leased.worker_id)
    returning *
),
counted as (
    select
        orphaned.*,
        progress.outcomes,
        case
            when orphaned.takeover_progress is null or progress.outcomes > orphaned.takeover_progress then 1
            when orphaned.takeovers >= 2 and not orphaned.alone then orphaned.takeovers
            else orphaned.takeovers + 1
        end as takeovers_now
    from orphaned
    cross join lateral (
        select count(*)::integer as outcomes
        from dacapo.step
        where step.run_id = orphaned.run_id and step.outcome is not null
    ) as progress
),
ready as (
    insert into dacapo.task_ready (
        run_id, ready_at, started_at, inbox_seq, signal, takeovers, takeover_progress, queue, queue_key, priority
    )
    select run_id, dacapo.place_in_line(priority), started_at, inbox_seq, nullif(signal, 'pause'), takeovers_now, outcomes,
        queue, queue_key, priority
    from counted
    where (takeovers_now < $1 and signal is distinct from 'pause') or signal in ('kill', 'deadline')
),
paused as (
    insert into dacapo.task_suspended (run_id, reason, paused, started_at, inbox_seq, queue, queue_key, priority)
    select run_id, 'boundary', true, started_at, inbox_seq, queue, queue_key, priority
    from counted
    where takeovers_now < $1 and signal = 'pause'
),
blocked as (
    insert into dacapo.task_suspended (run_id, reason, blocked, started_at, inbox_seq, queue, queue_key, priority)
    select run_id, 'blocked', $2, started_at, inbox_seq, queue, queue_key, priority
    from counted
    where takeovers_now >= $1 and coalesce(signal, '') not in ('kill', 'deadline')
)
select
    (select count(*) from dead) as "workers!",
    (select count(*) from counted where takeovers_now < $1 or signal in ('kill', 'deadline')) as "runs!",
    array(select run_id from counted where takeovers_now >= $1 and coalesce(signal, '') not in ('kill', 'deadline')) as "blocked!"
