-- Writes what was decided about locked schedules. Called by: a worker's scheduler, in the transaction that holds the locks and has
-- started the runs. A column that is null leaves the last tick, run or passing-over as it is.
-- Locks: the schedule rows, which the caller holds. Index: schedule_pkey.
update dacapo.schedule
set next_tick = d.next_tick,
    next_at = d.next_at,
    waiting_for = d.waiting_for,
    last_tick = coalesce(d.last_tick, schedule.last_tick),
    last_run = coalesce(d.last_run, schedule.last_run),
    passed_from = coalesce(d.passed_from, schedule.passed_from),
    passed_until = case when d.passed_from is null then schedule.passed_until else d.passed_until end,
    passed_reason = coalesce(d.passed_reason, schedule.passed_reason),
    trouble = null,
    trouble_since = null
from unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::uuid[], $6::timestamptz[], $7::uuid[], $8::timestamptz[],
    $9::timestamptz[], $10::text[]
) as d (namespace, name, next_tick, next_at, waiting_for, last_tick, last_run, passed_from, passed_until, passed_reason)
where schedule.namespace = d.namespace and schedule.name = d.name
