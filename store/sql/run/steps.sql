-- The journal of a run, in the order in which it was first reached. Called by: clients. Indexes: step_pkey, attempt_pkey.
select
    key, position, kind, outcome, payload,
    due as "due: Time",
    started_at as "started_at!: Time",
    finished_at as "finished_at: Time",
    exists (select from dacapo.attempt where run_id = $1) as "has_failed_attempts!"
from dacapo.step
where run_id = $1
order by position
