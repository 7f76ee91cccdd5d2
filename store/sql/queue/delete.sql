-- Takes a queue that was locked before ($1 its id) away, with what its rates counted, unless a run of it is active.
-- Called by: clients, in the transaction that locked its row: whoever starts a run of it has held that before. Zero rows: runs are active.
-- Indexes: queue_pkey, task_ready_by_queue, task_leased_by_queue, task_suspended_by_queue, queue_rate_pkey.
with gone as (
    delete from dacapo.queue
    where id = $1
        and not exists (select from dacapo.task_ready where queue = $1)
        and not exists (select from dacapo.task_leased where queue = $1)
        and not exists (select from dacapo.task_suspended where queue = $1)
    returning id
),
counted as (
    delete from dacapo.queue_rate using gone where queue_rate.queue = gone.id
)
select id as "id!", pg_notify('dacapo_queue', '')::text as told from gone
