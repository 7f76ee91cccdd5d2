-- Locks up to $1 schedules that have a tick to decide about: one that is due, and does not wait for a run that is active. With $2 and
-- $3 only the schedule of that name. Called by: a worker's scheduler, which decides in the same transaction.
-- Zero rows: there is none, or others hold them. Whether that run is active is decided again by `look`, with a newer snapshot.
-- Locks: the schedule rows (skipping those locked by others). Index: schedule_by_time.
select
    namespace as "namespace!", name as "name!", workflow as "workflow!", input as "input!", labels::text as "labels!",
    cron, time_zone, every_s, jitter_ms as "jitter_ms!", overlap as "overlap!", catch_up as "catch_up!",
    next_tick as "next_tick!: Time",
    waiting_for, last_run
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
