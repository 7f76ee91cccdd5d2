-- The deployments that take new runs of a workflow, by its full name, or by its function alone where that is unique: the active one, and
-- the one that is being rolled out.
-- Called by: clients before a start; they keep the answer. Several names: that of the function is not unique.
-- Indexes: workflow_by_function, deployment_pkey.
select
    deployment.id as "deployment_id!",
    deployment.package as "package!",
    deployment.number as "number!",
    deployment.rollout_percent,
    deployment.rollout_labels::text as rollout_labels,
    workflow.name as "name!",
    workflow.schema as "schema!",
    workflow.queue,
    workflow.priority
from dacapo.workflow
join dacapo.deployment on deployment.id = workflow.deployment_id
where (deployment.active or deployment.rollout_percent is not null)
    and deployment.namespace = $1
    and workflow.function = $2
    and ($3::text is null or workflow.name = $3)
order by workflow.name, deployment.active desc
