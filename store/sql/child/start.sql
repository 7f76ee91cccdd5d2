-- Starts the children of a flush, and notes which of its runs have ended before theirs: $9. The second half of a flush, in its transaction:
-- most flushes have neither, and would take longer to set up for it.
-- Called by: the journal writer of a worker, after flush.sql has found the fence open, which it holds until the end.
-- A child that is there already was started by an earlier life of its parent. One whose queue ($10) has just been deleted is in none. One
-- whose deployment was retired, or is gone, since its parent asked for it goes to the active one of its workflow.
-- Locks: the rows of named queues (key share, which only taking one away waits for); else none that others wait for.
-- Indexes: run_pkey, deployment_pkey, child_pkey, queue_name_unique, task_ready_pkey, task_suspended_pkey, deadline_pkey; workflow_by_function.
with given as materialized (
    select c.parent, c.id, c.workflow, c.input, c.labels, c.deadline_ms, c.queue, c.concurrency_key, parent.namespace, parent.labels as parent_labels, parent.depth + 1 as depth,
        case
            when found.retired_at is null and found.id is not null then found.id
            else coalesce(
                (
                    select active.id
                    from dacapo.workflow
                    join dacapo.deployment as active on active.id = workflow.deployment_id
                    where active.namespace = parent.namespace and active.active
                        and workflow.function = regexp_replace(c.workflow, '^.*\.', '') and workflow.name = c.workflow
                ),
                c.deployment_id
            )
        end as deployment_id,
        case when c.own_priority is null then parent.priority else nullif(c.own_priority, 0) end as priority
    from unnest(
        $1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $10::text[], $11::text[], $12::smallint[]
    ) as c (parent, id, workflow, deployment_id, input, labels, deadline_ms, queue, concurrency_key, own_priority)
    join dacapo.run as parent on parent.id = c.parent
    left join dacapo.deployment as found on found.id = c.deployment_id
),
named as materialized (
    select id, namespace, name, holds
    from dacapo.queue
    where (namespace, name) in (select given.namespace, given.queue from given where given.queue is not null)
    for key share
),
placed as materialized (
    select given.*, named.id as queue_id, coalesce(named.holds, false) as is_held
    from given
    left join named on named.namespace = given.namespace and named.name = given.queue
),
children as (
    insert into dacapo.run (
        id, namespace, workflow, deployment_id, input, labels, deadline, queue, priority, concurrency_key, parent, depth
    )
    select id, namespace, workflow, deployment_id, input,
        coalesce(
            labels::jsonb,
            (select jsonb_object_agg(name, value) from jsonb_each(parent_labels) as l (name, value) where name not like 'dacapo.%'),
            '{}'
        ),
        clock_timestamp() + deadline_ms * interval '1 millisecond',
        case when queue_id is not null then queue end, priority, case when queue_id is not null then concurrency_key end, parent, depth
    from placed
    on conflict (id) do nothing
    returning id, deadline
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
    insert into dacapo.task_ready (run_id, ready_at, queue, queue_key, priority)
    select id, dacapo.place_in_line(priority), queue_id, case when queue_id is not null then coalesce(concurrency_key, '') end, priority
    from placed
    where id in (select id from children) and not is_held
    returning priority
),
held as (
    insert into dacapo.task_suspended (run_id, reason, queued_at, inbox_seq, queue, queue_key, priority)
    select id, 'queue', dacapo.place_in_line(priority), 0, queue_id, coalesce(concurrency_key, ''), priority
    from placed
    where id in (select id from children) and is_held
    returning queue
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
    + (
        select count(pg_notify('dacapo_held', queues))
        from (select string_agg(distinct queue::text, ',') as queues from held having count(*) > 0) as of_them
    )
    + (select count(pg_notify('dacapo_children', '')) from (select from left_over limit 1) as any_of_them) as "told!"
