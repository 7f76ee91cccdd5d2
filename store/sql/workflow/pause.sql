-- Pauses a workflow ($1 namespace, $2 full name): its runs are not played. Called by: clients. Zero rows: it is paused already.
-- Locks: its row of paused_workflow. Index: paused_workflow_pkey.
with paused as (
    insert into dacapo.paused_workflow as existing (namespace, workflow)
    values ($1, $2)
    on conflict (namespace, workflow) do update
    set resumed = false, resumed_at = null, after_run = null, since = clock_timestamp()
    where existing.resumed
    returning workflow
)
select workflow as "workflow!", pg_notify('dacapo_queue', '')::text as told from paused
