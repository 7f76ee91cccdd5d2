-- Locks up to $1 schedules that have a tick to decide about: one that is due, and does not wait for a run that is active. With $2 and
-- $3 only the schedule of that name. Called by: a worker's scheduler, which decides in the same transaction.
-- One row with nothing but `next_due` and `now`: there is none, or others hold them. `next_due` is when the next schedule is due of
-- those that were not due, and do not wait, when the statement began; in the same statement, so that none falls in between.
-- Whether a run that was waited for is active is decided again by `look`, with a newer snapshot.
-- Locks: the schedule rows (skipping those locked by others). Index: schedule_by_time.
with due as (
    select *
    from dacapo.schedule
    where next_at <= statement_timestamp()
        and not paused
        and ($2::text is null or (namespace = $2 and name = $3))
        and (
            waiting_for is null
            or not exists (select from dacapo.run where run.id = schedule.waiting_for and run.status = 'active')
        )
    order by next_at
    limit $1
    for update skip locked
)
select
    due.namespace as "namespace?", due.name as "name?", due.workflow as "workflow?", due.input as "input?",
    due.labels::text as "labels?", due.queue, due.priority, due.concurrency_key,
    due.cron, due.time_zone, due.every_s, due.jitter_ms as "jitter_ms?", due.overlap as "overlap?", due.catch_up as "catch_up?",
    due.next_tick as "next_tick?: Time",
    due.waiting_for, due.last_run,
    (
        select next_at
        from dacapo.schedule
        where next_at > statement_timestamp() and not paused and waiting_for is null
        order by next_at
        limit 1
    ) as "next_due?: Time",
    clock_timestamp() as "now!: Time"
from (select) as always
left join due on true
