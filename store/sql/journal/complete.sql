-- One flush of nothing but new rows of journals and runs that have ended, as short runs end: a statement of its own, since the one that can
-- do everything takes half as long again to set up for all that might be in it.
-- Called by: the journal writer of a worker, one call at a time for each of its connections.
-- Answers one row: `fenced` is true when the connection's fence is closed, and then nothing at all was written; `gone` holds the runs
-- that have ended.
-- Locks, in this order: the connection's own fence row (share), the task rows of its runs, their run rows.
-- Indexes: fence_pkey, step_pkey, task_leased_pkey, run_pkey.
-- `any` of one is looked up by key, whatever the planner believes (claim.sql says why).
with fence as materialized (
    select worker_id
    from dacapo.fence
    where worker_id = $1 and connection = $2 and open
    for share
),
recorded as (
    insert into dacapo.step (run_id, key, position, kind, outcome, payload, due, started_at, finished_at)
    select r.run_id, r.key, r.position, r.kind, r.outcome, r.payload, r.due, r.started_at, r.finished_at
    from fence, unnest(
        $3::uuid[], $4::text[], $5::integer[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[]
    ) as r (run_id, key, position, kind, outcome, payload, due, started_at, finished_at)
),
finished as (
    delete from dacapo.task_leased
    using fence, unnest($12::uuid[], $13::text[], $14::text[], $15::text[]) as f (run_id, status, output, failure)
    where task_leased.run_id = any (array[f.run_id]) and task_leased.worker_id = fence.worker_id
    returning task_leased.run_id, task_leased.started_at, f.status, f.output, f.failure
),
ended as (
    update dacapo.run
    set status = finished.status, output = finished.output, failure = finished.failure,
        started_at = finished.started_at, finished_at = clock_timestamp()
    from finished
    where run.id = any (array[finished.run_id])
    returning run.id
),
told as (
    select pg_notify('dacapo_run', n.payload)
    from fence, unnest($16::text[]) as n (payload)
)
select
    not exists (select from fence) as "fenced!",
    array(select id from ended) as "gone!",
    (select count(*) from told) as "told!"
