-- What may have changed in the journal of the run $1 for somebody who knows it up to the position $2: the rows behind that, those at the
-- positions $3, which were not written yet, and those of the keys $4, which were open. Each with what the whole journal comes to at the same
-- moment: how many rows, how many with an outcome, when the last of these came out. Whoever does not come to the same with what they know has
-- missed that something was taken back, and reads all of it (steps.sql).
-- Called by: clients that look again and again. A row without a key: nothing has changed. Locks: nothing. Indexes: step_pkey, attempt_pkey.
select
    whole.rows as "rows!",
    whole.done as "done!",
    whole.latest as "latest: Time",
    step.key as "key?",
    step.position as "position?",
    step.kind as "kind?",
    step.outcome as "outcome?",
    step.payload as "payload?",
    step.due as "due?: Time",
    step.started_at as "started_at?: Time",
    step.finished_at as "finished_at?: Time",
    exists (select from dacapo.attempt where run_id = $1) as "has_failed_attempts!"
from (
    select count(*) as rows, count(outcome) as done, max(finished_at) as latest
    from dacapo.step
    where run_id = $1
) as whole
left join dacapo.step
    on step.run_id = $1
    and (
        step.position > $2
        -- Looked up in a table, however many there are.
        or step.position in (select unnest($3::integer[]))
        or step.key in (select unnest($4::text[]))
    )
order by step.position
