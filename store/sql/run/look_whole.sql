-- All that is needed to play the runs $1 from the top without leasing them, and the events that they have not taken. In any order; runs that
-- are not there are left out. Called by: whoever proves a deployment, or repairs runs. Locks: nothing. Indexes: run_pkey, step_pkey,
-- attempt_pkey, event_pkey, the keys of the task tables.
select
    run.id as "run_id!",
    run.workflow as "workflow!",
    run.status as "status!",
    run.failure as "failure?",
    task.inbox_seq as "inbox_seq?",
    run.input as "input!",
    run.labels::text as "labels!",
    coalesce(run.origin_id, run.id) as "seed!",
    coalesce(run.origin_created_at, run.created_at) as "created_at!: Time",
    run.retries as "retries!",
    journal.keys as "keys?", journal.kinds as "kinds?", journal.outcomes as "outcomes?", journal.payloads as "payloads?",
    journal.positions as "positions?: Integers",
    journal.finished_ats as "finished_ats?: Times",
    journal.open_started_ats as "open_started_ats?: Times",
    journal.open_dues as "open_dues?: Times",
    journal.open_failed_attempts as "open_failed_attempts?: Integers",
    inbox.names as "names?: Vec<String>", inbox.event_payloads as "event_payloads?: Vec<String>"
from unnest($1::uuid[]) as asked (id)
join dacapo.run on run.id = asked.id
left join lateral (
    select inbox_seq from dacapo.task_ready where run_id = run.id
    union all
    select inbox_seq from dacapo.task_leased where run_id = run.id
    union all
    select inbox_seq from dacapo.task_suspended where run_id = run.id
    limit 1
) as task on true
cross join lateral (
    select
        string_agg(step.key, e'\x1f') as keys,
        string_agg(step.kind, e'\x1f') as kinds,
        string_agg(coalesce(step.outcome, ''), e'\x1f') as outcomes,
        string_agg(coalesce(step.payload, ''), e'\x1f') as payloads,
        array_agg(step.position) as positions,
        array_agg(step.finished_at) as finished_ats,
        array_agg(step.started_at) filter (where step.outcome is null) as open_started_ats,
        array_agg(step.due) filter (where step.outcome is null) as open_dues,
        array_agg((
            select count(*)::integer
            from dacapo.attempt
            where attempt.run_id = step.run_id and attempt.key = step.key
        )) filter (where step.outcome is null) as open_failed_attempts
    from dacapo.step
    where step.run_id = run.id
) as journal
cross join lateral (
    select array_agg(event.name order by event.seq) as names, array_agg(event.payload order by event.seq) as event_payloads
    from dacapo.event
    where event.run_id = run.id and event.taken_by is null and event.name !~ '/'
) as inbox
