-- Puts another definition in the place of a schedule's, and tells the workers. Called by: clients that hold the row's lock. What the
-- schedule has started, and whether it is paused, stays; what the next tick waits for is decided again.
-- Zero rows: there is no such schedule. Index: schedule_pkey.
with changed as (
    update dacapo.schedule
    set workflow = $3, input = $4, labels = $5::text::jsonb, cron = $6, time_zone = $7, every_s = $8, jitter_ms = $9,
        overlap = $10, catch_up = $11, queue = $14, priority = $15, concurrency_key = $16, next_tick = $12::timestamptz, next_at = $13::timestamptz,
        waiting_for = case when overlap = $10 and next_tick = $12::timestamptz then waiting_for end,
        trouble = null, trouble_since = null, updated_at = clock_timestamp()
    where namespace = $1 and name = $2
    returning name
)
select name as "name!", pg_notify('dacapo_schedule', '')::text as told from changed
