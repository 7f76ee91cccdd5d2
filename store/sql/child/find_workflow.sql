-- What a child is to be a run of: the active workflows of the parent's namespace that go by a name, in full or the function's alone,
-- on the deployments that take the child $4 with the labels $5 (none: its parent's).
-- Called by: a worker when a run starts a child. Several rows: the name is not unique. Locks: none.
-- Indexes: run_pkey, workflow_by_function, deployment_pkey.
select
    deployment.id as "deployment_id!",
    workflow.name as "name!",
    workflow.schema as "schema!",
    parent.depth as "depth!",
    workflow.queue,
    workflow.priority
from dacapo.run as parent
join dacapo.deployment on deployment.namespace = parent.namespace and (deployment.active or deployment.rollout_percent is not null)
join dacapo.workflow on workflow.deployment_id = deployment.id
where parent.id = $1
    and workflow.function = $2
    -- A full name, or the end of one.
    and ($3::text = $2 or workflow.name = $3 or right(workflow.name, length($3) + 1) in ('/' || $3, ':' || $3))
    and (
        deployment.active and not deployment.shared
        or dacapo.takes(
            deployment.id, $4, workflow.name,
            coalesce(
                $5::text::jsonb,
                (select jsonb_object_agg(name, value) from jsonb_each(parent.labels) as l (name, value) where name not like 'dacapo.%')
            )
        )
    )
order by workflow.name
