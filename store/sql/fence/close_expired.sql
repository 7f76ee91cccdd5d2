-- Closes the fences of workers whose lease is over: the first half of a takeover. It waits for the flushes of those workers
-- that are under way; what they send later finds the fence closed and writes nothing.
-- Called by: a worker's takeover tick. Answers how many workers are fenced and still hold rows. Postgres alone decides whether
-- a lease is over. Locks: the worker rows (skipping those that renew right now), then their fence rows.
-- Indexes: worker_pkey, fence_pkey.
with expired as (
    select id
    from dacapo.worker
    where lease_until < clock_timestamp()
    for update skip locked
),
closed as (
    update dacapo.fence
    set open = false
    from expired
    where fence.worker_id = expired.id and fence.open
    returning fence.worker_id
)
select
    (select count(distinct worker_id) from closed) as "closed!",
    (select count(*) from dacapo.worker where lease_until < clock_timestamp()) as "expired!"
