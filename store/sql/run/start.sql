-- Starts a run: its row and its task, in one statement, and tells the workers.
-- Called by: clients, also inside a transaction of theirs. Zero rows: the deployment ($4) that the input was checked against
-- is not active any more, and nothing was written. `created` is false when a run with this id was there already: nothing was
-- written, and `input` is what that run was started with.
-- Locks: none that others wait for. Indexes: deployment_pkey, run_pkey, task_ready_pkey.
with target as (
    select id, namespace
    from dacapo.deployment
    where id = $4 and active
),
created as (
    insert into dacapo.run (id, namespace, workflow, deployment_id, input, labels)
    select $1, target.namespace, $2, target.id, $3, $5::jsonb
    from target
    on conflict (id) do nothing
    returning id
),
queued as (
    insert into dacapo.task_ready (run_id)
    select id from created
    returning pg_notify('dacapo_ready', '')
)
select
    (select count(*) from queued) > 0 as "created!",
    (select run.input from dacapo.run where run.id = $1) as input,
    (select run.workflow from dacapo.run where run.id = $1) as workflow
from target
