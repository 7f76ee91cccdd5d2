-- Deployments of namespace $1, by package and the newest first; of package $2, and with number $3, where these are given.
-- Called by: clients. Locks: none. Indexes: deployment_number_unique, deployment_change_by_deployment; runs in flight are counted from the
-- tasks of all runs, each with its run (run_pkey).
with in_flight as materialized (
    select run.deployment_id, count(*) as runs
    from (
        select run_id from dacapo.task_ready
        union all
        select run_id from dacapo.task_leased
        union all
        select run_id from dacapo.task_suspended
    ) as task
    join dacapo.run on run.id = task.run_id
    group by run.deployment_id
)
select
    deployment.id,
    deployment.package,
    deployment.number,
    deployment.digest,
    deployment.active,
    deployment.rollout_percent,
    deployment.rollout_labels::text as rollout_labels,
    deployment.retired_at as "retired_at: Time",
    deployment.created_at as "created_at: Time",
    coalesce(in_flight.runs, 0) as "in_flight!",
    change.what as "what?",
    change.who as "who?",
    change.at as "at?: Time",
    change.details::text as "details?"
from dacapo.deployment
left join in_flight on in_flight.deployment_id = deployment.id
left join lateral (
    select what, who, at, details
    from dacapo.deployment_change
    where deployment_change.deployment_id = deployment.id
    order by deployment_change.id desc
    limit 1
) as change on true
where deployment.namespace = $1
    and ($2::text is null or deployment.package = $2)
    and ($3::integer is null or deployment.number = $3)
order by deployment.package, deployment.number desc
