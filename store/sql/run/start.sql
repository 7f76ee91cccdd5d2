-- Starts runs: their rows and their tasks, in one statement, and tells the workers once, however many they are.
-- For runs that are in no named queue, have no priority and begin at once: a statement of its own beside start_placed.sql, which takes a third
-- longer to set up.
-- Called by: clients, also inside a transaction of theirs. Answers one row for each run that its deployment ($4) still takes, being
-- active or rolled out; the others were not written. `created` is false when a run with this id was there already: nothing was written for it, and `input`
-- and `workflow`, which only then are answered, are what that run was started with (none when a rival committed it while this statement
-- ran).
-- Locks: none that others wait for, unless ids are keyed: two starts that bring several of the same in different orders deadlock.
-- Indexes: deployment_pkey, run_pkey, deadline_pkey, task_ready_pkey. A run is looked up only if it was not created, and row by row: a
-- caller's own connection may plan for the few runs that there were when the table was last looked at, and keep that plan.
with given as (
    select *
    from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
        as g (id, workflow, input, deployment_id, labels, deadline_ms)
),
target as materialized (
    select given.*, deployment.namespace
    from given
    join dacapo.deployment on deployment.id = given.deployment_id
        -- Asked only while another one is rolled out beside it, or of one that is not active.
        and (deployment.active and not deployment.shared or dacapo.takes(deployment.id, given.id, given.workflow, given.labels::jsonb))
),
created as (
    insert into dacapo.run (id, namespace, workflow, deployment_id, input, labels, deadline)
    select id, namespace, workflow, deployment_id, input, labels::jsonb, clock_timestamp() + deadline_ms * interval '1 millisecond'
    from target
    on conflict (id) do nothing
    returning id, deadline
),
timed as (
    insert into dacapo.deadline (run_id, at)
    select id, deadline from created where deadline is not null
),
queued as (
    insert into dacapo.task_ready (run_id)
    select id from created
    returning run_id
),
told as (
    select pg_notify('dacapo_ready', '')
    from (select from queued limit 1) as any_of_them
),
known as (
    select id, id in (select id from created) as created
    from target
)
select
    known.id as "id!",
    known.created as "created!",
    run.input as "input?",
    run.workflow as "workflow?",
    (select count(*) from told) as "told!"
from known
left join lateral (
    select run.input, run.workflow
    from dacapo.run
    where run.id = known.id and not known.created
    limit 1
) as run on true
