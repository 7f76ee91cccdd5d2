-- The next tick of a schedule cannot be started for the reason $3 (JSON): it stays, and is looked at again after $4 milliseconds.
-- Called by: a worker's scheduler. Locks: the schedule row. Index: schedule_pkey.
update dacapo.schedule
set trouble = $3,
    trouble_since = coalesce(trouble_since, clock_timestamp()),
    next_at = clock_timestamp() + $4::bigint * interval '1 millisecond'
where namespace = $1 and name = $2 and next_tick is not null
