-- The runs of a page, newest first. Called by: clients, with a plan of its own for each call (see `list_runs`). Locks: nothing. What no more
-- is asked of than a time, or that they completed, is found by `newest.sql`.
-- $1 namespace, $2 status, $3 workflow, $4 number of the deployment, $5 labels, $6 words of the failure, $7 created since,
-- $8 and $9 creation time and id above all that are asked for (the last row of the page before, say), $10 rows, $11 what the search goes by, $12 patterns of workflows
-- for `like`, one of which must fit:
--   code          a workflow, patterns, a deployment                                       Index: run_by_code
--   label         labels                                                         Index: run_by_label
--   task          a status of runs that are active                               Indexes: the keys of the task tables, run_pkey
--   cancel        the status `cancelling`                                        Index: run_by_cancel
--   unsuccessful  the statuses `failed` and `cancelled`, words of a failure      Indexes: unsuccessful_by_*
-- Every way applies every filter. Searches by label and words, and by tasks where these are many or their table is large, first look whether
-- the newest 2,000 runs fill the page, since what is asked for may be most of all runs; only then they collect all that there are.
with deployments as materialized (
    select deployment.id
    from dacapo.deployment
    where deployment.namespace = $1 and ($4::integer is null or deployment.number = $4)
),
few as materialized (
    select case
        when $11::text <> 'task' then false
        when $2::text = 'running' then pg_relation_size('dacapo.task_leased') <= 4194304
        when $2 = 'queued' then pg_relation_size('dacapo.task_ready') + pg_relation_size('dacapo.task_suspended') <= 4194304
        when $2 = 'suspended' then pg_relation_size('dacapo.task_suspended') <= 4194304
        when $2 = 'paused' then (
            select count(*) <= 2000
            from (select from dacapo.task_suspended where paused and reason <> 'blocked' limit 2001) as task
        )
        when $2 = 'blocked' then (
            select count(*) <= 2000 from (select from dacapo.task_suspended where reason = 'blocked' limit 2001) as task
        )
    end as are_all
),
newest as materialized (
    select run.id, run.created_at,
        ($2::text is null or run_status.status = $2)
            and ($3::text is null or run.workflow = $3)
            and ($12::text[] is null or run.workflow like any ($12))
            and ($4::integer is null or run.deployment_id in (select id from deployments))
            and ($5::text is null or run.labels @> $5::text::jsonb) as fits
    from (
        select id, workflow, deployment_id, labels, created_at
        from dacapo.run
        where ($11 = 'label' or ($11 = 'task' and not (select are_all from few)))
            and namespace = $1
            and created_at >= coalesce($7::timestamptz, '-infinity')
            and (created_at, id) < (coalesce($8::timestamptz, 'infinity'), coalesce($9::uuid, '00000000-0000-0000-0000-000000000000'))
        order by created_at desc, id desc
        limit 2000
    ) as run
    join dacapo.run_status on run_status.run_id = run.id
),
newest_unsuccessful as materialized (
    select bad.run_id as id, bad.created_at,
        ($3::text is null or bad.workflow = $3)
            and ($12::text[] is null or bad.workflow like any ($12))
            and ($4::integer is null or bad.deployment_id in (select id from deployments))
            and ($5::text is null or bad.labels @> $5::text::jsonb)
            and ($6::text is null or bad.words @@ dacapo.failure_query($6)) as fits
    from (
        select *
        from dacapo.unsuccessful
        where $11 = 'unsuccessful' and ($5::text is not null or $6::text is not null)
            and namespace = $1
            and ($2::text is null or status = $2)
            and created_at >= coalesce($7, '-infinity')
            and (created_at, run_id) < (coalesce($8, 'infinity'), coalesce($9, '00000000-0000-0000-0000-000000000000'))
        order by created_at desc, run_id desc
        limit 2000
    ) as bad
),
is_enough as materialized (
    select
        (select count(*) filter (where fits) >= $10::bigint or count(*) between 1 and 1999 from newest) as newest,
        (select count(*) filter (where fits) >= $10 or count(*) between 1 and 1999 from newest_unsuccessful) as unsuccessful
),
found as (
    (select id, created_at from newest where fits and (select newest from is_enough))
    union all
    (select id, created_at from newest_unsuccessful where fits and (select unsuccessful from is_enough))
    union all
    (
        select run.id, run.created_at
        from deployments
        join dacapo.workflow on workflow.deployment_id = deployments.id and ($3::text is null or workflow.name = $3) and ($12::text[] is null or workflow.name like any ($12))
        cross join lateral (
            select id, created_at
            from dacapo.run
            where run.deployment_id = workflow.deployment_id and run.workflow = workflow.name
                and ($2::text is null or run.status = $2)
                and run.created_at >= coalesce($7, '-infinity')
                and (run.created_at, run.id)
                    < (coalesce($8, 'infinity'), coalesce($9, '00000000-0000-0000-0000-000000000000'))
            order by run.created_at desc, run.id desc
            limit $10
        ) as run
        where $11 = 'code'
    )
    union all
    (
        -- `offset 0`: the labels are looked up by their index, however common the planner believes them to be.
        select run.id, run.created_at
        from (
            select id, namespace, workflow, deployment_id, created_at
            from dacapo.run
            where $11 = 'label' and not (select newest from is_enough)
                and labels @> $5::text::jsonb and labels <> '{}'
            offset 0
        ) as run
        join dacapo.run_status on run_status.run_id = run.id
        where run.namespace = $1
            and ($2::text is null or run_status.status = $2)
            and ($3::text is null or run.workflow = $3)
            and ($12::text[] is null or run.workflow like any ($12))
            and ($4::integer is null or run.deployment_id in (select id from deployments))
            and run.created_at >= coalesce($7, '-infinity')
            and (run.created_at, run.id) < (coalesce($8, 'infinity'), coalesce($9, '00000000-0000-0000-0000-000000000000'))
    )
    union all
    (
        select run.id, run.created_at
        from (
            select run_id from dacapo.task_ready where $2 = 'queued'
            union all
            select run_id from dacapo.task_suspended where $2 = 'queued' and reason = 'queue' and not paused
            union all
            select run_id from dacapo.task_suspended where $2 = 'queued' and reason in ('workflow', 'singleton') and not paused
            union all
            select run_id from dacapo.task_leased where $2 = 'running'
            union all
            select run_id from dacapo.task_suspended where $2 = 'suspended' and not paused and reason not in ('blocked', 'queue', 'workflow', 'singleton')
            union all
            select run_id from dacapo.task_suspended where $2 = 'paused' and paused and reason <> 'blocked'
            union all
            select run_id from dacapo.task_suspended where $2 = 'blocked' and reason = 'blocked'
        ) as task
        -- `offset 0`: looked up one by one, whatever the planner believes; the rows of runs may be large.
        cross join lateral (
            select * from dacapo.run where run.id = task.run_id offset 0
        ) as run
        where $11 = 'task' and not (select newest from is_enough)
            and run.namespace = $1
            and (run.cancel_requested_at is null or $2 = 'blocked')
            and ($3::text is null or run.workflow = $3)
            and ($12::text[] is null or run.workflow like any ($12))
            and ($4::integer is null or run.deployment_id in (select id from deployments))
            and ($5::text is null or run.labels @> $5::text::jsonb)
            and run.created_at >= coalesce($7, '-infinity')
            and (run.created_at, run.id) < (coalesce($8, 'infinity'), coalesce($9, '00000000-0000-0000-0000-000000000000'))
    )
    union all
    (
        select run.id, run.created_at
        from dacapo.run
        where $11 = 'cancel'
            and run.namespace = $1 and run.cancel_requested_at is not null and run.status = 'active'
            and not exists (select from dacapo.task_suspended where run_id = run.id and reason = 'blocked')
            and ($3::text is null or run.workflow = $3)
            and ($12::text[] is null or run.workflow like any ($12))
            and ($4::integer is null or run.deployment_id in (select id from deployments))
            and ($5::text is null or run.labels @> $5::text::jsonb)
            and run.created_at >= coalesce($7, '-infinity')
            and (run.created_at, run.id) < (coalesce($8, 'infinity'), coalesce($9, '00000000-0000-0000-0000-000000000000'))
        order by run.created_at desc, run.id desc
        limit $10
    )
    union all
    (
        select bad.run_id, bad.created_at
        from dacapo.unsuccessful as bad
        where $11 = 'unsuccessful' and $5::text is null and $6::text is null
            and bad.namespace = $1
            and bad.status = $2
            and ($3::text is null or bad.workflow = $3)
            and ($12::text[] is null or bad.workflow like any ($12))
            and ($4::integer is null or bad.deployment_id in (select id from deployments))
            and bad.created_at >= coalesce($7, '-infinity')
            and (bad.created_at, bad.run_id) < (coalesce($8, 'infinity'), coalesce($9, '00000000-0000-0000-0000-000000000000'))
        order by bad.created_at desc, bad.run_id desc
        limit $10
    )
    union all
    (
        select bad.id, bad.created_at
        from (
            select run_id as id, namespace, status, workflow, deployment_id, created_at
            from dacapo.unsuccessful
            where $11 = 'unsuccessful' and not (select unsuccessful from is_enough)
                and ($5::text is null or labels @> $5::text::jsonb)
                and ($6::text is null or words @@ dacapo.failure_query($6))
                and ($5::text is not null or $6::text is not null)
            offset 0
        ) as bad
        where bad.namespace = $1
            and ($2::text is null or bad.status = $2)
            and ($3::text is null or bad.workflow = $3)
            and ($12::text[] is null or bad.workflow like any ($12))
            and ($4::integer is null or bad.deployment_id in (select id from deployments))
            and bad.created_at >= coalesce($7, '-infinity')
            and (bad.created_at, bad.id) < (coalesce($8, 'infinity'), coalesce($9, '00000000-0000-0000-0000-000000000000'))
    )
)
select id as "id!"
from found
order by created_at desc, id desc
limit $10
