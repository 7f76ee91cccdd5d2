-- Starts the children of a flush, and notes which of its runs have ended before theirs: $9. The second half of a flush, in its transaction:
-- most flushes have neither, and would take longer to set up for it.
-- Called by: the journal writer of a worker, after flush.sql has found the fence open, which it holds until the end.
-- A child that is there already was started by an earlier life of its parent.
-- Locks: none that others wait for. Indexes: run_pkey, child_pkey, task_ready_pkey, deadline_pkey.
with children as (
    insert into dacapo.run (id, namespace, workflow, deployment_id, input, labels, deadline, priority, parent, depth)
    select c.id, parent.namespace, c.workflow, c.deployment_id, c.input,
        coalesce(
            c.labels::jsonb,
            (select jsonb_object_agg(name, value) from jsonb_each(parent.labels) as l (name, value) where name not like 'dacapo.%'),
            '{}'
        ),
        clock_timestamp() + c.deadline_ms * interval '1 millisecond',
        parent.priority, c.parent, parent.depth + 1
    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[])
        as c (parent, id, workflow, deployment_id, input, labels, deadline_ms)
    join dacapo.run as parent on parent.id = c.parent
    on conflict (id) do nothing
    returning id, deadline, priority
),
links as (
    insert into dacapo.child (parent, run_id, detached)
    select * from unnest($1::uuid[], $2::uuid[], $8::boolean[])
    on conflict do nothing
),
deadlines as (
    insert into dacapo.deadline (run_id, at)
    select id, deadline from children where deadline is not null
),
tasks as (
    insert into dacapo.task_ready (run_id, ready_at, priority)
    select id, dacapo.place_in_line(priority), priority from children
    returning priority
),
left_over as (
    insert into dacapo.child_cancel (parent)
    select parent from unnest($9::uuid[]) as ended (parent)
    on conflict do nothing
    returning parent
)
select
    (
        select count(pg_notify('dacapo_ready', case when priority > 0 then 'first' else '' end))
        from (select max(priority) as priority from tasks having count(*) > 0) as first_of_them
    )
    + (select count(pg_notify('dacapo_children', '')) from (select from left_over limit 1) as any_of_them) as "told!"
