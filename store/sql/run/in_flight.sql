-- The runs in flight of a package ($2) in a namespace ($1), but for those of the deployment $3: what another deployment may take over.
-- Called by: whoever proves a deployment. Locks: nothing. Indexes: run_pkey; the task tables hold what is in flight and are read whole.
select
    run.id as "id!",
    run.workflow as "workflow!"
from (
    select run_id from dacapo.task_ready
    union all
    select run_id from dacapo.task_leased
    union all
    select run_id from dacapo.task_suspended
) as task
join dacapo.run on run.id = task.run_id
join dacapo.deployment on deployment.id = run.deployment_id
where deployment.namespace = $1 and deployment.package = $2 and run.deployment_id is distinct from $3::bigint
order by run.id
