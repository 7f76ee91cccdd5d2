-- Starts runs of which some are in a named queue, have a priority, or begin later: their rows and their tasks, in one statement, and tells the workers once, however many they are.
-- Called by: clients, also inside a transaction of theirs. Answers one row for each run that its deployment ($4) still takes, being
-- active or rolled out; the others were not written. `has_queue` is false when there is no such queue ($7) in its namespace: nothing was written for it. `created` is
-- false when a run with this id was there already: nothing was written for it, and `input` and `workflow`, which only then are answered, are
-- what that run was started with (none when a rival committed it while this statement ran).
-- A run that is to begin later ($10: at a time, $11: after so many milliseconds) waits for that, one of a queue with limits for its turn.
-- Locks: the rows of named queues (key share, which only taking one away waits for); else none that others wait for, unless ids are keyed:
-- two starts that bring several of the same in different orders deadlock.
-- Indexes: deployment_pkey, queue_name_unique, run_pkey, deadline_pkey, the keys of the task tables. A run is looked up only if it was not
-- created, and row by row: a caller's own connection may plan for the few runs that there were when the table was last looked at, and keep
-- that plan.
with given as (
    select *
    from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[],
        $7::text[], $8::smallint[], $9::text[], $10::timestamptz[], $11::bigint[]
    ) as g (id, workflow, input, deployment_id, labels, deadline_ms, queue, priority, concurrency_key, begin_at, delay_ms)
),
target as materialized (
    select given.*, deployment.namespace
    from given
    join dacapo.deployment on deployment.id = given.deployment_id
        -- Asked only while another one is rolled out beside it, or of one that is not active.
        and (deployment.active and not deployment.shared or dacapo.takes(deployment.id, given.id, given.workflow, given.labels::jsonb))
),
named as materialized (
    select id, namespace, name, holds
    from dacapo.queue
    where (namespace, name) in (select target.namespace, target.queue from target where target.queue is not null)
    for key share
),
-- Whether a run waits is decided once: the clock goes on.
placed as materialized (
    select target.*, named.id as queue_id, coalesce(named.holds, false) as is_held,
        case
            when begin_at > clock_timestamp() then begin_at
            when delay_ms > 0 then clock_timestamp() + delay_ms * interval '1 millisecond'
        end as waits_until
    from target
    left join named on named.namespace = target.namespace and named.name = target.queue
),
created as (
    insert into dacapo.run (
        id, namespace, workflow, deployment_id, input, labels, deadline, queue, priority, concurrency_key
    )
    select id, namespace, workflow, deployment_id, input, labels::jsonb, clock_timestamp() + deadline_ms * interval '1 millisecond',
        queue, priority, concurrency_key
    from placed
    where queue is null or queue_id is not null
    on conflict (id) do nothing
    returning id, deadline
),
timed as (
    insert into dacapo.deadline (run_id, at)
    select id, deadline from created where deadline is not null
),
ready as (
    insert into dacapo.task_ready (run_id, ready_at, queue, queue_key, priority)
    select id, dacapo.place_in_line(priority), queue_id, case when queue_id is not null then coalesce(concurrency_key, '') end, priority
    from placed
    where id in (select id from created) and not is_held and waits_until is null
    returning priority
),
held as (
    insert into dacapo.task_suspended (run_id, reason, queued_at, inbox_seq, queue, queue_key, priority)
    select id, 'queue', dacapo.place_in_line(priority), 0, queue_id, coalesce(concurrency_key, ''), priority
    from placed
    where id in (select id from created) and is_held and waits_until is null
    returning queue
),
delayed as (
    insert into dacapo.task_suspended (run_id, reason, wake_at, inbox_seq, queue, queue_key, priority)
    select id, 'delay', waits_until, 0, queue_id, case when queue_id is not null then coalesce(concurrency_key, '') end, priority
    from placed
    where id in (select id from created) and waits_until is not null
    returning wake_at
),
told as (
    -- Those with a priority may be earlier in line than where the workers look.
    select pg_notify('dacapo_ready', case when max(priority) > 0 then 'first' else '' end)
    from ready
    having count(*) > 0
    union all
    select pg_notify('dacapo_held', string_agg(distinct queue::text, ',')) from held having count(*) > 0
    union all
    select pg_notify('dacapo_due', floor(extract(epoch from min(wake_at)) * 1000000)::bigint::text) from delayed having count(*) > 0
),
known as (
    select id, id in (select id from created) as created, queue is null or queue_id is not null as has_queue
    from placed
)
select
    known.id as "id!",
    known.created as "created!",
    known.has_queue as "has_queue!",
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
