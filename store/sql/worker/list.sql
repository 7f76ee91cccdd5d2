-- All workers that have put their name down, by name, with what they hold. Called by: clients. Locks: nothing.
-- One whose lease is over is dead or cut off: its runs are taken over, and its row goes. It reads the whole of `worker` and `task_leased`, which are small.
-- Index: fence_pkey.
select
    id as "id!",
    name as "name!",
    version as "version!",
    started_at as "started_at!: Time",
    lease_until as "lease_until!: Time",
    queues,
    coalesce(held.runs, 0) as "runs!",
    exists (select from dacapo.fence where worker_id = worker.id and not open) as "is_fenced!",
    clock_timestamp() as "now!: Time"
from dacapo.worker
left join (select worker_id, count(*) as runs from dacapo.task_leased group by worker_id) as held on held.worker_id = worker.id
order by name, started_at, id
