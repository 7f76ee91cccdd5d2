-- How many runs there are in each status. Called by: clients, with a plan of its own for each call. Locks: nothing.
-- The parameters are those of list.sql: $1 namespace, $2 status, $3 workflow, $4 number of the deployment, $5 labels, $6 words of the
-- failure, $7 and $8 created since and before, $9 patterns of workflows for `like`. Statuses without a run have no row.
-- Runs that completed are not looked at one by one where an index counts them: they are all that there are but those of other statuses.
-- Indexes: run_by_creation, run_by_code or run_by_label for all; unsuccessful_*; the keys of the task tables and run_pkey.
with deployments as materialized (
    select deployment.id
    from dacapo.deployment
    where deployment.namespace = $1 and ($4::integer is null or deployment.number = $4)
),
task as (
    select run_id, 'queued' as status from dacapo.task_ready
    union all
    select run_id, 'running' from dacapo.task_leased
    union all
    select run_id, case
        when reason = 'blocked' then 'blocked'
        when paused then 'paused'
        when reason in ('queue', 'workflow', 'singleton') then 'queued'
        else 'suspended'
    end
    from dacapo.task_suspended
),
active as materialized (
    select
        case when run.cancel_requested_at is not null and task.status <> 'blocked' then 'cancelling' else task.status end as status,
        count(*) as runs
    from task
    cross join lateral (
        select * from dacapo.run where run.id = task.run_id offset 0
    ) as run
    where coalesce($2::text, 'completed') not in ('failed', 'cancelled')
        and $6::text is null
        and run.namespace = $1
        and ($3::text is null or run.workflow = $3)
        and ($9::text[] is null or run.workflow like any ($9))
        and ($4::integer is null or run.deployment_id in (select id from deployments))
        and ($5::text is null or run.labels @> $5::text::jsonb)
        and run.created_at >= coalesce($7::timestamptz, '-infinity') and run.created_at < coalesce($8::timestamptz, 'infinity')
    group by 1
),
unsuccessful as materialized (
    select bad.status, count(*) as runs
    from dacapo.unsuccessful as bad
    where coalesce($2, 'completed') in ('completed', 'failed', 'cancelled')
        and bad.namespace = $1
        and ($3::text is null or bad.workflow = $3)
        and ($9::text[] is null or bad.workflow like any ($9))
        and ($4::integer is null or bad.deployment_id in (select id from deployments))
        and ($5::text is null or bad.labels @> $5::text::jsonb)
        and ($6::text is null or bad.words @@ dacapo.failure_query($6))
        and bad.created_at >= coalesce($7, '-infinity') and bad.created_at < coalesce($8, 'infinity')
    group by 1
),
all_runs as (
    select count(*) as runs
    from dacapo.run
    where coalesce($2, 'completed') = 'completed' and $6::text is null
        and $3::text is null and $4::integer is null and $5::text is null and $9::text[] is null
        and run.namespace = $1
        and run.created_at >= coalesce($7, '-infinity') and run.created_at < coalesce($8, 'infinity')
    union all
    select count(*)
    from deployments
    join dacapo.workflow on workflow.deployment_id = deployments.id and ($3::text is null or workflow.name = $3) and ($9::text[] is null or workflow.name like any ($9))
    join dacapo.run on run.deployment_id = workflow.deployment_id and run.workflow = workflow.name
    where coalesce($2, 'completed') = 'completed' and $6::text is null
        and ($3::text is not null or $4::integer is not null or $9::text[] is not null) and $5::text is null
        and run.created_at >= coalesce($7, '-infinity') and run.created_at < coalesce($8, 'infinity')
    union all
    select count(*)
    from dacapo.run
    where coalesce($2, 'completed') = 'completed' and $6::text is null
        and labels @> $5::text::jsonb and labels <> '{}'
        and run.namespace = $1
        and ($3::text is null or run.workflow = $3)
        and ($9::text[] is null or run.workflow like any ($9))
        and ($4::integer is null or run.deployment_id in (select id from deployments))
        and run.created_at >= coalesce($7, '-infinity') and run.created_at < coalesce($8, 'infinity')
),
-- Materialized: or runs would be counted once to see whether there are any, and once more to say how many.
completed as materialized (
    select
        (select sum(runs) from all_runs)::bigint
            - (select coalesce(sum(runs), 0) from active)::bigint - (select coalesce(sum(runs), 0) from unsuccessful)::bigint
            as runs
    where coalesce($2, 'completed') = 'completed' and $6::text is null
)
select status as "status!", runs as "runs!"
from (
    select * from active
    union all
    select * from unsuccessful
    union all
    select 'completed', runs from completed
) as statuses
where runs > 0 and ($2::text is null or status = $2)
