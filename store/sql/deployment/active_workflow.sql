-- The active deployment of a workflow, by its full name, or by its function alone where that is unique.
-- Called by: clients before a start; they keep the answer. Several rows: the function's name is not unique.
-- Indexes: workflow_by_function, deployment_pkey.
select
    deployment.id as "deployment_id!",
    deployment.package as "package!",
    deployment.number as "number!",
    workflow.name as "name!",
    workflow.schema as "schema!"
from dacapo.workflow
join dacapo.deployment on deployment.id = workflow.deployment_id
where deployment.active
    and deployment.namespace = $1
    and workflow.function = $2
    and ($3::text is null or workflow.name = $3)
order by workflow.name
