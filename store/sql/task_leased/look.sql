-- What was sent to a leased run since its worker last looked. Zero rows: the worker does not hold the run (any more).
-- Called by: a worker whose suspend was refused, or which was told of a signal. Locks: nothing.
-- Indexes: task_leased_pkey, event_pkey.
-- The task row is read before the inbox in one snapshot, and senders write both in one transaction: what `inbox_seq` counts
-- is in the arrays.
select
    task_leased.inbox_seq as "inbox_seq!",
    task_leased.signal,
    inbox.seqs as "seqs?: Vec<i32>", inbox.names as "names?: Vec<String>", inbox.event_payloads as "event_payloads?: Vec<String>", inbox.received_ats as "received_ats?: Vec<Option<Time>>"
from dacapo.task_leased
cross join lateral (
    select
        array_agg(event.seq) as seqs,
        array_agg(event.name) as names,
        array_agg(event.payload) as event_payloads,
        array_agg(event.received_at) as received_ats
    from dacapo.event
    where event.run_id = task_leased.run_id and event.taken_by is null
) as inbox
where task_leased.run_id = $1 and task_leased.worker_id = $2
