-- Who in namespace $1 deals with the workflows of package $2: its active deployment, its runs in flight by workflow, schedules, and the
-- deployments of other packages that call them and that new runs go to.
-- Called by: clients before a deploy. Locks: none. Indexes: deployment_one_active, deployment_one_rollout; runs in flight are found by the
-- tasks of all runs, each with its run (run_pkey).
select 'active' as "kind!", package as "name!", number::bigint as "number!", descriptor as "content?"
from dacapo.deployment
where namespace = $1 and package = $2 and active
union all
select 'runs', run.workflow, count(*), null
from (
    select run_id from dacapo.task_ready
    union all
    select run_id from dacapo.task_leased
    union all
    select run_id from dacapo.task_suspended
) as task
join dacapo.run on run.id = task.run_id
where run.namespace = $1 and starts_with(run.workflow, $2 || '/')
group by run.workflow
union all
select 'schedule', schedule.name, 0, schedule.workflow
from dacapo.schedule
where schedule.namespace = $1 and starts_with(schedule.workflow, $2 || '/')
union all
select 'caller', caller.package, caller.number, caller.descriptor
from dacapo.deployment as caller
where caller.namespace = $1 and caller.package <> $2 and (caller.active or caller.rollout_percent is not null)
    and exists (
        select from jsonb_array_elements(coalesce(caller.descriptor::jsonb -> 'children', '[]')) as call (value)
        where starts_with(call.value ->> 'name', $2 || '/')
    )
order by 1, 2
