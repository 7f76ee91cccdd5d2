-- Lets the runs of a workflow ($1 namespace, $2 full name) go on; workers move those back that were put aside. Called by: clients.
-- Zero rows: it is not paused. Locks: its row of paused_workflow. Index: paused_workflow_pkey.
with resumed as (
    update dacapo.paused_workflow
    set resumed = true, resumed_at = clock_timestamp(), after_run = null
    where namespace = $1 and workflow = $2 and not resumed
    returning workflow
)
select workflow as "workflow!", pg_notify('dacapo_queue', '')::text as told from resumed
