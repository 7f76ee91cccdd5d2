-- How many runs there are in each status, as far as few rows tell. Called by: clients, with a plan of its own for each call. Locks: nothing.
-- $1 namespace, $2 workflow, $3 number of the deployment, $4 labels, $5 words of the failure, $6 and $7 created since and before, $8 rows that
-- are looked at of each source, $9 patterns of workflows for `like`. `is_all` is false where a source had more: then there may be more runs than are counted. What is looked
-- at is the newest of each source where that has an order.
-- Indexes: run_by_creation, unsuccessful_by_status, run_pkey.
with deployments as materialized (
    select deployment.id
    from dacapo.deployment
    where deployment.namespace = $1 and ($3::integer is null or deployment.number = $3)
),
task as materialized (
    (select run_id, 'queued' as status, 'ready' as source from dacapo.task_ready limit $8::bigint)
    union all
    (select run_id, 'running', 'leased' from dacapo.task_leased limit $8)
    union all
    (
        select
            run_id,
            case
                when reason = 'blocked' then 'blocked'
                when paused then 'paused'
                when reason in ('queue', 'workflow', 'singleton') then 'queued'
                else 'suspended'
            end,
            'suspended'
        from dacapo.task_suspended
        limit $8
    )
),
bad as materialized (
    (
        select status, workflow, deployment_id, labels, words
        from dacapo.unsuccessful
        where namespace = $1 and status = 'failed'
            and created_at >= coalesce($6::timestamptz, '-infinity') and created_at < coalesce($7::timestamptz, 'infinity')
        order by created_at desc, run_id desc
        limit $8
    )
    union all
    (
        select status, workflow, deployment_id, labels, words
        from dacapo.unsuccessful
        where namespace = $1 and status = 'cancelled'
            and created_at >= coalesce($6, '-infinity') and created_at < coalesce($7, 'infinity')
        order by created_at desc, run_id desc
        limit $8
    )
),
newest as materialized (
    select status, workflow, deployment_id, labels
    from dacapo.run
    where namespace = $1
        and created_at >= coalesce($6, '-infinity') and created_at < coalesce($7, 'infinity')
    order by created_at desc, id desc
    limit $8
),
counted as (
    select
        case when run.cancel_requested_at is not null and task.status <> 'blocked' then 'cancelling' else task.status end as status,
        task.source,
        count(*) as runs
    from task
    cross join lateral (
        select * from dacapo.run where run.id = task.run_id offset 0
    ) as run
    where $5::text is null
        and run.namespace = $1
        and ($2::text is null or run.workflow = $2)
        and ($9::text[] is null or run.workflow like any ($9))
        and ($3::integer is null or run.deployment_id in (select id from deployments))
        and ($4::text is null or run.labels @> $4::text::jsonb)
        and run.created_at >= coalesce($6, '-infinity') and run.created_at < coalesce($7, 'infinity')
    group by 1, 2
    union all
    select bad.status, bad.status, count(*)
    from bad
    where ($2::text is null or bad.workflow = $2)
        and ($9::text[] is null or bad.workflow like any ($9))
        and ($3::integer is null or bad.deployment_id in (select id from deployments))
        and ($4::text is null or bad.labels @> $4::text::jsonb)
        and ($5::text is null or bad.words @@ dacapo.failure_query($5))
    group by 1
    union all
    select 'completed', 'newest', count(*)
    from newest
    where $5::text is null
        and newest.status = 'completed'
        and ($2::text is null or newest.workflow = $2)
        and ($9::text[] is null or newest.workflow like any ($9))
        and ($3::integer is null or newest.deployment_id in (select id from deployments))
        and ($4::text is null or newest.labels @> $4::text::jsonb)
),
looked_at as (
    select source, count(*) as rows from task group by 1
    union all
    select status, count(*) from bad group by 1
    union all
    select 'newest', count(*) from newest
)
select
    known.status as "status!",
    coalesce(sum(counted.runs), 0)::bigint as "runs!",
    coalesce(bool_and(looked_at.rows < $8), true) as "is_all!"
from (
    values
        ('queued', 'ready'), ('queued', 'suspended'), ('running', 'leased'), ('suspended', 'suspended'), ('paused', 'suspended'),
        ('blocked', 'suspended'), ('cancelling', 'ready'), ('cancelling', 'leased'), ('cancelling', 'suspended'),
        ('completed', 'newest'), ('failed', 'failed'), ('cancelled', 'cancelled')
) as known (status, source)
left join counted on counted.status = known.status and counted.source = known.source
left join looked_at on looked_at.source = known.source
group by known.status
