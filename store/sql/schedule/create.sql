-- Makes a schedule, and tells the workers. Called by: clients. Zero rows: there is one of this name, and nothing was written.
-- Index: schedule_pkey.
with made as (
    insert into dacapo.schedule (
        namespace, name, workflow, input, labels, cron, time_zone, every_s, jitter_ms, overlap, catch_up, paused, next_tick, next_at,
        queue, priority, concurrency_key
    )
    values ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10, $11, $12, $13::timestamptz, $14::timestamptz, $15, $16, $17)
    on conflict (namespace, name) do nothing
    returning name
)
select name as "name!", pg_notify('dacapo_schedule', '')::text as told from made
