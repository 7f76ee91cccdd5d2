-- Notes that the run $2 is played alone by the worker $1 from now on. Called by: a worker whose run was taken over twice without progress,
-- when all others are done. Zero rows: the worker does not hold it (any more). Locks: the task row. Index: task_leased_pkey.
update dacapo.task_leased
set alone = true
where run_id = $2 and worker_id = $1
returning true as "noted!"
