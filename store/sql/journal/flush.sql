-- One flush: everything that a worker's runs have handed over, in one statement and so in one commit.
-- Called by: the journal writer of a worker, one call at a time for each of its connections.
-- Answers one row: `fenced` is true when the connection's fence is closed, and then nothing at all was written; `gone` holds the
-- runs that were given up as asked. A run that asked to be suspended and is not in `gone` has something new in its inbox
-- (or a new signal): it stays leased.
-- Locks, in this order: the connection's own fence row (share), the task rows of its runs, their run rows.
-- Indexes: fence_pkey, step_pkey, attempt_pkey, event_pkey, task_leased_pkey, run_pkey.
-- `any` of one is looked up by key, whatever the planner believes (claim.sql says why).
with fence as materialized (
    select worker_id
    from dacapo.fence
    where worker_id = $1 and connection = $2 and open
    for share
),
recorded as (
    insert into dacapo.step (run_id, key, position, kind, outcome, payload, due, started_at, finished_at)
    select r.run_id, r.key, r.position, r.kind, r.outcome, r.payload,
        r.due,
        r.started_at,
        r.finished_at
    from fence, unnest(
        $3::uuid[], $4::text[], $5::integer[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[]
    ) as r (run_id, key, position, kind, outcome, payload, due, started_at, finished_at)
),
-- A wait keeps the time that it was due; a step has one only while it waits for its next attempt.
updated_open as (
    update dacapo.step
    set outcome = o.outcome, payload = o.payload, finished_at = o.finished_at,
        due = case when step.kind = 'step' then o.due else step.due end
    from fence, unnest($12::uuid[], $13::text[], $14::text[], $15::text[], $16::timestamptz[], $17::timestamptz[])
        as o (run_id, key, outcome, payload, finished_at, due)
    where step.run_id = any (array[o.run_id]) and step.key = o.key and step.outcome is null
),
failed_attempts as (
    insert into dacapo.attempt (run_id, key, number, started_at, finished_at, failure, worker)
    select a.run_id, a.key, a.number, a.started_at, a.finished_at, a.failure,
        coalesce((select name from dacapo.worker where id = $1), $1::text)
    from fence, unnest($42::uuid[], $43::text[], $44::integer[], $45::timestamptz[], $46::timestamptz[], $47::text[])
        as a (run_id, key, number, started_at, finished_at, failure)
),
taken as (
    update dacapo.event
    set taken_by = t.key
    from fence, unnest($18::uuid[], $19::integer[], $20::text[]) as t (run_id, seq, key)
    where event.run_id = any (array[t.run_id]) and event.seq = t.seq and event.taken_by is null
),
logged as (
    insert into dacapo.log (run_id, id, at, level, step, source, message, fields)
    select l.run_id, l.id, l.at, l.level, l.step, l.source, l.message, l.fields
    from fence, unnest(
        $21::uuid[], $22::uuid[], $23::timestamptz[], $24::text[], $25::text[], $26::text[], $27::text[], $28::text[]
    ) as l (run_id, id, at, level, step, source, message, fields)
),
finished as (
    delete from dacapo.task_leased
    using fence, unnest($29::uuid[], $30::text[], $31::text[], $32::text[]) as f (run_id, status, output, failure)
    where task_leased.run_id = any (array[f.run_id]) and task_leased.worker_id = fence.worker_id
    returning task_leased.run_id, task_leased.started_at, f.status, f.output, f.failure
),
ended as (
    update dacapo.run
    set status = finished.status, output = finished.output, failure = finished.failure,
        started_at = finished.started_at, finished_at = clock_timestamp()
    from finished
    where run.id = any (array[finished.run_id])
    returning run.id
),
given_up as (
    delete from dacapo.task_leased
    using fence, unnest(
        $33::uuid[], $34::text[], $35::text[], $36::timestamptz[], $37::boolean[], $38::text[], $39::integer[], $40::text[]
    ) as s (run_id, reason, events, wake_at, paused, blocked, inbox_seq, signal)
    where task_leased.run_id = any (array[s.run_id])
        and task_leased.worker_id = fence.worker_id
        and (
            -- A run that is to be ended at once must not be kept instead: its worker hands it back, and it is ended by the next claim.
            (s.reason = 'blocked' and coalesce(task_leased.signal, '') not in ('kill', 'deadline'))
            or (task_leased.inbox_seq = s.inbox_seq and task_leased.signal is not distinct from s.signal)
        )
    returning task_leased.run_id, s.reason, s.events, s.wake_at, s.paused, s.blocked,
        task_leased.started_at, task_leased.inbox_seq, task_leased.queue, task_leased.queue_key, task_leased.priority
),
suspended as (
    insert into dacapo.task_suspended (
        run_id, reason, events, wake_at, paused, blocked, started_at, inbox_seq, queue, queue_key, priority
    )
    select run_id, reason, string_to_array(events, '#'),
        wake_at,
        paused, blocked, started_at, inbox_seq, queue, queue_key, priority
    from given_up
),
told as (
    select pg_notify('dacapo_run', n.payload)
    from fence, unnest($41::text[]) as n (payload)
)
select
    not exists (select from fence) as "fenced!",
    array(select run_id from given_up) || array(select id from ended) as "gone!",
    (select count(*) from told) as "told!"
