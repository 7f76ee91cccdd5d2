-- Pauses a queue ($1 namespace, $2 name), or lets it go on ($3 false). Called by: clients. Zero rows: there is no such queue.
-- Locks: the queue's row. Index: queue_name_unique.
with changed as (
    update dacapo.queue set paused = $3, updated_at = clock_timestamp()
    where namespace = $1 and name = $2
    returning id
)
select id as "id!", pg_notify('dacapo_queue', '')::text as told from changed
