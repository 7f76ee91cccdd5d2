-- Deletes runs that have ended and been kept for long enough, with their steps, attempts, events, log lines and what people did to them: one
-- small batch.
-- Looks at up to $4 runs of a namespace ($1) in the order of their creation, after the place $2, $3; of those that are due it deletes
-- so many that their rows are not many more than $5, at least one. Answers how many were deleted, where to go on, and whether the
-- namespace is done. A run that is not done is never due, whatever it waits for.
-- Called by: the worker whose turn it is. Locks: the rows of runs that have ended (skipping those locked by others), which nobody
-- needs; the only row of retention_turn, which only sweepers take. Indexes: run_by_creation, run_pkey, workflow_retention_by_length,
-- workflow_retention_pkey, the keys of the others.
with turn as (
    update dacapo.retention_turn set next_at = clock_timestamp() + interval '10 minutes'
),
-- Whatever was created later than this has not been kept for long enough by any rule or manifest.
latest as materialized (
    select statement_timestamp() - least(
        (select min(keep_seconds) from dacapo.retention where namespace in ('*', $1)),
        (select min(keep_seconds) from dacapo.workflow_retention where namespace = $1)
    ) * interval '1 second' as created_at
),
examined as materialized (
    select id, workflow, deployment_id, status, created_at, finished_at
    from dacapo.run
    where namespace = $1
        and (created_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::uuid, '00000000-0000-0000-0000-000000000000'))
        and created_at < (select created_at from latest)
    order by created_at, id
    limit $4
),
-- Runs of one kind are kept for the same time, and there are few kinds: what it is is asked once for each, and not for each run.
kinds as materialized (
    select distinct deployment_id, workflow, status
    from examined
    where status <> 'active'
),
ruled as materialized (
    select kinds.*, rule.keep_seconds
    from kinds
    cross join lateral (
        select keep_seconds
        from (
            select namespace, workflow, status, keep_seconds, false as is_manifest
            from dacapo.retention
            where retention.namespace in ('*', $1)
                and retention.workflow in ('*', kinds.workflow)
                and retention.status in ('*', kinds.status)
            union all
            select $1, workflow, status, keep_seconds, true
            from dacapo.workflow_retention as said
            where said.deployment_id = kinds.deployment_id and said.workflow = kinds.workflow and said.status = kinds.status
        ) as rules
        -- A person's rule for this very workflow comes before its manifest, which comes before the other rules.
        order by namespace <> '*' desc, workflow <> '*' desc, is_manifest, status <> '*' desc
        limit 1
    ) as rule
),
due as materialized (
    select examined.id, examined.created_at
    from examined
    join ruled as rule using (deployment_id, workflow, status)
    where examined.finished_at < statement_timestamp() - rule.keep_seconds * interval '1 second'
        -- Whoever imported it wants to look at it.
        and not exists (
            select from dacapo.intervention
            where run_id = examined.id and action = 'import'
                and at >= statement_timestamp() - rule.keep_seconds * interval '1 second'
        )
),
-- Somebody may have set one of them going again since.
locked as materialized (
    select id, created_at
    from dacapo.run
    where id = any (array(select id from due)) and status <> 'active'
    for update skip locked
),
counted as materialized (
    select
        id, created_at,
        1 + (select count(*) from dacapo.step where step.run_id = locked.id)
            + (select count(*) from dacapo.attempt where attempt.run_id = locked.id)
            + (select count(*) from dacapo.event where event.run_id = locked.id)
            + (select count(*) from dacapo.log where log.run_id = locked.id)
            + (select count(*) from dacapo.intervention where intervention.run_id = locked.id) as size
    from locked
),
sized as materialized (
    select id, created_at, sum(size) over (order by created_at, id) - size < $5::bigint as fits
    from counted
),
-- By arrays and not by joins: those could be planned as reading all of a table that was small once.
steps as (
    delete from dacapo.step where run_id = any (array(select id from sized where fits))
),
attempts as (
    delete from dacapo.attempt where run_id = any (array(select id from sized where fits))
),
deadlines as (
    delete from dacapo.deadline where run_id = any (array(select id from sized where fits))
),
sql_steps as (
    delete from dacapo.sql_step where run_id = any (array(select id from sized where fits))
),
events as (
    delete from dacapo.event where run_id = any (array(select id from sized where fits))
),
lines as (
    delete from dacapo.log where run_id = any (array(select id from sized where fits))
),
said as (
    delete from dacapo.progress where run_id = any (array(select id from sized where fits))
),
interventions as (
    delete from dacapo.intervention where run_id = any (array(select id from sized where fits))
),
bad as (
    delete from dacapo.unsuccessful where run_id = any (array(select id from sized where fits))
),
children as (
    delete from dacapo.child where parent = any (array(select id from sized where fits))
),
runs as (
    delete from dacapo.run where id = any (array(select id from sized where fits))
    returning id
),
place as (
    select created_at, id
    from examined
    where not exists (select from sized where not fits)
        or (created_at, id) <= (select created_at, id from sized where fits order by created_at desc, id desc limit 1)
    order by created_at desc, id desc
    limit 1
)
select
    (select count(*) from runs) as "deleted!",
    (select created_at from place) as "place_time: Time",
    (select id from place) as "place_id",
    (select count(*) from examined) < $4 and not exists (select from sized where not fits) as "is_done!"
