-- One flush of nothing but new rows of journals, which most are: a statement of its own, since the other one takes half as long again
-- to set up for all that might be in it.
-- Called by: the journal writer of a worker, one call at a time for each of its connections.
-- Answers one row: `fenced` is true when the connection's fence is closed, and then nothing at all was written.
-- Locks: the connection's own fence row (share). Indexes: fence_pkey, step_pkey.
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
)
select not exists (select from fence) as "fenced!"
