-- What the decisions about locked schedules depend on: one row for each of the $1 namespaces and $2 workflows, in their order, with
-- the active deployment of the workflow (none: it is not deployed), whether run $3 is active, and whether there is a queue $4. Called by: a worker's scheduler, by
-- a statement of its own after the locks: whoever held them before may have started that run.
-- Locks: nothing. Indexes: workflow_by_function, deployment_pkey, run_pkey, queue_name_unique.
select
    active.deployment_id as "deployment_id?",
    active.schema as "schema?",
    exists (select from dacapo.run where run.id = asked.last_run and run.status = 'active') as "previous_active!",
    asked.queue is null or exists (
        select from dacapo.queue where queue.namespace = asked.namespace and queue.name = asked.queue
    ) as "has_queue!",
    clock_timestamp() as "now!: Time"
from unnest($1::text[], $2::text[], $3::uuid[], $4::text[])
    with ordinality as asked (namespace, workflow, last_run, queue, place)
left join lateral (
    select workflow.deployment_id, workflow.schema
    from dacapo.workflow
    join dacapo.deployment on deployment.id = workflow.deployment_id
    where workflow.function = substring(asked.workflow from '[^.]*$')
        and workflow.name = asked.workflow
        and deployment.namespace = asked.namespace
        and deployment.active
    limit 1
) as active on true
order by asked.place
