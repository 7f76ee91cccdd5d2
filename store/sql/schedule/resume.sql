-- Lets a paused schedule go on with this tick, and tells the workers. Called by: clients that hold the row's lock.
-- Zero rows: there is no such schedule. Index: schedule_pkey.
with changed as (
    update dacapo.schedule
    set paused = false, next_tick = $3::timestamptz, next_at = $4::timestamptz, waiting_for = null,
        trouble = null, trouble_since = null, updated_at = clock_timestamp()
    where namespace = $1 and name = $2
    returning name
)
select name as "name!", pg_notify('dacapo_schedule', '')::text as told from changed
