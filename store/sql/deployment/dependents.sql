-- Who in namespace $1 deals with the workflows of package $2: its active deployment, its runs in flight by workflow, schedules, and the
-- deployments that call them and that new runs go to or that have runs in flight, with how many: of other packages, and older ones of its own.
-- Called by: clients before a deploy. Locks: none. Indexes: deployment_one_active, deployment_one_rollout; runs in flight are found by the
-- tasks of all runs, each with its run (run_pkey).
with in_flight as materialized (
    select run.deployment_id, run.workflow, count(*) as runs
    from (
        select run_id from dacapo.task_ready
        union all
        select run_id from dacapo.task_leased
        union all
        select run_id from dacapo.task_suspended
    ) as task
    join dacapo.run on run.id = task.run_id
    where run.namespace = $1
    group by run.deployment_id, run.workflow
)
select 'active' as "kind!", package as "name!", number::bigint as "number!", descriptor as "content?", 0::bigint as "runs!"
from dacapo.deployment
where namespace = $1 and package = $2 and active
union all
select 'runs', workflow, 0, null, sum(runs)::bigint
from in_flight
where starts_with(workflow, $2 || '/')
group by workflow
union all
select 'schedule', schedule.name, 0, schedule.workflow, 0
from dacapo.schedule
where schedule.namespace = $1 and starts_with(schedule.workflow, $2 || '/')
union all
select 'caller', caller.package, caller.number, caller.descriptor, on_it.runs
from dacapo.deployment as caller
cross join lateral (
    select coalesce(sum(runs), 0)::bigint as runs from in_flight where in_flight.deployment_id = caller.id
) as on_it
where caller.namespace = $1
    and (on_it.runs > 0 or (caller.package <> $2 and (caller.active or caller.rollout_percent is not null)))
    and exists (
        select from jsonb_array_elements(coalesce(caller.descriptor::jsonb -> 'children', '[]')) as call (value)
        where starts_with(call.value ->> 'name', $2 || '/')
    )
order by 1, 2, 3
