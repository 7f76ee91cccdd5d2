-- The journal of a run, in the order in which it was first reached. Called by: clients. Index: step_pkey.
select
    key, position, kind, outcome, payload,
    due as "due: Time",
    started_at as "started_at!: Time",
    finished_at as "finished_at: Time"
from dacapo.step
where run_id = $1
order by position
