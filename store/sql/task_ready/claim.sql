-- Leases up to $3 runs that are in no named queue to a worker, the first in line first, together with all that is needed to play them.
-- A statement of its own beside claim_sources.sql, which takes a fifth longer to set up: most databases have no named queues.
-- Called by: the claim tick of a worker that knows of no named queues and no paused workflows. Zero rows: nothing is ready, the worker's
-- fence is closed, or somebody has paused a workflow or everything, of which the worker will hear.
-- $4 is a lower bound of `ready_at` from which the index is read, so that a claim does not walk over entries of rows that are
-- gone but still visible to somebody's old snapshot; what stands in front of it `look_back.sql` looks for.
-- Locks: the connection's own fence row (share), the task_ready rows (skipping those locked by others).
-- Indexes: task_ready_in_order, run_pkey, step_pkey, attempt_pkey, event_pkey.
-- A task row that is visible has not moved since, so its journal in the same snapshot is whole; what was sent to the run
-- after the snapshot shows when the worker compares `inbox_seq`.
with fence as materialized (
    select worker_id
    from dacapo.fence
    where worker_id = $1 and connection = $2 and open
        and not exists (select from dacapo.standstill)
        and not exists (select from dacapo.paused_workflow where not resumed)
    for share of fence
),
claimed as (
    delete from dacapo.task_ready
    using fence
    where run_id = any (array(
        select run_id
        from dacapo.task_ready
        where queue is null and ready_at >= $4 and exists (select from fence)
        order by ready_at, run_id
        limit $3
        for update skip locked
    ))
    returning run_id, ready_at, coalesce(started_at, clock_timestamp()) as started_at, inbox_seq, signal, takeovers, takeover_progress,
        priority
),
leased as (
    insert into dacapo.task_leased (run_id, worker_id, started_at, inbox_seq, signal, takeovers, takeover_progress, priority)
    select run_id, $1, started_at, inbox_seq, signal, takeovers, takeover_progress, priority
    from claimed
)
select
    claimed.run_id as "run_id!",
    claimed.ready_at as "ready_at!: Time",
    seen.inbox_seq as "inbox_seq!",
    claimed.signal,
    claimed.takeovers as "takeovers!",
    run.namespace as "namespace!",
    run.workflow as "workflow!",
    run.deployment_id as "deployment_id!",
    run.input as "input!",
    run.labels::text as "labels!",
    -- A run that goes on from the journal of another one goes on with its time and its randomness, too.
    coalesce(run.origin_id, run.id) as "seed!",
    coalesce(run.origin_created_at, run.created_at) as "created_at!: Time",
    run.deadline as "deadline: Time",
    run.retries as "retries!",
    clock_timestamp() as "claimed_at!: Time",
    journal.keys as "keys?", journal.kinds as "kinds?", journal.outcomes as "outcomes?", journal.payloads as "payloads?",
    journal.positions as "positions?: Integers",
    journal.finished_ats as "finished_ats?: Times",
    journal.open_started_ats as "open_started_ats?: Times",
    journal.open_dues as "open_dues?: Times",
    journal.open_failed_attempts as "open_failed_attempts?: Integers",
    inbox.seqs as "seqs?: Vec<i32>", inbox.names as "names?: Vec<String>", inbox.event_payloads as "event_payloads?: Vec<String>", inbox.received_ats as "received_ats?: Vec<Option<Time>>"
from claimed
-- `any` of one is looked up by key, whatever the planner believes: beside `=` it would also walk over the whole index in its order to find what it
-- takes for few rows, as a table looks to it whose rows are all gone but still visible to somebody's old snapshot.
join dacapo.run on run.id = any (array[claimed.run_id])
-- As the snapshot has it, like the inbox below: what was sent later is not in either, and so will be looked for.
join dacapo.task_ready as seen on seen.run_id = any (array[claimed.run_id])
cross join lateral (
    -- One text for each column, instead of an array: that takes half the time for a long journal. Neither keys nor JSON can hold the
    -- control character that stands between.
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
    where step.run_id = claimed.run_id
) as journal
cross join lateral (
    select
        array_agg(event.seq) as seqs,
        array_agg(event.name) as names,
        array_agg(event.payload) as event_payloads,
        array_agg(event.received_at) as received_ats
    from dacapo.event
    where event.run_id = claimed.run_id and event.taken_by is null
) as inbox
