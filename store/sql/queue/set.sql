-- Makes a queue ($1 namespace, $2 name), or changes the limits of one that is there: each where the first of its two parameters says so.
-- A rate that is set counts from now on. Called by: clients. Zero rows never. Locks: the queue's row.
-- Indexes: queue_name_unique, queue_rate_pkey.
with written as (
    insert into dacapo.queue as existing (
        namespace, name, concurrency, concurrency_per_key, rate_runs, rate_ms, rate_per_key_runs, rate_per_key_ms
    )
    values ($1, $2, $4, $6, $8, $9, $11, $12)
    on conflict on constraint queue_name_unique do update set
        concurrency = case when $3 then excluded.concurrency else existing.concurrency end,
        concurrency_per_key = case when $5 then excluded.concurrency_per_key else existing.concurrency_per_key end,
        rate_runs = case when $7 then excluded.rate_runs else existing.rate_runs end,
        rate_ms = case when $7 then excluded.rate_ms else existing.rate_ms end,
        rate_per_key_runs = case when $10 then excluded.rate_per_key_runs else existing.rate_per_key_runs end,
        rate_per_key_ms = case when $10 then excluded.rate_per_key_ms else existing.rate_per_key_ms end,
        updated_at = clock_timestamp()
    returning id
),
forgotten as (
    delete from dacapo.queue_rate
    using written
    where queue_rate.queue = written.id and (($7 and not per_key) or ($10 and per_key))
)
select id as "id!", pg_notify('dacapo_queue', '')::text as told from written
