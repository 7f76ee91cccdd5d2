-- Starts runs again, each as a new run with the input and the labels of the old one: $1 their ids, $2 those of the old runs, $3 their
-- deployments. With a key $4 the new run's journal begins with all that the old one had reached before that step, and with the events that
-- were taken there; with an empty one, with all that the old one has. A fork around a step that is left out has no outcome any more. Only on deployments that are active, unless $5. $6 is who
-- asks for it.
-- Called by: clients. Answers one row for each: `rerun` (also when it was done before: a new run's id is nobody else's), `not-active`, `retired`,
-- `no-step`, `not-found`, or the status that does not allow it: a run that goes on would do the same beside the new one.
-- Locks: the old runs' rows, so that no sweep deletes them meanwhile.
-- Indexes: run_pkey, deployment_pkey, step_pkey, attempt_pkey, event_pkey, the keys of the task tables.
with given as materialized (
    select * from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as g (new_id, old_id, on_deployment)
),
old as materialized (
    select given.new_id, given.on_deployment, run.*
    from given
    join dacapo.run on run.id = given.old_id
    for key share of run
),
judged as materialized (
    select
        old.new_id,
        run_status.status,
        step.position as from_position,
        case
            when run_status.status not in ('completed', 'failed', 'cancelled', 'blocked') then run_status.status
            when $4::text is not null and step.key is null then 'no-step'
            when deployment.retired_at is not null and $5 then 'retired'
            when not deployment.active and deployment.rollout_percent is null and not $5 then 'not-active'
            else 'rerun'
        end as answer
    from old
    join dacapo.run_status on run_status.run_id = old.id
    join dacapo.deployment on deployment.id = old.on_deployment
    -- Row by row, like the other look-ups here: a plan made for few rows would read all keys there are.
    left join lateral (
        select key, position
        from dacapo.step
        where run_id = old.id and key = $4
        union all
        select '', 2147483647
        where $4 = ''
        limit 1
    ) as step on true
),
created as (
    insert into dacapo.run (
        id, namespace, workflow, deployment_id, input, labels, deadline, origin_id, origin_created_at, queue, priority, concurrency_key
    )
    select
        old.new_id, old.namespace, old.workflow, old.on_deployment, old.input, old.labels,
        clock_timestamp() + (old.deadline - old.created_at),
        case when $4 is not null then coalesce(old.origin_id, old.id) end,
        case when $4 is not null then coalesce(old.origin_created_at, old.created_at) end,
        old.queue, old.priority, old.concurrency_key
    from old
    join judged on judged.new_id = old.new_id and judged.answer = 'rerun'
    on conflict (id) do nothing
    returning id, deadline
),
timed as (
    insert into dacapo.deadline (run_id, at)
    select id, deadline from created where deadline is not null
),
enclosing as materialized (
    select distinct old.new_id, array_to_string(parts[:level], '/') as key
    from old
    join judged on judged.new_id = old.new_id
    join dacapo.step on step.run_id = old.id and step.position >= judged.from_position
    cross join lateral (select string_to_array(step.key, '/') as parts) as split
    cross join lateral generate_series(1, cardinality(parts) - 1) as level
),
kept as materialized (
    select old.new_id, old.id as old_id, step.key, enclosing.key is not null as is_opened
    from created
    join old on old.new_id = created.id
    join judged on judged.new_id = old.new_id
    join dacapo.step on step.run_id = old.id and step.position < judged.from_position
    left join enclosing on step.kind = 'fork'
        and enclosing.new_id = old.new_id and enclosing.key = step.key
),
steps as (
    insert into dacapo.step (run_id, key, position, kind, outcome, payload, due, started_at, finished_at)
    select
        kept.new_id, step.key, step.position, step.kind,
        -- The payload of a fork says how many branches it has, also while it is open.
        case when not is_opened then step.outcome end, step.payload,
        step.due, step.started_at,
        case when not is_opened then step.finished_at end
    from kept
    join dacapo.step on step.run_id = kept.old_id and step.key = kept.key
),
-- Children that had been started are its own, too, but do not end with it.
children as (
    insert into dacapo.child (parent, run_id, detached)
    select kept.new_id, (step.payload::json ->> 'run')::uuid, true
    from kept
    join dacapo.step on step.run_id = kept.old_id and step.key = kept.key
    where step.kind = 'child' and step.outcome = 'ok'
),
attempts as (
    insert into dacapo.attempt (run_id, key, number, started_at, finished_at, failure, worker)
    select kept.new_id, attempt.key, attempt.number, attempt.started_at, attempt.finished_at, attempt.failure, attempt.worker
    from kept
    join dacapo.attempt on attempt.run_id = kept.old_id and attempt.key = kept.key
),
events as (
    insert into dacapo.event (run_id, seq, name, payload, delivery_id, received_at, taken_by)
    select created.id, event.seq, event.name, event.payload, event.delivery_id, event.received_at, event.taken_by
    from created
    join old on old.new_id = created.id
    join judged on judged.new_id = old.new_id
    join dacapo.event on event.run_id = old.id
    cross join lateral (
        select from dacapo.step
        where run_id = old.id and key = event.taken_by and position < judged.from_position
        limit 1
    ) as taken
    returning run_id, seq
),
-- In the queue of the old run, while there is one of that name.
placed as materialized (
    select
        created.id, old.priority, queue.id as queue_id, coalesce(queue.holds, false) as is_held,
        case when queue.id is not null then coalesce(old.concurrency_key, '') end as queue_key,
        coalesce((select max(seq) from events where events.run_id = created.id), 0) as inbox_seq
    from created
    join old on old.new_id = created.id
    left join dacapo.queue on queue.namespace = old.namespace and queue.name = old.queue
),
queued as (
    insert into dacapo.task_ready (run_id, ready_at, inbox_seq, queue, queue_key, priority)
    select id, dacapo.place_in_line(priority), inbox_seq, queue_id, queue_key, priority
    from placed
    where not is_held
    returning run_id
),
held as (
    insert into dacapo.task_suspended (run_id, reason, queued_at, inbox_seq, queue, queue_key, priority)
    select id, 'queue', dacapo.place_in_line(priority), inbox_seq, queue_id, queue_key, priority
    from placed
    where is_held
    returning queue
),
noted as (
    insert into dacapo.intervention (run_id, action, who, details)
    select side.run_id, side.action, $6, json_build_object('run', side.other_id, 'from', $4::text)::text
    from created
    join old on old.new_id = created.id
    cross join lateral (
        values (old.id, 'rerun', old.new_id), (old.new_id, 'rerun-of', old.id)
    ) as side (run_id, action, other_id)
),
told as (
    select pg_notify('dacapo_ready', 'first')
    from (select from queued limit 1) as any_of_them
    union all
    select pg_notify('dacapo_held', string_agg(distinct queue::text, ',')) from held having count(*) > 0
)
select
    given.old_id as "old_id!",
    coalesce(new.answer, judged.answer, 'not-found') as "answer!",
    (select count(*) from told) as "told!"
from given
left join judged on judged.new_id = given.new_id
left join lateral (
    select 'rerun' as answer
    from dacapo.run
    where run.id = given.new_id
    limit 1
) as new on true
