-- Writes a run that comes from another database: its row ($2 id, $3 workflow, $6 to $17), its journal ($18), attempts ($19), events ($20),
-- what people did to it ($21) and log ($22), each an array of JSON objects, on the newest deployment of package $5 in namespace $1 that
-- has the component $4. A run that has not ended is paused; if its deadline has passed it gets as long again as it had. $23 is who does it,
-- $24 what exactly; $25 to $28 are how far it is, as its code said last.
-- Called by: clients. Answers one word: `imported`, `exists` when there is a run with this id, `no-deployment`.
-- Locks: none that others wait for. Indexes: run_pkey, deployment_number_unique, step_pkey, attempt_pkey, event_pkey, log_pkey.
with target as materialized (
    select id
    from dacapo.deployment
    where namespace = $1 and package = $5 and digest = $4
    order by number desc
    limit 1
),
created as (
    insert into dacapo.run (
        id, namespace, workflow, deployment_id, status, input, output, failure, labels, created_at, started_at, finished_at, deadline,
        cancel_requested_at, origin_id, origin_created_at
    )
    select
        $2, $1, $3, target.id, $6, $7, $8, $9, $10::text::jsonb, $11::timestamptz, $12::timestamptz, $13::timestamptz,
        case
            when $6 = 'active' and $14::timestamptz <= clock_timestamp() then clock_timestamp() + ($14 - $11)
            else $14
        end,
        $15::timestamptz, $16::uuid, $17::timestamptz
    from target
    on conflict (id) do nothing
    returning id, status, started_at, deadline
),
steps as (
    insert into dacapo.step (run_id, key, position, kind, outcome, payload, due, started_at, finished_at)
    select created.id, s.key, s.position, s.kind, s.outcome, s.payload, s.due, s.started_at, s.finished_at
    from created
    cross join json_to_recordset($18::text::json) as s (
        key text, position integer, kind text, outcome text, payload text, due timestamptz, started_at timestamptz,
        finished_at timestamptz
    )
),
attempts as (
    insert into dacapo.attempt (run_id, key, number, started_at, finished_at, failure, worker)
    select created.id, a.key, a.number, a.started_at, a.finished_at, a.failure, a.worker
    from created
    cross join json_to_recordset($19::text::json) as a (
        key text, number integer, started_at timestamptz, finished_at timestamptz, failure text, worker text
    )
),
events as (
    insert into dacapo.event (run_id, seq, name, payload, delivery_id, received_at, taken_by)
    select created.id, e.seq, e.name, e.payload, e.delivery_id, e.received_at, e.taken_by
    from created
    cross join json_to_recordset($20::text::json) as e (
        seq integer, name text, payload text, delivery_id text, received_at timestamptz, taken_by text
    )
    returning seq
),
interventions as (
    insert into dacapo.intervention (run_id, at, action, who, details)
    select created.id, i.at, i.action, i.who, i.details
    from created
    cross join json_to_recordset($21::text::json) as i (at timestamptz, action text, who text, details text)
    union all
    select created.id, clock_timestamp(), 'import', $23, $24 from created
),
lines as (
    insert into dacapo.log (run_id, id, at, level, step, source, message, fields)
    select created.id, l.id, l.at, l.level, l.step, l.source, l.message, l.fields
    from created
    cross join json_to_recordset($22::text::json) as l (
        id uuid, at timestamptz, level text, step text, source text, message text, fields text
    )
),
said as (
    insert into dacapo.progress (run_id, done, total, note, at)
    select id, $25::bigint, $26::bigint, $27::text, $28::timestamptz
    from created
    where $25 is not null
),
timed as (
    insert into dacapo.deadline (run_id, at)
    select id, deadline from created where status = 'active' and deadline is not null
),
suspended as (
    insert into dacapo.task_suspended (run_id, reason, paused, started_at, inbox_seq)
    select id, 'boundary', true, started_at, coalesce((select max(seq) from events), 0)
    from created
    where status = 'active'
)
select case
    when exists (select from created) then 'imported'
    when not exists (select from target) then 'no-deployment'
    else 'exists'
end as "answer!"
