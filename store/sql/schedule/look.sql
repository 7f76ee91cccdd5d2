-- What the decisions about locked schedules depend on: one row for each of the $1 namespaces and $2 workflows, in their order, with
-- the active deployment of the workflow and the one that is being rolled out (none: it is not deployed), whether run $3 is active, and for each
-- of the two whether there is the queue of the schedule's runs there: $4, or where that is none the one that the deployment names. Called by: a worker's scheduler, by a statement of its own after the locks: whoever held them before may have started
-- that run.
-- Locks: nothing. Indexes: workflow_by_function, deployment_pkey, deployment_one_rollout, workflow_pkey, run_pkey, queue_name_unique.
select
    active.deployment_id as "deployment_id?",
    active.schema as "schema?",
    active.queue as "queue?",
    active.priority as "priority?",
    coalesce(asked.queue, active.queue, 'default') = 'default' or exists (
        select from dacapo.queue where queue.namespace = asked.namespace and queue.name = coalesce(asked.queue, active.queue)
    ) as "has_queue!",
    rollout.deployment_id as "rollout_id?",
    rollout.schema as "rollout_schema?",
    rollout.queue as "rollout_queue?",
    rollout.priority as "rollout_priority?",
    coalesce(asked.queue, rollout.queue, 'default') = 'default' or exists (
        select from dacapo.queue where queue.namespace = asked.namespace and queue.name = coalesce(asked.queue, rollout.queue)
    ) as "rollout_has_queue!",
    rollout.rollout_percent as "rollout_percent?",
    rollout.rollout_labels as "rollout_labels?",
    exists (select from dacapo.run where run.id = asked.last_run and run.status = 'active') as "previous_active!",
    clock_timestamp() as "now!: Time"
from unnest($1::text[], $2::text[], $3::uuid[], $4::text[])
    with ordinality as asked (namespace, workflow, last_run, queue, place)
left join lateral (
    select workflow.deployment_id, workflow.schema, workflow.queue, workflow.priority
    from dacapo.workflow
    join dacapo.deployment on deployment.id = workflow.deployment_id
    where workflow.function = substring(asked.workflow from '[^.]*$')
        and workflow.name = asked.workflow
        and deployment.namespace = asked.namespace
        and deployment.active
    limit 1
) as active on true
left join lateral (
    select workflow.deployment_id, workflow.schema, workflow.queue, workflow.priority, deployment.rollout_percent, deployment.rollout_labels::text as rollout_labels
    from dacapo.deployment
    join dacapo.workflow on workflow.deployment_id = deployment.id and workflow.name = asked.workflow
    where deployment.namespace = asked.namespace and deployment.rollout_percent is not null
    limit 1
) as rollout on true
order by asked.place
