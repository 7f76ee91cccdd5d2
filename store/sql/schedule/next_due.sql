-- When the next schedule is due, of those that are not due yet and wait for no run. Called by: a worker's scheduler.
-- Locks: nothing. Index: schedule_by_time.
select
    (
        select next_at
        from dacapo.schedule
        where next_at > statement_timestamp() and not paused and waiting_for is null
        order by next_at
        limit 1
    ) as "next_due: Time",
    clock_timestamp() as "now!: Time"
